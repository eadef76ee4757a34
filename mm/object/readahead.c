/* SPDX-License-Identifier: MIT */
/*
 * Reading ahead: pages of a file are asked for before they are needed, many at a time, and come in while the reader
 * works on what it has.
 *
 * An open file has a window: `size` pages from `start` on, the last that were asked for together. The page
 * `async_size` before its end is marked (PG_readahead); whoever comes to it asks for the window behind this one, up
 * to twice or four times as large, until windows have ra_pages. Where a window begins and how large it is follows
 * from the access, as in Linux 5.10:
 *
 *   the file's first page, the page behind the last one read,    a new window, as large as the request
 *   more at once than a window                                   is, twice or four times
 *   the marked page, or the first behind the window              the next window
 *   a marked page of another reader's window                     a window behind what is in memory
 *   what lies before is in memory, more of it than is wanted     as much again: somebody reads in order
 *   else                                                         what is wanted, and nothing more
 *
 * A mapping's fault that finds no page asks for those around it, unless its area is marked MADV_RANDOM (nothing) or
 * MADV_SEQUENTIAL (as a read of a whole window), or misses have been many more than hits.
 *
 * Pages are put into the cache locked and not valid, and given to the file system 16 at a time; quire_end_page_read()
 * makes them valid and unlocks them, from an interrupt. Whoever wants one waits for its lock, and reads it himself if
 * it is not valid then: so an error is told to who asked for the page, by the page.
 *
 * Locks: none across pages; a batch's pages are locked together, in the order of their numbers, and nobody waits for
 * one of them with another locked. f_ra is a hint (struct file_ra_state).
 */
#include "lib/bits.h"
#include "mm/base/memalloc.h"
#include "mm/base/vmstat.h"
#include "mm/object/filemap.h"
#include "mm/object/hooks.h"
#include "mm/object/writeback.h"
#include "mm/phys/page_alloc.h"

#define RA_PAGES   32u	/* the largest window: 128 KiB */
#define IO_PAGES   128u /* one that a single large read may have: what a disk takes at once */
#define BATCH	   16u
#define LOTSA_MISS 100u

void file_ra_state_init(struct file_ra_state *ra)
{
	*ra = (struct file_ra_state){.ra_pages = RA_PAGES, .prev = UINT64_MAX};
}

/* ---- pages that are asked for ------------------------------------------------------------------- */

struct batch {
	struct page *page[BATCH];
	unsigned n;
};

static void batch_submit(struct address_space *m, struct batch *b)
{
	struct quire_page *const *pages = (struct quire_page *const *)b->page;
	void *dst[BATCH];
	unsigned long saved;

	ASSERT_DEBUG(b->n <= BATCH);
	if (!b->n)
		return;
	for (unsigned i = 0; i < b->n; i++)
		dst[i] = page_address(b->page[i]);
	saved = memalloc_nofs_save();
	count_vm_events(PGPGIN, b->n * (PAGE_SIZE / 1024));
	m->host->ops->readahead(m->host, b->page[0]->index, b->n, dst, pages);
	memalloc_nofs_restore(saved);
	for (unsigned i = 0; i < b->n; i++)
		put_page(b->page[i]);
	b->n = 0;
}

/* A locked page in the cache at index. 0, -EEXIST, -ENOMEM: reading ahead is not worth reclaiming much. */
static int ra_page(struct address_space *m, uint64_t index, struct page **out)
{
	struct page *page = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN, 0);
	int err;

	ASSERT_DEBUG(mapping_reads_ahead(m));
	if (!page)
		return -ENOMEM;
	lock_page(page);
	err = add_to_page_cache(page, m, index, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (err) {
		unlock_page(page);
		put_page(page);
		return err;
	}
	*out = page;
	return 0;
}

/* Asks for the pages of [first, first + n) that are in the file and not in memory. The one `async` before the end is
 * marked, 0: none. */
