/* SPDX-License-Identifier: MIT */
/*
 * RISC-V signal frames, and the system calls of this architecture alone, in Linux's layout: what a
 * C library's handlers and unwinders find on the stack. Layouts only; which signal, and on which
 * stack, the kernel decided.
 */
#include "arch/common/sigframe.h"
#include "lib/string.h"
#include "riscv.h"
#include "sbi.h"
#include <quire/abi.h>

/* The room is that of the widest registers, 32 of 128 bits; we fill what F and D have. */
struct rv_fpstate {
	uint64_t f[32];
	uint32_t fcsr;
	uint32_t pad;
	uint64_t unused[31];
	uint32_t wide_fcsr;
	uint32_t reserved[3]; /* must be zero */
} __attribute__((aligned(16)));

struct rv_ucontext {
	uint64_t flags, link;
	struct user_stack stack;
	uint64_t sigmask;
	uint8_t sigset_room[120]; /* a C library's sigset_t is 1024 bits */
	uint64_t regs[32] __attribute__((aligned(16))); /* pc, x1 .. x31 */
	struct rv_fpstate fp;
};

struct rv_sigframe {
	struct user_siginfo info;
	struct rv_ucontext uc;
};

_Static_assert(offsetof(struct rv_ucontext, regs) == 176, "Linux's uc_mcontext");
_Static_assert(sizeof(struct rv_fpstate) == 528, "Linux's __riscv_fp_state");
_Static_assert(sizeof(struct rv_sigframe) == 1088, "Linux's rt_sigframe");

int hal_sigframe_push(struct trap_frame *tf, struct hal_fpu *fpu, const struct hal_sigaction *sa,
		      const struct hal_siginfo *si, unsigned long oldmask, unsigned long sp,
		      const unsigned long altstack[3], uint32_t fault_code)
{
	struct rv_sigframe f;
	unsigned long at = (sp - sizeof(f)) & ~15ul;

	/* this architecture's frame has no place for the fault code */
	memset(&f, 0, sizeof(f));
	siginfo_fill(&f.info, si);
	f.uc.stack = altstack_to_user(altstack);
	f.uc.sigmask = oldmask;
	memcpy(f.uc.regs, tf->x, sizeof(f.uc.regs));
	memcpy(f.uc.fp.f, fpu->f, sizeof(fpu->f));
	f.uc.fp.fcsr = fpu->fcsr;
	if (hal_copy_to_user(at, &f, sizeof(f)))
		return -EFAULT;
	tf->x[RV_RA] = sa->restorer;
	tf->x[RV_SP] = at;
	tf->x[0] = sa->handler;
	tf->x[RV_A0] = (unsigned long)si->signo;
	tf->x[RV_A0 + 1] = at + offsetof(struct rv_sigframe, info);
	tf->x[RV_A0 + 2] = at + offsetof(struct rv_sigframe, uc);
	return 0;
}

int hal_sigframe_pop(struct trap_frame *tf, struct hal_fpu *fpu, unsigned long *mask,
		     unsigned long altstack[3])
{
	struct rv_sigframe f;
	unsigned long at = tf->x[RV_SP];

	if ((at & 15) || hal_copy_from_user(&f, at, sizeof(f)))
		return -EFAULT;
	if (f.uc.fp.reserved[0] | f.uc.fp.reserved[1] | f.uc.fp.reserved[2])
		return -EFAULT;
	memcpy(tf->x, f.uc.regs, sizeof(tf->x));
	tf->orig_a0 = tf->x[RV_A0];
	memcpy(fpu->f, f.uc.fp.f, sizeof(fpu->f));
	fpu->fcsr = f.uc.fp.fcsr;
	*mask = f.uc.sigmask;
	altstack_from_user(altstack, &f.uc.stack);
	return 0;
}

const void *hal_sigreturn_code(size_t *n)
{
	*n = (size_t)(riscv_sigreturn_code_end - riscv_sigreturn_code);
	return riscv_sigreturn_code;
}

/* riscv_flush_icache(start, end, flags): flags 1 would spare the other harts. */
long hal_arch_syscall(struct trap_frame *tf, const char *name)
{
	if (strcmp(name, "riscv_flush_icache"))
		return -ENOSYS;
	if (tf_syscall_arg(tf, 2) & ~1ul)
		return -EINVAL;
	hal_icache_sync(NULL, 0);
	return 0;
}
