/* SPDX-License-Identifier: MIT */
/*
 * Unmapping: emptying entries and freeing page tables, for munmap, exit, truncation, MADV_DONTNEED.
 * Everything goes through one gather: entries first, then tables, then one flush, then the frames.
 * The walk visits only tables that exist and leaves one as soon as nothing in it is alive, so its
 * cost follows the pages that are mapped and not the range.
 */
#include "mm/lru/lru.h"
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include "mm/space/range.h"

#define ZAP_FULL 0x10000u /* in a cost: the gather is full */

struct zap {
	struct mmu_gather *tlb;
	const struct vm_area_struct *vma;
	unsigned long left;		     /* entries of the table, whose count falls later */
	bool flush;			     /* before the table is unlocked */
	const struct address_space *mapping; /* not NULL: only this file's own pages */
};

static bool zap_skips(const struct zap *z, const struct page *page)
{
	return z->mapping && page && page->mapping != z->mapping;
}

/* One entry fewer names the slot; what that cost. Only a page of the file's own has to go where z->mapping is
 * set: what was swapped out is a private copy. */
static unsigned zap_swap(struct zap *z, pte_t *pte, pte_t v, long rss[])
{
	assert_pte_locked(pte);
	if (z->mapping)
		return 1;
	hal_pte_xchg(pte, 0);
	z->left--;
	rss[MM_SWAPENTS]--;
	return free_swap_and_cache(pte_to_swp_entry(v)) ? PTL_COST_CACHED : PTL_COST_SLOT;
}

/* A page on the move: its reference and its mapping are gone already, its place in the counters is
 * not. The migration finds the entry empty. */
static void zap_migration(struct zap *z, pte_t *pte, pte_t v, long rss[])
{
	struct pte_desc d = pte_desc(v);

	assert_pte_locked(pte);
	if (d.kind == PTE_MIGRATION) {
		if (zap_skips(z, pfn_to_page(d.pfn)))
			return;
		rss[mm_counter(pfn_to_page(d.pfn))]--;
	}
	hal_pte_xchg(pte, 0);
	z->left--;
}

/* What a file or its place in a list has to be told of its page. */
static unsigned zap_file_page(struct zap *z, struct page *page, pte_t v)
{
	unsigned cost = 1;

	ASSERT_DEBUG(!PageAnon(page));
	if (arch_pte_has(v, PTE_BIT_DIRTY)) {
		set_page_dirty(page);
		/* A CPU may write by its translation until the flush; who then cleans the page finds no entry
		 * that says so. So the flush comes while the table is locked. */
		z->flush |= page_writes_to(page) != NULL;
		cost += PTL_COST_LISTED;
	}
	if (arch_pte_has(v, PTE_BIT_ACCESSED) && !(z->vma->vm_flags & VM_SEQ_READ)) {
		mark_page_accessed(page);
		cost += PTL_COST_LISTED;
	}
	return cost;
}

/* Empties one entry, v, and says so in z->left. Table locked. Returns what it cost, with ZAP_FULL when the
 * gather is full. */
static unsigned zap_pte(struct zap *z, pte_t *pte, pte_t v, uintptr_t addr, long rss[])
{
	struct page *page;
	unsigned cost = 1;

	assert_pte_locked(pte);
	if (unlikely(!pte_present(v))) {
		if (is_swap_pte(v))
			return zap_swap(z, pte, v, rss);
		zap_migration(z, pte, v, rss);
		return 1;
	}
	page = vm_normal_page(z->vma, v);
	if (zap_skips(z, page))
		return 1;
	v = hal_pte_xchg(pte, 0);
	z->left--;
	if (likely(arch_pte_is_leaf(v)))
		tlb_note(z->tlb, addr, addr + PAGE_SIZE);
	if (!page)
		return 1;
	rss[mm_counter(page)]--;
	if (!PageAnon(page))
		cost = zap_file_page(z, page, v);
	page_remove_rmap(page);
	return unlikely(tlb_remove_page(z->tlb, page)) ? cost | ZAP_FULL : cost;
}

static int zap_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct page *table = pt_page(pte);
	long rss[NR_MM_COUNTERS] = {0};
	struct zap *z = ctx;
	unsigned n;

	ASSERT_DEBUG(start < end);
	/* Acquire: if the last one was reclaim's, its mark is seen (table_entry_went). */
	while (start != end && __atomic_load_n(&table->private, __ATOMIC_ACQUIRE)) {
		ptl_lock(&table->ptl);
		z->left = table->private;
		for (n = 0; start != end && z->left && n < PTL_BATCH; start += PAGE_SIZE, pte++) {
			pte_t v = pte_get(pte);

			if (pte_none(v))
				continue;
			n += zap_pte(z, pte, v, start, rss);
		}
		count_entries(table, (long)z->left - (long)table->private);
		if (unlikely(z->flush))
			tlb_flush_mmu_tlbonly(z->tlb);
		z->flush = false;
		ptl_unlock(&table->ptl);
		if (unlikely(n >= ZAP_FULL) && !tlb_make_room(z->tlb))
			tlb_flush_mmu(z->tlb);
	}
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		if (rss[i])
			add_mm_counter(mm, i, rss[i]);
	return 0;
}

