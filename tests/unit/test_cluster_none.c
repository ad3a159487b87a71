/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster of one node, on a real loop: nothing is told from inside a call, and the order is the order of
 * sending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/port/cluster_none.h"

#define EVENTS_MAX  64
#define SEND_ROUNDS 20
#define PATIENCE_NS UINT64_C(10000000000)

struct fixture {
	qb_loop_t *loop;
	struct cluster_none *cluster;
	bool inside; /* a call into the port */
	unsigned count, stop_at, sent;
	struct {
		enum event_type type;
		uint8_t first_byte;
		size_t size;
	} events[EVENTS_MAX];
};

static void message_send(struct fixture *fixture, uint8_t byte, size_t size)
{
	uint8_t bytes[256];
	struct effect effect = {.type = EFFECT_SEND, .send = {.bytes = bytes, .size = size}};

	memset(bytes, byte, sizeof(bytes));
	fixture->inside = true;
	cluster_none_send(fixture->cluster, &effect);
	fixture->inside = false;
	memset(bytes, 0xee, sizeof(bytes)); /* the port has its own copy */
}

static void on_event(void *context, const struct event *event)
{
	struct fixture *fixture = context;

	assert_false(fixture->inside);
	assert_in_range(fixture->count, 0, EVENTS_MAX - 1);
	fixture->events[fixture->count].type = event->type;
	if (event->type == EVENT_VIEW) {
		assert_int_equal(event->view.member_count, 1);
		assert_int_equal(event->view.members[0], CLUSTER_NONE_NODE);
		assert_int_equal(event->view.joined_count, 1);
		assert_int_equal(event->view.joined[0].node, CLUSTER_NONE_NODE);
		assert_int_equal(event->view.left_count, 0);
	} else if (event->type == EVENT_QUORUM) {
		assert_true(event->quorum.quorate);
		assert_int_equal(event->quorum.node_count, 1);
		assert_int_equal(event->quorum.nodes[0], CLUSTER_NONE_NODE);
	} else if (event->type == EVENT_DELIVER) {
		assert_int_equal(event->deliver.node, CLUSTER_NONE_NODE);
		fixture->events[fixture->count].first_byte = event->deliver.bytes[0];
		fixture->events[fixture->count].size = event->deliver.size;
		if (fixture->sent < SEND_ROUNDS)
			message_send(fixture, (uint8_t)++fixture->sent, 100);
	}
	if (++fixture->count == fixture->stop_at)
		qb_loop_stop(fixture->loop);
}

static void on_patience_over(void *data)
{
	(void)data;
	fail_msg("what was waited for did not happen");
}

static void run_until(struct fixture *fixture, unsigned count)
{
	qb_loop_timer_handle timer;

	fixture->stop_at = count;
	assert_int_equal(
	    qb_loop_timer_add(fixture->loop, QB_LOOP_HIGH, PATIENCE_NS, NULL, on_patience_over, &timer), 0);
	qb_loop_run(fixture->loop);
	assert_int_equal(qb_loop_timer_del(fixture->loop, timer), 0);
	assert_int_equal(fixture->count, count);
}

static int set_up(void **state)
{
	static struct fixture fixture;
	struct port_config config;

	fixture = (struct fixture){.loop = qb_loop_create()};
	config = (struct port_config){.loop = fixture.loop, .sink = {.post = on_event, .context = &fixture}};
	fixture.inside = true;
	assert_int_equal(cluster_none_open(&config, &fixture.cluster), 0);
	fixture.inside = false;
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	cluster_none_close(fixture->cluster);
	qb_loop_destroy(fixture->loop);
	return 0;
}

static void joins_alone_with_quorum(void **state)
{
	struct fixture *fixture = *state;

	run_until(fixture, 3);
	assert_int_equal(fixture->events[0].type, EVENT_VIEW);
	assert_int_equal(fixture->events[1].type, EVENT_RING);
	assert_int_equal(fixture->events[2].type, EVENT_QUORUM);
}

static void delivers_in_the_order_of_sending(void **state)
{
	struct fixture *fixture = *state;

	fixture->sent = SEND_ROUNDS;
	run_until(fixture, 3);
	for (uint8_t i = 0; i < 10; i++)
		message_send(fixture, i, (size_t)i + 1);
	run_until(fixture, 13);
	for (uint8_t i = 0; i < 10; i++) {
		assert_int_equal(fixture->events[3 + i].type, EVENT_DELIVER);
		assert_int_equal(fixture->events[3 + i].first_byte, i);
		assert_int_equal(fixture->events[3 + i].size, i + 1);
	}
}

static void sending_on_delivery_does_not_recurse(void **state)
{
	struct fixture *fixture = *state;

	run_until(fixture, 3);
	message_send(fixture, 0, 1);
	run_until(fixture, 3 + 1 + SEND_ROUNDS);
	assert_int_equal(fixture->events[3 + SEND_ROUNDS].first_byte, SEND_ROUNDS);
}

static void closing_drops_what_is_queued(void **state)
{
	struct fixture *fixture = *state;

	run_until(fixture, 3);
	message_send(fixture, 1, 200);
	/* tear_down() closes; a sanitizer sees what is left behind. */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(joins_alone_with_quorum, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(delivers_in_the_order_of_sending, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(sending_on_delivery_does_not_recurse, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(closing_drops_what_is_queued, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
