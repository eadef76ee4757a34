/* SPDX-License-Identifier: MIT */
/* page_slow and kmem_hooks: the words that keep the allocators off their fast paths, and how they
 * change. */
#include "mm/base/slowpath.h"
#include "mm/base/fs_reclaim.h"

uint32_t page_slow, kmem_hooks;
uint32_t fs_reclaim_lock;
uint64_t slab_nr_frames, slab_quick_frames;

void page_slow_set(uint32_t why, bool on)
{
	ASSERT(why);
	if (on)
		__atomic_fetch_or(&page_slow, why, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&page_slow, ~why, __ATOMIC_RELAXED);
}

/* While there are hooks no frame has a quick way to its cache, so that frees need not ask twice. */
void kmem_hook_set(uint32_t why, bool on)
{
	uint32_t word = on ? __atomic_or_fetch(&kmem_hooks, why, __ATOMIC_SEQ_CST) :
			     __atomic_and_fetch(&kmem_hooks, ~why, __ATOMIC_SEQ_CST);
	uint32_t seen;

	ASSERT(why);
	do { /* the last to store has seen the last word */
		seen = word;
		__atomic_store_n(&slab_quick_frames, seen ? 0 : slab_nr_frames, __ATOMIC_SEQ_CST);
		word = __atomic_load_n(&kmem_hooks, __ATOMIC_SEQ_CST);
	} while (word != seen);
}
