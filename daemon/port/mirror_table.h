/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines of device-mapper tables that belong to clustered logs. Pure text, no I/O.
 *
 *   userspace N UUID [integrated_flush] clustered-disk MAJ:MIN REGION_SIZE ... LEGS DEV OFFSET ... [FEATURES
 * ...]
 *
 * as mirror_status() of drivers/md/dm-raid1.c and userspace_status() of dm-log-userspace-base.c print it.
 */
#ifndef DAEMON_PORT_MIRROR_TABLE_H
#define DAEMON_PORT_MIRROR_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/types.h"

#define MIRROR_LEGS_MAX	  8   /* DM_KCOPYD_MAX_REGIONS: mirror_ctr() takes no more */
#define MIRROR_PATH_BYTES 256 /* a leg given as a path, with its NUL */

struct mirror_leg {
	uint32_t major, minor;	      /* of the device, when path is empty */
	char path[MIRROR_PATH_BYTES]; /* stand-in tables: a file */
	uint64_t offset_sectors;      /* of the mirror's sector 0 on the leg */
};

/* One mirror target with a clustered log. */
struct mirror_table {
	char uuid[LOG_UUID_BYTES]; /* of the log */
	bool live;		   /* the active table; else the inactive one */
	bool suspended;
	uint32_t major, minor; /* of the mapped device; 0:0 in stand-in tables */
	uint64_t start_sector; /* of the target in the mapped device */
	uint64_t length_sectors;
	bool handles_errors; /* has the feature handle_errors */
	unsigned leg_count;  /* 1 .. MIRROR_LEGS_MAX */
	struct mirror_leg legs[MIRROR_LEGS_MAX];
};

/*
 * Parse the parameters of a target "mirror" (what follows that word). Fills uuid, features and legs,
 * leaves the rest alone. Returns 0; -ENOENT: a mirror, but not with a clustered userspace log; -EINVAL:
 * malformed.
 */
int mirror_table_parse_params(const char *params, struct mirror_table *ret_table);

/* Parse a whole line, "START LENGTH mirror PARAMS", as dmsetup table prints it for one device. Fills
 * start_sector and length_sectors too. -ENOENT also for other targets. */
int mirror_table_parse_line(const char *line, struct mirror_table *ret_table);

#endif
