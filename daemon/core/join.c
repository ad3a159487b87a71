/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Getting to know the replicated state, and telling it what this node holds. */
#include "daemon/core/internal.h"

#include <stdlib.h>
#include <string.h>

static void backlog_drop(struct core *core)
{
	while (!TAILQ_EMPTY(&core->backlog)) {
		struct backlog_item *item = TAILQ_FIRST(&core->backlog);

		TAILQ_REMOVE(&core->backlog, item, entry);
		free(item);
	}
	core->backlog_bytes = 0;
}

/* Nothing that is under way is waited for: it was said of a log that is gone, or in a role that is. What was
 * copied and not told yet counts for nothing: others may have written there since. */
void join_unlearn_sent(struct log *log)
{
	region_set_clear(&log->copied);
	region_set_clear(&log->copied_flushing);
	region_set_clear(&log->copied_ready);
	region_set_clear(&log->untold);
	log->claim_sent = false;
	log->claim_known_sent = false;
	log->release_sent = false;
	log->write_end_sent = false;
	log->failures_batch = 0;
	log->repair_retry_ns = UINT64_MAX;
	log->device.failed = false; /* was told to nobody, or belongs to a role that is given anew */
}

/* What the former state said is not true any more, or was never heard by others. Each mark of this node is
 * kept in the log's own sets; it becomes part of the next speech. */
static void log_unlearn(struct log *log)
{
	struct instance *instance;

	marks_unlearn(log);
	/* Copied but not told: the speech says that these are ghosts, and they are compared once more. */
	region_set_union_with(&log->orphans, &log->untold);
	log->copied_due_ns = UINT64_MAX;
	region_set_union_with(&log->want_pending, &log->want_sent);
	region_set_clear(&log->want_sent);
	region_set_clear(&log->wanted);
	log->was_recoverer = false;
	join_unlearn_sent(log);
	log->device.merged = false;
	log->device.stale = log->device.state == DEVICE_READING;
	region_set_union_with(&log->fail_pending, &log->fail_in_flight);
	region_set_clear(&log->fail_in_flight);
	log->device.known = false;
	TAILQ_FOREACH (instance, &log->instances, entry) {
		instance->resume_sent = instance->resume_heard = false;
		instance->leaving_sent = instance->suspended_sent = false;
	}
}

/* A write of a log device is spoken of, and no hindrance: it may wait for a mirror below, whose marks wait
 * for this node to have spoken (hazard B4). But of a log without a shape (its memory is damaged) nothing can
 * be said. */
bool join_io_in_flight(const struct core *core)
{
	const struct log *log;

	TAILQ_FOREACH (log, &core->logs, entry)
		if (log->repairing || (log->device.state == DEVICE_WRITING &&
				       (!log->shape.region_count || CORE_MUTANT(SPEECH_WAITS))))
			return true;
	return false;
}

void join_reset(struct core *core)
{
	struct log *log;

	backlog_drop(core);
	stream_drop_in(core);
	send_purge(core);
	world_fini(&core->world);
	core->state_counts = false;
	core->ready_due = false;
	core->watched_count = 0;
	core->down_told_count = 0; /* another part may have the same epoch */
	TAILQ_FOREACH (log, &core->logs, entry)
		log_unlearn(log);
}

void join_start_loading(struct core *core)
{
	core->join = JOIN_LOADING;
}

void join_send_checkpoint(struct core *core)
{
	struct bytes_writer content;

	bytes_writer_init(&content);
	bytes_write_u64(&content, world_digest(&core->world));
	world_encode(&content, &core->world);
	stream_drop_out(core, STREAM_CHECKPOINT);
	if (stream_out(core, STREAM_CHECKPOINT, &content, 0))
		core_log(core, LOG_ERR, "memory is short: the joiners get no checkpoint");
	bytes_writer_fini(&content);
}

static void backlog_replay(struct core *core)
{
	struct backlog pending;
	struct backlog_item *item;

	TAILQ_INIT(&pending);
	TAILQ_CONCAT(&pending, &core->backlog, entry);
	core->backlog_bytes = 0;
	while ((item = TAILQ_FIRST(&pending))) {
		TAILQ_REMOVE(&pending, item, entry);
		apply_frame(core, item->node, item->bytes, item->size);
		free(item);
	}
}

