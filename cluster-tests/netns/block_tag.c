/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster-tests/netns/block_tag.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#define TAG_OFFSET     16
#define PATTERN_OFFSET 24
#define HASH_OFFSET    (SECTOR_BYTES - 8)

static void u64_put(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint64_t u64_get(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

void block_encode(uint64_t block, uint64_t tag, uint8_t ret_bytes[BLOCK_BYTES])
{
	for (unsigned i = 0; i < BLOCK_BYTES / SECTOR_BYTES; i++) {
		uint8_t *sector = ret_bytes + i * SECTOR_BYTES;

		u64_put(sector, BLOCK_TAG_MAGIC);
		u64_put(sector + 8, block * (BLOCK_BYTES / SECTOR_BYTES) + i);
		u64_put(sector + TAG_OFFSET, tag);
		for (unsigned offset = PATTERN_OFFSET; offset < HASH_OFFSET; offset += 8)
			u64_put(sector + offset, tag * UINT64_C(0x9e3779b97f4a7c15) + offset);
		u64_put(sector + HASH_OFFSET, XXH64(sector, HASH_OFFSET, 0));
	}
}

int block_decode(uint64_t block, const uint8_t bytes[BLOCK_BYTES], uint64_t *ret_tag)
{
	static const uint8_t zeroes[BLOCK_BYTES];
	uint64_t tag = u64_get(bytes + TAG_OFFSET);

	if (!memcmp(bytes, zeroes, BLOCK_BYTES)) {
		*ret_tag = 0;
		return 0;
	}
	for (unsigned i = 0; i < BLOCK_BYTES / SECTOR_BYTES; i++) {
		const uint8_t *sector = bytes + i * SECTOR_BYTES;

		if (u64_get(sector) != BLOCK_TAG_MAGIC || u64_get(sector + TAG_OFFSET) != tag ||
		    u64_get(sector + 8) != block * (BLOCK_BYTES / SECTOR_BYTES) + i ||
		    u64_get(sector + HASH_OFFSET) != XXH64(sector, HASH_OFFSET, 0))
			return -EBADMSG;
	}
	*ret_tag = tag;
	return 0;
}

int block_records_open(struct block_records *records, const char *path, uint64_t block_count)
{
	size_t size = (size_t)block_count * sizeof(struct block_record);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *map;
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		ret = -errno;
	close(fd);
	if (ret)
		return ret;
	records->entries = map;
	records->count = block_count;
	return 0;
}

void block_records_close(struct block_records *records)
{
	if (records->entries)
		munmap(records->entries, (size_t)records->count * sizeof(struct block_record));
	records->entries = NULL;
}
