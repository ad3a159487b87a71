/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cluster in one process, in virtual time: cores of the daemon, and models of what is around them.
 *
 *   sim.c    events, time, random numbers, trace
 *   group.c  corosync: rings, agreed order, CPG, quorum, and fencing
 *   host.c   a node: its kernel (tests/model), its daemon (daemon/core), the run directory
 *   disk.c   legs and log devices as data, with caches that a power cut empties
 *   stack.c  a log device that lies on another mirror
 *   work.c   what users and LVM do: reads, writes, suspend, reload, remove
 *   fault.c  what goes wrong
 *   observe.c  what a step did
 *   truth.c  what the guarantees look at, kept up from step to step
 *   check.c  the guarantees of the design, by number
 *
 * One seed is one run: everything random comes from sim_random(), and no address, time or hash of the process
 * matters.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>

#include "daemon/core/core.h"
#include "tests/model/kernel.h"
#include "tests/sim/mutant.h"
#include "tests/sim/script.h"

#define SIM_NODES	   16
#define SIM_LOGS	   2
#define SIM_REGIONS	   48
#define SIM_BLOCKS	   2
#define SIM_LEGS	   2
#define SIM_IMAGE	   8192
#define SIM_REGION_SECTORS 1024
#define SIM_VALUES	   8
#define US		   UINT64_C(1000)
#define MS		   UINT64_C(1000000)
#define SECOND		   UINT64_C(1000000000)

enum fault_kind {
	FAULT_KILL,	 /* the daemon dies, restarts later */
	FAULT_PAUSE,	 /* the daemon stops for a while */
	FAULT_NODE,	 /* a node dies, boots later */
	FAULT_PARTITION, /* the network splits, heals later */
	FAULT_COROSYNC,	 /* corosync of a node restarts */
	FAULT_POWER,	 /* all nodes lose power */
	FAULT_DEVICE,	 /* log device errors on one node or all */
	FAULT_MEMORY,	 /* a daemon dies, and its run directory is lost: it knows that it was there */
	FAULT_LIFE,	 /* suspend, reload, remove under load */
	FAULT_LEG,	 /* a node's path to a leg fails, or all do; then LVM repairs */
	FAULT_SILENT,	 /* no event: some tables have no handle_errors, or keep_log */
	FAULT_STACK,	 /* no event: in some runs a log device lies on another mirror */
	FAULT_KINDS
};

enum sim_event_type {
	SIM_DAEMON,	/* an input of a daemon */
	SIM_TIMER,	/* its deadline */
	SIM_KERNEL_RUN, /* the kernel gets the processor */
	SIM_REPLY,	/* a reply of the daemon reaches the kernel */
	SIM_LEG,	/* a leg operation of the kernel lands */
	SIM_REPAIR,	/* a step of a daemon's repair */
	SIM_DEVICE_READ,
	SIM_DEVICE_WRITE,
	SIM_LEGS_FLUSH,
	SIM_ORDER,  /* a message of a node gets its place in the order */
	SIM_ITEM,   /* an ordered item reaches a node */
	SIM_REFORM, /* the ring forms anew */
	SIM_FENCE,  /* a node is to be fenced */
	SIM_WORK,   /* a node's users do something */
	SIM_FAULT,  /* something goes wrong */
	SIM_DAEMON_START,
	SIM_DAEMON_RESUME,
	SIM_NODE_DIE,
	SIM_NODE_BOOT,
	SIM_SPLIT, /* a partition begins */
	SIM_HEAL,  /* a partition ends */
	SIM_COROSYNC_START,
	SIM_DEVICE_MEND,
	SIM_LEG_MEND,
	SIM_SCRIPT, /* a line of a script */
	SIM_SETTLE  /* after all faults: is everything quiet? */
};

struct input {
	struct event event;
	uint8_t *bytes;	      /* owned */
	uint64_t ring, index; /* of a message: its place in the order */
	bool from_cpg, from_quorum;
	bool quorate; /* what quorum really said */
	node_id_t members[SIM_NODES];
	struct view_change changes[SIM_NODES];
	struct table tables[2 * SIM_LOGS];
};

/* What of a struct kernel_output is kept until it lands. */
struct leg_operation {
	enum kernel_output_type type;
	struct kernel_leg leg;
};

