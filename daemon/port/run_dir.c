/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/run_dir.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "common/bytes.h"
#include "daemon/port/bit_file.h"
#include "daemon/port/in_hand.h"
#include "daemon/port/lock_file.h"
#include "daemon/port/log.h"
#include "daemon/port/write_lock.h"

#define NAME_BYTES     33 /* of a log's directory, with its NUL */
#define PATH_BYTES     128
#define META_MAGIC     UINT32_C(0x6e75726d) /* "mrun" */
#define META_BYTES_MAX (64u * 1024 * 1024)
#define DROP_PREFIX    "drop-" /* a directory on its way out: nothing in it counts */

/* The boot file: boot id, newline, then one of these. They have one length, so that writing one needs no
 * space. */
#define STATE_INTACT "intact\n"
#define STATE_BROKEN "broken\n"
#define STATE_BYTES  7
#define BOOT_BYTES   64

struct held {
	LIST_ENTRY(held) entry;
	luid_t luid;
	struct bit_file bits;
};

struct run_log_dir {
	LIST_ENTRY(run_log_dir) entry;
	char uuid[LOG_UUID_BYTES];
	uint64_t
	    uuid_hash; /* looked at first: uuids of one volume group begin alike, and there may be many */
	char name[NAME_BYTES];
	uint64_t region_count; /* of the last meta; 0 before the first. Bits may be set beyond it */
	uint8_t *meta;	       /* as loaded, until run_dir_load() has told it */
	size_t meta_bytes;
	bool loaded; /* and not yet told */
	unsigned held_count;
	LIST_HEAD(, held) held;
	struct bit_file bits[RUN_BITS_COUNT]; /* [RUN_HELD] is not used */
};

struct run_dir {
	char *path;
	int fd, boot_fd, lock_fd;
	uint64_t boot_id;
	size_t state_offset; /* in the boot file */
	bool broken, fresh;
	LIST_HEAD(, run_log_dir) logs;
};

static const char *const bit_names[RUN_BITS_COUNT] = {
    [RUN_HELD] = "held",     [RUN_MARKED] = "marked", [RUN_UNSYNCED] = "unsynced", [RUN_GHOST] = "ghost",
    [RUN_FAILED] = "failed", [RUN_WORK] = "work",     [RUN_FLUSH] = "flush",
};

/* --- names --- */

static void log_name(const char *uuid, char ret_name[NAME_BYTES])
{
	XXH128_hash_t hash = XXH3_128bits(uuid, strlen(uuid));

	snprintf(ret_name, NAME_BYTES, "%016llx%016llx", (unsigned long long)hash.high64,
		 (unsigned long long)hash.low64);
}

static bool is_log_name(const char *name)
{
	return strlen(name) == NAME_BYTES - 1 && strspn(name, "0123456789abcdef") == NAME_BYTES - 1;
}

static void bits_path(const char *name, enum run_bits kind, luid_t luid, char ret_path[PATH_BYTES])
{
	if (kind == RUN_HELD)
		snprintf(ret_path, PATH_BYTES, "%s/held.%016llx", name, (unsigned long long)luid);
	else
		snprintf(ret_path, PATH_BYTES, "%s/%s", name, bit_names[kind]);
}

/* --- broken or intact --- */

static void state_write(struct run_dir *dir, const char *state)
{
	if (pwrite(dir->boot_fd, state, STATE_BYTES, (off_t)dir->state_offset) != STATE_BYTES)
		log_write(LOG_CRIT, "cannot write the state of the run directory: %s", strerror(errno));
}

static void break_state(struct run_dir *dir, const char *what, int error)
{
	if (dir->broken)
		return;
	dir->broken = true;
	state_write(dir, STATE_BROKEN);
	log_write(LOG_CRIT, "%s: %s; a restart of the daemon will treat its run state as lost", what,
		  strerror(-error));
}

/* With its last log the directory forgets that it was broken: there is nothing left to be wrong about. */
static void heal_state(struct run_dir *dir)
{
	if (!dir->broken || !LIST_EMPTY(&dir->logs))
		return;
	dir->broken = false;
	state_write(dir, STATE_INTACT);
}

/* --- files --- */

