/* SPDX-License-Identifier: MIT */
/*
 * Slabs: blocks of pages cut into the objects of one cache. A slab is *partial* (some free, on
 * cache->partial) or *full* (none free, on cache->full). Its free objects are a list through their
 * own memory, and behind that list those at its end that were never handed out: a new slab is not
 * written to until somebody wants its objects.
 *
 * May touch: page allocator, cache lists. Knows nothing of magazines.
 */
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/os.h"
#include "mm/slab_def.h"
#include "mm/vmstat.h"

bool slab_shuffle;

/* For meminfo, and for whoever looks for slabs that could be given back. */
static void account_slab(const struct kmem_cache *c, long pages)
{
	mod_node_page_state(c->flags & SLAB_RECLAIM_ACCOUNT ? NR_SLAB_RECLAIMABLE :
							      NR_SLAB_UNRECLAIMABLE,
			    pages);
}

static void *nth_object(const struct kmem_cache *c, const struct page *page, unsigned i)
{
	return (char *)page_address(page) + c->red_left_pad + (size_t)i * c->size;
}

/*
 * A random order of the free list (Sattolo's algorithm): every object begins as its own successor,
 * successors are swapped, and what comes out is one cycle through all of them, each cycle as likely
 * as any other. It is cut before the first object.
 */
static void shuffle(struct kmem_cache *c, struct page *page, unsigned n)
{
	uint64_t r = os_entropy() ^ hal_cycles() ^ slab_mark(page);
	void *first = nth_object(c, page, 0);

	for (unsigned i = 0; i < n; i++)
		set_link(c, nth_object(c, page, i), nth_object(c, page, i));
	for (unsigned i = n - 1; i > 0; i--) {
		void *a = nth_object(c, page, i), *b;
		uintptr_t next = get_link(c, a);

		r = r * 6364136223846793005ull + 1442695040888963407ull;
		b = nth_object(c, page, (r >> 33) % i);
		set_link(c, a, (void *)get_link(c, b));
		set_link(c, b, (void *)next);
	}
	page->index = n > 1 ? get_link(c, first) : (unsigned long)first;
	set_link(c, first, NULL);
}

static void link_in_order(struct kmem_cache *c, struct page *page, unsigned n)
{
	void *next = NULL;

	for (unsigned i = n; i-- > 0;) {
		void *obj = nth_object(c, page, i);

		set_link(c, obj, next);
		next = obj;
	}
	page->index = (unsigned long)next;
}

/* Makes fresh pages a slab. No lock: nobody knows it yet. */
static void setup_slab(struct kmem_cache *c, struct page *page)
{
	size_t bytes = slab_bytes(page);
	unsigned n = bytes / c->size;

	page->mapping = c;
	page->units = n << 16;
	page->index = 0;
	page->waiters = 0;
	page_set(page, PG_slab);
	if (slab_checked(c))
		slab_debug_setup(c, page);
	for (unsigned i = 0; c->ctor && i < n; i++)
		c->ctor(nth_object(c, page, i));
	if (slab_shuffle)
		shuffle(c, page, n);
	else if (slab_checked(c))
		link_in_order(c, page, n);
	else
		page->waiters = n;
	if (!slab_checked(c))
		hal_poison(page_address(page), bytes);
}

struct page *new_slab(struct kmem_cache *c, gfp_t gfp)
{
	unsigned least = order_base_2(DIV_ROUND_UP(c->size, PAGE_SIZE));
	gfp_t flags = (gfp & ~(__GFP_ZERO | __GFP_MOVABLE | __GFP_HIGHMEM | __GFP_COMP |
			       __GFP_DMA | __GFP_DMA32)) | c->allocflags;
	struct page *page = NULL;

	/* Larger slabs waste less; but a request is not to fail, nor to reclaim, for that. */
	if (c->order > least)
		page = alloc_pages((flags & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) |
				   __GFP_NOWARN | __GFP_COMP, c->order);
	if (!page)
		page = alloc_pages(flags | (least ? __GFP_COMP : 0), least);
	if (!page)
		return NULL;
	setup_slab(c, page);
	account_slab(c, 1l << compound_order(page));
	return page;
}

/* The slab is on no list any more. No lock. */
static void discard_slab(struct kmem_cache *c, struct page *page)
{
	unsigned order = compound_order(page);

	account_slab(c, -(1l << order));
	page_clear(page, PG_slab);
	page->mapping = NULL;
	page->index = 0;
	page->units = 0;
	page->waiters = 0;
	__free_pages(page, order);
}

void discard_list(struct kmem_cache *c, struct list_head *dead)
{
	while (!list_empty(dead)) {
		struct page *page = list_first_entry(dead, struct page, lru);

		list_del_init(&page->lru);
		discard_slab(c, page);
	}
}

