/* SPDX-License-Identifier: MIT */
/*
 * x86-64 signal frames in Linux's layout, because C libraries and programs read and write them:
 *
 *   sp at delivery (less the red zone) ─┐
 *     FP state, XSAVE format, 64-byte aligned, its end marked
 *     siginfo, 128 bytes
 *     ucontext: flags, link, stack, registers, mask
 *     return address = the restorer            ← sp in the handler, 8 bytes below a multiple of 16
 *
 * What comes back through rt_sigreturn is the program's to have changed: selectors are replaced,
 * flags masked, an FP state that the processor would refuse is refused here.
 */
#include "x86.h"
#include "arch/common/sigframe.h"
#include "lib/string.h"

struct user_sigcontext {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t fpstate;
	uint64_t reserved[8];
};

struct user_ucontext {
	uint64_t flags, link;
	struct user_stack stack;
	struct user_sigcontext mc;
	uint64_t sigmask;
};

struct rt_sigframe {
	uint64_t pretcode;
	struct user_ucontext uc;
	struct user_siginfo info;
};

_Static_assert(sizeof(struct user_sigcontext) == 256, "struct sigcontext");
_Static_assert(sizeof(struct user_ucontext) == 304, "struct ucontext");

#define UC_FP_XSTATE	     0x1
#define UC_SIGCONTEXT_SS     0x2
#define UC_STRICT_RESTORE_SS 0x4

/* What software finds at byte 464 of the FXSAVE area, in a signal frame only. */
struct fp_software {
	uint32_t magic1, extended_size;
	uint64_t xfeatures;
	uint32_t xstate_size, padding[7];
};
#define FP_SOFTWARE_AT 464
#define FP_MXCSR_AT 24
#define FP_HEADER_AT 512 /* XSTATE_BV, XCOMP_BV, 48 reserved bytes */
#define FP_MAGIC1 0x46505853u
#define FP_MAGIC2 0x46505845u
#define FP_MAGIC2_SIZE 4

#define RED_ZONE 128

/* Flags that a program may change; the rest stays as the kernel has it. */
#define USER_RFLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | \
		     RFLAGS_DF | RFLAGS_OF | RFLAGS_RF | RFLAGS_AC)

/* Bytes of FP state in a frame, with the magic behind an XSAVE state. */
static size_t fp_frame_size(void)
{
	return x86_xstate_size + (x86_xfeatures ? FP_MAGIC2_SIZE : 0);
}

static int fp_push(uint64_t at, const struct hal_fpu *fpu)
{
	struct fp_software sw = {
		.magic1 = FP_MAGIC1,
		.extended_size = (uint32_t)fp_frame_size(),
		.xfeatures = x86_xfeatures,
		.xstate_size = x86_xstate_size,
	};
	uint32_t magic2 = FP_MAGIC2;

	if (hal_copy_to_user(at, fpu->area, x86_xstate_size))
		return -EFAULT;
	if (!x86_xfeatures)
		return 0;
	if (hal_copy_to_user(at + FP_SOFTWARE_AT, &sw, sizeof(sw)) ||
	    hal_copy_to_user(at + x86_xstate_size, &magic2, sizeof(magic2)))
		return -EFAULT;
	return 0;
}

/* MXCSR bits that this processor takes; a 1 elsewhere makes the restore trap. */
static uint32_t mxcsr_mask(const struct hal_fpu *f)
{
	uint32_t mask;

	memcpy(&mask, &f->area[28], sizeof(mask));
	return mask ? mask : 0xffbf;
}

/* Loads the FP state of a frame into fpu, made safe to restore. fpu holds a saved state before,
 * from which the processor's MXCSR mask is known. */
static int fp_pop(struct hal_fpu *fpu, uint64_t at)
{
	uint32_t mask = mxcsr_mask(fpu), mxcsr, magic2 = 0;
	struct fp_software sw;
	uint64_t header[8] = {0};
	bool extended;

	hal_fpu_init(fpu);
	if (!at)
		return 0;
	if (hal_copy_from_user(&sw, at + FP_SOFTWARE_AT, sizeof(sw)))
		return -EFAULT;
	extended = x86_xfeatures && sw.magic1 == FP_MAGIC1 && sw.xstate_size <= x86_xstate_size &&
		   sw.xstate_size >= FP_HEADER_AT + sizeof(header) &&
		   !hal_copy_from_user(&magic2, at + sw.xstate_size, sizeof(magic2)) &&
		   magic2 == FP_MAGIC2;
	if (hal_copy_from_user(fpu->area, at, extended ? sw.xstate_size : FP_HEADER_AT)) {
		hal_fpu_init(fpu);
		return -EFAULT;
	}

	memcpy(&mxcsr, &fpu->area[FP_MXCSR_AT], sizeof(mxcsr));
	mxcsr &= mask;
	memcpy(&fpu->area[FP_MXCSR_AT], &mxcsr, sizeof(mxcsr));
	if (!x86_xfeatures)
		return 0;
	/* a frame without the extension holds x87 and SSE; the header's rest must be zero */
	if (extended)
		memcpy(header, &fpu->area[FP_HEADER_AT], sizeof(header[0]));
	else
		header[0] = 3;
	header[0] &= x86_xfeatures & (extended ? sw.xfeatures : 3);
	memcpy(&fpu->area[FP_HEADER_AT], header, sizeof(header));
	return 0;
}

