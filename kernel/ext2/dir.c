/* SPDX-License-Identifier: MIT */
/*
 * Directories of ext2. Each block is a chain of records: inode, the record's length, a name, its type; a
 * record without an inode is free, one may be longer than its name needs, and the last one ends with the
 * block. A new name takes a free record or the slack of another; a name that goes leaves its room to the
 * record before it.
 *
 * A directory's contents are a file's: read and written through the page cache, by the block.
 * Everything here runs under vfs_mutex, so nobody else changes a directory meanwhile.
 *
 * What cannot be right (a record that leaves its block, a directory that has two names) is an error, and
 * what was read up to there stays.
 */
#include "kernel/ext2/ext2.h"

#define REC_HEAD  8u
#define REC_ALIGN 4u

static unsigned rec_need(size_t name_len)
{
	return (unsigned)ALIGN_UP(REC_HEAD + name_len, (size_t)REC_ALIGN);
}

static uint8_t type_of(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return 1;
	case S_IFDIR:
		return 2;
	case S_IFCHR:
		return 3;
	case S_IFBLK:
		return 4;
	case S_IFIFO:
		return 5;
	case S_IFSOCK:
		return 6;
	case S_IFLNK:
		return 7;
	}
	return 0;
}

static int dir_error(struct ext2_inode *dir, const char *what)
{
	int err;

	mutex_lock(&dir->fs->lock);
	err = ext2_error(dir->fs, what, dir->ino);
	mutex_unlock(&dir->fs->lock);
	return err;
}

static uint64_t dir_blocks(const struct ext2_inode *dir)
{
	return quire_inode_size(dir->inode) >> dir->fs->bits;
}

/* Block n into buf, every record of it checked. */
static int read_block(struct ext2_inode *dir, uint64_t n, char *buf)
{
	uint32_t bs = dir->fs->block_size;
	long got = quire_inode_read(dir->inode, n * bs, (uintptr_t)buf, bs, false);

	if (got != (long)bs)
		return got < 0 ? (int)got : -EIO;
	for (uint32_t at = 0; at < bs;) {
		const struct ext2_dirent *d = (const struct ext2_dirent *)(buf + at);

		if (d->rec_len < REC_HEAD + 4 || d->rec_len % REC_ALIGN || d->rec_len > bs - at ||
		    rec_need(d->name_len) > d->rec_len || d->ino > dir->fs->super.inodes)
			return dir_error(dir, "a directory's record is wrong, inode");
		at += d->rec_len;
	}
	return 0;
}

static int write_block(struct ext2_inode *dir, uint64_t n, const char *buf)
{
	uint32_t bs = dir->fs->block_size;
	long put;

	dir->raw.flags &= ~EXT2_FL_INDEX;
	dir->raw.mtime = dir->raw.ctime = ext2_now(dir->fs);
	quire_inode_mark_dirty(dir->inode);
	put = quire_inode_write(dir->inode, n * bs, (uintptr_t)buf, bs, false);
	return put == (long)bs ? 0 : put < 0 ? (int)put : -EIO;
}

static char *block_buffer(const struct ext2_fs *fs)
{
	return quire_kmalloc(fs->block_size, QUIRE_GFP_ZERO);
}

static bool named(const struct ext2_dirent *d, const char *name, size_t len)
{
	return d->ino && d->name_len == len && !memcmp(d->name, name, len);
}

/* The record of a name: its block, in buf, its place, and that of the record before it. 0: it is there. */
static int find_record(struct ext2_inode *dir, const char *name, char *buf, uint64_t *block, uint32_t *at,
		       uint32_t *before)
{
	size_t len = strlen(name);
	int err;

	for (*block = 0; *block < dir_blocks(dir); ++*block) {
		err = read_block(dir, *block, buf);
		if (err)
			return err;
		for (*at = *before = 0; *at < dir->fs->block_size;) {
			const struct ext2_dirent *d = (const struct ext2_dirent *)(buf + *at);

			if (named(d, name, len))
				return 0;
			*before = *at;
			*at += d->rec_len;
		}
	}
	return -ENOENT;
}

/* ---- reading -------------------------------------------------------------------------------------------- */

