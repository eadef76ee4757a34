/* SPDX-License-Identifier: MIT */
/*
 * Page debugging: free-page checks, page poisoning, page owners, init_on_alloc/free, trace records.
 * The fast paths read one word, page_slow; while it is 0 none of this costs anything.
 */
#ifndef MM_PAGE_DEBUG_H
#define MM_PAGE_DEBUG_H

#include "mm/base/mmzone.h"
#include "mm/base/slowpath.h"
#include <quire/quire.h>

#define PAGE_POISON 0xaa /* what free pages are filled with */

/* Reads the boot parameters; before the first page is freed. */
void page_debug_init(void);
void page_debug_exit(void);
/* Room for the owners' records of a section that appears; 0 or -ENOMEM. Early. */
int page_owner_section(uint64_t section, uint64_t nr_sections);

/*
 * A page is not what it must be: said, with its owners if they are known, and counted. Ends in
 * os_panic() in a debug build or with bad_page=panic; otherwise returns, and the caller retires the
 * page. lost: how many frames can never be allocated again because of that; 0 if the page is where
 * it belongs and only the attempt was wrong. Any context.
 */
void bad_page(const struct page *p, const char *why, unsigned long lost);
/* The same for the buddy's bits of a pageblock. zone->lock held. */
void bad_block(const struct pageblock *b, unsigned order, unsigned long lost);
/* Reports of both kinds so far, and the frames that were lost by what they tell. */
unsigned long nr_bad_pages(void);
unsigned long nr_lost_pages(void);

/* A block leaves: false if it was written to while it was free. Contents are as gfp asks unless
 * the fast path still has to clear them (*clear). ip: the caller. */
bool page_debug_alloc(struct page *page, unsigned order, gfp_t gfp, unsigned mt, uintptr_t ip,
		      bool *clear);
/* A block comes back: false if one of its pages is still in use. */
bool page_debug_free(struct page *page, unsigned order, uintptr_t ip);
/* A block that was never handed out joins the free ones. */
void page_debug_boot(struct page *page, unsigned order);
/* The record of a split block goes to each part. */
void page_owner_split(struct page *page, unsigned order);
/* The contents moved to another frame, and the owner with them. */
void page_owner_copy(struct page *to, const struct page *from);

/* Both counts lie side by side: one load and one comparison tell of them. */
_Static_assert(offsetof(struct page, _mapcount) == offsetof(struct page, _refcount) + 4 &&
	       offsetof(struct page, _refcount) % 8 == 0, "two counts in one word");
static inline bool page_counts_are(const struct page *p, int32_t refs, int32_t maps, int memorder)
{
	const union {
		int32_t each[2];
		uint64_t both;
	} want = {{refs, maps - 1}};

	return __atomic_load_n((const uint64_t *)&p->_refcount, memorder) == want.both;
}

/* One reference, no mapping in a table: the caller is its sole owner. */
static inline bool page_is_sole(const struct page *p)
{
	return page_counts_are(p, 1, 0, __ATOMIC_ACQUIRE);
}

/* True if nothing marks the page as used, but for these flags. */
static inline bool page_is_clean(const struct page *p, unsigned long flags)
{
	return page_counts_are(p, 0, 0, __ATOMIC_RELAXED) && (p->flags & ~(3ul << PG_zone0)) == flags;
}

#endif
