/* SPDX-License-Identifier: MIT */
/*
 * The page allocator where it is seldom: damage to every order, lists whose pageblock changed its
 * type meanwhile, requests at the edge of their rights, tunables at the edge of their range.
 */
#include "mm_test.h"

#include "mm/base/sysctl.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/migrate/compaction.h"
#include "mm/migrate/migrate.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_debug.h"
#include "phys_hooks.h"
#include <quire/abi.h>

#define MIB (1ull << 20)

static struct page *many[40000];

static void up(const char *params)
{
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PAGE_SIZE / 4096), .cpus = 2},
		       &(struct quire_config){.params = params});
}

/* What was damaged on purpose is not counted as a leak. */
static void down_damaged(void)
{
	cr_expect_eq(check_phys(), 0);
	quire_exit();
	fake_machine_destroy();
}

static unsigned take(gfp_t gfp, unsigned most)
{
	unsigned n = 0;

	while (n < most && (many[n] = alloc_pages(gfp | __GFP_NOWARN, 0)) != NULL)
		n++;
	return n;
}

static void give(unsigned n)
{
	while (n)
		if (many[--n])
			__free_pages(many[n], 0);
}

/* ---- free blocks ------------------------------------------------------------------------------ */

/* The largest free block round each free page, told by the bits and by brute force. */
Test(page_corners, free_blocks_round_a_page)
{
	unsigned n, seen[MAX_ORDER] = {0};

	up(NULL);
	n = take(GFP_KERNEL | __GFP_MEMALLOC, 9000);
	for (unsigned i = 0; i < n; i++)
		if (i % 7 && i % 333 > 3) {
			__free_pages(many[i], 0);
			many[i] = NULL;
		}
	quire_drain();
	for (uint64_t pfn = 0; pfn < max_pfn; pfn++) {
		unsigned order, o = 0;
		uint64_t head;

		if (!pfn_valid(PFN(pfn)) || !PageBuddy(pfn_to_page(PFN(pfn))))
			continue;
		head = buddy_block(pfn_to_page(PFN(pfn)), &order);
		for (bool all = true; o < MAX_ORDER - 1; o++) {
			uint64_t at = pfn & ~((2ull << o) - 1);

			for (uint64_t k = at; k < at + (2ull << o); k++)
				all = all && pfn_valid(PFN(k)) && PageBuddy(pfn_to_page(PFN(k)));
			if (!all)
				break;
		}
		/* Two pageblocks of types that must not mix stay two. */
		cr_assert(order == o || (o == MAX_ORDER - 1 && order == PAGEBLOCK_ORDER));
		cr_assert_eq(head, pfn & ~((1ull << order) - 1));
		seen[order]++;
	}
	cr_expect(seen[0] && seen[1] && seen[2] && seen[MAX_ORDER - 1]);
	give(n);
	machine_down();
}

/* The lists of each order claim a block that is not there. */
Test(page_corners, a_list_that_lies_is_found_out)
{
	for (unsigned o = 0; o < MAX_ORDER; o++) {
		struct pageblock *b = NULL;
		unsigned n = 0, mt;
		struct zone *z;

		up("bad_page=contain");
		/* One loose block of each order, to begin with. */
		for (unsigned i = 0; i < PAGEBLOCK_ORDER; i++)
			many[n++] = alloc_pages(GFP_KERNEL, i);
		drain_all_pages();
		for_each_populated_zone(z)
			for (mt = 0; mt < MIGRATE_PCPTYPES && !b; mt++)
				b = ZONE_LOCKED(z, first_block(z, o, mt));
		cr_assert(b, "order %u", o);
		memset(b->free, 0, sizeof(b->free));
		if (o == MAX_ORDER - 1)
			memset(b[1].free, 0, sizeof(b->free));
		while (alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC | __GFP_NOWARN, 0) ||
		       alloc_pages(GFP_KERNEL | GFP_DMA | __GFP_MEMALLOC | __GFP_NOWARN, 0))
			;
		cr_expect_geq(nr_bad_pages(), 1, "order %u", o);
		cr_expect_eq(check_phys(), 0, "order %u", o);
		quire_exit();
		fake_machine_destroy();
	}
}

