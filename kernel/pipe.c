/* SPDX-License-Identifier: MIT */
/*
 * Pipes: a ring of 64 KiB between two files on one vnode.
 *
 * The mutex covers the ring's state and is held over neither a copy from or to the user nor a wait.
 * A reader copies from the ring without it: what is in the pipe stays where it is until it is taken
 * out. Afterwards, under the mutex, it takes out what it copied, if nobody else has taken anything
 * meanwhile; else its bytes were somebody else's, and it begins again. A writer copies to a buffer of
 * its own first and from there into the ring, under the mutex.
 *
 * Each side waits for the other's event. The last close of a side is one too: the other then sees an
 * end of file or a SIGPIPE.
 *
 * A FIFO is a pipe that its vnode finds as long as an end is open. One end may be for both. A reader that
 * did not wait for a writer sees no end before one came: f->pos has how many had come when it was opened,
 * for pipes have no positions.
 */
#include "kernel.h"

#define PIPE_ORDER 4
#define PIPE_SIZE  (PAGE_SIZE << PIPE_ORDER)
#define PIPE_BUF   4096u

static const struct file_ops pipe_ops;

struct pipe {
	struct mutex lock; /* all but refs; used, readers and writers may be looked at without */
	char *buf;
	size_t head, used;
	uint64_t taken;	   /* bytes taken out since the pipe was made */
	unsigned readers, writers;
	unsigned came_to_read, came_to_write; /* ends that were ever opened, of a FIFO */
	unsigned both;	   /* ends that are open for both */
	unsigned refs;	   /* ends that are open or being opened; fifo_lock */
	struct wait_head opened;
	struct wait_head readable, writable;
	struct poll_head read_polls, write_polls;
};

/* Which pipe a vnode has, as long as an end is open. */
static DEFINE_MUTEX(fifo_lock);

static void pipe_free(struct pipe *p)
{
	quire_free_pages(p->buf, PIPE_ORDER);
	quire_kfree(p);
}

static void pipe_put(struct vnode *v, struct pipe *p)
{
	bool last;

	mutex_lock(&fifo_lock);
	last = !--p->refs;
	if (last)
		v->priv = NULL;
	mutex_unlock(&fifo_lock);
	if (last)
		pipe_free(p);
}

/* Something went into the pipe, or no writer is left; something went out of it, or no reader is left. The
 * mutex is not held. */
static void tell_readers(struct pipe *p, unsigned events)
{
	wake_all(&p->readable);
	poll_tell(&p->read_polls, events);
}

/* Who has an end for both watches where readers do. */
static void poll_tell_writers(struct pipe *p, unsigned events)
{
	poll_tell(&p->write_polls, events);
	if (unlikely(READ_ONCE(p->both)))
		poll_tell(&p->read_polls, events);
}

