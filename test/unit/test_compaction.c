/* SPDX-License-Identifier: MIT */
/* Pages that move behind their users' backs, and what that is good for. */
#include <sched.h>

#include "moving.h"

#include "mm/base/vmstat.h"
#include "mm/migrate/compaction.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_debug.h"

static uint32_t slept; /* times that somebody would have */

/* Threads that act as CPUs meet in locks here: who would sleep lets the other one run. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	irqflags_t f = hal_irq_save();

	__atomic_add_fetch(&slept, 1, __ATOMIC_SEQ_CST);
	hal_irq_restore(f); /* where calls from other CPUs are heard */
	sched_yield();
}

uintptr_t os_thread_id(void)
{
	return hal_cpu_id() + 1;
}

static uint64_t mark(unsigned page)
{
	return page * 0x9e3779b97f4a7c15ull + 1;
}

Test(compaction, one_anonymous_page)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 7);
	cr_expect(move_at(AT(0)));
	cr_expect_eq(load_at(AT(0)), 7);
	cr_expect_eq(FAULTS(store_at(AT(0), 8)), 0, "it was writable, it is");
	cr_expect_eq(load_at(AT(0)), 8);
	/* A page that may only be read, and one that may not be touched. */
	store_at(AT(1), 9);
	store_at(AT(2), 10);
	mprotect_at(AT(1), 1, PROT_READ);
	mprotect_at(AT(2), 1, PROT_NONE);
	cr_expect(move_at(AT(1)));
	cr_expect(move_at(AT(2)));
	cr_expect_eq(load_at(AT(1)), 9);
	cr_expect_eq(store_at(AT(1), 1), ACCERR);
	cr_expect_eq(touch_at(AT(2)), ACCERR);
	mprotect_at(AT(2), 1, PROT_READ);
	cr_expect_eq(load_at(AT(2)), 10);
	cr_expect_eq(sum_vm_event(PGMIGRATE_SUCCESS), 3);
	space_down();
}

Test(compaction, soft_dirty_goes_with_it)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 1);
	quire_clear_refs((struct quire_mm *)cur, 4);
	store_at(AT(1), 2);
	cr_expect(move_at(AT(0)));
	cr_expect(move_at(AT(1)));
	cr_expect_eq(quire_pagemap(cur, AT(0)) >> 55 & 1, 0);
	cr_expect_eq(quire_pagemap(cur, AT(1)) >> 55 & 1, 1);
	space_down();
}

Test(compaction, shared_after_fork)
{
	struct quire_mm *parent, *child;

	space_up();
	parent = cur;
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 5);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_expect(move_at(AT(0)));
	run_space(child);
	cr_expect_eq(load_at(AT(0)), 5);
	cr_expect_eq(pfn_at(AT(0)), quire_pagemap(parent, AT(0)) & ((1ull << 55) - 1));
	cr_expect_eq(FAULTS(store_at(AT(0), 6)), 1, "still to be copied");
	run_space(parent);
	cr_expect_eq(load_at(AT(0)), 5);
	space_put(child);
	space_down();
}

