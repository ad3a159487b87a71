/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bitmap in a file, mapped shared: what is set outlives the process (run_dir.h). Bit r is bit r % 8 of byte
 * r / 8. */
#ifndef DAEMON_PORT_BIT_FILE_H
#define DAEMON_PORT_BIT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/region_set.h"

#define BIT_FILE_CHUNK_BYTES 4096u

/* All zero is a bit file of size 0. The file itself is opened only for the moment in which it is needed. */
struct bit_file {
	uint8_t *map;	    /* NULL when size_bytes is 0 */
	size_t size_bytes;  /* multiple of the chunk */
	uint8_t *allocated; /* one byte a chunk: it has memory, and may have bits */
};

/*
 * Map what is there: `name` in the directory `dir_fd`, or nothing. Holes are not touched. Returns 0; -EUCLEAN
 * when the size cannot be one of ours; or another negative errno.
 */
int bit_file_load(struct bit_file *file, int dir_fd, const char *name);

/* Set regions first .. first + count - 1, growing the file as needed. Returns 0 or a negative errno (then
 * some may be set). */
int bit_file_set(struct bit_file *file, int dir_fd, const char *name, uint64_t first, uint64_t count);

/* Clear them; what was never set is not touched. Cannot fail. */
void bit_file_clear(struct bit_file *file, uint64_t first, uint64_t count);

/* Clear all from `first` on. */
void bit_file_truncate(struct bit_file *file, uint64_t first);

/* ret_set (initialised) := all regions. */
void bit_file_regions(const struct bit_file *file, struct region_set *ret_set);

void bit_file_unmap(struct bit_file *file);

#endif
