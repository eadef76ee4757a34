/* SPDX-License-Identifier: MIT */
/*
 * Lists of pages by age.
 *
 * Terms. A page is *evictable* once it was given to the lists (PG_listed, until it is freed): others
 * may find it there. It is *on a list* while PG_lru is set, *in a batch* while PG_batched is; neither
 * means that somebody *isolated* it, and owns its lru links. The *warm end* of a list is its head.
 *
 * Counts are exact: neither a list nor a batch holds a reference. So one reference and one entry
 * still mean that a page has a sole owner, and a count that could be frozen proves that nobody else
 * can reach it. The price is that whoever drops the last reference takes the page off its list.
 *
 *                         lru_cache_add
 *        allocated  ------------------------->  in a batch
 *            ^                                   |   |
 *            | free                  lru_release |   | lru_drain_batch
 *            |                          (free) <-+   v
 *        isolated  <------ isolate_lru_page ----  on a list  ---- lru_release --> free
 *                  ------ lru_putback -------->
 *
 * Finding a page on a list. Under lru_lock, with PG_lru set, its frame is not free: to free it one
 * would have to unlink it first. A reference is taken unless the count is 0; then it is being freed.
 * Migration and compaction, which come by frame number, do the same (isolate_lru_frame).
 *
 * Dropping the last reference. Who holds the only one of a page that never was on a list may store 0
 * plainly. With PG_listed he must use an atomic, as somebody may be about to take one. The flag is
 * looked at after the count (page_alloc.c): it was set by somebody who held a reference then, so who
 * finds himself alone also finds the flag.
 *
 * Batches. A fresh page goes into a slot of its CPU's batch; page->slot tells which. A slot that is
 * still full when its turn comes again empties the whole batch into the lists, under one hold of the
 * lock (half of it where a policy sorts them, which takes longer). What is freed before that leaves
 * its slot by compare-exchange, without the lock: memory that lives shortly never comes to a list. The
 * two race: emptying takes each page out of its slot by an exchange, so one of them has it. If it is
 * the emptying side, the page is linked in the same hold of lru_lock, and who frees it waits for that
 * lock. page->slot stays as it is until the frame is used for something else, so a stale look at
 * PG_batched only leads to a slot that names another page. Any CPU may empty any batch, which
 * therefore needs no call to the others.
 *
 * The list a page is on follows from its flags (page_lru). So PG_active, PG_swapbacked and
 * PG_unevictable of a page that is on a list, or in a batch, change under lru_lock only, together
 * with its place (lru_change_flags).
 *
 * Locks. lru_lock (RANK_LRU), interrupts off: taken under table locks, i_lock and those of swap, and
 * nothing is taken under it.
 */
#include "mm/lru/lru.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/lru/spaces.h"
#include "mm/lru/workingset.h"

struct lruvec node_lruvec;
struct lru_batch *lru_batches;

/* Until reclaim has chosen one: the lists as they are. */
static const struct reclaim_policy no_policy = {.name = "none"};
const struct reclaim_policy *reclaim_policy = &no_policy;

/* ---- links ----------------------------------------------------------------------------------- */

static inline void count_lru(const struct page *page, enum lru_list l, long n)
{
	unsigned long *size = &lru_size[page_zonenum(page)][l];

	assert_held(&node_lruvec.lru_lock);
	__atomic_store_n(size, *size + n, __ATOMIC_RELAXED);
}

/* Off its list; PG_lru stays for the caller to clear. */
static inline void unlink_page(struct page *page)
{
	unsigned long f = __atomic_load_n(&page->flags, __ATOMIC_RELAXED);

	assert_held(&node_lruvec.lru_lock);
	ASSERT_DEBUG_I("I40", f >> PG_lru & 1);
	list_del(&page->lru);
	count_lru(page, flags_lru(f), -1);
	/* Whichever policy is in force: it is where it was put. */
	if (unlikely(f >> PG_inspace & 1))
		space_unlinked(page, f);
}

/* Onto the list that its flags say; PG_lru is the caller's to set. */
static inline void link_page(struct page *page)
{
	const struct reclaim_policy *policy = reclaim_policy;
	enum lru_list l = page_lru(page);

	assert_held(&node_lruvec.lru_lock);
	if (unlikely(policy->page_back) && l != LRU_UNEVICTABLE) {
		policy->page_back(page);
		l = page_lru(page);
	} else {
		list_add(&page->lru, &node_lruvec.lists[l]);
	}
	count_lru(page, l, 1);
}

void lru_unlink(struct page *page)
{
	unlink_page(page);
	page_clear(page, PG_lru);
}

