/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/log_disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "daemon/port/block_device.h"
#include "daemon/port/log.h"
#include "daemon/port/worker.h"
#include "daemon/port/write_lock.h"

/* What we like to write at least: disks that claim 512 bytes often are 4096 inside, and read before they
 * write less. */
#define PREFERRED_BLOCK_BYTES 4096u
/* How often it is looked whether a write of a killed daemon has ended. */
#define FORMER_POLL_NS 50000000

/* The open device; belongs to the worker's thread. */
struct disk {
	int fd;	     /* -1: not open */
	int lock_fd; /* of write_lock.h, -1: nothing was written yet */
	uint32_t major, minor;
	uint32_t logical_bytes;
	uint64_t size_bytes;
};

struct log_disk {
	LIST_ENTRY(log_disk) entry;
	uint32_t log;
	struct worker *worker;
	struct disk *disk;
};

struct log_disks {
	struct port_config config;
	atomic_bool closing;
	struct worker_hub *hub;
	LIST_HEAD(, log_disk) list;
};

struct disk_job {
	struct job job;
	struct log_disks *disks;
	struct disk *disk;
	enum effect_type type;
	uint32_t log;
	char uuid[LOG_UUID_BYTES];
	uint64_t token;
	uint32_t major, minor;
	uint8_t *buffer; /* aligned: what was read, or is to be written */
	size_t size;
	struct device_extent *extents;
	size_t extent_count;
	uint32_t block_bytes;
	int error;
};

static void disk_job_free(struct job *job)
{
	struct disk_job *disk_job = (struct disk_job *)job;

	free(disk_job->buffer);
	free(disk_job->extents);
	free(disk_job);
}

static void disk_close(struct disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
}

