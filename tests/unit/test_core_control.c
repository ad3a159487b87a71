/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an administrator can tell the core, what status says is waited for, and requests no good kernel sends.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

#include "protocol/log_device.h"
#include "tests/unit/small_cluster.h"

#define DISK_LOG "65536 clustered-disk 7:1 1024 nosync"
#define CORE_LOG "65536 clustered-core 1024 nosync"

static struct small_cluster *cluster_new(unsigned nodes, enum fencing fencing)
{
	struct small_cluster *cluster = malloc(sizeof(*cluster));

	small_init(cluster);
	cluster->fencing = fencing;
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

static uint32_t construct(struct small_cluster *cluster, node_id_t node, luid_t luid, const char *arguments)
{
	return small_request(cluster, node, ULOG_CTR, luid, arguments, (uint32_t)strlen(arguments));
}

static void activate(struct small_cluster *cluster, node_id_t node, luid_t luid, const char *arguments)
{
	assert_answered(cluster, node, construct(cluster, node, luid, arguments));
	assert_answered(cluster, node, small_request(cluster, node, ULOG_RESUME, luid, NULL, 0));
}

/* Writes to a region; false while the kernel would wait. */
static uint32_t write_to(struct small_cluster *cluster, node_id_t node, luid_t luid, uint64_t region)
{
	assert_answered(cluster, node, small_region(cluster, node, ULOG_MARK_REGION, luid, region));
	return small_request(cluster, node, ULOG_FLUSH, luid, NULL, 0);
}

static void assert_log_waits(struct small_cluster *cluster, node_id_t node, const char *text)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);

	assert_non_null(status);
	assert_int_equal(status->log_count, 1);
	assert_string_equal(status->logs[0].waits_for, text);
	core_status_free(status);
}

static void assert_waits(struct small_cluster *cluster, node_id_t node, const char *text)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);

	assert_non_null(status);
	assert_string_equal(status->waits_for, text);
	core_status_free(status);
}

static void assert_member(struct small_cluster *cluster, node_id_t node, node_id_t member, const char *state)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);
	const char *found = "none";

	for (size_t i = 0; i < status->logs[0].member_count; i++)
		if (status->logs[0].members[i].node == member)
			found = status->logs[0].members[i].state;
	assert_string_equal(found, state);
	core_status_free(status);
}

static void test_stop(void **state)
{
	struct small_cluster *cluster = cluster_new(1, FENCING_ASSUME);

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	small_control(cluster, 1, CONTROL_STOP, NODE_NONE, NULL);
	assert_false(cluster->nodes[1].stopped);
	assert_non_null(strstr(cluster->nodes[1].stopped_text, "1 logs are resumed on this node ("));
	assert_non_null(strstr(cluster->nodes[1].stopped_text, SMALL_UUID));
	small_control(cluster, 1, CONTROL_STOP_FORCED, NODE_NONE, NULL);
	assert_true(cluster->nodes[1].stopped);
	cluster->nodes[1].stopped = false;
	small_request(cluster, 1, ULOG_PRESUSPEND, 100, NULL, 0);
	small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0);
	small_request(cluster, 1, ULOG_DTR, 100, NULL, 0);
	small_control(cluster, 1, CONTROL_STOP, NODE_NONE, NULL);
	assert_true(cluster->nodes[1].stopped);
	cluster_free(cluster);
}

/* Without quorum a write waits; an administrator who has to shut down ends it with an error (hazard B5). */
static void test_kept_requests_fail_when_told(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);
	uint32_t flush;

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	activate(cluster, 2, 200, CORE_LOG);
	small_quorum(cluster, false);
	assert_waits(cluster, 1, "no quorum: requests are kept until it returns");
	flush = write_to(cluster, 1, 100, 3);
	assert_null(small_reply(cluster, 1, flush));
	small_control(cluster, 1, CONTROL_FAIL_KEPT, NODE_NONE, "LVM-other");
	assert_null(small_reply(cluster, 1, flush));
	small_control(cluster, 1, CONTROL_FAIL_KEPT, NODE_NONE, NULL);
	assert_int_equal(error_of(cluster, 1, flush), -EIO);
	cluster_free(cluster);
}

/* --fencing=none: nothing of a node that vanished is repaired before somebody says that it is dead (hazard
 * B13). */
