/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/log_device.h"

#include <assert.h>
#include <string.h>

#include "common/bytes.h"

static bool block_is_valid(uint32_t block_bytes)
{
	return block_bytes >= 512 && block_bytes <= 65536 && (block_bytes & (block_bytes - 1)) == 0;
}

uint64_t log_device_used_bytes(uint64_t region_count)
{
	/* create_log_context() rounds the bits up to an unsigned long. */
	return LOG_DEVICE_BITS_OFFSET + (region_count + 63) / 64 * 8;
}

uint64_t log_device_image_bytes(uint64_t region_count, uint32_t block_bytes)
{
	assert(block_is_valid(block_bytes));
	return (log_device_used_bytes(region_count) + block_bytes - 1) / block_bytes * block_bytes;
}

uint64_t log_device_byte(region_t region)
{
	return LOG_DEVICE_BITS_OFFSET + region / 8;
}

uint64_t log_device_block(region_t region, uint32_t block_bytes)
{
	assert(block_is_valid(block_bytes));
	return log_device_byte(region) / block_bytes;
}

/* The region whose bit is the first at or after a byte of the device. */
static uint64_t region_at_byte(uint64_t byte, uint64_t region_count)
{
	uint64_t region = byte > LOG_DEVICE_BITS_OFFSET ? (byte - LOG_DEVICE_BITS_OFFSET) * 8 : 0;

	return region < region_count ? region : region_count;
}

void log_device_block_regions(uint64_t block, uint32_t block_bytes, uint64_t region_count,
			      uint64_t *ret_first, uint64_t *ret_end)
{
	assert(block_is_valid(block_bytes));
	*ret_first = region_at_byte(block * block_bytes, region_count);
	*ret_end = region_at_byte((block + 1) * block_bytes, region_count);
}

/* The regions of [0, count) whose bits are 0. */
static void decode_bits(const uint8_t *bits, uint64_t count, struct region_set *dirty)
{
	uint64_t first = 0; /* where the run of dirty regions began; == at: there is none */
	uint64_t at = 0;
	struct region_set_builder builder;

	region_set_build_begin(&builder, dirty);
	while (at < count) {
		uint8_t byte = bits[at / 8];
		if (at % 8 == 0 && (byte == 0x00 || byte == 0xff) && count - at >= 8) {
			if (byte == 0xff) {
				region_set_build_run(&builder, first, at);
				first = at + 8;
			}
			at += 8;
			continue;
		}
		if (byte >> (at % 8) & 1) {
			region_set_build_run(&builder, first, at);
			first = at + 1;
		}
		at++;
	}
	region_set_build_run(&builder, first, count);
	region_set_build_end(&builder);
}

enum log_device_found log_device_decode(const uint8_t *bytes, size_t size_bytes, uint64_t region_count,
					enum sync_mode sync_mode, struct region_set *dirty,
					uint64_t *ret_header_regions)
{
	if (ret_header_regions)
		*ret_header_regions = 0;
	region_set_clear(dirty);
	if (size_bytes < log_device_used_bytes(region_count)) {
		region_set_add_range(dirty, 0, region_count);
		return LOG_DEVICE_SHORT;
	}
	if (bytes_get_u32(bytes) != LOG_DEVICE_MAGIC) {
		if (sync_mode != SYNC_NOSYNC)
			region_set_add_range(dirty, 0, region_count);
		return LOG_DEVICE_BLANK;
	}
	uint32_t version = bytes_get_u32(bytes + 4);
	if (version < 1 || version > LOG_DEVICE_VERSION) {
		region_set_add_range(dirty, 0, region_count);
		return LOG_DEVICE_FOREIGN;
	}
	uint64_t header_regions = bytes_get_u64(bytes + 8);
	if (ret_header_regions)
		*ret_header_regions = header_regions;
	if (sync_mode == SYNC_FORCE) {
		region_set_add_range(dirty, 0, region_count);
		return LOG_DEVICE_LOG;
	}
	uint64_t known = header_regions < region_count ? header_regions : region_count;
	decode_bits(bytes + LOG_DEVICE_BITS_OFFSET, known, dirty);
	if (sync_mode != SYNC_NOSYNC)
		region_set_add_range(dirty, known, region_count);
	return LOG_DEVICE_LOG;
}

/* Clear the bits [first, end) of a run of bytes whose first bit is region `base`. */
static void clear_bits(uint8_t *bits, uint64_t base, uint64_t first, uint64_t end)
{
	uint64_t at = first - base;
	uint64_t stop = end - base;

	while (at < stop) {
		if (at % 8 == 0 && stop - at >= 8) {
			uint64_t whole = (stop - at) / 8;
			memset(bits + at / 8, 0, whole);
			at += whole * 8;
		} else {
			bits[at / 8] = (uint8_t)(bits[at / 8] & ~(1u << (at % 8)));
			at++;
		}
	}
}

void log_device_encode(uint64_t offset_bytes, size_t size_bytes, uint64_t region_count,
		       const struct region_set *dirty, uint8_t *ret_bytes)
{
	assert(offset_bytes % 512 == 0 && size_bytes % 512 == 0 && offset_bytes <= UINT64_MAX - size_bytes);

	memset(ret_bytes, 0, size_bytes);
	if (offset_bytes == 0 && size_bytes > 0) {
		bytes_put_u32(ret_bytes, LOG_DEVICE_MAGIC);
		bytes_put_u32(ret_bytes + 4, LOG_DEVICE_VERSION);
		bytes_put_u64(ret_bytes + 8, region_count);
	}
	uint64_t first = region_at_byte(offset_bytes, region_count);
	uint64_t end = region_at_byte(offset_bytes + size_bytes, region_count);
	if (first == end)
		return;

	uint64_t bits_byte = LOG_DEVICE_BITS_OFFSET + first / 8;
	uint8_t *bits = ret_bytes + (bits_byte - offset_bytes);
	memset(bits, 0xff, (end - first) / 8);
	if ((end - first) % 8 != 0)
		bits[(end - first) / 8] = (uint8_t)((1u << ((end - first) % 8)) - 1);
	uint64_t run_first, run_end = first;
	while (run_end < end && region_set_next_run(dirty, run_end, &run_first, &run_end) && run_first < end)
		clear_bits(bits, first, run_first, run_end < end ? run_end : end);
}

void log_device_set_clean(uint8_t *image, region_t region, bool clean)
{
	uint8_t *byte = image + log_device_byte(region);
	uint8_t bit = (uint8_t)(1u << (region % 8));

	*byte = (uint8_t)(clean ? *byte | bit : *byte & ~bit);
}

bool log_device_is_clean(const uint8_t *image, region_t region)
{
	return image[log_device_byte(region)] >> (region % 8) & 1;
}
