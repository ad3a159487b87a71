/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 17 requests of the kernel. What they mean: linux/dm-log-userspace.h; what they cost: protocol/README.
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void reply(struct core *core, uint32_t seq, luid_t luid, int error, const void *data, uint32_t data_bytes)
{
	struct effect *effect = effect_add(core, EFFECT_REPLY);

	effect->reply.seq = seq;
	effect->reply.luid = luid;
	effect->reply.error = error;
	effect->reply.data_bytes = data_bytes;
	if (data_bytes) {
		uint8_t *copy = effect_keep(core, malloc(data_bytes));

		memcpy(copy, data, data_bytes);
		effect->reply.data = copy;
	}
}

static void reply_plain(struct core *core, const struct ulog_request *request, int error)
{
	reply(core, request->seq, request->luid, error, NULL, 0);
}

/* "Introduce yourself": the kernel's retry keeps the size of this answer as its room (hazard A1). */
static void reply_unknown(struct core *core, const struct ulog_request *request)
{
	static const uint8_t zeroes[ULOG_REPLY_DATA_MAX];

	reply(core, request->seq, request->luid, -ESRCH, zeroes, ulog_reply_room(request->type));
}

static void reply_u64(struct core *core, const struct ulog_request *request, uint64_t value)
{
	uint8_t data[8];

	ulog_data_u64(data, value);
	reply(core, request->seq, request->luid, 0, data, sizeof(data));
}

/* --- requests that wait
 * ---------------------------------------------------------------------------------------- */

static void waiting_drop(struct log *log, struct waiting *waiting)
{
	TAILQ_REMOVE(&log->waitings, waiting, entry);
	log->waiting_count--;
	if (log->waiting_count < WAITING_MAX / 2)
		log->waiting_full = false;
	free(waiting);
}

/* The kernel asks again every 15 s with a new seq and forgets the old one: the oldest copies go first. */
static void waiting_overflow(struct core *core, struct log *log)
{
	waiting_drop(log, TAILQ_FIRST(&log->waitings));
	core->counters.waiting_dropped++;
	if (log->waiting_full)
		return;
	log->waiting_full = true;
	core_log(core, LOG_WARNING,
		 "log %s: %u requests of the kernel wait: the oldest are left to be asked again", log->uuid,
		 WAITING_MAX);
}

void kernel_wait(struct core *core, struct log *log, const struct ulog_request *request, uint64_t batch)
{
	struct waiting *waiting;

	if (log->waiting_count >= WAITING_MAX)
		waiting_overflow(core, log);
	waiting = calloc(1, sizeof(*waiting));
	if (!waiting)
		return; /* it will be asked again */
	waiting->seq = request->seq;
	waiting->luid = request->luid;
	waiting->type = request->type;
	waiting->batch = batch;
	waiting->region = request->type == ULOG_IS_REMOTE_RECOVERING ? (region_t)ulog_region(request, 0) : 0;
	TAILQ_INSERT_TAIL(&log->waitings, waiting, entry);
	log->waiting_count++;
	log_poke(core, log);
}

static unsigned waiting_count(const struct log *log, luid_t luid, enum ulog_type type)
{
	const struct waiting *waiting;
	unsigned count = 0;

	TAILQ_FOREACH (waiting, &log->waitings, entry)
		count += waiting->luid == luid && waiting->type == type;
	return count;
}

bool kernel_waits(const struct log *log, luid_t luid, enum ulog_type type)
{
	return waiting_count(log, luid, type) > 0;
}

void waiting_reply(struct core *core, struct log *log, struct waiting *waiting, int error)
{
	reply(core, waiting->seq, waiting->luid, error, NULL, 0);
	waiting_drop(log, waiting);
}

void waiting_reply_all(struct core *core, struct log *log, luid_t luid, enum ulog_type type, int error)
{
	struct waiting *waiting, *next;

	for (waiting = TAILQ_FIRST(&log->waitings); waiting; waiting = next) {
		next = TAILQ_NEXT(waiting, entry);
		if (waiting->luid == luid && waiting->type == type)
			waiting_reply(core, log, waiting, error);
	}
}

/* With a failed log dm-mirror holds writes back until the next suspend, and tells nobody of one that failed
 * on one leg (do_failures() of dm-raid1.c): from here on a CLEAR of this table says nothing. */
static void waiting_fail(struct core *core, struct log *log, struct waiting *waiting)
{
	struct instance *instance = instance_find(log, waiting->luid);

	if (instance && !instance->log_failed) {
		instance->log_failed = true;
		run_state_meta(core, log);
	}
	waiting_reply(core, log, waiting, -EIO);
}

