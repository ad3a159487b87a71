/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of the daemon, over libqb: syslog (by syslog_socket.h, so that a full /dev/log never blocks the I/O
 * path of the host), stderr for -D, and a flight recorder in shared memory that is always on.
 *
 * The functions are for any thread, unless said otherwise.
 */
#ifndef DAEMON_PORT_LOG_H
#define DAEMON_PORT_LOG_H

#include <stdbool.h>
#include <syslog.h>

/*
 * Start logging. `to_stderr`: all down to LOG_DEBUG goes to stderr, nothing to syslog. Otherwise warnings and
 * errors go to both until log_started(): somebody may be watching the start. Main thread, once; before it,
 * log_write() goes nowhere. Returns 0, or -ENOMEM.
 */
int log_start(bool to_stderr);

/* The start is over: without `to_stderr` nothing more goes to stderr. Main thread. */
void log_started(void);

/* Close all targets. Main thread. */
void log_stop(void);

/* `priority` is LOG_ERR .. LOG_DEBUG of syslog(3). Never blocks; a line longer than 500 bytes is cut. */
void log_write(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Write the flight recorder to a file, in the form that qb-blackbox(8) and `mirrorlogctl dump` read.
 * Main thread. Returns 0 or a negative errno. */
int log_dump(const char *path);

#endif
