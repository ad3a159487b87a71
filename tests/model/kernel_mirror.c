/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dm-raid1.c: do_mirror() and what it calls, as a state machine that stops wherever the kernel's thread
 * blocks. */
#include "tests/model/kernel_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void mirror_wake(struct table *table)
{
	table->worker.wake = true;
	table->kernel->runnable = true;
}

static void mirror_delayed_wake(struct table *table)
{
	if (table->worker.delayed_wake_ns == KERNEL_NEVER)
		table->worker.delayed_wake_ns = table->kernel->now_ns + KERNEL_DELAYED_WAKE_NS;
}

/* queue_bio() */
void mirror_queue_bio(struct table *table, struct bio *bio)
{
	struct bio_list *list = bio->user.type == KERNEL_READ ? &table->reads : &table->writes;
	bool wake = TAILQ_EMPTY(list);

	TAILQ_INSERT_TAIL(list, bio, link);
	if (wake)
		mirror_wake(table);
}

static void mirror_queue_failure(struct table *table, struct bio *bio)
{
	TAILQ_INSERT_TAIL(&table->failures, bio, link);
	mirror_wake(table);
}

/* get_valid_mirror(): a leg without errors, or -1. */
int mirror_valid_leg(const struct table *table)
{
	for (unsigned i = 0; i < table->leg_count; i++)
		if (!table->legs[i].error_count)
			return (int)i;
	return -1;
}

/* choose_mirror(): the default one, or the next below it without errors; -1 if all failed. */
int mirror_choose(const struct table *table)
{
	unsigned leg = table->default_leg;

	do {
		if (!table->legs[leg].error_count)
			return (int)leg;
		leg = leg ? leg - 1 : table->leg_count - 1;
	} while (leg != table->default_leg);
	return -1;
}

/* fail_mirror() */
void mirror_fail(struct table *table, unsigned leg, enum error_bit error)
{
	struct leg *failed = &table->legs[leg];
	bool known = failed->error_type & (1ul << error);

	table->leg_failure = true;
	failed->error_count++;
	failed->error_type |= 1ul << error;
	if (known || !table->handle_errors)
		return;
	kernel_complain(table, KERNEL_LEG_FAILURE, 0, 0, (int)leg);
	if (leg == table->default_leg && (table->in_sync || table->keep_log)) {
		int valid = mirror_valid_leg(table);
		if (valid >= 0)
			table->default_leg = (unsigned)valid;
	}
	kernel_emit(table->kernel, KERNEL_TABLE_EVENT, table->device, table->luid);
}

/* device_status_char() */
char mirror_leg_char(const struct table *table, unsigned leg)
{
	const struct leg *state = &table->legs[leg];

	if (!state->error_count)
		return 'A';
	if (state->error_type & (1ul << ERROR_FLUSH))
		return 'F';
	if (state->error_type & (1ul << ERROR_WRITE))
		return 'D';
	if (state->error_type & (1ul << ERROR_SYNC))
		return 'S';
	return state->error_type & (1ul << ERROR_READ) ? 'R' : 'U';
}

/* hold_bio() */
void mirror_hold_bio(struct table *table, struct bio *bio)
{
	if (!table->suspend) {
		TAILQ_INSERT_TAIL(&table->holds, bio, link);
		return;
	}
	if (table->kernel->devices[table->device].noflush)
		device_end_bio(table, bio, 0, 0, true);
	else
		device_end_bio(table, bio, -EIO, 0, false);
}

/* --- dm_rh_update_states()
 * --------------------------------------------------------------------------------------- */

static void update_take(struct region_list *from, struct region_list *to)
{
	struct region *region;

	while ((region = TAILQ_FIRST(from))) {
		TAILQ_REMOVE(from, region, link);
		region->on = REGION_LIST_NONE;
		LIST_REMOVE(region, hash);
		TAILQ_INSERT_TAIL(to, region, link);
	}
}

/* complete_resync_work() */
static bool complete_resync_work(struct table *table, struct region *region, bool success)
{
	struct bio *bio;

	if (!log_set_region_sync(table, &table->worker.call, region->key, success))
		return false;
	while ((bio = TAILQ_FIRST(&region->delayed))) {
		TAILQ_REMOVE(&region->delayed, bio, link);
		mirror_queue_bio(table, bio);
	}
	table->recovery_in_flight--;
	table->recovery_count++;
	return true;
}

