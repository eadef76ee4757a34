/* SPDX-License-Identifier: MIT */
/*
 * Random operations on files, each checked against a copy of the file in memory: calls and mappings, the end moved
 * either way, holes, everything that writes back or throws away. Processes run at the same time, each with a file of
 * its own, every second one in /tmp, the others on a disk, which is mounted anew at the end and looked at again.
 *
 *   fsx OPERATIONS SEED PROCESSES     operations are each process's
 *
 * The first wrong byte is said with the operations that came before. On a real Linux too:
 * ./quire exec --disk FILE linux-5.10, FILE an ext2 image.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

#define PAGE	  4096u
#define MOST	  (192u << 10) /* bytes of a file */
#define PROCESSES 16
#define KEPT	  16 /* operations that are told of */
#define SLOTS	  4  /* places for the mapping that is kept */

struct model {
	uint32_t size;
	unsigned char bytes[MOST]; /* zeros behind the size */
};

struct op {
	const char *name;
	uint32_t at, len;
};

struct fsx {
	struct model *m;
	const char *path;
	uint64_t seed, n;
	int fd;
	unsigned char *slots; /* SLOTS of MOST, nothing else is there */
	unsigned char *map;   /* one of them: all of the file, shared, for as long as it is open */
	unsigned char *buf;   /* MOST */
	struct op ops[KEPT];
};

static uint64_t rnd(struct fsx *f, uint64_t below)
{
	f->seed += 0x9e3779b97f4a7c15ull;
	return mix(f->seed) % below;
}

static void history(const struct fsx *f)
{
	for (uint64_t i = f->n >= KEPT ? f->n - KEPT + 1 : 0; i <= f->n; i++) {
		const struct op *o = &f->ops[i % KEPT];

		printf("%s: %llu: %s %u, %u bytes\n", f->path, (unsigned long long)i, o->name, o->at, o->len);
	}
}

static void fail(const struct fsx *f, const char *what, long is, long want)
{
	printf("%s: operation %llu: %s: %ld, not %ld (errno %d); the file has %u bytes\n", f->path,
	       (unsigned long long)f->n, what, is, want, errno, f->m->size);
	history(f);
	exit(1);
}

static void expect(const struct fsx *f, const char *what, long is, long want)
{
	if (is != want)
		fail(f, what, is, want);
}

static void same(const struct fsx *f, const char *what, const unsigned char *p, uint32_t at, uint32_t len)
{
	const unsigned char *want = f->m->bytes + at;

	if (!memcmp(p, want, len))
		return;
	for (uint32_t i = 0; i < len; i++)
		if (p[i] != want[i]) {
			printf("byte %u:\n", at + i);
			fail(f, what, p[i], want[i]);
		}
}

static struct op *note(struct fsx *f, const char *name, uint32_t at, uint32_t len)
{
	f->ops[f->n % KEPT] = (struct op){name, at, len};
	return &f->ops[f->n % KEPT];
}

/* A place in the file and a length that stays within most; some of them at borders of pages. */
static void range(struct fsx *f, uint32_t most, uint32_t *at, uint32_t *len)
{
	uint32_t to = (uint32_t)rnd(f, 4) ? 9000 : 70000;

	*at = (uint32_t)rnd(f, most);
	*len = 1 + (uint32_t)rnd(f, to);
	if (!rnd(f, 3))
		*at &= ~(PAGE - 1);
	if (!rnd(f, 3))
		*len = (*len + PAGE - 1) & ~(PAGE - 1);
	if (*at + *len > most)
		*len = most - *at;
}

static void fill(struct fsx *f, uint32_t at, uint32_t len)
{
	uint64_t v = mix(f->seed + f->n) | 1;

	for (uint32_t i = 0; i < len; i++)
		f->m->bytes[at + i] = (unsigned char)(v >> i % 8 * 8 ^ i >> 3);
}

static void grow(struct fsx *f, uint32_t end)
{
	if (f->m->size < end)
		f->m->size = end;
}

/* ---- operations ------------------------------------------------------------------------------- */

static void op_read(struct fsx *f)
{
	uint32_t at, len, n;
	struct iovec v[2];

	range(f, MOST, &at, &len);
	note(f, "read", at, len);
	n = at >= f->m->size ? 0 : f->m->size - at < len ? f->m->size - at : len;
	v[0] = (struct iovec){f->buf, len / 3};
	v[1] = (struct iovec){f->buf + len / 3, len - len / 3};
	memset(f->buf, 0xee, len);
	expect(f, "pread", rnd(f, 2) ? preadv(f->fd, v, 2, at) : pread(f->fd, f->buf, len, at), n);
	same(f, "read", f->buf, at, n);
}

