/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Legs and log devices. A write becomes visible when it lands; it is in a cache until a flush that comes
 * through the same node (hazard B7), and may be lost when all power goes. What a dying node had under way
 * lands or not, each piece for itself. The log device is written in sectors of 512 bytes, each of which lands
 * or not.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512

int disk_log_find(const struct sim *sim, const char *uuid)
{
	for (unsigned i = 0; i < sim->log_count; i++)
		if (!strcmp(sim->logs[i].uuid, uuid))
			return (int)i;
	return -1;
}

static void log_fill(struct sim *sim, struct sim_log *log)
{
	memset(log->image, 0xa5, sizeof(log->image));
	memset(log->image, 0, SECTOR);
	memcpy(log->durable_image, log->image, sizeof(log->image));
	log->touched = UINT64_MAX;
	log->image_touched = true;
	for (unsigned region = 0; region < log->region_count; region++)
		for (unsigned block = 0; block < SIM_BLOCKS; block++) {
			log->expected[region][block].values[0] = 1;
			log->expected[region][block].count = 1;
			for (unsigned leg = 0; leg < SIM_LEGS; leg++) {
				uint64_t value = leg && !log->nosync ? 2 + sim_below(sim, 2) : 1;
				log->legs[leg][region][block] =
				    (struct block){.visible = value, .durable = value};
			}
		}
}

/* "disk 8 nosync": the log of a script. */
static void script_log(struct sim *sim)
{
	struct sim_log *log = &sim->logs[0];
	char type[16] = "", mode[16] = "";

	sscanf(sim->script->log, "%15s %u %15s", type, &log->region_count, mode);
	snprintf(log->uuid, sizeof(log->uuid), "LVM-0");
	log->disk = !strcmp(type, "disk");
	log->nosync = !strcmp(mode, "nosync");
	log->handle_errors = true;
	log_fill(sim, log);
}

void disk_init(struct sim *sim)
{
	sim->log_count = (unsigned)sim_between(sim, 1, SIM_LOGS);
	if (sim->options.small)
		sim->log_count = 1;
	stack_init(sim);
	if (sim->script) {
		script_log(sim);
		return;
	}
	for (unsigned i = 0; i < sim->log_count; i++) {
		struct sim_log *log = &sim->logs[i];

		snprintf(log->uuid, sizeof(log->uuid), "LVM-%u", i);
		log->disk = sim_chance(sim, 65) || log->lower;
		log->nosync = log->disk && sim_chance(sim, 60);
		log->integrated_flush = (sim->options.seed & 1) && sim_chance(sim, 50);
		log->handle_errors =
		    (sim->options.seed / 8 + i) % 4 || !(sim->options.faults & (1u << FAULT_SILENT));
		log->keep_log =
		    (sim->options.seed / 8 + i) % 4 == 1 && sim->options.faults & (1u << FAULT_SILENT);
		log->region_count = (unsigned)sim_between(sim, 2, sim_chance(sim, 70) ? 12 : SIM_REGIONS);
		if (sim->options.small)
			log->region_count = 2;
		log_fill(sim, log);
	}
}

/* --- legs
 * ----------------------------------------------------------------------------------------------------------
 */

static int device_log(const struct sim *sim, unsigned node, unsigned device)
{
	for (unsigned i = 0; i < sim->log_count; i++)
		if (sim->nodes[node].devices[i].number == (int)device)
			return (int)i;
	return -1;
}

void disk_leg_begin(struct sim *sim, unsigned node, const struct kernel_output *out)
{
	int log = device_log(sim, node, out->device);
	struct sim_event *event;

	if (log < 0)
		sim_fail(sim, 0, "leg operation of an unknown device");
	if (out->type == KERNEL_LEG_WRITE && !out->leg.copy) {
		sim->logs[log].writes[node][out->leg.region]++;
		sim->logs[log].touched |= UINT64_C(1) << out->leg.region;
		observe_leg_write(sim, node, (unsigned)log, out->leg.region);
		if (sim->nodes[node].die_at_write)
			sim_plan(sim, SIM_NODE_DIE, node, sim_below(sim, 300 * US))->generation =
			    sim->nodes[node].boot_generation;
		sim->nodes[node].die_at_write = false;
	}
	if (out->type == KERNEL_LEG_READ && out->leg.copy && !out->leg.block) {
		story(sim, node, "kernel: recovery copies region %u", (unsigned)out->leg.region);
		observe_copy(sim, node, (unsigned)log, out->leg.region);
		sim->logs[log].copier[out->leg.region] = node;
	}
	event = sim_plan(sim, SIM_LEG, node, sim_latency(sim, sim_chance(sim, 3) ? 20 * MS : 200 * US));
	event->generation = sim->nodes[node].boot_generation;
	event->leg = (struct leg_operation){.type = out->type, .leg = out->leg};
	event->a = (uint64_t)log;
}

