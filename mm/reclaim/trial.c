/* SPDX-License-Identifier: MIT */
/*
 * Trial by space: a page has to prove itself before it displaces one that has (docs/policy.md;
 * tools/simulate/trial.c is the reference). lru/spaces.c has the lists, time, and what becomes of a page
 * that comes; here is what a run of reclaim does. It takes
 *
 *   1. what is leaving anyway: written by now, or given up by a program
 *   2. who loses against a challenger (challenge)
 *   3. a page of a space that has been asleep for long
 *   4. a page of a space that owes one; the newest that came while there was room, if another one grows
 *   5. what was read ahead and not asked for, if that is much
 *   6. a page of the space that has most above what it is entitled to
 *
 * A space gives up the last page of its trial if that is longer than its target, else the idlest one of
 * its base (evict_one). Who is found in use at the end of the trial, or is back after an eviction,
 * challenges: after an interval tau between two uses it wins against a page of any base that has been
 * idle for tau / 2 + tau² / memory and is not in use. A win by who had been evicted from the trial makes
 * that longer, one by who had been evicted from the base shorter, and so does an interval longer than
 * memory.
 *
 * Locks. lru_lock, let go for each look at a page: asking its entries sleeps. So what a space has may
 * have changed after a look, and only the page that was looked at, which is isolated, is still ours.
 */
#include "mm/base/sysctl.h"
#include "mm/base/trace.h"
#include "mm/lru/spaces.h"
#include "mm/reclaim/vmscan.h"
#include "mm/rmap/rmap.h"
#include "mm/space/mm.h"
#include "mm/swap/swap.h"
#include <quire/os.h>

#define MIN_TRIAL  32u /* the trial has at least 1/32 of the space's pages */
#define MAX_AGED   4u  /* aged has at most 1/4 of them */
#define FAR_STEP   2   /* in TRIAL_FRACTION of a page */
#define SWEEP	   8u  /* base pages looked at for each page that comes in */
#define SAMPLE	   4u  /* spaces compared when one is chosen */
#define TRIES	   16u /* base pages that a challenge looks at */
#define LOOKS	   64u /* for one page; then the next one goes, in use or not */
#define SKIP_MOST  256u /* pages passed over in a row */
#define MOVE_MOST  16u /* pages moved without a look, under one hold of the lock */
#define BREATHE	   8u  /* pages under one hold of the lock, where none is looked at */
#define SKIP_BREATHE 64u /* pages passed over under one hold */
#define FLUSH_PART 128u /* translations go after 1/128 of memory's evictions */
#define FAILURES   8u  /* spaces in a row that had nothing to give */

/* One batch of victims. */
struct contest {
	struct scan_control *sc;
	bool may_swap;
	irqflags_t flags;
	struct list_head victims; /* isolated */
	struct list_head dead;	  /* that nobody else had any more, isolated, with a count of 0 */
	unsigned chosen, looks;
	unsigned steps; /* of work, in SKIP_BREATHEths of what one hold of the lock may do */
	unsigned scanned[2]; /* anonymous, file */
};

static void contest_lock(struct contest *c)
{
	spin_lock_irqsave(&node_lruvec.lru_lock, c->flags);
	c->steps = 0;
}

static void contest_unlock(struct contest *c)
{
	spin_unlock_irqrestore(&node_lruvec.lru_lock, c->flags);
	if (!list_empty(&c->dead))
		free_dead_pages(&c->dead);
}

/* A long hold of the lock is broken, so that interrupts come in: n more steps were made. */
static void contest_breathe_after(struct contest *c, unsigned n)
{
	c->steps += n;
	if (c->steps < SKIP_BREATHE)
		return;
	contest_unlock(c);
	contest_lock(c);
}

/* One page was dealt with. */
static void contest_breathe(struct contest *c)
{
	contest_breathe_after(c, SKIP_BREATHE / BREATHE);
}

