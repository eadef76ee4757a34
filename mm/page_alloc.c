/* SPDX-License-Identifier: MIT */
/*
 * The page allocator: a binary buddy for each zone, per-CPU lists of single pages before it.
 *
 * Terms. A *block* is 2^order aligned frames, order 0..10. A free block's head has PG_buddy, its
 * order in page->private, and is on free_area[order].free_list[type] of its zone; its other frames
 * have no mark at all. A *pageblock* is 512 frames; each has a migrate type, so that pages that
 * never move do not spread over memory that could be emptied.
 *
 * Allocation. alloc_pages -> __alloc_pages -> get_page_from_freelist: for each zone of the list,
 * if its watermark holds, rmqueue. A single page comes from this CPU's array (no lock, no atomic,
 * interrupts off), which refills itself by a batch from the buddy; larger ones from __rmqueue
 * under zone->lock: the smallest block of the right type that is large enough, halves given back
 * (expand); if there is none, the largest block of another type is taken over, with its whole
 * pageblock if at least half of that is free or of the same kind (__rmqueue_fallback). Where all
 * zones are below their marks, __alloc_pages_slowpath wakes, reclaims, drains, kills, or fails.
 *
 * Freeing. free_pages -> __free_pages -> (last reference) a single page goes onto this CPU's array
 * (last in, first out: its cache lines are warm), which gives a batch of its oldest back when it
 * is full; larger ones by __free_pages_ok -> __free_one_page, which merges with the buddy
 * (frame number ^ 2^order) as long as that is free and of the same order.
 *
 * States of a frame (I1): reserved | in the buddy (PG_buddy or inside such a block) | on a per-CPU
 * list (PG_pcp) | allocated (reference count > 0, or a later page of a block that is).
 *
 * Locks: zone->lock is last in the order but for the trace ring; the arrays need interrupts off
 * and their own CPU. Nothing here costs more with more RAM.
 */
#include "mm/page_alloc.h"
#include "lib/bits.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/lockrank.h"
#include "mm/os.h"
#include "mm/trace.h"
#include "mm/vmalloc.h"
#include "mm/vmstat.h"

unsigned long (*page_reclaim_hook)(gfp_t gfp, unsigned order);
bool (*page_oom_hook)(gfp_t gfp, unsigned order);
void (*page_kswapd_hook)(struct zone *z, unsigned order);

/* Flags that survive freeing: the number of the zone. */
#define PAGE_FLAGS_KEPT (3ul << PG_zone0)
/* Flags that no page may have when its last reference goes: somebody still uses it. */
#define PAGE_FLAGS_BAD                                                                     \
	(1ul << PG_locked | 1ul << PG_reserved | 1ul << PG_buddy | 1ul << PG_slab |        \
	 1ul << PG_pcp | 1ul << PG_lru | 1ul << PG_swapcache | 1ul << PG_writeback |       \
	 1ul << PG_isolated | 1ul << PG_tail)

/* Who may be robbed, nearest relative first (5.10's order). */
static const uint8_t fallbacks[MIGRATE_PCPTYPES][2] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

_Noreturn static void bad_page(const struct page *p, const char *why)
{
	char line[160];

	scnprintf(line, sizeof(line),
		  "bad page: %s: pfn %#llx flags %#lx refcount %d mapcount %d mapping %p", why,
		  (unsigned long long)page_to_pfn(p).n, p->flags, p->_refcount, p->_mapcount,
		  p->mapping);
	os_panic(line);
}

/* ---- the free lists; zone->lock held --------------------------------------------------------- */

/* Marks the head of a free block; the order lies in private until it leaves its list. */
static void set_buddy(struct page *p, unsigned order)
{
	p->private = order;
	__atomic_store_n(&p->flags, p->flags | 1ul << PG_buddy, __ATOMIC_RELAXED);
}

static void clear_buddy(struct page *p)
{
	__atomic_store_n(&p->flags, p->flags & ~(1ul << PG_buddy), __ATOMIC_RELAXED);
	p->private = 0;
}

static void area_count(struct free_area *a, long n)
{
	__atomic_store_n(&a->nr_free, a->nr_free + n, __ATOMIC_RELAXED);
}

/* At the front: it will be taken first, while its cache lines are warm. */
static void add_to_free_list(struct page *p, struct zone *z, unsigned order, unsigned mt)
{
	list_add(&p->lru, &z->free_area[order].free_list[mt]);
	area_count(&z->free_area[order], 1);
}

