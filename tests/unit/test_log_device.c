/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "common/bytes.h"
#include "protocol/log_device.h"

/* An image of a device with `regions` in its header and the given bits set to clean by the simple functions.
 */
static uint8_t *image_new(uint64_t regions, uint64_t header_regions, uint32_t version, size_t *ret_size)
{
	size_t size = log_device_image_bytes(regions, 4096);
	uint8_t *image = calloc(1, size);

	bytes_put_u32(image, LOG_DEVICE_MAGIC);
	bytes_put_u32(image + 4, version);
	bytes_put_u64(image + 8, header_regions);
	*ret_size = size;
	return image;
}

static void test_sizes(void **state)
{
	(void)state;
	uint64_t first, end;

	/* create_log_context() of dm-log.c: bits in longs, then up to a block. */
	assert_true(log_device_used_bytes(1) == 1024 + 8);
	assert_true(log_device_used_bytes(64) == 1024 + 8);
	assert_true(log_device_used_bytes(65) == 1024 + 16);
	assert_true(log_device_used_bytes(LOG_REGIONS_MAX) == 1024 + (UINT64_C(1) << 29));
	assert_true(log_device_image_bytes(1, 512) == 1536);
	assert_true(log_device_image_bytes(1, 4096) == 4096);
	assert_true(log_device_image_bytes(4096, 512) == 1536);
	assert_true(log_device_image_bytes(4097, 512) == 2048);
	assert_true(log_device_image_bytes((4096 - 1024) * 8 + 1, 4096) == 8192);

	assert_true(log_device_byte(0) == 1024);
	assert_true(log_device_byte(8) == 1025);
	assert_true(log_device_block(0, 512) == 2);
	assert_true(log_device_block(0, 4096) == 0);
	assert_true(log_device_block(UINT32_MAX, 512) == ((UINT64_C(1) << 29) + 1023) / 512);

	log_device_block_regions(0, 512, 10000, &first, &end);
	assert_true(first == 0 && end == 0);
	log_device_block_regions(1, 1024, 10000, &first, &end);
	assert_true(first == 0 && end == 8192);
	log_device_block_regions(2, 1024, 10000, &first, &end);
	assert_true(first == 8192 && end == 10000);
	log_device_block_regions(3, 1024, 10000, &first, &end);
	assert_true(first == end);
	log_device_block_regions(0, 4096, 100000, &first, &end);
	assert_true(first == 0 && end == 3072 * 8);
	for (region_t region = 0; region < 100000; region += 37) {
		log_device_block_regions(log_device_block(region, 512), 512, 100000, &first, &end);
		assert_true(first <= region && region < end);
	}
}

/* Byte for byte what the kernel's disk log writes for 20 regions of which 3, 8 and 19 are dirty. */
static void test_golden(void **state)
{
	(void)state;
	static const uint8_t header[] = {0x72, 0x52, 0x69, 0x4d, 2, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t bits[] = {0xf7, 0xfe, 0x07, 0, 0, 0, 0, 0};
	struct region_set dirty = REGION_SET_EMPTY;
	uint8_t image[4096];

	region_set_add(&dirty, 3);
	region_set_add(&dirty, 8);
	region_set_add(&dirty, 19);
	region_set_add(&dirty, 20); /* not a region of this log: no bit */
	memset(image, 0x5a, sizeof(image));
	log_device_encode(0, sizeof(image), 20, &dirty, image);
	assert_memory_equal(image, header, sizeof(header));
	for (size_t i = sizeof(header); i < 1024; i++)
		assert_int_equal(image[i], 0);
	assert_memory_equal(image + 1024, bits, sizeof(bits));
	for (size_t i = 1024 + sizeof(bits); i < sizeof(image); i++)
		assert_int_equal(image[i], 0);
	region_set_fini(&dirty);
}

/* Encoding in pieces of any block size gives the same image as bit by bit, and decoding gives the set back.
 */
static void test_round_trip(void **state)
{
	(void)state;
	static const uint64_t counts[] = {1, 7, 8, 9, 63, 64, 65, 4096, 24576, 24577, 70001};
	uint64_t seed = 5;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct region_set dirty = REGION_SET_EMPTY, back = REGION_SET_EMPTY;
		uint64_t count = counts[i], header_regions = 0;
		size_t size;
		uint8_t *expected = image_new(count, count, 2, &size);
		uint8_t *image = malloc(size);
		for (int run = 0; run < 20; run++) {
			uint64_t first = unit_random(&seed) % count;
			region_set_add_range(&dirty, first,
					     first + 1 + unit_random(&seed) % (1 + count / 30));
		}
		region_set_truncate(&dirty, count);
		for (uint64_t region = 0; region < count; region++) {
			bool clean = !region_set_contains(&dirty, (region_t)region);
			log_device_set_clean(expected, (region_t)region, clean);
			assert_true(log_device_is_clean(expected, (region_t)region) == clean);
		}
		for (uint32_t block = 512; block <= 4096; block *= 2) {
			memset(image, 0xaa, size);
			for (size_t offset = 0; offset < size; offset += block)
				log_device_encode(offset, block, count, &dirty, image + offset);
			assert_memory_equal(image, expected, size);
		}
		assert_int_equal(log_device_decode(image, size, count, SYNC_DEFAULT, &back, &header_regions),
				 LOG_DEVICE_LOG);
		assert_true(header_regions == count);
		assert_true(region_set_equal(&dirty, &back));
		log_device_set_clean(image, 0, true);
		log_device_set_clean(image, 0, false);
		assert_false(log_device_is_clean(image, 0));
		free(expected);
		free(image);
		region_set_fini(&dirty);
		region_set_fini(&back);
	}
}

