/* SPDX-License-Identifier: MIT */
/*
 * Reader-writer semaphores, slow paths.
 *
 * The state is one word of 64 bits:
 *
 *   0       phase: changes each time that the waiting readers are let in
 *   1..15   served: the ticket of the writer that was let in last
 *   16..31  readers: who reads; besides, who has asked and not yet seen that it must wait
 *   32..47  readers that wait
 *   48..62  writers that wait: they have the tickets after the one served last
 *   63      writer: held for writing
 *
 * Whoever lets go hands over, and does so in the one atomic that lets go. A writer lets all readers in
 * that wait by then; without any, one writer. The last reader lets one writer in. So a reader waits for
 * one writer at most, once those who read have left, and a writer for the writers before it with the
 * readers in between: nobody starves. Nothing is taken from under a waiter, for what has waiters is
 * never free.
 *
 * After that atomic the semaphore may be gone, because whoever got it may free the object that it lies
 * in. Waking therefore uses its address as a key and nothing else of it.
 *
 * A reader counts itself first and looks at what was there after, so that readers do not fail because
 * of each other. One that must wait moves its count from the readers to those that wait; meanwhile it
 * counts as a reader, and if it should have become the last one by then, it hands over as that would.
 *
 * A reader sleeps until the phase is another than it saw: it cannot change twice before this one has let
 * go, for a writer must come in between. A writer sleeps until its ticket is served. Both lie in the
 * lower half of the word, on which os_wait() looks. While nobody is inside nobody looks at them, and the
 * next writer starts with zeroes: so the ways without a wait compare with constants.
 *
 * Readers wait only for writers that are inside or wait, so without either none does; and what nobody
 * has, nobody waits for.
 *
 * Limits: 65,535 readers, as many that wait, and 32,767 writers that wait.
 */
#include "lib/rwsem.h"

#define READERS_MAX 0xffffu
#define WRITERS_MAX 0x7fffu

/* Sleepers are woken by keys of their own: all readers, and of the writers those that share the last
 * bits of a ticket. The bytes of the semaphore are addresses that nobody else uses. */
static const void *readers_key(const struct rw_semaphore *s)
{
	return s;
}

static const void *writers_key(const struct rw_semaphore *s, unsigned ticket)
{
	return (const char *)s + 1 + ticket % (sizeof(*s) - 1);
}

static uint64_t rwsem_look(const struct rw_semaphore *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
}

static unsigned readers(uint64_t v)
{
	return v / RWSEM_READER & READERS_MAX;
}

static unsigned readers_that_wait(uint64_t v)
{
	return v / RWSEM_READER_WAITS & READERS_MAX;
}

static unsigned writers_that_wait(uint64_t v)
{
	return v / RWSEM_WRITER_WAITS & WRITERS_MAX;
}

static unsigned served(uint64_t v)
{
	return v / RWSEM_SERVED & WRITERS_MAX;
}

/* v with the readers let in that wait. */
static uint64_t let_readers_in(uint64_t v)
{
	uint64_t n = readers_that_wait(v);

	return n ? (v - n * RWSEM_READER_WAITS + n * RWSEM_READER) ^ RWSEM_PHASE : v;
}

/* v, which nobody has, with the first of the writers let in that wait. */
static uint64_t let_writer_in(uint64_t v)
{
	uint64_t ticket = (served(v) + 1) & WRITERS_MAX;

	v &= ~(WRITERS_MAX * RWSEM_SERVED);
	return (v - RWSEM_WRITER_WAITS + ticket * RWSEM_SERVED) | RWSEM_WRITER;
}

/* v without one reader; handed to a writer if it was the last and one waits. */
static uint64_t without_reader(uint64_t v)
{
	bool last = readers(v) == 1 && !(v & RWSEM_WRITER);

	v -= RWSEM_READER;
	return last && writers_that_wait(v) ? let_writer_in(v) : v;
}

/* Who was let in between the two states wakes up. s may be gone. */
static void wake_let_in(const struct rw_semaphore *s, uint64_t before, uint64_t after)
{
	if ((before ^ after) & RWSEM_PHASE)
		os_wake(readers_key(s), ~0u);
	if (served(before) != served(after))
		os_wake(writers_key(s, served(after)), ~0u);
}

