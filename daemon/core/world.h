/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replicated state: what all ready members hold alike after the same prefix of the order.
 *
 * Every function here is deterministic and knows nothing of the node it runs on. Fields called "local" ride
 * along for the owner's convenience and are neither encoded nor part of the digest.
 */
#ifndef DAEMON_CORE_WORLD_H
#define DAEMON_CORE_WORLD_H

#include <sys/queue.h>

#include "common/region_set.h"
#include "common/types.h"
#include "daemon/core/mutant.h"
#include "protocol/frame.h"

#define PARTICIPANT_INSTANCES_MAX 16

/* A node, as long as it is in the group or some log waits for it. */
enum node_state {
	NODE_READY,	/* in the view, its state is complete, it has spoken */
	NODE_JOINING,	/* in the view, getting a checkpoint or about to speak */
	NODE_REFUSED,	/* in the view, speaks no version of ours */
	NODE_GONE,	/* its daemon went, the node lives: its kernel may write to what it has marked */
	NODE_UNDECIDED, /* the node went: dead or cut off, until fencing says dead */
	NODE_STATE_COUNT
};

struct world_node {
	TAILQ_ENTRY(world_node) entry; /* ascending by node id */
	node_id_t node;
	uint64_t boot_id;
	uint64_t
	    incarnation;  /* frames of any other incarnation are not of this world; 0: none are accepted */
	bool memory_lost; /* it became ready without all of its boot's run directory (hazard A10) */
	bool suspect;	  /* in the ring of founders who remember nothing of it: its kernel may hold marks */
	bool returning;	  /* was undecided, has not spoken since: it may have tables that nobody else knows */
	enum node_state state;
};

/* Stands in the order for a table whose luid nobody has heard. The kernel's are addresses. */
#define LUID_UNKNOWN ((luid_t)0)

struct world_instance {
	luid_t luid;
	bool resumed;
	bool tainted;	  /* may write unmarked until its table is reloaded (hazards A2, A10) */
	uint64_t leaving; /* place among those that are about to be suspended, 0: it is not one of them */
	bool old;	  /* than a failure: was told IN_SYNC 1 for a failed region, or let through to one */
};

/* A node with at least one instance of a log, or one that had and has not spoken yet (`awaited`). */
struct participant {
	TAILQ_ENTRY(participant) entry; /* ascending by node id */
	node_id_t node;
	uint64_t boot_id;
	bool awaited; /* named by another's memory, has not spoken: nothing may be copied before it has, or is
			 dead */
	bool device_failed; /* could not write the log device */
	bool writing; /* spoke with a write of the log device in flight: nobody else writes before it has
			 ended */
	bool late;    /* became a member, and a node that may be alone with its state does not know of it */
	struct region_set unheard; /* nodes, by id, that have not said yet that they know of this member */
	uint64_t membership;	   /* number of what made it a member, which they have to name */
	struct world_instance instances[PARTICIPANT_INSTANCES_MAX];
	unsigned instance_count;
	struct region_set marks;
	struct region_set waiting; /* marks that wait for the end of a copy (hazard A12), uncommitted */
	uint64_t batch;		   /* last batch whose marks are in `marks` */
	uint64_t waiting_batch;	   /* last batch in `waiting`, 0: none */
	uint64_t local_acked;	  /* local: last batch of this node's own that the participant acknowledged */
	uint64_t local_ack_due;	  /* local: a batch of the participant's that this node has to acknowledge, 0:
				     none */
	uint64_t local_committed; /* local to the writer: last batch told to be durable */
};

enum log_phase {
	LOG_LOADING, /* first member, the device was not read yet: RESUME waits */
	LOG_OPEN
};

