/* SPDX-License-Identifier: MIT */
/*
 * The machine in software watches its caller: every accusation is provoked here by breaking one
 * rule, and seen; beside each stands the same thing done rightly, which is not accused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/fake.h"
#include "lib/mutex.h"
#include "lib/spinlock.h"

#define PAGE	((uintptr_t)1 << ARCH_PAGE_SHIFT)
#define ENTRIES (1u << ARCH_INDEX_BITS)
#define VA	(1ull << 32)

static struct arch_space space;
static uint64_t next_pfn;
static enum fake_accusation heard;
static unsigned hearings;

static void hear(enum fake_accusation what, const char *msg, void *ctx)
{
	heard = what;
	hearings++;
}

/* Exactly one accusation since the last look, and of that kind. */
static bool accused_of(enum fake_accusation what)
{
	bool yes = hearings == 1 && heard == what;

	if (!yes)
		cr_log_error("%u accusations, the last %s: %s", hearings, fake_accusation_name(heard),
			     fake_last_accusation());
	hearings = 0;
	return yes;
}

static bool innocent(void)
{
	if (hearings)
		cr_log_error("%s: %s", fake_accusation_name(heard), fake_last_accusation());
	return hearings == 0;
}

static pfn_t page(void)
{
	pfn_t pfn = PFN(next_pfn++);

	hal_unpoison(hal_phys_to_virt(pfn.n << ARCH_PAGE_SHIFT), PAGE);
	hal_clear_page(hal_phys_to_virt(pfn.n << ARCH_PAGE_SHIFT));
	return pfn;
}

static void *kva(pfn_t pfn)
{
	return hal_phys_to_virt(pfn.n << ARCH_PAGE_SHIFT);
}

static void give_back(pfn_t pfn)
{
	hal_poison(kva(pfn), PAGE);
}

static pteval_t *slot(struct arch_space *s, uintptr_t va, unsigned level)
{
	pfn_t table = s->root;

	for (unsigned l = hal_mmu_info()->levels - 1;; l--) {
		unsigned at = va >> (ARCH_PAGE_SHIFT + l * ARCH_INDEX_BITS) & (ENTRIES - 1);
		pteval_t *e = (pteval_t *)kva(table) + at;
		struct pte_desc d;

		if (l == level)
			return e;
		d = arch_pte_decode(hal_pte_get(e), l);
		if (d.kind == PTE_NONE) {
			d = (struct pte_desc){.kind = PTE_TABLE, .pfn = page()};
			hal_pte_set(e, arch_pte_encode(d, l));
			hal_pt_published(s, va);
		}
		table = d.pfn;
	}
}

static struct pte_desc leaf(pfn_t pfn)
{
	return (struct pte_desc){.kind = PTE_LEAF, .pfn = pfn, .r = true, .w = true, .user = true,
				 .accessed = true, .dirty = true};
}

static void set(uintptr_t va, struct pte_desc d)
{
	hal_pte_set(slot(&space, va, 0), arch_pte_encode(d, 0));
	hal_pt_published(&space, va);
}

static pfn_t map(uintptr_t va)
{
	pfn_t pfn = page();

	set(va, leaf(pfn));
	return pfn;
}

static void flush(uintptr_t va)
{
	hal_tlb_flush(&space, va, va + PAGE, 0, false);
}

static void run_space(struct arch_space *s)
{
	irqflags_t flags = hal_irq_save();

	hal_space_switch(s);
	hal_irq_restore(flags);
}

static bool touch(uintptr_t va)
{
	uint64_t v;

	return fake_user_load(va, 8, &v, NULL);
}

static void start_with(struct fake_config cfg)
{
	hearings = 0;
	next_pfn = (4ull << 20) >> ARCH_PAGE_SHIFT;
	fake_on_accusation(hear, NULL);
	cr_assert_eq(fake_machine_create(&cfg), 0);
	cr_assert_eq(hal_space_init(&space, page(), true), 0);
	run_space(&space);
}

static void start(void)
{
	start_with((struct fake_config){.ram = 64 << 20});
}