static void op_write(struct fsx *f)
{
	uint32_t at, len;
	struct iovec v[2];

	range(f, MOST, &at, &len);
	note(f, "write", at, len);
	fill(f, at, len);
	v[0] = (struct iovec){f->m->bytes + at, len / 3};
	v[1] = (struct iovec){f->m->bytes + at + len / 3, len - len / 3};
	expect(f, "pwrite", rnd(f, 2) ? pwritev(f->fd, v, 2, at) : pwrite(f->fd, f->m->bytes + at, len, at), len);
	grow(f, at + len);
}

/* From a buffer that is the file's own mapping. */
static void op_write_itself(struct fsx *f)
{
	uint32_t at, len, to;

	if (f->m->size < 2 * PAGE)
		return;
	range(f, f->m->size / 2, &at, &len);
	to = f->m->size / 2 + (uint32_t)rnd(f, PAGE);
	if (to + len > MOST)
		len = MOST - to;
	note(f, "write of its own mapping", at, len);
	if (to < at + len)
		return;
	expect(f, "pwrite", pwrite(f->fd, f->map + at, len, to), len);
	memcpy(f->m->bytes + to, f->m->bytes + at, len);
	grow(f, to + len);
}

static void op_map_read(struct fsx *f)
{
	uint32_t at, len, page, end;
	unsigned char *p;

	if (!f->m->size)
		return;
	range(f, f->m->size, &at, &len);
	note(f, "mapped read", at, len);
	page = at & ~(PAGE - 1);
	p = mmap(NULL, at + len - page, PROT_READ, rnd(f, 2) ? MAP_SHARED : MAP_PRIVATE, f->fd, page);
	expect(f, "mmap", p == MAP_FAILED, 0);
	same(f, "mapped", p + (at - page), at, len);
	/* Behind the end of the file, up to the page's: zeros, and nobody here wrote there. */
	end = (f->m->size + PAGE - 1) & ~(PAGE - 1);
	if (at + len == f->m->size)
		for (uint32_t i = at + len; i < end; i++)
			if (p[i - page])
				fail(f, "behind the end", p[i - page], 0);
	munmap(p, at + len - page);
}

static void op_map_write(struct fsx *f)
{
	uint32_t at, len, page;
	unsigned char *p;

	if (!f->m->size)
		return;
	range(f, f->m->size, &at, &len);
	note(f, "mapped write", at, len);
	page = at & ~(PAGE - 1);
	p = mmap(NULL, at + len - page, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, page);
	expect(f, "mmap", p == MAP_FAILED, 0);
	fill(f, at, len);
	memcpy(p + (at - page), f->m->bytes + at, len);
	if (!rnd(f, 3))
		expect(f, "msync", msync(p, at + len - page, MS_SYNC), 0);
	munmap(p, at + len - page);
}

static void op_kept_read(struct fsx *f)
{
	uint32_t at, len;

	if (!f->m->size)
		return;
	range(f, f->m->size, &at, &len);
	note(f, "kept mapping read", at, len);
	same(f, "kept mapping", f->map + at, at, len);
}

static void op_kept_write(struct fsx *f)
{
	uint32_t at, len;

	if (!f->m->size)
		return;
	range(f, f->m->size, &at, &len);
	note(f, "kept mapping written", at, len);
	fill(f, at, len);
	memcpy(f->map + at, f->m->bytes + at, len);
}

/* What a private mapping has of its own stays away from the file. */
static void op_private(struct fsx *f)
{
	uint32_t at, len, page;
	unsigned char *p;

	if (!f->m->size)
		return;
	range(f, f->m->size, &at, &len);
	note(f, "private", at, len);
	page = at & ~(PAGE - 1);
	p = mmap(NULL, at + len - page, PROT_READ | PROT_WRITE, MAP_PRIVATE, f->fd, page);
	expect(f, "mmap", p == MAP_FAILED, 0);
	memset(p + (at - page), 0x5a, len);
	same(f, "beside a private mapping", f->map + at, at, len);
	for (uint32_t i = 0; i < len; i += 501)
		expect(f, "private mapping", p[at - page + i], 0x5a);
	munmap(p, at + len - page);
}

static void op_truncate(struct fsx *f)
{
	uint32_t to = (uint32_t)rnd(f, MOST + 1);

	if (!rnd(f, 3))
		to &= ~(PAGE - 1);
	note(f, "truncate", to, 0);
	expect(f, "truncate", rnd(f, 2) ? ftruncate(f->fd, to) : truncate(f->path, to), 0);
	if (to < f->m->size)
		memset(f->m->bytes + to, 0, f->m->size - to);
	f->m->size = to;
}

