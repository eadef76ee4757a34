/* SPDX-License-Identifier: MIT */
/*
 * ext2, revision 1, without a journal: what lies on the disk, and what is kept in memory of it. super.c
 * has the theory; docs/page-cache.md the place of all this in the kernel. Numbers on the disk are
 * little-endian, as both machines are.
 */
#ifndef KERNEL_EXT2_H
#define KERNEL_EXT2_H

#include "kernel/kernel.h"
#include "kernel/mount.h"

#include <quire/block.h>

/* ---- on the disk ------------------------------------------------------------------------------- */

#define EXT2_MAGIC	 0xef53u
#define EXT2_SUPER_AT	 1024u
#define EXT2_ROOT_INO	 2u
#define EXT2_OLD_INODE	 128u
#define EXT2_VALID	 1u
#define EXT2_ERROR	 2u
#define EXT2_NAME_LEN	 255u
#define EXT2_MAX_LINKS	 32000u
#define EXT2_NDIR	 12u
#define EXT2_NBLOCKS	 15u
#define EXT2_FAST_LINK	 (EXT2_NBLOCKS * 4) /* bytes of a target that fit in the inode */

#define EXT2_INCOMPAT_FILETYPE	0x2u
#define EXT2_ROCOMPAT_SPARSE	0x1u
#define EXT2_ROCOMPAT_LARGE	0x2u
#define EXT2_ERRORS_RO		2u

#define EXT2_FL_INDEX 0x1000u /* the directory has a hash tree: ours to take away when we change it */

struct ext2_super {
	uint32_t inodes, blocks, reserved_blocks, free_blocks, free_inodes;
	uint32_t first_data_block, log_block_size, log_frag_size;
	uint32_t blocks_per_group, frags_per_group, inodes_per_group;
	uint32_t mtime, wtime;
	uint16_t mnt_count, max_mnt_count, magic, state, errors, minor_rev;
	uint32_t lastcheck, checkinterval, creator, rev;
	uint16_t def_uid, def_gid;
	uint32_t first_ino;
	uint16_t inode_size, block_group;
	uint32_t compat, incompat, ro_compat;
	uint8_t rest[1024 - 104];
};

struct ext2_group {
	uint32_t block_bitmap, inode_bitmap, inode_table;
	uint16_t free_blocks, free_inodes, used_dirs, pad;
	uint32_t reserved[3];
};

struct ext2_raw_inode {
	uint16_t mode, uid;
	uint32_t size, atime, ctime, mtime, dtime;
	uint16_t gid, links;
	uint32_t sectors; /* of 512 bytes, with the blocks that name others */
	uint32_t flags, osd1;
	uint32_t block[EXT2_NBLOCKS];
	uint32_t generation, file_acl, size_high, faddr, osd2[3];
};

struct ext2_dirent {
	uint32_t ino;
	uint16_t rec_len;
	uint8_t name_len, type;
	char name[];
};

_Static_assert(sizeof(struct ext2_super) == 1024 && offsetof(struct ext2_super, magic) == 56 &&
	       offsetof(struct ext2_super, incompat) == 96, "as on the disk");
_Static_assert(sizeof(struct ext2_group) == 32 && sizeof(struct ext2_raw_inode) == EXT2_OLD_INODE,
	       "as on the disk");

/* ---- in memory --------------------------------------------------------------------------------- */

/* A block of what is neither a file's nor a directory's contents. */
struct ext2_buf {
	struct list_head hash, lru; /* fs->lock */
	uint32_t block;
	bool dirty;
	char *data;
	struct quire_bio bio; /* while it is written */
};

#define EXT2_HASH 64u
#define EXT2_BUFS 256u /* kept at most, unless all are dirty and cannot be written */
#define EXT2_IOS  64u  /* pages under way at most */

struct ext2_fs;

/* One page that is being written, or read ahead. */
struct ext2_io {
	struct ext2_fs *fs;
	struct quire_page *page;
	char *data;	/* its contents */
	uint32_t valid; /* bytes of it that are the file's; zeros behind them */
	uint32_t left; /* transfers under way; atomic */
	int err;       /* of any of them; atomic */
	unsigned nr;
	struct quire_bio bio[8];
};

struct ext2_fs {
	struct mount mnt;
	struct quire_inode_ops mnt_inode_ops; /* ext2_inode_ops, with this one's largest file */
	struct quire_blkdev *dev;
	struct quire_inode *meta; /* stands for all buffers, for who writes back: it has no pages */
	struct mutex lock;	  /* buffers, bitmaps, the super block, maps and fields of inodes */
	struct ext2_super super;  /* a copy; free counts as they are now */
	uint32_t block_size, bits, groups, inode_size, first_ino, group_block;
	uint64_t time_base;	  /* seconds of the day when the machine started, as far as the disk knows */
	bool super_dirty;
	bool was_valid;		  /* when it was mounted */
	struct list_head hash[EXT2_HASH], lru;
	unsigned bufs;
	struct list_head inodes;  /* struct ext2_inode.all; lock */
	uint64_t io_free;	  /* a bit for each of ios; atomic */
	uint32_t io_waiters;	  /* atomic */
	struct ext2_io *ios;
};

