/* SPDX-License-Identifier: MIT */
/*
 * What becomes of each page that a scan took off a list (Linux' shrink_page_list):
 *
 *   isolated page
 *   |- locked by somebody, or being used by what holds its lock ........... kept
 *   |- locked in memory (mlock, or its file's: SHM_LOCK) .................. kept, put where it belongs
 *   |- being written ...................................................... activated: it goes when the write is over
 *   |- used lately (page_check_references) ................................ activated, or kept for a second look
 *   |- anonymous without a slot: add_to_swap .............................. none is free: activated
 *   |- mapped: try_to_unmap ............................................... some entry stays: activated
 *   |  ---- up to 32 pages come to this point, locked; then one flush for all of them ----
 *   |- dirty: pageout ..................................................... kept until it is written
 *   |- somebody has a reference (remove_mapping) .......................... kept
 *   `- else it is freed; its slot, or its place in its file, remembers when it left
 *
 * The order keeps every byte: entries go, and are flushed, before the dirty flag is looked at for the
 * last time, and the page leaves its cache only while nobody can come by it: its count is frozen under
 * the lock that every look-up takes.
 *
 * Linux 5.10 goes through all of it page by page, and flushes before each write: a batch of dirty pages
 * saves nothing there. Here the flush stands between the two halves. Several locks of pages are held
 * meanwhile, each taken by trylock, and for no wait but that for the reverse map's locks. After the
 * flush clean pages go first; dirty ones are unlocked, and each locked again for its own write: a device
 * may stall there.
 *
 * Writes are collected and given to the device together, 32 at a time, at the latest at the end.
 *
 * Files. A dirty page of a file is kept: writing it back is the flusher's (mm/object/writeback.c), whom the
 * scan calls. Shared memory goes to swap (shmem_swap_out).
 *
 * Locks: page locks by trylock; the reverse map's for reading. mmap_lock is neither taken nor needed.
 */
#include "mm/base/memalloc.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/lru/workingset.h"
#include "mm/object/filemap.h"
#include "mm/phys/page_alloc.h"
#include "mm/reclaim/vmscan.h"
#include "mm/rmap/rmap.h"
#include "mm/space/hooks.h"
#include "mm/table/pgtable.h"

#define FREE_BATCH_PAGES 32u

enum page_references { PAGEREF_RECLAIM, PAGEREF_KEEP, PAGEREF_ACTIVATE };
enum pageout { PAGE_KEEP, PAGE_ACTIVATE, PAGE_SUCCESS, PAGE_CLEAN };
/* What becomes of a page; the first two come unlocked. */
enum shrunk { PAGE_FREED, PAGE_KEPT, PAGE_KEPT_LOCKED, PAGE_ACTIVATED, PAGE_UNMAPPED };

struct pageout_range {
	struct vm_area_struct *vma;
	struct list_head pages; /* isolated */
};

struct shrink {
	struct scan_control *sc;
	struct reclaim_stat *stat;
	bool ignore_references;
	struct list_head unmapped; /* locked, without an entry; not flushed yet */
	unsigned nr_unmapped;
	struct unmap_batch batch;
	struct list_head *kept;
	unsigned freed;
	struct swap_plug plug;
	struct page *dead[FREE_BATCH_PAGES]; /* count 0, in no cache, unlocked */
	unsigned nr_dead;
};

static void free_dead(struct shrink *s)
{
	if (s->nr_dead)
		free_page_bulk(s->dead, s->nr_dead);
	s->nr_dead = 0;
}

/* As Linux 5.10: all mapped pages were used once, by the fault that mapped them; so what is seen used
 * gets a second look before it counts as hot. */
static enum page_references page_check_references(struct page *page)
{
	vm_flags_t vm_flags;
	int ptes = page_referenced(page, true, &vm_flags);
	bool before = page_test_and_clear(page, PG_referenced);

	assert_page_locked(page);
	if (vm_flags & VM_LOCKED)
		return PAGEREF_RECLAIM; /* try_to_unmap() will say no */
	if (ptes) {
		page_set(page, PG_referenced);
		if (before || ptes > 1)
			return PAGEREF_ACTIVATE;
		if (vm_flags & VM_EXEC && page_is_file_lru(page))
			return PAGEREF_ACTIVATE;
		return PAGEREF_KEEP;
	}
	return PAGEREF_RECLAIM;
}

