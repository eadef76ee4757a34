/* SPDX-License-Identifier: MIT */
/*
 * The two interval trees of the reverse maps, keyed by page offsets: VMAs of a file, and links to
 * VMAs of an anon_vma. Sorted by first offset; each node knows the greatest last of its subtree.
 */
#include "mm/rmap/rmap.h"

static inline unsigned long vma_first(const struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

static inline unsigned long vma_last(const struct vm_area_struct *vma)
{
	return vma->vm_pgoff + vma_pages(vma) - 1;
}

static inline unsigned long avc_first(const struct anon_vma_chain *avc)
{
	ASSERT_DEBUG(avc->vma);
	return vma_first(avc->vma);
}

static inline unsigned long avc_last(const struct anon_vma_chain *avc)
{
	ASSERT_DEBUG(avc->vma);
	return vma_last(avc->vma);
}

/*
 * Defines insert, remove, iter_first and iter_next for nodes of one type. In iter_first the left
 * subtree is entered only if something in it reaches up to `first`; then either the answer is
 * there, or all that overlaps starts too late.
 */
#define DEFINE_INTERVAL_TREE(prefix, type, node, sub, FIRST, LAST)                                \
	static inline unsigned long prefix##_max(const type *n)                                   \
	{                                                                                         \
		unsigned long m = LAST(n);                                                        \
                                                                                                  \
		if (n->node.rb_left)                                                              \
			m = max(m, rb_entry(n->node.rb_left, type, node)->sub);                   \
		if (n->node.rb_right)                                                             \
			m = max(m, rb_entry(n->node.rb_right, type, node)->sub);                  \
		return m;                                                                         \
	}                                                                                         \
	RB_DECLARE_CALLBACKS(prefix##_augment, type, node, unsigned long, sub, prefix##_max);     \
                                                                                                  \
	void prefix##_insert(type *n, struct rb_root *root)                                       \
	{                                                                                         \
		struct rb_node **link = &root->rb_node, *parent = NULL;                           \
		unsigned long last = LAST(n);                                                     \
                                                                                                  \
		while (*link) {                                                                   \
			type *p = rb_entry(*link, type, node);                                    \
                                                                                                  \
			parent = *link;                                                           \
			if (p->sub < last)                                                        \
				p->sub = last;                                                    \
			link = FIRST(n) < FIRST(p) ? &parent->rb_left : &parent->rb_right;        \
		}                                                                                 \
		n->sub = last;                                                                    \
		rb_link_node(&n->node, parent, link);                                             \
		rb_insert_augmented(&n->node, root, &prefix##_augment);                           \
	}                                                                                         \
                                                                                                  \
	void prefix##_remove(type *n, struct rb_root *root)                                       \
	{                                                                                         \
		rb_erase_augmented(&n->node, root, &prefix##_augment);                            \
	}                                                                                         \
                                                                                                  \
	static type *prefix##_search(struct rb_node *rb, unsigned long first, unsigned long last) \
	{                                                                                         \
		while (rb) {                                                                      \
			type *n = rb_entry(rb, type, node);                                       \
			struct rb_node *left = rb->rb_left;                                       \
                                                                                                  \
			if (left && rb_entry(left, type, node)->sub >= first) {                   \
				rb = left;                                                        \
				continue;                                                         \
			}                                                                         \
			if (FIRST(n) > last)                                                      \
				return NULL;                                                      \
			if (LAST(n) >= first)                                                     \
				return n;                                                         \
			rb = rb->rb_right;                                                        \
			if (rb && rb_entry(rb, type, node)->sub < first)                          \
				return NULL;                                                      \
		}                                                                                 \
		return NULL;                                                                      \
	}                                                                                         \
                                                                                                  \
	type *prefix##_iter_first(struct rb_root *root, unsigned long first, unsigned long last)  \
	{                                                                                         \
		struct rb_node *rb = root->rb_node;                                               \
                                                                                                  \
		if (!rb || rb_entry(rb, type, node)->sub < first)                                 \
			return NULL;                                                              \
		return prefix##_search(rb, first, last);                                          \
	}                                                                                         \
                                                                                                  \
	type *prefix##_iter_next(type *n, unsigned long first, unsigned long last)                \
	{                                                                                         \
		struct rb_node *rb = n->node.rb_right, *prev;                                     \
                                                                                                  \
		for (;;) {                                                                        \
			if (rb && rb_entry(rb, type, node)->sub >= first)                         \
				return prefix##_search(rb, first, last);                          \
			/* Up, until we come from a left child: its parent starts next. */       \
			do {                                                                      \
				rb = rb_parent(&n->node);                                         \
				if (!rb)                                                          \
					return NULL;                                              \
				prev = &n->node;                                                  \
				n = rb_entry(rb, type, node);                                     \
				rb = n->node.rb_right;                                            \
			} while (prev == rb);                                                     \
			if (FIRST(n) > last)                                                      \
				return NULL;                                                      \
			if (LAST(n) >= first)                                                     \
				return n;                                                         \
		}                                                                                 \
	}

DEFINE_INTERVAL_TREE(vma_interval_tree, struct vm_area_struct, shared.rb, shared.rb_subtree_last,
		     vma_first, vma_last)
DEFINE_INTERVAL_TREE(anon_vma_interval_tree, struct anon_vma_chain, rb, rb_subtree_last, avc_first,
		     avc_last)
