/* SPDX-License-Identifier: MIT */
/*
 * What an x86-64 program may not get by way of signals: more rights in its flags, or the kernel
 * caught on an address that is none. Exit status 0: all as on Linux. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include "check.h"

#define NOT_CANONICAL 0x8000000000000000ul
#define FLAG_CARRY (1ul << 0)
#define FLAG_IF	   (1ul << 9)
#define FLAG_IOPL  (3ul << 12)

static uint64_t flags(void)
{
	uint64_t v;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(v));
	return v;
}

static void more_rights(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	uc->uc_mcontext.gregs[REG_EFL] = (uc->uc_mcontext.gregs[REG_EFL] | FLAG_IOPL | FLAG_CARRY) & ~FLAG_IF;
}

static void astray(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	uc->uc_mcontext.gregs[REG_RIP] = NOT_CANONICAL;
}

static void kernel_segments(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	uc->uc_mcontext.gregs[REG_CSGSFS] = 0x10; /* a selector of ring 0 */
}

static void on(int sig, void (*fn)(int, siginfo_t *, void *))
{
	struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO};

	sigaction(sig, &sa, NULL);
}

/* In a child, as it is to die of it. */
static int raised_in_child(void (*fn)(int, siginfo_t *, void *))
{
	int pid = fork();

	if (!pid) {
		on(SIGUSR1, fn);
		raise(SIGUSR1);
		_exit(0);
	}
	return status_of(pid);
}

int main(void)
{
	uint64_t seen;
	int status;

	on(SIGUSR1, more_rights);
	__asm__ volatile("clc");
	raise(SIGUSR1);
	seen = flags();
	CHECK(!(seen & FLAG_IOPL));
	CHECK(seen & FLAG_IF);
	CHECK(raised_in_child(astray) == 256 + SIGSEGV);
	CHECK(raised_in_child((void (*)(int, siginfo_t *, void *))NOT_CANONICAL) == 256 + SIGSEGV);
	/* Linux runs on in its own user segments or kills; it never runs this in ring 0 */
	status = raised_in_child(kernel_segments);
	CHECK(status == 0 || status == 256 + SIGSEGV);
	CHECK(raised_in_child(more_rights) == 0);
	return failures ? 1 : 0;
}
