/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each ordered record, and each death, does to the replicated state. */
#include "daemon/core/world.h"

#include <errno.h>
#include <string.h>

/* All regions of a log whose dirt is not known exactly become ghosts; out of sync stays out of sync (hazard
 * B10). */
static void ghosts_all(struct world_log *log)
{
	log->claim_void = true;
	region_set_add_range(&log->ghosts, 0, log->shape.region_count);
	region_set_subtract(&log->ghosts, &log->unsynced);
}

static void ghosts_from(struct world_log *log, const struct region_set *regions)
{
	region_set_union_with(&log->ghosts, regions);
	region_set_subtract(&log->ghosts, &log->unsynced);
}

/* A log begins with what is out of sync: what was held through a suspend is a ghost only beside that, or two
 * would copy it (guarantee 2). Nobody knows what a table that came back unknown was told: told IN_SYNC 1 it
 * writes to all legs, told 0 now it might write to one. */
static void log_begin(struct world_log *log)
{
	log->phase = LOG_OPEN;
	region_set_subtract(&log->ghosts, &log->unsynced);
	if (!world_log_tainted(log))
		return;
	region_set_clear(&log->unsynced);
	ghosts_all(log);
}

static void participant_bury(struct world_log *log, struct participant *participant)
{
	ghosts_from(log, &participant->marks);
	ghosts_from(log, &participant->waiting);
	/* Nobody knows its marks: a core log has no device that would (hazard A5). */
	if (participant_tainted(participant) || (participant->awaited && !log->shape.disk))
		ghosts_all(log);
	participant_remove(log, participant);
}

/* The daemon of a node is gone, and with it every write it had in flight: descriptors are closed when its
 * last thread has ended. Its kernel may still copy: the recoverer's role stays. */
static void copy_ended(struct world_log *log, node_id_t node)
{
	if (log->recoverer == node && log->claimed)
		world_log_release(log);
}

static void writer_gone(struct world_log *log, node_id_t node)
{
	if (log->writer != node)
		return;
	log->writer = NODE_NONE;
	log->writer_loaded = false;
	log->memory_is_truth = false;
}

static void daemon_gone(struct world_log *log, node_id_t node)
{
	struct participant *participant = participant_find(log, node);

	if (participant)
		participant->writing = false;
	writer_gone(log, node);
	copy_ended(log, node);
}

/* What it may have held was never told to anybody: a log device knows it, a core log has to take all for
 * dirty. */
static void suspect_dead(struct world *world, struct world_node *entry)
{
	struct world_log *log;

	entry->suspect = false;
	TAILQ_FOREACH (log, &world->logs, entry) {
		if (!log->shape.disk)
			ghosts_all(log);
		world_log_assign_roles(world, log);
	}
}

int world_node_suspected(struct world *world, node_id_t node)
{
	struct world_node *entry = world_node_get(world, node);

	if (!entry)
		return -ENOMEM;
	entry->state = NODE_GONE;
	entry->suspect = true;
	return 0;
}

/* A core log's marks are with its members. Is there one whom the dead node had to ask (hazard A5)? Not one
 * that it may not have known, nor one whose daemon is gone, or was when the dead node was last heard. */
static bool member_survives(const struct world *world, const struct world_log *log, node_id_t dead)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &log->participants, entry)
		if (it->node != dead && participant_can(world, it) && !it->late &&
		    !region_set_contains(&it->unheard, dead))
			return true;
	return false;
}

/* A node that was cut off is dead: what it committed to core logs with nobody to ask is unknown. */
static void lone_marks_lost(struct world *world, node_id_t dead)
{
	struct world_log *log;

	TAILQ_FOREACH (log, &world->logs, entry)
		if (!log->shape.disk && !member_survives(world, log, dead))
			ghosts_all(log);
}

/*
 * Corosync's order is agreed, not safe: what made a node a member, or brought its daemon back, may not have
 * been delivered to another that goes now, and what that one committed meanwhile, without asking it, not
 * here. So each other daemon tells that it knows of the member (MEMBER_KNOWN): where its word is delivered,
 * all that it sent before is. One that is still joining is no exception: its READY may be delivered where
 * this was not. A log device has what was committed; then it is for the roles alone, that each half of a
 * cluster of two would give.
 * `fresh`: nobody knew it before. A member of a core log whose daemon is gone may begin the log again, when
 * all who know better are dead, with what it remembers: it has to hear of a new one, too.
 */
static void member_begins(const struct world *world, struct world_log *log, struct participant *participant,
			  bool fresh)
{
	struct region_set former = {0};
	const struct world_node *it;

	region_set_move(&former, &participant->unheard);
	participant->membership = ++log->memberships;
	TAILQ_FOREACH (it, &world->nodes, entry) {
		bool hears =
		    it->state == NODE_READY || it->state == NODE_JOINING || it->state == NODE_UNDECIDED;

		if (it->node != participant->node &&
		    ((hears && (!log->shape.disk || world_of_two(world))) ||
		     (world_node_may_forget(log, it) && (fresh || region_set_contains(&former, it->node)))))
			region_set_add(&participant->unheard, it->node);
	}
	region_set_fini(&former);
}

