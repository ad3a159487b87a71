/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/small_cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/frame.h"

static void carry_out(struct small_cluster *cluster, node_id_t node, const struct effects *effects);

static void step(struct small_cluster *cluster, node_id_t node, struct event *event)
{
	struct effects effects;

	if (cluster->nodes[node].dead)
		return;
	event->now_ns = cluster->now_ns;
	core_step(cluster->nodes[node].core, event, &effects);
	carry_out(cluster, node, &effects);
}

/* What answers an effect is an event of its own, after all effects of the step. */
struct answer {
	struct event event;
	uint8_t *bytes;
};

static void device_read(struct small_cluster *cluster, node_id_t node, const struct effect *effect,
			struct answer *answer)
{
	cluster->nodes[node].device_minor = effect->device_read.minor;
	answer->event.type = EVENT_DEVICE_READ;
	answer->event.io.error = cluster->nodes[node].device_broken ? -EIO : 0;
	answer->event.io.size = effect->device_read.size;
	answer->event.io.bytes = cluster->device;
	answer->event.io.block_bytes = 4096;
}

static void device_write(struct small_cluster *cluster, node_id_t node, const struct effect *effect,
			 struct answer *answer)
{
	size_t at = 0;

	answer->event.type = EVENT_DEVICE_WRITTEN;
	if (cluster->nodes[node].device_broken) {
		answer->event.io.error = -EIO;
		return;
	}
	cluster->device_writes++;
	for (size_t i = 0; i < effect->device_write.extent_count; i++) {
		const struct device_extent *extent = &effect->device_write.extents[i];

		memcpy(cluster->device + extent->offset_bytes, effect->device_write.data + at,
		       extent->size_bytes);
		at += extent->size_bytes;
	}
}

static void send(struct small_cluster *cluster, node_id_t node, const struct effect *effect)
{
	struct small_message *message = &cluster->queue[cluster->queue_tail++ % 4096];

	message->node = node;
	message->size = effect->send.size;
	message->bytes = malloc(message->size);
	memcpy(message->bytes, effect->send.bytes, message->size);
	cluster->messages++;
}

static void take_reply(struct small_node *node, const struct effect *effect)
{
	struct small_reply *reply = &node->replies[node->reply_count++ % SMALL_REPLIES_MAX];

	reply->seq = effect->reply.seq;
	reply->error = effect->reply.error;
	reply->data_bytes = effect->reply.data_bytes;
	if (effect->reply.data_bytes)
		memcpy(reply->data, effect->reply.data, effect->reply.data_bytes);
}

static void run_drop(struct small_run *run, luid_t luid)
{
	for (unsigned i = 0; i < RUN_INSTANCES_MAX; i++)
		if (run->instances[i].used && (!luid || run->instances[i].luid == luid)) {
			region_set_fini(&run->instances[i].held);
			memset(&run->instances[i], 0, sizeof(run->instances[i]));
		}
	if (luid)
		return;
	for (unsigned i = 0; i < RUN_BITS_COUNT; i++)
		region_set_fini(&run->bits[i]);
	memset(run, 0, sizeof(*run));
}

static struct region_set *run_bits(struct small_run *run, const struct effect *effect)
{
	unsigned i, unused = RUN_INSTANCES_MAX;

	if (effect->run_bits.kind != RUN_HELD)
		return &run->bits[effect->run_bits.kind];
	for (i = 0; i < RUN_INSTANCES_MAX; i++)
		if (run->instances[i].used && run->instances[i].luid == effect->run_bits.luid)
			return &run->instances[i].held;
		else if (!run->instances[i].used && unused == RUN_INSTANCES_MAX)
			unused = i;
	if (unused == RUN_INSTANCES_MAX)
		abort();
	run->instances[unused].used = true;
	run->instances[unused].luid = effect->run_bits.luid;
	return &run->instances[unused].held;
}

static void run_store(struct small_run *run, const struct effect *effect)
{
	uint64_t end = effect->run_bits.first + effect->run_bits.count;

	if (effect->type == EFFECT_RUN_META) {
		if (effect->run_meta.size > sizeof(run->meta))
			abort();
		run->meta_bytes = effect->run_meta.size;
		memcpy(run->meta, effect->run_meta.bytes, run->meta_bytes);
	} else if (effect->type == EFFECT_RUN_DROP) {
		run_drop(run, effect->run_drop.luid);
	} else if (effect->run_bits.set) {
		region_set_add_range(run_bits(run, effect), effect->run_bits.first, end);
	} else {
		region_set_remove_range(run_bits(run, effect), effect->run_bits.first, end);
	}
}

