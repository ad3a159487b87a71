/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rate.h"

#define NS_PER_S UINT64_C(1000000000)

enum long_option {
	OPTION_PIDFILE = 256,
	OPTION_RUN_DIR,
	OPTION_CLUSTER,
	OPTION_FENCING,
	OPTION_LINGER,
	OPTION_LINGER_REGIONS,
	OPTION_REPAIR_RATE,
	OPTION_NETLINK_PEER,
	OPTION_DM_TABLES,
};

static const struct option long_options[] = {
    {"foreground", no_argument, NULL, 'f'},
    {"pidfile", required_argument, NULL, OPTION_PIDFILE},
    {"run-dir", required_argument, NULL, OPTION_RUN_DIR},
    {"cluster", required_argument, NULL, OPTION_CLUSTER},
    {"fencing", required_argument, NULL, OPTION_FENCING},
    {"linger", required_argument, NULL, OPTION_LINGER},
    {"linger-regions", required_argument, NULL, OPTION_LINGER_REGIONS},
    {"repair-rate", required_argument, NULL, OPTION_REPAIR_RATE},
    {"netlink-peer", required_argument, NULL, OPTION_NETLINK_PEER},
    {"dm-tables", required_argument, NULL, OPTION_DM_TABLES},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static const char *const cluster_names[] = {[CLUSTER_COROSYNC] = "corosync", [CLUSTER_NONE] = "none"};
static const char *const fencing_names[] = {
    [FENCING_DLM] = "dlm", [FENCING_NONE] = "none", [FENCING_ASSUME] = "assume"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const char *options_cluster_name(enum cluster_kind cluster)
{
	return cluster_names[cluster];
}

const char *options_fencing_name(enum fencing fencing)
{
	return fencing_names[fencing];
}

const char *options_help(void)
{
	return "Usage: mirrorlogd [OPTION]...\n"
	       "Keep the dirty logs of device-mapper mirrors for a cluster.\n"
	       "\n"
	       "  -D, -f, --foreground      stay in the foreground, debug messages to stderr\n"
	       "      --pidfile=PATH        pid file, locked while running (/run/mirrorlogd.pid)\n"
	       "      --run-dir=DIR         state that outlives the daemon but not the boot, and the\n"
	       "                            socket of mirrorlogctl (/run/mirrorlogd)\n"
	       "      --cluster=KIND        corosync (default), or none: this host alone\n"
	       "      --fencing=KIND        who says that a node is dead: dlm (default), none (an\n"
	       "                            administrator, by `mirrorlogctl confirm-dead`), or assume\n"
	       "                            (whoever leaves corosync is dead; for tests)\n"
	       "      --linger=SECONDS      keep a cleared mark for that long (5)\n"
	       "      --linger-regions=N    keep at most that many cleared marks a log (4096)\n"
	       "      --repair-rate=RATE    repair what dead nodes left with at most that many bytes a "
	       "second\n"
	       "                            for each log, as in 20M; 0 (default): as fast as can be\n"
	       "  -h, --help                this text\n"
	       "  -V, --version             version\n";
}

__attribute__((format(printf, 2, 3))) static bool refuse(struct options *options, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(options->error, sizeof(options->error), format, arguments);
	va_end(arguments);
	return false;
}

/* The index of a word in a list, or -1. */
static int word_find(const char *word, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(word, names[i]) == 0)
			return (int)i;
	return -1;
}

/* strtoull() takes blanks and signs; we do not. */
static bool number_parse(const char *text, uint64_t max, uint64_t *ret_number)
{
	char *end;
	unsigned long long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || number > max)
		return false;
	*ret_number = number;
	return true;
}

/* Seconds with up to nine decimals, "5" or "0.25": exact, and the same in every locale. */
static bool seconds_parse(const char *text, uint64_t *ret_ns)
{
	char whole[16];
	size_t whole_chars = strcspn(text, ".");
	const char *fraction = text + whole_chars;
	uint64_t seconds, ns = 0, unit_ns = NS_PER_S;

	if (whole_chars >= sizeof(whole))
		return false;
	memcpy(whole, text, whole_chars);
	whole[whole_chars] = '\0';
	if (!number_parse(whole, OPTIONS_LINGER_MAX_S, &seconds))
		return false;
	if (*fraction == '.') {
		if (*++fraction == '\0')
			return false;
		for (; *fraction != '\0'; fraction++) {
			unit_ns /= 10;
			if (*fraction < '0' || *fraction > '9' || unit_ns == 0)
				return false;
			ns += (uint64_t)(*fraction - '0') * unit_ns;
		}
	}
	*ret_ns = seconds * NS_PER_S + ns;
	return *ret_ns <= OPTIONS_LINGER_MAX_S * NS_PER_S;
}