Test(compaction, pages_of_files)
{
	struct quire_inode *inode;
	struct quire_file *f;

	space_up();
	f = file_new(4, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE | QUIRE_FMODE_EXEC);
	inode = quire_file_inode(f);
	mmap_file(AT(0), 4, PROT_READ | PROT_EXEC, MAP_PRIVATE | FIX, f, 0);
	mmap_file(AT(8), 4, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(load_at(AT(1)) & 0xff, 2);
	store_at(AT(9), 0x77);
	cr_expect(move_at(AT(1)));
	cr_expect_eq(load_at(AT(1)), 0x77);
	cr_expect_eq(pfn_at(AT(1)), pfn_at(AT(9)));
	store_at(AT(9), 0x78);
	cr_expect_eq(load_at(AT(1)), 0x78);
	cr_expect_eq(exec_at(AT(1)), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 4);
	munmap_at(AT(0), 16);
	quire_file_put(f);
	space_down();
}

Test(compaction, who_holds_a_page_keeps_it)
{
	struct page *page;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 3);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	get_page(page);
	held = 1;
	cr_expect_not(move_at(AT(0)), "somebody reads or writes it by its frame");
	held = 0;
	cr_expect_eq(FAULTS(store_at(AT(0), 4)), 0, "as it was");
	put_page(page);
	trylock_page(page);
	cr_expect_not(move_at(AT(0)));
	unlock_page(page);
	down_write(&mm_now()->mmap_lock);
	{
		struct page *fresh = alloc_pages(GFP_KERNEL, 0);

		cr_assert(migrate_begin());
		cr_expect_not(migrate_begin(), "one at a time");
		cr_assert(get_page_unless_zero(page));
		cr_expect_eq(migrate_page(page, fresh), -EAGAIN, "the space is being changed");
		migrate_end();
	}
	up_write(&mm_now()->mmap_lock);
	cr_expect(move_at(AT(0)));
	cr_expect_eq(load_at(AT(0)), 4);
	/* Pages of the kernel's own do not move, nor do blocks. */
	page = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);
	cr_assert(migrate_begin());
	get_page(page);
	cr_expect_eq(migrate_page(page, alloc_pages(GFP_KERNEL, 0)), -EAGAIN);
	page->_refcount = 1;
	migrate_end();
	__free_pages(page, 1);
	space_down();
}

/* Fills memory with a space's pages and punches a hole beside each; returns how many pages. */
static unsigned fragment_pages(unsigned n)
{
	mmap_at(AT(0), n, RW, PRIV | FIX);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(store_at(AT(i), mark(i)), 0);
	for (unsigned i = 0; i < n; i += 2)
		cr_assert_eq(quire_madvise(cur, AT(i), PS, MADV_DONTNEED), 0);
	check_now();
	quire_drain();
	return n;
}

static unsigned fragment(void)
{
	return fragment_pages(11000);
}

static void check_marks(unsigned n)
{
	for (unsigned i = 1; i < n; i += 2)
		cr_assert_eq(load_at(AT(i)), mark(i));
}

static unsigned long free_blocks(unsigned least)
{
	unsigned long n = 0;
	struct zone *z;

	for_each_populated_zone(z)
		for (unsigned o = least; o < MAX_ORDER; o++)
			n += z->free_area[o].nr_free << (o - least);
	return n;
}

Test(compaction, makes_large_blocks)
{
	static struct page *p[64];
	unsigned n, got = 0, all;
	unsigned long scattered;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	n = fragment();
	scattered = free_blocks(9);
	while (got < 64 && (p[got] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 9)))
		got++;
	cr_expect_gt(got, scattered + 5, "%u of %lu", got, scattered);
	cr_expect_gt(sum_vm_event(COMPACTSTALL), 0);
	cr_expect_gt(sum_vm_event(COMPACTSUCCESS), 0);
	cr_expect_gt(sum_vm_event(PGMIGRATE_SUCCESS), 1000);
	check_now();
	check_marks(n);
	for (all = got; got;)
		__free_pages(p[--got], 9);
	cr_expect_eq(check_phys(), 0);
	(void)all;
	space_down();
}

/* The highest pageblock of which the fragmented memory has the rest, its neighbour in use as well:
 * free as a whole from now on. */
static struct pageblock *empty_highest_block(unsigned n)
{
	static unsigned users[1024];
	struct pageblock *b = NULL;

