/* SPDX-License-Identifier: MIT */
/*
 * Migrate types of pageblocks: which pageblock serves which kind of page (anti-fragmentation). A
 * request takes from pageblocks of its own type; when they are empty it falls back to another type
 * and steals there, from the largest block first. Where that is worth it the whole pageblock
 * changes its type, so that unmovable pages stay together (Linux 5.10's rules: can_steal_fallback,
 * steal_suitable_fallback, boost_watermark).
 *
 * All free pages of a pageblock are on the lists of its type, so those of a pageblock that was
 * stolen from and kept its type cannot be moved to the thief's lists, as 5.10 does. Instead the
 * zone remembers the pageblock (stolen_from[]) and steals from it again first: the mixing stays in
 * one pageblock all the same.
 *
 * HIGHATOMIC pageblocks, at most 1 % of a zone, are a reserve for larger blocks that may not wait.
 * ISOLATE takes a pageblock's free pages out of use. Everything here is under zone->lock.
 */
#include "lib/bits.h"
#include "mm/base/sysctl.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_alloc.h"
#include <quire/abi.h>

const char *const migratetype_names[MIGRATE_TYPES] = {
	[MIGRATE_UNMOVABLE] = "Unmovable",     [MIGRATE_MOVABLE] = "Movable",
	[MIGRATE_RECLAIMABLE] = "Reclaimable", [MIGRATE_HIGHATOMIC] = "HighAtomic",
	[MIGRATE_ISOLATE] = "Isolate",
};

/* The types to steal from, best fit first (5.10's order). */
static const uint8_t fallbacks[MIGRATE_PCPTYPES][2] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

bool looks_movable(const struct page *p)
{
	return page_count(p) > 0 && READ_ONCE(p->mapping) &&
	       !(__atomic_load_n(&p->flags, __ATOMIC_RELAXED) &
		 (1ul << PG_slab | 1ul << PG_table | 1ul << PG_reserved | 1ul << PG_head |
		  1ul << PG_tail));
}

/* Pages in use of the pageblock that could be moved elsewhere. */
static unsigned count_movable(const struct pageblock *b)
{
	const struct page *p = pfn_to_page(PFN(b->pfn));
	unsigned n = 0;

	assert_held(&page_zone(p)->lock);
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
		n += !(b->free[i / 64] >> (i & 63) & 1) && looks_movable(p + i);
	return n;
}

/* Whether the whole pageblock may change its type. A large block is most of it anyway; and
 * unmovable pages had better fill one pageblock of another type than be spread over several. */
static bool can_steal_fallback(unsigned order, unsigned start_mt)
{
	ASSERT_DEBUG(start_mt < MIGRATE_PCPTYPES);
	return order >= PAGEBLOCK_ORDER / 2 || start_mt == MIGRATE_RECLAIMABLE ||
	       start_mt == MIGRATE_UNMOVABLE;
}

int find_suitable_fallback(const struct free_area *area, unsigned order, unsigned mt,
			   bool *can_steal)
{
	ASSERT_DEBUG(mt < MIGRATE_PCPTYPES);
	*can_steal = can_steal_fallback(order, mt);
	if (!area->nr_free)
		return -1;
	for (unsigned i = 0; i < 2; i++)
		if (!list_empty(&area->free_list[fallbacks[mt][i]]))
			return fallbacks[mt][i];
	return -1;
}

/* Types were mixed: have kswapd free more than usual, so that it need not happen again soon.
 * Without kswapd the mark would never come down again. */
static void boost_watermark(struct zone *z, unsigned alloc_flags)
{
	unsigned long most;

	assert_held(&z->lock);
	if (!kswapd_is_running() || !(alloc_flags & ALLOC_KSWAPD))
		return;
	if (PAGEBLOCK_PAGES * 4 > z->managed_pages)
		return;
	most = z->watermark[WMARK_HIGH] * (unsigned long)vm_sysctl.watermark_boost_factor / 10000;
	if (!most)
		return;
	most = max(most, PAGEBLOCK_PAGES);
	WRITE_ONCE(z->watermark_boost, min(z->watermark_boost + PAGEBLOCK_PAGES, most));
	zone_marks_changed(z);
}

/*
 * b, of another type, has a free block of this order. True if it now belongs to start_mt: a whole
 * pageblock at once, a part of one if at least half of it is free or of the same kind.
 */
