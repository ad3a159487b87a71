/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The legs' I/O of a stand-in kernel, on real block devices with O_DIRECT.
 *
 * Each operation is carried out at a time of its own, a little after it was asked for: so that a node that
 * dies has often written one leg and not the other.
 */
#ifndef CLUSTER_TESTS_NETNS_LEG_IO_H
#define CLUSTER_TESTS_NETNS_LEG_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "tests/model/kernel.h"

struct leg {
	int fd;
	uint64_t offset_bytes;
	bool failing; /* every operation ends with -EIO */
};

struct leg_operation;

struct leg_io {
	TAILQ_HEAD(leg_operations, leg_operation) operations; /* by due time */
	bool held;					      /* nothing is carried out */
	uint64_t delay_max_ns;
	unsigned short random[3]; /* of nrand48(3) */
	void *raw;		  /* contents that are no tag, on their way from a leg to another */
	unsigned raw_next;
};

/* Returns 0 or -ENOMEM. */
int leg_io_init(struct leg_io *io, uint64_t seed, uint64_t delay_max_ns);
void leg_io_deinit(struct leg_io *io);

/* Open "MAJ:MIN" or a path. Returns 0 or a negative errno. */
int leg_open(struct leg *leg, const char *name, uint64_t offset_bytes);
void leg_close(struct leg *leg);

/* Is this value, as a read brings it, one that no block_encode() made? */
bool leg_tag_is_raw(uint64_t tag);

/* Take a KERNEL_LEG_* output; `leg` must stay until nothing is under way. Returns 0 or -ENOMEM. */
int leg_io_add(struct leg_io *io, const struct kernel_output *output, struct leg *leg,
	       uint32_t blocks_per_region, uint64_t now_ns);

/* Carry out what is due and tell the kernel. Returns how many operations ended. */
unsigned leg_io_run(struct leg_io *io, struct kernel *kernel, uint64_t now_ns);

/* Is an operation under way on this leg? */
bool leg_io_busy(const struct leg_io *io, const struct leg *leg);

/* KERNEL_NEVER when nothing is under way. */
uint64_t leg_io_deadline_ns(const struct leg_io *io);

#endif
