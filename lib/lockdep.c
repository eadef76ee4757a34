/* SPDX-License-Identifier: MIT */
/*
 * Per CPU, the spinning locks held, in the order in which they were taken. The array belongs to
 * its CPU alone; os_preempt() keeps the thread on it, and an interrupt handler leaves it as it
 * found it.
 */
#include "lib/lockdep.h"

#include "arch/hal.h"
#include "lib/printf.h"
#include "mm/os.h"

struct held {
	const void *lock;
	const char *name;
	unsigned rank;
};

static struct cpu_held {
	unsigned depth;
	struct held h[LOCKDEP_DEPTH];
} held[LOCKDEP_MAX_CPUS];

static struct cpu_held *mine(void)
{
	return &held[hal_cpu_id() % LOCKDEP_MAX_CPUS];
}

static void complain(const char *what, const char *name, const struct held *other)
{
	char buf[160];

	scnprintf(buf, sizeof(buf), "lock order: %s %s while holding %s (rank %u)", what, name,
		  other->name, other->rank);
	os_panic(buf);
}

void lockdep_acquire(const void *lock, const char *name, unsigned rank, bool nested)
{
	struct cpu_held *c = mine();

	for (unsigned i = 0; i < c->depth; i++) {
		const struct held *h = &c->h[i];

		if (h->lock == lock)
			complain("taking again", name, h);
		if (rank && h->rank && (h->rank > rank || (h->rank == rank && !nested)))
			complain("taking", name, h);
	}
	if (c->depth == LOCKDEP_DEPTH)
		complain("too deep, taking", name, &c->h[c->depth - 1]);
	c->h[c->depth++] = (struct held){lock, name, rank};
}

void lockdep_release(const void *lock)
{
	struct cpu_held *c = mine();
	struct held none = {NULL, "nothing", 0};

	for (unsigned i = c->depth; i-- > 0;) {
		if (c->h[i].lock != lock)
			continue;
		for (c->depth--; i < c->depth; i++)
			c->h[i] = c->h[i + 1];
		return;
	}
	complain("letting go", "a lock that is not held", &none);
}

void might_sleep_at(const char *file, int line)
{
	const struct cpu_held *c = mine();
	char buf[160];

	if (!c->depth)
		return;
	scnprintf(buf, sizeof(buf), "%s:%d: may sleep while holding %s", file, line,
		  c->h[c->depth - 1].name);
	os_panic(buf);
}

unsigned lockdep_held(void)
{
	return mine()->depth;
}

void lockdep_reset(void)
{
	mine()->depth = 0;
}
