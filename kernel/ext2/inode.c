/* SPDX-License-Identifier: MIT */
/*
 * Inodes of ext2, in memory and in their table. A vnode holds the reference of the contents; the
 * contents, a quire_inode, may live longer, as long as somebody maps them; the structure that knows the
 * inode's fields lives as long as those. When both are gone a file without a name gives its blocks back.
 */
#include "kernel/ext2/ext2.h"

#define RANGE_OF_LINK 4096u /* of a target */

/* The inode's place in its table, and the buffer of it. NULL: *err. fs->lock. */
static struct ext2_raw_inode *raw_at(struct ext2_fs *fs, uint32_t ino, struct ext2_buf **b, int *err)
{
	uint32_t g = (ino - 1) / fs->super.inodes_per_group, i = (ino - 1) % fs->super.inodes_per_group;
	uint32_t per = fs->block_size / sizeof(struct ext2_group), table;
	uint64_t at = (uint64_t)i * fs->inode_size;

	*b = ext2_bread(fs, fs->group_block + g / per, err);
	if (!*b)
		return NULL;
	table = ((struct ext2_group *)(*b)->data)[g % per].inode_table;
	*b = ext2_bread(fs, table + (uint32_t)(at >> fs->bits), err);
	return *b ? (struct ext2_raw_inode *)((*b)->data + (at & (fs->block_size - 1))) : NULL;
}

int ext2_store(struct ext2_inode *ei)
{
	uint64_t size = quire_inode_size(ei->inode);
	struct ext2_fs *fs = ei->fs;
	struct ext2_raw_inode *raw;
	struct ext2_buf *b;
	int err;

	assert_mutex_held(&fs->lock);
	if (READ_ONCE(fs->mnt.read_only))
		return 0;
	raw = raw_at(fs, ei->ino, &b, &err);
	if (!raw)
		return err;
	if ((ei->raw.mode & S_IFMT) != S_IFLNK || ei->raw.sectors)
		ei->raw.size = (uint32_t)size;
	if ((ei->raw.mode & S_IFMT) == S_IFREG) {
		ei->raw.size_high = (uint32_t)(size >> 32);
		if (size > INT32_MAX && !(fs->super.ro_compat & EXT2_ROCOMPAT_LARGE)) {
			fs->super.ro_compat |= EXT2_ROCOMPAT_LARGE;
			fs->super_dirty = true;
		}
	}
	*raw = ei->raw;
	ext2_bdirty(fs, b);
	return 0;
}

int ext2_set_links(struct ext2_inode *ei, int delta)
{
	assert_mutex_held(&ei->fs->lock);
	ei->raw.links = (uint16_t)(ei->raw.links + delta);
	ei->raw.ctime = ext2_now(ei->fs);
	quire_inode_mark_dirty(ei->inode);
	return ext2_store(ei);
}

/* ---- vnodes ------------------------------------------------------------------------------------------ */

static unsigned rdev_of(const struct ext2_raw_inode *raw)
{
	return raw->block[0] ? raw->block[0] : raw->block[1];
}

/* The vnode of an inode whose fields are in ei. NULL: no memory. */
static struct vnode *make_vnode(struct ext2_inode *ei)
{
	struct vnode *v = vnode_alloc(ei->raw.mode, ei->ino);

	if (!v)
		return NULL;
	v->mnt = &ei->fs->mnt;
	v->dev = (unsigned)ei->fs->mnt.root_dev;
	v->priv = ei;
	v->mtime_ns = (uint64_t)ei->raw.mtime * NS_PER_SEC;
	switch (ei->raw.mode & S_IFMT) {
	case S_IFREG:
		v->contents = ei->inode;
		v->fops = &regular_ops;
		break;
	case S_IFBLK:
	case S_IFCHR:
		v->rdev = rdev_of(&ei->raw);
		break;
	}
	ei->v = v;
	return v;
}

/* The structure with contents, known to fs; its reference is the caller's. NULL: no memory. */
static struct ext2_inode *make_ei(struct ext2_fs *fs, uint32_t ino)
{
	struct ext2_inode *ei = quire_kmalloc(sizeof(*ei), QUIRE_GFP_ZERO);