static bool steal_suitable_fallback(struct zone *z, struct pageblock *b, unsigned order,
				    unsigned start_mt, bool whole_block, unsigned alloc_flags)
{
	unsigned free, movable, alike = 0, old = block_type(b);

	assert_held(&z->lock);
	if (order >= PAGEBLOCK_ORDER) {
		set_block_type(z, b, start_mt);
		if (order > PAGEBLOCK_ORDER)
			set_block_type(z, b + 1, start_mt);
		return true;
	}
	boost_watermark(z, alloc_flags);
	if (!whole_block)
		return false;
	free = block_nr_free(b);
	movable = count_movable(b);
	if (start_mt == MIGRATE_MOVABLE)
		alike = movable;
	else if (old == MIGRATE_MOVABLE)
		alike = PAGEBLOCK_PAGES - (free + movable);
	if (free + alike < PAGEBLOCK_PAGES / 2)
		return false;
	set_block_type(z, b, start_mt);
	return true;
}

/* Steals from the same pageblock as the last time, if it still has something. */
static struct page *steal_again(struct zone *z, unsigned order, unsigned start_mt)
{
	struct pageblock *b = z->stolen_from[start_mt];
	struct page *page;
	unsigned mt;

	assert_held(&z->lock);
	ASSERT_DEBUG(start_mt < MIGRATE_PCPTYPES);
	if (!b)
		return NULL;
	mt = block_type(b);
	page = mt == fallbacks[start_mt][0] || mt == fallbacks[start_mt][1] ?
		       rmqueue_from_block(z, b, order, mt) :
		       NULL;
	if (!page)
		z->stolen_from[start_mt] = NULL;
	return page;
}

/* Steals a page or block from another type's pageblocks; NULL: there is nothing. */
static struct page *__rmqueue_fallback(struct zone *z, unsigned order, unsigned start_mt,
				       unsigned alloc_flags)
{
	unsigned least = order;
	bool can_steal = false, whole;
	struct pageblock *b;
	struct page *page;
	int mt = -1, o;

	assert_held(&z->lock);
	ASSERT_DEBUG(order < MAX_ORDER);
	if (alloc_flags & ALLOC_NOFRAGMENT)
		least = max(order, (unsigned)PAGEBLOCK_ORDER);
	else if ((page = steal_again(z, order, start_mt)) != NULL)
		return page;
	/* The largest first: one large steal mixes less than many small ones. */
	for (o = MAX_ORDER - 1; o >= (int)least; o--) {
		mt = find_suitable_fallback(&z->free_area[o], o, start_mt, &can_steal);
		if (mt >= 0)
			break;
	}
	if (mt < 0)
		return NULL;
	/* A movable page that cannot have the pageblock: then split the smallest block there is. */
	if (!can_steal)
		for (o = order;; o++) {
			mt = find_suitable_fallback(&z->free_area[o], o, start_mt, &can_steal);
			if (mt >= 0)
				break;
		}
	b = first_block(z, o, mt);
	whole = steal_suitable_fallback(z, b, o, start_mt, can_steal, alloc_flags);
	page = rmqueue_from_block(z, b, order, block_type(b));
	if (!page && o == MAX_ORDER - 1) /* whole and merged: the lists have it */
		page = __rmqueue_smallest(z, order, block_type(b));
	if (!whole)
		z->stolen_from[start_mt] = b;
	if (page)
		trace_page_alloc_extfrag(page_to_pfn(page).n, order, o, start_mt, mt, whole);
	return page;
}

struct page *__rmqueue(struct zone *z, unsigned order, unsigned mt, unsigned alloc_flags)
{
	struct page *page = __rmqueue_smallest(z, order, mt);

	assert_held(&z->lock);
	if (unlikely(!page))
		page = __rmqueue_fallback(z, order, mt, alloc_flags);
	return page;
}