static void carry_out(struct small_cluster *cluster, node_id_t node, const struct effects *effects)
{
	struct small_node *self = &cluster->nodes[node];
	struct answer answers[32];
	size_t count = 0;

	memset(answers, 0, sizeof(answers));
	for (size_t i = 0; i < effects->count && !self->dead; i++) {
		const struct effect *effect = &effects->items[i];
		struct answer *answer = &answers[count];

		memset(&answer->event, 0, sizeof(answer->event)); /* an answer that comes late was here */
		answer->event.io.log = effect->log;
		answer->event.io.token = effect->token;
		switch (effect->type) {
		case EFFECT_REPLY: take_reply(self, effect); break;
		case EFFECT_SEND: send(cluster, node, effect); break;
		case EFFECT_DEVICE_READ: device_read(cluster, node, effect, answer), count++; break;
		case EFFECT_DEVICE_WRITE: device_write(cluster, node, effect, answer), count++; break;
		case EFFECT_LEGS_FLUSH:
			self->legs_flushes++;
			answer->event.type = EVENT_LEGS_FLUSHED;
			answer->event.io.error = self->legs_broken ? -EIO : 0;
			count++;
			break;
		case EFFECT_REPAIR:
			self->repairs++;
			answer->event.type = EVENT_REPAIRED;
			answer->event.io.error = self->legs_broken ? -EIO : 0;
			count++;
			break;
		case EFFECT_DEVICE_WAIT: answer->event.type = EVENT_DEVICE_WRITTEN; break;
		case EFFECT_REPAIR_WAIT:
			answer->event.type = EVENT_REPAIRED;
			answer->event.io.error = -ECANCELED;
			break;
		case EFFECT_LEGS_OPEN:
			self->legs_open = true;
			answer->event.type = EVENT_LEGS_OPENED;
			answer->event.legs.log = effect->log;
			answer->event.legs.token = effect->token;
			answer->event.legs.handles_errors = !cluster->ignores_errors;
			count++;
			if (self->legs_slow)
				self->legs_opened = answers[--count].event;
			break;
		case EFFECT_LEGS_CLOSE:
			self->legs_closes++;
			self->legs_open = false;
			break;
		case EFFECT_WAKE: self->wakes++; break;
		case EFFECT_TABLES:
			answer->event = (struct event){.type = EVENT_TABLES,
						       .tables = {.tables = self->tables,
								  .count = self->table_count,
								  .asked_ns = cluster->now_ns}};
			count++;
			break;
		case EFFECT_FENCE_HOLD:
			answer->event.type = EVENT_FENCE_HELD;
			count += cluster->locks;
			break;
		case EFFECT_FENCE_WATCH: self->watches = effect->fence.node; break;
		case EFFECT_RUN_META:
		case EFFECT_RUN_BITS:
		case EFFECT_RUN_DROP:
			self->dead = self->dies && self->stores_left-- == 0;
			if (!self->dead)
				run_store(&self->run, effect);
			break;
		case EFFECT_STOPPED:
			self->stopped = effect->stopped.stopped;
			snprintf(self->stopped_text, sizeof(self->stopped_text), "%s", effect->stopped.text);
			break;
		case EFFECT_LOG:
			if (cluster->print)
				printf("%u: %s\n", node, effect->log_line.text);
			break;
		default: break;
		}
		if (self->slow && (effect->type == EFFECT_DEVICE_WRITE || effect->type == EFFECT_REPAIR))
			self->slow_end = answers[--count].event;
		if (self->flush_slow && effect->type == EFFECT_LEGS_FLUSH)
			self->flush_end = answers[--count].event;
		if (effect->type == EFFECT_DEVICE_WAIT || effect->type == EFFECT_REPAIR_WAIT)
			self->slow_end = answer->event;
	}
	for (size_t i = 0; i < count; i++)
		step(cluster, node, &answers[i].event);
}

void small_init(struct small_cluster *cluster)
{
	memset(cluster, 0, sizeof(*cluster));
	cluster->now_ns = 1000000000;
	cluster->ring_seq = 4;
	cluster->next_seq = 1;
	cluster->fencing = FENCING_ASSUME;
}

void small_fini(struct small_cluster *cluster)
{
	for (; cluster->queue_head < cluster->queue_tail; cluster->queue_head++)
		free(cluster->queue[cluster->queue_head % 4096].bytes);
	for (node_id_t node = 1; node <= SMALL_NODES_MAX; node++) {
		core_free(cluster->nodes[node].core);
		run_drop(&cluster->nodes[node].run, 0);
	}
}

