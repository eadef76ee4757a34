/* SPDX-License-Identifier: MIT */
/* Write-back: what is written to a file comes to its disk, once and not too late; errors come to who waits. */
#include "space.h"

#include "mm/base/errseq.h"
#include "mm/base/vmstat.h"
#include "mm/object/writeback.h"

#define FILE_PAGES 32u

/* A disk of pages. A transfer ends at once, or when the test, or who waits, says so. */
static unsigned char disk[FILE_PAGES][4 * 4096];
static unsigned writes, reads, prepared, inodes_written, flushes, gone;
static uint64_t wrote_last, truncated_to;
static bool later;		   /* transfers wait */
static int fail_write, fail_prepare;
static struct {
	struct quire_page *page;
	const void *src;
	uint64_t index;
} queue[FILE_PAGES];
static unsigned queued;

static int disk_read(struct quire_inode *inode, uint64_t index, void *dst)
{
	reads++;
	memcpy(dst, disk[index], PS);
	return 0;
}

static void transfer(uint64_t index, const void *src, struct quire_page *page)
{
	if (!fail_write)
		memcpy(disk[index], src, PS);
	quire_end_page_writeback(page, fail_write);
}

static void end_all(void)
{
	for (unsigned i = 0; i < queued; i++)
		transfer(queue[i].index, queue[i].src, queue[i].page);
	queued = 0;
}

static void disk_write(struct quire_inode *inode, uint64_t index, const void *src, struct quire_page *page)
{
	writes++;
	wrote_last = index;
	if (!later) {
		transfer(index, src, page);
		return;
	}
	queue[queued].page = page;
	queue[queued].src = src;
	queue[queued++].index = index;
}

static int disk_prepare(struct quire_inode *inode, uint64_t off, size_t len)
{
	cr_assert(len && (off & (PS - 1)) + len <= PS, "within a page");
	prepared++;
	return fail_prepare;
}

static int disk_write_inode(struct quire_inode *inode, bool datasync)
{
	inodes_written++;
	return 0;
}

static int disk_flush(struct quire_inode *inode)
{
	flushes++;
	return 0;
}

static int disk_truncate(struct quire_inode *inode, uint64_t size)
{
	truncated_to = size;
	return 0;
}

static int disk_punch(struct quire_inode *inode, uint64_t off, uint64_t end)
{
	for (uint64_t i = off / PS; i < end / PS; i++)
		memset(disk[i], 0, PS);
	return 0;
}

static void disk_release(struct quire_inode *inode, void *priv)
{
	gone++;
}

static const struct quire_inode_ops disk_ops = {
	.readpage = disk_read, .writepage = disk_write, .prepare_write = disk_prepare,
	.write_inode = disk_write_inode, .flush = disk_flush, .truncate = disk_truncate,
	.punch = disk_punch, .release = disk_release, .max_size = (uint64_t)FILE_PAGES * 4 * 4096,
};

/* Who sleeps for a page lets the transfers end. */
static unsigned sleeps;

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	sleeps++;
	cr_assert(queued, "nothing is under way, and nobody could wake us");
	end_all();
}

static struct quire_inode *inode;
static struct quire_file *file;

/* The flusher is no thread here: the one test that has one calls what it runs. */
static void (*flusher_runs)(void *);
static const uint32_t *flusher_word;
static uint64_t slept_until[3];
static unsigned flusher_sleeps, flusher_woken[4];

static void while_the_flusher_sleeps(void);

int os_thread_start(const char *name, void (*fn)(void *arg), void *arg, struct os_thread **thread)
{
	if (!strcmp(name, "flusher"))
		flusher_runs = fn;
	return -ENOMEM;
}

bool os_thread_should_stop(void)
{
	return flusher_sleeps == ARRAY_SIZE(slept_until);
}

void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	flusher_word = word;
	slept_until[flusher_sleeps++] = deadline_ns;
	while_the_flusher_sleeps();
	cr_expect_eq(*word != seen, flusher_woken[flusher_sleeps] > 0);
}

void os_wake(const void *key, unsigned n)
{
	flusher_woken[flusher_sleeps] += key == flusher_word;
}

