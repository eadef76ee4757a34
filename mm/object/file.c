/* SPDX-License-Identifier: MIT */
/*
 * Open files and inodes: creation, reference counts, write and map permissions (i_writecount,
 * i_mmap_writable), the list of all inodes. Also the public quire_inode_* and quire_file_* calls
 * about their lifetime. What a file contains is in filemap.c and shmem.c.
 */
#include "lib/string.h"
#include "mm/base/errseq.h"
#include "mm/base/lockrank.h"
#include "mm/object/file_def.h"
#include "mm/object/writeback.h"
#include "mm/slab/slab.h"
#include <quire/abi.h>

static struct kmem_cache *filp_cachep, *inode_cachep;
struct list_head all_inodes = LIST_HEAD_INIT(all_inodes);
spinlock_t inodes_lock;

/* ---- counted permissions --------------------------------------------------------------------- */

/* Adds d unless the counter has the other sign. */
static bool count_unless_opposed(int32_t *v, int32_t d)
{
	int32_t old = __atomic_load_n(v, __ATOMIC_RELAXED);

	ASSERT_DEBUG(d == 1 || d == -1);
	do {
		if (d > 0 ? old < 0 : old > 0)
			return false;
	} while (!__atomic_compare_exchange_n(v, &old, old + d, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
	return true;
}

/* A writer excludes deny_write_access() and the other way round; several of one kind may be. */
static int get_write_access(struct quire_inode *inode)
{
	ASSERT(inode);
	return count_unless_opposed(&inode->i_writecount, 1) ? 0 : -ETXTBSY;
}

static void put_write_access(struct quire_inode *inode)
{
	__atomic_sub_fetch(&inode->i_writecount, 1, __ATOMIC_ACQ_REL);
}

int deny_write_access(struct file *f)
{
	return quire_inode_deny_write(f->f_inode);
}

void allow_write_access(struct file *f)
{
	quire_inode_allow_write(f->f_inode);
}

int quire_inode_get_write(struct quire_inode *inode)
{
	return get_write_access(inode);
}

void quire_inode_put_write(struct quire_inode *inode)
{
	put_write_access(inode);
}

int quire_inode_deny_write(struct quire_inode *inode)
{
	return count_unless_opposed(&inode->i_writecount, -1) ? 0 : -ETXTBSY;
}

void quire_inode_allow_write(struct quire_inode *inode)
{
	__atomic_add_fetch(&inode->i_writecount, 1, __ATOMIC_ACQ_REL);
}

void deny_write_again(struct file *f)
{
	ASSERT(f->f_inode->i_writecount < 0);
	__atomic_sub_fetch(&f->f_inode->i_writecount, 1, __ATOMIC_ACQ_REL);
}

int mapping_map_writable(struct address_space *m)
{
	return count_unless_opposed(&m->i_mmap_writable, 1) ? 0 : -EPERM;
}

void mapping_unmap_writable(struct address_space *m)
{
	__atomic_sub_fetch(&m->i_mmap_writable, 1, __ATOMIC_ACQ_REL);
}

int mapping_deny_writable(struct address_space *m)
{
	return count_unless_opposed(&m->i_mmap_writable, -1) ? 0 : -EBUSY;
}

/* ---- inodes ---------------------------------------------------------------------------------- */

struct quire_inode *quire_inode_create(const struct quire_inode_ops *ops, void *priv, uint64_t ino,
				       uint32_t dev, unsigned flags)
{
	struct quire_inode *inode = kmem_cache_zalloc(inode_cachep, GFP_KERNEL);
	static const struct quire_inode_ops none;

	might_sleep();
	if (!inode)
		return NULL;
	inode->refcount = 1;
	inode->flags = flags;
	inode->i_ino = ino;
	inode->i_dev = dev;
	inode->prev_read = UINT64_MAX; /* none yet */
	inode->ops = ops ? ops : &none;
	inode->priv = priv;
	/* A file system changes its device's cache for a file whose own lock it holds. */
	init_rwsem_named(&inode->i_rwsem, flags & QUIRE_S_DEVICE ? "bd_rwsem" : "i_rwsem");
	mapping_init(&inode->i_mapping, inode);
	spin_lock(&inodes_lock);
	list_add_tail(&inode->all, inode_list());
	spin_unlock(&inodes_lock);
	return inode;
}

void quire_inode_get(struct quire_inode *inode)
{
	ASSERT_DEBUG(__atomic_load_n(&inode->refcount, __ATOMIC_RELAXED));
	__atomic_add_fetch(&inode->refcount, 1, __ATOMIC_RELAXED);
}

/* Drops a reference; the last one takes the inode off the list. Returns how many are left. */
static uint32_t inode_drop(struct quire_inode *inode)
{
	uint32_t left;

	assert_held(&inodes_lock);
	left = __atomic_sub_fetch(&inode->refcount, 1, __ATOMIC_ACQ_REL);
	ASSERT(left != UINT32_MAX);
	if (!left)
		list_del_init(&inode->all);
	return left;
}

void quire_inode_put(struct quire_inode *inode)
{
	uint32_t left;

	if (!inode)
		return;
	/* inode_next() takes its references under the lock: none can appear from 0. */
	spin_lock(&inodes_lock);
	left = inode_drop(inode);
	spin_unlock(&inodes_lock);
	if (left)
		return;
	inode_write_last(inode);
	truncate_inode_pages(&inode->i_mapping, 0, UINT64_MAX);
	shmem_evict(inode);
	if (inode->ops->release)
		inode->ops->release(inode, inode->priv);
	BUG_ON(inode->i_mapping.nrpages || inode->i_mapping.nr_swapped);
	kmem_cache_free(inode_cachep, inode);
}

/* prev stays on the list while we hold it, so the walk goes on from where it was. */
struct quire_inode *inode_next(struct quire_inode *prev)
{
	struct quire_inode *next;
	struct list_head *at;

	might_sleep();
	spin_lock(&inodes_lock);
	at = prev ? prev->all.next : inode_list()->next;
	next = at == inode_list() ? NULL : list_entry(at, struct quire_inode, all);
	if (next)
		quire_inode_get(next);
	spin_unlock(&inodes_lock);
	quire_inode_put(prev);
	return next;
}

void *quire_inode_private(struct quire_inode *inode)
{
	return inode->priv;
}

void quire_inode_set_size(struct quire_inode *inode, uint64_t size)
{
	ASSERT(__atomic_load_n(&inode->refcount, __ATOMIC_RELAXED) == 1 && !inode->i_mapping.nrpages);
	__atomic_store_n(&inode->i_size, size, __ATOMIC_RELEASE);
}

bool quire_inode_shared(struct quire_inode *inode)
{
	return __atomic_load_n(&inode->refcount, __ATOMIC_ACQUIRE) > 1;
}

uint64_t quire_inode_size(struct quire_inode *inode)
{
	return i_size_read(inode);
}

uint64_t quire_inode_cached_pages(struct quire_inode *inode)
{
	return __atomic_load_n(&inode->i_mapping.nrpages, __ATOMIC_RELAXED) +
	       __atomic_load_n(&inode->i_mapping.nr_swapped, __ATOMIC_RELAXED);
}

uint64_t quire_inode_swapped_pages(struct quire_inode *inode)
{
	return __atomic_load_n(&inode->i_mapping.nr_swapped, __ATOMIC_RELAXED);
}

/* ---- open files ------------------------------------------------------------------------------ */

/* A regular file's mmap method: sets vma->vm_ops. */
static int generic_file_mmap(struct file *f, struct vm_area_struct *vma)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	vma->vm_ops = mapping_writes(f->f_mapping) ? &written_file_vm_ops : &generic_file_vm_ops;
	return 0;
}

static const struct file_operations generic_file_ops = {.mmap = generic_file_mmap};
static const struct file_operations shmem_file_ops = {.mmap = shmem_mmap};
static const struct file_operations zero_file_ops = {.mmap = zero_mmap};
static const struct file_operations nommap_file_ops;

/* What mmap() of such a file means: zeros, nothing, shared memory, or its pages. */
static const struct file_operations *choose_ops(const struct quire_inode *inode, unsigned fmode)
{
	ASSERT(inode);
	if (fmode & QUIRE_FMODE_ZERO)
		return &zero_file_ops;
	if (fmode & (QUIRE_FMODE_NOMMAP | QUIRE_FMODE_PATH))
		return &nommap_file_ops;
	return inode->flags & QUIRE_S_SHMEM ? &shmem_file_ops : &generic_file_ops;
}

struct file *alloc_file(struct quire_inode *inode, unsigned fmode, const char *path)
{
	size_t n = strlen(path ? path : "") + 1;
	struct file *f = kmem_cache_zalloc(filp_cachep, GFP_KERNEL);

	might_sleep();
	if (!f)
		return NULL;
	f->f_path = kmalloc(n, GFP_KERNEL);
	/* A file that is running as a program may not be opened for writing. */
	if (!f->f_path || (fmode & QUIRE_FMODE_WRITE && get_write_access(inode))) {
		kfree(f->f_path);
		kmem_cache_free(filp_cachep, f);
		return NULL;
	}
	memcpy(f->f_path, path ? path : "", n);
	f->f_count = 1;
	f->f_mode = fmode;
	f->f_op = choose_ops(inode, fmode);
	quire_inode_get(inode);
	f->f_inode = inode;
	f->f_mapping = &inode->i_mapping;
	f->f_wb_err = errseq_sample(&f->f_mapping->wb_err);
	file_ra_state_init(&f->f_ra);
	return f;
}

struct file *get_file(struct file *f)
{
	ASSERT_DEBUG(__atomic_load_n(&f->f_count, __ATOMIC_RELAXED));
	__atomic_add_fetch(&f->f_count, 1, __ATOMIC_RELAXED);
	return f;
}

struct file *fget(struct file *f)
{
	return f ? get_file(f) : NULL;
}

/* The last reference closes it; the inode may outlive it under another name. */
void fput(struct file *f)
{
	ASSERT_DEBUG(!f || __atomic_load_n(&f->f_count, __ATOMIC_RELAXED));
	if (!f || __atomic_sub_fetch(&f->f_count, 1, __ATOMIC_ACQ_REL))
		return;
	if (f->f_mode & QUIRE_FMODE_WRITE)
		put_write_access(f->f_inode);
	if (f->f_areas)
		f->f_areas->release(from_file(f));
	quire_inode_put(f->f_inode);
	kfree(f->f_path);
	kmem_cache_free(filp_cachep, f);
}

struct quire_file *quire_file_open(struct quire_inode *inode, unsigned fmode, const char *path)
{
	return from_file(alloc_file(inode, fmode, path));
}

struct quire_file *quire_file_open_counted(struct quire_inode *inode, unsigned fmode, const char *path,
					   const struct quire_area_ops *ops, void *priv)
{
	struct file *f = alloc_file(inode, fmode, path);

	ASSERT(inode->flags & QUIRE_S_SHMEM && ops->open && ops->close && ops->release);
	if (!f)
		return NULL;
	f->f_areas = ops;
	f->f_private = priv;
	return from_file(f);
}

void *quire_file_private(struct quire_file *file)
{
	return to_file(file)->f_private;
}

void quire_file_get(struct quire_file *file)
{
	fget(to_file(file));
}

void quire_file_put(struct quire_file *file)
{
	fput(to_file(file));
}

struct quire_inode *quire_file_inode(struct quire_file *file)
{
	return to_file(file)->f_inode;
}

const char *quire_file_path(struct quire_file *file)
{
	return to_file(file)->f_path;
}

/* ---- start and end --------------------------------------------------------------------------- */

int files_init(void)
{
	ASSERT(!filp_cachep && !inode_cachep);
	INIT_LIST_HEAD(&all_inodes);
	spin_lock_init_rank(&inodes_lock, "inodes", RANK_INODES);
	filp_cachep = kmem_cache_create("filp", sizeof(struct file), 0, 0, NULL);
	inode_cachep = kmem_cache_create("inode_cache", sizeof(struct quire_inode), 0,
					 SLAB_RECLAIMABLE, NULL);
	if (filp_cachep && inode_cachep)
		return 0;
	files_exit();
	return -ENOMEM;
}

void files_exit(void)
{
	kmem_cache_destroy(filp_cachep);
	kmem_cache_destroy(inode_cachep);
	filp_cachep = inode_cachep = NULL;
}
