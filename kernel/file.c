/* SPDX-License-Identifier: MIT */
/*
 * Open files (struct open_file): creation, reference counts, what a mapping of one keeps, and
 * reading and writing of regular ones through the page cache of the core. Everything else (devices,
 * pipes, /proc) brings its file_ops. Descriptors are fd.c's, names open.c's.
 */
#include "kernel.h"
#include "kernel/swapfile.h"

/* Takes a reference of its own to v. NULL: no memory. */
struct open_file *file_alloc(struct vnode *v, const char *path, unsigned flags)
{
	size_t n = strlen(path) + 1;
	struct open_file *f = quire_kmalloc(sizeof(*f) + n, QUIRE_GFP_ZERO);

	if (!f)
		return NULL;
	memcpy(f->path, path, n);
	atomic_set(&f->refs, 1);
	spin_lock_init_rank(&f->pos_lock, "pos", RANK_FILES);
	mutex_init_named(&f->lock, "open_file");
	INIT_LIST_HEAD(&f->watched);
	f->flags = flags;
	f->v = v;
	f->ops = v->fops;
	f->memfd = v->memfd;
	vnode_get(v);
	return f;
}

void file_get(struct open_file *f)
{
	ASSERT(atomic_read(&f->refs) > 0);
	atomic_inc(&f->refs);
}

bool file_get_alive(struct open_file *f)
{
	return atomic_inc_not_zero(&f->refs);
}

struct open_file *anon_file(const char *path, const struct file_ops *ops, void *priv, unsigned flags)
{
	struct vnode *v = vnode_new(0600);
	struct open_file *f;

	if (!v)
		return NULL;
	v->nlink = 1;
	f = file_alloc(v, path, flags);
	vnode_put(v);
	if (!f)
		return NULL;
	f->ops = ops;
	f->priv = priv;
	return f;
}

int file_install(struct open_file *f, unsigned flags)
{
	int fd = fd_add(f, flags & O_CLOEXEC);

	if (fd < 0)
		file_put(f);
	return fd;
}

/* The last reference closes: the file's own state, then the mapping's hold, then the vnode. */
void file_put(struct open_file *f)
{
	if (!atomic_dec_and_test(&f->refs))
		return;
	if (unlikely(!list_empty(&f->watched)))
		epoll_file_gone(f);
	locks_file_gone(f);
	if (f->ops && f->ops->release)
		f->ops->release(f);
	if (f->mm)
		quire_mm_drop(f->mm);
	if (f->qf)
		quire_file_put(f->qf);
	if (f->writes)
		quire_inode_put_write(f->v->contents);
	vnode_put(f->v);
	quire_kfree(f);
}

bool file_readable(const struct open_file *f)
{
	return !(file_flags(f) & O_PATH) && (file_flags(f) & O_ACCMODE) != O_WRONLY;
}

bool file_writable(const struct open_file *f)
{
	return !(file_flags(f) & O_PATH) && (file_flags(f) & O_ACCMODE) != 0;
}

static unsigned mapping_mode(const struct open_file *f)
{
	unsigned mode = 0;

	mode |= file_readable(f) ? QUIRE_FMODE_READ | QUIRE_FMODE_EXEC : 0;
	mode |= file_writable(f) ? QUIRE_FMODE_WRITE : 0;
	mode |= file_flags(f) & O_PATH ? QUIRE_FMODE_PATH : 0;
	if (f->ops == &zero_ops)
		mode |= QUIRE_FMODE_ZERO;
	else if (f->ops != &regular_ops)
		mode |= QUIRE_FMODE_NOMMAP;
	return mode;
}

/* What is not regular gets something without pages that the file can hang on. */
static struct quire_file *make_mapping(struct open_file *f)
{
	struct quire_inode *none = NULL;
	struct quire_file *qf;

