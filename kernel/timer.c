/* SPDX-License-Identifier: MIT */
/*
 * Timers: things to do at a time, looked at by the tick. A tree by time with its first one at hand, so
 * a tick costs nothing while none is due, however many wait.
 */
#include "kernel.h"

#define EXPIRE_MAX 32 /* a tick: interrupts are off meanwhile, the rest has the next one */

static spinlock_t timer_lock = SPINLOCK_INIT_RANK("timers", RANK_TIMER);
static struct rb_root timers = RB_ROOT;
static struct ktimer *first; /* NULL: none */
static struct ktimer *running; /* its function runs now, or is about to; cleared with release */

void timers_init(void)
{
	timers = RB_ROOT;
	first = running = NULL;
}

static struct ktimer *entry(struct rb_node *n)
{
	return n ? rb_entry(n, struct ktimer, node) : NULL;
}

static void insert(struct ktimer *t)
{
	struct rb_node **link = &timers.rb_node, *parent = NULL;

	assert_held(&timer_lock);
	while (*link) {
		parent = *link;
		link = t->at < entry(parent)->at ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&t->node, parent, link);
	rb_insert_color(&t->node, &timers);
	t->armed = true;
	if (!first || t->at < first->at)
		first = t;
}

static void remove(struct ktimer *t)
{
	assert_held(&timer_lock);
	if (!t->armed)
		return;
	if (first == t)
		first = entry(rb_next(&t->node));
	rb_erase(&t->node, &timers);
	t->armed = false;
}

void timer_set(struct ktimer *t, uint64_t at)
{
	irqflags_t flags;

	spin_lock_irqsave(&timer_lock, flags);
	remove(t);
	t->at = at;
	insert(t);
	spin_unlock_irqrestore(&timer_lock, flags);
}

void timer_cancel(struct ktimer *t)
{
	irqflags_t flags;

	spin_lock_irqsave(&timer_lock, flags);
	remove(t);
	spin_unlock_irqrestore(&timer_lock, flags);
}

void timer_cancel_wait(struct ktimer *t)
{
	do {
		timer_cancel(t);
		while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) == t)
			hal_cpu_relax();
	} while (READ_ONCE(t->armed)); /* it has set itself again */
}

bool timers_waiting(void)
{
	return READ_ONCE(first);
}

/* The function runs without the lock, so that it may set its timer again. */
void timers_expire(uint64_t now)
{
	for (unsigned n = 0; n < EXPIRE_MAX; n++) {
		struct ktimer *t;

		spin_lock(&timer_lock);
		t = first && first->at <= now ? first : NULL;
		if (t)
			remove(t);
		WRITE_ONCE(running, t);
		spin_unlock(&timer_lock);
		if (!t)
			return;
		t->fn(t);
		__atomic_store_n(&running, NULL, __ATOMIC_RELEASE);
	}
}
