/* SPDX-License-Identifier: MIT */
/*
 * Red-black trees as the textbook has them, without sentinel: a missing child is black, so the
 * fix-up after an erase carries the parent of the (maybe missing) child along.
 */
#include "lib/rbtree.h"

#define RB_BLACK ((uintptr_t)1)

static inline bool is_red(const struct rb_node *n)
{
	return n && !(n->parent_color & RB_BLACK);
}

static inline void set_parent(struct rb_node *n, struct rb_node *p)
{
	n->parent_color = (n->parent_color & RB_BLACK) | (uintptr_t)p;
}

static inline void set_black(struct rb_node *n)
{
	n->parent_color |= RB_BLACK;
}

static inline void set_red(struct rb_node *n)
{
	n->parent_color &= ~RB_BLACK;
}

static inline void copy_color(struct rb_node *dst, const struct rb_node *src)
{
	dst->parent_color = (dst->parent_color & ~RB_BLACK) | (src->parent_color & RB_BLACK);
}

/* Whatever pointed to old (its parent, or the root) points to n. */
static void change_child(struct rb_node *old, struct rb_node *n, struct rb_node *parent,
			 struct rb_root *root)
{
	if (!parent)
		root->rb_node = n;
	else if (parent->rb_left == old)
		parent->rb_left = n;
	else
		parent->rb_right = n;
}

static void no_propagate(struct rb_node *node, struct rb_node *stop)
{
}

static void no_pair(struct rb_node *old, struct rb_node *new_)
{
}

static const struct rb_augment_callbacks plain = {no_propagate, no_pair, no_pair};

/* x sinks to the left, its right child rises. */
static void rotate_left(struct rb_node *x, struct rb_root *root,
			const struct rb_augment_callbacks *aug)
{
	struct rb_node *y = x->rb_right, *p = rb_parent(x);

	x->rb_right = y->rb_left;
	if (y->rb_left)
		set_parent(y->rb_left, x);
	set_parent(y, p);
	change_child(x, y, p, root);
	y->rb_left = x;
	set_parent(x, y);
	aug->rotate(x, y);
}

static void rotate_right(struct rb_node *x, struct rb_root *root,
			 const struct rb_augment_callbacks *aug)
{
	struct rb_node *y = x->rb_left, *p = rb_parent(x);

	x->rb_left = y->rb_right;
	if (y->rb_right)
		set_parent(y->rb_right, x);
	set_parent(y, p);
	change_child(x, y, p, root);
	y->rb_right = x;
	set_parent(x, y);
	aug->rotate(x, y);
}

void rb_insert_augmented(struct rb_node *n, struct rb_root *root,
			 const struct rb_augment_callbacks *aug)
{
	struct rb_node *p, *g, *uncle;

	while (is_red(p = rb_parent(n))) {
		g = rb_parent(p); /* a red node is never the root */
		uncle = p == g->rb_left ? g->rb_right : g->rb_left;
		if (is_red(uncle)) {
			set_black(p);
			set_black(uncle);
			set_red(g);
			n = g;
			continue;
		}
		if (p == g->rb_left) {
			if (n == p->rb_right) {
				rotate_left(p, root, aug);
				p = n;
			}
			set_black(p);
			set_red(g);
			rotate_right(g, root, aug);
		} else {
			if (n == p->rb_left) {
				rotate_right(p, root, aug);
				p = n;
			}
			set_black(p);
			set_red(g);
			rotate_left(g, root, aug);
		}
		break;
	}
	set_black(root->rb_node);
}

void rb_insert_color(struct rb_node *node, struct rb_root *root)
{
	rb_insert_augmented(node, root, &plain);
}

/* The side of parent that holds n (maybe missing) lacks one black node; n is its sibling's peer
 * on the left. Returns true if the lack moved up to parent. */
static bool fix_left(struct rb_node *parent, struct rb_root *root,
		     const struct rb_augment_callbacks *aug)
{
	struct rb_node *s = parent->rb_right;

	if (is_red(s)) {
		set_black(s);
		set_red(parent);
		rotate_left(parent, root, aug);
		s = parent->rb_right;
	}
	if (!is_red(s->rb_left) && !is_red(s->rb_right)) {
		set_red(s);
		return true;
	}
	if (!is_red(s->rb_right)) {
		set_black(s->rb_left);
		set_red(s);
		rotate_right(s, root, aug);
		s = parent->rb_right;
	}
	copy_color(s, parent);
	set_black(parent);
	set_black(s->rb_right);
	rotate_left(parent, root, aug);
	return false;
}

