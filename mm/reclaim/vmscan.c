/* SPDX-License-Identifier: MIT */
/*
 * Page reclaim: which list is scanned, how much of it, and what moves between the lists.
 *
 * Terms. A *run* frees a number of pages for one who asks (try_to_free_pages), or until the marks are
 * met (kswapd.c). It has a *priority*, from DEF_PRIORITY down to 0: a round looks at each list's size
 * shifted right by it, so a run that finds little looks at more and more. *Taken* pages are isolated:
 * on no list, with one reference of ours each.
 *
 * A run.
 *
 *   try_to_free_pages ............ throttled while the reserve is low (kswapd.c)
 *    `- do_try_to_free_pages ..... priorities 12 .. 0, until enough is free
 *        `- shrink_zones ......... once for the node, if a zone of the request may be of help
 *            `- shrink_node ...... which lists may lose active pages; again while a block is wanted
 *                |- shrink_lruvec  the policy in force; here:
 *                |   |- get_scan_count ........ how many pages of each of the four lists
 *                |   |- shrink_active_list .... the cold end: used code stays, the rest goes inactive
 *                |   `- shrink_inactive_list .. the cold end: shrink_page_list() decides over each
 *                `- shrink_slab .. caches of other things (shrinker.c)
 *
 * Balance, as Linux 5.10 has it. Pages start inactive. The active list gives pages to the inactive one
 * where that is the smaller of the two, or where refaults became active since the last run: somebody
 * is missing what was evicted. Between anonymous and file pages the scanning is shared by swappiness
 * and by what the two have cost of late: pages read back that were of the working set, and writes. No
 * swap: only files. Hardly any files: only anonymous pages. Many files in the inactive list: only
 * those.
 *
 * Locks. lru_lock to take pages and to put them back, 32 at a time; none in between. Reclaim never
 * waits for a page lock, nor takes mmap_lock. fs_reclaim is a pseudo-lock that a run holds, and that
 * every allocation which could reclaim takes and drops: lockdep then sees who may not allocate so.
 *
 * Limits. One node; no memory cgroups. Nothing is written back to files.
 */
#include "mm/reclaim/vmscan.h"
#include "mm/base/fs_reclaim.h"
#include "mm/base/memalloc.h"
#include "mm/base/sysctl.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/lru/workingset.h"
#include "mm/migrate/compaction.h"
#include "mm/object/writeback.h"
#include "mm/phys/page_alloc.h"
#include "mm/rmap/rmap.h"
#include "mm/swap/swap.h"
#include <quire/os.h>

#define LRU_SKIP_MOST	256ul	    /* pages passed over under one hold of lru_lock */
#define RECLAIM_WAIT_NS 100000000ull /* for pages that others have isolated */

static unsigned long refaults_seen[2]; /* activations by refault at the end of the last run; racy */

/* ---- taking pages and putting them back ------------------------------------------------------- */

/*
 * Takes up to n pages from the cold end of list l; *scanned: how many were looked at. Pages of zones
 * that are no help go to the warm end, in their order.
 */
static unsigned long isolate_lru_pages(enum lru_list l, unsigned long n, struct list_head *taken,
				       unsigned long *scanned, const struct scan_control *sc)
{
	struct list_head *src = &node_lruvec.lists[l];
	unsigned long looked = 0, nr = 0, skipped = 0;
	LIST_HEAD(skip);

	assert_held(&node_lruvec.lru_lock);
	while (looked < n && skipped < LRU_SKIP_MOST && !list_empty(src)) {
		struct page *page = list_last_entry(src, struct page, lru);

		if (page_zonenum(page) > sc->reclaim_idx) {
			list_del(&page->lru);
			list_add(&page->lru, &skip);
			skipped++;
			continue;
		}
		looked++;
		/* One without a reference is being freed, by somebody who waits for our lock. */
		if ((!sc->may_unmap && page_mapcount(page) > 0) || !get_page_unless_zero(page)) {
			list_del(&page->lru);
			list_add(&page->lru, src);
			continue;
		}
		lru_unlink(page);
		list_add(&page->lru, taken);
		nr++;
	}
	while (!list_empty(&skip)) {
		struct page *page = list_last_entry(&skip, struct page, lru);

		list_del(&page->lru);
		list_add(&page->lru, src);
	}
	trace_lru_isolate(sc->reclaim_idx, sc->order, l, n, looked, skipped, nr);
	*scanned = looked;
	return nr;
}

