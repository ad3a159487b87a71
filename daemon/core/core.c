/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dispatcher: one event in, the logs it touched are looked after, one ordered list of effects out. */
#include "daemon/core/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line of syslog has room for them. */
#define STOP_NAMES_MAX 4

/* Grow an array of the step. Nothing sensible can be done without memory for the answer: that is fatal, as
 * promised by mlockall and the OOM score it does not happen to a daemon in the I/O path. */
static void *grow(void *array, size_t *room, size_t item_bytes)
{
	size_t wanted = *room ? *room * 2 : 64;
	void *grown = realloc(array, wanted * item_bytes);

	if (!grown)
		abort();
	*room = wanted;
	return grown;
}

struct effect *effect_add(struct core *core, enum effect_type type)
{
	struct effect *effect;

	if (core->effect_count == core->effect_room)
		core->effects = grow(core->effects, &core->effect_room, sizeof(*core->effects));
	effect = &core->effects[core->effect_count++];
	memset(effect, 0, sizeof(*effect));
	effect->type = type;
	return effect;
}

struct effect *effect_add_log(struct core *core, enum effect_type type, const struct log *log)
{
	struct effect *effect = effect_add(core, type);

	effect->log = log->handle;
	effect->uuid = effect_keep(core, strdup(log->uuid));
	return effect;
}

void *effect_keep(struct core *core, void *memory)
{
	if (!memory)
		abort();
	if (core->garbage_count == core->garbage_room)
		core->garbage = grow(core->garbage, &core->garbage_room, sizeof(*core->garbage));
	core->garbage[core->garbage_count++] = memory;
	return memory;
}

static void effects_drop(struct core *core)
{
	while (core->garbage_count)
		free(core->garbage[--core->garbage_count]);
	core->effect_count = 0;
}

void core_log(struct core *core, int priority, const char *format, ...)
{
	struct effect *effect;
	va_list arguments;
	char *text = NULL;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	effect = effect_add(core, EFFECT_LOG);
	effect->log_line.priority = priority;
	effect->log_line.text = effect_keep(core, text);
}

uint64_t core_token(struct core *core)
{
	return core->next_token++;
}

struct core *core_new(const struct core_config *config)
{
	struct core *core = calloc(1, sizeof(*core));

	if (!core)
		return NULL;
	core->config = *config;
	core->incarnation = config->incarnation;
	core->next_incarnation = config->incarnation + 1;
	core->component = config->node;
	core->repair_paused = config->repair_paused;
	core->repair_rate = config->repair_rate;
	core->next_handle = 1;
	core->next_token = 1;
	core->next_stream_id = 1;
	world_init(&core->world);
	TAILQ_INIT(&core->backlog);
	TAILQ_INIT(&core->out);
	TAILQ_INIT(&core->outstreams);
	TAILQ_INIT(&core->instreams);
	TAILQ_INIT(&core->logs);
	TAILQ_INIT(&core->poked);
	return core;
}

void core_free(struct core *core)
{
	struct log *log, *next;

	if (!core)
		return;
	join_reset(core);
	for (log = TAILQ_FIRST(&core->logs); log; log = next) {
		next = TAILQ_NEXT(log, entry);
		while (!TAILQ_EMPTY(&log->instances))
			instance_destroy(core, log, TAILQ_FIRST(&log->instances));
		log_drop(core, log); /* whatever is under way: nobody will answer any more */
	}
	send_purge(core);
	stream_drop_in(core);
	world_fini(&core->world);
	effects_drop(core);
	free(core->tables);
	free(core->effects);
	free(core->garbage);
	free(core);
}

static void legs_tick(struct core *core, struct log *log)
{
	if (!log->legs_stale || log->legs_busy || log->repairing)
		return;
	log->legs_stale = false;
	effect_add_log(core, EFFECT_LEGS_CLOSE, log);
	/* Before its last flush the table may be hidden. */
	if (log_resumed_instance(log))
		log_legs_open(core, log);
}

/* Look after a log until nothing changes any more by itself. Each of these acts only on what is due. */
static void log_tend(struct core *core, struct log *log)
{
	legs_tick(core, log);
	run_state_mirror(core, log);
	device_tick(core, log);
	marks_committed(core, log);
	marks_tick(core, log);
	recovery_tick(core, log);
	repair_tick(core, log);
	suspend_tick(core, log);
	kernel_answer_waiting(core, log);
}

