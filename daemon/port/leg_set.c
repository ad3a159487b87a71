/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/leg_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/port/block_device.h"

#define SECTOR_SHIFT 9

void leg_set_init(struct leg_set *legs, const struct mirror_table *table, const char *scratch_dir)
{
	legs->table = *table;
	legs->scratch_dir = scratch_dir;
	for (unsigned i = 0; i < MIRROR_LEGS_MAX; i++)
		legs->read_fds[i] = legs->write_fds[i] = -1;
}

void leg_set_close(struct leg_set *legs)
{
	for (unsigned i = 0; i < MIRROR_LEGS_MAX; i++) {
		if (legs->read_fds[i] >= 0)
			close(legs->read_fds[i]);
		if (legs->write_fds[i] >= 0)
			close(legs->write_fds[i]);
		legs->read_fds[i] = legs->write_fds[i] = -1;
	}
}

/* A file of a stand-in table; some file systems have no O_DIRECT, and no device whose cache matters. */
static int file_open(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int leg_need(struct leg_set *legs, unsigned i, int flags, int *fd)
{
	const struct mirror_leg *leg = &legs->table.legs[i];

	if (*fd >= 0)
		return 0;
	if (!leg->path[0])
		return block_device_open(leg->major, leg->minor, flags | O_DIRECT, legs->scratch_dir, fd);
	*fd = file_open(leg->path, flags);
	return *fd < 0 ? *fd : 0;
}

int leg_set_flush(struct leg_set *legs)
{
	int first_error = 0;

	for (unsigned i = 0; i < legs->table.leg_count; i++) {
		int error = leg_need(legs, i, O_RDONLY, &legs->read_fds[i]);

		if (!error && fdatasync(legs->read_fds[i]))
			error = -errno;
		if (!first_error)
			first_error = error;
	}
	return first_error;
}

static uint64_t leg_offset_bytes(const struct leg_set *legs, unsigned i, uint64_t sector)
{
	return (legs->table.legs[i].offset_sectors + sector) << SECTOR_SHIFT;
}

static int copy_piece(struct leg_set *legs, void *buffer, uint64_t sector, size_t size_bytes)
{
	int error =
	    block_device_read(legs->read_fds[0], buffer, size_bytes, leg_offset_bytes(legs, 0, sector));

	for (unsigned i = 1; !error && i < legs->table.leg_count; i++)
		error = block_device_write(legs->write_fds[i], buffer, size_bytes,
					   leg_offset_bytes(legs, i, sector));
	return error;
}

int leg_set_copy(struct leg_set *legs, uint64_t first_sector, uint64_t sectors)
{
	uint64_t left_bytes = sectors << SECTOR_SHIFT;
	void *buffer;
	int error;

	if (first_sector > legs->table.length_sectors || sectors > legs->table.length_sectors - first_sector)
		return -ERANGE;
	error = leg_need(legs, 0, O_RDONLY, &legs->read_fds[0]);
	for (unsigned i = 1; !error && i < legs->table.leg_count; i++)
		error = leg_need(legs, i, O_RDWR, &legs->write_fds[i]);
	if (error)
		return error;
	buffer = block_device_buffer(LEG_SET_PIECE_BYTES);
	if (!buffer)
		return -ENOMEM;
	while (!error && left_bytes > 0) {
		size_t piece_bytes =
		    left_bytes < LEG_SET_PIECE_BYTES ? (size_t)left_bytes : LEG_SET_PIECE_BYTES;

		error = copy_piece(legs, buffer, first_sector, piece_bytes);
		first_sector += piece_bytes >> SECTOR_SHIFT;
		left_bytes -= piece_bytes;
	}
	free(buffer);
	return error ? error : leg_set_flush(legs);
}
