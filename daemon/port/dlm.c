/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/dlm.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
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

#define STACK_BYTES	((size_t)256 * 1024)
#define LOCKSPACE_MODE	0600
#define NAME_BYTES	32 /* DLM_RESNAME_MAXLEN is 64 */
#define RETRY_MS	1000
#define FREE_PATIENCE_S 1

/* What goes to the thread, and what comes back. */
enum note_type { NOTE_HOLD, NOTE_RELEASE, NOTE_WATCH, NOTE_UNWATCH, NOTE_HELD, NOTE_DEAD, NOTE_REFUSED };

struct note {
	TAILQ_ENTRY(note) entry;
	enum note_type type;
	node_id_t node;
	uint64_t boot_id;
};
TAILQ_HEAD(notes, note);

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
	pthread_mutex_t mutex;	      /* guards the next five */
	pthread_cond_t ended_changed;
	struct notes to_thread, to_loop;
	bool stop, ended;

	/* The thread's own. */
	dlm_lshandle_t lockspace;
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
	tell(dlm, NOTE_HELD, dlm->node, dlm->boot_id);
}

static void hold_release(struct dlm_port *dlm);

static void on_hold(void *argument)
{
	struct dlm_port *dlm = argument;

	dlm->hold_queued = false;
	if (dlm->held) {
		/* The AST of an unlock. */
		dlm->held = false;
		return;
	}
	/* -EAGAIN: a former daemon that cannot finish exiting has it still; tried again (thread_poll()). */
	if (dlm->hold_lksb.sb_status != 0) {
		if (dlm->hold_lksb.sb_status != EAGAIN && dlm->hold_lksb.sb_status != -EAGAIN)
			log_write(LOG_ERR, "dlm: own lock: status %d", dlm->hold_lksb.sb_status);
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
	log_write(LOG_INFO, "dlm: took over the lock of a former daemon of this boot");
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
		log_write(LOG_ERR, "dlm: own lock: %s", strerror(errno));
	}
}

