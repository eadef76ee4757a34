/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: caches of other things than pages on lists. Each round of reclaim asks every one for the
 * same part of what it has as it takes of the lists, weighed by what it costs to get an object again.
 * What a shrinker could not do in one round is owed in the next.
 */
#include "mm/reclaim/vmscan.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/object/filemap.h"
#include "mm/phys/page_alloc.h"
#include "mm/slab/slab.h"
#include "mm/vmalloc/vmalloc.h"

#define SHRINK_BATCH 128ul

/* The slab allocator, for all caches: VMAs, inodes, nodes of trees. One cache after the other, for to empty
 * the magazines of one means to ask every CPU. */
static unsigned long slab_scan(unsigned long n, gfp_t gfp, unsigned long *pages)
{
	return slab_shrink(n, pages);
}

/* Kernel stacks kept for the next task: their pages come with the flush. */
static unsigned long stack_scan(unsigned long n, gfp_t gfp, unsigned long *pages)
{
	return stack_cache_shrink(n);
}

/* Address space of the kernel that waits to be flushed, and the pages behind it. */
static unsigned long vmap_scan(unsigned long n, gfp_t gfp, unsigned long *pages)
{
	unsigned long before = vmalloc_nr_pages(), purged = try_purge_vmap_area_lazy(), after;

	after = vmalloc_nr_pages();
	*pages += before > after ? before - after : 0;
	return purged;
}

/* Nodes of files' trees that hold nothing but shadows. 5.10's rule: as many as an eighth of the pages on lists
 * may stay; what is older tells of distances that no page would be kept for. */
static unsigned long shadow_count(void)
{
	unsigned long pages = 0, nodes = node_page_state(WORKINGSET_NODES);

	for (unsigned l = 0; l < NR_LRU_LISTS; l++)
		pages += lruvec_size((enum lru_list)l);
	return nodes > pages / 8 ? nodes - pages / 8 : 0;
}

static unsigned long shadow_scan(unsigned long n, gfp_t gfp, unsigned long *pages)
{
	return gfp & __GFP_FS ? forget_shadow_nodes(n) : 0;
}

static struct shrinker shrinkers[] = {
	{.name = "slab", .count = slab_idle_objects, .scan = slab_scan, .seeks = 2},
	{.name = "stacks", .count = stack_cache_size, .scan = stack_scan, .seeks = 2},
	{.name = "vmalloc", .count = vmap_lazy_nr, .scan = vmap_scan, .seeks = 0},
	{.name = "workingset", .count = shadow_count, .scan = shadow_scan, .seeks = 0},
};

static unsigned long do_shrink_slab(struct shrinker *s, gfp_t gfp, int priority, unsigned long *pages)
{
	unsigned long have = s->count(), owed, todo, freed = 0;

	ASSERT_DEBUG(priority >= 0 && priority <= DEF_PRIORITY);
	if (!have)
		return 0;
	owed = __atomic_exchange_n(&s->deferred, 0, __ATOMIC_RELAXED);
	todo = owed;
	todo += s->seeks ? (have >> priority) * 4 / s->seeks : have / 2;
	todo = min(todo, have * 2);
	trace_shrink_slab(QUIRE_TR_SHRINK_SLAB_START, s, owed, gfp, have, todo, (unsigned)priority);
	while (todo >= SHRINK_BATCH || todo >= have) {
		unsigned long n = min(todo, SHRINK_BATCH);

		freed += s->scan(n, gfp, pages);
		count_vm_events(SLABS_SCANNED, n);
		todo -= n;
		if (!todo)
			break;
		os_cond_resched();
	}
	__atomic_fetch_add(&s->deferred, todo, __ATOMIC_RELAXED);
	trace_shrink_slab(QUIRE_TR_SHRINK_SLAB_END, s, freed, owed, todo, 0, 0);
	return freed;
}

unsigned long shrink_slab(gfp_t gfp, int priority, unsigned long *pages)
{
	unsigned long freed = 0;

	might_sleep();
	for (unsigned i = 0; i < ARRAY_SIZE(shrinkers); i++)
		freed += do_shrink_slab(&shrinkers[i], gfp, priority, pages);
	return freed;
}

void drop_slab(void)
{
	unsigned long pages = 0;

	count_vm_event(DROP_SLAB);
	/* What one of them frees may become another's. */
	while (shrink_slab(GFP_KERNEL, 0, &pages) > 10 && !os_fatal_signal_pending())
		os_cond_resched();
}
