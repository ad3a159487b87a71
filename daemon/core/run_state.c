/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must outlive the daemon: what the kernel holds, what it was told, who else was a member. */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define META_VERSION 3 /* before 3 without the epoch */
#define LOAD_NS	     (10 * NS_PER_S)

/* The size of the bit files must cover what is set, also while a table of another size is about to be
 * resumed. */
static uint64_t bits_size(const struct log *log, uint64_t end)
{
	return end > log->shape.region_count ? end : log->shape.region_count;
}

void run_state_set(struct core *core, struct log *log, enum run_bits kind, luid_t luid,
		   const struct region_set *regions, bool set)
{
	for (uint64_t first = 0, end = 0; region_set_next_run(regions, end, &first, &end);) {
		struct effect *effect = effect_add_log(core, EFFECT_RUN_BITS, log);

		effect->run_bits.luid = luid;
		effect->run_bits.kind = kind;
		effect->run_bits.first = (region_t)first;
		effect->run_bits.count = end - first;
		effect->run_bits.set = set;
		effect->run_bits.region_count = bits_size(log, end);
	}
}

/* A daemon may die between any two stores: none of what stays or comes is missing before the rest goes. */
void run_state_replace(struct core *core, struct log *log, enum run_bits kind, struct region_set *kept,
		       const struct region_set *now)
{
	struct region_set gone = {0};

	if (region_set_equal(kept, now))
		return;
	region_set_copy(&gone, kept);
	region_set_subtract(&gone, now);
	run_state_set(core, log, kind, 0, now, true);
	run_state_set(core, log, kind, 0, &gone, false);
	region_set_copy(kept, now);
	region_set_fini(&gone);
}

void run_state_bit(struct core *core, struct log *log, enum run_bits kind, luid_t luid, region_t region,
		   bool set)
{
	struct effect *effect = effect_add_log(core, EFFECT_RUN_BITS, log);

	effect->run_bits.luid = luid;
	effect->run_bits.kind = kind;
	effect->run_bits.first = region;
	effect->run_bits.count = 1;
	effect->run_bits.set = set;
	effect->run_bits.region_count = bits_size(log, (uint64_t)region + 1);
}

void run_state_forget(struct core *core, struct log *log, luid_t luid)
{
	struct effect *effect = effect_add_log(core, EFFECT_RUN_DROP, log);

	effect->run_drop.luid = luid;
}

/* Nobody knows how the last writes of a table ended that went, or whose flush failed. Its DESTROYED, or
 * DOUBT, says so, but not before it is ordered: a daemon that dies, or starts from a checkpoint, before that
 * says it again when it speaks. */
void run_state_orphans(struct core *core, struct log *log, const struct region_set *regions)
{
	region_set_union_with(&log->orphans, regions);
	region_set_union_with(&log->ghosts, regions);
	run_state_set(core, log, RUN_GHOST, 0, regions, true);
}

/* Copied, and told to nobody yet: neither flushed to the legs nor out of sync for its own table any more. A
 * daemon that has to speak before it is told, and be it to others who know nothing, says that it is a ghost.
 */
void run_state_untold(struct core *core, struct log *log, region_t region)
{
	region_set_add(&log->untold, region);
	region_set_add(&log->ghosts, region);
	run_state_bit(core, log, RUN_GHOST, 0, region, true);
}

void run_state_flush(struct core *core, struct log *log, bool begins)
{
	run_state_bit(core, log, RUN_FLUSH, 0, 0, begins);
}

/* A flush that fails loses what others of this node had in the same cache, and the one after it says nothing
 * of that: without its end, what was marked by then may differ (guarantee 7 of protocol/README). */
