/* SPDX-License-Identifier: MIT */
/* Moves single pages, as compaction does; for the tests of both. */
#ifndef TEST_UNIT_MOVING_H
#define TEST_UNIT_MOVING_H

#include "space.h"

#include "mm/migrate/migrate.h"

static long held; /* pages that the test itself holds: the checker tells of each */

/* Moves what is at a to a fresh frame; whether it could be done. */
static bool move_at(uintptr_t a)
{
	uint64_t pfn = pfn_at(a);
	struct page *fresh = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	bool ok;

	cr_assert(fresh && pfn);
	cr_assert(migrate_begin());
	cr_assert(get_page_unless_zero(pfn_to_page(PFN(pfn))));
	ok = migrate_page(pfn_to_page(PFN(pfn)), fresh) == 0;
	migrate_end();
	fake_core_returned();
	cr_assert_eq(quire_check(cur), held);
	cr_expect_eq(pfn_at(a) != pfn, ok);
	cr_expect_eq(check_phys(), 0);
	return ok;
}

#endif
