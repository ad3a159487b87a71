/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of regions. Memory and time grow with the number of runs, not with the size of the mirror.
 *
 * Functions that may need memory and cannot say so end the process when there is none (region_set_init()
 * tells why).
 */
#ifndef COMMON_REGION_SET_H
#define COMMON_REGION_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/types.h"

struct roaring_bitmap_s;

/* Owns `bits`; initialise before use, do not copy by assignment (region_set_move() does that). */
struct region_set {
	struct roaring_bitmap_s *bits; /* NULL: empty; memory is taken when the first region comes */
};

/* An initialised set is all zero bytes: REGION_SET_EMPTY or memset() do as well. Never fails: no memory is
 * taken. */
void region_set_init(struct region_set *set);
#define REGION_SET_EMPTY ((struct region_set){.bits = NULL})

/* Free all memory; the set is empty and initialised afterwards. */
void region_set_fini(struct region_set *set);
void region_set_clear(struct region_set *set);

/* Both return true when the set changed. */
bool region_set_add(struct region_set *set, region_t region);
bool region_set_remove(struct region_set *set, region_t region);
bool region_set_contains(const struct region_set *set, region_t region);

/* Regions first .. end - 1; nothing when end <= first. Ends above 2^32 count as 2^32. */
void region_set_add_range(struct region_set *set, uint64_t first, uint64_t end);
void region_set_remove_range(struct region_set *set, uint64_t first, uint64_t end);
bool region_set_contains_range(const struct region_set *set, uint64_t first,
			       uint64_t end); /* true when empty */
uint64_t region_set_count_range(const struct region_set *set, uint64_t first, uint64_t end);

/* Remove all regions >= from. */
void region_set_truncate(struct region_set *set, uint64_t from);

uint64_t region_set_count(const struct region_set *set);
bool region_set_is_empty(const struct region_set *set);

/* The lowest region, or the lowest that is >= from. False when there is none; *ret_region is unchanged then.
 */
bool region_set_first(const struct region_set *set, region_t *ret_region);
bool region_set_next(const struct region_set *set, region_t from, region_t *ret_region);

/* The highest region. */
bool region_set_last(const struct region_set *set, region_t *ret_region);

/* The first run of regions that begins at or after `from` (or contains it): *ret_first .. *ret_end - 1. */
bool region_set_next_run(const struct region_set *set, uint64_t from, uint64_t *ret_first, uint64_t *ret_end);

/* for (uint64_t first = 0, end = 0; region_set_next_run(set, end, &first, &end);) visits all runs in order.
 */

/* set := set OR / AND NOT / AND other. `other` may be the same set. */
void region_set_union_with(struct region_set *set, const struct region_set *other);
void region_set_subtract(struct region_set *set, const struct region_set *other);
void region_set_intersect(struct region_set *set, const struct region_set *other);

bool region_set_intersects(const struct region_set *a, const struct region_set *b);
bool region_set_is_subset(const struct region_set *part, const struct region_set *whole);
bool region_set_equal(const struct region_set *a, const struct region_set *b);

/* The former content of `dst` is dropped; both are initialised. */
void region_set_copy(struct region_set *dst, const struct region_set *src);
void region_set_move(struct region_set *dst, struct region_set *src); /* src is empty afterwards */
void region_set_swap(struct region_set *a, struct region_set *b);

/* dst := regions first .. end - 1 of src. */
void region_set_copy_range(struct region_set *dst, const struct region_set *src, uint64_t first,
			   uint64_t end);

/*
 * Adding many runs in ascending order, quicker than one by one: begin, any number of runs, end. The set must
 * not be used in between. Runs may touch, they must not overlap.
 */
#define REGION_SET_BULK 512
struct region_set_builder {
	struct region_set *set;
	size_t count;
	uint32_t regions[REGION_SET_BULK];
};
void region_set_build_begin(struct region_set_builder *builder, struct region_set *set);
void region_set_build_run(struct region_set_builder *builder, uint64_t first, uint64_t end);
void region_set_build_end(struct region_set_builder *builder);

/*
 * Append the canonical form: varint number of runs, then for each run in ascending order varint distance and
 * varint length - 1. The distance is counted from 0 for the first run, and from one after the end of the run
 * before for the others (two runs never touch). Equal sets give equal bytes, whatever was done to them
 * before.
 */
void region_set_serialize(const struct region_set *set, struct bytes_writer *writer);

/*
 * Read the canonical form into `set`, whose former content is dropped.
 * Returns 0, or -EBADMSG when it is malformed or a region >= region_limit is in it: the set is empty then.
 */
int region_set_deserialize(struct region_set *set, struct bytes_reader *reader, uint64_t region_limit);

/* XXH3 of the canonical form. Equal sets have equal digests; digests of several sets are chained by the seed.
 */
uint64_t region_set_digest(const struct region_set *set, uint64_t seed);

#endif
