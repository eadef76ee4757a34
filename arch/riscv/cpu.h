/* SPDX-License-Identifier: MIT */
/*
 * RISC-V's half of the live contract that is worth inlining: control registers, interrupts, live
 * entries, the direct map, and what an address space is to this machine.
 */
#ifndef ARCH_RISCV_CPU_H
#define ARCH_RISCV_CPU_H

#include "arch/hal_types.h"
#include "arch/common/latency.h"
#include "arch/common/live.h"
#include "csr.h"
#include "pte.h"

#define ARCH_CPUS_MAX 16

/* One address space. The ASID counts only while its generation is the machine's (arch.h). */
struct arch_space {
	pfn_t root;
	uint64_t cpus;	     /* bit n: CPU n may hold translations of it; atomic */
	uint64_t stale;	     /* bit n: CPU n holds old ones, and forgets them before it runs it; atomic */
	uint64_t generation; /* 0: never had an ASID; atomic, changed under asid.c's lock */
	uint32_t asid;
	bool user;
};

#define csr_read(reg)                                                                              \
	({                                                                                         \
		unsigned long v_;                                                                  \
		__asm__ volatile("csrr %0, " #reg : "=r"(v_) : : "memory");                       \
		v_;                                                                                \
	})
#define csr_write(reg, val)                                                                        \
	__asm__ volatile("csrw " #reg ", %0" : : "rK"((unsigned long)(val)) : "memory")
#define csr_set(reg, bits)                                                                         \
	__asm__ volatile("csrs " #reg ", %0" : : "rK"((unsigned long)(bits)) : "memory")
#define csr_clear(reg, bits)                                                                       \
	__asm__ volatile("csrc " #reg ", %0" : : "rK"((unsigned long)(bits)) : "memory")

/* ---- the direct map -------------------------------------------------------------------------- */

/* The image is linked in the top two gigabytes, above every direct map. */
#define RV_IMAGE_BASE 0xffffffff80000000ul

extern uintptr_t hal_direct_base;  /* kernel address of physical 0 */
extern uintptr_t hal_image_offset; /* kernel address of the image minus its physical one */

#define HAL_INLINE_direct_map
static inline void *hal_phys_to_virt(phys_addr_t pa)
{
	return (void *)(hal_direct_base + pa);
}

static inline phys_addr_t hal_virt_to_phys(const void *va)
{
	uintptr_t a = (uintptr_t)va;

	return a - (a >= RV_IMAGE_BASE ? hal_image_offset : hal_direct_base);
}

/* ---- the processor --------------------------------------------------------------------------- */

#define HAL_INLINE_irq_switch
static inline void hal_irq_disable(void)
{
	csr_clear(sstatus, SSTATUS_SIE);
	latency_irqs_off();
}

static inline void hal_irq_enable(void)
{
	latency_irqs_on();
	csr_set(sstatus, SSTATUS_SIE);
}

#define HAL_INLINE_irq
static inline irqflags_t hal_irq_save(void)
{
	unsigned long v;

	__asm__ volatile("csrrci %0, sstatus, %1" : "=r"(v) : "i"(SSTATUS_SIE) : "memory");
	latency_irqs_off();
	return v & SSTATUS_SIE;
}

static inline void hal_irq_restore(irqflags_t flags)
{
	if (flags & SSTATUS_SIE)
		hal_irq_enable();
}

static inline bool hal_irqs_off(void)
{
	return !(csr_read(sstatus) & SSTATUS_SIE);
}

/* What one hart keeps of its own; tp points to it in kernel mode. Assembly knows the offsets (csr.h). */
struct rv_percpu {
	unsigned long kernel_stack; /* top; what the next trap from user mode starts on */
	uint32_t cpu_id;
	uint32_t hart;
	/* for the start of it alone */
	unsigned long satp, stack, entry;
	struct rv_percpu *self;
	void *task;
	uint64_t timer_period, timer_next;
};

/* CPUs are numbered: 0 booted, the others follow in the order of their harts' numbers. */
#define HAL_INLINE_cpu
static inline unsigned hal_cpu_id(void)
{
	uint32_t id;

	__asm__ volatile("lw %0, %1(tp)" : "=r"(id) : "i"(RV_PCPU_ID)); /* a task may go on on another */
	return id;
}

/* No two of them in one task differ, so the compiler may keep it. */
#define HAL_INLINE_task
static inline void *hal_task(void)
{
	void *task;

	__asm__("ld %0, %1(tp)" : "=r"(task) : "i"(RV_PCPU_TASK));
	return task;
}

static inline void hal_set_task(void *task)
{
	__asm__ volatile("sd %0, %1(tp)" : : "r"(task), "i"(RV_PCPU_TASK) : "memory");
}

extern unsigned hal_cpus;

static inline unsigned hal_cpu_count(void)
{
	return hal_cpus;
}

static inline void hal_cpu_relax(void)
{
	__asm__ volatile(".4byte 0x0100000f" : : : "memory"); /* pause; an empty fence before it */
}

/* ---- live entries: every change is one access, so a walker sees the old word or the new ------- */

static inline pteval_t hal_pte_clear_accessed(pteval_t *p, unsigned level)
{
	return __atomic_fetch_and(p, ~RV_PTE_A, __ATOMIC_SEQ_CST);
}

/* One AMO on the whole word: an A or D that a walker sets at the same time is not lost. */
static inline pteval_t hal_pte_wrprotect(pteval_t *p, unsigned level)
{
	return __atomic_fetch_and(p, ~RV_PTE_W, __ATOMIC_SEQ_CST);
}

/* A hart may have cached that the entry was empty. A supervisor space's leaves may be global. */
#define HAL_INLINE_published
static inline void hal_pt_published(struct arch_space *s, uintptr_t va)
{
	if (s && s->user)
		__asm__ volatile("sfence.vma %0, %1"
				 : : "r"(va), "r"((unsigned long)s->asid) : "memory");
	else
		__asm__ volatile("sfence.vma %0, zero" : : "r"(va) : "memory");
}

#endif
