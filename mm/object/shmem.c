/* SPDX-License-Identifier: MIT */
/*
 * Shared memory: files without a disk. Their pages exist from the first touch, start as zeros, and
 * are the only copy. Behind shared anonymous mappings, /dev/zero, memfds and tmpfs.
 *
 * When memory runs short they go to swap (below), and come back when they are read, written or touched.
 *
 * What a shared anonymous mapping may come to is charged as a whole when it is made (unless
 * MAP_NORESERVE), and uncharged with the inode.
 */
#include "mm/base/memalloc.h"
#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/object/file_def.h"
#include "mm/phys/commit.h"
#include "mm/swap/swap.h"
#include <quire/abi.h>

#define SHMEM_DEV 1u /* 00:01, the kernel's own mount of shared memory */

static uint64_t shmem_next_ino;

static vm_fault_t shmem_fault(struct vm_fault *vmf)
{
	struct address_space *m = vmf->vma->vm_file->f_mapping;

	ASSERT_DEBUG(mapping_shmem(m));
	/* A page in swap is there. */
	if (unlikely(vmf->vma->vm_flags & VM_UFFD_MISSING) && !filemap_slot(m, vmf->pgoff) &&
	    (uint64_t)vmf->pgoff << PAGE_SHIFT < i_size_read(m->host))
		return handle_userfault(vmf, VM_UFFD_MISSING);
	/* A hole is a page not yet made: the cache makes it, and that is no major fault. */
	return filemap_fault(vmf);
}

static const struct vm_operations_struct shmem_vm_ops = {
	.fault = shmem_fault,
	.map_pages = filemap_map_pages,
};

/* Areas whose comings and goings somebody counts. As in 5.10 they have no fault-around. */
static void counted_open(struct vm_area_struct *vma)
{
	vma->vm_file->f_areas->open(from_file(vma->vm_file));
}

static void counted_close(struct vm_area_struct *vma)
{
	vma->vm_file->f_areas->close(from_file(vma->vm_file));
}

