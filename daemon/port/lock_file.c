/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIR_LOCK_TRIES 100 /* of 20 ms: other starters hold it for microseconds */

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

/* While it is held nobody else replaces a lock file of that directory. Returns a descriptor or a negative
 * errno. */
static int dir_lock(const char *path)
{
	static const struct timespec pause = {.tv_nsec = 20000000};
	char dir[PATH_MAX];
	char *slash;
	int fd;

	if (strlen(path) >= sizeof(dir))
		return -ENAMETOOLONG;
	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (!slash)
		strcpy(dir, ".");
	else
		slash[slash == dir ? 1 : 0] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || i == DIR_LOCK_TRIES) {
			close(fd);
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
	}
	return fd;
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

static int take(const char *path, int *ret_fd, pid_t *ret_holder)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	int error;

	if (fd < 0)
		return -errno;
	error = file_lock(fd, ret_holder);
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
	int dir_fd = dir_lock(path);
	int error;

	*ret_holder = 0;
	if (dir_fd < 0)
		return dir_fd;
	error = take(path, ret_fd, ret_holder);
	if (error == -EEXIST && process_is_exiting(*ret_holder) && !unlink(path))
		error = take(path, ret_fd, ret_holder);
	close(dir_fd);
	return error;
}
