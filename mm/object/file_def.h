/* SPDX-License-Identifier: MIT */
/* Files and page cache, internals: what file.c, filemap.c and shmem.c call in each other. */
#ifndef MM_FILE_DEF_H
#define MM_FILE_DEF_H

#include "mm/object/filemap.h"

/* ---- file.c ---- */
extern struct list_head all_inodes; /* inodes_lock */
extern spinlock_t inodes_lock;
static inline struct list_head *inode_list(void)
{
	assert_held(&inodes_lock);
	return &all_inodes;
}
int files_init(void);
void files_exit(void);
/* The inode after prev (NULL: the first), referenced; drops prev. NULL: no more. */
struct quire_inode *inode_next(struct quire_inode *prev);
/* A file with one reference over inode, which gets one of its own. NULL: no memory, or
 * writing is denied (deny_write_access). */
struct file *alloc_file(struct quire_inode *inode, unsigned fmode, const char *path);

/* ---- filemap.c ---- */
void mapping_init(struct address_space *m, struct quire_inode *host);
/* n cached pages more, or fewer, in the counters. */
void account_cached(const struct address_space *m, long n);
void *filemap_slot(struct address_space *m, uint64_t index);

/* ---- shmem.c ---- */
int shmem_mmap(struct file *f, struct vm_area_struct *vma);
int zero_mmap(struct file *f, struct vm_area_struct *vma);
/* Gives the commitment of a shared-memory inode back when it ends. */
void shmem_evict(struct quire_inode *inode);
void shmem_init(void);
/* The page of a slot that holds a swap entry, locked, in the file again. -ENOENT: it holds nothing; -EAGAIN:
 * something changed, look again; -ENOMEM, -EIO. *major: it was read. */
int shmem_swap_in(struct address_space *m, uint64_t index, struct page **out, bool *major);
/* The slot gives up its entry, if it still is this one. */
bool shmem_forget(struct address_space *m, uint64_t index, void *value);
/* What the slot's entry names is in memory, and valid. */
bool shmem_swap_resident(struct address_space *m, uint64_t index);

#endif
