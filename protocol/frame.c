/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/frame.h"

#include <errno.h>
#include <string.h>

#define FRAME_MAGIC UINT32_C(0x676f6c6d) /* "mlog" */

static const char *const record_names[RECORD_TYPE_END] = {
    [RECORD_HELLO] = "HELLO",
    [RECORD_STREAM] = "STREAM",
    [RECORD_READY] = "READY",
    [RECORD_RESUME] = "RESUME",
    [RECORD_SUSPENDED] = "SUSPENDED",
    [RECORD_DESTROYED] = "DESTROYED",
    [RECORD_MARK] = "MARK",
    [RECORD_CLEAR] = "CLEAR",
    [RECORD_SYNCED] = "SYNCED",
    [RECORD_FAILED] = "FAILED",
    [RECORD_COMMIT] = "COMMIT",
    [RECORD_ACK] = "ACK",
    [RECORD_WANT] = "WANT",
    [RECORD_CLAIM] = "CLAIM",
    [RECORD_RELEASE] = "RELEASE",
    [RECORD_NODE_DOWN] = "NODE_DOWN",
    [RECORD_NODE_DEAD] = "NODE_DEAD",
    [RECORD_WRITER_FAILED] = "WRITER_FAILED",
    [RECORD_LEAVING] = "LEAVING",
    [RECORD_WRITER_AGAIN] = "WRITER_AGAIN",
    [RECORD_MEMBER_KNOWN] = "MEMBER_KNOWN",
    [RECORD_CLAIM_KNOWN] = "CLAIM_KNOWN",
    [RECORD_DOUBT] = "DOUBT",
    [RECORD_WRITE_ENDED] = "WRITE_ENDED",
};

const char *record_type_name(enum record_type type)
{
	return type > 0 && type < RECORD_TYPE_END ? record_names[type] : "unknown";
}

void record_init(struct record *record)
{
	memset(record, 0, sizeof(*record));
	region_set_init(&record->regions);
}

void record_fini(struct record *record)
{
	region_set_fini(&record->regions);
}

void text_encode(struct bytes_writer *writer, const char *text)
{
	size_t length = strlen(text);

	bytes_write_u16(writer, (uint16_t)length);
	bytes_write_span(writer, text, length);
}

int text_decode(struct bytes_reader *reader, char *ret_text, size_t room)
{
	uint16_t length = bytes_read_u16(reader);
	const uint8_t *span = bytes_read_span(reader, length);

	if (!span || length >= room || memchr(span, 0, length))
		return -EPROTO;
	memcpy(ret_text, span, length);
	ret_text[length] = '\0';
	return 0;
}

void set_encode(struct bytes_writer *writer, const struct region_set *set)
{
	size_t at = bytes_writer_reserve_u32(writer), begin = bytes_writer_size(writer);

	region_set_serialize(set, writer);
	bytes_writer_patch_u32(writer, at, (uint32_t)(bytes_writer_size(writer) - begin));
}

int set_decode(struct bytes_reader *reader, struct region_set *set, uint64_t region_limit)
{
	uint32_t size = bytes_read_u32(reader);
	const uint8_t *span = bytes_read_span(reader, size);
	struct bytes_reader inner;
	int error;

	if (!span)
		return -EPROTO;
	bytes_reader_init(&inner, span, size);
	error = region_set_deserialize(set, &inner, region_limit);
	if (error)
		return error == -ENOMEM ? -ENOMEM : -EPROTO;
	return bytes_reader_left(&inner) ? -EPROTO : 0;
}

void shape_encode(struct bytes_writer *writer, const struct log_shape *shape)
{
	bytes_write_u8(writer, shape->disk);
	bytes_write_u8(writer, (uint8_t)shape->sync_mode);
	bytes_write_u64(writer, shape->length_sectors);
	bytes_write_u64(writer, shape->region_size_sectors);
	bytes_write_u64(writer, shape->region_count);
}

int shape_decode(struct bytes_reader *reader, struct log_shape *ret_shape)
{
	uint8_t disk = bytes_read_u8(reader), mode = bytes_read_u8(reader);

	ret_shape->disk = disk;
	ret_shape->sync_mode = (enum shape_sync)mode;
	ret_shape->length_sectors = bytes_read_u64(reader);
	ret_shape->region_size_sectors = bytes_read_u64(reader);
	ret_shape->region_count = bytes_read_u64(reader);
	if (reader->failed || disk > 1 || mode >= SHAPE_SYNC_END || ret_shape->region_count == 0 ||
	    ret_shape->region_count > LOG_REGIONS_MAX || ret_shape->region_size_sectors == 0)
		return -EPROTO;
	return 0;
}