static void block_write(struct sim_log *log, unsigned leg, unsigned region, unsigned block, uint64_t value,
			unsigned node)
{
	struct block *it = &log->legs[leg][region][block];

	it->visible = value;
	it->cached_by = node;
	log->touched |= UINT64_C(1) << region;
}

static void leg_flush(struct sim_log *log, unsigned leg, unsigned node)
{
	log->touched = UINT64_MAX;
	for (unsigned region = 0; region < log->region_count; region++)
		for (unsigned block = 0; block < SIM_BLOCKS; block++) {
			struct block *it = &log->legs[leg][region][block];
			if (it->cached_by != node)
				continue;
			it->durable = it->visible;
			it->cached_by = 0;
		}
}

static bool flush_fails(const struct sim *sim, unsigned node, unsigned log, unsigned leg)
{
	return sim->nodes[node].leg_broken[log][leg] || sim->nodes[node].flush_broken[log][leg];
}

bool disk_leg_broken(const struct sim *sim, unsigned node, unsigned log)
{
	for (unsigned leg = 0; leg < SIM_LEGS; leg++)
		if (flush_fails(sim, node, log, leg))
			return true;
	return false;
}

/* Without handle_errors kcopyd ignores errors, and the region is taken for in sync: nothing to check there.
 */
static bool leg_op_fails(const struct sim *sim, const struct sim_event *event)
{
	if (event->leg.type == KERNEL_LEG_FLUSH)
		return flush_fails(sim, event->node, (unsigned)event->a, event->leg.leg.leg);
	return sim->nodes[event->node].leg_broken[event->a][event->leg.leg.leg] &&
	       (sim->logs[event->a].handle_errors || !event->leg.leg.copy);
}

/* Anything may be read there afterwards, from each leg something else; also where the discard failed. */
static void leg_discard(struct sim *sim, const struct sim_event *event)
{
	const struct leg_operation *out = &event->leg;
	struct sim_log *log = &sim->logs[event->a];

	log->discarded[out->leg.region][out->leg.block] = true;
	block_write(log, out->leg.leg, out->leg.region, out->leg.block, sim->next_tag++, event->node);
}

static void region_cache_lost(struct sim *sim, unsigned node, unsigned log, unsigned leg, unsigned region)
{
	for (unsigned block = 0; block < SIM_BLOCKS; block++) {
		struct block *it = &sim->logs[log].legs[leg][region][block];

		if (it->cached_by != node || sim_chance(sim, 50))
			continue;
		work_may_read(&sim->logs[log].expected[region][block], it->durable);
		sim_trace(sim, node, "%s leg %u region %u block %u: lost in the cache", sim->logs[log].uuid,
			  leg, region, block);
		it->visible = it->durable;
		it->cached_by = 0;
		sim->logs[log].touched |= UINT64_C(1) << region;
	}
}

/* A failed cache flush may have lost what the kernel holds to be unflushed: the other leg has it. */
void disk_cache_lost(struct sim *sim, unsigned node, unsigned log, unsigned region)
{
	for (unsigned leg = 0; leg < SIM_LEGS; leg++)
		if (sim->nodes[node].devices[log].lost_legs >> leg & 1)
			region_cache_lost(sim, node, log, leg, region);
}

/* The same of a daemon: all that its node has in that cache. */
static void leg_cache_lost(struct sim *sim, unsigned node, unsigned log, unsigned leg)
{
	for (unsigned region = 0; region < sim->logs[log].region_count; region++)
		region_cache_lost(sim, node, log, leg, region);
}

