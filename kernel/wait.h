/* SPDX-License-Identifier: MIT */
/*
 * Waiting for something to happen, without a lost wake-up and without a lock held.
 *
 * An event count: a waiter notes the count, looks whether what it waits for is there, and sleeps only
 * while the count is still the one it noted. Whoever makes it true stores that first and counts an
 * event after. So the condition may be anything: it may take locks and sleep.
 */
#ifndef KERNEL_WAIT_H
#define KERNEL_WAIT_H

#include "lib/list.h"
#include <stdbool.h>
#include <stdint.h>

struct task;

struct wait_head {
	uint32_t events; /* atomic */
};

#define WAIT_HEAD_INIT { 0 }

/* The count before the condition is looked at. */
static inline uint32_t wait_begin(const struct wait_head *h)
{
	return __atomic_load_n(&h->events, __ATOMIC_ACQUIRE);
}

/* Sleeps until an event after `seen`. deadline: ns since boot, 0: none. 0, maybe early; -EINTR if
 * interruptible and a signal waits; -ETIMEDOUT. */
int wait_sleep(struct wait_head *h, uint32_t seen, bool interruptible, uint64_t deadline);

/* Something happened. Any context. */
void wake_all(struct wait_head *h);

/* 0 once cond is true; else what wait_sleep() said. */
#define wait_event(h, cond, interruptible, deadline)                                       \
	({                                                                                 \
		int err_ = 0;                                                              \
                                                                                           \
		for (;;) {                                                                 \
			uint32_t seen_ = wait_begin(h);                                    \
                                                                                           \
			if (cond) {                                                        \
				err_ = 0;                                                  \
				break;                                                     \
			}                                                                  \
			if (err_)                                                          \
				break;                                                     \
			err_ = wait_sleep(h, seen_, interruptible, deadline);              \
		}                                                                          \
		err_;                                                                      \
	})

/* ---- what that is made of -------------------------------------------------------------------- */

/* One who waits, on the stack of its task; the list's lock covers it. */
struct waiter {
	struct list_head link;
	struct task *task;
	const void *key;
	uintptr_t key2;
	uint64_t number; /* in the order of coming */
	bool queued;
	int result;
	uintptr_t caller; /* where the task sleeps, for people */
};

void wait_init(void);
/* From here on a wake-up finds w. It stays in place until one has, or waiter_sleep() or
 * waiter_remove() returned. The caller may do anything in between, sleep for something else too. */
void waiter_add(struct waiter *w, const void *key, uintptr_t key2);
/* false: it had been woken already. */
bool waiter_remove(struct waiter *w);
/* Sleeps unless woken already. 0, -EINTR, -ETIMEDOUT; w is out of the list. */
int waiter_sleep(struct waiter *w, bool interruptible, uint64_t deadline);
/* Wakes up to n waiters; how many. Any context. */
unsigned wake_up(const void *key, uintptr_t key2, unsigned n);
/* A waiter stands there. Any context. */
bool anybody_waits(const void *key, uintptr_t key2);
/* Ends a task's sleep with -EINTR if it is interruptible. Harmless for one that does not sleep. Any
 * context; t does not go away meanwhile. */
void interrupt_task(struct task *t);

#endif
