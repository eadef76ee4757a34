/* SPDX-License-Identifier: MIT */
/*
 * The slots of swap areas: giving them out, counting who names them, taking them back.
 *
 * Terms. A *slot* is a page of a device; its *word* (swap_def.h) is all that is known of it. A
 * *cluster* is 512 neighbouring slots with one lock. Each CPU takes from a cluster of its own until
 * that is full, so what is written at one time lies together on the device, and CPUs seldom meet at
 * a lock.
 *
 * The life of a slot:
 *
 *           slot_alloc: a page gets it                   delete_frozen_from_swap_cache,
 *   free ----------------------------------> cached      delete_from_swap_cache: entries are left
 *    ^                                        |  ^  \-------------------------------> counted
 *    |   delete_from_swap_cache: no entries   |  |                                     |  |
 *    +----------------------------------------+  +--- read_swap_cache_async -----------+  |
 *    |                                                                  swap_free: last   |
 *    +------------------------------------------------------------------------------------+
 *
 *   and `bad` instead of `free`, if the last write to it failed.
 *
 * Where a cluster stands (place): on the area's list of those without a used slot, on the one of
 * those with some of both, current for a CPU, or nowhere since it is full. A CPU's current cluster is a hint:
 * the lock decides, and two threads of one CPU may be in it at once. One that was taken and finds
 * the CPU's place occupied again is put back.
 *
 * Locks: cluster -> the area's lists. Neither is held over anything else but a page's reference.
 */
#include "lib/string.h"
#include "mm/phys/commit.h"
#include "mm/swap/swap_def.h"
#include "mm/swap/zswap.h"
#include <quire/abi.h>

/* ---- clusters -------------------------------------------------------------------------------- */

static bool cluster_full(const struct swap_cluster *c)
{
	assert_held(&c->lock);
	return c->used + c->bad == SWAPFILE_CLUSTER;
}

/* Puts the cluster where it belongs now that no CPU has it. */
static void cluster_place(struct swap_area *a, struct swap_cluster *c)
{
	assert_held(&c->lock);
	if (cluster_full(c)) {
		c->place = CLUSTER_FULL;
		return;
	}
	c->place = c->used ? CLUSTER_PART : CLUSTER_FREE;
	spin_lock(&a->lock);
	list_add_tail(&c->link, c->used ? &a->part : &a->free);
	spin_unlock(&a->lock);
}

static void cluster_unlist(struct swap_area *a, struct swap_cluster *c)
{
	assert_held(&c->lock);
	ASSERT(c->place == CLUSTER_PART || c->place == CLUSTER_FREE);
	spin_lock(&a->lock);
	list_del(&c->link);
	spin_unlock(&a->lock);
}

void clusters_init(struct swap_area *a)
{
	for (uint32_t i = 0; i < a->nr_clusters; i++) {
		struct swap_cluster *c = &a->clusters[i];

		spin_lock_init_rank(&c->lock, "swap_cluster", RANK_SWAP);
		spin_lock(&c->lock);
		for (unsigned s = 0; s < SWAPFILE_CLUSTER; s++)
			c->bad += slot_state(a->words[i * SWAPFILE_CLUSTER + s]) == SLOT_BAD;
		c->off = true;
		cluster_place(a, c);
		spin_unlock(&c->lock);
	}
}

/* From now on the slots of the area count and are given out, or no longer. One cluster at a time, so
 * that no slot that comes or goes meanwhile is counted twice. */
void clusters_switch(struct swap_area *a, bool on)
{
	for (uint32_t i = 0; i < a->nr_clusters; i++) {
		struct swap_cluster *c = &a->clusters[i];
		long good, free;

		spin_lock(&c->lock);
		ASSERT(c->off == on);
		c->off = !on;
		good = (long)SWAPFILE_CLUSTER - c->bad;
		free = good - c->used;
		mod_total_swap_pages(on ? good : -good);
		__atomic_fetch_add(&nr_swap_pages, on ? free : -free, __ATOMIC_RELAXED);
		spin_unlock(&c->lock);
	}
}

/* Some cluster from the lists, still on its list: whoever locks it looks again. */
static struct swap_cluster *cluster_peek(struct swap_area *a)
{
	struct swap_cluster *c = NULL;

	spin_lock(&a->lock);
	if (!list_empty(&a->free))
		c = list_first_entry(&a->free, struct swap_cluster, link);
	else if (!list_empty(&a->part))
		c = list_first_entry(&a->part, struct swap_cluster, link);
	spin_unlock(&a->lock);
	return c;
}

