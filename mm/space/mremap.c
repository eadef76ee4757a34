/* SPDX-License-Identifier: MIT */
/*
 * mremap: grow, shrink or move a mapping. A move copies the VMA and carries the entries over; no
 * page is copied, and a page's key in the reverse map (its offset) stays what it was.
 *
 *   quire_mremap
 *   |- MREMAP_FIXED or MREMAP_DONTUNMAP .... mremap_to: clear the target, shrink, move_vma
 *   |- not longer .......................... do_munmap of the tail
 *   `- longer: mremap_grow
 *      |- the room behind the VMA is free .. mremap_in_place: the VMA's end moves (vma_adjust)
 *      `- MREMAP_MAYMOVE ................... get_unmapped_area, move_vma
 *
 * move_vma: copy_vma() makes the target VMA, or extends a neighbour by it; move_page_tables() moves
 * entry by entry, both level-0 tables locked, and flushes the old range before it unlocks them, so
 * that no CPU writes through the old address once the page can be found at the new one. If tables
 * run out half-way, what was moved is moved back. Then the source is unmapped, or kept empty
 * (MREMAP_DONTUNMAP).
 *
 * Where a walk of the reverse map could miss a page that moves behind it (the target comes first in
 * the interval tree), the reverse map's locks are held around the move (need_rmap_locks).
 *
 * Locks: mmap_lock for writing; the rest as above.
 */
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include "mm/space/range.h"
#include <quire/abi.h>

/* ---- carrying entries ------------------------------------------------------------------------ */

/* Walkers of the reverse map must not find the page at neither of its addresses. */
static void take_rmap_locks(struct vm_area_struct *vma)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	if (vma->vm_file)
		down_write(&vma->vm_file->f_mapping->i_mmap_rwsem);
	if (vma->anon_vma)
		anon_vma_lock_write(vma->anon_vma);
}

static void drop_rmap_locks(struct vm_area_struct *vma)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	if (vma->anon_vma)
		anon_vma_unlock_write(vma->anon_vma);
	if (vma->vm_file)
		up_write(&vma->vm_file->f_mapping->i_mmap_rwsem);
}

/* Carries one entry over, which stays what it was but for soft-dirty. Both tables are locked. */
static inline pte_t move_pte(pte_t *from, pte_t *to)
{
	pte_t v;

	assert_pte_locked(from);
	assert_pte_locked(to);
	ASSERT_DEBUG(pte_none(pte_get(to)));
	v = hal_pte_xchg(from, 0);
	set_pte(to, arch_pte_edit(v, PTE_BIT_SOFT_DIRTY, 0));
	return v;
}

/* Moves the entries of one stretch of vma that lies in a single table at either end, or the first few
 * of them if they hold code: how many bytes of the stretch are done. One hold of both locks, one flush. */
static size_t move_batch(struct vm_area_struct *vma, pte_t *from, uintptr_t old, pte_t *to,
			 uintptr_t new_, size_t len)
{
	pte_t *const first_from = from, *const first_to = to;
	struct mm_struct *mm = vma->vm_mm;
	uintptr_t end = old + len, flush_first = UINTPTR_MAX, flush_end = 0;
	struct page *old_table = pt_page(from), *new_table = pt_page(to);
	unsigned long moved = 0, most;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(IS_ALIGNED(old | new_ | len, PAGE_SIZE));
	ptl_lock_two(first_to, first_from);
	most = old_table->private;
	if (vma->vm_flags & VM_EXEC) {
		most = min(most, (unsigned long)PTL_BATCH_SLOW);
		sync_code_batch(from, len >> PAGE_SHIFT, most);
	}
	for (; old != end && moved < most; old += PAGE_SIZE, new_ += PAGE_SIZE, from++, to++) {
		pte_t v = pte_get(from);

		if (pte_none(v))
			continue;
		v = move_pte(from, to);
		moved++;
		if (likely(arch_pte_is_leaf(v))) {
			flush_first = min(flush_first, old);
			flush_end = old + PAGE_SIZE;
			hal_pt_published(&mm->arch, new_);
		}
	}
	if (moved == old_table->private)
		old = end; /* the rest is empty */
	/* Every entry of the new place was empty: it was unmapped, or never mapped. */
	count_entries(new_table, (long)moved);
	count_entries(old_table, -(long)moved);
	/* Before another CPU can lock the old table and find the page gone from there. */
	if (flush_first < flush_end)
		hal_tlb_flush(&mm->arch, flush_first, flush_end, 0, false);
	ptl_unlock_two(first_to, first_from);
	return len - (end - old);
}

