/* SPDX-License-Identifier: MIT */
/* Migration of single pages: what their entries say afterwards, and spaces that come and go. */
#include "moving.h"

#include "mm/base/vmstat.h"

static struct pte_desc entry_at(uintptr_t a)
{
	return pte_desc(pte_get(pt_find(mm_now(), a)));
}

/* As 5.10: the page remembers that it was written, its new entry is clean and old; what MADV_FREE
 * made clean is clean afterwards, so it still may be dropped. */
static void clean_pages_stay_clean(bool hw_ad)
{
	struct page *page;

	space_up_cfg(&(struct fake_config){.ram = 64ull * (PS / 4096) << 20, .cpus = 1,
					   .software_ad = !hw_ad});
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 7);
	store_at(AT(1), 8);
	cr_assert_eq(quire_madvise(cur, AT(0), PS, 8 /* MADV_FREE */), 0);
	cr_expect_not(entry_at(AT(0)).dirty);
	for (unsigned i = 0; i < 2; i++) {
		cr_expect(move_at(AT(i)));
		cr_expect_not(entry_at(AT(i)).dirty);
		cr_expect_not(entry_at(AT(i)).accessed);
		cr_expect(entry_at(AT(i)).w);
		page = pfn_to_page(PFN(pfn_at(AT(i))));
		cr_expect_eq(page_test(page, PG_dirty), i != 0, "page %u", i);
		cr_expect_eq(page_test(page, PG_swapbacked), i != 0, "freed memory stays so");
		cr_expect_eq(FAULTS(OK(load_at(AT(i)) == 7 + i)), hw_ad ? 0 : 1);
	}
	/* A second move keeps what the first one noted. */
	cr_expect(move_at(AT(1)));
	page = pfn_to_page(PFN(pfn_at(AT(1))));
	cr_expect(page_test(page, PG_dirty));
	cr_assert_eq(quire_madvise(cur, AT(1), PS, 8), 0);
	cr_expect_not(page_test(page, PG_dirty));
	cr_expect_eq(FAULTS(store_at(AT(0), 9)), hw_ad ? 0 : 1);
	cr_expect(entry_at(AT(0)).dirty);
	/* Written after it was freed, and only the page knows: it must not be dropped. */
	cr_expect(move_at(AT(0)));
	madvise_at(AT(0), 1, 21 /* MADV_PAGEOUT */);
	cr_expect_neq(pfn_at(AT(0)), 0);
	cr_expect_eq(load_at(AT(0)), 9);
	space_down();
}

Test(migrate, clean_pages_stay_clean)
{
	clean_pages_stay_clean(true);
}

Test(migrate, clean_pages_stay_clean_where_software_notes_writes)
{
	clean_pages_stay_clean(false);
}

/* Whoever moves pages keeps the structure only: the last user tears the space down himself. */
Test(migrate, a_space_that_is_kept_is_torn_down_by_its_last_user)
{
	struct quire_mm *child;
	struct mm_struct *mm;

	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 7);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	mm = to_mm(child);
	mmgrab(mm);
	cr_assert(down_read_trylock(&mm->mmap_lock));
	up_read(&mm->mmap_lock);
	cr_expect_eq(page_mapcount(pfn_to_page(PFN(pfn_at(AT(0))))), 2);
	quire_mm_put(child);
	cr_expect_eq(page_mapcount(pfn_to_page(PFN(pfn_at(AT(0))))), 1);
	cr_expect_null(mm->mmap);
	cr_expect_eq(mm->map_count, 0);
	cr_assert(down_read_trylock(&mm->mmap_lock), "the structure is still there");
	up_read(&mm->mmap_lock);
	mmdrop(mm);
	space_down();
}

/* A file's page in spaces that map it, that could, and that have another one there. */
Test(migrate, spaces_without_the_page)
{
	struct quire_mm *first, *second;
	struct quire_file *f;

	space_up();
	first = cur;
	f = file_new(4, FRW | QUIRE_FMODE_EXEC);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	store_at(AT(1), 0x77);
	second = space_new();
	run_space(second);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0); /* not touched: no tables */
	mmap_file(AT(8), 4, RW, MAP_PRIVATE | FIX, f, 0);
	store_at(AT(9), 0x88); /* a copy of its own where the page would be */
	run_space(first);
	cr_expect(move_at(AT(1)));
	cr_expect_eq(load_at(AT(1)), 0x77);
	run_space(second);
	cr_expect_eq(load_at(AT(9)), 0x88);
	cr_expect_eq(load_at(AT(1)), 0x77);
	space_put(second);
	second = space_new(); /* without a single table */
	run_space(second);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	run_space(first);
	cr_assert_null(pt_find(to_mm(second), AT(1)));
	cr_expect(move_at(AT(1)));
	cr_expect_null(pt_find(to_mm(second), AT(1)), "nor does a move make one");
	space_put(second);
	munmap_at(AT(0), 4);
	quire_file_put(f);
	space_down();
}

/* More spaces than are held at once: the page stays, and goes when they are fewer. */
Test(migrate, a_page_of_too_many_spaces_stays)
{
	struct quire_mm *child[20];

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 5);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(quire_mm_fork(cur, NULL, &child[i]), 0);
	cr_expect_not(move_at(AT(0)));
	cr_expect_eq(load_at(AT(0)), 5);
	for (unsigned i = 0; i < 10; i++)
		quire_mm_put(child[i]);
	cr_expect(move_at(AT(0)));
	for (unsigned i = 10; i < 20; i++)
		quire_mm_put(child[i]);
	cr_expect_eq(load_at(AT(0)), 5);
	space_down();
}

