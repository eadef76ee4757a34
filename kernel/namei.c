/* SPDX-License-Identifier: MIT */
/*
 * mkdir, rmdir, link, symlink, unlink, rename, readlink: changing and reading names. The tree
 * itself and how a path is resolved are vfs.c's.
 */
#include "kernel.h"

/* Enters a new vnode under a name that must not exist yet; takes v over. */
static long enter_new(int dirfd, uintptr_t path, struct vnode *v)
{
	struct path p;
	long err;

	if (!v)
		return -ENOMEM;
	err = user_path(dirfd, path, LOOKUP_CREATE | LOOKUP_NOFOLLOW, &p);
	if (!err && p.v)
		err = -EEXIST;
	if (!err && p.parent->ops)
		err = -EACCES;
	if (!err)
		err = dir_add(p.parent, p.last, v);
	path_put(&p);
	vnode_put(v);
	return err;
}

static struct vnode *new_link(uintptr_t target)
{
	char buf[PATH_LEN];
	long n = copy_string(buf, target, sizeof(buf));
	struct vnode *v = n >= 0 ? vnode_new(S_IFLNK | 0777) : NULL;

	if (!v)
		return NULL;
	v->target = quire_kmalloc((size_t)n + 1, 0);
	if (!v->target) {
		vnode_put(v);
		return NULL;
	}
	memcpy(v->target, buf, (size_t)n + 1);
	return v;
}

static long do_mkdir(int dirfd, uintptr_t path, unsigned mode)
{
	return enter_new(dirfd, path, vnode_new(S_IFDIR | (mode & MODE_BITS &
							   ~fs_umask(current->proc->fs))));
}

SYSCALL2(mkdir, uintptr_t, path, unsigned, mode)
{
	return do_mkdir(AT_FDCWD, path, mode);
}

SYSCALL3(mkdirat, int, dirfd, uintptr_t, path, unsigned, mode)
{
	return do_mkdir(dirfd, path, mode);
}

SYSCALL2(symlink, uintptr_t, target, uintptr_t, path)
{
	return enter_new(AT_FDCWD, path, new_link(target));
}

SYSCALL3(symlinkat, uintptr_t, target, int, dirfd, uintptr_t, path)
{
	return enter_new(dirfd, path, new_link(target));
}

static long do_link(int olddir, uintptr_t old, int newdir, uintptr_t new, unsigned flags)
{
	struct path p;
	long err = user_path(olddir, old, flags & AT_SYMLINK_FOLLOW ? 0 : LOOKUP_NOFOLLOW, &p);

	if (err)
		return err;
	if ((p.v->mode & S_IFMT) == S_IFDIR) {
		err = -EPERM;
	} else {
		vnode_get(p.v);
		err = enter_new(newdir, new, p.v);
	}
	path_put(&p);
	return err;
}

SYSCALL2(link, uintptr_t, old, uintptr_t, new)
{
	return do_link(AT_FDCWD, old, AT_FDCWD, new, 0);
}

SYSCALL5(linkat, int, olddir, uintptr_t, old, int, newdir, uintptr_t, new, unsigned, flags)
{
	return do_link(olddir, old, newdir, new, flags);
}

/* The vnode lives on while it is open or mapped. */
static long do_unlink(int dirfd, uintptr_t path, bool dir)
{
	struct dirent *d;
	struct path p;
	long err = user_path(dirfd, path, LOOKUP_NOFOLLOW, &p);
	bool is_dir;

	if (err)
		return err;
	d = dir_find(p.parent, p.last);
	is_dir = (p.v->mode & S_IFMT) == S_IFDIR;
	if (!d)
		err = dir ? -EBUSY : -EPERM; /* the root, or made on demand */
	else if (dir && !is_dir)
		err = -ENOTDIR;
	else if (!dir && is_dir)
		err = -EISDIR;
	else if (dir && (!list_empty(&p.v->entries) || p.v->ops))
		err = -ENOTEMPTY;
	else
		dir_remove(d);
	path_put(&p);
	return err;
}

SYSCALL1(unlink, uintptr_t, path)
{
	return do_unlink(AT_FDCWD, path, false);
}

