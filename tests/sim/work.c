/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What users and LVM do. Users take turns: of each block one write is under way in the whole cluster. */
#include "tests/sim/sim.h"

#include <string.h>

#include "daemon/core/internal.h"

static struct user_bio *bio_find(struct sim_node *node, uint64_t id)
{
	for (size_t i = 0; i < sizeof(node->bios) / sizeof(node->bios[0]); i++)
		if (node->bios[i].id == id)
			return &node->bios[i];
	return NULL;
}

/* --- expectations
 * ---------------------------------------------------------------------------------------------------- */

static void expect_possible(struct expected *expected, uint64_t value)
{
	if (expected->count == SIM_VALUES)
		expected->any = true;
	else
		expected->values[expected->count++] = value;
}

static void expect_written(struct expected *expected, uint64_t value)
{
	expected->count = 1;
	expected->values[0] = value;
	expected->any = false;
}

static bool expect_allows(const struct expected *expected, uint64_t value)
{
	bool found = expected->any;

	for (unsigned i = 0; i < expected->count; i++)
		found = found || expected->values[i] == value;
	return found;
}

/* --- I/O
 * -----------------------------------------------------------------------------------------------------------------
 */

void work_may_read(struct expected *expected, uint64_t value)
{
	if (!expect_allows(expected, value))
		expect_possible(expected, value);
	expected->torn = expected->torn || expected->locked;
}

/* What is read behind a discard until the next write is nobody's promise (hazard B15). */
static void bio_expect(struct expected *expected, const struct user_bio *bio)
{
	if (bio->type == KERNEL_READ)
		expected->readers++;
	if (bio->type == KERNEL_WRITE) {
		expect_possible(expected, bio->tag);
		expected->torn = false;
	}
	if (bio->type == KERNEL_DISCARD)
		expected->any = true;
	expected->locked = expected->locked || bio->type == KERNEL_WRITE || bio->type == KERNEL_DISCARD;
}

static void bio_unlock(struct expected *expected, const struct user_bio *bio)
{
	if (bio->type == KERNEL_READ)
		expected->readers--;
	if (bio->type == KERNEL_WRITE || bio->type == KERNEL_DISCARD)
		expected->locked = false;
}

static void bio_submit(struct sim *sim, struct sim_node *node, unsigned number, unsigned region,
		       unsigned block, enum kernel_bio_type type)
{
	static const char *const names[] = {[KERNEL_READ] = "read",
					    [KERNEL_WRITE] = "write",
					    [KERNEL_FLUSH] = "flush",
					    [KERNEL_DISCARD] = "discard"};

	struct sim_device *device = &node->devices[number];
	struct sim_log *log = &sim->logs[number];
	struct user_bio *bio = bio_find(node, 0);
	struct expected *expected = &log->expected[region][block];
	struct kernel_bio submit = {.region = region, .block = block, .type = type};
	bool changes = type == KERNEL_WRITE || type == KERNEL_DISCARD;

	if (!bio || (type != KERNEL_FLUSH && expected->locked) || (changes && expected->readers))
		return;
	submit.id = sim->next_tag++;
	submit.tag = submit.id;
	if (kernel_submit(node->kernel, (unsigned)device->number, &submit))
		return;
	device->bios++;
	*bio = (struct user_bio){.id = submit.id,
				 .type = type,
				 .log = number,
				 .region = region,
				 .block = block,
				 .tag = submit.tag};
	bio_expect(expected, bio);
	if (!sim->script)
		story(sim, node->id, "user: %s region %u", names[type], region);
	sim_trace(sim, node->id, "user's %s of %s region %u block %u tag %llu", names[type], log->uuid,
		  region, block, (unsigned long long)submit.tag);
	host_kernel_soon(sim, node->id);
}

static enum kernel_bio_type type_choose(struct sim *sim)
{
	uint64_t percent = sim_below(sim, 100);

	if (percent < 4)
		return KERNEL_DISCARD;
	if (percent < 9)
		return KERNEL_FLUSH;
	return percent < 70 ? KERNEL_WRITE : KERNEL_READ;
}