	for (unsigned i = 1; i < n; i += 2)
		users[pfn_at(AT(i)) >> PAGEBLOCK_ORDER]++;
	for (uint64_t pfn = 0; pfn < max_pfn; pfn += PAGEBLOCK_PAGES)
		if (users[pfn >> PAGEBLOCK_ORDER] &&
		    users[pfn >> PAGEBLOCK_ORDER] + block_nr_free(pfn_to_block(pfn)) ==
			    PAGEBLOCK_PAGES &&
		    block_nr_free(pfn_to_block(pfn ^ PAGEBLOCK_PAGES)) < PAGEBLOCK_PAGES)
			b = pfn_to_block(pfn);
	cr_assert(b);
	for (unsigned i = 1; i < n; i += 2)
		if (pfn_at(AT(i)) - b->pfn < PAGEBLOCK_PAGES)
			madvise_at(AT(i), 1, MADV_DONTNEED);
	quire_drain();
	cr_assert_eq(block_nr_free(b), PAGEBLOCK_PAGES);
	return b;
}

Test(compaction, on_request)
{
	struct pageblock *whole;
	unsigned n;
	unsigned long before;
	long v = 1;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	n = fragment();
	whole = empty_highest_block(n);
	before = free_blocks(9);
	cr_expect_eq(quire_sysctl_set("compact_memory", 1), 0);
	cr_expect_eq(quire_sysctl_get("compact_memory", &v), 0);
	cr_expect_eq(v, 0);
	check_now();
	cr_expect_gt(free_blocks(9), before + 5);
	cr_expect_eq(block_nr_free(whole), PAGEBLOCK_PAGES, "nothing moves into what is wanted");
	for (unsigned i = 1; i < n; i += 2)
		cr_assert(!pfn_at(AT(i)) || load_at(AT(i)) == mark(i));
	cr_expect_eq(check_phys(), 0);
	/* What may not wait gets nothing moved for it. */
	before = sum_vm_event(COMPACTSTALL);
	while (free_blocks(9))
		cr_assert(alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 9));
	cr_expect_null(alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 9));
	cr_expect_eq(sum_vm_event(COMPACTSTALL), before);
	exit(0); /* blocks are left on purpose */
}

Test(compaction, in_vain_is_not_repeated)
{
	static struct page *p[20000];
	unsigned long moved;
	unsigned n = 0;

	machine_up(48 * MIB, 1);
	/* Reserves and all, so that no large block is left. */
	while (n < ARRAY_SIZE(p) &&
	       (p[n] = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0)))
		n++;
	for (unsigned i = 0; i < n; i += 2) {
		__free_pages(p[i], 0);
		p[i] = NULL;
	}
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 5));
	moved = sum_vm_event(COMPACTMIGRATE_SCANNED);
	cr_expect_gt(moved, 0);
	for (unsigned i = 0; i < 10; i++)
		cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 5));
	cr_expect_lt(sum_vm_event(COMPACTMIGRATE_SCANNED), moved * 5, "deferred after failures");
	for (unsigned i = 0; i < n; i++)
		if (p[i])
			__free_pages(p[i], 0);
	machine_down();
}

/* ---- an attempt at a time ------------------------------------------------------------------- */

/* As the slow path asks: for a block of order, of this type, in any zone. */
static bool attempt(unsigned order, enum migratetype mt)
{
	struct alloc_context ac = {.zonelist = &node_zonelist, .migratetype = mt,
				   .highest_zoneidx = MAX_NR_ZONES - 1};
	bool worth;

	ac.preferred_zoneref = first_zones_zonelist(ac.zonelist, ac.highest_zoneidx);
	worth = try_to_compact_pages(GFP_KERNEL, order, ALLOC_WMARK_MIN, &ac);
	fake_core_returned();
	return worth;
}

/* The zone that is asked first. */
static struct zone *top_zone(void)
{
	return first_zones_zonelist(&node_zonelist, MAX_NR_ZONES - 1)->zone;
}

static struct page *owned[40000];
static unsigned nr_owned;

/* Every page there is belongs to the kernel now; of each group of eight, all but the first k are
 * free again. */
