/* SPDX-License-Identifier: MIT */
/* Start and end of the core: repeated, failing half-way, in machines that are too small. */
#include "mm_test.h"

#include "mm/base/vmstat.h"
#include "mm/phys/kmap.h"
#include <quire/abi.h>

#define MIB (1ull << 20)

/* What is left in a cache that ends is told. */
static unsigned bugs;

void os_log(const char *line)
{
	bugs += !strncmp(line, "BUG", 3);
}

static void every_failure(enum quire_inject kind)
{
	uint64_t nth;
	int err;

	cr_assert_eq(fake_machine_create(&(struct fake_config){.ram = 64 * MIB, .cpus = 2}), 0);
	for (nth = 1; nth < 200; nth++) {
		quire_inject_set(kind, nth);
		err = quire_init(NULL);
		quire_inject_set(kind, 0);
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
		cr_assert_eq(bugs, 0, "something is left after failure %llu", (unsigned long long)nth);
	}
	cr_expect_gt(nth, 1);
	cr_expect_lt(nth, 200);
	machine_down();
}

Test(init, pages_that_fail)
{
	every_failure(QUIRE_INJECT_PAGE);
}

Test(init, objects_that_fail)
{
	every_failure(QUIRE_INJECT_SLAB);
}

Test(init, twice_is_refused)
{
	machine_up(64 * MIB, 1);
	cr_expect_eq(quire_init(NULL), -EBUSY);
	machine_down();
	cr_expect_eq(quire_exit(), 0);
}

Test(init, machines_that_are_too_small)
{
	static const struct mem_range tiny[] = {{0, 0x8000, MEM_RAM, "tiny"}};
	static const struct mem_range taken[] = {{0, 0x800000, MEM_RAM, "ram"},
						 {0, 0x800000, MEM_RESERVED, "all of it"}};

	fake_machine_create(&(struct fake_config){.ranges = tiny, .nranges = 1});
	cr_expect_lt(quire_init(NULL), 0);
	fake_machine_destroy();
	fake_machine_create(&(struct fake_config){.ranges = taken, .nranges = 2});
	cr_expect_eq(quire_init(NULL), -EINVAL);
	fake_machine_destroy();
}

/* From nothing to enough: each either starts or says that it cannot. */
Test(init, machines_of_every_small_size)
{
	unsigned started = 0;

	cr_expect_eq(node_page_state(NR_FILE_PAGES), 0, "before there is a machine");
	for (unsigned pages = 1; pages < 3000; pages += pages < 300 ? 1 : 97) {
		struct mem_range r = {0, pages * PAGE_SIZE, MEM_RAM, "small"};

		if (fake_machine_create(&(struct fake_config){.ranges = &r, .nranges = 1}))
			continue;
		if (quire_init(NULL) == 0) {
			started++;
			cr_expect_eq(check_phys(), 0);
			cr_expect_eq(quire_exit(), 0, "%u pages", pages);
		}
		fake_machine_destroy();
		cr_assert_eq(bugs, 0, "%u pages", pages);
	}
	cr_expect_gt(started, 5);
}

Test(init, bad_trace_ring)
{
	static _Alignas(64) char ring[16];

	fake_machine_create(NULL);
	cr_expect_eq(quire_init(&(struct quire_config){.trace_ring = ring, .trace_ring_size = 16}),
		     -EINVAL);
	cr_expect_eq(bugs, 0, "nothing is left");
	cr_expect_eq(quire_init(NULL), 0);
	machine_down();
}

Test(init, public_memory)
{
	struct quire_counts before, after;
	char *a, *b;

	machine_up(64 * MIB, 1);
	quire_drain();
	quire_get_counts(&before);
	a = quire_kmalloc(100, QUIRE_GFP_ZERO | QUIRE_GFP_ATOMIC);
	b = quire_alloc_pages(2, QUIRE_GFP_ZERO);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(a[i], 0);
	cr_assert_eq(b[4 * PAGE_SIZE - 1], 0);
	quire_kfree(a);
	quire_free_pages(b, 2);
	quire_drain();
	quire_get_counts(&after);
	cr_expect_eq(before.free_pages, after.free_pages);
	cr_expect_eq(before.slab_pages, after.slab_pages);
	cr_expect_eq(after.managed_pages, before.managed_pages);
	machine_down();
}

/* Tables for the kernel's own range, once the buddy is up: none is told as none. */
Test(init, kernel_tables_that_fail)
{
	unsigned long before;

	machine_up(64 * MIB, 1);
	before = kmap_table_pages();
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_eq(kmap_table_alloc(NULL).n, UINT64_MAX);
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	cr_expect_eq(kmap_table_pages(), before);
	cr_expect_neq(kmap_table_alloc(NULL).n, UINT64_MAX);
	cr_expect_eq(kmap_table_pages(), before + 1);
	machine_down();
}
