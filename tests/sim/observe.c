/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a step did, for the guarantees to judge at its end; and books of what each table has asked and was
 * told. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/core/internal.h"

static struct deed *deed_add(struct sim *sim, enum deed_kind kind, unsigned node, unsigned log)
{
	struct deed *deed;

	if (sim->deed_count == sim->deed_room) {
		sim->deed_room *= 2;
		sim->deeds = realloc(sim->deeds, sim->deed_room * sizeof(*sim->deeds));
		if (!sim->deeds)
			abort();
	}
	deed = &sim->deeds[sim->deed_count++];
	memset(deed, 0, sizeof(*deed));
	deed->kind = kind;
	deed->node = node;
	deed->log = log;
	deed->quorate = sim->nodes[node].quorate_told;
	deed->excused = sim->logs[log].excused;
	deed->table_excused = sim->nodes[node].devices[log].excused;
	return deed;
}

/* --- disks and users
 * ----------------------------------------------------------------------------------------------------------
 */

void observe_leg_write(struct sim *sim, unsigned node, unsigned log, unsigned region)
{
	struct deed *deed = deed_add(sim, DEED_LEG_WRITE, node, log);

	deed->region = region;
	deed->copier = sim->logs[log].copier[region];
}

/* Before the copier is noted. */
void observe_copy(struct sim *sim, unsigned node, unsigned log, unsigned region)
{
	struct deed *deed = deed_add(sim, DEED_COPY, node, log);

	deed->region = region;
	deed->copier = sim->logs[log].copier[region];
	for (unsigned other = 1; other <= sim->node_count; other++)
		if (sim->logs[log].writes[other][region])
			deed->others |= 1u << other;
}

/* Before the write is counted. */
void observe_device_write(struct sim *sim, unsigned node, unsigned log)
{
	struct deed *deed = deed_add(sim, DEED_DEVICE_WRITE, node, log);

	deed->at_rest = sim->nodes[node].devices[log].at_rest;
	for (unsigned other = 1; other <= sim->node_count; other++)
		if (sim->logs[log].device_writes[other])
			deed->others |= 1u << other;
}

void observe_wrong_read(struct sim *sim, unsigned node, unsigned log, unsigned region, unsigned block,
			uint64_t value)
{
	struct deed *deed = deed_add(sim, DEED_READ_WRONG, node, log);

	deed->region = region;
	deed->block = block;
	deed->value = value;
	deed->before = sim->logs[log].expected[region][block].values[0];
}

static struct told *told_find(struct sim *sim, unsigned node, unsigned log, luid_t luid, bool make)
{
	struct told *told = sim->nodes[node].devices[log].told, *unused = NULL;

	for (unsigned i = 0; i < 4; i++) {
		if (told[i].used && told[i].luid == luid)
			return &told[i];
		if (!told[i].used)
			unused = &told[i];
	}
	if (make && unused) {
		memset(unused, 0, sizeof(*unused));
		unused->used = true;
		unused->luid = luid;
		return unused;
	}
	return NULL;
}

/* Has the table the region out of sync in its hash, whatever the daemon says? */
bool observe_out_of_sync(const struct sim *sim, unsigned node, unsigned log, luid_t luid, unsigned region)
{
	const struct told *told = sim->nodes[node].devices[log].told;

	for (unsigned i = 0; i < 4; i++)
		if (told[i].used && told[i].luid == luid)
			return (told[i].failed | told[i].unheard) >> region & 1;
	return false;
}

/* Has a leg failed under the region, as far as this node's daemon knows, or another's? */
static bool region_failed(const struct sim *sim, unsigned number, unsigned log, region_t region)
{
	if (region_set_contains(&sim->nodes[number].run[log].bits[RUN_FAILED], region))
		return true;
	for (unsigned node = 1; node <= sim->node_count; node++) {
		const struct world_log *world =
		    sim->nodes[node].core ? world_log_find(&sim->nodes[node].core->world, sim->logs[log].uuid)
					  : NULL;
		if (world && region_set_contains(&world->failed, region))
			return true;
	}
	return false;
}

/* All its I/O has ended: what it still marks says nothing of a write (hazard A7). */
static void told_quiet(struct told *told)
{
	if (told)
		told->marked = 0;
}

