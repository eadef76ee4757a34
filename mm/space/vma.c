/* SPDX-License-Identifier: MIT */
/*
 * VMAs (struct vm_area_struct): finding, linking, splitting and merging them.
 *
 * Terms. A VMA is a range of whole pages of one space with one object behind it, one set of rights
 * and one set of flags. *Adjacent* VMAs touch. The *own gap* of a VMA is the free room between its
 * predecessor's end and its start, less the guard gap below a stack: what a new mapping can get
 * there. The *subtree gap* is the largest own gap of a VMA and all below it in the tree.
 *
 * Structures (I20 to I23). Each VMA is in mm->mmap, a list by address, and in mm->mm_rb, a
 * red-black tree in the same order, augmented with the subtree gap. A VMA of a file is also in the
 * file's interval tree (mapping->i_mmap), one with anonymous pages in the interval tree of each
 * anon_vma of its chain; both are keyed by page offsets, so vm_start, vm_end and vm_pgoff may
 * change only while the VMA is out of them. mm->vmacache is a hint: the VMA of the last look-up.
 *
 * Look-up. find_vma() asks the hint, then descends the tree: O(log n). The gaps serve mmap.c, which
 * finds the highest or lowest hole of a size in one descent. As a gap depends on the predecessor's
 * end, changing an end also means vma_gap_update() of the successor; it stops on its way up the
 * tree where the subtree gap stays what it was.
 *
 * Changing. There are three changes: split, merge, shift of a boundary between adjacent VMAs. All
 * of them are __vma_adjust(vma, start, end, pgoff, insert, expand), which keeps list, tree, gaps
 * and both reverse maps in step: vma gets the new bounds, `insert` is the piece cut off by a split,
 * and whatever follows is shortened or removed so far as vma now covers it. It plans first (this
 * may allocate: whichever VMA grows over pages needs the anon_vma of the one that gave them), then
 * changes everything under the locks, where nothing can fail.
 *
 * Split. __split_vma() duplicates the VMA, and __vma_adjust() cuts: one of the two gets the part
 * below the address, the other the part above. Drawn as list and as tree (own gap/subtree gap in
 * pages); tested by test_mmap.c, splits_are_as_drawn:
 *
 *   ..LLLL....VVVVVVVVVVVV........RRRR..            V 4/8           three VMAs
 *                                                L 2/2   R 8/8
 *
 *   ..LLLL....WWWWWWVVVVVV........RRRR..            V 0/8           mprotect of V's upper half:
 *                                                L 2/4   R 8/8      W is new, V keeps the upper
 *                                                   W 4/4           half
 *
 *   ..LLLL....WWWWWWWWWWWW........RRRR..            W 4/8           mprotect back: case 7 below,
 *                                                L 2/2   R 8/8      V is freed
 *
 *   ..LLLL....WWWWWW..............RRRR..            W 4/14          munmap of the upper half
 *                                                L 2/2   R 14/14
 *
 * Merge. vma_merge() is asked before [addr, end), A below, becomes a VMA of given properties: it
 * may be a hole (mmap, brk, the target of mremap) or part of VMAs that are about to get these
 * properties (mprotect, madvise, mlock). P is the VMA before A, or the one that A is the end of; N
 * is the one after, or the one that A is the start of; X is one that A covers wholly. The letters
 * behind the arrow say which structure is left; the others are freed. "P fits" means: same flags,
 * file, policy, offsets that continue, and anon_vmas that can be joined. Tested by test_mmap.c,
 * merges_are_as_drawn.
 *
 *        A = ....AAAA....
 *
 *   A is a hole
 *     1  PPPP....NNNN  ->  PPPPPPPPPPPP   both fit: P grows over A and N
 *     2  PPPP....NNNN  ->  PPPPPPPPNNNN   only P fits: P grows up
 *     3  PPPP....NNNN  ->  PPPPNNNNNNNN   only N fits: N grows down
 *   A is part of one neighbour: a boundary shifts
 *     4  PPPPPPPPNNNN  ->  PPPPNNNNNNNN   A is the end of P and N fits
 *     5  PPPPNNNNNNNN  ->  PPPPPPPPNNNN   A is the start of N and P fits
 *   A is a VMA of its own, X
 *     6  PPPPXXXXNNNN  ->  PPPPPPPPPPPP   both fit: X and N go, in two passes
 *     7  PPPPXXXXNNNN  ->  PPPPPPPPNNNN   only P fits: X goes
 *     8  PPPPXXXXNNNN  ->  PPPPNNNNNNNN   only N fits: X goes (`expand` says that N stays)
 *
 * A in the middle of a VMA, or with neighbours that do not fit, merges with nothing: the caller
 * splits, or makes a new VMA. A merge that lacks memory is simply not made.
 *
 * Locks. mmap_lock for writing for all changes, for reading for look-ups. Inside it, in this order:
 * i_mmap_rwsem of the file, the lock of the anon_vma's root, both for writing while a boundary
 * moves. Stack growth alone (stack.c) moves vm_start under the read lock, with page_table_lock.
 *
 * Limits. vm.max_map_count VMAs, asked by split_vma() and the callers that add one. No huge-page
 * VMAs; policy and userfaultfd contexts are compared and never set.
 *
 * Tried and rejected. Recomputing each ancestor's own gap on the way up the tree: an own gap
 * changes only with a neighbour, so it is remembered (rb_own_gap); mmap + munmap among 10,000 VMAs
 * went from 6,708 to 5,611 instructions. A tree with wider nodes would shorten that way further; it
 * is not built (docs/performance.md, "Left out").
 */
