/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs and instances of this node: finding, making, dropping them. */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/search_tree.h"

struct log *log_find(struct core *core, const char *uuid)
{
	const void *key = search_tree_find(&core->logs_by_uuid, uuid, search_tree_text);

	return key ? search_tree_object(key, struct log, uuid) : NULL;
}

struct log *log_by_handle(struct core *core, uint32_t handle)
{
	const void *key = search_tree_find(&core->logs_by_handle, &handle, search_tree_u32);

	return key ? search_tree_object(key, struct log, handle) : NULL;
}

static bool log_index(struct core *core, struct log *log)
{
	if (!search_tree_add(&core->logs_by_uuid, log->uuid, search_tree_text))
		return false;
	if (search_tree_add(&core->logs_by_handle, &log->handle, search_tree_u32))
		return true;
	search_tree_remove(&core->logs_by_uuid, log->uuid, search_tree_text);
	return false;
}

struct log *log_get(struct core *core, const char *uuid)
{
	struct log *log = log_find(core, uuid);

	if (log)
		return log;
	log = calloc(1, sizeof(*log)); /* an all-zero region set is an empty one */
	if (!log)
		return NULL;
	log->handle = core->next_handle++;
	strncpy(log->uuid, uuid, sizeof(log->uuid) - 1);
	if (!log_index(core, log)) {
		free(log);
		return NULL;
	}
	TAILQ_INIT(&log->instances);
	TAILQ_INIT(&log->waitings);
	/* Numbers of a former life of this log may still be on their way: they must mean nothing to this one.
	 */
	log->batch_sent = log->batch_committed = core->batch_floor + 1;
	log->linger_due_ns = UINT64_MAX;
	log->copied_due_ns = UINT64_MAX;
	log->repair_retry_ns = UINT64_MAX;
	log->device_retry_ns = UINT64_MAX;
	device_init(&log->device);
	TAILQ_INSERT_TAIL(&core->logs, log, entry);
	return log;
}

void log_poke(struct core *core, struct log *log)
{
	if (log->poked)
		return;
	log->poked = true;
	TAILQ_INSERT_TAIL(&core->poked, log, poke_entry);
}

void log_poke_all(struct core *core)
{
	struct log *log;

	TAILQ_FOREACH (log, &core->logs, entry)
		log_poke(core, log);
}

static void log_free(struct core *core, struct log *log)
{
	struct region_set *const sets[] = {
	    &log->unsynced,
	    &log->ghosts,
	    &log->failed,
	    &log->orphans,
	    &log->announced,
	    &log->pending,
	    &log->linger_young,
	    &log->linger_old,
	    &log->flushing,
	    &log->clearing,
	    &log->cleared_in_flight,
	    &log->doubted,
	    &log->fail_pending,
	    &log->copied,
	    &log->copied_flushing,
	    &log->copied_ready,
	    &log->untold,
	    &log->wanted,
	    &log->want_pending,
	    &log->want_sent,
	    &log->fail_in_flight,
	};

	if (log->poked)
		TAILQ_REMOVE(&core->poked, log, poke_entry);
	if (log->batch_sent > core->batch_floor)
		core->batch_floor = log->batch_sent;
	while (!TAILQ_EMPTY(&log->waitings)) {
		struct waiting *waiting = TAILQ_FIRST(&log->waitings);

		TAILQ_REMOVE(&log->waitings, waiting, entry);
		free(waiting);
	}
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		region_set_fini(sets[i]);
	device_fini(&log->device);
	TAILQ_REMOVE(&core->logs, log, entry);
	search_tree_remove(&core->logs_by_uuid, log->uuid, search_tree_text);
	search_tree_remove(&core->logs_by_handle, &log->handle, search_tree_u32);
	free(log);
}

bool log_here_known(const struct core *core, const char *uuid, luid_t luid)
{
	const struct world_log *world = core->join == JOIN_READY ? world_log_find(&core->world, uuid) : NULL;
	struct participant *self = world ? participant_find(world, core->config.node) : NULL;

	return self && participant_instance(self, luid);
}

void log_drop(struct core *core, struct log *log)
{
	if (log->device.state == DEVICE_IDLE)
		effect_add_log(core, EFFECT_DEVICE_CLOSE, log);
	stream_drop_device(core, log);
	run_state_forget(core, log, 0);
	log_free(core, log);
}

void log_reap(struct core *core, struct log *log)
{
	const struct world_log *world;

	if (!TAILQ_EMPTY(&log->instances) || log->device.state == DEVICE_READING || log_io_in_flight(log) ||
	    log->legs_busy)
		return;
	/* It may be spoken of with a write in flight, whose end is to be told when this node is ready. */
	if (core->join == JOIN_SPEAKING)
		return;
	world = log_world(core, log);
	log_drop(core, log);
	run_state_disown_nameless(core, world);
}

bool log_known(const struct log *log)
{
	const struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->known)
			return true;
	return false;
}

uint64_t node_incarnation(const struct core *core, node_id_t node)
{
	const struct world_node *known = world_node_find(&core->world, node);

	return known ? known->incarnation : 0;
}

struct world_log *log_world(const struct core *core, const struct log *log)
{
	return core->join == JOIN_READY ? world_log_find(&core->world, log->uuid) : NULL;
}

struct participant *log_self(const struct core *core, const struct log *log)
{
	struct world_log *world = log_world(core, log);

	return world ? participant_find(world, core->config.node) : NULL;
}

struct instance *instance_find(const struct log *log, luid_t luid)
{
	struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->luid == luid)
			return instance;
	return NULL;
}

struct instance *instance_find_any(struct core *core, luid_t luid, struct log **ret_log)
{
	struct log *log;

