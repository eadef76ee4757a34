/* SPDX-License-Identifier: MIT */
/*
 * More memory than the machine has, on a disk to swap to: the background keeps a margin free, what is
 * used often stays, what is locked never leaves, and every byte is right.
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

#define PAGE   4096ul
#define HOG    (80ul << 20) /* of a machine with 64 MiB */
#define LOCKED 256ul	     /* pages */
#define HOT    512ul
#define EARLY  2560ul /* pages of the hog that are older than the hot ones */
#define DISK   "/dev/vda"

static char text[65536];

static const char *read_all(const char *file)
{
	int fd = open(file, O_RDONLY);
	long n = 0, got;

	while (n < (long)sizeof(text) - 1 &&
	       (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += got;
	close(fd);
	text[n] = '\0';
	return text;
}

/* The number behind a word at the start of a line; -1: there is none. */
static long number(const char *file, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = read_all(file); at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (!strncmp(at, word, n) && (at[n] == ' ' || at[n] == ':'))
			return strtol(at + n + 1, NULL, 10);
		if (!*at)
			break;
	}
	return -1;
}

static long vmstat(const char *word)
{
	return number("/proc/vmstat", word);
}

/* The low marks of all zones. */
static long low_marks(void)
{
	long sum = 0;

	for (char *at = (char *)read_all("/proc/zoneinfo"); (at = strstr(at, "        low ")); at++)
		sum += strtol(at + 12, NULL, 10);
	return sum;
}

static void swap_on(void)
{
	static char page[PAGE];
	uint32_t *words = (uint32_t *)(page + 1024);
	int fd = open(DISK, O_RDWR);
	long size = lseek(fd, 0, SEEK_END);

	CHECK(fd >= 0 && size > (long)HOG);
	words[0] = 1;
	words[1] = (uint32_t)(size / (long)PAGE) - 1;
	memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
	CHECK(pwrite(fd, page, PAGE, 0) == (long)PAGE);
	close(fd);
	CHECK(swapon(DISK, 0) == 0);
}

static long major_faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_majflt;
}

