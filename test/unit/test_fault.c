/* SPDX-License-Identifier: MIT */
/* The fault table, row by row. */
#include "space.h"

#include "mm/base/vmstat.h"

Test(fault, zero_page_then_copy)
{
	space_up();
	cr_expect_eq(mmap_at(AT(0), 4, RW, PRIV | FIX), AT(0));
	cr_expect_eq(FAULTS(OK(load_at(AT(0)) == 0)), 1);
	cr_expect_eq(fault_rows[QUIRE_ROW_ZERO], 1);
	cr_expect_eq(last.error_code, 4);
	cr_expect_eq(FAULTS(load_at(AT(1))), 1);
	cr_expect_eq(pfn_at(AT(0)), pfn_at(AT(1)), "both are the page of zeros");
	cr_expect_eq(get_mm_rss(mm_now()), 0);
	check_now();
	cr_expect_eq(FAULTS(store_at(AT(0), 7)), 1);
	cr_expect_eq(last.error_code, 7);
	cr_expect_eq(fault_rows[QUIRE_ROW_COW], 1);
	cr_expect_eq(FAULTS(store_at(AT(2), 8)), 1);
	cr_expect_eq(last.error_code, 6);
	cr_expect_eq(fault_rows[QUIRE_ROW_ANON], 1);
	cr_expect_eq(load_at(AT(0)), 7);
	cr_expect_eq(load_at(AT(1)), 0);
	cr_expect_eq(load_at(AT(2)), 8);
	cr_expect_eq(get_mm_rss(mm_now()), 2);
	space_down();
}

Test(fault, refused)
{
	space_up();
	cr_expect_eq(store_at(AT(0), 1), MAPERR);
	cr_expect_eq(last.error_code, 6);
	cr_expect_eq(last.addr, AT(0));
	mmap_at(AT(0), 1, PROT_READ, PRIV | FIX);
	mmap_at(AT(1), 1, PROT_NONE, PRIV | FIX);
	cr_expect_eq(store_at(AT(0), 1), ACCERR);
	cr_expect_eq(touch_at(AT(1)), ACCERR);
	cr_expect_eq(touch_at(AT(0) + 24), 0);
	cr_expect_eq(store_at(AT(0), 1), ACCERR);
	cr_expect_eq(last.error_code, 7, "present now");
	/* A fetch from a page without X: first made, then refused, as on real x86-64. */
	mmap_at(AT(2), 1, RW, PRIV | FIX);
	cr_expect_eq(FAULTS(OK(exec_at(AT(2)) == ACCERR)), 1);
	cr_expect_eq(last.error_code, 0x15);
	cr_expect(!last.counted);
	space_down();
}

Test(fault, stack_grows_down_to_the_limit_of_the_gap)
{
	space_up();
	mmap_at(AT(2000), 1, RW, PRIV | FIX | MAP_GROWSDOWN);
	cr_expect_eq(store_at(AT(1999), 1), 0);
	EXPECT_LAYOUT("1999-2001:rw-p");
	cr_expect_eq(store_at(AT(1899), 1), 0);
	EXPECT_LAYOUT("1899-2001:rw-p");
	cr_expect_not(present_at(AT(1950)));
	cr_expect_eq(touch_at(AT(2001)), MAPERR);
	mmap_at(AT(1500), 1, RW, PRIV | FIX);
	cr_expect_eq(store_at(AT(1501 + 256), 1), 0, "the gap is 256 pages");
	cr_expect_eq(store_at(AT(1501 + 255), 1), MAPERR);
	check_now();
	space_down();
}

Test(fault, file_around_and_private_copy)
{
	struct quire_file *f;

	space_up();
	f = file_new(40, FRW);
	cr_expect_eq(mmap_file(AT(3), 40, RW, MAP_PRIVATE | FIX, f, 0), AT(3));
	/* 64 KiB. Where the VMA's start cuts the window it still has its full length. */
	cr_expect_eq(FAULTS(OK((load_at(AT(5)) & 0xff) == 3)), 1);
	cr_expect_eq(fault_rows[QUIRE_ROW_AROUND], 1);
	for (int i = 0; i < 40; i++)
		if (present_at(AT(3 + i)) != (PS == 4096 ? i < 16 : i >= 1 && i < 5))
			cr_expect_fail("page %d", i);
	check_now();
	cr_expect_eq(FAULTS(store_at(AT(5), 99)), 1);
	cr_expect_eq(FAULTS(store_at(AT(30), 98)), 1);
	cr_expect_eq(load_at(AT(5)), 99);
	cr_expect_eq(load_at(AT(30)), 98);
	cr_expect_eq(get_mm_counter(mm_now(), MM_ANONPAGES), 2);
	check_now();
	cr_expect_eq(touch_at(AT(3 + 40)), MAPERR);
	quire_inode_truncate(quire_file_inode(f), 2 * PS);
	check_now();
	cr_expect_eq(touch_at(AT(3 + 2)), ADRERR);
	cr_expect_eq(load_at(AT(3)) & 0xff, 1);
	quire_file_put(f);
	space_down();
}

