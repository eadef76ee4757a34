/* SPDX-License-Identifier: MIT */
/*
 * Zones of physical memory, their free areas and per-CPU page lists, and the list of zones that an
 * allocation may use. One memory node; the names are Linux's.
 */
#ifndef MM_MMZONE_H
#define MM_MMZONE_H

#include "lib/list.h"
#include "lib/spinlock.h"
#include "mm/base/page.h"

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

extern const char *const migratetype_names[MIGRATE_TYPES]; /* as Linux's reports have them */

#define PAGEBLOCK_ORDER 9 /* pages grouped by mobility: 512, a huge page */
#define PAGEBLOCK_PAGES (1ul << PAGEBLOCK_ORDER)
#define SECTION_ORDER	12 /* unit in which the vmemmap is populated: 4,096 pages */
#define SECTION_PAGES	(1ul << SECTION_ORDER)
#define PAGE_ALLOC_COSTLY_ORDER 3 /* larger requests may fail rather than kill */

enum zone_watermarks { WMARK_MIN, WMARK_LOW, WMARK_HIGH, NR_WMARK };

struct free_area {
	struct list_head free_list[MIGRATE_TYPES]; /* pageblocks that have such a block */
	unsigned long nr_free; /* blocks, all types together; lock, read by anyone */
	unsigned types;	       /* bit per type: its list is not empty; lock, read by anyone */
};

#define PAGEBLOCK_WORDS (PAGEBLOCK_PAGES / 64)

/*
 * What the buddy knows of 512 frames. The bits say it all: a block of order o exists where 2^o
 * aligned bits are set and its buddy's are not. An order-10 block is two whole pageblocks and
 * counts in the first one. All under zone->lock.
 */
struct pageblock {
	uint64_t free[PAGEBLOCK_WORDS]; /* bit n: frame n is in the buddy */
	union {
		uint16_t nr[MAX_ORDER]; /* blocks of each order */
		uint64_t nr_of_4[3];	/* the same, of four orders each, to change them at once */
	};
	uint64_t pfn;				/* the first frame */
	struct list_head link[PAGEBLOCK_ORDER]; /* on free_list of order o while nr[o] > 0;
						   orders 9 and 10 use the places of 0 and 1 */
} __attribute__((aligned(64)));

/* Orders that are kept per CPU: single pages, the cheap ones, and huge pages. */
#define PCP_ORDERS   5
#define PCP_CAPACITY 512 /* single pages: room for 6 batches of at most 63 */
#define PCP_BLOCKS   32	 /* of each larger order */

/* A list as a ring: the newest is taken first, the oldest is given back first. */
struct pcp_list {
	unsigned head, tail; /* both only grow; head - tail blocks are there */
};

/* One CPU's free blocks of one zone, used with interrupts off on that CPU only. */
struct per_cpu_pages {
	struct pcp_list list[PCP_ORDERS][MIGRATE_PCPTYPES];
	uint64_t allocs, frees; /* single pages that the fast paths moved: part of the events */
	unsigned high;		/* the zone's pcp_high, where the fast path looks; atomic */
	struct page *pages[MIGRATE_PCPTYPES][PCP_CAPACITY];
	struct page *blocks[PCP_ORDERS - 1][MIGRATE_PCPTYPES][PCP_BLOCKS];
};

struct zone {
	const char *name;
	unsigned idx;
	/* What the fast path reads. */
	unsigned long nr_free;	       /* pages in the buddy but isolated ones; written under lock */
	unsigned long plenty[MAX_NR_ZONES]; /* more free pages than this: any single page is fine,
					       for a request that could go up to that zone */
	struct per_cpu_pages *pcp;     /* one for each CPU */
	uint16_t pcp_batch, pcp_high;  /* single pages */
	uint8_t pcp_blocks[PCP_ORDERS]; /* limits of the larger orders; 0: not kept */
	unsigned long watermark[NR_WMARK];
	unsigned long watermark_boost; /* on top of each mark, after types were mixed; lock */
	unsigned long nr_reserved_highatomic; /* pages in HIGHATOMIC pageblocks; lock */
	unsigned long lowmem_reserve[MAX_NR_ZONES];
	uint64_t zone_start_pfn;
	unsigned long spanned_pages, present_pages, managed_pages;
	spinlock_t lock __attribute__((aligned(64))); /* free_area, pageblocks and their types */
	struct pageblock *stolen_from[MIGRATE_PCPTYPES]; /* where each type stole last; lock */
	struct free_area free_area[MAX_ORDER];
	/* Compaction: where both scanners stand, and how long to leave the zone alone; lock. */
	uint64_t compact_free_pfn, compact_migrate_pfn;
	unsigned compact_considered, compact_defer_shift;
	int compact_order_failed;
};

/* Zones that may serve a request, best first; ends with zone == NULL. */
struct zoneref {
	struct zone *zone;
	unsigned zone_idx;
};
struct zonelist {
	struct zoneref zonerefs[MAX_NR_ZONES + 1];
};

#define NR_LRU_LISTS 5 /* the first five amounts of enum node_stat_item */
extern unsigned long lru_size[MAX_NR_ZONES][NR_LRU_LISTS]; /* pages by zone; lru_lock, read by anyone */

