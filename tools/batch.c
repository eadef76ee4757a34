/* SPDX-License-Identifier: MIT */
/*
 * Runs many programs one after the other in one boot of a machine, each with a time limit, and tells how each
 * ended and what it printed (tools/batch.py). Built by the command for the machine that it is for.
 *
 * /.batch: for each job strings that end in NUL: seconds, number of arguments, of variables, the path, the
 * arguments, the variables. Standard output: a line `QJOB N` before job N, behind it `QEND N STATUS LENGTH`, as
 * many bytes of its output, and a newline. STATUS: as wait() tells it, or `timeout`.
 * A job finds /tmp and /dev/shm empty, is in /tmp, and has /dev/null as its standard input. Whatever it leaves
 * running is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_OUTPUT (1 << 20) /* of one job; more is dropped */
#define MOST_WORDS  4096

static char output[MOST_OUTPUT];
static size_t length;

static void put(const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(1, p, n);

		if (w < 0 && errno != EINTR)
			exit(3);
		if (w > 0) {
			p += w;
			n -= (size_t)w;
		}
	}
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
	if (f->level)
		remove(path);
	return 0;
}

static void sweep(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mkdir(dir, 01777);
}

/* Takes what there is; 0: nothing more will come. */
static int take(int fd)
{
	char b[65536];
	ssize_t n = read(fd, b, sizeof(b));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if ((size_t)n > sizeof(output) - length)
		n = (ssize_t)(sizeof(output) - length);
	memcpy(output + length, b, (size_t)n);
	length += (size_t)n;
	return 1;
}

static pid_t start(const char *path, char **argv, char **envp, int to)
{
	pid_t pid = fork();
	int null;

	if (pid)
		return pid;
	null = open("/dev/null", O_RDONLY);
	setsid();
	dup2(null, 0);
	dup2(to, 1);
	dup2(to, 2);
	if (chdir("/tmp"))
		_exit(126);
	signal(SIGPIPE, SIG_DFL);
	execve(path, argv, envp);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Waits for the job, not longer than that, then for nobody; 1: it ran out of time. */
static int wait_job(pid_t pid, int from, long seconds, int *status)
{
	long end = now_ms() + seconds * 1000;
	int open = 1;

	for (;;) {
		struct pollfd p = {.fd = open ? from : -1, .events = POLLIN};

		if (poll(&p, 1, 20) > 0)
			open = take(from);
		if (waitpid(pid, status, WNOHANG) == pid)
			return 0;
		if (now_ms() >= end)
			return 1;
	}
}

static void job(unsigned n, long seconds, const char *path, char **argv, char **envp)
{
	int p[2], status = 0, late, k;
	char line[80];
	pid_t pid;

	sweep("/tmp");
	sweep("/dev/shm");
	length = 0;
	put(line, (size_t)snprintf(line, sizeof(line), "QJOB %u\n", n));
	if (pipe2(p, O_CLOEXEC))
		exit(3);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	pid = start(path, argv, envp, p[1]);
	close(p[1]);
	late = wait_job(pid, p[0], seconds, &status);
	kill(-1, SIGKILL);
	if (late)
		waitpid(pid, &status, 0);
	while (waitpid(-1, &k, WNOHANG) > 0)
		;
	while (take(p[0]) && poll(&(struct pollfd){.fd = p[0], .events = POLLIN}, 1, 50) > 0)
		;
	close(p[0]);
	if (late)
		k = snprintf(line, sizeof(line), "QEND %u timeout %zu\n", n, length);
	else
		k = snprintf(line, sizeof(line), "QEND %u %d %zu\n", n, status, length);
	put(line, (size_t)k);
	put(output, length);
	put("\n", 1);
}

static char *word(char **at)
{
	char *w = *at;

	*at += strlen(w) + 1;
	return w;
}

int main(void)
{
	static char *argv[MOST_WORDS], *envp[MOST_WORDS];
	struct stat st;
	int fd = open("/.batch", O_RDONLY);
	char *text, *at;
	unsigned n = 0;

	if (fd < 0 || fstat(fd, &st))
		return 2;
	text = malloc((size_t)st.st_size + 1);
	if (!text || read(fd, text, (size_t)st.st_size) != st.st_size)
		return 2;
	close(fd);
	signal(SIGPIPE, SIG_IGN);
	for (at = text; at < text + st.st_size; n++) {
		long seconds = atol(word(&at)), argc = atol(word(&at)), envc = atol(word(&at));
		char *path = word(&at);

		if (argc >= MOST_WORDS || envc >= MOST_WORDS)
			return 2;
		for (long i = 0; i < argc; i++)
			argv[i] = word(&at);
		for (long i = 0; i < envc; i++)
			envp[i] = word(&at);
		argv[argc] = envp[envc] = NULL;
		job(n, seconds, path, argv, envp);
	}
	return 0;
}
