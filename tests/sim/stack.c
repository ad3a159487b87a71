/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A log device that lies on another mirror of the same cluster, as under pvmove (hazard B4). What the daemon
 * reads and writes there goes first through the table of the lower mirror on the same node, with all that
 * asks of the daemon; when that is done it takes effect on the image that disk.c keeps.
 */
#include "tests/sim/sim.h"

#include <errno.h>

/* Which log lies on which: the rest of both is drawn as ever. */
void stack_init(struct sim *sim)
{
	unsigned upper;

	if (!(sim->options.faults & (1u << FAULT_STACK)) || !sim_chance(sim, 70))
		return;
	sim->log_count = 2;
	upper = (unsigned)sim_below(sim, 2);
	sim->logs[upper].lower = &sim->logs[!upper];
	sim->logs[!upper].upper = &sim->logs[upper];
}

/* The last region of a mirror that carries a log device is that. */
unsigned stack_user_regions(const struct sim_log *log)
{
	return log->region_count - (log->upper ? 1 : 0);
}

static int bio_submit(struct sim *sim, struct sim_event *event, const struct sim_log *lower,
		      enum kernel_bio_type type)
{
	struct sim_node *node = &sim->nodes[event->node];
	struct sim_device *device = &node->devices[lower - sim->logs];
	struct kernel_bio bio = {.id = sim->next_tag++, .type = type, .region = lower->region_count - 1};

	bio.tag = type == KERNEL_WRITE ? bio.id : 0;
	if (device->number < 0 || kernel_submit(node->kernel, (unsigned)device->number, &bio))
		return -ENXIO;
	device->bios++;
	event->bio = bio.id;
	sim_trace(sim, event->node, "log device: bio %llu to %s", (unsigned long long)bio.id, lower->uuid);
	host_kernel_soon(sim, event->node);
	return 0;
}

static void io_done(struct sim *sim, struct sim_event *event, int error)
{
	event->failed = error;
	event->bio = 0;
	sim_event_plan(sim, event, sim_latency(sim, 10 * US));
}

void stack_submit(struct sim *sim, struct sim_event *event, struct sim_log *lower)
{
	int error =
	    bio_submit(sim, event, lower, event->type == SIM_DEVICE_READ ? KERNEL_READ : KERNEL_WRITE);

	if (error)
		io_done(sim, event, error);
	else
		TAILQ_INSERT_TAIL(&sim->nodes[event->node].stacked, event, held);
}

/* Returns whether the bio was one of a log device. */
bool stack_bio_done(struct sim *sim, unsigned number, const struct kernel_output *out)
{
	struct sim_node *node = &sim->nodes[number];
	struct sim_event *event;

	TAILQ_FOREACH (event, &node->stacked, held)
		if (event->bio == out->bio.id)
			break;
	if (!event)
		return false;
	sim_trace(sim, number, "log device: bio %llu is done: %d", (unsigned long long)event->bio,
		  out->bio.error);
	TAILQ_REMOVE(&node->stacked, event, held);
	io_done(sim, event, out->bio.error);
	if ((event = TAILQ_FIRST(&node->queued))) {
		TAILQ_REMOVE(&node->queued, event, held);
		disk_io_start(sim, event, 300 * US);
	}
	return true;
}

void stack_node_dies(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	struct sim_event *event;

	while ((event = TAILQ_FIRST(&node->stacked))) {
		TAILQ_REMOVE(&node->stacked, event, held);
		if (event->type == SIM_DEVICE_WRITE) {
			const struct sim_log *lower = sim->logs[event->a & 0xff].lower;

			disk_write_cut(sim, event, lower->writes[number][lower->region_count - 1]);
		}
		sim_event_free(event);
	}
	node->leave_due = false;
}

/* --- LVM's order: the upper table is loaded after, and removed before the lower
 * ------------------------------------------------------------------------------- */

bool stack_lower_ready(const struct sim *sim, const struct sim_node *node, unsigned log)
{
	const struct sim_log *lower = sim->logs[log].lower;
	const struct sim_device *device = lower ? &node->devices[lower - sim->logs] : NULL;

	return !device || (device->stage >= TABLE_ACTIVE && !device->removing);
}

bool stack_upper_there(const struct sim *sim, const struct sim_node *node, unsigned log)
{
	const struct sim_log *upper = sim->logs[log].upper;

	return upper && node->devices[upper - sim->logs].number >= 0;
}
