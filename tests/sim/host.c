/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A node: its kernel, its daemon with the inputs it gets, and the run directory. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How far back a daemon that starts looks for requests that the former one had in hand. */
#define FORMER_MAX 4096

static void run_forget(struct run_memory *run)
{
	for (unsigned i = 0; i < RUN_INSTANCES_MAX; i++)
		region_set_fini(&run->instances[i].held);
	for (unsigned i = 0; i < RUN_BITS_COUNT; i++)
		region_set_fini(&run->bits[i]);
	free(run->meta);
	memset(run, 0, sizeof(*run));
}

/* --- inputs of the daemon
 * ------------------------------------------------------------------------------------------ */

struct input *host_input(enum event_type type)
{
	struct input *input = malloc(sizeof(*input));

	if (!input)
		abort();
	memset(input, 0, offsetof(struct input, members)); /* the lists have their counts in the event */
	input->event.type = type;
	return input;
}

void host_post(struct sim *sim, unsigned number, struct input *input, uint64_t *channel_ns,
	       uint64_t latency_ns)
{
	uint64_t at_ns = sim->now_ns + latency_ns;
	struct sim_event *event;

	if (channel_ns) {
		if (at_ns < *channel_ns)
			at_ns = *channel_ns;
		*channel_ns = at_ns;
	}
	event = sim_plan(sim, SIM_DAEMON, number, at_ns - sim->now_ns);
	event->generation = sim->nodes[number].daemon_generation;
	event->input = input;
}

static void perform_all(struct sim *sim, unsigned number, const struct effects *effects);

static void timer_arm(struct sim *sim, struct sim_node *node)
{
	uint64_t due_ns = core_deadline_ns(node->core);
	struct sim_event *event;

	if (due_ns == node->timer_ns || due_ns == UINT64_MAX) {
		node->timer_ns = due_ns;
		return;
	}
	if (due_ns < sim->now_ns + US)
		due_ns = sim->now_ns + US;
	node->timer_ns = due_ns;
	event = sim_plan(sim, SIM_TIMER, node->id, due_ns - sim->now_ns);
	event->generation = node->daemon_generation;
}

static void daemon_step(struct sim *sim, unsigned number, struct event *event)
{
	struct sim_node *node = &sim->nodes[number];
	uint64_t generation = node->daemon_generation;
	struct effects effects;

	event->now_ns = sim->now_ns;
	node->core_steps++;
	core_step(node->core, event, &effects);
	perform_all(sim, number, &effects);
	if (node->core && node->daemon_generation == generation)
		timer_arm(sim, node);
}

static const char *event_name(enum event_type type)
{
	static const char *const names[] = {
	    [EVENT_RUN_LOG] = "run-log",
	    [EVENT_TABLES] = "tables",
	    [EVENT_KERNEL] = "kernel",
	    [EVENT_VIEW] = "view",
	    [EVENT_RING] = "ring",
	    [EVENT_QUORUM] = "quorum",
	    [EVENT_DELIVER] = "deliver",
	    [EVENT_CLUSTER_LOST] = "cluster-lost",
	    [EVENT_NODE_DEAD] = "node-dead",
	    [EVENT_FENCE_HELD] = "fence-held",
	    [EVENT_DEVICE_READ] = "read",
	    [EVENT_DEVICE_WRITTEN] = "written",
	    [EVENT_LEGS_FLUSHED] = "flushed",
	    [EVENT_REPAIRED] = "repaired",
	    [EVENT_LEGS_OPENED] = "legs-opened",
	    [EVENT_TIMER] = "timer",
	    [EVENT_CONTROL] = "control",
	};

	return names[type];
}

static void trace_input(struct sim *sim, unsigned number, const struct event *event)
{
	if (!sim->options.trace)
		return;
	if (event->type == EVENT_KERNEL) {
		uint64_t region = event->kernel.data_bytes >= 8 && event->kernel.type != ULOG_CTR
				      ? ulog_region(&event->kernel, 0)
				      : 0;
		sim_trace(sim, number, "%s %s luid %llx seq %u region %llu bytes %u", event->kernel.uuid,
			  ulog_type_name(event->kernel.type), (unsigned long long)event->kernel.luid,
			  event->kernel.seq, (unsigned long long)region, event->kernel.data_bytes);
	} else if (event->type == EVENT_DELIVER) {
		sim_trace(sim, number, "deliver from %u, %zu bytes", event->deliver.node,
			  event->deliver.size);
	} else {
		sim_trace(sim, number, "input %s", event_name(event->type));
	}
}

