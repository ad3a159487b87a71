/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/status.h"
#include "daemon/port/cluster.h"
#include "daemon/port/control.h"
#include "daemon/port/device_mapper.h"
#include "daemon/port/legs.h"
#include "daemon/port/log.h"
#include "daemon/port/log_disk.h"
#include "daemon/port/netlink.h"
#include "daemon/port/process.h"

#define NS_PER_S UINT64_C(1000000000)

/* A second signal within this time means: whatever is resumed. */
#define STOP_INSIST_NS (60 * NS_PER_S)

struct loop {
	qb_loop_t *qb;
	const struct options *options; /* borrowed */
	struct core *core;
	bool stepping;	   /* inside core_step() and its effects: no event may come */
	uint64_t timer_ns; /* what the timer is set to; UINT64_MAX: nothing */
	int timer_fd;
	uint64_t stop_asked_ns; /* 0: never */
	bool orderly, refused;
	struct run_dir *run_dir; /* borrowed */
	struct netlink *netlink;
	struct cluster *cluster;
	struct device_mapper *mapper;
	struct log_disks *disks;
	struct legs *legs;
	struct control *control;
};

/* Deadlines go on while the host is suspended, as the kernel's and the cluster's do. */
static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* --- effects
 * ------------------------------------------------------------------------------------------------ */

static void loop_end(struct loop *loop, bool orderly)
{
	loop->orderly = orderly;
	qb_loop_stop(loop->qb);
}

static void stopped(struct loop *loop, const struct effect *effect)
{
	const char *text = effect->stopped.text == NULL ? "" : effect->stopped.text;

	if (effect->stopped.stopped) {
		log_write(LOG_NOTICE, "stopping: %s", text);
		process_stopping();
		loop_end(loop, true);
		return;
	}
	log_write(LOG_WARNING, "not stopping: %s. A second signal within %u s stops all the same", text,
		  (unsigned)(STOP_INSIST_NS / NS_PER_S));
	process_status(text);
}

static void run_state(struct loop *loop, const struct effect *effect)
{
	int error = run_dir_perform(loop->run_dir, effect);

	/* The directory is flagged as broken by now: after a restart the node says that its memory is lost.
	 */
	if (error != 0)
		log_write(LOG_DEBUG, "run directory: %s", strerror(-error));
}

/* One effect, one call. */
static void perform(struct loop *loop, const struct effect *effect)
{
	switch (effect->type) {
	case EFFECT_REPLY: netlink_reply(loop->netlink, effect); break;
	case EFFECT_SEND:
	case EFFECT_FENCE_HOLD:
	case EFFECT_FENCE_RELEASE:
	case EFFECT_FENCE_WATCH:
	case EFFECT_FENCE_UNWATCH: cluster_perform(loop->cluster, effect); break;
	case EFFECT_DEVICE_READ:
	case EFFECT_DEVICE_WRITE:
	case EFFECT_DEVICE_WAIT:
	case EFFECT_REPAIR_WAIT:
	case EFFECT_DEVICE_CLOSE: log_disks_perform(loop->disks, effect); break;
	case EFFECT_LEGS_FLUSH:
	case EFFECT_LEGS_OPEN:
	case EFFECT_LEGS_CLOSE:
	case EFFECT_REPAIR:
	case EFFECT_WAKE: legs_perform(loop->legs, effect); break;
	case EFFECT_TABLES: device_mapper_ask(loop->mapper); break;
	case EFFECT_RUN_META:
	case EFFECT_RUN_BITS:
	case EFFECT_RUN_DROP: run_state(loop, effect); break;
	case EFFECT_LOG: log_write(effect->log_line.priority, "%s", effect->log_line.text); break;
	case EFFECT_STOPPED: stopped(loop, effect); break;
	}
}

/* --- events
 * ------------------------------------------------------------------------------------------------- */

static void timer_arm(struct loop *loop)
{
	uint64_t due_ns = core_deadline_ns(loop->core);
	struct itimerspec when = {0};

	if (due_ns == loop->timer_ns)
		return;
	loop->timer_ns = due_ns;
	if (due_ns != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(due_ns / NS_PER_S);
		/* A zero time would disarm the timer. */
		when.it_value.tv_nsec = due_ns == 0 ? 1 : (long)(due_ns % NS_PER_S);
	}
	if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		abort(); /* only our own bug can be the reason */
}

