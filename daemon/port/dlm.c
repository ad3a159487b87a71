/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/dlm.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include <libdlm.h>
#include <libdlmcontrol.h>

#include "daemon/port/log.h"

#define LOCKSPACE_MODE	  0600
#define NAME_BYTES	  32 /* DLM_RESNAME_MAXLEN is 64 */
#define RETRY_MS	  1000
#define FREE_PATIENCE_MS  1000
#define JOIN_PATIENCE_MS  10000 /* dlm_controld answers before it has told the kernel of the nodes */
#define OPEN_PATIENCE_MS  30000
#define CONTROLD_RETRY_NS 1000000000ULL
#define SETTLE_MS	  500 /* shorter than FREE_PATIENCE_MS */
#define TEXT_BYTES	  200
#define FIRST_FD	  3

/* What goes to the thread, and what comes back. */
enum note_type {
	NOTE_HOLD,
	NOTE_RELEASE,
	NOTE_WATCH,
	NOTE_UNWATCH,
	NOTE_HELD,
	NOTE_DEAD,
	NOTE_REFUSED,
	NOTE_LOG
};

struct note {
	TAILQ_ENTRY(note) entry;
	enum note_type type;
	node_id_t node;
	uint64_t boot_id;
	int priority; /* NOTE_LOG */
	char text[TEXT_BYTES];
};
TAILQ_HEAD(notes, note);

/* Where the thread is, for the status. */
enum place { PLACE_JOINING, PLACE_REFUSED, PLACE_IN };

/* A request for a lock of another node. Belongs to the thread; lives until its AST. */
struct watch {
	TAILQ_ENTRY(watch) entry;
	struct dlm_port *dlm;
	node_id_t node;
	uint64_t boot_id;
	struct dlm_lksb lksb;
	bool queued;	/* an AST will come */
	bool cancelled; /* nobody wants to know any more */
	bool granted;
};

struct dlm_port {
	struct port_config config;
	node_id_t node;
	uint64_t boot_id;
	void (*refused_fn)(void *context);
	pthread_t thread;
	int to_thread_fd, to_loop_fd; /* eventfds: something is in the list */
	int controld_fd;	      /* a connection that ends with dlm_controld; -1: it is gone */
	bool controld_seen;
	qb_loop_timer_handle controld_timer;
	pthread_mutex_t mutex; /* guards the next seven */
	pthread_cond_t changed;
	struct notes to_thread, to_loop;
	bool stop, ended, lock_missing;
	enum place place;

	/* The thread's own. */
	dlm_lshandle_t lockspace;
	bool former; /* a lock of a former daemon may be in it */
	bool hold_wanted, held, hold_queued;
	struct dlm_lksb hold_lksb;
	TAILQ_HEAD(watches, watch) watches;
};

/* --- notes between the threads
 * ------------------------------------------------------------------------------ */

