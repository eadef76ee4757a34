/* SPDX-License-Identifier: MIT */
/*
 * Starting CPUs, and calls between them (hal_cpu_start, hal_ipi_call).
 *
 * A CPU is asked to start, and says that it did by one exchange of its state: so one that comes too
 * late finds that nobody waits any more, and stops there, harmless.
 *
 * A call is a note on the caller's stack, linked into a list of each CPU that it is for. Its CPU takes
 * the whole list by one exchange in its interrupt, runs each, and counts the note down; with the last
 * count the caller goes on, and the note is gone. So any number of calls can be under way, from tasks
 * that may be pre-empted and moved while they wait, no lock is taken on either side, and nobody waits
 * for a CPU that has interrupts off for long but the caller. Two callers who wait for each other answer
 * each other, since both have interrupts on.
 */
#include "arch/common/smp.h"

#include "arch/common/boot.h"
#include "arch/hal_kernel.h"
#include "lib/bits.h"
#include "lib/bug.h"
#include "lib/lockdep.h"
#include <quire/abi.h>
#include "arch.h"

unsigned hal_cpus = 1;
uint64_t smp_online = 1;

#define START_NS 5000000000ull /* a CPU that has not come by then is left out; an emulated one may wait for its host */

/* ---- start ----------------------------------------------------------------------------------- */

enum start_state { NOT_STARTED = 0, ASKED, RUNS, LEFT_OUT };

static struct start {
	uint32_t state; /* enum start_state, atomic */
	void (*fn)(void *arg);
	void *arg;
} starts[ARCH_CPUS_MAX];

static bool becomes(struct start *s, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&s->state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

uint64_t hal_cpus_online(void)
{
	return smp_online_now();
}

int hal_cpu_start(unsigned cpu, void *stack_top, void (*fn)(void *arg), void *arg)
{
	uint64_t from = hal_clock_ns();
	struct start *s;

	if (!cpu || cpu >= hal_cpus)
		return -EINVAL;
	s = &starts[cpu];
	if (!becomes(s, NOT_STARTED, ASKED))
		return -EBUSY;
	s->fn = fn;
	s->arg = arg;
	if (!arch_cpu_start(cpu, stack_top)) {
		__atomic_store_n(&s->state, LEFT_OUT, __ATOMIC_RELEASE);
		return -EIO;
	}
	while (__atomic_load_n(&s->state, __ATOMIC_ACQUIRE) == ASKED) {
		if (hal_clock_ns() - from > START_NS && becomes(s, ASKED, LEFT_OUT))
			return -ETIMEDOUT;
		hal_cpu_relax();
	}
	return 0;
}

void smp_cpu_main(void)
{
	unsigned cpu = hal_cpu_id();
	struct start *s = &starts[cpu];

	/* online first: who waits for the state counts on it */
	__atomic_fetch_or(&smp_online, 1ull << cpu, __ATOMIC_SEQ_CST);
	/* what the kernel unmapped before that was not flushed here */
	arch_flush_all();
	if (!becomes(s, ASKED, RUNS)) {
		__atomic_fetch_and(&smp_online, ~(1ull << cpu), __ATOMIC_SEQ_CST);
		boot_log("CPU %u started too late", cpu);
		for (;;) {
			smp_answer(); /* who saw the bit meanwhile */
			hal_cpu_relax();
		}
	}
	hal_irq_enable();
	s->fn(s->arg);
	hal_irq_disable();
	for (;;)
		hal_idle();
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct call {
	void (*fn)(void *arg);
	void *arg;
	uint32_t left; /* CPUs that have not answered; atomic */
};

struct note {
	struct note *next;
	struct call *call;
};

static struct note *inbox[ARCH_CPUS_MAX]; /* atomic */

void smp_answer(void)
{
	struct note *n = __atomic_exchange_n(&inbox[hal_cpu_id()], NULL, __ATOMIC_ACQUIRE);

	while (n) {
		struct note *next = n->next;
		struct call *c = n->call;

		lockdep_call(true);
		c->fn(c->arg);
		lockdep_call(false);
		__atomic_sub_fetch(&c->left, 1, __ATOMIC_RELEASE); /* and it is gone */
		n = next;
	}
}

static void send_note(unsigned cpu, struct note *n)
{
	struct note *first = __atomic_load_n(&inbox[cpu], __ATOMIC_RELAXED);

	do
		n->next = first;
	while (!__atomic_compare_exchange_n(&inbox[cpu], &first, n, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	if (!first) /* else whoever put that one there has called */
		arch_call(cpu);
}

/* Interrupts off, so that "this CPU" is one. here: this CPU is meant, too. */
static void send_notes(uint64_t cpus, bool here, struct call *c, struct note *notes)
{
	unsigned self = hal_cpu_id();
	uint64_t others = cpus & ~(1ull << self);

	c->left = hweight64(others);
	for (unsigned cpu = 0; others; cpu++, others >>= 1) {
		if (others & 1) {
			notes[cpu].call = c;
			send_note(cpu, &notes[cpu]);
		}
	}
	if (here && cpus >> self & 1)
		c->fn(c->arg);
}

static void call_cpus(uint64_t cpus, bool here, void (*fn)(void *arg), void *arg)
{
	struct call c = {.fn = fn, .arg = arg};
	struct note notes[ARCH_CPUS_MAX];
	irqflags_t flags = hal_irq_save();

	send_notes(cpus & smp_online_now(), here, &c, notes);
	hal_irq_restore(flags);
	if (!__atomic_load_n(&c.left, __ATOMIC_ACQUIRE))
		return;
	ASSERT(!hal_irqs_off()); /* the other one may call us */
	while (__atomic_load_n(&c.left, __ATOMIC_ACQUIRE))
		hal_cpu_relax();
}

void smp_call(uint64_t cpus, void (*fn)(void *arg), void *arg)
{
	call_cpus(cpus, true, fn, arg);
}

void hal_cpu_kick(unsigned cpu)
{
	arch_call(cpu);
}

void hal_ipi_call(uint64_t cpu_mask, void (*fn)(void *arg), void *arg)
{
	call_cpus(cpu_mask, false, fn, arg);
}
