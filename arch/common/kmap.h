/* SPDX-License-Identifier: MIT */
/*
 * Kernel-range page tables, built and changed before and beside the core: the boot direct map, the
 * image, vmemmap and vmalloc. Neutral: it knows entries only through arch_pte_encode() and
 * arch_pte_decode(), so every machine shares it. No locks: one caller at a time is the machine's
 * (boot) or the core's (hal_kernel_map) business. It never flushes: the caller that unmaps does.
 */
#ifndef ARCH_COMMON_KMAP_H
#define ARCH_COMMON_KMAP_H

#include "arch/hal.h"

struct kmap {
	pfn_t root;		/* the top table */
	unsigned levels;	/* of the tables under root, root's included */
	unsigned leaf_levels;	/* bit n: leaves of level n may be made; bit 0 is always set */
	uintptr_t table_offset; /* added to a table's physical address gives where it is reached */
	table_alloc_fn alloc;	/* gives zeroed table pages */
	void *ctx;
};

/* Bytes that one entry of this level covers. */
static inline uint64_t kmap_entry_size(unsigned level)
{
	return 1ull << (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS);
}

/* Maps [va, va + size) to pa on, with the largest leaves that alignment and leaf_levels allow.
 * proto gives the rights and type; its pfn and kind are ignored. All whole pages. 0; -ENOMEM,
 * -EEXIST (something is mapped there) or -EUCLEAN (an entry is corrupt), and then nothing that this
 * call mapped stays. */
__attribute__((warn_unused_result)) int kmap_map(const struct kmap *k, uintptr_t va,
						 phys_addr_t pa, uint64_t size,
						 struct pte_desc proto);

/* Clears every leaf that lies wholly in [va, va + size); holes are allowed, tables stay. A leaf
 * that is only partly inside is left alone and makes the result -EINVAL. A corrupt entry is treated
 * as a leaf and makes it -EUCLEAN; else 0. */
int kmap_unmap(const struct kmap *k, uintptr_t va, uint64_t size);

/* Makes sure that every entry of the top table in [va, va + size) has its table, so that spaces
 * that copied the top table see what is mapped there later. 0, -ENOMEM, -EEXIST or -EUCLEAN. */
__attribute__((warn_unused_result)) int kmap_reserve(const struct kmap *k, uintptr_t va,
						     uint64_t size);

/* How va translates: its entry (PTE_NONE if there is none) and that entry's level. */
struct pte_desc kmap_lookup(const struct kmap *k, uintptr_t va, unsigned *level);

/* Leaf description for kernel memory: KMAP_* rights, global, accessed and dirty already set. */
struct pte_desc kmap_prot(unsigned prot, enum mem_type mt);

#endif