/* Nobody but isolation and the cache has a reference. */
static bool is_page_cache_freeable(const struct page *page)
{
	return page_count(page) == 2;
}

/* Starts to write a dirty page, unmapped and in a cache. PAGE_SUCCESS: it was unlocked. */
static enum pageout pageout(struct page *page, struct swap_plug *plug)
{
	assert_page_locked(page);
	/* Whoever else has it may be about to change it, or keeps it: it is not going to be freed. */
	if (!is_page_cache_freeable(page))
		return PAGE_KEEP;
	if (PageAnon(page) && !PageSwapCache(page)) /* nobody needs it any more: it goes when we let go */
		return PAGE_KEEP;
	if (!PageSwapCache(page) && (!page->mapping || !shmem_swap_out(page)))
		return PAGE_ACTIVATE;
	if (!page_test_and_clear(page, PG_dirty))
		return PAGE_CLEAN;
	page_set(page, PG_reclaim);
	if (!swap_writepage(page, plug)) {
		page_clear(page, PG_reclaim);
		return PAGE_ACTIVATE;
	}
	if (!page_test(page, PG_writeback))
		page_clear(page, PG_reclaim);
	return PAGE_SUCCESS;
}

/* Takes a page out of its cache, if nobody else has a reference: true, and its count is 0. */
static bool remove_mapping(struct page *page)
{
	assert_page_locked(page);
	if (!PageSwapCache(page))
		return !PageAnon(page) && page->mapping && filemap_remove_frozen(page);
	if (!page_ref_freeze(page, 2))
		return false;
	/* Looked at after the count: who made it dirty had a reference or an entry, which is gone. */
	if (page_test(page, PG_dirty) || page_test(page, PG_writeback)) {
		page_ref_unfreeze(page, 2);
		return false;
	}
	delete_frozen_from_swap_cache(page, workingset_eviction(page));
	return true;
}

/* The same of one that was given up by MADV_FREE: it is in no cache. */
static bool remove_lazyfree(struct page *page)
{
	assert_page_locked(page);
	if (!page_ref_freeze(page, 1))
		return false;
	if (page_test(page, PG_dirty)) {
		page_ref_unfreeze(page, 1);
		return false;
	}
	count_vm_event(PGLAZYFREED);
	return true;
}

static void note_dirty_writeback(struct reclaim_stat *stat, const struct page *page)
{
	bool dirty, writeback;

	/* Anonymous pages are written by who scans: it waits for nobody. */
	if (!page_is_file_lru(page) || PageAnon(page))
		return;
	dirty = page_test(page, PG_dirty);
	writeback = page_test(page, PG_writeback);
	stat->nr_dirty += dirty || writeback;
	stat->nr_unqueued_dirty += dirty && !writeback;
	stat->nr_congested += writeback && page_test(page, PG_reclaim);
}

/* Being written: it is worth waiting for nobody here. PG_reclaim brings it back to the cold end when
 * the write is over. */
static enum shrunk still_written(struct shrink *s, struct page *page)
{
	if (current_flags() & PF_KSWAPD && page_test(page, PG_reclaim)) {
		s->stat->nr_immediate++;
	} else {
		page_set(page, PG_reclaim);
		s->stat->nr_writeback++;
	}
	return PAGE_ACTIVATED;
}

/* The page has no entry left, is not dirty, and not being written: out of its cache, and free. */
static enum shrunk shrink_clean(struct shrink *s, struct page *page)
{
	bool lazyfree = PageAnon(page) && !page_test(page, PG_swapbacked);

	assert_page_locked(page);
	if (!(lazyfree ? remove_lazyfree(page) : remove_mapping(page)))
		return PAGE_KEPT_LOCKED;
	unlock_page(page);
	if (s->nr_dead == FREE_BATCH_PAGES)
		free_dead(s);
	s->dead[s->nr_dead++] = page;
	return PAGE_FREED;
}

/* Whether a transfer of the page may be begun for who asks. */
static bool may_enter_fs(const struct scan_control *sc, const struct page *page)
{
	return sc->gfp_mask & __GFP_FS || (PageSwapCache(page) && sc->gfp_mask & __GFP_IO);
}