static bool worker_recovered(struct table *table)
{
	struct worker *worker = &table->worker;
	struct region *region;

	while ((region = TAILQ_FIRST(&worker->recovered))) {
		if (!worker->begun)
			log_clear_region(table, region->key);
		worker->begun = true;
		if (!complete_resync_work(table, region, true))
			return false;
		worker->begun = false;
		TAILQ_REMOVE(&worker->recovered, region, link);
		free(region);
	}
	return true;
}

static bool worker_failed(struct table *table)
{
	struct worker *worker = &table->worker;
	struct region *region;

	while ((region = TAILQ_FIRST(&worker->failed))) {
		if (!complete_resync_work(table, region, !table->handle_errors))
			return false;
		TAILQ_REMOVE(&worker->failed, region, link);
		free(region);
	}
	while ((region = TAILQ_FIRST(&worker->clean))) {
		log_clear_region(table, region->key);
		TAILQ_REMOVE(&worker->clean, region, link);
		free(region);
	}
	return true;
}

static bool worker_clean_flush(struct table *table)
{
	int error;

	return log_flush(table, &table->worker.call, &error);
}

/* --- do_recovery()
 * ----------------------------------------------------------------------------------------------- */

/* __rh_recovery_prepare() after the answer: the region spins down. */
static bool prepare_region(struct table *table, region_t key)
{
	struct region *region;

	if (!rh_find(table, &table->worker.call, key, &region))
		return false;
	region->state = KERNEL_REGION_RECOVERING;
	rh_list_move(table, region, region->pending ? REGION_LIST_NONE : REGION_LIST_QUIESCED, false);
	return true;
}

/* dm_rh_recovery_prepare(); worker->begun: the region is known, IN_SYNC for it may be outstanding. */
static bool worker_prepare(struct table *table)
{
	struct worker *worker = &table->worker;
	region_t key;
	int result;

	for (;;) {
		if (!worker->holding_semaphore) {
			if (!table->recovery_count)
				return true;
			table->recovery_count--;
			table->recovery_in_flight++;
			worker->holding_semaphore = true;
		}
		if (!worker->begun) {
			if (!log_get_resync_work(table, &worker->call, &result, &key))
				return false;
			if (result <= 0) {
				table->recovery_in_flight--;
				table->recovery_count++;
				worker->holding_semaphore = false;
				return true;
			}
			worker->begun = true;
			worker->prepare_key = key;
		}
		if (!prepare_region(table, worker->prepare_key))
			return false;
		worker->begun = false;
		worker->holding_semaphore = false;
	}
}

static bool worker_start(struct table *table)
{
	struct region *region;

	while ((region = TAILQ_FIRST(&table->quiesced))) {
		rh_list_move(table, region, REGION_LIST_NONE, false);
		leg_copy_start(table, region);
	}
	return true;
}

static bool worker_sync_count(struct table *table)
{
	uint64_t count;

	if (table->worker.call.state == CALL_IDLE && table->in_sync)
		return true;
	if (!log_get_sync_count(table, &table->worker.call, &count))
		return false;
	if (table->in_sync || count != table->log.region_count)
		return true;
	kernel_emit(table->kernel, KERNEL_TABLE_EVENT, table->device, table->luid);
	table->in_sync = true;
	table->leg_failure = false;
	for (unsigned i = 0; i < table->leg_count; i++)
		table->legs[i] = (struct leg){0};
	return true;
}

/* --- do_reads(), do_writes()
 * --------------------------------------------------------------------------------------- */

static bool worker_reads(struct table *table)
{
	struct worker *worker = &table->worker;
	struct bio *bio;

	while ((bio = TAILQ_FIRST(&worker->reads))) {
		enum kernel_region_state state;
		int leg = (int)table->default_leg;

		if (!rh_get_state(table, &worker->call, bio->user.region, &state))
			return false;
		TAILQ_REMOVE(&worker->reads, bio, link);
		if (state == KERNEL_REGION_CLEAN || state == KERNEL_REGION_DIRTY)
			leg = mirror_choose(table);
		else if (table->legs[leg].error_count)
			leg = -1;
		if (leg >= 0)
			leg_read_bio(table, bio, (unsigned)leg);
		else
			device_end_bio(table, bio, -EIO, 0, false);
	}
	return true;
}

