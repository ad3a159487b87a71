/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dm_consult_userspace() and fill_pkg() of dm-log-userspace-transfer.c, userspace_do_request() of -base.c. */
#include "tests/model/kernel_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A message leaves: dm_consult_userspace() from `resend` on. */
static void call_send(struct call *call, bool resent)
{
	struct table *table = call->table;
	struct kernel *kernel = table->kernel;
	struct kernel_output *out = kernel_emit(kernel, KERNEL_SEND, table->device, table->luid);

	call->seq = kernel->seq++;
	call->state = CALL_SENT;
	call->send_failed = false;
	call->deadline_ns = kernel->now_ns + KERNEL_REQUEST_TIMEOUT_NS;
	out->send.seq = call->seq;
	out->send.version = kernel->config.version;
	out->send.resent = resent;
	strcpy(out->send.uuid, table->uuid); /* kernel_load() has checked its length */
	switch (call->stage) {
	case CALL_STAGE_REQUEST:
		out->send.type = call->type;
		out->send.data_bytes = call->data_bytes;
		memcpy(out->send.data, call->data, call->data_bytes);
		break;
	case CALL_STAGE_CTR: /* the reconnect loop counts the NUL, and has no room for an answer */
		out->send.type = ULOG_CTR;
		out->send.data_bytes = (uint32_t)table->constructor_bytes + 1;
		memcpy(out->send.data, table->constructor, table->constructor_bytes + 1);
		break;
	case CALL_STAGE_RESUME:
		out->send.type = ULOG_RESUME;
		out->send.data_bytes = 0;
		break;
	}
}

static void call_stage_begin(struct call *call, enum call_stage stage)
{
	call->stage = stage;
	call->dummy_bytes = 0;
	call_send(call, false);
}

/*
 * Ask and wait. The first call sends and returns false; so do all further ones until the answer is there;
 * then
 * `*ret_error` is set and true returned. The data are in call->reply, their number in call->room_bytes.
 */
bool call_ask(struct table *table, struct call *call, enum ulog_type type, const void *data,
	      size_t data_bytes, size_t room_bytes, bool reconnects, int *ret_error)
{
	if (call->state == CALL_IDLE) {
		memset(call->reply, 0, sizeof(call->reply));
		call->table = table;
		call->type = type;
		call->reconnects = reconnects;
		call->data_bytes = (uint32_t)data_bytes;
		if (data_bytes)
			memcpy(call->data, data, data_bytes);
		call->room_bytes = room_bytes;
		LIST_INSERT_HEAD(&table->kernel->calls, call, busy);
		call_stage_begin(call, CALL_STAGE_REQUEST);
		return false;
	}
	if (call->state != CALL_DONE)
		return false;
	call_forget(call);
	*ret_error = call->error;
	return true;
}

void call_forget(struct call *call)
{
	if (call->state == CALL_IDLE)
		return;
	LIST_REMOVE(call, busy);
	call->state = CALL_IDLE;
}

/* The rest of userspace_do_request() after dm_consult_userspace() returned call->error. */
static void call_returned(struct kernel *kernel, struct call *call)
{
	switch (call->stage) {
	case CALL_STAGE_REQUEST:
		if (call->error != -ESRCH || !call->reconnects) {
			call->state = CALL_DONE;
			return;
		}
		kernel_complain(call->table, KERNEL_SERVER_LOST, call->type, 0, call->error);
		break;
	case CALL_STAGE_CTR:
		if (call->error)
			break;
		call_stage_begin(call, CALL_STAGE_RESUME);
		return;
	case CALL_STAGE_RESUME:
		if (!call->error) {
			kernel_complain(call->table, KERNEL_RECONNECTED, call->type, 0, 0);
			call->stage = CALL_STAGE_REQUEST;
			call_send(call, false);
			return;
		}
		kernel_complain(call->table, KERNEL_RESUME_FAILED, call->type, 0, call->error);
		call->error = -ESRCH;
		call->state = CALL_DONE;
		return;
	}
	call->state = CALL_SLEEPING;
	call->deadline_ns = kernel->now_ns + KERNEL_RECONNECT_NS;
}

/* Let the thread go on if an answer, or its time, has come. Returns whether anything happened. */
bool call_advance(struct kernel *kernel, struct call *call)
{
	if (call->state == CALL_REPLIED) {
		if (call->error == -EAGAIN && !call->send_failed)
			call_send(call, true);
		else
			call_returned(kernel, call);
		return true;
	}
	if (call->state == CALL_SENT && call->deadline_ns <= kernel->now_ns) {
		kernel_complain(call->table, KERNEL_TIMEOUT,
				call->stage == CALL_STAGE_REQUEST ? call->type
				: call->stage == CALL_STAGE_CTR	  ? ULOG_CTR
								  : ULOG_RESUME,
				0, -ETIMEDOUT);
		call_send(call, true);
		return true;
	}
	if (call->state == CALL_SLEEPING && call->deadline_ns <= kernel->now_ns) {
		call_stage_begin(call, CALL_STAGE_CTR);
		return true;
	}
	return false;
}

static struct call *call_find(struct kernel *kernel, uint32_t seq)
{
	struct call *call;

	LIST_FOREACH(call, &kernel->calls, busy)
	if (call->state == CALL_SENT && call->seq == seq)
		return call;
	struct kernel_output *out = kernel_emit(kernel, KERNEL_COMPLAINT, 0, 0);
	out->complaint.kind = KERNEL_LATE_REPLY;
	return NULL;
}

static size_t *call_room(struct call *call)
{
	return call->stage == CALL_STAGE_REQUEST ? &call->room_bytes : &call->dummy_bytes;
}

void kernel_ack(struct kernel *kernel, uint32_t seq, int error)
{
	struct call *call = call_find(kernel, seq);

	if (!call)
		return;
	call->error = error;
	if (error != -EAGAIN)
		*call_room(call) = 0;
	call->state = CALL_REPLIED;
	kernel->runnable = true;
}

void kernel_reply(struct kernel *kernel, uint32_t seq, int error, const void *data, size_t data_bytes)
{
	struct call *call = call_find(kernel, seq);

	if (!call)
		return;
	size_t *room_bytes = call_room(call);
	if (data_bytes > *room_bytes) {
		kernel_complain(call->table, KERNEL_NO_ROOM, call->type, 0, -ENOSPC);
		*room_bytes = 0;
		call->error = -ENOSPC;
	} else {
		call->error = error;
		if (data_bytes && call->stage == CALL_STAGE_REQUEST)
			memcpy(call->reply, data,
			       data_bytes < sizeof(call->reply) ? data_bytes : sizeof(call->reply));
		*room_bytes = data_bytes;
	}
	call->state = CALL_REPLIED;
	kernel->runnable = true;
}

void kernel_send_failed(struct kernel *kernel, uint32_t seq, int error)
{
	struct call *call = call_find(kernel, seq);

	if (!call)
		return;
	call->error = error;
	call->send_failed = true;
	call->state = CALL_REPLIED;
	kernel->runnable = true;
}

unsigned kernel_requests_waiting(const struct kernel *kernel)
{
	const struct call *call;
	unsigned count = 0;

	LIST_FOREACH(call, &kernel->calls, busy)
	count += call->state == CALL_SENT || call->state == CALL_SLEEPING;
	return count;
}

uint32_t kernel_seqs_take(struct kernel *kernel, uint32_t count)
{
	uint32_t first = kernel->seq;

	kernel->seq += count;
	return first;
}
