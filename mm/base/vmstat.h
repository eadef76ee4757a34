/* SPDX-License-Identifier: MIT */
/*
 * Statistics counters of /proc/vmstat: events that only grow, and amounts that rise and fall. Each
 * CPU has its own copy, a reader adds them up; so a single copy may be negative. Any context.
 */
#ifndef MM_VMSTAT_H
#define MM_VMSTAT_H

#include "arch/hal.h"
#include "lib/lockdep.h"

/* Amounts, in pages unless the name says otherwise. */
enum node_stat_item {
	NR_INACTIVE_ANON, /* these five are the sizes of the lists (lru_size), not counted here */
	NR_ACTIVE_ANON,
	NR_INACTIVE_FILE,
	NR_ACTIVE_FILE,
	NR_UNEVICTABLE,
	NR_MLOCK,
	NR_ISOLATED_ANON, /* taken off their lists by who works on them */
	NR_ISOLATED_FILE,
	WORKINGSET_NODES,
	WORKINGSET_REFAULT_ANON, /* these six only grow */
	WORKINGSET_REFAULT_FILE,
	WORKINGSET_ACTIVATE_ANON,
	WORKINGSET_ACTIVATE_FILE,
	WORKINGSET_RESTORE_ANON,
	WORKINGSET_RESTORE_FILE,
	WORKINGSET_NODERECLAIM,
	NR_ANON_MAPPED,
	NR_FILE_MAPPED, /* page-cache pages that some user table names, shared memory included */
	NR_FILE_PAGES,	/* page cache, shared memory included */
	NR_FILE_DIRTY,
	NR_WRITEBACK,
	NR_DIRTIED, /* these two only grow: pages of files that became dirty, that were written back */
	NR_WRITTEN,
	NR_SHMEM,
	NR_SWAPCACHE, /* of NR_FILE_PAGES those in the swap cache */
	NR_PAGETABLE,
	NR_KERNEL_STACK_KB,
	NR_SLAB_RECLAIMABLE,
	NR_SLAB_UNRECLAIMABLE,
	NR_VMALLOC,
	NR_COMMITTED, /* vm_committed_as: pages charged to user mappings (commit.c) */
	NR_SHADOWS, /* slots of files that remember a page that left; not shown */
	NR_FOLL_PIN_ACQUIRED, /* these two only grow: pages that were pinned, and unpinned */
	NR_FOLL_PIN_RELEASED,
	NR_COPIED_OUT, /* cached pages that a read holds while it copies to a user; not shown */
	NR_STAT_ITEMS
};

enum vm_event_item {
	PGPGIN,
	PGPGOUT,
	PSWPIN,
	PSWPOUT,
	PGALLOC_DMA, /* four in the order of enum zone_type */
	PGALLOC_DMA32,
	PGALLOC_NORMAL,
	PGALLOC_MOVABLE,
	PGFREE,
	PGACTIVATE,
	PGDEACTIVATE,
	PGLAZYFREE,
	PGFAULT,
	PGMAJFAULT,
	PGLAZYFREED,
	PGREFILL,
	PGSTEAL_KSWAPD,
	PGSTEAL_DIRECT,
	PGSCAN_KSWAPD,
	PGSCAN_DIRECT,
	PGSCAN_DIRECT_THROTTLE,
	PGSCAN_ANON,
	PGSCAN_FILE,
	PGSTEAL_ANON,
	PGSTEAL_FILE,
	PGINODESTEAL,
	SLABS_SCANNED,
	KSWAPD_INODESTEAL,
	KSWAPD_LOW_WMARK_HIT_QUICKLY,
	KSWAPD_HIGH_WMARK_HIT_QUICKLY,
	PAGEOUTRUN,
	ALLOCSTALL_DMA,
	ALLOCSTALL_DMA32,
	ALLOCSTALL_NORMAL,
	ALLOCSTALL_MOVABLE,
	PGROTATED,
	DROP_PAGECACHE,
	DROP_SLAB,
	OOM_KILL,
	PGMIGRATE_SUCCESS,
	PGMIGRATE_FAIL,
	COMPACTMIGRATE_SCANNED,
	COMPACTFREE_SCANNED,
	COMPACTISOLATED,
	COMPACTSTALL,
	COMPACTFAIL,
	COMPACTSUCCESS,
	KCOMPACTD_WAKE,
	KCOMPACTD_MIGRATE_SCANNED,
	KCOMPACTD_FREE_SCANNED,
	UNEVICTABLE_PGCULLED,
	UNEVICTABLE_PGSCANNED,
	UNEVICTABLE_PGRESCUED,
	UNEVICTABLE_PGMLOCKED,
	UNEVICTABLE_PGMUNLOCKED,
	UNEVICTABLE_PGCLEARED,
	UNEVICTABLE_PGSTRANDED,
	SWAP_RA,     /* pages of swap read ahead */
	SWAP_RA_HIT, /* and asked for later */
	UNMAP_ENTRIES, /* entries that reclaim took away; not shown */
	UNMAP_FLUSHES, /* and flushes it made for them; not shown */
	PAGE_ALLOC_CALLS, /* calls minus pages of orders above 0; not shown */
	SLAB_ALLOC_CALLS, /* the same */
	CODE_DISAGREEMENTS, /* derived fault codes that the CPU contradicted */
	NR_VM_EVENT_ITEMS
};

struct vm_cpu_stat {
	uint64_t event[NR_VM_EVENT_ITEMS];
	int64_t item[NR_STAT_ITEMS];
} __attribute__((aligned(1024))); /* a power of two: a shift finds a CPU's own */

/* One for each CPU; before vmstat_init() there is a single one for the boot CPU. */
extern struct vm_cpu_stat *vm_cpu_stats;

static inline void count_vm_events(enum vm_event_item e, uint64_t n)
{
	ASSERT_DEBUG(e < NR_VM_EVENT_ITEMS);
	__atomic_fetch_add(&vm_cpu_stats[hal_cpu_id()].event[e], n, __ATOMIC_RELAXED);
}

static inline void count_vm_event(enum vm_event_item e)
{
	count_vm_events(e, 1);
}

/* As above, cheaper; the caller has interrupts off. */
static inline void __count_vm_events(unsigned cpu, enum vm_event_item e, uint64_t n)
{
	uint64_t *p = &vm_cpu_stats[cpu].event[e];

	assert_irqs_off();
	ASSERT_DEBUG(cpu == hal_cpu_id());
	__atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline void mod_node_page_state(enum node_stat_item i, long delta)
{
	ASSERT_DEBUG(i < NR_STAT_ITEMS && i > NR_UNEVICTABLE);
	__atomic_fetch_add(&vm_cpu_stats[hal_cpu_id()].item[i], delta, __ATOMIC_RELAXED);
}

static inline void inc_node_page_state(enum node_stat_item i)
{
	mod_node_page_state(i, 1);
}

static inline void dec_node_page_state(enum node_stat_item i)
{
	mod_node_page_state(i, -1);
}

/* Sums over the CPUs; an amount is never reported below 0. */
unsigned long node_page_state(enum node_stat_item i);
/* The same of an event, as far as it is counted here: sum_vm_event() (phys/pcp.c) is the whole. */
uint64_t cpu_vm_events(enum vm_event_item e);
/* All of an event, with what the per-CPU page lists count by themselves. */
uint64_t sum_vm_event(enum vm_event_item e);

/* stats: zeroed, one for each CPU. Early. */
void vmstat_init(struct vm_cpu_stat *stats);
void vmstat_exit(void);

#endif
