/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dm.c and dm-ioctl.c as far as a mirror sees them (table_load, do_suspend, do_resume, dev_remove,
 * retrieve_status), and mirror_ctr(), mirror_presuspend(), mirror_postsuspend(), mirror_resume(),
 * mirror_dtr() of dm-raid1.c.
 */
#include "tests/model/kernel_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- tables
 * ------------------------------------------------------------------------------------------------------ */

static luid_t luid_take(struct kernel *kernel)
{
	if (kernel->config.reuse_luids && kernel->free_luid_count)
		return kernel->free_luids[--kernel->free_luid_count];
	kernel->next_luid += 0x40;
	return kernel->next_luid - 0x40;
}

static void luid_give(struct kernel *kernel, luid_t luid)
{
	kernel->free_luids =
	    realloc(kernel->free_luids, (kernel->free_luid_count + 1) * sizeof(*kernel->free_luids));
	if (!kernel->free_luids)
		abort();
	kernel->free_luids[kernel->free_luid_count++] = luid;
}

static char *text_copy(const char *text)
{
	size_t bytes = strlen(text) + 1;

	return memcpy(kernel_alloc(bytes), text, bytes);
}

static struct table *table_new(struct kernel *kernel, unsigned device, const struct kernel_table *line)
{
	struct table *table = kernel_alloc(sizeof(*table));

	table->kernel = kernel;
	table->device = device;
	table->luid = luid_take(kernel);
	table->uuid = text_copy(line->uuid);
	table->log_args = text_copy(line->log_args);
	table->length_sectors = line->length_sectors;
	table->leg_count = line->leg_count;
	table->handle_errors = line->handle_errors;
	table->keep_log = line->keep_log;
	table->log.integrated_flush = line->integrated_flush;
	table->log.flush_deadline_ns = KERNEL_NEVER;
	table->worker.delayed_wake_ns = KERNEL_NEVER;
	int bytes = snprintf(table->constructor, sizeof(table->constructor), "%llu %s",
			     (unsigned long long)line->length_sectors, line->log_args);
	table->constructor_bytes = (size_t)bytes;
	TAILQ_INIT(&table->reads);
	TAILQ_INIT(&table->writes);
	TAILQ_INIT(&table->failures);
	TAILQ_INIT(&table->holds);
	TAILQ_INIT(&table->worker.recovered);
	TAILQ_INIT(&table->worker.failed);
	TAILQ_INIT(&table->worker.clean);
	TAILQ_INIT(&table->worker.reads);
	TAILQ_INIT(&table->worker.writes);
	TAILQ_INIT(&table->worker.failures);
	TAILQ_INIT(&table->worker.sync);
	TAILQ_INIT(&table->worker.nosync);
	TAILQ_INIT(&table->worker.recover);
	TAILQ_INIT(&table->worker.requeue);
	rh_init(table);
	TAILQ_INSERT_TAIL(&kernel->tables, table, link);
	return table;
}

static void bio_list_drop(struct bio_list *list)
{
	struct bio *bio;

	while ((bio = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, bio, link);
		free(bio);
	}
}

void table_free(struct table *table)
{
	struct worker *worker = &table->worker;
	struct bio_list *lists[] = {&table->reads,   &table->writes,   &table->failures,  &table->holds,
				    &worker->reads,  &worker->writes,  &worker->failures, &worker->sync,
				    &worker->nosync, &worker->recover, &worker->requeue};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		bio_list_drop(lists[i]);
	rh_free(table);
	log_free(table);
	call_forget(&worker->call);
	call_forget(&table->log.flush_call);
	luid_give(table->kernel, table->luid);
	TAILQ_REMOVE(&table->kernel->tables, table, link);
	free(table->uuid);
	free(table->log_args);
	free(table);
}

/* --- bios
 * -------------------------------------------------------------------------------------------------------- */