	if (!f->v->contents) {
		none = quire_inode_create(NULL, f->v, f->v->ino, f->v->dev, 0);
		if (!none)
			return NULL;
	}
	qf = quire_file_open(none ? none : f->v->contents, mapping_mode(f), f->path);
	if (none)
		quire_inode_put(none);
	return qf;
}

bool file_may_be_direct(const struct open_file *f)
{
	if (f->v->mnt && vnode_type(f->v) == S_IFDIR)
		return true;
	return (f->ops == &regular_ops && f->v->contents && quire_inode_is_direct(f->v->contents)) || blkdev_of(f->v);
}

/* Made when first asked for: most files are never mapped. Of two threads that make it, the first
 * one's stays. */
struct quire_file *file_mapping(struct open_file *f)
{
	struct quire_file *qf = atomic_load_of(&f->qf), *first;

	if (qf)
		return qf;
	qf = make_mapping(f);
	if (!qf)
		return NULL;
	first = atomic_cmpxchg_of(&f->qf, NULL, qf);
	if (!first)
		return qf;
	quire_file_put(qf);
	return first;
}

/* Only a memfd has any. */
unsigned file_seals(struct open_file *f)
{
	struct quire_file *qf = f->memfd ? file_mapping(f) : NULL;

	return qf ? quire_file_seals(qf) : 0;
}

/* ---- positions ------------------------------------------------------------------------------- */

/*
 * A read or a write takes its piece before it copies: no lock may be held over the copy, and two
 * threads that share a position must get different pieces.
 */
static void lock_pos(struct open_file *f, const uint64_t *pos)
{
	if (pos == &f->pos)
		spin_lock(&f->pos_lock);
}

static void unlock_pos(struct open_file *f, const uint64_t *pos)
{
	if (pos == &f->pos)
		spin_unlock(&f->pos_lock);
}

struct range pos_take(struct open_file *f, uint64_t *pos, size_t n, uint64_t size)
{
	struct range r;

	lock_pos(f, pos);
	r.start = *pos;
	r.n = r.start < size ? min(n, size - r.start) : 0;
	*pos += r.n;
	unlock_pos(f, pos);
	return r;
}

void pos_done(struct open_file *f, uint64_t *pos, const struct range *r, long done)
{
	size_t moved = done > 0 ? (size_t)done : 0;

	if (moved == r->n)
		return;
	lock_pos(f, pos);
	if (*pos == r->start + r->n)
		*pos = r->start + moved;
	unlock_pos(f, pos);
}

uint64_t pos_get(struct open_file *f, const uint64_t *pos)
{
	uint64_t at;

	lock_pos(f, pos);
	at = *pos;
	unlock_pos(f, pos);
	return at;
}

bool pos_move(struct open_file *f, uint64_t from, uint64_t to)
{
	bool there;

	spin_lock(&f->pos_lock);
	there = f->pos == from;
	if (there)
		f->pos = to;
	spin_unlock(&f->pos_lock);
	return there;
}

static void pos_set(struct open_file *f, uint64_t *pos, uint64_t to)
{
	lock_pos(f, pos);
	*pos = to;
	unlock_pos(f, pos);
}

/* ---- regular files --------------------------------------------------------------------------- */

/* The core copies straight to the user, through the page cache. */
static long read_regular(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos, bool user)
{
	struct quire_file *qf = quire_inode_reads_ahead(f->v->contents) ? file_mapping(f) : NULL;
	struct range r = pos_take(f, pos, n, quire_inode_size(f->v->contents));
	long done = qf ? quire_file_read(qf, r.start, buf, r.n, user) :
			 quire_inode_read(f->v->contents, r.start, buf, r.n, user);

	pos_done(f, pos, &r, done);
	return done;
}

static long regular_read_kernel(struct open_file *f, void *buf, size_t n, uint64_t *pos, bool nonblock)
{
	return read_regular(f, (uintptr_t)buf, n, pos, false);
}

