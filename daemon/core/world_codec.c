/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replicated state and speeches as bytes. Order of fields = order in the structs of world.h; nodes,
 * participants and logs stand in the order of their lists, which is the same everywhere.
 */
#include "daemon/core/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

static void instances_encode(struct bytes_writer *writer, const struct world_instance *instances,
			     unsigned count)
{
	bytes_write_u8(writer, (uint8_t)count);
	for (unsigned i = 0; i < count; i++) {
		bytes_write_u64(writer, instances[i].luid);
		bytes_write_u8(writer,
			       (uint8_t)((instances[i].resumed ? 1u : 0) | (instances[i].tainted ? 2u : 0) |
					 (instances[i].old ? 4u : 0)));
		bytes_write_u64(writer, instances[i].leaving);
	}
}

static int instances_decode(struct bytes_reader *reader, struct world_instance *instances,
			    unsigned *ret_count)
{
	uint8_t count = bytes_read_u8(reader), flags;

	if (count > PARTICIPANT_INSTANCES_MAX)
		return -EPROTO;
	for (unsigned i = 0; i < count; i++) {
		instances[i].luid = bytes_read_u64(reader);
		flags = bytes_read_u8(reader);
		if (flags > 7)
			return -EPROTO;
		instances[i].resumed = flags & 1;
		instances[i].tainted = flags & 2;
		instances[i].old = flags & 4;
		instances[i].leaving = bytes_read_u64(reader);
	}
	*ret_count = count;
	return reader->failed ? -EPROTO : 0;
}

static void participant_encode(struct bytes_writer *writer, const struct participant *participant)
{
	bytes_write_u32(writer, participant->node);
	bytes_write_u64(writer, participant->boot_id);
	bytes_write_u8(writer,
		       (uint8_t)((participant->awaited ? 1u : 0) | (participant->late ? 2u : 0) |
				 (participant->device_failed ? 4u : 0) | (participant->writing ? 8u : 0)));
	set_encode(writer, &participant->unheard);
	bytes_write_u64(writer, participant->membership);
	instances_encode(writer, participant->instances, participant->instance_count);
	set_encode(writer, &participant->marks);
	set_encode(writer, &participant->waiting);
	bytes_write_u64(writer, participant->batch);
	bytes_write_u64(writer, participant->waiting_batch);
}

static int participant_decode(struct bytes_reader *reader, struct world_log *log)
{
	node_id_t node = bytes_read_u32(reader);
	uint64_t boot_id = bytes_read_u64(reader);
	uint8_t flags = bytes_read_u8(reader);
	struct participant *participant;
	int error;

	if (reader->failed || node == NODE_NONE || flags > 15 || participant_find(log, node))
		return -EPROTO;
	participant = participant_get(log, node, boot_id);
	if (!participant)
		return -ENOMEM;
	participant->awaited = flags & 1;
	participant->late = flags & 2;
	participant->device_failed = flags & 4;
	participant->writing = flags & 8;
	error = set_decode(reader, &participant->unheard, UINT64_C(1) << 32);
	participant->membership = bytes_read_u64(reader);
	if (!error)
		error = instances_decode(reader, participant->instances, &participant->instance_count);
	if (!error)
		error = set_decode(reader, &participant->marks, log->shape.region_count);
	if (!error)
		error = set_decode(reader, &participant->waiting, log->shape.region_count);
	participant->batch = bytes_read_u64(reader);
	participant->waiting_batch = bytes_read_u64(reader);
	return error;
}

static void log_encode(struct bytes_writer *writer, const struct world_log *log)
{
	const struct participant *participant;
	uint32_t count = 0;

	bytes_write_u32(writer, log->number);
	text_encode(writer, log->uuid);
	shape_encode(writer, &log->shape);
	bytes_write_u8(writer, (uint8_t)log->phase);
	set_encode(writer, &log->unsynced);
	set_encode(writer, &log->ghosts);
	set_encode(writer, &log->failed);
	bytes_write_u64(writer, log->leavings);
	bytes_write_u64(writer, log->memberships);
	bytes_write_u32(writer, log->writer);
	bytes_write_u32(writer, log->recoverer);
	bytes_write_u8(writer, (uint8_t)((log->writer_loaded ? 1u : 0) | (log->memory_is_truth ? 2u : 0) |
					 (log->device_dead ? 4u : 0) | (log->claimed ? 8u : 0) |
					 (log->repair_barred ? 16u : 0) | (log->cold ? 32u : 0) |
					 (log->mistrusted ? 64u : 0) | (log->claim_known ? 128u : 0)));
	bytes_write_u32(writer, log->claimed ? log->claim : 0);
	bytes_write_u64(writer, log->claims);
	bytes_write_u8(writer, log->claim_void);
	TAILQ_FOREACH (participant, &log->participants, entry)
		count++;
	bytes_write_u32(writer, count);
	TAILQ_FOREACH (participant, &log->participants, entry)
		participant_encode(writer, participant);
}

