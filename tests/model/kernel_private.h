/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the kernel model share. Names in comments are functions of Linux 6.1. */
#ifndef TESTS_MODEL_KERNEL_PRIVATE_H
#define TESTS_MODEL_KERNEL_PRIVATE_H

#include <sys/queue.h>

#include "tests/model/kernel.h"

#define CALL_REPLY_BYTES       512
#define CALL_REPLY_ROOM_STATUS 16000 /* what is left of the ioctl's buffer: more than any answer */
#define REGION_BUCKETS	       128
#define OP_BUCKETS	       64
#define FLUSH_GROUP_REGIONS    32 /* MAX_FLUSH_GROUP_COUNT */

struct table;

/* --- a thread's request: dm_consult_userspace(), userspace_do_request()
 * ------------------------------------------ */

enum call_state { CALL_IDLE, CALL_SENT, CALL_REPLIED, CALL_SLEEPING, CALL_DONE };
enum call_stage { CALL_STAGE_REQUEST, CALL_STAGE_CTR, CALL_STAGE_RESUME };

struct call {
	LIST_ENTRY(call) busy; /* while not idle */
	struct table *table;
	enum call_state state;
	enum call_stage stage;
	enum ulog_type type;
	bool reconnects; /* userspace_do_request(), else dm_consult_userspace() alone */
	bool send_failed;
	uint8_t data[KERNEL_REQUEST_BYTES];
	uint32_t data_bytes;
	size_t room_bytes;  /* the caller's variable: shrinks as fill_pkg() says (hazard A1) */
	size_t dummy_bytes; /* room of a request without one */
	uint8_t reply[CALL_REPLY_BYTES];
	uint32_t seq;
	int error;
	uint64_t deadline_ns;
};

LIST_HEAD(call_list, call);

/* --- bios, regions, leg operations
 * ------------------------------------------------------------------------------- */

struct bio {
	TAILQ_ENTRY(bio) link;
	struct kernel_bio user;
	struct table *table;  /* NULL: kept by a suspended device */
	unsigned outstanding; /* leg operations */
	unsigned long error_bits;
	bool one_leg; /* mapped to the default mirror, not through dm_io */
};

TAILQ_HEAD(bio_list, bio);

enum region_list_name {
	REGION_LIST_NONE,
	REGION_LIST_CLEAN,
	REGION_LIST_QUIESCED,
	REGION_LIST_RECOVERED,
	REGION_LIST_FAILED
};

struct region {
	LIST_ENTRY(region) hash;
	TAILQ_ENTRY(region) link;
	enum region_list_name on;
	region_t key;
	enum kernel_region_state state;
	unsigned pending;
	unsigned leg_writes;
	bool unheard; /* out of sync by a failed cache flush: marked still, as far as the log knows */
	struct bio_list delayed;
};

LIST_HEAD(region_bucket, region);
TAILQ_HEAD(region_list, region);

enum op_kind { OP_BIO, OP_COPY_READ, OP_COPY_WRITE };

struct op {
	LIST_ENTRY(op) hash;
	uint64_t id;
	enum op_kind kind;
	struct table *table;
	struct bio *bio;
	unsigned leg;
};

LIST_HEAD(op_bucket, op);

/* --- a table: struct mirror_set, struct dm_region_hash, struct log_c
 * ---------------------------------------------- */

struct region_vector {
	region_t *items;
	size_t count, room;
};

enum flush_phase {
	FLUSH_IDLE,
	FLUSH_CLEAR,
	FLUSH_CLEAR_SINGLE,
	FLUSH_MARK,
	FLUSH_MARK_SINGLE,
	FLUSH_COMMIT,
	FLUSH_MARK_INTEGRATED
};

struct dirty_log {
	uint64_t in_sync_hint;
	uint32_t region_sectors;
	uint64_t region_count;
	bool integrated_flush;
	struct region_vector marks, clears; /* mark_list, clear_list: newest last, sent first */
	enum flush_phase flush_phase;
	struct region_vector flush_marks, flush_clears;
	size_t flush_next; /* first entry not sent yet */
	bool flush_no_marks;
	bool sched_flush;
	uint64_t flush_deadline_ns; /* queue_delayed_work(flush_log_work) */
	bool flush_running;
	struct call flush_call; /* the thread of dmlogd */
};

