/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicated state: what each record does to it, and its bytes. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "daemon/core/world.h"

static const struct log_shape disk_shape = {
    .disk = true, .length_sectors = 204800, .region_size_sectors = 1024, .region_count = 200};
static const struct log_shape core_shape = {
    .length_sectors = 204800, .region_size_sectors = 1024, .region_count = 200};

/* Nodes 1 to 3, ready. */
static void world_begin(struct world *world)
{
	world_init(world);
	world->next_number = 7;
	for (node_id_t id = 1; id <= 3; id++) {
		struct world_node *node = world_node_get(world, id);
		node->boot_id = id * 10;
		node->incarnation = id * 100;
		node->state = NODE_READY;
	}
}

static struct world_log *resume(struct world *world, node_id_t node, luid_t luid,
				const struct log_shape *shape)
{
	struct record record;

	record_init(&record);
	record.type = RECORD_RESUME;
	record.luid = luid;
	record.shape = *shape;
	strcpy(record.uuid, "LVM-abc");
	struct world_log *log = world_apply(world, node, &record);
	record_fini(&record);
	return log;
}

/* A record about the one log, with regions first .. end - 1. */
static struct world_log *say(struct world *world, node_id_t node, enum record_type type, uint64_t first,
			     uint64_t end)
{
	struct record record;

	record_init(&record);
	record.type = type;
	record.log = TAILQ_FIRST(&world->logs)->number;
	record.luid = 0x1000 * (luid_t)node;
	record.batch = 1;
	record.region = (region_t)first;
	record.flag = true;
	region_set_add_range(&record.regions, first, end);
	struct world_log *log = world_apply(world, node, &record);
	record_fini(&record);
	return log;
}

static void ready(struct world *world, node_id_t node, bool memory_lost)
{
	struct record record;

	record_init(&record);
	record.type = RECORD_READY;
	record.flag = memory_lost;
	world_apply(world, node, &record);
	record_fini(&record);
}

static void device_says(struct world *world, node_id_t node, uint64_t first, uint64_t end)
{
	struct region_set dirty = REGION_SET_EMPTY;

	region_set_add_range(&dirty, first, end);
	world_apply_device(world, node, TAILQ_FIRST(&world->logs)->number, &dirty);
	region_set_fini(&dirty);
}

/* A disk log resumed on nodes 1 and 2, clean. */
static struct world_log *open_disk_log(struct world *world)
{
	struct world_log *log = resume(world, 1, 0x1000, &disk_shape);

	assert_int_equal(log->phase, LOG_LOADING);
	device_says(world, 1, 0, 0);
	assert_int_equal(log->phase, LOG_OPEN);
	assert_ptr_equal(resume(world, 2, 0x2000, &disk_shape), log);
	return log;
}

static void test_roles(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	assert_int_equal(log->writer, 1);
	assert_int_equal(log->recoverer, 1);
	assert_true(log->writer_loaded);
	say(&world, 1, RECORD_SUSPENDED, 0, 0);
	assert_int_equal(log->writer, 2);
	assert_int_equal(log->recoverer, 2);
	assert_false(log->writer_loaded);
	assert_true(log->memory_is_truth); /* handed over in order */
	device_says(&world, 1, 5, 6);	   /* not its business any more */
	assert_false(log->writer_loaded);
	device_says(&world, 2, 5, 6); /* an old bit on the device: memory knows better */
	assert_true(log->writer_loaded);
	assert_false(world_log_dirty(log, 5));
	assert_ptr_equal(say(&world, 2, RECORD_SUSPENDED, 0, 0), log);
	assert_int_equal(log->writer, NODE_NONE);
	assert_false(world_log_resumed(log));
	say(&world, 1, RECORD_DESTROYED, 0, 0);
	assert_null(say(&world, 2, RECORD_DESTROYED, 0, 0));
	assert_null(world_log_find(&world, "LVM-abc"));
	world_fini(&world);
}

/* Held by a table that went, and then the log device cannot be read: all is out of sync, and nothing of it a
 * ghost too, or the recoverer's kernel and its daemon would both copy it (guarantee 2). */
static void test_held_while_the_device_fails(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = resume(&world, 1, 0x1000, &disk_shape);

	resume(&world, 2, 0x2000, &disk_shape);
	say(&world, 2, RECORD_DESTROYED, 0, 1);
	assert_int_equal(log->phase, LOG_LOADING);
	assert_true(region_set_contains(&log->ghosts, 0));
	say(&world, 1, RECORD_WRITER_FAILED, 0, 0);
	assert_int_equal(log->phase, LOG_OPEN);
	assert_int_equal(region_set_count(&log->unsynced), 200);
	assert_true(region_set_is_empty(&log->ghosts));
	world_fini(&world);
}

/* Marks have owners: what others clear, or clear twice, stays (hazard A6). */
static void test_marks(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	say(&world, 1, RECORD_MARK, 3, 6);
	say(&world, 2, RECORD_MARK, 5, 8);
	say(&world, 3, RECORD_MARK, 100, 101); /* no instance: nothing */
	assert_true(world_log_marked(log, 3) && world_log_marked(log, 7));
	assert_false(world_log_marked(log, 100));
	say(&world, 1, RECORD_CLEAR, 0, 200);
	assert_false(world_log_dirty(log, 3));
	assert_true(world_log_dirty(log, 5)); /* still marked by 2 */
	say(&world, 2, RECORD_CLEAR, 5, 8);
	assert_false(world_log_dirty(log, 5));
	world_fini(&world);
}

/* Death turns marks into ghosts; the writer's role is free then, and the device is read again (B6). */
static void test_node_dead(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	say(&world, 1, RECORD_MARK, 3, 6);
	world_node_left(&world, 1, true);
	assert_int_equal(world_node_find(&world, 1)->state, NODE_UNDECIDED);
	assert_int_equal(log->writer, 1); /* it may have a write in flight */
	assert_int_equal(log->recoverer, 1);
	assert_true(region_set_is_empty(&log->ghosts));
	assert_non_null(world_log_repair_hindrance(&world, log));
	world_node_dead(&world, 1, 99); /* another boot of it */
	assert_non_null(participant_find(log, 1));
	world_node_dead(&world, 1, 10);
	assert_null(participant_find(log, 1));
	assert_null(world_node_find(&world, 1));
	assert_int_equal(region_set_count(&log->ghosts), 3);
	assert_int_equal(log->writer, 2);
	assert_int_equal(log->recoverer, 2);
	assert_false(log->writer_loaded);
	assert_non_null(world_log_repair_hindrance(&world, log)); /* until the device is merged */
	device_says(&world, 2, 5, 8);
	assert_int_equal(region_set_count(&log->ghosts), 5); /* 6 and 7: committed, told to nobody */
	assert_null(world_log_repair_hindrance(&world, log));
	world_fini(&world);
}

/* A daemon that goes while its node lives keeps its marks, and the recoverer's role: its kernel copies on. */
static void test_daemon_gone(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	say(&world, 1, RECORD_MARK, 3, 6);
	world_node_left(&world, 1, false);
	assert_int_equal(world_node_find(&world, 1)->state, NODE_GONE);
	assert_int_equal(log->writer, 2);
	assert_int_equal(log->recoverer, 1);
	assert_true(world_log_marked(log, 4));
	assert_int_equal(world_node_joins(&world, 1, 10, 101), 0);
	assert_true(participant_find(log, 1)->awaited);
	assert_true(world_log_assembling(&world, log));
	assert_true(world_log_marked(log, 4));
	assert_int_equal(world_node_joins(&world, 1, 11, 102), 0); /* another boot proves the death (A10) */
	assert_null(participant_find(log, 1));
	assert_int_equal(region_set_count(&log->ghosts), 3);
	world_fini(&world);
}

