/* SPDX-License-Identifier: MIT */
/*
 * Swap: areas on devices, their slots, and the swap cache. docs/swap.md tells the whole.
 *
 * A swap entry names a slot: the area's number and the slot's in it. It stands in page tables
 * (PTE_SWAP), in the trees of shared memory, and in page->private of a page of the swap cache.
 */
#ifndef MM_SWAP_H
#define MM_SWAP_H

#include "mm/base/gfp.h"
#include "mm/base/page.h"
#include "mm/phys/commit.h"
#include <quire/block.h>
#include <quire/quire.h>

#define SWAP_TYPE_BITS	 5
#define SWAP_OFFSET_BITS (40 - SWAP_TYPE_BITS) /* ARCH_SWAP_BITS is 40 at least */
#define MAX_SWAPFILES	 ((1u << SWAP_TYPE_BITS) - 1)
#define SWP_SWAPIN_ERROR MAX_SWAPFILES /* a type of its own: what stood there could not be read */
#define SWAP_SHADOW_BITS 36	       /* what a slot remembers of a page that left memory */
#define SWAP_COUNT_MAX	 ((1ul << 24) - 1) /* entries that may name one slot */

typedef struct {
	uint64_t val;
} swp_entry_t;

static inline swp_entry_t swp_entry(unsigned type, uint64_t offset)
{
	return (swp_entry_t){(uint64_t)type << SWAP_OFFSET_BITS | offset};
}

static inline unsigned swp_type(swp_entry_t e)
{
	return (unsigned)(e.val >> SWAP_OFFSET_BITS);
}

static inline uint64_t swp_offset(swp_entry_t e)
{
	return e.val & ((1ull << SWAP_OFFSET_BITS) - 1);
}

static inline bool is_swapin_error(swp_entry_t e)
{
	return swp_type(e) == SWP_SWAPIN_ERROR;
}

/* ---- areas (area.c) -------------------------------------------------------------------------- */

extern long nr_swap_pages;    /* atomic: free slots of all areas that may be written */

static inline long get_nr_swap_pages(void)
{
	return __atomic_load_n(&nr_swap_pages, __ATOMIC_RELAXED);
}

/* Less than half of the slots are free: pages that were read back give up theirs. */
static inline bool vm_swap_full(void)
{
	return get_nr_swap_pages() * 2 < (long)total_swap_pages();
}

/* Sums and cached pages of every area against the words; how many are broken. Context: sleep. */
long check_swap(void);
void swap_init(void);
/* Every area goes; nothing may be in use any more. Context: sleep. */
void swap_exit(void);

struct swap_area;

/* The area of an entry, which stays until put_swap_device(); NULL: it is off, or has no such slot.
 * Any context. */
struct swap_area *get_swap_device(swp_entry_t entry);
void put_swap_device(struct swap_area *a);
void put_swap_device_of(swp_entry_t entry);
/* The area's device seeks. The area is kept. */
bool swap_is_rotational(swp_entry_t entry);

/* The way to swapoff (mm/reclaim/swapoff.c), with swapon_lock() held, in this order. */
void swapon_lock(void);
void swapon_unlock(void);
struct swap_area *swap_area_of(const struct quire_blkdev *dev); /* NULL: not in use */
unsigned swap_area_type(const struct swap_area *a);
unsigned long swap_area_pages(const struct swap_area *a);
/* Slots that are in use. */
unsigned long swap_area_inuse(const struct swap_area *a);
/* No slot is given out any more; its free ones are no longer counted. */
void swapoff_begin(struct swap_area *a);
/* As before swapoff_begin(). */
void swapoff_undo(struct swap_area *a);
/* No slot is in use: the area is gone. Context: sleep. */
void swapoff_finish(struct swap_area *a);
/* The first slot from *off on that has a page in the swap cache; false: none. */
bool swap_area_next_cached(struct swap_area *a, uint64_t *off);

/* ---- slots (slots.c) ------------------------------------------------------------------------- */

/* One more entry names the slot. 0, -ENOENT: it is free; -ENOMEM: too many do. Any context. */
int swap_duplicate(swp_entry_t entry);
/* One fewer; the last one frees the slot, unless a page is cached for it. Any context. */
void swap_free(swp_entry_t entry);
/* The same; a page that is cached for it and that nobody maps goes too, if it is not busy. Whether
 * there was one. */
bool free_swap_and_cache(swp_entry_t entry);
/* How many entries name it; 0 if it is free, or its area is off. Any context. */
unsigned long swp_swapcount(swp_entry_t entry);
/* A page is cached for it, valid (mincore). Any context. */
bool swap_cache_resident(swp_entry_t entry);

/* ---- the swap cache (cache.c) ---------------------------------------------------------------- */

static inline bool PageSwapCache(const struct page *p)
{
	return page_test(p, PG_swapcache);
}

