/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of mirrorlogd. Parsing has no side effects and prints nothing. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"

enum cluster_kind { CLUSTER_COROSYNC, CLUSTER_NONE };

/* What to do. OPTIONS_ERROR: `error` says why. */
enum options_verdict { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_ERROR };

#define OPTIONS_ERROR_BYTES	   192
#define OPTIONS_LINGER_DEFAULT_S   5
#define OPTIONS_LINGER_MAX_S	   3600
#define OPTIONS_LINGER_REGIONS	   4096
#define OPTIONS_LINGER_REGIONS_MAX 16777216

/* Strings are borrowed from argv, or static. */
struct options {
	bool foreground; /* -D, -f */
	const char *pid_file;
	const char *run_dir;
	enum cluster_kind cluster;
	enum fencing fencing;
	uint64_t linger_ns;
	uint32_t linger_regions;
	uint64_t repair_rate; /* bytes a second, 0: no limit */
	/* For tests, not in the manual: a stand-in for the kernel. */
	uint32_t netlink_peer; /* port id that requests come from and replies go to; 0: the kernel */
	const char
	    *dm_tables; /* file that says which mirror tables there are, instead of device-mapper; or NULL */
	char error[OPTIONS_ERROR_BYTES];
};

/* Uses getopt_long(3), so not for several threads at once; argv may be permuted. */
enum options_verdict options_parse(int argc, char *argv[], struct options *ret_options);

/* Text for -h, static. */
const char *options_help(void);

/* The words of the options: "corosync", "dlm". Static. */
const char *options_cluster_name(enum cluster_kind cluster);
const char *options_fencing_name(enum fencing fencing);

#endif
