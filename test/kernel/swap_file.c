/* SPDX-License-Identifier: MIT */
/*
 * Swap files on the ext2 of /dev/vda, which has some megabytes of room. Exit status 0: all as on Linux 5.10. Runs on
 * any Linux too, as root, with such a disk.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096ul
#define DISK (access("/dev/vda", F_OK) ? "/dev/nvme0n1" : "/dev/vda")
#define A    "/mnt/a"
#define B    "/mnt/b"
#define NEAR "/mnt/near"
#define A_PAGES 1200ul
#define B_PAGES 500ul
#define MEM_PAGES 1500ul
#define NEAR_PAGES 100ul

#define FAILS(call, why) CHECK((errno = 0, (call)) == -1 && errno == (why))

/* mkswap's header for so many pages. */
static void header(char *page, uint32_t pages)
{
	uint32_t version = 1, last = pages - 1;

	memset(page, 0, PAGE);
	memcpy(page + 1024, &version, 4);
	memcpy(page + 1028, &last, 4);
	memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
}

static uint64_t pattern(unsigned long page, unsigned long word)
{
	return mix(page * 513 + word);
}

/* The next page of NEAR, so that it lies between pages of the file that is being written. */
static void put_near(int fd, unsigned long i)
{
	uint64_t words[512];

	for (unsigned long k = 0; k < 512; k++)
		words[k] = pattern(i + 100000, k);
	CHECK(write(fd, words, PAGE) == (ssize_t)PAGE);
}

/* A file of pages that says it has `says`; a hole at one of them, 0: none. Every twelfth is followed by one of the
 * file near, -1: none. */
static void make_beside(const char *path, unsigned long pages, unsigned long says, unsigned long hole, int near)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char page[PAGE];

	CHECK(fd >= 0);
	for (unsigned long i = 0; i < pages; i++) {
		if (i)
			memset(page, 0x5a, PAGE);
		else
			header(page, (uint32_t)says);
		if ((!hole || i != hole) && pwrite(fd, page, PAGE, (off_t)(i * PAGE)) != (ssize_t)PAGE) {
			CHECK(!"room");
			break;
		}
		if (near >= 0 && i % 12 == 11)
			put_near(near, i / 12);
	}
	CHECK(ftruncate(fd, (off_t)(pages * PAGE)) == 0);
	close(fd);
}

static void make(const char *path, unsigned long pages, unsigned long says, unsigned long hole)
{
	make_beside(path, pages, says, hole, -1);
}

/* A number of the line of /proc/swaps that begins with the path: 0 the size, 1 what is used, 2 the priority; and
 * the type. -1: there is no such line. */
static long shown(const char *path, int which, char type[20])
{
	char text[4096], name[100];
	int fd = open("/proc/swaps", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	long v[3];

	close(fd);
	text[n > 0 ? n : 0] = 0;
	for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (sscanf(line, "%99s %19s %ld %ld %ld", name, type, &v[0], &v[1], &v[2]) == 5 && !strcmp(name, path))
			return v[which];
	return -1;
}

static void refused(void)
{
	char type[20];
	int fd;

	make("/mnt/hole", 40, 40, 17);
	make("/mnt/none", 40, 40, 0);
	make("/mnt/long", 40, 41, 0);
	fd = open("/mnt/none", O_RDWR);
	CHECK(pwrite(fd, "x", 1, PAGE - 3) == 1);
	close(fd);
	FAILS(swapon("/mnt/hole", 0), EINVAL);
	FAILS(swapon("/mnt/none", 0), EINVAL);
	FAILS(swapon("/mnt/long", 0), EINVAL);
	FAILS(swapon("/mnt/nothing", 0), ENOENT);
	FAILS(swapon("/mnt", 0), EISDIR);
	FAILS(swapon("/mnt/hole", 0x100000), EINVAL);
	make("/tmp/there", 40, 40, 0);
	FAILS(swapon("/tmp/there", 0), EINVAL); /* of no disk */
	FAILS(swapoff("/mnt/hole"), EINVAL);
	CHECK(shown("/mnt/hole", 0, type) == -1);
	/* Nothing is left of it. */
	fd = open("/mnt/hole", O_RDWR);
	CHECK(write(fd, "y", 1) == 1 && ftruncate(fd, 5) == 0);
	close(fd);
	CHECK(unlink("/mnt/hole") == 0 && unlink("/mnt/none") == 0 && unlink("/mnt/long") == 0);
	CHECK(unlink("/tmp/there") == 0);
}

/* What is forbidden while A is on. */
static void held_still(void)
{
	int fd = open(A, O_RDWR), ro = open(A, O_RDONLY);
	char byte, *p;

	CHECK(fd >= 0 && ro >= 0);
	FAILS(write(fd, "x", 1), ETXTBSY);
	FAILS(write(fd, "x", 0), ETXTBSY);
	FAILS(ftruncate(fd, 100), ETXTBSY);
	FAILS(ftruncate(fd, A_PAGES * PAGE), ETXTBSY);
	FAILS(truncate(A, 0), ETXTBSY);
	FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), ETXTBSY);
	FAILS(open(A, O_WRONLY | O_TRUNC), ETXTBSY);
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ETXTBSY);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && !memcmp(p + PAGE - 10, "SWAPSPACE2", 10));
	p[5] = 1; /* a copy */
	CHECK(munmap(p, PAGE) == 0);
	CHECK(pread(ro, &byte, 1, PAGE - 1) == 1 && byte == '2');
	FAILS(unlink(A), EPERM);
	FAILS(rename(A, "/mnt/c"), EPERM);
	FAILS(rename(NEAR, A), EPERM);
	CHECK(link(A, "/mnt/other") == 0); /* a name more does no harm, and stays as long */
	FAILS(unlink("/mnt/other"), EPERM);
	FAILS(swapon(A, 0), EBUSY);
	FAILS(swapon("/mnt/other", 0), EBUSY);
	close(fd);
	close(ro);
	FAILS(umount2("/mnt", 0), EBUSY);
}