/* The node has heard, is dead, or its daemon knows nothing any more: it begins again from a checkpoint. A
 * member of a core log may be one that begins it again, with what its run directory remembers. */
static void members_known(struct world *world, node_id_t node, bool dead)
{
	struct participant *it;
	struct world_log *log;

	TAILQ_FOREACH (log, &world->logs, entry) {
		bool changed = false;

		if (!dead && !log->shape.disk && participant_find(log, node))
			continue;
		TAILQ_FOREACH (it, &log->participants, entry) {
			changed = region_set_remove(&it->unheard, node) || changed;
		}
		if (changed)
			world_log_assign_roles(world, log);
	}
}

void world_node_dead(struct world *world, node_id_t node, uint64_t boot_id)
{
	struct world_node *entry = world_node_find(world, node);
	/* That a former boot is dead is no news of the one that is waited for. */
	bool of_this_boot = entry && (!boot_id || entry->boot_id == boot_id);
	struct world_log *log, *next;

	if (of_this_boot && entry->suspect)
		suspect_dead(world, entry);
	if (of_this_boot && (entry->state == NODE_UNDECIDED || entry->returning)) {
		lone_marks_lost(world, node);
		entry->returning = false;
	}
	for (log = TAILQ_FIRST(&world->logs); log; log = next) {
		struct participant *participant = participant_find(log, node);

		next = TAILQ_NEXT(log, entry);
		if (!participant || (boot_id && participant->boot_id != boot_id))
			continue;
		daemon_gone(log, node);
		participant_bury(log, participant);
		world_log_reap(world, log);
	}
	if (!entry || of_this_boot)
		members_known(world, node, true);
	if (of_this_boot && (entry->state == NODE_GONE || entry->state == NODE_UNDECIDED))
		world_node_forget(world, entry);
	TAILQ_FOREACH (log, &world->logs, entry)
		world_log_assign_roles(world, log);
}

/* It was cut off, and is back without a daemon that speaks: what it marked there nobody knows. */
static void node_unspoken(struct world *world, struct world_node *entry)
{
	struct participant *participant;
	struct world_log *log;

	if (entry->state != NODE_UNDECIDED)
		return;
	entry->returning = true;
	TAILQ_FOREACH (log, &world->logs, entry) {
		participant = participant_find(log, entry->node);
		if (participant)
			participant->awaited = true;
	}
}

void world_node_left(struct world *world, node_id_t node, bool node_down)
{
	struct world_node *entry = world_node_find(world, node);
	struct world_log *log;
	bool wanted = node_down;

	if (!entry)
		return;
	/* It went before its HELLO was heard. */
	if (!node_down)
		node_unspoken(world, entry);
	entry->state = node_down ? NODE_UNDECIDED : NODE_GONE;
	entry->incarnation = 0;
	TAILQ_FOREACH (log, &world->logs, entry) {
		if (!participant_find(log, node))
			continue;
		wanted = true;
		/* A node that is cut off may have a write in flight until it is known dead (guarantee 6). */
		if (!node_down)
			daemon_gone(log, node);
		world_log_assign_roles(world, log);
	}
	if (!node_down)
		members_known(world, node, false);
	if (!wanted && !entry->suspect && !entry->returning)
		world_node_forget(world, entry);
}

void world_node_replaced(struct world *world, node_id_t node)
{
	struct world_node *entry = world_node_find(world, node);
	struct world_log *log;

	if (!entry)
		return;
	entry->state = NODE_GONE;
	entry->incarnation = 0;
	TAILQ_FOREACH (log, &world->logs, entry) {
		struct participant *participant = participant_find(log, node);

		/* Its claim and the role of the writer last until its successor has spoken. */
		if (participant)
			participant->awaited = true;
	}
	members_known(world, node, false);
}

int world_node_joins(struct world *world, node_id_t node, uint64_t boot_id, uint64_t incarnation)
{
	struct world_node *entry = world_node_get(world, node);
	struct world_log *log, *next;
	bool decided;

	if (!entry)
		return -ENOMEM;
	/* Back with another boot before anybody said that it is dead. */
	decided = (entry->state == NODE_UNDECIDED || entry->returning) && entry->boot_id != boot_id;
	if (decided)
		lone_marks_lost(world, node);
	entry->returning = (entry->returning || entry->state == NODE_UNDECIDED) && entry->boot_id == boot_id;
	entry->boot_id = boot_id;
	entry->incarnation = incarnation;
	entry->state = NODE_JOINING;
	entry->memory_lost = false;
	members_known(world, node, false);
	for (log = TAILQ_FIRST(&world->logs); log; log = next) {
		struct participant *participant = participant_find(log, node);

		next = TAILQ_NEXT(log, entry);
		if (!participant)
			continue;
		/* The same daemon may come back from a split with a write or a copy in flight. Nobody writes
		 * while it is awaited, nor before the end of a write that it speaks of. Its claim lasts until
		 * it speaks, which it does not before its copy has ended. */
		writer_gone(log, node);
		if (participant->boot_id == boot_id) {
			participant->awaited = true;
			continue;
		}
		/* The former boot of this node is proven dead (hazard A10). */
		copy_ended(log, node);
		if (log->recoverer == node)
			log->recoverer = NODE_NONE;
		participant_bury(log, participant);
		if (!world_log_reap(world, log))
			world_log_assign_roles(world, log);
	}
	/* Its daemon may go again before its READY: nobody else would say that nobody is waited for any more.
	 */
	if (decided)
		TAILQ_FOREACH (log, &world->logs, entry)
			world_log_assign_roles(world, log);
	return 0;
}

