/* SPDX-License-Identifier: MIT */
/* lib/rbtree.c against a plain array, with random operations. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "lib/rand.h"
#include "lib/rbtree.h"

#define KEYS 300

struct item {
	struct rb_node rb;
	unsigned key, value, subtree_max;
	bool in;
};

static struct item items[KEYS];

static unsigned compute_max(const struct item *n)
{
	unsigned m = n->value;

	if (n->rb.rb_left)
		m = max(m, rb_entry(n->rb.rb_left, struct item, rb)->subtree_max);
	if (n->rb.rb_right)
		m = max(m, rb_entry(n->rb.rb_right, struct item, rb)->subtree_max);
	return m;
}

RB_DECLARE_CALLBACKS(item_augment, struct item, rb, unsigned, subtree_max, compute_max);

static void insert(struct rb_root *root, struct item *it, bool augmented)
{
	struct rb_node **link = &root->rb_node, *parent = NULL;

	while (*link) {
		struct item *p = rb_entry(*link, struct item, rb);

		parent = *link;
		link = it->key < p->key ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&it->rb, parent, link);
	it->in = true;
	if (!augmented) {
		rb_insert_color(&it->rb, root);
		return;
	}
	it->subtree_max = it->value;
	if (parent)
		item_augment.propagate(parent, NULL);
	rb_insert_augmented(&it->rb, root, &item_augment);
}

static void check_all(struct rb_root *root, bool augmented)
{
	struct rb_node *n = rb_first(root);
	unsigned i;

	cr_assert_eq(rb_check(root), 0);
	for (i = 0; i < KEYS; i++) {
		if (!items[i].in)
			continue;
		cr_assert_eq(n, &items[i].rb, "key %u is missing", i);
		if (augmented)
			cr_assert_eq(items[i].subtree_max, compute_max(&items[i]));
		n = rb_next(n);
	}
	cr_assert_null(n);
	for (i = KEYS; i-- > 0 && !items[i].in;)
		;
	cr_assert_eq(rb_last(root), i < KEYS ? &items[i].rb : NULL);
}

static void run(bool augmented, uint64_t seed)
{
	struct rb_root root = RB_ROOT;
	struct rand_state r;

	rand_seed(&r, seed);
	for (unsigned i = 0; i < KEYS; i++)
		items[i] = (struct item){.key = i, .value = (unsigned)rand_below(&r, 50)};
	for (int step = 0; step < 3000; step++) {
		struct item *it = &items[rand_below(&r, KEYS)];

		if (!it->in) {
			insert(&root, it, augmented);
		} else {
			if (augmented)
				rb_erase_augmented(&it->rb, &root, &item_augment);
			else
				rb_erase(&it->rb, &root);
			it->in = false;
		}
		if (step % 7 == 0 || step > 2900)
			check_all(&root, augmented);
	}
}

Test(lib_rbtree, random_operations_keep_the_rules)
{
	for (uint64_t seed = 0; seed < 20; seed++)
		run(false, seed);
}

Test(lib_rbtree, augmented_values_follow_every_operation)
{
	for (uint64_t seed = 100; seed < 120; seed++)
		run(true, seed);
}