/* ---- one page -------------------------------------------------------------------------------- */

/* The page of this kind that has its turn, isolated; NULL: none that this run may have. The lock is let go
 * where many have to be passed over. */
static struct page *take(struct contest *c, struct lru_space *sp, enum page_kind kind)
{
	struct list_head *l = space_list(sp, kind);

	assert_held(&node_lruvec.lru_lock);
	for (unsigned skipped = 0; skipped < SKIP_MOST && !list_empty(l); skipped++) {
		struct page *page = list_last_entry(l, struct page, lru);

		if (page_zonenum(page) <= c->sc->reclaim_idx &&
		    (c->sc->may_unmap || page_mapcount(page) <= 0) && get_page_unless_zero(page)) {
			lru_unlink(page);
			return page;
		}
		list_del(&page->lru);
		list_add(&page->lru, l);
		contest_breathe_after(c, 1);
	}
	return NULL;
}

/* An isolated page is on a list again, as one of this kind; isolation's reference goes. */
static void give_back(struct contest *c, struct page *page, enum page_kind kind)
{
	assert_held(&node_lruvec.lru_lock);
	if (page_ref_freeze(page, 1)) {
		list_add(&page->lru, &c->dead);
		return;
	}
	space_set_kind(page, kind);
	lru_link(page);
	if (unlikely(__atomic_sub_fetch(&page->_refcount, 1, __ATOMIC_ACQ_REL) == 0)) {
		lru_unlink(page);
		list_add(&page->lru, &c->dead);
	}
}

/* Whether an isolated page is in use; it is not from now on. */
static bool look(struct contest *c, struct page *page)
{
	vm_flags_t vm_flags;
	bool used;

	assert_held(&node_lruvec.lru_lock);
	contest_unlock(c);
	used = page_referenced(page, false, &vm_flags) > 0;
	used |= page_test_and_clear(page, PG_referenced);
	c->looks++;
	c->scanned[page_is_file_lru(page)]++;
	os_cond_resched();
	contest_lock(c);
	page_space(page)->cleared |= used;
	return used;
}

/* An isolated page of the base was found in use: it moves as it would in a list by age. */
static void renew(struct contest *c, struct page *page)
{
	assert_held(&node_lruvec.lru_lock);
	ASSERT_DEBUG_I("I43", !page_on_lru(page));
	__atomic_fetch_add(&node_spaces.time, 1, __ATOMIC_RELAXED);
	page_stamp(page);
	give_back(c, page, KIND_MAIN);
}

/* An isolated page is to go. */
static void choose(struct contest *c, struct page *page, bool of_trial)
{
	assert_held(&node_lruvec.lru_lock);
	if (of_trial)
		page_set(page, PG_OF_TRIAL);
	else
		page_clear(page, PG_OF_TRIAL);
	list_add(&page->lru, &c->victims);
	c->chosen++;
}

/* ---- the base -------------------------------------------------------------------------------- */

/* The kind of base page that goes first. */
static enum page_kind base_kind(const struct lru_space *sp)
{
	if (sp->count[KIND_AGED])
		return KIND_AGED;
	return sp->count[KIND_FILL] ? KIND_FILL : KIND_MAIN;
}

static bool may_give(const struct contest *c, const struct lru_space *sp)
{
	return c->may_swap || sp->number == SPACE_FILES;
}

static uint64_t tail_idle_time(struct lru_space *sp, enum page_kind kind)
{
	return page_idle_time(list_last_entry(space_list(sp, kind), struct page, lru));
}

/* Looks at a few pages of the base, so that what is not used is known when it is asked for. */
static void sweep(struct contest *c, struct lru_space *sp)
{
	assert_held(&node_lruvec.lru_lock);
	for (unsigned i = 0; i < SWEEP && sp->count[KIND_FILL] + sp->count[KIND_MAIN]; i++) {
		enum page_kind kind = sp->count[KIND_FILL] ? KIND_FILL : KIND_MAIN;
		struct page *page;

		if (sp->count[KIND_AGED] > pages_of(sp) / MAX_AGED || !tail_idle_time(sp, kind))
			return;
		page = take(c, sp, kind);
		if (!page)
			return;
		if (look(c, page))
			renew(c, page);
		else
			give_back(c, page, KIND_AGED);
	}
}

