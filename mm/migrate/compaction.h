/* SPDX-License-Identifier: MIT */
/* Compaction: larger free blocks by moving pages together. */
#ifndef MM_COMPACTION_H
#define MM_COMPACTION_H

#include "mm/phys/page_alloc.h"

/* Tries to make a free block of order in a zone that ac allows; true if it may be worth looking
 * again. Context: sleep. */
bool try_to_compact_pages(gfp_t gfp, unsigned order, unsigned alloc_flags,
			  const struct alloc_context *ac);

/* An attempt made a block of order, or (alloc_success) an allocation had it: until the next failure
 * the zone is not left alone for it. Any context. */
void compaction_defer_reset(struct zone *z, int order, bool alloc_success);

/* Compacts every zone as far as it goes (sysctl compact_memory). Returns pages moved; 0 too if
 * somebody else is at it. Context: sleep. */
unsigned long compact_memory(void);

#endif