unsigned rmqueue_bulk(struct zone *z, unsigned order, unsigned n, struct page **out, unsigned mt,
		      unsigned alloc_flags)
{
	unsigned left = n;

	assert_held(&z->lock);
	while (left) {
		bool half = left <= n / 2;
		struct page *page;
		uint64_t run = rmqueue_run(z, order, mt, left, !half, &page);

		if (unlikely(!run)) {
			if (half)
				break;
			page = __rmqueue_fallback(z, order, mt, alloc_flags);
			if (!page)
				break;
			run = 1;
		}
		for (; run; run >>= 1, page += 1ul << order)
			if (likely(run & 1)) {
				set_pcp_flag(page, true);
				out[--left] = page;
			}
	}
	if (unlikely(left))
		for (unsigned i = left; i < n; i++)
			out[i - left] = out[i];
	return n - left;
}

/* ---- HIGHATOMIC: the reserve for requests that may not wait ---------------------------------- */

void reserve_highatomic_pageblock(struct page *page, struct zone *z)
{
	struct pageblock *b = pfn_to_block(page_to_pfn(page).n);
	unsigned long most = z->managed_pages / 100 + PAGEBLOCK_PAGES;
	irqflags_t flags;

	ASSERT(page_zone(page) == z);
	if (z->nr_reserved_highatomic >= most)
		return;
	spin_lock_irqsave(&z->lock, flags);
	if (z->nr_reserved_highatomic < most && block_type(b) < MIGRATE_PCPTYPES) {
		z->nr_reserved_highatomic += PAGEBLOCK_PAGES;
		set_block_type(z, b, MIGRATE_HIGHATOMIC);
		zone_marks_changed(z);
	}
	spin_unlock_irqrestore(&z->lock, flags);
}

/* One pageblock of the zone that has a free page. zone->lock held. */
static bool unreserve_one(struct zone *z)
{
	assert_held(&z->lock);
	for (unsigned o = 0; o < MAX_ORDER; o++) {
		struct pageblock *b = first_block(z, o, MIGRATE_HIGHATOMIC);

		if (!b)
			continue;
		z->nr_reserved_highatomic -= min(z->nr_reserved_highatomic, PAGEBLOCK_PAGES);
		/* MOVABLE, because that is what most requests under pressure ask for. */
		set_block_type(z, b, MIGRATE_MOVABLE);
		zone_marks_changed(z);
		return true;
	}
	return false;
}

bool unreserve_highatomic_pageblock(struct zonelist *zl, unsigned highest, bool force)
{
	struct zoneref *ref;
	struct zone *zone;
	bool found = false;

	for_each_zone_zonelist_nodemask(zone, ref, zl, highest, NULL) {
		irqflags_t flags;

		if (!force && zone->nr_reserved_highatomic <= PAGEBLOCK_PAGES)
			continue;
		spin_lock_irqsave(&zone->lock, flags);
		found = unreserve_one(zone);
		spin_unlock_irqrestore(&zone->lock, flags);
		if (found)
			break;
	}
	return found;
}

/* ---- ISOLATE: pageblocks out of use ---------------------------------------------------------- */

/* A page that is neither free, nor on a CPU's list, nor movable. zone->lock held. */
static bool has_unmovable_pages(const struct pageblock *b)
{
	const struct page *p = pfn_to_page(PFN(b->pfn));

	assert_held(&page_zone(p)->lock);
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++) {
		if (b->free[i / 64] >> (i & 63) & 1 || page_test(p + i, PG_pcp))
			continue;
		if (page_count(p + i) && !looks_movable(p + i))
			return true;
	}
	return false;
}

int set_migratetype_isolate(struct page *page)
{
	struct pageblock *b = pfn_to_block(page_to_pfn(page).n);
	struct zone *z = page_zone(page);
	irqflags_t flags;
	int err = 0;

	spin_lock_irqsave(&z->lock, flags);
	if (block_type(b) == MIGRATE_ISOLATE || has_unmovable_pages(b))
		err = -EBUSY;
	else
		set_block_type(z, b, MIGRATE_ISOLATE);
	spin_unlock_irqrestore(&z->lock, flags);
	return err;
}

void unset_migratetype_isolate(struct page *page, unsigned mt)
{
	struct pageblock *b = pfn_to_block(page_to_pfn(page).n);
	struct zone *z = page_zone(page);
	irqflags_t flags;

	ASSERT(mt != MIGRATE_ISOLATE);
	spin_lock_irqsave(&z->lock, flags);
	if (block_type(b) == MIGRATE_ISOLATE)
		set_block_type(z, b, mt);
	spin_unlock_irqrestore(&z->lock, flags);
}
