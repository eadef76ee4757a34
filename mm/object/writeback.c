/* SPDX-License-Identifier: MIT */
/*
 * Write-back: how what was written to pages of files comes to their devices. docs/page-cache.md has the
 * plan and the state diagram.
 *
 * Terms. A page is *dirty* when it differs from what is behind it (PG_dirty); *written out* or under
 * write-back while a transfer of it is on its way (PG_writeback); clean otherwise. Only pages of files
 * whose operations have writepage are ever cleaned (mapping_writes).
 *
 * Structures. The tree of a file's pages has three tags, so that the few pages that matter are found
 * among many. DIRTY follows PG_dirty: the flag is set first and cleared first, the tag afterwards under
 * i_lock, by who looks at the flag there; so no dirty page is without its tag for longer than that.
 * nr_dirty, NR_FILE_DIRTY and NR_DIRTIED follow the tag. WRITEBACK is set with PG_writeback; the end of a
 * transfer, which may come from an interrupt, clears the flag only, and who waits clears the tag. TOWRITE
 * is copied from DIRTY by each write-out before it begins, and cleared with DIRTY: so a write-out ends,
 * however fast others make pages dirty behind it.
 *
 * Algorithm, for one page (write_one_page), with its lock:
 *   1. page_mkclean: all entries lose their rights to write and their dirty bits, and are flushed. Who
 *      writes by such an entry from now on faults, and waits for our lock.
 *   2. PG_dirty is cleared; what lies behind the end of the file becomes zeros.
 *   3. PG_writeback and its tag are set, DIRTY goes unless the page was made dirty again meanwhile.
 *   4. The page is unlocked, and handed to writepage. Who wants to change it, or to take it from its
 *      file, waits for the end (stable pages).
 *
 * Who writes out: fsync, msync(MS_SYNC), sync (write and wait); the flusher, a thread that wakes every
 * 5 s (dirty_writeback_centisecs), while something differs from a disk, for pages that have been dirty for 30 s
 * (dirty_expire_centisecs), and whenever there are too many (dirty_background_*); a file's last reference;
 * and where no thread can be had, the writer himself. Who makes pages dirty is held up when there are more
 * than the mean of both limits, the longer the nearer the upper one is (balance_dirty_pages).
 *
 * Errors. A write that failed is noted in the file's wb_err, and told once by fsync and msync to each open
 * file (errseq.h). The page counts as clean, as in Linux: who writes it again tries again.
 *
 * Locks: page lock -> i_mmap_rwsem -> table -> i_lock. Nothing is held over writepage.
 *
 * Limits. One transfer a page. The flusher looks at every inode. Reclaim does not write: it
 * calls the flusher, and takes what is clean.
 */
#include "lib/string.h"
#include "mm/base/errseq.h"
#include "mm/base/memalloc.h"
#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/object/file_def.h"
#include "mm/object/writeback.h"
#include "mm/phys/page_alloc.h"
#include <quire/abi.h>
#include <quire/os.h>

#define NS_PER_MS	 1000000ull
#define NS_PER_CENTISEC	 (10 * NS_PER_MS)
#define MAX_PAUSE_NS	 (200 * NS_PER_MS)
#define BATCH		 16u
#define TAG_BATCH	 64u /* tags copied under one hold of i_lock */

static struct os_thread *flusher;
static uint32_t flusher_calls; /* atomic: how often it was called for */
static uint32_t flusher_all;   /* atomic: its next round takes what is young too */
static uint32_t flusher_idle;  /* atomic: nothing differs from the disk, and it sleeps without a deadline */
static uint32_t flusher_seen;  /* atomic: what of flusher_calls its round answers */

/* ---- dirty ------------------------------------------------------------------------------------- */

/* What differs was stored before. Both sides exchange the word: the second of them sees what the first
 * stored. */
static void something_differs(void)
{
	if (__atomic_exchange_n(&flusher_idle, 0, __ATOMIC_ACQ_REL))
		wakeup_flusher(false);
}

