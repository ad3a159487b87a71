/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recovery by the kernel: regions that no running instance was told IN_SYNC 1 for. The role of recoverer is
 * the claim for all of them, so work is handed out without asking anybody.
 */
#include "daemon/core/internal.h"

/* Writes that wait this long for a recovery that no work is asked for wait for one that has stopped. */
#define RESCUE_PATIENCE_NS (2 * NS_PER_S)
/* A copy that failed without a word from a leg is tried again after this long. */
#define RESCUE_RETRY_NS NS_PER_S
/* What writers still wait for is asked of the recoverer once more after this long. */
#define WANT_AGAIN_NS (2 * NS_PER_S)
/* A mirror that may have to ask IS_REMOTE_RECOVERING and has not for so long gets its turn: one that did not
 * ask when it had it, the other. */
#define REMOTE_TURN_NS	    NS_PER_S
#define REMOTE_TURN_IDLE_NS (10 * NS_PER_S)
/* The kernel's limit of 250 ms, 200 ms until a worker tries again, and some. */
#define REMOTE_HOLD_NS (NS_PER_S / 2)

static bool work_possible(const struct core *core, const struct log *log, const struct instance *instance)
{
	const struct world_log *world = log_world(core, log);

	return instance->state == INSTANCE_RESUMED && log_active(core, log) &&
	       world->recoverer == core->config.node && !world_log_assembling(&core->world, world);
}

/* A failure of this node's own counts before the others have heard of it (hazard B11). */
static bool work_fits(const struct log *log, const struct world_log *world, region_t region)
{
	return region_set_contains(&log->unsynced, region) && region_set_contains(&world->unsynced, region) &&
	       !region_set_contains(&log->failed, region) && !(log->rescuing && log->rescue == region);
}

/* What writers wait for comes first, then the rest in order. */
static bool work_choose(struct log *log, const struct world_log *world, region_t *ret_region)
{
	region_t region = 0;

	while (region_set_first(&log->wanted, &region)) {
		region_set_remove(&log->wanted, region);
		*ret_region = region;
		if (work_fits(log, world, region))
			return true;
	}
	for (int pass = 0; pass < 2; pass++) {
		region_t from = pass == 0 ? log->work_cursor : 0;

		while (region_set_next(&log->unsynced, from, &region)) {
			*ret_region = region;
			if (work_fits(log, world, region))
				return true;
			if (region == UINT32_MAX)
				break;
			from = region + 1;
		}
	}
	return false;
}

/* The kernel copies one region at a time (MAX_RECOVERY of dm-region-hash.c). */
void recovery_work_set(struct core *core, struct log *log, struct instance *instance, region_t region)
{
	recovery_work_end(core, log, instance);
	instance->has_work = true;
	instance->work_void = false;
	instance->work = region;
	run_state_bit(core, log, RUN_WORK, 0, region, true);
}

void recovery_work_end(struct core *core, struct log *log, struct instance *instance)
{
	if (instance->has_work)
		run_state_bit(core, log, RUN_WORK, 0, instance->work, false);
	instance->has_work = false;
}

/* What its kernel has copied it clears behind its report (dm_rh_update_states()), which is lost when the
 * daemon dies between the CTR and the RESUME of a reconnect (userspace_do_request()). Nothing is in sync by
 * that: it is handed out again, or copied by this daemon for a kernel that has stopped. */
void recovery_cleared(struct core *core, struct log *log, struct instance *instance, region_t region)
{
	if (instance->has_work && instance->work == region)
		recovery_work_end(core, log, instance);
}

void recovery_work(struct core *core, struct log *log, struct instance *instance,
		   const struct ulog_request *request)
{
	uint8_t data[16];
	bool possible = work_possible(core, log, instance);
	region_t region = 0;

	instance->remote_since_ns = 0;
	/* A resent question gets the same region (hazard B11). Who asks copies nothing. */
	if (!possible || (instance->has_work && !work_fits(log, log_world(core, log), instance->work)))
		recovery_work_end(core, log, instance);
	if (possible && !instance->has_work) {
		if (work_choose(log, log_world(core, log), &region))
			recovery_work_set(core, log, instance, region);
		log->work_cursor = region;
	}
	ulog_data_two_u64(data, possible && instance->has_work,
			  possible && instance->has_work ? instance->work : 0);
	reply(core, request->seq, request->luid, 0, data, sizeof(data));
}