static void io_submit(struct sim *sim, struct sim_node *node, unsigned number)
{
	unsigned count = stack_user_regions(&sim->logs[number]);
	unsigned region = (unsigned)sim_below(sim, sim_chance(sim, 50) ? (count + 3) / 4 : count);
	unsigned block = (unsigned)sim_below(sim, SIM_BLOCKS);

	bio_submit(sim, node, number, region, block, type_choose(sim));
}

void work_io(struct sim *sim, unsigned node, unsigned log, unsigned region, bool write)
{
	bio_submit(sim, &sim->nodes[node], log, region, 0, write ? KERNEL_WRITE : KERNEL_READ);
}

static unsigned device_log(const struct sim *sim, const struct sim_node *node, unsigned device)
{
	unsigned log = 0;

	while (log < sim->log_count - 1 && node->devices[log].number != (int)device)
		log++;
	return log;
}

/* Has the log a table without memory, or had it one and was not repaired since? */
static void forgotten_note(struct sim *sim, const struct sim_node *node, unsigned number)
{
	const struct log *log = node->core ? log_find(node->core, sim->logs[number].uuid) : NULL;
	const struct instance *table = log ? log_resumed_instance(log) : NULL;
	const struct world_log *world = log ? log_world(node->core, log) : NULL;

	/* One that the cluster alone knows of begins the log as well, and may come and go between two looks.
	 */
	if (table && (table->tainted || (world && world_log_tainted(world))))
		sim->logs[number].forgotten = true;
	else if (table && node->core->active && region_set_is_subset(&log->ghosts, &log->untold) &&
		 !(world && world->mistrusted)) /* what is recovered is a ghost still */
		sim->logs[number].forgotten = false;
}

/* A table without memory was told IN_SYNC 1 for all of the log, so all that come later are, until it is
 * repaired: whether a region ever was in sync nobody knows. When the first leg fails a read goes to another
 * (protocol/README, what is left open). */
static bool read_excused(struct sim *sim, unsigned number, unsigned log_number, unsigned region)
{
	const struct sim_node *node = &sim->nodes[number];
	const struct log *log = node->core ? log_find(node->core, sim->logs[log_number].uuid) : NULL;
	struct kernel_device info;

	forgotten_note(sim, node, log_number);
	return sim->logs[log_number].forgotten && log && region_set_contains(&log->ghosts, region) &&
	       !region_set_contains(&log->untold, region) &&
	       !kernel_device_info(node->kernel, (unsigned)node->devices[log_number].number, &info) &&
	       info.leg_status[0] != 'A';
}

/* A cache flush that fails takes ms->in_sync away and tells nobody; the next GET_SYNC_COUNT is full, and the
 * failure of the leg forgotten (do_recovery(), reset_ms_flags() of dm-raid1.c). From then on regions that the
 * table has out of sync are written on its default leg alone, which may be another than the one that is
 * copied; and what the cache had may be lost. So what is read later may be either (protocol/README, what is
 * left open). */
static bool on_one_leg(const struct sim *sim, unsigned number, const struct user_bio *bio, luid_t luid)
{
	return sim->nodes[number].devices[bio->log].lost_legs &&
	       observe_out_of_sync(sim, number, bio->log, luid, bio->region);
}

void work_bio_done(struct sim *sim, unsigned number, const struct kernel_output *out)
{
	struct sim_node *node = &sim->nodes[number];
	struct user_bio *bio = out->bio.id ? bio_find(node, out->bio.id) : NULL;
	struct expected *expected;

	node->devices[device_log(sim, node, out->device)].bios--;
	if (stack_bio_done(sim, number, out) || !bio)
		return;
	sim_trace(sim, number, "user's bio %llu is done: %d", (unsigned long long)out->bio.id,
		  out->bio.error);
	story(sim, number, "the %s of region %u is done%s", bio->type == KERNEL_READ ? "read" : "write",
	      bio->region, out->bio.error ? ": error" : "");
	expected = &sim->logs[bio->log].expected[bio->region][bio->block];
	bio->id = 0;
	bio_unlock(expected, bio);
	if (bio->type == KERNEL_WRITE && !out->bio.error && !expected->torn &&
	    !on_one_leg(sim, number, bio, out->luid))
		expect_written(expected, bio->tag);
	if (bio->type == KERNEL_READ && !out->bio.error && !sim->logs[bio->log].excused &&
	    !expect_allows(expected, out->bio.tag) && !read_excused(sim, number, bio->log, bio->region))
		observe_wrong_read(sim, number, bio->log, bio->region, bio->block, out->bio.tag);
}

