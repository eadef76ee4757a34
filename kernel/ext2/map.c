/* SPDX-License-Identifier: MIT */
/*
 * From a file's blocks to the disk's, and how pages come and go between: what the core asks of a file
 * (struct quire_inode_ops).
 *
 * An inode names its first 12 blocks; then one block that names blocks, one that names such blocks, and
 * one that names those. A name of 0 is a hole: zeros, without a block. A block is given to a file when a
 * page of it is about to be written to (prepare_write): so what is written back has its place, and who
 * writes is told that the disk is full. Blocks of a page that nobody wrote to stay holes.
 *
 * A page that is written back has a transfer for each of its blocks; neighbours are submitted together,
 * so the request layer makes one request of them; so are pages that are read ahead. There are 64 such pages under
 * way at most.
 */
#include "kernel/ext2/ext2.h"

#include "drivers/block.h"
#include "kernel/swapfile.h"
#include <quire/os.h>

static uint32_t names_bits(const struct ext2_fs *fs)
{
	return fs->bits - 2;
}

/* What names block n: a slot of the inode, and one of each block on the way. The levels, 0: too far. */
static unsigned block_path(const struct ext2_fs *fs, uint64_t n, uint32_t slot[4])
{
	uint32_t bits = names_bits(fs), mask = (1u << bits) - 1;

	if (n < EXT2_NDIR) {
		slot[0] = (uint32_t)n;
		return 1;
	}
	n -= EXT2_NDIR;
	for (unsigned level = 1; level <= 3; level++) {
		if (n < 1ull << bits * level) {
			slot[0] = EXT2_NDIR + level - 1;
			for (unsigned i = 1; i <= level; i++)
				slot[i] = (uint32_t)(n >> bits * (level - i)) & mask;
			return level + 1;
		}
		n -= 1ull << bits * level;
	}
	return 0;
}

uint64_t ext2_max_blocks(const struct ext2_fs *fs)
{
	uint32_t bits = names_bits(fs);
	uint64_t n = EXT2_NDIR + (1ull << bits) + (1ull << 2 * bits) + (1ull << 3 * bits);

	/* The inode counts sectors in 32 bits, with the blocks that name others. */
	return min(n, (uint64_t)((1ull << 32) - 1) >> (fs->bits - 9)) - (1ull << bits) * 2;
}

static uint32_t goal_of(const struct ext2_inode *ei, uint64_t n)
{
	const struct ext2_fs *fs = ei->fs;
	uint32_t g = (ei->ino - 1) / fs->super.inodes_per_group;

	if (n && n <= EXT2_NDIR && ei->raw.block[n - 1])
		return ei->raw.block[n - 1] + 1;
	return fs->super.first_data_block + g * fs->super.blocks_per_group;
}

/* A block for the file, counted; names: it will name others, and begins empty. */
static int add_block(struct ext2_inode *ei, uint32_t goal, bool names, uint32_t *block)
{
	struct ext2_fs *fs = ei->fs;
	int err;

	if (READ_ONCE(fs->mnt.read_only))
		return -EROFS;
	*block = ext2_new_block(fs, goal, &err);
	if (!*block)
		return err;
	if (names && !ext2_bzero(fs, *block, &err)) {
		ext2_free_block(fs, *block);
		return err;
	}
	ei->raw.sectors += fs->block_size >> 9;
	quire_inode_mark_dirty(ei->inode);
	return 0;
}

