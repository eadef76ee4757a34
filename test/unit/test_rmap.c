/* SPDX-License-Identifier: MIT */
/*
 * Reverse maps over very many generations: chains are as long as 5.10 makes them, families of
 * anon_vmas do not outgrow those who are alive, and every page is found through them.
 */
#include "space.h"

static struct quire_mm *fork_now(void)
{
	struct quire_mm *child;

	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	return child;
}

static struct vm_area_struct *area_of(struct quire_mm *mm)
{
	return vma_in(to_mm(mm), AT(0));
}

static unsigned chain_of(struct quire_mm *mm)
{
	struct anon_vma_chain *avc;
	unsigned n = 0;

	list_for_each_entry(avc, &area_of(mm)->anon_vma_chain, same_vma)
		n++;
	return n;
}

/* Members of the family that have not been freed: each holds a reference on its root. */
static unsigned family_of(struct quire_mm *mm)
{
	return area_of(mm)->anon_vma->root->refcount;
}

/* A child forks a child, and its parent dies, a thousand times: nobody's list grows. */
Test(rmap, a_thousand_generations, .timeout = 60)
{
	unsigned longest = 0, largest = 0;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(1), 77);
	for (int i = 1; i <= 1000; i++) {
		struct quire_mm *parent = cur, *child;

		store_at(AT(0), i);
		child = fork_now();
		run_space(child);
		space_put(parent);
		cr_assert_eq(load_at(AT(0)), i);
		longest = max(longest, chain_of(cur));
		largest = max(largest, family_of(cur));
		if (i % 50 == 0)
			check_now();
	}
	cr_expect_eq(load_at(AT(1)), 77, "a page of the first, through a thousand");
	/* The root, which nobody takes over, and two that parent and child have in turns. */
	cr_expect_eq(longest, 3, "%u", longest);
	cr_expect_eq(largest, 3, "%u", largest);
	space_down();
}

/*
 * All of them alive: each may hold pages of all before it, so its chain is one longer than its
 * parent's; there is nothing to take over. Then they die, oldest first, and the next fork takes.
 */
Test(rmap, a_thousand_alive, .timeout = 60)
{
	enum { GENERATIONS = 1000 };
	static struct quire_mm *gen[GENERATIONS + 1];
	struct quire_mm *child;
	struct page *first;

	space_up_cfg(&(struct fake_config){.ram = 256 * MIB, .cpus = 1});
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 0);
	store_at(AT(1), 77);
	first = pfn_to_page(PFN(pfn_at(AT(1))));
	gen[0] = cur;
	for (int i = 1; i <= GENERATIONS; i++) {
		gen[i] = fork_now();
		run_space(gen[i]);
		store_at(AT(0), i);
		cr_assert_eq(chain_of(cur), (unsigned)i + 1);
	}
	check_now();
	cr_expect_eq(family_of(cur), GENERATIONS + 1);
	cr_expect_eq(page_mapcount(first), GENERATIONS + 1);
	cr_expect_eq(fake_frame_mapped(page_to_pfn(first)), GENERATIONS + 1);
	for (int i = 0; i < GENERATIONS; i++) {
		run_space(gen[i]);
		cr_assert_eq(load_at(AT(0)), (unsigned)i);
		space_put(gen[i]);
	}
	run_space(gen[GENERATIONS]);
	check_now();
	cr_expect_eq(page_mapcount(first), 1);
	child = fork_now();
	cr_expect_eq(family_of(cur), GENERATIONS + 1, "one of the dead was taken over");
	cr_expect_eq(chain_of(child), GENERATIONS + 1);
	space_put(child);
	cr_expect_eq(load_at(AT(1)), 77);
	cr_expect_eq(FAULTS(store_at(AT(1), 78)), 1);
	cr_expect_eq(pfn_at(AT(1)), page_to_pfn(first).n, "its sole owner by now");
	space_down();
}

/* Births and deaths in no order; what each wrote is its own, and the family follows the living. */
Test(rmap, births_and_deaths, .timeout = 60)
{
	enum { MOST = 12, PAGES = 6 };
	static struct {
		struct quire_mm *mm;
		uint64_t value[PAGES];
	} live[MOST];
	unsigned n = 1, largest = 0, longest = 0;

	space_up();
	mmap_at(AT(0), PAGES, RW, PRIV | FIX);
	live[0].mm = cur;
	for (int step = 0; step < 10000; step++) {
		unsigned who = rnd() % n, page = rnd() % PAGES;

		run_space(live[who].mm);
		if (n < MOST && rnd() % 3 == 0) {
			live[n] = live[who];
			live[n++].mm = fork_now();
		} else if (n > 1 && rnd() % 3 == 0) {
			live[who] = live[--n];
			space_put(cur);
			run_space(live[0].mm);
		} else {
			cr_assert_eq(load_at(AT(page)), live[who].value[page]);
			store_at(AT(page), live[who].value[page] = step + 1);
			largest = max(largest, family_of(cur));
			longest = max(longest, chain_of(cur));
		}
		if (step % 200 == 0)
			check_now();
	}
	for (unsigned i = 0; i < n; i++) {
		run_space(live[i].mm);
		for (unsigned page = 0; page < PAGES; page++)
			cr_assert_eq(load_at(AT(page)), live[i].value[page]);
		check_now();
	}
	/* Either somebody's own, or with two children at least: fewer than twice the living. */
	cr_expect_lt(largest, 2 * MOST, "%u anon_vmas for %u spaces", largest, MOST);
	cr_expect_lt(longest, 2 * MOST, "a chain of %u", longest);
	while (n > 1)
		space_put(live[--n].mm);
	run_space(live[0].mm);
	space_down();
}