/* At the end: it will be taken last, so that it may still merge. */
static void add_to_free_list_tail(struct page *p, struct zone *z, unsigned order, unsigned mt)
{
	list_add_tail(&p->lru, &z->free_area[order].free_list[mt]);
	area_count(&z->free_area[order], 1);
}

static void del_page_from_free_list(struct page *p, struct zone *z, unsigned order)
{
	list_del_init(&p->lru);
	clear_buddy(p);
	area_count(&z->free_area[order], -1);
}

/* A plain store of a word: readers of watermarks take no lock. */
static void zone_add_free(struct zone *z, long pages)
{
	__atomic_store_n(&z->nr_free, z->nr_free + pages, __ATOMIC_RELAXED);
}

/* True if buddy heads a free block of this order in the same zone: only then may they merge. */
static bool page_is_buddy(const struct page *buddy, const struct page *page, unsigned order)
{
	return page_test(buddy, PG_buddy) && buddy->private == order &&
	       page_zonenum(buddy) == page_zonenum(page);
}

/* The other half of the block one order up: they differ in one bit of their number. */
static struct page *buddy_of(struct page *page, unsigned order)
{
	return pfn_to_page(PFN(page_to_pfn(page).n ^ (1ull << order)));
}

/* The block one order up would be complete too, were its other half freed: keep this one for
 * last, it may soon be part of something larger. */
static bool buddy_merge_likely(struct page *page, unsigned order)
{
	struct page *higher;

	if (order >= MAX_ORDER - 2)
		return false;
	higher = pfn_to_page(PFN(page_to_pfn(page).n & ~(1ull << order)));
	return page_is_buddy(buddy_of(higher, order + 1), page, order + 1);
}

/* Frees one block and merges it upwards. Its flags and count are those of a free page already. */
static void __free_one_page(struct page *page, struct zone *z, unsigned order, unsigned mt)
{
	zone_add_free(z, 1l << order);
	while (order < MAX_ORDER - 1) {
		struct page *buddy = buddy_of(page, order);

		/* A section holds whole blocks of every order, so buddy has a struct page (I3). */
		if (!page_is_buddy(buddy, page, order))
			break;
		del_page_from_free_list(buddy, z, order);
		page = min(page, buddy);
		order++;
	}
	set_buddy(page, order);
	if (buddy_merge_likely(page, order))
		add_to_free_list_tail(page, z, order, mt);
	else
		add_to_free_list(page, z, order, mt);
}

/* page heads a block of order high that just left its list: give back all but 2^low pages. */
static void expand(struct zone *z, struct page *page, unsigned low, unsigned high, unsigned mt)
{
	while (high > low) {
		high--;
		set_buddy(page + (1ul << high), high);
		add_to_free_list(page + (1ul << high), z, high, mt);
	}
}

/* The smallest block of this type that is large enough, cut to size; NULL if there is none. */
static struct page *__rmqueue_smallest(struct zone *z, unsigned order, unsigned mt)
{
	for (unsigned o = order; o < MAX_ORDER; o++) {
		struct page *page = list_first_entry_or_null(&z->free_area[o].free_list[mt],
							     struct page, lru);

		if (!page)
			continue;
		del_page_from_free_list(page, z, o);
		expand(z, page, order, o, mt);
		zone_add_free(z, -(1l << order));
		return page;
	}
	return NULL;
}

/* ---- taking from another type ---------------------------------------------------------------- */

static void set_pageblock_migratetype(const struct page *page, unsigned mt)
{
	__atomic_store_n(&pageblock_types[page_to_pfn(page).n >> PAGEBLOCK_ORDER], (uint8_t)mt,
			 __ATOMIC_RELAXED);
}

/* From one type's list to another's; counts do not change. */
static void move_to_free_list(struct page *page, struct zone *z, unsigned order, unsigned mt)
{
	list_move_tail(&page->lru, &z->free_area[order].free_list[mt]);
}

/* An allocated page that could be moved elsewhere: a user page. A guess, made without locks. */
static bool looks_movable(const struct page *p)
{
	return page_count(p) > 0 && !page_test(p, PG_slab) && !page_test(p, PG_table) &&
	       !page_test(p, PG_reserved) && (page_test(p, PG_lru) || page_mapcount(p) > 0);
}