/* Where block n of the file lies, 0: a hole. create: one is filled. */
static int map_block(struct ext2_inode *ei, uint64_t n, bool create, uint32_t *block)
{
	struct ext2_fs *fs = ei->fs;
	uint32_t slot[4], b, parent;
	unsigned depth = block_path(fs, n, slot);
	struct ext2_buf *buf;
	int err;

	assert_mutex_held(&fs->lock);
	*block = 0;
	if (!depth)
		return -EFBIG;
	b = ei->raw.block[slot[0]];
	if (!b) {
		if (!create)
			return 0;
		err = add_block(ei, goal_of(ei, n), depth > 1, &b);
		if (err)
			return err;
		ei->raw.block[slot[0]] = b;
	}
	for (unsigned i = 1; i < depth; i++) {
		if (!ext2_block_ok(fs, b))
			return ext2_error(fs, "a file names a block that it cannot have, inode", ei->ino);
		parent = b;
		buf = ext2_bread(fs, parent, &err);
		if (!buf)
			return err;
		b = ((uint32_t *)buf->data)[slot[i]];
		if (b)
			continue;
		if (!create)
			return 0;
		err = add_block(ei, slot[i] && ((uint32_t *)buf->data)[slot[i] - 1] ?
				((uint32_t *)buf->data)[slot[i] - 1] + 1 : parent + 1, i + 1 < depth, &b);
		if (err)
			return err;
		buf = ext2_bread(fs, parent, &err);
		if (!buf) {
			ext2_free_block(fs, b);
			ei->raw.sectors -= fs->block_size >> 9;
			return err;
		}
		((uint32_t *)buf->data)[slot[i]] = b;
		ext2_bdirty(fs, buf);
	}
	if (!ext2_block_ok(fs, b))
		return ext2_error(fs, "a file names a block that it cannot have, inode", ei->ino);
	*block = b;
	return 0;
}

int ext2_bmap(struct vnode *v, uint64_t n, uint64_t *sector, unsigned *bits)
{
	struct ext2_inode *ei = ext2_inode_of(v);
	uint32_t block;
	int err;

	mutex_lock(&ei->fs->lock);
	err = map_block(ei, n, false, &block);
	mutex_unlock(&ei->fs->lock);
	*bits = ei->fs->bits;
	*sector = (uint64_t)block << (ei->fs->bits - 9);
	return err;
}

/* How far the file is in use for swap. */
static unsigned swapfile(const struct ext2_inode *ei)
{
	assert_mutex_held(&ei->fs->lock);
	return ei->v ? READ_ONCE(ei->v->swapfile) : SWAPFILE_OFF;
}

/* ---- giving blocks back ---------------------------------------------------------------------------- */

static void give_back(struct ext2_inode *ei, uint32_t block)
{
	uint32_t sectors = ei->fs->block_size >> 9;

	ext2_free_block(ei->fs, block);
	ei->raw.sectors -= min(ei->raw.sectors, sectors);
	quire_inode_mark_dirty(ei->inode);
}

/* What of [first, end) lies below block b, which names blocks of `level` levels and covers the file from
 * block `at` on. True: it names nothing any more. Blocks that cannot be read keep what they name. */
static bool unmap_below(struct ext2_inode *ei, uint32_t b, unsigned level, uint64_t at, uint64_t first,
			uint64_t end, int *err)
{
	struct ext2_fs *fs = ei->fs;
	uint32_t n = 1u << names_bits(fs), name;
	uint64_t span = 1ull << names_bits(fs) * (level - 1);
	struct ext2_buf *buf;
	bool empty = true;
	int e;

	for (uint32_t i = 0; i < n; i++, at += span) {
		buf = ext2_bread(fs, b, &e);
		if (!buf) {
			*err = e;
			return false;
		}
		name = ((uint32_t *)buf->data)[i];
		if (!name)
			continue;
		if (at + span <= first || at >= end) {
			empty = false;
			continue;
		}
		if (!ext2_block_ok(fs, name)) {
			*err = ext2_error(fs, "a file names a block that it cannot have, inode", ei->ino);
			empty = false;
			continue;
		}
		if (level > 1 && !unmap_below(ei, name, level - 1, at, first, end, err)) {
			empty = false;
			continue;
		}
		buf = ext2_bread(fs, b, &e);
		if (!buf) {
			*err = e;
			return false;
		}
		((uint32_t *)buf->data)[i] = 0;
		ext2_bdirty(fs, buf);
		give_back(ei, name);
	}
	return empty;
}

/* Gives back blocks [first, end) of the file. */
static int unmap_blocks(struct ext2_inode *ei, uint64_t first, uint64_t end)
{
	struct ext2_fs *fs = ei->fs;
	uint64_t at = 0, span;
	int err = 0;

	assert_mutex_held(&fs->lock);
	for (unsigned i = 0; i < EXT2_NBLOCKS; i++, at += span) {
		unsigned level = i < EXT2_NDIR ? 0 : i - EXT2_NDIR + 1;
		uint32_t b = ei->raw.block[i];

		span = 1ull << names_bits(fs) * level;
		if (!b || at + span <= first || at >= end)
			continue;
		if (!ext2_block_ok(fs, b)) {
			err = ext2_error(fs, "a file names a block that it cannot have, inode", ei->ino);
			continue;
		}
		if (level && !unmap_below(ei, b, level, at, first, end, &err))
			continue;
		ei->raw.block[i] = 0;
		give_back(ei, b);
	}
	return err;
}