/* Makes the cluster current, if it is still to be had. */
static bool cluster_take(struct swap_area *a, struct swap_cluster *c)
{
	bool ok;

	spin_lock(&c->lock);
	ok = c->place == CLUSTER_FREE || c->place == CLUSTER_PART;
	if (ok) {
		cluster_unlist(a, c);
		c->place = CLUSTER_CURRENT;
	}
	spin_unlock(&c->lock);
	return ok;
}

/* This CPU's new cluster; what another thread made current for it meanwhile goes back. */
static struct swap_cluster *cluster_next(struct swap_area *a, unsigned cpu)
{
	struct swap_cluster *c;
	uint32_t old;

	do {
		c = cluster_peek(a);
		if (!c)
			return NULL;
	} while (!cluster_take(a, c));
	old = __atomic_exchange_n(&a->current[cpu], (uint32_t)(c - a->clusters), __ATOMIC_ACQ_REL);
	if (old != CLUSTER_NONE) {
		struct swap_cluster *o = &a->clusters[old];

		spin_lock(&o->lock);
		if (o->place == CLUSTER_CURRENT)
			cluster_place(a, o);
		spin_unlock(&o->lock);
	}
	return c;
}

/* The next free slot of the cluster, from where the last one was. One is free. */
static uint64_t cluster_find(struct swap_area *a, struct swap_cluster *c)
{
	uint64_t first = (uint64_t)(c - a->clusters) * SWAPFILE_CLUSTER;
	unsigned s = c->next;

	assert_held(&c->lock);
	for (unsigned n = 0; n < SWAPFILE_CLUSTER; n++, s++) {
		s %= SWAPFILE_CLUSTER;
		if (slot_state(slot_get(a, first + s)) == SLOT_FREE) {
			c->next = (s + 1) % SWAPFILE_CLUSTER;
			return first + s;
		}
	}
	BUG_ON(true); /* the counts say otherwise */
	return 0;
}

/* Takes a slot from the cluster for the page. False: it is full, or the area is being taken away. */
static bool cluster_alloc(struct swap_area *a, struct swap_cluster *c, struct page *page,
			  uint64_t *off)
{
	bool ok;

	spin_lock(&c->lock);
	ok = !cluster_full(c) && !c->off;
	if (ok) {
		*off = cluster_find(a, c);
		c->used++;
		/* The cache's reference and its marks come with the word: a look-up finds all or nothing. */
		get_page(page);
		page->private = swp_entry(a->type, *off).val;
		page_set(page, PG_swapcache);
		slot_set(a, *off, slot_make(SLOT_CACHE, 0, page_to_pfn(page).n));
		if (c->place != CLUSTER_CURRENT)
			cluster_unlist(a, c);
		/* One that is somebody's stays his until he finds it full. */
		if (cluster_full(c))
			c->place = CLUSTER_FULL;
		else if (c->place != CLUSTER_CURRENT)
			cluster_place(a, c);
		/* Before the lock is let go: swapoff switches the cluster off under it, and must then
		 * find what is in use, and what is free, as the words say. */
		__atomic_fetch_add(&a->inuse, 1, __ATOMIC_RELAXED);
		__atomic_fetch_sub(&nr_swap_pages, 1, __ATOMIC_RELAXED);
	}
	spin_unlock(&c->lock);
	return ok;
}

/* The lists are empty: what is free lies in the clusters of other CPUs. */
static bool steal_slot(struct swap_area *a, struct page *page, uint64_t *off)
{
	for (unsigned cpu = 0; cpu < hal_cpu_count(); cpu++) {
		uint32_t n = __atomic_load_n(&a->current[cpu], __ATOMIC_ACQUIRE);

		if (n != CLUSTER_NONE && cluster_alloc(a, &a->clusters[n], page, off))
			return true;
	}
	return false;
}

bool slot_alloc(struct swap_area *a, struct page *page, uint64_t *off)
{
	unsigned cpu = hal_cpu_id(); /* a hint: the thread may move on */
	uint32_t n = __atomic_load_n(&a->current[cpu], __ATOMIC_ACQUIRE);
	struct swap_cluster *c = n == CLUSTER_NONE ? NULL : &a->clusters[n];

	while (__atomic_load_n(&a->writable, __ATOMIC_RELAXED)) {
		if (c && cluster_alloc(a, c, page, off))
			return true;
		c = cluster_next(a, cpu);
		if (!c)
			return steal_slot(a, page, off);
	}
	return false;
}

