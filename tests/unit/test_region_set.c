/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

#include "common/region_set.h"

/* The model: one byte a region over three and a bit of CRoaring's containers, so that all kinds and edges
 * occur. */
#define SPACE 200000u

struct model {
	uint8_t has[SPACE];
};

static void model_fill(struct model *model, uint64_t first, uint64_t end, uint8_t value)
{
	for (uint64_t region = first; region < end && region < SPACE; region++)
		model->has[region] = value;
}

static uint64_t model_count(const struct model *model, uint64_t first, uint64_t end)
{
	uint64_t count = 0;

	for (uint64_t region = first; region < end && region < SPACE; region++)
		count += model->has[region];
	return count;
}

/* Every reading function against the model. */
static void check(const struct region_set *set, const struct model *model, uint64_t *seed)
{
	uint64_t count = model_count(model, 0, SPACE);
	uint64_t end = 0, next = 0, seen = 0;
	region_t region = 12345;

	assert_true(region_set_count(set) == count);
	assert_true(region_set_is_empty(set) == (count == 0));
	for (uint64_t first = 0; region_set_next_run(set, end, &first, &end); next = end) {
		assert_true(first < end && end <= SPACE);
		assert_true(next == 0 || first > next); /* runs never touch */
		for (uint64_t r = next; r < first; r++)
			assert_false(model->has[r]);
		for (uint64_t r = first; r < end; r++)
			assert_true(model->has[r]);
		seen += end - first;
	}
	assert_true(seen == count);
	for (int i = 0; i < 200; i++) {
		region_t at = (region_t)(unit_random(seed) % SPACE);
		uint64_t to = at + unit_random(seed) % 70000;
		if (to > SPACE)
			to = SPACE;
		assert_true(region_set_contains(set, at) == model->has[at]);
		region_t expected = at;
		while (expected < SPACE && !model->has[expected])
			expected++;
		assert_true(region_set_next(set, at, &region) == (expected < SPACE));
		if (expected < SPACE)
			assert_int_equal(region, expected);
		uint64_t inside = model_count(model, at, to);
		assert_true(region_set_count_range(set, at, to) == inside);
		assert_true(region_set_contains_range(set, at, to) == (inside == to - at));
	}
}

/* One random change of both. */
static void change(struct region_set *set, struct model *model, uint64_t *seed)
{
	uint64_t first = unit_random(seed) % SPACE;
	uint64_t span = UINT64_C(1) << (unit_random(seed) % 18);
	uint64_t end = first + unit_random(seed) % span;
	region_t region = (region_t)first;

	if (end > SPACE)
		end = SPACE;
	switch (unit_random(seed) % 6) {
	case 0:
		region_set_add_range(set, first, end);
		model_fill(model, first, end, 1);
		break;
	case 1:
		region_set_remove_range(set, first, end);
		model_fill(model, first, end, 0);
		break;
	case 2:
		assert_true(region_set_add(set, region) == !model->has[region]);
		model->has[region] = 1;
		break;
	case 3:
		assert_true(region_set_remove(set, region) == model->has[region]);
		model->has[region] = 0;
		break;
	case 4: /* thin out: makes bitset containers */
		for (uint64_t r = first; r < end; r += 1 + unit_random(seed) % 3) {
			region_set_add(set, (region_t)r);
			model->has[r] = 1;
		}
		break;
	default:
		if (unit_random(seed) % 16 == 0) {
			region_set_truncate(set, first);
			model_fill(model, first, SPACE, 0);
		}
	}
}

static void test_against_model(void **state)
{
	(void)state;
	struct model *model = calloc(1, sizeof(*model));

	for (uint64_t seed_number = 1; seed_number <= 12; seed_number++) {
		uint64_t seed = seed_number;
		struct region_set set;
		region_set_init(&set);
		memset(model, 0, sizeof(*model));
		for (int step = 0; step < 240; step++) {
			change(&set, model, &seed);
			if (step % 40 == 39)
				check(&set, model, &seed);
		}
		region_set_fini(&set);
	}
	free(model);
}