static void test_dead_when_confirmed(void **state)
{
	struct small_cluster *cluster = cluster_new(3, FENCING_NONE);

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	assert_answered(cluster, 3, write_to(cluster, 3, 300, 5));
	small_leave(cluster, 3, true);
	small_settle(cluster);
	small_advance(cluster, UINT64_C(60000000000));
	assert_log_waits(cluster, 2, "waits for the fencing of node 3");
	assert_member(cluster, 2, 3, "undecided");
	assert_int_equal(cluster->nodes[1].repairs + cluster->nodes[2].repairs, 0);
	small_control(cluster, 2, CONTROL_CONFIRM_DEAD, 2, NULL); /* it lives: refused */
	assert_member(cluster, 2, 2, "member");
	small_control(cluster, 2, CONTROL_REPAIR_PAUSE, NODE_NONE, NULL);
	small_control(cluster, 1, CONTROL_REPAIR_PAUSE, NODE_NONE, NULL);
	small_control(cluster, 2, CONTROL_CONFIRM_DEAD, 3, NULL);
	small_advance(cluster, UINT64_C(5000000000));
	assert_log_waits(cluster, 1, "repair is paused on this node");
	assert_int_equal(cluster->nodes[1].repairs, 0);
	small_control(cluster, 1, CONTROL_REPAIR_RESUME, NODE_NONE, NULL);
	small_advance(cluster, UINT64_C(5000000000));
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_log_waits(cluster, 1, "");
	cluster_free(cluster);
}

/* A repair that fails is tried again, and the region stays dirty meanwhile. */
static void test_failed_repair_is_tried_again(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);
	struct core_status *status;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	assert_answered(cluster, 2, write_to(cluster, 2, 200, 5));
	cluster->nodes[1].legs_broken = true;
	small_leave(cluster, 2, true);
	small_settle(cluster);
	small_advance(cluster, UINT64_C(5000000000));
	assert_true(cluster->nodes[1].repairs >= 1);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].ghost_regions, 1);
	core_status_free(status);
	cluster->nodes[1].legs_broken = false;
	small_advance(cluster, UINT64_C(120000000000));
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].ghost_regions, 0);
	core_status_free(status);
	cluster_free(cluster);
}

#define REGION_BYTES (UINT64_C(1024) * 512)
#define SECOND_NS    UINT64_C(1000000000)

/* Three regions of a dead node, at a region a second; then the rate is changed. */
static void test_repair_is_throttled(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);
	struct core_status *status;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	for (uint64_t region = 5; region < 12; region++)
		assert_answered(cluster, 2, write_to(cluster, 2, 200, region));
	small_repair_rate(cluster, 1, NULL, REGION_BYTES);
	small_leave(cluster, 2, true);
	small_settle(cluster);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_log_waits(
	    cluster, 1,
	    "regions of a dead node are being repaired, at most 524288 bytes a second by this node");
	small_advance(cluster, SECOND_NS * 9 / 10);
	assert_int_equal(cluster->nodes[1].repairs, 1);
	small_advance(cluster, SECOND_NS * 2 / 10);
	assert_int_equal(cluster->nodes[1].repairs, 2);
	/* Another log's rate changes nothing here. */
	small_repair_rate(cluster, 1, "LVM-other", 0);
	assert_int_equal(cluster->nodes[1].repairs, 2);
	small_repair_rate(cluster, 1, SMALL_UUID, REGION_BYTES * 2);
	small_advance(cluster, SECOND_NS);
	assert_int_equal(cluster->nodes[1].repairs, 4);
	/* As slow as can be said: nothing more. */
	small_repair_rate(cluster, 1, SMALL_UUID, 1);
	small_advance(cluster, SECOND_NS * 1000);
	assert_int_equal(cluster->nodes[1].repairs, 4);
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].repaired_regions, 4);
	assert_int_equal(status->logs[0].repair_rate, 1);
	assert_false(status->logs[0].repair_claimed);
	core_status_free(status);
	/* For all logs: what was said for one is forgotten. */
	small_repair_rate(cluster, 1, NULL, 0);
	small_settle(cluster);
	assert_int_equal(cluster->nodes[1].repairs, 7);
	assert_log_waits(cluster, 1, "");
	cluster_free(cluster);
}

static uint64_t records_waiting(const struct small_cluster *cluster, node_id_t node)
{
	struct core_status *status = core_status_new(cluster->nodes[node].core);
	uint64_t count = status->records_waiting;

	core_status_free(status);
	return count;
}

