/* SPDX-License-Identifier: MIT */
/*
 * Which blocks and inodes are in use: a bitmap of each for every group, and counts in the group's
 * descriptor and in the super block. A block is looked for from its goal on, then in the groups behind
 * it, and round to the first; a directory's inode in the group with most room, a file's in its
 * directory's group.
 *
 * What the image says is believed as far as it cannot do harm: a block of the file system's own is never
 * given out, whatever the bitmap says.
 */
#include "kernel/ext2/ext2.h"

static uint32_t blocks_in(const struct ext2_fs *fs, uint32_t g)
{
	uint32_t first = fs->super.first_data_block + g * fs->super.blocks_per_group;

	return min(fs->super.blocks_per_group, fs->super.blocks - first);
}

/* The descriptor of group g, and its buffer. */
static struct ext2_group *group_at(struct ext2_fs *fs, uint32_t g, struct ext2_buf **b, int *err)
{
	uint32_t per = fs->block_size / sizeof(struct ext2_group);

	*b = ext2_bread(fs, fs->group_block + g / per, err);
	return *b ? (struct ext2_group *)(*b)->data + g % per : NULL;
}

static uint32_t table_blocks(const struct ext2_fs *fs)
{
	return (uint32_t)(((uint64_t)fs->super.inodes_per_group * fs->inode_size + fs->block_size - 1) >> fs->bits);
}

static bool in_range(const struct ext2_fs *fs, uint32_t block, uint32_t n)
{
	return block > fs->super.first_data_block && block < fs->super.blocks && n <= fs->super.blocks - block;
}

int ext2_check_groups(struct ext2_fs *fs)
{
	for (uint32_t g = 0; g < fs->groups; g++) {
		struct ext2_buf *b;
		struct ext2_group *gd;
		int err;

		gd = group_at(fs, g, &b, &err);
		if (!gd)
			return err;
		if (!in_range(fs, gd->block_bitmap, 1) || !in_range(fs, gd->inode_bitmap, 1) ||
		    !in_range(fs, gd->inode_table, table_blocks(fs)))
			return ext2_error(fs, "a group's tables lie outside, group", g);
	}
	return 0;
}

bool ext2_block_ok(struct ext2_fs *fs, uint32_t block)
{
	uint32_t descs = (fs->groups * (uint32_t)sizeof(struct ext2_group) + fs->block_size - 1) >> fs->bits;
	struct ext2_group *gd;
	struct ext2_buf *b;
	int err;

	if (!in_range(fs, block, 1) || block < fs->group_block + descs)
		return false;
	gd = group_at(fs, (block - fs->super.first_data_block) / fs->super.blocks_per_group, &b, &err);
	return gd && block != gd->block_bitmap && block != gd->inode_bitmap &&
	       !(block >= gd->inode_table && block - gd->inode_table < table_blocks(fs));
}

static bool bit_get(const char *map, uint32_t i)
{
	return (uint8_t)map[i / 8] >> i % 8 & 1;
}

static void bit_flip(char *map, uint32_t i)
{
	map[i / 8] = (char)((uint8_t)map[i / 8] ^ 1u << i % 8);
}

/* The first clear bit of [from, n); n: none. */
static uint32_t bit_find(const char *map, uint32_t from, uint32_t n)
{
	for (uint32_t i = from; i < n; i++) {
		if (!(i % 8) && (uint8_t)map[i / 8] == 0xff)
			i += 7;
		else if (!bit_get(map, i))
			return i;
	}
	return n;
}

static void count(struct ext2_fs *fs, uint32_t g, int blocks, int inodes, int dirs)
{
	struct ext2_group *gd;
	struct ext2_buf *b;
	int err;

	fs->super.free_blocks += (uint32_t)blocks;
	fs->super.free_inodes += (uint32_t)inodes;
	fs->super_dirty = true;
	quire_inode_mark_dirty(fs->meta);
	gd = group_at(fs, g, &b, &err);
	if (!gd)
		return;
	gd->free_blocks = (uint16_t)(gd->free_blocks + blocks);
	gd->free_inodes = (uint16_t)(gd->free_inodes + inodes);
	gd->used_dirs = (uint16_t)(gd->used_dirs + dirs);
	ext2_bdirty(fs, b);
}

/* ---- blocks -------------------------------------------------------------------------------------- */

/* A block of group g from bit `from` on. 0: none, or *err. */
static uint32_t block_in(struct ext2_fs *fs, uint32_t g, uint32_t from, int *err)
{
	uint32_t n = blocks_in(fs, g), first = fs->super.first_data_block + g * fs->super.blocks_per_group, map;
	struct ext2_group *gd;
	struct ext2_buf *b;

	gd = group_at(fs, g, &b, err);
	if (!gd || !gd->free_blocks)
		return 0;
	map = gd->block_bitmap;
	for (uint32_t i = from; i < n; i++) {
		b = ext2_bread(fs, map, err);
		if (!b)
			return 0;
		i = bit_find(b->data, i, n);
		if (i == n)
			break;
		bit_flip(b->data, i);
		ext2_bdirty(fs, b);
		if (ext2_block_ok(fs, first + i)) {
			count(fs, g, -1, 0, 0);
			return first + i;
		}
		ext2_error(fs, "a block of the file system's own is marked free, block", first + i);
		if (READ_ONCE(fs->mnt.read_only))
			break;
	}
	return 0;
}