/* How idle the space's idlest page is, weighted by the space's part of its share: at most by 2. */
static uint64_t weighted_idle(struct lru_space *sp)
{
	uint64_t idle = tail_idle_time(sp, base_kind(sp));
	uint64_t share = space_proportional(sp, false) + 1, weighted = idle * pages_of(sp) / share;

	if (pages_of(sp) < share && space_grows(sp))
		return 0;
	return min(max(weighted, idle / 2), idle * 2);
}

/* Of the next few spaces the one whose base has the idlest page. */
static struct lru_space *idlest(const struct contest *c, uint64_t *idle)
{
	struct lru_space *best = NULL;
	unsigned seen = 0;

	assert_held(&node_lruvec.lru_lock);
	for (unsigned k = min(node_spaces.nr_ring, 4 * SAMPLE); k && seen < SAMPLE; k--) {
		struct lru_space *sp = list_first_entry(&node_spaces.ring, struct lru_space, ring);
		uint64_t x;

		list_del(&sp->ring);
		list_add_tail(&sp->ring, &node_spaces.ring);
		if (!base_pages(sp) || !may_give(c, sp))
			continue;
		x = weighted_idle(sp);
		if (!seen++ || x > *idle) {
			*idle = x;
			best = sp;
		}
	}
	return best;
}

/* A page was used again after tau: the page, isolated, that has been idle for longer than that allows,
 * and is not in use; or NULL. */
static struct page *challenge(struct contest *c, uint64_t tau)
{
	uint64_t need = tau / 2 + tau * tau / (node_spaces.pages + 1);

	for (unsigned i = 0; i < TRIES && node_base_pages(); i++) {
		uint64_t idle = 0;
		struct lru_space *sp = idlest(c, &idle);
		struct page *page;

		if (!sp || !idle || idle < need)
			return NULL;
		page = take(c, sp, base_kind(sp));
		if (!page || !look(c, page))
			return page;
		renew(c, page);
	}
	return NULL;
}

/* ---- the trial ------------------------------------------------------------------------------- */

static void adapt(struct lru_space *sp, int64_t by)
{
	int64_t pages = (int64_t)pages_of(sp) * TRIAL_FRACTION;

	assert_held(&node_lruvec.lru_lock);
	sp->target = max(min(sp->target + by, pages * 7 / 8), pages / MIN_TRIAL);
}

/* A page that had been evicted is back: has it won a place in the base? */
static void judge(struct contest *c, struct page *page)
{
	struct lru_space *sp = page_space(page);
	uint64_t tau = page_idle_time(page);
	struct page *loser;

	assert_held(&node_lruvec.lru_lock);
	sweep(c, sp);
	loser = challenge(c, tau);
	if (tau >= node_spaces.pages)
		adapt(sp, -FAR_STEP);
	else if (loser)
		adapt(sp, page_test(page, PG_OF_TRIAL) ? TRIAL_FRACTION : -TRIAL_FRACTION);
	page_clear(page, PG_RETURNED);
	page_stamp(page);
	give_back(c, page, loser ? KIND_MAIN : KIND_FRESH);
	if (!loser) {
		space_owes(sp);
		return;
	}
	inc_node_page_state(WORKINGSET_ACTIVATE_ANON + page_is_file_lru(page));
	choose(c, loser, false);
}

