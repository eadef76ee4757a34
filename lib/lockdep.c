/* SPDX-License-Identifier: MIT */
/*
 * Lock-order checking.
 *
 * Spinning locks: for each CPU those held, in the order in which they were taken. The array belongs to
 * its CPU alone; os_preempt() keeps the thread on it, and an interrupt handler leaves it as it found it.
 * Who looks while it holds none may be moved to another CPU meanwhile, and see what a thread there
 * holds. It is never told no wrongly, for who holds a lock is not moved; a yes is made sure of with
 * pre-emption off.
 *
 * How spinning locks and waits for other CPUs go together is noted by class, as seen anywhere.
 *
 * Sleeping locks, in builds that assert: for each thread those held, in a table of buckets by the
 * thread's number, each a few records of thread and lock. A record is claimed by a compare-and-exchange
 * of its thread; after that only this thread looks at it. A bucket that is full counts what it could not
 * take, and until that is released asserts nothing.
 *
 * Their order is learned. Locks of one name are one class. Whoever is to wait for a lock of class B with
 * one of class A held says that B comes inside A; once A has been waited for inside B too, directly or
 * through others, two threads could wait for each other, and the first that shows it panics, whether or
 * not any other thread is there. Who only tries waits for nobody, and says nothing.
 */
#include "lib/lockdep.h"

#include "lib/printf.h"
#include "lib/string.h"
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

unsigned lockdep_held_here(void)
{
	unsigned depth;

	os_preempt(1);
	depth = lockdep_mine()->depth;
	os_preempt(-1);
	return depth;
}

bool lockdep_holds_here(const void *lock)
{
	bool found;

	os_preempt(1);
	found = lockdep_finds(lock);
	os_preempt(-1);
	return found;
}

void might_sleep_failed(const char *file, int line)
{
	const struct lockdep_cpu *c;
	const char *name = NULL;
	char buf[160];

	os_preempt(1);
	c = lockdep_mine();
	if (c->depth)
		name = c->h[c->depth - 1].name ? c->h[c->depth - 1].name : "?";
	os_preempt(-1);
	if (!name)
		return;
	scnprintf(buf, sizeof(buf), "%s:%d: may sleep while holding %s", file, line, name);
	os_panic(buf);
}

/* ---- spinning locks and waits for other CPUs --------------------------------------------------- */

#define SPIN_CLASSES 64

enum { OVER_WAIT = 1, IRQS_OFF = 2, IN_CALL = 4, IRQS_ON = 8 };

/* In the order in which they were met; one that finds no room is not watched. */
static const char *spin_name[SPIN_CLASSES]; /* atomic; NULL: from here on none */
static uint32_t spin_seen[SPIN_CLASSES];    /* how one of them was met; atomic */

