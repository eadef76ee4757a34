/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID of others: a descriptor belongs to the space that was there when it was opened; texts of
 * many areas are whole; frame numbers are for those who have the right to see them; a process may
 * end while it is looked at.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096l
#define RW   (PROT_READ | PROT_WRITE)
#define MAGIC 0x4d414749

static volatile int magic = MAGIC;

static int open_of(int pid, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, flags);
}

/* The child runs this program anew, is looked at through old descriptors, and says what it has. */
static void another_program(char *self)
{
	int ready[2], go[2], pid, mem, maps, pagemap;
	char c, text[64];

	CHECK(pipe(ready) == 0 && pipe(go) == 0);
	pid = fork();
	if (!pid) {
		char fd0[16], fd1[16];
		char *argv[] = {self, fd0, fd1, NULL};

		snprintf(fd0, sizeof(fd0), "%d", ready[1]);
		snprintf(fd1, sizeof(fd1), "%d", go[0]);
		if (read(go[0], &c, 1) == 1)
			execv(self, argv);
		_exit(1);
	}
	mem = open_of(pid, "mem", O_RDWR);
	maps = open_of(pid, "maps", O_RDONLY);
	pagemap = open_of(pid, "pagemap", O_RDONLY);
	CHECK(mem >= 0 && maps >= 0 && pagemap >= 0);
	CHECK(pread(mem, text, 4, (long)&magic) == 4 && !memcmp(text, "IGAM", 4));
	CHECK(pread(maps, text, 8, 0) == 8);
	CHECK(write(go[1], "x", 1) == 1 && read(ready[0], &c, 1) == 1);
	CHECK(pread(mem, text, 4, (long)&magic) == 0);
	CHECK(pwrite(mem, "zzzz", 4, (long)&magic) == 0);
	CHECK(pread(maps, text, 8, 0) == 0);
	CHECK(pread(pagemap, text, 8, (long)&magic / PAGE * 8) == 0);
	CHECK(write(go[1], "x", 1) == 1);
	CHECK(status_of(pid) == 0);
	close(mem);
	close(maps);
	close(pagemap);
}

static int lines(const char *path)
{
	static char b[65536];
	int fd = open(path, O_RDONLY), n = 0;
	long r;

	while ((r = read(fd, b, sizeof(b))) > 0)
		for (long i = 0; i < r; i++)
			n += b[i] == '\n';
	close(fd);
	return r < 0 ? -1 : n;
}

static void many_areas(void)
{
	enum { AREAS = 7000 };
	char *p = mmap(NULL, AREAS * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	int maps = lines("/proc/self/maps"), a_map = lines("/proc/self/smaps") / maps, now;

	CHECK(maps > 0 && a_map > 5);
	for (long i = 1; i < AREAS; i += 2)
		CHECK(mprotect(p + i * PAGE, PAGE, PROT_READ) == 0);
	now = lines("/proc/self/maps");
	CHECK(now == maps + AREAS - 1);
	CHECK(lines("/proc/self/smaps") == now * a_map);
	munmap(p, AREAS * PAGE);
}

/* A text in odd pieces and from odd places is the same text. */
static void read_in_pieces(void)
{
	char *whole = malloc(1 << 20), *again = malloc(1 << 20);
	int fd = open("/proc/self/smaps", O_RDONLY);
	long len = 0, r, at = 0;

	while ((r = read(fd, whole + len, 65536)) > 0)
		len += r;
	CHECK(len > 1000);
	lseek(fd, 0, SEEK_SET);
	while ((r = read(fd, again + at, 37)) > 0)
		at += r;
	CHECK(at == len);
	for (long k = len - 1; k > 0; k -= 97)
		CHECK(pread(fd, again, 1, k) == 1);
	CHECK(pread(fd, again, 1, len) == 0);
	close(fd);
	free(whole);
	free(again);
}

static void frames_are_shown_to_some(void)
{
	struct { uint32_t version; int pid; } head = {0x20080522, 0};
	struct { uint32_t effective, permitted, inheritable; } none[2] = {{0}};
	const uint64_t frame = (1ull << 55) - 1;
	int before = open_of(getpid(), "pagemap", O_RDONLY), pid;
	uint64_t word = 0;

	CHECK(pread(before, &word, 8, (long)&magic / PAGE * 8) == 8 && word & frame);
	pid = fork();
	if (!pid) {
		int own;

		CHECK(syscall(SYS_capset, &head, none) == 0);
		own = open("/proc/self/pagemap", O_RDONLY);
		CHECK(pread(own, &word, 8, (long)&magic / PAGE * 8) == 8);
		CHECK(word >> 63 && !(word & frame));
		/* What counts is who opened it. */
		CHECK(pread(before, &word, 8, (long)&magic / PAGE * 8) == 8 && word & frame);
		_exit(failures);
	}
	CHECK(status_of(pid) == 0);
	close(before);
}

static void looked_at_while_it_ends(void)
{
	for (int round = 0; round < 20; round++) {
		int pid = fork(), mem, maps;
		char b[256];
		struct iovec to = {b, 8}, from = {(void *)&magic, 8};

		if (!pid) {
			mmap(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
			for (;;)
				;
		}
		mem = open_of(pid, "mem", O_RDONLY);
		maps = open_of(pid, "maps", O_RDONLY);
		usleep(1000 * round);
		kill(pid, SIGKILL);
		for (int k = 0; k < 10; k++) {
			long r = pread(mem, b, 8, (long)&magic);

			CHECK(r == 8 || r == 0);
			r = pread(maps, b, sizeof(b), 0);
			CHECK(r >= 0 || errno == ESRCH);
			r = process_vm_readv(pid, &to, 1, &from, 1, 0);
			CHECK(r == 8 || (r == -1 && errno == ESRCH));
			sched_yield();
		}
		CHECK(status_of(pid) == 256 + SIGKILL);
		CHECK(pread(mem, b, 8, (long)&magic) == 0);
		CHECK(pread(maps, b, 8, 0) == -1 && errno == ESRCH);
		close(mem);
		close(maps);
	}
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		char c;

		if (write(atoi(argv[1]), "x", 1) != 1 || read(atoi(argv[2]), &c, 1) != 1)
			return 1;
		return magic != MAGIC;
	}
	another_program(argv[0]);
	read_in_pieces();
	many_areas();
	frames_are_shown_to_some();
	looked_at_while_it_ends();
	printf("%d failures\n", failures);
	return failures != 0;
}