static int log_decode_sets(struct bytes_reader *reader, struct world_log *log)
{
	int error = set_decode(reader, &log->unsynced, log->shape.region_count);

	if (!error)
		error = set_decode(reader, &log->ghosts, log->shape.region_count);
	if (!error)
		error = set_decode(reader, &log->failed, log->shape.region_count);
	return error;
}

static int log_decode(struct bytes_reader *reader, struct world *world)
{
	uint32_t number = bytes_read_u32(reader), count;
	char uuid[LOG_UUID_BYTES];
	struct log_shape shape;
	struct world_log *log;
	uint8_t flags, phase;
	int error;

	if (text_decode(reader, uuid, sizeof(uuid)) || shape_decode(reader, &shape) ||
	    world_log_find(world, uuid) || world_log_by_number(world, number))
		return -EPROTO;
	log = world_log_add_numbered(world, uuid, &shape, number);
	if (!log)
		return -ENOMEM;
	phase = bytes_read_u8(reader);
	log->phase = (enum log_phase)phase;
	error = log_decode_sets(reader, log);
	if (error)
		return error;
	log->leavings = bytes_read_u64(reader);
	log->memberships = bytes_read_u64(reader);
	log->writer = bytes_read_u32(reader);
	log->recoverer = bytes_read_u32(reader);
	flags = bytes_read_u8(reader);
	log->writer_loaded = flags & 1;
	log->memory_is_truth = flags & 2;
	log->device_dead = flags & 4;
	log->claimed = flags & 8;
	log->repair_barred = flags & 16;
	log->cold = flags & 32;
	log->mistrusted = flags & 64;
	log->claim_known = flags & 128;
	log->claim = bytes_read_u32(reader);
	log->claims = bytes_read_u64(reader);
	log->claim_void = bytes_read_u8(reader) != 0;
	count = bytes_read_u32(reader);
	if (reader->failed || phase > LOG_OPEN || count > FRAME_NODES_MAX ||
	    (log->claimed && log->claim >= shape.region_count))
		return -EPROTO;
	for (uint32_t i = 0; i < count && !error; i++)
		error = participant_decode(reader, log);
	return error;
}

static void node_encode(struct bytes_writer *writer, const struct world_node *node)
{
	bytes_write_u32(writer, node->node);
	bytes_write_u64(writer, node->boot_id);
	bytes_write_u64(writer, node->incarnation);
	bytes_write_u8(writer, (uint8_t)node->state);
	bytes_write_u8(writer, (uint8_t)((node->suspect ? 1u : 0) | (node->memory_lost ? 2u : 0) |
					 (node->returning ? 4u : 0)));
}

static int node_decode(struct bytes_reader *reader, struct world *world)
{
	node_id_t id = bytes_read_u32(reader);
	struct world_node *node;
	uint8_t state, flags;

	if (reader->failed || id == NODE_NONE || world_node_find(world, id))
		return -EPROTO;
	node = world_node_get(world, id);
	if (!node)
		return -ENOMEM;
	node->boot_id = bytes_read_u64(reader);
	node->incarnation = bytes_read_u64(reader);
	state = bytes_read_u8(reader);
	flags = bytes_read_u8(reader);
	if (reader->failed || state >= NODE_STATE_COUNT || flags > 7)
		return -EPROTO;
	node->state = (enum node_state)state;
	node->suspect = flags & 1;
	node->memory_lost = flags & 2;
	node->returning = flags & 4;
	return 0;
}

