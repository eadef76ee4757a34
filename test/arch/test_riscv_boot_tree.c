/* SPDX-License-Identifier: MIT */
/*
 * The RISC-V start on device trees that no sane firmware writes: banks that overlap, run past the
 * last address, are empty, unsorted or unaligned; reservations of every kind; damaged blobs. The
 * boot code itself is compiled in; libfdt makes the trees. Each test is a process of its own.
 */
#include <criterion/criterion.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/riscv/platform.c"

/* ---- what platform.c links against ------------------------------------------------------------ */

#define RAM_AT	 0x80000000ul
#define IMAGE_AT 0x80200000ul
#define TREE_AT	 0x82000000ul
#define TREE_MAX 65536ul
#define MB	 (1ul << 20)
#define N(a)	 (sizeof(a) / sizeof((a)[0]))

char __image_start[0x40000] __attribute__((aligned(4096)));
__asm__(".globl __image_end\n.set __image_end, __image_start + 0x40000");
uintptr_t hal_direct_base, hal_image_offset;
static char said[65536];

/* A clock, if the tree has one: its high half is kept when the low one is read. */
static uint64_t rtc_at, rtc_now;
static uint32_t rtc_kept;
static char rtc_regs[8];

void *hal_map_device(phys_addr_t pa, uint64_t size)
{
	return rtc_at && pa == rtc_at && size >= sizeof(rtc_regs) ? rtc_regs : NULL;
}

uint32_t hal_reg_read(const void *reg, unsigned width)
{
	if (width != 4 || (reg != rtc_regs && reg != rtc_regs + 4))
		abort();
	if (reg != rtc_regs)
		return rtc_kept;
	rtc_kept = (uint32_t)(rtc_now >> 32);
	return (uint32_t)rtc_now;
}

static void note(const char *fmt, va_list ap)
{
	size_t n = strlen(said);

	vsnprintf(said + n, sizeof(said) - n, fmt, ap);
}

void boot_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(fmt, ap);
	va_end(ap);
}

/* The end of the boot, with its reason; 42 tells it from a crash. */
void boot_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(fmt, ap);
	va_end(ap);
	_exit(strlen(said) ? 42 : 1);
}

_Noreturn void bug_at(const char *file, int line, const char *what)
{
	abort();
}

void rv_devices_early(void)
{
}

/* ---- trees ------------------------------------------------------------------------------------ */

static char *tree; /* TREE_AT of the machine; ends at a page that may not be touched */

struct pair {
	uint64_t start, size;
};

static void put_reg(void *b, const struct pair *p, unsigned n)
{
	fdt64_t cells[64];

	for (unsigned i = 0; i < n; i++) {
		cells[2 * i] = cpu_to_fdt64(p[i].start);
		cells[2 * i + 1] = cpu_to_fdt64(p[i].size);
	}
	fdt_property(b, "reg", cells, (int)(n * 16));
}

static void put_cpus(void *b)
{
	fdt_begin_node(b, "cpus");
	fdt_property_u32(b, "#address-cells", 1);
	fdt_property_u32(b, "#size-cells", 0);
	fdt_property_u32(b, "timebase-frequency", 10000000);
	fdt_begin_node(b, "cpu@0");
	fdt_property_u32(b, "reg", 0);
	fdt_property_string(b, "riscv,isa", "rv64imafdc_zicsr");
	fdt_end_node(b);
	fdt_end_node(b);
}