static void file_up(unsigned pages)
{
	space_up();
	for (unsigned i = 0; i < FILE_PAGES; i++)
		memset(disk[i], i + 1, PS);
	writes = reads = prepared = inodes_written = flushes = gone = queued = sleeps = 0;
	later = false;
	fail_write = fail_prepare = 0;
	inode = quire_inode_create(&disk_ops, NULL, 42, 8 << 20 | 1, 0);
	quire_inode_truncate(inode, (uint64_t)pages * PS);
	quire_inode_write_out(inode);
	inodes_written = 0;
	file = quire_file_open(inode, FRW, "/disk/file");
	cr_assert(file);
}

static void file_down(void)
{
	quire_file_put(file);
	quire_inode_put(inode);
	space_down();
	cr_expect_eq(gone, 1);
}

static unsigned long dirty_now(void)
{
	cr_expect_eq(node_page_state(NR_FILE_DIRTY), inode->i_mapping.nr_dirty);
	return node_page_state(NR_FILE_DIRTY);
}

static long put_at(uint64_t off, const char *s)
{
	return quire_inode_write(inode, off, (uintptr_t)s, strlen(s), false);
}

static bool tagged(uint64_t index, unsigned tag)
{
	bool t;

	spin_lock(&inode->i_mapping.i_lock);
	t = radix_tag_get(locked_pages(&inode->i_mapping), index, tag);
	spin_unlock(&inode->i_mapping.i_lock);
	return t;
}

Test(writeback, what_is_written_comes_to_the_disk)
{
	unsigned long dirtied, written;

	file_up(8);
	dirtied = node_page_state(NR_DIRTIED);
	written = node_page_state(NR_WRITTEN);
	cr_expect_eq(put_at(3 * PS + 5, "hello"), 5);
	cr_expect_eq(put_at(3 * PS + 10, "again"), 5);
	cr_expect_eq(put_at(6 * PS, "x"), 1);
	cr_expect_eq(dirty_now(), 2);
	cr_expect_eq(node_page_state(NR_DIRTIED) - dirtied, 2);
	cr_expect(tagged(3, PAGECACHE_TAG_DIRTY) && tagged(6, PAGECACHE_TAG_DIRTY));
	cr_expect_eq(writes, 0, "not before it is asked for");
	cr_expect_eq(quire_file_sync(file, 3 * PS, 4 * PS, false), 0);
	cr_expect_eq(writes, 1);
	cr_expect_eq(flushes, 1);
	cr_expect_eq(memcmp(disk[3] + 5, "helloagain", 10), 0);
	cr_expect_eq(disk[3][4], 4, "what was there before stays");
	cr_expect_eq(dirty_now(), 1);
	cr_expect_eq(quire_file_sync(file, 0, UINT64_MAX, false), 0);
	cr_expect_eq(dirty_now(), 0);
	cr_expect_eq(disk[6][0], 'x');
	cr_expect_eq(node_page_state(NR_WRITTEN) - written, 2);
	for (unsigned t = 0; t < 3; t++)
		cr_expect(!tagged(3, t) && !tagged(6, t), "tag %u", t);
	cr_expect_eq(quire_file_sync(file, 0, UINT64_MAX, false), 0);
	cr_expect_eq(writes, 2, "what is clean is not written");
	file_down();
}

Test(writeback, whole_pages_are_not_read_first)
{
	static char page[4 * 4096];

	file_up(4);
	memset(page, 'p', PS);
	cr_expect_eq(quire_inode_write(inode, PS, (uintptr_t)page, PS, false), (long)PS);
	cr_expect_eq(reads, 0);
	cr_expect_eq(put_at(4 * PS + 7, "tail"), 4);
	cr_expect_eq(reads, 0, "behind the end is nothing to read");
	cr_expect_eq(put_at(2 * PS, "x"), 1);
	cr_expect_eq(reads, 1);
	cr_expect_eq(quire_inode_write_out(inode), 0);
	cr_expect_eq(disk[4][0], 0);
	cr_expect_eq(memcmp(disk[4] + 7, "tail", 5), 0, "zeros behind the end");
	cr_expect_eq(quire_inode_size(inode), 4 * PS + 11);
	file_down();
}

