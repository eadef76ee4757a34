/* SPDX-License-Identifier: MIT */
/*
 * The instructions of the machine in software that arch/common/asid.c is written over (its header says
 * what each promises): each CPU's translations are tagged with identifiers, and its fetches go through a
 * cache that no store reaches (tags.c).
 */
#ifndef ARCH_FAKE_ARCH_H
#define ARCH_FAKE_ARCH_H

#include "arch/common/asid.h"

#define ARCH_CPUS_MAX 16 /* FAKE_MAX_CPUS */

extern struct arch_space *mmu_running[ARCH_CPUS_MAX];

void arch_root_load(pfn_t root, uint32_t asid);
void arch_fence_asid(uint32_t asid);
void arch_flush_all(void);
void arch_fence_i(void);
void arch_fence_i_others(uint64_t cpus);

#endif
