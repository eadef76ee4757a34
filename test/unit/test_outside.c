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
