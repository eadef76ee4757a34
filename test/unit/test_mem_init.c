/* SPDX-License-Identifier: MIT */
/* Zones, struct pages and watermarks for memories of many shapes. */
#include <stdio.h>

#include "mm_test.h"

#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/phys/memblock.h"
#include <quire/abi.h>

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
	cr_expect_eq((unsigned long)vm_sysctl.min_free_kbytes, root < 128 ? 128 : root);
	for_each_populated_zone(z) {
		unsigned long min = ((unsigned long)vm_sysctl.min_free_kbytes >> (PAGE_SHIFT - 10)) *
				    z->managed_pages /
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

/* ---- the array of struct pages ---------------------------------------------------------------- */

#define SECTION_BYTES (SECTION_PAGES * sizeof(struct page))
#define RUN_BYTES     ((uint64_t)PAGE_SIZE << ARCH_INDEX_BITS)
#define RUN	      (RUN_BYTES / SECTION_BYTES)		/* sections */
#define RUN_RAM	      (RUN * SECTION_PAGES << PAGE_SHIFT)	/* bytes that their frames hold */

static phys_addr_t section_phys(uint64_t section)
{
	return fake_window_phys((uintptr_t)(vmemmap + section * SECTION_PAGES));
}

/* The struct pages of sections [first, first + RUN) lie in one aligned piece of RAM. */
static bool one_piece(uint64_t first)
{
	bool one = section_phys(first) % RUN_BYTES == 0;

	for (uint64_t i = 0; i < RUN; i++) {
		cr_expect_neq(section_phys(first + i), UINT64_MAX, "section %lu", first + i);
		one = one && section_phys(first + i) == section_phys(first) + i * SECTION_BYTES;
	}
	return one;
}

/* RAM of two runs and a half. */
Test(mem_init, a_whole_run_is_one_aligned_piece)
{
	const uint64_t part = RUN_RAM / 2 + 5 * MIB;
	const struct mem_range r[] = {{0, 2 * RUN_RAM + part, MEM_RAM, "ram"}};

	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = 1}, NULL);
	check_books();
	cr_expect(one_piece(0));
	cr_expect(one_piece(RUN));
	cr_expect_eq(max_pfn, (2 * RUN_RAM + part) >> PAGE_SHIFT);
	cr_expect(section_present(nr_sections() - 1));
	cr_expect_eq(section_phys(nr_sections()), UINT64_MAX, "no more than there is");
	machine_down();
}

/* A run whose sections all have RAM, with holes between, is one piece like any other; one that lacks
 * its last or its first section is mapped one by one, none twice, none too many. */
Test(mem_init, runs_with_holes_in_them)
{
	const uint64_t section = SECTION_PAGES << PAGE_SHIFT;
	const struct mem_range r[] = {
		{0, section / 2, MEM_RAM, "a"},
		{section - 2 * PAGE_SIZE, section + 3 * PAGE_SIZE, MEM_RAM, "b"},
		{2 * section - 2 * PAGE_SIZE, 2 * RUN_RAM - section, MEM_RAM, "one short"},
		{3 * RUN_RAM + section, 5 * RUN_RAM + 3 * section, MEM_RAM, "late, and a bit"},
	};
	uint64_t n;

	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = ARRAY_SIZE(r)}, NULL);
	check_books();
	cr_expect(one_piece(0));
	n = nr_sections();
	cr_expect_eq(n, 5 * RUN + 3);
	cr_expect(one_piece(4 * RUN));
	for (uint64_t s = 0; s < n; s++) {
		bool ram = s < 2 * RUN - 1 || s > 3 * RUN;

		cr_expect_eq(section_present(s), ram, "section %lu", s);
		cr_expect_eq(section_phys(s) != UINT64_MAX, ram, "section %lu", s);
	}
	machine_down();
}

/* Every aligned piece has a page taken: there is room, but for no run. */
Test(mem_init, without_an_aligned_piece_any_pages_serve)
{
	enum { PIECES = 14 };
	const phys_addr_t top = RUN_RAM, low = top - PIECES * RUN_BYTES;
	struct mem_range r[PIECES + 2] = {
		{0, top, MEM_RAM, "ram"}, {PAGE_SIZE, low + PAGE_SIZE, MEM_RESERVED, "taken"}};
	uint64_t first;

	for (unsigned i = 1; i < PIECES; i++) {
		phys_addr_t at = low + i * RUN_BYTES;

		r[i + 1] = (struct mem_range){at, at + 1, MEM_RESERVED, "in the way"};
	}
	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = PIECES + 1}, NULL);
	cr_expect_not(one_piece(0));
	check_books();
	first = free_pages_now();
	cr_assert_eq(quire_exit(), 0);
	for (uint64_t s = 0; s < RUN; s++)
		cr_expect_eq(section_phys(s), UINT64_MAX);
	/* And again, in the same machine. */
	cr_assert_eq(quire_init(NULL), 0);
	cr_expect_eq(free_pages_now(), first);
	machine_down();
}

