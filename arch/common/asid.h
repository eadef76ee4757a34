/* SPDX-License-Identifier: MIT */
/*
 * Address-space identifiers, and what a CPU makes up for before it runs a program: for machines that tag
 * what they cache with a number of the space (RISC-V's ASIDs), and whose CPUs fetch instructions through
 * caches of their own that no store reaches. The machine in software runs this code too, over caches that
 * accuse (arch/fake). An architecture has in struct arch_space
 *
 *   uint64_t stale;       bit n: CPU n holds old translations, and forgets them before it runs it; atomic
 *   uint64_t generation;  0: never had an identifier; atomic, changed under asid.c's lock
 *   uint32_t asid;        counts while the generation is the machine's
 *
 * keeps what each CPU runs in mmu_running, calls asid_start() before the first space is loaded, and supplies in its "arch.h":
 *
 *   ARCH_CPUS_MAX, struct arch_space *mmu_running[ARCH_CPUS_MAX]
 *   void arch_root_load(pfn_t root, uint32_t asid);   the CPU's tables from now on; nothing is forgotten
 *   void arch_fence_asid(uint32_t asid);     forgets what is tagged so, tables included; global leaves stay
 *   void arch_flush_all(void);               forgets everything, global leaves too
 *   void arch_fence_i(void);                 later fetches of this CPU see earlier stores
 *   void arch_fence_i_others(uint64_t cpus); the same on other CPUs
 *
 * The number 0 is the kernel's own.
 */
#ifndef ARCH_COMMON_ASID_H
#define ARCH_COMMON_ASID_H

#include "arch/hal.h"

/* Nothing is given out: 2^bits identifiers, 0: there are none. Nobody runs a space. */
void asid_start(unsigned bits);
/* How many bits to use of those that there are, for so many CPUs: 0 without twice as many identifiers. */
unsigned asid_usable(unsigned bits, unsigned cpus);

/* The space that this CPU has stored in mmu_running, or the kernel's own for NULL, becomes the one that it
 * runs, by an identifier that is its alone, and with nothing old. Interrupts off. */
void asid_load(struct arch_space *s, pfn_t root);
/* false: no CPU holds a translation of s, or will use one that it holds. The caller has changed an entry
 * before. Any context. */
bool asid_cached(const struct arch_space *s);

/* What is stale on a CPU that does not run s (NULL: any program): bit n of *stale, and CPU n makes up for it
 * before it runs it next. Of cpus those that run it now, and are to be told. Any context. */
uint64_t asid_note_stale(uint64_t *stale, uint64_t cpus, const struct arch_space *s);

/* No CPU of the mask fetches what was stored over before: those that run a program are fenced now, the
 * others before they run one. Any context, but where arch_fence_i_others() needs interrupts on. */
void asid_icache_sync(uint64_t cpus);

#endif
