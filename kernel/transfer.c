/* SPDX-License-Identifier: MIT */
/*
 * Bytes from one file to another without the program in between: sendfile, copy_file_range, splice, tee,
 * vmsplice. They go by way of a page of the kernel's; no page changes hands, so a page that was given away by
 * vmsplice is a copy, and changing it afterwards changes nothing.
 *
 * What comes out of a pipe stays there until the other side has it: of two that splice from one pipe at the
 * same time both may move the same bytes, of which only one's are taken out.
 */
#include "kernel.h"

#define SPLICE_F_NONBLOCK 2u
#define SPLICE_F_ALL	  15u
#define MOVE_MAX	  ((size_t)0x7ffff000) /* what Linux moves at most in one call */

/* One side: the file, and the position that it is used at: its own or the caller's. */
struct side {
	struct fd fd;
	struct open_file *f;
	uintptr_t user_off; /* where the caller's position is, 0: none */
	uint64_t off;
	uint64_t *pos;
};

static bool regular(const struct open_file *f)
{
	return vnode_type(f->v) == S_IFREG && f->v->contents;
}

/* -EBADF, -EFAULT, -EINVAL. The positions are looked at by use_offset(). */
static int side_get(struct side *s, int fd, uintptr_t user_off)
{
	*s = (struct side){.fd = fdget(fd), .user_off = user_off};
	s->f = s->fd.file;
	if (!s->f)
		return -EBADF;
	s->pos = &s->f->pos;
	return 0;
}

static int use_offset(struct side *s)
{
	if (!s->user_off)
		return 0;
	if (COPY_IN(s->off, s->user_off))
		return -EFAULT;
	s->pos = &s->off;
	return (int64_t)s->off < 0 ? -EINVAL : 0;
}

static long sides_put(struct side *in, struct side *out, long r)
{
	for (int i = 0; i < 2; i++) {
		struct side *s = i ? out : in;

		if (r > 0 && s->pos == &s->off && COPY_OUT(s->user_off, s->off))
			r = -EFAULT;
		fdput(s->fd);
	}
	return r;
}

/* Writes all of a piece; how much. */
static long put_piece(struct side *out, const char *piece, size_t n, bool nonblock)
{
	size_t done = 0;
	long r;

	while (done < n) {
		r = out->f->ops->write_kernel(out->f, piece + done, n - done, out->pos, nonblock);
		if (r <= 0)
			return done ? (long)done : r;
		done += (size_t)r;
	}
	return (long)done;
}

/* Up to n bytes. What the other side did not take goes back, where the position can. */
static long move_bytes(struct side *in, struct side *out, size_t n, bool nonblock)
{
	char *page = quire_alloc_pages(0, 0);
	size_t done = 0;
	long r = page ? 0 : -ENOMEM;

	while (page && done < n) {
		uint64_t before = pos_get(in->f, in->pos);
		size_t want = min(n - done, (size_t)PAGE_SIZE);
		long got = in->f->ops->read_kernel(in->f, page, want, in->pos, done || nonblock);
		struct range taken = {before, (size_t)max(got, 0l)};

		r = got > 0 ? put_piece(out, page, (size_t)got, nonblock) : got;
		done += (size_t)max(r, 0l);
		if (r <= 0 || r < got) {
			if (got > 0 && regular(in->f))
				pos_done(in->f, in->pos, &taken, r);
			break;
		}
	}
	if (page)
		quire_free_pages(page, 0);
	return done ? (long)done : r;
}

