/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log device, at its one writer: read at take-over, dirty bits durable before a commit, clean bits when
 * there is time. `content` is the set of dirty bits that the device holds or will hold once the write under
 * way has ended.
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A log device that failed is tried again after this long, when a write waits for it. */
#define DEVICE_RETRY_NS (5 * NS_PER_S)

void device_init(struct device *device)
{
	memset(device, 0, sizeof(*device));
	device->clean_due_ns = UINT64_MAX;
}

void device_fini(struct device *device)
{
	region_set_fini(&device->content);
	region_set_fini(&device->dirty_blocks);
	region_set_fini(&device->clean_blocks);
	region_set_fini(&device->maybe_clean);
}

static const struct constructor *device_constructor(const struct log *log)
{
	const struct instance *instance = log_resumed_instance(log);

	/* The resumed table names the device; while a resume is under way, the table that is being resumed:
	 * once its RESUME is heard. Until then a role may be one that the SUSPENDED before it gives away. */
	if (instance)
		return &instance->constructor;
	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->state == INSTANCE_SUSPENDING && !instance->resume_cut)
			return &instance->constructor;
	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->state == INSTANCE_RESUMING && instance->resume_heard)
			return &instance->constructor;
	return NULL;
}

/* What is open is the log device of a former table. */
static bool device_moved(const struct log *log)
{
	const struct constructor *constructor = device_constructor(log);

	return constructor &&
	       (constructor->major != log->device.major || constructor->minor != log->device.minor);
}

bool device_is_writer(const struct core *core, const struct log *log)
{
	const struct world_log *world = log_world(core, log);

	return world && world->writer == core->config.node && core->active && device_constructor(log);
}

/* The role alone: what is delivered while the view is not active is noted all the same, and written later. */
static bool device_has_role(const struct core *core, const struct log *log)
{
	const struct world_log *world = log_world(core, log);

	return world && world->writer == core->config.node && device_constructor(log);
}

/* A write of a killed daemon is one of this node like its own (hazard A14). */
void device_former_writes(struct core *core, struct log *log)
{
	struct effect *effect = effect_add_log(core, EFFECT_DEVICE_WAIT, log);

	log->device.token = effect->token = core_token(core);
	log->device.state = DEVICE_WRITING;
}

void device_close(struct core *core, struct log *log)
{
	if (log->device.state == DEVICE_IDLE)
		effect_add_log(core, EFFECT_DEVICE_CLOSE, log);
	stream_drop_device(core, log);
	device_fini(&log->device);
	device_init(&log->device);
}

/* Of the log in the replicated state: it is another one before the RESUME that makes it so is answered here.
 */
static uint64_t region_count(const struct core *core, const struct log *log)
{
	return log_world(core, log)->shape.region_count;
}

static void device_read(struct core *core, struct log *log)
{
	const struct constructor *constructor = device_constructor(log);
	struct effect *effect;

	if (!constructor)
		return;
	effect = effect_add_log(core, EFFECT_DEVICE_READ, log);
	effect->device_read.major = log->device.major = constructor->major;
	effect->device_read.minor = log->device.minor = constructor->minor;
	effect->device_read.size = log_device_image_bytes(region_count(core, log), 512);
	log->device.token = effect->token = core_token(core);
	log->device.state = DEVICE_READING;
}

static void device_give_up(struct core *core, struct log *log, const char *what, int error)
{
	core_log(core, LOG_ERR, "log %s: the log device cannot be %s: %s", log->uuid, what, strerror(-error));
	log->device.state = DEVICE_IDLE;
	device_close(core, log);
	log->device.failed = true;
	send_add(core, RECORD_WRITER_FAILED, log->uuid);
}

/* Tell the others what the device holds: the state merges it at one place of the order. */
static void device_tell(struct core *core, struct log *log, const struct region_set *dirty)
{
	const struct world_log *world = log_world(core, log);
	struct bytes_writer content;

	bytes_writer_init(&content);
	log->device.told_number = world->number;
	bytes_write_u32(&content, world->number);
	set_encode(&content, dirty);
	if (stream_out(core, STREAM_DEVICE, &content, log->handle))
		core_log(core, LOG_ERR, "memory is short: log %s stays without writer", log->uuid);
	bytes_writer_fini(&content);
}

