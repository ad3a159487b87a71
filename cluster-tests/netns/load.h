/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and writes of one mirror of a stand-in kernel: single ones and a random load, all of them checked and
 * recorded.
 *
 * This node has at most one write in flight to a block, so that "the last write of a node to a block" has a
 * meaning; other nodes may write the same block at the same time.
 */
#ifndef CLUSTER_TESTS_NETNS_LOAD_H
#define CLUSTER_TESTS_NETNS_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster-tests/netns/block_tag.h"
#include "tests/model/kernel.h"

struct load_plan {
	uint64_t seed;
	uint64_t interval_ns; /* between two submissions */
	uint64_t duration_ns;
	uint64_t first_block, block_count, step; /* the blocks first, first + step, first + 2 * step ... */
	unsigned depth;				 /* most I/O in flight */
	unsigned read_percent;
	uint64_t command; /* its end is reported under this number */
};

struct load_counts {
	uint64_t writes, reads; /* completed */
	uint64_t write_errors, read_errors;
	uint64_t bad_reads; /* completed with a content that nobody wrote */
	uint64_t write_wait_max_ns;
};

struct load_bio;

struct load {
	struct kernel *kernel;
	unsigned device;
	uint64_t node;
	uint64_t *next_bio; /* ids of bios are of the whole kernel */
	uint32_t blocks_per_region;
	struct block_records records;
	bool *busy; /* of each block: a write is in flight */
	struct load_bio *bios;
	struct load_counts counts;
	struct load_plan plan;
	bool running;
	uint64_t next_ns, end_ns;
	unsigned in_flight; /* all bios of this mirror */
	unsigned short random[3];
};

/* How a bio ended. */
struct load_end {
	uint64_t command; /* of load_submit(), 0 for a bio of the random load */
	bool write;
	int error;
	bool bad;     /* read: the content is no whole block that somebody wrote */
	uint64_t tag; /* read */
	uint64_t wait_ns;
};

/* Returns 0 or a negative errno. `load` is zeroed by the caller but for kernel, device, node, next_bio and
 * blocks_per_region. */
int load_open(struct load *load, const char *record_path, uint64_t block_count);
void load_close(struct load *load);

/* One read or write for a command. Returns 0, -EBUSY (a write to this block is in flight), -EINVAL, -ENODEV,
 * -ENOMEM. */
int load_submit(struct load *load, bool write, uint64_t block, uint64_t command, uint64_t now_ns);

/* Returns 0, -EBUSY or -EINVAL. */
int load_start(struct load *load, const struct load_plan *plan, uint64_t now_ns);

/* Submit what is due of the random load. Returns true when that load just came to its end: time over, nothing
 * in flight. */
bool load_run(struct load *load, uint64_t now_ns);

/* No more submissions; load_run() tells when all are complete. */
void load_stop(struct load *load, uint64_t now_ns);

uint64_t load_deadline_ns(const struct load *load);

/* A KERNEL_BIO_DONE. Returns false if the bio is not of this mirror. */
bool load_done(struct load *load, const struct kernel_output *output, uint64_t now_ns,
	       struct load_end *ret_end);

/* How long the oldest write in flight waits now, 0 without any. */
uint64_t load_oldest_wait_ns(const struct load *load, uint64_t now_ns);

#endif
