/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question to a running mirrorlogd, and its answer. */
#ifndef DAEMON_CTL_CONNECTION_H
#define DAEMON_CTL_CONNECTION_H

#include <json-c/json.h>

#include "protocol/control.h"

/*
 * Ask the daemon whose run directory this is; blocks until it answers, ten seconds at most. The caller frees
 * the answer with json_object_put(). Returns 0; -ECONNREFUSED or -ENOENT: no daemon runs there; -ETIMEDOUT:
 * it does not answer; -EBADMSG: the answer is no JSON object; or another negative errno.
 */
int connection_ask(const char *run_dir, const struct control_request *request,
		   struct json_object **ret_answer);

#endif
