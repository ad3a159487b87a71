/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/cluster_none.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Any fixed ring will do; 0 is what nobody would expect of corosync. */
#define RING_SEQ UINT64_C(1)

struct message {
	TAILQ_ENTRY(message) entry;
	size_t size;
	uint8_t bytes[];
};

struct cluster_none {
	struct port_config config;
	bool joined, job_queued;
	TAILQ_HEAD(messages, message) messages;
};

static void event_tell(const struct cluster_none *cluster, const struct event *event)
{
	event_sink_post(&cluster->config.sink, event);
}

static void join_tell(struct cluster_none *cluster)
{
	static const node_id_t self = CLUSTER_NONE_NODE;
	static const struct view_change join = {.node = CLUSTER_NONE_NODE, .reason = VIEW_JOIN};
	const struct ring ring = {.seq = RING_SEQ, .representative = CLUSTER_NONE_NODE};
	struct event view = {.type = EVENT_VIEW}, ring_event = {.type = EVENT_RING, .ring = ring},
		     quorum = {.type = EVENT_QUORUM};

	view.view.members = &self;
	view.view.member_count = 1;
	view.view.joined = &join;
	view.view.joined_count = 1;
	quorum.quorum.quorate = true;
	quorum.quorum.ring = ring;
	quorum.quorum.nodes = &self;
	quorum.quorum.node_count = 1;
	event_tell(cluster, &view);
	event_tell(cluster, &ring_event);
	event_tell(cluster, &quorum);
}

/* One message a turn of the loop: what it makes the core send comes behind what else is ready. */
static void on_turn(void *data);

static void turn_queue(struct cluster_none *cluster)
{
	if (cluster->job_queued)
		return;
	if (qb_loop_job_add(cluster->config.loop, QB_LOOP_HIGH, cluster, on_turn) != 0)
		abort(); /* no memory: see port_alloc() */
	cluster->job_queued = true;
}

static void on_turn(void *data)
{
	struct cluster_none *cluster = data;
	struct message *message;
	struct event event = {.type = EVENT_DELIVER};

	cluster->job_queued = false;
	if (!cluster->joined) {
		cluster->joined = true;
		join_tell(cluster);
		return;
	}
	message = TAILQ_FIRST(&cluster->messages);
	if (message == NULL)
		return;
	TAILQ_REMOVE(&cluster->messages, message, entry);
	if (!TAILQ_EMPTY(&cluster->messages))
		turn_queue(cluster);
	event.deliver.node = CLUSTER_NONE_NODE;
	event.deliver.bytes = message->bytes;
	event.deliver.size = message->size;
	event_tell(cluster, &event);
	free(message);
}

int cluster_none_open(const struct port_config *config, struct cluster_none **ret_cluster)
{
	struct cluster_none *cluster = port_alloc(sizeof(*cluster));

	cluster->config = *config;
	TAILQ_INIT(&cluster->messages);
	turn_queue(cluster);
	*ret_cluster = cluster;
	return 0;
}

void cluster_none_send(struct cluster_none *cluster, const struct effect *effect)
{
	struct message *message = port_alloc(sizeof(*message) + effect->send.size);

	assert(effect->type == EFFECT_SEND);
	message->size = effect->send.size;
	memcpy(message->bytes, effect->send.bytes, effect->send.size);
	TAILQ_INSERT_TAIL(&cluster->messages, message, entry);
	turn_queue(cluster);
}

void cluster_none_close(struct cluster_none *cluster)
{
	struct message *message;

	if (cluster == NULL)
		return;
	(void)qb_loop_job_del(cluster->config.loop, QB_LOOP_HIGH, cluster, on_turn);
	while ((message = TAILQ_FIRST(&cluster->messages)) != NULL) {
		TAILQ_REMOVE(&cluster->messages, message, entry);
		free(message);
	}
	free(cluster);
}
