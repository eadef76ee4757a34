/* SPDX-License-Identifier: MIT */
/*
 * madvise: advice that sets flags of VMAs (they split and merge as for mprotect), and advice that
 * acts on pages. The range is taken VMA by VMA; a hole is skipped, and -ENOMEM returned at the end.
 *
 *   flags (mmap_lock for writing)      NORMAL, RANDOM, SEQUENTIAL, [DO|DONT]FORK, WIPEONFORK,
 *                                      KEEPONFORK, [DO|DONT]DUMP, [UN]MERGEABLE, [NO]HUGEPAGE
 *   pages (mmap_lock for reading)
 *     DONTNEED                         entries are emptied (teardown.c)
 *     FREE                             pages become clean; reclaim may drop them until they are
 *                                      written again
 *     COLD                             accessed bits are cleared
 *     PAGEOUT                          vmscan.c, pageout_range
 *     WILLNEED                         the object's pages, or what lies in swap, are read in; nothing is
 *                                      mapped
 *     REMOVE                           a hole is punched into the object
 *
 * WILLNEED and REMOVE release mmap_lock while they work on the object, and look the VMA up again. A
 * new advice: madvise_behavior_valid(), needs_write_lock(), then advised_flags() or madvise_vma().
 */
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/object/filemap.h"
#include "mm/space/hooks.h"
#include "mm/space/range.h"
#include <quire/abi.h>

static bool madvise_behavior_valid(int advice)
{
	return (advice >= MADV_NORMAL && advice <= MADV_DONTNEED) ||
	       (advice >= MADV_FREE && advice <= MADV_PAGEOUT);
}

/* Those that change VMAs. */
static bool needs_write_lock(int advice)
{
	switch (advice) {
	case MADV_REMOVE:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_FREE:
		return false;
	default:
		return true;
	}
}

/* ---- flags ----------------------------------------------------------------------------------- */

/* The VMA's flags after the advice, in *flags. 0 or -EINVAL. */
static int advised_flags(const struct vm_area_struct *vma, int advice, vm_flags_t *flags)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	switch (advice) {
	case MADV_NORMAL:
		*flags &= ~(VM_RAND_READ | VM_SEQ_READ);
		return 0;
	case MADV_SEQUENTIAL:
		*flags = (*flags & ~VM_RAND_READ) | VM_SEQ_READ;
		return 0;
	case MADV_RANDOM:
		*flags = (*flags & ~VM_SEQ_READ) | VM_RAND_READ;
		return 0;
	case MADV_DONTFORK:
		*flags |= VM_DONTCOPY;
		return 0;
	case MADV_DOFORK:
		*flags &= ~VM_DONTCOPY;
		return vma->vm_flags & VM_IO ? -EINVAL : 0;
	case MADV_WIPEONFORK:
		*flags |= VM_WIPEONFORK;
		return vma->vm_file ? -EINVAL : 0;
	case MADV_KEEPONFORK:
		*flags &= ~VM_WIPEONFORK;
		return 0;
	case MADV_DONTDUMP:
		*flags |= VM_DONTDUMP;
		return 0;
	case MADV_DODUMP:
		*flags &= ~VM_DONTDUMP;
		return *flags & VM_SPECIAL ? -EINVAL : 0;
	case MADV_MERGEABLE:
		/* Shared and special memory is silently left as it is. */
		if (!(*flags & (VM_SHARED | VM_MAYSHARE | VM_SPECIAL | VM_HUGETLB)))
			*flags |= VM_MERGEABLE;
		return 0;
	case MADV_UNMERGEABLE:
		*flags &= ~VM_MERGEABLE;
		return 0;
	case MADV_HUGEPAGE:
		*flags = (*flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE;
		return 0;
	default: /* MADV_NOHUGEPAGE */
		*flags = (*flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
		return 0;
	}
}

/* Too many areas is -ENOMEM; memory for one more may be there later: -EAGAIN. */
static int advise_split(struct vm_area_struct *vma, uintptr_t addr, bool new_below)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	if (vma->vm_mm->map_count >= vm_sysctl.max_map_count)
		return -ENOMEM;
	return __split_vma(vma->vm_mm, vma, addr, new_below) ? -EAGAIN : 0;
}

