/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dm-region-hash.c */
#include "tests/model/kernel_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static struct region_bucket *rh_bucket(struct table *table, region_t region)
{
	return &table->buckets[region % REGION_BUCKETS];
}

void rh_init(struct table *table)
{
	for (size_t i = 0; i < REGION_BUCKETS; i++)
		LIST_INIT(&table->buckets[i]);
	TAILQ_INIT(&table->clean);
	TAILQ_INIT(&table->quiesced);
	TAILQ_INIT(&table->recovered);
	TAILQ_INIT(&table->failed_recovered);
}

struct region *rh_lookup(struct table *table, region_t key)
{
	struct region *region;

	LIST_FOREACH(region, rh_bucket(table, key), hash)
	if (region->key == key)
		return region;
	return NULL;
}

static struct region_list *rh_list(struct table *table, enum region_list_name name)
{
	switch (name) {
	case REGION_LIST_CLEAN: return &table->clean;
	case REGION_LIST_QUIESCED: return &table->quiesced;
	case REGION_LIST_RECOVERED: return &table->recovered;
	case REGION_LIST_FAILED: return &table->failed_recovered;
	case REGION_LIST_NONE: break;
	}
	return NULL;
}

/* list_del_init(), then list_add() or list_add_tail(). */
void rh_list_move(struct table *table, struct region *region, enum region_list_name list, bool tail)
{
	if (region->on != REGION_LIST_NONE)
		TAILQ_REMOVE(rh_list(table, region->on), region, link);
	region->on = list;
	if (list == REGION_LIST_NONE)
		return;
	if (tail)
		TAILQ_INSERT_TAIL(rh_list(table, list), region, link);
	else
		TAILQ_INSERT_HEAD(rh_list(table, list), region, link);
}

/* The second half of __rh_alloc(). */
struct region *rh_insert(struct table *table, region_t key, enum kernel_region_state state)
{
	struct region *region = kernel_alloc(sizeof(*region));

	region->key = key;
	region->state = state;
	TAILQ_INIT(&region->delayed);
	LIST_INSERT_HEAD(rh_bucket(table, key), region, hash);
	if (state == KERNEL_REGION_CLEAN)
		rh_list_move(table, region, REGION_LIST_CLEAN, false);
	return region;
}

/* __rh_find(): asks IN_SYNC when the region is not in the hash. */
bool rh_find(struct table *table, struct call *call, region_t key, struct region **ret_region)
{
	int in_sync;

	*ret_region = rh_lookup(table, key);
	if (*ret_region)
		return true;
	if (!log_in_sync(table, call, key, &in_sync))
		return false;
	*ret_region = rh_insert(table, key, in_sync ? KERNEL_REGION_CLEAN : KERNEL_REGION_NOSYNC);
	return true;
}

/* dm_rh_get_state() with may_block */
bool rh_get_state(struct table *table, struct call *call, region_t key, enum kernel_region_state *ret_state)
{
	const struct region *region = rh_lookup(table, key);
	int in_sync;

	if (region) {
		*ret_state = region->state;
		return true;
	}
	if (!log_in_sync(table, call, key, &in_sync))
		return false;
	*ret_state = in_sync == 1 ? KERNEL_REGION_CLEAN : KERNEL_REGION_NOSYNC;
	return true;
}

/* dm_rh_dec() */
void rh_dec(struct table *table, region_t key)
{
	struct region *region = rh_lookup(table, key);

	assert(region && region->pending);
	if (--region->pending)
		return;
	if (table->flush_failure) {
		if (region->state == KERNEL_REGION_DIRTY) {
			region->unheard = true;
			kernel_complain(table, KERNEL_FLUSH_FAILURE, 0, key, -EIO);
		}
		region->state = KERNEL_REGION_NOSYNC;
	} else if (region->state == KERNEL_REGION_RECOVERING) {
		rh_list_move(table, region, REGION_LIST_QUIESCED, true);
	} else if (region->state == KERNEL_REGION_DIRTY) {
		region->state = KERNEL_REGION_CLEAN;
		rh_list_move(table, region, REGION_LIST_CLEAN, false);
	}
	mirror_wake(table);
}

static void bio_list_free(struct bio_list *list)
{
	struct bio *bio;

	while ((bio = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, bio, link);
		free(bio);
	}
}

void rh_free(struct table *table)
{
	struct region *region;

	for (size_t i = 0; i < REGION_BUCKETS; i++)
		while ((region = LIST_FIRST(&table->buckets[i]))) {
			LIST_REMOVE(region, hash);
			bio_list_free(&region->delayed);
			free(region);
		}
	while ((region = TAILQ_FIRST(&table->worker.clean))) {
		TAILQ_REMOVE(&table->worker.clean, region, link);
		free(region);
	}
	while ((region = TAILQ_FIRST(&table->worker.recovered))) {
		TAILQ_REMOVE(&table->worker.recovered, region, link);
		bio_list_free(&region->delayed);
		free(region);
	}
	while ((region = TAILQ_FIRST(&table->worker.failed))) {
		TAILQ_REMOVE(&table->worker.failed, region, link);
		bio_list_free(&region->delayed);
		free(region);
	}
}
