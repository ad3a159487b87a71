/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include <qb/qblog.h>

#define OWN_FUNCTION   "mirrorlogd" /* what the filters know our lines by */
#define LINE_BYTES     501
#define BLACKBOX_BYTES (512 * 1024)

static pthread_mutex_t line_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool stderr_at_start; /* a process has one log */

/* Our own lines down to `priority`; of libqb, which logs each ring buffer, what is wrong only. */
static int target_filter(int32_t target, uint8_t priority)
{
	int error = qb_log_filter_ctl(target, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_WARNING);

	if (error == 0)
		error = qb_log_filter_ctl(target, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FUNCTION, OWN_FUNCTION,
					  priority);
	return error;
}

/* The flight recorder lies in /dev/shm: a host without room there still gets its daemon. */
static void blackbox_start(void)
{
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

int log_start(bool to_stderr)
{
	int error;

	qb_log_init("mirrorlogd", LOG_DAEMON, LOG_INFO);
	(void)qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	qb_log_format_set(QB_LOG_STDERR, to_stderr ? "%T %7p %b" : "mirrorlogd: %b");
	error = target_start(QB_LOG_STDERR, to_stderr ? LOG_DEBUG : LOG_WARNING);
	if (error == 0 && !to_stderr)
		error = target_start(QB_LOG_SYSLOG, LOG_INFO);
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

int log_thread_start(void)
{
	int error = qb_log_thread_start();

	/* Not before: libqb takes the lock of that thread for a threaded target, whether it exists or not. */
	if (error == 0 && qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_STATE_GET, 0) == QB_LOG_STATE_ENABLED)
		error = qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_THREADED, QB_TRUE);
	return error;
}

void log_stop(void)
{
	qb_log_fini();
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
	ssize_t written = qb_log_blackbox_write_to_file(path);

	return written < 0 ? (int)written : 0;
}
