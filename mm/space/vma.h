/* SPDX-License-Identifier: MIT */
/*
 * VMAs: finding, linking, splitting and merging them (vma.c), and what the memory system calls
 * share (mmap.c, stack.c, mprotect.c, mlock.c). A VMA is a range of one space with one object
 * behind it, one set of rights and one set of flags.
 *
 * Locks: mmap_lock for reading to look, for writing to change, a stack that grows too.
 */
#ifndef MM_VMA_H
#define MM_VMA_H

#include "mm/space/mm.h"
#include <quire/abi.h>

#define VM_DATA_DEFAULT_FLAGS (VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)
#define VM_STACK_FLAGS	      (VM_STACK | VM_DATA_DEFAULT_FLAGS | VM_ACCOUNT)

/* Error results in an address: no mapping ever reaches the last page. */
#define IS_ERR_VALUE(x) ((uintptr_t)(x) >= (uintptr_t)-4095)

extern struct kmem_cache *vm_area_cachep;

/* Where other maps must keep away from: a stack's guard gap belongs to it. */
static inline uintptr_t vm_start_gap(const struct vm_area_struct *vma)
{
	uintptr_t start = vma->vm_start;

	if (vma->vm_flags & VM_GROWSDOWN)
		start = start > STACK_GUARD_GAP ? start - STACK_GUARD_GAP : 0;
	return start;
}

static inline uintptr_t vm_end_gap(const struct vm_area_struct *vma)
{
	return vma->vm_end;
}

/* ---- vma.c: objects, list, tree ---------------------------------------------------------------- */

struct vm_area_struct *vm_area_alloc(struct mm_struct *mm); /* NULL: no memory */
struct vm_area_struct *vm_area_dup(const struct vm_area_struct *orig);
void vm_area_free(struct vm_area_struct *vma);
void vma_set_anonymous(struct vm_area_struct *vma);

/* The first VMA that ends above addr, or NULL. */
struct vm_area_struct *find_vma(struct mm_struct *mm, uintptr_t addr);
/* The same, and the one before it (or the last, if the result is NULL). */
struct vm_area_struct *find_vma_prev(struct mm_struct *mm, uintptr_t addr,
				     struct vm_area_struct **pprev);
/* The first VMA that overlaps [start, end), or NULL. */
struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, uintptr_t start, uintptr_t end);
/* Where a new VMA [addr, end) would be linked. -ENOMEM if one is there already. */
int find_vma_links(struct mm_struct *mm, uintptr_t addr, uintptr_t end,
		   struct vm_area_struct **pprev, struct rb_node ***rb_link,
		   struct rb_node **rb_parent);
static inline void vmacache_forget(struct mm_struct *mm, const struct vm_area_struct *vma)
{
	assert_held_write(&mm->mmap_lock);
	if (__atomic_load_n(&mm->vmacache, __ATOMIC_RELAXED) == vma)
		__atomic_store_n(&mm->vmacache, NULL, __ATOMIC_RELAXED);
}

/* Into list and tree only (fork holds the other locks itself). */
void __vma_link_list(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev);
void __vma_link_rb(struct mm_struct *mm, struct vm_area_struct *vma, struct rb_node **rb_link,
		   struct rb_node *rb_parent);
/* Into list, tree and the object's reverse map; counts it. */
void vma_link(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev,
	      struct rb_node **rb_link, struct rb_node *rb_parent);
/* Links a VMA that the caller filled in; checks room and commitment. 0 or -ENOMEM. */
int insert_vm_struct(struct mm_struct *mm, struct vm_area_struct *vma);
/* Takes the VMAs from vma up to end out of list and tree; their chain ends with NULL. */
void detach_vmas_to_be_unmapped(struct mm_struct *mm, struct vm_area_struct *vma,
				struct vm_area_struct *prev, uintptr_t end);
/* Closes and frees one detached VMA; returns the next of its chain. */
struct vm_area_struct *remove_vma(struct vm_area_struct *vma);
/* Takes a VMA out of its file's reverse map. */
void unlink_file_vma(struct vm_area_struct *vma);
/* The largest gap of vma changed (its start, or its predecessor's end): tell the tree. */
void vma_gap_update(struct vm_area_struct *vma);
unsigned long vma_compute_gap(const struct vm_area_struct *vma);

/* Changes a VMA's range; insert (or NULL) is the piece that a split cut off it. VMAs after it
 * that the new range covers are shortened or removed; expand is the one that stays if two become
 * one. List, tree and reverse maps follow. mmap_lock for writing. 0; -ENOMEM: nothing changed. */
int __vma_adjust(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, unsigned long pgoff,
		 struct vm_area_struct *insert, struct vm_area_struct *expand);
static inline int vma_adjust(struct vm_area_struct *vma, uintptr_t start, uintptr_t end,
			     unsigned long pgoff, struct vm_area_struct *insert)
{
	return __vma_adjust(vma, start, end, pgoff, insert, NULL);
}
/*
 * Merges [addr, end), which is either free or part of existing VMAs about to get these properties,
 * with prev and the one after. Returns the VMA that then covers it, NULL if nothing fits.
 */
