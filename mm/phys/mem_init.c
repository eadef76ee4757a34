/* SPDX-License-Identifier: MIT */
/*
 * Start-up of physical memory, from memblock to zones: populates the vmemmap for every section that
 * holds RAM, makes the struct pages, hands the free frames to the buddy and sets the watermarks.
 *
 * The vmemmap is one virtual array over all frame numbers, of which only the sections that hold RAM
 * are mapped, so pfn <-> page is an addition. A section is 4,096 frames (16 MiB, 64 pages of
 * struct page): small machines do not pay for frames that they lack. It is larger than the
 * largest buddy block and than a pageblock, so neither ever reaches into an absent section.
 *
 * Boot cost is what the first touch of each struct page costs and nothing else: a run of free
 * frames is written once, in its final state; only frames at the edges are looked at singly.
 */
#include "lib/bits.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/param.h"
#include "mm/base/sysctl.h"
#include "mm/phys/buddy.h"
#include "mm/phys/kmap.h"
#include "mm/phys/memblock.h"
#include "mm/phys/page_alloc.h"
#include "mm/phys/page_debug.h"
#include <quire/abi.h>
#include <quire/os.h>

struct page *vmemmap;
uint64_t max_pfn;
struct page *zero_page;
struct zone zones[MAX_NR_ZONES];
struct per_cpu_pages *zone_pcps[MAX_NR_ZONES];
struct zonelist node_zonelist;
struct zoneref *best_zoneref[MAX_NR_ZONES];
uint8_t *pageblock_types;

struct pageblock **section_blocks;

#define SECTION_BLOCKS	      (SECTION_PAGES / PAGEBLOCK_PAGES)
#define VMEMMAP_SECTION_BYTES (SECTION_PAGES * sizeof(struct page))
#define VMEMMAP_RUN	      ((PAGE_SIZE << ARCH_INDEX_BITS) / VMEMMAP_SECTION_BYTES) /* sections */

_Static_assert(sizeof(struct page) == 64, "the vmemmap's arithmetic");
_Static_assert(SECTION_ORDER >= MAX_ORDER - 1, "a block never crosses a section");

static const char *const zone_names[MAX_NR_ZONES] = {"DMA", "DMA32", "Normal", "Movable"};

/* Where ZONE_MOVABLE begins: at the end of the highest zone, if there is one at all. */
static uint64_t movable_pfn = UINT64_MAX;

/* First frame beyond each zone: 16 MiB, 4 GiB, the rest; what is movable only is cut off. */
static uint64_t zone_end_pfn(unsigned i)
{
	static const uint64_t end[MAX_NR_ZONES] = {16ull << 20, 4ull << 30, UINT64_MAX,
						   UINT64_MAX};

	ASSERT(i < MAX_NR_ZONES);
	return i == ZONE_MOVABLE ? UINT64_MAX : min(end[i] >> PAGE_SHIFT, movable_pfn);
}

static uint64_t zone_first_pfn(unsigned i)
{
	ASSERT(i < MAX_NR_ZONES);
	return i ? zone_end_pfn(i - 1) : 0;
}

/*
 * kernelcore=SIZE: as much for the kernel, the rest movable; movablecore=SIZE: so much movable.
 * As in 5.10 only the highest zone is divided, at a boundary that no block crosses.
 */
static void find_movable_zone(void)
{
	uint64_t kernel = boot_param_size("kernelcore", 0) >> PAGE_SHIFT, total = 0, start, end, n;
	uint64_t movable = boot_param_size("movablecore", 0) >> PAGE_SHIFT;
	unsigned top = ZONE_DMA;

	movable_pfn = UINT64_MAX;
	for (start = 0; memblock_next_memory(&start, &end); start = end)
		total += end - start;
	if (movable)
		kernel = max(kernel, total - min(movable, total));
	if (!kernel)
		return;
	while (max_pfn > zone_end_pfn(top))
		top++;
	for (start = 0, n = 0; memblock_next_memory(&start, &end); start = end) {
		if (n + (end - start) > kernel) {
			start += kernel - n;
			break;
		}
		n += end - start;
	}
	/* At the end of RAM or beyond: nothing is left to be movable. */
	movable_pfn = ALIGN_UP(max(start, zone_first_pfn(top)), 1ull << (MAX_ORDER - 1));
}

uint64_t nr_sections(void)
{
	return DIV_ROUND_UP(max_pfn, SECTION_PAGES);
}

