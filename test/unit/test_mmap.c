/* SPDX-License-Identifier: MIT */
/* Mapping, unmapping, merging, the heap, limits and promises: layouts and results as 5.10's. */
#include "space.h"

#define QMMAP(a, len, prot, flags, off) CALL(quire_mmap(cur, a, len, prot, flags, NULL, off))

Test(mmap, arguments)
{
	uintptr_t top;

	space_up();
	top = mm_now()->task_size;
	cr_expect_eq(QMMAP(0, 0, RW, PRIV, 0), -EINVAL);
	cr_expect_eq(QMMAP(0, ~0ul, RW, PRIV, 0), -ENOMEM);
	cr_expect_eq(QMMAP(0, top + PS, RW, PRIV, 0), -ENOMEM);
	cr_expect_eq(QMMAP(top - PS, 2 * PS, PROT_NONE, PRIV | FIX, 0), -ENOMEM);
	cr_expect_eq(QMMAP(AT(0) + 1, PS, RW, PRIV | FIX, 0), -EINVAL);
	cr_expect_eq(QMMAP((uintptr_t)0xffff800000000001ul, PS, RW, PRIV | FIX, 0), -ENOMEM);
	cr_expect_eq(QMMAP(AT(0), PS, RW, MAP_ANONYMOUS, 0), -EINVAL);
	cr_expect_eq(QMMAP(AT(0), PS, RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE, 0), -EINVAL);
	cr_expect_eq(QMMAP(AT(0), PS, RW, PRIV, 1), -EINVAL);
	cr_expect_eq(QMMAP(AT(0), PS, RW, MAP_PRIVATE, 0), -EBADF);
	cr_expect_eq(QMMAP(AT(0), PS, RW, SHAR | MAP_GROWSDOWN, 0), -EINVAL);
	cr_expect_eq(QMMAP(AT(0), PS, RW, PRIV | MAP_HUGETLB, 0), -ENOMEM);
	cr_expect_eq(QMMAP(AT(0), PS, RW, PRIV | MAP_FIXED_NOREPLACE, 0), (long)AT(0));
	cr_expect_eq(QMMAP(AT(0), PS, RW, PRIV | MAP_FIXED_NOREPLACE, 0), -EEXIST);
	space_down();
}

Test(mmap, chosen_addresses)
{
	uintptr_t a, b, c;

	limit_set(RLIMIT_STACK, 8 * MIB);
	space_up();
	cr_expect_eq(mm_now()->mmap_base, PAGE_ALIGN(mm_now()->stack_top - 128 * MIB));
	a = QMMAP(0, 4 * PS, RW, PRIV, 0);
	cr_expect_eq(a + 4 * PS, mm_now()->mmap_base, "from the top down");
	b = QMMAP(0, 4 * PS, RW, PRIV, 0);
	cr_expect_eq(b, a - 4 * PS);
	cr_expect_eq(mm_now()->map_count, 1, "and it merges");
	munmap_at(b + 2 * PS, 3);
	c = QMMAP(0, 3 * PS, PROT_READ, PRIV, 0);
	cr_expect_eq(c, b + 2 * PS, "the highest gap that is big enough");
	cr_expect_eq(QMMAP(AT(5) + 7, PS, RW, PRIV, 0), (long)AT(5), "a free hint, rounded down");
	cr_expect_neq(QMMAP(AT(5), PS, RW, PRIV, 0), (long)AT(5), "a taken one is ignored");
	cr_expect_eq(QMMAP(PS, PS, RW, PRIV, 0), (long)PAGE_ALIGN(65536), "the lowest allowed");
	no_caps = true;
	cr_expect_eq(QMMAP(0, PS, RW, PRIV | FIX, 0), -EPERM);
	no_caps = false;
	cr_expect_eq(QMMAP(0, PS, RW, PRIV | FIX, 0), 0);
	space_down();
}

/* The highest free stretch, found the slow way. */
static uintptr_t highest_gap(size_t len)
{
	uintptr_t best = -ENOMEM, low = 65536, high = mm_now()->mmap_base;

	for (struct vm_area_struct *v = mm_now()->mmap; v; v = v->vm_next) {
		uintptr_t end = vm_start_gap(v) < high ? vm_start_gap(v) : high;

		if (end >= len && end - len >= low)
			best = end - len;
		low = v->vm_end > low ? v->vm_end : low;
	}
	return high - len >= low ? high - len : best;
}