static void op_punch(struct fsx *f)
{
	uint32_t at, len;

	range(f, MOST, &at, &len);
	note(f, "punch", at, len);
	expect(f, "fallocate", fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len), 0);
	memset(f->m->bytes + at, 0, len);
}

static void op_sync(struct fsx *f)
{
	uint32_t what = (uint32_t)rnd(f, 8);

	note(f, "sync", what, 0);
	if (what == 0)
		expect(f, "fsync", fsync(f->fd), 0);
	else if (what == 1)
		expect(f, "fdatasync", fdatasync(f->fd), 0);
	else if (what == 2)
		expect(f, "msync", msync(f->map, MOST, MS_SYNC), 0);
	else if (what == 3)
		expect(f, "sync_file_range", sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE |
			SYNC_FILE_RANGE_WRITE | (rnd(f, 2) ? SYNC_FILE_RANGE_WAIT_AFTER : 0)), 0);
	else if (what == 4)
		expect(f, "syncfs", syncfs(f->fd), 0);
	else if (what == 5)
		expect(f, "msync", msync(f->map, MOST, MS_ASYNC), 0);
	else if (!rnd(f, 8))
		sync();
}

static void op_throw_away(struct fsx *f)
{
	static const int advice[] = {MADV_DONTNEED, MADV_WILLNEED, MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL,
				     MADV_COLD, MADV_PAGEOUT};
	uint32_t what = (uint32_t)rnd(f, 10);
	int fd;

	note(f, "throw away", what, 0);
	if (what < 7) {
		expect(f, "madvise", madvise(f->map, MOST, advice[what]), 0);
	} else if (what == 7) {
		expect(f, "fadvise", posix_fadvise(f->fd, 0, 0, rnd(f, 2) ? POSIX_FADV_DONTNEED :
						   POSIX_FADV_WILLNEED), 0);
	} else if (!rnd(f, 16)) {
		fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
		expect(f, "drop_caches", write(fd, "3", 1), 1);
		close(fd);
	}
}

static void open_file(struct fsx *f, int flags)
{
	f->fd = open(f->path, O_RDWR | flags, 0600);
	if (f->fd < 0)
		fail(f, "open", f->fd, 0);
	f->map = f->slots + rnd(f, SLOTS) * MOST;
	expect(f, "mmap", mmap(f->map, MOST, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f->fd, 0) == f->map, 1);
}

