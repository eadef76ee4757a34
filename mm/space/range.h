/* SPDX-License-Identifier: MIT */
/*
 * Page-table entries of a range of addresses: emptying them (teardown.c), copying them for a fork
 * (fork.c), moving them (mremap.c). Faults fill them (mm/fault/).
 */
#ifndef MM_RANGE_H
#define MM_RANGE_H

#include "mm/space/vma.h"
#include "mm/table/gather.h"
#include "mm/table/pgtable.h"

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

#endif
