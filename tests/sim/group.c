/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * corosync as its users see it. A ring orders the messages of its nodes; each node delivers them at its own
 * pace. When the ring changes, nodes that stay together deliver the same messages of the old ring first
 * (virtual synchrony); what was ordered and reached none of them is lost for them, also when its sender, on
 * another side, has seen it delivered. A node keeps its own messages, so they are never lost where it goes.
 * Leaves come before joins, then the ring's own callback; quorum speaks on another connection, before or
 * after.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

static uint32_t bit(unsigned node)
{
	return UINT32_C(1) << node;
}

static unsigned lowest(uint32_t nodes)
{
	return nodes ? (unsigned)__builtin_ctz(nodes) : 0;
}

/* --- to the daemon
 * ------------------------------------------------------------------------------------------------- */

static void post_cpg(struct sim *sim, unsigned node, struct input *input)
{
	input->from_cpg = true;
	sim->nodes[node].cpg_pending++;
	host_post(sim, node, input, &sim->nodes[node].cpg_channel_ns, sim_latency(sim, 20 * US));
}

static size_t list_nodes(uint32_t nodes, node_id_t *ret_list)
{
	size_t count = 0;

	for (unsigned node = 1; node <= SIM_NODES; node++)
		if (nodes & bit(node))
			ret_list[count++] = node;
	return count;
}

static void post_view(struct sim *sim, unsigned node, uint32_t joined, uint32_t left, enum view_reason reason)
{
	struct input *input = host_input(EVENT_VIEW);
	node_id_t list[SIM_NODES];
	size_t count = list_nodes(joined | left, list);

	input->event.view.members = input->members;
	input->event.view.member_count = list_nodes(sim->nodes[node].group, input->members);
	for (size_t i = 0; i < count; i++)
		input->changes[i] = (struct view_change){.node = list[i], .reason = reason};
	if (joined) {
		input->event.view.joined = input->changes;
		input->event.view.joined_count = count;
	} else {
		input->event.view.left = input->changes;
		input->event.view.left_count = count;
	}
	sim_trace(sim, node, "view %x joined %x left %x", sim->nodes[node].group, joined, left);
	if (sim->options.mutant == MUTANT_VIEW_LOST && left && sim_below(sim, 4) == 0) {
		free(input);
		return;
	}
	post_cpg(sim, node, input);
}

static void post_ring(struct sim *sim, unsigned node)
{
	struct input *input = host_input(EVENT_RING);
	const struct ring_model *ring = sim->nodes[node].ring;

	input->event.ring = (struct ring){.seq = ring->seq, .representative = ring->representative};
	post_cpg(sim, node, input);
}

static void post_quorum(struct sim *sim, unsigned node)
{
	struct input *input = host_input(EVENT_QUORUM);
	const struct ring_model *ring = sim->nodes[node].ring;

	input->from_quorum = true;
	sim->nodes[node].quorum_pending++;
	input->event.quorum.quorate = ring->quorate || sim->options.mutant == MUTANT_QUORUM_ALWAYS;
	input->quorate = ring->quorate;
	input->event.quorum.ring = (struct ring){.seq = ring->seq, .representative = ring->representative};
	input->event.quorum.nodes = input->members;
	input->event.quorum.node_count = list_nodes(ring->nodes, input->members);
	host_post(sim, node, input, &sim->nodes[node].quorum_channel_ns,
		  sim_latency(sim, sim_chance(sim, 30) ? 2 * MS : 50 * US));
}

static bool daemon_listens(const struct sim *sim, unsigned node)
{
	return sim->nodes[node].core && sim->nodes[node].connected && (sim->nodes[node].group & bit(node));
}

/* --- order
 * ---------------------------------------------------------------------------------------------------------
 */

static void plan_order(struct sim *sim, unsigned node, enum item_kind kind, const uint8_t *bytes, size_t size,
		       uint64_t delay_ns)
{
	struct sim_node *self = &sim->nodes[node];
	uint64_t at_ns = sim->now_ns + delay_ns + sim_latency(sim, 150 * US);
	struct sim_event *event;

	if (at_ns < self->order_channel_ns)
		at_ns = self->order_channel_ns;
	self->order_channel_ns = at_ns;
	event = sim_plan(sim, SIM_ORDER, node, at_ns - sim->now_ns);
	event->generation = self->boot_generation;
	event->a = kind;
	event->b = size;
	event->c = self->daemon_generation;
	if (size) {
		event->bytes = malloc(size);
		if (!event->bytes)
			abort();
		memcpy(event->bytes, bytes, size);
	}
}