#include "mm/space/vma.h"
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include "mm/slab/slab.h"
#include "mm/space/range.h"
#include <quire/abi.h>

struct kmem_cache *vm_area_cachep;

/* ---- objects --------------------------------------------------------------------------------- */

struct vm_area_struct *vm_area_alloc(struct mm_struct *mm)
{
	struct vm_area_struct *vma = kmem_cache_zalloc(vm_area_cachep, GFP_KERNEL);

	ASSERT(mm);
	if (!vma)
		return NULL;
	vma->vm_mm = mm;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	return vma;
}

/* Its node in the file's tree is copied too, although others may turn it meanwhile: it means nothing
 * until the copy is linked itself. So no sanitizer need see this. */
__attribute__((no_sanitize("thread")))
struct vm_area_struct *vm_area_dup(const struct vm_area_struct *orig)
{
	struct vm_area_struct *vma = kmem_cache_alloc(vm_area_cachep, GFP_KERNEL);

	if (!vma)
		return NULL;
	*vma = *orig;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	vma->vm_next = vma->vm_prev = NULL;
	return vma;
}

void vm_area_free(struct vm_area_struct *vma)
{
	ASSERT_DEBUG(list_empty(&vma->anon_vma_chain));
	kmem_cache_free(vm_area_cachep, vma);
}

void vma_set_anonymous(struct vm_area_struct *vma)
{
	vma->vm_ops = NULL;
}

/* ---- the tree and its gaps ------------------------------------------------------------------- */

/* Free room below vma, with no regard to its subtree. */
static unsigned long vma_own_gap(const struct vm_area_struct *vma)
{
	uintptr_t start = vm_start_gap(vma), prev_end = vma->vm_prev ? vm_end_gap(vma->vm_prev) : 0;

	return start > prev_end ? start - prev_end : 0;
}

/* The largest of a VMA's own gap and its subtrees'. */
static inline unsigned long gap_of(const struct vm_area_struct *vma, unsigned long gap)
{
	unsigned long sub;

	if (vma->vm_rb.rb_left) {
		sub = rb_entry(vma->vm_rb.rb_left, struct vm_area_struct, vm_rb)->rb_subtree_gap;
		gap = max(gap, sub);
	}
	if (vma->vm_rb.rb_right) {
		sub = rb_entry(vma->vm_rb.rb_right, struct vm_area_struct, vm_rb)->rb_subtree_gap;
		gap = max(gap, sub);
	}
	return gap;
}

unsigned long vma_compute_gap(const struct vm_area_struct *vma)
{
	return gap_of(vma, vma_own_gap(vma));
}

/* Up the tree only the subtrees differ: an ancestor's own gap is what it was. */
static inline unsigned long vma_remembered_gap(const struct vm_area_struct *vma)
{
	return gap_of(vma, vma->rb_own_gap);
}

RB_DECLARE_CALLBACKS(vma_gap_callbacks, struct vm_area_struct, vm_rb, unsigned long, rb_subtree_gap,
		     vma_remembered_gap);

