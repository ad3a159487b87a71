/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model of one host's kernel: device-mapper's life cycle, dm-mirror, its region hash, and dm-log-userspace.
 *
 * Written from Linux 6.1: drivers/md/dm-raid1.c, dm-region-hash.c, dm-log-userspace-base.c, -transfer.c; the
 * function that a piece of kernel.c follows is named there. The model is pure: no clock, no random numbers,
 * no I/O, no threads. The simulator runs many of them in virtual time; a stand-in process runs one against a
 * real daemon in real time.
 *
 * How to drive it:
 *   - Inputs (kernel_command, kernel_submit, kernel_reply, kernel_ack, kernel_send_failed, kernel_leg_done)
 * only record what happened; completions that the kernel handles in interrupt context take effect at once.
 *   - kernel_run(kernel, now_ns) lets every thread of the kernel run until it blocks. Call it after inputs
 * (at once, or later: that is scheduling delay), and when kernel_deadline_ns() has passed.
 *   - After each call, take all outputs with kernel_output() and carry them out in their order.
 *
 * Threads that may each have one request outstanding: of each table its worker (kmirrord), its delayed flush
 * (dmlogd, integrated_flush only); of each device the dmsetup command (load, suspend, resume, clear, remove),
 * and `dmsetup status`.
 *
 * The content of legs is outside: outputs say "write tag T to block B of region R on leg L"; reads bring a
 * tag back.
 */
#ifndef TESTS_MODEL_KERNEL_H
#define TESTS_MODEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/types.h"
#include "protocol/ulog.h"

#define KERNEL_LEGS_MAX		  8
#define KERNEL_DEVICES_MAX	  64
#define KERNEL_TEXT_BYTES	  256
#define KERNEL_REQUEST_BYTES	  332 /* most data of a request (DM_ULOG_PREALLOCED_SIZE less both headers) */
#define KERNEL_NEVER		  UINT64_MAX
#define KERNEL_REQUEST_TIMEOUT_NS UINT64_C(15000000000) /* DM_ULOG_RETRY_TIMEOUT */
#define KERNEL_RECONNECT_NS	  UINT64_C(2000000000)	/* userspace_do_request() */
#define KERNEL_REMOTE_LIMIT_NS	  UINT64_C(250000000)	/* userspace_is_remote_recovering(): `limit` */
#define KERNEL_DELAYED_WAKE_NS	  UINT64_C(200000000)	/* delayed_wake() */
#define KERNEL_DELAYED_FLUSH_NS	  UINT64_C(3000000000)	/* userspace_flush() with integrated_flush */

struct kernel_config {
	uint32_t version;    /* of the messages: 2 or 3 */
	uint64_t first_luid; /* luids are first_luid + 0x40 * n; must differ between hosts in a simulation
				only for legibility */
	bool reuse_luids;    /* hand out the luid freed last again, as a slab does */
	uint32_t blocks_per_region; /* units of a copy: kcopyd reads and writes one block after the other */
};

/*
 * One mirror table: `0 LENGTH mirror userspace N UUID [integrated_flush] LOG_ARGS LEGS ... [FEATURES]`.
 * Strings are copied.
 */
struct kernel_table {
	const char *uuid;
	uint64_t length_sectors;
	const char *log_args; /* what follows UUID [integrated_flush]: "clustered-disk 253:3 1024 nosync 2
				 253:1 0 253:2 0" */
	bool integrated_flush;
	unsigned leg_count; /* 2 .. KERNEL_LEGS_MAX */
	bool handle_errors;
	bool keep_log; /* only with handle_errors */
};

/* --- outputs
 * ------------------------------------------------------------------------------------------------- */

enum kernel_output_type {
	KERNEL_SEND,	 /* a request for the daemon; if it reaches nobody: kernel_send_failed(seq, -ESRCH) */
	KERNEL_LEG_READ, /* answer with kernel_leg_done(op, error, tag) */
	KERNEL_LEG_WRITE, /* the other three likewise, tag ignored; each leg's write lands at its own time */
	KERNEL_LEG_FLUSH, /* flush the write cache of the leg */
	KERNEL_LEG_DISCARD,
	KERNEL_BIO_DONE,     /* a bio of kernel_submit() is complete */
	KERNEL_COMMAND_DONE, /* a kernel_command() is complete */
	KERNEL_TABLE_EVENT,  /* dm_table_event(): dmeventd would look at the status now */
	KERNEL_COMPLAINT,    /* what a real kernel prints, or would silently suffer */
};

