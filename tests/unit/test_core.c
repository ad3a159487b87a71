/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core by hand: each test is a story of a few requests, and what they cost. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

#include "protocol/frame.h"
#include "protocol/log_device.h"
#include "tests/unit/small_cluster.h"

#define DISK_LOG   "65536 clustered-disk 7:1 1024"
#define CORE_LOG   "65536 clustered-core 1024"
#define REGIONS	   64
#define LARGER_LOG "131072 clustered-disk 7:1 1024"
#define UNEVEN_LOG "65000 clustered-disk 7:1 1024" /* the last of its regions is not whole */

static struct small_cluster *cluster_new(unsigned nodes)
{
	struct small_cluster *cluster = malloc(sizeof(*cluster));

	small_init(cluster);
	for (node_id_t node = 1; node <= nodes; node++) {
		small_join(cluster, node, node * 10);
		small_settle(cluster);
	}
	return cluster;
}

/* Nodes that are not dead because their daemon went (--fencing=none). */
static struct small_cluster *cluster_unfenced_new(unsigned nodes)
{
	struct small_cluster *cluster = cluster_new(0);

	cluster->fencing = FENCING_NONE;
	for (node_id_t node = 1; node <= nodes; node++) {
		small_join(cluster, node, node * 10);
		small_settle(cluster);
	}
	return cluster;
}

static void cluster_free(struct small_cluster *cluster)
{
	small_fini(cluster);
	free(cluster);
}

static int error_of(const struct small_cluster *cluster, node_id_t node, uint32_t seq)
{
	const struct small_reply *reply = small_reply(cluster, node, seq);

	return reply ? reply->error : 1;
}

#define assert_answered(cluster, node, seq) assert_int_equal(error_of(cluster, node, seq), 0)
#define assert_waits(cluster, node, seq)    assert_null(small_reply(cluster, node, seq))

static void activate(struct small_cluster *cluster, node_id_t node, luid_t luid, const char *arguments)
{
	uint32_t seq = small_request(cluster, node, ULOG_CTR, luid, arguments, (uint32_t)strlen(arguments));

	assert_answered(cluster, node, seq);
	assert_answered(cluster, node, small_request(cluster, node, ULOG_RESUME, luid, NULL, 0));
}

/* Two nodes, on which the mirror is active, with the luids 100 and 200. */
static struct small_cluster *pair_new(const char *arguments)
{
	struct small_cluster *cluster = cluster_new(2);

	activate(cluster, 1, 100, arguments);
	activate(cluster, 2, 200, arguments);
	return cluster;
}

static uint64_t ask(struct small_cluster *cluster, node_id_t node, enum ulog_type type, luid_t luid,
		    uint64_t region)
{
	return small_reply_u64(cluster, node, small_region(cluster, node, type, luid, region), 0);
}

/* A write to a region that failed goes on when that is durable: the kernel asks again until then. */
static void let_through(struct small_cluster *cluster, node_id_t node, luid_t luid, uint64_t region)
{
	ask(cluster, node, ULOG_IS_REMOTE_RECOVERING, luid, region);
	assert_int_equal(ask(cluster, node, ULOG_IS_REMOTE_RECOVERING, luid, region), 0);
}

static uint64_t count_of(struct small_cluster *cluster, node_id_t node, luid_t luid)
{
	return small_reply_u64(cluster, node,
			       small_request(cluster, node, ULOG_GET_SYNC_COUNT, luid, NULL, 0), 0);
}

static void recover_all(struct small_cluster *cluster, node_id_t node, luid_t luid)
{
	for (;;) {
		uint32_t seq = small_request(cluster, node, ULOG_GET_RESYNC_WORK, luid, NULL, 0);

		if (!small_reply_u64(cluster, node, seq, 0))
			break;
		assert_answered(cluster, node,
				small_region(cluster, node, ULOG_SET_REGION_SYNC, luid,
					     small_reply_u64(cluster, node, seq, 1)));
		assert_answered(cluster, node, small_request(cluster, node, ULOG_FLUSH, luid, NULL, 0));
	}
	small_advance(cluster, 1000000000);
}

static bool device_clean(const struct small_cluster *cluster, region_t region)
{
	return log_device_is_clean(cluster->device, region);
}

static size_t member_count_of(const struct small_cluster *cluster, node_id_t node)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);
	size_t count = status->logs[0].member_count;

	assert_true(status->active);
	core_status_free(status);
	return count;
}

static unsigned device_dirty_count(const struct small_cluster *cluster)
{
	unsigned count = 0;

	for (region_t region = 0; region < REGIONS; region++)
		count += !device_clean(cluster, region);
	return count;
}

static void test_life_of_a_mirror(void **state)
{
	struct small_cluster *cluster = cluster_new(3);
	uint32_t flush;

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	assert_int_equal(count_of(cluster, 2, 200), 0);
	assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 200, 5), 0);
	assert_int_equal(ask(cluster, 2, ULOG_IS_REMOTE_RECOVERING, 200, 5), 1);
	assert_int_equal(
	    small_reply_u64(cluster, 2, small_request(cluster, 2, ULOG_GET_RESYNC_WORK, 200, NULL, 0), 0), 0);
	recover_all(cluster, 1, 100);
	for (node_id_t node = 1; node <= 3; node++)
		assert_int_equal(count_of(cluster, node, node * 100), REGIONS);
	assert_int_equal(device_dirty_count(cluster), 0);

	/* A new mark: one multicast and the writer's commit; the device has the bit when FLUSH is answered.
	 */
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 7);
	cluster->messages = 0;
	flush = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	assert_answered(cluster, 2, flush);
	assert_int_equal(cluster->messages, 2);
	assert_false(device_clean(cluster, 7));

	/* Cleared and marked again while it lingers: nothing. */
	small_region(cluster, 2, ULOG_CLEAR_REGION, 200, 7);
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 7);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
	assert_int_equal(cluster->messages, 2);
	small_region(cluster, 2, ULOG_CLEAR_REGION, 200, 7);
	small_advance(cluster, 10000000000);
	assert_true(device_clean(cluster, 7));
	assert_int_not_equal(cluster->nodes[2].legs_flushes, 0);

	for (node_id_t node = 1; node <= 3; node++) {
		assert_answered(cluster, node,
				small_request(cluster, node, ULOG_PRESUSPEND, node * 100, NULL, 0));
		assert_answered(cluster, node,
				small_request(cluster, node, ULOG_POSTSUSPEND, node * 100, NULL, 0));
		assert_answered(cluster, node, small_request(cluster, node, ULOG_DTR, node * 100, NULL, 0));
	}
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

static void test_dead_node_leaves_ghosts_that_are_repaired(void **state)
{
	struct small_cluster *cluster = cluster_new(3);

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 3, ULOG_MARK_REGION, 300, 9);
	assert_answered(cluster, 3, small_request(cluster, 3, ULOG_FLUSH, 300, NULL, 0));
	small_leave(cluster, 3, true);
	assert_false(device_clean(cluster, 9));
	small_settle(cluster);
	assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 200, 9), 1);
	small_advance(cluster, 5000000000);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_true(device_clean(cluster, 9));
	cluster_free(cluster);
}

static void test_writer_dies(void **state)
{
	struct small_cluster *cluster = cluster_new(3);
	uint32_t flush;

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_leave(cluster, 1, true);
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 3);
	flush = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	small_settle(cluster);
	assert_answered(cluster, 2, flush);
	assert_false(device_clean(cluster, 3));
	cluster_free(cluster);
}

static void test_joiner_knows_every_mark(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	(void)state;
	recover_all(cluster, 1, 100);
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 11);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
	small_join(cluster, 3, 30);
	small_settle(cluster);
	activate(cluster, 3, 300, DISK_LOG);
	struct core_status *one = core_status_new(cluster->nodes[1].core);
	struct core_status *three = core_status_new(cluster->nodes[3].core);

	assert_int_equal(one->digest, three->digest);
	core_status_free(one);
	core_status_free(three);
	/* The writer and the joiner both mark and clear the region: the second node's mark stays. */
	small_region(cluster, 3, ULOG_MARK_REGION, 300, 11);
	assert_answered(cluster, 3, small_request(cluster, 3, ULOG_FLUSH, 300, NULL, 0));
	small_region(cluster, 3, ULOG_CLEAR_REGION, 300, 11);
	small_advance(cluster, 10000000000);
	assert_false(device_clean(cluster, 11));
	small_leave(cluster, 1, true);
	small_settle(cluster);
	small_advance(cluster, 10000000000);
	assert_false(device_clean(cluster, 11));
	cluster_free(cluster);
}

static void test_core_log_waits_for_every_member(void **state)
{
	struct small_cluster *cluster = pair_new(CORE_LOG);
	uint32_t flush;

	(void)state;
	recover_all(cluster, 1, 100);
	cluster->messages = 0;
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 1);
	flush = small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0);
	assert_answered(cluster, 1, flush);
	assert_int_equal(cluster->messages, 2); /* the mark and the other's acknowledgement */
	cluster_free(cluster);
}

static void test_unknown_log_keeps_the_room(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	uint32_t seq = small_region(cluster, 1, ULOG_IN_SYNC, 100, 1);

	(void)state;
	assert_int_equal(error_of(cluster, 1, seq), -ESRCH);
	assert_int_equal(small_reply(cluster, 1, seq)->data_bytes, 8);
	cluster_free(cluster);
}

/* A host runs one table of a log: of two that reconnect the last is taken for it, and the other not resumed
 * too. */
static void test_two_tables_reconnect(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	struct core_status *status;

	(void)state;
	for (luid_t luid = 100; luid <= 101; luid++)
		assert_answered(cluster, 1,
				small_request(cluster, 1, ULOG_CTR, luid, DISK_LOG, sizeof(DISK_LOG)));
	cluster->hold = true;
	small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	cluster->hold = false;
	small_settle(cluster);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].members[0].resumed, 1);
	core_status_free(status);
	assert_answered(cluster, 1, small_region(cluster, 1, ULOG_MARK_REGION, 101, 1));
	/* It was the former one, and goes: the other runs, asked or not. */
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].members[0].resumed, 1);
	core_status_free(status);
	assert_answered(cluster, 1, small_region(cluster, 1, ULOG_MARK_REGION, 100, 1));
	cluster_free(cluster);
}

/* The one that was not resumed knows nothing of the log: it is told no count, and nothing of a region. What
 * it asks shows that it runs. */
static void test_outrun_table_is_told_nothing(void **state)
{
	static const char terminated[] = CORE_LOG;
	struct small_cluster *cluster = cluster_new(2);

	(void)state;
	activate(cluster, 2, 200, CORE_LOG);
	for (luid_t luid = 100; luid <= 101; luid++)
		assert_answered(cluster, 1,
				small_request(cluster, 1, ULOG_CTR, luid, terminated, sizeof(terminated)));
	cluster->hold = true;
	small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	assert_int_equal(count_of(cluster, 1, 100), 0);
	assert_int_equal(error_of(cluster, 1, small_region(cluster, 1, ULOG_IN_SYNC, 100, 5)), -ESRCH);
	cluster->hold = false;
	small_settle(cluster);
	assert_int_equal(count_of(cluster, 1, 100), 0);
	assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 100, 5), 0);
	cluster_free(cluster);
}

/* The former table came back behind the CTR of the next, so a daemon that missed the RESUME of that, and the
 * DTR of the former, takes this for the one that runs (seed 6105). The other asks what only that one may: the
 * former does not hinder repair for ever. */
static void test_former_table_is_taken_for_the_running(void **state)
{
	static const char terminated[] = DISK_LOG;
	static const struct table table = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, strlen(DISK_LOG)));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, terminated, sizeof(terminated)));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));

	cluster->inquorate = true;
	small_restart(cluster, 1);
	small_tables(cluster, 1, &table, 1);
	assert_int_equal(error_of(cluster, 1, small_region(cluster, 1, ULOG_IN_SYNC, 101, 1)), -ESRCH);
	cluster->inquorate = false;
	small_quorum(cluster, true);
	small_settle(cluster);
	assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 101, 1), 1);
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs, 0);
	for (unsigned i = 0; i < 60; i++)
		small_advance(cluster, 1000000000);
	assert_int_equal(cluster->nodes[1].repairs, REGIONS);
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

/* The RESUME of a table was lost, and another has been loaded since: the older one is it that runs. */
static void test_running_table_is_not_the_loaded_one(void **state)
{
	static const struct table tables[] = {{.uuid = SMALL_UUID, .live = true}, {.uuid = SMALL_UUID}};
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	for (luid_t luid = 100; luid <= 101; luid++)
		assert_answered(cluster, 1,
				small_request(cluster, 1, ULOG_CTR, luid, DISK_LOG, strlen(DISK_LOG)));
	small_restart(cluster, 1);
	small_tables(cluster, 1, tables, 2);
	assert_answered(cluster, 1, small_region(cluster, 1, ULOG_MARK_REGION, 100, 1));
	assert_int_equal(error_of(cluster, 1, small_region(cluster, 1, ULOG_MARK_REGION, 101, 1)), -ESRCH);
	cluster_free(cluster);
}

/* A flush failed on one node: the other's table is old too, and its daemon remembers that when it starts
 * again. */
static void test_doubt_is_remembered_by_all(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	(void)state;
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 7);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	small_region(cluster, 1, ULOG_CLEAR_REGION, 100, 7);
	cluster->nodes[1].legs_broken = true;
	small_advance(cluster, 10000000000);
	small_restart(cluster, 2);
	cluster->nodes[1].legs_broken = false;
	activate(cluster, 1, 101, DISK_LOG);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs, 0);
	activate(cluster, 2, 201, DISK_LOG);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_DTR, 200, NULL, 0));
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_true(device_clean(cluster, 7));
	cluster_free(cluster);
}

/* What is a ghost already is in doubt all the same: the leg in trouble may be the one that is copied from, so
 * that is not done before all tables are younger (hazards B7, B9). */
static void test_doubt_of_a_ghost(void **state)
{
	struct small_cluster *cluster = cluster_new(3);

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	for (node_id_t node = 2; node <= 3; node++) {
		small_region(cluster, node, ULOG_MARK_REGION, node * 100, 7);
		assert_answered(cluster, node, small_request(cluster, node, ULOG_FLUSH, node * 100, NULL, 0));
	}
	small_leave(cluster, 3, true);
	small_settle(cluster);
	cluster->nodes[2].legs_broken = true;
	small_region(cluster, 2, ULOG_CLEAR_REGION, 200, 7);
	small_advance(cluster, 10000000000);
	cluster->nodes[2].legs_broken = false;
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs, 0);
	for (node_id_t node = 1; node <= 2; node++) {
		activate(cluster, node, node * 100 + 1, DISK_LOG);
		assert_answered(cluster, node, small_request(cluster, node, ULOG_DTR, node * 100, NULL, 0));
	}
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_true(device_clean(cluster, 7));
	cluster_free(cluster);
}

/* A reconnect's RESUME is under way when its table is suspended: the log device is not used for it, and in
 * the order it ends as suspended. */
static void test_suspended_while_its_resume_is_under_way(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	struct core_status *status;
	uint32_t resume, suspend;

	(void)state;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	cluster->hold = true;
	resume = small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	assert_waits(cluster, 1, resume);
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, resume);
	cluster->hold = false;
	small_settle(cluster);
	assert_answered(cluster, 1, suspend);
	assert_int_equal(cluster->device_writes, 0);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].members[0].resumed, 0);
	assert_int_equal(status->logs[0].writer, NODE_NONE);
	core_status_free(status);
	cluster_free(cluster);
}

/* Before the others have heard of a copy that failed it is not begun again (hazard B11): once they have, old
 * tables write there. */
static void test_failed_rescue_is_not_repeated(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	(void)state;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0));
	cluster->nodes[1].legs_broken = true;
	cluster->hold = true;
	assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, 5), 1);
	assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, 5), 1);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	cluster->hold = false;
	small_settle(cluster);
	let_through(cluster, 1, 100, 5);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	cluster_free(cluster);
}

/* The report of a copy is lost, and the kernel has stopped, unheard too: that it clears the region says that
 * it has ended. What its writes wait for is copied by its daemon (seed 54029290). */