/* The page, of which PG_dirty was just set, gets its tag. */
static void tag_dirty(struct address_space *m, struct page *page)
{
	bool first = false;

	ASSERT_DEBUG(page_count(page) > 0);
	spin_lock(&m->i_lock);
	/* It may have left the file, or have been dirty all the time: of two who come here one counts. */
	if (page->mapping == m && !radix_tag_get(locked_pages(m), page->index, PAGECACHE_TAG_DIRTY)) {
		radix_tag_set(locked_pages(m), page->index, PAGECACHE_TAG_DIRTY);
		first = !m->nr_dirty++;
		if (first)
			WRITE_ONCE(m->dirtied_when, os_clock_ns() | 1);
		inc_node_page_state(NR_FILE_DIRTY);
		inc_node_page_state(NR_DIRTIED);
	}
	spin_unlock(&m->i_lock);
	if (first)
		something_differs();
}

void untag_dirty(struct address_space *m, uint64_t index)
{
	assert_held(&m->i_lock);
	if (!radix_tag_get(locked_pages(m), index, PAGECACHE_TAG_DIRTY))
		return;
	radix_tag_clear(locked_pages(m), index, PAGECACHE_TAG_DIRTY);
	ASSERT(m->nr_dirty);
	if (!--m->nr_dirty)
		WRITE_ONCE(m->dirtied_when, 0);
	dec_node_page_state(NR_FILE_DIRTY);
}

void set_page_dirty(struct page *page)
{
	struct address_space *m;

	ASSERT_DEBUG_I("I17", page_test(page, PG_uptodate) || page_test(page, PG_reserved));
	if (page_test(page, PG_dirty) || page_test_and_set(page, PG_dirty))
		return;
	m = page_writes_to(page);
	if (m)
		tag_dirty(m, page);
}

void set_page_dirty_lock(struct page *page)
{
	bool file = !PageAnon(page) && !page_test(page, PG_swapbacked) && !page_test(page, PG_reserved);

	if (file)
		lock_page(page);
	set_page_dirty(page);
	if (file)
		unlock_page(page);
}

/* ---- one page ---------------------------------------------------------------------------------- */

void quire_end_page_writeback(struct quire_page *qpage, int err)
{
	struct page *page = (struct page *)qpage;
	struct address_space *m = page->mapping; /* stays while it is being written */

	ASSERT(page_test(page, PG_writeback) && m);
	if (err) {
		errseq_set(&m->wb_err, err);
		page_clear(page, PG_reclaim);
	}
	dec_node_page_state(NR_WRITEBACK);
	inc_node_page_state(NR_WRITTEN);
	/* It can go now: the next scan shall meet it first. */
	if (page_test_and_clear(page, PG_reclaim))
		rotate_reclaimable_page(page);
	end_page_writeback(page);
}

/* Step 3. False: it lies behind the file's end, and is not written. */
static bool begin_writeback(struct address_space *m, struct page *page, uint64_t size)
{
	uint64_t at = (uint64_t)page->index << PAGE_SHIFT;
	struct radix_tree *t;

	assert_page_locked(page);
	ASSERT(!page_test(page, PG_writeback));
	if (at < size && size - at < PAGE_SIZE)
		memset((char *)page_address(page) + (size - at), 0, PAGE_SIZE - (size - at));
	spin_lock(&m->i_lock);
	t = locked_pages(m);
	if (at < size) {
		page_set(page, PG_writeback);
		radix_tag_set(t, page->index, PAGECACHE_TAG_WRITEBACK);
	}
	radix_tag_clear(t, page->index, PAGECACHE_TAG_TOWRITE);
	/* An entry that was written to may have gone since, and said so: then it stays dirty. */
	if (!page_test(page, PG_dirty))
		untag_dirty(m, page->index);
	spin_unlock(&m->i_lock);
	return at < size;
}