static void shred(unsigned k)
{
	struct page *page;

	nr_owned = 0;
	while (nr_owned < ARRAY_SIZE(owned) &&
	       (page = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0)))
		owned[nr_owned++] = page;
	for (unsigned i = 0; i < nr_owned; i++) {
		if (page_to_pfn(owned[i]).n % 16 < k)
			continue;
		__free_pages(owned[i], 0);
		owned[i] = NULL;
	}
	quire_drain();
}

static void give_back(void)
{
	for (unsigned i = 0; i < nr_owned; i++)
		if (owned[i])
			__free_pages(owned[i], 0);
}

/* 5.10: only large blocks, and what never moves, may take over another type's. */
Test(compaction, what_a_type_may_not_have_is_no_success)
{
	machine_up(64 * MIB * (PS / 4096), 1);
	shred(8); /* blocks of eight, all of them unmovable */
	cr_expect(attempt(3, MIGRATE_UNMOVABLE), "its own");
	cr_expect(attempt(3, MIGRATE_RECLAIMABLE), "it may have them");
	cr_expect_not(attempt(3, MIGRATE_MOVABLE));
	cr_expect_not(attempt(4, MIGRATE_UNMOVABLE), "there is none");
	give_back();
	machine_down();
}

Test(compaction, who_may_not_ask)
{
	struct alloc_context ac = {.zonelist = &node_zonelist, .highest_zoneidx = MAX_NR_ZONES - 1};
	uint64_t stalls;

	space_up();
	ac.preferred_zoneref = first_zones_zonelist(ac.zonelist, ac.highest_zoneidx);
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	stalls = sum_vm_event(COMPACTSTALL);
	cr_expect_not(try_to_compact_pages(GFP_NOIO, 1, ALLOC_WMARK_MIN, &ac));
	cr_assert(migrate_begin());
	cr_expect_not(attempt(1, MIGRATE_UNMOVABLE), "somebody else is at it");
	cr_expect_eq(compact_memory(), -EBUSY);
	cr_expect_not(migrate_begin(), "he still is");
	migrate_end();
	cr_expect_eq(sum_vm_event(COMPACTSTALL), stalls);
	cr_expect(attempt(1, MIGRATE_UNMOVABLE));
	cr_expect_eq(sum_vm_event(COMPACTSTALL), stalls + 1);
	space_down();
}

/* A zone where it failed is left alone for 1, 3, 7 .. 63 requests, as by 5.10, and no longer. */
Test(compaction, deferred_ever_longer)
{
	static const unsigned runs[] = {1, 3, 7, 15, 31, 63, 127, 191, 255};
	unsigned next = 0;

	machine_up(64 * MIB * (PS / 4096), 1);
	shred(8);
	for (unsigned i = 1; i <= 255; i++) {
		uint64_t before = sum_vm_event(COMPACTMIGRATE_SCANNED);

		cr_assert_not(attempt(5, MIGRATE_UNMOVABLE));
		if (sum_vm_event(COMPACTMIGRATE_SCANNED) == before)
			continue;
		cr_assert_eq(i, runs[next], "request %u runs, and %u should", i, runs[next]);
		next++;
	}
	cr_expect_eq(next, ARRAY_SIZE(runs));
	/* A smaller block is another question. */
	cr_expect(attempt(3, MIGRATE_UNMOVABLE));
	cr_expect_eq(top_zone()->compact_order_failed, 5);
	cr_expect_not(attempt(4, MIGRATE_UNMOVABLE));
	cr_expect_eq(top_zone()->compact_order_failed, 4);
	give_back();
	/* Now there are blocks: the zone counts as one that failed until somebody has one. */
	while (!attempt(6, MIGRATE_UNMOVABLE))
		;
	cr_expect_eq(top_zone()->compact_order_failed, 7);
	cr_expect_eq(top_zone()->compact_defer_shift, 6, "5.10: not before an allocation had it");
	machine_down();
}

