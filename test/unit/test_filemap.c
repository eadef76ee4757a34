/* SPDX-License-Identifier: MIT */
/* Files and their page cache: read, write, holes, truncate, punch, seals, running out of memory. */
#include "mm_test.h"

#include "mm/object/filemap.h"
#include <quire/abi.h>

#define MIB (1ull << 20)

static unsigned reads, released;

/* Page n of the source is full of the byte n + 1. */
static int source_readpage(struct quire_inode *inode, uint64_t index, void *dst)
{
	reads++;
	if (index == 77)
		return -EIO;
	memset(dst, index + 1, PAGE_SIZE);
	return 0;
}

static void source_release(struct quire_inode *inode, void *priv)
{
	released++;
	*(int *)priv += 1;
}

static const struct quire_inode_ops source = {source_readpage, source_release};

Test(filemap, read_through_the_cache)
{
	struct quire_inode *inode;
	unsigned char buf[100];
	int gone = 0;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(&source, &gone, 7, 3, 0);
	cr_expect_eq(quire_inode_private(inode), &gone);
	quire_inode_truncate(inode, 10 * PAGE_SIZE + 10);
	cr_expect_eq(quire_inode_read(inode, 2 * PAGE_SIZE - 50, (uintptr_t)buf, 100, false), 100);
	cr_expect_eq(buf[49], 2);
	cr_expect_eq(buf[50], 3);
	cr_expect_eq(reads, 2);
	quire_inode_read(inode, 2 * PAGE_SIZE - 50, (uintptr_t)buf, 100, false);
	cr_expect_eq(reads, 2, "the second time it is cached");
	cr_expect_eq(quire_inode_read(inode, 10 * PAGE_SIZE, (uintptr_t)buf, 100, false), 10);
	cr_expect_eq(quire_inode_read(inode, 11 * PAGE_SIZE, (uintptr_t)buf, 100, false), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 3);
	cr_expect_eq(check_phys(), 0);
	quire_drop_caches();
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	cr_expect_eq(quire_inode_populate(inode, 0, 1 << 30), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 11);
	quire_inode_put(inode);
	cr_expect_eq(gone, 1);
	machine_down();
}

