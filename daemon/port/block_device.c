/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/block_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Open `path` if it is that device. Returns a descriptor or a negative errno. */
static int open_verified(const char *path, dev_t device, int flags)
{
	char link[64];
	struct stat status;
	int found, fd;

	found = open(path, O_PATH | O_CLOEXEC);
	if (found < 0)
		return -errno;
	if (fstat(found, &status) || !S_ISBLK(status.st_mode) || status.st_rdev != device) {
		close(found);
		return -ENODEV;
	}
	/* Not /proc/self, which is the first thread: it may have ended. */
	snprintf(link, sizeof(link), "/proc/thread-self/fd/%d", found);
	fd = open(link, flags | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(found);
	return fd;
}

/* The same through a node made for the purpose. A left-over of that name is the same device, or fails the
 * check. */
static int open_scratch(const char *dir, dev_t device, int flags)
{
	char path[512];
	int fd, size;

	size = snprintf(path, sizeof(path), "%s/.mirrorlogd-%u:%u-%d", dir, major(device), minor(device),
			gettid());
	if (size < 0 || (size_t)size >= sizeof(path))
		return -ENAMETOOLONG;
	if (mknod(path, S_IFBLK | 0600, device) && errno != EEXIST)
		return -errno;
	fd = open_verified(path, device, flags);
	unlink(path);
	return fd;
}

int block_device_open(uint32_t major, uint32_t minor, int flags, const char *scratch_dir, int *ret_fd)
{
	dev_t device = makedev(major, minor);
	char path[64];
	int fd, other;

	snprintf(path, sizeof(path), "/dev/block/%u:%u", major, minor);
	fd = open_verified(path, device, flags);
	if (fd == -ENOENT || fd == -ENODEV)
		fd = open_scratch("/dev", device, flags);
	if (fd < 0 && fd != -ENXIO && scratch_dir) {
		other = open_scratch(scratch_dir, device, flags);
		fd = other >= 0 ? other : fd;
	}
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int block_device_geometry(int fd, uint64_t *ret_size_bytes, uint32_t *ret_block_bytes)
{
	struct stat status;
	uint64_t size_bytes;
	int block_bytes;

	if (fstat(fd, &status))
		return -errno;
	if (S_ISREG(status.st_mode)) {
		*ret_size_bytes = (uint64_t)status.st_size;
		*ret_block_bytes = 512;
		return 0;
	}
	if (ioctl(fd, BLKGETSIZE64, &size_bytes) || ioctl(fd, BLKSSZGET, &block_bytes))
		return -errno;
	*ret_size_bytes = size_bytes;
	*ret_block_bytes = (uint32_t)block_bytes;
	return 0;
}

/* All of it, in as many calls as it takes. */
static int transfer(int fd, char *at, size_t size_bytes, uint64_t offset_bytes, bool write)
{
	while (size_bytes > 0) {
		ssize_t part = write ? pwrite(fd, at, size_bytes, (off_t)offset_bytes)
				     : pread(fd, at, size_bytes, (off_t)offset_bytes);

		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0)
			return part < 0 ? -errno : -EIO;
		at += part;
		offset_bytes += (uint64_t)part;
		size_bytes -= (size_t)part;
	}
	return 0;
}

int block_device_read(int fd, void *bytes, size_t size_bytes, uint64_t offset_bytes)
{
	return transfer(fd, bytes, size_bytes, offset_bytes, false);
}

int block_device_write(int fd, const void *bytes, size_t size_bytes, uint64_t offset_bytes)
{
	return transfer(fd, (char *)bytes, size_bytes, offset_bytes, true); /* only read from */
}

void *block_device_buffer(size_t size_bytes)
{
	void *buffer;

	return posix_memalign(&buffer, BLOCK_DEVICE_ALIGN, size_bytes ? size_bytes : 1) ? NULL : buffer;
}
