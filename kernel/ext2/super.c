/* SPDX-License-Identifier: MIT */
/*
 * ext2: mounting, and the whole of it.
 *
 * What lies on the disk. Blocks of 1, 2 or 4 KiB, in groups; each group has a bitmap of its blocks, one of
 * its inodes, and a table of inodes; descriptors behind the super block say where. An inode names its
 * blocks (map.c); a directory is a file of records that name inodes (dir.c).
 *
 * What is in memory. Contents of files and directories are pages of their inodes, which the core reads
 * and writes back by way of ext2_inode_ops. Everything else is blocks in buffers (buffer.c), under one
 * mutex, fs->lock. One inode without pages, fs->meta, stands for all buffers: who writes back what is old,
 * or everything, comes by it (write_inode, flush) after the files, since it is marked QUIRE_S_DEVICE.
 * Vnodes of a directory are made when it is first looked into (ext2_load), and stay.
 *
 * Order of locks: vfs_mutex, i_rwsem, mmap_lock, page lock, fs->lock, the device. Nobody asks the page cache
 * for anything under fs->lock, so it may be taken while a page is written back.
 *
 * What is durable. fsync writes the file's pages, its inode, and all buffers, then the device's own cache.
 * There is no journal: a power cut leaves what e2fsck mends, and what was synced before.
 *
 * What an image says is checked where it is used: ranges at the mount, names of blocks and inodes at each
 * use, records of directories by the block. An error is -EUCLEAN and is noted in the super block; with
 * errors=remount-ro nothing is written any more.
 *
 * Limits. No ACLs or other attributes (they stay as they are), no hash trees (a directory that we change
 * loses its mark), no preallocation, root's reserve is not kept. One name too many in memory stays there.
 */
#include "kernel/ext2/ext2.h"

#include "drivers/block.h"
#include <quire/os.h>

#define EXT2_STATFS_MAGIC 0xef53

int ext2_error(struct ext2_fs *fs, const char *what, uint64_t number)
{
	if (!(fs->super.state & EXT2_ERROR))
		klog("ext2 on %s: %s %llu", fs->dev->name, what, (unsigned long long)number);
	fs->super.state |= EXT2_ERROR;
	fs->super_dirty = true;
	if (fs->super.errors == EXT2_ERRORS_RO)
		WRITE_ONCE(fs->mnt.read_only, true);
	return -EUCLEAN;
}

/* A machine without a clock of the day goes on from the disk's last word; no time is before that. */
uint32_t ext2_now(const struct ext2_fs *fs)
{
	return (uint32_t)max(fs->time_base + hal_clock_ns() / NS_PER_SEC, realtime_ns() / NS_PER_SEC);
}

/* ---- what the core writes back beside files ------------------------------------------------------------- */

static void no_page(struct quire_inode *inode, uint64_t index, const void *src, struct quire_page *page)
{
	quire_end_page_writeback(page, -EIO);
}

static int meta_write(struct quire_inode *inode, bool datasync)
{
	struct ext2_fs *fs = quire_inode_private(inode);
	int err;

	mutex_lock(&fs->lock);
	err = ext2_bsync(fs);
	mutex_unlock(&fs->lock);
	return err;
}

static int meta_flush(struct quire_inode *inode)
{
	struct ext2_fs *fs = quire_inode_private(inode);

	return blkdev_transfer(fs->dev, QUIRE_BIO_FLUSH, 0, 0, 0);
}

static const struct quire_inode_ops meta_ops = {.writepage = no_page, .write_inode = meta_write,
						.flush = meta_flush};

