/* SPDX-License-Identifier: MIT */
/*
 * The memory of a machine, from its firmware's list to the last frame: a kernel of its own that
 * starts the core and counts. What is RAM comes from the machine's list alone, counted here a
 * second time; the core's zones, its struct pages and its free blocks have to agree with it.
 * The command line says how much was plugged in: `mib=N`.
 */
#include "arch/hal_kernel.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/report/check.h"
#include "mm/phys/memblock.h"
#include "mm/base/mmzone.h"
#include "mm/phys/page_alloc.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/quire.h>

#define MAX_RANGES 600
#define MIB_PAGES  ((1ul << 20) >> PAGE_SHIFT)

static struct mem_range ram[MAX_RANGES];
static unsigned nram, tests, failures;

static void say(const char *fmt, ...)
{
	char line[200];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vscnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	hal_log(line, (size_t)n);
}

static void result(bool good, const char *name)
{
	failures += !good;
	say("%sok %u - %s\n", good ? "" : "not ", ++tests, name);
}

/* ---- the machine's list, sorted and merged by the simplest means ------------------------------ */

static void take(const struct mem_range *r, void *ctx)
{
	unsigned i = nram;

	if (r->kind != MEM_RAM || r->start >= r->end || nram == MAX_RANGES)
		return;
	for (; i && ram[i - 1].start > r->start; i--)
		ram[i] = ram[i - 1];
	ram[i] = *r;
	nram++;
}

static void merge(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nram; i++) {
		if (n && ram[i].start <= ram[n - 1].end)
			ram[n - 1].end = max(ram[n - 1].end, ram[i].end);
		else
			ram[n++] = ram[i];
	}
	nram = n;
}

static uint64_t first_frame(unsigned i)
{
	return DIV_ROUND_UP(ram[i].start, PAGE_SIZE);
}

static uint64_t end_frame(unsigned i)
{
	return ram[i].end >> PAGE_SHIFT;
}

/* ---- tests ------------------------------------------------------------------------------------ */

static uint64_t plugged_in(const char *cmdline)
{
	const char *s = cmdline;
	uint64_t mib = 0;

	while (*s && strncmp(s, "mib=", 4))
		s++;
	for (s += *s ? 4 : 0; *s >= '0' && *s <= '9'; s++)
		mib = mib * 10 + (uint64_t)(*s - '0');
	return mib;
}

/* Frames of RAM by the list, by the zones, and by every single struct page. */
static void test_sums(uint64_t mib)
{
	uint64_t frames = 0, reserved = 0, free = 0, managed = 0, present = 0;
	struct zone *z;

	for (unsigned i = 0; i < nram; i++) {
		for (uint64_t n = first_frame(i); n < end_frame(i); n++) {
			frames++;
			if (!pfn_valid(PFN(n)))
				continue;
			if (page_test(pfn_to_page(PFN(n)), PG_reserved))
				reserved++;
			else
				free++;
		}
	}
	for_each_populated_zone(z) {
		managed += z->managed_pages;
		present += z->present_pages;
		say("# zone %s: present %lu, managed %lu\n", z->name, z->present_pages,
		    z->managed_pages);
	}
	say("# %llu MiB plugged in; firmware: %llu frames; managed %llu, reserved %llu\n",
	    (unsigned long long)mib, (unsigned long long)frames, (unsigned long long)managed,
	    (unsigned long long)reserved);
	result(frames <= mib * MIB_PAGES && frames + MIB_PAGES >= mib * MIB_PAGES,
	       "the firmware's list is the memory plugged in, but for the last MiB");
	result(present == frames, "the zones hold the firmware's RAM");
	result(managed == free, "a frame is managed, or its struct page says reserved");
	result(managed + reserved == frames, "managed and reserved make up the firmware's RAM");
	result(reserved * 10 < frames + 40 * MIB_PAGES, "no more is reserved than is needed");
}

/* Between two pieces of RAM there is nothing, and nothing is there for it. */
static void test_holes(void)
{
	bool good = true;
	unsigned wide = 0;

	for (unsigned i = 1; i < nram; i++) {
		uint64_t from = ALIGN_UP(end_frame(i - 1), (uint64_t)SECTION_PAGES);
		uint64_t to = ALIGN_DOWN(first_frame(i), (uint64_t)SECTION_PAGES);

		if (from < to) {
			wide++;
			good &= !pfn_valid(PFN(from)) && !pfn_valid(PFN(to - 1));
		}
	}
	say("# %u pieces of RAM, %u holes of a section or more\n", nram, wide);
	result(good, "holes have no struct pages");
}

