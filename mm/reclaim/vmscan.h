/* SPDX-License-Identifier: MIT */
/* Reclaim: what leaves memory, and how. See vmscan.c. */
#ifndef MM_VMSCAN_H
#define MM_VMSCAN_H

#include "mm/space/vma.h"

/*
 * The pages of [start, end) in vma that nobody else maps leave, as far as they can without a swap
 * device; the others stay as they are. mmap_lock for reading. Context: sleep. After Linux'
 * madvise_pageout.
 */
void pageout_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end);

#endif
