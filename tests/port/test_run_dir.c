/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/port/run_dir.h"
#include "daemon/port/write_lock.h"

#define UUID "LVM-a/strange uuid/../x"
#define BIG  (UINT64_C(1) << 26)

/* What run_dir_load() told about one log. */
struct told {
	char uuid[LOG_UUID_BYTES];
	char meta[64];
	size_t meta_bytes;
	bool writing, copying, flushing;
	unsigned instance_count;
	luid_t luids[RUN_INSTANCES_MAX];
	struct region_set held[RUN_INSTANCES_MAX];
	struct region_set bits[RUN_BITS_COUNT];
};

struct told_all {
	struct told logs[8];
	unsigned count;
};

static void told_take(void *context, const struct event *event)
{
	struct told_all *all = context;
	struct told *told = &all->logs[all->count++];
	const struct run_log *log = &event->run_log;

	assert_true(all->count <= 8);
	assert_int_equal(event->type, EVENT_RUN_LOG);
	snprintf(told->uuid, sizeof(told->uuid), "%s", log->uuid);
	assert_true(log->meta_bytes <= sizeof(told->meta));
	memcpy(told->meta, log->meta, log->meta_bytes);
	told->meta_bytes = log->meta_bytes;
	told->writing = log->writing;
	told->copying = log->copying;
	told->flushing = log->flushing;
	told->instance_count = log->instance_count;
	for (unsigned i = 0; i < log->instance_count; i++) {
		told->luids[i] = log->instances[i].luid;
		region_set_init(&told->held[i]);
		region_set_copy(&told->held[i], log->instances[i].held);
	}
	assert_null(log->bits[RUN_HELD]);
	for (int kind = RUN_HELD + 1; kind < RUN_BITS_COUNT; kind++) {
		region_set_init(&told->bits[kind]);
		region_set_copy(&told->bits[kind], log->bits[kind]);
	}
}

static void told_load(struct run_dir *dir, struct told_all *all)
{
	struct event_sink sink = {.post = told_take, .context = all};

	memset(all, 0, sizeof(*all));
	run_dir_load(dir, &sink);
}

static void told_free(struct told_all *all)
{
	for (unsigned i = 0; i < all->count; i++) {
		for (unsigned j = 0; j < RUN_INSTANCES_MAX; j++)
			region_set_fini(&all->logs[i].held[j]);
		for (int kind = 0; kind < RUN_BITS_COUNT; kind++)
			region_set_fini(&all->logs[i].bits[kind]);
	}
}

static const struct region_set *told_held(const struct told *told, luid_t luid)
{
	for (unsigned i = 0; i < told->instance_count; i++) {
		if (told->luids[i] == luid)
			return &told->held[i];
	}
	return NULL;
}

static struct run_dir *dir_open(const struct port_test *test, bool lost)
{
	struct run_dir *dir;
	bool is_lost = !lost;

	assert_int_equal(run_dir_open(port_test_path(test, "run"), &dir, &is_lost), 0);
	assert_int_equal(is_lost, lost);
	return dir;
}

static void meta(struct run_dir *dir, const char *uuid, const char *text, uint64_t region_count)
{
	struct effect effect = {
	    .type = EFFECT_RUN_META,
	    .uuid = uuid,
	    .run_meta = {.bytes = (const uint8_t *)text, .size = strlen(text), .region_count = region_count},
	};

	assert_int_equal(run_dir_perform(dir, &effect), 0);
}

static int try_bits(struct run_dir *dir, const char *uuid, enum run_bits kind, luid_t luid, uint64_t first,
		    uint64_t count, bool set)
{
	struct effect effect = {
	    .type = EFFECT_RUN_BITS,
	    .uuid = uuid,
	    .run_bits = {.luid = luid,
			 .kind = kind,
			 .first = (region_t)first,
			 .count = count,
			 .set = set,
			 .region_count = BIG},
	};

	return run_dir_perform(dir, &effect);
}

static void bits(struct run_dir *dir, enum run_bits kind, luid_t luid, uint64_t first, uint64_t count,
		 bool set)
{
	assert_int_equal(try_bits(dir, UUID, kind, luid, first, count, set), 0);
}