void frame_begin(struct bytes_writer *writer, uint16_t version, uint64_t incarnation)
{
	bytes_write_u32(writer, FRAME_MAGIC);
	bytes_write_u16(writer, version);
	bytes_write_u16(writer, 0);
	bytes_write_u64(writer, incarnation);
}

static void nodes_encode(struct bytes_writer *writer, const node_id_t *nodes, uint32_t count)
{
	bytes_write_u32(writer, count);
	for (uint32_t i = 0; i < count; i++)
		bytes_write_u32(writer, nodes[i]);
}

static int nodes_decode(struct bytes_reader *reader, node_id_t *ret_nodes, uint32_t *ret_count)
{
	uint32_t count = bytes_read_u32(reader);

	if (reader->failed || count > FRAME_NODES_MAX)
		return -EPROTO;
	for (uint32_t i = 0; i < count; i++)
		ret_nodes[i] = bytes_read_u32(reader);
	*ret_count = count;
	return 0;
}

static void hello_encode(struct bytes_writer *writer, const struct record_hello *hello)
{
	bytes_write_u16(writer, hello->version_min);
	bytes_write_u16(writer, hello->version_max);
	bytes_write_u64(writer, hello->ring_seq);
	bytes_write_u32(writer, hello->ring_representative);
	bytes_write_u64(writer, hello->boot_id);
	bytes_write_u64(writer, hello->incarnation);
	bytes_write_u64(writer, hello->next_incarnation);
	bytes_write_u64(writer, hello->epoch);
	bytes_write_u32(writer, hello->component);
	bytes_write_u8(writer, (uint8_t)((hello->ready ? 1u : 0) | (hello->was_active ? 2u : 0) |
					 (hello->quorate ? 4u : 0)));
	nodes_encode(writer, hello->members, hello->member_count);
	nodes_encode(writer, hello->ring_nodes, hello->ring_node_count);
}

static int hello_decode(struct bytes_reader *reader, struct record_hello *hello)
{
	uint8_t flags;

	hello->version_min = bytes_read_u16(reader);
	hello->version_max = bytes_read_u16(reader);
	hello->ring_seq = bytes_read_u64(reader);
	hello->ring_representative = bytes_read_u32(reader);
	hello->boot_id = bytes_read_u64(reader);
	hello->incarnation = bytes_read_u64(reader);
	hello->next_incarnation = bytes_read_u64(reader);
	hello->epoch = bytes_read_u64(reader);
	hello->component = bytes_read_u32(reader);
	flags = bytes_read_u8(reader);
	hello->ready = flags & 1;
	hello->was_active = flags & 2;
	hello->quorate = flags & 4;
	if (flags > 7 || nodes_decode(reader, hello->members, &hello->member_count))
		return -EPROTO;
	return nodes_decode(reader, hello->ring_nodes, &hello->ring_node_count);
}

static void stream_encode(struct bytes_writer *writer, const struct record_stream *stream)
{
	bytes_write_u8(writer, (uint8_t)stream->kind);
	bytes_write_u64(writer, stream->id);
	bytes_write_u32(writer, stream->total_bytes);
	bytes_write_u32(writer, stream->content_bytes);
	bytes_write_u32(writer, stream->offset_bytes);
	bytes_write_u32(writer, stream->size_bytes);
	bytes_write_span(writer, stream->bytes, stream->size_bytes);
}

static int stream_decode(struct bytes_reader *reader, struct record_stream *stream)
{
	uint8_t kind = bytes_read_u8(reader);

	stream->kind = (enum stream_kind)kind;
	stream->id = bytes_read_u64(reader);
	stream->total_bytes = bytes_read_u32(reader);
	stream->content_bytes = bytes_read_u32(reader);
	stream->offset_bytes = bytes_read_u32(reader);
	stream->size_bytes = bytes_read_u32(reader);
	stream->bytes = bytes_read_span(reader, stream->size_bytes);
	if (reader->failed || kind == 0 || kind >= STREAM_KIND_END || stream->size_bytes == 0 ||
	    stream->offset_bytes > stream->total_bytes ||
	    stream->size_bytes > stream->total_bytes - stream->offset_bytes)
		return -EPROTO;
	return 0;
}