static void *pages_of(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static uint64_t sign(size_t i, unsigned pass)
{
	return (i + 1) * 0x9e3779b97f4a7c15ull + pass;
}

/*
 * Every page of the hog is written, with what it must have held before looked at; every few pages the
 * hot ones are used. Major faults of those alone.
 *
 * The hot ones are not the oldest of all. At the first lack of memory every page looks used: a scan goes
 * round the whole list, and comes to the oldest a second time before the program could use them again.
 * A real 5.10 loses a hot set that lies there, too (63 major faults of 64 clusters, in one run of four).
 */
static long scan(char *hog, volatile char *hot, unsigned pass)
{
	long hot_faults = 0, before;

	for (size_t i = 0; i < HOG / PAGE; i++) {
		uint64_t *first = (uint64_t *)(hog + i * PAGE), *last = first + PAGE / 8 - 1;

		if (pass && (*first != sign(i, pass - 1) || *last != ~sign(i, pass - 1))) {
			printf("page %zu lost what was written in pass %u\n", i, pass - 1);
			failures++;
			return 0;
		}
		*first = sign(i, pass);
		*last = ~sign(i, pass);
		if (!pass && i == EARLY)
			for (size_t h = 0; h < HOT; h++)
				hot[h * PAGE] = 1;
		if (i % 512 || (!pass && i < EARLY))
			continue;
		before = major_faults();
		for (size_t h = 0; h < HOT; h++)
			(void)hot[h * PAGE];
		hot_faults += major_faults() - before;
	}
	return hot_faults;
}

static void margin_is_kept(void)
{
	struct timespec wait = {0, 300000000};

	nanosleep(&wait, NULL);
	printf("free %ld, low marks %ld, by kswapd %ld, direct %ld, runs %ld\n", vmstat("nr_free_pages"),
	       low_marks(), vmstat("pgsteal_kswapd"), vmstat("pgsteal_direct"), vmstat("pageoutrun"));
	CHECK(vmstat("nr_free_pages") >= low_marks());
	CHECK(vmstat("pgsteal_kswapd") > 0);
	CHECK(vmstat("pageoutrun") > 0);
	CHECK(vmstat("pgscan_kswapd") >= vmstat("pgsteal_kswapd"));
	CHECK(vmstat("pgsteal_anon") == vmstat("pgsteal_kswapd") + vmstat("pgsteal_direct") -
						vmstat("pgsteal_file"));
}

/* Translations are flushed for many pages at once. */
static void flushes_are_few(void)
{
	long entries = number("/proc/quire/counts", "unmapped_entries");
	long flushes = number("/proc/quire/counts", "unmap_flushes");

	printf("reclaim took %ld entries away with %ld flushes\n", entries, flushes);
	CHECK(entries >= (long)(HOG / PAGE));
	CHECK(flushes > 0 && flushes * 8 < entries);
}

static void locked_stay(volatile char *locked)
{
	long before = major_faults();
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	CHECK(number("/proc/meminfo", "Mlocked") >= (long)LOCKED * 4);
	CHECK(number("/proc/meminfo", "Unevictable") >= (long)LOCKED * 4);
	CHECK(vmstat("nr_mlock") >= (long)LOCKED);
	for (size_t i = 0; i < LOCKED; i++) {
		CHECK(pread(fd, &entry, 8, ((uintptr_t)locked / PAGE + i) * 8) == 8 && entry >> 63);
		CHECK(locked[i * PAGE] == (char)i);
	}
	close(fd);
	CHECK(major_faults() == before);
}

/* Objects that nobody needs are given back by every cache, here those of 2,000 areas. */
static void slabs_shrink(void)
{
	long before, after, dropped = vmstat("drop_slab"), scanned = vmstat("slabs_scanned");
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	char *areas[2000];

	for (unsigned i = 0; i < 2000; i++)
		areas[i] = mmap(NULL, PAGE, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < 2000; i++)
		munmap(areas[i], PAGE);
	before = number("/proc/meminfo", "Slab");
	CHECK(write(fd, "2", 1) == 1);
	after = number("/proc/meminfo", "Slab");
	printf("slabs %ld kB, then %ld kB, objects scanned before %ld\n", before, after, scanned);
	CHECK(vmstat("drop_slab") == dropped + 1 && vmstat("slabs_scanned") > scanned);
	CHECK(before - after > 100);
	close(fd);
}

int main(void)
{
	char *locked, *hot, *hog;
	long faults = 0;

	swap_on();
	locked = pages_of(LOCKED * PAGE);
	hot = pages_of(HOT * PAGE);
	hog = pages_of(HOG);
	for (size_t i = 0; i < LOCKED; i++)
		locked[i * PAGE] = (char)i;
	CHECK(mlock(locked, LOCKED * PAGE) == 0);
	faults += scan(hog, hot, 0);
	margin_is_kept();
	locked_stay(locked);
	for (unsigned pass = 1; pass < 4; pass++)
		faults += scan(hog, hot, pass);
	printf("%ld major faults of %lu hot pages; activated %ld, refaults %ld\n", faults, HOT,
	       vmstat("pgactivate"), vmstat("workingset_refault_anon"));
	CHECK(faults < (long)HOT / 16); /* half of them, read back eight at a time, once */
	CHECK(vmstat("pgactivate") >= (long)HOT / 2);
	CHECK(vmstat("workingset_refault_anon") > 0);
	flushes_are_few();
	locked_stay(locked);
	CHECK(munlock(locked, LOCKED * PAGE) == 0);
	CHECK(vmstat("nr_mlock") == 0 && vmstat("nr_unevictable") == 0);
	munmap(hog, HOG);
	slabs_shrink();
	CHECK(swapoff(DISK) == 0);
	printf("%s\n", failures ? "failed" : "ok");
	return failures ? 1 : 0;
}