void disk_leg_land(struct sim *sim, const struct sim_event *event)
{
	const struct leg_operation *out = &event->leg;
	struct sim_log *log = &sim->logs[event->a];
	uint64_t tag = 0;
	bool fails = leg_op_fails(sim, event);

	switch (out->type) {
	case KERNEL_LEG_READ: tag = log->legs[out->leg.leg][out->leg.region][out->leg.block].visible; break;
	case KERNEL_LEG_WRITE:
		if (!fails)
			block_write(log, out->leg.leg, out->leg.region, out->leg.block, out->leg.tag,
				    event->node);
		if (!fails && !out->leg.copy)
			log->discarded[out->leg.region][out->leg.block] = false;
		sim_trace(sim, event->node, "%s %s to leg %u region %u block %u: %s", log->uuid,
			  out->leg.copy ? "copy" : "write", out->leg.leg, (unsigned)out->leg.region,
			  out->leg.block, fails ? "error" : "done");
		if (!out->leg.copy)
			story(sim, event->node, "the write of region %u is on leg %u",
			      (unsigned)out->leg.region, out->leg.leg);
		log->touched |= UINT64_C(1) << out->leg.region;
		if (!out->leg.copy)
			log->writes[event->node][out->leg.region]--;
		else if (out->leg.block == SIM_BLOCKS - 1)
			log->copier[out->leg.region] = 0;
		break;
	case KERNEL_LEG_FLUSH:
		if (!fails)
			leg_flush(log, out->leg.leg, event->node);
		else
			sim->nodes[event->node].devices[event->a].lost_legs |= 1u << out->leg.leg;
		break;
	case KERNEL_LEG_DISCARD: leg_discard(sim, event); break;
	default: break;
	}
	if (fails && out->leg.copy)
		log->copier[out->leg.region] = 0;
	kernel_leg_done(sim->nodes[event->node].kernel, out->leg.op, fails ? -EIO : 0, tag);
	host_kernel_soon(sim, event->node);
}

/* --- the daemon's repair
 * --------------------------------------------------------------------------------------------- */

static void repair_plan(struct sim *sim, unsigned node, unsigned log, unsigned region, unsigned block,
			uint32_t handle, uint64_t token, uint64_t daemon)
{
	uint64_t hangs_ns = sim_chance(sim, 5)	    ? sim_between(sim, MS, 10 * SECOND)
			    : sim->nodes[node].slow ? 3 * SECOND
						    : 0;
	struct sim_event *event = sim_plan(sim, SIM_REPAIR, node, hangs_ns + sim_latency(sim, 300 * US));

	sim->nodes[node].slow = false;
	event->generation = sim->nodes[node].boot_generation;
	event->a = log | (uint64_t)region << 8 | (uint64_t)block << 32;
	event->b = handle;
	event->c = token;
	event->d = daemon;
}

static void io_answer(struct sim *sim, unsigned node, enum event_type type, uint32_t handle, uint64_t token,
		      int error)
{
	struct input *input = host_input(type);

	input->event.io.log = handle;
	input->event.io.token = token;
	input->event.io.error = error;
	host_post(sim, node, input, NULL, sim_latency(sim, 10 * US));
}

