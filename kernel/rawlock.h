/* SPDX-License-Identifier: MIT */
/*
 * The innermost locks of all, of a few instructions each, where a spinlock_t cannot be: taking that one
 * counts the depth of pre-emption, and letting it go may switch tasks. Interrupts are off, and nothing
 * else is taken inside.
 */
#ifndef KERNEL_RAWLOCK_H
#define KERNEL_RAWLOCK_H

#include "arch/hal.h"
#include "lib/bug.h"

struct rawlock {
	uint32_t taken; /* atomic */
};

static inline bool raw_trylock(struct rawlock *l)
{
	return !__atomic_exchange_n(&l->taken, 1, __ATOMIC_ACQUIRE);
}

static inline void raw_lock(struct rawlock *l)
{
	ASSERT_DEBUG(hal_irqs_off());
	while (!raw_trylock(l))
		while (__atomic_load_n(&l->taken, __ATOMIC_RELAXED))
			hal_cpu_relax();
}

static inline void raw_unlock(struct rawlock *l)
{
	__atomic_store_n(&l->taken, 0, __ATOMIC_RELEASE);
}

#endif