static void stop(void)
{
	run_space(NULL);
	hal_space_destroy(&space);
	fake_machine_destroy();
}

TestSuite(fake, .init = start, .fini = stop);
/* these make their own machine */
TestSuite(fake_own, .fini = stop);

/* ---- stale translations ---------------------------------------------------------------------- */

Test(fake, frame_freed_with_a_cached_translation)
{
	pfn_t pfn = map(VA);

	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	give_back(pfn); /* before the flush */
	cr_assert(accused_of(FAKE_STALE_FREE));
}

Test(fake, frame_freed_after_the_flush)
{
	pfn_t pfn = map(VA);

	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	flush(VA);
	give_back(pfn);
	cr_assert(innocent());
}

Test(fake, never_used_translation_needs_no_flush)
{
	pfn_t pfn = map(VA);

	hal_pte_xchg(slot(&space, VA, 0), 0);
	give_back(pfn);
	cr_assert(innocent());
}

Test(fake, table_freed_with_a_cached_pointer)
{
	uint64_t table;

	map(VA);
	cr_assert(touch(VA));
	table = arch_pte_decode(hal_pte_get(slot(&space, VA, 1)), 1).pfn.n;
	hal_pte_xchg(slot(&space, VA, 0), 0);
	hal_pte_xchg(slot(&space, VA, 1), 0);
	flush(VA); /* leaves only: it does not say that tables went */
	give_back(PFN(table));
	cr_assert(accused_of(FAKE_STALE_FREE));
}

Test(fake, table_freed_and_said_so)
{
	uint64_t table;

	map(VA);
	cr_assert(touch(VA));
	table = arch_pte_decode(hal_pte_get(slot(&space, VA, 1)), 1).pfn.n;
	hal_pte_xchg(slot(&space, VA, 0), 0);
	hal_pte_xchg(slot(&space, VA, 1), 0);
	hal_tlb_flush(&space, VA, VA + PAGE, 0, true);
	give_back(PFN(table));
	cr_assert(innocent());
}

Test(fake, unmapped_but_not_flushed_at_return)
{
	map(VA);
	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	cr_assert_eq(fake_tlb_audit(), 1);
	fake_core_returned();
	cr_assert(accused_of(FAKE_STALE_RETURN));
}

Test(fake, write_protected_but_not_flushed)
{
	map(VA);
	cr_assert(fake_user_store(VA, 8, 1, NULL));
	hal_pte_wrprotect(slot(&space, VA, 0), 0);
	fake_core_returned();
	cr_assert(accused_of(FAKE_STALE_RETURN));
}

Test(fake, accessed_bit_cleared_needs_no_flush)
{
	map(VA);
	cr_assert(touch(VA));
	hal_pte_clear_accessed(slot(&space, VA, 0), 0);
	fake_core_returned();
	cr_assert(innocent());
}

Test(fake, more_rights_need_no_flush)
{
	struct pte_desc d = leaf(page());

	d.w = d.dirty = false;
	set(VA, d);
	cr_assert(touch(VA));
	d.w = d.dirty = true;
	set(VA, d);
	fake_core_returned();
	cr_assert(fake_user_store(VA, 8, 1, NULL));
	cr_assert(innocent());
}

Test(fake, dirty_taken_away_but_not_flushed)
{
	struct pte_desc d = leaf(page());

	set(VA, d);
	cr_assert(fake_user_store(VA, 8, 1, NULL));
	d.dirty = false; /* later writes would not set it */
	set(VA, d);
	fake_core_returned();
	cr_assert(accused_of(FAKE_STALE_RETURN));
}

/* Copy-on-write without a flush: the fault does not make the CPU forget what it cached. */
Test(fake, frame_replaced_after_a_fault_on_it)
{
	struct pte_desc d = leaf(page());
	pfn_t old = d.pfn;

	d.w = d.dirty = false;
	set(VA, d);
	cr_assert(touch(VA));
	cr_assert_not(fake_user_store(VA, 8, 1, NULL));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	set(VA, leaf(page()));
	cr_assert_eq(fake_tlb_audit(), 1);
	give_back(old);
	cr_assert(accused_of(FAKE_STALE_FREE));
}