	TAILQ_FOREACH (log, &core->logs, entry) {
		struct instance *instance = instance_find(log, luid);

		if (!instance)
			continue;
		*ret_log = log;
		return instance;
	}
	return NULL;
}

struct instance *instance_add(struct core *core, struct log *log, luid_t luid)
{
	struct instance *instance = calloc(1, sizeof(*instance));
	unsigned count = 0;

	for (struct instance *it = TAILQ_FIRST(&log->instances); it; it = TAILQ_NEXT(it, entry))
		count++;
	if (!instance || count >= PARTICIPANT_INSTANCES_MAX) {
		free(instance);
		return NULL;
	}
	instance->luid = luid;
	instance->introduced_ns = core->now_ns;
	TAILQ_INSERT_TAIL(&log->instances, instance, entry);
	return instance;
}

struct instance *log_resumed_instance(const struct log *log)
{
	struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->state == INSTANCE_RESUMED || instance->state == INSTANCE_PRESUSPENDED)
			return instance;
	return NULL;
}

bool instance_live(const struct instance *instance)
{
	return instance->state == INSTANCE_RESUMED || instance->state == INSTANCE_PRESUSPENDED ||
	       instance->state == INSTANCE_SUSPENDING;
}

bool instance_replaced(const struct instance *instance)
{
	return instance->replaced_until_ns &&
	       (instance->state == INSTANCE_SUSPENDED || instance->state == INSTANCE_CONSTRUCTED);
}

bool log_table_live(const struct log *log)
{
	const struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance_live(instance))
			return true;
	return false;
}

/* A write of the log device, or a copy, can be of this one: not of a table whose suspend cut its resume. */
static bool instance_writes(const struct instance *instance)
{
	return instance_live(instance) && !instance->resume_cut;
}

bool log_table_writes(const struct log *log)
{
	const struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance_writes(instance))
			return true;
	return false;
}

bool log_active(const struct core *core, const struct log *log)
{
	const struct world_log *world = log_world(core, log);

	return world && core->active && world->phase == LOG_OPEN;
}

bool log_io_in_flight(const struct log *log)
{
	return log->device.state == DEVICE_WRITING || log->repairing;
}

/* Until its legs are found nobody knows whether the table has handle_errors: it gets no error (hazard A13).
 */
void log_legs_open(struct core *core, struct log *log)
{
	struct effect *effect = effect_add_log(core, EFFECT_LEGS_OPEN, log);

	log->handles_errors = false;
	log->legs_open_token = effect->token = core_token(core);
}

/* Closed as soon as nothing uses them, and opened by the next who needs them. */
void log_legs_forget(struct core *core, struct log *log)
{
	log->legs_stale = true;
	log_poke(core, log);
}

/* What a disk or its path says, not a copy that was cut off, a table that is just being replaced, or short
 * memory. */
bool leg_error(int error)
{
	return error == -EIO || error == -ENXIO || error == -EREMOTEIO || error == -ENOLINK ||
	       error == -ETIMEDOUT || error == -ENODATA || error == -EILSEQ || error == -EBADE ||
	       error == -ENOSPC || error == -EROFS;
}

/* A leg failed: the tables that saw it have to be reloaded before anything is copied (hazard B9). */
void log_tables_old(struct core *core, struct log *log)
{
	struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->known)
			instance->old = true;
	run_state_meta(core, log);
}

bool log_holds(const struct log *log, region_t region)
{
	const struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (region_set_contains(&instance->held, region))
			return true;
	return false;
}

/* Its POSTSUSPEND was lost, or it runs in this daemon's belief alone. What it has in flight ends first: until
 * then nothing of the log is sent, and no further write begins (hazard A14, log_tells() of send.c). */
static void instance_ran(struct core *core, struct log *log, const struct instance *instance)
{
	const struct instance *it;

	if (!instance_live(instance))
		return;
	log_legs_forget(core, log);
	TAILQ_FOREACH (it, &log->instances, entry)
		if (it != instance && instance_writes(it))
			return;
	log->device.stopped = log->device.stopped || log->device.state == DEVICE_WRITING;
}

void instance_destroy(struct core *core, struct log *log, struct instance *instance)
{
	struct region_set held = {0};
	struct waiting *waiting, *next;

	for (waiting = TAILQ_FIRST(&log->waitings); waiting; waiting = next) {
		next = TAILQ_NEXT(waiting, entry);
		if (waiting->luid == instance->luid)
			waiting_reply(core, log, waiting, 0);
	}
	/* It may have written unmarked, and is not there any more to be spoken of. */
	if (instance->tainted && core->join != JOIN_READY)
		core->config.run_state_lost = true;
	/* Nobody knows how these writes ended (hazard A7). */
	region_set_move(&held, &instance->held);
	if (CORE_MUTANT(HELD_DROPPED))
		marks_abandon(core, log, &held), region_set_clear(&held);
	if (instance->known || instance->resume_heard)
		run_state_ended(core, log->uuid);
	if (instance->known || instance->resume_sent || log_here_known(core, log->uuid, instance->luid)) {
		struct record *record = send_destroyed(core, log->uuid, instance->luid);

		if (record)
			region_set_copy(&record->regions, &held);
		run_state_orphans(core, log, &held);
	}
	marks_abandon(core, log, &held);
	recovery_work_end(core, log, instance);
	suspend_forget(log, instance);
	instance_ran(core, log, instance);
	run_state_forget(core, log, instance->luid);
	region_set_fini(&held);
	region_set_fini(&instance->held);
	TAILQ_REMOVE(&log->instances, instance, entry);
	free(instance);
	if (!TAILQ_EMPTY(&log->instances))
		run_state_meta(core, log);
}
