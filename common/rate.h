/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rates as people write them. */
#ifndef COMMON_RATE_H
#define COMMON_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_MAX (INT64_C(1) << 60)

/* "512K": bytes a second, 0 to RATE_MAX, with K, M, G, T for powers of 1024. False: it is none, nothing is
 * changed. */
bool rate_parse(const char *text, int64_t *ret_bytes_per_second);

#endif
