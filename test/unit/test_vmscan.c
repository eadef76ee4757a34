/* SPDX-License-Identifier: MIT */
/* Pages that leave because somebody says they may: MADV_PAGEOUT. */
#include "space.h"

#define FREE	8
#define PAGEOUT 21

/* PAGEOUT leaves alone what others map, and what has nowhere to go. */
Test(vmscan, shared_memory_that_others_map_stays)
{
	struct quire_mm *parent, *child;
	struct quire_file *f;

	space_up();
	mmap_at(AT(0), 4, RW, SHAR | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 2);
	f = file_new(4, FRW);
	mmap_file(AT(8), 4, RW, MAP_SHARED | FIX, f, 0);
	store_at(AT(8), 1);
	mmap_at(AT(16), 4, RW, PRIV | FIX);
	load_at(AT(16));
	store_at(AT(17), 3);
	cr_expect_eq(madvise_at(AT(8), 4, PAGEOUT), 0);
	cr_expect_eq(madvise_at(AT(16), 4, PAGEOUT), 0);
	cr_expect_not(present_at(AT(8)), "a file's page loses its entry; written, it stays in its file");
	cr_expect(page_cache_resident(vma_at(AT(8))->vm_file->f_mapping, 0));
	cr_expect_eq(load_at(AT(8)), 1);
	cr_expect(present_at(AT(16)) && present_at(AT(17)), "there is no swap");
	parent = cur;
	cr_assert_eq(quire_mm_fork(parent, NULL, &child), 0);
	run_space(child);
	load_at(AT(0));
	cr_expect_eq(madvise_at(AT(0), 4, PAGEOUT), 0);
	cr_expect(present_at(AT(0)), "its parent maps it too");
	run_space(parent);
	space_put(child);
	cr_expect_eq(madvise_at(AT(0), 4, PAGEOUT), 0);
	cr_expect_not(present_at(AT(0)) || present_at(AT(1)));
	cr_expect_eq(load_at(AT(1)), 2, "it stays in its object");
	quire_file_put(f);
	space_down();
}

/* What somebody else refers to does not leave, whatever it was said to be good for. */
Test(vmscan, freed_memory_that_somebody_holds)
{
	struct page *page;
	uint64_t pfn;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 2);
	madvise_at(AT(0), 2, FREE);
	pfn = pfn_at(AT(0));
	page = pfn_to_page(PFN(pfn));
	get_page(page);
	cr_assert_eq(quire_madvise(cur, AT(0), 2 * PS, PAGEOUT), 0);
	fake_core_returned();
	cr_expect_eq(pfn_at(AT(0)), pfn);
	cr_expect_eq(pfn_at(AT(1)), 0);
	put_page(page);
	madvise_at(AT(0), 2, PAGEOUT);
	cr_expect_eq(pfn_at(AT(0)), 0);
	cr_expect_eq(load_at(AT(0)), 0);
	space_down();
}

/* Memory that may not be touched just now leaves like any other. */
Test(vmscan, freed_memory_that_is_out_of_reach)
{
	struct quire_counts before, after;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 2);
	madvise_at(AT(0), 1, FREE);
	mprotect_at(AT(0), 2, PROT_NONE);
	quire_drain();
	quire_get_counts(&before);
	cr_assert_eq(madvise_at(AT(0), 2, PAGEOUT), 0);
	quire_drain();
	quire_get_counts(&after);
	cr_expect_eq(after.free_pages, before.free_pages + 1);
	mprotect_at(AT(0), 2, RW);
	cr_expect_eq(pfn_at(AT(0)), 0);
	cr_expect_eq(load_at(AT(0)), 0);
	cr_expect_eq(FAULTS(OK(load_at(AT(1)) == 2)), 0, "not said to be free");
	space_down();
}

/* Shared memory that was never written leaves its object too; what was written stays there, and
 * whoever wrote it last need not be the one whose entry goes. */
static void shared_memory_leaves(bool hw_ad)
{
	struct address_space *m;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1, .software_ad = !hw_ad});
	mmap_at(AT(0), 4, RW, SHAR | FIX);
	m = vma_at(AT(0))->vm_file->f_mapping;
	load_at(AT(0));
	store_at(AT(1), 7);
	load_at(AT(2));
	cr_assert(page_cache_resident(m, 0) && page_cache_resident(m, 1));
	madvise_at(AT(0), 2, PAGEOUT);
	cr_expect_not(present_at(AT(0)) || present_at(AT(1)));
	cr_expect(present_at(AT(2)), "beyond the range");
	cr_expect_not(page_cache_resident(m, 0), "a hole reads the same");
	cr_expect(page_cache_resident(m, 1));
	cr_expect(page_cache_resident(m, 2));
	/* Its entry is clean now; the page remembers. */
	cr_expect_eq(load_at(AT(1)), 7);
	madvise_at(AT(0), 4, PAGEOUT);
	cr_expect_not(present_at(AT(1)));
	cr_expect(page_cache_resident(m, 1));
	cr_expect_not(page_cache_resident(m, 2));
	cr_expect_eq(load_at(AT(1)), 7);
	cr_expect_eq(load_at(AT(0)), 0);
	/* Where the entry was writable from the beginning only the entry knows of the write. */
	load_at(AT(3));
	store_at(AT(3), 9);
	madvise_at(AT(3), 1, PAGEOUT);
	cr_expect_eq(load_at(AT(3)), 9);
	madvise_at(AT(3), 1, PAGEOUT);
	cr_expect_eq(load_at(AT(3)), 9);
	space_down();
}

Test(vmscan, shared_memory_leaves)
{
	shared_memory_leaves(true);
}

Test(vmscan, shared_memory_leaves_where_software_notes_writes)
{
	shared_memory_leaves(false);
}

/* More leave than one gather holds, and there is no memory for a second: it is emptied between. */
Test(vmscan, many_pages_leave)
{
	space_up();
	mmap_at(AT(0), 600, RW, PRIV | FIX);
	for (int i = 0; i < 600; i++)
		store_at(AT(i), i);
	madvise_at(AT(0), 600, FREE);
	store_at(AT(300), 300);
	quire_drain();
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){.probability = 100, .times = -1});
	madvise_at(AT(0), 600, PAGEOUT);
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){0});
	for (int i = 0; i < 600; i++)
		cr_expect_eq(pfn_at(AT(i)) != 0, i == 300, "page %d", i);
	cr_expect_eq(load_at(AT(300)), 300);
	space_down();
}
