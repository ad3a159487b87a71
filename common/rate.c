/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/rate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool rate_parse(const char *text, int64_t *ret_bytes_per_second)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned shift = 0;
	char *end;
	unsigned long long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || number > RATE_MAX)
		return false;
	if (*end != '\0') {
		suffix = strchr(suffixes, *end);
		if (suffix == NULL || end[1] != '\0')
			return false;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (number > (unsigned long long)RATE_MAX >> shift)
		return false;
	*ret_bytes_per_second = (int64_t)(number << shift);
	return true;
}