/* Empties entries of a range of one VMA, into tlb. mapping != NULL: only that file's own pages. */
static void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t start,
			     uintptr_t end, const struct address_space *mapping)
{
	struct zap z = {.tlb = tlb, .vma = vma, .mapping = mapping};

	ASSERT_DEBUG(start <= end && start >= vma->vm_start && end <= vma->vm_end);
	pt_for_each(vma->vm_mm, start, end, zap_pte_range, &z);
}

void unmap_vmas(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t start, uintptr_t end)
{
	for (; vma && vma->vm_start < end; vma = vma->vm_next)
		unmap_page_range(tlb, vma, max(start, vma->vm_start), min(end, vma->vm_end), NULL);
}

/* From now on no reverse map leads to the VMA, so no other CPU looks at its tables. */
static void hide_from_rmap(struct vm_area_struct *vma)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	unlink_anon_vmas(vma);
	unlink_file_vma(vma);
}

void free_pgtables(struct mmu_gather *tlb, struct vm_area_struct *vma, uintptr_t floor,
		   uintptr_t ceiling)
{
	assert_held_write(&tlb->mm->mmap_lock);
	while (vma) {
		struct vm_area_struct *next = vma->vm_next;
		uintptr_t start = vma->vm_start;

		hide_from_rmap(vma);
		/* Neighbours that share a table go in one call. */
		while (next && next->vm_start <= vma->vm_end + PMD_SPAN) {
			vma = next;
			next = vma->vm_next;
			hide_from_rmap(vma);
		}
		free_pgd_range(tlb, start, vma->vm_end, floor, next ? next->vm_start : ceiling);
		vma = next;
	}
}

void zap_page_range(struct vm_area_struct *vma, uintptr_t start, size_t size)
{
	struct mm_struct *mm = vma->vm_mm;
	struct mmu_gather tlb;

	assert_held_any(&mm->mmap_lock);
	tlb_gather_mmu(&tlb, mm);
	update_hiwater_rss(mm);
	unmap_vmas(&tlb, vma, start, start + size);
	tlb_finish_mmu(&tlb);
}

/* Shared pages have other owners, locked ones a promise that outlives their owner's. */
static bool can_reap(const struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_LOCKED | VM_HUGETLB | VM_PFNMAP))
		return false;
	return vma_is_anonymous(vma) || !(vma->vm_flags & VM_SHARED);
}

void oom_reap_mm(struct mm_struct *mm)
{
	assert_held_any(&mm->mmap_lock);
	/* First: a fault that comes by from now on must not take an entry that is gone for untouched
	 * memory, and fill it with zeros that a system call would then write to a file. */
	mm_set_flag(mm, MMF_UNSTABLE);
	for (struct vm_area_struct *vma = mm->mmap; vma; vma = vma->vm_next)
		if (can_reap(vma))
			zap_page_range(vma, vma->vm_start, vma->vm_end - vma->vm_start);
}

/* ---- a file's pages, everywhere -------------------------------------------------------------- */

/* The part of vma that maps page offsets [first, last] goes. i_mmap_rwsem held. */
static void unmap_mapping_vma(struct vm_area_struct *vma, unsigned long first, unsigned long last,
			      const struct address_space *only)
{
	unsigned long from = max(first, vma->vm_pgoff);
	unsigned long to = min(last, vma->vm_pgoff + vma_pages(vma) - 1);
	uintptr_t start = vma->vm_start + ((from - vma->vm_pgoff) << PAGE_SHIFT);
	uintptr_t end = vma->vm_start + ((to - vma->vm_pgoff + 1) << PAGE_SHIFT);
	struct mmu_gather tlb;

	assert_held_write(&vma->vm_file->f_mapping->i_mmap_rwsem);
	ASSERT_DEBUG(from <= to);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	update_hiwater_rss(vma->vm_mm);
	unmap_page_range(&tlb, vma, start, end, only);
	tlb_finish_mmu(&tlb);
}

void unmap_mapping_range(struct address_space *m, uint64_t start, uint64_t len, bool even_cows)
{
	unsigned long first = (start + PAGE_SIZE - 1) >> PAGE_SHIFT, last = ~0ul;
	struct vm_area_struct *vma;

	might_sleep();
	/* Whole pages only; what is left of a partial one is the caller's to clear. */
	if (len && start + len > start)
		last = (start + len + PAGE_SIZE - 1) >> PAGE_SHIFT;
	if (last != ~0ul && last-- <= first)
		return;
	down_write(&m->i_mmap_rwsem);
	vma_interval_tree_foreach(vma, i_mmap_write(m), first, last)
		unmap_mapping_vma(vma, first, last, even_cows ? NULL : m);
	up_write(&m->i_mmap_rwsem);
}
