/* SPDX-License-Identifier: MIT */
/* Reading ahead: which pages are asked for together, who waits for them, what errors do. */
#include "space.h"

#include "mm/base/vmstat.h"
#include "mm/object/filemap.h"

#define FILE_PAGES 256u

/* A disk of pages that remembers what was asked for. Transfers end at once, or when the test says so. */
static struct {
	uint64_t first;
	unsigned n;
} asked[64];
static unsigned nr_asked, alone, queued, waits;
static unsigned alone_locked, waits_locked; /* with the space locked */
static bool later, mends;		   /* the bad page can be read the second time */
static uint64_t bad = UINT64_MAX; /* page that cannot be read */
static struct {
	struct quire_page *page;
	unsigned char *dst;
	uint64_t index;
} queue[FILE_PAGES];

static void put(unsigned char *dst, uint64_t index)
{
	memset(dst, 0, PS);
	dst[0] = (unsigned char)index;
}

static int disk_read(struct quire_inode *inode, uint64_t index, void *dst)
{
	alone++;
	alone_locked += rwsem_is_locked(&mm_now()->mmap_lock);
	if (index == bad) {
		if (mends)
			bad = UINT64_MAX;
		return -EIO;
	}
	put(dst, index);
	return 0;
}

static void end_one(struct quire_page *page, unsigned char *dst, uint64_t index)
{
	if (index != bad)
		put(dst, index);
	quire_end_page_read(page, index == bad ? -EIO : 0);
}

static void end_all(void)
{
	for (unsigned i = 0; i < queued; i++)
		end_one(queue[i].page, queue[i].dst, queue[i].index);
	queued = 0;
}

static void disk_read_ahead(struct quire_inode *inode, uint64_t index, unsigned n, void *const dst[],
			    struct quire_page *const page[])
{
	cr_assert(nr_asked < ARRAY_SIZE(asked));
	asked[nr_asked++] = (typeof(asked[0])){index, n};
	for (unsigned i = 0; i < n; i++)
		if (later) {
			queue[queued].page = page[i];
			queue[queued].dst = dst[i];
			queue[queued++].index = index + i;
		} else {
			end_one(page[i], dst[i], index + i);
		}
}

static const struct quire_inode_ops disk_ops = {.readpage = disk_read, .readahead = disk_read_ahead};

static void (*meanwhile)(void); /* what others do while somebody sleeps */

/* Who sleeps for a page lets the transfers end. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	waits++;
	waits_locked += cur && rwsem_is_locked(&mm_now()->mmap_lock);
	if (meanwhile)
		meanwhile();
	cr_assert(queued, "nothing is under way, and nobody could wake us");
	end_all();
}

static struct quire_inode *inode;
static struct quire_file *file;

static void file_up(void)
{
	space_up();
	nr_asked = alone = queued = waits = alone_locked = waits_locked = 0;
	later = mends = false;
	meanwhile = NULL;
	bad = UINT64_MAX;
	inode = quire_inode_create(&disk_ops, NULL, 42, 8 << 20 | 1, 0);
	quire_inode_set_size(inode, FILE_PAGES * PS - 100);
	file = quire_file_open(inode, QUIRE_FMODE_READ, "/disk/file");
	cr_assert(file);
}

static void file_down(void)
{
	quire_file_put(file);
	quire_inode_put(inode);
	space_down();
}

static void read_pages(uint64_t first, unsigned n)
{
	static unsigned char buf[FILE_PAGES * 16384];

	cr_assert_eq(quire_file_read(file, first * PS, (uintptr_t)buf, n * PS - 100, false), n * PS - 100);
	for (unsigned i = 0; i < n; i++)
		cr_expect_eq(buf[i * PS], (unsigned char)(first + i));
}

static void was_asked(unsigned i, uint64_t first, unsigned n)
{
	cr_expect(nr_asked > i && asked[i].first == first && asked[i].n == n, "%u: %llu, %u pages, not %llu, %u", i,
		  (unsigned long long)asked[i].first, asked[i].n, (unsigned long long)first, n);
}

/* As a real 5.10: test/kernel/readahead.c. */
Test(readahead, windows_grow)
{
	file_up();
	for (unsigned i = 0; i < 100; i++)
		read_pages(i, 1);
	was_asked(0, 0, 4);
	was_asked(1, 4, 8);
	was_asked(2, 12, 16);
	/* Windows of 32 from here on, at most 16 at a time. */
	for (unsigned i = 3; i < 11; i++)
		was_asked(i, 28 + 16 * (i - 3), 16);
	cr_expect_eq(nr_asked, 11);
	cr_expect_eq(alone, 0);
	file_down();
}