static void repair_step(struct sim *sim, const struct sim_event *event)
{
	unsigned log_number = event->a & 0xff, region = (event->a >> 8) & 0xffffff,
		 block = (unsigned)(event->a >> 32);
	struct sim_log *log = &sim->logs[log_number];
	struct block *from = &log->legs[0][region][block];
	bool former = event->d != sim->nodes[event->node].daemon_generation;

	if (disk_leg_broken(sim, event->node, log_number)) {
		for (unsigned leg = 0; leg < SIM_LEGS; leg++)
			if (flush_fails(sim, event->node, log_number, leg))
				leg_cache_lost(sim, event->node, log_number, leg);
		log->copier[region] = 0;
		if (former)
			return;
		io_answer(sim, event->node, EVENT_REPAIRED, (uint32_t)event->b, event->c, -EIO);
		return;
	}
	for (unsigned leg = 1; leg < SIM_LEGS; leg++) {
		block_write(log, leg, region, block, from->visible, event->node);
		if (sim->options.mutant == MUTANT_REPAIR_UNFLUSHED)
			continue;
		log->legs[leg][region][block].durable = log->legs[leg][region][block].visible;
		log->legs[leg][region][block].cached_by = 0;
	}
	/* What is copied may be in the cache of another's path: this flush does not reach it (hazard B7). */
	if (from->cached_by == event->node) {
		from->durable = from->visible;
		from->cached_by = 0;
	}
	/* Killed meanwhile: what was in flight has landed, and that is all. */
	if (former) {
		log->copier[region] = 0;
		return;
	}
	if (block + 1 < SIM_BLOCKS) {
		repair_plan(sim, event->node, log_number, region, block + 1, (uint32_t)event->b, event->c,
			    event->d);
		return;
	}
	log->copier[region] = 0;
	io_answer(sim, event->node, EVENT_REPAIRED, (uint32_t)event->b, event->c, 0);
}

static void repair_begin(struct sim *sim, unsigned node, unsigned log, const struct effect *effect)
{
	unsigned region = (unsigned)(effect->repair.first_sector / SIM_REGION_SECTORS);

	if (sim->options.mutant == MUTANT_REPAIR_ELSEWHERE)
		region = (region + 1) % sim->logs[log].region_count;
	if (sim->options.mutant == MUTANT_REPAIR_SKIPPED) {
		io_answer(sim, node, EVENT_REPAIRED, effect->log, effect->token, 0);
		return;
	}
	if (effect->repair.first_sector % SIM_REGION_SECTORS || effect->repair.sectors > SIM_REGION_SECTORS ||
	    region >= sim->logs[log].region_count)
		sim_fail(sim, 0, "node %u repairs sectors %llu + %llu", node,
			 (unsigned long long)effect->repair.first_sector,
			 (unsigned long long)effect->repair.sectors);
	observe_copy(sim, node, log, region);
	sim_trace(sim, node, "repair of region %u begins", region);
	story(sim, node, "repair: copies region %u from the first leg to the others", region);
	sim->logs[log].copier[region] = node;
	repair_plan(sim, node, log, region, 0, effect->log, effect->token,
		    sim->nodes[node].daemon_generation);
}

/* --- log devices
 * ------------------------------------------------------------------------------------------------------- */

static bool device_io_fails(const struct sim *sim, const struct sim_event *event)
{
	const struct sim_log *log = &sim->logs[event->a & 0xff];

	return log->lower ? event->failed : sim->nodes[event->node].device_broken;
}

/* One that lies on another mirror takes effect when that mirror has done its part. */
void disk_io_start(struct sim *sim, struct sim_event *event, uint64_t disk_ns)
{
	struct sim_log *log = &sim->logs[event->a & 0xff];

	if (sim->options.mutant == MUTANT_DEVICE_THREAD && !TAILQ_EMPTY(&sim->nodes[event->node].stacked)) {
		TAILQ_INSERT_TAIL(&sim->nodes[event->node].queued, event, held);
		return;
	}
	if (log->lower)
		stack_submit(sim, event, log->lower);
	else
		sim_event_plan(sim, event, disk_ns);
}

static void sectors_write(struct sim_log *log, uint64_t offset, const uint8_t *bytes, size_t size)
{
	memcpy(log->image + offset, bytes, size);
	memcpy(log->durable_image + offset, bytes, size);
	log->image_touched = true;
}

static void device_read_done(struct sim *sim, struct sim_event *event)
{
	struct input *input = host_input(EVENT_DEVICE_READ);

	input->event.io.log = (uint32_t)event->b;
	input->event.io.token = event->c;
	input->event.io.error = device_io_fails(sim, event) ? -EIO : 0;
	input->event.io.size = event->d;
	input->event.io.block_bytes = sim->options.seed & 4 ? 512 : 4096;
	input->bytes = malloc(SIM_IMAGE);
	if (!input->bytes)
		abort();
	memcpy(input->bytes, sim->logs[event->a].image, SIM_IMAGE);
	if (sim->options.mutant == MUTANT_READ_STALE) {
		memset(input->bytes, 0, SECTOR);
	}
	if (sim->options.mutant == MUTANT_READ_CLEAN)
		memset(input->bytes + 1024, 0xff, SIM_IMAGE - 1024);
	input->event.io.bytes = input->bytes;
	host_post(sim, event->node, input, NULL, sim_latency(sim, 10 * US));
}

