/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guarantees of the design, by number. They look into the cores, and change nothing there. */
#include "tests/sim/sim.h"

#include <string.h>
#include <strings.h>

#include "daemon/core/internal.h"

/* --- 9: when faults stop, all ends well
 * ------------------------------------------------------------------------------------------ */

static bool log_is_well(struct sim *sim, unsigned number, unsigned node, char *ret_why, size_t room)
{
	const struct sim_log *log = &sim->logs[number];
	const struct world_log *world = world_log_find(&sim->nodes[node].core->world, log->uuid);
	struct region_set dirty;

	if (!world)
		return snprintf(ret_why, room, "node %u does not know %s", node, log->uuid), false;
	if (!participant_find(world, node))
		return snprintf(ret_why, room, "node %u is no member of %s", node, log->uuid), false;
	region_set_init(&dirty);
	world_log_collect_dirty(world, &dirty);
	uint64_t count = region_set_count(&dirty);
	region_set_fini(&dirty);
	if (count)
		return snprintf(ret_why, room,
				"%s: %llu regions dirty at node %u (unsynced %llu ghosts %llu failed %llu "
				"writer %u "
				"recoverer %u; %s)",
				log->uuid, (unsigned long long)count, node,
				(unsigned long long)region_set_count(&world->unsynced),
				(unsigned long long)region_set_count(&world->ghosts),
				(unsigned long long)region_set_count(&world->failed), world->writer,
				world->recoverer,
				world_log_repair_hindrance(&sim->nodes[node].core->world, world)
				    ? world_log_repair_hindrance(&sim->nodes[node].core->world, world)
				    : "no hindrance to repair"),
		       false;
	for (unsigned region = 0; region < log->region_count; region++) {
		if (truth_legs_differ(log, region))
			return snprintf(ret_why, room, "%s region %u: the legs differ", log->uuid, region),
			       false;
		if (log->disk && !truth_device_clean(log, region))
			return snprintf(ret_why, room, "%s region %u is dirty on the log device alone",
					log->uuid, region),
			       false;
	}
	return true;
}

static bool check_settled(struct sim *sim, char *ret_why, size_t room)
{
	const char *why;
	unsigned node;

	if (!work_quiet(sim, &why, &node))
		return snprintf(ret_why, room, "node %u: %s", node, why), false;
	for (node = 1; node <= sim->node_count; node++) {
		const struct core *core = sim->nodes[node].core;

		if (!group_caught_up(sim, node) || !core->active || core->join != JOIN_READY)
			return snprintf(ret_why, room, "node %u has not joined (join %d, active %d)", node,
					(int)core->join, core->active),
			       false;
		if (world_digest(&core->world) != world_digest(&sim->nodes[1].core->world))
			return snprintf(ret_why, room, "nodes 1 and %u hold different states", node), false;
		for (unsigned log = 0; log < sim->log_count; log++)
			if (!log_is_well(sim, log, node, ret_why, room))
				return false;
	}
	return true;
}

/* --- the guarantees
 * ----------------------------------------------------------------------------------------------------------
 */

/* `clean`: those of the regions that should not be. */
static void dirt_lost(struct sim *sim, const struct sim_log *log, uint64_t clean, const char *where,
		      unsigned node)
{
	unsigned region = (unsigned)__builtin_ctzll(clean);

	sim_fail(sim, 1, "%s region %u is clean %s%.0u, but %s", log->uuid, region, where, node,
		 (log->truth.writing >> region & 1) ? "a write is under way" : "the legs differ");
}

static void no_lost_dirt(struct sim *sim, unsigned number)
{
	const struct sim_log *log = &sim->logs[number];
	uint64_t dirt = log->truth.writing | log->truth.differ, clean;

	for (unsigned node = 1; dirt && node <= sim->node_count; node++)
		if ((clean = truth_member_clean(sim, node, number, dirt)))
			dirt_lost(sim, log, clean, "at node ", node);
	if (dirt & log->truth.clean && !log->unwritten)
		dirt_lost(sim, log, dirt & log->truth.clean, "on the log device", 0);
}

/* What a table wrote unmarked is known as dirty when its daemon hears of it, and dirty on the log device when
 * that has been written: until then the device is excused, though the table may be gone. */
static void excuse_note(struct sim_log *log)
{
	if (log->excused)
		log->unwritten = true;
	else if (!((log->truth.writing | log->truth.differ) & log->truth.clean))
		log->unwritten = false;
}