enum error_bit { ERROR_WRITE, ERROR_FLUSH, ERROR_SYNC, ERROR_READ };

struct leg {
	unsigned error_count;
	unsigned long error_type;
};

struct copy {
	struct region *region; /* NULL: no copy */
	unsigned source;
	uint32_t block;
	unsigned outstanding;
	bool read_error;
	unsigned long write_errors; /* by leg */
};

enum worker_phase {
	WORKER_IDLE,
	WORKER_RECOVERED,
	WORKER_FAILED,
	WORKER_CLEAN_FLUSH,
	WORKER_PREPARE,
	WORKER_START,
	WORKER_SYNC_COUNT,
	WORKER_READS,
	WORKER_CLASSIFY,
	WORKER_INC_SYNC,
	WORKER_INC_NOSYNC,
	WORKER_FLUSH,
	WORKER_DISPATCH,
	WORKER_FAILURES,
	WORKER_PHASES
};

struct worker {
	struct call call;
	enum worker_phase phase;
	bool wake; /* the work is queued */
	uint64_t delayed_wake_ns;
	uint64_t passes_started, passes_done;
	struct region_list recovered, failed, clean;
	struct bio_list reads, writes, failures;
	struct bio_list sync, nosync, recover, requeue;
	struct bio *inc_next;	/* next bio of dm_rh_inc_pending() */
	bool begun;		/* the current item's first half is done */
	bool remote_asked;	/* current write: IS_REMOTE_RECOVERING said no */
	bool holding_semaphore; /* between down_trylock() and the answer */
	bool had_writes;
	region_t prepare_key; /* what GET_RESYNC_WORK said */
};

struct table {
	TAILQ_ENTRY(table) link;
	struct kernel *kernel;
	unsigned device;
	luid_t luid;
	char *uuid, *log_args;
	char constructor[KERNEL_REQUEST_BYTES + 1];
	size_t constructor_bytes;
	uint64_t length_sectors;
	unsigned leg_count;
	bool handle_errors, keep_log;
	/* mirror_set */
	struct bio_list reads, writes, failures, holds;
	bool in_sync, log_failure, leg_failure, suspend;
	unsigned default_leg;
	struct leg legs[KERNEL_LEGS_MAX];
	/* dm_region_hash */
	struct region_bucket buckets[REGION_BUCKETS];
	struct region_list clean, quiesced, recovered, failed_recovered;
	bool flush_failure;
	int recovery_count, recovery_in_flight;
	struct copy copy;
	struct dirty_log log;
	struct worker worker;
};

TAILQ_HEAD(table_list, table);

/* --- devices and the kernel
 * --------------------------------------------------------------------------------------- */

enum step {
	STEP_NONE,
	STEP_CTR,
	STEP_REGION_SIZE,
	STEP_STOP_RECOVERY,
	STEP_RECOVERY_IDLE,
	STEP_PRESUSPEND,
	STEP_WORKER_IDLE,
	STEP_WAIT_IO,
	STEP_EARLY_FLUSH,
	STEP_POSTSUSPEND,
	STEP_SUSPENDED,
	STEP_SWAP,
	STEP_RESUME,
	STEP_DESTROY,
	STEP_DESTROY_WORKER,
	STEP_DESTROY_FLUSH,
	STEP_DTR,
	STEP_DESTROYED,
	STEP_DONE,
	STEP_COUNT
};

struct command {
	enum step step;
	enum kernel_command_type type;
	uint64_t id;
	struct call call;
	struct table *loading;	  /* LOAD: not in the device yet */
	struct table *destroying; /* taken out of the device */
	uint64_t pass_target;	  /* flush_workqueue(): the worker has to get so far */
	char device_name[128];
	size_t device_name_bytes;
	int error;
};

struct status_command {
	bool busy, counted;
	uint64_t id;
	struct table *table;
	struct call call;
	uint64_t sync_count;
};