static void perform_reply(struct sim *sim, unsigned number, const struct effect *original);

/* A request was not answered in its step. */
static void mutate_request_kept(struct sim *sim, unsigned number, const struct ulog_request *request)
{
	struct sim_node *node = &sim->nodes[number];
	struct effect effect = {.type = EFFECT_REPLY, .reply = {.seq = request->seq, .luid = request->luid}};
	struct asked *asked = request->seq < node->seq_count ? &node->seqs[request->seq] : NULL;

	if (!asked || asked->state != 1)
		return;
	asked->waited = true;
	if (!(request->type == ULOG_FLUSH && sim->options.mutant == MUTANT_FLUSH_EARLY) &&
	    !(request->type == ULOG_POSTSUSPEND && sim->options.mutant == MUTANT_SUSPEND_EARLY))
		return;
	perform_reply(sim, number, &effect);
	asked->state = 3;
}

void host_daemon_input(struct sim *sim, struct sim_event *event, bool *ret_kept)
{
	struct sim_node *node = &sim->nodes[event->node];
	struct input *input = event->input;
	uint64_t generation = node->daemon_generation;

	if (node->paused) {
		TAILQ_INSERT_TAIL(&node->held, event, held);
		*ret_kept = true;
		return;
	}
	node->cpg_pending -= input->from_cpg;
	node->quorum_pending -= input->from_quorum;
	trace_input(sim, event->node, &input->event);
	if (input->event.type == EVENT_NODE_DEAD)
		story(sim, event->node, "fencing: node %u is dead", (unsigned)input->event.node_dead.node);
	if (input->event.type == EVENT_QUORUM)
		node->quorate_told = input->quorate;
	if (input->event.type == EVENT_FENCE_HELD && !node->up)
		return;
	daemon_step(sim, event->node, &input->event);
	if (input->event.type == EVENT_KERNEL && node->core && generation == node->daemon_generation)
		mutate_request_kept(sim, event->node, &input->event.kernel);
	if (input->event.type == EVENT_CLUSTER_LOST && node->core && generation == node->daemon_generation &&
	    node->corosync_up && node->ring && !node->joining && !node->connected)
		group_daemon_joins(sim, event->node);
	/* The last messages of a former ring, handled when the next has formed, are not in its order. Only
	 * those who come together deliver the same ones. */
	if (input->event.type == EVENT_DELIVER && node->core && generation == node->daemon_generation &&
	    node->ring && node->ring->seq == input->ring)
		observe_delivery(sim, event->node, node->ring, input->index);
}

void host_timer(struct sim *sim, const struct sim_event *stale)
{
	struct sim_node *node = &sim->nodes[stale->node];
	struct event event = {.type = EVENT_TIMER};

	if (node->timer_ns != stale->at_ns)
		return;
	node->timer_ns = UINT64_MAX;
	if (node->paused)
		return; /* armed again when it goes on */
	daemon_step(sim, stale->node, &event);
}

/* --- the daemon
 * ------------------------------------------------------------------------------------------------------ */

static void tell_run_logs(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	for (unsigned i = 0; i < sim->log_count && node->core && sim->options.mutant != MUTANT_MEMORY_LOST;
	     i++) {
		const struct run_memory *run = &node->run[i];
		struct event event = {.type = EVENT_RUN_LOG};

		if (!run->used || !run->meta)
			continue;
		event.run_log.uuid = run->uuid;
		event.run_log.writing =
		    sim->options.mutant != MUTANT_LEAVE_EARLY &&
		    disk_former_writes(sim, number, (unsigned)disk_log_find(sim, run->uuid));
		event.run_log.copying =
		    sim->options.mutant != MUTANT_LEAVE_EARLY &&
		    disk_former_copies(sim, number, (unsigned)disk_log_find(sim, run->uuid));
		event.run_log.flushing =
		    disk_former_flushes(sim, number, (unsigned)disk_log_find(sim, run->uuid));
		event.run_log.meta = run->meta;
		event.run_log.meta_bytes = run->meta_bytes;
		for (unsigned k = 0; k < RUN_INSTANCES_MAX; k++)
			if (run->instances[k].used) {
				event.run_log.instances[event.run_log.instance_count].luid =
				    run->instances[k].luid;
				event.run_log.instances[event.run_log.instance_count++].held =
				    &run->instances[k].held;
			}
		for (unsigned k = 0; k < RUN_BITS_COUNT; k++)
			event.run_log.bits[k] = k == RUN_HELD ? NULL : &run->bits[k];
		daemon_step(sim, number, &event);
	}
}

