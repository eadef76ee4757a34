/* SPDX-License-Identifier: MIT */
/*
 * Reader-writer semaphores: sleeping locks on os_wait()/os_wake(); one atomic when uncontended. They are
 * handed over: a writer lets the readers in that wait, the last reader one writer, and readers that come
 * while a writer waits queue behind it, so that nobody starves. A thread must therefore not take the same
 * lock for reading twice. Letting go touches the semaphore in one atomic and never after: whoever gets
 * it next may free it. Context: sleep.
 */
#ifndef LIB_RWSEM_H
#define LIB_RWSEM_H

#include "lib/bug.h"
#include "lib/lockdep.h"
#include <quire/os.h>
#include <stdbool.h>
#include <stdint.h>

struct rw_semaphore {
	union {
		uint64_t state; /* lib/rwsem.c; atomic */
		struct {
			uint32_t lower, upper; /* little-endian */
		};
	};
	uintptr_t owner; /* the writer's thread, for asserts */
	const char *name;
};

/* Of the counts, one. What is tested most takes a shift and no mask. */
#define RWSEM_PHASE	   (1ull << 0)
#define RWSEM_SERVED	   (1ull << 1)
#define RWSEM_READER	   (1ull << 16)
#define RWSEM_READER_WAITS (1ull << 32)
#define RWSEM_WRITER_WAITS (1ull << 48)
#define RWSEM_WRITER	   (1ull << 63)

#define RWSEM_INIT(n)	  { { 0 }, 0, (n) }
#define DEFINE_RWSEM(var) struct rw_semaphore var = RWSEM_INIT(#var)

static inline void init_rwsem_named(struct rw_semaphore *s, const char *name)
{
	*s = (struct rw_semaphore)RWSEM_INIT(name);
}
#define init_rwsem(s) init_rwsem_named(s, #s)

/* The slow paths: waiting, and waking sleepers. */
void down_read_slow(struct rw_semaphore *s);
void up_read_slow(struct rw_semaphore *s);
void down_write_slow(struct rw_semaphore *s);
void up_write_slow(struct rw_semaphore *s);

#define rwsem_change(s, seen, to, order)                                                   \
	__atomic_compare_exchange_n(&(s)->state, seen, to, false, order, __ATOMIC_RELAXED)

/* A writer is inside, or waits. */
static inline bool rwsem_keeps_readers_out(uint64_t v)
{
	return v >= RWSEM_WRITER_WAITS;
}

/* Nobody is inside, and so nobody waits; phase and tickets say nothing then. */
static inline bool rwsem_free(uint64_t v)
{
	return v < RWSEM_READER;
}

static inline void down_read(struct rw_semaphore *s)
{
	might_sleep();
	if (DEBUG_ASSERTS)
		lockdep_sleep_order(s, s->name, false);
	if (unlikely(rwsem_keeps_readers_out(
		    __atomic_fetch_add(&s->state, RWSEM_READER, __ATOMIC_ACQUIRE))))
		down_read_slow(s);
	if (DEBUG_ASSERTS)
		lockdep_sleep_acquire(s, s->name, LOCKDEP_READ);
}

bool down_read_trylock(struct rw_semaphore *s);

static inline void up_read(struct rw_semaphore *s)
{
	uint64_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED), to = v - RWSEM_READER;

	if (DEBUG_ASSERTS)
		lockdep_sleep_release(s, s->name, LOCKDEP_READ);
	/* Without a reader this is a large number. */
	if (unlikely(rwsem_keeps_readers_out(to) || !rwsem_change(s, &v, to, __ATOMIC_RELEASE)))
		up_read_slow(s);
}

static inline void down_write_order(struct rw_semaphore *s, bool nested)
{
	uint64_t v = 0;

	might_sleep();
	if (DEBUG_ASSERTS)
		lockdep_sleep_order(s, s->name, nested);
	if (unlikely(!rwsem_change(s, &v, RWSEM_WRITER, __ATOMIC_ACQUIRE)))
		down_write_slow(s);
	WRITE_ONCE(s->owner, os_thread_id());
	if (DEBUG_ASSERTS)
		lockdep_sleep_acquire(s, s->name, LOCKDEP_WRITE);
}

static inline void down_write(struct rw_semaphore *s)
{
	down_write_order(s, false);
}

/* A second one of the same name; the caller keeps to an order of its own. */
static inline void down_write_nested(struct rw_semaphore *s)
{
	down_write_order(s, true);
}

bool down_write_trylock(struct rw_semaphore *s);

static inline void up_write(struct rw_semaphore *s)
{
	uint64_t v = RWSEM_WRITER;

	/* Who it is that holds it is asked in debug builds only: it is a call for each lock. That nobody
	 * does is found by the slow path. */
	if (DEBUG_ASSERTS && unlikely(READ_ONCE(s->owner) != os_thread_id()))
		lock_not_held(__FILE__, __LINE__, s->name, "is not held for writing, and let go");
	if (DEBUG_ASSERTS)
		lockdep_sleep_release(s, s->name, LOCKDEP_WRITE);
	WRITE_ONCE(s->owner, 0);
	if (unlikely(!rwsem_change(s, &v, 0, __ATOMIC_RELEASE)))
		up_write_slow(s);
}

/* The writer becomes a reader; no other writer gets in between. */
void downgrade_write(struct rw_semaphore *s);

static inline bool rwsem_is_locked(const struct rw_semaphore *s)
{
	return !rwsem_free(__atomic_load_n(&s->state, __ATOMIC_RELAXED));
}
static inline bool rwsem_is_write_locked(const struct rw_semaphore *s)
{
	return (__atomic_load_n(&s->state, __ATOMIC_RELAXED) & RWSEM_WRITER) != 0;
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