static const struct vm_operations_struct counted_vm_ops = {
	.open = counted_open,
	.close = counted_close,
	.fault = shmem_fault,
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
	vma->vm_ops = f->f_areas ? &counted_vm_ops : &shmem_vm_ops;
	if (f->f_areas)
		counted_open(vma);
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

/* Shared memory of that size without a name, its pages charged to mm at once. NULL: no memory, or commitment. */
static struct quire_inode *shmem_create(struct mm_struct *mm, uint64_t size, bool noreserve, uint64_t ino)
{
	long charge = noreserve ? 0 : (long)(PAGE_ALIGN(size) >> PAGE_SHIFT);
	struct quire_inode *inode;

	might_sleep();
	if (charge && security_vm_enough_memory_mm(mm, charge))
		return NULL;
	inode = quire_inode_create(NULL, NULL, ino, SHMEM_DEV, QUIRE_S_SHMEM);
	if (!inode) {
		vm_unacct_memory(charge);
		return NULL;
	}
	inode->charged = charge;
	inode->i_size = size;
	return inode;
}

struct quire_inode *quire_shmem_create(struct quire_mm *mm, uint64_t size, bool noreserve, uint64_t ino)
{
	ASSERT(size && size <= INT64_MAX);
	return shmem_create(to_mm(mm), size, noreserve && vm_sysctl.overcommit_memory != OVERCOMMIT_NEVER, ino);
}

int shmem_zero_setup(struct vm_area_struct *vma)
{
	struct quire_inode *inode;
	struct file *f;

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(vma->vm_flags & VM_SHARED);
	inode = shmem_create(vma->vm_mm, vma->vm_end - vma->vm_start, vma->vm_flags & VM_NORESERVE,
			     __atomic_add_fetch(&shmem_next_ino, 1, __ATOMIC_RELAXED));
	if (!inode)
		return -ENOMEM;
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

/* ---- swap --------------------------------------------------------------------------------------- */

/*
 * A page of shared memory is in its file, or it lies in swap: then its slot in the file's tree holds the
 * entry as a value, which counts as one that names the slot of the area. Both ways go by way of the
 * swap cache and under the page lock, and the slot in the tree changes under i_lock:
 *
 *   in the file -- shmem_swap_out --> in the swap cache, being written --> on the device
 *        ^                                     |                              | swap_cluster_readahead
 *        +------------ take_back --------------+<-----------------------------+
 */

static swp_entry_t slot_entry(void *value)
{
	ASSERT_DEBUG(radix_is_value(value));
	return (swp_entry_t){radix_to_value(value)};
}

bool shmem_swap_out(struct page *page)
{
	struct address_space *m = page->mapping;
	swp_entry_t entry;
	void *was;

	assert_page_locked(page);
	ASSERT(mapping_shmem(m) && page_mapcount(page) == 0);
	if (!add_to_swap(page))
		return false;
	entry = page_swap_entry(page);
	BUG_ON(swap_duplicate(entry)); /* the tree's */
	spin_lock(&m->i_lock);
	was = radix_replace(locked_pages(m), page->index, radix_mk_value(entry.val));
	__atomic_store_n(&m->nrpages, m->nrpages - 1, __ATOMIC_RELAXED);
	__atomic_store_n(&m->nr_swapped, m->nr_swapped + 1, __ATOMIC_RELAXED);
	WRITE_ONCE(page->mapping, NULL);
	spin_unlock(&m->i_lock);
	BUG_ON(was != page);
	account_cached(m, -1);
	put_page(page);
	return true;
}

/* The page is the file's again, if the slot still holds its entry. Locked. */
static bool take_back(struct address_space *m, uint64_t index, struct page *page, void *value)
{
	bool ok;

	assert_page_locked(page);
	spin_lock(&m->i_lock);
	ok = radix_lookup(locked_pages(m), index) == value;
	if (ok) {
		get_page(page);
		radix_replace(locked_pages(m), index, page);
		page->index = index;
		WRITE_ONCE(page->mapping, m);
		__atomic_store_n(&m->nrpages, m->nrpages + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&m->nr_swapped, m->nr_swapped - 1, __ATOMIC_RELAXED);
	}
	spin_unlock(&m->i_lock);
	if (!ok)
		return false;
	account_cached(m, 1);
	/* The only copy is in memory again. */
	delete_from_swap_cache(page);
	page_set(page, PG_dirty);
	swap_free(slot_entry(value));
	return true;
}

/* The entry's page, referenced, read if need be; NULL: no memory, or no need. The area is kept. *alone: as
 * swap_cluster_readahead() says. */
static struct page *read_in(swp_entry_t entry, bool *ours, bool *alone)
{
	struct page *page = lookup_swap_cache(entry);

	might_sleep();
	*ours = !page;
	*alone = false;
	if (page) {
		swap_readahead_hit(entry, page);
		return page;
	}
	return swap_cluster_readahead(entry, GFP_HIGHUSER_MOVABLE, alone);
}

/* The page leaves the cache, so that the next one to come reads again; somebody else's read is not this
 * call's. */
static int read_failed(struct page *page, bool ours)
{
	assert_page_locked(page);
	delete_from_swap_cache(page);
	return ours ? -EIO : -EAGAIN;
}

int shmem_swap_in(struct address_space *m, uint64_t index, struct page **out, bool *major)
{
	void *value = filemap_slot(m, index);
	struct page *page;
	swp_entry_t entry;
	unsigned long stall = 0;
	int err = -EAGAIN;
	bool ours, alone;

	if (!radix_is_value(value))
		return value ? -EAGAIN : -ENOENT;
	entry = slot_entry(value);
	if (is_swapin_error(entry))
		return -EIO;
	if (!get_swap_device(entry))
		return -EAGAIN; /* swapoff has just brought it in */
	page = read_in(entry, &ours, &alone);
	if (major && page && ours)
		*major = true;
	if (page) {
		if (alone)
			stall = psi_memstall_enter();
		lock_page(page);
		if (alone)
			psi_memstall_leave(stall);
		wait_on_page_writeback(page);
		if (!swap_cache_page_is(page, entry))
			err = -EAGAIN;
		else if (!PageUptodate(page))
			err = read_failed(page, ours);
		else
			err = take_back(m, index, page, value) ? 0 : -EAGAIN;
		if (err) {
			unlock_page(page);
			put_page(page);
		}
	} else if (filemap_slot(m, index) == value) {
		err = -ENOMEM;
	}
	put_swap_device_of(entry);
	*out = page;
	return err;
}

bool shmem_forget(struct address_space *m, uint64_t index, void *value)
{
	bool ok;

	spin_lock(&m->i_lock);
	ok = radix_lookup(locked_pages(m), index) == value;
	if (ok) {
		radix_delete(locked_pages(m), index);
		__atomic_store_n(&m->nr_swapped, m->nr_swapped - 1, __ATOMIC_RELAXED);
	}
	spin_unlock(&m->i_lock);
	if (ok)
		free_swap_and_cache(slot_entry(value));
	return ok;
}

bool shmem_swap_resident(struct address_space *m, uint64_t index)
{
	void *value = READ_ONCE(m->nr_swapped) ? filemap_slot(m, index) : NULL;

	return radix_is_value(value) && swap_cache_resident(slot_entry(value));
}

/* The same, with what it holds. */
static void *next_swapped(struct address_space *m, uint64_t *index)
{
	void *item;

	if (!READ_ONCE(m->nr_swapped))
		return NULL;
	spin_lock(&m->i_lock);
	while ((item = radix_next(locked_pages(m), index)) != NULL && !radix_is_value(item))
		if ((*index)++ == UINT64_MAX) {
			item = NULL;
			break;
		}
	spin_unlock(&m->i_lock);
	return item;
}

bool shmem_next_swapped(struct address_space *m, uint64_t *index)
{
	return next_swapped(m, index) != NULL;
}

void shmem_willneed(struct address_space *m, uint64_t first, uint64_t last)
{
	void *value;

	might_sleep();
	for (; first <= last && (value = next_swapped(m, &first)) != NULL && first <= last; first++)
		swap_willneed(slot_entry(value));
}

/* What the slot names cannot be read, and its area goes: who asks is told so from then on. */
static void note_lost(struct address_space *m, uint64_t index, void *value)
{
	swp_entry_t lost = swp_entry(SWP_SWAPIN_ERROR, swp_offset(slot_entry(value)));
	bool ok;

	spin_lock(&m->i_lock);
	ok = radix_lookup(locked_pages(m), index) == value;
	if (ok)
		radix_replace(locked_pages(m), index, radix_mk_value(lost.val));
	spin_unlock(&m->i_lock);
	if (ok)
		swap_free(slot_entry(value));
}

static int unuse_mapping(struct address_space *m, unsigned type)
{
	uint64_t index = 0;
	void *value;

	might_sleep();
	for (; (value = next_swapped(m, &index)) != NULL; index++) {
		struct page *page;
		int err;

		if (swp_type(slot_entry(value)) != type)
			continue;
		do {
			err = shmem_swap_in(m, index, &page, NULL);
			os_cond_resched();
		} while (err == -EAGAIN && filemap_slot(m, index) == value);
		if (!err) {
			unlock_page(page);
			put_page(page);
		}
		if (err == -EIO)
			note_lost(m, index, value);
		if (err == -ENOMEM)
			return err;
		if (os_fatal_signal_pending())
			return -EINTR;
	}
	return 0;
}

int shmem_unuse(unsigned type)
{
	struct quire_inode *inode = NULL;
	int err = 0;

	might_sleep();
	while ((inode = inode_next(inode)) != NULL)
		if (!err && mapping_shmem(&inode->i_mapping))
			err = unuse_mapping(&inode->i_mapping, type);
	return err;
}

/* ---- pages that stay ------------------------------------------------------------------------------ */

/* The next page that is in memory, referenced; NULL: none. */
static struct page *next_present(struct address_space *m, uint64_t *index)
{
	struct page *page;

	spin_lock(&m->i_lock);
	while ((page = radix_next(locked_pages(m), index)) != NULL && radix_is_value(page))
		if ((*index)++ == UINT64_MAX) {
			page = NULL;
			break;
		}
	if (page)
		get_page(page);
	spin_unlock(&m->i_lock);
	return page;
}

/*
 * Reclaim puts a page of such a file where pages lie that no scan looks at, when it meets it; those that come
 * anew go there at once. Whoever moves a page, there or back, has it locked and looks at the file's flag under
 * the lock: so none is left behind.
 */
void quire_inode_set_unevictable(struct quire_inode *inode, bool on)
{
	struct address_space *m = &inode->i_mapping;
	struct page *page;

	might_sleep();
	ASSERT(mapping_shmem(m));
	__atomic_store_n(&m->unevictable, on, __ATOMIC_RELEASE);
	for (uint64_t index = 0; !on && (page = next_present(m, &index)) != NULL; index++) {
		lock_page(page);
		lru_rescue(page);
		unlock_page(page);
		put_page(page);
		os_cond_resched();
	}
}

bool vma_is_shmem(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &shmem_vm_ops;
}

int shmem_add_page(struct address_space *m, uint64_t index, struct page *page)
{
	int err;

	/* Compaction may have a reference by frame number, and the lock while it looks. */
	lock_page(page);
	err = add_to_page_cache(page, m, index, GFP_KERNEL);
	if (err) {
		unlock_page(page);
		page_clear(page, PG_swapbacked);
		return err;
	}
	SetPageUptodate(page);
	return 0;
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