/* A region with a write in flight, or whose legs differ, is clean nowhere; and what was written is read. */
static void guarantee_1_no_lost_dirt(struct sim *sim)
{
	const struct deed *deed;

	for (unsigned i = 0; i < sim->log_count; i++) {
		truth_update(sim, &sim->logs[i]);
		if (!sim->logs[i].excused)
			no_lost_dirt(sim, i);
		excuse_note(&sim->logs[i]);
	}
	FOREACH_DEED(deed, sim, DEED_READ_WRONG)
	sim_fail(sim, 1, "node %u reads %llu from %s region %u block %u; written was %llu", deed->node,
		 (unsigned long long)deed->value, sim->logs[deed->log].uuid, deed->region, deed->block,
		 (unsigned long long)deed->before);
}

/* While a region is copied nobody writes to it, and nobody else copies it. */
static void guarantee_2_one_copier(struct sim *sim)
{
	const struct deed *deed;

	FOREACH_DEED(deed, sim, DEED_LEG_WRITE)
	if (deed->copier && !deed->excused)
		sim_fail(sim, 2, "node %u writes to %s region %u while node %u copies it", deed->node,
			 sim->logs[deed->log].uuid, deed->region, deed->copier);
	FOREACH_DEED(deed, sim, DEED_COPY)
	{
		if (deed->copier && !deed->excused)
			sim_fail(sim, 2, "nodes %u and %u copy %s region %u", deed->node, deed->copier,
				 sim->logs[deed->log].uuid, deed->region);
		if (deed->others && !deed->excused)
			sim_fail(sim, 2, "node %u copies %s region %u while node %d writes to it", deed->node,
				 sim->logs[deed->log].uuid, deed->region, ffs((int)deed->others) - 1);
	}
}

/* Members that applied the same prefix of the order hold the same state. */
static void guarantee_3_agreement(struct sim *sim)
{
	const struct deed *deed;

	FOREACH_DEED(deed, sim, DEED_DELIVERED)
	if (deed->value != deed->before)
		sim_fail(sim, 3, "node %u holds another state than others after item %llu of ring %llu",
			 deed->node, (unsigned long long)deed->index, (unsigned long long)deed->ring);
}

static bool is_committed(struct sim *sim, unsigned node, unsigned number, unsigned region)
{
	const struct sim_log *log = &sim->logs[number];

	if (log->disk)
		return !truth_device_clean(log, region);
	for (unsigned other = 1; other <= sim->node_count; other++) {
		const struct world_log *world = other == node ? NULL : truth_member(sim, other, number);
		if (world && !world_log_dirty(world, region))
			return false;
	}
	return true;
}

/* FLUSH is answered when its marks are on the log device, or with a core log in every up-to-date member. */
static void guarantee_4_commit_survives(struct sim *sim)
{
	const struct deed *deed;

	FOREACH_DEED(deed, sim, DEED_REPLY)
	{
		const struct sim_log *log = &sim->logs[deed->log];

		if (!deed->due || deed->excused)
			continue;
		for (unsigned region = 0; region < log->region_count; region++)
			if ((deed->due >> region & 1) && !is_committed(sim, deed->node, deed->log, region))
				sim_fail(sim, 4,
					 "node %u answers FLUSH, but the mark on %s region %u is not %s",
					 deed->node, log->uuid, region,
					 log->disk ? "on the log device" : "in every member");
	}
}

/* Without quorum nobody writes a log device or hands out recovery work. */
static void guarantee_5_no_quorum_no_progress(struct sim *sim)
{
	const struct deed *deed;

	FOREACH_DEED(deed, sim, DEED_DEVICE_WRITE)
	if (!deed->quorate)
		sim_fail(sim, 5, "node %u writes the log device of %s without quorum", deed->node,
			 sim->logs[deed->log].uuid);
	FOREACH_DEED(deed, sim, DEED_REPLY)
	if (deed->type == ULOG_GET_RESYNC_WORK && deed->value && !deed->quorate)
		sim_fail(sim, 5, "node %u hands out recovery work without quorum", deed->node);
}

/* One node at a time writes a log device, and none whose kernel was told that its table is at rest (hazard
 * A14). */
