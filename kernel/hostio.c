/* SPDX-License-Identifier: MIT */
/*
 * Standard input, output and error of the first program in memory that the host shares, with the
 * command-line word stdio=pipe or stdio=tty (docs/exec.md). With the first, descriptors 0 to 2 are files
 * that behave as ends of pipes whose other end is the host's; with the second the terminal (tty.c)
 * lies over rings 0 and 1.
 *
 * A ring's mutex makes its guest side one; as in a pipe (pipe.c) it is held over neither a copy from or to
 * the user nor a wait. The host interrupts nobody: the tick looks whether it has moved
 * something, so a wake-up is up to a tick late, and the rings are large enough to last one.
 */
#include "kernel.h"

#include "hostio.h"
#include "rawlock.h"

#define BLOCK_ORDER 6
#define IN_SIZE	    (64ul << 10) /* of the 256 KiB; a page is the head */
#define OUT_SIZE    (128ul << 10)
#define ERR_SIZE    (32ul << 10)
#define PIPE_BUF    4096u

static struct hostio *io; /* NULL: none; set before any task runs */

static struct end {
	struct hostio_ring *r;
	char *data;
	struct mutex lock; /* this side's moves */
	struct wait_head moved;
	struct poll_head polls;
	uint64_t seen; /* what the tick saw of the host's side: the tick's alone */
} ends[HOSTIO_RINGS];

static struct rawlock put_lock; /* under the terminal: the head of ring HOSTIO_OUT */

/* ---- a ring ---------------------------------------------------------------------------------- */

/* Bytes in it; never more than fit, whatever the host says. */
static size_t there(const struct end *e)
{
	return min(atomic_load_of(&e->r->head) - atomic_load_of(&e->r->tail), e->r->size);
}

static size_t room(const struct end *e)
{
	return e->r->size - there(e);
}

static bool closed(const struct end *e)
{
	return atomic_load_of(&e->r->closed);
}

static bool has_room(const struct end *e, size_t n)
{
	return room(e) >= (n <= PIPE_BUF ? n : 1) || closed(e);
}

/* The part of n bytes at `at` that lies in one piece. */
static size_t piece(const struct end *e, uint64_t at, size_t n)
{
	return min(n, (size_t)(e->r->size - at % e->r->size));
}

static char *place(const struct end *e, uint64_t at)
{
	return e->data + at % e->r->size;
}

/* ---- as files -------------------------------------------------------------------------------- */

static struct end *end_of(const struct open_file *f)
{
	return f->priv;
}

/* Copies up to n bytes from position `at` to the user, whole pieces of a page: how many. */
static size_t copy_out(const struct end *e, uint64_t at, uintptr_t buf, size_t n)
{
	size_t done = 0, k;

	while (done < n) {
		k = min(piece(e, at + done, n - done), (size_t)PAGE_SIZE);
		if (hal_copy_to_user(buf + done, place(e, at + done), k))
			break;
		done += k;
	}
	return done;
}

/* Takes out up to n bytes: how many; 0: there are none; -EFAULT. What another reader takes meanwhile is
 * not ours, and we begin again. */
static long take(struct end *e, uintptr_t buf, size_t n)
{
	uint64_t at;
	size_t got;
	bool ours;

	do {
		at = atomic_load_of(&e->r->tail);
		n = min(n, there(e));
		if (!n)
			return 0;
		got = copy_out(e, at, buf, n);
		if (!got)
			return -EFAULT;
		mutex_lock(&e->lock);
		ours = e->r->tail == at;
		if (ours)
			atomic_store_of(&e->r->tail, at + got);
		mutex_unlock(&e->lock);
	} while (!ours);
	return (long)got;
}

static long stdio_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct end *e = end_of(f);
	bool last;
	long got;

	if (!n)
		return 0;
	for (;;) {
		last = closed(e); /* looked at first: what came before it is there by then */
		got = take(e, buf, n);
		if (got || last)
			return got;
		if (file_flags(f) & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event(&e->moved, there(e) || closed(e), true, 0) == -EINTR)
			return -ERESTARTSYS;
	}
}

