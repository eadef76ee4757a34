/* SPDX-License-Identifier: MIT */
/* The policy "trial by space" (vm.reclaim_policy 1) in the core: whose a page is, of which kind, what
 * becomes of it, and that it keeps what a loop needs. */
#include "space.h"

#include "bench/work.h"

#include "mm/base/vmstat.h"
#include "mm/lru/spaces.h"
#include "mm/swap/swap.h"

#include "moving.h"
#include "swapdev.h"

static struct swapdev disk;

static unsigned most_written; /* pages on their way to the disk at the same time */

/* Who waits waits for the disk, which takes its time. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	most_written = most_written > disk.nheld ? most_written : disk.nheld;
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
		cr_assert(swapdev_answer(&disk), "nothing is under way that could wake it");
}

static void policy(long n)
{
	cr_assert_eq(quire_sysctl_set("reclaim_policy", n), 0);
}

static void up(unsigned ram, unsigned swap, long number)
{
	space_up_cfg(&(struct fake_config){.ram = ram, .cpus = 1});
	swapdev_init(&disk, 0, swap / PS);
	cr_assert_eq(quire_swapon(&disk.dev, NULL, 0), 0);
	policy(number);
}

static void down(void)
{
	space_down();
	swapdev_free(&disk);
}

/* Pages read back by passes over more memory than there is. */
static uint64_t loop_refaults(long number)
{
	unsigned pages = (unsigned)(18 * MIB / PS);
	uint64_t refaults;

	up(16 * MIB, 64 * MIB, number);
	cr_assert_eq(quire_sysctl_set("page-cluster", 0), 0);
	mmap_at(AT(0), pages, RW, PRIV | FIX);
	for (unsigned i = 0; i < pages; i++)
		cr_assert_eq(store_at(AT(i), i + 1), 0);
	for (unsigned pass = 0; pass < 6; pass++)
		for (unsigned i = 0; i < pages; i++)
			cr_assert_eq(load_at(AT(i)), i + 1);
	check_now();
	refaults = sum_vm_event(PSWPIN);
	down();
	return refaults;
}

Test(trial, a_loop_keeps_most_of_itself, .timeout = 60)
{
	uint64_t lru = loop_refaults(0), trial = loop_refaults(1);

	/* Belady would read back 0.2 of what a list by age does. */
	cr_expect_lt(trial * 5, lru * 2, "%lu, %lu", (unsigned long)trial, (unsigned long)lru);
}

/* ---- whose, and of which kind ------------------------------------------------------------------ */

static struct page *page_at(uintptr_t a)
{
	cr_assert(pfn_at(a));
	return pfn_to_page(PFN(pfn_at(a)));
}

static enum page_kind kind_at(uintptr_t a)
{
	lru_add_drain_all();
	return page_kind(page_at(a));
}

static unsigned space_at(uintptr_t a)
{
	lru_add_drain_all();
	return page_space(page_at(a))->number;
}

static unsigned number_of(struct quire_mm *mm)
{
	return to_mm(mm)->lru_space;
}

/* How many pages of a kind the space has. */
static unsigned have(struct quire_mm *mm, enum page_kind kind)
{
	lru_add_drain_all();
	return lru_space_of(number_of(mm))->count[kind];
}

