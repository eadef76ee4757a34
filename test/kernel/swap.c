/* SPDX-License-Identifier: MIT */
/*
 * Several times the machine's memory, with swap: every byte that was written is read again.
 *
 *   swap KIND ORDER PROCESSES MIB [DEVICE]
 *
 * KIND: private, shared (between the processes), file (each its own of /tmp), fork (private, filled
 * before the fork). ORDER: forward, random, zipf. MIB: in all. Each process fills its part, goes over it
 * in its order and compares, rewrites every third page, and goes over it again. Never does a minute pass
 * in which nobody gets on. At the end no slot is in use. DEVICE: swapped to by swapon() first, and taken away by swapoff() while a part is still out there.
 * Runs on a real Linux too, but for
 *
 *   swap loop
 *
 * which goes over more memory than there is in order, under both policies of reclaim, and compares what
 * was read back. ORDER may have a number in front, as in 1random: that policy is in force.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "progress.h"

#define PAGE 4096u
#define WORDS (PAGE / 8)

static void put_page(uint64_t *p, uint64_t key)
{
	for (unsigned i = 0; i < WORDS; i++)
		p[i] = key + i * 0x9e3779b97f4a7c15ull;
}

static int page_is(const uint64_t *p, uint64_t key)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (p[i] != key + i * 0x9e3779b97f4a7c15ull) {
			printf("word %u of a page: %llx, not %llx\n", i, (unsigned long long)p[i],
			       (unsigned long long)(key + i * 0x9e3779b97f4a7c15ull));
			return 0;
		}
	return 1;
}

/* The i-th page to be looked at of n: all of them for forward and random. */
static size_t nth(const char *order, size_t i, size_t n, uint64_t seed)
{
	if (order[0] == 'f')
		return i;
	if (order[0] == 'r') { /* a walk through a power of two that leaves none out */
		size_t m = 1;
		uint64_t at;

		while (m < n)
			m <<= 1;
		at = mix(seed) % m;
		/* An odd step visits each of m; those past n are passed over by the caller. */
		return (size_t)((at + i * (2 * (mix(seed + 1) % (m / 2)) + 1)) % m);
	}
	/* Product of three uniforms. */
	return (size_t)((double)n * (double)(mix(seed + i) >> 40) / (1 << 24) *
			(double)(mix(seed + i * 3 + 1) >> 40) / (1 << 24) *
			(double)(mix(seed + i * 7 + 2) >> 40) / (1 << 24));
}

static uint64_t key_of(unsigned who, size_t page, unsigned version)
{
	return mix(((uint64_t)who << 40) + page * 4 + version);
}

/* Pages that each process has filled or looked at: of all together a minute may not pass without one. */
#define MOST_PROCESSES 64
static volatile uint32_t *steps; /* locked, shared */

static void got_on(unsigned who)
{
	steps[who % MOST_PROCESSES]++;
}

static int look_at_all(uint64_t *mem, size_t n, const char *order, unsigned who, unsigned version)
{
	size_t turns = n, good = 0, seen = 0;

	if (order[0] == 'r')
		for (turns = 1; turns < n; turns <<= 1)
			;
	for (size_t i = 0; i < turns; i++) {
		size_t page = nth(order, i, n, who * 1000 + version);

		if (page >= n)
			continue;
		seen++;
		got_on(who);
		good += page_is(mem + page * WORDS, key_of(who, page, page % 3 ? 0 : version));
	}
	return good == seen && seen >= n / 2;
}

static uint64_t *memory(const char *kind, unsigned who, size_t bytes)
{
	char name[32];
	void *p;
	int fd;

	if (strcmp(kind, "file")) {
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_NORESERVE | (kind[0] == 's' ? MAP_SHARED : MAP_PRIVATE), -1, 0);
		return p == MAP_FAILED ? NULL : p;
	}
	snprintf(name, sizeof(name), "/tmp/swap%u", who);
	fd = open(name, O_CREAT | O_RDWR, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		return NULL;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static void fill(uint64_t *mem, size_t n, unsigned who)
{
	for (size_t i = 0; i < n; i++) {
		put_page(mem + i * WORDS, key_of(who, i, 0));
		got_on(who);
	}
}

/* One process's part. */
static int part(uint64_t *mem, size_t n, const char *order, unsigned who)
{
	CHECK(look_at_all(mem, n, order, who, 0));
	for (size_t i = 0; i < n; i += 3)
		put_page(mem + i * WORDS, key_of(who, i, 1));
	CHECK(look_at_all(mem, n, order, who, 1));
	CHECK(look_at_all(mem, n, "forward", who, 1));
	return failures != 0;
}

static long meminfo(const char *what)
{
	char line[128];
	long v = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)) && line[strlen(what)] == ':')
			v = atol(line + strlen(what) + 1);
	if (f)
		fclose(f);
	return v;
}