void group_send(struct sim *sim, unsigned node, const uint8_t *bytes, size_t size)
{
	if (sim->nodes[node].connected && sim->nodes[node].corosync_up)
		plan_order(sim, node, ITEM_MESSAGE, bytes, size,
			   sim_chance(sim, 1) ? sim_below(sim, 300 * MS) : 0);
}

static void plan_item(struct sim *sim, struct ring_model *ring, unsigned node, uint64_t index)
{
	struct sim_node *self = &sim->nodes[node];
	uint64_t lost_ns =
	    node != ring->items[index].sender && sim_chance(sim, 3) ? sim_between(sim, MS, 30 * MS) : 0;
	uint64_t at_ns = sim->now_ns + lost_ns + sim_latency(sim, 100 * US);
	struct sim_event *event;

	if (at_ns < self->item_channel_ns)
		at_ns = self->item_channel_ns;
	self->item_channel_ns = at_ns;
	event = sim_plan(sim, SIM_ITEM, node, at_ns - sim->now_ns);
	event->a = ring->seq;
	event->b = index;
}

void group_order(struct sim *sim, struct sim_event *event)
{
	struct sim_node *self = &sim->nodes[event->node];
	struct ring_model *ring = self->ring;
	struct ring_item *item;

	/* What was sent before corosync went is gone; a message of a killed daemon still goes out. */
	if (!self->corosync_up || event->generation != self->boot_generation || event->d)
		return;
	if (!ring || ring->frozen) {
		sim_event_defer(sim, event);
		return;
	}
	if (ring->count == ring->room) {
		ring->room = ring->room ? 2 * ring->room : 64;
		ring->items = realloc(ring->items, ring->room * sizeof(*ring->items));
		ring->digests = realloc(ring->digests, ring->room * sizeof(*ring->digests));
		if (!ring->items || !ring->digests)
			abort();
	}
	ring->digests[ring->count] = 0;
	if (event->a == ITEM_REPLACE && !disk_former_lives(sim, event->node))
		event->a = ITEM_LEAVE;
	if (event->a == ITEM_MESSAGE)
		story_message(sim, event->node, event->bytes, event->b);
	item = &ring->items[ring->count++];
	*item = (struct ring_item){.kind = (enum item_kind)event->a,
				   .sender = event->node,
				   .bytes = event->bytes,
				   .size = event->b,
				   .daemon = event->c};
	event->bytes = NULL;
	for (unsigned node = 1; node <= sim->node_count; node++)
		if (ring->nodes & bit(node))
			plan_item(sim, ring, node, ring->count - 1);
}

/* One item at one node, in order. */
static void deliver(struct sim *sim, struct ring_model *ring, unsigned node, uint64_t index)
{
	struct sim_node *self = &sim->nodes[node];
	const struct ring_item *item = &ring->items[index];
	struct input *input;

	switch (item->kind) {
	case ITEM_MESSAGE:
		if (!daemon_listens(sim, node) || !(self->group & bit(item->sender)))
			break;
		if (sim->options.mutant == MUTANT_DELIVERY_LOST && item->sender != node &&
		    sim_below(sim, 500) == 0)
			break;
		input = host_input(EVENT_DELIVER);
		input->event.deliver.node = item->sender;
		input->bytes = malloc(item->size);
		if (!input->bytes)
			abort();
		memcpy(input->bytes, item->bytes, item->size);
		input->event.deliver.bytes = input->bytes;
		input->event.deliver.size = item->size;
		input->ring = ring->seq;
		input->index = index;
		post_cpg(sim, node, input);
		break;
	case ITEM_JOIN:
		self->group |= bit(item->sender);
		if (item->sender == node && item->daemon == self->daemon_generation && self->core) {
			/* CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF: at the latest with the join. */
			if (!self->connected)
				post_ring(sim, node);
			self->connected = true, self->joining = false;
		}
		if (daemon_listens(sim, node))
			post_view(sim, node, bit(item->sender), 0, VIEW_JOIN);
		break;
	case ITEM_LEAVE:
	case ITEM_REPLACE:
		if (!(self->group & bit(item->sender)))
			break;
		self->group &= ~bit(item->sender);
		if (daemon_listens(sim, node))
			post_view(sim, node, 0, bit(item->sender),
				  item->kind == ITEM_REPLACE ? VIEW_REPLACED : VIEW_PROCESS_DOWN);
		break;
	}
}