Test(fake, user_mode_entered_with_a_stale_translation)
{
	map(VA);
	map(VA + PAGE);
	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	touch(VA + PAGE);
	cr_assert(accused_of(FAKE_STALE_USER));
}

Test(fake, flush_of_the_wrong_page_does_not_help)
{
	map(VA);
	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	flush(VA + PAGE);
	fake_core_returned();
	cr_assert(accused_of(FAKE_STALE_RETURN));
}

Test(fake, flush_of_the_wrong_level_does_not_help)
{
	map(VA);
	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	hal_tlb_flush(&space, VA, VA + PAGE, 1, false);
	fake_core_returned();
	cr_assert(accused_of(FAKE_STALE_RETURN));
}

Test(fake_own, another_cpu_keeps_what_it_cached)
{
	start_with((struct fake_config){.ram = 64 << 20, .cpus = 2});
	map(VA);
	fake_cpu_switch(1);
	run_space(&space);
	cr_assert(touch(VA));
	fake_cpu_switch(0);
	cr_assert_eq(fake_tlb_held(0, &space), 0);
	cr_assert_gt(fake_tlb_held(1, &space), 0);
	hal_pte_xchg(slot(&space, VA, 0), 0);
	fake_core_returned();
	cr_assert(accused_of(FAKE_STALE_RETURN));
	/* done rightly, the flush reaches the other CPU */
	map(VA);
	fake_cpu_switch(1);
	cr_assert(touch(VA));
	fake_cpu_switch(0);
	hal_pte_xchg(slot(&space, VA, 0), 0);
	flush(VA);
	fake_core_returned();
	cr_assert(innocent());
	fake_cpu_switch(1);
	run_space(NULL);
	fake_cpu_switch(0);
}

Test(fake_own, asids_keep_translations_over_a_switch)
{
	start_with((struct fake_config){.ram = 64 << 20, .with_asids = true});
	map(VA);
	cr_assert(touch(VA));
	run_space(NULL);
	cr_assert_gt(fake_tlb_held(0, &space), 0);
	hal_pte_xchg(slot(&space, VA, 0), 0);
	fake_core_returned();
	cr_assert(accused_of(FAKE_STALE_RETURN));
}

/* Two spaces by one identifier: the second would read through what was cached of the first. */
Test(fake_own, an_identifier_of_two_spaces)
{
	struct arch_space other;

	start_with((struct fake_config){.ram = 64 << 20, .with_asids = true, .asid_bits = 2});
	map(VA);
	cr_assert(touch(VA));
	cr_assert_eq(hal_space_init(&other, page(), true), 0);
	run_space(&other);
	cr_assert_eq(hearings, 0);
	run_space(NULL);
	other.asid = space.asid;
	run_space(&other);
	cr_assert(accused_of(FAKE_ASID));
}

/* With two bits they are given out anew all the time, and nothing old is met. */
Test(fake_own, identifiers_roll_over)
{
	struct arch_space other[8];

	start_with((struct fake_config){.ram = 64 << 20, .with_asids = true, .asid_bits = 2});
	map(VA);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(hal_space_init(&other[i], page(), true), 0);
	for (unsigned i = 0; i < 40; i++) {
		run_space(&space);
		cr_assert(touch(VA));
		run_space(&other[i * 3 % 8]);
		cr_assert_not(touch(VA));
	}
	cr_assert_eq(hearings, 0);
}

Test(fake, without_asids_a_switch_forgets)
{
	map(VA);
	cr_assert(touch(VA));
	run_space(NULL);
	cr_assert_eq(fake_tlb_held(0, &space), 0);
}

/* ---- bits that the hardware sets -------------------------------------------------------------- */