static void test_report_of_a_copy_is_lost(void **state)
{
	(void)state;
	for (unsigned cleared = 0; cleared < 2; cleared++) {
		struct small_cluster *cluster = pair_new(DISK_LOG);
		uint64_t region = small_reply_u64(
		    cluster, 1, small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0), 1);

		if (cleared)
			small_region(cluster, 1, ULOG_CLEAR_REGION, 100, region);
		for (unsigned i = 0; i < 40; i++) {
			ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, region + 1);
			small_advance(cluster, 250000000);
		}
		assert_int_equal(cluster->nodes[1].repairs, cleared);
		cluster_free(cluster);
	}
}

/* Its MARK may have been answered by a daemon whose memory is lost: the FLUSH that comes again without its
 * regions (hazard A13) is good only when all is dirty on the log device. */
static void test_flush_of_a_table_without_memory(void **state)
{
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 3);
	small_leave(cluster, 1, false);
	cluster->memory_lost = true;
	small_join(cluster, 1, 10);
	small_settle(cluster);
	cluster->nodes[1].device_broken = true;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	assert_true(device_clean(cluster, 3));
	assert_int_equal(error_of(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0)), -EIO);
	cluster_free(cluster);
}

static void test_broken_log_device(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);
	uint32_t flush;

	(void)state;
	recover_all(cluster, 1, 100);
	cluster->nodes[1].device_broken = true;
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 2);
	flush = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	small_settle(cluster);
	assert_answered(cluster, 2, flush);
	assert_false(device_clean(cluster, 2));
	cluster->nodes[2].device_broken = true;
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 4);
	flush = small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0);
	small_settle(cluster);
	assert_int_equal(error_of(cluster, 1, flush), -EIO);
	/* What its kernel clears now may have failed on one leg. */
	small_region(cluster, 1, ULOG_CLEAR_REGION, 100, 4);
	cluster->nodes[1].device_broken = cluster->nodes[2].device_broken = false;
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 10000000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	activate(cluster, 1, 101, DISK_LOG);
	assert_false(device_clean(cluster, 4));
	small_advance(cluster, 10000000000);
	assert_int_not_equal(cluster->nodes[1].repairs + cluster->nodes[2].repairs, 0);
	assert_true(device_clean(cluster, 4));
	cluster_free(cluster);
}

/* A table without handle_errors would write after an error: it gets none (hazard A13). */
static void test_no_error_for_who_ignores_it(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	uint32_t flush;

	(void)state;
	cluster->ignores_errors = true;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	cluster->nodes[1].device_broken = true;
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 2);
	flush = small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0);
	small_advance(cluster, 10000000000);
	assert_waits(cluster, 1, flush);
	cluster->nodes[1].device_broken = false;
	small_advance(cluster, 10000000000);
	assert_answered(cluster, 1, flush);
	assert_false(device_clean(cluster, 2));
	cluster_free(cluster);
}

/* What the former table was is told late: the next one, which ignores errors, is given none (hazard A13). */
static void test_no_error_by_what_the_former_table_was(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	struct event former;
	uint32_t flush;

	(void)state;
	cluster->nodes[1].legs_slow = true;
	activate(cluster, 1, 100, DISK_LOG);
	former = cluster->nodes[1].legs_opened;
	recover_all(cluster, 1, 100);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	cluster->ignores_errors = true;
	activate(cluster, 1, 101, DISK_LOG);
	small_legs_opened(cluster, 1, former);
	cluster->nodes[1].device_broken = true;
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 2);
	flush = small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0);
	assert_waits(cluster, 1, flush);
	small_legs_opened(cluster, 1, cluster->nodes[1].legs_opened);
	small_advance(cluster, 10000000000);
	assert_waits(cluster, 1, flush);
	cluster->nodes[1].device_broken = false;
	small_advance(cluster, 10000000000);
	assert_answered(cluster, 1, flush);
	cluster_free(cluster);
}

static void test_reload_two_tables_of_one_log(void **state)
{
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	recover_all(cluster, 1, 100);
	small_request(cluster, 1, ULOG_CTR, 101, CORE_LOG, sizeof(CORE_LOG) - 1);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	cluster_free(cluster);
}

static void deactivate(struct small_cluster *cluster, node_id_t node, luid_t luid)
{
	small_request(cluster, node, ULOG_PRESUSPEND, luid, NULL, 0);
	small_request(cluster, node, ULOG_POSTSUSPEND, luid, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, node, small_request(cluster, node, ULOG_DTR, luid, NULL, 0));
}

/* Two tables, and region 7 written by node 2, whose legs cannot be flushed since. */
static struct small_cluster *cluster_unflushed(void)
{
	struct small_cluster *cluster = cluster_new(2);

	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 7);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
	small_region(cluster, 2, ULOG_CLEAR_REGION, 200, 7);
	cluster->nodes[2].legs_broken = true;
	return cluster;
}

/* The other's copy does not flush what is in the cache of this node's path: a table that follows goes on with
 * the mark until a flush of its own succeeds, though all tables are younger then (hazard B7). */
static void test_reload_whose_flush_fails(void **state)
{
	struct small_cluster *cluster = cluster_unflushed();
	uint32_t suspend;

	(void)state;
	small_request(cluster, 2, ULOG_PRESUSPEND, 200, NULL, 0);
	suspend = small_request(cluster, 2, ULOG_POSTSUSPEND, 200, NULL, 0);
	small_advance(cluster, 10000000000);
	assert_answered(cluster, 2, suspend);
	for (node_id_t node = 1; node <= 2; node++) {
		activate(cluster, node, node * 100 + 1, DISK_LOG);
		assert_answered(cluster, node, small_request(cluster, node, ULOG_DTR, node * 100, NULL, 0));
	}
	assert_int_equal(cluster->nodes[1].repairs, 0);
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs, 0);
	assert_false(device_clean(cluster, 7));
	cluster->nodes[2].legs_broken = false;
	for (node_id_t node = 1; node <= 2; node++) { /* the flush that failed again was a leg's trouble */
		activate(cluster, node, node * 100 + 2, DISK_LOG);
		assert_answered(cluster, node,
				small_request(cluster, node, ULOG_DTR, node * 100 + 1, NULL, 0));
	}
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_true(device_clean(cluster, 7));
	cluster_free(cluster);
}

/* A suspend cannot be refused. When no table follows nobody can flush that path any more: the next table
 * copies, and the region is clean behind a flush through that one (seed 6268939; protocol/README, what is
 * left open). */
static void test_removal_whose_flush_fails(void **state)
{
	struct small_cluster *cluster = cluster_unflushed();
	unsigned flushes = cluster->nodes[2].legs_flushes;

	(void)state;
	deactivate(cluster, 2, 200);
	assert_true(cluster->nodes[2].legs_flushes > flushes);
	deactivate(cluster, 1, 100);
	assert_int_equal(device_dirty_count(cluster), 1);
	assert_false(device_clean(cluster, 7));
	activate(cluster, 1, 101, DISK_LOG);
	assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 101, 7), 0);
	small_advance(cluster, 20000000000);
	assert_false(device_clean(cluster, 7));
	flushes = cluster->nodes[1].legs_flushes;
	recover_all(cluster, 1, 101);
	small_advance(cluster, 20000000000);
	assert_true(cluster->nodes[1].legs_flushes > flushes);
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

/* As many regions as the header on the device says, the first `clean` of which are clean and no other. */
static void assert_device(const struct small_cluster *cluster, uint64_t regions, region_t clean)
{
	assert_int_equal(bytes_get_u64(cluster->device + 8), regions);
	for (region_t region = 0; region < regions; region++)
		assert_int_equal(device_clean(cluster, region), region < clean);
}

/* What stands on the device is of a mirror of another size. */
static void test_other_size_after_a_stop(void **state)
{
	struct small_cluster *cluster = cluster_new(2);

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	deactivate(cluster, 1, 100);
	assert_device(cluster, REGIONS, REGIONS);

	activate(cluster, 2, 200, LARGER_LOG);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 200, REGIONS - 1), 1);
	assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 200, REGIONS), 0);
	small_advance(cluster, 1000000000);
	assert_device(cluster, 2 * REGIONS, REGIONS);
	recover_all(cluster, 2, 200);
	deactivate(cluster, 2, 200);
	assert_device(cluster, 2 * REGIONS, 2 * REGIONS);

	/* It shrinks, and the regions it loses are those of a stranger when it grows again. */
	activate(cluster, 1, 101, DISK_LOG);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	deactivate(cluster, 1, 101);
	assert_device(cluster, REGIONS, REGIONS);
	activate(cluster, 1, 102, LARGER_LOG);
	assert_int_equal(count_of(cluster, 1, 102), REGIONS);
	deactivate(cluster, 1, 102);
	activate(cluster, 1, 103, LARGER_LOG " nosync");
	assert_int_equal(count_of(cluster, 1, 103), REGIONS);
	cluster_free(cluster);
}

/* LVM makes headers that say 2^64 - 1: all bits there are are valid. */
static void test_header_of_lvm(void **state)
{
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	memset(cluster->device, 0, sizeof(cluster->device));
	bytes_put_u32(cluster->device, LOG_DEVICE_MAGIC);
	bytes_put_u32(cluster->device + 4, LOG_DEVICE_VERSION);
	bytes_put_u64(cluster->device + 8, LOG_DEVICE_REGIONS_ALL);
	for (region_t region = 0; region < 40; region++)
		log_device_set_clean(cluster->device, region, true);
	activate(cluster, 1, 100, DISK_LOG);
	assert_int_equal(count_of(cluster, 1, 100), 40);
	small_advance(cluster, 1000000000);
	assert_device(cluster, REGIONS, 40);
	cluster_free(cluster);
}

/* Both nodes are suspended with their former tables, so the state is remembered; then they resume larger
 * ones. The last region was not whole before: what it gained was never copied. */
static void test_grown_under_suspended_tables(void **state)
{
	struct small_cluster *cluster = cluster_new(2);
	uint32_t second;

	(void)state;
	for (node_id_t node = 1; node <= 2; node++)
		activate(cluster, node, node * 100, UNEVEN_LOG);
	recover_all(cluster, 1, 100);
	for (node_id_t node = 1; node <= 2; node++) {
		assert_int_equal(count_of(cluster, node, node * 100), REGIONS);
		small_request(cluster, node, ULOG_CTR, node * 100 + 1, LARGER_LOG, sizeof(LARGER_LOG) - 1);
		small_request(cluster, node, ULOG_PRESUSPEND, node * 100, NULL, 0);
		small_request(cluster, node, ULOG_POSTSUSPEND, node * 100, NULL, 0);
	}
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	second = small_request(cluster, 2, ULOG_RESUME, 201, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 2, second);
	for (node_id_t node = 1; node <= 2; node++) {
		assert_answered(cluster, node, small_request(cluster, node, ULOG_DTR, node * 100, NULL, 0));
		assert_int_equal(count_of(cluster, node, node * 100 + 1), REGIONS - 1);
		assert_int_equal(ask(cluster, node, ULOG_IN_SYNC, node * 100 + 1, REGIONS - 1), 0);
	}
	assert_device(cluster, 2 * REGIONS, REGIONS - 1);
	recover_all(cluster, 1, 101);
	recover_all(cluster, 2, 201);
	assert_device(cluster, 2 * REGIONS, 2 * REGIONS);
	cluster_free(cluster);
}

/* The last table the cluster knows of goes while another, not resumed yet, keeps the log here: the cluster
 * has forgotten this node's marks, so the next table announces its own anew. */
static void test_marks_go_with_the_last_table(void **state)
{
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 7);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	cluster->messages = 0;
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 7);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	assert_int_not_equal(cluster->messages, 0);
	assert_false(device_clean(cluster, 7));
	cluster_free(cluster);
}

/* A suspended table holds what it has not cleared, and its POSTSUSPEND may wait for a FLUSH of the kernel's
 * own. */
static void test_flush_of_a_suspended_table(void **state)
{
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 7);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 10000000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	cluster_free(cluster);
}

/* Behind a failed cache flush a table clears no mark and goes on to write such a region's default leg alone,
 * also when it was suspended and resumed (hazard A7): the region is dirty, and copied by nobody, until the
 * table is gone. */
static void test_held_mark_outlives_the_suspend(void **state)
{
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 7);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 10000000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	small_advance(cluster, 60000000000);
	assert_false(device_clean(cluster, 7));
	assert_int_equal(cluster->nodes[1].repairs, 0);
	activate(cluster, 1, 101, DISK_LOG);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	small_advance(cluster, 60000000000);
	assert_true(device_clean(cluster, 7));
	assert_int_equal(cluster->nodes[1].repairs, 1);
	cluster_free(cluster);
}

/* All members are suspended at the same moment: the last to leave has the device clean. */
static void test_all_leave_at_once(void **state)
{
	struct small_cluster *cluster = cluster_new(3);
	uint32_t seqs[4];

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	for (node_id_t node = 1; node <= 3; node++) {
		small_region(cluster, node, ULOG_MARK_REGION, node * 100, node);
		assert_answered(cluster, node, small_request(cluster, node, ULOG_FLUSH, node * 100, NULL, 0));
		small_region(cluster, node, ULOG_CLEAR_REGION, node * 100, node);
	}
	assert_int_equal(device_dirty_count(cluster), 3);
	cluster->hold = true;
	for (node_id_t node = 1; node <= 3; node++)
		seqs[node] = small_request(cluster, node, ULOG_POSTSUSPEND, node * 100, NULL, 0);
	cluster->hold = false;
	small_settle(cluster);
	for (node_id_t node = 1; node <= 3; node++)
		assert_answered(cluster, node, seqs[node]);
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

static uint32_t set_sync(struct small_cluster *cluster, node_id_t node, luid_t luid, uint64_t region,
			 uint64_t in_sync)
{
	uint8_t data[16];

	ulog_data_two_u64(data, region, in_sync);
	return small_request(cluster, node, ULOG_SET_REGION_SYNC, luid, data, sizeof(data));
}

static void reload(struct small_cluster *cluster, node_id_t node, luid_t former, luid_t luid)
{
	uint32_t suspend;

	assert_answered(cluster, node,
			small_request(cluster, node, ULOG_CTR, luid, DISK_LOG, sizeof(DISK_LOG) - 1));
	assert_answered(cluster, node, small_request(cluster, node, ULOG_PRESUSPEND, former, NULL, 0));
	suspend = small_request(cluster, node, ULOG_POSTSUSPEND, former, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, node, suspend);
	assert_answered(cluster, node, small_request(cluster, node, ULOG_RESUME, luid, NULL, 0));
	assert_answered(cluster, node, small_request(cluster, node, ULOG_DTR, former, NULL, 0));
}

/* A copy that fails for good: nobody copies the region, writes of the tables that saw it go on (or no suspend
 * would ever end), and it is recovered once each of them was reloaded (hazards A4, B11). */
static void test_failed_copy_waits_for_the_reload(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);
	uint32_t work;
	uint64_t region;

	(void)state;
	work = small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
	region = small_reply_u64(cluster, 1, work, 1);
	assert_int_equal(ask(cluster, 2, ULOG_IS_REMOTE_RECOVERING, 200, region), 1);
	assert_answered(cluster, 1, set_sync(cluster, 1, 100, region, 0));
	recover_all(cluster, 1, 100);
	for (node_id_t node = 1; node <= 2; node++) {
		assert_int_equal(count_of(cluster, node, node * 100), REGIONS - 1);
		assert_int_equal(ask(cluster, node, ULOG_IN_SYNC, node * 100, region), 0);
		let_through(cluster, node, node * 100, region);
	}
	reload(cluster, 1, 100, 101);
	assert_answered(
	    cluster, 2,
	    set_sync(cluster, 2, 200, region, 0)); /* told again: the new table is none the older */
	assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 101, region), 1);
	recover_all(cluster, 1, 101);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS - 1);
	reload(cluster, 2, 200, 201);
	recover_all(cluster, 1, 101);
	recover_all(cluster, 2, 201);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

/* The last table that is older than a failed copy was of a boot that ended, as the HELLO of the next one
 * proves. The recoverer's kernel is woken there, once, and has to be given the region when it asks (hazards
 * B1, B11). */