static struct bio_list *classify_list(struct worker *worker, enum kernel_region_state state)
{
	switch (state) {
	case KERNEL_REGION_CLEAN:
	case KERNEL_REGION_DIRTY: return &worker->sync;
	case KERNEL_REGION_NOSYNC: return &worker->nosync;
	case KERNEL_REGION_RECOVERING: break;
	}
	return &worker->recover;
}

static bool classify_bio(struct table *table, struct bio *bio, struct bio_list **ret_list)
{
	struct worker *worker = &table->worker;
	enum kernel_region_state state;
	bool recovering;

	*ret_list = &worker->sync;
	if (bio->user.type != KERNEL_WRITE)
		return true;
	if (!worker->remote_asked) {
		if (!log_is_remote_recovering(table, &worker->call, bio->user.region, &recovering))
			return false;
		if (recovering) {
			*ret_list = &worker->requeue;
			return true;
		}
		worker->remote_asked = true;
	}
	if (!rh_get_state(table, &worker->call, bio->user.region, &state))
		return false;
	worker->remote_asked = false;
	*ret_list = classify_list(worker, state);
	return true;
}

static bool worker_classify(struct table *table)
{
	struct worker *worker = &table->worker;
	struct bio_list *list;
	struct bio *bio;

	while ((bio = TAILQ_FIRST(&worker->writes))) {
		if (!classify_bio(table, bio, &list))
			return false;
		TAILQ_REMOVE(&worker->writes, bio, link);
		TAILQ_INSERT_TAIL(list, bio, link);
	}
	if (!TAILQ_EMPTY(&worker->requeue)) {
		TAILQ_CONCAT(&table->writes, &worker->requeue, link);
		mirror_delayed_wake(table);
	}
	worker->inc_next = TAILQ_FIRST(&worker->sync);
	return true;
}

/* dm_rh_inc_pending() */
static bool inc_pending(struct table *table, struct bio **next)
{
	for (; *next; *next = TAILQ_NEXT(*next, link)) {
		struct region *region;

		if ((*next)->user.type != KERNEL_WRITE)
			continue;
		if (!rh_find(table, &table->worker.call, (*next)->user.region, &region))
			return false;
		region->pending++;
		if (region->state == KERNEL_REGION_CLEAN) {
			region->state = KERNEL_REGION_DIRTY;
			rh_list_move(table, region, REGION_LIST_NONE, false);
			log_mark_region(table, region->key);
		}
	}
	return true;
}

static bool worker_inc_sync(struct table *table)
{
	struct worker *worker = &table->worker;

	if (!inc_pending(table, &worker->inc_next))
		return false;
	worker->inc_next = TAILQ_FIRST(&worker->nosync);
	return true;
}

static bool worker_inc_nosync(struct table *table)
{
	return inc_pending(table, &table->worker.inc_next);
}

static bool worker_flush(struct table *table)
{
	int error;

	/* do_writes() returns before its flush when there was nothing to write */
	if (!table->worker.had_writes)
		return true;
	if (!log_flush(table, &table->worker.call, &error))
		return false;
	if (error) {
		kernel_complain(table, KERNEL_LOG_FAILURE, ULOG_FLUSH, 0, error);
		table->log_failure = true;
	}
	return true;
}

static struct bio *bio_list_pop(struct bio_list *list)
{
	struct bio *bio = TAILQ_FIRST(list);

	if (bio)
		TAILQ_REMOVE(list, bio, link);
	return bio;
}

static bool worker_dispatch(struct table *table)
{
	struct worker *worker = &table->worker;
	struct bio *bio;

	while ((bio = bio_list_pop(&worker->sync)))
		if (table->log_failure && table->handle_errors)
			mirror_queue_failure(table, bio);
		else
			leg_write_bio(table, bio, true);
	while ((bio = bio_list_pop(&worker->recover))) {
		struct region *region = rh_lookup(table, bio->user.region);
		assert(region); /* recovering: it stays in the hash until this thread takes it out */
		TAILQ_INSERT_TAIL(&region->delayed, bio, link);
	}
	while ((bio = bio_list_pop(&worker->nosync)))
		if (table->leg_failure && table->handle_errors && !table->keep_log)
			mirror_queue_failure(table, bio);
		else
			leg_write_bio(table, bio, false);
	return true;
}

