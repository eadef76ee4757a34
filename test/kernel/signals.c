/* SPDX-License-Identifier: MIT */
/*
 * Real-time signals, stopping and going on, timers of a process and timers that send signals, as an ordinary
 * program uses them. Exit status 0: all as on Linux 5.10. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define RT (SIGRTMIN + 3)

static volatile int calls, last_value, last_code, last_status;
static volatile int values[16];

static void noted(int sig, siginfo_t *info, void *context)
{
	if (calls < 16)
		values[calls] = info->si_value.sival_int;
	calls++;
	last_value = info->si_value.sival_int;
	last_code = info->si_code;
	last_status = info->si_status;
}

static void on(int sig, int flags)
{
	struct sigaction sa = {.sa_sigaction = noted, .sa_flags = SA_SIGINFO | flags};

	calls = 0;
	CHECK(sigaction(sig, &sa, NULL) == 0);
}

static void block(int how, int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static void queued(void)
{
	struct timespec none = {0};
	union sigval v;
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, RT);
	sigaddset(&set, RT + 1);
	sigaddset(&set, SIGUSR1);
	on(RT, 0);
	on(SIGUSR1, 0);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (v.sival_int = 1; v.sival_int <= 5; v.sival_int++)
		CHECK(sigqueue(getpid(), RT, v) == 0);
	CHECK(kill(getpid(), RT) == 0); /* queued like the others */
	v.sival_int = 8;
	CHECK(sigqueue(getpid(), SIGUSR1, v) == 0);
	v.sival_int = 9; /* of the others the first one stays */
	CHECK(sigqueue(getpid(), SIGUSR1, v) == 0 && kill(getpid(), SIGUSR1) == 0);
	v.sival_int = 7;
	CHECK(sigqueue(getpid(), RT + 1, v) == 0);
	CHECK(sigtimedwait(&set, &info, &none) == SIGUSR1 && info.si_value.sival_int == 8 &&
	      info.si_code == SI_QUEUE && info.si_pid == getpid());
	for (int i = 1; i <= 2; i++)
		CHECK(sigtimedwait(&set, &info, &none) == RT && info.si_value.sival_int == i);
	sigdelset(&set, RT + 1);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	CHECK(calls == 4 && values[0] == 3 && values[1] == 4 && values[2] == 5 && last_code == SI_USER);
	sigemptyset(&set);
	sigaddset(&set, RT + 1);
	CHECK(sigtimedwait(&set, &info, &none) == RT + 1 && info.si_value.sival_int == 7);
	CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
	CHECK(sigqueue(getpid(), 65, v) == -1 && errno == EINVAL);
	CHECK(sigqueue(getpid(), 0, v) == 0 && sigqueue(99999, 0, v) == -1 && errno == ESRCH);
	/* what is ignored now is forgotten */
	CHECK(sigqueue(getpid(), RT + 1, v) == 0 && sigqueue(getpid(), RT + 1, v) == 0);
	signal(RT + 1, SIG_IGN);
	CHECK(sigpending(&set) == 0 && !sigismember(&set, RT + 1));
	sigemptyset(&set);
	sigaddset(&set, RT + 1);
	signal(RT + 1, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void limited(void)
{
	struct rlimit l = {3, 3};
	union sigval v = {.sival_int = 1};
	pid_t pid = fork();

	if (!pid) {
		int n = 0;

		block(SIG_BLOCK, RT);
		setrlimit(RLIMIT_SIGPENDING, &l);
		while (n < 10 && !sigqueue(getpid(), RT, v))
			n++;
		_exit(n <= 3 && errno == EAGAIN ? 1 : 99);
	}
	CHECK(status_of(pid) == 1);
}

/* ---- stopping ---------------------------------------------------------------------------------- */

static char state_of(pid_t pid)
{
	char name[40], text[400], *p;
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	fd = open(name, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	p = strrchr(text, ')');
	return p ? p[2] : '?';
}

static void stops(void)
{
	siginfo_t info;
	int st;
	pid_t pid;

	on(SIGCHLD, 0);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	CHECK(waitpid(pid, &st, WNOHANG | WUNTRACED) == 0);
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
	CHECK(calls == 1 && last_code == CLD_STOPPED && last_status == SIGSTOP);
	CHECK(state_of(pid) == 'T');
	CHECK(waitpid(pid, &st, WNOHANG | WUNTRACED) == 0); /* it is told once */
	kill(pid, SIGUSR2);				     /* waits */
	usleep(30000);
	CHECK(waitpid(pid, &st, WNOHANG) == 0);
	signal(SIGUSR2, SIG_DFL);
	kill(pid, SIGCONT);
	CHECK(waitpid(pid, &st, WCONTINUED) == pid && (WIFCONTINUED(st) || WIFSIGNALED(st)));
	if (WIFCONTINUED(st))
		CHECK(waitpid(pid, &st, 0) == pid);
	CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGUSR2);
	on(SIGCHLD, SA_NOCLDSTOP);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	setpgid(pid, pid); /* of the session, and another group: somebody could let it go on */
	kill(pid, SIGTSTP);
	CHECK(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT) == 0 && info.si_code == CLD_STOPPED &&
	      info.si_status == SIGTSTP && info.si_pid == pid);
	CHECK(waitid(P_PID, (id_t)pid, &info, WSTOPPED) == 0 && info.si_code == CLD_STOPPED);
	CHECK(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == 0);
	kill(pid, SIGCONT);
	CHECK(waitid(P_PID, (id_t)pid, &info, WCONTINUED) == 0 && info.si_code == CLD_CONTINUED &&
	      info.si_status == SIGCONT);
	kill(pid, SIGTSTP);
	CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st) && calls == 0);
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL && calls == 1);
	pid = fork();
	if (!pid) {
		setsid(); /* nobody could */
		raise(SIGTSTP);
		raise(SIGTTIN);
		_exit(4);
	}
	CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFEXITED(st) && WEXITSTATUS(st) == 4);
	signal(SIGCHLD, SIG_DFL);
}

