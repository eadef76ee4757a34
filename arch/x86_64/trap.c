/* SPDX-License-Identifier: MIT */
/*
 * x86-64 traps, decoded, from a trap frame to one of the kernel's calls: page faults become a
 * neutral fault_info, the rest a kind of signal or an oops. Here end the words that only x86 knows.
 */
#include "x86.h"
#include <quire/quire.h>
#include <quire/trace.h>

/* trap.S counts on these */
_Static_assert(sizeof(struct trap_frame) == 22 * 8, "frame keeps the stack 16-byte aligned");
_Static_assert(offsetof(struct trap_frame, vector) == 120, "TF_VECTOR");
_Static_assert(offsetof(struct trap_frame, cs) == 144, "TF_CS");
_Static_assert(offsetof(struct trap_frame, rsp) == 160, "TF_RSP");
_Static_assert(offsetof(struct x86_percpu, user_rsp) == 8, "PCPU_USER_RSP");
_Static_assert(offsetof(struct x86_percpu, cpu_id) == 16, "hal_cpu_id");
_Static_assert(offsetof(struct x86_percpu, task) == 24, "hal_task");

/* An image without the core has no trace to write to. */
extern __typeof__(quire_trace_words) quire_trace_words __attribute__((weak));
extern __typeof__(quire_trace_on) quire_trace_on __attribute__((weak));

_Noreturn void x86_enter_user(struct trap_frame *tf);

/* ---- page faults ----------------------------------------------------------------------------- */

/* x86's error code is the neutral layout's model; the bits above it (keys, shadow stacks, SGX)
 * belong to features that are off. */
#define CODE_MASK (FAULT_CODE_PRESENT | FAULT_CODE_WRITE | FAULT_CODE_USER | FAULT_CODE_RSVD | \
		   FAULT_CODE_FETCH)

static struct fault_info fault_decode(const struct trap_frame *tf, uint64_t cr2)
{
	uint32_t code = (uint32_t)tf->error, mask = CODE_MASK;
	bool user = tf_user(tf);

	/* Up there "present" speaks of the kernel's own table, which no user space has; and with a
	 * reserved bit it goes without saying: processors set it, the emulator does not. */
	if (unlikely((user && cr2 >= mmu_info.user_end) || (code & FAULT_CODE_RSVD)))
		mask &= ~FAULT_CODE_PRESENT;
	return (struct fault_info){
		.addr = cr2,
		.ip = tf->rip,
		.fixup = likely(user) ? 0 : search_fixup(tf->rip),
		.access = code & FAULT_CODE_FETCH ? FAULT_FETCH :
			  code & FAULT_CODE_WRITE ? FAULT_WRITE : FAULT_READ,
		.kind = code & FAULT_CODE_RSVD ? FAULT_CORRUPT : FAULT_TRANSLATION,
		.user = user,
		.raw_code = code & mask,
		.raw_mask = mask,
	};
}

/* A fault that the tables allow and only SMAP or SMEP forbids: the kernel touched a user page
 * outside a user copy, or ran one. The core would find nothing wrong and retry for ever. */
static const char *forbidden_to_kernel(const struct trap_frame *tf, const struct fault_info *fi)
{
	if (fi->user || fi->addr >= mmu_info.user_end || !mmu_in_user_space() ||
	    !(fi->raw_code & FAULT_CODE_PRESENT))
		return NULL;
	if (fi->access == FAULT_FETCH)
		return "kernel runs a user page (SMEP)";
	if (x86_has_smap && !(tf->rflags & RFLAGS_AC))
		return "kernel touches a user page outside a user copy (SMAP)";
	return NULL;
}

static __attribute__((noinline)) void trace_fault(const struct trap_frame *tf, uint64_t cr2)
{
	uint64_t words[3] = {cr2, tf->error, tf->rip};

	quire_trace_words(QUIRE_TR_X86_FAULT, words, 3);
}

