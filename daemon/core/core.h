/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of one node: all logs, no I/O.
 *
 * core_step() takes one event and returns the ordered list of what has to be done. The caller (daemon/loop.c,
 * or the simulator) carries the effects out in that order, one after the other. The order is part of the
 * contract: an effect that makes something durable (run state) stands before the reply that depends on it.
 *
 * The core has no clock (each event brings `now_ns`), no random numbers, no file-scope state, and calls no
 * library of the cluster. The same events in the same order give the same effects, byte for byte.
 */
#ifndef DAEMON_CORE_CORE_H
#define DAEMON_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/region_set.h"
#include "common/types.h"
#include "protocol/ulog.h"

enum fencing { FENCING_DLM, FENCING_NONE, FENCING_ASSUME };

/* Most nodes of a cluster: CPG_MEMBERS_MAX of corosync/cpg.h. */
#define CORE_NODES_MAX 128

/* What a core is told once. Durations in nanoseconds. */
struct core_config {
	node_id_t node;	  /* own node id, not NODE_NONE */
	uint64_t boot_id; /* differs after each boot of the node (hazard A10) */
	uint64_t
	    incarnation; /* differs after each start of a daemon on this node: any value not used before */
	enum fencing fencing;	 /* who says that a node is dead (hazards A9, B13) */
	uint64_t linger_ns;	 /* how long a cleared mark is kept */
	uint32_t linger_regions; /* how many cleared marks a log keeps at most */
	bool run_state_lost;	 /* nothing, or not all, of this boot is in the run directory (hazard A10) */
	bool repair_paused;	 /* start with the repair of ghosts paused */
	uint64_t repair_rate;	 /* of ghosts, for each log, bytes a second at most; 0: no limit */
	/* Nodes of the cluster's configuration, up or not: when nobody knows the state, each of them may hold
	 * marks. */
	node_id_t configured[CORE_NODES_MAX];
	unsigned configured_count;
};

/* --- events
 * -------------------------------------------------------------------------------------------------- */

enum event_type {
	EVENT_RUN_LOG,	    /* at start, once for each log found in the run directory, before anything else */
	EVENT_TABLES,	    /* what device-mapper has: at start after EVENT_RUN_LOG, and after a lost netlink
			       message */
	EVENT_KERNEL,	    /* a decoded request of the kernel */
	EVENT_VIEW,	    /* one configuration change callback of CPG */
	EVENT_RING,	    /* cpg_totem_confchg: the ring that the last EVENT_VIEW belongs to */
	EVENT_QUORUM,	    /* quorum notification: quorate or not, for which ring, with which nodes */
	EVENT_DELIVER,	    /* a message in the agreed order, own ones too */
	EVENT_CLUSTER_LOST, /* the connection to corosync broke: the next EVENT_VIEW is a new join */
	EVENT_NODE_DEAD,    /* fencing says, or an administrator confirms, that a node is dead */
	EVENT_FENCE_HELD,   /* answer to EFFECT_FENCE_HOLD: others can now learn of this node's death */
	EVENT_DEVICE_READ,  /* answer to EFFECT_DEVICE_READ */
	EVENT_DEVICE_WRITTEN, /* answer to EFFECT_DEVICE_WRITE */
	EVENT_LEGS_FLUSHED,   /* answer to EFFECT_LEGS_FLUSH */
	EVENT_REPAIRED,	      /* answer to EFFECT_REPAIR */
	EVENT_LEGS_OPENED,    /* answer to EFFECT_LEGS_OPEN: what the live table says of itself */
	EVENT_TIMER,	      /* core_deadline_ns() has passed */
	EVENT_CONTROL,	      /* a command of the administrator */
};

/* Persistent bits of a log in the run directory; RUN_HELD is kept for each instance, the others for each log.
 */
enum run_bits {
	RUN_HELD,     /* the kernel holds a mark through this instance */
	RUN_MARKED,   /* this node has, or may have, a mark in the cluster's state (held or lingering) */
	RUN_UNSYNCED, /* the instances of this node were told IN_SYNC 0 */
	RUN_GHOST,    /* marks of nodes known dead, not yet repaired */
	RUN_FAILED,   /* set out of sync by a leg failure under running instances */
	RUN_WORK,     /* handed out for recovery to the kernel of this node, which has not reported yet */
	RUN_FLUSH,    /* bit 0: a flush of the legs is under way, by itself or behind a copy */
	RUN_BITS_COUNT
};