struct ext2_inode {
	struct ext2_fs *fs;
	uint32_t ino;
	struct list_head all;
	struct vnode *v;	   /* NULL: it is gone; vfs_mutex and lock */
	struct quire_inode *inode; /* contents; ends with it */
	struct ext2_raw_inode raw; /* but size: the contents' */
	bool linked_once;	   /* it has a name on the disk, or had */
};

static inline struct ext2_fs *ext2_fs_of(struct mount *mnt)
{
	return container_of(mnt, struct ext2_fs, mnt);
}

/* What maps show: major and minor as the core has them. */
static inline uint32_t ext2_inode_dev(const struct ext2_fs *fs)
{
	return (uint32_t)(fs->mnt.root_dev >> 8 << 20 | (fs->mnt.root_dev & 0xff));
}

static inline struct ext2_inode *ext2_inode_of(const struct vnode *v)
{
	return v->priv;
}

/* The image contradicts itself: said once in words, and noted; nothing is written any more where the super
 * block asks for that. -EUCLEAN. fs->lock or before anybody else knows fs. */
int ext2_error(struct ext2_fs *fs, const char *what, uint64_t number);
uint32_t ext2_now(const struct ext2_fs *fs);

/* ---- buffer.c. fs->lock -------------------------------------------------------------------------- */

/* The block's buffer, read if need be (not: its old contents do not matter, it is zero). It stays until
 * the next call of this file. NULL: *err says why. */
struct ext2_buf *ext2_bread(struct ext2_fs *fs, uint32_t block, int *err);
struct ext2_buf *ext2_bzero(struct ext2_fs *fs, uint32_t block, int *err);
void ext2_bdirty(struct ext2_fs *fs, struct ext2_buf *b);
/* The block is free, or somebody's contents: what is kept of it must not be written any more. */
void ext2_bforget(struct ext2_fs *fs, uint32_t block);
/* Writes what is dirty, the super block too. 0 or the first error. */
int ext2_bsync(struct ext2_fs *fs);
void ext2_bfree_all(struct ext2_fs *fs);

/* ---- alloc.c. fs->lock ----------------------------------------------------------------------------- */

/* A block near goal. 0: none, *err. */
uint32_t ext2_new_block(struct ext2_fs *fs, uint32_t goal, int *err);
void ext2_free_block(struct ext2_fs *fs, uint32_t block);
uint32_t ext2_new_ino(struct ext2_fs *fs, uint32_t parent, bool dir, int *err);
void ext2_free_ino(struct ext2_fs *fs, uint32_t ino, bool dir);
/* The block may belong to a file: it is in the file system, and none of its own. */
bool ext2_block_ok(struct ext2_fs *fs, uint32_t block);
int ext2_check_groups(struct ext2_fs *fs);

/* ---- map.c ----------------------------------------------------------------------------------------- */

extern const struct quire_inode_ops ext2_inode_ops;
uint64_t ext2_max_blocks(const struct ext2_fs *fs);
int ext2_bmap(struct vnode *v, uint64_t n, uint64_t *sector, unsigned *bits);
int ext2_io_init(struct ext2_fs *fs);
void ext2_io_exit(struct ext2_fs *fs);

/* ---- inode.c ----------------------------------------------------------------------------------------- */

/* The inode on the disk, with its vnode; one reference, the vnode's. NULL: *err. vfs_mutex. */
struct vnode *ext2_iget(struct ext2_fs *fs, uint32_t ino, int *err);
struct vnode *ext2_make(struct vnode *dir, unsigned mode, const char *target, uint64_t rdev, int *err);
void ext2_evict(struct vnode *v);
void ext2_changed(struct vnode *v);
void ext2_getattr(struct vnode *v, struct stat_info *s);
/* Links, mode and so on into its place in the table. fs->lock. */
int ext2_store(struct ext2_inode *ei);
int ext2_set_links(struct ext2_inode *ei, int delta);

/* ---- dir.c. vfs_mutex --------------------------------------------------------------------------------- */

int ext2_load(struct vnode *dir);
int ext2_link(struct vnode *dir, const char *name, struct vnode *v);
int ext2_unlink(struct vnode *dir, const char *name, struct vnode *v);
int ext2_rename(struct vnode *from, const char *name, struct vnode *to, const char *new_name, struct vnode *v,
		struct vnode *target);
/* "." and ".." of a new directory. */
int ext2_dir_init(struct ext2_inode *dir, uint32_t parent);

#endif