static void tell_writers(struct pipe *p, unsigned events)
{
	wake_all(&p->writable);
	poll_tell_writers(p, events);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Copies up to n bytes from the ring at `at` to the user, or to the kernel's buf; returns how many. */
static size_t ring_to(struct pipe *p, size_t at, uintptr_t buf, size_t n, bool user)
{
	size_t done = 0;

	while (done < n) {
		size_t pos = (at + done) % PIPE_SIZE, chunk = min(n - done, PIPE_SIZE - pos), left;

		left = put_bytes(buf + done, p->buf + pos, chunk, user);
		done += chunk - left;
		if (left)
			break;
	}
	return done;
}

/* A page at a time, each of them whole: a piece that the user cannot take stays in the pipe. */
static size_t copy_pieces(struct pipe *p, size_t at, uintptr_t buf, size_t n, bool user)
{
	size_t done = 0, piece;

	while (done < n) {
		piece = min(n - done, (size_t)PAGE_SIZE);
		if (ring_to(p, at + done, buf + done, piece, user) < piece)
			break;
		done += piece;
	}
	return done;
}

/* Takes out n bytes that were copied when `taken` bytes had been. false: others have since. */
static bool take_out(struct pipe *p, uint64_t taken, size_t n, bool *was_full)
{
	bool ours;

	mutex_lock(&p->lock);
	ours = p->taken == taken;
	if (ours) {
		ASSERT(n <= p->used);
		*was_full = p->used == PIPE_SIZE;
		p->head = (p->head + n) % PIPE_SIZE;
		WRITE_ONCE(p->used, p->used - n);
		p->taken += n;
	}
	mutex_unlock(&p->lock);
	return ours;
}

/* What there is, at most n bytes: *got, or -EFAULT there. false: there is nothing. After a race lost
 * it is at most a page: that copy is short, so that others do not keep winning. */
static bool read_once(struct pipe *p, uintptr_t buf, size_t n, bool user, long *got, bool *was_full)
{
	uint64_t taken;
	size_t at, there;

	for (;;) {
		mutex_lock(&p->lock);
		taken = p->taken;
		at = p->head;
		there = min(n, p->used);
		mutex_unlock(&p->lock);
		if (!there)
			return false;
		*got = (long)copy_pieces(p, at, buf, there, user);
		if (!*got)
			*got = -EFAULT;
		if (take_out(p, taken, *got > 0 ? (size_t)*got : 0, was_full))
			return true;
		n = min(n, (size_t)PAGE_SIZE);
	}
}

/* Why a reader has not to wait. */
static bool read_settled(struct pipe *p)
{
	return READ_ONCE(p->used) || !READ_ONCE(p->writers);
}

static void tell_taken(struct pipe *p, bool was_full)
{
	wake_all(&p->writable);
	if (was_full)
		poll_tell_writers(p, POLLOUT | POLLWRNORM);
}

/* Waits for the first byte only; 0 once no writer is left. */
static long read_pipe(struct pipe *p, uintptr_t buf, size_t n, bool user, bool nonblock)
{
	bool no_writer, was_full = false;
	long got;

	if (!n)
		return 0;
	for (;;) {
		/* Looked at first: what the last writer left is there by then. */
		no_writer = !atomic_load_of(&p->writers);
		if (read_once(p, buf, n, user, &got, &was_full))
			break;
		if (no_writer)
			return 0;
		if (nonblock)
			return -EAGAIN;
		if (wait_event(&p->readable, read_settled(p), true, 0) == -EINTR)
			return -ERESTARTSYS;
	}
	if (got > 0)
		tell_taken(p, was_full);
	return got;
}

static bool nonblocking(const struct open_file *f)
{
	return file_flags(f) & O_NONBLOCK;
}

static long pipe_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return read_pipe(f->priv, buf, n, true, nonblocking(f));
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The room that a write with n bytes to go waits for: a small one goes in whole. */
static size_t room_needed(size_t n)
{
	return n <= PIPE_BUF ? n : 1;
}

static bool has_room(struct pipe *p, size_t n)
{
	return PIPE_SIZE - READ_ONCE(p->used) >= room_needed(n);
}

/* Waits for room for a write that has n bytes to go. 0 or an errno. */
static int wait_for_room(struct pipe *p, size_t n, bool nonblock)
{
	struct hal_siginfo si = {.signo = SIGPIPE, .code = SI_USER, .pid = current->proc->pid};

	for (;;) {
		if (!READ_ONCE(p->readers)) {
			send_signal_task(current, &si);
			return -EPIPE;
		}
		if (has_room(p, n))
			return 0;
		if (nonblock)
			return -EAGAIN;
		if (wait_event(&p->writable, has_room(p, n) || !READ_ONCE(p->readers), true, 0) ==
		    -EINTR)
			return -ERESTARTSYS;
	}
}

/* Copies n bytes into the ring, behind what is there. */
static void ring_fill(struct pipe *p, const char *src, size_t n)
{
	size_t at = (p->head + p->used) % PIPE_SIZE, chunk = min(n, PIPE_SIZE - at);

	assert_mutex_held(&p->lock);
	memcpy(p->buf + at, src, chunk);
	memcpy(p->buf, src + chunk, n - chunk);
	WRITE_ONCE(p->used, p->used + n);
}

/* Puts in as much of the piece as goes, if a write that has `left` bytes to go may: how much. Another
 * writer may have taken the room that was waited for. */
static size_t put_in(struct pipe *p, const char *piece, size_t n, size_t left)
{
	size_t part = 0;

	mutex_lock(&p->lock);
	if (p->readers && has_room(p, left)) {
		part = min(n, PIPE_SIZE - p->used);
		ring_fill(p, piece, part);
	}
	mutex_unlock(&p->lock);
	return part;
}

/* Goes on until all is written, unless the pipe does not block or a signal comes. Pieces of a page
 * are copied whole or not at all, as into Linux's page-sized slots. */
static long write_pieces(struct open_file *f, uintptr_t buf, size_t n, char *piece, size_t size)
{
	struct pipe *p = f->priv;
	size_t done = 0, have, part;
	int err;

	while (done < n) {
		err = wait_for_room(p, n - done, nonblocking(f));
		if (err)
			return done ? (long)done : err;
		have = min(n - done, size);
		if (n - done > PIPE_BUF) {
			have = min(have, PIPE_SIZE - READ_ONCE(p->used));
			if (!have)
				continue;
		}
		if (hal_copy_from_user(piece, buf + done, have))
			return done ? (long)done : -EFAULT;
		part = put_in(p, piece, have, n - done);
		done += part;
		if (part)
			tell_readers(p, POLLIN | POLLRDNORM);
	}
	return (long)done;
}

static long pipe_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return write_by_pieces(f, buf, n, write_pieces);
}

