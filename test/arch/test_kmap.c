/* SPDX-License-Identifier: MIT */
/*
 * The kernel-range mapper over every encoding, against a plain array: random maps and unmaps of a
 * window, every page looked up after each; leaves as large as they can be; out of memory and
 * double mapping leave everything as it was.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/common/kmap.c"

uint64_t fake_entry_reads; /* the machine itself is not linked */

#define PAGE (1ul << ARCH_PAGE_SHIFT)
#define TABLES 256
#define TABLE_PHYS (PAGE * 16) /* where the arena would lie in physical memory */
#define LEVELS 4
#define WINDOW (3ul << ARCH_INDEX_BITS) /* pages: three large leaves wide */
#define BASE (5 * kmap_entry_size(1))

static unsigned char *arena;
static unsigned used, limit;
static uint64_t model[WINDOW]; /* frame + 1 of each page, 0: none */

static char said[128]; /* the log's last line */

void hal_pte_set(pteval_t *p, pteval_t v)
{
	*p = v;
}

void hal_log(const char *s, size_t n)
{
	cr_assert_lt(n, sizeof(said));
	memcpy(said, s, n);
	said[n] = 0;
}

static pfn_t table_page(void *ctx)
{
	if (used == limit)
		return PFN(UINT64_MAX);
	memset(arena + used * PAGE, 0, PAGE);
	return PFN((TABLE_PHYS >> ARCH_PAGE_SHIFT) + used++);
}

static struct kmap fresh(unsigned leaf_levels)
{
	struct kmap k = {.levels = LEVELS, .leaf_levels = leaf_levels, .alloc = table_page};

	arena = aligned_alloc(PAGE, TABLES * PAGE);
	used = 0;
	limit = TABLES;
	memset(model, 0, sizeof(model));
	k.table_offset = (uintptr_t)arena - TABLE_PHYS;
	k.root = table_page(NULL);
	return k;
}

static void compare(const struct kmap *k)
{
	for (size_t i = 0; i < WINDOW; i++) {
		unsigned level;
		struct pte_desc d = kmap_lookup(k, BASE + i * PAGE, &level);
		uint64_t within = (BASE / PAGE + i) & (kmap_entry_size(level) / PAGE - 1);

		if (!model[i]) {
			cr_assert_eq(d.kind, PTE_NONE, "page %zu", i);
			continue;
		}
		cr_assert_eq(d.kind, PTE_LEAF, "page %zu", i);
		cr_assert_eq(d.pfn.n + within, model[i] - 1, "page %zu", i);
		cr_assert(d.r && d.w && !d.x && d.global && !d.user);
	}
}

static int map(const struct kmap *k, size_t first, size_t n, uint64_t frame)
{
	return kmap_map(k, BASE + first * PAGE, frame * PAGE, n * PAGE,
			kmap_prot(KMAP_R | KMAP_W, MT_WB));
}

static bool taken(size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		if (model[i])
			return true;
	return false;
}

Test(kmap, random_pages_against_an_array)
{
	struct kmap k = fresh(1);

	srand(1);
	for (unsigned round = 0; round < 300; round++) {
		size_t first = (size_t)rand() % WINDOW, n = 1 + (size_t)rand() % 64;
		uint64_t frame = (uint64_t)rand();

		n = n < WINDOW - first ? n : WINDOW - first;
		if (rand() % 3) {
			bool full = taken(first, n);

			cr_assert_eq(map(&k, first, n, frame), full ? -EEXIST : 0);
			for (size_t i = 0; i < n && !full; i++)
				model[first + i] = frame + i + 1;
		} else {
			cr_assert_eq(kmap_unmap(&k, BASE + first * PAGE, n * PAGE), 0);
			memset(&model[first], 0, n * sizeof(model[0]));
		}
		compare(&k);
	}
}

Test(kmap, the_largest_leaves_that_fit)
{
	struct kmap k = fresh(ARCH_LEAF_LEVELS);
	const uint64_t large = kmap_entry_size(1) / PAGE;
	unsigned level;

	/* from the last page before a large leaf to the first page behind the next */
	cr_assert_eq(map(&k, large - 1, large + 2, 7 * large - 1), 0);
	for (size_t i = 0; i < large + 2; i++)
		model[large - 1 + i] = 7 * large - 1 + i + 1;
	compare(&k);
	kmap_lookup(&k, BASE + (large - 1) * PAGE, &level);
	cr_expect_eq(level, 0);
	kmap_lookup(&k, BASE + large * PAGE, &level);
	cr_expect_eq(level, 1);
	kmap_lookup(&k, BASE + 2 * large * PAGE, &level);
	cr_expect_eq(level, 0);

	/* a part of a large leaf is not cut out of it */
	cr_expect_eq(kmap_unmap(&k, BASE + large * PAGE, PAGE), -EINVAL);
	compare(&k);
	cr_expect_eq(kmap_unmap(&k, BASE + (large - 1) * PAGE, (large + 2) * PAGE), 0);
	memset(model, 0, sizeof(model));
	compare(&k);

	/* tables stay where they were, so the same range takes smaller leaves or large ones */
	cr_assert_eq(map(&k, 0, large, 3 * large), 0);
	for (size_t i = 0; i < large; i++)
		model[i] = 3 * large + i + 1;
	compare(&k);
}