/* Of a suspect's boot nobody knows but who remembers it as a member. */
static uint64_t former_boot(const struct world *world, node_id_t node, uint64_t boot_id)
{
	const struct participant *participant;
	const struct world_log *log;

	TAILQ_FOREACH (log, &world->logs, entry) {
		participant = participant_find(log, node);
		if (participant && participant->boot_id != boot_id)
			return participant->boot_id;
	}
	return 0;
}

void world_node_refused(struct world *world, node_id_t node, uint64_t boot_id)
{
	struct world_node *entry = world_node_find(world, node);
	bool suspect = entry && entry->suspect;
	uint64_t former;

	/* The former boot of this node is proven dead (hazard A10). Of what the kernel of this one may hold
	 * that says nothing. */
	if (entry && entry->boot_id && entry->boot_id != boot_id)
		world_node_dead(world, node, entry->boot_id);
	while ((former = former_boot(world, node, boot_id)))
		world_node_dead(world, node, former);
	entry = world_node_get(world, node);
	if (!entry)
		return;
	entry->suspect = suspect;
	node_unspoken(world, entry);
	entry->boot_id = boot_id;
	entry->incarnation = 0;
	entry->state = NODE_REFUSED;
}

static bool shape_fits(const struct world_log *log, const struct log_shape *shape)
{
	return log->shape.disk == shape->disk && log->shape.region_count == shape->region_count &&
	       log->shape.region_size_sectors == shape->region_size_sectors &&
	       log->shape.length_sectors == shape->length_sectors;
}

/* Only while nothing is resumed: a grown or shrunk mirror keeps what it knows of the regions that remain. */
static bool log_reshape(struct world_log *log, const struct log_shape *shape)
{
	/* The whole ones: what a last one that was not whole gains was never copied. */
	uint64_t old = log->shape.length_sectors / log->shape.region_size_sectors;
	bool grown = shape->length_sectors > log->shape.length_sectors;
	bool other = shape->region_size_sectors != log->shape.region_size_sectors;
	struct participant *it;

	if (world_log_resumed(log) || log->shape.disk != shape->disk)
		return false;
	if (other) {
		region_set_clear(&log->ghosts);
		region_set_clear(&log->failed);
		region_set_clear(&log->unsynced);
		old = 0;
	}
	region_set_remove_range(&log->unsynced, shape->region_count, UINT64_C(1) << 32);
	region_set_remove_range(&log->ghosts, shape->region_count, UINT64_C(1) << 32);
	region_set_remove_range(&log->failed, shape->region_count, UINT64_C(1) << 32);
	TAILQ_FOREACH (it, &log->participants, entry) {
		region_set_remove_range(&it->marks, shape->region_count, UINT64_C(1) << 32);
		region_set_remove_range(&it->waiting, shape->region_count, UINT64_C(1) << 32);
	}
	if (other || (grown && shape->sync_mode != SHAPE_NOSYNC))
		region_set_add_range(&log->unsynced, old, shape->region_count);
	region_set_subtract(&log->unsynced, &log->failed);
	region_set_subtract(&log->ghosts, &log->unsynced);
	log->shape = *shape;
	log->writer_loaded = false;
	return true;
}

static struct world_log *log_found(struct world *world, const char *uuid, const struct log_shape *shape)
{
	struct world_log *log = world_log_add(world, uuid, shape);

	if (!log)
		return NULL;
	log->phase = shape->disk ? LOG_LOADING : LOG_OPEN;
	if (!shape->disk && shape->sync_mode != SHAPE_NOSYNC)
		region_set_add_range(&log->unsynced, 0, shape->region_count);
	return log;
}

/* The table that nobody could name is here, or its end is told (hazard A10): a host runs one. */
static void nameless_return(struct participant *participant)
{
	struct world_instance *instance = participant_instance(participant, LUID_UNKNOWN);

	if (instance)
		*instance = participant->instances[--participant->instance_count];
}

