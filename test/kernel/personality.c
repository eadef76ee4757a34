/* SPDX-License-Identifier: MIT */
/*
 * personality(): what it answers, who inherits it, and what its flags do: readable memory is executable,
 * places of a new program are not random, areas go from the bottom up, page 0 is mapped, and uname tells an
 * older release. "aslr": the machine randomises.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096ul
#define NOTHING 0xffffffffu
#define UNAME_26 0x0020000
#define NO_RANDOM 0x0040000
#define PAGE_ZERO 0x0100000
#define COMPAT	  0x0200000
#define READ_EXEC 0x0400000

static long persona(unsigned p)
{
	return syscall(SYS_personality, p);
}

/* The rights of what is mapped at p, as maps has them. */
static const char *rights(const void *p)
{
	static char r[8], line[512];
	unsigned long from, to;
	FILE *f = fopen("/proc/self/maps", "r");

	strcpy(r, "none");
	while (fgets(line, sizeof(line), f)) {
		char now[8];

		if (sscanf(line, "%lx-%lx %4s", &from, &to, now) == 3 && from <= (unsigned long)p && (unsigned long)p < to)
			strcpy(r, now);
	}
	fclose(f);
	return r;
}

static void *in_thread(void *arg)
{
	CHECK(persona(NOTHING) == (long)arg);
	CHECK(persona(0) == (long)arg);
	return NULL;
}

static void answers(void)
{
	pthread_t t;
	int pid;

	CHECK(persona(NOTHING) == 0);
	CHECK(persona(0x12345678 & ~READ_EXEC) == 0 && persona(NOTHING) == (0x12345678 & ~READ_EXEC));
	CHECK(persona(0xfffffffe) == (0x12345678 & ~READ_EXEC));
	CHECK((unsigned)persona(NO_RANDOM) == 0xfffffffe);
	pid = fork();
	if (!pid)
		_exit(persona(NOTHING) != NO_RANDOM);
	CHECK(status_of(pid) == 0);
	/* each thread has its own, which begins as its maker's */
	CHECK(pthread_create(&t, NULL, in_thread, (void *)NO_RANDOM) == 0 && pthread_join(t, NULL) == 0);
	CHECK(persona(NOTHING) == NO_RANDOM && persona(0) == NO_RANDOM);
}

static void readable_is_executable(void)
{
	char *before = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p, *heap;
	int fd;

	CHECK(persona(READ_EXEC) == 0);
	CHECK(!strcmp(rights(before), "rw-p"));
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(!strcmp(rights(p), "r-xp"));
	munmap(p, PAGE);
	p = mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(!strcmp(rights(p), "-w-p"));
	CHECK(mprotect(p, PAGE, PROT_READ | PROT_WRITE) == 0 && !strcmp(rights(p), "rwxp"));
	CHECK(mprotect(p, PAGE, PROT_NONE) == 0 && !strcmp(rights(p), "---p"));
	CHECK(mprotect(before, PAGE, PROT_READ) == 0 && !strcmp(rights(before), "r-xp"));
	fd = open("/proc/self/exe", O_RDONLY);
	munmap(p, PAGE);
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(!strcmp(rights(p), "r-xp"));
	munmap(p, PAGE);
	close(fd);
	heap = (char *)syscall(SYS_brk, 0);
	heap = (char *)(((unsigned long)heap + PAGE - 1) & ~(PAGE - 1));
	CHECK(syscall(SYS_brk, heap + 2 * PAGE) == (long)heap + 2 * (long)PAGE);
	CHECK(!strcmp(rights(heap), "rwxp") && !strcmp(rights(heap + PAGE), "rwxp"));
	CHECK(persona(0) == READ_EXEC);
	CHECK(syscall(SYS_brk, heap + 3 * PAGE) == (long)heap + 3 * (long)PAGE);
	CHECK(!strcmp(rights(heap + 2 * PAGE), "rw-p"));
	munmap(before, 2 * PAGE);
}

static void older_release(void)
{
	struct utsname u, old;
	unsigned a, b, c;
	int n = 0, m = 0;

	CHECK(uname(&u) == 0 && sscanf(u.release, "%u.%u.%u%n", &a, &b, &c, &n) == 3);
	CHECK(persona(UNAME_26) == 0);
	CHECK(uname(&old) == 0 && sscanf(old.release, "2.6.%u%n", &c, &m) == 1);
	CHECK(c == b + 60 && !strcmp(old.release + m, u.release + n));
	CHECK(persona(0) == UNAME_26);
}

struct places {
	unsigned long stack, map, heap, zero;
	long persona;
};

/* The new program's places, as it says them. */
static int places_of(unsigned p, struct places *out)
{
	int fds[2], pid;
	char number[16];

	CHECK(pipe(fds) == 0);
	snprintf(number, sizeof(number), "%d", fds[1]);
	pid = fork();
	if (!pid) {
		persona(p);
		execl("/proc/self/exe", "personality", "places", number, NULL);
		_exit(9);
	}
	CHECK(read(fds[0], out, sizeof(*out)) == sizeof(*out));
	close(fds[0]);
	close(fds[1]);
	return status_of(pid);
}

static int say_places(int fd)
{
	struct places p = {
		.stack = (unsigned long)&p,
		.map = (unsigned long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		.heap = (unsigned long)syscall(SYS_brk, 0),
		.zero = strcmp(rights(NULL), "none") != 0,
		.persona = persona(NOTHING),
	};

	return write(fd, &p, sizeof(p)) != sizeof(p);
}

static void new_programs(int aslr)
{
	struct places a, b;

	CHECK(places_of(NO_RANDOM, &a) == 0 && places_of(NO_RANDOM, &b) == 0);
	CHECK(a.stack == b.stack && a.map == b.map && a.heap == b.heap && a.persona == NO_RANDOM);
	CHECK(!a.zero);
	if (aslr) {
		CHECK(places_of(0, &a) == 0 && places_of(0, &b) == 0);
		CHECK(a.stack != b.stack && a.map != b.map && a.heap != b.heap);
	}
	CHECK(places_of(NO_RANDOM | COMPAT, &b) == 0 && b.map < a.map && b.map < b.stack / 2);
	CHECK(places_of(PAGE_ZERO, &b) == 0 && b.zero && b.persona == PAGE_ZERO);
#ifdef __x86_64__
	CHECK(places_of(READ_EXEC | NO_RANDOM, &b) == 0 && b.persona == NO_RANDOM);
#endif
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "places"))
		return say_places(atoi(argv[2]));
	answers();
	readable_is_executable();
	older_release();
	new_programs(argc > 1 && !strcmp(argv[1], "aslr"));
	printf("%d failures\n", failures);
	return failures != 0;
}
