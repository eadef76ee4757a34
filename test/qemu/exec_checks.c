/* SPDX-License-Identifier: MIT */
/*
 * What test_exec.py has a machine run: standard input comes back on standard output, and on standard error
 * stands what the program found out about itself. The first argument says how it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void copy(void)
{
	static char buf[60000];
	ssize_t n, w;

	while ((n = read(0, buf, sizeof(buf))) > 0)
		for (ssize_t done = 0; done < n; done += w)
			if ((w = write(1, buf + done, n - done)) < 0)
				exit(9);
}

static void about_files(void)
{
	struct pollfd p = {0, POLLIN, 0};
	struct stat st[3];
	int n = -1, same = 0, ready = poll(&p, 1, 0), answer = ioctl(0, FIONREAD, &n);

	for (int i = 0; i < 3; i++)
		same += !fstat(i, &st[i]) && S_ISFIFO(st[i].st_mode);
	fprintf(stderr, "pipes %d, terminals %d%d%d, seek %s\n", same, isatty(0), isatty(1), isatty(2),
		lseek(0, 0, SEEK_CUR) < 0 && errno == ESPIPE ? "no" : "yes");
	fprintf(stderr, "access %d %d, at the end poll %d revents %#x FIONREAD %d %d\n", fcntl(0, F_GETFL) & O_ACCMODE,
		fcntl(1, F_GETFL) & O_ACCMODE, ready, p.revents, answer, n);
}

static void about_words(char **argv, char **env)
{
	size_t bytes = 0, n = 0;

	for (int i = 2; argv[i]; i++)
		fprintf(stderr, "argument %zu \"%.12s\"\n", strlen(argv[i]), argv[i]);
	for (; *env; env++, n++)
		bytes += strlen(*env);
	fprintf(stderr, "variables %zu, %zu bytes, A=%s\n", n, bytes, getenv("A"));
}

static void show(const char *path)
{
	char buf[100];
	FILE *f = fopen(path, "r");

	fprintf(stderr, "%s: %s", path, f && fgets(buf, sizeof(buf), f) ? buf : "nothing\n");
}

static void ends(const char *how)
{
	char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!strcmp(how, "child")) {
		if (!fork())
			*(volatile int *)0x40 = 1;
		wait(NULL);
		if (!fork())
			execl("/dynamic", "dynamic", NULL);
		wait(NULL);
		syscall(SYS_quotactl, 0, 0, 0, 0);
		syscall(SYS_quotactl, 0, 0, 0, 0);
		exit(137);
	}
	if (!strcmp(how, "protected"))
		*(volatile char *)p = 1;
	if (!strcmp(how, "pause")) {
		write(1, "ready\n", 6);
		pause();
	}
	while (!strcmp(how, "memory"))
		memset(malloc(1 << 20), 1, 1 << 20);
	exit(atoi(how));
}

/* A line, what the terminal is, a child in the foreground that Ctrl-C ends, bytes without editing. */
static void at_a_terminal(void)
{
	struct winsize w = {0};
	struct termios t;
	char line[100] = "";
	int status, n;
	pid_t child;

	ioctl(0, TIOCGWINSZ, &w);
	printf("terminals %d%d%d, %d x %d\n", isatty(0), isatty(1), isatty(2), w.ws_row, w.ws_col);
	n = read(0, line, sizeof(line));
	printf("read %d \"%.*s\"\n", n, n - 1, line);
	child = fork();
	if (!child) {
		setpgid(0, 0);
		pause();
	}
	setpgid(child, child);
	tcsetpgrp(0, child);
	printf("child\n");
	waitpid(child, &status, 0);
	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(0, getpgrp());
	printf("ended by %d\n", WTERMSIG(status));
	tcgetattr(0, &t);
	t.c_lflag &= ~(ICANON | ECHO | ISIG);
	tcsetattr(0, TCSANOW, &t);
	printf("bytes\n");
	n = read(0, line, 1);
	printf("%d\n", line[0]);
	exit(7);
}

int main(int argc, char **argv, char **env)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(argv[1], "terminal"))
		at_a_terminal();
	if (!strcmp(argv[1], "pause") || !strcmp(argv[1], "memory"))
		ends(argv[1]);
	copy();
	if (argc > 2) {
		about_files();
		about_words(argv, env);
		show("/given/a folder/file");
		show("/given/link");
	}
	ends(argv[1]);
}
