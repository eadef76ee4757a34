/* SPDX-License-Identifier: MIT */
/*
 * mmu_gather, the TLB batch of a teardown: what was unmapped waits here until the translations are
 * flushed, then is freed in bulk. No frame and no table is freed before the flush that covers it.
 * One flush for a whole teardown, as long as there is memory to remember the pages; else one per
 * batch.
 */
#ifndef MM_GATHER_H
#define MM_GATHER_H

#include "mm/base/mm_types.h"

#define GATHER_LOCAL 64 /* pages remembered without any memory: half a KiB of stack */
#define GATHER_BATCHES 20 /* pages of pointers at most: 10,000 pages, then a flush in between */

struct gather_batch {
	struct gather_batch *next;
	unsigned nr, max;
	struct page *pages[];
};

struct mmu_gather {
	struct mm_struct *mm;
	uintptr_t start, end;	 /* what has to be flushed; start >= end: nothing */
	bool freed_tables;
	unsigned nr_batches;
	struct gather_batch *batches, *active;
	struct list_head tables; /* by page->lru */
	unsigned nr_local;
	struct page *local[GATHER_LOCAL];
};

void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm);
/* A present entry of [start, end) changed. */
static inline void tlb_note(struct mmu_gather *tlb, uintptr_t start, uintptr_t end)
{
	ASSERT_DEBUG(start < end);
	if (start < tlb->start)
		tlb->start = start;
	if (end > tlb->end)
		tlb->end = end;
}
/* Adds an unmapped page; the reference is the gather's now. Returns true when the gather is
 * full: the caller then calls tlb_flush_mmu() once it holds no spinning lock. Any context. */
bool tlb_remove_page(struct mmu_gather *tlb, struct page *page);
/* Adds a table that was taken out and spanned some of [start, end); it is the gather's now. */
void tlb_remove_table(struct mmu_gather *tlb, struct page *table, uintptr_t start, uintptr_t end);
/* Flushes, then frees what was gathered so far. */
void tlb_flush_mmu(struct mmu_gather *tlb);
/* The last flush; the gather is gone. */
void tlb_finish_mmu(struct mmu_gather *tlb);

#endif
