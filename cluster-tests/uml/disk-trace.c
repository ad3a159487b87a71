/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into user-mode-linux, beside xstate-shim.c: tells what the node writes to some of its disks and
 * when it flushes them, so that somebody can say what a power cut might have left there
 * (umlcluster/diskcache.py). The disks are files of the host and lose nothing by themselves.
 *
 * All nodes append to one file, a record at a time, so its order is that of all of them. A write is told
 * before it is made: from then on it may be on the disk.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DISKS_MAX = 8 };

/* As diskcache.py reads it. */
enum kind { KIND_WRITE = 1, KIND_FLUSH };

struct header {
	uint32_t node;
	uint32_t kind;
	uint64_t inode;
	uint64_t offset_bytes;
	uint64_t size_bytes; /* of the data behind it */
};

static int trace_fd = -1;
static uint32_t node;
static long kernel_pid;
static uint64_t disks[DISKS_MAX]; /* inodes */
static unsigned disk_count;

__attribute__((constructor)) static void trace_open(void)
{
	const char *path = getenv("DISK_TRACE"), *number = getenv("DISK_TRACE_NODE"),
		   *inodes = getenv("DISK_TRACE_INODES");
	char *end;

	if (path == NULL || number == NULL || inodes == NULL)
		return;
	trace_fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (trace_fd < 0)
		abort();
	node = (uint32_t)strtoul(number, NULL, 10);
	kernel_pid = getpid();
	while (disk_count < DISKS_MAX) {
		disks[disk_count] = strtoull(inodes, &end, 10);
		if (end == inodes)
			break;
		disk_count++;
		inodes = end;
	}
}

/* Returns the inode of a disk that is traced, else 0. */
static uint64_t disk_of(int fd)
{
	struct stat found;

	if (trace_fd < 0 || fstat(fd, &found) != 0)
		return 0;
	for (unsigned i = 0; i < disk_count; i++)
		if (disks[i] == found.st_ino)
			return disks[i];
	return 0;
}

static void tell(enum kind kind, uint64_t inode, const void *data, size_t size, off64_t offset)
{
	struct header header = {.node = node, .kind = kind, .inode = inode, .size_bytes = size};
	struct iovec parts[] = {{.iov_base = &header, .iov_len = sizeof(header)},
				{.iov_base = (void *)(uintptr_t)data, .iov_len = size}};

	header.offset_bytes = (uint64_t)offset;
	/* A trace with a gap would excuse what it has not seen. */
	if (syscall(SYS_writev, trace_fd, parts, 2) != (long)(sizeof(header) + size))
		abort();
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	uint64_t inode = disk_of(fd);

	if (inode != 0)
		tell(KIND_WRITE, inode, data, size, offset);
	return syscall(SYS_pwrite64, fd, data, size, offset);
}

/*
 * Linux 6.1 of user-mode-linux hands a flush to the thread of its disks as a request without any piece of
 * data, and that thread does nothing for a request without pieces (io_thread() of
 * arch/um/drivers/ubd_kern.c): no call of the library tells of it. So look at the requests that this thread
 * reads, as addresses; it is a process of its own with the memory of the kernel. A flush that is told before
 * the writes that were read together with it covers less than it might.
 */
enum { REQUESTS_MAX = 64 };

struct disk_request {
	void *request;
	int fds[2]; /* the first one is the disk's */
	unsigned long offsets[2];
	unsigned long long offset;
	int sector_bytes;
	int error;
	int piece_count;
};

static void flushes_tell(struct disk_request *const *requests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t inode = requests[i]->piece_count == 0 ? disk_of(requests[i]->fds[0]) : 0;

		if (inode != 0)
			tell(KIND_FLUSH, inode, NULL, 0, 0);
	}
}

ssize_t read(int fd, void *data, size_t size)
{
	ssize_t result = syscall(SYS_read, fd, data, size);

	if (trace_fd >= 0 && result > 0 && size == REQUESTS_MAX * sizeof(struct disk_request *) &&
	    syscall(SYS_getpid) != kernel_pid)
		flushes_tell(data, (size_t)result / sizeof(struct disk_request *));
	return result;
}
