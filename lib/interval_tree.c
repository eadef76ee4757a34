/* SPDX-License-Identifier: MIT */
/* The interval tree: a red-black tree by start, augmented with the subtree's greatest end. */
#include "lib/interval_tree.h"

#define node_of(rbp) rb_entry(rbp, struct interval_node, rb)

static uint64_t compute_last(const struct interval_node *n)
{
	uint64_t m = n->last;

	if (n->rb.rb_left)
		m = max(m, node_of(n->rb.rb_left)->subtree_last);
	if (n->rb.rb_right)
		m = max(m, node_of(n->rb.rb_right)->subtree_last);
	return m;
}

RB_DECLARE_CALLBACKS(interval_augment, struct interval_node, rb, uint64_t, subtree_last,
		     compute_last);

void interval_tree_insert(struct interval_node *node, struct rb_root *root)
{
	struct rb_node **link = &root->rb_node, *parent = NULL;

	while (*link) {
		struct interval_node *p = node_of(*link);

		parent = *link;
		if (p->subtree_last < node->last)
			p->subtree_last = node->last;
		link = node->start < p->start ? &parent->rb_left : &parent->rb_right;
	}
	node->subtree_last = node->last;
	rb_link_node(&node->rb, parent, link);
	rb_insert_augmented(&node->rb, root, &interval_augment);
}

void interval_tree_remove(struct interval_node *node, struct rb_root *root)
{
	rb_erase_augmented(&node->rb, root, &interval_augment);
}

/* The leftmost overlapping node below n; the caller knows that n->subtree_last >= start. */
static struct interval_node *leftmost(struct interval_node *n, uint64_t start, uint64_t last)
{
	for (;;) {
		if (n->rb.rb_left && node_of(n->rb.rb_left)->subtree_last >= start) {
			n = node_of(n->rb.rb_left);
			continue;
		}
		if (n->start > last)
			return NULL; /* and so is all to the right of it */
		if (n->last >= start)
			return n;
		if (!n->rb.rb_right || node_of(n->rb.rb_right)->subtree_last < start)
			return NULL;
		n = node_of(n->rb.rb_right);
	}
}

struct interval_node *interval_tree_iter_first(const struct rb_root *root, uint64_t start,
					       uint64_t last)
{
	struct rb_node *rb = root->rb_node;

	if (!rb || node_of(rb)->subtree_last < start)
		return NULL;
	return leftmost(node_of(rb), start, last);
}

struct interval_node *interval_tree_iter_next(const struct interval_node *node, uint64_t start,
					      uint64_t last)
{
	const struct rb_node *rb = &node->rb, *prev;

	for (;;) {
		struct rb_node *right = rb->rb_right;

		if (right && node_of(right)->subtree_last >= start)
			return leftmost(node_of(right), start, last);
		do { /* up, until we come from a left child */
			prev = rb;
			rb = rb_parent(rb);
			if (!rb)
				return NULL;
		} while (prev == rb->rb_right);
		if (node_of(rb)->start > last)
			return NULL;
		if (node_of(rb)->last >= start)
			return (struct interval_node *)(uintptr_t)node_of(rb);
	}
}
