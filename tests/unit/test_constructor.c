/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>

#include "protocol/constructor.h"

static int parse(const char *text, size_t bytes, struct constructor *ret_constructor, bool *ret_terminated)
{
	const char *why = NULL;
	char *copy = test_malloc(bytes > 0 ? bytes : 1); /* exact, for sanitizers */

	memcpy(copy, text, bytes);
	int result = constructor_parse(copy, bytes, ret_constructor, ret_terminated, &why);
	test_free(copy);
	assert_non_null(why);
	assert_int_equal(*why == 0, result == 0);
	return result;
}

static void test_disk(void **state)
{
	(void)state;
	static const char text[] = "204800 clustered-disk 253:4 1024 nosync block_on_error";
	struct constructor constructor;
	bool terminated = true;

	assert_int_equal(parse(text, strlen(text), &constructor, &terminated), 0);
	assert_false(terminated);
	assert_true(constructor.length_sectors == 204800);
	assert_true(constructor.disk);
	assert_int_equal(constructor.major, 253);
	assert_int_equal(constructor.minor, 4);
	assert_true(constructor.region_size_sectors == 1024);
	assert_true(constructor.region_count == 200);
	assert_int_equal(constructor.sync_mode, SYNC_NOSYNC);
	assert_true(constructor.block_on_error);
	assert_int_equal(parse(text, sizeof(text), &constructor, &terminated),
			 0); /* a reconnect counts the NUL */
	assert_true(terminated);
}

static void test_core(void **state)
{
	(void)state;
	static const char text[] = "204801 clustered-core 1024";
	struct constructor constructor;
	bool terminated;

	assert_int_equal(parse(text, strlen(text), &constructor, &terminated), 0);
	assert_false(constructor.disk);
	assert_true(constructor.region_count == 201);
	assert_int_equal(constructor.sync_mode, SYNC_DEFAULT);
	assert_false(constructor.block_on_error);
	assert_int_equal(constructor.major, 0);
	assert_int_equal(constructor.minor, 0);
}

static void test_accepted(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t region_count;
		enum sync_mode sync_mode;
	} good[] = {
	    {"1 clustered-core 2", 1, SYNC_DEFAULT},
	    {"8 clustered-core 2147483648 sync", 1, SYNC_FORCE},
	    {"8589934590 clustered-core 2 nosync", UINT32_MAX, SYNC_NOSYNC},
	    {"100 clustered-core 8 block_on_error sync", 13, SYNC_FORCE},
	    {"  100   clustered-disk  4095:1048575  8  ", 13, SYNC_DEFAULT},
	    {"18014398509481984 clustered-core 33554432", 536870912, SYNC_DEFAULT},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct constructor constructor;
		bool terminated;
		assert_int_equal(parse(good[i].text, strlen(good[i].text), &constructor, &terminated), 0);
		assert_true(constructor.region_count == good[i].region_count);
		assert_int_equal(constructor.sync_mode, good[i].sync_mode);
	}
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "",
	    " ",
	    "204800",
	    "x clustered-core 1024",
	    "-1 clustered-core 1024",
	    "+1 clustered-core 1024",
	    "0x10 clustered-core 1024",
	    "0 clustered-core 1024",
	    "18446744073709551616 clustered-core 1024",
	    "18014398509481985 clustered-core 2147483648",
	    "204800 disk 253:4 1024",
	    "204800 clustered-diskette 253:4 1024",
	    "204800 clustered-dis 253:4 1024",
	    "204800 CLUSTERED-CORE 1024",
	    "204800 clustered-disk",
	    "204800 clustered-disk 1024",
	    "204800 clustered-disk 253:4",
	    "204800 clustered-disk :4 1024",
	    "204800 clustered-disk 253: 1024",
	    "204800 clustered-disk 253:4:1 1024",
	    "204800 clustered-disk 4096:0 1024",
	    "204800 clustered-disk 0:1048576 1024",
	    "204800 clustered-disk /dev/sda 1024",
	    "204800 clustered-core",
	    "204800 clustered-core 0",
	    "204800 clustered-core 1",
	    "204800 clustered-core 1000",
	    "204800 clustered-core 4294967296",
	    "204800 clustered-core 1024k",
	    "8589934592 clustered-core 2",
	    "204800 clustered-core 1024 async",
	    "204800 clustered-core 1024 sync sync",
	    "204800 clustered-core 1024 sync nosync",
	    "204800 clustered-core 1024 block_on_error block_on_error",
	    "204800 clustered-core 1024 nosync 7",
	    "204800 clustered-core\t1024",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct constructor constructor = {.length_sectors = 4711};
		bool terminated = true;
		assert_int_equal(parse(bad[i], strlen(bad[i]), &constructor, &terminated), -EINVAL);
		assert_int_equal(parse(bad[i], strlen(bad[i]) + 1, &constructor, &terminated), -EINVAL);
		assert_true(constructor.length_sectors == 4711); /* unchanged */
		assert_true(terminated);
	}
}

