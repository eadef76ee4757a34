/* SPDX-License-Identifier: MIT */
/*
 * mkdir, rmdir, link, symlink, unlink, rename, readlink: changing and reading names. The tree
 * itself and how a path is resolved are vfs.c's.
 */
#include "kernel.h"
#include "kernel/mount.h"
#include "kernel/swapfile.h"

/* Enters a new vnode under a name that must not exist yet: v, taken over, or one that is made for it. */
static long enter_new(int dirfd, uintptr_t path, unsigned mode, const char *target, uint64_t rdev,
		      struct vnode *v)
{
	struct path p;
	int err = user_path(dirfd, path, LOOKUP_CREATE | LOOKUP_NOFOLLOW, &p);

	if (!err && p.v)
		err = -EEXIST;
	if (!err && p.parent->ops)
		err = -EACCES;
	if (!err && !v)
		v = vnode_make(p.parent, mode, target, rdev, &err);
	if (!err)
		err = dir_add(p.parent, p.last, v);
	path_put(&p);
	vnode_put(v);
	return err;
}

static long do_symlink(uintptr_t target, int dirfd, uintptr_t path)
{
	char buf[PATH_LEN];
	long n = copy_string(buf, target, sizeof(buf));

	if (n < 0)
		return n;
	return n ? enter_new(dirfd, path, S_IFLNK | 0777, buf, 0, NULL) : -ENOENT;
}

static long do_mkdir(int dirfd, uintptr_t path, unsigned mode)
{
	return enter_new(dirfd, path, S_IFDIR | (mode & MODE_BITS & ~fs_umask(current->proc->fs)), NULL, 0,
			 NULL);
}

SYSCALL2(mkdir, uintptr_t, path, unsigned, mode)
{
	return do_mkdir(AT_FDCWD, path, mode);
}

SYSCALL3(mkdirat, int, dirfd, uintptr_t, path, unsigned, mode)
{
	return do_mkdir(dirfd, path, mode);
}

/* A file, a FIFO, a socket that nobody has, or a device's node: those that there are keep their drivers,
 * another leads nowhere. */
static long do_mknod(int dirfd, uintptr_t path, unsigned mode, unsigned dev)
{
	unsigned type = mode & S_IFMT ? mode & S_IFMT : S_IFREG;

	if (type == S_IFDIR)
		return -EPERM;
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR && type != S_IFBLK)
		return -EINVAL;
	return enter_new(dirfd, path, type | (mode & MODE_BITS & ~fs_umask(current->proc->fs)), NULL, dev, NULL);
}

SYSCALL3(mknod, uintptr_t, path, unsigned, mode, unsigned, dev)
{
	return do_mknod(AT_FDCWD, path, mode, dev);
}

SYSCALL4(mknodat, int, dirfd, uintptr_t, path, unsigned, mode, unsigned, dev)
{
	return do_mknod(dirfd, path, mode, dev);
}

SYSCALL2(symlink, uintptr_t, target, uintptr_t, path)
{
	return do_symlink(target, AT_FDCWD, path);
}

SYSCALL3(symlinkat, uintptr_t, target, int, dirfd, uintptr_t, path)
{
	return do_symlink(target, dirfd, path);
}

