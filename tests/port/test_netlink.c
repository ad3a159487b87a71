/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <errno.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/port/in_hand.h"
#include "daemon/port/netlink.h"
#include "protocol/ulog.h"

/* The kernel's end: a socket of this network namespace that sends to the group and gets the answers. */
struct peer {
	int fd;
	uint32_t port;
};

static struct peer peer_open(int receive_bytes)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	socklen_t size = sizeof(address);
	struct peer peer = {.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_CONNECTOR)};

	assert_true(peer.fd >= 0);
	if (receive_bytes > 0)
		assert_int_equal(
		    setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof(receive_bytes)),
		    0);
	assert_int_equal(bind(peer.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(peer.fd, (struct sockaddr *)&address, &size), 0);
	peer.port = address.nl_pid;
	return peer;
}

/* To the group. The call goes on to unicast to port 0, which nobody has outside the first namespace. */
static bool peer_send(const struct peer *peer, const void *bytes, size_t size)
{
	struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1u << (CN_IDX_DM - 1)};
	ssize_t sent = sendto(peer->fd, bytes, size, 0, (struct sockaddr *)&group, sizeof(group));

	return sent == (ssize_t)size || errno == ECONNREFUSED;
}

static void peer_request(const struct peer *peer, uint32_t seq)
{
	uint8_t data[8] = {5};
	struct ulog_request request = {
	    .seq = seq,
	    .type = ULOG_IN_SYNC,
	    .version = 3,
	    .luid = 77,
	    .uuid = "LVM-test",
	    .data = data,
	    .data_bytes = sizeof(data),
	};
	struct bytes_writer writer;

	bytes_writer_init(&writer);
	ulog_encode_request(&writer, &request);
	assert_true(peer_send(peer, writer.bytes, writer.size));
	bytes_writer_fini(&writer);
}

/* The next answer; its data is in `buffer`. False: none within the time. */
static bool peer_answer(const struct peer *peer, struct ulog_reply *ret_reply, uint8_t buffer[1024],
			int timeout_ms)
{
	struct pollfd poll_fd = {.fd = peer->fd, .events = POLLIN};
	ssize_t size;

	if (poll(&poll_fd, 1, timeout_ms) != 1)
		return false;
	size = recv(peer->fd, buffer, 1024, 0);
	assert_true(size > 0);
	assert_int_equal(ulog_decode_reply(buffer, (size_t)size, ret_reply), 0);
	return true;
}

static void answer(struct netlink *netlink, uint32_t seq, int error, bool bare, const char *data)
{
	struct effect effect = {
	    .type = EFFECT_REPLY,
	    .reply = {.seq = seq,
		      .luid = 77,
		      .error = error,
		      .bare = bare,
		      .data = (const uint8_t *)data,
		      .data_bytes = data ? (uint32_t)strlen(data) + 1 : 0},
	};

	netlink_reply(netlink, &effect);
}

static struct netlink *open_for(struct port_test *test, uint32_t port)
{
	struct netlink *netlink;

	assert_int_equal(netlink_open(&test->config, port, port_test_called, &netlink), 0);
	return netlink;
}

static void test_request_and_answers(void **state)
{
	struct port_test *test = *state;
	struct peer peer = peer_open(0);
	struct netlink *netlink = open_for(test, peer.port);
	struct netlink_counts counts;
	struct ulog_reply reply;
	uint8_t buffer[1024];

	peer_request(&peer, 4711);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.type, EVENT_KERNEL);
	assert_int_equal(test->events[0].event.kernel.seq, 4711);
	assert_int_equal(test->events[0].event.kernel.type, ULOG_IN_SYNC);
	assert_int_equal(test->events[0].event.kernel.luid, 77);
	assert_string_equal(test->events[0].event.kernel.uuid, "LVM-test");
	answer(netlink, 4711, 0, false, "253:7");
	assert_true(peer_answer(&peer, &reply, buffer, 10000));
	assert_int_equal(reply.seq, 4711);
	assert_int_equal(reply.error, 0);
	assert_false(reply.bare);
	assert_int_equal(reply.data_bytes, 6);
	assert_string_equal((const char *)reply.data, "253:7");
	answer(netlink, 4712, -EAGAIN, true, NULL);
	assert_true(peer_answer(&peer, &reply, buffer, 10000));
	assert_int_equal(reply.seq, 4712);
	assert_int_equal(reply.error, -EAGAIN);
	assert_true(reply.bare);
	netlink_count(netlink, &counts);
	assert_int_equal(counts.requests, 1);
	assert_int_equal(counts.replies, 2);
	netlink_close(netlink);
	close(peer.fd);
}

