/* SPDX-License-Identifier: MIT */
/* What the memory system calls ask of rooms above theirs. Declared here, defined there: direct calls
 * that go upward (tools/check_rooms.py lists them). */
#ifndef MM_SPACE_HOOKS_H
#define MM_SPACE_HOOKS_H

#include "mm/space/vma.h"

/* fault/memory.c. Resolves a fault at addr, which lies in vma and is allowed by it: walks, allocates
 * tables, picks one row. *row tells which. mmap_lock held. Counts nothing. */
vm_fault_t handle_mm_fault(struct vm_area_struct *vma, uintptr_t addr, unsigned flags,
			   unsigned *row);

/*
 * reclaim/vmscan.c. The pages of [start, end) in vma that nobody else maps leave, as far as they can
 * without a swap device; the others stay as they are. mmap_lock for reading. Context: sleep. After
 * Linux' madvise_pageout.
 */
void pageout_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end);

#endif
