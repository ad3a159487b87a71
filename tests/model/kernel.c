/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host: threads in turn, deadlines, outputs. */
#include "tests/model/kernel_private.h"

#include <stdlib.h>
#include <string.h>

void *kernel_alloc(size_t bytes)
{
	void *memory = calloc(1, bytes);

	if (!memory)
		abort();
	return memory;
}

struct kernel *kernel_new(const struct kernel_config *config)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));

	if (!kernel)
		return NULL;
	kernel->config = *config;
	if (!kernel->config.blocks_per_region)
		kernel->config.blocks_per_region = 1;
	kernel->next_op = 1;
	kernel->seq = 1;
	kernel->next_luid = config->first_luid;
	LIST_INIT(&kernel->calls);
	TAILQ_INIT(&kernel->tables);
	for (size_t i = 0; i < OP_BUCKETS; i++)
		LIST_INIT(&kernel->ops[i]);
	return kernel;
}

void kernel_free(struct kernel *kernel)
{
	struct table *table;
	struct bio *bio;
	struct op *op;

	if (!kernel)
		return;
	for (size_t i = 0; i < OP_BUCKETS; i++)
		while ((op = LIST_FIRST(&kernel->ops[i]))) {
			LIST_REMOVE(op, hash);
			if (op->bio && !--op->bio->outstanding)
				free(op->bio);
			free(op);
		}
	for (unsigned i = 0; i < kernel->device_end; i++)
		while ((bio = TAILQ_FIRST(&kernel->devices[i].deferred))) {
			TAILQ_REMOVE(&kernel->devices[i].deferred, bio, link);
			free(bio);
		}
	while ((table = TAILQ_FIRST(&kernel->tables))) {
		if (table->copy.region)
			table->copy.region = NULL; /* it is in the hash */
		table_free(table);
	}
	free(kernel->free_luids);
	free(kernel->queue);
	free(kernel);
}

/* --- outputs
 * ----------------------------------------------------------------------------------------------------- */

static void queue_grow(struct kernel *kernel)
{
	size_t room = kernel->queue_room ? 2 * kernel->queue_room : 16;
	struct kernel_output *queue = kernel_alloc(room * sizeof(*queue));

	for (size_t i = 0; i < kernel->queue_count; i++)
		queue[i] = kernel->queue[(kernel->queue_first + i) % kernel->queue_room];
	free(kernel->queue);
	kernel->queue = queue;
	kernel->queue_first = 0;
	kernel->queue_room = room;
}

struct kernel_output *kernel_emit(struct kernel *kernel, enum kernel_output_type type, unsigned device,
				  luid_t luid)
{
	struct kernel_output *out;

	if (kernel->queue_count == kernel->queue_room)
		queue_grow(kernel);
	out = &kernel->queue[(kernel->queue_first + kernel->queue_count++) % kernel->queue_room];
	out->type = type;
	out->device = device;
	out->luid = luid;
	if (type != KERNEL_SEND && type != KERNEL_COMMAND_DONE) {
		out->leg.op = 0;
		out->leg.leg = 0;
		out->leg.region = 0;
		out->leg.block = 0;
		out->leg.tag = 0;
		out->leg.copy = false;
		out->leg.fua = false;
	}
	return out;
}

void kernel_complain(struct table *table, enum kernel_complaint kind, enum ulog_type request, region_t region,
		     int error)
{
	struct kernel_output *out = kernel_emit(table->kernel, KERNEL_COMPLAINT, table->device, table->luid);

	out->complaint.kind = kind;
	out->complaint.request = request;
	out->complaint.region = region;
	out->complaint.error = error;
}

bool kernel_output(struct kernel *kernel, struct kernel_output *ret_output)
{
	const struct kernel_output *out;

	if (!kernel->queue_count)
		return false;
	out = &kernel->queue[kernel->queue_first];
	if (out->type == KERNEL_SEND || out->type == KERNEL_COMMAND_DONE)
		*ret_output = *out;
	else /* most, and small */
		memcpy(ret_output, out, offsetof(struct kernel_output, leg) + sizeof(out->leg));
	kernel->queue_first = (kernel->queue_first + 1) % kernel->queue_room;
	kernel->queue_count--;
	return true;
}