void kernel_fail_kept(struct core *core, const char *uuid)
{
	struct log *log;

	TAILQ_FOREACH (log, &core->logs, entry) {
		struct waiting *waiting, *next;

		if (uuid && strcmp(uuid, log->uuid))
			continue;
		for (waiting = TAILQ_FIRST(&log->waitings); waiting; waiting = next) {
			next = TAILQ_NEXT(waiting, entry);
			/* A table without handle_errors would write all the same, unmarked (hazard A13). */
			if (log->handles_errors &&
			    (waiting->type == ULOG_FLUSH || waiting->type == ULOG_SET_REGION_SYNC))
				waiting_fail(core, log, waiting);
		}
	}
}

/* Behind the answer to a RESUME: a daemon that dies between the two leaves a table that may write unmarked.
 * Each thread of the kernel that reconnects sends its own CTR and RESUME. */
static void reconnect_close(struct core *core, struct log *log, struct instance *instance, unsigned count)
{
	if (!instance->reconnects_open)
		return;
	instance->reconnects_open -= count < instance->reconnects_open ? count : instance->reconnects_open;
	if (!instance->reconnects_open)
		run_state_meta(core, log);
}

static void shape_of(const struct constructor *constructor, struct log_shape *ret_shape)
{
	*ret_shape = (struct log_shape){
	    .disk = constructor->disk,
	    .sync_mode = constructor->sync_mode == SYNC_NOSYNC	? SHAPE_NOSYNC
			 : constructor->sync_mode == SYNC_FORCE ? SHAPE_SYNC
								: SHAPE_DEFAULT,
	    .length_sectors = constructor->length_sectors,
	    .region_size_sectors = constructor->region_size_sectors,
	    .region_count = constructor->region_count,
	};
}

static void resume_answer(struct core *core, struct log *log, struct instance *instance)
{
	const struct world_log *world = log_world(core, log);
	struct participant *self = log_self(core, log);
	const struct world_instance *known = self ? participant_instance(self, instance->luid) : NULL;
	unsigned count;

	/* A luid used again may still be in the state from the table before. */
	if (!instance->resume_heard || !core->active)
		return;
	if (known && known->resumed && world->phase == LOG_OPEN) {
		struct region_set told = {0};

		shape_of(&instance->constructor, &log->shape);
		region_set_copy(&told, &world->unsynced);
		region_set_union_with(&told, &world->failed);
		/* What this very table was told IN_SYNC 1 for stays so (hazard A3). */
		if (instance->known)
			region_set_intersect(&told, &log->unsynced);
		run_state_replace(core, log, RUN_UNSYNCED, &log->unsynced, &told);
		region_set_fini(&told);
		if (log_table_live(log)) /* its POSTSUSPEND was lost */
			log_legs_forget(core, log);
		log->device.stopped = log->device.stopped && log->device.state == DEVICE_CLOSED;
		instance->old = instance->old || known->old;
		instance->known = true;
		instance->state = INSTANCE_RESUMED;
		instance->ran_ns = instance->remote_asked_ns = core->now_ns;
		instance->remote_idle = instance->remote_over = false;
		/* What it holds may be known to nobody: its first FLUSH waits until all is dirty. */
		if (instance->tainted) {
			marks_adopt(core, log, instance, self);
			log->pending_due = true;
		}
		run_state_disown_others(core, log, self);
		run_state_introduced(core, log->uuid);
		log->mirror_due = true;
		run_state_mirror(core, log);
		run_state_meta(core, log);
		log_legs_open(core, log);
		core_log(core, LOG_INFO, "log %s: resumed, %llu of %llu regions out of sync", log->uuid,
			 (unsigned long long)region_set_count(&log->unsynced),
			 (unsigned long long)log->shape.region_count);
		count = waiting_count(log, instance->luid, ULOG_RESUME);
		waiting_reply_all(core, log, instance->luid, ULOG_RESUME, 0);
		reconnect_close(core, log, instance, count);
		log_poke(core, log); /* its device may be written from here on */
		return;
	}
	if (instance->refused) {
		core_log(
		    core, LOG_ERR,
		    "log %s: other nodes run it with another size, region size or kind of log: not resumed",
		    log->uuid);
		instance->state = instance->known ? INSTANCE_SUSPENDED : INSTANCE_CONSTRUCTED;
		waiting_reply_all(core, log, instance->luid, ULOG_RESUME, -EINVAL);
	}
}