/* A locked, dirty page of m that is not being written. Unlocks. */
static void write_one_page(struct address_space *m, struct page *page)
{
	unsigned long saved;

	assert_page_locked(page);
	if (page_mkclean(page))
		set_page_dirty(page);
	page_test_and_clear(page, PG_dirty);
	if (!begin_writeback(m, page, i_size_read(m->host))) {
		unlock_page(page);
		return;
	}
	inc_node_page_state(NR_WRITEBACK);
	count_vm_events(PGPGOUT, PAGE_SIZE / 1024);
	unlock_page(page);
	saved = memalloc_nofs_save();
	m->host->ops->writepage(m->host, page->index, page_address(page), (struct quire_page *)page);
	memalloc_nofs_restore(saved);
}

/* ---- many -------------------------------------------------------------------------------------- */

/* What is dirty of [first, last] now is to be written by this call. */
static void tag_pages_for_writeback(struct address_space *m, uint64_t first, uint64_t last)
{
	uint64_t at = first;
	unsigned n = 0;

	ASSERT_DEBUG(mapping_writes(m));
	spin_lock(&m->i_lock);
	while (at <= last && radix_next_tagged(locked_pages(m), &at, PAGECACHE_TAG_DIRTY) && at <= last) {
		radix_tag_set(locked_pages(m), at, PAGECACHE_TAG_TOWRITE);
		if (at++ == UINT64_MAX)
			break;
		if (!(++n % TAG_BATCH)) {
			spin_unlock(&m->i_lock);
			os_cond_resched();
			spin_lock(&m->i_lock);
		}
	}
	spin_unlock(&m->i_lock);
}

/* The next page of [*at, last] with the tag, referenced; *at becomes its index. NULL: no more. */
static struct page *next_tagged(struct address_space *m, uint64_t *at, uint64_t last, unsigned tag)
{
	struct page *page;

	spin_lock(&m->i_lock);
	page = radix_next_tagged(locked_pages(m), at, tag);
	if (page && *at > last)
		page = NULL;
	ASSERT(!page || !radix_is_value(page));
	if (page)
		get_page(page);
	spin_unlock(&m->i_lock);
	return page;
}

static void clear_tag(struct address_space *m, uint64_t index, unsigned tag)
{
	ASSERT_DEBUG(tag < RADIX_TAGS);
	spin_lock(&m->i_lock);
	radix_tag_clear(locked_pages(m), index, tag);
	spin_unlock(&m->i_lock);
}

void filemap_fdatawrite_range(struct address_space *m, uint64_t first, uint64_t last, bool wait)
{
	uint64_t at = first;
	struct page *page;

	might_sleep();
	ASSERT_DEBUG(first <= last);
	if (!mapping_writes(m) || !READ_ONCE(m->nr_dirty))
		return;
	tag_pages_for_writeback(m, first, last);
	while ((page = next_tagged(m, &at, last, PAGECACHE_TAG_TOWRITE)) != NULL) {
		lock_page(page);
		if (page->mapping == m && wait)
			wait_on_page_writeback(page);
		if (page->mapping == m && page_test(page, PG_dirty) && !page_test(page, PG_writeback)) {
			write_one_page(m, page);
		} else {
			unlock_page(page);
			clear_tag(m, at, PAGECACHE_TAG_TOWRITE);
		}
		put_page(page);
		if (at++ == UINT64_MAX)
			break;
		os_cond_resched();
	}
}

void filemap_fdatawait_range(struct address_space *m, uint64_t first, uint64_t last)
{
	uint64_t at = first;
	struct page *page;

	might_sleep();
	if (!mapping_writes(m))
		return;
	while ((page = next_tagged(m, &at, last, PAGECACHE_TAG_WRITEBACK)) != NULL) {
		wait_on_page_writeback(page);
		spin_lock(&m->i_lock);
		/* Set under this lock with the flag: one that is written again keeps it. */
		if (page->mapping == m && !page_test(page, PG_writeback))
			radix_tag_clear(locked_pages(m), at, PAGECACHE_TAG_WRITEBACK);
		spin_unlock(&m->i_lock);
		put_page(page);
		if (at++ == UINT64_MAX)
			break;
	}
}