static struct world_log *apply_resume(struct world *world, node_id_t sender, const struct record *record)
{
	struct world_log *log = world_log_find(world, record->uuid);
	const struct world_node *node = world_node_find(world, sender);
	bool fresh = !log, fresh_member;
	struct participant *participant;
	struct world_instance *instance;

	if (log && !shape_fits(log, &record->shape) && !log_reshape(log, &record->shape))
		return log;
	if (!log)
		log = log_found(world, record->uuid, &record->shape);
	fresh_member = log && !participant_find(log, sender);
	participant = log && node ? participant_get(log, sender, node->boot_id) : NULL;
	if (!participant)
		return log;
	if (!participant_resumed(participant)) {
		member_begins(world, log, participant, fresh_member);
		participant->late = participant->late || world_undecided(world) ||
				    (world_of_two(world) && !region_set_is_empty(&participant->unheard));
	}
	if (record->flag)
		nameless_return(participant);
	instance = participant_instance(participant, record->luid);
	if (!instance) {
		if (participant->instance_count == PARTICIPANT_INSTANCES_MAX)
			return log;
		instance = &participant->instances[participant->instance_count++];
		*instance = (struct world_instance){.luid = record->luid};
	}
	/* The same table resumed again is as old as before: its kernel remembers what it was told (hazard
	 * A4). */
	instance->resumed = true;
	instance->leaving = 0;
	/* A new table may reach a device that the old one did not. */
	participant->device_failed = false;
	if (record->flag) {
		instance->tainted = instance->old = true;
		ghosts_all(log);
		if (fresh && log->phase == LOG_OPEN)
			log_begin(log);
	}
	world_log_assign_roles(world, log);
	return log;
}

static void apply_leaving(struct world_log *log, struct participant *participant, const struct record *record)
{
	struct world_instance *instance = participant_instance(participant, record->luid);

	if (instance && instance->resumed)
		instance->leaving = ++log->leavings;
}

static struct world_log *apply_suspended(struct world *world, node_id_t sender, const struct record *record)
{
	struct world_log *log = world_log_by_number(world, record->log);
	struct participant *participant = log ? participant_find(log, sender) : NULL;
	struct world_instance *instance =
	    participant ? participant_instance(participant, record->luid) : NULL;

	if (!instance)
		return log;
	instance->resumed = false;
	instance->leaving = 0;
	if (log->writer == sender && !participant_resumed(participant)) {
		log->writer = NODE_NONE;
		log->memory_is_truth = log->memory_is_truth || log->writer_loaded;
		log->writer_loaded = false;
	}
	world_log_assign_roles(world, log);
	return log;
}

static struct world_log *apply_destroyed(struct world *world, node_id_t sender, const struct record *record)
{
	struct world_log *log = world_log_by_number(world, record->log);
	struct participant *participant = log ? participant_find(log, sender) : NULL;
	struct world_instance *instance;

	if (!participant)
		return log;
	apply_suspended(world, sender, record);
	instance = participant_instance(participant, record->luid);
	if (instance)
		*instance = participant->instances[--participant->instance_count];
	/* Another table of the node may hold them too: the node clears its marks itself (hazard A6). */
	ghosts_from(log, &record->regions);
	if (participant->instance_count == 0 && !participant->writing)
		participant_bury(log, participant);
	if (world_log_reap(world, log))
		return NULL;
	world_log_assign_roles(world, log);
	return log;
}

static void apply_mark(struct world_log *log, struct participant *participant, const struct record *record)
{
	bool copying = world_log_claim_free(log) && region_set_contains(&record->regions, log->claim);

	if (CORE_MUTANT(GHOSTS_WAIT))
		copying = region_set_intersects(&record->regions, &log->ghosts);
	/* Marks commit in the order of their batches, so one that waits holds up those behind it. */
	if (copying || participant->waiting_batch) {
		region_set_union_with(&participant->waiting, &record->regions);
		participant->waiting_batch = record->batch;
		return;
	}
	region_set_union_with(&participant->marks, &record->regions);
	participant->batch = record->batch;
}

/* A table that came back unknown may write where it likes, unmarked: what was copied while it did is copied
 * again. */
static void apply_synced(struct world_log *log, node_id_t sender, const struct record *record)
{
	if (log->recoverer != sender)
		return;
	if (log->mistrusted)
		region_set_union_with(&log->ghosts, &record->regions);
	region_set_subtract(&log->unsynced, &record->regions);
}

static void tables_old(struct world_log *log)
{
	struct participant *it;

	TAILQ_FOREACH (it, &log->participants, entry)
		for (unsigned i = 0; i < it->instance_count; i++)
			it->instances[i].old = true;
}

/* Has every table of the node that runs to be reloaded already? */
static bool participant_old(const struct participant *participant)
{
	for (unsigned i = 0; i < participant->instance_count; i++)
		if (participant->instances[i].resumed && !participant->instances[i].old)
			return false;
	return true;
}

