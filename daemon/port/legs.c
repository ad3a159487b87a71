/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/legs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/port/leg_set.h"
#include "daemon/port/log.h"
#include "daemon/port/wake.h"
#include "daemon/port/worker.h"
#include "daemon/port/write_lock.h"

struct leg_job;
struct finding;
STAILQ_HEAD(leg_job_list, leg_job);

/* The mirror of one log. `set` belongs to the thread once a job was submitted. */
struct mirror {
	LIST_ENTRY(mirror) entry;
	struct legs *legs;
	char uuid[LOG_UUID_BYTES];
	struct worker *worker;
	struct leg_set *set;	       /* NULL: the table is not known */
	const struct finding *finding; /* the look for the table that is under way; NULL: none */
	struct leg_job_list waiting;   /* for the table */
};

struct legs {
	struct port_config config;
	struct device_mapper *mapper;
	struct worker_hub *hub;
	struct wakes *wakes;
	LIST_HEAD(, mirror) mirrors;
	LIST_HEAD(, finding) findings;
	bool told_no_mapper;
};

enum leg_work { LEG_FLUSH, LEG_COPY, LEG_CLOSE };

struct leg_job {
	struct job job;
	STAILQ_ENTRY(leg_job) entry;
	struct legs *legs;
	struct leg_set *set;
	enum leg_work work;
	uint32_t log;
	uint64_t token;
	uint64_t first_sector, sectors;
	char uuid[LOG_UUID_BYTES];
	int error;
};

static struct mirror *mirror_find(struct legs *legs, const char *uuid)
{
	struct mirror *mirror;

	LIST_FOREACH(mirror, &legs->mirrors, entry)
	{
		if (!strcmp(mirror->uuid, uuid))
			return mirror;
	}
	return NULL;
}

/* A successor of this daemon has to know of it, should it be killed and hang in a leg. Where the run
 * directory has no room for the lock no leg has failed: it is left for later. */
static int leg_job_do(struct leg_job *job)
{
	bool copy = job->work == LEG_COPY;
	int fd =
	    write_lock_open(job->legs->config.run_dir, copy ? WRITE_LOCK_LEGS : WRITE_LOCK_FLUSH, job->uuid);
	int error = -ECANCELED;

	if (fd < 0)
		return error;
	if (!write_lock_take(fd)) {
		error =
		    copy ? leg_set_copy(job->set, job->first_sector, job->sectors) : leg_set_flush(job->set);
		write_lock_give(fd); /* a child may have the descriptor, too */
	}
	close(fd);
	return error;
}

static void leg_job_run(struct job *job)
{
	struct leg_job *leg_job = (struct leg_job *)job;

	switch (leg_job->work) {
	case LEG_FLUSH:
	case LEG_COPY: leg_job->error = leg_job_do(leg_job); break;
	case LEG_CLOSE:
		leg_set_close(leg_job->set);
		free(leg_job->set);
		break;
	}
}

static void leg_job_free(struct job *job)
{
	free((struct leg_job *)job);
}

static struct leg_job *leg_job_new(struct legs *legs, enum leg_work work, const char *uuid);

/* Give the set back to its thread to close it; the next job looks for the table again. */
static void mirror_forget_set(struct mirror *mirror)
{
	struct leg_job *job;

	if (!mirror->set)
		return;
	job = leg_job_new(mirror->legs, LEG_CLOSE, mirror->uuid);
	job->set = mirror->set;
	mirror->set = NULL;
	worker_submit(mirror->worker, &job->job);
}

static void leg_job_finish(struct job *job)
{
	struct leg_job *leg_job = (struct leg_job *)job;
	struct event event = {
	    .type = leg_job->work == LEG_COPY ? EVENT_REPAIRED : EVENT_LEGS_FLUSHED,
	    .io = {.log = leg_job->log, .token = leg_job->token, .error = leg_job->error},
	};
	struct mirror *mirror = mirror_find(leg_job->legs, leg_job->uuid);

	if (leg_job->work != LEG_CLOSE) {
		/* The table may be another one by now, or a leg may be back under another number. */
		if (leg_job->error && mirror && mirror->set && mirror->set == leg_job->set)
			mirror_forget_set(mirror);
		event_sink_post(&leg_job->legs->config.sink, &event);
	}
	free(leg_job);
}

