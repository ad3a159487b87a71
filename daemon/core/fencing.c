/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From "it left the ring" to "it is dead": watched by whoever can tell, agreed on in the order. */
#include "daemon/core/internal.h"

static node_id_t speaker(const struct core *core)
{
	const struct world_node *node;

	/* The lowest ready daemon of the view says what all see alike. */
	TAILQ_FOREACH (node, &core->world.nodes, entry)
		if (node->state == NODE_READY && view_has(core, node->node))
			return node->node;
	return NODE_NONE;
}

static bool ring_has(const struct core *core, node_id_t node)
{
	for (unsigned i = 0; i < core->quorum_node_count; i++)
		if (core->quorum_nodes[i] == node)
			return true;
	return false;
}

static bool watch_remember(struct core *core, node_id_t node, uint64_t boot_id)
{
	for (unsigned i = 0; i < core->watched_count; i++)
		if (core->watched[i].node == node && core->watched[i].boot_id == boot_id)
			return false;
	if (core->watched_count == FRAME_NODES_MAX)
		core->watched_count = 0;
	core->watched[core->watched_count].node = node;
	core->watched[core->watched_count++].boot_id = boot_id;
	return true;
}

static bool tell(struct core *core, enum record_type type, node_id_t node, uint64_t boot_id)
{
	struct record *record = send_add(core, type, NULL);

	if (!record)
		return false;
	record->node = node;
	record->boot_id = boot_id;
	return true;
}

/* A suspect is alive as far as anybody knows; what is unknown is whether its kernel holds marks. So it is of
 * one that was cut off, is back, and has no daemon that could say. */
static bool node_waited_for(const struct world_node *node)
{
	return node->state == NODE_UNDECIDED || ((node->suspect || node->returning) &&
						 (node->state == NODE_GONE || node->state == NODE_REFUSED));
}

static void node_ask_administrator(struct core *core, const struct world_node *node)
{
	if (node->state == NODE_UNDECIDED)
		core_log(core, LOG_ERR,
			 "node %u vanished: its regions stay as they are until it is back or `mirrorlogctl "
			 "confirm-dead %u` is given",
			 node->node, node->node);
	else
		core_log(core, LOG_WARNING,
			 "node %u runs no daemon, and nobody remembers whether it has mirrors active: logs "
			 "wait for "
			 "its daemon, or for `mirrorlogctl confirm-dead %u` if none is active there",
			 node->node, node->node);
}

static void node_undecided(struct core *core, const struct world_node *node)
{
	struct effect *effect;

	/* One says it; should it go before it has, the next one does. */
	if (core->config.fencing == FENCING_ASSUME && speaker(core) != core->config.node)
		return;
	if (!watch_remember(core, node->node, node->boot_id))
		return;
	if (core->config.fencing == FENCING_ASSUME) {
		core_log(core, LOG_WARNING, "node %u %s (--fencing=assume)", node->node,
			 node->state == NODE_UNDECIDED
			     ? "is taken for dead because corosync lost it"
			     : "runs no daemon and is taken for having no mirror active");
		tell(core, RECORD_NODE_DEAD, node->node, node->boot_id);
		return;
	}
	if (core->config.fencing == FENCING_NONE) {
		node_ask_administrator(core, node);
		return;
	}
	core_log(core, LOG_NOTICE, "node %u %s", node->node,
		 node->state == NODE_UNDECIDED
		     ? "vanished: waiting for its fencing"
		     : "runs no daemon: asking for its lock, which it holds if it has mirrors active");
	effect = effect_add(core, EFFECT_FENCE_WATCH);
	effect->fence.node = node->node;
	effect->fence.boot_id = node->boot_id;
}

static bool node_down_told(const struct core *core, node_id_t id)
{
	for (unsigned i = 0; core->down_told == core->epoch && i < core->down_told_count; i++)
		if (core->down_told_nodes[i] == id)
			return true;
	return false;
}

