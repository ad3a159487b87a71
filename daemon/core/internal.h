/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the core share. Reading order: core.c, view.c, apply.c, kernel.c, marks.c, device.c,
 * suspend.c. */
#ifndef DAEMON_CORE_INTERNAL_H
#define DAEMON_CORE_INTERNAL_H

#include <sys/queue.h>
#include <syslog.h>

#include "daemon/core/core.h"
#include "daemon/core/world.h"
#include "protocol/constructor.h"
#include "protocol/frame.h"
#include "protocol/log_device.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* How long a suspend waits for the kernel's last CLEARs, which come right after the last write (hazard A7).
 */
#define DRAIN_NS (500 * NS_PER_MS)
/* How long recovered regions are gathered before the legs are flushed and the sync bits sent. */
#define SYNC_BATCH_NS (100 * NS_PER_MS)
/* Clean bits reach the device this much later at most, unless a dirty one takes them along. */
#define CLEAN_DELAY_NS (500 * NS_PER_MS)
/* A flush of the legs that failed is tried again after this long. */
#define LEGS_RETRY_NS NS_PER_S
/* A reconnecting kernel sends RESUME right behind the CTR. */
#define RECONNECT_NS (5 * NS_PER_S)
/* The kernel sends a request again that was not answered for 15 s (DM_ULOG_RETRY_TIMEOUT). */
#define RESENT_NS (16 * NS_PER_S)
/* A table that was replaced has its DTR behind it: two of the kernel's timeouts (DM_ULOG_RETRY_TIMEOUT). */
#define REPLACED_NS (30 * NS_PER_S)
/* A view that has not changed for so long behind a message has no member that did not hear it. */
#define MEMORY_TOLD_NS (30 * NS_PER_S)
/* Copies of one request that are kept, and requests of one log in all. */
#define WAITING_MAX 256
/* Records on their way into a frame, of administrators and unknown tables; the others are a few for each
 * table. */
#define OUT_MAX 65536
/* What a joiner keeps of the order until its checkpoint is complete. */
#define BACKLOG_BYTES_MAX  (UINT64_C(64) << 20)
#define STREAM_CONTENT_MAX (UINT32_C(1) << 30)

enum instance_state {
	INSTANCE_CONSTRUCTED, /* CTR */
	INSTANCE_RESUMING,    /* RESUME asked, not yet in the order or the log not loaded */
	INSTANCE_RESUMED,
	INSTANCE_PRESUSPENDED, /* no more work handed out */
	INSTANCE_SUSPENDING,   /* POSTSUSPEND asked */
	INSTANCE_SUSPENDED,
};

/* Steps of POSTSUSPEND, in this order (suspend.c). */
enum suspend_step { SUSPEND_DRAIN, SUSPEND_CLEAR, SUSPEND_LEAVE, SUSPEND_DEVICE, SUSPEND_TELL, SUSPEND_DONE };

struct instance {
	TAILQ_ENTRY(instance) entry;
	luid_t luid;
	enum instance_state state;
	struct constructor constructor;
	struct region_set
	    held;   /* the kernel's marks through this table; its end is CLEAR or DTR (hazard A7) */
	bool known; /* the replicated state has it, or will have after the frame under way */
	bool resume_sent;
	bool resume_heard; /* the RESUME came through the order: what the state says of the luid is of this
			      table */
	bool outrun;	   /* another reconnected behind it and was taken for the one that runs */
	bool resume_cut; /* its suspend began before the RESUME came through the order: it runs for nobody */
	bool refused;	 /* the RESUME came through the order and was not accepted */
	bool tainted;	 /* came back from a reconnect that nothing is known of (hazards A2, A10) */
	bool log_failed; /* its kernel got an error to a FLUSH */
	unsigned reconnects_open; /* CTRs of reconnects answered whose RESUME is not */
	uint64_t reconnect_until_ns;
	uint64_t introduced_ns; /* when the kernel first named it */
	uint64_t ran_ns;	/* when it last did what only a running table does */
	uint64_t switched_ns;	/* its last RESUME or POSTSUSPEND */
	bool old;		/* as in the replicated state, kept for the next speech */
	bool has_work; /* a region was handed out for recovery and not reported yet; survives the daemon */
	region_t work;
	bool work_void; /* a flush of the legs failed meanwhile: that copy counts for nothing; survives the
			   daemon */
	uint64_t remote_since_ns; /* writes wait for recovery since, and no work was asked for; 0: no */
	uint64_t remote_asked_ns; /* IS_REMOTE_RECOVERING: asked last, or had its turn to */
	bool remote_idle;	  /* it did not ask when it had its turn */
	bool remote_over;	  /* its kernel was told that all is in sync, and asks no more (hazard A4) */
	enum suspend_step suspend_step;
	uint64_t suspend_deadline_ns;
	bool leaving_sent, suspended_sent;
	/* Another was resumed, and this one not heard to be suspended: its DTR may be lost too, or comes by
	 * then. 0: no. */
	uint64_t replaced_until_ns;
};

