/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket with real clients, and the texts it answers with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/port/control.h"
#include "daemon/port/control_text.h"
#include "protocol/control.h"

#define PATIENCE_NS  UINT64_C(30000000000)
#define ANSWER_BYTES 65536

struct fixture {
	qb_loop_t *loop;
	struct core *core;
	struct control *control;
	char dir[32];
	unsigned commands;
	enum control_command command;
	uint64_t rate;
	struct {
		int fd;
		char answer[ANSWER_BYTES];
		size_t answer_bytes, lines, lines_wanted;
		bool closed;
	} client;
};

static void on_event(void *context, const struct event *event)
{
	struct fixture *fixture = context;

	assert_int_equal(event->type, EVENT_CONTROL);
	fixture->commands++;
	fixture->command = event->control.command;
	fixture->rate = event->control.rate;
}

static struct core_status *on_status(void *context)
{
	struct fixture *fixture = context;

	return core_status_new(fixture->core);
}

static void on_count(void *context, struct netlink_counts *ret_counts)
{
	(void)context;
	*ret_counts = (struct netlink_counts){.requests = 41, .lost = 2};
}

static int set_up(void **state)
{
	const struct core_config core_config = {
	    .node = 3, .boot_id = 7, .incarnation = 1, .fencing = FENCING_NONE};
	const struct control_source source = {.status_new = on_status, .netlink_count = on_count};
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct port_config config;

	assert_non_null(fixture);
	(void)strcpy(fixture->dir, "/tmp/test-control-XXXXXX");
	assert_non_null(mkdtemp(fixture->dir));
	fixture->loop = qb_loop_create();
	fixture->core = core_new(&core_config);
	assert_non_null(fixture->core);
	config = (struct port_config){
	    .loop = fixture->loop, .sink = {.post = on_event, .context = fixture}, .run_dir = fixture->dir};
	assert_int_equal(control_open(&config, &source, &fixture->control), 0);
	fixture->client.fd = -1;
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->client.fd >= 0) {
		(void)qb_loop_poll_del(fixture->loop, fixture->client.fd);
		close(fixture->client.fd);
	}
	control_close(fixture->control);
	core_free(fixture->core);
	qb_loop_destroy(fixture->loop);
	/* Empty when the socket is gone, as it has to be. */
	assert_int_equal(rmdir(fixture->dir), 0);
	free(fixture);
	return 0;
}

static int connect_to(const struct fixture *fixture)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", fixture->dir,
		       CONTROL_SOCKET_NAME);
	assert_return_code(fd, errno);
	assert_return_code(connect(fd, (const struct sockaddr *)&address, sizeof(address)), errno);
	return fd;
}

static void on_patience_over(void *data)
{
	(void)data;
	fail_msg("what was waited for did not happen");
}

static int32_t on_answer(int32_t fd, int32_t revents, void *data)
{
	struct fixture *fixture = data;
	char *at = fixture->client.answer + fixture->client.answer_bytes;
	ssize_t got = recv(fd, at, ANSWER_BYTES - 1 - fixture->client.answer_bytes, MSG_DONTWAIT);

	(void)revents;
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got <= 0) {
		fixture->client.closed = true;
		qb_loop_stop(fixture->loop);
		return -1; /* libqb takes the descriptor off its list */
	}
	fixture->client.answer_bytes += (size_t)got;
	for (ssize_t i = 0; i < got; i++)
		fixture->client.lines += at[i] == '\n';
	if (fixture->client.lines >= fixture->client.lines_wanted)
		qb_loop_stop(fixture->loop);
	return 0;
}

/* Send, and run the loop until there are that many lines, or the connection is closed. */
static const char *converse(struct fixture *fixture, const char *text, size_t size, size_t lines)
{
	qb_loop_timer_handle timer;

	if (fixture->client.fd < 0) {
		fixture->client.fd = connect_to(fixture);
		assert_int_equal(qb_loop_poll_add(fixture->loop, QB_LOOP_MED, fixture->client.fd, POLLIN,
						  fixture, on_answer),
				 0);
	}
	fixture->client.lines = fixture->client.answer_bytes = 0;
	memset(fixture->client.answer, 0, sizeof(fixture->client.answer));
	fixture->client.lines_wanted = lines;
	assert_int_equal(send(fixture->client.fd, text, size, MSG_NOSIGNAL), size);
	assert_int_equal(
	    qb_loop_timer_add(fixture->loop, QB_LOOP_LOW, PATIENCE_NS, NULL, on_patience_over, &timer), 0);
	qb_loop_run(fixture->loop);
	assert_int_equal(qb_loop_timer_del(fixture->loop, timer), 0);
	return fixture->client.answer;
}