static void check_near(void)
{
	int fd = open(NEAR, O_RDONLY);
	uint64_t words[512];

	for (unsigned long i = 0; i < NEAR_PAGES; i++) {
		CHECK(read(fd, words, PAGE) == (ssize_t)PAGE);
		if (words[0] != pattern(i + 100000, 0) || words[511] != pattern(i + 100000, 511)) {
			CHECK(!"a neighbour's bytes");
			break;
		}
	}
	close(fd);
}

/* More than the first file holds, out and in again; the file system goes on meanwhile. */
static void out_and_in(bool off_while_used)
{
	uint64_t *p = mmap(NULL, MEM_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long bad = 0;
	char type[20];

	for (unsigned long i = 0; i < MEM_PAGES; i++)
		for (unsigned long k = 0; k < 512; k++)
			p[i * 512 + k] = pattern(i, k);
	CHECK(madvise(p, MEM_PAGES * PAGE, MADV_PAGEOUT) == 0);
	CHECK(madvise(p, MEM_PAGES * PAGE, MADV_PAGEOUT) == 0); /* what was being written */
	CHECK(shown(A, 1, type) > 3000);
	CHECK(shown(B, 1, type) > 0); /* the rest */
	sync();
	check_near();
	if (off_while_used) {
		CHECK(swapoff(A) == 0);
		CHECK(shown(A, 0, type) == -1);
	}
	for (unsigned long i = 0; i < MEM_PAGES; i++)
		for (unsigned long k = 0; k < 512; k++)
			bad += p[i * 512 + k] != pattern(i, k);
	CHECK(!bad);
	munmap(p, MEM_PAGES * PAGE);
}

static int without_rights(void)
{
	int pid = fork();

	if (!pid) {
		struct {
			uint32_t version;
			int pid;
		} head = {0x20080522, 0};
		uint32_t data[6];

		failures = 0;
		CHECK(syscall(SYS_capget, &head, data) == 0);
		data[0] &= ~(1u << 21);
		CHECK(syscall(SYS_capset, &head, data) == 0);
		FAILS(swapon(A, 0), EPERM);
		FAILS(swapoff(A), EPERM);
		_exit(failures);
	}
	return status_of(pid);
}

int main(void)
{
	char type[20];
	int fd;

	mkdir("/mnt", 0755);
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	CHECK(mount(DISK, "/mnt", "ext2", 0, NULL) == 0);
	refused();
	fd = open(NEAR, O_RDWR | O_CREAT, 0600);
	make_beside(A, A_PAGES, A_PAGES, 0, fd);
	close(fd);
	make(B, B_PAGES, B_PAGES, 0);
	CHECK(without_rights() == 0);
	CHECK(swapon(B, 0) == 0);
	CHECK(swapon(A, SWAP_FLAG_PREFER | 7) == 0);
	CHECK(shown(A, 0, type) <= (long)(A_PAGES - 1) * 4 && shown(A, 0, type) > (long)(A_PAGES - 130) * 4);
	CHECK(!strcmp(type, "file") && shown(A, 1, type) == 0 && shown(A, 2, type) == 7);
	CHECK(shown(B, 0, type) > 0 && !strcmp(type, "file") && shown(B, 2, type) < 0);
	held_still();
	out_and_in(false);
	out_and_in(true);
	CHECK(swapoff(B) == 0);
	FAILS(swapoff(B), EINVAL);
	/* They are files as any again. */
	fd = open(A, O_RDWR);
	CHECK(write(fd, "again", 5) == 5 && ftruncate(fd, 5) == 0);
	close(fd);
	CHECK(unlink("/mnt/other") == 0 && rename(B, A) == 0 && unlink(A) == 0);
	CHECK(umount2("/mnt", 0) == 0);
	CHECK(mount(DISK, "/mnt", "ext2", 0, NULL) == 0);
	check_near();
	/* One stays on to the end. */
	make(A, 100, 100, 0);
	CHECK(swapon(A, 0) == 0);
	printf(failures ? "%d checks failed\n" : "swap_file: all as expected\n", failures);
	return failures != 0;
}
