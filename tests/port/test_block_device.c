/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device is found by its number, whatever the names in /dev say at that moment. */
#include "tests/port/port_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/port/block_device.h"

#define SIZE_BYTES 65536

static struct loop_device wanted, other;

/* A /dev of our own with nothing but block/, or not even that. */
static void dev_replace(bool with_block)
{
	assert_int_equal(mount("none", "/dev", "tmpfs", 0, NULL), 0);
	if (with_block)
		assert_int_equal(mkdir("/dev/block", 0755), 0);
}

static const char *dev_name(const struct loop_device *device)
{
	static char path[64];

	(void)snprintf(path, sizeof(path), "/dev/block/%u:%u", device->major, device->minor);
	return path;
}

static void node_make(const char *path, const struct loop_device *device)
{
	assert_int_equal(mknod(path, S_IFBLK | 0600, makedev(device->major, device->minor)), 0);
}

/* It is the device that was asked for. */
static void assert_opens(const char *scratch_dir)
{
	struct stat status;
	int fd = -1;

	assert_int_equal(block_device_open(wanted.major, wanted.minor, O_RDWR | O_DIRECT, scratch_dir, &fd),
			 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_true(S_ISBLK(status.st_mode));
	assert_true(status.st_rdev == makedev(wanted.major, wanted.minor));
	close(fd);
}

static void assert_no_scratch(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		assert_int_not_equal(strncmp(entry->d_name, ".mirrorlogd", strlen(".mirrorlogd")), 0);
	closedir(dir);
}

static void test_by_name(void **state)
{
	(void)state;
	dev_replace(true);
	node_make(dev_name(&wanted), &wanted);
	assert_opens(NULL);
}

static void test_name_of_another_device(void **state)
{
	(void)state;
	dev_replace(true);
	node_make("/dev/other", &other);
	assert_int_equal(symlink("../other", dev_name(&wanted)), 0);
	assert_opens(NULL);
	assert_no_scratch("/dev");
}

/* Opening it the usual way would wait for a writer, for ever. */
static void test_name_of_no_device(void **state)
{
	(void)state;
	dev_replace(true);
	assert_int_equal(mkfifo(dev_name(&wanted), 0600), 0);
	assert_opens(NULL);
	assert_no_scratch("/dev");
}

static void test_no_name(void **state)
{
	(void)state;
	dev_replace(false);
	assert_opens(NULL);
	assert_no_scratch("/dev");
}

static void test_read_only_dev(void **state)
{
	struct port_test *test = *state;
	int fd;

	dev_replace(false);
	assert_int_equal(mount("none", "/dev", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(block_device_open(wanted.major, wanted.minor, O_RDWR, NULL, &fd), -EROFS);
	assert_opens(test->dir);
	assert_no_scratch(test->dir);
}

static void test_left_over_of_another_device(void **state)
{
	char path[64];
	int fd;

	(void)state;
	dev_replace(false);
	(void)snprintf(path, sizeof(path), "/dev/.mirrorlogd-%u:%u-%d", wanted.major, wanted.minor, gettid());
	node_make(path, &other);
	assert_int_equal(block_device_open(wanted.major, wanted.minor, O_RDWR, NULL, &fd), -ENODEV);
	assert_opens(NULL); /* it is out of the way now */
}

static void test_no_device(void **state)
{
	int fd;

	(void)state;
	dev_replace(true);
	assert_int_equal(block_device_open(0xffe, 12345, O_RDWR, NULL, &fd), -ENXIO);
	assert_no_scratch("/dev");
}

static int devices_make(void **state)
{
	struct port_test *test;

	port_test_setup(state);
	test = *state;
	if (loop_device_make(test, "wanted", SIZE_BYTES, &wanted) ||
	    loop_device_make(test, "other", SIZE_BYTES, &other))
		return -1;
	return unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int devices_free(void **state)
{
	loop_device_free(&wanted);
	loop_device_free(&other);
	return port_test_teardown(state);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_by_name),	      cmocka_unit_test(test_name_of_another_device),
	    cmocka_unit_test(test_name_of_no_device), cmocka_unit_test(test_no_name),
	    cmocka_unit_test(test_read_only_dev),     cmocka_unit_test(test_left_over_of_another_device),
	    cmocka_unit_test(test_no_device),
	};

	if (!loop_device_possible())
		return EXIT_SKIPPED;
	return cmocka_run_group_tests(tests, devices_make, devices_free);
}
