/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dm-raid1.c: do_write(), read_async_bio(), recover() and their callbacks; kcopyd as one block after the
 * other. */
#include "tests/model/kernel_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static struct op_bucket *op_bucket(struct kernel *kernel, uint64_t id)
{
	return &kernel->ops[id % OP_BUCKETS];
}

static struct kernel_output *op_begin(struct table *table, enum op_kind kind, struct bio *bio, unsigned leg,
				      enum kernel_output_type type)
{
	struct kernel *kernel = table->kernel;
	struct op *op = kernel_alloc(sizeof(*op));
	struct kernel_output *out;

	op->id = kernel->next_op++;
	op->kind = kind;
	op->table = table;
	op->bio = bio;
	op->leg = leg;
	LIST_INSERT_HEAD(op_bucket(kernel, op->id), op, hash);
	out = kernel_emit(kernel, type, table->device, table->luid);
	out->leg.op = op->id;
	out->leg.leg = leg;
	out->leg.copy = kind != OP_BIO;
	return out;
}

static void bio_op_begin(struct table *table, struct bio *bio, unsigned leg)
{
	static const enum kernel_output_type types[] = {
	    [KERNEL_READ] = KERNEL_LEG_READ,
	    [KERNEL_WRITE] = KERNEL_LEG_WRITE,
	    [KERNEL_FLUSH] = KERNEL_LEG_FLUSH,
	    [KERNEL_DISCARD] = KERNEL_LEG_DISCARD,
	};
	struct kernel_output *out = op_begin(table, OP_BIO, bio, leg, types[bio->user.type]);

	out->leg.region = bio->user.region;
	out->leg.block = bio->user.block;
	out->leg.tag = bio->user.tag;
	out->leg.fua = bio->user.fua;
	bio->outstanding++;
}

/* do_write(), or with `all_legs` false the nosync branch of do_writes(). */
void leg_write_bio(struct table *table, struct bio *bio, bool all_legs)
{
	bio->outstanding = 0;
	bio->error_bits = 0;
	bio->one_leg = !all_legs;
	if (bio->user.type == KERNEL_WRITE) {
		struct region *region = rh_lookup(table, bio->user.region);
		assert(region);
		region->leg_writes++;
		if (!all_legs)
			kernel_complain(table, KERNEL_WRITE_ONE_LEG, 0, region->key, 0);
		else if ((region->state != KERNEL_REGION_DIRTY && !region->unheard) || table->log_failure)
			kernel_complain(table, KERNEL_WRITE_UNMARKED, 0, region->key, 0);
	}
	if (!all_legs) {
		bio_op_begin(table, bio, table->default_leg);
		return;
	}
	for (unsigned leg = 0; leg < table->leg_count; leg++)
		bio_op_begin(table, bio, leg);
}

void leg_read_bio(struct table *table, struct bio *bio, unsigned leg)
{
	bio->outstanding = 0;
	bio_op_begin(table, bio, leg);
}

/* read_callback() */
static void read_done(struct table *table, struct bio *bio, unsigned leg, int error, uint64_t tag)
{
	if (!error) {
		device_end_bio(table, bio, 0, tag, false);
		return;
	}
	mirror_fail(table, leg, ERROR_READ);
	if (mirror_choose(table) >= 0)
		mirror_queue_bio(table, bio);
	else
		device_end_bio(table, bio, -EIO, 0, false);
}

/* write_callback(); a write to one leg ends in mirror_end_io() alone. */
static void write_done(struct table *table, struct bio *bio)
{
	if (bio->user.type == KERNEL_WRITE)
		rh_lookup(table, bio->user.region)->leg_writes--;
	if (!bio->error_bits) {
		device_end_bio(table, bio, 0, 0, false);
		return;
	}
	if (bio->one_leg || bio->user.type == KERNEL_DISCARD) {
		device_end_bio(table, bio, -EIO, 0, false);
		return;
	}
	for (unsigned leg = 0; leg < table->leg_count; leg++)
		if (bio->error_bits & (1ul << leg))
			mirror_fail(table, leg, ERROR_WRITE);
	bool wake = TAILQ_EMPTY(&table->failures);
	TAILQ_INSERT_TAIL(&table->failures, bio, link);
	if (wake)
		mirror_wake(table);
}

static void bio_op_done(struct table *table, struct bio *bio, unsigned leg, int error, uint64_t tag)
{
	if (bio->user.type == KERNEL_READ) {
		read_done(table, bio, leg, error, tag);
		return;
	}
	if (error)
		bio->error_bits |= 1ul << leg;
	if (!--bio->outstanding)
		write_done(table, bio);
}

/* --- recover()
 * --------------------------------------------------------------------------------------------------- */

static void copy_read(struct table *table)
{
	struct copy *copy = &table->copy;
	struct kernel_output *out = op_begin(table, OP_COPY_READ, NULL, copy->source, KERNEL_LEG_READ);

	out->leg.region = copy->region->key;
	out->leg.block = copy->block;
	copy->outstanding = 1;
}

void leg_copy_start(struct table *table, struct region *region)
{
	assert(!table->copy.region); /* MAX_RECOVERY is 1 */
	table->copy = (struct copy){.region = region, .source = table->default_leg};
	copy_read(table);
}

/* recovery_complete(), dm_rh_recovery_end() */
static void copy_end(struct table *table)
{
	struct copy copy = table->copy;

	table->copy.region = NULL;
	if (copy.read_error)
		mirror_fail(table, table->default_leg, ERROR_SYNC);
	for (unsigned leg = 0; leg < table->leg_count; leg++)
		if (copy.write_errors & (1ul << leg))
			mirror_fail(table, leg, ERROR_SYNC);
	rh_list_move(table, copy.region,
		     copy.read_error || copy.write_errors ? REGION_LIST_FAILED : REGION_LIST_RECOVERED,
		     false);
	mirror_wake(table);
}

/* Without handle_errors kcopyd is told to ignore errors, and writes what it has not read. */
static bool copy_failed(const struct table *table)
{
	return (table->copy.read_error || table->copy.write_errors) && table->handle_errors;
}

static void copy_op_done(struct table *table, const struct op *op, int error, uint64_t tag)
{
	struct copy *copy = &table->copy;

	if (op->kind == OP_COPY_READ) {
		copy->outstanding = 0;
		if (error)
			copy->read_error = true;
		if (copy_failed(table)) {
			copy_end(table);
			return;
		}
		for (unsigned leg = 0; leg < table->leg_count; leg++) {
			if (leg == copy->source)
				continue;
			struct kernel_output *out =
			    op_begin(table, OP_COPY_WRITE, NULL, leg, KERNEL_LEG_WRITE);
			out->leg.region = copy->region->key;
			out->leg.block = copy->block;
			out->leg.tag = tag;
			copy->outstanding++;
		}
		return;
	}
	if (error)
		copy->write_errors |= 1ul << op->leg;
	if (--copy->outstanding)
		return;
	copy->block++;
	if (copy_failed(table) || copy->block == table->kernel->config.blocks_per_region)
		copy_end(table);
	else
		copy_read(table);
}

void leg_op_done(struct kernel *kernel, uint64_t id, int error, uint64_t tag)
{
	struct op *op;

	LIST_FOREACH(op, op_bucket(kernel, id), hash)
	if (op->id == id)
		break;
	if (!op)
		return;
	LIST_REMOVE(op, hash);
	if (op->kind == OP_BIO)
		bio_op_done(op->table, op->bio, op->leg, error, tag);
	else
		copy_op_done(op->table, op, error, tag);
	free(op);
}