static void drop(struct run_dir *dir, const char *uuid, luid_t luid)
{
	struct effect effect = {.type = EFFECT_RUN_DROP, .uuid = uuid, .run_drop = {.luid = luid}};

	assert_int_equal(run_dir_perform(dir, &effect), 0);
}

static void test_empty(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	struct told_all all;
	uint64_t boot_id = run_dir_boot_id(dir);

	assert_true(boot_id != 0);
	told_load(dir, &all);
	assert_int_equal(all.count, 0);
	run_dir_close(dir);
	dir = dir_open(*state, false);
	assert_true(run_dir_boot_id(dir) == boot_id);
	run_dir_close(dir);
	run_dir_close(NULL);
}

static void test_round_trip(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	struct told_all all;
	const struct told *told = &all.logs[0];

	meta(dir, UUID, "one", 100);
	meta(dir, UUID, "second", BIG);
	bits(dir, RUN_HELD, UINT64_C(0xffff888000000001), 5, 1, true);
	bits(dir, RUN_HELD, UINT64_C(0xffff888000000002), BIG - 1, 1, true);
	bits(dir, RUN_MARKED, 0, 7, 100000, true);
	bits(dir, RUN_MARKED, 0, 50, 3, false);
	bits(dir, RUN_FAILED, 0, 32767, 2, true); /* over the edge of a chunk */
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(all.count, 1);
	assert_string_equal(told->uuid, UUID);
	assert_int_equal(told->meta_bytes, 6);
	assert_memory_equal(told->meta, "second", 6);
	assert_int_equal(told->instance_count, 2);
	assert_int_equal(region_set_count(told_held(told, UINT64_C(0xffff888000000001))), 1);
	assert_true(region_set_contains(told_held(told, UINT64_C(0xffff888000000001)), 5));
	assert_true(region_set_contains(told_held(told, UINT64_C(0xffff888000000002)), (region_t)BIG - 1));
	assert_int_equal(region_set_count(&told->bits[RUN_MARKED]), 100000 - 3);
	assert_true(region_set_contains_range(&told->bits[RUN_MARKED], 53, 100007));
	assert_int_equal(region_set_count(&told->bits[RUN_FAILED]), 2);
	assert_true(region_set_is_empty(&told->bits[RUN_GHOST]));
	/* What was read back can be cleared. */
	bits(dir, RUN_MARKED, 0, 0, BIG, false);
	bits(dir, RUN_FAILED, 0, 32768, 1, false);
	told_free(&all);
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_true(region_set_is_empty(&told->bits[RUN_MARKED]));
	assert_int_equal(region_set_count(&told->bits[RUN_FAILED]), 1);
	told_free(&all);
	run_dir_close(dir);
}

static void test_drop(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	struct told_all all;

	meta(dir, UUID, "m", BIG);
	meta(dir, "other", "o", 10);
	bits(dir, RUN_HELD, 1, 5, 1, true);
	bits(dir, RUN_HELD, 2, 6, 1, true);
	drop(dir, UUID, 1);
	drop(dir, UUID, 99);
	drop(dir, "unknown", 0);
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(all.count, 2);
	drop(dir, "other", 0);
	told_free(&all);
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(all.count, 1);
	assert_int_equal(all.logs[0].instance_count, 1);
	assert_int_equal(all.logs[0].luids[0], 2);
	drop(dir, UUID, 0);
	assert_int_equal(try_bits(dir, UUID, RUN_GHOST, 0, 0, 5, false), 0); /* of no log: nothing to clear */
	told_free(&all);
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(all.count, 0);
	run_dir_close(dir);
}

struct dropper {
	struct run_dir *dir;
	unsigned told;
};

static void drop_told(void *context, const struct event *event)
{
	struct dropper *dropper = context;
	char uuid[LOG_UUID_BYTES];

	snprintf(uuid, sizeof(uuid), "%s", event->run_log.uuid);
	if (dropper->told++ % 2)
		meta(dropper->dir, uuid, "again", 10);
	else
		drop(dropper->dir, uuid, 0);
}

