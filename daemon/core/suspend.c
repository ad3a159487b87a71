/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSTSUSPEND: the kernel gets its answer when this node has nothing in flight that belongs to the table.
 * Without quorum nothing of that needs the cluster, which hears of it later (hazard B5).
 */
#include "daemon/core/internal.h"

void suspend_begin(struct core *core, struct log *log, struct instance *instance)
{
	if (instance->state == INSTANCE_SUSPENDING)
		return;
	instance->state = INSTANCE_SUSPENDING;
	instance->suspend_step = SUSPEND_DRAIN;
	instance->leaving_sent = instance->suspended_sent = false;
	instance->suspend_deadline_ns = core->now_ns + DRAIN_NS;
	/* What is held still, or was let through unmarked, lingers nowhere; after a restart nobody knows of
	 * the latter: each suspend flushes the legs (hazard B7). */
	log->flush_due = !CORE_MUTANT(SUSPEND_UNFLUSHED);
	log_poke(core, log);
}

/* The device was closed for a hand-over. Should the role still be this node's, by another table, it is read
 * anew. */
static void hand_over_end(struct log *log)
{
	/* One that is in flight is of a table that went before (instance_ran() of logs.c). */
	if (log->device.stopped && log->device.state != DEVICE_WRITING) {
		device_fini(&log->device);
		device_init(&log->device);
	}
	log->give_up_all = false;
}

void suspend_forget(struct log *log, struct instance *instance)
{
	if (instance->state == INSTANCE_SUSPENDING)
		hand_over_end(log);
}

static bool log_other_running(const struct log *log, const struct instance *instance)
{
	const struct instance *running = log_resumed_instance(log);

	return running && running != instance;
}

/*
 * Members that are suspended at the same moment leave one after the other, in the order of their LEAVING: so
 * there is one among them who is the last, knows it, and has heard every CLEAR. Without that the role of the
 * writer could go to one that has just closed the device, and nobody would write the last clean bits. Nobody
 * waits for one that announced it later, nor for a node without a daemon.
 */
static bool leave_in_turn(struct core *core, struct log *log, struct instance *instance,
			  const struct world_instance *known)
{
	const struct world_log *world = log_world(core, log);
	const struct participant *it;
	struct record *record;

	if (!world->shape.disk || !known || !known->resumed)
		return true;
	if (!instance->leaving_sent) {
		record = send_add(core, RECORD_LEAVING, log->uuid);
		if (record)
			record->luid = instance->luid;
		instance->leaving_sent = record != NULL;
	}
	if (!known->leaving)
		return false;
	TAILQ_FOREACH (it, &world->participants, entry)
		if (it->node != core->config.node && participant_can(&core->world, it) &&
		    participant_leaving(it) && participant_leaving(it) < known->leaving)
			return false;
	return true;
}

static bool others_stay(const struct core *core, const struct world_log *world)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &world->participants, entry)
		if (it->node != core->config.node && participant_can(&core->world, it))
			return true;
	return false;
}

void suspend_tell(struct core *core, struct log *log, struct instance *instance)
{
	struct record *record;

	if (instance->suspended_sent ||
	    !(instance->known || instance->resume_heard || log_here_known(core, log->uuid, instance->luid)))
		return;
	record = send_add(core, RECORD_SUSPENDED, log->uuid);
	if (!record)
		return;
	record->luid = instance->luid;
	instance->suspended_sent = true;
}

static void suspend_finish(struct core *core, struct log *log, struct instance *instance)
{
	instance->state = INSTANCE_SUSPENDED;
	instance->suspend_step = SUSPEND_DONE;
	recovery_work_end(core, log, instance);
	hand_over_end(log);
	/* Another table that runs has opened its own since. */
	if (!log_other_running(log, instance))
		effect_add_log(core, EFFECT_LEGS_CLOSE, log);
	run_state_meta(core, log);
	waiting_reply_all(core, log, instance->luid, ULOG_POSTSUSPEND, 0);
}