/* ---- splice's side (transfer.c) --------------------------------------------------------------- */

static long pipe_read_kernel(struct open_file *f, void *buf, size_t n, uint64_t *pos, bool nonblock)
{
	return read_pipe(f->priv, (uintptr_t)buf, n, false, nonblock);
}

/* All of it, unless the pipe does not block or a signal comes. */
static long pipe_write_kernel(struct open_file *f, const void *buf, size_t n, uint64_t *pos, bool nonblock)
{
	struct pipe *p = f->priv;
	size_t done = 0, part;
	int err;

	while (done < n) {
		err = wait_for_room(p, 1 + PIPE_BUF, nonblock);
		if (err)
			return done ? (long)done : err;
		part = put_in(p, (const char *)buf + done, n - done, 1 + PIPE_BUF);
		done += part;
		if (part)
			tell_readers(p, POLLIN | POLLRDNORM);
	}
	return (long)done;
}

bool is_pipe(const struct open_file *f)
{
	return f->ops == &pipe_ops;
}

bool same_pipe(const struct open_file *a, const struct open_file *b)
{
	return a->priv == b->priv;
}

int pipe_wait_data(struct open_file *f, bool nonblock)
{
	struct pipe *p = f->priv;

	for (;;) {
		bool no_writer = !atomic_load_of(&p->writers);

		if (READ_ONCE(p->used))
			return 1;
		if (no_writer)
			return 0;
		if (nonblock)
			return -EAGAIN;
		if (wait_event(&p->readable, read_settled(p), true, 0) == -EINTR)
			return -ERESTARTSYS;
	}
}

long pipe_wait_room(struct open_file *f, bool nonblock)
{
	struct pipe *p = f->priv;
	int err = wait_for_room(p, 1 + PIPE_BUF, nonblock);

	return err ? err : (long)(PIPE_SIZE - READ_ONCE(p->used));
}

size_t pipe_peek(struct open_file *f, size_t skip, void *buf, size_t n, uint64_t *taken)
{
	struct pipe *p = f->priv;

	mutex_lock(&p->lock);
	*taken = p->taken;
	n = skip < p->used ? min(n, p->used - skip) : 0;
	ring_to(p, p->head + skip, (uintptr_t)buf, n, false);
	mutex_unlock(&p->lock);
	return n;
}

