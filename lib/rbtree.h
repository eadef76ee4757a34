/* SPDX-License-Identifier: MIT */
/*
 * Intrusive red-black trees, plain and augmented. The caller descends, compares and links; these
 * functions only rebalance. A node's parent pointer carries its colour in bit 0.
 *
 * Augmented trees keep in each node a value computed from the node and its children. Before
 * rb_insert_augmented() the caller has made the new node's value right and has propagated it to
 * its ancestors; rb_erase_augmented() does its own propagation.
 */
#ifndef LIB_RBTREE_H
#define LIB_RBTREE_H

#include "lib/bug.h"

struct rb_node {
	uintptr_t parent_color; /* parent | colour (1: black) */
	struct rb_node *rb_right, *rb_left;
} __attribute__((aligned(sizeof(long))));

struct rb_root {
	struct rb_node *rb_node;
};

#define RB_ROOT		   ((struct rb_root){NULL})
#define rb_entry(p, t, m)  container_of(p, t, m)
#define RB_EMPTY_ROOT(r)   ((r)->rb_node == NULL)
#define RB_EMPTY_NODE(n)   ((n)->parent_color == (uintptr_t)(n))
#define RB_CLEAR_NODE(n)   ((n)->parent_color = (uintptr_t)(n))
#define rb_parent(n)	   ((struct rb_node *)((n)->parent_color & ~(uintptr_t)1))

struct rb_augment_callbacks {
	/* Recompute from node upwards, until stop (exclusive) or nothing changes any more. */
	void (*propagate)(struct rb_node *node, struct rb_node *stop);
	/* new takes old's place: give it old's value. */
	void (*copy)(struct rb_node *old, struct rb_node *new_);
	/* new was rotated above old: new gets old's value, old is recomputed. */
	void (*rotate)(struct rb_node *old, struct rb_node *new_);
};

/* Makes node a red leaf at *link below parent. */
static inline void rb_link_node(struct rb_node *node, struct rb_node *parent,
				struct rb_node **link)
{
	node->parent_color = (uintptr_t)parent;
	node->rb_left = NULL;
	node->rb_right = NULL;
	*link = node;
}

void rb_insert_color(struct rb_node *node, struct rb_root *root);
void rb_erase(struct rb_node *node, struct rb_root *root);
void rb_insert_augmented(struct rb_node *node, struct rb_root *root,
			 const struct rb_augment_callbacks *aug);
void rb_erase_augmented(struct rb_node *node, struct rb_root *root,
			const struct rb_augment_callbacks *aug);
/* new takes the place of victim, colour and links; the keys are the caller's business. */

/* In order; NULL at the end. */
struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);

/* 0 if every rule of red-black trees holds, else which one is broken (tests, checkers). */
int rb_check(const struct rb_root *root);

/*
 * Defines callbacks `name` for trees whose node value is a maximum (or any function) over the
 * subtree: struct type has struct rb_node rbfield and augtype augfield; compute(const type *) is
 * the value of a node from itself and its children.
 */
#define RB_DECLARE_CALLBACKS(name, type, rbfield, augtype, augfield, compute)                     \
	static void name##_propagate(struct rb_node *rb, struct rb_node *stop)                    \
	{                                                                                         \
		while (rb != stop) {                                                              \
			type *n_ = rb_entry(rb, type, rbfield);                                   \
			augtype v_ = compute(n_);                                                 \
			if (n_->augfield == v_)                                                   \
				break;                                                            \
			n_->augfield = v_;                                                        \
			rb = rb_parent(&n_->rbfield);                                             \
		}                                                                                 \
	}                                                                                         \
	static void name##_copy(struct rb_node *rb_old, struct rb_node *rb_new)                   \
	{                                                                                         \
		rb_entry(rb_new, type, rbfield)->augfield =                                       \
			rb_entry(rb_old, type, rbfield)->augfield;                                \
	}                                                                                         \
	static void name##_rotate(struct rb_node *rb_old, struct rb_node *rb_new)                 \
	{                                                                                         \
		type *o_ = rb_entry(rb_old, type, rbfield);                                       \
		rb_entry(rb_new, type, rbfield)->augfield = o_->augfield;                         \
		o_->augfield = compute(o_);                                                       \
	}                                                                                         \
	static const struct rb_augment_callbacks name = {name##_propagate, name##_copy,           \
							 name##_rotate}

#endif
