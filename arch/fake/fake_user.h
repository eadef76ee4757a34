/* SPDX-License-Identifier: MIT */
/*
 * User programs on the fake machine (the machine in software): a program is a C function on a host
 * thread of its own, which sees the machine only through the calls here. kernel/ runs below it as
 * on any machine.
 *
 *   fake_machine_create(&cfg);                 cfg.initrd, cfg.cmdline, cfg.trace_ring_size ...
 *   status = fake_run(program, state);         boots kernel_main(), whose init is `program`
 *   fake_machine_destroy();
 *
 * Pointer arguments of system calls are user addresses of the program's space, which host code
 * cannot dereference: fake_poke() and fake_peek() reach them. System calls have x86-64's numbers;
 * structures and the order of clone()'s arguments are the generic ones (hal_elf_machine() is 0).
 */
#ifndef ARCH_FAKE_FAKE_USER_H
#define ARCH_FAKE_FAKE_USER_H

#include "arch/fake/fake.h"

typedef void (*fake_program)(void *state);

/* Boots the kernel on the machine; its first program is program(state). Returns when the kernel
 * ended the machine: its status. -1: no host thread. */
int fake_run(fake_program program, void *state);
/* The ring that the kernel records into (kernel address), NULL if there is none. A reader may
 * follow it from another host thread while fake_run() runs. */
void *fake_trace_ring(size_t *size);

/* ---- called by programs ---------------------------------------------------------------------- */

/* Linux's system call. A signal that arrives meanwhile is noted (fake_signals_taken()). */
long fake_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* What an access did. sig 0: it went through, and a load read value. */
struct fake_seen {
	uint64_t value;
	int sig, code;
	uintptr_t addr;
};

/* One access, 1, 2, 4 or 8 bytes wide. If the kernel answers with a signal that the program has a
 * handler for (any handler: none is ever called), the access is given up and the signal told; the
 * signal mask is as before. Without a handler the signal ends the process, as on Linux. */
struct fake_seen fake_access(enum fault_access kind, uintptr_t addr, unsigned width,
			     uint64_t value);

/* Installs a handler for sig. scratch: 32 bytes of writable user memory. Linux's result. */
long fake_catch_signal(int sig, uintptr_t scratch);
/* The signals noted since the last call, bit n - 1 for signal n. */
uint64_t fake_signals_taken(void);

/* Bytes to and from user memory, faults taken as the program's own. Returns how many were not
 * copied (a signal came). */
size_t fake_poke(uintptr_t dst, const void *src, size_t n);
size_t fake_peek(void *dst, uintptr_t src, size_t n);

/* A child process that starts in entry() with a copy of the size bytes of state; size 0: with
 * state itself. flags: clone()'s, without the signal. Returns the child's number or -errno. When
 * entry returns, the child exits with status 0. */
long fake_fork(unsigned long flags, fake_program entry, const void *state, size_t size);
/* Replaces the program by entry(copy of state): execve of path (a user address, as are argv and
 * envp). Returns only if it failed. */
long fake_exec(fake_program entry, const void *state, size_t size, uintptr_t path, uintptr_t argv,
	       uintptr_t envp);
/* Zeroed host memory of the running program, freed when it ends or execs another; free: sooner. */
void *fake_alloc(size_t n);
void fake_free(void *p);
/* Ends the process. */
_Noreturn void fake_exit(int status);
/* Ends it as a program ends that faults and has no stack for a handler: by SIGSEGV. */
_Noreturn void fake_die(void);

#endif