static void test_failed_copy_of_a_former_boot(void **state)
{
	struct small_cluster *cluster = cluster_unfenced_new(2);
	uint32_t work;
	uint64_t region;
	unsigned wakes;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	work = small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
	region = small_reply_u64(cluster, 1, work, 1);
	assert_answered(cluster, 1, set_sync(cluster, 1, 100, region, 0));
	recover_all(cluster, 1, 100);
	small_leave(cluster, 2, true);
	reload(cluster, 1, 100, 101);
	recover_all(cluster, 1, 101);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS - 1);
	wakes = cluster->nodes[1].wakes;
	cluster->hold = true;
	small_join(cluster, 2, 21);
	small_deliver(cluster, 2);
	assert_int_equal(cluster->nodes[1].wakes, wakes + 1);
	work = small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 101, NULL, 0);
	assert_int_equal(small_reply_u64(cluster, 1, work, 0), 1);
	assert_int_equal(small_reply_u64(cluster, 1, work, 1), region);
	cluster->hold = false;
	small_settle(cluster);
	recover_all(cluster, 1, 101);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

/* A leg fails at node 2 under a region in sync, then at node 1, whose table was resumed in between: every
 * table goes on to be told that both regions are in sync, so it writes every leg and marks (Red Hat bug
 * 596453); none counts them. The daemon repairs them once both tables were reloaded. */
static void test_failed_leg_stays_in_sync_for_others(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	(void)state;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 3);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
	assert_answered(cluster, 2, set_sync(cluster, 2, 200, 3, 0));
	reload(cluster, 1, 100, 101);
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 4);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	assert_answered(cluster, 1, set_sync(cluster, 1, 101, 4, 0));
	for (uint64_t region = 3; region <= 4; region++) {
		assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 101, region), 1);
		assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 200, region), 1);
		assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 101, region), 0);
	}
	assert_int_equal(count_of(cluster, 1, 101), REGIONS - 2);
	reload(cluster, 2, 200, 201);
	small_advance(cluster, 10000000000);
	assert_int_equal(count_of(cluster, 2, 201), REGIONS - 2); /* node 1 has its old table */
	reload(cluster, 1, 101, 102);
	small_advance(cluster, 10000000000);
	small_advance(cluster, 10000000000);
	assert_int_equal(count_of(cluster, 1, 102), REGIONS);
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

/* What is held when the table is suspended (here: a leg failed under it) may sit in a cache: the suspend
 * flushes the legs, for another node copies the region then (hazard B7). */
static void test_suspend_flushes_what_is_held(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	unsigned flushes;
	uint32_t suspend;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 3);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	assert_answered(cluster, 1, set_sync(cluster, 1, 100, 3, 0));
	small_advance(cluster, 10000000000);
	flushes = cluster->nodes[1].legs_flushes;
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, suspend);
	assert_int_equal(cluster->nodes[1].legs_flushes, flushes + 1);
	cluster_free(cluster);
}

/* Copied, and the legs cannot be flushed: all are told before the recoverer leaves, or its table knows as in
 * sync what nobody recovers any more. */
static void test_copied_is_told_before_the_suspend(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	uint32_t work, suspend;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	cluster->nodes[1].legs_broken = true;
	work = small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
	assert_answered(cluster, 1, set_sync(cluster, 1, 100, small_reply_u64(cluster, 1, work, 1), 1));
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, suspend);
	cluster->nodes[1].legs_broken = false;
	activate(cluster, 1, 101, DISK_LOG);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	recover_all(cluster, 1, 101);
	small_advance(cluster, 10000000000);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	assert_int_equal(device_dirty_count(cluster), 0);
	cluster_free(cluster);
}

/* DESTROYED of the only table goes before RESUME of the next, which had to wait for quorum: the log begins
 * anew, and the marks of before mean nothing in it. */
static void test_last_table_takes_the_marks_along(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	uint32_t resume;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 5);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	small_quorum(cluster, false);
	small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 1000000000);
	resume = small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	small_quorum(cluster, true);
	assert_answered(cluster, 1, resume);
	recover_all(cluster, 1, 101);
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 5);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	assert_false(device_clean(cluster, 5));
	cluster_free(cluster);
}

static void die_with_mark(struct small_cluster *cluster, node_id_t node, luid_t luid, region_t region)
{
	small_region(cluster, node, ULOG_MARK_REGION, luid, region);
	assert_answered(cluster, node, small_request(cluster, node, ULOG_FLUSH, luid, NULL, 0));
	small_leave(cluster, node, true);
	small_settle(cluster);
}

static void write_through(struct small_cluster *cluster, node_id_t node, luid_t luid, uint64_t region)
{
	small_region(cluster, node, ULOG_MARK_REGION, luid, region);
	assert_answered(cluster, node, small_request(cluster, node, ULOG_FLUSH, luid, NULL, 0));
	small_region(cluster, node, ULOG_CLEAR_REGION, luid, region);
}

/* With the mirror active and in sync on each. */
static struct small_cluster *unfenced_new(unsigned nodes, const char *arguments)
{
	struct small_cluster *cluster = cluster_unfenced_new(nodes);

	cluster->ring_stays = true;
	for (node_id_t node = 1; node <= nodes; node++)
		activate(cluster, node, node * 100, arguments);
	recover_all(cluster, 1, 100);
	small_advance(cluster, 10000000000);
	return cluster;
}

/* A daemon is killed in a flush of the legs, of which nobody hears that it failed: a later one that succeeds
 * does not bring back what was lost (seed 51020114). What was flushed before is clean. */
static void test_killed_in_a_flush(void **state)
{
	(void)state;
	for (unsigned killed = 0; killed < 2; killed++) {
		struct small_cluster *cluster = unfenced_new(2, DISK_LOG);

		write_through(cluster, 2, 200, 7);
		cluster->nodes[2].flush_slow = killed;
		small_advance(cluster, 10000000000);
		cluster->nodes[2].flush_slow = false; /* it has ended, whoever heard of it */
		small_restart(cluster, 2);
		small_advance(cluster, 20000000000);
		assert_int_equal(cluster->nodes[1].repairs + cluster->nodes[2].repairs, killed);
		assert_true(device_clean(cluster, 7));
		cluster_free(cluster);
	}
}

/* So does the flush behind a copy, which may have lost what was written elsewhere (seed 51078489). */
static void test_killed_in_the_flush_of_a_copy(void **state)
{
	struct small_cluster *cluster = unfenced_new(3, CORE_LOG);

	(void)state;
	cluster->nodes[1].slow = true;
	die_with_mark(cluster, 3, 300, 7);
	small_control(cluster, 2, CONTROL_CONFIRM_DEAD, 3, NULL);
	small_advance(cluster, 5000000000);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	write_through(cluster, 1, 100, 5);
	small_restart(cluster, 1);
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs + cluster->nodes[2].repairs, 2);
	cluster_free(cluster);
}

/* It goes on behind the death of its daemon, and may lose what was written since: the first flush of the next
 * one waits for it, and counts for nothing. As with any trouble of a leg the tables have to be reloaded. */
static void test_flush_of_a_killed_daemon_goes_on(void **state)
{
	struct small_cluster *cluster = unfenced_new(2, DISK_LOG);

	(void)state;
	write_through(cluster, 1, 100, 7);
	cluster->nodes[1].flush_slow = true;
	small_advance(cluster, 10000000000);
	small_restart(cluster, 1);
	write_through(cluster, 1, 100, 5);
	small_advance(cluster, 10000000000);
	small_flush_end(cluster, 1, 0);
	small_advance(cluster, 20000000000);
	assert_false(device_clean(cluster, 5));
	for (node_id_t node = 1; node <= 2; node++)
		reload(cluster, node, node * 100, node * 100 + 1);
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs + cluster->nodes[2].repairs, 2);
	assert_true(device_clean(cluster, 5));
	assert_true(device_clean(cluster, 7));
	cluster_free(cluster);
}

/* That it is under way is remembered until one of a later daemon has waited for it: not only until a copy has
 * ended that the killed one had in flight too, nor until one that was not done at all. */
static void test_flush_of_a_killed_daemon_outlives_the_next(void **state)
{
	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		struct small_cluster *cluster = unfenced_new(2, DISK_LOG);

		write_through(cluster, 1, 100, 7);
		cluster->nodes[1].flush_slow = true;
		small_advance(cluster, 10000000000);
		if (copy) {
			small_replace(cluster, 1, false, true);
			small_io_end(cluster, 1);
		} else {
			small_restart(cluster, 1);
			small_advance(cluster, 10000000000);
			small_flush_end(cluster, 1, -ECANCELED);
			cluster->nodes[1].flush_slow = true;
		}
		small_restart(cluster, 1);
		write_through(cluster, 1, 100, 5);
		small_advance(cluster, 10000000000);
		small_flush_end(cluster, 1, 0);
		small_advance(cluster, 20000000000);
		assert_false(device_clean(cluster, 5));
		cluster_free(cluster);
	}
}

/* What is copied while it is under way it may lose, too, and the flush behind the copy says nothing of that:
 * nothing is copied before. It is waited for at once, also where this node has nothing to clear. */
static void test_no_repair_beside_the_flush_of_a_killed_daemon(void **state)
{
	struct small_cluster *cluster = unfenced_new(3, DISK_LOG);

	(void)state;
	write_through(cluster, 1, 100, 5);
	cluster->nodes[1].flush_slow = true;
	small_advance(cluster, 10000000000);
	small_restart(cluster, 1);
	die_with_mark(cluster, 3, 300, 7);
	small_control(cluster, 2, CONTROL_CONFIRM_DEAD, 3, NULL);
	small_advance(cluster, 5000000000);
	assert_int_equal(cluster->nodes[1].repairs, 0);
	small_flush_end(cluster, 1, 0);
	for (node_id_t node = 1; node <= 2; node++)
		reload(cluster, node, node * 100, node * 100 + 1);
	small_advance(cluster, 20000000000);
	assert_int_equal(cluster->nodes[1].repairs + cluster->nodes[2].repairs, 2);
	cluster_free(cluster);
}

/* The last table goes with a claim, and what gives that back comes behind the end of the log, in one frame
 * with the next table's RESUME: ghosts of that one's log are repaired. */
static void test_last_table_takes_the_claim_along(void **state)
{
	struct small_cluster *cluster = cluster_new(2);
	uint32_t resume;

	(void)state;
	for (node_id_t node = 1; node <= 2; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_control(cluster, 1, CONTROL_REPAIR_PAUSE, 0, NULL);
	die_with_mark(cluster, 2, 200, 9);
	cluster->hold = true;
	small_control(cluster, 1, CONTROL_REPAIR_RESUME, 0, NULL);
	small_quorum(cluster, false);
	cluster->hold = false;
	small_settle(cluster); /* the claim comes without quorum: nothing is copied */
	small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	resume = small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	assert_waits(cluster, 1, resume);
	small_quorum(cluster, true);
	assert_answered(cluster, 1, resume);
	assert_int_equal(cluster->nodes[1].repairs, 0);
	recover_all(cluster, 1, 101);
	small_join(cluster, 2, 21);
	small_settle(cluster);
	activate(cluster, 2, 201, DISK_LOG);
	die_with_mark(cluster, 2, 201, 5);
	small_advance(cluster, 5000000000);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_true(device_clean(cluster, 5));
	cluster_free(cluster);
}

/* A write waits for a region, the recoverer goes: the next one is asked too. */
static void test_next_recoverer_is_asked_again(void **state)
{
	struct small_cluster *cluster = cluster_new(3);

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	assert_int_equal(ask(cluster, 3, ULOG_IS_REMOTE_RECOVERING, 300, 50), 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	small_advance(cluster, 3000000000);
	assert_int_equal(ask(cluster, 3, ULOG_IS_REMOTE_RECOVERING, 300, 50), 1);
	assert_int_equal(
	    small_reply_u64(cluster, 2, small_request(cluster, 2, ULOG_GET_RESYNC_WORK, 200, NULL, 0), 1),
	    50);
	cluster_free(cluster);
}

/* A mark of the node's former life, which nobody committed: a FLUSH may not rely on it (hazard A10). */
static void test_adopted_mark_is_not_committed(void **state)
{
	struct small_cluster *cluster = cluster_unfenced_new(2);
	uint32_t seq;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	recover_all(cluster, 1, 100);
	cluster->nodes[1].device_broken = cluster->nodes[2].device_broken = true;
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 3);
	seq = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	assert_int_equal(error_of(cluster, 2, seq), -EIO);
	cluster->memory_lost = true;
	small_leave(cluster, 2, false);
	small_settle(cluster);
	small_join(cluster, 2, 20);
	cluster->nodes[2].device_broken = true;
	small_settle(cluster);
	seq = small_request(cluster, 2, ULOG_CTR, 200, DISK_LOG, sizeof(DISK_LOG));
	assert_answered(cluster, 2, seq);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_RESUME, 200, NULL, 0));
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 3);
	seq = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	assert_int_equal(error_of(cluster, 2, seq), -EIO);
	assert_true(device_clean(cluster, 3));
	cluster_free(cluster);
}

/* One that waits for the end of a copy is adopted too, or nobody would ever clear it, and no claim of its
 * region be granted; a FLUSH goes on waiting for that copy (seed 1302 with kill,memory,leg,life,stack). */
static void test_adopted_mark_that_waits_for_a_copy(void **state)
{
	struct small_cluster *cluster = cluster_new(3);
	const uint64_t regions[2] = {7, 8};
	struct core_status *status;
	uint32_t flush;

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, CORE_LOG);
	recover_all(cluster, 1, 100);
	cluster->nodes[1].slow = true;
	die_with_mark(cluster, 3, 300, 7);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	small_request(cluster, 2, ULOG_MARK_REGION, 200, regions, sizeof(regions));
	assert_waits(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
	cluster->ring_stays = true;
	small_leave(cluster, 2, false);
	small_settle(cluster);
	cluster->memory_lost = true;
	small_join(cluster, 2, 20);
	small_settle(cluster);
	small_request(cluster, 2, ULOG_CTR, 200, CORE_LOG, sizeof(CORE_LOG));
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_RESUME, 200, NULL, 0));
	activate(cluster, 2, 201, CORE_LOG);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_DTR, 200, NULL, 0));
	small_region(cluster, 2, ULOG_MARK_REGION, 201, 7);
	flush = small_request(cluster, 2, ULOG_FLUSH, 201, NULL, 0);
	assert_waits(cluster, 2, flush);
	small_io_end(cluster, 1);
	assert_answered(cluster, 2, flush);
	small_region(cluster, 2, ULOG_CLEAR_REGION, 201, 7);
	for (unsigned i = 0; i < 100; i++)
		small_advance(cluster, 1000000000);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].ghost_regions, 0);
	for (size_t i = 0; i < status->logs[0].member_count; i++)
		assert_int_equal(status->logs[0].members[i].marks, 0);
	core_status_free(status);
	cluster_free(cluster);
}

/* No write is let through to one leg while the log device, dead, may have the region clean; it is tried
 * again. */
static void test_one_leg_waits_for_the_log_device(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	uint32_t seq;

	(void)state;
	cluster->nodes[1].device_broken = true;
	activate(cluster, 1, 100, DISK_LOG);
	seq = small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
	assert_int_equal(small_reply_u64(cluster, 1, seq, 1), 0);
	seq = set_sync(cluster, 1, 100, 0, 0);
	assert_int_equal(error_of(cluster, 1, seq), -EIO);
	assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, 0), 1);
	cluster->nodes[1].device_broken = false;
	small_advance(cluster, 3000000000);
	ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, 0);
	assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, 0), 0);
	assert_false(device_clean(cluster, 0));
	cluster_free(cluster);
}

/* Nor while the first node that can write the device is still at it (seed 7021941). */
static void test_one_leg_waits_for_the_first_write(void **state)
{
	struct small_cluster *cluster = cluster_new(2);

	(void)state;
	cluster->nodes[1].device_broken = true;
	activate(cluster, 1, 100, DISK_LOG);
	small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
	assert_int_equal(error_of(cluster, 1, set_sync(cluster, 1, 100, 0, 0)), -EIO);
	cluster->nodes[2].slow = true;
	activate(cluster, 2, 200, DISK_LOG);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, 0), 1);
		small_advance(cluster, 1000000000);
	}
	small_io_end(cluster, 2);
	small_io_end(cluster, 2);
	small_settle(cluster);
	let_through(cluster, 1, 100, 0);
	assert_false(device_clean(cluster, 0));
	cluster_free(cluster);
}

/* A table runs that never says a word: the run directory is lost, nobody else had the log, and its kernel
 * asks nothing of regions whose flush failed (hazard A7, seed 6097184). It wrote its first leg there. */