static void flush_unheard(struct core *core, struct log *log, bool under_way)
{
	struct instance *instance;

	core_log(core, LOG_NOTICE,
		 "log %s: the former daemon died in a flush of the legs: %llu regions are copied once more",
		 log->uuid, (unsigned long long)region_set_count(&log->pending));
	run_state_orphans(core, log, &log->pending);
	TAILQ_FOREACH (instance, &log->instances, entry)
		instance->work_void = instance->work_void || instance->has_work;
	log->flush_void = under_way;
	run_state_meta(core, log);
	if (!under_way && !log->repairing)
		run_state_flush(core, log, false);
}

/* What was queued before is in the order now, or was spoken. */
void run_state_delivered(const struct core *core, struct log *log)
{
	if (!region_set_is_empty(&log->orphans) && core->join == JOIN_READY &&
	    region_set_is_empty(&log->doubted) && !send_waits(core, RECORD_DESTROYED, log->uuid))
		region_set_clear(&log->orphans);
}

enum meta_flag {
	META_RUNNING = 1,
	META_KNOWN = 2,
	META_TAINTED = 4,
	META_RECONNECT_OPEN = 8,
	META_OLD = 16,
	META_LOG_FAILED = 32,
	META_WORK_VOID = 64
};

static void meta_instance_encode(struct bytes_writer *writer, const struct instance *instance)
{
	/* One whose RESUME was cut, and suspends, runs for nobody. */
	bool running = instance->known && instance_live(instance);
	char text[CONSTRUCTOR_BYTES];

	if (constructor_format(&instance->constructor, text, sizeof(text)) < 0)
		text[0] = '\0';
	bytes_write_u64(writer, instance->luid);
	bytes_write_u8(
	    writer,
	    (uint8_t)((running ? META_RUNNING : 0) | (instance->known ? META_KNOWN : 0) |
		      (instance->tainted ? META_TAINTED : 0) |
		      (instance->reconnects_open && !CORE_MUTANT(OPEN_FORGOTTEN) ? META_RECONNECT_OPEN : 0) |
		      (instance->old ? META_OLD : 0) | (instance->log_failed ? META_LOG_FAILED : 0) |
		      (instance->work_void ? META_WORK_VOID : 0)));
	text_encode(writer, text);
}

void run_state_meta(struct core *core, struct log *log)
{
	struct effect *effect;
	struct instance *instance;
	struct bytes_writer writer;
	uint8_t count = 0;

	bytes_writer_init(&writer);
	bytes_write_u8(&writer, META_VERSION);
	shape_encode(&writer, &log->shape);
	TAILQ_FOREACH (instance, &log->instances, entry)
		count++;
	bytes_write_u8(&writer, count);
	TAILQ_FOREACH (instance, &log->instances, entry)
		meta_instance_encode(&writer, instance);
	bytes_write_u32(&writer, log->former_count);
	for (unsigned i = 0; i < log->former_count; i++) {
		bytes_write_u32(&writer, log->former[i].node);
		bytes_write_u64(&writer, log->former[i].boot_id);
	}
	bytes_write_u64(&writer, core->epoch);
	if (writer.failed)
		abort();
	effect = effect_add_log(core, EFFECT_RUN_META, log);
	effect->run_meta.size = bytes_writer_size(&writer);
	effect->run_meta.bytes = effect_keep(core, writer.bytes);
	effect->run_meta.region_count = log->shape.region_count;
}

