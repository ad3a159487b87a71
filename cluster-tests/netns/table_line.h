/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line of a mirror table as dmsetup(8) takes and prints it. */
#ifndef CLUSTER_TESTS_NETNS_TABLE_LINE_H
#define CLUSTER_TESTS_NETNS_TABLE_LINE_H

#include <stdint.h>

#include "tests/model/kernel.h"

#define TABLE_LINE_BYTES 1024

struct table_line {
	char text[TABLE_LINE_BYTES]; /* the whole line, as it was given */
	char uuid[LOG_UUID_BYTES];
	char log_args[TABLE_LINE_BYTES]; /* words of the log after UUID and integrated_flush */
	struct kernel_table table;	 /* its strings point into this object */
	struct {
		char name[64];
		uint64_t offset_sectors;
	} legs[KERNEL_LEGS_MAX];
};

/* Parse `0 LEN mirror userspace N UUID [integrated_flush] ARG ... LEGS DEV OFF ... [FEATURES ...]`. Returns 0
 * or -EINVAL. */
int table_line_parse(struct table_line *line, const char *text);

#endif