struct sim_event {
	TAILQ_ENTRY(sim_event) held; /* while the daemon is paused */
	uint64_t at_ns, order;
	enum sim_event_type type;
	unsigned node;
	uint64_t generation; /* of the daemon, or of the boot; events of a former one are dropped */
	uint64_t a, b, c, d;
	uint64_t bio;	     /* the lower mirror's, while the event waits for it */
	bool failed;	     /* by the lower mirror */
	struct input *input; /* owned */
	uint8_t *bytes;	     /* owned */
	struct leg_operation leg;
};
TAILQ_HEAD(sim_event_list, sim_event);

/* Of the queue of events: what it is ordered by lies together, thousands are planned. */
struct planned {
	uint64_t at_ns, order;
	struct sim_event *event;
};

/* --- disks
 * ------------------------------------------------------------------------------------------------------- */

struct block {
	uint64_t visible, durable;
	unsigned cached_by; /* node whose write is in a cache, 0: none (visible == durable) */
};

/* What a reader may find: the last acknowledged write, and those after it whose fate is open. */
struct expected {
	uint64_t values[SIM_VALUES];
	unsigned count;
	bool any;    /* too many to remember */
	bool locked; /* a write is under way: users take turns */
	bool torn;   /* and a cache lost a part of it: what was there before may be read behind it */
	unsigned readers;
};

/* Regions by bit, as the legs and the log device are (truth.c). */
struct truth {
	uint64_t writing; /* a write is under way */
	uint64_t differ;  /* the legs do */
	uint64_t cached;  /* a write is in a cache alone */
	uint64_t clean;	  /* on the log device */
};

struct sim_log {
	char uuid[LOG_UUID_BYTES];
	bool disk, nosync, integrated_flush;
	bool handle_errors, keep_log; /* of its tables */
	bool repair_wanted;    /* a leg failed somewhere: LVM reloads all tables when the legs are good */
	struct sim_log *lower; /* the mirror its log device lies on, in the last region; NULL: a disk */
	struct sim_log *upper; /* whose log device is in the last region of this one, or NULL */
	unsigned region_count;
	struct block legs[SIM_LEGS][SIM_REGIONS][SIM_BLOCKS];
	struct expected expected[SIM_REGIONS][SIM_BLOCKS];
	bool discarded[SIM_REGIONS][SIM_BLOCKS]; /* and not written since: the legs may differ (hazard B15) */
	uint8_t image[SIM_IMAGE], durable_image[SIM_IMAGE];
	unsigned writes[SIM_NODES + 1][SIM_REGIONS]; /* leg writes under way, of each node */
	unsigned copier[SIM_REGIONS];		     /* node that copies, 0: none */
	unsigned device_writes[SIM_NODES + 1];	     /* under way */
	unsigned excused;			     /* tables that may write unmarked (hazard A2) */
	bool unwritten; /* the last of them has gone; what it wrote is not all dirty on the log device yet */
	bool forgotten; /* a table without memory was told IN_SYNC 1 for all */
	bool cold_core; /* core log: nosync may not be used any more */
	uint64_t touched;   /* regions, by bit, whose truth is out of date */
	bool image_touched; /* so is that of the log device */
	struct truth truth;
};

/* --- nodes
 * ------------------------------------------------------------------------------------------------------- */

struct run_memory {
	bool used;
	char uuid[LOG_UUID_BYTES];
	uint8_t *meta;
	size_t meta_bytes;
	struct {
		luid_t luid;
		struct region_set held;
		bool used;
	} instances[RUN_INSTANCES_MAX];
	struct region_set bits[RUN_BITS_COUNT];
};

enum table_stage { TABLE_NONE, TABLE_CREATED, TABLE_LOADED, TABLE_ACTIVE, TABLE_SUSPENDED };

/* A request that went to the daemon. */
struct asked {
	uint8_t state; /* 0 never, 1 sent, 2 answered, 3 answered by a mutant */
	uint8_t type;
	bool resent, waited;
	uint8_t log, in_sync;
	region_t region;
	luid_t luid;
	uint64_t regions; /* MARK, CLEAR, FLUSH: those it names, by bit */
	uint64_t marked;  /* FLUSH: those that the table had marked before */
};

struct user_bio {
	uint64_t id; /* 0: unused */
	enum kernel_bio_type type;
	unsigned log, region, block;
	uint64_t tag; /* of a write */
};

