/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/port/syslog_socket.h"

struct fixture {
	char dir[40], path[64];
	int reader;
	struct syslog_socket log;
};

static int reader_open(const struct fixture *fixture)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture->path);
	(void)unlink(fixture->path);
	assert_return_code(fd, errno);
	assert_return_code(bind(fd, (const struct sockaddr *)&address, sizeof(address)), errno);
	return fd;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	(void)strcpy(fixture->dir, "/tmp/test-syslog-XXXXXX");
	assert_non_null(mkdtemp(fixture->dir));
	(void)snprintf(fixture->path, sizeof(fixture->path), "%s/log", fixture->dir);
	fixture->reader = reader_open(fixture);
	syslog_socket_init(&fixture->log);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	syslog_socket_close(&fixture->log);
	if (fixture->reader >= 0)
		close(fixture->reader);
	(void)unlink(fixture->path);
	assert_int_equal(rmdir(fixture->dir), 0);
	free(fixture);
	return 0;
}

/* One datagram; an empty text when there is none. */
static const char *read_line(const struct fixture *fixture)
{
	static char text[2048];
	ssize_t size = recv(fixture->reader, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[size > 0 ? size : 0] = '\0';
	return text;
}

static void line_has_the_form_of_syslog(void **state)
{
	struct fixture *fixture = *state;
	char name[40];
	const char *line;

	syslog_socket_write(&fixture->log, fixture->path, LOG_ERR, "100% gone");
	line = read_line(fixture);
	assert_memory_equal(line, "<27>", 4); /* LOG_DAEMON | LOG_ERR */
	(void)snprintf(name, sizeof(name), " mirrorlogd[%d]: 100%% gone", (int)getpid());
	assert_string_equal(line + 4 + 15, name);
}

static void long_line_is_cut(void **state)
{
	struct fixture *fixture = *state;
	char line[4096];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	syslog_socket_write(&fixture->log, fixture->path, LOG_INFO, line);
	assert_int_equal(strlen(read_line(fixture)), 699);
}

static void full_socket_never_blocks_and_is_told_of(void **state)
{
	struct fixture *fixture = *state;
	unsigned sent = 0;
	uint64_t dropped;

	for (unsigned i = 0; i < 5000; i++)
		syslog_socket_write(&fixture->log, fixture->path, LOG_INFO, "line");
	assert_true(fixture->log.dropped > 0);
	while (*read_line(fixture) != '\0')
		sent++;
	dropped = fixture->log.dropped;
	assert_int_equal(sent + dropped, 5000);
	syslog_socket_write(&fixture->log, fixture->path, LOG_INFO, "after");
	assert_non_null(strstr(read_line(fixture), "lines were lost"));
	assert_non_null(strstr(read_line(fixture), "after"));
	assert_int_equal(fixture->log.dropped, 0);
}

static void reader_that_restarts_is_found_again(void **state)
{
	struct fixture *fixture = *state;

	syslog_socket_write(&fixture->log, fixture->path, LOG_INFO, "one");
	assert_non_null(strstr(read_line(fixture), "one"));
	close(fixture->reader);
	fixture->reader = reader_open(fixture);
	syslog_socket_write(&fixture->log, fixture->path, LOG_INFO, "two");
	assert_non_null(strstr(read_line(fixture), "two"));
}

static void nobody_listens(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->reader);
	fixture->reader = -1;
	(void)unlink(fixture->path);
	syslog_socket_write(&fixture->log, fixture->path, LOG_INFO, "lost");
	assert_int_equal(fixture->log.dropped, 1);
	assert_int_equal(fixture->log.fd, -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(line_has_the_form_of_syslog),
	    TEST(long_line_is_cut),
	    TEST(full_socket_never_blocks_and_is_told_of),
	    TEST(reader_that_restarts_is_found_again),
	    TEST(nobody_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
