/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/cpg.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include <corosync/cpg.h>

#include "daemon/port/connector.h"
#include "daemon/port/log.h"

/* How soon what corosync could not take is tried again. */
#define RETRY_NS (UINT64_C(5) * 1000000)
/* Messages taken in one turn of the loop: the kernel's requests wait behind them. */
#define DISPATCH_MAX 32
/* A join is refused while the ring re-forms, which takes a moment. */
#define JOIN_TRIES    20
#define JOIN_PAUSE_NS 50000000
/* PF_EXITING of include/linux/sched.h, as in the ninth field of proc(5) stat. */
#define PROCESS_EXITING 0x4u

struct message {
	TAILQ_ENTRY(message) entry;
	size_t size;
	uint8_t bytes[];
};

/* The process that speaks for a node. */
struct speaker {
	node_id_t node;
	uint32_t pid;
	bool guessed; /* its node had two processes in the group when this one came: the one that sends is it
		       */
};

struct cpg_port {
	struct port_config config;
	void (*refused_fn)(void *context);
	node_id_t node;
	struct connector *connector;
	cpg_handle_t handle;
	int fd;
	bool handle_open; /* written by the connector's thread, read after it is done */
	bool connected;	  /* in the loop */
	bool in_dispatch, broken, refused;
	bool told; /* that corosync is away, or that something else is wrong with it */
	struct speaker speakers[CPG_MEMBERS_MAX];
	size_t speaker_count;
	TAILQ_HEAD(messages, message) messages;
	bool retry_armed;
	qb_loop_timer_handle retry_timer;
};

static void event_tell(const struct cpg_port *cpg, const struct event *event)
{
	event_sink_post(&cpg->config.sink, event);
}

static void queue_drop(struct cpg_port *cpg)
{
	struct message *message;

	while ((message = TAILQ_FIRST(&cpg->messages)) != NULL) {
		TAILQ_REMOVE(&cpg->messages, message, entry);
		free(message);
	}
	if (cpg->retry_armed)
		(void)qb_loop_timer_del(cpg->config.loop, cpg->retry_timer);
	cpg->retry_armed = false;
}

/* --- losing corosync --------------------------------------------------------------------------------------
 */

static void connection_lose(struct cpg_port *cpg)
{
	struct event event = {.type = EVENT_CLUSTER_LOST};
	int error;

	(void)qb_loop_poll_del(cpg->config.loop, cpg->fd);
	(void)cpg_finalize(cpg->handle);
	cpg->connected = cpg->broken = cpg->handle_open = false;
	cpg->speaker_count = 0;
	queue_drop(cpg);
	log_write(LOG_ERR, "lost the connection to corosync; trying once a second to get it back");
	event_tell(cpg, &event);
	error = connector_start(cpg->connector);
	if (error != 0)
		log_write(LOG_ERR, "cannot start a thread to reach corosync: %s", strerror(-error));
}

static void connection_lose_job(void *data)
{
	struct cpg_port *cpg = data;

	if (cpg->connected && cpg->broken)
		connection_lose(cpg);
}

/* The connection is of no use any more. Told a little later: not inside a callback of libcpg, nor of an
 * effect. */
static void connection_break(struct cpg_port *cpg, const char *what, cs_error_t error)
{
	if (cpg->broken)
		return;
	cpg->broken = true;
	log_write(LOG_ERR, "corosync: %s: %s", what, cs_strerror(error));
	if (!cpg->in_dispatch &&
	    qb_loop_job_add(cpg->config.loop, QB_LOOP_HIGH, cpg, connection_lose_job) != 0)
		abort(); /* no memory for a job: see port_alloc() */
}

/* --- sending ----------------------------------------------------------------------------------------------
 */

static cs_error_t message_send(struct cpg_port *cpg, const uint8_t *bytes, size_t size)
{
	struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};

	return cpg_mcast_joined(cpg->handle, CPG_TYPE_AGREED, &vector, 1);
}

static bool sent_later(cs_error_t error)
{
	return error == CS_ERR_TRY_AGAIN || error == CS_ERR_INTERRUPT;
}

static void queue_retry(void *data);

static void retry_arm(struct cpg_port *cpg)
{
	if (cpg->retry_armed)
		return;
	if (qb_loop_timer_add(cpg->config.loop, QB_LOOP_HIGH, RETRY_NS, cpg, queue_retry,
			      &cpg->retry_timer) != 0)
		abort(); /* see port_alloc() */
	cpg->retry_armed = true;
}

