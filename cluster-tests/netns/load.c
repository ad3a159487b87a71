/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster-tests/netns/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/netns/leg_io.h"

struct load_bio {
	struct load_bio *next;
	uint64_t id;
	uint64_t command;
	uint64_t block;
	uint64_t tag;
	uint64_t begin_ns;
	bool write;
};

int load_open(struct load *load, const char *record_path, uint64_t block_count)
{
	int ret = block_records_open(&load->records, record_path, block_count);

	if (ret)
		return ret;
	load->busy = calloc(block_count, sizeof(*load->busy));
	return load->busy ? 0 : -ENOMEM;
}

void load_close(struct load *load)
{
	while (load->bios) {
		struct load_bio *bio = load->bios;

		load->bios = bio->next;
		free(bio);
	}
	free(load->busy);
	load->busy = NULL;
	block_records_close(&load->records);
}

int load_submit(struct load *load, bool write, uint64_t block, uint64_t command, uint64_t now_ns)
{
	struct kernel_bio request = {.type = write ? KERNEL_WRITE : KERNEL_READ};
	struct load_bio *bio;
	int ret;

	if (block >= load->records.count)
		return -EINVAL;
	if (write && load->busy[block])
		return -EBUSY;
	bio = calloc(1, sizeof(*bio));
	if (!bio)
		return -ENOMEM;
	bio->id = request.id = ++*load->next_bio;
	bio->command = command;
	bio->block = block;
	bio->begin_ns = now_ns;
	bio->write = write;
	request.region = (region_t)(block / load->blocks_per_region);
	request.block = (uint32_t)(block % load->blocks_per_region);
	if (write)
		request.tag = bio->tag =
		    load->node << BLOCK_NODE_SHIFT | (load->records.entries[block].begun + 1);
	ret = kernel_submit(load->kernel, load->device, &request);
	if (ret) {
		free(bio);
		return ret;
	}
	/* Nothing reaches a leg before the next kernel_run(): the record is there first. */
	if (write) {
		load->records.entries[block].begun++;
		load->busy[block] = true;
	}
	bio->next = load->bios;
	load->bios = bio;
	load->in_flight++;
	return 0;
}

int load_start(struct load *load, const struct load_plan *plan, uint64_t now_ns)
{
	if (load->running)
		return -EBUSY;
	if (!plan->block_count || !plan->depth || !plan->step || plan->first_block >= load->records.count ||
	    plan->block_count - 1 > (load->records.count - 1 - plan->first_block) / plan->step)
		return -EINVAL;
	load->plan = *plan;
	load->running = true;
	load->next_ns = now_ns;
	load->end_ns = now_ns + plan->duration_ns;
	for (unsigned i = 0; i < 3; i++)
		load->random[i] = (unsigned short)(plan->seed >> (16 * i));
	/* Seeds that differ little start far apart. */
	for (unsigned i = 0; i < 8; i++)
		nrand48(load->random);
	return 0;
}

bool load_run(struct load *load, uint64_t now_ns)
{
	if (!load->running)
		return false;
	while (now_ns < load->end_ns && load->next_ns <= now_ns && load->in_flight < load->plan.depth) {
		uint64_t block = load->plan.first_block +
				 (uint64_t)nrand48(load->random) % load->plan.block_count * load->plan.step;
		bool write = (unsigned)nrand48(load->random) % 100 >= load->plan.read_percent;

		/* A block that is being written is left out, that is no error. */
		if (load_submit(load, write, block, 0, now_ns) == -ENODEV)
			load->counts.write_errors++;
		load->next_ns += load->plan.interval_ns;
	}
	/* What a stall held back is not made up for in one burst. */
	if (load->next_ns < now_ns)
		load->next_ns = now_ns;
	if (now_ns < load->end_ns || load->in_flight)
		return false;
	load->running = false;
	return true;
}

void load_stop(struct load *load, uint64_t now_ns)
{
	if (load->running && load->end_ns > now_ns)
		load->end_ns = now_ns;
}

uint64_t load_deadline_ns(const struct load *load)
{
	if (!load->running)
		return KERNEL_NEVER;
	/* Full: the next completion brings us back. */
	if (load->in_flight >= load->plan.depth)
		return KERNEL_NEVER;
	return load->next_ns < load->end_ns ? load->next_ns : load->end_ns;
}

static void write_ended(struct load *load, const struct load_bio *bio, int error, uint64_t now_ns)
{
	struct block_record *record = &load->records.entries[bio->block];

	load->busy[bio->block] = false;
	if (now_ns - bio->begin_ns > load->counts.write_wait_max_ns)
		load->counts.write_wait_max_ns = now_ns - bio->begin_ns;
	if (error) {
		load->counts.write_errors++;
		return;
	}
	load->counts.writes++;
	record->acknowledged_begin_ns = bio->begin_ns;
	record->acknowledged_end_ns = now_ns;
	record->acknowledged = bio->tag & ((UINT64_C(1) << BLOCK_NODE_SHIFT) - 1);
}

bool load_done(struct load *load, const struct kernel_output *output, uint64_t now_ns,
	       struct load_end *ret_end)
{
	struct load_bio **link = &load->bios, *bio;

	while (*link && (*link)->id != output->bio.id)
		link = &(*link)->next;
	bio = *link;
	if (!bio)
		return false;
	*link = bio->next;
	load->in_flight--;
	memset(ret_end, 0, sizeof(*ret_end));
	ret_end->command = bio->command;
	ret_end->write = bio->write;
	ret_end->error = output->bio.error;
	ret_end->wait_ns = now_ns - bio->begin_ns;
	if (bio->write) {
		write_ended(load, bio, output->bio.error, now_ns);
	} else if (output->bio.error) {
		load->counts.read_errors++;
	} else {
		load->counts.reads++;
		ret_end->tag = output->bio.tag;
		ret_end->bad = leg_tag_is_raw(output->bio.tag);
		load->counts.bad_reads += ret_end->bad;
	}
	free(bio);
	return true;
}

uint64_t load_oldest_wait_ns(const struct load *load, uint64_t now_ns)
{
	uint64_t oldest = 0;

	for (const struct load_bio *bio = load->bios; bio; bio = bio->next)
		if (bio->write && now_ns - bio->begin_ns > oldest)
			oldest = now_ns - bio->begin_ns;
	return oldest;
}