/* `tainted`: it may have written unmarked (hazards A2, A7). */
static struct record *resume_record(struct core *core, const char *uuid, luid_t luid,
				    const struct log_shape *shape, bool tainted)
{
	struct record *record = send_add(core, RECORD_RESUME, uuid);

	if (!record)
		return NULL;
	memcpy(record->uuid, uuid, strnlen(uuid, sizeof(record->uuid) - 1) + 1);
	record->luid = luid;
	record->shape = *shape;
	record->flag = tainted;
	return record;
}

static void resume_send(struct core *core, struct log *log, struct instance *instance)
{
	const struct remembered_table *unknown = run_state_unknown(core, log->uuid);
	bool first = !instance->known && !instance->tainted;
	struct log_shape shape;

	if (instance->resume_sent || core->join != JOIN_READY || !core->active)
		return;
	if (core->config.fencing == FENCING_DLM && !core->fence_held)
		return;
	shape_of(&instance->constructor, &shape);
	/* The table that ran before never asked this daemon anything: what its reconnect would have said is
	 * said for it. It is gone when the next one's RESUME is heard (run_state_disown_others()). */
	if (first && unknown && (!unknown->ended || unknown->another) &&
	    !resume_record(core, log->uuid, LUID_UNKNOWN, &shape, true))
		return;
	/* Or this one would be as old, and tainted, as the one whose number it was given. */
	if (first && log_here_known(core, log->uuid, instance->luid) &&
	    !send_destroyed(core, log->uuid, instance->luid))
		return;
	if (!resume_record(core, log->uuid, instance->luid, &shape, instance->tainted))
		return;
	instance->resume_sent = true;
	instance->resume_heard = instance->refused = false;
}

static void flush_answer(struct core *core, struct log *log, struct waiting *waiting)
{
	const struct world_log *world = log_world(core, log);

	if (log->batch_committed >= waiting->batch && core->active)
		waiting_reply(core, log, waiting, 0);
	else if (world && core->active && world->device_dead && log->handles_errors)
		waiting_fail(core, log, waiting);
	/* A table without handle_errors writes all the same (hazard A13): for it, no answer is the only one.
	 */
	else if (world && core->active && world->device_dead)
		device_retry(core, log);
}

/* On a reconnect the CTR is answered only when the RESUME behind it can be at once (hazard A2). */
static void reconnect_answer(struct core *core, struct log *log, struct waiting *waiting)
{
	struct instance *instance = instance_find(log, waiting->luid);

	if (!instance || core->join != JOIN_READY)
		return;
	/* Also one that suspends: what it still writes, it writes unmarked when the RESUME fails. And one
	 * that is suspended, or was never resumed, as far as this daemon knows: its RESUME may have been lost
	 * (hazard B3). */
	if (!instance->reconnects_open++)
		run_state_meta(core, log);
	instance->reconnect_until_ns = core->now_ns + RECONNECT_NS;
	waiting_reply(core, log, waiting, 0);
}

static void remote_answer(struct core *core, struct log *log, struct waiting *waiting)
{
	struct instance *instance = instance_find(log, waiting->luid);

	if (instance)
		recovery_remote_answer(core, log, instance, waiting->seq, waiting->region);
	waiting_drop(log, waiting);
}

void kernel_answer_waiting(struct core *core, struct log *log)
{
	bool remote_held = recovery_remote_held(core, log);
	struct waiting *waiting, *next;
	struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry) {
		/* The kernel had given up waiting for that CTR. */
		if (core->now_ns > instance->reconnect_until_ns && instance->state != INSTANCE_RESUMING)
			reconnect_close(core, log, instance, instance->reconnects_open);
		if (instance->state != INSTANCE_RESUMING)
			continue;
		resume_send(core, log, instance);
		resume_answer(core, log, instance);
	}
	for (waiting = TAILQ_FIRST(&log->waitings); waiting; waiting = next) {
		next = TAILQ_NEXT(waiting, entry);
		switch (waiting->type) {
		case ULOG_FLUSH:
		case ULOG_SET_REGION_SYNC: flush_answer(core, log, waiting); break;
		case ULOG_CTR: reconnect_answer(core, log, waiting); break;
		case ULOG_IS_REMOTE_RECOVERING:
			if (!remote_held)
				remote_answer(core, log, waiting);
			break;
		default: break; /* RESUME above, PRESUSPEND and POSTSUSPEND in suspend.c */
		}
	}
}