/* --- time
 * -------------------------------------------------------------------------------------------------------- */

static bool calls_run(struct kernel *kernel)
{
	struct call *call, *next;
	bool moved = false;

	for (call = LIST_FIRST(&kernel->calls); call; call = next) {
		next = LIST_NEXT(call, busy);
		moved |= call_advance(kernel, call);
	}
	return moved;
}

void kernel_run(struct kernel *kernel, uint64_t now_ns)
{
	struct table *table, *next;
	bool moved;

	if (now_ns > kernel->now_ns)
		kernel->now_ns = now_ns;
	do {
		kernel->runnable = false;
		moved = calls_run(kernel);
		for (table = TAILQ_FIRST(&kernel->tables); table; table = next) {
			next = TAILQ_NEXT(table, link);
			moved |= mirror_run(table);
			moved |= log_flusher_run(table);
		}
		for (unsigned i = 0; i < kernel->device_end; i++)
			moved |= device_run(kernel, i);
	} while (moved || kernel->runnable);
}

static uint64_t deadline_min(uint64_t left, uint64_t right)
{
	return left < right ? left : right;
}

uint64_t kernel_deadline_ns(const struct kernel *kernel)
{
	uint64_t deadline_ns = KERNEL_NEVER;
	const struct table *table;
	const struct call *call;

	if (kernel->runnable)
		return 0;
	LIST_FOREACH(call, &kernel->calls, busy)
	if (call->state == CALL_SENT || call->state == CALL_SLEEPING)
		deadline_ns = deadline_min(deadline_ns, call->deadline_ns);
	TAILQ_FOREACH (table, &kernel->tables, link) {
		deadline_ns = deadline_min(deadline_ns, table->worker.delayed_wake_ns);
		if (!table->log.flush_running)
			deadline_ns = deadline_min(deadline_ns, table->log.flush_deadline_ns);
	}
	return deadline_ns;
}

/* --- inputs that have no better place, checkers
 * ------------------------------------------------------------------ */

void kernel_leg_done(struct kernel *kernel, uint64_t op, int error, uint64_t tag)
{
	leg_op_done(kernel, op, error, tag);
	kernel->runnable = true;
}

void kernel_regions(const struct kernel *kernel,
		    void (*each)(void *context, const struct kernel_region *region), void *context)
{
	const struct table *table;
	const struct region *region;

	TAILQ_FOREACH (table, &kernel->tables, link)
		for (size_t i = 0; i < REGION_BUCKETS; i++)
			LIST_FOREACH(region, &table->buckets[i], hash)
			{
				struct kernel_region info = {
				    .device = table->device,
				    .luid = table->luid,
				    .uuid = table->uuid,
				    .region = region->key,
				    .state = region->state,
				    .pending = region->pending,
				    .leg_writes = region->leg_writes,
				    .copying = table->copy.region == region,
				};
				each(context, &info);
			}
}

const char *kernel_complaint_name(enum kernel_complaint kind)
{
	static const char *const names[KERNEL_COMPLAINTS_END] = {
	    [KERNEL_TIMEOUT] = "timeout",
	    [KERNEL_SERVER_LOST] = "server-lost",
	    [KERNEL_RECONNECTED] = "reconnected",
	    [KERNEL_RESUME_FAILED] = "resume-failed",
	    [KERNEL_NO_ROOM] = "no-room",
	    [KERNEL_SHORT_REPLY] = "short-reply",
	    [KERNEL_LATE_REPLY] = "late-reply",
	    [KERNEL_BAD_NAME] = "bad-name",
	    [KERNEL_CALL_FAILED] = "call-failed",
	    [KERNEL_ANSWER_LOST] = "answer-lost",
	    [KERNEL_LOG_FAILURE] = "log-failure",
	    [KERNEL_LEG_FAILURE] = "leg-failure",
	    [KERNEL_FLUSH_FAILURE] = "flush-failure",
	    [KERNEL_WRITE_UNMARKED] = "write-unmarked",
	    [KERNEL_WRITE_ONE_LEG] = "write-one-leg",
	};

	return (unsigned)kind < KERNEL_COMPLAINTS_END ? names[kind] : "?";
}
