/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads for calls that can block, and the way back to the loop.
 *
 * A job is done by a worker's thread, then finished by the loop. A worker does its jobs one after the other,
 * in the order in which they were submitted, and they are finished in that order too. All functions are for
 * the thread of the loop, except where said.
 */
#ifndef DAEMON_PORT_WORKER_H
#define DAEMON_PORT_WORKER_H

#include <stdbool.h>
#include <sys/queue.h>

#include <qb/qbloop.h>

struct worker_hub; /* where the jobs of any number of workers come back */
struct worker;	   /* one thread */

/* Embed it in what the job is about. Owned by the worker from submit until finish_fn is called. */
struct job {
	STAILQ_ENTRY(job) entry;
	void (*run_fn)(struct job *job);    /* in the worker's thread; may block */
	void (*finish_fn)(struct job *job); /* in the loop; gives the job back, may free it */
};

/* Returns 0 or a negative errno. */
int worker_hub_open(qb_loop_t *loop, struct worker_hub **ret_hub);

/* Finish a job that no worker has to run (run_fn is not used): for answers that are known at once but must
 * not come from inside the call. */
void worker_hub_post(struct worker_hub *hub, struct job *job);

/*
 * Wait for all workers of the hub, also those being stopped, then close it. Jobs that were not finished by
 * then are handed to discard_fn, which frees them. Workers must have been stopped.
 */
void worker_hub_close(struct worker_hub *hub, void (*discard_fn)(struct job *job));

/* Start a thread, named for ps(1) (15 bytes at most). All signals are blocked in it. Returns 0 or a negative
 * errno. */
int worker_start(struct worker_hub *hub, const char *name, struct worker **ret_worker);
void worker_submit(struct worker *worker, struct job *job);

/* Wait until the worker has nothing to do. False: it still has after that time. */
bool worker_wait_idle(struct worker *worker, unsigned timeout_ms);

/* The thread ends when all that was submitted is done; the worker belongs to itself from here on. Never
 * blocks. NULL is allowed. */
void worker_stop(struct worker *worker);

#endif