bool section_present(uint64_t section)
{
	return section < nr_sections() && section_blocks && section_blocks[section];
}

bool pfn_valid(pfn_t pfn)
{
	return section_present(pfn.n >> SECTION_ORDER);
}

/* ---- vmemmap --------------------------------------------------------------------------------- */

static uintptr_t section_va(uint64_t section)
{
	ASSERT(section <= nr_sections());
	return (uintptr_t)(vmemmap + (section << SECTION_ORDER));
}

/* Whether a run begins with section and each of its sections has some RAM (holes do not matter). */
static bool whole_run(uint64_t section)
{
	if (section % VMEMMAP_RUN)
		return false;
	for (uint64_t s = section; s < section + VMEMMAP_RUN; s++) {
		uint64_t start = s << SECTION_ORDER, end;

		if (!memblock_next_memory(&start, &end) || start >= (s + 1) << SECTION_ORDER)
			return false;
	}
	return true;
}

/*
 * The struct pages of a section, or of the whole run that begins with it, come from the top of RAM
 * and appear at their place in the one array. A whole run is aligned, so that the machine can show
 * it by one large leaf: to free pages in random order costs a walk of the tables each where the
 * array is mapped in small ones. If no aligned piece is left, any pages serve. Sections below
 * *mapped have their struct pages.
 */
static int map_sections(uint64_t section, uint64_t *mapped)
{
	bool run = whole_run(section);
	size_t bytes = run ? VMEMMAP_RUN * VMEMMAP_SECTION_BYTES : VMEMMAP_SECTION_BYTES;
	phys_addr_t at = memblock_alloc(bytes, run ? bytes : PAGE_SIZE);

	ASSERT(section >= *mapped);
	if (!at && run) {
		bytes = VMEMMAP_SECTION_BYTES;
		at = memblock_alloc(bytes, PAGE_SIZE);
	}
	if (!at)
		return -ENOMEM;
	*mapped = section + bytes / VMEMMAP_SECTION_BYTES;
	return hal_kernel_map(section_va(section), PFN(at >> PAGE_SHIFT), bytes >> PAGE_SHIFT,
			      KMAP_R | KMAP_W, MT_WB, kmap_table_alloc, NULL);
}

/* Makes a section's pageblocks, all empty, then its struct pages. Every vmemmap mapping belongs
 * to a run of which some section is present, so that a start that fails half-way can be undone. */
static int populate_section(uint64_t section, uint64_t *mapped)
{
	struct pageblock *blocks = memblock_alloc_zeroed(SECTION_BLOCKS * sizeof(*blocks));
	int err;

	ASSERT(!section_blocks[section]);
	if (!blocks)
		return -ENOMEM;
	for (unsigned i = 0; i < SECTION_BLOCKS; i++)
		blocks[i].pfn = (section << SECTION_ORDER) + i * PAGEBLOCK_PAGES;
	section_blocks[section] = blocks;
	err = page_owner_section(section, nr_sections());
	if (err || section < *mapped)
		return err;
	return map_sections(section, mapped);
}

/* RAM beyond the room for struct pages cannot be used. */
static void trim_to_vmemmap(void)
{
	const struct kernel_layout *l = hal_kernel_layout();
	uint64_t room = (l->vmemmap_end - l->vmemmap_base) / sizeof(struct page);
	char line[96];

	ASSERT(l->vmemmap_base < l->vmemmap_end);
	room = ALIGN_DOWN(room, (uint64_t)SECTION_PAGES);
	if (max_pfn <= room)
		return;
	scnprintf(line, sizeof(line), "mem: RAM above %#llx has no room in the vmemmap, not used",
		  (unsigned long long)(room << PAGE_SHIFT));
	os_log(line);
	memblock_remove(room << PAGE_SHIFT, UINT64_MAX);
	max_pfn = room;
}

/* Which sections exist is known from RAM alone; reservations inside them have struct pages too,
 * for they may join the free ones later (boot data) or be asked about (pagemap). */
