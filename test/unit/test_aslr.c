/* SPDX-License-Identifier: MIT */
/*
 * Random places: the same seed gives the same ones, another seed others; each stays within the
 * bounds of 5.10, is aligned, and differs from the last. Without randomisation all are fixed.
 */
#include "space.h"

static uint64_t guess;
static unsigned guesses;

uint64_t os_entropy(void)
{
	guesses++;
	return guess;
}

struct places {
	uintptr_t base, legacy, map;
	struct quire_mm_random r;
};

static void core_up(bool aslr, const char *params, bool legacy)
{
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1},
		       &(struct quire_config){.aslr = aslr, .params = params});
	quire_sysctl_set("legacy_va_layout", legacy);
}

/* What a new program would get, and where its first map goes. */
static struct places places_of(const struct quire_mm_params *p)
{
	struct quire_mm *mm = quire_mm_create(p), *child;
	struct places at = {.base = to_mm(mm)->mmap_base, .legacy = to_mm(mm)->mmap_legacy_base};

	at.map = quire_mmap(mm, 0, 3 * PS, RW, PRIV, NULL, 0);
	cr_assert_not(IS_ERR_VALUE(at.map));
	cr_assert_eq(quire_mm_random(&at.r), mm_aslr);
	cr_assert_eq(quire_mm_fork(mm, NULL, &child), 0);
	cr_expect_eq(to_mm(child)->mmap_base, at.base, "a child has its parent's places");
	cr_expect_eq(to_mm(child)->mmap_legacy_base, at.legacy);
	quire_mm_put(child);
	quire_mm_put(mm);
	return at;
}

static const struct quire_mm_params whole = {.owner = NULL};

static bool same(const struct places *a, const struct places *b)
{
	return !memcmp(a, b, sizeof(*a));
}

Test(aslr, seeds)
{
	enum { N = 8 };
	struct places first[N], again[N], other[N];

	core_up(true, "quiet aslr_seed=12345", false);
	for (int i = 0; i < N; i++)
		first[i] = places_of(&whole);
	machine_down();
	core_up(true, "aslr_seed=12345", false);
	for (int i = 0; i < N; i++)
		again[i] = places_of(&whole);
	machine_down();
	core_up(true, "aslr_seed=12346", false);
	for (int i = 0; i < N; i++)
		other[i] = places_of(&whole);
	machine_down();
	for (int i = 0; i < N; i++) {
		cr_expect(same(&first[i], &again[i]), "program %d", i);
		for (int k = 0; k < N; k++) {
			cr_expect_neq(first[i].map, other[k].map);
			cr_expect(i == k || first[i].map != first[k].map);
		}
	}
}

/* Without a seed the machine is asked, once; what it says decides. */
Test(aslr, entropy)
{
	struct places a, b, c;
	unsigned others;

	guess = 7;
	core_up(false, NULL, false);
	others = guesses; /* the slab allocator asks for itself */
	machine_down();
	guesses = 0;
	core_up(true, NULL, false);
	cr_expect_eq(guesses, others + 1);
	a = places_of(&whole);
	cr_expect_geq(guesses, others + 1);
	machine_down();
	core_up(true, NULL, false);
	b = places_of(&whole);
	machine_down();
	guess = 8;
	core_up(true, NULL, false);
	c = places_of(&whole);
	machine_down();
	cr_expect(same(&a, &b));
	cr_expect_neq(a.map, c.map);
	cr_expect_neq(a.r.stack, c.r.stack);
}

static void in_bounds(const struct quire_mm_params *p, bool legacy, unsigned rounds)
{
	uintptr_t least = UINTPTR_MAX, most = 0, top, start = p->start, sps = 0;

	core_up(true, "aslr_seed=99", legacy);
	top = p->stack_top ? p->stack_top : p->end ? p->end : hal_mmu_info()->user_end;
	for (unsigned i = 0; i < rounds; i++) {
		struct places at = places_of(p);

		cr_assert_eq((at.base | at.legacy | at.map | at.r.stack | at.r.brk) & ~PAGE_MASK, 0);
		cr_assert(at.base > start && at.base <= top, "%#lx", (unsigned long)at.base);
		cr_assert(at.legacy > start && at.legacy < top - (top - start) / 6);
		cr_assert(at.map >= start && at.map + 3 * PS <= top);
		cr_assert_eq(at.map, legacy ? at.legacy : at.base - 3 * PS);
		cr_assert_lt(at.r.stack, 16ull << 30);
		cr_assert_lt(at.r.stack, hal_mmu_info()->user_end / 8);
		cr_assert(at.r.sp < 8192 && at.r.sp % 16 == 0);
		cr_assert_lt(at.r.brk, 32 * MIB);
		/* A stack that ends as low as it may, and is as long as its limit, is not met. */
		if (!legacy && top > 1ull << 40)
			cr_assert_leq(at.base, top - at.r.stack - 128 * MIB);
		least = min(least, at.map);
		most = max(most, at.map);
		sps |= at.r.sp;
	}
	/* They use the room that they have: a good part of it from end to end. */
	cr_expect_gt(most - least, min(top / 8, (uintptr_t)1 << (28 + PAGE_SHIFT)) / 2);
	cr_expect_eq(sps, 8192 - 16);
	machine_down();
}

Test(aslr, bounds, .timeout = 60)
{
	uintptr_t low = (uintptr_t)1 << 38;

	limit_set(RLIMIT_STACK, 8 * MIB);
	for (int legacy = 0; legacy < 2; legacy++) {
		in_bounds(&whole, legacy, 100);
		in_bounds(&(struct quire_mm_params){.end = low}, legacy, 100);
	}
}

Test(aslr, off)
{
	struct places a, b;

	core_up(false, "aslr_seed=1", false);
	a = places_of(&whole);
	b = places_of(&whole);
	cr_expect(same(&a, &b));
	cr_expect_eq(a.r.stack | a.r.sp | a.r.brk, 0);
	cr_expect_eq(a.legacy, PAGE_ALIGN(hal_mmu_info()->user_end / 3));
	machine_down();
}
