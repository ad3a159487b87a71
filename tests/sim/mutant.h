/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deliberate faults: each makes a daemon, its ports or its surroundings break a rule, as a bug in them would.
 * They show that the checkers see what they are there for. One is switched on at a time, at run time.
 */
#ifndef TESTS_SIM_MUTANT_H
#define TESTS_SIM_MUTANT_H

#include "daemon/core/mutant.h"

enum mutant {
	MUTANT_NONE,
	MUTANT_FLUSH_EARLY,
	MUTANT_NO_LEGS_FLUSH,
	MUTANT_WRITE_EARLY,
	MUTANT_WRITE_LOST,
	MUTANT_WRITE_TORN,
	MUTANT_READ_CLEAN,
	MUTANT_HELD_LOST,
	MUTANT_MARKED_LOST,
	MUTANT_META_STALE,
	MUTANT_TOLD_LOST,
	MUTANT_MEMORY_LOST,
	MUTANT_ESRCH_EMPTY,
	MUTANT_IN_SYNC_ERROR,
	MUTANT_IN_SYNC_ALWAYS,
	MUTANT_IN_SYNC_FLIPS,
	MUTANT_RECOVERING_NEVER,
	MUTANT_HINT_FULL,
	MUTANT_COUNT_FULL,
	MUTANT_WORK_FOR_ALL,
	MUTANT_QUORUM_ALWAYS,
	MUTANT_FENCE_AT_ONCE,
	MUTANT_LOCK_UNASKED,
	MUTANT_NO_WAKE,
	MUTANT_ANSWER_TWICE,
	MUTANT_ANSWER_OLD,
	MUTANT_ANSWER_NEVER,
	MUTANT_REPAIR_SKIPPED,
	MUTANT_REPAIR_ELSEWHERE,
	MUTANT_CTR_NAME,
	MUTANT_EAGAIN_FULL,
	MUTANT_DELIVERY_LOST,
	MUTANT_LEAVE_EARLY,
	MUTANT_CLEAR_FORGED,
	MUTANT_SUSPEND_EARLY,
	MUTANT_MARK_DROPPED,
	MUTANT_LEGS_FLUSH_EARLY,
	MUTANT_REPAIR_UNFLUSHED,
	MUTANT_READ_STALE,
	MUTANT_TABLES_EMPTY,
	MUTANT_VIEW_LOST,
	/* in the core: daemon/core/mutant.h */
	MUTANT_CLEAR_KEEPS,
	MUTANT_STALE_SYNC,
	MUTANT_CLAIM_MARKED,
	MUTANT_GHOSTS_COUNT,
	MUTANT_FAILED_FORGOTTEN,
	MUTANT_FAILED_UNSYNCED,
	MUTANT_OPEN_FORGOTTEN,
	MUTANT_NO_ACK,
	MUTANT_HELD_DROPPED,
	MUTANT_DOUBT_FORGOTTEN,
	MUTANT_HELD_RESUMED,
	MUTANT_GHOSTS_WAIT,
	MUTANTS_END
};

struct mutant_info {
	const char *name, *hazard, *text;
	const char *faults; /* what it takes to see it */
	int core;	    /* enum core_mutant, 0: it is a fault of the simulator's models */
};

extern const struct mutant_info mutant_infos[MUTANTS_END];

/* The number of a name, or -1. */
int mutant_find(const char *name);

#endif
