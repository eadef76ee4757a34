/* SPDX-License-Identifier: MIT */
/*
 * timerfd: a timer that is read: how often it has run out since it was set or last read.
 *
 * The kernel's timer rings once; how often a periodic one has run out follows from the time when somebody
 * asks, and then it is set to ring anew.
 */
#include "kernel/kernel.h"

struct timerfd {
	spinlock_t lock;   /* RANK_EPOLL; a tick takes it */
	unsigned long clock;
	uint64_t at;	   /* ns since boot when it next runs out, 0: never */
	uint64_t period;   /* 0: it runs out once */
	struct ktimer timer;
	struct wait_head expired;
	struct poll_head polls;
};

static void ring(struct ktimer *k)
{
	struct timerfd *t = container_of(k, struct timerfd, timer);

	wake_all(&t->expired);
	poll_tell(&t->polls, POLLIN | POLLRDNORM);
}

/* Has it run out by now? */
static bool is_over(const struct timerfd *t)
{
	assert_held(&t->lock);
	return t->at && t->at <= hal_clock_ns();
}

static void set(struct timerfd *t, uint64_t at)
{
	assert_held(&t->lock);
	t->at = at;
	if (at)
		timer_set(&t->timer, at);
	else
		timer_cancel(&t->timer);
}

/* How often it has run out, which is forgotten; 0: not yet. */
static bool take(struct timerfd *t, uint64_t *n)
{
	irqflags_t flags;

	spin_lock_irqsave(&t->lock, flags);
	*n = is_over(t);
	if (*n && t->period)
		*n += (hal_clock_ns() - t->at) / t->period;
	if (*n)
		set(t, t->period ? t->at + *n * t->period : 0);
	spin_unlock_irqrestore(&t->lock, flags);
	return *n;
}

static long timerfd_read(struct open_file *f, uintptr_t buf, size_t size, uint64_t *pos)
{
	struct timerfd *t = f->priv;
	uint64_t n;

	if (size < sizeof(n))
		return -EINVAL;
	if (!take(t, &n)) {
		if (file_flags(f) & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event(&t->expired, take(t, &n), true, 0))
			return -ERESTARTSYS;
	}
	return COPY_OUT(buf, n) ? -EFAULT : (long)sizeof(n);
}

static unsigned timerfd_poll(struct open_file *f)
{
	struct timerfd *t = f->priv;
	irqflags_t flags;
	bool over;

	spin_lock_irqsave(&t->lock, flags);
	over = is_over(t);
	spin_unlock_irqrestore(&t->lock, flags);
	return over ? POLLIN | POLLRDNORM : 0;
}

static struct poll_head *timerfd_poll_head(struct open_file *f)
{
	struct timerfd *t = f->priv;

	return &t->polls;
}

static void timerfd_release(struct open_file *f)
{
	struct timerfd *t = f->priv;

	timer_cancel_wait(&t->timer);
	quire_kfree(t);
}

static const struct file_ops timerfd_ops = {.read = timerfd_read, .poll = timerfd_poll,
					    .poll_head = timerfd_poll_head,
					    .release = timerfd_release};

static bool known_clock(unsigned long id)
{
	return id == CLOCK_REALTIME || id == CLOCK_MONOTONIC || id == CLOCK_BOOTTIME ||
	       id == CLOCK_REALTIME_ALARM || id == CLOCK_BOOTTIME_ALARM;
}

SYSCALL2(timerfd_create, unsigned long, clock, unsigned, flags)
{
	struct open_file *f;
	struct timerfd *t;

	if (flags & ~(O_CLOEXEC | O_NONBLOCK) || !known_clock(clock))
		return -EINVAL;
	t = quire_kmalloc(sizeof(*t), QUIRE_GFP_ZERO);
	if (!t)
		return -ENOMEM;
	spin_lock_init_rank(&t->lock, "timerfd", RANK_EPOLL);
	t->clock = clock;
	t->timer.fn = ring;
	poll_head_init(&t->polls);
	f = anon_file("anon_inode:[timerfd]", &timerfd_ops, t, O_RDWR | (flags & O_NONBLOCK));
	if (f)
		return file_install(f, flags);
	quire_kfree(t);
	return -ENOMEM;
}

/* The state as timerfd_gettime tells it: struct itimerspec, the period and what is left. */
struct state {
	uint64_t period, left;
};

static struct state state_of(const struct timerfd *t)
{
	uint64_t now = hal_clock_ns();
	struct state s = {t->period, 0};

	assert_held(&t->lock);
	if (!t->at)
		return s;
	if (t->at > now)
		s.left = t->at - now;
	else if (t->period)
		s.left = t->period - (now - t->at) % t->period;
	return s;
}

static int put_state(uintptr_t dst, const struct state *s)
{
	int err = put_timespec(dst, s->period);

	return err ? err : put_timespec(dst + 2 * sizeof(uint64_t), s->left);
}

/* The file of a descriptor that must be a timer's; f.file NULL: it is none, and why. */
static struct fd get_timer(int fd, int *err)
{
	struct fd f = fdget(fd);

	*err = !f.file ? -EBADF : f.file->ops != &timerfd_ops ? -EINVAL : 0;
	if (!*err || !f.file)
		return f;
	fdput(f);
	return (struct fd){0};
}

/* On the clock's own time, ns; as time since boot, where 0 would say never. */
static uint64_t since_boot(const struct timerfd *t, uint64_t at)
{
	return clock_to_boot((unsigned long)t->clock, at);
}

static void set_timer(struct timerfd *t, unsigned flags, uint64_t value, uint64_t period, struct state *old)
{
	irqflags_t irq;

	spin_lock_irqsave(&t->lock, irq);
	*old = state_of(t);
	t->period = period;
	if (value)
		value = flags & TFD_TIMER_ABSTIME ? since_boot(t, value) : hal_clock_ns() + value;
	set(t, value);
	spin_unlock_irqrestore(&t->lock, irq);
}

SYSCALL4(timerfd_settime, int, fd, unsigned, flags, uintptr_t, new_src, uintptr_t, old_dst)
{
	uint64_t period, value;
	struct state old;
	struct fd f;
	int err;

	if (flags & ~(unsigned)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
		return -EINVAL;
	err = get_timespec(new_src, &period);
	if (!err)
		err = get_timespec(new_src + 2 * sizeof(uint64_t), &value);
	if (err)
		return err;
	f = get_timer(fd, &err);
	if (err)
		return err;
	set_timer(f.file->priv, flags, value, period, &old);
	fdput(f);
	return old_dst ? put_state(old_dst, &old) : 0;
}

SYSCALL2(timerfd_gettime, int, fd, uintptr_t, dst)
{
	struct timerfd *t;
	struct state s;
	irqflags_t flags;
	int err;
	struct fd f = get_timer(fd, &err);

	if (err)
		return err;
	t = f.file->priv;
	spin_lock_irqsave(&t->lock, flags);
	s = state_of(t);
	spin_unlock_irqrestore(&t->lock, flags);
	fdput(f);
	return put_state(dst, &s);
}
