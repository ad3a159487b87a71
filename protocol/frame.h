/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What daemons tell each other: a frame is one CPG message, a header and any number of records. Layout, all
 * little-endian:
 *
 *   header   u32 magic "mlog", u16 version, u16 zero, u64 incarnation of the sender
 *   record   u8 type, u32 body bytes, body
 *
 * A region set is u32 bytes + region_set_serialize(). A text is u16 bytes + bytes, no NUL. Decoding checks
 * every bound and refuses a body with bytes left over; a frame with one bad record is refused as a whole
 * before any of it is applied (frame_check()). The meaning of each record is in protocol/README.
 */
#ifndef PROTOCOL_FRAME_H
#define PROTOCOL_FRAME_H

#include <stdbool.h>

#include "common/bytes.h"
#include "common/region_set.h"
#include "common/types.h"

/* Versions of the cluster protocol that this build speaks. A cluster runs the highest that all its daemons
 * speak; a daemon that does not speak the version of a running cluster is refused. */
#ifndef PROTOCOL_VERSION_MIN /* tests of mixed clusters build daemons of other versions */
#define PROTOCOL_VERSION_MIN 1
#define PROTOCOL_VERSION_MAX 1
#endif

#define FRAME_MAX_BYTES	   (512u * 1024) /* corosync fragments from 1 MiB on */
#define FRAME_BUDGET_BYTES (64u * 1024)	 /* a sender starts no further record beyond this */
#define STREAM_CHUNK_BYTES (32u * 1024)
#define FRAME_NODES_MAX	   128 /* CPG_MEMBERS_MAX of corosync/cpg.h */

enum record_type {
	RECORD_HELLO = 1, /* who I am in this view: version, boot, state, quorum */
	RECORD_STREAM, /* a piece of a checkpoint, of what a node speaks for a log, or of a device's content
			*/
	RECORD_READY,  /* all that this node has to say about its logs was said */
	RECORD_RESUME, /* an instance is resumed */
	RECORD_SUSPENDED,     /* an instance is suspended; a writer has stopped writing */
	RECORD_DESTROYED,     /* an instance is gone */
	RECORD_MARK,	      /* writes may be in flight to these regions */
	RECORD_CLEAR,	      /* no write in flight any more, legs flushed */
	RECORD_SYNCED,	      /* the recoverer copied these regions, legs flushed */
	RECORD_FAILED,	      /* SET_REGION_SYNC(r, 0) */
	RECORD_COMMIT,	      /* the writer has the marks of these batches on the log device */
	RECORD_ACK,	      /* a member of a core log has this batch */
	RECORD_WANT,	      /* writers wait for the recovery of these regions */
	RECORD_CLAIM,	      /* the repairer wants to copy a region */
	RECORD_RELEASE,	      /* the claim ends */
	RECORD_NODE_DOWN,     /* a node whose daemon was gone left the ring */
	RECORD_NODE_DEAD,     /* a node is known dead */
	RECORD_WRITER_FAILED, /* the writer cannot write the log device */
	RECORD_LEAVING,	      /* an instance has cleared all it can: only its SUSPENDED is left */
	RECORD_WRITER_AGAIN,  /* writes wait for a dead log device: the sender tries it again */
	RECORD_MEMBER_KNOWN,  /* the sender knows of what made this node a member */
	RECORD_DOUBT,	      /* a flush of the legs failed behind writes of the sender to these regions */
	RECORD_CLAIM_KNOWN,   /* the writer of the log device knows of a claim: marks on it wait */
	RECORD_WRITE_ENDED,   /* the log device write that the sender spoke of is not in flight any more */
	RECORD_TYPE_END
};

enum stream_kind { STREAM_CHECKPOINT = 1, STREAM_SPEAK, STREAM_DEVICE, STREAM_KIND_END };

struct record_hello {
	uint16_t version_min, version_max;
	uint64_t ring_seq; /* the ring that the view belongs to */
	node_id_t ring_representative;
	uint64_t boot_id;
	uint64_t incarnation;	   /* the one in use */
	uint64_t next_incarnation; /* the one taken if this node has to start from a checkpoint */
	uint64_t epoch;		   /* of the last active view this node was in */
	node_id_t component;   /* lowest node of the part of the cluster this node came through splits with */
	bool ready;	       /* its state is complete */
	bool was_active;       /* its last view was quorate to the end */
	bool quorate;	       /* in the ring of this view */
	uint32_t member_count; /* the view, ascending */
	node_id_t members[FRAME_NODES_MAX];
	uint32_t
	    ring_node_count; /* nodes that there are, configured or in the ring, with or without a daemon */
	node_id_t ring_nodes[FRAME_NODES_MAX];
};

