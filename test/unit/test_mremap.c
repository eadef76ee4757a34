/* SPDX-License-Identifier: MIT */
/* mremap where it can stop half way: out of tables in the middle, locked memory that grows. */
#include "space.h"

#define MAYMOVE   MREMAP_MAYMOVE
#define FIXED_TO (MREMAP_MAYMOVE | MREMAP_FIXED)

Test(mremap, locked_memory_grows_locked)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), 2 * PS, 0)), 0);
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 2 * PS, 5 * PS, 0, 0)), (long)AT(0));
	cr_expect_eq(mm_now()->locked_vm, 5);
	cr_expect(present_at(AT(4)), "what grew is populated");
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 5 * PS, 8 * PS, FIXED_TO, AT(100))), (long)AT(100));
	cr_expect_eq(mm_now()->locked_vm, 8);
	cr_expect(present_at(AT(107)));
	cr_expect_eq(CALL(quire_mremap(cur, AT(100), 8 * PS, PS, 0, 0)), (long)AT(100));
	cr_expect_eq(mm_now()->locked_vm, 1);
	space_down();
}

/* Pages over three tables; whichever allocation fails, all are where the answer says. */
Test(mremap, failing_allocations, .timeout = 60)
{
	uintptr_t n = 2 * PTRS_PER_PTE + 2, from = AT(4 * PTRS_PER_PTE) - PS;
	uintptr_t to = AT(64 * PTRS_PER_PTE) - 3 * PS;
	unsigned failed = 0, table_failed = 0;

	space_up();
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++) {
		for (unsigned nth = 1;; nth++) {
			uintptr_t at;
			long r;

			mmap_at(from, n, RW, PRIV | FIX | MAP_NORESERVE);
			for (uintptr_t i = 0; i < n; i += PTRS_PER_PTE / 2)
				store_at(from + i * PS, i + 1);
			store_at(from + (n - 1) * PS, n);
			quire_inject_set(kind, nth);
			r = quire_mremap(cur, from, n * PS, n * PS, FIXED_TO, to);
			quire_inject_set(kind, 0);
			check_now();
			at = r < 0 ? from : to;
			for (uintptr_t i = 0; i < n; i += PTRS_PER_PTE / 2)
				cr_assert_eq(load_at(at + i * PS), i + 1, "kind %u n %u page %lu", kind,
					     nth, (unsigned long)i);
			cr_assert_eq(load_at(at + (n - 1) * PS), n);
			cr_assert_neq(touch_at(at == to ? from : to), 0, "at both places");
			munmap_at(at, n);
			if (r >= 0)
				break;
			cr_assert_eq(r, -ENOMEM);
			failed++;
			table_failed += kind == QUIRE_INJECT_PAGE;
		}
	}
	cr_expect_geq(table_failed, 3, "the middle table and the last among them: %u", table_failed);
	cr_expect_gt(failed, table_failed);
	space_down();
}
