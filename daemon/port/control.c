/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <json-c/json.h>

#include "daemon/port/control_text.h"
#include "daemon/port/log.h"
#include "protocol/control.h"

#define NS_PER_S UINT64_C(1000000000)

struct client {
	TAILQ_ENTRY(client) entry; /* the one that was heard of last stands last */
	struct control *control;
	int fd;
	char *line; /* CONTROL_LINE_MAX + 1 bytes */
	size_t line_bytes;
	char *answer;
	size_t answer_bytes, answer_sent;
	qb_loop_timer_handle timer;
	bool ended;   /* the peer sends no more */
	bool discard; /* what it sends makes no sense any more; closing would take the answer away from it */
};

struct control {
	struct port_config config;
	struct control_source source;
	struct sockaddr_un address;
	int fd;
	TAILQ_HEAD(clients, client) clients;
	unsigned client_count;
	uint64_t clients_dropped;
	bool full; /* and that was said */
};

/* --- answers
 * ------------------------------------------------------------------------------------------------ */

static struct json_object *answer_error(const char *why)
{
	struct json_object *answer = json_object_new_object();

	json_object_object_add(answer, "ok", json_object_new_boolean(false));
	json_object_object_add(answer, "error", json_object_new_string(why));
	return answer;
}

static struct json_object *answer_ok(const char *key, struct json_object *value)
{
	struct json_object *answer = json_object_new_object();

	json_object_object_add(answer, "ok", json_object_new_boolean(true));
	if (key != NULL)
		json_object_object_add(answer, key, value);
	return answer;
}

static struct json_object *answer_dump(struct control *control)
{
	char path[sizeof(control->address.sun_path) + 16];
	int error;

	(void)snprintf(path, sizeof(path), "%s/blackbox", control->config.run_dir);
	error = log_dump(path);
	return error == 0 ? answer_ok("path", json_object_new_string(path)) : answer_error(strerror(-error));
}

static struct json_object *answer_metrics(struct control *control, const struct core_status *status)
{
	struct netlink_counts counts = {0};
	struct json_object *answer;
	char *text;

	control->source.netlink_count(control->config.sink.context, &counts);
	text = control_metrics_text(status, &counts, control->clients_dropped);
	answer =
	    text == NULL ? answer_error("out of memory") : answer_ok("text", json_object_new_string(text));
	free(text);
	return answer;
}

static struct json_object *answer_command(struct control *control, enum control_command command,
					  node_id_t node, const char *uuid)
{
	struct event event = {.type = EVENT_CONTROL,
			      .control = {.command = command, .node = node, .uuid = uuid}};

	event_sink_post(&control->config.sink, &event);
	return answer_ok(NULL, NULL);
}

static struct json_object *answer_confirm_dead(struct control *control, const struct core_status *status,
					       node_id_t node)
{
	if (node == status->node)
		return answer_error("this is the node that runs the daemon you are asking");
	for (size_t i = 0; i < status->node_count; i++)
		if (status->nodes[i].node == node)
			return answer_command(control, CONTROL_CONFIRM_DEAD, node, NULL);
	return answer_error("no such node is known");
}

static struct json_object *answer_fail_kept(struct control *control, const struct core_status *status,
					    const char *uuid)
{
	bool known = uuid[0] == '\0';

	for (size_t i = 0; i < status->log_count && !known; i++)
		known = strcmp(status->logs[i].uuid, uuid) == 0;
	if (!known)
		return answer_error("no such log is known");
	log_write(LOG_WARNING, "an administrator fails the requests that wait (%s)",
		  uuid[0] != '\0' ? uuid : "all logs");
	return answer_command(control, CONTROL_FAIL_KEPT, NODE_NONE, uuid[0] == '\0' ? NULL : uuid);
}

static struct json_object *answer_throttle(struct control *control, const struct core_status *status,
					   const struct control_request *request)
{
	const char *uuid = request->uuid[0] == '\0' ? NULL : request->uuid;
	struct event event = {
	    .type = EVENT_CONTROL,
	    .control = {.command = CONTROL_REPAIR_RATE, .uuid = uuid, .rate = (uint64_t)request->rate}};
	bool known = uuid == NULL;

	for (size_t i = 0; i < status->log_count && !known; i++)
		known = strcmp(status->logs[i].uuid, uuid) == 0;
	if (!known)
		return answer_error("no such log is known");
	log_write(LOG_NOTICE, "repair of %s: at most %lld bytes a second (0: no limit)",
		  uuid == NULL ? "each log" : uuid, (long long)request->rate);
	event_sink_post(&control->config.sink, &event);
	return answer_ok(NULL, NULL);
}