Test(kmap, frames_that_are_not_aligned_take_pages)
{
	struct kmap k = fresh(ARCH_LEAF_LEVELS);
	const uint64_t large = kmap_entry_size(1) / PAGE;
	unsigned level;

	cr_assert_eq(map(&k, 0, large, 3), 0);
	kmap_lookup(&k, BASE, &level);
	cr_expect_eq(level, 0);
}

Test(kmap, without_memory_nothing_stays)
{
	struct kmap k = fresh(1);
	const size_t n = 2ul << ARCH_INDEX_BITS; /* wants two lowest tables */

	for (limit = 1; limit < 8; limit++) {
		int err = map(&k, 0, n, 100);

		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
		compare(&k);
	}
	cr_expect_eq(limit, LEVELS + 1, "%u tables", limit);
}

Test(kmap, a_space_that_copied_the_top_sees_later_maps)
{
	struct kmap k = fresh(1);
	pteval_t top, *root = (pteval_t *)arena;
	unsigned made;

	cr_assert_eq(kmap_reserve(&k, BASE, WINDOW * PAGE), 0);
	made = used;
	top = root[0];
	cr_assert_neq(top, 0);
	cr_assert_eq(map(&k, 0, WINDOW, 9), 0);
	cr_expect_eq(root[0], top);
	cr_expect_gt(used, made);
}

Test(kmap, the_end_of_the_address_space)
{
	struct kmap k = fresh(1);
	uintptr_t last = -PAGE;

	cr_assert_eq(kmap_reserve(&k, last, PAGE), 0);
	cr_assert_eq(kmap_map(&k, last, 5 * PAGE, PAGE, kmap_prot(KMAP_R, MT_WB)), 0);
	cr_expect_eq(kmap_lookup(&k, last, NULL).pfn.n, 5);
	cr_assert_eq(kmap_unmap(&k, last, PAGE), 0);
	cr_expect_eq(kmap_lookup(&k, last, NULL).kind, PTE_NONE);
}

/* The entry of va at a level that exists on its way. */
static pteval_t *entry_of(const struct kmap *k, uintptr_t va, unsigned level)
{
	pteval_t *table = table_at(k, k->root);

	for (unsigned l = LEVELS - 1; l > level; l--)
		table = table_at(k, arch_pte_decode(*entry_in(table, va, l), l).pfn);
	return entry_in(table, va, level);
}

/* A word that no encoder writes. */
static pteval_t corrupt_word(unsigned level)
{
	pteval_t v = 1;

	while (arch_pte_decode(v, level).kind != PTE_CORRUPT)
		v = v * 6364136223846793005ull + 1442695040888963407ull;
	return v;
}

/* An entry that cannot be decoded, on the way to a page and at the page itself: told from one that
 * is in use, named in the log, and nothing of the call stays. */
Test(kmap, corrupt_entries)
{
	for (unsigned level = 0; level < LEVELS; level++) {
		struct kmap k = fresh(1);
		char place[64];
		pteval_t *e, good;
		int err;

		/* everything up to the page before is in use, the next ones are free */
		cr_assert_eq(map(&k, 0, 3, 9), 0);
		cr_assert_eq(kmap_unmap(&k, BASE + 2 * PAGE, PAGE), 0);
		e = entry_of(&k, BASE + 2 * PAGE, level);
		good = *e;
		*e = corrupt_word(level);
		said[0] = 0;
		cr_expect_eq(map(&k, 2, 1, 20), -EUCLEAN, "level %u", level);
		snprintf(place, sizeof(place), " of level %u at %#lx\n", level, BASE + 2 * PAGE);
		cr_expect(strstr(said, "quire: kernel map: corrupt entry 0x") && strstr(said, place),
			  "level %u: %s", level, said);
		if (!level) {
			/* the page before it is taken back */
			cr_assert_eq(kmap_unmap(&k, BASE + PAGE, PAGE), 0);
			cr_expect_eq(map(&k, 1, 2, 20), -EUCLEAN);
			cr_expect_eq(kmap_lookup(&k, BASE + PAGE, NULL).kind, PTE_NONE);
		}
		if (level + 2 < LEVELS) {
			cr_expect_eq(kmap_lookup(&k, BASE + 2 * PAGE, NULL).kind, PTE_CORRUPT);
		} else {
			err = kmap_reserve(&k, BASE, PAGE);
			cr_expect_eq(err, level == LEVELS - 1 ? -EUCLEAN : 0);
		}
		*e = good;
		said[0] = 0;
		cr_expect_eq(map(&k, 0, 1, 20), -EEXIST, "what is in use is in use");
		cr_expect_eq(said[0], 0);
	}
}

/* Unmapping takes a corrupt entry away with the rest, and says so. */
Test(kmap, a_corrupt_entry_is_unmapped)
{
	struct kmap k = fresh(1);

	cr_assert_eq(map(&k, 0, 3, 9), 0);
	*entry_of(&k, BASE + PAGE, 0) = corrupt_word(0);
	said[0] = 0;
	cr_expect_eq(kmap_unmap(&k, BASE, 3 * PAGE), -EUCLEAN);
	cr_expect(strstr(said, "corrupt entry"), "%s", said);
	compare(&k);
}
