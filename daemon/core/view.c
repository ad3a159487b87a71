/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is in the view, and who knows the truth.
 *
 * After each change every daemon greets the others (HELLO) once quorum has spoken for the ring. When all have
 * greeted, at the same place of the order for all, the view settles: the ready daemons of one part of the
 * cluster keep their state, everybody else starts from a checkpoint of it. With no ready daemon at all the
 * state is put together from what each one's run directory remembers. protocol/README argues why this never
 * mixes states.
 */
#include "daemon/core/internal.h"

#include <stdlib.h>
#include <string.h>

bool view_has(const struct core *core, node_id_t node)
{
	for (unsigned i = 0; i < core->member_count; i++)
		if (core->members[i].node == node)
			return true;
	return false;
}

/* The view has to settle (again); a state that was not complete is of no use for that. */
static void view_unsettle(struct core *core)
{
	if (core->settled)
		core->was_active = core->active;
	core->settled = false;
	core->refused = false;
	core->view_quorate = false;
	core->active = false;
	core->hello_due = true;
	for (unsigned i = 0; i < core->member_count; i++)
		core->members[i].greeted = false;
	stream_drop_out(core, STREAM_CHECKPOINT);
	if (core->join == JOIN_LOADING || core->join == JOIN_SPEAKING) {
		join_reset(core);
		core->join = JOIN_APART;
	}
}

static void kin_lose(struct core *core, node_id_t node)
{
	for (unsigned i = 0; i < core->kin_count; i++)
		if (core->kin[i] == node)
			core->kin[i--] = core->kin[--core->kin_count];
}

/* Parts of a split are disjoint, so their lowest nodes differ. Who joined since the view last settled came
 * with another part, and another state. */
static node_id_t component_of(const struct core *core)
{
	node_id_t lowest = core->config.node;

	for (unsigned i = 0; i < core->kin_count; i++)
		if (core->kin[i] < lowest)
			lowest = core->kin[i];
	return lowest;
}

static int member_compare(const void *a, const void *b)
{
	node_id_t left = ((const struct member *)a)->node, right = ((const struct member *)b)->node;

	return left < right ? -1 : left > right;
}

void view_change(struct core *core, const struct event *event)
{
	for (size_t i = 0; i < event->view.joined_count; i++) {
		if (event->view.joined[i].node == core->config.node && !core->connected) {
			core->connected = true;
			core->component = core->config.node;
			core->kin_count = 0;
		}
		if (event->view.joined[i].reason == VIEW_NODE_UP)
			core->ring_known = false;
	}
	core->member_count = 0;
	for (size_t i = 0; i < event->view.member_count && i < FRAME_NODES_MAX; i++)
		core->members[core->member_count++] = (struct member){.node = event->view.members[i]};
	qsort(core->members, core->member_count, sizeof(core->members[0]), member_compare);
	/* Nodes go from the state at the same place of the order for all that stay together. */
	for (size_t i = 0; i < event->view.left_count; i++) {
		bool down = event->view.left[i].reason == VIEW_NODE_DOWN;

		if (down)
			core->ring_known = false;
		kin_lose(core, event->view.left[i].node);
		if (core->join != JOIN_READY)
			continue;
		if (event->view.left[i].reason == VIEW_REPLACED)
			world_node_replaced(&core->world, event->view.left[i].node);
		else
			world_node_left(&core->world, event->view.left[i].node, down);
	}
	if (event->view.left_count)
		core->component = component_of(core);
	view_unsettle(core);
	log_poke_all(core);
}

static bool ring_equal(const struct ring *a, const struct ring *b)
{
	return a->seq == b->seq && a->representative == b->representative;
}

static bool quorum_spoke(const struct core *core)
{
	return core->ring_known && core->quorum_known && ring_equal(&core->ring, &core->quorum_ring);
}

void view_ring(struct core *core, const struct event *event)
{
	if (core->ring_known && !ring_equal(&core->ring, &event->ring)) {
		/* The ring changed though no daemon came or went: quorum has to speak again (hazard A5). */
		view_unsettle(core);
		log_poke_all(core);
	}
	core->ring = event->ring;
	core->ring_known = true;
}

