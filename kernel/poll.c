/* SPDX-License-Identifier: MIT */
/*
 * Waiting for files: poll, ppoll, select, pselect6, and how the change of a file is told.
 *
 * Whoever watches a file stands in its poll_head and is told there: a call that waits for as long as it does,
 * an epoll instance for longer (events/epoll.c). A call looks at its files once and enters the heads of those
 * on the way, until one is ready; then it sleeps until one of its entries is told something that was asked
 * for, and looks again. The entries keep their files, so that a head does not go away under them.
 *
 * A watcher that is a file itself has watchers of its own. They are told after the first head's lock was let
 * go, one after the other, so that however long the chain is no two locks of one rank are held.
 */
#include "kernel.h"

/* A file that a call waits for. */
struct poll_entry {
	struct poll_watch watch;
	struct poll_entry *next;
	struct open_file *file; /* with a reference */
	struct poller *poller;
	unsigned asked;
};

#define FEW 4

/* A call that waits, on its stack. */
struct poller {
	struct wait_head told;
	struct poll_entry *entries, few[FEW];
	unsigned n;
};

static unsigned pollers; /* calls that wait for some file; atomic */

bool poll_awaited(void)
{
	return atomic_load_of(&pollers);
}

/* ---- telling --------------------------------------------------------------------------------- */

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

static bool poller_told(struct poll_watch *w, unsigned events, struct list_head *relays)
{
	struct poll_entry *e = container_of(w, struct poll_entry, watch);

	if (events && !(events & e->asked))
		return false;
	wake_all(&e->poller->told);
	return true;
}

/* From here on the call is told of the file. A file without a head never changes. 0 or -ENOMEM. */
static int poller_enter(struct poller *p, struct open_file *f, unsigned asked)
{
	struct poll_entry *e = p->n < FEW ? &p->few[p->n] : NULL;

	if (file_flags(f) & O_PATH || !f->ops || !f->ops->poll_head)
		return 0;
	if (!e)
		e = quire_kmalloc(sizeof(*e), 0);
	if (!e)
		return -ENOMEM;
	*e = (struct poll_entry){.watch.told = poller_told, .next = p->entries, .file = f, .poller = p, .asked = asked};
	file_get(f);
	if (!p->n++)
		atomic_add_of(&pollers, 1);
	p->entries = e;
	poll_watch_add(&e->watch, f->ops->poll_head(f));
	return 0;
}

static void poller_leave(struct poller *p)
{
	struct poll_entry *e, *next;

	if (p->n)
		atomic_sub_of(&pollers, 1);
	for (e = p->entries; e; e = next) {
		next = e->next;
		poll_watch_remove(&e->watch);
		file_put(e->file);
		if (e < p->few || e >= p->few + FEW)
			quire_kfree(e);
	}
}

/* What a call looks for, and the look: how many are ready, 0 to be called again, or an errno. */
struct look {
	long (*at)(struct look *l);
	uintptr_t fds; /* poll: struct pollfd there, n of them */
	unsigned long n;
	uint64_t *in, *out; /* select: three sets each, one after the other */
	struct poller *enters; /* the heads of what it looks at, as long as nothing is ready; NULL: no more */
};

/* What the descriptor is ready for of what is asked, which is told if it comes later; all of POLLNVAL if there
 * is none. 0, or -ENOMEM. */
static int poll_fd(struct look *l, int fd, unsigned asked, unsigned *ready)
{
	struct fd f = fdget(fd);
	int err = 0;

	if (f.file && l->enters)
		err = poller_enter(l->enters, f.file, asked);
	*ready = (f.file ? poll_file(f.file) : POLLNVAL) & asked;
	if (*ready)
		l->enters = NULL;
	fdput(f);
	return err;
}

static long look_again(struct look *l)
{
	long ready = l->at(l);

	l->enters = NULL;
	return ready;
}

/* deadline: 0: none. -EINTR, or what look->at() said last. */
static long wait_ready(struct look *l, uint64_t deadline, bool wait)
{
	struct poller p = {0};
	long ready = 0;
	int err;

	if (!wait)
		return l->at(l);
	l->enters = &p;
	err = wait_event(&p.told, (ready = look_again(l)) != 0, true, deadline);
	poller_leave(&p);
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
	unsigned state;
	long ready = 0;

	for (unsigned long i = 0; i < l->n; i++) {
		if (COPY_IN(p, l->fds + i * sizeof(p)))
			return -EFAULT;
		state = 0;
		if (p.fd >= 0 &&
		    poll_fd(l, p.fd, (unsigned short)p.events | POLLERR | POLLHUP | POLLNVAL, &state))
			return -ENOMEM;
		p.revents = (short)state;
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
			asked |= l->in[s * words + fd / 64] & bit ? set_asks[s] : 0;
		if (!asked)
			continue;
		if (poll_fd(l, (int)fd, asked | POLLNVAL, &state))
			return -ENOMEM;
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
