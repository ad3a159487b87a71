/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/connector.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/port/log.h"
#include "daemon/port/port.h"

#define INTERVAL_S	1
#define FREE_PATIENCE_S 1

enum connector_state { CONNECTOR_IDLE, CONNECTOR_TRYING, CONNECTOR_DONE };

struct connector {
	qb_loop_t *loop;
	struct connector_calls calls;
	int event_fd; /* written by the thread when it is done */
	pthread_t thread;
	bool thread_exists;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	enum connector_state state;
	bool stop;
};

static struct timespec deadline_in(time_t seconds)
{
	struct timespec deadline;

	(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += seconds;
	return deadline;
}

/* Returns true when told to stop. */
static bool pause_between_attempts(struct connector *connector)
{
	struct timespec deadline = deadline_in(INTERVAL_S);
	bool stop;

	pthread_mutex_lock(&connector->mutex);
	while (!connector->stop &&
	       pthread_cond_timedwait(&connector->changed, &connector->mutex, &deadline) != ETIMEDOUT)
		;
	stop = connector->stop;
	pthread_mutex_unlock(&connector->mutex);
	return stop;
}

static void *connector_run(void *argument)
{
	struct connector *connector = argument;
	uint64_t one = 1;
	bool stopped = false;

	while (!stopped && connector->calls.attempt(connector->calls.context) != 0)
		stopped = pause_between_attempts(connector);
	pthread_mutex_lock(&connector->mutex);
	connector->state = CONNECTOR_DONE;
	pthread_cond_broadcast(&connector->changed);
	/* The counter of a fresh eventfd has room: this cannot block or fail. */
	if (!stopped && write(connector->event_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		abort();
	pthread_mutex_unlock(&connector->mutex);
	return NULL;
}

static void thread_join(struct connector *connector)
{
	if (connector->thread_exists)
		(void)pthread_join(connector->thread, NULL);
	connector->thread_exists = false;
	connector->state = CONNECTOR_IDLE;
}

static int32_t connector_dispatch(int32_t fd, int32_t revents, void *data)
{
	struct connector *connector = data;
	uint64_t count;

	(void)revents;
	if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return 0;
	thread_join(connector);
	connector->calls.connected(connector->calls.context);
	return 0;
}

static void changed_init(pthread_cond_t *changed)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

struct connector *connector_new(qb_loop_t *loop, const struct connector_calls *calls)
{
	struct connector *connector = calloc(1, sizeof(*connector));

	if (connector == NULL)
		return NULL;
	connector->loop = loop;
	connector->calls = *calls;
	connector->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (connector->event_fd < 0 || qb_loop_poll_add(loop, QB_LOOP_MED, connector->event_fd, POLLIN,
							connector, connector_dispatch) != 0) {
		if (connector->event_fd >= 0)
			close(connector->event_fd);
		free(connector);
		return NULL;
	}
	pthread_mutex_init(&connector->mutex, NULL);
	changed_init(&connector->changed);
	return connector;
}

int connector_start(struct connector *connector)
{
	int error;

	if (connector->thread_exists)
		return 0;
	connector->state = CONNECTOR_TRYING;
	error = port_thread_start(connector_run, connector, &connector->thread);
	connector->thread_exists = error == 0;
	return error;
}

bool connector_free(struct connector *connector)
{
	struct timespec deadline = deadline_in(FREE_PATIENCE_S);
	bool busy;

	(void)qb_loop_poll_del(connector->loop, connector->event_fd);
	pthread_mutex_lock(&connector->mutex);
	connector->stop = true;
	pthread_cond_broadcast(&connector->changed);
	while (connector->state == CONNECTOR_TRYING &&
	       pthread_cond_timedwait(&connector->changed, &connector->mutex, &deadline) != ETIMEDOUT)
		;
	busy = connector->state == CONNECTOR_TRYING;
	pthread_mutex_unlock(&connector->mutex);
	if (busy) {
		/* The thread still uses the connector: it stays until the process ends. */
		log_write(LOG_WARNING, "a connection attempt does not return; not waiting for it");
		return false;
	}
	thread_join(connector);
	close(connector->event_fd);
	pthread_cond_destroy(&connector->changed);
	pthread_mutex_destroy(&connector->mutex);
	free(connector);
	return true;
}