Test(filemap, tail_beyond_the_end_is_zero)
{
	struct quire_inode *inode;
	struct page *page;
	int gone = 0;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(&source, &gone, 7, 3, 0);
	quire_inode_truncate(inode, 100);
	cr_assert_eq(filemap_get_page(&inode->i_mapping, 0, &page, NULL), 0);
	cr_expect_eq(((char *)page_address(page))[99], 1);
	cr_expect_eq(((char *)page_address(page))[100], 0);
	cr_expect_eq(((char *)page_address(page))[PAGE_SIZE - 1], 0);
	unlock_page(page);
	put_page(page);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, read_errors_are_told)
{
	struct quire_inode *inode;
	char buf[10];
	int gone = 0;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(&source, &gone, 7, 3, 0);
	quire_inode_truncate(inode, 100 * PAGE_SIZE);
	cr_expect_eq(quire_inode_read(inode, 77 * PAGE_SIZE, (uintptr_t)buf, 10, false), -EIO);
	cr_expect_eq(quire_inode_read(inode, 77 * PAGE_SIZE - 5, (uintptr_t)buf, 10, false), 5);
	cr_expect_eq(quire_inode_cached_pages(inode), 1);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, against_an_array)
{
	enum { SIZE = 200000 };
	static unsigned char model[SIZE], buf[SIZE];
	struct quire_inode *inode;
	uint64_t size = 0, before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
	for (unsigned round = 0; round < 3000; round++) {
		uint64_t off = rnd() % SIZE, n = rnd() % min(SIZE - off + 1, 30000ul);
		long got;

		switch (rnd() % 5) {
		case 0:
		case 1:
			memset(buf, rnd(), n);
			got = quire_inode_write(inode, off, (uintptr_t)buf, n, false);
			cr_assert_eq(got, n);
			memcpy(model + off, buf, n);
			if (n)
				size = max(size, off + n);
			break;
		case 2:
			got = quire_inode_read(inode, off, (uintptr_t)buf, n, false);
			cr_assert_eq(got, off >= size ? 0 : min(n, size - off));
			cr_assert_eq(memcmp(buf, model + off, got), 0);
			break;
		case 3:
			if (rnd() % 4)
				break;
			cr_assert_eq(quire_inode_truncate(inode, off), 0);
			memset(model + off, 0, SIZE - off);
			size = off;
			break;
		default:
			if (!n)
				break;
			cr_assert_eq(quire_inode_fallocate(inode, FALLOC_FL_PUNCH_HOLE |
							   FALLOC_FL_KEEP_SIZE, off, n), 0);
			memset(model + off, 0, n);
		}
		cr_assert_eq(quire_inode_size(inode), size);
	}
	cr_expect_eq(check_phys(), 0);
	quire_drop_caches();
	cr_expect_eq(quire_inode_read(inode, 0, (uintptr_t)buf, SIZE, false), size);
	cr_expect_eq(memcmp(buf, model, size), 0, "shared memory is the only copy: it stays");
	quire_inode_put(inode);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(filemap, appended_at_the_end)
{
	struct quire_inode *inode;
	uint64_t off = 99;
	char buf[8] = "";

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
	cr_expect_eq(quire_inode_append(inode, (uintptr_t)"abc", 3, false, &off), 3);
	cr_expect_eq(off, 0);
	cr_expect_eq(quire_inode_append(inode, (uintptr_t)"de", 2, false, &off), 2);
	cr_expect_eq(off, 3);
	cr_expect_eq(quire_inode_read(inode, 0, (uintptr_t)buf, 8, false), 5);
	cr_expect_str_eq(buf, "abcde");
	quire_inode_truncate(inode, INT64_MAX - 1);
	cr_expect_eq(quire_inode_append(inode, (uintptr_t)"fg", 2, false, &off), -EFBIG);
	cr_expect_eq(quire_inode_append(inode, (uintptr_t)"", 0, false, &off), 0);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, written_pages_are_not_dropped)
{
	struct quire_inode *inode;
	int gone = 0;
	char c = 'w';

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(&source, &gone, 7, 3, 0);
	quire_inode_truncate(inode, 4 * PAGE_SIZE);
	quire_inode_populate(inode, 0, 4 * PAGE_SIZE);
	cr_expect_eq(quire_inode_write(inode, PAGE_SIZE + 5, (uintptr_t)&c, 1, false), 1);
	quire_drop_caches();
	cr_expect_eq(quire_inode_cached_pages(inode), 1);
	c = 0;
	quire_inode_read(inode, PAGE_SIZE + 5, (uintptr_t)&c, 1, false);
	cr_expect_eq(c, 'w');
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, allocation_and_holes)
{
	struct quire_inode *inode;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, 5 * PAGE_SIZE), 0);
	cr_expect_eq(quire_inode_size(inode), 5 * PAGE_SIZE);
	cr_expect_eq(quire_inode_cached_pages(inode), 5);
	cr_expect_eq(quire_inode_fallocate(inode, FALLOC_FL_KEEP_SIZE, 0, 8 * PAGE_SIZE), 0);
	cr_expect_eq(quire_inode_size(inode), 5 * PAGE_SIZE);
	cr_expect_eq(quire_inode_fallocate(inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   PAGE_SIZE / 2, 3 * PAGE_SIZE), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 6);
	cr_expect_eq(quire_inode_fallocate(inode, FALLOC_FL_PUNCH_HOLE, 0, 1), -EOPNOTSUPP);
	cr_expect_eq(quire_inode_fallocate(inode, 0x40, 0, 1), -EOPNOTSUPP);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, 0), -EINVAL);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, seals)
{
	struct quire_inode *inode;
	struct quire_file *f, *ro;
	char c = 1;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(inode, 2 * PAGE_SIZE);
	f = quire_file_open(inode, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE, "/memfd:x (deleted)");
	ro = quire_file_open(inode, QUIRE_FMODE_READ, NULL);
	cr_expect_str_eq(quire_file_path(f), "/memfd:x (deleted)");
	cr_expect_str_eq(quire_file_path(ro), "");
	cr_expect_eq(quire_file_add_seals(ro, F_SEAL_GROW), -EPERM);
	cr_expect_eq(quire_file_add_seals(f, 0x100), -EINVAL);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_GROW), 0);
	cr_expect_eq(quire_inode_truncate(inode, 3 * PAGE_SIZE), -EPERM);
	cr_expect_eq(quire_inode_write(inode, 2 * PAGE_SIZE, (uintptr_t)&c, 1, false), -EPERM);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_SHRINK), 0);
	cr_expect_eq(quire_inode_truncate(inode, 1), -EPERM);
	cr_expect_eq(mapping_map_writable(&inode->i_mapping), 0);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_WRITE), -EBUSY);
	mapping_unmap_writable(&inode->i_mapping);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_WRITE), 0);
	cr_expect_eq(mapping_map_writable(&inode->i_mapping), -EPERM);
	cr_expect_eq(quire_inode_write(inode, 0, (uintptr_t)&c, 1, false), -EPERM);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_SEAL), 0);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_GROW), -EPERM);
	cr_expect_eq(quire_file_seals(f),
		     F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL);
	quire_file_put(f);
	quire_file_put(ro);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, write_access)
{
	struct quire_inode *inode;
	struct quire_file *w, *x;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(NULL, NULL, 1, 1, 0);
	x = quire_file_open(inode, QUIRE_FMODE_READ | QUIRE_FMODE_EXEC, "/bin/x");
	w = quire_file_open(inode, QUIRE_FMODE_WRITE, "/bin/x");
	cr_expect_eq(deny_write_access(to_file(x)), -ETXTBSY);
	quire_file_put(w);
	cr_expect_eq(deny_write_access(to_file(x)), 0);
	cr_expect_null(quire_file_open(inode, QUIRE_FMODE_WRITE, "/bin/x"));
	allow_write_access(to_file(x));
	quire_file_get(x);
	quire_file_put(x);
	cr_expect_eq(quire_file_inode(x), inode);
	quire_file_put(x);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, huge_offsets)
{
	struct quire_inode *inode;
	uint64_t far = (1ull << 60) + 123, before;
	char c = 'f';

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
	cr_expect_eq(quire_inode_write(inode, far, (uintptr_t)&c, 1, false), 1);
	cr_expect_eq(quire_inode_write(inode, 0, (uintptr_t)&c, 1, false), 1);
	cr_expect_eq(quire_inode_cached_pages(inode), 2);
	c = 0;
	cr_expect_eq(quire_inode_read(inode, far, (uintptr_t)&c, 5, false), 1);
	cr_expect_eq(c, 'f');
	cr_expect_eq(quire_inode_write(inode, INT64_MAX, (uintptr_t)&c, 1, false), -EFBIG);
	cr_expect_eq(check_phys(), 0);
	quire_inode_put(inode);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

/* Every single allocation on the way fails once: no leak, no half page, and then it works. */
Test(filemap, every_allocation_may_fail)
{
	machine_up(64 * MIB, 1);
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		for (unsigned nth = 1; nth < 40; nth++) {
			uint64_t before = free_pages_now();
			struct quire_inode *inode;
			char c = 'x';

			quire_inject_set(kind, nth);
			inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
			if (inode) {
				struct quire_file *f = quire_file_open(inode, 1, "/f");

				for (unsigned i = 0; i < 10; i++)
					quire_inode_write(inode, i * 1000000ull * PAGE_SIZE,
							  (uintptr_t)&c, 1, false);
				cr_assert_eq(check_phys(), 0);
				if (f)
					quire_file_put(f);
				quire_inode_put(inode);
			}
			quire_inject_set(kind, 0);
			cr_assert_eq(free_pages_now(), before);
		}
	machine_down();
}

Test(filemap, cache_gives_way_to_need)
{
	static struct page *p[40000];
	struct quire_inode *inode;
	unsigned n = 0;
	int gone = 0;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(&source, &gone, 7, 3, 0);
	quire_inode_truncate(inode, 70 * PAGE_SIZE);
	quire_inode_populate(inode, 0, 70 * PAGE_SIZE);
	cr_expect_eq(quire_inode_cached_pages(inode), 70);
	while ((p[n] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		n++;
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	while (n)
		__free_pages(p[--n], 0);
	quire_inode_put(inode);
	machine_down();
}

/* ---- who waits, and what he finds ---------------------------------------------------------------- */

/* What the owner of the page lock does while somebody waits for it. */
static void (*owner)(void);
static struct page *locked;
static unsigned waits;

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	cr_assert_eq(*word, seen, "would sleep for ever");
	waits++;
	owner();
}

static unsigned woken;

void os_wake(const void *key, unsigned n)
{
	woken += key == &locked->waiters;
}

static void lets_go(void)
{
	unlock_page(locked);
}

static void takes_it_out(void)
{
	delete_from_page_cache(locked);
	unlock_page(locked);
}

static struct quire_inode *inode_of(unsigned pages, unsigned flags)
{
	static int gone;
	struct quire_inode *inode = quire_inode_create(&source, &gone, 7, 3, flags);

	cr_assert_eq(quire_inode_truncate(inode, pages * PAGE_SIZE), 0);
	return inode;
}

Test(filemap, the_page_lock)
{
	struct quire_inode *inode;
	struct page *page;

	machine_up(64 * MIB, 1);
	inode = inode_of(4, 0);
	quire_inode_populate(inode, 0, 4 * PAGE_SIZE);
	locked = find_lock_page(&inode->i_mapping, 1);
	owner = lets_go;
	page = find_lock_page(&inode->i_mapping, 1);
	cr_expect_eq(page, locked);
	cr_expect_eq(waits, 1);
	cr_expect_eq(woken, 1);
	put_page(page);
	/* It left the file while he waited: then it is not the file's page any more. */
	owner = takes_it_out;
	cr_expect_null(find_lock_page(&inode->i_mapping, 1));
	cr_expect_eq(waits, 2);
	put_page(page);
	/* Whoever truncates waits too, and finds it gone. */
	locked = find_lock_page(&inode->i_mapping, 2);
	truncate_inode_pages(&inode->i_mapping, 2, 3);
	cr_expect_eq(waits, 3);
	cr_expect_eq(quire_inode_cached_pages(inode), 2);
	put_page(locked);
	quire_inode_put(inode);
	machine_down();
}

static struct quire_inode *reading;
static bool resident;

static int asking_readpage(struct quire_inode *inode, uint64_t index, void *dst)
{
	resident |= page_cache_resident(&inode->i_mapping, index);
	cr_expect_eq(invalidate_mapping_pages(&inode->i_mapping, index, index + 1), 0,
		     "nobody takes it away");
	memset(dst, 1, PAGE_SIZE);
	return 0;
}

static const struct quire_inode_ops asking = {asking_readpage, NULL};

Test(filemap, a_page_that_is_being_read)
{
	struct page *page;
	char c;

	machine_up(64 * MIB, 1);
	reading = quire_inode_create(&asking, NULL, 7, 3, 0);
	quire_inode_truncate(reading, 2 * PAGE_SIZE);
	cr_expect_eq(quire_inode_read(reading, 5, (uintptr_t)&c, 1, false), 1);
	cr_expect_not(resident, "not while it is not valid");
	cr_expect(page_cache_resident(&reading->i_mapping, 0));
	cr_expect_not(page_cache_resident(&reading->i_mapping, 1));
	/* Beyond the end everything is zero, whatever the source says. */
	cr_assert_eq(filemap_get_page(&reading->i_mapping, 9, &page, NULL), 0);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		cr_assert_eq(((char *)page_address(page))[i], 0);
	unlock_page(page);
	put_page(page);
	quire_inode_put(reading);
	machine_down();
}

/* Nodes of the tree run out where nobody may sleep: they are fetched where one may. */
Test(filemap, nodes_are_fetched_outside)
{
	const struct quire_fault_attr one_of_two = {.probability = 50, .interval = 1, .times = -1};
	const struct quire_fault_attr all = {.probability = 100, .interval = 1, .times = -1};
	struct quire_inode *inode;
	unsigned written = 0;
	uint64_t hits;
	char c = 'x';

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
	quire_inode_write(inode, 0, (uintptr_t)&c, 1, false);
	hits = quire_inject_hits(QUIRE_INJECT_SLAB);
	quire_inject_attr(QUIRE_INJECT_SLAB, &one_of_two);
	for (unsigned i = 1; i < 40; i++) {
		long r = quire_inode_write(inode, i * 77777ull * PAGE_SIZE, (uintptr_t)&c, 1, false);

		cr_expect(r == 1 || r == -ENOMEM, "%u: %ld", i, r);
		written += r == 1;
	}
	cr_expect_gt(quire_inject_hits(QUIRE_INJECT_SLAB), hits + 5);
	cr_expect_gt(written, 10, "%u", written);
	cr_expect_eq(quire_inode_cached_pages(inode), 1 + written);
	quire_inject_attr(QUIRE_INJECT_SLAB, &all);
	cr_expect_eq(quire_inode_write(inode, 1ull << 50, (uintptr_t)&c, 1, false), -ENOMEM);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 1ull << 50, PAGE_SIZE), -ENOSPC);
	quire_inject_attr(QUIRE_INJECT_SLAB, &(struct quire_fault_attr){0});
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_eq(quire_inode_write(inode, 5, 0, 1, true), -ENOMEM, "nowhere to put it between");
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 1 + written);
	cr_expect_eq(check_phys(), 0);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, shared_memory_has_no_source)
{
	struct quire_inode *inode;
	char c = 9;

	machine_up(64 * MIB, 1);
	inode = inode_of(40, QUIRE_S_SHMEM);
	reads = 0;
	cr_expect_eq(quire_inode_read(inode, PAGE_SIZE, (uintptr_t)&c, 1, false), 1);
	cr_expect_eq(c, 0, "a hole");
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	cr_expect_eq(quire_inode_populate(inode, 0, 40 * PAGE_SIZE), 0);
	cr_expect_eq(quire_inode_populate(inode, 40 * PAGE_SIZE, PAGE_SIZE), 0, "nothing there");
	cr_expect_eq(quire_inode_populate(inode, 0, 0), 0);
	cr_expect_eq(reads, 0);
	cr_expect_eq(invalidate_mapping_pages(&inode->i_mapping, 0, 100), 0, "the only copy");
	cr_expect_eq(quire_inode_truncate(inode, (uint64_t)INT64_MAX + 1), -EFBIG);
	cr_expect_eq(quire_inode_fallocate(inode, 0, (uint64_t)INT64_MAX + 1, 1), -EINVAL);
	cr_expect_eq(quire_inode_fallocate(inode, 0, INT64_MAX, INT64_MAX), -EFBIG);
	quire_inode_put(inode);
	machine_down();
}

