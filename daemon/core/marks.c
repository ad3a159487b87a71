/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The marks of this node: from the kernel's MARK to the commit, from its CLEAR through the linger to the
 * cluster.
 *
 *   held (kernel)  ->  pending  ->  announced  ->  commit: FLUSH is answered
 *   CLEAR: announced stays and lingers  ->  legs flushed  ->  clearing  ->  CLEAR in the order
 */
#include "daemon/core/internal.h"

#include <errno.h>

static uint64_t linger_step_ns(const struct core *core)
{
	/* Two generations: a mark lingers between one and two steps. */
	return core->config.linger_ns / 2 + 1;
}

static void linger_start(struct core *core, struct log *log, region_t region)
{
	region_set_add(&log->linger_young, region);
	if (log->linger_due_ns == UINT64_MAX)
		log->linger_due_ns = core->now_ns + linger_step_ns(core);
	if (region_set_count(&log->linger_young) + region_set_count(&log->linger_old) >
	    core->config.linger_regions)
		log->linger_due_ns = core->now_ns;
}

void marks_add(struct core *core, struct log *log, struct instance *instance, region_t region)
{
	if (region_set_add(&instance->held, region))
		run_state_bit(core, log, RUN_HELD, instance->luid, region, true);
	region_set_remove(&log->linger_young, region);
	region_set_remove(&log->linger_old, region);
	region_set_remove(&log->flushing, region);
	/* A clear that nobody has seen yet is taken back: the mark is still committed. */
	if (region_set_remove(&log->clearing, region))
		region_set_add(&log->announced, region);
	if (region_set_contains(&log->announced, region) || region_set_contains(&log->pending, region))
		return;
	region_set_add(&log->pending, region);
	run_state_bit(core, log, RUN_MARKED, 0, region, true);
}

/* What the cluster remembers of this node and the node itself does not, also what waits for the end of a copy
 * (hazard A12). Whether it was committed is unknown: it is marked again at once, and who relies on it waits
 * for that batch, which waits for the copy like any other. */
void marks_learn(struct core *core, struct log *log, const struct participant *self,
		 struct region_set *ret_unknown)
{
	region_set_copy(ret_unknown, &self->marks);
	region_set_union_with(ret_unknown, &self->waiting);
	region_set_subtract(ret_unknown, &log->announced);
	region_set_subtract(ret_unknown, &log->pending);
	region_set_subtract(ret_unknown, &log->clearing);
	region_set_subtract(ret_unknown, &log->cleared_in_flight);
	region_set_union_with(&log->announced, ret_unknown);
	region_set_union_with(&log->pending, ret_unknown);
	run_state_set(core, log, RUN_MARKED, 0, ret_unknown, true);
	log->pending_due = log->pending_due || !region_set_is_empty(ret_unknown);
}

/* Its kernel may hold them (hazard A10). */
void marks_adopt(struct core *core, struct log *log, struct instance *instance,
		 const struct participant *self)
{
	struct region_set unknown = {0};

	marks_learn(core, log, self, &unknown);
	region_set_union_with(&instance->held, &unknown);
	run_state_set(core, log, RUN_HELD, instance->luid, &unknown, true);
	region_set_fini(&unknown);
}

/* Nobody else knows of the marks of this node any more. */
void marks_unlearn(struct log *log)
{
	const struct instance *instance;

	region_set_union_with(&log->pending, &log->announced);
	region_set_union_with(&log->pending, &log->clearing);
	region_set_union_with(&log->pending, &log->cleared_in_flight);
	region_set_union_with(&log->linger_young, &log->linger_old);
	region_set_union_with(&log->linger_young, &log->flushing);
	region_set_union_with(&log->linger_young, &log->clearing);
	region_set_union_with(&log->linger_young, &log->cleared_in_flight);
	region_set_clear(&log->announced);
	region_set_clear(&log->clearing);
	region_set_clear(&log->cleared_in_flight);
	region_set_clear(&log->doubted); /* spoken of as ghosts */
	region_set_clear(&log->linger_old);
	region_set_clear(&log->flushing);
	/* Cleared in the frame that was under way, and marked again since. */
	TAILQ_FOREACH (instance, &log->instances, entry)
		region_set_subtract(&log->linger_young, &instance->held);
	if (!region_set_is_empty(&log->linger_young) && log->linger_due_ns == UINT64_MAX)
		log->linger_due_ns = 0;
}

/* Nobody will clear these any more: they linger like cleared ones, unless another table holds them. */
void marks_abandon(struct core *core, struct log *log, const struct region_set *regions)
{
	region_t region = 0;

	for (uint64_t from = 0; from <= UINT32_MAX && region_set_next(regions, (region_t)from, &region);
	     from = (uint64_t)region + 1)
		if (!log_holds(log, region) && !region_set_contains(&log->linger_old, region))
			linger_start(core, log, region);
}

void marks_force(struct core *core, struct log *log, region_t region)
{
	region_set_remove(&log->announced, region);
	region_set_remove(&log->clearing, region);
	region_set_remove(&log->flushing, region);
	if (region_set_add(&log->pending, region))
		run_state_bit(core, log, RUN_MARKED, 0, region, true);
	log->pending_due = true;
	if (!log_holds(log, region) && !region_set_contains(&log->linger_old, region))
		linger_start(core, log, region);
}