/* Onto lists by their flags, SWAP_CLUSTER_MAX at most; those that nobody else holds any more are returned
 * to be freed. Under lru_lock. How many went to a list. */
static unsigned long move_pages_to_lru(struct list_head *list, struct list_head *dead)
{
	unsigned long moved = 0;

	assert_held(&node_lruvec.lru_lock);
	for (unsigned n = 0; n < SWAP_CLUSTER_MAX && !list_empty(list); n++) {
		/* The one that was at the cold end first: the order stays. */
		struct page *page = list_last_entry(list, struct page, lru);

		list_del(&page->lru);
		/* On no list: nobody can take a reference by it, so a count of 1 is ours for good. */
		if (page_ref_freeze(page, 1)) {
			list_add(&page->lru, dead);
			continue;
		}
		lru_link(page);
		moved++;
		/* Not the last one, for that is what was just tried; or its owner drops his this
		 * moment: then the page is freed, and waits for our lock to leave its list. */
		if (unlikely(__atomic_sub_fetch(&page->_refcount, 1, __ATOMIC_ACQ_REL) == 0)) {
			lru_unlink(page);
			list_add(&page->lru, dead);
			moved--;
		}
	}
	return moved;
}

void free_dead_pages(struct list_head *dead)
{
	struct page *page, *next, *pages[SWAP_CLUSTER_MAX];
	unsigned n = 0;

	list_for_each_entry_safe(page, next, dead, lru) {
		pages[n++] = page;
		if (n == ARRAY_SIZE(pages)) {
			free_page_bulk(pages, n);
			n = 0;
		}
	}
	if (n)
		free_page_bulk(pages, n);
	INIT_LIST_HEAD(dead);
}

void putback_lru_pages(struct list_head *list)
{
	irqflags_t flags;
	LIST_HEAD(dead);

	while (!list_empty(list)) {
		spin_lock_irqsave(&node_lruvec.lru_lock, flags);
		move_pages_to_lru(list, &dead);
		spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
		free_dead_pages(&dead);
	}
}

/* Direct runs wait while more of a kind is taken than is left: pages are coming back. */
static bool too_many_isolated(bool file, const struct scan_control *sc)
{
	unsigned long inactive = lruvec_size(file ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON);
	unsigned long isolated = node_page_state(NR_ISOLATED_ANON + file);

	if (sc->kswapd)
		return false;
	/* Who may do everything lets those go first who hold something. */
	if ((sc->gfp_mask & (__GFP_IO | __GFP_FS)) == (__GFP_IO | __GFP_FS))
		inactive >>= 3;
	return isolated > inactive;
}

/* ---- the active lists -------------------------------------------------------------------------- */

/* The active list of this kind is to give pages to the inactive one. */
static bool inactive_is_low(enum lru_list inactive)
{
	unsigned long in = lruvec_size(inactive), act = lruvec_size(inactive + 1), ratio = 1;
	unsigned long gb = (in + act) >> (30 - PAGE_SHIFT);

	ASSERT_DEBUG(!is_active_lru(inactive));
	/* The root of ten times the GiB: 1 below one, 3 at one, 10 at ten. */
	while (gb && (ratio + 1) * (ratio + 1) <= 10 * gb)
		ratio++;
	return in * ratio < act;
}