/* Remove a directory of plain files, as far as possible. */
static void dir_remove(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
	unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* Call for each name in a directory. Returns 0 or a negative errno. */
static int dir_each(int dir_fd, const char *name, void (*each)(void *context, const char *name),
		    void *context)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		int error = -errno;

		if (fd >= 0)
			close(fd);
		return error;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			each(context, entry->d_name);
	}
	closedir(dir);
	return 0;
}

static int file_write(int dir_fd, const char *path, const void *bytes, size_t size)
{
	int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t written = 0;
	int error = 0;

	if (fd < 0)
		return -errno;
	for (size_t done = 0; !error && done < size; done += (size_t)written) {
		written = write(fd, (const uint8_t *)bytes + done, size - done);
		if (written < 0 && errno != EINTR)
			error = -errno;
		written = written < 0 ? 0 : written;
	}
	close(fd);
	return error;
}

/* The whole file, freed by the caller. Returns 0 or a negative errno. */
static int file_read(int dir_fd, const char *path, uint8_t **ret_bytes, size_t *ret_size)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), error = 0;
	struct stat status;
	uint8_t *bytes = NULL;
	size_t size = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status))
		error = -errno;
	else if (!S_ISREG(status.st_mode) || status.st_size > (off_t)META_BYTES_MAX)
		error = -EUCLEAN;
	else if (!(bytes = malloc((size_t)status.st_size + 1)))
		error = -ENOMEM;
	while (!error && size < (size_t)status.st_size) {
		ssize_t part;

		errno = 0;
		part = read(fd, bytes + size, (size_t)status.st_size - size);

		if (part <= 0 && errno != EINTR)
			error = part < 0 ? -errno : -EUCLEAN;
		else if (part > 0)
			size += (size_t)part;
	}
	close(fd);
	if (error) {
		free(bytes);
		return error;
	}
	*ret_bytes = bytes;
	*ret_size = size;
	return 0;
}

/* --- meta: u32 magic, u64 region count, u16 length of uuid, uuid, u32 size, bytes, u64 XXH3 of all before
 * --- */

static int meta_write(struct run_dir *dir, const struct run_log_dir *log, const uint8_t *bytes, size_t size)
{
	struct bytes_writer writer;
	char path[PATH_BYTES], new_path[PATH_BYTES];
	int error;

	bytes_writer_init(&writer);
	bytes_write_u32(&writer, META_MAGIC);
	bytes_write_u64(&writer, log->region_count);
	bytes_write_u16(&writer, (uint16_t)strlen(log->uuid));
	bytes_write_span(&writer, log->uuid, strlen(log->uuid));
	bytes_write_u32(&writer, (uint32_t)size);
	bytes_write_span(&writer, bytes, size);
	if (!writer.failed)
		bytes_write_u64(&writer, XXH3_64bits(writer.bytes, writer.size));
	snprintf(path, sizeof(path), "%s/meta", log->name);
	snprintf(new_path, sizeof(new_path), "%s/meta.new", log->name);
	error = writer.failed ? -ENOMEM : file_write(dir->fd, new_path, writer.bytes, writer.size);
	if (!error && renameat(dir->fd, new_path, dir->fd, path))
		error = -errno;
	bytes_writer_fini(&writer);
	return error;
}

static int meta_decode(struct run_log_dir *log, const uint8_t *bytes, size_t size)
{
	struct bytes_reader reader;
	const uint8_t *uuid, *meta;
	size_t uuid_bytes, meta_bytes;
	char name[NAME_BYTES];

	if (size < sizeof(uint64_t))
		return -EUCLEAN;
	bytes_reader_init(&reader, bytes, size);
	if (bytes_read_u32(&reader) != META_MAGIC)
		return -EUCLEAN;
	log->region_count = bytes_read_u64(&reader);
	uuid_bytes = bytes_read_u16(&reader);
	uuid = bytes_read_span(&reader, uuid_bytes);
	meta_bytes = bytes_read_u32(&reader);
	meta = bytes_read_span(&reader, meta_bytes);
	if (bytes_read_u64(&reader) != XXH3_64bits(bytes, size - sizeof(uint64_t)) || reader.failed ||
	    bytes_reader_left(&reader) > 0 || uuid_bytes >= sizeof(log->uuid) ||
	    log->region_count > LOG_REGIONS_MAX)
		return -EUCLEAN;
	memcpy(log->uuid, uuid, uuid_bytes);
	log->uuid[uuid_bytes] = '\0';
	log->uuid_hash = XXH3_64bits(log->uuid, strlen(log->uuid));
	log_name(log->uuid, name);
	if (strcmp(name, log->name))
		return -EUCLEAN;
	log->meta = port_alloc(meta_bytes + 1);
	if (meta_bytes > 0)
		memcpy(log->meta, meta, meta_bytes);
	log->meta_bytes = meta_bytes;
	return 0;
}