#define RUN_INSTANCES_MAX 16

/* A log as the run directory had it. Borrowed for the call. */
struct run_log {
	const char *uuid;
	const uint8_t *meta; /* bytes of the last EFFECT_RUN_META of this log */
	size_t meta_bytes;
	struct {
		luid_t luid;
		const struct region_set *held;
	} instances[RUN_INSTANCES_MAX];
	unsigned instance_count;
	const struct region_set *bits[RUN_BITS_COUNT]; /* [RUN_HELD] is NULL */
	/* A killed daemon that cannot end has a write of the log device in flight, a copy of EFFECT_REPAIR, a
	 * flush of EFFECT_LEGS_FLUSH, behind which one of this daemon waits. */
	bool writing, copying, flushing;
};

/* One mirror table of this host that uses dm-log-userspace with a clustered log. */
struct table {
	const char *uuid; /* of the log */
	bool live;	  /* the active table; else the inactive one */
	bool suspended;
};

enum view_reason {
	VIEW_JOIN,
	VIEW_LEAVE,
	VIEW_NODE_DOWN,
	VIEW_NODE_UP,
	VIEW_PROCESS_DOWN,
	VIEW_REPLACED /* left: another process speaks for the node; the killed one has not ended, nor what
		       * hangs in it
		       */
};

struct view_change {
	node_id_t node;
	enum view_reason reason;
};

struct ring {
	uint64_t seq;
	node_id_t representative;
};

enum control_command {
	CONTROL_CONFIRM_DEAD, /* node */
	CONTROL_STOP, /* SIGTERM: leave when nothing is resumed, else say why not (EFFECT_STOPPED answers) */
	CONTROL_STOP_FORCED, /* told twice: leave whatever is resumed */
	CONTROL_FAIL_KEPT,   /* turn requests that wait for quorum into -EIO (hazard B5); uuid or NULL for all
			      */
	CONTROL_REPAIR_PAUSE,
	CONTROL_REPAIR_RESUME,
	CONTROL_REPAIR_RATE, /* rate; uuid or NULL for all logs, later ones too */
};

struct event {
	enum event_type type;
	uint64_t now_ns; /* monotonic, counts suspend time (CLOCK_BOOTTIME) */
	union {
		struct run_log run_log;
		struct {
			const struct table *tables;
			size_t count;
			uint64_t asked_ns; /* when device-mapper was asked: later tables are not missing from
					      the answer */
		} tables;
		struct ulog_request kernel;
		struct {
			const node_id_t *members;
			size_t member_count;
			const struct view_change *joined, *left;
			size_t joined_count, left_count;
		} view;
		struct ring ring;
		struct {
			bool quorate;
			struct ring ring;
			const node_id_t *nodes; /* of the ring, with or without a daemon */
			size_t node_count;
		} quorum;
		struct {
			node_id_t node; /* sender */
			const uint8_t *bytes;
			size_t size;
		} deliver;
		struct {
			node_id_t node;
			uint64_t boot_id; /* 0: whatever it is */
		} node_dead;
		/* EVENT_DEVICE_*, EVENT_LEGS_FLUSHED, EVENT_REPAIRED: `log` and `token` are those of the
		 * effect. */
		struct {
			uint32_t log;
			uint64_t token;
			int error;	      /* 0 or negative errno */
			const uint8_t *bytes; /* EVENT_DEVICE_READ: the whole area asked for; shorter: the
						 device is too small */
			size_t size;
			uint32_t block_bytes; /* EVENT_DEVICE_READ: unit of a write, a power of two, 512 ..
						 65536 */
		} io;
		/* EVENT_LEGS_OPENED: `log` and `token` are those of the effect. */
		struct {
			uint32_t log;
			uint64_t token;
			bool handles_errors; /* false also when the table was not found */
		} legs;
		struct {
			enum control_command command;
			node_id_t node;
			const char *uuid;
			uint64_t rate; /* bytes a second, 0: no limit */
		} control;
	};
};

/* --- effects
 * ------------------------------------------------------------------------------------------------- */