void vma_gap_update(struct vm_area_struct *vma)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	vma->rb_own_gap = vma_own_gap(vma);
	vma_gap_callbacks.propagate(&vma->vm_rb, NULL);
}

struct vm_area_struct *find_vma(struct mm_struct *mm, uintptr_t addr)
{
	struct vm_area_struct *vma = __atomic_load_n(&mm->vmacache, __ATOMIC_RELAXED);
	struct rb_node *node;

	assert_held_any(&mm->mmap_lock);
	if (vma && vma->vm_start <= addr && vma->vm_end > addr)
		return vma;
	vma = NULL;
	node = mm->mm_rb.rb_node;
	while (node) {
		struct vm_area_struct *v = rb_entry(node, struct vm_area_struct, vm_rb);

		if (v->vm_end > addr) {
			vma = v;
			if (v->vm_start <= addr)
				break;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	if (vma)
		__atomic_store_n(&mm->vmacache, vma, __ATOMIC_RELAXED);
	return vma;
}

static struct vm_area_struct *last_vma(struct mm_struct *mm)
{
	struct rb_node *last = rb_last(&mm->mm_rb);

	assert_held_any(&mm->mmap_lock);
	return last ? rb_entry(last, struct vm_area_struct, vm_rb) : NULL;
}

struct vm_area_struct *find_vma_prev(struct mm_struct *mm, uintptr_t addr,
				     struct vm_area_struct **pprev)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	assert_held_any(&mm->mmap_lock);
	*pprev = vma ? vma->vm_prev : last_vma(mm);
	return vma;
}

struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, uintptr_t start, uintptr_t end)
{
	struct vm_area_struct *vma = find_vma(mm, start);

	assert_held_any(&mm->mmap_lock);
	ASSERT_DEBUG(start < end);
	return vma && vma->vm_start < end ? vma : NULL;
}

int find_vma_links(struct mm_struct *mm, uintptr_t addr, uintptr_t end,
		   struct vm_area_struct **pprev, struct rb_node ***rb_link,
		   struct rb_node **rb_parent)
{
	struct rb_node **link = &mm->mm_rb.rb_node, *parent = NULL, *before = NULL;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(addr < end);
	while (*link) {
		struct vm_area_struct *v = rb_entry(*link, struct vm_area_struct, vm_rb);

		parent = *link;
		if (v->vm_end > addr) {
			if (v->vm_start < end)
				return -ENOMEM;
			link = &parent->rb_left;
		} else {
			before = parent;
			link = &parent->rb_right;
		}
	}
	*pprev = before ? rb_entry(before, struct vm_area_struct, vm_rb) : NULL;
	*rb_link = link;
	*rb_parent = parent;
	return 0;
}

/* ---- linking --------------------------------------------------------------------------------- */

void __vma_link_list(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev)
{
	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG_I("I20", !prev || prev->vm_end <= vma->vm_start);
	vma->vm_prev = prev;
	vma->vm_next = prev ? prev->vm_next : mm->mmap;
	if (prev)
		prev->vm_next = vma;
	else
		mm->mmap = vma;
	if (vma->vm_next)
		vma->vm_next->vm_prev = vma;
}

static void vma_unlink_list(struct mm_struct *mm, struct vm_area_struct *vma)
{
	assert_held_write(&mm->mmap_lock);
	if (vma->vm_prev)
		vma->vm_prev->vm_next = vma->vm_next;
	else
		mm->mmap = vma->vm_next;
	if (vma->vm_next)
		vma->vm_next->vm_prev = vma->vm_prev;
}

void __vma_link_rb(struct mm_struct *mm, struct vm_area_struct *vma, struct rb_node **rb_link,
		   struct rb_node *rb_parent)
{
	assert_held_write(&mm->mmap_lock);
	if (vma->vm_next)
		vma_gap_update(vma->vm_next);
	/*
	 * The node goes in with a gap of nothing, so that its ancestors stay right, and then gets
	 * its own: the propagation below walks up as far as that matters.
	 */
	rb_link_node(&vma->vm_rb, rb_parent, rb_link);
	vma->rb_subtree_gap = 0;
	vma_gap_update(vma);
	rb_insert_augmented(&vma->vm_rb, &mm->mm_rb, &vma_gap_callbacks);
}

