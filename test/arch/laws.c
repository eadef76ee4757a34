/* SPDX-License-Identifier: MIT */
/*
 * The laws of arch/hal.h for pte.h, over whatever pte.h is on the include path: every level, every
 * combination of flags, frames at their extremes and by chance. Built once for each encoding.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "arch/hal.h"

#define FLAG_BITS 10 /* r w x user global accessed dirty soft_dirty special uffd_wp */
#define PFN_MAX	  ((1ull << ARCH_PFN_BITS) - 1)
#define SWAP_MAX  ((1ull << ARCH_SWAP_BITS) - 1)

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool same(struct pte_desc a, struct pte_desc b)
{
	return a.pfn.n == b.pfn.n && a.kind == b.kind && a.mt == b.mt && a.r == b.r &&
	       a.w == b.w && a.x == b.x && a.user == b.user && a.global == b.global &&
	       a.accessed == b.accessed && a.dirty == b.dirty && a.soft_dirty == b.soft_dirty &&
	       a.special == b.special && a.uffd_wp == b.uffd_wp;
}

static bool hardware_sees(struct pte_desc d)
{
	return d.kind == PTE_LEAF || d.kind == PTE_TABLE;
}

static void show(struct pte_desc d, unsigned level, pteval_t v)
{
	struct pte_desc b = arch_pte_decode(v, level);

	cr_log_error("level %u kind %d pfn %#llx mt %d rwx %d%d%d ug %d%d ad %d%d ss %d%d -> %#llx -> "
		     "kind %d pfn %#llx mt %d rwx %d%d%d ug %d%d ad %d%d ss %d%d", level, d.kind,
		     (unsigned long long)d.pfn.n, d.mt, d.r, d.w, d.x, d.user, d.global, d.accessed,
		     d.dirty, d.soft_dirty, d.special, (unsigned long long)v, b.kind,
		     (unsigned long long)b.pfn.n, b.mt, b.r, b.w, b.x, b.user, b.global, b.accessed,
		     b.dirty, b.soft_dirty, b.special);
}

/* What the short cuts answer is what encode and decode say. */
static void check_short_cuts(struct pte_desc d, unsigned level, pteval_t v)
{
	cr_assert_eq(arch_pte_is_table(v, level), d.kind == PTE_TABLE);
	if (level == 0)
		cr_assert_eq(arch_pte_is_leaf(v), d.kind == PTE_LEAF);
	if (d.kind == PTE_TABLE || (d.kind == PTE_LEAF && level == 0))
		cr_assert_eq(arch_pte_pfn(v).n, d.pfn.n);
	if (level == 0 && (d.kind == PTE_LEAF || d.kind == PTE_PROTNONE)) {
		struct pte_desc wide = arch_pte_widen(d), other = wide;
		pfn_t pfn = d.pfn;

		cr_assert_eq(arch_pte_has(v, PTE_BIT_ACCESSED | PTE_BIT_DIRTY),
			     wide.accessed && wide.dirty);
		cr_assert_eq(arch_pte_has(v, PTE_BIT_SOFT_DIRTY), wide.soft_dirty);
		cr_assert_eq(arch_pte_has(v, PTE_BIT_SPECIAL), wide.special);
		if (ARCH_UFFD_WP)
			cr_assert_eq(arch_pte_has(v, PTE_BIT_UFFD_WP), wide.uffd_wp);
		if (d.kind == PTE_LEAF)
			cr_assert_eq(arch_pte_has(v, PTE_BIT_W), wide.w);
		other.dirty = other.soft_dirty = true;
		other.w = other.accessed = other.special = false;
		if (ARCH_UFFD_WP) {
			struct pte_desc marked = wide;

			marked.uffd_wp = true;
			cr_assert(same(arch_pte_decode(arch_pte_edit(v, PTE_BIT_UFFD_WP, 0), 0), marked));
			marked.uffd_wp = false;
			cr_assert(same(arch_pte_decode(arch_pte_edit(v, 0, PTE_BIT_UFFD_WP), 0), marked));
		}
		cr_assert(same(arch_pte_decode(arch_pte_edit(v, PTE_BIT_DIRTY | PTE_BIT_SOFT_DIRTY,
							     (d.kind == PTE_LEAF ? PTE_BIT_W : 0) |
							     PTE_BIT_ACCESSED | PTE_BIT_SPECIAL), 0),
			       other));

		d.pfn = PFN(0);
		cr_assert_eq(arch_pte_refill(arch_pte_encode(d, 0), pfn), v, "the frame alone differs");
	}
}

