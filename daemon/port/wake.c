/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "daemon/port/block_device.h"
#include "daemon/port/port.h"

#define WAKE_STACK_BYTES (256u * 1024)
#define SECTOR_BYTES	 512u

struct wake {
	LIST_ENTRY(wake) entry;
	struct wakes *wakes;
	uint32_t major, minor;
	uint64_t sector;
	const char *scratch_dir;
	bool again;
};

/* Shared by the loop and the threads; freed by the last of them. */
struct wakes {
	pthread_mutex_t lock;
	LIST_HEAD(, wake) list;
	unsigned count;
	bool closed;
};

struct wakes *wakes_new(void)
{
	struct wakes *wakes = port_alloc(sizeof(*wakes));

	pthread_mutex_init(&wakes->lock, NULL);
	LIST_INIT(&wakes->list);
	return wakes;
}

/* What the read gives, or whether it fails, does not matter: it passed the mirror's worker. */
static void read_block(const struct wake *wake)
{
	uint64_t size_bytes, offset_bytes = wake->sector * SECTOR_BYTES;
	uint32_t block_bytes;
	void *buffer;
	int fd;

	if (block_device_open(wake->major, wake->minor, O_RDONLY | O_DIRECT, wake->scratch_dir, &fd))
		return;
	if (!block_device_geometry(fd, &size_bytes, &block_bytes)) {
		buffer = block_device_buffer(block_bytes);
		if (buffer)
			(void)block_device_read(fd, buffer, block_bytes,
						offset_bytes / block_bytes * block_bytes);
		free(buffer);
	}
	close(fd);
}

/* True when the wake has to be done again; else it is gone. */
static bool wake_ended(struct wake *wake)
{
	struct wakes *wakes = wake->wakes;
	bool again, last;

	pthread_mutex_lock(&wakes->lock);
	again = wake->again && !wakes->closed;
	wake->again = false;
	if (!again) {
		LIST_REMOVE(wake, entry);
		wakes->count--;
	}
	last = !again && wakes->closed && wakes->count == 0;
	pthread_mutex_unlock(&wakes->lock);
	if (!again)
		free(wake);
	if (last) {
		pthread_mutex_destroy(&wakes->lock);
		free(wakes);
	}
	return again;
}

static void *wake_main(void *context)
{
	struct wake *wake = context;

	/* Without this call (Linux before 5.9) a hanging read keeps the daemon's descriptors open, nothing
	 * worse. */
	(void)close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_UNSHARE);
	do {
		read_block(wake);
	} while (wake_ended(wake));
	return NULL;
}

static int wake_spawn(struct wake *wake)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, WAKE_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attributes, wake_main, wake);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (!error)
		pthread_setname_np(thread, "wake");
	return -error;
}

/* True when a read of that device is under way and was told to do one more. */
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
	int error = 0;

	pthread_mutex_lock(&wakes->lock);
	if (!wake_repeat(wakes, major, minor, sector)) {
		if (wakes->count == WAKE_READS_MAX) {
			error = -EBUSY;
		} else {
			wake = port_alloc(sizeof(*wake));
			*wake = (struct wake){
			    .wakes = wakes,
			    .major = major,
			    .minor = minor,
			    .sector = sector,
			    .scratch_dir = scratch_dir,
			};
			error = wake_spawn(wake);
			if (error) {
				free(wake);
			} else {
				LIST_INSERT_HEAD(&wakes->list, wake, entry);
				wakes->count++;
			}
		}
	}
	pthread_mutex_unlock(&wakes->lock);
	return error;
}

void wakes_free(struct wakes *wakes)
{
	bool last;

	if (!wakes)
		return;
	pthread_mutex_lock(&wakes->lock);
	wakes->closed = true;
	last = wakes->count == 0;
	pthread_mutex_unlock(&wakes->lock);
	if (last) {
		pthread_mutex_destroy(&wakes->lock);
		free(wakes);
	}
}