static struct small_cluster *cluster_with_unknown_table(void)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = cluster_new(2);

	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	small_leave(cluster, 1, false);
	small_settle(cluster);
	cluster->memory_lost = true;
	small_join(cluster, 1, 10);
	small_settle(cluster);
	small_tables(cluster, 1, &table, 1);
	activate(cluster, 2, 200, DISK_LOG);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	return cluster;
}

/* It is replaced by another: all is repaired. */
static void test_unknown_table_is_replaced(void **state)
{
	struct small_cluster *cluster = cluster_with_unknown_table();

	(void)state;
	cluster->nodes[2].legs_broken = true;
	activate(cluster, 1, 101, DISK_LOG);
	assert_int_equal(count_of(cluster, 2, 200), 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	cluster->nodes[2].legs_broken = false;
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	reload(cluster, 1, 101, 102);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* The next one is loaded when the daemon looks at the tables again: it is not the one that runs. */
static void test_unknown_table_beside_a_loaded_one(void **state)
{
	static const struct table tables[] = {{.uuid = SMALL_UUID, .live = true}, {.uuid = SMALL_UUID}};
	struct small_cluster *cluster = cluster_with_unknown_table();
	unsigned wakes = cluster->nodes[1].wakes;

	(void)state;
	cluster->nodes[2].legs_broken = true;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
	small_advance(cluster, 1000000000);
	small_tables(cluster, 1, tables, 2);
	assert_int_equal(count_of(cluster, 1, 101), 0);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	assert_int_equal(cluster->nodes[1].wakes, wakes + 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	assert_int_equal(count_of(cluster, 2, 200), 0);
	cluster_free(cluster);
}

/* It is removed: it is gone when the cluster has heard of it. */
static void test_unknown_table_is_removed(void **state)
{
	struct small_cluster *cluster = cluster_with_unknown_table();

	(void)state;
	cluster->nodes[2].legs_broken = true;
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_int_equal(count_of(cluster, 2, 200), 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	cluster->nodes[2].legs_broken = false;
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	/* It was spoken for: the next one's RESUME says nothing of it. */
	cluster->nodes[2].legs_broken = true;
	activate(cluster, 1, 101, DISK_LOG);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* Of two that nobody knows one is gone: it may be the one that ran, whose place the other has taken with a
 * RESUME that nobody could answer, or the one that was only loaded (seed 60147776). What it wrote is unknown,
 * and another is there. */
static void test_one_of_two_unknown_tables_is_removed(void **state)
{
	static const struct table tables[] = {{.uuid = SMALL_UUID, .live = true}, {.uuid = SMALL_UUID}};
	struct small_cluster *cluster = cluster_with_unknown_table();

	(void)state;
	small_tables(cluster, 1, tables, 2);
	cluster->nodes[2].legs_broken = true;
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_int_equal(count_of(cluster, 2, 200), 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	cluster->nodes[2].legs_broken = false;
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 2, 200), 0);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 101, NULL, 0);
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* Its end was lost with other requests: device-mapper, asked again, does not have it any more, or has no more
 * than a table that is loaded. */
static void test_unknown_table_is_gone(void **state)
{
	static const struct table loaded = {.uuid = SMALL_UUID};

	(void)state;
	for (unsigned case_number = 0; case_number < 4; case_number++) {
		struct small_cluster *cluster = cluster_with_unknown_table();

		cluster->nodes[2].legs_broken = true;
		if (case_number & 2)
			small_quorum(cluster, false);
		small_tables(cluster, 1, &loaded, case_number & 1);
		small_tables(cluster, 1, &loaded, case_number & 1);
		small_quorum(cluster, true);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		cluster->nodes[2].legs_broken = false;
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		/* It is said once. */
		cluster->nodes[2].legs_broken = true;
		small_tables(cluster, 1, &loaded, case_number & 1);
		small_lost(cluster, 1);
		small_back(cluster, 1);
		small_settle(cluster);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* Also when that was while this node had no part in the cluster, or lost it before it was heard. */
static void test_unknown_table_is_removed_unheard(void **state)
{
	(void)state;
	for (unsigned lost_first = 0; lost_first < 2; lost_first++) {
		struct small_cluster *cluster = cluster_with_unknown_table();

		cluster->nodes[2].legs_broken = true;
		if (lost_first)
			small_lost(cluster, 1);
		else
			small_quorum(cluster, false);
		small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
		small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
		small_lost(cluster, 1);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
		small_quorum(cluster, true);
		small_back(cluster, 1);
		small_settle(cluster);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		cluster->nodes[2].legs_broken = false;
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		/* It is said once. */
		cluster->nodes[2].legs_broken = true;
		small_lost(cluster, 1);
		small_back(cluster, 1);
		small_settle(cluster);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* A founder remembers the member whose table that is: until it comes back, or its end is told, or there is
 * none, nobody copies (seed 30531100). */
static void test_unknown_table_of_a_former_member(void **state)
{
	static const struct table live = {.uuid = SMALL_UUID, .live = true}, loaded = {.uuid = SMALL_UUID};

	(void)state;
	for (unsigned end = 0; end < 6; end++) {
		const struct table *table = end == 3 ? &loaded : &live;
		struct small_cluster *cluster = cluster_new(2);

		activate(cluster, 1, 100, DISK_LOG);
		activate(cluster, 2, 200, DISK_LOG);
		recover_all(cluster, 1, 100);
		small_advance(cluster, 1000000000);
		cluster->ring_stays = true;
		cluster->fencing = FENCING_NONE;
		small_leave(cluster, 1, false);
		small_settle(cluster);
		small_restart(cluster, 2);
		small_settle(cluster);
		cluster->memory_lost = true;
		small_join(cluster, 1, 10);
		small_tables(cluster, 1, table, end != 2);
		small_settle(cluster);
		small_advance(cluster, 60000000000);
		if (end < 2 || end > 3) {
			assert_int_equal(count_of(cluster, 2, 200), 0);
			if (end < 2)
				small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
			if (end == 1)
				activate(cluster, 1, 101, DISK_LOG);
			else if (end > 3)
				small_tables(cluster, 1, &loaded, end == 5);
			else
				small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
			if (end < 2)
				assert_answered(cluster, 1,
						small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
			small_advance(cluster, 60000000000);
		}
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* Two founders, of which node 1 has no memory of its table 100, and is ready before the other, which
 * remembers the member, has spoken. Device-mapper has these when `asked` messages were delivered. */
static struct small_cluster *founders_without_memory(const struct table *tables, size_t count, unsigned asked)
{
	struct small_cluster *cluster = cluster_new(2);

	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	cluster->ring_stays = true;
	cluster->fencing = FENCING_NONE;
	small_leave(cluster, 1, false);
	small_settle(cluster);
	cluster->hold = true;
	small_restart(cluster, 2);
	cluster->memory_lost = true;
	small_join(cluster, 1, 10);
	small_deliver(cluster, asked);
	small_tables(cluster, 1, tables, count);
	return cluster;
}

static void founders_go_on(struct small_cluster *cluster)
{
	cluster->hold = false;
	small_settle(cluster);
	small_advance(cluster, 60000000000);
}

/* It is barred as if it had been remembered before it was ready. */
static void test_unknown_table_of_a_member_ready_before(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};

	(void)state;
	for (unsigned end = 0; end < 3; end++) {
		struct small_cluster *cluster = founders_without_memory(&table, 1, 0);

		founders_go_on(cluster);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		if (end < 2)
			small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
		if (end == 1)
			activate(cluster, 1, 101, DISK_LOG);
		if (end < 2)
			small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
		else
			small_no_tables(cluster, 1);
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* Its end was heard, or device-mapper said that there is none, whenever that was: nothing stays barred. */
static void test_no_table_of_a_member_ready_before(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};

	(void)state;
	for (unsigned listed = 0; listed < 2; listed++)
		for (unsigned delivered = 0; delivered < 12; delivered++) {
			struct small_cluster *cluster =
			    founders_without_memory(&table, listed, listed ? 0 : delivered);

			small_deliver(cluster, listed ? delivered : 0);
			if (listed)
				small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
			if (listed)
				small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
			founders_go_on(cluster);
			small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
			assert_int_equal(count_of(cluster, 2, 200), REGIONS);
			cluster_free(cluster);
		}
}

/* Node 1 is without memory of its table 100, which node 2 knows. Device-mapper has these. */
static struct small_cluster *member_without_memory(const struct table *tables, size_t count)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	cluster->ring_stays = true;
	cluster->fencing = FENCING_NONE;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	small_leave(cluster, 1, false);
	cluster->memory_lost = true;
	small_join(cluster, 1, 10);
	cluster->memory_lost = false;
	small_tables(cluster, 1, tables, count);
	small_settle(cluster);
	small_advance(cluster, 60000000000);
	return cluster;
}

/* Node 1 has replaced table 100 by 101, whose write is in flight, when its daemon dies and the run directory
 * is lost. Table 101 says no word (its kernel waits for an answer that the dead one owes), and the DTR of
 * table 100 waits for one too: the kernel asks again after 15 s. */
static struct small_cluster *former_table_without_memory(bool suspends)
{
	static const struct table live = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = pair_new(DISK_LOG);
	uint64_t asked_ns;

	cluster->ring_stays = true;
	cluster->fencing = FENCING_NONE;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 7);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	small_leave(cluster, 1, false);
	cluster->memory_lost = true;
	small_join(cluster, 1, 10);
	cluster->memory_lost = false;
	asked_ns = cluster->now_ns;
	small_advance(cluster, 1000000);
	if (suspends)
		small_request(cluster, 1, ULOG_POSTSUSPEND, 101, NULL, 0);
	small_tables_of(cluster, 1, &live, 1, asked_ns);
	return cluster;
}

/* The end of the former table is not that of the one that runs, whose write is in flight still. That one
 * suspends before it ends, which may be heard before device-mapper's answer. */
static void test_end_of_a_former_table(void **state)
{
	(void)state;
	for (unsigned story = 0; story < 5; story++) {
		struct small_cluster *cluster = former_table_without_memory(story == 4);

		small_advance(cluster, 60000000000);
		if (story)
			small_lost(cluster, 1);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
		/* The kernel gives its number to another, which is only loaded. */
		if (story == 2)
			small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG) - 1);
		if (story)
			small_back(cluster, 1);
		small_settle(cluster);
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		if (story == 3) {
			small_no_tables(cluster, 1);
		} else {
			if (story < 4)
				small_request(cluster, 1, ULOG_POSTSUSPEND, 101, NULL, 0);
			if (story == 2)
				assert_answered(cluster, 1,
						small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
			assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
		}
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* Nor when the former table came back before it ended, and was taken for the one that runs. That one says no
 * word, or came back behind the other (for `dmsetup status`), which was taken for it. */
static void test_former_table_comes_back_and_ends(void **state)
{
	(void)state;
	for (unsigned back = 0; back < 2; back++) {
		struct small_cluster *cluster = former_table_without_memory(false);

		small_settle(cluster);
		small_advance(cluster, 3000000000);
		assert_answered(cluster, 1,
				small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
		if (back) {
			assert_answered(cluster, 1,
					small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG)));
			assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
		}
		small_advance(cluster, 10000000000);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		small_request(cluster, 1, ULOG_POSTSUSPEND, 101, NULL, 0);
		small_advance(cluster, 10000000000);
		small_request(cluster, 1, ULOG_DTR, 101, NULL, 0);
		small_advance(cluster, 20000000000);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* The RESUME of a former table's reconnect waits for quorum, and the kernel sends it again: that is no
 * resume. The table that runs comes back while this node has no part in the cluster: its CTR waits until
 * then, or the RESUME behind it would fail, and its kernel write unmarked (hazard A2). */
static void test_resume_of_a_reconnect_is_sent_again(void **state)
{
	struct small_cluster *cluster = former_table_without_memory(false);
	uint32_t ctr;

	(void)state;
	small_settle(cluster);
	small_quorum(cluster, false);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	small_lost(cluster, 1);
	ctr = small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG));
	small_advance(cluster, 15000000000);
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	small_advance(cluster, 31000000000);
	assert_waits(cluster, 1, ctr);
	small_quorum(cluster, true);
	small_back(cluster, 1);
	small_settle(cluster);
	assert_answered(cluster, 1, ctr);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	cluster_free(cluster);
}

/* The first daemon without memory is killed before it has said so, and its successor finds a run directory
 * that is whole. But a table runs that it does not remember, and may come back before it has said anything:
 * what that has marked is not to be copied. */
static void test_loss_of_memory_that_nobody_heard_of(void **state)
{
	static const struct table live = {.uuid = SMALL_UUID, .live = true};

	(void)state;
	for (unsigned story = 1; story < 4; story++) {
		bool listed = story & 1, back = story & 2;
		struct small_cluster *cluster = pair_new(DISK_LOG);

		cluster->ring_stays = true;
		cluster->fencing = FENCING_NONE;
		recover_all(cluster, 1, 100);
		small_advance(cluster, 1000000000);
		small_region(cluster, 1, ULOG_MARK_REGION, 100, 7);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
		small_leave(cluster, 1, false);
		cluster->memory_lost = cluster->hold = true;
		small_join(cluster, 1, 10);
		small_leave(cluster, 1, false);
		cluster->memory_lost = false;
		small_join(cluster, 1, 10);
		if (listed)
			small_tables(cluster, 1, &live, 1);
		if (back)
			small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG));
		cluster->hold = false;
		small_settle(cluster);
		small_advance(cluster, 1000000000);
		assert_int_equal(cluster->nodes[2].repairs, 0);
		if (back)
			assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
		small_advance(cluster, 60000000000);
		assert_int_equal(cluster->nodes[2].repairs, 0);
		small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
		activate(cluster, 1, 101, DISK_LOG);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* Beside the table that runs another is loaded, which is as unknown: the first that ends may be that one. */
static void test_end_of_an_unknown_loaded_table(void **state)
{
	static const struct table tables[] = {{.uuid = SMALL_UUID, .live = true}, {.uuid = SMALL_UUID}};

	(void)state;
	for (unsigned story = 0; story < 4; story++) {
		struct small_cluster *cluster =
		    story < 2 ? founders_without_memory(tables, 2, 0) : member_without_memory(tables, 2);

		if (story == 1)
			founders_go_on(cluster);
		if (story == 3)
			small_lost(cluster, 1);
		small_request(cluster, 1, ULOG_DTR, 101, NULL, 0);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
		if (story == 3)
			small_back(cluster, 1);
		founders_go_on(cluster);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
		small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* Nor when it came back, and was taken for the one that runs, which says no word. */
static void test_loaded_table_comes_back_for_an_unknown_one(void **state)
{
	static const struct table tables[] = {{.uuid = SMALL_UUID, .live = true}, {.uuid = SMALL_UUID}};

	(void)state;
	for (unsigned story = 0; story < 6; story++) {
		struct small_cluster *cluster =
		    story < 3 ? member_without_memory(tables, 2) : founders_without_memory(tables, 2, 0);

		if (story >= 3)
			founders_go_on(cluster);
		small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG));
		if (story % 3)
			assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), 0);
		if (story % 3 == 2) {
			small_lost(cluster, 1);
			small_back(cluster, 1);
			small_advance(cluster, 60000000000);
			assert_int_equal(count_of(cluster, 2, 200), 0);
			activate(cluster, 1, 102, DISK_LOG);
		}
		small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
		small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* The one that the cluster knows went unheard, while another was loaded here. */
static void test_known_table_went_beside_a_loaded_one(void **state)
{
	static const struct table live = {.uuid = SMALL_UUID, .live = true}, loaded = {.uuid = SMALL_UUID};

	(void)state;
	for (unsigned resumed = 0; resumed < 2; resumed++) {
		struct small_cluster *cluster = member_without_memory(&live, 1);

		assert_int_equal(count_of(cluster, 2, 200), 0);
		assert_answered(cluster, 1,
				small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
		small_advance(cluster, 1000000000);
		small_tables(cluster, 1, &loaded, 1);
		if (resumed)
			small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
		else
			small_request(cluster, 1, ULOG_DTR, 101, NULL, 0);
		small_advance(cluster, 60000000000);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* A new table has the number of one that went unheard, and that the cluster knows as tainted: it is none. */
static void test_number_of_a_tainted_table_is_used_again(void **state)
{
	static const struct table live = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = member_without_memory(&live, 1);

	(void)state;
	assert_int_equal(count_of(cluster, 2, 200), 0);
	activate(cluster, 1, 100, DISK_LOG);
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* The end of one that was unknown is said when this node is ready, once, and not of the next one that has its
 * number. */
static void test_number_of_an_ended_table_is_used_again(void **state)
{
	static const struct table live = {.uuid = SMALL_UUID, .live = true};

	(void)state;
	for (unsigned delivered = 0; delivered < 16; delivered++) {
		struct small_cluster *cluster = cluster_with_unknown_table();
		uint32_t resume;

		small_lost(cluster, 1);
		small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
		assert_answered(cluster, 1,
				small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG) - 1));
		resume = small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
		cluster->hold = true;
		small_back(cluster, 1);
		small_deliver(cluster, delivered);
		small_tables(cluster, 1, &live, 1);
		cluster->hold = false;
		small_settle(cluster);
		assert_answered(cluster, 1, resume);
		small_advance(cluster, 60000000000);
		small_region(cluster, 1, ULOG_MARK_REGION, 100, 7);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
		small_lost(cluster, 1);
		small_back(cluster, 1);
		small_settle(cluster);
		small_region(cluster, 1, ULOG_MARK_REGION, 100, 8);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
		cluster_free(cluster);
	}
}

/* A table that this node has heard of is resumed while no daemon listens: it is none that nobody knows. */
static void test_table_resumed_unheard_is_known(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = cluster_new(2);
	uint32_t seq;

	(void)state;
	activate(cluster, 2, 200, DISK_LOG);
	recover_all(cluster, 2, 200);
	seq = small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, (uint32_t)strlen(DISK_LOG));
	assert_answered(cluster, 1, seq);
	small_restart(cluster, 1);
	cluster->nodes[1].legs_broken = cluster->nodes[2].legs_broken = true;
	small_tables(cluster, 1, &table, 1);
	small_settle(cluster);
	assert_int_equal(count_of(cluster, 1, 100), REGIONS);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* A table without memory reconnects to a daemon that dies before it can resume it, and is replaced while none
 * listens. It is gone when the next one is resumed, or repair would be barred for good (seed 50063661). */
static void test_reconnected_table_is_replaced_unheard(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = pair_new(DISK_LOG);

	(void)state;
	cluster->ring_stays = true;
	cluster->fencing = FENCING_NONE;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	small_leave(cluster, 1, false);
	cluster->memory_lost = true;
	small_join(cluster, 1, 10);
	cluster->memory_lost = false;
	small_settle(cluster);
	small_quorum(cluster, false);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
	small_restart(cluster, 1);
	small_tables(cluster, 1, &table, 1);
	small_quorum(cluster, true);
	small_settle(cluster);
	reload(cluster, 1, 101, 102);
	small_advance(cluster, 20000000000);
	assert_int_equal(count_of(cluster, 2, 200), 0);
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* Of two tables that reconnect one runs. When a third is resumed in its place both are gone, though the DTR
 * of the one that was not resumed is lost (seed 71039297). */
static void test_outrun_table_is_replaced_unheard(void **state)
{
	struct small_cluster *cluster = cluster_new(2);

	(void)state;
	activate(cluster, 2, 200, DISK_LOG);
	recover_all(cluster, 2, 200);
	for (luid_t luid = 100; luid <= 101; luid++)
		assert_answered(cluster, 1,
				small_request(cluster, 1, ULOG_CTR, luid, DISK_LOG, sizeof(DISK_LOG)));
	cluster->hold = true;
	small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	cluster->hold = false;
	small_settle(cluster);
	small_advance(cluster, 1000000000);
	reload(cluster, 1, 101, 102);
	small_advance(cluster, 20000000000);
	assert_int_equal(count_of(cluster, 2, 200), 0);
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* Killed in the suspend of a table that it has not resumed, a daemon leaves one to the next that nobody knows
 * to run. It is resumed unheard: the next finds it so, and tells. */
static void test_cut_table_is_resumed_unheard(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	small_quorum(cluster, false);
	cluster->inquorate = true;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	small_restart(cluster, 1);
	cluster->nodes[1].flush_slow = true;
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	cluster->nodes[1].flush_slow = false;
	small_restart(cluster, 1);
	small_tables(cluster, 1, &table, 1);
	cluster->inquorate = false;
	small_quorum(cluster, true);
	small_settle(cluster);
	assert_int_equal(member_count_of(cluster, 1), 1);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	cluster_free(cluster);
}

/* Every first daemon of a boot finds no run directory. That is told once: when all lose corosync at the same
 * time, long behind that, nothing of another's core log is in doubt. */
static void test_memory_is_lost_once(void **state)
{
	(void)state;
	for (unsigned early = 0; early < 2; early++) {
		struct small_cluster *cluster = cluster_new(0);

		cluster->memory_lost = true;
		for (node_id_t node = 1; node <= 2; node++)
			small_join(cluster, node, node * 10);
		small_settle(cluster);
		activate(cluster, 1, 100, CORE_LOG);
		recover_all(cluster, 1, 100);
		small_advance(cluster, early ? 1000000000 : 40000000000);
		for (node_id_t node = 1; node <= 2; node++)
			small_lost(cluster, node);
		for (node_id_t node = 1; node <= 2; node++)
			small_back(cluster, node);
		small_settle(cluster);
		small_advance(cluster, 1000000000);
		assert_int_equal(cluster->nodes[1].repairs > 0, early);
		cluster_free(cluster);
	}
}

/* A table that may have written unmarked, and ends before its daemon is ready, can be spoken of no more: the
 * memory of it is lost. */
static void test_tainted_table_ends_before_ready(void **state)
{
	(void)state;
	for (unsigned tainted = 0; tainted < 2; tainted++) {
		struct small_cluster *cluster = pair_new(DISK_LOG);

		cluster->ring_stays = true;
		recover_all(cluster, 1, 100);
		small_advance(cluster, 10000000000);
		small_restart(cluster, 1);
		if (tainted)
			assert_answered(cluster, 1,
					small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
		cluster->hold = true;
		small_restart(cluster, 1);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
		cluster->hold = false;
		small_settle(cluster);
		small_no_tables(cluster, 1);
		small_advance(cluster, 60000000000);
		assert_int_equal(cluster->nodes[2].repairs > 0, tainted);
		cluster_free(cluster);
	}
}

/* A table's suspend and end were unheard, and the daemon that heard of the next one's RESUME dies before it
 * could take the former for gone. The next daemon does, when it hears that RESUME (seed 116464 with
 * kill,memory,life,corosync,leg). */
static void test_former_table_is_replaced_unheard_twice(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true, .suspended = true};
	struct small_cluster *cluster = cluster_new(1);
	struct core_status *status;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
	small_quorum(cluster, false);
	cluster->inquorate = true;
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	small_advance(cluster, 1000000000);
	small_restart(cluster, 1);
	small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	small_tables(cluster, 1, &table, 1);
	cluster->inquorate = false;
	small_quorum(cluster, true);
	small_settle(cluster);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].members[0].instances, 2);
	core_status_free(status);
	small_advance(cluster, 60000000000);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].members[0].instances, 1);
	assert_int_equal(status->logs[0].members[0].resumed, 1);
	core_status_free(status);
	cluster_free(cluster);
}

/* A table without memory reconnects, and is suspended, when the daemon dies: the next one hears its
 * POSTSUSPEND first, and the RESUME of the reconnect once more. The table is at rest, and stays so (seed
 * 72067058). */
static void test_suspended_table_reconnects_last(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true, .suspended = true};
	struct small_cluster *cluster = cluster_new(1);
	uint32_t suspend, resume;

	(void)state;
	small_quorum(cluster, false);
	cluster->inquorate = true;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	small_restart(cluster, 1);
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	resume = small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	small_settle(cluster);
	assert_answered(cluster, 1, suspend);
	assert_answered(cluster, 1, resume);
	small_tables(cluster, 1, &table, 1);
	cluster->inquorate = false;
	small_quorum(cluster, true);
	small_settle(cluster);
	assert_int_equal(member_count_of(cluster, 1), 0);
	cluster_free(cluster);
}

/* A table under removal is in no list, and suspends still: its POSTSUSPEND waits for the write in flight
 * (seed 1902). */
static void test_unlisted_table_suspends(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);
	uint32_t suspend;

	(void)state;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 10000000000);
	cluster->nodes[1].slow = true;
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 5);
	small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	small_advance(cluster, 1000000);
	small_no_tables(cluster, 1);
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	assert_waits(cluster, 1, suspend);
	small_io_end(cluster, 1);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, suspend);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	cluster_free(cluster);
}

/* device-mapper is asked by a thread of its own: requests overtake its answer. What came since is not what
 * runs by that answer, nor is what has suspended since. */
static void test_tables_of_before(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = cluster_with_unknown_table();
	unsigned wakes = cluster->nodes[1].wakes;
	uint64_t asked_ns = cluster->now_ns;
	uint32_t suspend;

	(void)state;
	small_advance(cluster, 1000000);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
	small_tables_of(cluster, 1, &table, 1, asked_ns);
	small_advance(cluster, 1000000);
	small_tables(cluster, 1, &table, 1); /* its load has not ended yet */
	assert_int_equal(cluster->nodes[1].wakes, wakes + 2);
	assert_int_equal(count_of(cluster, 1, 101), 0); /* not resumed */
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	asked_ns = cluster->now_ns;
	small_advance(cluster, 1000000);
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 101, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, suspend);
	small_tables_of(cluster, 1, &table, 1, asked_ns);
	assert_int_equal(count_of(cluster, 1, 101), 0);
	cluster_free(cluster);
}

/* One that reconnects was resumed before, whatever came since: it runs, and not the one that is loaded (seed
 * 2883 of kill,memory,life,leg). */
static void test_reconnected_table_beside_a_loaded_one(void **state)
{
	static const struct table tables[] = {{.uuid = SMALL_UUID, .live = true}, {.uuid = SMALL_UUID}};
	struct small_cluster *cluster = unfenced_new(2, DISK_LOG);
	unsigned flushes;
	uint32_t suspend;

	(void)state;
	cluster->memory_lost = true;
	small_leave(cluster, 1, false);
	small_join(cluster, 1, 10);
	cluster->memory_lost = false;
	small_settle(cluster);
	small_quorum(cluster, false);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	small_restart(cluster, 1);
	small_tables(cluster, 1, tables, 2);
	small_quorum(cluster, true);
	small_settle(cluster);
	flushes = cluster->nodes[1].legs_flushes;
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, suspend);
	assert_int_equal(cluster->nodes[1].legs_flushes, flushes + 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	small_advance(cluster, 60000000000);
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	cluster_free(cluster);
}

/* A member of a core log whose daemon is gone may be the one that begins the log again, with what it
 * remembers. Who became a member meanwhile commits nothing before it has heard of that (seed 53010036); who
 * was one already need not wait. */
static void test_new_member_beside_one_without_daemon(void **state)
{
	(void)state;
	for (unsigned fresh = 0; fresh < 2; fresh++) {
		struct small_cluster *cluster = cluster_unfenced_new(2);
		uint32_t flush;

		cluster->ring_stays = true;
		activate(cluster, 2, 200, CORE_LOG);
		recover_all(cluster, 2, 200);
		if (!fresh)
			activate(cluster, 1, 100, CORE_LOG);
		small_leave(cluster, 2, false);
		small_settle(cluster);
		activate(cluster, 1, 101, CORE_LOG);
		small_region(cluster, 1, ULOG_MARK_REGION, 101, 3);
		flush = small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0);
		if (!fresh) {
			assert_answered(cluster, 1, flush);
			cluster_free(cluster);
			continue;
		}
		assert_waits(cluster, 1, flush);
		small_restart(cluster, 2);
		small_settle(cluster);
		assert_answered(cluster, 1, flush);
		small_leave(cluster, 2, false);
		small_settle(cluster);
		small_region(cluster, 1, ULOG_MARK_REGION, 101, 4);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
		cluster_free(cluster);
	}
}

/* Its daemon is killed before it has heard of that: the new member has not committed anything meanwhile, also
 * where its table was suspended, and it was not asked. */
static void test_new_member_beside_one_that_is_killed(void **state)
{
	struct small_cluster *cluster = cluster_new(0);
	uint32_t flush;

	(void)state;
	cluster->fencing = FENCING_NONE;
	cluster->ring_stays = true;
	for (node_id_t node = 1; node <= 3; node++) {
		small_join(cluster, node, node * 10);
		small_settle(cluster);
	}
	activate(cluster, 2, 200, CORE_LOG);
	recover_all(cluster, 2, 200);
	small_request(cluster, 2, ULOG_PRESUSPEND, 200, NULL, 0);
	small_request(cluster, 2, ULOG_POSTSUSPEND, 200, NULL, 0);
	small_advance(cluster, 1000000000);
	cluster->nodes[2].dies = true;
	cluster->nodes[2].stores_left = 0;
	activate(cluster, 1, 100, CORE_LOG);
	assert_true(cluster->nodes[2].dead);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 3);
	flush = small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0);
	assert_waits(cluster, 1, flush);
	small_restart(cluster, 2);
	small_settle(cluster);
	assert_answered(cluster, 1, flush);
	cluster_free(cluster);
}