static long do_link(int olddir, uintptr_t old, int newdir, uintptr_t new, unsigned flags)
{
	struct path p;
	long err = user_path(olddir, old, flags & AT_SYMLINK_FOLLOW ? 0 : LOOKUP_NOFOLLOW, &p);

	if (err)
		return err;
	if (vnode_type(p.v) == S_IFDIR) {
		err = -EPERM;
	} else {
		vnode_get(p.v);
		err = enter_new(newdir, new, 0, NULL, 0, p.v);
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

/* What a name that leads to v refuses to have removed. vfs_mutex. */
static int may_remove(struct vnode *v, bool dir)
{
	bool is_dir = vnode_type(v) == S_IFDIR;

	if (vnode_changeable(v))
		return -EPERM;
	if (dir != is_dir)
		return dir ? -ENOTDIR : -EISDIR;
	return dir && (!list_empty(&v->entries) || v->ops) ? -ENOTEMPTY : 0;
}

/* A path that was resolved names no entry: the root, ".", or what is made on demand; else the entry
 * has been removed since. */
static bool names_no_entry(const struct path *p)
{
	return p->parent->ops || !strcmp(p->last, ".");
}

/* The vnode lives on while it is open or mapped. */
static long do_unlink(int dirfd, uintptr_t path, bool dir)
{
	struct dirent *d;
	struct path p;
	long err = user_path(dirfd, path, LOOKUP_NOFOLLOW, &p);

	if (err)
		return err;
	err = dir_load(p.v);
	mutex_lock(&vfs_mutex);
	d = dir_find(p.parent, p.last);
	if (err)
		d = NULL;
	else if (d)
		err = d->v->mounted ? -EBUSY : may_remove(d->v, dir);
	else if (names_no_entry(&p))
		err = dir ? -EBUSY : -EPERM;
	else
		err = -ENOENT;
	if (!err)
		err = vnode_writable(p.parent);
	if (!err && p.parent->mnt)
		err = p.parent->mnt->ops->unlink(p.parent, p.last, d->v);
	if (!err)
		dir_remove(d);
	mutex_unlock(&vfs_mutex);
	if (!err)
		dirent_free(d);
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

/* Is v dir, or below it? vfs_mutex. */
static bool is_inside(const struct vnode *v, const struct vnode *dir)
{
	for (;; v = v->parent) {
		if (v == dir)
			return true;
		if (!v->parent || v->parent == v)
			return false;
	}
}

/* May v take the place of what the new name leads to now (NULL: nothing)? */
static int may_replace(struct vnode *v, struct vnode *there, unsigned flags)
{
	bool dir = vnode_type(v) == S_IFDIR, to_dir;

	if (vnode_changeable(v))
		return -EPERM;
	if (!there)
		return 0;
	if (flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (vnode_changeable(there))
		return -EPERM;
	to_dir = vnode_type(there) == S_IFDIR;
	if (dir != to_dir)
		return dir ? -ENOTDIR : -EISDIR;
	return to_dir && !list_empty(&there->entries) ? -ENOTEMPTY : 0;
}

/* What the names lead to now counts, not what was there when the paths were resolved. */
static int may_rename(const struct path *from, const struct path *to, const struct dirent *old,
		      const struct dirent *target, unsigned flags)
{
	int err;

	if (to->parent->ops || from->parent->ops)
		return -EACCES;
	if (!strcmp(from->last, ".") || !strcmp(to->last, "."))
		return -EBUSY;
	if (!old || dir_is_gone(to->parent))
		return -ENOENT;
	if (from->parent->mnt != to->parent->mnt)
		return -EXDEV;
	if (old->v->mounted || (target && target->v->mounted))
		return -EBUSY;
	err = may_replace(old->v, target ? target->v : NULL, flags);
	return !err && is_inside(to->parent, old->v) ? -EINVAL : err;
}

/* Everything that can fail comes first: the new entry is there already. Entries that went are left in
 * gone[], to be freed. */
static long rename_locked(const struct path *from, const struct path *to, struct dirent *entry,
			  unsigned flags, struct dirent *gone[2])
{
	struct dirent *old = dir_find(from->parent, from->last);
	struct dirent *target = dir_find(to->parent, to->last);
	int err;

	if (old && target && old->v == target->v)
		return 0;
	err = may_rename(from, to, old, target, flags);
	if (err)
		return err;
	if (old->v != entry->v) /* another file has got the name since: as if we had come later */
		return -EAGAIN;
	err = vnode_writable(to->parent);
	if (!err && to->parent->mnt)
		err = to->parent->mnt->ops->rename(from->parent, from->last, to->parent, to->last, old->v,
						   target ? target->v : NULL);
	if (err)
		return err;
	if (target)
		dir_remove(target);
	dir_remove(old);
	dir_enter(to->parent, entry);
	gone[0] = old;
	gone[1] = target;
	return 1;
}

/* 0, an errno, or -EAGAIN: the paths are to be resolved again. */
static long rename_once(struct path *from, struct path *to, unsigned flags)
{
	struct dirent *entry = dirent_new(to->last, from->v), *gone[2] = {NULL, NULL};
	long r;

	if (!entry)
		return -ENOMEM;
	mutex_lock(&vfs_mutex);
	r = rename_locked(from, to, entry, flags, gone);
	mutex_unlock(&vfs_mutex);
	if (r != 1)
		dirent_free(entry);
	dirent_free(gone[0]);
	dirent_free(gone[1]);
	return r < 0 ? r : 0;
}

static long do_rename(int olddir, uintptr_t old, int newdir, uintptr_t new, unsigned flags)
{
	struct path from, to;
	long err;

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	do {
		err = user_path(olddir, old, LOOKUP_NOFOLLOW, &from);
		if (err)
			return err;
		err = user_path(newdir, new, LOOKUP_NOFOLLOW | LOOKUP_CREATE, &to);
		if (!err) {
			err = to.v ? dir_load(to.v) : 0; /* is it empty? */
			if (!err)
				err = rename_once(&from, &to, flags);
			path_put(&to);
		}
		path_put(&from);
	} while (err == -EAGAIN);
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
	if (vnode_type(p.v) != S_IFLNK)
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