struct world_log {
	TAILQ_ENTRY(world_log) entry; /* ascending by number */
	uint32_t number;	      /* name of the log in records */
	char uuid[LOG_UUID_BYTES];
	struct log_shape shape;
	enum log_phase phase;
	TAILQ_HEAD(participants, participant) participants;
	struct region_set
	    unsynced; /* no running instance was told IN_SYNC 1; recovery by the recoverer's kernel */
	struct region_set ghosts; /* legs may differ, instances were told IN_SYNC 1; repair by the daemon */
	struct region_set failed; /* out of sync by a leg failure; unsynced once all instances are younger.
				   * None of it is in `unsynced` */
	uint64_t leavings;	  /* places given so far */
	uint64_t memberships;	  /* begun so far */
	node_id_t writer;	  /* NODE_NONE for a core log, or when nobody can */
	bool writer_loaded;	  /* the writer has read the device and merged it */
	bool memory_is_truth;	  /* the last writer handed over in order: dirt only on the device is old */
	bool device_dead;	  /* all members failed to write it: health D */
	node_id_t recoverer;
	bool claimed; /* the recoverer's daemon wants, or has, `claim` for repair */
	region_t claim;
	bool claim_void;    /* a table that may have written unmarked ran while it was copied, gone or not */
	uint64_t claims;    /* made so far: the number of the one that is */
	bool claim_known;   /* the writer has said that it knows it, free: without it nobody commits */
	bool repair_barred; /* leg trouble (hazard B9): no repair until every instance is younger */
	bool mistrusted;    /* a tainted table wrote, or one failed, while regions were out of sync: what is
			       recovered is a ghost still */
	bool cold;	    /* put together from what nodes remember: some have not spoken yet */
};

struct world {
	uint64_t epoch; /* counts active views */
	uint32_t next_number;
	TAILQ_HEAD(world_nodes, world_node) nodes;
	TAILQ_HEAD(world_logs, world_log) logs;
	void *logs_by_uuid, *logs_by_number; /* search trees of the same */
};

void world_init(struct world *world);
void world_fini(struct world *world);

struct world_node *world_node_find(const struct world *world, node_id_t node);
struct world_node *world_node_get(struct world *world,
				  node_id_t node); /* creates it; NULL when memory is short */
void world_node_forget(struct world *world, struct world_node *node);

struct world_log *world_log_find(const struct world *world, const char *uuid);
struct world_log *world_log_by_number(const struct world *world, uint32_t number);

/* Under the next number, or a given one. NULL when memory is short, or the number or the UUID is in use. */
struct world_log *world_log_add(struct world *world, const char *uuid, const struct log_shape *shape);
struct world_log *world_log_add_numbered(struct world *world, const char *uuid, const struct log_shape *shape,
					 uint32_t number);
void world_log_remove(struct world *world, struct world_log *log);

struct participant *participant_find(const struct world_log *log, node_id_t node);
struct participant *participant_get(struct world_log *log, node_id_t node, uint64_t boot_id);
void participant_remove(struct world_log *log, struct participant *participant);
struct world_instance *participant_instance(struct participant *participant, luid_t luid);
bool participant_tainted(const struct participant *participant);
bool participant_resumed(const struct participant *participant);

/* Its place among those that are about to leave, 0: a table of it goes on. */
uint64_t participant_leaving(const struct participant *participant);

/* Can the participant take a role: resumed, and its daemon is ready? */
bool participant_can(const struct world *world, const struct participant *participant);

/* Has any node a table that may write unmarked? */
bool world_log_tainted(const struct world_log *log);

/* Is any instance of the log resumed anywhere? */
bool world_log_resumed(const struct world_log *log);

/* Must the region be dirty on the log device? (guarantee 1) */
bool world_log_dirty(const struct world_log *log, region_t region);

/* The union of all that is dirty, into `ret_dirty` (initialised). */
void world_log_collect_dirty(const struct world_log *log, struct region_set *ret_dirty);

/* Does any participant have a mark on the region? */
bool world_log_marked(const struct world_log *log, region_t region);

/* Nobody has a mark on `claim`: from here to the end of the claim, marks on it wait (guarantee 2). Whether a
 * copy is under way already is the recoverer's knowledge, so what hinders new copies does not matter here. */
bool world_log_claim_free(const struct world_log *log);

/* May the recoverer's daemon copy `claim` now? (guarantee 2) */
bool world_log_claim_granted(const struct world *world, const struct world_log *log);

/* Nobody may copy: a former member has not spoken. */
bool world_log_assembling(const struct world *world, const struct world_log *log);