/* The same content by another way: runs in random order, with detours. */
static void rebuild(struct region_set *set, const struct model *model, uint64_t *seed)
{
	for (int i = 0; i < 5; i++) {
		uint64_t first = unit_random(seed) % SPACE;
		region_set_add_range(set, first, first + unit_random(seed) % 90000);
	}
	/* Two passes over blocks, odd ones first; each block made right by single adds, removes or ranges. */
	for (unsigned pass = 0; pass < 2; pass++) {
		for (uint64_t block = pass; block * 100 < SPACE; block += 2) {
			uint64_t first = block * 100, end = first + 100;
			if (unit_random(seed) % 2)
				region_set_remove_range(set, first, end);
			for (uint64_t r = first; r < end; r++) {
				if (model->has[r] && unit_random(seed) % 2)
					region_set_add(set, (region_t)r);
				else if (model->has[r])
					region_set_add_range(set, r, r + 1);
				else
					region_set_remove(set, (region_t)r);
			}
		}
	}
	region_set_truncate(set, SPACE);
}

/* Equal sets give equal bytes and digests, whatever their history; the bytes give the set back. */
static void test_canonical(void **state)
{
	(void)state;
	struct model *model = calloc(1, sizeof(*model));

	for (uint64_t seed_number = 100; seed_number < 108; seed_number++) {
		uint64_t seed = seed_number;
		struct region_set set = REGION_SET_EMPTY, other = REGION_SET_EMPTY, back = REGION_SET_EMPTY;
		struct bytes_writer bytes, other_bytes;
		struct bytes_reader reader;
		memset(model, 0, sizeof(*model));
		bytes_writer_init(&bytes);
		bytes_writer_init(&other_bytes);
		for (int step = 0; step < 60; step++)
			change(&set, model, &seed);
		rebuild(&other, model, &seed);
		check(&other, model, &seed);
		assert_true(region_set_equal(&set, &other));
		assert_true(region_set_digest(&set, 7) == region_set_digest(&other, 7));
		assert_true(region_set_digest(&set, 7) != region_set_digest(&set, 8));
		region_set_serialize(&set, &bytes);
		region_set_serialize(&other, &other_bytes);
		assert_int_equal(bytes.size, other_bytes.size);
		assert_memory_equal(bytes.bytes, other_bytes.bytes, bytes.size);

		bytes_reader_init(&reader, bytes.bytes, bytes.size);
		assert_int_equal(region_set_deserialize(&back, &reader, SPACE), 0);
		assert_int_equal(bytes_reader_left(&reader), 0);
		assert_true(region_set_equal(&set, &back));
		check(&back, model, &seed);

		region_t region = (region_t)(unit_random(&seed) % SPACE);
		if (!region_set_remove(&other, region))
			region_set_add(&other, region);
		assert_false(region_set_equal(&set, &other));
		assert_true(region_set_digest(&set, 7) != region_set_digest(&other, 7));

		bytes_writer_fini(&bytes);
		bytes_writer_fini(&other_bytes);
		region_set_fini(&set);
		region_set_fini(&other);
		region_set_fini(&back);
	}
	free(model);
}

static void test_two_sets(void **state)
{
	(void)state;
	struct model *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b)), *c = calloc(1, sizeof(*c));

	for (uint64_t seed_number = 200; seed_number < 206; seed_number++) {
		uint64_t seed = seed_number;
		struct region_set set_a = REGION_SET_EMPTY, set_b = REGION_SET_EMPTY,
				  set_c = REGION_SET_EMPTY;
		memset(a, 0, sizeof(*a));
		memset(b, 0, sizeof(*b));
		for (int step = 0; step < 40; step++) {
			change(&set_a, a, &seed);
			change(&set_b, b, &seed);
		}
		bool common = false;
		for (unsigned r = 0; r < SPACE; r++)
			common = common || (a->has[r] && b->has[r]);
		assert_true(region_set_intersects(&set_a, &set_b) == common);

		for (unsigned r = 0; r < SPACE; r++)
			c->has[r] = a->has[r] | b->has[r];
		region_set_copy(&set_c, &set_a);
		region_set_union_with(&set_c, &set_b);
		check(&set_c, c, &seed);
		assert_true(region_set_is_subset(&set_a, &set_c));
		assert_true(region_set_is_subset(&set_b, &set_c));

		for (unsigned r = 0; r < SPACE; r++)
			c->has[r] = a->has[r] & (uint8_t)!b->has[r];
		region_set_copy(&set_c, &set_a);
		region_set_subtract(&set_c, &set_b);
		check(&set_c, c, &seed);
		assert_false(region_set_intersects(&set_c, &set_b));

		for (unsigned r = 0; r < SPACE; r++)
			c->has[r] = a->has[r] & b->has[r];
		region_set_copy(&set_c, &set_a);
		region_set_intersect(&set_c, &set_b);
		check(&set_c, c, &seed);

		uint64_t first = unit_random(&seed) % SPACE,
			 end = first + unit_random(&seed) % (SPACE - first);
		memcpy(c, a, sizeof(*c));
		model_fill(c, 0, first, 0);
		model_fill(c, end, SPACE, 0);
		region_set_copy_range(&set_c, &set_a, first, end);
		check(&set_c, c, &seed);
		region_set_copy_range(&set_a, &set_a, first, end); /* onto itself */
		assert_true(region_set_equal(&set_a, &set_c));

		region_set_fini(&set_a);
		region_set_fini(&set_b);
		region_set_fini(&set_c);
	}
	free(a);
	free(b);
	free(c);
}

