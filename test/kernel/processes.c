/* SPDX-License-Identifier: MIT */
/*
 * Processes, signals, pipes and files as an ordinary program uses them. Exit status 0: all as on
 * Linux. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static sigjmp_buf back;
static volatile int code, children, alarms;
static void *volatile where;
static char *volatile handler_sp;
static char other_stack[65536];

static void caught(int sig, siginfo_t *info, void *context)
{
	char here;

	code = info->si_code;
	where = info->si_addr;
	handler_sp = &here;
	siglongjmp(back, sig);
}

static void counted(int sig)
{
	if (sig == SIGCHLD)
		children++;
	else
		alarms++;
}

static void on(int sig, void (*fn)(int), int flags)
{
	struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};

	sigaction(sig, &sa, NULL);
}

static void on_fault(int flags)
{
	struct sigaction sa = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | flags};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

/* The signal that storing to p causes, 0: none. */
static int store(volatile char *p)
{
	int sig = sigsetjmp(back, 1);

	if (!sig)
		*p = 1;
	return sig;
}

static void faults(void)
{
	char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *m;
	int fd = memfd_create("f", 0);

	on_fault(0);
	CHECK(store((char *)0x1234) == SIGSEGV && code == SEGV_MAPERR && where == (void *)0x1234);
	CHECK(store(p + 7) == SIGSEGV && code == SEGV_ACCERR && where == p + 7);
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(store(m + 5) == 0);
	CHECK(store(m + 4097) == SIGBUS && code == BUS_ADRERR && where == m + 4097);
	close(fd);
}

static int deeper(int n)
{
	volatile char room[4096];

	room[0] = (char)n;
	return n < 1 << 20 ? deeper(n + 1) + room[0] : 0;
}

static void stack_overflow(void)
{
	stack_t ss = {.ss_sp = other_stack, .ss_size = sizeof(other_stack)};

	CHECK(sigaltstack(&ss, NULL) == 0);
	on_fault(SA_ONSTACK);
	if (!sigsetjmp(back, 1)) {
		deeper(0);
		CHECK(!"the stack ended");
	}
	CHECK(handler_sp > other_stack && handler_sp < other_stack + sizeof(other_stack));
}

static void forks(void)
{
	volatile double d = 1.5;
	volatile int x = 5;
	pid_t pid;

	on(SIGCHLD, counted, SA_RESTART);
	pid = fork();
	if (!pid) {
		x++;
		d += 1;
		_exit(x == 6 && d == 2.5 ? 42 : 1);
	}
	CHECK(status_of(pid) == 42 && x == 5 && d == 1.5 && children == 1);
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile int *)8 = 1;
		_exit(0);
	}
	CHECK(status_of(pid) == 256 + SIGSEGV);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
	CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
}

/* Two children that never give the processor up, each with floating point of its own. */
static void preemption(void)
{
	pid_t pid[2];

	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		double f = i;

		for (volatile long j = 0; j < 3000000; j++)
			f += 0.5;
		_exit(f == i + 1500000.0 ? i : 99);
	}
	CHECK(status_of(pid[0]) == 0 && status_of(pid[1]) == 1);
}

static void pipes(void)
{
	char buf[5000] = {0}, c;
	long total = 0, n;
	struct pollfd pf;
	int p[2];
	pid_t pid;

	CHECK(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 100; i++)
			if (write(p[1], buf, sizeof(buf)) != sizeof(buf))
				_exit(1);
		_exit(0);
	}
	close(p[1]);
	while ((n = read(p[0], buf, 3000)) > 0)
		total += n;
	CHECK(total == 500000 && status_of(pid) == 0);
	close(p[0]);
	CHECK(pipe(p) == 0);
	pf = (struct pollfd){.fd = p[0], .events = POLLIN};
	CHECK(poll(&pf, 1, 20) == 0);
	CHECK(write(p[1], "q", 1) == 1 && poll(&pf, 1, 1000) == 1 && read(p[0], &c, 1) == 1);
	signal(SIGPIPE, SIG_IGN);
	close(p[0]);
	CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE);
	close(p[1]);
}