/* ---- pages ------------------------------------------------------------------------------------------ */

static struct ext2_inode *priv_of(struct quire_inode *inode)
{
	return quire_inode_private(inode);
}

static uint64_t blocks_of(const struct ext2_fs *fs, uint64_t bytes)
{
	return (bytes + fs->block_size - 1) >> fs->bits;
}

static int read_page(struct quire_inode *inode, uint64_t index, void *dst)
{
	struct ext2_inode *ei = priv_of(inode);
	struct ext2_fs *fs = ei->fs;
	uint64_t n = index << (ARCH_PAGE_SHIFT - fs->bits), end = blocks_of(fs, quire_inode_size(inode));
	int err = 0;

	for (uint32_t at = 0; at < PAGE_SIZE && !err; at += fs->block_size, n++) {
		uint32_t block = 0;

		mutex_lock(&fs->lock);
		if (n < end)
			err = map_block(ei, n, false, &block);
		mutex_unlock(&fs->lock);
		if (err)
			break;
		if (!block)
			memset((char *)dst + at, 0, fs->block_size);
		else
			err = blkdev_transfer(fs->dev, QUIRE_BIO_READ, (uint64_t)block << (fs->bits - 9),
					      hal_virt_to_phys((char *)dst + at), fs->block_size);
	}
	return err;
}

static int prepare_write(struct quire_inode *inode, uint64_t off, size_t len)
{
	struct ext2_inode *ei = priv_of(inode);
	struct ext2_fs *fs = ei->fs;
	uint64_t last = (off + len - 1) >> fs->bits, had = blocks_of(fs, quire_inode_size(inode));
	uint32_t block;
	int err = 0;

	mutex_lock(&fs->lock);
	if (swapfile(ei)) {
		mutex_unlock(&fs->lock);
		return -ETXTBSY;
	}
	for (uint64_t n = off >> fs->bits; n <= last && !err; n++)
		err = map_block(ei, n, true, &block);
	ei->raw.mtime = ei->raw.ctime = ext2_now(fs);
	quire_inode_mark_dirty(inode);
	if (err && last >= had) /* nothing behind the end */
		(void)unmap_blocks(ei, had, UINT64_MAX);
	mutex_unlock(&fs->lock);
	return err;
}

/* ---- pages to the device ------------------------------------------------------------------------------ */

int ext2_io_init(struct ext2_fs *fs)
{
	fs->ios = quire_kmalloc(EXT2_IOS * sizeof(fs->ios[0]), QUIRE_GFP_ZERO);
	if (!fs->ios)
		return -ENOMEM;
	fs->io_free = UINT64_MAX;
	for (unsigned i = 0; i < EXT2_IOS; i++) {
		fs->ios[i].fs = fs;
		fs->ios[i].nr = i;
	}
	return 0;
}

void ext2_io_exit(struct ext2_fs *fs)
{
	ASSERT(!fs->ios || fs->io_free == UINT64_MAX);
	quire_kfree(fs->ios);
	fs->ios = NULL;
}

static struct ext2_io *io_try_get(struct ext2_fs *fs)
{
	uint64_t free = __atomic_load_n(&fs->io_free, __ATOMIC_RELAXED);

