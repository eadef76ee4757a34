/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's CPUs: which one the calling host thread is, its interrupt flag, calls between
 * CPUs, time. Interrupts never interrupt host code: they are delivered where the machine is called
 * (fake_poll), so every run with the same seed on one CPU is the same.
 */
#include <sched.h>
#include <time.h>

#include "arch/fake/machine.h"
#include "arch/hal_kernel.h"
#include "lib/lockdep.h"
#include <quire/abi.h>

/* Virtual time that a call of the machine takes. */
#define TICK_NS 200

uint64_t fake_random(void)
{
	machine.rng ^= machine.rng << 13;
	machine.rng ^= machine.rng >> 7;
	machine.rng ^= machine.rng << 17;
	return machine.rng;
}

/* A point lies behind the look: what was computed from the number is wrong by then. */
unsigned hal_cpu_id(void)
{
	unsigned cpu = self.cpu;

	if (fake_point())
		fake_interrupt();
	return cpu;
}

unsigned hal_cpu_count(void)
{
	return machine.cfg.cpus ? machine.cfg.cpus : 1;
}

/* No point lies in it: it is one access of the CPU that the task is on. */
void *hal_task(void)
{
	return fake_cpu()->task;
}

void hal_set_task(void *task)
{
	if (!self.irqs_off)
		fake_accuse(FAKE_CONTEXT, "hal_set_task with interrupts on");
	fake_cpu()->task = task;
}

bool hal_local_add(uint32_t *p, uint32_t v)
{
	if (fake_point())
		fake_interrupt();
	return !__atomic_add_fetch(p, v, __ATOMIC_RELAXED);
}