Test(readahead, here_and_there)
{
	file_up();
	for (unsigned i = 0; i < 20; i++)
		read_pages(200 - 7 * i, 2);
	for (unsigned i = 0; i < 20; i++)
		was_asked(i, 200 - 7 * i, 2);
	cr_expect_eq(quire_file_advise(file, 0, 0, 1), 0); /* random */
	read_pages(0, 1);
	was_asked(20, 0, 1);
	cr_expect_eq(quire_file_advise(file, 0, 0, 2), 0); /* sequential */
	quire_inode_invalidate(inode);
	read_pages(20, 100);
	for (unsigned i = 0; i < 6; i++)
		was_asked(21 + i, 20 + 16 * i, 16);
	cr_expect_eq(quire_file_advise(file, 0, 0, 6), -EINVAL);
	cr_expect_eq(quire_file_advise(file, 0, UINT64_MAX, 3), -EINVAL);
	file_down();
}

/* The next window is asked for while the last one is still on its way; who needs a page waits for it alone. */
Test(readahead, while_it_is_on_its_way)
{
	file_up();
	later = true;
	read_pages(0, 1);
	cr_expect_eq(waits, 1);
	read_pages(1, 1); /* the marked one */
	was_asked(1, 4, 8);
	cr_expect_eq(queued, 8);
	read_pages(2, 2);
	cr_expect_eq(waits, 1, "those were there");
	quire_inode_truncate(inode, 6 * PS); /* waits for what is read */
	cr_expect_eq(queued, 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 6);
	file_down();
}

/* Nobody is told of what he did not ask for; who asks is. */
Test(readahead, errors)
{
	unsigned char c;

	file_up();
	bad = 3;
	read_pages(0, 3);
	cr_expect_eq(alone, 0);
	cr_expect_eq(quire_file_read(file, 3 * PS, (uintptr_t)&c, 1, false), -EIO);
	cr_expect_eq(alone, 1, "once more, by itself");
	bad = UINT64_MAX;
	cr_expect_eq(quire_file_read(file, 3 * PS, (uintptr_t)&c, 1, false), 1);
	cr_expect_eq(c, 3);
	file_down();
}

Test(readahead, faults)
{
	file_up();
	mmap_file(AT(0), FILE_PAGES, PROT_READ, FIX | MAP_SHARED, file, 0);
	cr_expect_eq(load_at(AT(100)) & 0xff, 100);
	was_asked(0, 84, 16);
	was_asked(1, 100, 16);
	cr_expect_eq(load_at(AT(101)) & 0xff, 101);
	cr_expect_eq(nr_asked, 2);
	cr_expect_eq(load_at(AT(108)) & 0xff, 108); /* the marked one */
	was_asked(2, 116, 16);
	was_asked(3, 132, 16);
	cr_expect_eq(CALL(quire_madvise(cur, AT(0), FILE_PAGES * PS, MADV_RANDOM)), 0);
	cr_expect_eq(load_at(AT(10)) & 0xff, 10);
	cr_expect_eq(nr_asked, 4);
	cr_expect_eq(alone, 1);
	cr_expect_eq(CALL(quire_madvise(cur, AT(0), FILE_PAGES * PS, MADV_WILLNEED)), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), FILE_PAGES);
	munmap_at(AT(0), FILE_PAGES);
	file_down();
}

/* Nothing is left behind by whatever cannot be had; what was not read ahead is read when it is wanted. */
Test(readahead, no_memory)
{
	unsigned char c;

	file_up();
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		for (unsigned i = 1; i < 12; i++) {
			nr_asked = 0;
			quire_inject_set(kind, i);
			for (unsigned k = 0; k < 4; k++)
				(void)quire_file_read(file, k * 40 * PS, (uintptr_t)&c, 1, false);
			quire_inject_set(kind, 0);
			read_pages(i, 3);
			quire_inode_invalidate(inode);
		}
	file_down();
}

/* ---- the space is not locked while the device works ---------------------------------------------- */

static unsigned others;

/* Would panic if the one who waits had the lock of the space: nobody could let go of it. */
static void map_and_unmap(void)
{
	void (*was)(void) = meanwhile;

	meanwhile = NULL;
	cr_assert(!rwsem_is_locked(&mm_now()->mmap_lock), "the space is locked over a read");
	cr_expect_eq(quire_mmap(cur, AT(1000), 4 * PS, RW, PRIV | FIX, NULL, 0), (long)AT(1000));
	cr_expect_eq(quire_munmap(cur, AT(1000), 4 * PS), 0);
	others++;
	meanwhile = was;
}

static void slow_file_up(void)
{
	file_up();
	others = 0;
	mmap_file(AT(0), FILE_PAGES, PROT_READ, FIX | MAP_SHARED, file, 0);
	later = true;
	meanwhile = map_and_unmap;
}

static void slow_file_down(void)
{
	meanwhile = NULL;
	end_all();
	munmap_at(AT(0), FILE_PAGES);
	file_down();
}