/* `bytes` of the event: for each extent offset, size, data. `d`: generation of the daemon. */
static void device_write_land(struct sim *sim, const struct sim_event *event, bool torn)
{
	struct sim_log *log = &sim->logs[event->a & 0xff];
	size_t at = 0, end = event->a >> 8;

	log->device_writes[event->node]--;
	while (at < end) {
		uint64_t offset, size;

		memcpy(&offset, event->bytes + at, 8);
		memcpy(&size, event->bytes + at + 8, 8);
		at += 16;
		for (uint64_t done = 0; done < size; done += SECTOR)
			if (!torn || sim_chance(sim, 50))
				sectors_write(log, offset + done, event->bytes + at + done, SECTOR);
		at += size;
	}
}

/* `type`: SIM_DEVICE_WRITE, SIM_REPAIR or SIM_LEGS_FLUSH. */
static bool is_former_io(const struct sim *sim, const struct sim_event *event, enum sim_event_type type,
			 unsigned node, unsigned log)
{
	return event->type == type && event->node == node && (event->a & 0xff) == log &&
	       event->generation == sim->nodes[node].boot_generation &&
	       event->d != sim->nodes[node].daemon_generation;
}

static bool former_io(const struct sim *sim, enum sim_event_type type, unsigned node, unsigned log)
{
	const struct sim_event *event;

	for (size_t i = 0; i < sim->heap_count; i++)
		if (is_former_io(sim, sim->heap[i].event, type, node, log))
			return true;
	TAILQ_FOREACH (event, &sim->nodes[node].stacked, held)
		if (is_former_io(sim, event, type, node, log))
			return true;
	return false;
}

/* Is a write of a killed daemon to the device of this log in flight? */
bool disk_former_writes(const struct sim *sim, unsigned node, unsigned log)
{
	return former_io(sim, SIM_DEVICE_WRITE, node, log);
}

/* A copy from leg to leg? */
bool disk_former_copies(const struct sim *sim, unsigned node, unsigned log)
{
	return former_io(sim, SIM_REPAIR, node, log);
}

bool disk_former_flushes(const struct sim *sim, unsigned node, unsigned log)
{
	return former_io(sim, SIM_LEGS_FLUSH, node, log);
}

/* A process ends when its last thread does (hazard A14). */
bool disk_former_lives(const struct sim *sim, unsigned node)
{
	for (unsigned log = 0; log < sim->log_count; log++)
		if (disk_former_writes(sim, node, log) || disk_former_copies(sim, node, log) ||
		    disk_former_flushes(sim, node, log))
			return true;
	return false;
}

static void former_wait_end(struct sim *sim, unsigned node, struct former_wait *wait, enum event_type type,
			    int error)
{
	if (wait->handle)
		io_answer(sim, node, type, wait->handle, wait->token, error);
	wait->handle = 0;
}

static void former_io_ended(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	for (unsigned log = 0; log < sim->log_count; log++) {
		if (!disk_former_writes(sim, number, log))
			former_wait_end(sim, number, &node->device_waits[log], EVENT_DEVICE_WRITTEN, 0);
		if (!disk_former_copies(sim, number, log))
			former_wait_end(sim, number, &node->copy_waits[log], EVENT_REPAIRED, -ECANCELED);
	}
	if (!node->leave_due || disk_former_lives(sim, number))
		return;
	node->leave_due = false;
	group_daemon_left(sim, number);
}

static void device_write_done(struct sim *sim, const struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];
	bool broken = device_io_fails(sim, event);

	if (sim->options.mutant == MUTANT_WRITE_LOST)
		sim->logs[event->a & 0xff].device_writes[event->node]--;
	else
		device_write_land(sim, event, broken || sim->options.mutant == MUTANT_WRITE_TORN);
	if (event->d == node->daemon_generation && node->core && sim->options.mutant != MUTANT_WRITE_EARLY)
		io_answer(sim, event->node, EVENT_DEVICE_WRITTEN, (uint32_t)event->b, event->c,
			  broken ? -EIO : 0);
	story_device(sim, event->node, event->a & 0xff, true);
	former_io_ended(sim, event->node);
	group_watches_check(sim);
}