/* i_mmap_rwsem held for writing. */
static void __vma_link_file(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_file->f_mapping;

	assert_held_write(&vma->vm_mm->mmap_lock);
	if (vma->vm_flags & VM_SHARED)
		__atomic_fetch_add(&mapping->i_mmap_writable, 1, __ATOMIC_RELAXED);
	if (vma->vm_flags & VM_DENYWRITE)
		deny_write_again(vma->vm_file);
	vma_interval_tree_insert(vma, i_mmap_write(mapping));
}

static void __vma_unlink_file(struct vm_area_struct *vma, struct address_space *mapping)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	if (vma->vm_flags & VM_SHARED)
		mapping_unmap_writable(mapping);
	if (vma->vm_flags & VM_DENYWRITE)
		allow_write_access(vma->vm_file);
	vma_interval_tree_remove(vma, i_mmap_write(mapping));
}

void unlink_file_vma(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_file ? vma->vm_file->f_mapping : NULL;

	assert_held_write(&vma->vm_mm->mmap_lock);
	if (!mapping)
		return;
	down_write(&mapping->i_mmap_rwsem);
	__vma_unlink_file(vma, mapping);
	up_write(&mapping->i_mmap_rwsem);
}

void vma_link(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev,
	      struct rb_node **rb_link, struct rb_node *rb_parent)
{
	struct address_space *mapping = vma->vm_file ? vma->vm_file->f_mapping : NULL;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(vma->vm_mm == mm);
	if (mapping)
		down_write(&mapping->i_mmap_rwsem);
	__vma_link_list(mm, vma, prev);
	__vma_link_rb(mm, vma, rb_link, rb_parent);
	if (mapping) {
		__vma_link_file(vma);
		up_write(&mapping->i_mmap_rwsem);
	}
	mm->map_count++;
}

/* Links a VMA whose file link is already made. */
static void __insert_vm_struct(struct mm_struct *mm, struct vm_area_struct *vma)
{
	struct rb_node **link, *parent;
	struct vm_area_struct *prev;

	assert_held_write(&mm->mmap_lock);
	if (find_vma_links(mm, vma->vm_start, vma->vm_end, &prev, &link, &parent))
		BUG();
	__vma_link_list(mm, vma, prev);
	__vma_link_rb(mm, vma, link, parent);
	mm->map_count++;
}

int insert_vm_struct(struct mm_struct *mm, struct vm_area_struct *vma)
{
	struct rb_node **link, *parent;
	struct vm_area_struct *prev;

	assert_held_write(&mm->mmap_lock);
	ASSERT(vma->vm_start < vma->vm_end);
	if (find_vma_links(mm, vma->vm_start, vma->vm_end, &prev, &link, &parent))
		return -ENOMEM;
	if ((vma->vm_flags & VM_ACCOUNT) && security_vm_enough_memory_mm(mm, vma_pages(vma)))
		return -ENOMEM;
	/* An unfaulted private VMA of nothing is keyed by its address, as mmap would do. */
	if (vma_is_anonymous(vma))
		vma->vm_pgoff = vma->vm_start >> PAGE_SHIFT;
	vma_link(mm, vma, prev, link, parent);
	return 0;
}

/* Out of tree and list; its successor's gap is left to the caller. */
static void __vma_unlink(struct mm_struct *mm, struct vm_area_struct *vma)
{
	assert_held_write(&mm->mmap_lock);
	rb_erase_augmented(&vma->vm_rb, &mm->mm_rb, &vma_gap_callbacks);
	vma_unlink_list(mm, vma);
	vmacache_forget(mm, vma);
}

void detach_vmas_to_be_unmapped(struct mm_struct *mm, struct vm_area_struct *vma,
				struct vm_area_struct *prev, uintptr_t end)
{
	struct vm_area_struct **link = prev ? &prev->vm_next : &mm->mmap, *tail = NULL;

	assert_held_write(&mm->mmap_lock);
	vma->vm_prev = NULL;
	while (vma && vma->vm_start < end) {
		rb_erase_augmented(&vma->vm_rb, &mm->mm_rb, &vma_gap_callbacks);
		mm->map_count--;
		tail = vma;
		vma = vma->vm_next;
	}
	*link = vma;
	if (vma) {
		vma->vm_prev = prev;
		vma_gap_update(vma);
	}
	if (tail)
		tail->vm_next = NULL;
	__atomic_store_n(&mm->vmacache, NULL, __ATOMIC_RELAXED);
}