static void post_tables(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	struct input *input = host_input(EVENT_TABLES);
	size_t count = 0;

	for (unsigned i = 0; i < sim->log_count; i++) {
		struct kernel_device info;

		if (node->devices[i].number < 0 ||
		    kernel_device_info(node->kernel, (unsigned)node->devices[i].number, &info))
			continue;
		/* dev_remove() takes it from the list before all else. */
		if (node->devices[i].busy && node->devices[i].command == KERNEL_REMOVE) {
			work_unlisted(sim, number, i);
			continue;
		}
		if (info.live)
			input->tables[count++] = (struct table){
			    .uuid = sim->logs[i].uuid, .live = true, .suspended = info.suspended};
		if (info.has_inactive)
			input->tables[count++] = (struct table){.uuid = sim->logs[i].uuid};
	}
	input->event.tables.tables = input->tables;
	input->event.tables.count = sim->options.mutant == MUTANT_TABLES_EMPTY ? 0 : count;
	input->event.tables.asked_ns = sim->now_ns;
	/* Read by a thread of its own (daemon/port/device_mapper.c): requests may overtake it. */
	host_post(sim, number, input, NULL, sim_latency(sim, sim_chance(sim, 80) ? 200 * US : 20 * MS));
}

/* The kernel is told to ask again what the former daemon had in hand (daemon/port/in_hand.h), or had not
 * read; unless that is forgotten too, as in some runs: then it asks again after its 15 s. */
static void answer_former(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	if (node->memory_lost || sim->options.seed % 4 == 3)
		return;
	for (size_t seq = node->seq_count > FORMER_MAX ? node->seq_count - FORMER_MAX : 0;
	     seq < node->seq_count; seq++) {
		struct sim_event *event;

		if (node->seqs[seq].state != 1)
			continue;
		event = sim_plan(sim, SIM_REPLY, number, sim_latency(sim, 30 * US));
		event->generation = node->boot_generation;
		event->a = seq;
		event->b = (uint64_t)(int64_t)-EAGAIN;
		event->c = true;
	}
}

void host_daemon_start(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	struct core_config config = {
	    .node = number,
	    .boot_id = node->boot_id,
	    .incarnation = sim->next_incarnation += 1000000,
	    .fencing = FENCING_DLM,
	    .run_state_lost = node->memory_lost || node->run_dir_new,
	    .linger_ns = sim->options.seed % 3 ? 2 * SECOND : 50 * MS,
	    .linger_regions = sim->options.seed % 5 ? 1000 : 2,
	    /* a region each 50 ms */
	    .repair_rate = sim->options.seed % 7 ? 0 : SIM_REGION_SECTORS * 512 * 20,
	};

	for (unsigned i = 1; i <= sim->node_count; i++)
		config.configured[config.configured_count++] = i;
	node->daemon_generation++;
	node->core_steps++;
	node->core = core_new(&config);
	if (!node->core)
		abort();
	node->paused = false;
	node->listening = true;
	node->kill_after = 0;
	node->kill_at_write = false;
	node->timer_ns = UINT64_MAX;
	node->kernel_channel_ns = node->cpg_channel_ns = node->quorum_channel_ns = 0;
	node->cpg_pending = node->quorum_pending = 0;
	node->watch_count = 0;
	memset(node->device_waits, 0, sizeof(node->device_waits));
	memset(node->copy_waits, 0, sizeof(node->copy_waits));
	node->quorate_told = false;
	sim_trace(sim, number, "daemon starts");
	story(sim, number, "the daemon starts");
	tell_run_logs(sim, number);
	answer_former(sim, number);
	node->memory_lost = node->run_dir_new = false;
	post_tables(sim, number);
	group_daemon_joins(sim, number);
}

static void held_drop(struct sim_node *node)
{
	struct sim_event *event;

	while ((event = TAILQ_FIRST(&node->held))) {
		TAILQ_REMOVE(&node->held, event, held);
		sim_event_free(event);
	}
}