Test(filemap, many_pages_at_once)
{
	struct quire_inode *inode;
	struct page *page;

	machine_up(64 * MIB, 1);
	inode = inode_of(70, 0);
	quire_inode_populate(inode, 0, 70 * PAGE_SIZE);
	page = find_get_page(&inode->i_mapping, 3);
	cr_expect_eq(invalidate_mapping_pages(&inode->i_mapping, 0, 40), 39, "one is held");
	put_page(page);
	page = find_lock_page(&inode->i_mapping, 50);
	cr_expect_eq(invalidate_mapping_pages(&inode->i_mapping, 40, 70), 29, "one is locked");
	unlock_page(page);
	put_page(page);
	quire_inode_populate(inode, 0, 70 * PAGE_SIZE);
	truncate_inode_pages(&inode->i_mapping, 5, 64);
	cr_expect_eq(quire_inode_cached_pages(inode), 11);
	cr_expect_null(fget(NULL));
	quire_inode_put(inode);
	machine_down();
}

/* A sealed file, and one that signals interrupt while it is made. */
static unsigned dies_in;

bool os_fatal_signal_pending(void)
{
	return dies_in && --dies_in == 0;
}

Test(filemap, allocation_that_is_stopped)
{
	struct quire_inode *inode;
	struct quire_file *f, *plain;
	struct quire_inode *disk;

	machine_up(64 * MIB, 1);
	inode = quire_inode_create(NULL, NULL, 1, 1, QUIRE_S_SHMEM);
	f = quire_file_open(inode, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE, "/memfd:x (deleted)");
	dies_in = 3;
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, 10 * PAGE_SIZE), -EINTR);
	cr_expect_eq(quire_inode_size(inode), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 3, "what was made stays, as in Linux");
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, 2 * PAGE_SIZE), 0);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_GROW), 0);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, 3 * PAGE_SIZE), -EPERM);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, 2 * PAGE_SIZE), 0, "nothing grows");
	cr_expect_eq(quire_inode_fallocate(inode, FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE_SIZE), 0);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_WRITE), 0);
	cr_expect_eq(quire_file_add_seals(f, F_SEAL_WRITE), 0, "once more is nothing new");
	cr_expect_eq(quire_inode_fallocate(inode, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 1),
		     -EPERM);
	disk = inode_of(1, 0);
	plain = quire_file_open(disk, QUIRE_FMODE_WRITE, "/f");
	cr_expect_eq(quire_file_add_seals(plain, F_SEAL_GROW), -EINVAL, "not memory");
	quire_file_put(plain);
	quire_inode_put(disk);
	quire_file_put(f);
	quire_inode_put(inode);
	machine_down();
}