/* A CLEAR removes only what came through its own table (hazard A6). */
void marks_remove(struct core *core, struct log *log, struct instance *instance, region_t region)
{
	const struct world_log *world;

	/* Held until the table is gone: then they are ghosts. */
	if (instance->log_failed || !region_set_remove(&instance->held, region))
		return;
	run_state_bit(core, log, RUN_HELD, instance->luid, region, false);
	if (log_holds(log, region))
		return;
	linger_start(core, log, region);
	/* Somebody waits to copy it. */
	world = log_world(core, log);
	if (world && world->claimed && world->claim == region)
		marks_give_up(core, log, region);
}

/* No lingering for this one: its clear goes with the next flush of the legs. */
void marks_give_up(struct core *core, struct log *log, region_t region)
{
	if (!region_set_remove(&log->linger_young, region) && !region_set_contains(&log->linger_old, region))
		return;
	region_set_add(&log->linger_old, region);
	log->linger_due_ns = core->now_ns;
}

static void legs_flush_start(struct core *core, struct log *log)
{
	struct effect *effect;

	run_state_flush(core, log, true);
	effect = effect_add_log(core, EFFECT_LEGS_FLUSH, log);
	log->legs_busy = true;
	log->flush_due = false;
	log->legs_token = effect->token = core_token(core);
}

static void linger_rotate(struct core *core, struct log *log, bool all)
{
	if (all)
		region_set_union_with(&log->linger_old, &log->linger_young);
	region_set_move(&log->flushing, &log->linger_old);
	if (all)
		region_set_clear(&log->linger_young);
	else
		region_set_move(&log->linger_old, &log->linger_young);
	log->linger_due_ns =
	    region_set_is_empty(&log->linger_old) ? UINT64_MAX : core->now_ns + linger_step_ns(core);
}

/* One flush of the legs serves the marks to give up and the regions copied (hazard B7). */
void marks_tick(struct core *core, struct log *log)
{
	bool linger_due, copied_due, suspends;

	/* The legs of a table that is not live belong to somebody else. */
	if (log->linger_due_ns == UINT64_MAX &&
	    (!region_set_is_empty(&log->linger_young) || !region_set_is_empty(&log->linger_old)))
		log->linger_due_ns = core->now_ns + linger_step_ns(core);
	if (log->copied_due_ns == UINT64_MAX && !region_set_is_empty(&log->copied))
		log->copied_due_ns = core->now_ns + SYNC_BATCH_NS;
	suspends = log->give_up_all && log->flush_due;
	if (!log_table_live(log) || log->legs_busy ||
	    (log->legs_failed && core->now_ns < log->legs_retry_ns && !suspends))
		return;
	log->legs_failed = false;
	linger_due = log->linger_due_ns <= core->now_ns || log->give_up_all;
	copied_due = log->copied_due_ns <= core->now_ns;
	if (linger_due)
		linger_rotate(core, log, log->give_up_all);
	if (copied_due || log->give_up_all) {
		region_set_move(&log->copied_flushing, &log->copied);
		log->copied_due_ns = UINT64_MAX;
	}
	if (!region_set_is_empty(&log->flushing) || !region_set_is_empty(&log->copied_flushing) || suspends ||
	    log->flush_void)
		legs_flush_start(core, log);
}

static void clearing_add(struct log *log, struct region_set *regions)
{
	/* Only what others have heard of can be taken back; what is pending still has not been sent at all.
	 */
	region_set_subtract(&log->pending, regions);
	region_set_intersect(regions, &log->announced);
	if (!CORE_MUTANT(CLEAR_KEEPS))
		region_set_subtract(&log->announced, regions);
	region_set_union_with(&log->clearing, regions);
}

/* Nobody has to hear again that a leg is in trouble: all copies wait for the tables that ran then. */
static bool doubt_known(const struct core *core, const struct log *log)
{
	const struct participant *self = log_self(core, log);

	for (unsigned i = 0; self && i < self->instance_count; i++)
		if (self->instances[i].resumed && !self->instances[i].old)
			return false;
	return self != NULL;
}

/* What was written since the last good flush may be lost on a leg, whatever is flushed later: that goes for
 * all that this node has marked, and for what its kernel copied (dm-log.c takes all for dirty then,
 * disk_flush()). The others hear of it before the marks are cleared; a daemon that dies before says it again
 * when it speaks. */
void marks_doubt(struct core *core, struct log *log)
{
	struct region_set doubt = {0}, known = {0};
	struct instance *instance;

	recovery_tell_marked(core, log);
	/* Of a copy under way the first part may be lost: it counts for nothing, and is made once more. */
	TAILQ_FOREACH (instance, &log->instances, entry)
		instance->work_void = instance->has_work;
	log->repair_void = log->repairing;
	region_set_copy(&doubt, &log->announced);
	region_set_union_with(&doubt, &log->pending);
	if (doubt_known(core, log)) {
		region_set_copy(&known, &log->ghosts);
		region_set_subtract(&known, &log->untold); /* a ghost in this node's memory alone */
		region_set_subtract(&doubt, &known);
	}
	log_tables_old(core, log);
	region_set_union_with(&log->doubted, &doubt);
	run_state_orphans(core, log, &doubt);
	region_set_fini(&known);
	region_set_fini(&doubt);
}