static const char *ask(struct fixture *fixture, const char *line)
{
	return converse(fixture, line, strlen(line), 1);
}

static void socket_is_for_root_alone(void **state)
{
	struct fixture *fixture = *state;
	char path[64];
	struct stat info;

	(void)snprintf(path, sizeof(path), "%s/%s", fixture->dir, CONTROL_SOCKET_NAME);
	assert_return_code(stat(path, &info), errno);
	assert_int_equal(info.st_mode & 07777, 0600);
}

static void status_is_json(void **state)
{
	struct json_object *answer = json_tokener_parse(ask(*state, "{\"command\":\"status\"}\n")), *status,
			   *value;

	assert_non_null(answer);
	assert_true(json_object_object_get_ex(answer, "ok", &value) && json_object_get_boolean(value));
	assert_true(json_object_object_get_ex(answer, "status", &status));
	assert_true(json_object_object_get_ex(status, "node", &value));
	assert_int_equal(json_object_get_int64(value), 3);
	assert_true(json_object_object_get_ex(status, "boot_id", &value));
	assert_string_equal(json_object_get_string(value), "0000000000000007");
	assert_true(json_object_object_get_ex(status, "connected", &value));
	assert_false(json_object_get_boolean(value));
	assert_true(json_object_object_get_ex(status, "logs", &value));
	assert_int_equal(json_object_array_length(value), 0);
	json_object_put(answer);
}

static void several_requests_in_one_piece(void **state)
{
	static const char text[] =
	    "{\"command\":\"repair-pause\"}\nnonsense\n{\"command\":\"repair-resume\"}\n";
	struct fixture *fixture = *state;
	const char *answer = converse(fixture, text, sizeof(text) - 1, 3);

	assert_string_equal(answer, "{\"ok\":true}\n{\"ok\":false,\"error\":\"not JSON\"}\n{\"ok\":true}\n");
	assert_int_equal(fixture->commands, 2);
	assert_int_equal(fixture->command, CONTROL_REPAIR_RESUME);
}

static void unknown_nodes_and_logs_are_refused(void **state)
{
	struct fixture *fixture = *state;

	assert_non_null(strstr(ask(fixture, "{\"command\":\"confirm-dead\",\"node\":9}\n"), "no such node"));
	assert_non_null(
	    strstr(ask(fixture, "{\"command\":\"confirm-dead\",\"node\":3}\n"), "this is the node"));
	assert_non_null(strstr(ask(fixture, "{\"command\":\"fail-kept\",\"uuid\":\"x\"}\n"), "no such log"));
	assert_int_equal(fixture->commands, 0);
	assert_string_equal(ask(fixture, "{\"command\":\"fail-kept\"}\n"), "{\"ok\":true}\n");
	assert_int_equal(fixture->command, CONTROL_FAIL_KEPT);
}

static void repair_rate_is_handed_on(void **state)
{
	struct fixture *fixture = *state;

	assert_string_equal(ask(fixture, "{\"command\":\"repair-throttle\",\"rate\":1048576}\n"),
			    "{\"ok\":true}\n");
	assert_int_equal(fixture->command, CONTROL_REPAIR_RATE);
	assert_int_equal(fixture->rate, 1048576);
	assert_non_null(strstr(ask(fixture, "{\"command\":\"repair-throttle\",\"uuid\":\"x\",\"rate\":1}\n"),
			       "no such log"));
	assert_int_equal(fixture->commands, 1);
}

static void long_line_is_answered_then_closed(void **state)
{
	struct fixture *fixture = *state;
	char *line = malloc(CONTROL_LINE_MAX + 10);

	assert_non_null(line);
	memset(line, 'x', CONTROL_LINE_MAX + 10);
	assert_string_equal(converse(fixture, line, CONTROL_LINE_MAX + 10, 1),
			    "{\"ok\":false,\"error\":\"line too long\"}\n");
	free(line);
	(void)converse(fixture, "", 0, 1);
	assert_true(fixture->client.closed);
}

static void idle_clients_make_room(void **state)
{
	struct fixture *fixture = *state;
	int idle[CONTROL_CLIENTS_MAX];

	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		idle[i] = connect_to(fixture);
	assert_non_null(strstr(ask(fixture, "{\"command\":\"status\"}\n"), "\"ok\":true"));
	assert_non_null(strstr(ask(fixture, "{\"command\":\"metrics\"}\n"),
			       "mirrorlogd_control_clients_dropped_total 1\\n"));
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(idle[i]);
}