typedef unsigned long nodemask_t; /* there is one node; NULL everywhere */

extern struct zone zones[MAX_NR_ZONES];
extern struct per_cpu_pages *zone_pcps[MAX_NR_ZONES]; /* each zone's pcp: where freeing looks */
extern struct zonelist node_zonelist;
extern struct zoneref *best_zoneref[MAX_NR_ZONES]; /* where a request up to that zone starts */
extern uint8_t *pageblock_types; /* migratetype of each pageblock, by pfn >> PAGEBLOCK_ORDER */
extern struct pageblock **section_blocks; /* by section; NULL: no RAM there */

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

/* Where a request that may go up to zone highest starts. */
static inline struct zoneref *first_zones_zonelist(struct zonelist *zl, unsigned highest)
{
	struct zoneref *z = zl->zonerefs;

	ASSERT_DEBUG(highest < MAX_NR_ZONES);
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

/*
 * The zone that serves gfp at best: two bits for each of the 16 sets of zone flags. DMA goes before
 * DMA32, that before everything else; MOVABLE needs both of its flags.
 */
#define GFP_ZONE(flags, zone) ((uint32_t)(zone) << 2 * (flags))
#define GFP_ZONE_TABLE                                                               \
	(GFP_ZONE(0, ZONE_NORMAL) | GFP_ZONE(__GFP_HIGHMEM, ZONE_NORMAL) |           \
	 GFP_ZONE(__GFP_MOVABLE, ZONE_NORMAL) |                                      \
	 GFP_ZONE(__GFP_MOVABLE | __GFP_HIGHMEM, ZONE_MOVABLE) |                     \
	 GFP_ZONE(__GFP_DMA32, ZONE_DMA32) | GFP_ZONE(__GFP_DMA32 | __GFP_HIGHMEM, ZONE_DMA32) | \
	 GFP_ZONE(__GFP_DMA32 | __GFP_MOVABLE, ZONE_DMA32) |                         \
	 GFP_ZONE(__GFP_DMA32 | __GFP_MOVABLE | __GFP_HIGHMEM, ZONE_DMA32))

static inline enum zone_type gfp_zone(gfp_t gfp)
{
	unsigned flags = gfp & (__GFP_DMA | __GFP_HIGHMEM | __GFP_DMA32 | __GFP_MOVABLE);

	return (enum zone_type)(GFP_ZONE_TABLE >> 2 * flags & 3);
}

static inline enum migratetype gfp_migratetype(gfp_t gfp)
{
	return (enum migratetype)((gfp & (__GFP_MOVABLE | __GFP_RECLAIMABLE)) >> 3);
}

static inline enum migratetype get_pageblock_migratetype(const struct page *p)
{
	ASSERT_DEBUG(page_to_pfn(p).n < max_pfn);
	return (enum migratetype)__atomic_load_n(
		&pageblock_types[page_to_pfn(p).n >> PAGEBLOCK_ORDER], __ATOMIC_RELAXED);
}

static inline struct pageblock *pfn_to_block(uint64_t pfn)
{
	ASSERT_DEBUG(section_blocks[pfn >> SECTION_ORDER]);
	return &section_blocks[pfn >> SECTION_ORDER]
			      [pfn >> PAGEBLOCK_ORDER & ((SECTION_PAGES >> PAGEBLOCK_ORDER) - 1)];
}

/* In the buddy, head or not. Exact under zone->lock. */
static inline bool PageBuddy(const struct page *p)
{
	uint64_t pfn = page_to_pfn(p).n;

	return __atomic_load_n(&pfn_to_block(pfn)->free[pfn >> 6 & (PAGEBLOCK_WORDS - 1)],
			       __ATOMIC_RELAXED) >> (pfn & 63) & 1;
}

/* ---- mem_init.c ------------------------------------------------------------------------------ */

/* Zones and vmemmap from what memblock knows. 0, -ENOMEM, -EINVAL. Early. */
int mem_init(void);
/* Hands all that memblock has left to the buddy, once every table is made that needs memory before
 * there is one. 0 or -ENOMEM. Early. */
int mem_init_free(void);
/* Unmaps the vmemmap; nothing of mem_init()'s may be used afterwards. */
void mem_exit(void);
/* Reserved frames [start, end) join the free ones. */
void free_reserved_area(uint64_t start_pfn, uint64_t end_pfn);
/* ---- watermark.c ------------------------------------------------------------------------------ */

/* Recomputes watermarks, reserves and per-CPU limits after a change of managed pages or of a
 * tunable. Context: any. */
void setup_per_zone_wmarks(void);
/* Recomputes what lower zones keep, after a change of lowmem_reserve_ratio. Context: any. */
void setup_per_zone_lowmem_reserve(void);
extern bool min_free_kbytes_user; /* vm_sysctl.min_free_kbytes was set by hand: keep it */
unsigned long totalram_pages(void);   /* managed, all zones */
/* True if a section with this frame number has struct pages. */
bool section_present(uint64_t section);
uint64_t nr_sections(void);

#endif