/* Pages from the cold end of an active list go to the inactive one; code that was used stays. */
static void shrink_active_list(unsigned long nr_to_scan, struct scan_control *sc, enum lru_list l)
{
	unsigned long taken, scanned, kept, deactivated, used = 0;
	bool file = is_file_lru(l);
	LIST_HEAD(hold);
	LIST_HEAD(stay);
	LIST_HEAD(go);
	LIST_HEAD(dead);
	irqflags_t flags;

	ASSERT_DEBUG(is_active_lru(l));
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	taken = isolate_lru_pages(l, nr_to_scan, &hold, &scanned, sc);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	mod_node_page_state(NR_ISOLATED_ANON + file, (long)taken);
	count_vm_events(PGREFILL, scanned);
	while (!list_empty(&hold)) {
		struct page *page = list_last_entry(&hold, struct page, lru);
		vm_flags_t vm_flags;

		os_cond_resched();
		list_del(&page->lru);
		if (page_evictable(page) && page_referenced(page, false, &vm_flags)) {
			used++;
			if (vm_flags & VM_EXEC && file) {
				list_add(&page->lru, &stay);
				continue;
			}
		}
		page_clear(page, PG_active);
		page_set(page, PG_workingset);
		list_add(&page->lru, &go);
	}
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	kept = move_pages_to_lru(&stay, &dead);
	deactivated = move_pages_to_lru(&go, &dead);
	ASSERT(list_empty(&stay) && list_empty(&go));
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	mod_node_page_state(NR_ISOLATED_ANON + file, -(long)taken);
	count_vm_events(PGDEACTIVATE, deactivated);
	free_dead_pages(&dead);
	trace_lru_shrink(QUIRE_TR_LRU_SHRINK_ACTIVE, taken, kept, deactivated, used,
			 (unsigned)sc->priority | file << 8);
}

/* ---- the inactive lists ------------------------------------------------------------------------ */

/* Pages from the cold end of an inactive list; how many were freed. */
unsigned long shrink_inactive_list(unsigned long nr_to_scan, struct scan_control *sc, enum lru_list l)
{
	struct reclaim_stat stat = {0};
	unsigned long taken, scanned, freed;
	bool file = is_file_lru(l);
	LIST_HEAD(list);
	LIST_HEAD(dead);
	irqflags_t flags;

	ASSERT_DEBUG(!is_active_lru(l));
	if (too_many_isolated(file, sc)) {
		static const uint32_t never;

		os_wait_until(&never, &never, 0, os_clock_ns() + RECLAIM_WAIT_NS);
		if (too_many_isolated(file, sc))
			return os_fatal_signal_pending() ? SWAP_CLUSTER_MAX : 0;
	}
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	taken = isolate_lru_pages(l, nr_to_scan, &list, &scanned, sc);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	mod_node_page_state(NR_ISOLATED_ANON + file, (long)taken);
	count_vm_events(sc->kswapd ? PGSCAN_KSWAPD : PGSCAN_DIRECT, scanned);
	count_vm_events(file ? PGSCAN_FILE : PGSCAN_ANON, scanned);
	if (!taken)
		return 0;
	freed = shrink_page_list(&list, sc, &stat, false);
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	move_pages_to_lru(&list, &dead);
	ASSERT(list_empty(&list));
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	mod_node_page_state(NR_ISOLATED_ANON + file, -(long)taken);
	free_dead_pages(&dead);
	trace_lru_shrink(QUIRE_TR_LRU_SHRINK_INACTIVE, taken | (uint64_t)freed << 32,
			 trace_four(stat.nr_dirty, stat.nr_writeback, stat.nr_congested,
				    stat.nr_immediate),
			 trace_four(stat.nr_activate[0], stat.nr_activate[1], stat.nr_ref_keep,
				    stat.nr_unmap_fail),
			 (unsigned)sc->priority | file << 8, 0);
	lru_note_cost(file, stat.nr_pageout);
	count_vm_events(sc->kswapd ? PGSTEAL_KSWAPD : PGSTEAL_DIRECT, freed);
	count_vm_events(file ? PGSTEAL_FILE : PGSTEAL_ANON, freed);
	/* Nothing but what nobody has begun to write: no use to scan on before somebody does. */
	if (stat.nr_unqueued_dirty == taken)
		wakeup_flusher(true);
	sc->nr.dirty += stat.nr_dirty;
	sc->nr.unqueued_dirty += stat.nr_unqueued_dirty;
	sc->nr.congested += stat.nr_congested;
	sc->nr.writeback += stat.nr_writeback;
	sc->nr.immediate += stat.nr_immediate;
	sc->nr.taken += taken;
	if (file)
		sc->nr.file_taken += taken;
	return freed;
}

/* ---- how much of each list --------------------------------------------------------------------- */

enum scan_balance { SCAN_EQUAL, SCAN_FRACT, SCAN_ANON, SCAN_FILE };

static enum scan_balance choose_balance(const struct scan_control *sc)
{
	if (!sc->may_swap || get_nr_swap_pages() <= 0)
		return SCAN_FILE;
	/* Close to the end nothing is spared. */
	if (!sc->priority && vm_sysctl.swappiness)
		return SCAN_EQUAL;
	if (sc->file_is_tiny)
		return SCAN_ANON;
	return sc->cache_trim_mode ? SCAN_FILE : SCAN_FRACT;
}

