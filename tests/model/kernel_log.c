/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log operations of dm-log-userspace-base.c. */
#include "tests/model/kernel_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void region_vector_push(struct region_vector *vector, region_t region)
{
	if (vector->count == vector->room) {
		vector->room = vector->room ? 2 * vector->room : 16;
		vector->items = realloc(vector->items, vector->room * sizeof(*vector->items));
		if (!vector->items)
			abort();
	}
	vector->items[vector->count++] = region;
}

/* list_splice_init() of a list filled by list_add(): the newest comes first. */
static void region_vector_take(struct region_vector *to, struct region_vector *from)
{
	to->count = 0;
	while (from->count)
		region_vector_push(to, from->items[--from->count]);
}

static uint64_t reply_u64(const struct call *call, size_t index)
{
	uint64_t value;

	memcpy(&value, call->reply + 8 * index, sizeof(value));
	return value;
}

/* A good answer with too few bytes leaves the kernel's variable as it was: whatever was on its stack. */
static void reply_check(struct table *table, const struct call *call, size_t bytes, region_t region)
{
	if (call->room_bytes < bytes)
		kernel_complain(table, KERNEL_SHORT_REPLY, call->type, region, 0);
}

/* userspace_in_sync() with can_block */
bool log_in_sync(struct table *table, struct call *call, region_t region, int *ret_in_sync)
{
	uint64_t region64 = region;
	int error;

	if (!call_ask(table, call, ULOG_IN_SYNC, &region64, sizeof(region64), 8, true, &error))
		return false;
	if (error) {
		kernel_complain(table, KERNEL_ANSWER_LOST, ULOG_IN_SYNC, region, error);
		*ret_in_sync = 0;
		return true;
	}
	reply_check(table, call, 8, region);
	*ret_in_sync = (int)reply_u64(call, 0);
	return true;
}

bool log_is_remote_recovering(struct table *table, struct call *call, region_t region, bool *ret_recovering)
{
	struct kernel *kernel = table->kernel;
	uint64_t region64 = region;
	int error;

	if (call->state == CALL_IDLE) {
		if (region < table->log.in_sync_hint) {
			*ret_recovering = false;
			return true;
		}
		if (kernel->remote_limit_ns > kernel->now_ns) {
			*ret_recovering = true;
			return true;
		}
		kernel->remote_limit_ns = kernel->now_ns + KERNEL_REMOTE_LIMIT_NS;
	}
	if (!call_ask(table, call, ULOG_IS_REMOTE_RECOVERING, &region64, sizeof(region64), 16, true, &error))
		return false;
	*ret_recovering = true;
	if (error)
		return true;
	reply_check(table, call, 16, region);
	table->log.in_sync_hint = reply_u64(call, 1);
	*ret_recovering = (int)reply_u64(call, 0) != 0;
	return true;
}

bool log_get_resync_work(struct table *table, struct call *call, int *ret_result, region_t *ret_region)
{
	int error;

	*ret_region = 0;
	if (call->state == CALL_IDLE && table->log.in_sync_hint >= table->log.region_count) {
		*ret_result = 0;
		return true;
	}
	if (!call_ask(table, call, ULOG_GET_RESYNC_WORK, NULL, 0, 16, true, &error))
		return false;
	*ret_result = error;
	if (error)
		return true;
	reply_check(table, call, 16, 0);
	*ret_result = (int)reply_u64(call, 0);
	if (*ret_result > 0 && reply_u64(call, 1) >= table->log.region_count) {
		kernel_complain(table, KERNEL_SHORT_REPLY, ULOG_GET_RESYNC_WORK, 0, -ERANGE);
		*ret_result = 0;
	}
	*ret_region = (region_t)reply_u64(call, 1);
	return true;
}

bool log_set_region_sync(struct table *table, struct call *call, region_t region, bool in_sync)
{
	uint64_t data[2] = {region, in_sync};
	int error;

	return call_ask(table, call, ULOG_SET_REGION_SYNC, data, sizeof(data), 0, true, &error);
}

bool log_get_sync_count(struct table *table, struct call *call, uint64_t *ret_count)
{
	int error;

	if (!call_ask(table, call, ULOG_GET_SYNC_COUNT, NULL, 0, 8, true, &error))
		return false;
	*ret_count = 0;
	if (error) {
		kernel_complain(table, KERNEL_ANSWER_LOST, ULOG_GET_SYNC_COUNT, 0, error);
		return true;
	}
	reply_check(table, call, 8, 0);
	*ret_count = reply_u64(call, 0);
	if (*ret_count >= table->log.region_count)
		table->log.in_sync_hint = table->log.region_count;
	return true;
}

void log_mark_region(struct table *table, region_t region)
{
	region_vector_push(&table->log.marks, region);
}

void log_clear_region(struct table *table, region_t region)
{
	region_vector_push(&table->log.clears, region);
}

/* --- userspace_flush()
 * ------------------------------------------------------------------------------------------- */

static size_t flush_group_size(const struct region_vector *list, size_t next, size_t most)
{
	return list->count - next < most ? list->count - next : most;
}

/*
 * flush_by_group(), and flush_one_by_one() with `most` 1. Returns false while it waits. With an error
 * `*ret_error` is set and the rest not sent.
 */
static bool flush_list_send(struct table *table, struct call *call, enum ulog_type type,
			    struct region_vector *list, size_t most, int *ret_error)
{
	struct dirty_log *log = &table->log;
	uint64_t group[FLUSH_GROUP_REGIONS];