struct vm_area_struct *remove_vma(struct vm_area_struct *vma)
{
	struct vm_area_struct *next = vma->vm_next;

	might_sleep();
	if (vma->vm_ops && vma->vm_ops->close)
		vma->vm_ops->close(vma);
	if (vma->vm_file)
		fput(vma->vm_file);
	vm_area_free(vma);
	return next;
}

/* ---- adjusting ------------------------------------------------------------------------------- */

/* One change of boundaries, as planned before anything is touched. */
struct vma_change {
	struct vm_area_struct *vma;    /* gets [start, end) and pgoff */
	struct vm_area_struct *next;   /* shifted by adjust_next, or removed */
	struct vm_area_struct *insert; /* a new piece that was cut off */
	uintptr_t start, end;
	unsigned long pgoff;
	intptr_t adjust_next;	       /* bytes by which next's start moves */
	unsigned remove;	       /* VMAs after vma that it replaces (case 6: two) */
	bool swapped;		       /* case 8: the earlier one goes, the later one grows down */
};

/*
 * Decides what happens to the VMA after c->vma, and links the VMA that grows to the anon_vmas of
 * the one that shrinks, for the pages that it gets from it. -ENOMEM: nothing changed.
 */
static int vma_change_plan(struct vma_change *c, struct vm_area_struct *expand)
{
	struct vm_area_struct *exporter = NULL, *importer = NULL;

	assert_held_write(&c->vma->vm_mm->mmap_lock);
	if (!c->next || c->insert)
		return 0;
	if (c->end >= c->next->vm_end) {
		if (c->next == expand) {
			c->swapped = true;
			c->remove = 1;
			swap(c->vma, c->next);
		} else {
			c->remove = 1 + (c->end > c->next->vm_end);
			c->end = c->next->vm_end;
		}
		exporter = c->next;
		importer = c->vma;
		if (c->remove == 2 && !c->next->anon_vma)
			exporter = c->next->vm_next;
	} else if (c->end > c->next->vm_start) {
		c->adjust_next = c->end - c->next->vm_start;
		exporter = c->next;
		importer = c->vma;
	} else if (c->end < c->vma->vm_end) {
		c->adjust_next = -(intptr_t)(c->vma->vm_end - c->end);
		exporter = c->vma;
		importer = c->next;
	}
	if (!exporter || !exporter->anon_vma || importer->anon_vma)
		return 0;
	importer->anon_vma = exporter->anon_vma;
	return anon_vma_clone(importer, exporter);
}

/* Stores the new boundaries; trees keyed by them are not in the way at the moment. */
static void vma_change_store(struct vma_change *c)
{
	assert_held_write(&c->vma->vm_mm->mmap_lock);
	ASSERT_DEBUG_I("I20", c->start < c->end);
	c->vma->vm_start = c->start;
	c->vma->vm_end = c->end;
	c->vma->vm_pgoff = c->pgoff;
	if (c->adjust_next) {
		c->next->vm_start += c->adjust_next;
		c->next->vm_pgoff += c->adjust_next >> PAGE_SHIFT;
	}
}

/* The same, with the VMAs out of the file's tree meanwhile. i_mmap_rwsem for writing. */
static void vma_change_store_file(struct vma_change *c, struct address_space *mapping)
{
	struct rb_root *root;

	assert_held_write(&c->vma->vm_mm->mmap_lock);
	if (!mapping) {
		vma_change_store(c);
		return;
	}
	root = i_mmap_write(mapping);
	if (c->insert)
		__vma_link_file(c->insert);
	vma_interval_tree_remove(c->vma, root);
	if (c->adjust_next)
		vma_interval_tree_remove(c->next, root);
	vma_change_store(c);
	if (c->adjust_next)
		vma_interval_tree_insert(c->next, root);
	vma_interval_tree_insert(c->vma, root);
}

