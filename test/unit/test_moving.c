/* SPDX-License-Identifier: MIT */
/* A page moves on one CPU, and a second one meets what stands in its place. */
#include <sched.h>

#include "space.h"

#include "arch/fake/machine.h"
#include "mm/migrate/migrate.h"

static volatile unsigned waited, yielded; /* by CPU 1 */
static volatile bool moving;		  /* CPU 0 is */

/* Threads that act as CPUs meet in locks here: who would sleep lets the other one run. */
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
	return points_left && !hal_cpu_id() && !lockdep_depth() && --points_left == 0;
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

/* Whoever meets a page on the move sleeps until its lock is let go, also while its count is frozen: on the
 * same CPU, looking again and again would keep it from him who moves the page. */
Test(moving, touched_while_it_moves, .timeout = 60)
{
	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	waited = yielded = 0;
	act = stores_beside;
	move_beside(one_page, eight);
	cr_expect_gt(waited, 0, "for the page lock");
	cr_expect_eq(yielded, 0, "it looks again while the old page is frozen");
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

Test(moving, cut_off_while_it_moves, .timeout = 60)
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
