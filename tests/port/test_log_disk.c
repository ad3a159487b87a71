/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/port/log_disk.h"
#include "daemon/port/write_lock.h"

#define LOG  3
#define UUID "LVM-a/b"

static void read_effect(struct log_disks *disks, const struct loop_device *device, size_t size,
			uint64_t token)
{
	struct effect effect = {
	    .type = EFFECT_DEVICE_READ,
	    .log = LOG,
	    .uuid = UUID,
	    .token = token,
	    .device_read = {.major = device->major, .minor = device->minor, .size = size},
	};

	log_disks_perform(disks, &effect);
}

/* One extent of bytes `fill`. */
static void write_effect(struct log_disks *disks, uint64_t offset, uint32_t size, uint8_t fill,
			 uint64_t token)
{
	static uint8_t data[65536];
	struct device_extent extent = {.offset_bytes = offset, .size_bytes = size};
	struct effect effect = {
	    .type = EFFECT_DEVICE_WRITE,
	    .log = LOG,
	    .uuid = UUID,
	    .token = token,
	    .device_write = {.extents = &extent, .extent_count = 1, .data = data, .data_bytes = size},
	};

	memset(data, fill, size);
	log_disks_perform(disks, &effect);
	memset(data, 0xee, size); /* the port has its copy */
}

static void close_effect(struct log_disks *disks)
{
	struct effect effect = {.type = EFFECT_DEVICE_CLOSE, .log = LOG};

	log_disks_perform(disks, &effect);
}

static const struct event *answer(struct port_test *test, size_t count, enum event_type type, uint64_t token,
				  int error)
{
	const struct event *event;

	port_test_run(test, count);
	event = &test->events[count - 1].event;
	assert_int_equal(event->type, type);
	assert_int_equal(event->io.log, LOG);
	assert_int_equal(event->io.token, token);
	assert_int_equal(event->io.error, error);
	return event;
}

static void test_read(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct loop_device device;
	const struct event *event;
	uint8_t content[16384];

	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7 / 3);
	port_test_write(test, "disk", content, sizeof(content));
	assert_int_equal(loop_device_make(test, "disk", sizeof(content), &device), 0);
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	read_effect(disks, &device, 5000, 11);
	event = answer(test, 1, EVENT_DEVICE_READ, 11, 0);
	assert_int_equal(event->io.size, 5000);
	assert_int_equal(event->io.block_bytes, 4096);
	assert_memory_equal(test->events[0].bytes, content, 5000);
	/* More than there is: what there is. */
	read_effect(disks, &device, 1 << 20, 12);
	event = answer(test, 2, EVENT_DEVICE_READ, 12, 0);
	assert_int_equal(event->io.size, sizeof(content));
	assert_memory_equal(test->events[1].bytes, content, sizeof(content));
	log_disks_close(disks);
	loop_device_free(&device);
}

/* A device of three sectors cannot be written by 4 KiB. */
static void test_small_device(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct loop_device device;
	const struct event *event;

	assert_int_equal(loop_device_make(test, "disk", 1536, &device), 0);
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	read_effect(disks, &device, 1025, 1);
	event = answer(test, 1, EVENT_DEVICE_READ, 1, 0);
	assert_int_equal(event->io.size, 1025);
	assert_int_equal(event->io.block_bytes, 512);
	log_disks_close(disks);
	loop_device_free(&device);
}

static void test_write(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct loop_device device;
	uint8_t content[16384] = {0}, found[16384];

	assert_int_equal(loop_device_make(test, "disk", sizeof(content), &device), 0);
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	write_effect(disks, 0, 4096, 1, 20);
	answer(test, 1, EVENT_DEVICE_WRITTEN, 20, -EBADF);
	read_effect(disks, &device, 4096, 21);
	write_effect(disks, 4096, 4096, 2, 22);
	write_effect(disks, 12288, 4096, 3, 23);
	answer(test, 2, EVENT_DEVICE_READ, 21, 0);
	answer(test, 3, EVENT_DEVICE_WRITTEN, 22, 0);
	answer(test, 4, EVENT_DEVICE_WRITTEN, 23, 0);
	memset(content + 4096, 2, 4096);
	memset(content + 12288, 3, 4096);
	port_test_read(test, "disk", found, sizeof(found));
	assert_memory_equal(found, content, sizeof(content));
	log_disks_close(disks);
	loop_device_free(&device);
}

static void test_several_extents(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct loop_device device;
	struct device_extent extents[] = {{.offset_bytes = 8192, .size_bytes = 512},
					  {.offset_bytes = 0, .size_bytes = 1024}};
	uint8_t data[1536], found[16384];
	struct effect effect = {
	    .type = EFFECT_DEVICE_WRITE,
	    .log = LOG,
	    .uuid = UUID,
	    .device_write = {.extents = extents, .extent_count = 2, .data = data, .data_bytes = sizeof(data)},
	};

	memset(data, 5, 512);
	memset(data + 512, 6, 1024);
	assert_int_equal(loop_device_make(test, "disk", sizeof(found), &device), 0);
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	read_effect(disks, &device, 512, 0);
	log_disks_perform(disks, &effect);
	answer(test, 2, EVENT_DEVICE_WRITTEN, 0, 0);
	port_test_read(test, "disk", found, sizeof(found));
	assert_memory_equal(found + 8192, data, 512);
	assert_memory_equal(found, data + 512, 1024);
	assert_int_equal(found[1024] | found[8704], 0);
	log_disks_close(disks);
	loop_device_free(&device);
}