enum effect_type {
	EFFECT_REPLY, /* answer the kernel */
	EFFECT_SEND,  /* multicast to the group, agreed order; kept by the port through CS_ERR_TRY_AGAIN. One
		       * at a  time: the core sends the next only after the delivery of the last */
	EFFECT_DEVICE_READ, /* open the log device (by MAJ:MIN, O_DIRECT) if it is not open, read `size` bytes
			       from 0 */
	EFFECT_DEVICE_WRITE, /* write the extents, durable when answered */
	EFFECT_DEVICE_CLOSE, /* no answer; nothing is in flight */
	EFFECT_DEVICE_WAIT,  /* run_log.writing: EVENT_DEVICE_WRITTEN answers when that write has ended */
	EFFECT_LEGS_FLUSH, /* flush the write caches of all legs of the live table of this log (hazard B7) */
	EFFECT_LEGS_OPEN,  /* the table of this log is live: find out its legs. A `dmsetup remove`
			    * hides  the table before it suspends it, and the last flush needs them */
	EFFECT_LEGS_CLOSE, /* close every descriptor of legs of this log (hazard A14); nothing is in flight */
	EFFECT_REPAIR,	   /* copy first leg to all others, O_DIRECT, flush */
	EFFECT_REPAIR_WAIT, /* run_log.copying: EVENT_REPAIRED (an error) answers when that copy has ended */
	EFFECT_WAKE,   /* read one sector of the live mirror, O_DIRECT, from a helper thread (hazard B1) */
	EFFECT_TABLES, /* ask device-mapper for its tables; EVENT_TABLES answers */
	EFFECT_FENCE_HOLD,    /* take this node's own persistent lock; EVENT_FENCE_HELD answers */
	EFFECT_FENCE_RELEASE, /* purge it: nothing is resumed on this node any more */
	EFFECT_FENCE_WATCH,   /* find out when that node (that boot) is dead; EVENT_NODE_DEAD answers */
	EFFECT_FENCE_UNWATCH,
	EFFECT_RUN_META, /* keep these bytes for the log in the run directory, in place of the former */
	EFFECT_RUN_BITS, /* set or clear a range of persistent bits; no system call, a shared mapping */
	EFFECT_RUN_DROP, /* forget an instance (luid) or, with luid 0, the log with all its bits */
	EFFECT_LOG,	 /* a line for the log of the daemon */
	EFFECT_STOPPED,	 /* answer to CONTROL_STOP*: the daemon may exit now */
};

/* Data of a write: `data` holds the extents' bytes one after the other. Offsets and sizes are multiples of
 * the block. */
struct device_extent {
	uint64_t offset_bytes;
	uint32_t size_bytes;
};

struct effect {
	enum effect_type type;
	uint32_t
	    log; /* handle of the log on this node, for effects and events that belong to one; 0 is none */
	uint64_t token;	  /* given back with the answering event */
	const char *uuid; /* of the log, or NULL */
	union {
		struct {
			uint32_t seq;
			luid_t luid;
			int error; /* 0 or negative errno */
			bool bare; /* a bare acknowledgement carries the error only */
			const uint8_t *data;
			uint32_t data_bytes;
		} reply;
		struct {
			const uint8_t *bytes;
			size_t size;
		} send;
		struct {
			uint32_t major, minor;
			size_t size;
		} device_read;
		struct {
			const struct device_extent *extents;
			size_t extent_count;
			const uint8_t *data;
			size_t data_bytes;
		} device_write;
		struct {
			uint64_t first_sector, sectors;
		} repair;
		struct {
			node_id_t node;
			uint64_t boot_id;
		} fence;
		struct {
			const uint8_t *bytes;
			size_t size;
			uint64_t region_count; /* size of the bit files of this log */
		} run_meta;
		struct {
			luid_t luid; /* RUN_HELD only */
			enum run_bits kind;
			region_t first;
			uint64_t count;
			bool set;
			uint64_t region_count;
		} run_bits;
		struct {
			luid_t luid;
		} run_drop;
		struct {
			int priority; /* LOG_ERR .. LOG_DEBUG of syslog(3) */
			const char *text;
		} log_line;
		struct {
			bool stopped; /* false: refused; `text` says why */
			const char *text;
		} stopped;
	};
};

/* Effects of one step, in order. All memory belongs to the core and is valid until the next call of
 * core_step(). */
struct effects {
	const struct effect *items;
	size_t count;
};

struct core;

/* Returns NULL when memory is short. The caller owns the core and frees it with core_free(). */
struct core *core_new(const struct core_config *config);
void core_free(struct core *core);

/* Never fails, never blocks. What `event` points to is borrowed for the call. */
void core_step(struct core *core, const struct event *event, struct effects *ret_effects);

/* When EVENT_TIMER is due at the latest; UINT64_MAX: never. */
uint64_t core_deadline_ns(const struct core *core);

#endif
