/* SPDX-License-Identifier: MIT */
/*
 * The counters' storage and sums. Before the machine's CPUs are known a single copy serves the boot
 * CPU, so that counting needs no "is it up yet".
 */
#include "mm/base/vmstat.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/phys/memblock.h"
#include "mm/phys/page_alloc.h"

static struct vm_cpu_stat boot_stat;
struct vm_cpu_stat *vm_cpu_stats = &boot_stat;

int vmstat_init(void)
{
	struct vm_cpu_stat *s = memblock_alloc_zeroed(hal_cpu_count() * sizeof(*s));

	if (!s)
		return -ENOMEM;
	vm_cpu_stats = s;
	return 0;
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

uint64_t sum_vm_event(enum vm_event_item e)
{
	uint64_t sum = 0;

	for (unsigned c = 0; c < nr_copies(); c++)
		sum += __atomic_load_n(&vm_cpu_stats[c].event[e], __ATOMIC_RELAXED);
	return sum + pcp_events(e);
}

unsigned long node_page_state(enum node_stat_item i)
{
	int64_t sum = 0;

	for (unsigned c = 0; c < nr_copies(); c++)
		sum += __atomic_load_n(&vm_cpu_stats[c].item[i], __ATOMIC_RELAXED);
	return sum > 0 ? sum : 0;
}