static void ask_for(struct address_space *m, uint64_t first, uint64_t n, uint64_t async)
{
	uint64_t size = i_size_read(m->host), end = (size >> PAGE_SHIFT) + !!(size & (PAGE_SIZE - 1));
	struct batch b = {.n = 0};

	might_sleep();
	end = first >= end ? first : min(end - first, n) + first;
	for (uint64_t i = first; i < end; i++) {
		struct page *page = find_get_page(m, i);
		int err = -EEXIST;

		if (page)
			put_page(page);
		else
			err = ra_page(m, i, &page);
		if (err == -ENOMEM)
			break;
		if (err) {
			batch_submit(m, &b);
			continue;
		}
		if (async && i == first + n - async)
			page_set(page, PG_readahead);
		b.page[b.n++] = page;
		if (b.n == BATCH)
			batch_submit(m, &b);
	}
	batch_submit(m, &b);
}

bool quire_inode_reads_ahead(struct quire_inode *inode)
{
	return mapping_reads_ahead(&inode->i_mapping);
}

void quire_end_page_read(struct quire_page *qpage, int err)
{
	struct page *page = (struct page *)qpage;

	ASSERT_DEBUG(!PageUptodate(page));
	if (!err)
		SetPageUptodate(page);
	unlock_page(page);
}

/* ---- windows ------------------------------------------------------------------------------------- */

static uint32_t first_size(uint64_t wanted, uint32_t max)
{
	uint32_t n = wanted < max ? (uint32_t)roundup_pow_of_two(wanted) : max;

	ASSERT_DEBUG(wanted && max);
	return n <= max / 32 ? n * 4 : n <= max / 4 ? n * 2 : max;
}

static uint32_t next_size(uint32_t size, uint32_t max)
{
	ASSERT_DEBUG(max);
	return size < max / 16 ? size * 4 : size <= max / 2 ? size * 2 : max;
}

/* Pages right before index that are in memory, at most max. */
static uint32_t cached_before(struct address_space *m, uint64_t index, uint32_t max)
{
	uint32_t n = 0;

	ASSERT_DEBUG(index);
	while (n < max && n < index && page_in_cache(m, index - 1 - n))
		n++;
	return n;
}

/* The first page from index on that is not in memory, of at most max; UINT64_MAX: all are. */
static uint64_t next_missing(struct address_space *m, uint64_t index, uint32_t max)
{
	ASSERT_DEBUG(max);
	for (uint32_t n = 0; n < max; n++)
		if (!page_in_cache(m, index + n))
			return index + n;
	return UINT64_MAX;
}

static void new_window(struct file_ra_state *ra, uint64_t index, uint64_t wanted, uint32_t max)
{
	ra->start = index;
	ra->size = first_size(wanted, max);
	ra->async_size = ra->size > wanted ? ra->size - (uint32_t)wanted : ra->size;
	ASSERT_DEBUG(ra->size && ra->async_size);
}

static void move_window(struct file_ra_state *ra, uint64_t start, uint32_t size)
{
	ASSERT_DEBUG(size);
	ra->start = start;
	ra->size = ra->async_size = size;
}

/* What lies before index is in memory: as much again, with the marker on its last page. */
static bool window_by_history(struct address_space *m, struct file_ra_state *ra, uint64_t index, uint64_t wanted,
			      uint32_t max)
{
	uint64_t before = cached_before(m, index, max);

	ASSERT_DEBUG(wanted <= max);
	if (before <= wanted)
		return false;
	if (before >= index) /* from the file's start on */
		before *= 2;
	ra->start = index;
	ra->size = (uint32_t)min(before + wanted, (uint64_t)max);
	ra->async_size = 1;
	return true;
}

/* The window for an access to `wanted` pages from index on. marked: it came to a marked page. False: none, *wanted
 * says what is to be read all the same. */
