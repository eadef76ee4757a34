/* SPDX-License-Identifier: MIT */
/*
 * Reader-writer semaphores, slow paths. The state is one word: the number of readers, a bit for the
 * writer, a bit for sleepers. The last holder to leave clears the sleepers' bit and wakes them all;
 * they start over. A sleeper commits to sleep only while the word is what it saw, bit included, so
 * no wake-up is lost.
 */
#include "lib/rwsem.h"

/* Says that we sleep, then sleeps; returns what the word is afterwards. */
static uint32_t wait_for_change(struct rw_semaphore *s, uint32_t seen)
{
	if (seen & RWSEM_WAIT || rwsem_change(s, &seen, seen | RWSEM_WAIT))
		os_wait(s, &s->state, seen | RWSEM_WAIT);
	return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
}

bool down_read_trylock(struct rw_semaphore *s)
{
	uint32_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED);

	while (!(v & (RWSEM_WRITER | RWSEM_WAIT)))
		if (rwsem_change(s, &v, v + 1)) {
			if (DEBUG_ASSERTS)
				lockdep_read_acquire(s);
			return true;
		}
	return false;
}

void down_read_slow(struct rw_semaphore *s)
{
	uint32_t v = 0;

	for (;;) {
		/* With no holder, a left-over sleepers' bit must not keep us out. */
		if (!(v & RWSEM_WRITER) && (!(v & RWSEM_WAIT) || !(v & RWSEM_READERS))) {
			if (rwsem_change(s, &v, v + 1))
				return;
			continue;
		}
		ASSERT(!(v & RWSEM_WRITER) || READ_ONCE(s->owner) != os_thread_id());
		v = wait_for_change(s, v);
	}
}

/* The last holder has left: wakes all sleepers, if there are any, to start over. */
void rwsem_wake_sleepers(struct rw_semaphore *s, uint32_t v)
{
	while ((v & RWSEM_WAIT) && !(v & (RWSEM_READERS | RWSEM_WRITER))) {
		if (rwsem_change(s, &v, v & ~RWSEM_WAIT)) {
			os_wake(s, ~0u);
			return;
		}
	}
}

bool down_write_trylock(struct rw_semaphore *s)
{
	uint32_t v = 0;

	if (!rwsem_change(s, &v, RWSEM_WRITER))
		return false;
	WRITE_ONCE(s->owner, os_thread_id());
	return true;
}

void down_write_slow(struct rw_semaphore *s)
{
	uint32_t v = 0;

	for (;;) {
		if (!(v & (RWSEM_READERS | RWSEM_WRITER))) {
			if (rwsem_change(s, &v, v | RWSEM_WRITER))
				break;
			continue;
		}
		ASSERT(!(v & RWSEM_WRITER) || READ_ONCE(s->owner) != os_thread_id());
		v = wait_for_change(s, v);
	}
}

void downgrade_write(struct rw_semaphore *s)
{
	uint32_t old;

	if (unlikely(!rwsem_writes(s)))
		lock_not_held(__FILE__, __LINE__, s->name, "is not held for writing");
	WRITE_ONCE(s->owner, 0);
	if (DEBUG_ASSERTS)
		lockdep_read_acquire(s);
	/* Readers that sleep may come in now; writers among them go to sleep again. */
	old = __atomic_exchange_n(&s->state, 1, __ATOMIC_ACQ_REL);
	if (old & RWSEM_WAIT)
		os_wake(s, ~0u);
}
