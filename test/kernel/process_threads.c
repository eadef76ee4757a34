/* SPDX-License-Identifier: MIT */
/*
 * Processes made, waited for, killed, replaced and looked at by several threads at once, with alarms
 * and signals coming in between. Exit status 0: all as on Linux. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define SECONDS 3 /* of each group of hammers */
#define MOST	4 /* threads in one */
#define WAITERS 3
#define EXEC_STATUS 9

static char *self;
static time_t until;

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static int going(void)
{
	return now() < until;
}

/* ---- floating point over fork ---------------------------------------------------------------- */

/*
 * A register is loaded, others run so that it is saved and loaded again, and the process forks with
 * no floating point in between: the child's is what the parent's was.
 */
#if defined(__x86_64__)
static uint64_t register_over_fork(uint64_t v, long *pid)
{
	uint64_t got;

	__asm__ volatile("movq %[v], %%xmm9\n"
			 "mov $50, %%r12d\n"
			 "1: mov %[yield], %%eax\n"
			 "syscall\n"
			 "dec %%r12d\n"
			 "jnz 1b\n"
			 "mov %[fork], %%eax\n"
			 "syscall\n"
			 "mov %%rax, %[pid]\n"
			 "movq %%xmm9, %[got]\n"
			 : [got] "=&r"(got), [pid] "=&r"(*pid)
			 : [v] "r"(v), [yield] "i"(SYS_sched_yield), [fork] "i"(SYS_fork)
			 : "rax", "rcx", "r11", "r12", "xmm9", "memory");
	return got;
}
#else
static uint64_t register_over_fork(uint64_t v, long *pid)
{
	uint64_t got;
	long r;

	__asm__ volatile("fmv.d.x fs3, %[v]\n"
			 "li s5, 50\n"
			 "1: li a7, %[yield]\n"
			 "ecall\n"
			 "addi s5, s5, -1\n"
			 "bnez s5, 1b\n"
			 "li a7, %[clone]\n"
			 "li a0, 17\n" /* SIGCHLD */
			 "li a1, 0\n"
			 "li a2, 0\n"
			 "li a3, 0\n"
			 "li a4, 0\n"
			 "ecall\n"
			 "mv %[pid], a0\n"
			 "fmv.x.d %[got], fs3\n"
			 : [got] "=&r"(got), [pid] "=&r"(r)
			 : [v] "r"(v), [yield] "i"(SYS_sched_yield), [clone] "i"(SYS_clone)
			 : "a0", "a1", "a2", "a3", "a4", "a7", "s5", "fs3", "memory");
	*pid = r;
	return got;
}
#endif

static void fp_of_a_child(void)
{
	uint64_t v = 0x4010203040506070, got;
	pid_t other = fork();
	long pid;

	if (!other)
		for (;;)
			sched_yield();
	got = register_over_fork(v, &pid);
	if (!pid)
		_exit(got == v ? 0 : 1);
	CHECK(got == v && status_of((int)pid) == 0);
	kill(other, SIGKILL);
	CHECK(status_of(other) == 256 + SIGKILL);
}

/* ---- who waits gets it, once ------------------------------------------------------------------ */

static pid_t wanted;

static void *wait_for_it(void *arg)
{
	int st, r = waitpid(wanted, &st, 0);

	if (r == wanted)
		return (void *)(long)(WIFEXITED(st) && WEXITSTATUS(st) == 7 ? 1 : 100);
	return (void *)(long)(r == -1 && errno == ECHILD ? 0 : 1000);
}

static void several_waiters(void)
{
	pthread_t t[WAITERS];
	long got = 0;
	void *r;

	for (int round = 0; round < 20; round++) {
		int go[2];
		char c;

		CHECK(pipe(go) == 0);
		wanted = fork();
		if (!wanted)
			_exit(read(go[0], &c, 1) == 1 ? 7 : 1);
		for (int i = 0; i < WAITERS; i++)
			CHECK(pthread_create(&t[i], NULL, wait_for_it, NULL) == 0);
		if (round % 2)
			usleep(2000);
		CHECK(write(go[1], "x", 1) == 1);
		for (int i = 0; i < WAITERS; i++) {
			pthread_join(t[i], &r);
			got += (long)r;
		}
		close(go[0]);
		close(go[1]);
	}
	CHECK(got == 20);
}

