/* SPDX-License-Identifier: MIT */
/*
 * mprotect: other rights for a range. The range is worked off VMA by VMA, and what was changed
 * before an error stays changed, as in Linux. Private memory never gets W in its entries here:
 * its next write faults, and is found to be its page's sole owner or not.
 */
#include "mm/space/range.h"
#include <quire/abi.h>

struct protect {
	struct vm_area_struct *vma;
	pgprot_t prot;
	bool dirty_accountable;
	unsigned long changed;
	uintptr_t flush_first, flush_end;
};

/* The entry with its new rights. */
static pte_t protect_pte(const struct protect *p, pte_t v)
{
	struct pte_desc d = pte_desc(pte_modify(v, p->prot));

	ASSERT_DEBUG(pte_present(v));
	/* A page known to be dirty need not be noticed being written again. */
	if (p->dirty_accountable && d.kind == PTE_LEAF && d.dirty &&
	    (d.soft_dirty || !(p->vma->vm_flags & VM_SOFTDIRTY)))
		d.w = true;
	return pte_make(d);
}

static void change_pte(struct protect *p, pte_t *pte, uintptr_t addr)
{
	struct mm_struct *mm = p->vma->vm_mm;
	pte_t old, now;

	assert_pte_locked(pte);
	/* Empty while it changes, so that no accessed or dirty bit of the hardware's is lost. */
	old = hal_pte_xchg(pte, 0);
	now = protect_pte(p, old);
	if (pte_desc(now).x && !pte_desc(old).x)
		hal_icache_sync(page_address(pfn_to_page(pte_pfn(now))), PAGE_SIZE);
	set_pte(pte, now);
	p->changed++;
	if (pte_desc(old).kind == PTE_LEAF) {
		p->flush_first = min(p->flush_first, addr);
		p->flush_end = max(p->flush_end, addr + PAGE_SIZE);
	} else if (pte_desc(now).kind == PTE_LEAF) {
		hal_pt_published(&mm->arch, addr);
	}
}

static int change_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end,
			    void *ctx)
{
	struct page *table = pt_page(pte);
	unsigned long left, changed = 0;

	assert_held_write(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	left = table->private;
	for (; start != end && left; start += PAGE_SIZE, pte++) {
		if (pte_none(pte_get(pte)))
			continue;
		left--;
		if (!pte_present(pte_get(pte)))
			continue;
		change_pte(ctx, pte, start);
		ptl_breathe(&table->ptl, ++changed);
	}
	ptl_unlock(&table->ptl);
	return 0;
}

/* Gives the present entries of the range other rights; returns how many changed. */
static unsigned long change_protection(struct vm_area_struct *vma, uintptr_t start, uintptr_t end,
				       pgprot_t prot, bool dirty_accountable)
{
	struct protect p = {
		.vma = vma,
		.prot = prot,
		.dirty_accountable = dirty_accountable,
		.flush_first = UINTPTR_MAX,
	};

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(start < end);
	pt_for_each(vma->vm_mm, start, end, change_pte_range, &p);
	if (p.flush_first < p.flush_end)
		hal_tlb_flush(&vma->vm_mm->arch, p.flush_first, p.flush_end, 0, false);
	flush_tlb_batched_pending(vma->vm_mm);
	return p.changed;
}

/* ---- marks of a userfaultfd ---------------------------------------------------------------------- */

struct mark {
	bool on;
	uintptr_t flush_first, flush_end;
};

/* Also of what is in swap or on the move: it comes back as its entry says. */
static void mark_pte(struct mark *m, pte_t *pte, uintptr_t addr)
{
	pte_t old = pte_get(pte);
	struct pte_desc d;

	assert_pte_locked(pte);
	if (!pte_present(old)) {
		d = pte_desc(old);
		d.uffd_wp = m->on;
		d.w = d.w && !m->on;
		set_pte(pte, pte_make(d));
		return;
	}
	/* Empty while it changes, so that no accessed or dirty bit of the hardware's is lost. */
	old = hal_pte_xchg(pte, 0);
	d = pte_desc(old);
	set_pte(pte, m->on ? arch_pte_edit(old, PTE_BIT_UFFD_WP, d.w ? PTE_BIT_W : 0)
			   : arch_pte_edit(old, 0, PTE_BIT_UFFD_WP));
	if (d.kind == PTE_LEAF) {
		m->flush_first = min(m->flush_first, addr);
		m->flush_end = max(m->flush_end, addr + PAGE_SIZE);
	}
}

static int mark_pte_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct page *table = pt_page(pte);
	unsigned long left, changed = 0;

	assert_held_write(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	left = table->private;
	for (; start != end && left; start += PAGE_SIZE, pte++) {
		if (pte_none(pte_get(pte)))
			continue;
		left--;
		mark_pte(ctx, pte, start);
		ptl_breathe(&table->ptl, ++changed);
	}
	ptl_unlock(&table->ptl);
	return 0;
}

void change_uffd_wp(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, bool on)
{
	struct mark m = {.on = on, .flush_first = UINTPTR_MAX};

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(start >= vma->vm_start && end <= vma->vm_end);
	pt_for_each(vma->vm_mm, start, end, mark_pte_range, &m);
	if (m.flush_first < m.flush_end)
		hal_tlb_flush(&vma->vm_mm->arch, m.flush_first, m.flush_end, 0, false);
	flush_tlb_batched_pending(vma->vm_mm);
}

/* ---- mprotect ------------------------------------------------------------------------------------ */

/* Becoming writable is charged (commit.c), and counts as data. 0 or -ENOMEM. */
static int mprotect_charge(struct vm_area_struct *vma, vm_flags_t *newflags, long npages,
			   long *charged)
{
	struct mm_struct *mm = vma->vm_mm;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(npages > 0);
	*charged = 0;
	if (!(*newflags & VM_WRITE))
		return 0;
	if (!may_expand_vm(mm, *newflags, npages) && may_expand_vm(mm, vma->vm_flags, npages))
		return -ENOMEM;
	if (vma->vm_flags & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE))
		return 0;
	if (security_vm_enough_memory_mm(mm, npages))
		return -ENOMEM;
	*charged = npages;
	*newflags |= VM_ACCOUNT;
	return 0;
}

