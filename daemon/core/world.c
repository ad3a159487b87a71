/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects of the replicated state and the questions that are asked of it. Records are applied in
 * world_apply.c. */
#include "daemon/core/world.h"

#include <stdlib.h>
#include <string.h>

#include "common/search_tree.h"

/* Put `created` into a list that ascends by node id. */
#define LIST_INSERT_BY_NODE(list, created)                                                                   \
	do {                                                                                                 \
		__typeof__(created) behind_;                                                                 \
                                                                                                             \
		TAILQ_FOREACH (behind_, list, entry)                                                         \
			if (behind_->node > (created)->node)                                                 \
				break;                                                                       \
		if (behind_)                                                                                 \
			TAILQ_INSERT_BEFORE(behind_, created, entry);                                        \
		else                                                                                         \
			TAILQ_INSERT_TAIL(list, created, entry);                                             \
	} while (0)

void world_init(struct world *world)
{
	world->epoch = 0;
	world->next_number = 1;
	TAILQ_INIT(&world->nodes);
	TAILQ_INIT(&world->logs);
	world->logs_by_uuid = world->logs_by_number = NULL;
}

void world_fini(struct world *world)
{
	while (!TAILQ_EMPTY(&world->logs))
		world_log_remove(world, TAILQ_FIRST(&world->logs));
	while (!TAILQ_EMPTY(&world->nodes))
		world_node_forget(world, TAILQ_FIRST(&world->nodes));
	world_init(world);
}

struct world_node *world_node_find(const struct world *world, node_id_t node)
{
	struct world_node *it;

	TAILQ_FOREACH (it, &world->nodes, entry)
		if (it->node == node)
			return it;
	return NULL;
}

struct world_node *world_node_get(struct world *world, node_id_t node)
{
	struct world_node *it = world_node_find(world, node), *created;

	if (it)
		return it;
	created = calloc(1, sizeof(*created));
	if (!created)
		return NULL;
	created->node = node;
	created->state = NODE_JOINING;
	LIST_INSERT_BY_NODE(&world->nodes, created);
	return created;
}

void world_node_forget(struct world *world, struct world_node *node)
{
	TAILQ_REMOVE(&world->nodes, node, entry);
	free(node);
}

struct world_log *world_log_find(const struct world *world, const char *uuid)
{
	const void *key = search_tree_find(&world->logs_by_uuid, uuid, search_tree_text);

	return key ? search_tree_object(key, struct world_log, uuid) : NULL;
}

struct world_log *world_log_by_number(const struct world *world, uint32_t number)
{
	const void *key = search_tree_find(&world->logs_by_number, &number, search_tree_u32);

	return key ? search_tree_object(key, struct world_log, number) : NULL;
}

static bool log_index(struct world *world, struct world_log *log)
{
	if (!search_tree_add(&world->logs_by_uuid, log->uuid, search_tree_text))
		return false;
	if (search_tree_add(&world->logs_by_number, &log->number, search_tree_u32))
		return true;
	search_tree_remove(&world->logs_by_uuid, log->uuid, search_tree_text);
	return false;
}

struct world_log *world_log_add(struct world *world, const char *uuid, const struct log_shape *shape)
{
	return world_log_add_numbered(world, uuid, shape, world->next_number++);
}

struct world_log *world_log_add_numbered(struct world *world, const char *uuid, const struct log_shape *shape,
					 uint32_t number)
{
	struct world_log *log = calloc(1, sizeof(*log));

	if (!log)
		return NULL;
	log->number = number;
	strncpy(log->uuid, uuid, sizeof(log->uuid) - 1);
	if (!log_index(world, log)) {
		free(log);
		return NULL;
	}
	log->shape = *shape;
	TAILQ_INIT(&log->participants);
	region_set_init(&log->unsynced);
	region_set_init(&log->ghosts);
	region_set_init(&log->failed);
	TAILQ_INSERT_TAIL(&world->logs, log, entry);
	return log;
}

