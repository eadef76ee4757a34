/* SPDX-License-Identifier: MIT */
/*
 * The other CPUs: their start, and what stops them in a panic: a kick, in which the CPU stands still with
 * interrupts off. A CPU that does not start is told and left out.
 */
#include "cpus.h"
#include "kernel.h"
#include "lib/bits.h"

#define STACK_ORDER 2
#define HALT_NS (100 * NS_PER_MS) /* a panic waits so long for CPUs that have interrupts off */

static unsigned kept_pages;
static unsigned panic_cpu_plus_1; /* atomic; 0: there is no panic */
static bool released;		  /* the other CPUs run tasks from now on; atomic */

/* ---- start ----------------------------------------------------------------------------------- */

/* A CPU's first code of the kernel, on the stack that it keeps as its idle task. Until the boot is over, whose
 * context cannot wait for a task, it runs none. Interrupts on. */
static void cpu_main(void *arg)
{
	struct task *idle = arg;

	while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE))
		hal_cpu_relax();
	hal_irq_disable();
	sched_cpu_online(this_cpu(), idle);
	hal_timer_start(TICK_NS);
	idle_loop();
}

/* The stack is in use for good, so it is not one of those with a guard, which the core takes back. */
static int start_cpu(unsigned cpu)
{
	struct task *idle = quire_alloc_pages(task_order(), QUIRE_GFP_ZERO);
	char *stack = idle ? quire_alloc_pages(STACK_ORDER, 0) : NULL;
	int err = stack ? hal_cpu_start(cpu, stack + (PAGE_SIZE << STACK_ORDER), cpu_main, idle) : -ENOMEM;

	/* one that comes too late stands on its stack all the same */
	if (!err || err == -ETIMEDOUT)
		kept_pages += (1u << task_order()) + (1u << STACK_ORDER);
	else if (stack)
		quire_free_pages(stack, STACK_ORDER);
	if (err && err != -ETIMEDOUT && idle)
		quire_free_pages(idle, task_order());
	return err;
}

void cpus_start(void)
{
	unsigned n = hal_cpu_count(), wanted = options.cpus ? (unsigned)min(options.cpus, (uint64_t)n) : n;

	if (wanted == 1)
		return;
	/* From here on: who may have to wait for another CPU answers its calls. The timer does not run yet. */
	hal_irq_enable();
	for (unsigned cpu = 1; cpu < wanted; cpu++) {
		int err = start_cpu(cpu);

		if (err)
			klog("CPU %u does not start: error %d", cpu, -err);
	}
	klog("%u of %u CPUs run", (unsigned)hweight64(hal_cpus_online()), n);
}

void cpus_release(void)
{
	__atomic_store_n(&released, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&cpus_online, __ATOMIC_ACQUIRE) != hal_cpus_online())
		hal_cpu_relax();
}

unsigned cpus_pages(void)
{
	return kept_pages;
}

void cpus_init(void)
{
	kept_pages = panic_cpu_plus_1 = 0;
	released = false;
}

/* ---- the end --------------------------------------------------------------------------------- */

static _Noreturn void stand_still(void)
{
	for (;;) {
		hal_irq_disable();
		hal_cpu_relax();
	}
}

static uint64_t others(void)
{
	return cpus_online & ~(1ull << hal_cpu_id());
}

static void kick_all(uint64_t mask)
{
	for (unsigned cpu = 0; mask; cpu++, mask >>= 1)
		if (mask & 1)
			hal_cpu_kick(cpu);
}

int cpu_of_panic(void)
{
	return (int)__atomic_load_n(&panic_cpu_plus_1, __ATOMIC_ACQUIRE) - 1;
}

static bool all_halted(uint64_t mask)
{
	for (unsigned cpu = 0; mask; cpu++, mask >>= 1)
		if (mask & 1 && !__atomic_load_n(&cpus[cpu].stopped_ip, __ATOMIC_ACQUIRE))
			return false;
	return true;
}

bool cpus_halt(void)
{
	unsigned none = 0, self = hal_cpu_id() + 1;
	uint64_t from = hal_clock_ns();

	if (!__atomic_compare_exchange_n(&panic_cpu_plus_1, &none, self, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) {
		if (none == self)
			return false;
		stand_still();
	}
	kick_all(others());
	while (!all_halted(others()) && hal_clock_ns() - from < HALT_NS)
		hal_cpu_relax();
	return true;
}

void cpu_kicked(struct cpu *c, const struct trap_frame *tf)
{
	if (likely(!__atomic_load_n(&panic_cpu_plus_1, __ATOMIC_ACQUIRE)))
		return;
	__atomic_store_n(&c->stopped_ip, tf_ip(tf) | 1, __ATOMIC_RELEASE);
	stand_still();
}
