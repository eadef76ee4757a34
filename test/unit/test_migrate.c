/* SPDX-License-Identifier: MIT */
/* Migration of single pages: what their entries say afterwards, and spaces that come and go. */
#include "moving.h"

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
	run_space(first);
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