static void event_post(void *context, const struct event *event)
{
	struct loop *loop = context;
	struct event stamped = *event;
	struct effects effects;

	/* Ports never tell an event from inside a call for an effect (port.h). */
	assert(!loop->stepping);
	loop->stepping = true;
	stamped.now_ns = now_ns();
	core_step(loop->core, &stamped, &effects);
	for (size_t i = 0; i < effects.count; i++)
		perform(loop, &effects.items[i]);
	loop->stepping = false;
	timer_arm(loop);
}

static int32_t on_timer(int32_t fd, int32_t revents, void *data)
{
	struct event event = {.type = EVENT_TIMER};
	struct loop *loop = data;
	uint64_t times;

	(void)revents;
	if (read(fd, &times, sizeof(times)) != (ssize_t)sizeof(times))
		return 0;
	loop->timer_ns = UINT64_MAX;
	event_post(loop, &event);
	return 0;
}

static int32_t on_stop_signal(int32_t number, void *data)
{
	struct event event = {.type = EVENT_CONTROL, .control = {.command = CONTROL_STOP}};
	struct loop *loop = data;
	uint64_t now = now_ns();

	if (loop->stop_asked_ns != 0 && now - loop->stop_asked_ns < STOP_INSIST_NS)
		event.control.command = CONTROL_STOP_FORCED;
	loop->stop_asked_ns = now;
	log_write(LOG_NOTICE, "%s: %s", strsignal(number),
		  event.control.command == CONTROL_STOP ? "asked to stop" : "told again to stop");
	event_post(loop, &event);
	return 0;
}

static int32_t on_dump_signal(int32_t number, void *data)
{
	const struct loop *loop = data;
	char path[PATH_MAX];
	int error;

	(void)number;
	(void)snprintf(path, sizeof(path), "%s/blackbox", loop->options->run_dir);
	error = log_dump(path);
	if (error == 0)
		log_write(LOG_NOTICE, "flight recorder written to %s", path);
	else
		log_write(LOG_ERR, "cannot write the flight recorder to %s: %s", path, strerror(-error));
	return 0;
}

/* A lost request is not repeated; what device-mapper says makes up for it (hazard B3). */
static void on_netlink_lost(void *context)
{
	struct loop *loop = context;

	device_mapper_ask(loop->mapper);
}

static void on_refused(void *context)
{
	struct loop *loop = context;

	loop->refused = true;
	loop_end(loop, false);
}

/* --- for the control socket
 * --------------------------------------------------------------------------------- */

static struct core_status *on_status(void *context)
{
	struct loop *loop = context;
	struct core_status *status = core_status_new(loop->core);
	const char *trouble = cluster_fencing_trouble(loop->cluster);

	/* What the core waits for by itself comes first. */
	if (status != NULL && trouble != NULL && status->waits_for[0] == '\0')
		(void)snprintf(status->waits_for, sizeof(status->waits_for), "%s", trouble);
	return status;
}

static void on_count(void *context, struct netlink_counts *ret_counts)
{
	struct loop *loop = context;

	netlink_count(loop->netlink, ret_counts);
}

/* --- opening and closing
 * ------------------------------------------------------------------------------------ */

static int timer_open(struct loop *loop)
{
	loop->timer_ns = UINT64_MAX;
	loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (loop->timer_fd < 0)
		return -errno;
	return qb_loop_poll_add(loop->qb, QB_LOOP_HIGH, loop->timer_fd, POLLIN, loop, on_timer);
}

static int signals_open(struct loop *loop)
{
	qb_loop_signal_handle handle;
	int error = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN); /* the end of a terminal is no reason to stop */
	error = qb_loop_signal_add(loop->qb, QB_LOOP_MED, SIGTERM, loop, on_stop_signal, &handle);
	if (error == 0)
		error = qb_loop_signal_add(loop->qb, QB_LOOP_MED, SIGINT, loop, on_stop_signal, &handle);
	if (error == 0)
		error = qb_loop_signal_add(loop->qb, QB_LOOP_LOW, SIGUSR1, loop, on_dump_signal, &handle);
	return error;
}

/* Differs after each start on this node: the clock moves on, and two starts at one time have different pids.
 */
