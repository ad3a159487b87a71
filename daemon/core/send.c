/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Group commit: one frame is under way at a time, and takes with it all that came up while the last one was.
 * The throughput grows with the load, the latency does not.
 */
#include "daemon/core/internal.h"

#include <stdlib.h>
#include <string.h>

bool send_has_room(struct core *core)
{
	if (core->out_count < OUT_MAX)
		return true;
	core->counters.records_dropped++;
	if (!core->out_full)
		core_log(core, LOG_WARNING, "%u records wait to be sent: no more are taken from outside",
			 OUT_MAX);
	core->out_full = true;
	return false;
}

struct record *send_add(struct core *core, enum record_type type, const char *uuid)
{
	struct outgoing *outgoing = calloc(1, sizeof(*outgoing));

	if (!outgoing)
		return NULL;
	record_init(&outgoing->record);
	outgoing->record.type = type;
	if (uuid)
		strncpy(outgoing->uuid, uuid, sizeof(outgoing->uuid) - 1);
	TAILQ_INSERT_TAIL(&core->out, outgoing, entry);
	core->out_count++;
	return &outgoing->record;
}

struct record *send_destroyed(struct core *core, const char *uuid, luid_t luid)
{
	struct record *record = send_add(core, RECORD_DESTROYED, uuid);

	if (record)
		record->luid = luid;
	return record;
}

static void outgoing_free(struct core *core, struct outgoing *outgoing)
{
	TAILQ_REMOVE(&core->out, outgoing, entry);
	core->out_count--;
	if (core->out_count < OUT_MAX / 2)
		core->out_full = false;
	record_fini(&outgoing->record);
	free(outgoing);
}

bool send_waits(const struct core *core, enum record_type type, const char *uuid)
{
	const struct outgoing *outgoing;

	TAILQ_FOREACH (outgoing, &core->out, entry)
		if (outgoing->record.type == type && !strcmp(outgoing->uuid, uuid))
			return true;
	return false;
}

void send_purge(struct core *core)
{
	while (!TAILQ_EMPTY(&core->out))
		outgoing_free(core, TAILQ_FIRST(&core->out));
	stream_drop_out(core, STREAM_CHECKPOINT);
	stream_drop_out(core, STREAM_SPEAK);
	stream_drop_out(core, STREAM_DEVICE);
}

static bool writer_full(const struct bytes_writer *writer)
{
	return bytes_writer_size(writer) >= FRAME_BUDGET_BYTES;
}

static void put_stream(struct core *core, struct bytes_writer *writer)
{
	struct outstream *stream = TAILQ_FIRST(&core->outstreams);
	struct record record;
	uint32_t left;

	if (!stream)
		return;
	left = stream->size_bytes - stream->sent_bytes;
	record_init(&record);
	record.type = RECORD_STREAM;
	record.stream = (struct record_stream){
	    .kind = stream->kind,
	    .id = stream->id,
	    .total_bytes = stream->size_bytes,
	    .content_bytes = stream->content_bytes,
	    .offset_bytes = stream->sent_bytes,
	    .size_bytes = left < STREAM_CHUNK_BYTES ? left : STREAM_CHUNK_BYTES,
	    .bytes = stream->bytes + stream->sent_bytes,
	};
	record_encode(writer, &record);
	stream->sent_bytes += record.stream.size_bytes;
	if (stream->sent_bytes < stream->size_bytes)
		return;
	TAILQ_REMOVE(&core->outstreams, stream, entry);
	free(stream->bytes);
	free(stream);
}

/* A table went with a write of the log device, or a copy, in flight: the others hear of it when that has
 * ended. */
static bool log_tells(struct core *core, const char *uuid)
{
	const struct log *log = log_find(core, uuid);

	return !log || log_table_writes(log) || !log_io_in_flight(log);
}

/* Records wait in `out` in the order they were made; those of a log that the cluster does not know any more
 * go. */