static long vmstat(const char *what)
{
	char line[128];
	long v = -1;
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)) && line[strlen(what)] == ' ')
			v = atol(line + strlen(what) + 1);
	if (f)
		fclose(f);
	return v;
}

/* Of the processes that are left, this one and its parent: kB that lie in swap. */
static long swapped(const char *status)
{
	char line[128];
	long v = 0;
	FILE *f = fopen(status, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmSwap:", 7))
			v = atol(line + 7);
	if (f)
		fclose(f);
	return v;
}

static long own_file(void)
{
	struct stat st;

	return stat("/proc/self/exe", &st) ? 0 : (long)(st.st_size + PAGE - 1) / PAGE * (PAGE / 1024);
}

/* What exiting processes and the cache give back may take a moment. */
static void all_slots_are_free(void)
{
	long used = 0, ours = 0;

	for (int i = 0; i < 50; i++) {
		/* Files that live in memory go to swap too: the initramfs, which holds this program. */
		used = meminfo("SwapTotal") - meminfo("SwapFree");
		ours = swapped("/proc/self/status") + swapped("/proc/1/status") + own_file() +
		       meminfo("SwapCached");
		if (used <= ours)
			break;
		usleep(20000);
	}
	if (used > ours)
		printf("%ld kB are in use, %ld of them ours\n", used, ours);
	CHECK(used <= ours);
}

struct stalled {
	double avg10, avg60, avg300;
	long long total; /* us */
};

/* How long tasks waited for memory: some, or all that could have run. */
static void pressure(struct stalled *some, struct stalled *full)
{
	FILE *f = fopen("/proc/pressure/memory", "r");

	CHECK(f != NULL);
	if (!f)
		return;
	CHECK(fscanf(f, "some avg10=%lf avg60=%lf avg300=%lf total=%lld\n", &some->avg10, &some->avg60,
		     &some->avg300, &some->total) == 4);
	CHECK(fscanf(f, "full avg10=%lf avg60=%lf avg300=%lf total=%lld\n", &full->avg10, &full->avg60,
		     &full->avg300, &full->total) == 4);
	fclose(f);
}

static void it_was_waited_for(double seconds)
{
	struct stalled some = {0}, full = {0};

	pressure(&some, &full);
	CHECK(some.total > 1000 && some.total < seconds * 1e6);
	CHECK(full.total > 0 && full.total <= some.total);
	/* An average is taken every other second, and shows what is more than 15 ms of 300 s. */
	CHECK(some.avg300 > 0 || seconds < 4 || some.total < 100000);
	CHECK(some.avg10 <= 100 && some.avg300 <= 100 && full.avg10 <= some.avg10);
	/* An average forgets: what it has seen at most is all, since it has seen nothing before. */
	CHECK(some.avg300 * 3 <= some.total / 1e6 + 3);
}

/* What one process writes in order leaves in long requests, many of them under way. */
static void long_requests(void)
{
	FILE *f = fopen("/proc/quire/block", "r");
	unsigned long requests = 0, sectors = 0;
	unsigned most = 0;
	char line[256];

	if (!f)
		return; /* another kernel */
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "vda in_flight %*u most %u", &most);
		sscanf(line, "vda write requests %lu merged %*u sectors %lu", &requests, &sectors);
	}
	fclose(f);
	printf("%lu requests of %lu KiB written, %u at once\n", requests,
	       requests ? sectors / 2 / requests : 0, most);
	CHECK(requests && sectors / requests >= 128);
	CHECK(most >= 8);
}

/* ---- a loop under both policies ------------------------------------------------------------------- */

#define LOOP_PASSES 5

static int choose_policy(int n)
{
	FILE *f = fopen("/proc/sys/vm/reclaim_policy", "w");
	int ok = f && fprintf(f, "%d\n", n) > 0;

	return (f && !fclose(f)) && ok;
}

/* Passes in order over more memory than there is: pages read back. */
static long loop_reads(int policy, size_t n)
{
	uint64_t *mem = memory("private", 0, n * PAGE);
	long before;

	CHECK(choose_policy(policy));
	fill(mem, n, 1);
	before = vmstat("pswpin");
	for (unsigned pass = 0; pass < LOOP_PASSES; pass++)
		for (size_t i = 0; i < n; i++)
			CHECK(page_is(mem + i * WORDS, key_of(1, i, 0)));
	before = vmstat("pswpin") - before;
	munmap(mem, n * PAGE);
	printf("policy %d: %ld pages of %zu read back in %d passes\n", policy, before, n, LOOP_PASSES);
	return before;
}

