/* SPDX-License-Identifier: MIT */
/* Boot memory: whatever the firmware says, sorted, disjoint, and never more than there is. */
#include <stdio.h>

#include "mm_test.h"

#include "mm/phys/memblock.h"
#include <quire/abi.h>

static uint64_t ram_bytes(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < memblock_memory.cnt; i++)
		sum += memblock_memory.regions[i].end - memblock_memory.regions[i].base;
	return sum;
}

static char said[4096];

static void listen(const char *s, size_t n)
{
	size_t was = strlen(said);

	snprintf(said + was, sizeof(said) - was, "%.*s", (int)n, s);
}

static void start(const struct mem_range *r, unsigned n)
{
	cr_assert_eq(fake_machine_create(&(struct fake_config){
		.ranges = r, .nranges = n, .log = listen}), 0);
	said[0] = 0;
}

/* What is told of a range: once, in these words. */
#define SAYS(text, ...)                                                   \
	do {                                                              \
		said[0] = 0;                                              \
		__VA_ARGS__;                                              \
		cr_expect_str_eq(said, "memblock: " text "\n");           \
	} while (0)

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
	cr_assert_eq(ram_bytes(), 0x1000000);
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
	cr_assert_eq(ram_bytes(), 0x400000);
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
	cr_assert_eq(ram_bytes(), 0x500000);
}

/* Whatever is wrong with a range, it is told of with its place and its name, if it has one. */
Test(memblock, what_is_told)
{
	const unsigned bits = ARCH_PFN_BITS + PAGE_SHIFT;
	const phys_addr_t beyond = (phys_addr_t)1 << bits;
	char text[200];

	START({0, 0x400000, MEM_RAM, "ram"});
	cr_assert_eq(memblock_init(), 0);
	cr_expect_str_eq(said, "");
	SAYS("refused, ends before it starts: [0x3000, 0x2000) bank",
	     cr_expect_eq(memblock_take(&(struct mem_range){0x3000, 0x2000, MEM_RAM, "bank"}), 0));
	SAYS("refused, ends before it starts: [0x3000, 0x2000)",
	     cr_expect_eq(memblock_take(&(struct mem_range){0x3000, 0x2000, MEM_TRACE, NULL}),
			  -EINVAL));
	/* The last bytes that can be named are RAM, those behind them are not. */
	snprintf(text, sizeof(text), "memblock: cut at the widest address: [%#llx, %#llx)\n",
		 (long long)beyond - 0x10000, ~0ull);
	said[0] = 0;
	cr_expect_eq(memblock_take(&(struct mem_range){beyond - 0x10000, ~0ull, MEM_RAM, NULL}), 0);
	cr_expect_str_eq(said, text);
	cr_expect_eq(ram_bytes(), 0x410000);
	cr_expect_eq(memblock_memory.regions[1].end, beyond);
	for (unsigned kind = MEM_RAM; kind <= MEM_TRACE; kind++) {
		said[0] = 0;
		cr_expect_eq(memblock_take(&(struct mem_range){beyond + 5, beyond + 9, kind, NULL}), 0);
		cr_expect(strstr(said, "cut at the widest") && !strstr(said, "too many"), "%s", said);
	}
	cr_expect_eq(memblock_memory.cnt, 2);
	said[0] = 0;
	cr_expect_eq(memblock_take(&(struct mem_range){beyond - 0x20000, beyond, MEM_RAM, NULL}), 0);
	cr_expect_eq(memblock_take(&(struct mem_range){0x5000, 0x5000, MEM_RESERVED, NULL}), 0);
	cr_expect_str_eq(said, "", "nothing is wrong with these");
	cr_expect_eq(memblock_reserved.cnt, 1, "empty is nothing");
}

/* Nobody knows what a reservation protected that makes no sense: there is no start then. */
Test(memblock, a_firmware_that_reserves_nonsense)
{
	START({0, 0x1000000, MEM_RAM, "ram"}, {0x9000, 0x8000, MEM_RAM, "harmless"},
	      {0x3000, 0x2000, MEM_RESERVED, "first"}, {0x6000, 0x5000, MEM_RESERVED, "second"});
	cr_expect_eq(quire_init(NULL), -EINVAL);
	cr_expect(strstr(said, "[0x9000, 0x8000) harmless"), "%s", said);
	cr_expect(strstr(said, "[0x3000, 0x2000) first"), "%s", said);
	cr_expect(strstr(said, "[0x6000, 0x5000) second"), "%s", said);
	cr_expect_eq(memblock_memory.cnt + memblock_reserved.cnt, 0, "nothing stays behind");
}