void lru_link(struct page *page)
{
	ASSERT_DEBUG_I("I40", !page_on_lru(page) && page_test(page, PG_listed));
	link_page(page);
	page_set(page, PG_lru);
}

/* ---- joining --------------------------------------------------------------------------------- */

/* Flags that say where a page is listed and counted. */
#define LRU_KEY (1ul << PG_unevictable | 1ul << PG_swapbacked | 1ul << PG_active | 3ul << PG_zone0)

/* Pages one after the other, of the same list and zone as a rule: counted together. */
struct lru_tally {
	unsigned long key; /* LRU_KEY of the last one's flags; ~0: none yet */
	struct list_head *head;
	unsigned long *size;
	long n;
};

static __attribute__((noinline)) void tally_other(struct lru_tally *t, unsigned long key)
{
	assert_held(&node_lruvec.lru_lock);
	if (t->n)
		__atomic_store_n(t->size, *t->size + t->n, __ATOMIC_RELAXED);
	t->n = 0;
	t->key = key;
	t->head = &node_lruvec.lists[flags_lru(key)];
	t->size = &lru_size[key >> PG_zone0 & 3][flags_lru(key)];
}

/* One page more with these flags: t->head is its list. */
static inline void tally_lru(struct lru_tally *t, unsigned long f, long n)
{
	if (unlikely((f & LRU_KEY) != t->key))
		tally_other(t, f & LRU_KEY);
	t->n += n;
}

/* The oldest first, so that the newest comes to lie at the warm end. */
static void empty_batch(struct lru_batch *b)
{
	unsigned at = __atomic_load_n(&b->next, __ATOMIC_RELAXED);
	struct lru_tally t = {.key = ~0ul};

	assert_held(&node_lruvec.lru_lock);
	for (unsigned i = 0; i < LRU_BATCH; i++, at++) {
		struct page *page = __atomic_exchange_n(&b->slot[at % LRU_BATCH], NULL,
							__ATOMIC_ACQ_REL);
		unsigned long f;

		if (unlikely(!page))
			continue;
		/* From batched to on a list in one step: one bit is set, the other clear. */
		f = __atomic_fetch_add(&page->flags, (1ul << PG_lru) - (1ul << PG_batched),
				       __ATOMIC_RELEASE);
		ASSERT_DEBUG_I("I40", (f & PAGE_FLAGS_ON_LRU) == 1ul << PG_batched);
		tally_lru(&t, f, 1);
		list_add(&page->lru, t.head);
	}
	tally_other(&t, 0);
}

/* The same where a policy says to which list each of them goes: n slots from `at` on. */
static void empty_batch_by_policy(struct lru_batch *b, unsigned at, unsigned n, void (*added)(struct page *page))
{
	assert_held(&node_lruvec.lru_lock);
	for (unsigned i = 0; i < n; i++, at++) {
		struct page *page = __atomic_exchange_n(&b->slot[at % LRU_BATCH], NULL,
							__ATOMIC_ACQ_REL);

		if (!page)
			continue;
		if (page_lru(page) == LRU_UNEVICTABLE)
			list_add(&page->lru, &node_lruvec.lists[LRU_UNEVICTABLE]);
		else
			added(page);
		count_lru(page, page_lru(page), 1);
		__atomic_fetch_add(&page->flags, (1ul << PG_lru) - (1ul << PG_batched), __ATOMIC_RELEASE);
	}
}

/* Empties a CPU's batch into the lists, where a policy sorts them half of it, from slot `at` on. Whether it
 * was the whole batch. Any context. */
static __attribute__((noinline)) bool lru_drain_slots(struct lru_batch *b, unsigned at)
{
	const struct reclaim_policy *policy;
	irqflags_t flags;
	bool by_policy;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	policy = reclaim_policy;
	by_policy = policy->page_added;
	if (unlikely(by_policy))
		empty_batch_by_policy(b, at, LRU_BATCH / 2, policy->page_added);
	else
		empty_batch(b);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	return !by_policy;
}

/* The slots whose turn comes next, at least half of them. Any context. */
static void lru_drain_oldest(struct lru_batch *b)
{
	lru_drain_slots(b, __atomic_load_n(&b->next, __ATOMIC_RELAXED));
}

/* All that are in it now. Any context. */
static void lru_drain_batch(struct lru_batch *b)
{
	unsigned at = __atomic_load_n(&b->next, __ATOMIC_RELAXED);

	if (!lru_drain_slots(b, at))
		lru_drain_slots(b, at + LRU_BATCH / 2);
}

void lru_add_drain_all(void)
{
	for (unsigned c = 0; c < hal_cpu_count(); c++)
		lru_drain_batch(&lru_batches[c]);
}

