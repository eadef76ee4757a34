/* SPDX-License-Identifier: MIT */
/*
 * Reverse maps: from a page to the entries that name it. A file's page is found through the
 * interval tree of its mapping, an anonymous one through the anon_vma it was born into: every VMA
 * that may hold the page (its own and those that forks copied) has a chain link there.
 *
 * Locks: mapping->i_mmap_rwsem; the rwsem of an anon_vma's root. A VMA's own chain changes under
 * mmap_lock for writing, or for reading with page_table_lock.
 */
#ifndef MM_RMAP_H
#define MM_RMAP_H

#include "mm/base/mm_types.h"

int rmap_init(void);
void rmap_exit(void);

/* ---- interval trees (interval.c) ------------------------------------------------------------- */

void vma_interval_tree_insert(struct vm_area_struct *vma, struct rb_root *root);
void vma_interval_tree_remove(struct vm_area_struct *vma, struct rb_root *root);
struct vm_area_struct *vma_interval_tree_iter_first(struct rb_root *root, unsigned long first,
						    unsigned long last);
struct vm_area_struct *vma_interval_tree_iter_next(struct vm_area_struct *vma, unsigned long first,
						   unsigned long last);
#define vma_interval_tree_foreach(vma, root, first, last)                     \
	for ((vma) = vma_interval_tree_iter_first(root, first, last); (vma); \
	     (vma) = vma_interval_tree_iter_next(vma, first, last))

void anon_vma_interval_tree_insert(struct anon_vma_chain *avc, struct rb_root *root);
void anon_vma_interval_tree_remove(struct anon_vma_chain *avc, struct rb_root *root);
struct anon_vma_chain *anon_vma_interval_tree_iter_first(struct rb_root *root, unsigned long first,
							 unsigned long last);
struct anon_vma_chain *anon_vma_interval_tree_iter_next(struct anon_vma_chain *avc,
							unsigned long first, unsigned long last);
#define anon_vma_interval_tree_foreach(avc, root, first, last)                     \
	for ((avc) = anon_vma_interval_tree_iter_first(root, first, last); (avc); \
	     (avc) = anon_vma_interval_tree_iter_next(avc, first, last))

/* The VMAs that map a file: to change the tree, and to look at it. */
static inline struct rb_root *i_mmap_write(struct address_space *m)
{
	assert_held_write(&m->i_mmap_rwsem);
	return &m->i_mmap;
}

static inline struct rb_root *i_mmap_read(struct address_space *m)
{
	assert_held_any(&m->i_mmap_rwsem);
	return &m->i_mmap;
}

/* ---- anon_vma -------------------------------------------------------------------------------- */

static inline void anon_vma_lock_write(struct anon_vma *av)
{
	ASSERT_DEBUG(av->root->root == av->root);
	down_write(&av->root->rwsem);
}

static inline void anon_vma_unlock_write(struct anon_vma *av)
{
	assert_held_write(&av->root->rwsem);
	up_write(&av->root->rwsem);
}

static inline void anon_vma_lock_read(struct anon_vma *av)
{
	ASSERT_DEBUG(av->root->root == av->root);
	down_read(&av->root->rwsem);
}

static inline void anon_vma_unlock_read(struct anon_vma *av)
{
	assert_held_read(&av->root->rwsem);
	up_read(&av->root->rwsem);
}

/* Sees to it that vma->anon_vma is set; mmap_lock either way. 0 or -ENOMEM. */
int __anon_vma_prepare(struct vm_area_struct *vma);
static inline int anon_vma_prepare(struct vm_area_struct *vma)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	if (likely(__atomic_load_n(&vma->anon_vma, __ATOMIC_ACQUIRE)))
		return 0;
	return __anon_vma_prepare(vma);
}
/* Links dst to every anon_vma of src (split, merge, move, fork). 0 or -ENOMEM, undone. */
int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src);
/* A child's VMA: the parent's anon_vmas and one of its own. 0 or -ENOMEM, undone. */
int anon_vma_fork(struct vm_area_struct *vma, struct vm_area_struct *pvma);
/* Takes vma out of all its anon_vmas; frees those that no VMA is linked to any more. */
void unlink_anon_vmas(struct vm_area_struct *vma);
/* Brackets a change of vma's pgoff or length: out of the trees, and in again. Root locked. */
void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma);
void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma);

/* A reference of the anon_vma of a page that the caller holds, but need not map; NULL: the page is not
 * anonymous, or no entry names it any more. Any context. */
struct anon_vma *page_get_anon_vma(const struct page *page);
/* Drops one. Any context; its lock is not held. */
void put_anon_vma(struct anon_vma *av);

/* ---- pages ----------------------------------------------------------------------------------- */

/* A fresh anonymous page with its contents (it becomes PG_uptodate), to be mapped at addr and nowhere else
 * yet. Table locked. */
void page_add_new_anon_rmap(struct page *page, struct vm_area_struct *vma, uintptr_t addr);
/* One more entry names the page. Table locked. */
void page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, uintptr_t addr);
/* The same of a page of the swap cache, locked; one that was read in gets its place in the reverse map:
 * the VMA's own anon_vma if nobody else has an entry of it (exclusive), else the family's root. */
void do_page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, uintptr_t addr,
			   bool exclusive);
void page_add_file_rmap(struct page *page);
static inline void page_dup_rmap(struct page *page)
{
	ASSERT_DEBUG_I("I26", page_mapcount(page) > 0 || !PageAnon(page));
	__atomic_fetch_add(&page->_mapcount, 1, __ATOMIC_RELAXED);
}
/* One entry fewer. Table locked; the reference goes separately. */
void page_remove_rmap(struct page *page);

static inline struct anon_vma *page_anon_vma(const struct page *page)
{
	uintptr_t mapping = (uintptr_t)READ_ONCE(page->mapping);

	return mapping & PAGE_MAPPING_ANON ? (void *)(mapping & ~PAGE_MAPPING_ANON) : NULL;
}

/* Where vma would map the page, or -EFAULT if it lies outside. */
uintptr_t vma_address(const struct page *page, const struct vm_area_struct *vma);
/* Calls fn for every VMA that may map the page, with the address; false ends the walk. The caller
 * holds a reference, and if the page is a file's its lock. Anonymous pages that no entry names have no
 * such VMA. Context: sleep. */
void rmap_walk(struct page *page,
	       bool (*fn)(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx),
	       void *ctx);
/* How many entries of the page were used since they were asked last; each is marked unused. *vm_flags:
 * of their VMAs; with VM_LOCKED the others were not asked. locked: the caller has the page lock; a
 * file's page that cannot be locked counts as used. Context: sleep. */
int page_referenced(struct page *page, bool locked, vm_flags_t *vm_flags);
/* The same where the caller has a reference of the page's anon_vma (NULL: not anonymous), so that the
 * walk also comes to VMAs where something else stands in the entry's place. */
void rmap_walk_held(struct page *page, struct anon_vma *av,
		    bool (*fn)(struct page *page, struct vm_area_struct *vma, uintptr_t addr,
			       void *ctx),
		    void *ctx);

/* Whether a VMA that locks the page maps it. The page is locked. Context: sleep. */
bool page_mlocked_by_vma(struct page *page);

#endif
