/* SPDX-License-Identifier: MIT */
/*
 * Accesses from outside: what the kernel writes into a space for somebody else (process_vm_writev,
 * /proc/PID/mem) is as safe as what the program itself wrote, and looking costs nothing for good.
 */
#include "space.h"

enum { DONTNEED = 4, LAZYFREE = 8, PAGEOUT = 21 };

static void write_outside(uintptr_t addr, uint64_t v)
{
	cr_assert_eq(quire_mm_write(cur, addr, &v, sizeof(v)), sizeof(v));
}

/* A page that MADV_FREE made clean keeps its entry writable: nothing else tells of the write. */
Test(outside, a_write_to_a_lazily_freed_page_stays)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 1);
	cr_assert_eq(madvise_at(AT(0), 2, LAZYFREE), 0);
	write_outside(AT(0), 7);
	cr_assert_eq(madvise_at(AT(0), 2, PAGEOUT), 0);
	cr_expect_eq(load_at(AT(0)), 7, "thrown away as clean");
	cr_expect_eq(load_at(AT(1)), 0, "the other one was free to go");
	space_down();
}

static int readpage_ones(struct quire_inode *inode, uint64_t index, void *dst)
{
	memset(dst, 0x11, PS);
	return 0;
}

Test(outside, a_write_to_a_file_stays)
{
	static const struct quire_inode_ops ops = {.readpage = readpage_ones};
	struct quire_inode *inode;
	struct quire_file *f;
	uint64_t back = 0;

	space_up();
	inode = quire_inode_create(&ops, NULL, 43, 1, 0);
	cr_assert_eq(quire_inode_truncate(inode, PS), 0);
	f = quire_file_open(inode, FRW, "/tmp/x");
	mmap_file(AT(0), 1, RW, MAP_SHARED | FIX, f, 0);
	(void)touch_at(AT(0)); /* there, and clean */
	write_outside(AT(0), 7);
	munmap_at(AT(0), 1);
	quire_drop_caches();
	cr_assert_eq(quire_inode_read(inode, 0, (uintptr_t)&back, 8, false), 8);
	cr_expect_eq(back, 7, "the page left the cache as clean");
	quire_file_put(f);
	quire_inode_put(inode);
	space_down();
}

Test(outside, a_write_to_shared_memory_stays)
{
	space_up();
	mmap_at(AT(0), 1, RW, SHAR | FIX);
	cr_assert_eq(load_at(AT(0)), 0);
	write_outside(AT(0), 7);
	cr_assert_eq(madvise_at(AT(0), 1, PAGEOUT), 0);
	cr_expect_eq(load_at(AT(0)), 7);
	space_down();
}

/* Copy-on-write is broken for the one who is written to, and for him alone. */
Test(outside, a_write_to_a_page_of_two)
{
	struct quire_mm *parent, *child;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	parent = cur;
	cr_assert_eq(quire_mm_fork(parent, NULL, &child), 0);
	write_outside(AT(0), 7);
	cr_expect_eq(load_at(AT(0)), 7);
	run_space(child);
	cr_expect_eq(load_at(AT(0)), 1);
	run_space(parent);
	space_put(child);
	space_down();
}

Test(outside, the_page_of_zeros_is_not_counted)
{
	char b[8];
	int before;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	load_at(AT(0));
	before = page_count(zero_page);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(quire_mm_read(cur, AT(0), b, 8), 8);
	cr_expect_eq(page_count(zero_page), before);
	write_outside(AT(0), 7);
	cr_expect_eq(load_at(AT(0)), 7);
	cr_expect_eq(page_count(zero_page), before);
	space_down();
}

/* ---- where a word lives -------------------------------------------------------------------------- */

static struct quire_place place_at(uintptr_t addr)
{
	struct quire_place p;

	cr_assert_eq(quire_mm_place(cur, addr, &p), 0);
	return p;
}

Test(outside, private_words_stay_where_they_are)
{
	struct quire_place before, after;
	struct quire_mm *parent, *child;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	before = place_at(AT(0) + 8);
	cr_expect_eq(before.offset, AT(0) + 8);
	cr_expect_null(before.inode);
	parent = cur;
	cr_assert_eq(quire_mm_fork(parent, NULL, &child), 0);
	store_at(AT(0), 1); /* copied */
	after = place_at(AT(0) + 8);
	cr_expect(after.object == before.object && after.offset == before.offset);
	run_space(child);
	cr_expect_neq(place_at(AT(0) + 8).object, before.object);
	run_space(parent);
	space_put(child);
	space_down();
}

Test(outside, words_of_objects_are_one_everywhere)
{
	struct quire_file *f;
	struct quire_place a, b, c;

	space_up();
	f = file_new(4, FRW);
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 2);
	mmap_file(AT(8), 4, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(16), 4, PROT_READ, MAP_PRIVATE | FIX, f, 0);
	a = place_at(AT(1) + 12);
	b = place_at(AT(11) + 12);
	c = place_at(AT(19) + 12); /* no copy can ever be made of it */
	cr_expect(a.object == b.object && a.offset == b.offset && a.object == c.object &&
		  a.offset == c.offset);
	munmap_at(AT(0), 20);
	quire_file_put(f);
	cr_expect_eq(a.inode, b.inode, "still there: each place holds it");
	quire_place_put(&a);
	quire_place_put(&b);
	quire_place_put(&c);
	space_down();
}

Test(outside, words_that_live_nowhere)
{
	struct quire_place p;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	cr_expect_eq(quire_mm_place(cur, AT(4), &p), -EFAULT);
	store_at(AT(1), 1);
	cr_assert_eq(mprotect_at(AT(0), 2, PROT_READ), 0);
	cr_expect_eq(quire_mm_place(cur, AT(0), &p), -EFAULT, "zeros for ever");
	cr_expect_eq(quire_mm_place(cur, AT(1), &p), -EFAULT, "ones for ever");
	cr_assert_eq(mprotect_at(AT(0), 2, PROT_NONE), 0);
	cr_expect_eq(quire_mm_place(cur, AT(1), &p), -EFAULT);
	space_down();
}

/* ---- a name of a space ----------------------------------------------------------------------------- */

Test(outside, a_name_outlives_the_space)
{
	struct quire_mm_params p = {.owner = NULL};
	struct quire_mm *mm;

	space_up();
	mm = quire_mm_create(&p);
	quire_mm_grab(mm);
	cr_expect(quire_mm_tryget(mm));
	quire_mm_put(mm);
	quire_mm_put(mm); /* the last user */
	for (int i = 0; i < 2; i++) /* a refused one leaves nothing behind */
		cr_expect_not(quire_mm_tryget(mm), "torn down");
	quire_mm_drop(mm);
	space_down();
}
