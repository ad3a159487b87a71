/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The legs of mirrors: EFFECT_LEGS_OPEN, _LEGS_FLUSH, _LEGS_CLOSE, EFFECT_REPAIR, EFFECT_WAKE.
 *
 * Legs come from the live table of the log as device-mapper has it at EFFECT_LEGS_OPEN, or when first needed.
 * They are opened when first needed and kept open until EFFECT_LEGS_CLOSE or an error. One thread a log
 * (hazard B4).
 */
#ifndef DAEMON_PORT_LEGS_H
#define DAEMON_PORT_LEGS_H

#include "daemon/port/device_mapper.h"
#include "daemon/port/port.h"

struct legs;

/* `mapper` is closed after the legs, without running the loop in between. Returns 0 or a negative errno. */
int legs_open(const struct port_config *config, struct device_mapper *mapper, struct legs **ret_legs);

/*
 * All need effect->uuid.
 * - EFFECT_LEGS_OPEN: answered by EVENT_LEGS_OPENED, also when there is no such table.
 * - EFFECT_LEGS_FLUSH: answered by EVENT_LEGS_FLUSHED; begun after the call (hazard B7). -ENODEV: no live
 * table of this log, or no device-mapper; else the first error of a leg, every leg having been tried.
 * - EFFECT_REPAIR: answered by EVENT_REPAIRED after the copy is flushed. Sectors are those of the mirror
 * target. -ENODEV as above; -ERANGE: beyond the end of the target.
 * - EFFECT_LEGS_CLOSE: as EFFECT_DEVICE_CLOSE (log_disk.h).
 * - EFFECT_WAKE: no answer. One read of a mirror is under way at any time, and WAKE_READS_MAX (wake.h) of
 * all; each in a process of its own, so that one that hangs holds up nothing, not even the daemon's exit.
 */
#define LEGS_CLOSE_WAIT_MS 100
void legs_perform(struct legs *legs, const struct effect *effect);

/* Close all; waits for flushes and repairs in flight, not for wakes. NULL is allowed. */
void legs_close(struct legs *legs);

#endif
