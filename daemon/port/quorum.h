/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Quorum (libquorum, model v1: with ring ids). It is another connection than that of CPG, and may speak
 * before or after it of the same ring (hazard A5): the ring id in EVENT_QUORUM lets the core match them.
 */
#ifndef DAEMON_PORT_QUORUM_H
#define DAEMON_PORT_QUORUM_H

#include "daemon/port/port.h"

struct quorum_port;

/*
 * Begin to tell EVENT_QUORUM, from the loop. When the connection breaks, an EVENT_QUORUM says "inquorate" for
 * the ring last known, and an attempt a second follows, in a thread. Returns 0 or a negative errno.
 */
int quorum_port_open(const struct port_config *config, struct quorum_port **ret_quorum);

/* NULL is allowed. Waits a second at most for an attempt to connect. */
void quorum_port_close(struct quorum_port *quorum);

#endif