void view_quorum(struct core *core, const struct event *event)
{
	bool changed = !core->quorum_known || core->quorate != event->quorum.quorate;

	core->quorum_known = true;
	core->quorate = event->quorum.quorate;
	core->quorum_ring = event->quorum.ring;
	core->quorum_node_count = 0;
	for (size_t i = 0; i < event->quorum.node_count && i < FRAME_NODES_MAX; i++)
		core->quorum_nodes[core->quorum_node_count++] = event->quorum.nodes[i];
	if (!changed)
		return;
	core_log(core, LOG_NOTICE,
		 core->quorate ? "quorum regained" : "no quorum: requests are kept until it returns");
	if (!core->quorate)
		core->active = false;
	core->hello_due = core->connected;
	log_poke_all(core);
}

void view_lost(struct core *core)
{
	core->connected = false;
	core->ring_known = false;
	core->quorum_known = false;
	core->settled = false;
	core->view_quorate = false;
	core->active = false;
	core->was_active = false;
	core->hello_due = false;
	core->frame_in_flight = false;
	core->member_count = 0;
	join_reset(core);
	core->join = JOIN_APART;
	core->incarnation = core->next_incarnation++;
	log_poke_all(core);
	core_log(core, LOG_WARNING, "the connection to corosync is lost: requests are kept until it is back");
}

bool view_can_greet(const struct core *core)
{
	return quorum_spoke(core);
}

/* The configured nodes and those of the ring. */
static void ring_nodes_fill(const struct core *core, struct record_hello *hello)
{
	hello->ring_node_count = core->quorum_node_count;
	memcpy(hello->ring_nodes, core->quorum_nodes, sizeof(hello->ring_nodes));
	for (unsigned i = 0; i < core->config.configured_count; i++) {
		bool known = false;

		for (uint32_t j = 0; j < hello->ring_node_count; j++)
			known = known || hello->ring_nodes[j] == core->config.configured[i];
		if (!known && hello->ring_node_count < FRAME_NODES_MAX)
			hello->ring_nodes[hello->ring_node_count++] = core->config.configured[i];
	}
}

void view_fill_hello(const struct core *core, struct record_hello *hello)
{
	*hello = (struct record_hello){
	    .version_min = PROTOCOL_VERSION_MIN,
	    .version_max = PROTOCOL_VERSION_MAX,
	    .ring_seq = core->ring.seq,
	    .ring_representative = core->ring.representative,
	    .boot_id = core->config.boot_id,
	    .incarnation = core->incarnation,
	    .next_incarnation = core->next_incarnation,
	    .epoch = core->epoch,
	    .component = core->component,
	    .ready = core->join == JOIN_READY && core->state_counts,
	    .was_active = core->settled ? core->active : core->was_active,
	    .quorate = core->quorate,
	    .member_count = core->member_count,
	};
	for (unsigned i = 0; i < core->member_count; i++)
		hello->members[i] = core->members[i].node;
	ring_nodes_fill(core, hello);
}

/* Of two ready daemons whose states may differ: whose is the truth? */
static int hello_compare(const struct record_hello *a, const struct record_hello *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch ? -1 : 1;
	if (a->was_active != b->was_active)
		return a->was_active ? -1 : 1;
	if (a->component != b->component)
		return a->component < b->component ? -1 : 1;
	return 0;
}

static const struct record_hello *hello_best(const struct core *core)
{
	const struct record_hello *best = NULL;

	for (unsigned i = 0; i < core->member_count; i++) {
		const struct record_hello *hello = &core->members[i].hello;

		if (hello->ready && (!best || hello_compare(hello, best) < 0))
			best = hello;
	}
	return best;
}

static bool hello_wins(const struct record_hello *hello, const struct record_hello *best)
{
	return best && hello->ready && hello_compare(hello, best) == 0;
}

/* Who knows the truth comes first, then the lowest node: whoever speaks no version in common with all before
 * it stays out, and what is left is the highest version of all others. The same for everybody who counts. */
