/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own mappings: page-table pages for hal_kernel_map(), and the vmalloc range with
 * kernel stacks (guard page below) in it.
 */
#ifndef MM_KMAP_H
#define MM_KMAP_H

#include "arch/hal_types.h"
#include "mm/gfp.h"

/* A zeroed page for a kernel table: from memblock before the buddy, from the buddy afterwards. */
pfn_t kmap_table_alloc(void *ctx);
/* Such pages taken from the buddy: they stay for as long as the machine runs. */
unsigned long kmap_table_pages(void);
/* The buddy is up (or gone). */
void kmap_use_buddy(bool up);
/* Reserves the tables of an earlier start, which the machine still uses. -ENOMEM. */
int kmap_reserve_tables(void);

int vmalloc_init(void);
/* Returns the pages still held by allocations that nobody freed. */
unsigned long vmalloc_exit(void);
/* size bytes, virtually contiguous; NULL if there are none. Context: sleep. */
void *vmalloc(size_t size);
void vfree(const void *p);
bool is_vmalloc_addr(const void *p);
/* Frees the kernel stacks that are kept for the next one. */
void vmalloc_drain(void);
unsigned long vmalloc_nr_pages(void);

#endif