/* Sync bits count from the recoverer alone (A11); a dead node's marks on a region out of sync are no ghosts
 * (B10). */
static void test_recovery(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = resume(&world, 1, 0x1000, &core_shape);

	assert_int_equal(log->phase, LOG_OPEN);
	assert_int_equal(log->writer, NODE_NONE);
	assert_int_equal(region_set_count(&log->unsynced), 200);
	resume(&world, 2, 0x2000, &core_shape);
	say(&world, 2, RECORD_SYNCED, 0, 200);
	assert_int_equal(region_set_count(&log->unsynced), 200);
	say(&world, 1, RECORD_SYNCED, 0, 150);
	assert_int_equal(region_set_count(&log->unsynced), 50);
	say(&world, 2, RECORD_MARK, 149, 151);
	world_node_dead(&world, 2, 0);
	assert_true(region_set_contains(&log->ghosts, 149));
	assert_false(region_set_contains(&log->ghosts, 150));
	world_fini(&world);
}

/* A claim is granted when nobody has a mark; marks on it wait meanwhile, and only on it (A12, B2). */
static void test_claim(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	say(&world, 2, RECORD_MARK, 3, 5);
	region_set_add_range(&log->ghosts, 3, 5);
	say(&world, 2, RECORD_CLAIM, 3, 4); /* not the recoverer */
	assert_false(log->claimed);
	say(&world, 1, RECORD_CLAIM, 9, 10); /* no ghost */
	assert_false(log->claimed);
	say(&world, 1, RECORD_CLAIM, 3, 4);
	assert_true(log->claimed);
	assert_false(world_log_claim_granted(&world, log));
	say(&world, 2, RECORD_CLEAR, 3, 4);
	assert_true(world_log_claim_granted(&world, log));
	say(&world, 2, RECORD_MARK, 3, 4);
	assert_true(world_log_claim_granted(&world, log)); /* what waits for the copy does not hinder it */
	assert_true(region_set_contains(&participant_find(log, 2)->waiting, 3));
	assert_true(world_log_dirty(log, 3));
	say(&world, 2, RECORD_RELEASE, 3, 4); /* not its claim */
	assert_true(log->claimed);
	say(&world, 1, RECORD_RELEASE, 3, 4);
	assert_false(log->claimed);
	assert_false(region_set_contains(&log->ghosts, 3));
	assert_true(region_set_contains(&participant_find(log, 2)->marks, 3));
	assert_true(region_set_is_empty(&participant_find(log, 2)->waiting));
	/* A table that came back unknown during the copy may have written unmarked: the ghost stays. */
	say(&world, 1, RECORD_CLAIM, 4, 5);
	participant_find(log, 2)->instances[0].tainted = true;
	say(&world, 1, RECORD_RELEASE, 4, 5);
	assert_false(log->claimed);
	assert_true(region_set_contains(&log->ghosts, 4));
	world_fini(&world);
}

/* The recoverer is not the writer: its copy waits until the writer has said that it knows of this very claim,
 * free. */
static void test_claim_known(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	region_set_add_range(&log->ghosts, 3, 5);
	say(&world, 2, RECORD_MARK, 3, 4);
	log->writer = 2;
	say(&world, 1, RECORD_CLAIM, 3, 4);
	say(&world, 2, RECORD_CLAIM_KNOWN, 0, 0); /* batch 1: the first claim, which is not free */
	assert_false(log->claim_known);
	say(&world, 2, RECORD_CLEAR, 3, 4);
	say(&world, 3, RECORD_CLAIM_KNOWN, 0, 0); /* not the writer */
	assert_false(world_log_claim_granted(&world, log));
	assert_true(world_log_claim_free(log)); /* so marks wait from here on */
	say(&world, 2, RECORD_CLAIM_KNOWN, 0, 0);
	assert_true(world_log_claim_granted(&world, log));
	say(&world, 1, RECORD_RELEASE, 3, 4);
	say(&world, 1, RECORD_CLAIM, 4, 5);
	say(&world, 2, RECORD_CLAIM_KNOWN, 0, 0); /* of the former claim, come late */
	assert_false(world_log_claim_granted(&world, log));
	world_fini(&world);
}

/* A daemon that was away while a region was recovered remembers it as out of sync, and nothing was written
 * there. In another state, which loses, its table may have: that it was resumed there tells (seed 228525 with
 * kill,memory,life,partition,node,stack). */
static void test_out_of_sync_in_another_state(void **state)
{
	(void)state;
	for (luid_t luid = 0x2000; luid <= 0x2001; luid++) {
		struct world world;
		struct speech speech;
		world_begin(&world);
		struct world_log *log = open_disk_log(&world);

		world_node_left(&world, 2, false);
		world_node_joins(&world, 2, 20, 201);
		speech_init(&speech);
		strcpy(speech.uuid, log->uuid);
		speech.shape = disk_shape;
		speech.instance_count = 1;
		speech.instances[0] = (struct world_instance){.luid = luid, .resumed = true};
		region_set_add(&speech.unsynced, 40);
		world_apply_speech(&world, 2, &speech);
		speech_fini(&speech);
		assert_true(region_set_is_empty(&log->unsynced));
		assert_int_equal(region_set_contains(&log->ghosts, 40), luid != 0x2000);
		world_fini(&world);
	}
}

/* A daemon that is back while a region is copied that its kernel waits to write: what it speaks waits for the
 * end, and the batches of its former life are nobody's. */
static void test_speech_during_a_copy(void **state)
{
	(void)state;
	static struct speech speech;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);
	struct participant *speaker = participant_find(log, 2);

	say(&world, 2, RECORD_MARK, 7, 8);
	speaker->batch = 10;
	region_set_add(&log->ghosts, 3);
	say(&world, 1, RECORD_CLAIM, 3, 4);
	assert_true(world_log_claim_granted(&world, log));
	world_node_left(&world, 2, false);
	world_node_joins(&world, 2, 20, 201);
	speech_init(&speech);
	strcpy(speech.uuid, "LVM-abc");
	speech.shape = disk_shape;
	speech.batch = 2;
	speech.instance_count = 1;
	speech.instances[0] = (struct world_instance){.luid = 0x2000, .resumed = true};
	region_set_add_range(&speech.marks, 3, 5);
	assert_ptr_equal(world_apply_speech(&world, 2, &speech), log);
	assert_int_equal(speaker->batch, 0);
	assert_int_equal(speaker->waiting_batch, 2);
	assert_true(world_log_claim_granted(&world, log));
	assert_true(world_log_dirty(log, 3) && world_log_dirty(log, 4));
	assert_false(world_log_dirty(log, 7)); /* it speaks of all that it may have marked */
	say(&world, 1, RECORD_RELEASE, 3, 4);
	assert_int_equal(speaker->batch, 2);
	assert_true(region_set_contains_range(&speaker->marks, 3, 5));
	speech_fini(&speech);
	world_fini(&world);
}

/* A table that came back unknown ran while a ghost was copied, and has gone before the copy ends: it may have
 * written there, so the ghost stays. */
static void test_tainted_during_a_copy(void **state)
{
	(void)state;
	struct world world;
	struct record record;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	region_set_add(&log->ghosts, 3);
	say(&world, 1, RECORD_CLAIM, 3, 4);
	record_init(&record);
	record.type = RECORD_RESUME;
	record.luid = 0x3000;
	record.shape = disk_shape;
	record.flag = true;
	strcpy(record.uuid, "LVM-abc");
	world_apply(&world, 3, &record);
	record_fini(&record);
	assert_true(world_log_tainted(log));
	say(&world, 3, RECORD_DESTROYED, 0, 0);
	assert_false(world_log_tainted(log));
	say(&world, 1, RECORD_RELEASE, 3, 4);
	assert_true(region_set_contains(&log->ghosts, 3));
	say(&world, 1, RECORD_CLAIM, 3, 4);
	say(&world, 1, RECORD_RELEASE, 3, 4);
	assert_false(region_set_contains(&log->ghosts, 3));
	world_fini(&world);
}

