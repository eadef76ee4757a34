/* SPDX-License-Identifier: MIT */
/*
 * Page reclaim: try_to_free_pages(), the OOM killer's and kswapd's entry points, MADV_PAGEOUT.
 *
 * When frames run short the page allocator calls try_to_free_pages(): clean cached pages, vmalloc
 * areas that only wait for a flush, free objects in magazines. There is no LRU yet, so no page that
 * a program maps is reclaimed that way; there is no kswapd and no OOM killer.
 *
 * MADV_PAGEOUT reclaims what a program names. Only pages with a single entry are touched, so that a
 * program can neither learn nor slow down what others use.
 *
 * Without a swap device an anonymous page can leave only if its contents are not needed any more
 * (MADV_FREE, and not written since). A page of shared memory loses its entry; one that was never
 * written leaves its object too, for a hole reads the same.
 *
 * Locks: mmap_lock for reading, the table's lock for each entry; then, with no table locked, the
 * page lock of those that leave their object.
 */
#include "mm/reclaim/vmscan.h"
#include "mm/base/vmstat.h"
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include "mm/slab/slab.h"
#include "mm/space/range.h"
#include "mm/table/pgtable.h"
#include "mm/vmalloc/vmalloc.h"

struct pageout {
	struct mmu_gather *tlb;
	struct vm_area_struct *vma;
	bool clean_shmem; /* some pages of the object carry PG_reclaim now */
};

/* Whether page, which v names, could leave. Table locked. */
static bool may_leave(struct page *page, pte_t v)
{
	assert_table_locked();
	ASSERT_DEBUG_I("I7", page_mapcount(page) <= page_count(page));
	if (page_mapcount(page) != 1)
		return false;
	if (!PageAnon(page))
		return page_test(page, PG_swapbacked);
	if (page_test(page, PG_swapbacked))
		return false;
	/* Written again: an ordinary page from now on. */
	if (arch_pte_has(v, PTE_BIT_DIRTY) || page_test(page, PG_dirty)) {
		page_set(page, PG_dirty);
		page_set(page, PG_swapbacked);
		return false;
	}
	return page_count(page) == 1;
}

/* Empties one entry if its page can leave. Table locked. Returns true when the gather is full. */
static bool pageout_pte(struct pageout *p, pte_t *pte, uintptr_t addr)
{
	struct mm_struct *mm = p->vma->vm_mm;
	pte_t v = pte_get(pte);
	struct page *page = pte_present(v) ? vm_normal_page(p->vma, v) : NULL;

	assert_pte_locked(pte);
	if (!page || !may_leave(page, v))
		return false;
	v = ptep_get_and_clear(mm, pte);
	/* The machine may have written a dirty bit since v was read. */
	if (PageAnon(page) && arch_pte_has(v, PTE_BIT_DIRTY)) {
		page_set(page, PG_swapbacked);
		set_pte_at(mm, addr, pte, v);
		return false;
	}
	if (arch_pte_is_leaf(v))
		tlb_note(p->tlb, addr, addr + PAGE_SIZE);
	add_mm_counter(mm, mm_counter(page), -1);
	if (PageAnon(page)) {
		count_vm_event(PGLAZYFREED);
	} else if (arch_pte_has(v, PTE_BIT_DIRTY)) {
		set_page_dirty(page);
	} else if (!page_test(page, PG_dirty)) {
		page_set(page, PG_reclaim);
		p->clean_shmem = true;
	}
	page_remove_rmap(page);
	return tlb_remove_page(p->tlb, page);
}

static int pageout_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end,
			     void *ctx)
{
	struct page *table = pt_page(pte);
	struct pageout *p = ctx;
	bool full;

	assert_held_any(&mm->mmap_lock);
	while (start != end && __atomic_load_n(&table->private, __ATOMIC_RELAXED)) {
		full = false;
		ptl_lock(&table->ptl);
		for (; start != end && table->private && !full; start += PAGE_SIZE, pte++) {
			full = pageout_pte(p, pte, start);
			ptl_breathe(&table->ptl, pte_index_of(pte) + 1);
		}
		ptl_unlock(&table->ptl);
		if (full)
			tlb_flush_mmu(p->tlb);
	}
	return 0;
}

void pageout_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end)
{
	struct mmu_gather tlb;
	struct pageout p = {.tlb = &tlb, .vma = vma};

	assert_held_any(&vma->vm_mm->mmap_lock);
	ASSERT(start >= vma->vm_start && end <= vma->vm_end);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	update_hiwater_rss(vma->vm_mm);
	pt_for_each(vma->vm_mm, start, end, pageout_pte_range, &p);
	tlb_finish_mmu(&tlb);
	if (p.clean_shmem)
		reclaim_marked_pages(vma->vm_file->f_mapping, linear_page_index(vma, start),
				     linear_page_index(vma, end - 1));
}

/* ---- when frames run short ------------------------------------------------------------------- */

unsigned long try_to_free_pages(gfp_t gfp, unsigned order)
{
	unsigned long freed = 0;

	ASSERT(gfp & __GFP_DIRECT_RECLAIM);
	if (gfp & __GFP_FS && !lockdep_held())
		freed = drop_page_cache();
	/* What these free shows in the buddy's count, which the caller compares. */
	try_purge_vmap_area_lazy();
	slab_reclaim();
	return freed;
}

bool out_of_memory(gfp_t gfp, unsigned order)
{
	ASSERT(order < MAX_ORDER);
	return false; /* the allocation fails; a fault ends its own program */
}

bool wakeup_kswapd(struct zone *z, unsigned order)
{
	ASSERT_DEBUG(z && order < MAX_ORDER);
	return false; /* direct reclaim is all there is */
}

bool kswapd_is_running(void)
{
	return false;
}
