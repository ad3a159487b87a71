/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connecting to a service whose library can only do so by blocking: a thread tries once a second until it
 * succeeds, so that the loop, which answers the kernel, never waits for a service that is frozen.
 */
#ifndef DAEMON_PORT_CONNECTOR_H
#define DAEMON_PORT_CONNECTOR_H

#include <stdbool.h>

#include <qb/qbloop.h>

struct connector;

struct connector_calls {
	/* In the thread of the connector: returns 0 when connected, or a negative errno: tried again in a
	 * second. */
	int (*attempt)(void *context);
	/* In the thread of the loop, after an attempt that returned 0. What the attempt wrote can be read. */
	void (*connected)(void *context);
	void *context;
};

/* Returns NULL when memory or descriptors are short. All functions are for the thread of the loop. */
struct connector *connector_new(qb_loop_t *loop, const struct connector_calls *calls);

/* Begin to try; nothing happens when attempts are under way. Returns 0 or a negative errno. */
int connector_start(struct connector *connector);

/* Returns true when no attempt is or will be running: the context may be freed. False: the service holds an
 * attempt; the context must stay until the process ends. The connector is gone for the caller either way. */
bool connector_free(struct connector *connector);

#endif
