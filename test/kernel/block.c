/* SPDX-License-Identifier: MIT */
/*
 * Disks as a program sees them: /dev/vda read and written whole, at odd places, by eight at once; its
 * size, its end, a flush; a read-only one; one with a bad sector; none at all. The argument says which.
 * On a real Linux too (./quire exec --disk FILE linux-5.10), but for what only this kernel counts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include <quire/abi.h>

#define PIECE (1u << 20) /* nine requests, of which eight fit the ring */

static unsigned char a[PIECE], b[PIECE];

/* The byte of a pattern at a place of the disk. */
static unsigned char pattern(uint64_t at, unsigned which)
{
	uint64_t v = (at + 1) * 0x9e3779b97f4a7c15ull + which;

	return (unsigned char)(v >> 56 ^ v >> 24);
}

static void fill(unsigned char *p, size_t n, uint64_t at, unsigned which)
{
	for (size_t i = 0; i < n; i++)
		p[i] = pattern(at + i, which);
}

static int holds(const unsigned char *p, size_t n, uint64_t at, unsigned which)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != pattern(at + i, which)) {
			printf("byte %llu differs\n", (unsigned long long)(at + i));
			return 0;
		}
	return 1;
}

static int on_quire(void)
{
	return !access("/proc/quire/block", F_OK);
}

/* A number behind a word of the kernel's counters; -1: it is not there. */
static long counter(const char *line, const char *word)
{
	static char text[4096];
	FILE *f = fopen("/proc/quire/block", "r");
	long v = -1;
	char *p;

	CHECK(f);
	if (!f)
		return -1;
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	p = strstr(text, line);
	p = p ? strstr(p, word) : NULL;
	if (p)
		v = atol(p + strlen(word));
	return v;
}

static void whole(int fd, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += PIECE) {
		fill(a, PIECE, at, 1);
		CHECK(pwrite(fd, a, PIECE, at) == PIECE);
	}
	CHECK(fsync(fd) == 0);
	for (uint64_t at = 0; at < size; at += PIECE) {
		memset(b, 0, PIECE);
		CHECK(pread(fd, b, PIECE, at) == PIECE);
		CHECK(holds(b, PIECE, at, 1));
	}
}

/* Pieces that begin and end inside sectors: what lies beside them stays. */
static void odd_places(int fd)
{
	static const struct {
		unsigned at, n;
	} odd[] = {{1, 1}, {511, 1}, {511, 2}, {1000, 100}, {512, 100}, {1000, 24}, {4095, 4098},
		   {10000, 70001}, {100000, 1}, {3, 511}, {200, 312}};

	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		unsigned at = odd[i].at, n = odd[i].n;

		fill(a, PIECE, 0, 1);
		CHECK(pwrite(fd, a, PIECE, 0) == PIECE);
		fill(a, n, at, 2);
		CHECK(pwrite(fd, a, n, at) == n);
		CHECK(pread(fd, b, PIECE, 0) == PIECE);
		CHECK(holds(b, at, 0, 1));
		CHECK(holds(b + at, n, at, 2));
		CHECK(holds(b + at + n, PIECE - at - n, at + n, 1));
		memset(b, 0, n);
		CHECK(pread(fd, b, n, at) == n);
		CHECK(holds(b, n, at, 2));
	}
}

/* Eight processes, a megabyte each. */
static void eight(int fd)
{
	pid_t pid[8];

	for (unsigned i = 0; i < 8; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		for (unsigned round = 0; round < 3; round++) {
			uint64_t at = i * (uint64_t)PIECE;

			fill(a, PIECE, at, 10 + round);
			CHECK(pwrite(fd, a, PIECE, at) == PIECE);
			CHECK(pread(fd, b, PIECE, at) == PIECE);
			CHECK(holds(b, PIECE, at, 10 + round));
		}
		_exit(failures != 0);
	}
	for (unsigned i = 0; i < 8; i++)
		CHECK(status_of(pid[i]) == 0);
}

