/* SPDX-License-Identifier: MIT */
/*
 * O_DIRECT: what can be opened so, what has to be aligned, and that calls past the page cache, calls by way of it and
 * mappings see the same bytes; that the disk has them when a write returns, and the cache has not. Random operations
 * are compared with a copy in memory, and what is left after the next mount. On a real Linux too:
 * ./quire exec --disk FILE linux-5.10.
 *
 * With "seed N" the random part goes by another number.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "disk.h"

#define M    "/mnt"
#define PAGE 4096u
#define FILE_MOST (96 * PAGE)

static unsigned char *mem; /* page-aligned memory to move to and from */
static unsigned char want[FILE_MOST], got[FILE_MOST] __attribute__((aligned(512)));
static uint64_t which;

static int is_quire(void)
{
	return !access("/proc/quire", F_OK);
}

static int open_as(const char *path, int flags)
{
	int fd = open(path, O_RDWR | flags, 0600);

	CHECK(fd >= 0);
	return fd;
}

static void opens(void)
{
	int fd = open_as(M "/opens", O_CREAT | O_DIRECT), other;

	CHECK(fcntl(fd, F_GETFL) & O_DIRECT);
	CHECK(fcntl(fd, F_SETFL, 0) == 0 && !(fcntl(fd, F_GETFL) & O_DIRECT));
	CHECK(fcntl(fd, F_SETFL, O_DIRECT | O_APPEND) == 0 &&
	      (fcntl(fd, F_GETFL) & (O_DIRECT | O_APPEND)) == (O_DIRECT | O_APPEND));
	close(fd);
	fd = open(M, O_RDONLY | O_DIRECT | O_DIRECTORY);
	CHECK(fd >= 0 || !is_quire()); /* ext2 can, ext4, which stands for it there, not */
	close(fd);
	CHECK(open("/dev/null", O_RDWR | O_DIRECT) == -1 && errno == EINVAL);
	fd = open("/in-memory", O_RDWR | O_CREAT, 0600);
	other = open("/in-memory", O_RDWR | O_DIRECT);
	CHECK(fd >= 0 && other == -1 && errno == EINVAL);
	CHECK(fcntl(fd, F_SETFL, O_DIRECT) == -1 && errno == EINVAL);
	close(fd);
	CHECK(unlink("/in-memory") == 0 && unlink(M "/opens") == 0);
}

/* n bytes by the cache, not yet on the disk. */
static int filled(const char *name, size_t n)
{
	int fd = open_as(name, O_CREAT | O_TRUNC);

	pattern(want, FILE_MOST, ++which);
	CHECK(write(fd, want, n) == (ssize_t)n);
	return fd;
}

static void alignment(void)
{
	int fd = filled(M "/aligned", 3 * PAGE + 700), d = open_as(M "/aligned", O_DIRECT);
	struct iovec v[3] = {{mem, 512}, {mem + PAGE + 512, 1024}, {mem + 4 * PAGE, 2 * PAGE}};

	CHECK(pread(d, mem, 512, 0) == 512 && pread(d, mem + 512, 1024, 1536) == 1024);
	CHECK(!memcmp(mem, want, 512) && !memcmp(mem + 512, want + 1536, 1024));
	CHECK(pread(d, mem + 1, 512, 0) == -1 && errno == EINVAL);
	CHECK(pread(d, mem, 511, 0) == -1 && errno == EINVAL);
	CHECK(pread(d, mem, 512, 100) == -1 && errno == EINVAL);
	CHECK(pwrite(d, mem + 8, 512, 0) == -1 && errno == EINVAL);
	CHECK(pwrite(d, mem, 1000, 0) == -1 && errno == EINVAL);
	CHECK(pwrite(d, mem, 512, 256) == -1 && errno == EINVAL);
	CHECK(pread(d, mem, 512, 4 * PAGE) == 0 && pread(d, mem + 3, 77, 5 * PAGE + 1) == 0); /* behind the end */
	CHECK(pread(d, mem + 3, 0, 1) == 0 && pwrite(d, mem + 3, 0, 1) == 0);
	CHECK(pread(d, mem, 2 * PAGE, 2 * PAGE) == PAGE + 700 && !memcmp(mem, want + 2 * PAGE, PAGE + 700));
	CHECK(preadv(d, v, 3, 512) == 512 + 1024 + 2 * PAGE);
	CHECK(!memcmp(mem, want + 512, 512) && !memcmp(mem + PAGE + 512, want + 1024, 1024) &&
	      !memcmp(mem + 4 * PAGE, want + 2048, 2 * PAGE));
	v[1].iov_len = 1000;
	CHECK(preadv(d, v, 3, 512) == -1 && errno == EINVAL);
	CHECK(pwritev(d, v, 3, 512) == -1 && errno == EINVAL);
	CHECK(pread(d, (void *)4096, 512, 0) == -1 && errno == EFAULT);
	CHECK(pread(d, mem, PAGE, -512) == -1 && errno == EINVAL);
	/* The position, and the end of it. */
	CHECK(lseek(d, 0, SEEK_SET) == 0 && read(d, mem, 4 * PAGE) == 3 * PAGE + 700);
	CHECK(lseek(d, 0, SEEK_CUR) == 3 * PAGE + 700);
	CHECK(read(d, mem, 512) == 0 || errno == EINVAL);
	close(d);
	/* A disk as a file has the same rules. */
	d = open(disk_name(), O_RDONLY | O_DIRECT);
	CHECK(pread(d, mem, 512, 1024) == 512 && mem[56] == 0x53 && mem[57] == 0xef);
	CHECK(pread(d, mem + 4, 512, 0) == -1 && errno == EINVAL);
	CHECK(pread(d, mem, 100, 0) == -1 && errno == EINVAL);
	CHECK(pread(d, mem, 512, 8) == -1 && errno == EINVAL);
	close(d);
	close(fd);
	CHECK(unlink(M "/aligned") == 0);
}