/* --- life of a table
 * ------------------------------------------------------------------------------------------- */

static struct instance *ctr_new_instance(struct core *core, const struct ulog_request *request,
					 const struct constructor *constructor)
{
	bool fresh = !log_find(core, request->uuid);
	struct log *log = log_get(core, request->uuid);
	struct instance *instance = log ? instance_add(core, log, request->luid) : NULL;

	if (!log)
		return NULL;
	run_state_number_used(core, request->uuid, request->luid);
	/* A daemon that died between two changes may have left bits of nobody. */
	if (fresh)
		run_state_forget(core, log, 0);
	log_poke(core, log);
	if (!instance)
		return NULL;
	instance->constructor = *constructor;
	/* The shape in use is that of the table resumed last: what this node knows, and would speak of, is of
	 * that size. It changes when another is resumed. */
	if (!log_known(log))
		shape_of(constructor, &log->shape);
	return instance;
}

static void ctr_reply(struct core *core, const struct ulog_request *request,
		      const struct constructor *constructor)
{
	char name[CONSTRUCTOR_STATUS_BYTES];
	int length = constructor_device(constructor, name, sizeof(name));

	/* The kernel takes a reference on the device; the NUL belongs to the data. */
	reply(core, request->seq, request->luid, 0, name, length > 0 ? (uint32_t)length + 1 : 0);
}

static void ctr_reconnect(struct core *core, struct log *log, struct instance *instance,
			  const struct ulog_request *request, const struct constructor *constructor)
{
	if (!instance) {
		instance = ctr_new_instance(core, request, constructor);
		if (!instance) {
			reply_plain(core, request, -ENOMEM);
			return;
		}
		/* A table this daemon has no memory of may have written anything (hazard A10). */
		instance->tainted = true;
		run_state_introduced(core, request->uuid);
		log = log_find(core, request->uuid);
		core_log(core, LOG_WARNING,
			 "log %s: a table that is not remembered reconnects: all of it stays dirty until it "
			 "is reloaded",
			 log->uuid);
	}
	kernel_wait(core, log, request, 0);
}

static void request_ctr(struct core *core, const struct ulog_request *request)
{
	struct constructor constructor;
	struct instance *instance;
	struct log *log = NULL;
	bool terminated = false;
	const char *why = "";

	if (constructor_parse(request->data, request->data_bytes, &constructor, &terminated, &why)) {
		core_log(core, LOG_ERR, "log %s: bad constructor arguments: %s", request->uuid, why);
		reply_plain(core, request, -EINVAL);
		return;
	}
	instance = instance_find_any(core, request->luid, &log);
	if (instance && terminated && !strcmp(log->uuid, request->uuid)) {
		ctr_reconnect(core, log, instance, request, &constructor);
		return;
	}
	/* A luid is used again after a DTR that was lost, or after a constructor that failed. */
	if (instance) {
		instance_destroy(core, log, instance);
		log_poke(core, log);
	}
	if (terminated) {
		ctr_reconnect(core, NULL, NULL, request, &constructor);
		return;
	}
	if (!ctr_new_instance(core, request, &constructor)) {
		core_log(core, LOG_ERR, "log %s: too many tables of one log, or memory is short",
			 request->uuid);
		reply_plain(core, request, -ENOMEM);
		return;
	}
	/* A daemon that starts between this and the RESUME has heard of the table. */
	run_state_meta(core, log_find(core, request->uuid));
	ctr_reply(core, request, &constructor);
}

/* The RESUME was of a reconnect, and its table is suspended, or another runs, before this node could resume
 * it: nothing of the log is begun for it any more, and what the others hear of it they hear to its end. */
static void resume_cut(struct core *core, struct log *log, struct instance *instance)
{
	unsigned count = waiting_count(log, instance->luid, ULOG_RESUME);

	instance->resume_cut = true;
	waiting_reply_all(core, log, instance->luid, ULOG_RESUME, 0);
	reconnect_close(core, log, instance, count);
	suspend_begin(core, log, instance);
}

