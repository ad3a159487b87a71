/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What device-mapper has: mirrors with clustered logs. All questions go to one helper thread, for the ioctls
 * may block; libdevmapper is used by that thread alone.
 *
 * Stand-in for tests (port_config.tables_dir): a directory with a file for each table, named like the device,
 * holding the line as dmsetup table prints it; legs may be paths. A name that ends in ".inactive" is the
 * inactive table of that device, one in ".suspended" a live table that is suspended. Names that begin with
 * "wake." are skipped: EFFECT_WAKE touches wake.UUID there.
 */
#ifndef DAEMON_PORT_DEVICE_MAPPER_H
#define DAEMON_PORT_DEVICE_MAPPER_H

#include "daemon/port/mirror_table.h"
#include "daemon/port/port.h"

struct device_mapper;

/* Returns 0 or a negative errno. A host without device-mapper is no error here. */
int device_mapper_open(const struct port_config *config, struct device_mapper **ret_mapper);

/*
 * Ask for all tables; EVENT_TABLES follows, once a call. On an error, which is logged, it is asked again
 * every second until it works, and EVENT_TABLES follows then: a wrong answer ("none") would speak for
 * instances that live (hazard B3). A host without device-mapper at all has no tables: an empty EVENT_TABLES.
 */
void device_mapper_ask(struct device_mapper *mapper);

/*
 * Find the live table of one log. `found_fn` is called from the loop, never from inside this call: error 0
 * and a borrowed table, or -ENODEV (no such table, no device-mapper), or another negative errno, and NULL.
 */
typedef void (*device_mapper_found_fn)(void *context, int error, const struct mirror_table *table);
void device_mapper_find(struct device_mapper *mapper, const char *uuid, device_mapper_found_fn found_fn,
			void *context);

/* NULL is allowed. Waits for a question under way; what is not answered by then never will be. */
void device_mapper_close(struct device_mapper *mapper);

#endif