/* As on Linux: the child is reaped before its status is copied, and WNOWAIT leaves it. */
static void told_nowhere(void)
{
	int *volatile nowhere = (int *)8;
	siginfo_t info = {0};
	pid_t pid = fork();

	if (!pid)
		_exit(3);
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0 && info.si_status == 3);
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0 && info.si_pid == pid);
	CHECK(syscall(SYS_wait4, pid, nowhere, 0, NULL) == -1 && errno == EFAULT);
	CHECK(waitpid(pid, NULL, 0) == -1 && errno == ECHILD);
	CHECK(waitid(P_PID, 0, &info, WEXITED) == -1 && errno == EINVAL);
}

/* ---- priorities ------------------------------------------------------------------------------ */

static void priorities(void)
{
	pid_t pid = fork();

	if (!pid) {
		errno = 0;
		_exit(setpriority(PRIO_PROCESS, 0, 5) || getpriority(PRIO_PROCESS, 0) != 5 ||
		      setpriority(PRIO_PROCESS, 0, 100) || getpriority(PRIO_PROCESS, 0) != 19 ||
		      setpriority(PRIO_PROCESS, 0, -100) || getpriority(PRIO_PROCESS, 0) != -20 ||
		      setpriority(99, 0, 1) != -1 || errno != EINVAL ||
		      setpriority(PRIO_PROCESS, 4000000, 1) != -1 || errno != ESRCH);
	}
	CHECK(status_of(pid) == 0);
	CHECK(setpriority(PRIO_PROCESS, 0, 3) == 0);
	pid = fork();
	if (!pid)
		_exit(getpriority(PRIO_PROCESS, 0) == 3 ? 0 : 1);
	CHECK(status_of(pid) == 0 && setpriority(PRIO_PROCESS, 0, 0) == 0);
}

/* ---- an ignored signal that is waited for ----------------------------------------------------- */

static void waited_signal(void)
{
	struct timespec long_time = {10, 0};
	sigset_t set, old;
	siginfo_t info;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD); /* its default is to do nothing */
	pthread_sigmask(SIG_BLOCK, &set, &old);
	pid = fork();
	if (!pid) {
		usleep(30000);
		_exit(0);
	}
	CHECK(sigtimedwait(&set, &info, &long_time) == SIGCHLD && info.si_pid == pid);
	CHECK(status_of(pid) == 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* ---- the hammers ----------------------------------------------------------------------------- */

static long done[8];

static void *fork_and_wait(void *arg)
{
	for (int i = 0; going(); i++) {
		pid_t pid = fork();

		if (!pid) {
			if (i % 8 == 7 && !fork()) /* an orphan, soon */
				_exit(0);
			_exit(i & 63);
		}
		CHECK(pid > 0 && status_of(pid) == (i & 63));
		done[0]++;
	}
	return NULL;
}

static void *kill_and_wait(void *arg)
{
	for (int i = 0; going(); i++) {
		pid_t pid = fork();

		if (!pid)
			for (;;)
				i % 3 ? (void)pause() : (void)getppid();
		if (i % 2)
			sched_yield();
		CHECK(kill(pid, SIGKILL) == 0);
		CHECK(status_of(pid) == 256 + SIGKILL);
		CHECK(kill(pid, 0) == -1 && errno == ESRCH);
		done[1]++;
	}
	return NULL;
}

static void *run_programs(void *arg)
{
	char *argv[] = {self, "child", NULL}, *env[] = {NULL};
	pid_t pid;

	while (going()) {
		CHECK(posix_spawn(&pid, self, NULL, NULL, argv, env) == 0);
		CHECK(status_of(pid) == EXEC_STATUS);
		done[2]++;
	}
	return NULL;
}

static void read_whole(const char *path)
{
	char buf[512];
	int fd = open(path, O_RDONLY);

	while (fd >= 0 && read(fd, buf, sizeof(buf)) > 0)
		;
	if (fd >= 0)
		close(fd);
}

/* Everything of everybody; they come and go. */
static void look_at(const char *pid)
{
	static const char *const names[] = {"status", "stat", "statm", "maps", "smaps", "cmdline",
					    "environ", "comm", "limits"};
	char path[300], to[300];
	struct iovec here = {to, 8}, there = {(void *)&until, 8};
	DIR *d;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, names[i]);
		read_whole(path);
	}
	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	(void)!readlink(path, to, sizeof(to));
	snprintf(path, sizeof(path), "/proc/%s/cwd", pid);
	(void)!readlink(path, to, sizeof(to));
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		;
	if (d)
		closedir(d);
	process_vm_readv(atoi(pid), &here, 1, &there, 1, 0);
}

static void *look_at_all(void *arg)
{
	while (going()) {
		DIR *d = opendir("/proc");
		struct dirent *e;
		int me = 0;

		CHECK(d);
		while (d && (e = readdir(d)))
			if (e->d_name[0] >= '0' && e->d_name[0] <= '9') {
				me += atoi(e->d_name) == getpid();
				look_at(e->d_name);
			}
		if (d)
			closedir(d);
		CHECK(me == 1);
		done[3]++;
	}
	return NULL;
}

