/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run directory: what must survive the daemon but not the boot (hazards A10, A13).
 *
 *   boot            the boot id, and whether the state below is intact
 *   in-hand         numbers of the kernel's requests that are not answered yet (in_hand.h)
 *   LOG/meta        uuid, region count and the core's own bytes; replaced by rename(2)
 *   LOG/held.LUID   one bit a region, RUN_HELD of that instance (LUID: 16 hexadecimal digits)
 *   LOG/marked, unsynced, ghost, failed, work     one bit a region each
 *
 *   writing.LOG     locked while a write of its log device is in flight (write_lock.h)
 *   copying.LOG     locked while a region of it is copied by EFFECT_REPAIR
 *   flushing.LOG    locked while its legs are flushed by EFFECT_LEGS_FLUSH
 *
 * LOG is the XXH3 of the uuid, 32 hexadecimal digits: a uuid may hold any byte but NUL. Nothing is synced to
 * a disk: the content only has to outlive the process.
 *
 * Bit files are mapped shared. They are sparse, and a full tmpfs would answer the first write to a hole with
 * SIGBUS: before the first bit of RUN_DIR_CHUNK_BYTES is set, the chunk is allocated with posix_fallocate(3),
 * one system call where a page fault would come anyway, and once. All else is memory. Clearing never
 * allocates.
 *
 * When a change cannot be kept (no space), the directory is flagged as broken in place, which needs no space:
 * a daemon that starts after that knows that its state is lost.
 */
#ifndef DAEMON_PORT_RUN_DIR_H
#define DAEMON_PORT_RUN_DIR_H

#include "daemon/port/port.h"

#define RUN_DIR_CHUNK_BYTES 4096u

struct run_dir;

/*
 * Open the directory, make it (0700, its parents must exist) if it is not there. State of another boot is
 * removed.
 * `*ret_state_lost`: there is state of this boot, but it is unreadable or was flagged as broken; what can be
 * read is still told by run_dir_load(). Returns 0 or a negative errno; -EBUSY: another daemon uses it.
 */
int run_dir_open(const char *path, struct run_dir **ret_dir, bool *ret_state_lost);

/*
 * Was nothing of this boot there? The first daemon of a boot finds it so, and any daemon after somebody
 * removed the directory: what other nodes know of this one in this boot tells which.
 */
bool run_dir_is_new(const struct run_dir *dir);

/* Number of this boot, never 0: core_config.boot_id. */
uint64_t run_dir_boot_id(const struct run_dir *dir);

/* Tell EVENT_RUN_LOG of each log, from inside this call, before it returns. */
void run_dir_load(struct run_dir *dir, const struct event_sink *sink);

/*
 * EFFECT_RUN_META, EFFECT_RUN_BITS, EFFECT_RUN_DROP; all need effect->uuid. A meta with fewer regions than
 * the last one clears the bits behind them; bits may be set beyond the region count of the meta (a table of
 * another size is about to be resumed). Done on return. Returns 0, or a negative errno when the change could
 * not be kept: the directory is flagged as broken (and that is logged, once).
 */
int run_dir_perform(struct run_dir *dir, const struct effect *effect);

/* Unmap and close; everything stays on disk. NULL is allowed. */
void run_dir_close(struct run_dir *dir);

#endif
