/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/bytes.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define WRITER_FIRST_ROOM 256

void bytes_reader_init(struct bytes_reader *reader, const void *bytes, size_t size_bytes)
{
	const uint8_t *at = bytes;

	*reader = (struct bytes_reader){.at = at, .end = size_bytes > 0 ? at + size_bytes : at};
}

const uint8_t *bytes_read_span(struct bytes_reader *reader, size_t size_bytes)
{
	if (reader->failed || (size_t)(reader->end - reader->at) < size_bytes) {
		reader->failed = true;
		return NULL;
	}
	const uint8_t *span = reader->at;
	if (size_bytes > 0)
		reader->at += size_bytes;
	return span;
}

size_t bytes_reader_left(const struct bytes_reader *reader)
{
	return reader->failed ? 0 : (size_t)(reader->end - reader->at);
}

uint8_t bytes_read_u8(struct bytes_reader *reader)
{
	const uint8_t *at = bytes_read_span(reader, 1);
	return at ? *at : 0;
}

uint16_t bytes_read_u16(struct bytes_reader *reader)
{
	const uint8_t *at = bytes_read_span(reader, 2);
	return at ? bytes_get_u16(at) : 0;
}

uint32_t bytes_read_u32(struct bytes_reader *reader)
{
	const uint8_t *at = bytes_read_span(reader, 4);
	return at ? bytes_get_u32(at) : 0;
}

uint64_t bytes_read_u64(struct bytes_reader *reader)
{
	const uint8_t *at = bytes_read_span(reader, 8);
	return at ? bytes_get_u64(at) : 0;
}

uint64_t bytes_read_varint(struct bytes_reader *reader)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = bytes_read_u8(reader);
		uint64_t part = byte & 0x7f;
		/* The tenth byte holds one bit; a last byte of 0 says nothing that a shorter form does not.
		 */
		if ((shift == 63 && part > 1) || (byte == 0 && shift > 0))
			break;
		value |= part << shift;
		if (reader->failed)
			return 0;
		if (!(byte & 0x80))
			return value;
	}
	reader->failed = true;
	return 0;
}

void bytes_writer_init(struct bytes_writer *writer)
{
	*writer = (struct bytes_writer){.bytes = NULL};
}

void bytes_writer_fini(struct bytes_writer *writer)
{
	free(writer->bytes);
	bytes_writer_init(writer);
}

void bytes_writer_clear(struct bytes_writer *writer)
{
	writer->size = 0;
	writer->failed = false;
}

/* Room for `size_bytes` more; returns where they go and counts them as written, NULL when memory is short. */
static uint8_t *writer_extend(struct bytes_writer *writer, size_t size_bytes)
{
	if (writer->failed)
		return NULL;
	if (writer->room - writer->size < size_bytes) {
		size_t room = writer->room > 0 ? writer->room : WRITER_FIRST_ROOM;
		while (room - writer->size < size_bytes) {
			if (room > SIZE_MAX / 2) {
				writer->failed = true;
				return NULL;
			}
			room *= 2;
		}
		uint8_t *bytes = realloc(writer->bytes, room);
		if (!bytes) {
			writer->failed = true;
			return NULL;
		}
		writer->bytes = bytes;
		writer->room = room;
	}
	uint8_t *at = writer->bytes + writer->size;
	writer->size += size_bytes;
	return at;
}

void bytes_write_u8(struct bytes_writer *writer, uint8_t value)
{
	uint8_t *at = writer_extend(writer, 1);
	if (at)
		*at = value;
}

void bytes_write_u16(struct bytes_writer *writer, uint16_t value)
{
	uint8_t *at = writer_extend(writer, 2);
	if (at)
		bytes_put_u16(at, value);
}

void bytes_write_u32(struct bytes_writer *writer, uint32_t value)
{
	uint8_t *at = writer_extend(writer, 4);
	if (at)
		bytes_put_u32(at, value);
}

void bytes_write_u64(struct bytes_writer *writer, uint64_t value)
{
	uint8_t *at = writer_extend(writer, 8);
	if (at)
		bytes_put_u64(at, value);
}

void bytes_write_varint(struct bytes_writer *writer, uint64_t value)
{
	uint8_t bytes[BYTES_VARINT_MAX];

	bytes_write_span(writer, bytes, bytes_put_varint(bytes, value));
}

void bytes_write_span(struct bytes_writer *writer, const void *bytes, size_t size_bytes)
{
	if (size_bytes == 0)
		return;
	uint8_t *at = writer_extend(writer, size_bytes);
	if (at)
		memcpy(at, bytes, size_bytes);
}

void bytes_write_zeroes(struct bytes_writer *writer, size_t size_bytes)
{
	if (size_bytes == 0)
		return;
	uint8_t *at = writer_extend(writer, size_bytes);
	if (at)
		memset(at, 0, size_bytes);
}

size_t bytes_writer_reserve_u32(struct bytes_writer *writer)
{
	size_t offset = writer->size;

	bytes_write_u32(writer, 0);
	return offset;
}

void bytes_writer_patch_u32(struct bytes_writer *writer, size_t offset, uint32_t value)
{
	if (writer->failed)
		return;
	assert(offset <= writer->size && writer->size - offset >= 4);
	bytes_put_u32(writer->bytes + offset, value);
}

size_t bytes_writer_size(const struct bytes_writer *writer)
{
	return writer->size;
}

uint8_t *bytes_writer_steal(struct bytes_writer *writer, size_t *ret_size_bytes)
{
	if (writer->failed || writer->size == 0) {
		bytes_writer_fini(writer);
		*ret_size_bytes = 0;
		return NULL;
	}
	uint8_t *bytes = writer->bytes;
	*ret_size_bytes = writer->size;
	bytes_writer_init(writer);
	return bytes;
}

size_t bytes_put_varint(uint8_t at[BYTES_VARINT_MAX], uint64_t value)
{
	size_t used = 0;

	while (value >= 0x80) {
		at[used++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	at[used++] = (uint8_t)value;
	return used;
}

uint16_t bytes_get_u16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

uint32_t bytes_get_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

uint64_t bytes_get_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

void bytes_put_u16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

void bytes_put_u32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

void bytes_put_u64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}