static void queue_retry(void *data)
{
	struct cpg_port *cpg = data;
	struct message *message;

	cpg->retry_armed = false;
	while ((message = TAILQ_FIRST(&cpg->messages)) != NULL) {
		cs_error_t error = message_send(cpg, message->bytes, message->size);

		if (sent_later(error)) {
			retry_arm(cpg);
			return;
		}
		if (error != CS_OK) {
			connection_break(cpg, "multicast", error);
			return;
		}
		TAILQ_REMOVE(&cpg->messages, message, entry);
		free(message);
	}
}

static void queue_append(struct cpg_port *cpg, const uint8_t *bytes, size_t size)
{
	struct message *message = port_alloc(sizeof(*message) + size);

	message->size = size;
	memcpy(message->bytes, bytes, size);
	TAILQ_INSERT_TAIL(&cpg->messages, message, entry);
	retry_arm(cpg);
}

void cpg_port_send(struct cpg_port *cpg, const struct effect *effect)
{
	const uint8_t *bytes = effect->send.bytes;
	size_t size = effect->send.size;
	cs_error_t error;

	assert(effect->type == EFFECT_SEND);
	if (!cpg->connected || cpg->broken || cpg->refused)
		return;
	if (!TAILQ_EMPTY(&cpg->messages)) {
		queue_append(cpg, bytes, size);
		return;
	}
	error = message_send(cpg, bytes, size);
	if (sent_later(error))
		queue_append(cpg, bytes, size);
	else if (error != CS_OK)
		connection_break(cpg, "multicast", error);
}

/* --- views
 * -------------------------------------------------------------------------------------------------- */

/*
 * CPG knows processes, the core knows nodes: for each node the process that joined last speaks. A daemon that
 * was killed may stay a member for a while, for ever even when a thread of it hangs in a device. Its
 * successor does not wait for that, but what hangs may be a write: the others are told that the former one
 * was replaced, not that it is gone (VIEW_REPLACED; guarantee 6, hazard A14). A second living daemon never
 * joins (join_allowed()), or not for long (on_confchg()).
 */
static struct speaker *speaker_find(struct cpg_port *cpg, node_id_t node)
{
	for (size_t i = 0; i < cpg->speaker_count; i++)
		if (cpg->speakers[i].node == node)
			return &cpg->speakers[i];
	return NULL;
}

static enum view_reason reason_map(uint32_t reason)
{
	switch (reason) {
	case CPG_REASON_JOIN: return VIEW_JOIN;
	case CPG_REASON_LEAVE: return VIEW_LEAVE;
	case CPG_REASON_NODEDOWN: return VIEW_NODE_DOWN;
	case CPG_REASON_NODEUP: return VIEW_NODE_UP;
	default: return VIEW_PROCESS_DOWN;
	}
}

/* Another process of this node among the members; 0: none. */
static uint32_t rival_find(const struct cpg_port *cpg, const struct cpg_address *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].nodeid == cpg->node && list[i].pid != (uint32_t)getpid())
			return list[i].pid;
	return 0;
}

static void speaker_remove(struct cpg_port *cpg, struct speaker *speaker, enum view_reason reason,
			   struct view_change *ret_change)
{
	*ret_change = (struct view_change){.node = speaker->node, .reason = reason};
	*speaker = cpg->speakers[--cpg->speaker_count];
}

/* A process of the node among the members that is not `pid`, 0: none. */
static uint32_t process_beside(const struct cpg_address *members, size_t count, node_id_t node, uint32_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (members[i].nodeid == node && members[i].pid != pid)
			return members[i].pid;
	return 0;
}

/* Of two that were killed the former one may end last: until then the node's daemon is not gone. */
static size_t speakers_leave(struct cpg_port *cpg, const struct cpg_address *list, size_t count,
			     const struct cpg_address *members, size_t member_count,
			     struct view_change *ret_changes)
{
	size_t changes = 0;

	for (size_t i = 0; i < count; i++) {
		struct speaker *speaker = speaker_find(cpg, list[i].nodeid);
		uint32_t other = process_beside(members, member_count, list[i].nodeid, list[i].pid);

		if (speaker == NULL || speaker->pid != list[i].pid)
			continue;
		if (other != 0)
			speaker->pid = other;
		else
			speaker_remove(cpg, speaker, reason_map(list[i].reason), &ret_changes[changes++]);
	}
	return changes;
}

/* Speakers whose node has a new process now, while the former one has not ended. `changes` were made before;
 * returns how many there are in all.
 */
