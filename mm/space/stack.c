/* SPDX-License-Identifier: MIT */
/*
 * Stack growth: a VMA with VM_GROWSDOWN reaches down to a faulting address, as far as the stack
 * limit and the guard gap below it allow. Under mmap_lock for writing, as any change of a VMA: vm_start
 * and vm_pgoff move together, and whoever reads both must find the same key of the reverse map. (5.10
 * grows under the lock for reading, and others see the two torn; Linux does so no more since 6.5.) A
 * fault and a copy from outside hold it for reading: they change it (find_grown_vma).
 */
#include "mm/rmap/rmap.h"
#include "mm/space/range.h"
#include <quire/abi.h>

/* May the VMA become size bytes, grow pages more than now? 0 or -ENOMEM. */
static int acct_stack_growth(struct vm_area_struct *vma, size_t size, unsigned long grow)
{
	struct mm_struct *mm = vma->vm_mm;

	assert_held_any(&mm->mmap_lock);
	ASSERT(grow);
	if (!may_expand_vm(mm, vma->vm_flags, grow))
		return -ENOMEM;
	if (size > rlimit(mm, RLIMIT_STACK))
		return -ENOMEM;
	if ((vma->vm_flags & VM_LOCKED) && !os_capable(mm->owner, CAP_IPC_LOCK) &&
	    mm->locked_vm + grow > rlimit(mm, RLIMIT_MEMLOCK) >> PAGE_SHIFT)
		return -ENOMEM;
	if (security_vm_enough_memory_mm(mm, grow))
		return -ENOMEM;
	/* 5.10 asks of every growth, and charges also a stack that never was accounted: it leaks. */
	if (!(vma->vm_flags & VM_ACCOUNT))
		vm_unacct_memory((long)grow);
	return 0;
}

/* An accessible VMA below keeps its distance, unless it is a stack itself (GD05). */
static bool guard_gap_kept(const struct vm_area_struct *vma, uintptr_t addr)
{
	const struct vm_area_struct *prev = vma->vm_prev;

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (!prev || (prev->vm_flags & VM_GROWSDOWN) || !vma_is_accessible(prev))
		return true;
	return addr - prev->vm_end >= STACK_GUARD_GAP;
}

/* The VMA begins at addr from now on, grow pages lower. */
static void stack_moves_down(struct vm_area_struct *vma, uintptr_t addr, unsigned long grow)
{
	struct mm_struct *mm = vma->vm_mm;

	assert_held_write(&vma->anon_vma->root->rwsem);
	ASSERT(addr < vma->vm_start);
	assert_held_write(&mm->mmap_lock);
	if (vma->vm_flags & VM_LOCKED)
		vm_count(&mm->locked_vm, grow);
	vm_stat_account(mm, vma->vm_flags, grow);
	anon_vma_interval_tree_pre_update_vma(vma);
	vma->vm_start = addr;
	vma->vm_pgoff -= grow;
	anon_vma_interval_tree_post_update_vma(vma);
	vma_gap_update(vma);
}

static int expand_downwards(struct vm_area_struct *vma, uintptr_t addr)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long grow;
	int err = 0;

	assert_held_write(&mm->mmap_lock);
	ASSERT(vma->vm_flags & VM_GROWSDOWN);
	addr &= PAGE_MASK;
	if (addr < lowest_mmap_addr())
		return -EPERM;
	if (!guard_gap_kept(vma, addr))
		return -ENOMEM;
	if (anon_vma_prepare(vma))
		return -ENOMEM;
	/* The anon_vma's tree is keyed by the range that changes. */
	anon_vma_lock_write(vma->anon_vma);
	if (addr < vma->vm_start) {
		grow = (vma->vm_start - addr) >> PAGE_SHIFT;
		err = grow <= vma->vm_pgoff ? acct_stack_growth(vma, vma->vm_end - addr, grow)
					    : -ENOMEM;
		if (!err) {
			stack_moves_down(vma, addr, grow);
			perf_event_mmap(vma);
		}
	}
	anon_vma_unlock_write(vma->anon_vma);
	return err;
}

/* Grows a VM_GROWSDOWN VMA down to addr. mmap_lock for writing. 0, -ENOMEM, -EPERM. */
static int expand_stack(struct vm_area_struct *vma, uintptr_t addr)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	return expand_downwards(vma, addr);
}

struct vm_area_struct *find_grown_vma(struct mm_struct *mm, uintptr_t addr)
{
	struct vm_area_struct *vma;

	assert_held_read(&mm->mmap_lock);
	up_read(&mm->mmap_lock);
	down_write(&mm->mmap_lock);
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start > addr &&
	    (!(vma->vm_flags & VM_GROWSDOWN) || expand_stack(vma, addr)))
		vma = NULL;
	downgrade_write(&mm->mmap_lock);
	return vma;
}

struct vm_area_struct *find_extend_vma(struct mm_struct *mm, uintptr_t addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);
	uintptr_t start;

	assert_held_any(&mm->mmap_lock);
	if (!vma || vma->vm_start <= addr)
		return vma;
	if (!(vma->vm_flags & VM_GROWSDOWN))
		return NULL;
	start = vma->vm_start;
	vma = find_grown_vma(mm, addr);
	/* Another may have grown it, or put something else there, meanwhile. */
	if (vma && vma->vm_flags & VM_LOCKED && vma->vm_start < start)
		populate_vma_page_range(vma, vma->vm_start, min(start, vma->vm_end), NULL);
	return vma;
}