/* RLIMIT_FSIZE: what begins there is refused, what reaches beyond is cut. */
long file_size_room(const struct open_file *f, uint64_t at, size_t n)
{
	struct hal_siginfo si = {.signo = SIGXFSZ, .code = SI_USER, .pid = current->proc->pid};
	uint64_t limit = rlimit_cur(current->proc, RLIMIT_FSIZE);

	if (likely(limit == RLIM_INFINITY) || !n)
		return (long)n;
	if (at >= limit) {
		send_signal_task(current, &si);
		return -EFBIG;
	}
	return (long)min((uint64_t)n, limit - at);
}

/* One call that writes: how (the file's flags, and the call's), and what of the file it has changed. */
struct writing {
	struct open_file *f;
	bool user; /* whose memory it comes from */
	unsigned how;
	uint64_t start, end;
};

static void wrote(struct writing *w, uint64_t at, long done)
{
	if (done <= 0)
		return;
	w->start = min(w->start, at);
	w->end = max(w->end, at + (uint64_t)done);
}

/* O_DSYNC, O_SYNC: it is on the disk before the call returns, and what is needed to find it. Once a call; an
 * error is the call's. */
static long write_done(const struct writing *w, long done)
{
	struct quire_file *qf;
	int err;

	if (done <= 0 || !(w->how & O_DSYNC) || !w->f->v->mnt)
		return done;
	qf = file_mapping(w->f);
	err = qf ? quire_file_sync(qf, w->start, w->end, !(w->how & O_SYNC & ~O_DSYNC)) : -ENOMEM;
	return err ? err : done;
}

/* At the end as it is when the bytes are written: two that append never write over each other. */
static long append_regular(struct writing *w, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct open_file *f = w->f;
	uint64_t at = 0;
	long done = file_size_room(f, quire_inode_size(f->v->contents), n);

	if (done > 0)
		done = quire_inode_append(f->v->contents, buf, (size_t)done, w->user, &at);
	if (done > 0)
		pos_set(f, pos, at + (uint64_t)done);
	wrote(w, at, done);
	return done;
}

/* A write that would grow a sealed file is cut at its end, as shmem does; one that begins there is
 * refused. The core looks at the seals again. */
static long write_regular(void *writing, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct writing *w = writing;
	struct open_file *f = w->f;
	uint64_t size = quire_inode_size(f->v->contents);
	unsigned seals = file_seals(f);
	struct range r;
	long done;

	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	if (vnode_changeable(f->v))
		return -ETXTBSY;
	WRITE_ONCE(f->v->mtime_ns, realtime_ns());
	if (w->how & O_APPEND)
		return append_regular(w, buf, n, pos);
	done = file_size_room(f, pos_get(f, pos), n);
	if (done < 0)
		return done;
	r = pos_take(f, pos, (size_t)done, seals & F_SEAL_GROW ? size : UINT64_MAX);
	if (n && !r.n)
		return -EPERM;
	done = quire_inode_write(f->v->contents, r.start, buf, r.n, w->user);
	pos_done(f, pos, &r, done);
	wrote(w, r.start, done);
	return done;
}

static struct writing writing_of(struct open_file *f, unsigned how, bool user)
{
	return (struct writing){f, user, file_flags(f) | how, UINT64_MAX, 0};
}

/* ---- O_DIRECT -------------------------------------------------------------------------------- */

static long read_direct(struct open_file *f, const struct quire_segment *seg, unsigned n, size_t len, uint64_t *pos)
{
	struct quire_file *qf = file_mapping(f);
	struct range r = pos_take(f, pos, len, UINT64_MAX);
	long done = qf ? quire_file_read_direct(qf, current->proc->mm, r.start, seg, n) : -ENOMEM;

	pos_done(f, pos, &r, done);
	return done;
}

/* Cuts the segments to so many bytes in all. */
static unsigned cut_segments(struct quire_segment *seg, unsigned n, size_t len)
{
	unsigned i;

	for (i = 0; i < n && len; i++) {
		seg[i].len = min(seg[i].len, len);
		len -= seg[i].len;
	}
	return i;
}

