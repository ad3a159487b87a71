/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/internal.h"

static const char *const node_states[NODE_STATE_COUNT] = {
    [NODE_READY] = "ready", [NODE_JOINING] = "joining",	    [NODE_REFUSED] = "refused",
    [NODE_GONE] = "gone",   [NODE_UNDECIDED] = "undecided",
};

static const char *member_state(const struct core *core, const struct participant *participant)
{
	const struct world_node *node = world_node_find(&core->world, participant->node);

	if (participant->awaited)
		return "awaited";
	if (!node || node->state == NODE_UNDECIDED)
		return "undecided";
	if (node->state == NODE_GONE)
		return "daemon-gone";
	return node->state == NODE_READY ? "member" : "joining";
}

static void cluster_waits(const struct core *core, char *ret_text)
{
	const char *text = "";

	if (!core->connected)
		text = "waits for corosync";
	else if (core->refused)
		text = "refused: the cluster speaks another protocol version";
	else if (!core->quorum_known || !core->ring_known)
		text = "waits for quorum to speak for the ring";
	else if (!core->quorate)
		text = "no quorum: requests are kept until it returns";
	else if (!core->settled)
		text = "waits for every daemon of the view to greet";
	else if (core->join == JOIN_LOADING)
		text = "waits for a checkpoint";
	else if (core->join == JOIN_SPEAKING && join_io_in_flight(core))
		text = "waits for the end of a copy that this node, or its killed daemon, has in flight";
	else if (core->join == JOIN_SPEAKING)
		text = "tells the cluster what this node holds";
	snprintf(ret_text, STATUS_TEXT_BYTES, "%s", text);
}

static node_id_t first_in_state(const struct core *core, const struct world_log *world, enum node_state state)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &world->participants, entry) {
		const struct world_node *node = world_node_find(&core->world, it->node);

		if ((node ? node->state : NODE_UNDECIDED) == state)
			return it->node;
	}
	return NODE_NONE;
}

static bool role_free(const struct world_log *world)
{
	return world->recoverer == NODE_NONE || (world->shape.disk && world->writer == NODE_NONE);
}

/* Such a node hinders the log also when it has nothing of it: no free role is given, and nobody may be a
 * member that it does not know of (guarantee 4). */
static node_id_t undecided_node(const struct core *core, const struct world_log *world)
{
	node_id_t found = first_in_state(core, world, NODE_UNDECIDED);
	const struct participant *self = participant_find(world, core->config.node);
	const struct world_node *node;

	if (found != NODE_NONE || !self || (!self->late && !role_free(world)))
		return found;
	TAILQ_FOREACH (node, &core->world.nodes, entry)
		if (node->state == NODE_UNDECIDED)
			return node->node;
	return NODE_NONE;
}

/* Nor is one given before it has spoken, when it is back (guarantee 2). */
static node_id_t unspoken_node(const struct core *core, const struct world_log *world)
{
	const struct world_node *node;

	if (role_free(world) && participant_find(world, core->config.node))
		TAILQ_FOREACH (node, &core->world.nodes, entry)
			if (node->returning)
				return node->node;
	return NODE_NONE;
}

static void former_members_wait(const struct core *core, const struct world_log *world, char *ret_text)
{
	const struct participant *it;

	snprintf(ret_text, STATUS_TEXT_BYTES, "waits until every former member has spoken or is dead");
	TAILQ_FOREACH (it, &world->participants, entry) {
		const struct world_node *node = world_node_find(&core->world, it->node);

		if (it->awaited && node && node->state == NODE_JOINING)
			snprintf(
			    ret_text, STATUS_TEXT_BYTES,
			    "waits until node %u has spoken: a copy that it, or its killed daemon, has in "
			    "flight ends first",
			    it->node);
	}
}

/* Why nobody writes the log device. */
static void writer_waits(const struct world_log *world, char *ret_text)
{
	const struct participant *it;

	snprintf(ret_text, STATUS_TEXT_BYTES, "waits for a member that can write the log device");
	TAILQ_FOREACH (it, &world->participants, entry)
		if (it->writing)
			snprintf(ret_text, STATUS_TEXT_BYTES,
				 "waits for the end of a write of the log device that node %u, or its killed "
				 "daemon, has in flight",
				 it->node);
}

/* A member that another node does not know of, with a core log or where a role waits for it. */
static const struct participant *late_member(const struct world_log *world)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &world->participants, entry)
		if (it->late && !region_set_is_empty(&it->unheard) &&
		    (!world->shape.disk || world->writer == NODE_NONE))
			return it;
	return NULL;
}

