/* SPDX-License-Identifier: MIT */
/* lib/rbtree.c and lib/interval_tree.c against plain arrays, with random operations. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "lib/interval_tree.h"
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
	struct rb_node *n = rb_first(root), *back;
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
	back = rb_last(root);
	for (i = KEYS; i-- > 0;)
		if (items[i].in) {
			cr_assert_eq(back, &items[i].rb);
			back = rb_prev(back);
		}
	cr_assert_null(back);
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

Test(lib_rbtree, replace_node_keeps_order_and_colours)
{
	struct rb_root root = RB_ROOT;
	struct item other = {.key = 7};

	for (unsigned i = 0; i < 20; i++) {
		items[i] = (struct item){.key = i};
		insert(&root, &items[i], false);
	}
	rb_replace_node(&items[7].rb, &other.rb, &root);
	cr_assert_eq(rb_check(&root), 0);
	cr_assert_eq(rb_next(&items[6].rb), &other.rb);
	cr_assert_eq(rb_prev(&items[8].rb), &other.rb);
}

Test(lib_interval_tree, finds_what_overlaps_and_nothing_else)
{
	enum { N = 120 };
	static struct interval_node nodes[N];
	static bool in[N];
	struct rb_root root = RB_ROOT;
	struct interval_node *it;
	struct rand_state r;

	rand_seed(&r, 5);
	for (int step = 0; step < 4000; step++) {
		unsigned i = (unsigned)rand_below(&r, N);
		uint64_t s = rand_below(&r, 1000), l = s + rand_below(&r, 60), last_start = 0;
		unsigned expected = 0, found = 0;

		if (in[i]) {
			interval_tree_remove(&nodes[i], &root);
		} else {
			nodes[i].start = s;
			nodes[i].last = l;
			interval_tree_insert(&nodes[i], &root);
		}
		in[i] = !in[i];
		cr_assert_eq(rb_check(&root), 0);
		s = rand_below(&r, 1000);
		l = s + rand_below(&r, 100);
		for (i = 0; i < N; i++)
			expected += in[i] && nodes[i].start <= l && nodes[i].last >= s;
		interval_tree_for_each(it, &root, s, l) {
			cr_assert(it->start <= l && it->last >= s);
			cr_assert(it->start >= last_start);
			last_start = it->start;
			found++;
		}
		cr_assert_eq(found, expected);
	}
}
