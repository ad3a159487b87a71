/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guarantees of the design, by number. They look into the cores, and change nothing there. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/core/internal.h"

/* --- what is true
 * ------------------------------------------------------------------------------------------------------ */

static bool legs_differ(const struct sim_log *log, unsigned region)
{
	for (unsigned leg = 1; leg < SIM_LEGS; leg++)
		for (unsigned block = 0; block < SIM_BLOCKS; block++)
			if (log->legs[leg][region][block].visible != log->legs[0][region][block].visible)
				return true;
	return false;
}

/* After a power cut the legs could differ. */
static bool legs_cached(const struct sim_log *log, unsigned region)
{
	for (unsigned leg = 0; leg < SIM_LEGS; leg++)
		for (unsigned block = 0; block < SIM_BLOCKS; block++)
			if (log->legs[leg][region][block].cached_by &&
			    log->legs[leg][region][block].visible != log->legs[leg][region][block].durable)
				return true;
	return false;
}

static bool write_under_way(const struct sim *sim, const struct sim_log *log, unsigned region)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		if (log->writes[node][region])
			return true;
	return false;
}

static bool device_says_clean(const struct sim_log *log, unsigned region)
{
	static const uint8_t magic[4] = {0x72, 0x52, 0x69, 0x4d};

	return !memcmp(log->durable_image, magic, 4) && log_device_is_clean(log->durable_image, region);
}

/* The log in the state of a member that knows all there is to know, or NULL. */
static const struct world_log *member_world(const struct sim *sim, unsigned node, const struct sim_log *log)
{
	const struct core *core = sim->nodes[node].core;
	const struct world_log *world;

	if (!group_caught_up(sim, node) || sim->nodes[node].paused || !core->active ||
	    core->join != JOIN_READY)
		return NULL;
	world = world_log_find(&core->world, log->uuid);
	if (!world || world->phase != LOG_OPEN || world->cold || world_log_assembling(&core->world, world))
		return NULL;
	/* Nor one of a core log's member that did not have to ask here: its marks are taken for unknown when it dies. */
	const struct participant *self = participant_find(world, node);
	if (!world->shape.disk && world_undecided(&core->world) &&
	    (!self || !participant_resumed(self) || self->late))
		return NULL;
	/* A mark that this part never saw may be on the device: whoever writes it next reads it first. */
	if (world->shape.disk && (!world->writer_loaded || !view_has(core, world->writer)))
		return NULL;
	return world;
}

/* --- 1 and 7: no lost dirt; a clean bit is true after a power cut
 * -------------------------------------------------------- */

static void check_dirt(struct sim *sim, struct sim_log *log, unsigned region)
{
	bool differ = legs_differ(log, region), writing = write_under_way(sim, log, region);

	if (differ || writing) {
		for (unsigned node = 1; node <= sim->node_count; node++) {
			const struct world_log *world = member_world(sim, node, log);
			if (world && !world_log_dirty(world, region))
				sim_fail(sim, 1, "%s region %u is clean at node %u, but %s", log->uuid,
					 region, node, writing ? "a write is under way" : "the legs differ");
		}
		if (log->disk && device_says_clean(log, region))
			sim_fail(sim, 1, "%s region %u is clean on the log device, but %s", log->uuid, region,
				 writing ? "a write is under way" : "the legs differ");
	} else if (log->disk && legs_cached(log, region) && device_says_clean(log, region)) {
		sim_fail(sim, 7, "%s region %u is clean on the log device, but a leg's cache holds writes",
			 log->uuid, region);
	}
}

void check_step(struct sim *sim, unsigned node)
{
	(void)node;
	for (unsigned i = 0; i < sim->log_count; i++) {
		struct sim_log *log = &sim->logs[i];
		if (log->excused)
			continue;
		for (unsigned region = 0; region < log->region_count; region++)
			check_dirt(sim, log, region);
	}
}

/* --- 2: one copier
 * ----------------------------------------------------------------------------------------------------------
 */

void check_leg_write_begins(struct sim *sim, unsigned node, unsigned number, unsigned region)
{
	const struct sim_log *log = &sim->logs[number];

	if (log->copier[region] && !log->excused)
		sim_fail(sim, 2, "node %u writes to %s region %u while node %u copies it", node, log->uuid,
			 region, log->copier[region]);
}