Test(trial, pages_know_their_space)
{
	struct quire_mm *parent, *child;

	up(32 * MIB, 4 * MIB, 1);
	parent = cur;
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	mmap_at(AT(8), 1, RW, SHAR | FIX);
	for (unsigned i = 0; i < 4; i++)
		store_at(AT(i), 7);
	store_at(AT(8), 7);
	cr_expect_geq(number_of(parent), SPACE_FIRST);
	cr_expect_eq(space_at(AT(0)), number_of(parent));
	cr_expect_eq(space_at(AT(8)), SPACE_SHMEM);
	cr_expect_eq(kind_at(AT(0)), KIND_FILL, "memory is free");
	cr_expect_eq(have(parent, KIND_FILL), 4);
	cr_assert_eq(quire_mm_fork(parent, NULL, &child), 0);
	cr_expect_neq(number_of(child), number_of(parent));
	run_space(child);
	cr_expect_eq(space_at(AT(1)), number_of(parent), "it stays with the parent");
	store_at(AT(1), 8);
	cr_expect_eq(space_at(AT(1)), number_of(child), "until it is copied");
	check_now();
	/* The parent ends, and the child keeps pages of it. */
	run_space(child);
	quire_mm_put(parent);
	lru_add_drain_all();
	check_now();
	cr_expect_eq(load_at(AT(2)), 7);
	cr_expect_eq(lru_space_of(space_at(AT(2)))->mm, NULL);
	down();
}

/* Each has a number of its own, which is used again, as long as there are any; then they share one. */
Test(trial, many_spaces)
{
	struct quire_mm *first, *mm[40];
	unsigned own;

	up(32 * MIB, 4 * MIB, 1);
	first = cur;
	for (unsigned round = 0; round < 2; round++) {
		own = 0;
		for (unsigned i = 0; i < ARRAY_SIZE(mm); i++) {
			mm[i] = space_new();
			run_space(mm[i]);
			mmap_at(AT(0), 2, RW, PRIV | FIX);
			store_at(AT(0), i);
			cr_expect_eq(space_at(AT(0)), number_of(mm[i]));
			own += number_of(mm[i]) != SPACE_SHMEM;
			for (unsigned j = 0; number_of(mm[i]) != SPACE_SHMEM && j < i; j++)
				cr_expect_neq(number_of(mm[i]), number_of(mm[j]));
		}
		cr_expect_eq(own, lru_spaces_known() - SPACE_FIRST - 1);
		quire_reclaim(20);
		run_space(first);
		for (unsigned i = 0; i < ARRAY_SIZE(mm); i++)
			quire_mm_put(mm[i]);
		check_now();
	}
	cr_expect(own >= 16 && own < ARRAY_SIZE(mm), "of 32 MiB: %u", own);
	down();
}

Test(trial, locked_and_given_up_pages)
{
	up(32 * MIB, 4 * MIB, 1);
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	for (unsigned i = 0; i < 4; i++)
		store_at(AT(i), 7);
	cr_assert_eq(quire_mlock(cur, AT(0), PS, 0), 0);
	check_now();
	cr_expect_eq(have(cur, KIND_FILL), 3);
	cr_expect_not(page_test(page_at(AT(0)), PG_inspace));
	cr_assert_eq(quire_munlock(cur, AT(0), PS), 0);
	check_now();
	cr_expect_eq(kind_at(AT(0)), KIND_MAIN);
	cr_expect_eq(have(cur, KIND_FILL), 3);
	cr_assert_eq(madvise_at(AT(1), 1, 8), 0); /* FREE */
	cr_expect_eq(kind_at(AT(1)), KIND_LEAVING);
	cr_expect_eq(have(cur, KIND_LEAVING), 1);
	quire_reclaim(1);
	cr_expect_eq(pfn_at(AT(1)), 0, "the first to go");
	cr_expect(present_at(AT(2)) && present_at(AT(3)));
	munmap_at(AT(0), 4);
	cr_expect_eq(lru_space_of(number_of(cur))->all, 0);
	down();
}

