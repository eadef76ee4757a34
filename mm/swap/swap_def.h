/* SPDX-License-Identifier: MIT */
/* Swap, internals: areas, clusters and their words. What area.c, slots.c, cache.c and io.c share. */
#ifndef MM_SWAP_DEF_H
#define MM_SWAP_DEF_H

#include "lib/list.h"
#include "lib/spinlock.h"
#include "mm/base/lockrank.h"
#include "mm/swap/swap.h"
#include "mm/swap/zpool.h"

#define SWAPFILE_CLUSTER 512u /* slots */

/*
 * The word of one slot, all that is known of it:
 *
 *   63 .............. 28  27 ..... 4  3        2 .. 0
 *   frame or shadow       count       failed   state
 *
 * The count is of entries that name the slot, in tables and in trees. A free slot is the zero word.
 * Written under the cluster's lock, as a whole; read by anyone, as a whole.
 */
enum slot_state {
	SLOT_FREE = 0,
	SLOT_BAD,   /* never given out: mkswap said so, or a write failed */
	SLOT_COUNT, /* entries name it; the contents are on the device alone; payload: shadow, or 0 */
	SLOT_CACHE, /* a page is cached for it, whether or not entries name it; payload: frame */
};

#define SLOT_FAILED	   8ull /* the last write to it did: it is retired once it is free */
#define SLOT_COUNT_SHIFT   4
#define SLOT_COUNT_ONE	   (1ull << SLOT_COUNT_SHIFT)
#define SLOT_PAYLOAD_SHIFT (64 - SWAP_SHADOW_BITS)

static inline uint64_t slot_make(enum slot_state state, uint64_t count, uint64_t payload)
{
	ASSERT_DEBUG(count <= SWAP_COUNT_MAX && payload >> SWAP_SHADOW_BITS == 0);
	return payload << SLOT_PAYLOAD_SHIFT | count << SLOT_COUNT_SHIFT | state;
}

static inline enum slot_state slot_state(uint64_t w)
{
	return (enum slot_state)(w & 7);
}

static inline uint64_t slot_count(uint64_t w)
{
	return w >> SLOT_COUNT_SHIFT & SWAP_COUNT_MAX;
}

static inline uint64_t slot_payload(uint64_t w)
{
	return w >> SLOT_PAYLOAD_SHIFT;
}

/* Where a cluster stands: on a list of its area, in a CPU's hands, or nowhere as nothing is free. */
enum cluster_place { CLUSTER_FREE, CLUSTER_PART, CLUSTER_CURRENT, CLUSTER_FULL };

struct swap_cluster {
	spinlock_t lock;	/* everything below but link, and the words of its slots */
	uint16_t used, bad;	/* slots */
	uint16_t next;		/* where the search for a free one begins */
	uint8_t place;		/* enum cluster_place */
	bool off;		/* its slots are not counted as free ones, nor given out */
	uint16_t nr_compressed; /* slots that have a compressed copy (zswap.c) */
	zhandle_t *compressed;	/* by slot: its copy, or 0; NULL while there is none at all */
	struct list_head link;	/* area->lock */
};

#define CLUSTER_NONE UINT32_MAX
#define SWAP_IOS     128u /* transfers of one area that may be under way */

struct swap_io {
	struct quire_bio bio;
	struct page *page;
	struct swap_area *area;
	unsigned nr;
};

/* The structures are never freed, so that users may be asked for at any time. */
struct swap_area {
	uint32_t users;		/* atomic: 1 while it is on, and who has it by get_swap_device() */
	unsigned type;
	int prio;
	bool writable;		/* slots may be given out; atomic. Each cluster's `off` decides */
	struct quire_blkdev *dev;
	char path[64];		/* for /proc/swaps */
	uint64_t max;		/* slots, those that cannot be used among them */
	unsigned long pages;	/* that can be used; atomic */
	unsigned long inuse;	/* atomic */
	uint32_t nr_clusters;
	struct swap_cluster *clusters;
	uint64_t *words;	/* SWAPFILE_CLUSTER for each cluster */
	uint32_t *current;	/* by CPU: the cluster that it takes from, or CLUSTER_NONE; atomic */
	spinlock_t lock;	/* the two lists */
	struct list_head free, part; /* clusters without a used slot; with some used and some free */
	struct list_head link;	/* by priority; swap_lock */
	unsigned turn;		/* slots given out since its equals had theirs; swap_lock */
	struct swap_io *ios;
	uint64_t io_free[SWAP_IOS / 64]; /* atomic: a bit for each that is idle */
	uint32_t io_waiters;	/* atomic: somebody sleeps on it */
	unsigned errors;	/* atomic: transfers that failed */
	uint64_t ra_prev;	/* readahead: the last entry asked for, and what came of the last window */
	uint32_t ra_hits, ra_last; /* atomic, as estimates */
};

extern struct swap_area swap_areas[MAX_SWAPFILES];

static inline struct swap_cluster *slot_cluster(struct swap_area *a, uint64_t off)
{
	ASSERT_DEBUG(off < a->max);
	return &a->clusters[off / SWAPFILE_CLUSTER];
}

/* The word, to be read at any time, or written under the cluster's lock. */
static inline uint64_t slot_get(const struct swap_area *a, uint64_t off)
{
	return __atomic_load_n(&a->words[off], __ATOMIC_ACQUIRE);
}

static inline void slot_set(struct swap_area *a, uint64_t off, uint64_t w)
{
	assert_held(&slot_cluster(a, off)->lock);
	__atomic_store_n(&a->words[off], w, __ATOMIC_RELEASE);
}

/* ---- slots.c ---- */

/* A free slot, cached for the page from now on; false: there is none. */
bool slot_alloc(struct swap_area *a, struct page *page, uint64_t *off);
/* The slot, in use until now, is free; or retired, if its word says SLOT_FAILED. Cluster locked. */
void slot_release(struct swap_area *a, uint64_t off);
/* Puts every cluster on its list: the words say what is bad. */
void clusters_init(struct swap_area *a);
/* Counts the slots and lets them be given out; or the other way round. */
void clusters_switch(struct swap_area *a, bool on);

/* ---- area.c ---- */

/* The nth area, by priority, that has free slots, kept; NULL: no more. */
struct swap_area *swap_area_pick(unsigned nth);

/* ---- cache.c ---- */

/* For what is to be written to the device by somebody who has the contents elsewhere: the page that is
 * cached for the entry, or a fresh one, not valid, in the cache from now on, locked. NULL: nobody names the
 * slot, or *no_memory. The area is kept. Context: any. */
struct page *swap_cache_page_to_write(swp_entry_t entry, bool *fresh, bool *no_memory);

/* ---- io.c ---- */

/* As swap_writepage(), but to the device and nowhere else. */
void swap_write_to_device(struct page *page, struct swap_plug *plug);

int swap_io_init(struct swap_area *a);
void swap_io_exit(struct swap_area *a);
/* Reads one page of the device and waits for it. 0 or -errno. Context: sleep. */
int swap_read_sync(struct quire_blkdev *dev, uint64_t sector, struct page *page);

#endif