static void versions_settle(struct core *core, const struct record_hello *best)
{
	uint16_t low = 0, high = UINT16_MAX;

	for (int pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < core->member_count; i++) {
			struct member *member = &core->members[i];
			const struct record_hello *hello = &member->hello;

			if (hello_wins(hello, best) != (pass == 0))
				continue;
			member->fits = hello->version_min <= high && hello->version_max >= low;
			if (!member->fits)
				continue;
			low = hello->version_min > low ? hello->version_min : low;
			high = hello->version_max < high ? hello->version_max : high;
		}
	core->version = high;
}

/* A view is quorate when every member of it says so: all learn it at the same place of the order. Each time
 * it becomes so is an epoch. Active is this, as long as this node's own quorum has not said otherwise since.
 */
static void view_activate(struct core *core)
{
	bool quorate = true;

	for (unsigned i = 0; i < core->member_count; i++)
		quorate = quorate && core->members[i].hello.quorate;
	if (quorate && !core->view_quorate) {
		core->epoch++;
		core->world.epoch = core->epoch;
		core->state_counts = true;
		run_state_epoch(core);
		core_log(core, LOG_INFO, "view of %u daemons is active, epoch %llu", core->member_count,
			 (unsigned long long)core->epoch);
	}
	core->view_quorate = quorate;
	core->active = quorate && core->quorate;
	log_poke_all(core);
}

static void member_enter(struct core *core, const struct member *member)
{
	const struct record_hello *hello = &member->hello;

	if (!member->fits) {
		world_node_refused(&core->world, member->node, hello->boot_id);
		core_log(core, LOG_ERR, "node %u speaks protocol versions %u to %u, this cluster %u: refused",
			 member->node, hello->version_min, hello->version_max, core->version);
		return;
	}
	world_node_joins(&core->world, member->node, hello->boot_id, hello->next_incarnation);
}

static void suspects_of_ring_note(struct core *core, const struct record_hello *hello)
{
	for (uint32_t i = 0; i < hello->ring_node_count; i++) {
		node_id_t node = hello->ring_nodes[i];
		const struct world_node *known = world_node_find(&core->world, node);

		if (node != NODE_NONE && !view_has(core, node) && (!known || known->state == NODE_GONE))
			world_node_suspected(&core->world, node);
	}
}

/* It was active until now, and the state that has seen more epochs was not: it may have been begun anew
 * without that one, which holds no lock, and so has no table. What it knew is lost, but for what it speaks,
 * and may be of nodes that the state knows nothing of: all is waited for as where founders begin. */
static void loser_suspected(struct core *core, const struct member *loser, const struct record_hello *best)
{
	struct world_node *node = world_node_find(&core->world, loser->node);

	if (!node || !loser->hello.ready || !loser->hello.was_active || best->was_active)
		return;
	node->suspect = true;
	suspects_of_ring_note(core, &loser->hello);
}

static void settle_as_winner(struct core *core, const struct record_hello *best)
{
	node_id_t donor = NODE_NONE;
	bool joins = false;
	struct log *log;

	for (unsigned i = 0; i < core->member_count; i++) {
		const struct member *member = &core->members[i];

		if (hello_wins(&member->hello, best)) {
			if (donor == NODE_NONE || member->node < donor)
				donor = member->node;
			continue;
		}
		joins = true;
		member_enter(core, member);
		loser_suspected(core, member, best);
	}
	core->epoch = best->epoch;
	view_activate(core);
	if (!joins)
		return;
	/* A joiner knows nothing of streams under way: they begin again behind its checkpoint. */
	stream_drop_in(core);
	stream_drop_out(core, STREAM_DEVICE);
	/* Another boot's HELLO buries the former one: what failed may be plain out of sync from here on. */
	TAILQ_FOREACH (log, &core->logs, entry) {
		device_tell_again(core, log);
		device_recheck(core, log);
	}
	if (donor == core->config.node)
		join_send_checkpoint(core);
}

/* Whoever has not spoken may remember what nobody else does: the founders themselves, and the nodes that run
 * no daemon, whose kernels may write. */
