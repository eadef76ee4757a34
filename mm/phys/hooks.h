/* SPDX-License-Identifier: MIT */
/*
 * Upward calls of mm/phys/: compaction, reclaim, the OOM killer and kswapd, which the page
 * allocator calls when frames run short. Declared here, defined there, called directly
 * (tools/check_rooms.py lists them).
 */
#ifndef MM_PHYS_HOOKS_H
#define MM_PHYS_HOOKS_H

#include "mm/base/gfp.h"
#include <stdbool.h>

struct alloc_context;
struct zone;

/* ---- migrate/compaction.c ---- */

/* Tries to make a free block of order in a zone that ac allows; true if it may be worth looking
 * again. Context: sleep. */
bool try_to_compact_pages(gfp_t gfp, unsigned order, unsigned alloc_flags,
			  const struct alloc_context *ac);
/* An attempt made a block of order, or (alloc_success) an allocation had it: until the next failure
 * the zone is not left alone for it. Any context. */
void compaction_defer_reset(struct zone *z, int order, bool alloc_success);

/* ---- reclaim/vmscan.c ---- */

/* Direct reclaim, as far as gfp allows; returns the pages freed. No lock held. Context: sleep. */
unsigned long try_to_free_pages(gfp_t gfp, unsigned order);
/* Pages of z that reclaim could free if all went well. A guess, without a lock. Any context. */
unsigned long zone_reclaimable_pages(const struct zone *z);

/* ---- reclaim/oom.c ---- */

/* Nothing can be reclaimed any more: kills a victim, or finds one that is dying already, and returns
 * true. False: there is no process to kill at all. With processes and none that may be killed the
 * machine ends. Context: sleep; nothing of what it does needs memory. */
bool out_of_memory(gfp_t gfp, unsigned order);
/* ---- reclaim/vmscan.c ---- */

/* A zone fell below its low mark: wakes kswapd; false: there is none. Any context. */
bool wakeup_kswapd(struct zone *z, unsigned order);
/* Whether kswapd will lower a boosted mark again. Any context. */
bool kswapd_is_running(void);

#endif
