/* SPDX-License-Identifier: MIT */
/*
 * mlock, munlock, mlockall and populating (MAP_POPULATE): VM_LOCKED is a flag of VMAs, counted
 * against RLIMIT_MEMLOCK; what makes it true is that the pages are faulted in at once and reclaim
 * leaves such VMAs alone.
 *
 * Pages that such a VMA maps carry PG_mlocked and lie in the unevictable list, so that scans do not
 * come by them: new anonymous pages from the start (page_add_new_anon_rmap), the others when they are
 * populated, or when a scan meets them. When the VMA goes, or unlocks them, the reverse map tells
 * whether another one locks the page; who takes the last entry away needs not ask.
 */
#include "mm/space/hooks.h"
#include "mm/lru/lru.h"
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include "mm/space/range.h"
#include <quire/abi.h>
#include <quire/os.h>

bool can_do_mlock(struct mm_struct *mm)
{
	return rlimit(mm, RLIMIT_MEMLOCK) != 0 || os_capable(mm->owner, CAP_IPC_LOCK);
}

int mlock_future_check(struct mm_struct *mm, vm_flags_t flags, size_t len)
{
	assert_held_write(&mm->mmap_lock);
	if (!(flags & VM_LOCKED))
		return 0;
	if (mm->locked_vm + (len >> PAGE_SHIFT) > rlimit(mm, RLIMIT_MEMLOCK) >> PAGE_SHIFT &&
	    !os_capable(mm->owner, CAP_IPC_LOCK))
		return -EAGAIN;
	return 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

#define MLOCK_BATCH 16u

/* Pages of one table that are looked at without its lock. */
struct mlock_walk {
	struct vm_area_struct *vma;
	bool lock;
	unsigned nr;
	struct page *pages[MLOCK_BATCH]; /* referenced */
};

/* No VMA locks the page any more, as far as this one is concerned; perhaps another does. */
static void munlock_vma_page(struct page *page)
{
	assert_page_locked(page);
	if (!page_test(page, PG_mlocked))
		return;
	if (page_mlocked_by_vma(page))
		count_vm_event(UNEVICTABLE_PGMLOCKED); /* Linux counts it as locked anew */
	else if (lru_munlock(page))
		count_vm_event(UNEVICTABLE_PGMUNLOCKED);
}

void munlock_page(struct page *page)
{
	might_sleep();
	if (!page_test(page, PG_mlocked))
		return;
	lock_page(page);
	munlock_vma_page(page);
	unlock_page(page);
}

/* With its lock a page stays in its file; that it still has an entry is looked at once more when it is
 * freed (lru_release). */
static void mlock_walk_pages(struct mlock_walk *w)
{
	assert_held_any(&w->vma->vm_mm->mmap_lock);
	for (unsigned i = 0; i < w->nr; i++) {
		struct page *page = w->pages[i];

		lock_page(page);
		if (!w->lock)
			munlock_vma_page(page);
		else if (page->mapping && page_mapcount(page) > 0)
			lru_mlock(page);
		unlock_page(page);
		put_page(page);
	}
	w->nr = 0;
}

static int mlock_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct page *table = pt_page(pte);
	struct mlock_walk *w = ctx;

	assert_held_any(&mm->mmap_lock);
	while (start != end) {
		ptl_lock(&table->ptl);
		for (; start != end && w->nr < MLOCK_BATCH; start += PAGE_SIZE, pte++) {
			pte_t v = pte_get(pte);
			struct page *page = pte_present(v) ? vm_normal_page(w->vma, v) : NULL;

			if (page && page_test(page, PG_listed) &&
			    page_test(page, PG_mlocked) != w->lock) {
				get_page(page);
				w->pages[w->nr++] = page;
			}
		}
		ptl_unlock(&table->ptl);
		mlock_walk_pages(w);
	}
	return 0;
}

/* What is there of the range becomes locked, as the VMA is. */
static void mlock_vma_pages_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end)
{
	struct mlock_walk w = {.vma = vma, .lock = true};

	assert_held_any(&vma->vm_mm->mmap_lock);
	if ((vma->vm_flags & (VM_LOCKED | VM_SPECIAL)) == VM_LOCKED)
		pt_for_each(vma->vm_mm, start, end, mlock_pte_range, &w);
}

