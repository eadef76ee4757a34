/* SPDX-License-Identifier: MIT */
/*
 * Lock-order checking (lockdep), and the assertions that a lock is held.
 *
 * The order is checked when a lock is taken, in every build. A lock may carry a rank (0: unchecked);
 * a spinning lock must have a higher rank than every spinning lock its CPU already holds, the same
 * rank only by a *_nested call. No sleeping lock may be taken while a spinning one is held. A broken
 * rule ends in os_panic(). Cost: a few instructions on a per-CPU array.
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
		const void *lock; /* NULL: not yet, or no longer, held */
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
void lockdep_release_nested(const void *lock, const char *name);
_Noreturn void might_sleep_failed(const char *file, int line);

/* The next record of this CPU. An interrupt handler may come in between any two stores: it uses the
 * records from depth on, so that one is claimed first, and passes over one that names no lock. The
 * releases hold the compiler to that order. */
static inline void lockdep_note(struct lockdep_cpu *c, const void *lock, const char *name,
				unsigned rank)
{
	struct lockdep_held_lock *h = &c->h[c->depth];

	c->depth++;
	__atomic_store_n(&h->name, name, __ATOMIC_RELEASE);
	h->rank = rank;
	__atomic_store_n(&h->lock, lock, __ATOMIC_RELEASE);
}

/* The last record is free, and names no lock. */
static inline void lockdep_forget_last(struct lockdep_cpu *c)
{
	unsigned depth = c->depth - 1;

	c->h[depth].lock = NULL;
	__atomic_store_n(&c->depth, depth, __ATOMIC_RELEASE);
}

/* name and rank of a lock about to be taken on this CPU; nested: equal rank allowed. The first
 * lock of a CPU can break no order, so most calls only note it. */
static inline void lockdep_acquire(const void *lock, const char *name, unsigned rank, bool nested)
{
	struct lockdep_cpu *c = lockdep_mine();

	if (unlikely(c->depth))
		lockdep_acquire_nested(lock, name, rank, nested);
	else
		lockdep_note(c, lock, name, rank);
}

static inline void lockdep_release(const void *lock, const char *name)
{
	struct lockdep_cpu *c = lockdep_mine();

	if (likely(c->depth == 1 && c->h[0].lock == lock))
		lockdep_forget_last(c);
	else
		lockdep_release_nested(lock, name);
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
	latency_might_sleep();
}
#define might_sleep() might_sleep_at(__FILE__, __LINE__)

/* ---- assertions, off in a release ------------------------------------------------------------ */

/* Panics: "file:line: NAME WHAT", as in "mm/rmap/rmap.c:120: i_mmap_rwsem is not held for writing". */
_Noreturn void lock_not_held(const char *file, int line, const char *name, const char *what);

/* This CPU holds the spinning lock. */
static inline bool lockdep_holds(const void *lock)
{
	const struct lockdep_cpu *c = lockdep_mine();

	for (unsigned i = 0; i < c->depth; i++)
		if (c->h[i].lock == lock)
			return true;
	return false;
}

/* It holds one of this rank. */
static inline bool lockdep_holds_rank(unsigned rank)
{
	const struct lockdep_cpu *c = lockdep_mine();

	for (unsigned i = 0; i < c->depth; i++)
		if (c->h[i].lock && c->h[i].rank == rank)
			return true;
	return false;
}

/*
 * Which thread holds which lock for reading: noted where DEBUG_ASSERTS is on, for the lock itself
 * only counts its readers. Of a thread that no room is left for, every answer is yes.
 */
void lockdep_read_acquire(const void *lock);
void lockdep_read_release(const void *lock, const char *name);
bool lockdep_reads(const void *lock);

/* What only its own CPU may touch, and only while nothing can come in between. */
#define assert_irqs_off()                                                                  \
	do {                                                                               \
		if (DEBUG_ASSERTS && unlikely(!hal_irqs_off()))                            \
			lock_not_held(__FILE__, __LINE__, "interrupts", "are not off");    \
	} while (0)

#endif
