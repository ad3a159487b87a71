/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/bit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BITS ((uint64_t)BIT_FILE_CHUNK_BYTES * 8)
#define SIZE_MAX_BYTES                                                                                       \
	((LOG_REGIONS_MAX / 8 + BIT_FILE_CHUNK_BYTES) / BIT_FILE_CHUNK_BYTES * BIT_FILE_CHUNK_BYTES)

/* Map `size_bytes` of the file, which has that size. Keeps what is known of the chunks. */
static int map_size(struct bit_file *file, int fd, size_t size_bytes)
{
	size_t chunks = size_bytes / BIT_FILE_CHUNK_BYTES,
	       chunks_before = file->size_bytes / BIT_FILE_CHUNK_BYTES;
	uint8_t *allocated = realloc(file->allocated, chunks);
	void *map;

	if (!allocated)
		return -ENOMEM;
	memset(allocated + chunks_before, 0, chunks - chunks_before);
	file->allocated = allocated;
	map = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (file->map)
		munmap(file->map, file->size_bytes);
	file->map = map;
	file->size_bytes = size_bytes;
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, size - 1));
}

/* Find the chunks that hold bits, by reading: a read through the mapping would fill the holes. They get their
 * memory now: a file system that is not tmpfs may have made new holes. */
static int find_chunks(struct bit_file *file, int fd)
{
	uint8_t bytes[BIT_FILE_CHUNK_BYTES];
	int error;

	for (size_t chunk = 0; chunk < file->size_bytes / BIT_FILE_CHUNK_BYTES; chunk++) {
		off_t offset = (off_t)(chunk * BIT_FILE_CHUNK_BYTES);
		ssize_t size = pread(fd, bytes, sizeof(bytes), offset);

		if (size != (ssize_t)sizeof(bytes))
			return size < 0 ? -errno : -EUCLEAN;
		if (is_zero(bytes, sizeof(bytes)))
			continue;
		error = posix_fallocate(fd, offset, BIT_FILE_CHUNK_BYTES);
		if (error)
			return -error;
		file->allocated[chunk] = 1;
	}
	return 0;
}

int bit_file_load(struct bit_file *file, int dir_fd, const char *name)
{
	struct stat status;
	int fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW), error = 0;

	*file = (struct bit_file){.map = NULL};
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &status))
		error = -errno;
	else if (status.st_size < 0 || (uint64_t)status.st_size > SIZE_MAX_BYTES ||
		 status.st_size % BIT_FILE_CHUNK_BYTES)
		error = -EUCLEAN;
	else if (status.st_size > 0)
		error = map_size(file, fd, (size_t)status.st_size);
	if (!error)
		error = find_chunks(file, fd);
	close(fd);
	if (error)
		bit_file_unmap(file);
	return error;
}

/* Give memory to chunks first .. last, in as few calls as there are runs. */
static int allocate_chunks(struct bit_file *file, int fd, size_t first, size_t last)
{
	while (first <= last) {
		size_t end = first;
		int error;

		if (file->allocated[first]) {
			first++;
			continue;
		}
		while (end <= last && !file->allocated[end])
			end++;
		error = posix_fallocate(fd, (off_t)(first * BIT_FILE_CHUNK_BYTES),
					(off_t)((end - first) * BIT_FILE_CHUNK_BYTES));
		if (error)
			return -error;
		memset(file->allocated + first, 1, end - first);
		first = end;
	}
	return 0;
}

static bool has_room(const struct bit_file *file, size_t first_chunk, size_t last_chunk)
{
	if ((last_chunk + 1) * BIT_FILE_CHUNK_BYTES > file->size_bytes)
		return false;
	return first_chunk == last_chunk
		   ? file->allocated[first_chunk]
		   : !memchr(file->allocated + first_chunk, 0, last_chunk - first_chunk + 1);
}

static int make_room(struct bit_file *file, int dir_fd, const char *name, size_t first_chunk,
		     size_t last_chunk)
{
	size_t size_bytes = (last_chunk + 1) * BIT_FILE_CHUNK_BYTES;
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), error = 0;

	if (fd < 0)
		return -errno;
	if (size_bytes > file->size_bytes) {
		error = ftruncate(fd, (off_t)size_bytes) ? -errno : 0;
		if (!error)
			error = map_size(file, fd, size_bytes);
	}
	if (!error)
		error = allocate_chunks(file, fd, first_chunk, last_chunk);
	close(fd);
	return error;
}