static long check_ends(const struct side *in, const struct side *out)
{
	if (!file_readable(in->f) || !file_writable(out->f))
		return -EBADF;
	return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static long do_sendfile(struct side *in, struct side *out, size_t n)
{
	long err = check_ends(in, out);

	if (!err && in->user_off && !regular(in->f))
		err = -ESPIPE;
	if (!err)
		err = use_offset(in);
	if (!err && !regular(in->f))
		err = -EINVAL;
	if (!err && (!in->f->ops->read_kernel || !out->f->ops || !out->f->ops->write_kernel ||
		     file_flags(out->f) & O_APPEND))
		err = -EINVAL;
	return err ? err : move_bytes(in, out, min(n, MOVE_MAX), file_flags(out->f) & O_NONBLOCK);
}

SYSCALL4(sendfile, int, out_fd, int, in_fd, uintptr_t, off, size_t, n)
{
	struct side in, out;
	long r = side_get(&in, in_fd, off), r2 = side_get(&out, out_fd, 0);

	if (!r)
		r = r2;
	if (!r)
		r = do_sendfile(&in, &out, n);
	return sides_put(&in, &out, r);
}

static bool overlap(const struct side *in, const struct side *out, size_t n)
{
	uint64_t a = pos_get(in->f, in->pos), b = pos_get(out->f, out->pos);

	return in->f->v == out->f->v && a < b + n && b < a + n;
}

static long do_copy_range(struct side *in, struct side *out, size_t n, unsigned flags)
{
	uint64_t at, size;
	long err = use_offset(in);

	if (!err)
		err = use_offset(out);
	if (!err && flags)
		err = -EINVAL;
	if (!err && (vnode_type(in->f->v) == S_IFDIR || vnode_type(out->f->v) == S_IFDIR))
		err = -EISDIR;
	if (!err && (!regular(in->f) || !regular(out->f)))
		err = -EINVAL;
	if (!err)
		err = check_ends(in, out);
	if (!err && file_flags(out->f) & O_APPEND)
		err = -EBADF;
	if (err)
		return err;
	at = pos_get(in->f, in->pos);
	size = quire_inode_size(in->f->v->contents);
	if (at + n < at || pos_get(out->f, out->pos) + n < n)
		return -EOVERFLOW;
	n = at < size ? (size_t)min((uint64_t)n, size - at) : 0;
	if (overlap(in, out, n))
		return -EINVAL;
	return move_bytes(in, out, min(n, MOVE_MAX), false);
}

SYSCALL6(copy_file_range, int, in_fd, uintptr_t, in_off, int, out_fd, uintptr_t, out_off, size_t, n,
	 unsigned, flags)
{
	struct side in, out;
	long r = side_get(&in, in_fd, in_off), r2 = side_get(&out, out_fd, out_off);

	if (!r)
		r = r2;
	if (!r)
		r = do_copy_range(&in, &out, n, flags);
	return sides_put(&in, &out, r);
}

/* ---- pipes ----------------------------------------------------------------------------------- */

/* What is in the pipe, after a wait for the first byte. to NULL: by its own position or the caller's. */
static long from_pipe(struct side *in, struct side *out, size_t n, bool nonblock, bool keep)
{
	char *page = quire_alloc_pages(0, 0);
	size_t done = 0, got;
	uint64_t taken;
	long r = page ? pipe_wait_data(in->f, nonblock) : -ENOMEM;

	while (r > 0 && done < n) {
		got = pipe_peek(in->f, keep ? done : 0, page, min(n - done, (size_t)PAGE_SIZE), &taken);
		if (!got)
			break;
		r = put_piece(out, page, got, nonblock || (done && is_pipe(out->f)));
		if (r <= 0)
			break;
		if (!keep)
			pipe_drop(in->f, taken, (size_t)r);
		done += (size_t)r;
		if ((size_t)r < got)
			break;
	}
	if (page)
		quire_free_pages(page, 0);
	return done ? (long)done : r;
}

static long pipe_to_pipe(struct side *in, struct side *out, size_t n, unsigned flags, bool keep)
{
	bool nonblock = flags & SPLICE_F_NONBLOCK ||
			(file_flags(in->f) | file_flags(out->f)) & O_NONBLOCK;
	long room;
	int there;

	if (same_pipe(in->f, out->f))
		return -EINVAL;
	there = pipe_wait_data(in->f, nonblock);
	if (there <= 0)
		return there;
	room = pipe_wait_room(out->f, nonblock);
	return room < 0 ? room : from_pipe(in, out, min(n, (size_t)room), nonblock, keep);
}

static long into_pipe(struct side *in, struct side *out, size_t n, unsigned flags)
{
	bool nonblock = flags & SPLICE_F_NONBLOCK || file_flags(out->f) & O_NONBLOCK;
	long room;

	if (!in->f->ops || !in->f->ops->read_kernel)
		return -EINVAL;
	room = pipe_wait_room(out->f, nonblock);
	return room < 0 ? room : move_bytes(in, out, min(n, (size_t)room), flags & SPLICE_F_NONBLOCK);
}

static long do_splice(struct side *in, struct side *out, size_t n, unsigned flags)
{
	long err = check_ends(in, out);

	if (err)
		return err;
	if ((is_pipe(in->f) && in->user_off) || (is_pipe(out->f) && out->user_off))
		return -ESPIPE;
	if (is_pipe(in->f) && is_pipe(out->f))
		return pipe_to_pipe(in, out, n, flags, false);
	if ((in->user_off && !regular(in->f)) || (out->user_off && !regular(out->f)))
		return -EINVAL;
	err = use_offset(in);
	if (!err)
		err = use_offset(out);
	if (err)
		return err;
	if (is_pipe(out->f))
		return into_pipe(in, out, n, flags);
	if (!is_pipe(in->f) || !out->f->ops || !out->f->ops->write_kernel || file_flags(out->f) & O_APPEND)
		return -EINVAL;
	return from_pipe(in, out, n, flags & SPLICE_F_NONBLOCK, false);
}

SYSCALL6(splice, int, in_fd, uintptr_t, in_off, int, out_fd, uintptr_t, out_off, size_t, n, unsigned, flags)
{
	struct side in, out;
	long r, r2;

	if (!n)
		return 0;
	if (flags & ~SPLICE_F_ALL)
		return -EINVAL;
	r = side_get(&in, in_fd, in_off);
	r2 = side_get(&out, out_fd, out_off);
	if (!r)
		r = r2;
	if (!r)
		r = do_splice(&in, &out, min(n, MOVE_MAX), flags);
	return sides_put(&in, &out, r);
}

/* The second pipe gets what is in the first, which keeps it. */
SYSCALL4(tee, int, in_fd, int, out_fd, size_t, n, unsigned, flags)
{
	struct side in, out;
	long r, r2;

	if (flags & ~SPLICE_F_ALL)
		return -EINVAL;
	if (!n)
		return 0;
	r = side_get(&in, in_fd, 0);
	r2 = side_get(&out, out_fd, 0);
	if (!r)
		r = r2;
	if (!r)
		r = check_ends(&in, &out);
	if (!r)
		r = is_pipe(in.f) && is_pipe(out.f) ? pipe_to_pipe(&in, &out, n, flags, true) : -EINVAL;
	return sides_put(&in, &out, r);
}

/* One piece of user memory into the pipe, as far as there is room. */
static long give_piece(struct open_file *f, const struct iovec *v, char *page, size_t room, bool nonblock)
{
	size_t done = 0, part;
	long r;

	while (done < v->len && done < room) {
		part = min(min(v->len - done, (uint64_t)PAGE_SIZE), (uint64_t)(room - done));
		if (hal_copy_from_user(page, v->base + done, part))
			return done ? (long)done : -EFAULT;
		r = f->ops->write_kernel(f, page, part, NULL, nonblock);
		if (r <= 0)
			return done ? (long)done : r;
		done += (size_t)r;
	}
	return (long)done;
}

static long give_user(struct open_file *f, uintptr_t vec, unsigned long count, bool nonblock)
{
	long room = pipe_wait_room(f, nonblock), total = 0, r;
	char *page = room > 0 ? quire_alloc_pages(0, 0) : NULL;
	struct iovec v;

	if (room < 0)
		return room;
	if (!page)
		return -ENOMEM;
	for (; count-- && total < room; vec += sizeof(v)) {
		r = COPY_IN(v, vec) ? -EFAULT : give_piece(f, &v, page, (size_t)(room - total), nonblock);
		if (r < 0) {
			total = total ? total : r;
			break;
		}
		total += r;
		if ((uint64_t)r < v.len)
			break;
	}
	quire_free_pages(page, 0);
	return total;
}

static long take_user(struct open_file *f, uintptr_t vec, unsigned long count, bool nonblock)
{
	struct iovec v;
	long total = 0, r;
	int there;

	for (; count--; vec += sizeof(v)) {
		if (COPY_IN(v, vec))
			return total ? total : -EFAULT;
		if (!v.len)
			continue;
		there = pipe_wait_data(f, nonblock || total);
		r = there <= 0 ? there : f->ops->read(f, v.base, v.len, NULL);
		if (r <= 0)
			return total ? total : r;
		total += r;
		if ((uint64_t)r < v.len)
			break;
	}
	return total;
}

SYSCALL4(vmsplice, int, fd, uintptr_t, vec, unsigned long, count, unsigned, flags)
{
	bool nonblock = flags & SPLICE_F_NONBLOCK;
	struct fd f;
	long r;

	if (flags & ~SPLICE_F_ALL)
		return -EINVAL;
	f = fdget(fd);
	if (!f.file)
		return -EBADF;
	if (count > MAX_IOV)
		r = -EINVAL;
	else if (!count)
		r = 0;
	else if (!is_pipe(f.file))
		r = -EBADF;
	else
		r = file_writable(f.file) ? give_user(f.file, vec, count, nonblock)
					  : take_user(f.file, vec, count, nonblock);
	fdput(f);
	return r;
}
