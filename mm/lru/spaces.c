/* SPDX-License-Identifier: MIT */
/*
 * Lists of pages by space, for the policy "trial by space" (docs/policy.md): what belongs to whom, how
 * long it has been idle, and what a page that comes in owes.
 *
 * Whose a page is. Each space has a number, which its pages carry in their flags: a page that a process
 * has written first belongs to it until it is freed, also after a fork shared it. Files and shared
 * memory have a number each, and never sleep. What was read in before anybody asked for it is nobody's
 * until a space maps it. There is a table of them, one for each MiB of memory: who finds none free shares
 * with shared memory. So a number always leads to a space; a page that is isolated while its space ends
 * comes back to whoever has the number then, or to shared memory: nothing but the account is wrong.
 *
 * Kinds. See enum page_kind. PG_inspace says that the page is linked here and not to a list of
 * node_lruvec; so while the policy changes each page can be found whichever has linked it. Pages of the
 * base have PG_active, the others have not.
 *
 *        batch -------------------> fill -> main -> aged --.
 *          |  `-> unclaimed -> challenger ---^       ^      |
 *          |                      |    `-----'       |      v
 *          `--------------------> fresh -> old ------'---> gone
 *
 * Time counts evictions and pages that were found in use: what a list by age would have moved. A stamp
 * is the time in units of 1/128 of memory or less, 11 bits of it. While a page is out its slot, or its place in
 * its file, keeps the stamp.
 *
 * Debts. Once memory is short, who comes in owes a page: his space, or the one that is farthest above
 * what it is entitled to, because that one grows. The latter gives the newest page that it got while
 * there was room, as if it had never been let in. Reclaim collects. Whether a page that was evicted before may displace another
 * one cannot be told here, for accessed bits cannot be read with a spinning lock held: it becomes a
 * challenger, and the next run of reclaim judges it.
 *
 * Locks: all of it under lru_lock, but for time and evictions (atomic) and what the scheduler tells.
 */
#include "mm/lru/spaces.h"
#include "lib/string.h"
#include "mm/base/mm_types.h"
#include "mm/lru/hooks.h"

#define UNITS	    128u /* of time, at least, in as many evictions as there are pages */
#define SAMPLE	    4u  /* spaces compared when one is chosen */
#define COUNT_EVERY 32u /* evictions */
#define TINY	    64u /* a space of less than 1/64 of memory takes no share from others */

/* A shadow of this policy: stamp, whether it left from the trial, and a mark. */
#define SHADOW_OF_TRIAL 1ul
#define SHADOW_MARK	(1ul << 35)

struct node_spaces node_spaces;
static struct lru_space *spaces; /* by number */
static unsigned nr_spaces;

/* ---- spaces ---------------------------------------------------------------------------------- */

struct lru_space *lru_space_of(unsigned number)
{
	ASSERT_DEBUG(number < nr_spaces);
	return &spaces[number];
}

unsigned lru_spaces_known(void)
{
	return nr_spaces;
}

static void set_up_space(struct lru_space *sp, unsigned number)
{
	ASSERT_DEBUG(number < NR_SPACES);
	memset(sp, 0, sizeof(*sp));
	sp->number = (uint16_t)number;
	for (unsigned l = 0; l < NR_SPACE_KINDS; l++)
		INIT_LIST_HEAD(&sp->list[l]);
	INIT_LIST_HEAD(&sp->debtor);
	INIT_LIST_HEAD(&sp->sleeper);
	INIT_LIST_HEAD(&sp->ring);
}

static struct list_head *free_spaces(void)
{
	assert_held(&node_lruvec.lru_lock);
	return &node_spaces.free;
}

/* Neither a process nor a page has it any more. */
static void drop_space(struct lru_space *sp)
{
	assert_held(&node_lruvec.lru_lock);
	sp->used = false;
	list_del(&sp->debtor);
	list_del(&sp->sleeper);
	set_up_space(sp, sp->number);
	list_add(&sp->ring, free_spaces());
}