static inline swp_entry_t page_swap_entry(const struct page *p)
{
	return (swp_entry_t){READ_ONCE(p->private)};
}

/* Gives the page a slot, and puts it into the cache under it, dirty; the cache takes a reference.
 * Locked, valid, in no list of the cache yet. False: no slot is free. Any context. */
bool add_to_swap(struct page *page);
/* The page cached for the entry, referenced; NULL: none. Whoever locks it looks again whether it is
 * still the entry's (swap_cache_page_is). Any context. */
struct page *lookup_swap_cache(swp_entry_t entry);
/* Locked: the page still is the entry's. */
static inline bool swap_cache_page_is(const struct page *page, swp_entry_t entry)
{
	return PageSwapCache(page) && page->private == entry.val;
}
/* Takes a locked page out of the cache, and drops the cache's reference. The slot stays if entries
 * name it; one whose last write failed is retired. Not while it is being written. */
void delete_from_swap_cache(struct page *page);
/* The same of a page whose count was frozen: there is no reference to drop. shadow: what to remember
 * of it, up to SWAP_SHADOW_BITS. */
void delete_frozen_from_swap_cache(struct page *page, unsigned long shadow);
/* Lets a locked page give up its slot if no entry names that: true, and it is dirty. */
bool try_to_free_swap(struct page *page);
/* Locked, anonymous: only one entry, present or swapped, leads to the page, so it may be written in
 * place. If that is the present one, it gives up its slot. After Linux 5.10's reuse_swap_page. */
bool reuse_swap_page(struct page *page);
/* The last of what mapped the page may have gone: a page that only the cache needs gives up its slot,
 * if it is not busy. A reference is held. Any context. */
void free_swap_cache(struct page *page);
/* Entries that name a locked page's slot. */
unsigned long page_swapcount(const struct page *page);
/* Replaces the frame of a cached page by another, of which the cache then has a reference: migration.
 * Both locked, the old one's count frozen. */
void replace_in_swap_cache(struct page *old, struct page *fresh);
unsigned long total_swapcache_pages(void);

/*
 * The entry's page, from the cache, or a fresh one that is being read: referenced, *fresh tells that
 * the read was started here. Not locked; one that is being read is. NULL: no memory, or nobody names
 * the slot any more. The caller keeps the area (get_swap_device). Context: by gfp, and sleep.
 */
struct page *read_swap_cache_async(swp_entry_t entry, gfp_t gfp, bool *fresh);
/* Starts to read what the entry names, if that is of use to anybody (MADV_WILLNEED). Context: sleep. */
void swap_willneed(swp_entry_t entry);
/* The same with its neighbours on the device, which are read ahead as far as the last ones were of
 * use (page-cluster). *alone: it is read without any, so that whoever waits for it is stalled by memory
 * (psi_memstall_enter), however long ago it left. After Linux' swap_cluster_readahead. Context: sleep. */
struct page *swap_cluster_readahead(swp_entry_t entry, gfp_t gfp, bool *alone);
/* As read_swap_cache_async(), but a fresh page is only put into the cache, locked: swap_readpage() is
 * the caller's to call. */
struct page *swap_cache_page_of(swp_entry_t entry, gfp_t gfp, bool *fresh);
/* What the entry names is in memory, compressed: nothing to read ahead. A guess. Any context. */
bool swap_is_compressed(swp_entry_t entry);
/* The entry's page, from a look-up, was perhaps read ahead, and is wanted now: clears PG_readahead, counts, and lets the windows grow. */
bool swap_readahead_hit(swp_entry_t entry, struct page *page);

/* ---- input and output (io.c) ----------------------------------------------------------------- */

/* Writes that are collected, to be given to the device together. */
struct swap_plug {
	struct swap_area *area;
	struct quire_bio *first, *last;
	unsigned n;
};
#define SWAP_PLUG_INIT {NULL, NULL, NULL, 0}

/* What is read ahead does without trying hard, and gives up silently. */
#define SWAP_READAHEAD_GFP(gfp) ((gfp) | __GFP_NORETRY | __GFP_NOWARN)

/* Starts to write a locked page of the cache, marked clean by the caller; unlocks it. PG_writeback
 * stands until the write is over; one that failed leaves the page dirty, with PG_error. What can be
 * compressed is done when it returns. plug NULL: at once. False: there is no device, and no memory either:
 * the page is dirty again, and still locked. Context: sleep. */
bool __must_check swap_writepage(struct page *page, struct swap_plug *plug);
void swap_plug_flush(struct swap_plug *plug);
/* Starts to read a locked page of the cache, not valid yet: it is unlocked when the read is over, then
 * valid, or with PG_error. False: no device was asked, and it is over. Context: sleep. */
bool swap_readpage(struct page *page, struct swap_plug *plug);

#endif