Test(page_corners, what_is_free_already_is_not_freed)
{
	struct page *p;

	machine_up_cfg(&(struct fake_config){.ram = 256 * MIB * (PAGE_SIZE / 4096), .cpus = 1},
		       &(struct quire_config){.params = "bad_page=contain"});
	/* A block that goes straight to the buddy, whole and half. */
	p = alloc_pages(GFP_KERNEL, MAX_ORDER - 1);
	__free_pages(p, MAX_ORDER - 1);
	p->_refcount = 1;
	__free_pages(p, MAX_ORDER - 1);
	cr_expect_eq(nr_bad_pages(), 1);
	p = alloc_pages(GFP_KERNEL, 5);
	__free_pages(p, 5);
	p[16]._refcount = 1;
	__free_pages(p + 16, 4);
	cr_expect_eq(nr_bad_pages(), 2);
	/* A larger block on a CPU's list that the buddy has too. */
	drain_all_pages();
	p = alloc_pages(GFP_KERNEL, 2);
	__free_pages(p, 2);
	cr_assert(page_test(p, PG_pcp));
	cr_assert(ZONE_LOCKED(page_zone(p), __free_one_page(p, page_zone(p), 2,
						       get_pageblock_migratetype(p))));
	drain_all_pages();
	cr_expect_eq(nr_bad_pages(), 3);
	/* In bulk: one that is listed, one that has a reference, one that is a file's. */
	cr_assert_eq(take(GFP_KERNEL, 3), 3);
	__free_pages(many[0], 0);
	many[2]->mapping = many;
	many[2]->_refcount = 0;
	free_page_bulk(many, 3);
	cr_expect_eq(nr_bad_pages(), 6);
	cr_expect_eq(nr_lost_pages(), 1, "the third");
	cr_expect_eq(page_count(many[1]), 1);
	many[2]->mapping = NULL;
	down_damaged();
}

/* A stray bit calls a frame free that is in use: its neighbour must not be joined with it. */
Test(page_corners, a_stray_bit_joins_no_block)
{
	struct page *first;
	struct pageblock *b;

	up("bad_page=contain");
	first = alloc_pages(GFP_HIGHUSER_MOVABLE, PAGEBLOCK_ORDER);
	split_page(first, PAGEBLOCK_ORDER);
	b = pfn_to_block(page_to_pfn(first).n);
	for (unsigned k = 0; k < 6; k++) {
		/* Its neighbours up to 2^k frames, of none of which the counts know. */
		b->free[k] |= ((1ull << (1u << k)) - 1) << (1u << k);
		b->free[k] |= (1ull << (1u << k)) - 2;
		__free_pages(first + 64 * k, 0);
		drain_all_pages();
		cr_expect_geq(nr_bad_pages(), k + 1);
		cr_expect_eq(b->free[k], 0);
		for (unsigned o = 0; o < MAX_ORDER; o++)
			cr_expect_eq(b->nr[o], 0);
	}
	down_damaged();
}

/* ---- frees that are put off ------------------------------------------------------------------- */