/* The three laws of one well-formed description. */
static void check(struct pte_desc d, unsigned level)
{
	struct pte_desc wide = arch_pte_widen(d);
	pteval_t v = arch_pte_encode(d, level);

	if (!same(arch_pte_decode(v, level), wide))
		show(d, level, v);
	cr_assert(same(arch_pte_decode(v, level), wide), "decode(encode(d)) == widen(d)");
	cr_assert_eq(arch_pte_encode(arch_pte_decode(v, level), level), v,
		     "encode(decode(v)) == v");
	cr_assert(same(arch_pte_widen(wide), wide), "widen is idempotent");
	cr_assert(wide.r >= d.r && wide.w >= d.w && wide.x >= d.x && wide.user >= d.user,
		  "widen takes no right away");
	cr_assert_eq(v == 0, d.kind == PTE_NONE, "the zero word means none, and nothing else does");
	check_short_cuts(d, level, v);
}

/* A description of that kind with the flags of bits that mean something for it, and no others. */
static struct pte_desc make(enum pte_kind kind, uint64_t pfn, unsigned bits, enum mem_type mt)
{
	struct pte_desc d = {.kind = kind, .pfn = PFN(pfn)};
	bool leaf = kind == PTE_LEAF, keeps = leaf || kind == PTE_PROTNONE;
	bool soft = keeps || kind == PTE_SWAP || kind == PTE_MIGRATION;

	d.r = leaf && (bits & 1);
	d.w = (leaf || kind == PTE_MIGRATION) && (bits & 2);
	d.x = leaf && (bits & 4);
	d.user = leaf && (bits & 8);
	d.global = leaf && (bits & 16);
	d.accessed = keeps && (bits & 32);
	d.dirty = keeps && (bits & 64);
	d.soft_dirty = soft && (bits & 128);
	d.special = keeps && (bits & 256);
	d.uffd_wp = soft && (bits & 512);
	d.mt = leaf ? mt : MT_WB;
	return d;
}

/* Frames that a leaf of this level may have: extremes, single bits, chance. */
static unsigned frames(unsigned level, uint64_t *out)
{
	const uint64_t mask = PFN_MAX & ~((1ull << level * ARCH_INDEX_BITS) - 1);
	unsigned n = 0;

	out[n++] = 0;
	out[n++] = mask;
	out[n++] = mask & ~(mask - 1);
	for (unsigned bit = level * ARCH_INDEX_BITS; bit < ARCH_PFN_BITS; bit += 3)
		out[n++] = 1ull << bit;
	for (unsigned i = 0; i < 6; i++)
		out[n++] = chance() & mask;
	return n;
}

static void check_kind(enum pte_kind kind, unsigned level, const uint64_t *pfn, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned bits = 0; bits < 1u << FLAG_BITS; bits++)
			for (int mt = MT_WB; mt <= MT_DEVICE; mt++)
				check(make(kind, pfn[i], bits, (enum mem_type)mt), level);
}

Test(laws, leaves_of_every_level)
{
	uint64_t pfn[64];

	for (unsigned level = 0; level < ARCH_MAX_LEVELS; level++) {
		unsigned n = frames(level, pfn);

		if (!(ARCH_LEAF_LEVELS >> level & 1))
			continue;
		check_kind(PTE_LEAF, level, pfn, n);
		check_kind(PTE_PROTNONE, level, pfn, n);
	}
}