static void core_tend(struct core *core)
{
	struct log *log;

	while ((log = TAILQ_FIRST(&core->poked))) {
		TAILQ_REMOVE(&core->poked, log, poke_entry);
		log->poked = false;
		log_tend(core, log);
		log_reap(core, log);
	}
	fencing_tick(core);
	send_frame(core);
}

/* How many logs are resumed here, and the names of the first of them, which fit a line of syslog. */
static unsigned resumed_list(struct core *core, char *ret_names, size_t size)
{
	unsigned resumed = 0;
	struct log *log;
	size_t used = 0;

	ret_names[0] = '\0';
	TAILQ_FOREACH (log, &core->logs, entry) {
		if (!log_resumed_instance(log))
			continue;
		if (resumed++ < STOP_NAMES_MAX)
			used += (size_t)snprintf(ret_names + used, size - used, "%s%s", used ? ", " : "",
						 log->uuid);
	}
	if (resumed > STOP_NAMES_MAX)
		snprintf(ret_names + used, size - used, ", ...");
	return resumed;
}

static void control_stop(struct core *core, bool forced)
{
	char names[STOP_NAMES_MAX * (LOG_UUID_BYTES + 2) + 6];
	unsigned resumed = resumed_list(core, names, sizeof(names));
	struct effect *effect;
	char *text;

	if (asprintf(&text, "%u logs are resumed on this node (%s); deactivate their mirrors first", resumed,
		     names) < 0)
		return;
	effect_keep(core, text);
	effect = effect_add(core, EFFECT_STOPPED);
	effect->stopped.stopped = forced || resumed == 0;
	effect->stopped.text = resumed ? text : "nothing is resumed on this node";
}

static void control(struct core *core, const struct event *event)
{
	switch (event->control.command) {
	case CONTROL_CONFIRM_DEAD:
		core_log(core, LOG_NOTICE, "an administrator confirms that node %u is dead",
			 event->control.node);
		fencing_node_dead(core, event->control.node, 0);
		break;
	case CONTROL_STOP: control_stop(core, false); break;
	case CONTROL_STOP_FORCED: control_stop(core, true); break;
	case CONTROL_FAIL_KEPT: kernel_fail_kept(core, event->control.uuid); break;
	case CONTROL_REPAIR_PAUSE: core->repair_paused = true; break;
	case CONTROL_REPAIR_RESUME:
		core->repair_paused = false;
		log_poke_all(core);
		break;
	case CONTROL_REPAIR_RATE: repair_rate_set(core, event->control.uuid, event->control.rate); break;
	}
}

static void legs_opened(struct core *core, const struct event *event)
{
	struct log *log = log_by_handle(core, event->legs.log);

	/* Of a former table: what it was counts no more. */
	if (!log || log->legs_open_token != event->legs.token)
		return;
	log->handles_errors = event->legs.handles_errors;
	log_poke(core, log);
}

static void flush_heard(struct core *core, struct log *log)
{
	if (!log->legs_busy && !log->repairing && !log->flush_void)
		run_state_flush(core, log, false);
}

static void io_done(struct core *core, const struct event *event)
{
	struct log *log = log_by_handle(core, event->io.log);

	if (!log)
		return;
	switch (event->type) {
	case EVENT_DEVICE_READ:
		if (log->device.state == DEVICE_READING && log->device.token == event->io.token)
			device_read_done(core, log, event);
		break;
	case EVENT_DEVICE_WRITTEN:
		if (log->device.state == DEVICE_WRITING && log->device.token == event->io.token)
			device_written(core, log, event->io.error);
		break;
	case EVENT_LEGS_FLUSHED:
		if (log->legs_busy && log->legs_token == event->io.token)
			marks_flushed(core, log, event->io.error);
		flush_heard(core, log);
		break;
	default:
		if (log->repairing)
			repair_finished(core, log, event->io.error);
		flush_heard(core, log);
		break;
	}
	log_poke(core, log);
}