static void machine_with(uint64_t ram, uint64_t left, bool kernel_tables)
{
	const struct mem_range r[] = {{0, ram, MEM_RAM, "ram"},
				      {0, ram - left, MEM_RESERVED, "taken"}};

	cr_assert_lt(left, ram);
	cr_assert_eq(fake_machine_create(&(struct fake_config){
		.ranges = r, .nranges = 2, .kernel_tables = kernel_tables}), 0);
}

/* A start says that it cannot, leaves nothing mapped, and can be tried again. */
static void start_fails(const char *params)
{
	const struct kernel_layout *l = hal_kernel_layout();
	struct quire_config qc = {.params = params};

	for (int again = 0; again < 2; again++) {
		cr_assert_eq(quire_init(&qc), -ENOMEM);
		for (uintptr_t at = l->vmemmap_base; at < l->vmemmap_end; at += SECTION_BYTES)
			cr_assert_eq(fake_window_phys(at), UINT64_MAX);
	}
}

/* Free RAM from nothing to enough, so much more each time; how much was too little. */
static uint64_t too_little(uint64_t ram, uint64_t step, const char *params)
{
	uint64_t left = PAGE_SIZE;

	for (;; left += step) {
		machine_with(ram, left, false);
		if (!quire_init(&(struct quire_config){.params = params}))
			break;
		start_fails(params);
		fake_machine_destroy();
	}
	machine_down();
	return left - step;
}

Test(mem_init, too_little_ram_is_an_error_and_leaves_nothing_behind)
{
	/* Some hundred starts, whatever a run is here. */
	uint64_t plain, owner, step = RUN_BYTES / 64;

	plain = too_little(16 * MIB, PAGE_SIZE, NULL);
	owner = too_little(16 * MIB, PAGE_SIZE, "page_owner=on late_free=1");
	cr_expect_gt(plain, SECTION_BYTES);
	cr_expect_gt(owner, plain + SECTION_BYTES / 2);
	plain = too_little(RUN_RAM, step, NULL);
	owner = too_little(RUN_RAM, step, "page_owner=on");
	cr_expect_gt(plain, RUN_BYTES);
	cr_expect_gt(owner, plain + RUN_BYTES / 2);
}

/* One piece for a whole run, and from nothing to enough for what comes after it. */
Test(mem_init, ram_ends_in_the_middle_of_a_run)
{
	const phys_addr_t run = RUN_RAM - 2 * RUN_BYTES;
	bool whole;

	for (uint64_t left = 2 * PAGE_SIZE;; left += PAGE_SIZE) {
		const struct mem_range r[] = {
			{0, RUN_RAM, MEM_RAM, "ram"},
			{0, run, MEM_RESERVED, "below"},
			{run + RUN_BYTES, RUN_RAM - left, MEM_RESERVED, "above"}};

		cr_assert_lt(left, RUN_BYTES);
		cr_assert_eq(fake_machine_create(&(struct fake_config){
			.ranges = r, .nranges = ARRAY_SIZE(r)}), 0);
		if (!quire_init(NULL))
			break;
		start_fails(NULL);
		fake_machine_destroy();
	}
	whole = one_piece(0);
	cr_expect(whole && section_phys(0) == run);
	machine_down();
}

/* RAM for the struct pages, and not one page for the table that shows them. */
Test(mem_init, no_page_for_a_kernel_table)
{
	phys_addr_t lowest;

	machine_up(16 * MIB, 1);
	lowest = section_phys(0);
	machine_down();
	machine_with(16 * MIB, 16 * MIB - lowest, true);
	start_fails(NULL);
	fake_machine_destroy();
}

/* ---- the edges of what there is ---------------------------------------------------------------- */

static char said[65536];

static void listen(const char *s, size_t n)
{
	size_t was = strlen(said);

	snprintf(said + was, sizeof(said) - was, "%.*s", (int)n, s);
}