void observe_complaint(struct sim *sim, unsigned node, unsigned log, const struct kernel_output *out)
{
	struct deed *deed = deed_add(sim, DEED_COMPLAINT, node, log);
	struct told *told;

	deed->complaint = out->complaint.kind;
	deed->type = (uint8_t)out->complaint.request;
	deed->region = (unsigned)out->complaint.region;
	deed->error = out->complaint.error;
	told = told_find(sim, node, log, out->luid, false);
	if (out->complaint.request == ULOG_POSTSUSPEND)
		told_quiet(told);
	if (told && deed->complaint == KERNEL_FLUSH_FAILURE)
		told->unheard |= UINT64_C(1) << out->complaint.region;
	deed->failed = (told && ((told->failed | told->unheard) >> out->complaint.region & 1)) ||
		       region_failed(sim, node, log, out->complaint.region);
}

/* --- the order
 * ----------------------------------------------------------------------------------------------------------
 */

void observe_delivery(struct sim *sim, unsigned node, struct ring_model *ring, uint64_t index)
{
	const struct core *core = sim->nodes[node].core;
	struct deed *deed;
	uint64_t digest;

	if (core->join != JOIN_READY || !core->settled || index % 4 || index >= ring->count)
		return;
	digest = world_digest(&core->world);
	digest += !digest;
	if (!ring->digests[index])
		ring->digests[index] = digest;
	deed = deed_add(sim, DEED_DELIVERED, node, 0);
	deed->value = digest;
	deed->before = ring->digests[index];
	deed->ring = ring->seq;
	deed->index = index;
}

/* --- requests and answers
 * ----------------------------------------------------------------------------------------------------------
 */

static struct asked *asked_new(struct sim_node *node, uint32_t seq)
{
	if (seq >= node->seq_count) {
		size_t count = (size_t)seq + 1024;
		node->seqs = realloc(node->seqs, count * sizeof(*node->seqs));
		if (!node->seqs)
			abort();
		memset(node->seqs + node->seq_count, 0, (count - node->seq_count) * sizeof(*node->seqs));
		node->seq_count = count;
	}
	return &node->seqs[seq];
}

/* The regions that a MARK, CLEAR or FLUSH names. */
static uint64_t regions_named(const struct kernel_output *out)
{
	uint64_t mask = 0;

	if (out->send.type != ULOG_MARK_REGION && out->send.type != ULOG_CLEAR_REGION &&
	    out->send.type != ULOG_FLUSH)
		return 0;
	for (uint32_t at = 0; at + 8 <= out->send.data_bytes; at += 8)
		mask |= UINT64_C(1) << bytes_get_u64(out->send.data + at);
	return mask;
}

void observe_request(struct sim *sim, unsigned number, const struct kernel_output *out)
{
	struct asked *asked = asked_new(&sim->nodes[number], out->send.seq);
	struct told *told;

	*asked = (struct asked){.state = 1,
				.type = (uint8_t)out->send.type,
				.log = (uint8_t)disk_log_find(sim, out->send.uuid),
				.resent = out->send.resent,
				.regions = regions_named(out),
				.luid = out->luid};
	if (out->send.data_bytes >= 8 && out->send.type != ULOG_CTR)
		memcpy(&asked->region, out->send.data, sizeof(asked->region));
	if (out->send.type == ULOG_SET_REGION_SYNC)
		asked->in_sync = out->send.data[8];
	told = told_find(sim, number, asked->log, out->luid, false);
	/* A DTR that reached nobody frees its luid for another table; a CTR that ends in NUL is a reconnect.
	 */
	if (told && out->send.type == ULOG_CTR && out->send.data_bytes) {
		told->reconnects = !out->send.data[out->send.data_bytes - 1];
		told->used = told->reconnects;
	}
	/* A former table may reconnect behind it. */
	if (out->send.type == ULOG_RESUME && !(told && told->reconnects))
		sim->nodes[number].devices[asked->log].resume_unheard = false;
	if (told && out->send.type == ULOG_RESUME)
		told->reconnects = false;
	/* A resuming table has reset in_sync_hint before it asks. */
	if (out->send.type == ULOG_RESUME)
		sim->nodes[number].devices[asked->log].at_rest = false;
	if (out->send.type == ULOG_RESUME && (told = told_find(sim, number, asked->log, out->luid, true))) {
		told->resumed = true;
		told->at_rest = false;
	}
	told = told_find(sim, number, asked->log, out->luid, false);
	if (!told)
		return;
	if (out->send.type == ULOG_SET_REGION_SYNC && !asked->in_sync) {
		told->answers[asked->region] = 0;
		told->failed |= UINT64_C(1) << asked->region;
	}
	if (out->send.type == ULOG_CLEAR_REGION)
		told->marked &= ~asked->regions;
	if (out->send.type == ULOG_POSTSUSPEND)
		told_quiet(told);
	asked->marked = told->marked;
	if (out->send.type == ULOG_DTR)
		told->used = false;
}