static void interrupted_calls(void)
{
	/* Again and again: on a busy host the first may come before the call that it is to interrupt. */
	struct itimerval soon = {.it_value = {.tv_usec = 50000}, .it_interval = {.tv_usec = 50000}};
	struct itimerval never = {0};
	struct timespec none = {0, 0};
	siginfo_t info;
	sigset_t set;
	pid_t pid;
	char c = 0;
	int p[2], before;

	CHECK(pipe(p) == 0);
	on(SIGALRM, counted, 0);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK(read(p[0], &c, 1) == -1 && errno == EINTR && alarms >= 1);
	setitimer(ITIMER_REAL, &never, NULL);
	on(SIGALRM, counted, SA_RESTART);
	before = alarms;
	setitimer(ITIMER_REAL, &soon, NULL);
	pid = fork(); /* a timer is not inherited */
	if (!pid) {
		usleep(150000);
		_exit(write(p[1], "z", 1) != 1);
	}
	CHECK(read(p[0], &c, 1) == 1 && c == 'z' && alarms > before);
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK(status_of(pid) == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	CHECK(sigtimedwait(&set, &info, &none) == SIGUSR1);
	close(p[0]);
	close(p[1]);
}

static void files(void)
{
	char buf[300];
	struct stat st;
	int fd;

	mkdir("/tmp/d", 0755);
	CHECK(chdir("/tmp/d") == 0 && getcwd(buf, sizeof(buf)) && !strcmp(buf, "/tmp/d"));
	fd = open("../d/./x", O_CREAT | O_RDWR | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, "hello\n", 6) == 6);
	CHECK(fstat(fd, &st) == 0 && st.st_size == 6 && S_ISREG(st.st_mode));
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && read(fd, buf, 10) == 6);
	close(fd);
	CHECK(rename("x", "y") == 0 && access("y", F_OK) == 0 && access("x", F_OK) == -1);
	CHECK(rmdir("/tmp/d") == -1 && errno == ENOTEMPTY);
	CHECK(unlink("y") == 0 && chdir("/") == 0 && rmdir("/tmp/d") == 0);
	CHECK(readlink("/proc/self/exe", buf, sizeof(buf)) > 0);
}

static void directories(void)
{
	DIR *d = opendir("/proc/self");
	struct dirent *e;
	int maps = 0;

	CHECK(d);
	while (d && (e = readdir(d)))
		maps += !strcmp(e->d_name, "maps");
	CHECK(maps == 1);
	if (d)
		closedir(d);
}

static void sizes_and_names(void)
{
	struct iovec v[2] = {{"ab", 2}, {"cde", 3}};
	struct { /* struct statx, which not every C library has */
		uint32_t mask, blksize, attributes[2], nlink, uid, gid;
		uint16_t mode, pad;
		uint64_t ino, size, rest[30];
	} x;
	const char *volatile nowhere = NULL;
	struct statfs fs;
	char buf[8];
	int fd = open("/tmp/f", O_CREAT | O_RDWR | O_TRUNC, 0640);

	CHECK(fd >= 0 && pwritev(fd, v, 2, 1) == 5 && pread(fd, buf, 8, 0) == 6);
	CHECK(!memcmp(buf, "\0abcde", 6));
	CHECK(syscall(SYS_statx, AT_FDCWD, "/tmp/f", 0, 0x7ff, &x) == 0 && x.size == 6);
	CHECK(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0x7ff, &x) == 0 && S_ISREG(x.mode));
	CHECK(ftruncate(fd, 3) == 0 && lseek(fd, 0, SEEK_END) == 3);
	CHECK(fallocate(fd, 0, 0, 10000) == 0 && lseek(fd, 0, SEEK_END) == 10000);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096) == -1 && errno == EOPNOTSUPP);
	CHECK(statfs("/tmp/f", &fs) == 0 && fs.f_bsize == 4096 && fs.f_namelen == 255);
	CHECK(statfs(nowhere, &fs) == -1 && errno == EFAULT);
	CHECK(chown(nowhere, 0, 0) == -1 && errno == EFAULT);
	CHECK(link("/tmp/f", "/tmp/g") == 0 && fstatat(AT_FDCWD, "/tmp/g", &(struct stat){0}, 0) == 0);
	CHECK(symlink("f", "/tmp/s") == 0 && readlink("/tmp/s", buf, 8) == 1 && buf[0] == 'f');
	CHECK(unlink("/tmp/f") == 0 && unlink("/tmp/g") == 0 && unlink("/tmp/s") == 0);
	close(fd);
}

