/* SPDX-License-Identifier: MIT */
/*
 * Waiting for files: poll, ppoll, select, pselect6, and how the change of a file is told.
 *
 * All who wait in these calls do so for one event, that some file may have become ready, and then look at
 * theirs again. Whoever makes a file ready looks first whether anybody polls at all. Those who watch a file
 * for longer than a call stand in its poll_head (events/epoll.c).
 *
 * A watcher that is a file itself has watchers of its own. They are told after the first head's lock was let
 * go, one after the other, so that however long the chain is no two locks of one rank are held.
 */
#include "kernel.h"

static struct wait_head ready_event;
static unsigned pollers; /* atomic */

/* ---- telling --------------------------------------------------------------------------------- */

/* Adding nothing is a full barrier, as the count in wait_ready() is: either a new poller is seen here,
 * or it sees the file's new state. */
static void poll_wake(void)
{
	if (unlikely(atomic_add_of(&pollers, 0)))
		wake_all(&ready_event);
}

bool poll_wakes(const void *key)
{
	return key == &ready_event;
}

void poll_head_init(struct poll_head *h)
{
	spin_lock_init_rank(&h->lock, "poll_head", RANK_POLL);
	INIT_LIST_HEAD(&h->watches);
}

static void tell_watches(struct poll_head *h, unsigned events, struct list_head *relays)
{
	struct poll_watch *w;
	irqflags_t flags;

	spin_lock_irqsave(&h->lock, flags);
	list_for_each_entry(w, &h->watches, link)
		if (w->told(w, events, relays) && w->exclusive)
			break;
	spin_unlock_irqrestore(&h->lock, flags);
}

/* Who finds it queued may leave it at that: it is told after what made it ready was stored. */
void poll_relay(struct poll_relay *r, struct list_head *relays)
{
	if (__atomic_exchange_n(&r->queued, 1, __ATOMIC_SEQ_CST))
		return;
	atomic_add_of(&r->users, 1);
	list_add_tail(&r->link, relays);
}

void poll_tell(struct poll_head *h, unsigned events)
{
	LIST_HEAD(relays);

	tell_watches(h, events, &relays);
	while (!list_empty(&relays)) {
		struct poll_relay *r = list_first_entry(&relays, struct poll_relay, link);

		list_del(&r->link);
		__atomic_store_n(&r->queued, 0, __ATOMIC_SEQ_CST);
		tell_watches(&r->head, POLLIN | POLLRDNORM, &relays);
		atomic_sub_of(&r->users, 1);
	}
	poll_wake();
}

void poll_relay_end(struct poll_relay *r)
{
	while (atomic_load_of(&r->users))
		schedule();
}

void poll_watch_add(struct poll_watch *w, struct poll_head *h)
{
	irqflags_t flags;

	w->head = h;
	spin_lock_irqsave(&h->lock, flags);
	if (w->exclusive)
		list_add_tail(&w->link, &h->watches);
	else
		list_add(&w->link, &h->watches); /* all of these are told */
	spin_unlock_irqrestore(&h->lock, flags);
}

void poll_watch_remove(struct poll_watch *w)
{
	irqflags_t flags;

	spin_lock_irqsave(&w->head->lock, flags);
	list_del_init(&w->link);
	spin_unlock_irqrestore(&w->head->lock, flags);
}

/* ---- looking --------------------------------------------------------------------------------- */