/* Puts in as much of n bytes as goes, if a write that has `left` bytes to go may: how much. Another writer
 * may have taken the room that was waited for. */
static size_t put(struct end *e, const char *s, size_t n, size_t left)
{
	size_t done, k;
	uint64_t at;

	mutex_lock(&e->lock);
	at = e->r->head;
	n = has_room(e, left) ? min(n, room(e)) : 0;
	for (done = 0; done < n; done += k) {
		k = piece(e, at + done, n - done);
		memcpy(place(e, at + done), s + done, k);
	}
	atomic_store_of(&e->r->head, at + n);
	mutex_unlock(&e->lock);
	return n;
}

/* 0, or why no more can be written now. */
static int wait_for_room(struct open_file *f, struct end *e, size_t n)
{
	struct hal_siginfo si = {.signo = SIGPIPE, .code = SI_USER, .pid = current->proc->pid};

	if (!has_room(e, n) && file_flags(f) & O_NONBLOCK)
		return -EAGAIN;
	if (wait_event(&e->moved, has_room(e, n), true, 0) == -EINTR)
		return -ERESTARTSYS;
	if (!closed(e))
		return 0;
	send_signal_task(current, &si);
	return -EPIPE;
}

/* By way of a buffer of its own, for nothing is held over a copy from the user. */
static long write_pieces(struct open_file *f, uintptr_t buf, size_t n, char *bounce, size_t size)
{
	struct end *e = end_of(f);
	size_t done = 0, have;
	int err;

	while (done < n) {
		err = wait_for_room(f, e, n - done);
		if (err)
			return done ? (long)done : err;
		have = min(n - done, size);
		have -= hal_copy_from_user(bounce, buf + done, have);
		if (!have)
			return done ? (long)done : -EFAULT;
		done += put(e, bounce, have, n - done);
	}
	return (long)done;
}

static long stdio_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return write_by_pieces(f, buf, n, write_pieces);
}

static unsigned stdio_poll(struct open_file *f)
{
	struct end *e = end_of(f);
	unsigned last = closed(e);

	if (e == &ends[HOSTIO_IN])
		return (there(e) ? POLLIN | POLLRDNORM : 0) | (last ? POLLHUP : 0);
	return (has_room(e, PIPE_BUF) ? POLLOUT | POLLWRNORM : 0) | (last ? POLLERR : 0);
}

static struct poll_head *stdio_poll_head(struct open_file *f)
{
	return &end_of(f)->polls;
}

static long stdio_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	int n = (int)there(end_of(f));

	return cmd == FIONREAD ? COPY_OUT(arg, n) : -ENOTTY;
}

/* By /proc/self/fd: in the one direction that there is. */
static int stdio_open(struct open_file *f)
{
	f->priv = &ends[f->v->arg];
	return (file_flags(f) & O_ACCMODE) == (f->v->arg == HOSTIO_IN ? O_RDONLY : O_WRONLY) ? 0 : -EACCES;
}

static const struct file_ops stdio_ops = {.open = stdio_open, .read = stdio_read, .write = stdio_write,
					  .poll = stdio_poll, .poll_head = stdio_poll_head, .ioctl = stdio_ioctl};

int hostio_open(void)
{
	for (int fd = 0; fd < HOSTIO_RINGS; fd++) {
		struct vnode *v = vnode_new(S_IFIFO | 0600);
		struct open_file *f;
		int err;

		if (!v)
			return -ENOMEM;
		v->fops = &stdio_ops;
		v->arg = (uint64_t)fd;
		v->nlink = 1;
		f = file_alloc(v, "pipe:", fd == HOSTIO_IN ? O_RDONLY : O_WRONLY);
		vnode_put(v);
		if (!f)
			return -ENOMEM;
		f->priv = &ends[fd];
		err = fd_add(f, false);
		if (err < 0) {
			file_put(f);
			return err;
		}
	}
	return 0;
}

