/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/syslog_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define DATAGRAM_BYTES 700
#define RETRY_S	       1

void syslog_socket_init(struct syslog_socket *log)
{
	*log = (struct syslog_socket){.fd = -1};
}

void syslog_socket_close(struct syslog_socket *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}

/* The reader may be restarted, or not be there yet: try again, but not for each line. */
static bool connected(struct syslog_socket *log, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (log->fd >= 0)
		return true;
	if (now.tv_sec < log->connect_at)
		return false;
	log->connect_at = now.tv_sec + RETRY_S;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	log->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (log->fd >= 0 && connect(log->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		syslog_socket_close(log);
	return log->fd >= 0;
}

/* As RFC 3164 and syslog(3) of the C library have it on the local socket. */
static bool datagram_send(struct syslog_socket *log, const char *path, int priority, const char *line)
{
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	char datagram[DATAGRAM_BYTES];
	time_t now = time(NULL);
	struct tm local;
	int size;

	(void)localtime_r(&now, &local);
	size = snprintf(datagram, sizeof(datagram), "<%d>%s %2d %02d:%02d:%02d mirrorlogd[%d]: %s",
			LOG_DAEMON | priority, months[local.tm_mon], local.tm_mday, local.tm_hour,
			local.tm_min, local.tm_sec, (int)getpid(), line);
	if (size >= (int)sizeof(datagram))
		size = (int)sizeof(datagram) - 1;
	for (int tries = 0; tries < 2 && connected(log, path); tries++) {
		if (send(log->fd, datagram, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) == size)
			return true;
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
			return false;
		/* The reader went away; its successor may be there already. */
		syslog_socket_close(log);
		log->connect_at = 0;
	}
	return false;
}

void syslog_socket_write(struct syslog_socket *log, const char *path, int priority, const char *line)
{
	char text[64];

	if (log->dropped > 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu64 " lines were lost: syslog did not take them",
			       log->dropped);
		if (!datagram_send(log, path, LOG_WARNING, text)) {
			log->dropped++;
			return;
		}
		log->dropped = 0;
	}
	if (!datagram_send(log, path, priority, line))
		log->dropped++;
}
