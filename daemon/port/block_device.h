/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block devices by number. Any thread; all calls may block as long as the device does. */
#ifndef DAEMON_PORT_BLOCK_DEVICE_H
#define DAEMON_PORT_BLOCK_DEVICE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Open the block device MAJOR:MINOR with the flags of open(2) (O_CLOEXEC is added). Names are not trusted: a
 * node is looked at with O_PATH first, and the very inode that was looked at is opened, so no other device is
 * ever touched. Tries /dev/block/MAJOR:MINOR, then a node of our own in /dev and in `scratch_dir` (may be
 * NULL; often mounted nodev). Returns 0 or a negative errno.
 */
int block_device_open(uint32_t major, uint32_t minor, int flags, const char *scratch_dir, int *ret_fd);

/* Size of a block device or regular file in bytes, and its logical block (512 for a file). Returns 0 or a
 * negative errno. */
int block_device_geometry(int fd, uint64_t *ret_size_bytes, uint32_t *ret_block_bytes);

/* All bytes or an error: 0, or a negative errno; -EIO when the end of the device comes before. */
int block_device_read(int fd, void *bytes, size_t size_bytes, uint64_t offset_bytes);
int block_device_write(int fd, const void *bytes, size_t size_bytes, uint64_t offset_bytes);

/* Memory for O_DIRECT, freed with free(3). NULL when there is none. */
#define BLOCK_DEVICE_ALIGN 65536
void *block_device_buffer(size_t size_bytes);

#endif