/* What was written unmarked, and the log device has not as dirty yet, goes with the last that knew of it:
 * whoever begins the log anew has the device alone. */
static void knowledge_dies(struct sim *sim, unsigned number, unsigned log_number)
{
	struct sim_log *log = &sim->logs[log_number];
	uint64_t alone;

	if (!log->unwritten)
		return;
	truth_update(sim, log);
	for (alone = truth_known_here_alone(sim, number, log_number); alone; alone &= alone - 1)
		disk_forgotten(sim, number, log_number, (unsigned)__builtin_ctzll(alone));
}

void work_node_dies(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	for (size_t i = 0; i < sizeof(node->bios) / sizeof(node->bios[0]); i++) {
		struct user_bio *bio = &node->bios[i];
		struct expected *expected = &sim->logs[bio->log].expected[bio->region][bio->block];

		if (!bio->id)
			continue;
		bio->id = 0;
		bio_unlock(expected, bio);
	}
	for (unsigned i = 0; i < sim->log_count; i++) {
		struct sim_device *device = &node->devices[i];
		if (device->excused) {
			sim->logs[i].excused--;
			disk_excuse(sim, number, i);
		}
		knowledge_dies(sim, number, i);
		memset(device, 0, sizeof(*device));
		device->number = -1;
	}
}

/* --- tables
 * -----------------------------------------------------------------------------------------------------------------
 */

static void command_start(struct sim *sim, struct sim_node *node, unsigned number,
			  enum kernel_command_type type)
{
	struct sim_device *device = &node->devices[number];
	const struct sim_log *log = &sim->logs[number];
	char args[96];
	struct kernel_table table = {.uuid = log->uuid,
				     .length_sectors = (uint64_t)log->region_count * SIM_REGION_SECTORS,
				     .log_args = args,
				     .integrated_flush = log->integrated_flush,
				     .leg_count = SIM_LEGS,
				     .handle_errors = log->handle_errors,
				     .keep_log = log->keep_log};

	if (log->disk)
		snprintf(args, sizeof(args), "clustered-disk 253:%u %u%s", number, SIM_REGION_SECTORS,
			 log->nosync ? " nosync" : "");
	else
		snprintf(args, sizeof(args), "clustered-core %u", SIM_REGION_SECTORS);
	static const char *const names[] = {
	    [KERNEL_LOAD] = "load",	  [KERNEL_CLEAR] = "clear",
	    [KERNEL_SUSPEND] = "suspend", [KERNEL_SUSPEND_NOFLUSH] = "suspend --noflush",
	    [KERNEL_RESUME] = "resume",	  [KERNEL_REMOVE] = "remove",
	    [KERNEL_STATUS] = "status",
	};

	if (kernel_command(node->kernel, (unsigned)device->number, type, &table,
			   type == KERNEL_STATUS ? 2 : 1))
		return;
	sim_trace(sim, node->id, "dmsetup %s: command %d", log->uuid, (int)type);
	if (!sim->script)
		story(sim, node->id, "dmsetup %s", names[type]);
	if (type == KERNEL_STATUS) {
		device->status_busy = true;
	} else {
		device->busy = true;
		device->command = type;
	}
	host_kernel_soon(sim, node->id);
}

static void plan_reload(struct sim_device *device)
{
	device->plan[0] = KERNEL_RESUME;
	device->plan[1] = KERNEL_SUSPEND_NOFLUSH;
	device->plan[2] = KERNEL_LOAD;
	device->plan_count = 3;
	device->reload_wanted = false;
}

static bool suspends(const struct sim_device *device)
{
	return device->busy &&
	       (device->command == KERNEL_SUSPEND || device->command == KERNEL_SUSPEND_NOFLUSH ||
		device->command == KERNEL_REMOVE);
}

/* A suspend cannot be refused, also when the flush of the legs that it waits for fails. */
void work_flushed(struct sim_device *device, bool good)
{
	device->suspend_unflushed = !good && (device->suspend_unflushed || suspends(device));
}

/* A removal may wait for long behind its suspend, for who reads the status and comes back to a daemon in its
 * own time. A daemon that starts meanwhile is told of no table, and takes it for gone. Nothing is written
 * through it any more, and nobody can reach its legs through it: the same as behind its end. */