void munlock_vma_pages_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end)
{
	struct mlock_walk w = {.vma = vma};

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(start >= vma->vm_start && end <= vma->vm_end);
	vma_set_flags(vma, vma->vm_flags & VM_LOCKED_CLEAR_MASK);
	pt_for_each(vma->vm_mm, start, end, mlock_pte_range, &w);
}

/* ---- populating ------------------------------------------------------------------------------ */

/* Is the page there, with the right to be written if that is asked for? *clean: but it never was. */
static bool page_is_in(struct mm_struct *mm, uintptr_t addr, bool write, bool *clean)
{
	pte_t *pte = pt_find(mm, addr);
	pte_t v = pte ? pte_get(pte) : 0;

	assert_held_any(&mm->mmap_lock);
	*clean = write && !pte_desc(v).dirty;
	return pte_present(v) && (!write || pte_write(v));
}

static void mark_wanted_pte(const pte_t *pte)
{
	struct pte_desc d = pte_desc(pte_get(pte));

	assert_pte_locked(pte);
	if (d.kind == PTE_LEAF && d.w && !d.dirty && !d.special)
		set_page_dirty(pfn_to_page(d.pfn));
}

/* A clean page that is populated for writing counts as written, as in 5.10: the caller may write it
 * without going through the entry. MADV_FREE had made it clean. */
static int mark_wanted(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct page *table = pt_page(pte);

	assert_held_any(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	for (; start != end && table->private; start += PAGE_SIZE, pte++) {
		mark_wanted_pte(pte);
		ptl_breathe(&table->ptl, pte_index_of(pte) + 1);
	}
	ptl_unlock(&table->ptl);
	return 0;
}

/* Faults one page in, as an access would. A write may take two steps: page of zeros, then copy. -EAGAIN: mmap_lock
 * was given up to wait, and *locked is false; not if locked is NULL. */
static int populate_page(struct vm_area_struct *vma, uintptr_t addr, bool write, bool *locked)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned flags = (write ? FAULT_FLAG_WRITE : 0) | (locked ? FAULT_FLAG_ALLOW_RETRY : 0);
	vm_fault_t ret;
	bool clean;

	assert_held_any(&mm->mmap_lock);
	ASSERT_DEBUG(IS_ALIGNED(addr, PAGE_SIZE));
	for (int tries = 0; !page_is_in(mm, addr, write, &clean);) {
		if (tries == 16) /* against a thread that keeps taking the page away */
			return -EFAULT;
		ret = handle_mm_fault(vma, addr, flags, NULL);
		if (ret & VM_FAULT_UNLOCKED) {
			*locked = false;
			return -EAGAIN;
		}
		if (ret & VM_FAULT_OOM)
			return -ENOMEM;
		if (ret & VM_FAULT_ERROR)
			return -EFAULT;
		/* Waiting for a page on the move is not one of the steps. */
		if (ret & VM_FAULT_RETRY)
			continue;
		tries++;
		__atomic_fetch_add(ret & VM_FAULT_MAJOR ? &mm->maj_flt : &mm->min_flt, 1,
				   __ATOMIC_RELAXED);
		os_count_fault(ret & VM_FAULT_MAJOR);
	}
	if (clean)
		pt_for_each(mm, addr, addr + PAGE_SIZE, mark_wanted, NULL);
	return 0;
}

long populate_vma_page_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, bool *locked)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(start >= vma->vm_start && end <= vma->vm_end);
	/* Private writable memory takes its own pages now, so that no write faults later. */
	bool write = (vma->vm_flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
	uintptr_t at;
	long done;
	int err = 0;

	/* Nothing can be had of a PROT_NONE mapping, not even a lock for later. */
	if (!vma_is_accessible(vma))
		return -EFAULT;
	if (vma->vm_flags & VM_LOCKONFAULT) {
		if (write)
			pt_for_each(vma->vm_mm, start, end, mark_wanted, NULL);
		mlock_vma_pages_range(vma, start, end);
		return (end - start) >> PAGE_SHIFT;
	}
	for (at = start; at < end && !err; at += err ? 0 : PAGE_SIZE) {
		err = populate_page(vma, at, write, locked);
		if (err == -EAGAIN)
			return (long)((at - start) >> PAGE_SHIFT);
		if (!err && os_fatal_signal_pending())
			err = -EINTR;
		os_cond_resched();
	}
	mlock_vma_pages_range(vma, start, at);
	done = (long)((at - start) >> PAGE_SHIFT);
	return done ? done : err;
}