/* banks: each a memory node's pairs; held: /memreserve/; kept: /reserved-memory. */
static void make_tree(const struct pair *banks, unsigned nbanks, const struct pair *held,
		      unsigned nheld, const struct pair *kept, unsigned nkept)
{
	char name[32];

	tree = mmap(NULL, TREE_MAX + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(tree + TREE_MAX, 4096, PROT_NONE);
	cr_assert_eq(fdt_create(tree, TREE_MAX), 0);
	for (unsigned i = 0; i < nheld; i++)
		fdt_add_reservemap_entry(tree, held[i].start, held[i].size);
	fdt_finish_reservemap(tree);
	fdt_begin_node(tree, "");
	fdt_property_u32(tree, "#address-cells", 2);
	fdt_property_u32(tree, "#size-cells", 2);
	put_cpus(tree);
	for (unsigned i = 0; i < nbanks; i++) {
		snprintf(name, sizeof(name), "memory@%u", i);
		fdt_begin_node(tree, name);
		fdt_property_string(tree, "device_type", "memory");
		put_reg(tree, &banks[i], 1);
		fdt_end_node(tree);
	}
	fdt_begin_node(tree, "reserved-memory");
	fdt_property_u32(tree, "#address-cells", 2);
	fdt_property_u32(tree, "#size-cells", 2);
	for (unsigned i = 0; i < nkept; i++) {
		snprintf(name, sizeof(name), "kept@%u", i);
		fdt_begin_node(tree, name);
		put_reg(tree, &kept[i], 1);
		fdt_end_node(tree);
	}
	fdt_end_node(tree);
	if (rtc_at) {
		fdt_begin_node(tree, "rtc");
		fdt_property_string(tree, "compatible", "google,goldfish-rtc");
		put_reg(tree, &(struct pair){rtc_at, 0x1000}, 1);
		fdt_end_node(tree);
	}
	fdt_begin_node(tree, "chosen");
	fdt_end_node(tree);
	fdt_end_node(tree);
	cr_assert_eq(fdt_finish(tree), 0);
}

static void boot(void)
{
	hal_direct_base = (uintptr_t)tree - TREE_AT; /* image addresses come out absurd: they lie nowhere */
	rv_platform_init(TREE_AT, 0);
}

static const struct pair none[1];

/* Whether the range is listed with that kind, exactly. */
static bool listed(uint64_t start, uint64_t end, enum mem_range_kind kind)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		const struct mem_range *r = &rv_platform.ranges[i].r;

		if (r->start == start && r->end == end && r->kind == kind)
			return true;
	}
	return false;
}

static unsigned banks_listed(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rv_platform.nr_ranges; i++)
		n += rv_platform.ranges[i].r.kind == MEM_RAM;
	return n;
}

/* ---- tests ------------------------------------------------------------------------------------ */

Test(riscv_boot_tree, an_ordinary_tree_is_taken_as_it_is)
{
	struct pair banks[] = {{RAM_AT, 128 * MB}};
	struct pair kept[] = {{RAM_AT, 0x80000}};

	make_tree(banks, 1, none, 0, kept, 1);
	boot();
	cr_expect_eq(banks_listed(), 1);
	cr_expect(listed(RAM_AT, RAM_AT + 128 * MB, MEM_RAM));
	cr_expect(listed(RAM_AT, RAM_AT + 0x80000, MEM_RESERVED));
	cr_expect(listed(TREE_AT, TREE_AT + fdt_totalsize(tree), MEM_RESERVED));
	cr_expect_str_empty(said);
}

Test(riscv_boot_tree, a_clock_of_the_day)
{
	struct pair banks[] = {{RAM_AT, 128 * MB}};

	make_tree(banks, 1, none, 0, none, 0);
	boot();
	cr_expect_eq(hal_realtime_ns(), 0, "there is none");
	rtc_at = 0x101000;
	rtc_now = 0x123456789abcdef0;
	make_tree(banks, 1, none, 0, none, 0);
	boot();
	cr_expect_eq(hal_realtime_ns(), 0x123456789abcdef0);
}

Test(riscv_boot_tree, banks_in_any_order_with_holes)
{
	struct pair banks[] = {{1ul << 36, 64 * MB}, {RAM_AT, 64 * MB}, {1ul << 33, 0},
			       {RAM_AT + 96 * MB + 123, 5 * MB + 77}};

	make_tree(banks, 4, none, 0, none, 0);
	boot();
	cr_expect_eq(banks_listed(), 3, "the empty one is nothing");
	cr_expect(listed(RAM_AT + 96 * MB + 123, RAM_AT + 101 * MB + 200, MEM_RAM));
	cr_expect(rv_is_ram(1ul << 36, 64 * MB));
	cr_expect_not(rv_is_ram(RAM_AT + 64 * MB, 1));
}

Test(riscv_boot_tree, banks_that_overlap_are_one)
{
	struct pair banks[] = {{RAM_AT, 32 * MB}, {RAM_AT + 48 * MB, 32 * MB},
			       {RAM_AT + 16 * MB, 40 * MB}, {RAM_AT, 32 * MB}};

	make_tree(banks, 4, none, 0, none, 0);
	boot();
	cr_expect_eq(banks_listed(), 1);
	cr_expect(listed(RAM_AT, RAM_AT + 80 * MB, MEM_RAM));
	cr_expect(strstr(said, "overlaps"));
}