static void fill_registers(struct user_sigcontext *mc, const struct trap_frame *tf)
{
	*mc = (struct user_sigcontext){
		.r8 = tf->r8, .r9 = tf->r9, .r10 = tf->r10, .r11 = tf->r11,
		.r12 = tf->r12, .r13 = tf->r13, .r14 = tf->r14, .r15 = tf->r15,
		.rdi = tf->rdi, .rsi = tf->rsi, .rbp = tf->rbp, .rbx = tf->rbx,
		.rdx = tf->rdx, .rax = tf->rax, .rcx = tf->rcx, .rsp = tf->rsp,
		.rip = tf->rip, .eflags = tf->rflags,
		.cs = (uint16_t)tf->cs, .ss = (uint16_t)tf->ss,
	};
}

/* What the CPU said, as far as the frame is a trap's. An address that is no user's always reads
 * as present: what the kernel maps there is not for programs to know. */
static void fill_trap(struct user_sigcontext *mc, const struct trap_frame *tf,
		      const struct hal_siginfo *si, uint32_t fault_code)
{
	if (tf->vector >= 32)
		return;
	mc->trapno = tf->vector;
	mc->err = tf->error;
	if (tf->vector == X86_VEC_PF) {
		mc->err = fault_code;
		mc->cr2 = si->addr;
		if (si->addr >= hal_mmu_info()->user_end)
			mc->err |= FAULT_CODE_PRESENT;
	}
}

int hal_sigframe_push(struct trap_frame *tf, struct hal_fpu *fpu, const struct hal_sigaction *sa,
		      const struct hal_siginfo *si, unsigned long oldmask, unsigned long sp,
		      const unsigned long altstack[3], uint32_t fault_code)
{
	struct rt_sigframe f = {
		.pretcode = sa->restorer,
		.uc = {
			.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS |
				 (x86_xfeatures ? UC_FP_XSTATE : 0),
			.stack = altstack_to_user(altstack),
			.sigmask = oldmask,
		},
	};
	uint64_t at, fp_at;

	/* without a restorer there is no way back: Linux refuses such a handler here too */
	if (!(sa->flags & SA_RESTORER))
		return -EFAULT;
	if (sp == tf->rsp)
		sp -= RED_ZONE; /* the running stack's; an alternate one starts fresh */
	fp_at = (sp - fp_frame_size()) & ~63ul;
	at = ((fp_at - sizeof(f)) & ~15ul) - 8;

	fill_registers(&f.uc.mc, tf);
	siginfo_fill(&f.info, si);
	f.uc.mc.fpstate = fp_at;
	f.uc.mc.oldmask = oldmask;
	fill_trap(&f.uc.mc, tf, si, fault_code);

	if (fp_push(fp_at, fpu) || hal_copy_to_user(at, &f, sizeof(f)))
		return -EFAULT;

	/* the handler starts with a fresh FP state, as on Linux */
	hal_fpu_init(fpu);
	tf->rdi = (uint64_t)si->signo;
	tf->rsi = at + offsetof(struct rt_sigframe, info);
	tf->rdx = at + offsetof(struct rt_sigframe, uc);
	tf->rax = 0; /* a handler without prototype: no vector arguments */
	tf->rip = sa->handler;
	tf->rsp = at;
	tf->cs = X86_USER_CS;
	tf->ss = X86_USER_DS;
	tf->rflags &= ~(RFLAGS_DF | RFLAGS_RF | RFLAGS_TF);
	return 0;
}

int hal_sigframe_pop(struct trap_frame *tf, struct hal_fpu *fpu, unsigned long *mask,
		     unsigned long altstack[3])
{
	struct user_ucontext uc;
	const struct user_sigcontext *mc = &uc.mc;
	/* the handler's `ret` took the return address */
	uint64_t at = tf->rsp - 8 + offsetof(struct rt_sigframe, uc);

	if (hal_copy_from_user(&uc, at, sizeof(uc)))
		return -EFAULT;
	if (fp_pop(fpu, mc->fpstate))
		return -EFAULT;

	*tf = (struct trap_frame){
		.r8 = mc->r8, .r9 = mc->r9, .r10 = mc->r10, .r11 = mc->r11,
		.r12 = mc->r12, .r13 = mc->r13, .r14 = mc->r14, .r15 = mc->r15,
		.rdi = mc->rdi, .rsi = mc->rsi, .rbp = mc->rbp, .rbx = mc->rbx,
		.rdx = mc->rdx, .rax = mc->rax, .rcx = mc->rcx, .rsp = mc->rsp,
		.rip = mc->rip,
		.rflags = (tf->rflags & ~USER_RFLAGS) | (mc->eflags & USER_RFLAGS),
		.cs = X86_USER_CS,
		.ss = X86_USER_DS,
		.vector = X86_VEC_SYSCALL,
		.error = UINT64_MAX, /* what was interrupted is not to be restarted from here */
	};
	*mask = uc.sigmask;
	altstack_from_user(altstack, &uc.stack);
	return 0;
}