void resume_begin(struct core *core, struct log *log, struct instance *instance)
{
	struct instance *it;

	/* One table of a log runs on a host: another that seems to has been suspended while nobody listened.
	 */
	TAILQ_FOREACH (it, &log->instances, entry) {
		if (it == instance)
			continue;
		if (it->state == INSTANCE_RESUMED || it->state == INSTANCE_PRESUSPENDED) {
			it->replaced_until_ns = core->now_ns + REPLACED_NS;
			suspend_begin(core, log, it);
		} else if (it->state == INSTANCE_RESUMING) {
			resume_cut(core, log, it);
			it->outrun = true;
		}
	}
	suspend_forget(log, instance);
	instance->state = INSTANCE_RESUMING;
	instance->resume_sent = instance->resume_heard = instance->resume_cut = instance->outrun = false;
	instance->replaced_until_ns = 0;
	recovery_work_end(core, log, instance);
	if (CORE_MUTANT(HELD_RESUMED)) {
		struct region_set held = {0};

		region_set_move(&held, &instance->held);
		marks_abandon(core, log, &held);
		region_set_fini(&held);
	}
	log_poke(core, log);
}

/* A table that this daemon remembers is on its way to be resumed. */
static bool log_remembered_resuming(const struct log *log)
{
	const struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->state == INSTANCE_RESUMING && !instance->tainted)
			return true;
	return false;
}

static bool instance_rests(const struct instance *instance)
{
	return instance->state == INSTANCE_SUSPENDING || instance->state == INSTANCE_SUSPENDED;
}

/* A host runs one table of a log, and it is not this one: its DTR is lost, or comes by then. */
static void outrun_replaced(struct core *core, struct log *log)
{
	struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry) {
		if (!instance->outrun)
			continue;
		instance->outrun = false;
		instance->replaced_until_ns = core->now_ns + REPLACED_NS;
	}
}

/* dm_swap_table() leaves the former table behind, which suspends or has suspended. One that has reconnected
 * was a former one even then. Their DTRs may be lost, or were when a former daemon waited for them. */
static void others_replaced(struct core *core, struct log *log, const struct instance *instance)
{
	struct instance *it;

	outrun_replaced(core, log);
	TAILQ_FOREACH (it, &log->instances, entry)
		if (it != instance && !it->replaced_until_ns &&
		    (instance_rests(it) || (it->state == INSTANCE_CONSTRUCTED && it->tainted)))
			it->replaced_until_ns = core->now_ns + REPLACED_NS;
}

static void request_resume(struct core *core, struct log *log, struct instance *instance,
			   const struct ulog_request *request)
{
	/* That of a table without memory waits, and is sent again after 15 s. */
	bool again = instance->state == INSTANCE_RESUMING && instance->tainted && instance->reconnects_open;
	bool reconnect = again || core->now_ns <= instance->reconnect_until_ns;

	instance->switched_ns = reconnect ? instance->switched_ns : core->now_ns;
	if (instance->state == INSTANCE_RESUMED) {
		instance->ran_ns = reconnect ? instance->ran_ns : core->now_ns;
		reply_plain(core, request, 0);
		reconnect_close(core, log, instance, 1);
		return;
	}
	/* Suspended and inactive tables reconnect too; that is no resume (hazard B3), unless one was
	 * suspended for another's sake. Should one that nobody remembers be the one that runs, it will ask
	 * what only that one may. */
	if (reconnect && (!instance->tainted || (instance_rests(instance) && !instance->outrun) ||
			  log_resumed_instance(log) || log_remembered_resuming(log))) {
		reply_plain(core, request, 0);
		reconnect_close(core, log, instance, 1);
		return;
	}
	if (!reconnect) {
		run_state_resumes(core, log->uuid, instance->luid);
		others_replaced(core, log, instance);
	}
	if (instance->state != INSTANCE_RESUMING)
		resume_begin(core, log, instance);
	kernel_wait(core, log, request, 0);
}

static void request_presuspend(struct core *core, struct log *log, struct instance *instance,
			       const struct ulog_request *request)
{
	if (instance->state == INSTANCE_RESUMED)
		instance->state = INSTANCE_PRESUSPENDED;
	if (instance->state == INSTANCE_PRESUSPENDED && log->repairing)
		kernel_wait(core, log, request, 0);
	else
		reply_plain(core, request, 0);
}

static void request_postsuspend(struct core *core, struct log *log, struct instance *instance,
				const struct ulog_request *request)
{
	instance->switched_ns = core->now_ns;
	if (instance->state == INSTANCE_RESUMED || instance->state == INSTANCE_PRESUSPENDED)
		suspend_begin(core, log, instance);
	/* Or it ran, and has yet to be resumed here. */
	else if (instance->state == INSTANCE_RESUMING ||
		 (instance->state == INSTANCE_CONSTRUCTED && instance->tainted))
		resume_cut(core, log, instance);
	instance->outrun = false;
	if (instance->state == INSTANCE_SUSPENDING)
		kernel_wait(core, log, request, 0);
	else
		reply_plain(core, request, 0);
}

