/* SPDX-License-Identifier: MIT */
/*
 * The start of C on x86-64: takes the PVH start info apart (memory map, command line, initrd),
 * keeps what is in use out of the free memory, and enters the kernel.
 *
 * The firmware's map is not trusted: a bad entry is told and dropped or cut, never followed; where
 * entries overlap, "reserved" wins. Out of it boot makes x86_spans[]: sorted, page-aligned,
 * without overlaps. Only what lies in a RAM span is ever mapped or handed on.
 */
#include "x86.h"
#include "lib/string.h"

#define START_MAGIC 0x336ec578u
#define BOOT_REACH (1ull << 32) /* the boot tables map this much, one to one */
#define MAX_ENTRIES 256
#define MAX_SPANS (2 * MAX_ENTRIES + 1)
#define CMDLINE_MAX 4096
#define LOW_RESERVED 0x10000 /* real-mode vectors, BIOS data, room for a start-up page of a CPU */

#define E820_RAM 1
#define E820_KNOWN_MAX 7

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp;
	uint64_t memmap; /* version 1 on */
	uint32_t memmap_entries, reserved;
};

struct start_module {
	uint64_t start, size, cmdline, reserved;
};

struct start_entry {
	uint64_t start, size;
	uint32_t type, reserved;
};

struct x86_span x86_spans[MAX_SPANS];
unsigned x86_nspans;

/* What boot found in RAM that is not free memory. */
static struct mem_range claims[32];
static unsigned nclaims;

static struct start_entry map[MAX_ENTRIES];
static unsigned nmap;
static char cmdline[CMDLINE_MAX];
static uint64_t initrd_start, initrd_size;
static uint64_t ring_start, ring_size;
static uint64_t rsdp;
static uint64_t early_first, early_next; /* pages given out for tables: [first, next) */

static uint64_t page_down(uint64_t v)
{
	return v & ~(PAGE_BYTES - 1);
}

static uint64_t page_up(uint64_t v)
{
	return page_down(v + PAGE_BYTES - 1);
}

static void claim(uint64_t start, uint64_t size, enum mem_range_kind kind, const char *name)
{
	if (!size)
		return;
	if (nclaims == sizeof(claims) / sizeof(claims[0]))
		boot_die("the memory map is in too many pieces");
	claims[nclaims++] = (struct mem_range){start, start + size, kind, name};
}

bool x86_boot_reaches(uint64_t pa, uint64_t n)
{
	return n <= BOOT_REACH && pa <= BOOT_REACH - n;
}

/* Something the loader left at [start, start+size): reachable on the boot tables? */
static const void *loader_data(uint64_t start, uint64_t size, const char *what)
{
	if (start && x86_boot_reaches(start, size))
		return (const void *)start;
	boot_log("boot: %s at %#lx, %lu bytes: out of reach, ignored", what, start, size);
	return NULL;
}

/* ---- the memory map -------------------------------------------------------------------------- */

/* Adds one entry of the firmware's, checked. i is for the message. False: there is no room. */
static bool map_add(uint64_t start, uint64_t size, uint32_t type, uint64_t i)
{
	const uint64_t end_of_bus = 1ull << x86_phys_bits;
	const char *wrong = NULL;

	if (!size)
		wrong = "empty, ignored";
	else if (start + size < start)
		wrong = "runs past the end of addresses, cut";
	else if (start >= end_of_bus || size > end_of_bus - start)
		wrong = "beyond the processor's address bits, cut";
	else if (!type || type > E820_KNOWN_MAX)
		wrong = "of unknown type, taken as reserved";
	if (wrong)
		boot_log("boot: memory map entry %lu (start %#lx size %#lx type %lu) is %s", i,
			start, size, (uint64_t)type, wrong);
	if (!size || start >= end_of_bus)
		return true;
	if (size > end_of_bus - start)
		size = end_of_bus - start;
	if (nmap == MAX_ENTRIES) {
		boot_log("boot: memory map entry %lu and later ones do not fit, ignored", i);
		return false;
	}
	map[nmap++] = (struct start_entry){start, size, type, 0};
	return true;
}

/* Reserved entries first: if not all fit, it is RAM that is left out. */
static void map_read(const struct start_entry *e, unsigned n)
{
	for (int ram = 0; ram < 2; ram++)
		for (unsigned i = 0; i < n; i++)
			if ((e[i].type == E820_RAM) == ram &&
			    !map_add(e[i].start, e[i].size, e[i].type, i))
				return;
}

/* Whole pages of an entry: RAM shrinks to them, reserved grows. */
static void entry_pages(const struct start_entry *e, uint64_t *start, uint64_t *end)
{
	if (e->type == E820_RAM) {
		*start = page_up(e->start);
		*end = page_down(e->start + e->size);
	} else {
		*start = page_down(e->start);
		*end = page_up(e->start + e->size);
	}
	if (*end < *start)
		*end = *start;
}