	if (!ei)
		return NULL;
	ei->fs = fs;
	ei->ino = ino;
	ei->inode = quire_inode_create(&fs->mnt_inode_ops, ei, ino, ext2_inode_dev(fs), 0);
	if (!ei->inode) {
		quire_kfree(ei);
		return NULL;
	}
	mutex_lock(&fs->lock);
	list_add_tail(&ei->all, &fs->inodes);
	mutex_unlock(&fs->lock);
	return ei;
}

static bool known_type(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	}
	return false;
}

static int read_raw(struct ext2_fs *fs, uint32_t ino, struct ext2_raw_inode *out)
{
	struct ext2_raw_inode *raw;
	struct ext2_buf *b;
	int err;

	mutex_lock(&fs->lock);
	raw = raw_at(fs, ino, &b, &err);
	if (raw)
		*out = *raw;
	if (!err && (!out->links || !known_type(out->mode)))
		err = ext2_error(fs, "a name leads to what is no file, inode", ino);
	mutex_unlock(&fs->lock);
	return err;
}

static struct vnode *find_vnode(struct ext2_fs *fs, uint32_t ino)
{
	struct ext2_inode *ei;
	struct vnode *v = NULL;

	mutex_lock(&fs->lock);
	list_for_each_entry(ei, &fs->inodes, all) {
		if (ei->ino == ino && ei->v && (ei->v->nlink || ei->v == fs->mnt.root)) {
			v = ei->v;
			vnode_get(v);
			break;
		}
	}
	mutex_unlock(&fs->lock);
	return v;
}

static uint64_t size_of(const struct ext2_raw_inode *raw)
{
	uint64_t high = (raw->mode & S_IFMT) == S_IFREG ? raw->size_high : 0;

	return high << 32 | raw->size;
}

/* A link's target out of the inode, or of its block. */
static int read_target(struct ext2_inode *ei, struct vnode *v)
{
	uint64_t n = size_of(&ei->raw);
	long got = (long)n;

	if (!n || n >= RANGE_OF_LINK || (!ei->raw.sectors && n >= EXT2_FAST_LINK))
		return -EUCLEAN;
	v->target = quire_kmalloc(n + 1, QUIRE_GFP_ZERO);
	if (!v->target)
		return -ENOMEM;
	if (!ei->raw.sectors)
		memcpy(v->target, ei->raw.block, n);
	else
		got = quire_inode_read(ei->inode, 0, (uintptr_t)v->target, n, false);
	return got == (long)n ? 0 : got < 0 ? (int)got : -EIO;
}

struct vnode *ext2_iget(struct ext2_fs *fs, uint32_t ino, int *err)
{
	struct ext2_raw_inode raw;
	struct ext2_inode *ei;
	struct vnode *v = find_vnode(fs, ino);

	*err = 0;
	if (v)
		return v;
	*err = read_raw(fs, ino, &raw);
	if (*err)
		return NULL;
	if (size_of(&raw) > fs->mnt_inode_ops.max_size) {
		*err = -EUCLEAN;
		return NULL;
	}
	*err = -ENOMEM;
	ei = make_ei(fs, ino);
	if (!ei)
		return NULL;
	ei->raw = raw;
	quire_inode_set_size(ei->inode, size_of(&raw));
	v = make_vnode(ei);
	if (!v) {
		quire_inode_put(ei->inode);
		return NULL;
	}
	*err = (raw.mode & S_IFMT) == S_IFLNK ? read_target(ei, v) : 0;
	if (!*err)
		return v;
	vnode_put(v);
	return NULL;
}

