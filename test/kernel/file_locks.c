/* SPDX-License-Identifier: MIT */
/*
 * Record locks and flock as an ordinary program uses them. Exit status 0: all as on Linux 5.10. Runs on any
 * Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"

#define NAME "/tmp/locked"

static int lock(int fd, int cmd, int type, long start, long len)
{
	struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return fcntl(fd, cmd, &l);
}

/* What a process that has no lock there is told: "r 10+5" or "-". */
static char *seen_by(int fd, int cmd, int type, long start, long len, int *pid)
{
	static char text[64];
	struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	if (fcntl(fd, cmd, &l))
		snprintf(text, sizeof(text), "errno %d", errno);
	else if (l.l_type == F_UNLCK)
		snprintf(text, sizeof(text), "-");
	else
		snprintf(text, sizeof(text), "%s %ld+%ld", l.l_type == F_RDLCK ? "r" : "w", (long)l.l_start,
			 (long)l.l_len);
	if (pid)
		*pid = l.l_pid;
	return text;
}

/* All locks of the caller from `start` on, as a child sees them. */
static char *all_seen(int fd)
{
	static char text[400];
	ssize_t n;
	int p[2], pid, holder;

	if (pipe(p))
		return "no pipe";
	pid = fork();
	if (!pid) {
		struct flock l;
		long at = 0;

		for (;;) {
			char part[64];

			l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at};
			if (fcntl(fd, F_GETLK, &l) || l.l_type == F_UNLCK)
				break;
			holder = l.l_pid == getppid();
			n = snprintf(part, sizeof(part), "%s%ld+%ld%s ", l.l_type == F_RDLCK ? "r" : "w",
				     (long)l.l_start, (long)l.l_len, holder ? "" : "?");
			if (write(p[1], part, (size_t)n) != n)
				_exit(1);
			if (!l.l_len)
				break;
			at = l.l_start + l.l_len;
		}
		_exit(0);
	}
	close(p[1]);
	memset(text, 0, sizeof(text));
	n = 0;
	for (ssize_t k; (k = read(p[0], text + n, sizeof(text) - 1 - (size_t)n)) > 0;)
		n += k;
	close(p[0]);
	CHECK(status_of(pid) == 0);
	return text;
}

#define SEEN(fd, want)                                                                    \
	do {                                                                              \
		char *seen_ = all_seen(fd);                                               \
                                                                                          \
		if (strcmp(seen_, want)) {                                                \
			printf("%s:%d: '%s', not '%s'\n", __FILE__, __LINE__, seen_, want); \
			failures++;                                                       \
		}                                                                         \
	} while (0)

static void pieces(void)
{
	int fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, 50) == 0);
	SEEN(fd, "");
	CHECK(lock(fd, F_SETLK, F_WRLCK, 10, 20) == 0);
	SEEN(fd, "w10+20 ");
	CHECK(lock(fd, F_SETLK, F_RDLCK, 15, 5) == 0);
	SEEN(fd, "w10+5 r15+5 w20+10 ");
	CHECK(lock(fd, F_SETLK, F_WRLCK, 12, 10) == 0); /* all one again */
	SEEN(fd, "w10+20 ");
	CHECK(lock(fd, F_SETLK, F_WRLCK, 30, 5) == 0); /* it touches */
	SEEN(fd, "w10+25 ");
	CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 12) == 0);
	SEEN(fd, "w12+23 ");
	CHECK(lock(fd, F_SETLK, F_UNLCK, 20, 2) == 0);
	SEEN(fd, "w12+8 w22+13 ");
	CHECK(lock(fd, F_SETLK, F_RDLCK, 5, 25) == 0);
	SEEN(fd, "r5+25 w30+5 ");
	CHECK(lock(fd, F_SETLK, F_RDLCK, 40, 0) == 0);
	SEEN(fd, "r5+25 w30+5 r40+0 ");
	CHECK(lock(fd, F_SETLK, F_UNLCK, 50, 0) == 0);
	SEEN(fd, "r5+25 w30+5 r40+10 ");
	CHECK(lock(fd, F_SETLK, F_WRLCK, 45, -10) == 0);
	SEEN(fd, "r5+25 w30+15 r45+5 ");
	CHECK(lock(fd, F_SETLK, F_WRLCK, 5, 10) == 0);
	SEEN(fd, "w5+10 r15+15 w30+15 r45+5 ");
	CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
	SEEN(fd, "");
	close(fd);
}