/* dm_submit_bio(): kept while suspended, else mirror_map(), which queues writes and reads alike. */
void device_map_bio(struct kernel *kernel, unsigned number, struct bio *bio)
{
	struct device *device = &kernel->devices[number];

	if (device->io_blocked || !device->live) {
		bio->table = NULL;
		TAILQ_INSERT_TAIL(&device->deferred, bio, link);
		device->bios_kept++;
		return;
	}
	bio->table = device->live;
	device->bios_mapped++;
	mirror_queue_bio(device->live, bio);
}

/* bio_endio() and mirror_end_io(). `requeue`: BLK_STS_DM_REQUEUE, dm core keeps it for the next table. */
void device_end_bio(struct table *table, struct bio *bio, int error, uint64_t tag, bool requeue)
{
	struct kernel *kernel = table->kernel;
	struct device *device = &kernel->devices[table->device];

	if (bio->user.type == KERNEL_WRITE)
		rh_dec(table, bio->user.region);
	device->bios_mapped--;
	kernel->runnable = true;
	if (requeue) {
		bio->table = NULL;
		TAILQ_INSERT_TAIL(&device->deferred, bio, link);
		device->bios_kept++;
		return;
	}
	struct kernel_output *out = kernel_emit(kernel, KERNEL_BIO_DONE, table->device, table->luid);
	out->bio.id = bio->user.id;
	out->bio.error = error;
	out->bio.tag = tag;
	free(bio);
}

static void device_queue_deferred(struct kernel *kernel, unsigned number)
{
	struct device *device = &kernel->devices[number];
	struct bio_list kept = TAILQ_HEAD_INITIALIZER(kept);
	struct bio *bio;

	TAILQ_CONCAT(&kept, &device->deferred, link);
	device->bios_kept = 0;
	while ((bio = TAILQ_FIRST(&kept))) {
		TAILQ_REMOVE(&kept, bio, link);
		device_map_bio(kernel, number, bio);
	}
}

/* --- steps of a command; each returns the next step, or its own while it waits
 * ----------------------------------- */

/* Ask once, as the target does: without a reconnect. Returns false while it waits; a failure is only told. */
static bool command_ask(struct command *command, struct table *table, enum ulog_type type)
{
	int error;

	if (!call_ask(table, &command->call, type, NULL, 0, 0, false, &error))
		return false;
	if (error)
		kernel_complain(table, KERNEL_CALL_FAILED, type, 0, error);
	return true;
}

static enum step load_failed(struct command *command, enum ulog_type type, int error)
{
	kernel_complain(command->loading, KERNEL_CALL_FAILED, type, 0, error);
	table_free(command->loading); /* the daemon is not told */
	command->loading = NULL;
	command->error = error;
	return STEP_DONE;
}

/* userspace_ctr(): the string goes without its NUL; there is room for a device name. */
static enum step step_ctr(struct kernel *kernel, struct device *device)
{
	struct command *command = &device->command;
	struct table *table = command->loading;
	int error;

	(void)kernel;
	if (!call_ask(table, &command->call, ULOG_CTR, table->constructor, table->constructor_bytes,
		      sizeof(command->device_name), false, &error))
		return STEP_CTR;
	if (error < 0)
		return load_failed(command, ULOG_CTR, error);
	command->device_name_bytes = command->call.room_bytes;
	memcpy(command->device_name, command->call.reply, sizeof(command->device_name));
	return STEP_REGION_SIZE;
}

static enum step step_region_size(struct kernel *kernel, struct device *device)
{
	struct command *command = &device->command;
	struct table *table = command->loading;
	uint64_t sectors;
	int error;