/* A mark waits for a copy, and its daemon comes back without memory: it goes on waiting, and so do those of
 * others. */
static void test_memory_lost_during_a_copy(void **state)
{
	(void)state;
	struct world world;
	struct record ready;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);
	struct participant *forgetful = participant_find(log, 2);

	region_set_add(&log->ghosts, 3);
	say(&world, 1, RECORD_CLAIM, 3, 4);
	say(&world, 2, RECORD_MARK, 3, 4);
	world_node_left(&world, 2, false);
	world_node_joins(&world, 2, 20, 201);
	record_init(&ready);
	ready.type = RECORD_READY;
	ready.flag = true;
	world_apply(&world, 2, &ready);
	record_fini(&ready);
	assert_true(participant_tainted(forgetful));
	assert_true(world_log_claim_free(log));
	say(&world, 1, RECORD_MARK, 3, 4);
	assert_true(region_set_is_empty(&participant_find(log, 1)->marks));
	say(&world, 1, RECORD_RELEASE, 3, 4);
	assert_true(region_set_contains(&participant_find(log, 1)->marks, 3));
	assert_true(region_set_contains(&forgetful->marks, 3));
	assert_int_equal(forgetful->batch, 0); /* its number was of a former life */
	world_fini(&world);
}

/* A failed leg under what was in sync: all go on to be told so, and nothing is repaired until every instance
 * is younger (B9). Told again by the table that has to be reloaded, it makes nobody else older. */
static void test_leg_failure(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	say(&world, 2, RECORD_FAILED, 40, 41);
	assert_true(region_set_contains(&log->ghosts, 40));
	assert_false(region_set_contains(&log->failed, 40));
	assert_false(region_set_contains(&log->unsynced, 40));
	assert_true(world_log_dirty(log, 40));
	assert_non_null(world_log_repair_hindrance(&world, log));
	say(&world, 1, RECORD_SUSPENDED, 0, 0);
	say(&world, 1, RECORD_DESTROYED, 0, 0);
	resume(&world, 1, 0x1001, &disk_shape);
	say(&world, 2, RECORD_FAILED, 41, 42);
	assert_false(participant_find(log, 1)->instances[0].old);
	assert_true(log->repair_barred); /* node 2 has its old table */
	say(&world, 2, RECORD_SUSPENDED, 0, 0);
	say(&world, 2, RECORD_DESTROYED, 0, 0);
	assert_true(region_set_contains(&log->ghosts, 40));
	assert_true(region_set_contains(&log->ghosts, 41));
	assert_false(log->repair_barred);
	world_fini(&world);
}

/* A copy that failed: out of sync as before, and copied by nobody until every instance is younger (B11). */
static void test_copy_failure(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	region_set_add(&log->unsynced, 40);
	say(&world, 1, RECORD_FAILED, 40, 41);
	assert_true(region_set_contains(&log->failed, 40));
	assert_false(region_set_contains(&log->unsynced, 40));
	assert_true(world_log_dirty(log, 40));
	assert_non_null(world_log_repair_hindrance(&world, log));
	say(&world, 1, RECORD_SUSPENDED, 0, 0);
	say(&world, 1, RECORD_DESTROYED, 0, 0);
	resume(&world, 1, 0x1001, &disk_shape);
	assert_true(region_set_contains(&log->failed, 40)); /* node 2 has its old table */
	say(&world, 2, RECORD_SUSPENDED, 0, 0);
	say(&world, 2, RECORD_DESTROYED, 0, 0);
	assert_true(region_set_is_empty(&log->failed));
	assert_true(region_set_contains(&log->unsynced, 40));
	assert_false(log->repair_barred);
	world_fini(&world);
}

/* A leg that fails under a table which takes for in sync what is not says nothing of the copy: whether it
 * comes before the end of that or behind it, the region is in sync for all and a ghost (seed 6372650). */
static void test_failure_beside_a_copy(void **state)
{
	(void)state;
	for (int failed_first = 0; failed_first < 2; failed_first++) {
		struct world world;
		world_begin(&world);
		struct world_log *log = open_disk_log(&world);

		region_set_add(&log->unsynced, 40);
		if (!failed_first)
			say(&world, 1, RECORD_SYNCED, 40, 41);
		say(&world, 2, RECORD_FAILED, 40, 41);
		assert_true(region_set_is_empty(&log->failed));
		assert_true(world_log_dirty(log, 40));
		assert_true(log->repair_barred);
		assert_true(participant_find(log, 1)->instances[0].old);
		if (failed_first)
			say(&world, 1, RECORD_SYNCED, 40, 41);
		assert_true(region_set_is_empty(&log->unsynced));
		assert_true(region_set_is_empty(&log->failed));
		assert_true(region_set_contains(&log->ghosts, 40));
		assert_non_null(world_log_repair_hindrance(&world, log));
		world_fini(&world);
	}
}

/* The same, told by a daemon that comes back: its record was lost. */
static void test_failure_spoken_beside_a_copy(void **state)
{
	(void)state;
	struct world world;
	struct speech speech;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	region_set_add(&log->unsynced, 40);
	world_node_left(&world, 2, false);
	world_node_joins(&world, 2, 20, 201);
	speech_init(&speech);
	strcpy(speech.uuid, log->uuid);
	speech.shape = disk_shape;
	speech.instance_count = 1;
	speech.instances[0] = (struct world_instance){.luid = 0x2000, .resumed = true, .old = true};
	region_set_add(&speech.unsynced, 40);
	region_set_add(&speech.failed, 40);
	world_apply_speech(&world, 2, &speech);
	speech_fini(&speech);
	assert_true(region_set_contains(&log->unsynced, 40));
	assert_true(log->repair_barred);
	say(&world, 1, RECORD_SYNCED, 40, 41);
	assert_true(region_set_is_empty(&log->failed));
	assert_true(region_set_contains(&log->ghosts, 40));
	world_fini(&world);
}

/* Another node began a core log anew while the daemon of one whose copy had failed was away: nobody has
 * copied anything since, and what failed there is still for nobody to copy. Its table has the region out of
 * sync in its hash, and would write one leg of it alone once others take it for copied (seed 5455). */
static void test_failure_spoken_by_a_suspect(void **state)
{
	(void)state;
	struct world world;
	struct speech speech;
	world_begin(&world);
	assert_int_equal(world_node_suspected(&world, 2), 0);
	struct world_log *log = resume(&world, 1, 0x1000, &core_shape);

	assert_int_equal(log->recoverer, 1);
	assert_true(world_log_assembling(&world, log));
	world_node_joins(&world, 2, 20, 201);
	speech_init(&speech);
	strcpy(speech.uuid, log->uuid);
	speech.shape = core_shape;
	speech.instance_count = 1;
	speech.instances[0] = (struct world_instance){.luid = 0x2000, .resumed = true, .old = true};
	region_set_add_range(&speech.unsynced, 0, core_shape.region_count);
	region_set_add(&speech.failed, 40);
	world_apply_speech(&world, 2, &speech);
	speech_fini(&speech);
	ready(&world, 2, false);
	assert_false(world_log_assembling(&world, log));
	assert_true(region_set_contains(&log->failed, 40));
	assert_false(region_set_contains(&log->unsynced, 40));
	assert_true(region_set_is_empty(&log->ghosts));
	assert_int_equal(region_set_count(&log->unsynced), core_shape.region_count - 1);
	assert_true(participant_find(log, 1)->instances[0].old);
	say(&world, 1, RECORD_SUSPENDED, 0, 0);
	say(&world, 1, RECORD_DESTROYED, 0, 0);
	resume(&world, 1, 0x1001, &core_shape);
	assert_true(region_set_contains(&log->failed, 40)); /* node 2 has its old table */
	say(&world, 2, RECORD_SUSPENDED, 0, 0);
	say(&world, 2, RECORD_DESTROYED, 0, 0);
	assert_int_equal(region_set_count(&log->unsynced), core_shape.region_count);
	world_fini(&world);
}

