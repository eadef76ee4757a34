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
#define CALLER	((uintptr_t)__builtin_return_address(0))

static struct sleep_bucket {
	spinlock_t lock;
	struct list_head waiters; /* several keys in one list: wake_up() compares */
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
	*w = (struct waiter){.task = current, .key = key, .key2 = key2, .queued = true};
	list_add_tail(&w->link, waiters_of(b));
}

/* A waiter that sleeps becomes runnable; one that only stands in the list finds out when it looks.
 * The lock is held; afterwards w may be gone, for it lies on the stack of its task. */
static void dequeue(struct waiter *w, int result)
{
	struct task *t = w->task;
	bool sleeps = t->waiter == w;

	list_del(&w->link);
	w->queued = false;
	w->result = result;
	if (sleeps) {
		t->waiter = NULL;
		make_runnable(t);
	}
}

/* The caller keeps t from going away. Which list it stands in may change until that is locked; with
 * several CPUs w itself could be gone by then. */
static void wake_if(struct task *t, int result, bool interruptible_only)
{
	for (;;) {
		struct waiter *w = READ_ONCE(t->waiter);
		struct sleep_bucket *b;
		irqflags_t flags;
		bool found;

		if (!w)
			return;
		b = bucket_of(w->key, w->key2);
		spin_lock_irqsave(&b->lock, flags);
		found = t->waiter == w;
		if (found && (t->interruptible || !interruptible_only))
			dequeue(w, result);
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

/* The bucket's lock is held and let go, interrupts stay off: nobody comes between this and the
 * switch. */
static int sleep_in(struct sleep_bucket *b, struct waiter *w, bool interruptible, uint64_t deadline,
		    uintptr_t caller)
{
	struct task *t = current;

	ASSERT(!is_idle(t) && hal_irqs_off());
	w->caller = caller;
	t->interruptible = interruptible;
	t->waiter = w;
	t->state = TASK_SLEEPING;
	spin_unlock(&b->lock);
	if (deadline) {
		t->timer.fn = sleeper_timeout;
		timer_set(&t->timer, deadline);
	}
	schedule();
	if (deadline)
		timer_cancel(&t->timer);
	return w->result;
}

/* Why not to sleep at all: 0, -EINTR, -ETIMEDOUT. */
static int may_not_sleep(bool interruptible, uint64_t deadline)
{
	if (interruptible && signal_pending(current))
		return -EINTR;
	return deadline && hal_clock_ns() >= deadline ? -ETIMEDOUT : 0;
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
		dequeue(w, 0);
	spin_unlock_irqrestore(&b->lock, flags);
	return waits;
}

int waiter_sleep(struct waiter *w, bool interruptible, uint64_t deadline)
{
	struct sleep_bucket *b = bucket_of(w->key, w->key2);
	irqflags_t flags;
	int err;

	might_sleep();
	spin_lock_irqsave(&b->lock, flags);
	err = w->queued ? may_not_sleep(interruptible, deadline) : 0;
	if (err)
		dequeue(w, err);
	if (w->queued)
		err = sleep_in(b, w, interruptible, deadline, CALLER);
	else
		spin_unlock(&b->lock);
	hal_irq_restore(flags);
	return err;
}

/* Sleeps on the key, unless *word is not `seen` any more. 0, -EINTR, -ETIMEDOUT. */
static int wait_while(const void *key, const uint32_t *word, uint32_t seen, bool interruptible,
		      uint64_t deadline, uintptr_t caller)
{
	struct sleep_bucket *b = bucket_of(key, 0);
	irqflags_t flags;
	struct waiter w;
	int err = 0;

	might_sleep();
	spin_lock_irqsave(&b->lock, flags);
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen) {
		err = may_not_sleep(interruptible, deadline);
		if (!err) {
			enqueue(b, &w, key, 0);
			err = sleep_in(b, &w, interruptible, deadline, caller);
			hal_irq_restore(flags);
			return err;
		}
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return err;
}

/* ---- waking ---------------------------------------------------------------------------------- */

unsigned wake_up(const void *key, uintptr_t key2, unsigned n)
{
	struct sleep_bucket *b = bucket_of(key, key2);
	struct waiter *w, *next;
	irqflags_t flags;
	unsigned woken = 0;

	spin_lock_irqsave(&b->lock, flags);
	list_for_each_entry_safe(w, next, waiters_of(b), link) {
		if (woken >= n)
			break;
		if (w->key != key || w->key2 != key2)
			continue;
		dequeue(w, 0);
		woken++;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return woken;
}

void interrupt_task(struct task *t)
{
	wake_if(t, -EINTR, true);
}

/* ---- event counts ---------------------------------------------------------------------------- */

int wait_sleep(struct wait_head *h, uint32_t seen, bool interruptible, uint64_t deadline)
{
	return wait_while(h, &h->events, seen, interruptible, deadline, CALLER);
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

void os_wake(const void *key, unsigned n)
{
	wake_up(key, 0, n);
}
