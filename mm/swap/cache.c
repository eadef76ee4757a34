/* SPDX-License-Identifier: MIT */
/*
 * The swap cache: pages that have a slot. A page is in it from the moment that it gets its slot
 * until nobody needs the slot any more, or until the page itself leaves memory; so whoever faults on
 * an entry while the page is being written, or after another space has read it, finds the one copy.
 *
 * There is no tree: the word of the slot names the frame (swap_def.h), the page names the slot
 * (PG_swapcache, page->private). Both change together, under the page lock and the cluster's, so
 * either is enough to read them. The cache holds one reference of each page.
 *
 * A look-up takes its reference under the cluster's lock and only of a page that has one already:
 * one whose count was frozen, because it is about to leave memory, cannot be had. Who looked it up
 * locks it and asks again whether it is the entry's.
 */
#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/lru/workingset.h"
#include "mm/swap/swap_def.h"
#include <quire/abi.h>
#include <quire/os.h>

/* Of a page that goes to the device and then leaves. Reclaim asks, and shall not take more than the upper
 * half of the min mark. */
#define WRITE_BACK_GFP                                                                                  \
	((GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM) | __GFP_NORETRY | __GFP_NOWARN | __GFP_HIGH |   \
	 __GFP_NOMEMALLOC)

static void account_cached(long n)
{
	mod_node_page_state(NR_FILE_PAGES, n);
	mod_node_page_state(NR_SWAPCACHE, n);
}

unsigned long total_swapcache_pages(void)
{
	return node_page_state(NR_SWAPCACHE);
}

/* The page's slot. It is there, for the page is cached: no user has to be counted. */
static struct swap_area *area_of(const struct page *page, uint64_t *off)
{
	swp_entry_t entry = page_swap_entry(page);

	ASSERT_DEBUG(PageSwapCache(page));
	*off = swp_offset(entry);
	return &swap_areas[swp_type(entry)];
}

bool add_to_swap(struct page *page)
{
	struct swap_area *a;
	uint64_t off;
	bool ok = false;

	assert_page_locked(page);
	ASSERT(PageUptodate(page) && !PageSwapCache(page));
	for (unsigned n = 0; !ok && (a = swap_area_pick(n)) != NULL; n++) {
		ok = slot_alloc(a, page, &off);
		put_swap_device(a);
	}
	if (!ok)
		return false;
	account_cached(1);
	/* The device has nothing of it yet. */
	page_set(page, PG_dirty);
	return true;
}

static struct page *cached_page(struct swap_area *a, uint64_t off)
{
	uint64_t w = slot_get(a, off);
	struct page *page;

	assert_held(&slot_cluster(a, off)->lock);
	if (slot_state(w) != SLOT_CACHE)
		return NULL;
	page = pfn_to_page(PFN(slot_payload(w)));
	return get_page_unless_zero(page) ? page : NULL;
}

struct page *lookup_swap_cache(swp_entry_t entry)
{
	struct swap_area *a = is_swapin_error(entry) ? NULL : get_swap_device(entry);
	struct page *page = NULL;
	struct swap_cluster *c;

	if (!a)
		return NULL;
	c = slot_cluster(a, swp_offset(entry));
	/* Most slots that are asked for have no page. */
	if (slot_state(slot_get(a, swp_offset(entry))) == SLOT_CACHE) {
		spin_lock(&c->lock);
		page = cached_page(a, swp_offset(entry));
		spin_unlock(&c->lock);
	}
	put_swap_device(a);
	return page;
}

/* The slot is no longer the page's. Cluster and page locked. */
static void uncache(struct swap_area *a, uint64_t off, struct page *page, unsigned long shadow)
{
	uint64_t w = slot_get(a, off);

	assert_held(&slot_cluster(a, off)->lock);
	assert_page_locked(page);
	BUG_ON(slot_state(w) != SLOT_CACHE || slot_payload(w) != page_to_pfn(page).n);
	ASSERT(!page_test(page, PG_writeback));
	page_clear(page, PG_swapcache);
	WRITE_ONCE(page->private, 0);
	/* One that could not be read may be, next time; the page is not valid then. */
	if (page_test_and_clear(page, PG_error) && PageUptodate(page))
		w |= SLOT_FAILED;
	slot_set(a, off, slot_make(SLOT_COUNT, slot_count(w), shadow) | (w & SLOT_FAILED));
	if (!slot_count(w))
		slot_release(a, off);
}

static void remove_from_cache(struct page *page, unsigned long shadow)
{
	uint64_t off;
	struct swap_area *a = area_of(page, &off);
	struct swap_cluster *c = slot_cluster(a, off);

	spin_lock(&c->lock);
	uncache(a, off, page, shadow);
	spin_unlock(&c->lock);
	account_cached(-1);
}

