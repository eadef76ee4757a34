/* SPDX-License-Identifier: MIT */
/*
 * poll and ppoll: a waiter is not woken when a file becomes ready, so it looks again at each tick.
 */
#include "kernel.h"

/* A file without poll is always ready, as a regular one is. */
static unsigned poll_file(struct open_file *f)
{
	return f->ops && f->ops->poll ? f->ops->poll(f) : POLLIN | POLLOUT;
}

static long poll_until(uintptr_t fds, unsigned long n, uint64_t deadline, bool wait)
{
	struct {
		int fd;
		short events, revents;
	} p;

	for (;;) {
		long ready = 0;

		for (unsigned long i = 0; i < n; i++) {
			struct open_file *f;

			if (COPY_IN(p, fds + i * sizeof(p)))
				return -EFAULT;
			f = fd_file(p.fd);
			p.revents = (short)(p.fd < 0 ? 0 : !f ? POLLNVAL
				: poll_file(f) & ((unsigned)p.events | POLLERR | POLLHUP));
			ready += p.revents != 0;
			if (COPY_OUT(fds + i * sizeof(p), p))
				return -EFAULT;
		}
		if (ready || !wait || (deadline && hal_clock_ns() >= deadline))
			return ready;
		if (signal_pending(current))
			return -EINTR;
		/* No wake-up will come: look again at the next tick. */
		sleep_on(&p, 0, true, hal_clock_ns() + TICK_NS);
	}
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
