/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/port/legs.h"
#include "daemon/port/wake.h"
#include "daemon/port/write_lock.h"

#define UUID	  "LVM-legs"
#define LOG	  5
#define LEG_BYTES (256 * 1024)

struct legs_test {
	struct port_test *test;
	struct device_mapper *mapper;
	struct legs *legs;
};

/* Legs are files, unless tables are written otherwise; their content differs. */
static struct legs_test legs_test_begin(void **state)
{
	struct legs_test legs_test = {.test = *state};
	struct port_test *test = legs_test.test;
	uint8_t *content = malloc(LEG_BYTES);
	char name[8];

	assert_int_equal(mkdir(port_test_path(test, "tables"), 0700), 0);
	assert_non_null(content);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "leg%d", i);
		for (size_t j = 0; j < LEG_BYTES; j++)
			content[j] = (uint8_t)(j / 512 * 7 + (size_t)i * 50 + j % 13);
		port_test_write(test, name, content, LEG_BYTES);
	}
	free(content);
	test->config.tables_dir = strdup(port_test_path(test, "tables"));
	assert_int_equal(device_mapper_open(&test->config, &legs_test.mapper), 0);
	assert_int_equal(legs_open(&test->config, legs_test.mapper, &legs_test.legs), 0);
	return legs_test;
}

static void legs_test_end(struct legs_test *legs_test)
{
	legs_close(legs_test->legs);
	device_mapper_close(legs_test->mapper);
	free((char *)legs_test->test->config.tables_dir);
}

/* A live table of 400 sectors, with an offset on each leg. */
static void table_of_files(const struct port_test *test)
{
	char line[1024];
	int size =
	    snprintf(line, sizeof(line),
		     "0 400 mirror userspace 3 " UUID " clustered-core 8 3 %s/leg0 8 %s/leg1 0 %s/leg2 16\n",
		     test->dir, test->dir, test->dir);

	port_test_write(test, "tables/mirror", line, (size_t)size);
}

static void perform(struct legs_test *legs_test, enum effect_type type, uint64_t token, uint64_t first,
		    uint64_t sectors)
{
	struct effect effect = {.type = type, .log = LOG, .token = token, .uuid = UUID};

	if (type == EFFECT_REPAIR) {
		effect.repair.first_sector = first;
		effect.repair.sectors = sectors;
	}
	legs_perform(legs_test->legs, &effect);
}

static void answer(struct legs_test *legs_test, size_t count, enum event_type type, uint64_t token, int error)
{
	const struct event *event;

	port_test_run(legs_test->test, count);
	event = &legs_test->test->events[count - 1].event;
	assert_int_equal(event->type, type);
	assert_int_equal(event->io.log, LOG);
	assert_int_equal(event->io.token, token);
	assert_int_equal(event->io.error, error);
}

static void test_flush(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	unsigned before = port_test_open_count(legs_test.test->dir);
	uint64_t begin_ns;

	perform(&legs_test, EFFECT_LEGS_FLUSH, 1, 0, 0);
	answer(&legs_test, 1, EVENT_LEGS_FLUSHED, 1, -ENODEV);
	table_of_files(legs_test.test);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 2, 0, 0);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 3, 0, 0);
	answer(&legs_test, 3, EVENT_LEGS_FLUSHED, 3, 0);
	assert_int_equal(legs_test.test->events[1].event.io.token, 2);
	assert_int_equal(port_test_open_count(legs_test.test->dir), before + 3);
	begin_ns = port_test_now_ns();
	perform(&legs_test, EFFECT_LEGS_CLOSE, 0, 0, 0);
	port_test_closed(legs_test.test->dir, before, begin_ns, LEGS_CLOSE_WAIT_MS); /* on return */
	perform(&legs_test, EFFECT_LEGS_CLOSE, 0, 0, 0);
	legs_test_end(&legs_test);
}

/* Until somebody has read the table and closed it. */
static void table_read_wait(int watch_fd)
{
	struct pollfd fd = {.fd = watch_fd, .events = POLLIN};
	char events[4096];

	assert_int_equal(poll(&fd, 1, 20000), 1);
	assert_true(read(watch_fd, events, sizeof(events)) > 0);
}

/* A look at device-mapper that began before EFFECT_LEGS_CLOSE says nothing of the table that comes after it.
 */