/* Its node dies: what was on its way lands in part, or not at all. */
void disk_write_cut(struct sim *sim, const struct sim_event *event, bool lands)
{
	if (lands)
		device_write_land(sim, event, true);
	else
		sim->logs[event->a & 0xff].device_writes[event->node]--;
}

static void device_write_begin(struct sim *sim, unsigned node, unsigned log, const struct effect *effect)
{
	struct sim_event *event = sim_event_new(sim, SIM_DEVICE_WRITE, node);
	size_t bytes = effect->device_write.data_bytes + 16 * effect->device_write.extent_count, at = 0,
	       from = 0;
	uint64_t disk_ns;

	observe_device_write(sim, node, log);
	story_device(sim, node, log, false);
	sim->logs[log].device_writes[node]++;
	disk_ns =
	    sim_latency(sim, sim->nodes[node].kill_at_write || sim_chance(sim, 2) ? 100 * MS : 300 * US);
	event->generation = sim->nodes[node].boot_generation;
	event->a = log | (uint64_t)bytes << 8;
	event->b = effect->log;
	event->c = effect->token;
	event->d = sim->nodes[node].daemon_generation;
	event->bytes = malloc(bytes ? bytes : 1);
	if (!event->bytes)
		abort();
	for (size_t i = 0; i < effect->device_write.extent_count; i++) {
		uint64_t offset = effect->device_write.extents[i].offset_bytes;
		uint64_t size = effect->device_write.extents[i].size_bytes;

		if (offset + size > SIM_IMAGE || offset % SECTOR || size % SECTOR)
			sim_fail(sim, 0, "node %u writes its log device at %llu + %llu", node,
				 (unsigned long long)offset, (unsigned long long)size);
		memcpy(event->bytes + at, &offset, 8);
		memcpy(event->bytes + at + 8, &size, 8);
		memcpy(event->bytes + at + 16, effect->device_write.data + from, size);
		at += 16 + size;
		from += size;
	}
	disk_io_start(sim, event, disk_ns);
	if (sim->options.mutant == MUTANT_WRITE_EARLY)
		io_answer(sim, node, EVENT_DEVICE_WRITTEN, effect->log, effect->token, 0);
}

/* --- effects and their events
 * ---------------------------------------------------------------------------------------------- */

/* So that more ends while one is under way: what these deliberate faults are about. */
static uint64_t flush_ns(const struct sim *sim)
{
	if (sim->options.mutant == MUTANT_FLUSH_UNHEARD)
		return 500 * MS;
	return sim->options.mutant == MUTANT_LEGS_FLUSH_EARLY ? 50 * MS : MS;
}

void disk_perform(struct sim *sim, unsigned node, const struct effect *effect)
{
	int log = disk_log_find(sim, effect->uuid);
	struct sim_event *event;

	if (log < 0)
		sim_fail(sim, 0, "node %u: I/O for an unknown log", node);
	switch (effect->type) {
	case EFFECT_DEVICE_READ:
		event = sim_event_new(sim, SIM_DEVICE_READ, node);
		event->d = effect->device_read.size;
		break;
	case EFFECT_LEGS_FLUSH:
		event = sim_plan(sim, SIM_LEGS_FLUSH, node, sim_latency(sim, flush_ns(sim)));
		event->d = sim->nodes[node].daemon_generation;
		if (sim->options.mutant == MUTANT_LEGS_FLUSH_EARLY)
			io_answer(sim, node, EVENT_LEGS_FLUSHED, effect->log, effect->token, 0);
		break;
	case EFFECT_DEVICE_WAIT:
		sim->nodes[node].device_waits[log] = (struct former_wait){effect->log, effect->token};
		former_io_ended(sim, node);
		return;
	case EFFECT_REPAIR_WAIT:
		sim->nodes[node].copy_waits[log] = (struct former_wait){effect->log, effect->token};
		former_io_ended(sim, node);
		return;
	case EFFECT_DEVICE_WRITE: device_write_begin(sim, node, (unsigned)log, effect); return;
	case EFFECT_REPAIR: repair_begin(sim, node, (unsigned)log, effect); return;
	default: return;
	}
	event->generation = event->type == SIM_LEGS_FLUSH ? sim->nodes[node].boot_generation
							  : sim->nodes[node].daemon_generation;
	event->a = (uint64_t)log;
	event->b = effect->log;
	event->c = effect->token;
	if (event->type == SIM_DEVICE_READ)
		disk_io_start(sim, event, sim_latency(sim, 300 * US));
}

