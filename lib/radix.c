/* SPDX-License-Identifier: MIT */
/*
 * The radix tree (page cache, sparse maps). A node with shift s covers 64 << s indices from a
 * multiple of that. The root grows upwards when an index does not fit; nodes vanish when their last
 * slot is emptied, and a root that covers nothing but its slot 0 is replaced by that child.
 */
#include "lib/radix.h"

#include "lib/bits.h"
#include "lib/bug.h"
#include <quire/abi.h>

#define MAX_SHIFT 60 /* of a root that covers all 64 bits: 10 levels of 6, 4 bits on top */

void radix_init(struct radix_tree *t, radix_alloc_fn alloc, radix_free_fn free, void *ctx)
{
	*t = (struct radix_tree){.alloc = alloc, .free = free, .ctx = ctx};
}

static unsigned slot_of(const struct radix_node *n, uint64_t index)
{
	return (unsigned)(index >> n->shift) & (RADIX_SLOTS - 1);
}

/* The greatest index that a tree with this root can hold. */
static uint64_t covers(const struct radix_node *root)
{
	return root->shift >= MAX_SHIFT - 1 ? UINT64_MAX
					    : (1ull << (root->shift + RADIX_SHIFT)) - 1;
}

static struct radix_node *new_node(struct radix_tree *t, unsigned shift)
{
	struct radix_node *n = t->alloc(t->ctx);

	if (!n)
		return NULL;
	*n = (struct radix_node){.shift = (uint8_t)shift};
	return n;
}

static bool all_values(const struct radix_node *n)
{
	return n->count && n->values == n->count;
}

/* A slot of a lowest node gets another item (NULL: none). */
static void set_item(struct radix_tree *t, struct radix_node *n, unsigned slot, void *item)
{
	void *old = n->slots[slot];
	bool was = all_values(n);

	ASSERT(!n->shift);
	n->slots[slot] = item;
	n->count = (uint8_t)(n->count + (item != NULL) - (old != NULL));
	n->values = (uint8_t)(n->values + radix_is_value(item) - radix_is_value(old));
	t->nr_entries += (uint64_t)(item != NULL) - (old != NULL);
	t->nr_value_nodes += (uint64_t)all_values(n) - was;
}

/* Takes empty nodes away from n upwards, then a root that only hands on to its slot 0. */
static void shrink(struct radix_tree *t, struct radix_node *n)
{
	struct radix_node *p;

	while (n && !n->count) {
		p = n->parent;
		if (p) {
			p->slots[n->offset] = NULL;
			p->count--;
		} else {
			t->root = NULL;
		}
		t->free(n, t->ctx);
		n = p;
	}
	while ((n = t->root) && n->shift && n->count == 1 && n->slots[0]) {
		t->root = n->slots[0];
		t->root->parent = NULL;
		t->root->offset = 0;
		t->free(n, t->ctx);
	}
}

/* Raises the root until it covers index. */
static int grow(struct radix_tree *t, uint64_t index)
{
	struct radix_node *n;

	if (!t->root) {
		unsigned shift = 0;

		while (shift < MAX_SHIFT && index >> shift >= RADIX_SLOTS)
			shift += RADIX_SHIFT;
		t->root = new_node(t, shift);
		return t->root ? 0 : -ENOMEM;
	}
	while (index > covers(t->root)) {
		n = new_node(t, t->root->shift + RADIX_SHIFT);
		if (!n)
			return -ENOMEM;
		n->slots[0] = t->root;
		n->count = 1;
		for (unsigned tag = 0; tag < RADIX_TAGS; tag++)
			n->tags[tag] = t->root->tags[tag] ? 1 : 0;
		t->root->parent = n;
		t->root = n;
	}
	return 0;
}

int radix_insert(struct radix_tree *t, uint64_t index, void *item)
{
	struct radix_node *n, *child;
	int err = grow(t, index);

	ASSERT(item);
	if (err) {
		if (t->root)
			shrink(t, NULL);
		return err;
	}
	for (n = t->root; n->shift; n = child) {
		unsigned s = slot_of(n, index);

		child = n->slots[s];
		if (child)
			continue;
		child = new_node(t, n->shift - RADIX_SHIFT);
		if (!child) {
			shrink(t, n);
			return -ENOMEM;
		}
		child->parent = n;
		child->offset = (uint8_t)s;
		n->slots[s] = child;
		n->count++;
	}
	if (n->slots[slot_of(n, index)])
		return -EEXIST;
	set_item(t, n, slot_of(n, index), item);
	return 0;
}

