/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that one living process of this host holds, by a POSIX write lock. */
#ifndef DAEMON_PORT_LOCK_FILE_H
#define DAEMON_PORT_LOCK_FILE_H

#include <sys/types.h>

/*
 * Lock `path` (made if needed, mode 0644) and write "PID\n" into it. The lock is held until *ret_fd, or any
 * other descriptor of that file, is closed by this process. A holder that is dead but cannot finish exiting,
 * because one of its threads hangs in a device, does not count: its file is replaced (hazard A9), and what
 * hangs is known by the lock of write_lock.h. Returns 0;
 * -EEXIST: a living process holds it, *ret_holder is its pid (0: of another pid namespace); or another
 * negative errno.
 */
int lock_file_take(const char *path, int *ret_fd, pid_t *ret_holder);

#endif