static void wrong_uses(void)
{
	int fd = open(NAME, O_RDWR), rd = open(NAME, O_RDONLY), wr = open(NAME, O_WRONLY);
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_END, .l_start = -10, .l_len = 5};

	CHECK(lock(rd, F_SETLK, F_WRLCK, 0, 1) == -1 && errno == EBADF);
	CHECK(lock(wr, F_SETLK, F_RDLCK, 0, 1) == -1 && errno == EBADF);
	CHECK(lock(fd, F_SETLK, 7, 0, 1) == -1 && errno == EINVAL);
	CHECK(lock(fd, F_GETLK, F_UNLCK, 0, 1) == -1 && errno == EINVAL);
	CHECK(lock(fd, F_SETLK, F_RDLCK, -1, 1) == -1 && errno == EINVAL);
	CHECK(lock(fd, F_SETLK, F_RDLCK, 5, -6) == -1 && errno == EINVAL);
	CHECK(lock(fd, F_SETLK, F_RDLCK, INT64_MAX, 2) == -1 && errno == EOVERFLOW);
	CHECK(lock(fd, F_SETLK, F_RDLCK, INT64_MAX, 1) == 0);
	CHECK(fcntl(fd, F_SETLK, NULL) == -1 && errno == EFAULT);
	CHECK(lock(99, F_SETLK, F_RDLCK, 0, 1) == -1 && errno == EBADF);
	CHECK(fcntl(fd, F_SETLK, &l) == 0);
	SEEN(fd, "r40+5 r9223372036854775807+0 ");
	l.l_whence = 9;
	CHECK(fcntl(fd, F_SETLK, &l) == -1 && errno == EINVAL);
	close(wr); /* any descriptor of the file ends them all */
	SEEN(fd, "");
	close(rd);
	close(fd);
}

/* A child that takes a lock, tells, and keeps it until it is killed or told. */
static int holder(int cmd, int type, long start, long len, int ready[2])
{
	int pid;
	char c;

	CHECK(pipe(ready) == 0);
	pid = fork();
	if (!pid) {
		int fd = open(NAME, O_RDWR);

		c = lock(fd, cmd, type, start, len) ? '!' : '.';
		if (write(ready[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	CHECK(read(ready[0], &c, 1) == 1 && c == '.');
	return pid;
}

static void between_processes(void)
{
	int fd = open(NAME, O_RDWR), p[2], pid = holder(F_SETLK, F_WRLCK, 10, 10, p), told;

	CHECK(!strcmp(seen_by(fd, F_GETLK, F_RDLCK, 0, 0, &told), "w 10+10") && told == pid);
	CHECK(!strcmp(seen_by(fd, F_GETLK, F_WRLCK, 20, 10, NULL), "-"));
	CHECK(lock(fd, F_SETLK, F_RDLCK, 15, 1) == -1 && errno == EAGAIN);
	CHECK(lock(fd, F_SETLK, F_RDLCK, 20, 1) == 0 && lock(fd, F_SETLK, F_RDLCK, 0, 10) == 0);
	CHECK(lock(fd, F_SETLK, F_RDLCK, 0, 30) == -1 && errno == EAGAIN);
	SEEN(fd, "w10+10? r20+1 "); /* the first that is told is the one who was there first */
	kill(pid, SIGKILL);
	CHECK(lock(fd, F_SETLKW, F_WRLCK, 10, 10) == 0); /* its end ends its locks */
	CHECK(status_of(pid) == 256 + SIGKILL);
	SEEN(fd, "r0+10 w10+10 r20+1 ");
	close(p[0]);
	close(p[1]);
	close(fd);
}

static volatile int alarms;

static void on_alarm(int sig)
{
	alarms++;
}

static void interrupted(void)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	struct itimerval soon = {.it_value = {.tv_usec = 50000}, .it_interval = {.tv_usec = 50000}}, off = {0};
	int fd = open(NAME, O_RDWR), p[2], pid = holder(F_SETLK, F_RDLCK, 0, 0, p);

	sigaction(SIGALRM, &sa, NULL);
	CHECK(lock(fd, F_SETLKW, F_RDLCK, 0, 5) == 0);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK(lock(fd, F_SETLKW, F_WRLCK, 3, 1) == -1 && errno == EINTR && alarms);
	setitimer(ITIMER_REAL, &off, NULL);
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
	SEEN(fd, "r0+5 ");
	close(p[0]);
	close(p[1]);
	close(fd);
}

/* The child waits for byte 0, which we have; we may not wait for byte 1, which it has. */
static void deadlock(void)
{
	int fd = open(NAME, O_RDWR), p[2], pid, n = 0;
	char c;

	CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0 && pipe(p) == 0);
	pid = fork();
	if (!pid) {
		if (lock(fd, F_SETLK, F_WRLCK, 1, 1) || write(p[1], "x", 1) != 1)
			_exit(1);
		_exit(lock(fd, F_SETLKW, F_WRLCK, 0, 1) ? 2 : 0);
	}
	CHECK(read(p[0], &c, 1) == 1);
	/* until the child waits; if it did not yet, this would wait too, and so it is asked first */
	usleep(200000);
	n = lock(fd, F_SETLKW, F_WRLCK, 1, 1);
	CHECK(n == -1 && errno == EDEADLK);
	CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 1) == 0 && status_of(pid) == 0);
	CHECK(lock(fd, F_SETLKW, F_WRLCK, 1, 1) == 0);
	close(p[0]);
	close(p[1]);
	close(fd);
}