Test(writeback, a_mapped_page_is_noticed_each_time)
{
	file_up(8);
	mmap_file(AT(0), 8, RW, FIX | MAP_SHARED, file, 0);
	cr_expect_eq(load_at(AT(2)) & 0xff, 3);
	cr_expect_eq(dirty_now(), 0);
	cr_expect_eq(FAULTS(store_at(AT(2), 77)), 1, "read before: asked for now");
	cr_expect_eq(prepared, 1);
	cr_expect_eq(dirty_now(), 1);
	cr_expect_eq(FAULTS(store_at(AT(2), 78)), 0);
	cr_expect_eq(FAULTS(store_at(AT(3), 79)), 1, "not there yet");
	cr_expect_eq(dirty_now(), 2);
	cr_expect_eq(CALL(quire_msync(cur, AT(2), PS, MS_ASYNC)), 0);
	cr_expect_eq(writes, 0, "as Linux");
	cr_expect_eq(CALL(quire_msync(cur, AT(2), PS, MS_SYNC)), 0);
	cr_expect_eq(writes, 1);
	cr_expect_eq(disk[2][0], 78);
	cr_expect_eq(dirty_now(), 1);
	cr_expect_eq(load_at(AT(2)), 78);
	cr_expect_eq(FAULTS(store_at(AT(2), 80)), 1, "written out: the next write is noticed");
	cr_expect_eq(dirty_now(), 2);
	munmap_at(AT(0), 8);
	cr_expect_eq(dirty_now(), 2);
	cr_expect_eq(quire_inode_write_out(inode), 0);
	cr_expect_eq(disk[2][0], 80);
	cr_expect_eq(disk[3][0], 79);
	file_down();
}

/* An entry that nobody may use is clean like the others: what it says else stays as it was. */
Test(writeback, a_page_that_nobody_may_touch)
{
	file_up(8);
	mmap_file(AT(0), 8, RW, FIX | MAP_SHARED, file, 0);
	store_at(AT(2), 77);
	mprotect_at(AT(0), 8, PROT_NONE);
	cr_expect_eq(quire_inode_write_out(inode), 0);
	cr_expect_eq(disk[2][0], 77);
	cr_expect_eq(dirty_now(), 0);
	mprotect_at(AT(0), 8, RW);
	cr_expect_eq(load_at(AT(2)) & 0xff, 77);
	cr_expect_eq(FAULTS(store_at(AT(2), 78)), 1, "written out: the next write is noticed");
	cr_expect_eq(dirty_now(), 1);
	file_down();
}

Test(writeback, private_pages_are_nobody_elses)
{
	file_up(4);
	mmap_file(AT(0), 4, RW, FIX | MAP_PRIVATE, file, 0);
	store_at(AT(1), 5);
	cr_expect_eq(dirty_now(), 0);
	cr_expect_eq(CALL(quire_msync(cur, AT(0), 4 * PS, MS_SYNC)), 0);
	cr_expect_eq(writes, 0);
	cr_expect_eq(load_at(AT(1)), 5);
	file_down();
}

/* While a page is on its way nobody changes it: by a call, by a fault, by a truncation. */
Test(writeback, pages_under_way_are_stable)
{
	file_up(8);
	later = true;
	mmap_file(AT(0), 8, RW, FIX | MAP_SHARED, file, 0);
	store_at(AT(1), 1);
	filemap_fdatawrite_range(&inode->i_mapping, 0, UINT64_MAX, false);
	cr_expect_eq(queued, 1);
	cr_expect_eq(node_page_state(NR_WRITEBACK), 1);
	cr_expect(tagged(1, PAGECACHE_TAG_WRITEBACK) && !tagged(1, PAGECACHE_TAG_DIRTY));
	quire_drop_caches();
	cr_expect_eq(quire_inode_cached_pages(inode), 1, "it stays meanwhile");
	store_at(AT(1), 2);
	cr_expect_eq(sleeps, 1);
	cr_expect_eq(disk[1][0], 1, "what was there when it began");
	filemap_fdatawrite_range(&inode->i_mapping, 0, UINT64_MAX, false);
	put_at(PS + 1, "!");
	cr_expect_eq(sleeps, 2);
	cr_expect_eq(disk[1][0], 2);
	cr_expect_eq(disk[1][1], 0);
	filemap_fdatawrite_range(&inode->i_mapping, 0, UINT64_MAX, false);
	cr_expect_eq(quire_inode_truncate(inode, 0), 0);
	cr_expect_eq(sleeps, 3);
	cr_expect_eq(disk[1][1], '!');
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	cr_expect_eq(dirty_now(), 0);
	file_down();
}

