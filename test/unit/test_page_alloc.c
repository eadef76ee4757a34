/* SPDX-License-Identifier: MIT */
/* The buddy and the per-CPU lists before it. */
#include "mm_test.h"

#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/phys/buddy.h"
#include "phys_hooks.h"
#include <quire/trace.h>

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
		cr_expect_eq(page_address(virt_to_page((void *)b)), (void *)b);
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

/* ---- types of pageblocks, marks, zones -------------------------------------------------------- */

static struct page *many[40000];

/* Single pages until the zones that gfp may use give no more; returns how many. */
static unsigned take_all(gfp_t gfp)
{
	unsigned n = 0;

	while (n < ARRAY_SIZE(many) && (many[n] = alloc_pages(gfp | __GFP_NOWARN, 0)))
		n++;
	return n;
}

static void give_all(unsigned n)
{
	while (n)
		__free_pages(many[--n], 0);
}

Test(page_alloc, a_pageblock_that_was_stolen_from_changes_type)
{
	struct page *p;

	machine_up(64 * MIB, 1);
	drain_all_pages();
	/* Whole pageblocks are free: the first such request makes one its own. */
	p = alloc_pages(GFP_KERNEL | __GFP_RECLAIMABLE, 0);
	cr_expect_eq(get_pageblock_migratetype(p), MIGRATE_RECLAIMABLE);
	cr_expect_eq(check_phys(), 0);
	__free_pages(p, 0);
	machine_down();
}

Test(page_alloc, a_movable_page_spoils_the_smallest_block)
{
	struct zone *z = &zones[ZONE_DMA32];
	struct page *one;
	unsigned n;

	machine_up(48 * MIB, 1);
	/* All memory as unmovable pages; one free page and one free block of four among them. */
	n = take_all(GFP_KERNEL | __GFP_MEMALLOC);
	for (unsigned i = 0; i < n; i++) {
		uint64_t pfn = page_to_pfn(many[i]).n;

		if (page_zone(many[i]) != z || pfn % PAGEBLOCK_PAGES < 64)
			continue;
		if (pfn % PAGEBLOCK_PAGES == 100 || pfn % PAGEBLOCK_PAGES / 4 == 50) {
			__free_pages(many[i], 0);
			many[i--] = many[--n];
		}
	}
	drain_all_pages();
	cr_assert_gt(z->free_area[0].nr_free, 3);
	cr_assert_gt(z->free_area[2].nr_free, 3);
	unsigned long fours = z->free_area[2].nr_free;
	one = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC, 0);
	cr_expect_neq(get_pageblock_migratetype(one), MIGRATE_MOVABLE, "too little to own it");
	cr_expect_eq(z->free_area[2].nr_free, fours, "the small ones first");
	__free_pages(one, 0);
	cr_expect_eq(check_phys(), 0);
	give_all(n);
	machine_down();
}

Test(page_alloc, what_may_not_wait_keeps_a_pageblock)
{
	struct zone *z = &zones[ZONE_DMA32];
	struct page *p, *q;
	unsigned n;

	machine_up(128 * MIB * (PAGE_SIZE / 4096), 1);
	n = take_all(GFP_KERNEL);
	cr_assert_gt(n, 20000);
	/* Now only by going below the mark. */
	p = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 1);
	cr_assert(p);
	cr_expect_eq(z->nr_reserved_highatomic, PAGEBLOCK_PAGES);
	cr_expect_eq(get_pageblock_migratetype(p), MIGRATE_HIGHATOMIC);
	cr_expect_eq(check_phys(), 0);
	__free_pages(p, 1);
	drain_all_pages();
	p = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 1);
	cr_expect_eq(get_pageblock_migratetype(p), MIGRATE_HIGHATOMIC);
	cr_expect_eq(z->nr_reserved_highatomic, PAGEBLOCK_PAGES, "its own first");
	/* What the first has not comes out of a second one, up to a hundredth of the zone. */
	q = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 2);
	cr_expect(q && get_pageblock_migratetype(q) == MIGRATE_HIGHATOMIC);
	if (q)
		__free_pages(q, 2);
	__free_pages(p, 1);
	drain_all_pages();
	for (unsigned long left = z->nr_reserved_highatomic; left; left -= PAGEBLOCK_PAGES)
		cr_expect(unreserve_highatomic_pageblock(&node_zonelist, ZONE_MOVABLE, true));
	cr_expect_eq(z->nr_reserved_highatomic, 0);
	cr_expect_not(unreserve_highatomic_pageblock(&node_zonelist, ZONE_MOVABLE, true));
	cr_expect_eq(check_phys(), 0);
	give_all(n);
	machine_down();
}