static void open_file_locks(void)
{
	int a = open(NAME, O_RDWR), b = open(NAME, O_RDWR), told, d = dup(a);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_pid = 1};
	pid_t pid;

	CHECK(fcntl(a, F_OFD_SETLK, &l) == -1 && errno == EINVAL);
	CHECK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10) == 0);
	CHECK(lock(b, F_OFD_SETLK, F_RDLCK, 5, 10) == -1 && errno == EAGAIN);
	CHECK(lock(a, F_SETLK, F_WRLCK, 0, 10) == -1 && errno == EAGAIN); /* the program is another owner */
	CHECK(!strcmp(seen_by(b, F_OFD_GETLK, F_RDLCK, 0, 0, &told), "w 0+10") && told == -1);
	CHECK(!strcmp(seen_by(a, F_OFD_GETLK, F_WRLCK, 0, 0, NULL), "-"));
	pid = fork();
	if (!pid) /* the same open file, so the same owner */
		_exit(lock(a, F_OFD_SETLK, F_RDLCK, 0, 5) ? 1 : 0);
	CHECK(status_of(pid) == 0);
	CHECK(lock(b, F_OFD_SETLK, F_RDLCK, 0, 5) == 0 && lock(b, F_OFD_SETLK, F_RDLCK, 5, 5) == -1);
	close(a);
	CHECK(lock(b, F_OFD_SETLK, F_RDLCK, 5, 5) == -1 && errno == EAGAIN); /* d keeps it */
	close(d);
	CHECK(lock(b, F_OFD_SETLKW, F_WRLCK, 0, 0) == 0);
	close(b);
}

static void *unlock_later(void *fd)
{
	usleep(60000);
	CHECK(flock(*(int *)fd, LOCK_UN) == 0);
	return NULL;
}

static void flocks(void)
{
	int a = open(NAME, O_RDWR), b = open(NAME, O_RDONLY), p[2];
	pthread_t t;
	pid_t pid;

	CHECK(flock(a, 0) == -1 && errno == EINVAL && flock(99, LOCK_SH) == -1 && errno == EBADF);
	CHECK(flock(a, LOCK_SH) == 0 && flock(b, LOCK_SH | LOCK_NB) == 0);
	CHECK(flock(a, LOCK_EX | LOCK_NB) == -1 && errno == EAGAIN);
	CHECK(flock(b, LOCK_EX | LOCK_NB) == 0); /* what failed has lost the old one too */
	CHECK(flock(a, LOCK_SH | LOCK_NB) == -1 && errno == EAGAIN);
	CHECK(lock(a, F_SETLK, F_WRLCK, 0, 0) == 0); /* another kind: they do not meet */
	pid = fork();
	if (!pid)
		_exit(flock(b, LOCK_UN)); /* the same open file */
	CHECK(status_of(pid) == 0 && flock(a, LOCK_EX | LOCK_NB) == 0);
	CHECK(pthread_create(&t, NULL, unlock_later, &a) == 0);
	CHECK(flock(b, LOCK_EX) == 0 && pthread_join(t, NULL) == 0);
	close(b);
	CHECK(flock(a, LOCK_EX | LOCK_NB) == 0);
	close(a);
	CHECK(pipe(p) == 0 && flock(p[0], LOCK_EX | LOCK_NB) == 0 &&
	      flock(p[1], LOCK_EX | LOCK_NB) == -1 && errno == EAGAIN);
	close(p[0]);
	close(p[1]);
}

/* Many processes add one under a lock: none is lost. */
static void counted_under_lock(void)
{
	int fd = open(NAME, O_RDWR), pid[4];
	uint64_t n = 0;

	CHECK(pwrite(fd, &n, sizeof(n), 0) == sizeof(n));
	for (int i = 0; i < 4; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		fd = open(NAME, O_RDWR);
		for (int k = 0; k < 100; k++) {
			if (i & 1 ? flock(fd, LOCK_EX) : flock(fd, LOCK_EX))
				_exit(1);
			if (lock(fd, F_SETLKW, F_WRLCK, 0, 8) || pread(fd, &n, 8, 0) != 8)
				_exit(2);
			n++;
			if (k % 10 == 0)
				usleep(100);
			if (pwrite(fd, &n, 8, 0) != 8 || lock(fd, F_SETLK, F_UNLCK, 0, 8) || flock(fd, LOCK_UN))
				_exit(3);
		}
		_exit(0);
	}
	for (int i = 0; i < 4; i++)
		CHECK(status_of(pid[i]) == 0);
	CHECK(pread(fd, &n, sizeof(n), 0) == sizeof(n) && n == 400);
	close(fd);
}

int main(void)
{
	mkdir("/tmp", 0777);
	pieces();
	wrong_uses();
	between_processes();
	interrupted();
	deadlock();
	open_file_locks();
	flocks();
	counted_under_lock();
	unlink(NAME);
	printf("locks: %d failed\n", failures);
	return failures != 0;
}
