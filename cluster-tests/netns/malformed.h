/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages that no kernel sends, for a daemon that must survive them and change nothing. */
#ifndef CLUSTER_TESTS_NETNS_MALFORMED_H
#define CLUSTER_TESTS_NETNS_MALFORMED_H

#include <stdint.h>

#include "common/types.h"

/* Sequence numbers from here on are of malformed messages: their replies are not the kernel's. */
#define MALFORMED_SEQ_FIRST UINT32_C(0xf0000000)

/*
 * Multicast `count` messages, each wrong in at least one way, made from `seed`. `uuid` and `luid` are those
 * of a log that exists, so that a daemon that believes a message has something to spoil. Returns 0 or a
 * negative errno.
 */
int malformed_send(int fd, const char *uuid, luid_t luid, uint64_t region_count, uint64_t seed,
		   unsigned count);

#endif
