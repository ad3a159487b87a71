/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process group of all mirrorlogd (libcpg): one group for all logs, messages in the agreed order.
 *
 * corosync may come and go: EVENT_CLUSTER_LOST, then an attempt a second, in a thread, until it is back; the
 * group is joined again then, and EVENT_VIEW follows.
 */
#ifndef DAEMON_PORT_CPG_H
#define DAEMON_PORT_CPG_H

#include "daemon/port/port.h"

#define CPG_PORT_GROUP "mirrorlogd"

struct cpg_port;

/*
 * Ask corosync which node this is. Blocks as long as corosync takes to answer; for the time before the loop
 * runs. Returns 0, -ENOTCONN when corosync does not run (or is not ready: try again), or another negative
 * errno.
 */
int cpg_port_node_id(node_id_t *ret_node);

/*
 * Begin to join. EVENT_VIEW, EVENT_RING, EVENT_DELIVER, EVENT_CLUSTER_LOST are told from the loop, never from
 * inside a call of this header. `refused_fn` (config->sink.context): this daemon must not run, for another
 * process of node `node` is a member of the group (hazard B14: one daemon a node id). Nothing is told after
 * that. Returns 0 or a negative errno.
 */
int cpg_port_open(const struct port_config *config, node_id_t node, void (*refused_fn)(void *context),
		  struct cpg_port **ret_cpg);

/* EFFECT_SEND. Never blocks: what corosync cannot take now is kept, in order, and tried again. A message that
 * is given while corosync is away is dropped: EVENT_CLUSTER_LOST told so. */
void cpg_port_send(struct cpg_port *cpg, const struct effect *effect);

/* Leave the group and disconnect. NULL is allowed. Waits a second at most for an attempt to connect. */
void cpg_port_close(struct cpg_port *cpg);

#endif