/* Moves the free blocks of page's pageblock to mt's lists; returns their pages. */
static unsigned long move_freepages_block(struct zone *z, struct page *page, unsigned mt,
					  unsigned long *movable)
{
	uint64_t first = page_to_pfn(page).n & ~(PAGEBLOCK_PAGES - 1);
	struct page *p = pfn_to_page(PFN(first)), *end = p + PAGEBLOCK_PAGES;
	unsigned long moved = 0;

	*movable = 0;
	while (p < end) {
		if (page_test(p, PG_buddy) && page_zone(p) == z) {
			unsigned order = (unsigned)p->private;

			move_to_free_list(p, z, order, mt);
			moved += 1ul << order;
			p += 1ul << order;
		} else {
			*movable += looks_movable(p);
			p++;
		}
	}
	return moved;
}

/* Whether the whole pageblock may change sides. A large block brings much with it anyway; and
 * what never moves had better fill one foreign pageblock than spoil several. */
static bool can_steal_fallback(unsigned order, unsigned start_mt)
{
	return order >= PAGEBLOCK_ORDER / 2 || start_mt == MIGRATE_RECLAIMABLE ||
	       start_mt == MIGRATE_UNMOVABLE;
}

/*
 * page heads a free block of another type. Where that is worth it the whole pageblock changes
 * sides, so that the next such request finds its own kind here and does not start yet another.
 */
static void steal_suitable_fallback(struct zone *z, struct page *page, unsigned start_mt,
				    bool whole_block)
{
	unsigned order = (unsigned)page->private, old = get_pageblock_migratetype(page);
	unsigned long free, movable, alike;

	if (order >= PAGEBLOCK_ORDER) {
		for (unsigned long i = 0; i < 1ul << order; i += PAGEBLOCK_PAGES)
			set_pageblock_migratetype(page + i, start_mt);
		move_to_free_list(page, z, order, start_mt);
		return;
	}
	if (!whole_block) {
		move_to_free_list(page, z, order, start_mt);
		return;
	}
	free = move_freepages_block(z, page, start_mt, &movable);
	if (start_mt == MIGRATE_MOVABLE)
		alike = movable;
	else
		alike = old == MIGRATE_MOVABLE ? PAGEBLOCK_PAGES - (free + movable) : 0;
	if (free + alike >= PAGEBLOCK_PAGES / 2)
		set_pageblock_migratetype(page, start_mt);
}

/* The type to rob at this order, -1 if none has a block. */
static int find_suitable_fallback(const struct free_area *area, unsigned order, unsigned mt,
				  bool *can_steal)
{
	*can_steal = can_steal_fallback(order, mt);
	if (!area->nr_free)
		return -1;
	for (unsigned i = 0; i < 2; i++)
		if (!list_empty(&area->free_list[fallbacks[mt][i]]))
			return fallbacks[mt][i];
	return -1;
}

/* Moves a block of another type to start_mt's list; false if there is none. */
static bool __rmqueue_fallback(struct zone *z, unsigned order, unsigned start_mt,
			       unsigned alloc_flags)
{
	unsigned least = order;
	bool can_steal = false;
	int mt = -1, o;

	if (alloc_flags & ALLOC_NOFRAGMENT)
		least = max(order, (unsigned)PAGEBLOCK_ORDER);
	/* The largest first: better one large raid than many small ones. */
	for (o = MAX_ORDER - 1; o >= (int)least; o--) {
		mt = find_suitable_fallback(&z->free_area[o], o, start_mt, &can_steal);
		if (mt >= 0)
			break;
	}
	if (mt < 0)
		return false;
	/* A movable page that cannot have the pageblock: then spoil the smallest block. */
	if (!can_steal && start_mt == MIGRATE_MOVABLE && o > (int)order) {
		for (o = order; o < MAX_ORDER; o++) {
			mt = find_suitable_fallback(&z->free_area[o], o, start_mt, &can_steal);
			if (mt >= 0)
				break;
		}
		BUG_ON(mt < 0);
	}
	steal_suitable_fallback(
		z, list_first_entry(&z->free_area[o].free_list[mt], struct page, lru), start_mt,
		can_steal);
	return true;
}

/* The documents' lowest step: own type first, then others', until something is found or nothing
 * is left. zone->lock held. */
static struct page *__rmqueue(struct zone *z, unsigned order, unsigned mt, unsigned alloc_flags)
{
	struct page *page;

	do {
		page = __rmqueue_smallest(z, order, mt);
	} while (unlikely(!page) && __rmqueue_fallback(z, order, mt, alloc_flags));
	return page;
}

/* ---- per-CPU lists; interrupts off ----------------------------------------------------------- */

/* PG_pcp makes a second free of the page visible, and tells the checker where it is. */
static void set_pcp_flag(struct page *p, bool on)
{
	unsigned long f = p->flags & PAGE_FLAGS_KEPT;

	__atomic_store_n(&p->flags, on ? f | 1ul << PG_pcp : f, __ATOMIC_RELAXED);
}