Test(mmap, highest_gap_first)
{
	limit_set(RLIMIT_STACK, 8 * MIB);
	space_up();
	for (int i = 0; i < 600; i++) {
		size_t len = (1 + rnd() % 9) * PS;
		uintptr_t want = highest_gap(len), a;

		a = QMMAP(0, len, rnd() & 1 ? RW : PROT_READ,
			  PRIV | (rnd() % 8 ? 0 : MAP_GROWSDOWN), 0);
		cr_assert_eq(a, want, "%#lx, not %#lx", (unsigned long)a, (unsigned long)want);
		for (int k = rnd() % 3; k > 0; k--)
			munmap_at(mm_now()->mmap_base - (1 + rnd() % 1500) * PS, 1 + rnd() % 5);
	}
	space_down();
}

/* The eight cases, on 4-page neighbours. */
Test(mmap, merge_cases)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	mmap_at(AT(4), 2, RW, PRIV | FIX);
	mmap_at(AT(2), 2, RW, PRIV | FIX);
	EXPECT_LAYOUT("0-6:rw-p"); /* 1 */
	mmap_at(AT(6), 2, RW, PRIV | FIX);
	EXPECT_LAYOUT("0-8:rw-p"); /* 2 */
	munmap_at(AT(0), 2);
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	EXPECT_LAYOUT("0-8:rw-p"); /* 3 */
	mprotect_at(AT(0), 4, PROT_READ);
	mprotect_at(AT(4), 2, PROT_READ);
	EXPECT_LAYOUT("0-6:r--p 6-8:rw-p"); /* 5: the boundary moves up */
	mprotect_at(AT(4), 2, RW);
	EXPECT_LAYOUT("0-4:r--p 4-8:rw-p"); /* 4: and down */
	mprotect_at(AT(4), 4, PROT_READ);
	EXPECT_LAYOUT("0-8:r--p"); /* 7 */
	mprotect_at(AT(2), 2, RW);
	EXPECT_LAYOUT("0-2:r--p 2-4:rw-p 4-8:r--p");
	mprotect_at(AT(2), 2, PROT_READ);
	EXPECT_LAYOUT("0-8:r--p"); /* 6 */
	mprotect_at(AT(0), 2, PROT_NONE);
	mprotect_at(AT(2), 2, RW);
	mprotect_at(AT(2), 2, PROT_READ);
	EXPECT_LAYOUT("0-2:---p 2-8:r--p"); /* 8 */
	space_down();
}

/* Draws the first n pages from at on: by vmas[k] if it is there, else by '.'. */
static const char *drawn(uintptr_t at, unsigned n, struct vm_area_struct *const vmas[],
			 const char *letters)
{
	static char text[64];

	for (unsigned i = 0; i < n; i++) {
		struct vm_area_struct *v = vma_at(at + i * PS);

		text[i] = '.';
		for (unsigned k = 0; v && v->vm_start <= at + i * PS && letters[k]; k++)
			if (vmas[k] == v)
				text[i] = letters[k];
	}
	text[n] = 0;
	return text;
}

/* The drawings at the head of vma.c: which area is left, and how far it reaches. */
Test(mmap, merges_are_as_drawn)
{
	static const struct {
		const char *before, *after;
		unsigned from, len; /* of the range that is to be like rights[0] */
		unsigned long rights[4]; /* the range's, P's, X's, N's */
	} c[] = {
		{"PPPP....NNNN", "PPPPPPPPPPPP", 4, 4, {1, 1, 0, 1}},
		{"PPPP....NNNN", "PPPPPPPPNNNN", 4, 4, {1, 1, 0, 5}},
		{"PPPP....NNNN", "PPPPNNNNNNNN", 4, 4, {1, 5, 0, 1}},
		{"PPPPPPPPNNNN", "PPPPNNNNNNNN", 4, 4, {1, 5, 0, 1}},
		{"PPPPNNNNNNNN", "PPPPPPPPNNNN", 4, 4, {1, 1, 0, 5}},
		{"PPPPXXXXNNNN", "PPPPPPPPPPPP", 4, 4, {1, 1, 0, 1}},
		{"PPPPXXXXNNNN", "PPPPPPPPNNNN", 4, 4, {1, 1, 0, 5}},
		{"PPPPXXXXNNNN", "PPPPNNNNNNNN", 4, 4, {1, 5, 0, 1}},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		struct vm_area_struct *vmas[3] = {0};

		space_up();
		for (unsigned k = 0; k < 3; k++) {
			const char *at = strchr(c[i].before, "PXN"[k]);

			if (!at)
				continue;
			mmap_at(AT(at - c[i].before), strrchr(at, *at) - at + 1, c[i].rights[k + 1],
				PRIV | FIX);
			vmas[k] = vma_at(AT(at - c[i].before));
		}
		cr_expect_str_eq(drawn(AT(0), 12, vmas, "PXN"), c[i].before);
		if (c[i].before[c[i].from] == '.')
			mmap_at(AT(c[i].from), c[i].len, c[i].rights[0], PRIV | FIX);
		else
			mprotect_at(AT(c[i].from), c[i].len, c[i].rights[0]);
		cr_expect_str_eq(drawn(AT(0), 12, vmas, "PXN"), c[i].after, "case %u", i + 1);
		space_down();
	}
}

