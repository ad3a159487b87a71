/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flight recorder of a daemon that was killed goes with the start of the next one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/port/log.h"

static bool has_recorder(pid_t pid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/dev/shm/qb-mirrorlogd-%d-blackbox-data", (int)pid);
	return access(path, F_OK) == 0;
}

static void recorder_of_a_killed_daemon(void **state)
{
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		if (log_start(false) == 0)
			(void)raise(SIGKILL);
		_exit(1);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(has_recorder(child));
	assert_int_equal(log_start(false), 0);
	assert_false(has_recorder(child));
	assert_true(has_recorder(getpid()));
	log_stop();
	assert_false(has_recorder(getpid()));
}

/* One that runs is another daemon's: of another network namespace, say. */
static void recorder_of_a_running_daemon(void **state)
{
	int ready[2], end[2];
	char byte = 0;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(end), 0);
	child = fork();
	if (child == 0) {
		(void)close(end[1]);
		if (log_start(false) == 0 && write(ready[1], &byte, 1) == 1)
			(void)!read(end[0], &byte, 1);
		log_stop();
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(log_start(false), 0);
	assert_true(has_recorder(child));
	log_stop();
	(void)close(end[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	(void)close(ready[0]);
	(void)close(ready[1]);
	(void)close(end[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(recorder_of_a_killed_daemon),
	    cmocka_unit_test(recorder_of_a_running_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
