/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mirrorlogctl: asks a running mirrorlogd, and tells it what only an administrator can know. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qb/qblog.h>

#include "common/rate.h"
#include "daemon/ctl/connection.h"
#include "daemon/ctl/status_text.h"

enum { STATUS_GOOD = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_NO_DAEMON = 3 };

struct arguments {
	const char *run_dir;
	bool json, all;
	struct control_request request;
};

static const char help[] =
    "Usage: mirrorlogctl [--run-dir=DIR] COMMAND\n"
    "Watch and steer mirrorlogd.\n"
    "\n"
    "  status [--json]      logs, members, writer, recoverer, marks, and what is waited for\n"
    "  dump                 what the daemon did lately (its flight recorder)\n"
    "  metrics              counters in the text format of Prometheus\n"
    "  confirm-dead NODE    that node is dead, I have made sure: go on without it.\n"
    "                       Data is lost if it is not\n"
    "  fail-kept [UUID]     answer requests that wait for quorum with an I/O error\n"
    "  repair pause|resume  hold, or go on with, the repair of regions that dead nodes left\n"
    "  repair throttle UUID|--all RATE\n"
    "                       repair by this node with at most that many bytes a second\n"
    "                       for that log, or for each log; as in 20M, 0: no limit\n"
    "\n"
    "  --run-dir=DIR        run directory of the daemon (/run/mirrorlogd)\n"
    "  -h, --help           this text\n"
    "  -V, --version        version\n"
    "\n"
    "Exit status: 0 good, 1 error, 2 usage, 3 the daemon does not run.\n";

static int usage(const char *why, const char *what)
{
	fprintf(stderr, "mirrorlogctl: %s%s\nTry `mirrorlogctl --help'.\n", why, what);
	return STATUS_USAGE;
}

/* --- commands: what follows the word, as far as it is one's own -------------------------------------------
 */

static bool take_node(const char *word, struct control_request *request)
{
	char *end;
	unsigned long node;

	errno = 0;
	node = strtoul(word, &end, 10);
	if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0 || node == 0 || node > UINT32_MAX)
		return false;
	request->node = (node_id_t)node;
	return true;
}

static bool take_uuid(const char *word, struct control_request *request)
{
	size_t size = strlen(word);

	if (size == 0 || size >= sizeof(request->uuid))
		return false;
	memcpy(request->uuid, word, size + 1);
	return true;
}

/* `throttle UUID RATE`, or `throttle RATE` with --all. */
static int throttle_parse(int argc, char *argv[], struct arguments *arguments)
{
	if (argc < (arguments->all ? 2 : 3))
		return usage("throttle needs a log or --all, and a rate", "");
	if (argc > (arguments->all ? 2 : 3))
		return usage("unexpected argument: ", argv[argc - 1]);
	arguments->request.type = CONTROL_REQUEST_REPAIR_THROTTLE;
	if (!arguments->all && !take_uuid(argv[1], &arguments->request))
		return usage("not understood: ", argv[1]);
	if (!rate_parse(argv[argc - 1], &arguments->request.rate))
		return usage("not a rate: ", argv[argc - 1]);
	return STATUS_GOOD;
}

static bool take_repair(const char *word, struct control_request *request)
{
	if (strcmp(word, "resume") == 0)
		request->type = CONTROL_REQUEST_REPAIR_RESUME;
	return strcmp(word, "pause") == 0 || strcmp(word, "resume") == 0;
}

struct command {
	const char *word;
	enum control_request_type type;
	bool (*take)(const char *word, struct control_request *request); /* NULL: no argument */
	bool optional;
};

static const struct command commands[] = {
    {"status", CONTROL_REQUEST_STATUS, NULL, true},
    {"dump", CONTROL_REQUEST_DUMP, NULL, true},
    {"metrics", CONTROL_REQUEST_METRICS, NULL, true},
    {"confirm-dead", CONTROL_REQUEST_CONFIRM_DEAD, take_node, false},
    {"fail-kept", CONTROL_REQUEST_FAIL_KEPT, take_uuid, true},
    {"repair", CONTROL_REQUEST_REPAIR_PAUSE, take_repair, false},
};