/* What covers [at, at+1 page): 0 nothing, 1 RAM, 2 reserved. *next: where that may change. */
static int cover(uint64_t at, uint64_t *next)
{
	int found = 0;

	*next = UINT64_MAX;
	for (unsigned i = 0; i < nmap; i++) {
		uint64_t start, end;

		entry_pages(&map[i], &start, &end);
		if (start > at && start < *next)
			*next = start;
		if (end > at && end < *next)
			*next = end;
		if (start <= at && at < end) {
			if (map[i].type != E820_RAM)
				found = 2;
			else if (!found)
				found = 1;
		}
	}
	return found;
}

static void tell_overlaps(void)
{
	for (unsigned i = 0; i < nmap; i++) {
		for (unsigned j = i + 1; j < nmap; j++) {
			uint64_t end_i = map[i].start + map[i].size;
			uint64_t end_j = map[j].start + map[j].size;

			if (map[i].start < end_j && map[j].start < end_i)
				boot_log("boot: memory map: %#lx-%#lx and %#lx-%#lx overlap",
					map[i].start, end_i, map[j].start, end_j);
		}
	}
}

/* Sweeps the entries into x86_spans[]. */
static void make_spans(void)
{
	uint64_t at = 0;

	tell_overlaps();
	while (at != UINT64_MAX) {
		uint64_t next;
		int kind = cover(at, &next);

		if (kind) {
			struct x86_span *last = x86_nspans ? &x86_spans[x86_nspans - 1] : NULL;

			if (last && last->end == at && last->ram == (kind == 1))
				last->end = next;
			else if (x86_nspans < MAX_SPANS)
				x86_spans[x86_nspans++] = (struct x86_span){at, next, kind == 1};
		}
		at = next;
	}
}

/* ---- start info ------------------------------------------------------------------------------ */

static void take_cmdline(uint64_t pa)
{
	const char *s = pa ? loader_data(pa, CMDLINE_MAX, "the command line") : NULL;
	size_t n = 0;

	while (s && s[n] && n < CMDLINE_MAX - 1) {
		cmdline[n] = s[n];
		n++;
	}
	if (n == CMDLINE_MAX - 1)
		boot_log("boot: the command line is cut after %lu bytes", n);
}

static void take_initrd(const struct start_info *si)
{
	const struct start_module *m;

	if (!si->nr_modules)
		return;
	m = loader_data(si->modlist, sizeof(*m), "the module list");
	if (!m)
		return;
	if (si->nr_modules > 1)
		boot_log("boot: %lu modules, only the first is used",
			(uint64_t)si->nr_modules);
	if (m->size && m->start + m->size > m->start) {
		initrd_start = m->start;
		initrd_size = m->size;
	} else {
		boot_log("boot: module at %#lx, %lu bytes: not usable, ignored", m->start,
			m->size);
	}
}

/* ---- memory that boot itself takes ----------------------------------------------------------- */

/* The claim that [start, end) runs into, or NULL. */
static const struct mem_range *claimed(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < nclaims; i++)
		if (start < claims[i].end && claims[i].start < end)
			return &claims[i];
	return NULL;
}

bool x86_in_ram(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < x86_nspans; i++)
		if (x86_spans[i].ram && x86_spans[i].start <= start && end <= x86_spans[i].end)
			return true;
	return false;
}

/* The first free page at or after `at` that the boot tables reach; UINT64_MAX: none. */
static uint64_t free_page_from(uint64_t at)
{
	while (at < BOOT_REACH) {
		const struct mem_range *c = claimed(at, at + PAGE_BYTES);

		if (c)
			at = page_up(c->end);
		else if (x86_in_ram(at, at + PAGE_BYTES))
			return at;
		else
			at += PAGE_BYTES;
	}
	return UINT64_MAX;
}

pfn_t x86_early_page(void *ctx)
{
	uint64_t pa;

	if (!early_next)
		early_first = early_next = page_up(hal_virt_to_phys(__image_end));
	pa = free_page_from(early_next);
	if (pa == UINT64_MAX)
		return PFN(UINT64_MAX);
	/* one run of pages is one claim; a hole in it starts the next */
	if (pa != early_next) {
		claim(early_first, early_next - early_first, MEM_KERNEL, "boot page tables");
		early_first = pa;
	}
	early_next = pa + PAGE_BYTES;
	/* hal_direct_base is 0 on the boot tables: physical addresses are addresses there */
	hal_clear_page(hal_phys_to_virt(pa));
	return PFN(pa >> ARCH_PAGE_SHIFT);
}

/* The highest free [start, start+size) that lies below 4 GiB, where a file behind the emulator's
 * memory has the same offsets as the machine has addresses; 0: none. */
