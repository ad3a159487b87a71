/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nodes that corosync is configured with (corosync.conf(5), nodelist), by libcmap. */
#ifndef DAEMON_PORT_NODELIST_H
#define DAEMON_PORT_NODELIST_H

#include <stdbool.h>

#include "common/types.h"

/* Fills at most `room` node ids in; returns how many, 0 when corosync does not tell. Blocks as long as it
 * takes. */
unsigned nodelist_read(node_id_t *ret_nodes, unsigned room);

#endif
