/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A copy of what a core knows, for people and programs that watch it. Reading it changes nothing. */
#ifndef DAEMON_CORE_STATUS_H
#define DAEMON_CORE_STATUS_H

#include "daemon/core/core.h"

#define STATUS_TEXT_BYTES 160

/* A node as one log sees it. */
struct status_member {
	node_id_t node;
	const char *state; /* "member", "joining", "daemon-gone", "undecided", "awaited" (static string) */
	unsigned instances;
	unsigned resumed;
	uint64_t marks; /* regions */
};

struct status_log {
	char uuid[LOG_UUID_BYTES];
	bool disk;
	char device[32]; /* MAJ:MIN on this node, empty for a core log */
	char health;	 /* A, D, F, R as in `dmsetup status`; A for a core log */
	uint64_t region_count;
	uint64_t region_size_sectors;
	uint64_t synced_regions; /* neither out of sync nor ghost */
	uint64_t unsynced_regions, ghost_regions, failed_regions;
	uint64_t held_regions, lingering_regions; /* of this node */
	bool repair_claimed;			  /* by the recoverer, for `repair_region` */
	region_t repair_region;
	uint64_t repaired_regions;	   /* by this daemon */
	uint64_t repair_rate;		   /* of this daemon, bytes a second, 0: no limit */
	node_id_t writer, recoverer;	   /* NODE_NONE: nobody */
	uint32_t waiting_requests;	   /* of this node's kernel */
	uint64_t digest;		   /* of the replicated state of the log */
	char waits_for[STATUS_TEXT_BYTES]; /* one sentence, empty when nothing is waited for */
	struct status_member *members;
	size_t member_count;
};

struct status_node {
	node_id_t node;
	const char *state; /* "ready", "joining", "gone", "undecided", "refused" (static string) */
	uint64_t boot_id;
};

struct core_status {
	node_id_t node;
	uint64_t boot_id;
	bool connected, quorate, active, ready;
	uint64_t epoch;
	uint64_t digest; /* of the whole replicated state */
	char waits_for[STATUS_TEXT_BYTES];
	struct status_node *nodes;
	size_t node_count;
	struct status_log *logs;
	size_t log_count;
	/* Since start: requests answered, messages sent and delivered, device writes, each by this daemon. */
	uint64_t requests, messages_sent, messages_delivered, device_writes, device_write_bytes;
	/* Queues: how full they are, and how often one was full (protocol/README). */
	uint64_t records_waiting, backlog_bytes;
	uint64_t waiting_dropped, records_dropped, backlog_overflows;
	bool repair_paused;
};

/* Returns a new copy, NULL when memory is short. The caller frees it with core_status_free(). */
struct core_status *core_status_new(const struct core *core);
void core_status_free(struct core_status *status);

#endif
