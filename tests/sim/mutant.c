/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/mutant.h"

#include <stddef.h>
#include <string.h>

enum core_mutant core_mutant_on;

const struct mutant_info mutant_infos[MUTANTS_END] = {
    [MUTANT_NONE] = {"none", "", "", "all", CORE_MUTANT_NONE},
    [MUTANT_FLUSH_EARLY] = {"flush-early", "A5", "FLUSH is answered before the commit", "none"},
    [MUTANT_NO_LEGS_FLUSH] = {"no-legs-flush", "B7", "clean bits without a flush of the legs", "none"},
    [MUTANT_WRITE_EARLY] = {"write-early", "A14",
			    "a log device write is taken for done while it is in flight", "none"},
    [MUTANT_WRITE_LOST] = {"write-lost", "B6", "a log device write never happens", "none"},
    [MUTANT_WRITE_TORN] = {"write-torn", "B6", "half of the sectors of a good write are missing", "none"},
    [MUTANT_READ_CLEAN] = {"read-clean", "B6", "a taken-over log device is believed to be clean",
			   "node,power"},
    [MUTANT_HELD_LOST] = {"held-lost", "A13", "held marks are not kept in the run directory", "kill"},
    [MUTANT_MARKED_LOST] = {"marked-lost", "A13", "no marks at all are kept in the run directory", "kill"},
    [MUTANT_META_STALE] = {"meta-stale", "A10", "the run directory keeps the first state of a log only",
			   "kill,life"},
    [MUTANT_TOLD_LOST] = {"told-lost", "A3", "what was told in sync since is not kept", "kill"},
    [MUTANT_MEMORY_LOST] = {"memory-lost", "A10", "a daemon starts with an empty memory and does not say so",
			    "kill"},
    [MUTANT_ESRCH_EMPTY] = {"esrch-empty", "A1", "an -ESRCH reply without data", "kill,memory"},
    [MUTANT_IN_SYNC_ERROR] = {"in-sync-error", "A1", "IN_SYNC is answered with an error", "none"},
    [MUTANT_IN_SYNC_ALWAYS] = {"in-sync-always", "A3", "writes pass to every region as if it were in sync",
			       "none"},
    [MUTANT_IN_SYNC_FLIPS] = {"in-sync-flips", "A3", "IN_SYNC goes back to 0", "none"},
    [MUTANT_RECOVERING_NEVER] = {"recovering-never", "A12", "IS_REMOTE_RECOVERING is always 0", "none"},
    [MUTANT_HINT_FULL] = {"hint-full", "A4", "in_sync_hint passes regions out of sync", "none"},
    [MUTANT_COUNT_FULL] = {"count-full", "B8", "GET_SYNC_COUNT is full before RESUME", "none"},
    [MUTANT_WORK_FOR_ALL] = {"work-for-all", "A12", "regions are handed out for recovery without a claim",
			     "none"},
    [MUTANT_QUORUM_ALWAYS] = {"quorum-always", "A5", "quorum is not looked at", "partition"},
    [MUTANT_FENCE_AT_ONCE] = {"fence-at-once", "A9 B13", "a lost node is taken for dead at once",
			      "partition"},
    [MUTANT_LOCK_UNASKED] = {"lock-unasked", "A9", "a node without a daemon is believed to hold nothing",
			     "kill"},
    [MUTANT_NO_WAKE] = {"no-wake", "B1", "nobody wakes the new recoverer's kernel", "node"},
    [MUTANT_ANSWER_TWICE] = {"answer-twice", "B12", "a request is answered twice", "none"},
    [MUTANT_ANSWER_OLD] = {"answer-old", "B12", "only the first copy of a request is answered", "pause"},
    [MUTANT_ANSWER_NEVER] = {"answer-never", "B5", "kept FLUSHes are forgotten", "partition"},
    [MUTANT_REPAIR_SKIPPED] = {"repair-skipped", "A12", "ghosts go without a copy", "node"},
    [MUTANT_REPAIR_ELSEWHERE] = {"repair-elsewhere", "A12", "another region than the claimed is copied",
				 "node"},
    [MUTANT_CTR_NAME] = {"ctr-name", "A1", "the CTR of a reconnect is answered with a device name", "kill"},
    [MUTANT_EAGAIN_FULL] = {"eagain-full", "A1", "-EAGAIN as a full reply", "none"},
    [MUTANT_DELIVERY_LOST] = {"delivery-lost", "A5", "one node misses a message", "none"},
    [MUTANT_LEAVE_EARLY] = {"leave-early", "A14", "a daemon is taken for gone while its write is in flight",
			    "kill"},
    [MUTANT_CLEAR_FORGED] = {"clear-forged", "A6", "a CLEAR takes away the mark of another region", "none"},
    [MUTANT_SUSPEND_EARLY] = {"suspend-early", "A14", "POSTSUSPEND is answered before the device is quiet",
			      "life"},
    [MUTANT_MARK_DROPPED] = {"mark-dropped", "A13", "a MARK is answered and forgotten", "none"},
    [MUTANT_LEGS_FLUSH_EARLY] = {"legs-flush-early", "B7", "the legs' flush is taken for done when it begins",
				 "none"},
    [MUTANT_REPAIR_UNFLUSHED] = {"repair-unflushed", "B7", "a repair leaves its copy in a cache", "node"},
    [MUTANT_READ_STALE] = {"read-stale", "B6", "a taken-over log device is read without its header",
			   "node,power"},
    [MUTANT_TABLES_EMPTY] = {"tables-empty", "B3", "device-mapper is not asked which tables there are",
			     "kill"},
    [MUTANT_VIEW_LOST] = {"view-lost", "B14", "a change of the view is missed", "kill,node"},
    [MUTANT_CLEAR_KEEPS] = {"clear-keeps", "A8", "a node believes itself marked after its clear was sent",
			    "none", CORE_MUTANT_CLEAR_KEEPS},
    [MUTANT_STALE_SYNC] = {"stale-sync", "A11", "SET_REGION_SYNC(r, 1) counts from any table, for any region",
			   "none", CORE_MUTANT_STALE_SYNC},
    [MUTANT_CLAIM_MARKED] = {"claim-marked", "A12", "a claim is granted while others hold a mark", "node",
			     CORE_MUTANT_CLAIM_MARKED},
    [MUTANT_REPAIR_BARRED] = {"repair-barred", "B9", "ghosts are repaired although a leg failed", "node,leg",
			      CORE_MUTANT_REPAIR_BARRED},
    [MUTANT_GHOSTS_COUNT] = {"ghosts-count", "B10", "ghosts and failed regions count as in sync", "node",
			     CORE_MUTANT_GHOSTS_COUNT},
    [MUTANT_FAILED_FORGOTTEN] = {"failed-forgotten", "B11",
				 "a region is copied again before the tables are reloaded", "leg",
				 CORE_MUTANT_FAILED_FORGOTTEN},
    [MUTANT_CLEAR_ANY_TABLE] = {"clear-any-table", "A6", "a CLEAR takes away what another table holds",
				"kill,life", CORE_MUTANT_CLEAR_ANY_TABLE},
    [MUTANT_OPEN_FORGOTTEN] = {"open-forgotten", "A2", "a reconnect that was cut off leaves no trace", "kill",
			       CORE_MUTANT_OPEN_FORGOTTEN},
    [MUTANT_NO_ACK] = {"no-ack", "A5", "a core log commits without acknowledgements", "partition",
		       CORE_MUTANT_NO_ACK},
};

int mutant_find(const char *name)
{
	for (int i = 0; i < MUTANTS_END; i++)
		if (!strcmp(mutant_infos[i].name, name))
			return i;
	return -1;
}
