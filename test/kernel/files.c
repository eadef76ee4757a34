/* SPDX-License-Identifier: MIT */
/*
 * A file system on a disk: mounted, written to by calls and by mappings, cut, punched, renamed; unmounted,
 * and mounted again, by this program or by the next one, with the same bytes. The argument says which:
 *
 *   first   an image with /hello and /dir/deep (test/kernel/files.py made it) gets more files
 *   again   what the first one left is there; half of it goes
 *   bad     an image that was damaged: errors, and nothing worse
 *   full    it is written to until there is no room
 *
 * On a real Linux too: ./quire exec --disk FILE linux-5.10.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "check.h"

#define M    "/mnt"
#define BIG  (5u << 20) /* into the blocks that name blocks that name blocks, with 1 KiB ones */
#define PAGE 4096u

static unsigned char buf[BIG], want[BIG];
static const char *disk;

static void fill(unsigned char *p, size_t n, uint64_t at, unsigned which)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(mix((at + i) / 8 + which * 0x10001) >> (at + i) % 8 * 8);
}

/* The file holds n bytes, and those of p. */
static void holds(const char *path, const unsigned char *p, size_t n)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	CHECK(fd >= 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (off_t)n);
	memset(buf, 0xee, n);
	CHECK(read(fd, buf, n) == (ssize_t)n);
	for (size_t i = 0; i < n; i++)
		if (buf[i] != p[i]) {
			printf("%s: byte %zu is %#x, not %#x\n", path, i, buf[i], p[i]);
			failures++;
			break;
		}
	close(fd);
}

static void make(const char *path, const unsigned char *p, size_t n)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0);
	CHECK(write(fd, p, n) == (ssize_t)n);
	CHECK(close(fd) == 0);
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	CHECK(d);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void up(void)
{
	CHECK(mount(disk, M, "ext2", 0, NULL) == 0);
}

static void down(void)
{
	CHECK(umount(M) == 0);
}