static unsigned kswapd_calls;

static void kswapd_called(struct zone *z, unsigned order)
{
	kswapd_calls++;
}

Test(page_alloc, mixing_types_raises_the_marks)
{
	struct zone *z = &zones[ZONE_DMA32];
	unsigned n = 0;
	long v;

	machine_up(128 * MIB, 1);
	page_kswapd_hook = kswapd_called;
	/* Movable pages everywhere, then every fourth page free: unmovable ones have to steal. */
	n = take_all(GFP_HIGHUSER_MOVABLE);
	for (unsigned i = 0; i < n; i += 4) {
		__free_pages(many[i], 0);
		many[i] = NULL;
	}
	drain_all_pages();
	zone_boost_reset(z);
	cr_expect_eq(z->watermark_boost, 0);
	struct page *p = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC, 0);
	cr_expect_gt(z->watermark_boost, 0);
	cr_expect_eq(z->plenty[ZONE_NORMAL], z->watermark[WMARK_LOW] + z->watermark_boost +
						     z->lowmem_reserve[ZONE_NORMAL]);
	zone_boost_reset(z);
	cr_expect_eq(z->watermark_boost, 0);
	cr_expect_eq(quire_sysctl_set("watermark_boost_factor", 0), 0);
	cr_expect_eq(quire_sysctl_get("watermark_boost_factor", &v), 0);
	cr_expect_eq(v, 0);
	cr_expect_eq(quire_sysctl_set("watermark_boost_factor", -1), -22);
	quire_sysctl_set("watermark_boost_factor", 15000);
	cr_expect_gt(kswapd_calls, 0);
	__free_pages(p, 0);
	for (unsigned i = 0; i < n; i++)
		if (many[i])
			__free_pages(many[i], 0);
	machine_down();
}

Test(page_alloc, isolated_pages_are_out_of_use)
{
	unsigned long free;
	struct page *first, *p;
	unsigned n;

	machine_up(64 * MIB, 1);
	first = alloc_pages(GFP_HIGHUSER_MOVABLE, 9);
	cr_assert_eq(set_migratetype_isolate(first), -16, "it is in use, and nobody's to move");
	__free_pages(first, 9);
	drain_all_pages();
	free = nr_free_buddy();
	cr_assert_eq(set_migratetype_isolate(first), 0);
	cr_expect_eq(set_migratetype_isolate(first), -16, "once is enough");
	cr_expect_eq(nr_free_buddy(), free - PAGEBLOCK_PAGES);
	cr_expect_eq(check_phys(), 0);
	n = take_all(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC);
	for (unsigned i = 0; i < n; i++) {
		uint64_t off = page_to_pfn(many[i]).n - page_to_pfn(first).n;

		cr_assert_geq(off, PAGEBLOCK_PAGES);
	}
	unset_migratetype_isolate(first, MIGRATE_MOVABLE);
	unset_migratetype_isolate(first, MIGRATE_MOVABLE);
	p = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC, 9);
	cr_expect_eq(p, first);
	__free_pages(p, 9);
	give_all(n);
	cr_expect_eq(check_phys(), 0);
	machine_down();
}