static void bits_write(uint8_t *bytes, uint64_t first, uint64_t end, bool set)
{
	uint64_t first_byte = first / 8, last_byte = (end - 1) / 8;
	uint8_t head = (uint8_t)(0xff << first % 8), tail = (uint8_t)(0xff >> (7 - (end - 1) % 8));

	if (first_byte == last_byte)
		head = tail = head & tail;
	if (set) {
		bytes[first_byte] |= head;
		bytes[last_byte] |= tail;
	} else {
		bytes[first_byte] &= (uint8_t)~head;
		bytes[last_byte] &= (uint8_t)~tail;
	}
	if (last_byte > first_byte + 1)
		memset(bytes + first_byte + 1, set ? 0xff : 0, last_byte - first_byte - 1);
}

int bit_file_set(struct bit_file *file, int dir_fd, const char *name, uint64_t first, uint64_t count)
{
	size_t first_chunk = first / CHUNK_BITS, last_chunk;
	int error;

	if (count == 0)
		return 0;
	last_chunk = (first + count - 1) / CHUNK_BITS;
	if (!has_room(file, first_chunk, last_chunk)) {
		error = make_room(file, dir_fd, name, first_chunk, last_chunk);
		if (error)
			return error;
	}
	bits_write(file->map, first, first + count, true);
	return 0;
}

void bit_file_clear(struct bit_file *file, uint64_t first, uint64_t count)
{
	uint64_t size_bits = (uint64_t)file->size_bytes * 8, end = first + count;

	if (end > size_bits)
		end = size_bits;
	while (first < end) {
		uint64_t chunk = first / CHUNK_BITS, chunk_end = (chunk + 1) * CHUNK_BITS;

		if (chunk_end > end)
			chunk_end = end;
		if (file->allocated[chunk])
			bits_write(file->map, first, chunk_end, false);
		first = chunk_end;
	}
}

void bit_file_truncate(struct bit_file *file, uint64_t first)
{
	uint64_t size_bits = (uint64_t)file->size_bytes * 8;

	if (first < size_bits)
		bit_file_clear(file, first, size_bits - first);
}

/* The runs of one chunk; *run_first is the start of a run that is open, or UINT64_MAX. */
static void chunk_runs(const uint8_t *bytes, uint64_t base, uint64_t end, struct region_set_builder *builder,
		       uint64_t *run_first)
{
	for (uint64_t region = base; region < end;) {
		uint8_t byte = bytes[(region - base) / 8];

		if (region % 8 == 0 && end - region >= 8 && (byte == 0xff) == (*run_first != UINT64_MAX) &&
		    (byte == 0 || byte == 0xff)) {
			region += 8;
			continue;
		}
		if ((byte >> region % 8 & 1) != (*run_first != UINT64_MAX)) {
			if (*run_first == UINT64_MAX) {
				*run_first = region;
			} else {
				region_set_build_run(builder, *run_first, region);
				*run_first = UINT64_MAX;
			}
		}
		region++;
	}
}

void bit_file_regions(const struct bit_file *file, struct region_set *ret_set)
{
	static const uint8_t hole[BIT_FILE_CHUNK_BYTES];
	struct region_set_builder builder;
	uint64_t run_first = UINT64_MAX, limit = (uint64_t)file->size_bytes * 8;

	region_set_clear(ret_set);
	region_set_build_begin(&builder, ret_set);
	for (uint64_t base = 0; base < limit; base += CHUNK_BITS) {
		const uint8_t *bytes = file->allocated[base / CHUNK_BITS] ? file->map + base / 8 : hole;
		uint64_t end = base + CHUNK_BITS < limit ? base + CHUNK_BITS : limit;

		chunk_runs(bytes, base, end, &builder, &run_first);
	}
	if (run_first != UINT64_MAX)
		region_set_build_run(&builder, run_first, limit);
	region_set_build_end(&builder);
}

void bit_file_unmap(struct bit_file *file)
{
	if (file->map)
		munmap(file->map, file->size_bytes);
	free(file->allocated);
	*file = (struct bit_file){.map = NULL};
}