int filemap_write_and_wait_range(struct address_space *m, uint64_t first, uint64_t last)
{
	uint32_t since = errseq_sample(&m->wb_err), now;

	filemap_fdatawrite_range(m, first, last, true);
	filemap_fdatawait_range(m, first, last);
	now = __atomic_load_n(&m->wb_err, __ATOMIC_ACQUIRE);
	return now != since && !(now & ERRSEQ_SEEN) ? -(int)(now & ERRSEQ_ERRNO) : 0;
}

static int write_inode(struct quire_inode *inode, bool datasync)
{
	unsigned long saved;
	int err;

	if (!inode->ops->write_inode || !(__atomic_fetch_and(&inode->state, ~I_DIRTY, __ATOMIC_ACQ_REL) & I_DIRTY))
		return 0;
	saved = memalloc_nofs_save();
	err = inode->ops->write_inode(inode, datasync);
	memalloc_nofs_restore(saved);
	if (err)
		quire_inode_mark_dirty(inode);
	return err;
}

static int flush_device(struct quire_inode *inode)
{
	unsigned long saved;
	int err;

	might_sleep();
	if (!inode->ops->flush)
		return 0;
	saved = memalloc_nofs_save();
	err = inode->ops->flush(inode);
	memalloc_nofs_restore(saved);
	return err;
}

void quire_inode_mark_dirty(struct quire_inode *inode)
{
	if (!(__atomic_fetch_or(&inode->state, I_DIRTY, __ATOMIC_RELEASE) & I_DIRTY))
		something_differs();
}

void quire_inode_discard(struct quire_inode *inode)
{
	__atomic_fetch_or(&inode->state, I_DEAD, __ATOMIC_RELEASE);
}

int quire_inode_write_out(struct quire_inode *inode)
{
	struct address_space *m = &inode->i_mapping;
	int wrote, err;

	if (!mapping_writes(m))
		return 0;
	wrote = filemap_write_and_wait_range(m, 0, UINT64_MAX);
	err = write_inode(inode, false);
	return err ? err : wrote;
}

void inode_write_last(struct quire_inode *inode)
{
	if (!(__atomic_load_n(&inode->state, __ATOMIC_ACQUIRE) & I_DEAD))
		(void)quire_inode_write_out(inode);
}

unsigned long quire_inode_invalidate(struct quire_inode *inode)
{
	return invalidate_mapping_pages(&inode->i_mapping, 0, UINT64_MAX);
}

/* ---- who asks for it ----------------------------------------------------------------------------- */

int file_write_and_wait_range(struct file *f, uint64_t start, uint64_t end, bool datasync)
{
	struct address_space *m = f->f_mapping;
	uint64_t last = (end - 1) >> PAGE_SHIFT;
	int err, told;

	if (!mapping_writes(m) || start >= end)
		return 0;
	filemap_fdatawrite_range(m, start >> PAGE_SHIFT, last, true);
	filemap_fdatawait_range(m, start >> PAGE_SHIFT, last);
	err = write_inode(m->host, datasync);
	if (!err)
		err = flush_device(m->host);
	told = errseq_check_and_advance(&m->wb_err, &f->f_wb_err);
	return err ? err : told;
}

int quire_file_sync(struct quire_file *file, uint64_t start, uint64_t end, bool datasync)
{
	return file_write_and_wait_range(to_file(file), start, end, datasync);
}

