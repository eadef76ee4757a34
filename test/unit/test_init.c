/* SPDX-License-Identifier: MIT */
/* Start and end of the core: repeated, failing half-way, in machines that are too small. */
#include <stdio.h>

#include "mm_test.h"

#include "mm/base/vmstat.h"
#include "mm/phys/kmap.h"
#include "mm/phys/memblock.h"
#include <quire/abi.h>

#define MIB (1ull << 20)

/* What is left in a cache that ends is told. */
static unsigned bugs;

/* What a start that fails says of itself. */
static const char *const steps[] = {
	"the list of the machine's memory: error 22",
	"no memory for the kernel's page tables",
	"no memory for the CPUs' counters",
	"no memory for the lists of pages",
	"no memory for struct pages and zones",
	"struct pages and zones: error 117",
	"no memory for the slab allocator's frame numbers",
	"no memory for the page of zeros",
	"no memory for the slab allocator",
	"vmalloc: error 22",
	"the trace ring: error 22",
	"no memory for files and the page cache",
	"no memory for address spaces",
	"the core runs already: error 16",
};
static unsigned said, told[ARRAY_SIZE(steps)];
static char last[128];

void os_log(const char *line)
{
	bugs += !strncmp(line, "BUG", 3);
	if (strncmp(line, "start: ", 7))
		return;
	said++;
	snprintf(last, sizeof(last), "%s", line + 7);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		told[i] += !strcmp(last, steps[i]);
}

/* A start; one that fails says which step did, once, and one that succeeds says nothing. */
static int start(const struct quire_config *cfg)
{
	unsigned before = said;
	int err = quire_init(cfg);

	cr_assert_eq(said - before, err ? 1 : 0, "error %d: %s", err, last);
	return err;
}

static void every_failure(enum quire_inject kind)
{
	uint64_t nth;
	int err;

	cr_assert_eq(fake_machine_create(&(struct fake_config){.ram = 64 * MIB, .cpus = 2}), 0);
	for (nth = 1; nth < 200; nth++) {
		quire_inject_set(kind, nth);
		err = start(NULL);
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
	cr_expect_eq(start(NULL), -EBUSY);
	machine_down();
	cr_expect_eq(quire_exit(), 0);
}

Test(init, machines_that_are_too_small)
{
	static const struct mem_range tiny[] = {{0, 0x8000, MEM_RAM, "tiny"}};
	static const struct mem_range taken[] = {{0, 0x800000, MEM_RAM, "ram"},
						 {0, 0x800000, MEM_RESERVED, "all of it"}};

	fake_machine_create(&(struct fake_config){.ranges = tiny, .nranges = 1});
	cr_expect_lt(start(NULL), 0);
	fake_machine_destroy();
	fake_machine_create(&(struct fake_config){.ranges = taken, .nranges = 2});
	cr_expect_eq(start(NULL), -EINVAL);
	fake_machine_destroy();
}

/* From nothing to enough: each either starts or says that it cannot. */
static void small_machines(unsigned cpus)
{
	unsigned started = 0;

	cr_expect_eq(node_page_state(NR_FILE_PAGES), 0, "before there is a machine");
	for (unsigned pages = 1; pages < 3000; pages += pages < 300 ? 1 : 97) {
		struct mem_range r = {0, pages * PAGE_SIZE, MEM_RAM, "small"};

		if (fake_machine_create(&(struct fake_config){.ranges = &r, .nranges = 1, .cpus = cpus}))
			continue;
		if (start(NULL) == 0) {
			started++;
			cr_expect_eq(check_phys(), 0);
			cr_expect_eq(quire_exit(), 0, "%u pages", pages);
		}
		fake_machine_destroy();
		cr_assert_eq(bugs, 0, "%u pages", pages);
	}
	cr_expect_gt(started, 5);
}

Test(init, machines_of_every_small_size)
{
	small_machines(1);
}

Test(init, bad_trace_ring)
{
	static _Alignas(64) char ring[16];

	fake_machine_create(NULL);
	cr_expect_eq(start(&(struct quire_config){.trace_ring = ring, .trace_ring_size = 16}),
		     -EINVAL);
	cr_expect_eq(bugs, 0, "nothing is left");
	cr_expect_eq(start(NULL), 0);
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

/* Kernel tables that lie apart are each a range to set aside at the next start: too many. */
static void too_many_tables(void)
{
	struct page *between[MEMBLOCK_REGIONS + 8];

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(between); i++) {
		cr_assert_neq(kmap_table_alloc(NULL).n, UINT64_MAX);
		between[i] = alloc_pages(GFP_KERNEL, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(between); i++)
		__free_pages(between[i], 0);
	cr_expect_eq(quire_exit(), 0);
	cr_expect_eq(start(NULL), -ENOMEM);
	fake_machine_destroy();
}

static void odd_layouts(void)
{
	struct kernel_layout *l;
	uintptr_t end;

	fake_machine_create(NULL);
	fake_corrupt_window(hal_kernel_layout()->vmemmap_base, true);
	cr_expect_eq(start(NULL), -EUCLEAN);
	fake_corrupt_window(hal_kernel_layout()->vmemmap_base, false);
	l = (struct kernel_layout *)(uintptr_t)hal_kernel_layout();
	end = l->vmalloc_end;
	l->vmalloc_end = l->vmalloc_base + 2 * PAGE_SIZE;
	cr_expect_eq(start(NULL), -EINVAL);
	l->vmalloc_end = end;
	cr_expect_eq(start(NULL), 0);
	cr_expect_eq(start(NULL), -EBUSY);
	machine_down();
}

/* Every step that can fail has been seen to, and was named. */
Test(init, every_step_is_named)
{
	struct mem_range taken[] = {{0, 0x800000, MEM_RAM, "ram"},
				    {0, 0x800000, MEM_RESERVED, "all of it"}};
	static _Alignas(64) char ring[16];

	fake_machine_create(&(struct fake_config){.ranges = taken, .nranges = 2});
	cr_expect_eq(start(NULL), -EINVAL);
	fake_machine_destroy();
	small_machines(1);
	small_machines(16); /* their counters alone do not fit */
	odd_layouts();
	every_failure(QUIRE_INJECT_PAGE);
	every_failure(QUIRE_INJECT_SLAB);
	fake_machine_create(NULL);
	cr_expect_eq(start(&(struct quire_config){.trace_ring = ring, .trace_ring_size = 16}), -EINVAL);
	fake_machine_destroy();
	too_many_tables();
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		cr_expect(told[i] || (PAGE_SIZE > 4096 && strstr(steps[i], "counters")),
			  "never seen: %s", steps[i]); /* a larger page holds them all */
}