/* The core answers what it is told while it is told: each log once, whatever becomes of it. */
static void test_answers_while_loading(void **state)
{
	struct dropper dropper = {.dir = dir_open(*state, false)};
	struct event_sink sink = {.post = drop_told, .context = &dropper};
	struct told_all all;
	char uuid[8];

	for (int i = 0; i < 8; i++) {
		snprintf(uuid, sizeof(uuid), "log%d", i);
		meta(dropper.dir, uuid, "m", 10);
	}
	run_dir_close(dropper.dir);
	dropper.dir = dir_open(*state, false);
	run_dir_load(dropper.dir, &sink);
	assert_int_equal(dropper.told, 8);
	run_dir_close(dropper.dir);
	dropper.dir = dir_open(*state, false);
	told_load(dropper.dir, &all);
	assert_int_equal(all.count, 4);
	assert_memory_equal(all.logs[0].meta, "again", 5);
	told_free(&all);
	run_dir_close(dropper.dir);
}

static void test_shrink_forgets(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	struct told_all all;

	meta(dir, UUID, "m", 1000);
	bits(dir, RUN_GHOST, 0, 0, 1000, true);
	bits(dir, RUN_HELD, 4, 995, 5, true);
	meta(dir, UUID, "m", 13);
	meta(dir, UUID, "m", 1000);
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(region_set_count(&all.logs[0].bits[RUN_GHOST]), 13);
	assert_true(region_set_is_empty(&all.logs[0].held[0]));
	told_free(&all);
	bits(dir, RUN_GHOST, 0, 5000, 1, true); /* of a larger table to come */
	meta(dir, UUID, "n", 1000);
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_true(region_set_contains(&all.logs[0].bits[RUN_GHOST], 5000));
	told_free(&all);
	run_dir_close(dir);
}

/* Random ranges against region sets, reopening now and then. */
static void test_random(void **state)
{
	struct region_set model[RUN_BITS_COUNT];
	struct run_dir *dir = dir_open(*state, false);
	uint64_t seed = 42;
	struct told_all all;

	for (int kind = 0; kind < RUN_BITS_COUNT; kind++)
		region_set_init(&model[kind]);
	meta(dir, UUID, "m", BIG);
	for (int step = 0; step < 3000; step++) {
		enum run_bits kind = unit_random(&seed) % RUN_BITS_COUNT;
		uint64_t limit = unit_random(&seed) % 3 ? 70000 : BIG;
		uint64_t first = unit_random(&seed) % limit, count = unit_random(&seed) % 100;
		bool set = unit_random(&seed) % 2;

		if (unit_random(&seed) % 8 == 0)
			count = unit_random(&seed) % 300000;
		if (count > BIG - first)
			count = BIG - first;
		bits(dir, kind, 9, first, count, set);
		if (set)
			region_set_add_range(&model[kind], first, first + count);
		else
			region_set_remove_range(&model[kind], first, first + count);
		if (step % 500 != 499)
			continue;
		run_dir_close(dir);
		dir = dir_open(*state, false);
		told_load(dir, &all);
		assert_true(region_set_equal(&model[RUN_HELD], &all.logs[0].held[0]));
		for (int other = RUN_HELD + 1; other < RUN_BITS_COUNT; other++)
			assert_true(region_set_equal(&model[other], &all.logs[0].bits[other]));
		told_free(&all);
	}
	for (int kind = 0; kind < RUN_BITS_COUNT; kind++)
		region_set_fini(&model[kind]);
	run_dir_close(dir);
}