void pipe_drop(struct open_file *f, uint64_t taken, size_t n)
{
	bool was_full = false;

	if (n && take_out(f->priv, taken, n, &was_full))
		tell_taken(f->priv, was_full);
}

/* ---- the ends -------------------------------------------------------------------------------- */

static unsigned mode_of(const struct open_file *f)
{
	return file_flags(f) & O_ACCMODE;
}

/* A FIFO that nobody has written to yet has not ended. */
static unsigned pipe_poll(struct open_file *f)
{
	struct pipe *p = f->priv;
	size_t used = READ_ONCE(p->used);
	unsigned r = 0;

	if (mode_of(f) != O_WRONLY)
		r |= (used ? POLLIN | POLLRDNORM : 0) |
		     (READ_ONCE(p->writers) || f->pos == READ_ONCE(p->came_to_write) ? 0 : POLLHUP);
	if (mode_of(f) != O_RDONLY)
		r |= (used < PIPE_SIZE ? POLLOUT | POLLWRNORM : 0) | (READ_ONCE(p->readers) ? 0 : POLLERR);
	return r;
}

static struct poll_head *pipe_poll_head(struct open_file *f)
{
	struct pipe *p = f->priv;

	return (file_flags(f) & O_ACCMODE) == O_WRONLY ? &p->write_polls : &p->read_polls;
}

static long pipe_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	struct pipe *p = f->priv;
	int n = (int)READ_ONCE(p->used);

	return cmd == FIONREAD ? COPY_OUT(arg, n) : -ENOTTY;
}

/* The other side must find out. */
static void pipe_release(struct open_file *f)
{
	struct pipe *p = f->priv;
	unsigned mode = mode_of(f);

	if (!p)
		return;
	mutex_lock(&p->lock);
	if (mode != O_RDONLY)
		atomic_store_of(&p->writers, p->writers - 1);
	if (mode != O_WRONLY)
		atomic_store_of(&p->readers, p->readers - 1);
	if (mode == O_RDWR)
		WRITE_ONCE(p->both, p->both - 1);
	mutex_unlock(&p->lock);
	if (mode != O_RDONLY)
		tell_readers(p, POLLHUP);
	if (mode != O_WRONLY)
		tell_writers(p, POLLERR);
	pipe_put(f->v, p);
}

static struct pipe *pipe_new(void);

/* The vnode's pipe, made if no end is open, with one more that is being opened. NULL: no memory. */
static struct pipe *pipe_of(struct vnode *v)
{
	struct pipe *p;

	mutex_lock(&fifo_lock);
	p = v->priv ? v->priv : pipe_new();
	if (p) {
		v->priv = p;
		p->refs++;
	}
	mutex_unlock(&fifo_lock);
	return p;
}

static void add_end(struct pipe *p, unsigned mode)
{
	mutex_lock(&p->lock);
	if (mode != O_WRONLY) {
		atomic_store_of(&p->readers, p->readers + 1);
		WRITE_ONCE(p->came_to_read, p->came_to_read + 1);
	}
	if (mode != O_RDONLY) {
		atomic_store_of(&p->writers, p->writers + 1);
		WRITE_ONCE(p->came_to_write, p->came_to_write + 1);
	}
	if (mode == O_RDWR)
		WRITE_ONCE(p->both, p->both + 1);
	mutex_unlock(&p->lock);
	wake_all(&p->opened);
	wake_all(&p->readable);
}

#define NAMELESS 1 /* vnode.arg of what pipe() made */

static bool is_fifo(const struct vnode *v)
{
	return v->arg != NAMELESS;
}

