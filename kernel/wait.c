/* SPDX-License-Identifier: MIT */
/*
 * Sleeping and waking. A waiter stands in a list that its key hashes to; looking whether to sleep and
 * beginning to are one under the list's lock, and so is waking, so no wake-up falls between them.
 *
 * Two ways to sleep. wait_while(): unless a word has changed, as os_wait() and event counts do. And in
 * two steps, for a condition that lies in user memory and so may fault: waiter_add(), look,
 * waiter_sleep() or waiter_remove(). From the first step on a wake-up finds the waiter.
 */
#include "kernel.h"
#include "lib/hash.h"
#include <quire/os.h>

#define BUCKETS 64
#define WAKES	32 /* under one hold of a list's lock */
#define CALLER	((uintptr_t)__builtin_return_address(0))

/* What ends a sleep early. */
enum { SLEEP_THROUGH = false, SLEEP_SIGNAL = true, SLEEP_FATAL };

static struct sleep_bucket {
	spinlock_t lock;
	struct list_head waiters; /* several keys in one list, in the order of their numbers: wake_up() compares */
	uint64_t entered;	  /* the last number; the lock */
} buckets[BUCKETS];

void wait_init(void)
{
	for (int i = 0; i < BUCKETS; i++) {
		spin_lock_init_rank(&buckets[i].lock, "sleepers", RANK_SLEEP);
		INIT_LIST_HEAD(&buckets[i].waiters);
	}
}

static struct sleep_bucket *bucket_of(const void *key, uintptr_t key2)
{
	return &buckets[hash64((uintptr_t)key ^ (key2 << 7)) % BUCKETS];
}

static struct list_head *waiters_of(struct sleep_bucket *b)
{
	assert_held(&b->lock);
	return &b->waiters;
}

/* ---- waiters --------------------------------------------------------------------------------- */

static void enqueue(struct sleep_bucket *b, struct waiter *w, const void *key, uintptr_t key2)
{
	*w = (struct waiter){.task = current, .key = key, .key2 = key2, .queued = true, .number = ++b->entered};
	list_add_tail(&w->link, waiters_of(b));
}

/* The task sleeps here, or is about to; NULL: it does not. Only the lock of the list that it sleeps in
 * lets this change, so who holds a list's lock and finds it there can rely on t->waiter. */
static void set_sleeping(struct task *t, struct sleep_bucket *b, struct waiter *w)
{
	t->waiter = w;
	/* as who sends a signal or asks to stop: each stores one word, and then loads the other's */
	__atomic_store_n(&t->sleeps_in, b, __ATOMIC_SEQ_CST);
}

static void leave_list(struct waiter *w, int result)
{
	list_del(&w->link);
	w->queued = false;
	w->result = result;
}

/* A waiter that sleeps becomes runnable; one that only stands in the list finds out when it looks.
 * The lock is held; afterwards w may be gone, for it lies on the stack of its task. */
static void dequeue(struct sleep_bucket *b, struct waiter *w, int result)
{
	struct task *t = w->task;
	bool sleeps = READ_ONCE(t->sleeps_in) == b && t->waiter == w;

	leave_list(w, result);
	if (sleeps) {
		t->waiter = NULL;
		__atomic_store_n(&t->sleeps_in, NULL, __ATOMIC_RELEASE);
		make_runnable(t);
	}
}

/* The caller keeps t from going away. Which list it sleeps in may change until that is locked. */
static void wake_if(struct task *t, int result, bool interruptible_only)
{
	for (;;) {
		struct sleep_bucket *b = __atomic_load_n(&t->sleeps_in, __ATOMIC_SEQ_CST);
		irqflags_t flags;
		bool found;

		if (!b)
			return;
		spin_lock_irqsave(&b->lock, flags);
		found = READ_ONCE(t->sleeps_in) == b;
		if (found && (t->interruptible || !interruptible_only || (t->killable && fatal_signal_pending(t))))
			dequeue(b, t->waiter, result);
		spin_unlock_irqrestore(&b->lock, flags);
		if (found)
			return;
	}
}

/* A task's deadline is over. */
static void sleeper_timeout(struct ktimer *timer)
{
	wake_if(container_of(timer, struct task, timer), -ETIMEDOUT, false);
}

/* Why not to sleep at all: 0, -EINTR, -ETIMEDOUT. */
static int may_not_sleep(unsigned until, uint64_t deadline)
{
	if (until == SLEEP_SIGNAL && (signal_pending(current) || kthread_should_stop()))
		return -EINTR;
	if (until == SLEEP_FATAL && fatal_signal_pending(current))
		return -EINTR;
	return deadline && hal_clock_ns() >= deadline ? -ETIMEDOUT : 0;
}

/* w stands in the list. The bucket's lock is held and let go, interrupts stay off. Whoever wakes us from
 * there on finds a task that sleeps, or one that is just about to give up its CPU. */
static int sleep_in(struct sleep_bucket *b, struct waiter *w, unsigned until, uint64_t deadline,
		    uintptr_t caller)
{
	struct task *t = current;
	int err;

	ASSERT(!is_idle(t) && hal_irqs_off());
	w->caller = caller;
	t->interruptible = until == SLEEP_SIGNAL;
	t->killable = until == SLEEP_FATAL;
	set_sleeping(t, b, w);
	err = may_not_sleep(until, deadline);
	if (err) {
		set_sleeping(t, NULL, NULL);
		leave_list(w, err);
		spin_unlock(&b->lock);
		return err;
	}
	t->state = TASK_SLEEPING;
	spin_unlock(&b->lock);
	if (deadline) {
		t->timer.fn = sleeper_timeout;
		timer_set(&t->timer, deadline);
	}
	schedule();
	if (deadline)
		timer_cancel_wait(&t->timer);
	return w->result;
}

