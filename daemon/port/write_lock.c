/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/write_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <xxhash.h>

static const char *const prefixes[WRITE_LOCK_KINDS] = {
    [WRITE_LOCK_DEVICE] = "writing.",
    [WRITE_LOCK_LEGS] = "copying.",
    [WRITE_LOCK_FLUSH] = "flushing.",
};

bool write_lock_is_name(const char *name)
{
	for (size_t i = 0; i < WRITE_LOCK_KINDS; i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

void write_lock_name(enum write_lock_kind kind, const char *uuid, char ret_name[WRITE_LOCK_NAME_BYTES])
{
	XXH128_hash_t hash = XXH3_128bits(uuid, strlen(uuid));

	snprintf(ret_name, WRITE_LOCK_NAME_BYTES, "%s%016llx%016llx", prefixes[kind],
		 (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

static int lock_open(const char *run_dir, enum write_lock_kind kind, const char *uuid, int flags)
{
	char name[WRITE_LOCK_NAME_BYTES], path[PATH_MAX];
	int length, fd;

	write_lock_name(kind, uuid, name);
	length = snprintf(path, sizeof(path), "%s/%s", run_dir, name);
	if (length < 0 || (size_t)length >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	return fd < 0 ? -errno : fd;
}

int write_lock_open(const char *run_dir, enum write_lock_kind kind, const char *uuid)
{
	return lock_open(run_dir, kind, uuid, O_CREAT);
}

int write_lock_take(int fd)
{
	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			return -errno;
	return 0;
}

void write_lock_give(int fd)
{
	(void)flock(fd, LOCK_UN);
}

bool write_lock_held(const char *run_dir, enum write_lock_kind kind, const char *uuid)
{
	int fd = lock_open(run_dir, kind, uuid, 0);
	bool held;

	if (fd < 0)
		return fd != -ENOENT;
	held = flock(fd, LOCK_SH | LOCK_NB) != 0;
	close(fd);
	return held;
}
