/* SPDX-License-Identifier: MIT */
/*
 * O_DIRECT: a file's bytes straight between its device and the memory of who asks, past the page cache.
 *
 * Algorithm. The pages of the caller's memory are pinned, a batch of them, and handed to the file's direct_io in pieces
 * within a page; when that has ended they are unpinned, dirty if the device wrote there, and the next batch comes. The
 * page cache is kept out of it: what is dirty of the range is written out first; a write takes cached pages out before
 * and after, for a mapping may have brought one back.
 *
 * A write that direct_io gets no room for (a hole inside the file, a new block that is not written as a whole) goes on
 * by way of the page cache, which is then written out and emptied of it: so the bytes are on the device all the same.
 * A dirty page that cannot be taken out has the same end for the whole write.
 *
 * Errors. Of a transfer: the call's, whatever was moved before. A page of the caller's that is not there: what was
 * moved before counts.
 *
 * Locks. i_rwsem (shared by readers: nobody gives blocks away) -> mmap_lock while pages are pinned, as a copy's fault
 * would take it. Nothing else is held over direct_io.
 */
#include "mm/base/memalloc.h"
#include "mm/fault/memory.h"
#include "mm/object/writeback.h"
#include "mm/slab/slab.h"
#include <quire/abi.h>

#define SECTOR 512u
#define BATCH  64u /* pages pinned at once */

/* Where the caller's memory is gone through. */
struct segments {
	const struct quire_segment *seg;
	unsigned n;
	size_t at; /* in the first one */
};

struct batch {
	struct page *page[BATCH];
	struct quire_piece piece[BATCH];
	unsigned n;
	size_t bytes;
};

struct direct {
	struct quire_inode *inode;
	struct mm_struct *mm;
	struct segments rest;
	bool write;
	struct batch *b;
};

bool quire_inode_is_direct(struct quire_inode *inode)
{
	return inode->ops->direct_io;
}

static size_t length_of(const struct quire_segment *seg, unsigned n)
{
	size_t sum = 0;

	ASSERT_DEBUG(seg || !n);
	for (unsigned i = 0; i < n; i++)
		sum += seg[i].len;
	return sum;
}

static bool aligned(uint64_t off, const struct quire_segment *seg, unsigned n)
{
	uint64_t all = off;

	ASSERT_DEBUG(seg || !n);
	for (unsigned i = 0; i < n; i++)
		all |= seg[i].base | seg[i].len;
	return !(all & (SECTOR - 1));
}

static void skip(struct segments *s, size_t n)
{
	s->at += n;
	while (s->n && s->at >= s->seg->len) {
		s->at -= s->seg->len;
		s->seg++;
		s->n--;
	}
	ASSERT_DEBUG(!s->n || s->at < s->seg->len);
}

/* Pins what comes next in the first segment, as far as the batch has room. 0 or -errno. */
static int pin_some(struct direct *d, size_t most)
{
	struct batch *b = d->b;
	uintptr_t addr = d->rest.seg->base + d->rest.at;
	size_t len = min(d->rest.seg->len - d->rest.at, most), in = addr & ~PAGE_MASK;
	unsigned want = min_t(size_t, BATCH - b->n, (in + len + PAGE_SIZE - 1) >> PAGE_SHIFT);
	long got = pin_user_pages(d->mm, addr & PAGE_MASK, want, !d->write, &b->page[b->n]);

	if (got < 0)
		return (int)got;
	ASSERT(got <= want);
	for (long i = 0; i < got; i++, in = 0) {
		size_t part = min(len, PAGE_SIZE - in);

		b->piece[b->n] = (struct quire_piece){(char *)page_address(b->page[b->n]) + in, (uint32_t)part};
		b->n++;
		b->bytes += part;
		len -= part;
		skip(&d->rest, part);
	}
	return 0;
}

/* The next batch of at most so many bytes. 0; an errno if there is none at all. */
static int pin_batch(struct direct *d, size_t most)
{
	int err = 0;

	ASSERT_DEBUG(most);
	d->b->n = 0;
	d->b->bytes = 0;
	while (d->b->n < BATCH && d->b->bytes < most && !err) {
		skip(&d->rest, 0);
		err = pin_some(d, most - d->b->bytes);
	}
	return d->b->n ? 0 : err;
}