Test(compaction, an_allocation_ends_the_wait)
{
	static struct page *p[64];
	unsigned got = 0;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	fragment();
	for (struct zone *z = zones; z < zones + MAX_NR_ZONES; z++) {
		z->compact_order_failed = 9;
		z->compact_defer_shift = 2;
	}
	for (unsigned i = 0; i < 64 && sum_vm_event(COMPACTSUCCESS) == 0; i++) {
		p[got] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 9);
		got += p[got] != NULL;
	}
	cr_assert_eq(sum_vm_event(COMPACTSUCCESS), 1);
	cr_expect_eq(page_zone(p[got - 1])->compact_defer_shift, 0);
	cr_expect_eq(page_zone(p[got - 1])->compact_considered, 0);
	cr_expect_eq(page_zone(p[got - 1])->compact_order_failed, 10);
	while (got)
		__free_pages(p[--got], 9);
	space_down();
}

/* Blocks for memory that moves are movable ones, so they come from its own list. */
Test(compaction, for_movable_memory)
{
	static struct page *p[64];
	unsigned n, got = 0;
	unsigned long before;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	n = fragment();
	before = free_blocks(9);
	while (got < 64 && (p[got] = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 9)))
		got++;
	cr_expect_gt(got, before + 5);
	check_marks(n);
	while (got)
		__free_pages(p[--got], 9);
	space_down();
}

/* The second run goes on where the first one stopped; if it finds nothing from there on, it begins
 * again at the bottom. */
Test(compaction, goes_on_where_it_stopped)
{
	uint64_t first_stop, stop, scanned;
	struct page *got;
	struct zone *z;
	unsigned n;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	n = fragment();
	z = top_zone();
	while ((got = alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 9)))
		;
	cr_assert(attempt(9, MIGRATE_UNMOVABLE));
	first_stop = z->compact_migrate_pfn;
	cr_expect_gt(z->compact_free_pfn, first_stop);
	cr_assert(alloc_pages(GFP_NOWAIT, 9));
	scanned = sum_vm_event(COMPACTMIGRATE_SCANNED);
	cr_assert(attempt(9, MIGRATE_UNMOVABLE));
	stop = z->compact_migrate_pfn;
	cr_expect_gt(stop, first_stop);
	cr_expect_eq(sum_vm_event(COMPACTMIGRATE_SCANNED) - scanned,
		     stop - first_stop + PAGEBLOCK_PAGES, "what lies before is not looked at again");
	cr_assert(alloc_pages(GFP_NOWAIT, 9));
	/* As after a run that stopped one pageblock before they meet, where nothing is to be had. */
	z->compact_migrate_pfn = z->compact_free_pfn - PAGEBLOCK_PAGES;
	stop = z->compact_free_pfn;
	cr_assert_eq(set_migratetype_isolate(pfn_to_page(PFN(z->compact_migrate_pfn))), 0);
	cr_assert(attempt(9, MIGRATE_UNMOVABLE));
	cr_expect_lt(z->compact_migrate_pfn, stop - PAGEBLOCK_PAGES);
	check_now();
	check_marks(n);
	exit(0); /* blocks are left on purpose */
}

/* Who is to die does not go on, and what he did not find is not held against the zone. */
Test(compaction, a_fatal_signal_ends_it)
{
	uint64_t scanned, stop;
	struct zone *z;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	fragment();
	z = top_zone();
	while (alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 9))
		;
	scanned = sum_vm_event(COMPACTMIGRATE_SCANNED);
	is_dying = true;
	cr_expect_not(attempt(10, MIGRATE_UNMOVABLE));
	cr_expect_eq(sum_vm_event(COMPACTMIGRATE_SCANNED) - scanned, PAGEBLOCK_PAGES);
	cr_expect_eq(z->compact_defer_shift, 0);
	cr_expect_eq(z->compact_order_failed, MAX_ORDER);
	/* In the middle, too. */
	is_dying = false;
	cr_assert(attempt(9, MIGRATE_UNMOVABLE));
	while (alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 9))
		;
	stop = z->compact_migrate_pfn;
	scanned = sum_vm_event(COMPACTMIGRATE_SCANNED);
	is_dying = true;
	cr_expect_not(attempt(10, MIGRATE_UNMOVABLE));
	cr_expect_eq(z->compact_migrate_pfn, stop);
	cr_expect_eq(sum_vm_event(COMPACTMIGRATE_SCANNED) - scanned, PAGEBLOCK_PAGES);
	cr_expect_eq(z->compact_defer_shift, 0);
	is_dying = false;
	check_now();
	exit(0); /* blocks are left on purpose */
}