/* A dirty page without an entry, flushed. */
static enum shrunk shrink_dirty(struct shrink *s, struct page *page)
{
	assert_page_locked(page);
	if (!may_enter_fs(s->sc, page) || !s->sc->may_writepage)
		return PAGE_KEPT_LOCKED;
	switch (pageout(page, &s->plug)) {
	case PAGE_KEEP:
		return PAGE_KEPT_LOCKED;
	case PAGE_ACTIVATE:
		return PAGE_ACTIVATED;
	case PAGE_SUCCESS:
		s->stat->nr_pageout++;
		/* A device without delay may be done already. */
		if (page_test(page, PG_writeback) || page_test(page, PG_dirty) || !trylock_page(page))
			return PAGE_KEPT;
		if (page_test(page, PG_writeback) || page_test(page, PG_dirty))
			return PAGE_KEPT_LOCKED;
		break;
	case PAGE_CLEAN:
		break;
	}
	return shrink_clean(s, page);
}

/* Locked, referenced by isolation. */
static enum shrunk shrink_locked(struct shrink *s, struct page *page)
{
	enum page_references refs = PAGEREF_RECLAIM;
	struct scan_control *sc = s->sc;
	bool swapbacked;

	assert_page_locked(page);
	sc->nr_scanned++;
	if (page_test(page, PG_mlocked) || page_test(page, PG_unevictable))
		return PAGE_ACTIVATED;
	if (file_keeps(page)) {
		lru_cull(page);
		return PAGE_KEPT_LOCKED;
	}
	if (!sc->may_unmap && page_mapcount(page) > 0)
		return PAGE_KEPT_LOCKED;
	note_dirty_writeback(s->stat, page);
	if (page_test(page, PG_writeback))
		return still_written(s, page);
	if (!s->ignore_references)
		refs = page_check_references(page);
	if (refs == PAGEREF_ACTIVATE)
		return PAGE_ACTIVATED;
	if (refs == PAGEREF_KEEP) {
		s->stat->nr_ref_keep++;
		return PAGE_KEPT_LOCKED;
	}
	/* The last write of it failed. It stays, until no entry needs the slot; then it gets another one. */
	if (PageSwapCache(page) && page_test(page, PG_error) && PageUptodate(page) &&
	    !try_to_free_swap(page))
		return PAGE_ACTIVATED;
	if (PageAnon(page) && page_test(page, PG_swapbacked) && !PageSwapCache(page)) {
		if (!(sc->gfp_mask & __GFP_IO) || page_maybe_pinned(page))
			return PAGE_KEPT_LOCKED;
		if (!add_to_swap(page))
			return PAGE_ACTIVATED;
	}
	swapbacked = page_test(page, PG_swapbacked);
	if (page_mapcount(page) > 0 && !try_to_unmap(page, &s->batch)) {
		/* It is unlocked now, and some of its entries may have gone. */
		try_to_unmap_flush(&s->batch);
		s->stat->nr_unmap_fail++;
		s->stat->nr_lazyfree_fail += !swapbacked && page_test(page, PG_swapbacked);
		return PAGE_ACTIVATED;
	}
	if (page_test(page, PG_dirty) && page_is_file_lru(page)) {
		page_set(page, PG_reclaim);
		try_to_unmap_flush(&s->batch);
		return PAGE_ACTIVATED;
	}
	return PAGE_UNMAPPED;
}

/* Kept, and worth more than others. */
static void activate(struct shrink *s, struct page *page)
{
	assert_page_locked(page);
	/* It stays in memory: if slots are scarce it gives its own up. */
	if (PageSwapCache(page) && (vm_swap_full() || page_test(page, PG_mlocked)))
		try_to_free_swap(page);
	if (!page_test(page, PG_mlocked)) {
		page_set(page, PG_active);
		s->stat->nr_activate[page_is_file_lru(page)]++;
		count_vm_event(PGACTIVATE);
	}
}

/* To where the page belongs. */
static void settle(struct shrink *s, struct page *page, enum shrunk what)
{
	if (what == PAGE_FREED) {
		s->freed++;
		return;
	}
	if (what == PAGE_UNMAPPED) {
		list_add_tail(&page->lru, &s->unmapped);
		s->nr_unmapped++;
		return;
	}
	if (what == PAGE_ACTIVATED)
		activate(s, page);
	if (what == PAGE_ACTIVATED || what == PAGE_KEPT_LOCKED)
		unlock_page(page);
	list_add(&page->lru, s->kept);
}

