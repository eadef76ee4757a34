/* SPDX-License-Identifier: MIT */
/*
 * Timers of a process that send signals: timer_create and its relatives. Each has one signal that waits at a
 * time, and counts the times that it runs out meanwhile; the count is told when the signal is taken.
 */
#include "kernel/kernel.h"

#define OVERRUN_MAX INT32_MAX

struct posix_timer {
	struct posix_timer *next; /* of the process; this and what follows: tasks_lock */
	struct process *proc;
	int id, notify, tid;
	unsigned long clock;
	uint64_t at, period; /* ns since boot; 0: not set, once */
	uint64_t missed, told; /* since the signal was sent; before it was taken */
	struct sigqueue q;
	struct ktimer timer;
};

struct user_sigevent {
	uint64_t value;
	int32_t signo, notify, tid;
	int32_t rest[11];
};
_Static_assert(sizeof(struct user_sigevent) == 64, "struct sigevent");

static void set(struct posix_timer *t, uint64_t at)
{
	assert_held(&tasks_lock);
	t->at = at;
	if (at)
		timer_set(&t->timer, at);
	else
		timer_cancel(&t->timer);
}

static bool post(struct posix_timer *t)
{
	struct task *task;

	if (!(t->notify & SIGEV_THREAD_ID))
		return post_queued_process(t->proc, &t->q);
	task = find_task(t->tid);
	return task && task->proc == t->proc && post_queued_task(task, &t->q);
}

