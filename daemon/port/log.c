/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/log.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <qb/qblog.h>

#include "daemon/port/syslog_socket.h"

#define OWN_FUNCTION   "mirrorlogd" /* what the filters know our lines by */
#define LINE_BYTES     501
#define BLACKBOX_BYTES (512 * 1024)

static pthread_mutex_t line_mutex = PTHREAD_MUTEX_INITIALIZER;
/* A process has one log. */
static bool stderr_at_start;
static struct syslog_socket syslog_lines = {.fd = -1};

/* Our own lines down to `priority`; of libqb, which logs each ring buffer, what is wrong only. */
static int target_filter(int32_t target, uint8_t priority)
{
	int error = qb_log_filter_ctl(target, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_WARNING);

	if (error == 0)
		error = qb_log_filter_ctl(target, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FUNCTION, OWN_FUNCTION,
					  priority);
	return error;
}

static bool blackbox_of_dead(const char *file)
{
	int pid, end = 0;

	return sscanf(file, "qb-" OWN_FUNCTION "-%d-blackbox-%n", &pid, &end) == 1 && end > 0 && pid > 0 &&
	       kill(pid, 0) != 0 && errno == ESRCH;
}

/* A daemon that is killed leaves its recorder there, which nobody can read any more: half a MiB of memory for
 * each. */
static void blackboxes_drop(void)
{
	DIR *directory = opendir("/dev/shm");
	const struct dirent *entry;

	if (!directory)
		return;
	while ((entry = readdir(directory)) != NULL)
		if (blackbox_of_dead(entry->d_name))
			(void)unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
}

/* The flight recorder lies in /dev/shm: a host without room there still gets its daemon. */
static void blackbox_start(void)
{
	blackboxes_drop();
	if (qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, BLACKBOX_BYTES) != 0 ||
	    qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE) != 0 ||
	    target_filter(QB_LOG_BLACKBOX, LOG_DEBUG) != 0)
		log_write(LOG_WARNING, "no flight recorder: `mirrorlogctl dump` will have nothing to show");
}

static int target_start(int32_t target, uint8_t priority)
{
	int error;

	qb_log_filter_ctl(target, QB_LOG_FILTER_CLEAR_ALL, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
	error = target_filter(target, priority);
	return error != 0 ? error : qb_log_ctl(target, QB_LOG_CONF_ENABLED, QB_TRUE);
}

static void on_syslog_line(int32_t target, struct qb_log_callsite *site, struct timespec *when,
			   const char *line)
{
	(void)target;
	(void)when;
	syslog_socket_write(&syslog_lines, SYSLOG_SOCKET_PATH, site->priority, line);
}

static int syslog_start(void)
{
	int32_t target = qb_log_custom_open(on_syslog_line, NULL, NULL, NULL);

	if (target < 0)
		return target;
	tzset(); /* reads a file, once */
	syslog_socket_init(&syslog_lines);
	qb_log_format_set(target, "%b");
	return target_start(target, LOG_INFO);
}

int log_start(bool to_stderr)
{
	int error;

	qb_log_init("mirrorlogd", LOG_DAEMON, LOG_INFO);
	(void)qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	qb_log_format_set(QB_LOG_STDERR, to_stderr ? "%T %7p %b" : "mirrorlogd: %b");
	error = target_start(QB_LOG_STDERR, to_stderr ? LOG_DEBUG : LOG_WARNING);
	if (error == 0 && !to_stderr)
		error = syslog_start();
	if (error != 0)
		return -ENOMEM;
	stderr_at_start = !to_stderr;
	blackbox_start();
	return 0;
}

void log_started(void)
{
	if (stderr_at_start)
		(void)qb_log_ctl(QB_LOG_STDERR, QB_LOG_CONF_ENABLED, QB_FALSE);
	stderr_at_start = false;
}

void log_stop(void)
{
	qb_log_fini();
	syslog_socket_close(&syslog_lines);
}

void log_write(int priority, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	/* One call site a priority, whatever the text: libqb filters by call site. It is not made for several
	 * threads. */
	pthread_mutex_lock(&line_mutex);
	qb_log_from_external_source(OWN_FUNCTION, __FILE__, "%s", (uint8_t)priority, 0, 0, line);
	pthread_mutex_unlock(&line_mutex);
}

int log_dump(const char *path)
{
	ssize_t written;

	pthread_mutex_lock(&line_mutex);
	written = qb_log_blackbox_write_to_file(path);
	pthread_mutex_unlock(&line_mutex);
	return written < 0 ? (int)written : 0;
}