static int populate_vmemmap(void)
{
	uint64_t start, end, n, mapped = 0;

	max_pfn = 0;
	for (start = 0; memblock_next_memory(&start, &end); start = end)
		max_pfn = end;
	vmemmap = (struct page *)hal_kernel_layout()->vmemmap_base;
	trim_to_vmemmap();
	find_movable_zone();
	n = nr_sections();
	section_blocks = memblock_alloc_zeroed(n * sizeof(*section_blocks));
	pageblock_types = memblock_alloc_zeroed(n << (SECTION_ORDER - PAGEBLOCK_ORDER));
	if (!section_blocks || !pageblock_types)
		return -ENOMEM;
	/* All pageblocks are movable until another type steals them. */
	memset(pageblock_types, MIGRATE_MOVABLE, n << (SECTION_ORDER - PAGEBLOCK_ORDER));
	for (start = 0; memblock_next_memory(&start, &end); start = end) {
		uint64_t last = (end - 1) >> SECTION_ORDER;

		for (uint64_t s = start >> SECTION_ORDER; s <= last; s++) {
			int err = section_blocks[s] ? 0 : populate_section(s, &mapped);

			if (err)
				return err;
		}
	}
	return 0;
}

/* ---- struct pages ---------------------------------------------------------------------------- */

/* By address only: a zone is what some device can reach. */
static unsigned zone_of(uint64_t pfn)
{
	unsigned z = ZONE_DMA;

	while (pfn >= zone_end_pfn(z))
		z++;
	return z;
}

/* [start, end) lies in one zone. */
static void init_pages(uint64_t start, uint64_t end, bool reserved)
{
	unsigned long flags = (unsigned long)zone_of(start) << PG_zone0;
	struct page *p = vmemmap + start, *last = vmemmap + end;

	ASSERT(start < end && zone_of(start) == zone_of(end - 1));
	if (reserved)
		flags |= 1ul << PG_reserved;
	for (; p < last; p++) {
		*p = (struct page){.flags = flags, ._refcount = reserved, ._mapcount = -1};
		INIT_LIST_HEAD(&p->lru);
	}
}

/* The same for a range that may span zones. */
static void init_page_range(uint64_t start, uint64_t end, bool reserved)
{
	while (start < end) {
		uint64_t e = min(end, zone_end_pfn(zone_of(start)));

		init_pages(start, e, reserved);
		start = e;
	}
}

/* Every struct page of present sections in its final state: free runs free, all else reserved. */
static void init_all_pages(void)
{
	uint64_t n = nr_sections();

	ASSERT(section_blocks);
	for (uint64_t s = 0; s < n; s++) {
		uint64_t at = s << SECTION_ORDER, end = at + SECTION_PAGES;

		if (!section_present(s))
			continue;
		while (at < end) {
			uint64_t fs = at, fe;

			if (!memblock_next_free(&fs, &fe) || fs >= end) {
				init_page_range(at, end, true);
				break;
			}
			fe = min(fe, end);
			init_page_range(at, fs, true);
			init_page_range(fs, fe, false);
			at = fe;
		}
	}
}

/* Cuts [start, end) into the largest aligned blocks. Frame 0 is never in it. */
static unsigned long release_range(uint64_t start, uint64_t end)
{
	uint64_t at = start;

	ASSERT(start); /* frame 0 is never free */
	while (at < end) {
		unsigned order = min_t(unsigned, lowest_bit(at), MAX_ORDER - 1);

		while (at + (1ull << order) > end)
			order--;
		free_pages_core(pfn_to_page(PFN(at)), order);
		at += 1ull << order;
	}
	return end - start;
}

/* Frames join their zone's buddy; what memblock reserved by now stays reserved for ever. */
static void release_all(void)
{
	uint64_t start, end;

	for (start = 0; memblock_next_free(&start, &end); start = end) {
		for (uint64_t at = start; at < end;) {
			unsigned z = zone_of(at);
			uint64_t e = min(end, zone_end_pfn(z));

			zones[z].managed_pages += release_range(at, e);
			at = e;
		}
	}
}

/* One frame at a time: such ranges are small, unaligned, and freed once. */
void free_reserved_area(uint64_t start_pfn, uint64_t end_pfn)
{
	for (uint64_t n = start_pfn; n < end_pfn; n++) {
		struct page *p = pfn_to_page(PFN(n));

		if (!pfn_valid(PFN(n)) || !page_test_and_clear(p, PG_reserved))
			continue;
		page_zone(p)->managed_pages++;
		p->_refcount = 0;
		free_pages_core(p, 0);
	}
	setup_per_zone_wmarks();
}

/* ---- zones ----------------------------------------------------------------------------------- */