/* The whole stretch. */
static void move_ptes(struct vm_area_struct *vma, pte_t *from, uintptr_t old, pte_t *to, uintptr_t new_,
		      size_t len)
{
	size_t done = 0, part;

	for (; done < len; done += part, from += part >> PAGE_SHIFT, to += part >> PAGE_SHIFT)
		part = move_batch(vma, from, old + done, to, new_ + done, len - done);
}

/* What take_rmap_locks() took: no reverse walk may look for a page between its two places. */
static void assert_rmap_locked(const struct vm_area_struct *vma)
{
	if (vma->vm_file)
		assert_held_write(&vma->vm_file->f_mapping->i_mmap_rwsem);
	if (vma->anon_vma)
		assert_held_write(&vma->anon_vma->root->rwsem);
}

/* Moves entries of [old, old + len) in vma to new_addr in new_vma. Returns bytes moved. */
static size_t move_page_tables(struct vm_area_struct *vma, uintptr_t old,
			       struct vm_area_struct *new_vma, uintptr_t new_addr, size_t len,
			       bool need_rmap_locks)
{
	struct mm_struct *mm = vma->vm_mm;
	size_t done = 0, part;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(new_vma->vm_mm == mm);
	for (; done < len; done += part, old += part, new_addr += part) {
		pte_t *from = pt_find(mm, old), *to;

		part = min(len - done, PMD_SPAN - (old & (PMD_SPAN - 1)));
		if (!from || !__atomic_load_n(&pt_page(from)->private, __ATOMIC_ACQUIRE))
			continue;
		part = min(part, PMD_SPAN - (new_addr & (PMD_SPAN - 1)));
		to = pt_make(mm, new_addr);
		if (!to)
			break;
		if (need_rmap_locks)
			take_rmap_locks(vma);
		if (DEBUG_ASSERTS && need_rmap_locks)
			assert_rmap_locked(vma);
		move_ptes(vma, from, old, to, new_addr, part);
		if (need_rmap_locks)
			drop_rmap_locks(vma);
		os_cond_resched();
	}
	/* Before somebody gets a fresh page at the old place. */
	flush_tlb_batched_pending(mm);
	return done;
}

/* ---- moving a VMA ---------------------------------------------------------------------------- */

struct move {
	struct mm_struct *mm;
	uintptr_t old, new_;
	size_t old_len, new_len;
	unsigned flags;
	size_t locked; /* bytes to be populated at the new place */
};

/* Locked pages, from the VMAs themselves. */
static unsigned long recount_locked(struct mm_struct *mm)
{
	unsigned long n = 0;

	assert_held_write(&mm->mmap_lock);
	for (struct vm_area_struct *vma = mm->mmap; vma; vma = vma->vm_next)
		if (vma->vm_flags & VM_LOCKED)
			n += vma_pages(vma);
	return n;
}

/*
 * MREMAP_DONTUNMAP: the old VMA stays, empty and not locked, also where only a part of it moved.
 * What then is locked no more stays counted (as in 5.10): munlock() does not find it. As there,
 * too, the area behind one out of whose middle pages went becomes accounted, as if there had been a
 * split.
 */
static void move_keep_old(struct move *m, struct vm_area_struct *vma, struct vm_area_struct *new_vma,
			  bool accounted)
{
	bool locked = vma->vm_flags & VM_LOCKED, inside;
	struct vm_area_struct *next = vma->vm_next;

	assert_held_write(&m->mm->mmap_lock);
	inside = m->old > vma->vm_start && m->old + m->old_len < vma->vm_end;
	vma_set_flags(vma, vma->vm_flags & VM_LOCKED_CLEAR_MASK);
	if (accounted && inside && new_vma != vma && next && !(next->vm_flags & VM_ACCOUNT)) {
		vma_set_flags(next, next->vm_flags | VM_ACCOUNT);
		vm_unacct_memory(-(long)vma_pages(next));
	}
	if (locked)
		m->mm->locked_stale = m->mm->locked_vm - recount_locked(m->mm);
}