/* List, tree and gaps after the boundaries moved. */
static void vma_change_links(struct vma_change *c, struct address_space *mapping, bool start_moved,
			     bool end_moved)
{
	struct mm_struct *mm = c->vma->vm_mm;

	assert_held_write(&mm->mmap_lock);
	if (c->remove) {
		__vma_unlink(mm, c->next);
		if (mapping)
			__vma_unlink_file(c->next, mapping);
	} else if (c->insert) {
		/* The shrunk one's own gap first: the search below relies on the tree only. */
		if (start_moved)
			vma_gap_update(c->vma);
		__insert_vm_struct(mm, c->insert);
	} else {
		if (start_moved)
			vma_gap_update(c->vma);
		if (end_moved && c->next)
			vma_gap_update(c->next);
	}
	/* A hint that still ends where the VMA no longer does would be a wrong answer. */
	vmacache_forget(mm, c->vma);
}

/* One step: the boundaries of c->vma, and at most one VMA removed. */
static void vma_change_apply(struct vma_change *c)
{
	struct file *file = c->vma->vm_file;
	struct address_space *mapping = file ? file->f_mapping : NULL;
	struct anon_vma *av = c->vma->anon_vma;
	bool start_moved = c->start != c->vma->vm_start, end_moved = c->end != c->vma->vm_end;

	assert_held_write(&c->vma->vm_mm->mmap_lock);
	if (!av && c->adjust_next)
		av = c->next->anon_vma;
	if (mapping)
		down_write(&mapping->i_mmap_rwsem);
	if (av) {
		anon_vma_lock_write(av);
		anon_vma_interval_tree_pre_update_vma(c->vma);
		if (c->adjust_next)
			anon_vma_interval_tree_pre_update_vma(c->next);
	}
	vma_change_store_file(c, mapping);
	vma_change_links(c, mapping, start_moved, end_moved);
	if (av) {
		anon_vma_interval_tree_post_update_vma(c->vma);
		if (c->adjust_next)
			anon_vma_interval_tree_post_update_vma(c->next);
		anon_vma_unlock_write(av);
	}
	if (mapping)
		up_write(&mapping->i_mmap_rwsem);
}

/* Frees the VMA that the step removed. */
static void vma_change_free_next(struct vma_change *c)
{
	struct mm_struct *mm = c->vma->vm_mm;

	assert_held_write(&mm->mmap_lock);
	if (c->next->vm_file)
		fput(c->next->vm_file);
	if (c->next->anon_vma) {
		ASSERT(!c->vma->anon_vma || c->vma->anon_vma == c->next->anon_vma);
		unlink_anon_vmas(c->next);
	}
	mm->map_count--;
	vm_area_free(c->next);
	/* Whose predecessor changed: the one after, or (swapped) the one that grew down. */
	c->next = c->swapped ? c->vma : c->vma->vm_next;
	if (c->next)
		vma_gap_update(c->next);
	if (c->swapped && c->vma->vm_next)
		vma_gap_update(c->vma->vm_next);
}

int __vma_adjust(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, unsigned long pgoff,
		 struct vm_area_struct *insert, struct vm_area_struct *expand)
{
	struct vma_change c = {
		.vma = vma,
		.next = vma->vm_next,
		.insert = insert,
		.start = start,
		.end = end,
		.pgoff = pgoff,
	};
	int err = vma_change_plan(&c, expand);

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(start < end);
	if (err)
		return err;
	for (;;) {
		vma_change_apply(&c);
		if (!c.remove)
			return 0;
		vma_change_free_next(&c);
		if (--c.remove == 0)
			return 0;
		/* Case 6, second pass: the VMA after the one in the middle goes too. */
		c.end = c.next->vm_end;
	}
}

/* ---- merging --------------------------------------------------------------------------------- */

/* May vma, as it is, continue a range with these properties? Soft-dirty is no difference (SD03). */
static bool is_mergeable_vma(const struct vm_area_struct *vma, const struct file *file,
			     vm_flags_t flags, const void *policy, const void *uffd)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	if ((vma->vm_flags ^ flags) & ~VM_SOFTDIRTY)
		return false;
	if (vma->vm_file != file || vma->vm_policy != policy || vma->vm_userfaultfd_ctx != uffd)
		return false;
	return !vma->vm_ops || !vma->vm_ops->close;
}

/*
 * One side without an anon_vma may adopt the other's, unless the chain of vma shows that it went
 * through a fork: then pages of several generations would have to be found through it.
 */
static bool is_mergeable_anon_vma(const struct anon_vma *a, const struct anon_vma *b,
				  const struct vm_area_struct *vma)
{
	if ((!a || !b) && (!vma || list_is_singular(&vma->anon_vma_chain)))
		return true;
	return a == b;
}

