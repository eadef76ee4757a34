/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 start on hostile input: memory maps, modules and command lines that no sane loader
 * writes. The boot code itself is compiled in, over a start info that the test lays out below
 * 4 GiB, where boot looks for it. Each test is a process of its own, so boot's state is fresh.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/x86_64/start.c"

/* ---- what start.c links against -------------------------------------------------------------- */

#define IMAGE_AT 0x100000ul
#define IMAGE_SIZE 0x40000ul

char __image_start[IMAGE_SIZE], __image_end[1];
uintptr_t hal_direct_base;
unsigned x86_phys_bits = 40;
static char log_text[65536];

void boot_log(const char *fmt, ...)
{
	size_t n = strlen(log_text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(log_text + n, sizeof(log_text) - n, fmt, ap);
	va_end(ap);
	strncat(log_text, "\n", sizeof(log_text) - strlen(log_text) - 1);
}

void boot_die(const char *fmt, ...)
{
	exit(42);
}

void x86_console_init(void) {}
void x86_tables_init(unsigned cpu, void *stack_top) {}
void x86_features_init(void) {}
void x86_acpi_init(uint64_t pa) {}
void x86_mmu_init(void) {}
void x86_time_init(void) {}
void kernel_main(const struct boot_info *bi)
{
	exit(1);
}

/* ---- the loader's side ----------------------------------------------------------------------- */

static struct {
	struct start_info si;
	struct start_module mod;
	struct start_entry e[1024];
	char cmdline[8192];
} *low;

static struct start_module module; /* of the next boot_with() */

/* Lays out n entries and runs the parser; the image lies at 1 MiB as on the machine. */
static void boot_with(const struct start_entry *e, unsigned n, const char *words)
{
	low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	cr_assert_neq(low, MAP_FAILED);
	if (n)
		memcpy(low->e, e, n * sizeof(*e));
	strcpy(low->cmdline, words);
	low->mod = module;
	low->si = (struct start_info){
		.magic = START_MAGIC,
		.version = 1,
		.cmdline = (uint64_t)low->cmdline,
		.memmap = (uint64_t)low->e,
		.memmap_entries = n,
		.modlist = (uint64_t)&low->mod,
		.nr_modules = low->mod.size ? 1 : 0,
	};
	hal_direct_base = (uintptr_t)__image_start - IMAGE_AT;
	x86_start_info((uint64_t)&low->si);
}

static void expect_spans(const struct x86_span *want, unsigned n)
{
	cr_assert_eq(x86_nspans, n, "%u spans, not %u\n%s", x86_nspans, n, log_text);
	for (unsigned i = 0; i < n; i++) {
		cr_expect_eq(x86_spans[i].start, want[i].start, "span %u", i);
		cr_expect_eq(x86_spans[i].end, want[i].end, "span %u", i);
		cr_expect_eq(x86_spans[i].ram, want[i].ram, "span %u", i);
	}
}

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define MB (1ul << 20)

Test(x86_boot_map, an_ordinary_map_is_taken_as_it_is)
{
	struct start_entry e[] = {
		{0, 0x9fc00, 1, 0}, {0x9fc00, 0x400, 2, 0}, {0xf0000, 0x10000, 2, 0},
		{MB, 127 * MB, 1, 0}, {0xfffc0000, 0x40000, 2, 0},
	};
	struct x86_span want[] = {
		{0, 0x9f000, true}, {0x9f000, 0xa0000, false}, {0xf0000, 0x100000, false},
		{MB, 128 * MB, true}, {0xfffc0000, 0x100000000, false},
	};

	boot_with(e, N(e), "quiet");
	expect_spans(want, N(want));
	cr_expect_str_empty(log_text);
}

Test(x86_boot_map, reserved_wins_over_ram_in_any_order)
{
	struct start_entry e[] = {
		{4 * MB, 0x1234, 2, 0}, {MB, 16 * MB, 1, 0}, {8 * MB, 16 * MB, 1, 0},
		{5 * MB + 1, 1, 4, 0},
	};
	struct x86_span want[] = {
		{MB, 4 * MB, true}, {4 * MB, 4 * MB + 0x2000, false},
		{4 * MB + 0x2000, 5 * MB, true}, {5 * MB, 5 * MB + 0x1000, false},
		{5 * MB + 0x1000, 24 * MB, true},
	};

	boot_with(e, N(e), "");
	expect_spans(want, N(want));
	cr_expect(strstr(log_text, "overlap"));
}

Test(x86_boot_map, bad_entries_are_told_and_cut)
{
	struct start_entry e[] = {
		{MB, 16 * MB, 1, 0},
		{32 * MB, 0, 1, 0},
		{1ul << 39, UINT64_MAX, 1, 0},
		{1ul << 50, MB, 1, 0},
		{64 * MB, MB, 77, 0},
		{96 * MB + 10, 20, 1, 0},
	};
	struct x86_span want[] = {
		{MB, 17 * MB, true},
		{64 * MB, 65 * MB, false},
		{1ul << 39, 1ul << 40, true},
	};

	boot_with(e, N(e), "");
	expect_spans(want, N(want));
	cr_expect(strstr(log_text, "entry 1 "));
	cr_expect(strstr(log_text, "entry 2 "));
	cr_expect(strstr(log_text, "entry 3 "));
	cr_expect(strstr(log_text, "entry 4 "));
}

Test(x86_boot_map, more_entries_than_fit_are_told)
{
	static struct start_entry e[600];

	for (unsigned i = 0; i < N(e); i++)
		e[i] = (struct start_entry){(i + 1) * 2 * MB, MB, 1, 0};
	boot_with(e, N(e), "");
	cr_expect_eq(x86_nspans, MAX_ENTRIES);
	cr_expect(strstr(log_text, "do not fit"));
}

Test(x86_boot_map, no_map_ends_the_machine, .exit_code = 42)
{
	boot_with(NULL, 0, "");
}

Test(x86_boot_map, an_endless_command_line_is_cut)
{
	struct start_entry e[] = {{MB, 16 * MB, 1, 0}};
	static char words[6000];

	memset(words, 'x', sizeof(words) - 1);
	boot_with(e, 1, words);
	cr_expect_eq(strlen(cmdline), CMDLINE_MAX - 1);
	cr_expect(strstr(log_text, "command line is cut"));
}

Test(x86_boot_map, the_ring_keeps_clear_of_what_is_claimed)
{
	struct start_entry e[] = {{MB, 31 * MB, 1, 0}, {64 * MB, MB, 2, 0}};

	boot_with(e, N(e), "x trace=4M y");
	claim(30 * MB, MB, MEM_BOOT_DATA, "initrd");
	x86_trace_ring_init();
	cr_expect_eq(ring_start, 26 * MB);
	cr_expect_eq(ring_size, 4 * MB);
}

Test(x86_boot_map, a_ring_that_cannot_be_is_refused)
{
	struct start_entry e[] = {{MB, 31 * MB, 1, 0}};

	boot_with(e, N(e), "trace=64M -- trace=1M");
	x86_trace_ring_init();
	cr_expect_eq(ring_size, 0);
	cr_expect(strstr(log_text, "no room"));
}

/* The firmware took the page in which the initrd ends: it moves, whole, to where all is RAM. */
Test(x86_boot_map, an_initrd_that_runs_out_of_ram)
{
	unsigned char *area = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint64_t at = (uint64_t)area;
	struct start_entry e[] = {{MB, MB, 1, 0}, {at, 0x8000, 1, 0}, {at + 0x8000, 0x8000, 2, 0}};

	cr_assert_neq(area, MAP_FAILED);
	for (unsigned i = 0; i < 0x2345; i++)
		area[0x6000 + i] = (unsigned char)(i * 7 >> 3);
	module = (struct start_module){.start = at + 0x6000, .size = 0x2345};
	boot_with(e, N(e), "");
	cr_expect_eq(initrd_start, at + 0x5000);
	cr_expect_eq(initrd_size, 0x2345);
	for (unsigned i = 0; i < 0x2345; i++)
		cr_assert_eq(((unsigned char *)initrd_start)[i], (unsigned char)(i * 7 >> 3));
	cr_expect(claimed(at + 0x5000, at + 0x8000));
	cr_expect(strstr(log_text, "initrd moved"));
}

/* One that lies where nothing can be read, or that fits nowhere, is left out later, with a reason. */
Test(x86_boot_map, an_initrd_that_is_nowhere)
{
	struct start_entry e[] = {{MB, MB, 1, 0}};

	module = (struct start_module){.start = 1ull << 40, .size = 0x2000};
	boot_with(e, N(e), "");
	cr_expect_eq(initrd_start, 1ull << 40);
	cr_expect_null(initrd_address());
	cr_expect_eq(initrd_size, 0);
	cr_expect(strstr(log_text, "does not lie in RAM"));
}

Test(x86_boot_map, words_behind_the_dashes_are_the_programs)
{
	struct start_entry e[] = {{MB, 31 * MB, 1, 0}};

	boot_with(e, N(e), "init=/a -- trace=1M");
	x86_trace_ring_init();
	cr_expect_eq(ring_size, 0);
	cr_expect_str_empty(log_text);
}