static bool fix_right(struct rb_node *parent, struct rb_root *root,
		      const struct rb_augment_callbacks *aug)
{
	struct rb_node *s = parent->rb_left;

	if (is_red(s)) {
		set_black(s);
		set_red(parent);
		rotate_right(parent, root, aug);
		s = parent->rb_left;
	}
	if (!is_red(s->rb_left) && !is_red(s->rb_right)) {
		set_red(s);
		return true;
	}
	if (!is_red(s->rb_left)) {
		set_black(s->rb_right);
		set_red(s);
		rotate_left(s, root, aug);
		s = parent->rb_left;
	}
	copy_color(s, parent);
	set_black(parent);
	set_black(s->rb_left);
	rotate_right(parent, root, aug);
	return false;
}

static void erase_fixup(struct rb_node *n, struct rb_node *parent, struct rb_root *root,
			const struct rb_augment_callbacks *aug)
{
	while (parent && !is_red(n)) {
		bool up = n == parent->rb_left ? fix_left(parent, root, aug)
					       : fix_right(parent, root, aug);

		if (!up)
			return;
		n = parent;
		parent = rb_parent(n);
	}
	if (n)
		set_black(n);
}

/* Takes out node, which has at most one child; returns that child. */
static struct rb_node *splice_out(struct rb_node *node, struct rb_root *root)
{
	struct rb_node *child = node->rb_left ? node->rb_left : node->rb_right;
	struct rb_node *parent = rb_parent(node);

	if (child)
		set_parent(child, parent);
	change_child(node, child, parent, root);
	return child;
}

static void replace_node(struct rb_node *victim, struct rb_node *n, struct rb_root *root)
{
	struct rb_node *parent = rb_parent(victim);

	*n = *victim;
	if (victim->rb_left)
		set_parent(victim->rb_left, n);
	if (victim->rb_right)
		set_parent(victim->rb_right, n);
	change_child(victim, n, parent, root);
}

void rb_erase_augmented(struct rb_node *node, struct rb_root *root,
			const struct rb_augment_callbacks *aug)
{
	struct rb_node *child, *parent, *succ;
	bool lost_black;

	if (!node->rb_left || !node->rb_right) {
		parent = rb_parent(node);
		lost_black = !is_red(node);
		child = splice_out(node, root);
		aug->propagate(parent, NULL);
	} else {
		succ = rb_next(node);
		parent = rb_parent(succ);
		lost_black = !is_red(succ);
		child = splice_out(succ, root);
		if (parent == node)
			parent = succ;
		replace_node(node, succ, root);
		aug->copy(node, succ);
		/* succ carries the value of the whole old subtree: bring everything below it up
		 * to date first, then let the change rise from succ itself. */
		if (parent != succ)
			aug->propagate(parent, succ);
		aug->propagate(succ, NULL);
	}
	if (lost_black)
		erase_fixup(child, parent, root, aug);
}

void rb_erase(struct rb_node *node, struct rb_root *root)
{
	rb_erase_augmented(node, root, &plain);
}

struct rb_node *rb_first(const struct rb_root *root)
{
	struct rb_node *n = root->rb_node;

	while (n && n->rb_left)
		n = n->rb_left;
	return n;
}

struct rb_node *rb_last(const struct rb_root *root)
{
	struct rb_node *n = root->rb_node;

	while (n && n->rb_right)
		n = n->rb_right;
	return n;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	struct rb_node *p;

	if (node->rb_right) {
		node = node->rb_right;
		while (node->rb_left)
			node = node->rb_left;
		return (struct rb_node *)(uintptr_t)node;
	}
	while ((p = rb_parent(node)) && node == p->rb_right)
		node = p;
	return p;
}

static unsigned blacks_above(const struct rb_node *n)
{
	unsigned c = 0;

	for (; n; n = rb_parent(n))
		c += !is_red(n);
	return c;
}

int rb_check(const struct rb_root *root)
{
	unsigned blacks = 0;
	struct rb_node *n;

	if (is_red(root->rb_node))
		return 1; /* the root is black */
	for (n = rb_first(root); n; n = rb_next(n)) {
		if (is_red(n) && (is_red(n->rb_left) || is_red(n->rb_right)))
			return 2; /* no red node has a red child */
		if ((n->rb_left && rb_parent(n->rb_left) != n) ||
		    (n->rb_right && rb_parent(n->rb_right) != n))
			return 3; /* links agree both ways */
		if (n->rb_left && n->rb_right)
			continue;
		if (!blacks)
			blacks = blacks_above(n);
		if (blacks != blacks_above(n))
			return 4; /* as many black nodes on every way down */
	}
	return 0;
}