/* Two nodes whose daemons had ended leave the ring: each is told of once, however long the telling takes. */
static void test_nodes_down_are_told_once(void **state)
{
	struct small_cluster *cluster = cluster_new(4, FENCING_NONE);
	unsigned told = 0;

	(void)state;
	cluster->ring_stays = true;
	for (node_id_t node = 1; node <= 4; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	for (node_id_t node = 3; node <= 4; node++) {
		small_leave(cluster, node, false);
		small_settle(cluster);
	}
	assert_member(cluster, 1, 3, "daemon-gone");
	assert_member(cluster, 1, 4, "daemon-gone");
	cluster->ring_stays = false;
	cluster->hold = true;
	small_quorum(cluster, true);
	for (unsigned i = 0; i < 200; i++) {
		small_region(cluster, 1, ULOG_IN_SYNC, 100, 1);
		told = records_waiting(cluster, 1) > told ? (unsigned)records_waiting(cluster, 1) : told;
	}
	assert_true(told <= 2);
	cluster->hold = false;
	small_settle(cluster);
	assert_member(cluster, 1, 3, "undecided");
	assert_member(cluster, 1, 4, "undecided");
	cluster_free(cluster);
}

static uint32_t flood_request(struct core *core, const char *uuid, luid_t luid, enum ulog_type type,
			      const char *text, struct effects *ret_effects)
{
	static uint32_t seq = 100000;
	struct event event = {.type = EVENT_KERNEL,
			      .now_ns = SECOND_NS * 100,
			      .kernel = {.seq = seq++,
					 .type = type,
					 .version = 3,
					 .luid = luid,
					 .data = (const uint8_t *)text,
					 .data_bytes = text ? (uint32_t)strlen(text) : 0}};

	strcpy(event.kernel.uuid, uuid);
	core_step(core, &event, ret_effects);
	return seq - 1;
}

static bool answered_now(const struct effects *effects, uint32_t seq)
{
	for (size_t i = 0; i < effects->count; i++)
		if (effects->items[i].type == EFFECT_REPLY && effects->items[i].reply.seq == seq)
			return true;
	return false;
}

/* Requests of one log that cannot be answered are bounded, and those of another are answered in their own
 * step. */
static void test_flood_of_one_log(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);
	struct core *core = cluster->nodes[1].core;
	struct core_status *status;
	struct effects effects;
	unsigned lines = 0;

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	activate(cluster, 2, 200, CORE_LOG);
	small_quorum(cluster, false);
	write_to(cluster, 1, 100, 3);
	for (unsigned i = 0; i < 10000; i++) {
		uint32_t seq = flood_request(core, SMALL_UUID, 100, ULOG_FLUSH, NULL, &effects);

		assert_false(answered_now(&effects, seq));
		for (size_t k = 0; k < effects.count; k++)
			lines += effects.items[k].type == EFFECT_LOG;
	}
	assert_int_equal(lines, 1);
	assert_true(
	    answered_now(&effects, flood_request(core, "LVM-other", 500, ULOG_CTR, CORE_LOG, &effects)));
	assert_true(
	    answered_now(&effects, flood_request(core, "LVM-other", 500, ULOG_STATUS_INFO, NULL, &effects)));
	status = core_status_new(core);
	assert_int_equal(status->logs[0].waiting_requests, 256);
	assert_int_equal(status->waiting_dropped, 10001 - 256);
	core_status_free(status);
	cluster_free(cluster);
}

/* A node that has much to say has one frame under way, like everybody else: who says little stands right
 * behind it. */
static void test_flood_of_one_node(void **state)
{
	struct small_cluster *cluster = cluster_new(3, FENCING_ASSUME);
	uint32_t flush;

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, CORE_LOG);
	cluster->hold = true;
	for (unsigned i = 0; i < 2000; i++)
		write_to(cluster, 2, 200, i % 60);
	flush = write_to(cluster, 1, 100, 61);
	assert_int_equal(cluster->queue_tail - cluster->queue_head, 2);
	cluster->hold = false;
	small_settle(cluster);
	assert_answered(cluster, 1, flush);
	cluster_free(cluster);
}