/* Bad ones change nothing and are answered where they can be; a good one behind them is served. */
static void test_malformed(void **state)
{
	struct port_test *test = *state;
	struct peer peer = peer_open(0);
	struct netlink *netlink = open_for(test, peer.port);
	struct ulog_request request = {
	    .seq = 9, .type = (enum ulog_type)99, .version = 3, .luid = 77, .uuid = "u"};
	struct netlink_counts counts;
	struct bytes_writer writer;
	struct ulog_reply reply;
	uint8_t buffer[1024];
	static uint8_t huge[20000];

	bytes_writer_init(&writer);
	ulog_encode_request(&writer, &request);
	assert_true(peer_send(&peer, writer.bytes, writer.size)); /* unknown type */
	assert_true(peer_send(&peer, writer.bytes, 30));	  /* cut in the header */
	assert_true(peer_send(&peer, huge, sizeof(huge)));	  /* longer than the buffer */
	bytes_writer_fini(&writer);
	peer_request(&peer, 10);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.kernel.seq, 10);
	assert_true(peer_answer(&peer, &reply, buffer, 10000));
	assert_int_equal(reply.seq, 9);
	assert_int_equal(reply.error, -EINVAL);
	netlink_count(netlink, &counts);
	assert_int_equal(counts.refused, 1);
	assert_int_equal(counts.refused + counts.malformed + counts.ignored, 3);
	netlink_close(netlink);
	close(peer.fd);
}

static void test_other_senders_are_ignored(void **state)
{
	struct port_test *test = *state;
	struct peer peer = peer_open(0), stranger = peer_open(0);
	struct netlink *netlink = open_for(test, peer.port);
	struct netlink_counts counts;

	peer_request(&stranger, 1);
	peer_request(&peer, 2);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.kernel.seq, 2);
	netlink_count(netlink, &counts);
	assert_int_equal(counts.ignored, 1);
	netlink_close(netlink);
	/* Without a peer port only the kernel counts, and this namespace has none. */
	netlink = open_for(test, 0);
	peer_request(&peer, 3);
	port_test_run_for(test, 50);
	assert_int_equal(test->event_count, 1);
	netlink_count(netlink, &counts);
	assert_int_equal(counts.ignored, 1);
	answer(netlink, 3, 0, false, NULL); /* nobody there: dropped, not kept */
	netlink_count(netlink, &counts);
	assert_int_equal(counts.dropped, 1);
	netlink_close(netlink);
	close(peer.fd);
	close(stranger.fd);
}

/* Counts instead of keeping: there are more events than port_test keeps. */
struct flood {
	struct port_test *test;
	unsigned requests, overflows;
	uint32_t last_seq;
};

static void flood_count(void *context, const struct event *event)
{
	struct flood *flood = context;

	flood->requests++;
	if (event->kernel.seq == flood->last_seq)
		qb_loop_stop(flood->test->config.loop);
}

static void flood_lost(void *context)
{
	((struct flood *)context)->overflows++;
}

/* Nobody reads for a while: the buffer holds thousands of requests, its overflow is noticed, and all goes on.
 */
static void test_overflow(void **state)
{
	struct flood flood = {.test = *state, .last_seq = UINT32_MAX};
	struct port_config config = flood.test->config;
	struct peer peer = peer_open(0);
	struct netlink *netlink;
	unsigned before;

	config.sink = (struct event_sink){.post = flood_count, .context = &flood};
	assert_int_equal(netlink_open(&config, peer.port, flood_lost, &netlink), 0);
	flood.last_seq = 4999;
	for (uint32_t i = 0; i < 5000; i++)
		peer_request(&peer, i);
	port_test_run_for(flood.test, 20000);
	assert_int_equal(flood.requests, 5000);
	assert_int_equal(flood.overflows, 0);
	flood.last_seq = UINT32_MAX;
	for (uint32_t i = 0; i < 100000; i++)
		peer_request(&peer, i);
	do {
		before = flood.requests;
		port_test_run_for(flood.test, 200);
	} while (flood.requests > before);
	assert_true(flood.overflows >= 1);
	assert_true(flood.requests > 10000 && flood.requests < 105000);
	flood.last_seq = 200000;
	peer_request(&peer, 200000);
	port_test_run_for(flood.test, 10000);
	assert_false(flood.test->timed_out);
	netlink_close(netlink);
	close(peer.fd);
}

/* The peer reads slowly: answers wait, none is lost, order is kept. */
static void test_slow_peer(void **state)
{
	struct port_test *test = *state;
	struct peer peer = peer_open(4096);
	struct netlink *netlink = open_for(test, peer.port);
	struct netlink_counts counts;
	struct ulog_reply reply;
	uint8_t buffer[1024];
	uint32_t seq = 0;

	for (uint32_t i = 0; i < 200; i++)
		answer(netlink, i, 0, false, "data");
	netlink_count(netlink, &counts);
	assert_true(counts.replies < 200);
	for (int rounds = 0; seq < 200 && rounds < 1000; rounds++) {
		while (peer_answer(&peer, &reply, buffer, 0))
			assert_int_equal(reply.seq, seq++);
		port_test_run_for(test, 15);
	}
	assert_int_equal(seq, 200);
	netlink_count(netlink, &counts);
	assert_int_equal(counts.replies, 200);
	assert_int_equal(counts.dropped, 0);
	netlink_close(netlink);
	close(peer.fd);
}