/* A request of the kernel that cannot be answered yet. */
struct waiting {
	TAILQ_ENTRY(waiting) entry;
	uint32_t seq;
	luid_t luid;
	enum ulog_type type;
	uint64_t batch;	 /* FLUSH, SET_REGION_SYNC: answered when this batch is committed */
	region_t region; /* IS_REMOTE_RECOVERING */
};
TAILQ_HEAD(waitings, waiting);

enum device_state { DEVICE_CLOSED, DEVICE_READING, DEVICE_IDLE, DEVICE_WRITING };

/* The log device at its writer (device.c). */
struct device {
	enum device_state state;
	uint64_t token;
	uint32_t major, minor; /* what is open */
	uint32_t block_bytes;
	bool known;			/* `content` is what the device holds */
	bool body_written;		/* not known, but all is written except the first sector */
	uint8_t head[512];		/* the first sector as it was read */
	bool failed;			/* WRITER_FAILED is to be sent */
	bool stale;			/* a read under way was for a former holder of the role */
	bool stopped;			/* handing over, or its table went: no further writes */
	bool merged;			/* the content was told to the cluster */
	uint32_t told_number;		/* of the log in the replicated state that it is being told for */
	struct region_set content;	/* dirty bits as they are, or will be after the write under way */
	struct region_set dirty_blocks; /* must be written before the next commit */
	struct region_set clean_blocks; /* may be written later */
	struct region_set maybe_clean;
	uint64_t clean_due_ns; /* UINT64_MAX: nothing to clean */
};

/* A log on this node. */
struct log {
	TAILQ_ENTRY(log) entry;
	TAILQ_ENTRY(log) poke_entry;
	bool poked;
	uint32_t handle;
	char uuid[LOG_UUID_BYTES];
	struct log_shape shape;
	bool mirror_due; /* the replicated state changed in bulk: compare `unsynced` and the persisted sets */
	TAILQ_HEAD(instances, instance) instances;
	struct waitings waitings;
	unsigned waiting_count;
	bool waiting_full; /* and that was said */

	struct region_set unsynced; /* instances here were told IN_SYNC 0: this alone answers IN_SYNC */
	struct region_set ghosts;   /* as persisted; with `untold` */
	struct region_set
	    orphans; /* of `ghosts`: held by tables that went, which the cluster may not have heard */
	struct region_set failed; /* as persisted */
	struct {
		node_id_t node;
		uint64_t boot_id;
	} former[FRAME_NODES_MAX]; /* members as last known */
	unsigned former_count;

	/* Marks of this node (marks.c): announced + pending covers all that is held. */
	struct region_set announced; /* in the order or on the way there, no clear queued (hazard A8) */
	struct region_set pending;   /* for the next frame */
	bool pending_due;	     /* a FLUSH waits for it: MARK alone sends nothing */
	struct region_set linger_young, linger_old; /* announced, not held */
	struct region_set flushing;		    /* given up once the legs are flushed */
	struct region_set clearing;		    /* CLEAR for the next frame */
	struct region_set cleared_in_flight;	    /* CLEAR in the frame under way */
	struct region_set doubted; /* marked when a flush of the legs failed, DOUBT is to be sent */
	uint64_t linger_due_ns;	   /* UINT64_MAX: nothing lingers */
	uint64_t batch_sent, batch_committed;
	uint64_t failures_batch; /* behind it the log device has what failed as dirty; 0: not asked for */
	struct region_set fail_pending;	  /* FAILED for the next frame */
	struct region_set fail_in_flight; /* FAILED in the frame under way */

