/* SPDX-License-Identifier: MIT */
/*
 * RISC-V trap frame: the registers of an interrupted context, and the task state that is not in it.
 * Only kernel/ and this machine's own files include it, by way of arch/hal_kernel.h.
 */
#ifndef ARCH_RISCV_TRAPFRAME_H
#define ARCH_RISCV_TRAPFRAME_H

#include "arch/hal_types.h"
#include "csr.h"

#define RV_RA 1
#define RV_SP 2
#define RV_TP 4
#define RV_A0 10
#define RV_A7 17

/* x[0] has no register to hold: the program counter stands there, as in Linux's user_regs. */
struct trap_frame {
	unsigned long x[32];
	unsigned long status; /* sstatus */
	unsigned long cause;  /* scause */
	unsigned long tval;   /* stval */
	unsigned long orig_a0; /* a0 before the system call's result replaced it */
};

_Static_assert(sizeof(struct trap_frame) == TF_SIZE, "trap.S knows the size");
_Static_assert(offsetof(struct trap_frame, status) == TF_STATUS, "trap.S knows the offset");
_Static_assert(offsetof(struct trap_frame, cause) == TF_CAUSE, "trap.S knows the offset");
_Static_assert(offsetof(struct trap_frame, tval) == TF_TVAL, "trap.S knows the offset");
_Static_assert(offsetof(struct trap_frame, orig_a0) == TF_ORIG_A0, "trap.S knows the offset");

#define TF_IP(tf)	   ((tf)->x[0])
#define TF_SP(tf)	   ((tf)->x[RV_SP])
#define TF_SYSCALL_NR(tf)  ((tf)->x[RV_A7])
#define TF_SYSCALL_RET(tf) ((tf)->x[RV_A0])
#define SYS_ARCH riscv64

static inline unsigned long tf_syscall_arg(const struct trap_frame *tf, unsigned i)
{
	return i == 0 ? tf->orig_a0 : tf->x[RV_A0 + i];
}

/* The trap entry stepped over the ecall, four bytes always. */
static inline void tf_syscall_restart(struct trap_frame *tf)
{
	tf->x[0] -= 4;
	tf->x[RV_A0] = tf->orig_a0;
}

static inline bool tf_user(const struct trap_frame *tf)
{
	return !(tf->status & SSTATUS_SPP);
}

static inline void tf_init_user(struct trap_frame *tf, unsigned long entry, unsigned long sp)
{
	*tf = (struct trap_frame){.status = SSTATUS_SPIE};
	tf->x[0] = entry;
	tf->x[RV_SP] = sp;
}

/* FP registers as the F and D extensions have them. No vector extension is used. */
struct hal_fpu {
	uint64_t f[32];
	uint32_t fcsr;
	uint32_t pad;
} __attribute__((aligned(16)));

/* A suspended kernel thread: everything else lies on its stack. */
struct hal_context {
	unsigned long sp;
};

/* C libraries give no restorer here: the kernel maps hal_sigreturn_code() for them. */
#define HAL_SIGRETURN_CODE 1

#include "arch/common/trapframe.h"

#endif
