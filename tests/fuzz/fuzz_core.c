/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arbitrary events for the state machine of node 1: its kernel, two other daemons that send anything,
 * corosync, disks, timers, the administrator. What is fed may be impossible; what comes out must keep to the
 * rules of core.h:
 *
 *   - a request gets at most one answer, and an answer a request;
 *   - one message is under way at a time, and any other daemon can read it;
 *   - writes to the log device are whole blocks;
 *   - the same events give the same effects, byte for byte (a second core gets them too).
 *
 * The input is a program: one byte of what to do, then arguments as needed; it ends with the bytes.
 */
#include "tests/fuzz/fuzz.h"

#include <stdarg.h>

#include <zstd.h>

#include "daemon/core/core.h"
#include "daemon/core/status.h"
#include "daemon/core/world.h"
#include "protocol/frame.h"
#include "protocol/log_device.h"

#define NODES	    3
#define IO_MAX	    64
#define SEQ_MAX	    4096
#define STEPS_MAX   300
#define IMAGE_BYTES (LOG_DEVICE_BITS_OFFSET + 512)

#define LUIDS 4
#define UUIDS 2

static const char *const uuids[UUIDS] = {"LVM-one", "LVM-two"};
static const char *const constructors[] = {
    "204800 clustered-core 1024",
    "204800 clustered-disk 253:4 1024",
    "204800 clustered-disk 253:4 1024 nosync",
    "102400 clustered-disk 253:4 1024 sync block_on_error",
    "1000 clustered-core 8 nosync",
    "not a constructor",
};

/* An effect that wants an answer. */
struct pending_io {
	enum event_type answer;
	uint32_t log;
	uint64_t token;
};

/* The run directory: what a successor of the daemon finds. */
struct run_copy {
	uint8_t *meta; /* NULL: the log is not there */
	size_t meta_bytes;
	struct region_set bits[RUN_BITS_COUNT];
	unsigned held_count;
	struct {
		luid_t luid;
		struct region_set regions;
	} held[RUN_INSTANCES_MAX];
};

struct play {
	const uint8_t *at, *end;
	struct core_config config;
	struct run_copy run[UUIDS];
	struct core *core, *twin;
	uint64_t now_ns;
	uint32_t next_seq;
	bool asked[SEQ_MAX];
	struct {
		luid_t luid;
		uint8_t region;
	} in_sync_asked[SEQ_MAX];
	bool told_in_sync[LUIDS][256]; /* the table with this luid was told IN_SYNC 1 (hazard A3) */
	uint8_t view;		       /* bit n: node n + 1 is a member */
	uint64_t ring_seq;
	struct bytes_writer own; /* the message under way, if `own_sent` */
	bool own_sent;
	struct pending_io ios[IO_MAX];
	size_t io_count;
	bool stopped;
};

