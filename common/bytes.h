/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bounds-checked little-endian reading and writing. Errors are sticky: check `failed` once, at the end. */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A cursor over bytes that belong to somebody else. After an overrun `failed` stays set and every read gives
 * 0. */
struct bytes_reader {
	const uint8_t *at, *end;
	bool failed;
};

void bytes_reader_init(struct bytes_reader *reader, const void *bytes, size_t size_bytes);
uint8_t bytes_read_u8(struct bytes_reader *reader);
uint16_t bytes_read_u16(struct bytes_reader *reader);
uint32_t bytes_read_u32(struct bytes_reader *reader);
uint64_t bytes_read_u64(struct bytes_reader *reader);

/* Unsigned LEB128. Only the shortest encoding of a value is accepted, so that equal values have equal bytes.
 */
uint64_t bytes_read_varint(struct bytes_reader *reader);

/* The next `size_bytes` bytes, borrowed from what is read; NULL (and `failed`) when there are fewer. */
const uint8_t *bytes_read_span(struct bytes_reader *reader, size_t size_bytes);

/* Bytes not yet read; 0 after a failure. */
size_t bytes_reader_left(const struct bytes_reader *reader);

/* A growing buffer. When memory is short `failed` stays set and further writes do nothing. */
struct bytes_writer {
	uint8_t *bytes;
	size_t size, room;
	bool failed;
};

void bytes_writer_init(struct bytes_writer *writer);
void bytes_writer_fini(struct bytes_writer *writer);

/* Forget the content, keep the memory, clear `failed`. */
void bytes_writer_clear(struct bytes_writer *writer);

void bytes_write_u8(struct bytes_writer *writer, uint8_t value);
void bytes_write_u16(struct bytes_writer *writer, uint16_t value);
void bytes_write_u32(struct bytes_writer *writer, uint32_t value);
void bytes_write_u64(struct bytes_writer *writer, uint64_t value);
void bytes_write_varint(struct bytes_writer *writer, uint64_t value);
void bytes_write_span(struct bytes_writer *writer, const void *bytes, size_t size_bytes);
void bytes_write_zeroes(struct bytes_writer *writer, size_t size_bytes);

/* Append four bytes to be filled in later; returns their offset, for bytes_writer_patch_u32(). */
size_t bytes_writer_reserve_u32(struct bytes_writer *writer);
void bytes_writer_patch_u32(struct bytes_writer *writer, size_t offset, uint32_t value);

size_t bytes_writer_size(const struct bytes_writer *writer);

/* Hand the buffer over: the caller frees it with free(3). NULL when empty or failed; the writer is empty
 * then. */
uint8_t *bytes_writer_steal(struct bytes_writer *writer, size_t *ret_size_bytes);

/* Fixed places in memory, for formats that are not streams. */
#define BYTES_VARINT_MAX 10
size_t bytes_put_varint(uint8_t at[BYTES_VARINT_MAX], uint64_t value); /* returns the bytes used */
uint16_t bytes_get_u16(const uint8_t *at);
uint32_t bytes_get_u32(const uint8_t *at);
uint64_t bytes_get_u64(const uint8_t *at);
void bytes_put_u16(uint8_t *at, uint16_t value);
void bytes_put_u32(uint8_t *at, uint32_t value);
void bytes_put_u64(uint8_t *at, uint64_t value);

#endif
