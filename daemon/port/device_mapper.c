/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/device_mapper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/port/log.h"
#include "daemon/port/table_list.h"
#include "daemon/port/worker.h"

#define RETRY_NS UINT64_C(1000000000)

struct device_mapper {
	struct port_config config;
	struct worker_hub *hub;
	struct worker *worker;
	unsigned asked_again;	    /* asks that failed and wait for the timer */
	qb_loop_timer_handle timer; /* runs while asked_again > 0 */
	int last_error;		    /* of an ask; each kind of trouble is logged once */
};

struct mapper_job {
	struct job job;
	struct device_mapper *mapper;
	struct mirror_table *tables;
	size_t table_count;
	uint64_t asked_ns; /* CLOCK_BOOTTIME, as the events' */
	int error;
	/* A question for one log: */
	char uuid[LOG_UUID_BYTES];
	device_mapper_found_fn found_fn; /* NULL: ask for all */
	void *context;
};

static void mapper_job_free(struct job *job)
{
	struct mapper_job *mapper_job = (struct mapper_job *)job;

	free(mapper_job->tables);
	free(mapper_job);
}

static void mapper_job_run(struct job *job)
{
	struct mapper_job *mapper_job = (struct mapper_job *)job;

	struct timespec now = {0};

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	mapper_job->asked_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
	mapper_job->error = table_list_read(mapper_job->mapper->config.tables_dir, &mapper_job->tables,
					    &mapper_job->table_count);
}

static struct mapper_job *mapper_job_new(struct device_mapper *mapper, void (*finish_fn)(struct job *job))
{
	struct mapper_job *job = port_alloc(sizeof(*job));

	job->job.run_fn = mapper_job_run;
	job->job.finish_fn = finish_fn;
	job->mapper = mapper;
	return job;
}

static void tables_tell(const struct mapper_job *job)
{
	struct table *tables = port_alloc((job->table_count + 1) * sizeof(*tables));
	struct event event = {
	    .type = EVENT_TABLES,
	    .tables = {.tables = tables, .count = job->table_count, .asked_ns = job->asked_ns},
	};

	for (size_t i = 0; i < job->table_count; i++) {
		tables[i] = (struct table){
		    .uuid = job->tables[i].uuid,
		    .live = job->tables[i].live,
		    .suspended = job->tables[i].suspended,
		};
	}
	event_sink_post(&job->mapper->config.sink, &event);
	free(tables);
}

static void retry(void *context)
{
	struct device_mapper *mapper = context;
	unsigned count = mapper->asked_again;

	mapper->asked_again = 0;
	while (count-- > 0)
		device_mapper_ask(mapper);
}

static void ask_again(struct device_mapper *mapper, int error)
{
	if (error != mapper->last_error)
		log_write(LOG_ERR, "cannot ask device-mapper for its tables: %s; trying again",
			  strerror(-error));
	if (mapper->asked_again++ == 0 &&
	    qb_loop_timer_add(mapper->config.loop, QB_LOOP_MED, RETRY_NS, mapper, retry, &mapper->timer))
		abort(); /* out of memory; see port_alloc() */
}

static void ask_finish(struct job *job)
{
	struct mapper_job *mapper_job = (struct mapper_job *)job;
	struct device_mapper *mapper = mapper_job->mapper;

	if (mapper_job->error && mapper_job->error != -ENODEV)
		ask_again(mapper, mapper_job->error);
	else
		tables_tell(mapper_job);
	mapper->last_error = mapper_job->error;
	mapper_job_free(job);
}

void device_mapper_ask(struct device_mapper *mapper)
{
	worker_submit(mapper->worker, &mapper_job_new(mapper, ask_finish)->job);
}

static void find_finish(struct job *job)
{
	struct mapper_job *mapper_job = (struct mapper_job *)job;
	const struct mirror_table *found = NULL;
	int error = mapper_job->error;

	for (size_t i = 0; !error && i < mapper_job->table_count && !found; i++) {
		const struct mirror_table *table = &mapper_job->tables[i];

		if (table->live && !strcmp(table->uuid, mapper_job->uuid))
			found = table;
	}
	if (!error && !found)
		error = -ENODEV;
	mapper_job->found_fn(mapper_job->context, error, found);
	mapper_job_free(job);
}

void device_mapper_find(struct device_mapper *mapper, const char *uuid, device_mapper_found_fn found_fn,
			void *context)
{
	struct mapper_job *job = mapper_job_new(mapper, find_finish);

	port_copy_uuid(job->uuid, uuid);
	job->found_fn = found_fn;
	job->context = context;
	worker_submit(mapper->worker, &job->job);
}

int device_mapper_open(const struct port_config *config, struct device_mapper **ret_mapper)
{
	struct device_mapper *mapper = port_alloc(sizeof(*mapper));
	int error;

	mapper->config = *config;
	error = worker_hub_open(config->loop, &mapper->hub);
	if (!error) {
		error = worker_start(mapper->hub, "device-mapper", &mapper->worker);
		if (error)
			worker_hub_close(mapper->hub, mapper_job_free);
	}
	if (error) {
		free(mapper);
		return error;
	}
	*ret_mapper = mapper;
	return 0;
}

void device_mapper_close(struct device_mapper *mapper)
{
	if (!mapper)
		return;
	worker_stop(mapper->worker);
	worker_hub_close(mapper->hub, mapper_job_free);
	if (mapper->asked_again > 0)
		qb_loop_timer_del(mapper->config.loop, mapper->timer);
	free(mapper);
}