static void guarantee_6_one_writer(struct sim *sim)
{
	const struct deed *deed;

	FOREACH_DEED(deed, sim, DEED_DEVICE_WRITE)
	if (deed->others)
		sim_fail(sim, 6, "node %u writes the log device of %s while a write of node %d is under way",
			 deed->node, sim->logs[deed->log].uuid, ffs((int)deed->others) - 1);
	FOREACH_DEED(deed, sim, DEED_DEVICE_WRITE)
	if (deed->at_rest)
		sim_fail(sim, 6, "node %u writes the log device of %s after it has answered POSTSUSPEND",
			 deed->node, sim->logs[deed->log].uuid);
	FOREACH_DEED(deed, sim, DEED_REPLY)
	if (deed->type == ULOG_POSTSUSPEND && deed->others)
		sim_fail(sim, 6, "node %u answers POSTSUSPEND of %s while it writes the log device",
			 deed->node, sim->logs[deed->log].uuid);
}

/* A clean bit on the log device is true after a power cut. A table that may write unmarked excuses its log
 * (hazard A2). */
static void guarantee_7_clean_is_durable(struct sim *sim)
{
	for (unsigned i = 0; i < sim->log_count; i++) {
		const struct sim_log *log = &sim->logs[i];
		uint64_t lost = log->truth.cached & log->truth.clean;
		unsigned region, node, leg = 0;

		if (!lost || log->excused)
			continue;
		region = (unsigned)__builtin_ctzll(lost);
		node = truth_legs_cached(log, region, &leg);
		sim_fail(
		    sim, 7,
		    "%s region %u is clean on the log device, but leg %u's cache holds a write of node %u",
		    log->uuid, region, leg, node);
	}
}

/* Each request gets one answer, and one that the kernel can take. */
static void guarantee_8_one_answer(struct sim *sim)
{
	const struct deed *deed;

	FOREACH_DEED(deed, sim, DEED_REPLY)
	{
		if (!deed->state)
			sim_fail(sim, 8, "node %u answers seq %u, which nobody asked", deed->node, deed->seq);
		if (deed->state == 2)
			sim_fail(sim, 8, "node %u answers seq %u (%s) twice", deed->node, deed->seq,
				 ulog_type_name(deed->type));
	}
	FOREACH_DEED(deed, sim, DEED_COMPLAINT)
	switch (deed->complaint) {
	case KERNEL_NO_ROOM:
	case KERNEL_SHORT_REPLY:
	case KERNEL_BAD_NAME:
		sim_fail(sim, 8, "node %u: %s in answer to %s, region %u", deed->node,
			 kernel_complaint_name(deed->complaint), ulog_type_name(deed->type), deed->region);
	case KERNEL_ANSWER_LOST:
		if (!deed->table_excused)
			sim_fail(sim, 8, "node %u: no answer to %s: %d", deed->node,
				 ulog_type_name(deed->type), deed->error);
		break;
	default: break;
	}
}

/* When faults stop every request is answered, resync ends, ghosts are repaired, all is clean. */
static void guarantee_9_liveness(struct sim *sim)
{
	char why[400];

	if (!sim->settle_look)
		return;
	sim->settle_look = false;
	if (check_settled(sim, why, sizeof(why))) {
		sim->settle_until_ns = 0;
		return;
	}
	sim_trace(sim, 0, "not settled: %s", why);
	if (sim->now_ns > sim->settle_until_ns)
		sim_fail(sim, 9, "300 s after the last fault: %s", why);
	sim_plan(sim, SIM_SETTLE, 0, SECOND);
}

/* What a table was told is not taken back, and no write passes a region that is not in sync; but where a leg
 * failed, tables that were there write the first leg alone until they are reloaded (recovery.c). */
static void guarantee_10_one_truth(struct sim *sim)
{
	const struct deed *deed;

	FOREACH_DEED(deed, sim, DEED_REPLY)
	{
		if (deed->type == ULOG_GET_SYNC_COUNT && deed->value && !deed->resumed)
			sim_fail(sim, 10, "node %u: luid %llx was told a sync count before it was resumed",
				 deed->node, (unsigned long long)deed->luid);
		if (deed->type == ULOG_GET_SYNC_COUNT && deed->before &&
		    deed->value + deed->before > sim->logs[deed->log].region_count)
			sim_fail(sim, 10, "node %u: %s: ghosts are counted as in sync", deed->node,
				 sim->logs[deed->log].uuid);
		if (deed->type == ULOG_IN_SYNC && deed->before == 2 && !deed->value && !deed->table_excused)
			sim_fail(
			    sim, 10,
			    "node %u: luid %llx was told that %s region %u is in sync, and now that it is "
			    "not",
			    deed->node, (unsigned long long)deed->luid, sim->logs[deed->log].uuid,
			    deed->region);
	}
	FOREACH_DEED(deed, sim, DEED_COMPLAINT)
	if (!deed->excused && (deed->complaint == KERNEL_WRITE_UNMARKED ||
			       (deed->complaint == KERNEL_WRITE_ONE_LEG && !deed->failed)))
		sim_fail(sim, 10, "node %u: %s to %s region %u", deed->node,
			 kernel_complaint_name(deed->complaint), sim->logs[deed->log].uuid, deed->region);
}

