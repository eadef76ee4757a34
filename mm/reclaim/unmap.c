/* SPDX-License-Identifier: MIT */
/*
 * Taking a page out of every space that maps it, for reclaim. The page is locked, nobody's mmap_lock is
 * held: the reverse map's lock keeps the VMAs that it leads to, and with them their tables; the table's
 * lock keeps the entry. Whoever changes VMAs or moves entries at that moment hides a page for a while,
 * which costs nothing but this attempt.
 *
 * An entry is emptied first, then becomes what it shall be, under one hold of the table's lock. The
 * translations that CPUs keep of it are flushed for many pages at once (struct unmap_batch): a flush
 * asks every CPU that the space runs on. Three rules make that safe.
 *
 * 1. The page stays locked until the flush. A fault finds its entry gone and waits for the lock, so
 *    nobody maps the page, or a copy of it, while another thread still uses the old translation. Nothing
 *    is written to a device and nothing freed before, for both come after the flush (shrink_page.c). A
 *    translation that was clean cannot write: to set the dirty bit the CPU would have to look at the
 *    entry. One that was dirty can, so the page is dirty, and is written after the flush.
 * 2. The space is marked (tlb_flush_batched) before the table is unlocked. Who then finds the entry
 *    without a page, and returns to a program that relies on it (munmap, mprotect, mremap, madvise,
 *    fork, exit, truncation), flushes itself: flush_tlb_batched_pending().
 * 3. Where a fault would not come to the page's lock the flush is made at once: an entry that becomes
 *    empty though the page is anonymous (MADV_FREE). So is it where the batch has no room for one more
 *    space.
 */
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/object/filemap.h"
#include "mm/reclaim/shrink.h"
#include "mm/rmap/rmap.h"
#include "mm/space/mm.h"
#include "mm/table/pgtable.h"

struct unmap {
	struct unmap_batch *batch;
	bool failed;
};

/* The entry of addr was emptied: its translations go with the batch's flush. Table locked. False: there
 * is no room. */
static bool defer_flush(struct unmap_batch *b, struct mm_struct *mm, uintptr_t addr)
{
	unsigned i = 0;

	while (i < b->nr && b->space[i].mm != mm)
		i++;
	if (i == UNMAP_SPACES)
		return false;
	if (i == b->nr) {
		b->nr++;
		b->space[i].mm = mm;
		b->space[i].start = addr;
		b->space[i].end = 0;
		/* The reverse map's lock keeps the space till here. */
		mmgrab(mm);
		/* Seen by who locks the table after us, or finds it empty (table_entry_went()). */
		__atomic_fetch_add(&mm->tlb_flush_batched, 1, __ATOMIC_RELAXED);
	}
	b->space[i].start = min(b->space[i].start, addr);
	b->space[i].end = max(b->space[i].end, addr + PAGE_SIZE);
	return true;
}

void try_to_unmap_flush(struct unmap_batch *b)
{
	might_sleep();
	for (unsigned i = 0; i < b->nr; i++) {
		struct mm_struct *mm = b->space[i].mm;

		ASSERT_DEBUG(READ_ONCE(mm->tlb_flush_batched));
		hal_tlb_flush(&mm->arch, b->space[i].start, b->space[i].end, 0, false);
		count_vm_event(UNMAP_FLUSHES);
		__atomic_fetch_sub(&mm->tlb_flush_batched, 1, __ATOMIC_RELEASE);
		mmdrop(mm);
	}
	b->nr = 0;
}

/* What tables hold is looked at without their locks too, and none is not looked at any further: then the
 * mark must be seen. */
static void table_entry_went(const pte_t *pte)
{
	struct page *table = pt_page(pte);

	assert_pte_locked(pte);
	ASSERT_DEBUG_I("I29", table->private);
	__atomic_store_n(&table->private, table->private - 1, __ATOMIC_RELEASE);
}

/* The entry gets back what stood there. It was empty, and nobody saw it so. */
static void restore_pte(struct vm_area_struct *vma, uintptr_t addr, pte_t *pte, pte_t v)
{
	assert_pte_locked(pte);
	sync_code(v);
	set_pte(pte, v);
	hal_pt_published(&vma->vm_mm->arch, addr);
}

