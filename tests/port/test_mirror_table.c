/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/port/mirror_table.h"

static void test_disk_log(void **state)
{
	struct mirror_table table = {.live = true};

	(void)state;
	assert_int_equal(
	    mirror_table_parse_line("0 8192 mirror userspace 4 LVM-abc clustered-disk 253:3 1024 "
				    "2 253:4 0 253:5 384 1 handle_errors\n",
				    &table),
	    0);
	assert_string_equal(table.uuid, "LVM-abc");
	assert_int_equal(table.start_sector, 0);
	assert_int_equal(table.length_sectors, 8192);
	assert_true(table.live);
	assert_int_equal(table.leg_count, 2);
	assert_int_equal(table.legs[0].major, 253);
	assert_int_equal(table.legs[0].minor, 4);
	assert_int_equal(table.legs[0].offset_sectors, 0);
	assert_int_equal(table.legs[1].minor, 5);
	assert_int_equal(table.legs[1].offset_sectors, 384);
	assert_true(table.handles_errors);
}

/* userspace_status() prints usr_argc, which counts integrated_flush too. */
static void test_integrated_flush_and_options(void **state)
{
	struct mirror_table table;

	(void)state;
	assert_int_equal(
	    mirror_table_parse_params("userspace 6 u integrated_flush clustered-core 1024 nosync "
				      "block_on_error  3 8:0 0 8:16 0 8:32 7",
				      &table),
	    0);
	assert_string_equal(table.uuid, "u");
	assert_int_equal(table.leg_count, 3);
	assert_int_equal(table.legs[2].minor, 32);
	assert_int_equal(table.legs[2].offset_sectors, 7);
	assert_false(table.handles_errors);
}

static void test_paths(void **state)
{
	struct mirror_table table;

	(void)state;
	assert_int_equal(
	    mirror_table_parse_line("16 64 mirror userspace 3 u clustered-core 2 2 /a/leg:0 0 8:1 0", &table),
	    0);
	assert_int_equal(table.start_sector, 16);
	assert_string_equal(table.legs[0].path, "/a/leg:0");
	assert_string_equal(table.legs[1].path, "");
}

static void test_others(void **state)
{
	static const char *const lines[] = {
	    "0 8192 linear 8:0 0",
	    "0 8192 mirror core 2 1024 nosync 2 8:0 0 8:1 0",
	    "0 8192 mirror disk 3 8:2 1024 nosync 2 8:0 0 8:1 0",
	    "0 8192 mirror userspace 3 u other-type 1024 2 8:0 0 8:1 0",
	};
	struct mirror_table table;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(mirror_table_parse_line(lines[i], &table), -ENOENT);
}

/* The kernel takes eight (DM_KCOPYD_MAX_REGIONS). */
static const char nine_legs[] = "0 8192 mirror userspace 3 u clustered-core 2 "
				"9 1:0 0 1:1 0 1:2 0 1:3 0 1:4 0 1:5 0 1:6 0 1:7 0 1:8 0";

static void test_malformed(void **state)
{
	static const char *const lines[] = {
	    "",
	    "0 8192",
	    "x 8192 mirror userspace 3 u clustered-core 2 1 8:0 0",
	    "0 -1 mirror userspace 3 u clustered-core 2 1 8:0 0",
	    "0 8192 mirror userspace",
	    "0 8192 mirror userspace 3",
	    "0 8192 mirror userspace 1 u",
	    "0 8192 mirror userspace 3 u clustered-core",
	    "0 8192 mirror userspace 99999999999999999999 u clustered-core 2 1 8:0 0",
	    "0 8192 mirror userspace 3 u clustered-core 2",
	    "0 8192 mirror userspace 3 u clustered-core 2 0",
	    nine_legs,
	    "0 8192 mirror userspace 3 u clustered-core 2 2 8:0 0",
	    "0 8192 mirror userspace 3 u clustered-core 2 1 8:0",
	    "0 8192 mirror userspace 3 u clustered-core 2 1 8:0 18446744073709551615",
	    "0 8192 mirror userspace 3 u clustered-core 2 1 8: 0",
	    "0 8192 mirror userspace 3 u clustered-core 2 1 :0 0",
	    "0 8192 mirror userspace 3 u clustered-core 2 1 sda 0",
	    "0 8192 mirror userspace 3 u clustered-core 2 1 8:99999999999 0",
	};
	struct mirror_table table;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (mirror_table_parse_line(lines[i], &table) != -EINVAL)
			fail_msg("taken: %s", lines[i]);
	}
}

static void test_too_long(void **state)
{
	char line[1024], uuid[LOG_UUID_BYTES + 1];
	struct mirror_table table;

	(void)state;
	memset(uuid, 'u', sizeof(uuid));
	uuid[LOG_UUID_BYTES] = '\0';
	snprintf(line, sizeof(line), "userspace 3 %s clustered-core 2 1 8:0 0", uuid);
	assert_int_equal(mirror_table_parse_params(line, &table), -EINVAL);
	uuid[LOG_UUID_BYTES - 1] = '\0';
	snprintf(line, sizeof(line), "userspace 3 %s clustered-core 2 1 8:0 0", uuid);
	assert_int_equal(mirror_table_parse_params(line, &table), 0);
	memset(line, ' ', sizeof(line));
	for (size_t i = 0; i < 1000; i += 2)
		line[i] = 'w';
	line[1000] = '\0';
	assert_int_equal(mirror_table_parse_line(line, &table), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_disk_log),  cmocka_unit_test(test_integrated_flush_and_options),
	    cmocka_unit_test(test_paths),     cmocka_unit_test(test_others),
	    cmocka_unit_test(test_malformed), cmocka_unit_test(test_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
