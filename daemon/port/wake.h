/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waking the kernel's worker of a mirror by reading one block of it (hazard B1). Such a read hangs as long as
 * the mirror is suspended, or its log does not answer, so it has a thread of its own which shares no
 * descriptors with the daemon: the daemon's locks and devices are released when it exits, even while the read
 * still hangs (hazard A9).
 *
 * All functions are for the thread of the loop.
 */
#ifndef DAEMON_PORT_WAKE_H
#define DAEMON_PORT_WAKE_H

#include <stdint.h>

#define WAKE_READS_MAX 64 /* hanging or running, of all mirrors */

struct wakes;

struct wakes *wakes_new(void);

/*
 * Read the block at `sector` of the device, through the kernel and not from a cache. While a read of that
 * device is under way it is done once more after it, however often it is asked for. Returns 0, or -EBUSY when
 * WAKE_READS_MAX are under way, or another negative errno. `scratch_dir` must stay valid until the process
 * ends.
 */
int wakes_read(struct wakes *wakes, uint32_t major, uint32_t minor, uint64_t sector, const char *scratch_dir);

/* Returns at once; reads that hang keep what they need. NULL is allowed. */
void wakes_free(struct wakes *wakes);

#endif