Test(fake, plain_store_over_a_live_entry)
{
	struct pte_desc clean = leaf(page()), dirty = clean, ro = clean;

	clean.dirty = ro.dirty = ro.w = false;
	map(VA);
	hal_pte_xchg(slot(&space, VA, 0), 0);
	set(VA, clean);
	set(VA, ro);
	cr_assert(accused_of(FAKE_LOST_BITS), "a write before the store would be forgotten");
	set(VA, clean);
	cr_assert_eq(hearings, 0, "a read-only entry cannot become dirty");
	set(VA, dirty);
	cr_assert_eq(hearings, 0, "the new entry is dirty itself");
	set(VA, ro);
	cr_assert_eq(hearings, 0, "the bits were set already: the caller saw them");
	hal_pte_xchg(slot(&space, VA, 0), 0);
	flush(VA);
}

/* ---- break before make ----------------------------------------------------------------------- */

Test(fake_own, live_frame_changed_at_once)
{
	start_with((struct fake_config){.ram = 64 << 20, .needs_bbm = true});
	map(VA);
	set(VA, leaf(page()));
	cr_assert(accused_of(FAKE_NO_BBM));
}

Test(fake_own, made_before_the_flush)
{
	start_with((struct fake_config){.ram = 64 << 20, .needs_bbm = true});
	map(VA);
	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	set(VA, leaf(page()));
	cr_assert(accused_of(FAKE_NO_BBM));
	flush(VA);
}

Test(fake_own, broken_flushed_and_made)
{
	pfn_t pfn;

	start_with((struct fake_config){.ram = 64 << 20, .needs_bbm = true});
	pfn = map(VA);
	cr_assert(touch(VA));
	hal_pte_xchg(slot(&space, VA, 0), 0);
	flush(VA);
	set(VA, leaf(page()));
	/* other rights for the same frame may change in place */
	hal_pte_wrprotect(slot(&space, VA, 0), 0);
	give_back(pfn);
	cr_assert(innocent());
}

/* ---- frames ---------------------------------------------------------------------------------- */

Test(fake, frame_freed_while_mapped)
{
	pfn_t pfn = map(VA);

	cr_assert_eq(fake_frame_mapped(pfn), 1);
	give_back(pfn);
	cr_assert(accused_of(FAKE_FREED_MAPPED));
}

Test(fake, frame_freed_while_prot_none)
{
	pfn_t pfn = page();

	set(VA, (struct pte_desc){.kind = PTE_PROTNONE, .pfn = pfn});
	give_back(pfn);
	cr_assert(accused_of(FAKE_FREED_MAPPED));
}

Test(fake, frame_freed_while_mapped_in_the_kernel)
{
	pfn_t pfn = page();
	uintptr_t va = hal_kernel_layout()->vmalloc_base;

	cr_assert_eq(hal_kernel_map(va, pfn, 1, KMAP_R, MT_WB, NULL, NULL), 0);
	give_back(pfn);
	cr_assert(accused_of(FAKE_FREED_MAPPED));
	hal_kernel_unmap(va, 1);
	hal_kernel_flush(va, va + PAGE);
}

/* Unmapped, but a CPU may have it cached: the frame is not free, the address not either. */
Test(fake, kernel_page_reused_before_the_flush)
{
	pfn_t pfn = page();
	uintptr_t va = hal_kernel_layout()->vmalloc_base + 4 * PAGE;

	cr_assert_eq(hal_kernel_map(va, pfn, 1, KMAP_R, MT_WB, NULL, NULL), 0);
	hal_kernel_unmap(va, 1);
	hal_kernel_flush(va - PAGE, va); /* beside it */
	give_back(pfn);
	cr_assert(accused_of(FAKE_FREED_MAPPED));
	cr_assert_neq(hal_kernel_map(va, page(), 1, KMAP_R, MT_WB, NULL, NULL), 0);
	cr_assert(accused_of(FAKE_BAD_CALL));
	hal_kernel_flush(va, va + PAGE);
	cr_assert_eq(hal_kernel_map(va, page(), 1, KMAP_R, MT_WB, NULL, NULL), 0);
	hal_kernel_unmap(va, 1);
	hal_kernel_flush(va, va + PAGE);
}