/* Unmaps the old range. accounted: its charge (commit.c) went to the new place. */
static void move_unmap_old(struct move *m, struct vm_area_struct *vma, bool accounted)
{
	uintptr_t start = vma->vm_start, end = vma->vm_end, old_end = m->old + m->old_len;
	struct vm_area_struct *v;
	bool failed;

	assert_held_write(&m->mm->mmap_lock);
	if (accounted)
		vma_set_flags(vma, vma->vm_flags & ~VM_ACCOUNT);
	failed = do_munmap(m->mm, m->old, m->old_len) != 0;
	if (!accounted)
		return;
	/* A split failed: all of it stays mapped, and is charged a second time. */
	if (failed)
		vm_unacct_memory(-(long)(m->old_len >> PAGE_SHIFT));
	/* What is left of the source keeps its own part of the charge. */
	for (v = find_vma(m->mm, start); v && v->vm_start < end; v = v->vm_next)
		if (failed || v->vm_end <= m->old || v->vm_start >= old_end)
			vma_set_flags(v, v->vm_flags | VM_ACCOUNT);
}

static uintptr_t move_vma(struct move *m, struct vm_area_struct *vma)
{
	struct mm_struct *mm = m->mm;
	unsigned long pgoff = linear_page_index(vma, m->old), hiwater;
	bool dontunmap = m->flags & MREMAP_DONTUNMAP, locks;
	struct vm_area_struct *new_vma;
	vm_flags_t flags = vma->vm_flags;
	uintptr_t ret = m->new_;
	size_t moved;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(m->new_len);
	/* A move may split the source twice and add one. */
	if (mm->map_count >= vm_sysctl.max_map_count - 3)
		return -ENOMEM;
	if (dontunmap && (flags & VM_ACCOUNT) &&
	    security_vm_enough_memory_mm(mm, m->new_len >> PAGE_SHIFT))
		return -ENOMEM;
	new_vma = copy_vma(&vma, m->new_, m->new_len, pgoff, &locks);
	if (!new_vma) {
		if (dontunmap && (flags & VM_ACCOUNT))
			vm_unacct_memory(m->new_len >> PAGE_SHIFT);
		return -ENOMEM;
	}
	moved = move_page_tables(vma, m->old, new_vma, m->new_, m->old_len, locks);
	if (moved < m->old_len) {
		/* Out of tables: carry back what went, then unmap the new place instead. */
		move_page_tables(new_vma, m->new_, vma, m->old, moved, true);
		vma = new_vma;
		m->old_len = m->new_len;
		m->old = m->new_;
		ret = -ENOMEM;
		if (dontunmap && (flags & VM_ACCOUNT))
			vm_unacct_memory(m->new_len >> PAGE_SHIFT);
		dontunmap = false;
	} else if (unlikely(new_vma->vm_userfaultfd_ctx)) {
		/* Whoever fills the old place is not told of the new one. */
		vma_set_flags(new_vma, new_vma->vm_flags & ~(VM_UFFD_MISSING | VM_UFFD_WP));
		new_vma->vm_userfaultfd_ctx = NULL;
	}
	hiwater = mm->hiwater_vm;
	vm_stat_account(mm, new_vma->vm_flags, m->new_len >> PAGE_SHIFT);
	if (dontunmap) {
		move_keep_old(m, vma, new_vma, flags & VM_ACCOUNT);
		return ret;
	}
	move_unmap_old(m, vma, flags & VM_ACCOUNT);
	if (flags & VM_LOCKED) {
		vm_count(&mm->locked_vm, m->new_len >> PAGE_SHIFT);
		m->locked = m->new_len;
	}
	/* Both were mapped for a moment only. */
	WRITE_ONCE(mm->hiwater_vm, hiwater);
	return ret;
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* Would grow bytes more of a locked area exceed the limit? In bytes, where mlock_future_check() counts
 * pages: almost all addresses make the sum wrap, and then it is the room that is missing. */
static bool locks_too_much(const struct vm_area_struct *vma, size_t grow)
{
	const struct mm_struct *mm = vma->vm_mm;

	return vma->vm_flags & VM_LOCKED &&
	       (mm->locked_vm << PAGE_SHIFT) + grow > rlimit(mm, RLIMIT_MEMLOCK) &&
	       !os_capable(mm->owner, CAP_IPC_LOCK);
}

/* The VMA to resize, if that is allowed; *charged: pages newly charged. NULL: *err tells. */
static struct vm_area_struct *vma_to_resize(struct move *m, unsigned long *charged, int *err)
{
	struct vm_area_struct *vma = find_vma(m->mm, m->old);
	struct mm_struct *mm = m->mm;
	unsigned long grow;

	assert_held_write(&mm->mmap_lock);
	*charged = 0;
	*err = -EFAULT;
	if (!vma || vma->vm_start > m->old)
		return NULL;
	*err = -EINVAL;
	/* A copy of private memory by old_len 0 would be two VMAs over one set of pages. */
	if (!m->old_len && !(vma->vm_flags & (VM_SHARED | VM_MAYSHARE)))
		return NULL;
	if ((m->flags & MREMAP_DONTUNMAP) && !vma_is_anonymous(vma))
		return NULL;
	*err = -EFAULT;
	if (m->old_len > vma->vm_end - m->old)
		return NULL;
	if (m->new_len == m->old_len)
		return vma;
	if (vma->vm_flags & (VM_DONTEXPAND | VM_PFNMAP))
		return NULL;
	*err = -EAGAIN;
	grow = (m->new_len - m->old_len) >> PAGE_SHIFT;
	if (locks_too_much(vma, m->new_len - m->old_len))
		return NULL;
	*err = -ENOMEM;
	if (!may_expand_vm(mm, vma->vm_flags, grow))
		return NULL;
	if (vma->vm_flags & VM_ACCOUNT) {
		if (security_vm_enough_memory_mm(mm, grow))
			return NULL;
		*charged = grow;
	}
	*err = 0;
	return vma;
}

static uintptr_t mremap_to(struct move *m)
{
	struct mm_struct *mm = m->mm;
	struct vm_area_struct *vma;
	unsigned long map_flags = 0, charged;
	uintptr_t ret;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT(m->flags & MREMAP_MAYMOVE);
	if ((m->new_ & ~PAGE_MASK) || m->new_len > mm->task_size ||
	    m->new_ > mm->task_size - m->new_len)
		return -EINVAL;
	/* [old, old + old_len) and [new, new + new_len) must be apart. */
	if (m->old + m->old_len > m->new_ && m->new_ + m->new_len > m->old)
		return -EINVAL;
	/* Both ends may be split, and the new VMA is one more: leave room for it all. */
	if (mm->map_count + 2 >= vm_sysctl.max_map_count - 3)
		return -ENOMEM;
	if (m->flags & MREMAP_FIXED) {
		/* Whether the place may be mapped at all is asked after it was cleared. */
		err = do_munmap(mm, m->new_, m->new_len);
		if (err)
			return err;
	}
	if (m->old_len >= m->new_len) {
		err = m->old_len == m->new_len
			      ? 0
			      : do_munmap(mm, m->old + m->new_len, m->old_len - m->new_len);
		if (err)
			return err;
		m->old_len = m->new_len;
	}
	vma = vma_to_resize(m, &charged, &err);
	if (!vma)
		return err;
	if ((m->flags & MREMAP_DONTUNMAP) &&
	    !may_expand_vm(mm, vma->vm_flags, m->old_len >> PAGE_SHIFT)) {
		vm_unacct_memory(charged);
		return -ENOMEM;
	}
	if (m->flags & MREMAP_FIXED)
		map_flags |= MAP_FIXED;
	if (vma->vm_flags & VM_MAYSHARE)
		map_flags |= MAP_SHARED;
	ret = get_unmapped_area(mm, vma->vm_file, m->new_, m->new_len,
				linear_page_index(vma, m->old), map_flags);
	if (!IS_ERR_VALUE(ret)) {
		if (!(m->flags & MREMAP_FIXED))
			m->new_ = ret;
		ret = move_vma(m, vma);
	}
	if (IS_ERR_VALUE(ret))
		vm_unacct_memory(charged);
	return ret;
}

/* Is what follows the VMA free, and within the space, for delta more bytes? */
static bool vma_expandable(struct vm_area_struct *vma, size_t delta)
{
	struct mm_struct *mm = vma->vm_mm;
	uintptr_t end = vma->vm_end + delta;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(delta);
	if (end < vma->vm_end || end > mm->task_size)
		return false;
	if (vma->vm_next && vma->vm_next->vm_start < end)
		return false;
	return !IS_ERR_VALUE(get_unmapped_area(mm, NULL, vma->vm_start, end - vma->vm_start, 0,
					       MAP_FIXED));
}

/* Grows in place if the range ends with its VMA and what follows is free. False: not possible. */
static bool mremap_in_place(struct move *m, struct vm_area_struct *vma, int *err)
{
	struct mm_struct *mm = m->mm;
	unsigned long grow = (m->new_len - m->old_len) >> PAGE_SHIFT;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(m->new_len > m->old_len);
	*err = 0;
	if (m->old_len != vma->vm_end - m->old ||
	    !vma_expandable(vma, m->new_len - m->old_len))
		return false;
	*err = vma_adjust(vma, vma->vm_start, m->old + m->new_len, vma->vm_pgoff, NULL);
	if (*err)
		return true;
	vm_stat_account(mm, vma->vm_flags, grow);
	if (vma->vm_flags & VM_LOCKED) {
		vm_count(&mm->locked_vm, grow);
		m->locked = m->new_len;
	}
	return true;
}

/* Neither FIXED nor DONTUNMAP. */
static uintptr_t mremap_grow(struct move *m)
{
	struct mm_struct *mm = m->mm;
	struct vm_area_struct *vma;
	unsigned long charged;
	uintptr_t ret;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(m->new_len > m->old_len);
	vma = vma_to_resize(m, &charged, &err);
	if (!vma)
		return err;
	if (mremap_in_place(m, vma, &err)) {
		if (err)
			vm_unacct_memory(charged);
		return err ? (uintptr_t)err : m->old;
	}
	ret = -ENOMEM;
	if (m->flags & MREMAP_MAYMOVE) {
		ret = get_unmapped_area(mm, vma->vm_file, 0, m->new_len,
					linear_page_index(vma, m->old),
					vma->vm_flags & VM_MAYSHARE ? MAP_SHARED : 0);
		if (!IS_ERR_VALUE(ret)) {
			m->new_ = ret;
			ret = move_vma(m, vma);
		}
	}
	if (IS_ERR_VALUE(ret))
		vm_unacct_memory(charged);
	return ret;
}

/* mmap_lock for writing; lengths are whole pages. */
static uintptr_t mremap_locked(struct move *m)
{
	int err;

	assert_held_write(&m->mm->mmap_lock);
	ASSERT(IS_ALIGNED(m->old_len | m->new_len, PAGE_SIZE));
	if (m->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		return mremap_to(m);
	if (m->old_len >= m->new_len) {
		err = m->old_len == m->new_len
			      ? 0
			      : do_munmap(m->mm, m->old + m->new_len, m->old_len - m->new_len);
		return err ? (uintptr_t)err : m->old;
	}
	return mremap_grow(m);
}

long quire_mremap(struct quire_mm *qmm, uintptr_t addr, size_t old_len, size_t new_len,
		  unsigned long flags, uintptr_t new_addr)
{
	struct move m = {.mm = to_mm(qmm), .old = addr, .new_ = new_addr, .flags = flags};
	size_t grew_from;
	uintptr_t ret;

	if (flags & ~(unsigned long)(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP))
		return -EINVAL;
	if ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE))
		return -EINVAL;
	/* Compared before rounding, as up to 6.16 (MR15). */
	if ((flags & MREMAP_DONTUNMAP) && (!(flags & MREMAP_MAYMOVE) || old_len != new_len))
		return -EINVAL;
	if (addr & ~PAGE_MASK)
		return -EINVAL;
	m.old_len = grew_from = PAGE_ALIGN(old_len);
	m.new_len = PAGE_ALIGN(new_len);
	if (!m.new_len)
		return -EINVAL;
	down_write(&m.mm->mmap_lock);
	ret = mremap_locked(&m);
	up_write(&m.mm->mmap_lock);
	if (!IS_ERR_VALUE(ret) && m.locked > grew_from)
		mm_populate(m.mm, ret + grew_from, m.new_len - grew_from);
	return ret;
}
