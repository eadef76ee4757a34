/* SPDX-License-Identifier: MIT */
/*
 * Time: clock_gettime, nanosleep, setitimer; clocks, sleeping, and the alarm clock that sends
 * SIGALRM. The clock of the day starts at what the machine's own says; all others count from the start.
 */
#include "kernel.h"

struct timespec64 {
	int64_t sec, nsec;
};

int get_timespec(uintptr_t src, uint64_t *ns)
{
	struct timespec64 t;

	if (COPY_IN(t, src))
		return -EFAULT;
	if (t.sec < 0 || t.nsec < 0 || t.nsec >= (int64_t)NS_PER_SEC)
		return -EINVAL;
	*ns = min((uint64_t)t.sec, UINT64_MAX / NS_PER_SEC / 2) * NS_PER_SEC + (uint64_t)t.nsec;
	return 0;
}

int put_timespec(uintptr_t dst, uint64_t ns)
{
	struct timespec64 t = {(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC)};

	return COPY_OUT(dst, t);
}

/* The machine's clock at the start, less what the other clocks said then; or as it was set since. Atomic. */
static uint64_t day_offset;

void realtime_init(void)
{
	uint64_t day = hal_realtime_ns(), now = hal_clock_ns();

	day_offset = day > now ? day - now : 0;
}

uint64_t realtime_offset(void)
{
	return __atomic_load_n(&day_offset, __ATOMIC_RELAXED);
}

uint64_t realtime_ns(void)
{
	return hal_clock_ns() + realtime_offset();
}

static bool of_the_day(unsigned long id)
{
	return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_REALTIME_ALARM || id == CLOCK_TAI;
}

uint64_t clock_to_boot(unsigned long id, uint64_t at)
{
	uint64_t offset = of_the_day(id) ? realtime_offset() : 0;

	return at > offset ? at - offset : 1;
}

static int clock_now(unsigned long id, uint64_t *ns)
{
	struct usage u;

	if (id > CLOCK_TAI)
		return -EINVAL;
	if (id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID) {
		get_usage(current->proc, &u, NULL);
		*ns = u.utime_ns + u.stime_ns;
	} else {
		*ns = of_the_day(id) ? realtime_ns() : hal_clock_ns();
	}
	return 0;
}

SYSCALL2(clock_gettime, unsigned long, id, uintptr_t, dst)
{
	uint64_t ns;
	int err = clock_now(id, &ns);

	return err ? err : put_timespec(dst, ns);
}

/* Other clocks go on as they do. Timers by this one that are set keep their distance. */
SYSCALL2(clock_settime, unsigned long, id, uintptr_t, src)
{
	uint64_t ns, now = hal_clock_ns();
	int err = id == CLOCK_REALTIME ? get_timespec(src, &ns) : -EINVAL;

	if (err)
		return err;
	if (!capable(CAP_SYS_TIME))
		return -EPERM;
	if (ns < now) /* CLOCK_MONOTONIC is not to be ahead of it */
		return -EINVAL;
	__atomic_store_n(&day_offset, ns - now, __ATOMIC_RELAXED);
	return 0;
}

SYSCALL2(clock_getres, unsigned long, id, uintptr_t, dst)
{
	if (id > CLOCK_TAI)
		return -EINVAL;
	return dst ? put_timespec(dst, 1) : 0;
}

SYSCALL1(gettimeofday, uintptr_t, dst)
{
	uint64_t ns = realtime_ns(), tv[2] = {ns / NS_PER_SEC, ns % NS_PER_SEC / NS_PER_US};

	return dst ? COPY_OUT(dst, tv) : 0;
}

SYSCALL1(time, uintptr_t, dst)
{
	uint64_t t = realtime_ns() / NS_PER_SEC;

	return dst && COPY_OUT(dst, t) ? -EFAULT : (long)t;
}

SYSCALL1(times, uintptr_t, dst)
{
	struct usage u, c;
	uint64_t t[4];

	get_usage(current->proc, &u, &c);
	t[0] = u.utime_ns / TICK_NS;
	t[1] = u.stime_ns / TICK_NS;
	t[2] = c.utime_ns / TICK_NS;
	t[3] = c.stime_ns / TICK_NS;
	return dst && COPY_OUT(dst, t) ? -EFAULT : (long)(hal_clock_ns() / TICK_NS);
}

/* A signal that another thread took meanwhile does not end the sleep. */
static long sleep_until(uint64_t deadline, uintptr_t rem)
{
	uint64_t now;

	while ((now = hal_clock_ns()) < deadline) {
		if (wait_for_signal(deadline) != -EINTR || !signal_pending(current))
			continue;
		now = hal_clock_ns();
		if (rem && now < deadline && put_timespec(rem, deadline - now))
			return -EFAULT;
		return -EINTR;
	}
	return 0;
}

SYSCALL2(nanosleep, uintptr_t, time, uintptr_t, rem)
{
	uint64_t ns;
	int err = get_timespec(time, &ns);

	return err ? err : sleep_until(hal_clock_ns() + ns, rem);
}

SYSCALL4(clock_nanosleep, unsigned long, id, unsigned long, flags, uintptr_t, time, uintptr_t, rem)
{
	uint64_t ns;
	int err = id > CLOCK_TAI ? -EINVAL : get_timespec(time, &ns);

	if (err)
		return err;
	return flags & TIMER_ABSTIME ? sleep_until(clock_to_boot(id, ns), 0) : sleep_until(hal_clock_ns() + ns, rem);
}

/* ---- the alarm clock ------------------------------------------------------------------------- */