void core_step(struct core *core, const struct event *event, struct effects *ret_effects)
{
	effects_drop(core);
	core->now_ns = event->now_ns;
	join_memory_told(core);
	switch (event->type) {
	case EVENT_RUN_LOG: run_state_restore(core, &event->run_log); break;
	case EVENT_TABLES:
		run_state_tables(core, event->tables.tables, event->tables.count, event->tables.asked_ns);
		break;
	case EVENT_KERNEL:
		core->counters.requests++;
		kernel_request(core, &event->kernel);
		break;
	case EVENT_VIEW: view_change(core, event); break;
	case EVENT_RING: view_ring(core, event); break;
	case EVENT_QUORUM: view_quorum(core, event); break;
	case EVENT_DELIVER:
		core->counters.messages_delivered++;
		apply_frame(core, event->deliver.node, event->deliver.bytes, event->deliver.size);
		break;
	case EVENT_CLUSTER_LOST: view_lost(core); break;
	case EVENT_NODE_DEAD: fencing_node_dead(core, event->node_dead.node, event->node_dead.boot_id); break;
	case EVENT_FENCE_HELD:
		core->fence_held = core->fence_wanted; /* else it was given up since */
		log_poke_all(core);
		break;
	case EVENT_DEVICE_READ:
	case EVENT_DEVICE_WRITTEN:
	case EVENT_LEGS_FLUSHED:
	case EVENT_REPAIRED: io_done(core, event); break;
	case EVENT_LEGS_OPENED: legs_opened(core, event); break;
	case EVENT_TIMER: log_poke_all(core); break;
	case EVENT_CONTROL: control(core, event); break;
	}
	core_tend(core);
	ret_effects->items = core->effects;
	ret_effects->count = core->effect_count;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A deadline counts only while something would be done at it: one that has passed and must wait for an answer
 * first would make the loop spin. */
static uint64_t log_deadline_ns(const struct core *core, const struct log *log)
{
	bool cleans =
	    log->device.state == DEVICE_IDLE && log->device.merged && log->device.clean_due_ns != UINT64_MAX;
	uint64_t due = UINT64_MAX, repair_ns = repair_next_ns(core, log);
	const struct world_log *world;
	const struct instance *instance;

	if (!log->legs_busy && log_table_live(log)) {
		due = log->flush_void ? 0 : earlier(log->linger_due_ns, log->copied_due_ns);
		if (log->legs_failed && due < log->legs_retry_ns)
			due = log->legs_retry_ns;
	}
	TAILQ_FOREACH (instance, &log->instances, entry) {
		if (instance->state == INSTANCE_SUSPENDING && instance->suspend_step == SUSPEND_DRAIN &&
		    instance->suspend_deadline_ns > core->now_ns)
			due = earlier(due, instance->suspend_deadline_ns);
		if (instance->reconnects_open && instance->reconnect_until_ns >= core->now_ns)
			due = earlier(due, instance->reconnect_until_ns + 1);
		if (instance_replaced(instance))
			due = earlier(due, instance->replaced_until_ns);
	}
	if (log->remote_hold_ns)
		due = earlier(due, log->remote_hold_ns);
	/* Asked of every log after each step: idle ones are not even looked up. */
	if (core->active)
		due = earlier(due, log->device_retry_ns);
	if (!core->active || (!cleans && log->repair_retry_ns == UINT64_MAX && repair_ns <= core->now_ns))
		return due;
	world = log_world(core, log);
	if (!world)
		return due;
	if (cleans && world->writer == core->config.node)
		due = earlier(due, log->device.clean_due_ns);
	if (world->claimed && world->recoverer == core->config.node && !log->repairing && !log->release_sent)
		due = earlier(due, log->repair_retry_ns);
	if (!world->claimed && world->recoverer == core->config.node &&
	    !region_set_is_empty(&world->ghosts) && repair_ns > core->now_ns)
		due = earlier(due, repair_ns);
	return due;
}

uint64_t core_deadline_ns(const struct core *core)
{
	uint64_t due = UINT64_MAX;
	const struct log *log;

	TAILQ_FOREACH (log, &core->logs, entry)
		due = earlier(due, log_deadline_ns(core, log));
	return due;
}
