/* SPDX-License-Identifier: MIT */
/*
 * Trap frames of the fake machine. User mode is host code: ip is a C function `void entry(void
 * *state)`, or 0 for a program that has just been exec'ed, whose entry the machine keeps. A frame
 * with `fork_entry` starts a child there instead of where it was made.
 */
#ifndef ARCH_FAKE_TRAPFRAME_H
#define ARCH_FAKE_TRAPFRAME_H

#include <stdbool.h>
#include <stdint.h>

struct trap_frame {
	unsigned long ip, sp, tls;
	unsigned long nr, arg[6];
	long ret;
	bool user;
	bool fresh;	/* made by tf_init_user(): a new program, not the one that trapped */
	bool again;	/* the system call is to be made once more */
	void (*fork_entry)(void *state);
	void *fork_state;
	bool fork_owned; /* it is the child's to free */
};

/* The machine computes in host registers; this stands for FP state that tasks must not share. */
struct hal_fpu {
	uint64_t word[4];
};

#define TF_IP(tf)	   ((tf)->ip)
#define TF_SP(tf)	   ((tf)->sp)
#define TF_SYSCALL_NR(tf)  ((tf)->nr)
#define TF_SYSCALL_RET(tf) ((tf)->ret)
#define SYS_ARCH x86_64 /* whatever the host is */

struct fake_task;

/* A kernel thread: the host thread that runs it while it holds a CPU's token. */
struct hal_context {
	struct fake_task *task;
};

static inline unsigned long tf_syscall_arg(const struct trap_frame *tf, unsigned i)
{
	return tf->arg[i];
}

static inline void tf_syscall_restart(struct trap_frame *tf)
{
	tf->again = true;
}

static inline bool tf_user(const struct trap_frame *tf)
{
	return tf->user;
}

static inline void tf_init_user(struct trap_frame *tf, unsigned long entry, unsigned long sp)
{
	*tf = (struct trap_frame){.ip = entry, .sp = sp, .user = true, .fresh = true};
}

#include "arch/common/trapframe.h"

#endif
