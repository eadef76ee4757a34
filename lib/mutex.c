/* SPDX-License-Identifier: MIT */
/*
 * Mutexes, slow paths: the three-state mutex over os_wait()/os_wake(). 0 -> 1 is one atomic; a
 * thread that must wait first makes it 2, and unlocking a 2 wakes one sleeper. A sleeper that gets
 * the mutex takes it as 2, for it cannot know whether others sleep.
 */
#include "lib/mutex.h"

#include "lib/bug.h"
#include "lib/lockdep.h"
#include <quire/os.h>

static void mutex_taken(struct mutex *m)
{
	WRITE_ONCE(m->owner, os_thread_id());
	if (DEBUG_ASSERTS)
		lockdep_sleep_acquire(m, m->name, LOCKDEP_MUTEX);
}

bool mutex_trylock(struct mutex *m)
{
	uint32_t free = 0;

	if (!__atomic_compare_exchange_n(&m->state, &free, 1, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	mutex_taken(m);
	return true;
}

void mutex_lock(struct mutex *m)
{
	might_sleep();
	if (DEBUG_ASSERTS)
		lockdep_sleep_order(m, m->name, false);
	if (mutex_trylock(m))
		return;
	ASSERT(READ_ONCE(m->owner) != os_thread_id());
	while (__atomic_exchange_n(&m->state, 2, __ATOMIC_ACQUIRE) != 0)
		os_wait(m, &m->state, 2);
	mutex_taken(m);
}

void mutex_unlock(struct mutex *m)
{
	if (unlikely(READ_ONCE(m->owner) != os_thread_id()))
		lock_not_held(__FILE__, __LINE__, m->name, "is not held, and let go");
	if (DEBUG_ASSERTS)
		lockdep_sleep_release(m, m->name, LOCKDEP_MUTEX);
	WRITE_ONCE(m->owner, 0);
	/* The last touch: whoever gets it next may free it. */
	if (__atomic_exchange_n(&m->state, 0, __ATOMIC_RELEASE) == 2)
		os_wake(m, 1);
}
