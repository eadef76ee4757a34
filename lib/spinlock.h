/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks (ticket locks): first come, first served. Each has a name and a rank in the lock order
 * (lib/lockdep.h). A lock that an interrupt handler takes is taken with *_irqsave everywhere.
 */
#ifndef LIB_SPINLOCK_H
#define LIB_SPINLOCK_H

#include "arch/hal.h"
#include "lib/bug.h"
#include "lib/lockdep.h"
#include <quire/os.h>

/*
 * Both tickets are one word: some machines have no atomic arithmetic on less. The next one to give
 * out is the upper half, so that it overflows into nothing.
 */
typedef struct spinlock {
	union {
		uint32_t tickets; /* atomic */
		struct {
			uint16_t owner, next; /* little-endian */
		};
	};
	uint32_t rank;
	const char *name;
} spinlock_t;

#define SPINLOCK_INIT_RANK(n, r)  { { 0 }, (r), (n) }
#define SPINLOCK_INIT(n)	  SPINLOCK_INIT_RANK(n, 0)
#define DEFINE_SPINLOCK(var)	  spinlock_t var = SPINLOCK_INIT(#var)

static inline void spin_lock_init_rank(spinlock_t *l, const char *name, unsigned rank)
{
	*l = (spinlock_t)SPINLOCK_INIT_RANK(name, rank);
}
#define spin_lock_init(l) spin_lock_init_rank(l, #l, 0)

static inline bool spin_is_locked(const spinlock_t *l)
{
	uint32_t t = __atomic_load_n(&l->tickets, __ATOMIC_RELAXED);

	return t >> 16 != (t & 0xffff);
}

static inline void spin_lock_order(spinlock_t *l, bool nested)
{
	uint16_t t;

	os_preempt(1);
	lockdep_acquire(l, l->name, l->rank, nested);
	t = (uint16_t)(__atomic_fetch_add(&l->tickets, 1u << 16, __ATOMIC_RELAXED) >> 16);
	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != t)
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
	uint32_t t = __atomic_load_n(&l->tickets, __ATOMIC_RELAXED);

	os_preempt(1);
	if (t >> 16 != (t & 0xffff) ||
	    !__atomic_compare_exchange_n(&l->tickets, &t, t + (1u << 16), false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED)) {
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
	/* Pairs with the acquire above. */
	__atomic_store_n(&l->owner, (uint16_t)(READ_ONCE(l->tickets) + 1), __ATOMIC_RELEASE);
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
