/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/port/log.h"

#define TRY_NS	    INT64_C(20000000)
#define TELL_NS	    INT64_C(1000000000)
#define PATIENCE_NS INT64_C(60000000000) /* with a holder that is on its way out */

/* The first thread of a process that was killed is a zombie as long as others have not ended. */
static bool process_is_exiting(pid_t pid)
{
	char path[64], text[512];
	const char *state;
	size_t size;
	FILE *file;

	if (pid <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	size = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[size] = '\0';
	state = strrchr(text, ')'); /* the name before it may hold anything */
	return state && state[1] == ' ' && (state[2] == 'Z' || state[2] == 'X');
}

/* Returns 0, -EEXIST with the holder, or another negative errno. */
static int file_lock(int fd, pid_t *ret_holder)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	*ret_holder = 0;
	if (!fcntl(fd, F_SETLK, &lock))
		return 0;
	if (errno != EACCES && errno != EAGAIN)
		return -errno;
	if (!fcntl(fd, F_GETLK, &lock) && lock.l_type != F_UNLCK)
		*ret_holder = lock.l_pid > 0 ? lock.l_pid : 0;
	return -EEXIST;
}

static int pid_write(int fd)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "%u\n", (unsigned)getpid());
	ssize_t written;

	if (ftruncate(fd, 0) || fchmod(fd, 0644))
		return -errno;
	written = pwrite(fd, text, (size_t)size, 0);
	if (written != size)
		return written < 0 ? -errno : -EIO;
	return 0;
}

/* The holder may remove it in the moment between open(2) and the lock: then it is not the file any more. */
static bool is_removed(int fd)
{
	struct stat status;

	return fstat(fd, &status) || status.st_nlink == 0;
}

/* As lock_file_take(), at once; -EAGAIN: the file was removed meanwhile. */
static int take(const char *path, int *ret_fd, pid_t *ret_holder)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	int error;

	if (fd < 0)
		return -errno;
	error = file_lock(fd, ret_holder);
	if (!error && is_removed(fd))
		error = -EAGAIN;
	if (!error)
		error = pid_write(fd);
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

int lock_file_take(const char *path, int *ret_fd, pid_t *ret_holder)
{
	static const struct timespec pause = {.tv_nsec = TRY_NS};
	int64_t waited_ns = 0;
	int error;

	*ret_holder = 0;
	while ((error = take(path, ret_fd, ret_holder)) == -EAGAIN ||
	       (error == -EEXIST && process_is_exiting(*ret_holder))) {
		if (waited_ns == TELL_NS)
			log_write(
			    LOG_WARNING,
			    "%s: process %d was killed and cannot end: something hangs that it reads or "
			    "writes, and may still be written. Waiting for it",
			    path, (int)*ret_holder);
		if (waited_ns == PATIENCE_NS)
			return error;
		nanosleep(&pause, NULL);
		waited_ns += TRY_NS;
	}
	return error;
}