/* Does the failure of an unsynced region tell that nobody has copied it? The kernel that copies it does, or
 * did before its part of the cluster was lost. Another's table takes it for in sync by a mistake (it came
 * back unknown): it knows nothing of the copy, which may have ended already without all having heard of it.
 */
static bool copy_failed(const struct world_log *log, node_id_t node)
{
	return log->recoverer == node || log->recoverer == NODE_NONE || log->cold;
}

/* Somebody was told IN_SYNC 1: all go on to write every leg, for the first may be the one that fails
 * somewhere (Red Hat bug 596453), and the daemon repairs. Nobody was: the first leg alone is good, and the
 * kernel copies. If it is out of sync for all but the table that tells it, it is copied as before, and a
 * ghost then: as if it had failed behind the copy. */
static void apply_failed(struct world_log *log, const struct participant *participant,
			 const struct record *record)
{
	bool unsynced = region_set_contains(&log->unsynced, record->region);
	bool copied = !unsynced || !copy_failed(log, participant->node);

	/* Told again by a table that has to be reloaded: nothing new for the others. */
	if (region_set_contains(&log->failed, record->region) || record->region >= log->shape.region_count)
		return;
	if (!copied || !participant_old(participant))
		tables_old(log);
	log->repair_barred = true;
	if (CORE_MUTANT(FAILED_FORGOTTEN))
		return;
	if (copied && unsynced) {
		log->mistrusted = true;
		return;
	}
	if (copied && !CORE_MUTANT(FAILED_UNSYNCED)) {
		region_set_add(&log->ghosts, record->region);
		return;
	}
	region_set_remove(&log->unsynced, record->region);
	region_set_add(&log->failed, record->region);
}

/* A cache that could not be flushed may have lost what was acknowledged, whatever is flushed later: the legs
 * may differ, and one of them is in trouble (hazards B7, B9). */
static void apply_doubt(struct world_log *log, const struct record *record)
{
	if (CORE_MUTANT(DOUBT_FORGOTTEN))
		return;
	ghosts_from(log, &record->regions);
	tables_old(log);
	log->repair_barred = true;
}

static void apply_claim(struct world_log *log, node_id_t sender, const struct record *record)
{
	if (log->recoverer == sender && !log->claimed && region_set_contains(&log->ghosts, record->region)) {
		log->claimed = true;
		log->claim = record->region;
		log->claim_void = false;
		log->claims++;
	}
}

static void apply_claim_known(struct world_log *log, node_id_t sender, const struct record *record)
{
	if (log->writer == sender && world_log_claim_free(log) && log->claims == record->batch)
		log->claim_known = true;
}

static void apply_release(struct world_log *log, node_id_t sender, const struct record *record)
{
	if (log->recoverer != sender || !log->claimed || log->claim != record->region)
		return;
	/* SET_REGION_SYNC(r, 0) of anybody ends the repair without success (hazard A12), and so does a table
	 * that came back unknown while it was copied: it may have written unmarked. */
	if (record->flag && !log->repair_barred && !log->claim_void && !world_log_tainted(log))
		region_set_remove(&log->ghosts, record->region);
	world_log_release(log);
}

static void apply_writer_failed(struct world *world, struct world_log *log, struct participant *participant)
{
	participant->device_failed = true;
	if (log->writer == participant->node) {
		log->writer = NODE_NONE;
		log->memory_is_truth = log->memory_is_truth || log->writer_loaded;
		log->writer_loaded = false;
	}
	/* A log whose first reader fails knows nothing: everything is dirty, whatever nosync says (hazard
	 * B6). */
	if (log->phase == LOG_LOADING) {
		region_set_add_range(&log->unsynced, 0, log->shape.region_count);
		log_begin(log);
	}
	world_log_assign_roles(world, log);
}

/* A former member has spoken, and not of this log: its last table went without a word that others heard. What
 * that held still nobody knows who remembers no more than that it was a member: as if it had died. A log
 * device has it. */
static void member_silent(struct world_log *log)
{
	if (log->cold && !log->shape.disk)
		ghosts_all(log);
}

/* A daemon of the same boot that knows nothing: what others know of its node stays (hazard A10). It counts
 * its batches anew. Founders remember the member, not its table: that stands here without its number. */
static void memory_lost(struct world_log *log, struct participant *participant)
{
	if (participant->instance_count == 0)
		participant->instances[participant->instance_count++] =
		    (struct world_instance){.luid = LUID_UNKNOWN};
	for (unsigned i = 0; i < participant->instance_count; i++)
		participant->instances[i].tainted = participant->instances[i].old = true;
	/* What waits for the end of a copy goes on waiting for it, or the claim would seem not to be free. */
	participant->batch = participant->waiting_batch = 0;
	ghosts_all(log);
}

/* A suspect is here without its memory. Those who remember the log may have begun it anew without a word of
 * that node's table, so that they do not know it for a member. What it held was told to nobody, as if it had
 * died: until a table of it comes back nobody else would take that for dirty. */
static void member_untold(struct world_log *log)
{
	if (!log->shape.disk)
		ghosts_all(log);
}