/* Half of the trial has been looked at once, so that the bit tells of a second use. */
static void balance_trial(struct contest *c, struct lru_space *sp)
{
	assert_held(&node_lruvec.lru_lock);
	for (unsigned i = 0; i < LOOKS && sp->count[KIND_FRESH] > sp->count[KIND_OLD]; i++) {
		struct page *page = take(c, sp, KIND_FRESH);

		if (!page)
			return;
		look(c, page);
		give_back(c, page, KIND_OLD);
	}
}

/* The newest pages of a base that was filled while memory was free go on trial, as many as shall be left
 * there once the space has given what it owes. */
static void begin_trial(struct lru_space *sp)
{
	for (unsigned i = 0; i < MOVE_MOST; i++) {
		struct list_head *base = space_list(sp, sp->count[KIND_FILL] ? KIND_FILL : KIND_MAIN);
		struct page *page;

		if (((int64_t)trial_pages(sp) - sp->debt) * TRIAL_FRACTION > sp->target || list_empty(base)) {
			sp->tried = true;
			return;
		}
		page = list_first_entry(base, struct page, lru);
		lru_unlink(page);
		space_set_kind(page, KIND_FRESH);
		lru_link(page);
		list_del(&page->lru);
		list_add_tail(&page->lru, space_list(sp, KIND_FRESH));
	}
}

/* The last page of the trial: it goes, or stays, if it was used. False: none was chosen. */
static bool try_last(struct contest *c, struct lru_space *sp, struct page *page, bool must)
{
	struct page *loser;

	assert_held(&node_lruvec.lru_lock);
	if (!look(c, page) || must) {
		choose(c, page, true);
		return true;
	}
	loser = challenge(c, page_idle_time(page));
	page_stamp(page);
	give_back(c, page, loser ? KIND_MAIN : KIND_FRESH);
	if (loser)
		choose(c, loser, false);
	return loser;
}

/* The space gives up a page. False: it has none that this run may have. */
static bool evict_one(struct contest *c, struct lru_space *sp)
{
	unsigned limit = c->looks + LOOKS;

	assert_held(&node_lruvec.lru_lock);
	if (sp->back) {
		sp->back--;
		sweep(c, sp);
	}
	adapt(sp, 0);
	while (!sp->tried) {
		begin_trial(sp);
		contest_unlock(c);
		contest_lock(c);
	}
	for (;;) {
		struct page *page = NULL;

		balance_trial(c, sp);
		if ((int64_t)trial_pages(sp) * TRIAL_FRACTION > sp->target || !base_pages(sp))
			page = take(c, sp, sp->count[KIND_OLD] ? KIND_OLD : KIND_FRESH);
		if (page) {
			if (try_last(c, sp, page, c->looks >= limit))
				return true;
			continue;
		}
		page = base_pages(sp) ? take(c, sp, base_kind(sp)) : NULL;
		if (!page)
			return false;
		if (!look(c, page) || c->looks > limit) {
			choose(c, page, false);
			return true;
		}
		renew(c, page);
	}
}

/* ---- whose turn it is ------------------------------------------------------------------------ */

/* Those that are to go anyway; what is still being written has to wait. */
static void choose_leaving(struct contest *c, unsigned most)
{
	unsigned long n = min(node_spaces.nr[KIND_LEAVING], 2ul * most);

	while (n-- && c->chosen < most) {
		struct page *page = take(c, NULL, KIND_LEAVING);

		if (!page)
			return;
		if (page_test(page, PG_writeback))
			give_back(c, page, KIND_LEAVING);
		else if (page_test(page, PG_swapbacked) && page_mapcount(page) > 0 && look(c, page))
			renew(c, page);
		else
			choose(c, page, page_test(page, PG_OF_TRIAL));
		contest_breathe(c);
	}
}

/* The first space of a queue that is to give a page up; NULL: none. */
static struct lru_space *sleeper(const struct contest *c)
{
	struct lru_space *sp, *next;

