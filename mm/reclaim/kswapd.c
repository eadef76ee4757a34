/* SPDX-License-Identifier: MIT */
/*
 * The background: kswapd frees pages before somebody has to wait for them, kcompactd makes blocks.
 *
 * A zone that falls below its low mark wakes kswapd, which runs until some zone that the request could
 * use has its high mark again. A request that finds even the min mark broken makes room itself
 * (direct reclaim); it is held up while less than half of the reserve of those who reclaim is left
 * (throttle_direct_reclaim), so that a crowd cannot eat up what kswapd needs to make progress.
 *
 * A *boost* raises the marks after types of pageblocks were mixed. To lower it kswapd frees only what
 * costs little: nothing is written, nothing is swapped, and it does not become more urgent.
 *
 * kswapd gives up after MAX_KSWAPD_FAILURES runs that freed nothing: then there is nothing to be had,
 * and who asks must see for himself, down to the OOM killer. Whoever frees something encourages it.
 *
 * Before it sleeps for long it sleeps a tenth of a second: what is woken meanwhile shows that it
 * stopped too early (kswapd_low_wmark_hit_quickly, kswapd_high_wmark_hit_quickly).
 *
 * Words. What is wanted (order, highest zone) is collected in atomics by those who wake, and taken by
 * the thread. The word that it sleeps on counts the wake-ups, so none is lost. No lock.
 */
#include "mm/base/fs_reclaim.h"
#include "mm/base/memalloc.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/lru/workingset.h"
#include "mm/migrate/compaction.h"
#include "mm/migrate/migrate.h"
#include "mm/phys/page_alloc.h"
#include "mm/reclaim/vmscan.h"
#include <quire/os.h>

#define KSWAPD_SHORT_NS 100000000ull

/* A thread that waits for work: how large a block, up to which zone. */
struct worker {
	struct os_thread *thread; /* NULL: it does not run; written while nobody else is there */
	uint32_t calls;		  /* atomic: the word it sleeps on */
	uint32_t wanted;	  /* atomic: order + 1 in the low half, highest zone + 1 above; 0: nothing */
};

static struct worker kswapd, kcompactd;
static unsigned kswapd_failures;   /* runs in a row that freed nothing; atomic */
static uint32_t throttled_word;    /* those who wait for the reserve; atomic */
static uint32_t throttled_waiters; /* how many; atomic */

bool kswapd_is_running(void)
{
	return kswapd.thread != NULL;
}

bool kswapd_hopeless(void)
{
	return __atomic_load_n(&kswapd_failures, __ATOMIC_RELAXED) >= MAX_KSWAPD_FAILURES;
}

void kswapd_encourage(void)
{
	if (__atomic_load_n(&kswapd_failures, __ATOMIC_RELAXED))
		__atomic_store_n(&kswapd_failures, 0, __ATOMIC_RELAXED);
}

/* ---- waking and waiting ------------------------------------------------------------------------ */

static void worker_call(struct worker *w)
{
	__atomic_fetch_add(&w->calls, 1, __ATOMIC_SEQ_CST);
	os_wake(&w->calls, 1);
}