static void test_errors(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct loop_device device, nothing = {.major = 511, .minor = 7};

	assert_int_equal(loop_device_make(test, "disk", 16384, &device), 0);
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	read_effect(disks, &nothing, 512, 1);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.io.error, -ENXIO);
	read_effect(disks, &device, 512, 2);
	write_effect(disks, 16384, 4096, 1, 3); /* behind the end */
	write_effect(disks, 100, 4096, 1, 4);	/* not a block */
	write_effect(disks, 0, 4096, 1, 5);	/* goes on after errors */
	port_test_run(test, 5);
	assert_int_equal(test->events[1].event.io.error, 0);
	assert_int_equal(test->events[2].event.io.error, -ENOSPC);
	assert_int_equal(test->events[3].event.io.error, -EINVAL);
	assert_int_equal(test->events[4].event.io.error, 0);
	log_disks_close(disks);
	loop_device_free(&device);
}

static void test_close(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct loop_device device;
	unsigned before;
	uint64_t begin_ns;

	assert_int_equal(loop_device_make(test, "disk", 16384, &device), 0);
	before = port_test_open_count("/dev/");
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	read_effect(disks, &device, 512, 1);
	answer(test, 1, EVENT_DEVICE_READ, 1, 0);
	assert_int_equal(port_test_open_count("/dev/"), before + 1);
	begin_ns = port_test_now_ns();
	close_effect(disks);
	port_test_closed("/dev/", before, begin_ns, LOG_DISK_CLOSE_WAIT_MS); /* on return */
	write_effect(disks, 0, 512, 1, 2);
	answer(test, 2, EVENT_DEVICE_WRITTEN, 2, -EBADF);
	close_effect(disks);
	close_effect(disks); /* nothing to close: nothing happens */
	log_disks_close(disks);
	loop_device_free(&device);
}

/* What a killed daemon has in flight holds its lock: its successor's wait ends with it, and a write comes
 * behind. */
static void test_former_write(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct loop_device device;
	struct effect wait = {.type = EFFECT_DEVICE_WAIT, .log = LOG, .uuid = UUID, .token = 2};
	int fd;

	assert_int_equal(loop_device_make(test, "disk", 16384, &device), 0);
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	assert_false(write_lock_held(test->config.run_dir, WRITE_LOCK_DEVICE, UUID));
	fd = write_lock_open(test->config.run_dir, WRITE_LOCK_DEVICE, UUID);
	assert_true(fd >= 0);
	assert_int_equal(write_lock_take(fd), 0);
	assert_true(write_lock_held(test->config.run_dir, WRITE_LOCK_DEVICE, UUID));
	assert_false(write_lock_held(test->config.run_dir, WRITE_LOCK_DEVICE, "LVM-other"));
	read_effect(disks, &device, 512, 1);
	answer(test, 1, EVENT_DEVICE_READ, 1, 0);
	log_disks_perform(disks, &wait);
	write_effect(disks, 0, 512, 1, 3);
	port_test_run_for(test, 200);
	assert_int_equal(test->event_count, 1);
	close(fd); /* as the end of a process does */
	answer(test, 2, EVENT_DEVICE_WRITTEN, 2, 0);
	answer(test, 3, EVENT_DEVICE_WRITTEN, 3, 0);
	assert_false(write_lock_held(test->config.run_dir, WRITE_LOCK_DEVICE, UUID));
	log_disks_close(disks);
	loop_device_free(&device);
}

/* The same for its copy from leg to leg, which is another matter than its writes. */
static void test_former_copy(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct effect wait = {.type = EFFECT_REPAIR_WAIT, .log = LOG, .uuid = UUID, .token = 2};
	int fd = write_lock_open(test->config.run_dir, WRITE_LOCK_LEGS, UUID);

	assert_true(fd >= 0);
	assert_int_equal(write_lock_take(fd), 0);
	assert_false(write_lock_held(test->config.run_dir, WRITE_LOCK_DEVICE, UUID));
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	log_disks_perform(disks, &wait);
	port_test_run_for(test, 200);
	assert_int_equal(test->event_count, 0);
	close(fd);
	answer(test, 1, EVENT_REPAIRED, 2, -ECANCELED);
	log_disks_close(disks);
}

/* A daemon that is to stop does not wait for a killed one. */
static void test_former_hangs(void **state)
{
	struct port_test *test = *state;
	struct log_disks *disks;
	struct effect wait = {.type = EFFECT_DEVICE_WAIT, .log = LOG, .uuid = UUID, .token = 2};
	int fd = write_lock_open(test->config.run_dir, WRITE_LOCK_DEVICE, UUID);

	assert_true(fd >= 0);
	assert_int_equal(write_lock_take(fd), 0);
	assert_int_equal(log_disks_open(&test->config, &disks), 0);
	log_disks_perform(disks, &wait);
	log_disks_close(disks);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, port_test_setup, port_test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_read),	     TEST(test_small_device),
	    TEST(test_write),	     TEST(test_several_extents),
	    TEST(test_errors),	     TEST(test_close),
	    TEST(test_former_write), TEST(test_former_copy),
	    TEST(test_former_hangs),
	};

	if (!loop_device_possible())
		return EXIT_SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
