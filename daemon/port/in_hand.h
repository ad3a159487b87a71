/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which requests of the kernel the daemon has taken and not answered yet: a small file in the run directory,
 * mapped shared, so that it outlives the daemon (run_dir.h).
 *
 * The kernel waits 15 s for each answer before it asks again (DM_ULOG_RETRY_TIMEOUT). A daemon that finds
 * what its predecessor had in hand tells the kernel to ask again at once: a bare acknowledgement with EAGAIN,
 * after which dm_consult_userspace() sends the same request with a new number, exactly as after its timeout.
 * It may be said to any number: one that nobody waits for is dropped (fill_pkg()), one that is taken for
 * another's costs that one a second message. So this file may forget, and may hold too much, and nothing
 * depends on it but time.
 */
#ifndef DAEMON_PORT_IN_HAND_H
#define DAEMON_PORT_IN_HAND_H

#include <stdbool.h>
#include <stdint.h>

/* How many requests it remembers; more than a host's mirrors have threads. */
#define IN_HAND_MAX 4096u

/* Behind the newest request that was taken: those which the kernel had sent and nobody had read. */
#define IN_HAND_AHEAD 256u

struct in_hand;

/* Open the file in the directory `run_dir`, or make it. Returns 0 or a negative errno. */
int in_hand_open(const char *run_dir, struct in_hand **ret_hand);

/* A request was taken; it was answered. No system call; NULL is allowed and does nothing. */
void in_hand_taken(struct in_hand *hand, uint32_t seq);
void in_hand_answered(struct in_hand *hand, uint32_t seq);

/* Tell each number that a former daemon may have left unanswered, and forget them. NULL is allowed. */
void in_hand_former(struct in_hand *hand, void (*each_fn)(void *context, uint32_t seq), void *context);

/* Forget what a former boot left in the directory `dir_fd`: its numbers say nothing of this one. */
void in_hand_remove(int dir_fd);

/* Before in_hand_former(): was there a former daemon, and is this among the numbers that will be told because
 * it may never have read them? */
bool in_hand_has_former(const struct in_hand *hand);
bool in_hand_unread(const struct in_hand *hand, uint32_t seq);

/* What is in hand stays in the file. NULL is allowed. */
void in_hand_close(struct in_hand *hand);

#endif
