/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start and end of mirrorlogd. What happens between is in loop.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "daemon/options.h"
#include "daemon/port/cluster.h"
#include "daemon/port/log.h"
#include "daemon/port/process.h"
#include "daemon/port/run_dir.h"

enum { STATUS_GOOD = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

/* Wait for corosync, as long as it takes: one that starts the daemon first has not done wrong. */
static int node_id_wait(const struct options *options, node_id_t *ret_node)
{
	const struct timespec second = {.tv_sec = 1};
	bool corosync = options->cluster == CLUSTER_COROSYNC, told = false;
	int error;

	while ((error = cluster_node_id(corosync, ret_node)) == -ENOTCONN) {
		if (!told) {
			log_write(LOG_WARNING, "waiting for corosync");
			process_status("waiting for corosync");
		}
		told = true;
		(void)nanosleep(&second, NULL);
	}
	if (error == -EOPNOTSUPP)
		log_write(LOG_ERR, "--cluster=corosync is not built in; choose --cluster=none");
	else if (error != 0)
		log_write(LOG_ERR, "cannot ask corosync for the node id: %s", strerror(-error));
	return error;
}

static void fencing_warn(const struct options *options)
{
	if (options->cluster == CLUSTER_NONE)
		return;
	if (options->fencing == FENCING_ASSUME)
		log_write(LOG_WARNING, "--fencing=assume: a node that leaves corosync is taken for dead. "
				       "Data is lost where it is not");
	if (options->fencing == FENCING_NONE)
		log_write(LOG_WARNING,
			  "--fencing=none: a node that vanishes is dead when an administrator says so");
}

static int serve(const struct options *options, struct run_dir *run_dir, bool run_state_lost)
{
	struct loop *loop = NULL;
	node_id_t node = NODE_NONE;
	bool orderly;

	if (run_state_lost)
		log_write(LOG_ERR,
			  "the state in %s is lost: logs this node used stay dirty until their tables "
			  "are reloaded",
			  options->run_dir);
	if (node_id_wait(options, &node) != 0)
		return STATUS_FAILED;
	if (loop_open(options, node, run_dir, run_state_lost || run_dir_is_new(run_dir), &loop) != 0)
		return STATUS_FAILED;
	log_write(LOG_NOTICE, "mirrorlogd %s: node %u, cluster %s, fencing %s", MIRRORLOGD_VERSION, node,
		  options_cluster_name(options->cluster), options_fencing_name(options->fencing));
	fencing_warn(options);
	log_started();
	process_ready();
	process_status("serving");
	orderly = loop_run(loop);
	loop_close(loop);
	return orderly ? STATUS_GOOD : STATUS_FAILED;
}

static int with_run_dir(const struct options *options)
{
	struct run_dir *run_dir = NULL;
	bool run_state_lost = false;
	int error = run_dir_open(options->run_dir, &run_dir, &run_state_lost), status;

	if (error != 0) {
		log_write(LOG_ERR, "run directory %s: %s", options->run_dir,
			  error == -EBUSY ? "another daemon uses it" : strerror(-error));
		return STATUS_FAILED;
	}
	status = serve(options, run_dir, run_state_lost);
	run_dir_close(run_dir);
	return status;
}

static int with_pid_file(const struct options *options)
{
	pid_t holder = 0;
	int error, status;

	error = process_pidfile_lock(options->pid_file, &holder);
	if (error == -EEXIST) {
		log_write(LOG_ERR, "already running (%s is locked by process %d)", options->pid_file,
			  (int)holder);
		return STATUS_FAILED;
	}
	if (error != 0) {
		log_write(LOG_ERR, "pid file %s: %s", options->pid_file, strerror(-error));
		return STATUS_FAILED;
	}
	process_protect();
	status = with_run_dir(options);
	process_pidfile_unlock();
	return status;
}

/* A service manager that wants to be told wants the process it started. */
static int background_if_asked(const struct options *options)
{
	int error;

	if (options->foreground || getenv("NOTIFY_SOCKET") != NULL)
		return 0;
	error = process_daemonize();
	if (error != 0)
		fprintf(stderr, "mirrorlogd: cannot go to the background: %s\n", strerror(-error));
	return error;
}

int main(int argc, char *argv[])
{
	struct options options;
	int status;

	if (process_standard_fds_fill() != 0)
		return STATUS_FAILED;
	switch (options_parse(argc, argv, &options)) {
	case OPTIONS_RUN: break;
	case OPTIONS_HELP: fputs(options_help(), stdout); return STATUS_GOOD;
	case OPTIONS_VERSION: puts("mirrorlogd " MIRRORLOGD_VERSION); return STATUS_GOOD;
	case OPTIONS_ERROR:
		fprintf(stderr, "mirrorlogd: %s\nTry `mirrorlogd --help'.\n", options.error);
		return STATUS_USAGE;
	}
	if (geteuid() != 0) {
		fprintf(stderr,
			"mirrorlogd: must be root: the kernel's requests come over a privileged socket\n");
		return STATUS_FAILED;
	}
	(void)umask(022);
	if (background_if_asked(&options) != 0 || log_start(options.foreground) != 0)
		return STATUS_FAILED;
	status = with_pid_file(&options);
	if (status != STATUS_GOOD)
		process_failed(status);
	log_stop();
	return status;
}
