/* SPDX-License-Identifier: MIT */
/*
 * truncate, ftruncate, fallocate, fadvise, readahead: the size of a file, its holes, and pages
 * asked for ahead. Seals are looked at here, the work is the core's.
 */
#include "kernel.h"
#include "kernel/mount.h"
#include "kernel/swapfile.h"

/* f NULL: by name, where no seal can be. */
static long file_truncate(struct open_file *f, struct vnode *v, int64_t len)
{
	unsigned seals = f ? file_seals(f) : 0;
	uint64_t size;

	if (len < 0)
		return -EINVAL;
	if (vnode_type(v) == S_IFDIR)
		return -EISDIR;
	if (!v->contents || vnode_type(v) != S_IFREG)
		return -EINVAL;
	if (vnode_writable(v))
		return -EROFS;
	size = quire_inode_size(v->contents);
	if ((seals & F_SEAL_SHRINK && (uint64_t)len < size) ||
	    (seals & F_SEAL_GROW && (uint64_t)len > size))
		return -EPERM;
	/* It may grow: that moves nothing. */
	if ((uint64_t)len <= size && vnode_changeable(v))
		return -ETXTBSY;
	if ((uint64_t)len > size && file_size_room(f, (uint64_t)len - 1, 1) < 0)
		return -EFBIG;
	return quire_inode_truncate(v->contents, (uint64_t)len);
}

SYSCALL2(ftruncate, int, fd, int64_t, len)
{
	struct fd f = fdget(fd);
	long err;

	if (!f.file)
		return -EBADF;
	err = file_writable(f.file) ? file_truncate(f.file, f.file->v, len) : -EINVAL;
	fdput(f);
	return err;
}

SYSCALL2(truncate, uintptr_t, path, int64_t, len)
{
	struct path p;
	long err = user_path(AT_FDCWD, path, 0, &p);

	if (err)
		return err;
	err = p.v->contents ? quire_inode_get_write(p.v->contents) : 0;
	if (!err) {
		err = file_truncate(NULL, p.v, len);
		if (p.v->contents)
			quire_inode_put_write(p.v->contents);
	}
	path_put(&p);
	return err;
}

static long file_allocate(struct open_file *f, int mode, int64_t off, int64_t len)
{
	unsigned seals;

	if (!f || !file_writable(f))
		return -EBADF;
	if (off < 0 || len <= 0)
		return -EINVAL;
	if (vnode_type(f->v) == S_IFIFO)
		return -ESPIPE;
	if (vnode_type(f->v) != S_IFREG || !f->v->contents)
		return -ENODEV;
	if (vnode_changeable(f->v))
		return -ETXTBSY;
	seals = file_seals(f);
	if ((mode & FALLOC_FL_PUNCH_HOLE && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) ||
	    (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) && seals & F_SEAL_GROW &&
	     (uint64_t)(off + len) > quire_inode_size(f->v->contents)))
		return -EPERM;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && (uint64_t)(off + len) > quire_inode_size(f->v->contents) &&
	    file_size_room(f, (uint64_t)(off + len) - 1, 1) < 0)
		return -EFBIG;
	return quire_inode_fallocate(f->v->contents, mode, (uint64_t)off, (uint64_t)len);
}

SYSCALL4(fallocate, int, fd, int, mode, int64_t, off, int64_t, len)
{
	struct fd f = fdget(fd);
	long err = file_allocate(f.file, mode, off, len);

	fdput(f);
	return err;
}

static long file_advise(struct open_file *f, uint64_t off, uint64_t len, unsigned long advice)
{
	struct quire_file *qf;

	if (!f)
		return -EBADF;
	if (vnode_type(f->v) == S_IFIFO)
		return -ESPIPE;
	if ((int64_t)len < 0 || advice > POSIX_FADV_NOREUSE)
		return -EINVAL;
	qf = f->v->contents ? file_mapping(f) : NULL;
	return qf ? quire_file_advise(qf, off, len, (int)advice) : 0;
}

SYSCALL4(fadvise64, int, fd, uint64_t, off, uint64_t, len, unsigned long, advice)
{
	struct fd f = fdget(fd);
	long err = file_advise(f.file, off, len, advice);

	fdput(f);
	return err;
}

static long file_readahead(struct open_file *f, uint64_t off, uint64_t len)
{
	if (!f || !file_readable(f))
		return -EBADF;
	return f->v->contents ? quire_inode_populate(f->v->contents, off, len) : -EINVAL;
}

SYSCALL3(readahead, int, fd, uint64_t, off, uint64_t, len)
{
	struct fd f = fdget(fd);
	long err = file_readahead(f.file, off, len);

	fdput(f);
	return err;
}
