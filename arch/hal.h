/* SPDX-License-Identifier: MIT */
/*
 * The HAL, the contract below: all that mm/ may ask of a machine (page-table entries, TLB flushes,
 * CPUs, interrupts, copies). About thirty-five names, in the order in which a port needs them. An
 * architecture encodes, decodes and executes; it never decides.
 *
 * Dispatch is at compile time: "pte.h" (the pure part) and "cpu.h" (types and inlines of the live
 * part) are found on the include path of the machine that is being built; the rest is linked.
 * What each promises, with its laws, stands as a table in docs/hal.md; test/arch/ checks it on
 * every machine.
 */
#ifndef ARCH_HAL_H
#define ARCH_HAL_H

#include "hal_types.h"
#include "arch/common/latency.h"

/*
 * pte.h, the pure part. It is compiled anywhere and defines:
 *   ARCH_NAME           "x86_64" ...
 *   ARCH_PAGE_SHIFT     log2 of the page size
 *   ARCH_INDEX_BITS     log2 of the entries of one table; entries are 8 bytes
 *   ARCH_MAX_LEVELS     most levels this machine can have; level 0 holds the pages' entries
 *   ARCH_LEAF_LEVELS    bit n set: an entry of level n may be a leaf
 *   ARCH_PFN_BITS       width of the widest frame number
 *   ARCH_SWAP_BITS      width of a swap or migration payload, at least 40
 *   ARCH_MAP_32BIT      if defined: Linux's mmap has MAP_32BIT here
 *   ARCH_MMAP_OFFSET_SIGNED  if defined: Linux's mmap takes a signed offset here
 *   static inline pteval_t arch_pte_encode(struct pte_desc d, unsigned level);
 *   static inline struct pte_desc arch_pte_decode(pteval_t v, unsigned level);
 *   static inline struct pte_desc arch_pte_widen(struct pte_desc d);
 * Laws: decode(encode(d, l), l) == widen(d); encode(decode(v, l), l) == v for every v that encode
 * writes; widen is idempotent, only ever adds rights, and never turns a right off; the zero word
 * is PTE_NONE and nothing else is; swap and migration entries, payload 0 included, are neither
 * none nor present to hardware.
 */
#include "pte.h"

/*
 * Short cuts. What they answer follows from encode and decode, and without the machine's own (it
 * then defines ARCH_PTE_SHORT_CUTS) it is computed from them:
 *   arch_pte_is_table(v, level)  decode says PTE_TABLE
 *   arch_pte_is_leaf(v)          of a level-0 word that decode takes for any kind but corrupt:
 *                                PTE_LEAF
 *   arch_pte_pfn(v)              the frame of a PTE_TABLE, or of a PTE_LEAF of level 0
 *   arch_pte_refill(v, pfn)      the word of level 0 like v, which is PTE_LEAF or PTE_PROTNONE of
 *                                frame 0, with this frame
 * With them it gives arch_pte_bits(bits), the bits of a word of level 0 that PTE_BIT_* stand for;
 * from that follow, the same for every machine:
 *   arch_pte_has(v, bits)        of a PTE_LEAF or PTE_PROTNONE of level 0: has it all these bits (W is asked
 *                                of a leaf alone)
 *   arch_pte_edit(v, set, clear) the same word with some set and others cleared (set none that the
 *                                kind has not; W only in a leaf that can be read)
 */
#ifndef ARCH_PTE_SHORT_CUTS
static inline bool arch_pte_is_table(pteval_t v, unsigned level)
{
	return arch_pte_decode(v, level).kind == PTE_TABLE;
}

static inline bool arch_pte_is_leaf(pteval_t v)
{
	return arch_pte_decode(v, 0).kind == PTE_LEAF;
}

static inline pfn_t arch_pte_pfn(pteval_t v)
{
	struct pte_desc d = arch_pte_decode(v, 0);

	return d.kind == PTE_LEAF ? d.pfn : arch_pte_decode(v, 1).pfn;
}

static inline pteval_t arch_pte_refill(pteval_t v, pfn_t pfn)
{
	struct pte_desc d = arch_pte_decode(v, 0);

	d.pfn = pfn;
	return arch_pte_encode(d, 0);
}

