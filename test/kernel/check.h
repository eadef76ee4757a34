/* SPDX-License-Identifier: MIT */
/* What the ordinary Linux programs of this folder share: counted checks. */
#ifndef TEST_KERNEL_CHECK_H
#define TEST_KERNEL_CHECK_H

#include <errno.h>
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

/* Waits for pid: its exit status, or 256 + the signal that killed it. */
static inline int status_of(int pid)
{
	int st;

	if (waitpid(pid, &st, 0) != pid)
		return -1;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 256 + WTERMSIG(st);
}

#endif
