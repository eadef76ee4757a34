/* SPDX-License-Identifier: MIT */
/*
 * poll and ppoll. All who wait do so for one event, that some file may have become ready, and then
 * look at theirs again. Whoever makes a file ready looks first whether anybody polls at all.
 */
#include "kernel.h"

static struct wait_head ready_event;
static unsigned pollers; /* atomic */

/* Adding nothing is a full barrier, as the count in poll_until() is: either a new poller is seen here,
 * or it sees the file's new state. */
void poll_wake(void)
{
	if (unlikely(atomic_add_of(&pollers, 0)))
		wake_all(&ready_event);
}

bool poll_wakes(const void *key)
{
	return key == &ready_event;
}

/* A file without poll is always ready, as a regular one is. */
static unsigned poll_file(struct open_file *f)
{
	return f->ops && f->ops->poll ? f->ops->poll(f) : POLLIN | POLLOUT;
}

/* What of `events` has come; errors come unasked. */
static short poll_fd(int fd, short events)
{
	struct fd f = fdget(fd);
	unsigned r = POLLNVAL;

	if (f.file)
		r = poll_file(f.file) & ((unsigned)events | POLLERR | POLLHUP);
	fdput(f);
	return (short)r;
}

/* How many are ready, told in their revents too, or -EFAULT. */
static long poll_all(uintptr_t fds, unsigned long n)
{
	struct {
		int fd;
		short events, revents;
	} p;
	long ready = 0;

	for (unsigned long i = 0; i < n; i++) {
		if (COPY_IN(p, fds + i * sizeof(p)))
			return -EFAULT;
		p.revents = p.fd < 0 ? 0 : poll_fd(p.fd, p.events);
		ready += p.revents != 0;
		if (COPY_OUT(fds + i * sizeof(p), p))
			return -EFAULT;
	}
	return ready;
}

static long poll_until(uintptr_t fds, unsigned long n, uint64_t deadline, bool wait)
{
	long ready = 0;
	int err;

	if (!wait)
		return poll_all(fds, n);
	atomic_add_of(&pollers, 1);
	err = wait_event(&ready_event, (ready = poll_all(fds, n)) != 0, true, deadline);
	atomic_sub_of(&pollers, 1);
	return err == -EINTR ? err : ready;
}

SYSCALL3(poll, uintptr_t, fds, unsigned long, n, int, ms)
{
	return n > MAX_FDS ? -EINVAL
			      : poll_until(fds, n,
					   ms > 0 ? hal_clock_ns() + (uint64_t)ms * NS_PER_MS : 0,
					   ms != 0);
}

SYSCALL3(ppoll, uintptr_t, fds, unsigned long, n, uintptr_t, timeout)
{
	uint64_t ts[2] = {1, 0};

	if (n > MAX_FDS)
		return -EINVAL;
	if (timeout && COPY_IN(ts, timeout))
		return -EFAULT;
	return poll_until(fds, n, timeout ? hal_clock_ns() + ts[0] * NS_PER_SEC + ts[1] : 0,
			  ts[0] || ts[1]);
}