/* A mirror that grew or shrank while nothing was resumed. */
static void test_reshape(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);
	struct log_shape larger = disk_shape, smaller = disk_shape;

	larger.region_count = 300;
	larger.length_sectors = 300 * 1024;
	smaller.region_count = 100;
	smaller.length_sectors = 100 * 1024;
	region_set_add(&log->ghosts, 150);
	resume(&world, 3, 0x3000, &larger); /* others are resumed with another size: refused */
	assert_int_equal(log->shape.region_count, 200);
	assert_null(participant_find(log, 3));
	say(&world, 1, RECORD_SUSPENDED, 0, 0);
	say(&world, 2, RECORD_SUSPENDED, 0, 0);
	resume(&world, 1, 0x1001, &larger);
	assert_int_equal(log->shape.region_count, 300);
	assert_int_equal(region_set_count(&log->unsynced), 100);
	assert_true(region_set_contains_range(&log->unsynced, 200, 300));
	assert_true(region_set_contains(&log->ghosts, 150));
	say(&world, 1, RECORD_DESTROYED, 0, 0);
	participant_find(log, 1)->instances[0].resumed = false;
	resume(&world, 2, 0x2001, &smaller);
	assert_int_equal(log->shape.region_count, 100);
	assert_true(region_set_is_empty(&log->unsynced));
	assert_true(region_set_is_empty(&log->ghosts));
	world_fini(&world);
}

/* A device that the writer cannot write goes to another; one that nobody can is dead. */
static void test_writer_failed(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct world_log *log = open_disk_log(&world);

	say(&world, 1, RECORD_WRITER_FAILED, 0, 0);
	assert_int_equal(log->writer, 2);
	assert_false(log->device_dead);
	say(&world, 2, RECORD_WRITER_FAILED, 0, 0);
	assert_int_equal(log->writer, NODE_NONE);
	assert_true(log->device_dead);
	resume(&world, 3, 0x3000, &disk_shape);
	assert_int_equal(log->writer, 3);
	assert_false(log->device_dead);
	world_fini(&world);

	world_begin(&world);
	log = resume(&world, 1, 0x1000, &disk_shape);
	say(&world, 1, RECORD_WRITER_FAILED, 0, 0); /* not even read: all is dirty */
	assert_int_equal(log->phase, LOG_OPEN);
	assert_int_equal(region_set_count(&log->unsynced), 200);
	world_fini(&world);
}

/* A state with something in every field. */
static void world_fill(struct world *world)
{
	world_begin(world);
	world->epoch = 12;
	world_node_get(world, 2)->state = NODE_GONE;
	struct world_log *log = open_disk_log(world);
	world_node_get(world, 3)->returning = true;
	say(world, 1, RECORD_MARK, 3, 6);
	say(world, 2, RECORD_FAILED, 40, 41);
	region_set_add_range(&log->unsynced, 100, 120);
	region_set_add(&log->ghosts, 150);
	region_set_add(&participant_find(log, 2)->waiting, 7);
	participant_find(log, 2)->waiting_batch = 9;
	log->claimed = true;
	log->claim = 150;
	assert_non_null(world_log_add(world, "LVM-def", &core_shape));
}

static void test_codec(void **state)
{
	(void)state;
	struct world world, again;
	struct bytes_writer once, twice;
	struct bytes_reader reader;

	world_fill(&world);
	bytes_writer_init(&once);
	bytes_writer_init(&twice);
	world_encode(&once, &world);
	assert_false(once.failed);
	world_init(&again);
	bytes_reader_init(&reader, once.bytes, once.size);
	assert_int_equal(world_decode(&reader, &again), 0);
	world_encode(&twice, &again);
	assert_int_equal(once.size, twice.size);
	assert_memory_equal(once.bytes, twice.bytes, once.size);
	assert_true(world_digest(&world) == world_digest(&again));
	assert_true(world_node_find(&again, 3)->returning);
	struct world_log *log = world_log_find(&again, "LVM-abc");
	assert_true(world_log_digest(log) == world_log_digest(world_log_find(&world, "LVM-abc")));
	region_set_add(&participant_find(log, 1)->marks, 199);
	assert_true(world_log_digest(log) != world_log_digest(world_log_find(&world, "LVM-abc")));
	assert_true(world_digest(&world) != world_digest(&again));
	world_fini(&again);

	for (size_t size = 0; size < once.size; size++) {
		uint8_t *copy = test_malloc(size + 1);
		memcpy(copy, once.bytes, size);
		world_init(&again);
		bytes_reader_init(&reader, copy, size);
		assert_int_equal(world_decode(&reader, &again), -EPROTO);
		world_fini(&again);
		test_free(copy);
	}
	bytes_write_u8(&once, 0);
	world_init(&again);
	bytes_reader_init(&reader, once.bytes, once.size);
	assert_int_equal(world_decode(&reader, &again), -EPROTO);
	world_fini(&again);
	bytes_writer_fini(&once);
	bytes_writer_fini(&twice);
	world_fini(&world);
}

static void test_speech_codec(void **state)
{
	(void)state;
	static struct speech speech, again;
	struct bytes_writer writer;
	struct bytes_reader reader;

	speech_init(&speech);
	strcpy(speech.uuid, "LVM-abc");
	speech.shape = disk_shape;
	speech.batch = 5;
	speech.instance_count = 2;
	speech.instances[0] = (struct world_instance){.luid = 0x1000, .resumed = true, .old = true};
	speech.instances[1] = (struct world_instance){.luid = 0x1001, .tainted = true};
	region_set_add_range(&speech.unsynced, 1, 5);
	region_set_add(&speech.marks, 9);
	region_set_add(&speech.ghosts, 10);
	region_set_add(&speech.failed, 11);
	speech.writing = true;
	speech.former_count = 1;
	speech.former[0].node = 2;
	speech.former[0].boot_id = 20;
	bytes_writer_init(&writer);
	speech_encode(&writer, &speech);
	speech_init(&again);
	bytes_reader_init(&reader, writer.bytes, writer.size);
	assert_int_equal(speech_decode(&reader, &again), 0);
	assert_string_equal(again.uuid, "LVM-abc");
	assert_int_equal(again.batch, 5);
	assert_int_equal(again.instance_count, 2);
	assert_true(again.instances[0].resumed && !again.instances[0].tainted && again.instances[1].tainted);
	assert_true(again.instances[0].old);
	assert_true(region_set_equal(&again.unsynced, &speech.unsynced));
	assert_true(region_set_equal(&again.marks, &speech.marks));
	assert_true(region_set_equal(&again.ghosts, &speech.ghosts));
	assert_true(region_set_equal(&again.failed, &speech.failed));
	assert_true(again.writing && !again.recovering);
	assert_int_equal(again.former_count, 1);
	assert_int_equal(again.former[0].boot_id, 20);
	speech_fini(&again);
	for (size_t size = 0; size < writer.size; size++) {
		speech_init(&again);
		bytes_reader_init(&reader, writer.bytes, size);
		assert_int_equal(speech_decode(&reader, &again), -EPROTO);
		speech_fini(&again);
	}
	bytes_writer_fini(&writer);
	speech_fini(&speech);
}

/* A core log with two_node: the other half went on alone, and its node is back with another boot before it
 * was said to be dead. What it marked behind the split is unknown. */