static void wake(int fd)
{
	uint64_t one = 1;

	/* Fails only when the counter is full: then the other side has something to read anyway. */
	if (write(fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		return;
}

static void note_put(struct dlm_port *dlm, struct notes *notes, int fd, const struct note *content)
{
	struct note *note = port_alloc(sizeof(*note));

	*note = *content;
	pthread_mutex_lock(&dlm->mutex);
	TAILQ_INSERT_TAIL(notes, note, entry);
	pthread_mutex_unlock(&dlm->mutex);
	wake(fd);
}

static bool note_take(struct dlm_port *dlm, struct notes *notes, struct note *ret_note)
{
	struct note *note;

	pthread_mutex_lock(&dlm->mutex);
	note = TAILQ_FIRST(notes);
	if (note != NULL)
		TAILQ_REMOVE(notes, note, entry);
	pthread_mutex_unlock(&dlm->mutex);
	if (note == NULL)
		return false;
	*ret_note = *note;
	free(note);
	return true;
}

static void tell(struct dlm_port *dlm, enum note_type type, node_id_t node, uint64_t boot_id)
{
	const struct note note = {.type = type, .node = node, .boot_id = boot_id};

	note_put(dlm, &dlm->to_loop, dlm->to_loop_fd, &note);
}

/* The thread has descriptors of its own, and the log's is not among them: the loop writes its lines. */
__attribute__((format(printf, 3, 4))) static void say(struct dlm_port *dlm, int priority, const char *format,
						      ...)
{
	struct note note = {.type = NOTE_LOG, .priority = priority};
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(note.text, sizeof(note.text), format, arguments);
	va_end(arguments);
	note_put(dlm, &dlm->to_loop, dlm->to_loop_fd, &note);
}

static void place_set(struct dlm_port *dlm, enum place place)
{
	pthread_mutex_lock(&dlm->mutex);
	dlm->place = place;
	pthread_cond_broadcast(&dlm->changed);
	pthread_mutex_unlock(&dlm->mutex);
}

static void lock_missing_set(struct dlm_port *dlm, bool missing)
{
	pthread_mutex_lock(&dlm->mutex);
	dlm->lock_missing = missing;
	pthread_mutex_unlock(&dlm->mutex);
}

/* --- the thread: own lock
 * ------------------------------------------------------------------------------------- */

/* The node alone: a lock does not outlive the boot that holds it, and the next boot takes it only when that
 * one is gone. So it can be asked for a node whose boot nobody knows. */
static size_t lock_name(char ret_name[NAME_BYTES], node_id_t node)
{
	return (size_t)snprintf(ret_name, NAME_BYTES, "node.%u", node);
}

static void held(struct dlm_port *dlm)
{
	dlm->held = true;
	lock_missing_set(dlm, false);
	tell(dlm, NOTE_HELD, dlm->node, dlm->boot_id);
}

static void hold_release(struct dlm_port *dlm);

static void on_hold(void *argument)
{
	struct dlm_port *dlm = argument;

	dlm->hold_queued = false;
	if (dlm->held) {
		/* The AST of an unlock: nothing of this node is left, nor of a former daemon. */
		dlm->held = dlm->former = false;
		return;
	}
	/* -EAGAIN: a former daemon that cannot finish exiting has it still; tried again (thread_poll()). */
	if (dlm->hold_lksb.sb_status != 0) {
		if (dlm->hold_lksb.sb_status != EAGAIN && dlm->hold_lksb.sb_status != -EAGAIN)
			say(dlm, LOG_ERR, "dlm: own lock: status %d", dlm->hold_lksb.sb_status);
	} else if (dlm->hold_wanted) {
		held(dlm);
	} else {
		dlm->held = true;
		hold_release(dlm);
	}
}

/* Returns true when a lock of a former daemon was taken over; that is known at once, without an AST. */
static bool hold_adopt(struct dlm_port *dlm, const char *name, size_t size)
{
	if (dlm_ls_lock(dlm->lockspace, LKM_EXMODE, &dlm->hold_lksb, LKF_PERSISTENT | LKF_ORPHAN, name,
			(unsigned)size, 0, on_hold, dlm, NULL, NULL) != 0)
		return false;
	say(dlm, LOG_INFO, "dlm: took over the lock of a former daemon of this boot");
	return true;
}

static void hold_try(struct dlm_port *dlm)
{
	char name[NAME_BYTES];
	size_t size = lock_name(name, dlm->node);

	if (!dlm->hold_wanted || dlm->hold_queued)
		return;
	if (dlm->held || hold_adopt(dlm, name, size)) {
		held(dlm);
		return;
	}
	dlm->hold_queued = true;
	if (dlm_ls_lock(dlm->lockspace, LKM_EXMODE, &dlm->hold_lksb, LKF_PERSISTENT | LKF_NOQUEUE, name,
			(unsigned)size, 0, on_hold, dlm, NULL, NULL) != 0) {
		dlm->hold_queued = false;
		say(dlm, LOG_ERR, "dlm: own lock: %s", strerror(errno));
	}
}

static void hold_release(struct dlm_port *dlm)
{
	if (!dlm->held || dlm->hold_queued)
		return;
	dlm->hold_queued = true;
	if (dlm_ls_unlock(dlm->lockspace, dlm->hold_lksb.sb_lkid, 0, &dlm->hold_lksb, dlm) != 0) {
		dlm->hold_queued = false;
		say(dlm, LOG_ERR, "dlm: giving up the own lock: %s", strerror(errno));
	}
}

/* --- the thread: locks of others
 * ------------------------------------------------------------------------------ */

static void watch_free(struct watch *watch)
{
	TAILQ_REMOVE(&watch->dlm->watches, watch, entry);
	free(watch);
}

static void on_watch(void *argument)
{
	struct watch *watch = argument;
	struct dlm_port *dlm = watch->dlm;

	if (watch->granted || watch->lksb.sb_status != 0) {
		/* Given back, cancelled, or failed: a failed one is asked again (thread_poll()). */
		watch->queued = false;
		if (watch->granted || watch->cancelled)
			watch_free(watch);
		return;
	}
	watch->granted = true;
	if (!watch->cancelled)
		tell(dlm, NOTE_DEAD, watch->node, watch->boot_id);
	/* The name stays free, for others who want to know. */
	if (dlm_ls_unlock(dlm->lockspace, watch->lksb.sb_lkid, 0, &watch->lksb, watch) != 0)
		say(dlm, LOG_ERR, "dlm: giving back the lock of node %u: %s", watch->node, strerror(errno));
}

static void watch_try(struct watch *watch)
{
	struct dlm_port *dlm = watch->dlm;
	char name[NAME_BYTES];
	size_t size = lock_name(name, watch->node);

	watch->queued = true;
	if (dlm_ls_lock(dlm->lockspace, LKM_EXMODE, &watch->lksb, 0, name, (unsigned)size, 0, on_watch, watch,
			NULL, NULL) != 0) {
		watch->queued = false;
		say(dlm, LOG_ERR, "dlm: lock of node %u: %s", watch->node, strerror(errno));
	}
}

static struct watch *watch_find(struct dlm_port *dlm, const struct note *note)
{
	struct watch *watch;

	TAILQ_FOREACH (watch, &dlm->watches, entry)
		if (watch->node == note->node && watch->boot_id == note->boot_id && !watch->cancelled &&
		    !watch->granted)
			return watch;
	return NULL;
}

static void watch_add(struct dlm_port *dlm, const struct note *note)
{
	struct watch *watch;

	if (watch_find(dlm, note) != NULL)
		return;
	watch = port_alloc(sizeof(*watch));
	watch->dlm = dlm;
	watch->node = note->node;
	watch->boot_id = note->boot_id;
	TAILQ_INSERT_TAIL(&dlm->watches, watch, entry);
	watch_try(watch);
}

static void watch_remove(struct dlm_port *dlm, const struct note *note)
{
	struct watch *watch = watch_find(dlm, note);

	if (watch == NULL)
		return;
	watch->cancelled = true;
	if (!watch->queued) {
		watch_free(watch);
		return;
	}
	/* Granted meanwhile: the cancel fails, and the AST of the grant gives it back. */
	(void)dlm_ls_unlock(dlm->lockspace, watch->lksb.sb_lkid, LKF_CANCEL, &watch->lksb, watch);
}

/* --- the thread: its life
 * ------------------------------------------------------------------------------------- */

static void note_serve(struct dlm_port *dlm, const struct note *note)
{
	switch (note->type) {
	case NOTE_HOLD:
		dlm->hold_wanted = true;
		lock_missing_set(dlm, true);
		hold_try(dlm);
		break;
	case NOTE_RELEASE:
		dlm->hold_wanted = false;
		lock_missing_set(dlm, false);
		hold_release(dlm);
		break;
	case NOTE_WATCH: watch_add(dlm, note); break;
	case NOTE_UNWATCH: watch_remove(dlm, note); break;
	case NOTE_HELD:
	case NOTE_DEAD:
	case NOTE_REFUSED:
	case NOTE_LOG: break; /* never sent to the thread */
	}
}

static void notes_serve(struct dlm_port *dlm)
{
	struct note note;

	while (note_take(dlm, &dlm->to_thread, &note))
		note_serve(dlm, &note);
}

/* What failed before, or was asked for while the opposite was under way. */
static void thread_retry(struct dlm_port *dlm)
{
	struct watch *watch;

	if (dlm->hold_wanted && !dlm->held)
		hold_try(dlm);
	if (!dlm->hold_wanted && dlm->held)
		hold_release(dlm);
	TAILQ_FOREACH (watch, &dlm->watches, entry)
		if (!watch->queued && !watch->granted)
			watch_try(watch);
}

static bool thread_told_to_stop(struct dlm_port *dlm)
{
	bool stop;

	pthread_mutex_lock(&dlm->mutex);
	stop = dlm->stop;
	pthread_mutex_unlock(&dlm->mutex);
	return stop;
}

/* Returns false when told to stop. */
static bool thread_poll(struct dlm_port *dlm)
{
	struct pollfd fds[2] = {{.fd = dlm_ls_get_fd(dlm->lockspace), .events = POLLIN},
				{.fd = dlm->to_thread_fd, .events = POLLIN}};
	uint64_t times;

	if (poll(fds, 2, RETRY_MS) == 0)
		thread_retry(dlm);
	if ((fds[1].revents & POLLIN) != 0 && read(dlm->to_thread_fd, &times, sizeof(times)) < 0)
		return true;
	notes_serve(dlm);
	if ((fds[0].revents & POLLIN) != 0)
		(void)dlm_dispatch(fds[0].fd);
	return !thread_told_to_stop(dlm);
}

/*
 * A process's files are closed when its last thread has ended, and this one may hang in a stopped lockspace:
 * then corosync would go on counting a daemon that was killed, and its successor could not take the locks of
 * the pid file and the run directory. So the thread keeps no descriptor but those it uses.
 */
static void descriptors_part(struct dlm_port *dlm)
{
	int low = dlm->to_thread_fd < dlm->to_loop_fd ? dlm->to_thread_fd : dlm->to_loop_fd;
	int high = dlm->to_thread_fd < dlm->to_loop_fd ? dlm->to_loop_fd : dlm->to_thread_fd;

	if (unshare(CLONE_FILES) != 0) {
		say(dlm, LOG_WARNING, "dlm: own descriptors: %s", strerror(errno));
		return;
	}
	if (low > FIRST_FD)
		(void)close_range(FIRST_FD, (unsigned)low - 1, 0);
	if (high > low + 1)
		(void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	(void)close_range((unsigned)high + 1, ~0U, 0);
}

/* One that exists is opened: that of a former daemon, with its lock perhaps. To make it blocks until
 * dlm_controld on all nodes of the lockspace, with quorum, agrees. */
static bool lockspace_join(struct dlm_port *dlm)
{
	dlm->lockspace = dlm_open_lockspace(DLM_PORT_LOCKSPACE);
	dlm->former = dlm->lockspace != NULL;
	if (!dlm->former)
		dlm->lockspace = dlm_new_lockspace(DLM_PORT_LOCKSPACE, LOCKSPACE_MODE, 0);
	return dlm->lockspace != NULL;
}

/* The time `ms` from now, as pthread_cond_timedwait(3) of ours wants it. */
static struct timespec deadline_in(unsigned ms)
{
	struct timespec deadline;

	(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += ms / 1000;
	deadline.tv_nsec += (long)(ms % 1000) * 1000000;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	return deadline;
}

/* Returns false when told to stop meanwhile. */
static bool thread_wait(struct dlm_port *dlm, unsigned ms)
{
	struct timespec deadline = deadline_in(ms);
	bool stop;

	pthread_mutex_lock(&dlm->mutex);
	while (!dlm->stop && pthread_cond_timedwait(&dlm->changed, &dlm->mutex, &deadline) != ETIMEDOUT)
		;
	stop = dlm->stop;
	pthread_mutex_unlock(&dlm->mutex);
	return !stop;
}

static bool is_past(const struct timespec *deadline)
{
	struct timespec now = deadline_in(0);

	return now.tv_sec != deadline->tv_sec ? now.tv_sec > deadline->tv_sec
					      : now.tv_nsec >= deadline->tv_nsec;
}

/* Returns false when it cannot be joined, or when told to stop. libdlm itself waits some ten seconds for a
 * device that is not there, so the clock counts, not the attempts. */
static bool thread_join(struct dlm_port *dlm)
{
	struct timespec deadline = deadline_in(JOIN_PATIENCE_MS);
	int error;

	do {
		if (lockspace_join(dlm))
			return true;
		error = errno;
		if (!thread_wait(dlm, RETRY_MS))
			return false;
	} while (!is_past(&deadline));
	say(dlm, LOG_ERR,
	    "--fencing=dlm: cannot join DLM's lockspace: %s. Is the kernel module dlm loaded, and does "
	    "dlm_controld serve it? Else choose --fencing=none",
	    strerror(error));
	return false;
}

/*
 * An own lock stays, and the lockspace with it: it says that this node is alive and may write. Without one
 * the lockspace is left whatever other nodes' locks this node looks after; they go on elsewhere.
 */
static void lockspace_leave(struct dlm_port *dlm)
{
	struct pollfd fd = {.fd = dlm_ls_get_fd(dlm->lockspace), .events = POLLIN};
	bool leave;

	/* Given up just now, perhaps. */
	notes_serve(dlm);
	while (dlm->hold_queued && poll(&fd, 1, SETTLE_MS) > 0)
		(void)dlm_dispatch(fd.fd);
	leave = !dlm->former && !dlm->held && !dlm->hold_queued && !dlm->hold_wanted;
	if (!leave || dlm_release_lockspace(DLM_PORT_LOCKSPACE, dlm->lockspace, 1) != 0)
		(void)dlm_close_lockspace(dlm->lockspace);
}

static void *thread_run(void *argument)
{
	struct dlm_port *dlm = argument;

	descriptors_part(dlm);
	if (thread_join(dlm)) {
		say(dlm, LOG_INFO, "dlm: in lockspace " DLM_PORT_LOCKSPACE);
		place_set(dlm, PLACE_IN);
		while (thread_poll(dlm))
			;
		lockspace_leave(dlm);
	} else {
		tell(dlm, NOTE_REFUSED, NODE_NONE, 0);
		place_set(dlm, PLACE_REFUSED);
	}
	pthread_mutex_lock(&dlm->mutex);
	dlm->ended = true;
	pthread_cond_broadcast(&dlm->changed);
	pthread_mutex_unlock(&dlm->mutex);
	return NULL;
}

/* --- the loop
 * ------------------------------------------------------------------------------------------------- */

static void note_tell(struct dlm_port *dlm, const struct note *note)
{
	struct event event = {.node_dead = {.node = note->node, .boot_id = note->boot_id}};

	switch (note->type) {
	case NOTE_REFUSED: dlm->refused_fn(dlm->config.sink.context); return;
	case NOTE_LOG: log_write(note->priority, "%s", note->text); return;
	case NOTE_HELD: event.type = EVENT_FENCE_HELD; break;
	case NOTE_DEAD:
		log_write(LOG_INFO, "dlm: the lock of node %u is free", note->node);
		event.type = EVENT_NODE_DEAD;
		break;
	default: return;
	}
	event_sink_post(&dlm->config.sink, &event);
}

/* While a port is opened or closed nobody may be told of anything but by the log. */
static void log_notes_write(struct dlm_port *dlm)
{
	struct note *note, *next;

	pthread_mutex_lock(&dlm->mutex);
	for (note = TAILQ_FIRST(&dlm->to_loop); note != NULL; note = next) {
		next = TAILQ_NEXT(note, entry);
		if (note->type != NOTE_LOG)
			continue;
		TAILQ_REMOVE(&dlm->to_loop, note, entry);
		log_write(note->priority, "%s", note->text);
		free(note);
	}
	pthread_mutex_unlock(&dlm->mutex);
}

static int32_t on_notes(int32_t fd, int32_t revents, void *data)
{
	struct dlm_port *dlm = data;
	struct note note;
	uint64_t times;

	(void)revents;
	if (read(fd, &times, sizeof(times)) != (ssize_t)sizeof(times))
		return 0;
	while (note_take(dlm, &dlm->to_loop, &note))
		note_tell(dlm, &note);
	return 0;
}

void dlm_port_perform(struct dlm_port *dlm, const struct effect *effect)
{
	struct note note = {.node = effect->fence.node, .boot_id = effect->fence.boot_id};

	switch (effect->type) {
	case EFFECT_FENCE_HOLD: note.type = NOTE_HOLD; break;
	case EFFECT_FENCE_RELEASE: note.type = NOTE_RELEASE; break;
	case EFFECT_FENCE_WATCH: note.type = NOTE_WATCH; break;
	case EFFECT_FENCE_UNWATCH: note.type = NOTE_UNWATCH; break;
	default: return;
	}
	note_put(dlm, &dlm->to_thread, dlm->to_thread_fd, &note);
}

/* --- the loop: is dlm_controld there
 * --------------------------------------------------------------------------- */

static void controld_watch(void *data);

static void controld_retry(struct dlm_port *dlm)
{
	(void)qb_loop_timer_add(dlm->config.loop, QB_LOOP_LOW, CONTROLD_RETRY_NS, dlm, controld_watch,
				&dlm->controld_timer);
}

/* It never writes here: whatever comes is the end. */
static int32_t on_controld(int32_t fd, int32_t revents, void *data)
{
	struct dlm_port *dlm = data;

	(void)revents;
	dlm->controld_fd = -1;
	(void)qb_loop_poll_del(dlm->config.loop, fd);
	dlmc_fs_disconnect(fd);
	log_write(LOG_ERR,
		  "dlm: dlm_controld is gone: no node can be known dead until it is back, and the other "
		  "nodes will fence this one. The daemon goes on; writes that need nobody fenced do too");
	controld_retry(dlm);
	return 0;
}

static void controld_watch(void *data)
{
	struct dlm_port *dlm = data;
	int fd = dlmc_fs_connect();

	if (fd >= 0 && qb_loop_poll_add(dlm->config.loop, QB_LOOP_LOW, fd, POLLIN, dlm, on_controld) != 0) {
		dlmc_fs_disconnect(fd);
		fd = -1;
	}
	if (fd < 0) {
		controld_retry(dlm);
		return;
	}
	dlm->controld_fd = fd;
	if (dlm->controld_seen)
		log_write(LOG_NOTICE, "dlm: dlm_controld is back");
	dlm->controld_seen = true;
}

static void controld_unwatch(struct dlm_port *dlm)
{
	if (dlm->controld_fd >= 0) {
		(void)qb_loop_poll_del(dlm->config.loop, dlm->controld_fd);
		dlmc_fs_disconnect(dlm->controld_fd);
	} else {
		(void)qb_loop_timer_del(dlm->config.loop, dlm->controld_timer);
	}
	dlm->controld_fd = -1;
}

const char *dlm_port_trouble(struct dlm_port *dlm)
{
	const char *text = NULL;

	pthread_mutex_lock(&dlm->mutex);
	if (dlm->controld_fd < 0)
		text = "dlm_controld is gone: no node can be known dead until it is back";
	else if (dlm->place == PLACE_JOINING)
		text = "waits for DLM: all its nodes have to agree on the lockspace, with quorum";
	else if (dlm->lock_missing)
		text = "waits for DLM to grant the lock of this node";
	pthread_mutex_unlock(&dlm->mutex);
	return text;
}

/* dlm_controld prints its options one a line, "enable_fencing=0 ..." */
static int controld_check(void)
{
	char *config = calloc(1, DLMC_DUMP_SIZE + 1);
	int error = 0;

	if (config == NULL)
		return -ENOMEM;
	if (dlmc_dump_config(config) < 0) {
		log_write(LOG_ERR,
			  "--fencing=dlm: dlm_controld does not run. Start it, or choose --fencing=none (an "
			  "administrator confirms deaths), or --cluster=none for a lone host");
		error = -ENOTCONN;
	} else if (strstr(config, "enable_fencing=0") != NULL) {
		log_write(LOG_ERR,
			  "--fencing=dlm: dlm_controld runs with enable_fencing=0: it would call nodes dead "
			  "that are not. Configure fencing, or choose --fencing=none");
		error = -EPERM;
	}
	free(config);
	return error;
}

static void dlm_free(struct dlm_port *dlm)
{
	struct watch *watch;
	struct note note;

	while (note_take(dlm, &dlm->to_loop, &note) || note_take(dlm, &dlm->to_thread, &note))
		;
	while ((watch = TAILQ_FIRST(&dlm->watches)) != NULL)
		watch_free(watch);
	if (dlm->to_loop_fd >= 0)
		close(dlm->to_loop_fd);
	if (dlm->to_thread_fd >= 0)
		close(dlm->to_thread_fd);
	pthread_cond_destroy(&dlm->changed);
	pthread_mutex_destroy(&dlm->mutex);
	free(dlm);
}

static struct dlm_port *dlm_alloc(const struct port_config *config)
{
	struct dlm_port *dlm = port_alloc(sizeof(*dlm));
	pthread_condattr_t attributes;

	dlm->config = *config;
	TAILQ_INIT(&dlm->to_loop);
	TAILQ_INIT(&dlm->to_thread);
	TAILQ_INIT(&dlm->watches);
	pthread_mutex_init(&dlm->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&dlm->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	dlm->controld_fd = -1;
	dlm->to_loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	dlm->to_thread_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return dlm;
}

/* Waits until the thread has joined the lockspace or cannot; not longer than a service may take to start. */
static int join_wait(struct dlm_port *dlm)
{
	struct timespec deadline = deadline_in(OPEN_PATIENCE_MS);
	enum place place;

	pthread_mutex_lock(&dlm->mutex);
	while (dlm->place == PLACE_JOINING &&
	       pthread_cond_timedwait(&dlm->changed, &dlm->mutex, &deadline) != ETIMEDOUT)
		;
	place = dlm->place;
	pthread_mutex_unlock(&dlm->mutex);
	log_notes_write(dlm);
	if (place == PLACE_JOINING)
		log_write(LOG_WARNING,
			  "dlm: the lockspace is not there yet: waiting for quorum, or for a node to be "
			  "fenced. No mirror can be activated before");
	return place == PLACE_REFUSED ? -ENOTCONN : 0;
}

int dlm_port_open(const struct port_config *config, node_id_t node, uint64_t boot_id,
		  void (*refused_fn)(void *context), struct dlm_port **ret_dlm)
{
	int error = controld_check();
	struct dlm_port *dlm;

	if (error != 0)
		return error;
	dlm = dlm_alloc(config);
	dlm->node = node;
	dlm->boot_id = boot_id;
	dlm->refused_fn = refused_fn;
	if (dlm->to_loop_fd < 0 || dlm->to_thread_fd < 0)
		error = -EMFILE;
	if (error == 0)
		error = qb_loop_poll_add(config->loop, QB_LOOP_MED, dlm->to_loop_fd, POLLIN, dlm, on_notes);
	if (error != 0) {
		dlm_free(dlm);
		return error;
	}
	error = port_thread_start(thread_run, dlm, &dlm->thread);
	if (error != 0) {
		(void)qb_loop_poll_del(config->loop, dlm->to_loop_fd);
		dlm_free(dlm);
		return error;
	}
	controld_watch(dlm);
	error = join_wait(dlm);
	if (error != 0)
		dlm_port_close(dlm);
	else
		*ret_dlm = dlm;
	return error;
}

void dlm_port_close(struct dlm_port *dlm)
{
	struct timespec deadline = deadline_in(FREE_PATIENCE_MS);
	bool ended;

	if (dlm == NULL)
		return;
	controld_unwatch(dlm);
	(void)qb_loop_poll_del(dlm->config.loop, dlm->to_loop_fd);
	pthread_mutex_lock(&dlm->mutex);
	dlm->stop = true;
	pthread_cond_broadcast(&dlm->changed);
	wake(dlm->to_thread_fd);
	while (!dlm->ended && pthread_cond_timedwait(&dlm->changed, &dlm->mutex, &deadline) != ETIMEDOUT)
		;
	ended = dlm->ended;
	pthread_mutex_unlock(&dlm->mutex);
	log_notes_write(dlm);
	if (!ended) {
		/* The thread hangs in a stopped lockspace and uses all this: it stays until the process ends.
		 */
		log_write(LOG_WARNING, "dlm: the lockspace is stopped; not waiting for it");
		return;
	}
	(void)pthread_join(dlm->thread, NULL);
	dlm_free(dlm);
}