/* As by 5.10, a costly request must leave a zone above its low mark, others above its least. */
Test(compaction, near_the_low_mark)
{
	unsigned long wanted;
	uint64_t scanned;
	struct zone *z;

	machine_up(64 * MIB * (PS / 4096), 1);
	z = top_zone();
	shred(16); /* nothing is free again */
	cr_assert_gt(z->watermark[WMARK_LOW], z->watermark[WMARK_MIN] + 8);
	wanted = (z->watermark[WMARK_LOW] + z->watermark[WMARK_MIN]) / 2 + (2 << 4) +
		 z->lowmem_reserve[MAX_NR_ZONES - 1];
	for (unsigned i = 0; i < nr_owned && z->nr_free < wanted; i++) {
		if (page_zone(owned[i]) != z || !(page_to_pfn(owned[i]).n & 1))
			continue;
		__free_pages(owned[i], 0);
		owned[i] = NULL;
		quire_drain();
	}
	scanned = sum_vm_event(COMPACTMIGRATE_SCANNED);
	cr_expect_not(attempt(4, MIGRATE_UNMOVABLE));
	cr_expect_eq(sum_vm_event(COMPACTMIGRATE_SCANNED), scanned);
	cr_expect_not(attempt(3, MIGRATE_UNMOVABLE));
	cr_expect_gt(sum_vm_event(COMPACTMIGRATE_SCANNED), scanned);
	give_back();
	machine_down();
}

/* Two movable pageblocks, full but for two pages in the upper one, amid single free pages. The two
 * lowest go up, the scanners meet there, and what they left behind is a block. */
Test(compaction, what_moved_last_counts)
{
	uint64_t first = UINT64_MAX, second = UINT64_MAX, pfn;
	struct page *page;
	unsigned n = 0, left = 2;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	while ((page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, PAGEBLOCK_ORDER))) {
		pfn = page_to_pfn(page).n;
		split_page(page, PAGEBLOCK_ORDER);
		for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
			owned[nr_owned++] = page + i;
		if (page_zone(page) != top_zone())
			continue;
		first = second;
		second = pfn;
	}
	cr_assert_neq(first, UINT64_MAX);
	if (first > second) {
		pfn = first;
		first = second;
		second = pfn;
	}
	while ((page = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0)))
		owned[nr_owned++] = page;
	for (unsigned i = 0; i < nr_owned; i++) {
		pfn = page_to_pfn(owned[i]).n;
		if (pfn - first >= PAGEBLOCK_PAGES && pfn - second >= PAGEBLOCK_PAGES &&
		    (!(pfn & 1) || get_pageblock_migratetype(owned[i]) == MIGRATE_MOVABLE))
			continue;
		__free_pages(owned[i], 0);
		owned[i] = NULL;
	}
	quire_drain();
	mmap_at(AT(0), 2 * PAGEBLOCK_PAGES, RW, PRIV | FIX);
	do { /* until both are full: tables and the like may have some of their pages */
		cr_assert_eq(store_at(AT(n), mark(n)), 0);
		pfn = pfn_at(AT(n++));
	} while (n < 2 * PAGEBLOCK_PAGES &&
		 (pfn - first < PAGEBLOCK_PAGES || pfn - second < PAGEBLOCK_PAGES));
	if (pfn - first >= PAGEBLOCK_PAGES && pfn - second >= PAGEBLOCK_PAGES)
		madvise_at(AT(n - 1), 1, MADV_DONTNEED);
	cr_assert_gt(n, PAGEBLOCK_PAGES * 3 / 2);
	for (unsigned i = n; left && i-- > 0;)
		if (pfn_at(AT(i)) - second < PAGEBLOCK_PAGES && !(pfn_at(AT(i)) & 1) && left--)
			madvise_at(AT(i), 1, MADV_DONTNEED);
	/* Nor may there be a block that a slab let go. */
	for (quire_drain(); free_blocks(1); quire_drain()) {
		page = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC, 1);
		split_page(page, 1);
		owned[nr_owned++] = page;
		owned[nr_owned++] = page + 1;
	}
	cr_expect(attempt(1, MIGRATE_UNMOVABLE));
	cr_expect_eq(sum_vm_event(PGMIGRATE_SUCCESS), 2);
	cr_expect_eq(free_blocks(1), 1);
	check_now();
	give_back();
	space_down();
}