/* A page that is made dirty again while it is being written is written again. */
Test(writeback, dirty_again)
{
	file_up(4);
	later = true;
	put_at(0, "a");
	filemap_fdatawrite_range(&inode->i_mapping, 0, UINT64_MAX, false);
	end_all();
	cr_expect(tagged(0, PAGECACHE_TAG_WRITEBACK), "the end of a transfer leaves it");
	put_at(0, "b");
	cr_expect_eq(dirty_now(), 1);
	filemap_fdatawrite_range(&inode->i_mapping, 0, UINT64_MAX, true);
	filemap_fdatawait_range(&inode->i_mapping, 0, UINT64_MAX);
	cr_expect_not(tagged(0, PAGECACHE_TAG_WRITEBACK));
	cr_expect_eq(disk[0][0], 'b');
	cr_expect_eq(writes, 2);
	file_down();
}

Test(writeback, errors_are_told_once_to_each)
{
	struct quire_file *other, *late;

	file_up(4);
	other = quire_file_open(inode, FRW, "/disk/file");
	fail_write = -EIO;
	put_at(0, "lost");
	cr_expect_eq(quire_file_sync(file, 0, UINT64_MAX, false), -EIO);
	fail_write = 0;
	late = quire_file_open(inode, FRW, "/disk/file");
	cr_expect_eq(quire_file_sync(file, 0, UINT64_MAX, false), 0, "once");
	cr_expect_eq(quire_file_sync(other, 0, UINT64_MAX, false), -EIO, "each");
	cr_expect_eq(quire_file_sync(other, 0, UINT64_MAX, false), 0);
	cr_expect_eq(quire_file_sync(late, 0, UINT64_MAX, false), 0, "before it came, and somebody was told");
	fail_write = -ENOSPC;
	put_at(0, "lost");
	filemap_fdatawrite_range(&inode->i_mapping, 0, UINT64_MAX, false);
	fail_write = 0;
	quire_file_put(late);
	late = quire_file_open(inode, FRW, "/disk/file");
	cr_expect_eq(quire_file_sync(late, 0, UINT64_MAX, false), -ENOSPC, "nobody was told: who comes next");
	mmap_file(AT(0), 1, RW, FIX | MAP_SHARED, other, 0);
	cr_expect_eq(CALL(quire_msync(cur, AT(0), PS, MS_SYNC)), -ENOSPC);
	cr_expect_eq(CALL(quire_msync(cur, AT(0), PS, MS_SYNC)), 0);
	munmap_at(AT(0), 1);
	cr_expect_eq(quire_file_sync(file, 0, UINT64_MAX, false), -ENOSPC);
	quire_file_put(other);
	quire_file_put(late);
	file_down();
}

Test(writeback, no_room)
{
	file_up(4);
	mmap_file(AT(0), 4, RW, FIX | MAP_SHARED, file, 0);
	load_at(AT(0));
	fail_prepare = -ENOSPC;
	cr_expect_eq(put_at(PS, "no"), -ENOSPC);
	cr_expect_eq(store_at(AT(0), 1), ADRERR, "read before");
	cr_expect_eq(store_at(AT(2), 1), ADRERR);
	cr_expect_eq(dirty_now(), 0);
	cr_expect_eq(load_at(AT(0)) & 0xff, 1);
	fail_prepare = 0;
	cr_expect_eq(store_at(AT(0), 1), 0);
	file_down();
}

Test(writeback, a_shorter_file_has_zeros_behind)
{
	char c = 1;

	file_up(4);
	cr_expect_eq(quire_inode_truncate(inode, PS + 10), 0);
	cr_expect_eq(truncated_to, PS + 10);
	cr_expect_eq(quire_inode_truncate(inode, 4 * PS), 0);
	cr_expect_eq(quire_inode_write_out(inode), 0);
	quire_drop_caches();
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	cr_expect_eq(quire_inode_read(inode, PS + 10, (uintptr_t)&c, 1, false), 1);
	cr_expect_eq(c, 0);
	cr_expect_eq(quire_inode_read(inode, PS + 9, (uintptr_t)&c, 1, false), 1);
	cr_expect_eq(c, 2);
	file_down();
}

