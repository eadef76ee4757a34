/* SPDX-License-Identifier: MIT */
/*
 * Files, inodes and the page cache as the memory manager knows them: an inode is contents (a page
 * cache and a size), a file is an open handle on it that a mapping holds. Shared memory is an inode
 * without a disk behind it.
 */
#ifndef MM_FILEMAP_H
#define MM_FILEMAP_H

#include "mm/base/mm_types.h"
#include "mm/object/hooks.h"
#include <quire/abi.h>
#include <quire/quire.h>

struct quire_inode {
	uint32_t refcount;	       /* atomic */
	unsigned flags;		       /* QUIRE_S_* */
	uint64_t i_size;	       /* bytes; written under i_rwsem, read by anyone */
	uint64_t i_ino;
	uint32_t i_dev;
	unsigned seals;		       /* F_SEAL_*; i_rwsem */
	int32_t i_writecount;	       /* atomic; > 0 writers, < 0 writing denied */
	struct rw_semaphore i_rwsem;   /* write, truncate, punch: outermost of all locks */
	struct address_space i_mapping;
	const struct quire_inode_ops *ops;
	void *priv;
	uint64_t prev_read;	       /* page that was read last: a hint, any reader's */
	long charged;		       /* committed pages, given back at the end; constant */
	uint32_t state;		       /* I_*; atomic */
	struct list_head all;	       /* every inode; inodes_lock */
};

#define I_DIRTY 1u /* something besides pages is to be written: the size */
#define I_DEAD	2u /* has no name any more: nothing of it need be written */

static inline struct quire_inode *file_inode(const struct file *f)
{
	return f->f_inode;
}

static inline uint64_t i_size_read(const struct quire_inode *i)
{
	return __atomic_load_n(&i->i_size, __ATOMIC_ACQUIRE);
}

/* The new size is there for whoever has locked a page since. */
static inline void i_size_write(struct quire_inode *i, uint64_t size)
{
	assert_held_write(&i->i_rwsem);
	__atomic_store_n(&i->i_size, size, __ATOMIC_RELEASE);
	if (i->ops->write_inode)
		__atomic_fetch_or(&i->state, I_DIRTY, __ATOMIC_RELEASE);
}

/* The tree of cached pages, for who holds i_lock. */
static inline struct radix_tree *locked_pages(struct address_space *m)
{
	assert_held(&m->i_lock);
	return &m->i_pages;
}

/* Dirty pages are written back to where the file was read from. */
static inline bool mapping_writes(const struct address_space *m)
{
	return m->host->ops->writepage != NULL;
}

/* The file that the page is written back to, NULL: none. Whoever asks keeps the page in its file, or the
 * file by other means. */
static inline struct address_space *page_writes_to(const struct page *page)
{
	struct address_space *m;

	if (PageAnon(page) || page_test(page, PG_swapbacked) || page_test(page, PG_reserved))
		return NULL;
	m = READ_ONCE(page->mapping);
	return m && mapping_writes(m) ? m : NULL;
}

/* The page's file keeps its pages in memory (SHM_LOCK). The page is locked, or nothing changes. */
static inline bool file_keeps(const struct page *page)
{
	const struct address_space *m = PageAnon(page) ? NULL : READ_ONCE(page->mapping);

	return m && READ_ONCE(m->unevictable);
}

static inline bool mapping_shmem(const struct address_space *m)
{
	return m->host->flags & QUIRE_S_SHMEM;
}

/* ---- file.c ---------------------------------------------------------------------------------- */

/* quire_file is the public name of struct file. */
static inline struct file *to_file(struct quire_file *f)
{
	return (struct file *)f;
}

static inline struct quire_file *from_file(struct file *f)
{
	return (struct quire_file *)f;
}

struct file *fget(struct file *f);   /* takes a reference; NULL stays NULL */
struct file *get_file(struct file *f);
void fput(struct file *f);	     /* NULL allowed. Context: sleep */
/* Writing is refused while an executable is mapped (-ETXTBSY), and the other way round. */
int deny_write_access(struct file *f);
/* One more of those who deny it: somebody does already. */
void deny_write_again(struct file *f);
void allow_write_access(struct file *f);
/* Writable shared mappings are counted; -EPERM where a seal forbids them. */
int mapping_map_writable(struct address_space *m);
void mapping_unmap_writable(struct address_space *m);
/* No writable shared mapping may exist from now on: -EBUSY if there is one. */
int mapping_deny_writable(struct address_space *m);

/* Of files that are written back the latter. */
extern const struct vm_operations_struct generic_file_vm_ops, written_file_vm_ops;

/* ---- shmem.c --------------------------------------------------------------------------------- */

/* Backs a shared anonymous vma with a fresh file of its size, "/dev/zero (deleted)". */
int shmem_zero_setup(struct vm_area_struct *vma);
/* An area of shared memory, private or not, but for System V's. */
bool vma_is_shmem(const struct vm_area_struct *vma);
/* A page with its contents, of which the caller has the only reference, becomes the file's page number index, and comes
 * locked. -EEXIST: it has one, in memory or in swap; -ENOMEM: the page is as it was. Context: sleep. */
int shmem_add_page(struct address_space *m, uint64_t index, struct page *page);
/* A locked page of shared memory, unmapped and dirty, moves from its file to the swap cache; its slot in
 * the file holds the entry from then on. False: no slot of an area is free. Context: sleep. */