void delete_from_swap_cache(struct page *page)
{
	remove_from_cache(page, 0);
	put_page(page);
}

void delete_frozen_from_swap_cache(struct page *page, unsigned long shadow)
{
	ASSERT_DEBUG(page_count(page) == 0);
	ASSERT_DEBUG(!page_test(page, PG_dirty));
	remove_from_cache(page, shadow);
}

void replace_in_swap_cache(struct page *old, struct page *fresh)
{
	uint64_t off;
	struct swap_area *a = area_of(old, &off);
	struct swap_cluster *c = slot_cluster(a, off);
	uint64_t w;

	assert_page_locked(old);
	assert_page_locked(fresh);
	ASSERT_DEBUG(page_count(old) == 0);
	get_page(fresh);
	spin_lock(&c->lock);
	fresh->private = old->private;
	page_set(fresh, PG_swapcache);
	page_clear(old, PG_swapcache);
	old->private = 0;
	w = slot_get(a, off);
	slot_set(a, off, slot_make(SLOT_CACHE, slot_count(w), page_to_pfn(fresh).n) | (w & SLOT_FAILED));
	spin_unlock(&c->lock);
}

unsigned long page_swapcount(const struct page *page)
{
	return swp_swapcount(page_swap_entry(page));
}

bool try_to_free_swap(struct page *page)
{
	assert_page_locked(page);
	if (!PageSwapCache(page) || page_test(page, PG_writeback) || page_swapcount(page))
		return false;
	delete_from_swap_cache(page);
	page_set(page, PG_dirty);
	return true;
}

void free_swap_cache(struct page *page)
{
	if (!PageSwapCache(page) || page_mapcount(page) > 0 || !trylock_page(page))
		return;
	try_to_free_swap(page);
	unlock_page(page);
}