static void legs_flush(struct sim *sim, unsigned node, unsigned log)
{
	for (unsigned leg = 0; leg < SIM_LEGS; leg++)
		if (flush_fails(sim, node, log, leg))
			leg_cache_lost(sim, node, log, leg);
		else
			leg_flush(&sim->logs[log], leg, node);
	work_flushed(&sim->nodes[node].devices[log], !disk_leg_broken(sim, node, log));
}

/* Killed meanwhile: it is done to its end, of which nobody hears. One of the next daemon waits for that. */
static void legs_flush_step(struct sim *sim, const struct sim_event *event)
{
	bool former = event->d != sim->nodes[event->node].daemon_generation;
	struct sim_event *again;

	if (!former && disk_former_flushes(sim, event->node, (unsigned)event->a)) {
		again = sim_plan(sim, SIM_LEGS_FLUSH, event->node, sim_latency(sim, MS));
		again->generation = event->generation;
		again->a = event->a;
		again->b = event->b;
		again->c = event->c;
		again->d = event->d;
		return;
	}
	if (sim->options.mutant != MUTANT_NO_LEGS_FLUSH)
		legs_flush(sim, event->node, (unsigned)event->a);
	if (!former && sim->options.mutant != MUTANT_LEGS_FLUSH_EARLY)
		io_answer(sim, event->node, EVENT_LEGS_FLUSHED, (uint32_t)event->b, event->c,
			  disk_leg_broken(sim, event->node, (unsigned)event->a) ? -EIO : 0);
	former_io_ended(sim, event->node);
}

void disk_event(struct sim *sim, struct sim_event *event)
{
	switch (event->type) {
	case SIM_REPAIR:
		repair_step(sim, event);
		former_io_ended(sim, event->node);
		break;
	case SIM_DEVICE_READ: device_read_done(sim, event); break;
	case SIM_DEVICE_WRITE: device_write_done(sim, event); break;
	case SIM_LEGS_FLUSH: legs_flush_step(sim, event); break;
	default: break;
	}
}

/* --- deaths
 * --------------------------------------------------------------------------------------------------------------
 */

static void repairs_end(struct sim *sim, unsigned node)
{
	for (size_t i = 0; i < sim->heap_count; i++) {
		const struct sim_event *event = sim->heap[i].event;
		if (event->type != SIM_REPAIR || event->node != node)
			continue;
		unsigned *copier = &sim->logs[event->a & 0xff].copier[(event->a >> 8) & 0xff];
		if (*copier == node)
			*copier = 0;
	}
}

/* What is under way goes on, and the process ends with the last of it. */
void disk_daemon_dies(struct sim *sim, unsigned node)
{
	memset(sim->nodes[node].device_waits, 0, sizeof(sim->nodes[node].device_waits));
	memset(sim->nodes[node].copy_waits, 0, sizeof(sim->nodes[node].copy_waits));
}

