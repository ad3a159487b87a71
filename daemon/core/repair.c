/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repair of ghosts by the recoverer's daemon, one region at a time. The claim is in the order; marks are the
 * lock: it is granted when nobody has a mark on the region, and marks that come while the copy runs wait for
 * its end.
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <string.h>

/* A claim behind a region that is written all the time makes room for another ghost. */
#define CLAIM_PATIENCE_NS NS_PER_S
/* A leg that cannot be copied now will not be the next moment. */
#define REPAIR_HOLD_NS (5 * NS_PER_S)

uint64_t repair_rate(const struct core *core, const struct log *log)
{
	return log->repair_rate_own ? log->repair_rate : core->repair_rate;
}

/* A region is copied at once and as fast as it can be: marks wait for its end. What is throttled is the begin
 * of the next one. */
uint64_t repair_next_ns(const struct core *core, const struct log *log)
{
	uint64_t rate = repair_rate(core, log), next_ns = 0;

	if (rate && log->repair_bytes) {
		unsigned __int128 share_ns = (unsigned __int128)log->repair_bytes * NS_PER_S / rate;

		next_ns = share_ns < UINT64_MAX - log->repair_begin_ns
			      ? log->repair_begin_ns + (uint64_t)share_ns
			      : UINT64_MAX;
	}
	return next_ns > log->repair_hold_ns ? next_ns : log->repair_hold_ns;
}

void repair_rate_set(struct core *core, const char *uuid, uint64_t rate)
{
	struct log *log;

	if (!uuid)
		core->repair_rate = rate;
	TAILQ_FOREACH (log, &core->logs, entry) {
		if (uuid && strcmp(uuid, log->uuid))
			continue;
		log->repair_rate_own = uuid != NULL;
		log->repair_rate = rate;
		log_poke(core, log);
	}
}

static bool repair_choose(struct log *log, const struct world_log *world, region_t *ret_region)
{
	return region_set_next(&world->ghosts, log->repair_cursor, ret_region) ||
	       region_set_first(&world->ghosts, ret_region);
}

static void repair_claim(struct core *core, struct log *log, const struct world_log *world)
{
	struct record *record;
	region_t region = 0;

	if (log->claim_sent || world->claimed || core->now_ns < repair_next_ns(core, log) ||
	    !repair_choose(log, world, &region))
		return;
	record = send_add(core, RECORD_CLAIM, log->uuid);
	if (!record)
		return;
	record->region = region;
	log->claim_sent = true;
	log->repair_cursor = region == UINT32_MAX ? 0 : region + 1;
	log->repair_retry_ns = core->now_ns + CLAIM_PATIENCE_NS;
}

static void repair_release(struct core *core, struct log *log, const struct world_log *world, bool copied)
{
	struct record *record;

	if (log->release_sent)
		return;
	record = send_add(core, RECORD_RELEASE, log->uuid);
	if (!record)
		return;
	record->region = world->claim;
	record->flag = copied;
	log->release_sent = true;
	log->repair_retry_ns = UINT64_MAX;
}

void repair_copy_region(struct core *core, struct log *log, region_t region)
{
	uint64_t first = (uint64_t)region * log->shape.region_size_sectors;
	uint64_t left = log->shape.length_sectors - first;
	struct effect *effect;

	run_state_flush(core, log, true);
	effect = effect_add_log(core, EFFECT_REPAIR, log);
	effect->token = core_token(core);
	effect->repair.first_sector = first;
	effect->repair.sectors =
	    left < log->shape.region_size_sectors ? left : log->shape.region_size_sectors;
	log->repairing = true;
}

/* A copy of a killed daemon is one of this node like its own: it speaks of nothing before the end, so that
 * the claim lasts as long (hazard A14). */
void repair_former_copies(struct core *core, struct log *log)
{
	struct effect *effect = effect_add_log(core, EFFECT_REPAIR_WAIT, log);

	effect->token = core_token(core);
	log->repairing = true;
}

/* This node is the writer: what it commits waits for the end of the claim from here on. */
static void claim_know(struct core *core, struct log *log, const struct world_log *world)
{
	struct record *record;

	if (world->writer != core->config.node || world->recoverer == core->config.node ||
	    !world_log_claim_free(world) || world->claim_known || log->claim_known_sent)
		return;
	record = send_add(core, RECORD_CLAIM_KNOWN, log->uuid);
	if (!record)
		return;
	record->batch = world->claims;
	log->claim_known_sent = true;
}

void repair_tick(struct core *core, struct log *log)
{
	const struct world_log *world = log_world(core, log);
	const struct instance *instance = log_resumed_instance(log);
	bool possible = world && log_active(core, log) && world->recoverer == core->config.node && instance &&
			instance->state == INSTANCE_RESUMED && !core->repair_paused && !log->flush_void &&
			!world_log_repair_hindrance(&core->world, world);

	if (world)
		claim_know(core, log, world);
	if (!world || world->recoverer != core->config.node) {
		/* What was sent went with the role. */
		log->claim_sent = log->release_sent = false;
		return;
	}
	if (log->repairing)
		return;
	if (!world->claimed) {
		if (possible)
			repair_claim(core, log, world);
		return;
	}
	if (!possible) {
		if (core->active)
			repair_release(core, log, world, false);
		return;
	}
	if (!log->release_sent && world_log_claim_granted(&core->world, world)) {
		log->repair_begin_ns = core->now_ns;
		log->repair_bytes = log->shape.region_size_sectors * 512;
		repair_copy_region(core, log, world->claim);
		log->repair_retry_ns = UINT64_MAX;
	} else if (core->now_ns >= log->repair_retry_ns)
		repair_release(core, log, world, false);
}

void repair_finished(struct core *core, struct log *log, int error)
{
	const struct world_log *world = log_world(core, log);

	log->repairing = false;
	if (leg_error(error))
		marks_doubt(core, log);
	if (!error && log->repair_void)
		error = -EAGAIN;
	log->repair_void = false;
	if (log->rescuing) {
		recovery_rescued(core, log, error);
		return;
	}
	log->repaired_regions += !error;
	if (error) {
		log->repair_hold_ns = core->now_ns + REPAIR_HOLD_NS;
		core_log(core, LOG_WARNING, "log %s: repair of a region failed (error %d): it stays dirty",
			 log->uuid, -error);
	}
	/* The claim may have ended with this node's part of the cluster meanwhile. */
	if (world && world->recoverer == core->config.node && world->claimed)
		repair_release(core, log, world, !error);
}
