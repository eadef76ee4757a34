/* SPDX-License-Identifier: MIT */
/*
 * The load averages of /proc/loadavg and sysinfo(): how many threads run, want to, or wait for a device,
 * on an average over 1, 5 and 15 minutes in which older moments count less and less. Every five seconds
 * the tick takes a sample; numbers are fixed point with LOAD_SHIFT bits, as sysinfo's are with 16.
 */
#include "cpus.h"
#include "kernel/proc/proc.h"

#define LOAD_SHIFT  11
#define LOAD_ONE    (1u << LOAD_SHIFT)
#define LOAD_PERIOD (5 * NS_PER_SEC + TICK_NS) /* a tick more: not in step with what wakes every second */

/* exp(-5 s / the average's time), times LOAD_ONE. */
static const unsigned decay[3] = {1884, 2014, 2037};
static unsigned long loads[3]; /* written by the tick of the first CPU alone */
static uint64_t next_sample;   /* the same */

void load_init(void)
{
	memset(loads, 0, sizeof(loads));
	next_sample = hal_clock_ns() + LOAD_PERIOD;
}

/* A thread of a program that waits for what no signal ends, and was not told to stop. tasks_lock. */
static bool is_blocked(const struct task *t)
{
	return t->proc && READ_ONCE(t->state) == TASK_SLEEPING && !READ_ONCE(t->interruptible) &&
	       READ_ONCE(t->sleeps_in) && !READ_ONCE(t->proc->stopped);
}

void count_active(unsigned *running, unsigned *blocked)
{
	irqflags_t flags;
	struct task *t;
	struct cpu *c;

	*running = *blocked = 0;
	for_each_online_cpu(c)
		*running += READ_ONCE(c->nr_running);
	spin_lock_irqsave(&tasks_lock, flags);
	list_for_each_entry(t, &all_tasks, all)
		*blocked += is_blocked(t);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* Upwards it is rounded up, so that a constant load is reached. */
static unsigned long average(unsigned long load, unsigned of_old, unsigned long now)
{
	return (load * of_old + now * (LOAD_ONE - of_old) + (now >= load ? LOAD_ONE - 1 : 0)) / LOAD_ONE;
}

void load_tick(uint64_t now)
{
	unsigned running, blocked;

	if (likely(now < next_sample))
		return;
	next_sample = now + LOAD_PERIOD;
	count_active(&running, &blocked);
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++)
		WRITE_ONCE(loads[i], average(loads[i], decay[i], (unsigned long)(running + blocked) << LOAD_SHIFT));
}

uint64_t load_average(unsigned i, unsigned shift)
{
	return (uint64_t)READ_ONCE(loads[i]) << shift >> LOAD_SHIFT;
}

/* Rounded to hundredths. */
void show_loadavg(struct text *t, struct process *p)
{
	unsigned running, blocked;

	count_active(&running, &blocked);
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
		unsigned long v = READ_ONCE(loads[i]) + LOAD_ONE / 200;

		say(t, "%lu.%02lu ", v >> LOAD_SHIFT, (v & (LOAD_ONE - 1)) * 100 >> LOAD_SHIFT);
	}
	say(t, "%u/%u %d\n", running, nr_tasks(), last_pid_given());
}