/* Counts what the zone spans and what of it is RAM; managed is known only after the release. */
static void zone_count(struct zone *z)
{
	uint64_t first = zone_first_pfn(z->idx), beyond = zone_end_pfn(z->idx), start, end;

	ASSERT(!z->present_pages);
	for (start = first; memblock_next_memory(&start, &end) && start < beyond; start = end) {
		end = min(end, beyond);
		if (!z->present_pages)
			z->zone_start_pfn = start;
		z->present_pages += end - start;
		z->spanned_pages = end - z->zone_start_pfn;
	}
}

/* Where single pages wait to be freed, of each CPU: in a release build, or as late_free= says. */
static int late_frees_init(void)
{
	ASSERT(!late_frees);
#ifdef NDEBUG
	const bool usual = true;
#else
	const bool usual = false;
#endif

	if (!boot_param_bool("late_free", usual))
		return 0;
	late_frees = memblock_alloc_zeroed(hal_cpu_count() * sizeof(*late_frees));
	return late_frees ? 0 : -ENOMEM;
}

/* Lists, counts, per-CPU arrays; and the order in which zones are tried, the highest first, so
 * that DMA memory is kept for devices that need it. */
static int zones_init(void)
{
	unsigned n = 0;

	ASSERT(section_blocks);
	memset(zones, 0, sizeof(zones));
	memset(&node_zonelist, 0, sizeof(node_zonelist));
	for (unsigned i = 0; i < MAX_NR_ZONES; i++) {
		struct zone *z = &zones[i];

		z->name = zone_names[i];
		z->idx = i;
		zone_init_free_lists(z);
		z->compact_order_failed = MAX_ORDER;
		zone_count(z);
		if (!populated_zone(z))
			continue;
		z->pcp = memblock_alloc_zeroed(hal_cpu_count() * sizeof(*z->pcp));
		if (!z->pcp)
			return -ENOMEM;
		zone_pcps[i] = z->pcp;
	}
	for (unsigned i = MAX_NR_ZONES; i-- > 0;)
		if (populated_zone(&zones[i]))
			node_zonelist.zonerefs[n++] = (struct zoneref){&zones[i], i};
	for (unsigned i = 0; i < MAX_NR_ZONES; i++)
		best_zoneref[i] = first_zones_zonelist(&node_zonelist, i);
	return late_frees_init();
}

static void report(void)
{
	char line[128];
	struct zone *z;

	for_each_populated_zone(z) {
		scnprintf(line, sizeof(line), "mem: zone %-6s %#llx-%#llx present %lu managed %lu",
			  z->name, (unsigned long long)(z->zone_start_pfn << PAGE_SHIFT),
			  (unsigned long long)((z->zone_start_pfn + z->spanned_pages) << PAGE_SHIFT),
			  z->present_pages, z->managed_pages);
		os_log(line);
	}
}

int mem_init(void)
{
	int err;

	vm_sysctl_init();
	page_debug_init();
	err = populate_vmemmap();
	return err ? err : zones_init();
}

int mem_init_free(void)
{
	void *zeros = memblock_alloc_zeroed(PAGE_SIZE);

	ASSERT(!zero_page);
	if (!zeros)
		return -ENOMEM;
	/* From here on memblock hands out nothing more. */
	init_all_pages();
	zero_page = virt_to_page(zeros);
	SetPageUptodate(zero_page);
	release_all();
	setup_per_zone_wmarks();
	report();
	return 0;
}

void mem_exit(void)
{
	uint64_t n = nr_sections();

	/* The table lies in RAM of its own, not in the vmemmap: it stays readable. A run goes as a
	 * whole, holes and all: it may have been mapped by one leaf. */
	for (uint64_t s = 0, end; s < n; s = end) {
		bool present = false;

		end = min(s + VMEMMAP_RUN, n);
		for (uint64_t i = s; i < end; i++)
			present |= section_present(i);
		if (present) {
			hal_kernel_unmap(section_va(s),
					 (end - s) * VMEMMAP_SECTION_BYTES >> PAGE_SHIFT);
			hal_kernel_flush(section_va(s), section_va(end));
		}
	}
	section_blocks = NULL;
	page_debug_exit();
	pageblock_types = NULL;
	late_frees = NULL;
	zero_page = NULL;
	vmemmap = NULL;
	max_pfn = 0;
	memset(zones, 0, sizeof(zones));
	memset(&node_zonelist, 0, sizeof(node_zonelist));
	min_free_kbytes_user = false;
}
