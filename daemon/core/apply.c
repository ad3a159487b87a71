/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is delivered: checked, applied to the replicated state, and noticed by the logs of this node. */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void backlog_add(struct core *core, node_id_t node, const uint8_t *bytes, size_t size)
{
	struct backlog_item *item;

	if (core->backlog_bytes + size > BACKLOG_BYTES_MAX) {
		core->counters.backlog_overflows++;
		core_log(core, LOG_ERR,
			 "too much came while the checkpoint was under way: asking for another");
		join_reset(core);
		core->next_incarnation++;
		core->hello_due = true;
		return;
	}
	item = malloc(sizeof(*item) + size);
	if (!item)
		abort();
	item->node = node;
	item->size = size;
	memcpy(item->bytes, bytes, size);
	core->backlog_bytes += size;
	TAILQ_INSERT_TAIL(&core->backlog, item, entry);
}

/* A core log commits what every up-to-date member has: this node has it, whether or not a table of it is
 * here. */
static void note_ack_due(struct core *core, const struct world_log *world, node_id_t node)
{
	struct participant *sender = participant_find(world, node);

	if (world->shape.disk || !sender || sender->awaited || node == core->config.node)
		return;
	sender->local_ack_due = sender->waiting_batch ? sender->waiting_batch : sender->batch;
	core->acks_due = true;
}

/* What was delivered between a speech and READY could not be answered, or not be noticed: once more. */
static void note_ready(struct core *core, node_id_t node)
{
	struct world_log *world;

	TAILQ_FOREACH (world, &core->world.logs, entry) {
		struct participant *participant;

		TAILQ_FOREACH (participant, &world->participants, entry) {
			if (participant->node == node)
				participant->local_committed = 0;
			if (participant->node == node || node == core->config.node)
				note_ack_due(core, world, participant->node);
		}
	}
}

/* Did the state take this node's RESUME? */
static void note_own_resume(struct core *core, struct log *log, const struct world_log *world,
			    const struct record *record)
{
	struct participant *self = participant_find(world, core->config.node);
	const struct world_instance *known = self ? participant_instance(self, record->luid) : NULL;
	struct instance *instance = instance_find(log, record->luid);

	if (!instance)
		return;
	instance->resume_heard = instance->resume_sent;
	instance->refused = !known || !known->resumed;
	if (instance->resume_cut && instance->state == INSTANCE_SUSPENDED)
		suspend_tell(core, log, instance);
}

/* A new participant of a core log has this node's marks through its checkpoint, or will have when it hears
 * that this node knows of it: it acknowledges later ones only. Another table of a participant is nothing new.
 */
static void note_member(struct core *core, const struct world_log *world, node_id_t sender)
{
	const struct participant *self = participant_find(world, core->config.node);
	struct participant *participant = participant_find(world, sender);

	if (self && participant && region_set_contains(&participant->unheard, core->config.node))
		participant->local_acked = self->batch;
}

static void note_commit(struct core *core, struct log *log, const struct record *record)
{
	for (uint32_t i = 0; i < record->commit_count; i++)
		if (record->commits[i].node == core->config.node &&
		    record->commits[i].incarnation == core->incarnation &&
		    record->commits[i].batch > log->batch_committed)
			log->batch_committed = record->commits[i].batch;
}

