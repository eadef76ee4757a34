/* SPDX-License-Identifier: MIT */
/*
 * Statistics counters (/proc/vmstat): storage and sums. Before the machine's CPUs are known a
 * single copy serves the boot CPU, so that counting needs no "is it up yet".
 */
#include "mm/base/vmstat.h"
#include "lib/string.h"
#include "mm/base/mmzone.h"

unsigned long lru_size[MAX_NR_ZONES][NR_LRU_LISTS];
static struct vm_cpu_stat boot_stat;
struct vm_cpu_stat *vm_cpu_stats = &boot_stat;

void vmstat_init(struct vm_cpu_stat *stats)
{
	ASSERT(stats);
	vm_cpu_stats = stats;
}

void vmstat_exit(void)
{
	memset(&boot_stat, 0, sizeof(boot_stat));
	vm_cpu_stats = &boot_stat;
}

static unsigned nr_copies(void)
{
	return vm_cpu_stats == &boot_stat ? 1 : hal_cpu_count();
}

uint64_t cpu_vm_events(enum vm_event_item e)
{
	uint64_t sum = 0;

	ASSERT(e < NR_VM_EVENT_ITEMS);
	for (unsigned c = 0; c < nr_copies(); c++)
		sum += __atomic_load_n(&vm_cpu_stats[c].event[e], __ATOMIC_RELAXED);
	return sum;
}

/* The lists of all zones, exact. */
static unsigned long node_lru_size(unsigned list)
{
	unsigned long sum = 0;

	ASSERT_DEBUG(list < NR_LRU_LISTS);
	for (unsigned z = 0; z < MAX_NR_ZONES; z++)
		sum += __atomic_load_n(&lru_size[z][list], __ATOMIC_RELAXED);
	return sum;
}

unsigned long node_page_state(enum node_stat_item i)
{
	int64_t sum = 0;

	ASSERT_DEBUG(i < NR_STAT_ITEMS);
	if (i < NR_LRU_LISTS)
		return node_lru_size(i);
	for (unsigned c = 0; c < nr_copies(); c++)
		sum += __atomic_load_n(&vm_cpu_stats[c].item[i], __ATOMIC_RELAXED);
	return sum > 0 ? sum : 0;
}