static void test_lone_member_comes_back(void **state)
{
	(void)state;
	struct world world;
	world_begin(&world);
	struct log_shape shape = disk_shape;

	shape.disk = false;
	shape.sync_mode = SHAPE_NOSYNC;
	resume(&world, 2, 0x2000, &shape);
	struct world_log *log = world_log_find(&world, "LVM-abc");
	assert_non_null(log);
	assert_true(region_set_is_empty(&log->ghosts));
	world_node_left(&world, 2, true);
	resume(&world, 1, 0x1000, &shape);
	assert_true(participant_find(log, 1)->late);
	world_node_joins(&world, 2, 999, 5);
	assert_int_equal(region_set_count(&log->ghosts), shape.region_count);
	world_fini(&world);
}

/* One that was cut off came back, and its daemon went before it had spoken. Here nobody knows that it was a
 * member: what it committed with nobody to ask is as unknown as before when it is dead, or has another boot.
 */
static void test_unspoken_member_is_dead(void **state)
{
	(void)state;
	for (unsigned booted = 0; booted < 2; booted++) {
		struct log_shape shape = core_shape;
		struct world world;
		struct world_log *log;

		world_begin(&world);
		shape.sync_mode = SHAPE_NOSYNC;
		log = resume(&world, 1, 0x1000, &shape);
		say(&world, 1, RECORD_SUSPENDED, 0, 0);
		world_node_left(&world, 2, true);
		world_node_joins(&world, 2, 20, 201);
		world_node_left(&world, 2, false);
		assert_true(region_set_is_empty(&log->ghosts));
		if (booted)
			world_node_joins(&world, 2, 21, 202);
		else
			world_node_dead(&world, 2, 20);
		assert_int_equal(region_set_count(&log->ghosts), shape.region_count);
		world_fini(&world);
	}
}

/* Two nodes that split while both become members, each RESUME delivered to its sender alone: with two_node
 * both halves are quorate. Neither gets a role, and what the other may have committed is unknown. */
static void test_first_members_apart(void **state)
{
	(void)state;
	struct world world;
	struct log_shape shape = disk_shape;

	world_begin(&world);
	world_node_dead(&world, 3, 0);
	while (world_node_find(&world, 3))
		world_node_forget(&world, world_node_find(&world, 3));
	resume(&world, 1, 0x1000, &shape);
	struct world_log *log = world_log_find(&world, "LVM-abc");
	assert_non_null(log);
	assert_int_equal(log->writer, NODE_NONE);
	assert_int_equal(log->recoverer, NODE_NONE);
	world_node_left(&world, 2, true);
	assert_int_equal(log->writer, NODE_NONE);
	world_node_dead(&world, 2, 0);
	assert_int_equal(log->writer, 1);
	assert_int_equal(log->recoverer, 1);
	assert_false(participant_find(log, 1)->late);
	world_fini(&world);
}

/* The usual case: the other node says that it knows of the member, which has the roles from then on. */
static void test_first_member_known(void **state)
{
	(void)state;
	struct world world;
	struct record record;
	struct log_shape shape = disk_shape;

	world_begin(&world);
	while (world_node_find(&world, 3))
		world_node_forget(&world, world_node_find(&world, 3));
	resume(&world, 1, 0x1000, &shape);
	struct world_log *log = world_log_find(&world, "LVM-abc");
	assert_non_null(log);
	assert_int_equal(log->writer, NODE_NONE);
	record_init(&record);
	record.type = RECORD_MEMBER_KNOWN;
	record.log = log->number;
	record.node = 1;
	record.batch = 1;
	world_apply(&world, 1, &record); /* its own word does not count */
	assert_int_equal(log->writer, NODE_NONE);
	world_apply(&world, 2, &record);
	assert_int_equal(log->writer, 1);
	assert_int_equal(log->recoverer, 1);
	record_fini(&record);
	world_fini(&world);
}

/* Of what made it a member last, or the time before. */
static struct world_log *known_of(struct world *world, node_id_t sender, node_id_t member, uint64_t number)
{
	struct record record;

	record_init(&record);
	record.type = RECORD_MEMBER_KNOWN;
	record.log = TAILQ_FIRST(&world->logs)->number;
	record.node = member;
	record.batch = number;
	struct world_log *log = world_apply(world, sender, &record);
	record_fini(&record);
	return log;
}

static struct world_log *known(struct world *world, node_id_t sender, node_id_t member)
{
	return known_of(world, sender, member, TAILQ_FIRST(&world->logs)->memberships);
}

/* One that speaks another version of the protocol has no say, but its run directory remembers as well as that
 * of a node without a daemon. */
static void test_new_member_beside_one_refused(void **state)
{
	struct world world;
	struct world_log *log;

	(void)state;
	world_begin(&world);
	log = resume(&world, 2, 0x2000, &core_shape);
	world_node_left(&world, 2, false);
	world_node_find(&world, 2)->state = NODE_REFUSED;
	resume(&world, 1, 0x1000, &core_shape);
	assert_true(participant_find(log, 1)->late);
	world_node_left(&world, 2, false);
	world_node_joins(&world, 2, 20, 201);
	ready(&world, 2, true);
	known(&world, 2, 1);
	assert_false(participant_find(log, 1)->late);
	world_fini(&world);
}

/* A member whose table is suspended is not asked, and may go before it has heard of a new one, or be cut off:
 * until its word is delivered that one commits nothing. */
static void test_new_member_beside_one_suspended(void **state)
{
	(void)state;
	for (unsigned apart = 0; apart < 2; apart++) {
		struct world world;
		struct world_log *log;

		world_begin(&world);
		log = resume(&world, 2, 0x2000, &core_shape);
		say(&world, 2, RECORD_SUSPENDED, 0, 0);
		resume(&world, 1, 0x1000, &core_shape);
		assert_true(participant_find(log, 1)->late);
		if (apart) {
			world_node_left(&world, 2, true);
			assert_true(participant_find(log, 1)->late);
			world_node_joins(&world, 2, 20, 201);
		}
		known(&world, 2, 1);
		assert_false(participant_find(log, 1)->late);
		world_fini(&world);
	}
}

/* Two halves of a cluster of two: this one begins a log anew, of which the other has a table, told IN_SYNC 1
 * there. Nobody knows of that before it is spoken: until then nothing is given to a kernel to copy (seed
 * 53033002), and nobody writes the log device. A kernel that copies already keeps the role. */
static void test_table_of_the_other_half(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned disk = 0; disk < 2; disk++)
		for (unsigned copies = 0; copies < 2; copies++) {
			struct world world;

			world_begin(&world);
			while (world_node_find(&world, 3))
				world_node_forget(&world, world_node_find(&world, 3));
			world_node_left(&world, 2, true);
			struct world_log *log = resume(&world, 1, 0x1000, disk ? &disk_shape : &core_shape);
			world_node_joins(&world, 2, 20, 201);
			assert_int_equal(log->recoverer, NODE_NONE);
			assert_int_equal(log->writer, NODE_NONE);
			speech_init(&speech);
			strcpy(speech.uuid, "LVM-abc");
			speech.shape = log->shape;
			speech.instance_count = 1;
			speech.instances[0] = (struct world_instance){.luid = 0x2000, .resumed = true};
			region_set_add_range(&speech.unsynced, 7, 8);
			speech.recovering = copies;
			assert_ptr_equal(world_apply_speech(&world, 2, &speech), log);
			assert_int_equal(region_set_count(&log->unsynced), 1);
			ready(&world, 2, false);
			known(&world, 1, 2);
			assert_int_equal(log->recoverer, copies ? 2 : 1);
			assert_int_equal(log->writer, disk ? 1 : NODE_NONE);
			speech_fini(&speech);
			world_fini(&world);
		}
}

