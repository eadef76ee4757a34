/* SPDX-License-Identifier: MIT */
/* The buddy and the per-CPU lists before it. */
#include "mm_test.h"

#include "mm/vmstat.h"

#define MIB (1ull << 20)

static bool all_bytes(const void *p, unsigned char c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const unsigned char *)p)[i] != c)
			return false;
	return true;
}

Test(page_alloc, orders_are_aligned_and_come_back)
{
	uint64_t before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	for (unsigned o = 0; o < MAX_ORDER; o++) {
		struct page *p = alloc_pages(GFP_KERNEL, o);

		cr_assert(p);
		cr_assert_eq(page_to_pfn(p).n & ((1ull << o) - 1), 0);
		cr_assert_eq(page_count(p), 1);
		memset(page_address(p), 0xa5, PAGE_SIZE << o);
		cr_assert_eq(check_phys(), 0);
		__free_pages(p, o);
	}
	cr_assert_null(alloc_pages(GFP_KERNEL, MAX_ORDER));
	cr_assert_eq(free_pages_now(), before);
	machine_down();
}

Test(page_alloc, zeroed)
{
	machine_up(64 * MIB, 1);
	for (int i = 0; i < 50; i++) {
		uintptr_t a = __get_free_pages(GFP_KERNEL, i % 4), b;

		memset((void *)a, 0xff, PAGE_SIZE << i % 4);
		free_pages(a, i % 4);
		b = __get_free_pages(GFP_KERNEL | __GFP_ZERO, i % 4);
		cr_assert(all_bytes((void *)b, 0, PAGE_SIZE << i % 4));
		free_pages(b, i % 4);
	}
	machine_down();
}

Test(page_alloc, last_in_first_out)
{
	struct page *a, *b;

	machine_up(64 * MIB, 1);
	a = alloc_pages(GFP_KERNEL, 0);
	__free_pages(a, 0);
	b = alloc_pages(GFP_KERNEL, 0);
	cr_assert_eq(a, b, "a warm frame is used again first");
	__free_pages(b, 0);
	machine_down();
}

/* Random requests of every kind against a model of who owns which frame. */
static void churn(unsigned slots, unsigned rounds, unsigned cpus)
{
	struct slot {
		struct page *p;
		unsigned order;
		unsigned char tag;
	} *s = calloc(slots, sizeof(*s));

	for (unsigned i = 0; i < rounds; i++) {
		struct slot *x = &s[rnd() % slots];

		if (rnd() % 97 == 0)
			fake_cpu_switch(rnd() % cpus);
		if (x->p) {
			cr_assert(all_bytes(page_address(x->p), x->tag, 64));
			cr_assert(all_bytes((char *)page_address(x->p) +
						    (PAGE_SIZE << x->order) - 64, x->tag, 64));
			__free_pages(x->p, x->order);
			x->p = NULL;
			continue;
		}
		static const gfp_t kinds[] = {GFP_KERNEL, GFP_HIGHUSER_MOVABLE, GFP_ATOMIC,
					      GFP_KERNEL | __GFP_RECLAIMABLE, GFP_KERNEL | __GFP_DMA};
		gfp_t gfp = kinds[rnd() % 5] | __GFP_NOWARN;

		x->order = rnd() % 8 ? 0 : rnd() % MAX_ORDER;
		if (x->order && rnd() & 1)
			gfp |= __GFP_COMP;
		x->tag = rnd();
		x->p = alloc_pages(gfp, x->order);
		if (x->p)
			memset(page_address(x->p), x->tag, PAGE_SIZE << x->order);
		if (i % (rounds / 8) == 0)
			cr_assert_eq(check_phys(), 0);
	}
	for (unsigned i = 0; i < slots; i++)
		if (s[i].p)
			__free_pages(s[i].p, s[i].order);
	fake_cpu_switch(0);
	free(s);
}