/* Ghosts, and regions under which a leg failed: LVM must not count on them (hazard B10). */
static uint64_t regions_behind(const struct sim *sim, unsigned number, unsigned log)
{
	const struct world_log *world = world_log_find(&sim->nodes[number].core->world, sim->logs[log].uuid);

	struct region_set behind = {0};
	uint64_t count;

	/* Who is not in an active view goes by what it remembers. */
	if (sim->nodes[number].core->join != JOIN_READY || !sim->nodes[number].core->active)
		return 0;
	if (!world || (region_set_is_empty(&world->ghosts) && region_set_is_empty(&world->failed)))
		return 0;
	region_set_copy(&behind, &world->ghosts);
	region_set_union_with(&behind, &world->failed);
	count = region_set_count(&behind);
	region_set_fini(&behind);
	return count;
}

/* All its tables that were resumed have been suspended, and the daemon said so. */
static bool all_at_rest(const struct sim *sim, unsigned number, unsigned log)
{
	const struct told *told = sim->nodes[number].devices[log].told;

	for (unsigned i = 0; i < 4; i++)
		if (told[i].used && told[i].resumed && !told[i].at_rest)
			return false;
	return true;
}

/* A good answer. */
static void answer_note(struct sim *sim, unsigned number, const struct asked *asked,
			const struct effect *effect, struct deed *deed)
{
	struct told *told = told_find(sim, number, asked->log, asked->luid, asked->type == ULOG_IN_SYNC);
	uint64_t value = effect->reply.data_bytes >= 8 ? bytes_get_u64(effect->reply.data) : 0;

	switch (asked->type) {
	case ULOG_POSTSUSPEND:
		if (told)
			told->at_rest = true;
		sim->nodes[number].devices[asked->log].at_rest = all_at_rest(sim, number, asked->log);
		if (sim->nodes[number].devices[asked->log].at_rest)
			deed->others = sim->logs[asked->log].device_writes[number];
		break;
	case ULOG_GET_RESYNC_WORK: deed->value = effect->reply.data_bytes == 16 && value; break;
	case ULOG_GET_SYNC_COUNT:
		deed->value = effect->reply.data_bytes == 8 ? value : 0;
		/* A RESUME that reached nobody: the daemon found the table running. */
		deed->resumed =
		    (told && told->resumed) || sim->nodes[number].devices[asked->log].resume_unheard;
		deed->before = regions_behind(sim, number, asked->log);
		break;
	case ULOG_IN_SYNC:
		if (!told || asked->region >= SIM_REGIONS)
			break;
		deed->region = (unsigned)asked->region;
		deed->value = effect->reply.data_bytes == 8 && value;
		deed->before = told->answers[asked->region];
		told->answers[asked->region] = deed->value ? 2 : 1;
		break;
	case ULOG_MARK_REGION:
		if (told)
			told->marked |= asked->regions;
		break;
	case ULOG_FLUSH:
		/* Those that it named, and those that were marked before it and have not been cleared since.
		 */
		deed->due = asked->regions | (told ? asked->marked & told->marked : 0);
		if (told)
			told->marked |= asked->regions;
		break;
	default: break;
	}
}

void observe_reply(struct sim *sim, unsigned number, const struct effect *effect)
{
	struct sim_node *node = &sim->nodes[number];
	struct asked *asked = effect->reply.seq < node->seq_count ? &node->seqs[effect->reply.seq] : NULL;
	struct deed *deed = deed_add(sim, DEED_REPLY, number, asked && asked->state ? asked->log : 0);

	deed->seq = effect->reply.seq;
	if (!asked || !asked->state)
		return;
	deed->state = asked->state;
	deed->type = asked->type;
	deed->luid = asked->luid;
	asked->state = 2;
	if (!effect->reply.error)
		answer_note(sim, number, asked, effect, deed);
}