static bool can_vma_merge_before(const struct vm_area_struct *vma, vm_flags_t flags,
				 const struct anon_vma *av, const struct file *file,
				 unsigned long pgoff, const void *policy, const void *uffd)
{
	ASSERT_DEBUG(!(flags & VM_SPECIAL));
	return is_mergeable_vma(vma, file, flags, policy, uffd) &&
	       is_mergeable_anon_vma(av, vma->anon_vma, vma) && vma->vm_pgoff == pgoff;
}

static bool can_vma_merge_after(const struct vm_area_struct *vma, vm_flags_t flags,
				const struct anon_vma *av, const struct file *file,
				unsigned long pgoff, const void *policy, const void *uffd)
{
	ASSERT_DEBUG(!(flags & VM_SPECIAL));
	return is_mergeable_vma(vma, file, flags, policy, uffd) &&
	       is_mergeable_anon_vma(av, vma->anon_vma, vma) &&
	       vma->vm_pgoff + vma_pages(vma) == pgoff;
}

/* The cases 1 to 8 are drawn at the head of this file. */
struct vm_area_struct *vma_merge(struct mm_struct *mm, struct vm_area_struct *prev, uintptr_t addr,
				 uintptr_t end, vm_flags_t vm_flags, struct anon_vma *anon_vma,
				 struct file *file, unsigned long pgoff, void *policy, void *uffd)
{
	unsigned long pglen = (end - addr) >> PAGE_SHIFT;
	struct vm_area_struct *area, *next;
	bool with_next;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(addr < end);
	if (vm_flags & VM_SPECIAL)
		return NULL;
	next = prev ? prev->vm_next : mm->mmap;
	area = next;
	if (area && area->vm_end == end) /* 6, 7, 8 */
		next = next->vm_next;
	with_next = next && end == next->vm_start &&
		    can_vma_merge_before(next, vm_flags, anon_vma, file, pgoff + pglen, policy, uffd);

	if (prev && prev->vm_end == addr &&
	    can_vma_merge_after(prev, vm_flags, anon_vma, file, pgoff, policy, uffd)) {
		if (with_next && is_mergeable_anon_vma(prev->anon_vma, next->anon_vma, NULL))
			err = __vma_adjust(prev, prev->vm_start, next->vm_end, prev->vm_pgoff, NULL,
					   prev); /* 1, 6 */
		else
			err = __vma_adjust(prev, prev->vm_start, end, prev->vm_pgoff, NULL,
					   prev); /* 2, 5, 7 */
		return err ? NULL : prev;
	}
	if (!with_next)
		return NULL;
	if (prev && addr < prev->vm_end) /* 4 */
		err = __vma_adjust(prev, prev->vm_start, addr, prev->vm_pgoff, NULL, next);
	else /* 3, 8 */
		err = __vma_adjust(area, addr, next->vm_end, next->vm_pgoff - pglen, NULL, next);
	return err ? NULL : next;
}

/* ---- splitting and copying ------------------------------------------------------------------- */

int __split_vma(struct mm_struct *mm, struct vm_area_struct *vma, uintptr_t addr, bool new_below)
{
	struct vm_area_struct *new_ = vm_area_dup(vma);
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(addr > vma->vm_start && addr < vma->vm_end);
	if (!new_)
		return -ENOMEM;
	if (new_below) {
		new_->vm_end = addr;
	} else {
		new_->vm_start = addr;
		new_->vm_pgoff += (addr - vma->vm_start) >> PAGE_SHIFT;
	}
	err = anon_vma_clone(new_, vma);
	if (err) {
		vm_area_free(new_);
		return err;
	}
	if (new_->vm_file)
		get_file(new_->vm_file);
	if (new_->vm_ops && new_->vm_ops->open)
		new_->vm_ops->open(new_);
	if (new_below)
		err = vma_adjust(vma, addr, vma->vm_end,
				 vma->vm_pgoff + ((addr - new_->vm_start) >> PAGE_SHIFT), new_);
	else
		err = vma_adjust(vma, vma->vm_start, addr, vma->vm_pgoff, new_);
	/* With a VMA to insert nothing is allocated any more. */
	ASSERT(!err);
	return 0;
}

