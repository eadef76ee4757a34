/* SPDX-License-Identifier: MIT */
/*
 * Which pageblock serves which kind of page, where only singles and small blocks are left: from
 * which type a request steals, what it mixes, when the marks are boosted, what is kept in reserve,
 * what can be isolated.
 */
#include "mm_test.h"

#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/phys/buddy.h"
#include "phys_hooks.h"
#include <quire/abi.h>

#define MIB (1ull << 20)

static struct page *all[40000];
static unsigned nr_all;

static struct zone *const z = &zones[ZONE_DMA32];

/* Every page of the machine is taken, as pages of that kind; where in all[] each frame is. */
static unsigned *place;

static void fill(gfp_t gfp)
{
	nr_all = 0;
	while ((all[nr_all] = alloc_pages(gfp | __GFP_MEMALLOC | __GFP_NOWARN, 0)) != NULL)
		cr_assert_lt(++nr_all, ARRAY_SIZE(all));
	place = calloc(max_pfn, sizeof(*place));
	for (unsigned i = 0; i < nr_all; i++)
		place[page_to_pfn(all[i]).n] = i + 1;
}

/* Gives [pfn, pfn + n) of what was taken back, to the buddy itself. */
static void give(uint64_t pfn, unsigned n)
{
	for (; n; n--, pfn++) {
		cr_assert(place[pfn], "frame %lu was not taken", pfn);
		__free_pages(all[place[pfn] - 1], 0);
		all[place[pfn] - 1] = NULL;
		place[pfn] = 0;
	}
	drain_all_pages();
}

static void give_all(void)
{
	for (unsigned i = 0; i < nr_all; i++)
		if (all[i])
			__free_pages(all[i], 0);
	free(place);
}

/* The n-th pageblock of the zone of which all is taken. */
static uint64_t taken_block(unsigned n)
{
	for (uint64_t pfn = z->zone_start_pfn;; pfn += PAGEBLOCK_PAGES) {
		bool whole = true;

		cr_assert_lt(pfn, z->zone_start_pfn + z->spanned_pages);
		for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
			whole = whole && place[pfn + i];
		if (whole && !n--)
			return pfn;
	}
}

/* The buddy's lowest step, and back. */
static struct page *steal(unsigned mt, unsigned alloc_flags)
{
	irqflags_t flags;
	struct page *p;

	spin_lock_irqsave(&z->lock, flags);
	p = __rmqueue(z, 0, mt, alloc_flags);
	spin_unlock_irqrestore(&z->lock, flags);
	cr_assert(p);
	return p;
}

static void put_back(struct page *p)
{
	irqflags_t flags;

	spin_lock_irqsave(&z->lock, flags);
	cr_assert(__free_one_page(p, z, 0, get_pageblock_migratetype(p)));
	spin_unlock_irqrestore(&z->lock, flags);
	cr_assert_eq(check_phys(), 0);
}

static void up(void)
{
	machine_up(64 * MIB * (PAGE_SIZE / 4096), 1);
}

/* A movable page spoils the smallest foreign block; it does not cut a larger one, nor does the
 * pageblock change its type. */
Test(mobility, a_movable_page_spoils_the_smallest_block)
{
	uint64_t large, small;
	struct page *p;

	up();
	fill(GFP_KERNEL);
	large = taken_block(0);
	small = taken_block(1);
	give(large + 8, 8);
	give(small + 32, 2);
	cr_assert_eq(pfn_to_block(large)->nr[3], 1);
	cr_assert_eq(pfn_to_block(small)->nr[1], 1);
	p = steal(MIGRATE_MOVABLE, 0);
	cr_expect_eq(page_to_pfn(p).n & ~1ull, small + 32);
	cr_expect_eq(pfn_to_block(large)->nr[3], 1, "it is whole");
	cr_expect_eq(get_pageblock_migratetype(p), MIGRATE_UNMOVABLE);
	cr_expect_eq(z->stolen_from[MIGRATE_MOVABLE], pfn_to_block(small), "here it goes on");
	put_back(p);
	/* A block that is worth the pageblock is taken first, smaller ones or not. */
	give(large + 64, PAGEBLOCK_PAGES / 2);
	z->stolen_from[MIGRATE_MOVABLE] = NULL;
	p = steal(MIGRATE_MOVABLE, 0);
	cr_expect_eq(page_to_pfn(p).n & ~(PAGEBLOCK_PAGES - 1ull), large);
	cr_expect_eq(get_pageblock_migratetype(p), MIGRATE_MOVABLE, "it changed its type");
	put_back(p);
	give_all();
	machine_down();
}