/* A daemon that is killed has kept what it set. */
static void test_killed(void **state)
{
	struct run_dir *dir;
	struct told_all all;
	int status;
	pid_t child = fork();

	if (child == 0) {
		dir = dir_open(*state, false);
		meta(dir, UUID, "m", BIG);
		bits(dir, RUN_HELD, 3, 12345, 1, true);
		kill(getpid(), SIGKILL);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(all.count, 1);
	assert_true(region_set_contains(told_held(&all.logs[0], 3), 12345));
	told_free(&all);
	run_dir_close(dir);
}

/* The only name of a log's directory. */
static const char *log_file(const struct port_test *test, const char *file)
{
	static char path[256];
	FILE *found;
	char command[256], name[64] = "";

	snprintf(command, sizeof(command), "ls %s | grep -E '^[0-9a-f]{32}$'", port_test_path(test, "run"));
	found = popen(command, "re");
	assert_non_null(found);
	assert_non_null(fgets(name, sizeof(name), found));
	pclose(found);
	name[strcspn(name, "\n")] = '\0';
	snprintf(path, sizeof(path), "run/%s/%s", name, file);
	return path;
}

static void test_other_boot(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	struct told_all all;
	int fd;

	meta(dir, UUID, "m", BIG);
	bits(dir, RUN_HELD, 3, 12345, 1, true);
	run_dir_close(dir);
	fd = open(port_test_path(*state, "run/boot"), O_WRONLY);
	assert_int_equal(pwrite(fd, "zzzz", 4, 0), 4);
	close(fd);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(all.count, 0);
	assert_true(run_dir_is_new(dir));
	run_dir_close(dir);
	dir = dir_open(*state, false); /* and it is this boot's now */
	assert_false(run_dir_is_new(dir));
	run_dir_close(dir);
}

static void test_corrupt_meta(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	const char *path;
	struct told_all all;
	char byte;
	int fd;

	meta(dir, UUID, "meta", BIG);
	bits(dir, RUN_HELD, 3, 12345, 1, true);
	run_dir_close(dir);
	path = port_test_path(*state, log_file(*state, "meta"));
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, 20), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 20), 1);
	close(fd);
	dir = dir_open(*state, true);
	told_load(dir, &all);
	assert_int_equal(all.count, 0);
	run_dir_close(dir);
	dir = dir_open(*state, true); /* it stays so ... */
	meta(dir, UUID, "new", BIG);
	drop(dir, UUID, 0); /* ... until no log is left */
	run_dir_close(dir);
	dir = dir_open(*state, false);
	run_dir_close(dir);
}

static void test_missing_meta_and_bad_size(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	struct told_all all;

	meta(dir, UUID, "meta", BIG);
	run_dir_close(dir);
	assert_int_equal(unlink(port_test_path(*state, log_file(*state, "meta"))), 0);
	dir = dir_open(*state, false); /* no bits either: it never came to be */
	meta(dir, UUID, "meta", BIG);
	bits(dir, RUN_GHOST, 0, 1, 1, true);
	run_dir_close(dir);
	port_test_write(*state, log_file(*state, "ghost"), "short", 5);
	dir = dir_open(*state, true);
	told_load(dir, &all);
	assert_int_equal(all.count, 1); /* what can be read is told */
	told_free(&all);
	drop(dir, UUID, 0);
	meta(dir, UUID, "meta", BIG);
	bits(dir, RUN_GHOST, 0, 1, 1, true);
	run_dir_close(dir);
	assert_int_equal(unlink(port_test_path(*state, log_file(*state, "meta"))), 0);
	dir = dir_open(*state, true); /* bits of nobody */
	run_dir_close(dir);
}

static void test_second_daemon(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	bool lost;
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct run_dir *second;

		_exit(run_dir_open(port_test_path(*state, "run"), &second, &lost) == -EBUSY ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	run_dir_close(dir);
}

/* A set bit costs a page, not the whole file; a full file system is an error, not SIGBUS, and is not
 * forgotten. */
static void no_space(const struct port_test *test)
{
	struct run_dir *dir = dir_open(test, false);
	struct told_all all;
	struct stat status;
	uint64_t region;
	int error = 0;

	meta(dir, UUID, "m", BIG);
	bits(dir, RUN_MARKED, 0, BIG - 1, 1, true);
	assert_int_equal(stat(port_test_path(test, log_file(test, "marked")), &status), 0);
	assert_true(status.st_size >= (off_t)(BIG / 8) && status.st_blocks <= 16);
	for (region = 0; region < BIG && !error; region += 32768)
		error = try_bits(dir, UUID, RUN_GHOST, 0, region, 1, true);
	assert_int_equal(error, -ENOSPC);
	assert_int_equal(try_bits(dir, UUID, RUN_GHOST, 0, 0, BIG, true), -ENOSPC);
	bits(dir, RUN_MARKED, 0, BIG - 2, 2, true); /* has its memory */
	bits(dir, RUN_GHOST, 0, 0, BIG, false);
	run_dir_close(dir);
	dir = dir_open(test, true);
	told_load(dir, &all);
	assert_int_equal(region_set_count(&all.logs[0].bits[RUN_MARKED]), 2);
	told_free(&all);
	drop(dir, UUID, 0);
	run_dir_close(dir);
	run_dir_close(dir_open(test, false));
}

static void test_no_space(void **state)
{
	struct port_test *test = *state;
	int status;
	pid_t child;

	if (geteuid() != 0)
		skip();
	child = fork();
	if (child == 0) {
		/* In a mount namespace of its own, which goes away with the child. */
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mkdir(port_test_path(test, "run"), 0700) ||
		    mount("tmpfs", port_test_path(test, "run"), "tmpfs", 0, "size=256k"))
			_exit(EXIT_SKIPPED);
		no_space(test);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED)
		skip();
	assert_int_equal(status, 0);
}

