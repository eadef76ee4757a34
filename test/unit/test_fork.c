/* SPDX-License-Identifier: MIT */
/* Fork, copy on write, reverse maps over generations, exit. */
#include "space.h"

static struct quire_mm *fork_now(void)
{
	struct quire_mm *child;

	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	check_now();
	cr_assert_eq(quire_check(child), 0);
	return child;
}

Test(fork, copy_on_write)
{
	struct quire_mm *parent, *child;
	uint64_t pfn;

	space_up();
	parent = cur;
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 2);
	pfn = pfn_at(AT(0));
	cr_expect(quire_pagemap(cur, AT(0)) >> 56 & 1, "exclusive");
	child = fork_now();
	cr_expect_not(quire_pagemap(cur, AT(0)) >> 56 & 1);
	run_space(child);
	cr_expect_eq(load_at(AT(0)), 1);
	cr_expect_eq(pfn_at(AT(0)), pfn);
	cr_expect_eq(FAULTS(store_at(AT(0), 9)), 1);
	cr_expect_neq(pfn_at(AT(0)), pfn);
	run_space(parent);
	cr_expect_eq(load_at(AT(0)), 1);
	cr_expect_eq(FAULTS(store_at(AT(0), 5)), 1, "reuse: the child has its own by now");
	cr_expect_eq(pfn_at(AT(0)), pfn);
	cr_expect_eq(fault_rows[QUIRE_ROW_REUSE], 1);
	cr_expect_eq(FAULTS(store_at(AT(1), 5)), 1);
	run_space(child);
	cr_expect_eq(load_at(AT(1)), 2);
	cr_expect_eq(load_at(AT(0)), 9);
	run_space(parent);
	space_put(child);
	space_down();
}

Test(fork, a_copy_is_whole)
{
	struct quire_mm *parent, *child;

	space_up();
	parent = cur;
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	for (uintptr_t at = 0; at < PS; at += 8)
		store_at(AT(0) + at, at + 1);
	child = fork_now();
	run_space(child);
	cr_expect_eq(FAULTS(store_at(AT(0), 9)), 1);
	for (uintptr_t at = 8; at < PS; at += 8)
		cr_expect_eq(load_at(AT(0) + at), at + 1);
	run_space(parent);
	cr_expect_eq(load_at(AT(0)), 1);
	space_put(child);
	space_down();
}

Test(fork, exit_gives_the_page_back)
{
	struct quire_mm *child;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	child = fork_now();
	space_put(child);
	cr_expect(quire_pagemap(cur, AT(0)) >> 56 & 1);
	cr_expect_eq(FAULTS(store_at(AT(0), 2)), 1);
	cr_expect_eq(fault_rows[QUIRE_ROW_COW], 0);
	space_down();
}

Test(fork, what_is_not_copied)
{
	struct quire_mm *parent, *child;
	struct quire_file *f;

	space_up();
	parent = cur;
	f = file_new(8, FRW);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	store_at(AT(0), 1);
	mmap_at(AT(10), 2, RW, PRIV | FIX);
	store_at(AT(10), 2);
	madvise_at(AT(10), 2, 10); /* DONTFORK */
	mmap_at(AT(20), 2, RW, PRIV | FIX);
	store_at(AT(20), 3);
	madvise_at(AT(20), 2, 18); /* WIPEONFORK */
	mmap_at(AT(30), 2, RW, PRIV | FIX | MAP_LOCKED);
	mmap_at(AT(40), 1, RW, SHAR | FIX);
	store_at(AT(40), 4);
	child = fork_now();
	run_space(child);
	EXPECT_LAYOUT("0-4:rw-s 20-22:rw-p 30-32:rw-p 40-41:rw-s");
	cr_expect_not(present_at(AT(0)), "an object's pages are found again");
	cr_expect_eq(load_at(AT(0)), 1);
	cr_expect_eq(touch_at(AT(10)), MAPERR);
	cr_expect_eq(load_at(AT(20)), 0);
	cr_expect_eq(mm_now()->locked_vm, 0);
	store_at(AT(40), 5);
	check_now();
	run_space(parent);
	cr_expect_eq(load_at(AT(40)), 5);
	cr_expect_eq(load_at(AT(20)), 3);
	space_put(child);
	quire_file_put(f);
	space_down();
}

/* Somebody outside the tables holds the page: it is his, as it is, and the writer takes a copy. */
Test(fork, a_held_page_is_copied)
{
	struct quire_mm *child;
	struct page *page;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	child = fork_now();
	space_put(child);
	get_page(page);
	cr_expect_eq(FAULTS(store_at(AT(0), 2)), 1);
	cr_expect_neq(pfn_at(AT(0)), page_to_pfn(page).n);
	cr_expect_eq(*(uint64_t *)page_address(page), 1);
	cr_expect_eq(fault_rows[QUIRE_ROW_REUSE], 0);
	put_page(page);
	space_down();
}

/* Resident sets by kind, and their peak: the child begins with what it got. */
Test(fork, counters_of_each_kind)
{
	struct quire_mm *parent, *child;
	struct quire_file *f;

	space_up();
	parent = cur;
	f = file_new(32, FRW);
	mmap_file(AT(0), 32, RW, MAP_PRIVATE | FIX, f, 0);
	store_at(AT(0), 1); /* an own copy; the read of another brings its neighbours */
	load_at(AT(20));
	cr_assert_gt(mm_now()->rss[MM_FILEPAGES], 1);
	child = fork_now();
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		cr_expect_eq(to_mm(child)->rss[i], to_mm(parent)->rss[i], "counter %d", i);
	cr_expect_eq(to_mm(child)->hiwater_rss, get_mm_rss(to_mm(parent)));
	run_space(child);
	munmap_at(AT(0), 32);
	cr_expect_eq(to_mm(child)->hiwater_rss, get_mm_rss(to_mm(parent)));
	run_space(parent);
	space_put(child);
	quire_file_put(f);
	space_down();
}