void waiter_add(struct waiter *w, const void *key, uintptr_t key2)
{
	struct sleep_bucket *b = bucket_of(key, key2);
	irqflags_t flags;

	spin_lock_irqsave(&b->lock, flags);
	enqueue(b, w, key, key2);
	spin_unlock_irqrestore(&b->lock, flags);
}

bool waiter_remove(struct waiter *w)
{
	struct sleep_bucket *b = bucket_of(w->key, w->key2);
	irqflags_t flags;
	bool waits;

	spin_lock_irqsave(&b->lock, flags);
	waits = w->queued;
	if (waits)
		leave_list(w, 0);
	spin_unlock_irqrestore(&b->lock, flags);
	return waits;
}

int waiter_sleep(struct waiter *w, bool interruptible, uint64_t deadline)
{
	struct sleep_bucket *b = bucket_of(w->key, w->key2);
	irqflags_t flags;
	int err = 0;

	might_sleep();
	spin_lock_irqsave(&b->lock, flags);
	if (w->queued)
		err = sleep_in(b, w, interruptible, deadline, CALLER);
	else
		spin_unlock(&b->lock);
	hal_irq_restore(flags);
	return err;
}

/* Sleeps on the key, unless *word is not `seen` any more. 0, -EINTR, -ETIMEDOUT. */
static int wait_while(const void *key, const uint32_t *word, uint32_t seen, unsigned until,
		      uint64_t deadline, uintptr_t caller)
{
	struct sleep_bucket *b = bucket_of(key, 0);
	irqflags_t flags;
	struct waiter w;
	int err = 0;

	might_sleep();
	if (unlikely(is_idle(current))) { /* at the end, for a thread of the core on another CPU */
		idle_while(word, seen);
		return 0;
	}
	spin_lock_irqsave(&b->lock, flags);
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen) {
		enqueue(b, &w, key, 0);
		err = sleep_in(b, &w, until, deadline, caller);
	} else {
		spin_unlock(&b->lock);
	}
	hal_irq_restore(flags);
	return err;
}

/* ---- waking ---------------------------------------------------------------------------------- */

/* Wakes up to n of those that wait for the key and came no later than *last. */
static unsigned wake_some(struct sleep_bucket *b, const void *key, uintptr_t key2, unsigned n, uint64_t *last)
{
	struct waiter *w, *next;
	irqflags_t flags;
	unsigned woken = 0;

	spin_lock_irqsave(&b->lock, flags);
	*last = min(*last, b->entered);
	list_for_each_entry_safe(w, next, waiters_of(b), link) {
		if (woken >= n || w->number > *last)
			break;
		if (w->key != key || w->key2 != key2)
			continue;
		dequeue(b, w, 0);
		woken++;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return woken;
}

unsigned wake_up(const void *key, uintptr_t key2, unsigned n)
{
	struct sleep_bucket *b = bucket_of(key, key2);
	uint64_t last = UINT64_MAX; /* who waits again while we wake the others is not woken again */
	unsigned woken = 0, some;

	do {
		some = wake_some(b, key, key2, min(n - woken, (unsigned)WAKES), &last);
		woken += some;
	} while (some == WAKES && woken < n);
	return woken;
}

bool anybody_waits(const void *key, uintptr_t key2)
{
	struct sleep_bucket *b = bucket_of(key, key2);
	irqflags_t flags;
	struct waiter *w;
	bool found = false;

	spin_lock_irqsave(&b->lock, flags);
	list_for_each_entry(w, waiters_of(b), link)
		found |= w->key == key && w->key2 == key2;
	spin_unlock_irqrestore(&b->lock, flags);
	return found;
}

void interrupt_task(struct task *t)
{
	wake_if(t, -EINTR, true);
}

/* ---- event counts ---------------------------------------------------------------------------- */

int wait_sleep(struct wait_head *h, uint32_t seen, bool interruptible, uint64_t deadline)
{
	int err = wait_while(h, &h->events, seen, interruptible, deadline, CALLER);

	/* A stop ends the sleep and not the wait. */
	return unlikely(err == -EINTR) && stop_in_call() ? 0 : err;
}

void wake_all(struct wait_head *h)
{
	__atomic_fetch_add(&h->events, 1, __ATOMIC_RELEASE);
	wake_up(h, 0, ~0u);
}

/* ---- what the core asks for ------------------------------------------------------------------ */

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	(void)wait_while(key, word, seen, false, 0, CALLER);
}

/* Only being stopped ends it early: a signal to a process does not. */
void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	uint64_t deadline = deadline_ns == UINT64_MAX ? 0 : max(deadline_ns, (uint64_t)1);

	(void)wait_while(key, word, seen, current->kthread ? SLEEP_SIGNAL : SLEEP_THROUGH, deadline, CALLER);
}

void os_wait_killable(const void *key, const uint32_t *word, uint32_t seen, bool any_signal)
{
	(void)wait_while(key, word, seen, any_signal ? SLEEP_SIGNAL : SLEEP_FATAL, 0, CALLER);
}

void os_wake(const void *key, unsigned n)
{
	wake_up(key, 0, n);
}