static long counter[2];

static void *count(void *n)
{
	for (;;)
		__atomic_fetch_add((long *)n, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* All threads stop, those that run and those that sleep; a stop does not end a sleep. */
static void threads_stop(void)
{
	struct timespec t = {.tv_nsec = 200000000};
	pthread_t th;
	int p[2], st;
	pid_t pid;
	char c;

	CHECK(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		pthread_create(&th, NULL, count, &counter[0]);
		c = nanosleep(&t, NULL) ? '!' : '.';
		if (write(p[1], &c, 1) != 1)
			_exit(1);
		c = poll(NULL, 0, 200) == 0 ? '.' : '!';
		if (write(p[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	for (int i = 0; i < 2; i++) {
		kill(pid, SIGSTOP);
		CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st));
		CHECK(state_of(pid) == 'T');
		usleep(50000);
		kill(pid, SIGCONT);
		CHECK(read(p[0], &c, 1) == 1 && c == '.');
	}
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
	close(p[0]);
	close(p[1]);
}

/* But epoll_wait ends. */
static void epoll_ends_by_a_stop(void)
{
	int ep = epoll_create1(0), st;
	struct epoll_event e;
	pid_t pid = fork();

	if (!pid) {
		st = epoll_wait(ep, &e, 1, 20000);
		_exit(st == -1 && errno == EINTR ? 7 : 8);
	}
	while (state_of(pid) != 'S')
		usleep(1000);
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st));
	kill(pid, SIGCONT);
	CHECK(status_of(pid) == 7);
	close(ep);
}

/* SIGCONT lets go on even if it is blocked, and takes stops back that wait; a stop takes SIGCONT back. */
static void undone(void)
{
	sigset_t set;
	pid_t pid;
	int st;

	block(SIG_BLOCK, SIGTSTP);
	block(SIG_BLOCK, SIGCONT);
	kill(getpid(), SIGTSTP);
	CHECK(sigpending(&set) == 0 && sigismember(&set, SIGTSTP));
	kill(getpid(), SIGCONT);
	CHECK(sigpending(&set) == 0 && !sigismember(&set, SIGTSTP) && sigismember(&set, SIGCONT));
	kill(getpid(), SIGTSTP);
	CHECK(sigpending(&set) == 0 && sigismember(&set, SIGTSTP) && !sigismember(&set, SIGCONT));
	kill(getpid(), SIGCONT);
	pid = fork();
	if (!pid) {
		kill(getpid(), SIGSTOP);
		sigpending(&set);
		_exit(sigismember(&set, SIGCONT) ? 5 : 6);
	}
	CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st));
	kill(pid, SIGCONT);
	CHECK(status_of(pid) == 5);
	block(SIG_UNBLOCK, SIGCONT);
	block(SIG_UNBLOCK, SIGTSTP);
}

/* ---- timers ------------------------------------------------------------------------------------ */

