/* SPDX-License-Identifier: MIT */
/*
 * Shared memory: files without a disk. Their pages exist from the first touch, start as zeros, and
 * are the only copy. Behind shared anonymous mappings, /dev/zero, memfds and tmpfs.
 *
 * What a shared anonymous mapping may come to is charged as a whole when it is made (unless
 * MAP_NORESERVE), and uncharged with the inode.
 */
#include "mm/base/vmstat.h"
#include "mm/object/file_def.h"
#include "mm/phys/commit.h"
#include <quire/abi.h>

#define SHMEM_DEV 1u /* 00:01, the kernel's own mount of shared memory */

static uint64_t shmem_next_ino;

static vm_fault_t shmem_fault(struct vm_fault *vmf)
{
	ASSERT_DEBUG(mapping_shmem(vmf->vma->vm_file->f_mapping));
	/* A hole is a page not yet made: the cache makes it, and that is no major fault. */
	return filemap_fault(vmf);
}

static const struct vm_operations_struct shmem_vm_ops = {
	.fault = shmem_fault,
	.map_pages = filemap_map_pages,
};

int shmem_mmap(struct file *f, struct vm_area_struct *vma)
{
	unsigned seals = f->f_inode->seals;

	assert_held_write(&vma->vm_mm->mmap_lock);
	/* Writes to come are forbidden, those of mappings that exist are not. */
	if (seals & F_SEAL_FUTURE_WRITE) {
		if (vma->vm_flags & VM_SHARED && vma->vm_flags & VM_WRITE)
			return -EPERM;
		if (vma->vm_flags & VM_SHARED)
			vma->vm_flags &= ~VM_MAYWRITE;
	}
	vma->vm_ops = &shmem_vm_ops;
	return 0;
}

/* /dev/zero: each shared mapping is fresh memory, none sees another's. */
int zero_mmap(struct file *f, struct vm_area_struct *vma)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	if (vma->vm_flags & VM_SHARED)
		return shmem_zero_setup(vma);
	vma->vm_ops = NULL; /* private: true anonymous memory, though maps shows the file */
	return 0;
}

int shmem_zero_setup(struct vm_area_struct *vma)
{
	size_t size = vma->vm_end - vma->vm_start;
	long charge = vma->vm_flags & VM_NORESERVE ? 0 : (long)(size >> PAGE_SHIFT);
	struct quire_inode *inode;
	struct file *f;

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(vma->vm_flags & VM_SHARED);
	if (charge && security_vm_enough_memory_mm(vma->vm_mm, charge))
		return -ENOMEM;
	inode = quire_inode_create(
		NULL, NULL, __atomic_add_fetch(&shmem_next_ino, 1, __ATOMIC_RELAXED), SHMEM_DEV,
		QUIRE_S_SHMEM);
	if (!inode) {
		vm_unacct_memory(charge);
		return -ENOMEM;
	}
	inode->charged = charge;
	inode->i_size = size;
	f = alloc_file(inode, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE, "/dev/zero (deleted)");
	quire_inode_put(inode); /* the file has one of its own; without it, that is the end */
	if (!f)
		return -ENOMEM;
	fput(vma->vm_file);
	vma->vm_file = f;
	vma->vm_ops = &shmem_vm_ops;
	return 0;
}

void shmem_evict(struct quire_inode *inode)
{
	ASSERT(!inode->refcount);
	if (inode->charged)
		vm_unacct_memory(inode->charged);
	inode->charged = 0;
}

/* ---- seals ----------------------------------------------------------------------------------- */

unsigned quire_file_seals(struct quire_file *file)
{
	return __atomic_load_n(&to_file(file)->f_inode->seals, __ATOMIC_RELAXED);
}

static int add_seals(struct quire_inode *inode, unsigned seals)
{
	int err = 0;

	assert_held_write(&inode->i_rwsem);
	if (inode->seals & F_SEAL_SEAL)
		return -EPERM;
	/* Writable mappings that exist would still write. */
	if (seals & F_SEAL_WRITE && !(inode->seals & F_SEAL_WRITE))
		err = mapping_deny_writable(&inode->i_mapping);
	if (!err)
		__atomic_store_n(&inode->seals, inode->seals | seals, __ATOMIC_RELAXED);
	return err;
}

/* Seals are only ever added, and none after F_SEAL_SEAL. */
int quire_file_add_seals(struct quire_file *file, unsigned seals)
{
	struct file *f = to_file(file);
	struct quire_inode *inode = f->f_inode;
	int err;

	if (!(f->f_mode & QUIRE_FMODE_WRITE))
		return -EPERM;
	if (seals & ~(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE |
		      F_SEAL_FUTURE_WRITE))
		return -EINVAL;
	if (!mapping_shmem(&inode->i_mapping))
		return -EINVAL;
	down_write(&inode->i_rwsem);
	err = add_seals(inode, seals);
	up_write(&inode->i_rwsem);
	return err;
}

void shmem_init(void)
{
	shmem_next_ino = 0;
}
