/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fencing over a stand-in for libdlm: the functions below take the place of the library's. The real DLM is
 * met by the clusters of real kernels. */
#include "tests/port/port_test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libdlm.h>
#include <libdlmcontrol.h>

#include "daemon/port/dlm.h"

#define NODE	  2
#define BOOT	  77
#define CALLS_MAX 16
#define LOCK_ID	  5

struct call {
	void (*ast_fn)(void *argument);
	void *argument;
	struct dlm_lksb *lksb;
	uint32_t flags;
	char name[32];
	bool unlock;
};

/* The stand-in: what it is to answer, and what it was asked. */
static struct {
	pthread_mutex_t mutex;
	const char *controld; /* its options; NULL: it does not run */
	int controld_fds[2];
	bool lockspace_exists, join_fails, orphan;
	int ast_fd; /* of the thread */
	struct call waiting[CALLS_MAX];
	unsigned waiting_count, created, released, closed, adopted;
} dlm = {.mutex = PTHREAD_MUTEX_INITIALIZER};

int dlmc_dump_config(char *buf)
{
	if (dlm.controld == NULL)
		return -1;
	(void)snprintf(buf, DLMC_DUMP_SIZE, "%s", dlm.controld);
	return 0;
}

int dlmc_fs_connect(void)
{
	return dlm.controld == NULL ? -1 : dup(dlm.controld_fds[0]);
}

void dlmc_fs_disconnect(int fd)
{
	close(fd);
}

static dlm_lshandle_t lockspace_opened(void)
{
	dlm.ast_fd = eventfd(0, EFD_CLOEXEC);
	return &dlm;
}

dlm_lshandle_t dlm_open_lockspace(const char *name)
{
	(void)name;
	errno = ENOENT;
	return dlm.lockspace_exists ? lockspace_opened() : NULL;
}

dlm_lshandle_t dlm_new_lockspace(const char *name, mode_t mode, uint32_t flags)
{
	(void)name, (void)mode, (void)flags;
	errno = ENOTCONN;
	if (dlm.join_fails)
		return NULL;
	dlm.created++;
	return lockspace_opened();
}

int dlm_release_lockspace(const char *name, dlm_lshandle_t lockspace, int force)
{
	(void)name, (void)lockspace, (void)force;
	dlm.released++;
	return close(dlm.ast_fd);
}

int dlm_close_lockspace(dlm_lshandle_t lockspace)
{
	(void)lockspace;
	dlm.closed++;
	return close(dlm.ast_fd);
}

int dlm_ls_get_fd(dlm_lshandle_t lockspace)
{
	(void)lockspace;
	return dlm.ast_fd;
}

static int call_keep(const struct call *call)
{
	uint64_t one = 1;

	pthread_mutex_lock(&dlm.mutex);
	assert_true(dlm.waiting_count < CALLS_MAX);
	dlm.waiting[dlm.waiting_count++] = *call;
	pthread_mutex_unlock(&dlm.mutex);
	return write(dlm.ast_fd, &one, sizeof(one)) == (ssize_t)sizeof(one) ? 0 : -1;
}

int dlm_ls_lock(dlm_lshandle_t lockspace, uint32_t mode, struct dlm_lksb *lksb, uint32_t flags,
		const void *name, unsigned namelen, uint32_t parent, void (*ast_fn)(void *), void *argument,
		void (*bast_fn)(void *), void *range)
{
	struct call call = {.ast_fn = ast_fn, .argument = argument, .lksb = lksb, .flags = flags};

	(void)lockspace, (void)parent, (void)bast_fn, (void)range;
	assert_int_equal(mode, LKM_EXMODE);
	memcpy(call.name, name, namelen);
	lksb->sb_lkid = LOCK_ID;
	if ((flags & LKF_ORPHAN) == 0)
		return call_keep(&call);
	errno = ENOENT;
	if (!dlm.orphan)
		return -1;
	dlm.orphan = false;
	dlm.adopted++;
	return 0;
}

int dlm_ls_unlock(dlm_lshandle_t lockspace, uint32_t lkid, uint32_t flags, struct dlm_lksb *lksb,
		  void *argument)
{
	struct call call = {.argument = argument, .lksb = lksb, .flags = flags, .unlock = true};

	(void)lockspace;
	assert_int_equal(lkid, LOCK_ID);
	return call_keep(&call);
}

/* All is granted, all is given back: the order in which DLM tells. The function of an unlock is that of its
 * lock. */
int dlm_dispatch(int fd)
{
	static void (*ast_of_lock)(void *);
	uint64_t times;
	struct call call;

	assert_int_equal(read(fd, &times, sizeof(times)), sizeof(times));
	while (dlm.waiting_count > 0) {
		pthread_mutex_lock(&dlm.mutex);
		call = dlm.waiting[0];
		memmove(dlm.waiting, dlm.waiting + 1, --dlm.waiting_count * sizeof(call));
		pthread_mutex_unlock(&dlm.mutex);
		call.lksb->sb_status = call.unlock ? EUNLOCK : 0;
		if (!call.unlock)
			ast_of_lock = call.ast_fn;
		ast_of_lock(call.argument);
	}
	return 0;
}

