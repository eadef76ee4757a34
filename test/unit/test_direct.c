/* SPDX-License-Identifier: MIT */
/*
 * O_DIRECT over a disk of memory: what is moved, and what becomes of the caller's pages when something happens while
 * the transfer is under way: a fork, a store, reclaim, a move, no memory, an error.
 */
#include "space.h"
#include "swapdev.h"

#include "mm/migrate/migrate.h"

#include "mm/base/vmstat.h"
#include "mm/object/writeback.h"

#define FILE_PAGES 16u
#define SECTOR	   512u

static unsigned char disk[FILE_PAGES * 4 * 4096];
static unsigned transfers;
static long fails;		 /* what direct_io answers instead */
static uint64_t hole_from, hole_end; /* a write comes to no room there */
static void (*in_flight)(void);  /* called once, when a transfer is under way */

static int disk_read(struct quire_inode *inode, uint64_t index, void *dst)
{
	memcpy(dst, disk + index * PS, PS);
	return 0;
}

static void disk_write(struct quire_inode *inode, uint64_t index, const void *src, struct quire_page *page)
{
	memcpy(disk + index * PS, src, PS);
	quire_end_page_writeback(page, 0);
}

static long disk_direct(struct quire_inode *inode, bool write, uint64_t off, const struct quire_piece *piece, unsigned n)
{
	long moved = 0;

	transfers++;
	if (in_flight) {
		void (*once)(void) = in_flight;

		in_flight = NULL;
		once();
	}
	if (fails)
		return fails;
	for (unsigned i = 0; i < n; i++) {
		cr_assert(!((off | (uintptr_t)piece[i].at | piece[i].len) % SECTOR));
		cr_assert((uintptr_t)piece[i].at / PS == ((uintptr_t)piece[i].at + piece[i].len - 1) / PS);
		for (uint32_t at = 0; at < piece[i].len; at += SECTOR, off += SECTOR, moved += SECTOR) {
			cr_assert(off < sizeof(disk));
			if (write && off >= hole_from && off < hole_end)
				return moved;
			if (write)
				memcpy(disk + off, (char *)piece[i].at + at, SECTOR);
			else
				memcpy((char *)piece[i].at + at, disk + off, SECTOR);
		}
	}
	return moved;
}

static const struct quire_inode_ops disk_ops = {
	.readpage = disk_read, .writepage = disk_write, .direct_io = disk_direct,
	.max_size = FILE_PAGES * PS,
};

static struct quire_inode *inode;
static struct quire_file *file;
static struct swapdev swap;

static unsigned char at_disk(uint64_t off)
{
	return (unsigned char)(off / 64 * 7 + off / 4096 + 1);
}

/* A file of so many bytes, and 80 pages of memory that hold their number. */
static void direct_up(uint64_t size)
{
	space_up();
	for (size_t i = 0; i < sizeof(disk); i++)
		disk[i] = at_disk(i);
	transfers = 0;
	fails = 0;
	hole_from = hole_end = 0;
	in_flight = NULL;
	inode = quire_inode_create(&disk_ops, NULL, 42, 8 << 20 | 1, 0);
	cr_assert_eq(quire_inode_truncate(inode, size), 0);
	file = quire_file_open(inode, FRW, "/disk/file");
	memset(disk + size, 0xcc, sizeof(disk) - size); /* behind the end is anything */
	mmap_at(AT(0), 80, RW, PRIV);
	for (unsigned i = 0; i < 80; i++)
		cr_assert_eq(store_at(AT(i), 0x1000 + i), 0);
}

static void direct_down(void)
{
	cr_expect_eq(node_page_state(NR_FOLL_PIN_ACQUIRED), node_page_state(NR_FOLL_PIN_RELEASED));
	munmap_at(AT(0), 80);
	quire_file_put(file);
	quire_inode_put(inode);
	space_down();
}

