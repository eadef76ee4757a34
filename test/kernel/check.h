/* SPDX-License-Identifier: MIT */
/* What the ordinary Linux programs of this folder share: counted checks, numbers by a seed. */
#ifndef TEST_KERNEL_CHECK_H
#define TEST_KERNEL_CHECK_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int failures;

#define CHECK(cond)                                                                       \
	do {                                                                              \
		if (!(cond)) {                                                            \
			printf("%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno); \
			failures++;                                                       \
		}                                                                         \
	} while (0)

/* A number that looks like chance and follows from x alone. */
static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/* Waits for pid: its exit status, or 256 + the signal that killed it. */
static inline int status_of(int pid)
{
	int st;

	if (waitpid(pid, &st, 0) != pid)
		return -1;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 256 + WTERMSIG(st);
}

#endif