	/* Legs: one flush at a time serves clears and sync bits. */
	bool legs_busy;
	uint64_t legs_token, legs_retry_ns;
	uint64_t legs_open_token; /* of the live table's EFFECT_LEGS_OPEN */
	bool legs_stale;	  /* those that are open may be of a table that went without a word */
	bool give_up_all;	  /* a suspend wants every lingering mark cleared now */
	bool legs_failed;	  /* the last flush failed */
	bool flush_void;	  /* behind a flush of a killed daemon, whose end nobody hears */
	bool flush_due;		  /* a suspend has begun, and no flush since */
	bool handles_errors; /* the live table has handle_errors: its kernel holds a write whose FLUSH failed
			      */

	/* Recovery (recovery.c), at the recoverer. */
	struct region_set copied; /* SET_REGION_SYNC(r, 1) seen, legs not flushed since */
	struct region_set copied_flushing, copied_ready;
	struct region_set untold; /* copied here, and SYNCED of it is not in the order; all are in `ghosts` */
	uint64_t copied_due_ns;
	struct region_set wanted; /* writers somewhere wait for these */
	struct region_set want_pending, want_sent;
	uint64_t want_again_ns;
	region_t work_cursor;
	uint64_t
	    remote_hold_ns; /* IS_REMOTE_RECOVERING waits for other mirrors' turn until then, 0: none does */
	bool was_recoverer;
	bool rescuing; /* the copy under way is of `rescue`, an out-of-sync region (recovery.c), not a repair
			*/
	region_t rescue;

	/* Repair of ghosts (repair.c), at the recoverer. */
	bool claim_sent, release_sent, repairing;
	bool repair_void;      /* a flush of the legs failed behind a part of that copy */
	bool claim_known_sent; /* at the writer, for the claim that is */
	bool write_end_sent;   /* WRITE_ENDED is under way */
	region_t repair_cursor;
	uint64_t repair_retry_ns; /* a claim that is not granted until then makes room for the next */
	uint64_t repair_hold_ns;  /* no new claim until then: a copy failed */
	bool repair_rate_own;	  /* `repair_rate` is of this log, not the core's */
	uint64_t repair_rate;	  /* bytes a second, 0: no limit */
	uint64_t repair_begin_ns,
	    repair_bytes; /* the last copy: the next one has to wait for its share of time */
	uint64_t repaired_regions;

	struct device device;
	uint64_t device_retry_ns; /* the dead log device is tried again, UINT64_MAX: nobody waits for it */
};
TAILQ_HEAD(logs, log);

/* A record to be sent that is not derived from the state of a log. */
struct outgoing {
	TAILQ_ENTRY(outgoing) entry;
	struct record record;
	char uuid[LOG_UUID_BYTES]; /* the number is looked up when it is sent; empty: no log */
};
TAILQ_HEAD(outgoings, outgoing);

/* A compressed blob on its way out. */
struct outstream {
	TAILQ_ENTRY(outstream) entry;
	enum stream_kind kind;
	uint64_t id;
	uint32_t content_bytes;
	uint8_t *bytes;
	uint32_t size_bytes, sent_bytes;
	uint32_t log; /* STREAM_DEVICE: handle of the log */
};
TAILQ_HEAD(outstreams, outstream);

/* A blob on its way in, one for each sender and kind. */
struct instream {
	TAILQ_ENTRY(instream) entry;
	node_id_t node;
	enum stream_kind kind;
	uint64_t id;
	uint32_t content_bytes, total_bytes;
	struct bytes_writer bytes;
};
TAILQ_HEAD(instreams, instream);

struct backlog_item {
	TAILQ_ENTRY(backlog_item) entry;
	node_id_t node;
	size_t size;
	uint8_t bytes[];
};
TAILQ_HEAD(backlog, backlog_item);