Test(riscv_boot_tree, reservations_of_every_kind)
{
	struct pair banks[] = {{RAM_AT, 128 * MB}};
	struct pair held[] = {{RAM_AT + 3 * MB + 1, 100}, {RAM_AT + 100 * MB, UINT64_MAX / 2},
			      {RAM_AT + 3 * MB, 4096}};
	struct pair kept[] = {{RAM_AT, 0x80000}, {RAM_AT + 5 * MB, 0x3000}, {4 * MB, 0x1000}};

	make_tree(banks, 1, held, 3, kept, 3);
	boot();
	cr_expect(listed(RAM_AT + 3 * MB + 1, RAM_AT + 3 * MB + 101, MEM_RESERVED));
	cr_expect(listed(RAM_AT + 100 * MB, RAM_AT + 100 * MB + UINT64_MAX / 2, MEM_RESERVED));
	cr_expect(listed(RAM_AT + 5 * MB, RAM_AT + 5 * MB + 0x3000, MEM_RESERVED));
	cr_expect(listed(4 * MB, 4 * MB + 0x1000, MEM_RESERVED), "outside RAM: harmless");
	/* what boot takes for itself keeps clear of all of them */
	for (unsigned i = 0; i < 400; i++) {
		phys_addr_t at = rv_boot_alloc(4096, MEM_RESERVED, "table", UINT64_MAX);

		cr_assert_neq(at, UINT64_MAX);
		cr_assert_lt(at, RAM_AT + 100 * MB);
		cr_assert(at + 4096 <= TREE_AT || at >= TREE_AT + fdt_totalsize(tree));
		cr_assert(rv_is_ram(at, 4096));
	}
}

/* Nobody said where the firmware lies: all below the image is taken for it. */
Test(riscv_boot_tree, silent_firmware_is_kept)
{
	struct pair banks[] = {{RAM_AT, 128 * MB}};
	uint64_t image;

	make_tree(banks, 1, none, 0, none, 0);
	hal_direct_base = (uintptr_t)__image_start - IMAGE_AT;
	image = hal_virt_to_phys(__image_start);
	rv_platform.nr_ranges = 0;
	add_bank(RAM_AT, RAM_AT + 128 * MB, "memory");
	reserve_firmware(image);
	cr_expect(listed(RAM_AT, IMAGE_AT, MEM_RESERVED));
}

Test(riscv_boot_tree, a_bank_past_the_last_address_is_refused, .exit_code = 42)
{
	struct pair banks[] = {{RAM_AT, UINT64_MAX}};

	make_tree(banks, 1, none, 0, none, 0);
	boot();
}

Test(riscv_boot_tree, a_reservation_past_the_last_address_is_refused, .exit_code = 42)
{
	struct pair banks[] = {{RAM_AT, 128 * MB}};
	struct pair held[] = {{RAM_AT + 100 * MB, UINT64_MAX}};

	make_tree(banks, 1, held, 1, none, 0);
	boot();
}

Test(riscv_boot_tree, no_memory_is_refused, .exit_code = 42)
{
	make_tree(none, 0, none, 0, none, 0);
	boot();
}

Test(riscv_boot_tree, too_many_pieces_are_refused, .exit_code = 42)
{
	static struct pair banks[80];

	for (unsigned i = 0; i < 80; i++)
		banks[i] = (struct pair){RAM_AT + i * 2 * MB, MB};
	make_tree(banks, 80, none, 0, none, 0);
	boot();
}

/* One byte after the other damaged: the boot ends with a reason or goes on, it never runs wild.
 * What it goes on with is sorted out by memblock. */
Test(riscv_boot_tree, damaged_trees, .exit_code = 0)
{
	struct pair banks[] = {{RAM_AT, 128 * MB}, {1ul << 36, 64 * MB}};
	struct pair held[] = {{RAM_AT + 3 * MB, 4096}};
	struct pair kept[] = {{RAM_AT, 0x80000}};
	unsigned refused = 0, taken = 0;

	make_tree(banks, 2, held, 1, kept, 1);
	for (unsigned i = 0; i < fdt_totalsize(tree); i++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			tree[i] ^= (char)(1u << i % 8);
			boot();
			for (unsigned r = 0; r < rv_platform.nr_ranges; r++)
				if (rv_platform.ranges[r].r.start > rv_platform.ranges[r].r.end)
					_exit(3);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		cr_assert(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 42),
			  "byte %u: status %#x", i, status);
		refused += WEXITSTATUS(status) == 42;
		taken += !WEXITSTATUS(status);
	}
	cr_expect(refused > 100 && taken > 100, "%u refused, %u taken", refused, taken);
}