void device_tell_again(struct core *core, struct log *log)
{
	const struct world_log *world = log_world(core, log);

	if (world && world->writer == core->config.node && !world->writer_loaded &&
	    log->device.state == DEVICE_IDLE)
		device_tell(core, log, &log->device.content);
}

void device_read_done(struct core *core, struct log *log, const struct event *event)
{
	const struct world_log *world = log_world(core, log);
	struct device *device = &log->device;
	struct region_set dirty = {0};
	enum log_device_found found;
	uint64_t regions = 0;

	if (device->stale || device_moved(log) || !world || world->writer != core->config.node) {
		device->state = DEVICE_IDLE;
		device_close(core, log);
		return;
	}
	if (event->io.error) {
		device_give_up(core, log, "read", event->io.error);
		return;
	}
	/* The table's sync or nosync is for a log that nobody has in memory. */
	found = log_device_decode(event->io.bytes, event->io.size, world->shape.region_count,
				  world->phase == LOG_LOADING ? (enum sync_mode)world->shape.sync_mode
							      : SYNC_DEFAULT,
				  &dirty, &regions);
	if (found == LOG_DEVICE_FOREIGN || found == LOG_DEVICE_SHORT) {
		region_set_fini(&dirty);
		core_log(core, LOG_ERR, "log %s: the log device %s", log->uuid,
			 found == LOG_DEVICE_SHORT ? "is too small" : "holds a log of a newer version");
		device_give_up(core, log, "used", -EINVAL);
		return;
	}
	device->state = DEVICE_IDLE;
	device->block_bytes = event->io.block_bytes;
	memcpy(device->head, event->io.bytes, sizeof(device->head));
	/* Anything but its very bits in `dirty`: the whole image is written once. */
	device->known = found == LOG_DEVICE_LOG && regions == world->shape.region_count &&
			(world->phase != LOG_LOADING || world->shape.sync_mode == SHAPE_DEFAULT);
	region_set_copy(&device->content, &dirty);
	region_set_fini(&dirty);
	if (!world->writer_loaded) {
		device_tell(core, log, &device->content);
		return;
	}
	/* Told before, by this node: it was closed since. */
	device->merged = true;
	device_recheck(core, log);
}

static void blocks_add(struct device *device, struct region_set *blocks, const struct region_set *regions)
{
	for (uint64_t first = 0, end = 0; region_set_next_run(regions, end, &first, &end);)
		region_set_add_range(blocks, log_device_block((region_t)first, device->block_bytes),
				     log_device_block((region_t)(end - 1), device->block_bytes) + 1);
}

void device_note_dirty(struct core *core, struct log *log, const struct region_set *regions)
{
	struct device *device = &log->device;
	struct region_set fresh = {0};

	if (!device_has_role(core, log) || !device->merged)
		return;
	region_set_copy(&fresh, regions);
	region_set_subtract(&fresh, &device->content);
	region_set_union_with(&device->content, &fresh);
	blocks_add(device, &device->dirty_blocks, &fresh);
	region_set_fini(&fresh);
}

void device_note_clean(struct core *core, struct log *log, const struct region_set *regions)
{
	struct device *device = &log->device;

	if (!device_has_role(core, log) || !device->merged)
		return;
	region_set_union_with(&device->maybe_clean, regions);
	if (device->clean_due_ns == UINT64_MAX)
		device->clean_due_ns = core->now_ns + CLEAN_DELAY_NS;
}

/* After a change in bulk: compare everything. */
void device_recheck(struct core *core, struct log *log)
{
	const struct world_log *world = log_world(core, log);
	struct device *device = &log->device;
	struct region_set dirty = {0};

	log->mirror_due = true;
	if (!device_has_role(core, log) || !device->merged)
		return;
	world_log_collect_dirty(world, &dirty);
	device_note_dirty(core, log, &dirty);
	region_set_copy(&device->maybe_clean, &device->content);
	region_set_subtract(&device->maybe_clean, &dirty);
	if (!region_set_is_empty(&device->maybe_clean) && device->clean_due_ns == UINT64_MAX)
		device->clean_due_ns = core->now_ns + CLEAN_DELAY_NS;
	region_set_fini(&dirty);
}

