/* SPDX-License-Identifier: MIT */
/*
 * fs_reclaim: a lock that is none. Reclaim holds it; an allocation that could reclaim takes it and
 * drops it at once, whether it reclaims or not. So who allocates with a lock that reclaim wants is
 * found by lockdep at the first such allocation, not when memory is short. Costs nothing where locks
 * are not noted.
 */
#ifndef MM_FS_RECLAIM_H
#define MM_FS_RECLAIM_H

#include "lib/lockdep.h"
#include "mm/base/gfp.h"
#include "mm/base/memalloc.h"

extern uint32_t fs_reclaim_lock; /* only its address counts */

static inline void fs_reclaim_acquire(gfp_t gfp)
{
	if (DEBUG_ASSERTS && gfp & __GFP_FS) {
		lockdep_sleep_order(&fs_reclaim_lock, "fs_reclaim", false);
		lockdep_sleep_acquire(&fs_reclaim_lock, "fs_reclaim", LOCKDEP_READ);
	}
}

static inline void fs_reclaim_release(gfp_t gfp)
{
	if (DEBUG_ASSERTS && gfp & __GFP_FS)
		lockdep_sleep_release(&fs_reclaim_lock, "fs_reclaim", LOCKDEP_READ);
}

/* A request with these flags is made. With interrupts off it is not this thread's. */
static inline void might_reclaim(gfp_t gfp)
{
	if (DEBUG_ASSERTS && gfp & __GFP_DIRECT_RECLAIM && gfp & __GFP_FS && !hal_irqs_off() &&
	    !(current_flags() & (PF_MEMALLOC | PF_MEMALLOC_NOFS | PF_MEMALLOC_NOIO)))
		lockdep_sleep_order(&fs_reclaim_lock, "fs_reclaim", false);
}

#endif