/* Pages of the file that are in memory. */
static unsigned cached(int fd, unsigned pages)
{
	static unsigned char vec[FILE_MOST / PAGE];
	unsigned n = 0;
	void *p = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED && mincore(p, pages * PAGE, vec) == 0);
	for (unsigned i = 0; i < pages; i++)
		n += vec[i] & 1;
	munmap(p, pages * PAGE);
	return n;
}

static void past_the_cache(void)
{
	int fd = filled(M "/past", 8 * PAGE), d = open_as(M "/past", O_DIRECT);
	unsigned char *map = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	long at;

	/* What is dirty is written out for a read, and stays in memory. */
	CHECK(sector_of(which) < 0);
	map[5 * PAGE] = want[5 * PAGE] = 0x77;
	CHECK(pread(d, mem, 8 * PAGE, 0) == 8 * PAGE && !memcmp(mem, want, 8 * PAGE));
	CHECK(sector_of(which) >= 0 && cached(fd, 8) == 8);

	/* A write takes it out, mapped or not; others keep theirs. */
	pattern(mem, 2 * PAGE, ++which);
	memcpy(want + 2 * PAGE, mem, 2 * PAGE);
	CHECK(pwrite(d, mem, 2 * PAGE, 2 * PAGE) == 2 * PAGE);
	CHECK(sector_of(which) >= 0 && cached(fd, 8) == 6);
	CHECK(!memcmp(map, want, 8 * PAGE));
	CHECK(pread(fd, got, 8 * PAGE, 0) == 8 * PAGE && !memcmp(got, want, 8 * PAGE));

	/* Without a page in memory none comes. */
	CHECK(munmap(map, 16 * PAGE) == 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	CHECK(cached(fd, 8) == 0);
	CHECK(pread(d, mem, 8 * PAGE, 0) == 8 * PAGE && !memcmp(mem, want, 8 * PAGE));
	CHECK(pwrite(d, mem, PAGE, 7 * PAGE) == PAGE);
	memcpy(want + 7 * PAGE, mem, PAGE);
	CHECK(cached(fd, 8) == 0);

	/* The file grows: whole blocks, then a part of one, then behind a hole. */
	pattern(mem, 4 * PAGE, ++which);
	CHECK(pwrite(d, mem, 4 * PAGE, 8 * PAGE) == 4 * PAGE && sector_of(which) >= 0);
	CHECK(lseek(fd, 0, SEEK_END) == 12 * PAGE);
	pattern(mem, 4 * PAGE, ++which);
	CHECK(pwrite(d, mem, 512, 12 * PAGE) == 512 && (at = sector_of(which)) >= 0);
	CHECK(lseek(fd, 0, SEEK_END) == 12 * PAGE + 512);
	CHECK(ftruncate(fd, 13 * PAGE) == 0 && pread(d, mem, PAGE, 12 * PAGE) == PAGE);
	for (unsigned i = 512; i < PAGE; i++)
		CHECK(mem[i] == 0);
	pattern(mem, PAGE, ++which);
	CHECK(pwrite(d, mem, PAGE, 20 * PAGE) == PAGE && sector_of(which) >= 0);
	CHECK(pread(d, mem, 8 * PAGE, 13 * PAGE) == 8 * PAGE);
	for (unsigned i = 0; i < 7 * PAGE; i++)
		CHECK(mem[i] == 0);

	/* Into the hole: by way of the cache, and on the disk all the same, and not in the cache. */
	pattern(mem, 8 * PAGE, ++which);
	CHECK(pwrite(d, mem, 8 * PAGE, 10 * PAGE) == 8 * PAGE && sector_of(which) >= 0);
	CHECK(pread(fd, got, 8 * PAGE, 10 * PAGE) == 8 * PAGE && !memcmp(mem, got, 8 * PAGE));
	CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	pattern(mem, PAGE, ++which);
	CHECK(pwrite(d, mem, PAGE, 19 * PAGE) == PAGE && sector_of(which) >= 0 && cached(fd, 21) == 0);

	/* The same bytes as the memory they come from. */
	map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memcpy(want, map, 8 * PAGE);
	CHECK(pwrite(d, map + PAGE, 2 * PAGE, 0) == 2 * PAGE);
	memcpy(got, want + PAGE, 2 * PAGE);
	CHECK(!memcmp(map, got, 2 * PAGE) || !is_quire());
	CHECK(pread(d, map + 4 * PAGE, 2 * PAGE, 6 * PAGE) == 2 * PAGE);
	CHECK(!memcmp(map + 4 * PAGE, want + 6 * PAGE, 2 * PAGE));
	munmap(map, 8 * PAGE);

	/* At the end, wherever it is. */
	close(d);
	d = open_as(M "/past", O_DIRECT | O_APPEND);
	CHECK(ftruncate(fd, PAGE) == 0 && write(d, mem, PAGE) == PAGE && lseek(d, 0, SEEK_CUR) == 2 * PAGE);
	CHECK(pread(fd, got, PAGE, PAGE) == PAGE && !memcmp(got, mem, PAGE));
	close(d);
	close(fd);
	CHECK(unlink(M "/past") == 0);
}

/* ---- memory that is shared, forked, not there --------------------------------------------------- */

static void forked(void)
{
	int fd = filled(M "/forked", 16 * PAGE), d = open_as(M "/forked", O_DIRECT);
	unsigned char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int child, other;

	/* Shared by copy-on-write: what is read comes to the one who asked. */
	memset(p, 0x11, 8 * PAGE);
	child = fork();
	if (!child) {
		usleep(100000);
		for (unsigned i = 0; i < 8 * PAGE; i++)
			if (p[i] != 0x11)
				_exit(1);
		_exit(pread(d, p, 8 * PAGE, 8 * PAGE) == 8 * PAGE && !memcmp(p, want + 8 * PAGE, 8 * PAGE) ? 0 : 2);
	}
	CHECK(pread(d, p, 16 * PAGE, 0) == 16 * PAGE && !memcmp(p, want, 16 * PAGE)); /* half of it never touched */
	CHECK(status_of(child) == 0);
	CHECK(!memcmp(p, want, 16 * PAGE));
	munmap(p, 16 * PAGE);
	/* Read-only memory is written from, and not to; what was never written to is zeros. */
	p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pread(d, p, PAGE, 0) == -1 && errno == EFAULT);
	CHECK(pwrite(d, p, 2 * PAGE, 4 * PAGE) == 2 * PAGE);
	memset(want + 4 * PAGE, 0, 2 * PAGE);
	CHECK(pread(fd, got, 16 * PAGE, 0) == 16 * PAGE && !memcmp(got, want, 16 * PAGE));
	munmap(p, 4 * PAGE);
	/* Another file's pages. */
	other = open_as(M "/other", O_CREAT | O_TRUNC);
	CHECK(ftruncate(other, 4 * PAGE) == 0);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	CHECK(pread(d, p, 3 * PAGE, PAGE) == 3 * PAGE && pread(other, got, 3 * PAGE, 0) == 3 * PAGE);
	CHECK(!memcmp(got, want + PAGE, 3 * PAGE));
	CHECK(fsync(other) == 0 && posix_fadvise(other, 0, 0, POSIX_FADV_DONTNEED) == 0 && munmap(p, 4 * PAGE) == 0);
	CHECK(pread(other, got, 3 * PAGE, 0) == 3 * PAGE && !memcmp(got, want + PAGE, 3 * PAGE));
	close(other);
	close(d);
	close(fd);
	CHECK(unlink(M "/forked") == 0 && unlink(M "/other") == 0);
}