/* CPG does not report the death of a node whose daemon had gone before: the quorum's list of nodes does
 * (A10). */
static bool node_down_due(const struct core *core, node_id_t id)
{
	const struct world_node *node = world_node_find(&core->world, id);

	return (!node || node->state == NODE_GONE) && !ring_has(core, id) && !node_down_told(core, id);
}

static void node_down_tell(struct core *core, node_id_t node, uint64_t boot_id)
{
	if (!tell(core, RECORD_NODE_DOWN, node, boot_id))
		return;
	if (core->down_told != core->epoch || core->down_told_count == FRAME_NODES_MAX)
		core->down_told_count = 0;
	core->down_told = core->epoch;
	core->down_told_nodes[core->down_told_count++] = node;
}

static void gone_nodes_check(struct core *core)
{
	const struct participant *participant;
	const struct world_node *node;
	const struct world_log *log;

	if (!core->quorum_known || speaker(core) != core->config.node)
		return;
	TAILQ_FOREACH (node, &core->world.nodes, entry)
		if ((node->suspect || node->returning) && node_down_due(core, node->node)) {
			node_down_tell(core, node->node, node->boot_id);
			return;
		}
	TAILQ_FOREACH (log, &core->world.logs, entry)
		TAILQ_FOREACH (participant, &log->participants, entry)
			if (node_down_due(core, participant->node)) {
				node_down_tell(core, participant->node, participant->boot_id);
				return;
			}
}

static void fence_hold(struct core *core)
{
	const struct log *log;
	bool wanted = false;

	if (core->config.fencing != FENCING_DLM)
		return;
	TAILQ_FOREACH (log, &core->logs, entry) {
		const struct instance *instance;

		wanted = wanted || log_io_in_flight(log);
		TAILQ_FOREACH (instance, &log->instances, entry)
			wanted = wanted || (instance->state != INSTANCE_CONSTRUCTED &&
					    (instance->state != INSTANCE_SUSPENDED ||
					     !region_set_is_empty(&instance->held)));
	}
	if (wanted == core->fence_wanted)
		return;
	core->fence_wanted = wanted;
	if (!wanted)
		core->fence_held = false;
	effect_add(core, wanted ? EFFECT_FENCE_HOLD : EFFECT_FENCE_RELEASE);
}

/* Who came back, or was buried, is not waited for any more. */
static void watched_prune(struct core *core)
{
	for (unsigned i = 0; i < core->watched_count;) {
		const struct world_node *node = world_node_find(&core->world, core->watched[i].node);
		struct effect *effect;

		if (node && node_waited_for(node) && node->boot_id == core->watched[i].boot_id) {
			i++;
			continue;
		}
		if (core->config.fencing == FENCING_DLM) {
			effect = effect_add(core, EFFECT_FENCE_UNWATCH);
			effect->fence.node = core->watched[i].node;
			effect->fence.boot_id = core->watched[i].boot_id;
		}
		core->watched[i] = core->watched[--core->watched_count];
	}
}

void fencing_tick(struct core *core)
{
	const struct world_node *node;

	fence_hold(core);
	if (core->join != JOIN_READY || !core->active)
		return;
	watched_prune(core);
	gone_nodes_check(core);
	TAILQ_FOREACH (node, &core->world.nodes, entry)
		if (node_waited_for(node))
			node_undecided(core, node);
}

void fencing_node_dead(struct core *core, node_id_t node, uint64_t boot_id)
{
	const struct world_node *known = world_node_find(&core->world, node);

	if (core->join != JOIN_READY || !known || (!node_waited_for(known) && known->state != NODE_GONE)) {
		core_log(core, LOG_WARNING, "node %u is not one that is waited for: nothing to do", node);
		return;
	}
	if (send_has_room(core))
		tell(core, RECORD_NODE_DEAD, node, boot_id ? boot_id : known->boot_id);
}