Test(fake, table_freed_while_linked)
{
	pfn_t table;

	slot(&space, VA, 0);
	table = arch_pte_decode(hal_pte_get(slot(&space, VA, 1)), 1).pfn;
	give_back(table);
	cr_assert(accused_of(FAKE_FREED_TABLE));
	hal_unpoison(kva(table), PAGE); /* so that the table can be read again */
	hearings = 0;
}

Test(fake, frame_handed_out_twice)
{
	pfn_t pfn = map(VA);

	hal_unpoison(kva(pfn), PAGE);
	cr_assert(accused_of(FAKE_TAKEN_MAPPED));
}

Test(fake, a_table_filled_before_it_is_linked_counts)
{
	pfn_t table = page(), pfn = page();
	pteval_t *e = (pteval_t *)kva(table);

	hal_pte_set(e, arch_pte_encode(leaf(pfn), 0));
	cr_assert_eq(fake_frame_mapped(pfn), 0);
	hal_pte_set(slot(&space, VA, 1),
		    arch_pte_encode((struct pte_desc){.kind = PTE_TABLE, .pfn = table}, 1));
	cr_assert_eq(fake_frame_mapped(pfn), 1);
	hal_pte_xchg(slot(&space, VA, 1), 0);
	cr_assert_eq(fake_frame_mapped(pfn), 0);
	cr_assert(innocent());
}

/* ---- code ------------------------------------------------------------------------------------ */

static struct pte_desc code(pfn_t pfn)
{
	struct pte_desc d = leaf(pfn);

	d.w = d.dirty = false;
	d.x = true;
	return d;
}

Test(fake, code_published_without_synchronising)
{
	pfn_t pfn = page();

	memset(kva(pfn), 0xc3, 64);
	set(VA, code(pfn));
	cr_assert(accused_of(FAKE_ICACHE));
}

Test(fake, code_changed_after_synchronising)
{
	pfn_t pfn = page();

	memset(kva(pfn), 0xc3, 64);
	hal_icache_sync(kva(pfn), PAGE);
	memset(kva(pfn), 0x90, 64);
	set(VA, code(pfn));
	cr_assert(accused_of(FAKE_ICACHE));
}

Test(fake, code_synchronised)
{
	pfn_t pfn = page();

	memset(kva(pfn), 0xc3, 64);
	hal_icache_sync(kva(pfn), PAGE);
	set(VA, code(pfn));
	set(VA + PAGE, code(page())); /* zeros are no code */
	cr_assert(innocent());
}

/* ---- contexts -------------------------------------------------------------------------------- */

Test(fake, interrupt_state_restored_out_of_order)
{
	irqflags_t a = hal_irq_save(), b = hal_irq_save();

	hal_irq_restore(a);
	cr_assert(accused_of(FAKE_IRQ_ORDER));
	hal_irq_restore(b);
	hearings = 0;
	while (hal_irqs_off())
		hal_irq_restore(hal_irq_save() & ~1ul);
}

Test(fake, interrupt_state_restored_twice)
{
	irqflags_t a = hal_irq_save();

	hal_irq_restore(a);
	hal_irq_restore(a);
	cr_assert(accused_of(FAKE_IRQ_ORDER));
}

Test(fake, user_copy_with_interrupts_saved_off)
{
	irqflags_t flags = hal_irq_save();
	uint64_t v = 1;

	map(VA);
	hal_copy_to_user(VA, &v, 8);
	cr_assert(accused_of(FAKE_CONTEXT));
	hal_irq_restore(flags);
}

Test(fake, user_copy_under_a_spinlock)
{
	DEFINE_SPINLOCK(lock);
	uint64_t v = 1;

	map(VA);
	spin_lock(&lock);
	hal_copy_from_user(&v, VA, 8);
	spin_unlock(&lock);
	cr_assert(accused_of(FAKE_CONTEXT));
}

Test(fake, user_copy_with_a_mutex)
{
	DEFINE_MUTEX(m);
	uint64_t v = 1;

	map(VA);
	mutex_lock(&m);
	hal_copy_from_user(&v, VA, 8);
	mutex_unlock(&m);
	cr_assert(accused_of(FAKE_CONTEXT));
}