	(void)kernel;
	if (!call_ask(table, &command->call, ULOG_GET_REGION_SIZE, NULL, 0, 8, false, &error))
		return STEP_REGION_SIZE;
	if (error)
		return load_failed(command, ULOG_GET_REGION_SIZE, error);
	memcpy(&sectors, command->call.reply, sizeof(sectors));
	if (!(uint32_t)sectors)
		return load_failed(command, ULOG_GET_REGION_SIZE, -EINVAL);
	table->log.region_sectors = (uint32_t)sectors;
	table->log.region_count = (table->length_sectors + sectors - 1) / (uint32_t)sectors;
	if (command->device_name_bytes && command->device_name[command->device_name_bytes - 1]) {
		kernel_complain(table, KERNEL_BAD_NAME, ULOG_CTR, 0, -EINVAL);
		return load_failed(command, ULOG_CTR, -EINVAL);
	}
	mirror_wake(table); /* mirror_ctr() */
	command->destroying = device->inactive;
	device->inactive = table;
	command->loading = NULL;
	return command->destroying ? STEP_DESTROY : STEP_DONE;
}

/* mirror_presuspend() up to dm_rh_stop_recovery(); entered once, then waits with `suspend` set. */
static enum step step_stop_recovery(struct kernel *kernel, struct device *device)
{
	struct table *table = device->live;

	(void)kernel;
	if (!table)
		return STEP_SUSPENDED;
	if (!table->suspend) {
		struct bio_list holds = TAILQ_HEAD_INITIALIZER(holds);
		struct bio *bio;

		device->noflush = device->command.type == KERNEL_SUSPEND_NOFLUSH;
		table->suspend = true;
		TAILQ_CONCAT(&holds, &table->holds, link);
		while ((bio = TAILQ_FIRST(&holds))) {
			TAILQ_REMOVE(&holds, bio, link);
			mirror_hold_bio(table, bio);
		}
	}
	if (!table->recovery_count)
		return STEP_STOP_RECOVERY;
	table->recovery_count--;
	return STEP_RECOVERY_IDLE;
}

static enum step step_recovery_idle(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	return device->live->recovery_in_flight ? STEP_RECOVERY_IDLE : STEP_PRESUSPEND;
}

/* flush_workqueue(): what is queued or runs now has to end. */
static uint64_t worker_pass_target(const struct table *table)
{
	return table->worker.passes_started + (table->worker.wake ? 1 : 0);
}

static enum step step_presuspend(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	if (!command_ask(&device->command, device->live, ULOG_PRESUSPEND))
		return STEP_PRESUSPEND;
	device->command.pass_target = worker_pass_target(device->live);
	return STEP_WORKER_IDLE;
}

static enum step step_worker_idle(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	if (device->live->worker.passes_done < device->command.pass_target)
		return STEP_WORKER_IDLE;
	device->io_blocked = true;
	return STEP_WAIT_IO;
}

static enum step step_wait_io(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	if (device->bios_mapped)
		return STEP_WAIT_IO;
	device->suspended = true;
	device->noflush = false;
	return STEP_EARLY_FLUSH;
}

/* userspace_postsuspend(): a planned flush comes earlier. */
static enum step step_early_flush(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	return log_flusher_settle(device->live) ? STEP_POSTSUSPEND : STEP_EARLY_FLUSH;
}

static enum step step_postsuspend(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	return command_ask(&device->command, device->live, ULOG_POSTSUSPEND) ? STEP_SUSPENDED
									     : STEP_POSTSUSPEND;
}

static enum step step_suspended(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	switch (device->command.type) {
	case KERNEL_RESUME: return STEP_SWAP;
	case KERNEL_REMOVE: return STEP_DESTROYED; /* picks the first table to destroy */
	default: return STEP_DONE;
	}
}

/* dm_swap_table(): waits for whoever reads the status of the old table. */
static enum step step_swap(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	if (device->inactive) {
		if (device->status.busy)
			return STEP_SWAP;
		device->command.destroying = device->live;
		device->live = device->inactive;
		device->inactive = NULL;
	}
	device->live->suspend = false;
	device->live->log.in_sync_hint = 0;
	return STEP_RESUME;
}

static enum step step_resume(struct kernel *kernel, struct device *device)
{
	if (!command_ask(&device->command, device->live, ULOG_RESUME))
		return STEP_RESUME;
	device->live->recovery_count++; /* dm_rh_start_recovery() */
	mirror_wake(device->live);
	device->suspended = false;
	device->io_blocked = false;
	device_queue_deferred(kernel, (unsigned)(device - kernel->devices));
	return device->command.destroying ? STEP_DESTROY : STEP_DONE;
}

