/* SPDX-License-Identifier: MIT */
/*
 * Lock-order checking (lockdep), and the assertions that a lock is held.
 *
 * The order is checked when a lock is taken, in every build. A lock may carry a rank (0: unchecked);
 * a spinning lock must have a higher rank than every spinning lock its CPU already holds, the same
 * rank only by a *_nested call. No sleeping lock may be taken while a spinning one is held. A broken
 * rule ends in os_panic(). Cost: a few instructions on a per-CPU array. The order of sleeping locks is
 * learned and checked in builds that assert, and costs nothing in a release.
 */
#ifndef LIB_LOCKDEP_H
#define LIB_LOCKDEP_H

#include "arch/hal.h"
#include "lib/bug.h"
#include <stdbool.h>

#define LOCKDEP_MAX_CPUS 64
#define LOCKDEP_DEPTH	 12

/* What one CPU holds, in the order in which it was taken. Its own CPU's alone. A power of two in size: it
 * is looked up with each lock. */
struct lockdep_cpu {
	unsigned depth;
	bool in_call; /* from another CPU */
	struct lockdep_held_lock {
		const void *lock; /* NULL: not yet, or no longer, held */
		const char *name;
		unsigned rank;
	} h[LOCKDEP_DEPTH];
} __attribute__((aligned(512)));

extern struct lockdep_cpu lockdep_cpus[LOCKDEP_MAX_CPUS];

static inline struct lockdep_cpu *lockdep_mine(void)
{
	return &lockdep_cpus[hal_cpu_id() % LOCKDEP_MAX_CPUS];
}

void lockdep_acquire_nested(const void *lock, const char *name, unsigned rank, bool nested);
void lockdep_release_nested(const void *lock, const char *name);
/* The answers with pre-emption off: the thread cannot be moved between its CPU's number and what that
 * CPU holds. */
unsigned lockdep_held_here(void);
bool lockdep_holds_here(const void *lock);
/* Panics if it is still so with pre-emption off. */
void might_sleep_failed(const char *file, int line);

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

/*
 * Spinning locks and waits for other CPUs, where DEBUG_ASSERTS is on. Locks of one name are one class.
 * Of a class that is ever held over such a wait (a flush, a call) none is waited for with interrupts off,
 * and so in no interrupt: the CPU that waits for the lock could not answer its holder. Of a class that a
 * call from another CPU takes none is waited for with interrupts on, anywhere: the call would wait for whom
 * it interrupted. Whichever of the two is seen second panics, on one CPU too, whether or not any call ever
 * came at that moment.
 */
void lockdep_spins_noted(const char *name);
/* This CPU is about to wait for others, whether or not there are any now. Any context. */
void lockdep_waits_for_cpus(void);
/* A call from another CPU begins, or ends, on this one. Interrupts off. */
void lockdep_call(bool begins);

/* A spinning lock of that name is about to be waited for. */
static inline void lockdep_spins(const char *name)
{
	if (DEBUG_ASSERTS)
		lockdep_spins_noted(name);
}

/* Spinning locks that the CPU holds which the thread is on, if it is not moved meanwhile: so 0 is true
 * of the thread. For who cannot be moved. */
static inline unsigned lockdep_depth(void)
{
	return READ_ONCE(lockdep_mine()->depth);
}

/* Spinning locks that this thread, and so its CPU, holds now. */
static inline unsigned lockdep_held(void)
{
	return unlikely(lockdep_depth()) ? lockdep_held_here() : 0;
}

/* Panics if this thread holds a spinning lock. */
static inline void might_sleep_at(const char *file, int line)
{
	if (unlikely(lockdep_depth()))
		might_sleep_failed(file, line);
	latency_might_sleep();
}
#define might_sleep() might_sleep_at(__FILE__, __LINE__)

/* ---- assertions, off in a release ------------------------------------------------------------ */

/* Panics: "file:line: NAME WHAT", as in "mm/rmap/rmap.c:120: i_mmap_rwsem is not held for writing". */
_Noreturn void lock_not_held(const char *file, int line, const char *name, const char *what);

/* The CPU holds the spinning lock which the thread is on: no is always true of the thread, yes unless
 * it may be moved. What asserts that a lock is held needs no more. */
static inline bool lockdep_finds(const void *lock)
{
	const struct lockdep_cpu *c = lockdep_mine();

	for (unsigned i = 0; i < c->depth; i++)
		if (c->h[i].lock == lock)
			return true;
	return false;
}

/* It holds one of this rank. */
static inline bool lockdep_finds_rank(unsigned rank)
{
	const struct lockdep_cpu *c = lockdep_mine();

	for (unsigned i = 0; i < c->depth; i++)
		if (c->h[i].lock && c->h[i].rank == rank)
			return true;
	return false;
}

/* This thread holds the spinning lock; for assertions that it does not. */
static inline bool lockdep_holds(const void *lock)
{
	return lockdep_finds(lock) && lockdep_holds_here(lock);
}

/*
 * Sleeping locks: which thread holds which, and how, is noted where DEBUG_ASSERTS is on. Of a thread that
 * no room is left for, lockdep_reads() says yes. Locks of one name are one class, whose order is learned:
 * lockdep_sleep_order() is called by who is about to wait, and panics if the opposite order was ever
 * seen, or if the thread has one of the same class already and does not say by a *_nested call that it
 * keeps to an order of its own.
 */
enum lockdep_how { LOCKDEP_READ, LOCKDEP_WRITE, LOCKDEP_MUTEX };
void lockdep_sleep_order(const void *lock, const char *name, bool nested);
void lockdep_sleep_acquire(const void *lock, const char *name, enum lockdep_how how);
void lockdep_sleep_release(const void *lock, const char *name, enum lockdep_how how);
bool lockdep_reads(const void *lock);
/* How many mutexes the running thread holds, of those that are noted; 0 in a release. */
unsigned lockdep_mutexes_held(void);

/* Calls fn for every sleeping lock that any thread holds, of those that are noted: for people, where
 * nothing goes on any more. Nothing else runs. */
void lockdep_each_held(void (*fn)(uintptr_t thread, const void *lock, const char *name,
				  enum lockdep_how how, void *ctx), void *ctx);

/* The running thread holds no mutex, as where user memory is copied: the copy may fault, and sleep for
 * what only the holder of the same mutex could give. */
void assert_no_mutex_at(const char *file, int line);
#define assert_no_mutex()                                                                  \
	do {                                                                               \
		if (DEBUG_ASSERTS)                                                         \
			assert_no_mutex_at(__FILE__, __LINE__);                            \
	} while (0)

/* What only its own CPU may touch, and only while nothing can come in between. */
#define assert_irqs_off()                                                                  \
	do {                                                                               \
		if (DEBUG_ASSERTS && unlikely(!hal_irqs_off()))                            \
			lock_not_held(__FILE__, __LINE__, "interrupts", "are not off");    \
	} while (0)

#endif
