/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/port/port.h"

STAILQ_HEAD(job_list, job);

struct worker_hub {
	qb_loop_t *loop;
	int wake_fd; /* eventfd(2) */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job_list finished;
	unsigned worker_count;
};

struct worker {
	struct worker_hub *hub;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job_list queue;
	bool busy, stopping;
};

static void hub_wake(struct worker_hub *hub)
{
	uint64_t one = 1;

	/* Fails only with EAGAIN, when the counter is at its end: then the loop is woken anyway. */
	while (write(hub->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void worker_hub_post(struct worker_hub *hub, struct job *job)
{
	pthread_mutex_lock(&hub->lock);
	STAILQ_INSERT_TAIL(&hub->finished, job, entry);
	pthread_mutex_unlock(&hub->lock);
	hub_wake(hub);
}

static struct job *hub_take(struct worker_hub *hub)
{
	struct job *job;

	pthread_mutex_lock(&hub->lock);
	job = STAILQ_FIRST(&hub->finished);
	if (job)
		STAILQ_REMOVE_HEAD(&hub->finished, entry);
	pthread_mutex_unlock(&hub->lock);
	return job;
}

static int32_t hub_dispatch(int32_t fd, int32_t revents, void *context)
{
	struct worker_hub *hub = context;
	uint64_t count;
	struct job *job;

	(void)revents;
	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	while ((job = hub_take(hub)))
		job->finish_fn(job);
	return 0;
}

int worker_hub_open(qb_loop_t *loop, struct worker_hub **ret_hub)
{
	struct worker_hub *hub = port_alloc(sizeof(*hub));
	int error;

	hub->loop = loop;
	STAILQ_INIT(&hub->finished);
	pthread_mutex_init(&hub->lock, NULL);
	pthread_cond_init(&hub->changed, NULL);
	hub->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = hub->wake_fd < 0 ? -errno : 0;
	if (!error)
		error = qb_loop_poll_add(loop, QB_LOOP_MED, hub->wake_fd, POLLIN, hub, hub_dispatch);
	if (error) {
		if (hub->wake_fd >= 0)
			close(hub->wake_fd);
		free(hub);
		return error;
	}
	*ret_hub = hub;
	return 0;
}

void worker_hub_close(struct worker_hub *hub, void (*discard_fn)(struct job *job))
{
	struct job *job;

	pthread_mutex_lock(&hub->lock);
	while (hub->worker_count > 0)
		pthread_cond_wait(&hub->changed, &hub->lock);
	pthread_mutex_unlock(&hub->lock);
	while ((job = hub_take(hub)))
		discard_fn(job);
	qb_loop_poll_del(hub->loop, hub->wake_fd);
	close(hub->wake_fd);
	pthread_cond_destroy(&hub->changed);
	pthread_mutex_destroy(&hub->lock);
	free(hub);
}

/* The next job, or NULL when the worker has to end. */
static struct job *worker_next(struct worker *worker)
{
	struct job *job;

	pthread_mutex_lock(&worker->lock);
	worker->busy = false;
	pthread_cond_broadcast(&worker->changed);
	while (STAILQ_EMPTY(&worker->queue) && !worker->stopping)
		pthread_cond_wait(&worker->changed, &worker->lock);
	job = STAILQ_FIRST(&worker->queue);
	if (job) {
		STAILQ_REMOVE_HEAD(&worker->queue, entry);
		worker->busy = true;
	}
	pthread_mutex_unlock(&worker->lock);
	return job;
}

static void worker_free(struct worker *worker)
{
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

static void *worker_main(void *context)
{
	struct worker *worker = context;
	struct worker_hub *hub = worker->hub;
	struct job *job;

	while ((job = worker_next(worker))) {
		job->run_fn(job);
		worker_hub_post(hub, job);
	}
	worker_free(worker);
	pthread_mutex_lock(&hub->lock);
	hub->worker_count--;
	pthread_cond_broadcast(&hub->changed);
	pthread_mutex_unlock(&hub->lock);
	return NULL;
}

/* A detached thread. Returns 0 or a negative errno. */
static int worker_spawn(struct worker *worker, const char *name)
{
	pthread_t thread;
	int error = port_thread_start(worker_main, worker, &thread);

	if (error)
		return error;
	pthread_setname_np(thread, name);
	pthread_detach(thread);
	return 0;
}

int worker_start(struct worker_hub *hub, const char *name, struct worker **ret_worker)
{
	struct worker *worker = port_alloc(sizeof(*worker));
	pthread_condattr_t monotonic;
	int error;

	worker->hub = hub;
	STAILQ_INIT(&worker->queue);
	pthread_mutex_init(&worker->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&worker->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_lock(&hub->lock);
	hub->worker_count++;
	pthread_mutex_unlock(&hub->lock);
	error = worker_spawn(worker, name);
	if (error) {
		pthread_mutex_lock(&hub->lock);
		hub->worker_count--;
		pthread_mutex_unlock(&hub->lock);
		worker_free(worker);
		return error;
	}
	*ret_worker = worker;
	return 0;
}

void worker_submit(struct worker *worker, struct job *job)
{
	pthread_mutex_lock(&worker->lock);
	STAILQ_INSERT_TAIL(&worker->queue, job, entry);
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

bool worker_wait_idle(struct worker *worker, unsigned timeout_ms)
{
	struct timespec end;
	bool idle;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
	if (end.tv_nsec >= 1000000000L) {
		end.tv_nsec -= 1000000000L;
		end.tv_sec++;
	}
	pthread_mutex_lock(&worker->lock);
	while (worker->busy || !STAILQ_EMPTY(&worker->queue)) {
		if (pthread_cond_timedwait(&worker->changed, &worker->lock, &end) == ETIMEDOUT)
			break;
	}
	idle = !worker->busy && STAILQ_EMPTY(&worker->queue);
	pthread_mutex_unlock(&worker->lock);
	return idle;
}

void worker_stop(struct worker *worker)
{
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->stopping = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}
