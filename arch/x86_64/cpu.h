/* SPDX-License-Identifier: MIT */
/*
 * The live part of x86-64 that is worth inlining: address-space state, the direct map, interrupt
 * flag, page-table entry atomics, page clear and copy. Everything else of the contract is linked
 * (mmu.c, cpu.c, trap.c ...). Needs ring 0.
 */
#ifndef ARCH_X86_64_CPU_H
#define ARCH_X86_64_CPU_H

#include "arch/hal_types.h"
#include "arch/common/latency.h"
#include "arch/common/live.h"
#include "pte.h"

#define ARCH_CPUS_MAX 16

/* One address space: its top table, and who may hold translations of it. */
struct arch_space {
	pfn_t root;
	uint64_t cpus; /* bit n: CPU n; atomic */
	bool user;
};

/* ---- direct map ------------------------------------------------------------------------------ */

extern uintptr_t hal_direct_base; /* set once at boot: 4- and 5-level tables differ */

#define HAL_INLINE_direct_map
static inline void *hal_phys_to_virt(phys_addr_t pa)
{
	return (void *)(hal_direct_base + pa);
}

/* The image is linked apart from the direct map; both translate. */
#define X86_IMAGE_BASE 0xffffffff80000000ull
static inline phys_addr_t hal_virt_to_phys(const void *va)
{
	uintptr_t v = (uintptr_t)va;

	return v >= X86_IMAGE_BASE ? v - X86_IMAGE_BASE : v - hal_direct_base;
}

/* ---- processor ------------------------------------------------------------------------------- */

#define X86_RFLAGS_IF (1ul << 9)

#define HAL_INLINE_irq_switch
static inline void hal_irq_disable(void)
{
	__asm__ volatile("cli" : : : "memory");
	latency_irqs_off();
}

static inline void hal_irq_enable(void)
{
	latency_irqs_on();
	__asm__ volatile("sti" : : : "memory");
}

#define HAL_INLINE_irq
static inline irqflags_t hal_irq_save(void)
{
	irqflags_t f;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(f) : : "memory");
	latency_irqs_off();
	return f & X86_RFLAGS_IF;
}

static inline void hal_irq_restore(irqflags_t flags)
{
	if (flags & X86_RFLAGS_IF)
		hal_irq_enable();
}

static inline bool hal_irqs_off(void)
{
	return !(__builtin_ia32_readeflags_u64() & X86_RFLAGS_IF);
}

/*
 * What one CPU keeps of its own, reached through GS in kernel mode. trap.S knows the offsets.
 */
struct x86_percpu {
	uint64_t kernel_stack; /* 0: where a system call's stack starts */
	uint64_t user_rsp;     /* 8: scratch of the system-call entry */
	uint32_t cpu_id;       /* 16 */
	void *task;	       /* 24 */
};

/* One instruction: no interrupt falls into it. */
#define HAL_INLINE_local_add
static inline bool hal_local_add(uint32_t *p, uint32_t v)
{
	bool zero;

	__asm__ volatile("addl %2, %0" : "+m"(*p), "=@ccz"(zero) : "ri"(v) : "memory");
	return zero;
}

#define HAL_INLINE_cpu
static inline unsigned hal_cpu_id(void)
{
	uint32_t id;

	__asm__ volatile("movl %%gs:16, %0" : "=r"(id)); /* a task may go on on another */
	return id;
}

/* No two of them in one task differ, so the compiler may keep it. */
#define HAL_INLINE_task
static inline void *hal_task(void)
{
	void *task;

	__asm__("movq %%gs:24, %0" : "=r"(task));
	return task;
}

static inline void hal_set_task(void *task)
{
	__asm__ volatile("movq %0, %%gs:24" : : "r"(task) : "memory");
}

extern unsigned hal_cpus;

static inline unsigned hal_cpu_count(void)
{
	return hal_cpus;
}

static inline void hal_cpu_relax(void)
{
	__builtin_ia32_pause();
}

/* ---- pages ----------------------------------------------------------------------------------- */

#define HAL_INLINE_page
static inline void hal_clear_page(void *page)
{
	uint64_t n = (1ul << ARCH_PAGE_SHIFT) / 8;

	__asm__ volatile("rep stosq" : "+D"(page), "+c"(n) : "a"(0ul) : "memory");
}

static inline void hal_copy_page(void *dst, const void *src)
{
	uint64_t n = (1ul << ARCH_PAGE_SHIFT) / 8;

	__asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

/* ---- live entries ---------------------------------------------------------------------------- */

static inline pteval_t hal_pte_clear_accessed(pteval_t *p, unsigned level)
{
	return __atomic_fetch_and(p, ~X86_PTE_A, __ATOMIC_SEQ_CST);
}

static inline pteval_t hal_pte_wrprotect(pteval_t *p, unsigned level)
{
	return __atomic_fetch_and(p, ~X86_PTE_RW, __ATOMIC_SEQ_CST);
}

/* The processor walks the tables anew after a fault and caches no absent entry. */
#define HAL_INLINE_published
static inline void hal_pt_published(struct arch_space *s, uintptr_t va)
{
}

#endif