/* What this process used, not what passed: the machine may be busy. */
static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Ranges are not done bit by bit: 64 Mi regions, set, read back, cleared, in a time that single bits cannot
 * have. */
static void test_whole_log_is_quick(void **state)
{
	struct run_dir *dir = dir_open(*state, false);
	struct told_all all;
	uint64_t start;

	meta(dir, UUID, "m", BIG);
	bits(dir, RUN_UNSYNCED, 0, 0, BIG, true);
	start = cpu_ns();
	for (int i = 0; i < 10; i++)
		bits(dir, RUN_UNSYNCED, 0, 1, BIG - 2, i % 2);
	assert_true(cpu_ns() - start < UINT64_C(5000000000));
	run_dir_close(dir);
	dir = dir_open(*state, false);
	told_load(dir, &all);
	assert_int_equal(region_set_count(&all.logs[0].bits[RUN_UNSYNCED]), BIG);
	told_free(&all);
	run_dir_close(dir);
}

/* A killed daemon cannot end: the log whose device it is writing is told with that, others are not; and the
 * lock goes with the log. */
static void test_former_writes(void **state)
{
	const struct port_test *test = *state;
	struct run_dir *dir = dir_open(test, false);
	struct effect drop = {.type = EFFECT_RUN_DROP, .uuid = UUID};
	struct told_all all;
	int fd, copy_fd, flush_fd;

	meta(dir, UUID, "one", 8);
	meta(dir, "LVM-other", "two", 8);
	run_dir_close(dir);
	copy_fd = write_lock_open(port_test_path(test, "run"), WRITE_LOCK_LEGS, "LVM-other");
	assert_true(copy_fd >= 0);
	assert_int_equal(write_lock_take(copy_fd), 0);
	flush_fd = write_lock_open(port_test_path(test, "run"), WRITE_LOCK_FLUSH, UUID);
	assert_true(flush_fd >= 0);
	assert_int_equal(write_lock_take(flush_fd), 0);
	fd = write_lock_open(port_test_path(test, "run"), WRITE_LOCK_DEVICE, UUID);
	assert_true(fd >= 0);
	assert_int_equal(write_lock_take(fd), 0);
	dir = dir_open(test, false);
	told_load(dir, &all);
	assert_int_equal(all.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(all.logs[i].writing, !strcmp(all.logs[i].uuid, UUID));
		assert_int_equal(all.logs[i].copying, !all.logs[i].writing);
		assert_int_equal(all.logs[i].flushing, all.logs[i].writing);
	}
	told_free(&all);
	assert_int_equal(run_dir_perform(dir, &drop), 0);
	assert_false(write_lock_held(port_test_path(test, "run"), WRITE_LOCK_DEVICE, UUID));
	close(fd);
	close(copy_fd);
	close(flush_fd);
	run_dir_close(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, port_test_setup, port_test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_empty),
	    TEST(test_round_trip),
	    TEST(test_drop),
	    TEST(test_answers_while_loading),
	    TEST(test_shrink_forgets),
	    TEST(test_random),
	    TEST(test_killed),
	    TEST(test_other_boot),
	    TEST(test_corrupt_meta),
	    TEST(test_missing_meta_and_bad_size),
	    TEST(test_second_daemon),
	    TEST(test_no_space),
	    TEST(test_whole_log_is_quick),
	    TEST(test_former_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