/* The writer writes all clean bits and closes the device before it hands over (hazard A14). */
static bool device_handed_over(struct core *core, struct log *log)
{
	struct device *device = &log->device;

	if (!device_is_writer(core, log))
		return device->state != DEVICE_WRITING && device->state != DEVICE_READING;
	/* The last one has just got the role: it takes over first, then writes what the others cleared. */
	if (!device->merged && !device->stopped && !others_stay(core, log_world(core, log))) {
		device_tick(core, log);
		return false;
	}
	if (device->merged && device->state == DEVICE_IDLE && !device_quiet(log)) {
		if (device->clean_due_ns != UINT64_MAX)
			device->clean_due_ns = core->now_ns;
		device_tick(core, log);
	}
	if (device->state == DEVICE_READING || device->state == DEVICE_WRITING)
		return false;
	if (device->merged && !device_quiet(log))
		return false;
	if (device->state == DEVICE_IDLE && !device->stopped)
		effect_add_log(core, EFFECT_DEVICE_CLOSE, log);
	stream_drop_device(core, log);
	device->state = DEVICE_CLOSED;
	device->stopped = true;
	return true;
}

static bool suspend_step(struct core *core, struct log *log, struct instance *instance)
{
	const struct participant *self = log_self(core, log);
	struct world_instance *known =
	    self ? participant_instance((struct participant *)self, instance->luid) : NULL;

	switch (instance->suspend_step) {
	case SUSPEND_DRAIN:
		if (instance->resume_cut && instance->resume_sent && !instance->resume_heard)
			return false;
		if (!region_set_is_empty(&instance->held) && core->now_ns < instance->suspend_deadline_ns)
			return false;
		log->give_up_all = !log_resumed_instance(log);
		break;
	case SUSPEND_CLEAR:
		if (log->give_up_all && (log->flush_due || !log->legs_failed) && !marks_quiet(log)) {
			marks_tick(core, log);
			return false;
		}
		/* While this node is the recoverer still: behind SUSPENDED nobody would believe it. */
		if (log->give_up_all)
			recovery_tell_marked(core, log);
		log->give_up_all = false;
		break;
	case SUSPEND_LEAVE:
		if (!log_resumed_instance(log) && !leave_in_turn(core, log, instance, known))
			return false;
		break;
	case SUSPEND_DEVICE:
		if (!log_resumed_instance(log) && !device_handed_over(core, log))
			return false;
		break;
	case SUSPEND_TELL:
		suspend_tell(core, log, instance);
		if (known && known->resumed)
			return false;
		break;
	case SUSPEND_DONE: return false;
	}
	instance->suspend_step++;
	return true;
}

static void suspend_inactive(struct core *core, struct log *log, struct instance *instance)
{
	/* A write that hangs is in flight all the same. */
	if (log->device.state == DEVICE_WRITING || log->device.state == DEVICE_READING)
		return;
	if (!region_set_is_empty(&instance->held) && core->now_ns < instance->suspend_deadline_ns)
		return;
	/* What was written through this node's paths is flushed all the same: another node may copy and clean
	 * it. */
	if (!log_other_running(log, instance)) {
		log->give_up_all = (log->flush_due || !log->legs_failed) && !marks_flushed_all(log);
		if (log->give_up_all) {
			marks_tick(core, log);
			return;
		}
		recovery_tell_marked(core, log);
		device_close(core, log);
	}
	suspend_tell(core, log, instance);
	suspend_finish(core, log, instance);
}

void suspend_tick(struct core *core, struct log *log)
{
	struct instance *instance, *next;

	for (instance = TAILQ_FIRST(&log->instances); instance; instance = next) {
		next = TAILQ_NEXT(instance, entry);
		if (instance->state == INSTANCE_PRESUSPENDED && !log->repairing &&
		    kernel_waits(log, instance->luid, ULOG_PRESUSPEND)) {
			waiting_reply_all(core, log, instance->luid, ULOG_PRESUSPEND, 0);
		}
		if (instance_replaced(instance) && core->now_ns >= instance->replaced_until_ns) {
			instance_destroy(core, log, instance);
			continue;
		}
		if (instance->state != INSTANCE_SUSPENDING)
			continue;
		/* PRESUSPEND may have been lost, or answered by a former daemon. */
		if (!log_other_running(log, instance) &&
		    (log->repairing || (log->legs_busy && !log->give_up_all)))
			continue;
		if (!log_active(core, log)) {
			suspend_inactive(core, log, instance);
			continue;
		}
		while (suspend_step(core, log, instance))
			;
		if (instance->suspend_step == SUSPEND_DONE)
			suspend_finish(core, log, instance);
	}
}