/* How far this node is from knowing the replicated state. */
enum join_state {
	JOIN_APART,    /* no view, or the view has not settled since the last one was lost */
	JOIN_LOADING,  /* waits for a checkpoint */
	JOIN_SPEAKING, /* has the state, tells what it holds */
	JOIN_READY
};

struct member {
	node_id_t node;
	bool greeted; /* its HELLO of this view is here */
	bool fits;    /* speaks the version of this view */
	struct record_hello hello;
};

/* A table of the host, by its log. */
struct remembered_table {
	char uuid[LOG_UUID_BYTES];
	bool here;    /* device-mapper has it, and its end was not heard since */
	bool unknown; /* it runs, and has not introduced itself to this daemon, which has no memory of it */
	bool loaded;  /* and one that is only loaded is as unknown, which goes before it */
	luid_t unloaded; /* the DTR of that one */
	luid_t ended;	 /* its DTR, the next copy of which is answered; LUID_UNKNOWN if that did not come */
	bool another;	 /* it was not the one that runs, or may not have been */
	bool owed;	 /* its end is not in the order yet */
	bool suspended;	 /* device-mapper had it so, and no RESUME was heard since */
	luid_t suspends; /* the last that was heard to suspend, and not to be resumed */
};

struct core {
	struct core_config config;
	uint64_t now_ns;

	/* Effects of the step, and the memory they point to. */
	struct effect *effects;
	size_t effect_count, effect_room;
	void **garbage;
	size_t garbage_count, garbage_room;

	/* View (view.c). */
	struct member members[FRAME_NODES_MAX];
	unsigned member_count;
	bool connected, ring_known, quorum_known, quorate, settled, view_quorate, active, was_active,
	    hello_due, refused;
	struct ring ring, quorum_ring;
	node_id_t quorum_nodes[FRAME_NODES_MAX];
	unsigned quorum_node_count;
	uint64_t epoch;
	uint64_t ready_epoch, ready_ns; /* of the view in which this daemon became ready, and when */
	bool state_counts; /* it was active here: for other parts it is one that may be the truth */
	node_id_t component;
	node_id_t kin[FRAME_NODES_MAX]; /* those of the last settled view that have not left since */
	unsigned kin_count;
	uint64_t incarnation, next_incarnation;
	enum join_state join;
	struct world world;
	struct backlog backlog;
	uint64_t backlog_bytes;

	/* Sending (send.c). */
	bool frame_in_flight;
	uint16_t version; /* of the protocol, as the view has settled on */
	bool ready_due;
	struct outgoings out;
	unsigned out_count;
	bool out_full; /* and that was said */
	struct outstreams outstreams;
	struct instreams instreams;
	uint64_t next_stream_id;

	/* Fencing (fencing.c). */
	bool fence_held, fence_wanted;
	struct {
		node_id_t node;
		uint64_t boot_id;
	} watched[FRAME_NODES_MAX];
	unsigned watched_count;
	uint64_t down_told; /* the epoch, and the nodes whose NODE_DOWN was sent in it */
	node_id_t down_told_nodes[FRAME_NODES_MAX];
	unsigned down_told_count;

	/* Logs of this node. */
	struct logs logs;
	void *logs_by_uuid, *logs_by_handle; /* search trees of the same */
	TAILQ_HEAD(poked, log) poked;
	uint32_t next_handle;
	uint64_t next_token;
	uint64_t batch_floor; /* batch numbers up to here were used by logs that are gone */
	bool acks_due;
	bool known_due; /* a member of some log waits to hear that this node knows of it */
	bool repair_paused;
	uint64_t repair_rate;
	uint64_t ended_ns;		 /* a DTR was heard last; 0: none was */
	struct remembered_table *tables; /* live ones, when device-mapper was last asked */
	size_t table_count;
	bool tables_known;

	struct {
		uint64_t requests, messages_sent, messages_delivered, device_writes, device_write_bytes;
		uint64_t waiting_dropped, records_dropped, backlog_overflows;
	} counters;
};

/* core.c: effects. effect_add() returns a zeroed effect to fill in; effect_keep() hands malloc'ed memory to
 * the step. */
