/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/in_hand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/port/port.h"

#define FILE_NAME "in-hand"

/* A number belongs into one bucket; when that is full, its oldest makes room. */
#define WAYS	8u
#define BUCKETS (IN_HAND_MAX / WAYS)

/* 0: nothing is here; 0 is a number of the kernel, too. */
#define ENTRY(seq) ((uint64_t)(seq) + 1)

struct content {
	uint64_t newest; /* ENTRY() of the last request that was taken */
	uint64_t entries[BUCKETS][WAYS];
};

struct in_hand {
	struct content *content;
};

static int content_map(int fd, struct content **ret_content)
{
	void *map;
	/* A full file system must be found out now: later it would be a SIGBUS. */
	int error = ftruncate(fd, sizeof(struct content)) != 0
			? -errno
			: -posix_fallocate(fd, 0, sizeof(struct content));

	if (error != 0)
		return error;
	map = mmap(NULL, sizeof(struct content), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_content = map;
	return 0;
}

int in_hand_open(const char *run_dir, struct in_hand **ret_hand)
{
	struct content *content = NULL;
	char path[4096];
	int fd, error;

	if (snprintf(path, sizeof(path), "%s/" FILE_NAME, run_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	error = content_map(fd, &content);
	close(fd);
	if (error != 0)
		return error;
	*ret_hand = port_alloc(sizeof(**ret_hand));
	(*ret_hand)->content = content;
	return 0;
}

void in_hand_taken(struct in_hand *hand, uint32_t seq)
{
	uint64_t *bucket, *place;

	if (hand == NULL)
		return;
	bucket = hand->content->entries[seq % BUCKETS];
	place = bucket;
	for (unsigned i = 0; i < WAYS; i++) {
		if (bucket[i] == 0) {
			place = &bucket[i];
			break;
		}
		/* Numbers go round: the distance says which one is older. */
		if (seq - (uint32_t)(bucket[i] - 1) > seq - (uint32_t)(*place - 1))
			place = &bucket[i];
	}
	*place = ENTRY(seq);
	hand->content->newest = ENTRY(seq);
}

void in_hand_answered(struct in_hand *hand, uint32_t seq)
{
	uint64_t *bucket;

	if (hand == NULL)
		return;
	bucket = hand->content->entries[seq % BUCKETS];
	for (unsigned i = 0; i < WAYS; i++) {
		if (bucket[i] == ENTRY(seq))
			bucket[i] = 0;
	}
}

void in_hand_former(struct in_hand *hand, void (*each_fn)(void *context, uint32_t seq), void *context)
{
	struct content *content;

	if (hand == NULL)
		return;
	content = hand->content;
	/* From the highest down: what is asked again at once has a number that was told already. Upwards it
	 * would be told to ask once more, up to the end. */
	for (uint32_t i = IN_HAND_AHEAD; content->newest != 0 && i-- > 0;)
		each_fn(context, (uint32_t)content->newest + i);
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (unsigned k = 0; k < WAYS; k++) {
			if (content->entries[i][k] != 0)
				each_fn(context, (uint32_t)(content->entries[i][k] - 1));
		}
	}
	memset(content, 0, sizeof(*content));
}

bool in_hand_has_former(const struct in_hand *hand)
{
	return hand != NULL && hand->content->newest != 0;
}

bool in_hand_unread(const struct in_hand *hand, uint32_t seq)
{
	return in_hand_has_former(hand) && seq - (uint32_t)hand->content->newest < IN_HAND_AHEAD;
}

void in_hand_remove(int dir_fd)
{
	(void)unlinkat(dir_fd, FILE_NAME, 0);
}

void in_hand_close(struct in_hand *hand)
{
	if (hand == NULL)
		return;
	munmap(hand->content, sizeof(*hand->content));
	free(hand);
}