/* Two holes in the middle of a zone, and a pageblock that is somebody's: passed by. */
Test(compaction, holes_and_isolated_blocks)
{
	const uint64_t sec = SECTION_PAGES * PS;
	const struct mem_range r[] = {
		{0, 2 * sec, MEM_RAM, "low"},
		{4 * sec, 7 * sec, MEM_RAM, "middle"},
		{9 * sec, 11 * sec, MEM_RAM, "high"},
	};
	unsigned n, mine = 0;
	uint64_t *pfns, first;
	unsigned long before;
	struct zone *z;

	space_up_cfg(&(struct fake_config){.ranges = r, .nranges = ARRAY_SIZE(r), .cpus = 1});
	z = top_zone();
	cr_assert_not(pfn_valid(PFN(3 * SECTION_PAGES)) || pfn_valid(PFN(8 * SECTION_PAGES)));
	n = fragment_pages(free_pages_now() - 700);
	pfns = calloc(n, sizeof(*pfns));
	for (unsigned i = 1; i < n; i += 2)
		pfns[i] = pfn_at(AT(i));
	/* The pageblock of a page in the middle of those that would move. */
	first = 0;
	for (unsigned i = 1; i < n; i += 2)
		if (pfns[i] >= z->zone_start_pfn + PAGEBLOCK_PAGES && pfns[i] < 5 * SECTION_PAGES &&
		    pfns[i] > first)
			first = pfns[i];
	first = ALIGN_DOWN(first, (uint64_t)PAGEBLOCK_PAGES);
	cr_assert_eq(set_migratetype_isolate(pfn_to_page(PFN(first))), 0);
	before = free_blocks(9);
	cr_expect_gt(compact_memory(), 100);
	check_now();
	cr_expect_gt(free_blocks(9), before + 5);
	for (unsigned i = 1; i < n; i += 2) {
		bool was = pfns[i] - first < PAGEBLOCK_PAGES;

		mine += was;
		cr_assert_eq(pfn_at(AT(i)) - first < PAGEBLOCK_PAGES, was, "page %u", i);
	}
	cr_expect_gt(mine, 0);
	check_marks(n);
	unset_migratetype_isolate(pfn_to_page(PFN(first)), MIGRATE_MOVABLE);
	cr_expect_eq(check_phys(), 0);
	free(pfns);
	space_down();
}

static uint32_t begun;

/* Moves pages until somebody waits for the end of it. */
static void moves_until_awaited(void *arg)
{
	uint32_t before;

	cr_assert(migrate_begin());
	before = __atomic_load_n(&slept, __ATOMIC_SEQ_CST);
	__atomic_store_n(&begun, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&slept, __ATOMIC_SEQ_CST) == before)
		hal_cpu_relax();
	migrate_end();
}