/* With FUZZ_TRACE in the environment: what happens, a line each, to understand an input. */
__attribute__((format(printf, 1, 2))) static void trace(const char *format, ...)
{
	va_list arguments;

	if (!getenv("FUZZ_TRACE"))
		return;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static void trace_event(const struct event *event)
{
	struct bytes_reader reader;
	static struct record record;
	uint64_t incarnation;

	switch (event->type) {
	case EVENT_KERNEL:
		trace("kernel %s seq %u luid %llx %s", ulog_type_name(event->kernel.type), event->kernel.seq,
		      (unsigned long long)event->kernel.luid, event->kernel.uuid);
		break;
	case EVENT_DELIVER:
		trace("deliver from %u, %zu bytes", event->deliver.node, event->deliver.size);
		if (frame_check(event->deliver.bytes, event->deliver.size) != 0 ||
		    frame_open(&reader, event->deliver.bytes, event->deliver.size, &incarnation) != 0)
			break;
		record_init(&record);
		while (frame_next(&reader, &record) == 1)
			trace("    %s log %u luid %llx region %u regions %llu", record_type_name(record.type),
			      record.log, (unsigned long long)record.luid, record.region,
			      (unsigned long long)region_set_count(&record.regions));
		record_fini(&record);
		break;
	default: trace("event %d at %llu ns", (int)event->type, (unsigned long long)event->now_ns);
	}
}

static void trace_effect(const struct effect *effect)
{
	switch (effect->type) {
	case EFFECT_REPLY: trace("  -> reply seq %u error %d", effect->reply.seq, effect->reply.error); break;
	case EFFECT_LOG: trace("  -> log: %s", effect->log_line.text); break;
	case EFFECT_RUN_BITS:
		trace("  -> run bits kind %d first %u count %llu of %llu", (int)effect->run_bits.kind,
		      effect->run_bits.first, (unsigned long long)effect->run_bits.count,
		      (unsigned long long)effect->run_bits.region_count);
		break;
	default:
		trace("  -> effect %d log %u token %llu", (int)effect->type, effect->log,
		      (unsigned long long)effect->token);
	}
}

static uint8_t take(struct play *play)
{
	return play->at < play->end ? *play->at++ : 0;
}

/* --- the run directory
 * ------------------------------------------------------------------------------------------- */

static struct run_copy *run_find(struct play *play, const char *uuid)
{
	FUZZ_CHECK(uuid != NULL);
	for (unsigned i = 0; i < UUIDS; i++)
		if (strcmp(uuids[i], uuid) == 0)
			return &play->run[i];
	abort();
}

static struct region_set *run_held(struct run_copy *run, luid_t luid)
{
	for (unsigned i = 0; i < run->held_count; i++)
		if (run->held[i].luid == luid)
			return &run->held[i].regions;
	FUZZ_CHECK(run->held_count < RUN_INSTANCES_MAX);
	run->held[run->held_count].luid = luid;
	return &run->held[run->held_count++].regions;
}

static void run_drop(struct run_copy *run)
{
	free(run->meta);
	for (unsigned kind = 0; kind < RUN_BITS_COUNT; kind++)
		region_set_fini(&run->bits[kind]);
	for (unsigned i = 0; i < run->held_count; i++)
		region_set_fini(&run->held[i].regions);
	memset(run, 0, sizeof(*run));
}

static void run_drop_instance(struct run_copy *run, luid_t luid)
{
	for (unsigned i = 0; i < run->held_count; i++) {
		if (run->held[i].luid != luid)
			continue;
		region_set_fini(&run->held[i].regions);
		run->held[i] = run->held[--run->held_count];
		memset(&run->held[run->held_count], 0, sizeof(run->held[0]));
		return;
	}
}

static void run_keep_meta(struct run_copy *run, const struct effect *effect)
{
	free(run->meta);
	run->meta = malloc(effect->run_meta.size);
	FUZZ_CHECK(run->meta != NULL);
	memcpy(run->meta, effect->run_meta.bytes, effect->run_meta.size);
	run->meta_bytes = effect->run_meta.size;
}

static void run_keep_bits(struct run_copy *run, const struct effect *effect)
{
	struct region_set *set = effect->run_bits.kind == RUN_HELD ? run_held(run, effect->run_bits.luid)
								   : &run->bits[effect->run_bits.kind];
	uint64_t end = effect->run_bits.first + effect->run_bits.count;

	if (effect->run_bits.set)
		region_set_add_range(set, effect->run_bits.first, end);
	else
		region_set_remove_range(set, effect->run_bits.first, end);
}

/* --- what comes out
 * ---------------------------------------------------------------------------------------------- */

static void check_reply(struct play *play, const struct effect *effect)
{
	FUZZ_CHECK(effect->reply.seq > 0 && effect->reply.seq < play->next_seq);
	FUZZ_CHECK(play->asked[effect->reply.seq]);
	play->asked[effect->reply.seq] = false;
	FUZZ_CHECK(effect->reply.error <= 0);
	FUZZ_CHECK(effect->reply.data_bytes <= ULOG_REPLY_DATA_MAX);
	FUZZ_CHECK(!effect->reply.bare || effect->reply.data_bytes == 0);
	FUZZ_CHECK(effect->reply.data_bytes == 0 || effect->reply.data != NULL);
}

static unsigned luid_index(luid_t luid)
{
	return (unsigned)(luid / 0x1000 - 1);
}

/* A table is forgotten by its kernel: it may be told anything again. */
static void forget_told(struct play *play, luid_t luid)
{
	memset(play->told_in_sync[luid_index(luid)], 0, sizeof(play->told_in_sync[0]));
}

/* What a table was told is never taken back (guarantee 10). */
static void check_in_sync(struct play *play, const struct effect *effect)
{
	luid_t luid = play->in_sync_asked[effect->reply.seq].luid;
	uint8_t region = play->in_sync_asked[effect->reply.seq].region;
	uint64_t value;

	if (luid == 0 || effect->reply.error != 0)
		return;
	FUZZ_CHECK(effect->reply.data_bytes == sizeof(value));
	memcpy(&value, effect->reply.data, sizeof(value));
	FUZZ_CHECK(value <= 1);
	FUZZ_CHECK(value == 1 || !play->told_in_sync[luid_index(luid)][region]);
	play->told_in_sync[luid_index(luid)][region] = value == 1;
}

static void check_send(struct play *play, const struct effect *effect)
{
	FUZZ_CHECK(!play->own_sent);
	FUZZ_CHECK(effect->send.size <= FRAME_MAX_BYTES);
	FUZZ_CHECK(frame_check(effect->send.bytes, effect->send.size) == 0);
	bytes_writer_clear(&play->own);
	bytes_write_span(&play->own, effect->send.bytes, effect->send.size);
	play->own_sent = true;
}

static void check_write(const struct effect *effect)
{
	size_t sum = 0;

	FUZZ_CHECK(effect->device_write.extent_count > 0);
	for (size_t i = 0; i < effect->device_write.extent_count; i++) {
		const struct device_extent *extent = &effect->device_write.extents[i];
		FUZZ_CHECK(extent->size_bytes > 0 && extent->size_bytes % 512 == 0 &&
			   extent->offset_bytes % 512 == 0);
		sum += extent->size_bytes;
	}
	FUZZ_CHECK(sum == effect->device_write.data_bytes);
}

static void note_io(struct play *play, const struct effect *effect, enum event_type answer)
{
	FUZZ_CHECK(effect->log != 0);
	if (play->io_count < IO_MAX)
		play->ios[play->io_count++] =
		    (struct pending_io){.answer = answer, .log = effect->log, .token = effect->token};
}

static void check_effect(struct play *play, const struct effect *effect)
{
	switch (effect->type) {
	case EFFECT_REPLY:
		check_reply(play, effect);
		check_in_sync(play, effect);
		break;
	case EFFECT_SEND: check_send(play, effect); break;
	case EFFECT_DEVICE_READ: note_io(play, effect, EVENT_DEVICE_READ); break;
	case EFFECT_DEVICE_WRITE:
		check_write(effect);
		note_io(play, effect, EVENT_DEVICE_WRITTEN);
		break;
	case EFFECT_LEGS_FLUSH: note_io(play, effect, EVENT_LEGS_FLUSHED); break;
	case EFFECT_REPAIR:
		FUZZ_CHECK(effect->repair.sectors > 0);
		note_io(play, effect, EVENT_REPAIRED);
		break;
	case EFFECT_RUN_BITS:
		FUZZ_CHECK(effect->run_bits.kind < RUN_BITS_COUNT);
		FUZZ_CHECK(effect->run_bits.first + effect->run_bits.count <= effect->run_bits.region_count);
		run_keep_bits(run_find(play, effect->uuid), effect);
		break;
	case EFFECT_RUN_META:
		FUZZ_CHECK(effect->run_meta.size > 0);
		run_keep_meta(run_find(play, effect->uuid), effect);
		break;
	case EFFECT_RUN_DROP:
		if (effect->run_drop.luid != 0)
			run_drop_instance(run_find(play, effect->uuid), effect->run_drop.luid);
		else
			run_drop(run_find(play, effect->uuid));
		break;
	case EFFECT_LOG: FUZZ_CHECK(effect->log_line.text != NULL); break;
	case EFFECT_STOPPED:
		FUZZ_CHECK(effect->stopped.text != NULL);
		play->stopped = play->stopped || effect->stopped.stopped;
		break;
	default: break;
	}
}

/* The parts of an effect that matter to others. */
static void check_twin(const struct effect *a, const struct effect *b)
{
	FUZZ_CHECK(a->type == b->type && a->log == b->log && a->token == b->token);
	switch (a->type) {
	case EFFECT_REPLY:
		FUZZ_CHECK(a->reply.seq == b->reply.seq && a->reply.error == b->reply.error &&
			   a->reply.data_bytes == b->reply.data_bytes);
		FUZZ_CHECK(a->reply.data_bytes == 0 ||
			   memcmp(a->reply.data, b->reply.data, a->reply.data_bytes) == 0);
		break;
	case EFFECT_SEND:
		FUZZ_CHECK(a->send.size == b->send.size &&
			   memcmp(a->send.bytes, b->send.bytes, a->send.size) == 0);
		break;
	case EFFECT_DEVICE_WRITE:
		FUZZ_CHECK(a->device_write.data_bytes == b->device_write.data_bytes &&
			   memcmp(a->device_write.data, b->device_write.data, a->device_write.data_bytes) ==
			       0);
		break;
	case EFFECT_RUN_META:
		FUZZ_CHECK(a->run_meta.size == b->run_meta.size &&
			   memcmp(a->run_meta.bytes, b->run_meta.bytes, a->run_meta.size) == 0);
		break;
	case EFFECT_LOG: FUZZ_CHECK(strcmp(a->log_line.text, b->log_line.text) == 0); break;
	default: break;
	}
}

static void step(struct play *play, struct event *event)
{
	struct effects effects, twin_effects;

	event->now_ns = play->now_ns;
	trace_event(event);
	core_step(play->core, event, &effects);
	core_step(play->twin, event, &twin_effects);
	FUZZ_CHECK(effects.count == twin_effects.count);
	for (size_t i = 0; i < effects.count; i++) {
		trace_effect(&effects.items[i]);
		check_twin(&effects.items[i], &twin_effects.items[i]);
		check_effect(play, &effects.items[i]);
	}
	FUZZ_CHECK(core_deadline_ns(play->core) == core_deadline_ns(play->twin));
}

/* --- what goes in
 * ------------------------------------------------------------------------------------------------ */

static void do_kernel(struct play *play)
{
	uint8_t kind = take(play), who = take(play);
	uint64_t payload[2] = {take(play), take(play) & 1};
	struct event event = {.type = EVENT_KERNEL};
	struct ulog_request *request = &event.kernel;

	if (play->next_seq == SEQ_MAX)
		return;
	request->seq = play->next_seq++;
	request->type = (enum ulog_type)(ULOG_CTR + kind % (ULOG_TYPE_END - ULOG_CTR));
	request->version = 2 + (kind >> 7);
	request->luid = 0x1000u * (1 + (who & 3));
	strcpy(request->uuid, uuids[who >> 2 & 1]);
	request->data = (const uint8_t *)payload;
	if (request->type == ULOG_CTR) {
		const char *text =
		    constructors[payload[0] % (sizeof(constructors) / sizeof(constructors[0]))];
		request->data = (const uint8_t *)text;
		request->data_bytes = (uint32_t)strlen(text) + (payload[1] != 0);
	} else if (request->type == ULOG_SET_REGION_SYNC) {
		request->data_bytes = 16;
	} else if (request->type == ULOG_FLUSH) {
		request->data_bytes = who & 8 ? 8 : 0;
	} else if (request->type == ULOG_MARK_REGION || request->type == ULOG_CLEAR_REGION) {
		request->data_bytes = who & 8 ? 16 : 8;
	} else if (ulog_region_count(request) == 1) {
		request->data_bytes = 8;
	}
	if (who & 16)
		payload[0] |= UINT64_C(1) << 33; /* a region that no log has */
	play->asked[request->seq] = true;
	if (request->type == ULOG_IN_SYNC && !(who & 16)) {
		play->in_sync_asked[request->seq].luid = request->luid;
		play->in_sync_asked[request->seq].region = (uint8_t)payload[0];
	}
	if (request->type == ULOG_DTR || (request->type == ULOG_CTR && payload[1] == 0)) /* not a reconnect */
		forget_told(play, request->luid);
	if (request->type == ULOG_SET_REGION_SYNC && payload[1] == 0)
		play->told_in_sync[who & 3][payload[0] & 255] = false;
	step(play, &event);
}

static void do_deliver_own(struct play *play)
{
	struct event event = {.type = EVENT_DELIVER};
	uint8_t *copy;
	size_t size;

	if (!play->own_sent)
		return;
	play->own_sent = false;
	copy = bytes_writer_steal(&play->own, &size);
	event.deliver.node = 1;
	event.deliver.bytes = copy;
	event.deliver.size = size;
	step(play, &event);
	free(copy);
}

static void deliver(struct play *play, node_id_t node, const struct bytes_writer *writer)
{
	struct event event = {.type = EVENT_DELIVER};

	event.deliver.node = node;
	event.deliver.bytes = writer->bytes;
	event.deliver.size = writer->size;
	step(play, &event);
}

static void fill_hello(struct play *play, node_id_t node, struct record_hello *hello)
{
	uint8_t flags = take(play);

	*hello = (struct record_hello){
	    .version_min = 1,
	    .version_max = (uint16_t)(1 + (flags >> 6 & 1)),
	    .boot_id = node * 10,
	    .incarnation = 100 + node,
	    .next_incarnation = 200 + node,
	    .epoch = flags >> 4 & 3,
	    .component = flags & 8 ? node : 1,
	    .ready = flags & 1,
	    .was_active = flags & 2,
	    .quorate = !(flags & 4),
	};
	for (node_id_t member = 1; member <= NODES; member++) {
		if (play->view >> (member - 1) & 1)
			hello->members[hello->member_count++] = member;
	}
}

/* A state in which nodes 1 to 3 are ready and node 2 uses a log. */
static void encode_world(struct play *play, struct bytes_writer *content)
{
	static const struct log_shape shape = {
	    .length_sectors = 204800, .region_size_sectors = 1024, .region_count = 200};
	uint8_t choice = take(play);
	struct world world;

	world_init(&world);
	world.next_number = 5;
	for (node_id_t id = 1; id <= NODES; id++) {
		struct world_node *node = world_node_get(&world, id);
		node->boot_id = id * 10;
		node->incarnation = id == 1 ? 101 + (choice & 3) : 100 + id;
		node->state = id == 1 ? NODE_JOINING : NODE_READY;
	}
	struct world_log *log = world_log_add(&world, uuids[choice >> 2 & 1], &shape);
	log->phase = LOG_OPEN;
	log->recoverer = choice & 8 ? 2 : NODE_NONE;
	region_set_add_range(&log->unsynced, choice, choice >> 4 & 1 ? 200 : choice);
	struct participant *participant = participant_get(log, 2, 20);
	participant->instances[participant->instance_count++] =
	    (struct world_instance){.luid = 0x100, .resumed = true};
	region_set_add(&participant->marks, choice % 200);
	participant->batch = 2;
	bytes_write_u64(content, world_digest(&world));
	world_encode(content, &world);
	world_fini(&world);
}

/* Bytes of the input; if they are a state, with its digest in front: a joiner looks at nothing else. */
static void encode_bytes(struct play *play, uint8_t size, bool digest, struct bytes_writer *content)
{
	struct bytes_reader reader;
	struct world world;

	if ((size_t)(play->end - play->at) < size)
		size = (uint8_t)(play->end - play->at);
	world_init(&world);
	bytes_reader_init(&reader, play->at, size);
	if (digest && world_decode(&reader, &world) == 0)
		bytes_write_u64(content, world_digest(&world));
	world_fini(&world);
	bytes_write_span(content, play->at, size);
	play->at += size;
}

/* A stream in one piece. Its content is a state, bytes of the input, or, not even compressed, nonsense.
 * Returns memory to be freed once the record is encoded. */
static uint8_t *fill_stream(struct play *play, uint8_t choice, uint8_t size, struct record_stream *stream)
{
	struct bytes_writer content;

	bytes_writer_init(&content);
	if (choice & 4)
		encode_world(play, &content);
	else
		encode_bytes(play, size, choice % (STREAM_KIND_END - STREAM_CHECKPOINT) == 0, &content);
	size_t content_bytes = content.size, room = ZSTD_compressBound(content_bytes);
	uint8_t *bytes = malloc(room);
	FUZZ_CHECK(bytes != NULL);
	size_t compressed_bytes = ZSTD_compress(bytes, room, content.bytes, content_bytes, 1);
	FUZZ_CHECK(!ZSTD_isError(compressed_bytes));
	if (choice & 8)
		bytes[size % compressed_bytes] ^= (uint8_t)(1 + (choice >> 4));
	*stream = (struct record_stream){
	    .kind = (enum stream_kind)(STREAM_CHECKPOINT + choice % (STREAM_KIND_END - STREAM_CHECKPOINT)),
	    .id = 1,
	    .total_bytes = (uint32_t)compressed_bytes,
	    .content_bytes = (uint32_t)content_bytes,
	    .size_bytes = (uint32_t)compressed_bytes,
	    .bytes = bytes,
	};
	bytes_writer_fini(&content);
	return bytes;
}

/* A record of another daemon: well-formed, with a meaning of its own. */
static void do_deliver_record(struct play *play)
{
	static struct record record;
	struct bytes_writer writer;
	uint8_t who = take(play);
	node_id_t node = 2 + (who & 1);
	uint64_t incarnation = (who & 2 ? 200 : 100) + node;

	record_init(&record);
	record.type = (enum record_type)(RECORD_HELLO + take(play) % (RECORD_TYPE_END - RECORD_HELLO));
	record.log = take(play) % 4;
	record.luid = 0x100 + (take(play) & 3);
	record.batch = take(play);
	record.node = 1 + take(play) % NODES;
	record.boot_id = who & 4 ? record.node * 10 : 0;
	record.region = take(play);
	record.flag = who & 8;
	strcpy(record.uuid, uuids[who >> 4 & 1]);
	record.shape = (struct log_shape){
	    .disk = who & 32,
	    .length_sectors = 204800,
	    .region_size_sectors = 1024,
	    .region_count = 200,
	};
	uint8_t first = take(play), more = take(play);
	region_set_add_range(&record.regions, first, first + (uint64_t)more * (who & 64 ? 1000 : 1));
	record.commit_count = 1;
	record.commits[0] = (struct commit_pair){.node = 1 + take(play) % NODES, .batch = take(play)};
	if (record.type == RECORD_HELLO)
		fill_hello(play, node, &record.hello);
	uint8_t *compressed = NULL;
	if (record.type == RECORD_STREAM)
		compressed = fill_stream(play, first, more, &record.stream);
	bytes_writer_init(&writer);
	frame_begin(&writer, record.type == RECORD_HELLO ? 0 : PROTOCOL_VERSION_MAX, incarnation);
	record_encode(&writer, &record);
	deliver(play, node, &writer);
	bytes_writer_fini(&writer);
	record_fini(&record);
	free(compressed);
}

/* Bytes of another daemon: the header is good, the rest is as it comes. */
static void do_deliver_bytes(struct play *play)
{
	struct bytes_writer writer;
	uint8_t who = take(play), size = take(play);

	bytes_writer_init(&writer);
	frame_begin(&writer, PROTOCOL_VERSION_MAX, 102 + (who & 1));
	for (unsigned i = 0; i < size; i++)
		bytes_write_u8(&writer, take(play));
	deliver(play, 2 + (who & 1), &writer);
	bytes_writer_fini(&writer);
}

static void do_view(struct play *play)
{
	uint8_t choice = take(play), next = (uint8_t)((choice & 7) | 1);
	node_id_t members[NODES];
	struct view_change joined[NODES], left[NODES];
	struct event event = {.type = EVENT_VIEW};

	if (next == play->view)
		return;
	event.view.members = members;
	event.view.joined = joined;
	event.view.left = left;
	for (node_id_t node = 1; node <= NODES; node++) {
		bool before = play->view >> (node - 1) & 1, now = next >> (node - 1) & 1;
		if (now)
			members[event.view.member_count++] = node;
		if (now && !before)
			joined[event.view.joined_count++] = (struct view_change){
			    .node = node, .reason = choice & 8 ? VIEW_NODE_UP : VIEW_JOIN};
		if (before && !now)
			left[event.view.left_count++] = (struct view_change){
			    .node = node, .reason = (enum view_reason)(VIEW_LEAVE + (choice >> 4) % 4)};
	}
	play->view = next;
	step(play, &event);
}

static void do_ring(struct play *play)
{
	struct event event = {.type = EVENT_RING};

	play->ring_seq += take(play) & 1;
	event.ring = (struct ring){.seq = play->ring_seq, .representative = 1};
	step(play, &event);
}

static void do_quorum(struct play *play)
{
	static const node_id_t nodes[NODES] = {1, 2, 3};
	struct event event = {.type = EVENT_QUORUM};
	uint8_t choice = take(play);

	event.quorum.quorate = choice & 1;
	event.quorum.ring = (struct ring){.seq = play->ring_seq + (choice >> 1 & 1), .representative = 1};
	event.quorum.nodes = nodes;
	event.quorum.node_count = (choice >> 2) % (NODES + 1);
	step(play, &event);
}

/* The device as it may be found: new, all clean, or with some content. */
static void fill_image(struct play *play, uint8_t choice, uint8_t *image, struct event *event)
{
	struct region_set dirty = REGION_SET_EMPTY;

	memset(image, choice & 8 ? 0xff : 0, IMAGE_BYTES);
	if (choice & 16) {
		uint8_t first = take(play);
		region_set_add_range(&dirty, first, first + take(play) / 16);
		log_device_encode(0, IMAGE_BYTES, choice & 32 ? 200 : 100, &dirty, image);
		region_set_fini(&dirty);
	}
	event->io.bytes = image;
	event->io.size = choice & 64 ? 1000 : IMAGE_BYTES;
	event->io.block_bytes = choice & 4 ? 4096 : 512;
}

static void do_answer_io(struct play *play)
{
	static uint8_t image[IMAGE_BYTES];
	uint8_t choice = take(play);
	struct event event = {.type = EVENT_TIMER};

	if (play->io_count == 0)
		return;
	size_t index = (choice & 3) % play->io_count;
	const struct pending_io io = play->ios[index];
	play->ios[index] = play->ios[--play->io_count];
	event.type = io.answer;
	event.io.log = io.log;
	event.io.token = io.token;
	event.io.error = choice & 128 ? -5 : 0;
	if (io.answer == EVENT_DEVICE_READ && event.io.error == 0)
		fill_image(play, choice, image, &event);
	step(play, &event);
}

static void do_time(struct play *play)
{
	struct event event = {.type = EVENT_TIMER};
	uint64_t deadline = core_deadline_ns(play->core);
	uint8_t choice = take(play);

	play->now_ns += (uint64_t)choice * UINT64_C(20000000);
	if (choice >= 250 && deadline != UINT64_MAX && deadline > play->now_ns)
		play->now_ns = deadline;
	step(play, &event);
}

static void do_cluster_lost(struct play *play)
{
	struct event event = {.type = EVENT_CLUSTER_LOST};

	play->view = 0;
	play->own_sent = false;
	step(play, &event);
}

static void do_control(struct play *play)
{
	uint8_t choice = take(play);
	struct event event = {.type = EVENT_CONTROL};

	event.control.command = (enum control_command)(choice % (CONTROL_REPAIR_RATE + 1));
	event.control.node = 1 + (choice >> 4) % NODES;
	event.control.uuid = choice & 128 ? uuids[0] : NULL;
	event.control.rate = (uint64_t)(choice >> 3) << (choice >> 2);
	step(play, &event);
}

static void do_tables(struct play *play)
{
	uint8_t choice = take(play);
	struct table tables[2] = {
	    {.uuid = uuids[0], .live = choice & 1, .suspended = choice & 2},
	    {.uuid = uuids[choice >> 5 & 1], .live = choice & 4, .suspended = choice & 8},
	};
	struct event event = {.type = EVENT_TABLES};

	event.tables.tables = tables;
	event.tables.count = (choice >> 6) % 3;
	memset(play->told_in_sync, 0, sizeof(play->told_in_sync)); /* tables that are not there are gone */
	event.tables.asked_ns = play->now_ns;
	step(play, &event);
}

static void do_run_log(struct play *play)
{
	struct region_set sets[RUN_BITS_COUNT] = {REGION_SET_EMPTY};
	uint8_t choice = take(play), meta_bytes = take(play);
	struct event event = {.type = EVENT_RUN_LOG};

	for (unsigned i = 0; i < RUN_BITS_COUNT; i++) {
		uint8_t first = take(play) % 100;
		region_set_add_range(&sets[i], first, first + take(play) % 100);
		event.run_log.bits[i] = i == RUN_HELD ? NULL : &sets[i];
	}
	if ((size_t)(play->end - play->at) < meta_bytes)
		meta_bytes = (uint8_t)(play->end - play->at);
	event.run_log.uuid = uuids[choice & 1];
	event.run_log.meta = play->at;
	event.run_log.meta_bytes = meta_bytes;
	event.run_log.flushing = choice & 2;
	play->at += meta_bytes;
	event.run_log.instance_count = 1;
	event.run_log.instances[0].luid = 0x1000;
	event.run_log.instances[0].held = &sets[RUN_HELD];
	step(play, &event);
	for (unsigned i = 0; i < RUN_BITS_COUNT; i++)
		region_set_fini(&sets[i]);
}

static void restore(struct play *play, unsigned which)
{
	const struct run_copy *run = &play->run[which];
	/* The core may write to the run directory while it reads what was there. */
	struct region_set bits[RUN_BITS_COUNT] = {REGION_SET_EMPTY},
			  held[RUN_INSTANCES_MAX] = {REGION_SET_EMPTY};
	struct event event = {.type = EVENT_RUN_LOG};
	uint8_t *meta = malloc(run->meta_bytes);

	FUZZ_CHECK(meta != NULL);
	memcpy(meta, run->meta, run->meta_bytes);
	event.run_log.uuid = uuids[which];
	event.run_log.meta = meta;
	event.run_log.meta_bytes = run->meta_bytes;
	for (unsigned kind = 0; kind < RUN_BITS_COUNT; kind++) {
		region_set_copy(&bits[kind], &run->bits[kind]);
		event.run_log.bits[kind] = kind == RUN_HELD ? NULL : &bits[kind];
	}
	event.run_log.instance_count = run->held_count;
	for (unsigned i = 0; i < event.run_log.instance_count; i++) {
		region_set_copy(&held[i], &run->held[i].regions);
		event.run_log.instances[i].luid = run->held[i].luid;
		event.run_log.instances[i].held = &held[i];
	}
	step(play, &event);
	for (unsigned kind = 0; kind < RUN_BITS_COUNT; kind++)
		region_set_fini(&bits[kind]);
	for (unsigned i = 0; i < RUN_INSTANCES_MAX; i++)
		region_set_fini(&held[i]);
	free(meta);
}

/* The daemon is killed and started again, on the same boot or on another. */
static void do_restart(struct play *play)
{
	uint8_t choice = take(play);

	core_free(play->core);
	core_free(play->twin);
	play->config.incarnation += 10;
	if (choice & 1) {
		play->config.boot_id++;
		memset(play->told_in_sync, 0, sizeof(play->told_in_sync));
		for (unsigned i = 0; i < UUIDS; i++)
			run_drop(&play->run[i]);
	}
	play->core = core_new(&play->config);
	play->twin = core_new(&play->config);
	FUZZ_CHECK(play->core != NULL && play->twin != NULL);
	memset(play->asked, 0, sizeof(play->asked)); /* its kernel asks again */
	play->io_count = 0;
	play->view = 0;
	play->own_sent = false;
	for (unsigned i = 0; i < UUIDS; i++)
		if (play->run[i].meta)
			restore(play, i);
}

static void do_fence(struct play *play)
{
	uint8_t choice = take(play);
	struct event event = {.type = choice & 1 ? EVENT_FENCE_HELD : EVENT_NODE_DEAD};

	if (event.type == EVENT_NODE_DEAD) {
		event.node_dead.node = 2 + (choice >> 1 & 1);
		event.node_dead.boot_id = choice & 4 ? event.node_dead.node * 10 : 0;
	}
	step(play, &event);
}

static void do_status(struct play *play)
{
	struct core_status *a = core_status_new(play->core), *b = core_status_new(play->twin);

	FUZZ_CHECK(a != NULL && b != NULL && a->digest == b->digest && a->log_count == b->log_count);
	core_status_free(a);
	core_status_free(b);
}

static void (*const actions[])(struct play *play) = {
    do_kernel,	do_kernel,	  do_kernel, do_kernel, do_deliver_own,	 do_deliver_own, do_deliver_record,
    do_view,	do_deliver_bytes, do_ring,   do_quorum, do_answer_io,	 do_answer_io,	 do_time,
    do_control, do_tables,	  do_fence,  do_status, do_cluster_lost, do_restart,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct play play;
	struct core_config config = {
	    .node = 1,
	    .boot_id = 10,
	    .incarnation = 101,
	    .fencing = FENCING_DLM,
	    .linger_ns = UINT64_C(2000000000),
	    .linger_regions = 16,
	};

	if (size < 2)
		return 0;
	memset(&play, 0, sizeof(play));
	play.at = data;
	play.end = data + size;
	play.next_seq = 1;
	play.now_ns = UINT64_C(1000000000);
	uint8_t flags = take(&play);
	config.fencing = (enum fencing)(flags % 3);
	config.run_state_lost = flags & 4;
	config.repair_paused = flags & 8;
	play.config = config;
	play.core = core_new(&config);
	play.twin = core_new(&config);
	FUZZ_CHECK(play.core != NULL && play.twin != NULL);
	bytes_writer_init(&play.own);
	if (flags & 16)
		do_run_log(&play);
	for (int steps = 0; steps < STEPS_MAX && play.at < play.end && !play.stopped; steps++)
		actions[take(&play) % (sizeof(actions) / sizeof(actions[0]))](&play);
	bytes_writer_fini(&play.own);
	for (unsigned i = 0; i < UUIDS; i++)
		run_drop(&play.run[i]);
	core_free(play.core);
	core_free(play.twin);
	return 0;
}
