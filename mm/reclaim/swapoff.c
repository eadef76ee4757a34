/* SPDX-License-Identifier: MIT */
/*
 * swapoff: everything that lies on an area comes back into memory, then the area goes.
 *
 * From the start no slot of it is given out any more. Every space is walked, and each of its entries
 * that names the area becomes one of the page again; every file of shared memory has its pages brought
 * back; pages that only the swap cache keeps give up their slots. Entries may appear meanwhile, for a
 * page that still has its slot may be unmapped, and spaces may be forked: so all of it is done again
 * until no slot is in use. It ends early when memory is out, or when a fatal signal waits; the area is
 * then on again, with what was left on it: nothing is lost.
 *
 * What cannot be read has no way back. Its entry says so from then on (is_swapin_error), and whoever
 * touches the page gets SIGBUS, as he would have while the area was on.
 *
 * Locks: swapon_mutex; of each space mmap_lock for reading, then page lock, then table.
 */
#include "mm/lru/lru.h"
#include "mm/object/filemap.h"
#include "mm/reclaim/oom.h"
#include "mm/reclaim/shrink.h"
#include "mm/rmap/rmap.h"
#include "mm/space/vma.h"
#include "mm/table/pgtable.h"
#include <quire/abi.h>

struct unuse {
	struct vm_area_struct *vma;
	unsigned type;
};

/* The entry names the page, or that it could not be read. Page and table locked. */
static void unuse_pte(struct vm_area_struct *vma, uintptr_t addr, pte_t *pte, struct page *page,
		      swp_entry_t entry)
{
	struct mm_struct *mm = vma->vm_mm;
	struct pte_desc was = pte_desc(pte_get(pte));
	pte_t v = mk_pte(page, vma->vm_page_prot);

	assert_page_locked(page);
	assert_pte_locked(pte);
	if (!PageUptodate(page)) {
		/* It stays counted as swapped: there is no page. */
		set_pte_at(mm, addr, pte, swp_entry_to_pte(swp_entry(SWP_SWAPIN_ERROR, swp_offset(entry)), was));
		swap_free(entry);
		return;
	}
	add_mm_counter(mm, MM_SWAPENTS, -1);
	add_mm_counter(mm, MM_ANONPAGES, 1);
	get_page(page);
	do_page_add_anon_rmap(page, vma, addr, false);
	/* Nobody has used it; where software notes that, it must not cost a fault to say so. */
	v = arch_pte_edit(v, (was.soft_dirty ? PTE_BIT_SOFT_DIRTY : 0) | (was.uffd_wp ? PTE_BIT_UFFD_WP : 0),
			  hal_mmu_info()->hw_accessed_dirty ? PTE_BIT_ACCESSED : 0);
	if (vma->vm_page_prot->d.x)
		hal_icache_sync(page_address(page), PAGE_SIZE);
	set_pte_at(mm, addr, pte, v);
	hal_pt_published(&mm->arch, addr);
	swap_free(entry);
}

/* The page of an entry, which may have failed to be read for somebody else: then once more. */
static struct page *read_for_good(swp_entry_t entry)
{
	struct page *page;
	bool fresh;

	might_sleep();
	for (;;) {
		page = read_swap_cache_async(entry, GFP_HIGHUSER_MOVABLE, &fresh);
		if (!page)
			return NULL;
		lock_page(page);
		if (fresh || PageUptodate(page) || !swap_cache_page_is(page, entry))
			return page;
		delete_from_swap_cache(page);
		unlock_page(page);
		put_page(page);
	}
}

/* Brings one entry's page in, if it still is there. mmap_lock for reading. 0 or -ENOMEM. */
static int unuse_entry(struct vm_area_struct *vma, uintptr_t addr, pte_t *pte, swp_entry_t entry)
{
	struct page *page;

	assert_held_any(&vma->vm_mm->mmap_lock);
	page = read_for_good(entry);
	if (!page) /* another CPU may have taken the entry away */
		return swp_swapcount(entry) ? -ENOMEM : 0;
	wait_on_page_writeback(page);
	if (swap_cache_page_is(page, entry)) {
		ptl_lock(pte_lockptr(pte));
		if (is_swap_pte(pte_get(pte)) && pte_to_swp_entry(pte_get(pte)).val == entry.val)
			unuse_pte(vma, addr, pte, page, entry);
		ptl_unlock(pte_lockptr(pte));
		try_to_free_swap(page);
	}
	unlock_page(page);
	put_page(page);
	return 0;
}

static int unuse_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct unuse *u = ctx;
	int err = 0;

	assert_held_any(&mm->mmap_lock);
	for (; start != end && !err; start += PAGE_SIZE, pte++) {
		pte_t v = pte_get(pte);

		if (is_swap_pte(v) && swp_type(pte_to_swp_entry(v)) == u->type)
			err = unuse_entry(u->vma, start, pte, pte_to_swp_entry(v));
		if (!err && os_fatal_signal_pending())
			err = -EINTR;
	}
	return err;
}

static int unuse_mm(struct mm_struct *mm, unsigned type)
{
	struct unuse u = {.type = type};
	int err = 0;

	if (!get_mm_counter(mm, MM_SWAPENTS))
		return 0;
	down_read(&mm->mmap_lock);
	for (u.vma = mm->mmap; u.vma && !err; u.vma = u.vma->vm_next)
		if (__atomic_load_n(&u.vma->anon_vma, __ATOMIC_ACQUIRE))
			err = pt_for_each(mm, u.vma->vm_start, u.vma->vm_end, unuse_pte_range, &u);
	up_read(&mm->mmap_lock);
	return err;
}

static int unuse_spaces(unsigned type)
{
	struct mm_struct *mm = NULL;
	int err = 0;

	while ((mm = mm_next(mm)) != NULL) {
		if (!err)
			err = unuse_mm(mm, type);
		os_cond_resched();
	}
	return err;
}

/* What nobody names and only the cache keeps. */
static void unuse_cached(struct swap_area *a)
{
	for (uint64_t off = 1; swap_area_next_cached(a, &off); off++) {
		struct page *page = lookup_swap_cache(swp_entry(swap_area_type(a), off));

		if (!page)
			continue;
		lock_page(page);
		wait_on_page_writeback(page);
		try_to_free_swap(page);
		unlock_page(page);
		put_page(page);
	}
}

static int try_to_unuse(struct swap_area *a)
{
	while (swap_area_inuse(a)) {
		int err = shmem_unuse(swap_area_type(a));

		if (!err)
			err = unuse_spaces(swap_area_type(a));
		if (err)
			return err;
		unuse_cached(a);
		if (swap_area_inuse(a) && os_fatal_signal_pending())
			return -EINTR;
		os_cond_resched();
	}
	return 0;
}

int quire_swapoff(struct quire_blkdev *dev)
{
	struct swap_area *a;
	long pages;
	int err;

	swapon_lock();
	a = swap_area_of(dev);
	if (!a) {
		swapon_unlock();
		return -EINVAL;
	}
	/* Could what it may hold be promised without it? */
	pages = (long)swap_area_pages(a);
	err = security_vm_enough_memory_mm(NULL, pages);
	if (!err) {
		vm_unacct_memory(pages);
		swapoff_begin(a);
		set_oom_origin(os_current_owner());
		err = try_to_unuse(a);
		set_oom_origin(NULL);
		if (err)
			swapoff_undo(a);
		else
			swapoff_finish(a);
	}
	swapon_unlock();
	return err;
}
