/* SPDX-License-Identifier: MIT */
/*
 * memblock: boot memory, before the buddy exists. Two sorted arrays of disjoint byte ranges: RAM,
 * and what of it is reserved. The firmware's list may be in any order, overlap, be unaligned, empty
 * or absurd; it is normalised here and nowhere else. Ranges are kept in bytes, so that two
 * unaligned neighbours still make up one whole frame; frames are rounded only when they are asked
 * for: RAM inwards, reservations outwards. A reservation always wins over RAM.
 *
 * Allocation is top-down, so that low memory (DMA) stays free and successive allocations merge
 * into one reservation.
 */
#include "mm/phys/memblock.h"
#include "arch/hal.h"
#include "lib/bug.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/page.h"
#include <quire/abi.h>
#include <quire/os.h>

struct memblock_type memblock_memory = {.name = "memory"};
struct memblock_type memblock_reserved = {.name = "reserved"};

/* One past the last byte that a frame number of this machine can name. */
#define PHYS_END ((phys_addr_t)1 << (ARCH_PFN_BITS + ARCH_PAGE_SHIFT))

static void complain(const char *what, phys_addr_t start, phys_addr_t end, const char *name)
{
	char line[128];

	scnprintf(line, sizeof(line), "memblock: %s [%#llx, %#llx)%s%s", what,
		 (unsigned long long)start, (unsigned long long)end, name ? " " : "",
		 name ? name : "");
	os_log(line);
}

/* Index of the first region that ends at or after start. */
static unsigned region_from(const struct memblock_type *t, phys_addr_t start)
{
	unsigned i = 0;

	ASSERT(t->cnt <= MEMBLOCK_REGIONS);
	while (i < t->cnt && t->regions[i].end < start)
		i++;
	return i;
}

static void regions_shift(struct memblock_type *t, unsigned from, int by)
{
	ASSERT(from <= t->cnt && t->cnt + by <= MEMBLOCK_REGIONS);
	memmove(&t->regions[from + by], &t->regions[from],
		(t->cnt - from) * sizeof(t->regions[0]));
	t->cnt += by;
}

/* Swallows every region that the new one overlaps or touches. */
static int type_add(struct memblock_type *t, phys_addr_t start, phys_addr_t end)
{
	unsigned i, j;

	if (start > end)
		return -EINVAL;
	if (start == end)
		return 0;
	i = region_from(t, start);
	for (j = i; j < t->cnt && t->regions[j].base <= end; j++) {
		start = min(start, t->regions[j].base);
		end = max(end, t->regions[j].end);
	}
	if (j == i) { /* touches none: a new one */
		if (t->cnt == MEMBLOCK_REGIONS)
			return -ENOMEM;
		regions_shift(t, i, 1);
	} else if (j > i + 1) { /* swallows several */
		regions_shift(t, j, -(int)(j - i - 1));
	}
	t->regions[i] = (struct memblock_region){start, end};
	return 0;
}

/* Cuts, shortens or drops; only a cut needs one region more. */
static int type_remove(struct memblock_type *t, phys_addr_t start, phys_addr_t end)
{
	if (start >= end)
		return 0;
	for (unsigned i = 0; i < t->cnt;) {
		struct memblock_region *r = &t->regions[i];

		if (r->end <= start || r->base >= end) {
			i++;
		} else if (r->base < start && r->end > end) {
			if (t->cnt == MEMBLOCK_REGIONS)
				return -ENOMEM;
			regions_shift(t, i, 1);
			t->regions[i].end = start;
			t->regions[i + 1].base = end;
			return 0;
		} else if (r->base < start) {
			r->end = start;
			i++;
		} else if (r->end > end) {
			r->base = end;
			i++;
		} else {
			regions_shift(t, i + 1, -1);
		}
	}
	return 0;
}

int memblock_add(phys_addr_t start, phys_addr_t end)
{
	return type_add(&memblock_memory, start, end);
}

int memblock_reserve(phys_addr_t start, phys_addr_t end)
{
	return type_add(&memblock_reserved, start, end);
}

int memblock_remove(phys_addr_t start, phys_addr_t end)
{
	return type_remove(&memblock_memory, start, end);
}

int memblock_free(phys_addr_t start, phys_addr_t end)
{
	return type_remove(&memblock_reserved, start, end);
}

/* ---- collecting ------------------------------------------------------------------------------ */

int memblock_take(const struct mem_range *r)
{
	phys_addr_t start = r->start, end = r->end;
	bool ram = r->kind == MEM_RAM;

	if (start > end) {
		complain("refused, ends before it starts:", start, end, r->name);
		/* A reservation protects something, and where that lies is lost: fail. */
		return ram ? 0 : -EINVAL;
	}
	if (end > PHYS_END) {
		complain("cut at the widest address:", start, end, r->name);
		start = min(start, PHYS_END);
		end = PHYS_END;
	}
	if (!ram && memblock_reserve(start, end)) {
		complain("too many reservations:", start, end, r->name);
		return -ENOMEM;
	}
	/* The image and boot data lie in RAM even where the firmware left them out of its list. */
	if ((ram || r->kind == MEM_KERNEL || r->kind == MEM_BOOT_DATA) &&
	    memblock_add(start, end))
		complain("too many ranges, not used:", start, end, r->name);
	return 0;
}