void check_copy_begins(struct sim *sim, unsigned node, unsigned number, unsigned region)
{
	const struct sim_log *log = &sim->logs[number];

	if (log->excused)
		return;
	if (log->copier[region])
		sim_fail(sim, 2, "nodes %u and %u copy %s region %u", node, log->copier[region], log->uuid,
			 region);
	for (unsigned other = 1; other <= sim->node_count; other++)
		if (log->writes[other][region])
			sim_fail(sim, 2, "node %u copies %s region %u while node %u writes to it", node,
				 log->uuid, region, other);
}

/* --- 3: agreement
 * --------------------------------------------------------------------------------------------------------------
 */

void check_delivered(struct sim *sim, unsigned node, struct ring_model *ring, uint64_t index)
{
	const struct core *core = sim->nodes[node].core;
	uint64_t digest;

	if (core->join != JOIN_READY || !core->settled || index % 4 || index >= ring->count)
		return;
	digest = world_digest(&core->world);
	digest += !digest;
	if (!ring->digests[index])
		ring->digests[index] = digest;
	else if (ring->digests[index] != digest)
		sim_fail(sim, 3, "node %u holds another state than others after item %llu of ring %llu", node,
			 (unsigned long long)index, (unsigned long long)ring->seq);
}

/* --- 5, 6: quorum, one writer
 * -------------------------------------------------------------------------------------------------- */

void check_device_write_begins(struct sim *sim, unsigned node, unsigned number)
{
	const struct sim_log *log = &sim->logs[number];

	if (!sim->nodes[node].quorate_told)
		sim_fail(sim, 5, "node %u writes the log device of %s without quorum", node, log->uuid);
	for (unsigned other = 1; other <= sim->node_count; other++)
		if (log->device_writes[other])
			sim_fail(sim, 6,
				 "node %u writes the log device of %s while a write of node %u is under way",
				 node, log->uuid, other);
}

/* --- 8, 10: answers
 * --------------------------------------------------------------------------------------------------------------
 */

static struct told *told_find(struct sim *sim, unsigned node, unsigned log, luid_t luid, bool make)
{
	struct told *told = sim->nodes[node].devices[log].told, *unused = NULL;

	for (unsigned i = 0; i < 4; i++) {
		if (told[i].used && told[i].luid == luid)
			return &told[i];
		if (!told[i].used)
			unused = &told[i];
	}
	if (make && unused) {
		memset(unused, 0, sizeof(*unused));
		unused->used = true;
		unused->luid = luid;
		return unused;
	}
	return NULL;
}

void check_request(struct sim *sim, unsigned number, const struct kernel_output *out)
{
	struct sim_node *node = &sim->nodes[number];
	uint32_t seq = out->send.seq;
	struct asked *asked;

	if (seq >= node->seq_count) {
		size_t count = (size_t)seq + 1024;
		node->seqs = realloc(node->seqs, count * sizeof(*node->seqs));
		if (!node->seqs)
			abort();
		memset(node->seqs + node->seq_count, 0, (count - node->seq_count) * sizeof(*node->seqs));
		node->seq_count = count;
	}
	asked = &node->seqs[seq];
	*asked = (struct asked){.state = 1,
				.type = (uint8_t)out->send.type,
				.log = (uint8_t)disk_log_find(sim, out->send.uuid),
				.resent = out->send.resent,
				.luid = out->luid};
	if (out->send.data_bytes >= 8 && out->send.type != ULOG_CTR)
		memcpy(&asked->region, out->send.data, sizeof(asked->region));
	if (out->send.type == ULOG_SET_REGION_SYNC)
		asked->in_sync = out->send.data[8];
	/* A DTR that reached nobody frees its luid for another table; a CTR that ends in NUL is a reconnect. */
	if (out->send.type == ULOG_CTR && out->send.data_bytes && out->send.data[out->send.data_bytes - 1] &&
	    told_find(sim, number, asked->log, out->luid, false))
		told_find(sim, number, asked->log, out->luid, false)->used = false;
	/* A resuming table has reset in_sync_hint before it asks. */
	if (out->send.type == ULOG_RESUME)
		sim->nodes[number].devices[asked->log].resume_unheard = false;
	if (out->send.type == ULOG_RESUME && told_find(sim, number, asked->log, out->luid, true))
		told_find(sim, number, asked->log, out->luid, true)->resumed = true;
	struct told *told = told_find(sim, number, asked->log, out->luid, false);
	if (!told)
		return;
	if (out->send.type == ULOG_SET_REGION_SYNC && !asked->in_sync)
		told->answers[asked->region] = 0;
	if (out->send.type == ULOG_DTR)
		told->used = false;
}

