/* SPDX-License-Identifier: MIT */
/*
 * Pipes: a ring of 64 KiB between two files on one vnode. Readers and writers sleep on the pipe;
 * each side's last close wakes the other, which then sees an end of file or a SIGPIPE.
 */
#include "kernel.h"

#define PIPE_ORDER 4
#define PIPE_SIZE  (PAGE_SIZE << PIPE_ORDER)
#define PIPE_BUF   4096u

struct pipe {
	char *buf;
	size_t head, used;
	unsigned readers, writers;
	unsigned refs;
};

/* Both ends hold a reference. */
static void pipe_put(struct pipe *p)
{
	if (--p->refs)
		return;
	quire_free_pages(p->buf, PIPE_ORDER);
	quire_kfree(p);
}

/* Moves up to n bytes between the ring at `at` and the user; returns how many. */
static size_t ring_copy(struct pipe *p, size_t at, uintptr_t user, size_t n, bool out)
{
	size_t done = 0;

	while (done < n) {
		size_t pos = (at + done) % PIPE_SIZE, chunk = min(n - done, PIPE_SIZE - pos), left;

		left = out ? hal_copy_to_user(user + done, p->buf + pos, chunk)
			   : hal_copy_from_user(p->buf + pos, user + done, chunk);
		done += chunk - left;
		if (left)
			break;
	}
	return done;
}

/* A page at a time, each of them whole: a piece that the user cannot take stays in the pipe. */
static size_t take_pieces(struct pipe *p, uintptr_t buf, size_t n)
{
	size_t done = 0, piece;

	while (done < n) {
		piece = min(n - done, (size_t)PAGE_SIZE);
		if (ring_copy(p, p->head, buf + done, piece, true) < piece)
			break;
		p->head = (p->head + piece) % PIPE_SIZE;
		p->used -= piece;
		done += piece;
	}
	return done;
}

/* Waits for the first byte only; 0 once no writer is left. */
static long pipe_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct pipe *p = f->priv;
	size_t got;

	if (!n)
		return 0;
	while (!p->used) {
		if (!p->writers)
			return 0;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		if (sleep_on(p, 0, true, 0) == -EINTR)
			return -ERESTARTSYS;
	}
	got = take_pieces(p, buf, min(n, p->used));
	if (got)
		wake_up(p, 0, ~0u);
	return got ? (long)got : -EFAULT;
}

/* Waits for room for a piece of n bytes; small pieces go in whole. 0 or an errno. */
static int wait_for_room(struct open_file *f, struct pipe *p, size_t n)
{
	struct hal_siginfo si = {.signo = SIGPIPE, .code = SI_USER, .pid = current->proc->pid};
	size_t need = n <= PIPE_BUF ? n : 1;

	for (;;) {
		if (!p->readers) {
			send_signal_task(current, &si);
			return -EPIPE;
		}
		if (PIPE_SIZE - p->used >= need)
			return 0;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		if (sleep_on(p, 0, true, 0) == -EINTR)
			return -ERESTARTSYS;
	}
}

/* Goes on until all is written, unless the pipe does not block or a signal comes. */
static long pipe_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct pipe *p = f->priv;
	size_t done = 0, piece;
	int err;

	while (done < n) {
		err = wait_for_room(f, p, n - done);
		if (err)
			return done ? (long)done : err;
		/* Pieces of a page go in whole or not at all, as into Linux's page-sized slots. */
		piece = min(min(n - done, PIPE_SIZE - p->used), (size_t)PAGE_SIZE);
		if (ring_copy(p, p->head + p->used, buf + done, piece, false) < piece)
			return done ? (long)done : -EFAULT;
		p->used += piece;
		done += piece;
		wake_up(p, 0, ~0u);
	}
	return (long)done;
}

static unsigned pipe_poll(struct open_file *f)
{
	struct pipe *p = f->priv;

	if ((f->flags & O_ACCMODE) == O_WRONLY)
		return (p->used < PIPE_SIZE ? POLLOUT : 0) | (p->readers ? 0 : POLLERR);
	return (p->used ? POLLIN : 0) | (p->writers ? 0 : POLLHUP);
}

/* The other side must find out. */
static void pipe_release(struct open_file *f)
{
	struct pipe *p = f->priv;

	if ((f->flags & O_ACCMODE) == O_WRONLY)
		p->writers--;
	else
		p->readers--;
	wake_up(p, 0, ~0u);
	pipe_put(p);
}

static const struct file_ops pipe_ops = {.read = pipe_read, .write = pipe_write,
					 .poll = pipe_poll, .release = pipe_release};

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
	p->readers = p->writers = 1;
	p->refs = 2;
	return p;
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
	v->nlink = 1;
	end[0] = file_alloc(v, "pipe:", flags & O_NONBLOCK);
	end[1] = end[0] ? file_alloc(v, "pipe:", O_WRONLY | (flags & O_NONBLOCK)) : NULL;
	vnode_put(v);
	if (end[1]) {
		end[0]->priv = end[1]->priv = p;
		return 0;
	}
	if (end[0]) {
		end[0]->ops = NULL; /* it has no pipe to let go of */
		file_put(end[0]);
	}
	quire_free_pages(p->buf, PIPE_ORDER);
	quire_kfree(p);
	return -ENOMEM;
}

static int do_pipe(uintptr_t fds, unsigned flags)
{
	struct fd_table *t = current->proc->fds;
	struct open_file *end[2] = {NULL, NULL};
	int fd[2], err;

	if (flags & ~(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	err = open_ends(end, flags);
	if (err)
		return err;
	fd[0] = fd_install(end[0], flags & O_CLOEXEC);
	fd[1] = fd[0] < 0 ? fd[0] : fd_install(end[1], flags & O_CLOEXEC);
	err = fd[1] < 0 ? fd[1] : COPY_OUT(fds, fd);
	if (!err)
		return 0;
	for (int i = 0; i < 2; i++) {
		if (fd[i] >= 0)
			t->file[fd[i]] = NULL;
		file_put(end[i]);
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