/* Out of memory, and what is read in with it: it is nobody's until somebody asks. */
Test(trial, back_from_swap)
{
	unsigned out = 0, unclaimed, at;

	up(32 * MIB, 4 * MIB, 1);
	mmap_at(AT(0), 256, RW, PRIV | FIX);
	for (unsigned i = 0; i < 256; i++)
		store_at(AT(i), i + 1);
	quire_reclaim(100);
	for (unsigned i = 0; i < 256; i++)
		out += !present_at(AT(i));
	cr_expect_gt(out, 90u);
	for (at = 0; present_at(AT(at)); at++)
		cr_assert_lt(at, 200u);
	at += 20; /* amid those that went */
	cr_expect_eq(load_at(AT(at)), at + 1);
	lru_add_drain_all();
	unclaimed = (unsigned)node_spaces.nr[KIND_UNCLAIMED];
	cr_expect_gt(unclaimed, 2u, "the neighbours came with it");
	cr_expect_eq(space_at(AT(at)), number_of(cur));
	cr_expect_eq(kind_at(AT(at)), KIND_CHALLENGER, "it was evicted before");
	cr_expect(page_test(page_at(AT(at)), PG_RETURNED));
	cr_expect_eq(load_at(AT(at + 1)), at + 2);
	cr_expect_eq(kind_at(AT(at + 1)), KIND_CHALLENGER);
	cr_expect_lt(node_spaces.nr[KIND_UNCLAIMED], unclaimed);
	check_now();
	/* The next run judges: there is nothing idle enough for them to displace, or there is. */
	quire_reclaim(100);
	lru_add_drain_all();
	cr_expect_eq(node_spaces.nr[KIND_CHALLENGER], 0);
	for (unsigned i = 0; i < 256; i++)
		cr_expect_eq(load_at(AT(i)), i + 1);
	check_now();
	down();
}

/* Migration takes kind, space and stamp along. */
Test(trial, a_page_that_moves)
{
	unsigned long before;

	up(32 * MIB, 4 * MIB, 1);
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	for (unsigned i = 0; i < 8; i++)
		store_at(AT(i), 7);
	lru_add_drain_all();
	before = page_at(AT(3))->flags & PAGE_FLAGS_POLICY;
	cr_assert(before);
	cr_assert(move_at(AT(3)));
	lru_add_drain_all();
	cr_expect_eq(page_at(AT(3))->flags & PAGE_FLAGS_POLICY, before);
	cr_expect_eq(have(cur, KIND_FILL), 8);
	down();
}

/* ---- the change -------------------------------------------------------------------------------- */

Test(trial, the_policy_changes)
{
	struct page *mine;

	up(32 * MIB, 4 * MIB, 0);
	mmap_at(AT(0), 100, RW, PRIV | FIX);
	mmap_at(AT(200), 40, RW, SHAR | FIX);
	for (unsigned i = 0; i < 100; i++)
		store_at(AT(i), i);
	for (unsigned i = 0; i < 40; i++)
		store_at(AT(200 + i), i);
	lru_add_drain_all();
	lru_change_flags(page_at(AT(5)), 1ul << PG_active, 0);
	mine = page_at(AT(7));
	get_page(mine);
	cr_assert(isolate_lru_page(mine));
	policy(1);
	for (unsigned l = LRU_INACTIVE_ANON; l <= LRU_ACTIVE_FILE; l++)
		cr_expect(list_empty(&node_lruvec.lists[l]));
	cr_expect_eq(have(cur, KIND_MAIN), 99);
	cr_expect_eq(lru_space_of(SPACE_SHMEM)->count[KIND_MAIN], 40);
	putback_lru_page(mine);
	put_page(mine);
	cr_expect_eq(have(cur, KIND_MAIN), 100);
	check_now();
	quire_reclaim(50);
	check_now();
	policy(0);
	cr_expect_eq(node_spaces.pages, 0);
	cr_expect_eq(node_spaces.nr_ring, 0);
	cr_expect_not(page_test(page_at(AT(99)), PG_inspace));
	check_now();
	quire_reclaim(50);
	/* Shadows that the other policy left are no proof. */
	for (unsigned i = 0; i < 100; i++)
		cr_expect_eq(load_at(AT(i)), i);
	policy(1);
	for (unsigned i = 0; i < 40; i++)
		cr_expect_eq(load_at(AT(200 + i)), i);
	check_now();
	down();
}