void slot_release(struct swap_area *a, uint64_t off)
{
	struct swap_cluster *c = slot_cluster(a, off);
	bool retire = slot_get(a, off) & SLOT_FAILED;

	assert_held(&c->lock);
	ASSERT_DEBUG(c->used);
	zswap_drop(a, off);
	slot_set(a, off, retire ? SLOT_BAD : SLOT_FREE);
	if (c->place == CLUSTER_PART)
		cluster_unlist(a, c);
	c->used--;
	c->bad += retire;
	if (c->place != CLUSTER_CURRENT)
		cluster_place(a, c);
	__atomic_fetch_sub(&a->inuse, 1, __ATOMIC_RELAXED);
	if (retire)
		__atomic_fetch_sub(&a->pages, 1, __ATOMIC_RELAXED);
	if (c->off)
		return;
	if (retire)
		mod_total_swap_pages(-1);
	else
		__atomic_fetch_add(&nr_swap_pages, 1, __ATOMIC_RELAXED);
}

/* ---- who names a slot ------------------------------------------------------------------------ */

static int slot_duplicate(struct swap_area *a, uint64_t off)
{
	uint64_t w = slot_get(a, off);

	assert_held(&slot_cluster(a, off)->lock);
	if (slot_state(w) < SLOT_COUNT)
		return -ENOENT;
	if (slot_count(w) == SWAP_COUNT_MAX)
		return -ENOMEM;
	slot_set(a, off, w + SLOT_COUNT_ONE);
	return 0;
}

int swap_duplicate(swp_entry_t entry)
{
	struct swap_cluster *c;
	struct swap_area *a;
	int err;

	if (is_swapin_error(entry))
		return 0;
	a = get_swap_device(entry);
	if (!a)
		return -ENOENT;
	c = slot_cluster(a, swp_offset(entry));
	spin_lock(&c->lock);
	err = slot_duplicate(a, swp_offset(entry));
	spin_unlock(&c->lock);
	put_swap_device(a);
	return err;
}

/* One entry fewer names the slot; the word that is left. Cluster locked. */
static uint64_t slot_put(struct swap_area *a, uint64_t off)
{
	uint64_t w = slot_get(a, off);

	assert_held(&slot_cluster(a, off)->lock);
	BUG_ON(slot_state(w) < SLOT_COUNT || !slot_count(w));
	w -= SLOT_COUNT_ONE;
	if (slot_state(w) == SLOT_COUNT && !slot_count(w)) {
		slot_release(a, off);
		return 0;
	}
	slot_set(a, off, w);
	return w;
}

static uint64_t put_entry(struct swap_area *a, uint64_t off)
{
	struct swap_cluster *c = slot_cluster(a, off);
	uint64_t w;

	spin_lock(&c->lock);
	w = slot_put(a, off);
	spin_unlock(&c->lock);
	return w;
}

void swap_free(swp_entry_t entry)
{
	struct swap_area *a;

	if (is_swapin_error(entry))
		return;
	a = get_swap_device(entry);
	BUG_ON(!a); /* while it is counted, the area stays */
	put_entry(a, swp_offset(entry));
	put_swap_device(a);
}

bool free_swap_and_cache(swp_entry_t entry)
{
	struct swap_area *a;
	struct page *page;
	uint64_t w;

	if (is_swapin_error(entry))
		return false;
	a = get_swap_device(entry);
	BUG_ON(!a);
	w = put_entry(a, swp_offset(entry));
	page = slot_state(w) == SLOT_CACHE && !slot_count(w) ? lookup_swap_cache(entry) : NULL;
	if (page) {
		if (trylock_page(page)) {
			if (swap_cache_page_is(page, entry) &&
			    (page_mapcount(page) <= 0 || vm_swap_full()))
				try_to_free_swap(page);
			unlock_page(page);
		}
		put_page(page);
	}
	put_swap_device(a);
	return page;
}

unsigned long swp_swapcount(swp_entry_t entry)
{
	struct swap_area *a = is_swapin_error(entry) ? NULL : get_swap_device(entry);
	unsigned long n;

	if (!a)
		return 0;
	n = slot_count(slot_get(a, swp_offset(entry)));
	put_swap_device(a);
	return n;
}

bool swap_cache_resident(swp_entry_t entry)
{
	struct page *page = lookup_swap_cache(entry);
	bool valid = page && PageUptodate(page);

	if (page)
		put_page(page);
	return valid;
}