struct told {
	luid_t luid;
	uint8_t answers[SIM_REGIONS]; /* of IN_SYNC: 0 unknown, 1 no, 2 yes */
	uint64_t marked;	      /* regions, by bit: MARK was answered, CLEAR not sent */
	uint64_t failed;  /* it said SET_REGION_SYNC(r, 0): its region hash keeps them out of sync */
	uint64_t unheard; /* out of sync there by a failed cache flush, which it told nobody (hazard A7) */
	bool used, resumed, reconnects;
	bool at_rest; /* POSTSUSPEND was answered */
};

struct sim_device {
	int number;
	enum table_stage stage;
	bool busy, status_busy, excused, reload_wanted, removing;
	bool reloading;
	bool unflushed;		/* POSTSUSPEND or DTR of the live table reached nobody */
	bool suspend_unflushed; /* the flush of the legs that its suspend waits for failed */
	bool resume_unheard;	/* its last RESUME reached nobody */
	bool at_rest;		/* POSTSUSPEND of the last table that was not was answered */
	bool looked_at;		/* once, after the faults */
	bool flush_failed;	/* its kernel takes what it writes for lost: it has to be reloaded */
	unsigned lost_legs;	/* by bit: a user's cache flush failed there */
	enum kernel_command_type command;
	unsigned bios;
	enum kernel_command_type plan[4]; /* what comes next */
	unsigned plan_count;
	struct told told[4];
};

/* What a core knows of a log, as long as it makes no step. */
struct knowledge {
	uint64_t core_steps;
	const struct world_log *world; /* NULL: it may not know all there is to know */
	uint64_t dirty;		       /* regions, by bit, that have been found dirty there */
};

/* A daemon waits for the end of what its killed predecessor has in flight. */
struct former_wait {
	uint32_t handle; /* of the log; 0: none */
	uint64_t token;
};

struct sim_node {
	unsigned id;
	bool seen_all; /* two_node: since its corosync started, it saw the other (wait_for_all of
			  votequorum(5)) */
	bool up;
	uint64_t boot_id, boot_generation;
	struct kernel *kernel;
	uint64_t kernel_run_ns; /* when it is planned, KERNEL_NEVER: not */
	struct sim_device devices[SIM_LOGS];
	struct user_bio bios[32];
	struct asked *seqs; /* by seq */
	size_t seq_count;
	/* daemon */
	struct core *core;
	uint64_t core_steps; /* beginnings and ends of the core too */
	struct knowledge known[SIM_LOGS];
	uint64_t daemon_generation;
	bool paused, listening;
	unsigned kill_after; /* effects */
	bool kill_at_write;  /* dies while its next log device write is under way */
	bool die_at_write;   /* the node dies while its next write to the legs is under way */
	bool memory_lost;    /* its run directory was lost in this boot */
	bool run_dir_new;    /* no daemon has run in this boot */
	uint64_t pace_ns;
	bool works;
	struct sim_event_list held;
	struct sim_event_list stacked; /* log device I/O that waits for the lower mirror */
	struct sim_event_list queued;  /* a mutant's: behind that */
	bool leave_due;		       /* a killed daemon has not ended: I/O of it is in flight */
	struct former_wait device_waits[SIM_LOGS], copy_waits[SIM_LOGS];
	uint64_t timer_ns;
	uint64_t kernel_channel_ns, cpg_channel_ns, quorum_channel_ns;
	unsigned cpg_pending, quorum_pending;
	struct run_memory run[SIM_LOGS];
	bool quorate_told;
	bool device_broken;
	bool leg_broken[SIM_LOGS][SIM_LEGS];   /* its path to the leg */
	bool flush_broken[SIM_LOGS][SIM_LEGS]; /* writes pass, cache flushes fail */
	/* corosync */
	bool corosync_up;
	bool deaf; /* what is ordered does not reach it until its ring breaks: lost packets, sent again in
		      vain */
	bool bare; /* has a daemon, and no tables */
	bool slow; /* its next repair hangs for some seconds */
	bool joining, connected; /* the daemon has asked to join, has joined the group */
	unsigned component;
	struct ring_model *ring;
	uint32_t group; /* bit mask of nodes whose daemon is in the group, as this node has seen the order */
	uint64_t order_channel_ns, item_channel_ns;
	uint64_t fenced_boot;
	uint64_t lock_boot; /* the boot whose daemons hold the node's own DLM lock, 0: none */
	struct {
		unsigned node;
		uint64_t boot_id;
	} watches[SIM_NODES];
	unsigned watch_count;
};