/* A mapping's stores: msync, the file's end, a hole, a private one that stays away. */
static void mapped(void)
{
	int fd = open(M "/mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned char *p, *q;

	CHECK(ftruncate(fd, 10 * PAGE + 100) == 0);
	p = mmap(NULL, 11 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	q = mmap(NULL, 11 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && q != MAP_FAILED);
	memset(want, 0, 11 * PAGE);
	for (unsigned i = 0; i < 11; i += 2) {
		fill(p + i * PAGE, 100, i, 3);
		fill(want + i * PAGE, 100, i, 3);
	}
	memset(q, 0x77, 10 * PAGE);
	memset(p + 10 * PAGE + 100, 0x55, 50); /* behind the end */
	CHECK(msync(p, 11 * PAGE, MS_SYNC) == 0);
	p[3 * PAGE] = want[3 * PAGE] = 0x42; /* after it was written out */
	CHECK(pwrite(fd, "call", 4, 5 * PAGE + 10) == 4);
	memcpy(want + 5 * PAGE + 10, "call", 4);
	CHECK(!memcmp(p + 5 * PAGE + 10, "call", 4));
	CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
	p[7 * PAGE + 1] = want[7 * PAGE + 1] = 0x43;
	CHECK(munmap(p, 11 * PAGE) == 0 && munmap(q, 11 * PAGE) == 0);
	CHECK(close(fd) == 0);
	holds(M "/mapped", want, 10 * PAGE + 100);
}

static void mapped_is_there(void)
{
	memset(want, 0, 11 * PAGE);
	for (unsigned i = 0; i < 11; i += 2)
		fill(want + i * PAGE, 100, i, 3);
	want[3 * PAGE] = 0x42;
	memcpy(want + 5 * PAGE + 10, "call", 4);
	want[7 * PAGE + 1] = 0x43;
	holds(M "/mapped", want, 10 * PAGE + 100);
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
	siglongjmp(bus, 1);
}

static int faults(volatile unsigned char *p)
{
	if (sigsetjmp(bus, 1))
		return 1;
	*p = 1;
	return 0;
}

/* Shorter, longer, a hole in the middle: with a mapping that looks on. */
static void cut(void)
{
	int fd = open(M "/cut", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned char *p;
	struct stat st;

	signal(SIGBUS, on_bus);
	fill(want, 300000, 0, 4);
	CHECK(write(fd, want, 300000) == 300000);
	p = mmap(NULL, 80 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && p[70 * PAGE] == want[70 * PAGE]);
	CHECK(ftruncate(fd, 100001) == 0);
	CHECK(faults(p + 70 * PAGE) && faults(p + 25 * PAGE) && !faults(p + 24 * PAGE));
	want[24 * PAGE] = 1;
	CHECK(ftruncate(fd, 200000) == 0);
	memset(want + 100001, 0, 200000 - 100001);
	CHECK(p[100001] == 0 && p[40 * PAGE] == 0);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 9000, 41000) == 0);
	memset(want + 9000, 0, 41000);
	CHECK(p[8999] == want[8999] && p[9000] == 0 && p[50000] == want[50000]);
	CHECK(fallocate(fd, 0, 0, 1000) == -1 && errno == EOPNOTSUPP);
	CHECK(fsync(fd) == 0 && fstat(fd, &st) == 0);
	CHECK(st.st_blocks < 200000 / 512 && st.st_blocks > 0);
	CHECK(munmap(p, 80 * PAGE) == 0 && close(fd) == 0);
	holds(M "/cut", want, 200000);
}

static void names(void)
{
	char path[64], text[300];
	struct stat st;

	CHECK(mkdir(M "/sub", 0755) == 0 && mkdir(M "/sub", 0755) == -1 && errno == EEXIST);
	CHECK(stat(M "/sub", &st) == 0 && S_ISDIR(st.st_mode) && st.st_nlink == 2);
	CHECK(mkdir(M "/sub/sub", 0755) == 0 && stat(M "/sub", &st) == 0 && st.st_nlink == 3);
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), M "/sub/file-with-a-long-name-%03d", i);
		make(path, (const unsigned char *)path, strlen(path));
	}
	CHECK(entries(M "/sub") == 203);
	for (int i = 0; i < 200; i += 2) {
		snprintf(path, sizeof(path), M "/sub/file-with-a-long-name-%03d", i);
		CHECK(unlink(path) == 0);
	}
	CHECK(entries(M "/sub") == 103);
	CHECK(rmdir(M "/sub") == -1 && errno == ENOTEMPTY);
	CHECK(link(M "/hello", M "/sub/other") == 0 && stat(M "/hello", &st) == 0 && st.st_nlink == 2);
	CHECK(symlink("sub/other", M "/short") == 0);
	memset(text, 'x', 200);
	memcpy(text + 200, "/../", 5);
	CHECK(symlink(text, M "/long") == 0);
	memset(buf, 0, 300);
	CHECK(readlink(M "/long", (char *)buf, 300) == 204 && !strcmp((char *)buf, text));
	holds(M "/short", (const unsigned char *)"hello, disk\n", 12);
	CHECK(rename(M "/sub/file-with-a-long-name-001", M "/moved") == 0);
	CHECK(rename(M "/sub/sub", M "/up") == 0);
	CHECK(stat(M "/sub", &st) == 0 && st.st_nlink == 2);
	CHECK(stat(M "/up/..", &st) == 0 && st.st_ino == 2);
	CHECK(rename(M "/moved", M "/sub/file-with-a-long-name-003") == 0); /* over another */
	CHECK(rename(M "/up", M "/up/below") == -1 && errno == EINVAL);
	CHECK(rename(M "/hello", "/hello") == -1 && errno == EXDEV);
	CHECK(link(M "/hello", "/hello") == -1 && errno == EXDEV);
	CHECK(chmod(M "/hello", 0640) == 0);
	CHECK(unlink(M "/nothing") == -1 && errno == ENOENT);
	CHECK(open(M "/hello/below", O_RDONLY) == -1 && errno == ENOTDIR);
}

static void names_are_there(void)
{
	char path[64];
	struct stat st;

	CHECK(entries(M "/sub") == 102);
	for (int i = 5; i < 200; i += 2) {
		snprintf(path, sizeof(path), M "/sub/file-with-a-long-name-%03d", i);
		holds(path, (const unsigned char *)path, strlen(path));
	}
	holds(M "/sub/file-with-a-long-name-003", (const unsigned char *)M "/sub/file-with-a-long-name-001", 34);
	CHECK(stat(M "/hello", &st) == 0 && st.st_nlink == 2 && (st.st_mode & 07777) == 0640);
	holds(M "/short", (const unsigned char *)"hello, disk\n", 12);
	CHECK(stat(M "/up", &st) == 0 && st.st_nlink == 2);
}

/* A file without a name lives as long as somebody has it. */
static void nameless(void)
{
	int fd = open(M "/gone", O_RDWR | O_CREAT, 0600);
	struct statfs before, after;
	struct stat st;

	CHECK(syncfs(fd) == 0 && statfs(M, &before) == 0);
	CHECK(unlink(M "/gone") == 0);
	fill(want, 100000, 0, 9);
	CHECK(write(fd, want, 100000) == 100000 && fsync(fd) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0);
	CHECK(umount(M) == -1 && errno == EBUSY);
	CHECK(pread(fd, buf, 100000, 0) == 100000 && !memcmp(buf, want, 100000));
	CHECK(close(fd) == 0);
	sync();
	CHECK(statfs(M, &after) == 0 && after.f_bfree == before.f_bfree && after.f_ffree == before.f_ffree + 1);
}