/* Its daemon goes before it has spoken, or before it was heard at all: what its kernel holds is as unknown as
 * before (seed 64069409). */
static void test_unspoken_goes_again(void **state)
{
	(void)state;
	enum { BACK, ANOTHER_BOOT, DEAD, NODE_WENT, CASES };

	for (unsigned story = 0; story < 2 * CASES; story++) {
		unsigned what = story % CASES;
		struct world world;
		struct record record;

		world_begin(&world);
		world_node_left(&world, 2, true);
		struct world_log *log = resume(&world, 1, 0x1000, &core_shape);
		if (story < CASES)
			world_node_joins(&world, 2, 20, 201);
		world_node_left(&world, 2, false);
		known(&world, 3, 1);
		assert_int_equal(log->recoverer, NODE_NONE);
		if (what == BACK) {
			world_node_joins(&world, 2, 20, 202);
			assert_int_equal(log->recoverer, NODE_NONE);
			ready(&world, 2, false);
		} else if (what == ANOTHER_BOOT) {
			world_node_joins(&world, 2, 21, 202);
			ready(&world, 2, false);
		} else {
			record_init(&record);
			record.node = 2;
			record.boot_id = 20;
			record.type = RECORD_NODE_DOWN;
			if (what == NODE_WENT)
				world_apply(&world, 1, &record);
			assert_int_equal(world_node_find(&world, 2)->state,
					 what == NODE_WENT ? NODE_UNDECIDED : NODE_GONE);
			record.type = RECORD_NODE_DEAD;
			world_apply(&world, 1, &record);
			assert_null(world_node_find(&world, 2));
			record_fini(&record);
		}
		assert_int_equal(log->recoverer, 1);
		world_fini(&world);
	}
}

/* A member that goes so may have marked more where it was cut off: it is awaited. */
static void test_member_goes_unheard(void **state)
{
	struct world world;
	struct world_log *log;

	(void)state;
	world_begin(&world);
	log = resume(&world, 1, 0x1000, &disk_shape);
	resume(&world, 2, 0x2000, &disk_shape);
	world_node_left(&world, 2, true);
	assert_false(participant_find(log, 2)->awaited);
	world_node_left(&world, 2, false);
	assert_true(participant_find(log, 2)->awaited);
	world_node_joins(&world, 2, 20, 202);
	ready(&world, 2, false);
	assert_null(participant_find(log, 2));
	world_fini(&world);
}

/* A word of a former time as a member comes behind the RESUME that begins another: its sender may not know of
 * that. */
static void test_member_known_late(void **state)
{
	(void)state;
	struct world world;

	world_begin(&world);
	resume(&world, 1, 0x1000, &core_shape);
	struct world_log *log = resume(&world, 2, 0x2000, &core_shape);
	struct participant *member = participant_find(log, 2);
	uint64_t former = log->memberships;

	say(&world, 2, RECORD_SUSPENDED, 0, 0);
	resume(&world, 2, 0x2000, &core_shape);
	known_of(&world, 1, 2, former);
	assert_true(region_set_contains(&member->unheard, 1));
	known(&world, 1, 2);
	assert_false(region_set_contains(&member->unheard, 1));
	world_fini(&world);
}

/* One that is joining is ready behind the RESUME in the order, but it may miss that, and be ready in a part
 * of its own: it has to say that it knows of the member, like the others. */
static void test_member_begins_beside_a_joiner(void **state)
{
	(void)state;
	struct world world;

	world_begin(&world);
	struct world_log *log = resume(&world, 1, 0x1000, &core_shape);
	region_set_clear(&log->unsynced);
	world_node_left(&world, 1, false);
	world_node_joins(&world, 1, 10, 101);
	resume(&world, 2, 0x2000, &core_shape);
	participant_find(log, 1)->awaited = false; /* it has spoken */
	world_node_find(&world, 1)->state = NODE_READY;
	world_node_left(&world, 1, true);
	world_node_dead(&world, 1, 10);
	assert_int_equal(region_set_count(&log->ghosts), core_shape.region_count);
	world_fini(&world);
}

/* What a member of a core log committed with nobody to ask is unknown when it dies, also when another became
 * a member in that moment, or was one whose daemon was gone: unless the dead one had said that it knows of
 * it. */
static void test_lone_member_unheard(void **state)
{
	(void)state;
	enum { RESUMES, KNOWN, GONE, BACK, BACK_KNOWN, CASES };

	for (unsigned what = 0; what < CASES; what++) {
		struct world world;
		static struct speech speech;

		world_begin(&world);
		struct world_log *log = resume(&world, 1, 0x1000, &core_shape);
		region_set_clear(&log->unsynced);
		resume(&world, 2, 0x2000, &core_shape);
		if (what != RESUMES)
			known(&world, 1, 2);
		if (what >= GONE)
			world_node_left(&world, 2, false);
		if (what >= BACK) {
			world_node_joins(&world, 2, 20, 201);
			speech_init(&speech);
			strcpy(speech.uuid, "LVM-abc");
			speech.shape = core_shape;
			speech.instance_count = 1;
			speech.instances[0] = (struct world_instance){.luid = 0x2000, .resumed = true};
			assert_ptr_equal(world_apply_speech(&world, 2, &speech), log);
			speech_fini(&speech);
			world_node_find(&world, 2)->state = NODE_READY;
		}
		if (what == BACK_KNOWN)
			known(&world, 1, 2);
		world_node_left(&world, 1, true);
		world_node_dead(&world, 1, 10);
		assert_int_equal(region_set_count(&log->ghosts),
				 what == KNOWN || what == BACK_KNOWN ? 0 : core_shape.region_count);
		world_fini(&world);
	}
}

/* A core log of node 1, with node 3 for a suspect. */
static struct world_log *beside_a_suspect(struct world *world)
{
	world_begin(world);
	struct world_log *log = resume(world, 1, 0x1000, &core_shape);
	assert_non_null(log);
	assert_int_equal(world_node_suspected(world, 3), 0);
	return log;
}

/* Who said that a former boot of a suspect is dead says nothing of the boot whose kernel may hold marks. */
static void test_suspect_of_another_boot(void **state)
{
	(void)state;
	struct world world;
	struct world_log *log = beside_a_suspect(&world);

	world_node_find(&world, 3)->boot_id = 0; /* founders do not know it */
	world_node_dead(&world, 3, 29);
	assert_int_equal(world_suspect(&world), 3);
	assert_true(world_log_assembling(&world, log));
	world_node_dead(&world, 3, 0); /* its lock is free */
	assert_int_equal(world_suspect(&world), NODE_NONE);
	world_fini(&world);
}

/* Nor does another boot of it, whose daemon is refused: that one may have had tables where others lost. */
static void test_suspect_of_another_boot_is_refused(void **state)
{
	(void)state;
	struct world world;
	struct world_log *log = beside_a_suspect(&world);

	world_node_refused(&world, 3, 31);
	assert_int_equal(world_suspect(&world), 3);
	assert_true(world_log_assembling(&world, log));
	world_node_dead(&world, 3, 31);
	assert_int_equal(world_suspect(&world), NODE_NONE);
	world_fini(&world);
}

/* The former writer comes back with a write in flight: nobody writes before it says that it has ended, be its
 * tables there or not. */