enum item_kind { ITEM_MESSAGE, ITEM_JOIN, ITEM_LEAVE, ITEM_REPLACE };

struct ring_item {
	enum item_kind kind;
	unsigned sender;
	uint8_t *bytes;
	size_t size;
	uint64_t daemon; /* generation of the sender's daemon */
};

struct ring_model {
	TAILQ_ENTRY(ring_model) link;
	uint64_t seq;
	unsigned representative;
	uint32_t nodes;
	bool frozen, quorate;
	struct ring_item *items;
	uint64_t count, room;
	uint64_t delivered[SIM_NODES + 1], limit[SIM_NODES + 1];
	uint64_t *digests; /* by index; 0: none yet */
};
TAILQ_HEAD(ring_models, ring_model);

/* What a step did that a guarantee speaks of; the guarantees judge when it is over. */
enum deed_kind {
	DEED_LEG_WRITE,	   /* a write to the legs begins */
	DEED_COPY,	   /* a copy of a region begins */
	DEED_DEVICE_WRITE, /* a write to the log device begins */
	DEED_READ_WRONG,   /* a user read what nobody wrote */
	DEED_DELIVERED,	   /* a daemon has applied an item of the order */
	DEED_REPLY,	   /* a daemon answered its kernel */
	DEED_COMPLAINT	   /* a kernel complains */
};

struct deed {
	enum deed_kind kind;
	unsigned node, log, region, block;
	bool quorate;	    /* the node had been told so */
	bool excused;	    /* of the log: some table of it may write unmarked */
	bool table_excused; /* this node's */
	unsigned copier;    /* LEG_WRITE, COPY: node that copies the region, 0: none */
	uint32_t others;    /* COPY, DEVICE_WRITE: nodes with a write under way, by bit; REPLY to POSTSUSPEND:
			       how    many writes of the log device this node has under way */
	uint8_t state, type; /* REPLY: of struct asked; type: COMPLAINT too */
	bool at_rest;	     /* DEVICE_WRITE: the node's table was, as its kernel was told */
	bool resumed;	     /* REPLY to GET_SYNC_COUNT: the table was */
	bool failed;	     /* COMPLAINT: a leg failed under the region, and not all tables are younger */
	int error;
	enum kernel_complaint complaint;
	uint32_t seq;
	luid_t luid;
	uint64_t value;	 /* REPLY: IN_SYNC, GET_SYNC_COUNT, GET_RESYNC_WORK; DELIVERED: digest; READ_WRONG */
	uint64_t before; /* what was told, the others' digest, or what was written */
	uint64_t due;	 /* REPLY to FLUSH: regions that have to be committed, by bit */
	uint64_t ring, index;
};

#define FOREACH_DEED(deed, sim, wanted)                                                                      \
	for ((deed) = (sim)->deeds; (deed) < (sim)->deeds + (sim)->deed_count; (deed)++)                     \
		if ((deed)->kind == (wanted))

struct sim_options {
	uint64_t seed;
	unsigned nodes_min, nodes_max; /* the seed says which */
	uint64_t steps;
	uint32_t faults; /* mask of 1 << enum fault_kind */
	bool trace;
	enum mutant mutant;
	bool small;		     /* one log of two regions */
	uint64_t limit;		     /* give up behind so many events, 0: never */
	bool story;		     /* tell what happens in the protocol's words ... */
	uint64_t story_from;	     /* ... from this event on */
	const struct script *script; /* borrowed; NULL: a random run */
};

struct sim {
	struct sim_options options;
	const struct script *script; /* NULL: a random run */
	uint64_t random[4];
	uint64_t now_ns, order, steps;
	struct planned *heap;
	/* Most events, which say no more than this; planned more than once at a time. */
	struct sim_event kernel_runs[SIM_NODES + 1], works[SIM_NODES + 1];
	size_t heap_count, heap_room;
	unsigned node_count;
	struct sim_node nodes[SIM_NODES + 1]; /* by id, from 1 */
	unsigned log_count;
	struct sim_log logs[SIM_LOGS];
	struct ring_models rings;
	struct sim_event_list deferred; /* messages that wait for a ring */
	uint64_t ring_seq, next_tag, next_incarnation;
	bool two_node;
	bool reform_planned, settling;
	bool settle_look; /* time to see whether all is well */
	struct deed *deeds;
	size_t deed_count, deed_room;
	uint64_t settle_until_ns;
	uint64_t fence_delay_ns;
	jmp_buf *failure;
	char failure_text[512];
	int failure_guarantee;
	uint64_t trace_hash;
};

