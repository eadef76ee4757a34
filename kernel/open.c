/* SPDX-License-Identifier: MIT */
/*
 * open, openat, creat: a user's path resolved, the file made if it is missing, what its type
 * refuses, and a descriptor for it.
 */
#include "kernel.h"
#include "kernel/mount.h"
#include "kernel/swapfile.h"

/* Resolves a user's path below dirfd. */
int user_path(int dirfd, uintptr_t path, unsigned flags, struct path *out)
{
	char buf[PATH_LEN];
	long n = copy_string(buf, path, sizeof(buf));
	struct fd dir;
	int err;

	*out = (struct path){0};
	if (n < 0)
		return (int)n;
	if (dirfd == AT_FDCWD || buf[0] == '/')
		return path_lookup(NULL, NULL, buf, flags, out);
	dir = fdget(dirfd);
	err = dir.file ? path_lookup(dir.file->v, dir.file->path, buf, flags, out) : -EBADF;
	fdput(dir);
	return err;
}

int kernel_path(const char *path, unsigned flags, struct path *out)
{
	*out = (struct path){0};
	return path_lookup(NULL, NULL, path, flags, out);
}

/* For calls that find their file and do nothing with it. */
int path_exists(int dirfd, uintptr_t path)
{
	struct path p;
	int err = user_path(dirfd, path, 0, &p);

	if (!err)
		path_put(&p);
	return err;
}

/* The last component is missing: make it. /proc takes no new names. */
static int create_regular(struct path *p, unsigned mode)
{
	struct vnode *v;
	int err;

	if (p->must_be_dir)
		return -EISDIR;
	if (p->parent->ops)
		return -EACCES; /* /proc */
	v = vnode_make(p->parent, S_IFREG | (mode & MODE_BITS & ~fs_umask(current->proc->fs)), NULL, 0, &err);
	if (!v)
		return err;
	err = dir_add(p->parent, p->last, v);
	if (err) {
		vnode_put(v);
		return err;
	}
	p->v = v;
	return 0;
}

/* What an existing file refuses, by its type. */
static int check_open(const struct path *p, unsigned flags)
{
	unsigned type = vnode_type(p->v);

	if (type == S_IFLNK && !(flags & O_PATH))
		return -ELOOP;
	if ((type == S_IFSOCK || !type) && !(flags & O_PATH))
		return -ENXIO; /* a socket, or what has no name at all */
	if (flags & O_DIRECTORY && type != S_IFDIR)
		return -ENOTDIR;
	if (type == S_IFDIR && (flags & (O_ACCMODE | O_CREAT)) && !(flags & O_PATH))
		return -EISDIR;
	if (type == S_IFREG && (flags & O_ACCMODE || flags & O_TRUNC) && !(flags & O_PATH))
		return vnode_writable(p->v);
	return 0;
}

/* What lies in the page cache, and may be changed. */
static bool has_bytes(const struct vnode *v)
{
	return v->contents && vnode_type(v) == S_IFREG && v->fops == &regular_ops;
}

/* The new file f of v, and what opening it does. */
static int open_file(struct open_file *f, unsigned flags, bool created)
{
	bool cuts = flags & O_TRUNC && !created, changes = cuts || (flags & O_ACCMODE) != O_RDONLY;
	int err = 0;

	if (flags & O_PATH)
		return 0;
	if (has_bytes(f->v) && changes) {
		err = quire_inode_get_write(f->v->contents);
		f->writes = !err;
	}
	if (!err && f->writes && cuts)
		err = vnode_changeable(f->v);
	if (!err && f->writes && cuts)
		err = quire_inode_truncate(f->v->contents, 0);
	if (!err && f->ops && f->ops->open)
		err = f->ops->open(f);
	return err;
}

int open_vnode(struct path *p, unsigned flags, unsigned mode, struct open_file **out)
{
	bool created = false;
	struct open_file *f;
	int err = 0;

	if (!p->v) {
		err = create_regular(p, mode);
		created = true;
	} else if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
		err = -EEXIST;
	}
	if (!err)
		err = check_open(p, flags);
	if (err)
		return err;
	if (vnode_type(p->v) == S_IFIFO && !(flags & O_PATH) && (flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	f = file_alloc(p->v, p->full, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC));
	if (!f)
		return -ENOMEM;
	err = open_file(f, flags, created);
	if (!err && flags & O_DIRECT && !file_may_be_direct(f))
		err = -EINVAL;
	/* What goes wrong from now on when the file is written back is told by fsync(). */
	if (!err && p->v->mnt && p->v->contents && !(flags & O_PATH) && !file_mapping(f))
		err = -ENOMEM;
	if (err)
		file_put(f);
	else
		*out = f;
	return err;
}

/* O_PATH leaves nothing but where the file is; O_SYNC is more than O_DSYNC, whatever the program's idea of it. */
static unsigned known_flags(unsigned flags)
{
	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	return flags & O_SYNC & ~O_DSYNC ? flags | O_DSYNC : flags;
}

static long do_open(int dirfd, uintptr_t path, unsigned flags, unsigned mode)
{
	unsigned lf = (flags & O_CREAT ? LOOKUP_CREATE : 0) |
		      (flags & O_NOFOLLOW || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)
			       ? LOOKUP_NOFOLLOW : 0);
	struct open_file *f = NULL;
	struct path p;
	int fd, err;

	if ((flags & O_TMPFILE) == O_TMPFILE && flags & O_DIRECTORY)
		return -EOPNOTSUPP;
	do {
		err = user_path(dirfd, path, lf, &p);
		if (err)
			return err;
		err = open_vnode(&p, flags, mode, &f);
		path_put(&p);
		/* Without O_EXCL, somebody who made the name first made it for us too. */
	} while (err == -EEXIST && !(flags & O_EXCL));
	if (err)
		return err;
	fd = fd_add(f, flags & O_CLOEXEC);
	if (fd < 0)
		file_put(f);
	return fd;
}

SYSCALL4(openat, int, dirfd, uintptr_t, path, unsigned, flags, unsigned, mode)
{
	return do_open(dirfd, path, known_flags(flags), mode);
}

SYSCALL3(open, uintptr_t, path, unsigned, flags, unsigned, mode)
{
	return do_open(AT_FDCWD, path, known_flags(flags), mode);
}

SYSCALL2(creat, uintptr_t, path, unsigned, mode)
{
	return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
