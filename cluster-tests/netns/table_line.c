/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster-tests/netns/table_line.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

static int number_parse(const char *word, uint64_t *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(word, &end, 10);
	return errno || end == word || *end ? -EINVAL : 0;
}

static unsigned words_split(char *text, char *words[WORDS_MAX])
{
	unsigned count = 0;
	char *save = NULL;

	for (char *word = strtok_r(text, " \t\n", &save); word && count < WORDS_MAX;
	     word = strtok_r(NULL, " \t\n", &save))
		words[count++] = word;
	return count;
}

static int legs_parse(struct table_line *line, char **words, unsigned count)
{
	uint64_t legs;

	if (count < 1 || number_parse(words[0], &legs) || legs < 2 || legs > KERNEL_LEGS_MAX ||
	    count < 1 + 2 * legs)
		return -EINVAL;
	line->table.leg_count = (unsigned)legs;
	for (unsigned i = 0; i < legs; i++) {
		snprintf(line->legs[i].name, sizeof(line->legs[i].name), "%s", words[1 + 2 * i]);
		if (number_parse(words[2 + 2 * i], &line->legs[i].offset_sectors))
			return -EINVAL;
	}
	for (unsigned i = 2 + 2 * (unsigned)legs; i < count; i++) {
		if (!strcmp(words[i], "handle_errors"))
			line->table.handle_errors = true;
		else if (!strcmp(words[i], "keep_log"))
			line->table.keep_log = true;
		else
			return -EINVAL;
	}
	return 0;
}

/* The log gets its own words, the legs are not among them (create_dirty_log() of dm-raid1.c). */
static int log_args_join(struct table_line *line, char **words, unsigned count)
{
	size_t used = 0;

	for (unsigned i = 0; i < count; i++) {
		int printed = snprintf(line->log_args + used, sizeof(line->log_args) - used, "%s%s",
				       i ? " " : "", words[i]);

		if (printed < 0 || (size_t)printed >= sizeof(line->log_args) - used)
			return -EINVAL;
		used += (size_t)printed;
	}
	return 0;
}

int table_line_parse(struct table_line *line, const char *text)
{
	char copy[TABLE_LINE_BYTES];
	char *words[WORDS_MAX];
	uint64_t log_words, first;
	unsigned count, rest;

	memset(line, 0, sizeof(*line));
	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	snprintf(line->text, sizeof(line->text), "%s", text);
	snprintf(copy, sizeof(copy), "%s", text);
	count = words_split(copy, words);
	if (count < 8 || strcmp(words[2], "mirror") || strcmp(words[3], "userspace") ||
	    number_parse(words[0], &first) || number_parse(words[1], &line->table.length_sectors) ||
	    number_parse(words[4], &log_words) || log_words < 2 || log_words > count - 5 ||
	    strlen(words[5]) >= sizeof(line->uuid))
		return -EINVAL;
	snprintf(line->uuid, sizeof(line->uuid), "%s", words[5]);
	rest = 6;
	if (!strcmp(words[rest], "integrated_flush")) {
		line->table.integrated_flush = true;
		rest++;
	}
	line->table.uuid = line->uuid;
	line->table.log_args = line->log_args;
	if (log_args_join(line, words + rest, 5 + (unsigned)log_words - rest))
		return -EINVAL;
	return legs_parse(line, words + 5 + log_words, count - 5 - (unsigned)log_words);
}