/* What a mapping asked for was the file as it was. */
Test(writeback, a_file_that_grows_inside_a_page)
{
	file_up(2);
	quire_inode_truncate(inode, PS + 100);
	mmap_file(AT(0), 2, RW, FIX | MAP_SHARED, file, 0);
	store_at(AT(1), 1);
	prepared = 0;
	cr_expect_eq(quire_inode_truncate(inode, 2 * PS), 0);
	cr_expect_eq(FAULTS(store_at(AT(1) + 2000, 2)), 1);
	cr_expect_eq(prepared, 1);
	cr_expect_eq(put_at(2 * PS, "page"), 4);
	cr_expect_eq(FAULTS(store_at(AT(1) + 2000, 3)), 0, "it grew behind the page");
	cr_expect_eq(quire_inode_write_out(inode), 0);
	cr_expect_eq(disk[1][2000], 3);
	file_down();
}

Test(writeback, holes)
{
	char c = 1;

	file_up(4);
	cr_expect_eq(quire_inode_fallocate(inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 2 * PS), 0);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, PS), -EOPNOTSUPP);
	cr_expect_eq(quire_inode_write_out(inode), 0);
	cr_expect_eq(disk[0][9], 1);
	cr_expect_eq(disk[0][10], 0);
	cr_expect_eq(disk[1][0], 0);
	cr_expect_eq(disk[2][9], 0);
	cr_expect_eq(disk[2][10], 3);
	quire_drop_caches();
	cr_expect_eq(quire_inode_read(inode, PS, (uintptr_t)&c, 1, false), 1);
	cr_expect_eq(c, 0);
	cr_expect_eq(quire_inode_write(inode, FILE_PAGES * 4 * 4096ull, (uintptr_t)&c, 1, false), -EFBIG);
	cr_expect_eq(quire_inode_truncate(inode, FILE_PAGES * 4 * 4096ull + 1), -EFBIG);
	file_down();
}

Test(writeback, the_last_reference_writes)
{
	file_up(4);
	put_at(0, "kept");
	quire_file_put(file);
	quire_inode_put(inode);
	cr_expect_eq(gone, 1);
	cr_expect_eq(memcmp(disk[0], "kept", 4), 0);
	cr_expect_eq(node_page_state(NR_FILE_DIRTY), 0);

	inode = quire_inode_create(&disk_ops, NULL, 42, 8 << 20 | 1, 0);
	quire_inode_truncate(inode, 4 * PS);
	put_at(0, "lost");
	quire_inode_discard(inode);
	quire_inode_put(inode);
	cr_expect_eq(memcmp(disk[0], "kept", 4), 0, "it has no name any more");
	cr_expect_eq(node_page_state(NR_FILE_DIRTY), 0);
	space_down();
}

Test(writeback, the_flusher_takes_what_is_old)
{
	uint64_t when;

	file_up(4);
	put_at(0, "old");
	when = inode->i_mapping.dirtied_when;
	cr_assert(when);
	write_back_old(when + 29999999999ull);
	cr_expect_eq(writes, 0);
	write_back_old(when + 30000000001ull);
	cr_expect_eq(writes, 1);
	cr_expect_eq(inodes_written, 0, "its size is the same");
	cr_expect_eq(inode->i_mapping.dirtied_when, 0);
	put_at(5 * PS, "longer");
	write_back_old(inode->i_mapping.dirtied_when + 30000000001ull);
	cr_expect_eq(inodes_written, 1);
	put_at(0, "x");
	quire_sync();
	cr_expect_eq(dirty_now(), 0);
	file_down();
}

