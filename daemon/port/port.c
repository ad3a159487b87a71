/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/port.h"

#include <stdio.h>
#include <stdlib.h>

void *port_alloc(size_t size_bytes)
{
	void *memory = calloc(1, size_bytes);

	if (!memory) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return memory;
}