static long write_direct(struct writing *w, struct quire_segment *seg, unsigned n, size_t len, uint64_t *pos)
{
	struct open_file *f = w->f;
	struct quire_file *qf = file_mapping(f);
	bool append = w->how & O_APPEND;
	struct range r = {0};
	uint64_t at;
	long done = file_size_room(f, append ? quire_inode_size(f->v->contents) : pos_get(f, pos), len);

	if (vnode_changeable(w->f->v))
		return -ETXTBSY;
	if (done < 0)
		return done;
	if (!qf)
		return -ENOMEM;
	n = cut_segments(seg, n, (size_t)done);
	if (!append)
		r = pos_take(f, pos, (size_t)done, UINT64_MAX);
	at = r.start;
	WRITE_ONCE(f->v->mtime_ns, realtime_ns());
	done = quire_file_write_direct(qf, current->proc->mm, &at, append, seg, n);
	if (!append)
		pos_done(f, pos, &r, done);
	else if (done > 0)
		pos_set(f, pos, at + (uint64_t)done);
	wrote(w, at, done);
	return done;
}

/* The iovec as one transfer, whose pieces have to be aligned all together. */
static long pieces_direct(struct writing *w, uintptr_t vec, unsigned long count, uint64_t *pos, bool write)
{
	struct quire_segment *seg = quire_kmalloc(max(count, 1ul) * sizeof(*seg), 0);
	size_t len = 0;
	long done = seg ? 0 : -ENOMEM;

	_Static_assert(sizeof(*seg) == sizeof(struct iovec), "one as the other");
	if (seg && hal_copy_from_user(seg, vec, count * sizeof(*seg)))
		done = -EFAULT;
	for (unsigned long i = 0; i < count && !done; i++) {
		if ((int64_t)seg[i].len < 0)
			done = -EINVAL;
		seg[i].len = min(seg[i].len, MAX_RW_COUNT - len);
		len += seg[i].len;
	}
	if (!done && len)
		done = write ? write_direct(w, seg, (unsigned)count, len, pos) :
			       read_direct(w->f, seg, (unsigned)count, len, pos);
	quire_kfree(seg);
	return done;
}

/* ---- by one piece or many --------------------------------------------------------------------- */

static long regular_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct quire_segment seg = {buf, n};

	return file_flags(f) & O_DIRECT ? read_direct(f, &seg, 1, n, pos) : read_regular(f, buf, n, pos, true);
}

static long regular_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct writing w = writing_of(f, 0, true);
	struct quire_segment seg = {buf, n};
	long done = w.how & O_DIRECT ? write_direct(&w, &seg, 1, n, pos) : write_regular(&w, buf, n, pos);

	return write_done(&w, done);
}

static long regular_write_kernel(struct open_file *f, const void *buf, size_t n, uint64_t *pos, bool nonblock)
{
	struct writing w = writing_of(f, 0, false);
	long done = write_regular(&w, (uintptr_t)buf, n, pos);

	return write_done(&w, done);
}

static long read_piece(void *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return read_regular(f, buf, n, pos, true);
}

static long regular_pieces(struct open_file *f, uintptr_t vec, unsigned long count, uint64_t *pos, unsigned how,
			   bool write)
{
	struct writing w = writing_of(f, how, true);
	long done;

	if (w.how & O_DIRECT)
		done = pieces_direct(&w, vec, count, pos, write);
	else
		done = write ? each_piece(vec, count, pos, write_regular, &w) :
			       each_piece(vec, count, pos, read_piece, f);
	return write ? write_done(&w, done) : done;
}

const struct file_ops regular_ops = {.read = regular_read, .write = regular_write,
				     .pieces = regular_pieces,
				     .read_kernel = regular_read_kernel,
				     .write_kernel = regular_write_kernel};
