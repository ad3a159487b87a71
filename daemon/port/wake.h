/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waking the kernel's worker of a mirror by reading one block of it (hazard B1). Such a read hangs, and
 * cannot be killed, as long as the mirror is suspended or its log does not answer. A thread that hangs so
 * would keep a daemon that was killed from ever being gone, and the mirror waits for the next daemon: so each
 * read has a process of its own, which holds no descriptor of the daemon and is nobody's child.
 *
 * All functions are for the thread of the loop.
 */
#ifndef DAEMON_PORT_WAKE_H
#define DAEMON_PORT_WAKE_H

#include <stdint.h>

#include <qb/qbloop.h>

#define WAKE_READS_MAX 64 /* hanging or running, of all mirrors */

struct wakes;

struct wakes *wakes_new(qb_loop_t *loop);

/*
 * Read the block at `sector` of the device, through the kernel and not from a cache. While a read of that
 * block is under way it is done once more after it, however often it is asked for. Returns 0, -EBUSY when
 * WAKE_READS_MAX are under way, or another negative errno. `scratch_dir` must stay valid until wakes_free().
 */
int wakes_read(struct wakes *wakes, uint32_t major, uint32_t minor, uint64_t sector, const char *scratch_dir);

/* Reads under way. */
unsigned wakes_count(const struct wakes *wakes);

/* Returns at once; reads that hang go on alone. NULL is allowed. */
void wakes_free(struct wakes *wakes);

#endif
