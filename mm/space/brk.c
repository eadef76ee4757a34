/* SPDX-License-Identifier: MIT */
/*
 * brk: the heap, whose end it moves; and what a program loader sets up besides, the stack. Orders
 * of checks and effects are Linux 5.10's.
 */
#include "mm/space/vma.h"
#include <quire/abi.h>

int do_brk(struct mm_struct *mm, uintptr_t addr, size_t len, vm_flags_t flags)
{
	struct vm_area_struct *vma, *prev;
	unsigned long npages = len >> PAGE_SHIFT;
	struct rb_node **link, *parent;
	uintptr_t got;

	assert_held_write(&mm->mmap_lock);
	ASSERT(IS_ALIGNED(addr | len, PAGE_SIZE));
	flags |= VM_DATA_DEFAULT_FLAGS | VM_ACCOUNT | mm->def_flags;
	got = get_unmapped_area(mm, NULL, addr, len, 0, MAP_FIXED);
	if (IS_ERR_VALUE(got))
		return got;
	if (mlock_future_check(mm, mm->def_flags, len))
		return -EAGAIN;
	if (munmap_vma_range(mm, addr, len, &prev, &link, &parent))
		return -ENOMEM;
	if (!may_expand_vm(mm, flags, npages) || mm->map_count > vm_sysctl.max_map_count)
		return -ENOMEM;
	if (security_vm_enough_memory_mm(mm, npages))
		return -ENOMEM;
	vma = vma_merge(mm, prev, addr, addr + len, flags, NULL, NULL, addr >> PAGE_SHIFT, NULL,
			NULL);
	if (!vma) {
		vma = vm_area_alloc(mm);
		if (!vma) {
			vm_unacct_memory(npages);
			return -ENOMEM;
		}
		vma_set_anonymous(vma);
		vma->vm_start = addr;
		vma->vm_end = addr + len;
		vma->vm_pgoff = addr >> PAGE_SHIFT;
		vma->vm_flags = flags;
		vma_link(mm, vma, prev, link, parent);
	}
	mmap_finish(mm, vma, flags, npages);
	return 0;
}

/* RLIMIT_DATA bounds heap and data segment together, in bytes. */
static bool brk_within_limit(struct mm_struct *mm, uintptr_t brk)
{
	uint64_t limit = rlimit(mm, RLIMIT_DATA);

	assert_held_write(&mm->mmap_lock);
	return limit == RLIM_INFINITY ||
	       (brk - mm->start_brk) + (mm->end_data - mm->start_data) <= limit;
}

/* mmap_lock for writing. *grown: bytes added from the old end, to be populated if locked. */
static uintptr_t brk_locked(struct mm_struct *mm, uintptr_t brk, uintptr_t *from, size_t *grown)
{
	uintptr_t newbrk, oldbrk, origbrk = mm->brk;
	struct vm_area_struct *next;

	assert_held_write(&mm->mmap_lock);
	if (brk < mm->start_brk || !brk_within_limit(mm, brk))
		return origbrk;
	newbrk = PAGE_ALIGN(brk);
	oldbrk = PAGE_ALIGN(mm->brk);
	if (newbrk < brk)
		return origbrk;
	if (newbrk < oldbrk) {
		if (do_munmap(mm, newbrk, oldbrk - newbrk))
			return origbrk;
	} else if (newbrk > oldbrk) {
		/* One free page, at least, stays between the heap and what follows (BK04). */
		next = find_vma(mm, oldbrk);
		if (next && newbrk + PAGE_SIZE > vm_start_gap(next))
			return origbrk;
		if (do_brk(mm, oldbrk, newbrk - oldbrk, 0))
			return origbrk;
		*from = oldbrk;
		*grown = newbrk - oldbrk;
	}
	mm->brk = brk;
	return brk;
}

static uintptr_t sys_brk(struct mm_struct *mm, uintptr_t brk)
{
	uintptr_t ret, from = 0;
	size_t grown = 0;
	bool populate;

	down_write(&mm->mmap_lock);
	ret = brk_locked(mm, brk, &from, &grown);
	populate = grown && (mm->def_flags & VM_LOCKED);
	up_write(&mm->mmap_lock);
	if (populate)
		mm_populate(mm, from, grown);
	return ret;
}

uintptr_t quire_brk(struct quire_mm *mm, uintptr_t brk)
{
	return sys_brk(to_mm(mm), brk);
}

/* ---- what a program loader sets up ------------------------------------------------------------ */

int quire_mm_setup_stack(struct quire_mm *qmm, uintptr_t end, size_t size, bool exec)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma = vm_area_alloc(mm);
	int err;

	if (!vma)
		return -ENOMEM;
	vma->vm_end = end;
	vma->vm_start = end - PAGE_ALIGN(size);
	/* Not VM_SOFTDIRTY: Linux's exec sets the final rights over it, and so takes it away. */
	vma->vm_flags = VM_STACK_FLAGS | mm->def_flags | (exec ? VM_EXEC : 0);
	vma_set_page_prot(vma);
	down_write(&mm->mmap_lock);
	err = may_expand_vm(mm, vma->vm_flags, vma_pages(vma)) ? insert_vm_struct(mm, vma) : -ENOMEM;
	if (err)
		vm_area_free(vma);
	else
		vm_stat_account(mm, vma->vm_flags, vma_pages(vma));
	up_write(&mm->mmap_lock);
	return err;
}