static long reads(uintptr_t to, size_t n, uint64_t off)
{
	struct quire_segment seg = {to, n};

	return CALL(quire_file_read_direct(file, cur, off, &seg, 1));
}

static long writes(uintptr_t from, size_t n, uint64_t off)
{
	struct quire_segment seg = {from, n};

	return CALL(quire_file_write_direct(file, cur, &off, false, &seg, 1));
}

/* The space has the disk's bytes at `to`. */
static void has(struct quire_mm *mm, uintptr_t to, size_t n, uint64_t off)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = 0;

		cr_assert_eq(quire_mm_read(mm, to + i, &c, 1), 1);
		cr_assert_eq(c, at_disk(off + i), "byte %zu is %#x", i, c);
	}
}

Test(direct, what_is_moved)
{
	struct quire_segment seg[3] = {{AT(1) + 512, PS}, {AT(40), 0}, {AT(9) + 1024, 512}};
	unsigned char c;

	direct_up(10 * PS + 700);
	cr_expect_eq(reads(AT(0), 3 * PS, PS), (long)(3 * PS));
	has(cur, AT(0), 3 * PS, PS);
	cr_expect_eq(load_at(AT(3)), 0x1003);
	cr_expect_eq(reads(AT(4) + 1536, 2 * PS, 512), (long)(2 * PS));
	has(cur, AT(4) + 1536, 2 * PS, 512);
	cr_expect_eq(CALL(quire_file_read_direct(file, cur, 1024, seg, 3)), (long)(PS + 512));
	has(cur, AT(1) + 512, PS, 1024);
	has(cur, AT(9) + 1024, 512, 1024 + PS);
	/* The end: whole sectors are moved, and 700 bytes told. */
	cr_expect_eq(reads(AT(0), 4 * PS, 10 * PS), 700);
	has(cur, AT(0), 700, 10 * PS);
	cr_expect_eq(reads(AT(0), PS, 11 * PS), 0);
	cr_expect_eq(reads(AT(0) + 1, PS, 11 * PS), 0);
	cr_expect_eq(reads(AT(0), 0, 1), 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(reads(AT(0) + (i == 0), 512 + (i == 1), 512 + (i == 2)), -EINVAL);
		cr_expect_eq(writes(AT(0) + (i == 0), 512 + (i == 1), 512 + (i == 2)), -EINVAL);
	}
	cr_expect_eq(quire_inode_cached_pages(inode), 0);

	/* More than a batch, and memory that ends. */
	cr_expect_eq(writes(AT(0), 80 * PS, 0), -EFBIG);
	cr_expect_eq(reads(AT(78), 4 * PS, 0), (long)(2 * PS), "what is there counts");
	has(cur, AT(78), 2 * PS, 0);
	cr_expect_eq(reads(AT(80), PS, 0), -EFAULT);
	cr_expect_eq(mprotect_at(AT(5), 1, PROT_READ), 0);
	cr_expect_eq(reads(AT(5), PS, 0), -EFAULT);
	cr_expect_eq(writes(AT(5), PS, 0), (long)PS);

	/* Memory that nobody touched is zeros. */
	madvise_at(AT(6), 2, MADV_DONTNEED);
	cr_expect_eq(writes(AT(6), 2 * PS, 2 * PS), (long)(2 * PS));
	for (unsigned i = 0; i < 2 * PS; i++)
		cr_assert_eq(disk[2 * PS + i], 0);
	/* What is dirty in the cache goes first, and what is cached of it goes. */
	cr_expect_eq(quire_inode_write(inode, 4 * PS + 3, (uintptr_t)"dirty", 5, false), 5);
	cr_expect_eq(reads(AT(0), PS, 4 * PS), (long)PS);
	cr_expect_eq(quire_mm_read(cur, AT(0) + 3, &c, 1), 1);
	cr_expect_eq(c, 'd');
	cr_expect_eq(quire_inode_cached_pages(inode), 1);
	cr_expect_eq(store_at(AT(1), 0x4242), 0);
	cr_expect_eq(writes(AT(1), 512, 4 * PS), 512);
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	cr_expect_eq(memcmp(disk + 4 * PS, "BB\0\0\0\0\0\0", 8), 0);
	/* A hole: by way of the cache, and not in it afterwards. */
	hole_from = 6 * PS + 1024;
	hole_end = 7 * PS;
	cr_expect_eq(writes(AT(10), 3 * PS, 5 * PS), (long)(3 * PS));
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(*(uint64_t *)(disk + (5 + i) * PS), 0x1000 + 10 + i);
	/* The file grows. */
	cr_expect_eq(writes(AT(10), PS, 11 * PS), (long)PS);
	cr_expect_eq(quire_inode_size(inode), 12 * PS);
	direct_down();
}