Test(laws, tables_above_level_zero)
{
	uint64_t pfn[64];
	unsigned n = frames(0, pfn);

	for (unsigned level = 1; level < ARCH_MAX_LEVELS; level++)
		check_kind(PTE_TABLE, level, pfn, n);
	cr_assert_neq(arch_pte_decode(arch_pte_encode(make(PTE_TABLE, 5, 0, 0), 1), 0).kind,
		      PTE_TABLE, "level 0 has no tables");
}

Test(laws, swap_and_migration_are_neither_none_nor_present)
{
	const uint64_t payload[] = {0, 1, 2, 0xfff, 1ull << 31, 1ull << 32, SWAP_MAX - 1, SWAP_MAX};
	unsigned n = sizeof(payload) / sizeof(payload[0]);

	cr_assert_geq(ARCH_SWAP_BITS, 40);
	for (unsigned level = 0; level < ARCH_MAX_LEVELS; level++) {
		check_kind(PTE_SWAP, level, payload, n);
		check_kind(PTE_MIGRATION, level, payload, n);
		for (unsigned i = 0; i < n; i++) {
			struct pte_desc s = arch_pte_decode(
				arch_pte_encode(make(PTE_SWAP, payload[i], 0, 0), level), level);

			cr_assert_eq(s.kind, PTE_SWAP);
			cr_assert(!hardware_sees(s));
		}
	}
}

Test(laws, zero_is_none_at_every_level)
{
	struct pte_desc none = {.kind = PTE_NONE};

	for (unsigned level = 0; level < ARCH_MAX_LEVELS; level++) {
		cr_assert_eq(arch_pte_encode(none, level), 0);
		cr_assert(same(arch_pte_decode(0, level), none));
	}
	for (unsigned bit = 0; bit < 64; bit++)
		cr_assert_neq(arch_pte_decode(1ull << bit, 0).kind, PTE_NONE);
}

/* Any word at all decodes to something that encodes back to it, or to "corrupt" and nothing else,
 * but for bits that the processor itself adds to a table's entry. */
Test(laws, every_word_is_itself_or_corrupt)
{
	const struct pte_desc corrupt = {.kind = PTE_CORRUPT};

	for (unsigned i = 0; i < 2000000; i++) {
		unsigned level = i % ARCH_MAX_LEVELS;
		pteval_t v = chance();
		struct pte_desc d;

		/* sparse words too, where legal ones lie */
		if (i & 1)
			v &= chance() & chance();
		d = arch_pte_decode(v, level);
		if (d.kind == PTE_CORRUPT)
			cr_assert(same(d, corrupt), "corrupt says nothing else: %#llx",
				  (unsigned long long)v);
		else if (d.kind != PTE_TABLE)
			cr_assert_eq(arch_pte_encode(d, level), v, "level %u: %#llx", level,
				     (unsigned long long)v);
		cr_assert(same(arch_pte_widen(d), d), "what was decoded needs no widening");
	}
}

/* No two different descriptions share a word (of those that the machine tells apart). */
Test(laws, flags_do_not_overlap_the_frame)
{
	for (unsigned bits = 0; bits < 1u << FLAG_BITS; bits++) {
		pteval_t low = arch_pte_encode(make(PTE_LEAF, 0, bits, MT_WB), 0);
		pteval_t high = arch_pte_encode(make(PTE_LEAF, PFN_MAX, bits, MT_WB), 0);

		cr_assert(same(arch_pte_decode(low, 0),
			       arch_pte_widen(make(PTE_LEAF, 0, bits, MT_WB))));
		cr_assert(same(arch_pte_decode(high, 0),
			       arch_pte_widen(make(PTE_LEAF, PFN_MAX, bits, MT_WB))));
	}
}

Test(laws, constants_make_sense)
{
	cr_assert(ARCH_LEAF_LEVELS & 1, "level 0 holds pages");
	cr_assert_eq(1u << ARCH_INDEX_BITS, (1u << ARCH_PAGE_SHIFT) / sizeof(pteval_t),
		     "one table is one page");
	cr_assert_eq(ARCH_LEAF_LEVELS >> ARCH_MAX_LEVELS, 0);
	cr_assert_leq(ARCH_PFN_BITS + ARCH_PAGE_SHIFT, 64);
}