/* Pages to scan of each list at this priority. */
static void get_scan_count(const struct scan_control *sc, unsigned long nr[NR_LRU_LISTS])
{
	uint64_t total = (uint64_t)sc->anon_cost + sc->file_cost, swappiness = vm_sysctl.swappiness;
	uint64_t anon_cost = total + sc->anon_cost, file_cost = total + sc->file_cost;
	enum scan_balance balance = choose_balance(sc);
	uint64_t share[2];

	ASSERT_DEBUG(sc->priority >= 0 && sc->priority <= DEF_PRIORITY);
	/* The half of each share stays whatever it costs: the other one is weighed. */
	total = anon_cost + file_cost;
	share[0] = swappiness * (total + 1) / (anon_cost + 1);
	share[1] = (200 - swappiness) * (total + 1) / (file_cost + 1);
	for (enum lru_list l = LRU_INACTIVE_ANON; l <= LRU_ACTIVE_FILE; l++) {
		bool file = is_file_lru(l);
		uint64_t scan = scan_zone_size(l, sc->reclaim_idx) >> sc->priority;

		if (balance == SCAN_FRACT)
			scan = scan * share[file] / (share[0] + share[1]);
		else if (balance != SCAN_EQUAL && (balance == SCAN_FILE) != file)
			scan = 0;
		nr[l] = (unsigned long)scan;
	}
}

static unsigned long shrink_list(enum lru_list l, unsigned long n, struct scan_control *sc)
{
	if (!is_active_lru(l))
		return shrink_inactive_list(n, sc, l);
	if (sc->may_deactivate & (is_file_lru(l) ? DEACTIVATE_FILE : DEACTIVATE_ANON))
		shrink_active_list(n, sc, l);
	else
		sc->skipped_deactivate = true;
	return 0;
}

/*
 * Enough is free: the kind of which less is left to scan is done, the other one is scanned until the
 * same part of its share was. False: one kind is done already.
 */
static bool adjust_scan(unsigned long nr[], const unsigned long targets[])
{
	unsigned long file = nr[LRU_INACTIVE_FILE] + nr[LRU_ACTIVE_FILE];
	unsigned long anon = nr[LRU_INACTIVE_ANON] + nr[LRU_ACTIVE_ANON];
	enum lru_list done = file > anon ? LRU_INACTIVE_ANON : LRU_INACTIVE_FILE;
	enum lru_list other = file > anon ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON;
	unsigned long percent;

	if (!file || !anon)
		return false;
	percent = min(file, anon) * 100 / (targets[done] + targets[done + 1] + 1);
	nr[done] = nr[done + 1] = 0;
	for (unsigned i = 0; i < 2; i++) {
		unsigned long scanned = targets[other + i] - nr[other + i];

		nr[other + i] = targets[other + i] * (100 - percent) / 100;
		nr[other + i] -= min(nr[other + i], scanned);
	}
	return true;
}

static void shrink_lruvec(struct scan_control *sc)
{
	unsigned long nr[NR_LRU_LISTS], targets[NR_LRU_LISTS], freed = 0;
	/* A direct run that has just begun keeps to its share, so that it ages all lists alike. */
	bool adjusted = !sc->kswapd && sc->priority == DEF_PRIORITY;

	get_scan_count(sc, nr);
	for (unsigned l = 0; l < NR_LRU_LISTS; l++)
		targets[l] = nr[l];
	while (nr[LRU_INACTIVE_ANON] || nr[LRU_ACTIVE_FILE] || nr[LRU_INACTIVE_FILE]) {
		for (enum lru_list l = LRU_INACTIVE_ANON; l <= LRU_ACTIVE_FILE; l++) {
			unsigned long n = min(nr[l], SWAP_CLUSTER_MAX);

			nr[l] -= n;
			if (n)
				freed += shrink_list(l, n, sc);
		}
		os_cond_resched();
		if (freed < sc->nr_to_reclaim || adjusted)
			continue;
		if (!adjust_scan(nr, targets))
			break;
		adjusted = true;
	}
	sc->nr_reclaimed += freed;
	/* Even where no page had to go the two anonymous lists are kept in balance. */
	if (total_swap_pages() && inactive_is_low(LRU_INACTIVE_ANON))
		shrink_active_list(SWAP_CLUSTER_MAX, sc, LRU_ACTIVE_ANON);
}