/* Which fields the body of a plain record has, in this order. */
enum field {
	FIELD_LOG = 1,
	FIELD_LUID = 2,
	FIELD_BATCH = 4,
	FIELD_NODE = 8,
	FIELD_BOOT = 16,
	FIELD_REGION = 32,
	FIELD_FLAG = 64,
	FIELD_NAME = 128, /* uuid and shape */
	FIELD_REGIONS = 256,
	FIELD_COMMITS = 512,
	FIELD_INCARNATION = 1024
};

static const uint16_t record_fields[RECORD_TYPE_END] = {
    [RECORD_READY] = FIELD_FLAG,
    [RECORD_RESUME] = FIELD_LUID | FIELD_FLAG | FIELD_NAME,
    [RECORD_SUSPENDED] = FIELD_LOG | FIELD_LUID,
    [RECORD_DESTROYED] = FIELD_LOG | FIELD_LUID | FIELD_REGIONS,
    [RECORD_MARK] = FIELD_LOG | FIELD_BATCH | FIELD_REGIONS,
    [RECORD_CLEAR] = FIELD_LOG | FIELD_REGIONS,
    [RECORD_SYNCED] = FIELD_LOG | FIELD_REGIONS,
    [RECORD_FAILED] = FIELD_LOG | FIELD_REGION,
    [RECORD_COMMIT] = FIELD_LOG | FIELD_COMMITS,
    [RECORD_ACK] = FIELD_LOG | FIELD_BATCH | FIELD_NODE | FIELD_INCARNATION,
    [RECORD_WANT] = FIELD_LOG | FIELD_REGIONS,
    [RECORD_CLAIM] = FIELD_LOG | FIELD_REGION,
    [RECORD_RELEASE] = FIELD_LOG | FIELD_REGION | FIELD_FLAG,
    [RECORD_NODE_DOWN] = FIELD_NODE | FIELD_BOOT,
    [RECORD_NODE_DEAD] = FIELD_NODE | FIELD_BOOT,
    [RECORD_WRITER_FAILED] = FIELD_LOG,
    [RECORD_LEAVING] = FIELD_LOG | FIELD_LUID,
    [RECORD_WRITER_AGAIN] = FIELD_LOG,
    [RECORD_MEMBER_KNOWN] = FIELD_LOG | FIELD_BATCH | FIELD_NODE,
    [RECORD_CLAIM_KNOWN] = FIELD_LOG | FIELD_BATCH,
    [RECORD_DOUBT] = FIELD_LOG | FIELD_REGIONS,
    [RECORD_WRITE_ENDED] = FIELD_LOG,
};

static void fields_encode(struct bytes_writer *writer, const struct record *record)
{
	unsigned fields = record_fields[record->type];

	if (fields & FIELD_LOG)
		bytes_write_u32(writer, record->log);
	if (fields & FIELD_LUID)
		bytes_write_u64(writer, record->luid);
	if (fields & FIELD_BATCH)
		bytes_write_u64(writer, record->batch);
	if (fields & FIELD_NODE)
		bytes_write_u32(writer, record->node);
	if (fields & FIELD_INCARNATION)
		bytes_write_u64(writer, record->incarnation);
	if (fields & FIELD_BOOT)
		bytes_write_u64(writer, record->boot_id);
	if (fields & FIELD_REGION)
		bytes_write_u32(writer, record->region);
	if (fields & FIELD_FLAG)
		bytes_write_u8(writer, record->flag);
	if (fields & FIELD_NAME) {
		text_encode(writer, record->uuid);
		shape_encode(writer, &record->shape);
	}
	if (fields & FIELD_REGIONS)
		set_encode(writer, &record->regions);
	if (fields & FIELD_COMMITS) {
		bytes_write_u32(writer, record->commit_count);
		for (uint32_t i = 0; i < record->commit_count; i++) {
			bytes_write_u32(writer, record->commits[i].node);
			bytes_write_u64(writer, record->commits[i].incarnation);
			bytes_write_u64(writer, record->commits[i].batch);
		}
	}
}

static int commits_decode(struct bytes_reader *reader, struct record *record)
{
	record->commit_count = bytes_read_u32(reader);
	if (reader->failed || record->commit_count > FRAME_NODES_MAX)
		return -EPROTO;
	for (uint32_t i = 0; i < record->commit_count; i++) {
		record->commits[i].node = bytes_read_u32(reader);
		record->commits[i].incarnation = bytes_read_u64(reader);
		record->commits[i].batch = bytes_read_u64(reader);
	}
	return 0;
}

