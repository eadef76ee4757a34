/* SPDX-License-Identifier: MIT */
/*
 * The lock order, checked as it happens. A lock may carry a rank (0: unchecked); a spinning lock
 * must have a higher rank than every spinning lock its CPU already holds, the same rank only by
 * a *_nested call. Nobody may take a sleeping lock while holding a spinning one. A broken rule ends
 * in os_panic(). Cost: a few instructions on a per-CPU array.
 */
#ifndef LIB_LOCKDEP_H
#define LIB_LOCKDEP_H

#include <stdbool.h>

#define LOCKDEP_MAX_CPUS 64
#define LOCKDEP_DEPTH	 12

/* name and rank of a lock about to be taken on this CPU; nested: equal rank allowed. */
void lockdep_acquire(const void *lock, const char *name, unsigned rank, bool nested);
void lockdep_release(const void *lock);
/* Panics if this CPU holds a spinning lock. */
void might_sleep_at(const char *file, int line);
#define might_sleep() might_sleep_at(__FILE__, __LINE__)
/* Spinning locks that this CPU holds now. */
unsigned lockdep_held(void);
/* Forgets everything held on this CPU (a test that left by a panic). */
void lockdep_reset(void);

#endif