/* With the default nothing is different because there is another policy, or was. */
static void in_order(uint64_t n[4], bool there_and_back)
{
	unsigned pages = (unsigned)(18 * MIB / PS);

	up(16 * MIB, 64 * MIB, 0);
	if (there_and_back) {
		policy(1);
		policy(0);
	}
	mmap_at(AT(0), pages, RW, PRIV | FIX);
	for (unsigned i = 0; i < 3 * pages; i++)
		cr_assert_eq(store_at(AT(i % pages), i), 0);
	n[0] = sum_vm_event(PSWPIN);
	n[1] = sum_vm_event(PSWPOUT);
	n[2] = sum_vm_event(PGSCAN_DIRECT);
	n[3] = sum_vm_event(PGACTIVATE);
	cr_expect_eq(node_spaces.evictions, 0);
	down();
}

Test(trial, the_default_stays_as_it_was, .timeout = 60)
{
	uint64_t was[4], is[4];

	in_order(was, false);
	in_order(is, true);
	cr_expect_arr_eq(was, is, sizeof(was));
	cr_expect_gt(was[0], 0u);
}

/* ---- beside the simulator ---------------------------------------------------------------------- */

#define ROW_PAGES 3461u /* of each process: with ROW_FRAMES the rows of docs/policy.md, at about a fifth */
#define ROW_TURN  500u

struct player {
	struct quire_mm *mm;
	struct work work;
	uint64_t random, step;
	bool filled, over;
};

static void touch_next(struct player *p)
{
	uint32_t page;

	if (!p->filled) {
		page = (uint32_t)p->step++;
		p->filled = p->step == ROW_PAGES;
		p->step = p->filled ? 0 : p->step;
		cr_assert_eq(store_at(AT(page), page), 0);
	} else if (p->step < work_touches(&p->work, ROW_PAGES)) {
		page = work_page(p->work.kind, ROW_PAGES, p->step++, &p->random);
		cr_assert_eq(load_at(AT(page)), page);
	} else {
		p->over = true;
	}
}

/* Three processes that take turns, as `quire simulate` has them: pages read back. */
static unsigned long row(enum work_kind kind, unsigned passes, long number, unsigned fill_turn)
{
	struct player p[3] = {0};
	unsigned left = ARRAY_SIZE(p);
	unsigned long refaults;

	up(16 * MIB, 64 * MIB, number);
	cr_assert_eq(quire_sysctl_set("page-cluster", 0), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i].mm = i ? space_new() : cur;
		p[i].work = (struct work){kind, passes};
		p[i].random = work_seed(1, i);
		cr_assert_eq(quire_mmap(p[i].mm, AT(0), ROW_PAGES * PS, RW, PRIV | FIX, NULL, 0), (long)AT(0));
	}
	while (left)
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
			run_space(p[i].mm);
			for (unsigned n = 0; n < (p[i].filled ? ROW_TURN : fill_turn) && !p[i].over; n++) {
				touch_next(&p[i]);
				if (!p[i].over)
					continue;
				quire_mm_sleeps(p[i].mm);
				left--;
			}
		}
	check_now();
	refaults = sum_vm_event(PSWPIN);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		space_put(p[i].mm);
	cur = NULL;
	down();
	return refaults;
}

/* What `quire simulate '3*random:3461' --frames 3425 --batch 32` and its like say of the same touches; and
 * with --fill 3461, when each process has filled its memory before the next one begins. */
