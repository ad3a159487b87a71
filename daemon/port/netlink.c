/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/netlink.h"

#include <errno.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "daemon/port/in_hand.h"
#include "daemon/port/log.h"
#include "protocol/ulog.h"

/* A request takes about 1 KiB of it (skb and its overhead); a host asks one thing at a time per mirror and
 * thread. */
#define RECEIVE_BUFFER_BYTES (16 * 1024 * 1024)
#define DATAGRAM_BYTES	     8192
#define RECEIVE_BATCH	     256 /* then other sources of the loop have their turn */

/* Answers that could not be sent. After a second without success the oldest is dropped. */
#define KEPT_MAX	4096
#define KEPT_RETRY_NS	UINT64_C(10000000)
#define KEPT_TRIES_MAX	100
#define MALFORMED_BURST 10 /* lines of log about malformed requests, then one for each power of two */

struct kept_reply {
	STAILQ_ENTRY(kept_reply) entry;
	uint32_t seq;
	size_t size;
	uint8_t bytes[];
};

struct netlink {
	struct port_config config;
	struct nl_sock *socket;
	uint32_t peer_port;
	void (*lost_fn)(void *context);
	struct netlink_counts counts;
	bool loses;	      /* the last answer was lost, and that was said */
	struct in_hand *hand; /* NULL: it could not be opened */
	bool clearing;	      /* what the kernel will be told to ask again is read, and not taken */
	struct bytes_writer writer;
	STAILQ_HEAD(, kept_reply) kept;
	unsigned kept_count;
	unsigned tries; /* of the oldest kept reply */
	qb_loop_timer_handle timer;
	bool timer_runs;
};

/* Errors of libnl are numbers of its own; errno is what the failing call left. */
static int nl_error(int error)
{
	switch (-error) {
	case NLE_PERM: return -EPERM;
	case NLE_NOMEM: return -ENOMEM;
	case NLE_PROTO_MISMATCH:
	case NLE_AF_NOSUPPORT: return -EPROTONOSUPPORT;
	default: return errno ? -errno : -EIO;
	}
}

