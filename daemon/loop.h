/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shell around the core: callbacks become events, effects become calls of ports, in the order of the
 * core. */
#ifndef DAEMON_LOOP_H
#define DAEMON_LOOP_H

#include <stdbool.h>

#include "daemon/options.h"
#include "daemon/port/run_dir.h"

struct loop;

/*
 * Make the core and open all ports; nothing happens before loop_run(). `run_dir` is borrowed, with what it
 * said at opening. Once a process: signals belong to it. Returns 0, or a negative errno; why is in the log.
 */
int loop_open(const struct options *options, node_id_t node, struct run_dir *run_dir, bool run_state_lost,
	      struct loop **ret_loop);

/* Run until told to stop (SIGTERM, SIGINT). Returns true after an orderly stop, false when the daemon had to
 * give up. */
bool loop_run(struct loop *loop);

/* Close all ports, then the core. NULL is allowed. */
void loop_close(struct loop *loop);

#endif
