/* SPDX-License-Identifier: MIT */
/* Files under mappings: one set of bytes for stores, reads and writes; truncate and punch take
 * pages away from every space; what shared memory promises and gives back. */
#include "space.h"

static struct quire_inode *inode;
static struct quire_file *f;

static void memfd_up(unsigned pages)
{
	space_up();
	inode = quire_inode_create(NULL, NULL, 9, 1, QUIRE_S_SHMEM);
	f = quire_file_open(inode, FRW, "/memfd:t (deleted)");
	cr_assert_eq(quire_inode_truncate(inode, pages * PS), 0);
}

static void memfd_down(void)
{
	quire_file_put(f);
	quire_inode_put(inode);
	space_down();
}

static uint64_t file_word(uint64_t off)
{
	uint64_t v = ~0ull;

	cr_assert_eq(quire_inode_read(inode, off, (uintptr_t)&v, 8, false), 8);
	return v;
}

Test(shmem, stores_reads_and_writes_see_one_set_of_bytes)
{
	uint64_t v = 77;

	memfd_up(4);
	OK(mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	OK(mmap_file(AT(10), 4, RW, MAP_SHARED | FIX, f, 0) == (long)AT(10));
	OK(mmap_file(AT(20), 4, RW, MAP_PRIVATE | FIX, f, 0) == (long)AT(20));
	OK(store_at(AT(1), 5) == 0);
	OK(load_at(AT(11)) == 5);
	OK(load_at(AT(21)) == 5);
	OK(file_word(PS) == 5);
	quire_inode_write(inode, PS, (uintptr_t)&v, 8, false);
	OK(load_at(AT(1)) == 77 && load_at(AT(21)) == 77);
	OK(store_at(AT(21), 6) == 0);
	OK(file_word(PS) == 77 && load_at(AT(11)) == 77);
	v = 78;
	quire_inode_write(inode, PS, (uintptr_t)&v, 8, false);
	OK(load_at(AT(21)) == 6);
	OK(pfn_at(AT(1)) == pfn_at(AT(11)) && pfn_at(AT(1)) != pfn_at(AT(21)));
	memfd_down();
}

Test(shmem, a_read_of_a_hole_makes_the_page)
{
	memfd_up(4);
	OK(mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	OK(FAULTS(load_at(AT(2))) == 1);
	OK(quire_inode_cached_pages(inode) == 1);
	OK(FAULTS(store_at(AT(2), 1)) == 0);
	OK(!last.major);
	memfd_down();
}

Test(shmem, beyond_the_end)
{
	memfd_up(2);
	quire_inode_truncate(inode, PS + 100);
	OK(mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	OK(store_at(AT(1) + 200, 9) == 0);
	OK(touch_at(AT(2)) == ADRERR);
	OK(store_at(AT(3), 1) == ADRERR);
	quire_inode_truncate(inode, 4 * PS);
	OK(load_at(AT(1) + 200) == 9);
	OK(load_at(AT(3)) == 0);
	memfd_down();
}

Test(shmem, truncate_takes_pages_from_every_space)
{
	struct quire_mm *parent, *child;

	memfd_up(4);
	OK(mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	OK(mmap_file(AT(10), 4, RW, MAP_PRIVATE | FIX, f, 0) == (long)AT(10));
	for (unsigned i = 0; i < 4; i++)
		store_at(AT(i), i + 1), store_at(AT(10 + i), i + 100);
	parent = cur;
	OK(quire_mm_fork(parent, NULL, &child) == 0);
	run_space(child);
	OK(load_at(AT(3)) == 4);
	OK(load_at(AT(13)) == 103);
	quire_inode_truncate(inode, PS + 8);
	fake_core_returned();
	for (int who = 0; who < 2; who++) {
		OK(touch_at(AT(2)) == ADRERR);
		OK(touch_at(AT(13)) == ADRERR); /* private copies go too */
		OK(load_at(AT(0)) == 1);
		OK(load_at(AT(11)) == 101);
		run_space(parent);
	}
	OK(quire_inode_cached_pages(inode) == 2);
	quire_inode_truncate(inode, 4 * PS);
	OK(load_at(AT(3)) == 0);
	OK(load_at(AT(1) + 8) == 0); /* the tail was cleared */
	OK(load_at(AT(1)) == 2);
	quire_mm_put(child);
	memfd_down();
}

Test(shmem, punch_reads_zero_everywhere)
{
	memfd_up(6);
	OK(mmap_file(AT(0), 6, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	OK(mmap_file(AT(10), 6, RW, MAP_PRIVATE | FIX, f, 0) == (long)AT(10));
	for (unsigned i = 0; i < 6; i++)
		store_at(AT(i), i + 1);
	store_at(AT(12), 200);
	OK(quire_inode_fallocate(inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PS + 8,
				 3 * PS) == 0);
	fake_core_returned();
	OK(quire_inode_cached_pages(inode) == 4);
	OK(load_at(AT(1)) == 2 && load_at(AT(1) + 8) == 0);
	OK(load_at(AT(2)) == 0 && load_at(AT(3)) == 0);
	OK(load_at(AT(4)) == 0 && load_at(AT(5)) == 6);
	OK(load_at(AT(12)) == 200); /* a private copy is no page of the file */
	OK(quire_inode_size(inode) == 6 * PS);
	memfd_down();
}

Test(shmem, madvise_remove)
{
	memfd_up(4);
	OK(mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	for (unsigned i = 0; i < 4; i++)
		store_at(AT(i), i + 1);
	OK(madvise_at(AT(1), 2, MADV_REMOVE) == 0);
	OK(load_at(AT(0)) == 1 && load_at(AT(1)) == 0 && load_at(AT(2)) == 0 &&
	   load_at(AT(3)) == 4);
	memfd_down();
}

Test(shmem, seals_and_mappings)
{
	memfd_up(4);
	OK(mmap_file(AT(0), 1, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	OK(quire_file_add_seals(f, F_SEAL_WRITE) == -EBUSY);
	OK(munmap_at(AT(0), 1) == 0);
	OK(quire_file_add_seals(f, F_SEAL_WRITE) == 0);
	OK(mmap_file(AT(0), 1, RW, MAP_SHARED | FIX, f, 0) == -EPERM);
	OK(mmap_file(AT(0), 1, PROT_READ, MAP_SHARED | FIX, f, 0) == -EPERM);
	OK(mmap_file(AT(0), 1, RW, MAP_PRIVATE | FIX, f, 0) == (long)AT(0));
	memfd_down();
}

Test(shmem, future_write_seal)
{
	memfd_up(4);
	OK(mmap_file(AT(0), 1, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	OK(quire_file_add_seals(f, F_SEAL_FUTURE_WRITE) == 0);
	OK(store_at(AT(0), 3) == 0);
	OK(mmap_file(AT(2), 1, RW, MAP_SHARED | FIX, f, 0) == -EPERM);
	OK(mmap_file(AT(2), 1, PROT_READ, MAP_SHARED | FIX, f, 0) == (long)AT(2));
	OK(mprotect_at(AT(2), 1, RW) == -EACCES);
	OK(load_at(AT(2)) == 3);
	memfd_down();
}

Test(shmem, shared_anonymous)
{
	struct quire_mm *parent, *child;
	long before;

	space_up();
	before = vm_memory_committed();
	OK(mmap_at(AT(0), 4, RW, SHAR | FIX) == (long)AT(0));
	OK(vm_memory_committed() == before + 4);
	OK(mmap_at(AT(8), 4, RW, SHAR | FIX | MAP_NORESERVE) == (long)AT(8));
	OK(vm_memory_committed() == before + 4);
	store_at(AT(1), 11);
	parent = cur;
	OK(quire_mm_fork(parent, NULL, &child) == 0);
	run_space(child);
	OK(load_at(AT(1)) == 11);
	store_at(AT(2), 22);
	run_space(parent);
	OK(load_at(AT(2)) == 22);
	quire_mm_put(child);
	OK(munmap_at(AT(0), 4) == 0);
	OK(vm_memory_committed() == before);
	space_down();
}

Test(shmem, dev_zero)
{
	struct quire_inode *z;
	struct quire_file *zero;

	space_up();
	z = quire_inode_create(NULL, NULL, 5, 6, 0);
	zero = quire_file_open(z, FRW | QUIRE_FMODE_ZERO, "/dev/zero");
	OK(mmap_file(AT(0), 2, RW, MAP_PRIVATE | FIX, zero, 0) == (long)AT(0));
	OK(mmap_file(AT(4), 2, RW, MAP_SHARED | FIX, zero, 0) == (long)AT(4));
	OK(mmap_file(AT(8), 2, RW, MAP_SHARED | FIX, zero, 0) == (long)AT(8));
	OK(load_at(AT(0)) == 0);
	OK(pfn_at(AT(0)) == page_to_pfn(zero_page).n);
	OK(FAULTS(store_at(AT(0), 1)) == 1);
	store_at(AT(4), 2);
	OK(load_at(AT(8)) == 0);
	quire_file_put(zero);
	quire_inode_put(z);
	space_down();
}

#define AROUND (65536 / PS) /* pages of the window */

Test(shmem, window_of_a_read_fault)
{
	unsigned first = 20 / AROUND * AROUND;
	struct quire_file *file;

	space_up();
	file = file_new(40, QUIRE_FMODE_READ);
	OK(mmap_file(AT(0), 40, PROT_READ, MAP_PRIVATE | FIX, file, 0) == (long)AT(0));
	OK(load_at(AT(20)) == 0x1515151515151515ull);
	for (unsigned i = 0; i < 40; i++)
		cr_expect_eq(present_at(AT(i)), i / AROUND == 20 / AROUND, "page %u", i);
	OK(FAULTS(load_at(AT(first + AROUND - 1))) == 0);
	OK(FAULTS(load_at(AT(39))) == 1);
	OK(!present_at(AT(first - 1)) && present_at(AT(39 / AROUND * AROUND)));
	quire_file_put(file);
	space_down();
}

Test(shmem, window_takes_only_what_is_cached)
{
	struct quire_file *file;
	struct quire_inode *i;
	struct page *page;

	space_up();
	i = quire_inode_create(&pattern_ops, NULL, 42, 1, 0);
	quire_inode_truncate(i, 14 * PS + 1);
	quire_inode_populate(i, 3 * PS, 2 * PS);
	quire_inode_populate(i, 14 * PS, 1);
	file = quire_file_open(i, QUIRE_FMODE_READ, "/f");
	page = find_lock_page(&i->i_mapping, 4);
	OK(mmap_file(AT(0), 16, PROT_READ, MAP_PRIVATE | FIX, file, 0) == (long)AT(0));
	OK(load_at(AT(8)) == 0x0909090909090909ull); /* read in: that is a major fault */
	OK(last.major);
	unlock_page(page);
	put_page(page);
	for (unsigned n = 0; n < 16; n++)
		cr_expect_eq(present_at(AT(n)),
			     n / AROUND == 8 / AROUND && (n == 3 || n == 8 || n == 14),
			     "page %u", n);
	OK(touch_at(AT(15)) == ADRERR);
	quire_file_put(file);
	quire_inode_put(i);
	space_down();
}

Test(shmem, dropped_only_when_unmapped)
{
	struct quire_file *file;

	space_up();
	file = file_new(8, QUIRE_FMODE_READ);
	OK(mmap_file(AT(0), 4, PROT_READ, MAP_PRIVATE | FIX, file, 0) == (long)AT(0));
	load_at(AT(0));
	quire_drop_caches();
	OK(quire_inode_cached_pages(quire_file_inode(file)) == 4);
	munmap_at(AT(0), 4);
	quire_drop_caches();
	OK(quire_inode_cached_pages(quire_file_inode(file)) == 0);
	quire_file_put(file);
	space_down();
}

/* User memory on both sides of a copy: the page written may be the very page read. */
Test(shmem, write_from_its_own_mapping)
{
	memfd_up(4);
	OK(mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0) == (long)AT(0));
	store_at(AT(0), 0x1234);
	OK(quire_inode_write(inode, PS - 4, AT(0), 16, true) == 16);
	OK(file_word(PS - 4) == 0x1234);
	OK(quire_inode_read(inode, 0, AT(3), 8, true) == 8);
	OK(load_at(AT(3)) == 0x1234);
	OK(quire_inode_write(inode, 0, AT(50), 8, true) == -EFAULT);
	OK(quire_inode_write(inode, 0, AT(4) - 4, 8, true) == 4);
	OK(quire_inode_read(inode, 0, AT(4) - 4, 8, true) == 4);
	memfd_down();
}

/* Every allocation on the way fails once: told as such, nothing lost, and it works the next time. */
Test(shmem, every_allocation_may_fail)
{
	space_up();
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		for (unsigned nth = 1; nth < 25; nth++) {
			quire_inject_set(kind, nth);
			if (quire_mmap(cur, AT(0), 8 * PS, RW, SHAR | FIX, NULL, 0) == (long)AT(0))
				for (unsigned i = 0; i < 8; i += 3)
					store_at(AT(i), i);
			quire_inject_set(kind, 0);
			check_now();
			OK(munmap_at(AT(0), 8) == 0);
			cr_assert_eq(vm_memory_committed(), 0);
		}
	space_down();
}

/* Sealed against writes to come: a private mapping is still one's own, a shared one never writes. */
Test(shmem, private_mappings_of_a_sealed_file)
{
	memfd_up(4);
	OK(quire_file_add_seals(f, F_SEAL_FUTURE_WRITE) == 0);
	OK(mmap_file(AT(0), 1, RW, MAP_PRIVATE | FIX, f, 0) == (long)AT(0));
	OK(store_at(AT(0), 3) == 0);
	OK(file_word(0) == 0);
	OK(mmap_file(AT(2), 1, PROT_READ, MAP_PRIVATE | FIX, f, 0) == (long)AT(2));
	OK(mprotect_at(AT(2), 1, RW) == 0);
	OK(mmap_file(AT(4), 1, PROT_READ, MAP_SHARED | FIX, f, 0) == (long)AT(4));
	OK(mprotect_at(AT(4), 1, RW) == -EACCES);
	memfd_down();
}