/* Fills an empty list with a batch under one hold of the zone's lock. */
static void rmqueue_bulk(struct zone *z, struct per_cpu_pages *pcp, unsigned mt,
			 unsigned alloc_flags)
{
	spin_lock(&z->lock);
	for (unsigned i = 0; i < z->pcp_batch; i++) {
		struct page *page = __rmqueue(z, 0, mt, alloc_flags);

		if (!page)
			break;
		set_pcp_flag(page, true);
		pcp->pages[mt][pcp->count[mt]++] = page;
	}
	spin_unlock(&z->lock);
	/* The buddy's order made the first the best to take: it goes on top. */
	for (unsigned i = 0, j = pcp->count[mt]; i + 1 < j; i++, j--)
		swap(pcp->pages[mt][i], pcp->pages[mt][j - 1]);
}

/* Gives the n oldest pages of one list back to the buddy. */
static void free_pcppages_bulk(struct zone *z, struct per_cpu_pages *pcp, unsigned mt, unsigned n)
{
	n = min(n, pcp->count[mt]);
	spin_lock(&z->lock);
	for (unsigned i = 0; i < n; i++) {
		struct page *page = pcp->pages[mt][i];

		set_pcp_flag(page, false);
		__free_one_page(page, z, 0, get_pageblock_migratetype(page));
	}
	spin_unlock(&z->lock);
	pcp->count[mt] -= n;
	memmove(pcp->pages[mt], pcp->pages[mt] + n, pcp->count[mt] * sizeof(struct page *));
}

/* The common case: one page off this CPU's list, with no lock and no atomic. */
static struct page *rmqueue_pcplist(struct zone *z, unsigned mt, unsigned alloc_flags)
{
	irqflags_t flags = hal_irq_save();
	unsigned cpu = hal_cpu_id();
	struct per_cpu_pages *pcp = &z->pcp[cpu];
	struct page *page = NULL;

	if (unlikely(!pcp->count[mt]))
		rmqueue_bulk(z, pcp, mt, alloc_flags);
	if (likely(pcp->count[mt])) {
		page = pcp->pages[mt][--pcp->count[mt]];
		set_pcp_flag(page, false);
		__count_vm_events(cpu, PGALLOC_DMA + z->idx, 1);
		__count_vm_events(cpu, PAGE_ALLOC_CALLS, 1);
	}
	hal_irq_restore(flags);
	return page;
}

/* Interrupts off; page is prepared. */
static void free_unref_page_commit(struct page *page, unsigned cpu)
{
	struct zone *z = page_zone(page);
	struct per_cpu_pages *pcp = &z->pcp[cpu];
	unsigned mt = get_pageblock_migratetype(page);

	__count_vm_events(cpu, PGFREE, 1);
	if (unlikely(mt >= MIGRATE_PCPTYPES)) {
		if (mt == MIGRATE_ISOLATE) {
			spin_lock(&z->lock);
			__free_one_page(page, z, 0, mt);
			spin_unlock(&z->lock);
			return;
		}
		mt = MIGRATE_MOVABLE;
	}
	if (unlikely(pcp->count[mt] >= z->pcp_high))
		free_pcppages_bulk(z, pcp, mt, z->pcp_batch);
	set_pcp_flag(page, true);
	pcp->pages[mt][pcp->count[mt]++] = page;
}

/* Everything this CPU keeps goes back, where it can merge. */
void drain_local_pages(void)
{
	irqflags_t flags = hal_irq_save();
	struct zone *z;

	for_each_populated_zone(z) {
		struct per_cpu_pages *pcp = &z->pcp[hal_cpu_id()];

		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			if (pcp->count[mt])
				free_pcppages_bulk(z, pcp, mt, pcp->count[mt]);
	}
	hal_irq_restore(flags);
}

static void drain_on_cpu(void *arg)
{
	drain_local_pages();
}

void drain_all_pages(void)
{
	unsigned n = hal_cpu_count();

	drain_local_pages();
	/* Whoever has interrupts off may not wait for others: their lists then stay. */
	if (n > 1 && !hal_irqs_off())
		hal_ipi_call(n < 64 ? (1ull << n) - 1 : ~0ull, drain_on_cpu, NULL);
}

/* ---- watermarks ------------------------------------------------------------------------------ */

/* Read without the lock: a guess that rmqueue() then makes sure of. */
static bool area_has_block(const struct free_area *a)
{
	return __atomic_load_n(&a->nr_free, __ATOMIC_RELAXED) != 0;
}