static void test_empty_and_same(void **state)
{
	(void)state;
	struct region_set set = REGION_SET_EMPTY, empty = REGION_SET_EMPTY, emptied = REGION_SET_EMPTY;
	region_t region = 5;

	assert_false(region_set_first(&empty, &region));
	assert_false(region_set_last(&empty, &region));
	assert_int_equal(region, 5);
	assert_false(region_set_remove(&empty, 1));
	assert_false(region_set_contains(&empty, 0));
	assert_true(region_set_contains_range(&empty, 7, 7));
	assert_false(region_set_contains_range(&empty, 7, 8));
	region_set_add(&emptied, 9);
	region_set_remove(&emptied, 9);
	assert_true(region_set_equal(&empty, &emptied));
	assert_true(region_set_digest(&empty, 1) == region_set_digest(&emptied, 1));
	region_set_add_range(&set, 10, 20);
	region_set_add_range(&set, 30, 30);
	region_set_add_range(&set, 40, 35);
	assert_true(region_set_count(&set) == 10);
	assert_false(region_set_equal(&set, &empty));
	assert_false(region_set_is_subset(&set, &empty));
	assert_true(region_set_is_subset(&empty, &set));
	assert_true(region_set_is_subset(&emptied, &empty));
	assert_false(region_set_intersects(&set, &empty));
	region_set_union_with(&set, &emptied);
	region_set_subtract(&set, &empty);
	assert_true(region_set_count(&set) == 10);
	region_set_union_with(&set, &set);
	region_set_intersect(&set, &set);
	region_set_copy(&set, &set);
	region_set_move(&set, &set);
	assert_true(region_set_count(&set) == 10);
	region_set_move(&emptied, &set);
	assert_true(region_set_is_empty(&set));
	assert_true(region_set_count(&emptied) == 10);
	region_set_swap(&emptied, &set);
	assert_true(region_set_count(&set) == 10);
	region_set_subtract(&set, &set);
	assert_true(region_set_is_empty(&set));
	region_set_intersect(&set, &empty);
	region_set_copy(&emptied, &set);
	assert_true(region_set_is_empty(&emptied));
	region_set_fini(&set);
	region_set_fini(&empty);
	region_set_fini(&emptied);
}

