/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all ports share. A port owns one library or one kind of I/O. It has a xxx_perform() or xxx_reply()
 * that takes effects of the core, and answers with events.
 *
 * Rules that hold for every port:
 * - All functions are called from the thread of the loop. Threads of a port never call back; what they finish
 * comes back through worker.h and is told from a callback of the loop.
 * - An event is never told from inside a call of the loop's owner (no re-entry into core_step()), unless a
 * function says so.
 * - What an effect points to is copied before the call returns.
 * - An effect that has an answering event gets exactly one, also when it fails at once.
 */
#ifndef DAEMON_PORT_PORT_H
#define DAEMON_PORT_PORT_H

#include <pthread.h>
#include <stddef.h>

#include <qb/qbloop.h>

#include "daemon/core/core.h"
#include "daemon/port/event_sink.h"

/* What most ports need at start. Borrowed texts must live as long as the port. */
struct port_config {
	qb_loop_t *loop;
	struct event_sink sink; /* told from callbacks of the loop */
	const char *run_dir;	/* absolute; scratch device nodes may be made there */
	const char *tables_dir; /* NULL, or a directory that stands in for device-mapper (device_mapper.h) */
};

/* calloc(3) for small objects of our own. Ends the process when there is no memory: with an answer owed and
 * nothing to keep it in, a restart from the run directory is the only state that is known to be right. Any
 * thread. */
void *port_alloc(size_t size_bytes);

/* Start a joinable thread with all signals blocked: they are the loop's. Its stack is small, for it is locked
 * in memory like all of the daemon. Returns 0 or a negative errno. */
int port_thread_start(void *(*run_fn)(void *argument), void *argument, pthread_t *ret_thread);

/* Copy a uuid, cut where it does not fit. Any thread. */
void port_copy_uuid(char ret_uuid[LOG_UUID_BYTES], const char *uuid);

#endif