int split_vma(struct mm_struct *mm, struct vm_area_struct *vma, uintptr_t addr, bool new_below)
{
	assert_held_write(&mm->mmap_lock);
	if (mm->map_count >= vm_sysctl.max_map_count)
		return -ENOMEM;
	return __split_vma(mm, vma, addr, new_below);
}

int vma_modify(struct vm_area_struct **vma, struct vm_area_struct **prev, uintptr_t start, uintptr_t end,
	       vm_flags_t flags, void *policy, void *uffd)
{
	struct vm_area_struct *v = *vma, *merged;
	struct mm_struct *mm = v->vm_mm;
	int err = 0;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(start >= v->vm_start && end <= v->vm_end && start < end);
	merged = vma_merge(mm, *prev, start, end, flags, v->anon_vma, v->vm_file, linear_page_index(v, start), policy,
			   uffd);
	if (merged) {
		*vma = merged;
	} else {
		if (start != v->vm_start)
			err = split_vma(mm, v, start, true);
		if (!err && end != v->vm_end)
			err = split_vma(mm, v, end, false);
	}
	*prev = *vma;
	return err;
}

/* A new VMA for copy_vma(); NULL: no memory. */
static struct vm_area_struct *copy_vma_new(struct vm_area_struct *vma, uintptr_t addr, size_t len,
					   unsigned long pgoff)
{
	struct vm_area_struct *new_ = vm_area_dup(vma);

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(len);
	if (!new_)
		return NULL;
	new_->vm_start = addr;
	new_->vm_end = addr + len;
	new_->vm_pgoff = pgoff;
	if (anon_vma_clone(new_, vma)) {
		vm_area_free(new_);
		return NULL;
	}
	if (new_->vm_file)
		get_file(new_->vm_file);
	if (new_->vm_ops && new_->vm_ops->open)
		new_->vm_ops->open(new_);
	return new_;
}

struct vm_area_struct *copy_vma(struct vm_area_struct **vmap, uintptr_t addr, size_t len,
				unsigned long pgoff, bool *need_rmap_locks)
{
	struct vm_area_struct *vma = *vmap, *new_, *prev;
	uintptr_t vma_start = vma->vm_start;
	struct mm_struct *mm = vma->vm_mm;
	struct rb_node **link, *parent;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(len);
	/* Never faulted: no page depends on the old key, the new one merges better (MR20). */
	if (vma_is_anonymous(vma) && !vma->anon_vma)
		pgoff = addr >> PAGE_SHIFT;
	if (find_vma_links(mm, addr, addr + len, &prev, &link, &parent))
		return NULL;
	new_ = vma_merge(mm, prev, addr, addr + len, vma->vm_flags, vma->anon_vma, vma->vm_file,
			 pgoff, vma->vm_policy, vma->vm_userfaultfd_ctx);
	if (new_) {
		/* The source itself may have been swallowed by the merge. */
		if (vma_start >= new_->vm_start && vma_start < new_->vm_end)
			*vmap = vma = new_;
		*need_rmap_locks = new_->vm_pgoff <= vma->vm_pgoff;
		return new_;
	}
	new_ = copy_vma_new(vma, addr, len, pgoff);
	if (!new_)
		return NULL;
	vma_link(mm, new_, prev, link, parent);
	*need_rmap_locks = false;
	return new_;
}

/* ---- rights ---------------------------------------------------------------------------------- */

bool vma_wants_writenotify(const struct vm_area_struct *vma, const pgprot_t *prot)
{
	if ((vma->vm_flags & (VM_WRITE | VM_SHARED)) != (VM_WRITE | VM_SHARED))
		return false;
	if (vma->vm_ops && vma->vm_ops->page_mkwrite)
		return true;
	/* The object chose other rights than the flags say: leave them alone. */
	if (prot != vm_get_page_prot(vma->vm_mm->user, vma->vm_flags))
		return false;
	/* Soft-dirty of single pages is tracked by their first write. */
	return !(vma->vm_flags & VM_SOFTDIRTY);
}

void vma_set_page_prot(struct vm_area_struct *vma)
{
	bool user = vma->vm_mm->user;
	const pgprot_t *prot = vm_get_page_prot(user, vma->vm_flags);

	if (vma_wants_writenotify(vma, prot))
		prot = vm_get_page_prot(user, vma->vm_flags & ~VM_SHARED);
	vma->vm_page_prot = prot;
}