uint64_t hal_cycles(void)
{
	return __atomic_add_fetch(&machine.clock_ns, TICK_NS, __ATOMIC_RELAXED);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

/* A saved state knows its depth, so that a restore out of order is seen. */
irqflags_t hal_irq_save(void)
{
	irqflags_t flags;

	fake_cross();
	flags = (irqflags_t)++self.irq_depth << 1 | self.irqs_off;
	self.irqs_off = true;
	return flags;
}

void hal_irq_restore(irqflags_t flags)
{
	if (flags >> 1 != self.irq_depth || !self.irqs_off)
		fake_accuse(FAKE_IRQ_ORDER, "restored the state saved at depth %lu, at depth %u%s",
			    flags >> 1, self.irq_depth,
			    self.irqs_off ? "" : ", interrupts already on");
	self.irq_depth = flags >> 1 ? (flags >> 1) - 1 : 0;
	self.irqs_off = flags & 1;
	if (!self.irqs_off)
		fake_poll();
	else
		fake_cross();
}

bool hal_irqs_off(void)
{
	return self.irqs_off;
}

void hal_cpu_relax(void)
{
	if (machine.in_turns)
		fake_turn(true);
	else
		sched_yield();
	fake_poll();
}

/* ---- points ---------------------------------------------------------------------------------- */

/* Each magnitude is as likely as any other, so that a task that was switched away in a small window
 * stays away for some accesses of the others, or for whole calls. A chance of its own, so that what
 * else the seed decides is the same at any rate. */
static uint64_t next_gap(unsigned every)
{
	uint64_t r = machine.point_rng;
	unsigned bits = 1; /* 2^bits / (bits + 1) is the mean */

	if (!every)
		return 0;
	r ^= r << 13;
	r ^= r >> 7;
	r ^= r << 17;
	machine.point_rng = r;
	while ((1ull << bits) / (bits + 1) < every)
		bits++;
	return 1 + (r >> 16) % (1ull << r % (bits + 1));
}

void fake_choose_points(unsigned every, uint64_t at)
{
	machine.cfg.preempt_every = every;
	machine.cfg.preempt_at = at;
	machine.points = 0;
	machine.point_rng = machine.cfg.seed * 0x9e3779b97f4a7c15ull + 0x2545f4914f6cdd1dull;
	machine.point_gap = next_gap(every);
	machine.points_on = every || at || machine.on_point;
}

uint64_t fake_points(void)
{
	return machine.points;
}

void fake_on_point(void (*fn)(void *ctx), void *ctx)
{
	machine.on_point = fn;
	machine.point_ctx = ctx;
	machine.points_on = fn || machine.cfg.preempt_every || machine.cfg.preempt_at;
}

bool fake_point_chosen(void)
{
	if (++machine.points == machine.cfg.preempt_at)
		return true;
	if (!machine.point_gap || --machine.point_gap)
		return false;
	machine.point_gap = next_gap(machine.cfg.preempt_every);
	return true;
}

void fake_interrupt(void)
{
	if (machine.in_turns) {
		fake_turn(false);
	} else if (machine.on_point) {
		self.in_irq = true;
		machine.on_point(machine.point_ctx);
		self.in_irq = false;
	} else if (machine.on_timer) {
		__atomic_add_fetch(&machine.clock_ns, machine.period_ns, __ATOMIC_RELAXED);
		machine.count.timer_irqs++;
		machine.on_timer();
	}
}

/* Takes the calls that other CPUs sent here. */
static void answer_inbox(void)
{
	struct cpu *c = fake_cpu();

	if (!__atomic_load_n(&c->inbox, __ATOMIC_RELAXED))
		return;
	fake_lock();
	while (c->inbox) {
		struct ipi *i = c->inbox;

		c->inbox = i->next;
		fake_unlock();
		self.irqs_off = true;
		lockdep_call(true);
		i->fn(i->arg);
		lockdep_call(false);
		self.irqs_off = false;
		fake_lock();
		i->done = true;
	}
	fake_unlock();
}

/* Several kicks are one until it is taken. */
static void take_kick(void *arg)
{
	bool *kicked = &fake_cpu()->kicked;

	if (__atomic_load_n(kicked, __ATOMIC_RELAXED) &&
	    __atomic_exchange_n(kicked, false, __ATOMIC_ACQ_REL))
		machine.on_kick();
}

void fake_take_calls(void)
{
	if (self.irqs_off || self.in_irq)
		return;
	self.in_irq = true;
	answer_inbox();
	self.irqs_off = true;
	take_kick(NULL);
	self.irqs_off = false;
	self.in_irq = false;
}

static bool timer_due(void)
{
	bool due;

	if (machine.timer_expired && machine.timer_expired())
		return true;
	if (!machine.cfg.timer_every)
		return false;
	fake_lock();
	due = fake_random() % machine.cfg.timer_every == 0;
	fake_unlock();
	return due;
}

void fake_poll(void)
{
	hal_cycles();
	if (self.irqs_off || self.in_irq)
		return;
	fake_take_calls();
	if (machine.on_devices)
		machine.on_devices();
	if (machine.on_timer && timer_due()) {
		machine.count.timer_irqs++;
		machine.on_timer();
	}
	if (fake_point())
		fake_interrupt();
}

/* ---- calls between CPUs ---------------------------------------------------------------------- */

/* A CPU that no thread runs: the caller plays it for a moment. */
static void play(unsigned cpu, void (*fn)(void *arg), void *arg)
{
	struct self mine = self;

	self.cpu = cpu;
	self.irqs_off = true;
	lockdep_call(true);
	fn(arg);
	lockdep_call(false);
	self = mine;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* A CPU with a thread of its own: leave the call in its inbox and wait, answering ours. */
static void send(unsigned cpu, void (*fn)(void *arg), void *arg)
{
	struct ipi i = {.fn = fn, .arg = arg};
	double give_up = now() + 10;

	fake_lock();
	i.next = machine.cpu[cpu].inbox;
	__atomic_store_n(&machine.cpu[cpu].inbox, &i, __ATOMIC_RELAXED);
	while (!i.done && machine.cpu[cpu].threaded) {
		fake_unlock();
		answer_inbox();
		sched_yield();
		if (now() > give_up) {
			fake_accuse(FAKE_IPI_IRQS_OFF, "CPU %u did not answer CPU %u in 10 s", cpu,
				    self.cpu);
			give_up += 10;
		}
		fake_lock();
	}
	if (!i.done) /* its thread ended first; no other can have the note */
		machine.cpu[cpu].inbox = i.next;
	fake_unlock();
	if (!i.done)
		play(cpu, fn, arg);
}

/* All at once: which has done its part already when another has not, is up to the turns. */
void fake_call_cpus(uint64_t cpus, void (*fn)(void *arg), void *arg)
{
	struct ipi note[FAKE_MAX_CPUS];

	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		if (!(cpus >> cpu & 1))
			continue;
		note[cpu] = (struct ipi){.next = machine.cpu[cpu].inbox, .fn = fn, .arg = arg};
		machine.cpu[cpu].inbox = &note[cpu];
		machine.count.ipis++;
	}
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		while (cpus >> cpu & 1 && !note[cpu].done) {
			fake_take_calls(); /* it may be the one that we are on by now */
			if (!note[cpu].done)
				fake_turn(true);
		}
	}
}