bool down_read_trylock(struct rw_semaphore *s)
{
	uint64_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED);

	while (likely(!rwsem_keeps_readers_out(v)))
		if (rwsem_change(s, &v, v + RWSEM_READER, __ATOMIC_ACQUIRE)) {
			if (DEBUG_ASSERTS)
				lockdep_sleep_acquire(s, s->name, LOCKDEP_READ);
			return true;
		}
	return false;
}

/* This thread is counted as a reader, and found a writer inside or waiting. */
void down_read_slow(struct rw_semaphore *s)
{
	uint64_t v, to;

	do {
		v = rwsem_look(s);
		if (!rwsem_keeps_readers_out(v))
			return;
		ASSERT(!(v & RWSEM_WRITER) || READ_ONCE(s->owner) != os_thread_id());
		ASSERT(readers_that_wait(v) != READERS_MAX);
		to = without_reader(v) + RWSEM_READER_WAITS;
	} while (!rwsem_change(s, &v, to, __ATOMIC_ACQ_REL));
	wake_let_in(s, v, to);
	while (!(((v = rwsem_look(s)) ^ to) & RWSEM_PHASE))
		os_wait(readers_key(s), &s->lower, (uint32_t)v);
}

void up_read_slow(struct rw_semaphore *s)
{
	uint64_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED), to;

	do {
		ASSERT(readers(v) && !(v & RWSEM_WRITER));
		to = without_reader(v);
	} while (!rwsem_change(s, &v, to, __ATOMIC_RELEASE));
	wake_let_in(s, v, to);
}

bool down_write_trylock(struct rw_semaphore *s)
{
	uint64_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED);

	if (!rwsem_free(v) || !rwsem_change(s, &v, RWSEM_WRITER, __ATOMIC_ACQUIRE))
		return false;
	WRITE_ONCE(s->owner, os_thread_id());
	if (DEBUG_ASSERTS)
		lockdep_sleep_acquire(s, s->name, LOCKDEP_WRITE);
	return true;
}

void down_write_slow(struct rw_semaphore *s)
{
	uint64_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED);
	unsigned ticket;

	do {
		ASSERT(!(v & RWSEM_WRITER) || READ_ONCE(s->owner) != os_thread_id());
		ASSERT(writers_that_wait(v) != WRITERS_MAX);
	} while (!rwsem_change(s, &v, rwsem_free(v) ? RWSEM_WRITER : v + RWSEM_WRITER_WAITS,
			       __ATOMIC_ACQUIRE));
	if (rwsem_free(v))
		return;
	ticket = (served(v) + writers_that_wait(v) + 1) & WRITERS_MAX;
	while (served(v = rwsem_look(s)) != ticket)
		os_wait(writers_key(s, ticket), &s->lower, (uint32_t)v);
}

void up_write_slow(struct rw_semaphore *s)
{
	uint64_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED), to;

	do {
		if (unlikely(!(v & RWSEM_WRITER)))
			lock_not_held(__FILE__, __LINE__, s->name, "is not held for writing, and let go");
		if (!readers_that_wait(v) && writers_that_wait(v))
			to = let_writer_in(v);
		else
			to = let_readers_in(v & ~RWSEM_WRITER);
	} while (!rwsem_change(s, &v, to, __ATOMIC_RELEASE));
	wake_let_in(s, v, to);
}

void downgrade_write(struct rw_semaphore *s)
{
	uint64_t v = __atomic_load_n(&s->state, __ATOMIC_RELAXED), to;

	if (unlikely(!rwsem_writes(s)))
		lock_not_held(__FILE__, __LINE__, s->name, "is not held for writing");
	WRITE_ONCE(s->owner, 0);
	if (DEBUG_ASSERTS) {
		lockdep_sleep_release(s, s->name, LOCKDEP_WRITE);
		lockdep_sleep_acquire(s, s->name, LOCKDEP_READ);
	}
	do {
		to = let_readers_in((v & ~RWSEM_WRITER) + RWSEM_READER);
	} while (!rwsem_change(s, &v, to, __ATOMIC_ACQ_REL));
	wake_let_in(s, v, to);
}
