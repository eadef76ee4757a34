/* SPDX-License-Identifier: MIT */
/*
 * memblock: what RAM there is and what of it is reserved, before the buddy exists. Byte ranges,
 * sorted, disjoint. Single-threaded; only start-up and tear-down use it.
 */
#ifndef MM_MEMBLOCK_H
#define MM_MEMBLOCK_H

#include "arch/hal_types.h"

#define MEMBLOCK_REGIONS 128

struct memblock_region {
	phys_addr_t base, end; /* [base, end) */
};

struct memblock_type {
	const char *name;
	unsigned cnt;
	struct memblock_region regions[MEMBLOCK_REGIONS];
};

extern struct memblock_type memblock_memory, memblock_reserved;

/* Collects hal_memory_ranges(). Bad entries are refused with a log line. -ENOMEM: a reservation
 * could not be kept (too many); -EINVAL: no RAM at all. */
int memblock_init(void);
void memblock_exit(void);
/* One range as a machine tells of it. RAM that makes no sense is refused with a log line and 0;
 * a reservation that makes none is -EINVAL, one too many -ENOMEM. */
int memblock_take(const struct mem_range *r);
/* Adds to RAM, or to what is reserved; overlaps are merged. -EINVAL: start > end; -ENOMEM: table
 * full. An empty range is nothing. */
int memblock_add(phys_addr_t start, phys_addr_t end);
int memblock_reserve(phys_addr_t start, phys_addr_t end);
/* Takes a range out of RAM, or of what is reserved. -ENOMEM: table full. */
int memblock_remove(phys_addr_t start, phys_addr_t end);
int memblock_free(phys_addr_t start, phys_addr_t end);
/* size bytes, page-aligned or more strictly (align: a power of two), from the top of RAM,
 * reserved; 0 if there is none, or size is 0. Contents are undefined. */
phys_addr_t memblock_alloc(size_t size, size_t align);
/* The same, zeroed, as a pointer into the direct map; NULL if there is none. */
void *memblock_alloc_zeroed(size_t size);
/* The next run of whole frames of unreserved RAM at or after *start; false: no more. */
bool memblock_next_free(uint64_t *start_pfn, uint64_t *end_pfn);
/* The next run of whole frames of RAM, reserved or not. */
bool memblock_next_memory(uint64_t *start_pfn, uint64_t *end_pfn);

#endif
