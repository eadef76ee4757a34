/* SPDX-License-Identifier: MIT */
/* Defaults of the tunables. */
#include "mm/base/sysctl.h"
#include "lib/bug.h"
#include "mm/base/page.h"

static const struct vm_sysctl vm_sysctl_default = {
	.overcommit_memory = OVERCOMMIT_GUESS,
	.overcommit_ratio = 50,
	.max_map_count = 65530,
	.mmap_min_addr = 65536,
	.stack_guard_gap = 256,
	.admin_reserve_kbytes = 8192,
	.user_reserve_kbytes = 131072,
	.fault_around_bytes = 65536,
};
struct vm_sysctl vm_sysctl;

void vm_sysctl_init(void)
{
	vm_sysctl = vm_sysctl_default;
	/* Whatever the page size, a window of at least a page. */
	vm_sysctl.fault_around_bytes = max(vm_sysctl.fault_around_bytes, (long)PAGE_SIZE);
}
