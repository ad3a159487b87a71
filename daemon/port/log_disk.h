/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and writes of log devices: EFFECT_DEVICE_READ, _WRITE, _WAIT, _CLOSE, and EFFECT_REPAIR_WAIT. All but
 * _CLOSE need effect->uuid. (The bytes on the device are protocol/log_device.h.)
 *
 * One thread a log, so that a slow or hung disk stops its own log only (hazard B4). Plain pread and pwrite
 * with O_DIRECT, then fdatasync: no io_uring and no aio, whose requests outlive the process and with it the
 * writer's lock (hazard A14). Operations of one log are done, and answered, in the order in which they came.
 */
#ifndef DAEMON_PORT_LOG_DISK_H
#define DAEMON_PORT_LOG_DISK_H

#include "daemon/port/port.h"

struct log_disks;

/* Returns 0 or a negative errno. */
int log_disks_open(const struct port_config *config, struct log_disks **ret_disks);

/*
 * - EFFECT_DEVICE_READ: answered by EVENT_DEVICE_READ with min(size, size of the device) bytes. block_bytes
 * is the logical block of the device, or 4096 when that is larger and `size` rounded up to it is on the
 * device.
 * - EFFECT_DEVICE_WRITE: answered by EVENT_DEVICE_WRITTEN when durable. -EBADF: no read opened the device
 * before.
 * - EFFECT_DEVICE_WAIT: answered by EVENT_DEVICE_WRITTEN when no write of a killed daemon is in flight
 * (write_lock.h).
 * - EFFECT_REPAIR_WAIT: answered by EVENT_REPAIRED, -ECANCELED, when no copy of a killed daemon is in flight.
 * - EFFECT_DEVICE_CLOSE: no answer. The descriptor is closed on return, or, when close(2) itself takes longer
 * than LOG_DISK_CLOSE_WAIT_MS, as soon as it can be.
 */
#define LOG_DISK_CLOSE_WAIT_MS 100
void log_disks_perform(struct log_disks *disks, const struct effect *effect);

/* Close all. Waits for what is in flight (a write that may still hit the device must not be left behind by an
 * orderly stop); what is finished meanwhile is not told. NULL is allowed. */
void log_disks_close(struct log_disks *disks);

#endif