static int meta_read(struct run_dir *dir, struct run_log_dir *log)
{
	char path[PATH_BYTES];
	uint8_t *bytes = NULL;
	size_t size = 0;
	int error;

	snprintf(path, sizeof(path), "%s/meta", log->name);
	error = file_read(dir->fd, path, &bytes, &size);
	if (error)
		return error;
	error = meta_decode(log, bytes, size);
	free(bytes);
	return error;
}

/* --- logs --- */

/* What was found goes to the front: whoever writes asks for the same few again and again. */
static struct run_log_dir *log_find(struct run_dir *dir, const char *uuid)
{
	uint64_t uuid_hash = XXH3_64bits(uuid, strlen(uuid));
	struct run_log_dir *log;

	LIST_FOREACH(log, &dir->logs, entry)
	{
		if (log->uuid_hash == uuid_hash && !strcmp(log->uuid, uuid))
			break;
	}
	if (log && log != LIST_FIRST(&dir->logs)) {
		LIST_REMOVE(log, entry);
		LIST_INSERT_HEAD(&dir->logs, log, entry);
	}
	return log;
}

static struct run_log_dir *log_new(const char *name)
{
	struct run_log_dir *log = port_alloc(sizeof(*log));

	snprintf(log->name, sizeof(log->name), "%s", name);
	LIST_INIT(&log->held);
	return log;
}

/* Find it, or make it with its directory. */
static int log_need(struct run_dir *dir, const char *uuid, struct run_log_dir **ret_log)
{
	struct run_log_dir *log = log_find(dir, uuid);
	char name[NAME_BYTES];

	if (!log) {
		if (strlen(uuid) >= sizeof(log->uuid))
			return -EINVAL;
		log_name(uuid, name);
		dir_remove(dir->fd, name); /* of a log that could not be read */
		if (mkdirat(dir->fd, name, 0700))
			return -errno;
		log = log_new(name);
		strcpy(log->uuid, uuid);
		log->uuid_hash = XXH3_64bits(uuid, strlen(uuid));
		LIST_INSERT_HEAD(&dir->logs, log, entry);
	}
	*ret_log = log;
	return 0;
}

static struct held *held_find(const struct run_log_dir *log, luid_t luid)
{
	struct held *held;

	LIST_FOREACH(held, &log->held, entry)
	{
		if (held->luid == luid)
			return held;
	}
	return NULL;
}

static struct held *held_need(struct run_log_dir *log, luid_t luid)
{
	struct held *held = held_find(log, luid);

	if (!held) {
		held = port_alloc(sizeof(*held));
		held->luid = luid;
		LIST_INSERT_HEAD(&log->held, held, entry);
		log->held_count++;
	}
	return held;
}

static void held_free(struct run_log_dir *log, struct held *held)
{
	bit_file_unmap(&held->bits);
	LIST_REMOVE(held, entry);
	log->held_count--;
	free(held);
}

/* Memory only; the files stay. */
static void log_free(struct run_log_dir *log)
{
	while (!LIST_EMPTY(&log->held))
		held_free(log, LIST_FIRST(&log->held));
	for (int kind = 0; kind < RUN_BITS_COUNT; kind++)
		bit_file_unmap(&log->bits[kind]);
	free(log->meta);
	free(log);
}

/* --- reading it back --- */

struct log_scan {
	struct run_dir *dir;
	struct run_log_dir *log;
	bool has_bits;
	int error; /* the first */
};