void lru_space_begin(struct mm_struct *mm)
{
	irqflags_t flags;

	mm->lru_space = SPACE_SHMEM;
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	if (!list_empty(free_spaces())) {
		struct lru_space *sp = list_first_entry(free_spaces(), struct lru_space, ring);

		list_del(&sp->ring);
		INIT_LIST_HEAD(&sp->ring);
		sp->used = true;
		sp->mm = mm;
		mm->lru_space = sp->number;
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}

void lru_space_end(struct mm_struct *mm)
{
	struct lru_space *sp = lru_space_of(mm->lru_space);
	irqflags_t flags;

	if (mm->lru_space < SPACE_FIRST)
		return;
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	sp->mm = NULL;
	sp->slept = READ_ONCE(mm->slept);
	if (!sp->slept)
		sp->slept = READ_ONCE(node_spaces.evictions) + 1;
	if (!sp->all)
		drop_space(sp);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}

bool space_sleeps_for(const struct lru_space *sp, uint64_t evictions)
{
	uint64_t slept = sp->mm ? READ_ONCE(sp->mm->slept) : sp->slept;

	assert_held(&node_lruvec.lru_lock);
	return slept && READ_ONCE(node_spaces.evictions) + 1 - slept > evictions;
}

/* ---- time ------------------------------------------------------------------------------------ */

static unsigned long time_now(void)
{
	unsigned shift = READ_ONCE(node_spaces.unit_shift);

	return __atomic_load_n(&node_spaces.time, __ATOMIC_RELAXED) >> shift & STAMP_MASK;
}

static inline unsigned long stamp_of(const struct page *page)
{
	return READ_ONCE(page->flags) >> PG_STAMP & STAMP_MASK;
}

/* Only we change these bits; others change the rest of the word. */
static void set_bits(struct page *page, unsigned long mask, unsigned long bits)
{
	unsigned long was = READ_ONCE(page->flags);

	ASSERT_DEBUG(!(bits & ~mask));
	ASSERT_DEBUG(!(mask & (1ul << PG_locked | PAGE_FLAGS_ON_LRU)));
	if ((was ^ bits) & mask)
		__atomic_fetch_xor(&page->flags, (was ^ bits) & mask, __ATOMIC_RELAXED);
}

uint64_t page_idle_time(const struct page *page)
{
	return (uint64_t)((time_now() - stamp_of(page)) & STAMP_MASK) << READ_ONCE(node_spaces.unit_shift);
}

void page_stamp(struct page *page)
{
	assert_held(&node_lruvec.lru_lock);
	set_bits(page, STAMP_MASK << PG_STAMP, time_now() << PG_STAMP);
}

/* ---- links ----------------------------------------------------------------------------------- */

struct list_head *space_list(struct lru_space *sp, enum page_kind kind)
{
	assert_held(&node_lruvec.lru_lock);
	ASSERT_DEBUG(kind != KIND_NONE);
	return kind <= NR_SPACE_KINDS ? &sp->list[kind - KIND_FILL] :
					&node_spaces.list[kind - KIND_CHALLENGER];
}

static bool is_base(enum page_kind kind)
{
	return kind == KIND_FILL || kind == KIND_MAIN || kind == KIND_AGED;
}

/* The space has its first page that counts for it, or has lost its last one. */
static void change_ring(struct lru_space *sp, bool has)
{
	assert_held(&node_lruvec.lru_lock);
	list_del(&sp->ring);
	INIT_LIST_HEAD(&sp->ring);
	if (has)
		list_add_tail(&sp->ring, &node_spaces.ring);
	node_spaces.nr_ring += has ? 1u : -1u;
}

/* The page is one more, or one fewer, of its space's of this kind. */
static void account(struct lru_space *sp, enum page_kind kind, int n)
{
	bool had = pages_of(sp);

	assert_held(&node_lruvec.lru_lock);
	ASSERT_DEBUG_I("I43", n > 0 || sp->count[kind]);
	sp->count[kind] += (uint32_t)n;
	sp->all += (uint32_t)n;
	node_spaces.nr[kind] += (unsigned long)n;
	WRITE_ONCE(node_spaces.pages, node_spaces.pages + (unsigned long)n); /* read without the lock too */
	if (had != (pages_of(sp) > 0))
		change_ring(sp, !had);
	if (!sp->all && !sp->mm && sp->number >= SPACE_FIRST)
		drop_space(sp);
}

/* A space without process and pages has gone back to the free ones: whose page it was finds another. */
static struct lru_space *space_for(struct page *page)
{
	struct lru_space *sp = page_space(page);

	assert_held(&node_lruvec.lru_lock);
	if (likely(sp->used))
		return sp;
	set_bits(page, (unsigned long)(NR_SPACES - 1) << PG_SPACE, (unsigned long)SPACE_SHMEM << PG_SPACE);
	return lru_space_of(SPACE_SHMEM);
}

void space_set_kind(struct page *page, enum page_kind kind)
{
	assert_held(&node_lruvec.lru_lock);
	set_bits(page, KIND_MASK << PG_KIND, (unsigned long)kind << PG_KIND);
}

/* Links the page as the newest one of its kind. */
static void link_as(struct page *page, enum page_kind kind)
{
	unsigned long mask = KIND_MASK << PG_KIND | 1ul << PG_active | 1ul << PG_inspace;
	struct lru_space *sp = space_for(page);

	assert_held(&node_lruvec.lru_lock);
	ASSERT_DEBUG_I("I43", !page_test(page, PG_inspace) && !page_test(page, PG_unevictable));
	set_bits(page, mask, (unsigned long)kind << PG_KIND | (unsigned long)is_base(kind) << PG_active |
				     1ul << PG_inspace);
	list_add(&page->lru, space_list(sp, kind));
	account(sp, kind, 1);
}

void space_unlinked(struct page *page, unsigned long flags)
{
	ASSERT_DEBUG_I("I43", flags >> PG_inspace & 1);
	__atomic_fetch_and(&page->flags, ~(1ul << PG_inspace), __ATOMIC_RELAXED);
	account(lru_space_of(flags >> PG_SPACE & (NR_SPACES - 1)), (enum page_kind)(flags >> PG_KIND & KIND_MASK),
		-1);
}

void space_rotate(struct page *page)
{
	assert_held(&node_lruvec.lru_lock);
	if (page_kind(page) != KIND_LEAVING)
		return;
	list_del(&page->lru);
	list_add_tail(&page->lru, space_list(NULL, KIND_LEAVING));
}

/* ---- shares ---------------------------------------------------------------------------------- */

/* Pages that it has, and had: those in swap, or of files those that are remembered. */
static uint32_t size_now(const struct lru_space *sp)
{
	unsigned long away = 0;

	assert_held(&node_lruvec.lru_lock);
	if (sp->mm)
		away = get_mm_counter(sp->mm, MM_SWAPENTS);
	else if (sp->number == SPACE_FILES)
		away = node_page_state(NR_SHADOWS);
	return (uint32_t)min(pages_of(sp) + away, (unsigned long)UINT32_MAX);
}

/* A space that has slept for long is one whose pages go first. */
static void note_sleeper(struct lru_space *sp)
{
	bool sleeps = space_sleeps_for(sp, node_spaces.pages / 8);

	assert_held(&node_lruvec.lru_lock);
	if (sleeps == !list_empty(&sp->sleeper))
		return;
	list_del(&sp->sleeper);
	INIT_LIST_HEAD(&sp->sleeper);
	if (sleeps)
		list_add_tail(&sp->sleeper, &node_spaces.sleepers);
}

void spaces_count(void)
{
	struct node_spaces *n = &node_spaces;
	uint64_t every = max(COUNT_EVERY, n->nr_ring / 4);
	struct lru_space *sp;

	assert_held(&node_lruvec.lru_lock);
	if (n->total && READ_ONCE(n->evictions) - n->counted < every)
		return;
	n->counted = READ_ONCE(n->evictions);
	n->total = n->total_awake = 0;
	n->nr_awake = 0;
	list_for_each_entry(sp, &n->ring, ring) {
		sp->size = size_now(sp);
		sp->awake = !space_sleeps_for(sp, n->pages / 64);
		note_sleeper(sp);
		n->total += sp->size;
		n->total_awake += sp->awake ? sp->size : 0;
		n->nr_awake += sp->awake && sp->size > n->pages / TINY;
	}
}

unsigned long space_proportional(const struct lru_space *sp, bool awake)
{
	unsigned long total = awake ? node_spaces.total_awake : node_spaces.total;

	assert_held(&node_lruvec.lru_lock);
	return total ? node_spaces.pages * sp->size / total : node_spaces.pages;
}

static unsigned long equal_share(void)
{
	assert_held(&node_lruvec.lru_lock);
	return node_spaces.pages / max(node_spaces.nr_awake, 1u);
}

bool space_grows(const struct lru_space *sp)
{
	assert_held(&node_lruvec.lru_lock);
	return READ_ONCE(node_spaces.evictions) - sp->grew < node_spaces.pages / 4;
}

/* What it is entitled to. How large one will be that still grows nobody knows. */
static unsigned long space_entitled(const struct lru_space *sp)
{
	assert_held(&node_lruvec.lru_lock);
	if (space_sleeps_for(sp, node_spaces.pages / 64))
		return 0;
	if (node_spaces.nr_awake && space_grows(sp))
		return equal_share();
	return node_spaces.nr_awake ? min(space_proportional(sp, true), equal_share()) :
				      space_proportional(sp, true);
}

struct lru_space *space_most_above(void)
{
	unsigned n = min(SAMPLE, node_spaces.nr_ring);
	struct lru_space *best = NULL;
	long most = 0;

	assert_held(&node_lruvec.lru_lock);
	while (n--) {
		struct lru_space *sp = list_first_entry(&node_spaces.ring, struct lru_space, ring);
		long above = (long)pages_of(sp) - (long)space_entitled(sp);

		list_del(&sp->ring);
		list_add_tail(&sp->ring, &node_spaces.ring);
		if (!best || above > most) {
			most = above;
			best = sp;
		}
	}
	return best;
}

/* It is among those who owe. */
static void note_debtor(struct lru_space *sp)
{
	assert_held(&node_lruvec.lru_lock);
	if (list_empty(&sp->debtor))
		list_add_tail(&sp->debtor, &node_spaces.debtors);
}

void space_owes(struct lru_space *sp)
{
	sp->debt++;
	note_debtor(sp);
}

/* It is to give up a page because another one grows. */
static void space_yields(struct lru_space *sp)
{
	sp->excess++;
	note_debtor(sp);
}

/* ---- pages come ------------------------------------------------------------------------------ */

/* SPACE_NOBODY: no space has asked for it yet. */
static unsigned owner_of(const struct page *page)
{
	unsigned space = READ_ONCE(page->flags) >> PG_SPACE & (NR_SPACES - 1);

	if (space)
		return space;
	if (PageAnon(page)) {
		space = anon_page_space(page);
		return space ? space : SPACE_SHMEM;
	}
	if (page_test(page, PG_swapcache))
		return SPACE_NOBODY;
	return page_is_file_lru(page) ? SPACE_FILES : SPACE_SHMEM;
}

/* What becomes of a page that comes to the space that its flags say, and who owes one for it. */
static enum page_kind arrive(struct page *page)
{
	struct lru_space *sp = space_for(page), *other;
	bool returned = page_test(page, PG_RETURNED);

	assert_held(&node_lruvec.lru_lock);
	if (node_spaces.is_short) {
		if (!returned)
			sp->grew = READ_ONCE(node_spaces.evictions);
		if (pages_of(sp) < (returned ? space_entitled(sp) : equal_share()) / 8 * 7) {
			other = space_most_above();
			if (other)
				space_yields(other);
			sp->back += returned;
		} else if (returned) {
			return KIND_CHALLENGER;
		} else {
			space_owes(sp);
			page_stamp(page);
			return KIND_FRESH;
		}
	}
	page_clear(page, PG_RETURNED);
	page_stamp(page);
	return returned ? KIND_MAIN : KIND_FILL;
}

/* What the flags of a page that has none of the kinds of coming say. */
static bool given_up(const struct page *page)
{
	return PageAnon(page) && !page_test(page, PG_swapbacked);
}

/* Read in ahead of any need: the stamp of its last use, if one is known, stays. */
static void link_unclaimed(struct page *page)
{
	assert_held(&node_lruvec.lru_lock);
	if (!page_test(page, PG_RETURNED))
		page_stamp(page);
	link_as(page, KIND_UNCLAIMED);
}

void trial_page_added(struct page *page)
{
	unsigned space;

	assert_held(&node_lruvec.lru_lock);
	if (page_kind(page) != KIND_NONE) {
		trial_page_back(page); /* migration has given it what the old one had */
		return;
	}
	space = owner_of(page);
	set_bits(page, (unsigned long)(NR_SPACES - 1) << PG_SPACE, (unsigned long)space << PG_SPACE);
	if (node_spaces.until_free && !--node_spaces.until_free)
		node_spaces.is_short = false;
	if (given_up(page))
		link_as(page, KIND_LEAVING);
	else if (space == SPACE_NOBODY)
		link_unclaimed(page);
	else
		link_as(page, arrive(page));
}

void trial_page_back(struct page *page)
{
	enum page_kind kind = page_kind(page);

	assert_held(&node_lruvec.lru_lock);
	if (given_up(page)) {
		kind = KIND_LEAVING;
	} else if (kind == KIND_NONE || (kind == KIND_UNCLAIMED && page_space(page)->number)) {
		unsigned space = owner_of(page);

		set_bits(page, (unsigned long)(NR_SPACES - 1) << PG_SPACE,
			 (unsigned long)space << PG_SPACE);
		kind = kind == KIND_NONE ? KIND_MAIN : arrive(page);
		if (kind == KIND_MAIN)
			page_stamp(page);
	}
	link_as(page, kind);
}

void trial_page_claimed(struct page *page, unsigned space)
{
	enum page_kind kind;
	irqflags_t flags;
	bool on;

	ASSERT_DEBUG(space && space < NR_SPACES);
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	kind = page_kind(page);
	on = page_test(page, PG_lru) && page_test(page, PG_inspace);
	if (kind == KIND_UNCLAIMED || kind == KIND_NONE || (on && kind == KIND_LEAVING)) {
		if (on)
			lru_unlink(page);
		/* Chosen to go, but not gone: it proves itself like one that was. */
		if (kind == KIND_LEAVING)
			page_set(page, PG_RETURNED);
		set_bits(page, (unsigned long)(NR_SPACES - 1) << PG_SPACE | KIND_MASK << PG_KIND,
			 (unsigned long)space << PG_SPACE |
				 (unsigned long)(kind ? KIND_UNCLAIMED : KIND_NONE) << PG_KIND);
		if (on)
			lru_link(page);
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}

/* ---- pages go and return ---------------------------------------------------------------------- */

uint64_t trial_page_evicted(const struct page *page)
{
	ASSERT_DEBUG(!page_on_lru(page));
	__atomic_fetch_add(&node_spaces.time, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&node_spaces.evictions, 1, __ATOMIC_RELAXED);
	return SHADOW_MARK | stamp_of(page) << 1 | page_test(page, PG_OF_TRIAL);
}

void trial_page_returned(struct page *page, uint64_t shadow)
{
	unsigned shift = READ_ONCE(node_spaces.unit_shift);

	ASSERT_DEBUG_I("I40", !page_on_lru(page));
	if (!(shadow & SHADOW_MARK)) /* another policy's */
		return;
	/* It was thrown out too early: who waits for it waits for memory. */
	if (((time_now() - (shadow >> 1)) & STAMP_MASK) << shift < READ_ONCE(node_spaces.pages))
		page_set(page, PG_workingset);
	set_bits(page, STAMP_MASK << PG_STAMP | 1ul << PG_RETURNED | 1ul << PG_OF_TRIAL,
		 (shadow >> 1 & STAMP_MASK) << PG_STAMP | 1ul << PG_RETURNED |
			 (shadow & SHADOW_OF_TRIAL) << PG_OF_TRIAL);
}

/* ---- start ------------------------------------------------------------------------------------ */

void spaces_init(struct lru_space *table, unsigned n)
{
	ASSERT(table && n >= SPACE_FIRST && n <= NR_SPACES);
	memset(&node_spaces, 0, sizeof(node_spaces));
	spaces = table;
	nr_spaces = n;
	for (unsigned l = 0; l < ARRAY_SIZE(node_spaces.list); l++)
		INIT_LIST_HEAD(&node_spaces.list[l]);
	INIT_LIST_HEAD(&node_spaces.ring);
	INIT_LIST_HEAD(&node_spaces.debtors);
	INIT_LIST_HEAD(&node_spaces.sleepers);
	INIT_LIST_HEAD(&node_spaces.free);
	for (unsigned i = 0; i < n; i++) {
		set_up_space(&spaces[i], i);
		spaces[i].used = i < SPACE_FIRST;
		if (i >= SPACE_FIRST)
			list_add_tail(&spaces[i].ring, &node_spaces.free);
	}
}

void spaces_start(unsigned long pages)
{
	unsigned shift = 0;

	assert_held(&node_lruvec.lru_lock);
	node_spaces.is_short = false;
	node_spaces.until_free = 0;
	while (pages / UNITS >> (shift + 1))
		shift++;
	WRITE_ONCE(node_spaces.unit_shift, shift); /* faults read it without the lock */
}