void world_log_remove(struct world *world, struct world_log *log)
{
	while (!TAILQ_EMPTY(&log->participants))
		participant_remove(log, TAILQ_FIRST(&log->participants));
	region_set_fini(&log->unsynced);
	region_set_fini(&log->ghosts);
	region_set_fini(&log->failed);
	TAILQ_REMOVE(&world->logs, log, entry);
	search_tree_remove(&world->logs_by_uuid, log->uuid, search_tree_text);
	search_tree_remove(&world->logs_by_number, &log->number, search_tree_u32);
	free(log);
}

struct participant *participant_find(const struct world_log *log, node_id_t node)
{
	struct participant *it;

	TAILQ_FOREACH (it, &log->participants, entry)
		if (it->node == node)
			return it;
	return NULL;
}

struct participant *participant_get(struct world_log *log, node_id_t node, uint64_t boot_id)
{
	struct participant *it = participant_find(log, node), *created;

	if (it)
		return it;
	created = calloc(1, sizeof(*created));
	if (!created)
		return NULL;
	created->node = node;
	created->boot_id = boot_id;
	region_set_init(&created->marks);
	region_set_init(&created->waiting);
	region_set_init(&created->unheard);
	LIST_INSERT_BY_NODE(&log->participants, created);
	return created;
}

void participant_remove(struct world_log *log, struct participant *participant)
{
	TAILQ_REMOVE(&log->participants, participant, entry);
	region_set_fini(&participant->marks);
	region_set_fini(&participant->waiting);
	region_set_fini(&participant->unheard);
	free(participant);
}

struct world_instance *participant_instance(struct participant *participant, luid_t luid)
{
	for (unsigned i = 0; i < participant->instance_count; i++)
		if (participant->instances[i].luid == luid)
			return &participant->instances[i];
	return NULL;
}

bool participant_resumed(const struct participant *participant)
{
	for (unsigned i = 0; i < participant->instance_count; i++)
		if (participant->instances[i].resumed)
			return true;
	return false;
}

uint64_t participant_leaving(const struct participant *participant)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < participant->instance_count; i++) {
		const struct world_instance *instance = &participant->instances[i];

		if (instance->resumed && !instance->leaving)
			return 0;
		if (instance->resumed && instance->leaving > last)
			last = instance->leaving;
	}
	return last;
}

bool participant_tainted(const struct participant *participant)
{
	for (unsigned i = 0; i < participant->instance_count; i++)
		if (participant->instances[i].tainted)
			return true;
	return false;
}

bool world_log_tainted(const struct world_log *log)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &log->participants, entry)
		if (participant_tainted(it))
			return true;
	return false;
}

bool world_log_resumed(const struct world_log *log)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &log->participants, entry)
		if (participant_resumed(it))
			return true;
	return false;
}

bool world_log_marked(const struct world_log *log, region_t region)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &log->participants, entry)
		if (region_set_contains(&it->marks, region) || region_set_contains(&it->waiting, region))
			return true;
	return false;
}

bool world_log_dirty(const struct world_log *log, region_t region)
{
	return region_set_contains(&log->unsynced, region) || region_set_contains(&log->ghosts, region) ||
	       region_set_contains(&log->failed, region) || world_log_marked(log, region);
}

void world_log_collect_dirty(const struct world_log *log, struct region_set *ret_dirty)
{
	const struct participant *it;

	region_set_copy(ret_dirty, &log->unsynced);
	region_set_union_with(ret_dirty, &log->ghosts);
	region_set_union_with(ret_dirty, &log->failed);
	TAILQ_FOREACH (it, &log->participants, entry) {
		region_set_union_with(ret_dirty, &it->marks);
		region_set_union_with(ret_dirty, &it->waiting);
	}
}

node_id_t world_suspect(const struct world *world)
{
	const struct world_node *it;

	TAILQ_FOREACH (it, &world->nodes, entry)
		if (it->suspect)
			return it->node;
	return NODE_NONE;
}

