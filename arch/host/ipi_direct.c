/* SPDX-License-Identifier: MIT */
/* IPIs where one thread plays all CPUs: the caller runs the call, as the CPU that is meant. */
#include "arch/host/host.h"

void hal_ipi_call(uint64_t cpu_mask, void (*fn)(void *arg), void *arg)
{
	unsigned me = host_cpu;

	for (unsigned cpu = 0; cpu < host_cpus; cpu++) {
		if (cpu == me || !(cpu_mask >> cpu & 1))
			continue;
		host_cpu = cpu;
		fn(arg);
	}
	host_cpu = me;
}

void host_cpu_leave(void)
{
}

void host_cpu_arrive(void)
{
}