/* A page goes when sixteen others have gone after it, or when all must; the books have it already. */
Test(page_corners, a_late_free_comes_in_its_turn)
{
	unsigned long free;
	struct page *p;

	up("late_free=1");
	cr_assert_eq(take(GFP_KERNEL, LATE_FREES + 2), LATE_FREES + 2);
	free = nr_free_pcp(&zones[ZONE_DMA]) + nr_free_pcp(&zones[ZONE_DMA32]);
	p = many[0];
	__free_pages(p, 0);
	cr_expect(page_count(p) == 1 && !page_test(p, PG_pcp), "nobody has looked at it yet");
	cr_expect_eq(nr_free_pcp(&zones[ZONE_DMA]) + nr_free_pcp(&zones[ZONE_DMA32]), free + 1);
	for (unsigned i = 1; i < LATE_FREES; i++)
		__free_pages(many[i], 0);
	cr_expect_eq(page_count(p), 1);
	__free_pages(many[LATE_FREES], 0);
	cr_expect(page_count(p) == 0 && page_test(p, PG_pcp));
	cr_expect_eq(page_count(many[1]), 1);
	/* What is looked at in another way is freed at once. */
	page_slow_set(PAGE_SLOW_CHECK, true);
	__free_pages(many[LATE_FREES + 1], 0);
	cr_expect(page_test(many[LATE_FREES + 1], PG_pcp));
	page_slow_set(PAGE_SLOW_CHECK, false);
	drain_local_pages();
	for (unsigned i = 0; i < LATE_FREES + 2; i++)
		cr_expect(PageBuddy(many[i]));
	machine_down();
}

/* Whoever drops a reference that is not the last one has not freed anything. */
Test(page_corners, a_late_free_of_a_shared_page_drops_a_reference)
{
	struct page *p;

	up("late_free=1");
	p = alloc_pages(GFP_KERNEL, 0);
	get_page(p);
	__free_pages(p, 0);
	cr_expect_eq(page_count(p), 2);
	drain_local_pages();
	cr_expect_eq(page_count(p), 1);
	cr_expect(!PageBuddy(p));
	__free_pages(p, 0);
	machine_down();
}

/* A second free is seen when its turn comes, and costs nobody a page. */
Test(page_corners, a_late_second_free_is_found_out)
{
	struct page *p;

	up("late_free=1 bad_page=contain");
	p = alloc_pages(GFP_KERNEL, 0);
	__free_pages(p, 0);
	__free_pages(p, 0);
	cr_expect_eq(nr_bad_pages(), 0);
	drain_local_pages();
	cr_expect_eq(nr_bad_pages(), 1);
	cr_expect_eq(nr_lost_pages(), 0);
	down_damaged();
}

/* The last pages of the machine can be had although their frees were put off. */
Test(page_corners, late_frees_are_there_when_nothing_else_is)
{
	unsigned n, again;

	up("late_free=1");
	n = take(GFP_KERNEL | __GFP_MEMALLOC, ARRAY_SIZE(many));
	cr_assert_lt(n, ARRAY_SIZE(many));
	for (unsigned i = 0; i < LATE_FREES; i++)
		__free_pages(many[--n], 0);
	/* Who may take everything does not wait, and so drains nothing. */
	for (again = 0; again < LATE_FREES; again++, n++)
		if (!(many[n] = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0)))
			break;
	cr_expect_eq(again, LATE_FREES);
	give(n);
	machine_down();
}

/* The checker knows what such a page must look like. */
Test(page_corners, a_late_free_that_is_free_is_told)
{
	struct page *p;

	up("late_free=1");
	p = alloc_pages(GFP_KERNEL, 0);
	__free_pages(p, 0);
	cr_expect_eq(check_phys(), 0);
	p->_refcount = 0;
	cr_expect_eq(check_phys(), 1);
	p->_refcount = 1;
	machine_down();
}

