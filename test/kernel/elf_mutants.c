/* SPDX-License-Identifier: MIT */
/*
 * Runs a few hundred copies of itself with bits of the ELF headers changed. Whatever becomes of
 * each, the kernel stays: exit status 0 means that the last, unchanged one ran as it should.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#define COPY "/tmp/mutant"
#define RUNS 80

static char good[2 << 20], bad[2 << 20];

static void write_copy(const char *image, long n)
{
	int fd;

	unlink(COPY);
	fd = open(COPY, O_CREAT | O_WRONLY | O_TRUNC, 0755);
	CHECK(fd >= 0 && write(fd, image, n) == n);
	close(fd);
}

static long mutate(long n)
{
	memcpy(bad, good, n);
	for (int k = 1 + rand() % 3; k--;) {
		int at = rand() % 2 ? rand() % 64 : 64 + rand() % (56 * 4), how = rand() % 4;

		bad[at] = how == 0   ? rand()
			  : how == 1 ? 0
			  : how == 2 ? -1
				     : bad[at] ^ 1 << rand() % 8;
	}
	return rand() % 8 ? n : rand() % n;
}

/* The copy's status; one that does not end by itself is killed. */
static int run_copy(void)
{
	char *argv[] = {COPY, "child", NULL};
	pid_t pid = fork();
	int st;

	if (!pid) {
		execv(COPY, argv);
		_exit(77);
	}
	for (int i = 0; i < 30; i++) {
		if (waitpid(pid, &st, WNOHANG) == pid)
			return WIFEXITED(st) ? WEXITSTATUS(st) : 256 + WTERMSIG(st);
		usleep(10000);
	}
	kill(pid, SIGKILL);
	return status_of(pid);
}

int main(int argc, char **argv)
{
	int fd, seen[512] = {0};
	long n;

	if (argc > 1)
		return 5;
	fd = open(argv[0], O_RDONLY);
	n = read(fd, good, sizeof(good));
	close(fd);
	CHECK(n > 1000);
	srand(1);
	for (int i = 0; i < RUNS; i++) {
		write_copy(bad, mutate(n));
		seen[run_copy() & 511]++;
	}
	CHECK(seen[77] > RUNS / 10); /* refused */
	write_copy(good, n);
	CHECK(run_copy() == 5 && unlink(COPY) == 0);
	printf("elf_mutants: %d ran, %d refused, %d failures\n", seen[5], seen[77], failures);
	return failures != 0;
}