static bool plan(struct address_space *m, struct file_ra_state *ra, uint64_t index, uint64_t *wanted, bool marked,
		 uint32_t max)
{
	uint64_t end = ra->start + ra->size, at;

	ASSERT_DEBUG(*wanted && ra->async_size <= ra->size);
	if (!index) {
		new_window(ra, index, *wanted, max);
	} else if (ra->size && (index == end - ra->async_size || index == end)) {
		move_window(ra, end, next_size(ra->size, max));
	} else if (marked) {
		at = next_missing(m, index + 1, max);
		if (at == UINT64_MAX) {
			*wanted = 0;
			return false;
		}
		move_window(ra, at, next_size((uint32_t)(at - index + *wanted), max));
	} else if (*wanted > max || index - ra->prev <= 1) {
		new_window(ra, index, *wanted, max);
	} else if (!window_by_history(m, ra, index, *wanted, max)) {
		return false;
	}
	/* The reader stands on the marked page: what it would ask for at once is part of this window. */
	if (index == ra->start && ra->size == ra->async_size) {
		uint32_t more = next_size(ra->size, max);

		ra->async_size = ra->size + more <= max ? more : max / 2;
		ra->size = min(ra->size + more, max);
	}
	return true;
}

static struct file_ra_state ra_read(const struct file_ra_state *ra)
{
	return (struct file_ra_state){.start = READ_ONCE(ra->start), .size = READ_ONCE(ra->size),
				      .async_size = READ_ONCE(ra->async_size), .ra_pages = READ_ONCE(ra->ra_pages),
				      .prev = READ_ONCE(ra->prev), .random = READ_ONCE(ra->random)};
}

static void ra_write(struct file_ra_state *ra, const struct file_ra_state *now)
{
	ASSERT_DEBUG(now->async_size <= now->size);
	WRITE_ONCE(ra->start, now->start);
	WRITE_ONCE(ra->size, now->size);
	WRITE_ONCE(ra->async_size, now->async_size);
}

static void ondemand_readahead(struct address_space *m, struct file_ra_state *ra, uint64_t index, uint64_t wanted,
			       bool marked)
{
	struct file_ra_state now = ra_read(ra);
	uint32_t max = now.ra_pages;

	might_sleep();
	if (wanted > max)
		max = (uint32_t)max(min(wanted, (uint64_t)IO_PAGES), (uint64_t)max);
	now.async_size = min(now.async_size, now.size); /* another reader's may be half there */
	if (!plan(m, &now, index, &wanted, marked, max)) {
		ask_for(m, index, wanted, 0);
		return;
	}
	ra_write(ra, &now);
	ask_for(m, now.start, now.size, now.async_size);
}

void page_cache_sync_readahead(struct address_space *m, struct file_ra_state *ra, uint64_t index, uint64_t wanted)
{
	if (!READ_ONCE(ra->ra_pages))
		return;
	if (READ_ONCE(ra->random))
		ask_for(m, index, min(wanted, (uint64_t)IO_PAGES), 0);
	else
		ondemand_readahead(m, ra, index, wanted, false);
}

void page_cache_async_readahead(struct address_space *m, struct file_ra_state *ra, struct page *page, uint64_t index,
				uint64_t wanted)
{
	ASSERT_DEBUG(page_count(page) > 0);
	if (!READ_ONCE(ra->ra_pages) || page_test(page, PG_writeback) || !page_test_and_clear(page, PG_readahead))
		return;
	ondemand_readahead(m, ra, index, wanted, true);
}

void force_page_cache_readahead(struct address_space *m, uint64_t first, uint64_t n)
{
	ASSERT_DEBUG(mapping_reads_ahead(m));
	ask_for(m, first, n, 0);
}

/* ---- faults --------------------------------------------------------------------------------------- */

