/* SPDX-License-Identifier: MIT */
/*
 * getdents64, getcwd, chdir: directories as a program reads them, and the working directory.
 */
#include "kernel.h"
#include "kernel/mount.h"

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

/* Entry i of the list, which begins with *k; false: *k is the first one behind the list. */
static bool listed_entry(struct vnode *dir, uint64_t i, uint64_t *k, uint64_t *ino, unsigned *mode,
			 char name[ENTRY_NAME])
{
	bool found = false;
	struct dirent *d;

	mutex_lock(&vfs_mutex);
	list_for_each_entry(d, &dir->entries, link) {
		if ((*k)++ != i)
			continue;
		*ino = d->v->ino;
		*mode = READ_ONCE(d->v->mode);
		strscpy(name, d->name, ENTRY_NAME);
		found = true;
		break;
	}
	mutex_unlock(&vfs_mutex);
	return found;
}

/* Entry i of dir: ".", "..", the list, then what is made on demand. */
static bool entry_at(struct vnode *dir, uint64_t i, uint64_t *ino, unsigned *mode,
		     char name[ENTRY_NAME])
{
	uint64_t k = 2;

	*ino = dir->ino;
	*mode = S_IFDIR;
	if (i < 2) {
		strscpy(name, i ? ".." : ".", 3);
		return true;
	}
	if (listed_entry(dir, i, &k, ino, mode, name))
		return true;
	*ino = i;
	return dir->ops && dir->ops->readdir &&
	       dir->ops->readdir(dir, (unsigned)(i - k), name, mode);
}

/* A position is an entry's place in the list: entries that go meanwhile shift those behind. An entry
 * that another thread has read since the position was looked at is not ours. */
static long read_entries(struct open_file *f, struct dir_out *o)
{
	char name[ENTRY_NAME];
	size_t before;
	uint64_t ino, at;
	unsigned mode;
	int r;

	if (!f || file_flags(f) & O_PATH)
		return -EBADF;
	if (vnode_type(f->v) != S_IFDIR)
		return -ENOTDIR;
	r = dir_load(f->v);
	if (r)
		return r;
	for (;;) {
		at = pos_get(f, &f->pos);
		before = o->used;
		if (!entry_at(f->v, at, &ino, &mode, name))
			return (long)o->used;
		r = put_dirent(o, ino, at + 1, mode, name);
		if (r <= 0)
			return r && !o->used ? r : (long)o->used;
		if (!pos_move(f, at, at + 1))
			o->used = before;
	}
}

static long do_getdents(int fd, uintptr_t buf, size_t room, bool old)
{
	struct dir_out o = {.buf = buf, .room = room, .old = old};
	struct fd f = fdget(fd);
	long r = read_entries(f.file, &o);

	fdput(f);
	return r;
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
	char s[PATH_LEN];
	size_t n;

	vnode_put(fs_cwd(current->proc->fs, s));
	n = strlen(s) + 1;
	if (size < n)
		return -ERANGE;
	return hal_copy_to_user(buf, s, n) ? -EFAULT : (long)n;
}

SYSCALL1(chdir, uintptr_t, path)
{
	struct path p;
	long err = user_path(AT_FDCWD, path, 0, &p);

	if (err)
		return err;
	err = fs_set_cwd(current->proc->fs, p.v, p.full);
	path_put(&p);
	return err;
}

SYSCALL1(fchdir, int, fd)
{
	struct fd f = fdget(fd);
	long err = f.file ? fs_set_cwd(current->proc->fs, f.file->v, f.file->path) : -EBADF;

	fdput(f);
	return err;
}