/* The limits, the age and whether there is one, as /proc/sys/vm has them. */
Test(writeback, the_tunables_are_gone_by)
{
	unsigned long background, most;
	uint64_t when;

	file_up(8);
	cr_expect_eq(quire_sysctl_set("dirty_bytes", 40 * PS + 1), 0);
	cr_expect_eq(quire_sysctl_set("dirty_background_bytes", 5 * PS), 0);
	global_dirty_limits(&background, &most);
	cr_expect_eq(most, 41);
	cr_expect_eq(background, 5);
	cr_expect_eq(quire_sysctl_set("dirty_background_bytes", 41 * PS), 0);
	global_dirty_limits(&background, &most);
	cr_expect_eq(background, 20, "half of the other at most");
	cr_expect_eq(quire_sysctl_set("dirty_ratio", 100), 0);
	cr_expect_eq(quire_sysctl_set("dirty_background_ratio", 25), 0);
	global_dirty_limits(&background, &most);
	cr_expect_gt(most, 64 * MIB / PS * 3 / 4);
	cr_expect(most / 4 - background <= 1);

	cr_expect_eq(quire_sysctl_set("dirty_expire_centisecs", 100), 0);
	put_at(0, "old");
	when = inode->i_mapping.dirtied_when;
	write_back_old(when + 999999999ull);
	cr_expect_eq(writes, 0);
	cr_expect_eq(quire_sysctl_set("dirty_writeback_centisecs", 0), 0);
	write_back_old(when + 100000000000ull);
	cr_expect_eq(writes, 0, "nothing for its age");
	cr_expect_eq(quire_sysctl_set("dirty_writeback_centisecs", 10), 0);
	write_back_old(0); /* the interval is another one */
	cr_expect_eq(writes, 1);
	put_at(0, "old");
	write_back_old(inode->i_mapping.dirtied_when + 1000000001ull);
	cr_expect_eq(writes, 2);

	cr_expect_eq(quire_sysctl_set("dirty_background_bytes", 2 * PS), 0);
	for (unsigned i = 0; i < 3; i++) {
		write_back_old(0);
		cr_expect_eq(writes, 2, "too few");
		put_at(i * PS, "young");
	}
	write_back_old(0);
	cr_expect_eq(writes, 5);
	file_down();
}

/* First nothing differs; then there is a young page; when it was written, nothing again. */
static void while_the_flusher_sleeps(void)
{
	if (flusher_sleeps == 1) {
		put_at(0, "x");
		put_at(PS, "y");
	}
	if (flusher_sleeps == 2)
		quire_sync();
}

/* It wakes every 5 s while something differs, and else only when called: once, by the first change. */
Test(writeback, the_flusher_sleeps_until_something_differs)
{
	file_up(4);
	flusher_run();
	cr_assert(flusher_runs);
	flusher_runs(NULL);
	cr_expect_eq(slept_until[0], UINT64_MAX);
	cr_expect_eq(flusher_woken[1], 1);
	cr_expect_eq(flusher_woken[2], 0);
	cr_expect_leq(slept_until[1], os_clock_ns() + 5000000000ull);
	cr_expect_eq(slept_until[2], UINT64_MAX);
	file_down();
}

/* Without a thread that writes, who makes too many dirty does. */
Test(writeback, not_too_many)
{
	static char page[4 * 4096];
	unsigned long background, most, peak = 0;
	struct quire_inode *many[64];

	machine_up(16 * MIB, 1);
	writes = 0;
	later = false;
	fail_write = fail_prepare = 0;
	for (int i = 0; i < 64; i++) {
		many[i] = quire_inode_create(&disk_ops, NULL, i, 1, 0);
		for (unsigned p = 0; p < FILE_PAGES; p++) {
			cr_assert_eq(quire_inode_write(many[i], p * PS, (uintptr_t)page, PS, false), (long)PS);
			peak = max(peak, node_page_state(NR_FILE_DIRTY));
		}
	}
	global_dirty_limits(&background, &most);
	cr_expect(background < most);
	cr_expect_leq(peak, most + FILE_PAGES);
	cr_expect_gt(writes, 0);
	for (int i = 0; i < 64; i++)
		quire_inode_put(many[i]);
	machine_down();
}

Test(writeback, errseq_tells_who_was_there)
{
	uint32_t word = 0, a = errseq_sample(&word), b;

	cr_expect_eq(errseq_check_and_advance(&word, &a), 0);
	errseq_set(&word, -EIO);
	b = errseq_sample(&word);
	cr_expect_eq(errseq_check_and_advance(&word, &a), -EIO);
	cr_expect_eq(errseq_check_and_advance(&word, &b), -EIO);
	b = errseq_sample(&word);
	cr_expect_eq(errseq_check_and_advance(&word, &b), 0);
	errseq_set(&word, -EIO);
	cr_expect_eq(errseq_check_and_advance(&word, &a), -EIO, "the same errno, another error");
	cr_expect_eq(errseq_check_and_advance(&word, &b), -EIO, "also to who comes second");
	errseq_set(&word, -ENOSPC);
	errseq_set(&word, -EIO);
	cr_expect_eq(errseq_check_and_advance(&word, &a), -EIO, "the last one");
	cr_expect_eq(errseq_check_and_advance(&word, &a), 0);
}
