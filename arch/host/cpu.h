/* SPDX-License-Identifier: MIT */
/*
 * The host machine for benchmarks, of bare threads: the contract of arch/hal.h with everything
 * inlined and nothing checked, for benchmarks. A host thread is a CPU once it said so
 * (host_cpu_enter()). There are no interrupts and no MMU: user memory is reached by walking the
 * tables, without a TLB.
 */
#ifndef ARCH_HOST_CPU_H
#define ARCH_HOST_CPU_H

#include <string.h>

#include "arch/hal_types.h"
#include "arch/common/live.h"
#include "pte.h"

struct arch_space {
	pfn_t root;
	bool user;
};

extern uintptr_t host_direct_base;
extern unsigned host_cpus;
extern __thread unsigned host_cpu;
extern __thread bool host_irqs_off;

/* ipi.c: runs what other CPUs asked of this one. */
void host_take_mail(void);
void host_yield(void);

#define HAL_INLINE_direct_map
static inline void *hal_phys_to_virt(phys_addr_t pa)
{
	return (void *)(host_direct_base + pa);
}

static inline phys_addr_t hal_virt_to_phys(const void *va)
{
	return (uintptr_t)va - host_direct_base;
}

#define HAL_INLINE_irq
static inline irqflags_t hal_irq_save(void)
{
	irqflags_t flags = host_irqs_off;

	host_irqs_off = true;
	return flags;
}

/* With HOST_IPI_MAIL a call from another CPU is served here, by its own CPU, as an interrupt is;
 * without, nothing is looked at and the caller runs it (one thread alone, benchmarks). */
static inline void hal_irq_restore(irqflags_t flags)
{
	host_irqs_off = flags;
#ifdef HOST_IPI_MAIL
	if (!flags)
		host_take_mail();
#endif
}

static inline bool hal_irqs_off(void)
{
	return host_irqs_off;
}

#define HAL_INLINE_cpu
static inline unsigned hal_cpu_id(void)
{
	return host_cpu;
}

static inline unsigned hal_cpu_count(void)
{
	return host_cpus;
}

static inline void hal_cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
#ifdef HOST_IPI_MAIL
	if (!host_irqs_off)
		host_take_mail();
	host_yield(); /* there may be fewer processors than CPUs */
#endif
}

#define HAL_INLINE_page
static inline void hal_clear_page(void *page)
{
	memset(page, 0, 1ul << ARCH_PAGE_SHIFT);
}

static inline void hal_copy_page(void *dst, const void *src)
{
	memcpy(dst, src, 1ul << ARCH_PAGE_SHIFT);
}

/* Whatever the encoding, so by decoding; the two calls are not on any benchmark's path. */
static inline pteval_t hal_pte_clear_accessed(pteval_t *p, unsigned level)
{
	pteval_t old = hal_pte_get(p), seen;

	for (;; old = seen) {
		struct pte_desc d = arch_pte_decode(old, level);

		d.accessed = false;
		seen = hal_pte_cmpxchg(p, old, arch_pte_encode(d, level));
		if (seen == old)
			return old;
	}
}

static inline pteval_t hal_pte_wrprotect(pteval_t *p, unsigned level)
{
	pteval_t old = hal_pte_get(p), seen;

	for (;; old = seen) {
		struct pte_desc d = arch_pte_decode(old, level);

		d.w = false;
		seen = hal_pte_cmpxchg(p, old, arch_pte_encode(d, level));
		if (seen == old)
			return old;
	}
}

#define HAL_INLINE_published
static inline void hal_pt_published(struct arch_space *s, uintptr_t va)
{
}

#endif
