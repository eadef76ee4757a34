/* SPDX-License-Identifier: MIT */
/*
 * O_SYNC, O_DSYNC, RWF_SYNC and RWF_DSYNC: when the call returns, the bytes are on the disk, in a block that the inode
 * there names, with the size that they need; and the disk was asked to flush, once a call. The disk is read past the
 * page cache. With "killed" the machine is ended by force afterwards, and what was written is looked for from outside
 * (files.py). On a real Linux too: ./quire exec --disk FILE linux-5.10.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "disk.h"
#include <quire/abi.h>

#define M "/mnt"

static unsigned char buf[8192];
static uint64_t which;

static uint32_t at32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The disk's own inode of this number. */
static const unsigned char *raw_inode(ino_t ino)
{
	const unsigned char *image = whole_disk(), *super = image + 1024, *group;
	uint32_t block = 1024u << at32(super + 24), per = at32(super + 40), size = super[88] | super[89] << 8;

	group = image + (size_t)(at32(super + 20) + 1) * block + (ino - 1) / per * 32;
	return image + (size_t)at32(group + 8) * block + (ino - 1) % per * size;
}

/* What was written to fd at `off` is where its inode on the disk says; and the size is. */
static void is_durable(const char *how, int fd, off_t off)
{
	const unsigned char *raw;
	uint32_t block;
	struct stat st;
	long sector = sector_of(which);

	if (sector < 0) {
		printf("%s: the bytes are not on the disk\n", how);
		failures++;
		return;
	}
	CHECK(fstat(fd, &st) == 0);
	block = 1024u << at32(whole_disk() + 1024 + 24);
	raw = raw_inode(st.st_ino);
	if (at32(raw + 4) != (uint32_t)st.st_size || at32(raw + 40 + off / block * 4) != sector / (block / 512)) {
		printf("%s: size %u, block %u; it is %ld, and they are in block %ld\n", how, at32(raw + 4),
		       at32(raw + 40 + off / block * 4), (long)st.st_size, sector / (block / 512));
		failures++;
	}
}

static int fresh(const char *name, int flags)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | flags, 0600);

	CHECK(fd >= 0);
	pattern(buf, sizeof(buf), ++which);
	return fd;
}

static ssize_t vector2(int fd, const struct iovec *v, int n, off_t pos, int flags)
{
	return syscall(SYS_pwritev2, fd, v, (long)n, pos, 0l, flags);
}

static void flags(void)
{
	int all = O_SYNC | O_APPEND | O_NONBLOCK, fd = fresh(M "/flags", O_SYNC);

	CHECK((fcntl(fd, F_GETFL) & all) == O_SYNC);
	CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0 && (fcntl(fd, F_GETFL) & all) == (O_SYNC | O_APPEND));
	close(fd);
	fd = fresh(M "/flags", O_DSYNC);
	CHECK((fcntl(fd, F_GETFL) & all) == O_DSYNC);
	CHECK(fcntl(fd, F_SETFL, O_SYNC) == 0 && (fcntl(fd, F_GETFL) & all) == O_DSYNC);
	close(fd);
	fd = fresh(M "/flags", O_SYNC & ~O_DSYNC);
	CHECK((fcntl(fd, F_GETFL) & all) == O_SYNC);
	close(fd);
	fd = open(M "/flags", O_PATH | O_SYNC);
	CHECK((fcntl(fd, F_GETFL) & all) == 0);
	close(fd);
	CHECK(unlink(M "/flags") == 0);
}

/* The call, on a file that was opened with the flags: durable, and one flush. */
static void calls(const char *name, int how)
{
	struct iovec v[3] = {{buf, 512}, {buf + 512, 1000}, {buf + 1512, 500}};
	long before;
	int fd, from;

	fd = fresh(name, how);
	before = flushes_of_disk();
	CHECK(write(fd, buf, 700) == 700);
	CHECK(flushes_of_disk() == before + 1);
	is_durable("write", fd, 0);
	pattern(buf, sizeof(buf), ++which);
	CHECK(pwrite(fd, buf, 512, 4096) == 512);
	is_durable("pwrite", fd, 4096);
	pattern(buf, sizeof(buf), ++which);
	CHECK(pwrite(fd, buf, 512, 4096) == 512);
	is_durable("pwrite over it", fd, 4096);
	close(fd);

	fd = fresh(name, how);
	before = flushes_of_disk();
	CHECK(writev(fd, v, 3) == 2012);
	CHECK(flushes_of_disk() == before + 1);
	is_durable("writev", fd, 0);
	close(fd);

	fd = fresh(name, how | O_APPEND);
	CHECK(write(fd, buf + 512, 4096) == 4096 && write(fd, buf, 512) == 512);
	is_durable("append", fd, 4096);
	close(fd);

	fd = fresh(name, how);
	from = open("/source", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(from, buf, 600) == 600 && lseek(from, 0, SEEK_SET) == 0);
	CHECK(sendfile(fd, from, NULL, 600) == 600);
	is_durable("sendfile", fd, 0);
	close(from);
	close(fd);
	CHECK(unlink(name) == 0 && unlink("/source") == 0);
}