static void hear(struct zone *zone, unsigned order)
{
}

/* Steals as a page that never moves: how much the zone's boost grew. */
static unsigned long boosted_by(unsigned alloc_flags)
{
	unsigned long was = z->watermark_boost;
	struct page *p;

	z->stolen_from[MIGRATE_UNMOVABLE] = NULL;
	p = steal(MIGRATE_UNMOVABLE, alloc_flags);
	cr_assert_eq(get_pageblock_migratetype(p), MIGRATE_MOVABLE, "too few to change its type");
	put_back(p);
	return z->watermark_boost - was;
}

/* All movable pages but some, one of 16. */
static void scatter(void)
{
	uint64_t first;

	fill(GFP_HIGHUSER_MOVABLE);
	/* As those in use look movable, it does not become the thief's for its own kind. */
	for (unsigned i = 0; i < nr_all; i++)
		all[i]->mapping = all;
	first = taken_block(0);
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i += 16) {
		all[place[first + i] - 1]->mapping = NULL;
		give(first + i, 1);
	}
}

static void gather(void)
{
	for (unsigned i = 0; i < nr_all; i++)
		if (all[i])
			all[i]->mapping = NULL;
	zone_boost_reset(z);
	give_all();
	page_kswapd_hook = NULL;
	vm_sysctl.watermark_boost_factor = 15000;
}

Test(mobility, marks_are_boosted_by_pageblocks_up_to_a_limit)
{
	unsigned long most, sum = 0;

	up();
	page_kswapd_hook = hear;
	scatter();
	zone_boost_reset(z);
	vm_sysctl.watermark_boost_factor = 60000;
	most = max(z->watermark[WMARK_HIGH] * 6, PAGEBLOCK_PAGES);
	for (unsigned i = 0; i < 5; i++) {
		unsigned long more = min(PAGEBLOCK_PAGES, most - sum);

		cr_expect_eq(boosted_by(ALLOC_KSWAPD), more, "time %u", i);
		sum += more;
	}
	cr_expect_eq(z->watermark_boost, most);
	/* One pageblock is the least limit. */
	zone_boost_reset(z);
	vm_sysctl.watermark_boost_factor = 10000 / (long)z->watermark[WMARK_HIGH] + 1;
	cr_expect_eq(boosted_by(ALLOC_KSWAPD), PAGEBLOCK_PAGES);
	cr_expect_eq(boosted_by(ALLOC_KSWAPD), 0);
	gather();
	machine_down();
}

Test(mobility, marks_are_not_boosted_where_nobody_would_lower_them)
{
	up();
	page_kswapd_hook = hear;
	scatter();
	zone_boost_reset(z);
	cr_expect_eq(boosted_by(0), 0, "it must not wake the background");
	vm_sysctl.watermark_boost_factor = 0;
	cr_expect_eq(boosted_by(ALLOC_KSWAPD), 0, "turned off");
	vm_sysctl.watermark_boost_factor = 1;
	cr_expect_eq(boosted_by(ALLOC_KSWAPD), 0, "comes to nothing");
	vm_sysctl.watermark_boost_factor = 15000;
	page_kswapd_hook = NULL;
	cr_expect_eq(boosted_by(ALLOC_KSWAPD), 0, "no background");
	page_kswapd_hook = hear;
	cr_expect_gt(boosted_by(ALLOC_KSWAPD), 0, "all is there");
	gather();
	machine_down();
}

