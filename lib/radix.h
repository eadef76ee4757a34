/* SPDX-License-Identifier: MIT */
/*
 * Radix tree: a sparse, sorted map from uint64_t to pointers (never NULL), of 64-slot nodes, that
 * grows in height with the greatest index. Three tags per entry, summed up in the nodes above, make
 * "the next entry with tag t" quick. The caller locks; nodes come from the callbacks given at init.
 */
#ifndef LIB_RADIX_H
#define LIB_RADIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RADIX_SHIFT 6
#define RADIX_SLOTS (1u << RADIX_SHIFT)
#define RADIX_TAGS  3

struct radix_node {
	uint8_t shift;			/* index bits below this node's own */
	uint8_t count;			/* slots in use */
	uint8_t offset;			/* our slot in parent */
	uint8_t values;			/* of a lowest node: slots that hold values */
	struct radix_node *parent;
	uint64_t tags[RADIX_TAGS];	/* bit per slot */
	void *slots[RADIX_SLOTS];
};

/* A zeroed or raw node, or NULL; called under the caller's lock, so it must not sleep there. */
typedef struct radix_node *(*radix_alloc_fn)(void *ctx);
typedef void (*radix_free_fn)(struct radix_node *node, void *ctx);

struct radix_tree {
	struct radix_node *root;
	uint64_t nr_entries;
	uint64_t nr_value_nodes;	/* lowest nodes whose entries are all values */
	radix_alloc_fn alloc;
	radix_free_fn free;
	void *ctx;
};

void radix_init(struct radix_tree *t, radix_alloc_fn alloc, radix_free_fn free, void *ctx);
/* -EEXIST if the index is taken, -ENOMEM (nothing changed). */
int radix_insert(struct radix_tree *t, uint64_t index, void *item);
void *radix_lookup(const struct radix_tree *t, uint64_t index); /* NULL: none */
/* Takes the item out and returns it, NULL if there was none. Empty nodes are freed. */
void *radix_delete(struct radix_tree *t, uint64_t index);
/* Puts item in the place of what is there (which it returns); tags stay. */
void *radix_replace(struct radix_tree *t, uint64_t index, void *item);
/* The first lowest node with an index >= *index in it whose entries are all values: *index becomes the first of
 * its 64 indices. False: there is none. */
bool radix_next_value_node(const struct radix_tree *t, uint64_t *index);
/* The first entry with index >= *index; *index becomes its index. NULL: none. */
void *radix_next(const struct radix_tree *t, uint64_t *index);
void *radix_next_tagged(const struct radix_tree *t, uint64_t *index, unsigned tag);
/* The index has an entry. */
void radix_tag_set(struct radix_tree *t, uint64_t index, unsigned tag);
void radix_tag_clear(struct radix_tree *t, uint64_t index, unsigned tag);
bool radix_tag_get(const struct radix_tree *t, uint64_t index, unsigned tag);

/* An entry may also be a number below 2^63 instead of a pointer: a *value*. Pointers are even. */
static inline void *radix_mk_value(uint64_t v)
{
	return (void *)(uintptr_t)(v << 1 | 1);
}

static inline bool radix_is_value(const void *item)
{
	return (uintptr_t)item & 1;
}

static inline uint64_t radix_to_value(const void *item)
{
	return (uint64_t)(uintptr_t)item >> 1;
}

#define radix_for_each(t, item, idx)                                        \
	for ((idx) = 0; ((item) = radix_next(t, &(idx))) != NULL;           \
	     (idx) == UINT64_MAX ? (void)0 : (void)(idx)++)

#endif