static void test_ends(void **state)
{
	(void)state;
	struct constructor constructor;
	bool terminated;
	char text[2 * CONSTRUCTOR_BYTES];

	assert_int_equal(parse("8 clustered-core 8\0", 20, &constructor, &terminated), -EINVAL);
	assert_int_equal(parse("8 clustered\0core 8", 18, &constructor, &terminated), -EINVAL);
	assert_int_equal(parse("\0", 1, &constructor, &terminated), -EINVAL);
	memset(text, ' ', sizeof(text));
	memcpy(text, "8 clustered-core 8", 18);
	assert_int_equal(parse(text, CONSTRUCTOR_BYTES - 1, &constructor, &terminated), 0);
	assert_int_equal(parse(text, CONSTRUCTOR_BYTES, &constructor, &terminated), -EINVAL);
	text[CONSTRUCTOR_BYTES - 1] = 0;
	assert_int_equal(parse(text, CONSTRUCTOR_BYTES, &constructor, &terminated), 0);
	assert_true(terminated);
}

static void test_format(void **state)
{
	(void)state;
	static const char *const texts[] = {
	    "204800 clustered-disk 253:4 1024",
	    "204800 clustered-disk 253:4 1024 sync",
	    "204800 clustered-disk 8:16 1024 nosync block_on_error",
	    "1 clustered-core 2",
	    "18014398509481984 clustered-core 33554432 sync block_on_error",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct constructor constructor;
		bool terminated;
		char text[CONSTRUCTOR_BYTES];
		size_t length = strlen(texts[i]);
		assert_int_equal(parse(texts[i], length, &constructor, &terminated), 0);
		assert_int_equal(constructor_format(&constructor, text, sizeof(text)), (int)length);
		assert_string_equal(text, texts[i]);
		assert_int_equal(constructor_format(&constructor, text, length + 1), (int)length);
		assert_int_equal(constructor_format(&constructor, text, length), -ENOSPC);
		assert_int_equal(constructor_format(&constructor, text, 1), -ENOSPC);
	}
}

/* As cmirrord printed them: daemons/cmirrord/functions.c, disk_status_info() and the three beside it. */
static void test_status(void **state)
{
	(void)state;
	struct constructor disk = {
	    .length_sectors = 8,
	    .disk = true,
	    .major = 253,
	    .minor = 4,
	    .region_size_sectors = 1024,
	    .region_count = 1,
	};
	struct constructor core = {.length_sectors = 8, .region_size_sectors = 1024, .region_count = 1};
	char text[CONSTRUCTOR_STATUS_BYTES];

	assert_int_equal(constructor_status_info(&disk, 'A', text, sizeof(text)), 24);
	assert_string_equal(text, "3 clustered-disk 253:4 A");
	assert_int_equal(constructor_status_info(&disk, 'D', text, 24), -ENOSPC);
	constructor_status_info(&core, 'A', text, sizeof(text));
	assert_string_equal(text, "1 clustered-core");
	constructor_status_table(&disk, text, sizeof(text));
	assert_string_equal(text, "clustered-disk 253:4 1024 ");
	constructor_status_table(&core, text, sizeof(text));
	assert_string_equal(text, "clustered-core 1024 ");
	core.sync_mode = SYNC_NOSYNC;
	core.block_on_error = true;
	constructor_status_table(&core, text, sizeof(text));
	assert_string_equal(text, "clustered-core 1024 nosync block_on_error ");
	assert_int_equal(constructor_status_table(&core, text, 10), -ENOSPC);
	assert_int_equal(constructor_device(&disk, text, sizeof(text)), 5);
	assert_string_equal(text, "253:4");
	assert_int_equal(constructor_device(&disk, text, 5), -ENOSPC);
	assert_int_equal(constructor_device(&core, text, sizeof(text)), 0);
	assert_string_equal(text, "");
}

static void test_region_count(void **state)
{
	(void)state;
	assert_true(constructor_region_count(0, 8) == 0);
	assert_true(constructor_region_count(8, 0) == 0);
	assert_true(constructor_region_count(1, 8) == 1);
	assert_true(constructor_region_count(8, 8) == 1);
	assert_true(constructor_region_count(9, 8) == 2);
	assert_true(constructor_region_count(UINT64_MAX, 2) == UINT64_C(1) << 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_disk),     cmocka_unit_test(test_core),
	    cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_ends),     cmocka_unit_test(test_format),
	    cmocka_unit_test(test_status),   cmocka_unit_test(test_region_count),
	};

	return cmocka_run_group_tests_name("constructor", tests, NULL, NULL);
}