	*ret_error = 0;
	while (log->flush_next < list->count) {
		size_t count = flush_group_size(list, log->flush_next, most);
		for (size_t i = 0; i < count; i++)
			group[i] = list->items[log->flush_next + i];
		if (!call_ask(table, call, type, group, count * sizeof(group[0]), 0, true, ret_error))
			return false;
		if (*ret_error)
			return true;
		log->flush_next += count;
	}
	return true;
}

/* After a group failed the whole list goes once more, one by one; an error there ends the flush. */
static enum flush_phase flush_mark_phase(const struct dirty_log *log)
{
	return log->integrated_flush ? FLUSH_MARK_INTEGRATED : FLUSH_MARK;
}

/* The end of userspace_flush() with integrated_flush; a clear-only flush cancels one that is scheduled
 * already. */
static void flush_schedule(struct table *table)
{
	struct dirty_log *log = &table->log;

	if (log->flush_no_marks && !log->sched_flush) {
		log->flush_deadline_ns = table->kernel->now_ns + KERNEL_DELAYED_FLUSH_NS;
		log->sched_flush = true;
	} else {
		log->flush_deadline_ns = KERNEL_NEVER;
		log->sched_flush = false;
	}
}

/* One phase; sets the next. Returns false while it waits. FLUSH_IDLE as next phase is the end, with
 * `*ret_error`. */
static bool flush_phase_run(struct table *table, struct call *call, int *ret_error)
{
	struct dirty_log *log = &table->log;
	enum flush_phase next = FLUSH_IDLE;
	bool finished = false;

	switch (log->flush_phase) {
	case FLUSH_CLEAR:
		finished = flush_list_send(table, call, ULOG_CLEAR_REGION, &log->flush_clears,
					   FLUSH_GROUP_REGIONS, ret_error);
		next = *ret_error ? FLUSH_CLEAR_SINGLE : flush_mark_phase(log);
		break;
	case FLUSH_CLEAR_SINGLE:
		finished = flush_list_send(table, call, ULOG_CLEAR_REGION, &log->flush_clears, 1, ret_error);
		next = *ret_error ? FLUSH_IDLE : flush_mark_phase(log);
		break;
	case FLUSH_MARK:
		finished = flush_list_send(table, call, ULOG_MARK_REGION, &log->flush_marks,
					   FLUSH_GROUP_REGIONS, ret_error);
		next = *ret_error ? FLUSH_MARK_SINGLE : FLUSH_COMMIT;
		break;
	case FLUSH_MARK_SINGLE:
		finished = flush_list_send(table, call, ULOG_MARK_REGION, &log->flush_marks, 1, ret_error);
		next = *ret_error ? FLUSH_IDLE : FLUSH_COMMIT;
		break;
	case FLUSH_COMMIT: finished = call_ask(table, call, ULOG_FLUSH, NULL, 0, 0, true, ret_error); break;
	case FLUSH_MARK_INTEGRATED:
		finished = flush_list_send(table, call, ULOG_FLUSH, &log->flush_marks, FLUSH_GROUP_REGIONS,
					   ret_error);
		if (finished && !*ret_error)
			flush_schedule(table);
		break;
	case FLUSH_IDLE: abort();
	}
	if (!finished)
		return false;
	log->flush_next = 0;
	log->flush_phase = next;
	return true;
}

bool log_flush(struct table *table, struct call *call, int *ret_error)
{
	struct dirty_log *log = &table->log;

	*ret_error = 0;
	if (log->flush_phase == FLUSH_IDLE) {
		if (!log->marks.count && !log->clears.count)
			return true;
		region_vector_take(&log->flush_marks, &log->marks);
		region_vector_take(&log->flush_clears, &log->clears);
		log->flush_no_marks = !log->flush_marks.count;
		log->flush_next = 0;
		log->flush_phase = FLUSH_CLEAR;
	}
	do
		if (!flush_phase_run(table, call, ret_error))
			return false;
	while (log->flush_phase != FLUSH_IDLE);
	if (*ret_error)
		kernel_emit(table->kernel, KERNEL_TABLE_EVENT, table->device, table->luid);
	return true;
}

/* --- dmlogd: do_flush()
 * ------------------------------------------------------------------------------------------ */

bool log_flusher_run(struct table *table)
{
	struct dirty_log *log = &table->log;
	int error;

	if (!log->flush_running) {
		if (log->flush_deadline_ns > table->kernel->now_ns)
			return false;
		log->flush_deadline_ns = KERNEL_NEVER;
		log->sched_flush = false;
		log->flush_running = true;
	} else if (log->flush_call.state != CALL_DONE) {
		return false;
	}
	if (!call_ask(table, &log->flush_call, ULOG_FLUSH, NULL, 0, 0, true, &error))
		return true;
	log->flush_running = false;
	if (error)
		kernel_emit(table->kernel, KERNEL_TABLE_EVENT, table->device, table->luid);
	return true;
}

/* flush_delayed_work(): do it now. Returns whether it is over. */
bool log_flusher_settle(struct table *table)
{
	struct dirty_log *log = &table->log;

	if (log->flush_deadline_ns != KERNEL_NEVER)
		log->flush_deadline_ns = 0;
	return log->flush_deadline_ns == KERNEL_NEVER && !log->flush_running;
}

void log_free(struct table *table)
{
	free(table->log.marks.items);
	free(table->log.clears.items);
	free(table->log.flush_marks.items);
	free(table->log.flush_clears.items);
}
