/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a block of a leg says about itself, and the record of who wrote what.
 *
 * A block is 4096 bytes, written as a whole. Each of its sectors of 512 bytes carries the tag, little-endian:
 *
 *   offset  size  what
 *        0     8  magic
 *        8     8  number of the sector on the mirror
 *       16     8  tag: node that wrote it << 48 | number of this write on that node, from 1
 *       24   480  pattern made from the tag, so that a sector mixed from two writes is found
 *      504     8  XXH64 of all before
 *
 * The record is a file mapped by the stand-in: it outlives the process, so that the writes of a node that was
 * killed are known. One entry a block, four u64 in host order: last write begun, last write acknowledged to
 * its writer, and when that one was begun and acknowledged (CLOCK_BOOTTIME, which all nodes of the test
 * share).
 */
#ifndef CLUSTER_TESTS_NETNS_BLOCK_TAG_H
#define CLUSTER_TESTS_NETNS_BLOCK_TAG_H

#include <stddef.h>
#include <stdint.h>

#define SECTOR_BYTES	 512u
#define BLOCK_BYTES	 4096u
#define BLOCK_TAG_MAGIC	 UINT64_C(0x67617472726f7272)
#define BLOCK_NODE_SHIFT 48

/* `tag` is not 0. */
void block_encode(uint64_t block, uint64_t tag, uint8_t ret_bytes[BLOCK_BYTES]);

/* Returns 0 and the tag, which is 0 for a block of zeroes; -EBADMSG for any other content, and for a block of
 * several writes. */
int block_decode(uint64_t block, const uint8_t bytes[BLOCK_BYTES], uint64_t *ret_tag);

struct block_record {
	uint64_t begun;
	uint64_t acknowledged;
	uint64_t acknowledged_begin_ns;
	uint64_t acknowledged_end_ns;
};

struct block_records {
	struct block_record *entries; /* one a block */
	uint64_t count;
};

/* Map (and make, if need be) the record file. Returns 0 or a negative errno. */
int block_records_open(struct block_records *records, const char *path, uint64_t block_count);
void block_records_close(struct block_records *records);

#endif
