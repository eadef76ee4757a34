/* SPDX-License-Identifier: MIT */
/*
 * Lets every allocation of a fork, an exec and what follows fail, one after the other
 * (/proc/quire/inject): each time somebody gets ENOMEM or is killed, the kernel stays, and at the
 * end no page is missing (the kernel says so itself when it ends).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define MOST 80

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		failures++;
	close(fd);
}

static void child(void)
{
	char *p = malloc(300000), *q, buf[2000];
	int fd = memfd_create("x", 0), ends[2];

	if (p)
		memset(p, 1, 300000);
	if (fd < 0 || ftruncate(fd, 50000) || pipe(ends))
		_exit(6);
	q = mmap(NULL, 50000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (q == MAP_FAILED)
		_exit(6);
	memset(q, 2, 50000);
	fd = open("/proc/self/maps", O_RDONLY);
	_exit(read(fd, buf, sizeof(buf)) > 0 ? 5 : 6);
}

static int try(char *self, const char *kind, int nth)
{
	char order[40], *argv[] = {self, "child", NULL};
	pid_t pid, inner;
	int st;

	pid = fork();
	if (!pid) {
		snprintf(order, sizeof(order), "%s %d", kind, nth);
		put("/proc/quire/inject", order);
		inner = fork();
		if (inner < 0)
			_exit(70);
		if (!inner) {
			execv(self, argv);
			_exit(71);
		}
		st = status_of(inner);
		_exit(st >= 256 ? 100 + st - 256 : st);
	}
	st = status_of(pid);
	put("/proc/quire/inject", "page 0");
	put("/proc/quire/inject", "slab 0");
	return st;
}

int main(int argc, char **argv)
{
	int fine = 0, hit = 0, r;

	if (argc > 1)
		child();
	for (int kind = 0; kind < 2; kind++)
		for (int n = 1; n < MOST; n++) {
			r = try(argv[0], kind ? "slab" : "page", n);
			CHECK(r >= 0);
			fine += r == 5;
			hit += r != 5;
		}
	CHECK(hit > 20 && try(argv[0], "page", 0) == 5);
	printf("no_memory: %d unharmed, %d failures\n", fine, failures);
	return failures != 0;
}