/* A page in its place, but not valid yet: nobody sees it before it is. */
static struct page *cached_invalid(struct quire_inode *inode, uint64_t index)
{
	struct page *page = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);

	memset(page_address(page), 0xee, PAGE_SIZE);
	cr_assert(trylock_page(page));
	cr_assert_eq(add_to_page_cache(page, &inode->i_mapping, index, GFP_KERNEL), 0);
	unlock_page(page);
	put_page(page);
	return page;
}

Test(filemap, pages_that_are_not_valid)
{
	struct quire_inode *inode;
	struct page *page;
	uint64_t v = 5;

	machine_up(64 * MIB, 1);
	inode = inode_of(4, QUIRE_S_SHMEM);
	page = cached_invalid(inode, 1);
	cr_expect_eq(quire_inode_truncate(inode, PAGE_SIZE + 8), 0);
	cr_expect_not(page_test(page, PG_dirty), "a tail that nobody can see is not cleared");
	cr_expect_eq(quire_inode_read(inode, PAGE_SIZE, (uintptr_t)&v, 8, false), 8);
	cr_expect_eq(v, 0, "what was in the frame is nobody's data");
	/* Nothing to be written is written, to nowhere; what wraps is too far. */
	cr_expect_eq(quire_inode_write(inode, 0, 0, 0, true), 0);
	cr_expect_eq(quire_inode_write(inode, UINT64_MAX - 5, (uintptr_t)&v, 8, false), -EFBIG);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, (uint64_t)INT64_MAX + 1), -EINVAL);
	inode->seals = F_SEAL_GROW;
	cr_expect_eq(quire_inode_write(inode, 0, (uintptr_t)&v, 8, false), 8, "it does not grow");
	inode->seals = 0;
	quire_inode_put(inode);
	/* Whole batches, to the last page of the range. */
	inode = inode_of(40, 0);
	quire_inode_populate(inode, 0, 40 * PAGE_SIZE);
	cr_expect_eq(invalidate_mapping_pages(&inode->i_mapping, 0, 16), 16);
	truncate_inode_pages(&inode->i_mapping, 16, 32);
	cr_expect_eq(quire_inode_cached_pages(inode), 8);
	quire_inode_put(inode);
	/* A source that fails is told by whoever asks for the page. */
	inode = inode_of(80, 0);
	cr_expect_eq(quire_inode_populate(inode, 76 * PAGE_SIZE, 3 * PAGE_SIZE), -EIO);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 77 * PAGE_SIZE, PAGE_SIZE), -EIO);
	quire_inode_put(inode);
	machine_down();
}

/* Who may not wait does not make the cache give way; who may, does so without a file's own code, for
 * the pages are clean. */
Test(filemap, cache_gives_way_to_who_may_wait)
{
	static struct page *p[40000];
	struct quire_inode *inode;
	unsigned n = 0;

	machine_up(64 * MIB, 1);
	inode = inode_of(70, 0);
	quire_inode_populate(inode, 0, 70 * PAGE_SIZE);
	while ((p[n] = alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 0)))
		n++;
	cr_expect_eq(quire_inode_cached_pages(inode), 70);
	while ((p[n] = alloc_pages((GFP_KERNEL & ~__GFP_FS) | __GFP_NOWARN, 0)))
		n++;
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	while (n)
		__free_pages(p[--n], 0);
	quire_inode_put(inode);
	machine_down();
}