__attribute__((noinline)) void lru_cache_add_full(struct page *page, unsigned long add)
{
	lru_drain_oldest(&lru_batches[hal_cpu_id()]);
	lru_cache_add_new(page, add);
}

/* The slot for one more page of this CPU, noted in the page. */
static struct page **lru_reserve_slot(struct page *page)
{
	unsigned cpu = hal_cpu_id();
	struct lru_batch *b = &lru_batches[cpu];
	unsigned i = __atomic_load_n(&b->next, __ATOMIC_RELAXED) % LRU_BATCH;

	if (unlikely(__atomic_load_n(&b->slot[i], __ATOMIC_RELAXED)))
		lru_drain_oldest(b);
	__atomic_store_n(&b->next, i + 1, __ATOMIC_RELAXED);
	page->slot = cpu * LRU_BATCH + i;
	return &b->slot[i];
}

void lru_cache_add(struct page *page)
{
	struct page **slot;

	os_preempt(1);
	slot = lru_reserve_slot(page);
	ASSERT_DEBUG_I("I40", page_count(page) > 0 && !page_on_lru(page));
	__atomic_fetch_or(&page->flags, 1ul << PG_listed | 1ul << PG_batched, __ATOMIC_RELAXED);
	__atomic_store_n(slot, page, __ATOMIC_RELEASE);
	os_preempt(-1);
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* Takes a page of which nobody has a reference out of its slot. False: its batch is being emptied,
 * and the page linked. */
static inline bool leave_batch(struct page *page)
{
	struct page *is = page;

	return __atomic_compare_exchange_n(lru_slot(page->slot), &is, NULL, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* What few pages have to be taken back too. Apart, so that the common way calls nothing. */
static __attribute__((noinline)) void release_special(struct page *page, unsigned long f)
{
	/* Locked after its last entry had gone: that was seen by nobody. */
	if (f >> PG_mlocked & 1) {
		dec_node_page_state(NR_MLOCK);
		count_vm_event(UNEVICTABLE_PGCLEARED);
	}
	if (f >> PG_inspace & 1)
		space_unlinked(page, f);
}

void lru_release(struct page *const *pages, unsigned n)
{
	struct lru_tally t = {.key = ~0ul};
	bool locked = false;

	assert_irqs_off();
	for (unsigned i = 0; i < n; i++) {
		struct page *page = pages[i];
		unsigned long f = __atomic_load_n(&page->flags, __ATOMIC_ACQUIRE);

		if (unlikely(!(f & PAGE_FLAGS_ON_LRU)))
			continue;
		ASSERT_DEBUG_I("I40", page_count(page) == 0);
		if (!(f >> PG_batched & 1) || !leave_batch(page)) {
			if (!locked)
				spin_lock(&node_lruvec.lru_lock);
			locked = true;
			f = __atomic_load_n(&page->flags, __ATOMIC_RELAXED);
			ASSERT_DEBUG_I("I40", f >> PG_lru & 1);
			list_unlink_between(page->lru.prev, page->lru.next);
			tally_lru(&t, f, -1);
		}
		if (unlikely(f & (1ul << PG_mlocked | 1ul << PG_inspace)))
			release_special(page, f);
		/* Nobody else can see the page: its count is 0, and it is on no list. */
		__atomic_store_n(&page->flags, f & ~(PAGE_FLAGS_ON_LRU | 1ul << PG_inspace),
				 __ATOMIC_RELAXED);
	}
	if (!locked)
		return;
	tally_other(&t, 0);
	spin_unlock(&node_lruvec.lru_lock);
}

bool isolate_lru_frame(struct page *page)
{
	irqflags_t flags;
	bool ok;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	ok = page_test(page, PG_lru) && get_page_unless_zero(page);
	if (ok)
		lru_unlink(page);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	return ok;
}

bool isolate_lru_page(struct page *page)
{
	ASSERT_DEBUG_I("I7", page_count(page) > 0);
	if (page_test(page, PG_batched))
		lru_drain_batch(&lru_batches[page->slot / LRU_BATCH]);
	return isolate_lru_frame(page);
}

bool get_lru_page(struct page *page)
{
	irqflags_t flags;
	bool ok;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	ok = page_test(page, PG_lru) && get_page_unless_zero(page);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	return ok;
}

void lru_putback(struct page *page)
{
	irqflags_t flags;

	ASSERT_DEBUG_I("I7", page_count(page) > 0);
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	lru_link(page);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}

/* ---- changing lists -------------------------------------------------------------------------- */

/* Flags of a page whose list is asked for: changes them, and its place if it is on a list. */
static void change_flags(struct page *page, unsigned long set, unsigned long clear)
{
	bool on = page_test(page, PG_lru);

	assert_held(&node_lruvec.lru_lock);
	if (on)
		unlink_page(page);
	if (clear)
		__atomic_fetch_and(&page->flags, ~clear, __ATOMIC_RELAXED);
	if (set)
		__atomic_fetch_or(&page->flags, set, __ATOMIC_RELAXED);
	if (on)
		link_page(page);
}

void lru_change_flags(struct page *page, unsigned long set, unsigned long clear)
{
	irqflags_t flags;

	ASSERT_DEBUG(!(set & clear));
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	change_flags(page, set, clear);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}

bool lru_mlock(struct page *page)
{
	irqflags_t flags;
	bool was;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	was = page_test(page, PG_mlocked);
	if (!was)
		change_flags(page, PAGE_FLAGS_MLOCKED, 1ul << PG_active);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	if (was)
		return false;
	inc_node_page_state(NR_MLOCK);
	count_vm_event(UNEVICTABLE_PGMLOCKED);
	count_vm_event(UNEVICTABLE_PGCULLED);
	return true;
}

bool lru_munlock(struct page *page)
{
	irqflags_t flags;
	bool was;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	was = page_test(page, PG_mlocked);
	if (was)
		change_flags(page, 0, PAGE_FLAGS_MLOCKED);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	if (!was)
		return false;
	dec_node_page_state(NR_MLOCK);
	count_vm_event(UNEVICTABLE_PGRESCUED);
	return true;
}

/* PG_unevictable without PG_mlocked, and neither. */
static void change_evictable(struct page *page, bool evictable)
{
	irqflags_t flags;
	bool change;

	assert_page_locked(page);
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	change = page_test(page, PG_unevictable) == evictable && !page_test(page, PG_mlocked);
	if (change && evictable)
		change_flags(page, 0, 1ul << PG_unevictable);
	else if (change)
		change_flags(page, 1ul << PG_unevictable, 1ul << PG_active);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	if (change)
		count_vm_event(evictable ? UNEVICTABLE_PGRESCUED : UNEVICTABLE_PGCULLED);
}

void lru_cull(struct page *page)
{
	change_evictable(page, false);
}

void lru_rescue(struct page *page)
{
	change_evictable(page, true);
}

void rotate_reclaimable_page(struct page *page)
{
	irqflags_t flags;
	bool move;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	move = page_test(page, PG_lru) &&
	       !(__atomic_load_n(&page->flags, __ATOMIC_RELAXED) &
		 (1ul << PG_active | 1ul << PG_unevictable | 1ul << PG_locked));
	if (move && page_test(page, PG_inspace)) {
		space_rotate(page);
	} else if (move) {
		list_del(&page->lru);
		list_add_tail(&page->lru, &node_lruvec.lists[page_lru(page)]);
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	if (move)
		count_vm_event(PGROTATED);
}

/* To the active list, unless somebody has isolated the page and moves it himself. */
static bool activate_page(struct page *page)
{
	irqflags_t flags;
	bool on;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	on = page_on_lru(page) && !page_test(page, PG_active) && !page_test(page, PG_unevictable);
	if (on) {
		bool linked = page_test(page, PG_lru); /* else in a batch: it is linked by its flags */

		if (linked)
			unlink_page(page);
		page_set(page, PG_active);
		if (linked)
			link_page(page);
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	return on;
}

void mark_page_accessed(struct page *page)
{
	unsigned long f = __atomic_load_n(&page->flags, __ATOMIC_RELAXED);

	if (!(f >> PG_referenced & 1)) {
		page_set(page, PG_referenced);
		return;
	}
	/* A policy of its own looks at the flag when the page's turn comes. */
	if (f & (1ul << PG_active | 1ul << PG_unevictable) || reclaim_policy_now()->page_back ||
	    !activate_page(page))
		return;
	page_clear(page, PG_referenced);
	count_vm_event(PGACTIVATE);
	workingset_activation();
}

/* ---- start and end --------------------------------------------------------------------------- */

void lru_init(struct lru_batch *batches)
{
	ASSERT(batches);
	memset(lru_size, 0, sizeof(lru_size));
	spin_lock_init_rank(&node_lruvec.lru_lock, "lru", RANK_LRU);
	for (unsigned l = 0; l < NR_LRU_LISTS; l++)
		INIT_LIST_HEAD(&node_lruvec.lists[l]);
	lru_batches = batches;
	reclaim_policy = &no_policy;
}

unsigned long lru_exit(void)
{
	unsigned long left = 0;

	lru_add_drain_all();
	for (unsigned l = 0; l < NR_LRU_LISTS; l++)
		left += lruvec_size((enum lru_list)l);
	lru_batches = NULL;
	return left;
}
