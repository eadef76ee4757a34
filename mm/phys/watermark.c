/* SPDX-License-Identifier: MIT */
/*
 * Zone watermarks: how much of a zone must stay free, from which requests. Three marks (min, low,
 * high) by Linux 5.10's formulas; a request is held to one of them by its alloc_flags, plus what
 * lower zones keep from requests that could go higher (lowmem_reserve), less what its urgency
 * allows. Read without a lock: a stale count is a guess that rmqueue() then makes sure of.
 */
#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_alloc.h"

bool min_free_kbytes_user;

#define TYPES_FOR_ALL	 ((1u << MIGRATE_PCPTYPES) - 1)
#define TYPES_FOR_HARDER (TYPES_FOR_ALL | 1u << MIGRATE_HIGHATOMIC)

bool __zone_watermark_ok(const struct zone *z, unsigned order, unsigned long mark,
			 enum zone_type highest_zoneidx, unsigned alloc_flags, long free)
{
	long min = mark;
	unsigned types;

	ASSERT_DEBUG(order < MAX_ORDER && highest_zoneidx < MAX_NR_ZONES);
	free -= (1l << order) - 1;
	/* The HIGHATOMIC reserve is no help to requests that may not use it. */
	if (!(alloc_flags & (ALLOC_HARDER | ALLOC_OOM)))
		free -= __atomic_load_n(&z->nr_reserved_highatomic, __ATOMIC_RELAXED);
	if (alloc_flags & ALLOC_HIGH)
		min -= min / 2;
	if (alloc_flags & ALLOC_OOM)
		min -= min / 2;
	else if (alloc_flags & ALLOC_HARDER)
		min -= min / 4;
	if (free <= min + (long)z->lowmem_reserve[highest_zoneidx])
		return false;
	if (!order)
		return true;
	types = alloc_flags & (ALLOC_HARDER | ALLOC_OOM) ? TYPES_FOR_HARDER : TYPES_FOR_ALL;
	for (unsigned o = order; o < MAX_ORDER; o++)
		if (__atomic_load_n(&z->free_area[o].types, __ATOMIC_RELAXED) & types)
			return true;
	return false;
}

bool zone_watermark_ok(const struct zone *z, unsigned order, unsigned long mark,
		       enum zone_type highest_zoneidx, unsigned alloc_flags)
{
	return __zone_watermark_ok(z, order, mark, highest_zoneidx, alloc_flags,
				   (long)__atomic_load_n(&z->nr_free, __ATOMIC_RELAXED));
}

bool zone_watermark_slow(const struct zone *z, unsigned order, unsigned long mark,
			 enum zone_type highest_zoneidx, unsigned alloc_flags, gfp_t gfp)
{
	if (zone_watermark_ok(z, order, mark, highest_zoneidx, alloc_flags))
		return true;
	/* The boost is there to keep types apart; a single page that may not wait comes first. */
	return !order && gfp & __GFP_ATOMIC && READ_ONCE(z->watermark_boost) &&
	       (alloc_flags & ALLOC_WMARK_MASK) == ALLOC_WMARK_MIN &&
	       zone_watermark_ok(z, order, z->watermark[WMARK_MIN], highest_zoneidx, alloc_flags);
}

void zone_marks_changed(struct zone *z)
{
	unsigned long base = z->watermark[WMARK_LOW] + z->watermark_boost +
			     z->nr_reserved_highatomic;

	assert_held(&z->lock);
	for (unsigned i = 0; i < MAX_NR_ZONES; i++)
		__atomic_store_n(&z->plenty[i], base + z->lowmem_reserve[i], __ATOMIC_RELAXED);
}

void zone_boost_reset(struct zone *z)
{
	irqflags_t flags;

	spin_lock_irqsave(&z->lock, flags);
	WRITE_ONCE(z->watermark_boost, 0);
	zone_marks_changed(z);
	spin_unlock_irqrestore(&z->lock, flags);
}

unsigned long totalram_pages(void)
{
	unsigned long sum = 0;

	for (unsigned i = 0; i < MAX_NR_ZONES; i++)
		sum += zones[i].managed_pages;
	return sum;
}