int quire_file_sync_range(struct quire_file *file, uint64_t start, uint64_t end, unsigned flags)
{
	struct file *f = to_file(file);
	struct address_space *m = f->f_mapping;
	uint64_t first = start >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;

	if (!mapping_writes(m) || start >= end)
		return 0;
	if (flags & SYNC_FILE_RANGE_WAIT_BEFORE)
		filemap_fdatawait_range(m, first, last);
	if (flags & SYNC_FILE_RANGE_WRITE)
		filemap_fdatawrite_range(m, first, last, false);
	if (flags & SYNC_FILE_RANGE_WAIT_AFTER)
		filemap_fdatawait_range(m, first, last);
	return flags & (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER) ?
		       errseq_check_and_advance(&m->wb_err, &f->f_wb_err) : 0;
}

void quire_sync_dev(uint32_t dev)
{
	struct quire_inode *inode = NULL;

	while ((inode = inode_next(inode)) != NULL)
		if (inode->i_dev == dev && !(inode->flags & QUIRE_S_DEVICE))
			(void)quire_inode_write_out(inode);
}

void quire_sync(void)
{
	for (int device = 0; device < 2; device++) {
		struct quire_inode *inode = NULL;

		while ((inode = inode_next(inode)) != NULL) {
			if (!mapping_writes(&inode->i_mapping) || !(inode->flags & QUIRE_S_DEVICE) != !device)
				continue;
			(void)quire_inode_write_out(inode);
			if (device)
				(void)flush_device(inode);
		}
	}
}

/* ---- limits -------------------------------------------------------------------------------------- */

struct dirty_limits {
	unsigned long waiting; /* pages to be written that nobody has begun with */
	unsigned long dirty;   /* with those under way */
	unsigned long background, most;
};

/* Pages that could be dirty: free ones but for the reserves, and those of files; never 0. */
static unsigned long dirtyable_pages(void)
{
	unsigned long n = nr_free_buddy(), reserve = totalreserve_pages();

	n -= min(n, reserve);
	return n + node_page_state(NR_INACTIVE_FILE) + node_page_state(NR_ACTIVE_FILE) + 1;
}

/* Bytes, if they are set, rounded up; else per cent of n, by way of parts of a page, as Linux rounds. */
static unsigned long limit_of(long bytes, long ratio, unsigned long n)
{
	unsigned long part = (unsigned long)ratio * PAGE_SIZE / 100;

	ASSERT_DEBUG(ratio >= 0 && ratio <= 100);
	return bytes ? ((unsigned long)bytes + PAGE_SIZE - 1) >> PAGE_SHIFT : part * n >> PAGE_SHIFT;
}

static struct dirty_limits dirty_limits(void)
{
	unsigned long n = dirtyable_pages(), dirty = node_page_state(NR_FILE_DIRTY);
	struct dirty_limits l = {
		.waiting = dirty,
		.dirty = dirty + node_page_state(NR_WRITEBACK),
		.background = limit_of(READ_ONCE(vm_sysctl.dirty_background_bytes),
				       READ_ONCE(vm_sysctl.dirty_background_ratio), n),
		.most = limit_of(READ_ONCE(vm_sysctl.dirty_bytes), READ_ONCE(vm_sysctl.dirty_ratio), n),
	};

	if (l.background >= l.most)
		l.background = l.most / 2;
	return l;
}

void global_dirty_limits(unsigned long *background, unsigned long *most)
{
	struct dirty_limits l = dirty_limits();

	*background = l.background;
	*most = l.most;
}

void wakeup_flusher(bool all)
{
	if (all)
		__atomic_store_n(&flusher_all, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&flusher_calls, 1, __ATOMIC_RELEASE);
	os_wake(&flusher_calls, 1);
}

void flusher_interval_changed(void)
{
	if (READ_ONCE(vm_sysctl.dirty_writeback_centisecs))
		wakeup_flusher(true);
}

/* Sleeps up to ns, of which nobody calls it back. */
static void pause_for(uint64_t ns)
{
	static const uint32_t word;

	ASSERT(ns <= MAX_PAUSE_NS);
	os_wait_until(&word, &word, 0, os_clock_ns() + ns);
}