/* Pages on lists and pages in use, of a pageblock that is taken out of use or set aside. */
Test(page_corners, a_pageblock_changes_its_type_under_its_pages)
{
	struct page *first, *p[8];
	unsigned long free;

	up(NULL);
	first = alloc_pages(GFP_HIGHUSER_MOVABLE, PAGEBLOCK_ORDER);
	split_page(first, PAGEBLOCK_ORDER);
	for (unsigned i = 8; i < PAGEBLOCK_PAGES; i++)
		__free_pages(first + i, 0);
	drain_all_pages();
	free = nr_free_buddy();
	for (unsigned i = 0; i < 8; i++)
		p[i] = first + i;
	/* On the list: two of one word. */
	__free_pages(p[0], 0);
	__free_pages(p[1], 0);
	for (unsigned i = 2; i < 8; i++)
		p[i]->mapping = p; /* as if they could move */
	cr_assert_eq(set_migratetype_isolate(first), 0);
	for (unsigned i = 2; i < 8; i++)
		p[i]->mapping = NULL;
	cr_expect_eq(nr_free_buddy(), free - (PAGEBLOCK_PAGES - 8));
	drain_all_pages();
	/* Single and in bulk, past the lists. */
	__free_pages(p[2], 0);
	p[3]->_refcount = 0;
	free_page_bulk(p + 3, 1);
	cr_expect(PageBuddy(p[2]) && PageBuddy(p[3]));
	cr_expect_eq(nr_free_buddy(), free - (PAGEBLOCK_PAGES - 8), "none is for use");
	cr_expect_eq(check_phys(), 0);
	unset_migratetype_isolate(first, MIGRATE_MOVABLE);
	cr_expect_eq(nr_free_buddy(), free + 4);
	/* Set aside: onto the movable list, and back from there. */
	ZONE_LOCKED(page_zone(first),
		    (set_block_type(page_zone(first), pfn_to_block(page_to_pfn(first).n),
				    MIGRATE_HIGHATOMIC),
		     page_zone(first)->nr_reserved_highatomic += PAGEBLOCK_PAGES,
		     zone_marks_changed(page_zone(first)), 0));
	__free_pages(p[4], 0);
	p[5]->_refcount = 0;
	free_page_bulk(p + 5, 1);
	cr_expect(page_test(p[4], PG_pcp) && page_test(p[5], PG_pcp));
	drain_all_pages();
	cr_expect(PageBuddy(p[4]) && PageBuddy(p[5]));
	cr_expect_eq(check_phys(), 0);
	__free_pages(p[6], 0);
	__free_pages(p[7], 0);
	drain_all_pages();
	/* Whole and set aside, it does not merge with its neighbour. */
	cr_expect_eq(check_phys(), 0);
	cr_expect(unreserve_highatomic_pageblock(&node_zonelist, ZONE_MOVABLE, true));
	machine_down();
}

/* ---- types ------------------------------------------------------------------------------------ */

/* Only single pages are left, of another type: each kind of request steals in its own way. */
Test(page_corners, stealing_single_pages)
{
	static const gfp_t owner[] = {GFP_HIGHUSER_MOVABLE, GFP_HIGHUSER_MOVABLE, GFP_KERNEL,
				      GFP_KERNEL};
	static const gfp_t thief[] = {GFP_KERNEL, GFP_KERNEL | __GFP_RECLAIMABLE,
				       GFP_HIGHUSER_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE};

	for (unsigned k = 0; k < ARRAY_SIZE(owner); k++) {
		struct page *p[100];
		unsigned n;

		up(NULL);
		n = take(owner[k] | __GFP_MEMALLOC, ARRAY_SIZE(many));
		for (unsigned i = 0; i < n; i += 2) {
			__free_pages(many[i], 0);
			many[i] = NULL;
		}
		drain_all_pages();
		for (unsigned i = 0; i < 100; i++) {
			p[i] = alloc_pages(thief[k] | __GFP_MEMALLOC | __GFP_NOWARN, 0);
			cr_assert(p[i], "request %u of kind %u", i, k);
		}
		drain_all_pages();
		cr_expect_eq(check_phys(), 0);
		for (unsigned i = 0; i < 100; i++)
			__free_pages(p[i], 0);
		give(n);
		machine_down();
	}
}

static void hear(struct zone *z, unsigned order)
{
}