void host_daemon_kill(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	if (!node->core)
		return;
	sim_trace(sim, number, "daemon dies");
	story(sim, number, "the daemon dies");
	core_free(node->core);
	node->core = NULL;
	node->core_steps++;
	node->listening = false;
	node->paused = false;
	node->daemon_generation++;
	held_drop(node);
	disk_daemon_dies(sim, number);
	if (node->connected || node->joining) {
		/* its generation is the one that joined: a leave takes the place of the process */
		if (disk_former_lives(sim, number) && sim->options.mutant != MUTANT_LEAVE_EARLY)
			node->leave_due = true;
		else
			group_daemon_left(sim, number);
	}
}

void host_memory_lost(struct sim *sim, unsigned number)
{
	sim_trace(sim, number, "the run directory is lost");
	sim->nodes[number].memory_lost = true;
	for (unsigned i = 0; i < SIM_LOGS; i++)
		run_forget(&sim->nodes[number].run[i]);
	for (unsigned i = 0; i < sim->log_count; i++)
		work_excuse(sim, number, i);
}

void host_daemon_pause(struct sim *sim, unsigned number, uint64_t ns)
{
	struct sim_node *node = &sim->nodes[number];
	struct sim_event *event;

	if (!node->core || node->paused)
		return;
	sim_trace(sim, number, "daemon stops for %.3f s", (double)ns / 1e9);
	story(sim, number, "the daemon stops for %.3f s", (double)ns / 1e9);
	node->paused = true;
	event = sim_plan(sim, SIM_DAEMON_RESUME, number, ns);
	event->generation = node->daemon_generation;
}

void host_daemon_resume(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	struct sim_event_list kept = TAILQ_HEAD_INITIALIZER(kept);
	struct sim_event *event;

	if (!node->paused)
		return;
	sim_trace(sim, number, "daemon goes on");
	story(sim, number, "the daemon goes on");
	node->paused = false;
	TAILQ_CONCAT(&kept, &node->held, held);
	while ((event = TAILQ_FIRST(&kept))) {
		bool again = false;

		TAILQ_REMOVE(&kept, event, held);
		if (node->core && event->generation == node->daemon_generation) {
			if (event->type == SIM_DAEMON)
				host_daemon_input(sim, event, &again);
			else
				disk_event(sim, event);
		}
		if (!again)
			sim_event_free(event);
	}
	if (node->core)
		timer_arm(sim, node);
}

/* --- effects
 * ---------------------------------------------------------------------------------------------------------
 */

static struct run_memory *run_find(struct sim *sim, unsigned number, const char *uuid)
{
	int log = disk_log_find(sim, uuid);
	struct run_memory *run;

	if (log < 0)
		sim_fail(sim, 0, "node %u: run state of an unknown log %s", number, uuid);
	run = &sim->nodes[number].run[log];
	run->used = true;
	strcpy(run->uuid, uuid);
	return run;
}

static struct region_set *run_bits(struct sim *sim, struct run_memory *run, const struct effect *effect)
{
	unsigned unused = RUN_INSTANCES_MAX;

	if (effect->run_bits.kind != RUN_HELD)
		return &run->bits[effect->run_bits.kind];
	for (unsigned i = 0; i < RUN_INSTANCES_MAX; i++) {
		if (run->instances[i].used && run->instances[i].luid == effect->run_bits.luid)
			return &run->instances[i].held;
		if (!run->instances[i].used && unused == RUN_INSTANCES_MAX)
			unused = i;
	}
	if (unused == RUN_INSTANCES_MAX)
		sim_fail(sim, 0, "too many instances in the run directory");
	run->instances[unused].used = true;
	run->instances[unused].luid = effect->run_bits.luid;
	return &run->instances[unused].held;
}

static bool run_is_lost(const struct sim *sim, const struct run_memory *run, const struct effect *effect)
{
	bool bits = effect->type == EFFECT_RUN_BITS && effect->run_bits.set;

	switch (sim->options.mutant) {
	case MUTANT_HELD_LOST: return bits && effect->run_bits.kind == RUN_HELD;
	case MUTANT_MARKED_LOST:
		return bits && (effect->run_bits.kind == RUN_HELD || effect->run_bits.kind == RUN_MARKED);
	case MUTANT_TOLD_LOST:
		return effect->type == EFFECT_RUN_BITS && !effect->run_bits.set &&
		       effect->run_bits.kind == RUN_UNSYNCED;
	case MUTANT_META_STALE: return effect->type == EFFECT_RUN_META && run->meta;
	default: return false;
	}
}