static int enter(struct vnode *dir, const struct ext2_dirent *d)
{
	struct ext2_fs *fs = ext2_inode_of(dir)->fs;
	char name[EXT2_NAME_LEN + 1];
	struct dirent *e;
	struct vnode *v;
	int err;

	memcpy(name, d->name, d->name_len);
	name[d->name_len] = '\0';
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (!d->name_len || strlen(name) != d->name_len || strchr(name, '/') || dir_find(dir, name))
		return dir_error(ext2_inode_of(dir), "a directory has a name that cannot be, inode");
	v = ext2_iget(fs, d->ino, &err);
	if (!v)
		return err;
	/* Of two names of a directory one would lead in a circle. */
	if (vnode_type(v) == S_IFDIR && (v->parent || v == fs->mnt.root || v == dir)) {
		vnode_put(v);
		return dir_error(ext2_inode_of(dir), "a directory has two names, inode");
	}
	e = dirent_new(name, v);
	if (e)
		dir_enter(dir, e);
	vnode_put(v);
	return e ? 0 : -ENOMEM;
}

int ext2_load(struct vnode *dir)
{
	struct ext2_inode *ei = ext2_inode_of(dir);
	char *buf = block_buffer(ei->fs);
	struct dirent *d;
	int err = 0;

	assert_mutex_held(&vfs_mutex);
	if (!buf)
		return -ENOMEM;
	for (uint64_t n = 0; n < dir_blocks(ei) && !err; n++) {
		err = read_block(ei, n, buf);
		for (uint32_t at = 0; !err && at < ei->fs->block_size;) {
			const struct ext2_dirent *rec = (const struct ext2_dirent *)(buf + at);

			if (rec->ino)
				err = enter(dir, rec);
			at += rec->rec_len;
		}
	}
	quire_kfree(buf);
	if (!err) {
		dir->loaded = true;
		return 0;
	}
	while (!list_empty(&dir->entries)) { /* once more, from the beginning */
		d = list_first_entry(&dir->entries, struct dirent, link);
		dir_remove(d);
		dirent_free(d);
	}
	return err;
}

/* ---- changing ------------------------------------------------------------------------------------------ */

static void fill(struct ext2_dirent *d, const struct ext2_fs *fs, const char *name, size_t len, uint32_t ino,
		 unsigned mode)
{
	d->ino = ino;
	d->name_len = (uint8_t)len;
	d->type = fs->super.incompat & EXT2_INCOMPAT_FILETYPE ? type_of(mode) : 0;
	memcpy(d->name, name, len);
}

/* The name into a block that has room for it. False: it has none. */
static bool put_record(const struct ext2_fs *fs, char *buf, const char *name, uint32_t ino, unsigned mode)
{
	size_t len = strlen(name);
	unsigned need = rec_need(len);

	for (uint32_t at = 0; at < fs->block_size;) {
		struct ext2_dirent *d = (struct ext2_dirent *)(buf + at);
		unsigned used = d->ino ? rec_need(d->name_len) : 0;

		if (d->rec_len >= used + need) {
			struct ext2_dirent *fresh = (struct ext2_dirent *)(buf + at + used);

			if (used) {
				fresh->rec_len = (uint16_t)(d->rec_len - used);
				d->rec_len = (uint16_t)used;
			}
			fill(fresh, fs, name, len, ino, mode);
			return true;
		}
		at += d->rec_len;
	}
	return false;
}

static int add_record(struct ext2_inode *dir, const char *name, uint32_t ino, unsigned mode)
{
	struct ext2_fs *fs = dir->fs;
	char *buf = block_buffer(fs);
	uint64_t n, blocks = dir_blocks(dir);
	int err = 0;

	if (!buf)
		return -ENOMEM;
	if (strlen(name) > EXT2_NAME_LEN)
		err = -ENAMETOOLONG;
	for (n = 0; n < blocks && !err; n++) {
		err = read_block(dir, n, buf);
		if (!err && put_record(fs, buf, name, ino, mode))
			break;
	}
	if (!err && n == blocks) {
		memset(buf, 0, fs->block_size);
		((struct ext2_dirent *)buf)->rec_len = (uint16_t)fs->block_size;
		(void)put_record(fs, buf, name, ino, mode);
	}
	if (!err)
		err = write_block(dir, n, buf);
	quire_kfree(buf);
	return err;
}

