/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "daemon/port/lock_file.h"
#include "daemon/port/log.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 /* Linux 5.6 */
#endif

/* The process has one life, one parent and one pid file. */
static struct {
	qb_loop_t *loop; /* the watchdog's, borrowed; NULL: no watchdog */
	qb_loop_timer_handle watchdog_timer;
	uint64_t watchdog_interval_ns;
	bool ready_missed; /* the service manager did not take READY=1 */
	int ready_fd;	   /* the parent of process_daemonize() reads its other end; 0: none */
	int pidfile_fd;
	char *pidfile_path; /* NULL: not locked */
} process;

static void oom_protect(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000\n", 6) < 0)
		log_write(LOG_WARNING, "the OOM killer may choose this daemon: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

void process_protect(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		log_write(LOG_WARNING, "cannot lock memory: %s", strerror(errno));
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_write(LOG_WARNING,
			  "memory may have to wait for I/O of our own mirrors (PR_SET_IO_FLUSHER): %s",
			  strerror(errno));
	oom_protect();
}

int process_standard_fds_fill(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

/* Until the child has said how it went, or is gone. */
static void parent_wait(int fd, pid_t child) __attribute__((noreturn));
static void parent_wait(int fd, pid_t child)
{
	unsigned char status = EXIT_FAILURE;
	ssize_t size;

	do {
		size = read(fd, &status, 1);
	} while (size < 0 && errno == EINTR);
	if (size != 1) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		status = EXIT_FAILURE;
	}
	_exit(status);
}

int process_daemonize(void)
{
	int ends[2];
	pid_t child;

	/* Whoever waits for the end of a pipe or for a lock that the caller had open would wait for us. */
	(void)close_range(STDERR_FILENO + 1, ~0u, 0);
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	child = fork();
	if (child < 0) {
		int error = -errno;

		close(ends[0]);
		close(ends[1]);
		return error;
	}
	if (child > 0) {
		close(ends[1]);
		parent_wait(ends[0], child);
	}
	close(ends[0]);
	process.ready_fd = ends[1];
	setsid();
	if (chdir("/"))
		return -errno;
	return 0;
}

static void parent_release(int status)
{
	unsigned char byte = (unsigned char)status;

	if (process.ready_fd <= 0)
		return;
	while (write(process.ready_fd, &byte, 1) < 0 && errno == EINTR)
		;
	close(process.ready_fd);
	process.ready_fd = 0;
}

static void standard_fds_close(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++)
		dup2(fd, standard);
	if (fd > STDERR_FILENO)
		close(fd);
}

/*
 * The datagram of sd_notify(3), which waits while the service manager does not read: that one may wait for
 * I/O that waits for this daemon. Returns false when it was not taken.
 */
static bool notify(const char *state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path == NULL ? 0 : strlen(path);
	ssize_t sent;
	int fd;

	if (length == 0 || length >= sizeof(address.sun_path))
		return true;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
	return sent >= 0;
}

#ifdef HAVE_SYSTEMD
static uint64_t watchdog_patience_us(void)
{
	uint64_t patience_us = 0;

	return sd_watchdog_enabled(0, &patience_us) > 0 ? patience_us : 0;
}
#else
static uint64_t watchdog_patience_us(void)
{
	return 0;
}
#endif

void process_ready(void)
{
	if (process.ready_fd > 0) {
		parent_release(EXIT_SUCCESS);
		standard_fds_close();
	}
	process.ready_missed = !notify("READY=1");
}

void process_failed(int status)
{
	parent_release(status);
}

void process_status(const char *text)
{
	char state[256];

	snprintf(state, sizeof(state), "STATUS=%s", text);
	(void)notify(state);
}

void process_stopping(void)
{
	(void)notify("STOPPING=1");
}

static void watchdog_ping(void *data)
{
	int error;

	(void)data;
	if (process.ready_missed)
		process.ready_missed = !notify("READY=1");
	(void)notify("WATCHDOG=1");
	/* High: a loop that has much to do runs all the same. */
	error = qb_loop_timer_add(process.loop, QB_LOOP_HIGH, process.watchdog_interval_ns, NULL,
				  watchdog_ping, &process.watchdog_timer);
	if (error != 0)
		log_write(LOG_ERR, "no timer for the watchdog, it will end this daemon: %s",
			  strerror(-error));
}

void process_watchdog_start(qb_loop_t *loop)
{
	uint64_t patience_us = watchdog_patience_us();

	if (patience_us == 0 || process.loop != NULL)
		return;
	process.loop = loop;
	/* A third: one ping that is late does no harm. */
	process.watchdog_interval_ns = patience_us * 1000 / 3;
	watchdog_ping(NULL);
}

void process_watchdog_stop(void)
{
	if (process.loop == NULL)
		return;
	(void)qb_loop_timer_del(process.loop, process.watchdog_timer);
	process.loop = NULL;
}

int process_pidfile_lock(const char *path, pid_t *ret_holder)
{
	pid_t holder;
	int error;

	if (process.pidfile_path)
		return -EALREADY;
	process.pidfile_path = strdup(path);
	if (!process.pidfile_path)
		return -ENOMEM;
	error = lock_file_take(path, &process.pidfile_fd, &holder);
	if (error) {
		free(process.pidfile_path);
		process.pidfile_path = NULL;
	}
	if (ret_holder)
		*ret_holder = holder;
	return error;
}

void process_pidfile_unlock(void)
{
	if (!process.pidfile_path)
		return;
	unlink(process.pidfile_path);
	close(process.pidfile_fd);
	free(process.pidfile_path);
	process.pidfile_path = NULL;
}
