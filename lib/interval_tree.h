/* SPDX-License-Identifier: MIT */
/*
 * Intrusive interval tree: closed intervals [start, last] of uint64_t, sorted by start, each node
 * knowing the greatest last of its subtree. Equal intervals are allowed. The caller locks.
 */
#ifndef LIB_INTERVAL_TREE_H
#define LIB_INTERVAL_TREE_H

#include "lib/rbtree.h"

struct interval_node {
	struct rb_node rb;
	uint64_t start, last; /* set by the caller before insertion, constant inside the tree */
	uint64_t subtree_last;
};

void interval_tree_insert(struct interval_node *node, struct rb_root *root);
void interval_tree_remove(struct interval_node *node, struct rb_root *root);
/* The first node, by start, that overlaps [start, last]; NULL if there is none. */
struct interval_node *interval_tree_iter_first(const struct rb_root *root, uint64_t start,
					       uint64_t last);
struct interval_node *interval_tree_iter_next(const struct interval_node *node, uint64_t start,
					      uint64_t last);

#define interval_tree_for_each(pos, root, s, l)                              \
	for ((pos) = interval_tree_iter_first(root, s, l); (pos);            \
	     (pos) = interval_tree_iter_next(pos, s, l))

#endif
