/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control socket says about a core: JSON for programs and mirrorlogctl, Prometheus text for a
 * scraper. */
#ifndef DAEMON_PORT_CONTROL_TEXT_H
#define DAEMON_PORT_CONTROL_TEXT_H

#include <json-c/json.h>

#include "daemon/core/status.h"
#include "daemon/port/netlink.h"

/*
 * The members are named as in status.h. Digests and boot ids are strings of 16 hexadecimal digits (a JSON
 * number need not hold 64 bits); node ids that may be NODE_NONE are null then; `synced_percent` is added,
 * rounded down to two decimals, so that 100 means all. The caller frees with json_object_put(); NULL when
 * memory is short.
 */
struct json_object *control_status_json(const struct core_status *status);

/* Prometheus text format 0.0.4. The caller frees it with free(3); NULL when memory is short. */
char *control_metrics_text(const struct core_status *status, const struct netlink_counts *counts,
			   uint64_t clients_dropped);

#endif
