/* SPDX-License-Identifier: MIT */
/* Processes that work side by side under pressure: they may be slow, but a minute in which none of them
 * gets on is a hang. */
#ifndef TEST_KERNEL_PROGRESS_H
#define TEST_KERNEL_PROGRESS_H

#include <time.h>
#include <unistd.h>

#include "check.h"

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Waits for all of our children, `left` of them, which count what they do in the n words of steps. How
 * many came to a bad end; -1: there were fewer. */
static int wait_for_all(unsigned left, const volatile uint32_t *steps, unsigned n)
{
	double last = seconds(), longest = 0;
	uint64_t before = 0;
	int bad = 0, st;

	while (left) {
		uint64_t sum = 0;
		double now;
		pid_t pid;

		usleep(100000);
		for (unsigned i = 0; i < n; i++)
			sum += steps[i];
		now = seconds();
		longest = now - last > longest ? now - last : longest;
		if (sum != before)
			last = now;
		before = sum;
		while (left && (pid = waitpid(-1, &st, WNOHANG)) != 0) {
			if (pid < 0)
				return -1;
			left--;
			last = now;
			if (st)
				printf("a process ended with %#x\n", st);
			bad += st != 0;
		}
	}
	printf("nobody got on for %.1f s at most\n", longest);
	CHECK(longest < 60);
	return bad;
}

#endif