/* Own gap and largest gap of the subtree, in pages, of each area below page 40: "L2/8 ..." */
static const char *gaps(struct vm_area_struct *const vmas[], const char *letters)
{
	static char text[100];
	unsigned n = 0;

	for (struct vm_area_struct *v = mm_now()->mmap; v && v->vm_end <= 40 * PS; v = v->vm_next)
		for (unsigned k = 0; letters[k]; k++)
			if (vmas[k] == v)
				n += snprintf(text + n, sizeof(text) - n, "%c%lu/%lu ", letters[k],
					      v->rb_own_gap / PS, v->rb_subtree_gap / PS);
	return text;
}

Test(mmap, splits_are_as_drawn)
{
	struct vm_area_struct *vmas[4] = {0};

	space_up();
	mmap_at(10 * PS, 12, PROT_READ, PRIV | FIX);
	mmap_at(2 * PS, 4, PROT_READ, PRIV | FIX);
	mmap_at(30 * PS, 4, PROT_READ, PRIV | FIX);
	vmas[0] = mm_now()->mmap;
	vmas[1] = vmas[0]->vm_next;
	vmas[2] = vmas[1]->vm_next;
	cr_expect_str_eq(drawn(0, 36, vmas, "LVR"), "..LLLL....VVVVVVVVVVVV........RRRR..");
	cr_expect_str_eq(gaps(vmas, "LVR"), "L2/2 V4/8 R8/8 ");
	cr_expect_eq(mm_now()->mm_rb.rb_node, &vmas[1]->vm_rb);
	mprotect_at(16 * PS, 6, PROT_NONE);
	vmas[3] = vmas[0]->vm_next;
	cr_expect_str_eq(drawn(0, 36, vmas, "LVRW"), "..LLLL....WWWWWWVVVVVV........RRRR..");
	cr_expect_str_eq(gaps(vmas, "LVRW"), "L2/4 W4/4 V0/8 R8/8 ");
	cr_expect_eq(mm_now()->mm_rb.rb_node, &vmas[1]->vm_rb);
	cr_expect_eq(vmas[0]->vm_rb.rb_right, &vmas[3]->vm_rb);
	mprotect_at(16 * PS, 6, PROT_READ);
	vmas[1] = NULL;
	cr_expect_str_eq(drawn(0, 36, vmas, "LVRW"), "..LLLL....WWWWWWWWWWWW........RRRR..");
	cr_expect_str_eq(gaps(vmas, "LVRW"), "L2/2 W4/8 R8/8 ");
	cr_expect_eq(mm_now()->mm_rb.rb_node, &vmas[3]->vm_rb);
	munmap_at(16 * PS, 6);
	cr_expect_str_eq(drawn(0, 36, vmas, "LVRW"), "..LLLL....WWWWWW..............RRRR..");
	cr_expect_str_eq(gaps(vmas, "LVRW"), "L2/2 W4/14 R14/14 ");
	space_down();
}

Test(mmap, merge_with_faulted_neighbours)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	mmap_at(AT(4), 2, RW, PRIV | FIX);
	store_at(AT(4), 2);
	cr_expect_neq(vma_at(AT(0))->anon_vma, vma_at(AT(4))->anon_vma);
	mmap_at(AT(2), 2, RW, PRIV | FIX);
	EXPECT_LAYOUT("0-4:rw-p 4-6:rw-p");
	munmap_at(AT(4), 2);
	mmap_at(AT(4), 2, RW, PRIV | FIX);
	EXPECT_LAYOUT("0-6:rw-p");
	cr_expect_eq(load_at(AT(0)), 1);
	space_down();
}