static void page_fault(struct trap_frame *tf, uint64_t cr2)
{
	struct fault_info fi = fault_decode(tf, cr2);
	const char *forbidden = forbidden_to_kernel(tf, &fi);

	if (&quire_trace_on && unlikely(quire_trace_on))
		trace_fault(tf, cr2);
	if (unlikely(forbidden)) {
		boot_log("fault at %#lx, ip %#lx, code %#lx", cr2, tf->rip, tf->error);
		kernel_oops(tf, forbidden);
	}
	if (likely(kernel_page_fault(tf, &fi)))
		return;
	if (!fi.fixup) {
		boot_log("fault at %#lx, ip %#lx, code %#lx", cr2, tf->rip, tf->error);
		kernel_oops(tf, "page fault in the kernel");
	}
	tf->rip = fi.fixup;
}

/* ---- other traps ----------------------------------------------------------------------------- */

/* Single step is TRAP_TRACE; what else raises a debug trap is the instruction for it. */
static int debug_code(void)
{
	uint64_t dr6;

	__asm__ volatile("movq %%dr6, %0" : "=r"(dr6));
	__asm__ volatile("movq %0, %%dr6" : : "r"(0xffff0ff0ul)); /* the bits stay set otherwise */
	return dr6 & 1u << 14 ? TRAP_TRACE : TRAP_BRKPT;
}

/* The code of a SIGFPE for vector MF or XM, from x87 status or MXCSR flags, in the order in which
 * Linux picks one. */
static int fpe_code(unsigned vector)
{
	uint32_t raised;

	if (vector == X86_VEC_MF) {
		uint16_t status, control;

		__asm__ volatile("fnstsw %0" : "=m"(status));
		__asm__ volatile("fnstcw %0" : "=m"(control));
		raised = status & ~control;
	} else {
		uint32_t mxcsr;

		__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
		raised = mxcsr & ~(mxcsr >> 7);
	}
	if (raised & 0x01)
		return FPE_FLTINV;
	if (raised & 0x04)
		return FPE_FLTDIV;
	if (raised & 0x08)
		return FPE_FLTOVF;
	if (raised & 0x12)
		return FPE_FLTUND; /* underflow or denormal */
	if (raised & 0x20)
		return FPE_FLTRES;
	return 0;
}

/* Linux's signal for a trap from user mode. */
static void user_trap(struct trap_frame *tf)
{
	switch (tf->vector) {
	case X86_VEC_DE:
		kernel_user_trap(tf, TRAP_DIVIDE, tf->rip, 1);
		break;
	case X86_VEC_DB:
		kernel_user_trap(tf, TRAP_BREAKPOINT, tf->rip, debug_code());
		break;
	case X86_VEC_BP:
		kernel_user_trap(tf, TRAP_BREAKPOINT, 0, SI_KERNEL);
		break;
	case X86_VEC_UD:
		kernel_user_trap(tf, TRAP_ILLEGAL, tf->rip, ILL_ILLOPN);
		break;
	case X86_VEC_MF:
	case X86_VEC_XM:
		kernel_user_trap(tf, TRAP_FPE, tf->rip, fpe_code((unsigned)tf->vector));
		break;
	case X86_VEC_AC:
		kernel_user_trap(tf, TRAP_ALIGN, 0, BUS_ADRALN);
		break;
	case X86_VEC_SS: /* a stack address that is not canonical */
		kernel_user_trap(tf, TRAP_ALIGN, 0, SI_KERNEL);
		break;
	case X86_VEC_OF:
	case X86_VEC_BR:
	case X86_VEC_GP:
		kernel_user_trap(tf, TRAP_PROTECTION, 0, SI_KERNEL);
		break;
	default:
		kernel_user_trap(tf, TRAP_OTHER, 0, SI_KERNEL);
	}
}

static const char *trap_name(uint64_t vector)
{
	static const char *const names[] = {
		"divide error", "debug trap", "NMI", "breakpoint", "overflow", "bound",
		"illegal instruction", "no FP unit", "double fault", "(9)", "bad TSS",
		"segment not present", "stack segment fault", "general protection fault",
		"page fault", "(15)", "x87 error", "alignment check", "machine check",
		"SIMD FP error",
	};

	return vector < sizeof(names) / sizeof(names[0]) ? names[vector] : "unexpected interrupt";
}

