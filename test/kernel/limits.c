/* SPDX-License-Identifier: MIT */
/*
 * What a program may do and what it has used: sizes of files and of arguments, programs that run and are written
 * to, memory past its rights, the most memory it had. Exit status 0: all as on Linux 5.10. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

#define DIR "/tmp/limits"
#define PG  4096ul

static char *no_env[] = {NULL};

static void file_sizes(void)
{
	struct rlimit l = {2 * PG, RLIM_INFINITY}, back = {RLIM_INFINITY, RLIM_INFINITY};
	int fd = open(DIR "/f", O_RDWR | O_CREAT | O_TRUNC, 0600), a = open(DIR "/f", O_WRONLY | O_APPEND);
	char b[PG * 4] = {0};

	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &l) == 0);
	CHECK(ftruncate(fd, 2 * PG + 1) == -1 && errno == EFBIG && ftruncate(fd, 2 * PG) == 0);
	CHECK(pwrite(fd, "x", 1, 2 * PG) == -1 && errno == EFBIG && pwrite(fd, b, 100, 2 * PG - 10) == 10);
	CHECK(write(a, "x", 1) == -1 && errno == EFBIG);
	CHECK(truncate(DIR "/f", 3 * PG) == -1 && errno == EFBIG && ftruncate(fd, 100) == 0);
	CHECK(fallocate(fd, 0, 0, 3 * PG) == -1 && errno == EFBIG && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PG) == 0);
	CHECK(write(a, b, sizeof(b)) == 2 * PG - 100);
	signal(SIGXFSZ, SIG_DFL);
	pid_t pid = fork();
	if (!pid) {
		CHECK(pwrite(fd, "x", 1, 2 * PG) == -1);
		_exit(0);
	}
	CHECK(status_of(pid) == 256 + SIGXFSZ);
	CHECK(setrlimit(RLIMIT_FSIZE, &back) == 0);
	close(fd), close(a);
	unlink(DIR "/f");
}

/* argv of n strings: the exit status of a program that gets them, -errno if it does not run. */
static int with_arguments(long n, const char *s, rlim_t stack)
{
	pid_t pid = fork();

	if (!pid) {
		struct rlimit l = {stack, RLIM_INFINITY};
		char **v = calloc((size_t)n + 1, sizeof(*v));

		for (long i = 0; i < n; i++)
			v[i] = (char *)(size_t)s;
		setrlimit(RLIMIT_STACK, &l);
		execve("/proc/self/exe", v, no_env);
		_exit(errno);
	}
	return status_of(pid);
}

static void arguments(void)
{
	static char s[131073];

	memset(s, 'a', 100);
	CHECK(with_arguments(18000, s, 8 << 20) == 77 && with_arguments(18000, s, RLIM_INFINITY) == 77);
	CHECK(with_arguments(50000, s, RLIM_INFINITY) == 77 && with_arguments(65000, s, RLIM_INFINITY) == E2BIG);
	CHECK(with_arguments(300000, "", 8 << 20) == E2BIG && with_arguments(200000, "", 8 << 20) == 77);
	CHECK(with_arguments(1000, s, 4096) == E2BIG && with_arguments(1000, s, 100000) == E2BIG);
	memset(s, 'b', sizeof(s) - 1);
	CHECK(with_arguments(2, s, 8 << 20) == E2BIG);
	s[131071] = 0;
	CHECK(with_arguments(2, s, 8 << 20) == 77);
	CHECK(with_arguments(0, s, 8 << 20) == 78);
}

