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

/* Empties the entries of a chain of VMAs, as far as they lie in [start, end), into tlb. */
void unmap_vmas(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t start, uintptr_t end);
/* Frees the tables that only these (unlinked) VMAs used. */
void free_pgtables(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t floor,
		   uintptr_t ceiling);
/* Empties [start, start + size), any VMAs. mmap_lock for reading at least. */
void zap_page_range(struct vm_area_struct *vma, uintptr_t start, size_t size);
/* Each entry of the range, which lies in vma, is marked so that a write is told to a userfaultfd, and loses the right
 * to write; or is so no more, and the next write finds out what it may. mmap_lock for writing. */
void change_uffd_wp(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, bool on);
/* Takes the pages of a victim away under its users: private ones, and no locked ones. mmap_lock for
 * reading. */
void oom_reap_mm(struct mm_struct *mm);

#endif