static void member_waits(const struct participant *late, char *ret_text)
{
	region_t unheard = 0;

	region_set_first(&late->unheard, &unheard);
	snprintf(ret_text, STATUS_TEXT_BYTES, "waits until node %u knows that node %u is a member", unheard,
		 late->node);
}

/* The copy does not begin before the writer knows of the claim (guarantee 2). */
static bool claim_unknown(const struct world_log *world)
{
	return world->shape.disk && world->writer != world->recoverer && !world->claim_known &&
	       world_log_claim_free(world);
}

static void repair_waits(const struct core *core, const struct log *log, const struct world_log *world,
			 char *ret_text)
{
	const char *hindrance = world_log_repair_hindrance(&core->world, world);
	uint64_t rate = repair_rate(core, log);

	if (core->repair_paused)
		snprintf(ret_text, STATUS_TEXT_BYTES, "repair is paused on this node");
	else if (hindrance)
		snprintf(ret_text, STATUS_TEXT_BYTES, "%s", hindrance);
	else if (log->flush_void && world->recoverer == core->config.node)
		snprintf(
		    ret_text, STATUS_TEXT_BYTES,
		    "repair waits for the end of a flush that a killed daemon of this node has in flight");
	else if (claim_unknown(world))
		snprintf(ret_text, STATUS_TEXT_BYTES,
			 "repair waits until node %u, which writes the log device, knows of it",
			 world->writer);
	else if (rate)
		snprintf(
		    ret_text, STATUS_TEXT_BYTES,
		    "regions of a dead node are being repaired, at most %llu bytes a second by this node",
		    (unsigned long long)rate);
	else
		snprintf(ret_text, STATUS_TEXT_BYTES, "regions of a dead node are being repaired");
}

/* The log device, or members of it: nobody's writes go on. Returns false when they do. */
static bool device_waits(const struct log *log, const struct world_log *world, char *ret_text)
{
	const struct participant *late = late_member(world);

	if (late)
		member_waits(late, ret_text);
	else if (world->device_dead && log->handles_errors)
		snprintf(ret_text, STATUS_TEXT_BYTES, "no member can write the log device: reload the table");
	else if (world->device_dead)
		snprintf(ret_text, STATUS_TEXT_BYTES,
			 "no member can write the log device: writes wait until one can, or the table is "
			 "reloaded");
	else if (world->shape.disk && world->writer == NODE_NONE)
		writer_waits(world, ret_text);
	else if (world->shape.disk && !world->writer_loaded)
		snprintf(ret_text, STATUS_TEXT_BYTES, "waits for node %u to read the log device",
			 world->writer);
	return ret_text[0] != '\0';
}

static void log_waits(const struct core *core, const struct log *log, const struct world_log *world,
		      char *ret_text)
{
	node_id_t undecided = world ? undecided_node(core, world) : NODE_NONE;

	ret_text[0] = '\0';
	if (!world)
		return;
	if (undecided != NODE_NONE)
		snprintf(ret_text, STATUS_TEXT_BYTES, "waits for the fencing of node %u", undecided);
	else if (world_suspect(&core->world) != NODE_NONE)
		snprintf(ret_text, STATUS_TEXT_BYTES,
			 "waits for the daemon of node %u, which may have the log active",
			 world_suspect(&core->world));
	else if (world_log_assembling(&core->world, world))
		former_members_wait(core, world, ret_text);
	else if (unspoken_node(core, world) != NODE_NONE)
		snprintf(ret_text, STATUS_TEXT_BYTES, "waits until node %u, which was cut off, has spoken",
			 unspoken_node(core, world));
	else if (device_waits(log, world, ret_text))
		return;
	else if (log_resumed_instance(log) && log_resumed_instance(log)->log_failed)
		snprintf(
		    ret_text, STATUS_TEXT_BYTES,
		    "the table got an error for a FLUSH: what it marks stays dirty until it is reloaded");
	else if (!region_set_is_empty(&world->ghosts))
		repair_waits(core, log, world, ret_text);
	else if (log->waiting_count)
		snprintf(ret_text, STATUS_TEXT_BYTES, "%u requests of the kernel wait for a commit",
			 log->waiting_count);
}

static void log_members_fill(const struct core *core, const struct world_log *world,
			     struct status_log *ret_log)
{
	const struct participant *it;
	size_t count = 0;