static void test_flush_of_another_table(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	static const char other[] =
	    "0 8 mirror userspace 3 " UUID " clustered-core 8 2 /none/a 0 /none/b 0\n";
	int watch_fd = inotify_init1(IN_CLOEXEC);

	table_of_files(legs_test.test);
	assert_true(inotify_add_watch(watch_fd, port_test_path(legs_test.test, "tables"), IN_CLOSE_NOWRITE) >=
		    0);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 1, 0, 0);
	table_read_wait(watch_fd);
	perform(&legs_test, EFFECT_LEGS_CLOSE, 0, 0, 0);
	port_test_write(legs_test.test, "tables/mirror", other, sizeof(other) - 1);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 2, 0, 0);
	answer(&legs_test, 2, EVENT_LEGS_FLUSHED, 2, -ENOENT);
	assert_int_equal(legs_test.test->events[0].event.io.error, -ECANCELED);
	close(watch_fd);
	legs_test_end(&legs_test);
}

/* The suspend of the table before may never have been heard of: what counts is the table that is live now. */
static void test_open_looks_anew(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	unsigned before = port_test_open_count(legs_test.test->dir);
	static const char other[] =
	    "0 8 mirror userspace 3 " UUID " clustered-core 8 2 /none/a 0 /none/b 0\n";

	table_of_files(legs_test.test);
	perform(&legs_test, EFFECT_LEGS_OPEN, 0, 0, 0);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 1, 0, 0);
	port_test_run(legs_test.test, 2);
	assert_int_equal(port_test_open_count(legs_test.test->dir), before + 3);
	port_test_write(legs_test.test, "tables/mirror", other, sizeof(other) - 1);
	perform(&legs_test, EFFECT_LEGS_OPEN, 0, 0, 0);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 2, 0, 0);
	answer(&legs_test, 4, EVENT_LEGS_FLUSHED, 2, -ENOENT);
	assert_int_equal(port_test_open_count(legs_test.test->dir), before);
	legs_test_end(&legs_test);
}

/* The table is looked at again after an error: a leg may have been replaced. */
static void test_flush_of_a_failed_leg(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);

	table_of_files(legs_test.test);
	assert_int_equal(unlink(port_test_path(legs_test.test, "leg1")), 0);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 1, 0, 0);
	answer(&legs_test, 1, EVENT_LEGS_FLUSHED, 1, -ENOENT);
	port_test_write(legs_test.test, "leg1", "x", 1);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 2, 0, 0);
	answer(&legs_test, 2, EVENT_LEGS_FLUSHED, 2, 0);
	assert_int_equal(unlink(port_test_path(legs_test.test, "tables/mirror")), 0);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 3, 0, 0); /* still open */
	answer(&legs_test, 3, EVENT_LEGS_FLUSHED, 3, 0);
	perform(&legs_test, EFFECT_LEGS_CLOSE, 0, 0, 0);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 4, 0, 0);
	answer(&legs_test, 4, EVENT_LEGS_FLUSHED, 4, -ENODEV);
	legs_test_end(&legs_test);
}

static void test_repair(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	struct port_test *test = legs_test.test;
	static uint8_t before[3][LEG_BYTES], after[3][LEG_BYTES];

	table_of_files(test);
	for (int i = 0; i < 3; i++)
		port_test_read(test, (const char *[]){"leg0", "leg1", "leg2"}[i], before[i], LEG_BYTES);
	perform(&legs_test, EFFECT_REPAIR, 1, 40, 8);
	answer(&legs_test, 1, EVENT_REPAIRED, 1, 0);
	/* Sector 40 of the mirror is sector 48, 40, 56 of the legs. */
	memcpy(before[1] + 40 * 512, before[0] + 48 * 512, 8 * 512);
	memcpy(before[2] + 56 * 512, before[0] + 48 * 512, 8 * 512);
	for (int i = 0; i < 3; i++) {
		port_test_read(test, (const char *[]){"leg0", "leg1", "leg2"}[i], after[i], LEG_BYTES);
		assert_memory_equal(after[i], before[i], LEG_BYTES);
	}
	perform(&legs_test, EFFECT_REPAIR, 2, 392, 16);
	answer(&legs_test, 2, EVENT_REPAIRED, 2, -ERANGE);
	perform(&legs_test, EFFECT_REPAIR, 3, UINT64_MAX, 2);
	answer(&legs_test, 3, EVENT_REPAIRED, 3, -ERANGE);
	perform(&legs_test, EFFECT_REPAIR, 4, 0, 400);
	answer(&legs_test, 4, EVENT_REPAIRED, 4, 0);
	port_test_read(test, "leg1", after[1], LEG_BYTES);
	assert_memory_equal(after[1], before[0] + 8 * 512, 400 * 512);
	legs_test_end(&legs_test);
}

static const struct under_lock {
	enum effect_type effect;
	enum event_type answer;
	enum write_lock_kind lock;
} under_lock[] = {{EFFECT_REPAIR, EVENT_REPAIRED, WRITE_LOCK_LEGS},
		  {EFFECT_LEGS_FLUSH, EVENT_LEGS_FLUSHED, WRITE_LOCK_FLUSH}};

/* A copy, and a flush, is done under its lock: a successor of a daemon that hangs in it knows, and does none
 * meanwhile. */