/* A peer that never reads costs a bounded time and memory. */
static void test_dead_peer(void **state)
{
	struct port_test *test = *state;
	struct peer peer = peer_open(4096);
	struct netlink *netlink = open_for(test, peer.port);
	struct netlink_counts counts;

	for (uint32_t i = 0; i < 6000; i++)
		answer(netlink, i, 0, false, NULL);
	netlink_count(netlink, &counts);
	assert_true(counts.dropped >= 1000);
	close(peer.fd);
	for (int i = 0; i < 1000 && counts.dropped + counts.replies < 6000; i++) {
		port_test_run_for(test, 10);
		netlink_count(netlink, &counts);
	}
	assert_int_equal(counts.dropped + counts.replies, 6000);
	netlink_close(netlink);
}

/* How often the kernel was told to ask again, by number of the request. */
static void peer_count_again(const struct peer *peer, unsigned counts[1000])
{
	struct ulog_reply reply;
	uint8_t buffer[1024];

	memset(counts, 0, 1000 * sizeof(*counts));
	while (peer_answer(peer, &reply, buffer, 0)) {
		assert_true(reply.bare && reply.error == -EAGAIN && reply.seq < 1000);
		counts[reply.seq]++;
	}
}

/* What a daemon had in hand when it died, its successor asks for again: that, and what nobody had read, once.
 */
static void test_former_daemon(void **state)
{
	struct port_test *test = *state;
	struct peer peer = peer_open(1 << 22);
	struct netlink *netlink = open_for(test, peer.port);
	struct ulog_reply reply;
	unsigned counts[1000];
	uint8_t buffer[1024];

	netlink_answer_former(netlink);
	peer_count_again(&peer, counts);
	for (unsigned seq = 0; seq < 1000; seq++)
		assert_int_equal(counts[seq], 0);
	for (uint32_t seq = 0; seq < 4; seq++)
		peer_request(&peer, seq);
	port_test_run(test, 4);
	answer(netlink, 1, 0, false, NULL);
	assert_true(peer_answer(&peer, &reply, buffer, 10000));
	netlink_close(netlink);
	netlink = open_for(test, peer.port);
	netlink_answer_former(netlink);
	peer_count_again(&peer, counts);
	for (unsigned seq = 0; seq < 1000; seq++)
		assert_int_equal(counts[seq], seq != 1 && seq <= 3 + 256);
	netlink_close(netlink);
	netlink = open_for(test, peer.port);
	netlink_answer_former(netlink);
	assert_false(peer_answer(&peer, &reply, buffer, 0));
	netlink_close(netlink);
	close(peer.fd);
}

static void hand_count(void *context, uint32_t seq)
{
	unsigned *counts = context;
	uint32_t i = seq - (UINT32_MAX - 4999);

	assert_true(i < 20000);
	counts[i]++;
}

/* Requests that are never answered do not crowd out those that are younger. */
static void test_many_in_hand(void **state)
{
	struct port_test *test = *state;
	struct in_hand *hand;
	unsigned counts[20000] = {0};

	assert_int_equal(in_hand_open(test->config.run_dir, &hand), 0);
	for (uint32_t i = 0; i < 10000; i++)
		in_hand_taken(hand, UINT32_MAX - 4999 + i);
	for (uint32_t i = 9000; i < 9500; i++)
		in_hand_answered(hand, UINT32_MAX - 4999 + i);
	in_hand_close(hand);
	assert_int_equal(in_hand_open(test->config.run_dir, &hand), 0);
	in_hand_former(hand, hand_count, counts);
	in_hand_close(hand);
	for (uint32_t i = 0; i < 10000 + IN_HAND_AHEAD; i++)
		assert_int_equal(counts[i], i >= 10000 - IN_HAND_MAX && (i < 9000 || i >= 9500));
	for (uint32_t i = 10000 + IN_HAND_AHEAD; i < 20000; i++)
		assert_int_equal(counts[i], 0);
}

static void hand_falls(void *context, uint32_t seq)
{
	uint32_t *last = context;

	assert_int_equal(seq, *last - 1);
	*last = seq;
}

/* What is told to ask again gets a higher number, which must not be told once more. */
static void test_in_hand_downwards(void **state)
{
	struct port_test *test = *state;
	struct in_hand *hand;
	uint32_t last = 10 + IN_HAND_AHEAD + 1;

	assert_int_equal(in_hand_open(test->config.run_dir, &hand), 0);
	in_hand_taken(hand, 10);
	in_hand_former(hand, hand_falls, &last);
	in_hand_close(hand);
	assert_int_equal(last, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, port_test_setup, port_test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_request_and_answers),
	    TEST(test_malformed),
	    TEST(test_other_senders_are_ignored),
	    TEST(test_overflow),
	    TEST(test_slow_peer),
	    TEST(test_dead_peer),
	    TEST(test_former_daemon),
	    TEST(test_in_hand_downwards),
	    TEST(test_many_in_hand),
	};

	/* Never the host's own: other daemons may listen there. */
	if (geteuid() != 0 || unshare(CLONE_NEWNET))
		return EXIT_SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
