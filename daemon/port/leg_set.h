/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The open legs of one mirror. Blocks; belongs to one thread. */
#ifndef DAEMON_PORT_LEG_SET_H
#define DAEMON_PORT_LEG_SET_H

#include "daemon/port/mirror_table.h"

struct leg_set {
	struct mirror_table table;
	const char *scratch_dir;
	/* -1: not open. Read-only ones do for flushing; closing one that could write makes udev look at the
	 * device. */
	int read_fds[MIRROR_LEGS_MAX];
	int write_fds[MIRROR_LEGS_MAX];
};

/* Nothing is opened yet. `scratch_dir` is borrowed. */
void leg_set_init(struct leg_set *legs, const struct mirror_table *table, const char *scratch_dir);
void leg_set_close(struct leg_set *legs);

/* Flush the write caches of all legs. Every leg is tried; returns 0 or the first negative errno. */
int leg_set_flush(struct leg_set *legs);

/*
 * Copy sectors of the mirror from the first leg to all others, in pieces, with O_DIRECT; then flush all.
 * Returns 0 or a negative errno; -ERANGE: beyond the end of the mirror.
 */
#define LEG_SET_PIECE_BYTES (1024u * 1024)
int leg_set_copy(struct leg_set *legs, uint64_t first_sector, uint64_t sectors);

#endif
