/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guarantees look at after every step, kept up from step to step: which regions the legs and the log
 * device make a matter of guarantees 1 and 7, and what a core that has not stepped since knows. truth_audit()
 * works all of it out anew, so a place that changes a leg and does not say so is found.
 */
#include <string.h>

#include "daemon/core/internal.h"
#include "tests/sim/sim.h"

static uint64_t bit(unsigned region)
{
	return UINT64_C(1) << region;
}

bool truth_legs_differ(const struct sim_log *log, unsigned region)
{
	for (unsigned leg = 1; leg < SIM_LEGS; leg++)
		for (unsigned block = 0; block < SIM_BLOCKS; block++)
			if (!log->discarded[region][block] &&
			    log->legs[leg][region][block].visible != log->legs[0][region][block].visible)
				return true;
	return false;
}

unsigned truth_legs_cached(const struct sim_log *log, unsigned region, unsigned *ret_leg)
{
	for (unsigned leg = 0; leg < SIM_LEGS; leg++)
		for (unsigned block = 0; block < SIM_BLOCKS; block++) {
			const struct block *it = &log->legs[leg][region][block];

			*ret_leg = leg;
			if (it->cached_by && it->visible != it->durable && !log->discarded[region][block])
				return it->cached_by;
		}
	return 0;
}

static bool write_under_way(const struct sim *sim, const struct sim_log *log, unsigned region)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		if (log->writes[node][region])
			return true;
	return false;
}

bool truth_device_clean(const struct sim_log *log, unsigned region)
{
	static const uint8_t magic[4] = {0x72, 0x52, 0x69, 0x4d};

	return !memcmp(log->durable_image, magic, 4) && log_device_is_clean(log->durable_image, region);
}

static void region_update(const struct sim *sim, const struct sim_log *log, unsigned region,
			  struct truth *truth)
{
	unsigned leg;

	truth->writing &= ~bit(region);
	truth->differ &= ~bit(region);
	truth->cached &= ~bit(region);
	if (write_under_way(sim, log, region))
		truth->writing |= bit(region);
	if (truth_legs_differ(log, region))
		truth->differ |= bit(region);
	if (truth_legs_cached(log, region, &leg))
		truth->cached |= bit(region);
}

static void image_update(const struct sim_log *log, struct truth *truth)
{
	truth->clean = 0;
	for (unsigned region = 0; log->disk && region < log->region_count; region++)
		if (truth_device_clean(log, region))
			truth->clean |= bit(region);
}

void truth_update(const struct sim *sim, struct sim_log *log)
{
	uint64_t touched = log->touched & (bit(log->region_count) - 1);

	for (; touched; touched &= touched - 1)
		region_update(sim, log, (unsigned)__builtin_ctzll(touched), &log->truth);
	if (log->image_touched)
		image_update(log, &log->truth);
	log->touched = 0;
	log->image_touched = false;
}

/* --- members
 * ------------------------------------------------------------------------------------------------------ */

/* The log as the core has it, if that is all there is to know once the core has heard all. */
static const struct world_log *core_world(const struct core *core, unsigned node, const struct sim_log *log)
{
	const struct world_log *world;

	if (!core || !core->active || core->join != JOIN_READY)
		return NULL;
	world = world_log_find(&core->world, log->uuid);
	if (!world || world->phase != LOG_OPEN || world->cold || world_log_assembling(&core->world, world))
		return NULL;
	/* Nor one of a core log's member that did not have to ask here: its marks are taken for unknown when
	 * it dies. */
	const struct participant *self = participant_find(world, node);
	if (!world->shape.disk && world_undecided(&core->world) &&
	    (!self || !participant_resumed(self) || self->late))
		return NULL;
	/* A mark that this part never saw may be on the device: whoever writes it next reads it first. */
	if (world->shape.disk && (!world->writer_loaded || !view_has(core, world->writer)))
		return NULL;
	return world;
}

static struct knowledge *knowledge_of(struct sim *sim, unsigned node, unsigned number)
{
	struct sim_node *self = &sim->nodes[node];
	struct knowledge *known = &self->known[number];

