/* SPDX-License-Identifier: MIT */
/*
 * Swap areas: on (quire_swapon), off (mm/reclaim/swapoff.c calls the pieces that stand here), which
 * one gives the next slot, and what is shown of them.
 *
 * An area may be looked at by whoever has an entry of it, under no lock: get_swap_device() counts
 * such users, and the area's memory goes when the count, 1 while it is on, has come down to 0. The
 * structures themselves are never freed. Areas stand in a list by priority, the highest first; those
 * of one priority take turns, 64 slots each.
 *
 * Locks: swapon_mutex, one swapon or swapoff at a time; swap_lock, the list.
 */
#include "lib/mutex.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/phys/commit.h"
#include "mm/slab/slab.h"
#include "mm/swap/header.h"
#include "mm/swap/swap_def.h"
#include "mm/swap/zswap.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>
#include <quire/os.h>

struct swap_area swap_areas[MAX_SWAPFILES];
long nr_swap_pages;
static int least_priority; /* the last one that was given to an area that asked for none; swapon_mutex */
static DEFINE_MUTEX(swapon_mutex);
static spinlock_t swap_lock = SPINLOCK_INIT_RANK("swap_lock", RANK_SWAP_LIST);
static struct list_head areas_by_prio = LIST_HEAD_INIT(areas_by_prio); /* swap_lock */

#define TURN 64 /* slots in a row from one of several areas of equal priority */

static struct list_head *area_list(void)
{
	assert_held(&swap_lock);
	return &areas_by_prio;
}

void swapon_lock(void)
{
	mutex_lock(&swapon_mutex);
}

void swapon_unlock(void)
{
	mutex_unlock(&swapon_mutex);
}

unsigned swap_area_type(const struct swap_area *a)
{
	return a->type;
}

unsigned long swap_area_pages(const struct swap_area *a)
{
	return __atomic_load_n(&a->pages, __ATOMIC_RELAXED);
}

unsigned long swap_area_inuse(const struct swap_area *a)
{
	return __atomic_load_n(&a->inuse, __ATOMIC_RELAXED);
}

/* ---- users ----------------------------------------------------------------------------------- */

static bool area_is_on(const struct swap_area *a)
{
	return READ_ONCE(a->users);
}