static struct json_object *answer_make(struct control *control, const struct control_request *request,
				       const struct core_status *status)
{
	switch (request->type) {
	case CONTROL_REQUEST_STATUS: return answer_ok("status", control_status_json(status));
	case CONTROL_REQUEST_DUMP: return answer_dump(control);
	case CONTROL_REQUEST_METRICS: return answer_metrics(control, status);
	case CONTROL_REQUEST_CONFIRM_DEAD: return answer_confirm_dead(control, status, request->node);
	case CONTROL_REQUEST_FAIL_KEPT: return answer_fail_kept(control, status, request->uuid);
	case CONTROL_REQUEST_REPAIR_PAUSE:
		return answer_command(control, CONTROL_REPAIR_PAUSE, NODE_NONE, NULL);
	case CONTROL_REQUEST_REPAIR_RESUME:
		return answer_command(control, CONTROL_REPAIR_RESUME, NODE_NONE, NULL);
	case CONTROL_REQUEST_REPAIR_THROTTLE: return answer_throttle(control, status, request);
	case CONTROL_REQUEST_END: break;
	}
	return answer_error("unknown command");
}

static struct json_object *line_answer(struct control *control, const char *line, size_t size)
{
	struct control_request request;
	const char *why = "out of memory";
	struct json_object *answer;
	struct core_status *status;

	if (control_decode(line, size, &request, &why) != 0)
		return answer_error(why);
	status = control->source.status_new(control->config.sink.context);
	if (status == NULL)
		return answer_error("out of memory");
	answer = answer_make(control, &request, status);
	core_status_free(status);
	return answer;
}

/* --- clients
 * ------------------------------------------------------------------------------------------------ */

static void client_drop(struct client *client)
{
	struct control *control = client->control;

	(void)qb_loop_poll_del(control->config.loop, client->fd);
	(void)qb_loop_timer_del(control->config.loop, client->timer);
	TAILQ_REMOVE(&control->clients, client, entry);
	control->client_count--;
	if (control->client_count < CONTROL_CLIENTS_MAX / 2)
		control->full = false;
	close(client->fd);
	free(client->line);
	free(client->answer);
	free(client);
}

static void client_timeout(void *data)
{
	struct client *client = data;

	client->timer = 0;
	client_drop(client);
}

/* The client was heard of. Returns false when it had to be dropped. */
static bool client_touch(struct client *client)
{
	struct control *control = client->control;

	if (client->discard)
		return true;
	TAILQ_REMOVE(&control->clients, client, entry);
	TAILQ_INSERT_TAIL(&control->clients, client, entry);
	(void)qb_loop_timer_del(control->config.loop, client->timer);
	if (qb_loop_timer_add(control->config.loop, QB_LOOP_LOW, CONTROL_CLIENT_PATIENCE_S * NS_PER_S, client,
			      client_timeout, &client->timer) == 0)
		return true;
	client_drop(client);
	return false;
}

/* Keeps the answer for sending. Returns false when it is too long or memory is short. */
static bool client_answer(struct client *client, struct json_object *answer)
{
	size_t size = 0;
	const char *text =
	    answer == NULL ? NULL : json_object_to_json_string_length(answer, JSON_C_TO_STRING_PLAIN, &size);

	if (text != NULL && size < CONTROL_ANSWER_MAX)
		client->answer = malloc(size + 1);
	if (client->answer != NULL) {
		memcpy(client->answer, text, size);
		client->answer[size] = '\n';
		client->answer_bytes = size + 1;
		client->answer_sent = 0;
	}
	json_object_put(answer);
	return client->answer != NULL;
}

/* Sends what it can. Returns 0 when the answer is out, -EAGAIN when some is left, or another negative errno.
 */
static int answer_send(struct client *client)
{
	while (client->answer_sent < client->answer_bytes) {
		ssize_t sent = send(client->fd, client->answer + client->answer_sent,
				    client->answer_bytes - client->answer_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0)
			return errno == EINTR ? -EAGAIN : -errno;
		client->answer_sent += (size_t)sent;
	}
	free(client->answer);
	client->answer = NULL;
	client->answer_bytes = 0;
	return 0;
}

/* Answer the first complete line. Returns 0 when there was one, -EAGAIN when there is none; other errors:
 * drop it. */
static int line_take(struct client *client)
{
	char *end = memchr(client->line, '\n', client->line_bytes);
	size_t size;

	if (end == NULL && client->line_bytes <= CONTROL_LINE_MAX)
		return -EAGAIN;
	size = end == NULL ? client->line_bytes : (size_t)(end - client->line);
	if (!client_answer(client, line_answer(client->control, client->line, size)))
		return -ENOMEM;
	if (end == NULL) {
		/* Too long: where the next request begins cannot be known. */
		client->discard = true;
		client->line_bytes = 0;
		return 0;
	}
	client->line_bytes -= size + 1;
	memmove(client->line, end + 1, client->line_bytes);
	return 0;
}

