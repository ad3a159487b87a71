/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fencing as DLM knows it (libdlm, hazard A9). In the lockspace "mirrorlogd" each node holds an EX lock,
 * persistent and named by node. dlm_controld stops the lockspace until a failed node is fenced; so
 * who is then granted the lock of another node knows that it is dead.
 *
 * All calls that may block, as every lock call does while the lockspace is stopped, are made by a thread of
 * the port.
 */
#ifndef DAEMON_PORT_DLM_H
#define DAEMON_PORT_DLM_H

#include "daemon/port/port.h"

#define DLM_PORT_LOCKSPACE "mirrorlogd"

struct dlm_port;

/*
 * Look at dlm_controld, and join the lockspace. Blocks for some seconds; a lockspace that takes longer (no
 * quorum, a node is being fenced) is joined later. `refused_fn` (config->sink.context), from the loop: it
 * could not be joined after all. Returns 0; -ENOTCONN: dlm_controld does not run, or there is no lockspace;
 * -EPERM: it runs without fencing, and its word is worth nothing; or another negative errno. Why, and what
 * else to choose, is in the log.
 */
int dlm_port_open(const struct port_config *config, node_id_t node, uint64_t boot_id,
		  void (*refused_fn)(void *context), struct dlm_port **ret_dlm);

/*
 * EFFECT_FENCE_HOLD: EVENT_FENCE_HELD follows when the lock is held; that of a former daemon of this boot is
 * adopted. EFFECT_FENCE_RELEASE. EFFECT_FENCE_WATCH: EVENT_NODE_DEAD follows when the node is dead, unless
 * EFFECT_FENCE_UNWATCH comes first. Never blocks.
 */
void dlm_port_perform(struct dlm_port *dlm, const struct effect *effect);

/* What is to be waited for or mended, a static sentence for the status; NULL when all is well. */
const char *dlm_port_trouble(struct dlm_port *dlm);

/* Leave the lockspace, unless a lock is still held in it. NULL is allowed. Waits for a stopped lockspace a
 * second. */
void dlm_port_close(struct dlm_port *dlm);

#endif
