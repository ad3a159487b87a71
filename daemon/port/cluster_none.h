/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --cluster=none: a cluster of this node alone, without corosync. Always quorate, and its order is the order
 * of sending. */
#ifndef DAEMON_PORT_CLUSTER_NONE_H
#define DAEMON_PORT_CLUSTER_NONE_H

#include "daemon/port/port.h"

#define CLUSTER_NONE_NODE ((node_id_t)1)

struct cluster_none;

/* EVENT_VIEW, EVENT_RING and EVENT_QUORUM are told from the loop, once, soon. Returns 0 or a negative errno.
 */
int cluster_none_open(const struct port_config *config, struct cluster_none **ret_cluster);

/* EFFECT_SEND: EVENT_DELIVER follows from the loop, in the order of the calls. */
void cluster_none_send(struct cluster_none *cluster, const struct effect *effect);

/* What was sent and not delivered yet is dropped. NULL is allowed. */
void cluster_none_close(struct cluster_none *cluster);

#endif