Test(mmap, files_merge_by_file_and_offset)
{
	struct quire_file *f, *g;

	space_up();
	f = file_new(16, FRW);
	g = file_new(16, FRW);
	mmap_file(AT(0), 4, PROT_READ, MAP_PRIVATE | FIX, f, 0);
	mmap_file(AT(4), 4, PROT_READ, MAP_PRIVATE | FIX, f, 4);
	EXPECT_LAYOUT("0-8:r--p");
	mmap_file(AT(8), 4, PROT_READ, MAP_PRIVATE | FIX, f, 9);
	mmap_file(AT(12), 4, PROT_READ, MAP_PRIVATE | FIX, g, 13);
	EXPECT_LAYOUT("0-8:r--p 8-12:r--p 12-16:r--p");
	munmap_at(AT(2), 2);
	EXPECT_LAYOUT("0-2:r--p 4-8:r--p 8-12:r--p 12-16:r--p");
	cr_expect_eq(load_at(AT(4)) & 0xff, 5);
	quire_file_put(f);
	cr_expect_eq(load_at(AT(8)) & 0xff, 10, "the mapping holds the file");
	quire_file_put(g);
	space_down();
}

Test(mmap, file_modes)
{
	struct quire_file *ro, *wo, *none;
	struct quire_inode *inode;

	space_up();
	ro = file_new(2, QUIRE_FMODE_READ);
	inode = quire_file_inode(ro);
	wo = quire_file_open(inode, QUIRE_FMODE_WRITE, "w");
	none = quire_file_open(inode, FRW | QUIRE_FMODE_NOMMAP, "n");
	cr_expect_eq(mmap_file(AT(0), 1, RW, MAP_SHARED | FIX, ro, 0), -EACCES);
	cr_expect_eq(mmap_file(AT(0), 1, RW, MAP_PRIVATE | FIX, ro, 0), (long)AT(0));
	cr_expect_eq(mmap_file(AT(0), 1, PROT_NONE, MAP_PRIVATE | FIX, wo, 0), -EACCES);
	cr_expect_eq(mmap_file(AT(0), 1, PROT_READ, MAP_PRIVATE | FIX, none, 0), -ENODEV);
	EXPECT_LAYOUT("0-1:rw-p");
	mmap_file(AT(4), 1, PROT_READ, MAP_SHARED | FIX, ro, 0);
	cr_expect_eq(mprotect_at(AT(4), 1, RW), -EACCES);
	cr_expect_eq(mmap_file(AT(0), 1, PROT_READ, MAP_SHARED_VALIDATE | 1 << 24, ro, 0),
		     -EOPNOTSUPP);
	cr_expect_eq(mmap_file(AT(8), 1, PROT_READ, MAP_SHARED | FIX | 1 << 24, ro, 0), (long)AT(8));
	cr_expect_eq(quire_mmap(cur, AT(0), 2 * PS, PROT_READ, MAP_PRIVATE, ro, (uint64_t)-2 * PS),
		     -EOVERFLOW);
	quire_file_put(ro);
	quire_file_put(wo);
	quire_file_put(none);
	space_down();
}

Test(mmap, munmap_results)
{
	space_up();
	cr_expect_eq(CALL(quire_munmap(cur, AT(0) + 1, PS)), -EINVAL);
	cr_expect_eq(CALL(quire_munmap(cur, AT(0), 0)), -EINVAL);
	cr_expect_eq(CALL(quire_munmap(cur, AT(0), ~0ul)), -EINVAL);
	cr_expect_eq(CALL(quire_munmap(cur, AT(0), PS)), 0);
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	for (int i = 0; i < 8; i++)
		store_at(AT(i), i);
	munmap_at(AT(2), 1);
	munmap_at(AT(4), 2);
	EXPECT_LAYOUT("0-2:rw-p 3-4:rw-p 6-8:rw-p");
	cr_expect_eq(get_mm_rss(mm_now()), 5);
	munmap_at(AT(0), 100);
	EXPECT_LAYOUT("");
	cr_expect_eq(mm_now()->pgtables_bytes, 0, "tables go with the last mapping");
	space_down();
}

Test(mmap, one_flush_for_a_teardown)
{
	uint64_t before;

	space_up();
	mmap_at(AT(0), 1000, RW, PRIV | FIX);
	for (int i = 0; i < 1000; i++)
		store_at(AT(i), i);
	before = fake_counters()->flushes;
	quire_munmap(cur, AT(0), 1000 * PS);
	cr_expect_eq(fake_counters()->flushes, before + 1);
	check_now();
	space_down();
}