void join_checkpoint_received(struct core *core, const struct bytes_writer *content)
{
	struct bytes_reader reader;
	uint64_t digest;

	bytes_reader_init(&reader, content->bytes, bytes_writer_size(content));
	digest = bytes_read_u64(&reader);
	world_fini(&core->world);
	if (reader.failed || world_decode(&reader, &core->world) || world_digest(&core->world) != digest) {
		core_log(core, LOG_ERR,
			 "the checkpoint is damaged or its digest differs: asking for another");
		world_fini(&core->world);
		core->next_incarnation++;
		core->hello_due = true;
		return;
	}
	/* HELLOs that came meanwhile may have begun other epochs, and ended them. */
	core->world.epoch = core->epoch;
	core_log(core, LOG_INFO, "checkpoint loaded, %zu bytes", bytes_writer_size(content));
	/* Speaking first: frames behind the checkpoint are applied to a state that this node already trusts.
	 */
	core->join = JOIN_SPEAKING;
	backlog_replay(core);
	join_start_speaking(core);
}

/* Marks of a former table, and what else is left of it, may lie behind the end of a mirror that shrank. */
static void speech_clip(struct speech *speech)
{
	struct region_set *const sets[] = {&speech->unsynced, &speech->marks, &speech->ghosts,
					   &speech->failed};

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		region_set_truncate(sets[i], speech->shape.region_count);
}

static void speak_log(struct core *core, struct log *log)
{
	struct bytes_writer content;
	struct speech speech;
	struct instance *instance;

	speech_init(&speech);
	memcpy(speech.uuid, log->uuid, sizeof(speech.uuid));
	speech.shape = log->shape;
	TAILQ_FOREACH (instance, &log->instances, entry) {
		if (!instance->known)
			continue;
		speech.instances[speech.instance_count++] = (struct world_instance){
		    .luid = instance->luid,
		    .tainted = instance->tainted,
		    .resumed = instance_live(instance),
		    .old = instance->old,
		};
		speech.recovering = speech.recovering || instance->has_work;
	}
	speech.writing = log->device.state == DEVICE_WRITING && log->shape.region_count;
	if (speech.instance_count || speech.writing) {
		region_set_copy(&speech.unsynced, &log->unsynced);
		region_set_copy(&speech.ghosts, &log->ghosts);
		region_set_copy(&speech.failed, &log->failed);
		region_set_move(&speech.marks, &log->pending);
		region_set_copy(&log->announced, &speech.marks);
		speech_clip(&speech);
		speech.batch = ++log->batch_sent;
		for (unsigned i = 0; i < log->former_count; i++, speech.former_count++) {
			speech.former[i].node = log->former[i].node;
			speech.former[i].boot_id = log->former[i].boot_id;
		}
		bytes_writer_init(&content);
		speech_encode(&content, &speech);
		if (stream_out(core, STREAM_SPEAK, &content, 0))
			abort(); /* going on would hide marks from the others */
		bytes_writer_fini(&content);
	}
	speech_fini(&speech);
}

void join_start_speaking(struct core *core)
{
	struct log *log;

	core->join = JOIN_SPEAKING;
	core->ready_due = true;
	TAILQ_FOREACH (log, &core->logs, entry)
		speak_log(core, log);
}

/* Who forgot says so once. Corosync's order is agreed, not safe: but if the view is the same for long, all
 * that are in it have heard it, and keep it. The next READY says what was forgotten since. */
void join_memory_told(struct core *core)
{
	if (core->config.run_state_lost && core->join == JOIN_READY && core->active &&
	    core->epoch == core->ready_epoch && core->now_ns - core->ready_ns >= MEMORY_TOLD_NS &&
	    world_suspect(&core->world) == NODE_NONE)
		core->config.run_state_lost = false;
}

void join_ready(struct core *core)
{
	core->join = JOIN_READY;
	core->ready_ns = core->now_ns;
	core->ready_epoch = core->epoch;
	core->known_due = true; /* members that began meanwhile */
	core_log(core, LOG_NOTICE, "ready: the state of the cluster is complete");
	run_state_disown(core);
	log_poke_all(core);
}