bool zone_watermark_ok(const struct zone *z, unsigned order, unsigned long mark,
		       enum zone_type highest_zoneidx, unsigned alloc_flags)
{
	long min = mark, free = __atomic_load_n(&z->nr_free, __ATOMIC_RELAXED);

	free -= (1l << order) - 1;
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
	for (unsigned o = order; o < MAX_ORDER; o++)
		if (area_has_block(&z->free_area[o]))
			return true;
	return false;
}

/* One load and one comparison where memory is plentiful; the whole test only near the mark. */
static inline bool zone_watermark_fast(const struct zone *z, unsigned order, unsigned long mark,
				       const struct alloc_context *ac, unsigned alloc_flags)
{
	if (likely(!order) && likely(__atomic_load_n(&z->nr_free, __ATOMIC_RELAXED) >
				     mark + z->lowmem_reserve[ac->highest_zoneidx]))
		return true;
	return zone_watermark_ok(z, order, mark, ac->highest_zoneidx, alloc_flags);
}

/* ---- allocation ------------------------------------------------------------------------------ */

/* A page or block of a zone that passed its watermark; NULL if other CPUs were quicker. */
static struct page *rmqueue(struct zone *z, unsigned order, unsigned alloc_flags, unsigned mt)
{
	struct page *page;
	irqflags_t flags;

	if (likely(order == 0))
		return rmqueue_pcplist(z, mt, alloc_flags);
	spin_lock_irqsave(&z->lock, flags);
	page = NULL;
	if (alloc_flags & ALLOC_HARDER)
		page = __rmqueue_smallest(z, order, MIGRATE_HIGHATOMIC);
	if (!page)
		page = __rmqueue(z, order, mt, alloc_flags);
	spin_unlock(&z->lock);
	if (page) {
		__count_vm_events(hal_cpu_id(), PGALLOC_DMA + z->idx, 1ul << order);
		__count_vm_events(hal_cpu_id(), PAGE_ALLOC_CALLS, 1);
	}
	hal_irq_restore(flags);
	return page;
}

/* Ties the pages of a block together: every later page leads to the first. */
static void prep_compound_page(struct page *page, unsigned order)
{
	page_set(page, PG_head);
	page->private = order;
	for (unsigned long i = 1; i < 1ul << order; i++) {
		page[i].mapping = page;
		page_set(&page[i], PG_tail);
	}
}

static void check_new_page(const struct page *p)
{
	if (unlikely(p->_refcount | (p->_mapcount + 1) | (p->flags & ~PAGE_FLAGS_KEPT)))
		bad_page(p, "handed out while in use");
}

/* From free to allocated: one reference, contents as gfp says. */
static void prep_new_page(struct page *page, unsigned order, gfp_t gfp)
{
	char *p = page_address(page);

	for (unsigned long i = 0; i < 1ul << order; i++)
		check_new_page(page + i);
	hal_unpoison(p, PAGE_SIZE << order);
	page->private = 0;
	__atomic_store_n(&page->_refcount, 1, __ATOMIC_RELAXED);
	if (gfp & __GFP_ZERO)
		for (unsigned long i = 0; i < 1ul << order; i++)
			hal_clear_page(p + (i << PAGE_SHIFT));
	if (unlikely(order && gfp & __GFP_COMP))
		prep_compound_page(page, order);
}

/* Walks the zones from the best one down and takes from the first that is above its mark. */
static struct page *get_page_from_freelist(gfp_t gfp, unsigned order, unsigned alloc_flags,
					   const struct alloc_context *ac)
{
	struct zoneref *z;
	struct zone *zone;
	struct page *page;

retry:
	for (z = ac->preferred_zoneref; (zone = z->zone) != NULL; z++) {
		if (!(alloc_flags & ALLOC_NO_WATERMARKS) &&
		    !zone_watermark_fast(zone, order,
					 zone->watermark[alloc_flags & ALLOC_WMARK_MASK], ac,
					 alloc_flags))
			continue;
		page = rmqueue(zone, order, alloc_flags, ac->migratetype);
		if (likely(page)) {
			prep_new_page(page, order, gfp);
			return page;
		}
	}
	/* Rather mix types than fail, once every zone was asked to do without. */
	if (alloc_flags & ALLOC_NOFRAGMENT) {
		alloc_flags &= ~ALLOC_NOFRAGMENT;
		goto retry;
	}
	return NULL;
}