bool reuse_swap_page(struct page *page)
{
	unsigned long n = page_mapcount(page);

	assert_page_locked(page);
	if (PageSwapCache(page))
		n += page_swapcount(page);
	/* While it is being written its slot cannot go; the copy on the device is then old, which the
	 * entry's dirty bit tells. The one entry, if it is a swapped one, is about to be filled. */
	if (n == 1 && PageSwapCache(page) && !page_test(page, PG_writeback)) {
		delete_from_swap_cache(page);
		page_set(page, PG_dirty);
	}
	return n <= 1;
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Puts a fresh, locked page in the place of what is on the device. 0 and what was remembered; -EEXIST:
 * there is a page; -ENOENT: nobody names the slot any more. */
static int cache_fresh(struct swap_area *a, uint64_t off, struct page *page, unsigned long *shadow)
{
	struct swap_cluster *c = slot_cluster(a, off);
	int err = 0;
	uint64_t w;

	assert_page_locked(page);
	spin_lock(&c->lock);
	w = slot_get(a, off);
	if (slot_state(w) == SLOT_CACHE) {
		err = -EEXIST;
	} else if (slot_state(w) != SLOT_COUNT) {
		err = -ENOENT;
	} else {
		*shadow = slot_payload(w);
		get_page(page);
		page->private = swp_entry(a->type, off).val;
		page_set(page, PG_swapbacked);
		page_set(page, PG_swapcache);
		slot_set(a, off, slot_make(SLOT_CACHE, slot_count(w), page_to_pfn(page).n) |
					 (w & SLOT_FAILED));
	}
	spin_unlock(&c->lock);
	if (!err)
		account_cached(1);
	return err;
}

/* The slot's page could not be had: it is about to leave memory, locked, with its count frozen. Waits for
 * that lock without a reference, as migration_entry_wait() does, rather than to look again and again. */
static void wait_for_frozen(struct swap_area *a, uint64_t off)
{
	uint64_t w = slot_get(a, off);

	if (slot_state(w) == SLOT_CACHE)
		wait_on_page_locked(pfn_to_page(PFN(slot_payload(w))));
}

struct page *swap_cache_page_of(swp_entry_t entry, gfp_t gfp, bool *fresh)
{
	struct swap_area *a = &swap_areas[swp_type(entry)];
	uint64_t off = swp_offset(entry);
	struct page *page = NULL, *found;
	unsigned long shadow;
	int err;

	ASSERT_DEBUG(READ_ONCE(a->users) > 0);
	*fresh = false;
	for (;;) {
		found = lookup_swap_cache(entry);
		if (found || slot_state(slot_get(a, off)) < SLOT_COUNT)
			break;
		if (!page) {
			page = alloc_pages(gfp, 0);
			if (!page)
				return NULL;
			lock_page(page);
		}
		err = cache_fresh(a, off, page, &shadow);
		if (!err) {
			*fresh = true;
			if (shadow)
				workingset_refault(page, shadow, true);
			lru_cache_add(page);
			return page;
		}
		if (err == -ENOENT)
			break;
		wait_for_frozen(a, off);
	}
	if (page) {
		unlock_page(page);
		put_page(page);
	}
	return found;
}

struct page *swap_cache_page_to_write(swp_entry_t entry, bool *fresh, bool *no_memory)
{
	struct swap_area *a = &swap_areas[swp_type(entry)];
	struct page *page = lookup_swap_cache(entry);
	unsigned long shadow;

	ASSERT_DEBUG(READ_ONCE(a->users) > 0);
	*fresh = *no_memory = false;
	if (page || slot_state(slot_get(a, swp_offset(entry))) != SLOT_COUNT)
		return page;
	page = alloc_pages(WRITE_BACK_GFP, 0);
	*no_memory = !page;
	if (!page)
		return NULL;
	lock_page(page);
	/* What is remembered of it is lost: nobody has asked for it, so it is no refault. */
	if (!cache_fresh(a, swp_offset(entry), page, &shadow)) {
		*fresh = true;
		lru_cache_add(page);
		return page;
	}
	unlock_page(page);
	put_page(page);
	return NULL;
}

struct page *read_swap_cache_async(swp_entry_t entry, gfp_t gfp, bool *fresh)
{
	struct page *page = swap_cache_page_of(entry, gfp, fresh);

	might_sleep();
	if (page && *fresh)
		swap_readpage(page, NULL);
	return page;
}

void swap_willneed(swp_entry_t entry)
{
	struct page *page;
	bool fresh;

	/* The entry was read without a lock. */
	if (is_swapin_error(entry) || !get_swap_device(entry))
		return;
	page = read_swap_cache_async(entry, SWAP_READAHEAD_GFP(GFP_HIGHUSER_MOVABLE), &fresh);
	if (page)
		put_page(page);
	put_swap_device_of(entry);
}

/* ---- readahead by cluster --------------------------------------------------------------------- */

#define RA_MOST_ORDER 8 /* of what is asked for */

/* How many slots to read for one: more, if what was read ahead was of use. After 5.10's
 * swapin_nr_pages(); all of it are estimates, which races may spoil a little. */
static unsigned readahead_window(struct swap_area *a, uint64_t off)
{
	unsigned most = 1u << min(READ_ONCE(vm_sysctl.page_cluster), (long)RA_MOST_ORDER), hits, n, last;
	uint64_t prev = READ_ONCE(a->ra_prev);

	if (most <= 1)
		return 1;
	hits = __atomic_exchange_n(&a->ra_hits, 0, __ATOMIC_RELAXED);
	n = hits + 2;
	if (n == 2)
		n = off == prev + 1 || off + 1 == prev ? 2 : 1;
	else
		for (unsigned up = 4;; up <<= 1)
			if (up >= n) {
				n = up;
				break;
			}
	n = n < most ? n : most;
	last = READ_ONCE(a->ra_last) / 2;
	n = n > last ? n : last;
	if (!hits)
		WRITE_ONCE(a->ra_prev, off);
	WRITE_ONCE(a->ra_last, n);
	return n;
}

bool swap_readahead_hit(swp_entry_t entry, struct page *page)
{
	if (!page_test(page, PG_readahead) || !page_test_and_clear(page, PG_readahead))
		return false;
	count_vm_event(SWAP_RA_HIT);
	__atomic_fetch_add(&swap_areas[swp_type(entry)].ra_hits, 1, __ATOMIC_RELAXED);
	return true;
}

struct page *swap_cluster_readahead(swp_entry_t entry, gfp_t gfp, bool *alone)
{
	struct swap_area *a = &swap_areas[swp_type(entry)];
	uint64_t off = swp_offset(entry), start, end, mask;
	struct swap_plug plug = SWAP_PLUG_INIT;
	struct page *page, *wanted;
	bool fresh;

	might_sleep();
	/* The one that is needed goes first: what is read ahead must not take its memory. */
	*alone = false;
	wanted = swap_cache_page_of(entry, gfp, &fresh);
	if (!wanted || !fresh)
		return wanted;
	if (!swap_readpage(wanted, &plug))
		return wanted;
	mask = readahead_window(a, off) - 1;
	*alone = !mask;
	start = off & ~mask;
	end = off | mask;
	for (uint64_t at = start ? start : 1; at <= end && at < a->max; at++) {
		if (at == off || slot_state(slot_get(a, at)) != SLOT_COUNT ||
		    swap_is_compressed(swp_entry(a->type, at)))
			continue;
		page = swap_cache_page_of(swp_entry(a->type, at), SWAP_READAHEAD_GFP(gfp), &fresh);
		if (!page)
			continue;
		if (fresh) {
			page_set(page, PG_readahead);
			count_vm_event(SWAP_RA);
			swap_readpage(page, &plug);
		}
		put_page(page);
	}
	swap_plug_flush(&plug);
	return wanted;
}