void world_encode(struct bytes_writer *writer, const struct world *world)
{
	const struct world_node *node;
	const struct world_log *log;
	uint32_t count = 0;

	bytes_write_u64(writer, world->epoch);
	bytes_write_u32(writer, world->next_number);
	TAILQ_FOREACH (node, &world->nodes, entry)
		count++;
	bytes_write_u32(writer, count);
	TAILQ_FOREACH (node, &world->nodes, entry)
		node_encode(writer, node);
	count = 0;
	TAILQ_FOREACH (log, &world->logs, entry)
		count++;
	bytes_write_u32(writer, count);
	TAILQ_FOREACH (log, &world->logs, entry)
		log_encode(writer, log);
}

int world_decode(struct bytes_reader *reader, struct world *world)
{
	uint64_t epoch = bytes_read_u64(reader);
	uint32_t next_number = bytes_read_u32(reader), count = bytes_read_u32(reader);
	int error = 0;

	if (count > FRAME_NODES_MAX)
		return -EPROTO;
	for (uint32_t i = 0; i < count && !error; i++)
		error = node_decode(reader, world);
	count = bytes_read_u32(reader);
	/* Each log takes bytes, so a lie about the count ends at the end of what was sent. */
	for (uint32_t i = 0; i < count && !error && !reader->failed; i++)
		error = log_decode(reader, world);
	world->epoch = epoch;
	world->next_number = next_number;
	if (!error && (reader->failed || bytes_reader_left(reader)))
		error = -EPROTO;
	return error;
}

static uint64_t writer_digest(struct bytes_writer *writer)
{
	uint64_t digest = XXH3_64bits(writer->bytes, bytes_writer_size(writer));

	bytes_writer_fini(writer);
	return digest;
}

uint64_t world_log_digest(const struct world_log *log)
{
	struct bytes_writer writer;

	bytes_writer_init(&writer);
	log_encode(&writer, log);
	return writer_digest(&writer);
}

uint64_t world_digest(const struct world *world)
{
	struct bytes_writer writer;

	bytes_writer_init(&writer);
	world_encode(&writer, world);
	return writer_digest(&writer);
}

void speech_init(struct speech *speech)
{
	memset(speech, 0, sizeof(*speech));
}

void speech_fini(struct speech *speech)
{
	region_set_fini(&speech->unsynced);
	region_set_fini(&speech->marks);
	region_set_fini(&speech->ghosts);
	region_set_fini(&speech->failed);
}

void speech_encode(struct bytes_writer *writer, const struct speech *speech)
{
	text_encode(writer, speech->uuid);
	shape_encode(writer, &speech->shape);
	bytes_write_u64(writer, speech->batch);
	instances_encode(writer, speech->instances, speech->instance_count);
	set_encode(writer, &speech->unsynced);
	set_encode(writer, &speech->marks);
	set_encode(writer, &speech->ghosts);
	set_encode(writer, &speech->failed);
	bytes_write_u8(writer, (uint8_t)((speech->recovering ? 1u : 0) | (speech->writing ? 2u : 0)));
	bytes_write_u32(writer, speech->former_count);
	for (unsigned i = 0; i < speech->former_count; i++) {
		bytes_write_u32(writer, speech->former[i].node);
		bytes_write_u64(writer, speech->former[i].boot_id);
	}
}

int speech_decode(struct bytes_reader *reader, struct speech *speech)
{
	uint8_t flags;
	uint64_t limit;
	int error;

	if (text_decode(reader, speech->uuid, sizeof(speech->uuid)) || shape_decode(reader, &speech->shape))
		return -EPROTO;
	limit = speech->shape.region_count;
	speech->batch = bytes_read_u64(reader);
	error = instances_decode(reader, speech->instances, &speech->instance_count);
	if (!error)
		error = set_decode(reader, &speech->unsynced, limit);
	if (!error)
		error = set_decode(reader, &speech->marks, limit);
	if (!error)
		error = set_decode(reader, &speech->ghosts, limit);
	if (!error)
		error = set_decode(reader, &speech->failed, limit);
	if (error)
		return error;
	flags = bytes_read_u8(reader);
	speech->recovering = flags & 1;
	speech->writing = flags & 2;
	speech->former_count = bytes_read_u32(reader);
	if (reader->failed || flags > 3 || speech->former_count > FRAME_NODES_MAX)
		return -EPROTO;
	for (unsigned i = 0; i < speech->former_count; i++) {
		speech->former[i].node = bytes_read_u32(reader);
		speech->former[i].boot_id = bytes_read_u64(reader);
	}
	return reader->failed || bytes_reader_left(reader) ? -EPROTO : 0;
}