static void perform_run(struct sim *sim, unsigned number, const struct effect *effect)
{
	struct run_memory *run = run_find(sim, number, effect->uuid);

	if (run_is_lost(sim, run, effect))
		return;
	if (effect->type == EFFECT_RUN_META) {
		free(run->meta);
		run->meta_bytes = effect->run_meta.size;
		run->meta = malloc(run->meta_bytes);
		if (!run->meta)
			abort();
		memcpy(run->meta, effect->run_meta.bytes, run->meta_bytes);
	} else if (effect->type == EFFECT_RUN_BITS) {
		struct region_set *set = run_bits(sim, run, effect);
		uint64_t end = effect->run_bits.first + effect->run_bits.count;
		if (effect->run_bits.set)
			region_set_add_range(set, effect->run_bits.first, end);
		else
			region_set_remove_range(set, effect->run_bits.first, end);
	} else if (!effect->run_drop.luid) {
		run_forget(run);
	} else {
		for (unsigned i = 0; i < RUN_INSTANCES_MAX; i++)
			if (run->instances[i].used && run->instances[i].luid == effect->run_drop.luid) {
				region_set_fini(&run->instances[i].held);
				memset(&run->instances[i], 0, sizeof(run->instances[i]));
			}
	}
}

static bool mutate_in_sync(struct sim *sim, struct effect *effect, uint8_t *data)
{
	memset(data, 0, 16);
	switch (sim->options.mutant) {
	case MUTANT_IN_SYNC_ERROR: effect->reply.error = sim_below(sim, 50) ? 0 : -EIO; break;
	case MUTANT_EAGAIN_FULL:
		if (sim_below(sim, 50))
			break;
		effect->reply.error = -EAGAIN;
		effect->reply.data_bytes = 0;
		break;
	case MUTANT_IN_SYNC_ALWAYS:
		data[0] = 1;
		effect->reply.data = data;
		break;
	case MUTANT_IN_SYNC_FLIPS:
		if (sim_below(sim, 100) == 0)
			effect->reply.data = data;
		break;
	default: break;
	}
	return false;
}

/* Answers to questions about recovery. `data` is zeroed. */
static void mutate_numbers(struct sim *sim, const struct asked *asked, struct effect *effect, uint8_t *data)
{
	uint64_t count = sim->logs[asked->log].region_count, one = 1;

	if (effect->reply.error)
		return;
	if (effect->reply.data_bytes)
		memcpy(data, effect->reply.data, effect->reply.data_bytes);
	if (asked->type == ULOG_IS_REMOTE_RECOVERING &&
	    (sim->options.mutant == MUTANT_RECOVERING_NEVER || sim->options.mutant == MUTANT_IN_SYNC_ALWAYS))
		memset(data, 0, 8);
	else if (asked->type == ULOG_IS_REMOTE_RECOVERING && sim->options.mutant == MUTANT_HINT_FULL)
		memcpy(data + 8, &count, 8);
	else if (asked->type == ULOG_GET_SYNC_COUNT && sim->options.mutant == MUTANT_COUNT_FULL)
		memcpy(data, &count, 8);
	else if (asked->type == ULOG_GET_RESYNC_WORK && sim->options.mutant == MUTANT_WORK_FOR_ALL) {
		memcpy(data, &one, 8);
		count = sim_below(sim, count);
		memcpy(data + 8, &count, 8);
	} else {
		return;
	}
	effect->reply.data = data;
}

/* Returns whether the reply is swallowed. */
static bool mutate_reply(struct sim *sim, unsigned number, struct effect *effect, uint8_t data[16])
{
	struct sim_node *node = &sim->nodes[number];
	struct asked *asked = effect->reply.seq < node->seq_count ? &node->seqs[effect->reply.seq] : NULL;

	if (effect->reply.seq == UINT32_MAX)
		return true; /* a forged request */
	if (sim->options.mutant == MUTANT_NONE || !asked)
		return false;
	if (asked->state == 3)
		return true;
	memset(data, 0, 16);
	if (effect->reply.error == -ESRCH && sim->options.mutant == MUTANT_ESRCH_EMPTY)
		effect->reply.data_bytes = 0;
	if (asked->type == ULOG_IN_SYNC && !effect->reply.error)
		return mutate_in_sync(sim, effect, data);
	if (asked->type == ULOG_CTR && sim->options.mutant == MUTANT_CTR_NAME) {
		effect->reply.data = data;
		effect->reply.data_bytes = 6;
	}
	if ((asked->resent && sim->options.mutant == MUTANT_ANSWER_OLD) ||
	    (asked->type == ULOG_FLUSH && (asked->waited || asked->resent) &&
	     sim->options.mutant == MUTANT_ANSWER_NEVER)) {
		asked->state = 3;
		return true;
	}
	if (sim->options.mutant == MUTANT_ANSWER_TWICE && asked->state == 1 && sim_below(sim, 500) == 0) {
		observe_reply(sim, number, effect);
		return false;
	}
	mutate_numbers(sim, asked, effect, data);
	return false;
}

