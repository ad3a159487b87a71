/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/region_set.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <roaring/roaring.h>

#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t as a value: no memory needed for a digest */
#include <xxhash.h>

#define REGION_LIMIT	  (UINT64_C(1) << 32)
#define CONTAINER_REGIONS 65536u

static struct roaring_bitmap_s *set_bits(struct region_set *set)
{
	if (!set->bits) {
		set->bits = roaring_bitmap_create();
		if (!set->bits)
			abort();
	}
	return set->bits;
}

void region_set_init(struct region_set *set)
{
	*set = REGION_SET_EMPTY;
}

void region_set_fini(struct region_set *set)
{
	if (set->bits)
		roaring_bitmap_free(set->bits);
	set->bits = NULL;
}

void region_set_clear(struct region_set *set)
{
	region_set_fini(set);
}

bool region_set_add(struct region_set *set, region_t region)
{
	return roaring_bitmap_add_checked(set_bits(set), region);
}

bool region_set_remove(struct region_set *set, region_t region)
{
	return set->bits && roaring_bitmap_remove_checked(set->bits, region);
}

bool region_set_contains(const struct region_set *set, region_t region)
{
	return set->bits && roaring_bitmap_contains(set->bits, region);
}

void region_set_add_range(struct region_set *set, uint64_t first, uint64_t end)
{
	if (end > REGION_LIMIT)
		end = REGION_LIMIT;
	if (first < end)
		roaring_bitmap_add_range_closed(set_bits(set), (uint32_t)first, (uint32_t)(end - 1));
}

void region_set_remove_range(struct region_set *set, uint64_t first, uint64_t end)
{
	if (end > REGION_LIMIT)
		end = REGION_LIMIT;
	if (first < end && set->bits)
		roaring_bitmap_remove_range_closed(set->bits, (uint32_t)first, (uint32_t)(end - 1));
}

bool region_set_contains_range(const struct region_set *set, uint64_t first, uint64_t end)
{
	uint64_t run_first, run_end;

	if (first >= end)
		return true;
	return region_set_next_run(set, first, &run_first, &run_end) && run_first == first && run_end >= end;
}

uint64_t region_set_count_range(const struct region_set *set, uint64_t first, uint64_t end)
{
	if (end > REGION_LIMIT)
		end = REGION_LIMIT;
	if (first >= end || !set->bits)
		return 0;
	uint64_t below = first > 0 ? roaring_bitmap_rank(set->bits, (uint32_t)(first - 1)) : 0;
	return roaring_bitmap_rank(set->bits, (uint32_t)(end - 1)) - below;
}

void region_set_truncate(struct region_set *set, uint64_t from)
{
	region_set_remove_range(set, from, REGION_LIMIT);
}

uint64_t region_set_count(const struct region_set *set)
{
	return set->bits ? roaring_bitmap_get_cardinality(set->bits) : 0;
}

bool region_set_is_empty(const struct region_set *set)
{
	return !set->bits || roaring_bitmap_is_empty(set->bits);
}

bool region_set_first(const struct region_set *set, region_t *ret_region)
{
	return region_set_next(set, 0, ret_region);
}

bool region_set_last(const struct region_set *set, region_t *ret_region)
{
	if (region_set_is_empty(set))
		return false;
	*ret_region = roaring_bitmap_maximum(set->bits);
	return true;
}

/* --- runs
 * --------------------------------------------------------------------------------------------------------
 * CRoaring's iterators go value by value, which a set of 2^26 regions in one run cannot afford for each
 * digest. So the three kinds of containers are walked here, by the structures of its installed headers. */

/* First run in an array that begins at or after `from` or contains it. */
static bool array_next_run(const array_container_t *array, uint32_t from, uint32_t *ret_first,
			   uint32_t *ret_end)
{
	int32_t low = 0, high = array->cardinality;

	while (low < high) {
		int32_t middle = low + (high - low) / 2;
		if (array->array[middle] < from)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == array->cardinality)
		return false;
	*ret_first = array->array[low];
	*ret_end = *ret_first + 1;
	while (++low < array->cardinality && array->array[low] == *ret_end)
		*ret_end += 1;
	return true;
}

