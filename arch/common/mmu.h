/* SPDX-License-Identifier: MIT */
/*
 * Address spaces and the kernel's half of them, for every machine that keeps the kernel's upper
 * half in each space's top table: all of hal.h's "address spaces" and "kernel half" but the
 * instructions. An architecture fills in mmu_info, mmu_layout and mmu_kernel at boot, calls the
 * mappers below, and supplies, in its "arch.h":
 *
 *   ARCH_DEVICE_BASE, ARCH_DEVICE_SIZE   kernel addresses for device registers
 *   ARCH_STACK_TOP                       where a program's stack ends, if user space goes so far
 *   ARCH_FLUSH_MAX                       more single flushes than this cost more than a full one
 *   ARCH_FLUSH_TABLES                    true: a single flush leaves cached upper entries in place
 *   ARCH_CPUS_MAX                        CPUs there can be at most (cpu.h)
 *   ARCH_SPACE_LEAVES                    true: a CPU keeps nothing of a user's space that it has left
 *   void arch_space_load(struct arch_space *s, pfn_t root);
 *       makes root's tables the CPU's; s is NULL for the kernel's own. Interrupts off.
 *   bool arch_space_cached(const struct arch_space *s);
 *       false: no CPU holds a translation of s, or will use one it holds
 *   uint64_t arch_flush_now(uint64_t cpus, const struct mmu_flush *f);
 *       of other CPUs those that have to forget now; the rest will before they use it. Interrupts off
 *   bool arch_flush_others(uint64_t cpus, const struct mmu_flush *f);
 *       other CPUs forget, by means of the machine's own; false: it has none, they are called. Any context
 *   void arch_flush_page(const struct arch_space *s, uintptr_t va);
 *       the leaf at va in s; s is NULL for the kernel's half, where leaves are global
 *   void arch_flush_space(const struct arch_space *s);     all of a user's space
 *   void arch_flush_all(void);                             everything, global leaves too
 *
 * and in struct arch_space: uint64_t cpus, bit n: CPU n may hold translations of it; atomic.
 */
#ifndef ARCH_COMMON_MMU_H
#define ARCH_COMMON_MMU_H

#include "arch/common/kmap.h"
#include "arch/common/smp.h"
#include "lib/bug.h"

#define PAGE_BYTES (1ul << ARCH_PAGE_SHIFT)

extern struct mmu_info mmu_info;	 /* what hal_mmu_info() answers */
extern struct kernel_layout mmu_layout;	 /* and hal_kernel_layout() */
extern struct kmap mmu_kernel;		 /* the kernel's own tables */
/* The space that each CPU uses; NULL: the kernel's own tables. Stored by its CPU, atomically. */
extern struct arch_space *mmu_running[ARCH_CPUS_MAX];

/* The space in use is a user program's, not the kernel's own and not a supervisor's. Interrupts off,
 * or in a trap. */
static inline bool mmu_in_user_space(void)
{
	const struct arch_space *s = mmu_running[hal_cpu_id()];

	return s && s->user;
}

/* What of a space, or of the kernel's half (s is NULL), a CPU has to forget. */
struct mmu_flush {
	struct arch_space *s;
	uintptr_t start;
	uint64_t step;	/* bytes that an entry maps */
	uint64_t n;	/* entries from start on; 0: all of s, or of everything if !user */
	bool user;	/* s is a user's: no leaf of it is global */
};

/* ---- boot: each of these ends the machine when there is no room for a table ------------------ */

/* Part of the image, whole pages between two symbols of link.ld, with its rights (KMAP_*). */
void mmu_map_image(const char *start, const char *end, unsigned prot);

/* RAM [start, end) into the direct map; what of it holds the image's [ro, ro_end) is read-only. */
void mmu_map_ram(phys_addr_t start, phys_addr_t end, const char *ro, const char *ro_end);

/* Makes every top entry that vmemmap, vmalloc and devices may need, before a space copies them. */
void mmu_reserve_ranges(void);

/* Maps device registers for good, an absent page after them; returns where. */
void *mmu_map_device(phys_addr_t pa, uint64_t size);

#endif