static void plain(void)
{
	struct iovec v = {buf, 600};
	long before;
	int fd = fresh(M "/plain", 0);

	before = flushes_of_disk();
	CHECK(write(fd, buf, 600) == 600);
	CHECK(flushes_of_disk() == before && sector_of(which) < 0);
	CHECK(fsync(fd) == 0);
	is_durable("fsync", fd, 0);
	for (int sync = 0; sync < 2; sync++) {
		pattern(buf, sizeof(buf), ++which);
		CHECK(vector2(fd, &v, 1, 0, 0) == 600 && sector_of(which) < 0);
		pattern(buf, sizeof(buf), ++which);
		before = flushes_of_disk();
		CHECK(vector2(fd, &v, 1, 4096, sync ? RWF_SYNC : RWF_DSYNC) == 600);
		CHECK(flushes_of_disk() == before + 1);
		is_durable(sync ? "RWF_SYNC" : "RWF_DSYNC", fd, 4096);
	}
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && vector2(fd, &v, 1, -1, 0) == 600 && lseek(fd, 0, SEEK_CUR) == 600);
	CHECK(vector2(fd, &v, 1, 0, RWF_APPEND) == 600 && lseek(fd, 0, SEEK_END) == 4096 + 600 + 600);
	CHECK(vector2(fd, &v, 1, 0, 0x4000) == -1 && errno == EOPNOTSUPP);
	CHECK(vector2(fd, &v, 1, -2, 0) == -1 && errno == EINVAL);
	CHECK(vector2(-1, &v, 1, -1, 0) == -1 && errno == EBADF);
	CHECK(syscall(SYS_preadv2, fd, &v, 1l, 4096l, 0l, 0) == 600);
	CHECK(syscall(SYS_preadv2, fd, &v, 1l, 4096l, 0l, 0x4000) == -1 && errno == EOPNOTSUPP);
	close(fd);
	CHECK(unlink(M "/plain") == 0);
}

/* The disk itself, of which nothing is mounted. Its first sectors are nobody's. */
static void device(void)
{
	int fd = open(disk_name(), O_RDWR | O_SYNC);
	long before;

	pattern(buf, sizeof(buf), ++which);
	CHECK(fd >= 0);
	before = flushes_of_disk();
	CHECK(pwrite(fd, buf, 512, 0) == 512);
	CHECK(flushes_of_disk() > before && sector_of(which) == 0);
	memset(buf, 0, 512);
	CHECK(pwrite(fd, buf, 512, 0) == 512);
	close(fd);
}

static void killed(void)
{
	int fd = open(M "/synced", O_RDWR | O_CREAT, 0600), dir = open(M, O_RDONLY | O_DIRECTORY), other;

	CHECK(fd >= 0 && fsync(fd) == 0 && fsync(dir) == 0);
	close(fd);
	fd = open(M "/synced", O_RDWR | O_DSYNC);
	other = open(M "/not-synced", O_RDWR | O_CREAT, 0600);
	CHECK(write(other, "behind", 6) == 6);
	for (int i = 0; i < 2000; i++) {
		char line[64];
		int n = snprintf(line, sizeof(line), "line %d of what was written\n", i);

		CHECK(write(fd, line, n) == n);
	}
	printf("%s: end it now\n", failures ? "failed" : "written");
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir(M, 0755);
	CHECK(mount(disk_name(), M, "ext2", 0, NULL) == 0);
	if (argc > 1 && !strcmp(argv[1], "killed"))
		killed();
	flags();
	plain();
	calls(M "/dsync", O_DSYNC);
	calls(M "/sync", O_SYNC);
	CHECK(umount(M) == 0 && rmdir(M) == 0);
	device();
	printf("%d failures\n", failures);
	return failures != 0;
}
