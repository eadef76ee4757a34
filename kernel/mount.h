/* SPDX-License-Identifier: MIT */
/*
 * File systems beside the one in memory: what one offers (struct fs_ops), and where it is mounted. The
 * names of a mounted directory are read into vnodes when it is first looked into; from then on the tree
 * in memory is what paths are resolved by, and each change of it is made on the disk first.
 */
#ifndef KERNEL_MOUNT_H
#define KERNEL_MOUNT_H

#include "kernel/file.h"

struct mount;
struct stat_info;

struct statfs {
	uint64_t type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags;
	uint64_t spare[4];
};

struct fs_ops {
	/* Enters what a directory of the disk contains. vfs_mutex. */
	int (*load)(struct vnode *dir);
	/* A new file in the file system of dir that has no name yet, with a reference. target: of a symbolic
	 * link. NULL: *err. Context: sleep. */
	struct vnode *(*make)(struct vnode *dir, unsigned mode, const char *target, uint64_t rdev, int *err);
	/* A name comes, goes, or moves (target: what the new one leads to now, or NULL). vfs_mutex; the tree
	 * in memory is changed by the caller if they answer 0. */
	int (*link)(struct vnode *dir, const char *name, struct vnode *v);
	int (*unlink)(struct vnode *dir, const char *name, struct vnode *v);
	int (*rename)(struct vnode *from, const char *name, struct vnode *to, const char *new_name,
		      struct vnode *v, struct vnode *target);
	void (*changed)(struct vnode *v); /* its mode, or its time */
	void (*evict)(struct vnode *v);	  /* the last reference is gone */
	void (*getattr)(struct vnode *v, struct stat_info *s);
	/* Where block n of a regular file lies, in sectors of the device, 0: a hole; and how large blocks are.
	 * NULL: that cannot be told. */
	int (*bmap)(struct vnode *v, uint64_t n, uint64_t *sector, unsigned *bits);
	void (*statfs)(struct mount *mnt, struct statfs *s);
	int (*sync)(struct mount *mnt); /* everything is on the disk, and durable */
	bool (*busy)(struct mount *mnt); /* somebody holds a file of it. vfs_mutex */
	/* Nobody knows a vnode of it any more: the end. 0, or what could not be written. */
	int (*unmount)(struct mount *mnt);
};

struct mount {
	const struct fs_ops *ops;
	struct vnode *root;    /* with a reference */
	struct vnode *covered; /* with a reference */
	bool read_only;	       /* set once after the mount, by an error; atomic */
	struct list_head link; /* all mounts; vfs_mutex */
	struct quire_blkdev *dev;
	uint64_t root_dev;     /* its number, as stat() tells it */
	char type[8];
	char source[64], path[64]; /* as /proc/mounts shows them, cut */
};

/* ext2/super.c. The file system on dev; its root has no parent yet. NULL: *err. Context: sleep. */
struct mount *ext2_mount(struct quire_blkdev *dev, uint64_t rdev, bool read_only, int *err);

/* Nothing of the vnode's file system may be changed: -EROFS, or 0. */
static inline int vnode_writable(const struct vnode *v)
{
	return v->mnt && READ_ONCE(v->mnt->read_only) ? -EROFS : 0;
}

/* From now on the directory's names are in memory. Context: sleep. 0 or -errno. */
int dir_load(struct vnode *dir);
/* A vnode for a new file in dir, of whatever file system that is. NULL: *err. Context: sleep. */
struct vnode *vnode_make(struct vnode *dir, unsigned mode, const char *target, uint64_t rdev, int *err);
/* What lies over v, with a reference instead of v's; v itself if nothing does. */
struct vnode *cross_mount(struct vnode *v);
/* The last process ends: everything is unmounted, or at least written. The tree ends: what is left goes. */
void sync_at_end(void);
void unmount_all(void);
void show_mounted(quire_emit_fn emit, void *ctx);

#endif