/* Each piece under way lands or not; nothing comes later. */
void disk_node_dies(struct sim *sim, unsigned node)
{
	repairs_end(sim, node);
	stack_node_dies(sim, node);
	for (size_t i = 0; i < sim->heap_count; i++) {
		const struct sim_event *event = sim->heap[i].event;
		if (event->node != node || event->generation != sim->nodes[node].boot_generation)
			continue;
		if (event->type == SIM_LEG && event->leg.type == KERNEL_LEG_WRITE &&
		    !leg_op_fails(sim, event) && (sim->script ? !event->leg.leg.leg : sim_chance(sim, 50))) {
			block_write(&sim->logs[event->a], event->leg.leg.leg, event->leg.leg.region,
				    event->leg.leg.block, event->leg.leg.tag, node);
			if (!event->leg.leg.copy)
				sim->logs[event->a].discarded[event->leg.leg.region][event->leg.leg.block] =
				    false;
			story(sim, node, "the write of region %u is on leg %u",
			      (unsigned)event->leg.leg.region, event->leg.leg.leg);
		} else if (event->type == SIM_LEG && event->leg.type == KERNEL_LEG_DISCARD &&
			   sim_chance(sim, 50)) {
			leg_discard(sim, event);
		} else if (event->type == SIM_DEVICE_WRITE)
			disk_write_cut(sim, event, true);
	}
	/* What it had written has reached the disks: the path's cache is of no use without the node. */
	for (unsigned i = 0; i < sim->log_count; i++)
		for (unsigned leg = 0; leg < SIM_LEGS; leg++)
			leg_flush(&sim->logs[i], leg, node);
	for (unsigned i = 0; i < sim->log_count; i++)
		for (unsigned region = 0; region < SIM_REGIONS; region++) { /* leg_flush() has touched them */
			sim->logs[i].writes[node][region] = 0;
			if (sim->logs[i].copier[region] == node)
				sim->logs[i].copier[region] = 0;
		}
}

/* What this path has written unmarked is nobody's to flush. */
void disk_path_flush(struct sim *sim, unsigned node, unsigned log)
{
	for (unsigned leg = 0; leg < SIM_LEGS; leg++)
		leg_flush(&sim->logs[log], leg, node);
}

/* What another's write has put on one leg lands on the other too. */
static bool block_under_way(const struct sim *sim, unsigned node, unsigned log, unsigned region,
			    unsigned block)
{
	for (size_t i = 0; i < sim->heap_count; i++) {
		const struct sim_event *event = sim->heap[i].event;

		if (event->type == SIM_LEG && event->node != node && event->a == log &&
		    event->leg.leg.region == region && event->leg.leg.block == block)
			return true;
	}
	return false;
}

static void region_excuse(struct sim *sim, unsigned node, unsigned log, unsigned region)
{
	struct sim_log *it = &sim->logs[log];

	it->touched |= UINT64_C(1) << region;
	for (unsigned block = 0; block < SIM_BLOCKS; block++)
		for (unsigned leg = 1; leg < SIM_LEGS && !block_under_way(sim, node, log, region, block);
		     leg++)
			it->legs[leg][region][block] = it->legs[0][region][block];
}

/* A node dies whose table wrote unmarked, with no daemon that could have known: what it left is nobody's
 * fault. */
void disk_excuse(struct sim *sim, unsigned node, unsigned log)
{
	for (unsigned region = 0; region < sim->logs[log].region_count; region++)
		region_excuse(sim, node, log, region);
}

/* A node dies, the last that knew that the legs differ here: which of them counts is open. */
void disk_forgotten(struct sim *sim, unsigned node, unsigned log, unsigned region)
{
	struct sim_log *it = &sim->logs[log];

	for (unsigned block = 0; block < SIM_BLOCKS; block++)
		for (unsigned leg = 0; leg < SIM_LEGS; leg++)
			work_may_read(&it->expected[region][block], it->legs[leg][region][block].visible);
	region_excuse(sim, node, log, region);
}

/* All caches are lost, each block for itself; the nodes die next. */
void disk_power_cut(struct sim *sim)
{
	for (unsigned i = 0; i < sim->log_count; i++)
		sim->logs[i].touched = UINT64_MAX;
	for (unsigned i = 0; i < sim->log_count; i++)
		for (unsigned leg = 0; leg < SIM_LEGS; leg++)
			for (unsigned region = 0; region < sim->logs[i].region_count; region++)
				for (unsigned block = 0; block < SIM_BLOCKS; block++) {
					struct block *it = &sim->logs[i].legs[leg][region][block];
					/* who did not ask for a flush may find what was there before */
					work_may_read(&sim->logs[i].expected[region][block], it->durable);
					if (it->cached_by && sim_chance(sim, 50))
						it->visible = it->durable;
					it->durable = it->visible;
					it->cached_by = 0;
				}
}