static int madvise_flags(struct vm_area_struct *vma, struct vm_area_struct **prev, uintptr_t start,
			 uintptr_t end, int advice)
{
	struct mm_struct *mm = vma->vm_mm;
	vm_flags_t flags = vma->vm_flags;
	struct vm_area_struct *merged;
	int err = advised_flags(vma, advice, &flags);

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(start < end);
	if (err)
		return err;
	if (flags == vma->vm_flags) {
		*prev = vma;
		return 0;
	}
	merged = vma_merge(mm, *prev, start, end, flags, vma->anon_vma, vma->vm_file,
			   linear_page_index(vma, start), vma->vm_policy, vma->vm_userfaultfd_ctx);
	if (merged) {
		vma = *prev = merged;
	} else {
		*prev = vma;
		err = start != vma->vm_start ? advise_split(vma, start, true) : 0;
		if (!err && end != vma->vm_end)
			err = advise_split(vma, end, false);
		if (err)
			return err;
	}
	vma_set_flags(vma, flags);
	return 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static bool can_madv_lru(const struct vm_area_struct *vma)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	return !(vma->vm_flags & (VM_LOCKED | VM_HUGETLB | VM_PFNMAP));
}

/* Other spaces' entries of a shared page stay dirty, so their owners lose nothing; a page that is
 * marked dirty itself must not be taken from them. */
static bool may_be_freed(struct page *page)
{
	bool ok;

	ASSERT_DEBUG(page_mapcount(page) > 0);
	if (!page_test(page, PG_dirty) && !PageSwapCache(page))
		return true;
	if (page_mapcount(page) != 1)
		return false;
	if (!PageSwapCache(page)) {
		page_clear(page, PG_dirty);
		return true;
	}
	/* A slot would bring the contents back. */
	if (!trylock_page(page))
		return false;
	ok = !PageSwapCache(page) || try_to_free_swap(page);
	if (ok)
		page_clear(page, PG_dirty);
	unlock_page(page);
	return ok;
}

/* What lies on a device is not read in any more: as if nobody had written. What that cost. */
static unsigned free_swap_pte(struct mm_struct *mm, pte_t *pte)
{
	swp_entry_t entry = pte_to_swp_entry(pte_get(pte));

	assert_pte_locked(pte);
	ptep_get_and_clear(mm, pte);
	add_mm_counter(mm, MM_SWAPENTS, -1);
	return free_swap_and_cache(entry) ? PTL_COST_CACHED : PTL_COST_SLOT;
}

/* The entry and its page look as if nobody had written. What that cost, in entries that are emptied. */
static unsigned free_pte(struct mmu_gather *tlb, pte_t *pte, uintptr_t addr, bool keep_accessed)
{
	struct pte_desc d = pte_desc(pte_get(pte));
	unsigned cost;

	assert_pte_locked(pte);
	if (d.kind == PTE_SWAP)
		return free_swap_pte(tlb->mm, pte);
	if ((d.kind != PTE_LEAF && d.kind != PTE_PROTNONE) || d.special)
		return 1;
	cost = PageSwapCache(pfn_to_page(d.pfn)) ? PTL_COST_CACHED : 2 * PTL_COST_LISTED;
	if (!may_be_freed(pfn_to_page(d.pfn)))
		return cost;
	/* No swap page is owed to it: pageout_range() may drop it. */
	if (page_test(pfn_to_page(d.pfn), PG_swapbacked)) {
		lru_change_flags(pfn_to_page(d.pfn), 0,
				 1ul << PG_swapbacked | 1ul << PG_active | 1ul << PG_referenced);
		count_vm_event(PGLAZYFREE);
	}
	d = pte_desc(hal_pte_xchg(pte, 0));
	d.dirty = false;
	d.accessed = keep_accessed;
	sync_code(pte_make(d));
	set_pte(pte, pte_make(d));
	tlb_note(tlb, addr, addr + PAGE_SIZE);
	return cost;
}

