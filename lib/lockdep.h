/* SPDX-License-Identifier: MIT */
/*
 * Lock-order checking (lockdep): ranks of spinning locks, checked when they are taken. A lock may
 * carry a rank (0: unchecked); a spinning lock must have a higher rank than every spinning lock its
 * CPU already holds, the same rank only by a *_nested call. No sleeping lock may be taken while a
 * spinning one is held. A broken rule ends in os_panic(). Cost: a few instructions on a per-CPU
 * array.
 */
#ifndef LIB_LOCKDEP_H
#define LIB_LOCKDEP_H

#include "arch/hal.h"
#include "lib/bug.h"
#include <stdbool.h>

#define LOCKDEP_MAX_CPUS 64
#define LOCKDEP_DEPTH	 12

/* What one CPU holds, in the order in which it was taken. Its own CPU's alone. */
struct lockdep_cpu {
	unsigned depth;
	struct lockdep_held_lock {
		const void *lock;
		const char *name;
		unsigned rank;
	} h[LOCKDEP_DEPTH];
};

extern struct lockdep_cpu lockdep_cpus[LOCKDEP_MAX_CPUS];

static inline struct lockdep_cpu *lockdep_mine(void)
{
	return &lockdep_cpus[hal_cpu_id() % LOCKDEP_MAX_CPUS];
}

void lockdep_acquire_nested(const void *lock, const char *name, unsigned rank, bool nested);
void lockdep_release_nested(const void *lock);
_Noreturn void might_sleep_failed(const char *file, int line);

/* name and rank of a lock about to be taken on this CPU; nested: equal rank allowed. The first
 * lock of a CPU can break no order, so most calls only note it. */
static inline void lockdep_acquire(const void *lock, const char *name, unsigned rank, bool nested)
{
	struct lockdep_cpu *c = lockdep_mine();

	if (unlikely(c->depth)) {
		lockdep_acquire_nested(lock, name, rank, nested);
		return;
	}
	c->h[0] = (struct lockdep_held_lock){lock, name, rank};
	c->depth = 1;
}

static inline void lockdep_release(const void *lock)
{
	struct lockdep_cpu *c = lockdep_mine();

	if (likely(c->depth == 1 && c->h[0].lock == lock))
		c->depth = 0;
	else
		lockdep_release_nested(lock);
}

/* Spinning locks that this CPU holds now. */
static inline unsigned lockdep_held(void)
{
	return lockdep_mine()->depth;
}

/* Panics if this CPU holds a spinning lock. */
static inline void might_sleep_at(const char *file, int line)
{
	if (unlikely(lockdep_held()))
		might_sleep_failed(file, line);
}
#define might_sleep() might_sleep_at(__FILE__, __LINE__)

#endif