static int command_parse(int argc, char *argv[], struct arguments *arguments)
{
	const struct command *command = NULL;

	if (argc == 0)
		return usage("no command", "");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[0], commands[i].word) == 0)
			command = &commands[i];
	if (command == NULL)
		return usage("unknown command: ", argv[0]);
	arguments->request.type = command->type;
	if (arguments->json && command->type != CONTROL_REQUEST_STATUS)
		return usage("--json goes with status, not with ", argv[0]);
	if (command->type == CONTROL_REQUEST_REPAIR_PAUSE && argc > 1 && strcmp(argv[1], "throttle") == 0)
		return throttle_parse(argc - 1, argv + 1, arguments);
	if (arguments->all)
		return usage("--all goes with repair throttle, not with ", argv[0]);
	if (argc == 1 && !command->optional)
		return usage("something is missing after ", argv[0]);
	if (argc > (command->take == NULL ? 1 : 2))
		return usage("unexpected argument: ", argv[argc - 1]);
	if (argc == 2 && !command->take(argv[1], &arguments->request))
		return usage("not understood: ", argv[1]);
	return STATUS_GOOD;
}

/* --- answers ----------------------------------------------------------------------------------------------
 */

static struct json_object *answer_member(struct json_object *answer, const char *key)
{
	struct json_object *value = NULL;

	(void)json_object_object_get_ex(answer, key, &value);
	return value;
}

static int status_print(const struct arguments *arguments, struct json_object *status)
{
	if (arguments->json)
		puts(json_object_to_json_string_ext(status,
						    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED));
	else
		status_text_print(stdout, status);
	return STATUS_GOOD;
}

/* libqb complains on stderr that the file ends, each time, and returns -EIO for it. */
static int blackbox_print(const char *path)
{
	int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC), loud = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3),
	    error;

	if (quiet >= 0)
		(void)dup2(quiet, STDERR_FILENO);
	error = qb_log_blackbox_print_from_file(path);
	if (loud >= 0) {
		(void)dup2(loud, STDERR_FILENO);
		close(loud);
	}
	if (quiet >= 0)
		close(quiet);
	return error == -EIO ? 0 : error;
}

static int dump_print(const char *path)
{
	int error;

	if (path == NULL)
		return STATUS_FAILED;
	qb_log_init("mirrorlogctl", LOG_USER, LOG_EMERG);
	(void)qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	error = blackbox_print(path);
	qb_log_fini();
	if (error < 0)
		fprintf(stderr, "mirrorlogctl: %s: %s\n", path, strerror(-error));
	return error < 0 ? STATUS_FAILED : STATUS_GOOD;
}

static int answer_print(const struct arguments *arguments, struct json_object *answer)
{
	if (!json_object_get_boolean(answer_member(answer, "ok"))) {
		fprintf(stderr, "mirrorlogctl: %s\n", json_object_get_string(answer_member(answer, "error")));
		return STATUS_FAILED;
	}
	switch (arguments->request.type) {
	case CONTROL_REQUEST_STATUS: return status_print(arguments, answer_member(answer, "status"));
	case CONTROL_REQUEST_DUMP: return dump_print(json_object_get_string(answer_member(answer, "path")));
	case CONTROL_REQUEST_METRICS:
		fputs(json_object_get_string(answer_member(answer, "text")), stdout);
		return STATUS_GOOD;
	default: return STATUS_GOOD;
	}
}

static int ask(const struct arguments *arguments)
{
	struct json_object *answer = NULL;
	int error = connection_ask(arguments->run_dir, &arguments->request, &answer), status;

	if (error == -ECONNREFUSED || error == -ENOENT) {
		fprintf(stderr, "mirrorlogctl: no daemon runs in %s\n", arguments->run_dir);
		return STATUS_NO_DAEMON;
	}
	if (error != 0) {
		fprintf(stderr, "mirrorlogctl: cannot ask the daemon: %s\n", strerror(-error));
		return STATUS_FAILED;
	}
	status = answer_print(arguments, answer);
	json_object_put(answer);
	/* A full disk or a closed pipe is an error too. */
	if (fflush(stdout) != 0 && status == STATUS_GOOD)
		status = STATUS_FAILED;
	return status;
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
	    {"run-dir", required_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'},
	    {"all", no_argument, NULL, 'a'},	       {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0},
	};
	struct arguments arguments = {.run_dir = "/run/mirrorlogd"};
	int option, status;

	while ((option = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		switch (option) {
		case 'r': arguments.run_dir = optarg; break;
		case 'j': arguments.json = true; break;
		case 'a': arguments.all = true; break;
		case 'h': fputs(help, stdout); return STATUS_GOOD;
		case 'V': puts("mirrorlogctl " MIRRORLOGD_VERSION); return STATUS_GOOD;
		default: fprintf(stderr, "Try `mirrorlogctl --help'.\n"); return STATUS_USAGE;
		}
	}
	status = command_parse(argc - optind, argv + optind, &arguments);
	return status == STATUS_GOOD ? ask(&arguments) : status;
}
