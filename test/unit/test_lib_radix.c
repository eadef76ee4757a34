/* SPDX-License-Identifier: MIT */
/* lib/radix.c against an array of pairs: sparse indices, tags, failing allocations. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/radix.h"
#include "lib/rand.h"

#define N 400

static long nodes, fail_after = -1;

static struct radix_node *node_alloc(void *ctx)
{
	if (fail_after >= 0 && fail_after-- == 0)
		return NULL;
	nodes++;
	return malloc(sizeof(struct radix_node));
}

static void node_free(struct radix_node *n, void *ctx)
{
	nodes--;
	free(n);
}

static uint64_t keys[N];
static bool in[N], tagged[N];

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void make_keys(struct rand_state *r)
{
	for (unsigned i = 0; i < N; i++)
		keys[i] = rand_u64(r) >> rand_below(r, 64);
	keys[0] = 0;
	keys[1] = UINT64_MAX;
	keys[2] = UINT64_MAX - 1;
	keys[3] = 1ull << 60;
	qsort(keys, N, sizeof(keys[0]), by_value);
	for (unsigned i = 1; i < N; i++)
		if (keys[i] <= keys[i - 1])
			keys[i] = keys[i - 1] + 1;
}

static void check_all(struct radix_tree *t)
{
	uint64_t i = 0, ti = 0;
	bool end = false, tend = false;

	for (unsigned k = 0; k < N; k++) {
		void *want = in[k] ? &keys[k] : NULL;

		cr_assert_eq(radix_lookup(t, keys[k]), want);
		if (!in[k])
			continue;
		cr_assert(!end);
		cr_assert_eq(radix_next(t, &i), want);
		cr_assert_eq(i, keys[k]);
		end = i++ == UINT64_MAX;
		cr_assert_eq(radix_tag_get(t, keys[k], 1), tagged[k]);
		cr_assert(!radix_tag_get(t, keys[k], 0));
		if (!tagged[k])
			continue;
		cr_assert(!tend);
		cr_assert_eq(radix_next_tagged(t, &ti, 1), want);
		cr_assert_eq(ti, keys[k]);
		tend = ti++ == UINT64_MAX;
	}
	cr_assert(end || !radix_next(t, &i));
	cr_assert(tend || !radix_next_tagged(t, &ti, 1));
}

Test(lib_radix, random_operations_match_the_model)
{
	struct radix_tree t;
	struct rand_state r;

	rand_seed(&r, 1);
	radix_init(&t, node_alloc, node_free, NULL);
	for (int round = 0; round < 8; round++) {
		make_keys(&r);
		memset(in, 0, sizeof(in));
		memset(tagged, 0, sizeof(tagged));
		for (int step = 0; step < 2500; step++) {
			unsigned k = (unsigned)rand_below(&r, N);

			if (!in[k]) {
				cr_assert_eq(radix_insert(&t, keys[k], &keys[k]), 0);
				in[k] = true;
			} else if (rand_below(&r, 3) == 0) {
				tagged[k] = !tagged[k];
				if (tagged[k])
					radix_tag_set(&t, keys[k], 1);
				else
					radix_tag_clear(&t, keys[k], 1);
			} else {
				cr_assert_eq(radix_insert(&t, keys[k], &t), -EEXIST);
				cr_assert_eq(radix_delete(&t, keys[k]), &keys[k]);
				in[k] = tagged[k] = false;
			}
			if (step % 16 == 0)
				check_all(&t);
		}
		for (unsigned k = 0; k < N; k++)
			radix_delete(&t, keys[k]);
		cr_assert_eq(t.nr_entries, 0);
		cr_assert_null(t.root);
		cr_assert_eq(nodes, 0);
	}
}

/* Nodes whose entries are all values are counted, and found, whatever came before. */
Test(lib_radix, nodes_of_values)
{
	enum { SPAN = 16 * RADIX_SLOTS };
	static char kind[SPAN]; /* 0: none, 1: a pointer, 2: a value */
	struct radix_tree t;
	struct rand_state r;

	rand_seed(&r, 3);
	radix_init(&t, node_alloc, node_free, NULL);
	for (int step = 0; step < 20000; step++) {
		uint64_t i = rand_below(&r, SPAN), first = 0, nr = 0;
		char now = (char)rand_below(&r, step / 2000 % 2 ? 3 : 2) ? 2 : (char)rand_below(&r, 2);
		void *item = now == 2 ? radix_mk_value(i) : &t;

		if (!now)
			radix_delete(&t, i);
		else if (kind[i])
			radix_replace(&t, i, item);
		else
			cr_assert_eq(radix_insert(&t, i, item), 0);
		kind[i] = now;
		if (step % 4 == 0) { /* few entries are left */
			i = rand_below(&r, SPAN);
			radix_delete(&t, i);
			kind[i] = 0;
		}
		for (unsigned n = 0; n < SPAN; n += RADIX_SLOTS) {
			unsigned used = 0, values = 0;

			for (unsigned s = n; s < n + RADIX_SLOTS; s++) {
				used += kind[s] != 0;
				values += kind[s] == 2;
			}
			if (!used || values != used)
				continue;
			nr++;
			cr_assert(radix_next_value_node(&t, &first));
			cr_assert_eq(first, n);
			first += RADIX_SLOTS;
		}
		cr_assert_eq(t.nr_value_nodes, nr);
		cr_assert(!radix_next_value_node(&t, &first));
	}
	for (uint64_t i = 0; i < SPAN; i++)
		radix_delete(&t, i);
	cr_assert_eq(t.nr_value_nodes, 0);
	cr_assert_eq(nodes, 0);
	cr_assert_eq(radix_insert(&t, UINT64_MAX, radix_mk_value(1)), 0);
	for (uint64_t i = 0; radix_next_value_node(&t, &i); radix_delete(&t, UINT64_MAX))
		cr_assert_eq(i, UINT64_MAX - RADIX_SLOTS + 1);
	cr_assert_eq(nodes, 0);
}

Test(lib_radix, a_failed_insertion_changes_nothing)
{
	struct radix_tree t;
	struct rand_state r;
	uint64_t i;

	rand_seed(&r, 2);
	radix_init(&t, node_alloc, node_free, NULL);
	for (int step = 0; step < 3000; step++) {
		uint64_t k = rand_u64(&r) >> rand_below(&r, 64);
		uint64_t count = t.nr_entries;
		long had = nodes;
		int err;

		fail_after = (long)rand_below(&r, 8);
		err = radix_insert(&t, k, &t);
		fail_after = -1;
		if (err) {
			cr_assert_eq(t.nr_entries, count);
			if (err == -ENOMEM)
				cr_assert_eq(nodes, had, "%ld nodes, had %ld", nodes, had);
			continue;
		}
		cr_assert_eq(radix_lookup(&t, k), &t);
		if (t.nr_entries > 20)
			for (int n = 0; n < 10; n++) {
				i = 0;
				cr_assert(radix_next(&t, &i));
				radix_delete(&t, i);
			}
	}
	for (i = 0; radix_next(&t, &i);)
		radix_delete(&t, i);
	cr_assert_eq(nodes, 0);
}