void group_item(struct sim *sim, const struct sim_event *event)
{
	struct sim_node *self = &sim->nodes[event->node];
	struct ring_model *ring = self->ring;

	if (!self->corosync_up || self->deaf || !ring || ring->seq != event->a ||
	    ring->delivered[event->node] != event->b || event->b >= ring->limit[event->node])
		return;
	ring->delivered[event->node]++;
	deliver(sim, ring, event->node, event->b);
}

/* --- rings
 * ---------------------------------------------------------------------------------------------------------
 */

static bool ring_fits(const struct sim *sim, const struct ring_model *ring)
{
	for (unsigned a = 1; a <= sim->node_count; a++) {
		const struct sim_node *node = &sim->nodes[a];
		bool in = ring->nodes & bit(a);
		if (in && !node->corosync_up)
			return false;
		for (unsigned b = 1; in && b <= sim->node_count; b++)
			if (sim->nodes[b].corosync_up &&
			    ((ring->nodes & bit(b)) != 0) != (sim->nodes[b].component == node->component))
				return false;
	}
	return true;
}

/* The ring holds after all: what the deaf have missed is sent again. */
static void ring_hears(struct sim *sim, struct ring_model *ring)
{
	for (unsigned node = 1; node <= sim->node_count; node++) {
		if (!(ring->nodes & bit(node)) || !sim->nodes[node].deaf)
			continue;
		sim->nodes[node].deaf = false;
		for (uint64_t index = ring->delivered[node]; index < ring->count; index++)
			plan_item(sim, ring, node, index);
	}
}

/* The network changed: rings that do not fit stop ordering at once, and form anew after the token timeout. */
void group_reform_soon(struct sim *sim, uint64_t delay_ns)
{
	struct ring_model *ring;

	TAILQ_FOREACH (ring, &sim->rings, link) {
		if (ring->frozen)
			continue;
		if (ring_fits(sim, ring)) {
			ring_hears(sim, ring);
			continue;
		}
		ring->frozen = true;
		/* From here on each node has what it has received: a random part of what is under way. */
		for (unsigned node = 1; node <= sim->node_count; node++)
			if (ring->nodes & bit(node))
				ring->limit[node] =
				    sim->nodes[node].deaf
					? ring->delivered[node]
					: sim_between(sim, ring->delivered[node], ring->count);
	}
	if (sim->reform_planned)
		return;
	sim->reform_planned = true;
	sim_plan(sim, SIM_REFORM, 0, delay_ns);
}

/* The messages of the old ring that those who stay together still deliver. */
static void ring_flush(struct sim *sim, struct ring_model *ring, uint32_t together)
{
	uint64_t most = 0;
	bool *keep = calloc(ring->count + 1, sizeof(*keep));

	if (!keep)
		abort();
	for (unsigned node = 1; node <= sim->node_count; node++)
		if ((together & bit(node)) && ring->delivered[node] > most)
			most = ring->delivered[node];
	bool reached = true;
	for (uint64_t i = most; i < ring->count; i++) {
		reached = reached && sim_chance(sim, 60);
		keep[i] = reached || (together & bit(ring->items[i].sender));
	}
	for (unsigned node = 1; node <= sim->node_count; node++) {
		if (!(together & bit(node)))
			continue;
		for (uint64_t i = ring->delivered[node]; i < ring->count; i++)
			if (i < most || keep[i])
				deliver(sim, ring, node, i);
			else
				sim_trace(sim, node, "loses item %llu of ring %llu", (unsigned long long)i,
					  (unsigned long long)ring->seq);
		ring->delivered[node] = ring->count;
	}
	free(keep);
}

