/* SPDX-License-Identifier: MIT */
/*
 * What the storms of this folder share: `NAME FIRST-LAST AMOUNT [races]` runs one machine in software a
 * seed, whose threads do random things with interrupts at any access. The same seed is the same run.
 * Races are told and counted; whatever else the machine accuses of ends the program.
 */
#ifndef TEST_STORM_H
#define TEST_STORM_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/fake_disk.h"
#include "arch/fake/fake_user.h"
#include "lib/lockdep.h"
#include "user/u_nr.h"
#include <quire/abi.h>

#define A	0x100000000ul /* the program's memory */
#define SHARED	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

#define CALL(nr, ...) call(nr, (long[6]){__VA_ARGS__})
static inline long call(long nr, const long *a)
{
	return fake_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static unsigned seed, wanted, failures;
static bool races;
static char log_text[8192];

#define CHECK(cond, ...)                                                              \
	do {                                                                          \
		if (!(cond)) {                                                        \
			printf("# seed %u, line %d: not so: %s: ", seed, __LINE__, #cond); \
			printf(__VA_ARGS__);                                          \
			printf("\n");                                                 \
			failures++;                                                   \
		}                                                                     \
	} while (0)

/* Below n, from a thread's own row of numbers. */
static inline unsigned next_random(unsigned *rng, unsigned n)
{
	*rng = *rng * 1664525u + 1013904223u;
	return (*rng >> 8) % n;
}

/* The first disk is a nuisance from now on, but loses nothing: 0: it ends requests in reverse, or no longer;
 * 1: it is slow; else it stalls for a while, in which others go on until they need it. */
static inline void disk_delay(unsigned kind, unsigned *rng)
{
	if (kind == 0) {
		fake_disk_accident(0, "reversed", next_random(rng, 2));
	} else if (kind == 1) {
		fake_disk_accident(0, "slow", 1 + next_random(rng, 20));
	} else {
		fake_disk_accident(0, "stall", 1);
		for (unsigned i = next_random(rng, 20); i; i--)
			CALL(NR_sched_yield);
		fake_disk_accident(0, "stall", 0);
	}
}

static inline void log_out(const char *s, size_t n)
{
	size_t used = strlen(log_text);

	if (used + n < sizeof(log_text))
		memcpy(log_text + used, s, n);
}

static inline void accused(enum fake_accusation what, const char *msg, void *ctx)
{
	printf("# seed %u: %s: %s\n", seed, fake_accusation_name(what), msg);
	failures++;
	if (what != FAKE_RACE)
		abort();
}

/* A machine for this seed. */
static inline bool machine_up(const char *cmdline, unsigned preempt_every)
{
	struct fake_config c = {.log = log_out, .cmdline = cmdline, .ram = 64 << 20, .seed = seed,
				.preempt_every = preempt_every, .watch_races = races};

	failures = 0;
	memset(log_text, 0, sizeof(log_text));
	fake_on_accusation(accused, NULL);
	if (fake_machine_create(&c))
		return false;
	fake_unwatched(lockdep_cpus, sizeof(lockdep_cpus)); /* an interrupt leaves them as they were */
	return true;
}

/* status: of the first program. False: something was not so. */
static inline bool machine_down(int status)
{
	fake_machine_destroy();
	CHECK(status == 0, "%d", status);
	CHECK(!strstr(log_text, "not given back"), "pages");
	CHECK(!strstr(log_text, "HANG"), "a hang");
	if (failures)
		printf("# %s\n", log_text);
	return !failures;
}

/* amount: of operations, where the caller names none. */
static inline int run_seeds(int argc, char **argv, unsigned amount, bool (*run)(void))
{
	unsigned first = 1, last = 5, bad = 0;

	wanted = argc > 2 ? (unsigned)atoi(argv[2]) : amount;
	if (argc > 1 && sscanf(argv[1], "%u-%u", &first, &last) < 2)
		last = first;
	races = argc > 3;
	printf("1..%u\n", last - first + 1);
	for (seed = first; seed <= last; seed++) {
		bool good = run();

		printf("%sok %u - seed %u\n", good ? "" : "not ", seed - first + 1, seed);
		fflush(stdout);
		bad += !good;
	}
	return bad != 0;
}

#endif
