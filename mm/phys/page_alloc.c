/* SPDX-License-Identifier: MIT */
/*
 * The page allocator: alloc_pages() and __free_pages(), from a request's gfp flags to physical
 * pages and back. Fast paths, slow path, freeing, compound pages. The files behind it: buddy.c
 * (free blocks), mobility.c (migrate types), pcp.c (per-CPU lists), watermark.c (what must stay
 * free), page_debug.c (checks, poison, owners). docs/page_alloc.md has the subsystem on one page.
 *
 * Terms. A *block* of *order* o is 2^o frames, aligned to itself; orders are 0 to 10. A *pageblock*
 * is 512 frames; each has a *migrate type*, so that pages that never move do not spread over memory
 * that could be emptied. A *mark* (min, low, high) is a number of pages that a zone keeps free from
 * ordinary requests. The *batch* is what a per-CPU list refills or drains at once.
 *
 * Structures. One node, up to four zones; node_zonelist has them from the highest down. struct
 * zone: marks, free areas, pageblocks, and for each CPU rings of free blocks of orders 0 to 3 and 9
 * (struct per_cpu_pages). struct alloc_context: what one request may use.
 *
 * Allocation.
 *
 *   alloc_pages
 *    `- alloc_page_fast ............ order 0, the zone has plenty, this CPU's list has one
 *    `- alloc_pages_ip
 *        `- get_page_from_freelist . each zone whose mark holds (zone_watermark_fast)
 *        |   `- rmqueue ............ pcp list (rmqueue_pcplist, pcp_refill) or buddy
 *        |   `- prep_new_page ...... reference, zeros, compound head
 *        `- __alloc_pages_slowpath . none above its low mark: wake kswapd, then the min mark and
 *            |                       reserves by the gfp flags and by what the thread is
 *            `- alloc_pages_retrying . reclaim (and once drain all lists), compact, and again
 *            |   |- should_reclaim_retry . what is free and reclaimable would do, fewer than 17
 *            |   |                         rounds in a row without progress
 *            |   |- should_compact_retry . blocks: moving pages still finds something to do
 *            |   `- __alloc_pages_may_oom  a last look at the high mark, out_of_memory
 *            `- alloc_failed ....... the reason is traced
 *
 * Freeing.
 *
 *   __free_pages
 *    `- free_later ................. order 0 in a release build: 16 frees later, see below
 *    `- free_page_fast ............. sole reference, nothing strange: onto this CPU's list
 *    `- free_pages_ip
 *        `- free_the_page .......... last reference: free_pages_prepare checks it, then
 *            `- free_unref_page_commit ... this CPU's list; full: drains a batch (pcp.c)
 *            `- __free_pages_ok .......... other orders: buddy, merged as far as it can be
 *
 * A list is last in, first out, as the page freed last is warm; what is drained is its other end,
 * which had time for its buddies to become free.
 *
 * States of a frame (I1): reserved | in the buddy (its bit) | on a per-CPU list (PG_pcp at the
 * block's head) | allocated (reference count > 0, or a later page of a block that is). A page whose
 * free is deferred is still allocated.
 *
 * Locks. zone->lock (rank 60) covers free areas, pageblocks and their types; only the trace ring
 * comes after it. oom_lock: who asks for a victim, only ever tried for. Per-CPU lists: interrupts off on their own CPU; drain_all_pages() asks the others
 * by IPI. Watermark checks read single words without a lock; rmqueue makes sure afterwards.
 *
 * Limits. Blocks of up to order 10. No cost here grows with RAM, nor with the order of a block that
 * is neither zeroed nor compound. One node. kswapd, page reclaim and the OOM killer are hooks
 * (hooks.h).
 *
 * Tried and rejected (figures: docs/page_alloc.md).
 * - Free lists of struct pages, as Linux has them: a free in random order misses the cache on two
 *   or three neighbours besides the page. Bits per pageblock touch one line.
 * - Looking at the struct page at once: in random order a CPU holds only five or six such misses at
 *   a time. Deferred frees (struct late_frees) took a random free from 45 to 31 ns; a hot pair pays
 *   1 ns and a double free is reported up to 16 frees later, so debug builds do without.
 * - Batches of 63, as 5.10: 64 is a word of bits, which a refill takes and a drain joins at once.
 * - Calling the slow path's helpers through function pointers: they are direct calls (hooks.h).
 */
#include "mm/phys/page_alloc.h"
#include "lib/bits.h"
#include "lib/printf.h"
#include "lib/mutex.h"
#include "mm/base/lockrank.h"
#include "mm/base/memalloc.h"
#include "mm/base/fs_reclaim.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_debug.h"
#include <quire/os.h>

#define FREE_BATCH 16u

/* Flags that no page may have when its last reference goes: it is still in use. */
#define PAGE_FLAGS_BAD                                                                     \
	(1ul << PG_locked | 1ul << PG_reserved | 1ul << PG_slab | 1ul << PG_pcp |          \
	 1ul << PG_lru | 1ul << PG_swapcache | 1ul << PG_writeback | 1ul << PG_isolated |  \
	 1ul << PG_tail)

struct late_frees *late_frees;

/* A debugging feature wants to see every request. */
static inline bool page_slow_or_armed(void)
{
	return __atomic_load_n(&page_slow, __ATOMIC_RELAXED) |
	       __atomic_load_n(&inject_attr[QUIRE_INJECT_PAGE].armed, __ATOMIC_RELAXED);
}

#define ALLOC_KSWAPD_BIT(gfp) ((gfp) & __GFP_KSWAPD_RECLAIM ? ALLOC_KSWAPD : 0)

/* ---- taking ---------------------------------------------------------------------------------- */