void work_unlisted(struct sim *sim, unsigned number, unsigned log)
{
	const struct sim_device *device = &sim->nodes[number].devices[log];

	if (device->busy && device->command == KERNEL_REMOVE &&
	    (device->unflushed || device->suspend_unflushed))
		disk_path_flush(sim, number, log);
}

static void table_gone(struct sim *sim, unsigned number, unsigned log)
{
	struct sim_device *device = &sim->nodes[number].devices[log];

	device->flush_failed = false;
	device->lost_legs = 0;
	/* Nobody heard of its end while its legs could be reached through it. */
	if (device->unflushed)
		disk_path_flush(sim, number, log);
	device->unflushed = false;
	if (!device->excused)
		return;
	disk_path_flush(sim, number, log);
	/* What it wrote unmarked could be written down by nobody. */
	for (unsigned node = 1; node <= sim->node_count; node++)
		if (sim->nodes[node].device_broken)
			disk_excuse(sim, number, log);
	device->excused = false;
	sim->logs[log].excused--;
}

void work_command_done(struct sim *sim, unsigned number, const struct kernel_output *out)
{
	struct sim_node *node = &sim->nodes[number];
	unsigned log = device_log(sim, node, out->device);
	struct sim_device *device = &node->devices[log];

	if (out->command.id == 2) {
		device->status_busy = false;
		return;
	}
	sim_trace(sim, number, "dmsetup %s: command %d done: %d", sim->logs[log].uuid, (int)device->command,
		  out->command.error);
	device->busy = false;
	if (out->command.error) {
		device->plan_count = 0;
		/* No daemon to load a table with: whoever repairs tries again. */
		device->reload_wanted |= device->command == KERNEL_LOAD && device->stage != TABLE_CREATED;
		return;
	}
	switch (device->command) {
	case KERNEL_LOAD:
		device->reloading = device->stage != TABLE_CREATED;
		device->stage = device->stage == TABLE_CREATED ? TABLE_LOADED : device->stage;
		break;
	case KERNEL_RESUME:
		if (device->reloading)
			table_gone(sim, number, log);
		device->reloading = device->suspend_unflushed = false;
		device->stage = TABLE_ACTIVE;
		break;
	case KERNEL_SUSPEND:
	case KERNEL_SUSPEND_NOFLUSH: device->stage = TABLE_SUSPENDED; break;
	case KERNEL_REMOVE:
		/* Its legs could not be flushed to the end, and no table follows that knows them. */
		device->unflushed |= device->suspend_unflushed;
		table_gone(sim, number, log);
		memset(device, 0, sizeof(*device));
		device->number = -1;
		break;
	default: break;
	}
}

/* This table may write what no daemon can know of, until it is reloaded. */
void work_excuse(struct sim *sim, unsigned number, unsigned log)
{
	struct sim_device *device = &sim->nodes[number].devices[log];

	if (!device->excused)
		sim->logs[log].excused++;
	device->excused = true;
}

/* A log failure stops writes to regions in sync alone. One that a failed cache flush has turned out of sync
 * is written, though the mark of it could not be committed: the kernel was told so. */
static bool unmarked_by_failures(const struct sim *sim, unsigned number, unsigned log,
				 const struct kernel_output *out)
{
	const struct sim_node *node = &sim->nodes[number];
	struct kernel_device info;

	return out->complaint.kind == KERNEL_WRITE_ONE_LEG && node->devices[log].flush_failed &&
	       !kernel_device_info(node->kernel, out->device, &info) && info.log_failure &&
	       observe_out_of_sync(sim, number, log, out->luid, (unsigned)out->complaint.region);
}