	while (free)
		if (__atomic_compare_exchange_n(&fs->io_free, &free, free & (free - 1), false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return &fs->ios[__builtin_ctzll(free)];
	return NULL;
}

/* Who waits says so and looks again; who gives back does so and looks for him: both in one order. */
static struct ext2_io *io_get(struct ext2_fs *fs)
{
	struct ext2_io *io = io_try_get(fs);

	while (!io) {
		__atomic_store_n(&fs->io_waiters, 1, __ATOMIC_SEQ_CST);
		io = io_try_get(fs);
		if (!io) {
			os_wait(&fs->io_waiters, &fs->io_waiters, 1);
			io = io_try_get(fs);
		}
	}
	return io;
}

static void io_put(struct ext2_io *io)
{
	struct ext2_fs *fs = io->fs;

	__atomic_fetch_or(&fs->io_free, 1ull << io->nr, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&fs->io_waiters, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&fs->io_waiters, 0, __ATOMIC_SEQ_CST);
		os_wake(&fs->io_waiters, UINT32_MAX);
	}
}

/* A transfer has ended. True: it was the page's last; *err is then that of all. */
static bool io_ended(struct ext2_io *io, int *err)
{
	if (*err)
		WRITE_ONCE(io->err, *err);
	if (__atomic_sub_fetch(&io->left, 1, __ATOMIC_ACQ_REL))
		return false;
	*err = READ_ONCE(io->err);
	return true;
}

/* The page is the last touch: its file keeps the file system. */
static void page_written(struct quire_bio *bio, int err)
{
	struct ext2_io *io = bio->owner;
	struct quire_page *page = io->page;

	if (!io_ended(io, &err))
		return;
	io_put(io);
	quire_end_page_writeback(page, err);
}

static void page_was_read(struct quire_bio *bio, int err)
{
	struct ext2_io *io = bio->owner;
	struct quire_page *page = io->page;

	if (!io_ended(io, &err))
		return;
	memset(io->data + io->valid, 0, PAGE_SIZE - io->valid);
	io_put(io);
	quire_end_page_read(page, err);
}

/* The transfers of a page's blocks, holes left out, which are zeros when they are read; how many. */
static int fill_io(struct ext2_io *io, struct ext2_inode *ei, uint64_t index, enum quire_bio_op op, unsigned *count)
{
	struct ext2_fs *fs = ei->fs;
	uint64_t n = index << (ARCH_PAGE_SHIFT - fs->bits), size = quire_inode_size(ei->inode);
	uint64_t end = blocks_of(fs, size), from = index << ARCH_PAGE_SHIFT;
	int err = 0;

	*count = 0;
	io->err = 0;
	io->valid = (uint32_t)min(size > from ? size - from : 0, (uint64_t)PAGE_SIZE);
	mutex_lock(&fs->lock);
	if (op == QUIRE_BIO_WRITE && swapfile(ei) == SWAPFILE_ON)
		err = -EIO; /* it would be written over somebody's page */
	for (uint32_t at = 0; at < PAGE_SIZE && n < end && !err; at += fs->block_size, n++) {
		uint32_t block;

		err = map_block(ei, n, false, &block);
		if (!err && !block && op == QUIRE_BIO_READ)
			memset(io->data + at, 0, fs->block_size);
		if (err || !block)
			continue;
		io->bio[*count] = (struct quire_bio){
			.op = op, .sector = (uint64_t)block << (fs->bits - 9), .len = fs->block_size,
			.phys = hal_virt_to_phys(io->data + at), .owner = io,
			.end_io = op == QUIRE_BIO_READ ? page_was_read : page_written};
		if (*count)
			io->bio[*count - 1].next = &io->bio[*count];
		++*count;
	}
	mutex_unlock(&fs->lock);
	return err;
}

static void write_page(struct quire_inode *inode, uint64_t index, const void *src, struct quire_page *page)
{
	struct ext2_inode *ei = priv_of(inode);
	struct ext2_io *io = io_get(ei->fs);
	unsigned count;
	int err;

	io->page = page;
	io->data = (char *)src;
	err = fill_io(io, ei, index, QUIRE_BIO_WRITE, &count);
	if (err || !count) {
		io_put(io);
		quire_end_page_writeback(page, err);
		return;
	}
	io->left = count;
	(void)ei->fs->dev->ops->submit(ei->fs->dev, io->bio, true);
}

static void submit_reads(struct ext2_fs *fs, struct quire_bio *chain)
{
	if (chain)
		(void)fs->dev->ops->submit(fs->dev, chain, true);
}

/* What was begun goes to the device together, so that neighbours are one request. */
static void read_ahead(struct quire_inode *inode, uint64_t index, unsigned n, void *const dst[],
		       struct quire_page *const page[])
{
	struct ext2_inode *ei = priv_of(inode);
	struct quire_bio *chain = NULL, **link = &chain;