/* The common case: off this CPU's list, with no lock and no atomic. */
static struct page *rmqueue_pcplist(struct zone *z, unsigned slot, unsigned mt,
				    unsigned alloc_flags)
{
	irqflags_t flags = hal_irq_save();
	unsigned cpu = hal_cpu_id();
	struct per_cpu_pages *pcp = &z->pcp[cpu];
	struct page *page;

	ASSERT_DEBUG(slot < PCP_ORDERS);
	for (;;) {
		page = NULL;
		if (unlikely(!pcp_count(pcp, slot, mt)) &&
		    !pcp_refill(z, pcp, slot, mt, alloc_flags))
			break;
		page = pcp_pop(pcp, slot, mt);
		/* Its struct page was written to while free: retire it, take the next one. */
		if (likely(page_is_clean(page, 1ul << PG_pcp))) {
			set_pcp_flag(page, false);
			__count_vm_events(cpu, PGALLOC_DMA + z->idx, 1ul << slot_order(slot));
			break;
		}
		bad_page(page, "in use on a per-CPU list", 1ul << slot_order(slot));
	}
	if (slot && page)
		__count_vm_events(cpu, PAGE_ALLOC_CALLS, 1 - (1ul << slot_order(slot)));
	hal_irq_restore(flags);
	return page;
}

/* A block of a zone that passed its watermark, from the buddy; zone->lock taken here. */
static struct page *rmqueue_buddy(struct zone *z, unsigned order, unsigned alloc_flags,
				  unsigned mt)
{
	struct page *page;
	irqflags_t flags;

	ASSERT_DEBUG(order < MAX_ORDER);
	do {
		spin_lock_irqsave(&z->lock, flags);
		page = NULL;
		if (alloc_flags & ALLOC_HARDER)
			page = __rmqueue_smallest(z, order, MIGRATE_HIGHATOMIC);
		if (!page)
			page = __rmqueue(z, order, mt, alloc_flags);
		spin_unlock(&z->lock);
		if (page) {
			__count_vm_events(hal_cpu_id(), PGALLOC_DMA + z->idx, 1ul << order);
			__count_vm_events(hal_cpu_id(), PAGE_ALLOC_CALLS, 1 - (1ul << order));
		}
		hal_irq_restore(flags);
		if (!page || likely(page_is_clean(page, 0)))
			return page;
		bad_page(page, "in use in the buddy", 1ul << order);
	} while (true);
}

/* A page or block of a zone that passed its watermark; NULL if other CPUs were quicker. */
static struct page *rmqueue(struct zone *z, unsigned order, unsigned alloc_flags, unsigned mt)
{
	unsigned slot;

	ASSERT_DEBUG(order < MAX_ORDER);
	if (likely(order == 0))
		return rmqueue_pcplist(z, 0, mt, alloc_flags);
	slot = pcp_slot(order);
	if (slot < PCP_ORDERS && z->pcp_blocks[slot] && !(alloc_flags & ALLOC_HARDER))
		return rmqueue_pcplist(z, slot, mt, alloc_flags);
	return rmqueue_buddy(z, order, alloc_flags, mt);
}

/* Ties the pages of a block together: every later page leads to the first. */
static void prep_compound_page(struct page *page, unsigned order)
{
	ASSERT_DEBUG(order && order < MAX_ORDER);
	page_set(page, PG_head);
	page->private = order;
	for (unsigned long i = 1; i < 1ul << order; i++) {
		WRITE_ONCE(page[i].mapping, page);
		page_set(&page[i], PG_tail);
	}
}

/* From free to allocated: one reference, contents as gfp says. False: it is no good. ip: for the
 * page's owner. */
static bool prep_new_page(struct page *page, unsigned order, gfp_t gfp, unsigned mt, uintptr_t ip)
{
	bool clear = gfp & __GFP_ZERO;
	char *p = page_address(page);

	ASSERT_DEBUG_I("I7", page_count(page) == 0);
	hal_unpoison(p, PAGE_SIZE << order);
	if (unlikely(__atomic_load_n(&page_slow, __ATOMIC_RELAXED)) &&
	    !page_debug_alloc(page, order, gfp, mt, ip, &clear))
		return false;
	__atomic_store_n(&page->_refcount, 1, __ATOMIC_RELAXED);
	if (clear)
		for (unsigned long i = 0; i < 1ul << order; i++)
			hal_clear_page(p + (i << PAGE_SHIFT));
	if (unlikely(order && gfp & __GFP_COMP))
		prep_compound_page(page, order);
	return true;
}

/* One load and one comparison where memory is plentiful; the whole test only near the mark. */
static inline bool zone_watermark_fast(const struct zone *z, unsigned order,
				       const struct alloc_context *ac, unsigned alloc_flags,
				       gfp_t gfp)
{
	unsigned long mark = z->watermark[alloc_flags & ALLOC_WMARK_MASK] + READ_ONCE(z->watermark_boost);

	if (likely(!order) && likely(__atomic_load_n(&z->nr_free, __ATOMIC_RELAXED) >
				     mark + z->lowmem_reserve[ac->highest_zoneidx] +
					     z->nr_reserved_highatomic))
		return true;
	return zone_watermark_slow(z, order, mark, ac->highest_zoneidx, alloc_flags, gfp);
}

