/* SPDX-License-Identifier: MIT */
/* Boot memory: whatever the firmware says, sorted, disjoint, and never more than there is. */
#include "mm_test.h"

#include "lib/errno.h"
#include "mm/memblock.h"

static void start(const struct mem_range *r, unsigned n)
{
	cr_assert_eq(fake_machine_create(&(struct fake_config){.ranges = r, .nranges = n}), 0);
}

#define START(...)                                                  \
	do {                                                        \
		static const struct mem_range r_[] = {__VA_ARGS__}; \
		start(r_, sizeof(r_) / sizeof(r_[0]));              \
	} while (0)

static void check_sorted(const struct memblock_type *t)
{
	for (unsigned i = 0; i < t->cnt; i++) {
		cr_assert_lt(t->regions[i].base, t->regions[i].end);
		if (i)
			cr_assert_lt(t->regions[i - 1].end, t->regions[i].base);
	}
}

Test(memblock, any_order_and_overlaps)
{
	START({0x800000, 0x1000000, MEM_RAM, "b"}, {0, 0x400000, MEM_RAM, "a"},
	      {0x300000, 0x900000, MEM_RAM, "over both"}, {0x500000, 0x500000, MEM_RAM, "empty"});
	cr_assert_eq(memblock_init(), 0);
	cr_assert_eq(memblock_memory.cnt, 1);
	cr_assert_eq(memblock_size(&memblock_memory), 0x1000000);
}

Test(memblock, unaligned_neighbours_make_a_frame)
{
	uint64_t s = 1, e;

	START({0, 0x200800, MEM_RAM, "a"}, {0x200800, 0x400000, MEM_RAM, "b"});
	cr_assert_eq(memblock_init(), 0);
	cr_assert_eq(memblock_add(0x600001, 0x600001 + PAGE_SIZE), 0, "no whole frame");
	cr_assert(memblock_next_free(&s, &e));
	cr_assert_eq(s, 1);
	cr_assert_eq(e, 0x400000 >> PAGE_SHIFT);
	s = e;
	cr_assert_not(memblock_next_free(&s, &e));
}

Test(memblock, reservations_win_and_round_outwards)
{
	uint64_t s = 0, e;

	START({0, 0x400000, MEM_RAM, "ram"}, {0x100fff, 0x101001, MEM_RESERVED, "table"},
	      {0x200000, 0x200001, MEM_KERNEL, "image"});
	cr_assert_eq(memblock_init(), 0);
	cr_assert(memblock_next_free(&s, &e));
	cr_assert_eq(s, 1, "frame 0 is never free");
	cr_assert_eq(e, 0x100000 >> PAGE_SHIFT);
	s = e;
	cr_assert(memblock_next_free(&s, &e));
	cr_assert_eq(s, 0x101001 / PAGE_SIZE + 1);
	cr_assert_eq(e, 0x200000 >> PAGE_SHIFT);
	s = e;
	cr_assert(memblock_next_free(&s, &e));
	cr_assert_eq(s, (0x200000 >> PAGE_SHIFT) + 1);
	cr_assert_eq(e, 0x400000 >> PAGE_SHIFT);
}

Test(memblock, add_remove_against_a_bitmap)
{
	enum { N = 256 };
	static bool model[N];

	START({0, 0x400000, MEM_RAM, "ram"});
	memset(&memblock_memory.cnt, 0, sizeof(memblock_memory.cnt));
	for (unsigned round = 0; round < 4000; round++) {
		unsigned a = rnd() % N, b = a + rnd() % (N - a + 1);
		bool add = rnd() & 1;

		cr_assert_eq(add ? memblock_add(a, b) : memblock_remove(a, b), 0);
		for (unsigned i = a; i < b; i++)
			model[i] = add;
		check_sorted(&memblock_memory);
		for (unsigned i = 0, r = 0; i < N; i++) {
			while (r < memblock_memory.cnt && memblock_memory.regions[r].end <= i)
				r++;
			cr_assert_eq(model[i], r < memblock_memory.cnt &&
						       memblock_memory.regions[r].base <= i);
		}
	}
	cr_assert_eq(memblock_add(5, 4), -EINVAL);
}

Test(memblock, table_full_is_an_error)
{
	START({0, 0x400000, MEM_RAM, "ram"});
	memblock_reserved.cnt = 0;
	for (unsigned i = 0; i < MEMBLOCK_REGIONS; i++)
		cr_assert_eq(memblock_reserve(i * 0x4000, i * 0x4000 + 1), 0);
	cr_assert_eq(memblock_reserve(0x3000000, 0x3000001), -ENOMEM);
	cr_assert_eq(memblock_reserved.cnt, MEMBLOCK_REGIONS);
	cr_assert_eq(memblock_reserve(0, 0x4001), 0, "what merges still fits");
}

Test(memblock, allocation_is_top_down_and_disjoint)
{
	phys_addr_t last = ~0ull;
	unsigned n = 0;

	START({0, 0x100000, MEM_RAM, "ram"}, {0x40000, 0x41000, MEM_RESERVED, "hole"});
	cr_assert_eq(memblock_init(), 0);
	for (phys_addr_t at; (at = memblock_alloc(PAGE_SIZE, PAGE_SIZE)) != 0; last = at, n++)
		cr_assert_lt(at, last);
	/* All of it but frame 0 and the hole. */
	cr_assert_eq(n, (0x100000 >> PAGE_SHIFT) - 1 - DIV_ROUND_UP(0x1000, PAGE_SIZE));
	cr_assert_leq(memblock_reserved.cnt, 2);
}

Test(memblock, alignment)
{
	START({0, 0x1000000, MEM_RAM, "ram"});
	cr_assert_eq(memblock_init(), 0);
	cr_assert_neq(memblock_alloc(PAGE_SIZE, PAGE_SIZE), 0);
	cr_assert_eq(memblock_alloc(0x200000, 0x200000), 0xc00000);
	cr_assert_eq(memblock_alloc(0x2000000, PAGE_SIZE), 0, "more than there is");
}

Test(memblock, nonsense_is_refused)
{
	START({0, 0x400000, MEM_RAM, "ram"});
	cr_assert_eq(memblock_init(), 0);
	cr_assert_eq(memblock_take(&(struct mem_range){0x300000, 0x200000, MEM_RAM, "back"}), 0);
	cr_assert_eq(memblock_take(&(struct mem_range){~0ull - 5, ~0ull, MEM_RAM, "top"}), 0);
	cr_assert_eq(memblock_take(&(struct mem_range){8, 8, MEM_RESERVED, NULL}), 0);
	cr_assert_eq(memblock_size(&memblock_memory), 0x400000);
	cr_assert_eq(memblock_take(&(struct mem_range){0x3000, 0x2000, MEM_RESERVED, "back"}),
		     -EINVAL);
}

Test(memblock, reservations_beyond_ram_are_kept)
{
	START({0, 0x400000, MEM_RAM, "ram"});
	cr_assert_eq(memblock_init(), 0);
	cr_assert_eq(memblock_take(&(struct mem_range){0x3ff000, ~0ull, MEM_RESERVED, "io"}), 0);
	cr_assert_lt(memblock_alloc(PAGE_SIZE, PAGE_SIZE), 0x3ff000);
}

Test(memblock, image_outside_the_list_is_ram)
{
	START({0, 0x400000, MEM_RAM, "ram"});
	cr_assert_eq(memblock_init(), 0);
	cr_assert_eq(memblock_take(&(struct mem_range){0x800000, 0x900000, MEM_KERNEL, "k"}), 0);
	cr_assert_eq(memblock_size(&memblock_memory), 0x500000);
}