static unsigned spin_search(const char *name)
{
	for (unsigned i = 0; i < SPIN_CLASSES; i++) {
		const char *known = READ_ONCE(spin_name[i]);

		if (!known && __atomic_compare_exchange_n(&spin_name[i], &known, name, false,
							  __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return i;
		if (known == name || !strcmp(known, name))
			return i;
	}
	return SPIN_CLASSES;
}

static uint8_t spin_hint[256]; /* class + 1 of a name that hashes here; atomic */

/* Each lock that is taken asks: where the name was found before, as a rule. */
static unsigned spin_class(const char *name)
{
	uint8_t *hint = &spin_hint[(uint32_t)((uintptr_t)name * 0x9e3779b1u) >> 24];
	unsigned class = __atomic_load_n(hint, __ATOMIC_RELAXED);

	if (likely(class && READ_ONCE(spin_name[class - 1]) == name))
		return class - 1;
	class = spin_search(name);
	if (class < SPIN_CLASSES)
		__atomic_store_n(hint, (uint8_t)(class + 1), __ATOMIC_RELAXED);
	return class;
}

/* Noted, then asked: of two CPUs that note the opposite at once one sees the other's. */
static void note_spin(const char *name, uint32_t how, uint32_t opposite, const char *why)
{
	unsigned class = name ? spin_class(name) : SPIN_CLASSES;
	char buf[160];

	if (class == SPIN_CLASSES || __atomic_load_n(&spin_seen[class], __ATOMIC_RELAXED) & how)
		return;
	if (!(__atomic_fetch_or(&spin_seen[class], how, __ATOMIC_SEQ_CST) & opposite))
		return;
	scnprintf(buf, sizeof(buf), "lock order: %s is %s", name, why);
	os_panic(buf);
}

static const char over_and_off[] = "held over a wait for other CPUs, and taken with interrupts off";
static const char in_and_on[] = "taken in a call from another CPU, and held with interrupts on";

void lockdep_spins_noted(const char *name)
{
	if (!hal_irqs_off()) {
		note_spin(name, IRQS_ON, IN_CALL, in_and_on);
		return;
	}
	note_spin(name, IRQS_OFF, OVER_WAIT, over_and_off);
	if (lockdep_mine()->in_call)
		note_spin(name, IN_CALL, IRQS_ON, in_and_on);
}

void lockdep_waits_for_cpus(void)
{
	const struct lockdep_cpu *c;

	if (!DEBUG_ASSERTS || !lockdep_depth())
		return;
	os_preempt(1);
	c = lockdep_mine();
	for (unsigned i = 0; i < c->depth; i++)
		if (c->h[i].lock)
			note_spin(c->h[i].name, OVER_WAIT, IRQS_OFF, over_and_off);
	os_preempt(-1);
}

void lockdep_call(bool begins)
{
	struct lockdep_cpu *c = lockdep_mine();

	if (!DEBUG_ASSERTS)
		return;
	c->in_call = begins;
	/* those that were tried for, which nobody waited for */
	for (unsigned i = 0; begins && i < c->depth; i++)
		if (c->h[i].lock)
			note_spin(c->h[i].name, IRQS_ON, IN_CALL, in_and_on);
}

/* ---- classes of sleeping locks ----------------------------------------------------------------- */

#define CLASSES 64

/* Classes in the order in which they were met; one that finds no room is not watched. */
static const char *class_name[CLASSES]; /* atomic; NULL: from here on none */
static uint64_t taken_inside[CLASSES];	/* a bit for each class waited for with this one held; atomic */

static unsigned class_of(const char *name)
{
	for (unsigned i = 0; i < CLASSES; i++) {
		const char *known = READ_ONCE(class_name[i]);

		if (!known && __atomic_compare_exchange_n(&class_name[i], &known, name, false,
							  __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return i;
		if (known == name || !strcmp(known, name))
			return i;
	}
	return CLASSES;
}

/* Has `to` been waited for inside `from`, or inside what has? */
static bool comes_inside(unsigned from, unsigned to)
{
	uint64_t seen = 0, todo = 1ull << from;

	while (todo) {
		unsigned i = (unsigned)__builtin_ctzll(todo);

		seen |= 1ull << i;
		todo = (todo | __atomic_load_n(&taken_inside[i], __ATOMIC_SEQ_CST)) & ~seen;
	}
	return seen >> to & 1;
}

static void order_broken(const char *name, const char *held, const char *why)
{
	char buf[160];

	scnprintf(buf, sizeof(buf), "lock order: taking %s while holding %s, %s", name, held, why);
	os_panic(buf);
}

/* `name` is waited for inside a lock of class `outer`. */
static void learn_order(unsigned outer, unsigned inner, bool nested)
{
	if (outer == CLASSES || inner == CLASSES)
		return;
	if (outer == inner) {
		if (!nested)
			order_broken(class_name[inner], class_name[outer], "of the same name");
		return;
	}
	if (__atomic_load_n(&taken_inside[outer], __ATOMIC_RELAXED) >> inner & 1)
		return;
	/* Noted, then asked: of two threads that do the opposite at once one sees the other's. */
	__atomic_fetch_or(&taken_inside[outer], 1ull << inner, __ATOMIC_SEQ_CST);
	if (comes_inside(inner, outer)) {
		__atomic_fetch_and(&taken_inside[outer], ~(1ull << inner), __ATOMIC_RELAXED);
		order_broken(class_name[inner], class_name[outer], "which comes inside it elsewhere");
	}
}

/* ---- who holds sleeping locks ------------------------------------------------------------------ */

#define HELD_BUCKETS (DEBUG_ASSERTS ? 128 : 1)
#define HELD_RECORDS 16

static struct held_bucket {
	uint32_t unnoted; /* atomic: held, with no room for a record */
	struct held_record {
		uintptr_t thread; /* atomic; 0: free */
		const void *lock; /* these are its thread's alone */
		const char *name;
		enum lockdep_how how;
	} record[HELD_RECORDS];
} held_buckets[HELD_BUCKETS];

static struct held_bucket *held_bucket(uintptr_t thread)
{
	return &held_buckets[(uint64_t)thread * 0x9e3779b97f4a7c15ull >> 32 & (HELD_BUCKETS - 1)];
}

/* The next record of this thread, after r, or with NULL the first; NULL: there is none. */
static struct held_record *held_next(struct held_bucket *b, uintptr_t thread, struct held_record *r)
{
	for (r = r ? r + 1 : b->record; r < b->record + HELD_RECORDS; r++)
		if (__atomic_load_n(&r->thread, __ATOMIC_RELAXED) == thread)
			return r;
	return NULL;
}

static struct held_record *held_find(struct held_bucket *b, uintptr_t thread, const void *lock)
{
	struct held_record *r = NULL;

	while ((r = held_next(b, thread, r)) && r->lock != lock)
		;
	return r;
}

void lockdep_sleep_order(const void *lock, const char *name, bool nested)
{
	uintptr_t thread = os_thread_id();
	struct held_bucket *b = held_bucket(thread);
	unsigned class = CLASSES;

	for (struct held_record *r = NULL; (r = held_next(b, thread, r));) {
		if (r->lock == lock && r->how == LOCKDEP_READ)
			order_broken(name, r->name, "for reading: the same lock");
		if (r->lock == lock || !r->name || !name) /* who owns it asks for itself */
			continue;
		class = class == CLASSES ? class_of(name) : class;
		learn_order(class_of(r->name), class, nested);
	}
}

void lockdep_sleep_acquire(const void *lock, const char *name, enum lockdep_how how)
{
	uintptr_t thread = os_thread_id();
	struct held_bucket *b = held_bucket(thread);

	for (struct held_record *r = b->record; r < b->record + HELD_RECORDS; r++) {
		uintptr_t free = 0;

		if (!__atomic_load_n(&r->thread, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(&r->thread, &free, thread, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED)) {
			r->lock = lock;
			r->name = name;
			r->how = how;
			return;
		}
	}
	__atomic_add_fetch(&b->unnoted, 1, __ATOMIC_RELAXED);
}

void lockdep_sleep_release(const void *lock, const char *name, enum lockdep_how how)
{
	uintptr_t thread = os_thread_id();
	struct held_bucket *b = held_bucket(thread);
	struct held_record *r = held_find(b, thread, lock);

	if (r && r->how == how)
		__atomic_store_n(&r->thread, 0, __ATOMIC_RELEASE);
	else if (__atomic_load_n(&b->unnoted, __ATOMIC_RELAXED))
		__atomic_sub_fetch(&b->unnoted, 1, __ATOMIC_RELAXED);
	else
		lock_not_held(__FILE__, __LINE__, name,
			      how == LOCKDEP_READ ? "is not held for reading, and let go"
						  : "is not held, and let go");
}

bool lockdep_reads(const void *lock)
{
	uintptr_t thread = os_thread_id();
	struct held_bucket *b = held_bucket(thread);
	const struct held_record *r = held_find(b, thread, lock);

	return (r && r->how == LOCKDEP_READ) || __atomic_load_n(&b->unnoted, __ATOMIC_RELAXED);
}

void lockdep_each_held(void (*fn)(uintptr_t thread, const void *lock, const char *name,
				  enum lockdep_how how, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < HELD_BUCKETS; i++)
		for (unsigned j = 0; j < HELD_RECORDS; j++) {
			const struct held_record *r = &held_buckets[i].record[j];
			uintptr_t thread = __atomic_load_n(&r->thread, __ATOMIC_ACQUIRE);

			if (thread)
				fn(thread, r->lock, r->name ? r->name : "?", r->how, ctx);
		}
}

static const char *a_mutex(unsigned *n)
{
	uintptr_t thread = os_thread_id();
	struct held_bucket *b = held_bucket(thread);
	const char *name = NULL;

	*n = 0;
	for (struct held_record *r = NULL; (r = held_next(b, thread, r));) {
		if (r->how != LOCKDEP_MUTEX)
			continue;
		name = r->name ? r->name : "?";
		(*n)++;
	}
	return name;
}

unsigned lockdep_mutexes_held(void)
{
	unsigned n;

	a_mutex(&n);
	return n;
}

void assert_no_mutex_at(const char *file, int line)
{
	unsigned n;
	const char *name = a_mutex(&n);

	if (unlikely(n))
		lock_not_held(file, line, name, "is held, and must not be");
}