/* What turned out clean loses its bit now; it is written with the next write. */
static void device_clean(struct core *core, struct log *log)
{
	const struct world_log *world = log_world(core, log);
	struct device *device = &log->device;
	struct region_set clean = {0}, dirty = {0};

	(void)core;
	device->clean_due_ns = UINT64_MAX;
	if (region_set_is_empty(&device->maybe_clean))
		return;
	world_log_collect_dirty(world, &dirty);
	region_set_move(&clean, &device->maybe_clean);
	region_set_intersect(&clean, &device->content);
	region_set_subtract(&clean, &dirty);
	region_set_subtract(&device->content, &clean);
	blocks_add(device, &device->clean_blocks, &clean);
	region_set_fini(&clean);
	region_set_fini(&dirty);
}

/* Returns the bytes that will be written, from the first block on. */
static uint8_t *write_extents(struct core *core, struct log *log, const struct region_set *blocks)
{
	struct effect *effect = effect_add_log(core, EFFECT_DEVICE_WRITE, log);
	uint32_t block_bytes = log->device.block_bytes;
	size_t bytes = (size_t)region_set_count(blocks) * block_bytes, at = 0, count = 0, room = 0;
	struct device_extent *extents = NULL;
	uint8_t *data = malloc(bytes);

	if (!data)
		abort();
	for (uint64_t first = 0, end = 0; region_set_next_run(blocks, end, &first, &end); count++) {
		uint32_t size = (uint32_t)((end - first) * block_bytes);

		if (count == room) {
			room = room ? room * 2 : 8;
			extents = realloc(extents, room * sizeof(*extents));
			if (!extents)
				abort();
		}
		extents[count] =
		    (struct device_extent){.offset_bytes = first * block_bytes, .size_bytes = size};
		log_device_encode(first * block_bytes, size, region_count(core, log), &log->device.content,
				  data + at);
		at += size;
	}
	effect->device_write.extents = effect_keep(core, extents);
	effect->device_write.extent_count = count;
	effect->device_write.data = effect_keep(core, data);
	effect->device_write.data_bytes = bytes;
	log->device.token = effect->token = core_token(core);
	log->device.state = DEVICE_WRITING;
	core->counters.device_writes++;
	core->counters.device_write_bytes += bytes;
	return data;
}

/*
 * A device that held no log, or one of another size: the header makes a log of what stands behind it, so it
 * comes last. A write of both could tear, and what was there before would be read as clean bits. Until then
 * its first sector stays what it was: without a log on it a table's nosync counts, and that is true as long
 * as nothing was committed.
 */
static void device_write_body(struct core *core, struct log *log)
{
	struct region_set blocks = {0};

	log->device.body_written = true;
	region_set_add_range(&blocks, 0,
			     log_device_image_bytes(region_count(core, log), log->device.block_bytes) /
				 log->device.block_bytes);
	memcpy(write_extents(core, log, &blocks), log->device.head, sizeof(log->device.head));
	region_set_clear(&log->device.dirty_blocks);
	region_set_clear(&log->device.clean_blocks);
	region_set_fini(&blocks);
}

static void device_write(struct core *core, struct log *log)
{
	struct device *device = &log->device;
	struct region_set blocks = {0};

	if (!device->known && !device->body_written) {
		device_write_body(core, log);
		return;
	}
	if (!device->known)
		region_set_add(&device->dirty_blocks, 0);
	device->known = true;
	region_set_move(&blocks, &device->dirty_blocks);
	region_set_union_with(&blocks, &device->clean_blocks);
	region_set_clear(&device->clean_blocks);
	write_extents(core, log, &blocks);
	region_set_fini(&blocks);
}