/* How deep into the reserves this request may go, now that the ordinary marks are not met. */
static unsigned gfp_to_alloc_flags(gfp_t gfp)
{
	unsigned f = ALLOC_WMARK_MIN;

	if (gfp & __GFP_HIGH)
		f |= ALLOC_HIGH;
	if (gfp & __GFP_KSWAPD_RECLAIM)
		f |= ALLOC_KSWAPD;
	if (gfp & __GFP_ATOMIC && !(gfp & __GFP_NOMEMALLOC))
		f |= ALLOC_HARDER;
	if (gfp & __GFP_MEMALLOC && !(gfp & __GFP_NOMEMALLOC))
		f |= ALLOC_NO_WATERMARKS;
	return f;
}

/* Said ten times at most: a machine short of memory needs no flood of lines. */
static void warn_alloc(gfp_t gfp, unsigned order)
{
	static unsigned said;
	char line[128];

	if (gfp & __GFP_NOWARN || __atomic_fetch_add(&said, 1, __ATOMIC_RELAXED) >= 10)
		return;
	scnprintf(line, sizeof(line),
		  "page allocation failure: order:%u, gfp:%#x, free %lu of %lu pages", order, gfp,
		  nr_free_buddy(), totalram_pages());
	os_log(line);
}

static void wake_all_kswapds(unsigned order, const struct alloc_context *ac)
{
	if (page_kswapd_hook)
		page_kswapd_hook(ac->preferred_zoneref->zone, order);
}

/* One round of making room: others' pages, then this machine's own lists. Pages that appeared. */
static unsigned long direct_reclaim(gfp_t gfp, unsigned order, const struct alloc_context *ac)
{
	unsigned long before = nr_free_buddy(), progress = 0, after;

	count_vm_event(ALLOCSTALL_DMA + ac->preferred_zoneref->zone->idx);
	if (page_reclaim_hook)
		progress = page_reclaim_hook(gfp, order);
	try_purge_vmap_area_lazy(); /* frames that only wait for a flush */
	drain_all_pages();
	after = nr_free_buddy();
	return progress + (after > before ? after - before : 0);
}

#define MAX_RECLAIM_RETRIES 16

static struct page *__alloc_pages_slowpath(gfp_t gfp, unsigned order, struct alloc_context *ac)
{
	unsigned alloc_flags = gfp_to_alloc_flags(gfp), rounds = 0;
	bool costly = order > PAGE_ALLOC_COSTLY_ORDER;
	struct page *page;

	for (;;) {
		unsigned long progress;

		if (alloc_flags & ALLOC_KSWAPD)
			wake_all_kswapds(order, ac);
		page = get_page_from_freelist(gfp, order, alloc_flags, ac);
		if (page || !(gfp & __GFP_DIRECT_RECLAIM) || gfp & __GFP_MEMALLOC)
			break;
		progress = direct_reclaim(gfp, order, ac);
		page = get_page_from_freelist(gfp, order, alloc_flags, ac);
		if (page || gfp & __GFP_NORETRY)
			break;
		if (costly && !(gfp & (__GFP_RETRY_MAYFAIL | __GFP_NOFAIL)))
			break;
		if (progress && ++rounds < MAX_RECLAIM_RETRIES)
			continue;
		rounds = 0;
		if (!(gfp & __GFP_RETRY_MAYFAIL) && page_oom_hook && page_oom_hook(gfp, order)) {
			os_cond_resched();
			continue;
		}
		if (!(gfp & __GFP_NOFAIL))
			break;
		/* It must not fail and nobody can help: the reserves, then the end. */
		page = get_page_from_freelist(gfp, order, ALLOC_NO_WATERMARKS, ac);
		if (page)
			break;
		os_panic("out of memory in an allocation that must not fail");
	}
	if (!page)
		warn_alloc(gfp, order);
	return page;
}

/* Zones above NORMAL's edge rather than mixing types inside it (5.10: only where DMA32 exists). */
static unsigned alloc_flags_nofragment(const struct zone *z)
{
	return z->idx == ZONE_NORMAL && populated_zone(z - 1) ? ALLOC_NOFRAGMENT : 0;
}

struct page *__alloc_pages(gfp_t gfp, unsigned order)
{
	struct alloc_context ac;
	struct page *page;
	struct zone *zone;