/* Active anonymous pages are looked at even while nothing of them has to go. */
static void age_active_anon(struct scan_control *sc)
{
	if (total_swap_pages() && inactive_is_low(LRU_INACTIVE_ANON))
		shrink_active_list(SWAP_CLUSTER_MAX, sc, LRU_ACTIVE_ANON);
}

const struct reclaim_policy lru_policy = {
	.name = "lru",
	.shrink_lruvec = shrink_lruvec,
	.age = age_active_anon,
};

/* ---- the node ---------------------------------------------------------------------------------- */

unsigned long zone_reclaimable_pages(const struct zone *z)
{
	unsigned long n = zone_lru_size(z, LRU_INACTIVE_FILE) + zone_lru_size(z, LRU_ACTIVE_FILE);

	if (get_nr_swap_pages() > 0)
		n += zone_lru_size(z, LRU_INACTIVE_ANON) + zone_lru_size(z, LRU_ACTIVE_ANON);
	return n;
}

void snapshot_refaults(void)
{
	for (unsigned kind = 0; kind < 2; kind++)
		__atomic_store_n(&refaults_seen[kind],
				 node_page_state(WORKINGSET_ACTIVATE_ANON + kind), __ATOMIC_RELAXED);
}

/* Whether the active list of a kind may lose pages: the inactive one is small, or pages that were
 * evicted came back and were activated since the last run. */
static bool may_deactivate(unsigned kind)
{
	unsigned long seen = __atomic_load_n(&refaults_seen[kind], __ATOMIC_RELAXED);

	ASSERT_DEBUG(kind < 2);
	return node_page_state(WORKINGSET_ACTIVATE_ANON + kind) != seen ||
	       inactive_is_low(kind ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON);
}

/* Free and file pages together do not make up the high marks: files alone cannot help. */
static bool files_are_few(void)
{
	unsigned long marks = 0;
	struct zone *z;

	for_each_populated_zone(z)
		marks += z->watermark[WMARK_HIGH] + READ_ONCE(z->watermark_boost);
	return lruvec_size(LRU_ACTIVE_FILE) + lruvec_size(LRU_INACTIVE_FILE) + nr_free_buddy() <=
	       marks;
}

static void prepare_scan(struct scan_control *sc)
{
	lru_add_drain_all();
	sc->nr = (typeof(sc->nr)){0};
	lru_costs(&sc->anon_cost, &sc->file_cost);
	if (sc->force_deactivate)
		sc->may_deactivate = DEACTIVATE_ANON | DEACTIVATE_FILE;
	else
		sc->may_deactivate = (may_deactivate(0) ? DEACTIVATE_ANON : 0) |
				     (may_deactivate(1) ? DEACTIVATE_FILE : 0);
	sc->cache_trim_mode = lruvec_size(LRU_INACTIVE_FILE) >> sc->priority &&
			      !(sc->may_deactivate & DEACTIVATE_FILE);
	sc->file_is_tiny = files_are_few() && !(sc->may_deactivate & DEACTIVATE_ANON) &&
			   lruvec_size(LRU_INACTIVE_ANON) >> sc->priority;
}

/* A block is wanted, and by now enough pages were tried to free one page after the other. */
static bool in_reclaim_compaction(const struct scan_control *sc)
{
	return sc->order &&
	       (sc->order > PAGE_ALLOC_COSTLY_ORDER || sc->priority < DEF_PRIORITY - 2);
}

/* Another round at once: compaction has no room yet, and there is enough that could still go. */
static bool should_continue_reclaim(unsigned long freed, const struct scan_control *sc)
{
	unsigned long inactive = lruvec_size(LRU_INACTIVE_FILE);
	struct zone *z;

	if (!in_reclaim_compaction(sc) || !freed)
		return false;
	for_each_populated_zone(z)
		if (z->idx <= sc->reclaim_idx && compaction_suitable(z, sc->order, sc->reclaim_idx))
			return false;
	if (get_nr_swap_pages() > 0)
		inactive += lruvec_size(LRU_INACTIVE_ANON);
	return inactive > 2ul << sc->order;
}

