/* SPDX-License-Identifier: MIT */
/*
 * Zones of physical memory, their free areas and per-CPU page lists, and the list of zones that an
 * allocation may use. One memory node; the names are the documents'.
 */
#ifndef MM_MMZONE_H
#define MM_MMZONE_H

#include "lib/list.h"
#include "lib/spinlock.h"
#include "mm/page.h"

enum zone_type { ZONE_DMA, ZONE_DMA32, ZONE_NORMAL, ZONE_MOVABLE, MAX_NR_ZONES };

/* The first three have per-CPU lists; the order is that of Linux 5.10's reports. */
enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_PCPTYPES,
	MIGRATE_HIGHATOMIC = MIGRATE_PCPTYPES,
	MIGRATE_ISOLATE,
	MIGRATE_TYPES
};
/* The documents' name for a type that 5.10 does not have: every frame is mapped, none is "high". */
#define MIGRATE_HIGHMEM MIGRATE_MOVABLE

#define PAGEBLOCK_ORDER 9 /* pages grouped by mobility: 512, a huge page */
#define PAGEBLOCK_PAGES (1ul << PAGEBLOCK_ORDER)
#define SECTION_ORDER	12 /* unit in which the vmemmap is populated: 4,096 pages */
#define SECTION_PAGES	(1ul << SECTION_ORDER)
#define PAGE_ALLOC_COSTLY_ORDER 3 /* larger requests may fail rather than kill */

enum zone_watermarks { WMARK_MIN, WMARK_LOW, WMARK_HIGH, NR_WMARK };

struct free_area {
	struct list_head free_list[MIGRATE_TYPES];
	unsigned long nr_free; /* blocks, all types together; lock, read by anyone */
};

#define PCP_CAPACITY 384 /* 6 batches of at most 63, rounded up */

/* One CPU's free pages of one zone: LIFO arrays, used with interrupts off on that CPU only. */
struct per_cpu_pages {
	unsigned count[MIGRATE_PCPTYPES];
	struct page *pages[MIGRATE_PCPTYPES][PCP_CAPACITY];
};

struct zone {
	const char *name;
	unsigned idx;
	spinlock_t lock;	       /* free_area, nr_free, pageblock types */
	struct free_area free_area[MAX_ORDER];
	unsigned long nr_free;	       /* pages in the buddy; written under lock, read by anyone */
	unsigned long watermark[NR_WMARK];
	unsigned long lowmem_reserve[MAX_NR_ZONES];
	struct per_cpu_pages *pcp;     /* one for each CPU */
	unsigned pcp_batch, pcp_high;
	uint64_t zone_start_pfn;
	unsigned long spanned_pages, present_pages, managed_pages;
};

/* Zones that may serve a request, best first; ends with zone == NULL. */
struct zoneref {
	struct zone *zone;
	unsigned zone_idx;
};
struct zonelist {
	struct zoneref zonerefs[MAX_NR_ZONES + 1];
};

typedef unsigned long nodemask_t; /* there is one node; NULL everywhere */

extern struct zone zones[MAX_NR_ZONES];
extern struct zonelist node_zonelist;
extern uint8_t *pageblock_types; /* migratetype of each pageblock, by pfn >> PAGEBLOCK_ORDER */

static inline unsigned page_zonenum(const struct page *p)
{
	return __atomic_load_n(&p->flags, __ATOMIC_RELAXED) >> PG_zone0 & 3;
}

static inline struct zone *page_zone(const struct page *p)
{
	return &zones[page_zonenum(p)];
}

static inline bool populated_zone(const struct zone *z)
{
	return z->present_pages != 0;
}

static inline bool managed_zone(const struct zone *z)
{
	return z->managed_pages != 0;
}

static inline struct zoneref *first_zones_zonelist(struct zonelist *zl, unsigned highest)
{
	struct zoneref *z = zl->zonerefs;

	while (z->zone && z->zone_idx > highest)
		z++;
	return z;
}

/* Every zone of zl with an index up to highest, from z on; nodemask is always NULL here. */
#define for_each_zone_zonelist_nodemask(zone, z, zl, highest, nodemask)                \
	for ((z) = first_zones_zonelist(zl, highest), (zone) = (z)->zone; (zone) != NULL; \
	     (z)++, (zone) = (z)->zone)

#define for_each_populated_zone(z) \
	for ((z) = zones; (z) < zones + MAX_NR_ZONES; (z)++) \
		if (populated_zone(z))

/* The zone that serves gfp at best. */
static inline enum zone_type gfp_zone(gfp_t gfp)
{
	if (gfp & __GFP_DMA)
		return ZONE_DMA;
	if (gfp & __GFP_DMA32)
		return ZONE_DMA32;
	if ((gfp & (__GFP_MOVABLE | __GFP_HIGHMEM)) == (__GFP_MOVABLE | __GFP_HIGHMEM))
		return ZONE_MOVABLE;
	return ZONE_NORMAL;
}

static inline enum migratetype gfp_migratetype(gfp_t gfp)
{
	return (enum migratetype)((gfp & (__GFP_MOVABLE | __GFP_RECLAIMABLE)) >> 3);
}

static inline enum migratetype get_pageblock_migratetype(const struct page *p)
{
	return (enum migratetype)__atomic_load_n(
		&pageblock_types[page_to_pfn(p).n >> PAGEBLOCK_ORDER], __ATOMIC_RELAXED);
}

/* ---- mem_init.c ------------------------------------------------------------------------------ */

/* Zones, vmemmap and free lists from what memblock knows. 0, -ENOMEM, -EINVAL. Early. */
int mem_init(void);
/* Unmaps the vmemmap; nothing of mem_init()'s may be used afterwards. */
void mem_exit(void);
/* Reserved frames [start, end) join the free ones. */
void free_reserved_area(uint64_t start_pfn, uint64_t end_pfn);
/* Recomputes watermarks and reserves after a change of managed pages or of min_free_kbytes. */
void setup_per_zone_wmarks(void);
extern unsigned long min_free_kbytes;
extern bool min_free_kbytes_user; /* set by sysctl: keep it */
extern unsigned lowmem_reserve_ratio[MAX_NR_ZONES];
extern unsigned watermark_scale_factor;
unsigned long totalram_pages(void);   /* managed, all zones */
unsigned long totalreserve_pages(void); /* high watermarks and reserves: not for user memory */
/* True if a section with this frame number has struct pages. */
bool section_present(uint64_t section);
uint64_t nr_sections(void);

#endif
