/* SPDX-License-Identifier: MIT */
/* The table allocator that callers of hal_kernel_map() pass to it. */
#ifndef MM_KMAP_H
#define MM_KMAP_H

#include "arch/hal_types.h"
#include "mm/base/gfp.h"

/* A zeroed page for a kernel table: from memblock before the buddy, from the buddy afterwards. */
pfn_t kmap_table_alloc(void *ctx);
/* Such pages taken from the buddy: they stay for as long as the machine runs. */
unsigned long kmap_table_pages(void);
/* The buddy is up (or gone). */
void kmap_use_buddy(bool up);
/* Reserves the tables of an earlier start, which the machine still uses. -ENOMEM. */
int kmap_reserve_tables(void);

#endif