/* The fault found no page. */
static void sync_mmap_readahead(struct vm_fault *vmf, struct address_space *m, struct file_ra_state *ra,
				struct file **pinned)
{
	uint32_t pages = READ_ONCE(ra->ra_pages), miss = READ_ONCE(ra->mmap_miss);
	unsigned long flags = vma_flags_now(vmf->vma);
	uint64_t start;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	if (flags & VM_RAND_READ || !pages)
		return;
	if (flags & VM_SEQ_READ) {
		fault_unlock_for_io(vmf, pinned);
		page_cache_sync_readahead(m, ra, vmf->pgoff, pages);
		return;
	}
	if (miss < LOTSA_MISS * 10)
		WRITE_ONCE(ra->mmap_miss, ++miss);
	if (miss > LOTSA_MISS)
		return;
	fault_unlock_for_io(vmf, pinned);
	start = vmf->pgoff > pages / 2 ? vmf->pgoff - pages / 2 : 0;
	ra_write(ra, &(struct file_ra_state){.start = start, .size = pages, .async_size = pages / 4});
	ask_for(m, start, pages, pages / 4);
}

bool filemap_fault_readahead(struct vm_fault *vmf, struct address_space *m, struct file **pinned)
{
	struct file_ra_state *ra = &vmf->vma->vm_file->f_ra;
	struct page *page = find_get_page(m, vmf->pgoff);
	uint32_t miss;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	if (!page) {
		sync_mmap_readahead(vmf, m, ra, pinned);
		return true;
	}
	/* Of the second try the first one has told already. */
	if (!(vma_flags_now(vmf->vma) & VM_RAND_READ) && !(vmf->flags & FAULT_FLAG_TRIED)) {
		miss = READ_ONCE(ra->mmap_miss);
		if (miss)
			WRITE_ONCE(ra->mmap_miss, miss - 1);
		if (READ_ONCE(ra->ra_pages) && page_test(page, PG_readahead))
			fault_unlock_for_io(vmf, pinned);
		page_cache_async_readahead(m, ra, page, vmf->pgoff, READ_ONCE(ra->ra_pages));
	}
	put_page(page);
	return false;
}

/* ---- advice --------------------------------------------------------------------------------------- */

/* Whole pages of [off, end], and the file's last one. */
static void throw_away(struct address_space *m, uint64_t off, uint64_t end)
{
	uint64_t first = (off >> PAGE_SHIFT) + !!(off & (PAGE_SIZE - 1)), past = end >> PAGE_SHIFT;

	ASSERT_DEBUG(off <= end);
	filemap_fdatawrite_range(m, off >> PAGE_SHIFT, end >> PAGE_SHIFT, false);
	if ((end & (PAGE_SIZE - 1)) == PAGE_SIZE - 1 || end == i_size_read(m->host) - 1)
		past++;
	if (first < past)
		invalidate_mapping_pages(m, first, past);
}

int quire_file_advise(struct quire_file *file, uint64_t off, uint64_t len, int advice)
{
	struct file *f = to_file(file);
	uint64_t end = len && off + len > off ? off + len - 1 : UINT64_MAX;

	might_sleep();
	if (len > INT64_MAX || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE)
		return -EINVAL;
	switch (advice) {
	case POSIX_FADV_RANDOM:
		WRITE_ONCE(f->f_ra.random, true);
		break;
	case POSIX_FADV_NORMAL:
	case POSIX_FADV_SEQUENTIAL:
		WRITE_ONCE(f->f_ra.ra_pages, advice == POSIX_FADV_SEQUENTIAL ? RA_PAGES * 2 : RA_PAGES);
		WRITE_ONCE(f->f_ra.random, false);
		break;
	case POSIX_FADV_WILLNEED:
		(void)quire_inode_populate(f->f_inode, off, end - off + 1 ? end - off + 1 : UINT64_MAX);
		break;
	case POSIX_FADV_DONTNEED:
		if (mapping_writes(f->f_mapping))
			throw_away(f->f_mapping, off, end);
		break;
	default:
		break;
	}
	return 0;
}
