/* SPDX-License-Identifier: MIT */
/*
 * Threads that share files: pipes, positions, appended records, descriptors that are closed and
 * replaced under others, names made by several, texts of /proc. Whatever runs first, every byte has
 * to be where it belongs. Exit status 0: all as on Linux.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define THREADS 4
#define RECORD	64

/* A record says whose and which it is, all along. */
struct record {
	unsigned word[RECORD / sizeof(unsigned)];
};

static void fill(struct record *r, unsigned thread, unsigned i)
{
	for (unsigned k = 0; k < RECORD / sizeof(unsigned); k++)
		r->word[k] = thread << 24 | i;
}

static int whole(const struct record *r)
{
	for (unsigned k = 1; k < RECORD / sizeof(unsigned); k++)
		if (r->word[k] != r->word[0])
			return 0;
	return 1;
}

/* Runs f(0) ... f(n - 1) at once. */
static void together(int n, void *(*f)(void *))
{
	pthread_t t[2 * THREADS];

	for (long i = 0; i < n; i++)
		CHECK(pthread_create(&t[i], NULL, f, (void *)i) == 0);
	for (int i = 0; i < n; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

/* ---- pipes ------------------------------------------------------------------------------------- */

#define RECORDS 2000

static int fds[2];
static unsigned seen[2 * THREADS][RECORDS];

/* The odd ones read, the even ones write. */
static void *pipe_user(void *arg)
{
	unsigned me = (unsigned)(long)arg;
	struct record r;
	long n;

	if (me % 2 == 0) {
		for (unsigned i = 0; i < RECORDS; i++) {
			fill(&r, me, i);
			CHECK(write(fds[1], &r, RECORD) == RECORD);
		}
		fill(&r, 255, 0);
		CHECK(write(fds[1], &r, RECORD) == RECORD); /* one reader's end */
		return NULL;
	}
	while ((n = read(fds[0], &r, RECORD)) == RECORD && r.word[0] >> 24 != 255) {
		CHECK(whole(&r));
		__atomic_add_fetch(&seen[r.word[0] >> 24 & 7][r.word[0] % RECORDS], 1, __ATOMIC_RELAXED);
	}
	CHECK(n == RECORD && whole(&r));
	return NULL;
}

static void many_pipe_users(void)
{
	CHECK(pipe(fds) == 0);
	memset(seen, 0, sizeof(seen));
	together(2 * THREADS, pipe_user);
	for (int t = 0; t < 2 * THREADS; t += 2)
		for (int i = 0; i < RECORDS; i++)
			CHECK(seen[t][i] == 1);
	close(fds[0]);
	close(fds[1]);
}

#define STREAM (1 << 20)

static void *stream_in(void *arg)
{
	unsigned char *p = malloc(STREAM);
	size_t done = 0;

	for (size_t i = 0; i < STREAM; i++)
		p[i] = (unsigned char)(i * 7 >> 3);
	while (done < STREAM) {
		size_t piece = 1 + done % 50000;
		ssize_t n = write(fds[1], p + done, piece < STREAM - done ? piece : STREAM - done);

		CHECK(n > 0);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	free(p);
	close(fds[1]);
	return NULL;
}

/* A stream through a pipe, into memory that is touched for the first time by the copy. */
static void streamed(void)
{
	struct pollfd p = {.events = POLLIN};
	pthread_t t;
	size_t done = 0;
	ssize_t n;
	unsigned char *to = mmap(NULL, STREAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int bad = 0;

	CHECK(pipe(fds) == 0);
	p.fd = fds[0];
	CHECK(pthread_create(&t, NULL, stream_in, NULL) == 0);
	do {
		CHECK(poll(&p, 1, -1) == 1);
		n = read(fds[0], to + done, 30000 < STREAM - done ? 30000 : STREAM - done);
		done += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	CHECK(done == STREAM);
	for (size_t i = 0; i < done; i++)
		bad += to[i] != (unsigned char)(i * 7 >> 3);
	CHECK(!bad);
	pthread_join(t, NULL);
	close(fds[0]);
	munmap(to, STREAM);
}

/* ---- descriptors ------------------------------------------------------------------------------- */

static volatile int over;

/* 0 makes and unmakes a pipe at two numbers, in one step each; the others use what is there. */
static void *descriptor_user(void *arg)
{
	int p[2], null = open("/dev/null", O_RDWR);
	char c = 'c';
	ssize_t n;

	for (int i = 0; (long)arg == 0 && i < 600; i++) {
		CHECK(pipe2(p, O_NONBLOCK) == 0);
		CHECK(dup2(p[0], fds[0]) == fds[0] && dup2(p[1], fds[1]) == fds[1]);
		close(p[0]);
		close(p[1]);
		CHECK(write(fds[1], "c", 1) == 1 || errno == EPIPE);
		if (i % 8 == 0)
			sched_yield();
		CHECK(dup2(null, fds[1]) == fds[1] && dup2(null, fds[0]) == fds[0]);
	}
	while ((long)arg && !over) {
		n = read(fds[0], &c, 1);
		CHECK((n == 1 && c == 'c') || n == 0 || (n == -1 && errno == EAGAIN));
		n = write(fds[1], "c", 1);
		CHECK(n == 1 || (n == -1 && errno == EAGAIN) || (n == -1 && errno == EPIPE));
		sched_yield();
	}
	over |= (long)arg == 0;
	close(null);
	return NULL;
}

static void descriptors_change(void)
{
	signal(SIGPIPE, SIG_IGN);
	fds[0] = open("/dev/null", O_RDWR);
	fds[1] = open("/dev/null", O_RDWR);
	over = 0;
	together(THREADS, descriptor_user);
	close(fds[0]);
	close(fds[1]);
}

/* Opens and closes as fast as it can: a number is its own from open to close. */
static void *opener(void *arg)
{
	char name[32];
	struct stat a, b;

	snprintf(name, sizeof(name), "/tmp/own%ld", (long)arg);
	close(open(name, O_CREAT | O_RDWR, 0600));
	CHECK(stat(name, &a) == 0);
	for (int i = 0; i < 1500; i++) {
		int fd = open(name, O_RDWR), two = dup(fd);

		CHECK(fd > 2 && two > 2 && fd != two);
		CHECK(fstat(two, &b) == 0 && a.st_ino == b.st_ino);
		CHECK(close(fd) == 0);
		CHECK(fstat(two, &b) == 0 && a.st_ino == b.st_ino);
		CHECK(close(two) == 0);
	}
	unlink(name);
	return NULL;
}

/* ---- positions, and the ends of files ----------------------------------------------------------- */

static int shared;

static void *record_reader(void *arg)
{
	struct record r;
	ssize_t n;

	while ((n = read(shared, &r, RECORD)) == RECORD) {
		CHECK(whole(&r));
		__atomic_add_fetch(&seen[0][r.word[0] % RECORDS], 1, __ATOMIC_RELAXED);
	}
	CHECK(n == 0);
	return NULL;
}

/* Two of them through one descriptor, the others through their own. */
static void *appender(void *arg)
{
	unsigned me = (unsigned)(long)arg;
	int fd = me < 2 ? shared : open("/tmp/log", O_WRONLY | O_APPEND);
	struct record r;

	for (unsigned i = 0; i < RECORDS; i++) {
		fill(&r, me, i);
		CHECK(write(fd, &r, RECORD) == RECORD);
	}
	if (me >= 2)
		close(fd);
	return NULL;
}

static void records_in_files(void)
{
	struct record r;

	shared = open("/tmp/log", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
	memset(seen, 0, sizeof(seen));
	together(THREADS, appender);
	CHECK(lseek(shared, 0, SEEK_END) == THREADS * RECORDS * RECORD);
	for (int i = 0; i < THREADS * RECORDS; i++) {
		CHECK(pread(shared, &r, RECORD, i * RECORD) == RECORD && whole(&r));
		seen[r.word[0] >> 24 & 7][r.word[0] % RECORDS]++;
	}
	for (int t = 0; t < THREADS; t++)
		for (int i = 0; i < RECORDS; i++)
			CHECK(seen[t][i] == 1);
	/* And read by several through one descriptor. */
	memset(seen, 0, sizeof(seen));
	CHECK(lseek(shared, 0, SEEK_SET) == 0);
	together(THREADS, record_reader);
	for (int i = 0; i < RECORDS; i++)
		CHECK(seen[0][i] == THREADS);
	close(shared);
	unlink("/tmp/log");
}

/* ---- names ------------------------------------------------------------------------------------- */

#define NAMES 200

static int winners[NAMES];

static void *name_maker(void *arg)
{
	char name[64], other[64];

	for (int i = 0; i < NAMES; i++) {
		int fd;

		snprintf(name, sizeof(name), "/tmp/dir/%d", i);
		fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
		if (fd >= 0) {
			__atomic_add_fetch(&winners[i], 1, __ATOMIC_RELAXED);
			close(fd);
		} else {
			CHECK(errno == EEXIST);
		}
		snprintf(other, sizeof(other), "/tmp/dir/%ld-%d", (long)arg, i);
		CHECK(mkdir(other, 0700) == 0);
		strcat(name, "-moved");
		CHECK(rename(other, name) == 0); /* an empty directory may take another's place */
	}
	return NULL;
}

static void *name_remover(void *arg)
{
	char name[64];

	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "/tmp/dir/%d", i);
		if (unlink(name) == 0)
			__atomic_add_fetch(&winners[i], 1, __ATOMIC_RELAXED);
		else
			CHECK(errno == ENOENT);
		strcat(name, "-moved");
		CHECK(rmdir(name) == 0 || errno == ENOENT);
	}
	return NULL;
}

static void names(void)
{
	DIR *d;
	int n = 0;

	CHECK(mkdir("/tmp/dir", 0700) == 0);
	memset(winners, 0, sizeof(winners));
	together(THREADS, name_maker);
	d = opendir("/tmp/dir");
	while (readdir(d))
		n++;
	closedir(d);
	CHECK(n == 2 + 2 * NAMES);
	together(THREADS, name_remover);
	for (int i = 0; i < NAMES; i++)
		CHECK(winners[i] == 2);
	CHECK(rmdir("/tmp/dir") == 0);
}

/* ---- /proc --------------------------------------------------------------------------------------- */

/* Anew from the beginning, in pieces, through one descriptor and one of its own. */
static void *text_reader(void *arg)
{
	char s[300];
	ssize_t n;

	for (int i = 0; i < 60; i++) {
		int own = open("/proc/self/status", O_RDONLY);

		CHECK(pread(shared, s, 6, 0) == 6 && !memcmp(s, "Name:\t", 6));
		n = pread(shared, s, sizeof(s), 20);
		CHECK(n > 0);
		CHECK(read(own, s, 6) == 6 && !memcmp(s, "Name:\t", 6));
		while ((n = read(own, s, 50)) > 0)
			;
		CHECK(n == 0);
		close(own);
		own = open("/proc/self/fd/0", O_RDONLY | O_PATH);
		CHECK(own >= 0);
		close(own);
		CHECK(chdir(i % 2 ? "/tmp" : "/proc") == 0);
		CHECK(getcwd(s, sizeof(s)) && (!strcmp(s, "/tmp") || !strcmp(s, "/proc")));
		n = readlink("/proc/self/cwd", s, sizeof(s));
		CHECK((n == 4 && !memcmp(s, "/tmp", 4)) || (n == 5 && !memcmp(s, "/proc", 5)));
	}
	return NULL;
}

static void texts(void)
{
	shared = open("/proc/self/status", O_RDONLY);
	together(THREADS, text_reader);
	close(shared);
}

static void openers(void)
{
	together(THREADS, opener);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {{"many users of a pipe", many_pipe_users}, {"a stream", streamed},
		     {"descriptors change", descriptors_change}, {"openers", openers},
		     {"records in files", records_in_files}, {"names", names}, {"texts", texts}};

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		printf("# %s\n", parts[i].name);
		fflush(stdout);
		parts[i].run();
	}
	printf("file_threads: %d failures\n", failures);
	return failures != 0;
}
