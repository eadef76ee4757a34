/* SPDX-License-Identifier: MIT */
/*
 * Several CPUs under one space: threads fault, unmap, move and protect, disjoint pages and shared ones,
 * while others read and write them, fork and run programs; every byte is looked at. And what programs
 * are told of CPUs. Arguments: "seconds N" (10 without), "pinned": each thread alone on its CPU. Exit
 * status 0: no byte was wrong. Runs on any Linux too.
 *
 * What finds a CPU that was left out of a flush, where two meet by chance (flushes.c has them shake
 * hands): a reader keeps touching a page of its own, on its own CPU and never switched away, whose frame
 * another thread takes away by MADV_DONTNEED; the frame is at once somebody else's, who writes there. A
 * stale translation shows the old or the other's bytes.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define THREADS 8
#define PAGES	24
#define PAGE	4096ul
#define WORDS	(PAGE / sizeof(uint64_t))

static char *self;
static int cpus, pinned, seconds = 10;
static atomic_int over;
static atomic_ulong counts[8]; /* what was done, by kind; for people */

static void *map(size_t pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void pin(int to)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(to, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	CHECK(sched_getcpu() == to);
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	return *s ^= *s << 17;
}

/* ---- a frame goes away under a reader --------------------------------------------------------- */

/*
 * The page holds one number all over, its round, or nothing. The owner raises the round, which readers
 * must not fall behind of once it is published: they read the published round first, then the page.
 */
static volatile uint64_t *hot;
static atomic_ulong published;

static void *reader(void *arg)
{
	int n = (int)(intptr_t)arg;
	unsigned long looks = 0;

	if (cpus > 1)
		pin(n % cpus);
	while (!atomic_load(&over)) {
		uint64_t from = atomic_load(&published), seen = hot[(n * 61 + looks) % WORDS];

		/* nothing: the page is new, and not written yet */
		if (seen && seen < from) {
			CHECK(seen >= from);
			atomic_store(&over, 1);
		}
		looks++;
	}
	atomic_fetch_add(&counts[0], looks);
	return NULL;
}

/* Takes the page away, gives its frame to another page, and writes the next round. How: by turns. */
static void change(uint64_t round, volatile uint64_t *other)
{
	void *page = (void *)hot;

	switch (round % 3) {
	case 0:
		CHECK(madvise(page, PAGE, MADV_DONTNEED) == 0);
		break;
	case 1:
		CHECK(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
		break;
	case 2: /* another page comes in its place, which holds the next round already */
		for (unsigned i = 0; i < WORDS; i++)
			other[i] = round;
		CHECK(mremap((void *)other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == page);
		CHECK(mmap((void *)other, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			   0) == other);
		break;
	}
	/* who gets the frame writes the number of a round long ago */
	for (unsigned i = 0; i < WORDS; i++)
		other[i] = 1;
	madvise((void *)other, PAGE, MADV_DONTNEED);
	for (unsigned i = 0; i < WORDS; i++)
		hot[i] = round;
	atomic_store(&published, round);
	atomic_fetch_add(&counts[1], 1);
}

/* The main thread changes the page while the others read it. */
static void frames_go_away(int time_s)
{
	volatile uint64_t *other = map(1);
	pthread_t t[THREADS];
	time_t until = time(NULL) + time_s;
	int n = cpus > 1 ? cpus - 1 : 1;

	n = n > THREADS ? THREADS : n;
	hot = map(1);
	atomic_store(&published, 0);
	atomic_store(&over, 0);
	if (cpus > 1)
		pin(0);
	for (int i = 0; i < n; i++)
		CHECK(!pthread_create(&t[i], NULL, reader, (void *)(intptr_t)(i + 1)));
	for (uint64_t round = 2; time(NULL) < until && !atomic_load(&over); round++)
		change(round, other);
	atomic_store(&over, 1);
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	munmap((void *)hot, PAGE);
	munmap((void *)other, PAGE);
}

/* ---- everybody does everything ---------------------------------------------------------------- */

static __thread sigjmp_buf back;
static __thread volatile int expects;

static void on_segv(int sig)
{
	if (!expects)
		_exit(77);
	expects = 0;
	siglongjmp(back, 1);
}

/* Whether a store there ends in SIGSEGV. */
static int faults(volatile uint64_t *at)
{
	if (sigsetjmp(back, 1))
		return 1;
	expects = 1;
	*at = 1;
	expects = 0;
	return 0;
}

static void fill(volatile uint64_t *p, uint64_t key)
{
	for (unsigned i = 0; i < WORDS; i += 8)
		p[i] = key + i;
}

static int holds(volatile uint64_t *p, uint64_t key)
{
	for (unsigned i = 0; i < WORDS; i += 8)
		if (p[i] != key + i)
			return 0;
	return 1;
}

static void child_looks(volatile uint64_t *area, const uint64_t *key, int runs)
{
	int status, pid = fork();

	if (!pid) {
		for (int i = 0; i < PAGES; i++)
			if (key[i] && !holds(area + i * WORDS, key[i]))
				_exit(1);
		if (runs)
			execl(self, self, "nothing", NULL);
		_exit(runs ? 2 : 0);
	}
	CHECK(pid > 0);
	CHECK(pid < 0 || (waitpid(pid, &status, 0) == pid && status == 0));
	atomic_fetch_add(&counts[2 + runs], 1);
}

/* An area of its own, of which each page holds its key, or nothing (key 0). */
static void *hammer(void *arg)
{
	uint64_t seed = 88172645463325252ull * (uint64_t)(1 + (intptr_t)arg), key[PAGES] = {0};
	volatile uint64_t *area = map(PAGES), *moved;

	if (pinned)
		pin((int)(intptr_t)arg % cpus);
	while (!atomic_load(&over)) {
		unsigned i = next_random(&seed) % PAGES, what = next_random(&seed) % 64;
		volatile uint64_t *p = area + i * WORDS;

		if (what < 32) {
			CHECK(key[i] ? holds(p, key[i]) : *p == 0);
			fill(p, key[i] = next_random(&seed) | 1);
		} else if (what < 40) {
			CHECK(madvise((void *)p, PAGE, MADV_DONTNEED) == 0);
			CHECK(*p == 0);
			key[i] = 0;
		} else if (what < 48) {
			CHECK(mprotect((void *)p, PAGE, PROT_READ) == 0);
			CHECK(faults(p));
			CHECK(key[i] ? holds(p, key[i]) : *p == 0);
			CHECK(mprotect((void *)p, PAGE, PROT_READ | PROT_WRITE) == 0);
		} else if (what < 56) {
			CHECK(munmap((void *)p, PAGE) == 0);
			CHECK(mmap((void *)p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
			      p);
			key[i] = 0;
		} else if (what < 62) {
			moved = mremap((void *)area, PAGES * PAGE, (PAGES + 1) * PAGE, MREMAP_MAYMOVE);
			/* pages that were mapped anew after a fork may be an area of their own, as on Linux */
			CHECK(moved != MAP_FAILED || errno == EFAULT);
			if (moved != MAP_FAILED) {
				area = moved;
				CHECK(munmap((char *)area + PAGES * PAGE, PAGE) == 0);
			}
		} else {
			child_looks(area, key, what == 63);
		}
		atomic_fetch_add(&counts[4], 1);
	}
	for (int i = 0; i < PAGES; i++)
		CHECK(key[i] ? holds(area + i * WORDS, key[i]) : area[i * WORDS] == 0);
	munmap((void *)area, PAGES * PAGE);
	return NULL;
}

static void everybody(int time_s)
{
	struct sigaction sa = {.sa_handler = on_segv, .sa_flags = SA_NODEFER};
	pthread_t t[THREADS];
	int n = pinned ? cpus : THREADS;

	sigaction(SIGSEGV, &sa, NULL);
	atomic_store(&over, 0);
	for (int i = 0; i < n; i++)
		CHECK(!pthread_create(&t[i], NULL, hammer, (void *)(intptr_t)i));
	sleep(time_s);
	atomic_store(&over, 1);
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

/* ---- what is told of CPUs ---------------------------------------------------------------------- */

static void *sits(void *arg)
{
	while (!atomic_load(&over))
		;
	return (void *)(intptr_t)sched_getcpu();
}

/* A thread that runs is moved by another, and where it may not go it is not. */
static void affinity(void)
{
	cpu_set_t set, got;
	pthread_t t;
	void *at;

	CPU_ZERO(&set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == -1 && errno == EINVAL);
	CHECK(sched_getaffinity(0, 4, &got) == -1 && errno == EINVAL);
	for (int i = 0; i < cpus; i++)
		pin(i);
	CPU_SET(cpus - 1, &set);
	atomic_store(&over, 0);
	CHECK(!pthread_create(&t, NULL, sits, NULL)); /* with our CPU, the last one */
	CHECK(!pthread_getaffinity_np(t, sizeof(got), &got) && CPU_EQUAL(&got, &set));
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CHECK(!pthread_setaffinity_np(t, sizeof(set), &set));
	usleep(50000);
	atomic_store(&over, 1);
	pthread_join(t, &at);
	CHECK((intptr_t)at == 0);
	for (int i = 0; i < cpus; i++)
		CPU_SET(i, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	CHECK(syscall(SYS_membarrier, 0, 0) & 1 && syscall(SYS_membarrier, 1, 0) == 0);
}

int main(int argc, char **argv)
{
	cpu_set_t all;

	self = argv[0];
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "nothing"))
			return 0;
		if (!strcmp(argv[i], "pinned"))
			pinned = 1;
		if (!strcmp(argv[i], "seconds") && i + 1 < argc)
			seconds = atoi(argv[++i]);
	}
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	cpus = CPU_COUNT(&all);
	affinity();
	frames_go_away(seconds / 2);
	CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
	everybody(seconds - seconds / 2);
	printf("# %d CPUs: %lu looks, %lu changes, %lu forks, %lu programs, %lu steps\n", cpus,
	       atomic_load(&counts[0]), atomic_load(&counts[1]), atomic_load(&counts[2]), atomic_load(&counts[3]),
	       atomic_load(&counts[4]));
	printf("%d failures\n", failures);
	return failures != 0;
}