struct device {
	bool exists;
	struct table *live, *inactive;
	bool suspended;	 /* DMF_SUSPENDED */
	bool io_blocked; /* DMF_BLOCK_IO_FOR_SUSPEND */
	bool noflush;	 /* DMF_NOFLUSH_SUSPENDING */
	unsigned bios_mapped;
	unsigned bios_kept;
	struct bio_list deferred;
	struct command command;
	struct status_command status;
};

struct kernel {
	struct kernel_config config;
	uint64_t now_ns;
	bool runnable;
	uint32_t seq;		  /* dm_ulog_seq */
	uint64_t remote_limit_ns; /* `limit` of userspace_is_remote_recovering(): one for the host */
	uint64_t next_op;
	luid_t next_luid;
	luid_t *free_luids;
	size_t free_luid_count;
	struct call_list calls; /* not idle */
	struct op_bucket ops[OP_BUCKETS];
	struct table_list tables;
	struct device devices[KERNEL_DEVICES_MAX];
	unsigned device_end; /* one above the highest used */
	struct kernel_output *queue;
	size_t queue_first, queue_count, queue_room;
};

/* kernel.c */
void *kernel_alloc(size_t bytes); /* zeroed; aborts when memory is short: a model is no use then */
struct kernel_output *kernel_emit(struct kernel *kernel, enum kernel_output_type type, unsigned device,
				  luid_t luid);
void kernel_complain(struct table *table, enum kernel_complaint kind, enum ulog_type request, region_t region,
		     int error);

/* kernel_request.c */
bool call_ask(struct table *table, struct call *call, enum ulog_type type, const void *data,
	      size_t data_bytes, size_t room_bytes, bool reconnects, int *ret_error);
bool call_advance(struct kernel *kernel, struct call *call);
void call_forget(struct call *call);

/* kernel_log.c: userspace_*(). Those with a call return false while they wait; then call again with the same
 * arguments. */
bool log_in_sync(struct table *table, struct call *call, region_t region, int *ret_in_sync);
bool log_is_remote_recovering(struct table *table, struct call *call, region_t region, bool *ret_recovering);
bool log_get_resync_work(struct table *table, struct call *call, int *ret_result, region_t *ret_region);
bool log_set_region_sync(struct table *table, struct call *call, region_t region, bool in_sync);
bool log_get_sync_count(struct table *table, struct call *call, uint64_t *ret_count);
bool log_flush(struct table *table, struct call *call, int *ret_error);
void log_mark_region(struct table *table, region_t region);
void log_clear_region(struct table *table, region_t region);
bool log_flusher_run(struct table *table);
bool log_flusher_settle(struct table *table);
void log_free(struct table *table);

/* kernel_region_hash.c */
void rh_init(struct table *table);
void rh_free(struct table *table);
struct region *rh_lookup(struct table *table, region_t region);
struct region *rh_insert(struct table *table, region_t region, enum kernel_region_state state);
void rh_list_move(struct table *table, struct region *region, enum region_list_name list, bool tail);
void rh_dec(struct table *table, region_t region);
bool rh_find(struct table *table, struct call *call, region_t region, struct region **ret_region);
bool rh_get_state(struct table *table, struct call *call, region_t region,
		  enum kernel_region_state *ret_state);

/* kernel_mirror.c */
void mirror_wake(struct table *table);
bool mirror_run(struct table *table);
void mirror_queue_bio(struct table *table, struct bio *bio);
void mirror_hold_bio(struct table *table, struct bio *bio);
void mirror_fail(struct table *table, unsigned leg, enum error_bit error);
int mirror_valid_leg(const struct table *table);
char mirror_leg_char(const struct table *table, unsigned leg);
int mirror_choose(const struct table *table);
void mirror_free(struct table *table);

/* kernel_leg.c */
void leg_write_bio(struct table *table, struct bio *bio, bool all_legs);
void leg_read_bio(struct table *table, struct bio *bio, unsigned leg);
void leg_copy_start(struct table *table, struct region *region);
void leg_op_done(struct kernel *kernel, uint64_t op, int error, uint64_t tag);

/* kernel_device.c */
bool device_run(struct kernel *kernel, unsigned device);
void device_map_bio(struct kernel *kernel, unsigned device, struct bio *bio);
void device_end_bio(struct table *table, struct bio *bio, int error, uint64_t tag, bool requeue);
void table_free(struct table *table);

#endif
