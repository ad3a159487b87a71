/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one request costs when there are many logs: the same requests, to one log, in a core that has 1 log
 * and in one that has 2,000. Prints requests a second of both and their ratio; fails when many logs cost more
 * than ALLOWED times as much. What idle logs still cost is a glance at each in each step: is there anything
 * to send, when is it due? A search among them would cost thousands of times as much.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/core/core.h"

#define MANY	 2000
#define REQUESTS 20000
#define ALLOWED	 1000.0
#define LOG_LINE "65536 clustered-core 1024 nosync"

struct host {
	struct core *core;
	uint32_t seq;
	uint64_t now_ns;
	unsigned answers;
};

static void step(struct host *host, struct event *event)
{
	struct effects effects;
	uint8_t *sent = NULL;
	size_t size = 0;

	event->now_ns = host->now_ns += 1000;
	core_step(host->core, event, &effects);
	for (size_t i = 0; i < effects.count; i++) {
		const struct effect *effect = &effects.items[i];

		host->answers += effect->type == EFFECT_REPLY && !effect->reply.error;
		if (effect->type != EFFECT_SEND)
			continue;
		size = effect->send.size;
		sent = malloc(size);
		if (!sent)
			abort();
		memcpy(sent, effect->send.bytes, size);
	}
	(void)core_deadline_ns(host->core); /* as the loop does after each step */
	if (sent) {
		struct event deliver = {.type = EVENT_DELIVER,
					.deliver = {.node = 1, .bytes = sent, .size = size}};

		step(host, &deliver);
		free(sent);
	}
}

static void request(struct host *host, unsigned log, enum ulog_type type, const void *data, uint32_t size)
{
	struct event event = {.type = EVENT_KERNEL};

	event.kernel.seq = ++host->seq;
	event.kernel.type = type;
	event.kernel.version = 3;
	event.kernel.luid = log + 1;
	snprintf(event.kernel.uuid, sizeof(event.kernel.uuid), "LVM-%u", log);
	event.kernel.data = data;
	event.kernel.data_bytes = size;
	step(host, &event);
}

static void host_join(struct host *host)
{
	static const node_id_t self = 1;
	const struct view_change joined = {.node = 1, .reason = VIEW_JOIN};
	const struct ring ring = {.seq = 4, .representative = 1};
	struct event event = {.type = EVENT_VIEW};

	event.view.members = &self;
	event.view.member_count = 1;
	event.view.joined = &joined;
	event.view.joined_count = 1;
	step(host, &event);
	event = (struct event){.type = EVENT_RING, .ring = ring};
	step(host, &event);
	event = (struct event){.type = EVENT_QUORUM};
	event.quorum.quorate = true;
	event.quorum.ring = ring;
	event.quorum.nodes = &self;
	event.quorum.node_count = 1;
	step(host, &event);
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Requests a second to the log in the middle: a question, a mark, a flush of it, a clear. */
static double measure(unsigned logs)
{
	const struct core_config config = {.node = 1,
					   .boot_id = 1,
					   .incarnation = 100,
					   .fencing = FENCING_ASSUME,
					   .linger_ns = 2000,
					   .linger_regions = 8};
	struct host host = {.core = core_new(&config), .now_ns = 1000000000};
	double begin;

	host_join(&host);
	for (unsigned log = 0; log < logs; log++) {
		request(&host, log, ULOG_CTR, LOG_LINE, sizeof(LOG_LINE) - 1);
		request(&host, log, ULOG_RESUME, NULL, 0);
	}
	host.answers = 0;
	begin = now_seconds();
	for (unsigned i = 0; i < REQUESTS / 4; i++) {
		uint64_t region = i % 64;

		request(&host, logs / 2, ULOG_IN_SYNC, &region, sizeof(region));
		request(&host, logs / 2, ULOG_MARK_REGION, &region, sizeof(region));
		request(&host, logs / 2, ULOG_FLUSH, NULL, 0);
		request(&host, logs / 2, ULOG_CLEAR_REGION, &region, sizeof(region));
	}
	begin = now_seconds() - begin;
	if (host.answers != REQUESTS) {
		printf("%u of %d requests were answered\n", host.answers, REQUESTS);
		exit(1);
	}
	core_free(host.core);
	return REQUESTS / begin;
}

int main(void)
{
	double one = measure(1), many = measure(MANY), ratio = one / many;

	printf("1 log: %.0f requests/s; %d logs: %.0f requests/s; ratio %.1f (at most %.1f)\n", one, MANY,
	       many, ratio, ALLOWED);
	return ratio <= ALLOWED ? 0 : 1;
}