void small_legs_opened(struct small_cluster *cluster, node_id_t node, struct event opened)
{
	step(cluster, node, &opened);
	small_settle(cluster);
}

static size_t ring_fill(const struct small_cluster *cluster, node_id_t ret_nodes[SMALL_NODES_MAX])
{
	size_t count = 0;

	for (node_id_t node = 1; node <= SMALL_NODES_MAX; node++)
		if (cluster->nodes[node].in_view || (cluster->ring_stays && cluster->nodes[node].in_ring))
			ret_nodes[count++] = node;
	return count;
}

static void view(struct small_cluster *cluster, const struct view_change *joined,
		 const struct view_change *left, bool new_ring)
{
	node_id_t members[SMALL_NODES_MAX], ring[SMALL_NODES_MAX];
	size_t count = 0;

	if (new_ring)
		cluster->ring_seq += 4;
	for (node_id_t node = 1; node <= SMALL_NODES_MAX; node++)
		if (cluster->nodes[node].in_view)
			members[count++] = node;
	for (size_t i = 0; i < count; i++) {
		struct event event = {.type = EVENT_VIEW};

		event.view.members = members;
		event.view.member_count = count;
		event.view.joined = joined;
		event.view.joined_count = joined != NULL;
		event.view.left = left;
		event.view.left_count = left != NULL;
		step(cluster, members[i], &event);
		event = (struct event){.type = EVENT_RING,
				       .ring = {.seq = cluster->ring_seq, .representative = 1}};
		step(cluster, members[i], &event);
		event = (struct event){.type = EVENT_QUORUM};
		event.quorum.quorate = !cluster->inquorate;
		event.quorum.ring = (struct ring){.seq = cluster->ring_seq, .representative = 1};
		event.quorum.nodes = ring;
		event.quorum.node_count = ring_fill(cluster, ring);
		step(cluster, members[i], &event);
	}
}

/* A new daemon, which the others do not see yet. */
static void daemon_new(struct small_cluster *cluster, node_id_t node, uint64_t boot)
{
	static uint64_t incarnation = 1000;
	struct core_config config = {
	    .node = node,
	    .boot_id = boot,
	    .incarnation = incarnation += 100,
	    .fencing = cluster->fencing,
	    .linger_ns = 2000000000,
	    .linger_regions = 1000,
	    .run_state_lost = cluster->memory_lost,
	};
	struct small_run run = cluster->nodes[node].run;

	core_free(cluster->nodes[node].core);
	memset(&cluster->nodes[node], 0, sizeof(cluster->nodes[node]));
	cluster->nodes[node].core = core_new(&config);
	cluster->nodes[node].boot = boot;
	cluster->nodes[node].run = run;
}

static void daemon_join(struct small_cluster *cluster, node_id_t node)
{
	struct view_change joined = {.node = node, .reason = VIEW_JOIN};

	cluster->nodes[node].in_view = cluster->nodes[node].in_ring = true;
	view(cluster, &joined, NULL, false);
}

void small_node_dead(struct small_cluster *cluster, node_id_t node, node_id_t dead, uint64_t boot)
{
	struct event event = {.type = EVENT_NODE_DEAD, .node_dead = {.node = dead, .boot_id = boot}};

	step(cluster, node, &event);
	small_settle(cluster);
}

void small_join_version(struct small_cluster *cluster, node_id_t node, uint64_t boot, uint16_t version)
{
	struct bytes_writer writer;
	struct small_message *message;
	struct record record;

	cluster->nodes[node].dead = true; /* all that is heard of it is its HELLO */
	daemon_join(cluster, node);
	record_init(&record);
	record.type = RECORD_HELLO;
	record.hello = (struct record_hello){
	    .version_min = version,
	    .version_max = version,
	    .ring_seq = cluster->ring_seq,
	    .ring_representative = 1,
	    .boot_id = boot,
	    .incarnation = 1,
	    .next_incarnation = 2,
	    .quorate = true,
	};
	for (node_id_t member = 1; member <= SMALL_NODES_MAX; member++)
		if (cluster->nodes[member].in_view)
			record.hello.members[record.hello.member_count++] = member;
	bytes_writer_init(&writer);
	frame_begin(&writer, 0, 1);
	record_encode(&writer, &record);
	message = &cluster->queue[cluster->queue_tail++ % 4096];
	*message = (struct small_message){
	    .node = node, .size = bytes_writer_size(&writer), .bytes = malloc(bytes_writer_size(&writer))};
	memcpy(message->bytes, writer.bytes, message->size);
	bytes_writer_fini(&writer);
	record_fini(&record);
	small_settle(cluster);
}