/* Moves n bytes from off on, or as many as direct_io would. */
static long move(struct direct *d, uint64_t off, size_t n)
{
	size_t done = 0;

	assert_held_any(&d->inode->i_rwsem);
	while (done < n) {
		unsigned long saved;
		long moved;
		int err = pin_batch(d, n - done);

		if (err)
			return done && err == -EFAULT ? (long)done : err;
		saved = memalloc_nofs_save();
		moved = d->inode->ops->direct_io(d->inode, d->write, off + done, d->b->piece, d->b->n);
		memalloc_nofs_restore(saved);
		unpin_user_pages(d->b->page, d->b->n, !d->write);
		if (moved < 0)
			return moved;
		ASSERT((size_t)moved <= d->b->bytes);
		done += (size_t)moved;
		if ((size_t)moved < d->b->bytes)
			break;
	}
	return (long)done;
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* i_rwsem held. */
static long read_direct(struct direct *d, uint64_t off, const struct quire_segment *seg, unsigned n, size_t len)
{
	uint64_t size = i_size_read(d->inode);
	long done;

	assert_held_any(&d->inode->i_rwsem);
	if (off >= size)
		return 0;
	if (!aligned(off, seg, n))
		return -EINVAL;
	/* Whole sectors; what of the last one lies behind the end does not count. */
	len = min_t(uint64_t, len, ALIGN_UP(size - off, (uint64_t)SECTOR));
	done = move(d, off, len);
	return done > 0 ? (long)min_t(uint64_t, (uint64_t)done, size - off) : done;
}

long quire_file_read_direct(struct quire_file *file, struct quire_mm *mm, uint64_t off,
			    const struct quire_segment *seg, unsigned n)
{
	struct quire_inode *inode = file_inode(to_file(file));
	struct direct d = {.inode = inode, .mm = to_mm(mm), .rest = {seg, n, 0}};
	size_t len = length_of(seg, n);
	long ret;

	if (!len)
		return 0;
	d.b = kmalloc(sizeof(*d.b), GFP_KERNEL);
	if (!d.b)
		return -ENOMEM;
	down_read(&inode->i_rwsem);
	ret = filemap_write_and_wait_range(&inode->i_mapping, off >> PAGE_SHIFT, (off + len - 1) >> PAGE_SHIFT);
	if (!ret)
		ret = read_direct(&d, off, seg, n, len);
	up_read(&inode->i_rwsem);
	kfree(d.b);
	return ret;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static uint64_t page_of(uint64_t off)
{
	return off >> PAGE_SHIFT;
}

/* The rest of a write by way of the page cache, and on to the device; what is cached of it goes again. */
static long write_rest(struct direct *d, uint64_t off, char *bounce)
{
	struct address_space *m = &d->inode->i_mapping;
	uint64_t at = off;
	long n = 0, err = 0;

	assert_held_write(&d->inode->i_rwsem);
	skip(&d->rest, 0);
	for (; d->rest.n && !err; skip(&d->rest, (size_t)n)) {
		size_t len = d->rest.seg->len - d->rest.at;

		n = write_locked(d->inode, at, d->rest.seg->base + d->rest.at, len, bounce);
		err = n < 0 ? n : (size_t)n < len ? -EFAULT : 0;
		n = max(n, 0l);
		at += (uint64_t)n;
	}
	if (at == off)
		return err;
	err = filemap_write_and_wait_range(m, page_of(off), page_of(at - 1));
	if (err)
		return err;
	(void)invalidate_mapping_pages(m, page_of(off), page_of(at - 1) + 1);
	return (long)(at - off);
}

/* Straight to the device: bytes, 0 if the cache will not let go of the range. i_rwsem held. */
static long write_straight(struct direct *d, uint64_t off, const struct quire_segment *seg, unsigned n, size_t len)
{
	struct address_space *m = &d->inode->i_mapping;
	uint64_t first = page_of(off), last = page_of(off + len - 1);
	long done = filemap_write_and_wait_range(m, first, last);

	assert_held_write(&d->inode->i_rwsem);
	if (done)
		return done;
	if (invalidate_inode_pages2_range(m, first, last))
		return 0;
	if (!aligned(off, seg, n))
		return -EINVAL;
	done = move(d, off, len);
	(void)invalidate_inode_pages2_range(m, first, last);
	if (done > 0 && off + (uint64_t)done > d->inode->i_size)
		file_grew(d->inode, off + (uint64_t)done);
	return done;
}

/* i_rwsem held. */
static long write_direct(struct direct *d, uint64_t off, const struct quire_segment *seg, unsigned n, size_t len,
			 char *bounce)
{
	long done, more;

	assert_held_write(&d->inode->i_rwsem);
	if (off + len < off || off + len > max_file_size(d->inode))
		return -EFBIG;
	done = write_straight(d, off, seg, n, len);
	if (done < 0 || (size_t)done == len)
		return done;
	/* What was pinned and not written is where the rest begins. */
	d->rest = (struct segments){seg, n, 0};
	skip(&d->rest, (size_t)done);
	more = write_rest(d, off + (uint64_t)done, bounce);
	return more > 0 ? done + more : done ? done : more;
}

long quire_file_write_direct(struct quire_file *file, struct quire_mm *mm, uint64_t *off, bool append,
			     const struct quire_segment *seg, unsigned n)
{
	struct quire_inode *inode = file_inode(to_file(file));
	struct direct d = {.inode = inode, .mm = to_mm(mm), .write = true};
	size_t len = length_of(seg, n);
	uintptr_t bounce;
	long ret = -ENOMEM;

	if (!len)
		return 0;
	bounce = __get_free_pages(GFP_KERNEL, 0);
	d.b = kmalloc(sizeof(*d.b), GFP_KERNEL);
	d.rest = (struct segments){seg, n, 0};
	if (bounce && d.b) {
		down_write(&inode->i_rwsem);
		if (append)
			*off = inode->i_size;
		ret = write_direct(&d, *off, seg, n, len, (char *)bounce);
		up_write(&inode->i_rwsem);
	}
	free_pages(bounce, 0);
	kfree(d.b);
	return ret;
}
