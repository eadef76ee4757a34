/* SPDX-License-Identifier: MIT */
/* mincore, msync and remap_file_pages: what is in memory, what is written back, the old re-mapper. */
#include "mm/object/writeback.h"
#include "mm/space/range.h"
#include <quire/abi.h>

/* ---- mincore --------------------------------------------------------------------------------- */

/* 1 if the page of addr is in memory: in the table, or in the object's cache. */
static unsigned char mincore_page(struct vm_area_struct *vma, uintptr_t addr)
{
	pte_t *pte = pt_find(vma->vm_mm, addr);
	pte_t v = pte ? pte_get(pte) : 0;

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (is_swap_pte(v)) /* it may have been read ahead, or not have left yet */
		return swap_cache_resident(pte_to_swp_entry(v));
	if (!pte_none(v)) /* on the move is in memory too */
		return 1;
	if (!vma->vm_file || vma_is_anonymous(vma))
		return 0;
	return page_cache_resident(vma->vm_file->f_mapping, linear_page_index(vma, addr));
}

/* Fills vec for up to n pages of one VMA. Returns how many, or -ENOMEM. */
static long do_mincore(struct mm_struct *mm, uintptr_t addr, size_t n, unsigned char *vec)
{
	struct vm_area_struct *vma = find_vma(mm, addr);
	uintptr_t end;
	size_t i;

	assert_held_any(&mm->mmap_lock);
	ASSERT(n);
	if (!vma || addr < vma->vm_start)
		return -ENOMEM;
	end = min(vma->vm_end, addr + (n << PAGE_SHIFT));
	for (i = 0; addr < end; addr += PAGE_SIZE, i++)
		vec[i] = mincore_page(vma, addr);
	return i;
}

/* Does [addr, addr + len) lie in the space? */
static bool access_ok(const struct mm_struct *mm, uintptr_t addr, size_t len)
{
	return len <= mm->task_size && addr <= mm->task_size - len;
}

long quire_mincore(struct quire_mm *qmm, uintptr_t addr, size_t len, uintptr_t vec)
{
	struct mm_struct *mm = to_mm(qmm);
	size_t pages = (len >> PAGE_SHIFT) + ((len & ~PAGE_MASK) != 0);
	unsigned char part[256];
	long n;

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (!access_ok(mm, addr, len))
		return -ENOMEM;
	if (!access_ok(mm, vec, pages))
		return -EFAULT;
	while (pages) {
		down_read(&mm->mmap_lock);
		n = do_mincore(mm, addr, min(pages, sizeof(part)), part);
		up_read(&mm->mmap_lock);
		if (n < 0)
			return n;
		/* Not under the lock: the copy may fault. */
		assert_no_mutex();
		if (hal_copy_to_user(vec, part, n))
			return -EFAULT;
		pages -= n;
		vec += n;
		addr += (uintptr_t)n << PAGE_SHIFT;
	}
	return 0;
}

/* ---- msync ----------------------------------------------------------------------------------- */

/* The part of a shared mapping of a file from start on, up to end: its file, referenced, and bytes of it.
 * NULL: there is nothing to write. */
static struct file *msync_file(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, int flags,
			       uint64_t *from, uint64_t *to)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	if (!(flags & MS_SYNC) || !vma->vm_file || !(vma->vm_flags & VM_SHARED))
		return NULL;
	*from = ((uint64_t)vma->vm_pgoff << PAGE_SHIFT) + (start - vma->vm_start);
	*to = *from + (min(end, vma->vm_end) - start);
	return get_file(vma->vm_file);
}

/* As in Linux MS_ASYNC starts nothing: the flusher comes by. mmap_lock is given up while a file is
 * written, and then the area looked up that begins where that one ended. */