static uint64_t free_run_below_4g(uint64_t size)
{
	for (unsigned i = x86_nspans; i-- > 0;) {
		uint64_t end = x86_spans[i].end < BOOT_REACH ? x86_spans[i].end : BOOT_REACH;

		while (x86_spans[i].ram && end > size && end - size >= x86_spans[i].start) {
			const struct mem_range *c = claimed(end - size, end);

			if (!c)
				return end - size;
			end = page_down(c->start);
		}
	}
	return 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Firmware that has many devices to serve takes more memory at the top than the loader reckoned with, and
 * the initrd's end lies in it. It is whole: the loader came last. It moves to where memory is ours. */
static void save_initrd(void)
{
	uint64_t from = initrd_start, to = 0;

	if (!initrd_size || x86_in_ram(page_down(from), page_up(from + initrd_size)))
		return;
	if (x86_boot_reaches(from, initrd_size))
		to = free_run_below_4g(page_up(initrd_size));
	if (!to)
		return; /* initrd_address() says so */
	memmove((void *)to, (const void *)from, initrd_size);
	boot_log("boot: initrd moved from %#lx, which is not all RAM, to %#lx", from, to);
	initrd_start = to;
}

void x86_start_info(uint64_t pa)
{
	const struct start_info *si = loader_data(pa, sizeof(*si), "the start info");
	const struct start_entry *e = NULL;
	unsigned n = 0;

	if (!si || si->magic != START_MAGIC)
		boot_die("not started by a PVH loader (no start info)");
	if (si->version >= 1)
		n = si->memmap_entries;
	if (n)
		e = loader_data(si->memmap, (uint64_t)n * sizeof(*e), "the memory map");
	if (!e)
		boot_die("the loader gave no memory map");
	map_read(e, n);
	make_spans();
	rsdp = si->rsdp;
	take_cmdline(si->cmdline);
	take_initrd(si);

	/* the loader's own structures were copied; only the image and the initrd stay */
	claim(0, LOW_RESERVED, MEM_RESERVED, "low memory");
	claim(hal_virt_to_phys(__image_start), (uint64_t)(__image_end - __image_start), MEM_KERNEL,
	      "kernel image");
	save_initrd();
	if (initrd_size)
		claim(page_down(initrd_start),
		      page_up(initrd_start + initrd_size) - page_down(initrd_start),
		      MEM_BOOT_DATA, "initrd");
}

/* ---- the trace ring, and the end ---------------------------------------------------------------- */

void x86_trace_ring_init(void)
{
	char word[32];
	uint64_t size = 0;

	/* the last pages that boot took for tables are a claim like the others from here on */
	claim(early_first, early_next - early_first, MEM_KERNEL, "boot page tables");
	early_first = early_next;

	if (!boot_option(cmdline, "trace", word, sizeof(word)))
		return;
	if (parse_u64(word, &size) || !size || size >= BOOT_REACH) {
		boot_log("trace=%s is not a size below 4G: no trace", word);
		return;
	}
	size = page_up(size);
	ring_start = free_run_below_4g(size);
	if (!ring_start) {
		boot_log("trace=%s: no room for it: no trace", word);
		return;
	}
	ring_size = size;
	claim(ring_start, ring_size, MEM_TRACE, "trace ring");
	boot_log("trace ring phys=%#lx size=%#lx", ring_start, ring_size);
}

void hal_memory_ranges(void (*fn)(const struct mem_range *r, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < x86_nspans; i++) {
		struct mem_range r = {
			x86_spans[i].start,
			x86_spans[i].end,
			x86_spans[i].ram ? MEM_RAM : MEM_RESERVED,
			"firmware map",
		};

		fn(&r, ctx);
	}
	for (unsigned i = 0; i < nclaims; i++)
		fn(&claims[i], ctx);
}

/* The initrd as the kernel will reach it; one that does not lie in RAM is told and dropped. */
static const void *initrd_address(void)
{
	if (!initrd_size)
		return NULL;
	if (x86_in_ram(page_down(initrd_start), page_up(initrd_start + initrd_size)))
		return hal_phys_to_virt(initrd_start);
	boot_log("boot: initrd %#lx-%#lx does not lie in RAM, ignored", initrd_start,
		initrd_start + initrd_size);
	initrd_size = 0;
	return NULL;
}

void x86_boot(uint64_t start_info)
{
	struct boot_info bi = {.cmdline = cmdline};

	x86_console_init();
	x86_tables_init(0, __boot_stack_top);
	x86_features_init();
	x86_start_info(start_info);
	x86_acpi_init(rsdp);
	x86_mmu_init();
	x86_time_init();
	x86_trace_ring_init();

	bi.initrd = initrd_address();
	bi.initrd_size = initrd_size;
	if (ring_size) {
		bi.trace_ring = hal_phys_to_virt(ring_start);
		bi.trace_ring_size = ring_size;
		bi.trace_ring_phys = ring_start;
	}
	kernel_main(&bi);
}
