/* SPDX-License-Identifier: MIT */
/*
 * RISC-V traps, decoded: scause and stval, which trap.S read before anything else could trap,
 * become the neutral words of the contract. Nothing is decided here.
 */
#include <quire/abi.h>
#include <quire/quire.h>
#include <quire/trace.h>

#include "riscv.h"

#define CAUSE_INTERRUPT (1ul << 63)
#define IRQ_SOFT  1
#define IRQ_TIMER 5
#define IRQ_EXTERNAL 9

enum cause {
	CAUSE_FETCH_MISALIGNED = 0,
	CAUSE_FETCH_ACCESS,
	CAUSE_ILLEGAL,
	CAUSE_BREAKPOINT,
	CAUSE_LOAD_MISALIGNED,
	CAUSE_LOAD_ACCESS,
	CAUSE_STORE_MISALIGNED,
	CAUSE_STORE_ACCESS,
	CAUSE_ECALL_USER,
	CAUSE_FETCH_PAGE = 12,
	CAUSE_LOAD_PAGE,
	CAUSE_STORE_PAGE = 15,
};

static bool is_memory_fault(unsigned long cause)
{
	const unsigned long faults = 1ul << CAUSE_FETCH_ACCESS | 1ul << CAUSE_LOAD_ACCESS |
				     1ul << CAUSE_STORE_ACCESS | 1ul << CAUSE_FETCH_PAGE |
				     1ul << CAUSE_LOAD_PAGE | 1ul << CAUSE_STORE_PAGE;

	return cause < 64 && (faults >> cause & 1);
}

/*
 * A page fault does not say whether an entry was there, nor whether it had reserved bits: those
 * bits are not in raw_mask, and a corrupt entry is for the core to find. AMOs fault as stores.
 */
static struct fault_info decode_fault(const struct trap_frame *tf)
{
	struct fault_info fi = {
		.addr = tf->tval,
		.ip = tf->x[0],
		.user = tf_user(tf),
		.raw_mask = FAULT_CODE_WRITE | FAULT_CODE_USER | FAULT_CODE_FETCH,
	};

	switch (tf->cause) {
	case CAUSE_FETCH_ACCESS:
	case CAUSE_FETCH_PAGE:
		fi.access = FAULT_FETCH;
		fi.raw_code = FAULT_CODE_FETCH;
		break;
	case CAUSE_STORE_ACCESS:
	case CAUSE_STORE_PAGE:
		fi.access = FAULT_WRITE;
		fi.raw_code = FAULT_CODE_WRITE;
		break;
	default:
		fi.access = FAULT_READ;
		break;
	}
	fi.kind = tf->cause < CAUSE_FETCH_PAGE ? FAULT_BUS : FAULT_TRANSLATION;
	if (fi.user)
		fi.raw_code |= FAULT_CODE_USER;
	else
		fi.fixup = search_fixup(fi.ip);
	return fi;
}

/* Unresolved faults in the kernel by which it broke a rule of its own. NULL: none. */
static const char *broken_rule(const struct trap_frame *tf, const struct fault_info *fi)
{
	if (fi->user || fi->fixup)
		return NULL;
	/* a stack is mapped wholly: a fault beside its pointer is one in the guard page */
	if (fi->addr >= hal_mmu_info()->user_end)
		return fi->addr - (tf_sp(tf) - PAGE_SIZE) < 2 * PAGE_SIZE ? "kernel stack overflow"
									   : NULL;
	if (!mmu_in_user_space())
		return NULL;
	return fi->access == FAULT_FETCH ? "kernel runs user memory"
					 : "kernel touches user memory outside a user copy";
}

static __attribute__((noinline)) void trace_fault(const struct trap_frame *tf)
{
	uint64_t raw[3] = {tf->tval, tf->cause, tf->x[0]};

	quire_trace_words(QUIRE_TR_RISCV_FAULT, raw, 3);
}

static void memory_fault(struct trap_frame *tf)
{
	const char *rule;
	struct fault_info fi = decode_fault(tf);

	if (rv_probing && fi.fixup) {
		tf_set_ip(tf, fi.fixup);
		return;
	}
	rule = broken_rule(tf, &fi);
	if (rule)
		kernel_oops(tf, rule);
	if (unlikely(quire_trace_on))
		trace_fault(tf);
	if (kernel_page_fault(tf, &fi) || fi.user)
		return;
	if (!fi.fixup)
		kernel_oops(tf, "page fault in the kernel");
	tf_set_ip(tf, fi.fixup);
}

static void interrupt(struct trap_frame *tf)
{
	switch (tf->cause & ~CAUSE_INTERRUPT) {
	case IRQ_TIMER:
		rv_timer_irq();
		kernel_timer_tick(tf);
		break;
	case IRQ_EXTERNAL:
		rv_external_irq();
		break;
	case IRQ_SOFT:
		csr_clear(sip, SIE_SSIE); /* before the look: who calls later interrupts again */
		smp_answer();
		kernel_kick(tf);
		break;
	}
	latency_interrupted();
	if (!tf_user(tf))
		kernel_irq_exit();
}

static void user_exception(struct trap_frame *tf)
{
	switch (tf->cause) {
	case CAUSE_ILLEGAL:
		kernel_user_trap(tf, TRAP_ILLEGAL, tf->x[0], ILL_ILLOPC);
		break;
	case CAUSE_BREAKPOINT:
		kernel_user_trap(tf, TRAP_BREAKPOINT, tf->x[0], TRAP_BRKPT);
		break;
	case CAUSE_FETCH_MISALIGNED:
	case CAUSE_LOAD_MISALIGNED:
	case CAUSE_STORE_MISALIGNED:
		kernel_user_trap(tf, TRAP_ALIGN, tf->x[0], BUS_ADRALN); /* as Linux */
		break;
	default:
		kernel_user_trap(tf, TRAP_OTHER, tf->x[0], 0);
		break;
	}
}

static const char *cause_name(unsigned long cause)
{
	switch (cause) {
	case CAUSE_ILLEGAL:
		return "illegal instruction in the kernel";
	case CAUSE_BREAKPOINT:
		return "breakpoint in the kernel";
	case CAUSE_LOAD_MISALIGNED:
	case CAUSE_STORE_MISALIGNED:
		return "misaligned access in the kernel";
	default:
		return "unexpected trap in the kernel";
	}
}

/* From trap.S, interrupts off, SUM off; maybe on when it returns. The frame is continued then. */
void riscv_trap(struct trap_frame *tf)
{
	latency_irqs_off();
	if (tf->cause == CAUSE_ECALL_USER) {
		tf->x[0] += 4;
		kernel_syscall(tf);
	} else if (is_memory_fault(tf->cause)) {
		if (likely(tf->status & SSTATUS_SPIE))
			hal_irq_enable();
		memory_fault(tf);
	} else if (tf->cause & CAUSE_INTERRUPT) {
		interrupt(tf);
	} else if (tf_user(tf)) {
		user_exception(tf);
	} else {
		kernel_oops(tf, cause_name(tf->cause));
	}
	if (tf_user(tf)) {
		hal_irq_disable();
		kernel_return_to_user(tf);
	}
	if (tf->status & SSTATUS_SPIE)
		latency_irqs_on();
}

void riscv_stack_overflow(struct trap_frame *tf)
{
	kernel_oops(tf, "kernel stack overflow");
}