static void *idle(void *arg)
{
	long kind = (long)arg;

	for (;;) {
		pid_t pid;

		if (kind == 0)
			pause();
		else if (kind == 1)
			sched_yield();
		pid = kind == 2 ? fork() : -1;
		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

static void *exec_it(void *arg)
{
	char *argv[] = {self, "child", NULL}, *env[] = {NULL};

	execve(self, argv, env);
	_exit(1);
}

static void *exit_it(void *arg)
{
	_exit(5);
}

/* The process ends, or runs another program, by any of its threads while the others do what they do. */
static void *end_beside_threads(void *arg)
{
	for (int i = 0; going(); i++) {
		pid_t pid = fork();
		int st;

		if (!pid) {
			pthread_t t;

			for (long k = 0; k < 3; k++)
				pthread_create(&t, NULL, idle, (void *)k);
			if (i % 4 == 0)
				exec_it(NULL);
			if (i % 4 == 1)
				pthread_create(&t, NULL, exec_it, NULL);
			if (i % 4 == 2)
				_exit(5);
			if (i % 4 == 3) {
				pthread_create(&t, NULL, exit_it, NULL);
				pthread_create(&t, NULL, exec_it, NULL);
			}
			idle(0);
		}
		st = status_of(pid);
		CHECK(st == (i % 4 == 2 ? 5 : EXEC_STATUS) || (i % 4 == 3 && st == 5));
		done[4]++;
	}
	return NULL;
}

static volatile double scratch;

static void with_fp(int sig)
{
	scratch = scratch * 1.5 + 1.0;
	if (scratch > 1e9)
		scratch = 0;
}

/* An alarm that comes again and again, over a computation and over the end of a process. */
static void *alarms_and_fp(void *arg)
{
	for (int i = 0; going(); i++) {
		pid_t pid = fork();

		if (!pid) {
			struct itimerval often = {{0, 1000}, {0, 1000}};
			double f = i;

			signal(SIGALRM, with_fp);
			setitimer(ITIMER_REAL, &often, NULL);
			for (volatile long j = 0; j < 200000; j++)
				f += 0.5;
			_exit(f == i + 100000.0 && scratch >= 0 ? 0 : 1);
		}
		CHECK(status_of(pid) == 0);
		done[5]++;
	}
	return NULL;
}

static pid_t target_tid;

static void *computes(void *arg)
{
	target_tid = (pid_t)syscall(SYS_gettid);
	for (int i = 0; going(); i++) {
		double f = i;

		for (volatile long j = 0; j < 20000; j++)
			f += 0.25;
		CHECK(f == i + 5000.0);
		done[6]++;
	}
	target_tid = 0;
	return NULL;
}

static void *sends(void *arg)
{
	while (going()) {
		pid_t tid = target_tid;

		if (tid)
			syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
		usleep(500);
		done[7]++;
	}
	return NULL;
}

static void run_together(void *(*const *fn)(void *), unsigned n)
{
	pthread_t t[MOST];

	until = now() + SECONDS;
	for (unsigned i = 0; i < n; i++)
		CHECK(pthread_create(&t[i], NULL, fn[i], NULL) == 0);
	for (unsigned i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	CHECK(errno == ECHILD);
}

/* In groups: forks of one space wait for each other, and behind many that compute they all starve. */
static void hammer(void)
{
	static void *(*const family[])(void *) = {fork_and_wait, fork_and_wait, kill_and_wait,
						  look_at_all};
	static void *(*const programs[])(void *) = {run_programs, end_beside_threads, look_at_all};
	static void *(*const signals[])(void *) = {alarms_and_fp, computes, sends, fork_and_wait};
	struct sigaction sa = {.sa_handler = with_fp, .sa_flags = SA_RESTART};

	sigaction(SIGUSR1, &sa, NULL);
	run_together(family, 4);
	run_together(programs, 3);
	run_together(signals, 4);
	printf("# %ld forks, %ld kills, %ld programs, %ld looks, %ld ends, %ld alarms, %ld sums, "
	       "%ld signals\n", done[0], done[1], done[2], done[3], done[4], done[5], done[6], done[7]);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return EXEC_STATUS;
	self = argv[0];
	fp_of_a_child();
	several_waiters();
	told_nowhere();
	priorities();
	waited_signal();
	hammer();
	printf("process_threads: %d failures\n", failures);
	return failures != 0;
}