/* mirror_dtr(): del_timer_sync(), flush_workqueue() */
static enum step step_destroy(struct kernel *kernel, struct device *device)
{
	struct table *table = device->command.destroying;

	(void)kernel;
	table->worker.delayed_wake_ns = KERNEL_NEVER;
	device->command.pass_target = worker_pass_target(table);
	return STEP_DESTROY_WORKER;
}

/* A pass may queue another one; destroy_workqueue() drains. */
static enum step step_destroy_worker(struct kernel *kernel, struct device *device)
{
	const struct table *table = device->command.destroying;

	(void)kernel;
	if (table->worker.passes_done < device->command.pass_target || table->worker.wake ||
	    table->worker.phase != WORKER_IDLE || device->status.busy)
		return STEP_DESTROY_WORKER;
	return STEP_DESTROY_FLUSH;
}

/* userspace_dtr() */
static enum step step_destroy_flush(struct kernel *kernel, struct device *device)
{
	(void)kernel;
	return log_flusher_settle(device->command.destroying) ? STEP_DTR : STEP_DESTROY_FLUSH;
}

static enum step step_dtr(struct kernel *kernel, struct device *device)
{
	struct command *command = &device->command;

	(void)kernel;
	if (!command_ask(command, command->destroying, ULOG_DTR))
		return STEP_DTR;
	table_free(command->destroying);
	command->destroying = NULL;
	return STEP_DESTROYED;
}

/* A table is gone; removal of a device destroys the inactive one first, then the live one. */
static enum step step_destroyed(struct kernel *kernel, struct device *device)
{
	struct command *command = &device->command;

	if (command->type != KERNEL_REMOVE)
		return STEP_DONE;
	if (device->inactive) {
		command->destroying = device->inactive;
		device->inactive = NULL;
		return STEP_DESTROY;
	}
	if (device->live) {
		command->destroying = device->live;
		device->live = NULL;
		return STEP_DESTROY;
	}
	device->exists = false;
	(void)kernel;
	return STEP_DONE;
}

static bool command_run(struct kernel *kernel, unsigned number)
{
	static enum step (*const steps[STEP_COUNT])(struct kernel *, struct device *) = {
	    [STEP_CTR] = step_ctr,
	    [STEP_REGION_SIZE] = step_region_size,
	    [STEP_STOP_RECOVERY] = step_stop_recovery,
	    [STEP_RECOVERY_IDLE] = step_recovery_idle,
	    [STEP_PRESUSPEND] = step_presuspend,
	    [STEP_WORKER_IDLE] = step_worker_idle,
	    [STEP_WAIT_IO] = step_wait_io,
	    [STEP_EARLY_FLUSH] = step_early_flush,
	    [STEP_POSTSUSPEND] = step_postsuspend,
	    [STEP_SUSPENDED] = step_suspended,
	    [STEP_SWAP] = step_swap,
	    [STEP_RESUME] = step_resume,
	    [STEP_DESTROY] = step_destroy,
	    [STEP_DESTROY_WORKER] = step_destroy_worker,
	    [STEP_DESTROY_FLUSH] = step_destroy_flush,
	    [STEP_DTR] = step_dtr,
	    [STEP_DESTROYED] = step_destroyed,
	};
	struct device *device = &kernel->devices[number];
	struct command *command = &device->command;
	bool moved = false;

	while (command->step != STEP_NONE && command->step != STEP_DONE) {
		enum step next = steps[command->step](kernel, device);
		if (next == command->step)
			return moved;
		command->step = next;
		moved = true;
	}
	if (command->step == STEP_NONE)
		return false;
	struct kernel_output *out =
	    kernel_emit(kernel, KERNEL_COMMAND_DONE, number, device->live ? device->live->luid : 0);
	out->command.id = command->id;
	out->command.error = command->error;
	out->command.text[0] = '\0';
	command->step = STEP_NONE;
	return true;
}