/* --- do_failures()
 * ----------------------------------------------------------------------------------------------- */

/* dm_rh_mark_nosync(). worker->begun: SET_REGION_SYNC(r, 0) was answered, and the region was recovering. */
static bool mark_nosync(struct table *table, struct bio *bio)
{
	struct worker *worker = &table->worker;
	struct region *region;

	if (bio->user.type == KERNEL_FLUSH) {
		table->flush_failure = true;
		return true;
	}
	if (bio->user.type == KERNEL_DISCARD)
		return true;
	region = rh_lookup(table, bio->user.region);
	assert(region); /* its write is counted */
	if (!worker->begun) {
		if (!log_set_region_sync(table, &worker->call, bio->user.region, false))
			return false;
		bool recovering = region->state == KERNEL_REGION_RECOVERING;
		region->state = KERNEL_REGION_NOSYNC;
		if (!recovering)
			return true;
		worker->begun = true;
	}
	if (!complete_resync_work(table, region, false))
		return false;
	worker->begun = false;
	return true;
}

static bool worker_failures(struct table *table)
{
	struct worker *worker = &table->worker;
	struct bio *bio;

	while ((bio = TAILQ_FIRST(&worker->failures))) {
		if (!table->log_failure || worker->call.state != CALL_IDLE || worker->begun) {
			table->in_sync = false;
			if (!mark_nosync(table, bio))
				return false;
		}
		TAILQ_REMOVE(&worker->failures, bio, link);
		if (mirror_valid_leg(table) < 0 || (table->keep_log && table->log_failure))
			device_end_bio(table, bio, -EIO, 0, false);
		else if (table->handle_errors && !table->keep_log)
			mirror_hold_bio(table, bio);
		else
			device_end_bio(table, bio, 0, 0, false);
	}
	return true;
}

/* --- do_mirror()
 * ------------------------------------------------------------------------------------------------- */

static void worker_begin(struct table *table)
{
	struct worker *worker = &table->worker;

	worker->wake = false;
	worker->passes_started++;
	worker->phase = WORKER_RECOVERED;
	TAILQ_CONCAT(&worker->reads, &table->reads, link);
	TAILQ_CONCAT(&worker->writes, &table->writes, link);
	TAILQ_CONCAT(&worker->failures, &table->failures, link);
	worker->had_writes = !TAILQ_EMPTY(&worker->writes);
	update_take(&table->clean, &worker->clean);
	update_take(&table->recovered, &worker->recovered);
	update_take(&table->failed_recovered, &worker->failed);
}

/* Let the worker run until it blocks. Returns whether it did anything. */
bool mirror_run(struct table *table)
{
	static bool (*const phases[WORKER_PHASES])(struct table *) = {
	    [WORKER_RECOVERED] = worker_recovered,
	    [WORKER_FAILED] = worker_failed,
	    [WORKER_CLEAN_FLUSH] = worker_clean_flush,
	    [WORKER_PREPARE] = worker_prepare,
	    [WORKER_START] = worker_start,
	    [WORKER_SYNC_COUNT] = worker_sync_count,
	    [WORKER_READS] = worker_reads,
	    [WORKER_CLASSIFY] = worker_classify,
	    [WORKER_INC_SYNC] = worker_inc_sync,
	    [WORKER_INC_NOSYNC] = worker_inc_nosync,
	    [WORKER_FLUSH] = worker_flush,
	    [WORKER_DISPATCH] = worker_dispatch,
	    [WORKER_FAILURES] = worker_failures,
	};
	struct worker *worker = &table->worker;

	if (worker->delayed_wake_ns <= table->kernel->now_ns) {
		worker->delayed_wake_ns = KERNEL_NEVER;
		worker->wake = true;
	}
	if (worker->phase == WORKER_IDLE) {
		if (!worker->wake)
			return false;
		worker_begin(table);
	} else if (worker->call.state != CALL_DONE) {
		return false;
	}
	while (worker->phase < WORKER_PHASES) {
		if (!phases[worker->phase](table))
			return true;
		worker->phase++;
	}
	worker->phase = WORKER_IDLE;
	worker->passes_done++;
	return true;
}