/* Blocks of the largest order that a request with gfp gets, at most n, each marked. */
static unsigned long take_blocks(struct list_head *taken, gfp_t gfp, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; i++) {
		struct page *p = alloc_pages(gfp | GFP_ATOMIC | __GFP_NOWARN, MAX_ORDER - 1);

		if (!p)
			break;
		*(uint64_t *)page_address(p) = page_to_pfn(p).n;
		list_add(&p->lru, taken);
	}
	return i;
}

/* Takes everything in blocks of the largest order, marks each, finds each mark again. Of very much
 * memory a part, from the top and from below 4 GiB: emulated, all of it takes a minute. */
static void test_every_block(bool all)
{
	LIST_HEAD(taken);
	struct page *p, *next;
	bool good = true;
	unsigned long n = take_blocks(&taken, 0, all ? ~0ul : 100);
	unsigned long low = take_blocks(&taken, __GFP_DMA32, all ? ~0ul : 100);

	list_for_each_entry_safe(p, next, &taken, lru) {
		good &= *(uint64_t *)page_address(p) == page_to_pfn(p).n;
		list_del(&p->lru);
		__free_pages(p, MAX_ORDER - 1);
	}
	say("# %lu blocks of the largest order, and %lu from below 4 GiB\n", n, low);
	result(good && n && (all || low), "every block is memory of its own");
	if (all)
		result(check_phys() == 0, "the allocator's invariants hold");
}

/* A register of this machine whose contents are known, uncached; and what it holds. */
#ifdef __riscv
#define DEVICE_AT   0x10000005ull /* line status of the console: nothing is being sent */
#define DEVICE_MASK 0x40u
#define DEVICE_IS   0x40u
typedef uint8_t device_reg;
#else
#define DEVICE_AT   0xfed00000ull /* the event timer's revision, as its specification demands */
#define DEVICE_MASK 0xffu
#define DEVICE_IS   0x01u
typedef uint32_t device_reg;
#endif

/* The kernel's own range over the real MMU, old and new translations of the same addresses. */
static void test_kernel_range(void)
{
	const size_t size = 300 * PAGE_SIZE;
	struct page *swapped[2];
	volatile device_reg *device;
	uint64_t *p, *q;
	bool good = true;

	for (unsigned round = 0; round < 4; round++) {
		p = vmalloc(size);
		for (size_t i = 0; i < size / 8; i += 64)
			p[i] = round << 20 | i;
		for (size_t i = 0; i < size / 8; i += 64) {
			struct page *page = vmalloc_to_page(&p[i]);
			const uint64_t *direct = page_address(page);

			good &= direct[i % (PAGE_SIZE / 8)] == (round << 20 | i);
		}
		vfree(p);
		if (round & 1)
			vmalloc_drain();
	}
	result(good, "vmalloc shows the frames that it says");

	p = vzalloc(2 * PAGE_SIZE);
	p[0] = 1;
	p[PAGE_SIZE / 8] = 2;
	swapped[0] = vmalloc_to_page(p + PAGE_SIZE / 8);
	swapped[1] = vmalloc_to_page(p);
	q = vmap(swapped, 2, VM_MAP, PAGE_KERNEL);
	result(q[0] == 2 && q[PAGE_SIZE / 8] == 1, "vmap shows pages in the order given");
	vunmap(q);
	vfree(p);

	device = ioremap(DEVICE_AT, sizeof(*device));
	result(device && (*device & DEVICE_MASK) == DEVICE_IS, "ioremap leads to the device");
	iounmap((const void *)device);
	p = vmalloc(PAGE_SIZE);
	result(!ioremap(vmalloc_to_pfn(p).n << PAGE_SHIFT, 8), "RAM is no device");
	vfree(p);
	vmalloc_drain();
	result(check_vmap_areas() == 0 && vmalloc_nr_pages() == 0, "nothing of it is left");
}

_Noreturn void kernel_main(const struct boot_info *bi)
{
	struct quire_config cfg = {.aslr = false};
	uint64_t mib = plugged_in(bi->cmdline);

	hal_memory_ranges(take, NULL);
	merge();
	if (quire_init(&cfg)) {
		say("Bail out! quire_init\n");
		hal_exit(2);
	}
	test_sums(mib);
	test_holes();
	test_every_block(mib <= 1024);
	test_kernel_range();
	result(quire_exit() == 0, "everything is given back");
	say("1..%u\n", tests);
	hal_exit(failures ? 1 : 0);
}

/* ---- what never happens here -------------------------------------------------------------------- */

static _Noreturn void unexpected(const char *what, const struct trap_frame *tf)
{
	say("Bail out! %s at ip %#lx\n", what, tf ? tf_ip(tf) : 0ul);
	hal_exit(2);
}

bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	say("# address %#lx\n", fi->addr);
	unexpected("page fault", tf);
}

#include "test/arch/bare_none.h" /* ends with unexpected() */