	if (unlikely(order >= MAX_ORDER))
		return NULL;
	ac.zonelist = &node_zonelist;
	ac.nodemask = NULL;
	ac.highest_zoneidx = gfp_zone(gfp);
	ac.migratetype = gfp_migratetype(gfp);
	ac.spread_dirty_pages = false;
	for_each_zone_zonelist_nodemask(zone, ac.preferred_zoneref, ac.zonelist,
					ac.highest_zoneidx, ac.nodemask)
		break;
	if (unlikely(!zone)) /* no such memory in this machine */
		return NULL;
	if (fault_attr_fails(&inject_attr[QUIRE_INJECT_PAGE], PAGE_SIZE << order) &&
	    !(gfp & __GFP_NOFAIL))
		return NULL;
	page = get_page_from_freelist(gfp, order, ALLOC_WMARK_LOW | alloc_flags_nofragment(zone),
				      &ac);
	if (unlikely(!page))
		page = __alloc_pages_slowpath(gfp, order, &ac);
	if (page)
		trace_page_alloc(page_to_pfn(page).n, order, gfp, ac.migratetype);
	return page;
}

struct page *alloc_pages(gfp_t gfp, unsigned order)
{
	return __alloc_pages(gfp, order);
}

uintptr_t __get_free_pages(gfp_t gfp, unsigned order)
{
	struct page *page = alloc_pages(gfp, order);

	return page ? (uintptr_t)page_address(page) : 0;
}

