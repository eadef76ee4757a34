/* SPDX-License-Identifier: MIT */
/*
 * Lock-order checking: for each CPU the spinning locks held, in the order in which they were taken.
 * The array belongs to its CPU alone; os_preempt() keeps the thread on it, and an interrupt handler
 * leaves it as it found it.
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
		if (rank && h->rank && (h->rank > rank || (h->rank == rank && !nested)))
			complain("taking", name, h);
	}
	if (c->depth == LOCKDEP_DEPTH)
		complain("too deep, taking", name, &c->h[c->depth - 1]);
	c->h[c->depth++] = (struct lockdep_held_lock){lock, name, rank};
}

void lockdep_release_nested(const void *lock)
{
	struct lockdep_cpu *c = lockdep_mine();
	struct lockdep_held_lock none = {NULL, "nothing", 0};

	for (unsigned i = c->depth; i-- > 0;) {
		if (c->h[i].lock != lock)
			continue;
		for (c->depth--; i < c->depth; i++)
			c->h[i] = c->h[i + 1];
		return;
	}
	complain("letting go", "a lock that is not held", &none);
}

_Noreturn void might_sleep_failed(const char *file, int line)
{
	const struct lockdep_cpu *c = lockdep_mine();
	char buf[160];

	scnprintf(buf, sizeof(buf), "%s:%d: may sleep while holding %s", file, line,
		  c->h[c->depth - 1].name);
	os_panic(buf);
}