static struct ring_model *ring_new(struct sim *sim, uint32_t nodes)
{
	struct ring_model *ring = calloc(1, sizeof(*ring));
	unsigned votes = (unsigned)__builtin_popcount(nodes);

	if (!ring)
		abort();
	ring->seq = sim->ring_seq += 4;
	ring->representative = lowest(nodes);
	ring->nodes = nodes;
	for (unsigned node = 1; node <= sim->node_count; node++)
		if ((nodes & bit(node)) && votes == sim->node_count)
			sim->nodes[node].seen_all = true;
	ring->quorate = 2 * votes > sim->node_count ||
			(sim->two_node && votes == 1 && sim->nodes[lowest(nodes)].seen_all);
	for (unsigned node = 1; node <= sim->node_count; node++)
		ring->limit[node] = UINT64_MAX;
	TAILQ_INSERT_TAIL(&sim->rings, ring, link);
	return ring;
}

static uint32_t component_nodes(const struct sim *sim, unsigned component)
{
	uint32_t nodes = 0;

	for (unsigned node = 1; node <= sim->node_count; node++)
		if (sim->nodes[node].corosync_up && sim->nodes[node].component == component)
			nodes |= bit(node);
	return nodes;
}

/* A quorate part fences those that it lost. */
static void fence_lost(struct sim *sim, const struct ring_model *ring, uint32_t lost)
{
	for (unsigned node = 1; node <= sim->node_count; node++) {
		if (!(lost & bit(node)) || (ring->nodes & bit(node)))
			continue;
		struct sim_event *event =
		    sim_plan(sim, SIM_FENCE, node, sim->fence_delay_ns + sim_below(sim, SECOND));
		event->a = ring->representative;
		event->b = sim->nodes[node].boot_id;
	}
}

static const char *nodes_text(uint32_t nodes, char text[64])
{
	size_t used = 0;

	for (unsigned node = 1; node <= SIM_NODES; node++)
		if (nodes & bit(node))
			used += (size_t)snprintf(text + used, 64 - used, " %u", node);
	return text;
}

/* Those who come from that ring together. One whose corosync was restarted is a stranger: it has no ring. */
static uint32_t coming_from(const struct sim *sim, const struct ring_model *ring, uint32_t nodes)
{
	uint32_t from = 0;

	for (unsigned node = 1; node <= sim->node_count; node++)
		if ((nodes & bit(node)) && sim->nodes[node].ring == ring)
			from |= bit(node);
	return from;
}

static void ring_form(struct sim *sim, uint32_t nodes)
{
	char text[64] = "";
	uint32_t together_of[SIM_NODES + 1];
	struct ring_model *olds[SIM_NODES], *fresh;
	uint32_t daemons = 0, before = 0;
	unsigned old_count = 0;

	for (unsigned node = 1; node <= sim->node_count; node++) {
		struct ring_model *old = sim->nodes[node].ring;
		bool known = false;

		if (!(nodes & bit(node)) || !old)
			continue;
		for (unsigned i = 0; i < old_count; i++)
			known = known || olds[i] == old;
		if (known)
			continue;
		olds[old_count++] = old;
		ring_flush(sim, old, coming_from(sim, old, nodes));
	}
	for (unsigned i = 0; i < old_count; i++)
		before |= olds[i]->nodes;
	for (unsigned node = 1; node <= sim->node_count; node++)
		if ((nodes & bit(node)) && (sim->nodes[node].group & bit(node)))
			daemons |= bit(node);
	for (unsigned node = 1; node <= sim->node_count; node++)
		together_of[node] =
		    sim->nodes[node].ring ? coming_from(sim, sim->nodes[node].ring, nodes) : bit(node);
	fresh = ring_new(sim, nodes);
	for (unsigned node = 1; node <= sim->node_count; node++) {
		struct sim_node *self = &sim->nodes[node];

		if (!(nodes & bit(node)))
			continue;
		uint32_t left = self->group & ~together_of[node], joined;

		self->group &= together_of[node];
		self->ring = fresh;
		self->deaf = false;
		self->item_channel_ns = 0;
		bool quorum_first = sim_chance(sim, 50);
		if (quorum_first && self->core)
			post_quorum(sim, node);
		if (daemon_listens(sim, node) && left)
			post_view(sim, node, 0, left, VIEW_NODE_DOWN);
		joined = daemons & ~self->group;
		self->group |= joined;
		if (daemon_listens(sim, node)) {
			if (joined)
				post_view(sim, node, joined, 0, VIEW_NODE_UP);
			post_ring(sim, node);
		}
		if (!quorum_first && self->core)
			post_quorum(sim, node);
		if (self->core && !self->connected && !self->joining)
			group_daemon_joins(sim, node);
	}
	sim_trace(sim, 0, "ring %llu: nodes %x daemons %x %s", (unsigned long long)fresh->seq, nodes, daemons,
		  fresh->quorate ? "quorate" : "inquorate");
	story(sim, 0, "a ring forms: nodes%s", nodes_text(nodes, text));
	if (fresh->quorate)
		fence_lost(sim, fresh, before & ~nodes);
}