enum kernel_complaint {
	KERNEL_TIMEOUT,	      /* no answer within 15 s: sent again with a new seq */
	KERNEL_SERVER_LOST,   /* -ESRCH: the reconnect loop begins */
	KERNEL_RECONNECTED,   /* CTR and RESUME of the loop succeeded */
	KERNEL_RESUME_FAILED, /* RESUME of the loop failed: the caller gets -ESRCH (hazard A2) */
	KERNEL_NO_ROOM,	      /* reply longer than the caller's room: -ENOSPC (hazard A1) */
	KERNEL_SHORT_REPLY,   /* a good reply shorter than the answer: the kernel reads old stack memory */
	KERNEL_LATE_REPLY,    /* nobody waits for that seq: dropped */
	KERNEL_BAD_NAME,      /* CTR's device name is not terminated */
	KERNEL_CALL_FAILED,   /* a request of a table that the kernel sends once (life cycle) failed */
	KERNEL_ANSWER_LOST, /* IN_SYNC failed and reads 0, GET_SYNC_COUNT likewise, MARK or CLEAR list dropped
			     */
	KERNEL_LOG_FAILURE, /* FLUSH failed: log_failure of the table is set for good */
	KERNEL_LEG_FAILURE, /* a leg had an error */
	KERNEL_FLUSH_FAILURE,  /* a cache flush had failed: the region is out of sync now, and the log hears
				  nothing, neither of that nor a CLEAR (hazard A7) */
	KERNEL_WRITE_UNMARKED, /* a write went to all legs of a region that the log was not told of (hazards
				  A3, A2) */
	KERNEL_WRITE_ONE_LEG,  /* a write went to the default mirror only */
	KERNEL_COMPLAINTS_END
};

struct kernel_output {
	enum kernel_output_type type;
	unsigned device; /* all but where noted */
	luid_t luid;	 /* of the table, 0 if none */
	union {
		struct {
			uint32_t seq;
			enum ulog_type type;
			uint32_t version;
			char uuid[LOG_UUID_BYTES];
			uint8_t data[KERNEL_REQUEST_BYTES];
			uint32_t data_bytes;
			bool resent; /* after a timeout or -EAGAIN */
		} send;
		struct kernel_leg {
			uint64_t op; /* never 0 */
			unsigned leg;
			region_t region;
			uint32_t block;
			uint64_t tag; /* LEG_WRITE */
			bool copy;    /* part of a recovery copy */
			bool fua;     /* LEG_WRITE: on stable storage when done */
		} leg;
		struct {
			uint64_t id;  /* as in kernel_submit() */
			int error;    /* 0 or -EIO */
			uint64_t tag; /* reads */
		} bio;
		struct {
			uint64_t id; /* as in kernel_command() */
			int error;
			char text[KERNEL_TEXT_BYTES]; /* STATUS: the line, else empty */
		} command;
		struct {
			enum kernel_complaint kind;
			enum ulog_type request; /* 0 where none */
			region_t region;
			int error;
		} complaint;
	};
};

/* --- inputs
 * -------------------------------------------------------------------------------------------------- */

struct kernel;

/* Returns NULL when memory is short. The caller owns the kernel; kernel_free() is a power cut: nothing more
 * happens. */
struct kernel *kernel_new(const struct kernel_config *config);
void kernel_free(struct kernel *kernel);

/* `dmsetup create --notable`: a device without a table. Returns its number, or -ENOSPC. Numbers of removed
 * devices are used again. */
int kernel_device_create(struct kernel *kernel);

enum kernel_command_type {
	KERNEL_LOAD,  /* the table becomes the inactive one: CTR, GET_REGION_SIZE. A former inactive one: DTR
		       */
	KERNEL_CLEAR, /* drop the inactive table: DTR */
	KERNEL_SUSPEND,		/* PRESUSPEND, wait for I/O, POSTSUSPEND; held writes fail */
	KERNEL_SUSPEND_NOFLUSH, /* the same; held writes are kept and go to the next table (lvm's way) */
	KERNEL_RESUME, /* with an inactive table: suspend if not suspended, swap, RESUME(new), DTR(old) */
	KERNEL_REMOVE, /* suspends, drops both tables and the device. Only without I/O in flight (open count
			  0) */
	KERNEL_STATUS, /* GET_SYNC_COUNT, STATUS_INFO; may run beside any other command */
};