/* ---- mounting -------------------------------------------------------------------------------------------- */

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* Everything else relies on these. */
static int check_super(struct ext2_fs *fs, bool read_only)
{
	const struct ext2_super *s = &fs->super;
	uint64_t bytes = fs->dev->sectors << QUIRE_SECTOR_SHIFT;
	uint32_t bits;

	if (s->magic != EXT2_MAGIC || s->log_block_size > 2 || s->rev > 1)
		return -EINVAL;
	if (s->rev && (s->incompat & ~EXT2_INCOMPAT_FILETYPE ||
		       (!read_only && s->ro_compat & ~(EXT2_ROCOMPAT_SPARSE | EXT2_ROCOMPAT_LARGE))))
		return -EINVAL;
	bits = 10 + s->log_block_size;
	fs->bits = bits;
	fs->block_size = 1u << bits;
	fs->inode_size = s->rev ? s->inode_size : EXT2_OLD_INODE;
	fs->first_ino = s->rev ? s->first_ino : 11;
	if (fs->block_size > PAGE_SIZE || !power_of_two(fs->inode_size) || fs->inode_size < EXT2_OLD_INODE ||
	    fs->inode_size > fs->block_size)
		return -EINVAL;
	if (s->first_data_block != (bits == 10) || s->blocks <= s->first_data_block ||
	    (uint64_t)s->blocks << bits > bytes)
		return -EINVAL;
	if (!s->blocks_per_group || s->blocks_per_group > 8u << bits || !s->inodes_per_group ||
	    s->inodes_per_group > 8u << bits || fs->first_ino < 3 || fs->first_ino > s->inodes)
		return -EINVAL;
	fs->groups = (s->blocks - s->first_data_block + s->blocks_per_group - 1) / s->blocks_per_group;
	if ((uint64_t)fs->groups * s->inodes_per_group != s->inodes)
		return -EINVAL;
	fs->group_block = s->first_data_block + 1;
	return 0;
}

static int read_super(struct ext2_fs *fs)
{
	char *page = quire_alloc_pages(0, 0);
	int err;

	if (!page)
		return -ENOMEM;
	err = blkdev_transfer(fs->dev, QUIRE_BIO_READ, EXT2_SUPER_AT >> QUIRE_SECTOR_SHIFT, hal_virt_to_phys(page),
			      sizeof(fs->super));
	if (!err)
		memcpy(&fs->super, page, sizeof(fs->super));
	quire_free_pages(page, 0);
	return err;
}

/* What is still to be written is not. */
static void free_fs(struct ext2_fs *fs)
{
	quire_inode_discard(fs->meta);
	quire_inode_put(fs->meta);
	mutex_lock(&fs->lock);
	ext2_bfree_all(fs);
	mutex_unlock(&fs->lock);
	ext2_io_exit(fs);
	quire_kfree(fs);
}

/* What says that it is in use goes to the disk before anything else does. */
static int begin_writing(struct ext2_fs *fs)
{
	int err;

	fs->was_valid = fs->super.state & EXT2_VALID;
	if (fs->mnt.read_only)
		return 0;
	fs->super.state &= (uint16_t)~EXT2_VALID;
	fs->super.mnt_count++;
	fs->super.mtime = ext2_now(fs);
	fs->super_dirty = true;
	mutex_lock(&fs->lock);
	err = ext2_bsync(fs);
	mutex_unlock(&fs->lock);
	return err ? err : blkdev_transfer(fs->dev, QUIRE_BIO_FLUSH, 0, 0, 0);
}

static const struct fs_ops ext2_ops;

static struct ext2_fs *new_fs(struct quire_blkdev *dev, bool read_only)
{
	struct ext2_fs *fs = quire_kmalloc(sizeof(*fs), QUIRE_GFP_ZERO);

	if (!fs)
		return NULL;
	fs->dev = dev;
	fs->mnt.ops = &ext2_ops;
	fs->mnt.read_only = read_only;
	strscpy(fs->mnt.type, "ext2", sizeof(fs->mnt.type));
	mutex_init_named(&fs->lock, "ext2");
	INIT_LIST_HEAD(&fs->lru);
	INIT_LIST_HEAD(&fs->inodes);
	for (unsigned i = 0; i < EXT2_HASH; i++)
		INIT_LIST_HEAD(&fs->hash[i]);
	fs->meta = quire_inode_create(&meta_ops, fs, 0, 0, QUIRE_S_DEVICE);
	if (fs->meta && !ext2_io_init(fs))
		return fs;
	if (fs->meta)
		quire_inode_put(fs->meta);
	quire_kfree(fs);
	return NULL;
}