/* ---- at random ---------------------------------------------------------------------------------- */

static uint64_t state;

static unsigned rnd(unsigned n)
{
	return (unsigned)((state = mix(state + 0x9e3779b97f4a7c15ull)) % n);
}

static size_t size;

static void grow(size_t to)
{
	if (to > size) {
		memset(want + size, 0, to - size);
		size = to;
	}
}

static void holds(int fd, const char *what, unsigned n)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0 && (size_t)st.st_size == size);
	CHECK(pread(fd, got, FILE_MOST, 0) == (ssize_t)size);
	for (size_t i = 0; i < size; i++)
		if (got[i] != want[i]) {
			printf("%s, after %u: byte %zu is %#x, not %#x\n", what, n, i, got[i], want[i]);
			failures++;
			return;
		}
}

static void one(int fd, int d, unsigned char *map)
{
	size_t at = rnd(FILE_MOST / 512 - 64) * 512, n = (rnd(4) ? 1 + rnd(8) : 1 + rnd(64)) * 512;
	size_t to = rnd(64) * 512;

	switch (rnd(7)) {
	case 0:
	case 1:
		pattern(mem + to, n, ++which);
		CHECK(pwrite(d, mem + to, n, at) == (ssize_t)n);
		grow(at + n);
		memcpy(want + at, mem + to, n);
		break;
	case 2:
		pattern(mem + to, n, ++which);
		CHECK(pwrite(fd, mem + to, n - 100, at + 50) == (ssize_t)(n - 100));
		grow(at + n - 50);
		memcpy(want + at + 50, mem + to, n - 100);
		break;
	case 3:
	case 4:
		memset(mem + to, 0xee, n);
		if (at < size && size - at < n)
			n = size - at;
		if (at >= size)
			n = 0;
		CHECK(pread(d, mem + to, (n + 511) / 512 * 512, at) == (ssize_t)n);
		if (memcmp(mem + to, want + at, n)) {
			printf("a direct read of %zu at %zu sees something else\n", n, at);
			failures++;
		}
		break;
	case 5:
		if (at + 9 < size) {
			memcpy(map + at, &at, 8);
			memcpy(want + at, &at, 8);
		}
		break;
	case 6:
		if (rnd(4))
			break;
		at = rnd(FILE_MOST);
		CHECK(ftruncate(fd, at) == 0);
		grow(at);
		size = at;
		break;
	}
}

static void at_random(unsigned steps)
{
	int fd = open_as(M "/random", O_CREAT | O_TRUNC), d = open_as(M "/random", O_DIRECT);
	unsigned char *map = mmap(NULL, FILE_MOST, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED);
	size = 0;
	for (unsigned i = 0; i < steps && !failures; i++) {
		one(fd, d, map);
		if (!(i % 16))
			holds(rnd(2) ? fd : d, "by calls", i);
		if (size && memcmp(map, want, size)) {
			printf("the mapping shows something else after %u\n", i);
			failures++;
		}
	}
	munmap(map, FILE_MOST);
	close(fd);
	close(d);
	CHECK(umount(M) == 0 && mount(disk_name(), M, "ext2", 0, NULL) == 0);
	fd = open_as(M "/random", 0);
	holds(fd, "after the next mount", steps);
	close(fd);
	CHECK(unlink(M "/random") == 0);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	mkdir(M, 0755);
	mem = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED && mount(disk_name(), M, "ext2", 0, NULL) == 0);
	opens();
	alignment();
	past_the_cache();
	forked();
	at_random(600);
	CHECK(umount(M) == 0 && rmdir(M) == 0);
	printf("%d failures\n", failures);
	return failures != 0;
}
