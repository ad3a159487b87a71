/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *port_alloc(size_t size_bytes)
{
	void *memory = calloc(1, size_bytes);

	if (!memory) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return memory;
}

void port_copy_uuid(char ret_uuid[LOG_UUID_BYTES], const char *uuid)
{
	size_t length = strnlen(uuid, LOG_UUID_BYTES - 1);

	memcpy(ret_uuid, uuid, length);
	ret_uuid[length] = '\0';
}