static void client_that_never_reads_holds_up_nobody(void **state)
{
	static const char request[] = "{\"command\":\"metrics\"}\n";
	struct fixture *fixture = *state;
	int greedy = connect_to(fixture);

	for (unsigned i = 0; i < 4096; i++)
		if (send(greedy, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	for (unsigned i = 0; i < 100; i++)
		assert_non_null(strstr(ask(fixture, "{\"command\":\"status\"}\n"), "\"ok\":true"));
	close(greedy);
}

/* One answer a turn of the loop, which has the kernel to serve. */
static void client_with_many_requests_holds_up_nobody(void **state)
{
	static const char pause[] = "{\"command\":\"repair-pause\"}\n";
	enum { MANY = 40 }; /* their answers fit into the socket */
	struct fixture *fixture = *state;
	int other = connect_to(fixture);

	for (int i = 0; i < MANY; i++)
		assert_int_equal(send(other, pause, sizeof(pause) - 1, MSG_DONTWAIT), sizeof(pause) - 1);
	assert_non_null(strstr(ask(fixture, "{\"command\":\"status\"}\n"), "true"));
	assert_in_range(fixture->commands, 0, MANY / 4);
	for (int i = 0; i < 10 * MANY && fixture->commands < MANY; i++)
		(void)ask(fixture, "{\"command\":\"status\"}\n");
	assert_int_equal(fixture->commands, MANY);
	close(other);
}

static void metrics_are_prometheus_text(void **state)
{
	struct status_log log = {.uuid = "a\"b\\c\nd", .region_count = 10, .ghost_regions = 4};
	struct core_status status = {.node = 1,
				     .ready = true,
				     .repair_paused = true,
				     .logs = &log,
				     .log_count = 1,
				     .requests = UINT64_MAX,
				     .waiting_dropped = 5};
	const struct netlink_counts counts = {.refused = 1, .malformed = 2};
	char *text = control_metrics_text(&status, &counts, 7);

	(void)state;
	assert_non_null(text);
	assert_non_null(strstr(text, "# TYPE mirrorlogd_requests_total counter\n"
				     "mirrorlogd_requests_total 18446744073709551615\n"));
	assert_non_null(strstr(text, "\nmirrorlogd_ready 1\n"));
	assert_non_null(strstr(text, "\nmirrorlogd_repair_paused 1\n"));
	assert_non_null(strstr(text, "\nmirrorlogd_netlink_malformed_total 3\n"));
	assert_non_null(strstr(text, "\nmirrorlogd_control_clients_dropped_total 7\n"));
	assert_non_null(strstr(text, "\nmirrorlogd_requests_dropped_total 5\n"));
	assert_non_null(strstr(text, "# TYPE mirrorlogd_log_repaired_regions_total counter\n"));
	assert_non_null(strstr(text, "\nmirrorlogd_log_ghost_regions{uuid=\"a\\\"b\\\\c\\nd\"} 4\n"));
	assert_non_null(strstr(text, "\nmirrorlogd_log_device_dead{uuid=\"a\\\"b\\\\c\\nd\"} 0\n"));
	free(text);
}

static void assert_percent(uint64_t synced, uint64_t all, const char *expected)
{
	struct status_log log = {.region_count = all, .synced_regions = synced, .health = 'A'};
	struct core_status status = {.logs = &log, .log_count = 1};
	struct json_object *object = control_status_json(&status), *logs, *value;

	assert_non_null(object);
	assert_true(json_object_object_get_ex(object, "logs", &logs));
	assert_true(json_object_object_get_ex(json_object_array_get_idx(logs, 0), "synced_percent", &value));
	assert_string_equal(json_object_get_string(value), expected);
	/* Nobody is null. */
	assert_true(json_object_object_get_ex(json_object_array_get_idx(logs, 0), "writer", &value));
	assert_null(value);
	json_object_put(object);
}

static void percent_says_100_only_when_all_is_synced(void **state)
{
	(void)state;
	assert_percent(0, 3, "0.00");
	assert_percent(1, 3, "33.33");
	assert_percent(UINT64_C(4294967294), UINT64_C(4294967295), "99.99");
	assert_percent(UINT64_C(4294967295), UINT64_C(4294967295), "100.00");
	assert_percent(0, 0, "0.00");
}

#define WITH_SOCKET(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_SOCKET(socket_is_for_root_alone),
	    WITH_SOCKET(status_is_json),
	    WITH_SOCKET(several_requests_in_one_piece),
	    WITH_SOCKET(unknown_nodes_and_logs_are_refused),
	    WITH_SOCKET(repair_rate_is_handed_on),
	    WITH_SOCKET(long_line_is_answered_then_closed),
	    WITH_SOCKET(idle_clients_make_room),
	    WITH_SOCKET(client_that_never_reads_holds_up_nobody),
	    WITH_SOCKET(client_with_many_requests_holds_up_nobody),
	    cmocka_unit_test(metrics_are_prometheus_text),
	    cmocka_unit_test(percent_says_100_only_when_all_is_synced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