Test(fake, space_switched_with_interrupts_on)
{
	hal_space_switch(NULL);
	cr_assert(accused_of(FAKE_CONTEXT));
}

static void nothing(void *arg)
{
}

Test(fake_own, call_to_another_cpu_with_interrupts_off)
{
	irqflags_t flags;

	start_with((struct fake_config){.ram = 64 << 20, .cpus = 2});
	hal_ipi_call(3, nothing, NULL);
	cr_assert(innocent());
	flags = hal_irq_save();
	hal_ipi_call(1, nothing, NULL); /* oneself: nobody to wait for */
	cr_assert(innocent());
	hal_ipi_call(3, nothing, NULL);
	cr_assert(accused_of(FAKE_IPI_IRQS_OFF));
	hal_irq_restore(flags);
}

Test(fake_own, flush_that_needs_another_cpu_with_interrupts_off)
{
	irqflags_t flags;

	start_with((struct fake_config){.ram = 64 << 20, .cpus = 2});
	fake_cpu_switch(1);
	run_space(&space);
	fake_cpu_switch(0);
	flags = hal_irq_save();
	flush(VA);
	cr_assert(accused_of(FAKE_IPI_IRQS_OFF));
	hal_irq_restore(flags);
	fake_cpu_switch(1);
	run_space(NULL);
	fake_cpu_switch(0);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static bool without_publishing(const struct fault_info *fi, void *ctx)
{
	static pfn_t pfn;

	if (!pfn.n)
		pfn = page();
	hal_pte_set(slot(&space, fi->addr, 0), arch_pte_encode(leaf(pfn), 0));
	return true;
}

Test(fake_own, forgotten_publish_is_a_livelock)
{
	start_with((struct fake_config){.ram = 64 << 20, .caches_invalid = true});
	fake_on_fault(without_publishing, NULL);
	slot(&space, VA, 0);
	cr_assert_not(touch(VA));
	cr_assert(accused_of(FAKE_LIVELOCK));
	hal_pt_published(&space, VA);
	cr_assert(touch(VA));
}

Test(fake, forgotten_publish_does_no_harm_elsewhere)
{
	fake_on_fault(without_publishing, NULL);
	slot(&space, VA, 0);
	cr_assert(touch(VA));
	cr_assert(innocent());
}

Test(fake, corrupt_entry_is_told_as_such)
{
	struct fault_info fi;

	map(VA);
	/* by a stray write, not through the contract */
	*slot(&space, VA, 0) = arch_pte_encode((struct pte_desc){.kind = PTE_CORRUPT}, 0);
	cr_assert_not(fake_user_load(VA, 8, &(uint64_t){0}, &fi));
	cr_assert_eq(fi.kind, arch_pte_decode(*slot(&space, VA, 0), 0).kind == PTE_NONE ?
				      FAULT_TRANSLATION : FAULT_CORRUPT);
}

Test(fake, frame_that_is_not_there_is_a_bus_fault)
{
	struct fault_info fi;

	set(VA, leaf(PFN((1ull << 40) >> ARCH_PAGE_SHIFT)));
	cr_assert_not(fake_user_load(VA, 8, &(uint64_t){0}, &fi));
	cr_assert_eq(fi.kind, FAULT_BUS);
}

Test(fake, user_rights_are_checked)
{
	struct pte_desc d = leaf(page());
	struct fault_info fi;

	d.user = false;
	set(VA, d);
	cr_assert_not(fake_user_load(VA, 8, &(uint64_t){0}, &fi));
	cr_assert_eq(fi.raw_code, FAULT_CODE_USER | FAULT_CODE_PRESENT);
	d.user = true;
	d.w = false;
	set(VA, d);
	cr_assert(touch(VA));
	cr_assert_not(fake_user_store(VA, 8, 1, &fi));
	cr_assert_eq(fi.raw_code, FAULT_CODE_USER | FAULT_CODE_PRESENT | FAULT_CODE_WRITE);
	cr_assert_not(fake_user_fetch(VA, 2, &(uint64_t){0}, &fi));
	cr_assert_eq(fi.raw_code, FAULT_CODE_USER | FAULT_CODE_PRESENT | FAULT_CODE_FETCH);
	cr_assert(innocent());
}

Test(fake, an_access_over_a_page_border_needs_both)
{
	struct fault_info fi;
	uint64_t v;

	map(VA);
	cr_assert_not(fake_user_store(VA + PAGE - 3, 8, ~0ull, &fi));
	cr_assert_eq(fi.addr, VA + PAGE);
	cr_assert(fake_user_load(VA + PAGE - 8, 8, &v, NULL));
	cr_assert_eq(v, 0); /* nothing of it was written */
	map(VA + PAGE);
	cr_assert(fake_user_store(VA + PAGE - 3, 8, 0x1122334455667788ull, NULL));
	cr_assert(fake_user_load(VA + PAGE - 3, 8, &v, NULL));
	cr_assert_eq(v, 0x1122334455667788ull);
}

/* A page whose entry is corrupt is told from one that is in use. */
Test(fake, a_corrupt_kernel_entry)
{
	uintptr_t va = hal_kernel_layout()->vmalloc_base + 8 * PAGE;

	fake_corrupt_window(va + PAGE, true);
	cr_assert_eq(hal_kernel_map(va, page(), 1, KMAP_R, MT_WB, NULL, NULL), 0);
	hal_kernel_unmap(va, 1);
	hal_kernel_flush(va, va + PAGE);
	cr_assert_eq(hal_kernel_map(va, page(), 2, KMAP_R, MT_WB, NULL, NULL), -EUCLEAN);
	cr_assert(fake_window_phys(va) == UINT64_MAX);
	fake_corrupt_window(va + PAGE, false);
	cr_assert_eq(hal_kernel_map(va + PAGE, page(), 1, KMAP_R, MT_WB, NULL, NULL), 0);
	hal_kernel_unmap(va + PAGE, 1);
	hal_kernel_flush(va, va + 2 * PAGE);
	fake_corrupt_window(hal_kernel_layout()->vmalloc_base - PAGE, true);
	cr_assert(accused_of(FAKE_BAD_CALL));
}

/* ---- bad calls ------------------------------------------------------------------------------- */

Test(fake, bad_calls)
{
	uintptr_t va = hal_kernel_layout()->vmalloc_base;
	int on_the_stack;

	hal_virt_to_phys(&on_the_stack);
	cr_assert(accused_of(FAKE_BAD_CALL));
	cr_assert_neq(hal_kernel_map(va, page(), 1, KMAP_W | KMAP_X, MT_WB, NULL, NULL), 0);
	cr_assert(accused_of(FAKE_BAD_CALL));
	cr_assert_neq(hal_kernel_map(va + 1, page(), 1, KMAP_R, MT_WB, NULL, NULL), 0);
	cr_assert(accused_of(FAKE_BAD_CALL));
	cr_assert_eq(hal_kernel_map(va, page(), 1, KMAP_R, MT_WB, NULL, NULL), 0);
	cr_assert_neq(hal_kernel_map(va, page(), 1, KMAP_R, MT_WB, NULL, NULL), 0);
	cr_assert(accused_of(FAKE_BAD_CALL));
	hal_kernel_unmap(va, 1);
	hal_tlb_flush(&space, VA + PAGE, VA, 0, false);
	cr_assert(accused_of(FAKE_BAD_CALL));
}

/* ---- the machine itself ---------------------------------------------------------------------- */

static void sum_ram(const struct mem_range *r, void *ctx)
{
	if (r->kind == MEM_RAM)
		*(uint64_t *)ctx += r->end - r->start;
}

Test(fake_own, accidents_by_name)
{
	uint64_t ram = 0;

	start_with((struct fake_config){.ram = 64 << 20});
	cr_assert_not(fake_accident("no such thing", 1));
	cr_assert(fake_accident("cache-invalid", 1) && hal_mmu_info()->caches_invalid);
	cr_assert(fake_accident("software-ad", 1) && !hal_mmu_info()->hw_accessed_dirty);
	cr_assert(fake_accident("needs-bbm", 1) && hal_mmu_info()->needs_bbm);
	cr_assert_not(fake_accident("shrink-ram", 65ull << 20), "RAM does not grow");
	cr_assert(fake_accident("shrink-ram", 48ull << 20));
	hal_memory_ranges(sum_ram, &ram);
	cr_assert_eq(ram, 48ull << 20);
}

Test(fake_own, ranges_of_the_test)
{
	const struct mem_range ranges[] = {
		{16 << 20, 40 << 20, MEM_RAM, "a"},
		{100 << 20, 120 << 20, MEM_RAM, "b"},
		{20 << 20, 21 << 20, MEM_RESERVED, "c"},
	};
	uint64_t ram = 0;

	fake_on_accusation(hear, NULL);
	next_pfn = (24ull << 20) >> ARCH_PAGE_SHIFT;
	cr_assert_eq(fake_machine_create(&(struct fake_config){.ranges = ranges, .nranges = 3}), 0);
	hal_memory_ranges(sum_ram, &ram);
	cr_assert_eq(ram, 44ull << 20);
	*(volatile char *)hal_phys_to_virt((120ull << 20) - 1) = 1;
	cr_assert_eq(hal_space_init(&space, page(), true), 0);
	run_space(&space);
	map(VA);
	cr_assert(touch(VA));
	cr_assert(innocent());
}

static unsigned counted;

static void count_calls(void *arg)
{
	__atomic_fetch_add(&counted, 1, __ATOMIC_RELAXED);
}

static void busy_cpu(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		irqflags_t flags = hal_irq_save();

		hal_irq_restore(flags);
		hal_cpu_relax();
	}
	hal_ipi_call(1, count_calls, NULL);
}