/* What waits to be sent is bounded too. */
static void test_records_are_bounded(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_NONE);
	struct core_status *status;

	(void)state;
	small_leave(cluster, 2, true);
	small_settle(cluster);
	cluster->hold = true;
	for (unsigned i = 0; i < 70000; i++)
		small_control(cluster, 1, CONTROL_CONFIRM_DEAD, 2, NULL);
	status = core_status_new(cluster->nodes[1].core);
	assert_true(status->records_waiting <= 65536);
	assert_true(status->records_dropped >= 70000 - 65536 - 1);
	core_status_free(status);
	cluster_free(cluster);
}

/* Legs that cannot be flushed keep their marks (hazard B7). What a cache has lost a later flush does not
 * bring back: the region is a ghost, and copied when its table is younger than the failure. */
static void test_marks_stay_when_the_legs_cannot_be_flushed(void **state)
{
	struct small_cluster *cluster = cluster_new(1, FENCING_ASSUME);
	struct core_status *status;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	cluster->nodes[1].legs_broken = true;
	assert_answered(cluster, 1, write_to(cluster, 1, 100, 7));
	assert_answered(cluster, 1, small_region(cluster, 1, ULOG_CLEAR_REGION, 100, 7));
	small_advance(cluster, UINT64_C(60000000000));
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].lingering_regions, 1);
	assert_int_equal(status->logs[0].members[0].marks, 1);
	core_status_free(status);
	cluster->nodes[1].legs_broken = false;
	small_advance(cluster, UINT64_C(120000000000));
	status = core_status_new(cluster->nodes[1].core);
	assert_int_equal(status->logs[0].lingering_regions, 0);
	assert_int_equal(status->logs[0].members[0].marks, 0);
	core_status_free(status);
	assert_false(log_device_is_clean(cluster->device, 7));
	assert_int_equal(cluster->nodes[1].repairs, 0);
	assert_log_waits(
	    cluster, 1,
	    "a leg failed or could not be flushed: repair waits until the table was reloaded everywhere");
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_POSTSUSPEND, 100, NULL, 0));
	activate(cluster, 1, 101, DISK_LOG);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 100, NULL, 0));
	small_advance(cluster, UINT64_C(10000000000));
	assert_int_equal(cluster->nodes[1].repairs, 1);
	assert_true(log_device_is_clean(cluster->device, 7));
	cluster_free(cluster);
}

static void test_requests_that_are_wrong(void **state)
{
	struct small_cluster *cluster = cluster_new(1, FENCING_ASSUME);
	const struct small_reply *reply;
	uint32_t seq;

	(void)state;
	assert_int_equal(error_of(cluster, 1, construct(cluster, 1, 100, "no constructor")), -EINVAL);
	activate(cluster, 1, 100, DISK_LOG);
	assert_int_equal(error_of(cluster, 1, small_region(cluster, 1, ULOG_IN_SYNC, 100, 64)), -EINVAL);
	assert_int_equal(error_of(cluster, 1, small_region(cluster, 1, ULOG_MARK_REGION, 100, UINT64_MAX)),
			 -EINVAL);
	assert_answered(cluster, 1, small_request(cluster, 1, ULOG_DTR, 999, NULL, 0)); /* not known: gone */
	for (luid_t luid = 101; luid < 116; luid++)
		assert_answered(cluster, 1, construct(cluster, 1, luid, DISK_LOG));
	assert_int_equal(error_of(cluster, 1, construct(cluster, 1, 116, DISK_LOG)), -ENOMEM);
	seq = small_request(cluster, 1, ULOG_STATUS_TABLE, 100, NULL, 0);
	reply = small_reply(cluster, 1, seq);
	assert_non_null(reply);
	assert_string_equal((const char *)reply->data, "clustered-disk 7:1 1024 nosync ");
	cluster_free(cluster);
}

static void test_is_clean(void **state)
{
	struct small_cluster *cluster = cluster_new(1, FENCING_ASSUME);
	uint32_t seq;

	(void)state;
	activate(cluster, 1, 100, CORE_LOG);
	seq = small_region(cluster, 1, ULOG_IS_CLEAN, 100, 9);
	assert_int_equal(small_reply_u64(cluster, 1, seq, 0), 1);
	assert_answered(cluster, 1, write_to(cluster, 1, 100, 9));
	seq = small_region(cluster, 1, ULOG_IS_CLEAN, 100, 9);
	assert_int_equal(small_reply_u64(cluster, 1, seq, 0), 0);
	cluster_free(cluster);
}

