/* SPDX-License-Identifier: MIT */
/*
 * x86-64's part of arch/common: what its headers ask of an architecture (they say what each
 * promises). Loading CR3 drops all of the space that ran, and no processor caches an absent entry.
 */
#ifndef ARCH_X86_64_ARCH_H
#define ARCH_X86_64_ARCH_H

#include "x86.h"

#define ARCH_LOG_PREFIX	  "quire: "
#define ARCH_ELF_MACHINE  62 /* EM_X86_64 */
#define ARCH_ELF_PLATFORM "x86_64"

#define ARCH_DEVICE_BASE 0xffffffff40000000ul
#define ARCH_DEVICE_SIZE (1ul << 30)
#define ARCH_STACK_TOP	 ((1ul << 47) - PAGE_BYTES)

#define ARCH_IO_WRITE_BARRIER "" /* uncached accesses keep their place among the others */
#define ARCH_IO_READ_BARRIER  ""

#define ARCH_SPACE_LEAVES true
#define ARCH_FLUSH_MAX	  33
#define ARCH_FLUSH_TABLES false /* invlpg also drops what is cached of upper levels */

static inline void arch_space_load(struct arch_space *s, pfn_t root)
{
	write_cr3(root.n << ARCH_PAGE_SHIFT);
}

static inline bool arch_space_cached(const struct arch_space *s)
{
	return true; /* its mask of CPUs says it */
}

static inline void arch_flush_page(const struct arch_space *s, uintptr_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline void arch_flush_space(const struct arch_space *s)
{
	write_cr3(read_cr3());
}

/* A CPU that leaves a space keeps nothing of it. */
static inline uint64_t arch_flush_now(uint64_t cpus, const struct mmu_flush *f)
{
	return cpus;
}

/* There is no instruction for that. */
static inline bool arch_flush_others(uint64_t cpus, const struct mmu_flush *f)
{
	return false;
}

bool arch_cpu_start(unsigned cpu, void *stack_top);
void arch_call(unsigned cpu);

/* Without PGE nothing global is kept: turning it off and on drops everything. */
static inline void arch_flush_all(void)
{
	uint64_t cr4 = read_cr4();

	write_cr4(cr4 & ~CR4_PGE);
	write_cr4(cr4);
}

/* Under QEMU's -icount shift=0 exactly that. */
static inline uint64_t arch_instructions(void)
{
	return rdtsc();
}

static inline bool arch_random(uint64_t *v)
{
	bool ok = false;

	for (unsigned i = 0; x86_has_rdrand && i < 10 && !ok; i++)
		__asm__ volatile("rdrand %0; setc %1" : "=r"(*v), "=qm"(ok));
	return ok;
}

#endif
