/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/port.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Enough for our calls and those of the libraries; the default of 8 MiB a thread is address space for
 * nothing. */
#define THREAD_STACK_BYTES ((size_t)256 * 1024)

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

int port_thread_start(void *(*run_fn)(void *argument), void *argument, pthread_t *ret_thread)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(ret_thread, &attributes, run_fn, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -error;
}
