/* SPDX-License-Identifier: MIT */
/*
 * A test in the place of what the page allocator calls upward (mm/phys/hooks.h). The test is linked
 * with --wrap for each of these names; a pointer that is NULL leaves the core's own answer.
 */
#ifndef TEST_PHYS_HOOKS_H
#define TEST_PHYS_HOOKS_H

#include "mm/phys/hooks.h"
#include <stddef.h>

static unsigned long (*page_reclaim_hook)(gfp_t gfp, unsigned order);
static bool (*page_oom_hook)(gfp_t gfp, unsigned order);
static void (*page_kswapd_hook)(struct zone *z, unsigned order);

unsigned long __real_try_to_free_pages(gfp_t gfp, unsigned order);
unsigned long __wrap_try_to_free_pages(gfp_t gfp, unsigned order);
bool __wrap_out_of_memory(gfp_t gfp, unsigned order);
bool __wrap_wakeup_kswapd(struct zone *z, unsigned order);
bool __wrap_kswapd_is_running(void);

unsigned long __wrap_try_to_free_pages(gfp_t gfp, unsigned order)
{
	unsigned long n = page_reclaim_hook ? page_reclaim_hook(gfp, order) : 0;

	return n + __real_try_to_free_pages(gfp, order);
}

bool __wrap_out_of_memory(gfp_t gfp, unsigned order)
{
	return page_oom_hook && page_oom_hook(gfp, order);
}

bool __wrap_wakeup_kswapd(struct zone *z, unsigned order)
{
	if (page_kswapd_hook)
		page_kswapd_hook(z, order);
	return page_kswapd_hook != NULL;
}

bool __wrap_kswapd_is_running(void)
{
	return page_kswapd_hook != NULL;
}

#endif
