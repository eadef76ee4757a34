/* SPDX-License-Identifier: MIT */
/*
 * A slow disk stalls only those who need the page: while one thread waits for a page of a file, by an access, by
 * mlock or by MAP_POPULATE, another one of the same space maps and unmaps. And what was waited for is one major
 * fault, though it was tried twice.
 *
 * The disk is /dev/vda, ext2, a few requests a second (files.py, slow). Runs on a real 5.10 too
 * (./quire exec --disk FILE linux-5.10), where the disk may be too fast to say anything.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define PAGE  4096u
#define PAGES 512u
#define SLOW  0.02 /* seconds: a wait worth looking at */
#define M     "/mnt"

static atomic_ulong pairs;
static atomic_int over;
static volatile unsigned char *map;
static int fd, waits, free_waits;

static void *maps_and_unmaps(void *arg)
{
	while (!over) {
		void *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(p != MAP_FAILED && munmap(p, 4 * PAGE) == 0);
		pairs++;
		usleep(200);
	}
	return arg;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static long major(void)
{
	struct rusage r;

	getrusage(RUSAGE_THREAD, &r);
	return r.ru_majflt;
}

/* Did the other thread get on meanwhile? With the space locked it could have ended two rounds. */
static void waited(const char *what, unsigned at, double since, unsigned long before)
{
	double took = now() - since;
	unsigned long others = pairs - before;

	if (took < SLOW)
		return;
	waits++;
	free_waits += others >= 3;
	if (others < 3)
		printf("%s, page %u: %.0f ms, and the space changed %lu times\n", what, at, took * 1e3, others);
}

static unsigned char stamp(unsigned i)
{
	return (unsigned char)(i * 7 + 1);
}

static void make_file(void)
{
	static unsigned char buf[PAGE];

	fd = open(M "/slow", O_RDWR | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0);
	for (unsigned i = 0; i < PAGES; i++) {
		memset(buf, stamp(i), PAGE);
		CHECK(write(fd, buf, PAGE) == PAGE);
	}
	CHECK(fsync(fd) == 0);
}

static void forget(void)
{
	CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
}

static void map_it(void)
{
	forget();
	map = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	CHECK(madvise((void *)map, PAGES * PAGE, MADV_RANDOM) == 0);
}

static void unmap_it(void)
{
	CHECK(munmap((void *)map, PAGES * PAGE) == 0);
}

static void accesses(void)
{
	map_it();
	for (unsigned i = 0; i < 16; i++) {
		unsigned at = i * 29 + 3;
		unsigned long before = pairs;
		double since = now();
		long was = major();

		CHECK(map[at * PAGE] == stamp(at));
		waited("accesses", at, since, before);
		CHECK(major() == was + 1);
		CHECK(map[at * PAGE] == stamp(at) && major() == was + 1);
	}
	unmap_it();
}

/* A private copy of a page that has to be read first. */
static void copies(void)
{
	unsigned char *p;

	forget();
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && madvise(p, PAGES * PAGE, MADV_RANDOM) == 0);
	for (unsigned i = 0; i < 6; i++) {
		unsigned at = i * 31 + 7;
		unsigned long before = pairs;
		double since = now();

		p[at * PAGE] = 0xee;
		waited("copies", at, since, before);
		CHECK(p[at * PAGE] == 0xee && p[at * PAGE + 1] == stamp(at));
	}
	CHECK(munmap(p, PAGES * PAGE) == 0);
}

static void locked(void)
{
	map_it();
	for (unsigned i = 0; i < 4; i++) {
		unsigned at = i * 40;
		unsigned long before = pairs;
		double since = now();
		long was = major();

		CHECK(mlock((void *)(map + at * PAGE), 2 * PAGE) == 0);
		waited("locked", at, since, before);
		CHECK(major() == was); /* its second try knows of no first one */
		CHECK(map[at * PAGE] == stamp(at) && map[(at + 1) * PAGE] == stamp(at + 1));
	}
	unmap_it();
}

/* What a call copies from there. */
static void written_from(void)
{
	int p[2];
	char c;

	map_it();
	CHECK(pipe(p) == 0);
	for (unsigned i = 0; i < 4; i++) {
		unsigned at = i * 50 + 9;
		unsigned long before = pairs;
		double since = now();

		CHECK(write(p[1], (void *)(map + at * PAGE), 1) == 1);
		waited("written from", at, since, before);
		CHECK(read(p[0], &c, 1) == 1 && (unsigned char)c == stamp(at));
	}
	unmap_it();
}

int main(int argc, char **argv)
{
	pthread_t t;

	setvbuf(stdout, NULL, _IONBF, 0);
	mkdir(M, 0755);
	mkdir("/dev", 0755);
	(void)mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (mount("/dev/vda", M, "ext2", 0, NULL)) {
		printf("no disk: nothing to be seen\n");
		return 0;
	}
	make_file();
	CHECK(pthread_create(&t, NULL, maps_and_unmaps, NULL) == 0);
	accesses();
	copies();
	locked();
	written_from();
	over = 1;
	CHECK(pthread_join(t, NULL) == 0);
	printf("%d waits, the space was free in %d of them\n", waits, free_waits);
	if (argc > 1) /* the disk is known to be slow */
		CHECK(waits >= 10 && free_waits * 10 >= waits * 8);
	close(fd);
	CHECK(umount(M) == 0);
	printf("%d failures\n", failures);
	return failures != 0;
}
