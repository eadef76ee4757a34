/* SPDX-License-Identifier: MIT */
/*
 * Reasons to leave the allocators' fast paths. Each allocator reads one word; while it is 0,
 * tracing, fault injection, poison and owners cost a load and a branch. The words stand below the
 * allocators because trace.c and fail_inject.c set them too.
 */
#ifndef MM_SLOWPATH_H
#define MM_SLOWPATH_H

#include "lib/bug.h"

/* ---- pages (phys/page_alloc.c) ---- */

#define PAGE_SLOW_TRACE	     0x01u /* records of allocations and frees: sysctl trace_pages */
#define PAGE_SLOW_CHECK	     0x02u /* debug_pagealloc: look at every page of a block */
#define PAGE_SLOW_POISON     0x04u /* page_poison: a pattern in free pages, verified when taken */
#define PAGE_SLOW_OWNER	     0x08u /* page_owner: records the last allocation and free */
#define PAGE_SLOW_INIT_ALLOC 0x10u /* init_on_alloc: zeroed when taken */
#define PAGE_SLOW_INIT_FREE  0x20u /* init_on_free: zeroed when freed, so not again when taken */

extern uint32_t page_slow; /* PAGE_SLOW_*; atomic */
/* Sets or clears the reasons why. Any context. */
void page_slow_set(uint32_t why, bool on);

/* ---- objects (slab/slab.c, slab/kmalloc.c) ---- */

#define KMEM_HOOK_TRACE	     0x1u
#define KMEM_HOOK_INJECT     0x2u /* failslab */
#define KMEM_HOOK_CACHE_FAIL 0x4u /* some cache has failures of its own */
#define KMEM_HOOK_INIT_ALLOC 0x8u
#define KMEM_HOOK_INIT_FREE  0x10u

extern uint32_t kmem_hooks; /* KMEM_HOOK_*; atomic */
/* Frames that slab_frames (slab/slab_def.h) covers, and the same or 0 while there are hooks: no
 * frame then has a quick way to its cache, so that kfree() need not ask twice. */
extern uint64_t slab_nr_frames, slab_quick_frames;
/* Sets or clears the reasons why. Any context. */
void kmem_hook_set(uint32_t why, bool on);

static inline uint32_t kmem_hook_word(void)
{
	return __atomic_load_n(&kmem_hooks, __ATOMIC_RELAXED);
}

static inline bool kmem_hooked(void)
{
	return unlikely(kmem_hook_word());
}

#endif