static struct leg_job *leg_job_new(struct legs *legs, enum leg_work work, const char *uuid)
{
	struct leg_job *job = port_alloc(sizeof(*job));

	job->job.run_fn = leg_job_run;
	job->job.finish_fn = leg_job_finish;
	job->legs = legs;
	job->work = work;
	port_copy_uuid(job->uuid, uuid);
	return job;
}

/* Stop the thread after what it has to do. */
static void mirror_close(struct mirror *mirror, unsigned wait_ms)
{
	struct leg_job *job;

	while ((job = STAILQ_FIRST(&mirror->waiting))) {
		STAILQ_REMOVE_HEAD(&mirror->waiting, entry);
		job->error = -ECANCELED;
		worker_hub_post(mirror->legs->hub, &job->job);
	}
	mirror_forget_set(mirror);
	if (mirror->worker && wait_ms > 0 && !worker_wait_idle(mirror->worker, wait_ms))
		log_write(LOG_WARNING, "closing the legs of %s takes long; going on without waiting",
			  mirror->uuid);
	worker_stop(mirror->worker);
	LIST_REMOVE(mirror, entry);
	free(mirror);
}

/* --- finding the table --- */

struct finding {
	LIST_ENTRY(finding) entry;
	struct legs *legs;
	char uuid[LOG_UUID_BYTES];
	uint32_t log; /* EFFECT_LEGS_OPEN */
	uint64_t token;
};

static struct finding *finding_new(struct legs *legs, const char *uuid)
{
	struct finding *finding = port_alloc(sizeof(*finding));

	finding->legs = legs;
	port_copy_uuid(finding->uuid, uuid);
	LIST_INSERT_HEAD(&legs->findings, finding, entry);
	return finding;
}

static void finding_free(struct finding *finding)
{
	LIST_REMOVE(finding, entry);
	free(finding);
}

static void legs_tell_no_mapper(struct legs *legs, int error)
{
	if (error != -ENODEV || legs->told_no_mapper)
		return;
	legs->told_no_mapper = true;
	log_write(LOG_WARNING,
		  "device-mapper has no live mirror of a log whose legs are to be flushed: its regions stay "
		  "dirty (said once)");
}

static void mirror_set_found(struct mirror *mirror, int error, const struct mirror_table *table)
{
	struct leg_job *job;

	if (!error && !mirror->worker)
		error = worker_start(mirror->legs->hub, "legs", &mirror->worker);
	if (error) {
		legs_tell_no_mapper(mirror->legs, error);
	} else {
		mirror->set = port_alloc(sizeof(*mirror->set));
		leg_set_init(mirror->set, table, mirror->legs->config.run_dir);
	}
	while ((job = STAILQ_FIRST(&mirror->waiting))) {
		STAILQ_REMOVE_HEAD(&mirror->waiting, entry);
		job->set = mirror->set;
		job->error = error;
		if (error)
			worker_hub_post(mirror->legs->hub, &job->job);
		else
			worker_submit(mirror->worker, &job->job);
	}
}

static void table_found(void *context, int error, const struct mirror_table *table)
{
	struct finding *finding = context;
	struct mirror *mirror = mirror_find(finding->legs, finding->uuid);

	/* Closed meanwhile, perhaps made anew: then this was the table of before, and another answer is on
	 * its way. */
	if (mirror && mirror->finding == finding) {
		mirror->finding = NULL;
		mirror_set_found(mirror, error, table);
	}
	finding_free(finding);
}

static struct mirror *mirror_need(struct legs *legs, const char *uuid)
{
	struct mirror *mirror = mirror_find(legs, uuid);

	if (!mirror) {
		mirror = port_alloc(sizeof(*mirror));
		mirror->legs = legs;
		port_copy_uuid(mirror->uuid, uuid);
		STAILQ_INIT(&mirror->waiting);
		LIST_INSERT_HEAD(&legs->mirrors, mirror, entry);
	}
	return mirror;
}

static void mirror_find_table(struct mirror *mirror)
{
	struct finding *finding;

	if (mirror->set || mirror->finding)
		return;
	finding = finding_new(mirror->legs, mirror->uuid);
	mirror->finding = finding;
	device_mapper_find(mirror->legs->mapper, mirror->uuid, table_found, finding);
}