static void test_status_names_what_is_waited_for(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);
	struct event lost = {.type = EVENT_CLUSTER_LOST};
	struct effects effects;

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	activate(cluster, 2, 200, DISK_LOG);
	assert_waits(cluster, 1, "");
	assert_log_waits(cluster, 1, "");
	cluster->nodes[1].device_broken = cluster->nodes[2].device_broken = true;
	assert_int_equal(error_of(cluster, 1, write_to(cluster, 1, 100, 1)), -EIO);
	assert_log_waits(cluster, 1, "no member can write the log device: reload the table");
	lost.now_ns = cluster->now_ns;
	core_step(cluster->nodes[1].core, &lost, &effects);
	assert_waits(cluster, 1, "waits for corosync");
	cluster_free(cluster);
}

/* A daemon is killed and cannot end: what it has in flight is named, on its node and on the others. */
static void test_status_names_what_a_killed_daemon_has_in_flight(void **state)
{
	(void)state;
	for (unsigned copying = 0; copying < 2; copying++) {
		struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);

		activate(cluster, 1, 100, DISK_LOG);
		activate(cluster, 2, 200, DISK_LOG);
		cluster->ring_stays = true;
		small_replace(cluster, 1, !copying, copying);
		if (copying) {
			assert_log_waits(
			    cluster, 2,
			    "waits until node 1 has spoken: a copy that it, or its killed daemon, "
			    "has in flight ends first");
			assert_waits(cluster, 1,
				     "waits for the end of a copy that this node, or its killed daemon, has "
				     "in flight");
		} else {
			for (node_id_t node = 1; node <= 2; node++)
				assert_log_waits(
				    cluster, node,
				    "waits for the end of a write of the log device that node 1, "
				    "or its killed daemon, has in flight");
		}
		small_io_end(cluster, 1);
		assert_log_waits(cluster, 2, "");
		assert_waits(cluster, 1, "");
		cluster_free(cluster);
	}
}

/* The only daemon of a table that runs is gone, and nobody else has one. */
static void test_status_says_that_nobody_can_write_the_log_device(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);

	(void)state;
	activate(cluster, 1, 100, DISK_LOG);
	assert_answered(cluster, 2, construct(cluster, 2, 200, DISK_LOG));
	cluster->ring_stays = true;
	small_leave(cluster, 1, false);
	small_settle(cluster);
	assert_log_waits(cluster, 2, "waits for a member that can write the log device");
	cluster_free(cluster);
}

/* Messages are delivered one by one until the status says so, and there are none left. */
static void assert_passes_through(struct small_cluster *cluster, node_id_t node, const char *text)
{
	bool seen = false;

	for (unsigned i = 0; i < 100 && !seen; i++) {
		struct core_status *status;

		small_deliver(cluster, 1);
		status = core_status_new(cluster->nodes[node].core);
		seen = status->log_count && !strcmp(status->logs[0].waits_for, text);
		core_status_free(status);
	}
	assert_true(seen);
	cluster->hold = false;
	small_settle(cluster);
	assert_log_waits(cluster, node, "");
}

/* The recoverer is not the writer, and the copy waits for the writer's word. */
static void test_status_names_the_writer_that_does_not_know_a_claim(void **state)
{
	struct small_cluster *cluster = cluster_new(3, FENCING_ASSUME);

	(void)state;
	for (node_id_t node = 1; node <= 3; node++)
		activate(cluster, node, node * 100, DISK_LOG);
	assert_answered(cluster, 3, write_to(cluster, 3, 300, 5));
	cluster->ring_stays = true;
	small_restart(cluster, 1); /* the writer is node 2 from here on */
	cluster->ring_stays = false;
	cluster->hold = true;
	small_leave(cluster, 3, true);
	assert_passes_through(cluster, 1,
			      "repair waits until node 2, which writes the log device, knows of it");
	assert_int_equal(cluster->nodes[1].repairs, 1);
	cluster_free(cluster);
}

/* Of two nodes the other has to know of a new member before that commits anything. */
static void test_status_names_who_does_not_know_a_member(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);

	(void)state;
	assert_answered(cluster, 1, construct(cluster, 1, 100, CORE_LOG));
	cluster->hold = true;
	small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	assert_passes_through(cluster, 1, "waits until node 2 knows that node 1 is a member");
	cluster_free(cluster);
}