/* Nothing is in flight and no dirty bit is missing: every batch in the state is durable (guarantee 4). */
static void device_commit(struct core *core, struct log *log, struct world_log *world)
{
	struct participant *participant;
	struct record *record = NULL;

	TAILQ_FOREACH (participant, &world->participants, entry) {
		/* Who has not spoken yet counts anew when it does. */
		if (participant->awaited || participant->batch <= participant->local_committed)
			continue;
		participant->local_committed = participant->batch;
		if (participant->node == core->config.node) {
			log->batch_committed = participant->batch;
			continue;
		}
		if (!record)
			record = send_add(core, RECORD_COMMIT, log->uuid);
		if (!record)
			abort();
		record->commits[record->commit_count++] =
		    (struct commit_pair){.node = participant->node,
					 .incarnation = node_incarnation(core, participant->node),
					 .batch = participant->batch};
	}
}

void device_written(struct core *core, struct log *log, int error)
{
	log->device.state = DEVICE_IDLE;
	if (error)
		device_give_up(core, log, "written", error);
}

static void device_take_over(struct core *core, struct log *log, struct world_log *world)
{
	struct participant *participant;

	if (log->device.state != DEVICE_CLOSED || log->device.failed || log->device.stopped)
		return;
	TAILQ_FOREACH (participant, &world->participants, entry)
		participant->local_committed = 0;
	device_read(core, log);
}

/* The role is this node's: what is due? */
static void writer_tick(struct core *core, struct log *log, struct world_log *world)
{
	struct device *device = &log->device;

	/* The role was given up and given back in one go, or the whole log ended and began: it begins anew.
	 */
	if (!world->writer_loaded && device->state == DEVICE_IDLE &&
	    (device->merged || device->told_number != world->number))
		device_close(core, log);
	if (device->state == DEVICE_IDLE && !device->stopped && device_moved(log))
		device_close(core, log);
	if (!world->writer_loaded || !device->merged) {
		device_take_over(core, log, world);
		return;
	}
	/* Nothing is written that this node would not remember: its successor has to speak of it. */
	if (device->state != DEVICE_IDLE || device->stopped || !log_known(log))
		return;
	if (device->clean_due_ns <= core->now_ns)
		device_clean(core, log);
	if (!device->known || !region_set_is_empty(&device->dirty_blocks) ||
	    !region_set_is_empty(&device->clean_blocks)) {
		device_write(core, log);
		return;
	}
	device_commit(core, log, world);
}

/* A table that is told of no error can neither be suspended nor reloaded while its FLUSH waits: the way out
 * is that the device comes back. */
void device_retry(struct core *core, struct log *log)
{
	if (log->device_retry_ns == UINT64_MAX) {
		log->device_retry_ns = core->now_ns + DEVICE_RETRY_NS;
	} else if (core->now_ns >= log->device_retry_ns) {
		send_add(core, RECORD_WRITER_AGAIN, log->uuid);
		log->device_retry_ns = UINT64_MAX;
	}
}

/* The write that this node spoke of: others may write from here on. */
static void write_end_tell(struct core *core, struct log *log)
{
	const struct participant *self = log_self(core, log);

	if (!self || !self->writing || log->write_end_sent || core->join != JOIN_READY ||
	    log->device.state == DEVICE_WRITING)
		return;
	log->write_end_sent = send_add(core, RECORD_WRITE_ENDED, log->uuid) != NULL;
}

void device_tick(struct core *core, struct log *log)
{
	struct world_log *world = log_world(core, log);
	bool role = world && world->writer == core->config.node;

	write_end_tell(core, log);

	if (!world || !world->device_dead || !core->active)
		log->device_retry_ns = UINT64_MAX;
	if (world && !role)
		log->device.failed = false;
	if (role && core->active && device_constructor(log))
		writer_tick(core, log, world);
	else if (!role && log->device.state == DEVICE_IDLE)
		device_close(core, log);
}

bool device_quiet(const struct log *log)
{
	const struct device *device = &log->device;

	return device->state != DEVICE_WRITING && device->state != DEVICE_READING &&
	       device->clean_due_ns == UINT64_MAX && region_set_is_empty(&device->dirty_blocks) &&
	       region_set_is_empty(&device->clean_blocks) && region_set_is_empty(&device->maybe_clean);
}
