/* SPDX-License-Identifier: MIT */
/*
 * x86-64 trap frame: the registers of an interrupted context, as trap.S pushes them, the FP state
 * of a task and a suspended kernel context. For kernel/ and this folder; the core never sees it.
 */
#ifndef ARCH_X86_64_TRAPFRAME_H
#define ARCH_X86_64_TRAPFRAME_H

#include <stdbool.h>
#include <stdint.h>

/* Selectors. Linux's values: user programs see theirs in signal frames. */
#define X86_KERNEL_CS 0x10
#define X86_KERNEL_DS 0x18
#define X86_USER_DS   0x2b
#define X86_USER_CS   0x33
#define X86_TSS_SEL   0x40

#define X86_VEC_DE   0
#define X86_VEC_DB   1
#define X86_VEC_NMI  2
#define X86_VEC_BP   3
#define X86_VEC_OF   4
#define X86_VEC_BR   5
#define X86_VEC_UD   6
#define X86_VEC_DF   8
#define X86_VEC_SS   12
#define X86_VEC_GP   13
#define X86_VEC_PF   14
#define X86_VEC_MF   16
#define X86_VEC_AC   17
#define X86_VEC_MC   18
#define X86_VEC_XM   19
#define X86_VEC_PIC  0x20 /* .. 0x2f: where the masked 8259s would deliver */
#define X86_VEC_TIMER 0x30
#define X86_VEC_MSI 0x40 /* .. 0x5f: messages of devices */
#define X86_NR_MSI  32
#define X86_VEC_CALL 0xf0 /* another CPU calls */
#define X86_VEC_SPURIOUS 0xff
#define X86_VEC_SYSCALL 0x100 /* not a vector: the frame was made by `syscall` */

/* trap.S pushes from the end to the start; 22 words, so the stack stays 16-byte aligned. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	uint64_t rax, rcx, rdx, rsi, rdi;
	uint64_t vector;
	uint64_t error; /* the CPU's error code; for a system call its number, -1: not restartable */
	uint64_t rip, cs, rflags, rsp, ss;
};

/*
 * FP and vector state of one task in the XSAVE format: x87, SSE and AVX, the components that
 * cpu.c turns on, are 832 bytes. The buffer may be copied as a struct and need not keep its
 * alignment when it is (cpu.c goes through an aligned one if it has to).
 */
#define X86_XSTATE_MAX 832
struct hal_fpu {
	uint8_t area[X86_XSTATE_MAX] __attribute__((aligned(64)));
};

#define TF_IP(tf)	  ((tf)->rip)
#define TF_SP(tf)	  ((tf)->rsp)
#define TF_SYSCALL_NR(tf) ((tf)->error)
#define TF_SYSCALL_RET(tf) ((tf)->rax)
#define SYS_ARCH x86_64

/* A kernel thread that does not run: its stack pointer, and the user's GS base of its task. */
struct hal_context {
	uint64_t rsp;
	uint64_t user_gs;
};

static inline unsigned long tf_syscall_arg(const struct trap_frame *tf, unsigned i)
{
	switch (i) {
	case 0: return tf->rdi;
	case 1: return tf->rsi;
	case 2: return tf->rdx;
	case 3: return tf->r10; /* `syscall` itself takes rcx */
	case 4: return tf->r8;
	default: return tf->r9;
	}
}

/* Runs the system call that made this frame again: back over the two bytes of `syscall`. */
static inline void tf_syscall_restart(struct trap_frame *tf)
{
	if (tf->vector != X86_VEC_SYSCALL || tf->error == UINT64_MAX)
		return;
	tf->rax = tf->error;
	tf->rip -= 2;
}

static inline bool tf_user(const struct trap_frame *tf)
{
	return (tf->cs & 3) == 3;
}

/* A new program starts with no GS base; the register is the running task's. */
void x86_reset_user_gs(void);

/* The registers of a program at its first instruction: all zero but ip and sp. Called by the task
 * that will run it. */
static inline void tf_init_user(struct trap_frame *tf, unsigned long entry, unsigned long sp)
{
	*tf = (struct trap_frame){
		.vector = X86_VEC_SYSCALL,
		.error = UINT64_MAX,
		.rip = entry,
		.cs = X86_USER_CS,
		.rflags = 0x202, /* interrupts on, and the bit that is always set */
		.rsp = sp,
		.ss = X86_USER_DS,
	};
	x86_reset_user_gs();
}

#include "arch/common/trapframe.h"

#endif