/* Regions 0 .. 9 of the header's, every second clean; expected number of dirty ones in a mirror of `count`.
 */
static void check_decode(uint64_t header_regions, uint32_t version, uint64_t count, enum sync_mode mode,
			 enum log_device_found found, uint64_t dirty_count)
{
	struct region_set dirty = REGION_SET_EMPTY;
	size_t size;
	uint8_t *image = image_new(count, header_regions, version, &size);

	for (region_t region = 0; region < 100; region += 2)
		log_device_set_clean(image, region, true);
	region_set_add(&dirty, 5000); /* dropped */
	assert_int_equal(log_device_decode(image, size, count, mode, &dirty, NULL), found);
	assert_true(region_set_count(&dirty) == dirty_count);
	assert_false(region_set_contains(&dirty, 5000));
	free(image);
	region_set_fini(&dirty);
}

static void test_header_rules(void **state)
{
	(void)state;
	/* as large as the mirror; version 1 is read as 2 */
	check_decode(100, 2, 100, SYNC_DEFAULT, LOG_DEVICE_LOG, 50);
	check_decode(100, 1, 100, SYNC_DEFAULT, LOG_DEVICE_LOG, 50);
	/* a header of ours with nosync is believed, unlike in the kernel */
	check_decode(100, 2, 100, SYNC_NOSYNC, LOG_DEVICE_LOG, 50);
	check_decode(100, 2, 100, SYNC_FORCE, LOG_DEVICE_LOG, 100);
	/* the mirror has grown: new bits dirty, or clean with nosync */
	check_decode(10, 2, 100, SYNC_DEFAULT, LOG_DEVICE_LOG, 5 + 90);
	check_decode(10, 2, 100, SYNC_NOSYNC, LOG_DEVICE_LOG, 5);
	check_decode(0, 2, 100, SYNC_DEFAULT, LOG_DEVICE_LOG, 100);
	check_decode(0, 2, 100, SYNC_NOSYNC, LOG_DEVICE_LOG, 0);
	/* it has shrunk */
	check_decode(100, 2, 9, SYNC_DEFAULT, LOG_DEVICE_LOG, 4);
	/* as LVM writes it */
	check_decode(LOG_DEVICE_REGIONS_ALL, 2, 100, SYNC_DEFAULT, LOG_DEVICE_LOG, 50);
	check_decode(LOG_DEVICE_REGIONS_ALL, 2, 100, SYNC_FORCE, LOG_DEVICE_LOG, 100);
	/* versions that are not ours to touch */
	check_decode(100, 0, 100, SYNC_NOSYNC, LOG_DEVICE_FOREIGN, 100);
	check_decode(100, 3, 100, SYNC_NOSYNC, LOG_DEVICE_FOREIGN, 100);
	check_decode(100, UINT32_MAX, 100, SYNC_DEFAULT, LOG_DEVICE_FOREIGN, 100);
}

static void test_no_header(void **state)
{
	(void)state;
	struct region_set dirty = REGION_SET_EMPTY;
	uint8_t image[4096];
	uint64_t header_regions = 1;

	memset(image, 0xff, sizeof(image));
	assert_int_equal(log_device_decode(image, sizeof(image), 100, SYNC_DEFAULT, &dirty, &header_regions),
			 LOG_DEVICE_BLANK);
	assert_true(region_set_count(&dirty) == 100);
	assert_true(header_regions == 0);
	assert_int_equal(log_device_decode(image, sizeof(image), 100, SYNC_FORCE, &dirty, NULL),
			 LOG_DEVICE_BLANK);
	assert_true(region_set_count(&dirty) == 100);
	assert_int_equal(log_device_decode(image, sizeof(image), 100, SYNC_NOSYNC, &dirty, NULL),
			 LOG_DEVICE_BLANK);
	assert_true(region_set_is_empty(&dirty));
	/* too few bytes: all dirty, whatever nosync says */
	assert_int_equal(log_device_decode(image, 1024 + 15, 100, SYNC_NOSYNC, &dirty, NULL),
			 LOG_DEVICE_SHORT);
	assert_true(region_set_count(&dirty) == 100);
	assert_int_equal(log_device_decode(image, 1024 + 16, 100, SYNC_NOSYNC, &dirty, NULL),
			 LOG_DEVICE_BLANK);
	assert_int_equal(log_device_decode(NULL, 0, 100, SYNC_NOSYNC, &dirty, NULL), LOG_DEVICE_SHORT);
	assert_true(region_set_count(&dirty) == 100);
	region_set_fini(&dirty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes),      cmocka_unit_test(test_golden),
	    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_header_rules),
	    cmocka_unit_test(test_no_header),
	};

	return cmocka_run_group_tests_name("log_device", tests, NULL, NULL);
}
