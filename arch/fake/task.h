/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's tasks, between task.c and user.c: the host thread behind a kernel context, and
 * what user mode keeps in it. Linked only where kernel/ is.
 */
#ifndef ARCH_FAKE_TASK_H
#define ARCH_FAKE_TASK_H

#include <setjmp.h>

#include "arch/fake/fake_user.h"
#include "arch/fake/machine.h"
#include "arch/hal_kernel.h"

#define FAKE_SIG_DEPTH 64

struct fake_task {
	struct fake_task *next;
	pthread_t thread;
	pthread_cond_t wake;
	bool started, token, dead, adopted;
	unsigned cpu;
	void (*fn)(void *arg);
	void *arg;

	/* user mode's part; only its own thread touches it */
	jmp_buf base;
	bool in_user;
	fake_program entry, exec_entry;
	void *state, *exec_state;
	void *owned;			/* the copy of a state that ends with the task */
	struct trap_frame frame;	/* registers that stay from trap to trap: sp, tls, ip */
	uint64_t signals;		/* noted, not yet asked for */
	unsigned depth;			/* signal frames pushed and not yet popped */
	unsigned long mask[FAKE_SIG_DEPTH];
	struct hal_siginfo sync;	/* the last SIGSEGV, SIGBUS ... ; signo 0: none */
};

/* The task whose host thread runs now; made for a thread that has none. */
struct fake_task *fake_me(void);
/* The program that an exec without one of its own starts: fake_run()'s. */
extern fake_program fake_first_program;
extern void *fake_first_state;

/* Frees the copies of states that the task owns, or that have no owner. */
void fake_user_task_ends(struct fake_task *t);
void fake_user_ends(void);
/* A program runs: the machine is not idle for ever. */
void fake_not_idle(void);

void fake_kernel_timer(void);
/* An interrupt whose handler is fn(arg), and which may end the running task's slice. fn NULL: a tick. */
void fake_kernel_irq(void (*fn)(void *arg), void *arg);
bool fake_kernel_fault(const struct fault_info *fi, void *ctx);

#endif
