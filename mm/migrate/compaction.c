/* SPDX-License-Identifier: MIT */
/*
 * Compaction: makes large free blocks by moving pages (direct compaction, compact_memory). Two
 * scanners walk a zone towards each other. The one from below looks for pages that
 * can be moved, the one from above for free ones in movable pageblocks; what the first finds goes
 * to what the second finds, so that the bottom empties. It ends when a block of the wanted order
 * appeared, or when they meet. The next run goes on where this one stopped.
 *
 * A run that met without success makes the zone wait: 1, 3, 7 ... up to 63 requests of that order
 * or larger are turned away before the next attempt (Linux's compaction_deferred).
 *
 * Locks: none held between pages; one run at a time in the machine (migrate_begin).
 */
#include "mm/migrate/compaction.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/migrate/migrate.h"
#include "mm/phys/buddy.h"
#include <quire/abi.h>
#include <quire/os.h>

#define COMPACT_MAX_DEFER_SHIFT 6

struct compact_control {
	struct zone *zone;
	uint64_t migrate_pfn; /* the pageblock that is being emptied */
	uint64_t free_pfn;    /* the one that is being filled */
	int order;	      /* wanted; -1: the whole zone */
	unsigned mt;	      /* of the request */
	unsigned long moved;
	bool daemon; /* for the background, which counts apart */
	bool killed; /* a fatal signal ended it early: it says nothing of the zone */
};

static bool block_to_be_had(struct zone *z, unsigned order, unsigned mt)
{
	bool can_steal;

	assert_held(&z->lock);
	return !list_empty(&z->free_area[order].free_list[mt]) ||
	       (find_suitable_fallback(&z->free_area[order], order, mt, &can_steal) >= 0 &&
		can_steal);
}

/* A block of the order that the request could have, or would be given by stealing. */
static bool compact_finished(const struct compact_control *cc)
{
	struct zone *z = cc->zone;
	bool found = false;
	irqflags_t flags;

	ASSERT(cc->order < MAX_ORDER);
	if (cc->order < 0)
		return false;
	spin_lock_irqsave(&z->lock, flags);
	for (unsigned o = cc->order; o < MAX_ORDER && !found; o++)
		found = block_to_be_had(z, o, cc->mt);
	spin_unlock_irqrestore(&z->lock, flags);
	return found;
}

/* The next free page from above; NULL: the scanners met. */
static struct page *isolate_freepage(struct compact_control *cc)
{
	ASSERT(migrate_running());
	while (cc->free_pfn > cc->migrate_pfn) {
		struct page *page = NULL;

		if (pfn_valid(PFN(cc->free_pfn))) {
			page = compact_take_page(cc->zone, pfn_to_block(cc->free_pfn));
			count_vm_events(COMPACTFREE_SCANNED, page ? 1 : PAGEBLOCK_PAGES);
			if (cc->daemon)
				count_vm_events(KCOMPACTD_FREE_SCANNED,
						page ? 1 : PAGEBLOCK_PAGES);
		}
		if (page)
			return page;
		cc->free_pfn -= PAGEBLOCK_PAGES;
	}
	return NULL;
}

/* Moves one page out of the way if it can be. False: there is nothing left to move to. */
static bool compact_page(struct compact_control *cc, struct page *page)
{
	struct page *fresh;

	ASSERT(migrate_running());
	/* A look without the lock spares most frames it: what is on no list is not for us. */
	if (PageBuddy(page) || !page_test(page, PG_lru) || !looks_movable(page) ||
	    !isolate_lru_frame(page))
		return true;
	fresh = isolate_freepage(cc);
	if (!fresh) {
		putback_lru_page(page);
		return false;
	}
	count_vm_events(COMPACTISOLATED, 2);
	cc->moved += migrate_isolated_page(page, fresh) == 0;
	return true;
}

/* Empties one pageblock as far as it goes. False: the scanners met. */
static bool compact_block(struct compact_control *cc)
{
	struct page *page = pfn_to_page(PFN(cc->migrate_pfn));
	unsigned long before = cc->moved;

	ASSERT(IS_ALIGNED(cc->migrate_pfn, PAGEBLOCK_PAGES));
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
		if (!compact_page(cc, page + i))
			return false;
	count_vm_events(COMPACTMIGRATE_SCANNED, PAGEBLOCK_PAGES);
	if (cc->daemon)
		count_vm_events(KCOMPACTD_MIGRATE_SCANNED, PAGEBLOCK_PAGES);
	/* What was freed lies on this CPU's list: only together does it make a block. */
	if (cc->moved != before)
		drain_local_pages();
	return true;
}

