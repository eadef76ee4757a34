/* SPDX-License-Identifier: MIT */
/*
 * The host machine for benchmarks, of bare threads, as the program that makes it sees it: a
 * benchmark, the contract test.
 */
#ifndef ARCH_HOST_HOST_H
#define ARCH_HOST_HOST_H

#include "arch/hal.h"

/* A machine with ram bytes (populated at once) and that many CPUs (at most 64). The calling thread
 * is CPU 0. 0, or -1 if the host has no memory for it. One machine at a time. */
int host_machine_create(uint64_t ram, unsigned cpus);
void host_machine_destroy(void);
/* The calling thread is CPU n from now on. */
void host_cpu_enter(unsigned n);
/* Where CPUs are threads of their own (ipi_mail.c): the calling thread is about to sleep or to end,
 * so that others may act for its CPU; it is back, once they are done. Interrupts on. */
void host_cpu_leave(void);
void host_cpu_arrive(void);
/* Resolves faults of user copies: true to try again. NULL: every fault is final. */
void host_on_fault(bool (*fn)(const struct fault_info *fi));

#endif
