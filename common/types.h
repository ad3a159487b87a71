/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_TYPES_H
#define COMMON_TYPES_H

#include <stdint.h>

/* Number of a region, 0 .. region_count - 1. 32 bits hold 4 Gi regions (8 TiB of 2 KiB, 2 EiB of 512 KiB
 * regions). */
typedef uint32_t region_t;

/* Corosync node id; 0 is never a node (corosync.conf(5): nodeid must be non-zero). */
typedef uint32_t node_id_t;
#define NODE_NONE ((node_id_t)0)

/* The kernel's name for one table of a log: the address of its struct dm_dirty_log, unique per host while it
 * lives. */
typedef uint64_t luid_t;

/* Longest UUID of a log with its NUL (DM_UUID_LEN of linux/dm-ioctl.h). */
#define LOG_UUID_BYTES 129

/* Most regions a log may have: a region set is indexed by 32 bits and its size must be expressible too. */
#define LOG_REGIONS_MAX UINT64_C(0xffffffff)

#endif
