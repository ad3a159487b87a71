/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cluster as the core wants it: views, quorum, an order of messages, and who is dead. Chooses between
 * corosync with or without DLM, and no cluster at all, by what was asked for and what was built in.
 */
#ifndef DAEMON_PORT_CLUSTER_H
#define DAEMON_PORT_CLUSTER_H

#include <stdbool.h>

#include "daemon/port/port.h"

struct cluster;

struct cluster_config {
	bool corosync; /* else this node is alone */
	enum fencing fencing;
	node_id_t node; /* cluster_node_id() */
	uint64_t boot_id;
	/* In the loop, with the context of the sink: this daemon must not go on; why is in the log. */
	void (*refused_fn)(void *context);
};

/* Own node id. Blocks as long as corosync takes to answer. Returns 0, -ENOTCONN: corosync is not there yet,
 * or another negative errno. -EOPNOTSUPP: not built in. */
int cluster_node_id(bool corosync, node_id_t *ret_node);

/* The nodes of corosync's configuration, at most `room`; 0 for a lone node. Blocks like the above. */
unsigned cluster_configured(bool corosync, node_id_t *ret_nodes, unsigned room);

/* Connect; events come from the loop. Returns 0 or a negative errno; why is in the log. */
int cluster_open(const struct port_config *config, const struct cluster_config *cluster_config,
		 struct cluster **ret_cluster);

/* EFFECT_SEND, EFFECT_FENCE_*. */
void cluster_perform(struct cluster *cluster, const struct effect *effect);

/* What hinders fencing, a static sentence for the status; NULL when nothing does. */
const char *cluster_fencing_trouble(struct cluster *cluster);

/* NULL is allowed. */
void cluster_close(struct cluster *cluster);

#endif
