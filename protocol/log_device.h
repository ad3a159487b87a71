/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The on-disk format of the log, shared with the kernel's own `disk` log (drivers/md/dm-log.c). No I/O here.
 *
 *   byte    0  le32 magic 0x4D695272 ("MiRr"), le32 version, le64 nr_regions, zeroes
 *   byte 1024  one bit a region, region r is bit r % 8 (from the lowest) of byte r / 8; 1 = clean
 *
 * Version 2 is written; version 1 is read the same way (header_from_disk() of dm-log.c). Bits beyond
 * nr_regions mean nothing and are written as 0.
 */
#ifndef PROTOCOL_LOG_DEVICE_H
#define PROTOCOL_LOG_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/region_set.h"
#include "common/types.h"
#include "protocol/constructor.h"

#define LOG_DEVICE_MAGIC       UINT32_C(0x4D695272)
#define LOG_DEVICE_VERSION     2
#define LOG_DEVICE_BITS_OFFSET UINT64_C(1024)

/* What LVM writes into a header it makes itself (_write_log_header() of lib/metadata/mirror.c): all bits that
 * the device holds are valid. */
#define LOG_DEVICE_REGIONS_ALL UINT64_MAX

/* Bytes that must be read and are owned on the device for so many regions, rounded up to blocks of
 * `block_bytes` (a power of two, 512 .. 65536). */
uint64_t log_device_image_bytes(uint64_t region_count, uint32_t block_bytes);

/* Bytes in use for so many regions, not rounded to blocks. */
uint64_t log_device_used_bytes(uint64_t region_count);

/* Byte of the device that holds the bit of a region, and the block that holds it. */
uint64_t log_device_byte(region_t region);
uint64_t log_device_block(region_t region, uint32_t block_bytes);

/* The regions whose bits are in a block: *ret_first .. *ret_end - 1 (empty for a block of the header alone).
 */
void log_device_block_regions(uint64_t block, uint32_t block_bytes, uint64_t region_count,
			      uint64_t *ret_first, uint64_t *ret_end);

enum log_device_found {
	LOG_DEVICE_LOG,	    /* a header we can read: `dirty` is what the bits say */
	LOG_DEVICE_BLANK,   /* no header of this format: a new log (or one that lost it), `dirty` by sync mode
			     */
	LOG_DEVICE_FOREIGN, /* right magic, but a version from the future: must not be touched; all dirty */
	LOG_DEVICE_SHORT, /* fewer bytes than the regions need: the device is too small or was read short; all
			     dirty */
};

/*
 * What is on a device, given its first bytes (header and bits, as many as log_device_image_bytes() says; more
 * is ignored) for a mirror of `region_count` regions. `dirty` (initialised) is replaced: the regions that may
 * differ.
 *
 * Fewer regions in the header than the mirror has: the new ones are dirty, or clean with SYNC_NOSYNC. More:
 * ignored. SYNC_FORCE: all dirty. SYNC_NOSYNC: all clean only where there is no header. A read that failed
 * never comes here: it is all dirty (see kernel-contract on nosync; disk_resume() ignores the header with
 * nosync, we do not).
 * `*ret_header_regions`, if not NULL, is nr_regions as it stood there, 0 without header.
 */
enum log_device_found log_device_decode(const uint8_t *bytes, size_t size_bytes, uint64_t region_count,
					enum sync_mode sync_mode, struct region_set *dirty,
					uint64_t *ret_header_regions);

/*
 * The bytes of one block (or of several in a row: `size_bytes` is a multiple of block_bytes) of a log in
 * which exactly the regions of `dirty` are dirty. The image is a function of its arguments: nothing has to be
 * read first.
 */
void log_device_encode(uint64_t offset_bytes, size_t size_bytes, uint64_t region_count,
		       const struct region_set *dirty, uint8_t *ret_bytes);

/* One bit of an image that starts at byte 0 of the device. */
void log_device_set_clean(uint8_t *image, region_t region, bool clean);
bool log_device_is_clean(const uint8_t *image, region_t region);

#endif