	if (known->core_steps != self->core_steps) {
		known->core_steps = self->core_steps;
		known->world = core_world(self->core, node, &sim->logs[number]);
		known->dirty = 0;
	}
	return known;
}

static bool has_heard_all(const struct sim *sim, unsigned node)
{
	return group_caught_up(sim, node) && !sim->nodes[node].paused;
}

const struct world_log *truth_member(struct sim *sim, unsigned node, unsigned number)
{
	return has_heard_all(sim, node) ? knowledge_of(sim, node, number)->world : NULL;
}

uint64_t truth_member_clean(struct sim *sim, unsigned node, unsigned number, uint64_t regions)
{
	struct knowledge *known;
	uint64_t unknown;

	if (!has_heard_all(sim, node))
		return 0;
	known = knowledge_of(sim, node, number);
	if (!known->world)
		return 0;
	for (unknown = regions & ~known->dirty; unknown; unknown &= unknown - 1) {
		unsigned region = (unsigned)__builtin_ctzll(unknown);

		if (!world_log_dirty(known->world, region))
			return unknown;
		known->dirty |= bit(region);
	}
	return 0;
}

/* Does the node know of the region as dirty, whatever else it may not know: its daemon, or the run directory,
 * from which the next one speaks? */
static bool node_knows(const struct sim_node *node, const struct sim_log *log, unsigned number,
		       unsigned region)
{
	const struct run_memory *run = &node->run[number];
	const struct world_log *world = node->core ? world_log_find(&node->core->world, log->uuid) : NULL;

	if (world && world_log_dirty(world, region))
		return true;
	for (unsigned kind = 0; kind < RUN_BITS_COUNT; kind++)
		if (kind != RUN_FLUSH && region_set_contains(&run->bits[kind], region))
			return true;
	for (unsigned i = 0; i < RUN_INSTANCES_MAX; i++)
		if (run->instances[i].used && region_set_contains(&run->instances[i].held, region))
			return true;
	return false;
}

uint64_t truth_known_here_alone(const struct sim *sim, unsigned node, unsigned number)
{
	const struct sim_log *log = &sim->logs[number];
	uint64_t alone = 0;

	for (uint64_t left = log->truth.differ & log->truth.clean; left; left &= left - 1) {
		unsigned region = (unsigned)__builtin_ctzll(left), others = 0;

		for (unsigned other = 1; other <= sim->node_count; other++)
			others += other != node && node_knows(&sim->nodes[other], log, number, region);
		if (!others && node_knows(&sim->nodes[node], log, number, region))
			alone |= bit(region);
	}
	return alone;
}

/* --- is all of that true?
 * ---------------------------------------------------------------------------------------------- */

static void knowledge_audit(struct sim *sim, unsigned node, unsigned number)
{
	const struct knowledge *known = knowledge_of(sim, node, number);

	if (known->world != core_world(sim->nodes[node].core, node, &sim->logs[number]))
		sim_fail(sim, 0, "node %u: its core has changed, and nobody said so", node);
	for (unsigned region = 0; region < sim->logs[number].region_count; region++)
		if ((known->dirty & bit(region)) && !world_log_dirty(known->world, region))
			sim_fail(sim, 0, "node %u: region %u has changed in its core, and nobody said so",
				 node, region);
}

void truth_audit(struct sim *sim)
{
	for (unsigned number = 0; number < sim->log_count; number++) {
		const struct sim_log *log = &sim->logs[number];
		struct truth truth = {0};

		for (unsigned region = 0; region < log->region_count; region++)
			region_update(sim, log, region, &truth);
		image_update(log, &truth);
		if (memcmp(&truth, &log->truth, sizeof(truth)))
			sim_fail(sim, 0, "%s: a leg or the log device has changed, and nobody said so",
				 log->uuid);
		for (unsigned node = 1; node <= sim->node_count; node++)
			knowledge_audit(sim, node, number);
	}
}
