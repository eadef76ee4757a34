/* SPDX-License-Identifier: MIT */
/*
 * What the programs of this folder share: their memory, system calls, and the loop over their tests.
 */
#ifndef TEST_PROGRAMS_H
#define TEST_PROGRAMS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/fake/fake_user.h"

#define A	 0x100000000ul /* the program's memory */
#define A_SIZE	 (64ul << 12)
#define MAIN	 (A + 0x8000)  /* what the first thread reads and writes */
#define OTHER	 (A + 0x20000) /* what the second does */
#define THREAD	 (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define TURNS	 30	       /* that the others get: more than any of them needs */

#define SC(nr, ...) sc(nr, (long[6]){__VA_ARGS__})
static inline long sc(long nr, const long *a)
{
	return fake_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void schedule(void); /* the kernel's */

struct program_test {
	const char *name;
	void (*run)(void);
};

/* Each test on a machine of its own, or only the one whose number is the argument; as TAP. */
static inline int run_tests(int argc, char **argv, const struct program_test *tests, unsigned n,
			    bool (*run)(unsigned i))
{
	int bad = 0;

	printf("1..%u\n", n);
	for (unsigned i = 0; i < n; i++) {
		bool good = argc > 1 && atoi(argv[1]) != (int)i + 1 ? true : run(i);

		printf("%sok %u - %s\n", good ? "" : "not ", i + 1, tests[i].name);
		fflush(stdout);
		bad += !good;
	}
	return bad != 0;
}

#endif
