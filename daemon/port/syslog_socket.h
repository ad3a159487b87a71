/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines for syslog that never wait. syslog(3) blocks when nobody empties /dev/log, and so does, sooner or
 * later, whoever waits for a thread that calls it; the daemon is in the path of the I/O that the reader of
 * /dev/log may be waiting for. Here a line that does not fit is dropped and counted.
 */
#ifndef DAEMON_PORT_SYSLOG_SOCKET_H
#define DAEMON_PORT_SYSLOG_SOCKET_H

#include <stdint.h>
#include <time.h>

struct syslog_socket {
	int fd; /* -1: not connected */
	uint64_t dropped;
	time_t connect_at; /* of the monotonic clock: no attempt before */
};

#define SYSLOG_SOCKET_PATH "/dev/log"

void syslog_socket_init(struct syslog_socket *log);

/* `priority` is one of syslog(3), without facility: it is a daemon's. `path` is SYSLOG_SOCKET_PATH but in
 * tests. One thread at a time. */
void syslog_socket_write(struct syslog_socket *log, const char *path, int priority, const char *line);

void syslog_socket_close(struct syslog_socket *log);

#endif