/* A reference of an area that is on. */
static bool area_get(struct swap_area *a)
{
	uint32_t n = __atomic_load_n(&a->users, __ATOMIC_RELAXED);

	while (n)
		if (__atomic_compare_exchange_n(&a->users, &n, n + 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

struct swap_area *get_swap_device(swp_entry_t entry)
{
	struct swap_area *a = &swap_areas[swp_type(entry)];

	if (swp_type(entry) >= MAX_SWAPFILES || !area_get(a))
		return NULL;
	if (swp_offset(entry) < a->max)
		return a;
	put_swap_device(a);
	return NULL;
}

void put_swap_device(struct swap_area *a)
{
	uint32_t left = __atomic_sub_fetch(&a->users, 1, __ATOMIC_SEQ_CST);

	/* swapoff_finish() waits for the last one. */
	if (unlikely(!left))
		os_wake(&a->users, UINT32_MAX);
}

void put_swap_device_of(swp_entry_t entry)
{
	put_swap_device(&swap_areas[swp_type(entry)]);
}

bool swap_is_rotational(swp_entry_t entry)
{
	return swap_areas[swp_type(entry)].dev->rotational;
}

struct swap_area *swap_area_pick(unsigned nth)
{
	struct swap_area *a, *found = NULL;

	spin_lock(&swap_lock);
	list_for_each_entry(a, area_list(), link) {
		if (swap_area_inuse(a) >= swap_area_pages(a) || nth-- > 0 || !area_get(a))
			continue;
		found = a;
		break;
	}
	if (found && ++found->turn % TURN == 0) {
		/* Behind the last of its equals. */
		struct list_head *at = found->link.next;

		while (at != area_list() &&
		       list_entry(at, struct swap_area, link)->prio == found->prio)
			at = at->next;
		list_del(&found->link);
		list_add_tail(&found->link, at);
	}
	spin_unlock(&swap_lock);
	return found;
}

/* ---- on -------------------------------------------------------------------------------------- */

struct swap_area *swap_area_of(const struct quire_blkdev *dev)
{
	assert_mutex_held(&swapon_mutex);
	for (unsigned i = 0; i < MAX_SWAPFILES; i++)
		if (area_is_on(&swap_areas[i]) && swap_areas[i].dev == dev)
			return &swap_areas[i];
	return NULL;
}

static struct swap_area *area_unused(void)
{
	assert_mutex_held(&swapon_mutex);
	for (unsigned i = 0; i < MAX_SWAPFILES; i++)
		if (!area_is_on(&swap_areas[i]))
			return &swap_areas[i];
	return NULL;
}

static void area_free_memory(struct swap_area *a)
{
	might_sleep();
	swap_io_exit(a);
	for (uint32_t i = 0; a->clusters && i < a->nr_clusters; i++)
		ASSERT(!a->clusters[i].compressed);
	kfree(a->current);
	vfree(a->clusters);
	vfree(a->words);
	a->current = NULL;
	a->clusters = NULL;
	a->words = NULL;
}

/* The tables of an area of a->max slots. 0 or -ENOMEM. */
static int area_alloc_memory(struct swap_area *a)
{
	might_sleep();
	a->nr_clusters = (uint32_t)((a->max + SWAPFILE_CLUSTER - 1) / SWAPFILE_CLUSTER);
	a->words = vzalloc((size_t)a->nr_clusters * SWAPFILE_CLUSTER * sizeof(a->words[0]));
	a->clusters = vzalloc((size_t)a->nr_clusters * sizeof(a->clusters[0]));
	a->current = kmalloc(hal_cpu_count() * sizeof(a->current[0]), GFP_KERNEL);
	if (a->words && a->clusters && a->current && !swap_io_init(a))
		return 0;
	area_free_memory(a);
	return -ENOMEM;
}

/* What the header says of the slots; nobody else knows the area yet. */
static void area_fill(struct swap_area *a, const struct swap_header *h)
{
	a->words[0] = SLOT_BAD; /* the header */
	a->pages = a->max - 1;
	for (uint32_t i = 0; i < h->nr_badpages; i++) {
		uint32_t bad = swap_header_bad(h, i);

		if (bad >= a->max)
			continue;
		a->words[bad] = SLOT_BAD;
		a->pages--;
	}
	for (uint64_t off = a->max; off < (uint64_t)a->nr_clusters * SWAPFILE_CLUSTER; off++)
		a->words[off] = SLOT_BAD;
	for (unsigned cpu = 0; cpu < hal_cpu_count(); cpu++)
		a->current[cpu] = CLUSTER_NONE;
	INIT_LIST_HEAD(&a->free);
	INIT_LIST_HEAD(&a->part);
	spin_lock_init_rank(&a->lock, "swap_area", RANK_SWAP_AREA);
	clusters_init(a);
}

/* Behind those of its priority: slots are given out from now on. */
static void area_enable(struct swap_area *a)
{
	struct swap_area *at;

	assert_mutex_held(&swapon_mutex);
	spin_lock(&swap_lock);
	list_for_each_entry(at, area_list(), link)
		if (at->prio < a->prio)
			break;
	list_add_tail(&a->link, &at->link); /* with none left, that is the head */
	__atomic_store_n(&a->writable, true, __ATOMIC_RELEASE);
	spin_unlock(&swap_lock);
	clusters_switch(a, true);
}

static int read_header(struct quire_blkdev *dev, struct page *page, struct swap_header *h)
{
	uint64_t pages = dev->sectors >> (PAGE_SHIFT - QUIRE_SECTOR_SHIFT);
	char line[96];
	int err;

	if (dev->in_memory) {
		/* No header, and slot 0 is left out as if there were one. */
		*h = (struct swap_header){.slots = min(pages, 1ull << SWAP_OFFSET_BITS)};
		return pages > 1 ? zswap_start() : -EINVAL;
	}
	if (!pages)
		return -EINVAL;
	err = swap_read_sync(dev, 0, page);
	if (err)
		return err;
	err = swap_header_parse(h, page_address(page), PAGE_SIZE, pages, 1ull << SWAP_OFFSET_BITS);
	if (err) {
		scnprintf(line, sizeof(line), "swapon: %s: %s", dev->name, h->error);
		os_log(line);
	}
	return err;
}

static int area_on(struct swap_area *a, struct quire_blkdev *dev, const char *path, unsigned flags,
		   const struct swap_header *h)
{
	char line[128];
	int err;

	assert_mutex_held(&swapon_mutex);
	/* Somebody with an old entry may ask for users at this moment; it says no. */
	memset((char *)a + sizeof(a->users), 0, sizeof(*a) - sizeof(a->users));
	a->type = (unsigned)(a - swap_areas);
	a->dev = dev;
	a->max = h->slots;
	scnprintf(a->path, sizeof(a->path), "%s", path);
	err = area_alloc_memory(a);
	if (err)
		return err;
	area_fill(a, h);
	a->prio = flags & QUIRE_SWAP_FLAG_PREFER ? (int)(flags & QUIRE_SWAP_FLAG_PRIO_MASK)
						 : --least_priority;
	__atomic_store_n(&a->users, 1, __ATOMIC_RELEASE);
	area_enable(a);
	scnprintf(line, sizeof(line), "Adding %luk swap on %s.  Priority:%d", a->pages << (PAGE_SHIFT - 10),
		  path, a->prio);
	os_log(line);
	return 0;
}

int quire_swapon(struct quire_blkdev *dev, const char *path, unsigned flags)
{
	struct page *page;
	struct swap_header h;
	struct swap_area *a;
	int err;

	if (flags & ~QUIRE_SWAP_FLAGS_VALID)
		return -EINVAL;
	if (dev->read_only)
		return -EACCES;
	page = alloc_pages(GFP_KERNEL, 0);
	if (!page)
		return -ENOMEM;
	swapon_lock();
	a = area_unused();
	if (swap_area_of(dev))
		err = -EBUSY;
	else if (!a)
		err = -EPERM;
	else
		err = read_header(dev, page, &h);
	if (!err)
		err = area_on(a, dev, path ? path : dev->name, flags, &h);
	swapon_unlock();
	put_page(page);
	return err;
}

/* ---- off ------------------------------------------------------------------------------------- */

void swapoff_begin(struct swap_area *a)
{
	assert_mutex_held(&swapon_mutex);
	spin_lock(&swap_lock);
	list_del(&a->link);
	__atomic_store_n(&a->writable, false, __ATOMIC_SEQ_CST);
	spin_unlock(&swap_lock);
	clusters_switch(a, false);
}

void swapoff_undo(struct swap_area *a)
{
	assert_mutex_held(&swapon_mutex);
	area_enable(a);
}

void swapoff_finish(struct swap_area *a)
{
	uint32_t n;

	assert_mutex_held(&swapon_mutex);
	ASSERT(!swap_area_inuse(a));
	n = __atomic_sub_fetch(&a->users, 1, __ATOMIC_SEQ_CST);
	while (n) {
		os_wait(&a->users, &a->users, n);
		n = __atomic_load_n(&a->users, __ATOMIC_SEQ_CST);
	}
	/* Whoever gave up the last slots, by way of a page that was cached, may be about to let go of a
	 * lock still. */
	for (uint32_t i = 0; i < a->nr_clusters; i++) {
		spin_lock(&a->clusters[i].lock);
		spin_unlock(&a->clusters[i].lock);
	}
	area_free_memory(a);
	a->dev = NULL;
}

bool swap_area_next_cached(struct swap_area *a, uint64_t *off)
{
	for (; *off < a->max; ++*off)
		if (slot_state(slot_get(a, *off)) == SLOT_CACHE)
			return true;
	return false;
}

void swap_init(void)
{
	memset(swap_areas, 0, sizeof(swap_areas));
	INIT_LIST_HEAD(&areas_by_prio);
	nr_swap_pages = 0;
	least_priority = -1;
	mod_total_swap_pages(-(long)total_swap_pages());
	zswap_init();
}

void swap_exit(void)
{
	swapon_lock();
	for (unsigned i = 0; i < MAX_SWAPFILES; i++) {
		if (!area_is_on(&swap_areas[i]))
			continue;
		swapoff_begin(&swap_areas[i]);
		swapoff_finish(&swap_areas[i]);
	}
	zswap_exit();
	swapon_unlock();
}

/* ---- what is shown --------------------------------------------------------------------------- */

bool quire_swap_info(unsigned n, struct quire_swap_info *info)
{
	bool found = false;

	swapon_lock();
	for (unsigned i = 0; i < MAX_SWAPFILES && !found; i++) {
		const struct swap_area *a = &swap_areas[i];

		if (!area_is_on(a) || n--)
			continue;
		*info = (struct quire_swap_info){
			.pages = swap_area_pages(a),
			.used = swap_area_inuse(a),
			.prio = a->prio,
			.errors = __atomic_load_n(&a->errors, __ATOMIC_RELAXED),
			.dev = a->dev,
		};
		scnprintf(info->path, sizeof(info->path), "%s", a->path);
		found = true;
	}
	swapon_unlock();
	return found;
}

/* /proc/swaps, in 5.10's columns. */
void quire_show_swaps(quire_emit_fn emit, void *ctx)
{
	struct quire_swap_info s;

	emitf(emit, ctx, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
	for (unsigned i = 0; quire_swap_info(i, &s); i++) {
		unsigned long size = s.pages << (PAGE_SHIFT - 10), used = s.used << (PAGE_SHIFT - 10);
		size_t len = strlen(s.path);

		emitf(emit, ctx, "%s%*s%s\t%lu\t%s%lu\t%s%d\n", s.path,
		      len < 40 ? (int)(40 - len) : 1, " ", s.dev->file ? "file\t" : "partition", size, size < 10000000 ? "\t" : "", used,
		      used < 10000000 ? "\t" : "", s.prio);
	}
}