static void legs_work(struct legs *legs, const struct effect *effect)
{
	struct mirror *mirror = mirror_need(legs, effect->uuid);
	struct leg_job *job =
	    leg_job_new(legs, effect->type == EFFECT_REPAIR ? LEG_COPY : LEG_FLUSH, effect->uuid);

	job->log = effect->log;
	job->token = effect->token;
	if (job->work == LEG_COPY) {
		job->first_sector = effect->repair.first_sector;
		job->sectors = effect->repair.sectors;
	}
	if (mirror->set) {
		job->set = mirror->set;
		worker_submit(mirror->worker, &job->job);
		return;
	}
	STAILQ_INSERT_TAIL(&mirror->waiting, job, entry);
	mirror_find_table(mirror);
}

static void opened_found(void *context, int error, const struct mirror_table *table)
{
	struct finding *finding = context;
	struct event event = {.type = EVENT_LEGS_OPENED};

	event.legs.log = finding->log;
	event.legs.token = finding->token;
	event.legs.handles_errors = !error && table->handles_errors;
	event_sink_post(&finding->legs->config.sink, &event);
	finding_free(finding);
}

static void legs_find(struct legs *legs, const struct effect *effect)
{
	struct finding *finding = finding_new(legs, effect->uuid);
	struct mirror *mirror = mirror_need(legs, effect->uuid);

	finding->log = effect->log;
	finding->token = effect->token;
	device_mapper_find(legs->mapper, effect->uuid, opened_found, finding);
	/* Whatever is known is of the table before, whose suspend may never have been heard of (hazard B3).
	 */
	mirror_forget_set(mirror);
	mirror->finding = NULL;
	mirror_find_table(mirror);
}

/* --- waking the kernel --- */

static void wake_found(void *context, int error, const struct mirror_table *table)
{
	struct finding *finding = context;
	struct legs *legs = finding->legs;

	if (!error)
		error = wakes_read(legs->wakes, table->major, table->minor, table->start_sector,
				   legs->config.run_dir);
	if (error)
		log_write(LOG_NOTICE, "cannot wake the mirror of %s: %s", finding->uuid, strerror(-error));
	finding_free(finding);
}

static void wake_touch(const char *tables_dir, const char *uuid)
{
	char path[512];
	int size, fd;

	size = snprintf(path, sizeof(path), "%s/wake.%s", tables_dir, uuid);
	if (size < 0 || (size_t)size >= sizeof(path) || strchr(uuid, '/'))
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	futimens(fd, NULL);
	close(fd);
}

static void legs_wake(struct legs *legs, const char *uuid)
{
	if (legs->config.tables_dir)
		wake_touch(legs->config.tables_dir, uuid);
	else
		device_mapper_find(legs->mapper, uuid, wake_found, finding_new(legs, uuid));
}

/* --- interface --- */

int legs_open(const struct port_config *config, struct device_mapper *mapper, struct legs **ret_legs)
{
	struct legs *legs = port_alloc(sizeof(*legs));
	int error;

	legs->config = *config;
	legs->mapper = mapper;
	LIST_INIT(&legs->mirrors);
	LIST_INIT(&legs->findings);
	error = worker_hub_open(config->loop, &legs->hub);
	if (error) {
		free(legs);
		return error;
	}
	legs->wakes = wakes_new(config->loop);
	*ret_legs = legs;
	return 0;
}

void legs_perform(struct legs *legs, const struct effect *effect)
{
	struct mirror *mirror;

	assert(effect->uuid);
	switch (effect->type) {
	case EFFECT_LEGS_FLUSH:
	case EFFECT_REPAIR: legs_work(legs, effect); break;
	case EFFECT_LEGS_OPEN: legs_find(legs, effect); break;
	case EFFECT_LEGS_CLOSE:
		mirror = mirror_find(legs, effect->uuid);
		if (mirror)
			mirror_close(mirror, LEGS_CLOSE_WAIT_MS);
		break;
	case EFFECT_WAKE: legs_wake(legs, effect->uuid); break;
	default: assert(false); /* not an effect for the legs */
	}
}

void legs_close(struct legs *legs)
{
	struct mirror *mirror;
	struct finding *finding;

	if (!legs)
		return;
	while ((mirror = LIST_FIRST(&legs->mirrors)))
		mirror_close(mirror, 0);
	worker_hub_close(legs->hub, leg_job_free);
	while ((finding = LIST_FIRST(&legs->findings)))
		finding_free(finding);
	wakes_free(legs->wakes);
	free(legs);
}