void small_join(struct small_cluster *cluster, node_id_t node, uint64_t boot)
{
	run_drop(&cluster->nodes[node].run, 0);
	daemon_new(cluster, node, boot);
	daemon_join(cluster, node);
}

/* Another daemon takes the place of the former, which is gone, or has something in flight still. */
static void daemon_again(struct small_cluster *cluster, node_id_t node, bool writing, bool copying)
{
	struct small_run *run = &cluster->nodes[node].run;
	struct event event = {
	    .type = EVENT_RUN_LOG,
	    .run_log = {.uuid = SMALL_UUID,
			.writing = writing,
			.copying = copying,
			.flushing = cluster->nodes[node].flush_slow},
	};

	daemon_new(cluster, node, cluster->nodes[node].boot);
	cluster->nodes[node].flush_slow = event.run_log.flushing;
	event.run_log.meta = run->meta;
	event.run_log.meta_bytes = run->meta_bytes;
	for (unsigned i = 0; i < RUN_INSTANCES_MAX; i++) {
		if (!run->instances[i].used)
			continue;
		event.run_log.instances[event.run_log.instance_count].luid = run->instances[i].luid;
		event.run_log.instances[event.run_log.instance_count++].held = &run->instances[i].held;
	}
	for (unsigned i = 0; i < RUN_BITS_COUNT; i++)
		event.run_log.bits[i] = i == RUN_HELD ? NULL : &run->bits[i];
	if (run->meta_bytes)
		step(cluster, node, &event);
	daemon_join(cluster, node);
	small_settle(cluster);
}

void small_restart(struct small_cluster *cluster, node_id_t node)
{
	small_leave(cluster, node, false);
	small_settle(cluster);
	daemon_again(cluster, node, false, false);
}

void small_replace(struct small_cluster *cluster, node_id_t node, bool writing, bool copying)
{
	struct view_change left = {.node = node, .reason = VIEW_REPLACED};

	cluster->nodes[node].in_view = false;
	view(cluster, NULL, &left, false);
	small_settle(cluster);
	daemon_again(cluster, node, writing, copying);
}

void small_leave(struct small_cluster *cluster, node_id_t node, bool node_down)
{
	struct view_change left = {.node = node, .reason = node_down ? VIEW_NODE_DOWN : VIEW_PROCESS_DOWN};

	cluster->nodes[node].in_view = false;
	cluster->nodes[node].in_ring = !node_down;
	view(cluster, NULL, &left, node_down);
}

void small_lost(struct small_cluster *cluster, node_id_t node)
{
	struct event event = {.type = EVENT_CLUSTER_LOST};

	cluster->nodes[node].in_view = false;
	step(cluster, node, &event);
}

void small_apart(struct small_cluster *cluster, node_id_t node, node_id_t gone)
{
	struct view_change left = {.node = gone, .reason = VIEW_NODE_DOWN};

	cluster->nodes[node].in_view = cluster->nodes[node].in_ring = true;
	view(cluster, NULL, &left, true);
}

void small_back(struct small_cluster *cluster, node_id_t node)
{
	daemon_join(cluster, node);
}

void small_control(struct small_cluster *cluster, node_id_t node, enum control_command command,
		   node_id_t about, const char *uuid)
{
	struct event event = {.type = EVENT_CONTROL,
			      .control = {.command = command, .node = about, .uuid = uuid}};

	step(cluster, node, &event);
	small_settle(cluster);
}

void small_repair_rate(struct small_cluster *cluster, node_id_t node, const char *uuid, uint64_t rate)
{
	struct event event = {.type = EVENT_CONTROL,
			      .control = {.command = CONTROL_REPAIR_RATE, .uuid = uuid, .rate = rate}};

	step(cluster, node, &event);
	small_settle(cluster);
}

void small_io_end(struct small_cluster *cluster, node_id_t node)
{
	cluster->nodes[node].slow = false;
	step(cluster, node, &cluster->nodes[node].slow_end);
	small_settle(cluster);
}

void small_flush_end(struct small_cluster *cluster, node_id_t node, int error)
{
	cluster->nodes[node].flush_slow = false;
	cluster->nodes[node].flush_end.io.error = error;
	step(cluster, node, &cluster->nodes[node].flush_end);
	small_settle(cluster);
}

void small_no_tables(struct small_cluster *cluster, node_id_t node)
{
	struct event event = {.type = EVENT_TABLES, .tables.asked_ns = cluster->now_ns};

	step(cluster, node, &event);
	small_settle(cluster);
}