/* What a record means to this node beyond the replicated state. */
static void note(struct core *core, struct log *log, const struct world_log *world, node_id_t sender,
		 const struct record *record)
{
	struct participant *participant;

	switch (record->type) {
	case RECORD_RESUME:
		note_member(core, world, sender);
		if (sender == core->config.node)
			note_own_resume(core, log, world, record);
		device_recheck(core, log);
		break;
	case RECORD_MARK: device_note_dirty(core, log, &record->regions); break;
	case RECORD_CLEAR: device_note_clean(core, log, &record->regions); break;
	case RECORD_SYNCED:
		if (world->recoverer == sender)
			recovery_synced(core, log, &record->regions);
		break;
	case RECORD_RELEASE:
		if (record->flag) {
			struct region_set one = {0};

			region_set_add(&one, record->region);
			device_note_clean(core, log, &one);
			region_set_fini(&one);
		}
		if (sender == core->config.node)
			log->claim_sent = log->release_sent = false;
		break;
	case RECORD_CLAIM:
		log->claim_known_sent = false;
		if (world->claimed && world->claim == record->region)
			marks_give_up(core, log, record->region);
		else if (sender == core->config.node)
			log->claim_sent = false;
		break;
	case RECORD_COMMIT:
		if (world->writer == sender)
			note_commit(core, log, record);
		break;
	case RECORD_ACK:
		participant = participant_find(world, sender);
		if (record->node == core->config.node && record->incarnation == core->incarnation &&
		    participant && record->batch > participant->local_acked)
			participant->local_acked = record->batch;
		break;
	case RECORD_WANT:
		if (world->recoverer == core->config.node)
			region_set_union_with(&log->wanted, &record->regions);
		break;
	case RECORD_WRITE_ENDED:
		if (sender == core->config.node)
			log->write_end_sent = false;
		break;
	case RECORD_WRITER_FAILED:
		/* Should the role be this node's again, by a table that is resumed behind it, it tries again.
		 */
		if (sender == core->config.node)
			log->device.failed = false;
		break;
	case RECORD_FAILED:
		log->failures_batch = 0;
		device_recheck(core, log);
		break;
	case RECORD_DESTROYED:
	case RECORD_DOUBT: device_recheck(core, log); break;
	default: break;
	}
}

/* A table of a larger size may still hold marks behind the end of a mirror that shrank: nothing is there to
 * be copied. */
static void record_clip(const struct core *core, struct record *record)
{
	const struct world_log *world = world_log_by_number(&core->world, record->log);

	if (world)
		region_set_truncate(&record->regions, world->shape.region_count);
}

/* The last table that the state knew of this node may go before the next is resumed (RESUME waits, or was
 * lost): the marks went with it, and the roles. When nobody else had a table the log went too: what was said
 * of it and comes behind that, maybe in one frame with the next RESUME, names a log that is not there.
 */
static void note_own_destroyed(struct core *core, struct log *log)
{
	if (!log || core->join != JOIN_READY || log_self(core, log))
		return;
	marks_unlearn(log);
	join_unlearn_sent(log);
}

static void apply_record(struct core *core, node_id_t node, struct record *record)
{
	struct world_log *world = world_log_by_number(&core->world, record->log);
	struct log *log = world ? log_find(core, world->uuid) : NULL;

	record_clip(core, record);
	world = world_apply(&core->world, node, record);
	if ((record->type == RECORD_DESTROYED || record->type == RECORD_WRITE_ENDED) &&
	    node == core->config.node)
		note_own_destroyed(core, log);
	if (record->type == RECORD_READY && node == core->config.node && core->join == JOIN_SPEAKING)
		join_ready(core);
	if (record->type == RECORD_READY)
		note_ready(core, node);
	if (record->type == RECORD_READY || record->type == RECORD_NODE_DEAD ||
	    record->type == RECORD_NODE_DOWN) {
		TAILQ_FOREACH (log, &core->logs, entry)
			device_recheck(core, log);
		log_poke_all(core);
		return;
	}
	/* What answers the own speech comes while this node may still be speaking of other logs. */
	if (core->join != JOIN_READY &&
	    (core->join != JOIN_SPEAKING || (record->type != RECORD_COMMIT && record->type != RECORD_ACK)))
		return;
	if (!world) { /* gone with its last instance, maybe one of this node */
		log_poke_all(core);
		return;
	}
	if (record->type == RECORD_RESUME)
		core->known_due = true;
	if (record->type == RECORD_MARK)
		note_ack_due(core, world, node);
	log = log_find(core, world->uuid);
	if (!log)
		return;
	note(core, log, world, node, record);
	log_poke(core, log);
}

/* The marks of a speech are a batch like any other: a core log commits it when all have acknowledged. */
static void note_speech(struct core *core, const struct world_log *world, node_id_t node)
{
	struct participant *speaker = participant_find(world, node);

	note_member(core, world, node);
	/* A daemon that starts anew counts its batches from the beginning. */
	if (speaker)
		speaker->local_committed = 0;
	note_ack_due(core, world, node);
}

