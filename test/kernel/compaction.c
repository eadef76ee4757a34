/* SPDX-License-Identifier: MIT */
/*
 * Half of all memory is free, in single pages, and what is used may move: a block of 16 pages for a
 * pipe, and the stacks and tables of forks, are to be had all the same, for compaction makes room.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define PIPES 110

static long number(const char *file, const char *word)
{
	static char text[16384];
	int fd = open(file, O_RDONLY);
	long n = read(fd, text, sizeof(text) - 1);
	char *at;

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, word);
	return at ? strtol(at + strlen(word), NULL, 10) : -1;
}

static void order(const char *file)
{
	int fd = open(file, O_WRONLY);

	CHECK(write(fd, "1", 1) == 1);
	close(fd);
}

static int pipes(int fds[PIPES][2])
{
	int made = 0;

	for (int i = 0; i < PIPES; i++) {
		char c = (char)i, back = 0;

		if (pipe(fds[i]))
			break;
		made++;
		CHECK(write(fds[i][1], &c, 1) == 1 && read(fds[i][0], &back, 1) == 1 && back == c);
	}
	return made;
}

static void close_pipes(int fds[PIPES][2], int made)
{
	while (made-- > 0) {
		close(fds[made][0]);
		close(fds[made][1]);
	}
}

int main(void)
{
	long kb = number("/proc/meminfo", "MemFree:"), n = (kb - kb / 64 - 5000) / 4;
	unsigned *p = mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static int fds[PIPES][2];
	long moved, stalls;
	int made;

	CHECK(kb > 60000 && p != MAP_FAILED);
	for (long i = 0; i < n; i++)
		p[i * 1024] = (unsigned)i;
	for (long i = 0; i < n; i += 2)
		madvise(p + i * 1024, 4096, MADV_DONTNEED);
	moved = number("/proc/vmstat", "pgmigrate_success ");
	stalls = number("/proc/vmstat", "compact_stall ");
	made = pipes(fds);
	CHECK(made == PIPES);
	for (int i = 0; i < 4; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(7);
		CHECK(pid > 0 && status_of(pid) == 7);
	}
	CHECK(number("/proc/vmstat", "pgmigrate_success ") > moved);
	CHECK(number("/proc/vmstat", "compact_stall ") > stalls);
	close_pipes(fds, made);
	moved = number("/proc/vmstat", "pgmigrate_success ");
	order("/proc/sys/vm/compact_memory");
	CHECK(number("/proc/vmstat", "pgmigrate_success ") > moved);
	/* Whatever moved, moved whole. */
	for (long i = 0; i < n; i++)
		CHECK(p[i * 1024] == (i % 2 ? (unsigned)i : 0));
	CHECK(number("/proc/quire/check", "") == 0);
	printf("%d failures\n", failures);
	return failures != 0;
}
