/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of mirrorlogctl to mirrorlogd: one JSON object a line (RFC 8259, UTF-8), at most CONTROL_LINE_MAX
 * bytes.
 *
 *   {"command": "status" | "dump" | "metrics" | "confirm-dead" | "fail-kept" | "repair-pause" |
 * "repair-resume" | "repair-throttle", "node": NUMBER,    confirm-dead only, must be there "uuid": STRING,
 * fail-kept, repair-throttle; without it all logs are meant "rate": NUMBER}    repair-throttle only, must be
 * there: bytes a second for each log, 0 is no limit
 *
 * The answer to each is one line too: {"ok": true, ...} or {"ok": false, "error": TEXT}.
 */
#ifndef PROTOCOL_CONTROL_H
#define PROTOCOL_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "common/types.h"

#define CONTROL_LINE_MAX  ((size_t)64 * 1024)
#define CONTROL_DEPTH_MAX 4

#define CONTROL_RATE_NONE (-1)

/* Name of the socket in the run directory. */
#define CONTROL_SOCKET_NAME "control.sock"

enum control_request_type {
	CONTROL_REQUEST_STATUS,
	CONTROL_REQUEST_DUMP,
	CONTROL_REQUEST_METRICS,
	CONTROL_REQUEST_CONFIRM_DEAD,
	CONTROL_REQUEST_FAIL_KEPT,
	CONTROL_REQUEST_REPAIR_PAUSE,
	CONTROL_REQUEST_REPAIR_RESUME,
	CONTROL_REQUEST_REPAIR_THROTTLE,
	CONTROL_REQUEST_END
};

struct control_request {
	enum control_request_type type;
	node_id_t node;		   /* CONFIRM_DEAD */
	char uuid[LOG_UUID_BYTES]; /* FAIL_KEPT, REPAIR_THROTTLE; empty: all logs */
	int64_t rate;		   /* REPAIR_THROTTLE, bytes a second; else CONTROL_RATE_NONE when decoded */
};

/*
 * Decode a line, without its newline. Anything but exactly one object with known members is refused.
 * Returns 0; -EBADMSG: `*ret_why` says what is wrong (static text), `ret_request` is unchanged; -ENOMEM.
 */
int control_decode(const char *line, size_t size_bytes, struct control_request *ret_request,
		   const char **ret_why);

/* A request as a line without newline, to be freed with free(3); NULL when memory is short. */
char *control_encode(const struct control_request *request);

#endif
