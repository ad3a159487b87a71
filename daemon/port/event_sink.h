/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a port puts what it learned: in the daemon the loop, in tests whatever the test wants. */
#ifndef DAEMON_PORT_EVENT_SINK_H
#define DAEMON_PORT_EVENT_SINK_H

#include "daemon/core/core.h"

/* Called in the thread of the loop only. The event is borrowed for the call; `now_ns` is filled in by the
 * sink. */
struct event_sink {
	void (*post)(void *context, const struct event *event);
	void *context;
};

static inline void event_sink_post(const struct event_sink *sink, const struct event *event)
{
	sink->post(sink->context, event);
}

#endif