static void collect(const struct mem_range *r, void *ctx)
{
	int err = memblock_take(r), *first = ctx;

	ASSERT(first);
	if (!*first)
		*first = err;
}

int memblock_init(void)
{
	uint64_t start = 0, end;
	int err = 0;

	memblock_memory.cnt = 0;
	/* Frame 0 is never used: 0 means "none" in too many places. */
	memblock_reserved.regions[0] = (struct memblock_region){0, PAGE_SIZE};
	memblock_reserved.cnt = 1;
	hal_memory_ranges(collect, &err);
	if (err)
		return err;
	if (!memblock_next_free(&start, &end)) {
		os_log("memblock: the machine reports no usable RAM");
		return -EINVAL;
	}
	return 0;
}

void memblock_exit(void)
{
	memblock_memory.cnt = 0;
	memblock_reserved.cnt = 0;
}

/* ---- walking and allocating ------------------------------------------------------------------ */

bool memblock_next_memory(uint64_t *start_pfn, uint64_t *end_pfn)
{
	const struct memblock_type *m = &memblock_memory;

	for (unsigned i = 0; i < m->cnt; i++) {
		uint64_t s = (m->regions[i].base + PAGE_SIZE - 1) >> PAGE_SHIFT;
		uint64_t e = m->regions[i].end >> PAGE_SHIFT;

		s = max(s, *start_pfn);
		if (s < e) {
			*start_pfn = s;
			*end_pfn = e;
			return true;
		}
	}
	return false;
}

/* RAM minus reservations, frame by frame: a frame that is reserved by one byte is not free. */
bool memblock_next_free(uint64_t *start_pfn, uint64_t *end_pfn)
{
	const struct memblock_type *r = &memblock_reserved;

	while (memblock_next_memory(start_pfn, end_pfn)) {
		unsigned i;

		for (i = 0; i < r->cnt; i++) {
			uint64_t s = r->regions[i].base >> PAGE_SHIFT;
			uint64_t e = (r->regions[i].end + PAGE_SIZE - 1) >> PAGE_SHIFT;

			if (e <= *start_pfn)
				continue;
			if (s >= *end_pfn)
				break;
			if (s > *start_pfn) { /* free up to the reservation */
				*end_pfn = s;
				return true;
			}
			*start_pfn = e;
			if (e >= *end_pfn)
				break;
		}
		if (*start_pfn < *end_pfn)
			return true;
	}
	return false;
}

/* The highest aligned place for size bytes in the gap [lo, hi); 0 if it does not fit. */
static phys_addr_t fit_top(phys_addr_t lo, phys_addr_t hi, size_t size, size_t align)
{
	phys_addr_t at;

	ASSERT(lo <= hi);
	if (hi - lo < size)
		return 0;
	at = ALIGN_DOWN(hi - size, (phys_addr_t)align);
	return at >= lo ? at : 0;
}

/* From the last range of RAM down, through the gaps between reservations, the highest first. Below
 * the lowest gap there is always one: frame 0's. */
static phys_addr_t find_top(size_t size, size_t align)
{
	const struct memblock_type *m = &memblock_memory, *r = &memblock_reserved;

	ASSERT(size && IS_ALIGNED(size, PAGE_SIZE));
	for (unsigned i = m->cnt; i-- > 0;) {
		phys_addr_t lo = ALIGN_UP(m->regions[i].base, PAGE_SIZE);
		phys_addr_t hi = ALIGN_DOWN(m->regions[i].end, PAGE_SIZE);

		for (unsigned j = r->cnt; j-- > 0 && hi > lo;) {
			phys_addr_t s = ALIGN_DOWN(r->regions[j].base, PAGE_SIZE);
			phys_addr_t e = ALIGN_UP(r->regions[j].end, PAGE_SIZE);
			phys_addr_t at;

			if (s >= hi)
				continue;
			if (e < hi) {
				at = fit_top(max(e, lo), hi, size, align);
				if (at)
					return at;
			}
			hi = s;
		}
	}
	return 0;
}

phys_addr_t memblock_alloc(size_t size, size_t align)
{
	phys_addr_t at;

	ASSERT(!(align & (align - 1)));
	size = PAGE_ALIGN(size);
	if (!size) /* nothing, or so much that it wrapped round */
		return 0;
	at = find_top(size, max(align, PAGE_SIZE));
	if (!at || memblock_reserve(at, at + size))
		return 0;
	hal_unpoison(hal_phys_to_virt(at), size);
	return at;
}

/* Through the direct map, which covers RAM before the core starts. */
void *memblock_alloc_zeroed(size_t size)
{
	phys_addr_t at = memblock_alloc(size, PAGE_SIZE);
	void *p;

	if (!at)
		return NULL;
	p = hal_phys_to_virt(at);
	for (size_t done = 0; done < size; done += PAGE_SIZE)
		hal_clear_page((char *)p + done);
	return p;
}
