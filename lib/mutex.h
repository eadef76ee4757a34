/* SPDX-License-Identifier: MIT */
/*
 * Mutexes: sleeping mutual exclusion on os_wait()/os_wake(); one atomic when uncontended. Context:
 * sleep. The owner is kept for asserts.
 */
#ifndef LIB_MUTEX_H
#define LIB_MUTEX_H

#include "lib/lockdep.h"
#include <quire/os.h>
#include <stdbool.h>
#include <stdint.h>

struct mutex {
	uint32_t state; /* 0 free, 1 held, 2 held and there may be sleepers; atomic */
	uintptr_t owner;
	const char *name;
};

#define MUTEX_INIT(n)	  { 0, 0, (n) }
#define DEFINE_MUTEX(var) struct mutex var = MUTEX_INIT(#var)

static inline void mutex_init_named(struct mutex *m, const char *name)
{
	*m = (struct mutex)MUTEX_INIT(name);
}
#define mutex_init(m) mutex_init_named(m, #m)

void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
static inline bool mutex_is_locked(const struct mutex *m)
{
	return __atomic_load_n(&m->state, __ATOMIC_RELAXED) != 0;
}

/* This thread holds it; see lib/lockdep.h. */
#define assert_mutex_held(m)                                                               \
	do {                                                                               \
		const struct mutex *m_ = (m);                                              \
                                                                                           \
		if (DEBUG_ASSERTS && unlikely(READ_ONCE(m_->owner) != os_thread_id()))     \
			lock_not_held(__FILE__, __LINE__, m_->name, "is not held");        \
	} while (0)

#endif