/* What the kernel complains of is either a fault that was made here, or a broken promise. */
void work_complaint(struct sim *sim, unsigned number, const struct kernel_output *out)
{
	struct sim_node *node = &sim->nodes[number];
	unsigned log = device_log(sim, node, out->device);
	struct sim_device *device = &node->devices[log];

	sim_trace(sim, number, "kernel: %s, %s region %u: %d", kernel_complaint_name(out->complaint.kind),
		  ulog_type_name(out->complaint.request), out->complaint.region, out->complaint.error);
	if (out->complaint.kind == KERNEL_RESUME_FAILED || out->complaint.kind == KERNEL_LOG_FAILURE)
		device->reload_wanted = true;
	/* A table without memory, gone before anybody reads. */
	if (out->complaint.kind == KERNEL_WRITE_ONE_LEG)
		forgotten_note(sim, node, log);
	if (out->complaint.kind == KERNEL_CALL_FAILED && out->complaint.request == ULOG_RESUME) {
		device->resume_unheard = true;
		device->at_rest = false;
	}
	story(sim, number, "kernel: %s", kernel_complaint_name(out->complaint.kind));
	if (out->complaint.kind == KERNEL_CALL_FAILED &&
	    (out->complaint.request == ULOG_POSTSUSPEND || out->complaint.request == ULOG_DTR))
		device->unflushed = true;
	if (out->complaint.kind == KERNEL_RESUME_FAILED)
		work_excuse(sim, number, log);
	if (unmarked_by_failures(sim, number, log, out))
		work_excuse(sim, number, log);
	if (out->complaint.kind == KERNEL_FLUSH_FAILURE) {
		device->flush_failed = true;
		disk_cache_lost(sim, number, log, (unsigned)out->complaint.region);
	}
	observe_complaint(sim, number, log, out);
}

/* A mirror that carries a log device is removed behind the mirror whose log that is. */
static void life_remove(struct sim *sim, struct sim_node *node, unsigned number)
{
	const struct sim_log *upper = sim->logs[number].upper;
	struct sim_device *above = upper ? &node->devices[upper - sim->logs] : NULL;

	if (above && above->number >= 0) {
		if (above->stage < TABLE_ACTIVE)
			return;
		above->removing = true;
	}
	node->devices[number].removing = true;
}

static void life(struct sim *sim, struct sim_node *node, unsigned number)
{
	struct sim_device *device = &node->devices[number];

	switch (sim_below(sim, 4)) {
	case 0:
		device->plan[0] = KERNEL_RESUME;
		device->plan[1] = sim_chance(sim, 50) ? KERNEL_SUSPEND : KERNEL_SUSPEND_NOFLUSH;
		device->plan_count = 2;
		break;
	case 1:
	case 2: plan_reload(device); break;
	default: life_remove(sim, node, number); break;
	}
}

/* Returns whether the table is in use for I/O. */
static bool table_work(struct sim *sim, struct sim_node *node, unsigned number)
{
	struct sim_device *device = &node->devices[number];
	enum kernel_command_type next;

	if (device->busy)
		return device->stage == TABLE_ACTIVE && !device->removing;
	if (device->number < 0) {
		if (!node->core || node->bare || !stack_lower_ready(sim, node, number))
			return false;
		device->number = kernel_device_create(node->kernel);
		device->stage = TABLE_CREATED;
	}
	if (device->stage == TABLE_CREATED || device->stage == TABLE_LOADED) {
		if (node->core && stack_lower_ready(sim, node, number))
			command_start(sim, node, number,
				      device->stage == TABLE_CREATED ? KERNEL_LOAD : KERNEL_RESUME);
		return false;
	}
	if (!device->plan_count && device->reload_wanted && node->core)
		plan_reload(device);
	if (device->plan_count) {
		next = device->plan[--device->plan_count];
		command_start(sim, node, number, next);
		return true;
	}
	if (device->stage == TABLE_SUSPENDED) {
		command_start(sim, node, number, KERNEL_RESUME);
		return true;
	}
	if (device->removing && !sim->settling) {
		if (!device->bios && !stack_upper_there(sim, node, number))
			command_start(sim, node, number, KERNEL_REMOVE);
		return false;
	}
	device->removing = false;
	return true;
}

