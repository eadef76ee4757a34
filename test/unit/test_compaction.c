/* SPDX-License-Identifier: MIT */
/* Pages that move behind their users' backs, and what that is good for. */
#include <sched.h>

#include "moving.h"

#include "arch/fake/machine.h"
#include "mm/buddy.h"
#include "mm/compaction.h"
#include "mm/page_debug.h"
#include "mm/vmstat.h"

/* Threads that act as CPUs meet in locks here: who would sleep lets the other one run. */
static volatile unsigned waited, yielded; /* by CPU 1 */
static volatile bool moving;		  /* CPU 0 is */

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	irqflags_t f = hal_irq_save();

	waited += key && hal_cpu_id() == 1;
	hal_irq_restore(f); /* where calls from other CPUs are heard */
	sched_yield();
}

void os_cond_resched(void)
{
	if (hal_cpu_id() != 1)
		return;
	yielded++;
	while (moving)
		os_wait(NULL, NULL, 0);
}

uintptr_t os_thread_id(void)
{
	return hal_cpu_id() + 1;
}

#define MADV_DONTNEED 4

static uint64_t mark(unsigned page)
{
	return page * 0x9e3779b97f4a7c15ull + 1;
}

Test(compaction, one_anonymous_page)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 7);
	cr_expect(move_at(AT(0)));
	cr_expect_eq(load_at(AT(0)), 7);
	cr_expect_eq(FAULTS(store_at(AT(0), 8)), 0, "it was writable, it is");
	cr_expect_eq(load_at(AT(0)), 8);
	/* A page that may only be read, and one that may not be touched. */
	store_at(AT(1), 9);
	store_at(AT(2), 10);
	mprotect_at(AT(1), 1, PROT_READ);
	mprotect_at(AT(2), 1, PROT_NONE);
	cr_expect(move_at(AT(1)));
	cr_expect(move_at(AT(2)));
	cr_expect_eq(load_at(AT(1)), 9);
	cr_expect_eq(store_at(AT(1), 1), ACCERR);
	cr_expect_eq(touch_at(AT(2)), ACCERR);
	mprotect_at(AT(2), 1, PROT_READ);
	cr_expect_eq(load_at(AT(2)), 10);
	cr_expect_eq(sum_vm_event(PGMIGRATE_SUCCESS), 3);
	space_down();
}

Test(compaction, soft_dirty_goes_with_it)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 1);
	quire_clear_refs((struct quire_mm *)cur, 4);
	store_at(AT(1), 2);
	cr_expect(move_at(AT(0)));
	cr_expect(move_at(AT(1)));
	cr_expect_eq(quire_pagemap(cur, AT(0)) >> 55 & 1, 0);
	cr_expect_eq(quire_pagemap(cur, AT(1)) >> 55 & 1, 1);
	space_down();
}

Test(compaction, shared_after_fork)
{
	struct quire_mm *parent, *child;

	space_up();
	parent = cur;
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 5);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_expect(move_at(AT(0)));
	run_space(child);
	cr_expect_eq(load_at(AT(0)), 5);
	cr_expect_eq(pfn_at(AT(0)), quire_pagemap(parent, AT(0)) & ((1ull << 55) - 1));
	cr_expect_eq(FAULTS(store_at(AT(0), 6)), 1, "still to be copied");
	run_space(parent);
	cr_expect_eq(load_at(AT(0)), 5);
	space_put(child);
	space_down();
}

Test(compaction, pages_of_files)
{
	struct quire_inode *inode;
	struct quire_file *f;

	space_up();
	f = file_new(4, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE | QUIRE_FMODE_EXEC);
	inode = quire_file_inode(f);
	mmap_file(AT(0), 4, PROT_READ | PROT_EXEC, MAP_PRIVATE | FIX, f, 0);
	mmap_file(AT(8), 4, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(load_at(AT(1)) & 0xff, 2);
	store_at(AT(9), 0x77);
	cr_expect(move_at(AT(1)));
	cr_expect_eq(load_at(AT(1)), 0x77);
	cr_expect_eq(pfn_at(AT(1)), pfn_at(AT(9)));
	store_at(AT(9), 0x78);
	cr_expect_eq(load_at(AT(1)), 0x78);
	cr_expect_eq(exec_at(AT(1)), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 4);
	munmap_at(AT(0), 16);
	quire_file_put(f);
	space_down();
}

Test(compaction, who_holds_a_page_keeps_it)
{
	struct page *page;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 3);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	get_page(page);
	held = 1;
	cr_expect_not(move_at(AT(0)), "somebody reads or writes it by its frame");
	held = 0;
	cr_expect_eq(FAULTS(store_at(AT(0), 4)), 0, "as it was");
	put_page(page);
	trylock_page(page);
	cr_expect_not(move_at(AT(0)));
	unlock_page(page);
	down_write(&mm_now()->mmap_lock);
	{
		struct page *fresh = alloc_pages(GFP_KERNEL, 0);

		cr_assert(migrate_begin());
		cr_expect_not(migrate_begin(), "one at a time");
		cr_assert(get_page_unless_zero(page));
		cr_expect_eq(migrate_page(page, fresh), -EAGAIN, "the space is being changed");
		migrate_end();
	}
	up_write(&mm_now()->mmap_lock);
	cr_expect(move_at(AT(0)));
	cr_expect_eq(load_at(AT(0)), 4);
	/* Pages of the kernel's own do not move, nor do blocks. */
	page = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);
	cr_assert(migrate_begin());
	get_page(page);
	cr_expect_eq(migrate_page(page, alloc_pages(GFP_KERNEL, 0)), -EAGAIN);
	page->_refcount = 1;
	migrate_end();
	__free_pages(page, 1);
	space_down();
}