static int open_fs(struct ext2_fs *fs)
{
	int err = read_super(fs);

	if (!err)
		err = check_super(fs, fs->mnt.read_only);
	if (err)
		return err;
	fs->time_base = max(fs->super.wtime, fs->super.mtime);
	fs->time_base = max(fs->time_base, (uint64_t)fs->super.inodes + 1); /* a time that is no inode's number */
	fs->mnt_inode_ops = ext2_inode_ops;
	fs->mnt_inode_ops.max_size = ext2_max_blocks(fs) << fs->bits;
	mutex_lock(&fs->lock);
	err = ext2_check_groups(fs);
	mutex_unlock(&fs->lock);
	return err ? err : begin_writing(fs);
}

struct mount *ext2_mount(struct quire_blkdev *dev, uint64_t rdev, bool read_only, int *err)
{
	struct ext2_fs *fs = new_fs(dev, read_only);
	struct vnode *root;

	*err = -ENOMEM;
	if (!fs)
		return NULL;
	fs->mnt.dev = dev;
	fs->mnt.root_dev = rdev;
	*err = open_fs(fs);
	root = *err ? NULL : ext2_iget(fs, EXT2_ROOT_INO, err);
	if (root && vnode_type(root) != S_IFDIR) {
		vnode_put(root);
		root = NULL;
		*err = -EUCLEAN;
	}
	if (!root) {
		free_fs(fs);
		return NULL;
	}
	fs->mnt.root = root;
	return &fs->mnt;
}

/* ---- what the mount table asks ---------------------------------------------------------------------------- */

static void ext2_statfs(struct mount *mnt, struct statfs *s)
{
	struct ext2_fs *fs = ext2_fs_of(mnt);
	uint32_t tables = (uint32_t)(((uint64_t)fs->super.inodes_per_group * fs->inode_size) >> fs->bits) + 2;

	mutex_lock(&fs->lock);
	*s = (struct statfs){.type = EXT2_STATFS_MAGIC, .bsize = fs->block_size, .frsize = fs->block_size,
			     .namelen = EXT2_NAME_LEN, .files = fs->super.inodes, .ffree = fs->super.free_inodes,
			     .bfree = fs->super.free_blocks};
	s->blocks = fs->super.blocks - fs->super.first_data_block - (uint64_t)fs->groups * tables;
	s->bavail = s->bfree > fs->super.reserved_blocks ? s->bfree - fs->super.reserved_blocks : 0;
	mutex_unlock(&fs->lock);
}

/* Files first, then where they are. Each is held while it is written, and the list may change meanwhile. */
static int ext2_sync(struct mount *mnt)
{
	struct ext2_fs *fs = ext2_fs_of(mnt);
	int err;

	quire_sync_dev(ext2_inode_dev(fs));
	err = quire_inode_write_out(fs->meta);
	return err ? err : meta_flush(fs->meta);
}

static bool ext2_busy(struct mount *mnt)
{
	struct ext2_fs *fs = ext2_fs_of(mnt);
	struct ext2_inode *ei;
	bool busy = false;

	mutex_lock(&fs->lock);
	list_for_each_entry(ei, &fs->inodes, all) {
		unsigned known = ei->v ? ei->v->nlink + (ei->v == mnt->root) : 0;

		busy |= !ei->v || (unsigned)atomic_read(&ei->v->refs) != known || quire_inode_shared(ei->inode);
	}
	mutex_unlock(&fs->lock);
	return busy;
}

static int ext2_unmount(struct mount *mnt)
{
	struct ext2_fs *fs = ext2_fs_of(mnt);
	int err = 0;

	ASSERT(list_empty(&fs->inodes));
	if (!mnt->read_only) {
		if (fs->was_valid)
			fs->super.state |= EXT2_VALID;
		fs->super.wtime = ext2_now(fs);
		fs->super_dirty = true;
		mutex_lock(&fs->lock);
		err = ext2_bsync(fs);
		mutex_unlock(&fs->lock);
		if (!err)
			err = meta_flush(fs->meta);
	}
	free_fs(fs);
	return err;
}

static const struct fs_ops ext2_ops = {
	.load = ext2_load, .make = ext2_make, .link = ext2_link, .unlink = ext2_unlink, .rename = ext2_rename,
	.changed = ext2_changed, .evict = ext2_evict, .getattr = ext2_getattr, .bmap = ext2_bmap, .statfs = ext2_statfs,
	.sync = ext2_sync, .busy = ext2_busy, .unmount = ext2_unmount,
};
