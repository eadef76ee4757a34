/* SPDX-License-Identifier: MIT */
/*
 * arch/common/asid.c on its own, with no machine: what another CPU sees in the middle of a step. The
 * allocator asks hal_cpu_count() within a roll-over, after the generation has changed and before each
 * look at what a CPU runs; so this is where the tests come in.
 */
#include <criterion/criterion.h>

#include "arch/fake/arch.h"

struct arch_space *mmu_running[ARCH_CPUS_MAX];

static unsigned cpu, fenced_asid, fenced_all, fenced_i;
static uint64_t fenced_i_others;
static void (*in_between)(void);

unsigned hal_cpu_id(void)
{
	return cpu;
}

unsigned hal_cpu_count(void)
{
	if (in_between)
		in_between();
	return 4;
}

irqflags_t hal_irq_save(void)
{
	return 0;
}

void hal_irq_restore(irqflags_t flags)
{
}

void hal_cpu_relax(void)
{
}

void arch_root_load(pfn_t root, uint32_t asid)
{
}

void arch_fence_asid(uint32_t asid)
{
	fenced_asid = asid;
}

void arch_flush_all(void)
{
	fenced_all++;
}

void arch_fence_i(void)
{
	fenced_i++;
}

void arch_fence_i_others(uint64_t cpus)
{
	fenced_i_others = cpus;
}

static void load(unsigned on, struct arch_space *s)
{
	cpu = on;
	mmu_running[cpu] = s;
	asid_load(s, PFN(1));
}

static void start(unsigned bits)
{
	asid_start(bits);
	fenced_asid = fenced_all = fenced_i = 0;
	fenced_i_others = 0;
	for (unsigned c = 0; c < ARCH_CPUS_MAX; c++)
		mmu_running[c] = NULL;
}

static struct arch_space runs_on_3 = {.user = true};
static unsigned looks, looked_old;

static void flush_in_between(void)
{
	const struct arch_space same = {.generation = runs_on_3.generation, .user = true};

	looks++;
	in_between = NULL; /* asid_cached() asks, too */
	looked_old += !asid_cached(&same); /* nobody runs this one */
	cr_assert(asid_cached(&runs_on_3), "a flush would leave out a space that runs");
	in_between = flush_in_between;
}

Test(asid, a_space_that_runs_is_flushed_in_the_middle_of_a_roll_over)
{
	struct arch_space s[12] = {0};

	start(3);
	load(3, &runs_on_3);
	in_between = flush_in_between;
	for (unsigned i = 0; i < 12; i++)
		load(0, &s[i]);
	in_between = NULL;
	cr_assert_gt(looks, 0);
	cr_assert_gt(looked_old, 0, "there was no such moment");
	cr_assert(asid_cached(&runs_on_3));
	cr_assert_not(asid_cached(&s[0]), "nobody runs it, and its identifier is old");
}

Test(asid, identifiers_roll_over_and_what_runs_keeps_its_own)
{
	struct arch_space stays = {0}, s[40] = {0};
	uint32_t first;

	start(3);
	load(1, &stays);
	first = stays.asid;
	for (unsigned i = 0; i < 40; i++) {
		load(0, &s[i]);
		cr_assert(s[i].asid && s[i].asid < 8);
		cr_assert_neq(s[i].asid, stays.asid);
	}
	cr_assert_eq(stays.asid, first);
	cr_assert_gt(s[39].generation, 5);
	cr_assert_gt(fenced_all, 0);
	fenced_all = 0;
	load(1, &s[39]);
	load(1, &stays);
	cr_assert_eq(fenced_all, 1, "a CPU forgets old identifiers once");
}

Test(asid, who_is_told_later_makes_up_for_it)
{
	struct arch_space s = {.user = true};

	start(3);
	load(2, &s);
	load(1, &s);
	load(1, NULL);
	cr_assert_eq(asid_note_stale(&s.stale, 0xe, &s), 4, "the one that runs it is told now");
	fenced_asid = 0;
	load(1, &s);
	cr_assert_eq(fenced_asid, s.asid);
	fenced_asid = 0;
	load(1, NULL);
	load(1, &s);
	cr_assert_eq(fenced_asid, 0, "once");
}

Test(asid, fetches_are_fenced_now_or_later)
{
	struct arch_space s = {.user = true};

	start(0);
	load(1, &s);
	cpu = 0;
	asid_icache_sync(0xf);
	cr_assert_eq(fenced_i, 1);
	cr_assert_eq(fenced_i_others, 2, "the one that runs a program");
	load(2, NULL);
	cr_assert_eq(fenced_i, 1, "none is needed for the kernel's own space");
	load(2, &s);
	cr_assert_eq(fenced_i, 2);
}

Test(asid, too_few_are_none)
{
	cr_assert_eq(asid_usable(3, 4), 3);
	cr_assert_eq(asid_usable(2, 4), 0);
	cr_assert_eq(asid_usable(16, 16), 16);
	cr_assert_eq(asid_usable(0, 1), 0);
}
