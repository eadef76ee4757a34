/* SPDX-License-Identifier: MIT */
/*
 * For the programs of this folder that test calls which meet each other: what is checked, the machine's
 * words, a second thread, and the run of one test on a machine of its own.
 */
#ifndef TEST_PROGRAMS_MEET_H
#define TEST_PROGRAMS_MEET_H

#include <string.h>

#include "test/programs/programs.h"

static int failures;

#define CHECK(c)                                                            \
	do {                                                                \
		if (!(c)) {                                                 \
			printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #c); \
			failures++;                                         \
		}                                                           \
	} while (0)

/* ---- the machine's words ---------------------------------------------------------------------- */

static char log_text[4096];

static inline void log_out(const char *s, size_t n)
{
	size_t used = strlen(log_text);

	if (used + n < sizeof(log_text))
		memcpy(log_text + used, s, n);
}

/* ---- a second thread --------------------------------------------------------------------------- */

enum { MEET_YIELD = 24, MEET_EXIT = 60 }; /* numbers of calls on the fake machine */

static int other_done;

static inline void other_main(void *program)
{
	((void (*)(void))program)();
	other_done = 1;
	SC(MEET_EXIT, 0);
}

/* Starts the second thread, which runs when the first one lets it. */
static inline void other_start(void (*program)(void))
{
	other_done = 0;
	CHECK(fake_fork(THREAD, other_main, (void *)program, 0) > 0);
}

static inline void others_run(void)
{
	for (int i = 0; i < TURNS; i++)
		SC(MEET_YIELD, 0);
}

static inline void other_join(void)
{
	for (int i = 0; i < 10000 && !other_done; i++)
		SC(MEET_YIELD, 0);
	CHECK(other_done);
}

/* ---- one test ---------------------------------------------------------------------------------- */

/* Runs first(&i) as the first program of a machine, which has to end well and to get everything back. True:
 * nothing failed. */
static inline bool run_on(struct fake_config *c, void (*first)(void *), unsigned i)
{
	int status;

	failures = 0;
	memset(log_text, 0, sizeof(log_text));
	c->log = log_out;
	c->ram = 64 << 20;
	c->seed = i + 1;
	if (fake_machine_create(c))
		return false;
	status = fake_run(first, &i);
	fake_machine_destroy();
	CHECK(status == 0);
	CHECK(!strstr(log_text, "not given back"));
	if (failures)
		printf("# %s\n", log_text);
	return !failures;
}

#endif