void small_tables_of(struct small_cluster *cluster, node_id_t node, const struct table *tables, size_t count,
		     uint64_t asked_ns)
{
	struct event event = {.type = EVENT_TABLES,
			      .tables = {.tables = tables, .count = count, .asked_ns = asked_ns}};

	step(cluster, node, &event);
	small_settle(cluster);
}

void small_tables(struct small_cluster *cluster, node_id_t node, const struct table *tables, size_t count)
{
	small_tables_of(cluster, node, tables, count, cluster->now_ns);
}

void small_quorum_of(struct small_cluster *cluster, node_id_t node, bool quorate)
{
	struct event event = {.type = EVENT_QUORUM};
	node_id_t ring[SMALL_NODES_MAX];

	event.quorum.quorate = quorate;
	event.quorum.ring = (struct ring){.seq = cluster->ring_seq, .representative = 1};
	event.quorum.nodes = ring;
	event.quorum.node_count = ring_fill(cluster, ring);
	step(cluster, node, &event);
	small_settle(cluster);
}

void small_quorum(struct small_cluster *cluster, bool quorate)
{
	bool hold = cluster->hold;

	cluster->hold = true; /* all hear of it before anybody speaks */
	for (node_id_t node = 1; node <= SMALL_NODES_MAX; node++)
		if (cluster->nodes[node].in_view)
			small_quorum_of(cluster, node, quorate);
	cluster->hold = hold;
	small_settle(cluster);
}

void small_deliver(struct small_cluster *cluster, unsigned count)
{
	for (; count > 0 && cluster->queue_head < cluster->queue_tail; count--) {
		struct small_message message = cluster->queue[cluster->queue_head++ % 4096];

		for (node_id_t node = 1; node <= SMALL_NODES_MAX; node++) {
			struct event event = {.type = EVENT_DELIVER};

			if (!cluster->nodes[node].in_view)
				continue;
			event.deliver.node = message.node;
			event.deliver.bytes = message.bytes;
			event.deliver.size = message.size;
			step(cluster, node, &event);
		}
		free(message.bytes);
	}
}

void small_settle(struct small_cluster *cluster)
{
	while (!cluster->hold && cluster->queue_head < cluster->queue_tail)
		small_deliver(cluster, 1);
}

void small_advance(struct small_cluster *cluster, uint64_t ns)
{
	uint64_t end = cluster->now_ns + ns;

	for (;;) {
		uint64_t due = end;
		node_id_t first = 0;

		for (node_id_t node = 1; node <= SMALL_NODES_MAX; node++) {
			if (!cluster->nodes[node].in_view)
				continue;
			if (core_deadline_ns(cluster->nodes[node].core) <= due) {
				due = core_deadline_ns(cluster->nodes[node].core);
				first = node;
			}
		}
		if (!first)
			break;
		if (due > cluster->now_ns)
			cluster->now_ns = due;
		struct event event = {.type = EVENT_TIMER};
		step(cluster, first, &event);
		small_settle(cluster);
	}
	cluster->now_ns = end;
}

uint32_t small_request(struct small_cluster *cluster, node_id_t node, enum ulog_type type, luid_t luid,
		       const void *data, uint32_t data_bytes)
{
	struct event event = {.type = EVENT_KERNEL};

	event.kernel.seq = cluster->next_seq++;
	event.kernel.type = type;
	event.kernel.version = 3;
	event.kernel.luid = luid;
	strcpy(event.kernel.uuid, cluster->uuid ? cluster->uuid : SMALL_UUID);
	event.kernel.data = data;
	event.kernel.data_bytes = data_bytes;
	step(cluster, node, &event);
	small_settle(cluster);
	return cluster->next_seq - 1;
}

uint32_t small_region(struct small_cluster *cluster, node_id_t node, enum ulog_type type, luid_t luid,
		      uint64_t region)
{
	uint64_t data[2] = {region, 1};

	return small_request(cluster, node, type, luid, data, type == ULOG_SET_REGION_SYNC ? 16 : 8);
}

const struct small_reply *small_reply(const struct small_cluster *cluster, node_id_t node, uint32_t seq)
{
	const struct small_node *self = &cluster->nodes[node];

	for (unsigned i = 0; i < SMALL_REPLIES_MAX; i++)
		if (self->replies[i].seq == seq)
			return &self->replies[i];
	return NULL;
}

uint64_t small_reply_u64(const struct small_cluster *cluster, node_id_t node, uint32_t seq, unsigned index)
{
	const struct small_reply *reply = small_reply(cluster, node, seq);
	uint64_t value;

	if (!reply || reply->error || reply->data_bytes < 8 * (index + 1))
		abort();
	memcpy(&value, reply->data + (size_t)8 * index, sizeof(value));
	return value;
}
