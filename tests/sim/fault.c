/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

static const char *const names[FAULT_KINDS] = {
    [FAULT_KILL] = "kill",	   [FAULT_PAUSE] = "pause",
    [FAULT_NODE] = "node",	   [FAULT_PARTITION] = "partition",
    [FAULT_COROSYNC] = "corosync", [FAULT_POWER] = "power",
    [FAULT_DEVICE] = "device",	   [FAULT_LIFE] = "life",
    [FAULT_MEMORY] = "memory",	   [FAULT_LEG] = "leg",
    [FAULT_SILENT] = "silent",	   [FAULT_STACK] = "stack",
};

const char *fault_name(enum fault_kind kind)
{
	return names[kind];
}

/* "kill,node", "all", "none". */
int fault_parse(const char *list, uint32_t *ret_mask)
{
	*ret_mask = 0;
	if (!strcmp(list, "none"))
		return 0;
	if (!strcmp(list, "all")) {
		*ret_mask = (1u << FAULT_KINDS) - 1;
		return 0;
	}
	while (*list) {
		size_t length = strcspn(list, ",");
		unsigned kind;

		for (kind = 0; kind < FAULT_KINDS; kind++)
			if (strlen(names[kind]) == length && !strncmp(names[kind], list, length))
				break;
		if (kind == FAULT_KINDS)
			return -EINVAL;
		*ret_mask |= 1u << kind;
		list += length + (list[length] == ',');
	}
	return 0;
}

static void next_fault(struct sim *sim)
{
	sim_plan(sim, SIM_FAULT, 0, sim_between(sim, 5 * MS, sim_chance(sim, 30) ? 200 * MS : 8 * SECOND));
}

void fault_start(struct sim *sim)
{
	if (sim->options.faults & ~(1u << FAULT_LIFE | 1u << FAULT_SILENT | 1u << FAULT_STACK))
		sim_plan(sim, SIM_FAULT, 0, sim_between(sim, SECOND, 8 * SECOND));
}

static void restart_soon(struct sim *sim, unsigned node)
{
	uint64_t most = sim_chance(sim, 50) ? SECOND : 20 * SECOND;
	struct sim_event *event = sim_plan(sim, SIM_DAEMON_START, node, sim_between(sim, 10 * MS, most));

	event->generation = sim->nodes[node].boot_generation;
}

static void daemon_kill(struct sim *sim, unsigned node)
{
	if (!sim->nodes[node].core)
		return;
	if (sim_chance(sim, 20)) {
		sim->nodes[node].kill_at_write = true;
		return;
	}
	if (sim_chance(sim, 50)) {
		sim->nodes[node].kill_after = (unsigned)sim_between(sim, 1, 12);
		return;
	}
	host_daemon_kill(sim, node);
	restart_soon(sim, node);
}

static void node_kill(struct sim *sim, unsigned node)
{
	if (!sim->nodes[node].up)
		return;
	host_die(sim, node);
	if (sim->script)
		return;
	sim_plan(sim, SIM_NODE_BOOT, node, sim_between(sim, 200 * MS, 30 * SECOND));
}

/* Before a ring breaks some may have heard nothing any more, while others went on. */
static void break_soon(struct sim *sim, enum sim_event_type type, unsigned node)
{
	bool early = sim_chance(sim, 50);

	for (unsigned i = 1; early && i <= sim->node_count; i++)
		sim->nodes[i].deaf = i != node && sim->nodes[i].ring && sim_chance(sim, 50);
	sim_plan(sim, type, node, early ? sim_between(sim, 100 * US, 30 * MS) : 0)->generation =
	    sim->nodes[node].boot_generation;
}

static void partition(struct sim *sim)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		sim->nodes[node].component = (unsigned)sim_below(sim, sim_chance(sim, 20) ? 3 : 2);
	sim_trace(sim, 0, "the network splits");
	for (unsigned node = 1; node <= sim->node_count; node++)
		story(sim, node, "goes to part %u of the network", sim->nodes[node].component);
	group_reform_soon(sim, sim_between(sim, 50 * MS, 2 * SECOND));
	sim_plan(sim, SIM_HEAL, 0, sim_between(sim, 100 * MS, 40 * SECOND));
}

static void corosync_restart(struct sim *sim, unsigned node)
{
	if (!sim->nodes[node].up || !sim->nodes[node].corosync_up)
		return;
	sim_trace(sim, node, "corosync stops");
	story(sim, node, "corosync stops");
	group_corosync_stop(sim, node);
	sim_plan(sim, SIM_COROSYNC_START, node, sim_between(sim, 100 * MS, 10 * SECOND))->generation =
	    sim->nodes[node].boot_generation;
}

static void power_cut(struct sim *sim)
{
	sim_trace(sim, 0, "power fails");
	story(sim, 0, "power fails");
	disk_power_cut(sim);
	for (unsigned node = 1; node <= sim->node_count; node++)
		node_kill(sim, node);
}

static void device_break(struct sim *sim, unsigned node)
{
	bool all = sim_chance(sim, 20);

	for (unsigned i = 1; i <= sim->node_count; i++)
		if (all || i == node)
			sim->nodes[i].device_broken = true;
	sim_trace(sim, all ? 0 : node, "log device errors");
	story(sim, all ? 0 : node, "log device: errors");
	sim_plan(sim, SIM_DEVICE_MEND, 0, sim_between(sim, 100 * MS, 10 * SECOND));
}

/* One path to a leg, or all. Without handle_errors, or with keep_log, the first leg never fails: its kernel
 * acknowledges a write that the second leg alone has, and the next recovery copies the first over it. */
