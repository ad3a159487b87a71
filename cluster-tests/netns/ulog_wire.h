/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's end of the netlink connector, in a network namespace of its own.
 *
 * Requests are multicast to group CN_IDX_DM of this namespace. Replies, which a daemon sends to port 0 on a
 * real host, come to the port given here (the daemon is started with --netlink-peer=PORT): port 0 belongs to
 * the real kernel, and only in the first namespace. Messages are built from the kernel's own headers, not by
 * the daemon's codec.
 */
#ifndef CLUSTER_TESTS_NETNS_ULOG_WIRE_H
#define CLUSTER_TESTS_NETNS_ULOG_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/ulog.h"

/* Returns a non-blocking socket bound to `port`, or a negative errno. The caller closes it. */
int ulog_wire_open(uint32_t port);

/* Does anybody in this namespace listen to the group? The kernel learns it from the broadcast itself; a
 * process does not, so /proc/net/netlink is asked first. Returns 1, 0 or a negative errno. */
int ulog_wire_listened(void);

/* Multicast one request. Returns 0, -ESRCH when nobody listens (as the kernel's broadcast), or a negative
 * errno. */
int ulog_wire_send(int fd, const struct ulog_request *request);

/* Multicast any bytes at all, for tests of a daemon against malformed messages. */
int ulog_wire_send_bytes(int fd, const void *bytes, size_t size_bytes);

/*
 * Take one reply, as cn_ulog_callback() and fill_pkg() read it. `*ret_reply` borrows from `buffer`. Returns
 * 1; 0 when there is none; -EBADMSG for one that the kernel would drop with a complaint; another negative
 * errno.
 */
int ulog_wire_receive(int fd, uint8_t *buffer, size_t room, struct ulog_reply *ret_reply);

#endif
