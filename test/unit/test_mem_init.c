/* SPDX-License-Identifier: MIT */
/* Zones, struct pages and watermarks for memories of many shapes. */
#include "mm_test.h"

#include "mm/memblock.h"
#include "mm/vmstat.h"

#define MIB (1ull << 20)

/* Every frame is counted once, and free, reserved or in use by the core itself. */
static void check_books(void)
{
	struct quire_counts c;
	uint64_t present = 0, start, end;
	struct zone *z;

	quire_get_counts(&c);
	for_each_populated_zone(z)
		present += z->present_pages;
	cr_expect_eq(c.managed_pages + c.reserved_pages, present);
	start = 0;
	while (memblock_next_memory(&start, &end)) {
		present -= end - start;
		start = end;
	}
	cr_expect_eq(present, 0);
	cr_expect_leq(c.free_pages, c.managed_pages);
	cr_expect_eq(check_phys(), 0);
}

static void one_size(uint64_t ram)
{
	machine_up(ram, 1);
	check_books();
	machine_down();
}

Test(mem_init, sizes)
{
	static const uint64_t mib[] = {16, 33, 48, 64, 127, 128, 500, 1024};

	for (unsigned i = 0; i < sizeof(mib) / sizeof(mib[0]); i++)
		one_size(mib[i] * MIB);
}

Test(mem_init, above_4g)
{
	machine_up(5120 * MIB, 1);
	check_books();
	cr_expect(populated_zone(&zones[ZONE_NORMAL]));
	cr_expect_eq(zones[ZONE_NORMAL].managed_pages % 1, 0);
	cr_expect_geq(zones[ZONE_NORMAL].zone_start_pfn, (4096 * MIB) >> PAGE_SHIFT);
	cr_expect_gt(zones[ZONE_DMA].lowmem_reserve[ZONE_NORMAL],
		     zones[ZONE_DMA].lowmem_reserve[ZONE_DMA32]);
	machine_down();
}

Test(mem_init, ragged_map)
{
	static const struct mem_range r[] = {
		{0x1000, 0x9fc00, MEM_RAM, "low"},
		{0x9f000, 0xa0000, MEM_RESERVED, "ebda"},
		{0x100000, 0x2fff123, MEM_RAM, "a"},
		{0x2fff123, 0x7fe0000, MEM_RAM, "b"},
		{0x200000, 0x3ff123, MEM_KERNEL, "image"},
		{0x3ff123, 0x480001, MEM_BOOT_DATA, "initrd"},
		{0x41000000, 0x48000000, MEM_RAM, "far away"},
		{0x47ffe000, 0x49000000, MEM_RESERVED, "half outside"},
	};

	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = ARRAY_SIZE(r)}, NULL);
	check_books();
	cr_expect_not(pfn_valid(PFN(0x20000000 >> PAGE_SHIFT)), "no struct pages in the hole");
	cr_expect(pfn_valid(PFN(0x41000000 >> PAGE_SHIFT)));
	cr_expect(page_test(pfn_to_page(PFN(0x200000 >> PAGE_SHIFT)), PG_reserved));
	machine_down();
}

Test(mem_init, boot_data_joins_the_free_pages)
{
	static char initrd[100000];
	struct quire_counts before, after;
	uint64_t start = 0, end, n = 0;

	memset(initrd, 'i', sizeof(initrd));
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .initrd = initrd,
					     .initrd_size = sizeof(initrd)}, NULL);
	quire_get_counts(&before);
	/* The machine keeps it at the end of RAM, whole pages. */
	while (memblock_next_memory(&start, &end))
		start = end;
	for (uint64_t pfn = end - 1;; pfn--) {
		char *p = page_address(pfn_to_page(PFN(pfn)));

		if (!page_test(pfn_to_page(PFN(pfn)), PG_reserved) || *p != 'i')
			break;
		n++;
		start = pfn;
	}
	cr_assert_gt(n, 0);
	quire_free_boot_data(page_address(pfn_to_page(PFN(start))), n << PAGE_SHIFT);
	quire_get_counts(&after);
	cr_expect_eq(after.free_pages, before.free_pages + n);
	cr_expect_eq(after.managed_pages, before.managed_pages + n);
	machine_down();
}

Test(mem_init, watermarks_as_5_10)
{
	unsigned long kb, root = 0;
	struct zone *z;

	machine_up(512 * MIB, 1);
	kb = totalram_pages() << (PAGE_SHIFT - 10);
	while ((root + 1) * (root + 1) <= kb * 16)
		root++;
	cr_expect_eq(min_free_kbytes, root < 128 ? 128 : root);
	for_each_populated_zone(z) {
		unsigned long min = (min_free_kbytes >> (PAGE_SHIFT - 10)) * z->managed_pages /
				    totalram_pages();
		unsigned long gap = min / 4, scaled = z->managed_pages * 10 / 10000;

		if (gap < scaled)
			gap = scaled;
		cr_expect_eq(z->watermark[WMARK_MIN], min);
		cr_expect_eq(z->watermark[WMARK_LOW], min + gap);
		cr_expect_eq(z->watermark[WMARK_HIGH], min + 2 * gap);
	}
	cr_expect_eq(zones[ZONE_DMA].lowmem_reserve[ZONE_DMA32],
		     zones[ZONE_DMA32].managed_pages / 256);
	machine_down();
}

Test(mem_init, zero_page_is_reserved_zeros)
{
	static const char zeros[64];

	machine_up(64 * MIB, 1);
	cr_expect(page_test(zero_page, PG_reserved));
	for (unsigned i = 0; i < PAGE_SIZE; i += sizeof(zeros))
		cr_assert_eq(memcmp((char *)page_address(zero_page) + i, zeros, sizeof(zeros)), 0);
	put_page(zero_page);
	put_page(zero_page);
	cr_expect_eq(page_count(zero_page), 1);
	machine_down();
}

Test(mem_init, again_and_again_in_one_machine)
{
	uint64_t first;

	machine_up(64 * MIB, 2);
	first = free_pages_now();
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(quire_exit(), 0);
		cr_assert_eq(quire_init(NULL), 0);
		cr_assert_eq(free_pages_now(), first);
		cr_assert_eq(check_phys(), 0);
	}
	machine_down();
}