static void leg_break(struct sim *sim, unsigned node)
{
	unsigned log = (unsigned)sim_below(sim, sim->log_count), leg = (unsigned)sim_below(sim, SIM_LEGS);
	bool all = sim_chance(sim, 30), flushes = sim_chance(sim, 30);
	struct sim_event *mend;

	if (!sim->logs[log].handle_errors || sim->logs[log].keep_log)
		leg = 1;
	for (unsigned i = 1; i <= sim->node_count; i++)
		if (all || i == node)
			*(flushes ? &sim->nodes[i].flush_broken[log][leg]
				  : &sim->nodes[i].leg_broken[log][leg]) = true;
	sim_trace(sim, all ? 0 : node, "%s leg %u fails%s", sim->logs[log].uuid, leg,
		  flushes ? " to flush its cache" : "");
	story(sim, all ? 0 : node, "leg %u fails%s", leg, flushes ? " to flush its cache" : "");
	mend = sim_plan(sim, SIM_LEG_MEND, 0,
			sim_chance(sim, 70) ? sim_between(sim, 10 * MS, 5 * SECOND)
					    : sim_between(sim, 5 * SECOND, 60 * SECOND));
	mend->a = log;
}

static void leg_mend(struct sim *sim, unsigned log)
{
	for (unsigned i = 1; i <= sim->node_count; i++) {
		memset(sim->nodes[i].leg_broken[log], 0, sizeof(sim->nodes[i].leg_broken[log]));
		memset(sim->nodes[i].flush_broken[log], 0, sizeof(sim->nodes[i].flush_broken[log]));
	}
	sim_trace(sim, 0, "%s legs are good again", sim->logs[log].uuid);
	story(sim, 0, "the legs are good again");
	work_legs_good(sim, log);
}

void fault_do(struct sim *sim)
{
	unsigned node = (unsigned)sim_between(sim, 1, sim->node_count), kind;

	if (sim->settling)
		return;
	do
		kind = (unsigned)sim_below(sim, sim->options.faults & (1u << FAULT_LEG) ? FAULT_SILENT
											: FAULT_LEG);
	while (!(sim->options.faults & (1u << kind)) || kind == FAULT_LIFE);
	switch ((enum fault_kind)kind) {
	case FAULT_KILL:
		for (uint64_t times = sim_chance(sim, 20) ? sim->node_count : 1; times; times--) {
			daemon_kill(sim, node);
			node = node % sim->node_count + 1;
		}
		break;
	case FAULT_PAUSE:
		host_daemon_pause(sim, node,
				  sim_between(sim, MS, sim_chance(sim, 30) ? 40 * SECOND : SECOND));
		break;
	case FAULT_NODE:
		if (sim_chance(sim, 50))
			sim->nodes[node].die_at_write = true;
		else if (sim->nodes[node].up)
			break_soon(sim, SIM_NODE_DIE, node);
		break;
	case FAULT_PARTITION: break_soon(sim, SIM_SPLIT, 0); break;
	case FAULT_COROSYNC: corosync_restart(sim, node); break;
	case FAULT_POWER:
		if (sim_chance(sim, 20))
			power_cut(sim);
		break;
	case FAULT_DEVICE: device_break(sim, node); break;
	case FAULT_LEG: leg_break(sim, node); break;
	case FAULT_MEMORY:
		if (sim->nodes[node].core) {
			host_daemon_kill(sim, node);
			/* Who hangs holds a lock in it (README). */
			if (!disk_former_lives(sim, node))
				host_memory_lost(sim, node);
			restart_soon(sim, node);
		}
		break;
	case FAULT_LIFE:
	case FAULT_SILENT:
	case FAULT_STACK:
	case FAULT_KINDS: break;
	}
	next_fault(sim);
}

static void heal(struct sim *sim)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		sim->nodes[node].component = 0;
	sim_trace(sim, 0, "the network is whole again");
	if (!sim->script)
		story(sim, 0, "the network is whole again");
	group_reform_soon(sim, sim_between(sim, 50 * MS, SECOND));
}

void fault_event(struct sim *sim, const struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];

	switch (event->type) {
	case SIM_NODE_DIE: node_kill(sim, event->node); break;
	case SIM_NODE_BOOT:
		if (!node->up)
			host_boot(sim, event->node);
		break;
	case SIM_SPLIT:
		if (!sim->settling)
			partition(sim);
		break;
	case SIM_HEAL: heal(sim); break;
	case SIM_COROSYNC_START:
		if (node->up && !node->corosync_up)
			group_corosync_start(sim, event->node);
		break;
	case SIM_DEVICE_MEND:
		for (unsigned i = 1; i <= sim->node_count; i++)
			sim->nodes[i].device_broken = false;
		break;
	case SIM_LEG_MEND: leg_mend(sim, (unsigned)event->a); break;
	default: break;
	}
}

/* Faults are over. What is planned to come back still does, at its time. */
void fault_end(struct sim *sim)
{
	sim_trace(sim, 0, "no more faults");
	story(sim, 0, "no more faults");
	sim->settling = true;
	sim->settle_until_ns = sim->now_ns + 300 * SECOND;
	for (unsigned node = 1; node <= sim->node_count; node++)
		sim->nodes[node].kill_after = 0,
		sim->nodes[node].kill_at_write = sim->nodes[node].die_at_write = false;
	heal(sim);
	for (unsigned log = 0; log < sim->log_count && sim->options.faults & (1u << FAULT_LEG); log++)
		leg_mend(sim, log);
	sim_plan(sim, SIM_SETTLE, 0, SECOND);
}