/* Fills memory with a space's pages and punches a hole beside each; returns how many pages. */
static unsigned fragment(void)
{
	unsigned n = 11000;

	mmap_at(AT(0), n, RW, PRIV | FIX);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(store_at(AT(i), mark(i)), 0);
	for (unsigned i = 0; i < n; i += 2)
		cr_assert_eq(quire_madvise(cur, AT(i), PS, MADV_DONTNEED), 0);
	check_now();
	quire_drain();
	return n;
}

static void check_marks(unsigned n)
{
	for (unsigned i = 1; i < n; i += 2)
		cr_assert_eq(load_at(AT(i)), mark(i));
}

static unsigned long free_blocks(unsigned least)
{
	unsigned long n = 0;
	struct zone *z;

	for_each_populated_zone(z)
		for (unsigned o = least; o < MAX_ORDER; o++)
			n += z->free_area[o].nr_free << (o - least);
	return n;
}

Test(compaction, makes_large_blocks)
{
	static struct page *p[64];
	unsigned n, got = 0, all;
	unsigned long scattered;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	n = fragment();
	scattered = free_blocks(9);
	while (got < 64 && (p[got] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 9)))
		got++;
	cr_expect_gt(got, scattered + 5, "%u of %lu", got, scattered);
	cr_expect_gt(sum_vm_event(COMPACTSTALL), 0);
	cr_expect_gt(sum_vm_event(COMPACTSUCCESS), 0);
	cr_expect_gt(sum_vm_event(PGMIGRATE_SUCCESS), 1000);
	check_now();
	check_marks(n);
	for (all = got; got;)
		__free_pages(p[--got], 9);
	cr_expect_eq(check_phys(), 0);
	(void)all;
	space_down();
}

Test(compaction, on_request)
{
	unsigned n;
	unsigned long before;
	long v = 1;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096), .cpus = 1});
	n = fragment();
	before = free_blocks(9);
	cr_expect_eq(quire_sysctl_set("compact_memory", 1), 0);
	cr_expect_eq(quire_sysctl_get("compact_memory", &v), 0);
	cr_expect_eq(v, 0);
	check_now();
	cr_expect_gt(free_blocks(9), before + 5);
	check_marks(n);
	cr_expect_eq(check_phys(), 0);
	/* What may not wait gets nothing moved for it. */
	before = sum_vm_event(COMPACTSTALL);
	while (free_blocks(9))
		cr_assert(alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 9));
	cr_expect_null(alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 9));
	cr_expect_eq(sum_vm_event(COMPACTSTALL), before);
	exit(0); /* blocks are left on purpose */
}

Test(compaction, in_vain_is_not_repeated)
{
	static struct page *p[20000];
	unsigned long moved;
	unsigned n = 0;

	machine_up(48 * MIB, 1);
	/* Reserves and all, so that no large block is left. */
	while (n < ARRAY_SIZE(p) &&
	       (p[n] = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0)))
		n++;
	for (unsigned i = 0; i < n; i += 2) {
		__free_pages(p[i], 0);
		p[i] = NULL;
	}
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 5));
	moved = sum_vm_event(COMPACTMIGRATE_SCANNED);
	cr_expect_gt(moved, 0);
	for (unsigned i = 0; i < 10; i++)
		cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 5));
	cr_expect_lt(sum_vm_event(COMPACTMIGRATE_SCANNED), moved * 5, "deferred after failures");
	for (unsigned i = 0; i < n; i++)
		if (p[i])
			__free_pages(p[i], 0);
	machine_down();
}

/* ---- at the same time ------------------------------------------------------------------------ */

static volatile bool stop;
static unsigned long rounds;

/* Uses its memory, gives parts of it back, forks and lets go, all while pages move. */
static void user(void *arg)
{
	struct quire_mm *mine = cur;
	unsigned n = 600;

	run_space(mine);
	for (rounds = 0; !stop || rounds < 3; rounds++) {
		for (unsigned i = 0; i < n; i++)
			cr_assert_eq(store_at(AT(i), mark(i) + rounds), 0);
		for (unsigned i = 0; i < n; i += 3)
			cr_assert_eq(quire_madvise(mine, AT(i), PS, MADV_DONTNEED), 0);
		for (unsigned i = 0; i < n; i++) {
			uint64_t v = 1;

			cr_assert(fake_user_load(AT(i), 8, &v, NULL));
			cr_assert_eq(v, i % 3 ? mark(i) + rounds : 0);
		}
		if (rounds % 8 == 0) {
			struct quire_mm *child;

			cr_assert_eq(quire_mm_fork(mine, NULL, &child), 0);
			quire_mm_put(child);
		}
	}
	run_space(NULL);
}

