/* SPDX-License-Identifier: MIT */
/*
 * A stall of known length, and what /proc/pressure/memory says of it.
 *
 *   psi ORDER RESIDENT SET PASSES READAHEAD
 *
 * One process reads SET pages of its own again and again, of which memory holds RESIDENT: the rest of the
 * machine is taken by locked pages. ORDER: forward (each access waits for the disk) or random. Nothing is
 * written meanwhile, for the pages keep their slots. The disk is slow enough for the waits to be nearly all
 * of the time. READAHEAD: vm.page-cluster. Printed are accesses, major faults, the time, and by how much both totals grew. Without
 * arguments a short one, in which the totals have to fit the time. Runs on a real Linux with psi=1 too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096ul
#define FREE 1200 /* pages: what the marks of a machine of 128 MiB leave free, and some */

static volatile uint64_t *set;
static unsigned long pages;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long major_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_majflt;
}

/* How long tasks waited for memory, s: some, all that could have run. */
static void totals(double *some, double *full)
{
	FILE *f = fopen("/proc/pressure/memory", "r");
	long long a = -1, b = -1;

	CHECK(f && fscanf(f, "some %*s %*s %*s total=%lld\nfull %*s %*s %*s total=%lld", &a, &b) == 2);
	if (f)
		fclose(f);
	*some = (double)a / 1e6;
	*full = (double)b / 1e6;
}

static long number(const char *file, const char *word)
{
	char line[128];
	long v = -1;
	FILE *f = fopen(file, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, word, strlen(word)))
			v = atol(line + strlen(word));
	if (f)
		fclose(f);
	return v;
}

static unsigned long nth(const char *order, unsigned long i)
{
	static uint64_t x = 88172645463325252ull;

	if (order[0] == 'f')
		return i % pages;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % pages;
}

static void read_set(const char *order, unsigned long n)
{
	unsigned long bad = 0;

	for (unsigned long i = 0; i < n; i++) {
		unsigned long page = nth(order, i);

		bad += set[page * (PAGE / 8)] != page * 0x9e3779b97f4a7c15ull;
	}
	CHECK(!bad);
}

static unsigned long resident(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long n = 0;
	uint64_t w[512];

	for (unsigned long at = 0; at < pages; at += 512) {
		long got = pread(fd, w, sizeof(w), (long)(((uintptr_t)set / PAGE + at) * 8));

		for (unsigned long i = 0; i < 512 && i < pages - at && (long)(i * 8) < got; i++)
			n += w[i] >> 63;
	}
	close(fd);
	return n;
}

static void take(unsigned long n)
{
	void *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && !mlock(p, n * PAGE));
}

/* Locked pages, until memory holds about so many of the set. */
static void take_all_but(unsigned long wanted)
{
	long free;

	while ((free = number("/proc/meminfo", "MemFree:") / 4) > FREE)
		take((unsigned long)(free - FREE) / 2 + 16);
	for (unsigned tries = 0; tries < 12; tries++) {
		unsigned long now = resident();

		if (now <= wanted + wanted / 50)
			break;
		take((now - wanted) * 3 / 4 + 8);
		read_set("forward", pages);
	}
	CHECK(resident() <= wanted + wanted / 20);
}

static void readahead_of(const char *order)
{
	int fd = open("/proc/sys/vm/page-cluster", O_WRONLY);

	CHECK(fd >= 0 && write(fd, order, 1) == 1);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *order = argc > 1 ? argv[1] : "forward";
	unsigned long wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;
	unsigned long passes = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
	double some[2], full[2], begin, time;
	long majors, refaults, workingset;

	pages = argc > 3 ? strtoul(argv[3], NULL, 10) : 2500;
	setvbuf(stdout, NULL, _IOLBF, 0);
	readahead_of(argc > 5 ? argv[5] : "0");
	CHECK(!swapon("/dev/vda", 0));
	set = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(set != MAP_FAILED);
	for (unsigned long i = 0; i < pages; i++)
		set[i * (PAGE / 8)] = i * 0x9e3779b97f4a7c15ull;
	take_all_but(wanted);
	read_set(order, pages);
	refaults = number("/proc/vmstat", "workingset_refault_anon ");
	workingset = number("/proc/vmstat", "workingset_restore_anon ");
	majors = major_faults();
	/* What the looks themselves read back is in both. */
	begin = seconds();
	totals(&some[0], &full[0]);
	read_set(order, passes * pages);
	totals(&some[1], &full[1]);
	time = seconds() - begin;
	printf("psi: %lu resident, %lu accesses, %ld major, %ld refaults, %ld restored, %.3f s, some %.3f, full %.3f\n",
	       resident(), passes * pages, major_faults() - majors,
	       number("/proc/vmstat", "workingset_refault_anon ") - refaults,
	       number("/proc/vmstat", "workingset_restore_anon ") - workingset, time, some[1] - some[0],
	       full[1] - full[0]);
	CHECK(some[1] - some[0] > 0 && some[1] - some[0] <= time + 0.05);
	CHECK(full[1] - full[0] > 0 && full[1] - full[0] <= some[1] - some[0]);
	return failures != 0;
}