/* 0, or a negative errno. */
static int reply_send(struct netlink *netlink, const void *bytes, size_t size)
{
	struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = netlink->peer_port};
	ssize_t sent;

	do {
		sent = sendto(nl_socket_get_fd(netlink->socket), bytes, size, MSG_DONTWAIT,
			      (struct sockaddr *)&to, sizeof(to));
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

static bool can_retry(int error)
{
	return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM;
}

static void kept_drop(struct netlink *netlink)
{
	struct kept_reply *reply = STAILQ_FIRST(&netlink->kept);

	STAILQ_REMOVE_HEAD(&netlink->kept, entry);
	netlink->kept_count--;
	netlink->tries = 0;
	free(reply);
}

static void answer_lost(struct netlink *netlink, int error)
{
	netlink->counts.dropped++;
	if (!netlink->loses)
		log_write(LOG_WARNING, "cannot answer the kernel: %s; it will ask again", strerror(-error));
	netlink->loses = true;
}

static void answer_sent(struct netlink *netlink, uint32_t seq)
{
	netlink->counts.replies++;
	netlink->loses = false;
	in_hand_answered(netlink->hand, seq);
}

static void kept_send(void *context);

static void kept_schedule(struct netlink *netlink)
{
	if (netlink->timer_runs || STAILQ_EMPTY(&netlink->kept))
		return;
	if (qb_loop_timer_add(netlink->config.loop, QB_LOOP_HIGH, KEPT_RETRY_NS, netlink, kept_send,
			      &netlink->timer))
		abort(); /* out of memory; see port_alloc() */
	netlink->timer_runs = true;
}

static void kept_send(void *context)
{
	struct netlink *netlink = context;
	struct kept_reply *reply;

	netlink->timer_runs = false;
	while ((reply = STAILQ_FIRST(&netlink->kept))) {
		int error = reply_send(netlink, reply->bytes, reply->size);

		if (can_retry(error) && ++netlink->tries < KEPT_TRIES_MAX)
			break;
		if (error)
			answer_lost(netlink, error);
		else
			answer_sent(netlink, reply->seq);
		kept_drop(netlink);
	}
	kept_schedule(netlink);
}

static void reply_keep(struct netlink *netlink, uint32_t seq, const void *bytes, size_t size)
{
	struct kept_reply *reply = netlink->kept_count < KEPT_MAX ? malloc(sizeof(*reply) + size) : NULL;

	if (!reply) {
		answer_lost(netlink, -ENOBUFS);
		return;
	}
	reply->seq = seq;
	reply->size = size;
	memcpy(reply->bytes, bytes, size);
	STAILQ_INSERT_TAIL(&netlink->kept, reply, entry);
	netlink->kept_count++;
	kept_schedule(netlink);
}

/* Send, or keep, what is in the writer. */
static void writer_send(struct netlink *netlink, uint32_t seq)
{
	struct bytes_writer *writer = &netlink->writer;
	int error = 0;

	if (writer->failed) {
		answer_lost(netlink, -ENOMEM);
		return;
	}
	if (STAILQ_EMPTY(&netlink->kept)) {
		error = reply_send(netlink, writer->bytes, writer->size);
		if (!error) {
			answer_sent(netlink, seq);
			return;
		}
	}
	if (!error || can_retry(error))
		reply_keep(netlink, seq, writer->bytes, writer->size);
	else
		answer_lost(netlink, error);
}

void netlink_reply(struct netlink *netlink, const struct effect *effect)
{
	bytes_writer_clear(&netlink->writer);
	if (effect->reply.bare)
		ulog_encode_bare_reply(&netlink->writer, effect->reply.seq, effect->reply.error);
	else
		ulog_encode_reply(&netlink->writer, effect->reply.seq, effect->reply.luid,
				  effect->reply.error, effect->reply.data, effect->reply.data_bytes);
	writer_send(netlink, effect->reply.seq);
}

static void former_answer(void *context, uint32_t seq)
{
	struct netlink *netlink = context;

	bytes_writer_clear(&netlink->writer);
	ulog_encode_bare_reply(&netlink->writer, seq, -EAGAIN);
	if (netlink->writer.failed || reply_send(netlink, netlink->writer.bytes, netlink->writer.size))
		return; /* it will ask again by itself */
	netlink->counts.former++;
}

static void malformed_log(const struct netlink *netlink, const struct ulog_request *request, const char *why)
{
	uint64_t count = netlink->counts.refused + netlink->counts.malformed;

	if (count <= MALFORMED_BURST || (count & (count - 1)) == 0)
		log_write(LOG_ERR, "malformed request %s, seq %u: %s (%llu so far)",
			  ulog_type_name(request->type), request->seq, why, (unsigned long long)count);
}

static void refuse(struct netlink *netlink, const struct ulog_request *request)
{
	bytes_writer_clear(&netlink->writer);
	ulog_encode_reply(&netlink->writer, request->seq, request->luid, -EINVAL, NULL, 0);
	writer_send(netlink, request->seq);
}

static void datagram_take(struct netlink *netlink, const void *bytes, size_t size)
{
	struct event event = {.type = EVENT_KERNEL};
	const char *why = NULL;

	switch (ulog_decode(bytes, size, &event.kernel, &why)) {
	case ULOG_OK:
		if (netlink->clearing && in_hand_unread(netlink->hand, event.kernel.seq))
			break;
		netlink->counts.requests++;
		in_hand_taken(netlink->hand, event.kernel.seq);
		event_sink_post(&netlink->config.sink, &event);
		break;
	case ULOG_IGNORE: netlink->counts.ignored++; break;
	case ULOG_REFUSE:
		netlink->counts.refused++;
		malformed_log(netlink, &event.kernel, why);
		refuse(netlink, &event.kernel);
		break;
	case ULOG_MALFORMED:
		netlink->counts.malformed++;
		malformed_log(netlink, &event.kernel, why);
		break;
	}
}

static void overflow(struct netlink *netlink)
{
	netlink->counts.lost++;
	log_write(LOG_WARNING, "requests of the kernel were lost: the receive buffer overflowed");
	netlink->lost_fn(netlink->config.sink.context);
}

/* False: nothing more to read now. */
static bool receive_one(struct netlink *netlink, int fd)
{
	/* As aligned as what the kernel writes. */
	union {
		struct nlmsghdr header;
		uint8_t bytes[DATAGRAM_BYTES];
	} datagram;
	struct sockaddr_nl from = {.nl_pid = ~0u};
	socklen_t from_size = sizeof(from);
	ssize_t size;

	size = recvfrom(fd, datagram.bytes, sizeof(datagram.bytes), MSG_DONTWAIT | MSG_TRUNC,
			(struct sockaddr *)&from, &from_size);
	if (size < 0) {
		if (errno == ENOBUFS) {
			overflow(netlink);
			return true;
		}
		if (errno != EAGAIN && errno != EINTR)
			log_write(LOG_ERR, "cannot read requests of the kernel: %s", strerror(errno));
		return errno == EINTR;
	}
	/* Port 0 is the kernel: other sockets may send to the group too. */
	if (from_size != sizeof(from) || from.nl_pid != netlink->peer_port || size == 0) {
		netlink->counts.ignored++;
		return true;
	}
	/* A longer one is cut: its own length then says more than there is, and it is refused as such. */
	datagram_take(netlink, datagram.bytes,
		      (size_t)size < sizeof(datagram.bytes) ? (size_t)size : sizeof(datagram.bytes));
	return true;
}

/* What has come since this daemon listens has one of the numbers that are told: taken as well it would be had
 * twice, and the second CTR of a reconnect would wait for a RESUME that never comes. */
void netlink_answer_former(struct netlink *netlink)
{
	netlink->clearing = in_hand_has_former(netlink->hand);
	while (netlink->clearing && receive_one(netlink, nl_socket_get_fd(netlink->socket)))
		;
	netlink->clearing = false;
	in_hand_former(netlink->hand, former_answer, netlink);
}

static int32_t receive(int32_t fd, int32_t revents, void *context)
{
	struct netlink *netlink = context;

	(void)revents;
	for (unsigned i = 0; i < RECEIVE_BATCH; i++) {
		if (!receive_one(netlink, fd))
			break;
	}
	return 0;
}

/* As large as asked for; without CAP_NET_ADMIN as large as the host allows. */
static void buffer_grow(int fd)
{
	int size_bytes = RECEIVE_BUFFER_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size_bytes, sizeof(size_bytes)) &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size_bytes, sizeof(size_bytes)))
		log_write(LOG_WARNING, "the receive buffer for requests stays small: %s", strerror(errno));
}