/* ---- while the transfer is under way ------------------------------------------------------------ */

static struct quire_mm *child;

static void forks_and_stores(void)
{
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_expect_eq(store_at(AT(1) + 2048, 0x77), 0);
	cr_expect_eq(store_at(AT(0), 0x78), 0);
}

/* The parent goes on writing to the page that the device writes to; the child has what was there. */
Test(direct, a_fork_leaves_pinned_pages)
{
	uint64_t v;

	direct_up(8 * PS);
	in_flight = forks_and_stores;
	cr_expect_eq(reads(AT(1), 1024, PS), 1024);
	has(cur, AT(1), 1024, PS);
	cr_expect_eq(load_at(AT(1) + 2048), 0x77);
	cr_expect_eq(quire_mm_read(child, AT(1), &v, 8), 8);
	cr_expect_eq(v, 0x1001);
	cr_expect_eq(quire_mm_read(child, AT(1) + 2048, &v, 8), 8);
	cr_expect_eq(v, 0);
	cr_expect_eq(quire_mm_read(child, AT(0), &v, 8), 8);
	cr_expect_eq(v, 0x1000);
	cr_expect_eq(quire_check(child), 0);
	quire_mm_put(child);
	direct_down();
}

/* No page for such a copy: the fork fails, and nothing else. */
static int fork_result;
static uint64_t fork_fails_at;

static void forks_without_memory(void)
{
	quire_inject_set(QUIRE_INJECT_PAGE, fork_fails_at);
	fork_result = quire_mm_fork(cur, NULL, &child);
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	if (!fork_result)
		quire_mm_put(child);
}

Test(direct, a_fork_without_memory)
{
	unsigned failed = 0;

	direct_up(8 * PS);
	for (fork_fails_at = 1; fork_fails_at < 40; fork_fails_at++) {
		in_flight = forks_without_memory;
		cr_expect_eq(reads(AT(1), 3 * PS, PS), (long)(3 * PS));
		has(cur, AT(1), 3 * PS, PS);
		cr_expect(!fork_result || fork_result == -ENOMEM);
		failed += fork_result == -ENOMEM;
	}
	cr_expect_gt(failed, 3);
	cr_expect_eq(fork_result, 0);
	direct_down();
}

/* CVE-2020-29374: who reads a page that is shared by copy-on-write, and gives his entry up, does not see what the
 * other one writes to it afterwards. And who pins to write gets a page of his own first. */
Test(direct, copy_on_write_on_the_side_that_pinned)
{
	struct page *seen, *own;

	direct_up(8 * PS);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_assert_eq(pin_user_pages(to_mm(child), AT(1), 1, false, &seen), 1);
	cr_expect_eq(quire_munmap(child, AT(1), PS), 0);
	cr_expect_eq(store_at(AT(1), 0x5ec2e7), 0);
	cr_expect_eq(*(uint64_t *)page_address(seen), 0x1001);
	cr_expect_eq(load_at(AT(1)), 0x5ec2e7);
	unpin_user_pages(&seen, 1, false);

	cr_assert_eq(pin_user_pages(to_mm(child), AT(2), 1, true, &own), 1);
	cr_expect_neq(page_to_pfn(own).n, pfn_at(AT(2)));
	*(uint64_t *)page_address(own) = 0x1234;
	cr_expect_eq(load_at(AT(2)), 0x1002);
	cr_expect(page_maybe_pinned(own));
	unpin_user_pages(&own, 1, true);
	cr_expect(!page_maybe_pinned(own));
	quire_mm_put(child);
	direct_down();
}

