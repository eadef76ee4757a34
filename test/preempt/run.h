/* SPDX-License-Identifier: MIT */
/*
 * What starts machines by seed and watches them (main.c), and what a program gives that runs on them:
 * preempt's tasks under kernel/ (tasks.c), cpus' tasks on several CPUs over the core alone (cpus.c).
 */
#ifndef TEST_PREEMPT_RUN_H
#define TEST_PREEMPT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/fake/fake.h"

struct plan {
	uint64_t seed, operations;
	unsigned every; /* mean of points between interrupts; 0: only ticks of the clock */
	uint64_t at;	/* one interrupt at exactly that point; 0: none */
	const char *without; /* names of operations, with commas; NULL: all are done */
	const char *only;    /* the same, of those that are done, each as often as the others; NULL: all */
	bool races;	/* are failures */
	unsigned tasks; /* processes of one round; 0: by the seed */
	unsigned cpus;	/* 0: by the seed */
};

/* Lies in memory that the process which waits for the run sees, too. */
struct progress {
	uint64_t operations, rounds, points, switches, races;
	int last;      /* kind of the last operation begun */
	char why[512]; /* the first failure */
};

extern struct progress *progress;

/* Ends the run: says why, with the operation's number. */
_Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *why, ...);
#define REQUIRE(cond, ...)                 \
	do {                               \
		if (!(cond))               \
			fail(__VA_ARGS__); \
	} while (0)

/* ---- of the program -------------------------------------------------------------------------- */

extern const char *const program_name;
/* Means of points between interrupts, by the seed. */
extern const unsigned program_rates[5];
/* What main() leaves open of the machine. */
void program_machine(struct fake_config *c, const struct plan *p);
/* Runs on the machine, which is made: 0, or what is wrong is told. */
int program_run(const struct plan *p);
const char *operation_name(int op);

/* ---- for the operations ---------------------------------------------------------------------- */

/* xorshift: the same sequence everywhere. */
static inline uint64_t rnd_of(uint64_t *rng)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return *rng;
}

struct task;
struct operation {
	void (*fn)(struct task *t);
	const char *name;
	unsigned weight;
};

/* One by the chance of rng, of those that --without leaves, or of those of --only. One with weight 0 is done if
 * it is named there. */
unsigned choose_operation(const struct operation *ops, unsigned n, const struct plan *p, uint64_t *rng);

#endif