static int meta_instance_decode(struct core *core, struct log *log, struct bytes_reader *reader)
{
	luid_t luid = bytes_read_u64(reader);
	uint8_t flags = bytes_read_u8(reader);
	char text[CONSTRUCTOR_BYTES];
	struct instance *instance;
	const char *why;
	bool terminated;

	if (text_decode(reader, text, sizeof(text)))
		return -EPROTO;
	instance = instance_add(core, log, luid);
	if (!instance)
		return -ENOMEM;
	if (constructor_parse(text, strlen(text), &instance->constructor, &terminated, &why))
		return -EPROTO;
	instance->known = flags & META_KNOWN;
	instance->old = flags & META_OLD;
	instance->log_failed = flags & META_LOG_FAILED;
	instance->work_void = flags & META_WORK_VOID;
	/* Between the two answers of a reconnect the kernel may have gone on without a mark (hazard A2). */
	instance->tainted = flags & (META_TAINTED | META_RECONNECT_OPEN);
	if (flags & META_RECONNECT_OPEN) {
		/* The RESUME of that reconnect is sent again after 15 s. */
		instance->reconnects_open = 1;
		instance->reconnect_until_ns = core->now_ns + RESENT_NS;
		core_log(core, LOG_WARNING,
			 "log %s: the former daemon died while the table reconnected: all of it stays dirty "
			 "until it is reloaded",
			 log->uuid);
	}
	instance->state = flags & META_RUNNING ? INSTANCE_RESUMED
			  : instance->known    ? INSTANCE_SUSPENDED
					       : INSTANCE_CONSTRUCTED;
	return 0;
}

static int meta_decode(struct core *core, struct log *log, const struct run_log *run_log)
{
	struct bytes_reader reader;
	uint8_t version, count;
	uint64_t epoch;
	int error = 0;

	bytes_reader_init(&reader, run_log->meta, run_log->meta_bytes);
	version = bytes_read_u8(&reader);
	if (version < META_VERSION - 1 || version > META_VERSION || shape_decode(&reader, &log->shape))
		return -EPROTO;
	count = bytes_read_u8(&reader);
	for (uint8_t i = 0; i < count && !error; i++)
		error = meta_instance_decode(core, log, &reader);
	if (error)
		return error;
	log->former_count = bytes_read_u32(&reader);
	if (log->former_count > FRAME_NODES_MAX)
		return -EPROTO;
	for (unsigned i = 0; i < log->former_count; i++) {
		log->former[i].node = bytes_read_u32(&reader);
		log->former[i].boot_id = bytes_read_u64(&reader);
	}
	epoch = version == META_VERSION ? bytes_read_u64(&reader) : 0;
	if (reader.failed)
		return -EPROTO;
	core->epoch = epoch > core->epoch ? epoch : core->epoch;
	return 0;
}

void run_state_epoch(struct core *core)
{
	struct log *log;

	TAILQ_FOREACH (log, &core->logs, entry)
		if (!TAILQ_EMPTY(&log->instances))
			run_state_meta(core, log);
}

void run_state_restore(struct core *core, const struct run_log *run_log)
{
	struct log *log = log_get(core, run_log->uuid);
	struct instance *instance;

	if (!log)
		return;
	if (run_log->copying)
		repair_former_copies(core, log);
	if (run_log->writing)
		device_former_writes(core, log);
	if (meta_decode(core, log, run_log)) {
		core_log(core, LOG_ERR, "log %s: what the run directory remembers is damaged", log->uuid);
		core->config.run_state_lost = true;
		log->shape = (struct log_shape){0};
		while (!TAILQ_EMPTY(&log->instances)) {
			TAILQ_FIRST(&log->instances)->known = false;
			instance_destroy(core, log, TAILQ_FIRST(&log->instances));
		}
		log_poke(core, log);
		return;
	}
	for (unsigned i = 0; i < run_log->instance_count; i++) {
		instance = instance_find(log, run_log->instances[i].luid);

		if (!instance)
			continue;
		region_set_copy(&instance->held, run_log->instances[i].held);
		region_set_union_with(&log->pending, &instance->held);
	}
	region_set_copy(&log->unsynced, run_log->bits[RUN_UNSYNCED]);
	region_set_copy(&log->ghosts, run_log->bits[RUN_GHOST]);
	region_set_copy(&log->orphans, run_log->bits[RUN_GHOST]); /* until they are spoken of */
	region_set_copy(&log->failed, run_log->bits[RUN_FAILED]);
	/* Marked but not held: it lingered. */
	region_set_copy(&log->linger_young, run_log->bits[RUN_MARKED]);
	region_set_subtract(&log->linger_young, &log->pending);
	region_set_union_with(&log->pending, run_log->bits[RUN_MARKED]);
	log->linger_due_ns = core->now_ns + core->config.linger_ns;
	TAILQ_FOREACH (instance, &log->instances, entry)
		instance->introduced_ns = 0;
	instance = log_resumed_instance(log);
	if (instance) {
		instance->has_work = region_set_first(run_log->bits[RUN_WORK], &instance->work);
		log_legs_open(core, log);
	}
	if (!region_set_is_empty(run_log->bits[RUN_FLUSH]) && !CORE_MUTANT(FLUSH_UNHEARD))
		flush_unheard(core, log, run_log->flushing);
	log_poke(core, log);
}

