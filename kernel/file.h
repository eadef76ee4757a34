/* SPDX-License-Identifier: MIT */
/*
 * VFS structures: vnodes (the tree of names), open files and their file_ops, descriptor tables.
 */
#ifndef KERNEL_FILE_H
#define KERNEL_FILE_H

#include "kernel/task.h"
#include <quire/quire.h>

#define MODE_BITS 07777u /* of a mode: what chmod may set */

/* ---- vfs.c ----------------------------------------------------------------------------------- */

struct file_ops {
	/* buf is a user address. Bytes or a negative errno; *pos is theirs to move. */
	long (*read)(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos);
	long (*write)(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos);
	long (*ioctl)(struct open_file *f, unsigned cmd, unsigned long arg);
	unsigned (*poll)(struct open_file *f); /* POLLIN, POLLOUT ... */
	int (*open)(struct open_file *f);
	void (*release)(struct open_file *f);
};

struct vnode_ops {
	/* A child that is made on demand, with a reference for the caller; NULL: none. */
	struct vnode *(*lookup)(struct vnode *dir, const char *name);
	/* Name and type of the i-th such child; false: no more. */
	bool (*readdir)(struct vnode *dir, unsigned i, char name[32], unsigned *mode);
	/* Where a symbolic link points now. */
	void (*readlink)(struct vnode *v, char *buf, size_t size);
};

struct vnode {
	unsigned refs, nlink, mode, dev;
	uint64_t ino, rdev;
	struct vnode *parent;	     /* of a directory, no reference */
	struct list_head entries;    /* of a directory: struct dirent */
	struct quire_inode *contents; /* of a regular file */
	char *target;		     /* of a symbolic link */
	const struct vnode_ops *ops;
	const struct file_ops *fops;
	void *priv;
	uint64_t arg;
	uint64_t mtime_ns;
};

struct dirent {
	struct list_head link; /* in the directory's entries */
	struct vnode *v;
	char name[];
};

struct open_file {
	unsigned refs;
	unsigned flags; /* O_* */
	uint64_t pos;
	struct vnode *v;
	const struct file_ops *ops;
	struct quire_file *qf; /* for mappings; made when first asked for */
	void *priv;
	struct quire_mm *mm; /* of /proc/PID: the space when it was opened, grabbed, not used; or NULL */
	bool memfd;
	char path[];
};

struct path {
	struct vnode *parent; /* of the last component */
	struct vnode *v;      /* NULL: it does not exist (parent does) */
	char last[256];
	char full[PATH_LEN];  /* canonical */
	bool must_be_dir;     /* the path ended in a slash */
};

#define LOOKUP_NOFOLLOW 1u /* the last component, if a link, is the result */
#define LOOKUP_CREATE	2u /* the last component may be missing */

extern struct vnode *root_vnode;
int vfs_init(void);
void vfs_exit(void);
struct vnode *vnode_new(unsigned mode);
void vnode_get(struct vnode *v);
void vnode_put(struct vnode *v);
/* Enters v into dir under name (takes a reference). -EEXIST, -ENOMEM. */
int dir_add(struct vnode *dir, const char *name, struct vnode *v);
struct dirent *dir_find(struct vnode *dir, const char *name);
void dir_remove(struct dirent *d);
/* Makes every directory of an absolute path; the last one, with a reference. */
struct vnode *mkdir_path(const char *path);
/* Resolves; path_put() afterwards if it answered 0. start NULL: the working directory. */
int path_lookup(struct vnode *start, const char *start_path, const char *path, unsigned flags,
		struct path *out);
void path_put(struct path *p);
/* -EIO etc.; unpacks an initramfs into the root. */
int unpack_initramfs(const void *archive, size_t size);

/* ---- file.c ---------------------------------------------------------------------------------- */

struct open_file *file_alloc(struct vnode *v, const char *path, unsigned flags);
void file_put(struct open_file *f);
/* What a mapping of f holds on to. NULL: no memory. */
struct quire_file *file_mapping(struct open_file *f);
bool file_readable(const struct open_file *f);
bool file_writable(const struct open_file *f);
/* F_SEAL_*; only a memfd has any. */
unsigned file_seals(struct open_file *f);
extern const struct file_ops regular_ops;

/* ---- memfd.c --------------------------------------------------------------------------------- */

long memfd_add_seals(struct open_file *f, unsigned seals);

/* ---- fd.c ------------------------------------------------------------------------------------ */

/* The file of a descriptor, no reference taken; NULL: none. */
struct open_file *fd_file(int fd);
int fd_install(struct open_file *f, bool cloexec);

/* ---- open.c ---------------------------------------------------------------------------------- */

/* Resolves a user's path below dirfd (AT_FDCWD); path_put() afterwards if it answered 0. */
int user_path(int dirfd, uintptr_t path, unsigned flags, struct path *out);
/* 0, or why the path leads nowhere. */
int path_exists(int dirfd, uintptr_t path);
int open_vnode(struct path *p, unsigned flags, unsigned mode, struct open_file **out);

/* ---- dev.c ----------------------------------------------------------------------------------- */

extern const struct file_ops null_ops, zero_ops, console_ops, random_ops;
void console_tick(void);
/* A typed line without its newline, for the monitor; its length. Sleeps. */
size_t console_line(char *buf, size_t size);

#endif