static void apply_ready(struct world *world, node_id_t sender, const struct record *record)
{
	struct world_node *node = world_node_find(world, sender);
	struct world_log *log, *next;
	bool untold;

	if (!node)
		return;
	untold = node->suspect && record->flag;
	node->state = NODE_READY;
	node->suspect = node->returning = false;
	node->memory_lost = record->flag;
	for (log = TAILQ_FIRST(&world->logs); log; log = next) {
		struct participant *participant = participant_find(log, sender);

		next = TAILQ_NEXT(log, entry);
		if (participant && participant->awaited) {
			copy_ended(log, sender);
			participant->awaited = false;
			/* What was known to be lost does not come back by another start. */
			if (record->flag || participant_tainted(participant)) {
				memory_lost(log, participant);
			} else {
				member_silent(log);
				participant_bury(log, participant);
			}
		}
		if (untold && !participant)
			member_untold(log);
		if (!world_log_reap(world, log))
			world_log_assign_roles(world, log);
	}
}

static void apply_node_down(struct world *world, const struct record *record)
{
	struct world_node *node = world_node_find(world, record->node);
	const struct participant *participant = NULL;
	struct world_log *log;

	if (node && node->state != NODE_GONE)
		return;
	TAILQ_FOREACH (log, &world->logs, entry)
		if (!participant)
			participant = participant_find(log, record->node);
	if (!participant && !(node && (node->suspect || node->returning)))
		return;
	node = world_node_get(world, record->node);
	if (!node)
		return;
	if (participant)
		node->boot_id = participant->boot_id;
	node->state = NODE_UNDECIDED;
	node->incarnation = 0;
}

static struct world_log *apply_member_known(struct world *world, node_id_t sender,
					    const struct record *record)
{
	struct world_log *log = world_log_by_number(world, record->log);
	struct participant *participant = log ? participant_find(log, record->node) : NULL;

	/* A word of a former time as a member may come behind what began this one. */
	if (!participant || participant->membership != record->batch ||
	    !region_set_remove(&participant->unheard, sender))
		return log;
	world_log_assign_roles(world, log);
	return log;
}

/* The tables that wrote may be gone already. */
static struct world_log *apply_write_ended(struct world *world, struct world_log *log,
					   struct participant *participant)
{
	participant->writing = false;
	if (participant->instance_count == 0)
		participant_bury(log, participant);
	if (world_log_reap(world, log))
		return NULL;
	world_log_assign_roles(world, log);
	return log;
}

static struct world_log *apply_to_log(struct world *world, node_id_t sender, const struct record *record)
{
	struct world_log *log = world_log_by_number(world, record->log);
	struct participant *participant = log ? participant_find(log, sender) : NULL;

	if (!participant)
		return NULL;
	switch (record->type) {
	case RECORD_MARK: apply_mark(log, participant, record); break;
	case RECORD_CLEAR:
		region_set_subtract(&participant->marks, &record->regions);
		region_set_subtract(&participant->waiting, &record->regions);
		break;
	case RECORD_SYNCED: apply_synced(log, sender, record); break;
	case RECORD_FAILED: apply_failed(log, participant, record); break;
	case RECORD_DOUBT: apply_doubt(log, record); break;
	case RECORD_CLAIM: apply_claim(log, sender, record); break;
	case RECORD_CLAIM_KNOWN: apply_claim_known(log, sender, record); break;
	case RECORD_RELEASE: apply_release(log, sender, record); break;
	case RECORD_WRITER_FAILED: apply_writer_failed(world, log, participant); break;
	case RECORD_LEAVING: apply_leaving(log, participant, record); break;
	case RECORD_WRITER_AGAIN:
		participant->device_failed = false;
		world_log_assign_roles(world, log);
		break;
	case RECORD_WRITE_ENDED: return apply_write_ended(world, log, participant);
	default: break; /* COMMIT, ACK, WANT: no state */
	}
	return log;
}

struct world_log *world_apply(struct world *world, node_id_t sender, const struct record *record)
{
	switch (record->type) {
	case RECORD_RESUME: return apply_resume(world, sender, record);
	case RECORD_SUSPENDED: return apply_suspended(world, sender, record);
	case RECORD_DESTROYED: return apply_destroyed(world, sender, record);
	case RECORD_MEMBER_KNOWN: return apply_member_known(world, sender, record);
	case RECORD_READY: apply_ready(world, sender, record); return NULL;
	case RECORD_NODE_DOWN: apply_node_down(world, record); return NULL;
	case RECORD_NODE_DEAD: {
		const struct world_node *node = world_node_find(world, record->node);

		/* A node that is back in the view is not dead, whoever says so. */
		if (!node || node->state == NODE_UNDECIDED || node->state == NODE_GONE ||
		    (node->state == NODE_REFUSED && (node->suspect || node->returning)))
			world_node_dead(world, record->node, record->boot_id);
		return NULL;
	}
	default: return apply_to_log(world, sender, record);
	}
}