/* A page of a file that somebody reads or writes through the cache. */
Test(migrate, a_page_of_a_file_that_is_held_stays)
{
	struct address_space *m;
	struct quire_file *f;
	struct page *page;
	uint64_t fails;

	space_up();
	f = file_new(4, FRW);
	m = to_file(f)->f_mapping;
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	store_at(AT(2), 0x77);
	page = find_get_page(m, 2);
	fails = sum_vm_event(PGMIGRATE_FAIL);
	held = 1;
	cr_expect_not(move_at(AT(2)));
	held = 0;
	cr_expect_eq(sum_vm_event(PGMIGRATE_FAIL), fails + 1);
	cr_expect_eq(FAULTS(store_at(AT(2), 0x78)), 0, "as it was");
	cr_expect_eq(page_count(page), 3, "ours, the cache's, the entry's");
	cr_expect_eq(page_mapcount(page), 1);
	put_page(page);
	cr_expect(move_at(AT(2)));
	page = find_get_page(m, 2);
	cr_expect_eq(page_to_pfn(page).n, pfn_at(AT(2)), "the cache has the new one");
	cr_expect_eq(page->index, 2);
	cr_expect_eq(page_count(page), 3);
	cr_expect(page_test(page, PG_dirty));
	put_page(page);
	cr_expect_eq(load_at(AT(2)), 0x78);
	/* Nobody maps it: the cache alone has it. */
	munmap_at(AT(0), 4);
	page = find_get_page(m, 2);
	cr_assert(migrate_begin());
	cr_expect_eq(migrate_page(page, alloc_pages(GFP_KERNEL, 0)), 0);
	migrate_end();
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_neq(pfn_at(AT(2)), page_to_pfn(page).n);
	cr_expect_eq(load_at(AT(2)), 0x78);
	munmap_at(AT(0), 4);
	quire_file_put(f);
	space_down();
}

/* Moves page, of which the test has a reference, and expects that it stays. */
static void stays(struct page *page, const char *why)
{
	cr_assert(migrate_begin());
	get_page(page);
	cr_expect_eq(migrate_page(page, alloc_pages(GFP_KERNEL, 0)), -EAGAIN, "%s", why);
	migrate_end();
}

Test(migrate, what_is_no_page_of_a_user_stays)
{
	struct quire_file *f;
	struct page *page;
	irqflags_t flags;

	space_up();
	page = alloc_pages(GFP_KERNEL, 0);
	stays(page, "of the kernel's own");
	cr_expect_eq(page_count(page), 1);
	cr_assert(migrate_begin());
	__free_pages(page, 0);
	cr_expect_not(get_page_unless_zero(page), "free");
	migrate_end();
	/* On its way out: no entry is left, but the frame is not free yet. */
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 3);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	get_page(page);
	cr_assert_eq(quire_madvise(cur, AT(0), PS, 4 /* MADV_DONTNEED */), 0);
	stays(page, "without an entry");
	put_page(page);
	check_now();
	/* A file that shrank keeps nothing of what somebody still holds. */
	f = file_new(4, FRW);
	page = find_get_page(to_file(f)->f_mapping, 1);
	quire_inode_truncate(quire_file_inode(f), PS);
	stays(page, "cut off its file");
	cr_expect_eq(page_count(page), 1);
	put_page(page);
	quire_file_put(f);
	/* The zero page is everybody's. */
	munmap_at(AT(0), 1);
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	load_at(AT(0));
	stays(zero_page, "of zeros");
	cr_expect_eq(load_at(AT(0)), 0);
	flags = hal_irq_save();
	cr_expect_not(migrate_begin(), "it calls other CPUs, which nobody may with interrupts off");
	hal_irq_restore(flags);
	space_down();
}

/* Code is published in its new frame, whoever maps it and whenever he may run it. */
Test(migrate, code_moves)
{
	struct quire_file *f;

	space_up();
	f = file_new(4, FRW | QUIRE_FMODE_EXEC);
	mmap_file(AT(0), 4, PROT_READ | PROT_EXEC, MAP_PRIVATE | FIX, f, 0);
	mmap_file(AT(8), 4, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(exec_at(AT(0)), 0);
	store_at(AT(8), 0x1234);
	cr_expect(move_at(AT(8)));
	cr_expect_eq(FAULTS(OK(exec_at(AT(0)) == 0)), 0);
	cr_expect_eq(fake_accused(FAKE_ICACHE), 0);
	/* While it may not be run; then it may again. */
	mprotect_at(AT(0), 4, PROT_NONE);
	cr_expect(move_at(AT(8)));
	mprotect_at(AT(0), 4, PROT_READ | PROT_EXEC);
	cr_expect_eq(exec_at(AT(0)), 0);
	cr_expect_eq(load_at(AT(0)), 0x1234);
	munmap_at(AT(0), 12);
	quire_file_put(f);
	space_down();
}

/* Nobody keeps what leads from a page to its entries once the last one is gone: it is not asked. */
Test(migrate, a_page_that_outlives_its_area_stays)
{
	struct page *page;

	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1},
		       &(struct quire_config){.params = "slub_debug=FZP"});
	fake_on_fault(space_fault, NULL);
	run_space(space_new());
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 3);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	get_page(page);
	cr_assert_eq(quire_munmap(cur, AT(0), PS), 0);
	fake_core_returned();
	cr_expect(PageAnon(page));
	stays(page, "its area's anon_vma is free memory");
	cr_expect_eq(page_count(page), 1);
	put_page(page);
	space_down();
}
