/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of dm-log-userspace, and answers to it (NETLINK_CONNECTOR, group CN_IDX_DM).
 *
 * The kernel's broadcast fails for all listeners at once when one receive buffer is full (hazard B3), so the
 * buffer is megabytes; NETLINK_BROADCAST_ERROR is never set (hazard A1).
 */
#ifndef DAEMON_PORT_NETLINK_H
#define DAEMON_PORT_NETLINK_H

#include "daemon/port/port.h"

struct netlink;

/*
 * Join the group and begin to tell EVENT_KERNEL to config->sink.
 *
 * - `peer_port`: 0 takes requests of the kernel only and answers it. For tests: the port number of another
 * socket of this network namespace, whose requests alone are taken, and which gets the answers.
 * - `lost_fn` (with config->sink.context): the receive buffer overflowed; requests that the kernel does not
 * repeat may be lost: ask device-mapper (device_mapper_ask()).
 *
 * Returns 0, -EPERM without CAP_NET_ADMIN, -EPROTONOSUPPORT without the kernel's connector, or another
 * negative errno.
 */
int netlink_open(const struct port_config *config, uint32_t peer_port, void (*lost_fn)(void *context),
		 struct netlink **ret_netlink);

/*
 * Tell the kernel to ask again at once what a former daemon had in hand (in_hand.h): for the time when all
 * that daemon remembered has been told to the core.
 */
void netlink_answer_former(struct netlink *netlink);

/* EFFECT_REPLY. Never blocks: what cannot be sent now is kept and tried again for a second; after that the
 * kernel asks again anyway. */
void netlink_reply(struct netlink *netlink, const struct effect *effect);

/* What happened since netlink_open(), for metrics. */
struct netlink_counts {
	uint64_t requests, replies;
	uint64_t refused;   /* malformed, answered with -EINVAL */
	uint64_t malformed; /* malformed, could not be answered */
	uint64_t ignored;   /* other senders, or not for us */
	uint64_t lost;	    /* overflows of the receive buffer */
	uint64_t dropped;   /* answers given up */
	uint64_t
	    former; /* requests of a former daemon's that the kernel was told to repeat, or may have been */
};
void netlink_count(const struct netlink *netlink, struct netlink_counts *ret_counts);

/* NULL is allowed. Answers still kept are lost. */
void netlink_close(struct netlink *netlink);

#endif