static void test_write_in_flight(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned tables = 0; tables < 2; tables++) {
		struct world world;

		world_begin(&world);
		struct world_log *log = resume(&world, 1, 0x1000, &disk_shape);
		assert_non_null(log);
		resume(&world, 2, 0x2000, &disk_shape);
		assert_int_equal(log->writer, 1);
		world_node_replaced(&world, 1);
		assert_int_equal(log->writer, 1);
		world_node_joins(&world, 1, 10, 101);
		assert_int_equal(log->writer, NODE_NONE);
		speech_init(&speech);
		strcpy(speech.uuid, "LVM-abc");
		speech.shape = disk_shape;
		speech.writing = true;
		speech.instance_count = tables;
		speech.instances[0] = (struct world_instance){.luid = 0x1000, .resumed = true};
		assert_ptr_equal(world_apply_speech(&world, 1, &speech), log);
		assert_int_equal(log->writer, NODE_NONE);
		say(&world, 1, RECORD_READY, 0, 0);
		assert_int_equal(log->writer, NODE_NONE);
		say(&world, 1, RECORD_WRITE_ENDED, 0, 0);
		assert_int_equal(log->writer, tables ? 1 : 2);
		assert_int_equal(participant_find(log, 1) != NULL, tables);
		speech_fini(&speech);
		world_fini(&world);
	}
}

/* A table went while nobody could be told what it still held: its node says so when it speaks again. */
static void test_ghosts_are_spoken(void **state)
{
	(void)state;
	static struct speech speech;
	struct world world;

	world_begin(&world);
	struct world_log *log = resume(&world, 1, 0x1000, &disk_shape);
	assert_non_null(log);
	resume(&world, 2, 0x2000, &disk_shape);
	region_set_clear(&log->unsynced);
	speech_init(&speech);
	strcpy(speech.uuid, "LVM-abc");
	speech.shape = disk_shape;
	speech.instance_count = 1;
	speech.instances[0] = (struct world_instance){.luid = 0x2001, .resumed = true};
	region_set_add(&speech.ghosts, 7);
	world_node_joins(&world, 2, 20, 201);
	assert_ptr_equal(world_apply_speech(&world, 2, &speech), log);
	assert_false(log->cold);
	assert_int_equal(region_set_count(&log->ghosts), 1);
	assert_true(region_set_contains(&log->ghosts, 7));
	speech_fini(&speech);
	world_fini(&world);
}

/* What node 1 remembers: a table of its own, and node 2 as a member. */
static void remember_member(struct speech *speech, const struct log_shape *shape)
{
	speech_init(speech);
	strcpy(speech->uuid, "LVM-abc");
	speech->shape = *shape;
	speech->instance_count = 1;
	speech->instances[0] = (struct world_instance){.luid = 0x1000, .resumed = true};
	speech->former_count = 1;
	speech->former[0].node = 2;
	speech->former[0].boot_id = 20;
}

/* A founder was ready, and had not spoken of the log, before another spoke of it as a former member: nobody
 * knows what its tables of then held. A log device does, if the founder has not lost its memory. */
static void test_former_member_without_memory(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned lost = 0; lost < 2; lost++)
		for (unsigned disk = 0; disk < 2; disk++) {
			struct world world;

			world_begin(&world);
			ready(&world, 2, lost);
			remember_member(&speech, disk ? &disk_shape : &core_shape);
			struct world_log *log = world_apply_speech(&world, 1, &speech);
			assert_int_equal(region_set_count(&log->ghosts), lost || !disk ? 200 : 0);
			speech_fini(&speech);
			world_fini(&world);
		}
}

/* The founder knows the member, not its table. That may run, and write one leg of what it has out of sync by
 * itself: until it has come back, or its end was told, nothing is repaired (seed 30531100), whichever of the
 * two was ready first. */
static void test_former_table_without_memory(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned story = 0; story < 4; story++) {
		bool returns = story & 1, ready_first = story & 2;
		struct world world;
		struct record record;

		world_begin(&world);
		world_node_find(&world, 2)->state = NODE_GONE;
		remember_member(&speech, &core_shape);
		if (ready_first) {
			world_node_joins(&world, 2, 20, 201);
			ready(&world, 2, true);
		}
		struct world_log *log = world_apply_speech(&world, 1, &speech);
		if (!ready_first) {
			world_node_joins(&world, 2, 20, 201);
			ready(&world, 2, true);
		}
		assert_int_equal(region_set_count(&log->ghosts), 200);
		assert_non_null(world_log_repair_hindrance(&world, log));
		assert_false(participant_resumed(participant_find(log, 2)));

		record_init(&record);
		record.type = returns ? RECORD_RESUME : RECORD_DESTROYED;
		strcpy(record.uuid, "LVM-abc");
		record.shape = core_shape;
		record.log = log->number;
		record.luid = returns ? 0x2000 : LUID_UNKNOWN;
		record.flag = returns;
		world_apply(&world, 2, &record);
		record_fini(&record);
		if (returns) {
			assert_int_equal(participant_find(log, 2)->instance_count, 1);
			assert_non_null(world_log_repair_hindrance(&world, log));
			say(&world, 2, RECORD_DESTROYED, 0, 0);
		}
		assert_null(participant_find(log, 2));
		assert_int_equal(region_set_count(&log->ghosts), 200);
		speech_fini(&speech);
		world_fini(&world);
	}
}

/* Nor when a third node has begun the log anew before the founder spoke: it was not known to be one. */
static void test_former_table_of_a_log_begun_anew(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned ready_first = 0; ready_first < 2; ready_first++) {
		struct world world;

		world_begin(&world);
		world_node_suspected(&world, 1);
		world_node_suspected(&world, 2);
		if (ready_first) {
			world_node_joins(&world, 2, 20, 201);
			ready(&world, 2, true);
		}
		struct world_log *log = resume(&world, 3, 0x3000, &core_shape);
		assert_false(log->cold);
		world_node_joins(&world, 1, 10, 101);
		remember_member(&speech, &core_shape);
		assert_ptr_equal(world_apply_speech(&world, 1, &speech), log);
		ready(&world, 1, false);
		if (!ready_first) {
			world_node_joins(&world, 2, 20, 201);
			ready(&world, 2, true);
		}
		assert_int_equal(world_suspect(&world), NODE_NONE);
		assert_int_equal(region_set_count(&log->ghosts), 200);
		assert_non_null(world_log_repair_hindrance(&world, log));
		speech_fini(&speech);
		world_fini(&world);
	}
}

/* A suspect is back without its memory, and nobody remembers it as a member. Those who remember the core log
 * may have begun it anew without its table: what that holds nobody knows, as if it had died (seed 24286).
 * Where it speaks of the log its table is known. */
static void test_suspect_without_memory(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned story = 0; story < 16; story++) {
		bool lost = story & 1, disk = story & 2, ready_first = story & 4, speaks = story & 8;
		struct world world;

		world_begin(&world);
		for (node_id_t node = 1; node <= 2; node++) {
			world_node_suspected(&world, node);
			world_node_joins(&world, node, node * 10, node * 100 + 1);
		}
		speech_init(&speech);
		strcpy(speech.uuid, "LVM-abc");
		speech.shape = disk ? disk_shape : core_shape;
		speech.instance_count = 1;
		speech.instances[0] = (struct world_instance){.luid = 0x2000, .resumed = true};
		if (speaks)
			world_apply_speech(&world, 2, &speech);
		if (ready_first)
			ready(&world, 2, lost);
		speech.instances[0].luid = 0x1000;
		struct world_log *log = world_apply_speech(&world, 1, &speech);
		ready(&world, 1, false);
		if (!ready_first)
			ready(&world, 2, lost);
		assert_int_equal(world_suspect(&world), NODE_NONE);
		assert_int_equal(region_set_count(&log->ghosts), lost && !disk && !speaks ? 200 : 0);
		speech_fini(&speech);
		world_fini(&world);
	}
}

/* A former member had been cleared, as one that nobody remembered, when a suspect spoke of it: whether it is
 * dead is asked once more, or it would be awaited until a daemon starts there. */