Test(page_alloc, churn_one_cpu)
{
	uint64_t before;

	machine_up(48 * MIB, 1);
	before = free_pages_now();
	churn(8000, 120000, 1);
	cr_assert_eq(free_pages_now(), before);
	machine_down();
}

Test(page_alloc, churn_four_cpus)
{
	uint64_t before;

	machine_up(64 * MIB, 4);
	before = free_pages_now();
	churn(6000, 60000, 4);
	cr_assert_eq(free_pages_now(), before);
	machine_down();
}

Test(page_alloc, everything_merges_again)
{
	static struct page *p[20000];
	unsigned n = 0, i;
	unsigned long blocks[MAX_ORDER];
	struct zone *z = &zones[ZONE_DMA32];

	machine_up(64 * MIB, 1);
	quire_drain();
	for (i = 0; i < MAX_ORDER; i++)
		blocks[i] = z->free_area[i].nr_free;
	while (n < ARRAY_SIZE(p) && (p[n] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		n++;
	for (i = 0; i < n; i++) { /* any order: swap the i-th with a later one */
		unsigned j = i + rnd() % (n - i);
		struct page *t = p[i];

		p[i] = p[j];
		p[j] = t;
		__free_pages(p[i], 0);
	}
	quire_drain();
	for (i = 0; i < MAX_ORDER; i++)
		cr_expect_eq(z->free_area[i].nr_free, blocks[i]);
	machine_down();
}

Test(page_alloc, watermarks_keep_a_reserve)
{
	static struct page *p[40000];
	unsigned n = 0;
	struct zone *z = &zones[ZONE_DMA32];
	struct page *extra;

	machine_up(64 * MIB, 1);
	while ((p[n] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		n++;
	/* An ordinary request stops at min; an atomic one goes deeper; a privileged one takes all. */
	cr_expect_leq(z->nr_free, z->watermark[WMARK_MIN]);
	cr_expect_gt(z->nr_free, z->watermark[WMARK_MIN] / 2);
	extra = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 0);
	cr_expect(extra);
	__free_pages(extra, 0);
	extra = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0);
	cr_expect(extra);
	__free_pages(extra, 0);
	while (n)
		__free_pages(p[--n], 0);
	machine_down();
}

Test(page_alloc, types_are_kept_apart)
{
	static struct page *u[600], *m[600];

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 600; i++) {
		u[i] = alloc_pages(GFP_KERNEL, 0);
		m[i] = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	}
	/* Pages that never move fill pageblocks of their own. */
	for (unsigned i = 0; i < 600; i++) {
		cr_expect_eq(get_pageblock_migratetype(u[i]), MIGRATE_UNMOVABLE);
		cr_expect_eq(get_pageblock_migratetype(m[i]), MIGRATE_MOVABLE);
	}
	for (unsigned i = 0; i < 600; i++) {
		__free_pages(u[i], 0);
		__free_pages(m[i], 0);
	}
	machine_down();
}

Test(page_alloc, compound_pages)
{
	struct page *p;

	machine_up(64 * MIB, 1);
	p = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);
	cr_assert_eq(compound_order(p), 3);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(compound_head(p + i), p);
	get_page(p);
	put_page(p + 5);
	cr_assert_eq(page_count(p), 1);
	cr_assert_eq(check_phys(), 0);
	put_page(p);
	machine_down();
}

