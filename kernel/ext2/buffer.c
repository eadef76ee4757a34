/* SPDX-License-Identifier: MIT */
/*
 * Blocks of a file system that are no file's contents: the group descriptors, bitmaps, tables of inodes,
 * and blocks that name blocks. They are kept by the block, not in pages: with blocks of 1 KiB a page
 * would hold a neighbour that is some file's, which the page cache writes by itself. Everything is under
 * fs->lock; a buffer stays until the next one is asked for, so nobody keeps two.
 */
#include "kernel/ext2/ext2.h"

#include "drivers/block.h"

#define WRITE_BATCH 32u

static uint64_t sector_of(const struct ext2_fs *fs, uint32_t block)
{
	return (uint64_t)block << (fs->bits - QUIRE_SECTOR_SHIFT);
}

static struct ext2_buf *find(struct ext2_fs *fs, uint32_t block)
{
	struct ext2_buf *b;

	assert_mutex_held(&fs->lock);
	list_for_each_entry(b, &fs->hash[block % EXT2_HASH], hash) {
		if (b->block != block)
			continue;
		list_del(&b->lru);
		list_add(&b->lru, &fs->lru);
		return b;
	}
	return NULL;
}

static void drop(struct ext2_fs *fs, struct ext2_buf *b)
{
	list_del(&b->hash);
	list_del(&b->lru);
	fs->bufs--;
	quire_kfree(b->data);
	quire_kfree(b);
}

/* The one that was not used for longest goes, if it can be had clean. */
static void make_room(struct ext2_fs *fs)
{
	struct ext2_buf *b, *next;

	if (fs->bufs < EXT2_BUFS)
		return;
	b = list_entry(fs->lru.prev, struct ext2_buf, lru);
	if (b->dirty)
		(void)ext2_bsync(fs);
	for (b = list_entry(fs->lru.prev, struct ext2_buf, lru); &b->lru != &fs->lru && fs->bufs >= EXT2_BUFS;
	     b = next) {
		next = list_entry(b->lru.prev, struct ext2_buf, lru);
		if (!b->dirty)
			drop(fs, b);
	}
}

static struct ext2_buf *make(struct ext2_fs *fs, uint32_t block)
{
	struct ext2_buf *b;

	make_room(fs);
	b = quire_kmalloc(sizeof(*b), QUIRE_GFP_ZERO);
	if (!b)
		return NULL;
	b->data = quire_kmalloc(fs->block_size, QUIRE_GFP_ZERO);
	if (!b->data) {
		quire_kfree(b);
		return NULL;
	}
	b->block = block;
	list_add(&b->hash, &fs->hash[block % EXT2_HASH]);
	list_add(&b->lru, &fs->lru);
	fs->bufs++;
	return b;
}

struct ext2_buf *ext2_bread(struct ext2_fs *fs, uint32_t block, int *err)
{
	struct ext2_buf *b = find(fs, block);

	*err = 0;
	if (b)
		return b;
	b = make(fs, block);
	if (!b) {
		*err = -ENOMEM;
		return NULL;
	}
	*err = blkdev_transfer(fs->dev, QUIRE_BIO_READ, sector_of(fs, block), hal_virt_to_phys(b->data),
			       fs->block_size);
	if (*err) {
		drop(fs, b);
		return NULL;
	}
	return b;
}

struct ext2_buf *ext2_bzero(struct ext2_fs *fs, uint32_t block, int *err)
{
	struct ext2_buf *b = find(fs, block);

	*err = 0;
	if (b)
		memset(b->data, 0, fs->block_size);
	else
		b = make(fs, block);
	if (!b) {
		*err = -ENOMEM;
		return NULL;
	}
	ext2_bdirty(fs, b);
	return b;
}

void ext2_bdirty(struct ext2_fs *fs, struct ext2_buf *b)
{
	assert_mutex_held(&fs->lock);
	b->dirty = true;
	quire_inode_mark_dirty(fs->meta);
}

void ext2_bforget(struct ext2_fs *fs, uint32_t block)
{
	struct ext2_buf *b = find(fs, block);

	if (b)
		drop(fs, b);
}

/* ---- writing ----------------------------------------------------------------------------------- */

struct write_batch {
	uint32_t left; /* atomic; the last touch of who ends */
	int err;
};

static void buf_written(struct quire_bio *bio, int err)
{
	struct write_batch *w = bio->owner;

	if (err)
		WRITE_ONCE(w->err, err);
	if (!__atomic_sub_fetch(&w->left, 1, __ATOMIC_ACQ_REL))
		os_wake(w, 1);
}

/* What fails stays dirty. */
static int write_some(struct ext2_fs *fs, struct ext2_buf **bufs, unsigned n)
{
	struct write_batch w = {.left = n};
	uint32_t left;

	for (unsigned i = 0; i < n; i++)
		bufs[i]->bio = (struct quire_bio){
			.op = QUIRE_BIO_WRITE, .sector = sector_of(fs, bufs[i]->block), .len = fs->block_size,
			.phys = hal_virt_to_phys(bufs[i]->data), .end_io = buf_written, .owner = &w,
			.next = i + 1 < n ? &bufs[i + 1]->bio : NULL};
	(void)fs->dev->ops->submit(fs->dev, &bufs[0]->bio, true);
	while ((left = __atomic_load_n(&w.left, __ATOMIC_ACQUIRE)) != 0)
		os_wait(&w, &w.left, left);
	for (unsigned i = 0; i < n && !w.err; i++)
		bufs[i]->dirty = false;
	return READ_ONCE(w.err);
}

static int write_super(struct ext2_fs *fs)
{
	uint32_t block = EXT2_SUPER_AT >> fs->bits;
	struct ext2_buf *b;
	int err;

	if (!fs->super_dirty)
		return 0;
	b = ext2_bread(fs, block, &err);
	if (!b)
		return err;
	memcpy(b->data + (EXT2_SUPER_AT & (fs->block_size - 1)), &fs->super, sizeof(fs->super));
	ext2_bdirty(fs, b);
	fs->super_dirty = false;
	return 0;
}

int ext2_bsync(struct ext2_fs *fs)
{
	struct ext2_buf *batch[WRITE_BATCH], *b;
	int err = 0, first = 0;
	unsigned n = 0;

	assert_mutex_held(&fs->lock);
	if (fs->bufs < EXT2_BUFS) /* else we were called to make room */
		first = write_super(fs);
	list_for_each_entry(b, &fs->lru, lru) {
		if (!b->dirty)
			continue;
		batch[n++] = b;
		if (n == WRITE_BATCH) {
			err = write_some(fs, batch, n);
			first = first ? first : err;
			n = 0;
		}
	}
	if (n)
		err = write_some(fs, batch, n);
	return first ? first : err;
}

void ext2_bfree_all(struct ext2_fs *fs)
{
	while (!list_empty(&fs->lru))
		drop(fs, list_first_entry(&fs->lru, struct ext2_buf, lru));
}
