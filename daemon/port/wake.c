/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/port/block_device.h"
#include "daemon/port/log.h"
#include "daemon/port/port.h"

#define SECTOR_BYTES	512u
#define BLOCK_BYTES_MAX 65536u

struct wake {
	LIST_ENTRY(wake) entry;
	struct wakes *wakes;
	uint32_t major, minor;
	uint64_t sector;
	const char *scratch_dir;
	int end_fd; /* a pipe: at its end when the reading process is gone */
	bool again;
};

struct wakes {
	qb_loop_t *loop;
	LIST_HEAD(, wake) list;
	unsigned count;
};

struct wakes *wakes_new(qb_loop_t *loop)
{
	struct wakes *wakes = port_alloc(sizeof(*wakes));

	wakes->loop = loop;
	LIST_INIT(&wakes->list);
	return wakes;
}

/* What the read gives, or whether it fails, does not matter: it passed the mirror's worker. */
static void read_block(const struct wake *wake)
{
	static _Alignas(BLOCK_BYTES_MAX) uint8_t buffer[BLOCK_BYTES_MAX];
	uint64_t size_bytes, offset_bytes = wake->sector * SECTOR_BYTES;
	uint32_t block_bytes;
	int fd;

	if (block_device_open(wake->major, wake->minor, O_RDONLY | O_DIRECT, wake->scratch_dir, &fd) ||
	    block_device_geometry(fd, &size_bytes, &block_bytes) || block_bytes > sizeof(buffer))
		return;
	(void)block_device_read(fd, buffer, block_bytes, offset_bytes / block_bytes * block_bytes);
}

/* The handlers are the loop's, whose pipe is that of the daemon. */
static void signals_default(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* In the new process, all signals blocked, of a parent with threads: system calls only, no memory from the
 * heap. */
static void child_run(const struct wake *wake, int end_fd) __attribute__((noreturn));
static void child_run(const struct wake *wake, int end_fd)
{
	pid_t reader;

	dup2(end_fd, STDIN_FILENO); /* closed by its exit */
	if (close_range(STDERR_FILENO + 1, ~0u, 0)) {
		for (int fd = STDERR_FILENO + 1; fd < 65536; fd++) /* Linux before 5.9 */
			close(fd);
	}
	reader = fork();
	if (reader == 0) {
		setsid();
		signals_default();
		prctl(PR_SET_NAME, "mirrorlogd-wake");
		read_block(wake);
	}
	_exit(reader < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* Waits for the process between, which ends at once. Returns 0 or a negative errno. */
static int child_start(const struct wake *wake, int end_fd)
{
	sigset_t all, before;
	int status = 0, error;
	pid_t child;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	child = fork();
	if (child == 0)
		child_run(wake, end_fd);
	error = errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (child < 0)
		return -error;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status ? -EAGAIN : 0;
}

static int wake_start(struct wake *wake);

static void wake_end(struct wake *wake)
{
	LIST_REMOVE(wake, entry);
	wake->wakes->count--;
	free(wake);
}

static int32_t wake_ended(int32_t fd, int32_t revents, void *context)
{
	struct wake *wake = context;
	int error = 0;

	(void)revents;
	qb_loop_poll_del(wake->wakes->loop, fd);
	close(fd);
	if (wake->again) {
		wake->again = false;
		error = wake_start(wake);
		if (!error)
			return 0;
		log_write(LOG_NOTICE, "cannot wake a mirror once more: %s", strerror(-error));
	}
	wake_end(wake);
	return 0;
}

static int wake_start(struct wake *wake)
{
	int ends[2], error;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	error = child_start(wake, ends[1]);
	close(ends[1]);
	if (!error)
		error = qb_loop_poll_add(wake->wakes->loop, QB_LOOP_LOW, ends[0], POLLIN, wake, wake_ended);
	if (error) {
		close(ends[0]);
		return error;
	}
	wake->end_fd = ends[0];
	return 0;
}

/* True when a read of that block is under way and was told to do one more. */
static bool wake_repeat(struct wakes *wakes, uint32_t major, uint32_t minor, uint64_t sector)
{
	struct wake *wake;

	LIST_FOREACH(wake, &wakes->list, entry)
	{
		if (wake->major == major && wake->minor == minor && wake->sector == sector) {
			wake->again = true;
			return true;
		}
	}
	return false;
}

int wakes_read(struct wakes *wakes, uint32_t major, uint32_t minor, uint64_t sector, const char *scratch_dir)
{
	struct wake *wake;
	int error;

	if (wake_repeat(wakes, major, minor, sector))
		return 0;
	if (wakes->count == WAKE_READS_MAX)
		return -EBUSY;
	wake = port_alloc(sizeof(*wake));
	*wake = (struct wake){
	    .wakes = wakes,
	    .major = major,
	    .minor = minor,
	    .sector = sector,
	    .scratch_dir = scratch_dir,
	};
	error = wake_start(wake);
	if (error) {
		free(wake);
		return error;
	}
	LIST_INSERT_HEAD(&wakes->list, wake, entry);
	wakes->count++;
	return 0;
}

unsigned wakes_count(const struct wakes *wakes)
{
	return wakes->count;
}

void wakes_free(struct wakes *wakes)
{
	struct wake *wake;

	if (!wakes)
		return;
	while ((wake = LIST_FIRST(&wakes->list))) {
		qb_loop_poll_del(wakes->loop, wake->end_fd);
		close(wake->end_fd);
		wake_end(wake);
	}
	free(wakes);
}
