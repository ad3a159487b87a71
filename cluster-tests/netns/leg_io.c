/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster-tests/netns/leg_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/netns/block_tag.h"

/* A copy reads one block and writes it at once, one region a mirror at a time: far fewer are alive. */
#define RAW_SLOTS 1024u
#define RAW_FLAG  (UINT64_C(1) << 63)

struct leg_operation {
	TAILQ_ENTRY(leg_operation) entry;
	uint64_t due_ns;
	struct leg *leg;
	enum kernel_output_type type;
	uint64_t op;
	uint64_t block;
	uint64_t tag;
	bool fua;
};

int leg_io_init(struct leg_io *io, uint64_t seed, uint64_t delay_max_ns)
{
	memset(io, 0, sizeof(*io));
	TAILQ_INIT(&io->operations);
	io->delay_max_ns = delay_max_ns;
	for (unsigned i = 0; i < 3; i++)
		io->random[i] = (unsigned short)(seed >> (16 * i));
	io->raw = calloc(RAW_SLOTS, BLOCK_BYTES);
	return io->raw ? 0 : -ENOMEM;
}

void leg_io_deinit(struct leg_io *io)
{
	struct leg_operation *operation;

	while ((operation = TAILQ_FIRST(&io->operations))) {
		TAILQ_REMOVE(&io->operations, operation, entry);
		free(operation);
	}
	free(io->raw);
	io->raw = NULL;
}

/* /dev has no links by number without udev: sysfs knows the name. */
static int device_path(const char *name, char *ret_path, size_t room)
{
	char uevent[64], line[128];
	FILE *file;
	int ret = -ENODEV;

	if (strchr(name, '/')) {
		snprintf(ret_path, room, "%s", name);
		return 0;
	}
	snprintf(uevent, sizeof(uevent), "/sys/dev/block/%.40s/uevent", name);
	file = fopen(uevent, "re");
	if (!file)
		return -errno;
	while (ret && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "DEVNAME=", 8))
			continue;
		snprintf(ret_path, room, "/dev/%s", line + 8);
		ret = 0;
	}
	fclose(file);
	return ret;
}

int leg_open(struct leg *leg, const char *name, uint64_t offset_bytes)
{
	char path[256];
	int ret = device_path(name, path, sizeof(path));

	if (ret)
		return ret;
	leg->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	leg->offset_bytes = offset_bytes;
	leg->failing = false;
	return leg->fd < 0 ? -errno : 0;
}

void leg_close(struct leg *leg)
{
	if (leg->fd >= 0)
		close(leg->fd);
	leg->fd = -1;
}

bool leg_tag_is_raw(uint64_t tag)
{
	return tag & RAW_FLAG;
}

int leg_io_add(struct leg_io *io, const struct kernel_output *output, struct leg *leg,
	       uint32_t blocks_per_region, uint64_t now_ns)
{
	struct leg_operation *operation = calloc(1, sizeof(*operation)), *after;

	if (!operation)
		return -ENOMEM;
	operation->leg = leg;
	operation->type = output->type;
	operation->op = output->leg.op;
	operation->block = (uint64_t)output->leg.region * blocks_per_region + output->leg.block;
	operation->tag = output->leg.tag;
	operation->fua = output->leg.fua;
	operation->due_ns = now_ns;
	/* Copies are in order and many: they go at full speed. */
	if (io->delay_max_ns && !output->leg.copy)
		operation->due_ns += (uint64_t)nrand48(io->random) % io->delay_max_ns;
	after = TAILQ_LAST(&io->operations, leg_operations);
	while (after && after->due_ns > operation->due_ns)
		after = TAILQ_PREV(after, leg_operations, entry);
	if (after)
		TAILQ_INSERT_AFTER(&io->operations, after, operation, entry);
	else
		TAILQ_INSERT_HEAD(&io->operations, operation, entry);
	return 0;
}

static int block_read(struct leg_io *io, const struct leg_operation *operation, uint8_t *buffer,
		      uint64_t *ret_tag)
{
	off_t offset = (off_t)(operation->leg->offset_bytes + operation->block * BLOCK_BYTES);
	ssize_t got = pread(operation->leg->fd, buffer, BLOCK_BYTES, offset);

	if (got != BLOCK_BYTES)
		return -EIO;
	if (block_decode(operation->block, buffer, ret_tag) == 0)
		return 0;
	memcpy((uint8_t *)io->raw + (size_t)io->raw_next * BLOCK_BYTES, buffer, BLOCK_BYTES);
	*ret_tag = RAW_FLAG | io->raw_next;
	io->raw_next = (io->raw_next + 1) % RAW_SLOTS;
	return 0;
}

static int block_write(struct leg_io *io, const struct leg_operation *operation, uint8_t *buffer)
{
	off_t offset = (off_t)(operation->leg->offset_bytes + operation->block * BLOCK_BYTES);

	if (leg_tag_is_raw(operation->tag))
		memcpy(buffer, (uint8_t *)io->raw + (size_t)(operation->tag & ~RAW_FLAG) * BLOCK_BYTES,
		       BLOCK_BYTES);
	else if (operation->tag)
		block_encode(operation->block, operation->tag, buffer);
	else
		memset(buffer, 0, BLOCK_BYTES);
	if (pwrite(operation->leg->fd, buffer, BLOCK_BYTES, offset) != BLOCK_BYTES)
		return -EIO;
	return operation->fua && fdatasync(operation->leg->fd) < 0 ? -EIO : 0;
}

static int operation_run(struct leg_io *io, const struct leg_operation *operation, uint64_t *ret_tag)
{
	static _Alignas(BLOCK_BYTES) uint8_t buffer[BLOCK_BYTES];

	*ret_tag = 0;
	if (operation->leg->failing)
		return -EIO;
	switch (operation->type) {
	case KERNEL_LEG_READ: return block_read(io, operation, buffer, ret_tag);
	case KERNEL_LEG_WRITE: return block_write(io, operation, buffer);
	case KERNEL_LEG_FLUSH: return fdatasync(operation->leg->fd) < 0 ? -EIO : 0;
	default: return 0;
	}
}

unsigned leg_io_run(struct leg_io *io, struct kernel *kernel, uint64_t now_ns)
{
	struct leg_operation *operation;
	unsigned done = 0;

	while (!io->held && (operation = TAILQ_FIRST(&io->operations)) && operation->due_ns <= now_ns) {
		uint64_t tag;
		int error = operation_run(io, operation, &tag);

		TAILQ_REMOVE(&io->operations, operation, entry);
		kernel_leg_done(kernel, operation->op, error, tag);
		free(operation);
		done++;
	}
	return done;
}

bool leg_io_busy(const struct leg_io *io, const struct leg *leg)
{
	const struct leg_operation *operation;

	TAILQ_FOREACH (operation, &io->operations, entry)
		if (operation->leg == leg)
			return true;
	return false;
}

uint64_t leg_io_deadline_ns(const struct leg_io *io)
{
	const struct leg_operation *first = TAILQ_FIRST(&io->operations);

	return first && !io->held ? first->due_ns : KERNEL_NEVER;
}