Test(memblock, only_harmless_nonsense)
{
	START({0, 0x1000000, MEM_RAM, "ram"}, {0x9000, 0x8000, MEM_RAM, "back"},
	      {0x5000, 0x5000, MEM_RESERVED, "empty"});
	cr_expect_eq(quire_init(NULL), 0);
	cr_expect(strstr(said, "refused, ends before it starts: [0x9000, 0x8000) back"));
	cr_expect_not(strstr(said, "empty"));
	machine_down();
}

/* More ranges than there is room for: RAM is left out, a reservation that is lost is an error. */
Test(memblock, too_many_ranges)
{
	struct memblock_type was;
	unsigned n;

	START({0, 0x4000000, MEM_RAM, "ram"});
	cr_assert_eq(memblock_init(), 0);
	for (n = memblock_memory.cnt; n < MEMBLOCK_REGIONS; n++)
		cr_assert_eq(memblock_take(&(struct mem_range){0x10000000 + n * 0x10000,
			0x10000000 + n * 0x10000 + 0x8000, MEM_RAM, NULL}), 0);
	for (n = memblock_reserved.cnt; n < MEMBLOCK_REGIONS; n++)
		cr_assert_eq(memblock_take(&(struct mem_range){n * 0x10000, n * 0x10000 + 0x8000,
			MEM_RESERVED, NULL}), 0);
	cr_expect_str_eq(said, "");
	was = memblock_memory;
	SAYS("too many ranges, not used: [0x20000000, 0x20008000) late",
	     cr_expect_eq(memblock_take(&(struct mem_range){0x20000000, 0x20008000, MEM_RAM,
							    "late"}), 0));
	cr_expect_eq(memcmp(&was, &memblock_memory, sizeof(was)), 0);
	/* A hole in a range makes two of it, a shorter one does not. */
	cr_expect_eq(memblock_remove(0x1000000, 0x1001000), -ENOMEM);
	cr_expect_eq(memcmp(&was, &memblock_memory, sizeof(was)), 0);
	cr_expect_eq(memblock_remove(0x3000000, 0x4000000), 0);
	cr_expect_eq(memblock_memory.regions[0].end, 0x3000000);
	was = memblock_reserved;
	SAYS("too many reservations: [0x2000000, 0x2000001) late",
	     cr_expect_eq(memblock_take(&(struct mem_range){0x2000000, 0x2000001, MEM_RESERVED,
							    "late"}), -ENOMEM));
	cr_expect_eq(memblock_free(0x11000, 0x12000), -ENOMEM);
	cr_expect_eq(memblock_alloc(PAGE_SIZE, PAGE_SIZE), 0, "far from any reservation");
	cr_expect_null(memblock_alloc_zeroed(PAGE_SIZE));
	cr_expect_eq(memcmp(&was, &memblock_reserved, sizeof(was)), 0);
	/* At the side of one there is no need of another. */
	cr_expect_eq(memblock_reserve(0x2ff8000, 0x2ff8000), 0);
	cr_expect_eq(memblock_free(0x7f0000, 0x7f8000), 0);
	cr_expect_eq(memblock_reserve(0x2ff8000, 0x3000000), 0);
	cr_expect_eq(memblock_remove(0x10000000, UINT64_MAX), 0);
	cr_expect_eq(memblock_alloc(PAGE_SIZE, PAGE_SIZE), 0x2ff8000 - PAGE_SIZE);
}

Test(memblock, sizes_that_make_no_sense)
{
	START({0, 0x400000, MEM_RAM, "ram"});
	cr_assert_eq(memblock_init(), 0);
	cr_expect_eq(memblock_alloc(0, PAGE_SIZE), 0);
	cr_expect_eq(memblock_alloc(SIZE_MAX, PAGE_SIZE), 0);
	cr_expect_eq(memblock_alloc(SIZE_MAX - PAGE_SIZE, PAGE_SIZE), 0);
	cr_expect_eq(memblock_alloc(PAGE_SIZE, (size_t)1 << 63), 0);
	cr_expect_null(memblock_alloc_zeroed(SIZE_MAX));
	cr_expect_eq(memblock_reserved.cnt, 1);
	cr_expect_eq(memblock_alloc(1, 1), 0x400000 - PAGE_SIZE, "a page is the least");
}

