/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First byte even: the rest is a set in canonical form. Odd: the rest is changes, made to a set and to plain
 * bits. */
#include "tests/fuzz/fuzz.h"

#include "common/region_set.h"

#define SPACE (2u * 65536u + 4096u)

static void check_decoder(const uint8_t *data, size_t size)
{
	struct region_set set = REGION_SET_EMPTY;
	struct bytes_reader reader;
	struct bytes_writer writer;

	bytes_reader_init(&reader, data, size);
	if (region_set_deserialize(&set, &reader, LOG_REGIONS_MAX) == 0) {
		size_t used = size - bytes_reader_left(&reader);
		bytes_writer_init(&writer);
		region_set_serialize(&set, &writer);
		FUZZ_CHECK(writer.size == used && memcmp(writer.bytes, data, used) == 0);
		bytes_writer_fini(&writer);
	} else {
		FUZZ_CHECK(reader.failed && region_set_is_empty(&set));
	}
	region_set_fini(&set);
}

static void check_equal(const struct region_set *set, const uint8_t *bits)
{
	struct region_set other = REGION_SET_EMPTY;
	uint64_t before = 0, end = 0, first;

	for (uint32_t region = 0; region < SPACE; region++) {
		if (bits[region])
			region_set_add(&other, region);
	}
	FUZZ_CHECK(region_set_equal(set, &other));
	FUZZ_CHECK(region_set_count(set) == region_set_count(&other));
	FUZZ_CHECK(region_set_digest(set, 1) == region_set_digest(&other, 1));
	for (; region_set_next_run(set, end, &first, &end); before = end) {
		FUZZ_CHECK(memchr(bits + before, 1, first - before) == NULL);
		FUZZ_CHECK(memchr(bits + first, 0, end - first) == NULL);
	}
	FUZZ_CHECK(memchr(bits + before, 1, SPACE - before) == NULL);
	region_set_fini(&other);
}

/* Changes of seven bytes: what, 24 bits of first region, 24 bits of length. */
static void check_changes(const uint8_t *data, size_t size)
{
	static uint8_t bits[SPACE];
	struct region_set set = REGION_SET_EMPTY, other = REGION_SET_EMPTY;

	memset(bits, 0, sizeof(bits));
	for (; size >= 7; data += 7, size -= 7) {
		uint32_t first = (data[1] | data[2] << 8 | data[3] << 16) % SPACE;
		uint32_t end = first + (data[4] | data[5] << 8 | data[6] << 16) % (SPACE - first);
		switch (data[0] % 7) {
		case 0:
			region_set_add_range(&set, first, end);
			memset(bits + first, 1, end - first);
			break;
		case 1:
			region_set_remove_range(&set, first, end);
			memset(bits + first, 0, end - first);
			break;
		case 2:
			FUZZ_CHECK(region_set_add(&set, first) == !bits[first]);
			bits[first] = 1;
			break;
		case 3:
			FUZZ_CHECK(region_set_remove(&set, first) == bits[first]);
			bits[first] = 0;
			break;
		case 4:
			region_set_add_range(&other, first, end);
			region_set_union_with(&set, &other);
			for (uint64_t at = 0, from = 0; region_set_next_run(&other, at, &from, &at);)
				memset(bits + from, 1, at - from);
			break;
		case 5:
			region_set_add_range(&other, first, end);
			region_set_subtract(&set, &other);
			for (uint64_t at = 0, from = 0; region_set_next_run(&other, at, &from, &at);)
				memset(bits + from, 0, at - from);
			break;
		default:
			region_set_copy_range(&other, &set, first, end);
			FUZZ_CHECK(region_set_count(&other) == region_set_count_range(&set, first, end));
			FUZZ_CHECK(region_set_is_subset(&other, &set));
		}
	}
	check_equal(&set, bits);
	region_set_fini(&set);
	region_set_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		check_decoder(data + 1, size - 1);
	else
		check_changes(data + 1, size - 1 < 700 ? size - 1 : 700);
	return 0;
}
