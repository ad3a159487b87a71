/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/quorum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <corosync/cpg.h>
#include <corosync/quorum.h>

#include "daemon/port/connector.h"
#include "daemon/port/log.h"

#define DISPATCH_MAX 32

struct quorum_port {
	struct port_config config;
	struct connector *connector;
	quorum_handle_t handle;
	int fd;
	bool handle_open; /* written by the connector's thread, read after it is done */
	bool connected, told;
	struct ring ring; /* as last told */
	node_id_t nodes[CPG_MEMBERS_MAX];
	size_t node_count;
};

static void quorum_tell(struct quorum_port *quorum, bool quorate)
{
	struct event event = {.type = EVENT_QUORUM};

	event.quorum.quorate = quorate;
	event.quorum.ring = quorum->ring;
	event.quorum.nodes = quorum->nodes;
	event.quorum.node_count = quorum->node_count;
	event_sink_post(&quorum->config.sink, &event);
}

static void on_quorum(quorum_handle_t handle, uint32_t quorate, struct quorum_ring_id ring,
		      uint32_t node_count, const uint32_t *nodes)
{
	const void *context = NULL;
	struct quorum_port *quorum;

	(void)quorum_context_get(handle, &context);
	quorum = (struct quorum_port *)(uintptr_t)context;
	quorum->ring = (struct ring){.seq = ring.seq, .representative = ring.nodeid};
	quorum->node_count = 0;
	for (uint32_t i = 0; i < node_count && i < CPG_MEMBERS_MAX; i++)
		quorum->nodes[quorum->node_count++] = nodes[i];
	quorum_tell(quorum, quorate != 0);
}

static void connection_lose(struct quorum_port *quorum)
{
	int error;

	(void)qb_loop_poll_del(quorum->config.loop, quorum->fd);
	(void)quorum_finalize(quorum->handle);
	quorum->connected = quorum->handle_open = false;
	log_write(LOG_ERR, "lost the connection to the quorum service of corosync; trying once a second");
	/* The nodes stay as they were: nobody said that one of them died. */
	quorum_tell(quorum, false);
	error = connector_start(quorum->connector);
	if (error != 0)
		log_write(LOG_ERR, "cannot start a thread to reach corosync: %s", strerror(-error));
}

static int32_t on_readable(int32_t fd, int32_t revents, void *data)
{
	struct quorum_port *quorum = data;
	cs_error_t error = CS_OK;
	bool lost;

	(void)fd;
	for (int i = 0; i < DISPATCH_MAX && error == CS_OK; i++)
		error = quorum_dispatch(quorum->handle, CS_DISPATCH_ONE_NONBLOCKING);
	lost = error != CS_OK && error != CS_ERR_TRY_AGAIN && error != CS_ERR_INTERRUPT;
	if (lost || (revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
		connection_lose(quorum);
	return 0;
}

/* The list of joined and left nodes says nothing that the notification does not say. */
static void on_nodes(quorum_handle_t handle, struct quorum_ring_id ring, uint32_t member_count,
		     const uint32_t *members, uint32_t joined_count, const uint32_t *joined,
		     uint32_t left_count, const uint32_t *left)
{
	(void)handle;
	(void)ring;
	(void)member_count;
	(void)members;
	(void)joined_count;
	(void)joined;
	(void)left_count;
	(void)left;
}

static quorum_model_v1_data_t model = {
    .model = QUORUM_MODEL_V1,
    .quorum_notify_fn = on_quorum,
    .nodelist_notify_fn = on_nodes,
};

static int attempt_track(struct quorum_port *quorum, uint32_t type)
{
	if (type != QUORUM_SET) {
		if (!quorum->told)
			log_write(LOG_ERR,
				  "corosync has no quorum provider (section quorum of corosync.conf): "
				  "without one this node never becomes quorate");
		quorum->told = true;
		return -EPROTONOSUPPORT;
	}
	if (quorum_fd_get(quorum->handle, &quorum->fd) != CS_OK ||
	    quorum_trackstart(quorum->handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES) != CS_OK)
		return -EAGAIN;
	return 0;
}

/* In the thread of the connector. */
static int attempt(void *context)
{
	struct quorum_port *quorum = context;
	uint32_t type = QUORUM_FREE;
	int error;

	/* That corosync is not there is told by the port of CPG. */
	if (quorum_model_initialize(&quorum->handle, QUORUM_MODEL_V1, (quorum_model_data_t *)&model, &type,
				    quorum) != CS_OK)
		return -ENOTCONN;
	error = attempt_track(quorum, type);
	if (error != 0)
		(void)quorum_finalize(quorum->handle);
	quorum->handle_open = error == 0;
	return error;
}

static void on_connected(void *context)
{
	struct quorum_port *quorum = context;

	quorum->connected = true;
	quorum->told = false;
	log_write(LOG_DEBUG, "connected to the quorum service of corosync");
	if (qb_loop_poll_add(quorum->config.loop, QB_LOOP_HIGH, quorum->fd, POLLIN, quorum, on_readable) != 0)
		connection_lose(quorum);
}

int quorum_port_open(const struct port_config *config, struct quorum_port **ret_quorum)
{
	struct quorum_port *quorum = port_alloc(sizeof(*quorum));
	struct connector_calls calls = {.attempt = attempt, .connected = on_connected, .context = quorum};
	int error;

	quorum->config = *config;
	quorum->connector = connector_new(config->loop, &calls);
	error = quorum->connector == NULL ? -ENOMEM : connector_start(quorum->connector);
	if (error != 0) {
		if (quorum->connector != NULL)
			(void)connector_free(quorum->connector);
		free(quorum);
		return error;
	}
	*ret_quorum = quorum;
	return 0;
}

void quorum_port_close(struct quorum_port *quorum)
{
	if (quorum == NULL)
		return;
	if (quorum->connected)
		(void)qb_loop_poll_del(quorum->config.loop, quorum->fd);
	if (!connector_free(quorum->connector))
		return;
	if (quorum->handle_open)
		(void)quorum_finalize(quorum->handle);
	free(quorum);
}