struct vm_area_struct *vma_merge(struct mm_struct *mm, struct vm_area_struct *prev, uintptr_t addr,
				 uintptr_t end, vm_flags_t vm_flags, struct anon_vma *anon_vma,
				 struct file *file, unsigned long pgoff, void *policy, void *uffd);
/* vma keeps the part below addr (new_below: the part above); 0, -ENOMEM. */
int __split_vma(struct mm_struct *mm, struct vm_area_struct *vma, uintptr_t addr, bool new_below);
int split_vma(struct mm_struct *mm, struct vm_area_struct *vma, uintptr_t addr, bool new_below);
/* [start, end) of *vma is about to get these properties: it becomes part of a neighbour that has them already, or an
 * area of its own. *vma and *prev: that one; prev comes as the area before start. mmap_lock for writing. 0, -ENOMEM. */
int vma_modify(struct vm_area_struct **vma, struct vm_area_struct **prev, uintptr_t start, uintptr_t end,
	       vm_flags_t flags, void *policy, void *uffd);
/* A copy of *vmap for mremap, moved to addr: a merged neighbour or a new, linked VMA. */
struct vm_area_struct *copy_vma(struct vm_area_struct **vmap, uintptr_t addr, size_t len,
				unsigned long pgoff, bool *need_rmap_locks);

/* vm_page_prot from vm_flags, without W where writes must be noticed. */
void vma_set_page_prot(struct vm_area_struct *vma);
bool vma_wants_writenotify(const struct vm_area_struct *vma, const pgprot_t *prot);

/* ---- mmap.c ---------------------------------------------------------------------------------- */

vm_flags_t calc_vm_prot_bits(unsigned long prot);

bool may_expand_vm(struct mm_struct *mm, vm_flags_t flags, unsigned long npages);
void vm_stat_account(struct mm_struct *mm, vm_flags_t flags, long npages);
/* Writes a mapping's trace record. */
void perf_event_mmap(const struct vm_area_struct *vma);

uintptr_t get_unmapped_area(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
			    unsigned long pgoff, unsigned long flags);
uintptr_t do_mmap(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
		  unsigned long prot, unsigned long flags, unsigned long pgoff, size_t *populate);
int do_munmap(struct mm_struct *mm, uintptr_t start, size_t len);
/* A mapping that fails after all leaves what it was to replace (boot parameter keep_replaced, build
 * option keep_replaced). 5.10 leaves a hole. */
extern bool mmap_keeps_replaced;
/* Counts a new mapping, marks it soft-dirty, locks it as asked. mmap_lock held for writing. */
void mmap_finish(struct mm_struct *mm, struct vm_area_struct *vma, vm_flags_t vm_flags,
		 unsigned long npages);
/* Unmaps the range, then find_vma_links(). 0 or -ENOMEM. */
int munmap_vma_range(struct mm_struct *mm, uintptr_t start, size_t len,
		     struct vm_area_struct **pprev, struct rb_node ***link, struct rb_node **parent);
int do_brk(struct mm_struct *mm, uintptr_t addr, size_t len, vm_flags_t flags);

/* ---- stack.c --------------------------------------------------------------------------------- */

/* The VMA of addr, a stack grown to reach it; NULL if addr is in none. mmap_lock for reading, given up
 * in between: no VMA and no table that was found before may be used afterwards. */
struct vm_area_struct *find_grown_vma(struct mm_struct *mm, uintptr_t addr);
/* find_vma() that grows a stack to reach addr; NULL if addr is in none. mmap_lock likewise. */
struct vm_area_struct *find_extend_vma(struct mm_struct *mm, uintptr_t addr);

/* ---- mprotect.c, mlock.c --------------------------------------------------------------------- */

bool can_do_mlock(struct mm_struct *mm);
/* Would locking len more bytes exceed the limit? 0 or -EAGAIN. */
int mlock_future_check(struct mm_struct *mm, vm_flags_t flags, size_t len);
/* The VMA, or the part of it, locks nothing any more: clears its flags, and lets pages go that no other
 * VMA locks. mmap_lock for writing. Context: sleep. */
void munlock_vma_pages_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end);
/* One page that has just lost an entry of a locked VMA. The caller has a reference. Context: sleep. */
void munlock_page(struct page *page);
/* Faults the pages of a range in, as locking wants them. mmap_lock not held. 0 or -errno. */
int __mm_populate(struct mm_struct *mm, uintptr_t start, size_t len, bool ignore_errors);
static inline void mm_populate(struct mm_struct *mm, uintptr_t addr, size_t len)
{
	/* What cannot be populated now will fault later. */
	(void)__mm_populate(mm, addr, len, true);
}
/* The same for part of one VMA, mmap_lock held. Returns pages done or -errno. */
long populate_vma_page_range(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, bool *locked);

#endif