/* sim.c */
uint64_t sim_random(struct sim *sim);
uint64_t sim_below(struct sim *sim, uint64_t end);
uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high);
bool sim_chance(struct sim *sim, unsigned percent);
uint64_t sim_latency(struct sim *sim, uint64_t typical_ns);
struct sim_event *sim_plan(struct sim *sim, enum sim_event_type type, unsigned node, uint64_t delay_ns);
/* The two halves of sim_plan(): an event of no time yet, and its time. */
struct sim_event *sim_event_new(struct sim *sim, enum sim_event_type type, unsigned node);
void sim_event_plan(struct sim *sim, struct sim_event *event, uint64_t delay_ns);
void sim_event_free(struct sim_event *event);
/* Keep a message until the ring has formed: its content moves. */
void sim_event_defer(struct sim *sim, struct sim_event *event);
void sim_events_undefer(struct sim *sim);
void sim_events_drop_deferred(struct sim *sim, unsigned node);
void sim_trace(struct sim *sim, unsigned node, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void sim_fail(struct sim *sim, int guarantee, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Runs one seed. Returns true when no guarantee broke; else `ret_sim->failure_*` say which. */
bool sim_run(const struct sim_options *options, struct sim *sim);

/* group.c */
void group_start(struct sim *sim, unsigned node);
void group_send(struct sim *sim, unsigned node, const uint8_t *bytes, size_t size);
void group_order(struct sim *sim, struct sim_event *event);
void group_item(struct sim *sim, const struct sim_event *event);
void group_reform_soon(struct sim *sim, uint64_t delay_ns);
void group_reform(struct sim *sim);
void group_daemon_joins(struct sim *sim, unsigned node);
void group_daemon_left(struct sim *sim, unsigned node);
void group_corosync_stop(struct sim *sim, unsigned node);
void group_corosync_start(struct sim *sim, unsigned node);
void group_fence(struct sim *sim, const struct sim_event *event);
void group_watch(struct sim *sim, unsigned node, unsigned target, uint64_t boot_id);
void group_watches_check(struct sim *sim);
bool group_caught_up(const struct sim *sim, unsigned node);

/* host.c */
void host_boot(struct sim *sim, unsigned node);
void host_die(struct sim *sim, unsigned node);
void host_daemon_start(struct sim *sim, unsigned node);
void host_daemon_kill(struct sim *sim, unsigned node);
void host_memory_lost(struct sim *sim, unsigned node);
void host_daemon_pause(struct sim *sim, unsigned node, uint64_t ns);
void host_daemon_resume(struct sim *sim, unsigned node);
struct input *host_input(enum event_type type);
void host_post(struct sim *sim, unsigned node, struct input *input, uint64_t *channel_ns,
	       uint64_t latency_ns);
void host_daemon_input(struct sim *sim, struct sim_event *event, bool *ret_kept);
void host_timer(struct sim *sim, const struct sim_event *event);
void host_kernel_soon(struct sim *sim, unsigned node);
void host_kernel_run(struct sim *sim, unsigned node);
void host_reply(struct sim *sim, const struct sim_event *event);
void host_free(struct sim *sim, unsigned node);

/* disk.c */
void disk_init(struct sim *sim);
void disk_leg_begin(struct sim *sim, unsigned node, const struct kernel_output *out);
void disk_leg_land(struct sim *sim, const struct sim_event *event);
void disk_node_dies(struct sim *sim, unsigned node);
void disk_path_flush(struct sim *sim, unsigned node, unsigned log);
void disk_excuse(struct sim *sim, unsigned node, unsigned log);
void disk_forgotten(struct sim *sim, unsigned node, unsigned log, unsigned region);
void disk_cache_lost(struct sim *sim, unsigned node, unsigned log, unsigned region);
bool disk_leg_broken(const struct sim *sim, unsigned node, unsigned log);
void disk_power_cut(struct sim *sim);
void disk_daemon_dies(struct sim *sim, unsigned node);
void disk_io_start(struct sim *sim, struct sim_event *event, uint64_t disk_ns);
bool disk_former_writes(const struct sim *sim, unsigned node, unsigned log);
bool disk_former_copies(const struct sim *sim, unsigned node, unsigned log);
bool disk_former_flushes(const struct sim *sim, unsigned node, unsigned log);
bool disk_former_lives(const struct sim *sim, unsigned node);
void disk_perform(struct sim *sim, unsigned node, const struct effect *effect);
void disk_event(struct sim *sim, struct sim_event *event);
void disk_write_cut(struct sim *sim, const struct sim_event *event, bool lands);
int disk_log_find(const struct sim *sim, const char *uuid);

/* stack.c */
void stack_init(struct sim *sim);
unsigned stack_user_regions(const struct sim_log *log);
void stack_submit(struct sim *sim, struct sim_event *event, struct sim_log *lower);
bool stack_bio_done(struct sim *sim, unsigned node, const struct kernel_output *out);
void stack_node_dies(struct sim *sim, unsigned node);
bool stack_lower_ready(const struct sim *sim, const struct sim_node *node, unsigned log);
bool stack_upper_there(const struct sim *sim, const struct sim_node *node, unsigned log);

/* work.c */
void work_io(struct sim *sim, unsigned node, unsigned log, unsigned region, bool write);
void work_start(struct sim *sim, unsigned node);
void work_do(struct sim *sim, unsigned node);
void work_bio_done(struct sim *sim, unsigned node, const struct kernel_output *out);
void work_command_done(struct sim *sim, unsigned node, const struct kernel_output *out);
void work_excuse(struct sim *sim, unsigned node, unsigned log);
void work_unlisted(struct sim *sim, unsigned node, unsigned log);
void work_flushed(struct sim_device *device, bool good); /* the legs, by the daemon */
void work_complaint(struct sim *sim, unsigned node, const struct kernel_output *out);
void work_may_read(struct expected *expected, uint64_t value);
void work_repair_tables(struct sim *sim);
void work_table_event(struct sim *sim, unsigned node, unsigned device);
void work_legs_good(struct sim *sim, unsigned log);
void work_node_dies(struct sim *sim, unsigned node);
bool work_quiet(const struct sim *sim, const char **ret_why, unsigned *ret_node);

/* fault.c */
void fault_start(struct sim *sim);
void fault_do(struct sim *sim);
void fault_event(struct sim *sim, const struct sim_event *event);
void fault_end(struct sim *sim);
const char *fault_name(enum fault_kind kind);
int fault_parse(const char *list, uint32_t *ret_mask);

/* observe.c: what a step did */
void observe_leg_write(struct sim *sim, unsigned node, unsigned log, unsigned region);
void observe_copy(struct sim *sim, unsigned node, unsigned log, unsigned region);
void observe_device_write(struct sim *sim, unsigned node, unsigned log);
void observe_wrong_read(struct sim *sim, unsigned node, unsigned log, unsigned region, unsigned block,
			uint64_t value);
void observe_complaint(struct sim *sim, unsigned node, unsigned log, const struct kernel_output *out);
bool observe_out_of_sync(const struct sim *sim, unsigned node, unsigned log, luid_t luid, unsigned region);
void observe_delivery(struct sim *sim, unsigned node, struct ring_model *ring, uint64_t index);
void observe_request(struct sim *sim, unsigned node, const struct kernel_output *out);
void observe_reply(struct sim *sim, unsigned node, const struct effect *effect);

/* truth.c */
bool truth_legs_differ(const struct sim_log *log, unsigned region);
/* After a power cut the legs could differ: the node through whose path the bytes are still on their way, 0:
 * none. */
unsigned truth_legs_cached(const struct sim_log *log, unsigned region, unsigned *ret_leg);
bool truth_device_clean(const struct sim_log *log, unsigned region);
/* Brings log->truth up to date. */
void truth_update(const struct sim *sim, struct sim_log *log);
/* The log in the state of a member that knows all there is to know, or NULL. */
const struct world_log *truth_member(struct sim *sim, unsigned node, unsigned log);
/* Those of the regions (by bit) that such a member takes for clean, or more of them; 0: none. */
uint64_t truth_member_clean(struct sim *sim, unsigned node, unsigned log, uint64_t regions);
/* Regions whose legs differ, clean on the log device, that of all nodes this one alone knows as dirty. */
uint64_t truth_known_here_alone(const struct sim *sim, unsigned node, unsigned log);
/* Fails the run if what is kept up differs from what is. */
void truth_audit(struct sim *sim);

/* check.c */
void check_step(struct sim *sim); /* all guarantees, after each event */
void check_dump(struct sim *sim); /* where every core stands, into the trace */

#endif