static int disk_open(struct disk *disk, uint32_t major, uint32_t minor, const char *scratch_dir)
{
	int error;

	if (disk->fd >= 0 && disk->major == major && disk->minor == minor)
		return 0;
	disk_close(disk);
	error = block_device_open(major, minor, O_RDWR | O_DIRECT, scratch_dir, &disk->fd);
	if (error) {
		disk->fd = -1;
		return error;
	}
	disk->major = major;
	disk->minor = minor;
	error = block_device_geometry(disk->fd, &disk->size_bytes, &disk->logical_bytes);
	if (error)
		disk_close(disk);
	return error;
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static uint32_t disk_block_bytes(const struct disk *disk, size_t size)
{
	if (disk->logical_bytes >= PREFERRED_BLOCK_BYTES ||
	    round_up(size, PREFERRED_BLOCK_BYTES) > disk->size_bytes)
		return disk->logical_bytes;
	return PREFERRED_BLOCK_BYTES;
}

static int disk_read(struct disk_job *job)
{
	struct disk *disk = job->disk;
	uint64_t direct_bytes;
	int error = disk_open(disk, job->major, job->minor, job->disks->config.run_dir);

	if (error)
		return error;
	job->block_bytes = disk_block_bytes(disk, job->size);
	if (job->size > disk->size_bytes)
		job->size = (size_t)disk->size_bytes;
	direct_bytes = round_up(job->size, disk->logical_bytes);
	job->buffer = block_device_buffer(direct_bytes);
	if (!job->buffer)
		return -ENOMEM;
	return block_device_read(disk->fd, job->buffer, direct_bytes, 0);
}

static int extents_write(struct disk_job *job)
{
	const uint8_t *at = job->buffer;
	int error;

	for (size_t i = 0; i < job->extent_count; i++) {
		const struct device_extent *extent = &job->extents[i];

		error = block_device_write(job->disk->fd, at, extent->size_bytes, extent->offset_bytes);
		if (error)
			return error;
		at += extent->size_bytes;
	}
	return fdatasync(job->disk->fd) ? -errno : 0;
}

static int disk_write(struct disk_job *job)
{
	struct disk *disk = job->disk;
	int error;

	if (disk->fd < 0)
		return -EBADF;
	if (!job->buffer)
		return -ENOMEM;
	if (disk->lock_fd < 0)
		disk->lock_fd = write_lock_open(job->disks->config.run_dir, WRITE_LOCK_DEVICE, job->uuid);
	error = disk->lock_fd < 0 ? disk->lock_fd : write_lock_take(disk->lock_fd);
	if (error)
		return error;
	error = extents_write(job);
	write_lock_give(disk->lock_fd);
	return error;
}

/* An orderly stop does not wait for the end of somebody else. */
static void former_wait(const struct disk_job *job)
{
	const struct timespec pause = {.tv_nsec = FORMER_POLL_NS};
	enum write_lock_kind kind = job->type == EFFECT_REPAIR_WAIT ? WRITE_LOCK_LEGS : WRITE_LOCK_DEVICE;

	while (!atomic_load(&job->disks->closing) &&
	       write_lock_held(job->disks->config.run_dir, kind, job->uuid))
		nanosleep(&pause, NULL);
}

static void disk_job_run(struct job *job)
{
	struct disk_job *disk_job = (struct disk_job *)job;

	if (disk_job->type == EFFECT_DEVICE_READ) {
		disk_job->error = disk_read(disk_job);
	} else if (disk_job->type == EFFECT_DEVICE_WRITE) {
		disk_job->error = disk_write(disk_job);
	} else if (disk_job->type == EFFECT_DEVICE_WAIT) {
		former_wait(disk_job);
	} else if (disk_job->type == EFFECT_REPAIR_WAIT) {
		former_wait(disk_job);
		disk_job->error = -ECANCELED; /* nobody knows how it ended */
	} else {
		disk_close(disk_job->disk);
		if (disk_job->disk->lock_fd >= 0)
			close(disk_job->disk->lock_fd);
		free(disk_job->disk);
	}
}

static void disk_job_finish(struct job *job)
{
	struct disk_job *disk_job = (struct disk_job *)job;
	bool read = disk_job->type == EFFECT_DEVICE_READ;
	bool copy = disk_job->type == EFFECT_REPAIR_WAIT;

	if (disk_job->type != EFFECT_DEVICE_CLOSE) {
		struct event event = {
		    .type = read   ? EVENT_DEVICE_READ
			    : copy ? EVENT_REPAIRED
				   : EVENT_DEVICE_WRITTEN,
		    .io = {.log = disk_job->log, .token = disk_job->token, .error = disk_job->error},
		};

		if (read && !disk_job->error) {
			event.io.bytes = disk_job->buffer;
			event.io.size = disk_job->size;
			event.io.block_bytes = disk_job->block_bytes;
		}
		event_sink_post(&disk_job->disks->config.sink, &event);
	}
	disk_job_free(job);
}

int log_disks_open(const struct port_config *config, struct log_disks **ret_disks)
{
	struct log_disks *disks = port_alloc(sizeof(*disks));
	int error;

	disks->config = *config;
	LIST_INIT(&disks->list);
	error = worker_hub_open(config->loop, &disks->hub);
	if (error) {
		free(disks);
		return error;
	}
	*ret_disks = disks;
	return 0;
}

static struct log_disk *log_disk_find(struct log_disks *disks, uint32_t log)
{
	struct log_disk *log_disk;

	LIST_FOREACH(log_disk, &disks->list, entry)
	{
		if (log_disk->log == log)
			return log_disk;
	}
	return NULL;
}

/* The log's disk, made when it is not there. Returns 0 or a negative errno. */
static int log_disk_need(struct log_disks *disks, uint32_t log, struct log_disk **ret_log_disk)
{
	struct log_disk *log_disk = log_disk_find(disks, log);
	char name[16];
	int error;

	if (!log_disk) {
		log_disk = port_alloc(sizeof(*log_disk));
		snprintf(name, sizeof(name), "log-disk-%u", log % 100000);
		error = worker_start(disks->hub, name, &log_disk->worker);
		if (error) {
			free(log_disk);
			return error;
		}
		log_disk->log = log;
		log_disk->disk = port_alloc(sizeof(*log_disk->disk));
		log_disk->disk->fd = log_disk->disk->lock_fd = -1;
		LIST_INSERT_HEAD(&disks->list, log_disk, entry);
	}
	*ret_log_disk = log_disk;
	return 0;
}

static struct disk_job *disk_job_new(struct log_disks *disks, const struct effect *effect)
{
	struct disk_job *job = port_alloc(sizeof(*job));

	job->job.run_fn = disk_job_run;
	job->job.finish_fn = disk_job_finish;
	job->disks = disks;
	job->type = effect->type;
	job->log = effect->log;
	job->token = effect->token;
	if (effect->uuid)
		port_copy_uuid(job->uuid, effect->uuid);
	return job;
}

static void log_disk_close(struct log_disk *log_disk, struct disk_job *job, unsigned wait_ms)
{
	job->disk = log_disk->disk;
	worker_submit(log_disk->worker, &job->job);
	if (wait_ms > 0 && !worker_wait_idle(log_disk->worker, wait_ms))
		log_write(LOG_WARNING, "closing a log device takes long; going on without waiting");
	worker_stop(log_disk->worker);
	LIST_REMOVE(log_disk, entry);
	free(log_disk);
}

static void disk_job_take(struct disk_job *job, const struct effect *effect)
{
	if (effect->type == EFFECT_DEVICE_READ) {
		job->major = effect->device_read.major;
		job->minor = effect->device_read.minor;
		job->size = effect->device_read.size;
		return;
	}
	if (effect->type == EFFECT_DEVICE_WAIT || effect->type == EFFECT_REPAIR_WAIT)
		return;
	job->extent_count = effect->device_write.extent_count;
	job->extents = port_alloc((job->extent_count + 1) * sizeof(*job->extents));
	if (job->extent_count > 0)
		memcpy(job->extents, effect->device_write.extents, job->extent_count * sizeof(*job->extents));
	job->buffer = block_device_buffer(effect->device_write.data_bytes);
	if (job->buffer && effect->device_write.data_bytes > 0)
		memcpy(job->buffer, effect->device_write.data, effect->device_write.data_bytes);
}

void log_disks_perform(struct log_disks *disks, const struct effect *effect)
{
	struct disk_job *job;
	struct log_disk *log_disk;

	if (effect->type == EFFECT_DEVICE_CLOSE) {
		log_disk = log_disk_find(disks, effect->log);
		if (log_disk)
			log_disk_close(log_disk, disk_job_new(disks, effect), LOG_DISK_CLOSE_WAIT_MS);
		return;
	}
	assert(effect->type == EFFECT_DEVICE_READ || effect->type == EFFECT_DEVICE_WRITE ||
	       effect->type == EFFECT_DEVICE_WAIT || effect->type == EFFECT_REPAIR_WAIT);
	job = disk_job_new(disks, effect);
	disk_job_take(job, effect);
	job->error = log_disk_need(disks, effect->log, &log_disk);
	/* Whether a killed daemon's I/O has ended cannot be found out: it counts as in flight (hazard A14).
	 */
	if (job->error && (effect->type == EFFECT_DEVICE_WAIT || effect->type == EFFECT_REPAIR_WAIT)) {
		log_write(LOG_ERR, "the end of a former daemon's I/O cannot be waited for: %s",
			  strerror(-job->error));
		disk_job_free(&job->job);
		return;
	}
	if (job->error) {
		worker_hub_post(disks->hub, &job->job);
		return;
	}
	job->disk = log_disk->disk;
	worker_submit(log_disk->worker, &job->job);
}

void log_disks_close(struct log_disks *disks)
{
	static const struct effect close_effect = {.type = EFFECT_DEVICE_CLOSE};
	struct log_disk *log_disk;

	if (!disks)
		return;
	atomic_store(&disks->closing, true);
	while ((log_disk = LIST_FIRST(&disks->list)))
		log_disk_close(log_disk, disk_job_new(disks, &close_effect), 0);
	worker_hub_close(disks->hub, disk_job_free);
	free(disks);
}
