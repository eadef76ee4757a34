/* SPDX-License-Identifier: MIT */
/*
 * Beside the machine in software with kernel and scenarios, linked so that these functions stand
 * before the core's own: counts every allocation that could be made to fail, writes down whose call
 * it was, and fails the one that is ordered.
 *
 *   SWEEP_LOG=FILE    a record for each allocation: kind, and a number for its call stack
 *   SWEEP_FAIL=KIND:N the N-th of that kind (0 page, 1 slab) fails
 */
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/fake/fake.h"
#include "mm/base/fail_inject.h"

#define FRAMES 32
#define NEVER  (UINT64_MAX / 2)

extern char __executable_start[], end[];

struct record {
	uint64_t kind, stack;
};

static FILE *log_file;
static unsigned fail_kind = QUIRE_INJECT_KINDS;
static uint64_t fail_at, seen[QUIRE_INJECT_KINDS];

bool __real_fault_attr_hit(struct fault_attr *a, size_t size);
bool __wrap_fault_attr_hit(struct fault_attr *a, size_t size);
void __real_fail_inject_init(void);
void __wrap_fail_inject_init(void);
int __real_fake_machine_create(const struct fake_config *cfg);
int __wrap_fake_machine_create(const struct fake_config *cfg);

/* The addresses of the callers, as one number that is the same in every run. */
static uint64_t stack_number(void)
{
	void *at[FRAMES];
	int n = backtrace(at, FRAMES);
	uint64_t h = 14695981039346656037ull;

	for (int i = 2; i < n; i++) {
		uintptr_t off = (uintptr_t)at[i] - (uintptr_t)__executable_start;

		if (off < (uintptr_t)(end - __executable_start)) /* libraries lie elsewhere each time */
			h = (h ^ off) * 1099511628211ull;
	}
	return h;
}

bool __wrap_fault_attr_hit(struct fault_attr *a, size_t size)
{
	unsigned kind = a == &inject_attr[QUIRE_INJECT_PAGE] ? QUIRE_INJECT_PAGE : QUIRE_INJECT_SLAB;

	if (a != &inject_attr[kind])
		return __real_fault_attr_hit(a, size);
	seen[kind]++;
	if (log_file) {
		struct record r = {kind, stack_number()};

		fwrite(&r, sizeof(r), 1, log_file);
	}
	if (kind == fail_kind && seen[kind] == fail_at) {
		a->hits++;
		return true;
	}
	return false;
}

/* Both kinds are armed for ever, so that every allocation asks above. */
void __wrap_fail_inject_init(void)
{
	__real_fail_inject_init();
	quire_inject_set(QUIRE_INJECT_PAGE, NEVER);
	quire_inject_set(QUIRE_INJECT_SLAB, NEVER);
}

/* With a check of every invariant after each call, and kernel tables that cost pages. */
int __wrap_fake_machine_create(const struct fake_config *cfg)
{
	struct fake_config c = *cfg;
	const char *log = getenv("SWEEP_LOG"), *fail = getenv("SWEEP_FAIL");

	if (log)
		log_file = fopen(log, "wb");
	if ((log && !log_file) || (fail && sscanf(fail, "%u:%lu", &fail_kind, &fail_at) != 2)) {
		fprintf(stderr, "sweep: SWEEP_LOG or SWEEP_FAIL makes no sense\n");
		return -1;
	}
	c.cmdline = "norandmaps";
	if (getenv("SWEEP_CHECK")) { /* scenarios need little, and checks look at every frame */
		c.cmdline = "norandmaps mem_check=1";
		c.ram = 24 << 20;
	}
	c.kernel_tables = true;
	return __real_fake_machine_create(&c);
}