static size_t speakers_replace(struct cpg_port *cpg, const struct cpg_address *list, size_t count,
			       struct view_change *ret_changes, size_t changes)
{
	for (size_t i = 0; i < count && changes < CPG_MEMBERS_MAX; i++) {
		struct speaker *speaker = speaker_find(cpg, list[i].nodeid);

		if (speaker != NULL && speaker->pid != list[i].pid)
			speaker_remove(cpg, speaker, VIEW_REPLACED, &ret_changes[changes++]);
	}
	return changes;
}

static size_t speakers_join(struct cpg_port *cpg, const struct cpg_address *list, size_t count,
			    const struct cpg_address *members, size_t member_count,
			    struct view_change *ret_changes, size_t changes)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t reason = list[i].reason == CPG_REASON_UNDEFINED ? CPG_REASON_JOIN : list[i].reason;

		if (speaker_find(cpg, list[i].nodeid) != NULL || cpg->speaker_count == CPG_MEMBERS_MAX)
			continue;
		cpg->speakers[cpg->speaker_count++] = (struct speaker){
		    .node = list[i].nodeid,
		    .pid = list[i].pid,
		    .guessed = process_beside(members, member_count, list[i].nodeid, list[i].pid) != 0};
		ret_changes[changes++] =
		    (struct view_change){.node = list[i].nodeid, .reason = reason_map(reason)};
	}
	return changes;
}

static void view_tell(const struct cpg_port *cpg, const struct view_change *left, size_t left_count,
		      const struct view_change *joined, size_t joined_count)
{
	node_id_t nodes[CPG_MEMBERS_MAX];
	struct event event = {.type = EVENT_VIEW};

	for (size_t i = 0; i < cpg->speaker_count; i++)
		nodes[i] = cpg->speakers[i].node;
	event.view.members = nodes;
	event.view.member_count = cpg->speaker_count;
	event.view.left = left;
	event.view.left_count = left_count;
	event.view.joined = joined;
	event.view.joined_count = joined_count;
	event_tell(cpg, &event);
}

/* A node whose daemon was replaced leaves in one view and joins in the next. */
static void view_change(struct cpg_port *cpg, const struct cpg_address *members, size_t member_count,
			const struct cpg_address *left, size_t left_count, const struct cpg_address *joined,
			size_t joined_count)
{
	struct view_change left_changes[CPG_MEMBERS_MAX], joined_changes[CPG_MEMBERS_MAX];
	size_t left_changed = speakers_leave(cpg, left, left_count, members, member_count, left_changes);
	size_t joined_changed;

	left_changed = speakers_replace(cpg, joined, joined_count, left_changes, left_changed);
	if (left_changed > 0 && joined_count > 0) {
		view_tell(cpg, left_changes, left_changed, NULL, 0);
		left_changed = 0;
	}
	joined_changed = speakers_join(cpg, joined, joined_count, members, member_count, joined_changes, 0);
	/* Those that were there before us are members without having joined. */
	joined_changed =
	    speakers_join(cpg, members, member_count, members, member_count, joined_changes, joined_changed);
	if (left_changed > 0 || joined_changed > 0)
		view_tell(cpg, left_changes, left_changed, joined_changes, joined_changed);
}