static bool table_of(const struct table *tables, size_t count, const char *uuid, bool *ret_suspended)
{
	bool found = false;

	*ret_suspended = true;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(tables[i].uuid, uuid))
			continue;
		found = true;
		if (tables[i].live && !tables[i].suspended)
			*ret_suspended = false;
	}
	return found;
}

static bool table_is_loaded(const struct table *tables, size_t count, const char *uuid)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(tables[i].uuid, uuid) && !tables[i].live)
			return true;
	return false;
}

/* It was loaded behind the question to device-mapper, or was being loaded: dm-raid1 calls the log's
 * constructor before it opens the legs. Had it been resumed unheard so soon, it will ask what only a running
 * table does. */
static bool came_since(const struct instance *instance, uint64_t asked_ns)
{
	return instance->introduced_ns && instance->introduced_ns + LOAD_NS >= asked_ns;
}

/* A table that runs, and no instance that does: its RESUME was lost. The newest one is it, but for one that
 * is loaded, or came since; one that reconnects was resumed before. When there is no other, nobody knows the
 * table that runs. What was resumed or suspended since device-mapper was asked is told better by that. */
static void table_resume(struct core *core, struct log *log, bool loaded, uint64_t asked_ns)
{
	struct instance *instance, *newest = NULL;

	TAILQ_FOREACH_REVERSE(instance, &log->instances, instances, entry)
	{
		bool fresh =
		    instance->state == INSTANCE_CONSTRUCTED && !instance->known && !instance->tainted;

		if (instance->switched_ns >= asked_ns)
			return;
		if (newest || (fresh && came_since(instance, asked_ns)))
			continue;
		if (fresh && loaded)
			loaded = false;
		else
			newest = instance;
	}
	if (!newest || log_table_live(log) || newest->state == INSTANCE_RESUMING)
		return;
	resume_unheard(core, log, newest);
}

/* Does it run without a word to this daemon? One that was heard of before it was resumed is it that runs,
 * unless it is loaded still. */
static bool table_is_unknown(struct core *core, const struct table *tables, size_t count, size_t which,
			     uint64_t asked_ns)
{
	const struct log *log = log_find(core, tables[which].uuid);
	const struct instance *instance;
	bool before = false;

	if (!tables[which].live)
		return false;
	if (!log)
		return true;
	TAILQ_FOREACH (instance, &log->instances, entry) {
		if (instance->known || instance->tainted || instance->switched_ns >= asked_ns)
			return false;
		before = before || !came_since(instance, asked_ns);
	}
	return !before || table_is_loaded(tables, count, tables[which].uuid);
}

/* One that is only loaded goes before the one that runs: the kernel drops it first, or puts it in its place,
 * and then it introduces itself with its RESUME. */
static bool loaded_is_unknown(struct core *core, const struct table *tables, size_t count, const char *uuid)
{
	const struct log *log = log_find(core, uuid);

	return table_is_loaded(tables, count, uuid) && (!log || TAILQ_EMPTY(&log->instances));
}

static bool table_remembered(const struct core *core, const char *uuid)
{
	for (size_t i = 0; i < core->table_count; i++)
		if (core->tables[i].here && !strcmp(core->tables[i].uuid, uuid))
			return true;
	return false;
}

/* Into the new list: one whose end is still to be said. Its DTR may be lost, as what made device-mapper be
 * asked again. */
