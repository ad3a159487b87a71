/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "common/bytes.h"

static void test_round_trip(void **state)
{
	(void)state;
	struct bytes_writer writer;
	struct bytes_reader reader;

	bytes_writer_init(&writer);
	bytes_write_u8(&writer, 0x12);
	bytes_write_u16(&writer, 0x3456);
	bytes_write_u32(&writer, 0x789abcde);
	bytes_write_u64(&writer, UINT64_C(0x0123456789abcdef));
	bytes_write_span(&writer, "xyz", 3);
	bytes_write_zeroes(&writer, 2);
	assert_false(writer.failed);
	assert_int_equal(bytes_writer_size(&writer), 1 + 2 + 4 + 8 + 3 + 2);

	static const uint8_t expected[] = {0x12, 0x56, 0x34, 0xde, 0xbc, 0x9a, 0x78, 0xef, 0xcd, 0xab,
					   0x89, 0x67, 0x45, 0x23, 0x01, 'x',  'y',  'z',  0,	 0};
	assert_memory_equal(writer.bytes, expected, sizeof(expected));

	bytes_reader_init(&reader, writer.bytes, writer.size);
	assert_int_equal(bytes_read_u8(&reader), 0x12);
	assert_int_equal(bytes_read_u16(&reader), 0x3456);
	assert_int_equal(bytes_read_u32(&reader), 0x789abcde);
	assert_true(bytes_read_u64(&reader) == UINT64_C(0x0123456789abcdef));
	assert_int_equal(bytes_reader_left(&reader), 5);
	assert_memory_equal(bytes_read_span(&reader, 3), "xyz", 3);
	assert_non_null(bytes_read_span(&reader, 2));
	assert_false(reader.failed);
	assert_int_equal(bytes_reader_left(&reader), 0);
	bytes_writer_fini(&writer);
}

/* Each read that would go beyond the end fails for good, gives 0 and moves nothing. */
static void test_overrun(void **state)
{
	(void)state;
	static const uint8_t seven[7] = {1, 2, 3, 4, 5, 6, 7};
	struct bytes_reader reader;

	bytes_reader_init(&reader, seven, sizeof(seven));
	assert_true(bytes_read_u64(&reader) == 0);
	assert_true(reader.failed);
	assert_int_equal(bytes_read_u8(&reader), 0);
	assert_null(bytes_read_span(&reader, 0));
	assert_int_equal(bytes_reader_left(&reader), 0);

	bytes_reader_init(&reader, seven, 3);
	assert_int_equal(bytes_read_u32(&reader), 0);
	assert_true(reader.failed);

	bytes_reader_init(&reader, seven, 1);
	assert_int_equal(bytes_read_u16(&reader), 0);
	assert_true(reader.failed);

	bytes_reader_init(&reader, seven, sizeof(seven));
	assert_null(bytes_read_span(&reader, SIZE_MAX));
	assert_true(reader.failed);

	bytes_reader_init(&reader, NULL, 0);
	assert_int_equal(bytes_reader_left(&reader), 0);
	assert_int_equal(bytes_read_u8(&reader), 0);
	assert_true(reader.failed);
}

static void test_varint_round_trip(void **state)
{
	(void)state;
	static const uint64_t values[] = {
	    0, 1, 127, 128, 129, 16383, 16384, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX};
	struct bytes_writer writer;
	struct bytes_reader reader;

	bytes_writer_init(&writer);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		bytes_write_varint(&writer, values[i]);
	bytes_reader_init(&reader, writer.bytes, writer.size);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		assert_true(bytes_read_varint(&reader) == values[i]);
	assert_false(reader.failed);
	assert_int_equal(bytes_reader_left(&reader), 0);
	bytes_writer_fini(&writer);
}

static void test_varint_refused(void **state)
{
	(void)state;
	static const struct {
		uint8_t bytes[12];
		size_t size;
	} bad[] = {
	    {{0}, 0},								   /* nothing */
	    {{0x80}, 1},							   /* cut */
	    {{0x80, 0x00}, 2},							   /* longer than needed */
	    {{0xff, 0x80, 0x00}, 3},						   /* longer than needed */
	    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10},	   /* 65 bits */
	    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0}, 11}, /* eleven bytes */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes_reader reader;
		bytes_reader_init(&reader, bad[i].bytes, bad[i].size);
		assert_true(bytes_read_varint(&reader) == 0);
		assert_true(reader.failed);
	}
}

static void test_patch_and_truncate(void **state)
{
	(void)state;
	struct bytes_writer writer;

	bytes_writer_init(&writer);
	bytes_write_u8(&writer, 1);
	size_t offset = bytes_writer_reserve_u32(&writer);
	bytes_write_u8(&writer, 2);
	bytes_writer_patch_u32(&writer, offset, 0x01020304);
	static const uint8_t expected[] = {1, 4, 3, 2, 1, 2};
	assert_int_equal(writer.size, sizeof(expected));
	assert_memory_equal(writer.bytes, expected, sizeof(expected));
	bytes_writer_clear(&writer);
	assert_int_equal(bytes_writer_size(&writer), 0);
	bytes_writer_fini(&writer);
}

static void test_steal(void **state)
{
	(void)state;
	struct bytes_writer writer;
	size_t size = 99;

	bytes_writer_init(&writer);
	assert_null(bytes_writer_steal(&writer, &size));
	assert_int_equal(size, 0);
	bytes_write_u16(&writer, 0x0201);
	uint8_t *bytes = bytes_writer_steal(&writer, &size);
	assert_int_equal(size, 2);
	assert_int_equal(bytes[0], 1);
	assert_int_equal(bytes[1], 2);
	assert_int_equal(bytes_writer_size(&writer), 0);
	free(bytes);
	bytes_writer_fini(&writer);
}

/* A size that no memory can hold is a failure that stays, not an overflow. */
static void test_memory_short(void **state)
{
	(void)state;
	struct bytes_writer writer;
	size_t size;

	bytes_writer_init(&writer);
	bytes_write_u32(&writer, 7);
	bytes_write_zeroes(&writer, SIZE_MAX - 2);
	assert_true(writer.failed);
	assert_int_equal(bytes_writer_size(&writer), 4);
	bytes_write_u8(&writer, 1);
	assert_int_equal(bytes_writer_size(&writer), 4);
	bytes_writer_patch_u32(&writer, 100, 1);
	assert_null(bytes_writer_steal(&writer, &size));
	assert_int_equal(size, 0);
	assert_false(writer.failed);
	bytes_writer_fini(&writer);
}

static void test_growth(void **state)
{
	(void)state;
	struct bytes_writer writer;

	bytes_writer_init(&writer);
	for (uint32_t i = 0; i < 100000; i++)
		bytes_write_u32(&writer, i);
	assert_false(writer.failed);
	assert_int_equal(writer.size, 400000);
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(bytes_get_u32(writer.bytes + 4 * (size_t)i), i);
	bytes_writer_fini(&writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),	       cmocka_unit_test(test_overrun),
	    cmocka_unit_test(test_varint_round_trip),  cmocka_unit_test(test_varint_refused),
	    cmocka_unit_test(test_patch_and_truncate), cmocka_unit_test(test_steal),
	    cmocka_unit_test(test_memory_short),       cmocka_unit_test(test_growth),
	};

	return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
