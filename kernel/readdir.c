/* SPDX-License-Identifier: MIT */
/*
 * getdents64, getcwd, chdir: directories as a program reads them, and the working directory.
 */
#include "kernel.h"

/* A record: inode, next position, its length, the type (first in the old form, last), the name. */
#define REC_NEXT 8
#define REC_LEN	 16
#define REC_OLD_NAME 18
#define REC_TYPE 18
#define REC_NAME 19
#define REC_MAX	 300 /* with the longest name */
#define ENTRY_NAME 256

struct dir_out {
	uintptr_t buf;
	size_t room, used;
	bool old; /* getdents: the type comes last */
};

/* 1: written, 0: no room. */
static int put_dirent(struct dir_out *o, uint64_t ino, uint64_t next, unsigned mode,
		      const char *name)
{
	char rec[REC_MAX] = {0};
	size_t n = strlen(name), used = (o->old ? REC_OLD_NAME + 1 : REC_NAME) + n + 1;
	size_t len = ALIGN_UP(used, sizeof(uint64_t));
	uint16_t reclen = (uint16_t)len;
	char type = (char)((mode & S_IFMT) >> 12);

	if (len > o->room - o->used)
		return o->used ? 0 : -EINVAL;
	memcpy(rec, &ino, sizeof(ino));
	memcpy(rec + REC_NEXT, &next, sizeof(next));
	memcpy(rec + REC_LEN, &reclen, sizeof(reclen));
	if (o->old) {
		memcpy(rec + REC_OLD_NAME, name, n);
		rec[len - 1] = type;
	} else {
		rec[REC_TYPE] = type;
		memcpy(rec + REC_NAME, name, n);
	}
	if (hal_copy_to_user(o->buf + o->used, rec, len))
		return -EFAULT;
	o->used += len;
	return 1;
}

/* Entry i of dir: ".", "..", the list, then what is made on demand. */
static bool entry_at(struct vnode *dir, uint64_t i, uint64_t *ino, unsigned *mode,
		     char name[ENTRY_NAME])
{
	struct dirent *d;
	uint64_t k = 2;

	*ino = dir->ino;
	*mode = S_IFDIR;
	if (i < 2) {
		strscpy(name, i ? ".." : ".", 3);
		return true;
	}
	list_for_each_entry(d, &dir->entries, link) {
		if (k++ != i)
			continue;
		*ino = d->v->ino;
		*mode = d->v->mode;
		strscpy(name, d->name, ENTRY_NAME);
		return true;
	}
	*ino = i;
	return dir->ops && dir->ops->readdir &&
	       dir->ops->readdir(dir, (unsigned)(i - k), name, mode);
}

/* A position is an entry's place in the list: entries that go meanwhile shift those behind. */
static long do_getdents(int fd, uintptr_t buf, size_t room, bool old)
{
	struct dir_out o = {.buf = buf, .room = room, .old = old};
	struct open_file *f = fd_file(fd);
	char name[ENTRY_NAME];
	uint64_t ino;
	unsigned mode;
	int r;

	if (!f || f->flags & O_PATH)
		return -EBADF;
	if ((f->v->mode & S_IFMT) != S_IFDIR)
		return -ENOTDIR;
	while (entry_at(f->v, f->pos, &ino, &mode, name)) {
		r = put_dirent(&o, ino, f->pos + 1, mode, name);
		if (r < 0)
			return o.used ? (long)o.used : r;
		if (!r)
			break;
		f->pos++;
	}
	return (long)o.used;
}

SYSCALL3(getdents64, int, fd, uintptr_t, buf, size_t, room)
{
	return do_getdents(fd, buf, room, false);
}

SYSCALL3(getdents, int, fd, uintptr_t, buf, size_t, room)
{
	return do_getdents(fd, buf, room, true);
}

SYSCALL2(getcwd, uintptr_t, buf, size_t, size)
{
	const char *s = current->proc->fs->cwd_path;
	size_t n = strlen(s) + 1;

	if (size < n)
		return -ERANGE;
	return hal_copy_to_user(buf, s, n) ? -EFAULT : (long)n;
}

/* The working directory keeps its path in words, for getcwd. */
static long change_dir(struct vnode *v, const char *full)
{
	struct fs_context *fs = current->proc->fs;

	if ((v->mode & S_IFMT) != S_IFDIR)
		return -ENOTDIR;
	vnode_get(v);
	vnode_put(fs->cwd);
	fs->cwd = v;
	strscpy(fs->cwd_path, full, sizeof(fs->cwd_path));
	return 0;
}

SYSCALL1(chdir, uintptr_t, path)
{
	struct path p;
	long err = user_path(AT_FDCWD, path, 0, &p);

	if (err)
		return err;
	err = change_dir(p.v, p.full);
	path_put(&p);
	return err;
}

SYSCALL1(fchdir, int, fd)
{
	struct open_file *f = fd_file(fd);

	return f ? change_dir(f->v, f->path) : -EBADF;
}