/* The first position >= from whose bit is `value`, CONTAINER_REGIONS when there is none. */
static uint32_t bitset_find(const bitset_container_t *bitset, uint32_t from, bool value)
{
	for (uint32_t word = from / 64; word < CONTAINER_REGIONS / 64; word++) {
		uint64_t bits = value ? bitset->array[word] : ~bitset->array[word];
		if (word == from / 64)
			bits &= UINT64_MAX << (from % 64);
		if (bits)
			return word * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	return CONTAINER_REGIONS;
}

static bool bitset_next_run(const bitset_container_t *bitset, uint32_t from, uint32_t *ret_first,
			    uint32_t *ret_end)
{
	uint32_t first = bitset_find(bitset, from, true);

	if (first == CONTAINER_REGIONS)
		return false;
	*ret_first = first;
	*ret_end = bitset_find(bitset, first, false);
	return true;
}

static bool runs_next_run(const run_container_t *runs, uint32_t from, uint32_t *ret_first, uint32_t *ret_end)
{
	int32_t low = 0, high = runs->n_runs;

	while (low < high) {
		int32_t middle = low + (high - low) / 2;
		if ((uint32_t)runs->runs[middle].value + runs->runs[middle].length < from)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == runs->n_runs)
		return false;
	const rle16_t *run = &runs->runs[low];
	*ret_first = run->value < from ? from : run->value;
	*ret_end = (uint32_t)run->value + run->length + 1;
	/* CRoaring does not promise that neighbouring runs are joined. */
	while (++low < runs->n_runs && runs->runs[low].value == *ret_end)
		*ret_end += (uint32_t)runs->runs[low].length + 1;
	return true;
}

/* As region_set_next_run(), but a run ends with its container. */
static bool set_next_piece(const struct region_set *set, uint64_t from, uint64_t *ret_first,
			   uint64_t *ret_end)
{
	if (!set->bits || from >= REGION_LIMIT)
		return false;

	const roaring_array_t *containers = &set->bits->high_low_container;
	uint32_t key = (uint32_t)from / CONTAINER_REGIONS;
	int32_t low = 0, high = containers->size;
	while (low < high) {
		int32_t middle = low + (high - low) / 2;
		if (containers->keys[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < containers->size; low++) {
		const void *container = containers->containers[low];
		uint64_t base = (uint64_t)containers->keys[low] * CONTAINER_REGIONS;
		uint32_t inside = from > base ? (uint32_t)(from - base) : 0;
		uint32_t first = 0, end = 0;
		bool found = false;
		switch (containers->typecodes[low]) {
		case ARRAY_CONTAINER_TYPE_CODE:
			found = array_next_run(container, inside, &first, &end);
			break;
		case BITSET_CONTAINER_TYPE_CODE:
			found = bitset_next_run(container, inside, &first, &end);
			break;
		case RUN_CONTAINER_TYPE_CODE: found = runs_next_run(container, inside, &first, &end); break;
		default: abort(); /* a shared container, but copy-on-write is never switched on */
		}
		if (found) {
			*ret_first = base + first;
			*ret_end = base + end;
			return true;
		}
	}
	return false;
}

bool region_set_next(const struct region_set *set, region_t from, region_t *ret_region)
{
	uint64_t first, end;

	if (!set_next_piece(set, from, &first, &end))
		return false;
	*ret_region = (region_t)first;
	return true;
}

bool region_set_next_run(const struct region_set *set, uint64_t from, uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t first, end, next_first, next_end;

	if (!set_next_piece(set, from, &first, &end))
		return false;
	while (end % CONTAINER_REGIONS == 0 && set_next_piece(set, end, &next_first, &next_end) &&
	       next_first == end)
		end = next_end;
	*ret_first = first;
	*ret_end = end;
	return true;
}

/* --- two sets
 * ---------------------------------------------------------------------------------------------------- */

void region_set_union_with(struct region_set *set, const struct region_set *other)
{
	if (set != other && !region_set_is_empty(other))
		roaring_bitmap_or_inplace(set_bits(set), other->bits);
}

void region_set_subtract(struct region_set *set, const struct region_set *other)
{
	if (set == other)
		region_set_clear(set);
	else if (set->bits && other->bits)
		roaring_bitmap_andnot_inplace(set->bits, other->bits);
}

void region_set_intersect(struct region_set *set, const struct region_set *other)
{
	if (set == other || !set->bits)
		return;
	if (!other->bits)
		region_set_clear(set);
	else
		roaring_bitmap_and_inplace(set->bits, other->bits);
}

bool region_set_intersects(const struct region_set *a, const struct region_set *b)
{
	return a->bits && b->bits && roaring_bitmap_intersect(a->bits, b->bits);
}

bool region_set_is_subset(const struct region_set *part, const struct region_set *whole)
{
	if (region_set_is_empty(part))
		return true;
	return whole->bits && roaring_bitmap_is_subset(part->bits, whole->bits);
}

bool region_set_equal(const struct region_set *a, const struct region_set *b)
{
	if (region_set_is_empty(a) || region_set_is_empty(b))
		return region_set_is_empty(a) && region_set_is_empty(b);
	return roaring_bitmap_equals(a->bits, b->bits);
}

void region_set_copy(struct region_set *dst, const struct region_set *src)
{
	if (dst == src)
		return;
	region_set_clear(dst);
	if (region_set_is_empty(src))
		return;
	dst->bits = roaring_bitmap_copy(src->bits);
	if (!dst->bits)
		abort();
}

void region_set_move(struct region_set *dst, struct region_set *src)
{
	if (dst == src)
		return;
	region_set_clear(dst);
	region_set_swap(dst, src);
}

void region_set_swap(struct region_set *a, struct region_set *b)
{
	struct roaring_bitmap_s *bits = a->bits;

	a->bits = b->bits;
	b->bits = bits;
}

/* --- building
 * ---------------------------------------------------------------------------------------------------- */

/* Shorter runs are added value by value, in bulk: a range costs a copy of the array container it goes into.
 */
#define SHORT_RUN 8

void region_set_build_begin(struct region_set_builder *builder, struct region_set *set)
{
	builder->set = set;
	builder->count = 0;
}

void region_set_build_end(struct region_set_builder *builder)
{
	if (builder->count > 0)
		roaring_bitmap_add_many(set_bits(builder->set), builder->count, builder->regions);
	builder->count = 0;
}

void region_set_build_run(struct region_set_builder *builder, uint64_t first, uint64_t end)
{
	if (first >= end)
		return;
	if (end - first >= SHORT_RUN) {
		region_set_build_end(builder); /* in order: a range is cheapest at the end of a container */
		region_set_add_range(builder->set, first, end);
		return;
	}
	if (builder->count + SHORT_RUN > REGION_SET_BULK)
		region_set_build_end(builder);
	for (uint64_t region = first; region < end; region++)
		builder->regions[builder->count++] = (uint32_t)region;
}

void region_set_copy_range(struct region_set *dst, const struct region_set *src, uint64_t first, uint64_t end)
{
	struct region_set part = REGION_SET_EMPTY;
	struct region_set_builder builder;
	uint64_t run_first, run_end = first;

	region_set_build_begin(&builder, &part);
	while (run_end < end && region_set_next_run(src, run_end, &run_first, &run_end) && run_first < end)
		region_set_build_run(&builder, run_first, run_end < end ? run_end : end);
	region_set_build_end(&builder);
	region_set_move(dst, &part); /* not into dst itself: it may be src */
}

/* --- the canonical form
 * ------------------------------------------------------------------------------------------ */

static uint64_t set_run_count(const struct region_set *set)
{
	uint64_t count = 0;

	for (uint64_t first = 0, end = 0; region_set_next_run(set, end, &first, &end);)
		count++;
	return count;
}

void region_set_serialize(const struct region_set *set, struct bytes_writer *writer)
{
	uint64_t before = 0; /* where the distance is counted from */

	bytes_write_varint(writer, set_run_count(set));
	for (uint64_t first = 0, end = 0; region_set_next_run(set, end, &first, &end); before = end + 1) {
		bytes_write_varint(writer, first - before);
		bytes_write_varint(writer, end - first - 1);
	}
}

int region_set_deserialize(struct region_set *set, struct bytes_reader *reader, uint64_t region_limit)
{
	struct region_set_builder builder;
	uint64_t before = 0;

	region_set_clear(set);
	region_set_build_begin(&builder, set);
	if (region_limit > REGION_LIMIT)
		region_limit = REGION_LIMIT;
	for (uint64_t left = bytes_read_varint(reader); left > 0; left--) {
		uint64_t distance = bytes_read_varint(reader);
		uint64_t more = bytes_read_varint(reader);
		/* Nothing overflows: before <= region_limit + 1, and each part is checked before it is added.
		 */
		if (reader->failed || before >= region_limit || distance >= region_limit - before ||
		    more >= region_limit - before - distance)
			goto malformed;
		uint64_t first = before + distance;
		uint64_t end = first + more + 1;
		region_set_build_run(&builder, first, end);
		before = end + 1;
	}
	if (reader->failed)
		goto malformed;
	region_set_build_end(&builder);
	return 0;

malformed:
	region_set_clear(set);
	reader->failed = true;
	return -EBADMSG;
}

uint64_t region_set_digest(const struct region_set *set, uint64_t seed)
{
	uint8_t chunk[1024];
	size_t used = bytes_put_varint(chunk, set_run_count(set));
	uint64_t before = 0;
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	XXH3_64bits_reset_withSeed(&state, seed);
	for (uint64_t first = 0, end = 0; region_set_next_run(set, end, &first, &end); before = end + 1) {
		if (used + 2 * BYTES_VARINT_MAX > sizeof(chunk)) {
			XXH3_64bits_update(&state, chunk, used);
			used = 0;
		}
		used += bytes_put_varint(chunk + used, first - before);
		used += bytes_put_varint(chunk + used, end - first - 1);
	}
	XXH3_64bits_update(&state, chunk, used);
	return XXH3_64bits_digest(&state);
}