static void put_outgoing(struct core *core, struct bytes_writer *writer)
{
	struct outgoing *outgoing, *next;

	for (outgoing = TAILQ_FIRST(&core->out); outgoing && !writer_full(writer); outgoing = next) {
		const struct world_log *world = NULL;

		next = TAILQ_NEXT(outgoing, entry);
		if (outgoing->uuid[0] && !log_tells(core, outgoing->uuid))
			continue;
		if (outgoing->uuid[0] && outgoing->record.type != RECORD_RESUME) {
			world = world_log_find(&core->world, outgoing->uuid);
			if (!world) {
				outgoing_free(core, outgoing);
				continue;
			}
			outgoing->record.log = world->number;
		}
		record_encode(writer, &outgoing->record);
		outgoing_free(core, outgoing);
	}
}

/* End of what fits one record. A run may be any number of regions in a few bytes, so runs are counted. */
static uint64_t regions_end(const struct region_set *regions)
{
	uint64_t first = 0, end = 0;
	uint32_t count = 0;

	while (count++ < FRAME_BUDGET_BYTES / 16 && region_set_next_run(regions, end, &first, &end))
		;
	return end;
}

/* Takes at most as many regions as fit a record, the rest stays for the next frame. */
static void put_regions(struct bytes_writer *writer, enum record_type type, const struct world_log *world,
			struct region_set *regions, struct region_set *ret_put)
{
	struct record record;

	if (region_set_is_empty(regions))
		return;
	record_init(&record);
	record.type = type;
	record.log = world->number;
	region_set_copy_range(&record.regions, regions, 0, regions_end(regions));
	record_encode(writer, &record);
	region_set_subtract(regions, &record.regions);
	if (ret_put)
		region_set_union_with(ret_put, &record.regions);
	record_fini(&record);
}

static void put_acks(struct core *core, struct bytes_writer *writer)
{
	struct participant *participant;
	struct world_log *world;
	struct record record;

	if (!core->acks_due)
		return;
	core->acks_due = false;
	TAILQ_FOREACH (world, &core->world.logs, entry)
		TAILQ_FOREACH (participant, &world->participants, entry) {
			if (!participant->local_ack_due)
				continue;
			record_init(&record);
			record.type = RECORD_ACK;
			record.log = world->number;
			record.node = participant->node;
			record.incarnation = node_incarnation(core, participant->node);
			record.batch = participant->local_ack_due;
			record_encode(writer, &record);
			participant->local_ack_due = 0;
		}
}

static void put_members_known(struct core *core, struct bytes_writer *writer)
{
	const struct participant *participant;
	const struct world_log *world;
	struct record record;

	if (!core->known_due)
		return;
	core->known_due = false;
	TAILQ_FOREACH (world, &core->world.logs, entry)
		TAILQ_FOREACH (participant, &world->participants, entry) {
			if (!region_set_contains(&participant->unheard, core->config.node))
				continue;
			record_init(&record);
			record.type = RECORD_MEMBER_KNOWN;
			record.log = world->number;
			record.node = participant->node;
			record.batch = participant->membership;
			record_encode(writer, &record);
		}
}

static void put_failed(struct bytes_writer *writer, struct log *log, const struct world_log *world)
{
	struct record record;
	region_t region = 0;

	/* Behind all sync bits: one that was copied is in sync before it fails. */
	while (region_set_is_empty(&log->copied_ready) && region_set_first(&log->fail_pending, &region)) {
		record_init(&record);
		record.type = RECORD_FAILED;
		record.log = world->number;
		record.region = region;
		record_encode(writer, &record);
		region_set_remove(&log->fail_pending, region);
		region_set_add(&log->fail_in_flight, region);
	}
}

/* Who reports a failed leg is answered when the batch is committed: FAILED is in the order by then. */
static bool failed_waits(const struct log *log)
{
	return !region_set_is_empty(&log->fail_pending) && !region_set_is_empty(&log->copied_ready);
}

/* The deliberate fault of hazard B4: a log waits for another. */
static bool others_commit(const struct core *core)
{
	const struct log *log;

	TAILQ_FOREACH (log, &core->logs, entry)
		if (log->batch_sent > log->batch_committed)
			return true;
	return false;
}

/* A FLUSH waits for the next number: only the last part of what is pending carries it. It is sent with no
 * region too, when what was pending is gone again and somebody waits for the number. */