static void apply_speech(struct core *core, node_id_t node, struct bytes_reader *reader)
{
	struct world_log *world = NULL;
	struct speech speech;
	struct log *log;

	speech_init(&speech);
	if (speech_decode(reader, &speech))
		core_log(core, LOG_ERR, "node %u spoke what cannot be read: ignored", node);
	else
		world = world_apply_speech(&core->world, node, &speech);
	core->known_due = core->known_due || world;
	speech_fini(&speech);
	run_state_disown_nameless(core, world);
	log = world ? log_find(core, world->uuid) : NULL;
	if (!log)
		return;
	note_speech(core, world, node);
	device_recheck(core, log);
	log_poke(core, log);
}

static void apply_device(struct core *core, node_id_t node, struct bytes_reader *reader)
{
	uint32_t number = bytes_read_u32(reader);
	struct world_log *world = world_log_by_number(&core->world, number);
	struct region_set dirty = {0};
	struct log *log;

	if (!world || set_decode(reader, &dirty, world->shape.region_count)) {
		region_set_fini(&dirty);
		return;
	}
	world_apply_device(&core->world, node, number, &dirty);
	region_set_fini(&dirty);
	log = log_find(core, world->uuid);
	if (!log)
		return;
	/* A device that was closed and is read again since has not told this. */
	if (node == core->config.node &&
	    (log->device.state == DEVICE_IDLE || log->device.state == DEVICE_WRITING))
		log->device.merged = true;
	device_recheck(core, log);
	log_poke(core, log);
}

static void apply_stream(struct core *core, node_id_t node, const struct record_stream *piece)
{
	struct bytes_writer *content;
	struct bytes_reader reader;

	if ((piece->kind == STREAM_CHECKPOINT) != (core->join == JOIN_LOADING))
		return;
	content = stream_in(core, node, piece);
	if (!content)
		return;
	bytes_reader_init(&reader, content->bytes, bytes_writer_size(content));
	switch (piece->kind) {
	case STREAM_CHECKPOINT: join_checkpoint_received(core, content); break;
	case STREAM_SPEAK: apply_speech(core, node, &reader); break;
	case STREAM_DEVICE: apply_device(core, node, &reader); break;
	case STREAM_KIND_END: break;
	}
	bytes_writer_fini(content);
	free(content);
}

/* Frames of a part of the cluster, or of a life of a daemon, that the state does not know are not for it. */
static bool sender_accepted(const struct core *core, node_id_t node, uint64_t incarnation)
{
	const struct world_node *sender = world_node_find(&core->world, node);

	return sender && sender->incarnation == incarnation && sender->state != NODE_REFUSED;
}

static void own_frame_delivered(struct core *core, uint64_t incarnation)
{
	struct log *log;

	core->frame_in_flight = false;
	if (incarnation != core->incarnation)
		return;
	run_state_ended_delivered(core);
	TAILQ_FOREACH (log, &core->logs, entry) {
		marks_delivered(core, log);
		run_state_delivered(core, log);
	}
}

void apply_frame(struct core *core, node_id_t node, const uint8_t *bytes, size_t size)
{
	bool own = node == core->config.node, keep = false, checkpoint_seen = false;
	struct bytes_reader reader;
	struct record *record;
	uint64_t incarnation;
	int error = frame_check(bytes, size);

	if (error) {
		core_log(core, LOG_ERR, "message of node %u refused: %s", node,
			 error == -EPROTONOSUPPORT ? "other protocol version" : "malformed");
		core->frame_in_flight = core->frame_in_flight && !own;
		return;
	}
	record = calloc(1, sizeof(*record));
	if (!record || frame_open(&reader, bytes, size, &incarnation))
		abort();
	while (frame_next(&reader, record) > 0) {
		if (record->type == RECORD_HELLO) {
			view_hello(core, node, &record->hello);
		} else if (core->join == JOIN_LOADING && record->type == RECORD_STREAM &&
			   record->stream.kind == STREAM_CHECKPOINT) {
			apply_stream(core, node, &record->stream);
			checkpoint_seen = checkpoint_seen || core->join != JOIN_LOADING;
		} else if (core->join == JOIN_LOADING) {
			keep = true;
		} else if (core->join != JOIN_APART && sender_accepted(core, node, incarnation)) {
			if (record->type == RECORD_STREAM)
				apply_stream(core, node, &record->stream);
			else
				apply_record(core, node, record);
		}
	}
	record_fini(record);
	free(record);
	if (keep && core->join == JOIN_LOADING && !checkpoint_seen)
		backlog_add(core, node, bytes, size);
	if (own)
		own_frame_delivered(core, incarnation);
}
