/* SPDX-License-Identifier: MIT */
/*
 * What a frame is, as the words of /proc/kpagecount and /proc/kpageflags: read from its struct page
 * without a lock, so each bit is true of a moment. No pointer is followed.
 */
#include "mm/base/mmzone.h"
#include "mm/base/page.h"
#include <quire/quire.h>

/* Linux's numbers of the bits (kernel-page-flags.h, and fs/proc's own from 32 on). */
enum {
	KPF_LOCKED, KPF_ERROR, KPF_REFERENCED, KPF_UPTODATE, KPF_DIRTY, KPF_LRU, KPF_ACTIVE, KPF_SLAB,
	KPF_WRITEBACK, KPF_RECLAIM, KPF_BUDDY, KPF_MMAP, KPF_ANON, KPF_SWAPCACHE, KPF_SWAPBACKED,
	KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL, KPF_UNEVICTABLE = 18, KPF_NOPAGE = 20, KPF_ZERO_PAGE = 24,
	KPF_PGTABLE = 26, KPF_RESERVED = 32, KPF_MLOCKED = 33,
};

/* Bits that mean on both sides the same. */
static const struct {
	enum pageflags flag;
	unsigned bit;
} same[] = {
	{PG_locked, KPF_LOCKED}, {PG_error, KPF_ERROR}, {PG_referenced, KPF_REFERENCED},
	{PG_uptodate, KPF_UPTODATE}, {PG_dirty, KPF_DIRTY}, {PG_lru, KPF_LRU}, {PG_active, KPF_ACTIVE},
	{PG_slab, KPF_SLAB}, {PG_writeback, KPF_WRITEBACK}, {PG_reclaim, KPF_RECLAIM},
	{PG_swapcache, KPF_SWAPCACHE}, {PG_swapbacked, KPF_SWAPBACKED}, {PG_head, KPF_COMPOUND_HEAD},
	{PG_tail, KPF_COMPOUND_TAIL}, {PG_unevictable, KPF_UNEVICTABLE}, {PG_table, KPF_PGTABLE},
	{PG_reserved, KPF_RESERVED}, {PG_mlocked, KPF_MLOCKED},
};

/* Its map count is one, and not something of its user's. */
static bool has_mapcount(const struct page *page)
{
	return !page_test(page, PG_slab) && !page_test(page, PG_table) && !PageBuddy(page);
}

uint64_t quire_max_pfn(void)
{
	return max_pfn;
}

uint64_t quire_kpagecount(uint64_t pfn)
{
	const struct page *page = pfn_to_page(PFN(pfn));
	int n;

	if (!pfn_valid(PFN(pfn)) || !has_mapcount(page))
		return 0;
	n = page_mapcount(page);
	return n > 0 ? (uint64_t)n : 0;
}

uint64_t quire_kpageflags(uint64_t pfn)
{
	const struct page *page = pfn_to_page(PFN(pfn));
	uint64_t word = 0;

	if (!pfn_valid(PFN(pfn)))
		return 1ull << KPF_NOPAGE;
	if (PageBuddy(page))
		return 1ull << KPF_BUDDY;
	for (unsigned i = 0; i < ARRAY_SIZE(same); i++)
		word |= (uint64_t)page_test(page, same[i].flag) << same[i].bit;
	if (quire_kpagecount(pfn))
		word |= 1ull << KPF_MMAP;
	if (has_mapcount(page) && PageAnon(page))
		word |= 1ull << KPF_ANON;
	if (is_zero_page(page))
		word |= 1ull << KPF_ZERO_PAGE;
	return word;
}