Test(page_alloc, movable_zone)
{
	struct page *m, *k;
	unsigned n;

	machine_up_cfg(&(struct fake_config){.ram = 128 * MIB, .cpus = 1},
		       &(struct quire_config){.params = "movablecore=40M"});
	cr_assert(populated_zone(&zones[ZONE_MOVABLE]));
	cr_expect_eq(zones[ZONE_MOVABLE].zone_start_pfn % (1u << (MAX_ORDER - 1)), 0);
	m = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	k = alloc_pages(GFP_KERNEL | __GFP_MOVABLE, 0);
	cr_expect_eq(page_zonenum(m), ZONE_MOVABLE);
	cr_expect_neq(page_zonenum(k), ZONE_MOVABLE, "movable alone is not enough");
	__free_pages(m, 0);
	__free_pages(k, 0);
	n = take_all(GFP_KERNEL);
	for (unsigned i = 0; i < n; i++)
		cr_assert_neq(page_zonenum(many[i]), ZONE_MOVABLE);
	give_all(n);
	machine_down();
	machine_up_cfg(&(struct fake_config){.ram = 128 * MIB, .cpus = 1},
		       &(struct quire_config){.params = "kernelcore=64M"});
	cr_expect_geq(zones[ZONE_MOVABLE].present_pages, 56 * MIB / PAGE_SIZE);
	machine_down();
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1},
		       &(struct quire_config){.params = "kernelcore=64G"});
	cr_expect_not(populated_zone(&zones[ZONE_MOVABLE]), "all of it for the kernel");
	machine_down();
}

static unsigned victims;

static bool kill_one(gfp_t gfp, unsigned order)
{
	if (!victims)
		return false;
	victims--;
	give_hoard_back(gfp, order);
	return true;
}

Test(page_alloc, the_last_resort)
{
	struct page *p;
	unsigned n;

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 64; i++)
		hoard[i] = alloc_pages(GFP_KERNEL, 0);
	n = take_all(GFP_KERNEL);
	page_oom_hook = kill_one;
	victims = 1;
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN, 0));
	cr_expect_eq(victims, 1, "nobody is killed for that");
	p = alloc_pages(GFP_KERNEL, 0);
	cr_expect(p);
	cr_expect_eq(victims, 0);
	__free_pages(p, 0);
	/* Must not fail: the reserves, when nobody can help any more. */
	while ((p = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		many[n++] = p;
	p = alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0);
	cr_expect(p);
	__free_pages(p, 0);
	give_all(n);
	machine_down();
}

/* Marks that were raised to keep types apart hide what would do. */
Test(page_alloc, nobody_dies_for_a_boost)
{
	struct page *p;
	unsigned n;

	machine_up(64 * MIB, 1);
	n = take_all(GFP_KERNEL);
	for (unsigned i = 0; i < 20; i++) /* above the min mark, below the high one */
		__free_pages(many[--n], 0);
	drain_all_pages();
	for (unsigned i = 0; i < MAX_NR_ZONES; i++) {
		irqflags_t flags;

		spin_lock_irqsave(&zones[i].lock, flags);
		zones[i].watermark_boost = populated_zone(&zones[i]) ? 4 * PAGEBLOCK_PAGES : 0;
		zone_marks_changed(&zones[i]);
		spin_unlock_irqrestore(&zones[i].lock, flags);
	}
	page_oom_hook = kill_one;
	victims = 1;
	p = alloc_pages(GFP_KERNEL, 0);
	cr_expect(p);
	cr_expect_eq(victims, 1);
	__free_pages(p, 0);
	page_oom_hook = NULL;
	give_all(n);
	machine_down();
}

static unsigned rounds, rounds_needed;
static unsigned long round_frees; /* what each round before the last claims to have freed */

static unsigned long free_in_the_end(gfp_t gfp, unsigned order)
{
	return ++rounds < rounds_needed ? round_frees : give_hoard_back(gfp, order);
}

/* Memory is out but for what a scan keeps, and one page is asked for. frees: what each round claims to
 * have freed, until the round number `needed` does. */