	assert_held(&node_lruvec.lru_lock);
	list_for_each_entry_safe(sp, next, &node_spaces.sleepers, sleeper) {
		if (pages_of(sp) && may_give(c, sp) && space_sleeps_for(sp, node_spaces.pages / 8))
			return sp;
		list_del(&sp->sleeper);
		INIT_LIST_HEAD(&sp->sleeper);
	}
	return NULL;
}

static void forgive(struct lru_space *sp)
{
	assert_held(&node_lruvec.lru_lock);
	sp->debt = sp->excess = 0;
	list_del(&sp->debtor);
	INIT_LIST_HEAD(&sp->debtor);
}

/* yields: it gives up a page for others. */
static struct lru_space *debtor(const struct contest *c, bool *yields)
{
	struct lru_space *sp, *next;

	assert_held(&node_lruvec.lru_lock);
	list_for_each_entry_safe(sp, next, &node_spaces.debtors, debtor) {
		if (pages_of(sp) && may_give(c, sp)) {
			*yields = sp->excess;
			*(sp->excess ? &sp->excess : &sp->debt) -= 1;
			if (!sp->excess && !sp->debt)
				forgive(sp);
			return sp;
		}
		forgive(sp);
	}
	return NULL;
}

/* The newest page that the space got while there was room, without a look, for its bit says nothing. False:
 * it has none. Taking the oldest would cost a program what it began with. */
static bool choose_newest(struct contest *c, struct lru_space *sp)
{
	struct list_head *fill = space_list(sp, KIND_FILL);
	struct page *page;

	if (list_empty(fill))
		return false;
	page = list_first_entry(fill, struct page, lru);
	if (page_zonenum(page) > c->sc->reclaim_idx || (!c->sc->may_unmap && page_mapcount(page) > 0) ||
	    !get_page_unless_zero(page))
		return false;
	lru_unlink(page);
	choose(c, page, false);
	return true;
}

static bool choose_unclaimed(struct contest *c)
{
	struct page *page = take(c, NULL, KIND_UNCLAIMED);

	if (page)
		choose(c, page, true);
	return page;
}

/* One more victim; false: there is none. */
static bool choose_one(struct contest *c)
{
	struct lru_space *sp = sleeper(c);
	bool yields = false;

	assert_held(&node_lruvec.lru_lock);
	if (!sp)
		sp = debtor(c, &yields);
	if (!sp && node_spaces.nr[KIND_UNCLAIMED] > node_spaces.pages / MIN_TRIAL)
		return choose_unclaimed(c);
	if (!sp) {
		sp = c->may_swap ? space_most_above() : lru_space_of(SPACE_FILES);
		yields = true;
	}
	return sp && ((yields && choose_newest(c, sp)) || evict_one(c, sp));
}

/* Memory is short from now on. What was owed before it was plentiful nobody needs any more. */
static void begin_shortage(void)
{
	struct node_spaces *n = &node_spaces;

	assert_held(&node_lruvec.lru_lock);
	if (!n->is_short)
		while (!list_empty(&n->debtors))
			forgive(list_first_entry(&n->debtors, struct lru_space, debtor));
	n->is_short = true;
}

/* So many pages may come without a run of reclaim before memory counts as plentiful. */
static unsigned long shortage_ends_after(void)
{
	unsigned long n = 2 * LRU_BATCH;
	struct zone *z;

	for_each_populated_zone(z)
		n += 2 * (z->watermark[WMARK_HIGH] + READ_ONCE(z->watermark_boost) - z->watermark[WMARK_MIN]);
	return n;
}

/* So many pages has the zone that lacks least to get until it has its high mark. */
static long least_lack(const struct scan_control *sc)
{
	long least = (long)(~0ul >> 1);
	struct zone *z;

	for_each_populated_zone(z) {
		long lack = (long)(z->watermark[WMARK_HIGH] + READ_ONCE(z->watermark_boost) +
				   z->lowmem_reserve[sc->reclaim_idx]) -
			    (long)__atomic_load_n(&z->nr_free, __ATOMIC_RELAXED);

		if (z->idx <= sc->reclaim_idx)
			least = min(least, lack);
	}
	return least;
}