static void copy_self(void)
{
	static char b[65536];
	int in = open("/proc/self/exe", O_RDONLY), out = open(DIR "/copy", O_RDWR | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	while ((n = read(in, b, sizeof(b))) > 0)
		CHECK(write(out, b, (size_t)n) == n);
	close(in), close(out);
}

static int run_copy(char *what)
{
	char *v[] = {"x", what, NULL};
	pid_t pid = fork();

	if (!pid) {
		execve(DIR "/copy", v, no_env);
		_exit(errno);
	}
	return pid;
}

static void running_programs(void)
{
	pid_t pid;
	int fd;

	CHECK(open("/proc/self/exe", O_RDWR) == -1 && errno == ETXTBSY);
	copy_self();
	fd = open(DIR "/copy", O_WRONLY);
	CHECK(status_of(run_copy("stop")) == ETXTBSY);
	close(fd);
	pid = run_copy("stop");
	CHECK(waitpid(pid, &fd, WUNTRACED) == pid && WIFSTOPPED(fd));
	CHECK(open(DIR "/copy", O_WRONLY) == -1 && errno == ETXTBSY && truncate(DIR "/copy", 0) == -1 && errno == ETXTBSY);
	CHECK(open(DIR "/copy", O_RDONLY | O_TRUNC) == -1 && errno == ETXTBSY);
	fd = open(DIR "/copy", O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	kill(pid, SIGCONT);
	CHECK(status_of(pid) == 5);
	fd = open(DIR "/copy", O_WRONLY);
	CHECK(fd >= 0);
	close(fd);
	unlink(DIR "/copy");
}

static sigjmp_buf back_to;

static void caught(int sig)
{
	siglongjmp(back_to, 1);
}

static int can_write(volatile char *p)
{
	if (sigsetjmp(back_to, 1))
		return 0;
	*p = 'w';
	return 1;
}

__attribute__((noinline)) static int code(void)
{
	__asm__ volatile("");
	return 1;
}

static void past_rights(void)
{
	int m = open("/proc/self/mem", O_RDWR), fd = open(DIR "/s", O_RDWR | O_CREAT, 0600), st;
	char *ro = mmap(NULL, 3 * PG, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), c = 0;
	char *none = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *shared, *file;
	pid_t pid;

	signal(SIGSEGV, caught);
	CHECK(ftruncate(fd, PG) == 0);
	shared = mmap(NULL, PG, PROT_READ, MAP_SHARED, fd, 0);
	file = mmap(NULL, PG, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(pwrite(m, "A", 1, (off_t)(uintptr_t)ro) == 1 && ro[0] == 'A' && !can_write(ro));
	CHECK(pwrite(m, "B", 1, (off_t)(uintptr_t)ro) == 1 && ro[0] == 'B' && !can_write(ro));
	/* a page that is shared with a child gets a copy; the child's descriptor leads to us */
	pid = fork();
	if (!pid)
		_exit(pwrite(m, "C", 1, (off_t)(uintptr_t)ro) == 1 && ro[0] == 'B' && !can_write(ro) ? 0 : 1);
	CHECK(waitpid(pid, &st, 0) == pid && st == 0 && ro[0] == 'C');
	CHECK(pwrite(m, "D", 1, (off_t)(uintptr_t)none) == 1 && pread(m, &c, 1, (off_t)(uintptr_t)none) == 1 && c == 'D');
	/* once more, where it is there already: our own, and shared with a child */
	CHECK(pwrite(m, "d", 1, (off_t)(uintptr_t)none) == 1 && pread(m, &c, 1, (off_t)(uintptr_t)none) == 1 && c == 'd');
	pid = fork();
	if (!pid) {
		m = open("/proc/self/mem", O_RDWR);
		_exit(pwrite(m, "x", 1, (off_t)(uintptr_t)none) == 1 && pread(m, &c, 1, (off_t)(uintptr_t)none) == 1 &&
			      c == 'x' && can_write(none) == 0 ? 0 : 1);
	}
	CHECK(waitpid(pid, &st, 0) == pid && st == 0);
	CHECK(pread(m, &c, 1, (off_t)(uintptr_t)none) == 1 && c == 'd');
	CHECK(pwrite(m, "E", 1, (off_t)(uintptr_t)shared) == -1 && errno == EIO);
	CHECK(pwrite(m, "F", 1, (off_t)(uintptr_t)file) == 1 && file[0] == 'F' && shared[0] == 0 && !can_write(file));
	CHECK(pread(m, &c, 1, (off_t)(uintptr_t)code) == 1 && pwrite(m, &c, 1, (off_t)(uintptr_t)code) == 1 && code() == 1);
	close(m), close(fd);
	munmap(ro, 3 * PG), munmap(none, PG), munmap(shared, PG), munmap(file, PG);
	unlink(DIR "/s");
	signal(SIGSEGV, SIG_DFL);
}

static void most_memory(void)
{
	struct rusage u, c;
	long before;
	char *p;
	pid_t pid;

	CHECK(getrusage(RUSAGE_SELF, &u) == 0 && u.ru_maxrss > 0);
	before = u.ru_maxrss;
	p = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 1, 8 << 20);
	munmap(p, 8 << 20);
	CHECK(getrusage(RUSAGE_SELF, &u) == 0 && u.ru_maxrss >= before + 7000 && u.ru_maxrss < before + 12000);
	pid = fork();
	if (!pid) {
		p = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(p, 1, 16 << 20);
		_exit(0);
	}
	CHECK(status_of(pid) == 0 && getrusage(RUSAGE_CHILDREN, &c) == 0 && c.ru_maxrss >= 16000 && c.ru_maxrss < 25000);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!argc)
		return 79;
	if (!argv[0][0] && argc == 1)
		return 78;
	if (argc > 1 && !strcmp(argv[1], "stop")) {
		raise(SIGSTOP);
		return 5;
	}
	if (argc > 1)
		return 77;
	mkdir("/tmp", 0777);
	mkdir(DIR, 0777);
	file_sizes();
	arguments();
	running_programs();
	past_rights();
	most_memory();
	rmdir(DIR);
	printf("limits: %d failed\n", failures);
	return failures != 0;
}