static void plain_calls(void)
{
	struct iovec here[2] = {{(char[3]){0}, 3}, {(char[4]){0}, 4}}, there = {"seventy", 7};
	struct { uint32_t version, pid; } head = {0x20080522, 0};
	struct { uint32_t effective, permitted, inheritable; } caps[2];
	struct timespec soon = {0, 1000000};
	struct itimerval timer;
	siginfo_t info;
	sigset_t set;
	int fd = dup(0);
	pid_t pid;

	CHECK(process_vm_readv(getpid(), here, 2, &there, 1, 0) == 7);
	CHECK(!memcmp(here[0].iov_base, "sev", 3) && !memcmp(here[1].iov_base, "enty", 4));
	pid = fork();
	if (!pid)
		_exit(5);
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED) == 0 && info.si_code == CLD_EXITED);
	CHECK(info.si_signo == SIGCHLD && info.si_pid == pid && info.si_status == 5);
	CHECK(waitid(P_ALL, 0, &info, WEXITED) == -1 && errno == ECHILD);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && raise(SIGUSR1) == 0);
	CHECK(sigtimedwait(&set, &info, &soon) == SIGUSR1 && info.si_pid == getpid());
	CHECK(sigtimedwait(&set, &info, &soon) == -1 && errno == EAGAIN);
	CHECK(getitimer(ITIMER_REAL, &timer) == 0 && timer.it_value.tv_sec == 0);
	/* 5.10 has 41 capabilities: nine in the upper word. */
	CHECK(syscall(SYS_capget, &head, caps) == 0 && (!caps[1].effective || caps[1].effective == 0x1ff));
	/* A descriptor is an int: what stands above it in the register is nothing. */
	CHECK(syscall(SYS_fcntl, fd | 1l << 40, F_SETFD, 1l) == 0 && fcntl(fd, F_GETFD) == 1);
	CHECK(syscall(SYS_dup3, 0l, fd | 1l << 40, 0l) == fd && fcntl(fd, F_GETFD) == 0);
	close(fd);
}

static void spawns(char *self)
{
	char *argv[] = {self, "child", NULL}, *env[] = {"FOO=bar", NULL};
	pid_t pid;

	CHECK(posix_spawn(&pid, self, NULL, NULL, argv, env) == 0 && status_of(pid) == 9);
	CHECK(posix_spawn(&pid, "/nonexistent", NULL, NULL, argv, env) == ENOENT);
}

static void limits(void)
{
	struct rlimit rl = {1 << 20, 1 << 20};

	CHECK(setrlimit(RLIMIT_AS, &rl) == 0);
	CHECK(mmap(NULL, 4 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
	      errno == ENOMEM);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return !strcmp(getenv("FOO"), "bar") ? 9 : 8;
	faults();
	stack_overflow();
	forks();
	preemption();
	pipes();
	interrupted_calls();
	files();
	directories();
	sizes_and_names();
	plain_calls();
	spawns(argv[0]);
	limits();
	printf("processes: %d failures\n", failures);
	return failures != 0;
}