Test(mmap, sparse_ranges_cost_nothing)
{
	struct quire_counts c;
	size_t huge = (size_t)1 << 40;

	space_up();
	cr_expect_eq(QMMAP(BASE, huge, RW, PRIV | FIX | MAP_NORESERVE, 0), (long)BASE);
	store_at(BASE, 1);
	store_at(BASE + huge - PS, 2);
	quire_get_counts(&c);
	cr_expect_leq(c.table_pages, 8);
	cr_expect_eq(CALL(quire_munmap(cur, BASE, huge)), 0);
	cr_expect_eq(mm_now()->pgtables_bytes, 0);
	space_down();
}

Test(mmap, brk)
{
	struct quire_mm_layout l = {.start_brk = AT(0), .brk = AT(0)};

	space_up();
	quire_mm_set_layout(cur, &l);
	cr_expect_eq(quire_brk(cur, 0), AT(0));
	cr_expect_eq(quire_brk(cur, AT(0) + 1), AT(0) + 1);
	EXPECT_LAYOUT("0-1:rw-p");
	cr_expect_eq(quire_brk(cur, AT(3)), AT(3));
	EXPECT_LAYOUT("0-3:rw-p");
	store_at(AT(2), 9);
	cr_expect_eq(quire_brk(cur, AT(1)), AT(1));
	cr_expect_eq(store_at(AT(2), 9), MAPERR);
	cr_expect_eq(quire_brk(cur, AT(3)), AT(3));
	cr_expect_eq(load_at(AT(2)), 0);
	mmap_at(AT(6), 1, RW, PRIV | FIX);
	cr_expect_eq(quire_brk(cur, AT(6)), AT(3), "one page stays free");
	cr_expect_eq(quire_brk(cur, AT(5)), AT(5));
	mmap_at(AT(300), 1, RW, PRIV | FIX | MAP_GROWSDOWN);
	munmap_at(AT(6), 1);
	cr_expect_eq(quire_brk(cur, AT(44)), AT(5), "nor into a stack's gap");
	cr_expect_eq(quire_brk(cur, AT(43)), AT(43));
	limit_set(RLIMIT_DATA, 43 * PS);
	cr_expect_eq(quire_brk(cur, AT(43) + 1), AT(43));
	limit_set(RLIMIT_DATA, LIMIT_NONE);
	check_now();
	space_down();
}

Test(mmap, limits)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	limit_set(RLIMIT_AS, 6 * PS);
	cr_expect_eq(mmap_at(AT(10), 3, PROT_NONE, PRIV | FIX), -ENOMEM);
	cr_expect_eq(mmap_at(AT(0), 5, PROT_NONE, PRIV | FIX), (long)AT(0), "it replaces four");
	limit_set(RLIMIT_AS, LIMIT_NONE);
	limit_set(RLIMIT_DATA, 2 * PS);
	cr_expect_eq(mmap_at(AT(10), 3, RW, PRIV | FIX), -ENOMEM);
	cr_expect_eq(mmap_at(AT(10), 3, RW, SHAR | FIX), (long)AT(10));
	cr_expect_eq(mmap_at(AT(20), 3, PROT_READ, PRIV | FIX), (long)AT(20));
	cr_expect_eq(mprotect_at(AT(20), 3, RW), -ENOMEM);
	cr_expect_eq(mprotect_at(AT(20), 2, RW), 0);
	limit_set(RLIMIT_DATA, LIMIT_NONE);
	quire_sysctl_set("max_map_count", 5);
	cr_expect_eq(mmap_at(AT(30), 1, RW, PRIV | FIX), (long)AT(30), "the check is for more than");
	cr_expect_eq(mmap_at(AT(40), 1, RW, PRIV | FIX), (long)AT(40));
	cr_expect_eq(mmap_at(AT(50), 1, RW, PRIV | FIX), -ENOMEM);
	cr_expect_eq(mprotect_at(AT(11), 1, PROT_READ), -ENOMEM);
	cr_expect_eq(munmap_at(AT(11), 1), -ENOMEM);
	cr_expect_eq(munmap_at(AT(10), 1), 0);
	space_down();
}

