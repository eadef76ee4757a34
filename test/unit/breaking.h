/* SPDX-License-Identifier: MIT */
/*
 * For the tests of the checkers: hears what they tell, breaks something, expects it told, mends it,
 * expects nothing told. A checker that cannot see a thing broken would let every other test pass.
 */
#ifndef TEST_UNIT_BREAKING_H
#define TEST_UNIT_BREAKING_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <quire/os.h>

static char told[16384];
static unsigned lines;

void os_log(const char *line)
{
	size_t n = strlen(told);

	if (strncmp(line, "check: ", 7))
		return;
	lines++;
	snprintf(told + n, sizeof(told) - n, "%s\n", line);
}

static inline void forget_told(void)
{
	told[0] = 0;
	lines = 0;
}

/* check: an expression that forgets what was told, checks, and gives how much is broken. */
#define BREAK(check, text, do_it, undo_it)                                    \
	do {                                                                  \
		do_it;                                                        \
		cr_expect_gt(check, 0, "%s", #do_it);                         \
		cr_expect(strstr(told, text), "%s: %s", #do_it, told);        \
		undo_it;                                                      \
		cr_assert_eq(check, 0, "mended after %s: %s", #do_it, told);  \
	} while (0)

#define SWAP(check, text, place, value)                                       \
	do {                                                                  \
		__typeof__(place) was_ = (place);                             \
		BREAK(check, text, (place) = (value), (place) = was_);        \
	} while (0)

#endif
