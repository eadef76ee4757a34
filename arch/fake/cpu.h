/* SPDX-License-Identifier: MIT */
/*
 * The live part of the fake machine (the machine in software): what an address space is to it, and
 * the few calls that are worth inlining. All others are functions of arch/fake, because each of
 * them checks its caller. The entries themselves are those of whatever pte.h is on the include
 * path.
 */
#ifndef ARCH_FAKE_CPU_H
#define ARCH_FAKE_CPU_H

#include "arch/hal_types.h"
#include "pte.h"

struct fake_space;

struct arch_space {
	pfn_t root;
	uint64_t stale, generation; /* of arch/common/asid.h */
	uint32_t asid;
	bool user;
	struct fake_space *fs; /* the machine's own book about this space */
};

extern uintptr_t fake_direct_base;

/* On the machine's side, for what belongs to one CPU is no race with its own interrupts. */
#define HAL_INLINE_local_add
bool hal_local_add(uint32_t *p, uint32_t v);

#define HAL_INLINE_task
void *hal_task(void);
void hal_set_task(void *task);

#define HAL_INLINE_direct_map
static inline void *hal_phys_to_virt(phys_addr_t pa)
{
	return (void *)(fake_direct_base + pa);
}

/* Accuses its caller of an address outside the direct map. */
phys_addr_t hal_virt_to_phys(const void *va);

/* Entries that were read: what a walk costs, with no clock. */
extern uint64_t fake_entry_reads;

#define HAL_INLINE_pte
static inline pteval_t hal_pte_get(const pteval_t *p)
{
	uint64_t reads = __atomic_load_n(&fake_entry_reads, __ATOMIC_RELAXED);

	__atomic_store_n(&fake_entry_reads, reads + 1, __ATOMIC_RELAXED);
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

void hal_pte_set(pteval_t *p, pteval_t v);
pteval_t hal_pte_xchg(pteval_t *p, pteval_t v);
pteval_t hal_pte_cmpxchg(pteval_t *p, pteval_t old, pteval_t v);
pteval_t hal_pte_clear_accessed(pteval_t *p, unsigned level);
pteval_t hal_pte_wrprotect(pteval_t *p, unsigned level);

#endif