/* A list by age reads all of the loop each time; trial by space keeps what fits, but for its trial. */
static int loop(void)
{
	size_t n = (size_t)meminfo("MemAvailable") / 4 * 9 / 8;
	long by_age = loop_reads(0, n), trial = loop_reads(1, n);

	CHECK(by_age > (long)n * LOOP_PASSES / 2);
	CHECK(trial * 5 < by_age * 4);
	CHECK(choose_policy(0));
	all_slots_are_free();
	return failures != 0;
}

int main(int argc, char **argv)
{
	unsigned procs = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	size_t pages = (argc > 4 ? (size_t)atoi(argv[4]) : 256) * 256, each = pages / procs;
	const char *kind = argc > 1 ? argv[1] : "private", *order = argc > 2 ? argv[2] : "forward";
	const char *device = argc > 5 ? argv[5] : NULL;
	struct stalled some = {0}, full = {0};
	uint64_t *all = NULL;

	if (order[0] >= '0' && order[0] <= '9')
		CHECK(choose_policy(*order++ - '0'));
	pressure(&some, &full);
	CHECK(!some.total && !full.total && some.avg10 == 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	steps = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(steps != MAP_FAILED && mlock((void *)steps, PAGE) == 0);
	mkdir("/tmp", 0755);
	if (!strcmp(kind, "loop"))
		return loop();
	if (device) {
		CHECK(swapoff(device) == -1 && errno == EINVAL);
		CHECK(swapon("/tmp", 0) == -1 && errno == EISDIR);
		CHECK(swapon("/nothing", 0) == -1 && errno == ENOENT);
		CHECK(swapon(device, 1 << 20) == -1 && errno == EINVAL);
		CHECK(swapon(device, SWAP_FLAG_PREFER | 5) == 0);
		CHECK(swapon(device, 0) == -1 && errno == EBUSY);
	}
	printf("swap of %ld kB, memory %ld kB free of %ld\n", meminfo("SwapTotal"), meminfo("MemFree"),
	       meminfo("MemTotal"));
	if (kind[0] == 's')
		all = memory(kind, 0, pages * PAGE);
	if (!strcmp(kind, "fork")) {
		all = memory("private", 0, each * PAGE);
		fill(all, each, 7);
	}
	for (unsigned i = 0; i < procs; i++) {
		pid_t pid = fork();

		if (!pid) {
			uint64_t *mem = all;

			if (kind[0] == 's')
				mem = all + (size_t)i * each * WORDS;
			else if (strcmp(kind, "fork"))
				mem = memory(kind, i, each * PAGE);
			if (!mem)
				_exit(9);
			if (strcmp(kind, "fork")) {
				fill(mem, each, i + 1);
				_exit(part(mem, each, order, i + 1));
			}
			_exit(part(mem, each, order, 7));
		}
		CHECK(pid > 0);
	}
	CHECK(wait_for_all(procs, steps, MOST_PROCESSES) == 0);
	if (!strcmp(kind, "fork")) {
		CHECK(look_at_all(all, each, order, 7, 0));
		munmap(all, each * PAGE);
	}
	if (kind[0] == 's') {
		for (unsigned i = 0; i < procs; i++)
			CHECK(look_at_all(all + (size_t)i * each * WORDS, each, "forward", i + 1, 1));
		munmap(all, pages * PAGE);
	}
	printf("pswpout %ld pswpin %ld\n", vmstat("pswpout"), vmstat("pswpin"));
	CHECK(vmstat("pswpout") > 0);
	CHECK(vmstat("pswpin") > 0);
	if (procs == 1 && !strcmp(order, "forward"))
		long_requests();
	it_was_waited_for(seconds() + 1);
	if (device) {
		size_t n = 24 * 256; /* what memory holds */
		uint64_t *mem = memory("private", 0, n * PAGE);

		fill(mem, n, 99);
		madvise(mem, n * PAGE, 21 /* MADV_PAGEOUT */);
		CHECK(meminfo("SwapFree") < meminfo("SwapTotal"));
		CHECK(swapoff(device) == 0);
		CHECK(meminfo("SwapTotal") == 0);
		CHECK(look_at_all(mem, n, order, 99, 0));
		munmap(mem, n * PAGE);
	} else {
		for (unsigned i = 0; i < procs && !strcmp(kind, "file"); i++) {
			char name[32];

			snprintf(name, sizeof(name), "/tmp/swap%u", i);
			CHECK(unlink(name) == 0);
		}
		all_slots_are_free();
	}
	return failures != 0;
}