static void region_copied(struct core *core, struct log *log, region_t region)
{
	bool wanted =
	    region_set_contains(&log->want_sent, region) || region_set_contains(&log->want_pending, region);

	/* From this answer on the recoverer's own instance is told IN_SYNC 1 (hazard A3); the others when
	 * they hear. Until then this node's memory alone knows that its cache may have the copy still. */
	run_state_untold(core, log, region);
	if (region_set_remove(&log->unsynced, region))
		run_state_bit(core, log, RUN_UNSYNCED, 0, region, false);
	region_set_add(&log->copied, region);
	if (wanted || !region_set_is_empty(&log->wanted))
		log->copied_due_ns = core->now_ns;
	else if (log->copied_due_ns == UINT64_MAX)
		log->copied_due_ns = core->now_ns + SYNC_BATCH_NS;
}

/* Was the region copied, and nobody told yet? The own table was told IN_SYNC 1: all are, without a flush,
 * because the failure keeps the region dirty. */
static void copied_tell(struct log *log, region_t region)
{
	bool copied = region_set_remove(&log->copied, region);

	copied = region_set_remove(&log->copied_flushing, region) || copied;
	if (copied)
		region_set_add(&log->copied_ready, region);
}

/* A leg failed under a write or a copy: the region is for nobody to copy before the tables are younger
 * (hazard B11). It is marked, also if it was before: so there is a batch to wait for, and the device has it
 * dirty. What the table was told of it stays: its kernel remembers by itself that the region is out of sync.
 */
static void region_failed(struct core *core, struct log *log, region_t region)
{
	copied_tell(log, region);
	log_tables_old(core, log);
	if (region_set_add(&log->failed, region))
		run_state_bit(core, log, RUN_FAILED, 0, region, true);
	region_set_add(&log->fail_pending, region);
	marks_force(core, log, region);
}

void recovery_set_sync(struct core *core, struct log *log, struct instance *instance,
		       const struct ulog_request *request)
{
	region_t region = (region_t)ulog_region(request, 0);
	const struct world_log *world = log_world(core, log);
	bool own = instance->has_work && instance->work == region;
	bool good = own && !instance->work_void;

	if (own)
		recovery_work_end(core, log, instance);
	if (!ulog_in_sync(request)) {
		/* The write that saw the leg fail waits until all know. */
		region_failed(core, log, region);
		kernel_wait(core, log, request, log->batch_sent + 1);
		return;
	}
	/* Counts only for the region last handed out (hazard A11), and not once another node's leg has
	 * failed. */
	if (((good && world && world->recoverer == core->config.node) || CORE_MUTANT(STALE_SYNC)) && world &&
	    region_set_contains(&world->unsynced, region))
		region_copied(core, log, region);
	reply(core, request->seq, request->luid, 0, NULL, 0);
}

/* Nobody copies a failed region before every table is younger than the failure. A table that is not, and has
 * to be reloaded anyway, gets its writes through: they land on its first leg alone, as with a log of the
 * kernel's own. What waits would keep it from being suspended. A younger table writes when the region is
 * recovered. */
static bool let_through(const struct core *core, const struct world_log *world,
			const struct instance *instance, region_t region)
{
	struct participant *self = world ? participant_find(world, core->config.node) : NULL;
	const struct world_instance *known = self ? participant_instance(self, instance->luid) : NULL;

	return core->active && known && known->old && region_set_contains(&world->failed, region);
}

/* The log device has what failed as dirty when its writer has committed a batch that was made after this node
 * heard of it: a device that could not be read or written may have it clean (hazard B6). */
static bool failures_durable(struct core *core, struct log *log)
{
	if (!log->shape.disk)
		return true;
	if (!log->failures_batch) {
		log->failures_batch = log->batch_sent + 1;
		log->pending_due = true;
		log_poke(core, log);
	}
	return log->batch_committed >= log->failures_batch;
}