static void put_marks(struct bytes_writer *writer, struct log *log, const struct world_log *world)
{
	struct record record;
	region_t last = 0;
	uint64_t end = regions_end(&log->pending);

	if (!log->pending_due || failed_waits(log))
		return;
	if (!region_set_last(&log->pending, &last) || end > last) {
		log->batch_sent++;
		log->pending_due = false;
	}
	record_init(&record);
	record.type = RECORD_MARK;
	record.log = world->number;
	record.batch = log->batch_sent;
	region_set_copy_range(&record.regions, &log->pending, 0, end);
	record_encode(writer, &record);
	region_set_subtract(&log->pending, &record.regions);
	region_set_union_with(&log->announced, &record.regions);
	record_fini(&record);
}

/* Most logs have nothing to say most of the time, and this is asked for each of them in each step. */
static bool log_silent(const struct log *log)
{
	return !log->pending_due && region_set_is_empty(&log->clearing) &&
	       region_set_is_empty(&log->doubted) && region_set_is_empty(&log->copied_ready) &&
	       region_set_is_empty(&log->fail_pending) && region_set_is_empty(&log->want_pending);
}

/* Sync bits before doubts before clears before marks: a region that is copied, cleared and marked again comes
 * in this order. */
static void put_log(struct core *core, struct bytes_writer *writer, struct log *log)
{
	struct world_log *world = log_world(core, log);
	struct participant *self = world ? participant_find(world, core->config.node) : NULL;

	if (!self || writer_full(writer))
		return;
	put_regions(writer, RECORD_SYNCED, world, &log->copied_ready, NULL);
	if (region_set_is_empty(&log->copied_ready)) /* a ghost is what is not out of sync */
		put_regions(writer, RECORD_DOUBT, world, &log->doubted, NULL);
	if (region_set_is_empty(&log->doubted))
		put_regions(writer, RECORD_CLEAR, world, &log->clearing, &log->cleared_in_flight);
	if (!CORE_MUTANT(FRAME_WAITS) || !others_commit(core))
		put_marks(writer, log, world);
	put_failed(writer, log, world);
	put_regions(writer, RECORD_WANT, world, &log->want_pending, &log->want_sent);
}

static void put_records(struct core *core, struct bytes_writer *writer)
{
	struct log *log;

	/* Who speaks says that no copy of a former life is in flight, and which writes are (hazards A12,
	 * A14). */
	if (core->join == JOIN_SPEAKING && join_io_in_flight(core))
		return;
	put_stream(core, writer);
	if (core->join == JOIN_SPEAKING && core->ready_due && TAILQ_EMPTY(&core->outstreams)) {
		struct record record;

		record_init(&record);
		record.type = RECORD_READY;
		record.flag = core->config.run_state_lost || run_state_any_unknown(core);
		record_encode(writer, &record);
		core->ready_due = false;
	}
	if (core->join != JOIN_READY || !core->active)
		return;
	/* Logs before single records: marks and clears of a table stand before its SUSPENDED. */
	TAILQ_FOREACH (log, &core->logs, entry)
		if (!log_silent(log))
			put_log(core, writer, log);
	put_acks(core, writer);
	put_members_known(core, writer);
	put_outgoing(core, writer);
}

void send_frame(struct core *core)
{
	struct bytes_writer writer;
	size_t header;
	struct effect *effect;

	if (core->frame_in_flight || !core->connected)
		return;
	bytes_writer_init(&writer);
	if (core->hello_due) {
		struct record *record;

		if (!view_can_greet(core))
			return;
		record = calloc(1, sizeof(*record));
		if (!record)
			return;
		core->hello_due = false;
		record_init(record);
		record->type = RECORD_HELLO;
		view_fill_hello(core, &record->hello);
		frame_begin(&writer, 0, core->incarnation);
		header = bytes_writer_size(&writer);
		record_encode(&writer, record);
		free(record);
	} else {
		if (!core->settled)
			return;
		frame_begin(&writer, core->version, core->incarnation);
		header = bytes_writer_size(&writer);
		put_records(core, &writer);
	}
	if (writer.failed)
		abort(); /* records were taken out of their queues: going on would lose a mark */
	if (bytes_writer_size(&writer) == header) {
		bytes_writer_fini(&writer);
		return;
	}
	core->frame_in_flight = true;
	core->counters.messages_sent++;
	effect = effect_add(core, EFFECT_SEND);
	effect->send.size = bytes_writer_size(&writer);
	effect->send.bytes = effect_keep(core, writer.bytes);
}