Test(fork, generations)
{
	struct quire_mm *gen[6];

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 100);
	store_at(AT(1), 200);
	gen[0] = cur;
	for (int i = 1; i < 6; i++) {
		gen[i] = fork_now();
		run_space(gen[i]);
		if (i & 1)
			store_at(AT(0), 100 + i);
		check_now();
	}
	/* The oldest go first: their pages stay with those who still map them. */
	for (int i = 0; i < 5; i++) {
		space_put(gen[i]);
		check_now();
	}
	cr_expect_eq(load_at(AT(0)), 105);
	cr_expect_eq(load_at(AT(1)), 200);
	space_down();
}

/* A process whose parent dies, again and again: its chains must not grow. */
Test(fork, chains_stay_short)
{
	unsigned longest = 0;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	for (int i = 0; i < 40; i++) {
		struct quire_mm *child, *parent = cur;
		struct anon_vma_chain *avc;
		unsigned n = 0;

		store_at(AT(0), i);
		child = fork_now();
		run_space(child);
		cr_expect_eq(load_at(AT(0)), i);
		space_put(parent);
		list_for_each_entry(avc, &mm_now()->mmap->anon_vma_chain, same_vma)
			n++;
		longest = n > longest ? n : longest;
	}
	cr_expect_leq(longest, 4);
	space_down();
}

/* What a child took part in is as it was once the child is gone: else nothing would be reused. */
Test(fork, a_child_leaves_no_count_behind)
{
	unsigned long children, active;
	struct anon_vma *av;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	av = mm_now()->mmap->anon_vma;
	children = av->num_children;
	active = av->num_active_vmas;
	for (int i = 0; i < 3; i++) {
		struct quire_mm *child = fork_now();

		cr_expect_eq(av->num_children, children + 1);
		space_put(child);
		cr_expect_eq(av->num_children, children);
		cr_expect_eq(av->num_active_vmas, active);
	}
	space_down();
}

/* An anon_vma whose own VMAs are gone goes to a grandchild only if it has one child at most. */
Test(fork, whose_anon_vma_is_taken_over)
{
	for (int siblings = 1; siblings <= 2; siblings++) {
		struct quire_mm *first, *middle, *low[2], *last;
		struct anon_vma *av;

		space_up();
		mmap_at(AT(0), 1, RW, PRIV | FIX);
		store_at(AT(0), 1);
		first = cur;
		middle = fork_now();
		run_space(middle);
		av = mm_now()->mmap->anon_vma;
		for (int i = 0; i < siblings; i++)
			low[i] = fork_now();
		run_space(low[0]);
		space_put(middle);
		last = fork_now();
		if (siblings == 1)
			cr_expect_eq(to_mm(last)->mmap->anon_vma, av);
		else
			cr_expect_neq(to_mm(last)->mmap->anon_vma, av);
		space_put(last);
		for (int i = 1; i < siblings; i++)
			space_put(low[i]);
		space_put(first);
		space_down();
	}
}

Test(fork, promises)
{
	struct quire_mm *child = NULL;
	long n;

	space_up();
	n = totalram_pages() * 40 / 100;
	mmap_at(AT(0), n, RW, PRIV | FIX);
	quire_sysctl_set("overcommit_memory", 2);
	quire_sysctl_set("overcommit_ratio", 60);
	quire_sysctl_set("admin_reserve_kbytes", 0);
	quire_sysctl_set("user_reserve_kbytes", 0);
	cr_expect_eq(quire_mm_fork(cur, NULL, &child), -ENOMEM);
	cr_expect_eq(child, NULL);
	check_now();
	cr_expect_eq(vm_memory_committed(), n);
	space_down();
}

Test(fork, failing_allocations, .timeout = 60)
{
	struct quire_mm *child;
	unsigned failed = 0;

	space_up();
	for (int i = 0; i < 12; i++) {
		mmap_at(AT(i * 1000), 4, i & 1 ? PROT_READ : RW, PRIV | FIX);
		touch_at(AT(i * 1000));
		store_at(AT(i * 1000 + 1), i);
	}
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++) {
		for (unsigned n = 1; n < 60; n++) {
			int r;

			quire_inject_set(kind, n);
			r = quire_mm_fork(cur, NULL, &child);
			quire_inject_set(kind, 0);
			check_now();
			if (r) {
				cr_assert_eq(r, -ENOMEM);
				failed++;
				continue;
			}
			cr_assert_eq(quire_check(child), 0);
			space_put(child);
			break;
		}
	}
	cr_expect_gt(failed, 5);
	space_down();
}

Test(fork, rmap_walk_finds_every_space)
{
	struct quire_mm *child[4];
	struct page *page;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	for (int i = 0; i < 4; i++)
		child[i] = fork_now();
	cr_expect_eq(page_mapcount(page), 5);
	cr_expect_eq(fake_frame_mapped(page_to_pfn(page)), 5);
	for (int i = 0; i < 4; i++)
		space_put(child[i]);
	cr_expect_eq(page_mapcount(page), 1);
	space_down();
}
