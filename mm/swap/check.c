/* SPDX-License-Identifier: MIT */
/*
 * quire_check() of swap: what areas and clusters keep as sums is counted again from the words, and
 * each cached page is asked whether it knows its slot. Numbers are those of docs/invariants.md.
 */
#include "lib/printf.h"
#include "mm/base/vmstat.h"
#include "mm/swap/swap_def.h"
#include "mm/swap/zswap.h"
#include <quire/os.h>

struct swap_check {
	long broken;
	unsigned long cached;
	long free, total;
};

static void broken(struct swap_check *t, const char *id, const char *what, uint64_t at, uint64_t seen,
		   uint64_t expected)
{
	char line[160];

	ASSERT(id);
	if (t->broken++ >= 8)
		return;
	scnprintf(line, sizeof(line), "check: %s: swap: %s at %#llx: %#llx, expected %#llx", id, what,
		  (unsigned long long)at, (unsigned long long)seen, (unsigned long long)expected);
	os_log(line);
}

/* I39: slot and page know each other, and the cache has its reference. */
static void check_cached(struct swap_check *t, const struct swap_area *a, uint64_t off, uint64_t w)
{
	const struct page *page = pfn_to_page(PFN(slot_payload(w)));
	swp_entry_t entry = swp_entry(a->type, off);

	t->cached++;
	if (!PageSwapCache(page) || page->private != entry.val)
		broken(t, "I39", "a cached page that names another slot", entry.val, page->private,
		       entry.val);
	if (page_count(page) < 1 + page_mapcount(page))
		broken(t, "I39", "a cached page with too few references", entry.val, page_count(page),
		       1 + page_mapcount(page));
}

/* I38: one cluster's words, and its sums. */
static unsigned long check_cluster(struct swap_check *t, struct swap_area *a, struct swap_cluster *c)
{
	uint64_t first = (uint64_t)(c - a->clusters) * SWAPFILE_CLUSTER;
	unsigned used = 0, bad = 0;

	spin_lock(&c->lock);
	for (uint64_t off = first; off < first + SWAPFILE_CLUSTER; off++) {
		uint64_t w = slot_get(a, off);

		switch (slot_state(w)) {
		case SLOT_FREE:
			if (w)
				broken(t, "I38", "a free slot with something in its word", off, w, 0);
			break;
		case SLOT_BAD:
			bad++;
			break;
		case SLOT_CACHE:
			check_cached(t, a, off, w);
			used++;
			break;
		default:
			if (slot_state(w) != SLOT_COUNT || !slot_count(w))
				broken(t, "I38", "a slot in use that nobody names", off, w, SLOT_COUNT);
			used++;
		}
	}
	if (used != c->used || bad != c->bad)
		broken(t, "I38", "slots of a cluster in use", first, c->used, used);
	if ((c->place == CLUSTER_FULL) != (used + bad == SWAPFILE_CLUSTER))
		broken(t, "I38", "place of a cluster", first, c->place, CLUSTER_FULL);
	if (!c->off) {
		t->free += (long)SWAPFILE_CLUSTER - used - bad;
		t->total += (long)SWAPFILE_CLUSTER - bad;
	}
	spin_unlock(&c->lock);
	return used;
}

static unsigned long list_length(struct list_head *head)
{
	struct list_head *at;
	unsigned long n = 0;

	for (at = head->next; at != head; at = at->next)
		n++;
	return n;
}

static void check_area(struct swap_check *t, struct swap_area *a)
{
	unsigned long used = 0, listed = 0, lists;

	for (uint32_t i = 0; i < a->nr_clusters; i++) {
		used += check_cluster(t, a, &a->clusters[i]);
		listed += a->clusters[i].place == CLUSTER_FREE || a->clusters[i].place == CLUSTER_PART;
	}
	if (used != swap_area_inuse(a))
		broken(t, "I38", "slots of an area in use", a->type, swap_area_inuse(a), used);
	spin_lock(&a->lock);
	lists = list_length(&a->free) + list_length(&a->part);
	spin_unlock(&a->lock);
	if (lists != listed)
		broken(t, "I38", "clusters on an area's lists", a->type, lists, listed);
}

long check_swap(void)
{
	struct swap_check t = {0};

	swapon_lock();
	for (unsigned i = 0; i < MAX_SWAPFILES; i++)
		if (READ_ONCE(swap_areas[i].users))
			check_area(&t, &swap_areas[i]);
	t.broken += check_zswap();
	swapon_unlock();
	if (t.cached != total_swapcache_pages())
		broken(&t, "I39", "pages of the swap cache", 0, total_swapcache_pages(), t.cached);
	if (t.free != get_nr_swap_pages())
		broken(&t, "I38", "free slots", 0, (uint64_t)get_nr_swap_pages(), (uint64_t)t.free);
	if (t.total != (long)total_swap_pages())
		broken(&t, "I38", "slots in all", 0, total_swap_pages(), (uint64_t)t.total);
	return t.broken;
}