static void table_keep(struct core *core, const struct remembered_table *former)
{
	bool gone = former->unknown && !former->ended && !table_remembered(core, former->uuid);

	if (!former->owed && !gone)
		return;
	core->tables[core->table_count] = *former;
	core->tables[core->table_count].here = core->tables[core->table_count].unknown = false;
	core->tables[core->table_count].another = former->another && table_remembered(core, former->uuid);
	core->tables[core->table_count++].owed = true;
}

static luid_t table_suspends(const struct remembered_table *tables, size_t count, const char *uuid)
{
	for (size_t i = 0; i < count; i++)
		if (tables[i].suspends && !strcmp(tables[i].uuid, uuid))
			return tables[i].suspends;
	return LUID_UNKNOWN;
}

/* One that is only loaded is no table that ran: it has told nobody anything that lasts. */
static void tables_remember(struct core *core, const struct table *tables, size_t count, uint64_t asked_ns)
{
	struct remembered_table *former = core->tables;
	size_t former_count = core->table_count;

	core->tables = calloc(count + former_count + 1, sizeof(*core->tables));
	core->tables_known = core->tables != NULL;
	core->table_count = 0;
	for (size_t i = 0; i < count && core->tables_known; i++) {
		struct remembered_table *table = &core->tables[core->table_count];

		if (!tables[i].live)
			continue;
		strncpy(table->uuid, tables[i].uuid, LOG_UUID_BYTES - 1);
		table->here = true;
		table->unknown = table_is_unknown(core, tables, count, i, asked_ns);
		table->loaded = loaded_is_unknown(core, tables, count, table->uuid);
		table->suspended = tables[i].suspended;
		table->suspends = table_suspends(former, former_count, table->uuid);
		core->table_count++;
	}
	for (size_t i = 0; i < former_count && core->tables_known; i++)
		table_keep(core, &former[i]);
	free(former);
}

struct remembered_table *run_state_unknown(struct core *core, const char *uuid)
{
	for (size_t i = 0; i < core->table_count; i++)
		if (core->tables[i].unknown && !strcmp(core->tables[i].uuid, uuid))
			return &core->tables[i];
	return NULL;
}

/* One that reconnects, and is not spoken of: it has yet to be resumed. */
static bool log_any_unknown(const struct log *log)
{
	const struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->tainted && !instance->known)
			return true;
	return false;
}

/* A table of this boot runs that is not remembered, or comes back: the memory was lost. The daemon that found
 * it so may not have lived to say so, and this one has found the directory that it began. */
bool run_state_any_unknown(const struct core *core)
{
	const struct log *log;

	for (size_t i = 0; i < core->table_count; i++)
		if (core->tables[i].unknown)
			return true;
	TAILQ_FOREACH (log, &core->logs, entry)
		if (log_any_unknown(log))
			return true;
	return false;
}

struct remembered_table *run_state_loaded(struct core *core, const char *uuid)
{
	for (size_t i = 0; i < core->table_count; i++)
		if (core->tables[i].loaded && !core->tables[i].unloaded &&
		    !strcmp(core->tables[i].uuid, uuid))
			return &core->tables[i];
	return NULL;
}

/* The kernel suspends what runs before it drops it. That is heard, or was so when device-mapper was asked, or
 * that is asked again: one that goes without is a former table, whose end comes late, or was only loaded. */
struct remembered_table *run_state_beside(struct core *core, const char *uuid, luid_t luid)
{
	for (size_t i = 0; i < core->table_count; i++)
		if (core->tables[i].here && !core->tables[i].suspended && core->tables[i].suspends != luid &&
		    !strcmp(core->tables[i].uuid, uuid))
			return &core->tables[i];
	return NULL;
}