bool world_undecided(const struct world *world)
{
	const struct world_node *it;

	TAILQ_FOREACH (it, &world->nodes, entry)
		if (it->state == NODE_UNDECIDED)
			return true;
	return false;
}

/* What began in another part, told IN_SYNC 1 there or with work in hand, is known when it has been spoken. */
bool world_roles_wait(const struct world *world)
{
	const struct world_node *it;

	TAILQ_FOREACH (it, &world->nodes, entry)
		if (it->returning)
			return true;
	return world_undecided(world);
}

bool world_of_two(const struct world *world)
{
	const struct world_node *first = TAILQ_FIRST(&world->nodes);

	return first && TAILQ_NEXT(first, entry) &&
	       TAILQ_NEXT(first, entry) == TAILQ_LAST(&world->nodes, world_nodes);
}

bool world_log_assembling(const struct world *world, const struct world_log *log)
{
	const struct participant *it;

	if (world_suspect(world) != NODE_NONE)
		return true;

	TAILQ_FOREACH (it, &log->participants, entry)
		if (it->awaited)
			return true;
	return false;
}

const char *world_log_repair_hindrance(const struct world *world, const struct world_log *log)
{
	const struct participant *it;

	if (world_suspect(world) != NODE_NONE)
		return "repair waits for the daemon of a node that nobody remembers";
	if (log->repair_barred && !CORE_MUTANT(REPAIR_BARRED))
		return "a leg failed or could not be flushed: repair waits until the table was reloaded "
		       "everywhere";
	if (log->shape.disk && !log->writer_loaded)
		return "repair waits for the writer of the log device";
	TAILQ_FOREACH (it, &log->participants, entry) {
		const struct world_node *node = world_node_find(world, it->node);

		if (it->awaited)
			return "repair waits until every former member has spoken or is dead";
		if (participant_tainted(it))
			return "a node lost its memory: repair waits until its table was reloaded";
		if (!node || node->state == NODE_UNDECIDED)
			return "repair waits for fencing";
	}
	return NULL;
}

bool world_log_claim_free(const struct world_log *log)
{
	const struct participant *it;

	if (!log->claimed)
		return false;
	/* Marks that wait for this very copy do not hinder it. */
	TAILQ_FOREACH (it, &log->participants, entry)
		if (region_set_contains(&it->marks, log->claim) && !CORE_MUTANT(CLAIM_MARKED))
			return false;
	return true;
}

bool world_log_claim_granted(const struct world *world, const struct world_log *log)
{
	/* The recoverer may be cut off, the only one that has heard of its claim: others would write (hazard
	 * A12). With a core log they ask the recoverer, with a log device the writer. */
	if (log->shape.disk && log->writer != log->recoverer && !log->claim_known)
		return false;
	return world_log_claim_free(log) && !world_log_repair_hindrance(world, log);
}

bool participant_can(const struct world *world, const struct participant *participant)
{
	const struct world_node *node = world_node_find(world, participant->node);

	return node && node->state == NODE_READY && participant_resumed(participant);
}

/* The lowest that stays, else the last to leave. Who is late is unknown to a node that may give the role to
 * another. */
static node_id_t member_choose(const struct world *world, const struct world_log *log, bool writer,
			       bool *ret_all_failed)
{
	const struct participant *it, *last = NULL;
	bool late = false, failed = false;

	*ret_all_failed = false;
	TAILQ_FOREACH (it, &log->participants, entry) {
		if (!participant_can(world, it))
			continue;
		if (it->late)
			late = true;
		else if (writer && it->device_failed)
			failed = true;
		else if (!participant_leaving(it))
			return it->node;
		else if (!last || participant_leaving(it) > participant_leaving(last))
			last = it;
	}
	*ret_all_failed = failed && !late && !last;
	return last ? last->node : NODE_NONE;
}

