/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks: one word, taken by an exchange. Each has a name and a rank in the lock order
 * (lib/lockdep.h). A lock that an interrupt handler takes is taken with *_irqsave everywhere.
 *
 * Nobody queues: whoever runs when the lock is let go gets it. A fair lock (tickets) would hand over to the
 * one that waits longest, and where there are more virtual CPUs than processors that one may not be
 * running: then each hand-over costs a time slice of the host (docs/smp.md has the figures).
 */
#ifndef LIB_SPINLOCK_H
#define LIB_SPINLOCK_H

#include "arch/hal.h"
#include "lib/bug.h"
#include "lib/lockdep.h"
#include <quire/os.h>

typedef struct spinlock {
	uint32_t taken; /* atomic */
	uint32_t rank;
	const char *name;
} spinlock_t;

#define SPINLOCK_INIT_RANK(n, r)  { 0, (r), (n) }
#define SPINLOCK_INIT(n)	  SPINLOCK_INIT_RANK(n, 0)
#define DEFINE_SPINLOCK(var)	  spinlock_t var = SPINLOCK_INIT(#var)

static inline void spin_lock_init_rank(spinlock_t *l, const char *name, unsigned rank)
{
	*l = (spinlock_t)SPINLOCK_INIT_RANK(name, rank);
}
#define spin_lock_init(l) spin_lock_init_rank(l, #l, 0)

static inline bool spin_is_locked(const spinlock_t *l)
{
	return __atomic_load_n(&l->taken, __ATOMIC_RELAXED);
}

/* Waiters read, and so keep a copy of the line, until there is something to take. */
static inline void spin_lock_order(spinlock_t *l, bool nested)
{
	os_preempt(1);
	lockdep_spins(l->name);
	lockdep_acquire(l, l->name, l->rank, nested);
	while (unlikely(__atomic_exchange_n(&l->taken, 1, __ATOMIC_ACQUIRE)))
		while (spin_is_locked(l))
			hal_cpu_relax();
}

static inline void spin_lock(spinlock_t *l)
{
	spin_lock_order(l, false);
}

/* A second lock of the same rank; the caller keeps to an order of its own (addresses). */
static inline void spin_lock_nested(spinlock_t *l)
{
	spin_lock_order(l, true);
}

static inline bool spin_trylock(spinlock_t *l)
{
	os_preempt(1);
	if (spin_is_locked(l) || __atomic_exchange_n(&l->taken, 1, __ATOMIC_ACQUIRE)) {
		os_preempt(-1);
		return false;
	}
	/* It cannot dead-lock, so its rank is not checked: rank 0. */
	lockdep_acquire(l, l->name, 0, true);
	return true;
}

static inline void spin_unlock(spinlock_t *l)
{
	lockdep_release(l, l->name);
	/* Pairs with the acquires above. */
	__atomic_store_n(&l->taken, 0, __ATOMIC_RELEASE);
	os_preempt(-1);
}

/* This CPU holds it; see lib/lockdep.h. */
#define assert_held(l)                                                                     \
	do {                                                                               \
		const spinlock_t *l_ = (l);                                                \
                                                                                           \
		if (DEBUG_ASSERTS && unlikely(!lockdep_finds(l_)))                         \
			lock_not_held(__FILE__, __LINE__, l_->name, "is not held");        \
	} while (0)

/* Usable as a statement with Linux's spelling: spin_lock_irqsave(&lock, flags). */
#define spin_lock_irqsave(l, flags)       \
	do {                              \
		(flags) = hal_irq_save(); \
		spin_lock(l);             \
	} while (0)

static inline void spin_unlock_irqrestore(spinlock_t *l, irqflags_t flags)
{
	spin_unlock(l);
	hal_irq_restore(flags);
}

#endif
