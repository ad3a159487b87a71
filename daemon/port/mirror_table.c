/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/mirror_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 256 /* of one table line */

/* Copies `text` (freed by the caller) and cuts it at blanks. Returns the number of words, or a negative
 * errno. */
static int words_split(const char *text, char **ret_copy, char *ret_words[WORDS_MAX])
{
	char *copy = strdup(text), *save = NULL;
	int count = 0;

	if (!copy)
		return -ENOMEM;
	for (char *word = strtok_r(copy, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save)) {
		if (count == WORDS_MAX) {
			free(copy);
			return -EINVAL;
		}
		ret_words[count++] = word;
	}
	*ret_copy = copy;
	return count;
}

static int parse_number(const char *word, uint64_t max, uint64_t *ret_number)
{
	char *end;

	if (*word < '0' || *word > '9')
		return -EINVAL;
	errno = 0;
	*ret_number = strtoull(word, &end, 10);
	return errno || *end || *ret_number > max ? -EINVAL : 0;
}

/* "MAJOR:MINOR", or a path that begins with a slash. */
static int parse_device(const char *word, struct mirror_leg *leg)
{
	char text[32];
	const char *colon = strchr(word, ':');
	uint64_t major, minor;

	if (word[0] == '/') {
		if (strlen(word) >= sizeof(leg->path))
			return -EINVAL;
		strcpy(leg->path, word);
		return 0;
	}
	if (!colon || (size_t)(colon - word) >= sizeof(text))
		return -EINVAL;
	memcpy(text, word, (size_t)(colon - word));
	text[colon - word] = '\0';
	if (parse_number(text, UINT32_MAX, &major) || parse_number(colon + 1, UINT32_MAX, &minor))
		return -EINVAL;
	leg->major = (uint32_t)major;
	leg->minor = (uint32_t)minor;
	return 0;
}

static int parse_legs(char **words, int count, struct mirror_table *ret_table)
{
	uint64_t leg_count;

	if (count < 1 || parse_number(words[0], MIRROR_LEGS_MAX, &leg_count) || leg_count == 0 ||
	    (uint64_t)(count - 1) < 2 * leg_count)
		return -EINVAL;
	for (uint64_t i = 0; i < leg_count; i++) {
		struct mirror_leg *leg = &ret_table->legs[i];

		*leg = (struct mirror_leg){.major = 0};
		if (parse_device(words[1 + 2 * i], leg) ||
		    parse_number(words[2 + 2 * i], INT64_MAX >> 9, &leg->offset_sectors))
			return -EINVAL;
	}
	ret_table->leg_count = (unsigned)leg_count;
	ret_table->handles_errors = false;
	for (uint64_t i = 1 + 2 * leg_count; i < (uint64_t)count; i++)
		if (!strcmp(words[i], "handle_errors"))
			ret_table->handles_errors = true;
	return 0;
}

/* N counts every word from the uuid to the last argument of the log (usr_argc of userspace_ctr()). */
static int parse_params(char **words, int count, struct mirror_table *ret_table)
{
	const char *type;
	uint64_t log_words;

	if (count < 1 || strcmp(words[0], "userspace"))
		return -ENOENT;
	if (count < 2 || parse_number(words[1], WORDS_MAX, &log_words) || log_words < 2 ||
	    (uint64_t)(count - 2) < log_words)
		return -EINVAL;
	type = words[3];
	if (!strcasecmp(type, "integrated_flush") && log_words > 2)
		type = words[4];
	if (strcmp(type, "clustered-disk") && strcmp(type, "clustered-core"))
		return -ENOENT;
	if (strlen(words[2]) >= sizeof(ret_table->uuid))
		return -EINVAL;
	strcpy(ret_table->uuid, words[2]);
	return parse_legs(words + 2 + log_words, count - 2 - (int)log_words, ret_table);
}

int mirror_table_parse_params(const char *params, struct mirror_table *ret_table)
{
	char *copy, *words[WORDS_MAX];
	int count = words_split(params, &copy, words);

	if (count < 0)
		return count;
	count = parse_params(words, count, ret_table);
	free(copy);
	return count;
}

static int parse_line(char **words, int count, struct mirror_table *ret_table)
{
	if (count < 3)
		return -EINVAL;
	if (strcmp(words[2], "mirror"))
		return -ENOENT;
	if (parse_number(words[0], INT64_MAX >> 9, &ret_table->start_sector) ||
	    parse_number(words[1], INT64_MAX >> 9, &ret_table->length_sectors))
		return -EINVAL;
	return parse_params(words + 3, count - 3, ret_table);
}

int mirror_table_parse_line(const char *line, struct mirror_table *ret_table)
{
	char *copy, *words[WORDS_MAX];
	int count = words_split(line, &copy, words);

	if (count < 0)
		return count;
	count = parse_line(words, count, ret_table);
	free(copy);
	return count;
}