static int socket_open(struct netlink *netlink)
{
	int error;

	errno = 0;
	error = nl_connect(netlink->socket, NETLINK_CONNECTOR);
	if (error)
		return nl_error(error);
	error = nl_socket_set_nonblocking(netlink->socket);
	if (error)
		return nl_error(error);
	buffer_grow(nl_socket_get_fd(netlink->socket));
	error = nl_socket_add_membership(netlink->socket, CN_IDX_DM);
	if (error)
		return nl_error(error);
	return qb_loop_poll_add(netlink->config.loop, QB_LOOP_HIGH, nl_socket_get_fd(netlink->socket), POLLIN,
				netlink, receive);
}

int netlink_open(const struct port_config *config, uint32_t peer_port, void (*lost_fn)(void *context),
		 struct netlink **ret_netlink)
{
	struct netlink *netlink = port_alloc(sizeof(*netlink));
	int error;

	netlink->config = *config;
	netlink->peer_port = peer_port;
	netlink->lost_fn = lost_fn;
	STAILQ_INIT(&netlink->kept);
	bytes_writer_init(&netlink->writer);
	netlink->socket = nl_socket_alloc();
	error = netlink->socket ? socket_open(netlink) : -ENOMEM;
	if (error) {
		nl_socket_free(netlink->socket);
		bytes_writer_fini(&netlink->writer);
		free(netlink);
		return error;
	}
	error = in_hand_open(config->run_dir, &netlink->hand);
	if (error)
		log_write(LOG_WARNING,
			  "requests in hand cannot be kept in the run directory: %s; after a restart the "
			  "kernel asks again 15 s later",
			  strerror(-error));
	*ret_netlink = netlink;
	return 0;
}

void netlink_count(const struct netlink *netlink, struct netlink_counts *ret_counts)
{
	*ret_counts = netlink->counts;
}

void netlink_close(struct netlink *netlink)
{
	if (!netlink)
		return;
	in_hand_close(netlink->hand);
	qb_loop_poll_del(netlink->config.loop, nl_socket_get_fd(netlink->socket));
	if (netlink->timer_runs)
		qb_loop_timer_del(netlink->config.loop, netlink->timer);
	while (!STAILQ_EMPTY(&netlink->kept))
		kept_drop(netlink);
	nl_socket_free(netlink->socket);
	bytes_writer_fini(&netlink->writer);
	free(netlink);
}