/* --- dmsetup status: mirror_status(STATUSTYPE_INFO), userspace_status()
 * ------------------------------------------- */

static void status_print(const struct status_command *status, int error, char *text, size_t room)
{
	const struct table *table = status->table;
	char legs[KERNEL_LEGS_MAX + 1] = "";
	char names[128] = "";
	size_t used = 0;

	for (unsigned i = 0; i < table->leg_count; i++) {
		legs[i] = mirror_leg_char(table, i);
		used += (size_t)snprintf(names + used, sizeof(names) - used, " leg%u", i);
	}
	snprintf(text, room, "0 %llu mirror %u%s %llu/%llu 1 %s %.150s",
		 (unsigned long long)table->length_sectors, table->leg_count, names,
		 (unsigned long long)status->sync_count, (unsigned long long)table->log.region_count, legs,
		 error ? "userspace 1 COM_FAILURE" : (const char *)status->call.reply);
}

static bool status_run(struct kernel *kernel, unsigned number)
{
	struct status_command *status = &kernel->devices[number].status;
	struct table *table = status->table;
	bool moved = false;
	int error = 0;

	if (!status->busy)
		return false;
	if (table && !status->counted) {
		moved = status->call.state == CALL_IDLE || status->call.state == CALL_DONE;
		if (!log_get_sync_count(table, &status->call, &status->sync_count))
			return moved;
		status->counted = true;
	}
	if (table) {
		moved |= status->call.state == CALL_IDLE || status->call.state == CALL_DONE;
		if (!call_ask(table, &status->call, ULOG_STATUS_INFO, NULL, 0, CALL_REPLY_ROOM_STATUS, true,
			      &error))
			return moved;
	}
	struct kernel_output *out = kernel_emit(kernel, KERNEL_COMMAND_DONE, number, table ? table->luid : 0);
	out->command.id = status->id;
	out->command.error = 0;
	out->command.text[0] = '\0';
	status->call.reply[CALL_REPLY_BYTES - 1] = '\0';
	if (table)
		status_print(status, error, out->command.text, sizeof(out->command.text));
	status->busy = false;
	return true;
}

bool device_run(struct kernel *kernel, unsigned number)
{
	bool moved = status_run(kernel, number);

	return command_run(kernel, number) || moved;
}

/* --- inputs
 * ------------------------------------------------------------------------------------------------------ */

int kernel_device_create(struct kernel *kernel)
{
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++) {
		struct device *device = &kernel->devices[i];
		if (device->exists || device->command.step != STEP_NONE)
			continue;
		*device = (struct device){.exists = true};
		TAILQ_INIT(&device->deferred);
		if (i >= kernel->device_end)
			kernel->device_end = i + 1;
		return (int)i;
	}
	return -ENOSPC;
}

static int table_check(const struct kernel_table *line)
{
	if (!line || !line->uuid || !line->log_args || !line->length_sectors || line->leg_count < 2 ||
	    line->leg_count > KERNEL_LEGS_MAX || strlen(line->uuid) >= LOG_UUID_BYTES ||
	    (line->keep_log && !line->handle_errors) || strlen(line->log_args) + 22 > KERNEL_REQUEST_BYTES)
		return -EINVAL;
	return 0;
}