static int fields_decode(struct bytes_reader *reader, struct record *record)
{
	unsigned fields = record_fields[record->type];
	int error = 0;

	if (fields & FIELD_LOG)
		record->log = bytes_read_u32(reader);
	if (fields & FIELD_LUID)
		record->luid = bytes_read_u64(reader);
	if (fields & FIELD_BATCH)
		record->batch = bytes_read_u64(reader);
	if (fields & FIELD_NODE)
		record->node = bytes_read_u32(reader);
	if (fields & FIELD_INCARNATION)
		record->incarnation = bytes_read_u64(reader);
	if (fields & FIELD_BOOT)
		record->boot_id = bytes_read_u64(reader);
	if (fields & FIELD_REGION)
		record->region = bytes_read_u32(reader);
	if (fields & FIELD_FLAG) {
		uint8_t flag = bytes_read_u8(reader);

		if (flag > 1)
			return -EPROTO;
		record->flag = flag;
	}
	if (fields & FIELD_NAME) {
		error = text_decode(reader, record->uuid, sizeof(record->uuid));
		if (!error)
			error = shape_decode(reader, &record->shape);
	}
	if (!error && fields & FIELD_REGIONS)
		error = set_decode(reader, &record->regions, LOG_REGIONS_MAX);
	if (!error && fields & FIELD_COMMITS)
		error = commits_decode(reader, record);
	return error;
}

void record_encode(struct bytes_writer *writer, const struct record *record)
{
	size_t at, begin;

	bytes_write_u8(writer, (uint8_t)record->type);
	at = bytes_writer_reserve_u32(writer);
	begin = bytes_writer_size(writer);
	switch (record->type) {
	case RECORD_HELLO: hello_encode(writer, &record->hello); break;
	case RECORD_STREAM: stream_encode(writer, &record->stream); break;
	default: fields_encode(writer, record); break;
	}
	bytes_writer_patch_u32(writer, at, (uint32_t)(bytes_writer_size(writer) - begin));
}

int frame_open(struct bytes_reader *reader, const uint8_t *bytes, size_t size, uint64_t *ret_incarnation)
{
	uint32_t magic;
	uint16_t version, zero;
	uint64_t incarnation;

	bytes_reader_init(reader, bytes, size);
	magic = bytes_read_u32(reader);
	version = bytes_read_u16(reader);
	zero = bytes_read_u16(reader);
	incarnation = bytes_read_u64(reader);
	if (reader->failed || magic != FRAME_MAGIC || zero != 0 || size > FRAME_MAX_BYTES)
		return -EPROTO;
	/* A HELLO is readable in every version, so that versions can be negotiated: its frame has version 0.
	 */
	if (version != 0 && (version < PROTOCOL_VERSION_MIN || version > PROTOCOL_VERSION_MAX))
		return -EPROTONOSUPPORT;
	*ret_incarnation = incarnation;
	return 0;
}

int frame_next(struct bytes_reader *reader, struct record *record)
{
	struct bytes_reader body;
	const uint8_t *span;
	uint8_t type;
	uint32_t size;
	int error;

	if (bytes_reader_left(reader) == 0)
		return reader->failed ? -EPROTO : 0;
	type = bytes_read_u8(reader);
	size = bytes_read_u32(reader);
	span = bytes_read_span(reader, size);
	if ((!span && size) || reader->failed || type == 0 || type >= RECORD_TYPE_END)
		return -EPROTO;
	record_fini(record);
	record_init(record);
	record->type = (enum record_type)type;
	bytes_reader_init(&body, span, size);
	switch (record->type) {
	case RECORD_HELLO: error = hello_decode(&body, &record->hello); break;
	case RECORD_STREAM: error = stream_decode(&body, &record->stream); break;
	default: error = fields_decode(&body, record); break;
	}
	if (error)
		return error;
	return body.failed || bytes_reader_left(&body) ? -EPROTO : 1;
}

int frame_check(const uint8_t *bytes, size_t size)
{
	struct bytes_reader reader;
	struct record record;
	uint64_t incarnation;
	int result = frame_open(&reader, bytes, size, &incarnation);

	if (result)
		return result;
	record_init(&record);
	do
		result = frame_next(&reader, &record);
	while (result > 0);
	record_fini(&record);
	return result;
}