/* Heard before device-mapper's first answer, which may be older. */
static void table_suspends_early(struct core *core, const char *uuid, luid_t luid)
{
	struct remembered_table *tables =
	    realloc(core->tables, (core->table_count + 1) * sizeof(*core->tables));

	if (!tables)
		return;
	core->tables = tables;
	tables[core->table_count] = (struct remembered_table){.suspends = luid};
	strncpy(tables[core->table_count++].uuid, uuid, LOG_UUID_BYTES - 1);
}

void run_state_suspends(struct core *core, const char *uuid, luid_t luid)
{
	bool found = false;

	for (size_t i = 0; i < core->table_count; i++) {
		if (strcmp(core->tables[i].uuid, uuid))
			continue;
		core->tables[i].suspends = luid;
		found = true;
	}
	if (!found && !core->tables_known)
		table_suspends_early(core, uuid, luid);
}

void run_state_resumes(struct core *core, const char *uuid, luid_t luid)
{
	for (size_t i = 0; i < core->table_count; i++) {
		struct remembered_table *table = &core->tables[i];

		if (strcmp(table->uuid, uuid))
			continue;
		table->suspended = false;
		table->suspends = table->suspends == luid ? LUID_UNKNOWN : table->suspends;
	}
}

void run_state_introduced(struct core *core, const char *uuid)
{
	struct remembered_table *table = run_state_unknown(core, uuid);

	if (table)
		table->unknown = false;
}

/* The kernel takes it from one that has ended: what is still to be said of that one goes without. */
void run_state_number_used(struct core *core, const char *uuid, luid_t luid)
{
	for (size_t i = 0; i < core->table_count; i++) {
		struct remembered_table *table = &core->tables[i];

		if (table->ended != luid || strcmp(table->uuid, uuid))
			continue;
		table->ended = LUID_UNKNOWN;
		table->unknown = table->unknown && table->another;
	}
}

void run_state_ended_delivered(struct core *core)
{
	for (size_t i = 0; i < core->table_count && core->join == JOIN_READY; i++)
		if (core->tables[i].owed && !send_waits(core, RECORD_DESTROYED, core->tables[i].uuid))
			core->tables[i].owed = false;
}

/* A DTR was heard, of a number that is not this one's. It may have been that of a former table, told once
 * more, and what runs has not ended. */
static bool end_doubtful(struct core *core, const char *uuid, luid_t luid)
{
	const struct remembered_table *table = run_state_unknown(core, uuid);

	return table && table->ended && table->ended != luid;
}

/* What the cluster takes for a table here is none: device-mapper has none, or that has ended since. */
static void table_disown(struct core *core, const struct world_log *world, luid_t luid)
{
	const struct log *log = log_find(core, world->uuid);

	if (!core->tables_known || (log && instance_find(log, luid)) || table_remembered(core, world->uuid))
		return;
	if (end_doubtful(core, world->uuid, luid))
		effect_add(core, EFFECT_TABLES);
	else
		send_destroyed(core, world->uuid, luid);
}

/* What the cluster knows of tables here whose end this node has forgotten with all else (hazard A10). */
void run_state_disown(struct core *core)
{
	const struct world_log *world;

	kernel_ended_tell(core);
	TAILQ_FOREACH (world, &core->world.logs, entry) {
		const struct participant *self = participant_find(world, core->config.node);

		for (unsigned i = 0; self && i < self->instance_count; i++)
			table_disown(core, world, self->instances[i].luid);
	}
}

void run_state_disown_nameless(struct core *core, const struct world_log *world)
{
	struct participant *self =
	    core->join == JOIN_READY && world ? participant_find(world, core->config.node) : NULL;

	if (self && participant_instance(self, LUID_UNKNOWN))
		table_disown(core, world, LUID_UNKNOWN);
}

/* Of any that the cluster knows here it was the last: a host runs one table of a log. */
void run_state_ended(struct core *core, const char *uuid)
{
	for (size_t i = 0; i < core->table_count; i++)
		if (!strcmp(core->tables[i].uuid, uuid))
			core->tables[i].here = false;
}

