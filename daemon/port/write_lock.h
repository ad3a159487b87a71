/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a write of a log device, a repair's copy, or a flush of the legs in flight on this host? A killed
 * process ends with its last thread, and a write that hangs keeps that one (hazard A14): its successor has to
 * know, log by log, for what it waits for may wait for the successor (hazard B4). So each is done under a
 * flock(2) on a file of the run directory, `writing.`, `copying.` or `flushing.` and the XXH3 of the uuid;
 * the kernel gives the lock back with the descriptors of the process, not earlier. Any thread.
 */
#ifndef DAEMON_PORT_WRITE_LOCK_H
#define DAEMON_PORT_WRITE_LOCK_H

#include <stdbool.h>

#define WRITE_LOCK_NAME_BYTES 42 /* with the NUL */

enum write_lock_kind {
	WRITE_LOCK_DEVICE, /* a write of the log device */
	WRITE_LOCK_LEGS,   /* a copy from leg to leg */
	WRITE_LOCK_FLUSH,  /* a flush of the legs */
	WRITE_LOCK_KINDS
};

void write_lock_name(enum write_lock_kind kind, const char *uuid, char ret_name[WRITE_LOCK_NAME_BYTES]);
bool write_lock_is_name(const char *name);

/* Returns a descriptor of the log's file, made if needed, or a negative errno. */
int write_lock_open(const char *run_dir, enum write_lock_kind kind, const char *uuid);

/* Waits for whoever holds it. Returns 0 or a negative errno. */
int write_lock_take(int fd);
void write_lock_give(int fd);

/* Does anybody hold it? True also when that cannot be found out. */
bool write_lock_held(const char *run_dir, enum write_lock_kind kind, const char *uuid);

#endif