/* A node that may be alive in another part, which believes itself the cluster too (two_node of votequorum):
 * until it is decided a member that it does not know of commits nothing to a core log. */
bool world_undecided(const struct world *world);

/* No free role is given: a node is undecided, or is back and has not spoken. */
bool world_roles_wait(const struct world *world);

/* Two nodes: with two_node of votequorum each half of a split is quorate. */
bool world_of_two(const struct world *world);

/* A node whose marks nobody may know, NODE_NONE: there is none. */
node_id_t world_suspect(const struct world *world);

/* Founders begin while this node of their ring runs no daemon. Returns 0 or -ENOMEM. */
int world_node_suspected(struct world *world, node_id_t node);

/* Repair is impossible for the time being; a sentence why, or NULL when it is possible. */
const char *world_log_repair_hindrance(const struct world *world, const struct world_log *log);

/*
 * Give the roles of a log to members, if they are free. Called after each change of participants or nodes.
 * The writer's role is free when its holder suspended in order, its daemon is gone (its writes ended with it)
 * or its node is dead; the recoverer's only when its holder suspended or is dead (hazard A4).
 */
/* A member of a core log that nobody waits for to commit: without a daemon, or suspended. Should nobody have
 * the state, it knows what it heard before. */
bool world_node_may_forget(const struct world_log *log, const struct world_node *node);
void world_log_assign_roles(struct world *world, struct world_log *log);

/* Apply one ordered record of `sender`. The caller has checked that the sender's incarnation is accepted.
 * Returns the log it touched, NULL when none or when the record names nothing known. */
struct world_log *world_apply(struct world *world, node_id_t sender, const struct record *record);

/* End of a claim: waiting marks become marks. */
void world_log_release(struct world_log *log);

/* A node is dead: its marks become ghosts, its roles are free. */
void world_node_dead(struct world *world, node_id_t node, uint64_t boot_id);

/* The daemon of a node left the view: its process ended, or, `node_down`, the node went or was cut off. */
void world_node_left(struct world *world, node_id_t node, bool node_down);

/* Another daemon speaks for the node from now on; the killed one may have a write of a log device in flight.
 */
void world_node_replaced(struct world *world, node_id_t node);

/* A daemon (re)joins with nothing but what it will speak. Returns 0 or -ENOMEM. */
int world_node_joins(struct world *world, node_id_t node, uint64_t boot_id, uint64_t incarnation);

/* Its daemon speaks no version of ours. */
void world_node_refused(struct world *world, node_id_t node, uint64_t boot_id);

/* Drop a log that nobody has an instance of any more; returns true when dropped. */
bool world_log_reap(struct world *world, struct world_log *log);

/* What a node says of a log when it (re)joins; decoded from a stream. */
struct speech {
	char uuid[LOG_UUID_BYTES];
	struct log_shape shape;
	uint64_t batch; /* number under which the marks are committed */
	struct world_instance instances[PARTICIPANT_INSTANCES_MAX];
	unsigned instance_count;
	struct region_set unsynced, marks, ghosts, failed;
	bool recovering; /* its kernel may be copying a region that its former daemon handed out */
	bool writing;	 /* a write of the log device is in flight */
	struct {
		node_id_t node;
		uint64_t boot_id;
	} former[FRAME_NODES_MAX];
	unsigned former_count;
};
void speech_init(struct speech *speech);
void speech_fini(struct speech *speech);
void speech_encode(struct bytes_writer *writer, const struct speech *speech);
int speech_decode(struct bytes_reader *reader, struct speech *speech); /* 0, -EPROTO, -ENOMEM */
struct world_log *world_apply_speech(struct world *world, node_id_t sender, const struct speech *speech);

/* The content of a log device as its new writer read it. */
struct world_log *world_apply_device(struct world *world, node_id_t sender, uint32_t number,
				     const struct region_set *dirty);

/* Canonical encoding: equal states give equal bytes. */
void world_encode(struct bytes_writer *writer, const struct world *world);
int world_decode(struct bytes_reader *reader,
		 struct world *world); /* into an empty world; 0, -EPROTO, -ENOMEM */
uint64_t world_log_digest(const struct world_log *log);
uint64_t world_digest(const struct world *world);

#endif