/* The second half, for those that have lost their entries: in the order in which they came. */
static void shrink_unmapped(struct shrink *s)
{
	struct page *page, *next;

	try_to_unmap_flush(&s->batch);
	list_for_each_entry_safe(page, next, &s->unmapped, lru) {
		if (page_test(page, PG_dirty)) {
			unlock_page(page);
			continue;
		}
		list_del(&page->lru);
		settle(s, page, shrink_clean(s, page));
	}
	while (!list_empty(&s->unmapped)) {
		enum shrunk what = PAGE_KEPT;

		page = list_first_entry(&s->unmapped, struct page, lru);
		list_del(&page->lru);
		/* Meanwhile somebody may have come for it. */
		if (trylock_page(page))
			what = page_mapcount(page) > 0 || page_test(page, PG_writeback) ? PAGE_KEPT_LOCKED :
			       page_test(page, PG_dirty) ? shrink_dirty(s, page) : shrink_clean(s, page);
		settle(s, page, what);
		os_cond_resched();
	}
	s->nr_unmapped = 0;
}

unsigned shrink_page_list(struct list_head *page_list, struct scan_control *sc,
			  struct reclaim_stat *stat, bool ignore_references)
{
	struct list_head kept = LIST_HEAD_INIT(kept);
	struct shrink s = {
		.sc = sc, .stat = stat, .ignore_references = ignore_references,
		.unmapped = LIST_HEAD_INIT(s.unmapped), .kept = &kept, .plug = SWAP_PLUG_INIT,
	};

	might_sleep();
	*stat = (struct reclaim_stat){0};
	while (!list_empty(page_list)) {
		struct page *page = list_entry(page_list->prev, struct page, lru);

		list_del(&page->lru);
		settle(&s, page, trylock_page(page) ? shrink_locked(&s, page) : PAGE_KEPT);
		if (s.nr_unmapped == SWAP_CLUSTER_MAX)
			shrink_unmapped(&s);
		os_cond_resched();
	}
	shrink_unmapped(&s);
	swap_plug_flush(&s.plug);
	free_dead(&s);
	list_splice_init(&kept, page_list);
	return s.freed;
}

/* ---- what a program names ---------------------------------------------------------------------- */

unsigned reclaim_pages(struct list_head *page_list)
{
	struct scan_control sc = {
		.gfp_mask = GFP_KERNEL,
		.priority = DEF_PRIORITY,
		.may_writepage = true,
		.may_unmap = true,
		.may_swap = true,
	};
	struct reclaim_stat stat;
	unsigned long flags = memalloc_noreclaim_save();
	unsigned freed = shrink_page_list(page_list, &sc, &stat, true);

	putback_lru_pages(page_list);
	memalloc_noreclaim_restore(flags);
	return freed;
}

/* Takes the pages of one table that only this entry names off their lists. */
static int isolate_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct page *table = pt_page(pte);
	struct pageout_range *p = ctx;

	assert_held_any(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	for (; start != end && table->private; start += PAGE_SIZE, pte++) {
		pte_t v = pte_get(pte);
		struct page *page = pte_present(v) ? vm_normal_page(p->vma, v) : NULL;

		if (page && page_mapcount(page) == 1 && isolate_lru_page(page)) {
			page_clear(page, PG_referenced);
			if (page_test(page, PG_unevictable))
				putback_lru_page(page);
			else
				list_add(&page->lru, &p->pages);
		}
		ptl_breathe_every(&table->ptl, pte_index_of(pte) + 1, PTL_BATCH_PAGE);
	}
	ptl_unlock(&table->ptl);
	reclaim_pages(&p->pages);
	return 0;
}

void pageout_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end)
{
	struct pageout_range p = {.vma = vma, .pages = LIST_HEAD_INIT(p.pages)};

	assert_held_any(&vma->vm_mm->mmap_lock);
	ASSERT(start >= vma->vm_start && end <= vma->vm_end);
	pt_for_each(vma->vm_mm, start, end, isolate_pte_range, &p);
}