/* A write of somebody who had the role is in flight still. */
static bool write_in_flight(const struct world_log *log)
{
	const struct participant *it;

	TAILQ_FOREACH (it, &log->participants, entry)
		if (it->writing && !CORE_MUTANT(WRITING_IGNORED))
			return true;
	return false;
}

static void writer_assign(const struct world *world, struct world_log *log)
{
	/* An awaited node may be the former writer, cut off with a write in flight (guarantee 6). */
	if (!log->shape.disk || log->writer != NODE_NONE || world_log_assembling(world, log) ||
	    world_roles_wait(world) || write_in_flight(log))
		return;
	log->writer_loaded = false;
	log->writer = member_choose(world, log, true, &log->device_dead);
	if (log->writer != NODE_NONE)
		log->device_dead = false;
}

static void recoverer_assign(const struct world *world, struct world_log *log)
{
	const struct participant *it;
	bool failed;

	if (log->recoverer != NODE_NONE) {
		it = participant_find(log, log->recoverer);
		if (it && (it->awaited || participant_resumed(it)))
			return;
		log->recoverer = NODE_NONE;
		world_log_release(log);
	}
	if (!world_roles_wait(world))
		log->recoverer = member_choose(world, log, false, &failed);
}

/* Regions of a leg failure become plain out of sync once no instance is left that was told IN_SYNC 1 for
 * them. */
static void failures_settle(struct world_log *log)
{
	const struct participant *it;

	if (!log->repair_barred && region_set_is_empty(&log->failed))
		return;
	TAILQ_FOREACH (it, &log->participants, entry)
		for (unsigned i = 0; i < it->instance_count; i++)
			if (it->instances[i].old)
				return;
	region_set_union_with(&log->unsynced, &log->failed);
	region_set_subtract(&log->ghosts, &log->unsynced);
	region_set_clear(&log->failed);
	log->repair_barred = false;
}

bool world_node_may_forget(const struct world_log *log, const struct world_node *node)
{
	const struct participant *participant = participant_find(log, node->node);
	bool asked = node->state == NODE_READY || node->state == NODE_UNDECIDED;

	return !log->shape.disk && participant && !(asked && participant_resumed(participant));
}

static bool unheard_by_forgotten(const struct world *world, const struct world_log *log,
				 const struct participant *participant)
{
	const struct world_node *node;

	TAILQ_FOREACH (node, &world->nodes, entry)
		if (region_set_contains(&participant->unheard, node->node) &&
		    world_node_may_forget(log, node))
			return true;
	return false;
}

void world_log_assign_roles(struct world *world, struct world_log *log)
{
	struct participant *it;

	if (world_log_tainted(log))
		log->mistrusted = true;
	else if (region_set_is_empty(&log->unsynced))
		log->mistrusted = false;
	TAILQ_FOREACH (it, &log->participants, entry) {
		if (!world_undecided(world))
			it->late = world_of_two(world) && !region_set_is_empty(&it->unheard);
		it->late = it->late || unheard_by_forgotten(world, log, it);
	}
	log->cold = log->cold && world_log_assembling(world, log);
	failures_settle(log);
	writer_assign(world, log);
	recoverer_assign(world, log);
}

void world_log_release(struct world_log *log)
{
	struct participant *it;

	log->claimed = log->claim_known = false;
	TAILQ_FOREACH (it, &log->participants, entry) {
		if (!it->waiting_batch && region_set_is_empty(&it->waiting))
			continue;
		if (CORE_MUTANT(GHOSTS_WAIT) && region_set_intersects(&it->waiting, &log->ghosts))
			continue;
		region_set_union_with(&it->marks, &it->waiting);
		region_set_clear(&it->waiting);
		if (it->waiting_batch) /* without one they are of a former life of the daemon */
			it->batch = it->waiting_batch;
		it->waiting_batch = 0;
	}
}

bool world_log_reap(struct world *world, struct world_log *log)
{
	if (!TAILQ_EMPTY(&log->participants))
		return false;
	world_log_remove(world, log);
	return true;
}