Test(fake_own, cpus_on_threads_answer_each_other)
{
	start_with((struct fake_config){.ram = 64 << 20, .cpus = 4});
	counted = 0;
	for (unsigned n = 1; n < 4; n++)
		cr_assert_eq(fake_cpu_start(n, busy_cpu, NULL), 0);
	hal_ipi_call(0xf, count_calls, NULL);
	for (unsigned n = 1; n < 4; n++)
		fake_cpu_join(n);
	cr_assert_eq(counted, 6); /* three calls from here, three to here */
	cr_assert(innocent());
}

static unsigned turn;

static void wait_for_turn(unsigned n)
{
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != n)
		hal_cpu_relax();
}

static void forgets_to_flush(void *arg)
{
	run_space(&space);
	hal_pte_xchg(slot(&space, VA, 0), 0);
	__atomic_store_n(&turn, 1, __ATOMIC_RELEASE);
	wait_for_turn(2);
	touch(VA + PAGE);
	run_space(NULL);
}

/* Between a change and its flush others may well run; once its maker does, it was forgotten. */
Test(fake_own, a_flush_may_be_on_its_way_from_another_cpu)
{
	start_with((struct fake_config){.ram = 64 << 20, .cpus = 2});
	map(VA);
	map(VA + PAGE);
	cr_assert(touch(VA));
	turn = 0;
	cr_assert_eq(fake_cpu_start(1, forgets_to_flush, NULL), 0);
	wait_for_turn(1);
	cr_assert(touch(VA + PAGE));
	fake_core_returned();
	cr_assert(innocent());
	__atomic_store_n(&turn, 2, __ATOMIC_RELEASE);
	fake_cpu_join(1);
	cr_assert(accused_of(FAKE_STALE_USER));
}

Test(fake_own, a_machine_can_be_made_again_and_again)
{
	for (int i = 0; i < 20; i++) {
		start_with((struct fake_config){.ram = 32 << 20});
		map(VA);
		cr_assert(touch(VA));
		stop();
	}
	start_with((struct fake_config){.ram = 32 << 20});
	cr_assert(innocent());
}