/* In the tick. A late one makes up for those it missed, by counting them. */
static void ring(struct ktimer *k)
{
	struct posix_timer *t = container_of(k, struct posix_timer, timer);
	uint64_t now = hal_clock_ns(), times = 1;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	if (t->at && t->at <= now) {
		if (t->period)
			times += (now - t->at) / t->period;
		set(t, t->period ? t->at + times * t->period : 0);
		if (t->q.queued) {
			t->missed += times;
		} else if (t->notify != SIGEV_NONE && post(t)) {
			t->missed = times - 1;
		}
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void posix_timer_taken(struct posix_timer *t, struct hal_siginfo *si)
{
	assert_held(&tasks_lock);
	t->told = min(t->missed, (uint64_t)OVERRUN_MAX);
	t->missed = 0;
	si->uid = (int)t->told;
}

/* ---- of a process ---------------------------------------------------------------------------- */

static struct posix_timer *find(int id)
{
	struct posix_timer *t = current->proc->timers;

	assert_held(&tasks_lock);
	while (t && t->id != id)
		t = t->next;
	return t;
}

/* It is in no list any more. */
static void end(struct posix_timer *t)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	set(t, 0);
	t->period = 0;
	spin_unlock_irqrestore(&tasks_lock, flags);
	timer_cancel_wait(&t->timer);
	signal_forget(t->proc, &t->q);
	quire_kfree(t);
}

void posix_timers_end(struct process *p)
{
	struct posix_timer *t;
	irqflags_t flags;

	while (READ_ONCE(p->timers)) {
		spin_lock_irqsave(&tasks_lock, flags);
		t = p->timers;
		p->timers = t->next;
		spin_unlock_irqrestore(&tasks_lock, flags);
		end(t);
	}
}

static bool known_clock(unsigned long id)
{
	return id == CLOCK_REALTIME || id == CLOCK_MONOTONIC || id == CLOCK_BOOTTIME || id == CLOCK_TAI;
}

/* What the user wants told; without it SIGALRM with the timer's number. */
static int get_event(uintptr_t src, struct user_sigevent *e)
{
	*e = (struct user_sigevent){.signo = SIGALRM, .notify = SIGEV_SIGNAL};
	if (src && COPY_IN(*e, src))
		return -EFAULT;
	if (e->notify != SIGEV_NONE && (e->signo <= 0 || e->signo > NSIG))
		return -EINVAL;
	return e->notify == SIGEV_SIGNAL || e->notify == SIGEV_NONE || e->notify == SIGEV_THREAD_ID
		       ? 0 : -EINVAL;
}

static int enter(struct posix_timer *t, bool has_value)
{
	struct process *p = current->proc;
	struct task *task;
	irqflags_t flags;
	int err = 0;

	spin_lock_irqsave(&tasks_lock, flags);
	task = t->notify == SIGEV_THREAD_ID ? find_task(t->tid) : current;
	if (!task || task->proc != p) {
		err = -EINVAL;
	} else {
		t->id = t->q.info.pid = p->next_timer++;
		if (!has_value)
			t->q.info.value = (unsigned long)t->id;
		t->next = p->timers;
		WRITE_ONCE(p->timers, t);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return err;
}

SYSCALL3(timer_create, unsigned long, clock, uintptr_t, event, uintptr_t, id_dst)
{
	struct user_sigevent e;
	struct posix_timer *t;
	int err = known_clock(clock) ? get_event(event, &e) : -EINVAL;

	if (err)
		return err;
	t = quire_kmalloc(sizeof(*t), QUIRE_GFP_ZERO);
	if (!t)
		return -EAGAIN;
	t->proc = current->proc;
	t->clock = clock;
	t->notify = e.notify;
	t->tid = e.tid;
	t->timer.fn = ring;
	t->q.timer = t;
	t->q.info = (struct hal_siginfo){.signo = e.signo, .code = SI_TIMER, .value = e.value};
	err = enter(t, event);
	if (err) {
		quire_kfree(t);
		return err;
	}
	return COPY_OUT(id_dst, t->id) ? -EFAULT : 0;
}

SYSCALL1(timer_delete, int, id)
{
	struct posix_timer **at, *t;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	at = &current->proc->timers;
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	t = *at;
	if (t)
		*at = t->next;
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (!t)
		return -EINVAL;
	end(t);
	return 0;
}

struct state {
	uint64_t period, left;
};

static struct state state_of(const struct posix_timer *t)
{
	uint64_t now = hal_clock_ns();

	return (struct state){t->period, !t->at ? 0 : t->at > now ? t->at - now : 1};
}

static int put_state(uintptr_t dst, const struct state *s)
{
	int err = put_timespec(dst, s->period);

	return err ? err : put_timespec(dst + 2 * sizeof(uint64_t), s->left);
}

SYSCALL2(timer_gettime, int, id, uintptr_t, dst)
{
	struct posix_timer *t;
	struct state s;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	t = find(id);
	if (t)
		s = state_of(t);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return t ? put_state(dst, &s) : -EINVAL;
}

SYSCALL1(timer_getoverrun, int, id)
{
	struct posix_timer *t;
	irqflags_t flags;
	long r;

	spin_lock_irqsave(&tasks_lock, flags);
	t = find(id);
	r = t ? (long)t->told : -EINVAL;
	spin_unlock_irqrestore(&tasks_lock, flags);
	return r;
}

/* On the timer's clock, as time since boot, where 0 would say never. */
static uint64_t since_boot(const struct posix_timer *t, uint64_t at)
{
	uint64_t offset = t->clock == CLOCK_REALTIME || t->clock == CLOCK_TAI ? realtime_offset() : 0;

	return at > offset ? at - offset : 1;
}

SYSCALL4(timer_settime, int, id, unsigned, how, uintptr_t, new_src, uintptr_t, old_dst)
{
	uint64_t period, value;
	struct posix_timer *t;
	struct state old;
	irqflags_t flags;
	int err = get_timespec(new_src, &period);

	if (!err)
		err = get_timespec(new_src + 2 * sizeof(uint64_t), &value);
	if (err)
		return err;
	spin_lock_irqsave(&tasks_lock, flags);
	t = find(id);
	if (t) {
		old = state_of(t);
		t->period = value ? period : 0;
		t->missed = t->told = 0;
		if (value)
			value = how & TIMER_ABSTIME ? since_boot(t, value) : hal_clock_ns() + value;
		set(t, value);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (!t)
		return -EINVAL;
	return old_dst ? put_state(old_dst, &old) : 0;
}
