/* SPDX-License-Identifier: MIT */
/*
 * Reader-writer semaphores: sleeping locks on os_wait()/os_wake(); one atomic when uncontended. A
 * waiter stops new readers, so that writers are not starved; a thread must therefore not take the
 * same lock for reading twice. Context: sleep.
 */
#ifndef LIB_RWSEM_H
#define LIB_RWSEM_H

#include "lib/bug.h"
#include "lib/lockdep.h"
#include <quire/os.h>
#include <stdbool.h>
#include <stdint.h>

struct rw_semaphore {
	uint32_t state;	 /* readers | RWSEM_WAIT | RWSEM_WRITER; atomic */
	uintptr_t owner; /* the writer's thread, for asserts */
	const char *name;
};

#define RWSEM_WRITER  0x80000000u
#define RWSEM_WAIT    0x40000000u
#define RWSEM_READERS 0x3fffffffu

#define RWSEM_INIT(n)	  { 0, 0, (n) }
#define DEFINE_RWSEM(var) struct rw_semaphore var = RWSEM_INIT(#var)

static inline void init_rwsem_named(struct rw_semaphore *s, const char *name)
{
	*s = (struct rw_semaphore)RWSEM_INIT(name);
}
#define init_rwsem(s) init_rwsem_named(s, #s)

/* The slow paths: waiting, and waking sleepers. */
void down_read_slow(struct rw_semaphore *s);
void down_write_slow(struct rw_semaphore *s);
void rwsem_wake_sleepers(struct rw_semaphore *s, uint32_t v);

static inline bool rwsem_change(struct rw_semaphore *s, uint32_t *seen, uint32_t to)
{
	return __atomic_compare_exchange_n(&s->state, seen, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static inline void down_read(struct rw_semaphore *s)
{
	uint32_t v = 0;

	might_sleep();
	if (unlikely(!rwsem_change(s, &v, 1)))
		down_read_slow(s);
	if (DEBUG_ASSERTS)
		lockdep_read_acquire(s);
}

bool down_read_trylock(struct rw_semaphore *s);

static inline void up_read(struct rw_semaphore *s)
{
	uint32_t v;

	if (DEBUG_ASSERTS)
		lockdep_read_release(s, s->name);
	v = __atomic_sub_fetch(&s->state, 1, __ATOMIC_RELEASE);
	ASSERT((v & RWSEM_READERS) != RWSEM_READERS);
	if (unlikely(v & RWSEM_WAIT))
		rwsem_wake_sleepers(s, v);
}

static inline void down_write(struct rw_semaphore *s)
{
	uint32_t v = 0;

	might_sleep();
	if (unlikely(!rwsem_change(s, &v, RWSEM_WRITER)))
		down_write_slow(s);
	WRITE_ONCE(s->owner, os_thread_id());
}

bool down_write_trylock(struct rw_semaphore *s);

static inline void up_write(struct rw_semaphore *s)
{
	uint32_t v;

	/* Who it is that holds it is asked in debug builds only: it is a call for each lock. */
	if (unlikely(!READ_ONCE(s->owner)) ||
	    (DEBUG_ASSERTS && unlikely(READ_ONCE(s->owner) != os_thread_id())))
		lock_not_held(__FILE__, __LINE__, s->name, "is not held for writing, and let go");
	WRITE_ONCE(s->owner, 0);
	v = __atomic_and_fetch(&s->state, ~RWSEM_WRITER, __ATOMIC_RELEASE);
	if (unlikely(v & RWSEM_WAIT))
		rwsem_wake_sleepers(s, v);
}

/* The writer becomes a reader; no other writer gets in between. */
void downgrade_write(struct rw_semaphore *s);

static inline bool rwsem_is_locked(const struct rw_semaphore *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_RELAXED) & (RWSEM_WRITER | RWSEM_READERS);
}
static inline bool rwsem_is_write_locked(const struct rw_semaphore *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_RELAXED) & RWSEM_WRITER;
}

/* This thread holds it, in this way; see lib/lockdep.h. */
static inline bool rwsem_writes(const struct rw_semaphore *s)
{
	return rwsem_is_write_locked(s) && READ_ONCE(s->owner) == os_thread_id();
}

#define RWSEM_ASSERT(s, cond, what)                                                        \
	do {                                                                               \
		const struct rw_semaphore *s_ = (s);                                       \
                                                                                           \
		if (DEBUG_ASSERTS && unlikely(!(cond)))                                    \
			lock_not_held(__FILE__, __LINE__, s_->name, what);                 \
	} while (0)
#define assert_held_write(s) RWSEM_ASSERT(s, rwsem_writes(s_), "is not held for writing")
#define assert_held_read(s)  RWSEM_ASSERT(s, lockdep_reads(s_), "is not held for reading")
#define assert_held_any(s)   RWSEM_ASSERT(s, rwsem_writes(s_) || lockdep_reads(s_), "is not held")

#endif