/* [start, end) was populated before mmap_lock was given up: what is there of it now. */
static void mlock_populated(struct mm_struct *mm, uintptr_t start, uintptr_t end)
{
	struct vm_area_struct *vma = start < end ? find_vma_intersection(mm, start, end) : NULL;

	assert_held_any(&mm->mmap_lock);
	for (; vma && vma->vm_start < end; vma = vma->vm_next)
		mlock_vma_pages_range(vma, max(start, vma->vm_start), min(end, vma->vm_end));
}

int __mm_populate(struct mm_struct *mm, uintptr_t start, size_t len, bool ignore_errors)
{
	uintptr_t end = start + len, nstart = start, unmarked = start;
	long ret = 0;

	might_sleep();
	while (nstart < end) {
		struct vm_area_struct *vma;
		bool locked = true;
		uintptr_t nend;

		/* Anew for every stretch: others may map and unmap in between. */
		down_read(&mm->mmap_lock);
		mlock_populated(mm, unmarked, nstart);
		vma = find_vma_intersection(mm, nstart, end);
		if (!vma) {
			up_read(&mm->mmap_lock);
			break;
		}
		nend = min(end, vma->vm_end);
		nstart = max(nstart, vma->vm_start);
		unmarked = nstart;
		if (vma->vm_flags & (VM_IO | VM_PFNMAP)) {
			unmarked = nstart = nend;
			up_read(&mm->mmap_lock);
			continue;
		}
		ret = populate_vma_page_range(vma, nstart, nend, &locked);
		if (locked)
			up_read(&mm->mmap_lock);
		else if (os_fatal_signal_pending()) /* which may be why nothing was waited for */
			return -EINTR;
		if (ret < 0 && !ignore_errors)
			return ret;
		nstart = ret <= 0 && locked ? nend : nstart + ((uintptr_t)ret << PAGE_SHIFT);
		if (locked)
			unmarked = nstart;
	}
	return 0;
}

/* ---- flags ----------------------------------------------------------------------------------- */

/* Sets the lock flags of [start, end), inside vma, to those of newflags. */
static int mlock_fixup(struct vm_area_struct *vma, struct vm_area_struct **prev, uintptr_t start,
		       uintptr_t end, vm_flags_t newflags)
{
	struct mm_struct *mm = vma->vm_mm;
	vm_flags_t oldflags = vma->vm_flags;
	bool lock = newflags & VM_LOCKED;
	long npages = (end - start) >> PAGE_SHIFT;
	int err = 0;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(start >= vma->vm_start && end <= vma->vm_end);
	if (newflags == oldflags || (oldflags & VM_SPECIAL) || is_vm_hugetlb_page(vma) ||
	    vma == get_gate_vma(mm)) {
		*prev = vma;
		return 0;
	}
	err = vma_modify(&vma, prev, start, end, newflags, vma->vm_policy, vma->vm_userfaultfd_ctx);
	if (err)
		return err;
	if (!lock)
		npages = -npages;
	else if (oldflags & VM_LOCKED)
		npages = 0;
	vm_count(&mm->locked_vm, npages);
	/* An area that took the range in keeps what else it is (soft-dirty). */
	if (lock)
		vma_set_flags(vma, newflags);
	else
		munlock_vma_pages_range(vma, start, end);
	return 0;
}