/* --- regions
 * --------------------------------------------------------------------------------------------------- */

static bool regions_valid(const struct instance *instance, const struct ulog_request *request)
{
	for (size_t i = 0; i < ulog_region_count(request); i++)
		if (ulog_region(request, i) >= instance->constructor.region_count)
			return false;
	return true;
}

static void request_mark(struct core *core, struct log *log, struct instance *instance,
			 const struct ulog_request *request)
{
	for (size_t i = 0; i < ulog_region_count(request); i++)
		marks_add(core, log, instance, (region_t)ulog_region(request, i));
}

static void request_clear(struct core *core, struct log *log, struct instance *instance,
			  const struct ulog_request *request)
{
	for (size_t i = 0; i < ulog_region_count(request); i++) {
		marks_remove(core, log, instance, (region_t)ulog_region(request, i));
		recovery_cleared(core, log, instance, (region_t)ulog_region(request, i));
	}
}

static void request_flush(struct core *core, struct log *log, struct instance *instance,
			  const struct ulog_request *request)
{
	uint64_t batch;

	request_mark(core, log, instance, request);
	/* Who holds nothing is promised nothing: a FLUSH behind CLEARs goes on without quorum too (hazard
	 * B5). Nor is a suspended table, which writes nothing: its POSTSUSPEND may still wait for this FLUSH
	 * (userspace_postsuspend()), when what was lost is the daemon that listened. What a tainted table
	 * holds is not known: its MARKs may have been answered by a daemon whose memory is lost (hazard A13).
	 */
	if ((region_set_is_empty(&instance->held) && !instance->tainted) ||
	    instance->state == INSTANCE_SUSPENDED) {
		reply_plain(core, request, 0);
		return;
	}
	batch =
	    region_set_is_empty(&log->pending) && !log->pending_due ? log->batch_sent : log->batch_sent + 1;
	if (batch <= log->batch_committed) {
		reply_plain(core, request, 0);
		return;
	}
	/* Pending marks leave in one frame as a rule; what does not fit goes with the next, under a later
	 * number. */
	log->pending_due = true;
	kernel_wait(core, log, request, batch);
}

static void request_status(struct core *core, struct log *log, struct instance *instance,
			   const struct ulog_request *request)
{
	const struct world_log *world = log_world(core, log);
	char text[CONSTRUCTOR_STATUS_BYTES];
	int length;

	if (request->type == ULOG_STATUS_INFO)
		length = constructor_status_info(&instance->constructor,
						 world && world->device_dead ? 'D' : 'A', text, sizeof(text));
	else
		length = constructor_status_table(&instance->constructor, text, sizeof(text));
	reply(core, request->seq, request->luid, 0, text, length > 0 ? (uint32_t)length + 1 : 0);
}

static bool region_clean(const struct core *core, const struct log *log, region_t region)
{
	const struct world_log *world = log_world(core, log);

	return world && !world_log_dirty(world, region) && !region_set_contains(&log->pending, region);
}

/* What only a running table may ask; from any other it means that this daemon missed a RESUME (hazard B3). */
static bool needs_resumed(const struct ulog_request *request)
{
	switch (request->type) {
	case ULOG_IN_SYNC:
	case ULOG_MARK_REGION:
	case ULOG_GET_RESYNC_WORK:
	case ULOG_IS_REMOTE_RECOVERING: return true;
	/* With integrated_flush it marks. */
	case ULOG_FLUSH: return ulog_region_count(request) > 0;
	default: return false;
	}
}

static void request_region(struct core *core, struct log *log, struct instance *instance,
			   const struct ulog_request *request)
{
	switch (request->type) {
	case ULOG_IS_CLEAN:
		reply_u64(core, request, region_clean(core, log, (region_t)ulog_region(request, 0)));
		break;
	case ULOG_IN_SYNC:
		reply_u64(core, request,
			  !region_set_contains(&log->unsynced, (region_t)ulog_region(request, 0)));
		break;
	case ULOG_FLUSH: request_flush(core, log, instance, request); break;
	case ULOG_MARK_REGION:
		request_mark(core, log, instance, request);
		reply_plain(core, request, 0);
		break;
	case ULOG_CLEAR_REGION:
		request_clear(core, log, instance, request);
		reply_plain(core, request, 0);
		break;
	case ULOG_SET_REGION_SYNC: recovery_set_sync(core, log, instance, request); break;
	default: recovery_remote(core, log, instance, request); break;
	}
}