struct record_stream {
	enum stream_kind kind;
	uint64_t id;		/* unique for the sender */
	uint32_t total_bytes;	/* compressed */
	uint32_t content_bytes; /* after decompression */
	uint32_t offset_bytes;
	uint32_t size_bytes;
	const uint8_t *bytes;
};

/* What all members of a log must agree on (but for the mode, which only the first table is asked for). */
enum shape_sync { SHAPE_DEFAULT, SHAPE_SYNC, SHAPE_NOSYNC, SHAPE_SYNC_END };

struct log_shape {
	bool disk;
	enum shape_sync sync_mode;
	uint64_t length_sectors;
	uint64_t region_size_sectors;
	uint64_t region_count;
};

struct commit_pair {
	node_id_t node;
	uint64_t incarnation; /* whose batch it is: a new life of a daemon counts anew */
	uint64_t batch;
};

/* One decoded record. Texts are copied; sets belong to the record (record_init, record_fini). */
struct record {
	enum record_type type;
	uint32_t
	    log; /* number of the log in the replicated state; all but HELLO, STREAM, READY, RESUME, NODE_* */
	luid_t luid;		   /* RESUME, LEAVING, SUSPENDED, DESTROYED */
	uint64_t batch;		   /* MARK, ACK; CLAIM_KNOWN, MEMBER_KNOWN: number of what is known */
	node_id_t node;		   /* ACK, NODE_DOWN, NODE_DEAD */
	uint64_t incarnation;	   /* ACK: of the node whose batch it is */
	uint64_t boot_id;	   /* NODE_DOWN, NODE_DEAD; 0: any */
	region_t region;	   /* FAILED, CLAIM, RELEASE */
	bool flag;		   /* RESUME: tainted; RELEASE: the region was copied */
	char uuid[LOG_UUID_BYTES]; /* RESUME */
	struct log_shape shape;	   /* RESUME */
	struct region_set
	    regions; /* RESUME: leftover marks; MARK, CLEAR, SYNCED, WANT, DESTROYED: leftover marks */
	uint32_t commit_count; /* COMMIT */
	struct commit_pair commits[FRAME_NODES_MAX];
	struct record_hello hello;
	struct record_stream stream; /* bytes are borrowed from the frame */
};

void record_init(struct record *record);
void record_fini(struct record *record);

/* Begin a frame in an empty writer. */
void frame_begin(struct bytes_writer *writer, uint16_t version, uint64_t incarnation);

/* Append a record. Memory shortage shows in writer->failed. */
void record_encode(struct bytes_writer *writer, const struct record *record);

/* Read the header of a frame. Returns 0, -EPROTO (not a frame of ours) or -EPROTONOSUPPORT (other version).
 */
int frame_open(struct bytes_reader *reader, const uint8_t *bytes, size_t size, uint64_t *ret_incarnation);

/* Decode the next record into `record` (initialised; its former content is dropped).
 * Returns 1, 0 at the end of the frame, -EPROTO when malformed, -ENOMEM. */
int frame_next(struct bytes_reader *reader, struct record *record);

/* Check all records of a frame without using them. Returns 0 or a negative errno as above. */
int frame_check(const uint8_t *bytes, size_t size);

/* Name of a record type for traces, never NULL. */
const char *record_type_name(enum record_type type);

/* Shared by frames and streams. */
void shape_encode(struct bytes_writer *writer, const struct log_shape *shape);
int shape_decode(struct bytes_reader *reader, struct log_shape *ret_shape); /* 0 or -EPROTO */
void set_encode(struct bytes_writer *writer, const struct region_set *set);
int set_decode(struct bytes_reader *reader, struct region_set *set,
	       uint64_t region_limit); /* 0, -EPROTO, -ENOMEM */
void text_encode(struct bytes_writer *writer, const char *text);
int text_decode(struct bytes_reader *reader, char *ret_text, size_t room); /* 0 or -EPROTO */

#endif