/* Last before user mode. iretq to an address that is not canonical would trap in the kernel, on
 * the user's GS: the program gets the signal that the fault would have been. */
static void prepare_user(struct trap_frame *tf)
{
	for (;;) {
		kernel_return_to_user(tf);
		if (likely(tf->rip < mmu_info.user_end) || x86_canonical(tf->rip))
			break;
		kernel_user_trap(tf, TRAP_PROTECTION, 0, SI_KERNEL);
	}
}

void x86_trap(struct trap_frame *tf, uint64_t cr2)
{
	latency_irqs_off();
	if (likely(tf->vector == X86_VEC_PF)) {
		if (likely(tf->rflags & RFLAGS_IF))
			hal_irq_enable();
		page_fault(tf, cr2);
		hal_irq_disable();
	} else if (tf->vector == X86_VEC_TIMER) {
		x86_lapic_ack();
		kernel_timer_tick(tf);
		latency_interrupted();
		if (!tf_user(tf))
			kernel_irq_exit();
	} else if (tf->vector == X86_VEC_CALL) {
		x86_lapic_ack();
		smp_answer();
		kernel_kick(tf);
		latency_interrupted();
		if (!tf_user(tf))
			kernel_irq_exit();
	} else if (tf->vector - X86_VEC_MSI < X86_NR_MSI) {
		x86_message((unsigned)tf->vector);
		latency_interrupted();
		if (!tf_user(tf))
			kernel_irq_exit();
	} else if (tf->vector >= X86_VEC_PIC) {
		/* the masked 8259s' and the local APIC's spurious ones want no answer */
		if (tf->vector != X86_VEC_SPURIOUS && tf->vector >= X86_VEC_PIC + 16)
			boot_log("unexpected interrupt %lu", tf->vector);
	} else if (tf_user(tf)) {
		user_trap(tf);
	} else {
		boot_log("%s, ip %#lx, code %#lx", trap_name(tf->vector), tf->rip, tf->error);
		kernel_oops(tf, trap_name(tf->vector));
	}
	if (tf_user(tf))
		prepare_user(tf);
	if (tf->rflags & RFLAGS_IF)
		latency_irqs_on();
}

/* On a stack of their own, at any moment: no call into the kernel that returns. */
void x86_paranoid_trap(struct trap_frame *tf, uint64_t cr2)
{
	if (tf->vector == X86_VEC_NMI) {
		boot_log("NMI at ip %#lx, going on", tf->rip);
		return;
	}
	boot_log("%s, ip %#lx, sp %#lx, fault address %#lx", trap_name(tf->vector), tf->rip,
		tf->rsp, cr2);
	if (tf->vector == X86_VEC_DF && cr2 - (tf->rsp - PAGE_BYTES) < 2 * PAGE_BYTES)
		kernel_oops(tf, "kernel stack overflow");
	kernel_oops(tf, trap_name(tf->vector));
}

/* Returns whether sysret may end the call. It loads only what the frame's rcx and r11 hold, and
 * traps in kernel mode, with the user's stack, on an address that is not canonical: so it is
 * used only where the address lies in user space and the registers agree. */
bool x86_syscall(struct trap_frame *tf)
{
	latency_irqs_off();
	kernel_syscall(tf);
	prepare_user(tf);
	latency_irqs_on();
	return tf->rcx == tf->rip && tf->r11 == tf->rflags && tf->rip < mmu_info.user_end &&
	       !((tf->cs ^ X86_USER_CS) | (tf->ss ^ X86_USER_DS) |
		 (tf->rflags & (RFLAGS_TF | RFLAGS_RF | RFLAGS_NT)));
}

void hal_user_enter(struct trap_frame *tf)
{
	hal_irq_disable();
	prepare_user(tf);
	latency_irqs_on();
	x86_enter_user(tf);
}
