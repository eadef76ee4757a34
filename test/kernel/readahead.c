/* SPDX-License-Identifier: MIT */
/*
 * What is read ahead of a file on a disk: the pages that are in memory after each access, as mincore tells them.
 * What stands here is what a real 5.10 answers: ./quire exec --disk FILE linux-5.10, FILE an ext2 image.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define PAGE  4096u
#define PAGES 512u
#define M     "/mnt"

static unsigned char buf[64 * PAGE];
static volatile unsigned char *map;
static int fd;

/* Pages that are there, as "0-3 8". */
static void resident(char *text, size_t n)
{
	static unsigned char vec[PAGES];
	size_t at = 0;

	usleep(30000);
	text[0] = 0;
	CHECK(mincore((void *)map, PAGES * PAGE, vec) == 0);
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned first = i;

		if (!(vec[i] & 1))
			continue;
		while (i + 1 < PAGES && vec[i + 1] & 1)
			i++;
		at += (size_t)snprintf(text + at, at < n ? n - at : 0, first == i ? "%s%u" : "%s%u-%u", at ? " " : "", first, i);
	}
}

static void is(const char *what, const char *want)
{
	char text[256];

	resident(text, sizeof(text));
	if (strcmp(text, want)) {
		printf("%s: %s, not %s\n", what, text, want);
		failures++;
	}
}

/* Opened anew, nothing of it in memory. */
static void fresh(int advice, int mapped)
{
	if (map)
		munmap((void *)map, PAGES * PAGE);
	if (fd > 0)
		close(fd);
	fd = open(M "/file", O_RDWR);
	CHECK(fd >= 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	if (advice >= 0 && mapped)
		CHECK(madvise((void *)map, PAGES * PAGE, advice) == 0);
	if (advice >= 0 && !mapped)
		CHECK(posix_fadvise(fd, 0, 0, advice) == 0);
	is("fresh", "");
}

static void reads(unsigned page, unsigned n)
{
	CHECK(pread(fd, buf, n * PAGE, page * PAGE) == (ssize_t)(n * PAGE));
	for (unsigned i = 0; i < n; i++)
		CHECK(buf[i * PAGE] == (unsigned char)(page + i) && buf[i * PAGE + 1] == (page + i) >> 8);
}

static void touches(unsigned page)
{
	CHECK(map[page * PAGE] == (unsigned char)page);
}

static void by_calls(void)
{
	fresh(-1, 0);
	reads(0, 1);
	is("first page", "0-3");
	reads(1, 1);
	is("second", "0-11");
	reads(2, 2);
	is("up to the fourth", "0-11");
	reads(4, 1);
	is("the fifth", "0-27");
	reads(5, 8);
	is("on", "0-59");
	reads(13, 20);
	is("on", "0-91");
	reads(33, 40);
	is("on", "0-123");
	reads(300, 1);
	is("elsewhere", "0-123 300");
	reads(301, 1);
	is("and on from there", "0-123 300-304");
	reads(200, 3);
	is("elsewhere again", "0-123 200-202 300-304");

	fresh(-1, 0);
	reads(0, 16);
	is("sixteen at once", "0-31");
	reads(16, 16);
	is("sixteen more", "0-63");
	reads(32, 64);
	is("more than a window", "0-159");

	fresh(-1, 0);
	reads(100, 2);
	is("in the middle", "100-101");
	reads(50, 1);
	is("before it", "50 100-101");
	reads(51, 1);
	is("behind that", "50-54 100-101");
	reads(52, 1);
	is("and on", "50-62 100-101");

	fresh(-1, 0);
	reads(510, 2);
	is("the end", "510-511");

	fresh(POSIX_FADV_RANDOM, 0);
	reads(0, 1);
	is("random: first page", "0");
	reads(1, 4);
	is("random: four", "0-4");

	fresh(POSIX_FADV_SEQUENTIAL, 0);
	reads(0, 1);
	is("sequential: first page", "0-3");
	reads(1, 8);
	is("sequential: on", "0-27");
	reads(9, 64);
	is("sequential: on and on", "0-187");

	fresh(-1, 0);
	CHECK(posix_fadvise(fd, 20 * PAGE, 10 * PAGE, POSIX_FADV_WILLNEED) == 0);
	is("willneed", "20-29");
	CHECK(readahead(fd, 100 * PAGE, 70 * PAGE) == 0);
	is("readahead", "20-29 100-169");
}

static void by_mapping(void)
{
	fresh(-1, 1);
	touches(0);
	is("touch: first page", "0-31");
	touches(100);
	is("touch: in the middle", "0-31 84-115");
	touches(101);
	is("touch: the next", "0-31 84-115");
	touches(116);
	is("touch: behind", "0-31 84-131");
	touches(511);
	is("touch: the last", "0-31 84-131 495-511");

	fresh(MADV_RANDOM, 1);
	touches(0);
	is("touch, random", "0");
	touches(100);
	is("touch, random", "0 100");
	touches(101);
	is("touch, random", "0 100-101");

	fresh(MADV_SEQUENTIAL, 1);
	touches(0);
	is("touch, sequential", "0-31");
	touches(1);
	is("touch, sequential", "0-31");
	touches(40);
	is("touch, sequential", "0-31 40-71");

	fresh(-1, 1);
	CHECK(madvise((void *)(map + 30 * PAGE), 8 * PAGE, MADV_WILLNEED) == 0);
	is("madvise", "30-37");
}

int main(void)
{
	const char *disk = access("/dev/vda", F_OK) ? "/dev/nvme0n1" : "/dev/vda";

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir(M, 0755);
	CHECK(mount(disk, M, "ext2", 0, NULL) == 0);
	fd = open(M "/file", O_RDWR | O_CREAT, 0600);
	for (unsigned i = 0; i < PAGES; i++) {
		memset(buf, 0, PAGE);
		buf[0] = (unsigned char)i, buf[1] = (unsigned char)(i >> 8);
		CHECK(write(fd, buf, PAGE) == PAGE);
	}
	CHECK(fsync(fd) == 0);
	by_calls();
	by_mapping();
	munmap((void *)map, PAGES * PAGE);
	close(fd);
	CHECK(unlink(M "/file") == 0);
	CHECK(umount(M) == 0 && rmdir(M) == 0);
	return failures != 0;
}
