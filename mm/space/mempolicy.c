/* SPDX-License-Identifier: MIT */
/*
 * Policies of areas: where their pages are to lie. There is one node, so no page ever lies elsewhere; what a
 * policy does is to keep an area from being merged with one of another. To the core it is a word.
 */
#include "mm/space/range.h"
#include <quire/abi.h>

/* 5.10: a range that touches nothing is refused always, one with holes unless the caller does not mind. */
static int check_holes(struct mm_struct *mm, uintptr_t start, uintptr_t end, bool holes)
{
	struct vm_area_struct *vma = find_vma(mm, start);

	assert_held_any(&mm->mmap_lock);
	if (!vma || vma->vm_start >= end)
		return -EFAULT;
	if (holes)
		return 0;
	for (; vma->vm_start <= start; vma = vma->vm_next) {
		start = vma->vm_end;
		if (start >= end)
			return 0;
		if (!vma->vm_next)
			break;
	}
	return -EFAULT;
}

/* The part [start, end) of vma gets the policy; *prev: the area that has it then. */
static int bind_vma(struct vm_area_struct *vma, struct vm_area_struct **prev, uintptr_t start, uintptr_t end,
		    void *policy)
{
	int err;

	assert_held_write(&vma->vm_mm->mmap_lock);
	if (vma->vm_policy == policy) {
		*prev = vma;
		return 0;
	}
	err = vma_modify(&vma, prev, start, end, vma->vm_flags, policy, vma->vm_userfaultfd_ctx);
	if (!err)
		vma->vm_policy = policy;
	return err;
}

static int bind_range(struct mm_struct *mm, uintptr_t start, uintptr_t end, void *policy)
{
	struct vm_area_struct *vma = find_vma(mm, start), *prev = vma ? vma->vm_prev : NULL;
	int err = 0;

	assert_held_write(&mm->mmap_lock);
	if (vma && start > vma->vm_start)
		prev = vma;
	for (; vma && vma->vm_start < end && !err; vma = prev->vm_next)
		err = bind_vma(vma, &prev, max(start, vma->vm_start), min(end, vma->vm_end), policy);
	return err;
}

long quire_mbind(struct quire_mm *qmm, uintptr_t start, size_t len, uintptr_t policy, bool holes)
{
	struct mm_struct *mm = to_mm(qmm);
	int err;

	ASSERT(IS_ALIGNED(start | len, PAGE_SIZE) && len && start + len > start);
	down_write(&mm->mmap_lock);
	err = check_holes(mm, start, start + len, holes);
	if (!err)
		err = bind_range(mm, start, start + len, (void *)policy);
	up_write(&mm->mmap_lock);
	return err;
}

int quire_mm_policy(struct quire_mm *qmm, uintptr_t addr, uintptr_t *policy)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma;
	int err = -EFAULT;

	down_read(&mm->mmap_lock);
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr) {
		*policy = (uintptr_t)vma->vm_policy;
		err = 0;
	}
	up_read(&mm->mmap_lock);
	return err;
}