/* The record of a name leads to another inode; ino 0: it is taken away, its room goes to the one before. */
static int edit_record(struct ext2_inode *dir, const char *name, uint32_t ino, unsigned mode)
{
	char *buf = block_buffer(dir->fs);
	uint32_t at, before;
	uint64_t n;
	int err;

	if (!buf)
		return -ENOMEM;
	err = find_record(dir, name, buf, &n, &at, &before);
	if (!err) {
		struct ext2_dirent *d = (struct ext2_dirent *)(buf + at), *b = (struct ext2_dirent *)(buf + before);

		if (!ino && at)
			b->rec_len = (uint16_t)(b->rec_len + d->rec_len);
		d->ino = ino;
		if (ino)
			d->type = dir->fs->super.incompat & EXT2_INCOMPAT_FILETYPE ? type_of(mode) : 0;
		err = write_block(dir, n, buf);
	}
	quire_kfree(buf);
	return err;
}

int ext2_dir_init(struct ext2_inode *dir, uint32_t parent)
{
	struct ext2_fs *fs = dir->fs;
	char *buf = block_buffer(fs);
	struct ext2_dirent *d;
	int err;

	if (!buf)
		return -ENOMEM;
	d = (struct ext2_dirent *)buf;
	fill(d, fs, ".", 1, dir->ino, S_IFDIR);
	d->rec_len = (uint16_t)rec_need(1);
	d = (struct ext2_dirent *)(buf + rec_need(1));
	d->rec_len = (uint16_t)(fs->block_size - rec_need(1));
	fill(d, fs, "..", 2, parent, S_IFDIR);
	err = write_block(dir, 0, buf);
	quire_kfree(buf);
	return err;
}

static int links_by(struct ext2_inode *ei, int delta)
{
	int err;

	mutex_lock(&ei->fs->lock);
	err = ext2_set_links(ei, delta);
	mutex_unlock(&ei->fs->lock);
	return err;
}

static bool too_many(const struct ext2_inode *ei)
{
	return ei->raw.links >= EXT2_MAX_LINKS;
}

/* The inode counts the name before it is there: what a power cut leaves has a link too many, not too few. */
int ext2_link(struct vnode *dir, const char *name, struct vnode *v)
{
	struct ext2_inode *d = ext2_inode_of(dir), *ei = ext2_inode_of(v);
	bool is_dir = vnode_type(v) == S_IFDIR;
	int err;

	if (too_many(ei) || (is_dir && too_many(d)))
		return -EMLINK;
	err = links_by(ei, is_dir ? 2 : 1);
	if (!err)
		err = add_record(d, name, ei->ino, v->mode);
	if (err) {
		(void)links_by(ei, is_dir ? -2 : -1);
		return err;
	}
	return is_dir ? links_by(d, 1) : 0;
}

int ext2_unlink(struct vnode *dir, const char *name, struct vnode *v)
{
	struct ext2_inode *d = ext2_inode_of(dir), *ei = ext2_inode_of(v);
	bool is_dir = vnode_type(v) == S_IFDIR;
	int err = edit_record(d, name, 0, 0);

	if (err)
		return err;
	if (is_dir)
		(void)links_by(d, -1);
	return links_by(ei, is_dir ? -(int)ei->raw.links : -1);
}

/* A directory that moves has another parent: its ".." says so, and both count it. */
static int reparent(struct ext2_inode *ei, struct ext2_inode *from, struct ext2_inode *to)
{
	int err = edit_record(ei, "..", to->ino, S_IFDIR);

	if (!err) {
		(void)links_by(to, 1);
		(void)links_by(from, -1);
	}
	return err;
}

int ext2_rename(struct vnode *from, const char *name, struct vnode *to, const char *new_name, struct vnode *v,
		struct vnode *target)
{
	struct ext2_inode *f = ext2_inode_of(from), *t = ext2_inode_of(to), *ei = ext2_inode_of(v);
	bool is_dir = vnode_type(v) == S_IFDIR;
	int err;

	if (is_dir && from != to && too_many(t))
		return -EMLINK;
	err = target ? edit_record(t, new_name, ei->ino, v->mode) : add_record(t, new_name, ei->ino, v->mode);
	if (!err)
		err = edit_record(f, name, 0, 0);
	if (!err && is_dir && from != to)
		err = reparent(ei, f, t);
	if (!err && target) {
		struct ext2_inode *gone = ext2_inode_of(target);

		if (is_dir)
			(void)links_by(t, -1);
		err = links_by(gone, is_dir ? -(int)gone->raw.links : -1);
	}
	return err;
}