static void rings_reap(struct sim *sim)
{
	struct ring_model *ring, *next;

	for (ring = TAILQ_FIRST(&sim->rings); ring; ring = next) {
		bool used = false;
		next = TAILQ_NEXT(ring, link);
		for (unsigned node = 1; node <= sim->node_count; node++)
			used = used || (sim->nodes[node].ring == ring);
		if (used)
			continue;
		TAILQ_REMOVE(&sim->rings, ring, link);
		for (uint64_t i = 0; i < ring->count; i++)
			free(ring->items[i].bytes);
		free(ring->items);
		free(ring->digests);
		free(ring);
	}
}

void group_reform(struct sim *sim)
{
	uint32_t done = 0;

	sim->reform_planned = false;
	for (unsigned node = 1; node <= sim->node_count; node++) {
		const struct sim_node *self = &sim->nodes[node];
		if (!self->corosync_up || (done & bit(node)))
			continue;
		uint32_t nodes = component_nodes(sim, self->component);
		done |= nodes;
		if (self->ring && self->ring->nodes == nodes && !self->ring->frozen)
			continue;
		ring_form(sim, nodes);
	}
	rings_reap(sim);
	sim_events_undefer(sim);
	group_watches_check(sim);
}

/* --- daemons and corosync come and go
 * ------------------------------------------------------------------------------ */

void group_start(struct sim *sim, unsigned node)
{
	struct sim_node *self = &sim->nodes[node];

	self->corosync_up = true;
	self->seen_all = self->deaf = false;
	self->ring = NULL;
	self->group = 0;
	self->order_channel_ns = 0;
	group_reform_soon(sim, sim_between(sim, 10 * MS, SECOND));
}

void group_daemon_joins(struct sim *sim, unsigned node)
{
	struct sim_node *self = &sim->nodes[node];

	self->connected = self->joining = false;
	if (!self->corosync_up || !self->ring)
		return; /* tried again by group_corosync_start() or the next start */
	post_quorum(sim, node);
	if (!self->ring->frozen)
		post_ring(sim, node);
	self->joining = true;
	/* The former one is given a second to end; then this one speaks in its place (daemon/port/cpg.c). */
	if (self->leave_due)
		plan_order(sim, node, ITEM_REPLACE, NULL, 0, SECOND);
	self->leave_due = false;
	plan_order(sim, node, ITEM_JOIN, NULL, 0, 0);
}

void group_daemon_left(struct sim *sim, unsigned node)
{
	sim->nodes[node].connected = sim->nodes[node].joining = false;
	if (sim->nodes[node].corosync_up)
		plan_order(sim, node, ITEM_LEAVE, NULL, 0, 0);
}