/* Merges the range into its neighbours or cuts it out; *pprev: the VMA that is it then. */
static int mprotect_reshape(struct vm_area_struct *vma, struct vm_area_struct **pprev,
			    uintptr_t start, uintptr_t end, vm_flags_t newflags)
{
	struct mm_struct *mm = vma->vm_mm;
	struct vm_area_struct *merged;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(start >= vma->vm_start && end <= vma->vm_end);
	merged = vma_merge(mm, *pprev, start, end, newflags, vma->anon_vma, vma->vm_file,
			   linear_page_index(vma, start), vma->vm_policy, vma->vm_userfaultfd_ctx);
	if (merged) {
		*pprev = merged;
		return 0;
	}
	*pprev = vma;
	if (start != vma->vm_start) {
		err = split_vma(mm, vma, start, true);
		if (err)
			return err;
	}
	return end != vma->vm_end ? split_vma(mm, vma, end, false) : 0;
}

static int mprotect_fixup(struct vm_area_struct *vma, struct vm_area_struct **pprev,
			  uintptr_t start, uintptr_t end, vm_flags_t newflags)
{
	struct mm_struct *mm = vma->vm_mm;
	vm_flags_t oldflags = vma->vm_flags;
	long npages = (end - start) >> PAGE_SHIFT, charged;
	bool notify;
	int err;

	assert_held_write(&mm->mmap_lock);
	if (newflags == oldflags) {
		*pprev = vma;
		return 0;
	}
	err = mprotect_charge(vma, &newflags, npages, &charged);
	if (err)
		return err;
	err = mprotect_reshape(vma, pprev, start, end, newflags);
	if (err) {
		vm_unacct_memory(charged);
		return err;
	}
	vma = *pprev;
	vma_set_flags(vma, newflags);
	/* Asked with the old rights: where they change, each page's next write must be noticed. */
	notify = vma_wants_writenotify(vma, vma->vm_page_prot);
	vma_set_page_prot(vma);
	change_protection(vma, start, end, *vma->vm_page_prot, notify);
	/* Locked memory that can be written now takes its copies at once (ML16). */
	if ((oldflags & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED && (newflags & VM_WRITE))
		populate_vma_page_range(vma, start, end, NULL);
	vm_stat_account(mm, oldflags, -npages);
	vm_stat_account(mm, newflags, npages);
	perf_event_mmap(vma);
	return 0;
}

/* The first VMA of the range, and its true bounds with PROT_GROWSDOWN. */
static int mprotect_first(struct mm_struct *mm, uintptr_t *start, uintptr_t end, unsigned long grows,
			  struct vm_area_struct **pvma)
{
	struct vm_area_struct *vma = find_vma(mm, *start);

	assert_held_write(&mm->mmap_lock);
	*pvma = vma;
	if (!vma)
		return -ENOMEM;
	if (grows & PROT_GROWSDOWN) {
		if (vma->vm_start >= end)
			return -ENOMEM;
		*start = vma->vm_start;
		return vma->vm_flags & VM_GROWSDOWN ? 0 : -EINVAL;
	}
	if (vma->vm_start > *start)
		return -ENOMEM;
	return grows & PROT_GROWSUP ? -EINVAL : 0;
}

/* mmap_lock for writing. */
static int mprotect_range(struct mm_struct *mm, uintptr_t start, uintptr_t end, unsigned long prot,
			  unsigned long grows)
{
	struct vm_area_struct *vma, *prev;
	vm_flags_t newflags;
	int err = mprotect_first(mm, &start, end, grows, &vma);

	assert_held_write(&mm->mmap_lock);
	ASSERT(start < end);
	if (err)
		return err;
	prev = start > vma->vm_start ? vma : vma->vm_prev;
	for (;;) {
		newflags = calc_vm_prot_bits(prot) | (vma->vm_flags & ~VM_ACCESS_FLAGS);
		/* VM_MAY* are the rights shifted by four. */
		if ((newflags & ~(newflags >> 4)) & VM_ACCESS_FLAGS)
			return -EACCES;
		err = mprotect_fixup(vma, &prev, start, min(vma->vm_end, end), newflags);
		if (err)
			return err;
		/* A merge may have taken in more than was asked for. */
		start = prev->vm_end;
		if (start >= end)
			return 0;
		vma = prev->vm_next;
		if (!vma || vma->vm_start != start)
			return -ENOMEM;
	}
}

long quire_mprotect(struct quire_mm *qmm, uintptr_t addr, size_t len, unsigned long prot)
{
	unsigned long grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	struct mm_struct *mm = to_mm(qmm);
	uintptr_t end;
	int err;

	prot &= ~(unsigned long)(PROT_GROWSDOWN | PROT_GROWSUP);
	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || (addr & ~PAGE_MASK))
		return -EINVAL;
	if (!len)
		return 0;
	end = addr + PAGE_ALIGN(len);
	if (end <= addr)
		return -ENOMEM;
	if (prot & ~(unsigned long)(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM))
		return -EINVAL;
	down_write(&mm->mmap_lock);
	err = mprotect_range(mm, addr, end, prot, grows);
	up_write(&mm->mmap_lock);
	return err;
}
