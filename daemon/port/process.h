/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process as the host sees it: memory, OOM score, pid file, background, service manager. */
#ifndef DAEMON_PORT_PROCESS_H
#define DAEMON_PORT_PROCESS_H

#include <qb/qbloop.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * The daemon is in the I/O path of the host: lock memory (as it is touched: MCL_ONFAULT), never wait for I/O
 * to get memory (PR_SET_IO_FLUSHER; threads started later inherit it), last victim of the OOM killer. Call
 * before any thread is started, after process_daemonize(). Each step that fails is logged and skipped: the
 * daemon works without.
 */
void process_protect(void);

/* Give /dev/null to those of stdin, stdout and stderr that the caller had closed: what is opened later would
 * get their numbers, and lines of the log. Returns 0 or a negative errno. */
int process_standard_fds_fill(void);

/*
 * Go to the background: returns in the child only, a session leader with stdin, stdout and stderr still those
 * of the parent, which waits, and every other descriptor closed. Call it before threads and file locks exist
 * (fork(2) keeps neither). Returns 0 or a negative errno.
 *
 * The parent exits when the child calls process_ready() (status 0), process_failed() (that status), or dies
 * (status 1).
 */
int process_daemonize(void);

/* Ready to serve: lets the parent of process_daemonize() exit with 0, then turns stdin, stdout and stderr to
 * /dev/null; tells the service manager READY=1. Also right when process_daemonize() was not called; then the
 * standard descriptors stay. Once. */
void process_ready(void);

/* Let the parent of process_daemonize() exit with `status`; the caller exits too. */
void process_failed(int status);

/* Tell the service manager: a line for its status display; that the daemon stops. No-ops without one. */
void process_status(const char *text);
void process_stopping(void);

/*
 * When the service manager has a watchdog for this process (WATCHDOG_USEC, sd_watchdog_enabled(3)): tell it
 * WATCHDOG=1 now and then from a timer of `loop` (borrowed until process_watchdog_stop()), three times in the
 * time it waits. A loop that does not run says nothing, and the service manager ends the process. No-ops
 * without a watchdog.
 */
void process_watchdog_start(qb_loop_t *loop);
void process_watchdog_stop(void);

/* --- pid file --- */

/*
 * LVM knows that a log daemon runs by a POSIX write lock on its pid file (dm_daemon_is_running() of libdm).
 * Such a lock goes away when any descriptor of the file is closed by the process: nobody else in the daemon
 * may open that file.
 *
 * Locks and writes "PID\n" (mode 0644, close-on-exec). A holder that is dead but cannot finish exiting,
 * because a thread of it hangs in a device, does not count (hazard A9): its file is replaced. Returns 0;
 * -EEXIST: a living daemon holds it, *ret_holder (may be NULL) is its pid; or another negative errno.
 */
int process_pidfile_lock(const char *path, pid_t *ret_holder);

/* Unlink the pid file and drop the lock. No-op without a lock. */
void process_pidfile_unlock(void);

#endif