/* Only a table that runs asks this, so its RESUME was lost; and what ran before it is gone, for a host runs
 * one table of a log: its POSTSUSPEND and DTR were lost too (hazard B3). */
void resume_unheard(struct core *core, struct log *log, struct instance *instance)
{
	struct instance *other, *next;

	core_log(core, LOG_NOTICE, "log %s: its table was resumed while nobody listened", log->uuid);
	for (other = TAILQ_FIRST(&log->instances); other; other = next) {
		next = TAILQ_NEXT(other, entry);
		if (other != instance && (instance_live(other) || other->state == INSTANCE_SUSPENDED))
			instance_destroy(core, log, other);
	}
	resume_begin(core, log, instance);
}

/* It did what only a table that runs does. Another was taken for that, by its reconnect or from a list of
 * device-mapper: it was the former. */
static void resume_proven(struct core *core, struct log *log, struct instance *instance)
{
	resume_unheard(core, log, instance);
	outrun_replaced(core, log);
}

static bool log_another_runs(const struct log *log, const struct instance *instance)
{
	const struct instance *it;

	TAILQ_FOREACH (it, &log->instances, entry)
		if (it != instance && !it->outrun && (instance_live(it) || it->state == INSTANCE_RESUMING))
			return true;
	return false;
}

/* Its reconnect was answered, or will be, while another was taken for the one that runs. */
static bool came_back(const struct instance *instance)
{
	return instance->state == INSTANCE_CONSTRUCTED && instance->tainted && !instance->replaced_until_ns;
}

/* Of two tables that reconnected one was the former, which dm_swap_table() ends: the other one runs. */
static void outrun_resume(struct core *core, struct log *log)
{
	struct instance *instance;

	if (log_resumed_instance(log))
		return;
	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->outrun || (came_back(instance) && !log_another_runs(log, instance))) {
			resume_begin(core, log, instance);
			return;
		}
}

static void request_sync_count(struct core *core, const struct log *log, struct instance *instance,
			       const struct ulog_request *request)
{
	uint64_t count = 0;

	/* A table whose RESUME was cut was told nothing of the log (hazard B8). */
	if (instance_live(instance) && !instance->resume_cut)
		count = recovery_sync_count(core, log);
	if (count >= instance->constructor.region_count)
		instance->remote_over = true;
	reply_u64(core, request, count);
}

/* With the RESUME of another the one that runs was DESTROYED for the cluster: from here on one without a
 * number stands for it, as in memory_lost() of world_apply.c. */
static void unknown_tell(struct core *core, const struct log *log)
{
	if (core->join == JOIN_READY && resume_record(core, log->uuid, LUID_UNKNOWN, &log->shape, true))
		send_add(core, RECORD_SUSPENDED, log->uuid);
}

/* The kernel suspends what runs before it drops it. One that came back unknown and goes without that was only
 * loaded, or a former one: the one that runs has not said a word yet, or was taken for the former. */
static void request_dtr(struct core *core, struct log *log, struct instance *instance,
			const struct ulog_request *request)
{
	struct remembered_table *table = run_state_loaded(core, log->uuid);
	bool ran = instance_rests(instance);

	if (!table && !log_another_runs(log, instance))
		table = run_state_beside(core, log->uuid, instance->luid);
	table = instance->tainted && !ran ? table : NULL;
	if (table && (instance->known || instance->resume_sent))
		unknown_tell(core, log);
	instance_destroy(core, log, instance);
	if (table) {
		table->unloaded = request->luid;
		table->here = table->unknown = true;
	}
	outrun_resume(core, log);
	reply_plain(core, request, 0);
}