static struct small_cluster *other_half_undecided_new(void)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_NONE);

	small_leave(cluster, 2, true);
	small_settle(cluster);
	assert_answered(cluster, 1, construct(cluster, 1, 100, CORE_LOG));
	small_request(cluster, 1, ULOG_RESUME, 100, NULL, 0);
	assert_log_waits(cluster, 1, "waits for the fencing of node 2");
	return cluster;
}

/* A node that has nothing of the log may be the other half of two all the same. */
static void test_status_names_an_undecided_node_that_is_no_member(void **state)
{
	struct small_cluster *cluster = other_half_undecided_new();

	(void)state;
	small_control(cluster, 1, CONTROL_CONFIRM_DEAD, 2, NULL);
	assert_log_waits(cluster, 1, "");
	cluster_free(cluster);
}

/* It is back, but what it has of the log it has not said yet. */
static void test_status_names_a_node_that_has_not_spoken(void **state)
{
	struct small_cluster *cluster = other_half_undecided_new();

	(void)state;
	cluster->hold = true;
	small_join(cluster, 2, 20);
	assert_passes_through(cluster, 1, "waits until node 2, which was cut off, has spoken");
	cluster_free(cluster);
}

/* Without handle_errors nobody gets an error: the write waits, and the status says what helps. */
static void test_dead_device_without_handle_errors(void **state)
{
	struct small_cluster *cluster = cluster_new(1, FENCING_ASSUME);
	uint32_t flush;

	(void)state;
	cluster->ignores_errors = true;
	activate(cluster, 1, 100, DISK_LOG);
	cluster->nodes[1].device_broken = true;
	flush = write_to(cluster, 1, 100, 1);
	assert_null(small_reply(cluster, 1, flush));
	assert_log_waits(
	    cluster, 1,
	    "no member can write the log device: writes wait until one can, or the table is reloaded");
	cluster->nodes[1].device_broken = false;
	small_advance(cluster, SECOND_NS * 60);
	assert_answered(cluster, 1, flush);
	assert_log_waits(cluster, 1, "");
	cluster_free(cluster);
}

/* Another version of the protocol, or no message at all: refused, nothing changes. */
static void test_messages_that_are_none(void **state)
{
	struct small_cluster *cluster = cluster_new(2, FENCING_ASSUME);
	struct core_status *before = core_status_new(cluster->nodes[1].core), *after;
	static const uint8_t noise[32] = "this is not a frame of ours";
	struct event event = {.type = EVENT_DELIVER,
			      .deliver = {.node = 2, .bytes = noise, .size = sizeof(noise)}};
	struct effects effects;

	(void)state;
	event.now_ns = cluster->now_ns;
	core_step(cluster->nodes[1].core, &event, &effects);
	assert_int_equal(effects.count, 1);
	assert_int_equal(effects.items[0].type, EFFECT_LOG);
	after = core_status_new(cluster->nodes[1].core);
	assert_int_equal(before->digest, after->digest);
	core_status_free(before);
	core_status_free(after);
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stop),
	    cmocka_unit_test(test_kept_requests_fail_when_told),
	    cmocka_unit_test(test_dead_when_confirmed),
	    cmocka_unit_test(test_failed_repair_is_tried_again),
	    cmocka_unit_test(test_repair_is_throttled),
	    cmocka_unit_test(test_nodes_down_are_told_once),
	    cmocka_unit_test(test_flood_of_one_log),
	    cmocka_unit_test(test_flood_of_one_node),
	    cmocka_unit_test(test_records_are_bounded),
	    cmocka_unit_test(test_marks_stay_when_the_legs_cannot_be_flushed),
	    cmocka_unit_test(test_requests_that_are_wrong),
	    cmocka_unit_test(test_is_clean),
	    cmocka_unit_test(test_status_names_what_is_waited_for),
	    cmocka_unit_test(test_status_names_what_a_killed_daemon_has_in_flight),
	    cmocka_unit_test(test_status_says_that_nobody_can_write_the_log_device),
	    cmocka_unit_test(test_status_names_the_writer_that_does_not_know_a_claim),
	    cmocka_unit_test(test_status_names_who_does_not_know_a_member),
	    cmocka_unit_test(test_status_names_an_undecided_node_that_is_no_member),
	    cmocka_unit_test(test_status_names_a_node_that_has_not_spoken),
	    cmocka_unit_test(test_dead_device_without_handle_errors),
	    cmocka_unit_test(test_messages_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
