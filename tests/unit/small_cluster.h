/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A few cores, one agreed order, one log device, all in memory and at once: enough to play a story by hand.
 * What can go wrong in time is the business of tests/sim.
 */
#ifndef TESTS_UNIT_SMALL_CLUSTER_H
#define TESTS_UNIT_SMALL_CLUSTER_H

#include "daemon/core/core.h"
#include "daemon/core/status.h"

#define SMALL_NODES_MAX	   8
#define SMALL_DEVICE_BYTES 262144
#define SMALL_REPLIES_MAX  64

struct small_reply {
	uint32_t seq;
	int error;
	uint32_t data_bytes;
	uint8_t data[512];
};

/* What the run directory holds of the log. */
struct small_run {
	uint8_t meta[4096];
	size_t meta_bytes;
	struct {
		bool used;
		luid_t luid;
		struct region_set held;
	} instances[RUN_INSTANCES_MAX];
	struct region_set bits[RUN_BITS_COUNT];
};

struct small_node {
	struct core *core;
	struct small_run run;
	uint64_t boot;
	bool dies; /* after so many stores of the run directory */
	unsigned stores_left;
	bool dead; /* killed there: nothing of it comes any more */
	bool in_view, in_ring, device_broken, legs_broken;
	bool stopped;		 /* the last answer to CONTROL_STOP* */
	char stopped_text[1024]; /* why, or why not */
	unsigned wakes, legs_flushes, repairs, legs_closes;
	bool legs_open;
	uint32_t device_minor; /* of the log device that was read last */
	bool slow;	       /* a write of the log device, or a copy, takes until small_io_end() */
	struct event slow_end;
	bool flush_slow; /* a flush of the legs, of a former daemon too, until small_flush_end() */
	struct event flush_end;
	node_id_t watches;	    /* whose lock it asked for last (FENCING_DLM) */
	const struct table *tables; /* what device-mapper says when it is asked */
	size_t table_count;
	bool legs_slow; /* what the live table is is told by small_legs_opened() */
	struct event legs_opened;
	struct small_reply replies[SMALL_REPLIES_MAX];
	unsigned reply_count;
};

struct small_message {
	node_id_t node;
	size_t size;
	uint8_t *bytes;
};

struct small_cluster {
	struct small_node nodes[SMALL_NODES_MAX + 1]; /* by node id, from 1 */
	struct small_message queue[4096];
	unsigned queue_head, queue_tail;
	uint64_t now_ns;
	uint64_t ring_seq;
	uint32_t next_seq;
	uint8_t device[SMALL_DEVICE_BYTES];
	unsigned device_writes, messages;
	enum fencing fencing; /* of daemons that start from now on; FENCING_ASSUME */
	const char *uuid;     /* of the log that requests are for; NULL: SMALL_UUID */
	bool print;
	bool ignores_errors; /* tables have no handle_errors */
	bool memory_lost;    /* daemons that start from now on find no run directory */
	bool locks;	     /* DLM grants the own lock of each node */
	bool hold;	     /* messages wait, so that things happen at the same moment */
	bool inquorate;	     /* what a change of the view says of the quorum */
	bool ring_stays;     /* a node whose daemon ended is still in the ring */
};

void small_init(struct small_cluster *cluster);
void small_fini(struct small_cluster *cluster);

/* A daemon starts and joins; with a new boot id when `boot` differs from the last. */
void small_join(struct small_cluster *cluster, node_id_t node, uint64_t boot);

/* The daemon ends (its memory and run state are gone), or the whole node. */
void small_leave(struct small_cluster *cluster, node_id_t node, bool node_down);

/* A running daemon loses corosync, and has it back. */
void small_lost(struct small_cluster *cluster, node_id_t node);
void small_back(struct small_cluster *cluster, node_id_t node);

/* The node, which has left for the others, is a part of its own, and has lost one that is lost already. */
void small_apart(struct small_cluster *cluster, node_id_t node, node_id_t gone);

/* The daemon starts again in the same boot, with what the run directory holds. */
void small_restart(struct small_cluster *cluster, node_id_t node);

/* It is killed and cannot end: the next takes its place while a write of the log device, or a copy, is in
 * flight until small_io_end(). */
void small_replace(struct small_cluster *cluster, node_id_t node, bool writing, bool copying);

/* Deliver and carry out everything there is to do now. */
void small_settle(struct small_cluster *cluster);
/* The next messages, while others wait (`hold`). */
void small_deliver(struct small_cluster *cluster, unsigned count);
void small_advance(struct small_cluster *cluster, uint64_t ns);

/* A request of the kernel of a node; returns its seq. */
uint32_t small_request(struct small_cluster *cluster, node_id_t node, enum ulog_type type, luid_t luid,
		       const void *data, uint32_t data_bytes);
uint32_t small_region(struct small_cluster *cluster, node_id_t node, enum ulog_type type, luid_t luid,
		      uint64_t region);

/* The reply to a seq, or NULL when there is none yet. */
const struct small_reply *small_reply(const struct small_cluster *cluster, node_id_t node, uint32_t seq);
uint64_t small_reply_u64(const struct small_cluster *cluster, node_id_t node, uint32_t seq, unsigned index);

/* Device-mapper says that no table of the log is left on the node. */
void small_no_tables(struct small_cluster *cluster, node_id_t node);

/* device-mapper has these. */
void small_tables(struct small_cluster *cluster, node_id_t node, const struct table *tables, size_t count);
/* It had these then. */
void small_tables_of(struct small_cluster *cluster, node_id_t node, const struct table *tables, size_t count,
		     uint64_t asked_ns);

/* The lock of another node is granted to it. */
void small_node_dead(struct small_cluster *cluster, node_id_t node, node_id_t dead, uint64_t boot);

/* A daemon that speaks another version of the protocol joins in the place of the node's. */
void small_join_version(struct small_cluster *cluster, node_id_t node, uint64_t boot, uint16_t version);

/* The table's legs were found. */
void small_legs_opened(struct small_cluster *cluster, node_id_t node, struct event opened);

/* What is slow is over; a flush with that error. */
void small_io_end(struct small_cluster *cluster, node_id_t node);
void small_flush_end(struct small_cluster *cluster, node_id_t node, int error);

/* A command of the administrator on a node. The answer to CONTROL_STOP* is in `stopped` of the node. */
void small_repair_rate(struct small_cluster *cluster, node_id_t node, const char *uuid, uint64_t rate);
void small_control(struct small_cluster *cluster, node_id_t node, enum control_command command,
		   node_id_t about, const char *uuid);

/* The quorum comes or goes, for all nodes of the view. */
void small_quorum(struct small_cluster *cluster, bool quorate);
void small_quorum_of(struct small_cluster *cluster, node_id_t node, bool quorate);

#define SMALL_UUID "LVM-small"

#endif