/* Room for struct pages of 40 MiB is room for two sections of 16 MiB, RAM beyond is told of. */
Test(mem_init, ram_without_room_for_its_struct_pages)
{
	const uint64_t room = 2 * SECTION_PAGES;
	const struct mem_range r[] = {{0, (room << PAGE_SHIFT) + 5 * MIB + 1, MEM_RAM, "ram"},
				      {5ull << 32, (5ull << 32) + MIB, MEM_RAM, "far away"}};
	struct kernel_layout *l;

	cr_assert_eq(fake_machine_create(&(struct fake_config){
		.ranges = r, .nranges = ARRAY_SIZE(r), .log = listen}), 0);
	l = (struct kernel_layout *)hal_kernel_layout();
	l->vmemmap_end = l->vmemmap_base + 2 * SECTION_BYTES + SECTION_BYTES / 2;
	cr_assert_eq(quire_init(NULL), 0);
	cr_expect(strstr(said, "has no room in the vmemmap, not used"), "%s", said);
	cr_expect_eq(max_pfn, room);
	cr_expect_eq(memblock_memory.cnt, 1);
	cr_expect_eq(memblock_memory.regions[0].end, room << PAGE_SHIFT);
	check_books();
	machine_down();
}

/* Boot data is given back once; what never was reserved, or is no RAM, is left alone. */
Test(mem_init, what_is_given_back_twice)
{
	struct quire_counts c, was;
	uint64_t image = (MIB + PAGE_SIZE) >> PAGE_SHIFT;
	struct page *mine;

	machine_up(64 * MIB, 1);
	mine = alloc_pages(GFP_KERNEL, 0);
	quire_get_counts(&was);
	for (int i = 0; i < 2; i++) {
		quire_free_boot_data(page_address(pfn_to_page(PFN(image))), 2 * PAGE_SIZE);
		quire_get_counts(&c);
		cr_expect_eq(c.free_pages, was.free_pages + 2);
		cr_expect_eq(c.managed_pages, was.managed_pages + 2);
	}
	free_reserved_area(page_to_pfn(mine).n, page_to_pfn(mine).n + 1);
	free_reserved_area(max_pfn, max_pfn + 3 * SECTION_PAGES);
	quire_free_boot_data(page_address(mine), 0);
	quire_get_counts(&c);
	cr_expect_eq(c.managed_pages, was.managed_pages + 2);
	cr_expect_eq(page_count(mine), 1);
	__free_pages(mine, 0);
	machine_down();
}

static uint64_t movable_bytes(const char *params, uint64_t ram)
{
	uint64_t n;

	machine_up_cfg(&(struct fake_config){.ram = ram}, &(struct quire_config){.params = params});
	check_books();
	n = (uint64_t)zones[ZONE_MOVABLE].spanned_pages << PAGE_SHIFT;
	if (n)
		cr_expect_eq(zones[ZONE_MOVABLE].zone_start_pfn % (1u << (MAX_ORDER - 1)), 0);
	machine_down();
	return n;
}

/* What is asked for is rounded in the kernel's favour, to whole largest blocks. */
Test(mem_init, movable_zone_by_parameter)
{
	const uint64_t block = (uint64_t)PAGE_SIZE << (MAX_ORDER - 1), ram = 64 * block;

	cr_expect_eq(movable_bytes(NULL, ram), 0);
	cr_expect_eq(movable_bytes("kernelcore=0", ram), 0);
	cr_expect_leq(movable_bytes("movablecore=128M", ram), 128 * MIB);
	cr_expect_gt(movable_bytes("movablecore=128M", ram), 128 * MIB - block);
	cr_expect_eq(movable_bytes("movablecore=1M", ram), 0, "less than a block");
	cr_expect_gt(movable_bytes("kernelcore=128M", ram), ram - 128 * MIB - 2 * block);
	cr_expect_lt(movable_bytes("kernelcore=128M", ram), ram - 128 * MIB + block);
	cr_expect_eq(movable_bytes("kernelcore=4M", ram), ram - 16 * MIB, "of the last zone only");
	cr_expect_eq(movable_bytes("kernelcore=64G", ram), 0, "more than there is");
	cr_expect_eq(movable_bytes("movablecore=64G", ram), 0, "nothing would be the kernel's");
	/* The larger of the two wishes for the kernel. */
	cr_expect_eq(movable_bytes("kernelcore=128M movablecore=64M", ram),
		     movable_bytes("movablecore=64M", ram));
}