Test(fault, shared_file_and_shmem)
{
	struct quire_file *f;

	space_up();
	f = file_new(4, FRW);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(10), 4, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(FAULTS(store_at(AT(1), 5)), 1);
	cr_expect_eq(load_at(AT(11)), 5);
	cr_expect_eq(pfn_at(AT(1)), pfn_at(AT(11)));
	quire_file_put(f);
	cr_expect_eq(mmap_at(AT(20), 2, RW, SHAR | FIX), AT(20));
	cr_expect_eq(FAULTS(load_at(AT(20))), 1);
	cr_expect_eq(FAULTS(store_at(AT(20), 6)), 0, "mapped writable at once");
	cr_expect_eq(get_mm_counter(mm_now(), MM_SHMEMPAGES), 1);
	cr_expect_eq(load_at(AT(20)), 6);
	space_down();
}

Test(fault, machines_with_other_habits)
{
	struct fake_config fc[] = {
		{.ram = 64 * MIB, .software_ad = true},
		{.ram = 64 * MIB, .caches_invalid = true},
		{.ram = 64 * MIB, .needs_bbm = true, .tlb_entries = 4},
		{.ram = 64 * MIB, .spurious_every = 3},
		{.ram = 64 * MIB, .with_asids = true, .asid_bits = 4},
	};

	for (unsigned i = 0; i < sizeof(fc) / sizeof(fc[0]); i++) {
		space_up_cfg(&fc[i]);
		mmap_at(AT(0), 64, RW, PRIV | FIX);
		for (int p = 0; p < 64; p++) {
			if (p & 1)
				cr_expect_eq(load_at(AT(p)), 0);
			cr_expect_eq(store_at(AT(p), p), 0);
		}
		check_now();
		mprotect_at(AT(0), 32, PROT_READ);
		cr_expect_eq(store_at(AT(3), 1), ACCERR);
		mprotect_at(AT(0), 32, RW);
		for (int p = 0; p < 64; p++) {
			cr_expect_eq(load_at(AT(p)), p);
			cr_expect_eq(store_at(AT(p), p + 1), 0);
		}
		if (fc[i].caches_invalid)
			cr_expect_eq(fault_rows[QUIRE_ROW_SPURIOUS], 0, "published, so seen at once");
		space_down();
	}
}

Test(fault, derived_codes_agree_with_the_machine)
{
	struct quire_counts c;

	space_up();
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	mmap_at(AT(8), 8, PROT_READ | PROT_EXEC, PRIV | FIX);
	for (int i = 0; i < 16; i++) {
		touch_at(AT(i));
		store_at(AT(i), 1);
		exec_at(AT(i));
	}
	touch_at(AT(100));
	quire_get_counts(&c);
	cr_expect_eq(c.code_disagreements, 0);
	space_down();
}

Test(fault, out_of_memory_is_told)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	for (int n = 1; n < 12; n++) {
		int r;

		quire_inject_set(QUIRE_INJECT_PAGE, n);
		r = store_at(AT(0), 3);
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		check_now();
		if (!r)
			break;
		cr_expect_eq(r, KILLED);
	}
	cr_expect_eq(load_at(AT(0)), 3);
	space_down();
}

Test(fault, user_mode_has_nothing_in_a_supervisor_space)
{
	struct quire_mm_params p = {.supervisor = true};
	uint64_t v = 5;

	space_up();
	space_put(cur);
	run_space(quire_mm_create(&p));
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	cr_expect_eq(touch_at(AT(0)), ACCERR);
	cr_expect_eq(hal_copy_to_user(AT(0), &v, sizeof(v)), 0, "its own mode may");
	cr_expect_eq(store_at(AT(0), 1), ACCERR);
	v = 0;
	cr_expect_eq(hal_copy_from_user(&v, AT(0), sizeof(v)), 0);
	cr_expect_eq(v, 5);
	space_down();
}

