/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- random numbers: xoshiro256** seeded by splitmix64
 * ------------------------------------------------------------ */

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t sim_random(struct sim *sim)
{
	uint64_t *s = sim->random;
	uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t sim_below(struct sim *sim, uint64_t end)
{
	return end && !sim->script ? sim_random(sim) % end : 0;
}

uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
	return low + sim_below(sim, high - low + 1);
}

bool sim_chance(struct sim *sim, unsigned percent)
{
	return !sim->script && sim_below(sim, 100) < percent;
}

/* Mostly near the typical value, sometimes much longer. */
uint64_t sim_latency(struct sim *sim, uint64_t typical_ns)
{
	uint64_t ns = typical_ns / 2 + sim_below(sim, typical_ns);

	if (sim->script)
		return typical_ns;
	return sim_below(sim, 50) ? ns : ns * (2 + sim_below(sim, 30));
}

/* --- the queue of events
 * ------------------------------------------------------------------------------------------ */

static bool planned_before(const struct planned *a, const struct planned *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void heap_push(struct sim *sim, struct sim_event *event)
{
	const struct planned planned = {.at_ns = event->at_ns, .order = event->order, .event = event};
	size_t i = sim->heap_count++;

	if (sim->heap_count > sim->heap_room) {
		sim->heap_room = sim->heap_room ? 2 * sim->heap_room : 256;
		sim->heap = realloc(sim->heap, sim->heap_room * sizeof(*sim->heap));
		if (!sim->heap)
			abort();
	}
	for (; i && planned_before(&planned, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
		sim->heap[i] = sim->heap[(i - 1) / 2];
	sim->heap[i] = planned;
}

/* The place of the first one closes from below, down to a leaf; there the last one rises, mostly not far. */
static struct sim_event *heap_pop(struct sim *sim)
{
	struct planned *heap = sim->heap;
	const struct planned top = heap[0];
	const struct planned last = heap[--sim->heap_count];
	size_t i = 0;

	for (size_t child = 1; child < sim->heap_count; child = 2 * i + 1) {
		child += child + 1 < sim->heap_count && planned_before(&heap[child + 1], &heap[child]);
		heap[i] = heap[child];
		i = child;
	}
	for (; i && planned_before(&last, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = last;
	top.event->at_ns = top.at_ns; /* of one that is planned more than once */
	return top.event;
}

struct sim_event *sim_event_new(struct sim *sim, enum sim_event_type type, unsigned node)
{
	struct sim_event *event;

	if (type == SIM_KERNEL_RUN)
		event = &sim->kernel_runs[node];
	else if (type == SIM_WORK)
		event = &sim->works[node];
	else
		event = malloc(sizeof(*event)); /* calloc(3) does not use the cache of its thread */
	if (!event)
		abort();
	*event = (struct sim_event){.type = type, .node = node};
	return event;
}

void sim_event_plan(struct sim *sim, struct sim_event *event, uint64_t delay_ns)
{
	event->at_ns = sim->now_ns + delay_ns;
	event->order = sim->order++;
	heap_push(sim, event);
}

struct sim_event *sim_plan(struct sim *sim, enum sim_event_type type, unsigned node, uint64_t delay_ns)
{
	struct sim_event *event = sim_event_new(sim, type, node);

	sim_event_plan(sim, event, delay_ns);
	return event;
}

void sim_event_free(struct sim_event *event)
{
	if (event->type == SIM_KERNEL_RUN || event->type == SIM_WORK)
		return;
	if (event->input) {
		free(event->input->bytes);
		free(event->input);
	}
	free(event->bytes);
	free(event);
}

void sim_event_defer(struct sim *sim, struct sim_event *event)
{
	struct sim_event *kept = malloc(sizeof(*kept));

	if (!kept)
		abort();
	*kept = *event;
	event->bytes = NULL;
	TAILQ_INSERT_TAIL(&sim->deferred, kept, held);
}

void sim_events_undefer(struct sim *sim)
{
	struct sim_event *event;

	while ((event = TAILQ_FIRST(&sim->deferred))) {
		TAILQ_REMOVE(&sim->deferred, event, held);
		event->at_ns = sim->now_ns;
		event->order = sim->order++;
		heap_push(sim, event);
	}
}

void sim_events_drop_deferred(struct sim *sim, unsigned node)
{
	struct sim_event *event, *next;

	for (event = TAILQ_FIRST(&sim->deferred); event; event = next) {
		next = TAILQ_NEXT(event, held);
		if (node && event->node != node)
			continue;
		TAILQ_REMOVE(&sim->deferred, event, held);
		sim_event_free(event);
	}
}

/* --- trace and failure
 * -------------------------------------------------------------------------------------------- */

void sim_trace(struct sim *sim, unsigned node, const char *format, ...)
{
	va_list arguments;

	if (!sim->options.trace)
		return;
	printf("%12.6f ", (double)sim->now_ns / 1e9);
	if (node)
		printf("%2u ", node);
	else
		printf(" - ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

_Noreturn void sim_fail(struct sim *sim, int guarantee, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sim->failure_text, sizeof(sim->failure_text), format, arguments);
	va_end(arguments);
	sim->failure_guarantee = guarantee;
	if (sim->options.trace)
		check_dump(sim);
	sim_trace(sim, 0, "GUARANTEE %d BROKEN: %s", guarantee, sim->failure_text);
	longjmp(*sim->failure, 1);
}

/* --- one run
 * ------------------------------------------------------------------------------------------------------ */

static bool event_is_stale(const struct sim *sim, const struct sim_event *event)
{
	const struct sim_node *node = &sim->nodes[event->node];

	switch (event->type) {
	case SIM_DAEMON:
	case SIM_TIMER:
	case SIM_DEVICE_READ:
	case SIM_DAEMON_RESUME: return event->generation != node->daemon_generation || !node->core;
	case SIM_REPAIR:
	case SIM_LEGS_FLUSH:
	case SIM_REPLY:
	case SIM_LEG:
	case SIM_NODE_DIE:
	case SIM_DEVICE_WRITE:
	case SIM_DAEMON_START: return event->generation != node->boot_generation || !node->up;
	default: return false;
	}
}

static void sim_dispatch(struct sim *sim, struct sim_event *event, bool *ret_kept)
{
	switch (event->type) {
	case SIM_DAEMON: host_daemon_input(sim, event, ret_kept); break;
	case SIM_TIMER: host_timer(sim, event); break;
	case SIM_KERNEL_RUN:
		if (sim->nodes[event->node].kernel_run_ns == event->at_ns)
			host_kernel_run(sim, event->node);
		break;
	case SIM_REPLY: host_reply(sim, event); break;
	case SIM_LEG: disk_leg_land(sim, event); break;
	case SIM_REPAIR:
	case SIM_DEVICE_READ:
	case SIM_DEVICE_WRITE:
	case SIM_LEGS_FLUSH: disk_event(sim, event); break;
	case SIM_ORDER: group_order(sim, event); break;
	case SIM_ITEM: group_item(sim, event); break;
	case SIM_REFORM: group_reform(sim); break;
	case SIM_FENCE: group_fence(sim, event); break;
	case SIM_WORK: work_do(sim, event->node); break;
	case SIM_FAULT: fault_do(sim); break;
	case SIM_DAEMON_START:
		if (!sim->nodes[event->node].core)
			host_daemon_start(sim, event->node);
		break;
	case SIM_DAEMON_RESUME: host_daemon_resume(sim, event->node); break;
	case SIM_NODE_DIE:
	case SIM_NODE_BOOT:
	case SIM_SPLIT:
	case SIM_HEAL:
	case SIM_COROSYNC_START:
	case SIM_DEVICE_MEND:
	case SIM_LEG_MEND: fault_event(sim, event); break;
	case SIM_SCRIPT: script_do(sim, event); break;
	case SIM_SETTLE:
		work_repair_tables(sim);
		sim->settle_look = true;
		break;
	}
}

static bool sim_step(struct sim *sim)
{
	struct sim_event *event = heap_pop(sim);
	bool kept = false;

	if (event->at_ns > sim->now_ns)
		sim->now_ns = event->at_ns;
	if (!event_is_stale(sim, event)) {
		sim->steps++;
		sim->trace_hash =
		    (sim->trace_hash ^ (sim->now_ns + (uint64_t)event->type)) * UINT64_C(0x100000001b3);
		sim_dispatch(sim, event, &kept);
		check_step(sim);
	}
	if (!kept)
		sim_event_free(event);
	return true;
}

static void sim_setup(struct sim *sim)
{
	uint64_t state = sim->options.seed * UINT64_C(0x2545f4914f6cdd1d) + 1;

	for (int i = 0; i < 4; i++)
		sim->random[i] = splitmix(&state);
	sim->now_ns = SECOND;
	sim->next_tag = 1000;
	sim->next_incarnation = 1000;
	TAILQ_INIT(&sim->rings);
	TAILQ_INIT(&sim->deferred);
	sim->deed_room = 16;
	sim->deeds = calloc(sim->deed_room, sizeof(*sim->deeds));
	if (!sim->deeds)
		abort();
	sim->node_count = sim->options.nodes_min;
	if (sim->options.nodes_max > sim->options.nodes_min)
		sim->node_count = (unsigned)sim_between(sim, sim->options.nodes_min, sim->options.nodes_max);
	sim->two_node = sim->node_count == 2 && sim_chance(sim, 50);
	sim->fence_delay_ns = sim_between(sim, 100 * MS, 20 * SECOND);
	if (sim->script)
		script_setup(sim);
	disk_init(sim);
	for (unsigned node = 1; node <= sim->node_count; node++) {
		sim->nodes[node].id = node;
		TAILQ_INIT(&sim->nodes[node].held);
		TAILQ_INIT(&sim->nodes[node].stacked);
		TAILQ_INIT(&sim->nodes[node].queued);
		if (!sim->script)
			host_boot(sim, node);
	}
	fault_start(sim);
}

static void sim_teardown(struct sim *sim)
{
	struct ring_model *ring;

	while (sim->heap_count)
		sim_event_free(heap_pop(sim));
	sim_events_drop_deferred(sim, 0);
	for (unsigned node = 1; node <= sim->node_count; node++)
		host_free(sim, node);
	while ((ring = TAILQ_FIRST(&sim->rings))) {
		TAILQ_REMOVE(&sim->rings, ring, link);
		for (uint64_t i = 0; i < ring->count; i++)
			free(ring->items[i].bytes);
		free(ring->items);
		free(ring->digests);
		free(ring);
	}
	free(sim->heap);
	free(sim->deeds);
}

bool sim_run(const struct sim_options *options, struct sim *sim)
{
	jmp_buf failure;
	volatile bool good = true;

	memset(sim, 0, sizeof(*sim));
	sim->options = *options;
	sim->script = options->script;
	core_mutant_on = (enum core_mutant)mutant_infos[options->mutant].core;
	sim->failure = &failure;
	if (setjmp(failure) == 0) {
		sim_setup(sim);
		while (sim->heap_count && !(sim->settling && !sim->settle_until_ns)) {
			sim_step(sim);
			if (options->limit && sim->steps > options->limit)
				break;
			if (!sim->settling && sim->steps >= options->steps)
				fault_end(sim);
		}
	} else {
		good = false;
	}
	sim_teardown(sim);
	return good;
}