/* Who asks for it gets it, whoever else is at it at the moment. */
Test(compaction, an_order_waits_for_the_run_under_way, .timeout = 60)
{
	unsigned long moved;
	unsigned n;

	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 2}, NULL);
	fake_on_fault(space_fault, NULL);
	run_space(space_new());
	n = fragment();
	moved = sum_vm_event(PGMIGRATE_SUCCESS);
	cr_assert_eq(fake_cpu_start(1, moves_until_awaited, NULL), 0);
	while (!__atomic_load_n(&begun, __ATOMIC_SEQ_CST))
		hal_cpu_relax();
	cr_expect_eq(quire_sysctl_set("compact_memory", 1), 0);
	fake_cpu_join(1);
	cr_expect_gt(sum_vm_event(PGMIGRATE_SUCCESS), moved);
	check_marks(n);
	space_down();
}

/* A free page that was damaged is told and counted, and never used; its neighbours are. */
Test(compaction, a_damaged_free_page_is_lost)
{
	struct page *bad = NULL;
	unsigned n;

	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1},
		       &(struct quire_config){.params = "bad_page=contain"});
	fake_on_fault(space_fault, NULL);
	run_space(space_new());
	n = fragment();
	for (uint64_t pfn = 0; pfn < max_pfn; pfn++)
		if (pfn_valid(PFN(pfn)) && PageBuddy(pfn_to_page(PFN(pfn))) &&
		    get_pageblock_migratetype(pfn_to_page(PFN(pfn))) == MIGRATE_MOVABLE &&
		    !PageBuddy(pfn_to_page(PFN(pfn ^ 1))))
			bad = pfn_to_page(PFN(pfn));
	cr_assert(bad);
	bad->_mapcount = 0;
	compact_memory();
	cr_expect_eq(nr_bad_pages(), 1);
	cr_expect_eq(nr_lost_pages(), 1);
	check_marks(n);
	for (unsigned i = 1; i < n; i += 2)
		cr_assert_neq(pfn_at(AT(i)), page_to_pfn(bad).n);
	exit(0); /* a page is lost on purpose */
}

/* ---- at the same time ------------------------------------------------------------------------ */

static volatile bool stop;
static unsigned long rounds;

/* Uses its memory, gives parts of it back, forks and lets go, all while pages move. */
static void user(void *arg)
{
	struct quire_mm *mine = cur;
	unsigned n = 600;

	run_space(mine);
	for (rounds = 0; !stop || rounds < 3; rounds++) {
		for (unsigned i = 0; i < n; i++)
			cr_assert_eq(store_at(AT(i), mark(i) + rounds), 0);
		for (unsigned i = 0; i < n; i += 3)
			cr_assert_eq(quire_madvise(mine, AT(i), PS, MADV_DONTNEED), 0);
		for (unsigned i = 0; i < n; i++) {
			uint64_t v = 1;

			cr_assert(fake_user_load(AT(i), 8, &v, NULL));
			cr_assert_eq(v, i % 3 ? mark(i) + rounds : 0);
		}
		if (rounds % 8 == 0) {
			struct quire_mm *child;

			cr_assert_eq(quire_mm_fork(mine, NULL, &child), 0);
			quire_mm_put(child);
		}
	}
	run_space(NULL);
}

Test(compaction, while_the_memory_is_used, .timeout = 60)
{
	struct quire_mm *mm;
	unsigned long moved = 0;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	mm = cur;
	mmap_at(AT(0), 600, RW, PRIV | FIX);
	cr_assert_eq(fake_cpu_start(1, user, NULL), 0);
	/* A space that is being changed is passed by: until some were met at rest. */
	for (unsigned i = 0; i < 60 || (!moved && i < 100000); i++) {
		moved += compact_memory();
		fake_core_returned();
	}
	stop = true;
	fake_cpu_join(1);
	cur = mm;
	run_space(mm);
	cr_expect_gt(moved, 0);
	cr_expect_gt(rounds, 2);
	check_now();
	space_down();
}