static void scan_file(void *context, const char *name)
{
	struct log_scan *scan = context;
	char path[PATH_BYTES], *end;
	struct bit_file *bits = NULL;
	int error = 0;

	if (!strncmp(name, "held.", 5) && strlen(name) == 21) {
		luid_t luid = strtoull(name + 5, &end, 16);

		if (*end || scan->log->held_count == RUN_INSTANCES_MAX)
			error = -EUCLEAN;
		else
			bits = &held_need(scan->log, luid)->bits;
	}
	for (int kind = RUN_HELD + 1; kind < RUN_BITS_COUNT; kind++) {
		if (!strcmp(name, bit_names[kind]))
			bits = &scan->log->bits[kind];
	}
	if (bits) {
		scan->has_bits = true;
		snprintf(path, sizeof(path), "%s/%s", scan->log->name, name);
		error = bit_file_load(bits, scan->dir->fd, path);
	}
	if (!scan->error)
		scan->error = error;
}

static void scan_log(struct run_dir *dir, const char *name)
{
	struct log_scan scan = {.dir = dir, .log = log_new(name)};
	int error = dir_each(dir->fd, name, scan_file, &scan), meta_error;

	if (!error)
		error = scan.error;
	meta_error = meta_read(dir, scan.log);
	if (meta_error == -ENOENT && !error && !scan.has_bits) {
		/* The daemon died between making the directory and writing anything. */
		log_free(scan.log);
		dir_remove(dir->fd, name);
		return;
	}
	if (error || meta_error)
		break_state(dir, "cannot read back the state of a log", error ? error : meta_error);
	if (meta_error) {
		log_free(scan.log); /* nobody knows whose it is; the files go when the log comes */
		return;
	}
	scan.log->loaded = true;
	LIST_INSERT_HEAD(&dir->logs, scan.log, entry);
}

static void scan_name(void *context, const char *name)
{
	struct run_dir *dir = context;

	if (!strncmp(name, DROP_PREFIX, strlen(DROP_PREFIX)))
		dir_remove(dir->fd, name);
	else if (is_log_name(name))
		scan_log(dir, name);
}

static void wipe_name(void *context, const char *name)
{
	struct run_dir *dir = context;

	if (is_log_name(name) || !strncmp(name, DROP_PREFIX, strlen(DROP_PREFIX)))
		dir_remove(dir->fd, name);
	else if (write_lock_is_name(name))
		(void)unlinkat(dir->fd, name, 0);
}

/* --- opening --- */