/* A table that only the cluster knows is suspended before its RESUME could be sent: its end is told all the
 * same (seed 56215019). */
static void test_adopted_table_is_suspended_before_its_resume(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);
	uint32_t resume, suspend;

	(void)state;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	cluster->ring_stays = true;
	cluster->fencing = FENCING_DLM; /* its lock is not held yet */
	small_leave(cluster, 1, false);
	cluster->memory_lost = true;
	small_join(cluster, 1, 10);
	small_settle(cluster);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, DISK_LOG, sizeof(DISK_LOG)));
	resume = small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	assert_waits(cluster, 1, resume);
	suspend = small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_advance(cluster, 1000000000);
	assert_answered(cluster, 1, resume);
	assert_answered(cluster, 1, suspend);
	cluster_free(cluster);
}

/* Nobody else knows what a table was told when the last daemon of a core log dies between two stores. */
static void test_killed_between_two_stores_of_a_resume(void **state)
{
	(void)state;
	for (unsigned stores = 0;; stores++) {
		struct small_cluster *cluster = cluster_new(1);
		struct small_node *node = &cluster->nodes[1];
		uint32_t seq;
		bool died;

		activate(cluster, 1, 100, CORE_LOG);
		small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
		node->dies = true;
		node->stores_left = stores;
		small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
		died = node->dead;
		small_restart(cluster, 1);
		seq = small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
		assert_answered(cluster, 1, seq);
		assert_int_equal(count_of(cluster, 1, 100), 0);
		recover_all(cluster, 1, 100);
		assert_int_equal(count_of(cluster, 1, 100), REGIONS);
		cluster_free(cluster);
		if (!died)
			break;
		assert_true(stores < 100);
	}
}

/* The RESUME of a table was lost with a daemon, so its kernel reconnects from one that is suspended as far as
 * the next daemon knows: when that one dies between CTR and RESUME the table goes on unmarked all the same
 * (hazard A2). */
static void test_reconnect_of_a_resume_that_was_lost(void **state)
{
	static const char terminated[] = CORE_LOG;
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	recover_all(cluster, 1, 100);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	small_restart(cluster, 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, terminated, sizeof(terminated)));
	small_restart(cluster, 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0));
	assert_int_equal(count_of(cluster, 1, 100), 0);
	cluster_free(cluster);
}

/* One that was never resumed is remembered for its reconnect, and forgotten when its DTR was lost (hazard
 * B3). */
static void test_inactive_table_that_went_unheard(void **state)
{
	static const char terminated[] = CORE_LOG;
	struct small_cluster *cluster = cluster_new(1);
	struct core_status *status;

	(void)state;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, CORE_LOG, strlen(CORE_LOG)));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 100, terminated, sizeof(terminated)));
	small_restart(cluster, 1);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->log_count, 1);
	core_status_free(status);
	small_no_tables(cluster, 1);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->log_count, 0);
	core_status_free(status);
	cluster_free(cluster);
}

static node_id_t writer_of(const struct small_cluster *cluster, node_id_t node)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);
	node_id_t writer = status->log_count ? status->logs[0].writer : NODE_NONE;

	core_status_free(status);
	return writer;
}

