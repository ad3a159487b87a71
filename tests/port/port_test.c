/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/loop.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

static void tables_keep(struct seen_event *seen, const struct event *event)
{
	assert_true(event->tables.count <= 16);
	seen->table_count = event->tables.count;
	for (size_t i = 0; i < event->tables.count; i++) {
		seen->tables[i] = event->tables.tables[i];
		snprintf(seen->uuids[i], sizeof(seen->uuids[i]), "%s", event->tables.tables[i].uuid);
		seen->tables[i].uuid = seen->uuids[i];
	}
}

static void post(void *context, const struct event *event)
{
	struct port_test *test = context;
	struct seen_event *seen = &test->events[test->event_count];

	assert_true(test->event_count < PORT_TEST_EVENTS_MAX);
	test->event_count++;
	seen->event = *event;
	if (event->type == EVENT_DEVICE_READ && event->io.size > 0) {
		seen->bytes = malloc(event->io.size);
		assert_non_null(seen->bytes);
		memcpy(seen->bytes, event->io.bytes, event->io.size);
	}
	if (event->type == EVENT_TABLES)
		tables_keep(seen, event);
	if (test->event_count == test->wanted)
		qb_loop_stop(test->config.loop);
}

void port_test_called(void *context)
{
	struct port_test *test = context;

	if (++test->calls == test->calls_wanted)
		qb_loop_stop(test->config.loop);
}

int port_test_setup(void **state)
{
	struct port_test *test = calloc(1, sizeof(*test));

	assert_non_null(test);
	test->events = calloc(PORT_TEST_EVENTS_MAX, sizeof(*test->events));
	assert_non_null(test->events);
	strcpy(test->dir, "/tmp/mirrorlogd-test-XXXXXX");
	assert_non_null(mkdtemp(test->dir));
	test->config.loop = qb_loop_create();
	assert_non_null(test->config.loop);
	test->config.sink = (struct event_sink){.post = post, .context = test};
	test->config.run_dir = test->dir;
	*state = test;
	return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status;
	(void)type;
	(void)where;
	return remove(path);
}

int port_test_teardown(void **state)
{
	struct port_test *test = *state;

	for (size_t i = 0; i < test->event_count; i++)
		free(test->events[i].bytes);
	qb_loop_destroy(test->config.loop);
	nftw(test->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(test->events);
	free(test);
	return 0;
}

static void timed_out(void *context)
{
	struct port_test *test = context;

	test->timed_out = true;
	qb_loop_stop(test->config.loop);
}

static void run_bounded(struct port_test *test, uint64_t timeout_ns)
{
	qb_loop_timer_handle timer;

	test->timed_out = false;
	assert_int_equal(
	    qb_loop_timer_add(test->config.loop, QB_LOOP_LOW, timeout_ns, test, timed_out, &timer), 0);
	qb_loop_run(test->config.loop);
	if (!test->timed_out)
		qb_loop_timer_del(test->config.loop, timer);
}

void port_test_run(struct port_test *test, size_t event_count)
{
	test->wanted = event_count;
	if (test->event_count < event_count)
		run_bounded(test, PORT_TEST_TIMEOUT_NS);
	test->wanted = 0;
	assert_true(test->event_count >= event_count);
}

void port_test_run_calls(struct port_test *test, unsigned calls)
{
	test->calls_wanted = calls;
	if (test->calls < calls)
		run_bounded(test, PORT_TEST_TIMEOUT_NS);
	test->calls_wanted = 0;
	assert_true(test->calls >= calls);
}

void port_test_run_for(struct port_test *test, unsigned milliseconds)
{
	run_bounded(test, milliseconds * UINT64_C(1000000));
}

const char *port_test_path(const struct port_test *test, const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", test->dir, name);
	return path;
}

void port_test_write(const struct port_test *test, const char *name, const void *bytes, size_t size)
{
	int fd = open(port_test_path(test, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

void port_test_read(const struct port_test *test, const char *name, void *ret_bytes, size_t size)
{
	int fd = open(port_test_path(test, name), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, ret_bytes, size), size);
	close(fd);
}

uint64_t port_test_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void port_test_closed(const char *target, unsigned count, uint64_t begin_ns, unsigned wait_ms)
{
	uint64_t end_ns = begin_ns + PORT_TEST_TIMEOUT_NS;
	bool in_time = port_test_now_ns() - begin_ns < wait_ms * UINT64_C(1000000);

	while (!in_time && port_test_open_count(target) != count && port_test_now_ns() < end_ns)
		poll(NULL, 0, 1);
	assert_int_equal(port_test_open_count(target), count);
}

unsigned port_test_open_count(const char *target)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	char link[512];
	unsigned count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		ssize_t size = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		if (size >= (ssize_t)strlen(target) && !strncmp(link, target, strlen(target)))
			count++;
	}
	closedir(dir);
	return count;
}

/* --- loop devices --- */

static int loop_try(int control, int backing, struct loop_device *ret_device)
{
	struct loop_config config = {.fd = (uint32_t)backing, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
	int number = ioctl(control, LOOP_CTL_GET_FREE);

	if (number < 0)
		return -errno;
	snprintf(ret_device->path, sizeof(ret_device->path), "/dev/loop%d", number);
	ret_device->fd = open(ret_device->path, O_RDWR | O_CLOEXEC);
	if (ret_device->fd < 0)
		return -errno;
	if (ioctl(ret_device->fd, LOOP_CONFIGURE, &config)) {
		int error = -errno;

		close(ret_device->fd);
		return error;
	}
	return 0;
}

int loop_device_make(const struct port_test *test, const char *name, uint64_t size_bytes,
		     struct loop_device *ret_device)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int backing = open(port_test_path(test, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int error = control < 0 || backing < 0 || ftruncate(backing, (off_t)size_bytes) ? -errno : -EBUSY;
	struct stat status;

	for (int i = 0; i < 1000 && error == -EBUSY; i++) /* others look for a free one at the same time */
		error = loop_try(control, backing, ret_device);
	if (!error && fstat(ret_device->fd, &status))
		error = -errno;
	if (!error) {
		ret_device->major = major(status.st_rdev);
		ret_device->minor = minor(status.st_rdev);
	}
	if (control >= 0)
		close(control);
	if (backing >= 0)
		close(backing);
	return error;
}

void loop_device_free(struct loop_device *device)
{
	close(device->fd);
}

bool loop_device_possible(void)
{
	struct port_test *test;
	struct loop_device device;
	void *state;
	bool possible;

	port_test_setup(&state);
	test = state;
	possible = !loop_device_make(test, "possible", 4096, &device);
	if (possible)
		loop_device_free(&device);
	port_test_teardown(&state);
	return possible;
}