static void request_known(struct core *core, struct log *log, struct instance *instance,
			  const struct ulog_request *request)
{
	/* One that another outran looks like one that suspends, and knows nothing of the log. */
	if (needs_resumed(request) && (!instance_live(instance) || instance->outrun)) {
		reply_unknown(core, request);
		if (instance->state != INSTANCE_RESUMING)
			resume_proven(core, log, instance);
		return;
	}
	if (needs_resumed(request))
		instance->ran_ns = core->now_ns;
	switch (request->type) {
	case ULOG_DTR: request_dtr(core, log, instance, request); break;
	case ULOG_PRESUSPEND: request_presuspend(core, log, instance, request); break;
	case ULOG_POSTSUSPEND: request_postsuspend(core, log, instance, request); break;
	case ULOG_RESUME: request_resume(core, log, instance, request); break;
	case ULOG_GET_REGION_SIZE: reply_u64(core, request, instance->constructor.region_size_sectors); break;
	case ULOG_GET_RESYNC_WORK: recovery_work(core, log, instance, request); break;
	case ULOG_GET_SYNC_COUNT: request_sync_count(core, log, instance, request); break;
	case ULOG_STATUS_INFO:
	case ULOG_STATUS_TABLE: request_status(core, log, instance, request); break;
	default:
		/* MARK and CLEAR never get an error, which would drop the kernel's whole list (hazard A13): a
		 * region out of range cannot come from dm-mirror. */
		if (regions_valid(instance, request)) {
			request_region(core, log, instance, request);
			break;
		}
		core_log(core, LOG_ERR, "log %s: %s of a region out of range", log->uuid,
			 ulog_type_name(request->type));
		reply_plain(core, request, -EINVAL);
		break;
	}
}

static bool another_has_a_number(const struct core *core, const struct world_log *world, luid_t luid)
{
	const struct participant *self = participant_find(world, core->config.node);

	for (unsigned i = 0; self && i < self->instance_count; i++)
		if (self->instances[i].luid != luid && self->instances[i].luid != LUID_UNKNOWN)
			return true;
	return false;
}

/* Say of a table that this daemon lost its memory of, and that went: the cluster may know of it (hazard A10),
 * or it may have written unmarked without a word. Returns whether that is to be waited for. */
static bool ended_tell(struct core *core, const char *uuid, luid_t luid, bool other)
{
	const struct world_log *world = world_log_find(&core->world, uuid);

	if (core->join != JOIN_READY)
		return true;
	if (!world)
		return false;
	if (!log_here_known(core, uuid, luid) && !resume_record(core, uuid, luid, &world->shape, true))
		return true;
	send_destroyed(core, uuid, luid);
	if (other && !another_has_a_number(core, world, luid))
		resume_record(core, uuid, LUID_UNKNOWN, &world->shape, true);
	return true;
}

/* Was it one of two that nobody knows? Which of them ran cannot be told, nor what the other does. */
static bool ended_beside_another(struct core *core, struct remembered_table *table, luid_t luid)
{
	if (table->loaded && !table->unloaded)
		table->unloaded = luid;
	return table->unloaded == luid || run_state_beside(core, table->uuid, luid);
}

void kernel_ended_tell(struct core *core)
{
	for (size_t i = 0; i < core->table_count; i++) {
		struct remembered_table *table = &core->tables[i];

		if (table->owed && !send_waits(core, RECORD_DESTROYED, table->uuid))
			table->owed = ended_tell(core, table->uuid, table->ended, table->another);
	}
}

/* When the cluster hears of a table that nobody knows, this answer waits for the kernel's next copy, in 15 s.
 * A daemon that is not ready, or has to start from a checkpoint before that is in the order, says it then. */
static void request_dtr_unknown(struct core *core, const struct ulog_request *request)
{
	struct remembered_table *table = run_state_unknown(core, request->uuid);
	bool known = log_here_known(core, request->uuid, request->luid), another;

	if (core->join == JOIN_READY && (known || table) && !send_has_room(core))
		return; /* the kernel asks again */
	another = table && ended_beside_another(core, table, request->luid);
	if (known)
		ended_tell(core, request->uuid, request->luid, false);
	else if (table && table->ended != request->luid) {
		table->ended = request->luid;
		table->here = table->another = another;
		table->owed = ended_tell(core, request->uuid, request->luid, another);
		if (table->owed && core->join == JOIN_READY)
			return;
	}
	reply_plain(core, request, 0);
}

void kernel_request(struct core *core, const struct ulog_request *request)
{
	struct log *log = log_find(core, request->uuid);
	struct instance *instance = log ? instance_find(log, request->luid) : NULL;

	if (request->type == ULOG_CTR) {
		request_ctr(core, request);
		return;
	}
	if (request->type == ULOG_DTR)
		core->ended_ns = core->now_ns;
	if (request->type == ULOG_PRESUSPEND || request->type == ULOG_POSTSUSPEND)
		run_state_suspends(core, request->uuid, request->luid);
	if (!instance) {
		if (request->type == ULOG_RESUME)
			run_state_resumes(core, request->uuid, request->luid);
		if (request->type == ULOG_DTR)
			request_dtr_unknown(core, request);
		else
			reply_unknown(core, request);
		return;
	}
	request_known(core, log, instance, request);
	log_poke(core, log);
}