Test(mobility, marks_of_a_small_zone_are_not_boosted)
{
	const uint64_t low = 16 * MIB;
	const struct mem_range r[] = {
		{0, low, MEM_RAM, "low"},
		{low, low + 3 * PAGEBLOCK_PAGES * PAGE_SIZE, MEM_RAM, "three pageblocks"}};

	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = ARRAY_SIZE(r)}, NULL);
	page_kswapd_hook = hear;
	scatter();
	zone_boost_reset(z);
	cr_expect_eq(boosted_by(ALLOC_KSWAPD), 0);
	gather();
	machine_down();
}

/* A hundredth of the zone and what is begun, and never a pageblock that is set aside already. */
Test(mobility, as_much_is_set_aside_as_may_be)
{
	unsigned long most;
	unsigned n = 0;

	machine_up(512 * MIB * (PAGE_SIZE / 4096), 1);
	most = z->managed_pages / 100 + PAGEBLOCK_PAGES;
	for (unsigned i = 0; i < 8; i++) {
		struct page *p = pfn_to_page(PFN(z->zone_start_pfn + i * PAGEBLOCK_PAGES));
		bool room = n * PAGEBLOCK_PAGES < most;

		reserve_highatomic_pageblock(p, z);
		n += room;
		cr_expect_eq(get_pageblock_migratetype(p) == MIGRATE_HIGHATOMIC, room, "%u", i);
		cr_expect_eq(z->nr_reserved_highatomic, n * PAGEBLOCK_PAGES);
		reserve_highatomic_pageblock(p, z);
		cr_expect_eq(z->nr_reserved_highatomic, n * PAGEBLOCK_PAGES, "once only");
		cr_expect_eq(check_phys(), 0);
	}
	cr_expect_eq(n, DIV_ROUND_UP(most, PAGEBLOCK_PAGES));
	while (unreserve_highatomic_pageblock(&node_zonelist, ZONE_MOVABLE, true))
		n--;
	cr_expect_eq(n, 0);
	machine_down();
}

/* Who has no reference is on his way to be freed or moved; who has one and cannot move, stays. */
Test(mobility, what_keeps_a_pageblock_from_being_isolated)
{
	unsigned long free;
	struct page *p, *q;
	uint64_t pfn;

	up();
	fill(GFP_HIGHUSER_MOVABLE);
	pfn = taken_block(0);
	give(pfn, 8);
	give(pfn + 9, PAGEBLOCK_PAGES - 9);
	p = pfn_to_page(PFN(pfn));
	q = p + 8;
	free = z->nr_free;
	cr_expect_eq(set_migratetype_isolate(p), -EBUSY, "a page of the kernel's own");
	q->mapping = all;
	page_set(q, PG_table);
	cr_expect_eq(set_migratetype_isolate(p), -EBUSY, "a table");
	page_clear(q, PG_table);
	cr_expect_eq(set_migratetype_isolate(p), 0, "it looks movable");
	cr_expect_eq(z->nr_free, free - (PAGEBLOCK_PAGES - 1));
	cr_expect_eq(set_migratetype_isolate(p), -EBUSY, "it is isolated already");
	unset_migratetype_isolate(p, MIGRATE_MOVABLE);
	unset_migratetype_isolate(p, MIGRATE_UNMOVABLE);
	cr_expect_eq(get_pageblock_migratetype(p), MIGRATE_MOVABLE, "it was not isolated any more");
	cr_expect_eq(z->nr_free, free);
	q->mapping = NULL;
	q->_refcount = 0;
	cr_expect_eq(set_migratetype_isolate(p), 0, "frozen");
	unset_migratetype_isolate(p, MIGRATE_MOVABLE);
	q->_refcount = 1;
	give_all();
	machine_down();
}
