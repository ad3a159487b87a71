/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into user-mode-linux. Linux 6.1 keeps 2696 bytes of a process's extended registers and writes
 * exactly that many back, but a host whose processor has larger ones (AMX tiles) takes its own full size only
 * and fails the first return to user space ("put_fp_registers", panic). So: hand over the registers with
 * zeros behind them, and declare the components that were not kept to be in their initial state.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	/* Offset of XSTATE_BV in the XSAVE area, Intel SDM volume 1, 13.4.2. */
	XSTATE_BV_OFFSET = 512,
	AREA_MAX_BYTES = 65536,
};

/* x87, SSE, AVX, MPX, AVX-512 and PKRU: what lies within the 2696 bytes. */
static const uint64_t XSTATE_BV_KEPT = 0x2ff;

/* The kernel of a node is one thread: one area is enough, and its stacks are too small for it. */
static unsigned char area[AREA_MAX_BYTES];

static long xstate_get(pid_t pid, struct iovec *kept)
{
	struct iovec whole = {.iov_base = area, .iov_len = sizeof(area)};
	long result = syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &whole);
	if (result < 0)
		return result;
	if (whole.iov_len < kept->iov_len)
		kept->iov_len = whole.iov_len;
	memcpy(kept->iov_base, area, kept->iov_len);
	return 0;
}

static long xstate_set(pid_t pid, const struct iovec *kept)
{
	struct iovec whole = {.iov_base = area, .iov_len = sizeof(area)};
	uint64_t present;

	memset(area, 0, sizeof(area));
	memcpy(area, kept->iov_base, kept->iov_len);
	memcpy(&present, area + XSTATE_BV_OFFSET, sizeof(present));
	present &= XSTATE_BV_KEPT;
	memcpy(area + XSTATE_BV_OFFSET, &present, sizeof(present));
	/* Linux cuts iov_len down to the size of the register set of this host. */
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &whole);
}

static long ptrace_forward(enum __ptrace_request request, pid_t pid, void *address, void *data)
{
	long word = 0;

	switch ((int)request) {
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA:
	case PTRACE_PEEKUSER: {
		/* The system call stores the word through its last argument, the library returns it. */
		long result = syscall(SYS_ptrace, request, pid, address, &word);
		return result < 0 ? result : word;
	}
	default: return syscall(SYS_ptrace, request, pid, address, data);
	}
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if ((uintptr_t)address == NT_X86_XSTATE && request == PTRACE_GETREGSET)
		return xstate_get(pid, data);
	if ((uintptr_t)address == NT_X86_XSTATE && request == PTRACE_SETREGSET)
		return xstate_set(pid, data);
	return ptrace_forward(request, pid, address, data);
}
