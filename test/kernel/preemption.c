/* SPDX-License-Identifier: MIT */
/*
 * Kernel code is pre-empted: a program that only counts, beside one whose system calls are long, gets
 * half of the processor, and one call of the other is interrupted again and again for it. With the
 * argument "none" the kernel was started with preempt=none, and no call is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define MIB (1ul << 20)

/* A number of a file of the kernel's, behind a word. */
static long number(const char *file, const char *word)
{
	char text[4096], *at;
	int fd = open(file, O_RDONLY);
	long n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, word);
	return at ? strtol(at + strlen(word), NULL, 10) : -1;
}

static long preemptions(void)
{
	return number("/proc/quire/counts", "preemptions ");
}

/* The CPU time of this process so far, in ms. */
static long used(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
}

static pid_t counter(void)
{
	pid_t pid = fork();

	if (!pid)
		for (volatile unsigned long n = 0;; n++)
			;
	return pid;
}

/* Long calls of every kind, none of which offers the processor by itself all the time. */
static void long_calls(int fd, char *buf)
{
	char *p = mmap(NULL, 40 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	CHECK(p != MAP_FAILED);
	CHECK(pread(fd, buf, 4 * MIB, 0) == 4 * MIB);
	mprotect(p, 40 * MIB, PROT_READ);
	munmap(p, 40 * MIB);
}

static void shares(int fd, char *buf)
{
	long mine, all, before, others;
	struct timespec start, now;
	pid_t other;
	struct rusage u;

	before = used(RUSAGE_SELF);
	others = used(RUSAGE_CHILDREN);
	other = counter();
	clock_gettime(CLOCK_MONOTONIC, &start);
	/* Three seconds of the machine's own clock; what each got of them is told by its ticks. */
	do {
		long_calls(fd, buf);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < 3);
	mine = used(RUSAGE_SELF) - before;
	end(other);
	all = mine + used(RUSAGE_CHILDREN) - others;
	printf("long calls had %ld of %ld ms\n", mine, all);
	CHECK(all > 500 && mine * 100 >= all * 45 && mine * 100 <= all * 55);
	getrusage(RUSAGE_SELF, &u);
	CHECK(u.ru_nivcsw > 10);
	CHECK(number("/proc/self/status", "nonvoluntary_ctxt_switches:\t") >= u.ru_nivcsw);
	CHECK(u.ru_stime.tv_sec * 1000000 + u.ru_stime.tv_usec > u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec);
}

/* One call, and how often the processor was taken away in it. */
static void one_call(int fd, char *buf, int none)
{
	pid_t other = counter();
	long n = 0;

	for (int i = 0; i < (none ? 2 : 20) && !n; i++) {
		long before = preemptions();

		CHECK(pread(fd, buf, 16 * MIB, 0) == 16 * MIB);
		n = preemptions() - before;
	}
	end(other);
	CHECK(none ? n == 0 : n > 0);
}

int main(int argc, char **argv)
{
	int none = argc > 1 && !strcmp(argv[1], "none"), fd = open("/proc/self/pagemap", O_RDONLY);
	char *buf = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(fd >= 0 && buf != MAP_FAILED);
	one_call(fd, buf, none);
	if (!none)
		shares(fd, buf);
	printf("%d failures\n", failures);
	return failures != 0;
}
