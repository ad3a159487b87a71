/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blobs too large for one frame: compressed, cut to pieces, put together again. */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

#include <zstd.h>

static void outstream_free(struct core *core, struct outstream *stream)
{
	TAILQ_REMOVE(&core->outstreams, stream, entry);
	free(stream->bytes);
	free(stream);
}

int stream_out(struct core *core, enum stream_kind kind, const struct bytes_writer *content, uint32_t log)
{
	struct outstream *stream;
	size_t room = ZSTD_compressBound(bytes_writer_size(content)), size;

	if (content->failed || bytes_writer_size(content) > STREAM_CONTENT_MAX)
		return -ENOMEM;
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return -ENOMEM;
	stream->bytes = malloc(room);
	size = stream->bytes
		   ? ZSTD_compress(stream->bytes, room, content->bytes, bytes_writer_size(content), 1)
		   : (size_t)-1;
	if (!stream->bytes || ZSTD_isError(size)) {
		free(stream->bytes);
		free(stream);
		return -ENOMEM;
	}
	stream->kind = kind;
	stream->id = core->next_stream_id++;
	stream->content_bytes = (uint32_t)bytes_writer_size(content);
	stream->size_bytes = (uint32_t)size;
	stream->log = log;
	TAILQ_INSERT_TAIL(&core->outstreams, stream, entry);
	return 0;
}

void stream_drop_out(struct core *core, enum stream_kind kind)
{
	struct outstream *stream, *next;

	for (stream = TAILQ_FIRST(&core->outstreams); stream; stream = next) {
		next = TAILQ_NEXT(stream, entry);
		if (stream->kind == kind)
			outstream_free(core, stream);
	}
}

void stream_drop_device(struct core *core, const struct log *log)
{
	struct outstream *stream, *next;

	for (stream = TAILQ_FIRST(&core->outstreams); stream; stream = next) {
		next = TAILQ_NEXT(stream, entry);
		if (stream->kind == STREAM_DEVICE && stream->log == log->handle)
			outstream_free(core, stream);
	}
}

static void instream_free(struct core *core, struct instream *stream)
{
	TAILQ_REMOVE(&core->instreams, stream, entry);
	bytes_writer_fini(&stream->bytes);
	free(stream);
}

void stream_drop_in(struct core *core)
{
	while (!TAILQ_EMPTY(&core->instreams))
		instream_free(core, TAILQ_FIRST(&core->instreams));
}

static struct instream *instream_find(struct core *core, node_id_t node, enum stream_kind kind)
{
	struct instream *stream;

	TAILQ_FOREACH (stream, &core->instreams, entry)
		if (stream->node == node && stream->kind == kind)
			return stream;
	return NULL;
}

static struct instream *instream_begin(struct core *core, node_id_t node, const struct record_stream *piece)
{
	struct instream *stream = instream_find(core, node, piece->kind);

	if (stream)
		instream_free(core, stream);
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return NULL;
	stream->node = node;
	stream->kind = piece->kind;
	stream->id = piece->id;
	stream->content_bytes = piece->content_bytes;
	stream->total_bytes = piece->total_bytes;
	bytes_writer_init(&stream->bytes);
	TAILQ_INSERT_TAIL(&core->instreams, stream, entry);
	return stream;
}

static struct bytes_writer *content_expand(const struct instream *stream)
{
	struct bytes_writer *content;
	uint8_t *bytes;
	size_t size;

	if (stream->content_bytes > STREAM_CONTENT_MAX ||
	    ZSTD_getFrameContentSize(stream->bytes.bytes, stream->total_bytes) != stream->content_bytes)
		return NULL;
	content = calloc(1, sizeof(*content));
	bytes = malloc(stream->content_bytes ? stream->content_bytes : 1);
	size = content && bytes
		   ? ZSTD_decompress(bytes, stream->content_bytes, stream->bytes.bytes, stream->total_bytes)
		   : (size_t)-1;
	if (ZSTD_isError(size) || size != stream->content_bytes) {
		free(bytes);
		free(content);
		return NULL;
	}
	bytes_writer_init(content);
	content->bytes = bytes;
	content->size = content->room = stream->content_bytes;
	return content;
}

struct bytes_writer *stream_in(struct core *core, node_id_t node, const struct record_stream *piece)
{
	struct instream *stream;
	struct bytes_writer *content;

	if (piece->offset_bytes == 0)
		stream = instream_begin(core, node, piece);
	else
		stream = instream_find(core, node, piece->kind);
	/* The rest of a stream whose begin was before this node joined is no stream. */
	if (!stream || stream->id != piece->id || stream->total_bytes != piece->total_bytes ||
	    piece->offset_bytes != bytes_writer_size(&stream->bytes))
		return NULL;
	bytes_write_span(&stream->bytes, piece->bytes, piece->size_bytes);
	if (bytes_writer_size(&stream->bytes) < stream->total_bytes)
		return NULL;
	content = stream->bytes.failed ? NULL : content_expand(stream);
	if (!content)
		core_log(core, LOG_ERR, "node %u sent a stream that cannot be expanded: ignored", node);
	instream_free(core, stream);
	return content;
}