static void test_behind_a_former_one(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	const char *run_dir = legs_test.test->config.run_dir;

	table_of_files(legs_test.test);
	for (unsigned i = 0; i < sizeof(under_lock) / sizeof(under_lock[0]); i++) {
		int fd = write_lock_open(run_dir, under_lock[i].lock, UUID);

		assert_true(fd >= 0);
		assert_int_equal(write_lock_take(fd), 0);
		perform(&legs_test, under_lock[i].effect, i, 0, 8);
		port_test_run_for(legs_test.test, 200);
		assert_int_equal(legs_test.test->event_count, i);
		close(fd); /* as the end of a process does */
		answer(&legs_test, i + 1, under_lock[i].answer, i, 0);
		assert_false(write_lock_held(run_dir, under_lock[i].lock, UUID));
	}
	legs_test_end(&legs_test);
}

/* The run directory's trouble is none of a leg: it makes no table wait for a reload (leg_error() of the
 * core).
 */
static void test_without_lock(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	char name[WRITE_LOCK_NAME_BYTES], path[512];

	table_of_files(legs_test.test);
	for (unsigned i = 0; i < sizeof(under_lock) / sizeof(under_lock[0]); i++) {
		write_lock_name(under_lock[i].lock, UUID, name);
		snprintf(path, sizeof(path), "%s/%s", legs_test.test->config.run_dir, name);
		assert_int_equal(symlink("nowhere", path), 0);
		perform(&legs_test, under_lock[i].effect, 1, 0, 8);
		answer(&legs_test, 2 * i + 1, under_lock[i].answer, 1, -ECANCELED);
		assert_int_equal(unlink(path), 0);
		perform(&legs_test, under_lock[i].effect, 2, 0, 8);
		answer(&legs_test, 2 * i + 2, under_lock[i].answer, 2, 0);
	}
	legs_test_end(&legs_test);
}

/* Real block devices, in more than one piece. */
static void test_repair_of_devices(void **state)
{
	struct legs_test legs_test;
	struct port_test *test = *state;
	struct loop_device legs[2];
	const size_t size = 2 * 1024 * 1024 + 4096;
	uint8_t *content, *found;
	char line[512];
	int length;

	if (!loop_device_possible())
		skip();
	content = malloc(size);
	found = malloc(size);
	assert_true(content && found);
	legs_test = legs_test_begin(state);
	for (size_t i = 0; i < size; i++)
		content[i] = (uint8_t)(i * 31 / 512 + i);
	port_test_write(test, "first", content, size);
	assert_int_equal(loop_device_make(test, "first", size, &legs[0]), 0);
	assert_int_equal(loop_device_make(test, "second", size, &legs[1]), 0);
	length = snprintf(line, sizeof(line),
			  "0 %zu mirror userspace 4 " UUID
			  " clustered-disk 8:9 8 2 %u:%u 0 %u:%u 0 1 handle_errors\n",
			  size / 512, legs[0].major, legs[0].minor, legs[1].major, legs[1].minor);
	port_test_write(test, "tables/mirror", line, (size_t)length);
	perform(&legs_test, EFFECT_REPAIR, 1, 0, size / 512);
	answer(&legs_test, 1, EVENT_REPAIRED, 1, 0);
	port_test_read(test, "second", found, size);
	assert_memory_equal(content, found, size);
	perform(&legs_test, EFFECT_LEGS_FLUSH, 2, 0, 0);
	answer(&legs_test, 2, EVENT_LEGS_FLUSHED, 2, 0);
	legs_test_end(&legs_test);
	loop_device_free(&legs[0]);
	loop_device_free(&legs[1]);
	free(content);
	free(found);
}

/* What the core may answer to a FLUSH depends on it (hazard A13). */
static void test_open_tells_handle_errors(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	static const char plain[] = "0 8 mirror userspace 3 " UUID " clustered-core 8 2 8:1 0 8:2 0\n";
	static const char handled[] =
	    "0 8 mirror userspace 3 " UUID " clustered-core 8 2 8:1 0 8:2 0 1 handle_errors\n";

	port_test_write(legs_test.test, "tables/mirror", handled, sizeof(handled) - 1);
	perform(&legs_test, EFFECT_LEGS_OPEN, 1, 0, 0);
	port_test_run(legs_test.test, 1);
	assert_int_equal(legs_test.test->events[0].event.type, EVENT_LEGS_OPENED);
	assert_true(legs_test.test->events[0].event.legs.handles_errors);
	assert_int_equal(legs_test.test->events[0].event.legs.token, 1);
	port_test_write(legs_test.test, "tables/mirror", plain, sizeof(plain) - 1);
	perform(&legs_test, EFFECT_LEGS_OPEN, 2, 0, 0);
	port_test_run(legs_test.test, 2);
	assert_int_equal(legs_test.test->events[1].event.type, EVENT_LEGS_OPENED);
	assert_false(legs_test.test->events[1].event.legs.handles_errors);
	assert_int_equal(legs_test.test->events[1].event.legs.token, 2);
	legs_test_end(&legs_test);
}

