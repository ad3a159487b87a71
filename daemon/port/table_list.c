/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/table_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/port/log.h"

struct table_list {
	struct mirror_table *tables;
	size_t count, room;
};

static int list_add(struct table_list *list, const struct mirror_table *table)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct mirror_table *tables = reallocarray(list->tables, room, sizeof(*tables));

		if (!tables)
			return -ENOMEM;
		list->tables = tables;
		list->room = room;
	}
	list->tables[list->count++] = *table;
	return 0;
}

/* Keep a parsed table; a table that is not ours, or malformed, is no error of the list. */
static int list_add_parsed(struct table_list *list, int parsed, const struct mirror_table *table,
			   const char *name)
{
	if (!parsed)
		return list_add(list, table);
	if (parsed == -EINVAL)
		log_write(LOG_WARNING, "table of %s is malformed, ignored", name);
	return parsed == -ENOMEM ? parsed : 0;
}

/* --- stand-in directory --- */

static bool name_ends(const char *name, const char *end)
{
	size_t length = strlen(name), end_length = strlen(end);

	return length > end_length && !strcmp(name + length - end_length, end);
}

static int read_stand_in(struct table_list *list, int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char line[8192];
	int error = 0;

	if (!file) {
		error = errno == ENOENT ? 0 : -errno; /* gone since it was listed */
		if (fd >= 0)
			close(fd);
		return error;
	}
	while (!error && fgets(line, sizeof(line), file)) {
		struct mirror_table table = {
		    .live = !name_ends(name, ".inactive"),
		    .suspended = name_ends(name, ".suspended"),
		};

		error = list_add_parsed(list, mirror_table_parse_line(line, &table), &table, name);
	}
	fclose(file);
	return error;
}

static int list_stand_ins(struct table_list *list, const char *tables_dir)
{
	DIR *dir = opendir(tables_dir);
	struct dirent *entry;
	int error = 0;

	if (!dir)
		return -errno;
	while (!error && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, "wake.", 5))
			error = read_stand_in(list, dirfd(dir), entry->d_name);
	}
	closedir(dir);
	return error;
}

/* --- device-mapper --- */

static void mapper_log(int level, const char *file, int line, int dm_errno_or_class, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* libdevmapper's own messages. Level 3 of its scale is an error, 2 fatal; the chatter above is dropped. */
static void mapper_log(int level, const char *file, int line, int dm_errno_or_class, const char *format, ...)
{
	char text[400];
	va_list arguments;

	(void)file;
	(void)line;
	(void)dm_errno_or_class;
	if ((level & 7) > 3)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_write(LOG_WARNING, "device-mapper: %s", text);
}

static void mapper_init(void)
{
	dm_log_with_errno_init(mapper_log);
}

/* Without the module there is no table; libdevmapper would try to load it, or complain each time. */
static bool mapper_exists(void)
{
	FILE *file = fopen("/proc/misc", "re");
	char line[128];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, " device-mapper\n") != NULL;
	fclose(file);
	return found;
}

/* Run a question about one device. Returns the task (for dm_task_destroy()), or NULL and a negative errno;
 * -ENXIO: there is no such device any more. */
static struct dm_task *ask_device(uint64_t device, bool inactive, struct dm_info *ret_info, int *ret_error)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_TABLE);

	*ret_error = task ? 0 : -ENOMEM;
	if (!task)
		return NULL;
	if (!dm_task_set_major_minor(task, (int)major(device), (int)minor(device), 0) ||
	    !dm_task_no_open_count(task) || !dm_task_no_flush(task) ||
	    (inactive && !dm_task_query_inactive_table(task)))
		*ret_error = -EINVAL;
	else if (!dm_task_run(task) || !dm_task_get_info(task, ret_info))
		*ret_error = dm_task_get_errno(task) ? -dm_task_get_errno(task) : -EIO;
	else if (!ret_info->exists)
		*ret_error = -ENXIO;
	if (!*ret_error)
		return task;
	dm_task_destroy(task);
	return NULL;
}

static int list_targets(struct table_list *list, struct dm_task *task, const struct mirror_table *common,
			const char *name)
{
	void *next = NULL;
	int error = 0;

	do {
		struct mirror_table table = *common;
		char *type = NULL, *params = NULL;

		next = dm_get_next_target(task, next, &table.start_sector, &table.length_sectors, &type,
					  &params);
		if (type && params && !strcmp(type, "mirror"))
			error =
			    list_add_parsed(list, mirror_table_parse_params(params, &table), &table, name);
	} while (next && !error);
	return error;
}

static int list_device(struct table_list *list, uint64_t device, const char *name)
{
	struct mirror_table common = {.major = major(device), .minor = minor(device)};
	struct dm_info info;
	struct dm_task *task;
	bool inactive_table;
	int error;

	task = ask_device(device, false, &info, &error);
	if (!task)
		return error == -ENXIO ? 0 : error;
	inactive_table = info.inactive_table;
	common.suspended = info.suspended;
	common.live = true;
	if (info.live_table)
		error = list_targets(list, task, &common, name);
	dm_task_destroy(task);
	if (error || !inactive_table)
		return error;
	task = ask_device(device, true, &info, &error);
	if (!task)
		return error == -ENXIO ? 0 : error;
	common.live = false;
	error = list_targets(list, task, &common, name);
	dm_task_destroy(task);
	return error;
}

static int list_devices(struct table_list *list)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_LIST);
	const struct dm_names *names;
	int error = task ? 0 : -ENOMEM;

	if (task && !dm_task_run(task))
		error = dm_task_get_errno(task) ? -dm_task_get_errno(task) : -EIO;
	names = error ? NULL : dm_task_get_names(task);
	if (!error && !names)
		error = -EIO;
	while (!error && names->dev) { /* no devices at all: one entry with number 0 */
		error = list_device(list, names->dev, names->name);
		if (!names->next)
			break;
		names = (const struct dm_names *)((const char *)names + names->next);
	}
	if (task)
		dm_task_destroy(task);
	return error;
}

int table_list_read(const char *tables_dir, struct mirror_table **ret_tables, size_t *ret_count)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct table_list list = {.count = 0};
	int error;

	pthread_once(&once, mapper_init);
	if (tables_dir)
		error = list_stand_ins(&list, tables_dir);
	else
		error = mapper_exists() ? list_devices(&list) : -ENODEV;
	if (error) {
		free(list.tables);
		return error;
	}
	*ret_tables = list.tables;
	*ret_count = list.count;
	return 0;
}
