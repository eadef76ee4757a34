/* SPDX-License-Identifier: MIT */
/*
 * Files that a test gives a will of their own: they refuse to be mapped, change the flags of what
 * maps them, choose its address, and answer faults as they like.
 */
#ifndef TEST_UNIT_OBJECT_H
#define TEST_UNIT_OBJECT_H

#include "space.h"

static const struct file_operations *real_ops;
static vm_flags_t object_flags;
static const struct vm_operations_struct *object_vm_ops; /* NULL: as the file has them */
static int object_error;
static uintptr_t object_place;

static int own_mmap(struct file *file, struct vm_area_struct *vma)
{
	int err = object_error ? object_error : real_ops->mmap(file, vma);

	vma->vm_flags |= object_flags;
	if (object_vm_ops)
		vma->vm_ops = object_vm_ops;
	return err;
}

static uintptr_t own_place(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
			   unsigned long pgoff, unsigned long flags)
{
	return object_place;
}

static __attribute__((unused)) const struct file_operations own_ops = {.mmap = own_mmap};
static __attribute__((unused)) const struct file_operations placing_ops = {
	.mmap = own_mmap,
	.get_unmapped_area = own_place,
};

static inline struct quire_file *object(const struct file_operations *ops)
{
	struct quire_file *f = file_new(16, FRW);

	real_ops = to_file(f)->f_op;
	to_file(f)->f_op = ops;
	object_flags = 0;
	object_error = 0;
	object_vm_ops = NULL;
	return f;
}

#endif