static bool moved_meanwhile;
static uint64_t frame;

static void reclaims_and_moves(void)
{
	struct page *fresh = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	uint64_t pfn = pfn_at(AT(1));

	frame = pfn;
	cr_assert(fresh && pfn && migrate_begin());
	cr_assert(get_page_unless_zero(pfn_to_page(PFN(pfn))));
	moved_meanwhile = migrate_page(pfn_to_page(PFN(pfn)), fresh) == 0;
	migrate_end();
	cr_expect_eq(quire_madvise(cur, AT(0), 4 * PS, MADV_PAGEOUT), 0);
	cr_expect(present_at(AT(1)) && pfn_at(AT(1)) == frame);
	cr_expect(!present_at(AT(0)) && !present_at(AT(3)), "its neighbours went");
	cr_expect_eq(store_at(AT(1) + 3000 / 8 * 8, 0x99), 0);
}

Test(direct, reclaim_and_migration_leave_pinned_pages)
{
	direct_up(8 * PS);
	swapdev_init(&swap, 0, 64);
	cr_assert_eq(quire_swapon(&swap.dev, NULL, 0), 0);
	in_flight = reclaims_and_moves;
	cr_expect_eq(reads(AT(1), PS / 2, PS), (long)PS / 2);
	cr_expect(!moved_meanwhile);
	cr_expect_eq(pfn_at(AT(1)), frame);
	has(cur, AT(1), 512, PS);
	cr_expect_eq(load_at(AT(0)), 0x1000);
	/* Afterwards it may go as any other. */
	cr_expect_eq(madvise_at(AT(1), 1, MADV_PAGEOUT), 0);
	cr_expect(!present_at(AT(1)));
	has(cur, AT(1), 512, PS);
	munmap_at(AT(0), 80);
	cr_assert_eq(quire_swapoff(&swap.dev), 0);
	swapdev_free(&swap);
	mmap_at(AT(0), 80, RW, PRIV);
	direct_down();
}

/* ---- what goes wrong ------------------------------------------------------------------------------ */

Test(direct, errors_are_the_calls)
{
	direct_up(8 * PS);
	fails = -EIO;
	cr_expect_eq(reads(AT(1), PS, 0), -EIO);
	cr_expect_eq(writes(AT(1), PS, 0), -EIO);
	cr_expect_eq(writes(AT(1), PS, 8 * PS), -EIO);
	cr_expect_eq(quire_inode_size(inode), 8 * PS);
	fails = 0;
	cr_expect_eq(writes(AT(1), PS, 0), (long)PS);
	direct_down();
}

Test(direct, no_memory)
{
	direct_up(8 * PS);
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		for (unsigned i = 1; i < 12; i++) {
			long r, w;

			madvise_at(AT(20), 4, MADV_DONTNEED);
			hole_from = 2 * PS;
			hole_end = 3 * PS;
			quire_inject_set(kind, i);
			r = reads(AT(20), 4 * PS, 0);
			w = writes(AT(30), 4 * PS, 0);
			quire_inject_set(kind, 0);
			cr_expect(r == -ENOMEM || (r > 0 && !(r % PS)), "%ld", r);
			cr_expect(w == -ENOMEM || (w > 0 && !(w % PS)), "%ld", w);
			hole_end = 0;
			cr_expect_eq(writes(AT(30), 4 * PS, 0), (long)(4 * PS));
			cr_expect_eq(reads(AT(20), 4 * PS, 0), (long)(4 * PS));
			cr_expect_eq(load_at(AT(21)), 0x1000 + 31);
		}
	direct_down();
}