void group_corosync_stop(struct sim *sim, unsigned node)
{
	struct sim_node *self = &sim->nodes[node];

	self->corosync_up = false;
	self->leave_due = false;
	self->group = 0;
	self->ring = NULL;
	for (size_t i = 0; i < sim->heap_count; i++)
		if (sim->heap[i].event->type == SIM_ORDER && sim->heap[i].event->node == node)
			sim->heap[i].event->d = 1;
	sim_events_drop_deferred(sim, node);
	if (self->core) {
		struct input *input = host_input(EVENT_CLUSTER_LOST);
		input->from_cpg = true;
		self->cpg_pending++;
		self->connected = self->joining = false;
		host_post(sim, node, input, &self->cpg_channel_ns, sim_latency(sim, 50 * US));
	}
	group_reform_soon(sim, sim_between(sim, 50 * MS, 2 * SECOND));
}

void group_corosync_start(struct sim *sim, unsigned node)
{
	group_start(sim, node);
}

/* --- fencing
 * ------------------------------------------------------------------------------------------------------- */

void group_fence(struct sim *sim, const struct sim_event *event)
{
	struct sim_node *target = &sim->nodes[event->node];
	const struct sim_node *judge = &sim->nodes[event->a];

	/* Back in time, or another boot: nothing to do. Only a quorate part may fence. */
	if (target->boot_id != event->b || !judge->corosync_up || !judge->ring || !judge->ring->quorate) {
		group_watches_check(sim);
		return;
	}
	if (target->up && !(judge->ring->nodes & bit(event->node))) {
		sim_trace(sim, event->node, "is fenced");
		story(sim, event->node, "is fenced");
		host_die(sim, event->node);
		if (!sim->script)
			sim_plan(sim, SIM_NODE_BOOT, event->node, sim_between(sim, 2 * SECOND, 30 * SECOND));
	}
	target->fenced_boot = event->b;
	group_watches_check(sim);
}

void group_watch(struct sim *sim, unsigned node, unsigned target, uint64_t boot_id)
{
	struct sim_node *self = &sim->nodes[node];

	if (self->watch_count < SIM_NODES) {
		self->watches[self->watch_count].node = target;
		self->watches[self->watch_count++].boot_id = boot_id;
	}
	group_watches_check(sim);
}

/* DLM grants the dead node's lock to who asked, in a quorate part, once fencing is complete. */
void group_watches_check(struct sim *sim)
{
	for (unsigned node = 1; node <= sim->node_count; node++) {
		struct sim_node *self = &sim->nodes[node];
		if (!self->core || !self->ring || !self->ring->quorate || self->ring->frozen)
			continue;
		for (unsigned i = 0; i < self->watch_count;) {
			const struct sim_node *target = &sim->nodes[self->watches[i].node];
			/* Of a node that nobody knows a boot of: is its lock free? That of a former boot is.
			 */
			uint64_t holder = target->lock_boot == target->boot_id ? target->lock_boot : 0;

			if (self->watches[i].boot_id)
				holder = self->watches[i].boot_id;
			if (!self->watches[i].boot_id && sim->options.mutant == MUTANT_LOCK_UNASKED)
				holder = 0;
			/* The lockspace of this part grants nothing of a node that is cut off until it is
			 * fenced. */
			bool cut_off = target->up && !(self->ring->nodes & bit(self->watches[i].node));
			/* The lock's name is the node's alone: free, it is granted whatever boot is meant. */
			bool unheld = target->up && !cut_off && target->lock_boot != target->boot_id;
			bool dead = unheld || (!holder && !cut_off) ||
				    (holder && target->boot_id != holder) ||
				    (!target->up && target->fenced_boot == holder);
			if (!dead && sim->options.mutant != MUTANT_FENCE_AT_ONCE) {
				i++;
				continue;
			}
			struct input *input = host_input(EVENT_NODE_DEAD);
			input->event.node_dead.node = self->watches[i].node;
			input->event.node_dead.boot_id = self->watches[i].boot_id;
			self->watches[i] = self->watches[--self->watch_count];
			host_post(sim, node, input, NULL, sim_latency(sim, 10 * MS));
		}
	}
}

/* Everything that was ordered in its quorate ring has been handled by the daemon. */
bool group_caught_up(const struct sim *sim, unsigned node)
{
	const struct sim_node *self = &sim->nodes[node];

	return self->core && self->corosync_up && self->connected && self->ring && !self->ring->frozen &&
	       self->ring->quorate && self->ring->delivered[node] == self->ring->count &&
	       !self->cpg_pending && !self->quorum_pending;
}