	TAILQ_FOREACH (it, &world->participants, entry)
		count++;
	ret_log->members = calloc(count ? count : 1, sizeof(*ret_log->members));
	if (!ret_log->members)
		return;
	TAILQ_FOREACH (it, &world->participants, entry) {
		struct status_member *member = &ret_log->members[ret_log->member_count++];

		member->node = it->node;
		member->state = member_state(core, it);
		member->instances = it->instance_count;
		for (unsigned i = 0; i < it->instance_count; i++)
			member->resumed += it->instances[i].resumed;
		member->marks = region_set_count(&it->marks) + region_set_count(&it->waiting);
	}
}

static void log_fill(const struct core *core, const struct log *log, struct status_log *ret_log)
{
	const struct world_log *world = log_world(core, log);
	const struct instance *instance = log_resumed_instance(log);

	if (!instance)
		instance = TAILQ_FIRST(&log->instances);
	memcpy(ret_log->uuid, log->uuid, sizeof(ret_log->uuid));
	ret_log->disk = log->shape.disk;
	if (instance)
		constructor_device(&instance->constructor, ret_log->device, sizeof(ret_log->device));
	ret_log->health = world && world->device_dead ? 'D' : 'A';
	ret_log->region_count = log->shape.region_count;
	ret_log->region_size_sectors = log->shape.region_size_sectors;
	ret_log->synced_regions = recovery_sync_count(core, log);
	ret_log->unsynced_regions = region_set_count(&log->unsynced);
	ret_log->ghost_regions = region_set_count(&log->ghosts) - region_set_count(&log->untold);
	ret_log->failed_regions = region_set_count(&log->failed);
	TAILQ_FOREACH (instance, &log->instances, entry)
		ret_log->held_regions += region_set_count(&instance->held);
	ret_log->lingering_regions =
	    region_set_count(&log->linger_young) + region_set_count(&log->linger_old);
	ret_log->waiting_requests = log->waiting_count;
	ret_log->repaired_regions = log->repaired_regions;
	ret_log->repair_rate = repair_rate(core, log);
	log_waits(core, log, world, ret_log->waits_for);
	if (!world)
		return;
	ret_log->writer = world->writer;
	ret_log->recoverer = world->recoverer;
	ret_log->repair_claimed = world->claimed;
	ret_log->repair_region = world->claimed ? world->claim : 0;
	ret_log->digest = world_log_digest(world);
	log_members_fill(core, world, ret_log);
}

static void nodes_fill(const struct core *core, struct core_status *status)
{
	const struct world_node *node;
	size_t count = 0;

	TAILQ_FOREACH (node, &core->world.nodes, entry)
		count++;
	status->nodes = calloc(count ? count : 1, sizeof(*status->nodes));
	if (!status->nodes)
		return;
	TAILQ_FOREACH (node, &core->world.nodes, entry)
		status->nodes[status->node_count++] = (struct status_node){
		    .node = node->node,
		    .state = node_states[node->state],
		    .boot_id = node->boot_id,
		};
}

struct core_status *core_status_new(const struct core *core)
{
	struct core_status *status = calloc(1, sizeof(*status));
	const struct log *log;
	size_t count = 0;

	if (!status)
		return NULL;
	status->node = core->config.node;
	status->boot_id = core->config.boot_id;
	status->connected = core->connected;
	status->quorate = core->quorate;
	status->active = core->active;
	status->ready = core->join == JOIN_READY;
	status->epoch = core->epoch;
	status->digest = status->ready ? world_digest(&core->world) : 0;
	status->requests = core->counters.requests;
	status->messages_sent = core->counters.messages_sent;
	status->messages_delivered = core->counters.messages_delivered;
	status->device_writes = core->counters.device_writes;
	status->device_write_bytes = core->counters.device_write_bytes;
	status->records_waiting = core->out_count;
	status->backlog_bytes = core->backlog_bytes;
	status->waiting_dropped = core->counters.waiting_dropped;
	status->records_dropped = core->counters.records_dropped;
	status->backlog_overflows = core->counters.backlog_overflows;
	status->repair_paused = core->repair_paused;
	cluster_waits(core, status->waits_for);
	nodes_fill(core, status);
	TAILQ_FOREACH (log, &core->logs, entry)
		count++;
	status->logs = calloc(count ? count : 1, sizeof(*status->logs));
	if (!status->logs)
		return status;
	TAILQ_FOREACH (log, &core->logs, entry)
		log_fill(core, log, &status->logs[status->log_count++]);
	return status;
}

void core_status_free(struct core_status *status)
{
	if (!status)
		return;
	for (size_t i = 0; i < status->log_count; i++)
		free(status->logs[i].members);
	free(status->logs);
	free(status->nodes);
	free(status);
}