void marks_flushed(struct core *core, struct log *log, int error)
{
	struct region_set unheard = {0}, failing = {0};

	log->legs_busy = false;
	if (log->flush_void && !error)
		error = -EIO;
	/* Another error may be that of one which was not done, and waited for nothing. */
	log->flush_void = log->flush_void && !leg_error(error);
	if (error) {
		if (leg_error(error))
			marks_doubt(core, log);
		/* Marks stay: a region whose bytes may sit in a volatile cache is not clean. */
		log->legs_failed = true;
		log->legs_retry_ns = core->now_ns + LEGS_RETRY_NS;
		region_set_union_with(&log->linger_old, &log->flushing);
		region_set_union_with(&log->copied, &log->copied_flushing);
		region_set_clear(&log->flushing);
		region_set_clear(&log->copied_flushing);
		if (!region_set_is_empty(&log->linger_old))
			log->linger_due_ns = log->legs_retry_ns;
		if (!region_set_is_empty(&log->copied))
			log->copied_due_ns = log->legs_retry_ns;
		core_log(core, LOG_WARNING,
			 "log %s: the legs cannot be flushed (error %d): its regions stay dirty", log->uuid,
			 -error);
		return;
	}
	/* The mark that a leg failure is to be told with is not cleared before. */
	region_set_copy(&failing, &log->flushing);
	region_set_intersect(&failing, &log->fail_pending);
	region_set_union_with(&log->linger_young, &failing);
	region_set_subtract(&log->flushing, &failing);
	region_set_fini(&failing);
	/* Marked and cleared before anything was sent: the persistent bit goes, nobody else knows of it. What
	 * was learned and is to be marked again others know. */
	region_set_copy(&unheard, &log->flushing);
	region_set_intersect(&unheard, &log->pending);
	region_set_subtract(&unheard, &log->announced);
	run_state_set(core, log, RUN_MARKED, 0, &unheard, false);
	region_set_fini(&unheard);
	clearing_add(log, &log->flushing);
	region_set_clear(&log->flushing);
	region_set_union_with(&log->copied_ready, &log->copied_flushing);
	region_set_clear(&log->copied_flushing);
}

bool marks_flushed_all(const struct log *log)
{
	return !log->legs_busy && !log->flush_due && region_set_is_empty(&log->linger_young) &&
	       region_set_is_empty(&log->linger_old) && region_set_is_empty(&log->flushing) &&
	       region_set_is_empty(&log->copied) && region_set_is_empty(&log->copied_flushing);
}

bool marks_quiet(const struct log *log)
{
	return marks_flushed_all(log) && region_set_is_empty(&log->clearing) &&
	       region_set_is_empty(&log->cleared_in_flight) && region_set_is_empty(&log->copied_ready);
}

/* An own frame came through the order: its clears hold for everybody. */
void marks_delivered(struct core *core, struct log *log)
{
	region_set_clear(&log->fail_in_flight);
	if (region_set_is_empty(&log->cleared_in_flight))
		return;
	/* Marked again meanwhile: the bit belongs to the new mark. */
	region_set_subtract(&log->cleared_in_flight, &log->announced);
	region_set_subtract(&log->cleared_in_flight, &log->pending);
	run_state_set(core, log, RUN_MARKED, 0, &log->cleared_in_flight, false);
	region_set_clear(&log->cleared_in_flight);
	log_poke(core, log);
}

/* A core log: committed is what every other up-to-date member has acknowledged (guarantee 4, hazard A5). */
static uint64_t core_log_committed(const struct core *core, const struct world_log *world,
				   const struct participant *self)
{
	uint64_t batch = self->batch;
	const struct participant *it;

	/* Whoever has not spoken may be a member on the other side of a split. */
	if (world_suspect(&core->world) != NODE_NONE)
		return 0;
	/* A node that does not know of this member may be alone, and a member too. */
	if (self->late)
		return 0;

	TAILQ_FOREACH (it, &world->participants, entry) {
		const struct world_node *node = world_node_find(&core->world, it->node);

		if (it == self || !participant_resumed(it))
			continue;
		/* Its daemon is gone: it is no up-to-date member. Cut off: it may be alone and believe itself
		 * alone. */
		if (node && (node->state == NODE_GONE || node->state == NODE_REFUSED))
			continue;
		if (it->local_acked < batch && !CORE_MUTANT(NO_ACK))
			batch = it->local_acked;
	}
	return batch;
}

void marks_committed(struct core *core, struct log *log)
{
	struct world_log *world = log_world(core, log);
	const struct participant *self = log_self(core, log);
	uint64_t batch;

	if (!world || !self || world->shape.disk || !core->active)
		return;
	batch = core_log_committed(core, world, self);
	if (batch > log->batch_committed && batch <= log->batch_sent)
		log->batch_committed = batch;
}
