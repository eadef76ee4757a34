/* SPDX-License-Identifier: MIT */
/*
 * Several CPUs, what all ports share: which there are and which run, their start, calls between them.
 * CPU 0 is the one that booted; the others stand still until hal_cpu_start(). An architecture finds
 * them at boot (hal_cpus), keeps each one's number where hal_cpu_id() reads it, and supplies, in its
 * "arch.h":
 *
 *   bool arch_cpu_start(unsigned cpu, void *stack_top);
 *       sets the CPU going: on this stack, the kernel's tables in use, interrupts off, it ends in
 *       smp_cpu_main(). false: the firmware refuses. The caller waits for it.
 *   void arch_call(unsigned cpu);
 *       an interrupt to that CPU, which answers it by smp_answer(). Any context.
 */
#ifndef ARCH_COMMON_SMP_H
#define ARCH_COMMON_SMP_H

#include "arch/hal.h"

extern unsigned hal_cpus;   /* what hal_cpu_count() says; set at boot, before the core starts */
extern uint64_t smp_online; /* bit n: CPU n runs, and answers; atomic */

static inline uint64_t smp_online_now(void)
{
	return __atomic_load_n(&smp_online, __ATOMIC_SEQ_CST);
}

/* Runs fn(arg) once on every online CPU of the mask, the one that we are on too, and waits. Whoever
 * calls may be moved to another CPU meanwhile. fn runs with interrupts off. Interrupts are on, unless
 * no other CPU is in the mask. */
void smp_call(uint64_t cpus, void (*fn)(void *arg), void *arg);

/* The calls that others left for this CPU. From the interrupt that arch_call() makes. */
void smp_answer(void);

/* A CPU's first C of all ports: says that it runs, then does what it was started for. Interrupts off. */
_Noreturn void smp_cpu_main(void);

#endif