/* At most a hundredth of a zone and a pageblock are set aside. */
Test(page_corners, not_too_much_is_set_aside)
{
	struct zone *z = &zones[ZONE_DMA32];
	struct page *p[64];
	unsigned n, got = 0;

	up(NULL);
	n = take(GFP_HIGHUSER_MOVABLE, ARRAY_SIZE(many));
	while (got < 64 && (p[got] = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 3)) != NULL)
		got++;
	cr_expect_gt(got, 4);
	cr_expect_gt(z->nr_reserved_highatomic, 0);
	cr_expect_leq(z->nr_reserved_highatomic, z->managed_pages / 100 + 2 * PAGEBLOCK_PAGES);
	cr_expect_eq(check_phys(), 0);
	while (got)
		__free_pages(p[--got], 3);
	unreserve_highatomic_pageblock(&node_zonelist, ZONE_MOVABLE, true);
	give(n);
	machine_down();
}

/* ---- requests ---------------------------------------------------------------------------------- */

static unsigned asked;

static unsigned long no_help(gfp_t gfp, unsigned order)
{
	asked++;
	return asked < 40; /* some, it says, and there is nothing */
}

static bool nobody_dies(gfp_t gfp, unsigned order)
{
	return false;
}

Test(page_corners, requests_that_end_without_a_page)
{
	static const gfp_t end[] = {
		GFP_NOWAIT, GFP_ATOMIC, GFP_KERNEL | __GFP_NORETRY,
		GFP_KERNEL | __GFP_RETRY_MAYFAIL, GFP_ATOMIC | __GFP_NOMEMALLOC,
		GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOMEMALLOC,
		GFP_KERNEL & ~__GFP_KSWAPD_RECLAIM, GFP_KERNEL & ~__GFP_IO,
	};
	unsigned n, m;

	up(NULL);
	page_reclaim_hook = no_help;
	page_oom_hook = nobody_dies;
	page_kswapd_hook = hear;
	n = take(GFP_KERNEL, ARRAY_SIZE(many));
	/* The last ones that any reserve gives. */
	while (n < ARRAY_SIZE(many) &&
	       (many[n] = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0)) != NULL)
		n++;
	m = n;
	for (unsigned i = 0; i < ARRAY_SIZE(end); i++)
		for (unsigned order = 0; order < MAX_ORDER; order += 5) {
			asked = i & 1 ? 0 : 100;
			cr_expect_null(alloc_pages(end[i], order), "%u, %u", i, order);
			if (i == 3)
				page_reclaim_hook = NULL;
		}
	cr_expect_eq(m, n);
	cr_expect_eq(__get_free_pages(GFP_NOWAIT | __GFP_NOWARN, 0), 0);
	free_pages(0, 0);
	page_reclaim_hook = NULL;
	page_oom_hook = NULL;
	page_kswapd_hook = NULL;
	give(n);
	machine_down();
}

/* Poison broken in pages that requests and compaction take. */
Test(page_corners, damaged_pages_are_passed_over)
{
	struct page *p[4], *q;
	struct pageblock *b;

	up("page_poison=1 bad_page=contain");
	for (unsigned i = 0; i < 4; i++)
		p[i] = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	for (unsigned i = 0; i < 4; i++)
		__free_pages(p[i], 0);
	hal_unpoison(page_address(p[3]), PAGE_SIZE);
	*(char *)page_address(p[3]) = 1;
	for (unsigned i = 0; i < 3; i++)
		many[i] = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	cr_expect_eq(nr_bad_pages(), 1);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_neq(many[i], p[3]);
	give(3);
	drain_all_pages();
	/* The page that compaction would take next. */
	b = pfn_to_block(page_to_pfn(p[0]).n);
	q = compact_take_page(page_zone(p[0]), b);
	cr_assert(q);
	__free_pages(q, 0);
	drain_all_pages();
	hal_unpoison(page_address(q), PAGE_SIZE);
	*(char *)page_address(q) = 1;
	cr_expect_null(compact_take_page(page_zone(q), b));
	cr_expect_eq(nr_bad_pages(), 2);
	page_set(q, PG_dirty);
	down_damaged();
}

/* ---- moving ------------------------------------------------------------------------------------ */