Test(compaction, while_the_memory_is_used, .timeout = 60)
{
	struct quire_mm *mm;
	unsigned long moved = 0;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	mm = cur;
	mmap_at(AT(0), 600, RW, PRIV | FIX);
	cr_assert_eq(fake_cpu_start(1, user, NULL), 0);
	/* A space that is being changed is passed by: until some were met at rest. */
	for (unsigned i = 0; i < 60 || (!moved && i < 100000); i++) {
		moved += compact_memory();
		fake_core_returned();
	}
	stop = true;
	fake_cpu_join(1);
	cur = mm;
	run_space(mm);
	cr_expect_gt(moved, 0);
	cr_expect_gt(rounds, 2);
	check_now();
	space_down();
}

/*
 * CPU 1 does something at the n-th point where CPU 0 takes or lets go of a spinning lock while it
 * moves the page at AT(0), and goes on only when CPU 1 waits for it, or is done.
 */
static unsigned points_left;
static bool begun;
static volatile bool done;
static void (*act)(void);
static struct quire_mm *shared_mm;

static bool at_point(void)
{
	return points_left && !hal_cpu_id() && !lockdep_held() && --points_left == 0;
}

static void beside(void *arg)
{
	irqflags_t f = hal_irq_save();

	quire_mm_switch(shared_mm);
	hal_irq_restore(f);
	act();
	f = hal_irq_save();
	quire_mm_switch(NULL);
	hal_irq_restore(f);
	done = true;
}

static void start_beside(void)
{
	unsigned w = waited, y = yielded;

	begun = true;
	done = false;
	cr_assert_eq(fake_cpu_start(1, beside, NULL), 0);
	while (!done && w == waited && y == yielded)
		os_wait(NULL, NULL, 0);
}

void os_preempt(int delta)
{
	irqflags_t f;

	if (!points_left || hal_irqs_off() || hal_cpu_id())
		return;
	f = hal_irq_save();
	hal_irq_restore(f);
}

/* For each point: the page that is mapped at AT(0) moves, and then() looks. */
static void move_beside(void (*setup)(void), void (*then)(void))
{
	unsigned n = 0;

	do {
		struct page *page, *fresh;

		setup();
		shared_mm = cur;
		page = pfn_to_page(PFN(pfn_at(AT(0))));
		fresh = alloc_pages(GFP_KERNEL, 0);
		begun = false;
		cr_assert(migrate_begin());
		get_page(page);
		points_left = ++n;
		machine.timer_expired = at_point;
		machine.on_timer = start_beside;
		moving = true;
		migrate_page(page, fresh);
		moving = false;
		points_left = 0;
		if (begun)
			fake_cpu_join(1);
		machine.timer_expired = NULL;
		migrate_end();
		check_now();
		then();
		munmap_at(AT(0), 4);
	} while (begun);
	cr_expect_gt(n, 3);
}

static void one_page(void)
{
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 7);
}

static struct quire_file *cut;

static void page_of_a_file(void)
{
	quire_inode_truncate(quire_file_inode(cut), 4 * PS);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, cut, 0);
	store_at(AT(0), 7);
}

static void stores_beside(void)
{
	uint64_t v = 0;

	cr_assert(fake_user_load(AT(0), 8, &v, NULL));
	cr_assert_eq(v, 7);
	cr_assert(fake_user_store(AT(0), 8, 8, NULL));
}

static void eight(void)
{
	cr_assert_eq(load_at(AT(0)), begun ? 8 : 7);
}

/* Whoever meets a page on the move waits for the page lock, or, if it is nearly over, looks again. */
Test(compaction, touched_while_it_moves, .timeout = 60)
{
	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	waited = yielded = 0;
	act = stores_beside;
	move_beside(one_page, eight);
	cr_expect_gt(waited, 0, "for the page lock");
	cr_expect_gt(yielded, 0, "while the old page is frozen");
	cut = file_new(4, FRW);
	move_beside(page_of_a_file, eight);
	quire_file_put(cut);
	space_down();
}

static void cuts(void)
{
	cr_assert_eq(quire_inode_truncate(quire_file_inode(cut), 0), 0);
}

static void cut_to_nothing(void)
{
	if (!begun)
		return;
	cr_assert_eq(quire_inode_cached_pages(quire_file_inode(cut)), 0);
	cr_assert_eq(pfn_at(AT(0)), 0);
	cr_assert_eq(touch_at(AT(0)), ADRERR);
}

Test(compaction, cut_off_while_it_moves, .timeout = 60)
{
	uint64_t before;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	cut = file_new(4, FRW);
	waited = 0;
	act = cuts;
	page_of_a_file();
	munmap_at(AT(0), 4);
	cuts();
	before = free_pages_now();
	move_beside(page_of_a_file, cut_to_nothing);
	cr_expect_gt(waited, 0);
	cuts();
	cr_expect_eq(free_pages_now(), before);
	quire_file_put(cut);
	space_down();
}