uint32_t ext2_new_block(struct ext2_fs *fs, uint32_t goal, int *err)
{
	uint32_t g, from, block = 0;

	assert_mutex_held(&fs->lock);
	*err = -ENOSPC;
	if (!fs->super.free_blocks)
		return 0;
	if (goal < fs->super.first_data_block || goal >= fs->super.blocks)
		goal = fs->super.first_data_block;
	g = (goal - fs->super.first_data_block) / fs->super.blocks_per_group;
	from = (goal - fs->super.first_data_block) % fs->super.blocks_per_group;
	for (uint32_t i = 0; i <= fs->groups && !block; i++) {
		*err = 0;
		block = block_in(fs, (g + i) % fs->groups, i ? 0 : from, err);
		if (*err)
			return 0;
	}
	*err = block ? 0 : -ENOSPC;
	if (block)
		ext2_bforget(fs, block);
	return block;
}

void ext2_free_block(struct ext2_fs *fs, uint32_t block)
{
	uint32_t g, i, map;
	struct ext2_group *gd;
	struct ext2_buf *b;
	int err;

	assert_mutex_held(&fs->lock);
	if (!ext2_block_ok(fs, block)) {
		ext2_error(fs, "a block is freed that is no file's, block", block);
		return;
	}
	g = (block - fs->super.first_data_block) / fs->super.blocks_per_group;
	i = (block - fs->super.first_data_block) % fs->super.blocks_per_group;
	gd = group_at(fs, g, &b, &err);
	map = gd ? gd->block_bitmap : 0;
	b = map ? ext2_bread(fs, map, &err) : NULL;
	if (!b)
		return; /* it stays in use: lost, and nothing worse */
	if (!bit_get(b->data, i)) {
		ext2_error(fs, "a block is freed that is free, block", block);
		return;
	}
	bit_flip(b->data, i);
	ext2_bdirty(fs, b);
	ext2_bforget(fs, block);
	count(fs, g, 1, 0, 0);
}

/* ---- inodes -------------------------------------------------------------------------------------- */

static uint32_t ino_in(struct ext2_fs *fs, uint32_t g, bool dir, int *err)
{
	uint32_t n = fs->super.inodes_per_group, i, map;
	uint32_t from = g * n < fs->first_ino - 1 ? fs->first_ino - 1 - g * n : 0;
	struct ext2_group *gd;
	struct ext2_buf *b;

	gd = group_at(fs, g, &b, err);
	if (!gd || !gd->free_inodes || from >= n)
		return 0;
	map = gd->inode_bitmap;
	b = ext2_bread(fs, map, err);
	if (!b)
		return 0;
	i = bit_find(b->data, from, n);
	if (i == n)
		return 0;
	bit_flip(b->data, i);
	ext2_bdirty(fs, b);
	count(fs, g, 0, -1, dir);
	return g * n + i + 1;
}

/* The group with most free inodes. */
static uint32_t roomy_group(struct ext2_fs *fs, uint32_t g)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < fs->groups; i++) {
		struct ext2_buf *b;
		int err;
		struct ext2_group *gd = group_at(fs, i, &b, &err);

		if (gd && gd->free_inodes > most && gd->free_blocks) {
			most = gd->free_inodes;
			g = i;
		}
	}
	return g;
}

uint32_t ext2_new_ino(struct ext2_fs *fs, uint32_t parent, bool dir, int *err)
{
	uint32_t g = (parent - 1) / fs->super.inodes_per_group, ino = 0;

	assert_mutex_held(&fs->lock);
	if (dir)
		g = roomy_group(fs, g);
	for (uint32_t i = 0; i < fs->groups && !ino; i++) {
		*err = 0;
		ino = ino_in(fs, (g + i) % fs->groups, dir, err);
		if (*err)
			return 0;
	}
	*err = ino ? 0 : -ENOSPC;
	return ino;
}

void ext2_free_ino(struct ext2_fs *fs, uint32_t ino, bool dir)
{
	uint32_t g = (ino - 1) / fs->super.inodes_per_group, i = (ino - 1) % fs->super.inodes_per_group, map;
	struct ext2_group *gd;
	struct ext2_buf *b;
	int err;

	assert_mutex_held(&fs->lock);
	gd = group_at(fs, g, &b, &err);
	map = gd ? gd->inode_bitmap : 0;
	b = map ? ext2_bread(fs, map, &err) : NULL;
	if (!b)
		return;
	if (!bit_get(b->data, i)) {
		ext2_error(fs, "an inode is freed that is free, inode", ino);
		return;
	}
	bit_flip(b->data, i);
	ext2_bdirty(fs, b);
	count(fs, g, 0, 1, dir ? -1 : 0);
}