struct effect *effect_add(struct core *core, enum effect_type type);
struct effect *effect_add_log(struct core *core, enum effect_type type, const struct log *log);
void *effect_keep(struct core *core, void *memory);
void core_log(struct core *core, int priority, const char *format, ...) __attribute__((format(printf, 3, 4)));
uint64_t core_token(struct core *core);

/* logs.c */
struct log *log_find(struct core *core, const char *uuid);
struct log *log_by_handle(struct core *core, uint32_t handle);
struct log *log_get(struct core *core, const char *uuid);
void log_poke(struct core *core, struct log *log);
void log_poke_all(struct core *core);
void log_drop(struct core *core, struct log *log);
void log_reap(struct core *core, struct log *log);		    /* drop it when nothing needs it */
uint64_t node_incarnation(const struct core *core, node_id_t node); /* 0: none is admitted */
/* Has a table of it been resumed: is there something to remember, and to speak of? */
bool log_known(const struct log *log);
struct world_log *log_world(const struct core *core, const struct log *log);
struct participant *log_self(const struct core *core, const struct log *log);
struct instance *instance_find(const struct log *log, luid_t luid);
struct instance *instance_find_any(struct core *core, luid_t luid, struct log **ret_log);
struct instance *instance_add(struct core *core, struct log *log, luid_t luid);
struct instance *log_resumed_instance(const struct log *log);
bool instance_live(const struct instance *instance);	 /* resumed, or its suspend is still at work */
bool instance_replaced(const struct instance *instance); /* and gone at replaced_until_ns */
bool log_table_live(const struct log *log);		 /* resumed, or a suspend is still at work */
/* The cluster knows a table here by that luid, as far as this node has heard the order. */
bool log_here_known(const struct core *core, const char *uuid, luid_t luid);
bool log_table_writes(const struct log *log);			 /* live, and may have I/O in flight */
bool log_active(const struct core *core, const struct log *log); /* ready, active, and the log is open */
bool log_io_in_flight(const struct log *log);			 /* a write of the log device, or a copy */
bool log_holds(const struct log *log, region_t region);
void log_legs_open(struct core *core, struct log *log);
void log_legs_forget(struct core *core, struct log *log);
void log_tables_old(struct core *core, struct log *log);
bool leg_error(int error);
void instance_destroy(struct core *core, struct log *log, struct instance *instance);

/* kernel.c: requests and their answers. */
void kernel_request(struct core *core, const struct ulog_request *request);
void kernel_answer_waiting(struct core *core, struct log *log);
void reply(struct core *core, uint32_t seq, luid_t luid, int error, const void *data, uint32_t data_bytes);
void kernel_wait(struct core *core, struct log *log, const struct ulog_request *request, uint64_t batch);
void resume_begin(struct core *core, struct log *log, struct instance *instance);
void resume_unheard(struct core *core, struct log *log, struct instance *instance);
bool kernel_waits(const struct log *log, luid_t luid, enum ulog_type type);
/* Of tables that are gone, and of which this daemon had no memory: this node is ready. */
void kernel_ended_tell(struct core *core);
void kernel_fail_kept(struct core *core, const char *uuid);
void waiting_reply(struct core *core, struct log *log, struct waiting *waiting, int error);
void waiting_reply_all(struct core *core, struct log *log, luid_t luid, enum ulog_type type, int error);

/* marks.c */
void marks_add(struct core *core, struct log *log, struct instance *instance, region_t region);
void marks_force(struct core *core, struct log *log, region_t region); /* a new batch, marked before or not */
void marks_learn(struct core *core, struct log *log, const struct participant *self,
		 struct region_set *ret_unknown);
void marks_adopt(struct core *core, struct log *log, struct instance *instance,
		 const struct participant *self);
void marks_unlearn(struct log *log);
void marks_abandon(struct core *core, struct log *log, const struct region_set *regions);
void marks_remove(struct core *core, struct log *log, struct instance *instance, region_t region);
void marks_tick(struct core *core, struct log *log);
void marks_flushed(struct core *core, struct log *log, int error);
void marks_doubt(struct core *core, struct log *log); /* a leg failed that may have had writes in its cache */
void marks_give_up(struct core *core, struct log *log, region_t region);
bool marks_flushed_all(
    const struct log *log); /* no write of this node is left in a leg's cache, but of held regions */