static void test_wake_of_a_stand_in(void **state)
{
	struct legs_test legs_test = legs_test_begin(state);
	struct stat status;

	perform(&legs_test, EFFECT_WAKE, 0, 0, 0);
	assert_int_equal(stat(port_test_path(legs_test.test, "tables/wake." UUID), &status), 0);
	legs_test_end(&legs_test);
}

static unsigned long reads_of(const struct loop_device *device)
{
	unsigned long reads = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", device->major, device->minor);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &reads), 1);
	fclose(file);
	return reads;
}

static void wakes_wait(struct port_test *test, const struct wakes *wakes)
{
	for (int i = 0; i < 1000 && wakes_count(wakes) > 0; i++)
		port_test_run_for(test, 10);
	assert_int_equal(wakes_count(wakes), 0);
}

/* The device is read, not its cache; what is asked for during a read is done after it; descriptors stay. */
static void test_wake_reads_the_device(void **state)
{
	struct port_test *test = *state;
	struct loop_device device;
	struct wakes *wakes;
	unsigned long before;
	unsigned open_count;

	if (!loop_device_possible())
		skip();
	wakes = wakes_new(test->config.loop);
	assert_int_equal(loop_device_make(test, "disk", 65536, &device), 0);
	open_count = port_test_open_count("");
	for (int round = 0; round < 2; round++) {
		before = reads_of(&device);
		for (int i = 0; i < 3; i++)
			assert_int_equal(wakes_read(wakes, device.major, device.minor, 9, test->dir), 0);
		assert_int_equal(wakes_count(wakes), 1);
		wakes_wait(test, wakes);
		assert_true(reads_of(&device) >= before + 2);
	}
	assert_int_equal(port_test_open_count(""), open_count);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
	for (uint32_t i = 0; i < WAKE_READS_MAX; i++)
		assert_int_equal(wakes_read(wakes, device.major, device.minor, i * 8, test->dir), 0);
	assert_int_equal(wakes_read(wakes, device.major, device.minor, 1, test->dir), -EBUSY);
	wakes_free(wakes); /* whatever is under way */
	assert_int_equal(port_test_open_count(""), open_count);
	loop_device_free(&device);
}

static struct {
	pid_t parent;
	unsigned taken_by_others;
} * signals;

static void on_signal(int number)
{
	(void)number;
	if (getpid() != signals->parent)
		__atomic_add_fetch(&signals->taken_by_others, 1, __ATOMIC_RELAXED);
}

/* A Ctrl-C reaches all of the process group: a reader that had the daemon's handler would tell it to stop
 * once more, by the pipe of the loop, and twice means whatever is active. */
static void test_wake_takes_no_signal(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal}, none = {.sa_handler = SIG_DFL};
	struct port_test *test = *state;
	struct wakes *wakes = wakes_new(test->config.loop);
	pid_t group = getpgrp(), sender;

	signals = mmap(NULL, sizeof(*signals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(signals != MAP_FAILED);
	signals->parent = getpid();
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	/* Nobody else is to get it. A test that leads a session has its group already. */
	assert_true(group == getpid() || !setpgid(0, 0));
	sender = fork();
	if (sender == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGUSR1, SIG_IGN);
		while (kill(0, SIGUSR1) == 0)
			;
		_exit(1);
	}
	for (uint32_t i = 0; i < WAKE_READS_MAX; i++)
		assert_int_equal(wakes_read(wakes, 0, 1, i, test->dir), 0);
	kill(sender, SIGKILL);
	assert_int_equal(waitpid(sender, NULL, 0), sender);
	assert_true(group == getpid() || !setpgid(0, group));
	wakes_wait(test, wakes);
	wakes_free(wakes);
	assert_int_equal(sigaction(SIGUSR1, &none, NULL), 0);
	assert_int_equal(signals->taken_by_others, 0);
	munmap(signals, sizeof(*signals));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, port_test_setup, port_test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_flush),
	    TEST(test_flush_of_another_table),
	    TEST(test_open_looks_anew),
	    TEST(test_flush_of_a_failed_leg),
	    TEST(test_repair),
	    TEST(test_behind_a_former_one),
	    TEST(test_without_lock),
	    TEST(test_repair_of_devices),
	    TEST(test_open_tells_handle_errors),
	    TEST(test_wake_of_a_stand_in),
	    TEST(test_wake_reads_the_device),
	    TEST(test_wake_takes_no_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