Test(fault, code_is_synchronised_before_it_runs)
{
	uint64_t word = 0x0123456789abcdef, syncs;
	struct quire_file *f;

	space_up();
	/* written from outside as data, then made code: the machine accuses if nobody synchronised */
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	cr_expect_eq(quire_mm_write(cur, AT(0), &word, sizeof(word)), sizeof(word));
	cr_expect_eq(mprotect_at(AT(0), 1, PROT_READ | PROT_EXEC), 0);
	cr_expect_eq(exec_at(AT(0)), 0);
	/* a file's page, and a private copy of it */
	f = file_new(1, FRW);
	mmap_file(AT(4), 1, RW | PROT_EXEC, MAP_PRIVATE | FIX, f, 0);
	cr_expect_eq(exec_at(AT(4)), 0);
	cr_expect_eq(store_at(AT(4), 1), 0);
	cr_expect_eq(exec_at(AT(4)), 0);
	/* written from outside while it is code already, as a debugger does */
	syncs = fake_counters()->icache_syncs;
	cr_expect_eq(quire_mm_write(cur, AT(4), &word, sizeof(word)), sizeof(word));
	cr_expect_eq(fake_counters()->icache_syncs, syncs + 1);
	cr_expect_eq(load_at(AT(4)), word);
	quire_file_put(f);
	space_down();
}

/* The kernel writes into a file whose code runs; then the entry is stored again, in each way there is. */
Test(fault, code_of_a_file_is_synchronised_again)
{
	const uint64_t word = 0x0123456789abcdef;
	struct quire_mm *parent, *child;
	struct quire_inode *inode;
	struct quire_file *f;

	space_up();
	f = file_new(2, FRW);
	inode = quire_file_inode(f);
	mmap_file(AT(0), 2, RW | PROT_EXEC, MAP_PRIVATE | FIX, f, 0);
	cr_expect_eq(store_at(AT(1), 1), 0); /* so that a fork copies the entries */
	cr_expect_eq(exec_at(AT(0)), 0);
	cr_expect_eq(quire_inode_write(inode, 8, (uintptr_t)&word, 8, false), 8);
	quire_clear_refs(cur, 4);
	cr_expect_eq(exec_at(AT(0)), 0);
	cr_expect_eq(quire_inode_write(inode, 8, (uintptr_t)&word, 8, false), 8);
	cr_expect_eq(quire_mremap(cur, AT(0), 2 * PS, 2 * PS, MREMAP_MAYMOVE | MREMAP_FIXED, AT(8)),
		     (long)AT(8));
	cr_expect_eq(exec_at(AT(8)), 0);
	cr_expect_eq(quire_inode_write(inode, 8, (uintptr_t)&word, 8, false), 8);
	parent = cur;
	cr_assert_eq(quire_mm_fork(parent, NULL, &child), 0);
	run_space(child);
	cr_expect_eq(exec_at(AT(8)), 0);
	run_space(parent);
	space_put(child);
	quire_file_put(f);
	space_down();
}

/* The first access only read: that the page was written later, only the entry's dirty bit knows. */
Test(fault, a_shared_page_written_later_stays)
{
	struct quire_file *f;

	space_up();
	f = file_new(2, FRW);
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(load_at(AT(0)), 0x0101010101010101);
	/* the machine accuses if a write in the middle of this could be forgotten */
	mprotect_at(AT(0), 2, PROT_READ);
	mprotect_at(AT(0), 2, RW);
	cr_expect_eq(FAULTS(store_at(AT(0), 7)), 0);
	munmap_at(AT(0), 2);
	quire_drop_caches();
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(load_at(AT(0)), 7);
	quire_file_put(f);
	space_down();
}

/* What the core derives is held against what the CPU said, in the bits that it can say. */
Test(fault, the_cpu_contradicts)
{
	struct fault_info fi = {
		.addr = AT(0),
		.access = FAULT_READ,
		.user = true,
		.raw_code = FAULT_CODE_PRESENT | FAULT_CODE_USER,
		.raw_mask = FAULT_CODE_USER,
	};

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	quire_page_fault(cur, &fi, &last);
	cr_expect_eq(sum_vm_event(CODE_DISAGREEMENTS), 0, "the bit that differs was not told");
	fi.addr = AT(1);
	fi.raw_mask |= FAULT_CODE_PRESENT;
	quire_page_fault(cur, &fi, &last);
	cr_expect_eq(sum_vm_event(CODE_DISAGREEMENTS), 1);
	cr_expect_eq(last.outcome, QUIRE_FAULT_DONE, "and the fault is handled all the same");
	fake_core_returned();
	space_down();
}