unsigned poll_file(struct open_file *f)
{
	if (file_flags(f) & O_PATH)
		return POLLNVAL;
	return f->ops && f->ops->poll ? f->ops->poll(f) : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

static unsigned poll_fd(int fd)
{
	struct fd f = fdget(fd);
	unsigned r = f.file ? poll_file(f.file) : POLLNVAL;

	fdput(f);
	return r;
}

/* What a call looks for, and the look: how many are ready, 0 to be called again, or an errno. */
struct look {
	long (*at)(struct look *l);
	uintptr_t fds; /* poll: struct pollfd there, n of them */
	unsigned long n;
	uint64_t *in, *out; /* select: three sets each, one after the other */
};

/* deadline: 0: none. -EINTR, or what look->at() said last. */
static long wait_ready(struct look *l, uint64_t deadline, bool wait)
{
	long ready = 0;
	int err;

	if (!wait)
		return l->at(l);
	atomic_add_of(&pollers, 1);
	err = wait_event(&ready_event, (ready = l->at(l)) != 0, true, deadline);
	atomic_sub_of(&pollers, 1);
	return err == -EINTR ? err : ready;
}

/* ---- poll ------------------------------------------------------------------------------------ */

/* How many are ready, told in their revents too, or -EFAULT. Errors come unasked. */
static long poll_all(struct look *l)
{
	struct {
		int fd;
		short events, revents;
	} p;
	long ready = 0;

	for (unsigned long i = 0; i < l->n; i++) {
		if (COPY_IN(p, l->fds + i * sizeof(p)))
			return -EFAULT;
		p.revents = 0;
		if (p.fd >= 0)
			p.revents = (short)(poll_fd(p.fd) &
					    ((unsigned)p.events | POLLERR | POLLHUP | POLLNVAL));
		ready += p.revents != 0;
		if (COPY_OUT(l->fds + i * sizeof(p), p))
			return -EFAULT;
	}
	return ready;
}

static long do_poll(uintptr_t fds, unsigned long n, uint64_t deadline, bool wait)
{
	struct look l = {.at = poll_all, .fds = fds, .n = n};

	if (n > rlimit_cur(current->proc, RLIMIT_NOFILE))
		return -EINVAL;
	return wait_ready(&l, deadline, wait);
}

SYSCALL3(poll, uintptr_t, fds, unsigned long, n, int, ms)
{
	return do_poll(fds, n, ms > 0 ? hal_clock_ns() + (uint64_t)ms * NS_PER_MS : 0, ms != 0);
}

/* When a call with that struct timespec ends. 0: never, or with *wait false at once. */
static int get_deadline(uintptr_t timeout, uint64_t *deadline, bool *wait)
{
	uint64_t ns;
	int err;

	*deadline = 0;
	*wait = true;
	if (!timeout)
		return 0;
	err = get_timespec(timeout, &ns);
	if (err)
		return err;
	*wait = ns;
	*deadline = ns ? hal_clock_ns() + ns : 0;
	return 0;
}

/* What is left of the time, back to where it came from; nowhere to write it is no error. */
static void put_rest(uintptr_t timeout, uint64_t deadline)
{
	uint64_t now = hal_clock_ns();

	if (timeout)
		(void)put_timespec(timeout, deadline > now ? deadline - now : 0);
}

SYSCALL5(ppoll, uintptr_t, fds, unsigned long, n, uintptr_t, timeout, uintptr_t, mask, size_t, mask_size)
{
	uint64_t deadline;
	bool wait;
	long r = get_deadline(timeout, &deadline, &wait);

	if (!r)
		r = call_mask_begin(mask, mask_size);
	if (r)
		return r;
	r = call_mask_end(do_poll(fds, n, deadline, wait));
	put_rest(timeout, deadline);
	return r;
}

/* ---- select ---------------------------------------------------------------------------------- */

#define SET_WORDS (MAX_FDS / 64)
enum { SETS = 3 };

static const unsigned set_asks[SETS] = {
	POLLIN | POLLRDNORM | POLLHUP | POLLERR, POLLOUT | POLLWRNORM | POLLERR, POLLPRI};

static long select_all(struct look *l)
{
	unsigned long words = (l->n + 63) / 64;
	long ready = 0;

	memset(l->out, 0, SETS * words * sizeof(*l->out));
	for (unsigned long fd = 0; fd < l->n; fd++) {
		uint64_t bit = 1ull << fd % 64;
		unsigned state, asked = 0;

		for (unsigned s = 0; s < SETS; s++)
			asked |= (l->in[s * words + fd / 64] & bit) != 0;
		if (!asked)
			continue;
		state = poll_fd((int)fd);
		if (state & POLLNVAL)
			return -EBADF;
		for (unsigned s = 0; s < SETS; s++)
			if (l->in[s * words + fd / 64] & bit && state & set_asks[s]) {
				l->out[s * words + fd / 64] |= bit;
				ready++;
			}
	}
	return ready;
}

/* Whole words of the user's sets, as Linux reads and writes them. */
static long do_select(int n, const uintptr_t set[SETS], uint64_t deadline, bool wait)
{
	unsigned long words = ((unsigned)n + 63) / 64;
	uint64_t in[SETS * SET_WORDS] = {0}, out[SETS * SET_WORDS];
	struct look l = {.at = select_all, .n = (unsigned)n, .in = in, .out = out};
	long r;

	for (unsigned s = 0; s < SETS; s++)
		if (set[s] && hal_copy_from_user(in + s * words, set[s], words * sizeof(*in)))
			return -EFAULT;
	r = wait_ready(&l, deadline, wait);
	if (r < 0)
		return r;
	for (unsigned s = 0; s < SETS; s++)
		if (set[s] && hal_copy_to_user(set[s], out + s * words, words * sizeof(*out)))
			return -EFAULT;
	return r;
}

static long select_from(int n, uintptr_t r, uintptr_t w, uintptr_t x, uint64_t deadline, bool wait)
{
	const uintptr_t set[SETS] = {r, w, x};
	int most = (int)READ_ONCE(current->proc->fds->size);

	if (n < 0)
		return -EINVAL;
	return do_select(min(n, most), set, deadline, wait);
}

SYSCALL5(select, int, n, uintptr_t, r, uintptr_t, w, uintptr_t, x, uintptr_t, timeout)
{
	uint64_t tv[2] = {1, 0}, deadline = 0, now;
	long ret;

	if (timeout) {
		if (COPY_IN(tv, timeout))
			return -EFAULT;
		if ((int64_t)tv[0] < 0 || (int64_t)tv[1] < 0)
			return -EINVAL;
		tv[0] = min(tv[0], UINT64_MAX / NS_PER_SEC / 4);
		tv[1] = min(tv[1], UINT64_MAX / NS_PER_US / 4);
		deadline = hal_clock_ns() + tv[0] * NS_PER_SEC + tv[1] * NS_PER_US;
	}
	ret = select_from(n, r, w, x, deadline, tv[0] || tv[1]);
	if (timeout) {
		now = hal_clock_ns();
		now = deadline > now ? deadline - now : 0;
		tv[0] = now / NS_PER_SEC;
		tv[1] = now % NS_PER_SEC / NS_PER_US;
		(void)COPY_OUT(timeout, tv);
	}
	return ret;
}

SYSCALL6(pselect6, int, n, uintptr_t, r, uintptr_t, w, uintptr_t, x, uintptr_t, timeout, uintptr_t, mask)
{
	uint64_t deadline, m[2] = {0};
	bool wait;
	long ret;

	if (mask && COPY_IN(m, mask))
		return -EFAULT;
	ret = get_deadline(timeout, &deadline, &wait);
	if (!ret)
		ret = call_mask_begin(m[0], m[1]);
	if (ret)
		return ret;
	ret = call_mask_end(select_from(n, r, w, x, deadline, wait));
	put_rest(timeout, deadline);
	return ret;
}