Test(mmap, promises)
{
	space_up();
	cr_expect_eq(mmap_at(AT(0), 1 << 18, RW, PRIV | FIX), -ENOMEM, "more than there is");
	cr_expect_eq(mmap_at(AT(0), 1 << 18, RW, PRIV | FIX | MAP_NORESERVE), (long)AT(0));
	munmap_at(AT(0), 1 << 18);
	cr_expect_eq(mmap_at(AT(0), 1 << 18, PROT_READ, PRIV | FIX), (long)AT(0));
	cr_expect_eq(mprotect_at(AT(0), 1 << 18, RW), -ENOMEM);
	munmap_at(AT(0), 1 << 18);
	cr_expect_eq(vm_memory_committed(), 0);
	mmap_at(AT(0), 10, RW, PRIV | FIX);
	mmap_at(AT(20), 10, RW, SHAR | FIX);
	mmap_at(AT(40), 10, PROT_READ, PRIV | FIX);
	cr_expect_eq(vm_memory_committed(), 20);
	quire_sysctl_set("overcommit_memory", 2);
	cr_expect_eq(mmap_at(AT(100), 100000, RW, PRIV | FIX | MAP_NORESERVE), -ENOMEM);
	cr_expect_eq(mmap_at(AT(100), 100000, PROT_NONE, PRIV | FIX), (long)AT(100));
	quire_sysctl_set("overcommit_memory", 1);
	cr_expect_eq(mmap_at(AT(200000), 1 << 24, RW, PRIV | FIX), (long)AT(200000));
	space_down();
}

Test(mmap, locking)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0) + 100, 1, 0)), 0);
	cr_expect_eq(mm_now()->locked_vm, 1);
	cr_expect_eq(FAULTS(store_at(AT(0), 1)), 0, "broken up front");
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), 4 * PS, 0)), 0);
	cr_expect_eq(mm_now()->locked_vm, 4);
	cr_expect_eq(madvise_at(AT(0), 4, 4), -EINVAL);
	cr_expect_eq(CALL(quire_munlock(cur, AT(1), PS)), 0);
	EXPECT_LAYOUT("0-1:rw-p 1-2:rw-p 2-4:rw-p");
	cr_expect_eq(CALL(quire_mlock(cur, AT(3), 2 * PS, 0)), -ENOMEM);
	no_caps = true;
	limit_set(RLIMIT_MEMLOCK, 0);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), PS, 0)), -EPERM);
	limit_set(RLIMIT_MEMLOCK, 4 * PS);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), 4 * PS, 0)), 0, "not counted twice");
	cr_expect_eq(mmap_at(AT(10), 1, RW, PRIV | FIX | MAP_LOCKED), -EAGAIN);
	cr_expect_eq(CALL(quire_munlockall(cur)), 0);
	EXPECT_LAYOUT("0-4:rw-p");
	cr_expect_eq(mm_now()->locked_vm, 0);
	cr_expect_eq(CALL(quire_mlockall(cur, 2)), 0);
	cr_expect_eq(mmap_at(AT(20), 3, RW, PRIV | FIX), (long)AT(20));
	cr_expect(present_at(AT(22)));
	cr_expect_eq(mm_now()->locked_vm, 3);
	cr_expect_eq(mmap_at(AT(30), 3, RW, PRIV | FIX), -EAGAIN);
	no_caps = false;
	space_down();
}

Test(mmap, populate)
{
	space_up();
	mmap_at(AT(0), 8, RW, PRIV | FIX | MAP_POPULATE);
	cr_expect_eq(get_mm_rss(mm_now()), 8);
	cr_expect_eq(FAULTS(store_at(AT(5), 1)), 0);
	mmap_at(AT(10), 8, RW, PRIV | FIX | MAP_POPULATE | MAP_NONBLOCK);
	mmap_at(AT(20), 8, PROT_NONE, PRIV | FIX | MAP_POPULATE);
	cr_expect_eq(get_mm_rss(mm_now()), 8);
	space_down();
}