uintptr_t get_zeroed_page(gfp_t gfp)
{
	return __get_free_pages(gfp | __GFP_ZERO, 0);
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void free_tail_pages_check(struct page *page, unsigned order)
{
	if (!page_test(page, PG_head))
		return;
	if (page->private != order)
		bad_page(page, "compound page freed with another order");
	for (unsigned long i = 1; i < 1ul << order; i++) {
		if (!page_test(&page[i], PG_tail) || page[i].mapping != page)
			bad_page(&page[i], "not a tail of the compound page that is freed");
		page[i].mapping = NULL;
		page_clear(&page[i], PG_tail);
	}
}

/* The last look at a page in use: whatever still claims it is a bug. */
static bool free_pages_prepare(struct page *page, unsigned order)
{
	trace_page_free(page_to_pfn(page).n, order);
	if (unlikely(order))
		free_tail_pages_check(page, order);
	if (page->mapping && PageAnon(page))
		page->mapping = NULL;
	for (unsigned long i = 0; i < 1ul << order; i++) {
		struct page *p = page + i;

		if (unlikely(p->_refcount | (p->_mapcount + 1) | (p->flags & PAGE_FLAGS_BAD)) ||
		    unlikely(p->mapping != NULL))
			bad_page(p, "freed while in use");
		__atomic_store_n(&p->flags, p->flags & PAGE_FLAGS_KEPT, __ATOMIC_RELAXED);
	}
	page->private = 0;
	hal_poison(page_address(page), PAGE_SIZE << order);
	return true;
}

/* A block goes straight to the buddy: only single pages are kept per CPU. */
static void __free_pages_ok(struct page *page, unsigned order)
{
	struct zone *z = page_zone(page);
	irqflags_t flags;

	free_pages_prepare(page, order);
	spin_lock_irqsave(&z->lock, flags);
	__count_vm_events(hal_cpu_id(), PGFREE, 1ul << order);
	__free_one_page(page, z, order, get_pageblock_migratetype(page));
	spin_unlock_irqrestore(&z->lock, flags);
}

/* A single page goes onto this CPU's list, on top. */
static void free_unref_page(struct page *page)
{
	irqflags_t flags;

	free_pages_prepare(page, 0);
	flags = hal_irq_save();
	free_unref_page_commit(page, hal_cpu_id());
	hal_irq_restore(flags);
}

static void free_the_page(struct page *page, unsigned order)
{
	if (likely(order == 0))
		free_unref_page(page);
	else
		__free_pages_ok(page, order);
}

static bool put_page_testzero(struct page *page)
{
	int32_t left;

	/* Sole owner: nobody else can see the count, so no atomic is needed. */
	if (likely(__atomic_load_n(&page->_refcount, __ATOMIC_ACQUIRE) == 1)) {
		__atomic_store_n(&page->_refcount, 0, __ATOMIC_RELAXED);
		return true;
	}
	left = __atomic_sub_fetch(&page->_refcount, 1, __ATOMIC_ACQ_REL);
	if (unlikely(left < 0))
		bad_page(page, "reference dropped that nobody held");
	return left == 0;
}

void __free_pages(struct page *page, unsigned order)
{
	if (put_page_testzero(page)) {
		free_the_page(page, order);
		return;
	}
	/* Somebody holds the first page for a moment: the others cannot wait for that, for
	 * whoever drops it will free one page only. */
	if (!page_test(page, PG_head))
		while (order-- > 0)
			free_the_page(page + (1ul << order), order);
}

void free_pages(uintptr_t addr, unsigned order)
{
	if (addr)
		__free_pages(virt_to_page((void *)addr), order);
}

void put_page(struct page *p)
{
	p = compound_head(p);
	if (is_zero_page(p)) /* reserved: its references are not counted */
		return;
	if (put_page_testzero(p))
		free_the_page(p, compound_order(p));
}

/* One interrupt-off section for all of them: a tear-down frees hundreds at a time. */
void free_page_bulk(struct page **pages, unsigned n)
{
	irqflags_t flags;

	for (unsigned i = 0; i < n; i++)
		free_pages_prepare(pages[i], 0);
	flags = hal_irq_save();
	for (unsigned i = 0; i < n; i++)
		free_unref_page_commit(pages[i], hal_cpu_id());
	hal_irq_restore(flags);
}

void free_pages_core(struct page *page, unsigned order)
{
	struct zone *z = page_zone(page);
	irqflags_t flags;

	spin_lock_irqsave(&z->lock, flags);
	__free_one_page(page, z, order, get_pageblock_migratetype(page));
	spin_unlock_irqrestore(&z->lock, flags);
}

/* ---- odds and ends --------------------------------------------------------------------------- */

void split_page(struct page *page, unsigned order)
{
	BUG_ON(page_test(page, PG_head));
	for (unsigned long i = 1; i < 1ul << order; i++)
		__atomic_store_n(&page[i]._refcount, 1, __ATOMIC_RELAXED);
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	unsigned long n = PAGE_ALIGN(size) >> PAGE_SHIFT;
	unsigned order = order_base_2(n ? n : 1);
	struct page *page = alloc_pages(gfp & ~__GFP_COMP, order);

	if (!page)
		return NULL;
	split_page(page, order);
	for (unsigned long i = n; i < 1ul << order; i++)
		__free_pages(page + i, 0);
	return page_address(page);
}

void free_pages_exact(void *p, size_t size)
{
	struct page *page = virt_to_page(p);

	for (unsigned long n = PAGE_ALIGN(size) >> PAGE_SHIFT; n-- > 0;)
		__free_pages(page++, 0);
}

unsigned long nr_free_buddy(void)
{
	unsigned long sum = 0;

	for (unsigned i = 0; i < MAX_NR_ZONES; i++)
		sum += __atomic_load_n(&zones[i].nr_free, __ATOMIC_RELAXED);
	return sum;
}

unsigned long nr_free_pcp(const struct zone *z)
{
	unsigned long sum = 0;

	if (z->pcp)
		for (unsigned c = 0; c < hal_cpu_count(); c++)
			for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
				sum += __atomic_load_n(&z->pcp[c].count[mt], __ATOMIC_RELAXED);
	return sum;
}

unsigned long si_mem_available(void)
{
	unsigned long free = nr_free_buddy(), reserve = totalreserve_pages(), low = 0, cache, slab;
	struct zone *z;
	long sum;

	for_each_populated_zone(z)
		low += z->watermark[WMARK_LOW];
	cache = node_page_state(NR_FILE_PAGES);
	cache -= min(cache, node_page_state(NR_SHMEM));
	slab = node_page_state(NR_SLAB_RECLAIMABLE);
	sum = (long)free - (long)reserve;
	sum += cache - min(cache / 2, low);
	sum += slab - min(slab / 2, low);
	return sum > 0 ? sum : 0;
}

void zone_init_free_lists(struct zone *z)
{
	spin_lock_init_rank(&z->lock, "zone", RANK_ZONE);
	for (unsigned o = 0; o < MAX_ORDER; o++)
		for (unsigned mt = 0; mt < MIGRATE_TYPES; mt++)
			INIT_LIST_HEAD(&z->free_area[o].free_list[mt]);
}

/* 5.10's zone_batchsize(): a thousandth of the zone, at most 1 MiB, a quarter of that, one less
 * than a power of two (an even batch aliases with cache colours); six batches at most. */
void zone_pcp_setup(struct zone *z)
{
	unsigned long batch = min(z->managed_pages / 1024, (1ul << 20) / PAGE_SIZE) / 4;

	batch = max(batch, 1ul);
	batch = (1ul << ilog2(batch + batch / 2)) - 1;
	batch = clamp(batch, 1ul, PCP_CAPACITY / 6 - 1ul);
	z->pcp_batch = batch;
	z->pcp_high = 6 * batch;
}

uint64_t page_allocs_seen(void)
{
	return sum_vm_event(PAGE_ALLOC_CALLS);
}