SYSCALL1(rmdir, uintptr_t, path)
{
	return do_unlink(AT_FDCWD, path, true);
}

SYSCALL3(unlinkat, int, dirfd, uintptr_t, path, unsigned, flags)
{
	return do_unlink(dirfd, path, flags & AT_REMOVEDIR);
}

/* Is v dir, or below it? */
static bool is_inside(const struct vnode *v, const struct vnode *dir)
{
	for (;; v = v->parent) {
		if (v == dir)
			return true;
		if (!v->parent || v->parent == v)
			return false;
	}
}

/* Everything that can fail comes first but the entry's memory, which it gives back before. */
static long rename_checked(struct path *from, struct path *to, unsigned flags)
{
	struct dirent *old = dir_find(from->parent, from->last), *target;
	bool dir = (from->v->mode & S_IFMT) == S_IFDIR;
	int err;

	if (!old || to->parent->ops)
		return -EACCES;
	if (from->v == to->v)
		return 0;
	if (to->v) {
		bool to_dir = (to->v->mode & S_IFMT) == S_IFDIR;

		if (flags & RENAME_NOREPLACE)
			return -EEXIST;
		if (dir != to_dir)
			return dir ? -ENOTDIR : -EISDIR;
		if (to_dir && !list_empty(&to->v->entries))
			return -ENOTEMPTY;
	}
	if (dir && is_inside(to->parent, from->v))
		return -EINVAL;
	target = dir_find(to->parent, to->last);
	if (target)
		dir_remove(target);
	dir_remove(old); /* our path keeps the vnode alive */
	err = dir_add(to->parent, to->last, from->v);
	return err;
}

static long do_rename(int olddir, uintptr_t old, int newdir, uintptr_t new, unsigned flags)
{
	struct path from, to;
	long err;

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	err = user_path(olddir, old, LOOKUP_NOFOLLOW, &from);
	if (err)
		return err;
	err = user_path(newdir, new, LOOKUP_NOFOLLOW | LOOKUP_CREATE, &to);
	if (!err) {
		err = rename_checked(&from, &to, flags);
		path_put(&to);
	}
	path_put(&from);
	return err;
}

SYSCALL2(rename, uintptr_t, old, uintptr_t, new)
{
	return do_rename(AT_FDCWD, old, AT_FDCWD, new, 0);
}

SYSCALL4(renameat, int, olddir, uintptr_t, old, int, newdir, uintptr_t, new)
{
	return do_rename(olddir, old, newdir, new, 0);
}

SYSCALL5(renameat2, int, olddir, uintptr_t, old, int, newdir, uintptr_t, new, unsigned, flags)
{
	return do_rename(olddir, old, newdir, new, flags);
}

static long do_readlink(int dirfd, uintptr_t path, uintptr_t buf, size_t size)
{
	char target[PATH_LEN];
	struct path p;
	size_t n;
	long err;

	if ((int)size <= 0)
		return -EINVAL;
	err = user_path(dirfd, path, LOOKUP_NOFOLLOW, &p);
	if (err)
		return err;
	if ((p.v->mode & S_IFMT) != S_IFLNK)
		err = -EINVAL;
	else if (p.v->ops && p.v->ops->readlink)
		p.v->ops->readlink(p.v, target, sizeof(target));
	else
		strscpy(target, p.v->target, sizeof(target));
	path_put(&p);
	if (err)
		return err;
	n = min(strlen(target), size);
	return hal_copy_to_user(buf, target, n) ? -EFAULT : (long)n;
}

SYSCALL3(readlink, uintptr_t, path, uintptr_t, buf, size_t, size)
{
	return do_readlink(AT_FDCWD, path, buf, size);
}

SYSCALL4(readlinkat, int, dirfd, uintptr_t, path, uintptr_t, buf, size_t, size)
{
	return do_readlink(dirfd, path, buf, size);
}

/* What an initramfs init of Linux mounts is there already. */
SYSCALL2(mount, uintptr_t, source, uintptr_t, target)
{
	return path_exists(AT_FDCWD, target);
}

SYSCALL1(umount2, uintptr_t, target)
{
	return path_exists(AT_FDCWD, target);
}
