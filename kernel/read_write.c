/* SPDX-License-Identifier: MIT */
/*
 * read, write, their p and v variants, lseek: by descriptor, at the file's own position or at one
 * that is given, in one piece or in many, and moving the position.
 */
#include "kernel.h"

#define MAX_RW_COUNT ((size_t)0x7ffff000) /* what Linux moves at most in one call */

/* The checks that every kind of reading shares. */
static long do_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	if (!f || !file_readable(f))
		return -EBADF;
	if ((f->v->mode & S_IFMT) == S_IFDIR)
		return -EISDIR;
	if (!f->ops || !f->ops->read)
		return -EINVAL;
	return f->ops->read(f, buf, min(n, MAX_RW_COUNT), pos);
}

static long do_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	if (!f || !file_writable(f))
		return -EBADF;
	if (!f->ops || !f->ops->write)
		return -EINVAL;
	return f->ops->write(f, buf, min(n, MAX_RW_COUNT), pos);
}

SYSCALL3(read, int, fd, uintptr_t, buf, size_t, n)
{
	struct open_file *f = fd_file(fd);

	return do_read(f, buf, n, f ? &f->pos : NULL);
}

SYSCALL3(write, int, fd, uintptr_t, buf, size_t, n)
{
	struct open_file *f = fd_file(fd);

	return do_write(f, buf, n, f ? &f->pos : NULL);
}

/* What has positions: the console and pipes have none. */
static bool seekable(const struct open_file *f)
{
	unsigned type = f->v->mode & S_IFMT;

	return type == S_IFREG || type == S_IFDIR || (type == S_IFCHR && f->ops != &console_ops);
}

static long check_positional(const struct open_file *f, uint64_t pos)
{
	if (!f)
		return -EBADF;
	if ((int64_t)pos < 0)
		return -EINVAL;
	return seekable(f) ? 0 : -ESPIPE;
}

SYSCALL4(pread64, int, fd, uintptr_t, buf, size_t, n, uint64_t, pos)
{
	struct open_file *f = fd_file(fd);
	long err = check_positional(f, pos);

	return err ? err : do_read(f, buf, n, &pos);
}

SYSCALL4(pwrite64, int, fd, uintptr_t, buf, size_t, n, uint64_t, pos)
{
	struct open_file *f = fd_file(fd);
	long err = check_positional(f, pos);

	return err ? err : do_write(f, buf, n, &pos);
}

/* Reads or writes the pieces of an iovec until one is cut short. */
static long do_vector(struct open_file *f, uintptr_t vec, unsigned long count, uint64_t *pos,
		      long (*op)(struct open_file *, uintptr_t, size_t, uint64_t *))
{
	struct iovec iov;
	long total = 0, r;

	if (!f)
		return -EBADF;
	if (count > MAX_IOV)
		return -EINVAL;
	for (; count--; vec += sizeof(iov)) {
		if (COPY_IN(iov, vec))
			return total ? total : -EFAULT;
		if (!iov.len)
			continue;
		if ((int64_t)iov.len < 0)
			return total ? total : -EINVAL;
		r = op(f, iov.base, iov.len, pos);
		if (r < 0)
			return total ? total : r;
		total += r;
		if ((uint64_t)r < iov.len)
			break;
	}
	return total;
}

SYSCALL3(readv, int, fd, uintptr_t, vec, unsigned long, count)
{
	struct open_file *f = fd_file(fd);

	return do_vector(f, vec, count, f ? &f->pos : NULL, do_read);
}

SYSCALL3(writev, int, fd, uintptr_t, vec, unsigned long, count)
{
	struct open_file *f = fd_file(fd);

	return do_vector(f, vec, count, f ? &f->pos : NULL, do_write);
}

SYSCALL4(preadv, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos)
{
	struct open_file *f = fd_file(fd);
	long err = check_positional(f, pos);

	return err ? err : do_vector(f, vec, count, &pos, do_read);
}

SYSCALL4(pwritev, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos)
{
	struct open_file *f = fd_file(fd);
	long err = check_positional(f, pos);

	return err ? err : do_vector(f, vec, count, &pos, do_write);
}

SYSCALL3(lseek, int, fd, int64_t, off, unsigned long, whence)
{
	struct open_file *f = fd_file(fd);
	int64_t base;

	if (!f || f->flags & O_PATH)
		return -EBADF;
	if (!seekable(f))
		return -ESPIPE;
	if (whence == SEEK_SET)
		base = 0;
	else if (whence == SEEK_CUR)
		base = (int64_t)f->pos;
	else if (whence == SEEK_END)
		base = f->v->contents ? (int64_t)quire_inode_size(f->v->contents) : 0;
	else
		return -EINVAL;
	if (base + off < 0)
		return -EINVAL;
	f->pos = (uint64_t)(base + off);
	return (long)f->pos;
}

SYSCALL2(sendfile, int, out_fd, int, in_fd)
{
	struct open_file *out = fd_file(out_fd), *in = fd_file(in_fd);

	if (!out || !in || !file_writable(out) || !file_readable(in))
		return -EBADF;
	return -EINVAL; /* programs fall back to read and write */
}
