/* SPDX-License-Identifier: MIT */
/* Upward calls of mm/space/: faults and page-out, which memory system calls need of the rooms
 * above. Declared here, defined there, called directly (tools/check_rooms.py lists them). */
#ifndef MM_SPACE_HOOKS_H
#define MM_SPACE_HOOKS_H

#include "mm/space/vma.h"

/* fault/memory.c. Resolves a fault at addr, which lies in vma and is allowed by it: walks,
 * allocates tables, picks one row. *row tells which. mmap_lock held. Counts nothing. */
vm_fault_t handle_mm_fault(struct vm_area_struct *vma, uintptr_t addr, unsigned flags,
			   unsigned *row);

/*
 * reclaim/vmscan.c. Pages of [start, end) that only vma maps are reclaimed, as far as that is
 * possible without a swap device; the others stay as they are. mmap_lock for reading. Context:
 * sleep. After Linux' madvise_pageout.
 */
void pageout_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end);

#endif
