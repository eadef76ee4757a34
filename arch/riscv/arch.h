/* SPDX-License-Identifier: MIT */
/*
 * RISC-V's part of arch/common: what its headers ask of an architecture (they say what each
 * promises).
 *
 * ASIDs: a space gets one when it is switched to, if its generation is not the current one; when
 * they run out the generation counts up (asid.c). ASID 0 is the kernel's own (empty lower half). A space
 * without a current ASID has nothing cached that will be used: it is given one that each hart flushes
 * before it uses it. Other harts' caches are reached through the firmware (RFENCE).
 */
#ifndef ARCH_RISCV_ARCH_H
#define ARCH_RISCV_ARCH_H

#include "arch/common/asid.h"
#include "riscv.h"

#define ARCH_LOG_PREFIX	  "riscv: "
#define ARCH_ELF_MACHINE  243 /* EM_RISCV */
#define ARCH_ELF_PLATFORM NULL

#define ARCH_DEVICE_BASE 0xffffffff00000000ul
#define ARCH_DEVICE_SIZE (16ul << 20)
#define ARCH_STACK_TOP	 (1ul << 47) /* programs for Sv48 may count on 47 bits */

#define ARCH_IO_WRITE_BARRIER "fence rw, o"
#define ARCH_IO_READ_BARRIER  "fence i, rw"

#define ARCH_SPACE_LEAVES (!mmu_info.asid_bits)
#define ARCH_FLUSH_MAX	  64
#define ARCH_FLUSH_TABLES true /* a fence of one address leaves cached tables in place */

void arch_root_load(pfn_t root, uint32_t asid);
/* Interrupts on where the firmware has no fences to make. */
void arch_fence_i_others(uint64_t cpus);

static inline void arch_space_load(struct arch_space *s, pfn_t root)
{
	asid_load(s, root);
}

static inline bool arch_space_cached(const struct arch_space *s)
{
	return !s->user || asid_cached(s);
}

/* Those that only hold translations of a user's space make up for them later. */
static inline uint64_t arch_flush_now(uint64_t cpus, const struct mmu_flush *f)
{
	return f->user && mmu_info.asid_bits ? asid_note_stale(&f->s->stale, cpus, f->s) : cpus;
}

bool arch_flush_others(uint64_t cpus, const struct mmu_flush *f);
bool arch_cpu_start(unsigned cpu, void *stack_top);
void arch_call(unsigned cpu);

static inline void arch_fence_asid(uint32_t asid)
{
	__asm__ volatile("sfence.vma zero, %0" : : "r"((unsigned long)asid) : "memory");
}

static inline void arch_fence_i(void)
{
	__asm__ volatile("fence rw, rw\n\tfence.i" : : : "memory");
}

/* Of a user's space its own ASID's leaf; else that of every ASID, global ones too. */
static inline void arch_flush_page(const struct arch_space *s, uintptr_t va)
{
	if (s && s->user)
		__asm__ volatile("sfence.vma %0, %1"
				 : : "r"(va), "r"((unsigned long)s->asid) : "memory");
	else
		__asm__ volatile("sfence.vma %0, zero" : : "r"(va) : "memory");
}

static inline void arch_flush_space(const struct arch_space *s)
{
	arch_fence_asid(s->asid);
}

static inline void arch_flush_all(void)
{
	__asm__ volatile("sfence.vma" : : : "memory");
}

/* Under QEMU's -icount shift=0 exactly that. */
static inline uint64_t arch_instructions(void)
{
	return csr_read(cycle);
}

static inline bool arch_random(uint64_t *v)
{
	return false; /* the boot loader's seed stirs the clock's words */
}

#endif
