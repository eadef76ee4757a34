/* SPDX-License-Identifier: MIT */
/*
 * Lock-order checking: for each CPU the spinning locks held, in the order in which they were taken.
 * The array belongs to its CPU alone; os_preempt() keeps the thread on it, and an interrupt handler
 * leaves it as it found it.
 *
 * Assertions: for each thread the locks held for reading, in builds that assert: a table of buckets by
 * the thread's number, each a few records of thread and lock. A record is claimed by a
 * compare-and-exchange of its thread; after that only this thread looks at it. A bucket that is full
 * counts what it could not take, and until that is released asserts nothing.
 */
#include "lib/lockdep.h"

#include "lib/printf.h"
#include <quire/os.h>

struct lockdep_cpu lockdep_cpus[LOCKDEP_MAX_CPUS];

static void complain(const char *what, const char *name, const struct lockdep_held_lock *other)
{
	char buf[160];

	scnprintf(buf, sizeof(buf), "lock order: %s %s while holding %s (rank %u)", what,
		  name ? name : "?", other->name ? other->name : "?", other->rank);
	os_panic(buf);
}

void lockdep_acquire_nested(const void *lock, const char *name, unsigned rank, bool nested)
{
	struct lockdep_cpu *c = lockdep_mine();

	for (unsigned i = 0; i < c->depth; i++) {
		const struct lockdep_held_lock *h = &c->h[i];

		if (h->lock == lock)
			complain("taking again", name, h);
		if (h->lock && rank && h->rank && (h->rank > rank || (h->rank == rank && !nested)))
			complain("taking", name, h);
	}
	if (c->depth == LOCKDEP_DEPTH)
		complain("too deep, taking", name, &c->h[c->depth - 1]);
	lockdep_note(c, lock, name, rank);
}

_Noreturn void lock_not_held(const char *file, int line, const char *name, const char *what)
{
	char buf[160];

	scnprintf(buf, sizeof(buf), "%s:%d: %s %s", file, line, name ? name : "?", what);
	os_panic(buf);
}

void lockdep_release_nested(const void *lock, const char *name)
{
	struct lockdep_cpu *c = lockdep_mine();

	for (unsigned i = c->depth; i-- > 0;) {
		if (c->h[i].lock != lock)
			continue;
		for (; i + 1 < c->depth; i++)
			c->h[i] = c->h[i + 1];
		lockdep_forget_last(c);
		return;
	}
	lock_not_held(__FILE__, __LINE__, name, "is not held, and let go");
}

_Noreturn void might_sleep_failed(const char *file, int line)
{
	const struct lockdep_cpu *c = lockdep_mine();
	char buf[160];

	scnprintf(buf, sizeof(buf), "%s:%d: may sleep while holding %s", file, line,
		  c->h[c->depth - 1].name);
	os_panic(buf);
}

/* ---- who reads -------------------------------------------------------------------------------- */

#define READ_BUCKETS (DEBUG_ASSERTS ? 128 : 1)
#define READ_RECORDS 16

static struct read_bucket {
	uint32_t unnoted; /* atomic: held, with no room for a record */
	struct read_record {
		uintptr_t thread; /* atomic; 0: free */
		const void *lock; /* its thread's alone */
	} record[READ_RECORDS];
} read_buckets[READ_BUCKETS];

static struct read_bucket *read_bucket(uintptr_t thread)
{
	return &read_buckets[(uint64_t)thread * 0x9e3779b97f4a7c15ull >> 32 & (READ_BUCKETS - 1)];
}

/* The record of this thread and lock; NULL: there is none. */
static struct read_record *read_find(struct read_bucket *b, uintptr_t thread, const void *lock)
{
	for (struct read_record *r = b->record; r < b->record + READ_RECORDS; r++)
		if (__atomic_load_n(&r->thread, __ATOMIC_RELAXED) == thread &&
		    __atomic_load_n(&r->lock, __ATOMIC_RELAXED) == lock)
			return r;
	return NULL;
}

void lockdep_read_acquire(const void *lock)
{
	uintptr_t thread = os_thread_id();
	struct read_bucket *b = read_bucket(thread);

	for (struct read_record *r = b->record; r < b->record + READ_RECORDS; r++) {
		uintptr_t free = 0;

		if (!__atomic_load_n(&r->thread, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(&r->thread, &free, thread, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED)) {
			__atomic_store_n(&r->lock, lock, __ATOMIC_RELAXED);
			return;
		}
	}
	__atomic_add_fetch(&b->unnoted, 1, __ATOMIC_RELAXED);
}

void lockdep_read_release(const void *lock, const char *name)
{
	uintptr_t thread = os_thread_id();
	struct read_bucket *b = read_bucket(thread);
	struct read_record *r = read_find(b, thread, lock);

	if (r) {
		__atomic_store_n(&r->lock, NULL, __ATOMIC_RELAXED);
		__atomic_store_n(&r->thread, 0, __ATOMIC_RELEASE);
		return;
	}
	if (__atomic_load_n(&b->unnoted, __ATOMIC_RELAXED))
		__atomic_sub_fetch(&b->unnoted, 1, __ATOMIC_RELAXED);
	else
		lock_not_held(__FILE__, __LINE__, name, "is not held for reading, and let go");
}

bool lockdep_reads(const void *lock)
{
	uintptr_t thread = os_thread_id();
	struct read_bucket *b = read_bucket(thread);

	return read_find(b, thread, lock) || __atomic_load_n(&b->unnoted, __ATOMIC_RELAXED);
}
