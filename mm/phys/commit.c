/* SPDX-License-Identifier: MIT */
/*
 * Overcommit accounting (Committed_AS): a private writable mapping, or shared memory, is charged
 * when it is made and uncharged when it goes; vm.overcommit_memory says how much may be charged.
 * One counter of pages (NR_COMMITTED), counted up first and taken back if it was too much, so that
 * two requests at once cannot both pass.
 */
#include "mm/phys/commit.h"
#include "mm/base/mmzone.h"
#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/phys/page_alloc.h"
#include <quire/abi.h>
#include <quire/os.h>

/* What strict overcommit keeps back: a 32nd of the memory that is free now, at most. */
void commit_init(void)
{
	long kb = (long)(nr_free_buddy() << (PAGE_SHIFT - 10)) / 32;

	vm_sysctl.admin_reserve_kbytes = min(vm_sysctl.admin_reserve_kbytes, kb);
	vm_sysctl.user_reserve_kbytes = min(vm_sysctl.user_reserve_kbytes, kb);
}

long vm_memory_committed(void)
{
	return node_page_state(NR_COMMITTED);
}

void vm_acct_memory(long pages)
{
	mod_node_page_state(NR_COMMITTED, pages);
}

void vm_unacct_memory(long pages)
{
	mod_node_page_state(NR_COMMITTED, -pages);
}

unsigned long vm_commit_limit(void)
{
	if (vm_sysctl.overcommit_kbytes)
		return (vm_sysctl.overcommit_kbytes >> (PAGE_SHIFT - 10)) + total_swap_pages();
	return totalram_pages() * vm_sysctl.overcommit_ratio / 100 + total_swap_pages();
}

static long nr_total_swap; /* atomic */

unsigned long total_swap_pages(void)
{
	long n = __atomic_load_n(&nr_total_swap, __ATOMIC_RELAXED);

	return n > 0 ? (unsigned long)n : 0;
}

void mod_total_swap_pages(long n)
{
	__atomic_fetch_add(&nr_total_swap, n, __ATOMIC_RELAXED);
}

/* Mode 2: does the charge that was just counted still fit? */
static bool commit_fits(struct mm_struct *mm)
{
	long allowed = vm_commit_limit();

	if (mm && !os_capable(mm->owner, CAP_SYS_ADMIN))
		allowed -= vm_sysctl.admin_reserve_kbytes >> (PAGE_SHIFT - 10);
	if (mm)
		allowed -= min((long)(mm->total_vm / 32),
			       vm_sysctl.user_reserve_kbytes >> (PAGE_SHIFT - 10));
	return vm_memory_committed() < allowed;
}

int security_vm_enough_memory_mm(struct mm_struct *mm, long pages)
{
	ASSERT_DEBUG(pages >= 0);
	mod_node_page_state(NR_COMMITTED, pages);
	if (vm_sysctl.overcommit_memory == OVERCOMMIT_ALWAYS)
		return 0;
	if (vm_sysctl.overcommit_memory == OVERCOMMIT_GUESS) {
		if (pages <= (long)(totalram_pages() + total_swap_pages()))
			return 0;
	} else if (commit_fits(mm)) {
		return 0;
	}
	vm_unacct_memory(pages);
	return -ENOMEM;
}