static void perform_reply(struct sim *sim, unsigned number, const struct effect *original)
{
	struct effect changed = *original, *effect = &changed;
	uint8_t data[16];
	struct sim_event *event;

	if (mutate_reply(sim, number, effect, data))
		return;
	story_reply(sim, number, effect);
	observe_reply(sim, number, effect);
	event = sim_plan(sim, SIM_REPLY, number, sim_latency(sim, 30 * US));
	event->generation = sim->nodes[number].boot_generation;
	event->a = effect->reply.seq;
	event->b = (uint64_t)(int64_t)effect->reply.error;
	event->c = effect->reply.bare;
	event->d = effect->reply.data_bytes;
	if (effect->reply.data_bytes) {
		event->bytes = malloc(effect->reply.data_bytes);
		if (!event->bytes)
			abort();
		memcpy(event->bytes, effect->reply.data, effect->reply.data_bytes);
	}
}

void host_reply(struct sim *sim, const struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];
	int error = (int)(int64_t)event->b;

	sim_trace(sim, event->node, "answer to seq %u: %d, %llu bytes: %llu %llu", (unsigned)event->a, error,
		  (unsigned long long)event->d, event->d >= 8 ? (unsigned long long)event->bytes[0] : 0,
		  event->d >= 16 ? (unsigned long long)event->bytes[8] : 0);
	if (event->c)
		kernel_ack(node->kernel, (uint32_t)event->a, error);
	else
		kernel_reply(node->kernel, (uint32_t)event->a, error, event->bytes, event->d);
	host_kernel_soon(sim, event->node);
}

static void perform_wake(struct sim *sim, unsigned number, const struct effect *effect)
{
	struct kernel_bio bio = {.id = 0, .type = KERNEL_READ};
	int log = disk_log_find(sim, effect->uuid);
	struct sim_node *node = &sim->nodes[number];

	if (log >= 0 && sim->options.mutant != MUTANT_NO_WAKE && node->devices[log].number >= 0 &&
	    !kernel_submit(node->kernel, (unsigned)node->devices[log].number, &bio))
		node->devices[log].bios++;
	host_kernel_soon(sim, number);
}

static void perform_legs_open(struct sim *sim, unsigned number, const struct effect *effect)
{
	struct input *input = host_input(EVENT_LEGS_OPENED);

	input->event.legs.log = effect->log;
	input->event.legs.token = effect->token;
	input->event.legs.handles_errors = sim->logs[disk_log_find(sim, effect->uuid)].handle_errors;
	host_post(sim, number, input, NULL, sim_latency(sim, MS));
}

static void perform(struct sim *sim, unsigned number, const struct effect *effect)
{
	struct sim_node *node = &sim->nodes[number];

	switch (effect->type) {
	case EFFECT_REPLY: perform_reply(sim, number, effect); break;
	case EFFECT_SEND: group_send(sim, number, effect->send.bytes, effect->send.size); break;
	case EFFECT_DEVICE_READ:
	case EFFECT_DEVICE_WRITE:
	case EFFECT_DEVICE_CLOSE:
	case EFFECT_DEVICE_WAIT:
	case EFFECT_REPAIR_WAIT:
	case EFFECT_LEGS_FLUSH:
	case EFFECT_LEGS_CLOSE:
	case EFFECT_REPAIR: disk_perform(sim, number, effect); break;
	case EFFECT_WAKE: perform_wake(sim, number, effect); break;
	case EFFECT_TABLES: post_tables(sim, number); break;
	case EFFECT_FENCE_HOLD:
		node->lock_boot = node->boot_id;
		host_post(sim, number, host_input(EVENT_FENCE_HELD), NULL, sim_latency(sim, 5 * MS));
		break;
	case EFFECT_FENCE_RELEASE:
		node->lock_boot = 0;
		group_watches_check(sim);
		break;
	case EFFECT_LEGS_OPEN: perform_legs_open(sim, number, effect); break;
	case EFFECT_FENCE_WATCH: group_watch(sim, number, effect->fence.node, effect->fence.boot_id); break;
	case EFFECT_FENCE_UNWATCH:
		for (unsigned i = 0; i < node->watch_count; i++)
			if (node->watches[i].node == effect->fence.node &&
			    node->watches[i].boot_id == effect->fence.boot_id)
				node->watches[i--] = node->watches[--node->watch_count];
		break;
	case EFFECT_RUN_META:
	case EFFECT_RUN_BITS:
	case EFFECT_RUN_DROP: perform_run(sim, number, effect); break;
	case EFFECT_LOG:
		sim_trace(sim, number, "| %s", effect->log_line.text);
		/* how many bytes a checkpoint has is no news */
		story(sim, number, "log: %.*s",
		      (int)(strncmp(effect->log_line.text, "checkpoint loaded", 17)
				? strlen(effect->log_line.text)
				: 17),
		      effect->log_line.text);
		break;
	case EFFECT_STOPPED: break;
	}
}