static void own_time(void)
{
	struct itimerval t = {{0, 20000}, {0, 30000}}, old, off = {0};
	uint64_t spins = 0;

	on(SIGVTALRM, 0);
	CHECK(setitimer(ITIMER_VIRTUAL, &t, NULL) == 0 && getitimer(ITIMER_VIRTUAL, &old) == 0);
	CHECK(old.it_interval.tv_usec == 20000 && (old.it_value.tv_usec > 0 || old.it_value.tv_sec > 0));
	while (calls < 3 && ++spins < 1ull << 36)
		;
	CHECK(calls >= 3 && setitimer(ITIMER_VIRTUAL, &off, &old) == 0 && old.it_interval.tv_usec == 20000);
	on(SIGPROF, 0);
	CHECK(setitimer(ITIMER_PROF, &t, NULL) == 0);
	usleep(150000); /* asleep, its time stands */
	CHECK(calls <= 1);
	while (calls < 2 && ++spins < 1ull << 36)
		getppid();
	CHECK(calls >= 2 && setitimer(ITIMER_PROF, &off, NULL) == 0);
	CHECK(setitimer(3, &off, NULL) == -1 && errno == EINVAL);
}

static void signal_timers(void)
{
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = RT, .sigev_value.sival_int = 77};
	struct itimerspec in = {.it_value = {.tv_nsec = 30000000}, .it_interval = {.tv_nsec = 20000000}}, old, off = {0};
	struct timespec now, long_time = {.tv_sec = 5};
	timer_t t, u;
	siginfo_t info;
	sigset_t set;
	pid_t pid;
	int left;

	on(RT, 0);
	CHECK(timer_create(CLOCK_MONOTONIC, &e, &t) == 0);
	CHECK(timer_gettime(t, &old) == 0 && !old.it_value.tv_nsec && !old.it_interval.tv_nsec);
	pid = fork(); /* not inherited */
	if (!pid)
		_exit(timer_settime(t, 0, &in, NULL) == -1 && errno == EINVAL ? 0 : 1);
	CHECK(status_of(pid) == 0);
	CHECK(timer_settime(t, 0, &in, &old) == 0);
	CHECK(timer_gettime(t, &old) == 0 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 30000000 &&
	      old.it_interval.tv_nsec == 20000000);
	while (calls < 3)
		pause();
	CHECK(last_code == SI_TIMER && last_value == 77);
	/* blocked, one waits and the others are counted */
	block(SIG_BLOCK, RT);
	CHECK(timer_settime(t, 0, &in, NULL) == 0);
	usleep(150000);
	sigemptyset(&set);
	sigaddset(&set, RT);
	while (sigtimedwait(&set, &info, &long_time) == RT && info.si_overrun < 3)
		usleep(150000);
	CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 77 && info.si_overrun >= 3);
	CHECK(timer_getoverrun(t) == info.si_overrun);
	CHECK(timer_settime(t, 0, &off, NULL) == 0);
	/* a time on the clock, once */
	clock_gettime(CLOCK_REALTIME, &now);
	e.sigev_value.sival_int = 78;
	CHECK(timer_create(CLOCK_REALTIME, &e, &u) == 0);
	now.tv_nsec += 40000000;
	if (now.tv_nsec >= 1000000000) {
		now.tv_sec++;
		now.tv_nsec -= 1000000000;
	}
	old = (struct itimerspec){.it_value = now};
	while (sigtimedwait(&set, NULL, &(struct timespec){0}) == RT)
		;
	CHECK(timer_settime(u, TIMER_ABSTIME, &old, NULL) == 0);
	CHECK(sigtimedwait(&set, &info, &long_time) == RT && info.si_value.sival_int == 78 && !info.si_overrun);
	/* one that is deleted takes its signal along */
	in.it_value.tv_nsec = 1;
	CHECK(timer_settime(u, 0, &in, NULL) == 0);
	for (left = 500; left && (sigpending(&set), !sigismember(&set, RT)); left--)
		usleep(10000);
	CHECK(left && timer_delete(u) == 0);
	CHECK(timer_delete(u) != 0 && timer_gettime(u, &old) == -1 && errno == EINVAL);
	e.sigev_signo = 70;
	CHECK(timer_create(CLOCK_MONOTONIC, &e, &u) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_timer_create, 99, NULL, &u) == -1 && errno == EINVAL);
	CHECK(timer_delete(t) == 0);
	sigemptyset(&set);
	sigaddset(&set, RT);
	while (sigtimedwait(&set, NULL, &(struct timespec){0}) == RT)
		;
	block(SIG_UNBLOCK, RT);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	queued();
	limited();
	stops();
	threads_stop();
	epoll_ends_by_a_stop();
	undone();
	own_time();
	signal_timers();
	printf("signals: %d failed\n", failures);
	return failures != 0;
}