void add_slab(struct kmem_cache *c, struct page *page)
{
	list_add(&page->lru, &c->partial);
	c->nr_partial++;
	c->nr_slabs++;
	c->nr_objs += slab_total(page);
	c->nr_free += slab_total(page);
	c->nr_pages += 1ul << compound_order(page);
}

void remove_slab(struct kmem_cache *c, struct page *page, struct list_head *dead)
{
	list_move(&page->lru, dead);
	c->nr_partial--;
	c->nr_slabs--;
	c->nr_objs -= slab_total(page);
	c->nr_free -= slab_total(page);
	c->nr_pages -= 1ul << compound_order(page);
}

/* cache->lock held; others read it without. */
static void count_inuse(struct page *page, int n)
{
	__atomic_store_n(&page->units, page->units + n, __ATOMIC_RELAXED);
}

void slab_give_up(struct kmem_cache *c, struct page *page)
{
	unsigned lost = slab_total(page) - slab_inuse(page);

	page->index = 0;
	page->waiters = 0;
	count_inuse(page, lost);
	c->nr_free -= lost;
	c->nr_lost += lost;
	c->nr_partial--;
	list_move(&page->lru, &c->full);
}

/* Up to n of those that were never handed out; returns how many. */
static unsigned pop_fresh(struct kmem_cache *c, struct page *page, void **obj, unsigned n)
{
	char *next = nth_object(c, page, slab_total(page) - page->waiters);

	n = min(n, page->waiters);
	page->waiters -= n;
	for (unsigned i = 0; i < n; i++, next += c->size) {
		if (c->hardened)
			set_link(c, next, NULL);
		obj[i] = next;
	}
	return n;
}

/* Up to n from the head of the free list, their links turned into marks; returns how many. A link
 * that leads nowhere ends it, and *broken tells. */
static unsigned pop_listed(struct kmem_cache *c, struct page *page, void **obj, unsigned n,
			   bool *broken)
{
	uintptr_t base = (uintptr_t)nth_object(c, page, 0), at = page->index, next;
	uint32_t end = slab_total(page) * c->size;
	unsigned got = 0;

	for (; at && got < n; at = next) {
		next = get_link(c, (void *)at);
		if (next) {
			uintptr_t off = next - base;
			uint32_t i = (uint32_t)(((uint64_t)off * c->recip) >> 32);

			if (unlikely(off >= end || i * c->size != off)) {
				*broken = true;
				break;
			}
		}
		if (c->hardened)
			set_link(c, (void *)at, NULL);
		obj[got++] = (void *)at;
	}
	page->index = at;
	return got;
}

unsigned slab_pop(struct kmem_cache *c, struct page *page, void **obj, unsigned n, bool *broken)
{
	unsigned got = pop_listed(c, page, obj, n, broken);

	if (got < n && !*broken)
		got += pop_fresh(c, page, obj + got, n - got);
	count_inuse(page, got);
	c->nr_free -= got;
	if (unlikely(*broken)) {
		slab_give_up(c, page);
	} else if (!slab_has_free(page)) {
		list_move(&page->lru, &c->full);
		c->nr_partial--;
	}
	return got;
}

/* The first object comes home to a full slab, or the last one to any. */
static __attribute__((noinline)) void slab_moves(struct kmem_cache *c, struct page *page, bool was_full,
						 struct list_head *dead)
{
	if (was_full) {
		list_move(&page->lru, &c->partial);
		c->nr_partial++;
	}
	if (!slab_inuse(page) && c->nr_partial > SLAB_MIN_PARTIAL)
		remove_slab(c, page, dead);
}

void slab_push(struct kmem_cache *c, void *const *obj, unsigned n, struct list_head *dead)
{
	c->nr_free += n;
	for (unsigned i = 0; i < n; i++) {
		struct page *page = compound_head(virt_to_page(obj[i]));
		bool was_full = !slab_has_free(page);
		uint32_t units = page->units - 1;

		set_link(c, obj[i], (void *)page->index);
		page->index = (unsigned long)obj[i];
		__atomic_store_n(&page->units, units, __ATOMIC_RELAXED);
		if (unlikely(was_full) || unlikely(!(units & 0xffff)))
			slab_moves(c, page, was_full, dead);
	}
}

/* All empty slabs, also those that are kept against the next burst; pages given back. */
size_t discard_empty(struct kmem_cache *c)
{
	struct page *page, *next;
	size_t before, after;
	irqflags_t flags;
	LIST_HEAD(dead);

	spin_lock_irqsave(&c->lock, flags);
	before = c->nr_pages;
	list_for_each_entry_safe(page, next, &c->partial, lru)
		if (!slab_inuse(page))
			remove_slab(c, page, &dead);
	after = c->nr_pages;
	spin_unlock_irqrestore(&c->lock, flags);
	discard_list(c, &dead);
	return before - after;
}