static int write_target(struct ext2_inode *ei, struct vnode *v, const char *target)
{
	size_t n = strlen(target);
	long put;

	v->target = quire_kmalloc(n + 1, 0);
	if (!v->target)
		return -ENOMEM;
	memcpy(v->target, target, n + 1);
	if (n < EXT2_FAST_LINK) {
		memcpy(ei->raw.block, target, n);
		ei->raw.size = (uint32_t)n;
		return 0;
	}
	if (n > ei->fs->block_size - 1)
		return -ENAMETOOLONG;
	put = quire_inode_write(ei->inode, 0, (uintptr_t)target, n, false);
	return put == (long)n ? 0 : put < 0 ? (int)put : -EIO;
}

/* The table's entry as a whole: what was behind an older inode's fields must not be taken for ours. */
static int clear_raw(struct ext2_fs *fs, uint32_t ino)
{
	struct ext2_raw_inode *raw;
	struct ext2_buf *b;
	int err;

	raw = raw_at(fs, ino, &b, &err);
	if (!raw)
		return err;
	memset(raw, 0, fs->inode_size);
	ext2_bdirty(fs, b);
	return 0;
}

/* Without a name it is given back again when the vnode goes: links are 0. */
struct vnode *ext2_make(struct vnode *dir, unsigned mode, const char *target, uint64_t rdev, int *err)
{
	struct ext2_inode *parent = ext2_inode_of(dir), *ei;
	struct ext2_fs *fs = parent->fs;
	bool is_dir = (mode & S_IFMT) == S_IFDIR;
	struct vnode *v;
	uint32_t ino;

	mutex_lock(&fs->lock);
	ino = ext2_new_ino(fs, parent->ino, is_dir, err);
	if (ino)
		*err = clear_raw(fs, ino);
	if (ino && *err)
		ext2_free_ino(fs, ino, is_dir);
	mutex_unlock(&fs->lock);
	if (!ino || *err)
		return NULL;
	ei = make_ei(fs, ino);
	if (!ei) {
		mutex_lock(&fs->lock);
		ext2_free_ino(fs, ino, is_dir);
		mutex_unlock(&fs->lock);
		*err = -ENOMEM;
		return NULL;
	}
	ei->raw.mode = (uint16_t)mode;
	ei->raw.atime = ei->raw.ctime = ei->raw.mtime = ext2_now(fs);
	if ((mode & S_IFMT) == S_IFBLK || (mode & S_IFMT) == S_IFCHR)
		ei->raw.block[0] = (uint32_t)rdev;
	v = make_vnode(ei);
	if (!v) {
		quire_inode_discard(ei->inode);
		quire_inode_put(ei->inode);
		*err = -ENOMEM;
		return NULL;
	}
	v->loaded = is_dir;
	if (target)
		*err = write_target(ei, v, target);
	if (!*err && is_dir)
		*err = ext2_dir_init(ei, parent->ino);
	if (!*err)
		return v;
	vnode_put(v);
	return NULL;
}

void ext2_evict(struct vnode *v)
{
	struct ext2_inode *ei = ext2_inode_of(v);

	mutex_lock(&ei->fs->lock);
	ei->v = NULL;
	if (!ei->raw.links)
		quire_inode_discard(ei->inode);
	mutex_unlock(&ei->fs->lock);
	if (!v->contents)
		quire_inode_put(ei->inode);
}

void ext2_changed(struct vnode *v)
{
	struct ext2_inode *ei = ext2_inode_of(v);

	mutex_lock(&ei->fs->lock);
	ei->raw.mode = (uint16_t)READ_ONCE(v->mode);
	ei->raw.ctime = ext2_now(ei->fs);
	quire_inode_mark_dirty(ei->inode);
	mutex_unlock(&ei->fs->lock);
}

void ext2_getattr(struct vnode *v, struct stat_info *s)
{
	struct ext2_inode *ei = ext2_inode_of(v);

	mutex_lock(&ei->fs->lock);
	s->nlink = ei->raw.links;
	s->blocks = ei->raw.sectors;
	s->mtime_ns = (uint64_t)ei->raw.mtime * NS_PER_SEC;
	mutex_unlock(&ei->fs->lock);
	if (vnode_type(v) == S_IFREG || vnode_type(v) == S_IFDIR)
		s->size = quire_inode_size(ei->inode);
}
