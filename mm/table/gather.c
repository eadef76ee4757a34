/* SPDX-License-Identifier: MIT */
/* mmu_gather, the TLB batch of a teardown: collect, flush once, free in bulk. See gather.h. */
#include "mm/table/gather.h"
#include "mm/table/pgtable.h"

void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm)
{
	ASSERT_DEBUG(mm);
	tlb->mm = mm;
	tlb->start = UINTPTR_MAX;
	tlb->end = 0;
	tlb->freed_tables = false;
	tlb->nr_batches = 0;
	tlb->batches = NULL;
	tlb->active = NULL;
	tlb->nr_local = 0;
	INIT_LIST_HEAD(&tlb->tables);
	/* Seen by a CPU that locks a table after us: the lock orders it before what we empty. */
	__atomic_fetch_add(&mm->tlb_flush_pending, 1, __ATOMIC_RELAXED);
}

bool tlb_make_room(struct mmu_gather *tlb)
{
	struct gather_batch *b = tlb->active ? tlb->active->next : tlb->batches;

	ASSERT_DEBUG(tlb->nr_batches <= GATHER_BATCHES);
	if (!b) {
		if (tlb->nr_batches == GATHER_BATCHES)
			return false;
		b = (struct gather_batch *)__get_free_pages(GFP_NOWAIT | __GFP_NOWARN, 0);
		if (!b)
			return false;
		b->next = NULL;
		b->nr = 0;
		b->max = (PAGE_SIZE - sizeof(*b)) / sizeof(b->pages[0]);
		tlb->nr_batches++;
		if (tlb->active)
			tlb->active->next = b;
		else
			tlb->batches = b;
	}
	tlb->active = b;
	return true;
}

bool tlb_remove_page(struct mmu_gather *tlb, struct page *page)
{
	struct gather_batch *b = tlb->active;

	ASSERT_DEBUG_I("I35", page_count(page) > 0);
	if (!b) {
		tlb->local[tlb->nr_local++] = page;
		return tlb->nr_local == GATHER_LOCAL;
	}
	b->pages[b->nr++] = page;
	return b->nr == b->max;
}

void tlb_remove_table(struct mmu_gather *tlb, struct page *table, uintptr_t start, uintptr_t end)
{
	ASSERT_DEBUG_I("I29", page_test(table, PG_table));
	tlb_note(tlb, start, end);
	tlb->freed_tables = true;
	list_add_tail(&table->lru, &tlb->tables);
}

/* Puts a reference of each; anonymous pages without another go back to the allocator in bulk. */
static void free_pages_gathered(struct page **pages, unsigned n)
{
	unsigned dead = 0;

	for (unsigned i = 0; i < n; i++) {
		struct page *page = pages[i];

		if (unlikely(PageSwapCache(page)))
			free_swap_cache(page);
		if (!PageAnon(page)) {
			put_page(page);
			continue;
		}
		if (__atomic_sub_fetch(&page->_refcount, 1, __ATOMIC_ACQ_REL) == 0)
			pages[dead++] = page;
	}
	if (dead)
		free_page_bulk(pages, dead);
}

static void free_tables_gathered(struct mmu_gather *tlb)
{
	struct page *table, *next;

	list_for_each_entry_safe(table, next, &tlb->tables, lru)
		pt_page_free(table);
	INIT_LIST_HEAD(&tlb->tables);
}

void tlb_flush_mmu_tlbonly(struct mmu_gather *tlb)
{
	if (tlb->start < tlb->end)
		hal_tlb_flush(&tlb->mm->arch, tlb->start, tlb->end, 0, tlb->freed_tables);
	tlb->start = UINTPTR_MAX;
	tlb->end = 0;
	tlb->freed_tables = false;
}

void tlb_flush_mmu(struct mmu_gather *tlb)
{
	might_sleep();
	/* Flush before anything is freed (I35). */
	tlb_flush_mmu_tlbonly(tlb);
	free_pages_gathered(tlb->local, tlb->nr_local);
	tlb->nr_local = 0;
	for (struct gather_batch *b = tlb->batches; b; b = b->next) {
		free_pages_gathered(b->pages, b->nr);
		b->nr = 0;
	}
	tlb->active = NULL;
	free_tables_gathered(tlb);
}

void tlb_finish_mmu(struct mmu_gather *tlb)
{
	struct mm_struct *mm = tlb->mm;
	struct gather_batch *next;

	/* Another gather of this space, or reclaim, has emptied entries that we found empty, and may not
	 * have flushed yet: our caller must not return before they are gone. */
	if (unlikely(__atomic_load_n(&mm->tlb_flush_pending, __ATOMIC_ACQUIRE) > 1 ||
		     tlb_flush_batched(mm)))
		tlb_note(tlb, mm->start, mm->task_size);
	tlb_flush_mmu(tlb);
	__atomic_fetch_sub(&mm->tlb_flush_pending, 1, __ATOMIC_RELEASE);
	for (struct gather_batch *b = tlb->batches; b; b = next) {
		next = b->next;
		free_pages((uintptr_t)b, 0);
	}
}
