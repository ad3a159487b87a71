/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deliberate faults of the core: each breaks one rule, where it stands. The daemon is built without them:
 * there CORE_MUTANT() is 0. The simulator builds the core with CORE_MUTANTS and switches one on at a time, to
 * show that its checkers see what breaks (tests/sim/mutant.c says which hazard each is of).
 */
#ifndef DAEMON_CORE_MUTANT_H
#define DAEMON_CORE_MUTANT_H

#ifdef CORE_MUTANTS
enum core_mutant {
	CORE_MUTANT_NONE,
	CORE_MUTANT_CLEAR_KEEPS,
	CORE_MUTANT_STALE_SYNC,
	CORE_MUTANT_CLAIM_MARKED,
	CORE_MUTANT_GHOSTS_COUNT,
	CORE_MUTANT_FAILED_FORGOTTEN,
	CORE_MUTANT_FAILED_UNSYNCED,
	CORE_MUTANT_OPEN_FORGOTTEN,
	CORE_MUTANT_NO_ACK,
	CORE_MUTANT_HELD_DROPPED,
	CORE_MUTANT_HELD_RESUMED,
	CORE_MUTANT_GHOSTS_WAIT,
	CORE_MUTANT_DOUBT_FORGOTTEN,
	CORE_MUTANT_FLUSH_UNHEARD,
	CORE_MUTANT_SUSPEND_UNFLUSHED,
	CORE_MUTANT_REPAIR_BARRED,
	CORE_MUTANT_FRAME_WAITS,
	CORE_MUTANT_SPEECH_WAITS,
	CORE_MUTANT_WRITING_IGNORED,
};

extern enum core_mutant core_mutant_on; /* defined by the simulator */
#define CORE_MUTANT(NAME) (core_mutant_on == CORE_MUTANT_##NAME)
#else
#define CORE_MUTANT(NAME) 0
#endif

#endif