static void ends(int fd, uint64_t size)
{
	uint64_t bytes = 0;
	int sector = 0, ro = 1;
	void *volatile nowhere = (void *)1;
	unsigned long sectors = 0;
	struct stat st;

	CHECK(ioctl(fd, BLKGETSIZE64, &bytes) == 0 && bytes == size);
	CHECK(ioctl(fd, BLKGETSIZE, &sectors) == 0 && sectors == size / 512);
	CHECK(ioctl(fd, BLKSSZGET, &sector) == 0 && sector == 512);
	CHECK(ioctl(fd, BLKROGET, &ro) == 0 && ro == 0);
	CHECK(ioctl(fd, BLKFLSBUF, 0) == 0);
	CHECK(ioctl(fd, 0x4242, 0) == -1 && errno == ENOTTY);
	CHECK(fstat(fd, &st) == 0 && S_ISBLK(st.st_mode));
	CHECK(lseek(fd, 0, SEEK_END) == (off_t)size);
	CHECK(read(fd, a, 10) == 0);
	CHECK(write(fd, a, 10) == -1 && errno == ENOSPC);
	CHECK(lseek(fd, -5, SEEK_END) == (off_t)size - 5);
	CHECK(read(fd, a, 10) == 5);
	CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)size);
	CHECK(lseek(fd, -5, SEEK_END) == (off_t)size - 5);
	CHECK(write(fd, "abcdefghij", 10) == 5);
	CHECK(pread(fd, a, 5, size - 5) == 5 && !memcmp(a, "abcde", 5));
	CHECK(pread(fd, nowhere, 512, 0) == -1 && errno == EFAULT);
	CHECK(pwrite(fd, nowhere, 512, 0) == -1 && errno == EFAULT);
}

/* A buffer whose second half is not there: what lies before it is moved. */
static void half_a_buffer(int fd)
{
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(munmap(p + 4096, 4096) == 0);
	fill(p, 4096, 4096, 3);
	CHECK(pwrite(fd, p, 8192, 4096) == 4096);
	memset(p, 0, 4096);
	CHECK(pread(fd, p, 8192, 4096) == 4096);
	CHECK(holds(p, 4096, 4096, 3));
	munmap(p, 4096);
}

static void partitions(const char *want)
{
	static char text[1024];
	FILE *f = fopen("/proc/partitions", "r");

	CHECK(f);
	if (!on_quire())
		return; /* other names */
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	CHECK(!want == !text[0]);
	CHECK(!want || strstr(text, want));
}

static void read_write(void)
{
	int fd = open("/dev/vda", O_RDWR);
	uint64_t size = 8u << 20;

	CHECK(fd >= 0);
	partitions(" 254        0       8192 vda\n");
	ends(fd, size);
	whole(fd, size);
	odd_places(fd);
	half_a_buffer(fd);
	eight(fd);
	close(fd);
	if (!on_quire())
		return;
	CHECK(counter("vda in_flight ", "in_flight ") == 0);
	CHECK(counter("vda in_flight ", "most ") >= 8);
	CHECK(counter("vda in_flight ", "errors ") == 0);
	CHECK(counter("vda write ", "largest ") >= 128); /* 64 KiB */
	CHECK(counter("vda read ", "largest ") >= 128);
	CHECK(counter("vda flush ", "requests ") >= 2);
}

static void read_only(void)
{
	int fd = open("/dev/vda", O_RDWR), ro = 0;

	CHECK(fd >= 0);
	CHECK(ioctl(fd, BLKROGET, &ro) == 0 && ro == 1);
	CHECK(pread(fd, a, 4096, 0) == 4096);
	CHECK(pwrite(fd, a, 4096, 0) == -1 && errno == EPERM);
	close(fd);
}

/* Sector 1000 of vda cannot be read, sector 2000 of vdb not written. */
static void errors(void)
{
	int fd = open("/dev/vda", O_RDWR);

	CHECK(pread(fd, a, 512, 1000 * 512) == -1 && errno == EIO);
	CHECK(pread(fd, a, 4096, 996 * 512) == -1 && errno == EIO);
	CHECK(pread(fd, a, 512, 1001 * 512) == 512);
	/* what went well before counts */
	CHECK(pread(fd, a, 512, 999 * 512) == 512);
	CHECK(pwrite(fd, "x", 1, 1000 * 512 + 7) == -1 && errno == EIO);
	CHECK(counter("vda in_flight ", "errors ") == 3);
	close(fd);
	fd = open("/dev/vdb", O_RDWR);
	CHECK(pwrite(fd, a, 4096, 1996 * 512) == -1 && errno == EIO);
	CHECK(pread(fd, a, 4096, 1996 * 512) == 4096);
	CHECK(pwrite(fd, a, 4096, 2001 * 512) == 4096);
	close(fd);
}

static void none(void)
{
	CHECK(open("/dev/vda", O_RDWR) == -1 && errno == ENOENT);
	partitions(NULL);
}

static void ram(void)
{
	int fd = open("/dev/ram0", O_RDWR);

	CHECK(fd >= 0);
	partitions("   1        0       4096 ram0\n");
	ends(fd, 4u << 20);
	whole(fd, 4u << 20);
	odd_places(fd);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "rw"))
		read_write();
	else if (!strcmp(what, "ro"))
		read_only();
	else if (!strcmp(what, "errors"))
		errors();
	else if (!strcmp(what, "ram"))
		ram();
	else if (!strcmp(what, "none"))
		none();
	else
		CHECK(!"one of rw, ro, errors, ram, none");
	return failures != 0;
}