static node_id_t recoverer_of(const struct small_cluster *cluster, node_id_t node)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);
	node_id_t recoverer = status->log_count ? status->logs[0].recoverer : NODE_NONE;

	core_status_free(status);
	return recoverer;
}

/* The POSTSUSPEND of the writer was lost, and its table goes under a write of the log device: nobody else
 * writes there before that write has ended (hazards A14, B3). */
static void test_table_goes_under_a_device_write(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	(void)state;
	recover_all(cluster, 1, 100);
	assert_int_equal(writer_of(cluster, 2), 1);
	cluster->nodes[1].slow = true;
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 3);
	assert_waits(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_int_equal(writer_of(cluster, 2), 1);
	small_io_end(cluster, 1);
	assert_int_equal(writer_of(cluster, 2), 2);
	assert_false(device_clean(cluster, 3));
	cluster_free(cluster);
}

/* The last table goes under a write of the log device, which fails: the next table's log has a writer all the
 * same. */
static void test_last_table_takes_the_failed_write_along(void **state)
{
	struct small_cluster *cluster = cluster_new(1);
	uint32_t resume;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	cluster->nodes[1].slow = cluster->nodes[1].device_broken = true;
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 3);
	assert_waits(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	cluster->nodes[1].device_broken = false;
	small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	resume = small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	assert_waits(cluster, 1, resume);
	small_io_end(cluster, 1);
	assert_answered(cluster, 1, resume);
	assert_int_equal(writer_of(cluster, 1), 1);
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 5);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	assert_false(device_clean(cluster, 5));
	cluster_free(cluster);
}

/* The same under a copy: the next recoverer copies, and others write, when it has ended. */
static void test_table_goes_under_a_repair(void **state)
{
	struct small_cluster *cluster = cluster_new(3);
	uint32_t flush;

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, CORE_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 3, ULOG_MARK_REGION, 300, 7);
	assert_answered(cluster, 3, small_request(cluster, 3, ULOG_FLUSH, 300, NULL, 0));
	cluster->nodes[1].slow = true;
	small_leave(cluster, 3, true);
	small_settle(cluster);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 7);
	flush = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	assert_waits(cluster, 2, flush);
	assert_int_equal(recoverer_of(cluster, 2), 1);
	small_io_end(cluster, 1);
	assert_answered(cluster, 2, flush);
	assert_int_equal(recoverer_of(cluster, 2), 2);
	cluster_free(cluster);
}

/* A reload whose POSTSUSPEND was lost, to a table with another log device and perhaps other legs. */
static void test_next_table_has_its_own_devices(void **state)
{
	static const char other_device[] = "65536 clustered-disk 7:2 1024";
	struct small_cluster *cluster = cluster_new(1);
	unsigned closes;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, 3);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	assert_int_equal(cluster->nodes[1].device_minor, 1);
	closes = cluster->nodes[1].legs_closes;
	activate(cluster, 1, 101, other_device);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_true(cluster->nodes[1].legs_closes > closes);
	assert_true(cluster->nodes[1].legs_open);
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 4);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	assert_int_equal(cluster->nodes[1].device_minor, 2);
	assert_false(device_clean(cluster, 3));
	assert_false(device_clean(cluster, 4));
	cluster_free(cluster);
}

/* A mark that could not be cleared lies behind the end of a mirror that shrank: the daemon that starts again
 * speaks of the regions there are. */
static void test_restart_after_a_mirror_shrank(void **state)
{
	static const char half[] = "32768 clustered-core 1024";
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	recover_all(cluster, 1, 100);
	small_region(cluster, 1, ULOG_MARK_REGION, 100, REGIONS - 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 100, NULL, 0));
	cluster->nodes[1].legs_broken = true;
	small_region(cluster, 1, ULOG_CLEAR_REGION, 100, REGIONS - 1);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	activate(cluster, 1, 101, half);
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 3);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	small_restart(cluster, 1);
	small_region(cluster, 1, ULOG_MARK_REGION, 101, 4);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, 101, NULL, 0));
	assert_int_equal(count_of(cluster, 1, 101), REGIONS / 2);
	cluster_free(cluster);
}

/* A killed daemon has a write of the log device in flight, or a copy. Its successor speaks at once of the
 * first, and nobody writes before its end; of all only behind the second (hazard A14). */
static void test_killed_daemon_that_cannot_end(void **state)
{
	(void)state;
	for (unsigned copying = 0; copying < 2; copying++) {
		struct small_cluster *cluster = cluster_new(2);
		struct core_status *status;

		activate(cluster, 1, 100, DISK_LOG);
		activate(cluster, 2, 200, DISK_LOG);
		recover_all(cluster, 1, 100);
		cluster->ring_stays = true;
		small_replace(cluster, 1, !copying, copying);
		status = core_status_new(cluster->nodes[2].core);
		assert_string_equal(status->nodes[0].state, copying ? "joining" : "ready");
		assert_int_equal(status->logs[0].writer, NODE_NONE);
		core_status_free(status);
		small_io_end(cluster, 1);
		status = core_status_new(cluster->nodes[2].core);
		assert_string_equal(status->nodes[0].state, "ready");
		assert_int_not_equal(status->logs[0].writer, NODE_NONE);
		core_status_free(status);
		small_region(cluster, 2, ULOG_MARK_REGION, 200, 4);
		assert_answered(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
		cluster_free(cluster);
	}
}

/* The same when the table has gone, and the write ends while the speech that tells of it is under way: the
 * others hear of the end (hazard A14). */
static void test_write_ends_behind_the_speech(void **state)
{
	(void)state;
	for (unsigned delivered = 0; delivered < 8; delivered++) {
		struct small_cluster *cluster = cluster_new(2);

		activate(cluster, 1, 100, DISK_LOG);
		activate(cluster, 2, 200, DISK_LOG);
		recover_all(cluster, 1, 100);
		cluster->ring_stays = cluster->hold = true;
		small_replace(cluster, 1, true, false);
		small_no_tables(cluster, 1);
		small_deliver(cluster, delivered);
		small_io_end(cluster, 1);
		cluster->hold = false;
		small_settle(cluster);
		assert_int_equal(writer_of(cluster, 2), 2);
		cluster_free(cluster);
	}
}

/* The next table goes too, unanswered, before that write has ended. */
static void test_two_tables_go_under_a_device_write(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	(void)state;
	recover_all(cluster, 1, 100);
	cluster->nodes[1].slow = true;
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 3);
	assert_waits(cluster, 2, small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, DISK_LOG, sizeof(DISK_LOG) - 1));
	small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 101, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
	assert_int_equal(writer_of(cluster, 2), 1);
	small_io_end(cluster, 1);
	assert_int_equal(writer_of(cluster, 2), 2);
	cluster_free(cluster);
}

/* A daemon that ends while it speaks, with a write in flight, keeps nothing: the sanitized run of this test
 * sees what leaks. */
static void test_end_in_the_middle_of_the_speech(void **state)
{
	(void)state;
	for (unsigned delivered = 0; delivered < 8; delivered++) {
		struct small_cluster *cluster = cluster_new(2);

		activate(cluster, 1, 100, DISK_LOG);
		activate(cluster, 2, 200, DISK_LOG);
		cluster->ring_stays = cluster->hold = true;
		small_replace(cluster, 1, true, false);
		small_deliver(cluster, delivered);
		cluster_free(cluster);
	}
}

/* A table of another size is loaded, and waits to be resumed, when the only daemon starts again: what it
 * speaks of is the size that was in use, so that what the mirror grows by is out of sync. */
static void test_restart_before_a_mirror_grows(void **state)
{
	static const char half[] = "32768 clustered-core 1024", terminated[] = CORE_LOG;
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, half);
	recover_all(cluster, 1, 100);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, CORE_LOG, strlen(CORE_LOG)));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, terminated, sizeof(terminated)));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	small_restart(cluster, 1);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	assert_int_equal(count_of(cluster, 1, 101), REGIONS / 2);
	cluster_free(cluster);
}

static uint64_t digest_of(const struct small_cluster *cluster, node_id_t node)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);
	uint64_t digest = status->digest;

	assert_true(status->ready);
	core_status_free(status);
	return digest;
}

/* A copy ends beside the speech of its node, and to the others the region is a ghost: no SYNCED will tell of
 * it, and it does not count as in sync (seed 30452999, 8,000 steps). */
static void test_copy_ends_beside_the_speech(void **state)
{
	static const char terminated[] = CORE_LOG;
	struct small_cluster *cluster = pair_new(CORE_LOG);

	(void)state;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0));
	cluster->nodes[1].slow = true;
	assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, 5), 1);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	small_lost(cluster, 1);
	small_settle(cluster);
	cluster->memory_lost = true;
	small_leave(cluster, 2, false);
	small_join(cluster, 2, 20);
	small_settle(cluster);
	small_back(cluster, 1);
	small_settle(cluster);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_CTR, 200, terminated, sizeof(terminated)));
	small_request(cluster, 2, ULOG_RESUME, 200, NULL, 0);
	small_io_end(cluster, 1);
	small_settle(cluster);
	assert_int_equal(count_of(cluster, 2, 200), 0);
	assert_int_equal(count_of(cluster, 1, 100), 0);
	cluster_free(cluster);
}

/* Between the checkpoint's making and its arrival the view becomes active, and inactive again: the joiner
 * counts that epoch too. */
static void test_quorum_flips_while_a_checkpoint_is_under_way(void **state)
{
	struct small_cluster *cluster = cluster_new(2);

	(void)state;
	small_quorum(cluster, false);
	cluster->hold = cluster->inquorate = true;
	small_join(cluster, 3, 30);
	small_deliver(cluster, 2); /* HELLO of 1 and 2: no quorum */
	for (node_id_t node = 1; node <= 3; node++)
		small_quorum_of(cluster, node, true);
	small_deliver(cluster, 1); /* HELLO of 3: the view settles, the checkpoint is made */
	small_quorum_of(cluster, 1, false);
	cluster->hold = false;
	small_settle(cluster);
	for (node_id_t node = 2; node <= 3; node++)
		assert_true(digest_of(cluster, node) == digest_of(cluster, 1));
	cluster_free(cluster);
}

static uint64_t failed_count_of(const struct small_cluster *cluster, node_id_t node)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);
	uint64_t count = status->log_count ? status->logs[0].failed_regions : 0;

	core_status_free(status);
	return count;
}

/* What is in sync now takes more than one frame: the failure behind it is told before it is answered. */
static void test_failure_behind_many_sync_bits(void **state)
{
	enum { COUNT = FRAME_BUDGET_BYTES / 2 };
	struct small_cluster *cluster = cluster_new(2);
	uint32_t failure;

	(void)state;
	for (node_id_t node = 1; node <= 2; node++)
		activate(cluster, node, node * 100, "67108864 clustered-core 1024");
	cluster->hold = true;
	for (uint64_t region = 2; region < 2 + COUNT; region += 2) {
		assert_int_equal(ask(cluster, 1, ULOG_IS_REMOTE_RECOVERING, 100, region), 1);
		small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
		assert_answered(cluster, 1, small_region(cluster, 1, ULOG_SET_REGION_SYNC, 100, region));
	}
	small_advance(cluster, 200000000); /* the legs are flushed */
	failure = small_request(cluster, 1, ULOG_SET_REGION_SYNC, 100, (uint64_t[]){0, 0}, 16);
	while (!small_reply(cluster, 1, failure)) {
		assert_int_not_equal(cluster->queue_head, cluster->queue_tail);
		small_deliver(cluster, 1);
	}
	assert_answered(cluster, 1, failure);
	assert_int_equal(failed_count_of(cluster, 2), 1);
	cluster_free(cluster);
}

/* Suspended and resumed without quorum: when it is back, the role is one that the SUSPENDED under way gives
 * to another, and nothing may be in flight then. */
static void test_role_is_given_away_before_the_resume(void **state)
{
	static const char next[] = "65536 clustered-disk 7:2 1024";
	struct small_cluster *cluster = cluster_new(2);
	uint32_t resume;

	(void)state;
	for (node_id_t node = 1; node <= 2; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	assert_int_equal(cluster->nodes[1].device_minor, 1);
	small_quorum(cluster, false);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_CTR, 101, next, (uint32_t)strlen(next)));
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	resume = small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	assert_waits(cluster, 1, resume);
	cluster->hold = true;
	small_quorum(cluster, true);
	small_deliver(cluster, 2); /* both HELLOs */
	assert_int_equal(cluster->nodes[1].device_minor, 1);
	cluster->hold = false;
	small_settle(cluster);
	assert_answered(cluster, 1, resume);
	assert_int_equal(cluster->nodes[1].device_minor, 1); /* 2 is the writer */
	cluster_free(cluster);
}

/* Bits that do not compress well, and one of them. */
static void device_fill(struct small_cluster *cluster, uint64_t regions, region_t region, bool dirty)
{
	struct region_set set = {0};
	uint32_t noise = 1;

	for (uint64_t at = 0; at < regions; at++) {
		noise = noise * 1664525 + 1013904223;
		if (noise >> 31)
			region_set_add(&set, (region_t)at);
	}
	region_set_remove(&set, region);
	if (dirty)
		region_set_add(&set, region);
	log_device_encode(0, SMALL_DEVICE_BYTES, regions, &set, cluster->device);
	region_set_fini(&set);
}

/* The role goes and comes back while what the device held is told in pieces: what it holds now counts. */
static void test_device_is_told_anew_when_the_role_comes_back(void **state)
{
	enum { COUNT = 1400000 };
	static const char large[] = "1433600000 clustered-disk 7:1 1024";
	struct small_cluster *cluster = cluster_new(3);
	uint32_t size = sizeof(large) - 1, resume;

	(void)state;
	device_fill(cluster, COUNT, 7, false);
	small_request(cluster, 1, ULOG_CTR, 100, large, size);
	small_request(cluster, 1, ULOG_CTR, 101, large, size);
	small_request(cluster, 2, ULOG_CTR, 200, large, size);
	cluster->hold = true;
	small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	small_deliver(cluster, 1); /* node 1 reads the device, the first piece is under way */
	small_request(cluster, 2, ULOG_RESUME, 200, NULL, 0);
	small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
	resume = small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0);
	device_fill(cluster, COUNT, 7, true);
	small_deliver(cluster, 2); /* the piece, and RESUME of node 2 */
	small_request(cluster, 2, ULOG_DTR, 200, NULL, 0);
	small_deliver(cluster, 2); /* DESTROYED and RESUME of node 1, DESTROYED of node 2 */
	assert_waits(cluster, 1, resume);
	cluster->hold = false;
	small_settle(cluster);
	assert_answered(cluster, 1, resume);
	assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 101, 7), 0);
	cluster_free(cluster);
}

/* A death that was told in a part of the cluster that is forgotten is told again, also under the same epoch.
 */
static void test_death_is_told_again_in_another_part(void **state)
{
	struct small_cluster *cluster = cluster_new(3);

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	cluster->ring_stays = true;
	small_leave(cluster, 3, false);
	small_settle(cluster);
	small_leave(cluster, 2, true); /* cut off: it hears nothing */
	small_settle(cluster);
	cluster->nodes[3].in_ring = false;
	small_quorum(cluster, true);
	assert_int_equal(member_count_of(cluster, 1), 1);
	small_lost(cluster, 1);
	cluster->inquorate = cluster->nodes[3].in_ring = true;
	small_apart(cluster, 2, 1);
	small_settle(cluster);
	cluster->inquorate = false;
	small_back(cluster, 1);
	small_settle(cluster);
	assert_int_equal(member_count_of(cluster, 2), 3);
	cluster->nodes[3].in_ring = false;
	small_quorum(cluster, true);
	assert_int_equal(member_count_of(cluster, 2), 2);
	cluster_free(cluster);
}

/* Node 1 is cut off, with a state that has seen more epochs than those know of who begin anew without it.
 * What it hands on where nobody commits is not the truth, whatever becomes of it: they have been told that
 * nobody is left who knows better, and node 3 copies (seed 53056456). */