void fake_on_kick(void (*fn)(void))
{
	machine.on_kick = fn;
}

/* A CPU without a thread of its own idles: the kick ends that, and the caller plays it meanwhile. */
void hal_cpu_kick(unsigned cpu)
{
	bool idles;

	if (!machine.on_kick || cpu >= hal_cpu_count()) {
		fake_accuse(FAKE_BAD_CALL, "hal_cpu_kick(%u)", cpu);
		return;
	}
	fake_cross();
	__atomic_store_n(&machine.cpu[cpu].kicked, true, __ATOMIC_RELEASE);
	fake_lock();
	idles = cpu != self.cpu && !machine.in_turns && !machine.cpu[cpu].threaded;
	fake_unlock();
	if (idles)
		play(cpu, take_kick, NULL);
	fake_take_calls();
}

unsigned hal_cpu_number(unsigned cpu)
{
	return cpu;
}

void hal_ipi_call(uint64_t cpu_mask, void (*fn)(void *arg), void *arg)
{
	uint64_t others = cpu_mask & ~(1ull << self.cpu) & ((1ull << hal_cpu_count()) - 1);

	lockdep_waits_for_cpus();
	if (others && self.irqs_off)
		fake_accuse(FAKE_IPI_IRQS_OFF, "CPU %u calls CPUs %#llx with interrupts off",
			    self.cpu, (unsigned long long)others);
	if (machine.in_turns) {
		if (!self.irqs_off)
			fake_call_cpus(others, fn, arg);
		return;
	}
	for (unsigned cpu = 0; cpu < hal_cpu_count(); cpu++) {
		if (!(others >> cpu & 1))
			continue;
		machine.count.ipis++;
		if (machine.cpu[cpu].threaded)
			send(cpu, fn, arg);
		else
			play(cpu, fn, arg);
	}
}

/* ---- threads that are CPUs ------------------------------------------------------------------- */

void fake_cpu_switch(unsigned n)
{
	if (n >= hal_cpu_count() || machine.cpu[n].threaded)
		fake_accuse(FAKE_BAD_CALL, "fake_cpu_switch(%u): no such CPU, or it has a thread",
			    n);
	else
		self.cpu = n;
}

static void *cpu_main(void *arg)
{
	struct cpu *c = arg;

	self = (struct self){.cpu = c - machine.cpu};
	c->fn(c->arg);
	self.irqs_off = false;
	fake_lock();
	c->threaded = false;
	fake_unlock();
	play(self.cpu, take_kick, NULL); /* one that came just now */
	return NULL;
}

int fake_cpu_start(unsigned n, void (*fn)(void *arg), void *arg)
{
	struct cpu *c = &machine.cpu[n];

	if (n >= hal_cpu_count() || n == self.cpu || c->fn)
		return -1;
	c->fn = fn;
	c->arg = arg;
	c->threaded = true;
	if (!pthread_create(&c->thread, NULL, cpu_main, c))
		return 0;
	c->fn = NULL;
	c->threaded = false;
	return -1;
}

/* Every CPU of the machine answers: one that no thread runs is played. */
uint64_t hal_cpus_online(void)
{
	return (2ull << (hal_cpu_count() - 1)) - 1;
}

/* A thread has a stack of the host's. When fn returns, the CPU is one that is played. */
int hal_cpu_start(unsigned cpu, void *stack_top, void (*fn)(void *arg), void *arg)
{
	if (!cpu || cpu >= hal_cpu_count())
		return -EINVAL;
	if (machine.cpu[cpu].fn)
		return -EBUSY;
	return fake_cpu_start(cpu, fn, arg) ? -EIO : 0;
}

void fake_cpu_join(unsigned n)
{
	struct cpu *c = &machine.cpu[n];

	if (!c->fn)
		return;
	/* a CPU that waits here still answers the other's calls */
	while (__atomic_load_n(&c->threaded, __ATOMIC_ACQUIRE)) {
		fake_poll();
		sched_yield();
	}
	pthread_join(c->thread, NULL);
	c->fn = NULL;
}
