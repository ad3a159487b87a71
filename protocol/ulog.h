/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between dm-log-userspace and its daemon (linux/dm-log-userspace.h, linux/connector.h).
 *
 * One datagram of the netlink connector is, all in the byte order of the host, without gaps:
 *
 *   offset  size  what
 *        0    16  struct nlmsghdr   len, type NLMSG_DONE, flags 0, seq, pid 0 (the kernel)
 *       16    20  struct cn_msg     idx CN_IDX_DM, val CN_VAL_DM_USERSPACE_LOG, seq, ack, u16 len, u16 flags
 *       36   160  struct dm_ulog_request
 *                   0 u64 luid, 8 char uuid[129], 137 padding[3], 140 u32 version, 144 s32 error, 148 u32
 * seq, 152 u32 request_type, 156 u32 data_size 196     n  data, n = data_size
 *
 * The kernel finds the waiting thread by the `seq` of the dm_ulog_request of a full reply, or by cn_msg.seq
 * of a bare one (cn_msg.len 0, the error in cn_msg.ack as a positive or negative number: fill_pkg() takes its
 * sign as it is). cn_ulog_callback() of drivers/md/dm-log-userspace-transfer.c is the other end of each rule
 * here.
 */
#ifndef PROTOCOL_ULOG_H
#define PROTOCOL_ULOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/types.h"

/* Request types; the numbers are those of DM_ULOG_*. */
enum ulog_type {
	ULOG_CTR = 1,
	ULOG_DTR,
	ULOG_PRESUSPEND,
	ULOG_POSTSUSPEND,
	ULOG_RESUME,
	ULOG_GET_REGION_SIZE,
	ULOG_IS_CLEAN,
	ULOG_IN_SYNC,
	ULOG_FLUSH,
	ULOG_MARK_REGION,
	ULOG_CLEAR_REGION,
	ULOG_GET_RESYNC_WORK,
	ULOG_SET_REGION_SYNC,
	ULOG_GET_SYNC_COUNT,
	ULOG_STATUS_INFO,
	ULOG_STATUS_TABLE,
	ULOG_IS_REMOTE_RECOVERING,
	ULOG_TYPE_END
};

#define ULOG_VERSION_MIN 2
#define ULOG_VERSION_MAX 3

#define ULOG_HEADER_BYTES 196  /* all in front of the data */
#define ULOG_DATA_MAX	  4096 /* data of a request we accept; the kernel sends at most 332 */
#define ULOG_REPLY_DATA_MAX                                                                                  \
	316 /* data of a reply: the kernel's own buffers are smaller, DM_ULOG_PREALLOCED_SIZE 512 */
#define ULOG_STATUS_BYTES 64 /* room that covers the longest status string with its NUL */

/* A decoded request. `data` is borrowed from the datagram; for CTR it is the constructor string. */
struct ulog_request {
	uint32_t seq;
	enum ulog_type type;
	uint32_t version; /* ULOG_VERSION_MIN .. ULOG_VERSION_MAX */
	luid_t luid;
	char uuid[LOG_UUID_BYTES]; /* NUL-terminated, not empty */
	const uint8_t *data;	   /* not aligned */
	uint32_t data_bytes;
};

enum ulog_verdict {
	ULOG_OK,
	ULOG_IGNORE,	/* not a request of dm-log-userspace to its daemon; nobody waits */
	ULOG_REFUSE,	/* malformed, but seq (and luid, where it could be read) are set: answer -EINVAL */
	ULOG_MALFORMED, /* malformed, and nobody can be answered */
};

/*
 * Decode one datagram as recvmsg() gave it. Who sent it (nl_pid 0) is for the caller to check.
 * Payload sizes that the type prescribes are checked here: with ULOG_OK the accessors below are in bounds.
 * `*ret_request` is always filled (zero where unknown); `*ret_why` says what is wrong, static text, unless
 * ULOG_OK.
 */
enum ulog_verdict ulog_decode(const void *datagram, size_t size_bytes, struct ulog_request *ret_request,
			      const char **ret_why);

/* Number of regions of MARK_REGION, CLEAR_REGION and FLUSH (0 without integrated_flush), 1 of IS_CLEAN,
 * IN_SYNC, IS_REMOTE_RECOVERING and SET_REGION_SYNC; and each of them. The kernel sends 64 bits; that a
 * region exists in the log is for the caller to check. */
size_t ulog_region_count(const struct ulog_request *request);
uint64_t ulog_region(const struct ulog_request *request, size_t index);

/* SET_REGION_SYNC: the new state. Any value but 0 is true, as in the kernel's own log types. */
bool ulog_in_sync(const struct ulog_request *request);

/*
 * How many data bytes the asking thread has room for (hazard A1): a reply with error -ESRCH to a request of
 * this type must carry this many (zero) bytes, or the kernel's retry has no room for the good answer.
 */
uint32_t ulog_reply_room(enum ulog_type type);

/* Name as in the kernel header without the prefix, "CTR"; "?" for other values. */
const char *ulog_type_name(enum ulog_type type);

/*
 * Append a whole datagram. `error` is 0 or a negative errno. The request's luid and seq address the reply;
 * the uuid is not needed. -EAGAIN and anything without data may go as a bare acknowledgement.
 */
void ulog_encode_reply(struct bytes_writer *writer, uint32_t seq, luid_t luid, int error, const void *data,
		       uint32_t data_bytes);
void ulog_encode_bare_reply(struct bytes_writer *writer, uint32_t seq, int error);

/* Data of replies. The kernel reads them as s64 or u64 in host order. */
void ulog_data_u64(uint8_t ret_data[8], uint64_t value);
void ulog_data_two_u64(uint8_t ret_data[16], uint64_t first, uint64_t second);

/* --- the kernel's side, for stand-ins and tests
 * -------------------------------------------------------------- */

/* Append a request's datagram as the kernel sends it. `request->type` and sizes are not checked. */
void ulog_encode_request(struct bytes_writer *writer, const struct ulog_request *request);

struct ulog_reply {
	uint32_t seq;
	int error; /* 0 or negative errno */
	bool bare;
	const uint8_t *data; /* borrowed; NULL when bare */
	uint32_t data_bytes;
};

/* As cn_ulog_callback() and fill_pkg() read it. Returns 0, or -EBADMSG when the kernel would drop it. */
int ulog_decode_reply(const void *datagram, size_t size_bytes, struct ulog_reply *ret_reply);

#endif