/* A table of it was resumed in another state, which loses. */
static bool speaks_of_another(struct participant *participant, const struct speech *speech)
{
	for (unsigned i = 0; i < speech->instance_count; i++)
		if (!participant || !participant_instance(participant, speech->instances[i].luid))
			return true;
	return false;
}

static void speech_merge(struct world_log *log, const struct world_node *node, const struct speech *speech)
{
	struct region_set told;

	region_set_init(&told);
	/* Told IN_SYNC 1 anywhere: never back to out of sync, a ghost instead (hazard A3). */
	region_set_copy(&told, &log->unsynced);
	region_set_subtract(&told, &speech->unsynced);
	region_set_subtract(&log->unsynced, &told);
	region_set_union_with(&log->ghosts, &told);
	/* Ghosts may be of a table whose end nobody has heard of. Repaired meanwhile, they are compared once
	 * more. */
	ghosts_from(log, &speech->ghosts);
	/* No ready member knows better: whatever anybody holds dirty is dirty. Nor does this state of what
	 * was out of sync in that one, where a table may have written one leg unmarked (its in_sync_hint). */
	if (log->cold || node->suspect || speaks_of_another(participant_find(log, node->node), speech))
		ghosts_from(log, &speech->unsynced);
	/* A failed leg that only this node could tell of: its message was lost with its part of the cluster.
	 */
	region_set_copy(&told, &speech->failed);
	region_set_subtract(&told, &log->failed);
	region_set_subtract(&told, &log->unsynced);
	region_set_union_with(&log->ghosts, &told);
	region_set_copy(&told, &speech->failed);
	region_set_intersect(&told, &log->unsynced);
	if (!region_set_is_empty(&told)) {
		/* While a suspect is waited for nobody was given anything to copy, whoever has the role by
		 * now. */
		if (copy_failed(log, node->node) || node->suspect) {
			region_set_subtract(&log->unsynced, &told);
			region_set_union_with(&log->failed, &told);
		} else {
			log->mistrusted = true;
		}
		tables_old(log);
		log->repair_barred = true;
	}
	region_set_fini(&told);
}

/* Nobody ready knows the log: it begins with what this node remembers of it. */
static void log_found_by_speech(struct world_log *log, const struct speech *speech)
{
	log->phase = LOG_OPEN;
	log->cold = true;
	region_set_copy(&log->unsynced, &speech->unsynced);
	region_set_subtract(&log->unsynced, &speech->failed);
	region_set_copy(&log->ghosts, &speech->ghosts);
	region_set_copy(&log->failed, &speech->failed);
	region_set_intersect(&log->failed, &speech->unsynced);
	log->repair_barred = !region_set_is_empty(&log->failed);
	/* A table without memory was here first, and waited for the log device. */
	if (world_log_tainted(log))
		ghosts_all(log);
}

static struct world_log *speech_log(struct world *world, const struct speech *speech)
{
	struct world_log *log = world_log_find(world, speech->uuid);

	if (speech->instance_count == 0 && !speech->writing)
		return log;
	/* A first member without memory still waits for the log device: a node that remembers knows better.
	 */
	if (log && log->phase == LOG_LOADING && shape_fits(log, &speech->shape))
		log_found_by_speech(log, speech);
	if (log)
		return log;
	log = world_log_add(world, speech->uuid, &speech->shape);
	if (log)
		log_found_by_speech(log, speech);
	return log;
}

/* A former member that is ready already. What its tables of then held it could not speak of without memory:
 * as if its READY came behind this. Has it a table in the state, that is the one that runs, or is tainted
 * itself. */
static void former_here(struct world_log *log, const struct world_node *node, struct participant *participant)
{
	if (!node->memory_lost) {
		if (!participant)
			member_silent(log);
		return;
	}
	if (participant) {
		ghosts_all(log);
		return;
	}
	participant = participant_get(log, node->node, node->boot_id);
	if (participant)
		memory_lost(log, participant);
}

/* Nobody waits for that node: it was cleared, maybe, before this was known of it. Whether it is dead, or
 * holds nothing, is asked once more, now of that boot. */
static void former_suspected(struct world *world, node_id_t node, uint64_t boot_id)
{
	if (!world_node_suspected(world, node))
		world_node_find(world, node)->boot_id = boot_id;
}

static void speech_former(struct world *world, struct world_log *log, node_id_t sender,
			  const struct speech *speech)
{
	for (unsigned i = 0; i < speech->former_count; i++) {
		node_id_t former = speech->former[i].node;
		const struct world_node *node = world_node_find(world, former);
		struct participant *participant;

		bool here = node && node->state == NODE_READY && node->boot_id == speech->former[i].boot_id;

		if (former == sender)
			continue;
		participant = participant_find(log, former);
		if (here) {
			former_here(log, node, participant);
			continue;
		}
		/* It has spoken, or will: then its READY settles it. */
		if (participant)
			continue;
		participant = participant_get(log, former, speech->former[i].boot_id);
		if (!participant)
			continue;
		participant->awaited = true;
		if (!node)
			former_suspected(world, former, speech->former[i].boot_id);
		/* Another boot of it is here: the one that was a member is dead. That of a suspect without a
		 * daemon is not known. */
		if (node && node->boot_id && node->boot_id != speech->former[i].boot_id &&
		    node->state != NODE_UNDECIDED)
			participant_bury(log, participant);
	}
}