static inline unsigned pte_desc_bits(struct pte_desc d)
{
	return (d.w ? PTE_BIT_W : 0) | (d.accessed ? PTE_BIT_ACCESSED : 0) |
	       (d.dirty ? PTE_BIT_DIRTY : 0) | (d.soft_dirty ? PTE_BIT_SOFT_DIRTY : 0) |
	       (d.special ? PTE_BIT_SPECIAL : 0) | (d.uffd_wp ? PTE_BIT_UFFD_WP : 0);
}

static inline bool arch_pte_has(pteval_t v, unsigned bits)
{
	return (pte_desc_bits(arch_pte_decode(v, 0)) & bits) == bits;
}

static inline pteval_t arch_pte_edit(pteval_t v, unsigned set, unsigned clear)
{
	struct pte_desc d = arch_pte_decode(v, 0);
	unsigned bits = (pte_desc_bits(d) | set) & ~clear;

	d.w = bits & PTE_BIT_W;
	d.accessed = bits & PTE_BIT_ACCESSED;
	d.dirty = bits & PTE_BIT_DIRTY;
	d.soft_dirty = bits & PTE_BIT_SOFT_DIRTY;
	d.special = bits & PTE_BIT_SPECIAL;
	d.uffd_wp = bits & PTE_BIT_UFFD_WP;
	return arch_pte_encode(d, 0);
}
#else
static inline bool arch_pte_has(pteval_t v, unsigned bits)
{
	return (v & arch_pte_bits(bits)) == arch_pte_bits(bits);
}

static inline pteval_t arch_pte_edit(pteval_t v, unsigned set, unsigned clear)
{
	return (v | arch_pte_bits(set)) & ~arch_pte_bits(clear);
}
#endif

/*
 * cpu.h, the live part's types and inlines:
 *   struct arch_space             one address space's machine state (root, ASID, CPU mask)
 *   hal_phys_to_virt, hal_virt_to_phys, hal_pte_*, hal_irq_*, hal_cpu_id
 * It may define any function below as static inline; it then also defines the macro
 * HAL_INLINE_<name> so that the prototype here is skipped.
 */
#include "cpu.h"

/* ---- first life: a log line and an end ------------------------------------------------------ */

/* Writes n bytes to whatever shows them to a person. Any context, never fails. */
void hal_log(const char *s, size_t n);

/* Ends the machine with a status (0 is success). Does not return. Any context. */
_Noreturn void hal_exit(int status);

/* ---- memory: what there is, and where the kernel sees it ------------------------------------ */

/* Calls fn for every range the firmware or the image knows, in any order, overlaps allowed. */
void hal_memory_ranges(void (*fn)(const struct mem_range *r, void *ctx), void *ctx);

const struct mmu_info *hal_mmu_info(void);
const struct kernel_layout *hal_kernel_layout(void);

/* The direct map: a RAM address and its kernel address. Never fails on RAM. */
#ifndef HAL_INLINE_direct_map
void *hal_phys_to_virt(phys_addr_t pa);
phys_addr_t hal_virt_to_phys(const void *va);
#endif

/* ---- the processor -------------------------------------------------------------------------- */

#ifndef HAL_INLINE_irq
irqflags_t hal_irq_save(void);         /* turn interrupts off, tell how they were */
void hal_irq_restore(irqflags_t flags); /* in the reverse order of the saves */
bool hal_irqs_off(void);
#endif
#ifndef HAL_INLINE_cpu
unsigned hal_cpu_id(void);   /* 0 .. hal_cpu_count()-1; CPU 0 booted */
unsigned hal_cpu_count(void); /* CPUs that there may be, at most 64; constant from the start on */
void hal_cpu_relax(void);    /* in a spin loop */
#endif
/* Bit n: CPU n is online, that is, it was started and answers calls. Bit 0 is always set. */
uint64_t hal_cpus_online(void);
/* Starts a CPU: fn(arg), interrupts on, the kernel's own space, on the stack that ends at stack_top
 * (kernel memory; the machine may keep a word of its own at its end). When fn returns the CPU idles,
 * and answers calls. Returns when it is online: 0. -EINVAL: there is no such CPU; -EBUSY: it was
 * started before; -EIO, -ETIMEDOUT: it did not start, and stays left out. Interrupts on. */
int hal_cpu_start(unsigned cpu, void *stack_top, void (*fn)(void *arg), void *arg);
/* Runs fn(arg) on every online CPU of mask but this one, and waits. fn runs with interrupts off and
 * takes no lock. Interrupts must be on if mask holds another CPU, else two callers could wait for each
 * other. */
