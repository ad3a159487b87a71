/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The constructor string of a log, and the two status strings.
 *
 *   LEN clustered-disk MAJOR:MINOR REGION_SIZE [sync|nosync] [block_on_error]
 *   LEN clustered-core REGION_SIZE [sync|nosync] [block_on_error]
 *
 * LEN and REGION_SIZE are sectors of 512 bytes. LEN is put there by the kernel (build_constructor_string() of
 * drivers/md/dm-log-userspace-base.c); the rest are words of the table line, separated by blanks. The
 * kernel's word integrated_flush stands before the log type and may be in the string too: it is the kernel's
 * own business and skipped.
 */
#ifndef PROTOCOL_CONSTRUCTOR_H
#define PROTOCOL_CONSTRUCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/types.h"

/* Longest constructor string we accept, with its NUL. */
#define CONSTRUCTOR_BYTES 512

/* Longest status string, with its NUL. */
#define CONSTRUCTOR_STATUS_BYTES 128

enum sync_mode {
	SYNC_DEFAULT, /* as the log says; a new log is out of sync */
	SYNC_FORCE,   /* "sync": all out of sync, whatever the log says */
	SYNC_NOSYNC,  /* "nosync": a new log is in sync */
};

struct constructor {
	uint64_t length_sectors;      /* of the mirror, > 0 */
	bool disk;		      /* clustered-disk; else clustered-core */
	uint32_t major, minor;	      /* of the log device; 0 for a core log */
	uint64_t region_size_sectors; /* power of two, 2 .. 2^31: the kernel keeps it in 32 bits
					 (userspace_ctr()) */
	uint64_t region_count;	      /* 1 .. LOG_REGIONS_MAX, the last region may be partial */
	enum sync_mode sync_mode;
	bool block_on_error;
};

/*
 * Parse the data of a CTR. `*ret_terminated` tells a new table (no NUL: build_constructor_string() leaves it
 * out of data_size) from a reconnect (with NUL, and no room for reply data). Returns 0; -EINVAL and a static
 * text in `*ret_why` when malformed; the other results are unchanged then.
 */
int constructor_parse(const void *data, size_t data_bytes, struct constructor *ret_constructor,
		      bool *ret_terminated, const char **ret_why);

/* Back into text, NUL-terminated, in `room` bytes. Returns the length without the NUL, or -ENOSPC. */
int constructor_format(const struct constructor *constructor, char *ret_text, size_t room);

/* STATUSTYPE_INFO: "1 clustered-core", "3 clustered-disk MAJOR:MINOR HEALTH". Health is A (alive), D (dead:
 * the device cannot be written), F (flush failed), R (unreadable), as in dm-log.c. Result as
 * constructor_format(). */
int constructor_status_info(const struct constructor *constructor, char health, char *ret_text, size_t room);

/* STATUSTYPE_TABLE, as cmirrord printed it: the words of the table line from the log type on, a blank after
 * each. */
int constructor_status_table(const struct constructor *constructor, char *ret_text, size_t room);

/* "MAJOR:MINOR", the answer to a CTR of a disk log. Result as constructor_format(), 0 and "" for a core log.
 */
int constructor_device(const struct constructor *constructor, char *ret_text, size_t room);

/* Number of regions of `length_sectors`, the last one may be partial. 0 when an argument is 0. */
uint64_t constructor_region_count(uint64_t length_sectors, uint64_t region_size_sectors);

#endif