static unsigned long event(enum vm_event_item which)
{
	return (unsigned long)sum_vm_event(which);
}

/* One access, one major fault, though it was tried twice. */
Test(readahead, a_fault_does_not_hold_the_space)
{
	unsigned long faults, major;
	struct mm_struct *mm;
	uint64_t maj, min;

	slow_file_up();
	mm = mm_now();
	faults = event(PGFAULT);
	major = event(PGMAJFAULT);
	maj = mm->maj_flt;
	min = mm->min_flt;
	cr_expect_eq(load_at(AT(100)) & 0xff, 100);
	cr_expect_eq(others, 1);
	cr_expect(last.major && last.counted);
	cr_expect_eq(mm->maj_flt, maj + 1);
	cr_expect_eq(mm->min_flt, min);
	cr_expect_eq(event(PGFAULT), faults + 2);
	cr_expect_eq(event(PGMAJFAULT), major + 1);
	/* What another one has asked for, and is waited for, is as long a wait: major, with nothing read. */
	cr_expect_eq(CALL(quire_madvise(cur, AT(0), FILE_PAGES * PS, MADV_RANDOM)), 0);
	cr_expect_eq(CALL(quire_madvise(cur, AT(0), FILE_PAGES * PS, MADV_WILLNEED)), 0);
	cr_expect_eq(load_at(AT(200)) & 0xff, 200);
	cr_expect_eq(others, 2);
	cr_expect_eq(mm->maj_flt, maj + 2);
	cr_expect_eq(event(PGMAJFAULT), major + 1);
	slow_file_down();
}

static void unmap_it(void)
{
	meanwhile = NULL;
	quire_file_put(file); /* the last one but the mapping's */
	file = NULL;
	cr_expect_eq(quire_munmap(cur, AT(0), FILE_PAGES * PS), 0);
	others++;
}

/* What was to be read is not mapped any more, and the file is nobody's but the fault's. */
Test(readahead, what_is_waited_for_is_unmapped)
{
	slow_file_up();
	meanwhile = unmap_it;
	cr_expect_eq(touch_at(AT(100)), MAPERR);
	cr_expect_eq(others, 1);
	cr_expect(!last.counted);
	file = quire_file_open(inode, QUIRE_FMODE_READ, "/disk/file");
	file_down();
}

/* The lock is given up once: the second time the fault reads with it, so that it gets on. The first failure is
 * tried again, the second one is told. */
Test(readahead, never_given_up_twice)
{
	slow_file_up();
	later = false;
	meanwhile = NULL;
	cr_expect_eq(CALL(quire_madvise(cur, AT(0), FILE_PAGES * PS, MADV_RANDOM)), 0);
	cr_expect_eq(load_at(AT(10)) & 0xff, 10);
	cr_expect_eq(alone, 1);
	cr_expect_eq(alone_locked, 0);
	bad = 20;
	cr_expect_eq(touch_at(AT(20)), ADRERR);
	cr_expect_eq(alone, 3);
	cr_expect_eq(alone_locked, 1);
	mends = true;
	cr_expect_eq(load_at(AT(20)) & 0xff, 20);
	cr_expect_eq(alone, 5);
	cr_expect_eq(alone_locked, 2);
	slow_file_down();
}

/* Populating begins anew where it was; the lock's mark is on every page. */
Test(readahead, populating_does_not_hold_the_space)
{
	struct mm_struct *mm;
	uint64_t maj;

	slow_file_up();
	mm = mm_now();
	maj = mm->maj_flt;
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), 100 * PS, 0)), 0);
	cr_expect(others >= 3, "%u", others);
	cr_expect_eq(mm->maj_flt, maj, "the second try finds the page, as in 5.10");
	for (unsigned i = 0; i < 100; i++)
		cr_expect(page_test(pfn_to_page(PFN(pfn_at(AT(i)))), PG_mlocked), "%u", i);
	slow_file_down();
}

/* Access by a call waits without the lock; what may not give it up waits with it. */
Test(readahead, calls_do_not_hold_the_space)
{
	unsigned char c;

	slow_file_up();
	cr_expect_eq(quire_mm_read(cur, AT(100), &c, 1), 1);
	cr_expect_eq(c, 100);
	cr_expect_eq(others, 1);
	cr_expect_eq(quire_fault_in(cur, AT(200), false), 0);
	cr_expect_eq(others, 2);
	meanwhile = NULL;
	quire_inode_invalidate(inode);
	munmap_at(AT(0), FILE_PAGES);
	quire_inode_invalidate(inode);
	mmap_file(AT(0), FILE_PAGES, PROT_READ, FIX | MAP_SHARED, file, 0);
	cr_expect_eq(quire_mm_read_forced(cur, AT(50), &c, 1), 1);
	cr_expect_eq(c, 50);
	cr_expect_eq(waits_locked, 1);
	slow_file_down();
}