static void test_former_member_that_was_cleared(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned begun = 0; begun < 2; begun++) {
		struct world world;

		world_begin(&world);
		world_node_suspected(&world, 1);
		world_node_suspected(&world, 2);
		world_node_dead(&world, 2, 0);
		assert_null(world_node_find(&world, 2));
		if (begun)
			resume(&world, 3, 0x3000, &core_shape);
		world_node_joins(&world, 1, 10, 101);
		remember_member(&speech, &core_shape);
		struct world_log *log = world_apply_speech(&world, 1, &speech);
		ready(&world, 1, false);
		assert_true(world_log_assembling(&world, log));
		assert_int_equal(world_suspect(&world), 2);
		assert_int_equal(world_node_find(&world, 2)->boot_id, 20);
		world_node_dead(&world, 2, 20);
		assert_false(world_log_assembling(&world, log));
		assert_int_equal(region_set_count(&log->ghosts) + region_set_count(&log->unsynced), 200);
		speech_fini(&speech);
		world_fini(&world);
	}
}

/* The log was put together while a former member was away. It comes back and does not speak of the log: its
 * table went while others did not hear what that held still (seed 16202). Once all have spoken its marks are
 * known. */
static void test_former_member_is_silent(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned disk = 0; disk < 2; disk++) {
		struct world world;

		world_begin(&world);
		world_node_find(&world, 2)->state = NODE_GONE;
		remember_member(&speech, disk ? &disk_shape : &core_shape);
		struct world_log *log = world_apply_speech(&world, 1, &speech);
		assert_true(world_log_assembling(&world, log));
		world_node_joins(&world, 2, 20, 201);
		assert_true(region_set_is_empty(&log->ghosts));
		ready(&world, 2, false);
		assert_null(participant_find(log, 2));
		assert_int_equal(region_set_count(&log->ghosts), disk ? 0 : 200);
		assert_false(log->cold);

		region_set_clear(&log->ghosts);
		resume(&world, 2, 0x2000, disk ? &disk_shape : &core_shape);
		say(&world, 2, RECORD_MARK, 3, 5);
		world_node_left(&world, 2, false);
		world_node_joins(&world, 2, 20, 202);
		ready(&world, 2, false);
		assert_int_equal(region_set_count(&log->ghosts), 2);
		speech_fini(&speech);
		world_fini(&world);
	}
}

/* A founder remembers another member. That one founds with it, after a new boot: what it had marked in a core
 * log is unknown. When it runs no daemon, its boot is unknown, and it is waited for. */
static void test_former_boot_of_a_founder(void **state)
{
	(void)state;
	static struct speech speech;

	for (unsigned founds = 0; founds < 2; founds++) {
		struct world world;

		world_begin(&world);
		struct world_node *other = world_node_find(&world, 2);
		other->suspect = true;
		other->state = founds ? NODE_JOINING : NODE_GONE;
		other->boot_id = founds ? 21 : 0;
		remember_member(&speech, &core_shape);
		struct world_log *log = world_apply_speech(&world, 1, &speech);
		assert_int_equal(region_set_is_empty(&log->ghosts), !founds);
		assert_int_equal(participant_find(log, 2) == NULL, founds);
		speech_fini(&speech);
		world_fini(&world);
	}
}

/* No ready member: the state is put together from what the nodes remember, and nothing is copied before all
 * have spoken. */
static void test_speeches(void **state)
{
	(void)state;
	static struct speech speech;
	struct world world;
	world_begin(&world);

	speech_init(&speech);
	strcpy(speech.uuid, "LVM-abc");
	speech.shape = disk_shape;
	speech.batch = 1;
	speech.instance_count = 1;
	speech.instances[0] = (struct world_instance){.luid = 0x1000, .resumed = true};
	region_set_add_range(&speech.unsynced, 100, 120);
	region_set_add(&speech.marks, 3);
	speech.former_count = 1;
	speech.former[0].node = 4; /* not here */
	speech.former[0].boot_id = 40;
	struct world_log *log = world_apply_speech(&world, 1, &speech);
	assert_true(log->cold);
	assert_true(world_log_assembling(&world, log));
	assert_int_equal(log->writer, NODE_NONE); /* 4 may be writing */
	assert_true(world_log_marked(log, 3));

	region_set_clear(&speech.unsynced);
	region_set_add_range(&speech.unsynced, 100, 110); /* the rest was told in sync here (A3) */
	region_set_clear(&speech.marks);
	speech.instances[0].luid = 0x2000;
	speech.former_count = 0;
	assert_ptr_equal(world_apply_speech(&world, 2, &speech), log);
	assert_int_equal(region_set_count(&log->unsynced), 10);
	assert_int_equal(region_set_count(&log->ghosts), 10);
	assert_true(region_set_contains_range(&log->ghosts, 110, 120));
	assert_int_equal(log->recoverer, 1);
	speech.recovering = true; /* its kernel is still copying what its former daemon handed out */
	assert_ptr_equal(world_apply_speech(&world, 2, &speech), log);
	assert_int_equal(log->recoverer, 2);
	world_node_dead(&world, 4, 40);
	assert_false(world_log_assembling(&world, log));
	assert_int_equal(log->writer, 1);
	speech_fini(&speech);
	world_fini(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_roles),
	    cmocka_unit_test(test_held_while_the_device_fails),
	    cmocka_unit_test(test_marks),
	    cmocka_unit_test(test_node_dead),
	    cmocka_unit_test(test_daemon_gone),
	    cmocka_unit_test(test_recovery),
	    cmocka_unit_test(test_claim),
	    cmocka_unit_test(test_claim_known),
	    cmocka_unit_test(test_out_of_sync_in_another_state),
	    cmocka_unit_test(test_speech_during_a_copy),
	    cmocka_unit_test(test_memory_lost_during_a_copy),
	    cmocka_unit_test(test_tainted_during_a_copy),
	    cmocka_unit_test(test_leg_failure),
	    cmocka_unit_test(test_copy_failure),
	    cmocka_unit_test(test_failure_beside_a_copy),
	    cmocka_unit_test(test_failure_spoken_beside_a_copy),
	    cmocka_unit_test(test_failure_spoken_by_a_suspect),
	    cmocka_unit_test(test_reshape),
	    cmocka_unit_test(test_writer_failed),
	    cmocka_unit_test(test_codec),
	    cmocka_unit_test(test_speech_codec),
	    cmocka_unit_test(test_speeches),
	    cmocka_unit_test(test_lone_member_comes_back),
	    cmocka_unit_test(test_unspoken_member_is_dead),
	    cmocka_unit_test(test_new_member_beside_one_refused),
	    cmocka_unit_test(test_new_member_beside_one_suspended),
	    cmocka_unit_test(test_first_members_apart),
	    cmocka_unit_test(test_first_member_known),
	    cmocka_unit_test(test_table_of_the_other_half),
	    cmocka_unit_test(test_unspoken_goes_again),
	    cmocka_unit_test(test_member_goes_unheard),
	    cmocka_unit_test(test_lone_member_unheard),
	    cmocka_unit_test(test_member_known_late),
	    cmocka_unit_test(test_member_begins_beside_a_joiner),
	    cmocka_unit_test(test_suspect_of_another_boot),
	    cmocka_unit_test(test_suspect_of_another_boot_is_refused),
	    cmocka_unit_test(test_write_in_flight),
	    cmocka_unit_test(test_ghosts_are_spoken),
	    cmocka_unit_test(test_former_member_without_memory),
	    cmocka_unit_test(test_former_table_without_memory),
	    cmocka_unit_test(test_former_table_of_a_log_begun_anew),
	    cmocka_unit_test(test_suspect_without_memory),
	    cmocka_unit_test(test_former_member_is_silent),
	    cmocka_unit_test(test_former_member_that_was_cleared),
	    cmocka_unit_test(test_former_boot_of_a_founder),
	};

	return cmocka_run_group_tests_name("world", tests, NULL, NULL);
}
