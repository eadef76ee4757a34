/* SPDX-License-Identifier: MIT */
/*
 * Bytes between files without the program in between: sendfile, copy_file_range, splice, tee, vmsplice; holes
 * by lseek; FIFOs and /dev/fd. Exit status 0: all as on Linux 5.10. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

#define DIR "/tmp/transfer"
#define PG  4096

static char big[200000], in[200000];

static int file(const char *name, const char *bytes, size_t n, int flags)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
	close(fd);
	return open(name, flags);
}

static long at(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

static void sends(void)
{
	int from = file(DIR "/a", big, sizeof(big), O_RDONLY), to = file(DIR "/b", "", 0, O_RDWR), p[2], s[2];
	int append = open(DIR "/c", O_WRONLY | O_CREAT | O_APPEND, 0600);
	off_t off = 1000;

	CHECK(sendfile(to, from, NULL, 5000) == 5000 && at(from) == 5000 && at(to) == 5000);
	CHECK(sendfile(to, from, &off, 70000) == 70000 && off == 71000 && at(from) == 5000 && at(to) == 75000);
	CHECK(pread(to, in, 75000, 0) == 75000 && !memcmp(in, big, 5000) && !memcmp(in + 5000, big + 1000, 70000));
	off = sizeof(big) - 10;
	CHECK(sendfile(to, from, &off, 100) == 10 && sendfile(to, from, &off, 100) == 0 && off == sizeof(big));
	CHECK(sendfile(append, from, NULL, 10) == -1 && errno == EINVAL);
	CHECK(sendfile(from, to, NULL, 10) == -1 && errno == EBADF && sendfile(to, 99, NULL, 1) == -1 && errno == EBADF);
	off = -1;
	CHECK(sendfile(to, from, &off, 10) == -1 && errno == EINVAL);
	CHECK(sendfile(to, from, (off_t *)1, 10) == -1 && errno == EFAULT);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	off = 3;
	CHECK(sendfile(s[0], from, &off, 8) == 8 && read(s[1], in, 100) == 8 && !memcmp(in, big + 3, 8));
	CHECK(pipe(p) == 0 && sendfile(to, p[0], NULL, 10) == -1 && errno == EINVAL);
	off = 0;
	CHECK(sendfile(to, p[0], &off, 10) == -1 && errno == ESPIPE);
	close(from), close(to), close(append), close(s[0]), close(s[1]), close(p[0]), close(p[1]);
}

static void copies(void)
{
	int from = file(DIR "/a", big, 100000, O_RDWR), to = file(DIR "/b", "", 0, O_RDWR), p[2], dir = open(DIR, O_RDONLY);
	int append = open(DIR "/c", O_WRONLY | O_APPEND), ro = open(DIR "/b", O_RDONLY);
	off_t a = 10, b = 50000;

	CHECK(copy_file_range(from, &a, to, &b, 40000, 0) == 40000 && a == 40010 && b == 90000);
	CHECK(at(from) == 0 && at(to) == 0 && pread(to, in, 40000, 50000) == 40000 && !memcmp(in, big + 10, 40000));
	CHECK(copy_file_range(from, NULL, to, NULL, 1000000, 0) == 100000 && at(from) == 100000 && at(to) == 100000);
	CHECK(copy_file_range(from, NULL, to, NULL, 1, 0) == 0);
	CHECK(copy_file_range(from, NULL, to, NULL, 1, 1) == -1 && errno == EINVAL);
	a = 0, b = 50;
	CHECK(copy_file_range(from, &a, from, &b, 100, 0) == -1 && errno == EINVAL);
	b = 100;
	CHECK(copy_file_range(from, &a, from, &b, 100, 0) == 100 && pread(from, in, 100, 100) == 100 && !memcmp(in, big, 100));
	CHECK(copy_file_range(dir, NULL, to, NULL, 1, 0) == -1 && errno == EISDIR);
	CHECK(pipe(p) == 0 && copy_file_range(p[0], NULL, to, NULL, 1, 0) == -1 && errno == EINVAL);
	CHECK(copy_file_range(from, NULL, append, NULL, 1, 0) == -1 && errno == EBADF);
	CHECK(copy_file_range(from, NULL, ro, NULL, 1, 0) == -1 && errno == EBADF);
	close(from), close(to), close(append), close(ro), close(p[0]), close(p[1]), close(dir);
}

static void splices(void)
{
	int from = file(DIR "/a", big, 150000, O_RDWR), to = file(DIR "/b", "", 0, O_RDWR), p[2], q[2], s[2];
	struct iovec v[2] = {{big, 10}, {big + 100, 20}};
	loff_t off = 50;

	CHECK(pipe(p) == 0 && pipe(q) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK(splice(from, NULL, p[1], NULL, 3000, 0) == 3000 && at(from) == 3000);
	CHECK(splice(from, &off, p[1], NULL, 100, 0) == 100 && off == 150 && at(from) == 3000);
	CHECK(splice(p[0], NULL, to, NULL, 1000000, 0) == 3100 && at(to) == 3100);
	CHECK(pread(to, in, 4000, 0) == 3100 && !memcmp(in, big, 3000) && !memcmp(in + 3000, big + 50, 100));
	CHECK(splice(p[0], NULL, to, NULL, 10, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
	/* no more than the pipe takes */
	off = 0;
	CHECK(splice(from, &off, p[1], NULL, 150000, 0) == 65536 && off == 65536);
	CHECK(splice(from, &off, p[1], NULL, 1, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
	/* from pipe to pipe, and doubled */
	CHECK(splice(p[0], NULL, q[1], NULL, 10, 0) == 10 && read(q[0], in, 100) == 10 && !memcmp(in, big, 10));
	CHECK(tee(p[0], q[1], 100, 0) == 100 && read(q[0], in, 1000) == 100 && !memcmp(in, big + 10, 100));
	CHECK(read(p[0], in, 100000) == 65526 && !memcmp(in, big + 10, 65526));
	CHECK(tee(p[0], q[1], 100, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
	CHECK(tee(p[0], p[1], 100, 0) == -1 && errno == EINVAL && tee(from, p[1], 1, 0) == -1 && errno == EINVAL);
	/* to and from sockets */
	CHECK(write(p[1], "hello", 5) == 5 && splice(p[0], NULL, s[0], NULL, 100, 0) == 5 && read(s[1], in, 100) == 5);
	CHECK(write(s[0], "world", 5) == 5 && splice(s[1], NULL, p[1], NULL, 100, 0) == 5 && read(p[0], in, 100) == 5);
	CHECK(!memcmp(in, "world", 5));
	/* from user memory and to it */
	CHECK(vmsplice(p[1], v, 2, 0) == 30);
	v[0].iov_base = in, v[1].iov_base = in + 1000;
	CHECK(vmsplice(p[0], v, 2, 0) == 30 && !memcmp(in, big, 10) && !memcmp(in + 1000, big + 100, 20));
	CHECK(vmsplice(from, v, 1, 0) == -1 && errno == EBADF && vmsplice(p[1], v, 2000, 0) == -1 && errno == EINVAL);
	/* what is refused */
	CHECK(splice(from, NULL, to, NULL, 10, 0) == -1 && errno == EINVAL);
	CHECK(splice(p[0], &off, to, NULL, 10, 0) == -1 && errno == ESPIPE);
	CHECK(splice(from, NULL, p[1], &off, 10, 0) == -1 && errno == ESPIPE);
	CHECK(splice(p[0], NULL, p[1], NULL, 10, 0) == -1 && errno == EINVAL);
	CHECK(splice(from, NULL, p[1], NULL, 10, 64) == -1 && errno == EINVAL && splice(99, NULL, 98, NULL, 0, 0) == 0);
	CHECK(splice(p[1], NULL, to, NULL, 10, 0) == -1 && errno == EBADF && splice(99, NULL, p[1], NULL, 1, 0) == -1 && errno == EBADF);
	CHECK(write(p[1], "x", 1) == 1 && fcntl(to, F_SETFL, O_APPEND) == 0 && splice(p[0], NULL, to, NULL, 1, 0) == -1 && errno == EINVAL);
	CHECK(read(p[0], in, 10) == 1);
	close(p[1]);
	CHECK(splice(p[0], NULL, q[1], NULL, 10, 0) == 0);
	close(q[0]);
	CHECK(splice(from, NULL, q[1], NULL, 10, 0) == -1 && errno == EPIPE);
	close(p[0]), close(q[1]), close(from), close(to), close(s[0]), close(s[1]);
}

/* A writer that is slower than who splices: the splice waits for it. */
static void waits(void)
{
	int p[2], to = file(DIR "/b", "", 0, O_RDWR);
	pid_t pid;

	CHECK(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		close(p[0]);
		usleep(50000);
		_exit(write(p[1], big, sizeof(big)) == sizeof(big) ? 0 : 1);
	}
	close(p[1]);
	while (splice(p[0], NULL, to, NULL, 1 << 20, 0) > 0)
		;
	CHECK(at(to) == sizeof(big) && pread(to, in, sizeof(in), 0) == sizeof(in) && !memcmp(in, big, sizeof(in)));
	CHECK(status_of(pid) == 0);
	close(p[0]), close(to);
}

static void holes(void)
{
	int fd = open(DIR "/hole", O_RDWR | O_CREAT | O_TRUNC, 0600), p[2];

	CHECK(ftruncate(fd, 100 * PG + 5) == 0 && lseek(fd, 0, SEEK_DATA) == -1 && errno == ENXIO);
	CHECK(lseek(fd, 77, SEEK_HOLE) == 77);
	CHECK(pwrite(fd, "x", 1, 10 * PG + 7) == 1 && pwrite(fd, "x", 1, 11 * PG) == 1 && pwrite(fd, "x", 1, 70 * PG) == 1);
	CHECK(lseek(fd, 0, SEEK_DATA) == 10 * PG && lseek(fd, 10 * PG + 100, SEEK_DATA) == 10 * PG + 100);
	CHECK(lseek(fd, 10 * PG + 5, SEEK_HOLE) == 12 * PG && lseek(fd, 12 * PG, SEEK_DATA) == 70 * PG);
	CHECK(lseek(fd, 71 * PG, SEEK_DATA) == -1 && errno == ENXIO && lseek(fd, 100 * PG, SEEK_HOLE) == 100 * PG);
	CHECK(lseek(fd, 100 * PG + 5, SEEK_HOLE) == -1 && errno == ENXIO && lseek(fd, -1, SEEK_DATA) == -1 && errno == ENXIO);
	CHECK(pwrite(fd, "x", 1, 100 * PG) == 1 && lseek(fd, 100 * PG, SEEK_HOLE) == 100 * PG + 5);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * PG, PG) == 0 && lseek(fd, 0, SEEK_DATA) == 11 * PG);
	CHECK(pipe(p) == 0 && lseek(p[0], 0, SEEK_DATA) == -1 && errno == ESPIPE);
	close(fd), close(p[0]), close(p[1]);
}

static int events(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};

	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static void fifos(void)
{
	int r, w, both;
	struct stat st;
	pid_t pid;
	char c[10];

	unlink(DIR "/fifo");
	CHECK(mkfifo(DIR "/fifo", 0644) == 0 && stat(DIR "/fifo", &st) == 0 && st.st_mode == (S_IFIFO | 0644));
	CHECK(mkfifo(DIR "/fifo", 0644) == -1 && errno == EEXIST);
	CHECK(open(DIR "/fifo", O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO);
	r = open(DIR "/fifo", O_RDONLY | O_NONBLOCK);
	CHECK(r >= 0 && events(r) == 0 && read(r, c, 1) == 0);
	w = open(DIR "/fifo", O_WRONLY | O_NONBLOCK);
	CHECK(w >= 0 && events(w) == POLLOUT && read(r, c, 1) == -1 && errno == EAGAIN);
	CHECK(write(w, "abc", 3) == 3 && events(r) == POLLIN && read(r, c, 10) == 3);
	close(w);
	CHECK(events(r) == POLLHUP && read(r, c, 1) == 0);
	close(r);
	/* each waits for the other */
	pid = fork();
	if (!pid) {
		w = open(DIR "/fifo", O_WRONLY);
		_exit(w >= 0 && write(w, "x", 1) == 1 ? 0 : 1);
	}
	usleep(20000);
	r = open(DIR "/fifo", O_RDONLY);
	CHECK(r >= 0 && read(r, c, 10) == 1 && read(r, c, 1) == 0 && status_of(pid) == 0);
	close(r);
	both = open(DIR "/fifo", O_RDWR);
	CHECK(both >= 0 && events(both) == POLLOUT && write(both, "y", 1) == 1 && events(both) == (POLLIN | POLLOUT));
	CHECK(read(both, c, 10) == 1 && c[0] == 'y');
	close(both);
	CHECK(mknod(DIR "/plain", 0600, 0) == 0 && stat(DIR "/plain", &st) == 0 && S_ISREG(st.st_mode));
	CHECK(mknod(DIR "/null", S_IFCHR | 0600, 1 << 8 | 3) == 0);
	w = open(DIR "/null", O_RDWR);
	CHECK(w >= 0 && write(w, "z", 1) == 1 && read(w, c, 1) == 0);
	close(w);
	CHECK(mknod(DIR "/d", S_IFDIR | 0600, 0) == -1 && errno == EPERM);
	unlink(DIR "/fifo"), unlink(DIR "/plain"), unlink(DIR "/null");
}

static void own_descriptors(void)
{
	char path[64], c[10], link[64] = {0};
	int p[2], fd, n, again;
	struct stat st;

	CHECK(pipe(p) == 0 && fstat(p[0], &st) == 0 && write(p[1], "abcdef", 6) == 6);
	n = snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0);
	snprintf(path + n + 1, 40, "pipe:[%lu]", (unsigned long)st.st_ino);
	CHECK(!strcmp(link, path + n + 1));
	again = open(path, O_RDONLY);
	CHECK(again >= 0 && read(again, c, 3) == 3 && read(p[0], c, 10) == 3 && !memcmp(c, "def", 3));
	close(again);
	/* whose writers are gone: what they left, and no wait for others */
	CHECK(write(p[1], "left", 4) == 4);
	close(p[1]);
	again = open(path, O_RDONLY);
	CHECK(again >= 0 && read(again, c, 10) == 4 && read(again, c, 10) == 0);
	close(again);
	again = open(path, O_WRONLY | O_NONBLOCK);
	CHECK(again >= 0 && write(again, "x", 1) == 1 && read(p[0], c, 10) == 1);
	close(again), close(p[0]);
	/* a file that has no name any more */
	fd = open(DIR "/gone", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(fd, "abc", 3) == 3 && unlink(DIR "/gone") == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY);
	CHECK(again >= 0 && at(again) == 0 && read(again, c, 10) == 3 && stat(path, &st) == 0 && st.st_size == 3);
	close(again), close(fd);
	fd = memfd_create("m", MFD_ALLOW_SEALING);
	CHECK(write(fd, "abc", 3) == 3 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR);
	CHECK(again >= 0 && fcntl(again, F_GET_SEALS) == F_SEAL_WRITE && write(again, "x", 1) == -1 && errno == EPERM);
	close(again), close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	mkdir("/tmp", 0777);
	mkdir(DIR, 0777);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 >> 3 ^ i >> 9);
	sends();
	copies();
	splices();
	waits();
	holes();
	fifos();
	own_descriptors();
	unlink(DIR "/a"), unlink(DIR "/b"), unlink(DIR "/c"), unlink(DIR "/hole"), rmdir(DIR);
	printf("transfer: %d failed\n", failures);
	return failures != 0;
}