Test(page_corners, one_moves_pages_at_a_time)
{
	irqflags_t flags;
	struct page *p;

	up(NULL);
	flags = hal_irq_save();
	cr_expect_not(migrate_begin(), "it may wait for other CPUs");
	hal_irq_restore(flags);
	cr_assert(migrate_begin());
	cr_expect_eq(compact_memory(), -EBUSY);
	p = alloc_pages(GFP_KERNEL, 0);
	cr_expect(get_page_unless_zero(p));
	p->_refcount = 0;
	cr_expect_not(get_page_unless_zero(p));
	p->_refcount = 1;
	/* Nobody's, though it has a reference. */
	get_page(p);
	cr_expect_eq(migrate_page(p, alloc_pages(GFP_KERNEL, 0)), -EAGAIN);
	get_page(zero_page);
	cr_expect_eq(migrate_page(zero_page, alloc_pages(GFP_KERNEL, 0)), -EAGAIN);
	migrate_end();
	__free_pages(p, 0);
	machine_down();
}

/* A CPU that has interrupts off empties its own lists only. */
Test(page_corners, draining_with_interrupts_off)
{
	irqflags_t flags;

	up(NULL);
	fake_cpu_switch(1);
	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	fake_cpu_switch(0);
	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	flags = hal_irq_save();
	drain_all_pages();
	hal_irq_restore(flags);
	cr_expect_eq(pcp_count(&zones[ZONE_DMA32].pcp[0], 0, MIGRATE_UNMOVABLE), 0);
	cr_expect_gt(pcp_count(&zones[ZONE_DMA32].pcp[1], 0, MIGRATE_UNMOVABLE), 0);
	drain_all_pages();
	cr_expect_eq(pcp_count(&zones[ZONE_DMA32].pcp[1], 0, MIGRATE_UNMOVABLE), 0);
	cr_expect_eq(nr_free_pcp(&zones[ZONE_NORMAL]), 0, "a zone without pages");
	machine_down();
}

/* ---- numbers ----------------------------------------------------------------------------------- */

Test(page_corners, marks_by_urgency)
{
	struct zone *z = &zones[ZONE_DMA32];
	unsigned long mark = 1000;

	up(NULL);
	z->nr_free = 700;
	cr_expect_not(zone_watermark_ok(z, 0, mark, ZONE_DMA32, 0));
	cr_expect(zone_watermark_ok(z, 0, mark, ZONE_DMA32, ALLOC_HIGH));
	cr_expect_not(zone_watermark_ok(z, 0, mark, ZONE_DMA32, ALLOC_HARDER), "750");
	cr_expect(zone_watermark_ok(z, 0, mark, ZONE_DMA32, ALLOC_OOM), "500");
	cr_expect(zone_watermark_ok(z, 0, mark, ZONE_DMA32, ALLOC_HIGH | ALLOC_HARDER), "375");
	/* Only a single page that may not wait, at the min mark, passes over the boost. */
	z->watermark[WMARK_MIN] = 500;
	z->watermark_boost = 500;
	cr_expect(zone_watermark_slow(z, 0, mark, ZONE_DMA32, ALLOC_WMARK_MIN, GFP_ATOMIC));
	cr_expect_not(zone_watermark_slow(z, 1, mark, ZONE_DMA32, ALLOC_WMARK_MIN, GFP_ATOMIC));
	cr_expect_not(zone_watermark_slow(z, 0, mark, ZONE_DMA32, ALLOC_WMARK_MIN, GFP_KERNEL));
	cr_expect_not(zone_watermark_slow(z, 0, mark, ZONE_DMA32, ALLOC_WMARK_LOW, GFP_ATOMIC));
	z->watermark_boost = 0;
	cr_expect_not(zone_watermark_slow(z, 0, mark, ZONE_DMA32, ALLOC_WMARK_MIN, GFP_ATOMIC));
	/* A ratio of 0 keeps nothing back. */
	vm_sysctl.lowmem_reserve_ratio[ZONE_DMA] = 0;
	setup_per_zone_wmarks();
	cr_expect_eq(zones[ZONE_DMA].lowmem_reserve[ZONE_NORMAL], 0);
	vm_sysctl.lowmem_reserve_ratio[ZONE_DMA] = 256;
	setup_per_zone_wmarks();
	cr_expect_gt(zones[ZONE_DMA].lowmem_reserve[ZONE_NORMAL], 0);
	exit(0); /* the counts are not what they were */
}