static void check_in_sync(struct sim *sim, unsigned node, const struct asked *asked,
			  const struct effect *effect)
{
	struct told *told = told_find(sim, node, asked->log, asked->luid, true);
	bool yes = effect->reply.data_bytes == 8 && bytes_get_u64(effect->reply.data);

	if (!told || asked->region >= SIM_REGIONS)
		return;
	if (!yes && told->answers[asked->region] == 2 && !sim->nodes[node].devices[asked->log].excused)
		sim_fail(sim, 10,
			 "node %u: luid %llx was told that %s region %u is in sync, and now that it is not",
			 node, (unsigned long long)asked->luid, sim->logs[asked->log].uuid, asked->region);
	told->answers[asked->region] = yes ? 2 : 1;
}

/* Hazard B8: nothing is in sync for a table that was not resumed. */
static void check_sync_count(struct sim *sim, unsigned node, const struct asked *asked,
			     const struct effect *effect)
{
	const struct told *told = told_find(sim, node, asked->log, asked->luid, false);

	/* A RESUME that reached nobody: the daemon found the table running. */
	if (sim->nodes[node].devices[asked->log].resume_unheard)
		return;
	if ((!told || !told->resumed) && effect->reply.data_bytes == 8 && bytes_get_u64(effect->reply.data))
		sim_fail(sim, 10, "node %u: luid %llx was told a sync count before it was resumed", node,
			 (unsigned long long)asked->luid);
}

void check_reply(struct sim *sim, unsigned number, const struct effect *effect)
{
	struct sim_node *node = &sim->nodes[number];
	struct asked *asked = effect->reply.seq < node->seq_count ? &node->seqs[effect->reply.seq] : NULL;

	if (!asked || !asked->state)
		sim_fail(sim, 8, "node %u answers seq %u, which nobody asked", number, effect->reply.seq);
	if (asked->state == 2)
		sim_fail(sim, 8, "node %u answers seq %u (%s) twice", number, effect->reply.seq,
			 ulog_type_name(asked->type));
	asked->state = 2;
	if (effect->reply.error)
		return;
	if (asked->type == ULOG_GET_RESYNC_WORK && effect->reply.data_bytes == 16 &&
	    bytes_get_u64(effect->reply.data) && !node->quorate_told)
		sim_fail(sim, 5, "node %u hands out recovery work without quorum", number);
	if (asked->type == ULOG_GET_SYNC_COUNT)
		check_sync_count(sim, number, asked, effect);
	if (asked->type == ULOG_IN_SYNC)
		check_in_sync(sim, number, asked, effect);
}

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
		if (legs_differ(log, region))
			return snprintf(ret_why, room, "%s region %u: the legs differ", log->uuid, region),
			       false;
		if (log->disk && !device_says_clean(log, region))
			return snprintf(ret_why, room, "%s region %u is dirty on the log device alone",
					log->uuid, region),
			       false;
	}
	return true;
}

bool check_settled(struct sim *sim, char *ret_why, size_t room)
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

/* A table that may have written unmarked has to be reloaded; the daemon says so, and an administrator does
 * it. */
static void reload_tainted(struct sim *sim)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		for (unsigned log = 0; log < sim->log_count && sim->nodes[node].core; log++) {
			const struct world_log *world =
			    world_log_find(&sim->nodes[node].core->world, sim->logs[log].uuid);
			const struct participant *self = world ? participant_find(world, node) : NULL;

			/* A log device that nobody could write is tried again after a reload only. */
			if (self && (participant_tainted(self) || world->device_dead) &&
			    sim->nodes[node].devices[log].stage == TABLE_ACTIVE)
				sim->nodes[node].devices[log].reload_wanted = true;
		}
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
}

void check_dump(struct sim *sim)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		for (unsigned log = 0; log < sim->log_count; log++)
			trace_log(sim, node, log);
}

void check_end(struct sim *sim)
{
	char why[400];

	reload_tainted(sim);

	if (check_settled(sim, why, sizeof(why))) {
		sim->settle_until_ns = 0;
		return;
	}
	sim_trace(sim, 0, "not settled: %s", why);
	if (sim->now_ns > sim->settle_until_ns) {
		sim_fail(sim, 9, "300 s after the last fault: %s", why);
	}
	sim_plan(sim, SIM_SETTLE, 0, SECOND);
}