void work_do(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	sim_plan(sim, SIM_WORK, number, sim_latency(sim, sim->settling ? 20 * MS : node->pace_ns));
	if (!node->up)
		return;
	for (unsigned log = 0; log < sim->log_count; log++) {
		struct sim_device *device = &node->devices[log];
		bool usable = table_work(sim, node, log);

		forgotten_note(sim, node, log);

		/* Somebody looks with `dmsetup status` sooner or later: what a daemon lost comes back by
		 * that. */
		if (sim->settling && usable && !device->status_busy && !device->looked_at) {
			device->looked_at = true;
			command_start(sim, node, log, KERNEL_STATUS);
		}
		if (sim->settling || sim->script || !usable)
			continue;
		if (device->stage != TABLE_ACTIVE && !sim_chance(sim, 20))
			continue;
		if (!device->status_busy && sim_below(sim, 300) == 0)
			command_start(sim, node, log, KERNEL_STATUS);
		if ((sim->options.faults & (1u << FAULT_LIFE)) && !device->busy && !device->plan_count &&
		    sim_below(sim, 400) == 0)
			life(sim, node, log);
		for (uint64_t i = sim_below(sim, 4); i && device->bios < 8; i--)
			io_submit(sim, node, log);
	}
}

void work_start(struct sim *sim, unsigned number)
{
	struct sim_node *node = &sim->nodes[number];

	node->pace_ns = sim_between(sim, MS, 60 * MS);
	if (!node->works)
		sim_plan(sim, SIM_WORK, number, sim_below(sim, SECOND));
	node->works = true;
}

static bool legs_are_good(const struct sim *sim, unsigned log)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		if (disk_leg_broken(sim, node, log))
			return false;
	return true;
}

/* LVM repairs when it has a good leg: every node's table is loaded anew. */
void work_legs_good(struct sim *sim, unsigned log)
{
	if (!sim->logs[log].repair_wanted || !legs_are_good(sim, log))
		return;
	sim->logs[log].repair_wanted = false;
	for (unsigned node = 1; node <= sim->node_count; node++)
		if (sim->nodes[node].devices[log].stage > TABLE_CREATED)
			sim->nodes[node].devices[log].reload_wanted = true;
}

/* dmeventd looks at the table's status. */
void work_table_event(struct sim *sim, unsigned number, unsigned device)
{
	struct sim_node *node = &sim->nodes[number];
	unsigned log = device_log(sim, node, device);
	struct kernel_device info;

	if (kernel_device_info(node->kernel, device, &info) || !info.live)
		return;
	for (unsigned leg = 0; leg < SIM_LEGS; leg++)
		sim->logs[log].repair_wanted |= info.leg_status[leg] != 'A';
	work_legs_good(sim, log);
}

/* A table that may have written unmarked has to be reloaded; the daemon says so, and an administrator does
 * it. */
void work_repair_tables(struct sim *sim)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		for (unsigned log = 0; log < sim->log_count && sim->nodes[node].core; log++) {
			const struct world_log *world =
			    world_log_find(&sim->nodes[node].core->world, sim->logs[log].uuid);
			const struct participant *self = world ? participant_find(world, node) : NULL;

			const struct log *own = log_find(sim->nodes[node].core, sim->logs[log].uuid);
			const struct instance *table = own ? log_resumed_instance(own) : NULL;

			/* A cache flush that failed only its kernel knows of: `dmsetup status` may show it. A
			 * log device that nobody could write is tried again after a reload only. The error
			 * for a FLUSH may have come when the kernel had asked again: nobody but the daemon
			 * knows of it, and its status says so. */
			if (self &&
			    ((table && table->log_failed) || participant_tainted(self) ||
			     sim->nodes[node].devices[log].flush_failed || world->device_dead ||
			     world->repair_barred || !region_set_is_empty(&world->failed)) &&
			    sim->nodes[node].devices[log].stage == TABLE_ACTIVE)
				sim->nodes[node].devices[log].reload_wanted = true;
		}
}

/* Nothing is under way any more, and every table is in use. */
bool work_quiet(const struct sim *sim, const char **ret_why, unsigned *ret_node)
{
	for (unsigned number = 1; number <= sim->node_count; number++) {
		const struct sim_node *node = &sim->nodes[number];

		*ret_node = number;
		*ret_why = "a node is down";
		if (!node->up || !node->core)
			return false;
		for (unsigned log = 0; log < sim->log_count; log++) {
			const struct sim_device *device = &node->devices[log];

			*ret_why = "a table is not active";
			if (device->stage != TABLE_ACTIVE || device->busy || device->plan_count ||
			    device->reload_wanted || device->removing)
				return false;
			*ret_why = "I/O is not finished";
			if (device->bios || device->status_busy)
				return false;
		}
		*ret_why = "requests are not answered";
		if (kernel_requests_waiting(node->kernel))
			return false;
	}
	return true;
}