#define AUDIT_STEPS 1024

void check_step(struct sim *sim)
{
	static void (*const guarantees[])(struct sim *) = {
	    guarantee_1_no_lost_dirt,
	    guarantee_2_one_copier,
	    guarantee_3_agreement,
	    guarantee_4_commit_survives,
	    guarantee_5_no_quorum_no_progress,
	    guarantee_6_one_writer,
	    guarantee_7_clean_is_durable,
	    guarantee_8_one_answer,
	    guarantee_9_liveness,
	    guarantee_10_one_truth,
	};

	if (!sim->deed_count) { /* the others judge deeds only */
		guarantee_1_no_lost_dirt(sim);
		guarantee_7_clean_is_durable(sim);
		guarantee_9_liveness(sim);
	}
	for (size_t i = 0; sim->deed_count && i < sizeof(guarantees) / sizeof(guarantees[0]); i++)
		guarantees[i](sim);
	if (sim->steps % AUDIT_STEPS == 0)
		truth_audit(sim);
	sim->deed_count = 0;
}

/* Where everybody stands, for whoever reads the trace. */
static void trace_log(struct sim *sim, unsigned node, unsigned number)
{
	const struct core *core = sim->nodes[node].core;
	const struct log *log = core ? log_find((struct core *)core, sim->logs[number].uuid) : NULL;
	const struct world_log *world = core ? world_log_find(&core->world, sim->logs[number].uuid) : NULL;
	const struct participant *it;

	if (!log || !world)
		return;
	sim_trace(
	    sim, node,
	    "%s: sent %llu committed %llu waiting %u pending %llu; writer %u loaded %d device %d merged %d "
	    "stopped %d failed %d; recoverer %u claim %d/%u frame %d",
	    log->uuid, (unsigned long long)log->batch_sent, (unsigned long long)log->batch_committed,
	    log->waiting_count, (unsigned long long)region_set_count(&log->pending), world->writer,
	    world->writer_loaded, (int)log->device.state, log->device.merged, log->device.stopped,
	    log->device.failed, world->recoverer, world->claimed, world->claim, core->frame_in_flight);
	TAILQ_FOREACH (it, &world->participants, entry)
		sim_trace(
		    sim, node,
		    "  node %u: batch %llu waiting %llu/%llu acked %llu due %llu committed %llu marks %llu%s",
		    it->node, (unsigned long long)it->batch, (unsigned long long)it->waiting_batch,
		    (unsigned long long)region_set_count(&it->waiting), (unsigned long long)it->local_acked,
		    (unsigned long long)it->local_ack_due, (unsigned long long)it->local_committed,
		    (unsigned long long)region_set_count(&it->marks), it->awaited ? " awaited" : "");
	sim_trace(sim, node, "  unsynced %llu ghosts %llu failed %llu barred %d; told unsynced %llu",
		  (unsigned long long)region_set_count(&world->unsynced),
		  (unsigned long long)region_set_count(&world->ghosts),
		  (unsigned long long)region_set_count(&world->failed), world->repair_barred,
		  (unsigned long long)region_set_count(&log->unsynced));
	TAILQ_FOREACH (it, &world->participants, entry)
		for (unsigned i = 0; i < it->instance_count; i++)
			sim_trace(sim, node, "  node %u luid %llx:%s%s%s%s", it->node,
				  (unsigned long long)it->instances[i].luid,
				  it->instances[i].resumed ? " resumed" : "",
				  it->instances[i].leaving ? " leaving" : "",
				  it->instances[i].tainted ? " tainted" : "",
				  it->instances[i].old ? " old" : "");
}

void check_dump(struct sim *sim)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		for (unsigned log = 0; log < sim->log_count; log++)
			trace_log(sim, node, log);
}