static void ask_for_one(unsigned long frees, unsigned needed)
{
	struct page *p;
	unsigned n;

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 64; i++)
		hoard[i] = alloc_pages(GFP_KERNEL, 0);
	n = take_all(GFP_KERNEL);
	/* Nobody's pages: they are always there to be reclaimed, and never are. */
	for (unsigned i = 0; i < n / 4; i++)
		lru_cache_add(many[i]);
	lru_add_drain_all();
	page_reclaim_hook = free_in_the_end;
	page_oom_hook = kill_one;
	victims = 1;
	rounds = 0;
	rounds_needed = needed;
	round_frees = frees;
	p = alloc_pages(GFP_KERNEL, 0);
	cr_assert(p);
	__free_pages(p, 0);
	page_reclaim_hook = NULL;
	page_oom_hook = NULL;
	give_all(n);
	give_hoard_back(0, 0);
	machine_down();
}

/* Rounds that free something go on; of those that free nothing 17 in a row are enough to choose a victim,
 * however much still looks reclaimable. */
Test(page_alloc, as_long_as_something_is_freed)
{
	ask_for_one(1, 50);
	cr_expect_eq(rounds, 50, "%u", rounds);
	cr_expect_eq(victims, 1, "a kill in spite of progress");
	ask_for_one(0, 50);
	cr_expect_eq(rounds, 17, "%u", rounds);
	cr_expect_eq(victims, 0);
}

Test(page_alloc, no_such_zone)
{
	static const struct mem_range r[] = {{4096 * MIB, 4160 * MIB, MEM_RAM, "high"}};

	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = 1, .cpus = 1}, NULL);
	cr_expect_null(alloc_pages(GFP_DMA | __GFP_NOWARN, 0));
	cr_expect_null(alloc_pages(GFP_DMA, 0));
	machine_down();
}

Test(page_alloc, records_of_pages)
{
	static char ring[1 << 20] __attribute__((aligned(4096)));
	static struct quire_trace_record r[4096];
	unsigned n, allocs = 0, frees = 0, extfrag = 0, drains = 0;
	struct page *p;

	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1},
		       &(struct quire_config){.trace_ring = ring, .trace_ring_size = sizeof(ring)});
	drain_all_pages();
	quire_sysctl_set("trace_pages", 1);
	quire_trace_enable(true);
	p = alloc_pages(GFP_KERNEL | __GFP_RECLAIMABLE, 0);
	__free_pages(p, 0);
	drain_all_pages();
	quire_trace_enable(false);
	n = quire_trace_last(r, ARRAY_SIZE(r));
	for (unsigned i = 0; i < n; i++) {
		allocs += r[i].type == QUIRE_TR_PAGE_ALLOC && r[i].w[0] == page_to_pfn(p).n &&
			  r[i].w[2] == (GFP_KERNEL | __GFP_RECLAIMABLE) &&
			  r[i].w[3] == MIGRATE_RECLAIMABLE;
		frees += r[i].type == QUIRE_TR_PAGE_FREE && r[i].w[0] == page_to_pfn(p).n;
		extfrag += r[i].type == QUIRE_TR_PAGE_ALLOC_EXTFRAG &&
			   r[i].w[3] == MIGRATE_RECLAIMABLE && r[i].w[4] == MIGRATE_MOVABLE &&
			   r[i].w[5] == 1;
		drains += r[i].type == QUIRE_TR_PAGE_PCPU_DRAIN;
	}
	cr_expect(allocs == 1 && frees == 1 && extfrag == 1 && drains > 0, "%u %u %u %u", allocs,
		  frees, extfrag, drains);
	machine_down();
}

Test(page_alloc, larger_orders_per_cpu)
{
	struct page *a, *b;

	machine_up(512 * MIB * (PAGE_SIZE / 4096), 1);
	cr_assert(zones[ZONE_DMA32].pcp_blocks[4], "the zone is large enough to keep a huge page");
	for (unsigned o = 1; o < 10; o += o == 3 ? 6 : 1) {
		a = alloc_pages(GFP_HIGHUSER_MOVABLE, o);
		__free_pages(a, o);
		b = alloc_pages(GFP_HIGHUSER_MOVABLE, o);
		cr_expect_eq(a, b, "order %u", o);
		cr_expect_eq(check_phys(), 0);
		__free_pages(b, o);
	}
	cr_expect_eq(check_phys(), 0);
	drain_all_pages();
	cr_expect_eq(nr_free_pcp(&zones[ZONE_DMA32]), 0);
	machine_down();
}