static void hold_release(struct dlm_port *dlm)
{
	if (!dlm->held || dlm->hold_queued)
		return;
	dlm->hold_queued = true;
	if (dlm_ls_unlock(dlm->lockspace, dlm->hold_lksb.sb_lkid, 0, &dlm->hold_lksb, dlm) != 0) {
		dlm->hold_queued = false;
		log_write(LOG_ERR, "dlm: giving up the own lock: %s", strerror(errno));
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
		log_write(LOG_ERR, "dlm: giving back the lock of node %u: %s", watch->node, strerror(errno));
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
		log_write(LOG_ERR, "dlm: lock of node %u: %s", watch->node, strerror(errno));
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
		hold_try(dlm);
		break;
	case NOTE_RELEASE:
		dlm->hold_wanted = false;
		hold_release(dlm);
		break;
	case NOTE_WATCH: watch_add(dlm, note); break;
	case NOTE_UNWATCH: watch_remove(dlm, note); break;
	case NOTE_HELD:
	case NOTE_DEAD:
	case NOTE_REFUSED: break; /* never sent to the thread */
	}
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

/* Returns false when told to stop. */
static bool thread_poll(struct dlm_port *dlm)
{
	struct pollfd fds[2] = {{.fd = dlm_ls_get_fd(dlm->lockspace), .events = POLLIN},
				{.fd = dlm->to_thread_fd, .events = POLLIN}};
	struct note note;
	uint64_t times;
	bool stop;

	if (poll(fds, 2, RETRY_MS) == 0)
		thread_retry(dlm);
	if ((fds[1].revents & POLLIN) != 0 && read(dlm->to_thread_fd, &times, sizeof(times)) < 0)
		return true;
	while (note_take(dlm, &dlm->to_thread, &note))
		note_serve(dlm, &note);
	if ((fds[0].revents & POLLIN) != 0)
		(void)dlm_dispatch(fds[0].fd);
	pthread_mutex_lock(&dlm->mutex);
	stop = dlm->stop;
	pthread_mutex_unlock(&dlm->mutex);
	return !stop;
}

static void lockspace_leave(struct dlm_port *dlm)
{
	/* With a lock in it this fails, and must: it says that the node is alive. */
	if (dlm_release_lockspace(DLM_PORT_LOCKSPACE, dlm->lockspace, 0) != 0)
		(void)dlm_close_lockspace(dlm->lockspace);
}

static void *thread_run(void *argument)
{
	struct dlm_port *dlm = argument;

	/* Blocks until all nodes of the lockspace know this one. One that exists is opened. */
	dlm->lockspace = dlm_new_lockspace(DLM_PORT_LOCKSPACE, LOCKSPACE_MODE, 0);
	if (dlm->lockspace == NULL) {
		log_write(
		    LOG_ERR,
		    "--fencing=dlm: cannot join the lockspace: %s. Is the kernel module dlm loaded, and does "
		    "dlm_controld serve it? Else choose --fencing=none, or --cluster=none for a lone host",
		    strerror(errno));
		tell(dlm, NOTE_REFUSED, NODE_NONE, 0);
	} else {
		log_write(LOG_INFO, "dlm: in lockspace " DLM_PORT_LOCKSPACE);
		while (thread_poll(dlm))
			;
		lockspace_leave(dlm);
	}
	pthread_mutex_lock(&dlm->mutex);
	dlm->ended = true;
	pthread_cond_broadcast(&dlm->ended_changed);
	pthread_mutex_unlock(&dlm->mutex);
	return NULL;
}

/* --- the loop
 * ------------------------------------------------------------------------------------------------- */

static void note_tell(struct dlm_port *dlm, const struct note *note)
{
	struct event event = {.node_dead = {.node = note->node, .boot_id = note->boot_id}};

	if (note->type == NOTE_REFUSED) {
		dlm->refused_fn(dlm->config.sink.context);
		return;
	}
	event.type = note->type == NOTE_HELD ? EVENT_FENCE_HELD : EVENT_NODE_DEAD;
	event_sink_post(&dlm->config.sink, &event);
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
	pthread_cond_destroy(&dlm->ended_changed);
	pthread_mutex_destroy(&dlm->mutex);
	free(dlm);
}

static int thread_start(struct dlm_port *dlm)
{
	pthread_attr_t attributes;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	error = pthread_create(&dlm->thread, &attributes, thread_run, dlm);
	pthread_attr_destroy(&attributes);
	return -error;
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
	pthread_cond_init(&dlm->ended_changed, &attributes);
	pthread_condattr_destroy(&attributes);
	dlm->to_loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	dlm->to_thread_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return dlm;
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
	if (error == 0) {
		error = thread_start(dlm);
		if (error != 0)
			(void)qb_loop_poll_del(config->loop, dlm->to_loop_fd);
	}
	if (error != 0) {
		dlm_free(dlm);
		return error;
	}
	*ret_dlm = dlm;
	return 0;
}

void dlm_port_close(struct dlm_port *dlm)
{
	struct timespec deadline;
	bool ended;

	if (dlm == NULL)
		return;
	(void)qb_loop_poll_del(dlm->config.loop, dlm->to_loop_fd);
	(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += FREE_PATIENCE_S;
	pthread_mutex_lock(&dlm->mutex);
	dlm->stop = true;
	wake(dlm->to_thread_fd);
	while (!dlm->ended &&
	       pthread_cond_timedwait(&dlm->ended_changed, &dlm->mutex, &deadline) != ETIMEDOUT)
		;
	ended = dlm->ended;
	pthread_mutex_unlock(&dlm->mutex);
	if (!ended) {
		/* The thread hangs in a stopped lockspace and uses all this: it stays until the process ends.
		 */
		log_write(LOG_WARNING, "dlm: the lockspace is stopped; not waiting for it");
		return;
	}
	(void)pthread_join(dlm->thread, NULL);
	dlm_free(dlm);
}