/* mmap_lock for writing. flags: VM_LOCKED, VM_LOCKONFAULT or 0. */
static int apply_vma_lock_flags(struct mm_struct *mm, uintptr_t start, size_t len, vm_flags_t flags)
{
	struct vm_area_struct *vma, *prev;
	uintptr_t end = start + len;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT(!(flags & ~(VM_LOCKED | VM_LOCKONFAULT)));
	if (end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	vma = find_vma(mm, start);
	if (!vma || vma->vm_start > start)
		return -ENOMEM;
	prev = start > vma->vm_start ? vma : vma->vm_prev;
	for (;;) {
		err = mlock_fixup(vma, &prev, start, min(vma->vm_end, end),
				  (vma->vm_flags & VM_LOCKED_CLEAR_MASK) | flags);
		if (err)
			return err;
		start = max(start, prev->vm_end);
		if (start >= end)
			return 0;
		vma = prev->vm_next;
		if (!vma || vma->vm_start != start)
			return -ENOMEM;
	}
}

/* Pages of the range that are locked already. */
static unsigned long count_mm_mlocked(struct mm_struct *mm, uintptr_t start, size_t len)
{
	struct vm_area_struct *vma = find_vma_intersection(mm, start, start + len);
	unsigned long n = 0;

	assert_held_write(&mm->mmap_lock);
	for (; vma && vma->vm_start < start + len; vma = vma->vm_next)
		if (vma->vm_flags & VM_LOCKED)
			n += (min(start + len, vma->vm_end) - max(start, vma->vm_start)) >>
			     PAGE_SHIFT;
	return n;
}

static int do_mlock(struct mm_struct *mm, uintptr_t start, size_t len, vm_flags_t flags)
{
	uint64_t limit = rlimit(mm, RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	unsigned long locked;
	int err = -ENOMEM;

	if (!can_do_mlock(mm))
		return -EPERM;
	len = PAGE_ALIGN(len + (start & ~PAGE_MASK));
	start &= PAGE_MASK;
	down_write(&mm->mmap_lock);
	locked = (len >> PAGE_SHIFT) + mm->locked_vm;
	if (locked > limit && !os_capable(mm->owner, CAP_IPC_LOCK))
		locked -= count_mm_mlocked(mm, start, len);
	if (locked <= limit || os_capable(mm->owner, CAP_IPC_LOCK))
		err = apply_vma_lock_flags(mm, start, len, flags);
	up_write(&mm->mmap_lock);
	if (err)
		return err;
	err = __mm_populate(mm, start, len, false);
	/* POSIX: what could not be faulted in counts as not mapped, or as too much at once. */
	return err == -EFAULT ? -ENOMEM : err == -ENOMEM ? -EAGAIN : err;
}

long quire_mlock(struct quire_mm *mm, uintptr_t addr, size_t len, unsigned flags)
{
	if (flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	return do_mlock(to_mm(mm), addr, len, VM_LOCKED | (flags ? VM_LOCKONFAULT : 0));
}

long quire_munlock(struct quire_mm *qmm, uintptr_t addr, size_t len)
{
	struct mm_struct *mm = to_mm(qmm);
	int err;

	len = PAGE_ALIGN(len + (addr & ~PAGE_MASK));
	addr &= PAGE_MASK;
	down_write(&mm->mmap_lock);
	err = apply_vma_lock_flags(mm, addr, len, 0);
	up_write(&mm->mmap_lock);
	return err;
}

/* ---- the whole space ------------------------------------------------------------------------- */

static void apply_mlockall_flags(struct mm_struct *mm, unsigned flags)
{
	vm_flags_t add = VM_LOCKED | (flags & MCL_ONFAULT ? VM_LOCKONFAULT : 0);
	struct vm_area_struct *vma, *prev = NULL;

	assert_held_write(&mm->mmap_lock);
	mm->def_flags &= VM_LOCKED_CLEAR_MASK;
	if (flags & MCL_FUTURE)
		mm->def_flags |= add;
	if ((flags & MCL_FUTURE) && !(flags & MCL_CURRENT))
		return;
	if (!(flags & MCL_CURRENT))
		add = 0;
	for (vma = mm->mmap; vma; vma = prev->vm_next)
		/* Out of memory for a split cannot be: whole VMAs are never split. */
		(void)mlock_fixup(vma, &prev, vma->vm_start, vma->vm_end,
				  (vma->vm_flags & VM_LOCKED_CLEAR_MASK) | add);
}

long quire_mlockall(struct quire_mm *qmm, unsigned flags)
{
	struct mm_struct *mm = to_mm(qmm);
	long ret = -ENOMEM;

	if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
		return -EINVAL;
	if (!can_do_mlock(mm))
		return -EPERM;
	down_write(&mm->mmap_lock);
	if (!(flags & MCL_CURRENT) || os_capable(mm->owner, CAP_IPC_LOCK) ||
	    mm->total_vm <= rlimit(mm, RLIMIT_MEMLOCK) >> PAGE_SHIFT) {
		apply_mlockall_flags(mm, flags);
		ret = 0;
	}
	up_write(&mm->mmap_lock);
	if (!ret && (flags & MCL_CURRENT))
		mm_populate(mm, mm->start, mm->task_size - mm->start);
	return ret;
}

long quire_munlockall(struct quire_mm *qmm)
{
	struct mm_struct *mm = to_mm(qmm);

	down_write(&mm->mmap_lock);
	apply_mlockall_flags(mm, 0);
	up_write(&mm->mmap_lock);
	return 0;
}
