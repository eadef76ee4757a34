/* SPDX-License-Identifier: MIT */
/*
 * eventfd: a count in a file. A write adds to it, a read takes all of it, or one with EFD_SEMAPHORE; a read
 * waits while it is 0, a write while it would pass COUNT_MAX.
 */
#include "kernel/kernel.h"

#define COUNT_MAX (UINT64_MAX - 1)

struct eventfd {
	spinlock_t lock; /* count; RANK_EPOLL */
	uint64_t count;
	bool semaphore;
	struct wait_head readable, writable;
	struct poll_head polls;
};

static bool take(struct eventfd *e, uint64_t *n)
{
	spin_lock(&e->lock);
	*n = e->semaphore && e->count ? 1 : e->count;
	e->count -= *n;
	spin_unlock(&e->lock);
	return *n;
}

static bool add(struct eventfd *e, uint64_t n)
{
	bool fits;

	spin_lock(&e->lock);
	fits = n <= COUNT_MAX - e->count;
	if (fits)
		e->count += n;
	spin_unlock(&e->lock);
	return fits;
}

static long eventfd_read(struct open_file *f, uintptr_t buf, size_t size, uint64_t *pos)
{
	struct eventfd *e = f->priv;
	uint64_t n;

	if (size < sizeof(n))
		return -EINVAL;
	if (!take(e, &n)) {
		if (file_flags(f) & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event(&e->readable, take(e, &n), true, 0))
			return -ERESTARTSYS;
	}
	wake_all(&e->writable);
	poll_tell(&e->polls, POLLOUT | POLLWRNORM);
	return COPY_OUT(buf, n) ? -EFAULT : (long)sizeof(n);
}

static long eventfd_write(struct open_file *f, uintptr_t buf, size_t size, uint64_t *pos)
{
	struct eventfd *e = f->priv;
	uint64_t n;

	if (size < sizeof(n))
		return -EINVAL;
	if (COPY_IN(n, buf))
		return -EFAULT;
	if (n == UINT64_MAX)
		return -EINVAL;
	if (!add(e, n)) {
		if (file_flags(f) & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event(&e->writable, add(e, n), true, 0))
			return -ERESTARTSYS;
	}
	wake_all(&e->readable);
	poll_tell(&e->polls, POLLIN | POLLRDNORM);
	return sizeof(n);
}

static unsigned eventfd_poll(struct open_file *f)
{
	struct eventfd *e = f->priv;
	uint64_t n;

	spin_lock(&e->lock);
	n = e->count;
	spin_unlock(&e->lock);
	return (n ? POLLIN | POLLRDNORM : 0) | (n < COUNT_MAX ? POLLOUT | POLLWRNORM : 0);
}

static struct poll_head *eventfd_poll_head(struct open_file *f)
{
	struct eventfd *e = f->priv;

	return &e->polls;
}

static void eventfd_release(struct open_file *f)
{
	quire_kfree(f->priv);
}

static const struct file_ops eventfd_ops = {.read = eventfd_read, .write = eventfd_write,
					    .poll = eventfd_poll, .poll_head = eventfd_poll_head,
					    .release = eventfd_release};

static long create(unsigned count, unsigned flags)
{
	struct open_file *f;
	struct eventfd *e;

	if (flags & ~(unsigned)(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	e = quire_kmalloc(sizeof(*e), QUIRE_GFP_ZERO);
	if (!e)
		return -ENOMEM;
	spin_lock_init_rank(&e->lock, "eventfd", RANK_EPOLL);
	e->count = count;
	e->semaphore = flags & EFD_SEMAPHORE;
	poll_head_init(&e->polls);
	f = anon_file("anon_inode:[eventfd]", &eventfd_ops, e, O_RDWR | (flags & O_NONBLOCK));
	if (f)
		return file_install(f, flags);
	quire_kfree(e);
	return -ENOMEM;
}

SYSCALL2(eventfd2, unsigned, count, unsigned, flags)
{
	return create(count, flags);
}

SYSCALL1(eventfd, unsigned, count)
{
	return create(count, 0);
}