/*
 * The kernel asks this at most once in 250 ms, for all mirrors of the host together, and each mirror whose
 * writes wait tries it every 200 ms: the phases of these timers decide which of two gets to ask, always the
 * same. The writes, and the suspend, of the other wait for ever. While a question waits for its answer that
 * mirror's worker asks no other: so it waits until those that did not get to ask have had their turn. One in
 * sync asks too, until its kernel has been told so.
 */
static bool remote_turn(const struct core *core, const struct instance *instance)
{
	uint64_t patience_ns = instance->remote_idle ? REMOTE_TURN_IDLE_NS : REMOTE_TURN_NS;

	return (instance->state == INSTANCE_RESUMED || instance->state == INSTANCE_PRESUSPENDED) &&
	       !instance->remote_over && core->now_ns - instance->remote_asked_ns >= patience_ns;
}

/* Is it the turn of others? `over`: it has been, and they had nothing to ask. */
static bool remote_turn_of_others(struct core *core, const struct log *log, bool over)
{
	struct instance *instance;
	struct log *other;
	bool found = false;

	TAILQ_FOREACH (other, &core->logs, entry) {
		if (other == log)
			continue;
		TAILQ_FOREACH (instance, &other->instances, entry) {
			if (!remote_turn(core, instance))
				continue;
			found = true;
			if (!over)
				continue;
			instance->remote_idle = true;
			instance->remote_asked_ns = core->now_ns;
		}
	}
	return found;
}

/* Do the questions of this log wait on? */
bool recovery_remote_held(struct core *core, struct log *log)
{
	bool over = core->now_ns >= log->remote_hold_ns;

	if (!log->remote_hold_ns)
		return false;
	if (remote_turn_of_others(core, log, over) && !over)
		return true;
	log->remote_hold_ns = 0;
	return false;
}

void recovery_remote(struct core *core, struct log *log, struct instance *instance,
		     const struct ulog_request *request)
{
	struct log *other;

	instance->remote_asked_ns = core->now_ns;
	instance->remote_idle = false;
	TAILQ_FOREACH (other, &core->logs, entry)
		if (other->remote_hold_ns)
			log_poke(core, other);
	if (!log->remote_hold_ns && remote_turn_of_others(core, log, false))
		log->remote_hold_ns = core->now_ns + REMOTE_HOLD_NS;
	if (log->remote_hold_ns)
		kernel_wait(core, log, request, 0);
	else
		recovery_remote_answer(core, log, instance, request->seq, (region_t)ulog_region(request, 0));
}

void recovery_remote_answer(struct core *core, struct log *log, struct instance *instance, uint32_t seq,
			    region_t region)
{
	region_t first = 0;
	const struct world_log *world = log_world(core, log);
	bool recovering = region_set_contains(&log->unsynced, region);
	uint64_t hint = log->shape.region_count;
	uint8_t data[16];

	if (recovering && let_through(core, world, instance, region))
		recovering = !failures_durable(core, log);
	/* No hint passes a region that is not in sync (hazard A3). */
	if (region_set_first(&log->unsynced, &first))
		hint = first;
	if (recovering && !instance->remote_since_ns)
		instance->remote_since_ns = core->now_ns;
	/* The recoverer may be another one since, or have had to leave the region alone for a while. */
	if (core->now_ns >= log->want_again_ns) {
		log->want_again_ns = core->now_ns + WANT_AGAIN_NS;
		region_set_clear(&log->want_sent);
		if (recovering && core->active && world && world->device_dead)
			send_add(core, RECORD_WRITER_AGAIN, log->uuid);
	}
	if (recovering && world && world->recoverer == core->config.node)
		region_set_add(&log->wanted, region);
	else if (recovering && !region_set_contains(&log->want_sent, region))
		region_set_add(&log->want_pending, region);
	instance->remote_over = hint >= instance->constructor.region_count;
	ulog_data_two_u64(data, recovering, hint);
	reply(core, seq, instance->luid, 0, data, sizeof(data));
}

/* Copied, but the legs could not be flushed: the table was told IN_SYNC 1, so all are told, and a mark keeps
 * the region dirty (hazards A3, B7). */