/* MADV_FREE: the pages look as if they had never been written; reclaim may drop them. */
static int free_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	bool keep_accessed = !hal_mmu_info()->hw_accessed_dirty;
	struct page *table = pt_page(pte);
	unsigned n = 0;

	assert_held_any(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	for (; start != end && table->private; start += PAGE_SIZE, pte++) {
		n += free_pte(ctx, pte, start, keep_accessed);
		if (n < PTL_BATCH)
			continue;
		n = 0;
		ptl_unlock(&table->ptl);
		ptl_lock(&table->ptl);
	}
	ptl_unlock(&table->ptl);
	return 0;
}

static int madvise_free(struct vm_area_struct *vma, uintptr_t start, uintptr_t end)
{
	struct mmu_gather tlb;

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (!vma_is_anonymous(vma))
		return -EINVAL;
	tlb_gather_mmu(&tlb, vma->vm_mm);
	pt_for_each(vma->vm_mm, start, end, free_pte_range, &tlb);
	tlb_finish_mmu(&tlb);
	return 0;
}

/* What others map too is left as it is. Where software sets the accessed bit, clearing it would cost a
 * fault. */
static void cold_pte(struct mmu_gather *tlb, pte_t *pte, uintptr_t addr, bool hw_ad)
{
	struct pte_desc d = pte_desc(pte_get(pte));

	assert_pte_locked(pte);
	if ((d.kind != PTE_LEAF && d.kind != PTE_PROTNONE) || d.special ||
	    page_mapcount(pfn_to_page(d.pfn)) != 1)
		return;
	page_clear(pfn_to_page(d.pfn), PG_referenced);
	if (hw_ad && d.accessed) {
		pte_clear_accessed(pte, d);
		tlb_note(tlb, addr, addr + PAGE_SIZE);
	}
}

/* MADV_COLD: the pages look as if they had not been used lately. */
static int cold_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	bool hw_ad = hal_mmu_info()->hw_accessed_dirty;
	struct page *table = pt_page(pte);

	assert_held_any(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	for (; start != end && table->private; start += PAGE_SIZE, pte++) {
		cold_pte(ctx, pte, start, hw_ad);
		ptl_breathe(&table->ptl, pte_index_of(pte) + 1);
	}
	ptl_unlock(&table->ptl);
	return 0;
}

static void madvise_cold(struct vm_area_struct *vma, uintptr_t start, uintptr_t end)
{
	struct mmu_gather tlb;

	assert_held_any(&vma->vm_mm->mmap_lock);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	pt_for_each(vma->vm_mm, start, end, cold_pte_range, &tlb);
	tlb_finish_mmu(&tlb);
}

static int madvise_dontneed_free(struct vm_area_struct *vma, uintptr_t start, uintptr_t end,
				 int advice)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	if (!can_madv_lru(vma))
		return -EINVAL;
	if (advice == MADV_FREE)
		return madvise_free(vma, start, end);
	zap_page_range(vma, start, end - start);
	return 0;
}

/* Reads in what swap entries name; maps nothing. mmap_lock for reading keeps the tables. */
static int willneed_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	assert_held_any(&mm->mmap_lock);
	for (; start != end; start += PAGE_SIZE, pte++) {
		pte_t v = pte_get(pte);

		if (is_swap_pte(v))
			swap_willneed(pte_to_swp_entry(v));
	}
	return 0;
}

/* Brings an object's pages into its cache; maps nothing (MA21). Drops mmap_lock meanwhile. */
static int madvise_willneed(struct vm_area_struct *vma, struct vm_area_struct **prev,
			    uintptr_t start, uintptr_t end)
{
	uint64_t off = (uint64_t)linear_page_index(vma, start) << PAGE_SHIFT;
	struct mm_struct *mm = vma->vm_mm;
	struct file *file = vma->vm_file;

	assert_held_read(&mm->mmap_lock);
	*prev = vma;
	if (!file) {
		pt_for_each(mm, start, end, willneed_range, NULL);
		return 0;
	}
	if (mapping_shmem(file->f_mapping)) {
		shmem_willneed(file->f_mapping, linear_page_index(vma, start),
			       linear_page_index(vma, end - 1));
		return 0;
	}
	*prev = NULL;
	get_file(file);
	up_read(&mm->mmap_lock);
	/* Advice: what cannot be read now will be read, or refused, later. */
	(void)quire_inode_populate(file_inode(file), off, end - start);
	fput(file);
	down_read(&mm->mmap_lock);
	return 0;
}

