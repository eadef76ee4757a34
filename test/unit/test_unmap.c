/* SPDX-License-Identifier: MIT */
/*
 * Reclaim takes entries away and flushes for many pages at once. Two CPUs run the space: the first
 * reclaims, the second goes on with the translations that it has. It gets in at the first point where it
 * could, then at the second, and so on until there is none left.
 */
#include "space.h"

#include "arch/fake/machine.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/reclaim/shrink.h"
#include "mm/rmap/rmap.h"
#include "mm/swap/swap.h"

#include "swapdev.h"

enum { MADVISE_DONTNEED = 4, MADVISE_FREE = 8, PAGES = 6 };
#define TAG(n) (0x5a00 + (uint64_t)(n))

static struct swapdev dev;
static unsigned points_left;
static bool preempts, reached;
static void (*second)(void);
static uint64_t held[PAGES]; /* what each page holds */
static struct quire_mm *child, *other;

void os_preempt(int delta);

void os_preempt(int delta)
{
	irqflags_t f;

	if (!preempts || delta > 0 || hal_irqs_off())
		return;
	f = hal_irq_save();
	hal_irq_restore(f); /* where an interrupt is heard */
}

/* One host thread plays both: who waited would wait for ever. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	cr_assert_fail("a wait for what the other CPU holds");
}

uintptr_t os_thread_id(void)
{
	return hal_cpu_id() + 1;
}

static struct cached *kept_by_second(uintptr_t a)
{
	return cur ? tlb_find(&mm_now()->arch.fs->tlb[1], a, 0, CACHED_LEAF) : NULL;
}

static bool entry_gone(uintptr_t a)
{
	pte_t *pte = pt_find(mm_now(), a);

	return !pte || !pte_present(pte_get(pte));
}

/* What the second CPU keeps of an entry that is gone leads to a locked page. */
static void stale_leads_to_locked(void)
{
	for (uintptr_t a = AT(0); a < AT(PAGES); a += PS) {
		struct cached *c = kept_by_second(a);

		if (c && c->d.r && entry_gone(a))
			cr_assert(page_test(pfn_to_page(c->d.pfn), PG_locked), "page %lu",
				  (unsigned long)((a - AT(0)) / PS));
	}
}

static bool free_to_act(void)
{
	struct vm_area_struct *vma = mm_now()->mmap;

	return !rwsem_is_locked(&mm_now()->mmap_lock) &&
	       !(vma && vma->anon_vma && rwsem_is_locked(&vma->anon_vma->root->rwsem));
}

static bool point_reached(void)
{
	if (!preempts || !points_left || lockdep_depth() || !cur)
		return false;
	preempts = false;
	stale_leads_to_locked();
	preempts = true;
	return free_to_act() && --points_left == 0;
}

static void second_gets_in(void)
{
	preempts = false;
	reached = true;
	fake_cpu_switch(1);
	second();
	fake_cpu_switch(0);
	preempts = true;
}

static void run_on(unsigned cpu, struct quire_mm *mm)
{
	irqflags_t f;

	fake_cpu_switch(cpu);
	f = hal_irq_save();
	quire_mm_switch(mm);
	hal_irq_restore(f);
	fake_cpu_switch(0);
}

static void up(void)
{
	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2});
	swapdev_init(&dev, 0, 2000);
	cr_assert_eq(quire_swapon(&dev.dev, NULL, 0), 0);
	mmap_at(AT(0), PAGES, RW, PRIV | FIX);
	run_on(1, cur);
	fake_cpu_switch(1);
	for (unsigned i = 0; i < PAGES; i++)
		cr_assert_eq(store_at(AT(i), held[i] = TAG(i)), 0);
	fake_cpu_switch(0);
}

static void down(void)
{
	if (cur)
		run_on(1, NULL);
	swapdev_scan_cached(&dev);
	space_down();
	swapdev_free(&dev);
}

/* Reclaims all of them in one batch, as a scan would: nobody's mmap_lock is held. */
static void reclaim(void)
{
	struct list_head pages = LIST_HEAD_INIT(pages);

	for (unsigned i = PAGES; i--;) {
		struct page *page = pfn_to_page(PFN(pfn_at(AT(i))));

		cr_assert(isolate_lru_page(page));
		list_add(&page->lru, &pages);
	}
	preempts = true;
	reclaim_pages(&pages);
	preempts = false;
}

static unsigned explore(void (*setup)(void), void (*act)(void), void (*then)(void))
{
	unsigned n = 0;

	do {
		up();
		if (setup)
			setup();
		second = act;
		reached = false;
		points_left = ++n;
		machine.timer_expired = point_reached;
		machine.on_timer = second_gets_in;
		reclaim();
		machine.timer_expired = NULL;
		points_left = 0;
		if (reached && then)
			then();
		if (cur)
			check_now();
		down();
	} while (reached);
	cr_assert_gt(n, 5, "only %u points where it could get in", n);
	return n - 1;
}

/* ---- what the second CPU does ------------------------------------------------------------------ */

/* Writes to each page through what it keeps, as the processor would; where it keeps nothing it would
 * fault, and wait. */
static void writes(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		struct cached *c = kept_by_second(AT(i));

		if (c && c->d.w && c->d.dirty)
			*(uint64_t *)hal_phys_to_virt(c->d.pfn.n << PAGE_SHIFT) = ++held[i];
	}
}

static void all_is_there(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		cr_expect_eq(load_at(AT(i)), held[i], "page %u", i);
}

Test(unmap, nothing_written_meanwhile_is_lost, .timeout = 60)
{
	explore(NULL, writes, all_is_there);
}