static void perform_all(struct sim *sim, unsigned number, const struct effects *effects)
{
	struct sim_node *node = &sim->nodes[number];

	for (size_t i = 0; i < effects->count; i++) {
		bool dies = node->kill_at_write && effects->items[i].type == EFFECT_DEVICE_WRITE;
		uint64_t generation = node->daemon_generation;

		perform(sim, number, &effects->items[i]);
		if (!node->core || node->daemon_generation != generation)
			return;
		if (!dies && (!node->kill_after || --node->kill_after))
			continue;
		host_daemon_kill(sim, number);
		sim_plan(sim, SIM_DAEMON_START, number, sim_between(sim, 10 * MS, 20 * SECOND))->generation =
		    node->boot_generation;
		return;
	}
}

/* --- the kernel
 * -------------------------------------------------------------------------------------------------------- */

void host_kernel_soon(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	uint64_t at_ns = sim->now_ns + sim_below(sim, 10 * US);

	if (node->kernel_run_ns <= at_ns)
		return;
	node->kernel_run_ns = at_ns;
	sim_plan(sim, SIM_KERNEL_RUN, number, at_ns - sim->now_ns);
}

static void kernel_plan(struct sim *sim, struct sim_node *node)
{
	uint64_t at_ns = kernel_deadline_ns(node->kernel);

	node->kernel_run_ns = KERNEL_NEVER;
	if (at_ns == KERNEL_NEVER)
		return;
	if (at_ns <= sim->now_ns)
		at_ns = sim->now_ns + US;
	node->kernel_run_ns = at_ns;
	sim_plan(sim, SIM_KERNEL_RUN, node->id, at_ns - sim->now_ns);
}

/* A request that no kernel has sent: CLEAR of a region, or SET_REGION_SYNC(r, 1). */
static void forge(struct sim *sim, unsigned number, const struct kernel_output *out, enum ulog_type type)
{
	struct input *input = host_input(EVENT_KERNEL);

	input->event.kernel = (struct ulog_request){
	    .seq = UINT32_MAX, .type = type, .version = out->send.version, .luid = out->luid};
	strcpy(input->event.kernel.uuid, out->send.uuid);
	input->bytes = calloc(1, 16);
	if (!input->bytes)
		abort();
	input->bytes[0] = type == ULOG_CLEAR_REGION ? (uint8_t)sim_below(sim, 4) : out->send.data[0] + 1;
	input->bytes[8] = 1;
	input->event.kernel.data = input->bytes;
	input->event.kernel.data_bytes = type == ULOG_CLEAR_REGION ? 8 : 16;
	host_post(sim, number, input, NULL, sim_latency(sim, 100 * US));
}