bool marks_quiet(const struct log *log); /* nothing lingers, nothing is to be cleared or told */
void marks_committed(struct core *core, struct log *log);
void marks_delivered(struct core *core, struct log *log);

/* recovery.c */
void recovery_work_set(struct core *core, struct log *log, struct instance *instance, region_t region);
void recovery_work_end(struct core *core, struct log *log, struct instance *instance);
void recovery_cleared(struct core *core, struct log *log, struct instance *instance, region_t region);
void recovery_work(struct core *core, struct log *log, struct instance *instance,
		   const struct ulog_request *request);
void recovery_set_sync(struct core *core, struct log *log, struct instance *instance,
		       const struct ulog_request *request);
void recovery_remote(struct core *core, struct log *log, struct instance *instance,
		     const struct ulog_request *request);
void recovery_remote_answer(struct core *core, struct log *log, struct instance *instance, uint32_t seq,
			    region_t region);
bool recovery_remote_held(struct core *core, struct log *log);
void recovery_tick(struct core *core, struct log *log);
void recovery_rescued(struct core *core, struct log *log, int error);
void recovery_synced(struct core *core, struct log *log, const struct region_set *regions);
void recovery_tell_marked(struct core *core, struct log *log);
uint64_t recovery_sync_count(const struct core *core, const struct log *log);

/* repair.c */
void repair_tick(struct core *core, struct log *log);
void repair_copy_region(struct core *core, struct log *log, region_t region);
void repair_rate_set(struct core *core, const char *uuid, uint64_t rate); /* NULL: all logs, later ones too */
uint64_t repair_rate(const struct core *core, const struct log *log);	  /* 0: no limit */
uint64_t repair_next_ns(const struct core *core, const struct log *log);  /* no claim before */
void repair_finished(struct core *core, struct log *log, int error);
void repair_former_copies(struct core *core, struct log *log);

/* device.c */
void device_tick(struct core *core, struct log *log);
void device_retry(struct core *core, struct log *log); /* a write waits for a dead log device */
void device_read_done(struct core *core, struct log *log, const struct event *event);
void device_written(struct core *core, struct log *log, int error);
void device_note_dirty(struct core *core, struct log *log, const struct region_set *regions);
void device_note_clean(struct core *core, struct log *log, const struct region_set *regions);
void device_recheck(struct core *core, struct log *log);
void device_tell_again(struct core *core, struct log *log); /* after a join dropped what was under way */
void device_close(struct core *core, struct log *log);	    /* nothing is in flight */
void device_former_writes(struct core *core, struct log *log);
bool device_quiet(const struct log *log); /* all clean bits are written, nothing is in flight */
bool device_is_writer(const struct core *core, const struct log *log);
void device_init(struct device *device);
void device_fini(struct device *device);

/* suspend.c */
void suspend_begin(struct core *core, struct log *log, struct instance *instance);
void suspend_forget(struct log *log,
		    struct instance *instance); /* it is resumed, or gone, before its suspend is done */
void suspend_tick(struct core *core, struct log *log);
void suspend_tell(struct core *core, struct log *log, struct instance *instance);

/* view.c */
void view_change(struct core *core, const struct event *event);
void view_ring(struct core *core, const struct event *event);
void view_quorum(struct core *core, const struct event *event);
void view_lost(struct core *core);
void view_hello(struct core *core, node_id_t node, const struct record_hello *hello);
bool view_can_greet(const struct core *core);
void view_fill_hello(const struct core *core, struct record_hello *hello);
bool view_has(const struct core *core, node_id_t node);

/* join.c: checkpoint in and out, speeches. */
bool join_io_in_flight(const struct core *core);
void join_unlearn_sent(struct log *log);
void join_reset(struct core *core);
void join_start_loading(struct core *core);
void join_start_speaking(struct core *core);
void join_send_checkpoint(struct core *core);
void join_checkpoint_received(struct core *core, const struct bytes_writer *content);
void join_ready(struct core *core);
void join_memory_told(struct core *core);