/* Sets the first step, or returns what dmsetup would refuse with. */
static int command_first_step(struct kernel *kernel, unsigned number, enum kernel_command_type type,
			      const struct kernel_table *line)
{
	struct device *device = &kernel->devices[number];
	struct command *command = &device->command;
	int error;

	switch (type) {
	case KERNEL_LOAD:
		error = table_check(line);
		if (error)
			return error;
		command->loading = table_new(kernel, number, line);
		command->step = STEP_CTR;
		return 0;
	case KERNEL_CLEAR:
		command->destroying = device->inactive;
		device->inactive = NULL;
		command->step = command->destroying ? STEP_DESTROY : STEP_DONE;
		return 0;
	case KERNEL_SUSPEND:
	case KERNEL_SUSPEND_NOFLUSH:
		if (!device->live)
			return -EINVAL;
		command->step = device->suspended ? STEP_DONE : STEP_STOP_RECOVERY;
		return 0;
	case KERNEL_RESUME:
		if (!device->live && !device->inactive)
			return -EINVAL;
		if (device->inactive)
			command->step = device->suspended || !device->live ? STEP_SWAP : STEP_STOP_RECOVERY;
		else
			command->step = device->suspended ? STEP_SWAP : STEP_DONE;
		return 0;
	case KERNEL_REMOVE:
		if (device->bios_mapped || device->bios_kept)
			return -EBUSY;
		command->step = device->live && !device->suspended ? STEP_STOP_RECOVERY : STEP_DESTROYED;
		return 0;
	case KERNEL_STATUS: break;
	}
	return -EINVAL;
}

int kernel_command(struct kernel *kernel, unsigned number, enum kernel_command_type type,
		   const struct kernel_table *line, uint64_t id)
{
	struct device *device;

	if (number >= KERNEL_DEVICES_MAX || !kernel->devices[number].exists)
		return -ENODEV;
	device = &kernel->devices[number];
	if (type == KERNEL_STATUS) {
		if (device->status.busy || device->command.type == KERNEL_REMOVE)
			return -EBUSY;
		device->status.busy = true;
		device->status.counted = false;
		device->status.id = id;
		device->status.table = device->live;
		kernel->runnable = true;
		return 0;
	}
	if (device->command.step != STEP_NONE)
		return -EBUSY;
	int error = command_first_step(kernel, number, type, line);
	if (error)
		return error;
	device->command.type = type;
	device->command.id = id;
	device->command.error = 0;
	kernel->runnable = true;
	return 0;
}

int kernel_submit(struct kernel *kernel, unsigned number, const struct kernel_bio *user)
{
	struct device *device;

	if (number >= KERNEL_DEVICES_MAX || !kernel->devices[number].exists)
		return -ENODEV;
	device = &kernel->devices[number];
	if (!device->live || device->command.type == KERNEL_REMOVE)
		return -ENODEV;
	if (user->type != KERNEL_FLUSH && (user->region >= device->live->log.region_count ||
					   user->block >= kernel->config.blocks_per_region))
		return -EINVAL;
	struct bio *bio = kernel_alloc(sizeof(*bio));
	bio->user = *user;
	device_map_bio(kernel, number, bio);
	kernel->runnable = true;
	return 0;
}

int kernel_device_info(const struct kernel *kernel, unsigned number, struct kernel_device *ret_device)
{
	const struct device *device;

	*ret_device = (struct kernel_device){0};
	if (number >= KERNEL_DEVICES_MAX || !kernel->devices[number].exists)
		return -ENODEV;
	device = &kernel->devices[number];
	ret_device->live = device->live;
	ret_device->suspended = device->suspended;
	ret_device->has_inactive = device->inactive;
	ret_device->busy = device->command.step != STEP_NONE;
	ret_device->bios = device->bios_mapped + device->bios_kept;
	if (device->inactive) {
		ret_device->inactive_luid = device->inactive->luid;
		ret_device->inactive_uuid = device->inactive->uuid;
	}
	if (!device->live)
		return 0;
	ret_device->live_luid = device->live->luid;
	ret_device->live_uuid = device->live->uuid;
	ret_device->log_failure = device->live->log_failure;
	ret_device->default_leg = device->live->default_leg;
	ret_device->in_sync_hint = device->live->log.in_sync_hint;
	ret_device->region_count = device->live->log.region_count;
	ret_device->in_sync = device->live->in_sync;
	for (unsigned i = 0; i < device->live->leg_count && i < KERNEL_LEGS_MAX; i++)
		ret_device->leg_status[i] = mirror_leg_char(device->live, i);
	return 0;
}
