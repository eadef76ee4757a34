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

/* Reclaim has taken entries of the space away, and not flushed yet. */
static inline bool tlb_flush_batched(const struct mm_struct *mm)
{
	return __atomic_load_n(&mm->tlb_flush_batched, __ATOMIC_ACQUIRE) != 0;
}

/* For who changes what a range means without a gather, after its tables' locks were held and before the
 * program relies on it: what reclaim has emptied there is flushed too when it returns. Any context with
 * interrupts on. */
static inline void flush_tlb_batched_pending(struct mm_struct *mm)
{
	if (unlikely(tlb_flush_batched(mm)))
		hal_tlb_flush(&mm->arch, mm->start, mm->task_size, 0, false);
}

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
/* Adds an unmapped page; the reference is the gather's now. Returns true when there is no room for
 * another: once it holds no spinning lock, the caller makes some. Any context. */
bool tlb_remove_page(struct mmu_gather *tlb, struct page *page);
/* Room for more pages, after tlb_remove_page() was true. False: there is no memory, or enough was gathered;
 * tlb_flush_mmu() makes room then. It allocates, which takes long where pages are few: no spinning lock. */
bool tlb_make_room(struct mmu_gather *tlb);
/* Adds a table that was taken out and spanned some of [start, end); it is the gather's now. */
void tlb_remove_table(struct mmu_gather *tlb, struct page *table, uintptr_t start, uintptr_t end);
/* Flushes, and frees nothing. Any context with interrupts on. */
void tlb_flush_mmu_tlbonly(struct mmu_gather *tlb);
/* Flushes, then frees what was gathered so far. */
void tlb_flush_mmu(struct mmu_gather *tlb);
/* The last flush; the gather is gone. */
void tlb_finish_mmu(struct mmu_gather *tlb);

#endif