void balance_dirty_pages(struct address_space *m)
{
	struct dirty_limits l;

	might_sleep();
	if (!mapping_writes(m))
		return;
	while (l = dirty_limits(), l.dirty > (l.background + l.most) / 2) {
		unsigned long room = l.most - (l.background + l.most) / 2, over;

		if (!flusher) { /* nobody else will */
			filemap_fdatawrite_range(m, 0, UINT64_MAX, false);
			filemap_fdatawait_range(m, 0, UINT64_MAX);
			return;
		}
		wakeup_flusher(false);
		over = l.dirty - (l.background + l.most) / 2;
		pause_for(over < room ? MAX_PAUSE_NS * over / room : MAX_PAUSE_NS);
		if (over < room || os_fatal_signal_pending())
			return;
	}
	/* One call that it has not seen is enough: another round follows. */
	if (l.waiting > l.background && __atomic_load_n(&flusher_seen, __ATOMIC_RELAXED) ==
						__atomic_load_n(&flusher_calls, __ATOMIC_RELAXED))
		wakeup_flusher(false);
}

/* ---- the flusher --------------------------------------------------------------------------------- */

static uint64_t centisecs(const long *tunable)
{
	return (uint32_t)READ_ONCE(*tunable) * NS_PER_CENTISEC;
}

/* Old enough, or too many. */
static bool due(const struct quire_inode *inode, uint64_t now, bool all)
{
	uint64_t when = READ_ONCE(inode->i_mapping.dirtied_when);
	bool other = READ_ONCE(inode->state) & I_DIRTY;
	struct dirty_limits l;

	if (all)
		return when || other;
	if (centisecs(&vm_sysctl.dirty_writeback_centisecs) &&
	    (when ? now > when && now - when >= centisecs(&vm_sysctl.dirty_expire_centisecs) : other))
		return true;
	l = dirty_limits();
	return (when || other) && l.waiting > l.background;
}

void write_back_old(uint64_t now)
{
	bool all = __atomic_exchange_n(&flusher_all, 0, __ATOMIC_RELAXED);
	struct quire_inode *inode = NULL;

	while ((inode = inode_next(inode)) != NULL) {
		if (!mapping_writes(&inode->i_mapping) || !due(inode, now, all))
			continue;
		filemap_fdatawrite_range(&inode->i_mapping, 0, UINT64_MAX, false);
		(void)write_inode(inode, false);
	}
}

static bool anything_differs(void)
{
	struct quire_inode *inode = NULL;
	bool any = false;

	while ((inode = inode_next(inode)) != NULL)
		any |= mapping_writes(&inode->i_mapping) &&
		       (READ_ONCE(inode->i_mapping.dirtied_when) || READ_ONCE(inode->state) & I_DIRTY);
	return any;
}

/* Without files on disks it never wakes: a machine in which nobody can go on is seen as such. */
static void flusher_main(void *arg)
{
	while (!os_thread_should_stop()) {
		uint32_t seen = __atomic_load_n(&flusher_calls, __ATOMIC_ACQUIRE);
		uint64_t deadline = UINT64_MAX, every;

		__atomic_store_n(&flusher_seen, seen, __ATOMIC_RELAXED);
		write_back_old(os_clock_ns());
		every = centisecs(&vm_sysctl.dirty_writeback_centisecs);
		if ((__atomic_exchange_n(&flusher_idle, 1, __ATOMIC_ACQ_REL) || anything_differs()) && every)
			deadline = os_clock_ns() + every;
		os_wait_until(&flusher_calls, &flusher_calls, seen, deadline);
		__atomic_store_n(&flusher_idle, 0, __ATOMIC_RELAXED);
	}
}

void flusher_run(void)
{
	ASSERT(!flusher);
	if (os_thread_start("flusher", flusher_main, NULL, &flusher))
		flusher = NULL;
}

void flusher_stop(void)
{
	if (flusher)
		os_thread_stop(flusher);
	flusher = NULL;
}
