/* SPDX-License-Identifier: MIT */
/*
 * More than the machine's memory, of pages that can be compressed to less than a third.
 *
 *   zswap disk ORDER MIB PERCENT [LOCKED]
 *                      swap on a disk: with compressed swap in front of it, whose pool may have PERCENT of
 *                      memory, half of what is read from the disk without it is not. LOCKED: MiB of memory that
 *                      are locked meanwhile
 *   zswap memory MIB   swap to /dev/zram0 alone, which has no device behind it
 *
 * ORDER: forward, random, zipf: pages are filled in order, then read, and every third written, in this order.
 * Each word of each page is compared. At the end nothing is compressed any more.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096u
#define WORDS (PAGE / 8)

/* A quarter is noise, the rest counts slowly: 1.1 KiB compressed. */
static uint64_t word_of(uint64_t key, unsigned i)
{
	return i < WORDS / 4 ? mix(key + i) : key + i / 32;
}

static void put_page(uint64_t *p, uint64_t key)
{
	for (unsigned i = 0; i < WORDS; i++)
		p[i] = word_of(key, i);
}

static int page_is(const uint64_t *p, uint64_t key)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (p[i] != word_of(key, i))
			return 0;
	return 1;
}

static size_t nth(const char *order, size_t i, size_t n, uint64_t seed)
{
	double a = (double)(mix(seed + i * 3) >> 40) / (1 << 24);

	if (order[0] == 'f')
		return i;
	if (order[0] == 'r')
		return (size_t)(a * (double)n);
	return (size_t)(a * (double)n * (double)(mix(seed + i * 3 + 1) >> 40) / (1 << 24) *
			(double)(mix(seed + i * 3 + 2) >> 40) / (1 << 24));
}

static long number(const char *path, const char *name)
{
	char line[128];
	long v = -1;
	size_t len = strlen(name);
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && strchr(": \n0123456789", line[len]))
			v = atol(line + len + (line[len] == ':'));
	if (f)
		fclose(f);
	return v;
}

static long vmstat(const char *name)
{
	return number("/proc/vmstat", name);
}

static long counter(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/kernel/debug/zswap/%s", name);
	return number(path, "");
}

static int set(const char *name, const char *value)
{
	char path[64];
	int fd, n = -1;

	snprintf(path, sizeof(path), "/sys/module/zswap/parameters/%s", name);
	fd = open(path, O_WRONLY);
	if (fd >= 0) {
		n = (int)write(fd, value, strlen(value));
		close(fd);
	}
	return n < 0 ? -errno : 0;
}

static char get(const char *name)
{
	char path[64], c = 0;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/zswap/parameters/%s", name);
	fd = open(path, O_RDONLY);
	if (fd >= 0 && read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c;
}

/* Fills pages, looks at all or at as many in the order, writes some, looks again. */
static void work(size_t pages, const char *order)
{
	uint64_t *mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned char *version = calloc(pages, 1);
	size_t bad = 0;

	CHECK(mem != MAP_FAILED && version);
	for (size_t i = 0; i < pages; i++)
		put_page(mem + i * WORDS, i * 1000);
	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < pages; i++) {
			size_t at = nth(order, i, pages, pass);

			bad += !page_is(mem + at * WORDS, at * 1000 + version[at]);
			if (i % 3 == 0)
				put_page(mem + at * WORDS, at * 1000 + ++version[at]);
		}
	for (size_t at = 0; at < pages; at++)
		bad += !page_is(mem + at * WORDS, at * 1000 + version[at]);
	CHECK(!bad);
	munmap(mem, pages * PAGE);
	free(version);
}

static void show(const char *what, long in)
{
	printf("%s: %ld pages read from the disk; %ld stored, %ld poor, %ld written back, %ld dropped, "
	       "limit hit %ld, rejected %ld %ld %ld\n", what, in, counter("loaded_pages"),
	       counter("reject_compress_poor"), counter("written_back_pages"), counter("dropped_pages"),
	       counter("pool_limit_hit"), counter("reject_reclaim_fail"), counter("reject_alloc_fail"),
	       counter("reject_kmemcache_fail"));
}

static void in_front_of_a_disk(const char *order, size_t pages, const char *percent)
{
	long before = vmstat("pswpin"), without, with;

	/* It was switched on at the start, for its memory to be there before. */
	CHECK(get("enabled") == 'Y');
	CHECK(set("enabled", "0") == 0);
	CHECK(get("enabled") == 'N');
	work(pages, order);
	without = vmstat("pswpin") - before;
	show("without", without);
	CHECK(set("max_pool_percent", "101") == -EINVAL);
	CHECK(set("max_pool_percent", percent) == 0);
	CHECK(set("enabled", "maybe") == -EINVAL);
	CHECK(set("enabled", "Y") == 0);
	CHECK(get("enabled") == 'Y' && get("compressor") == 'l');
	before = vmstat("pswpin");
	work(pages, order);
	with = vmstat("pswpin") - before;
	show("with", with);
	CHECK(without > 1000);
	CHECK(with * 2 <= without);
	CHECK(counter("loaded_pages") > 0);
}

static void in_memory(size_t pages)
{
	long kb = number("/proc/meminfo", "SwapTotal");
	char c;
	int fd = open("/dev/zram0", O_RDONLY);

	CHECK(fd >= 0 && read(fd, &c, 1) == -1 && errno == EIO);
	close(fd);
	CHECK(kb > 0);
	work(pages, "forward");
	show("in memory", vmstat("pswpin"));
	CHECK(vmstat("pswpin") == 0 && vmstat("pswpout") == 0);
	CHECK(counter("loaded_pages") > 1000);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%ld kB of memory, %ld of swap\n", number("/proc/meminfo", "MemFree"),
	       number("/proc/meminfo", "SwapTotal"));
	if (argc == 6) {
		size_t n = (size_t)atoi(argv[5]) << 20;
		char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(p != MAP_FAILED && !mlock(p, n));
	}
	if ((argc == 5 || argc == 6) && !strcmp(argv[1], "disk"))
		in_front_of_a_disk(argv[2], (size_t)atoi(argv[3]) * 256, argv[4]);
	else if (argc == 3 && !strcmp(argv[1], "memory"))
		in_memory((size_t)atoi(argv[2]) * 256);
	else
		return 2;
	for (int i = 0; i < 50 && counter("stored_pages") > 200; i++)
		usleep(20000);
	printf("left: %ld stored\n", counter("stored_pages"));
	/* This program's own pages may be, and those of the initramfs. */
	CHECK(counter("stored_pages") <= 200);
	CHECK(counter("decompress_fail") <= 0);
	return failures != 0;
}