Test(page_alloc, a_held_first_page_frees_the_rest)
{
	uint64_t before;
	struct page *p;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	p = alloc_pages(GFP_KERNEL, 4);
	get_page(p);
	__free_pages(p, 4);
	cr_expect_eq(free_pages_now(), before - 1);
	put_page(p);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(page_alloc, bulk)
{
	struct page *p[300];
	uint64_t before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	for (unsigned i = 0; i < 300; i++) {
		p[i] = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
		p[i]->_refcount = 0;
	}
	free_page_bulk(p, 300);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(page_alloc, exact)
{
	uint64_t before;
	void *p;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	p = alloc_pages_exact(5 * PAGE_SIZE, GFP_KERNEL);
	memset(p, 1, 5 * PAGE_SIZE);
	cr_expect_eq(free_pages_now(), before - 5);
	free_pages_exact(p, 5 * PAGE_SIZE);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(page_alloc, injection_hits_once)
{
	uint64_t seen;
	struct page *p[4];

	machine_up(64 * MIB, 1);
	seen = quire_inject_seen(QUIRE_INJECT_PAGE);
	quire_inject_set(QUIRE_INJECT_PAGE, 3);
	for (unsigned i = 0; i < 4; i++) {
		p[i] = alloc_pages(GFP_KERNEL, 0);
		cr_expect_eq(!p[i], i == 2);
	}
	cr_expect_eq(quire_inject_seen(QUIRE_INJECT_PAGE), seen + 3);
	for (unsigned i = 0; i < 4; i++)
		if (p[i])
			__free_pages(p[i], 0);
	machine_down();
}

static unsigned long freed_by_hook;
static struct page *hoard[64];

static unsigned long give_hoard_back(gfp_t gfp, unsigned order)
{
	unsigned long n = 0;

	for (unsigned i = 0; i < 64; i++)
		if (hoard[i]) {
			__free_pages(hoard[i], 0);
			hoard[i] = NULL;
			n++;
		}
	freed_by_hook += n;
	return n;
}

Test(page_alloc, slow_path_reclaims)
{
	static struct page *p[40000];
	unsigned n = 0;
	struct page *one;

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 64; i++)
		hoard[i] = alloc_pages(GFP_KERNEL, 0);
	while ((p[n] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		n++;
	page_reclaim_hook = give_hoard_back;
	cr_expect_null(alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 0), "may not reclaim");
	cr_expect_eq(freed_by_hook, 0);
	one = alloc_pages(GFP_KERNEL, 0);
	cr_expect(one);
	cr_expect_eq(freed_by_hook, 64);
	__free_pages(one, 0);
	while (n)
		__free_pages(p[--n], 0);
	machine_down();
}

/* Each of these ends in os_panic(), which ends the machine with status 1. */
Test(page_alloc, double_free_is_caught, .exit_code = 1)
{
	struct page *p;

	machine_up(64 * MIB, 1);
	p = alloc_pages(GFP_KERNEL, 0);
	__free_pages(p, 0);
	__free_pages(p, 0);
	exit(0);
}

Test(page_alloc, freeing_a_locked_page_is_caught, .exit_code = 1)
{
	struct page *p;

	machine_up(64 * MIB, 1);
	p = alloc_pages(GFP_KERNEL, 0);
	trylock_page(p);
	__free_pages(p, 0);
	exit(0);
}

Test(page_alloc, wrong_compound_order_is_caught, .exit_code = 1)
{
	struct page *p;

	machine_up(64 * MIB, 1);
	p = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	__free_pages(p, 1);
	exit(0);
}

Test(page_alloc, freeing_a_reserved_frame_is_caught, .exit_code = 1)
{
	machine_up(64 * MIB, 1);
	__free_pages(zero_page, 0);
	exit(0);
}

static void pounder(void *arg)
{
	struct page *p[64];

	for (unsigned round = 0; round < 300; round++) {
		for (unsigned i = 0; i < 64; i++)
			p[i] = alloc_pages(GFP_KERNEL, i % 16 ? 0 : 2);
		for (unsigned i = 0; i < 64; i++)
			__free_pages(p[i], i % 16 ? 0 : 2);
	}
}

Test(page_alloc, cpus_at_once)
{
	uint64_t before;

	machine_up(64 * MIB, 3);
	before = free_pages_now();
	cr_assert_eq(fake_cpu_start(1, pounder, NULL), 0);
	cr_assert_eq(fake_cpu_start(2, pounder, NULL), 0);
	pounder(NULL);
	fake_cpu_join(1);
	fake_cpu_join(2);
	cr_expect_eq(check_phys(), 0);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}