Test(mmap, mremap)
{
	uintptr_t a;
	uint64_t pfn;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 7);
	pfn = pfn_at(AT(0));
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 2 * PS, 4 * PS, 0, 0)), (long)AT(0));
	EXPECT_LAYOUT("0-4:rw-p");
	mmap_at(AT(4), 1, PROT_READ, PRIV | FIX);
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 4 * PS, 8 * PS, 0, 0)), -ENOMEM);
	a = CALL(quire_mremap(cur, AT(0), 4 * PS, 8 * PS, 1, 0));
	cr_expect(!IS_ERR_VALUE(a));
	EXPECT_LAYOUT("4-5:r--p");
	cr_expect_eq(pfn_at(a), pfn, "the page moved, it was not copied");
	cr_expect_eq(load_at(a), 7);
	cr_expect_eq(CALL(quire_mremap(cur, a, 2 * PS, 2 * PS, 3, AT(20))), (long)AT(20));
	cr_expect_eq(load_at(AT(20)), 7);
	cr_expect_eq(CALL(quire_mremap(cur, AT(20), 2 * PS, 2 * PS, 7, AT(30))), (long)AT(30));
	EXPECT_LAYOUT("4-5:r--p 20-22:rw-p 30-32:rw-p");
	cr_expect_eq(load_at(AT(20)), 0);
	cr_expect_eq(load_at(AT(30)), 7);
	cr_expect_eq(CALL(quire_mremap(cur, AT(30), 0, PS, 1, 0)), -EINVAL);
	cr_expect_eq(CALL(quire_mremap(cur, AT(30), PS, PS, 2, AT(40))), -EINVAL);
	cr_expect_eq(CALL(quire_mremap(cur, AT(30), 2 * PS, 2 * PS, 3, AT(31))), -EINVAL);
	cr_expect_eq(CALL(quire_mremap(cur, AT(90), PS, 2 * PS, 1, 0)), -EFAULT);
	/* Across tables, misaligned, six hundred pages. */
	mmap_at(AT(1000), 600, RW, PRIV | FIX);
	for (int i = 0; i < 600; i++)
		store_at(AT(1000 + i), i);
	cr_expect_eq(CALL(quire_mremap(cur, AT(1000), 600 * PS, 600 * PS, 3, AT(3077))),
		     (long)AT(3077));
	for (int i = 0; i < 600; i++)
		cr_expect_eq(load_at(AT(3077 + i)), i);
	space_down();
}

Test(mmap, supervisor_space)
{
	struct quire_mm_params p = {.supervisor = true};

	space_up();
	space_put(cur);
	run_space(quire_mm_create(&p));
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	cr_expect_eq(quire_fault_in(cur, AT(0), true), 0);
	check_now();
	space_down();
}

/* A range that begins and ends inside entries of the root: the tables there are its own too. */
Test(mmap, supervisor_space_of_an_odd_range)
{
	struct quire_mm_params p = {.supervisor = true, .start = AT(3), .end = AT(3 * PTRS_PER_PTE) + PS};

	space_up();
	space_put(cur);
	run_space(quire_mm_create(&p));
	mmap_at(AT(3), 1, RW, PRIV | FIX);
	mmap_at(AT(3 * PTRS_PER_PTE), 1, RW, PRIV | FIX);
	cr_expect_eq(quire_fault_in(cur, AT(3), true), 0);
	cr_expect_eq(quire_fault_in(cur, AT(3 * PTRS_PER_PTE), true), 0);
	munmap_at(AT(3), 1);
	cr_expect_gt(mm_now()->pgtables_bytes, 0);
	space_down();
}

/* ---- what a failed mapping replaces ------------------------------------------------------------ */

/* 5.10 leaves a hole (its own facts, MF04); with keep_replaced all stays. */
Test(mmap, a_refused_promise_comes_after_the_unmapping)
{
	space_up();
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	cr_expect_eq(mmap_at(AT(2), 1 << 18, RW, PRIV | FIX), -ENOMEM);
	EXPECT_LAYOUT("0-2:rw-p");
	cr_expect_eq(vm_memory_committed(), 2);
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	store_at(AT(5), 77);
	mmap_keeps_replaced = true;
	cr_expect_eq(mmap_at(AT(2), 1 << 18, RW, PRIV | FIX), -ENOMEM);
	EXPECT_LAYOUT("0-8:rw-p");
	cr_expect_eq(load_at(AT(5)), 77);
	cr_expect_eq(vm_memory_committed(), 8);
	/* What goes counts as given back: the same again fits, whatever the limit. */
	quire_sysctl_set("overcommit_memory", 2);
	quire_sysctl_set("overcommit_ratio", 0);
	cr_expect_eq(mmap_at(AT(0), 8, RW, PRIV | FIX), (long)AT(0));
	cr_expect_eq(mmap_at(AT(0), 9, RW, PRIV | FIX), -ENOMEM);
	EXPECT_LAYOUT("0-8:rw-p");
	mmap_keeps_replaced = false;
	space_down();
}

Test(mmap, keeping_what_is_replaced_is_a_parameter)
{
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1},
		       &(struct quire_config){.params = "keep_replaced=1"});
	cr_expect(mmap_keeps_replaced);
	machine_down();
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1}, NULL);
	cr_expect_not(mmap_keeps_replaced, "5.10's way is the usual one");
	machine_down();
}

