/* SPDX-License-Identifier: MIT */
/*
 * The contract test: what arch/hal.h promises, tried on the machine that runs it. Freestanding; it
 * owns all RAM, needs neither mm/ nor kernel/, and prints TAP through hal_log().
 */
#ifndef TEST_ARCH_CONTRACT_H
#define TEST_ARCH_CONTRACT_H

#include "arch/hal.h"

/* Runs everything; test numbers start at first. Returns how many failed, and in *ran how many ran.
 * prefix: stands before every test's name. Interrupts on or off, as the caller has them. */
unsigned contract_run(const char *prefix, unsigned first, unsigned *ran);

/* The wrapper calls it for every page fault of kernel mode. true: try the access again. */
bool contract_fault(const struct fault_info *fi);

/* What the wrapper of a machine provides: whether kernel mode may read, or write, the byte at p
 * right now. Writes what it read. */
bool contract_kernel_may(void *p, bool write);
/* The word at p, a kernel address that may not be there; false: it is not. On any CPU, `cpu` its number;
 * while a space of the test runs. */
bool contract_kernel_read(const uint64_t *p, unsigned cpu, uint64_t *v);
/* For a wrapper that tries addresses by user copies: a user page that is mapped and writable in
 * the running space. false: no space runs. */
bool contract_scratch_user(uintptr_t *va);
/* What only a kernel asks for (arch/hal_kernel.h): hal_cpu_kick() and hal_cpu_number(); NULL where the
 * machine has none. The wrapper calls contract_kicked() where kernel_kick() comes. */
extern const struct contract_kernel {
	void (*kick)(unsigned cpu);
	unsigned (*number)(unsigned cpu);
} contract_kernel;
void contract_kicked(void);
/* Code of the test's own: write() stores such that answers v (below 256) at p, but for one word the same
 * each time; run() runs what is at va, in the space of the test. user: va is to be a user page of that
 * space, else a kernel page. NULL where a machine runs none. */
extern const struct contract_code {
	void (*write)(void *p, unsigned v);
	bool (*run)(uintptr_t va, unsigned *v);
	bool user;
} contract_code;
/* Whether p is code of an image that the machine itself protects. */
extern const bool contract_image_protected;

#endif