/* The lowest node that may hold index, NULL if there is none. */
static struct radix_node *leaf_of(const struct radix_tree *t, uint64_t index)
{
	struct radix_node *n = t->root;

	if (!n || index > covers(n))
		return NULL;
	while (n && n->shift)
		n = n->slots[slot_of(n, index)];
	return n;
}

void *radix_lookup(const struct radix_tree *t, uint64_t index)
{
	const struct radix_node *n = leaf_of(t, index);

	return n ? n->slots[slot_of(n, index)] : NULL;
}

void *radix_replace(struct radix_tree *t, uint64_t index, void *item)
{
	struct radix_node *n = leaf_of(t, index);
	void *old = n ? n->slots[slot_of(n, index)] : NULL;

	ASSERT(old && item);
	set_item(t, n, slot_of(n, index), item);
	return old;
}

/* Clears the tag of one slot, and upwards as long as a node has no other. */
static void clear_upwards(struct radix_node *n, unsigned slot, unsigned tag)
{
	for (;;) {
		n->tags[tag] &= ~(1ull << slot);
		if (n->tags[tag] || !n->parent)
			return;
		slot = n->offset;
		n = n->parent;
	}
}

void *radix_delete(struct radix_tree *t, uint64_t index)
{
	struct radix_node *n = leaf_of(t, index);
	unsigned s;
	void *item;

	if (!n || !n->slots[s = slot_of(n, index)])
		return NULL;
	for (unsigned tag = 0; tag < RADIX_TAGS; tag++)
		clear_upwards(n, s, tag);
	item = n->slots[s];
	set_item(t, n, s, NULL);
	shrink(t, n);
	return item;
}

void radix_tag_set(struct radix_tree *t, uint64_t index, unsigned tag)
{
	struct radix_node *n = leaf_of(t, index);

	ASSERT(n && n->slots[slot_of(n, index)] && tag < RADIX_TAGS);
	for (; n; n = n->parent)
		n->tags[tag] |= 1ull << slot_of(n, index);
}

void radix_tag_clear(struct radix_tree *t, uint64_t index, unsigned tag)
{
	struct radix_node *n = leaf_of(t, index);

	if (n)
		clear_upwards(n, slot_of(n, index), tag);
}

bool radix_tag_get(const struct radix_tree *t, uint64_t index, unsigned tag)
{
	const struct radix_node *n = leaf_of(t, index);

	return n && (n->tags[tag] >> slot_of(n, index) & 1);
}

/* The first slot >= s of n that is used (tag < 0) or tagged; RADIX_SLOTS if there is none. */
static unsigned next_slot(const struct radix_node *n, unsigned s, int tag)
{
	if (tag >= 0) {
		uint64_t m = s < 64 ? n->tags[tag] >> s : 0;

		return m ? s + lowest_bit(m) : RADIX_SLOTS;
	}
	while (s < RADIX_SLOTS && !n->slots[s])
		s++;
	return s;
}

static void *next_from(const struct radix_tree *t, uint64_t *index, int tag)
{
	const struct radix_node *n = t->root;
	uint64_t i = *index;
	unsigned s, start;

	if (!n || i > covers(n))
		return NULL;
	for (;;) {
		start = slot_of(n, i);
		s = next_slot(n, start, tag);
		if (s == RADIX_SLOTS) { /* nothing more below n: the slot after n's own, above */
			do {
				if (!n->parent)
					return NULL;
				s = n->offset + 1u;
				n = n->parent;
			} while (s == RADIX_SLOTS);
			if (s > UINT64_MAX >> n->shift)
				return NULL; /* past the last index of all */
			i = (i & ~covers(n)) | (uint64_t)s << n->shift;
			continue;
		}
		if (s != start) /* a later slot: from its very beginning */
			i = (i & ~covers(n)) | (uint64_t)s << n->shift;
		if (!n->shift) {
			*index = i;
			return n->slots[s];
		}
		n = n->slots[s];
	}
}

void *radix_next(const struct radix_tree *t, uint64_t *index)
{
	return next_from(t, index, -1);
}

bool radix_next_value_node(const struct radix_tree *t, uint64_t *index)
{
	uint64_t at = *index;

	while (t->nr_value_nodes && radix_next(t, &at)) {
		if (all_values(leaf_of(t, at))) {
			*index = at & ~(uint64_t)(RADIX_SLOTS - 1);
			return true;
		}
		at |= RADIX_SLOTS - 1;
		if (at++ == UINT64_MAX)
			break;
	}
	return false;
}

void *radix_next_tagged(const struct radix_tree *t, uint64_t *index, unsigned tag)
{
	return next_from(t, index, (int)tag);
}