/* Between migrate_begin() and _end(). True: a block of cc->order is there. */
static bool compact_zone(struct compact_control *cc)
{
	struct zone *z = cc->zone;
	uint64_t first = ALIGN_DOWN(z->zone_start_pfn, (uint64_t)PAGEBLOCK_PAGES);
	uint64_t last = ALIGN_DOWN(z->zone_start_pfn + z->spanned_pages - 1,
				   (uint64_t)PAGEBLOCK_PAGES);
	bool whole, found = false;

	ASSERT(migrate_running());
	ASSERT(z->spanned_pages);
	cc->migrate_pfn = z->compact_migrate_pfn;
	cc->free_pfn = z->compact_free_pfn;
	if (cc->order < 0 || cc->migrate_pfn >= cc->free_pfn) { /* both 0: never yet */
		cc->migrate_pfn = first;
		cc->free_pfn = last;
	}
	whole = cc->migrate_pfn == first;
	for (; cc->migrate_pfn < cc->free_pfn; cc->migrate_pfn += PAGEBLOCK_PAGES) {
		if (pfn_valid(PFN(cc->migrate_pfn)) &&
		    block_type(pfn_to_block(cc->migrate_pfn)) != MIGRATE_ISOLATE &&
		    !compact_block(cc))
			break;
		found = compact_finished(cc);
		cc->killed = !found && os_fatal_signal_pending();
		if (found || cc->killed)
			break;
		os_cond_resched();
	}
	z->compact_migrate_pfn = cc->migrate_pfn;
	z->compact_free_pfn = cc->free_pfn;
	drain_all_pages();
	found = found || compact_finished(cc);
	/* A run that began in the middle says nothing of what lies before. */
	if (!found && !whole && !cc->killed) {
		z->compact_free_pfn = 0;
		return compact_zone(cc);
	}
	return found;
}

/* ---- leaving a zone alone for a while -------------------------------------------------------- */

static void defer_compaction(struct zone *z, int order)
{
	ASSERT(order >= 0 && order < MAX_ORDER);
	z->compact_considered = 0;
	if (z->compact_defer_shift < COMPACT_MAX_DEFER_SHIFT)
		z->compact_defer_shift++;
	z->compact_order_failed = min(z->compact_order_failed, order);
}

static bool compaction_deferred(struct zone *z, int order)
{
	ASSERT(z->compact_defer_shift <= COMPACT_MAX_DEFER_SHIFT);
	if (order < z->compact_order_failed)
		return false;
	return ++z->compact_considered < 1u << z->compact_defer_shift;
}

void compaction_defer_reset(struct zone *z, int order, bool alloc_success)
{
	ASSERT(order >= 0 && order < MAX_ORDER);
	if (alloc_success) {
		z->compact_considered = 0;
		z->compact_defer_shift = 0;
	}
	if (order >= z->compact_order_failed)
		z->compact_order_failed = order + 1;
}

/* Enough free pages, whatever their order, that moving can help at all. A costly request must not
 * take a zone down to its last pages, as 5.10 has it. */
bool compaction_suitable(const struct zone *z, unsigned order, unsigned highest)
{
	unsigned mark = order > PAGE_ALLOC_COSTLY_ORDER ? WMARK_LOW : WMARK_MIN;

	ASSERT(order < MAX_ORDER);
	return zone_watermark_ok(z, 0, z->watermark[mark] + (2ul << order), highest, 0);
}

bool try_to_compact_pages(gfp_t gfp, unsigned order, unsigned alloc_flags,
			  const struct alloc_context *ac)
{
	bool worth = false;

	ASSERT(order);
	if (!(gfp & __GFP_IO) || !migrate_begin())
		return false;
	count_vm_event(COMPACTSTALL);
	for (struct zoneref *ref = ac->preferred_zoneref; ref->zone && !worth; ref++) {
		struct zone *z = ref->zone;
		struct compact_control cc = {.zone = z, .order = order, .mt = ac->migratetype};

		if (!compaction_suitable(z, order, ac->highest_zoneidx) ||
		    compaction_deferred(z, order))
			continue;
		worth = compact_zone(&cc);
		if (cc.killed)
			break;
		if (worth)
			compaction_defer_reset(z, order, false);
		else
			defer_compaction(z, order);
	}
	migrate_end();
	return worth;
}

void compact_node(unsigned order, unsigned highest)
{
	struct zone *z;

	might_sleep();
	if (!migrate_begin())
		return;
	for_each_populated_zone(z) {
		struct compact_control cc = {.zone = z, .order = order, .mt = MIGRATE_MOVABLE,
					     .daemon = true};

		/* A block that is there already, or that will not be for want of free pages. */
		if (z->idx > highest ||
		    zone_watermark_ok(z, order, z->watermark[WMARK_LOW], highest, 0) ||
		    !compaction_suitable(z, order, highest) || compaction_deferred(z, order))
			continue;
		if (compact_zone(&cc))
			compaction_defer_reset(z, order, false);
		else if (!cc.killed)
			defer_compaction(z, order);
	}
	migrate_end();
}

/* Between migrate_begin() and _end(). Pages moved. */
static long compact_zones(void)
{
	long moved = 0;
	struct zone *z;

	ASSERT(migrate_running());
	for_each_populated_zone(z) {
		struct compact_control cc = {.zone = z, .order = -1};

		compact_zone(&cc);
		moved += cc.moved;
	}
	return moved;
}

long compact_memory(void)
{
	long moved;

	might_sleep();
	if (!migrate_begin())
		return -EBUSY;
	moved = compact_zones();
	migrate_end();
	return moved;
}