static void send_to_daemon(struct sim *sim, unsigned number, const struct kernel_output *out)
{
	struct sim_node *node = &sim->nodes[number];
	struct input *input;

	if (!node->listening) {
		kernel_send_failed(node->kernel, out->send.seq, -ESRCH);
		return;
	}
	observe_request(sim, number, out);
	story_request(sim, number, out);
	if (sim->options.mutant == MUTANT_CLEAR_FORGED && out->send.type == ULOG_MARK_REGION &&
	    sim_below(sim, 20) == 0)
		forge(sim, number, out, ULOG_CLEAR_REGION);
	if (sim->options.mutant == MUTANT_STALE_SYNC && out->send.type == ULOG_SET_REGION_SYNC)
		forge(sim, number, out, ULOG_SET_REGION_SYNC);
	input = host_input(EVENT_KERNEL);
	input->event.kernel.seq = out->send.seq;
	input->event.kernel.type = out->send.type;
	input->event.kernel.version = out->send.version;
	input->event.kernel.luid = out->luid;
	strcpy(input->event.kernel.uuid, out->send.uuid);
	if (out->send.data_bytes) {
		input->bytes = malloc(out->send.data_bytes);
		if (!input->bytes)
			abort();
		memcpy(input->bytes, out->send.data, out->send.data_bytes);
		input->event.kernel.data = input->bytes;
		input->event.kernel.data_bytes = out->send.data_bytes;
	}
	if (sim->options.mutant == MUTANT_MARK_DROPPED && out->send.type == ULOG_MARK_REGION &&
	    sim_below(sim, 20) == 0)
		input->event.kernel.data_bytes = 0; /* a MARK of no region */
	host_post(sim, number, input, &node->kernel_channel_ns, sim_latency(sim, 30 * US));
}

void host_kernel_run(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	struct kernel_output out;

	if (!node->up)
		return;
	kernel_run(node->kernel, sim->now_ns);
	while (kernel_output(node->kernel, &out))
		switch (out.type) {
		case KERNEL_SEND: send_to_daemon(sim, number, &out); break;
		case KERNEL_LEG_READ:
		case KERNEL_LEG_WRITE:
		case KERNEL_LEG_FLUSH:
		case KERNEL_LEG_DISCARD: disk_leg_begin(sim, number, &out); break;
		case KERNEL_BIO_DONE: work_bio_done(sim, number, &out); break;
		case KERNEL_COMMAND_DONE: work_command_done(sim, number, &out); break;
		case KERNEL_TABLE_EVENT: work_table_event(sim, number, out.device); break;
		case KERNEL_COMPLAINT: work_complaint(sim, number, &out); break;
		}
	kernel_plan(sim, node);
}

/* --- power
 * ---------------------------------------------------------------------------------------------------------------
 */

void host_boot(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	struct kernel_config config = {.version = sim->options.seed & 1 ? 3 : 2,
				       .first_luid = 0x10000 * (uint64_t)number,
				       .reuse_luids = sim->options.seed & 2,
				       .blocks_per_region = SIM_BLOCKS};

	node->up = true;
	node->boot_generation++;
	node->memory_lost = node->die_at_write = false;
	node->run_dir_new = true;
	node->boot_id = (uint64_t)number * 100000 + node->boot_generation;
	node->kernel = kernel_new(&config);
	if (!node->kernel)
		abort();
	node->kernel_run_ns = KERNEL_NEVER;
	node->seq_count = 0;
	memset(node->devices, 0, sizeof(node->devices));
	for (unsigned i = 0; i < SIM_LOGS; i++)
		node->devices[i].number = -1;
	sim_trace(sim, number, "boots");
	group_start(sim, number);
	struct sim_event *event = sim_plan(sim, SIM_DAEMON_START, number, sim_between(sim, 0, 2 * SECOND));
	event->generation = node->boot_generation;
	work_start(sim, number);
}

void host_die(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	if (!node->up)
		return;
	sim_trace(sim, number, "dies");
	story(sim, number, "the node dies");
	disk_node_dies(sim, number);
	work_node_dies(sim, number);
	node->up = false;
	node->boot_generation++;
	node->daemon_generation++;
	if (node->core)
		core_free(node->core);
	node->core = NULL;
	node->core_steps++;
	node->listening = node->paused = false;
	held_drop(node);
	kernel_free(node->kernel);
	node->kernel = NULL;
	for (unsigned i = 0; i < SIM_LOGS; i++)
		run_forget(&node->run[i]);
	node->device_broken = false;
	memset(node->leg_broken, 0, sizeof(node->leg_broken));
	group_corosync_stop(sim, number);
}

void host_free(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];
	struct sim_event *event;

	held_drop(node);
	TAILQ_CONCAT(&node->stacked, &node->queued, held);
	while ((event = TAILQ_FIRST(&node->stacked))) {
		TAILQ_REMOVE(&node->stacked, event, held);
		sim_event_free(event);
	}
	if (node->core)
		core_free(node->core);
	kernel_free(node->kernel);
	for (unsigned i = 0; i < SIM_LOGS; i++)
		run_forget(&node->run[i]);
	free(node->seqs);
}