/* No single allocation that fails costs what was there. */
Test(mmap, a_failed_mapping_keeps_what_it_was_to_replace, .timeout = 60)
{
	static const struct {
		unsigned long prot, flags;
		bool file;
	} as[] = {{RW, PRIV | FIX, false},
		  {RW, SHAR | FIX, false},
		  {PROT_READ, MAP_PRIVATE | FIX, true},
		  {RW, MAP_SHARED | FIX, true}};
	unsigned refused = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(as); i++)
		for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
			for (unsigned n = 1; n < 8; n++) {
				struct quire_file *f;
				long r;

				space_up();
				mmap_keeps_replaced = true;
				f = file_new(16, FRW);
				mmap_at(AT(0), 8, RW, PRIV | FIX | MAP_POPULATE);
				store_at(AT(4), 99);
				quire_inject_set(kind, n);
				r = quire_mmap(cur, AT(3), 3 * PS, as[i].prot, as[i].flags,
					       as[i].file ? f : NULL, 0);
				quire_inject_set(kind, 0);
				check_now();
				if (r == -ENOMEM) {
					refused++;
					cr_expect_eq(load_at(AT(4)), 99);
					cr_expect_eq(mm_now()->total_vm, 8);
					cr_expect_eq(vm_memory_committed(), 8);
				} else {
					cr_expect_eq(r, (long)AT(3));
				}
				munmap_at(AT(0), 16);
				cr_expect_eq(to_file(f)->f_mapping->i_mmap_writable, 0);
				quire_file_put(f);
				mmap_keeps_replaced = false;
				space_down();
			}
	cr_expect_geq(refused, 8);
}

/* Where nothing fails both ways give the same areas and the same promise. */
Test(mmap, keeping_what_is_replaced_changes_nothing_else, .timeout = 60)
{
	static const unsigned long prots[] = {RW, PROT_READ, PROT_NONE, RW | PROT_EXEC};
	static const unsigned long flags[] = {PRIV | FIX, SHAR | FIX, PRIV | FIX | MAP_NORESERVE,
					      MAP_PRIVATE | FIX, MAP_SHARED | FIX};
	static char seen[2][400][1000];
	static long promised[2][400];

	for (unsigned keep = 0; keep < 2; keep++) {
		uint64_t x = 88172645463325252ull;
		struct quire_file *f;

		space_up();
		mmap_keeps_replaced = keep;
		f = file_new(64, FRW);
		for (unsigned i = 0; i < ARRAY_SIZE(seen[0]); i++) {
			unsigned long at, len, how;

			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			at = x % 32;
			len = 1 + (x >> 8) % 8;
			how = flags[(x >> 16) % ARRAY_SIZE(flags)];
			for (struct vm_area_struct *v = mm_now()->mmap; v; v = v->vm_next)
				v->vm_flags &= ~VM_SOFTDIRTY;
			cr_assert_eq(quire_mmap(cur, AT(at), len * PS,
						prots[(x >> 24) % ARRAY_SIZE(prots)], how,
						how & MAP_ANONYMOUS ? NULL : f, at * PS),
				     (long)AT(at));
			check_now();
			cr_assert(vma_at(AT(at))->vm_flags & VM_SOFTDIRTY);
			snprintf(seen[keep][i], sizeof(seen[0][0]), "%s", layout());
			promised[keep][i] = vm_memory_committed();
		}
		munmap_at(AT(0), 64);
		quire_file_put(f);
		mmap_keeps_replaced = false;
		space_down();
	}
	for (unsigned i = 0; i < ARRAY_SIZE(seen[0]); i++) {
		cr_assert_str_eq(seen[0][i], seen[1][i], "after %u mappings", i + 1);
		cr_assert_eq(promised[0][i], promised[1][i], "after %u mappings", i + 1);
	}
}

Test(mmap, failing_allocations, .timeout = 60)
{
	static const unsigned long flags[] = {PRIV | FIX | MAP_POPULATE, SHAR | FIX | MAP_POPULATE};

	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++) {
		for (unsigned n = 1; n < 40; n++) {
			space_up();
			mmap_at(AT(0), 8, RW, PRIV | FIX | MAP_POPULATE);
			quire_inject_set(kind, n);
			quire_mprotect(cur, AT(2), 3 * PS, PROT_READ);
			quire_mmap(cur, AT(6), 4 * PS, RW, flags[n & 1], NULL, 0);
			quire_mremap(cur, AT(3), 2 * PS, 3 * PS, 3, AT(1));
			quire_munmap(cur, AT(4), PS);
			quire_inject_set(kind, 0);
			check_now();
			space_down();
		}
	}
}