/* Punches the range out of the object. Drops mmap_lock meanwhile. */
static int madvise_remove(struct vm_area_struct *vma, struct vm_area_struct **prev, uintptr_t start,
			  uintptr_t end)
{
	uint64_t off = (uint64_t)linear_page_index(vma, start) << PAGE_SHIFT;
	struct mm_struct *mm = vma->vm_mm;
	struct file *file = vma->vm_file;
	int err;

	assert_held_read(&mm->mmap_lock);
	*prev = NULL;
	if (vma->vm_flags & VM_LOCKED)
		return -EINVAL;
	if (!file)
		return -EINVAL;
	if ((vma->vm_flags & (VM_SHARED | VM_WRITE)) != (VM_SHARED | VM_WRITE))
		return -EACCES;
	get_file(file);
	up_read(&mm->mmap_lock);
	err = quire_inode_fallocate(file_inode(file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    off, end - start);
	fput(file);
	down_read(&mm->mmap_lock);
	return err;
}

static int madvise_vma(struct vm_area_struct *vma, struct vm_area_struct **prev, uintptr_t start,
		       uintptr_t end, int advice)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(start >= vma->vm_start && end <= vma->vm_end);
	switch (advice) {
	case MADV_REMOVE:
		return madvise_remove(vma, prev, start, end);
	case MADV_WILLNEED:
		return madvise_willneed(vma, prev, start, end);
	case MADV_COLD:
	case MADV_PAGEOUT:
		*prev = vma;
		if (!can_madv_lru(vma))
			return -EINVAL;
		madvise_cold(vma, start, end);
		if (advice == MADV_PAGEOUT)
			pageout_range(vma, start, end);
		return 0;
	case MADV_FREE:
	case MADV_DONTNEED:
		*prev = vma;
		return madvise_dontneed_free(vma, start, end, advice);
	default:
		return madvise_flags(vma, prev, start, end, advice);
	}
}

/* mmap_lock as needs_write_lock() says. */
static int madvise_range(struct mm_struct *mm, uintptr_t start, uintptr_t end, int advice)
{
	struct vm_area_struct *vma, *prev;
	int unmapped = 0, err;
	uintptr_t tmp;

	assert_held_any(&mm->mmap_lock);
	vma = find_vma_prev(mm, start, &prev);
	if (vma && start > vma->vm_start)
		prev = vma;
	for (;;) {
		if (!vma)
			return -ENOMEM;
		if (start < vma->vm_start) {
			unmapped = -ENOMEM;
			start = vma->vm_start;
			if (start >= end)
				return unmapped;
		}
		tmp = min(vma->vm_end, end);
		err = madvise_vma(vma, &prev, start, tmp, advice);
		assert_held_any(&mm->mmap_lock); /* again, if it was dropped */
		if (err)
			return err;
		start = tmp;
		if (prev && start < prev->vm_end)
			start = prev->vm_end;
		if (start >= end)
			return unmapped;
		/* prev is NULL after the lock was dropped: everything may have changed. */
		vma = prev ? prev->vm_next : find_vma(mm, start);
	}
}

long quire_madvise(struct quire_mm *qmm, uintptr_t start, size_t len, int advice)
{
	bool write = needs_write_lock(advice);
	struct mm_struct *mm = to_mm(qmm);
	uintptr_t end;
	int err;

	if (!madvise_behavior_valid(advice) || (start & ~PAGE_MASK))
		return -EINVAL;
	if (len && !PAGE_ALIGN(len)) /* wraps to nothing */
		return -EINVAL;
	end = start + PAGE_ALIGN(len);
	if (end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	if (write)
		down_write(&mm->mmap_lock);
	else
		down_read(&mm->mmap_lock);
	err = madvise_range(mm, start, end, advice);
	if (write)
		up_write(&mm->mmap_lock);
	else
		up_read(&mm->mmap_lock);
	return err;
}