/* A host runs one table of a log: when one is resumed, those that only the cluster remembers are gone. What
 * they had marked has been a ghost since the memory of them was lost; clearing it is left to this node. */
void run_state_disown_others(struct core *core, struct log *log, const struct participant *self)
{
	struct region_set unknown = {0};

	marks_learn(core, log, self, &unknown);
	marks_abandon(core, log, &unknown);
	region_set_fini(&unknown);
	for (unsigned i = 0; i < self->instance_count; i++)
		if (!instance_find(log, self->instances[i].luid))
			send_destroyed(core, log->uuid, self->instances[i].luid);
}

/* A running table that this daemon knows nothing of comes back by itself only when it is used: read from it.
 */
static void tables_wake(struct core *core, const struct table *tables, size_t count, uint64_t asked_ns)
{
	for (size_t i = 0; i < count; i++)
		if (!tables[i].suspended && table_is_unknown(core, tables, count, i, asked_ns))
			effect_add(core, EFFECT_WAKE)->uuid = effect_keep(core, strdup(tables[i].uuid));
}

/* dev_remove() takes a table from the list before it suspends it: what is in flight ends first, and its
 * POSTSUSPEND and DTR may still come. */
static void table_removed(struct core *core, struct log *log, struct instance *instance)
{
	if (!instance->replaced_until_ns)
		instance->replaced_until_ns = core->now_ns + REPLACED_NS;
	suspend_begin(core, log, instance);
}

/* DTR and POSTSUSPEND are not sent again when nobody listened: speak for the tables that could not (hazard
 * B3). */
void run_state_tables(struct core *core, const struct table *tables, size_t count, uint64_t asked_ns)
{
	struct log *log;

	/* It may still have what has ended: of a table without an instance nobody could tell, nor that one
	 * without an instance any more was ever remembered. */
	if (asked_ns < core->ended_ns) {
		effect_add(core, EFFECT_TABLES);
		return;
	}
	tables_remember(core, tables, count, asked_ns);
	tables_wake(core, tables, count, asked_ns);
	if (core->join == JOIN_READY)
		run_state_disown(core);
	TAILQ_FOREACH (log, &core->logs, entry) {
		struct instance *instance, *next;
		bool suspended = false, found = table_of(tables, count, log->uuid, &suspended);

		for (instance = TAILQ_FIRST(&log->instances); instance; instance = next) {
			next = TAILQ_NEXT(instance, entry);
			/* A table under construction is in no list yet, and its DTR cannot be lost before its
			 * CTR, unless a former daemon had heard that. */
			if (instance->introduced_ns >= asked_ns ||
			    (instance->state == INSTANCE_CONSTRUCTED && (found || instance->introduced_ns)))
				continue;
			if (!found && instance_live(instance)) {
				table_removed(core, log, instance);
			} else if (!found) {
				core_log(core, LOG_NOTICE, "log %s: its table went while nobody listened",
					 log->uuid);
				instance_destroy(core, log, instance);
			} else if (suspended && instance->state == INSTANCE_RESUMED &&
				   instance->ran_ns < asked_ns) {
				/* Its POSTSUSPEND was lost, unless the list is older than its resume. */
				suspend_begin(core, log, instance);
			} else if (!suspended && instance->state == INSTANCE_SUSPENDED &&
				   log_resumed_instance(log)) {
				/* dm_swap_table() ends the one that ran before. */
				core_log(core, LOG_NOTICE,
					 "log %s: a former table went while nobody listened", log->uuid);
				instance_destroy(core, log, instance);
			}
		}
		if (found && !suspended)
			table_resume(core, log, table_is_loaded(tables, count, log->uuid), asked_ns);
		log_poke(core, log);
	}
}

/* Before the failures themselves are kept: a table that is old must never look like one that knew of them. */
static void mirror_old(struct core *core, struct log *log)
{
	struct participant *self = log_self(core, log);
	struct instance *instance;
	bool changed = false;

	TAILQ_FOREACH (instance, &log->instances, entry) {
		const struct world_instance *known = participant_instance(self, instance->luid);

		if (!known || !known->old || instance->old)
			continue;
		instance->old = changed = true;
	}
	if (changed)
		run_state_meta(core, log);
}

