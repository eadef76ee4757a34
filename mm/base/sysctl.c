/* SPDX-License-Identifier: MIT */
/*
 * The table of tunables: the only place with their names, defaults, bounds and help. Setting one
 * (mm/report/sysctl_set.c), /proc/sys/vm (kernel/) and docs/sysctl.md all go by it. Names, bounds,
 * rights and formats are Linux 5.10's; where Linux has no such file the help says so.
 */
#include "mm/base/sysctl.h"
#include "lib/bug.h"
#include "lib/string.h"
#include "mm/base/page.h"
#include <quire/abi.h>

struct vm_sysctl vm_sysctl;

#define KB_MAX	(INT64_MAX >> 10)
#define NOBODY	-1 /* no capability is asked for */
#define V(name) &vm_sysctl.name

/* clang-format off */
/* { { name, help, mode, numbers, capability, low, high, { defaults } }, value, kind } */
static const struct vm_tunable vm_tunables[] = {
	{ { "admin_reserve_kbytes",
	    "kept from those without CAP_SYS_ADMIN under strict overcommit; at the start at most a 32nd of free memory",
	    0644, 1, NOBODY, 0, KB_MAX, { 8192 } }, V(admin_reserve_kbytes), SYSCTL_ULONG },
	{ { "compact_memory",
	    "any write compacts all zones",
	    0200, 1, NOBODY, INT64_MIN, INT64_MAX, { 0 } }, V(compact_memory), SYSCTL_TRIGGER },
	{ { "dirty_background_bytes",
	    "from so many bytes of dirty pages on the flusher writes them all; sets dirty_background_ratio to 0",
	    0644, 1, NOBODY, 1, INT64_MAX, { 0 } }, V(dirty_background_bytes), SYSCTL_ULONG },
	{ { "dirty_background_ratio",
	    "the same in per cent of what could be dirty; sets dirty_background_bytes to 0",
	    0644, 1, NOBODY, 0, 100, { 10 } }, V(dirty_background_ratio), SYSCTL_INT },
	{ { "dirty_bytes",
	    "most bytes of dirty pages: who makes more waits; at least two pages; a new value sets dirty_ratio to 0",
	    0644, 1, NOBODY, 8192, INT64_MAX, { 0 } }, V(dirty_bytes), SYSCTL_ULONG },
	{ { "dirty_expire_centisecs",
	    "how long a page may be dirty before the flusher's next round takes it",
	    0644, 1, NOBODY, 0, INT32_MAX, { 3000 } }, V(dirty_expire_centisecs), SYSCTL_INT },
	{ { "dirty_ratio",
	    "the same as dirty_bytes in per cent of what could be dirty; a new value sets dirty_bytes to 0",
	    0644, 1, NOBODY, 0, 100, { 20 } }, V(dirty_ratio), SYSCTL_INT },
	{ { "dirty_writeback_centisecs",
	    "time between two rounds of the flusher; 0: it takes nothing for its age; another value than before, and not 0, has everything written",
	    0644, 1, NOBODY, INT32_MIN, INT32_MAX, { 500 } }, V(dirty_writeback_centisecs), SYSCTL_INT },
	{ { "drop_caches",
	    "1 drops clean page cache, 2 empty slabs, 3 both; 4 is Linux's order to log no more of it",
	    0200, 1, NOBODY, 1, 4, { 0 } }, V(drop_caches), SYSCTL_INT },
	{ { "fault_around_bytes",
	    "cached pages that a read fault of a file maps at once; rounded down to a power of two, from a page to a whole table (Linux: debugfs)",
	    0644, 1, NOBODY, 0, INT32_MAX, { 65536 } }, V(fault_around_bytes), SYSCTL_INT },
	{ { "legacy_va_layout",
	    "not 0: programs started from now on place mappings bottom-up",
	    0644, 1, NOBODY, 0, INT32_MAX, { 0 } }, V(legacy_va_layout), SYSCTL_INT },
	{ { "lowmem_reserve_ratio",
	    "for each zone: it keeps the pages of higher zones divided by this from requests that could use those; below 1: nothing",
	    0644, MAX_NR_ZONES, NOBODY, INT32_MIN, INT32_MAX, { 256, 256, 32, 0 } },
	  vm_sysctl.lowmem_reserve_ratio, SYSCTL_INT },
	{ { "max_map_count",
	    "most areas of a space",
	    0644, 1, NOBODY, 0, INT32_MAX, { 65530 } }, V(max_map_count), SYSCTL_INT },
	{ { "min_free_kbytes",
	    "what the min marks of all zones add up to; at the start the root of 16 times the kB of memory, from 128 to 262144; at most half of memory",
	    0644, 1, NOBODY, 0, INT32_MAX, { 0 } }, V(min_free_kbytes), SYSCTL_INT },
	{ { "mmap_min_addr",
	    "lowest address that may be mapped without CAP_SYS_RAWIO; a lower hint is rounded up to it, and at least to 65536",
	    0644, 1, CAP_SYS_RAWIO, 0, INT64_MAX, { 65536 } }, V(mmap_min_addr), SYSCTL_ULONG },
	{ { "oom_dump_tasks",
	    "not 0: who is killed for want of memory is told of with all processes that could have been",
	    0644, 1, NOBODY, INT32_MIN, INT32_MAX, { 1 } }, V(oom_dump_tasks), SYSCTL_INT },
	{ { "oom_kill_allocating_task",
	    "not 0: when memory is out, who asks for some is killed, not the largest",
	    0644, 1, NOBODY, INT32_MIN, INT32_MAX, { 0 } }, V(oom_kill_allocating_task), SYSCTL_INT },
	{ { "overcommit_kbytes",
	    "the limit of strict overcommit as a size; sets overcommit_ratio to 0",
	    0644, 1, NOBODY, 0, KB_MAX, { 0 } }, V(overcommit_kbytes), SYSCTL_ULONG },
	{ { "overcommit_memory",
	    "0 refuses what can never be had, 1 nothing, 2 (strict) what exceeds the limit",
	    0644, 1, NOBODY, OVERCOMMIT_GUESS, OVERCOMMIT_NEVER, { OVERCOMMIT_GUESS } },
	  V(overcommit_memory), SYSCTL_INT },
	{ { "overcommit_ratio",
	    "the limit of strict overcommit in per cent of memory; sets overcommit_kbytes to 0",
	    0644, 1, NOBODY, INT32_MIN, INT32_MAX, { 50 } }, V(overcommit_ratio), SYSCTL_INT },
	{ { "page-cluster",
	    "log2 of the pages of swap that one read brings in; 0: no readahead",
	    0644, 1, NOBODY, 0, INT32_MAX, { 3 } }, V(page_cluster), SYSCTL_INT },
	{ { "panic_on_oom",
	    "1 or 2: the machine ends when memory is out, and nobody is killed",
	    0644, 1, NOBODY, 0, 2, { 0 } }, V(panic_on_oom), SYSCTL_INT },
	{ { "reclaim_policy",
	    "how victims are chosen: 0 lists by age, as Linux 5.10; 1 trial by space (Linux: none)",
	    0644, 1, NOBODY, 0, 1, { 0 } }, V(reclaim_policy), SYSCTL_INT },
	{ { "stack_guard_gap",
	    "pages kept free below a stack that grows (Linux: a boot parameter)",
	    0644, 1, NOBODY, 0, INT32_MAX, { 256 } }, V(stack_guard_gap), SYSCTL_INT },
	{ { "swappiness",
	    "how willingly anonymous pages are reclaimed beside those of files: 100 alike, 200 only the former",
	    0644, 1, NOBODY, 0, 200, { 60 } }, V(swappiness), SYSCTL_INT },
	{ { "trace_kmem",
	    "not 0: a trace has kmalloc, kfree and their relatives too (Linux: events of tracefs)",
	    0644, 1, NOBODY, INT32_MIN, INT32_MAX, { 0 } }, V(trace_kmem), SYSCTL_INT },
	{ { "trace_pages",
	    "not 0: a trace has allocations and frees of pages too (Linux: events of tracefs)",
	    0644, 1, NOBODY, INT32_MIN, INT32_MAX, { 0 } }, V(trace_pages), SYSCTL_INT },
	{ { "unprivileged_userfaultfd",
	    "0: userfaultfd wants CAP_SYS_PTRACE",
	    0644, 1, NOBODY, 0, 1, { 1 } }, V(unprivileged_userfaultfd), SYSCTL_INT },
	{ { "user_reserve_kbytes",
	    "kept back under strict overcommit, at most a 32nd of the process; at the start at most a 32nd of free memory",
	    0644, 1, NOBODY, 0, KB_MAX, { 131072 } }, V(user_reserve_kbytes), SYSCTL_ULONG },
	{ { "watermark_boost_factor",
	    "how far mixing types of pageblocks may raise the marks, in ten thousandths of the high mark; 0: not at all",
	    0644, 1, NOBODY, 0, INT32_MAX, { 15000 } }, V(watermark_boost_factor), SYSCTL_INT },
	{ { "watermark_scale_factor",
	    "distance between two marks, in ten thousandths of the zone",
	    0644, 1, NOBODY, 1, 3000, { 10 } }, V(watermark_scale_factor), SYSCTL_INT },
};
/* clang-format on */

_Static_assert(MAX_NR_ZONES <= QUIRE_SYSCTL_NUMBERS, "a number for each zone");

const struct vm_tunable *vm_tunable_at(unsigned i)
{
	return i < ARRAY_SIZE(vm_tunables) ? &vm_tunables[i] : NULL;
}

const struct vm_tunable *vm_tunable_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vm_tunables); i++)
		if (!strcmp(vm_tunables[i].shown.name, name))
			return &vm_tunables[i];
	return NULL;
}

void vm_sysctl_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vm_tunables); i++)
		memcpy(vm_tunables[i].value, vm_tunables[i].shown.initial,
		       vm_tunables[i].shown.count * sizeof(long));
	/* Whatever the page size, a window of at least a page. */
	vm_sysctl.fault_around_bytes = max(vm_sysctl.fault_around_bytes, (long)PAGE_SIZE);
}