bool shmem_swap_out(struct page *page);
/* Brings back what files of shared memory have in the area. 0; -ENOMEM, -EINTR. Context: sleep. */
int shmem_unuse(unsigned type);
/* Starts to read what lies in swap of [first, last] (MADV_WILLNEED). Context: sleep. */
void shmem_willneed(struct address_space *m, uint64_t first, uint64_t last);
/* The first page from *index on that lies in swap; false: none. Any context. */
bool shmem_next_swapped(struct address_space *m, uint64_t *index);

/* ---- readahead.c ------------------------------------------------------------------------------ */

void file_ra_state_init(struct file_ra_state *ra);
/* A reader of ra's file wants so many pages from index on, and the first is not in memory. Context: sleep. */
void page_cache_sync_readahead(struct address_space *m, struct file_ra_state *ra, uint64_t index, uint64_t wanted);
/* The same, of a page that is, and has or had PG_readahead. */
void page_cache_async_readahead(struct address_space *m, struct file_ra_state *ra, struct page *page, uint64_t index,
				uint64_t wanted);
/* Asks for all n pages that are not in memory. Context: sleep. */
void force_page_cache_readahead(struct address_space *m, uint64_t first, uint64_t n);
/* A fault of a file that can read ahead. True: the page was not there. Before anything is asked for mmap_lock is
 * given up, as fault_unlock_for_io() says. Context: sleep. */
bool filemap_fault_readahead(struct vm_fault *vmf, struct address_space *m, struct file **pinned);

static inline bool mapping_reads_ahead(const struct address_space *m)
{
	return m->host->ops->readahead != NULL;
}

/* ---- filemap.c ------------------------------------------------------------------------------- */

/* The page of the cache, referenced; NULL if there is none. Any context. */
struct page *find_get_page(struct address_space *m, uint64_t index);
/* Whether it has a page there, valid or not. Any context. */
bool page_in_cache(struct address_space *m, uint64_t index);
/* The same, locked. Context: sleep. */
struct page *find_lock_page(struct address_space *m, uint64_t index);
/* Puts a locked page into the cache, which takes a reference. -EEXIST, -ENOMEM. */
int add_to_page_cache(struct page *page, struct address_space *m, uint64_t index, gfp_t gfp);
/* Takes a locked page out of the cache and drops the cache's reference. */
void delete_from_page_cache(struct page *page);
/* The page, up to date and locked, read in or (shared memory) made if need be. Results: 0,
 * -ENOMEM, -EIO or what readpage said. *major: it was read. Context: sleep. */
int filemap_get_page(struct address_space *m, uint64_t index, struct page **out, bool *major);
vm_fault_t filemap_fault(struct vm_fault *vmf);
/* The fault is about to wait for a device. If it may, it gives up mmap_lock, and *pinned becomes a reference to the
 * file that is mapped; the VMA may be gone from then on, and the fault has to answer VM_FAULT_RETRY with
 * VM_FAULT_UNLOCKED. Nothing if *pinned is set already. After Linux' maybe_unlock_mmap_for_io. */
void fault_unlock_for_io(struct vm_fault *vmf, struct file **pinned);
void filemap_map_pages(struct vm_fault *vmf, unsigned long start, unsigned long end);
/* Takes a locked page, of which the caller has one reference and nobody another but the cache, out of
 * its file: true, and the count is 0; the caller frees it. The slot remembers when (workingset).
 * False: it is in use, or dirty. */
bool filemap_remove_frozen(struct page *page);
/* Frees up to n nodes of files' trees whose slots only remember pages that left; how many. Context: sleep. */
unsigned long forget_shadow_nodes(unsigned long n);
/* Marks the page as changed against what is behind it. The page is locked, or mapped with its table locked,
 * or the caller has its file by other means. Any context. */
void set_page_dirty(struct page *page);
/* The same for who has only a reference. Context: sleep. */
void set_page_dirty_lock(struct page *page);
/* Takes the pages of [start, end) out; the mappings are gone already. Context: sleep. */
void truncate_inode_pages(struct address_space *m, uint64_t start, uint64_t end);
/* Drops clean, unmapped pages without other references from the cache; returns how many. */
unsigned long invalidate_mapping_pages(struct address_space *m, uint64_t start, uint64_t end);
/* Takes the pages [first, last] out of the cache, whoever maps or holds them, unless they are dirty. 0; -EBUSY: one
 * is, again, and stays. Context: sleep. */
int invalidate_inode_pages2_range(struct address_space *m, uint64_t first, uint64_t last);
/* A write by way of the cache, for who holds i_rwsem: bytes or an errno. bounce: a page of the caller's, where buf is
 * a user address. Largest size. */
long write_locked(struct quire_inode *inode, uint64_t off, uintptr_t buf, size_t n, char *bounce);
uint64_t max_file_size(const struct quire_inode *inode);
/* The file has become longer, past the page cache. i_rwsem held. */
void file_grew(struct quire_inode *inode, uint64_t size);
/* True if the page at index is in the cache and valid (mincore). Any context. */
bool page_cache_resident(struct address_space *m, uint64_t index);

int filemap_init(void);
void filemap_exit(void);

#endif