static int setup(void **state)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, dlm.controld_fds), 0);
	dlm.controld = "post_join_delay=1\nenable_fencing=1\n";
	dlm.lockspace_exists = dlm.join_fails = dlm.orphan = false;
	dlm.created = dlm.released = dlm.closed = dlm.adopted = 0;
	return port_test_setup(state);
}

static int teardown(void **state)
{
	close(dlm.controld_fds[0]);
	if (dlm.controld_fds[1] >= 0)
		close(dlm.controld_fds[1]);
	return port_test_teardown(state);
}

static struct dlm_port *port_open(struct port_test *test)
{
	struct dlm_port *port = NULL;

	assert_int_equal(dlm_port_open(&test->config, NODE, BOOT, port_test_called, &port), 0);
	return port;
}

static void perform(struct dlm_port *port, enum effect_type type, node_id_t node)
{
	const struct effect effect = {.type = type, .fence = {.node = node, .boot_id = BOOT}};

	dlm_port_perform(port, &effect);
}

static void test_refused_without_controld_or_fencing(void **state)
{
	struct port_test *test = *state;
	struct dlm_port *port = NULL;

	dlm.controld = NULL;
	assert_int_equal(dlm_port_open(&test->config, NODE, BOOT, port_test_called, &port), -ENOTCONN);
	dlm.controld = "post_join_delay=1\nenable_fencing=0 (dlm.conf)\n";
	assert_int_equal(dlm_port_open(&test->config, NODE, BOOT, port_test_called, &port), -EPERM);
	dlm.controld = "enable_fencing=1\n";
	dlm.join_fails = true;
	assert_int_equal(dlm_port_open(&test->config, NODE, BOOT, port_test_called, &port), -ENOTCONN);
	assert_int_equal(dlm.created, 0);
}

static void test_lock_is_held_and_given_back(void **state)
{
	struct port_test *test = *state;
	struct dlm_port *port = port_open(test);

	assert_null(dlm_port_trouble(port));
	perform(port, EFFECT_FENCE_HOLD, NODE);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.type, EVENT_FENCE_HELD);
	perform(port, EFFECT_FENCE_RELEASE, NODE);
	dlm_port_close(port);
	assert_int_equal(dlm.created, 1);
	assert_int_equal(dlm.released, 1);
}

static void test_held_lock_stays_behind(void **state)
{
	struct port_test *test = *state;
	struct dlm_port *port = port_open(test);

	perform(port, EFFECT_FENCE_HOLD, NODE);
	port_test_run(test, 1);
	dlm_port_close(port);
	assert_int_equal(dlm.released, 0);
	assert_int_equal(dlm.closed, 1);
}

static void test_orphan_is_adopted(void **state)
{
	struct port_test *test = *state;
	struct dlm_port *port;

	dlm.lockspace_exists = dlm.orphan = true;
	port = port_open(test);
	perform(port, EFFECT_FENCE_HOLD, NODE);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.type, EVENT_FENCE_HELD);
	dlm_port_close(port);
	assert_int_equal(dlm.adopted, 1);
	/* The lockspace was the former daemon's, and has its lock: it stays, and was not created twice. */
	assert_int_equal(dlm.created, 0);
	assert_int_equal(dlm.released, 0);
}

static void test_unused_lockspace_is_left(void **state)
{
	struct dlm_port *port = port_open(*state);

	dlm_port_close(port);
	assert_int_equal(dlm.released, 1);
	/* What a former daemon left in one is not known: nothing is taken from it. */
	dlm.lockspace_exists = true;
	port = port_open(*state);
	dlm_port_close(port);
	assert_int_equal(dlm.released, 1);
	assert_int_equal(dlm.closed, 1);
}

static void test_granted_lock_is_a_death(void **state)
{
	struct port_test *test = *state;
	struct dlm_port *port = port_open(test);

	perform(port, EFFECT_FENCE_WATCH, 9);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.type, EVENT_NODE_DEAD);
	assert_int_equal(test->events[0].event.node_dead.node, 9);
	assert_int_equal(test->events[0].event.node_dead.boot_id, BOOT);
	dlm_port_close(port);
}

static void test_dead_controld_is_said(void **state)
{
	struct port_test *test = *state;
	struct dlm_port *port = port_open(test);

	dlm.controld = NULL;
	close(dlm.controld_fds[1]);
	dlm.controld_fds[1] = -1;
	port_test_run_for(test, 50);
	assert_non_null(strstr(dlm_port_trouble(port), "dlm_controld is gone"));
	assert_int_equal(test->calls, 0);
	dlm_port_close(port);
}

static volatile sig_atomic_t signals_taken;

static void on_signal(int number)
{
	(void)number;
	signals_taken++;
}

/* libqb's handler writes to a pipe of the daemon, and the thread has descriptors of its own. */
static void test_thread_takes_no_signal(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal};
	const struct timespec now = {0};
	struct dlm_port *port = port_open(*state);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	port_test_run_for(*state, 50);
	assert_int_equal(sigtimedwait(&set, NULL, &now), SIGUSR1);
	assert_int_equal(signals_taken, 0);
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	dlm_port_close(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_refused_without_controld_or_fencing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lock_is_held_and_given_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_held_lock_stays_behind, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_orphan_is_adopted, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_unused_lockspace_is_left, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_granted_lock_is_a_death, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_dead_controld_is_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_thread_takes_no_signal, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
