/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/port/lock_file.h"
#include "daemon/port/process.h"

#ifndef PR_GET_IO_FLUSHER
#define PR_GET_IO_FLUSHER 58
#endif

/* As dm_daemon_is_running() of libdm asks. */
static bool lvm_sees_daemon(const char *path)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(path, O_RDONLY);
	bool running;

	if (fd < 0)
		return false;
	running = !fcntl(fd, F_GETLK, &lock) && lock.l_type != F_UNLCK;
	close(fd);
	return running;
}

/* A child that does `work`, writes a byte when it is done, and stays until its end of the pipe says so. */
struct helper {
	pid_t pid;
	int said_fd;
};

static struct helper helper_start(const char *path, void (*work)(const char *path, int say_fd))
{
	struct helper helper;
	int ends[2];
	char byte;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	helper.pid = fork();
	if (helper.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		work(path, ends[1]);
		_exit(1);
	}
	close(ends[1]);
	helper.said_fd = ends[0];
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'k');
	return helper;
}

static void helper_end(struct helper *helper)
{
	kill(helper->pid, SIGKILL);
	waitpid(helper->pid, NULL, 0);
	close(helper->said_fd);
}

static void hold_pidfile(const char *path, int say_fd)
{
	char said = process_pidfile_lock(path, NULL) ? 'n' : 'k';

	(void)!write(say_fd, &said, 1);
	pause();
}

static void test_pidfile_of_a_living_daemon(void **state)
{
	const char *path = port_test_path(*state, "pid");
	struct helper helper = helper_start(path, hold_pidfile);
	struct stat status;
	char text[32] = "", expected[32];
	pid_t holder = -1;

	assert_true(lvm_sees_daemon(path));
	assert_int_equal(process_pidfile_lock(path, &holder), -EEXIST);
	assert_int_equal(holder, helper.pid);
	snprintf(expected, sizeof(expected), "%u\n", (unsigned)helper.pid);
	port_test_read(*state, "pid", text, strlen(expected));
	assert_string_equal(text, expected);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0644);
	helper_end(&helper);
	assert_false(lvm_sees_daemon(path));
	assert_int_equal(process_pidfile_lock(path, &holder), 0); /* left over: taken */
	assert_int_equal(process_pidfile_lock(path, &holder), -EALREADY);
	process_pidfile_unlock();
	assert_int_equal(access(path, F_OK), -1);
	process_pidfile_unlock();
}

static void *stay(void *context)
{
	char path[64], text[512];

	/* Until the first thread is a zombie. */
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	for (;;) {
		FILE *file = fopen(path, "re");
		size_t size = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

		if (file)
			fclose(file);
		text[size] = '\0';
		if (strstr(text, ") Z "))
			break;
		poll(NULL, 0, 1);
	}
	(void)!write(*(int *)context, "k", 1);
	for (;;)
		pause();
	return NULL;
}

/* Looks like a daemon that was killed while one of its threads hangs in a device. */
static void hold_and_hang(const char *path, int say_fd)
{
	static int fd;
	pthread_t thread;

	fd = say_fd;
	if (process_pidfile_lock(path, NULL) || pthread_create(&thread, NULL, stay, &fd))
		_exit(1);
	syscall(SYS_exit, 0); /* this thread only */
}

static void test_pidfile_of_a_daemon_that_cannot_exit(void **state)
{
	const char *path = port_test_path(*state, "pid");
	struct helper helper = helper_start(path, hold_and_hang);
	struct helper second;

	assert_true(lvm_sees_daemon(path));
	second = helper_start(path, hold_pidfile);
	assert_true(lvm_sees_daemon(path));
	assert_int_equal(process_pidfile_lock(path, NULL), -EEXIST);
	helper_end(&second);
	assert_false(lvm_sees_daemon(path));
	helper_end(&helper);
}

static void test_pidfile_errors(void **state)
{
	const char *path = port_test_path(*state, "none/pid");

	assert_int_equal(process_pidfile_lock(path, NULL), -ENOENT);
	assert_int_equal(symlink("/dev/null", port_test_path(*state, "link")), 0);
	assert_int_equal(process_pidfile_lock(port_test_path(*state, "link"), NULL), -ELOOP);
}

static int fill_in_child(unsigned closed)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct stat null, at;

		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			if (closed & 1u << fd)
				close(fd);
		if (process_standard_fds_fill() || stat("/dev/null", &null))
			_exit(1);
		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			if (fstat(fd, &at) || ((closed & 1u << fd) && at.st_rdev != null.st_rdev))
				_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void test_standard_fds_are_filled(void **state)
{
	unsigned open_count = port_test_open_count("");

	(void)state;
	for (unsigned closed = 0; closed < 8; closed++)
		assert_int_equal(fill_in_child(closed), 0);
	assert_int_equal(process_standard_fds_fill(), 0);
	assert_int_equal(port_test_open_count(""), open_count);
}