/* The slot is nobody's mapping any more, and free for none but this file's. */
static void keep_slot(struct fsx *f, unsigned char *slot)
{
	expect(f, "mmap", mmap(slot, MOST, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == slot, 1);
}

static void close_file(struct fsx *f)
{
	keep_slot(f, f->map);
	close(f->fd);
}

static void op_reopen(struct fsx *f)
{
	struct stat st;

	note(f, "close and open", 0, 0);
	close_file(f);
	open_file(f, 0);
	expect(f, "fstat", fstat(f->fd, &st), 0);
	expect(f, "size", st.st_size, f->m->size);
}

/* A child sees the same by its copy of the mapping, writes through it, and is gone. */
static void op_fork(struct fsx *f)
{
	uint32_t at, len;
	pid_t pid;

	if (!f->m->size)
		return;
	range(f, f->m->size, &at, &len);
	note(f, "child writes", at, len);
	fill(f, at, len);
	pid = fork();
	if (!pid) {
		memcpy(f->map + at, f->m->bytes + at, len);
		_exit(0);
	}
	expect(f, "child", status_of(pid), 0);
	same(f, "what the child wrote", f->map + at, at, len);
}

/* By the kernel's own ways from one place to another of the file. */
static void op_copy(struct fsx *f)
{
	uint32_t at, len, to = (uint32_t)rnd(f, MOST);
	off_t from, into;

	if (f->m->size < 2)
		return;
	range(f, f->m->size, &at, &len);
	if (to + len > MOST)
		len = MOST - to;
	if (!len || (to < at + len && at < to + len))
		return;
	from = at, into = to;
	note(f, "copied from", at, len);
	for (uint32_t done = 0; done < len;) {
		ssize_t n = copy_file_range(f->fd, &from, f->fd, &into, len - done, 0);

		if (n <= 0)
			fail(f, "copy_file_range", n, len - done);
		done += (uint32_t)n;
	}
	memcpy(f->m->bytes + to, f->m->bytes + at, len);
	grow(f, to + len);
}

/* No byte that is not zero lies in a hole. */
static void op_holes(struct fsx *f)
{
	off_t at = 0, data, hole;

	note(f, "holes", 0, 0);
	while (at < (off_t)f->m->size) {
		data = lseek(f->fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			data = f->m->size;
		for (off_t i = at; i < data; i++)
			if (f->m->bytes[i])
				fail(f, "in a hole", i, at);
		if (data >= (off_t)f->m->size)
			break;
		hole = lseek(f->fd, data, SEEK_HOLE);
		if (hole <= data)
			fail(f, "hole", hole, data);
		at = hole;
	}
}

/* The kept mapping moves, and its rights are taken and given. */
static void op_move(struct fsx *f)
{
	unsigned char *p;

	note(f, "mapping moved", 0, 0);
	expect(f, "mprotect", mprotect(f->map, MOST, rnd(f, 2) ? PROT_NONE : PROT_READ), 0);
	p = f->slots + rnd(f, SLOTS) * MOST;
	if (p != f->map) {
		expect(f, "mremap", mremap(f->map, MOST, MOST, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p, 1);
		keep_slot(f, f->map);
		f->map = p;
	}
	expect(f, "mprotect", mprotect(f->map, MOST, PROT_READ | PROT_WRITE), 0);
}

static const struct {
	void (*op)(struct fsx *f);
	unsigned weight;
} ops[] = {{op_read, 12}, {op_write, 12}, {op_map_read, 8}, {op_map_write, 8}, {op_kept_read, 8}, {op_kept_write, 8},
	   {op_private, 3}, {op_truncate, 6}, {op_punch, 5}, {op_sync, 4}, {op_throw_away, 6}, {op_reopen, 2},
	   {op_fork, 1}, {op_copy, 4}, {op_holes, 2}, {op_move, 2}, {op_write_itself, 3}};

static void step(struct fsx *f)
{
	unsigned all = 0, at;

	for (unsigned i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		all += ops[i].weight;
	at = (unsigned)rnd(f, all);
	for (unsigned i = 0;; at -= ops[i++].weight)
		if (at < ops[i].weight) {
			ops[i].op(f);
			return;
		}
}

static int exercise(struct fsx *f, uint64_t n)
{
	f->buf = malloc(MOST);
	f->slots = mmap(NULL, SLOTS * MOST, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(f, "mmap", f->buf && f->slots != MAP_FAILED, 1);
	open_file(f, O_CREAT | O_EXCL);
	for (f->n = 0; f->n < n; f->n++)
		step(f);
	note(f, "the end", 0, 0);
	expect(f, "pread", pread(f->fd, f->buf, MOST, 0), f->m->size);
	same(f, "at the end", f->buf, 0, f->m->size);
	close_file(f);
	return 0;
}

int main(int argc, char **argv)
{
	static char path[PROCESSES][32];
	struct model *m = mmap(NULL, sizeof(*m) * PROCESSES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *disk = access("/dev/vda", F_OK) ? "/dev/nvme0n1" : "/dev/vda";
	uint64_t n, seed;
	int processes;
	pid_t pid[PROCESSES];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 4 || m == MAP_FAILED)
		return 2;
	n = (uint64_t)atoll(argv[1]), seed = (uint64_t)atoll(argv[2]), processes = atoi(argv[3]);
	if (processes < 1 || processes > PROCESSES)
		return 2;
	mkdir("/mnt", 0755);
	mkdir("/tmp", 0755);
	CHECK(mount(disk, "/mnt", "ext2", 0, NULL) == 0);
	for (int i = 0; i < processes; i++) {
		struct fsx f = {.m = &m[i], .path = path[i], .seed = mix(seed * 1000 + (uint64_t)i)};

		snprintf(path[i], sizeof(path[i]), "%s/fsx-%d", i % 2 ? "/tmp" : "/mnt", i);
		pid[i] = fork();
		if (!pid[i])
			_exit(exercise(&f, n));
	}
	for (int i = 0; i < processes; i++)
		CHECK(status_of(pid[i]) == 0);
	CHECK(umount("/mnt") == 0);
	CHECK(mount(disk, "/mnt", "ext2", 0, NULL) == 0);
	for (int i = 0; i < processes && !failures; i++) {
		struct fsx f = {.m = &m[i], .path = path[i], .fd = open(path[i], O_RDONLY), .buf = malloc(MOST)};

		note(&f, "mounted again", 0, 0);
		expect(&f, "pread", pread(f.fd, f.buf, MOST, 0), m[i].size);
		same(&f, "after it was mounted again", f.buf, 0, m[i].size);
		free(f.buf);
		close(f.fd);
		CHECK(unlink(path[i]) == 0);
	}
	CHECK(umount("/mnt") == 0 && rmdir("/mnt") == 0);
	printf("fsx: %d processes of %llu operations each, seed %llu\n", processes, (unsigned long long)n,
	       (unsigned long long)seed);
	return failures != 0;
}
