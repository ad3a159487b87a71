/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket of mirrorlogctl in the run directory (protocol/control.h says what goes over it). For root only,
 * by its mode.
 *
 * Nobody on the other end can hold up the daemon: sockets do not block, a client is not read while its answer
 * waits, and one that does not take its answer in time, or is idle when others want in, is dropped.
 */
#ifndef DAEMON_PORT_CONTROL_H
#define DAEMON_PORT_CONTROL_H

#include "daemon/core/status.h"
#include "daemon/port/netlink.h"
#include "daemon/port/port.h"

#define CONTROL_CLIENTS_MAX	  16
#define CONTROL_ANSWER_MAX	  ((size_t)16 * 1024 * 1024)
#define CONTROL_CLIENT_PATIENCE_S 10

/* Where answers come from; called from the loop, `context` is that of config->sink. */
struct control_source {
	struct core_status *(*status_new)(void *context); /* NULL: memory is short */
	void (*netlink_count)(void *context, struct netlink_counts *ret_counts);
};

struct control;

/*
 * Bind DIR/control.sock, dir being config->run_dir; who has opened the run directory owns it, so what is
 * there is replaced. Commands are told as EVENT_CONTROL, from the loop. Returns 0 or a negative errno;
 * -ENAMETOOLONG: the path does not fit a socket address.
 */
int control_open(const struct port_config *config, const struct control_source *source,
		 struct control **ret_control);

/* Drop all clients and remove the socket. NULL is allowed. */
void control_close(struct control *control);

#endif