static void test_state_from_where_nothing_is_active_does_not_count(void **state)
{
	static const char synced[] = CORE_LOG " nosync";
	struct small_cluster *cluster = cluster_new(1);
	uint32_t flush;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		small_quorum(cluster, i % 2);
	small_leave(cluster, 1, true);
	for (node_id_t node = 3; node <= 4; node++) {
		small_join(cluster, node, node * 10);
		small_settle(cluster);
	}
	for (node_id_t node = 3; node <= 4; node++)
		activate(cluster, node, node * 100, synced);
	assert_answered(cluster, 4, small_region(cluster, 4, ULOG_MARK_REGION, 400, 5));
	assert_answered(cluster, 4, small_request(cluster, 4, ULOG_FLUSH, 400, NULL, 0));
	cluster->nodes[3].slow = true;
	small_leave(cluster, 4, true);
	small_settle(cluster);
	small_advance(cluster, 1000000000);
	assert_int_equal(cluster->nodes[3].repairs, 1);

	cluster->nodes[3].in_view = false; /* node 1 does not see it */
	cluster->inquorate = true;
	small_apart(cluster, 1, 3);
	small_settle(cluster);
	small_join(cluster, 2, 20);
	small_settle(cluster);
	small_join(cluster, 5, 50);
	small_settle(cluster);
	small_leave(cluster, 1, true);
	small_settle(cluster);
	cluster->inquorate = false;
	small_back(cluster, 3);
	small_settle(cluster);
	activate(cluster, 2, 200, synced);
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 5);
	flush = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	assert_waits(cluster, 2, flush);
	small_io_end(cluster, 3);
	assert_answered(cluster, 2, flush);
	cluster_free(cluster);
}

/* All daemons begin anew: what they put together counts for more than what one knows that was cut off before.
 */
static void test_founders_remember_the_epoch(void **state)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);
	struct core_status *status;
	uint64_t before;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		small_quorum(cluster, i % 2);
	status = core_status_new(cluster->nodes[1].core);
	before = status->epoch;
	core_status_free(status);
	small_leave(cluster, 1, false);
	small_restart(cluster, 2);
	small_settle(cluster);
	status = core_status_new(cluster->nodes[2].core);
	assert_true(status->epoch > before);
	core_status_free(status);
	cluster_free(cluster);
}

/* A table without memory may have written while a region was copied: it is a ghost then, also for a daemon
 * that is killed while it keeps that. */
static void test_killed_where_a_mistrusted_region_is_in_sync(void **state)
{
	static const char terminated[] = CORE_LOG;

	(void)state;
	for (unsigned stores = 0; stores < 4; stores++) {
		struct small_cluster *cluster = cluster_new(3);
		const struct small_run *run = &cluster->nodes[2].run;

		for (node_id_t node = 1; node <= 3; node++)
			activate(cluster, node, node * 100, CORE_LOG);
		small_leave(cluster, 3, false);
		small_settle(cluster);
		cluster->memory_lost = true;
		small_join(cluster, 3, 30);
		small_settle(cluster);
		small_request(cluster, 3, ULOG_CTR, 300, terminated, sizeof(terminated));
		assert_answered(cluster, 3, small_request(cluster, 3, ULOG_RESUME, 300, NULL, 0));
		small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
		assert_true(region_set_contains(&run->bits[RUN_UNSYNCED], 0));
		cluster->nodes[2].dies = true;
		cluster->nodes[2].stores_left = stores;
		assert_answered(cluster, 1, small_region(cluster, 1, ULOG_SET_REGION_SYNC, 100, 0));
		small_advance(cluster, 1000000000);
		assert_true(region_set_contains(&run->bits[RUN_UNSYNCED], 0) ||
			    region_set_contains(&run->bits[RUN_GHOST], 0));
		cluster_free(cluster);
	}
}

/* A leg fails under a table without memory, which takes all for in sync, when the recoverer's kernel has
 * copied the region and the others have not heard it: all are told alike from then on, also a younger table
 * (seed 6372650). */
static void test_failure_beside_a_copy(void **state)
{
	static const char terminated[] = CORE_LOG;
	const uint64_t failure[2] = {0, 0};
	struct small_cluster *cluster = cluster_new(3);

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, CORE_LOG);
	small_leave(cluster, 3, false);
	small_settle(cluster);
	cluster->memory_lost = true;
	small_join(cluster, 3, 30);
	small_settle(cluster);
	small_request(cluster, 3, ULOG_CTR, 300, terminated, sizeof(terminated));
	assert_answered(cluster, 3, small_request(cluster, 3, ULOG_RESUME, 300, NULL, 0));
	small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
	assert_answered(cluster, 1, small_region(cluster, 1, ULOG_SET_REGION_SYNC, 100, 0));
	assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 100, 0), 1);
	assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 200, 0), 0);
	small_request(cluster, 3, ULOG_SET_REGION_SYNC, 300, failure, sizeof(failure));
	small_advance(cluster, 1000000000);
	assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 200, 0), 1);
	small_request(cluster, 2, ULOG_PRESUSPEND, 200, NULL, 0);
	assert_answered(cluster, 2, small_request(cluster, 2, ULOG_POSTSUSPEND, 200, NULL, 0));
	activate(cluster, 2, 201, CORE_LOG);
	assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 100, 0), 1);
	assert_int_equal(ask(cluster, 2, ULOG_IN_SYNC, 201, 0), 1);
	cluster_free(cluster);
}

static uint32_t ask_remote(struct small_cluster *cluster, const char *uuid, luid_t luid)
{
	cluster->uuid = uuid;
	return small_region(cluster, 1, ULOG_IS_REMOTE_RECOVERING, luid, 3);
}

/* The kernel asks IS_REMOTE_RECOVERING once in 250 ms, whichever mirror comes first: so the answer to one
 * waits until another, which has not come to ask for long, has (seed 6191117). */
static void test_turns_to_ask_what_recovers(void **state)
{
	static const char other[] = "LVM-other";
	struct small_cluster *cluster = cluster_new(1);
	uint32_t held;

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	cluster->uuid = other;
	activate(cluster, 1, 200, CORE_LOG);
	assert_answered(cluster, 1, ask_remote(cluster, NULL, 100));
	small_advance(cluster, 1100000000);
	held = ask_remote(cluster, NULL, 100);
	small_advance(cluster, 400000000);
	assert_waits(cluster, 1, held);
	assert_answered(cluster, 1, ask_remote(cluster, other, 200));
	assert_answered(cluster, 1, held);
	assert_int_equal(small_reply_u64(cluster, 1, held, 0), 1);
	assert_answered(cluster, 1, ask_remote(cluster, NULL, 100));
	/* One that suspends still does. */
	cluster->uuid = other;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_PRESUSPEND, 200, NULL, 0));
	small_advance(cluster, 1100000000);
	held = ask_remote(cluster, NULL, 100);
	assert_waits(cluster, 1, held);
	/* It has nothing to ask: it is left alone for a while. */
	small_advance(cluster, 500000000);
	assert_answered(cluster, 1, held);
	small_advance(cluster, 2000000000);
	assert_answered(cluster, 1, ask_remote(cluster, NULL, 100));
	small_advance(cluster, 8000000000);
	assert_waits(cluster, 1, ask_remote(cluster, NULL, 100));
	/* Suspended, it asks no more. */
	cluster->uuid = other;
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 200, NULL, 0));
	small_advance(cluster, 11000000000);
	assert_answered(cluster, 1, ask_remote(cluster, NULL, 100));
	cluster_free(cluster);
}

/* So does a mirror in sync whose kernel has not been told so yet: its first write asks. */
static void test_turn_of_a_mirror_in_sync(void **state)
{
	static const char other[] = "LVM-other";
	struct small_cluster *cluster = cluster_new(1);
	uint32_t held;

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	cluster->uuid = other;
	activate(cluster, 1, 200, CORE_LOG " nosync");
	small_advance(cluster, 1100000000);
	held = ask_remote(cluster, NULL, 100);
	assert_waits(cluster, 1, held);
	assert_answered(cluster, 1, ask_remote(cluster, other, 200));
	assert_answered(cluster, 1, held);
	/* It was told that all is in sync, and asks no more. */
	small_advance(cluster, 11000000000);
	assert_answered(cluster, 1, ask_remote(cluster, NULL, 100));
	cluster_free(cluster);
}

/* Whoever speaks of a log that nobody else knows says of what its kernel has copied, and it has not told the
 * cluster, that it is a ghost: the copy may be in a cache, and lost there. */
static void test_copied_and_not_told_is_spoken_of(void **state)
{
	(void)state;
	for (unsigned killed = 0; killed < 2; killed++) {
		struct small_cluster *cluster = cluster_new(1);

		activate(cluster, 1, 100, CORE_LOG);
		small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
		assert_answered(cluster, 1, small_region(cluster, 1, ULOG_SET_REGION_SYNC, 100, 0));
		assert_int_equal(count_of(cluster, 1, 100), 1);
		if (killed) {
			small_restart(cluster, 1);
		} else {
			cluster->nodes[1].legs_broken = true;
			small_lost(cluster, 1);
			small_back(cluster, 1);
			small_settle(cluster);
			assert_int_equal(ask(cluster, 1, ULOG_IS_CLEAN, 100, 0), 0);
			assert_int_equal(count_of(cluster, 1, 100), 0);
			cluster->nodes[1].legs_broken = false;
		}
		small_advance(cluster, 10000000000);
		assert_int_not_equal(cluster->nodes[1].repairs, 0);
		assert_int_equal(ask(cluster, 1, ULOG_IN_SYNC, 100, 0), 1);
		assert_int_equal(ask(cluster, 1, ULOG_IS_CLEAN, 100, 0), 1);
		assert_int_equal(count_of(cluster, 1, 100), 1);
		cluster_free(cluster);
	}
}

/* The copy was lost by a flush that failed, on a leg of which all know that it is in trouble: it becomes a
 * ghost when it is told, whatever is flushed later. */
static void test_doubt_of_a_copy(void **state)
{
	struct small_cluster *cluster = cluster_new(1);

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	cluster->nodes[1].legs_broken = true;
	for (region_t region = 0; region < 2; region++) {
		unsigned flushes = cluster->nodes[1].legs_flushes;

		small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
		assert_answered(cluster, 1, small_region(cluster, 1, ULOG_SET_REGION_SYNC, 100, region));
		while (cluster->nodes[1].legs_flushes == flushes)
			small_advance(cluster, 100000000);
	}
	cluster->nodes[1].legs_broken = false;
	small_advance(cluster, 10000000000);
	for (region_t region = 0; region < 2; region++)
		assert_int_equal(ask(cluster, 1, ULOG_IS_CLEAN, 100, region), 0);
	cluster_free(cluster);
}

/* A daemon may be killed between any two stores: what was out of sync is that still, or a ghost. */
static void test_killed_where_a_region_was_copied(void **state)
{
	(void)state;
	for (unsigned stores = 0; stores < 4; stores++) {
		struct small_cluster *cluster = cluster_new(1);
		const struct small_run *run = &cluster->nodes[1].run;

		activate(cluster, 1, 100, CORE_LOG);
		small_request(cluster, 1, ULOG_GET_RESYNC_WORK, 100, NULL, 0);
		cluster->nodes[1].dies = true;
		cluster->nodes[1].stores_left = stores;
		small_region(cluster, 1, ULOG_SET_REGION_SYNC, 100, 0);
		assert_true(region_set_contains(&run->bits[RUN_UNSYNCED], 0) ||
			    region_set_contains(&run->bits[RUN_GHOST], 0));
		cluster_free(cluster);
	}
}

/* A table is loaded, the daemon is upgraded, the table is resumed: it has been heard of. */
static void test_restart_between_load_and_resume(void **state)
{
	struct small_cluster *cluster = cluster_new(2);

	(void)state;
	for (node_id_t node = 1; node <= 2; node++)
		activate(cluster, node, node * 100, CORE_LOG);
	recover_all(cluster, 1, 100);
	small_request(cluster, 1, ULOG_CTR, 101, CORE_LOG, sizeof(CORE_LOG) - 1);
	small_restart(cluster, 1);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_RESUME, 101, NULL, 0));
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	assert_int_equal(count_of(cluster, 1, 101), REGIONS);
	/* Its luid is another table's: what was heard of it counts no more. */
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 101, NULL, 0));
	small_request(cluster, 1, ULOG_CTR, 102, CORE_LOG, sizeof(CORE_LOG) - 1);
	small_restart(cluster, 1);
	activate(cluster, 1, 102, CORE_LOG);
	assert_int_equal(count_of(cluster, 1, 102), REGIONS);
	cluster_free(cluster);
}

static bool work_given(struct small_cluster *cluster, node_id_t node, luid_t luid)
{
	return small_reply_u64(cluster, node,
			       small_request(cluster, node, ULOG_GET_RESYNC_WORK, luid, NULL, 0), 0);
}

/* It was cut off, and comes back with a daemon of another version: what it has, which may be a table with
 * work in hand that its part alone has heard of, it cannot say. */
static void test_refused_node_was_cut_off(void **state)
{
	(void)state;
	for (unsigned end = 0; end < 3; end++) {
		struct small_cluster *cluster = cluster_unfenced_new(3);

		cluster->ring_stays = true;
		small_leave(cluster, 3, true);
		small_settle(cluster);
		activate(cluster, 1, 100, CORE_LOG);
		assert_false(work_given(cluster, 1, 100));
		small_join_version(cluster, 3, 30, 2);
		activate(cluster, 2, 200, CORE_LOG);
		assert_false(work_given(cluster, 1, 100));
		if (end == 0) {
			small_control(cluster, 1, CONTROL_CONFIRM_DEAD, 3, NULL);
		} else if (end == 1) {
			small_leave(cluster, 3, true);
			small_settle(cluster);
			assert_false(work_given(cluster, 1, 100));
			small_control(cluster, 1, CONTROL_CONFIRM_DEAD, 3, NULL);
		} else {
			small_leave(cluster, 3, false);
			small_settle(cluster);
			assert_false(work_given(cluster, 1, 100));
			small_join(cluster, 3, 30);
			small_settle(cluster);
		}
		assert_true(work_given(cluster, 1, 100));
		cluster_free(cluster);
	}
}

/* It is another boot that is refused: the former one is dead, and its roles are free. */
static void test_refused_node_is_another_boot(void **state)
{
	(void)state;
	for (unsigned down = 0; down < 2; down++) {
		struct small_cluster *cluster = cluster_unfenced_new(3);

		activate(cluster, 3, 300, CORE_LOG);
		activate(cluster, 1, 100, CORE_LOG);
		small_leave(cluster, 3, down);
		small_settle(cluster);
		assert_false(work_given(cluster, 1, 100));
		small_join_version(cluster, 3, 31, 2);
		assert_int_equal(member_count_of(cluster, 1), 1);
		assert_true(work_given(cluster, 1, 100));
		cluster_free(cluster);
	}
}

/* Node 3, which has no table, was cut off, is back, and its daemon goes before it has spoken. Its lock is
 * asked for once more: it may be free, and then nobody waits for the daemon. */
static void test_unspoken_node_holds_nothing(void **state)
{
	struct small_cluster *cluster = cluster_new(0);
	uint32_t flush;

	(void)state;
	cluster->fencing = FENCING_DLM;
	cluster->locks = cluster->ring_stays = true;
	for (node_id_t node = 1; node <= 3; node++) {
		small_join(cluster, node, node * 10);
		small_settle(cluster);
	}
	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	recover_all(cluster, 1, 100);
	small_leave(cluster, 3, true);
	small_settle(cluster);
	assert_int_equal(cluster->nodes[2].watches, 3);
	cluster->hold = true;
	small_join(cluster, 3, 30);
	small_deliver(cluster, 3);
	cluster->nodes[2].watches = NODE_NONE;
	small_leave(cluster, 3, false);
	cluster->hold = false;
	small_settle(cluster);
	assert_int_equal(cluster->nodes[2].watches, 3);
	small_leave(cluster, 1, true);
	small_settle(cluster);
	small_node_dead(cluster, 2, 1, 10);
	small_region(cluster, 2, ULOG_MARK_REGION, 200, 5);
	flush = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
	assert_waits(cluster, 2, flush);
	small_node_dead(cluster, 2, 3, 30);
	assert_answered(cluster, 2, flush);
	cluster_free(cluster);
}

/* Another boot of the node that was undecided is back, and its daemon goes again at once: nobody is waited
 * for any more. The free role is given, and a new member of a core log commits. */