Test(page_corners, tunables_at_their_edges)
{
	static const struct {
		const char *name;
		long good[3], bad[2];
	} t[] = {
		{"min_free_kbytes", {0, 512, 1024}, {-1, 1l << 40}},
		{"drop_caches", {1, 2, 4}, {0, 5}},
		{"watermark_scale_factor", {1, 3000, 10}, {0, 3001}},
		{"watermark_boost_factor", {0, INT32_MAX, 15000}, {-1, 1l << 31}},
	};
	long v;

	up(NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		for (unsigned k = 0; k < 3; k++) {
			v = t[i].good[k];
			cr_expect_eq(quire_sysctl_set(t[i].name, v), 0, "%s %ld", t[i].name, v);
			v = -7;
			cr_expect_eq(quire_sysctl_get(t[i].name, &v), 0);
			cr_expect_eq(v, t[i].good[k], "%s %ld", t[i].name, v);
		}
		for (unsigned k = 0; k < 2; k++) {
			v = t[i].bad[k];
			cr_expect_eq(quire_sysctl_set(t[i].name, v), -EINVAL, "%s %ld",
				     t[i].name, v);
		}
	}
	for (long on = 1; on >= 0; on--) {
		cr_expect_eq(quire_sysctl_set("trace_pages", on), 0);
		cr_expect_eq(quire_sysctl_set("trace_kmem", on), 0);
		cr_expect(!trace_pages_on && !trace_kmem_on, "no trace, no events");
		quire_sysctl_get("trace_pages", &v);
		cr_expect_eq(v, on, "but the wish is kept");
	}
	cr_expect_eq(quire_sysctl_get("compact_memory", &v), 0);
	cr_expect_eq(quire_sysctl_set("compact", 1), -ENOENT);
	machine_down();
}

Test(page_corners, injection_refuses_nonsense)
{
	struct quire_fault_attr a = {.probability = 101};
	struct fault_attr f = {0};

	up(NULL);
	cr_expect_eq(quire_inject_attr(QUIRE_INJECT_PAGE, &a), -EINVAL);
	a = (struct quire_fault_attr){.probability = 1, .times = -2};
	cr_expect_eq(quire_inject_attr(QUIRE_INJECT_PAGE, &a), -EINVAL);
	cr_expect_eq(quire_inject_attr(QUIRE_INJECT_KINDS, &(struct quire_fault_attr){0}), -EINVAL);
	quire_inject_set(QUIRE_INJECT_KINDS, 1);
	cr_expect_eq(quire_inject_hits(QUIRE_INJECT_KINDS), 0);
	cr_expect_gt(quire_inject_seen(QUIRE_INJECT_SLAB), 0);
	cr_expect_gt(quire_inject_seen(QUIRE_INJECT_PAGE), 0);
	cr_expect_eq(fault_attr_parse(&f, "-1,1,0,0"), -EINVAL);
	cr_expect_eq(fault_attr_parse(&f, "1,-1,0,0"), -EINVAL);
	cr_expect_eq(fault_attr_parse(&f, "1,101,0,0"), -EINVAL);
	cr_expect_eq(fault_attr_parse(&f, "1,1,-1,0"), -EINVAL);
	cr_expect_eq(fault_attr_parse(&f, "1,1,0,-2"), -EINVAL);
	cr_expect_eq(fault_attr_parse(&f, "99999999999,1,0,0"), -EINVAL);
	cr_expect_eq(fault_attr_parse(&f, "1,100,0,2"), 0);
	cr_expect(fault_attr_hit(&f, 1));
	cr_expect(fault_attr_hit(&f, 1));
	cr_expect_not(fault_attr_hit(&f, 1), "twice");
	machine_down();
}