static void suspects_note(struct core *core)
{
	for (unsigned i = 0; i < core->member_count; i++) {
		const struct record_hello *hello = &core->members[i].hello;
		struct world_node *node = world_node_find(&core->world, core->members[i].node);

		if (node)
			node->suspect = true;
		suspects_of_ring_note(core, hello);
	}
}

/* What founders put together counts for others only once it was active: until then they found again with
 * whoever comes, or join those who know better. */
static void settle_as_founder(struct core *core)
{
	uint64_t epoch = 0;

	core_log(core, LOG_NOTICE,
		 "no daemon knows the state: it is put together from what each one remembers");
	join_reset(core);
	for (unsigned i = 0; i < core->member_count; i++) {
		member_enter(core, &core->members[i]);
		if (core->members[i].hello.epoch > epoch)
			epoch = core->members[i].hello.epoch;
	}
	suspects_note(core);
	core->incarnation = core->next_incarnation++;
	core->epoch = epoch;
	view_activate(core);
	join_start_speaking(core);
}

/* A checkpoint too counts for others only once it was active here. Founders wait for each node that may have
 * been active without them, and for none that it hands its state to: who is dead when they ask, and boots,
 * may bring it back when they have gone on, under an epoch that they have not heard of. */
static void settle_as_joiner(struct core *core, const struct record_hello *best)
{
	if (core->join == JOIN_READY)
		core_log(core, LOG_NOTICE,
			 "another part of the cluster went on: starting from its checkpoint");
	join_reset(core);
	core->incarnation = core->next_incarnation++;
	core->epoch = best->epoch;
	view_activate(core);
	join_start_loading(core);
}

static void view_settle(struct core *core)
{
	const struct record_hello *best = hello_best(core);
	const struct member *own = NULL;
	node_id_t component = UINT32_MAX;

	versions_settle(core, best);
	for (unsigned i = 0; i < core->member_count; i++) {
		if (core->members[i].node == core->config.node)
			own = &core->members[i];
		if (core->members[i].node < component)
			component = core->members[i].node;
	}
	if (!own)
		return;
	if (!own->fits) {
		core_log(
		    core, LOG_ERR,
		    "this daemon speaks protocol versions %u to %u, the cluster %u: staying out until it is "
		    "of one version",
		    PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX, core->version);
		core->refused = true;
		return;
	}
	core->settled = true;
	if (hello_wins(&own->hello, best))
		settle_as_winner(core, best);
	else if (best)
		settle_as_joiner(core, best);
	else
		settle_as_founder(core);
	core->component = component;
	core->kin_count = core->member_count;
	for (unsigned i = 0; i < core->member_count; i++)
		core->kin[i] = core->members[i].node;
}

static bool hello_is_for_view(const struct core *core, const struct record_hello *hello)
{
	if (hello->member_count != core->member_count || hello->ring_seq != core->ring.seq ||
	    hello->ring_representative != core->ring.representative)
		return false;
	for (unsigned i = 0; i < hello->member_count; i++)
		if (!view_has(core, hello->members[i]))
			return false;
	return true;
}

/* In a settled view a HELLO tells of quorum, or asks for another checkpoint: then its next incarnation has
 * skipped one, and the view settles anew, for all at this place of the order. */
static void view_hello_again(struct core *core, const struct record_hello *hello)
{
	if (!hello->ready && hello->next_incarnation > hello->incarnation + 1)
		view_unsettle(core);
	else
		view_activate(core);
}

void view_hello(struct core *core, node_id_t node, const struct record_hello *hello)
{
	struct member *member = NULL;

	for (unsigned i = 0; i < core->member_count; i++)
		if (core->members[i].node == node)
			member = &core->members[i];
	if (!member || !hello_is_for_view(core, hello))
		return;
	member->greeted = true;
	member->hello = *hello;
	if (core->settled) {
		view_hello_again(core, hello);
		return;
	}
	for (unsigned i = 0; i < core->member_count; i++)
		if (!core->members[i].greeted)
			return;
	view_settle(core);
}