static void first(void)
{
	struct statfs s;

	up();
	CHECK(mount(disk, M, "ext2", 0, NULL) == -1 && errno == EBUSY);
	CHECK(statfs(M, &s) == 0 && s.f_type == 0xef53 && s.f_bfree && s.f_bfree < s.f_blocks);
	holds(M "/hello", (const unsigned char *)"hello, disk\n", 12);
	holds(M "/dir/deep", (const unsigned char *)"deeper\n", 7);
	CHECK(entries(M) == 5); /* lost+found too */
	fill(want, BIG, 0, 1);
	make(M "/big", want, BIG);
	mapped();
	cut();
	names();
	nameless();
	down();
	CHECK(access(M "/hello", F_OK) == -1 && errno == ENOENT);
	up();
	fill(want, BIG, 0, 1);
	holds(M "/big", want, BIG);
	mapped_is_there();
	names_are_there();
	down();
}

static void again(void)
{
	int fd;

	up();
	fill(want, BIG, 0, 1);
	holds(M "/big", want, BIG);
	mapped_is_there();
	names_are_there();
	fill(want, BIG, 0, 1);
	fd = open(M "/big", O_WRONLY);
	CHECK(pwrite(fd, "in the middle", 13, BIG / 2) == 13 && close(fd) == 0);
	memcpy(want + BIG / 2, "in the middle", 13);
	CHECK(truncate(M "/big", BIG - 1000) == 0);
	holds(M "/big", want, BIG - 1000);
	CHECK(unlink(M "/mapped") == 0 && unlink(M "/long") == 0 && rmdir(M "/up") == 0);
	down();
	CHECK(mount(disk, M, "ext2", MS_RDONLY, NULL) == 0);
	holds(M "/big", want, BIG - 1000);
	CHECK(open(M "/big", O_RDWR) == -1 && errno == EROFS);
	CHECK(mkdir(M "/no", 0700) == -1 && errno == EROFS);
	CHECK(unlink(M "/big") == -1 && errno == EROFS);
	down();
}

/* Looks at everything that can be found, and changes it. */
static void wander(const char *path, int depth)
{
	char below[600];
	struct dirent *e;
	struct stat st;
	DIR *d;
	int fd;

	if (depth > 20 || lstat(path, &st))
		return;
	if (S_ISREG(st.st_mode)) {
		fd = open(path, O_RDWR);
		if (fd >= 0) {
			(void)!read(fd, buf, 65536);
			(void)!pwrite(fd, "!", 1, st.st_size / 2);
			(void)!ftruncate(fd, st.st_size / 3);
			fsync(fd);
			close(fd);
		}
		return;
	}
	if (S_ISLNK(st.st_mode)) {
		(void)!readlink(path, (char *)buf, 4096);
		return;
	}
	d = S_ISDIR(st.st_mode) ? opendir(path) : NULL;
	while (d && (e = readdir(d)) != NULL) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(below, sizeof(below), "%.300s/%.255s", path, e->d_name);
		wander(below, depth + 1);
	}
	if (d)
		closedir(d);
	snprintf(below, sizeof(below), "%.300s/new", path);
	fd = open(below, O_RDWR | O_CREAT, 0600);
	if (fd >= 0) {
		(void)!write(fd, buf, 20000);
		close(fd);
		unlink(below);
	}
}

static void bad(void)
{
	if (mount(disk, M, "ext2", 0, NULL)) {
		printf("mount: %s\n", strerror(errno));
		return;
	}
	wander(M, 0);
	sync();
	CHECK(umount(M) == 0);
}

static void full(void)
{
	size_t total = 0;
	unsigned char *p;
	ssize_t n;
	int fd;

	up();
	fd = open(M "/all", O_RDWR | O_CREAT, 0600);
	fill(want, BIG, 0, 7);
	while ((n = write(fd, want, BIG)) > 0)
		total += (size_t)n;
	CHECK(n == -1 && errno == ENOSPC && total > 100000);
	CHECK(fsync(fd) == 0);
	signal(SIGBUS, on_bus);
	CHECK(ftruncate(fd, (off_t)total + 100 * PAGE) == 0);
	p = mmap(NULL, total + 100 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && faults(p + (total & ~(size_t)(PAGE - 1)) + 50 * PAGE));
	CHECK(!faults(p) && p[0] == 1);
	CHECK(munmap(p, total + 100 * PAGE) == 0);
	CHECK(mkdir(M "/none", 0700) == -1 && errno == ENOSPC);
	CHECK(close(fd) == 0 && unlink(M "/all") == 0);
	CHECK(mkdir(M "/some", 0700) == 0);
	down();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "first";

	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mkdir(M, 0755);
	disk = access("/dev/vda", F_OK) ? "/dev/nvme0n1" : "/dev/vda";
	if (!strcmp(what, "first"))
		first();
	else if (!strcmp(what, "again"))
		again();
	else if (!strcmp(what, "full"))
		full();
	else
		bad();
	CHECK(rmdir(M) == 0); /* what lies there is memory, too */
	printf("%s: %d failures\n", what, failures);
	return failures != 0;
}