/* ---- under the terminal ---------------------------------------------------------------------- */

bool hostio_terminal(void)
{
	return io && options.stdio_tty;
}

int hostio_getc(void)
{
	struct end *e = &ends[HOSTIO_IN];
	uint64_t at = e->r->tail;
	int c = there(e) ? (unsigned char)*place(e, at) : -1;

	if (c >= 0)
		atomic_store_of(&e->r->tail, at + 1);
	return c;
}

bool hostio_ended(void)
{
	const struct end *e = &ends[HOSTIO_IN];

	return closed(e) && !there(e);
}

void hostio_put(const char *s, size_t n)
{
	struct end *e = &ends[HOSTIO_OUT];
	irqflags_t flags = hal_irq_save();
	size_t done, k;
	uint64_t at;

	raw_lock(&put_lock);
	at = e->r->head;
	n = min(n, room(e));
	for (done = 0; done < n; done += k) {
		k = piece(e, at + done, n - done);
		memcpy(place(e, at + done), s + done, k);
	}
	atomic_store_of(&e->r->head, at + n);
	raw_unlock(&put_lock);
	hal_irq_restore(flags);
}

int hostio_wait(size_t n)
{
	struct end *e = &ends[HOSTIO_OUT];

	return wait_event(&e->moved, has_room(e, n), true, 0) == -EINTR ? -ERESTARTSYS : 0;
}

uint64_t hostio_window(void)
{
	return io ? atomic_load_of(&io->window) : 0;
}

/* ---- the host moves -------------------------------------------------------------------------- */

void hostio_tick(void)
{
	uint64_t now;
	int sig;

	if (likely(!io))
		return;
	for (unsigned i = 0; i < HOSTIO_RINGS; i++) {
		struct end *e = &ends[i];

		now = (i == HOSTIO_IN ? atomic_load_of(&e->r->head) : atomic_load_of(&e->r->tail)) +
		      closed(e);
		if (now == e->seen)
			continue;
		e->seen = now;
		wake_all(&e->moved);
		poll_tell(&e->polls, 0);
	}
	sig = (int)atomic_load_of(&io->signal);
	if (sig <= 0 || sig > NSIG)
		return;
	signal_foreground(sig);
	atomic_store_of(&io->signal, 0);
}

bool hostio_wakes(const void *key)
{
	for (unsigned i = 0; i < HOSTIO_RINGS; i++)
		if (key == &ends[i].moved)
			return true;
	return false;
}

/* ---- start and end --------------------------------------------------------------------------- */

static void make_end(unsigned i, uint64_t offset, uint64_t size)
{
	ends[i] = (struct end){.r = &io->ring[i], .data = (char *)io + offset};
	mutex_init_named(&ends[i].lock, "hostio");
	poll_head_init(&ends[i].polls);
	io->ring[i] = (struct hostio_ring){.offset = offset, .size = size};
}

int hostio_init(void)
{
	if (!options.stdio_pipe && !options.stdio_tty)
		return 0;
	io = quire_alloc_pages(BLOCK_ORDER, QUIRE_GFP_ZERO);
	if (!io)
		return -ENOMEM;
	make_end(HOSTIO_IN, PAGE_SIZE, IN_SIZE);
	make_end(HOSTIO_OUT, PAGE_SIZE + IN_SIZE, OUT_SIZE);
	make_end(HOSTIO_ERR, PAGE_SIZE + IN_SIZE + OUT_SIZE, ERR_SIZE);
	atomic_store_of(&io->magic, HOSTIO_MAGIC);
	klog("stdio phys=0x%llx size=0x%lx", (unsigned long long)hal_virt_to_phys(io),
	     PAGE_SIZE << BLOCK_ORDER);
	return 0;
}

void hostio_exit(int status)
{
	if (!io)
		return;
	atomic_store_of(&io->status, HOSTIO_ENDED | (unsigned)status);
	io = NULL;
}

unsigned hostio_pages(void)
{
	return io ? 1u << BLOCK_ORDER : 0;
}