/* One was ready before anybody had spoken of the log: as if its READY came behind this. */
static void others_untold(const struct world *world, struct world_log *log, node_id_t sender)
{
	const struct world_node *it;

	TAILQ_FOREACH (it, &world->nodes, entry)
		if (it->node != sender && it->state == NODE_READY && it->memory_lost &&
		    !participant_find(log, it->node))
			member_untold(log);
}

/* In place of what was known of its marks. A batch of a former life is none of its batches any more:
 * committed under the new incarnation it would be taken for all that come up to its number. */
static void marks_spoken(struct participant *participant, const struct speech *speech, bool copying)
{
	region_set_clear(&participant->marks);
	region_set_clear(&participant->waiting);
	participant->batch = participant->waiting_batch = 0;
	if (copying) {
		region_set_copy(&participant->waiting, &speech->marks);
		participant->waiting_batch = speech->batch;
	} else {
		region_set_copy(&participant->marks, &speech->marks);
		participant->batch = speech->batch;
	}
}

struct world_log *world_apply_speech(struct world *world, node_id_t sender, const struct speech *speech)
{
	struct world_log *log = speech_log(world, speech);
	const struct world_node *node = world_node_find(world, sender);
	struct participant *participant;
	bool copying, fresh;

	if (!log || !node || !shape_fits(log, &speech->shape))
		return log;
	copy_ended(log, sender);
	speech_merge(log, node, speech);
	copying = world_log_claim_free(log) && region_set_contains(&speech->marks, log->claim);
	fresh = !participant_find(log, sender);
	participant = participant_get(log, sender, node->boot_id);
	if (!participant)
		return log;
	participant->awaited = false;
	participant->writing = speech->writing;
	if (!log->shape.disk)
		member_begins(world, log, participant, fresh);
	/* A new daemon counts its batches anew. */
	participant->local_committed = participant->local_ack_due = 0;
	participant->boot_id = node->boot_id;
	memcpy(participant->instances, speech->instances, sizeof(participant->instances));
	participant->instance_count = speech->instance_count;
	/* What it has not heard of it was not told. */
	if (!region_set_is_subset(&log->failed, &speech->failed))
		for (unsigned i = 0; i < participant->instance_count; i++)
			participant->instances[i].old = true;
	for (unsigned i = 0; i < participant->instance_count; i++)
		log->repair_barred = log->repair_barred || participant->instances[i].old;
	marks_spoken(participant, speech, copying);
	if (participant_tainted(participant))
		ghosts_all(log);
	region_set_subtract(&log->ghosts, &log->unsynced);
	/* A core log may have been begun anew beside a suspect, which is the one that remembers. */
	if (log->cold || node->suspect) {
		speech_former(world, log, sender, speech);
		others_untold(world, log, sender);
	}
	if (participant->instance_count == 0 && !participant->writing)
		participant_bury(log, participant);
	/* Founders copy nothing before all have spoken, so the role can still go to whose kernel has it. So
	 * can one that is free, and is not given before a node that was cut off has spoken. */
	if ((log->cold || node->suspect || (node->returning && log->recoverer == NODE_NONE)) &&
	    speech->recovering)
		log->recoverer = sender;
	if (world_log_reap(world, log))
		return NULL;
	world_log_assign_roles(world, log);
	return log;
}

struct world_log *world_apply_device(struct world *world, node_id_t sender, uint32_t number,
				     const struct region_set *dirty)
{
	struct world_log *log = world_log_by_number(world, number);
	struct participant *it;
	struct region_set only;

	if (!log || log->writer != sender || log->writer_loaded)
		return log;
	log->writer_loaded = true;
	/* The device is reached: who failed before may reach it too when the role is free again. */
	TAILQ_FOREACH (it, &log->participants, entry)
		it->device_failed = false;
	if (log->phase == LOG_LOADING) {
		region_set_copy(&log->unsynced, dirty);
		log_begin(log);
	} else if (!log->memory_is_truth) {
		/* A mark that the former writer committed may have been seen by nobody else, its owner dead
		 * (hazard B6). That somebody alive has a mark on the same region does not tell: it will be
		 * cleared. */
		region_set_init(&only);
		region_set_copy(&only, dirty);
		region_set_subtract(&only, &log->unsynced);
		region_set_subtract(&only, &log->failed);
		region_set_union_with(&log->ghosts, &only);
		region_set_fini(&only);
	}
	log->memory_is_truth = false;
	return log;
}