/* Exit status of a child that goes to the background, whose background part ends as told. What it has to say
 * comes through a named pipe; *ret_inherited_fd is the reading end of a pipe that the child had open. */
static int daemonize(const char *fifo, int how, int *ret_inherited_fd)
{
	int ends[2], status, fd;
	pid_t child, self;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		if (process_daemonize())
			_exit(99);
		if (how < 0)
			_exit(0); /* dies without a word */
		if (how > 0) {
			process_failed(how);
			_exit(0);
		}
		process_ready();
		fd = open(fifo, O_WRONLY);
		/* Is it a daemon now? Session leader, and nothing goes to the old standard output. */
		self = getsid(0) == getpid() && !isatty(1) ? getpid() : 0;
		(void)!write(fd, &self, sizeof(self));
		pause();
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	*ret_inherited_fd = ends[0];
	return WEXITSTATUS(status);
}

static void test_daemonize(void **state)
{
	struct port_test *test = *state;
	char fifo[256], byte = 0;
	int inherited, fd;
	pid_t daemon_pid;

	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", test->dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(daemonize(fifo, 0, &inherited), 0);
	fd = open(fifo, O_RDONLY);
	assert_int_equal(read(fd, &daemon_pid, sizeof(daemon_pid)), sizeof(daemon_pid));
	assert_true(daemon_pid > 0);
	/* It lives, and holds nothing open that its starter had open. */
	assert_int_equal(read(inherited, &byte, 1), 0);
	assert_int_equal(kill(daemon_pid, 0), 0);
	assert_int_equal(kill(daemon_pid, SIGKILL), 0);
	close(fd);
	close(inherited);
	assert_int_equal(daemonize(fifo, 5, &inherited), 5);
	close(inherited);
	assert_int_equal(daemonize(fifo, -1, &inherited), 1);
	close(inherited);
}

static long status_kib(const char *field)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	long kib = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, field, strlen(field)))
			kib = strtol(line + strlen(field), NULL, 10);
	}
	if (file)
		fclose(file);
	return kib;
}

/* Containers have root without it. */
static bool has_sys_resource(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long capabilities = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "CapEff: %llx", &capabilities);
	if (file)
		fclose(file);
	return capabilities >> 24 & 1;
}

/* Sanitizers make mlockall(2) do nothing. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* In a child: what is locked stays locked. */
static int protect(void)
{
	char score[16] = "";
	int fd;

	process_protect();
	if (!SANITIZED && status_kib("VmLck:") <= 0)
		return 1;
	if (!has_sys_resource())
		return EXIT_SKIPPED;
	fd = open("/proc/self/oom_score_adj", O_RDONLY);
	if (fd < 0 || read(fd, score, sizeof(score) - 1) < 0 || strcmp(score, "-1000\n"))
		return 2;
	return prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1 ? 0 : 3;
}

static void test_protect(void **state)
{
	int status;
	pid_t child;

	(void)state;
	if (geteuid() != 0)
		skip();
	child = fork();
	if (child == 0)
		_exit(protect());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == EXIT_SKIPPED)
		skip(); /* memory is locked; the rest needs CAP_SYS_RESOURCE */
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The service manager may wait for I/O that waits for this daemon. */
static void test_nothing_waits_for_the_service_manager(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), status;
	pid_t child;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", port_test_path(*state, "notify"));
	assert_int_equal(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
	child = fork();
	if (child == 0) {
		setenv("NOTIFY_SOCKET", address.sun_path, 1);
		alarm(20);
		/* The socket takes no more of one sender than its buffer holds, and no more than
		 * max_dgram_qlen. */
		for (int i = 0; i < 10000; i++)
			process_status("nobody reads this");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(recv(manager, address.sun_path, sizeof(address.sun_path), MSG_DONTWAIT) > 0);
	assert_memory_equal(address.sun_path, "STATUS=nobody", 13);
	close(manager);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, port_test_setup, port_test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_pidfile_of_a_living_daemon),
	    TEST(test_pidfile_of_a_daemon_that_cannot_exit),
	    TEST(test_pidfile_errors),
	    TEST(test_standard_fds_are_filled),
	    TEST(test_daemonize),
	    TEST(test_nothing_waits_for_the_service_manager),
	    TEST(test_protect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