/* From at on, 0: not at all. */
static void set_alarm(struct process *p, uint64_t at)
{
	assert_held(&tasks_lock);
	p->alarm_at = at;
	if (at)
		timer_set(&p->alarm, at);
	else
		timer_cancel(&p->alarm);
}

/* In the tick, of a process that has not ended: its end cancels the timer. A late tick does not make up
 * for missed ones. The time was changed, perhaps, after the timer had run out. */
void alarm_rings(struct ktimer *timer)
{
	struct process *p = container_of(timer, struct process, alarm);
	struct hal_siginfo si = {.signo = SIGALRM, .code = SI_KERNEL};
	uint64_t now = hal_clock_ns();
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	if (p->alarm_at && p->alarm_at <= now) {
		set_alarm(p, p->alarm_period ? now + p->alarm_period : 0);
		post_signal_process(p, &si);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* One that is ringing just now does not set it again. */
void alarm_end(struct process *p)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	set_alarm(p, 0);
	spin_unlock_irqrestore(&tasks_lock, flags);
	timer_cancel_wait(&p->alarm);
}

/* What getitimer tells. */
struct alarm_state {
	uint64_t period, left;
};

/* What is left is at least a microsecond while the timer is set: 0 would say that it is not. */
static struct alarm_state alarm_state(const struct process *p)
{
	uint64_t now = hal_clock_ns();

	assert_held(&tasks_lock);
	return (struct alarm_state){
		p->alarm_period,
		!p->alarm_at ? 0 : p->alarm_at > now ? p->alarm_at - now : NS_PER_US};
}

/* Sets the timer to ring after a time, 0: not at all, and then with a period. The state before. */
static struct alarm_state exchange_alarm(uint64_t after, uint64_t period)
{
	struct process *p = current->proc;
	struct alarm_state old;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	old = alarm_state(p);
	p->alarm_period = period;
	set_alarm(p, after ? hal_clock_ns() + after : 0);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return old;
}

/* struct itimerval: the period, then what is left; each seconds and microseconds. */
static int put_timer(uintptr_t dst, const struct alarm_state *s)
{
	uint64_t t[4] = {s->period / NS_PER_SEC, s->period % NS_PER_SEC / NS_PER_US,
			 s->left / NS_PER_SEC, s->left % NS_PER_SEC / NS_PER_US};

	return dst ? COPY_OUT(dst, t) : 0;
}

/* ---- timers of a process's own time ----------------------------------------------------------- */

static struct cpu_timer *cpu_timer(struct process *p, unsigned long which)
{
	return which == ITIMER_VIRTUAL ? &p->virtual : &p->prof;
}

/* tasks_lock. */
static void cpu_timer_runs(struct process *p, struct cpu_timer *c, int sig)
{
	struct hal_siginfo si = {.signo = sig, .code = SI_KERNEL};

	if (!c->left)
		return;
	c->left -= min(c->left, (uint64_t)TICK_NS);
	if (c->left)
		return;
	c->left = c->period;
	post_signal_process(p, &si);
}

/* Whoever sets one from nothing is the process itself, so a tick of its own that looks without the lock does
 * not miss it. */
void cpu_timers_tick(struct task *t, bool user)
{
	struct process *p = t->proc;
	irqflags_t flags;

	if (!p || likely(!(READ_ONCE(p->virtual.left) | READ_ONCE(p->prof.left))))
		return;
	spin_lock_irqsave(&tasks_lock, flags);
	if (user)
		cpu_timer_runs(p, &p->virtual, SIGVTALRM);
	cpu_timer_runs(p, &p->prof, SIGPROF);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

static struct alarm_state timer_state(struct process *p, unsigned long which)
{
	struct cpu_timer *c = cpu_timer(p, which);

	assert_held(&tasks_lock);
	return which == ITIMER_REAL ? alarm_state(p) : (struct alarm_state){c->period, c->left};
}

static struct alarm_state exchange_timer(unsigned long which, uint64_t after, uint64_t period)
{
	struct process *p = current->proc;
	struct alarm_state old;
	irqflags_t flags;

	if (which == ITIMER_REAL)
		return exchange_alarm(after, period);
	spin_lock_irqsave(&tasks_lock, flags);
	old = timer_state(p, which);
	*cpu_timer(p, which) = (struct cpu_timer){after, period};
	spin_unlock_irqrestore(&tasks_lock, flags);
	return old;
}

SYSCALL2(getitimer, unsigned long, which, uintptr_t, dst)
{
	struct alarm_state s;
	irqflags_t flags;

	if (which > ITIMER_PROF)
		return -EINVAL;
	spin_lock_irqsave(&tasks_lock, flags);
	s = timer_state(current->proc, which);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return put_timer(dst, &s);
}

SYSCALL3(setitimer, unsigned long, which, uintptr_t, new_src, uintptr_t, old_dst)
{
	struct alarm_state old;
	uint64_t t[4] = {0};

	if (which > ITIMER_PROF)
		return -EINVAL;
	if (new_src && COPY_IN(t, new_src))
		return -EFAULT;
	if (t[1] >= US_PER_SEC || t[3] >= US_PER_SEC || t[0] >> 32 || t[2] >> 32)
		return -EINVAL;
	old = exchange_timer(which, t[2] * NS_PER_SEC + t[3] * NS_PER_US, t[0] * NS_PER_SEC + t[1] * NS_PER_US);
	return put_timer(old_dst, &old);
}

SYSCALL1(alarm, uint32_t, seconds)
{
	struct alarm_state old = exchange_alarm(seconds * NS_PER_SEC, 0);

	return (long)((old.left + NS_PER_SEC - 1) / NS_PER_SEC);
}