unsigned long totalreserve_pages(void)
{
	unsigned long sum = 0;
	struct zone *z;

	for_each_populated_zone(z) {
		unsigned long most = 0;

		for (unsigned i = z->idx; i < MAX_NR_ZONES; i++)
			most = max(most, z->lowmem_reserve[i]);
		most += z->watermark[WMARK_HIGH];
		sum += min(most, z->managed_pages);
	}
	return sum;
}

/* What a request that could use a higher zone must leave free in a lower one. */
static void setup_lowmem_reserve(void)
{
	for (unsigned i = 0; i < MAX_NR_ZONES; i++) {
		unsigned long ratio = (unsigned long)vm_sysctl.lowmem_reserve_ratio[i];
		unsigned long above = 0;

		for (unsigned j = i + 1; j < MAX_NR_ZONES; j++) {
			above += zones[j].managed_pages;
			zones[i].lowmem_reserve[j] =
				ratio && managed_zone(&zones[i]) ? above / ratio : 0;
		}
	}
}

void setup_per_zone_lowmem_reserve(void)
{
	struct zone *z;

	setup_lowmem_reserve();
	for_each_populated_zone(z) {
		irqflags_t flags;

		spin_lock_irqsave(&z->lock, flags);
		zone_marks_changed(z);
		spin_unlock_irqrestore(&z->lock, flags);
	}
}

/* Bit by bit; there is no floating point here. */
static unsigned long int_sqrt(unsigned long x)
{
	unsigned long r = 0;

	for (unsigned long bit = 1ul << 30; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= x)
			r |= bit;
	return r;
}

/* 5.10's formulas: min_free_kbytes = sqrt(16 * kB), the marks a quarter or 0.1 % apart. */
void setup_per_zone_wmarks(void)
{
	unsigned long total = totalram_pages(), pages_min;
	struct zone *z;

	if (!min_free_kbytes_user) {
		unsigned long kb = (total - zones[ZONE_MOVABLE].managed_pages)
				   << (PAGE_SHIFT - 10);

		vm_sysctl.min_free_kbytes = (long)clamp(int_sqrt(kb * 16), MIN_FREE_KBYTES_LEAST,
							MIN_FREE_KBYTES_MOST);
	}
	pages_min = (unsigned long)vm_sysctl.min_free_kbytes >> (PAGE_SHIFT - 10);
	setup_lowmem_reserve();
	for_each_populated_zone(z) {
		unsigned long share = pages_min * z->managed_pages / max(total, 1ul), gap;
		irqflags_t flags;

		ASSERT_I("I9", z->managed_pages <= z->present_pages);
		gap = max(share >> 2, z->managed_pages *
				      (unsigned long)vm_sysctl.watermark_scale_factor / 10000);
		spin_lock_irqsave(&z->lock, flags);
		z->watermark[WMARK_MIN] = share;
		z->watermark[WMARK_LOW] = share + gap;
		z->watermark[WMARK_HIGH] = share + 2 * gap;
		WRITE_ONCE(z->watermark_boost, 0);
		zone_marks_changed(z);
		spin_unlock_irqrestore(&z->lock, flags);
		zone_pcp_setup(z);
	}
}

unsigned long nr_free_buddy(void)
{
	unsigned long sum = 0;

	for (unsigned i = 0; i < MAX_NR_ZONES; i++)
		sum += __atomic_load_n(&zones[i].nr_free, __ATOMIC_RELAXED);
	return sum;
}

unsigned long si_mem_available(void)
{
	unsigned long free = nr_free_buddy(), reserve = totalreserve_pages(), low = 0, cache, slab;
	struct zone *z;
	long sum;

	for_each_populated_zone(z)
		low += z->watermark[WMARK_LOW];
	cache = node_page_state(NR_ACTIVE_FILE) + node_page_state(NR_INACTIVE_FILE);
	slab = node_page_state(NR_SLAB_RECLAIMABLE);
	sum = (long)free - (long)reserve;
	sum += cache - min(cache / 2, low);
	sum += slab - min(slab / 2, low);
	return sum > 0 ? sum : 0;
}