static uint64_t incarnation_make(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return ((uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec) ^ (uint64_t)getpid() << 40;
}

static int core_open(struct loop *loop, node_id_t node, bool run_state_lost)
{
	struct core_config config = {
	    .node = node,
	    .boot_id = run_dir_boot_id(loop->run_dir),
	    .incarnation = incarnation_make(),
	    /* A lone node has nobody to be sure of. */
	    .fencing = loop->options->cluster == CLUSTER_NONE ? FENCING_ASSUME : loop->options->fencing,
	    .linger_ns = loop->options->linger_ns,
	    .linger_regions = loop->options->linger_regions,
	    .repair_rate = loop->options->repair_rate,
	    .run_state_lost = run_state_lost,
	};

	config.configured_count =
	    cluster_configured(loop->options->cluster == CLUSTER_COROSYNC, config.configured, CORE_NODES_MAX);
	loop->core = core_new(&config);
	return loop->core == NULL ? -ENOMEM : 0;
}

static int opened(const char *what, int error)
{
	if (error != 0)
		log_write(LOG_ERR, "%s: %s", what, strerror(-error));
	return error;
}

/* Nothing comes from the ports before the loop runs, but each must be there when the core asks for it. */
static int ports_open(struct loop *loop, node_id_t node)
{
	const struct options *options = loop->options;
	const struct port_config config = {.loop = loop->qb,
					   .sink = {.post = event_post, .context = loop},
					   .run_dir = options->run_dir,
					   .tables_dir = options->dm_tables};
	const struct cluster_config cluster = {.corosync = options->cluster == CLUSTER_COROSYNC,
					       .fencing = options->fencing,
					       .node = node,
					       .boot_id = run_dir_boot_id(loop->run_dir),
					       .refused_fn = on_refused};
	const struct control_source source = {.status_new = on_status, .netlink_count = on_count};
	int error = opened("device-mapper", device_mapper_open(&config, &loop->mapper));

	if (error == 0)
		error = opened("log devices", log_disks_open(&config, &loop->disks));
	if (error == 0)
		error = opened("legs", legs_open(&config, loop->mapper, &loop->legs));
	if (error == 0)
		error = cluster_open(&config, &cluster, &loop->cluster);
	if (error == 0)
		error = opened("control socket", control_open(&config, &source, &loop->control));
	if (error == 0)
		error = opened("netlink connector",
			       netlink_open(&config, options->netlink_peer, on_netlink_lost, &loop->netlink));
	return error;
}

/* What was before, then what is now, then the cluster and the kernel. */
static void state_load(struct loop *loop)
{
	const struct event_sink sink = {.post = event_post, .context = loop};

	run_dir_load(loop->run_dir, &sink);
	netlink_answer_former(loop->netlink);
	device_mapper_ask(loop->mapper);
}

int loop_open(const struct options *options, node_id_t node, struct run_dir *run_dir, bool run_state_lost,
	      struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int error;

	if (loop == NULL)
		return -ENOMEM;
	loop->options = options;
	loop->run_dir = run_dir;
	loop->timer_fd = -1;
	loop->qb = qb_loop_create();
	error = loop->qb == NULL ? -ENOMEM : core_open(loop, node, run_state_lost);
	if (error == 0)
		error = timer_open(loop);
	if (error == 0)
		error = signals_open(loop);
	if (error == 0)
		error = ports_open(loop, node);
	if (error != 0) {
		loop_close(loop);
		return error;
	}
	state_load(loop);
	*ret_loop = loop;
	return 0;
}

bool loop_run(struct loop *loop)
{
	if (loop->refused)
		return false;
	process_watchdog_start(loop->qb);
	qb_loop_run(loop->qb);
	process_watchdog_stop();
	return loop->orderly;
}

void loop_close(struct loop *loop)
{
	if (loop == NULL)
		return;
	/* First those that ask for something, last those that do it. */
	netlink_close(loop->netlink);
	control_close(loop->control);
	cluster_close(loop->cluster);
	legs_close(loop->legs);
	log_disks_close(loop->disks);
	device_mapper_close(loop->mapper);
	if (loop->timer_fd >= 0) {
		(void)qb_loop_poll_del(loop->qb, loop->timer_fd);
		close(loop->timer_fd);
	}
	core_free(loop->core);
	if (loop->qb != NULL)
		qb_loop_destroy(loop->qb);
	free(loop);
}