static bool tables_old(const struct log *log)
{
	const struct instance *instance;

	TAILQ_FOREACH (instance, &log->instances, entry)
		if (instance->old)
			return true;
	return false;
}

/* What this node has not told yet, or is telling, is not forgotten because the state has not heard of it.
 * What its table has told stays as long as the table: it may have been told to a part of the cluster that
 * lost, and must not count as in sync for the kernel (which would forget that a leg failed, reset_ms_flags()
 * of dm-raid1.c). */
static void mirror_failed(struct core *core, struct log *log, const struct world_log *world)
{
	struct region_set failed = {0};

	region_set_copy(&failed, &log->fail_pending);
	region_set_union_with(&failed, &log->fail_in_flight);
	if (tables_old(log))
		region_set_union_with(&failed, &world->ghosts);
	region_set_intersect(&failed, &log->failed);
	region_set_union_with(&failed, &world->failed);
	run_state_replace(core, log, RUN_FAILED, &log->failed, &failed);
	region_set_fini(&failed);
}

static void mirror_ghosts(struct core *core, struct log *log, const struct world_log *world)
{
	struct region_set ghosts = {0};

	/* No SYNCED will tell of what the others took for a ghost when this node spoke: that copy ended
	 * beside its speech. */
	region_set_intersect(&log->untold, &world->unsynced);
	if (region_set_is_empty(&log->orphans) && region_set_is_empty(&log->untold)) {
		run_state_replace(core, log, RUN_GHOST, &log->ghosts, &world->ghosts);
		return;
	}
	region_set_copy(&ghosts, &world->ghosts);
	region_set_union_with(&ghosts, &log->orphans);
	region_set_union_with(&ghosts, &log->untold);
	run_state_replace(core, log, RUN_GHOST, &log->ghosts, &ghosts);
	region_set_fini(&ghosts);
}

/* What comes before what goes: ghosts of a mistrusted log were out of sync until now. */
void run_state_ghosts(struct core *core, struct log *log)
{
	if (log_self(core, log))
		mirror_ghosts(core, log, log_world(core, log));
}

static void mirror_members(struct core *core, struct log *log, const struct world_log *world)
{
	const struct participant *it;
	unsigned count = 0;
	bool changed = false;

	TAILQ_FOREACH (it, &world->participants, entry) {
		if (it->node == core->config.node || count == FRAME_NODES_MAX)
			continue;
		changed = changed || count >= log->former_count || log->former[count].node != it->node ||
			  log->former[count].boot_id != it->boot_id;
		log->former[count].node = it->node;
		log->former[count++].boot_id = it->boot_id;
	}
	changed = changed || count != log->former_count;
	log->former_count = count;
	if (changed)
		run_state_meta(core, log);
}

void run_state_mirror(struct core *core, struct log *log)
{
	const struct world_log *world = log_world(core, log);

	if (!world || !participant_find(world, core->config.node))
		return;
	mirror_ghosts(core, log, world);
	if (!log->mirror_due)
		return;
	log->mirror_due = false;
	mirror_old(core, log);
	mirror_failed(core, log, world);
	mirror_members(core, log, world);
	if (log_table_live(log)) {
		struct region_set told = {0};

		/* In sync for the cluster: told from now on. Out of sync is never told where it was not
		 * before. */
		region_set_copy(&told, &world->unsynced);
		region_set_union_with(&told, &world->failed);
		region_set_union_with(&told, &log->fail_pending);
		region_set_union_with(&told, &log->fail_in_flight);
		region_set_intersect(&told, &log->unsynced);
		run_state_replace(core, log, RUN_UNSYNCED, &log->unsynced, &told);
		region_set_fini(&told);
	}
}
