/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/port/process.h"

/* A third of it is the interval of the pings. */
#define PATIENCE_US "30000"
#define PINGS	    3
/* Only a watchdog that does not work lets a test last that long. */
#define GIVE_UP_NS UINT64_C(20000000000)

struct fixture {
	char dir[40], path[64];
	int manager; /* the service manager's end */
	unsigned pings;
	qb_loop_t *loop;
};

static int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	(void)strcpy(fixture->dir, "/tmp/test-watchdog-XXXXXX");
	assert_non_null(mkdtemp(fixture->dir));
	(void)snprintf(fixture->path, sizeof(fixture->path), "%s/notify", fixture->dir);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture->path);
	fixture->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_return_code(fixture->manager, errno);
	assert_return_code(bind(fixture->manager, (const struct sockaddr *)&address, sizeof(address)), errno);
	assert_return_code(setenv("NOTIFY_SOCKET", fixture->path, 1), errno);
	assert_return_code(unsetenv("WATCHDOG_PID"), errno);
	assert_return_code(setenv("WATCHDOG_USEC", PATIENCE_US, 1), errno);
	fixture->loop = qb_loop_create();
	assert_non_null(fixture->loop);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	process_watchdog_stop();
	qb_loop_destroy(fixture->loop);
	close(fixture->manager);
	(void)unlink(fixture->path);
	assert_int_equal(rmdir(fixture->dir), 0);
	free(fixture);
	return 0;
}

static bool ping_read(const struct fixture *fixture)
{
	char text[64];
	ssize_t size = recv(fixture->manager, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (size < 0)
		return false;
	text[size] = '\0';
	assert_string_equal(text, "WATCHDOG=1");
	return true;
}

static int32_t on_ping(int32_t fd, int32_t revents, void *data)
{
	struct fixture *fixture = data;

	(void)fd;
	(void)revents;
	while (ping_read(fixture))
		fixture->pings++;
	if (fixture->pings >= PINGS)
		qb_loop_stop(fixture->loop);
	return 0;
}

static void on_give_up(void *data)
{
	const struct fixture *fixture = data;

	qb_loop_stop(fixture->loop);
}

static void loop_that_runs_pings(void **state)
{
	struct fixture *fixture = *state;
	qb_loop_timer_handle give_up;

	assert_int_equal(
	    qb_loop_poll_add(fixture->loop, QB_LOOP_LOW, fixture->manager, POLLIN, fixture, on_ping), 0);
	assert_int_equal(
	    qb_loop_timer_add(fixture->loop, QB_LOOP_LOW, GIVE_UP_NS, fixture, on_give_up, &give_up), 0);
	process_watchdog_start(fixture->loop);
	qb_loop_run(fixture->loop);
	assert_true(fixture->pings >= PINGS);
	(void)qb_loop_timer_del(fixture->loop, give_up);
	(void)qb_loop_poll_del(fixture->loop, fixture->manager);
}

static void loop_that_does_not_run_is_silent(void **state)
{
	struct fixture *fixture = *state;
	struct pollfd manager = {.fd = fixture->manager, .events = POLLIN};

	process_watchdog_start(fixture->loop);
	assert_true(ping_read(fixture)); /* the first one, at once */
	/* Several times the interval; a slow machine can only make it longer. */
	assert_int_equal(poll(&manager, 1, 100), 0);
}

static void no_watchdog_no_ping(void **state)
{
	struct fixture *fixture = *state;

	assert_return_code(unsetenv("WATCHDOG_USEC"), errno);
	process_watchdog_start(fixture->loop);
	assert_false(ping_read(fixture));
}

static void watchdog_of_another_process_is_not_ours(void **state)
{
	struct fixture *fixture = *state;
	char pid[24];

	(void)snprintf(pid, sizeof(pid), "%d", (int)getppid());
	assert_return_code(setenv("WATCHDOG_PID", pid, 1), errno);
	process_watchdog_start(fixture->loop);
	assert_false(ping_read(fixture));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(loop_that_runs_pings),
	    TEST(loop_that_does_not_run_is_silent),
	    TEST(no_watchdog_no_ping),
	    TEST(watchdog_of_another_process_is_not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