/* The larger of what is wanted already and this; true: nothing was. */
static bool worker_want(struct worker *w, unsigned order, enum zone_type highest)
{
	uint32_t old = __atomic_load_n(&w->wanted, __ATOMIC_RELAXED), now;

	ASSERT_DEBUG(order < MAX_ORDER && highest < MAX_NR_ZONES);
	do {
		now = max(old & 0xffff, order + 1) | max(old >> 16, (uint32_t)highest + 1) << 16;
		if (now == old)
			return false;
	} while (!__atomic_compare_exchange_n(&w->wanted, &old, now, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
	return true;
}

/* Takes what is wanted; false: nothing is. */
static bool worker_take(struct worker *w, unsigned *order, enum zone_type *highest)
{
	uint32_t was = __atomic_exchange_n(&w->wanted, 0, __ATOMIC_ACQ_REL);

	if (!was)
		return false;
	*order = (was & 0xffff) - 1;
	*highest = (enum zone_type)((was >> 16) - 1);
	return true;
}

/* Until something is wanted, the thread is asked to end, or the deadline. */
static void worker_sleep(struct worker *w, uint64_t deadline_ns)
{
	uint32_t seen = __atomic_load_n(&w->calls, __ATOMIC_SEQ_CST);

	if (!__atomic_load_n(&w->wanted, __ATOMIC_ACQUIRE) && !os_thread_should_stop())
		os_wait_until(&w->calls, &w->calls, seen, deadline_ns);
}

/* ---- balance ----------------------------------------------------------------------------------- */

static unsigned long high_mark(const struct zone *z)
{
	return z->watermark[WMARK_HIGH] + READ_ONCE(z->watermark_boost);
}

/* A zone up to highest has its high mark, and a block of order. */
static bool pgdat_balanced(unsigned order, enum zone_type highest)
{
	bool any = false;
	struct zone *z;

	ASSERT_DEBUG(order < MAX_ORDER);
	for_each_populated_zone(z) {
		if (z->idx > highest || !managed_zone(z))
			continue;
		any = true;
		if (zone_watermark_ok(z, order, high_mark(z), highest, 0))
			return true;
	}
	return !any;
}

static bool node_boosted(enum zone_type highest)
{
	struct zone *z;

	for_each_populated_zone(z)
		if (z->idx <= highest && READ_ONCE(z->watermark_boost))
			return true;
	return false;
}

bool wakeup_kswapd(struct zone *z, unsigned order)
{
	ASSERT_DEBUG(z && order < MAX_ORDER);
	if (!kswapd_is_running())
		return false;
	worker_want(&kswapd, order, z->idx);
	if (kswapd_hopeless() || (pgdat_balanced(order, z->idx) && !node_boosted(z->idx)))
		return true;
	trace_vmscan(QUIRE_TR_WAKEUP_KSWAPD, order, z->idx);
	worker_call(&kswapd);
	return true;
}

static void wakeup_kcompactd(unsigned order, enum zone_type highest)
{
	if (order && kcompactd.thread && worker_want(&kcompactd, order, highest))
		worker_call(&kcompactd);
}

/* ---- throttling -------------------------------------------------------------------------------- */

/* More than half of the reserve is there, or nothing would bring it back. */
static bool allow_direct_reclaim(void)
{
	unsigned long reserve = 0, free = 0;
	struct zone *z;

	if (kswapd_hopeless())
		return true;
	for_each_populated_zone(z) {
		if (z->idx > ZONE_NORMAL || !managed_zone(z) || !zone_reclaimable_pages(z))
			continue;
		reserve += z->watermark[WMARK_MIN];
		free += READ_ONCE(z->nr_free);
	}
	return !reserve || free > reserve / 2;
}

/* Woken by kswapd; who must not wait for files' code waits a second at most. */
static void wait_for_reserve(gfp_t gfp)
{
	uint64_t deadline = gfp & __GFP_FS ? UINT64_MAX : os_clock_ns() + 1000000000ull;

	__atomic_fetch_add(&throttled_waiters, 1, __ATOMIC_SEQ_CST);
	while (!os_fatal_signal_pending() && os_clock_ns() < deadline) {
		uint32_t seen = __atomic_load_n(&throttled_word, __ATOMIC_SEQ_CST);

		if (allow_direct_reclaim())
			break;
		worker_want(&kswapd, 0, ZONE_NORMAL);
		worker_call(&kswapd);
		/* A look now and then: a kill, or a free elsewhere, wakes nobody here. */
		os_wait_until(&throttled_word, &throttled_word, seen,
			      min(deadline, os_clock_ns() + KSWAPD_SHORT_NS));
	}
	__atomic_fetch_sub(&throttled_waiters, 1, __ATOMIC_RELAXED);
}

bool throttle_direct_reclaim(gfp_t gfp)
{
	might_sleep();
	if (!kswapd_is_running() || os_fatal_signal_pending() || allow_direct_reclaim())
		return false;
	count_vm_event(PGSCAN_DIRECT_THROTTLE);
	wait_for_reserve(gfp);
	return os_fatal_signal_pending();
}

static void wake_throttled(void)
{
	if (!__atomic_load_n(&throttled_waiters, __ATOMIC_SEQ_CST) || !allow_direct_reclaim())
		return;
	__atomic_fetch_add(&throttled_word, 1, __ATOMIC_SEQ_CST);
	os_wake(&throttled_word, UINT32_MAX);
}

/* ---- kswapd ------------------------------------------------------------------------------------ */

/* A round for all zones together; true: as much was scanned as was to be freed. */
static bool kswapd_shrink_node(struct scan_control *sc)
{
	struct zone *z;

	sc->nr_to_reclaim = 0;
	for_each_populated_zone(z)
		if (z->idx <= sc->reclaim_idx && managed_zone(z))
			sc->nr_to_reclaim += max(high_mark(z), SWAP_CLUSTER_MAX);
	shrink_node(sc);
	/* Enough for a block of it: now compaction can do the rest. */
	if (sc->order && sc->nr_reclaimed >= 2ul << sc->order)
		sc->order = 0;
	return sc->nr_scanned >= sc->nr_to_reclaim;
}

static unsigned long sum_boosts(enum zone_type highest, unsigned long boost[MAX_NR_ZONES])
{
	unsigned long sum = 0;
	struct zone *z;

	for_each_populated_zone(z) {
		boost[z->idx] = z->idx <= highest ? READ_ONCE(z->watermark_boost) : 0;
		sum += boost[z->idx];
	}
	return sum;
}

static void lower_boosts(const unsigned long boost[MAX_NR_ZONES])
{
	struct zone *z;

	for_each_populated_zone(z) {
		irqflags_t flags;

		if (!boost[z->idx])
			continue;
		spin_lock_irqsave(&z->lock, flags);
		WRITE_ONCE(z->watermark_boost, z->watermark_boost - min(z->watermark_boost, boost[z->idx]));
		zone_marks_changed(z);
		spin_unlock_irqrestore(&z->lock, flags);
	}
}

/* One run until some zone up to highest has its high mark. The order that was still aimed at. */
static unsigned balance_pgdat(unsigned order, enum zone_type highest)
{
	struct scan_control sc = {
		.gfp_mask = GFP_KERNEL,
		.order = order,
		.reclaim_idx = highest,
		.priority = DEF_PRIORITY,
		.kswapd = true,
		.may_unmap = true,
	};
	unsigned long boosts[MAX_NR_ZONES] = {0}, boosted = sum_boosts(highest, boosts);
	unsigned long boost_left = boosted, stall = psi_memstall_enter();

	count_vm_event(PAGEOUTRUN);
	fs_reclaim_acquire(sc.gfp_mask);
	while (sc.priority >= 1 && !os_thread_should_stop()) {
		bool balanced = pgdat_balanced(sc.order, highest), urgent = true;
		unsigned long before = sc.nr_reclaimed;

		if (!balanced && boost_left) {
			/* A real lack comes first. */
			boost_left = 0;
			sc.priority = DEF_PRIORITY;
			continue;
		}
		if (balanced && !boost_left)
			break;
		if (boost_left && sc.priority == DEF_PRIORITY - 2)
			urgent = false;
		sc.may_writepage = !boost_left;
		sc.may_swap = !boost_left;
		if (reclaim_policy_now()->age)
			reclaim_policy_now()->age(&sc);
		sc.nr_scanned = 0;
		if (kswapd_shrink_node(&sc))
			urgent = false;
		wake_throttled();
		before = sc.nr_reclaimed - before;
		boost_left -= min(boost_left, before);
		if (boosted && boost_left && !before)
			break;
		if (urgent || !before)
			sc.priority--;
	}
	if (!sc.nr_reclaimed && !pgdat_balanced(sc.order, highest))
		__atomic_fetch_add(&kswapd_failures, 1, __ATOMIC_RELAXED);
	fs_reclaim_release(sc.gfp_mask);
	if (boosted) {
		lower_boosts(boosts);
		wakeup_kcompactd(PAGEBLOCK_ORDER, highest);
	}
	snapshot_refaults();
	psi_memstall_leave(stall);
	wake_throttled();
	return sc.order;
}

/* Nothing more to do, as far as kswapd is concerned. */
static bool may_sleep_now(unsigned order, enum zone_type highest)
{
	return kswapd_hopeless() || pgdat_balanced(order, highest);
}

static void kswapd_try_to_sleep(unsigned order, unsigned tried_order, enum zone_type highest)
{
	uint64_t deadline = os_clock_ns() + KSWAPD_SHORT_NS;

	if (may_sleep_now(tried_order, highest)) {
		wakeup_kcompactd(order, highest);
		worker_sleep(&kswapd, deadline);
		if (__atomic_load_n(&kswapd.wanted, __ATOMIC_ACQUIRE)) {
			if (os_clock_ns() < deadline)
				count_vm_event(KSWAPD_LOW_WMARK_HIT_QUICKLY);
			return;
		}
		if (may_sleep_now(tried_order, highest)) {
			trace_vmscan(QUIRE_TR_KSWAPD_SLEEP, 0, 0);
			worker_sleep(&kswapd, UINT64_MAX);
			return;
		}
	}
	count_vm_event(KSWAPD_HIGH_WMARK_HIT_QUICKLY);
}

/* Reclaims; so what it allocates comes from the reserves. */
static void kswapd_main(void *arg)
{
	enum zone_type highest = MAX_NR_ZONES - 1;
	unsigned order = 0, tried = 0;

	memalloc_save(PF_MEMALLOC);
	memalloc_save(PF_KSWAPD);
	while (!os_thread_should_stop()) {
		unsigned more;
		enum zone_type up_to;

		kswapd_try_to_sleep(order, tried, highest);
		if (worker_take(&kswapd, &more, &up_to)) {
			order = more;
			highest = up_to;
		} else if (may_sleep_now(order, highest)) {
			order = tried = 0;
			continue;
		}
		if (os_thread_should_stop())
			break;
		trace_vmscan(QUIRE_TR_KSWAPD_WAKE, order, highest);
		tried = balance_pgdat(order, highest);
	}
}

/* ---- kcompactd --------------------------------------------------------------------------------- */

static void kcompactd_main(void *arg)
{
	while (!os_thread_should_stop()) {
		enum zone_type highest;
		unsigned long stall;
		unsigned order;

		worker_sleep(&kcompactd, UINT64_MAX);
		if (!worker_take(&kcompactd, &order, &highest))
			continue;
		count_vm_event(KCOMPACTD_WAKE);
		stall = psi_memstall_enter();
		compact_node(order, highest);
		psi_memstall_leave(stall);
	}
}

/* ---- start and end ------------------------------------------------------------------------------ */

static void worker_start(struct worker *w, const char *name, void (*fn)(void *))
{
	ASSERT(!w->thread);
	w->wanted = 0;
	/* Without threads, or memory for one, who asks does it himself. */
	if (os_thread_start(name, fn, NULL, &w->thread))
		w->thread = NULL;
}

static void worker_stop(struct worker *w)
{
	if (w->thread)
		os_thread_stop(w->thread);
	w->thread = NULL;
}

void kswapd_run(void)
{
	kswapd_failures = 0;
	worker_start(&kswapd, "kswapd0", kswapd_main);
	worker_start(&kcompactd, "kcompactd0", kcompactd_main);
}

void kswapd_stop(void)
{
	worker_stop(&kswapd);
	worker_stop(&kcompactd);
}