/* So many more are to be chosen. Pages that are being written are not free yet, but will be: who chose
 * others for them would take what nobody owes, and a moment later have more memory free than is good. */
static unsigned pages_missing(const struct scan_control *sc)
{
	long n = least_lack(sc), leaving = (long)node_spaces.nr[KIND_LEAVING];

	assert_held(&node_lruvec.lru_lock);
	if (sc->on_request || sc->order)
		return SWAP_CLUSTER_MAX;
	if (!sc->kswapd)
		n = max(n, (long)SWAP_CLUSTER_MAX);
	return (unsigned)clamp(n - leaving, 0l, (long)SWAP_CLUSTER_MAX);
}

/* Isolates up to most pages that should go. */
static void choose_victims(struct contest *c, unsigned most)
{
	unsigned failures = 0;

	contest_lock(c);
	begin_shortage();
	spaces_count();
	choose_leaving(c, most);
	while (c->chosen < most) {
		struct page *page = take(c, NULL, KIND_CHALLENGER);

		if (!page)
			break;
		judge(c, page);
		contest_breathe_after(c, 2 * SKIP_BREATHE / BREATHE); /* it may have compared many spaces */
	}
	most = min(most, c->chosen + pages_missing(c->sc));
	while (c->chosen < most && failures < FAILURES) {
		failures = choose_one(c) ? 0 : failures + 1;
		contest_breathe(c);
	}
	while (c->chosen < most && failures && choose_unclaimed(c))
		contest_breathe(c);
	node_spaces.until_free = shortage_ends_after();
	contest_unlock(c);
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* What becomes of a victim that has stayed. One that is being written, or was until now, goes next time.
 * It has that one chance: what somebody holds a reference of must not be tried again and again. */
static enum page_kind kind_of_stayed(const struct page *page)
{
	enum page_kind was = page_kind(page);

	if (page_test(page, PG_writeback))
		return KIND_LEAVING;
	if (was == KIND_UNCLAIMED)
		return was;
	return was != KIND_LEAVING && PageSwapCache(page) && page_mapcount(page) <= 0 ? KIND_LEAVING :
											    KIND_MAIN;
}

static void give_back_victims(struct contest *c)
{
	contest_lock(c);
	while (!list_empty(&c->victims)) {
		struct page *page = list_first_entry(&c->victims, struct page, lru);
		enum page_kind kind = kind_of_stayed(page);

		list_del(&page->lru);
		if (kind == KIND_MAIN)
			page_stamp(page);
		give_back(c, page, kind);
		contest_breathe(c);
	}
	contest_unlock(c);
}

static unsigned long shrink_victims(struct contest *c)
{
	struct scan_control *sc = c->sc;
	struct reclaim_stat stat;
	struct page *page;
	long anon = 0, file = 0;
	unsigned long freed;

	list_for_each_entry(page, &c->victims, lru)
		*(page_is_file_lru(page) ? &file : &anon) += 1;
	mod_node_page_state(NR_ISOLATED_ANON, anon);
	mod_node_page_state(NR_ISOLATED_FILE, file);
	freed = shrink_page_list(&c->victims, sc, &stat, true);
	give_back_victims(c);
	mod_node_page_state(NR_ISOLATED_ANON, -anon);
	mod_node_page_state(NR_ISOLATED_FILE, -file);
	trace_lru_shrink(QUIRE_TR_LRU_SHRINK_INACTIVE, c->chosen | (uint64_t)freed << 32,
			 trace_four(stat.nr_dirty, stat.nr_writeback, stat.nr_congested,
				    stat.nr_immediate),
			 trace_four(stat.nr_activate[0], stat.nr_activate[1], stat.nr_ref_keep,
				    stat.nr_unmap_fail),
			 (unsigned)sc->priority | (file > anon) << 8, 0);
	count_vm_events(sc->kswapd ? PGSCAN_KSWAPD : PGSCAN_DIRECT, c->looks);
	count_vm_events(PGSCAN_ANON, c->scanned[0]);
	count_vm_events(PGSCAN_FILE, c->scanned[1]);
	count_vm_events(sc->kswapd ? PGSTEAL_KSWAPD : PGSTEAL_DIRECT, freed);
	count_vm_events(file > anon ? PGSTEAL_FILE : PGSTEAL_ANON, freed);
	sc->nr.taken += c->chosen;
	sc->nr.file_taken += (unsigned)file;
	return freed;
}

/* The next space whose accessed bits were cleared, grabbed; NULL: no more. */
static struct mm_struct *next_to_flush(void)
{
	struct mm_struct *mm = NULL;
	struct lru_space *sp;
	irqflags_t flags;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	list_for_each_entry(sp, &node_spaces.ring, ring) {
		if (!sp->cleared)
			continue;
		sp->cleared = false;
		mm = sp->mm;
		if (mm) {
			mmgrab(mm);
			break;
		}
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	return mm;
}

/* A processor that has a translation does not look at the entry again, so a page that is used all the
 * time would seem idle once its bit was cleared. Long before a page is looked at again all go. */
static void flush_cleared(void)
{
	uint64_t evictions = READ_ONCE(node_spaces.evictions);
	struct mm_struct *mm;

	if (evictions - READ_ONCE(node_spaces.flushed) < READ_ONCE(node_spaces.pages) / FLUSH_PART)
		return;
	WRITE_ONCE(node_spaces.flushed, evictions);
	while ((mm = next_to_flush()) != NULL) {
		hal_tlb_flush(&mm->arch, mm->start, mm->task_size, 0, false);
		mmdrop(mm);
	}
}

/* Sleeps until a page that was chosen before is written. False: none is, or this run must not wait. */
static bool wait_for_leaving(const struct scan_control *sc)
{
	struct page *page, *found = NULL;
	unsigned left = SKIP_MOST;
	irqflags_t flags;

	if (!(sc->gfp_mask & __GFP_IO))
		return false;
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	list_for_each_entry_reverse(page, space_list(NULL, KIND_LEAVING), lru) {
		if (!left-- || found)
			break;
		if (page_test(page, PG_writeback) && get_page_unless_zero(page))
			found = page;
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	if (!found)
		return false;
	wait_on_page_writeback(found);
	put_page(found);
	return true;
}

static void trial_shrink(struct scan_control *sc)
{
	unsigned long most = max(SWAP_CLUSTER_MAX, READ_ONCE(node_spaces.pages) >> sc->priority);
	unsigned long freed = 0;

	might_sleep();
	ASSERT(sc->priority >= 0 && sc->priority <= DEF_PRIORITY);
	while (most && freed < sc->nr_to_reclaim) {
		struct contest c = {.sc = sc};
		unsigned n = (unsigned)min(min(most, SWAP_CLUSTER_MAX), sc->nr_to_reclaim - freed);

		c.may_swap = sc->may_swap && get_nr_swap_pages() > 0 &&
			     (vm_sysctl.swappiness || !sc->priority);
		INIT_LIST_HEAD(&c.victims);
		INIT_LIST_HEAD(&c.dead);
		choose_victims(&c, n);
		if (c.chosen)
			freed += shrink_victims(&c);
		else if (!wait_for_leaving(sc))
			break;
		most -= min(most, max((unsigned long)c.chosen, 1ul));
		flush_cleared();
		os_cond_resched();
	}
	sc->nr_reclaimed += freed;
}

const struct reclaim_policy trial_policy = {
	.name = "trial",
	.page_added = trial_page_added,
	.page_back = trial_page_back,
	.page_evicted = trial_page_evicted,
	.page_returned = trial_page_returned,
	.page_claimed = trial_page_claimed,
	.shrink_lruvec = trial_shrink,
};
