/* SPDX-License-Identifier: MIT */
/*
 * The contract above (include/quire/os.h) for contexts that take turns on the machine's CPUs
 * (arch/fake/turns.c). Nothing here is instrumented, so what a function does between two calls of the
 * machine happens at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lockdep.h"
#include "test/preempt/cpus.h"
#include <quire/abi.h>
#include <quire/os.h>

struct sleeper {
	struct sleeper *next;
	const void *key;
	struct fake_context *context;
	uint64_t deadline;
	bool woken, stoppable;
};

static struct sleeper *sleepers; /* in the order in which they came */
static uint64_t skipped_ns;	 /* by idle CPUs */
static struct os_task boot_task = {.number = 1};
static uintptr_t numbers = 1;

struct os_task *os_task(void)
{
	struct os_task *t = fake_context_data();

	return t ? t : &boot_task;
}

static void wake(struct sleeper *s)
{
	s->woken = true;
	fake_context_wake(s->context);
}

/* ---- spaces ---------------------------------------------------------------------------------- */

/* A context without a space runs in whatever is there. */
static void arrived(struct fake_context *c)
{
	if (os_task()->mm)
		quire_mm_switch(os_task()->mm);
}

void os_task_space(struct quire_mm *mm)
{
	irqflags_t flags = hal_irq_save();

	os_task()->mm = mm;
	quire_mm_switch(mm);
	hal_irq_restore(flags);
}

/* ---- threads --------------------------------------------------------------------------------- */

void os_task_start(struct os_task *t, void (*fn)(void *arg), void *arg)
{
	t->number = ++numbers;
	t->context = fake_context_start(fn, arg, t);
	REQUIRE(t->context, "the host is out of memory");
}

struct os_thread {
	struct os_task os;
	void (*fn)(void *arg);
	void *arg;
	uint32_t ended;
};

static void thread_main(void *arg)
{
	struct os_thread *t = arg;

	t->fn(t->arg);
	t->ended = 1;
	os_wake(&t->ended, ~0u);
}

int os_thread_start(const char *name, void (*fn)(void *arg), void *arg, struct os_thread **thread)
{
	struct os_thread *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->fn = fn;
	t->arg = arg;
	*thread = t;
	os_task_start(&t->os, thread_main, t);
	return 0;
}

bool os_thread_should_stop(void)
{
	return os_task()->stop;
}

void os_thread_stop(struct os_thread *t)
{
	t->os.stop = true;
	for (struct sleeper *s = sleepers; s; s = s->next)
		if (s->context == t->os.context && s->stoppable && !s->woken)
			wake(s);
	while (!t->ended)
		os_wait(&t->ended, &t->ended, 0);
	/* its context may not be gone yet */
	t->os.next = world.dead;
	world.dead = &t->os;
}

/* ---- sleeping -------------------------------------------------------------------------------- */

uint64_t os_clock_ns(void)
{
	return hal_cycles() + skipped_ns;
}

static void remove_sleeper(const struct sleeper *me)
{
	for (struct sleeper **s = &sleepers; *s; s = &(*s)->next)
		if (*s == me) {
			*s = me->next;
			return;
		}
}

static void wake_late(void)
{
	uint64_t now = os_clock_ns();

	for (struct sleeper *s = sleepers; s; s = s->next)
		if (!s->woken && s->deadline <= now)
			wake(s);
}

/* Nobody has anything to do: the clock goes on to the first deadline. */
static bool idle(void)
{
	uint64_t now = os_clock_ns(), first = UINT64_MAX;

	for (const struct sleeper *s = sleepers; s; s = s->next)
		if (!s->woken && s->deadline < first)
			first = s->deadline;
	if (first == UINT64_MAX)
		return false;
	if (first > now)
		skipped_ns += first - now;
	wake_late();
	return true;
}

static void wait_on(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline,
		    bool stoppable)
{
	struct sleeper me = {NULL, key, fake_context_mine(), deadline, false, stoppable}, **last;

	REQUIRE(fake_context_mine(), "sleeps where nobody else is");
	REQUIRE(!os_task()->depth, "sleeps with pre-emption off");
	fake_context_point();
	wake_late();
	if (__atomic_load_n(word, __ATOMIC_RELAXED) != seen || (stoppable && os_thread_should_stop()))
		return;
	for (last = &sleepers; *last; last = &(*last)->next)
		;
	*last = &me;
	while (!me.woken)
		fake_context_sleep();
	remove_sleeper(&me);
}

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	wait_on(key, word, seen, UINT64_MAX, false);
}

void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	wait_on(key, word, seen, deadline_ns, true);
}

void os_wake(const void *key, unsigned n)
{
	fake_context_point();
	for (struct sleeper *s = sleepers; s && n; s = s->next)
		if (s->key == key && !s->woken) {
			wake(s);
			n--;
		}
	fake_context_point();
}

/* ---- the rest -------------------------------------------------------------------------------- */

void os_preempt(int delta)
{
	fake_context_point();
	os_task()->depth += delta;
	fake_context_point();
}

static bool movable(void)
{
	return !os_task()->depth;
}

uintptr_t os_thread_id(void)
{
	fake_context_point();
	return os_task()->number;
}

unsigned long *os_thread_word(void)
{
	return &os_task()->word;
}

void os_cond_resched(void)
{
	fake_context_point();
}

/* A stack must not grow down to what a task has unmapped. */
uint64_t os_rlimit(void *owner, int resource)
{
	return resource == RLIMIT_STACK ? STACK_PAGES * PAGE : RLIM_INFINITY;
}

/* ---- the run --------------------------------------------------------------------------------- */

static void tell_waiter(uintptr_t thread, const void *lock, const char *name, enum lockdep_how how,
			void *ctx)
{
	fprintf(stderr, "    task %lu holds %s (%p)%s\n", (unsigned long)thread, name, lock,
		how == LOCKDEP_READ ? " for reading" : "");
}

static void stuck(void)
{
	for (unsigned cpu = 0; cpu < hal_cpu_count(); cpu++)
		for (unsigned i = 0; i < lockdep_cpus[cpu].depth; i++)
			fprintf(stderr, "    CPU %u holds or awaits %s\n", cpu,
				lockdep_cpus[cpu].h[i].name);
	fake_tell_turns();
	lockdep_each_held(tell_waiter, NULL);
	fail("every CPU waits, or sleeps for ever");
}

void os_run(void (*first)(void *arg), void *arg)
{
	static const struct fake_turns how = {arrived, movable, idle, stuck};
	struct os_task t = {0};

	os_task_start(&t, first, arg);
	fake_take_turns(&how);
}