void recovery_tell_marked(struct core *core, struct log *log)
{
	region_t region = 0;

	region_set_union_with(&log->copied, &log->copied_flushing);
	region_set_clear(&log->copied_flushing);
	while (region_set_first(&log->copied, &region)) {
		marks_force(core, log, region);
		region_set_remove(&log->copied, region);
		region_set_add(&log->copied_ready, region);
	}
}

void recovery_synced(struct core *core, struct log *log, const struct region_set *regions)
{
	region_set_subtract(&log->untold, regions);
	run_state_ghosts(core, log);
	region_set_subtract(&log->unsynced, regions);
	run_state_set(core, log, RUN_UNSYNCED, 0, regions, false);
	region_set_subtract(&log->want_sent, regions);
	region_set_subtract(&log->want_pending, regions);
	device_note_clean(core, log, regions);
}

uint64_t recovery_sync_count(const struct core *core, const struct log *log)
{
	struct region_set behind = {0};
	uint64_t count;

	(void)core;
	if (CORE_MUTANT(GHOSTS_COUNT) ||
	    (region_set_is_empty(&log->ghosts) && region_set_is_empty(&log->failed)))
		return log->shape.region_count - region_set_count(&log->unsynced);
	/* The kernel asks right behind its last copy: what is copied and not told yet counts. */
	region_set_copy(&behind, &log->ghosts);
	region_set_subtract(&behind, &log->untold);
	region_set_union_with(&behind, &log->unsynced);
	region_set_union_with(&behind, &log->failed);
	count = log->shape.region_count - region_set_count(&behind);
	region_set_fini(&behind);
	return count;
}

/* Has this kernel stopped recovery, with nothing in flight? Its worker asks for work before it asks for the
 * regions of its writes (do_mirror() of dm-raid1.c), unless it copies or has stopped: PRESUSPEND is not sent
 * again when nobody listened. Nothing is wrong when it turns out to go on: what is copied here is not handed
 * out. */
static bool kernel_stopped(const struct core *core, const struct instance *instance)
{
	if (instance->state == INSTANCE_PRESUSPENDED)
		return true;
	return instance->state == INSTANCE_RESUMED && !instance->has_work && instance->remote_since_ns &&
	       core->now_ns - instance->remote_since_ns >= RESCUE_PATIENCE_NS;
}

/* A kernel that suspends copies no more, but its writes to regions out of sync still wait to be let through,
 * and the suspend waits for them: the recoverer's daemon copies what they wait for (mirror_presuspend() of
 * dm-raid1.c). */
static void rescue_tick(struct core *core, struct log *log, const struct instance *instance)
{
	const struct world_log *world = log_world(core, log);

	if (!kernel_stopped(core, instance) || log->repairing || !log_active(core, log) ||
	    world->recoverer != core->config.node || world_log_assembling(&core->world, world) ||
	    core->now_ns < log->repair_hold_ns)
		return;
	while (region_set_first(&log->wanted, &log->rescue)) {
		region_set_remove(&log->wanted, log->rescue);
		if (!work_fits(log, world, log->rescue))
			continue;
		log->rescuing = true;
		repair_copy_region(core, log, log->rescue);
		return;
	}
}

void recovery_rescued(struct core *core, struct log *log, int error)
{
	log->rescuing = false;
	if (leg_error(error)) {
		region_failed(core, log, log->rescue);
	} else if (error) {
		region_set_add(&log->wanted, log->rescue);
		log->repair_hold_ns = core->now_ns + RESCUE_RETRY_NS;
	} else {
		region_copied(core, log, log->rescue);
	}
}

/* The kernel never polls: who gets the role, or quorum, or something to copy, pokes its worker (hazard B1).
 */
void recovery_tick(struct core *core, struct log *log)
{
	const struct instance *instance = log_resumed_instance(log);
	bool possible = instance && work_possible(core, log, instance) &&
			region_set_intersects(&log->unsynced, &log_world(core, log)->unsynced);

	if (possible && !log->was_recoverer)
		effect_add_log(core, EFFECT_WAKE, log);
	log->was_recoverer = possible;
	if (instance)
		rescue_tick(core, log, instance);
}
