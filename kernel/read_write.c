/* SPDX-License-Identifier: MIT */
/*
 * read, write, their p and v variants, lseek: by descriptor, at the file's own position or at one
 * that is given, in one piece or in many, and moving the position.
 */
#include "kernel.h"

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

long each_piece(uintptr_t vec, unsigned long count, uint64_t *pos,
		long (*op)(void *ctx, uintptr_t buf, size_t n, uint64_t *pos), void *ctx)
{
	struct iovec iov;
	long total = 0, r;

	for (; count--; vec += sizeof(iov)) {
		if (COPY_IN(iov, vec))
			return total ? total : -EFAULT;
		if (!iov.len)
			continue;
		if ((int64_t)iov.len < 0)
			return total ? total : -EINVAL;
		r = op(ctx, iov.base, iov.len, pos);
		if (r < 0)
			return total ? total : r;
		total += r;
		if ((uint64_t)r < iov.len)
			break;
	}
	return total;
}

static long read_piece(void *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return do_read(f, buf, n, pos);
}

static long write_piece(void *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return do_write(f, buf, n, pos);
}

/* how: see struct file_ops.pieces. */
static long do_vector(struct open_file *f, uintptr_t vec, unsigned long count, uint64_t *pos, unsigned how, bool write)
{
	long r;

	if (!f)
		return -EBADF;
	if (count > MAX_IOV)
		return -EINVAL;
	if (f->ops && f->ops->vector && !(file_flags(f) & O_PATH))
		return f->ops->vector(f, vec, count, write);
	if (f->ops && f->ops->pieces && (write ? file_writable(f) : file_readable(f)))
		return f->ops->pieces(f, vec, count, pos, how, write);
	r = each_piece(vec, count, pos, write ? write_piece : read_piece, f);
	return r > 0 && write && how & O_DSYNC && blkdev_file_sync(f->v) ? -EIO : r;
}

/* RWF_* as what a file opened so would do, in *how. Files that could be asked not to wait there are none. */
static int rwf_how(unsigned rwf, unsigned *how)
{
	if (rwf & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND))
		return -EOPNOTSUPP;
	*how = (rwf & RWF_APPEND ? O_APPEND : 0) | (rwf & RWF_DSYNC ? O_DSYNC : 0) | (rwf & RWF_SYNC ? O_SYNC : 0);
	return 0;
}

/* pos -1: where the file's own is. */
static long do_vector2(int fd, uintptr_t vec, unsigned long count, uint64_t pos, unsigned rwf, bool write)
{
	struct fd f = fdget(fd);
	unsigned how;
	long r = pos == UINT64_MAX ? f.file ? 0 : -EBADF : check_positional(f.file, pos);

	if (!r && !(write ? file_writable(f.file) : file_readable(f.file)))
		r = -EBADF;
	if (!r)
		r = rwf_how(rwf, &how);
	if (!r)
		r = do_vector(f.file, vec, count, pos == UINT64_MAX ? &f.file->pos : &pos, how, write);
	fdput(f);
	return r;
}

SYSCALL3(readv, int, fd, uintptr_t, vec, unsigned long, count)
{
	struct fd f = fdget(fd);
	long r = do_vector(f.file, vec, count, f.file ? &f.file->pos : NULL, 0, false);

	fdput(f);
	return r;
}

SYSCALL3(writev, int, fd, uintptr_t, vec, unsigned long, count)
{
	struct fd f = fdget(fd);
	long r = do_vector(f.file, vec, count, f.file ? &f.file->pos : NULL, 0, true);

	fdput(f);
	return r;
}

SYSCALL4(preadv, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos)
{
	struct fd f = fdget(fd);
	long r = check_positional(f.file, pos);

	if (!r)
		r = do_vector(f.file, vec, count, &pos, 0, false);
	fdput(f);
	return r;
}

SYSCALL4(pwritev, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos)
{
	struct fd f = fdget(fd);
	long r = check_positional(f.file, pos);

	if (!r)
		r = do_vector(f.file, vec, count, &pos, 0, true);
	fdput(f);
	return r;
}

SYSCALL6(preadv2, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos, uint64_t, high, unsigned, rwf)
{
	return do_vector2(fd, vec, count, pos, rwf, false);
}

SYSCALL6(pwritev2, int, fd, uintptr_t, vec, unsigned long, count, uint64_t, pos, uint64_t, high, unsigned, rwf)
{
	return do_vector2(fd, vec, count, pos, rwf, true);
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
