/* SPDX-License-Identifier: MIT */
/*
 * Two CPUs of the machine in software, and one that is held up (an interrupt, a hypervisor) exactly
 * where it hurts: the linker puts a function of this file (--wrap) at that place.
 */
#include "space.h"

#include <unistd.h>

#include "arch/fake/machine.h"
#include "mm/migrate/migrate.h"

enum { DONTNEED = 4 };

struct page *__real_alloc_pages(gfp_t gfp, unsigned order);
struct page *__wrap_alloc_pages(gfp_t gfp, unsigned order);
void __real_hal_copy_page(void *dst, const void *src);
void __wrap_hal_copy_page(void *dst, const void *src);
void os_preempt(int delta);

static bool copying; /* CPU 1 is, until the other one has waited so often */
static unsigned long waits, waits_wanted;

/* Sleeping by looking, so that a thread that waits leaves the machine to the other CPU. Who waits for the
 * page that is copied is woken for nothing, again and again. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	if (__atomic_load_n(&copying, __ATOMIC_SEQ_CST) && hal_cpu_id() == 0) {
		__atomic_add_fetch(&waits, 1, __ATOMIC_SEQ_CST);
		return;
	}
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
		hal_cpu_relax();
}

uintptr_t os_thread_id(void)
{
	return hal_cpu_id() + 1;
}

/* ---- compaction locks a page that was allocated a moment ago ---------------------------------- */

static enum { NOT_YET, ARMED, HELD, LET_GO } step;
static struct page *speculated;

/* The other CPU saw an ordinary page at this frame, which was freed and is handed out anew here. Its
 * next two steps: a reference by frame number, and the lock. */
struct page *__wrap_alloc_pages(gfp_t gfp, unsigned order)
{
	struct page *p = __real_alloc_pages(gfp, order);

	if (step == ARMED && p) {
		cr_assert(get_page_unless_zero(p));
		cr_assert(trylock_page(p));
		speculated = p;
		step = HELD;
	}
	return p;
}

static void let_go(void)
{
	step = LET_GO;
	unlock_page(speculated);
	put_page(speculated);
}

/* ... and then it finds that this is no page to be moved: at the latest when its owner waits. */
static bool owner_waits(void)
{
	return step == HELD && !lockdep_depth();
}

Test(races_smp, the_lock_of_a_fresh_page, .timeout = 60)
{
	struct quire_inode *inode;

	space_up();
	inode = quire_inode_create(NULL, NULL, 44, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(inode, 4 * PS);
	cr_assert(migrate_begin());
	step = ARMED;
	machine.timer_expired = owner_waits;
	machine.on_timer = let_go;
	cr_expect_eq(quire_inode_populate(inode, 0, PS), 0);
	machine.timer_expired = NULL;
	cr_expect_eq(step, LET_GO);
	migrate_end();
	quire_inode_put(inode);
	space_down();
}

/* ---- a page that moves for long ----------------------------------------------------------------- */

void __wrap_hal_copy_page(void *dst, const void *src)
{
	if (hal_cpu_id() == 1) {
		__atomic_store_n(&copying, true, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&waits, __ATOMIC_SEQ_CST) < waits_wanted)
			hal_cpu_relax();
	}
	__real_hal_copy_page(dst, src);
}

static void moves_page(void *arg)
{
	struct page *page = arg, *fresh = __real_alloc_pages(GFP_KERNEL, 0);

	cr_assert(fresh && migrate_begin());
	cr_assert(get_page_unless_zero(page));
	migrate_page(page, fresh);
	migrate_end();
}

/* One trap meets the entry of a page on the move, and waits until it is there, whatever wakes it. */
Test(races_smp, a_page_on_the_move_for_long, .timeout = 60)
{
	const struct fault_info fi = {.addr = AT(0), .access = FAULT_READ, .user = true};

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 5);
	waits_wanted = 3000;
	cr_assert_eq(fake_cpu_start(1, moves_page, pfn_to_page(PFN(pfn_at(AT(0))))), 0);
	while (!__atomic_load_n(&copying, __ATOMIC_SEQ_CST))
		hal_cpu_relax();
	quire_page_fault(cur, &fi, &last);
	cr_assert_eq(last.outcome, QUIRE_FAULT_DONE);
	cr_expect(present_at(AT(0)), "the fault waited for less than the move");
	fake_cpu_join(1);
	copying = false;
	cr_expect_geq(waits, 3000);
	cr_expect_eq(load_at(AT(0)), 5);
	space_down();
}

/* Each trap meets the page on another move of it. None of them is an access that faults for ever. */
Test(races_smp, a_page_that_moves_often, .timeout = 60)
{
	const struct fault_info fi = {.addr = AT(0), .access = FAULT_READ, .user = true};

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 5);
	waits_wanted = 1;
	for (unsigned i = 0; i < 1100; i++) {
		waits = 0;
		cr_assert_eq(fake_cpu_start(1, moves_page, pfn_to_page(PFN(pfn_at(AT(0))))), 0);
		while (!__atomic_load_n(&copying, __ATOMIC_SEQ_CST))
			hal_cpu_relax();
		quire_page_fault(cur, &fi, &last);
		cr_assert_eq(last.outcome, QUIRE_FAULT_DONE);
		cr_assert_geq(waits, 1);
		fake_cpu_join(1);
		copying = false;
	}
	cr_expect_eq(load_at(AT(0)), 5);
	space_down();
}

/* ---- two gathers of one space -------------------------------------------------------------------- */

static unsigned points_left;
static bool preempts, second_ran, stale;

void os_preempt(int delta)
{
	irqflags_t f;

	if (!preempts || delta > 0 || hal_irqs_off())
		return;
	f = hal_irq_save();
	hal_irq_restore(f); /* where an interrupt is heard */
}

static bool point_reached(void)
{
	return points_left && !lockdep_depth() && --points_left == 0;
}

/* CPU 1 gives the page back as well, finds nothing there, and returns to its program. */
static void second_dontneed(void)
{
	struct cached *c;

	preempts = false;
	second_ran = true;
	fake_cpu_switch(1);
	cr_assert_eq(quire_madvise(cur, AT(0), PS, DONTNEED), 0);
	c = tlb_find(&mm_now()->arch.fs->tlb[1], AT(0), 0, CACHED_LEAF);
	if (c && c->d.r && fake_user_phys(AT(0)) == UINT64_MAX)
		stale = true;
	fake_cpu_switch(0);
	preempts = true;
}

static void run_on_both(struct quire_mm *mm)
{
	irqflags_t f;

	fake_cpu_switch(1);
	f = hal_irq_save();
	quire_mm_switch(mm);
	hal_irq_restore(f);
	if (mm)
		cr_assert_eq(load_at(AT(0)), 7);
	fake_cpu_switch(0);
}

Test(races_smp, given_back_by_two, .timeout = 60)
{
	unsigned n = 0;

	do {
		space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
		mmap_at(AT(0), 1, RW, PRIV | FIX);
		store_at(AT(0), 7);
		run_on_both(cur);
		second_ran = stale = false;
		points_left = ++n;
		machine.timer_expired = point_reached;
		machine.on_timer = second_dontneed;
		preempts = true;
		cr_assert_eq(quire_madvise(cur, AT(0), PS, DONTNEED), 0);
		preempts = false;
		machine.timer_expired = NULL;
		points_left = 0;
		cr_expect_not(stale, "point %u: CPU 1 still reads the page that is gone", n);
		run_on_both(NULL);
		space_down();
	} while (second_ran);
	cr_assert_gt(n, 2);
}