/*
 * Start a dmsetup command; `id` is given back with KERNEL_COMMAND_DONE. `table` is for KERNEL_LOAD, borrowed
 * for the call. Commands of one device run one after the other: -EBUSY while one is under way (STATUS: while
 * a STATUS is). Returns 0, -EBUSY, -ENODEV, or -EINVAL (what dmsetup refuses at once). Errors change nothing.
 */
int kernel_command(struct kernel *kernel, unsigned device, enum kernel_command_type type,
		   const struct kernel_table *table, uint64_t id);

enum kernel_bio_type { KERNEL_READ, KERNEL_WRITE, KERNEL_FLUSH, KERNEL_DISCARD };

struct kernel_bio {
	uint64_t id; /* given back with KERNEL_BIO_DONE */
	enum kernel_bio_type type;
	region_t region; /* not FLUSH */
	uint32_t block;	 /* not FLUSH; below blocks_per_region */
	uint64_t tag;	 /* WRITE: the data */
	bool fua;	 /* WRITE */
};

/* Returns 0, -ENODEV (no device, no table) or -EINVAL (beyond the end). A suspended device keeps the bio. */
int kernel_submit(struct kernel *kernel, unsigned device, const struct kernel_bio *bio);

/* A full reply of the daemon, as cn_ulog_callback() gets it: error 0 or negative errno, data as is. */
void kernel_reply(struct kernel *kernel, uint32_t seq, int error, const void *data, size_t data_bytes);

/* A bare acknowledgement (cn_msg.len 0); error is 0 or the negative errno that the kernel would read. */
void kernel_ack(struct kernel *kernel, uint32_t seq, int error);

/* The send failed: -ESRCH, nobody listens or the listener's socket overflowed. */
void kernel_send_failed(struct kernel *kernel, uint32_t seq, int error);

/* A leg operation ended; error 0 or -EIO; `tag` for reads. Unknown `op`: ignored. */
void kernel_leg_done(struct kernel *kernel, uint64_t op, int error, uint64_t tag);

/* --- time and outputs
 * ---------------------------------------------------------------------------------------- */

/* Let all threads run until each blocks. `now_ns` never decreases. */
void kernel_run(struct kernel *kernel, uint64_t now_ns);

/* When kernel_run() has something to do: 0 at once, KERNEL_NEVER not without another input. */
uint64_t kernel_deadline_ns(const struct kernel *kernel);

/* Take the oldest output. Returns false when there is none. */
bool kernel_output(struct kernel *kernel, struct kernel_output *ret_output);

/* --- for checkers
 * -------------------------------------------------------------------------------------------- */

enum kernel_region_state {
	KERNEL_REGION_CLEAN,
	KERNEL_REGION_DIRTY,
	KERNEL_REGION_NOSYNC,
	KERNEL_REGION_RECOVERING
};

struct kernel_region {
	unsigned device;
	luid_t luid;
	const char *uuid; /* borrowed */
	region_t region;
	enum kernel_region_state state;
	unsigned pending;    /* bios counted by the region hash, held and waiting ones too */
	unsigned leg_writes; /* data writes that are on their way to legs, not counting copies */
	bool copying;	     /* a recovery copy is between its first read and its last write */
};

/* Call `each` for every region in the hash of every table. */
void kernel_regions(const struct kernel *kernel,
		    void (*each)(void *context, const struct kernel_region *region), void *context);

struct kernel_device {
	bool live, suspended, has_inactive;
	bool busy; /* a command (not STATUS) is under way */
	luid_t live_luid, inactive_luid;
	const char *live_uuid, *inactive_uuid; /* borrowed, NULL if none */
	unsigned bios;			       /* submitted and not complete, kept ones too */
	bool log_failure;		       /* of the live table */
	unsigned default_leg;
	uint64_t in_sync_hint;
	uint64_t region_count;
	bool in_sync;			      /* ms->in_sync */
	char leg_status[KERNEL_LEGS_MAX + 1]; /* A D S F R of the live table */
};

/* Returns 0 or -ENODEV. */
int kernel_device_info(const struct kernel *kernel, unsigned device, struct kernel_device *ret_device);

/* Requests sent and not answered, by all threads. */
unsigned kernel_requests_waiting(const struct kernel *kernel);

/* Takes `count` numbers of requests out of the kernel's own, for requests that the caller sends. Returns the
 * first. */
uint32_t kernel_seqs_take(struct kernel *kernel, uint32_t count);

const char *kernel_complaint_name(enum kernel_complaint kind);

#endif