bool shrink_node(struct scan_control *sc)
{
	bool any = false;
	unsigned long before;

	do {
		before = sc->nr_reclaimed;
		prepare_scan(sc);
		reclaim_policy_now()->shrink_lruvec(sc);
		shrink_slab(sc->gfp_mask, sc->priority, &sc->nr_reclaimed);
		any |= sc->nr_reclaimed != before;
	} while (should_continue_reclaim(sc->nr_reclaimed - before, sc));
	if (any)
		kswapd_encourage();
	return any;
}

/* ---- on behalf of a request -------------------------------------------------------------------- */

/* A costly block may be had by moving pages as soon as there is room for that. */
static bool compaction_ready(const struct scan_control *sc)
{
	struct zone *z;

	if (sc->order <= PAGE_ALLOC_COSTLY_ORDER)
		return false;
	for_each_populated_zone(z)
		if (z->idx <= sc->reclaim_idx &&
		    zone_watermark_ok(z, 0, z->watermark[WMARK_HIGH] + (2ul << sc->order),
				      sc->reclaim_idx, 0))
			return true;
	return false;
}

static void shrink_zones(struct scan_control *sc)
{
	if (compaction_ready(sc))
		sc->compaction_ready = true;
	else
		shrink_node(sc);
}

static unsigned long do_try_to_free_pages(struct scan_control *sc)
{
	int first = sc->priority;

	for (;;) {
		do {
			sc->nr_scanned = 0;
			shrink_zones(sc);
			if (sc->nr_reclaimed >= sc->nr_to_reclaim || sc->compaction_ready)
				break;
			/* In trouble: now also what has to be written first. */
			if (sc->priority < DEF_PRIORITY - 2)
				sc->may_writepage = true;
		} while (--sc->priority >= 0);
		snapshot_refaults();
		if (sc->nr_reclaimed)
			return sc->nr_reclaimed;
		if (sc->compaction_ready)
			return 1;
		if (!sc->skipped_deactivate)
			return 0;
		/* Nothing but active pages is left. */
		sc->priority = first;
		sc->force_deactivate = true;
		sc->skipped_deactivate = false;
	}
}

/* Around a run in this thread: what it allocates itself comes from the reserves, and reclaims nothing. */
static unsigned long begin_run(const struct scan_control *sc)
{
	might_sleep();
	fs_reclaim_acquire(sc->gfp_mask);
	return memalloc_noreclaim_save();
}

static void end_run(const struct scan_control *sc, unsigned long pf)
{
	memalloc_noreclaim_restore(pf);
	fs_reclaim_release(sc->gfp_mask);
}

unsigned long try_to_free_pages(gfp_t gfp, unsigned order)
{
	struct scan_control sc = {
		.nr_to_reclaim = SWAP_CLUSTER_MAX,
		.gfp_mask = current_gfp_context(gfp),
		.reclaim_idx = gfp_zone(gfp),
		.order = order,
		.priority = DEF_PRIORITY,
		.may_writepage = true,
		.may_unmap = true,
		.may_swap = true,
	};
	unsigned long freed, pf;

	ASSERT(gfp & __GFP_DIRECT_RECLAIM);
	/* Who is being killed gets the reserves instead. */
	if (throttle_direct_reclaim(sc.gfp_mask))
		return 1;
	trace_vmscan(QUIRE_TR_DIRECT_RECLAIM_BEGIN, order, sc.gfp_mask);
	pf = begin_run(&sc);
	freed = do_try_to_free_pages(&sc);
	end_run(&sc, pf);
	trace_vmscan(QUIRE_TR_DIRECT_RECLAIM_END, freed, 0);
	return freed;
}

unsigned long quire_reclaim(unsigned long n)
{
	struct scan_control sc = {
		.nr_to_reclaim = n,
		.gfp_mask = GFP_HIGHUSER_MOVABLE,
		.reclaim_idx = MAX_NR_ZONES - 1,
		.priority = DEF_PRIORITY,
		.on_request = true,
		.may_writepage = true,
		.may_unmap = true,
		.may_swap = true,
	};

	unsigned long pf = begin_run(&sc), freed = do_try_to_free_pages(&sc);

	end_run(&sc, pf);
	return freed;
}