/* A page that MADV_FREE gave up: nothing is lost unless it was written since, or somebody who has a
 * reference may still write. False: it is an ordinary page again. */
static bool may_discard(struct page *page)
{
	assert_page_locked(page);
	/* Ours, and one for each entry, this one among them. */
	if (!page_test(page, PG_dirty) && page_count(page) == 1 + page_mapcount(page))
		return true;
	if (page_test(page, PG_dirty))
		page_set(page, PG_swapbacked);
	return false;
}

/* What an anonymous page's entry becomes: *out. False: it has to stay. */
static bool anon_entry(struct page *page, struct pte_desc d, pte_t *out)
{
	assert_page_locked(page);
	*out = 0;
	if (!page_test(page, PG_swapbacked))
		return may_discard(page);
	if (!PageSwapCache(page) || swap_duplicate(page_swap_entry(page)))
		return false;
	*out = swp_entry_to_pte(page_swap_entry(page), d);
	return true;
}

/* No CPU may use what the entry was, now or when the batch is flushed. An anonymous page whose entry
 * becomes empty: a fault there would not come to the page's lock. Table locked. */
static void flush_unmapped(struct page *page, struct unmap_batch *batch, struct mm_struct *mm, uintptr_t addr)
{
	bool meets_lock = !PageAnon(page) || page_test(page, PG_swapbacked);

	assert_page_locked(page);
	if (meets_lock && defer_flush(batch, mm, addr))
		return;
	hal_tlb_flush(&mm->arch, addr, addr + PAGE_SIZE, 0, false);
	count_vm_event(UNMAP_FLUSHES);
}

/* Takes the one entry away, with its reference. Page and table locked. False: it stays. */
static bool unmap_pte(struct page *page, struct vm_area_struct *vma, uintptr_t addr, pte_t *pte,
		      struct unmap_batch *batch)
{
	struct mm_struct *mm = vma->vm_mm;
	pte_t old = hal_pte_xchg(pte, 0), now = 0;
	struct pte_desc d = pte_desc(old);

	assert_page_locked(page);
	assert_pte_locked(pte);
	if (d.kind == PTE_LEAF)
		flush_unmapped(page, batch, mm, addr);
	if (d.dirty)
		set_page_dirty(page);
	if (PageAnon(page) && !anon_entry(page, d, &now)) {
		restore_pte(vma, addr, pte, old);
		return false;
	}
	count_vm_event(UNMAP_ENTRIES);
	update_hiwater_rss(mm);
	add_mm_counter(mm, mm_counter(page), -1);
	if (now) {
		add_mm_counter(mm, MM_SWAPENTS, 1);
		set_pte(pte, now);
	} else {
		table_entry_went(pte);
	}
	page_remove_rmap(page);
	/* Ours is left. */
	__atomic_fetch_sub(&page->_refcount, 1, __ATOMIC_ACQ_REL);
	return true;
}

static bool try_to_unmap_one(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	struct unmap *u = ctx;
	pte_t *pte = pt_find(vma->vm_mm, addr), v;

	assert_page_locked(page);
	if (!pte)
		return true;
	ptl_lock(pte_lockptr(pte));
	v = pte_get(pte);
	if (pte_present(v) && pte_pfn(v).n == page_to_pfn(page).n) {
		/* A page that came to a locked VMA unnoticed: from now on scans leave it alone. */
		if (vma_flags_now(vma) & VM_LOCKED)
			lru_mlock(page);
		/* Of a private page that is pinned: who maps it would find another one, sooner or later. Pins come
		 * under the table's lock. */
		u->failed = vma_flags_now(vma) & VM_LOCKED || (PageAnon(page) && page_maybe_pinned(page)) ||
			    !unmap_pte(page, vma, addr, pte, u->batch);
	}
	ptl_unlock(pte_lockptr(pte));
	return !u->failed && page_mapcount(page) > 0;
}

bool try_to_unmap(struct page *page, struct unmap_batch *batch)
{
	struct unmap u = {.batch = batch};

	assert_page_locked(page);
	ASSERT_DEBUG_I("I7", page_count(page) > page_mapcount(page));
	if (page_mapcount(page) > 0)
		rmap_walk(page, try_to_unmap_one, &u);
	return page_mapcount(page) == 0;
}