static void test_another_boot_goes_again(void **state)
{
	(void)state;
	for (unsigned disk = 0; disk < 2; disk++) {
		struct small_cluster *cluster = cluster_unfenced_new(3);
		uint32_t flush;

		if (disk) {
			activate(cluster, 1, 100, DISK_LOG);
			activate(cluster, 2, 200, DISK_LOG);
		}
		small_leave(cluster, 3, true);
		small_settle(cluster);
		if (disk) {
			small_leave(cluster, 1, true);
			small_settle(cluster);
			small_control(cluster, 2, CONTROL_CONFIRM_DEAD, 1, NULL);
		} else {
			activate(cluster, 2, 200, CORE_LOG " nosync");
		}
		small_region(cluster, 2, ULOG_MARK_REGION, 200, 5);
		flush = small_request(cluster, 2, ULOG_FLUSH, 200, NULL, 0);
		assert_waits(cluster, 2, flush);
		cluster->hold = true;
		small_join(cluster, 3, 31);
		small_deliver(cluster, disk ? 2 : 3);
		small_leave(cluster, 3, false);
		cluster->hold = false;
		small_settle(cluster);
		assert_answered(cluster, 2, flush);
		cluster_free(cluster);
	}
}

/* Node 1, which marked region 5, is without memory of its tables, and not ready; at the time returned
 * device-mapper is asked for them. */
static struct small_cluster *joiner_without_memory(luid_t luid, uint64_t *ret_asked_ns)
{
	struct small_cluster *cluster = pair_new(DISK_LOG);

	cluster->ring_stays = true;
	cluster->fencing = FENCING_NONE;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	if (luid != 100)
		reload(cluster, 1, 100, luid);
	small_advance(cluster, 1000000000);
	small_region(cluster, 1, ULOG_MARK_REGION, luid, 5);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_FLUSH, luid, NULL, 0));
	small_leave(cluster, 1, false);
	cluster->memory_lost = cluster->hold = true;
	small_join(cluster, 1, 10);
	*ret_asked_ns = cluster->now_ns;
	small_advance(cluster, 1000000);
	return cluster;
}

/* The DTR of a table of which this daemon knows nothing comes before the list of device-mapper that still has
 * it: it has ended. */
static void test_list_older_than_the_end(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};

	(void)state;
	for (unsigned ready = 0; ready < 2; ready++) {
		uint64_t asked_ns;
		struct small_cluster *cluster = joiner_without_memory(100, &asked_ns);

		assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
		if (!ready)
			small_tables_of(cluster, 1, &table, 1, asked_ns);
		cluster->hold = false;
		small_settle(cluster);
		if (ready)
			small_tables_of(cluster, 1, &table, 1, asked_ns);
		small_advance(cluster, 60000000000);
		assert_int_equal(member_count_of(cluster, 2), 1);
		assert_int_equal(count_of(cluster, 2, 200), REGIONS);
		cluster_free(cluster);
	}
}

/* The same of a table that this daemon remembered, and whose end it has heard: what it knows of no table any
 * more it has not forgotten. Its memory was not lost, and nobody waits for a reload. */
static void test_list_older_than_the_end_of_a_known_table(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};
	struct small_cluster *cluster = pair_new(DISK_LOG);
	uint64_t asked_ns;

	(void)state;
	cluster->ring_stays = true;
	cluster->fencing = FENCING_NONE;
	recover_all(cluster, 1, 100);
	small_advance(cluster, 1000000000);
	cluster->hold = true;
	small_restart(cluster, 1);
	asked_ns = cluster->now_ns;
	small_advance(cluster, 1000000);
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
	small_tables_of(cluster, 1, &table, 1, asked_ns);
	cluster->hold = false;
	small_settle(cluster);
	small_advance(cluster, 60000000000);
	assert_int_equal(member_count_of(cluster, 2), 1);
	assert_int_equal(cluster->nodes[2].repairs, 0);
	assert_int_equal(count_of(cluster, 2, 200), REGIONS);
	cluster_free(cluster);
}

/* Founders wait for node 3, of whose boot they know nothing but what one of them remembers. Another boot is
 * there, with a daemon of another version: the former member is dead. */
static void test_refused_node_was_a_member_before(void **state)
{
	struct small_cluster *cluster = cluster_unfenced_new(3);

	(void)state;
	cluster->ring_stays = true;
	activate(cluster, 3, 300, CORE_LOG);
	activate(cluster, 1, 100, CORE_LOG);
	small_leave(cluster, 3, false);
	small_leave(cluster, 2, false);
	small_restart(cluster, 1);
	small_settle(cluster);
	small_join(cluster, 2, 20);
	small_settle(cluster);
	assert_int_equal(member_count_of(cluster, 1), 2);
	small_join_version(cluster, 3, 31, 2);
	small_control(cluster, 1, CONTROL_CONFIRM_DEAD, 3, NULL);
	assert_int_equal(member_count_of(cluster, 1), 1);
	assert_true(work_given(cluster, 1, 100));
	cluster_free(cluster);
}

/* The kernel asks once more for the DTR of a former table, which this daemon does not know: the one that runs
 * is known to the cluster by another number, and has not ended. */
static void test_end_of_the_former_is_told_again(void **state)
{
	static const struct table table = {.uuid = SMALL_UUID, .live = true};

	(void)state;
	/* One that was listed and runs no more has its own DTR. */
	for (unsigned story = 0; story < 6; story++) {
		bool ready = story & 1, runs = story < 4, listed = story & 2;
		uint64_t asked_ns;
		struct small_cluster *cluster = joiner_without_memory(101, &asked_ns);

		cluster->nodes[1].tables = &table;
		cluster->nodes[1].table_count = runs;
		if (listed)
			small_tables_of(cluster, 1, &table, 1, asked_ns);
		cluster->hold = !ready;
		small_settle(cluster);
		small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
		cluster->hold = false;
		small_settle(cluster);
		if (!listed)
			small_tables_of(cluster, 1, &table, 1, asked_ns);
		small_advance(cluster, 60000000000);
		assert_int_equal(member_count_of(cluster, 2), 1 + runs);
		assert_int_equal(cluster->nodes[2].repairs > 0, !runs);
		cluster_free(cluster);
	}
}

/* Node 1, which has no table, was cut off, and all others began anew meanwhile: its state has seen more
 * epochs, and knows nothing of node 4, which is undecided where that state loses. Nobody copies what node 4
 * has marked. */
static void test_who_began_anew_loses(void **state)
{
	(void)state;
	for (unsigned disk = 0; disk < 2; disk++) {
		const char *arguments = disk ? DISK_LOG : CORE_LOG " nosync";
		struct small_cluster *cluster = cluster_unfenced_new(2);
		struct small_node *nodes = cluster->nodes;

		activate(cluster, 2, 200, arguments);
		recover_all(cluster, 2, 200);
		for (unsigned i = 0; i < 8; i++)
			small_quorum(cluster, i % 2);
		small_leave(cluster, 2, true);
		small_settle(cluster);
		small_quorum_of(cluster, 1, false);
		small_leave(cluster, 1, true);
		for (node_id_t node = 3; node <= 4; node++) {
			small_join(cluster, node, node * 10);
			small_settle(cluster);
		}
		for (node_id_t node = 3; node <= 4; node++)
			activate(cluster, node, node * 100, arguments);
		recover_all(cluster, 3, 300);
		small_region(cluster, 4, ULOG_MARK_REGION, 400, 5);
		assert_answered(cluster, 4, small_request(cluster, 4, ULOG_FLUSH, 400, NULL, 0));
		small_leave(cluster, 4, true);
		small_settle(cluster);
		small_back(cluster, 1);
		small_settle(cluster);
		small_control(cluster, 3, CONTROL_CONFIRM_DEAD, 2, NULL);
		small_advance(cluster, 60000000000);
		assert_int_equal(nodes[3].repairs, 0);
		small_control(cluster, 3, CONTROL_CONFIRM_DEAD, 4, NULL);
		small_advance(cluster, 60000000000);
		assert_true(nodes[3].repairs > 0);
		assert_int_equal(count_of(cluster, 3, 300), REGIONS);
		cluster_free(cluster);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_life_of_a_mirror),
	    cmocka_unit_test(test_dead_node_leaves_ghosts_that_are_repaired),
	    cmocka_unit_test(test_writer_dies),
	    cmocka_unit_test(test_joiner_knows_every_mark),
	    cmocka_unit_test(test_core_log_waits_for_every_member),
	    cmocka_unit_test(test_unknown_log_keeps_the_room),
	    cmocka_unit_test(test_killed_in_a_flush),
	    cmocka_unit_test(test_killed_in_the_flush_of_a_copy),
	    cmocka_unit_test(test_flush_of_a_killed_daemon_goes_on),
	    cmocka_unit_test(test_flush_of_a_killed_daemon_outlives_the_next),
	    cmocka_unit_test(test_no_repair_beside_the_flush_of_a_killed_daemon),
	    cmocka_unit_test(test_doubt_of_a_ghost),
	    cmocka_unit_test(test_reload_whose_flush_fails),
	    cmocka_unit_test(test_removal_whose_flush_fails),
	    cmocka_unit_test(test_suspended_while_its_resume_is_under_way),
	    cmocka_unit_test(test_doubt_is_remembered_by_all),
	    cmocka_unit_test(test_failed_rescue_is_not_repeated),
	    cmocka_unit_test(test_report_of_a_copy_is_lost),
	    cmocka_unit_test(test_two_tables_reconnect),
	    cmocka_unit_test(test_outrun_table_is_told_nothing),
	    cmocka_unit_test(test_former_table_is_taken_for_the_running),
	    cmocka_unit_test(test_running_table_is_not_the_loaded_one),
	    cmocka_unit_test(test_flush_of_a_table_without_memory),
	    cmocka_unit_test(test_broken_log_device),
	    cmocka_unit_test(test_no_error_for_who_ignores_it),
	    cmocka_unit_test(test_no_error_by_what_the_former_table_was),
	    cmocka_unit_test(test_reload_two_tables_of_one_log),
	    cmocka_unit_test(test_other_size_after_a_stop),
	    cmocka_unit_test(test_header_of_lvm),
	    cmocka_unit_test(test_grown_under_suspended_tables),
	    cmocka_unit_test(test_marks_go_with_the_last_table),
	    cmocka_unit_test(test_flush_of_a_suspended_table),
	    cmocka_unit_test(test_held_mark_outlives_the_suspend),
	    cmocka_unit_test(test_all_leave_at_once),
	    cmocka_unit_test(test_failed_copy_waits_for_the_reload),
	    cmocka_unit_test(test_failed_copy_of_a_former_boot),
	    cmocka_unit_test(test_failed_leg_stays_in_sync_for_others),
	    cmocka_unit_test(test_suspend_flushes_what_is_held),
	    cmocka_unit_test(test_copied_is_told_before_the_suspend),
	    cmocka_unit_test(test_last_table_takes_the_marks_along),
	    cmocka_unit_test(test_last_table_takes_the_claim_along),
	    cmocka_unit_test(test_next_recoverer_is_asked_again),
	    cmocka_unit_test(test_adopted_mark_is_not_committed),
	    cmocka_unit_test(test_adopted_mark_that_waits_for_a_copy),
	    cmocka_unit_test(test_one_leg_waits_for_the_log_device),
	    cmocka_unit_test(test_one_leg_waits_for_the_first_write),
	    cmocka_unit_test(test_unknown_table_is_replaced),
	    cmocka_unit_test(test_table_resumed_unheard_is_known),
	    cmocka_unit_test(test_unknown_table_beside_a_loaded_one),
	    cmocka_unit_test(test_unknown_table_is_removed),
	    cmocka_unit_test(test_one_of_two_unknown_tables_is_removed),
	    cmocka_unit_test(test_unknown_table_is_gone),
	    cmocka_unit_test(test_unknown_table_is_removed_unheard),
	    cmocka_unit_test(test_unknown_table_of_a_former_member),
	    cmocka_unit_test(test_unknown_table_of_a_member_ready_before),
	    cmocka_unit_test(test_no_table_of_a_member_ready_before),
	    cmocka_unit_test(test_end_of_a_former_table),
	    cmocka_unit_test(test_former_table_comes_back_and_ends),
	    cmocka_unit_test(test_resume_of_a_reconnect_is_sent_again),
	    cmocka_unit_test(test_loss_of_memory_that_nobody_heard_of),
	    cmocka_unit_test(test_end_of_an_unknown_loaded_table),
	    cmocka_unit_test(test_loaded_table_comes_back_for_an_unknown_one),
	    cmocka_unit_test(test_known_table_went_beside_a_loaded_one),
	    cmocka_unit_test(test_number_of_a_tainted_table_is_used_again),
	    cmocka_unit_test(test_number_of_an_ended_table_is_used_again),
	    cmocka_unit_test(test_reconnected_table_is_replaced_unheard),
	    cmocka_unit_test(test_outrun_table_is_replaced_unheard),
	    cmocka_unit_test(test_cut_table_is_resumed_unheard),
	    cmocka_unit_test(test_memory_is_lost_once),
	    cmocka_unit_test(test_tainted_table_ends_before_ready),
	    cmocka_unit_test(test_former_table_is_replaced_unheard_twice),
	    cmocka_unit_test(test_suspended_table_reconnects_last),
	    cmocka_unit_test(test_new_member_beside_one_without_daemon),
	    cmocka_unit_test(test_new_member_beside_one_that_is_killed),
	    cmocka_unit_test(test_adopted_table_is_suspended_before_its_resume),
	    cmocka_unit_test(test_unlisted_table_suspends),
	    cmocka_unit_test(test_tables_of_before),
	    cmocka_unit_test(test_reconnected_table_beside_a_loaded_one),
	    cmocka_unit_test(test_killed_between_two_stores_of_a_resume),
	    cmocka_unit_test(test_reconnect_of_a_resume_that_was_lost),
	    cmocka_unit_test(test_inactive_table_that_went_unheard),
	    cmocka_unit_test(test_table_goes_under_a_device_write),
	    cmocka_unit_test(test_last_table_takes_the_failed_write_along),
	    cmocka_unit_test(test_table_goes_under_a_repair),
	    cmocka_unit_test(test_next_table_has_its_own_devices),
	    cmocka_unit_test(test_restart_after_a_mirror_shrank),
	    cmocka_unit_test(test_killed_daemon_that_cannot_end),
	    cmocka_unit_test(test_write_ends_behind_the_speech),
	    cmocka_unit_test(test_end_in_the_middle_of_the_speech),
	    cmocka_unit_test(test_two_tables_go_under_a_device_write),
	    cmocka_unit_test(test_restart_before_a_mirror_grows),
	    cmocka_unit_test(test_copy_ends_beside_the_speech),
	    cmocka_unit_test(test_quorum_flips_while_a_checkpoint_is_under_way),
	    cmocka_unit_test(test_failure_behind_many_sync_bits),
	    cmocka_unit_test(test_role_is_given_away_before_the_resume),
	    cmocka_unit_test(test_device_is_told_anew_when_the_role_comes_back),
	    cmocka_unit_test(test_death_is_told_again_in_another_part),
	    cmocka_unit_test(test_state_from_where_nothing_is_active_does_not_count),
	    cmocka_unit_test(test_founders_remember_the_epoch),
	    cmocka_unit_test(test_killed_where_a_mistrusted_region_is_in_sync),
	    cmocka_unit_test(test_failure_beside_a_copy),
	    cmocka_unit_test(test_turns_to_ask_what_recovers),
	    cmocka_unit_test(test_turn_of_a_mirror_in_sync),
	    cmocka_unit_test(test_copied_and_not_told_is_spoken_of),
	    cmocka_unit_test(test_doubt_of_a_copy),
	    cmocka_unit_test(test_killed_where_a_region_was_copied),
	    cmocka_unit_test(test_restart_between_load_and_resume),
	    cmocka_unit_test(test_refused_node_was_cut_off),
	    cmocka_unit_test(test_refused_node_is_another_boot),
	    cmocka_unit_test(test_unspoken_node_holds_nothing),
	    cmocka_unit_test(test_another_boot_goes_again),
	    cmocka_unit_test(test_list_older_than_the_end),
	    cmocka_unit_test(test_list_older_than_the_end_of_a_known_table),
	    cmocka_unit_test(test_refused_node_was_a_member_before),
	    cmocka_unit_test(test_who_began_anew_loses),
	    cmocka_unit_test(test_end_of_the_former_is_told_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