static int msync_range(struct mm_struct *mm, uintptr_t start, uintptr_t end, int flags)
{
	struct vm_area_struct *vma = find_vma(mm, start);
	int unmapped = 0, err;

	assert_held_read(&mm->mmap_lock);
	ASSERT(start < end);
	for (;;) {
		uint64_t from, to;
		struct file *f;

		if (!vma)
			return -ENOMEM;
		if (start < vma->vm_start) {
			unmapped = -ENOMEM;
			start = vma->vm_start;
			if (start >= end)
				return unmapped;
		}
		if ((flags & MS_INVALIDATE) && (vma->vm_flags & VM_LOCKED))
			return -EBUSY;
		f = msync_file(vma, start, end, flags, &from, &to);
		start = vma->vm_end;
		if (f) {
			up_read(&mm->mmap_lock);
			err = file_write_and_wait_range(f, from, to, true);
			fput(f);
			down_read(&mm->mmap_lock);
			if (err)
				return err;
		}
		if (start >= end)
			return unmapped;
		vma = f ? find_vma(mm, start) : vma->vm_next;
	}
}

long quire_msync(struct quire_mm *qmm, uintptr_t addr, size_t len, int flags)
{
	struct mm_struct *mm = to_mm(qmm);
	uintptr_t end;
	int err;

	if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || (addr & ~PAGE_MASK) ||
	    (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return -EINVAL;
	end = addr + PAGE_ALIGN(len);
	if (end < addr)
		return -ENOMEM;
	if (end == addr)
		return 0;
	down_read(&mm->mmap_lock);
	err = msync_range(mm, addr, end, flags);
	up_read(&mm->mmap_lock);
	return err;
}

/* ---- remap_file_pages ------------------------------------------------------------------------ */

/* Is [start, end) covered without a hole by VMAs of the same file and flags as the first? */
static struct vm_area_struct *uniform_shared_range(struct mm_struct *mm, uintptr_t start,
						   uintptr_t end)
{
	struct vm_area_struct *vma = find_vma(mm, start), *v;

	assert_held_write(&mm->mmap_lock);
	ASSERT(start < end);
	if (!vma || !(vma->vm_flags & VM_SHARED) || start < vma->vm_start)
		return NULL;
	for (v = vma; v->vm_end < end; v = v->vm_next)
		if (!v->vm_next || v->vm_next->vm_start != v->vm_end ||
		    v->vm_next->vm_file != vma->vm_file || v->vm_next->vm_flags != vma->vm_flags)
			return NULL;
	return vma;
}

/* As since 4.0: an ordinary fixed mapping over the old one. mmap_lock for writing. */
static uintptr_t remap_locked(struct mm_struct *mm, uintptr_t start, size_t size, size_t pgoff,
			      unsigned long flags, size_t *populate)
{
	struct vm_area_struct *vma = uniform_shared_range(mm, start, start + size);
	unsigned long prot;
	struct file *file;
	uintptr_t ret;

	assert_held_write(&mm->mmap_lock);
	*populate = 0;
	if (!vma)
		return -EINVAL;
	prot = vma->vm_flags & VM_ACCESS_FLAGS; /* PROT_* have the same values */
	flags = (flags & MAP_NONBLOCK) | MAP_SHARED | MAP_FIXED | MAP_POPULATE;
	if (vma->vm_flags & VM_LOCKED)
		flags |= MAP_LOCKED;
	file = get_file(vma->vm_file);
	ret = do_mmap(mm, file, start, size, prot, flags, pgoff, populate);
	fput(file);
	return ret;
}

long quire_remap_file_pages(struct quire_mm *qmm, uintptr_t addr, size_t len, unsigned long prot,
			    size_t pgoff, unsigned long flags)
{
	struct mm_struct *mm = to_mm(qmm);
	size_t populate;
	uintptr_t ret;

	addr &= PAGE_MASK;
	len &= PAGE_MASK;
	if (prot || addr + len <= addr || pgoff + (len >> PAGE_SHIFT) < pgoff)
		return -EINVAL;
	down_write(&mm->mmap_lock);
	ret = remap_locked(mm, addr, len, pgoff, flags, &populate);
	up_write(&mm->mmap_lock);
	if (populate)
		mm_populate(mm, ret, populate);
	return IS_ERR_VALUE(ret) ? (long)ret : 0;
}