static bool path_parse(struct options *options, const char *name, const char *path, const char **ret_path)
{
	/* In the background the working directory is another one. */
	if (path[0] != '/')
		return refuse(options, "--%s=%s: the path must begin with a slash", name, path);
	*ret_path = path;
	return true;
}

static bool word_parse(struct options *options, const char *name, const char *word, const char *const *names,
		       size_t count, int *ret_index)
{
	*ret_index = word_find(word, names, count);
	if (*ret_index < 0)
		return refuse(options, "--%s=%s: must be %s%s%s or %s", name, word, names[0],
			      count > 2 ? ", " : "", count > 2 ? names[1] : "", names[count - 1]);
	return true;
}

static bool value_parse(struct options *options, int option, const char *value)
{
	uint64_t number;
	int64_t rate;
	int index;

	switch ((enum long_option)option) {
	case OPTION_PIDFILE: return path_parse(options, "pidfile", value, &options->pid_file);
	case OPTION_RUN_DIR: return path_parse(options, "run-dir", value, &options->run_dir);
	case OPTION_DM_TABLES: return path_parse(options, "dm-tables", value, &options->dm_tables);
	case OPTION_CLUSTER:
		if (!word_parse(options, "cluster", value, cluster_names, COUNT_OF(cluster_names), &index))
			return false;
		options->cluster = (enum cluster_kind)index;
		return true;
	case OPTION_FENCING:
		if (!word_parse(options, "fencing", value, fencing_names, COUNT_OF(fencing_names), &index))
			return false;
		options->fencing = (enum fencing)index;
		return true;
	case OPTION_LINGER:
		if (!seconds_parse(value, &options->linger_ns))
			return refuse(options, "--linger=%s: must be 0 to %d seconds", value,
				      OPTIONS_LINGER_MAX_S);
		return true;
	case OPTION_LINGER_REGIONS:
		if (!number_parse(value, OPTIONS_LINGER_REGIONS_MAX, &number))
			return refuse(options, "--linger-regions=%s: must be 0 to %d regions", value,
				      OPTIONS_LINGER_REGIONS_MAX);
		options->linger_regions = (uint32_t)number;
		return true;
	case OPTION_REPAIR_RATE:
		if (!rate_parse(value, &rate))
			return refuse(options, "--repair-rate=%s: must be bytes a second, with K, M, G or T",
				      value);
		options->repair_rate = (uint64_t)rate;
		return true;
	case OPTION_NETLINK_PEER:
		if (!number_parse(value, UINT32_MAX, &number))
			return refuse(options, "--netlink-peer=%s: must be a port id", value);
		options->netlink_peer = (uint32_t)number;
		return true;
	}
	return refuse(options, "unknown option");
}

static void defaults_set(struct options *options)
{
	*options = (struct options){
	    .pid_file = "/run/mirrorlogd.pid",
	    .run_dir = "/run/mirrorlogd",
	    .cluster = CLUSTER_COROSYNC,
	    .fencing = FENCING_DLM,
	    .linger_ns = OPTIONS_LINGER_DEFAULT_S * NS_PER_S,
	    .linger_regions = OPTIONS_LINGER_REGIONS,
	};
}

enum options_verdict options_parse(int argc, char *argv[], struct options *ret_options)
{
	int option;

	defaults_set(ret_options);
	optind = 0; /* glibc: start over, also when called again */
	while ((option = getopt_long(argc, argv, ":DfhV", long_options, NULL)) != -1) {
		switch (option) {
		case 'D':
		case 'f': ret_options->foreground = true; break;
		case 'h': return OPTIONS_HELP;
		case 'V': return OPTIONS_VERSION;
		case ':':
			(void)refuse(ret_options, "%s needs a value", argv[optind - 1]);
			return OPTIONS_ERROR;
		case '?':
			(void)refuse(ret_options, "unknown option, or a value where none belongs: %s",
				     argv[optind - 1]);
			return OPTIONS_ERROR;
		default:
			if (!value_parse(ret_options, option, optarg))
				return OPTIONS_ERROR;
		}
	}
	if (optind < argc) {
		(void)refuse(ret_options, "unexpected argument: %s", argv[optind]);
		return OPTIONS_ERROR;
	}
	return OPTIONS_RUN;
}
