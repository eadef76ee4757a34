/* SPDX-License-Identifier: MIT */
/*
 * Stopping the machine: one task has it for itself, and no other is anywhere inside the kernel but
 * asleep. For whoever looks at what all of them change: the checker of invariants, dumps of tables,
 * the monitor.
 *
 * It is not enough that the other CPUs stand still: a task that stands in the middle of a call has half
 * done what the checker would call broken, and may hold the lock that the checker waits for. So all go on
 * until each sleeps, or is about to return to user mode (task.quiet), where it has done what it did:
 *
 *   draining  CPUs are kicked out of user mode; a task that is quiet gets no CPU any more, every other
 *             one does. Calls come to their end, sleepers that are woken go on, new locks are let go.
 *   held      no task gets a CPU but the owner. The others' CPUs are idle, with interrupts on, and
 *             answer calls.
 *
 * Whether all are quiet is seen by a look into every CPU's queue under its lock, in a machine that is
 * held already: what a look found idle remains so, since choosing a task is done under that lock. It takes
 * two looks: one that moves from a CPU that was not looked at yet to one that was is met by the second.
 * If anybody is not quiet the machine drains on.
 *
 * Nobody holds what the owner needs but one that sleeps with it. If the owner has to sleep the machine
 * goes on, and the owner is told at the end that it was not alone. Of several who ask one is the owner and
 * the others are quiet until it is done. A panic takes no part in it: it stops CPUs where they are.
 */
#include "cpus.h"
#include "kernel.h"

uint32_t stop_phase;	     /* enum stop_phase, atomic; changed by the owner */
static struct task *owner;   /* atomic; NULL: nobody asks */
static bool was_alone;	     /* the owner's: nobody else has run since it has the machine */

#define CHECK_TRIES 100 /* so often the checker begins anew, if it had to sleep */

bool stop_lets_run(const struct task *t)
{
	if (stop_phase == STOP_HELD)
		return t == owner;
	return !READ_ONCE(t->quiet);
}

static void set_phase(enum stop_phase phase)
{
	__atomic_store_n(&stop_phase, phase, __ATOMIC_SEQ_CST);
}

/* They look for a task, or at what is to be done before user mode. */
static void kick_others(void)
{
	irqflags_t flags = hal_irq_save();
	struct cpu *c;

	for_each_online_cpu(c)
		if (c != this_cpu())
			hal_cpu_kick(c->id);
	hal_irq_restore(flags);
}

/* Nobody runs or waits here but the owner and those that are quiet. */
static bool cpu_is_quiet(struct cpu *c)
{
	irqflags_t flags = hal_irq_save();
	struct task *t;
	bool quiet;

	raw_lock(&c->lock);
	quiet = (c->curr == c->idle || c->curr == owner) && !__atomic_load_n(&c->left_moves, __ATOMIC_ACQUIRE);
	list_for_each_entry(t, &c->queue, run)
		quiet &= READ_ONCE(t->quiet);
	raw_unlock(&c->lock);
	hal_irq_restore(flags);
	return quiet;
}

static bool all_quiet(void)
{
	bool quiet = true;
	struct cpu *c;

	for_each_online_cpu(c)
		quiet = quiet && cpu_is_quiet(c);
	return quiet;
}

/* Without a first look at a machine that drains it would seldom be found quiet. */
static bool try_to_hold(void)
{
	if (!all_quiet())
		return false;
	set_phase(STOP_HELD);
	if (all_quiet() && all_quiet())
		return true;
	set_phase(STOP_DRAIN);
	kick_others();
	return false;
}

void schedule_quietly(void)
{
	WRITE_ONCE(current->quiet, true);
	schedule();
	WRITE_ONCE(current->quiet, false);
}

void cpus_stop(void)
{
	struct task *none = NULL;

	might_sleep();
	while (!__atomic_compare_exchange_n(&owner, &none, current, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		none = NULL;
		schedule_quietly();
	}
	was_alone = true;
	set_phase(STOP_DRAIN);
	kick_others();
	while (!try_to_hold()) {
		schedule();
		hal_cpu_relax();
	}
}

void stop_owner_sleeps(void)
{
	if (current != owner)
		return;
	was_alone = false;
	set_phase(STOP_NONE);
	kick_others();
}

bool cpus_are_stopped(void)
{
	return was_alone;
}

bool cpus_go_on(void)
{
	bool alone = was_alone;

	ASSERT(current == owner);
	set_phase(STOP_NONE);
	__atomic_store_n(&owner, NULL, __ATOMIC_RELEASE);
	kick_others();
	return alone;
}

long check_alone(struct quire_mm *mm)
{
	unsigned tries = 0;
	long n;

	do {
		cpus_stop();
		n = quire_check(mm);
	} while (!cpus_go_on() && ++tries < CHECK_TRIES);
	return n;
}

void stop_init(void)
{
	stop_phase = STOP_NONE;
	owner = NULL;
}