/* By name, or by /proc/self/fd: waits for the other side, unless told not to. */
static int pipe_open(struct open_file *f)
{
	unsigned mode = mode_of(f), came;
	struct pipe *p = pipe_of(f->v);
	int err = 0;

	if (!p)
		return -ENOMEM;
	if (!is_fifo(f->v)) { /* a pipe's ends do not wait for one another */
		f->priv = p;
		add_end(p, mode);
		return 0;
	}
	if (mode == O_WRONLY && file_flags(f) & O_NONBLOCK && !READ_ONCE(p->readers)) {
		pipe_put(f->v, p);
		return -ENXIO;
	}
	f->priv = p;
	came = mode == O_WRONLY ? READ_ONCE(p->came_to_read) : READ_ONCE(p->came_to_write);
	add_end(p, mode);
	if (mode == O_RDONLY && !READ_ONCE(p->writers)) {
		if (file_flags(f) & O_NONBLOCK)
			f->pos = came;
		else
			err = wait_event(&p->opened, READ_ONCE(p->came_to_write) != came, true, 0);
	} else if (mode == O_WRONLY && !READ_ONCE(p->readers)) {
		err = wait_event(&p->opened, READ_ONCE(p->came_to_read) != came, true, 0);
	}
	return err ? -ERESTARTSYS : 0; /* its release gives the end back */
}

static const struct file_ops pipe_ops = {.read = pipe_read, .write = pipe_write,
					 .poll = pipe_poll, .poll_head = pipe_poll_head,
					 .ioctl = pipe_ioctl, .open = pipe_open, .release = pipe_release,
					 .read_kernel = pipe_read_kernel,
					 .write_kernel = pipe_write_kernel};

static struct pipe *pipe_new(void)
{
	struct pipe *p = quire_kmalloc(sizeof(*p), QUIRE_GFP_ZERO);

	if (!p)
		return NULL;
	p->buf = quire_alloc_pages(PIPE_ORDER, 0);
	if (!p->buf) {
		quire_kfree(p);
		return NULL;
	}
	mutex_init_named(&p->lock, "pipe");
	poll_head_init(&p->read_polls);
	poll_head_init(&p->write_polls);
	return p;
}

const struct file_ops *fifo_ops(void)
{
	return &pipe_ops;
}

/* Two files over one vnode: the first reads, the second writes. */
static int open_ends(struct open_file **end, unsigned flags)
{
	struct vnode *v = vnode_new(S_IFIFO | 0600);
	struct pipe *p = v ? pipe_new() : NULL;

	if (!p) {
		vnode_put(v);
		return -ENOMEM;
	}
	v->fops = &pipe_ops;
	v->arg = NAMELESS;
	v->nlink = 1;
	end[0] = file_alloc(v, "pipe:", flags & O_NONBLOCK);
	end[1] = end[0] ? file_alloc(v, "pipe:", O_WRONLY | (flags & O_NONBLOCK)) : NULL;
	vnode_put(v);
	if (end[1]) {
		p->readers = p->writers = p->came_to_read = p->came_to_write = 1;
		p->refs = 2;
		v->priv = end[0]->priv = end[1]->priv = p;
		return 0;
	}
	if (end[0])
		file_put(end[0]); /* it has no pipe to let go of */
	pipe_free(p);
	return -ENOMEM;
}

/* The descriptors lead nowhere until nothing can fail any more: another thread may guess them. */
static int do_pipe(uintptr_t fds, unsigned flags)
{
	struct open_file *end[2] = {NULL, NULL};
	int fd[2], err;

	if (flags & ~(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	err = open_ends(end, flags);
	if (err)
		return err;
	err = fd_reserve_pair(fd, fds, flags & O_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		if (err)
			file_put(end[i]);
		else
			fd_install(fd[i], end[i]);
	}
	return err;
}

SYSCALL2(pipe2, uintptr_t, fds, unsigned, flags)
{
	return do_pipe(fds, flags);
}

SYSCALL1(pipe, uintptr_t, fds)
{
	return do_pipe(fds, 0);
}