static int boot_id_read(char ret_text[BOOT_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t size;

	if (fd < 0)
		return -errno;
	size = read(fd, ret_text, BOOT_BYTES - STATE_BYTES - 1);
	close(fd);
	if (size <= 1)
		return -EIO;
	ret_text[size] = '\0';
	return 0;
}

/* Compare the boot file with this boot. Sets dir->broken. Returns 1: it is this boot's, 0: it is not, or
 * negative. */
static int boot_read(struct run_dir *dir, const char *boot_id)
{
	char text[2 * BOOT_BYTES];
	ssize_t size = pread(dir->boot_fd, text, sizeof(text) - 1, 0);

	if (size < 0)
		return -errno;
	text[size] = '\0';
	if (strncmp(text, boot_id, dir->state_offset))
		return 0;
	dir->broken = strcmp(text + dir->state_offset, STATE_INTACT) != 0;
	return 1;
}

static int boot_write(struct run_dir *dir, const char *boot_id)
{
	char text[2 * BOOT_BYTES];
	int size = snprintf(text, sizeof(text), "%s%s", boot_id, STATE_INTACT);
	int error = dir_each(dir->fd, ".", wipe_name, dir);

	if (error)
		return error;
	in_hand_remove(dir->fd);
	if (ftruncate(dir->boot_fd, 0))
		return -errno;
	if (pwrite(dir->boot_fd, text, (size_t)size, 0) != size)
		return -EIO;
	return 0;
}

static int state_open(struct run_dir *dir)
{
	char boot_id[BOOT_BYTES];
	int error = boot_id_read(boot_id);

	if (error)
		return error;
	dir->state_offset = strlen(boot_id);
	dir->boot_id = XXH3_64bits(boot_id, dir->state_offset);
	if (dir->boot_id == 0)
		dir->boot_id = 1;
	dir->boot_fd = openat(dir->fd, "boot", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (dir->boot_fd < 0)
		return -errno;
	error = boot_read(dir, boot_id);
	if (error < 0)
		return error;
	dir->fresh = error == 0;
	return dir->fresh ? boot_write(dir, boot_id) : dir_each(dir->fd, ".", scan_name, dir);
}

static int dir_open(struct run_dir *dir, const char *path)
{
	char lock_path[4096];
	pid_t holder;
	int error;

	if (snprintf(lock_path, sizeof(lock_path), "%s/lock", path) >= (int)sizeof(lock_path))
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0)
		return -errno;
	error = lock_file_take(lock_path, &dir->lock_fd, &holder);
	if (error)
		return error == -EEXIST ? -EBUSY : error;
	return state_open(dir);
}

int run_dir_open(const char *path, struct run_dir **ret_dir, bool *ret_state_lost)
{
	struct run_dir *dir = port_alloc(sizeof(*dir));
	int error;

	dir->fd = dir->boot_fd = dir->lock_fd = -1;
	dir->path = strdup(path);
	if (!dir->path) {
		free(dir);
		return -ENOMEM;
	}
	LIST_INIT(&dir->logs);
	error = dir_open(dir, path);
	if (error) {
		run_dir_close(dir);
		return error;
	}
	*ret_dir = dir;
	*ret_state_lost = dir->broken;
	return 0;
}

bool run_dir_is_new(const struct run_dir *dir)
{
	return dir->fresh;
}

uint64_t run_dir_boot_id(const struct run_dir *dir)
{
	return dir->boot_id;
}

/* --- telling --- */

static void log_tell(const struct run_dir *dir, struct run_log_dir *log, const struct event_sink *sink)
{
	struct region_set held_sets[RUN_INSTANCES_MAX], sets[RUN_BITS_COUNT];
	struct event event = {
	    .type = EVENT_RUN_LOG,
	    .run_log = {.uuid = log->uuid,
			.meta = log->meta,
			.meta_bytes = log->meta_bytes,
			.writing = write_lock_held(dir->path, WRITE_LOCK_DEVICE, log->uuid),
			.copying = write_lock_held(dir->path, WRITE_LOCK_LEGS, log->uuid),
			.flushing = write_lock_held(dir->path, WRITE_LOCK_FLUSH, log->uuid)},
	};
	struct run_log *told = &event.run_log;
	struct held *held;

	LIST_FOREACH(held, &log->held, entry)
	{
		struct region_set *set = &held_sets[told->instance_count];

		region_set_init(set);
		bit_file_regions(&held->bits, set);
		told->instances[told->instance_count].luid = held->luid;
		told->instances[told->instance_count].held = set;
		told->instance_count++;
	}
	for (int kind = RUN_HELD + 1; kind < RUN_BITS_COUNT; kind++) {
		region_set_init(&sets[kind]);
		bit_file_regions(&log->bits[kind], &sets[kind]);
		told->bits[kind] = &sets[kind];
	}
	event_sink_post(sink, &event);
	for (unsigned i = 0; i < told->instance_count; i++)
		region_set_fini(&held_sets[i]);
	for (int kind = RUN_HELD + 1; kind < RUN_BITS_COUNT; kind++)
		region_set_fini(&sets[kind]);
}

void run_dir_load(struct run_dir *dir, const struct event_sink *sink)
{
	struct run_log_dir *log;

	/* The answer to one may drop it, and changes the order of all: begin anew after each. */
	do {
		LIST_FOREACH(log, &dir->logs, entry)
		{
			if (log->loaded)
				break;
		}
		if (log) {
			log->loaded = false;
			log_tell(dir, log, sink);
		}
	} while (log);
	LIST_FOREACH(log, &dir->logs, entry)
	{
		free(log->meta);
		log->meta = NULL;
	}
}

/* --- effects --- */

/* A mirror that shrinks and grows again must not find its old bits. */
static void log_truncate(struct run_log_dir *log, uint64_t region_count)
{
	struct held *held;

	for (int kind = RUN_HELD + 1; kind < RUN_BITS_COUNT; kind++)
		bit_file_truncate(&log->bits[kind], region_count);
	LIST_FOREACH(held, &log->held, entry)
	{
		bit_file_truncate(&held->bits, region_count);
	}
}

static int perform_meta(struct run_dir *dir, const struct effect *effect)
{
	struct run_log_dir *log;
	int error = log_need(dir, effect->uuid, &log);

	if (error)
		return error;
	assert(effect->run_meta.region_count <= LOG_REGIONS_MAX);
	if (effect->run_meta.region_count < log->region_count)
		log_truncate(log, effect->run_meta.region_count);
	log->region_count = effect->run_meta.region_count;
	return meta_write(dir, log, effect->run_meta.bytes, effect->run_meta.size);
}

static struct bit_file *bits_find(struct run_log_dir *log, const struct effect *effect)
{
	struct held *held;

	if (effect->run_bits.kind != RUN_HELD)
		return &log->bits[effect->run_bits.kind];
	if (effect->run_bits.set)
		return &held_need(log, effect->run_bits.luid)->bits;
	held = held_find(log, effect->run_bits.luid);
	return held ? &held->bits : NULL;
}

static int perform_bits(struct run_dir *dir, const struct effect *effect)
{
	char path[PATH_BYTES];
	struct run_log_dir *log = log_find(dir, effect->uuid);
	struct bit_file *bits;
	int error;

	assert(effect->run_bits.kind < RUN_BITS_COUNT);
	assert(effect->run_bits.first + effect->run_bits.count <= effect->run_bits.region_count &&
	       effect->run_bits.region_count <= LOG_REGIONS_MAX);
	if (!log && !effect->run_bits.set)
		return 0;
	error = log ? 0 : log_need(dir, effect->uuid, &log);
	if (error)
		return error;
	bits = bits_find(log, effect);
	if (!bits)
		return 0;
	if (!effect->run_bits.set) {
		bit_file_clear(bits, effect->run_bits.first, effect->run_bits.count);
		return 0;
	}
	bits_path(log->name, effect->run_bits.kind, effect->run_bits.luid, path);
	return bit_file_set(bits, dir->fd, path, effect->run_bits.first, effect->run_bits.count);
}

/* The name goes at once, so that half a log is never read back. */
static int drop_log(struct run_dir *dir, struct run_log_dir *log)
{
	char drop_name[PATH_BYTES], lock_name[WRITE_LOCK_NAME_BYTES];
	int error = 0;

	snprintf(drop_name, sizeof(drop_name), DROP_PREFIX "%s", log->name);
	dir_remove(dir->fd, drop_name);
	if (renameat(dir->fd, log->name, dir->fd, drop_name))
		error = -errno;
	for (unsigned kind = 0; kind < WRITE_LOCK_KINDS; kind++) {
		write_lock_name((enum write_lock_kind)kind, log->uuid, lock_name);
		(void)unlinkat(dir->fd, lock_name, 0);
	}
	LIST_REMOVE(log, entry);
	log_free(log);
	if (!error) {
		dir_remove(dir->fd, drop_name);
		heal_state(dir);
	}
	return error;
}

static int perform_drop(struct run_dir *dir, const struct effect *effect)
{
	struct run_log_dir *log = log_find(dir, effect->uuid);
	char path[PATH_BYTES];
	struct held *held;

	if (!log)
		return 0;
	if (effect->run_drop.luid == 0)
		return drop_log(dir, log);
	held = held_find(log, effect->run_drop.luid);
	if (!held)
		return 0;
	bits_path(log->name, RUN_HELD, held->luid, path);
	held_free(log, held);
	return unlinkat(dir->fd, path, 0) && errno != ENOENT ? -errno : 0;
}

int run_dir_perform(struct run_dir *dir, const struct effect *effect)
{
	int error = 0;

	assert(effect->uuid);
	switch (effect->type) {
	case EFFECT_RUN_META: error = perform_meta(dir, effect); break;
	case EFFECT_RUN_BITS: error = perform_bits(dir, effect); break;
	case EFFECT_RUN_DROP: error = perform_drop(dir, effect); break;
	default: assert(false); /* not an effect for the run directory */
	}
	if (error)
		break_state(dir, "cannot keep a change in the run directory", error);
	return error;
}

void run_dir_close(struct run_dir *dir)
{
	struct run_log_dir *log;

	if (!dir)
		return;
	while ((log = LIST_FIRST(&dir->logs))) {
		LIST_REMOVE(log, entry);
		log_free(log);
	}
	if (dir->boot_fd >= 0)
		close(dir->boot_fd);
	if (dir->lock_fd >= 0)
		close(dir->lock_fd);
	if (dir->fd >= 0)
		close(dir->fd);
	free(dir->path);
	free(dir);
}