/* Dead, or as good as: a zombie, or on its way out. */
static bool process_is_gone(uint32_t pid)
{
	char path[32], text[512], state = 'X';
	unsigned flags = 0;
	const char *end;
	size_t size;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return true;
	size = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	text[size] = '\0';
	end = strrchr(text, ')'); /* the name may hold anything */
	if (end == NULL || sscanf(end + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
		return true;
	return state == 'Z' || state == 'X' || (flags & PROCESS_EXITING) != 0;
}

static void refuse(struct cpg_port *cpg, uint32_t rival)
{
	cpg->refused = true;
	log_write(LOG_ERR, "another mirrorlogd of node %u is in the cluster (process %u): this one stops",
		  cpg->node, rival);
}

static struct cpg_port *port_of(cpg_handle_t handle)
{
	void *context = NULL;

	(void)cpg_context_get(handle, &context);
	return context;
}

static void on_confchg(cpg_handle_t handle, const struct cpg_name *group, const struct cpg_address *members,
		       size_t member_count, const struct cpg_address *left, size_t left_count,
		       const struct cpg_address *joined, size_t joined_count)
{
	struct cpg_port *cpg = port_of(handle);
	const struct speaker *own;
	uint32_t rival;

	(void)group;
	if (cpg->broken || cpg->refused)
		return;
	if (member_count > CPG_MEMBERS_MAX || left_count > CPG_MEMBERS_MAX ||
	    joined_count > CPG_MEMBERS_MAX) {
		connection_break(cpg, "too many members in the group", CS_ERR_TOO_MANY_GROUPS);
		return;
	}
	own = speaker_find(cpg, cpg->node);
	rival = rival_find(cpg, own == NULL ? members : joined, own == NULL ? member_count : joined_count);
	if (rival != 0 && own != NULL) {
		/* It will find us and stop, but the others listen to it now. */
		connection_break(cpg, "a second daemon of this node joined", CS_ERR_EXIST);
		return;
	}
	if (rival != 0 && !process_is_gone(rival)) {
		refuse(cpg, rival);
		cpg->refused_fn(cpg->config.sink.context);
		return;
	}
	view_change(cpg, members, member_count, left, left_count, joined, joined_count);
}

static void on_ring(cpg_handle_t handle, struct cpg_ring_id ring, uint32_t member_count,
		    const uint32_t *members)
{
	struct cpg_port *cpg = port_of(handle);
	struct event event = {.type = EVENT_RING, .ring = {.seq = ring.seq, .representative = ring.nodeid}};

	(void)member_count;
	(void)members;
	if (!cpg->broken && !cpg->refused)
		event_tell(cpg, &event);
}

static void on_deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node, uint32_t pid,
		       void *bytes, size_t size)
{
	struct cpg_port *cpg = port_of(handle);
	struct event event = {.type = EVENT_DELIVER, .deliver = {.node = node, .bytes = bytes, .size = size}};
	struct speaker *speaker = speaker_find(cpg, node);

	(void)group;
	/* A killed process sends nothing any more, and what it had sent came before its successor. */
	if (speaker != NULL && speaker->guessed) {
		speaker->pid = pid;
		speaker->guessed = false;
	}
	if (!cpg->broken && !cpg->refused && speaker != NULL && speaker->pid == pid)
		event_tell(cpg, &event);
}

/* --- the connection
 * ----------------------------------------------------------------------------------------- */

static int32_t on_readable(int32_t fd, int32_t revents, void *data)
{
	struct cpg_port *cpg = data;
	cs_error_t error = CS_OK;

	(void)fd;
	cpg->in_dispatch = true;
	for (int i = 0; i < DISPATCH_MAX && error == CS_OK && !cpg->broken && !cpg->refused; i++)
		error = cpg_dispatch(cpg->handle, CS_DISPATCH_ONE_NONBLOCKING);
	if (error != CS_OK && error != CS_ERR_TRY_AGAIN && error != CS_ERR_INTERRUPT)
		connection_break(cpg, "dispatch", error);
	if ((revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
		connection_break(cpg, "connection closed", CS_ERR_LIBRARY);
	cpg->in_dispatch = false;
	if (cpg->broken)
		connection_lose(cpg);
	return 0;
}

static cpg_model_v1_data_t model = {
    .model = CPG_MODEL_V1,
    .cpg_deliver_fn = on_deliver,
    .cpg_confchg_fn = on_confchg,
    .cpg_totem_confchg_fn = on_ring,
    /* Without it the ring of the first view would stay unknown until the next one. */
    .flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
};

static struct cpg_name group_name = {.length = sizeof(CPG_PORT_GROUP) - 1, .value = CPG_PORT_GROUP};

/* Another process of this node in the group; 0: none. */
static uint32_t rival_ask(const struct cpg_port *cpg)
{
	struct cpg_iteration_description_t member;
	cpg_iteration_handle_t iteration;
	uint32_t rival = 0;

	if (cpg_iteration_initialize(cpg->handle, CPG_ITERATION_ONE_GROUP, &group_name, &iteration) != CS_OK)
		return 0;
	while (rival == 0 && cpg_iteration_next(iteration, &member) == CS_OK)
		if (member.nodeid == cpg->node && member.pid != (uint32_t)getpid())
			rival = member.pid;
	(void)cpg_iteration_finalize(iteration);
	return rival;
}

/* A daemon that was just killed gets a moment to leave. Returns false when there is a living one. */
static bool join_allowed(struct cpg_port *cpg)
{
	const struct timespec pause = {.tv_nsec = JOIN_PAUSE_NS};
	uint32_t rival;

	for (int i = 0; i < JOIN_TRIES && (rival = rival_ask(cpg)) != 0; i++) {
		if (!process_is_gone(rival)) {
			refuse(cpg, rival);
			return false;
		}
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

static cs_error_t group_join(cpg_handle_t handle)
{
	const struct timespec pause = {.tv_nsec = JOIN_PAUSE_NS};
	cs_error_t error = CS_ERR_TRY_AGAIN;

	for (int i = 0; i < JOIN_TRIES && error == CS_ERR_TRY_AGAIN; i++) {
		if (i > 0)
			(void)nanosleep(&pause, NULL);
		error = cpg_join(handle, &group_name);
	}
	return error;
}

/* Connect, and see that corosync still means the same node: a core cannot change its name. */
static int attempt_join(struct cpg_port *cpg)
{
	unsigned node = NODE_NONE;
	cs_error_t error = cpg_local_get(cpg->handle, &node);

	if (error == CS_OK && node != cpg->node) {
		if (!cpg->told)
			log_write(
			    LOG_ERR,
			    "corosync came back as node %u, but this daemon speaks for node %u: restart it",
			    node, cpg->node);
		cpg->told = true;
		return -EXDEV;
	}
	if (error == CS_OK)
		error = cpg_fd_get(cpg->handle, &cpg->fd);
	if (error == CS_OK && join_allowed(cpg))
		error = group_join(cpg->handle);
	return error == CS_OK ? 0 : -EAGAIN;
}

/* In the thread of the connector. */
static int attempt(void *context)
{
	struct cpg_port *cpg = context;
	int error;

	if (cpg_model_initialize(&cpg->handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, cpg) != CS_OK) {
		if (!cpg->told)
			log_write(LOG_WARNING, "corosync does not answer; trying once a second");
		cpg->told = true;
		return -ENOTCONN;
	}
	error = attempt_join(cpg);
	if (error != 0)
		(void)cpg_finalize(cpg->handle);
	cpg->handle_open = error == 0;
	return error;
}

static void on_connected(void *context)
{
	struct cpg_port *cpg = context;

	cpg->connected = true;
	cpg->told = false;
	if (cpg->refused) {
		cpg->refused_fn(cpg->config.sink.context);
		return;
	}
	log_write(LOG_INFO, "connected to corosync as node %u", cpg->node);
	if (qb_loop_poll_add(cpg->config.loop, QB_LOOP_HIGH, cpg->fd, POLLIN, cpg, on_readable) != 0)
		connection_break(cpg, "poll", CS_ERR_NO_RESOURCES);
}

int cpg_port_node_id(node_id_t *ret_node)
{
	cpg_model_v1_data_t silent = {.model = CPG_MODEL_V1};
	cpg_handle_t handle;
	unsigned node = NODE_NONE;
	cs_error_t error = cpg_model_initialize(&handle, CPG_MODEL_V1, (cpg_model_data_t *)&silent, NULL);

	if (error != CS_OK)
		return error == CS_ERR_ACCESS ? -EACCES : -ENOTCONN;
	error = cpg_local_get(handle, &node);
	(void)cpg_finalize(handle);
	if (error != CS_OK || node == NODE_NONE)
		return -ENOTCONN;
	*ret_node = node;
	return 0;
}

int cpg_port_open(const struct port_config *config, node_id_t node, void (*refused_fn)(void *context),
		  struct cpg_port **ret_cpg)
{
	struct cpg_port *cpg = port_alloc(sizeof(*cpg));
	struct connector_calls calls = {.attempt = attempt, .connected = on_connected, .context = cpg};
	int error;

	cpg->config = *config;
	cpg->node = node;
	cpg->refused_fn = refused_fn;
	TAILQ_INIT(&cpg->messages);
	cpg->connector = connector_new(config->loop, &calls);
	error = cpg->connector == NULL ? -ENOMEM : connector_start(cpg->connector);
	if (error != 0) {
		if (cpg->connector != NULL)
			(void)connector_free(cpg->connector);
		free(cpg);
		return error;
	}
	*ret_cpg = cpg;
	return 0;
}

void cpg_port_close(struct cpg_port *cpg)
{
	if (cpg == NULL)
		return;
	if (cpg->connected && !cpg->refused)
		(void)qb_loop_poll_del(cpg->config.loop, cpg->fd);
	queue_drop(cpg);
	(void)qb_loop_job_del(cpg->config.loop, QB_LOOP_HIGH, cpg, connection_lose_job);
	if (!connector_free(cpg->connector))
		return;
	if (cpg->handle_open) {
		(void)cpg_leave(cpg->handle, &group_name);
		(void)cpg_finalize(cpg->handle);
	}
	free(cpg);
}