/* The ends of the number space, and a set as large as it gets: cheap, because it is one run. */
static void test_limits(void **state)
{
	(void)state;
	struct region_set set = REGION_SET_EMPTY, back = REGION_SET_EMPTY;
	struct bytes_writer writer;
	struct bytes_reader reader;
	uint64_t first, end;
	region_t region;

	region_set_add(&set, UINT32_MAX);
	assert_true(region_set_next(&set, UINT32_MAX, &region));
	assert_int_equal(region, UINT32_MAX);
	assert_true(region_set_next_run(&set, 0, &first, &end));
	assert_true(first == UINT32_MAX && end == UINT64_C(1) << 32);
	assert_false(region_set_next_run(&set, end, &first, &end));
	region_set_add_range(&set, 0, UINT64_MAX);
	assert_true(region_set_count(&set) == UINT64_C(1) << 32);
	assert_true(region_set_last(&set, &region));
	assert_int_equal(region, UINT32_MAX);
	assert_true(region_set_next_run(&set, 77, &first, &end));
	assert_true(first == 77 && end == UINT64_C(1) << 32);
	assert_true(region_set_contains_range(&set, 0, UINT64_C(1) << 32));
	assert_true(region_set_count_range(&set, 3, UINT64_MAX) == (UINT64_C(1) << 32) - 3);

	bytes_writer_init(&writer);
	region_set_serialize(&set, &writer);
	assert_int_equal(writer.size, 1 + 1 + 5);
	bytes_reader_init(&reader, writer.bytes, writer.size);
	assert_int_equal(region_set_deserialize(&back, &reader, UINT64_MAX), 0);
	assert_true(region_set_equal(&set, &back));
	bytes_reader_init(&reader, writer.bytes, writer.size);
	assert_int_equal(region_set_deserialize(&back, &reader, LOG_REGIONS_MAX), -EBADMSG);
	assert_true(region_set_is_empty(&back));
	region_set_truncate(&set, 0);
	assert_true(region_set_is_empty(&set));
	bytes_writer_fini(&writer);
	region_set_fini(&set);
	region_set_fini(&back);
}

/* The bytes themselves: other daemons and older run directories read them. */
static void test_format(void **state)
{
	(void)state;
	struct region_set set = REGION_SET_EMPTY;
	struct bytes_writer writer;

	bytes_writer_init(&writer);
	region_set_serialize(&set, &writer);
	assert_int_equal(writer.size, 1);
	assert_int_equal(writer.bytes[0], 0);
	bytes_writer_clear(&writer);
	region_set_add_range(&set, 5, 8);
	region_set_add(&set, 9);
	region_set_add_range(&set, 300, 1000);
	region_set_serialize(&set, &writer);
	static const uint8_t expected[] = {3, 5, 2, 0, 0, 0xa1, 0x02, 0xbb, 0x05};
	assert_int_equal(writer.size, sizeof(expected));
	assert_memory_equal(writer.bytes, expected, sizeof(expected));
	bytes_writer_fini(&writer);
	region_set_fini(&set);
}

static void test_deserialize_refused(void **state)
{
	(void)state;
	static const struct {
		uint8_t bytes[16];
		size_t size;
	} bad[] = {
	    {{0}, 0},		     /* nothing */
	    {{1}, 1},		     /* a run is missing */
	    {{1, 5}, 2},	     /* half a run */
	    {{2, 5, 0, 1}, 4},	     /* the second run is cut */
	    {{1, 100, 0}, 3},	     /* first region beyond the limit */
	    {{1, 99, 1}, 3},	     /* last region beyond the limit */
	    {{2, 98, 1, 0, 0}, 5},   /* a run behind the last region */
	    {{1, 0x80, 0x00, 0}, 4}, /* a varint that is not the shortest */
	    {{1, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 12}, /* 2^64 - 1 more */
	    {{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 5}, 12}, /* 2^64 - 1 away */
	    {{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0}, 7},				   /* more runs than bytes */
	};
	static const uint8_t good[] = {2, 97, 0, 0, 0}; /* 97 and 99 */
	struct region_set set = REGION_SET_EMPTY;
	struct bytes_reader reader;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		region_set_add(&set, 3);
		bytes_reader_init(&reader, bad[i].bytes, bad[i].size);
		assert_int_equal(region_set_deserialize(&set, &reader, 100), -EBADMSG);
		assert_true(region_set_is_empty(&set));
		assert_true(reader.failed);
	}
	bytes_reader_init(&reader, good, sizeof(good));
	assert_int_equal(region_set_deserialize(&set, &reader, 100), 0);
	assert_true(region_set_count(&set) == 2);
	assert_true(region_set_contains(&set, 97) && region_set_contains(&set, 99));
	bytes_reader_init(&reader, good, sizeof(good));
	assert_int_equal(region_set_deserialize(&set, &reader, 99), -EBADMSG);
	region_set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_against_model),
	    cmocka_unit_test(test_canonical),
	    cmocka_unit_test(test_two_sets),
	    cmocka_unit_test(test_empty_and_same),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_format),
	    cmocka_unit_test(test_deserialize_refused),
	};

	return cmocka_run_group_tests_name("region_set", tests, NULL, NULL);
}
