/* SPDX-License-Identifier: MIT */
/*
 * Pages in tables: filling entries on a fault, copying them for a fork, emptying them again. The
 * rows of the fault table (docs/fault.md) live here; fault.c chooses who asks.
 */
#ifndef MM_MEMORY_H
#define MM_MEMORY_H

#include "mm/table/gather.h"
#include "mm/table/pgtable.h"
#include "mm/space/vma.h"

/* Resolves a fault at addr, which lies in vma and is allowed by it: walks, allocates tables, picks
 * one row. *row tells which. mmap_lock held. Counts nothing. */
vm_fault_t handle_mm_fault(struct vm_area_struct *vma, uintptr_t addr, unsigned flags,
			   unsigned *row);
/* The same for who has walked already: pte is the level-0 entry of addr, or NULL. */
vm_fault_t __handle_mm_fault(struct vm_area_struct *vma, uintptr_t addr, unsigned flags, pte_t *pte,
			     unsigned *row);
/* How often each row was taken, since quire_init(); atomic. */
extern uint64_t fault_rows[];

/* One page for user memory at addr of vma (the place for a placement policy). NULL: none. */
struct page *alloc_pages_vma(gfp_t gfp, unsigned order, struct vm_area_struct *vma, uintptr_t addr);

/* The page that a present entry counts for; NULL for the zero page and special entries. */
struct page *vm_normal_page(const struct vm_area_struct *vma, pte_t pte);

/* Empties entries of a range of one VMA, into tlb. mapping != NULL: only that file's own pages. */
void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t start,
		      uintptr_t end, const struct address_space *mapping);
/* The same over a chain of VMAs. */
void unmap_vmas(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t start, uintptr_t end);
/* Frees the tables that only these (unlinked) VMAs used. */
void free_pgtables(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t floor,
		   uintptr_t ceiling);
/* Empties [start, start + size), any VMAs. mmap_lock for reading at least. */
void zap_page_range(struct vm_area_struct *vma, uintptr_t start, size_t size);

/* Copies entries of src to the forked dst, write-protecting both. 0 or -ENOMEM. */
int copy_page_range(struct vm_area_struct *dst, struct vm_area_struct *src);
/* Moves entries of [old, old + len) in vma to new_addr in new_vma. Returns bytes moved. */
size_t move_page_tables(struct vm_area_struct *vma, uintptr_t old, struct vm_area_struct *new_vma,
			uintptr_t new_addr, size_t len, bool need_rmap_locks);

/* Takes an object's page away from every space. len 0: to the end. */
void unmap_mapping_range(struct address_space *m, uint64_t start, uint64_t len, bool even_cows);

#endif