Test(trial, beside_the_simulator, .timeout = 110)
{
	static const struct {
		enum work_kind kind;
		unsigned passes;
		unsigned long lru, trial, at_once;
	} rows[] = {
		{WORK_ORDER, 1, 10383, 7098, 7176},  {WORK_RANDOM, 1, 7031, 6869, 6829},
		{WORK_ZIPF, 1, 3531, 1124, 1158},    {WORK_WINDOW, 32, 7690, 6447, 5516},
		{WORK_HOTSCAN, 2, 10976, 7111, 7188},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned long lru = row(rows[i].kind, rows[i].passes, 0, ROW_TURN);
		unsigned long trial = row(rows[i].kind, rows[i].passes, 1, ROW_TURN);
		unsigned long once = row(rows[i].kind, rows[i].passes, 1, ROW_PAGES);

		cr_expect(lru >= rows[i].lru / 10 * 9 && lru <= rows[i].lru / 10 * 12, "row %u: %lu", i, lru);
		/* The window's hangs on a few choices: in the core it is better by a seventh. */
		unsigned long least = rows[i].kind == WORK_WINDOW ? 16 : 19;

		cr_expect(trial >= rows[i].trial / 20 * least && trial <= rows[i].trial / 20 * 21, "row %u: %lu", i,
			  trial);
		cr_expect(once >= rows[i].at_once / 20 * 19 && once <= rows[i].at_once / 20 * 21, "row %u: %lu", i,
			  once);
	}
}

/* ---- who gives --------------------------------------------------------------------------------- */

/* One space fills memory and is not heard of again; another one reads as much as there is, over and
 * over. What the other one reads back. */
static uint64_t beside_an_idle_one(bool told)
{
	unsigned idle = (unsigned)(8 * MIB / PS), busy = (unsigned)(12 * MIB / PS);
	struct quire_mm *first;
	uint64_t before;

	up(16 * MIB, 64 * MIB, 1);
	cr_assert_eq(quire_sysctl_set("page-cluster", 0), 0);
	first = cur;
	mmap_at(AT(0), idle, RW, PRIV | FIX);
	for (unsigned i = 0; i < idle; i++)
		store_at(AT(i), i);
	run_space(space_new());
	if (told)
		quire_mm_sleeps(first);
	mmap_at(AT(0), busy, RW, PRIV | FIX);
	for (unsigned i = 0; i < busy; i++)
		store_at(AT(i), i);
	before = sum_vm_event(PSWPIN);
	for (unsigned pass = 0; pass < 4; pass++)
		for (unsigned i = 0; i < busy; i++)
			cr_assert_eq(load_at(AT(i)), i);
	before = sum_vm_event(PSWPIN) - before;
	check_now();
	space_put(cur);
	run_space(first);
	for (unsigned i = 0; i < idle; i += 16)
		cr_assert_eq(load_at(AT(i)), i);
	down();
	return before;
}

Test(trial, who_sleeps_pays, .timeout = 60)
{
	uint64_t told = beside_an_idle_one(true), not_told = beside_an_idle_one(false);

	cr_expect_lt(told, 8 * MIB / PS / 8, "%lu", (unsigned long)told);
	cr_expect_gt(not_told, told, "%lu", (unsigned long)not_told);
}

/* Pages that are being written are not free yet. Others are not chosen for them: what is on its way comes to
 * what is missing, and who asks waits for that. */
Test(trial, a_slow_disk_is_waited_for, .timeout = 60)
{
	unsigned pages = (unsigned)(24 * MIB / PS);
	unsigned long most_free = 0, high = 0;
	struct zone *z;

	up(16 * MIB, 64 * MIB, 1);
	for_each_populated_zone(z)
		high += z->watermark[WMARK_HIGH] + z->lowmem_reserve[MAX_NR_ZONES - 1];
	disk.hold = true;
	most_written = 0;
	mmap_at(AT(0), pages, RW, PRIV | FIX);
	for (unsigned i = 0; i < pages; i++) {
		cr_assert_eq(store_at(AT(i), i + 1), 0);
		if (node_spaces.evictions && nr_free_buddy() > most_free)
			most_free = nr_free_buddy();
	}
	cr_expect_gt(most_written, 8u, "it took its time");
	cr_expect_leq(most_written, 3 * SWAP_CLUSTER_MAX, "%u", most_written);
	cr_expect_leq(most_free, high + 2 * SWAP_CLUSTER_MAX, "%lu, high marks %lu", most_free, high);
	for (unsigned i = 0; i < pages; i++)
		cr_assert_eq(load_at(AT(i)), i + 1);
	swapdev_release(&disk);
	check_now();
	down();
}