/* The page is clean: its slot holds the contents, and is not written again. */
static void clean_with_a_slot(void)
{
	reclaim();
	all_is_there();
	for (unsigned i = 0; i < PAGES; i++) {
		run_on(0, cur);
		cr_assert_eq(load_at(AT(i)), held[i]);
	}
	fake_cpu_switch(1);
	all_is_there();
	fake_cpu_switch(0);
}

Test(unmap, nor_to_a_clean_page, .timeout = 60)
{
	explore(clean_with_a_slot, writes, all_is_there);
}

static void keeps_nothing(bool writable_only)
{
	for (unsigned i = 0; i < PAGES; i++) {
		struct cached *c = kept_by_second(AT(i));

		cr_assert(!c || !(writable_only ? c->d.w : c->d.r), "page %u", i);
	}
}

static void unmaps(void)
{
	cr_assert_eq(quire_munmap(cur, AT(0), PAGES * PS), 0);
	keeps_nothing(false);
}

Test(unmap, munmap_flushes_first, .timeout = 60)
{
	explore(NULL, unmaps, NULL);
}

static void gives_back(void)
{
	cr_assert_eq(quire_madvise(cur, AT(0), PAGES * PS, MADVISE_DONTNEED), 0);
	keeps_nothing(false);
}

Test(unmap, dontneed_flushes_first, .timeout = 60)
{
	explore(NULL, gives_back, NULL);
}

static void protects(void)
{
	cr_assert_eq(quire_mprotect(cur, AT(0), PAGES * PS, PROT_READ), 0);
	keeps_nothing(true);
}

Test(unmap, mprotect_flushes_first, .timeout = 60)
{
	explore(NULL, protects, all_is_there);
}

static void moves(void)
{
	cr_assert_eq(quire_mremap(cur, AT(0), PAGES * PS, PAGES * PS, 1 | 2, AT(32)), (long)AT(32));
	keeps_nothing(false);
}

static void all_is_moved(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		cr_expect_eq(load_at(AT(32 + i)), held[i], "page %u", i);
}

Test(unmap, mremap_flushes_first, .timeout = 60)
{
	explore(NULL, moves, all_is_moved);
}

/* What the parent writes after the fork is not the child's. */
static void forks(void)
{
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	keeps_nothing(true);
}

static void child_has_all(void)
{
	struct quire_mm *parent = cur;

	run_on(0, child);
	cur = child;
	all_is_there();
	cur = parent;
	run_on(0, cur);
	quire_mm_put(child);
	all_is_there();
}

Test(unmap, fork_flushes_first, .timeout = 60)
{
	explore(NULL, forks, child_has_all);
}

/* The last user goes; what is left of the space the batch holds. */
static void exits(void)
{
	struct quire_mm *mm = cur;

	run_on(1, NULL);
	cur = NULL;
	quire_mm_put(mm);
}

static void in_another_space(void)
{
	if (!other)
		other = quire_mm_create(&(struct quire_mm_params){0});
	cr_assert(other);
	run_on(0, other);
}

static void other_goes(void)
{
	run_on(0, NULL);
	quire_mm_put(other);
	other = NULL;
}

Test(unmap, a_space_that_ends, .timeout = 60)
{
	unsigned n = 0;

	do {
		up();
		in_another_space();
		second = exits;
		reached = false;
		points_left = ++n;
		machine.timer_expired = point_reached;
		machine.on_timer = second_gets_in;
		reclaim();
		machine.timer_expired = NULL;
		points_left = 0;
		other_goes();
		if (cur)
			run_on(0, cur);
		cr_expect_eq(fake_tlb_audit(), 0);
		down();
	} while (reached);
	cr_assert_gt(n, 8);
}

/* ---- what is flushed at once -------------------------------------------------------------------- */

static void given_up(void)
{
	cr_assert_eq(madvise_at(AT(0), PAGES, MADVISE_FREE), 0);
	fake_cpu_switch(1);
	all_is_there();
	fake_cpu_switch(0);
}

/* A fault would give the second thread a page of zeros, and the first still read the old one. */
static void empty_is_flushed(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		cr_assert(!kept_by_second(AT(i)) || !entry_gone(AT(i)), "page %u", i);
}

Test(unmap, what_was_given_up_is_flushed_at_once, .timeout = 60)
{
	explore(given_up, empty_is_flushed, NULL);
}

/* ---- how often ---------------------------------------------------------------------------------- */

Test(unmap, one_flush_for_a_batch)
{
	uint64_t entries, flushes;

	up();
	entries = sum_vm_event(UNMAP_ENTRIES);
	flushes = sum_vm_event(UNMAP_FLUSHES);
	reclaim();
	cr_expect_eq(sum_vm_event(UNMAP_ENTRIES) - entries, PAGES);
	cr_expect_eq(sum_vm_event(UNMAP_FLUSHES) - flushes, 1);
	cr_expect_eq(mm_now()->tlb_flush_batched, 0);
	cr_expect_eq(dev.writes, PAGES);
	all_is_there();
	down();
}

/* More spaces than a batch has room for. */
Test(unmap, a_page_of_many_spaces)
{
	struct quire_mm *children[UNMAP_SPACES + 3];
	uint64_t flushes;

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
		cr_assert_eq(quire_mm_fork(cur, NULL, &children[i]), 0);
	flushes = sum_vm_event(UNMAP_FLUSHES);
	reclaim();
	cr_expect_eq(sum_vm_event(UNMAP_FLUSHES) - flushes,
		     UNMAP_SPACES + (ARRAY_SIZE(children) + 1 - UNMAP_SPACES) * PAGES);
	for (unsigned i = 0; i < ARRAY_SIZE(children); i++) {
		cr_expect_eq(get_mm_counter(to_mm(children[i]), MM_SWAPENTS), PAGES);
		quire_mm_put(children[i]);
	}
	all_is_there();
	down();
}