/* Walks the zones from the best one down and takes from the first that is above its mark. */
static struct page *get_page_from_freelist(gfp_t gfp, unsigned order, unsigned alloc_flags,
					   const struct alloc_context *ac)
{
	struct zoneref *z;
	struct zone *zone;
	struct page *page;

	ASSERT_DEBUG(order < MAX_ORDER);
retry:
	for (z = ac->preferred_zoneref; (zone = z->zone) != NULL; z++) {
		if (!(alloc_flags & ALLOC_NO_WATERMARKS) &&
		    !zone_watermark_fast(zone, order, ac, alloc_flags, gfp))
			continue;
		page = rmqueue(zone, order, alloc_flags, ac->migratetype);
		if (likely(page)) {
			if (unlikely(!prep_new_page(page, order, gfp, ac->migratetype, ac->ip)))
				goto retry;
			if (unlikely(order && alloc_flags & ALLOC_HARDER))
				reserve_highatomic_pageblock(page, zone);
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

/* ---- the slow path --------------------------------------------------------------------------- */

/*
 * What may be used of the reserves beyond what the flags say: all of it by who frees more than it
 * takes, half of the min mark by who is dying for the memory that it will give back. An interrupt is
 * not the thread that it interrupted; it runs with interrupts off, so those ask for it by flag.
 */
static unsigned reserve_flags(gfp_t gfp)
{
	if (gfp & __GFP_NOMEMALLOC)
		return 0;
	if (gfp & __GFP_MEMALLOC)
		return ALLOC_NO_WATERMARKS;
	if (hal_irqs_off())
		return 0;
	if (current_flags() & PF_MEMALLOC)
		return ALLOC_NO_WATERMARKS;
	return os_current_is_victim() ? ALLOC_OOM : 0;
}

/* How deep into the reserves this request may go, now that the ordinary marks are not met. */
static unsigned gfp_to_alloc_flags(gfp_t gfp)
{
	unsigned f = ALLOC_WMARK_MIN | ALLOC_KSWAPD_BIT(gfp);

	if (gfp & __GFP_HIGH)
		f |= ALLOC_HIGH;
	if (gfp & __GFP_ATOMIC && !(gfp & __GFP_NOMEMALLOC))
		f |= ALLOC_HARDER;
	return f;
}

/* Every failure is traced; said in words ten times at most: a machine short of memory needs no
 * flood of lines. Returns NULL. */
static struct page *alloc_failed(gfp_t gfp, unsigned order, enum quire_alloc_failure why)
{
	static const char *const words[] = {
		[QUIRE_FAIL_ORDER] = "no block is that large",
		[QUIRE_FAIL_ZONE] = "no zone for it",
		[QUIRE_FAIL_INJECTED] = "injected",
		[QUIRE_FAIL_NO_WAIT] = "may not wait",
		[QUIRE_FAIL_NO_RETRY] = "may not retry",
		[QUIRE_FAIL_COSTLY] = "a costly order",
		[QUIRE_FAIL_NO_MEMORY] = "nothing left to reclaim",
		[QUIRE_FAIL_VICTIM] = "it is to die, and has had its part of the reserves",
	};
	static unsigned said;
	char line[160];

	ASSERT(why < ARRAY_SIZE(words));
	trace_page_alloc_fail(order, gfp, why, nr_free_buddy());
	if (gfp & __GFP_NOWARN || why == QUIRE_FAIL_INJECTED ||
	    __atomic_load_n(&said, __ATOMIC_RELAXED) >= 10)
		return NULL;
	__atomic_fetch_add(&said, 1, __ATOMIC_RELAXED);
	scnprintf(line, sizeof(line),
		  "page allocation failure: order:%u, gfp:%#x, %s, free %lu of %lu pages", order,
		  gfp, words[why], nr_free_buddy(), totalram_pages());
	os_log(line);
	return NULL;
}

static void wake_all_kswapds(unsigned order, const struct alloc_context *ac)
{
	wakeup_kswapd(ac->preferred_zoneref->zone, order);
}

/* What a request has tried so far. */
struct alloc_retry {
	unsigned alloc_flags;
	unsigned no_progress_loops;  /* rounds of reclaim in a row that freed nothing */
	unsigned compaction_retries; /* rounds in which compaction found something to do */
	bool compacted;		     /* the last attempt was of use */
	bool insisted;		     /* compaction has been made to forget its failures */
	bool drained;		     /* the CPUs' lists have been emptied */
	unsigned long progress;	     /* pages that the last round freed; of a kill: 1 */
};

/* Room by moving pages; only for blocks. */
static struct page *__alloc_pages_direct_compact(gfp_t gfp, unsigned order,
						 const struct alloc_context *ac, struct alloc_retry *r)
{
	unsigned long saved, stall;
	struct page *page;

	ASSERT(gfp & __GFP_DIRECT_RECLAIM);
	r->compacted = false;
	if (!order)
		return NULL;
	stall = psi_memstall_enter();
	saved = memalloc_noreclaim_save();
	r->compacted = try_to_compact_pages(gfp, order, r->alloc_flags, ac);
	memalloc_noreclaim_restore(saved);
	psi_memstall_leave(stall);
	if (!r->compacted)
		return NULL;
	page = get_page_from_freelist(gfp, order, r->alloc_flags, ac);
	count_vm_event(page ? COMPACTSUCCESS : COMPACTFAIL);
	if (page)
		compaction_defer_reset(page_zone(page), order, true);
	return page;
}

/* One round of making room. Whatever it allocates in turn comes from the reserves, without a round of
 * its own. */
static struct page *__alloc_pages_direct_reclaim(gfp_t gfp, unsigned order,
						 const struct alloc_context *ac, struct alloc_retry *r)
{
	unsigned long stall = psi_memstall_enter(), saved = memalloc_noreclaim_save();
	struct page *page;

	ASSERT(gfp & __GFP_DIRECT_RECLAIM && !saved);
	count_vm_event(ALLOCSTALL_DMA + ac->preferred_zoneref->zone->idx);
	os_cond_resched();
	r->progress = try_to_free_pages(gfp, order);
	memalloc_noreclaim_restore(saved);
	psi_memstall_leave(stall);
	os_cond_resched();
	page = get_page_from_freelist(gfp, order, r->alloc_flags, ac);
	if (page || r->drained)
		return page;
	/* What was set aside, or lies in the lists of another CPU, may be the very page that is missing. */
	r->drained = true;
	unreserve_highatomic_pageblock(ac->zonelist, ac->highest_zoneidx, false);
	drain_all_pages();
	return get_page_from_freelist(gfp, order, r->alloc_flags, ac);
}

#define MAX_RECLAIM_RETRIES 16
#define MAX_COMPACT_RETRIES 16

/* Whether another round of reclaim may bring the page: there is something left to reclaim that would
 * do together with what is free. After 16 rounds that freed nothing we do not believe it any more. */
static bool should_reclaim_retry(gfp_t gfp, unsigned order, const struct alloc_context *ac,
				 struct alloc_retry *r)
{
	if (r->progress && order <= PAGE_ALLOC_COSTLY_ORDER)
		r->no_progress_loops = 0;
	else
		r->no_progress_loops++;
	if (r->no_progress_loops > MAX_RECLAIM_RETRIES)
		return unreserve_highatomic_pageblock(ac->zonelist, ac->highest_zoneidx, true);
	for (struct zoneref *ref = ac->preferred_zoneref; ref->zone; ref++) {
		struct zone *z = ref->zone;
		unsigned long mark = z->watermark[WMARK_MIN], reclaimable = zone_reclaimable_pages(z);
		unsigned long available = reclaimable + READ_ONCE(z->nr_free);
		bool enough = __zone_watermark_ok(z, order, mark, ac->highest_zoneidx, r->alloc_flags,
						  (long)available);

		trace_reclaim_retry_zone(z->idx, order, reclaimable, available, mark,
					 r->no_progress_loops, enough);
		if (enough) {
			os_cond_resched();
			return true;
		}
	}
	return false;
}

/* Whether moving pages may still make the block: as long as it finds something to do, within bounds;
 * and once more with its past failures forgotten. */
static bool should_compact_retry(unsigned order, const struct alloc_context *ac, struct alloc_retry *r)
{
	unsigned most = MAX_COMPACT_RETRIES;
	bool again;

	if (!order)
		return false;
	if (order > PAGE_ALLOC_COSTLY_ORDER)
		most /= 4;
	if (r->compacted) {
		again = ++r->compaction_retries <= most;
	} else {
		again = !r->insisted;
		for (struct zoneref *ref = ac->preferred_zoneref; again && ref->zone; ref++)
			compaction_defer_reset(ref->zone, (int)order, true);
		r->insisted = true;
	}
	trace_compact_retry(order, r->compacted, r->compaction_retries, most, again);
	return again;
}

/* One at a time asks for a victim: the others would each kill one for the same lack of memory. */
static DEFINE_MUTEX(oom_lock);

/* Lets a tick pass: somebody is dying, or about to be chosen. */
static void wait_for_the_victim(void)
{
	static const uint32_t never;

	os_wait_until(&never, &never, 0, os_clock_ns() + 10000000u);
}

/* A boost keeps types of pageblocks apart, and kswapd lowers it when it comes to run. That is no reason
 * to kill. True: there was one. */
static bool forget_boosts(const struct alloc_context *ac)
{
	bool any = false;

	for (struct zoneref *ref = ac->preferred_zoneref; ref->zone; ref++)
		if (READ_ONCE(ref->zone->watermark_boost)) {
			zone_boost_reset(ref->zone);
			any = true;
		}
	return any;
}

/* With oom_lock. r->progress: whether to go on. */
static struct page *may_oom_locked(gfp_t gfp, unsigned order, const struct alloc_context *ac,
				   struct alloc_retry *r)
{
	/* Somebody may have just died of it: the high mark tells that a kill had effect. */
	struct page *page = get_page_from_freelist(gfp & ~__GFP_DIRECT_RECLAIM, order, ALLOC_WMARK_HIGH,
						   ac);

	assert_mutex_held(&oom_lock);
	if (!page && forget_boosts(ac))
		page = get_page_from_freelist(gfp & ~__GFP_DIRECT_RECLAIM, order, r->alloc_flags, ac);
	if (page)
		return page;
	/* Killing makes no large blocks, and none in zones that few pages of a victim come from. */
	if (order > PAGE_ALLOC_COSTLY_ORDER || gfp & (__GFP_RETRY_MAYFAIL | __GFP_THISNODE) ||
	    ac->highest_zoneidx < ZONE_NORMAL)
		return NULL;
	r->progress = out_of_memory(gfp, order);
	if (r->progress && gfp & __GFP_NOFAIL)
		page = get_page_from_freelist(gfp, order, ALLOC_NO_WATERMARKS, ac);
	return page;
}

static struct page *__alloc_pages_may_oom(gfp_t gfp, unsigned order, const struct alloc_context *ac,
					  struct alloc_retry *r)
{
	struct page *page;

	r->progress = 0;
	if (!mutex_trylock(&oom_lock)) {
		r->progress = 1;
		wait_for_the_victim();
		return NULL;
	}
	page = may_oom_locked(gfp, order, ac, r);
	mutex_unlock(&oom_lock);
	if (r->progress && !page && !os_current_is_victim())
		wait_for_the_victim();
	return page;
}

/* What a request that may wait does until it has a page; 0, or why it is given up, in *why. */
static struct page *alloc_pages_retrying(gfp_t gfp, unsigned order, const struct alloc_context *ac,
					 struct alloc_retry *r, enum quire_alloc_failure *why)
{
	bool costly = order > PAGE_ALLOC_COSTLY_ORDER;
	struct page *page;

	for (;;) {
		page = __alloc_pages_direct_reclaim(gfp, order, ac, r);
		if (!page)
			page = __alloc_pages_direct_compact(gfp, order, ac, r);
		if (page)
			return page;
		*why = gfp & __GFP_NORETRY ? QUIRE_FAIL_NO_RETRY : QUIRE_FAIL_COSTLY;
		if (gfp & __GFP_NORETRY || (costly && !(gfp & (__GFP_RETRY_MAYFAIL | __GFP_NOFAIL))))
			return NULL;
		if (!should_reclaim_retry(gfp, order, ac, r) &&
		    !(r->progress && should_compact_retry(order, ac, r))) {
			page = __alloc_pages_may_oom(gfp, order, ac, r);
			if (page)
				return page;
			*why = QUIRE_FAIL_NO_MEMORY;
			if (!r->progress)
				return NULL;
			r->no_progress_loops = 0;
		}
		if (r->alloc_flags & ALLOC_KSWAPD)
			wake_all_kswapds(order, ac);
		/* A kill may have been our own. */
		r->alloc_flags |= reserve_flags(gfp);
		page = get_page_from_freelist(gfp, order, r->alloc_flags, ac);
		if (page)
			return page;
		*why = QUIRE_FAIL_VICTIM;
		if (os_current_is_victim() && (r->alloc_flags & ALLOC_OOM || gfp & __GFP_NOMEMALLOC))
			return NULL;
	}
}

/* As 5.10: costly blocks, and those that cannot be made of pages that move, are first tried by moving
 * pages, which costs less than throwing them out. */
static struct page *alloc_pages_slow_try(gfp_t gfp, unsigned order, struct alloc_context *ac,
					 enum quire_alloc_failure *why)
{
	struct alloc_retry r = {.alloc_flags = gfp_to_alloc_flags(gfp)};
	struct page *page;

	if (r.alloc_flags & ALLOC_KSWAPD)
		wake_all_kswapds(order, ac);
	page = get_page_from_freelist(gfp, order, r.alloc_flags, ac);
	if (page)
		return page;
	*why = QUIRE_FAIL_NO_WAIT;
	r.alloc_flags |= reserve_flags(gfp);
	if (r.alloc_flags & (ALLOC_NO_WATERMARKS | ALLOC_OOM))
		page = get_page_from_freelist(gfp, order, r.alloc_flags, ac);
	if (page || !(gfp & __GFP_DIRECT_RECLAIM) || r.alloc_flags & ALLOC_NO_WATERMARKS ||
	    current_flags() & PF_MEMALLOC)
		return page;
	if (order > PAGE_ALLOC_COSTLY_ORDER || (order && ac->migratetype != MIGRATE_MOVABLE))
		page = __alloc_pages_direct_compact(gfp, order, ac, &r);
	return page ? page : alloc_pages_retrying(gfp, order, ac, &r, why);
}

static struct page *__alloc_pages_slowpath(gfp_t gfp, unsigned order, struct alloc_context *ac)
{
	enum quire_alloc_failure why = QUIRE_FAIL_NO_MEMORY;
	struct page *page;

	free_late_pages();
	gfp = current_gfp_context(gfp);
	for (;;) {
		page = alloc_pages_slow_try(gfp, order, ac, &why);
		if (page)
			return page;
		if (!(gfp & __GFP_NOFAIL))
			return alloc_failed(gfp, order, why);
		/* It must not fail: the reserves, and then as long as there is somebody who may free. */
		page = get_page_from_freelist(gfp, order, ALLOC_NO_WATERMARKS, ac);
		if (page)
			return page;
		if (why == QUIRE_FAIL_NO_MEMORY)
			os_panic("out of memory in an allocation that must not fail");
		wait_for_the_victim();
	}
}

/* ---- entry points ---------------------------------------------------------------------------- */

/* Rather other zones than mixed types in the one that most requests use. */
static unsigned alloc_flags_nofragment(const struct zone *z)
{
	return z->idx == ZONE_NORMAL ? ALLOC_NOFRAGMENT : 0;
}

/* False: no zone of this machine may serve it. */
static inline bool prepare_alloc_pages(gfp_t gfp, struct alloc_context *ac, uintptr_t ip)
{
	ASSERT_DEBUG(gfp_migratetype(gfp) < MIGRATE_PCPTYPES);
	ac->zonelist = &node_zonelist;
	ac->nodemask = NULL;
	ac->highest_zoneidx = gfp_zone(gfp);
	ac->migratetype = gfp_migratetype(gfp);
	ac->spread_dirty_pages = false;
	ac->ip = ip;
	ac->preferred_zoneref = best_zoneref[ac->highest_zoneidx];
	return ac->preferred_zoneref->zone != NULL;
}

/* Everything but the fast path; ip: the caller. */
static __attribute__((noinline)) struct page *alloc_pages_ip(gfp_t gfp, unsigned order,
							     uintptr_t ip)
{
	struct alloc_context ac;
	struct page *page;
	unsigned flags;

	if (unlikely(order >= MAX_ORDER))
		return alloc_failed(gfp, order, QUIRE_FAIL_ORDER);
	if (!prepare_alloc_pages(gfp, &ac, ip))
		return alloc_failed(gfp, order, QUIRE_FAIL_ZONE);
	if (fault_attr_fails(&inject_attr[QUIRE_INJECT_PAGE], PAGE_SIZE << order) &&
	    !(gfp & __GFP_NOFAIL))
		return alloc_failed(gfp, order, QUIRE_FAIL_INJECTED);
	flags = ALLOC_WMARK_LOW | ALLOC_KSWAPD_BIT(gfp) |
		alloc_flags_nofragment(ac.preferred_zoneref->zone);
	page = get_page_from_freelist(gfp, order, flags, &ac);
	if (unlikely(!page))
		page = __alloc_pages_slowpath(gfp, order, &ac);
	return page;
}

#define CALLER ((uintptr_t)__builtin_return_address(0))

/* Apart, so that the fast path calls nothing and keeps no registers for that. */
static __attribute__((noinline)) struct page *cleared(struct page *page)
{
	hal_clear_page(page_address(page));
	return page;
}

/*
 * The nine of ten requests that are a single page, of which this CPU has one, in a zone with more
 * than plenty: what get_page_from_freelist() and rmqueue() would do, in one piece. NULL: not so.
 */
static inline struct page *alloc_page_fast(gfp_t gfp)
{
	unsigned highest = gfp_zone(gfp), mt = gfp_migratetype(gfp), head;
	struct zone *z = best_zoneref[highest]->zone;
	struct per_cpu_pages *pcp;
	struct page *page = NULL;
	irqflags_t flags;

	if (unlikely(!z) || unlikely(page_slow_or_armed()) ||
	    unlikely(__atomic_load_n(&z->nr_free, __ATOMIC_RELAXED) <= READ_ONCE(z->plenty[highest])))
		return NULL;
	flags = hal_irq_save();
	pcp = &z->pcp[hal_cpu_id()];
	head = pcp->list[0][mt].head;
	if (likely(head != pcp->list[0][mt].tail)) {
		assert_irqs_off();
		page = *pcp_entry(pcp, 0, mt, --head);
		if (likely(page_is_clean(page, 1ul << PG_pcp))) {
			__atomic_store_n(&pcp->list[0][mt].head, head, __ATOMIC_RELAXED);
			__atomic_store_n(&pcp->allocs, pcp->allocs + 1, __ATOMIC_RELAXED);
			set_pcp_flag(page, false);
		} else {
			page = NULL; /* rmqueue_pcplist() reports it */
		}
	}
	hal_irq_restore(flags);
	if (unlikely(!page))
		return NULL;
	hal_unpoison(page_address(page), PAGE_SIZE);
	__atomic_store_n(&page->_refcount, 1, __ATOMIC_RELAXED);
	return gfp & __GFP_ZERO ? cleared(page) : page;
}

static struct page *__alloc_pages(gfp_t gfp, unsigned order)
{
	struct page *page;

	might_reclaim(gfp);
	if (likely(!order) && likely((page = alloc_page_fast(gfp)) != NULL))
		return page;
	return alloc_pages_ip(gfp, order, CALLER);
}

__attribute__((flatten)) struct page *alloc_pages(gfp_t gfp, unsigned order)
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

/* One look at the watermark and one stretch with interrupts off for most of them. */
/* ---- freeing --------------------------------------------------------------------------------- */

/* Unties a compound page; false: it is not the one that its head tells of. Then all of it is
 * retired: a caller that is wrong about its size may still use a part. */
static bool free_tail_pages_check(struct page *page, unsigned order)
{
	ASSERT_DEBUG(order < MAX_ORDER);
	if (page->private != order) {
		bad_page(page, "compound page freed with another order",
			 1ul << min(page->private, (unsigned long)MAX_ORDER - 1));
		return false;
	}
	for (unsigned long i = 1; i < 1ul << order; i++) {
		if (!page_test(&page[i], PG_tail) || page[i].mapping != page) {
			bad_page(&page[i], "not a tail of the compound page that is freed",
				 1ul << order);
			return false;
		}
		WRITE_ONCE(page[i].mapping, NULL);
		page_clear(&page[i], PG_tail);
	}
	return true;
}

/* A page without references leaves its list before it is freed. */
static inline void leave_lists(struct page *page)
{
	irqflags_t flags;

	if (!page_on_lru(page) || page_count(page))
		return;
	flags = hal_irq_save();
	lru_release(&page, 1);
	hal_irq_restore(flags);
}

/* The last check of a page in use: any claim left on it is a bug. False: it is retired. */
static bool free_pages_prepare(struct page *page, unsigned order, uintptr_t ip)
{
	ASSERT_DEBUG(order < MAX_ORDER);
	if ((uintptr_t)page->mapping & PAGE_MAPPING_ANON)
		WRITE_ONCE(page->mapping, NULL);
	if (unlikely(page_count(page) | (page->_mapcount + 1) | (page->flags & PAGE_FLAGS_BAD)) ||
	    unlikely(page->mapping != NULL)) {
		/* On a list or referenced it has an owner; otherwise it is lost, as no one frees
		 * it again. */
		bool owned = page_count(page) > 0 ||
			     page->flags & (1ul << PG_pcp | 1ul << PG_reserved | 1ul << PG_tail);

		bad_page(page, "freed while in use", owned ? 0 : 1ul << order);
		return false;
	}
	if (unlikely(page_test(page, PG_head)) && !free_tail_pages_check(page, order))
		return false;
	if (unlikely(__atomic_load_n(&page_slow, __ATOMIC_RELAXED)) &&
	    !page_debug_free(page, order, ip))
		return false;
	__atomic_store_n(&page->flags, page->flags & PAGE_FLAGS_KEPT, __ATOMIC_RELAXED);
	page->private = 0;
	hal_poison(page_address(page), PAGE_SIZE << order);
	return true;
}

/* Back to the buddy; interrupts off, the block is prepared. */
static void free_one_page(struct page *page, struct zone *z, unsigned order)
{
	assert_irqs_off();
	spin_lock(&z->lock);
	if (unlikely(!__free_one_page(page, z, order, get_pageblock_migratetype(page))))
		bad_page(page, "freed a second time", 0);
	spin_unlock(&z->lock);
}

static void __free_pages_ok(struct page *page, unsigned order)
{
	irqflags_t flags = hal_irq_save();
	struct zone *z = page_zone(page);

	__count_vm_events(hal_cpu_id(), PGFREE, 1ul << order);
	spin_lock(&z->lock);
	if (unlikely(!__free_one_page(page, z, order, get_pageblock_migratetype(page))))
		bad_page(page, "freed a second time", 0);
	spin_unlock_irqrestore(&z->lock, flags);
}

/* Onto this CPU's list, on top. Interrupts off; the block is prepared. */
static inline void free_unref_page_commit(struct page *page, unsigned cpu, unsigned slot)
{
	struct zone *z = page_zone(page);
	struct per_cpu_pages *pcp = &z->pcp[cpu];
	unsigned mt = get_pageblock_migratetype(page);

	assert_irqs_off();
	ASSERT_DEBUG(cpu == hal_cpu_id());
	__count_vm_events(cpu, PGFREE, 1ul << slot_order(slot));
	if (unlikely(mt >= MIGRATE_PCPTYPES)) {
		if (mt == MIGRATE_ISOLATE) {
			free_one_page(page, z, slot_order(slot));
			return;
		}
		mt = MIGRATE_MOVABLE;
	}
	if (unlikely(pcp_count(pcp, slot, mt) >= (slot ? z->pcp_blocks[slot] : z->pcp_high)))
		free_pcppages_bulk(z, pcp, slot, mt, slot ? 1 : z->pcp_batch + 1u);
	set_pcp_flag(page, true);
	pcp_push(pcp, slot, mt, page);
}

static inline void free_the_page(struct page *page, unsigned order, uintptr_t ip)
{
	unsigned slot = likely(!order) ? 0 : pcp_slot(order);
	irqflags_t flags;

	leave_lists(page);
	if (unlikely(!free_pages_prepare(page, order, ip)))
		return;
	if (slot && (slot == PCP_ORDERS || !page_zone(page)->pcp_blocks[slot])) {
		__free_pages_ok(page, order);
		return;
	}
	flags = hal_irq_save();
	free_unref_page_commit(page, hal_cpu_id(), slot);
	hal_irq_restore(flags);
}

/*
 * Sole owner: nobody else can see the count, so no atomic is needed, unless the page may be found on
 * a list. The flag is looked at after the count: who set it had a reference then, and has dropped it
 * since (lru/lru.c).
 */
static inline bool put_sole_reference(struct page *page)
{
	bool sole = __atomic_load_n(&page->_refcount, __ATOMIC_ACQUIRE) == 1 &&
		    !page_test(page, PG_listed);

	if (sole)
		__atomic_store_n(&page->_refcount, 0, __ATOMIC_RELAXED);
	return sole;
}

static bool put_page_testzero(struct page *page)
{
	int32_t left;

	if (likely(put_sole_reference(page)))
		return true;
	left = __atomic_sub_fetch(&page->_refcount, 1, __ATOMIC_ACQ_REL);
	if (unlikely(left < 0)) {
		/* Free pages have a count of 0, which others rely on. */
		__atomic_fetch_add(&page->_refcount, 1, __ATOMIC_RELAXED);
		bad_page(page, "reference dropped that nobody held", 0);
	}
	return left == 0;
}

/* A single page that nobody claims, with these flags, onto a list that has room; counted. */
static inline void put_on_pcp(struct page *page, unsigned long was, struct per_cpu_pages *pcp, unsigned mt)
{
	assert_irqs_off();
	WRITE_ONCE(page->mapping, NULL);
	page->private = 0;
	hal_poison(page_address(page), PAGE_SIZE);
	__atomic_store_n(&page->flags, (was & PAGE_FLAGS_KEPT) | 1ul << PG_pcp, __ATOMIC_RELAXED);
	pcp_push(pcp, 0, mt, page);
	__atomic_store_n(&pcp->frees, pcp->frees + 1, __ATOMIC_RELAXED);
}

/* The same for freeing: the sole owner of a page that nothing else claims, and that is on no list.
 * False: not so. Interrupts are off. */
static inline bool free_page_fast(struct page *page, unsigned cpu)
{
	unsigned mt = get_pageblock_migratetype(page);
	struct per_cpu_pages *pcp;
	unsigned long was;

	assert_irqs_off();
	ASSERT_DEBUG(cpu == hal_cpu_id());
	if (unlikely(!page_is_sole(page)))
		return false;
	was = page->flags; /* after the count, as above */
	if (unlikely(was & (PAGE_FLAGS_BAD | 1ul << PG_head | 1ul << PG_listed)) ||
	    unlikely(page->mapping && !PageAnon(page)) || unlikely(mt >= MIGRATE_PCPTYPES))
		return false;
	pcp = &zone_pcps[was >> PG_zone0 & 3][cpu];
	if (unlikely(pcp_count(pcp, 0, mt) >= __atomic_load_n(&pcp->high, __ATOMIC_RELAXED)))
		return false;
	__atomic_store_n(&page->_refcount, 0, __ATOMIC_RELAXED);
	put_on_pcp(page, was, pcp, mt);
	return true;
}

/* Everything but the fast path. */
static __attribute__((noinline)) void free_pages_ip(struct page *page, unsigned order, uintptr_t ip)
{
	bool head = page_test(page, PG_head);

	if (likely(put_page_testzero(page))) {
		free_the_page(page, order, ip);
		return;
	}
	/* A look-up holds the first page for a moment. The others are freed here, for when that
	 * reference is put it frees one page only. */
	if (!head && page_count(page) > 0)
		while (order-- > 0)
			free_the_page(page + (1ul << order), order, ip);
}

/* Defers the free of page, and returns the one whose turn has come; NULL: none yet. */
static inline struct page *free_later(struct late_frees *late, struct page *page)
{
	struct page **slot = &late->page[late->next++ & (LATE_FREES - 1)], *old = *slot;

	assert_irqs_off();
	__builtin_prefetch(page, 1);
	__atomic_store_n(slot, page, __ATOMIC_RELAXED);
	return old;
}

/* The page that waits in a slot, which is empty then. */
static struct page *late_take(struct page **slot)
{
	struct page *page = *slot;

	assert_irqs_off();
	__atomic_store_n(slot, NULL, __ATOMIC_RELAXED);
	return page;
}

void free_late_pages(void)
{
	irqflags_t flags = hal_irq_save();
	struct late_frees *late = late_frees ? &late_frees[hal_cpu_id()] : NULL;

	for (unsigned i = 0; late && i < LATE_FREES; i++) {
		struct page *page = late_take(&late->page[i]);

		if (page)
			free_pages_ip(page, 0, CALLER);
	}
	hal_irq_restore(flags);
}

void __free_pages(struct page *page, unsigned order)
{
	if (likely(!order)) {
		irqflags_t flags = hal_irq_save();
		unsigned cpu = hal_cpu_id();
		bool done = false;

		if (likely(!__atomic_load_n(&page_slow, __ATOMIC_RELAXED))) {
			if (late_frees)
				page = free_later(&late_frees[cpu], page);
			done = !page || free_page_fast(page, cpu);
		}
		hal_irq_restore(flags);
		if (likely(done))
			return;
	}
	free_pages_ip(page, order, CALLER);
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
		free_the_page(p, compound_order(p), CALLER);
}

/* Onto this CPU's list, of a page that has neither a reference nor a list, the common way of a tear-down:
 * what free_pages_prepare() and free_unref_page_commit() do where there is nothing out of the ordinary.
 * False: there is. Interrupts are off. */
static inline bool free_dead_fast(struct page *page, unsigned cpu)
{
	unsigned mt = get_pageblock_migratetype(page);
	unsigned long was = page->flags;
	struct per_cpu_pages *pcp;

	assert_irqs_off();
	ASSERT_DEBUG(cpu == hal_cpu_id());
	if (unlikely(!page_counts_are(page, 0, 0, __ATOMIC_RELAXED)) ||
	    unlikely(was & (PAGE_FLAGS_BAD | 1ul << PG_head)) ||
	    unlikely(page->mapping && !PageAnon(page)) || unlikely(mt >= MIGRATE_PCPTYPES))
		return false;
	pcp = &zone_pcps[was >> PG_zone0 & 3][cpu];
	if (unlikely(pcp_count(pcp, 0, mt) >= __atomic_load_n(&pcp->high, __ATOMIC_RELAXED)))
		return false;
	put_on_pcp(page, was, pcp, mt);
	return true;
}

/* A tear-down frees hundreds at a time; interrupts are off for FREE_BATCH of them. */
void free_page_bulk(struct page **pages, unsigned n)
{
	uintptr_t ip = CALLER;

	while (n) {
		unsigned batch = min(n, FREE_BATCH);
		irqflags_t flags = hal_irq_save();
		unsigned cpu = hal_cpu_id();
		bool slow = __atomic_load_n(&page_slow, __ATOMIC_RELAXED);

		lru_release(pages, batch);
		for (unsigned i = 0; i < batch; i++)
			if (unlikely(slow || !free_dead_fast(pages[i], cpu)) &&
			    likely(free_pages_prepare(pages[i], 0, ip)))
				free_unref_page_commit(pages[i], cpu, 0);
		hal_irq_restore(flags);
		pages += batch;
		n -= batch;
	}
}

void free_pages_core(struct page *page, unsigned order)
{
	irqflags_t flags = hal_irq_save();

	ASSERT_DEBUG_I("I7", page_count(page) == 0);
	page_debug_boot(page, order);
	hal_poison(page_address(page), PAGE_SIZE << order);
	free_one_page(page, page_zone(page), order);
	hal_irq_restore(flags);
}

struct page *compact_take_page(struct zone *z, struct pageblock *b)
{
	struct page *page = NULL;
	irqflags_t flags;

	ASSERT_DEBUG(b->pfn >= ALIGN_DOWN(z->zone_start_pfn, PAGEBLOCK_PAGES));
	spin_lock_irqsave(&z->lock, flags);
	if (block_type(b) == MIGRATE_MOVABLE && block_nr_free(b) < PAGEBLOCK_PAGES)
		page = rmqueue_from_block(z, b, 0, MIGRATE_MOVABLE);
	spin_unlock_irqrestore(&z->lock, flags);
	if (!page)
		return NULL;
	if (!page_is_clean(page, 0)) {
		bad_page(page, "in use in the buddy", 1);
		return NULL;
	}
	return prep_new_page(page, 0, GFP_HIGHUSER_MOVABLE, MIGRATE_MOVABLE, CALLER) ? page : NULL;
}

/* ---- splitting, exact sizes, counts ---------------------------------------------------------- */

void split_page(struct page *page, unsigned order)
{
	ASSERT_I("I7", page_count(page) == 1);
	BUG_ON(page_test(page, PG_head));
	for (unsigned long i = 1; i < 1ul << order; i++)
		__atomic_store_n(&page[i]._refcount, 1, __ATOMIC_RELAXED);
	page_owner_split(page, order);
}

void zone_init_free_lists(struct zone *z)
{
	spin_lock_init_rank(&z->lock, "zone", RANK_ZONE);
	for (unsigned o = 0; o < MAX_ORDER; o++)
		for (unsigned mt = 0; mt < MIGRATE_TYPES; mt++)
			INIT_LIST_HEAD(&z->free_area[o].free_list[mt]);
}

/* Calls, for failure injection: the zones count pages, and larger orders the difference. */
uint64_t page_allocs_seen(void)
{
	uint64_t sum = sum_vm_event(PAGE_ALLOC_CALLS);

	for (unsigned i = 0; i < MAX_NR_ZONES; i++)
		sum += sum_vm_event(PGALLOC_DMA + i);
	return sum;
}