	for (unsigned i = 0; i < n; i++) {
		struct ext2_io *io = io_try_get(ei->fs);
		unsigned count;
		int err;

		if (!io) { /* nobody waits for one who keeps what was not begun yet */
			submit_reads(ei->fs, chain);
			chain = NULL;
			link = &chain;
			io = io_get(ei->fs);
		}
		io->page = page[i];
		io->data = dst[i];
		err = fill_io(io, ei, index + i, QUIRE_BIO_READ, &count);
		if (err || !count) {
			if (!err)
				memset(dst[i], 0, PAGE_SIZE);
			io_put(io);
			quire_end_page_read(page[i], err);
			continue;
		}
		io->left = count;
		*link = io->bio;
		link = &io->bio[count - 1].next;
	}
	submit_reads(ei->fs, chain);
}

/* ---- O_DIRECT ----------------------------------------------------------------------------------------- */

#define DIRECT_BIOS 64u

/* Transfers of one call that are under way together; who submits waits for them. */
struct direct {
	struct ext2_fs *fs;
	enum quire_bio_op op;
	uint32_t left; /* atomic */
	int err;       /* of any of them; atomic */
	unsigned n;
	struct quire_bio bio[DIRECT_BIOS];
};

/* The waiter may be gone once it sees that none is left: the key is an address, and nothing more. */
static void direct_ended(struct quire_bio *bio, int err)
{
	struct direct *d = bio->owner;

	if (err)
		WRITE_ONCE(d->err, err);
	if (!__atomic_sub_fetch(&d->left, 1, __ATOMIC_ACQ_REL))
		os_wake(d, 1);
}

/* Submits what was gathered and waits for it. 0 or an error of any transfer so far. */
static int direct_submit(struct direct *d)
{
	uint32_t left;

	if (d->n) {
		d->left = d->n;
		d->n = 0;
		(void)d->fs->dev->ops->submit(d->fs->dev, d->bio, true);
		while ((left = __atomic_load_n(&d->left, __ATOMIC_ACQUIRE)) != 0)
			os_wait(d, &d->left, left);
	}
	return READ_ONCE(d->err);
}

/* Bytes of one block: one more transfer, or a longer last one. */
static int direct_add(struct direct *d, uint64_t sector, void *at, uint32_t len)
{
	struct quire_bio *last = d->n ? &d->bio[d->n - 1] : NULL;
	uint64_t phys = hal_virt_to_phys(at);

	if (last && last->sector + (last->len >> 9) == sector && last->phys + last->len == phys &&
	    phys % PAGE_SIZE) {
		last->len += len;
		return 0;
	}
	if (d->n == DIRECT_BIOS && direct_submit(d))
		return d->err;
	d->bio[d->n] = (struct quire_bio){.op = d->op, .sector = sector, .phys = phys, .len = len, .owner = d,
					  .end_io = direct_ended};
	if (d->n)
		d->bio[d->n - 1].next = &d->bio[d->n];
	d->n++;
	return 0;
}

/* Where block n of the file lies, for a direct transfer of so much of it; 0: nowhere. Behind the file's end, `had`
 * blocks, a write gets one if it fills it: of another block the rest would have to be zeros. */
static int direct_block(struct ext2_inode *ei, bool write, uint64_t n, uint64_t had, bool whole, uint32_t *block)
{
	int err;

	mutex_lock(&ei->fs->lock);
	err = map_block(ei, n, write && n >= had && whole, block);
	mutex_unlock(&ei->fs->lock);
	return err;
}

/* Gathers transfers of one piece's bytes; *moved counts them. 1: there is no room for the next ones. */
static int direct_piece(struct direct *d, struct ext2_inode *ei, uint64_t off, uint64_t had, const struct quire_piece *p,
			long *moved)
{
	struct ext2_fs *fs = ei->fs;
	bool write = d->op == QUIRE_BIO_WRITE;
	uint32_t len, block;
	int err = 0;

	for (uint32_t at = 0; at < p->len && !err; at += len, off += len) {
		uint32_t in = (uint32_t)off & (fs->block_size - 1);

		len = min(p->len - at, fs->block_size - in);
		err = direct_block(ei, write, off >> fs->bits, had, len == fs->block_size, &block);
		if (err)
			break;
		if (block)
			err = direct_add(d, ((uint64_t)block << (fs->bits - 9)) + (in >> 9), (char *)p->at + at, len);
		else if (write)
			err = 1;
		else
			memset((char *)p->at + at, 0, len);
		if (!err)
			*moved += len;
	}
	return err;
}

/* What was written is not part of the file: it ends where it did. */
static void direct_failed(struct ext2_inode *ei, uint64_t had)
{
	mutex_lock(&ei->fs->lock);
	(void)unmap_blocks(ei, had, UINT64_MAX);
	mutex_unlock(&ei->fs->lock);
}

static long direct_io(struct quire_inode *inode, bool write, uint64_t off, const struct quire_piece *piece, unsigned n)
{
	struct ext2_inode *ei = priv_of(inode);
	uint64_t had = blocks_of(ei->fs, quire_inode_size(inode));
	struct direct *d = quire_kmalloc(sizeof(*d), 0);
	long moved = 0;
	int err = 0, failed;

	if (!d)
		return -ENOMEM;
	d->fs = ei->fs;
	d->op = write ? QUIRE_BIO_WRITE : QUIRE_BIO_READ;
	d->n = 0;
	d->err = 0;
	for (unsigned i = 0; i < n && !err; off += piece[i++].len)
		err = direct_piece(d, ei, off, had, &piece[i], &moved);
	failed = direct_submit(d);
	quire_kfree(d);
	err = err < 0 ? err : failed;
	if (!write)
		return err ? err : moved;
	if (err)
		direct_failed(ei, had);
	mutex_lock(&ei->fs->lock);
	ei->raw.mtime = ei->raw.ctime = ext2_now(ei->fs);
	mutex_unlock(&ei->fs->lock);
	quire_inode_mark_dirty(inode);
	return err ? err : moved;
}

/* ---- the rest ----------------------------------------------------------------------------------------- */

static int write_inode(struct quire_inode *inode, bool datasync)
{
	struct ext2_inode *ei = priv_of(inode);
	int err;

	mutex_lock(&ei->fs->lock);
	err = ext2_store(ei);
	mutex_unlock(&ei->fs->lock);
	return err;
}

/* All buffers: those of the file and of how it is found are among them. */
static int flush(struct quire_inode *inode)
{
	struct ext2_fs *fs = priv_of(inode)->fs;
	int err;

	mutex_lock(&fs->lock);
	err = ext2_bsync(fs);
	mutex_unlock(&fs->lock);
	return err ? err : blkdev_transfer(fs->dev, QUIRE_BIO_FLUSH, 0, 0, 0);
}

static int cut(struct quire_inode *inode, uint64_t size)
{
	struct ext2_inode *ei = priv_of(inode);
	int err;

	mutex_lock(&ei->fs->lock);
	err = unmap_blocks(ei, blocks_of(ei->fs, size), UINT64_MAX);
	mutex_unlock(&ei->fs->lock);
	return err;
}

static int punch(struct quire_inode *inode, uint64_t off, uint64_t end)
{
	struct ext2_inode *ei = priv_of(inode);
	int err;

	mutex_lock(&ei->fs->lock);
	err = unmap_blocks(ei, off >> ei->fs->bits, end >> ei->fs->bits);
	mutex_unlock(&ei->fs->lock);
	return err;
}

/* A file without a name gives everything back; of another what is left to be written is. */
static void release(struct quire_inode *inode, void *priv)
{
	struct ext2_inode *ei = priv;
	struct ext2_fs *fs = ei->fs;

	mutex_lock(&fs->lock);
	if (!ei->raw.links && !READ_ONCE(fs->mnt.read_only)) {
		bool dir = (ei->raw.mode & S_IFMT) == S_IFDIR;
		bool fast = (ei->raw.mode & S_IFMT) == S_IFLNK && !ei->raw.sectors;

		if (!fast)
			(void)unmap_blocks(ei, 0, UINT64_MAX);
		ei->raw.dtime = ext2_now(fs);
		(void)ext2_store(ei);
		ext2_free_ino(fs, ei->ino, dir);
	}
	list_del(&ei->all);
	mutex_unlock(&fs->lock);
	quire_kfree(ei);
}

const struct quire_inode_ops ext2_inode_ops = {
	.readpage = read_page, .readahead = read_ahead, .release = release, .writepage = write_page, .prepare_write = prepare_write,
	.write_inode = write_inode, .flush = flush, .truncate = cut, .punch = punch, .direct_io = direct_io,
};