/* apply.c: what is delivered. */
void apply_frame(struct core *core, node_id_t node, const uint8_t *bytes, size_t size);

/* stream.c */
int stream_out(struct core *core, enum stream_kind kind, const struct bytes_writer *content, uint32_t log);
void stream_drop_out(struct core *core, enum stream_kind kind);
void stream_drop_device(struct core *core, const struct log *log); /* what was read is not open any more */
void stream_drop_in(struct core *core);
/* Takes a piece; returns the content when it was the last one (the caller frees it), NULL otherwise. */
struct bytes_writer *stream_in(struct core *core, node_id_t node, const struct record_stream *piece);

/* send.c */
void send_frame(struct core *core);
struct record *send_add(struct core *core, enum record_type type,
			const char *uuid);					 /* NULL: memory is short */
struct record *send_destroyed(struct core *core, const char *uuid, luid_t luid); /* NULL: memory is short */
/* For what comes from outside and may come any number of times; all else is a few records for each table and
 * node. */
bool send_has_room(struct core *core);
void send_purge(struct core *core);
bool send_waits(const struct core *core, enum record_type type, const char *uuid);

/* fencing.c */
void fencing_tick(struct core *core);
void fencing_node_dead(struct core *core, node_id_t node, uint64_t boot_id);

/* run_state.c */
void run_state_restore(struct core *core, const struct run_log *run_log);
void run_state_disown(struct core *core); /* this node is ready: the cluster may know tables that are gone */
/* Founders remember a member, not its table: this node may know that there is none (hazard A10). */
void run_state_disown_nameless(struct core *core, const struct world_log *world);
/* A table that ran here is gone. */
void run_state_ended(struct core *core, const char *uuid);
void run_state_disown_others(struct core *core, struct log *log, const struct participant *self);
bool run_state_any_unknown(const struct core *core); /* a table that runs, or came back, is not known */
/* The table of that log which runs here, and is not known; or NULL. */
struct remembered_table *run_state_unknown(struct core *core, const char *uuid);
void run_state_introduced(struct core *core, const char *uuid);
/* The same when one that is only loaded is as unknown, or came back since, and was not dropped yet. */
struct remembered_table *run_state_loaded(struct core *core, const char *uuid);
/* What runs beside `luid`, which goes without a suspend; NULL: it may be the one that ran. */
struct remembered_table *run_state_beside(struct core *core, const char *uuid, luid_t luid);
void run_state_suspends(struct core *core, const char *uuid, luid_t luid);
void run_state_resumes(struct core *core, const char *uuid, luid_t luid);
/* A new table has that number. */
void run_state_number_used(struct core *core, const char *uuid, luid_t luid);
void run_state_ended_delivered(struct core *core); /* a frame of this node */
void run_state_tables(struct core *core, const struct table *tables, size_t count, uint64_t asked_ns);
void run_state_meta(struct core *core, struct log *log);
void run_state_set(struct core *core, struct log *log, enum run_bits kind, luid_t luid,
		   const struct region_set *regions, bool set);
void run_state_replace(struct core *core, struct log *log, enum run_bits kind, struct region_set *kept,
		       const struct region_set *now);
void run_state_bit(struct core *core, struct log *log, enum run_bits kind, luid_t luid, region_t region,
		   bool set);
void run_state_mirror(struct core *core, struct log *log); /* persist what the replicated state says */
void run_state_ghosts(struct core *core, struct log *log);
void run_state_forget(struct core *core, struct log *log, luid_t luid);
void run_state_orphans(struct core *core, struct log *log, const struct region_set *regions);
void run_state_untold(struct core *core, struct log *log, region_t region);
/* An epoch has begun: should all daemons begin anew, what they put together counts for more than what a part
 * that was cut off before knows. */
void run_state_epoch(struct core *core);
/* A flush of the legs begins, or none is under way any more whose end was not heard. */
void run_state_flush(struct core *core, struct log *log, bool begins);
void run_state_delivered(const struct core *core, struct log *log); /* a frame of this node */

#endif