/* ---- maps of every kind against a plain model -------------------------------------------------- */

enum { FRAMES = 96, UNITS = 8 }; /* a frame in eighths: ranges are seldom aligned */

static bool ram[FRAMES * UNITS], held[FRAMES * UNITS];

static bool frame_is(uint64_t pfn, bool want_free)
{
	for (unsigned i = pfn * UNITS; i < (pfn + 1) * UNITS; i++)
		if (!ram[i] || (want_free && held[i]))
			return false;
	return true;
}

/* Ranges of every kind, whole pages or not, some of them empty or backwards. */
static void random_map(void)
{
	unsigned most = rnd() & 1 ? 400 : 60; /* few large ranges, or many small ones */

	memset(ram, 0, sizeof(ram));
	memset(held, 0, sizeof(held));
	memset(held, 1, UNITS);
	cr_assert_eq(memblock_init(), 0);
	cr_assert_eq(memblock_remove(0, FRAMES * PAGE_SIZE), 0);
	for (unsigned n = rnd() % 14; n; n--) {
		unsigned align = rnd() & 1 ? UNITS : 1, kind = rnd() % 7;
		unsigned a = rnd() % (FRAMES * UNITS) / align * align;
		unsigned b = a + rnd() % (kind > MEM_RAM && kind < 5 ? 60 : most) / align * align;
		struct mem_range r = {.kind = kind < 5 ? kind : MEM_RAM, .name = "r"};

		b = b < FRAMES * UNITS ? b : FRAMES * UNITS;
		r.start = a * (PAGE_SIZE / UNITS);
		r.end = b * (PAGE_SIZE / UNITS);
		if (rnd() % 8 == 0) {
			phys_addr_t t = r.start;

			r.start = r.end;
			r.end = t;
		}
		cr_assert_eq(memblock_take(&r), r.start <= r.end || r.kind == MEM_RAM ? 0 : -EINVAL);
		for (unsigned i = a; i < b && r.start < r.end; i++) {
			ram[i] |= r.kind != MEM_RESERVED && r.kind != MEM_TRACE;
			held[i] |= r.kind != MEM_RAM;
		}
	}
}

/* Both walks give each run once, in order, and nothing between. */
static void check_walks(void)
{
	for (int only_free = 0; only_free < 2; only_free++) {
		uint64_t s = 0, e, at = 0;

		while (only_free ? memblock_next_free(&s, &e) : memblock_next_memory(&s, &e)) {
			cr_assert(s < e && s >= at);
			for (; at < s; at++)
				cr_assert_not(frame_is(at, only_free), "frame %lu", at);
			for (; at < e; at++)
				cr_assert(frame_is(at, only_free), "frame %lu", at);
			s = e;
		}
		for (; at < FRAMES; at++)
			cr_assert_not(frame_is(at, only_free), "frame %lu", at);
	}
}

/* The highest aligned place of n free frames, by trying each. */
static uint64_t highest(unsigned n, unsigned align)
{
	for (uint64_t at = FRAMES - 1; at; at--) {
		unsigned i = 0;

		while (at % align == 0 && i < n && at + i < FRAMES && frame_is(at + i, true))
			i++;
		if (i == n)
			return at;
	}
	return 0;
}

Test(memblock, random_maps_against_a_model)
{
	static const struct mem_range r[] = {{0, FRAMES * PAGE_SIZE, MEM_RAM, "ram"}};
	unsigned given = 0, refused = 0;

	start(r, 1);
	for (unsigned round = 0; round < 3000; round++) {
		random_map();
		check_sorted(&memblock_memory);
		check_sorted(&memblock_reserved);
		check_walks();
		for (unsigned k = 0; k < 12; k++) {
			unsigned n = 1 + rnd() % 6, align = 1u << rnd() % 4;
			uint64_t want = highest(n, align);
			size_t size = n * PAGE_SIZE - rnd() % PAGE_SIZE;

			cr_assert_eq(memblock_alloc(size, align * PAGE_SIZE), want * PAGE_SIZE,
				     "round %u: %u frames, by %u", round, n, align);
			given += want != 0;
			refused += want == 0;
			for (unsigned i = want * UNITS; want && i < (want + n) * UNITS; i++)
				held[i] = true;
		}
		check_walks();
	}
	cr_expect_gt(given, 1000);
	cr_expect_gt(refused, 1000);
}