void hal_ipi_call(uint64_t cpu_mask, void (*fn)(void *arg), void *arg);

/* Cycles or ticks, monotonic on one CPU; for statistics only. */
uint64_t hal_cycles(void);

/* ---- pages ---------------------------------------------------------------------------------- */

#ifndef HAL_INLINE_page
void hal_clear_page(void *page);
void hal_copy_page(void *dst, const void *src);
#endif

/* Tell a memory checker that [p, p+n) must not be touched, or may be again. Mostly empty. */
#ifndef HAL_INLINE_poison
void hal_poison(const void *p, size_t n);
void hal_unpoison(const void *p, size_t n);
#endif

/* ---- live page-table entries, atomic against a hardware walker ------------------------------ */

#ifndef HAL_INLINE_pte
/* An acquire: what the entry leads to is seen as it was when the entry was stored. */
pteval_t hal_pte_get(const pteval_t *p);
/* A release, and no exchange, of a whole entry; the caller holds the table's lock and p was absent,
 * or the change is one the hardware cannot race with. */
void hal_pte_set(pteval_t *p, pteval_t v);
pteval_t hal_pte_xchg(pteval_t *p, pteval_t v);
/* Stores v if *p == old; returns what was there. */
pteval_t hal_pte_cmpxchg(pteval_t *p, pteval_t old, pteval_t v);
/* Clears the accessed bit of a leaf; returns the old word. No flush. */
pteval_t hal_pte_clear_accessed(pteval_t *p, unsigned level);
/* Takes the write right of a leaf away, keeps accessed and dirty; returns the old word. No flush. */
pteval_t hal_pte_wrprotect(pteval_t *p, unsigned level);
#endif

/* ---- address spaces ------------------------------------------------------------------------- */

/* Prepares s over root, a zeroed table of the top level: puts the kernel's half into it where the
 * machine keeps it there. user: false for a supervisor space. Returns 0 or -ENOMEM. */
int hal_space_init(struct arch_space *s, pfn_t root, bool user);
/* The space is gone; no CPU uses it any more (the machine falls back to the kernel's own). */
void hal_space_destroy(struct arch_space *s);
/* Makes s the running CPU's space; NULL: the kernel's own. Interrupts off. */
void hal_space_switch(struct arch_space *s);

/* An absent entry for va became present. After the store, before the access is retried. */
#ifndef HAL_INLINE_published
void hal_pt_published(struct arch_space *s, uintptr_t va);
#endif
/* Present entries of [start, end) at this level changed to anything else. Returns when no CPU
 * holds an old translation. freed_tables: tables below that level were taken away too. */
void hal_tlb_flush(struct arch_space *s, uintptr_t start, uintptr_t end, unsigned level,
		   bool freed_tables);
/* [start, start+n) (kernel addresses of page contents) holds new code about to be mapped
 * executable; on return every CPU fetches what was written. */
void hal_icache_sync(const void *start, size_t n);

/* ---- kernel half ---------------------------------------------------------------------------- */

/* Maps npages at va inside the kernel layout's vmemmap or vmalloc range. alloc gives table pages.
 * Returns 0, -ENOMEM, or -EUCLEAN where the machine's own table is corrupt, which it also tells its
 * log (then nothing of the range is mapped). prot: KMAP_*, never W and X. */
int hal_kernel_map(uintptr_t va, pfn_t pfn, size_t npages, unsigned prot, enum mem_type mt,
		   table_alloc_fn alloc, void *ctx);
/* Takes the entries away; CPUs may go on using what they cached until hal_kernel_flush(), and until
 * then nothing may be mapped there again. Holes are allowed; tables stay. Never needs memory. */
void hal_kernel_unmap(uintptr_t va, size_t npages);
/* On return no CPU reaches anything through [start, end) that was unmapped before the call. One
 * call may cover many unmappings and what lies between them; a wide range costs one full flush. */
void hal_kernel_flush(uintptr_t start, uintptr_t end);

/* ---- user memory, with fix-up --------------------------------------------------------------- */

/* Copy n bytes; returns how many were NOT copied (0: all). The current space is the user's. The
 * range must lie below user_end or nothing is copied. May sleep (may fault). */
size_t hal_copy_from_user(void *dst, uintptr_t src, size_t n);
size_t hal_copy_to_user(uintptr_t dst, const void *src, size_t n);
size_t hal_clear_user(uintptr_t dst, size_t n);

#endif