/* Answer one request: the next one's turn comes when the loop has served others. Returns 0 when input is
 * missing, -EAGAIN when there is more to do once output has room. */
static int client_serve(struct client *client)
{
	int error = 0;

	if (client->answer != NULL)
		error = answer_send(client);
	if (error == 0)
		error = line_take(client);
	if (error == 0) {
		error = answer_send(client);
		return error == 0 ? -EAGAIN : error;
	}
	if (error != -EAGAIN || client->answer != NULL)
		return error;
	if (client->discard)
		(void)shutdown(client->fd, SHUT_WR);
	return client->ended ? -EPIPE : 0;
}

static int client_read(struct client *client)
{
	ssize_t got = recv(client->fd, client->line + client->line_bytes,
			   CONTROL_LINE_MAX + 1 - client->line_bytes, MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		client->ended = true;
	if (!client->discard)
		client->line_bytes += (size_t)got;
	return 0;
}

static int32_t client_event(int32_t fd, int32_t revents, void *data)
{
	struct client *client = data;
	struct control *control = client->control;
	int error = 0;

	if (!client_touch(client))
		return 0;
	/* With an answer under way nothing is read: the socket pushes back. */
	if (client->answer == NULL && (revents & (POLLIN | POLLHUP)) != 0)
		error = client_read(client);
	if (error == 0 && (revents & (POLLERR | POLLNVAL)) == 0)
		error = client_serve(client);
	else if (error == 0)
		error = -EPIPE;
	if (error != 0 && error != -EAGAIN)
		client_drop(client);
	else
		(void)qb_loop_poll_mod(control->config.loop, QB_LOOP_LOW, fd, error == 0 ? POLLIN : POLLOUT,
				       client, client_event);
	return 0;
}

static void client_add(struct control *control, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client != NULL)
		client->line = malloc(CONTROL_LINE_MAX + 1);
	if (client == NULL || client->line == NULL ||
	    qb_loop_poll_add(control->config.loop, QB_LOOP_LOW, fd, POLLIN, client, client_event) != 0) {
		if (client != NULL)
			free(client->line);
		free(client);
		close(fd);
		return;
	}
	client->control = control;
	client->fd = fd;
	TAILQ_INSERT_TAIL(&control->clients, client, entry);
	control->client_count++;
	(void)client_touch(client);
}

/* Who has been silent for longest makes room. */
static void clients_overflow(struct control *control)
{
	client_drop(TAILQ_FIRST(&control->clients));
	control->clients_dropped++;
	if (!control->full)
		log_write(LOG_WARNING,
			  "control socket: %d clients are connected: the one that was silent for longest is "
			  "dropped",
			  CONTROL_CLIENTS_MAX);
	control->full = true;
}

static int32_t on_client(int32_t fd, int32_t revents, void *data)
{
	struct control *control = data;
	int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (client_fd < 0)
		return 0;
	if (control->client_count == CONTROL_CLIENTS_MAX)
		clients_overflow(control);
	client_add(control, client_fd);
	return 0;
}

/* --- the socket
 * --------------------------------------------------------------------------------------------- */

static int socket_bind(struct control *control)
{
	mode_t mask;
	int error = 0;

	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0)
		return -errno;
	(void)unlink(control->address.sun_path);
	/* The mode counts from the very bind(2) on. */
	mask = umask(0177);
	if (bind(control->fd, (const struct sockaddr *)&control->address, sizeof(control->address)) != 0)
		error = -errno;
	(void)umask(mask);
	if (error == 0 && listen(control->fd, CONTROL_CLIENTS_MAX) != 0)
		error = -errno;
	if (error == 0)
		error = qb_loop_poll_add(control->config.loop, QB_LOOP_LOW, control->fd, POLLIN, control,
					 on_client);
	if (error != 0)
		close(control->fd);
	return error;
}

int control_open(const struct port_config *config, const struct control_source *source,
		 struct control **ret_control)
{
	struct control *control = port_alloc(sizeof(*control));
	int size, error;

	control->config = *config;
	control->source = *source;
	TAILQ_INIT(&control->clients);
	control->address.sun_family = AF_UNIX;
	size = snprintf(control->address.sun_path, sizeof(control->address.sun_path), "%s/%s",
			config->run_dir, CONTROL_SOCKET_NAME);
	error = size < (int)sizeof(control->address.sun_path) ? socket_bind(control) : -ENAMETOOLONG;
	if (error != 0) {
		free(control);
		return error;
	}
	*ret_control = control;
	return 0;
}

void control_close(struct control *control)
{
	struct client *client;

	if (control == NULL)
		return;
	while ((client = TAILQ_FIRST(&control->clients)) != NULL)
		client_drop(client);
	(void)qb_loop_poll_del(control->config.loop, control->fd);
	close(control->fd);
	(void)unlink(control->address.sun_path);
	free(control);
}
