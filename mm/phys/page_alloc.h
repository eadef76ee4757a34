/* SPDX-License-Identifier: MIT */
/* The page allocator inside mm/: struct alloc_context, ALLOC_* flags, watermarks, draining,
 * splitting, bulk allocation. (alloc_pages() itself is public: quire/quire.h.) */
#ifndef MM_PAGE_ALLOC_H
#define MM_PAGE_ALLOC_H

#include "mm/base/fail_inject.h"
#include "mm/base/mmzone.h"
#include "mm/phys/hooks.h"
#include <quire/quire.h>

/* What one request may use: fixed at its start, handed down by pointer. */
struct alloc_context {
	struct zonelist *zonelist;
	nodemask_t *nodemask; /* always NULL */
	struct zoneref *preferred_zoneref;
	enum migratetype migratetype;
	enum zone_type highest_zoneidx;
	bool spread_dirty_pages;
	uintptr_t ip; /* the caller, for page_owner */
};

/* alloc_flags: which watermark holds, and what may be done below it. */
#define ALLOC_WMARK_MIN	     WMARK_MIN
#define ALLOC_WMARK_LOW	     WMARK_LOW
#define ALLOC_WMARK_HIGH     WMARK_HIGH
#define ALLOC_WMARK_MASK     0x03u
#define ALLOC_NO_WATERMARKS  0x04u
#define ALLOC_OOM	     0x08u /* half of the min watermark: an OOM victim */
#define ALLOC_HARDER	     0x10u /* three quarters of it */
#define ALLOC_HIGH	     0x20u /* half of it, first */
#define ALLOC_NOFRAGMENT     0x40u /* take no foreign block smaller than a pageblock */
#define ALLOC_KSWAPD	     0x80u /* the background may be woken */

/* ---- watermark.c, pcp.c ----------------------------------------------------------------------- */
/* What the page cache and user memory cannot have: the high marks and the largest reserves of all zones. */
unsigned long totalreserve_pages(void);

/* Start-up of one zone's lists (locks, counts). */
void zone_init_free_lists(struct zone *z);
/* Batch size and limit of the zone's per-CPU lists, from its managed pages. */
void zone_pcp_setup(struct zone *z);
/* Puts 2^order frames, never handed out before, into the buddy. */
void free_pages_core(struct page *page, unsigned order);

/* True if order pages may be taken without breaking mark and the zone's reserve. */
bool zone_watermark_ok(const struct zone *z, unsigned order, unsigned long mark,
		       enum zone_type highest_zoneidx, unsigned alloc_flags);
/* The same if free pages were free. */
bool __zone_watermark_ok(const struct zone *z, unsigned order, unsigned long mark,
			 enum zone_type highest_zoneidx, unsigned alloc_flags, long free);
/* The same; GFP_ATOMIC requests for a single page may ignore the boost. */
bool zone_watermark_slow(const struct zone *z, unsigned order, unsigned long mark,
			 enum zone_type highest_zoneidx, unsigned alloc_flags, gfp_t gfp);
/* The zone's boost or reserve changed: recomputes what the fast path compares with. */
void zone_marks_changed(struct zone *z);
/* The background is done: the marks go back to where they belong. Takes zone->lock. */
void zone_boost_reset(struct zone *z);

/* Drain the per-CPU lists of this CPU, or of all (with several CPUs interrupts must be on for it).
 * Context: any; drain_all_pages: sleep. */
void drain_local_pages(void);
void drain_all_pages(void);
/* Free pages: in the buddy, and on per-CPU lists. */
unsigned long nr_free_buddy(void);
unsigned long nr_free_pcp(const struct zone *z);
/* Free pages that user memory could take without swapping: MemAvailable. */
unsigned long si_mem_available(void);

struct pageblock;
/* Allocates a free page of a movable pageblock as a migration target, watermarks or not: its source
 * is freed in return. NULL: none, or the block is free as a whole, which is what compaction is for.
 * Takes zone->lock. */
struct page *compact_take_page(struct zone *z, struct pageblock *b);

/* Splits one allocation of 2^order into single pages, each with a reference of its own. */
void split_page(struct page *page, unsigned order);

static inline struct page *compound_head(const struct page *p)
{
	return page_test(p, PG_tail) ? p->mapping : (struct page *)p;
}

static inline unsigned compound_order(const struct page *head)
{
	return page_test(head, PG_head) ? (unsigned)head->private : 0;
}

/* Allocations of pages since the start, for failure injection. */
uint64_t page_allocs_seen(void);

#endif
