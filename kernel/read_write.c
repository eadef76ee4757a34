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
	if (vnode_type(f->v) == S_IFDIR)
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
	struct fd f = fdget(fd);
	long r = do_read(f.file, buf, n, f.file ? &f.file->pos : NULL);

	fdput(f);
	return r;
}

SYSCALL3(write, int, fd, uintptr_t, buf, size_t, n)
{
	struct fd f = fdget(fd);
	long r = do_write(f.file, buf, n, f.file ? &f.file->pos : NULL);

	fdput(f);
	return r;
}

/* What has positions: the console and pipes have none. */
static bool seekable(const struct open_file *f)
{
	unsigned type = vnode_type(f->v);

	return type == S_IFREG || type == S_IFDIR || type == S_IFBLK ||
	       (type == S_IFCHR && f->ops != &console_ops);
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
	struct fd f = fdget(fd);
	long r = check_positional(f.file, pos);

	if (!r)
		r = do_read(f.file, buf, n, &pos);
	fdput(f);
	return r;
}

SYSCALL4(pwrite64, int, fd, uintptr_t, buf, size_t, n, uint64_t, pos)
{
	struct fd f = fdget(fd);
	long r = check_positional(f.file, pos);

	if (!r)
		r = do_write(f.file, buf, n, &pos);
	fdput(f);
	return r;
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
	if (f->ops && f->ops->vector && !(file_flags(f) & O_PATH))
		return f->ops->vector(f, vec, count, op == do_write);
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
	struct fd f = fdget(fd);
	long r = do_vector(f.file, vec, count, f.file ? &f.file->pos : NULL, do_read);

	fdput(f);
	return r;
}

SYSCALL3(writev, int, fd, uintptr_t, vec, unsigned long, count)
{
	struct fd f = fdget(fd);
	long r = do_vector(f.file, vec, count, f.file ? &f.file->pos : NULL, do_write);

	fdput(f);
	return r;
}

SYSCALL4(preadv, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos)
{
	struct fd f = fdget(fd);
	long r = check_positional(f.file, pos);

	if (!r)
		r = do_vector(f.file, vec, count, &pos, do_read);
	fdput(f);
	return r;
}

SYSCALL4(pwritev, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos)
{
	struct fd f = fdget(fd);
	long r = check_positional(f.file, pos);

	if (!r)
		r = do_vector(f.file, vec, count, &pos, do_write);
	fdput(f);
	return r;
}

/* The position that off and whence mean, from the present one. */
static int64_t sought(uint64_t pos, uint64_t size, int64_t off, unsigned long whence)
{
	int64_t base = whence == SEEK_SET ? 0 : (int64_t)(whence == SEEK_CUR ? pos : size);

	return base + off;
}

/* To the next data or hole. Of what is no regular file nothing is known: -EINVAL. */
static long seek_extent(struct open_file *f, int64_t off, bool hole)
{
	int64_t to;

	if (!f->v->contents || vnode_type(f->v) != S_IFREG)
		return -EINVAL;
	to = off < 0 ? -ENXIO : quire_inode_seek(f->v->contents, (uint64_t)off, hole);
	if (to < 0)
		return (long)to;
	spin_lock(&f->pos_lock);
	f->pos = (uint64_t)to;
	spin_unlock(&f->pos_lock);
	return (long)to;
}

static long do_seek(struct open_file *f, int64_t off, unsigned long whence)
{
	uint64_t size;
	int64_t to;

	if (!f || file_flags(f) & O_PATH)
		return -EBADF;
	if (!seekable(f))
		return -ESPIPE;
	if (whence == SEEK_DATA || whence == SEEK_HOLE)
		return seek_extent(f, off, whence == SEEK_HOLE);
	if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
		return -EINVAL;
	size = f->v->contents ? quire_inode_size(f->v->contents) : blkdev_file_size(f->v);
	spin_lock(&f->pos_lock);
	to = sought(f->pos, size, off, whence);
	if (to >= 0)
		f->pos = (uint64_t)to;
	spin_unlock(&f->pos_lock);
	return to >= 0 ? (long)to : -EINVAL;
}

SYSCALL3(lseek, int, fd, int64_t, off, unsigned long, whence)
{
	struct fd f = fdget(fd);
	long r = do_seek(f.file, off, whence);

	fdput(f);
	return r;
}

/* ---- what writes without a lock over the copy use ---------------------------------------------- */

#define SMALL 256u /* bytes that go over the stack */

long write_by_pieces(struct open_file *f, uintptr_t buf, size_t n,
		     long (*pieces)(struct open_file *f, uintptr_t buf, size_t n, char *piece, size_t size))
{
	char small[SMALL], *page;
	long r;

	if (n <= sizeof(small))
		return pieces(f, buf, n, small, sizeof(small));
	page = quire_alloc_pages(0, 0);
	if (!page)
		return -ENOMEM;
	r = pieces(f, buf, n, page, PAGE_SIZE);
	quire_free_pages(page, 0);
	return r;
}
