/* SPDX-License-Identifier: MIT */
/*
 * epoll, eventfd, timerfd, signalfd, select, and ioctls of any file, as an ordinary program uses them. Exit
 * status 0: all as on Linux 5.10. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int watch(int ep, int op, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	return epoll_ctl(ep, op, fd, &e);
}

/* The events of the one descriptor that is ready within ms, 0: none, -1: not this one or more. */
static int events_of(int ep, int fd, int ms)
{
	struct epoll_event e[4];
	int n = epoll_wait(ep, e, 4, ms);

	if (n <= 0)
		return n;
	return n == 1 && e[0].data.fd == fd ? (int)e[0].events : -1;
}

static void fill(int fd)
{
	static char page[4096];

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, page, sizeof(page)) > 0)
		;
}

static void level_and_edge(void)
{
	char c[100];
	int ep = epoll_create1(EPOLL_CLOEXEC), p[2];

	CHECK(ep >= 0 && pipe(p) == 0 && (fcntl(ep, F_GETFD) & FD_CLOEXEC));
	CHECK(events_of(ep, 0, 0) == 0);
	CHECK(watch(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	CHECK(events_of(ep, p[0], 0) == 0);
	CHECK(write(p[1], "ab", 2) == 2);
	CHECK(events_of(ep, p[0], 0) == EPOLLIN && events_of(ep, p[0], -1) == EPOLLIN);
	CHECK(watch(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET) == 0);
	CHECK(events_of(ep, p[0], 0) == EPOLLIN && events_of(ep, p[0], 0) == 0);
	CHECK(write(p[1], "c", 1) == 1); /* a write is an edge even if something is there */
	CHECK(events_of(ep, p[0], 0) == EPOLLIN && events_of(ep, p[0], 0) == 0);
	CHECK(read(p[0], c, 1) == 1 && events_of(ep, p[0], 0) == 0); /* a read is none */
	CHECK(watch(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT) == 0);
	CHECK(events_of(ep, p[0], 0) == EPOLLIN && events_of(ep, p[0], 0) == 0);
	CHECK(write(p[1], "d", 1) == 1 && events_of(ep, p[0], 0) == 0);
	CHECK(watch(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT) == 0);
	CHECK(events_of(ep, p[0], 0) == EPOLLIN && events_of(ep, p[0], 0) == 0);
	CHECK(read(p[0], c, sizeof(c)) == 3);
	CHECK(watch(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT | EPOLLET) == 0);
	CHECK(events_of(ep, p[0], 0) == 0);
	close(p[1]);
	CHECK(events_of(ep, p[0], 0) == EPOLLHUP && events_of(ep, p[0], 0) == 0);
	CHECK(watch(ep, EPOLL_CTL_DEL, p[0], 0) == 0);
	CHECK(watch(ep, EPOLL_CTL_DEL, p[0], 0) == -1 && errno == ENOENT);
	close(p[0]);
	close(ep);
}

static void writers(void)
{
	char c[4096];
	int ep = epoll_create1(0), p[2];

	CHECK(pipe(p) == 0 && watch(ep, EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLET) == 0);
	CHECK(events_of(ep, p[1], 0) == EPOLLOUT && events_of(ep, p[1], 0) == 0);
	CHECK(write(p[1], c, 100) == 100 && read(p[0], c, 100) == 100);
	CHECK(events_of(ep, p[1], 0) == 0); /* it was not full */
	fill(p[1]);
	CHECK(events_of(ep, p[1], 0) == 0);
	CHECK(read(p[0], c, 4096) == 4096 && events_of(ep, p[1], 0) == EPOLLOUT);
	close(p[0]);
	CHECK(events_of(ep, p[1], 0) == (EPOLLOUT | EPOLLERR));
	close(p[1]);
	close(ep);
}

static void wrong_uses(void)
{
	struct epoll_event e;
	int ep = epoll_create1(0), p[2], file = memfd_create("f", 0), null = open("/dev/null", O_RDWR), dead;

	CHECK(pipe(p) == 0 && file >= 0 && null >= 0);
	dead = dup(p[0]);
	close(dead);
	CHECK(epoll_create1(1) == -1 && errno == EINVAL);
#ifdef SYS_epoll_create
	CHECK(syscall(SYS_epoll_create, 0) == -1 && errno == EINVAL);
#endif
	CHECK(watch(ep, EPOLL_CTL_ADD, file, EPOLLIN) == -1 && errno == EPERM);
	CHECK(watch(ep, EPOLL_CTL_ADD, null, EPOLLIN) == -1 && errno == EPERM);
	CHECK(watch(ep, EPOLL_CTL_ADD, ep, EPOLLIN) == -1 && errno == EINVAL);
	CHECK(watch(ep, EPOLL_CTL_ADD, dead, EPOLLIN) == -1 && errno == EBADF);
	CHECK(watch(dead, EPOLL_CTL_ADD, p[0], EPOLLIN) == -1 && errno == EBADF);
	CHECK(watch(p[1], EPOLL_CTL_ADD, p[0], EPOLLIN) == -1 && errno == EINVAL);
	CHECK(watch(ep, EPOLL_CTL_MOD, p[0], EPOLLIN) == -1 && errno == ENOENT);
	CHECK(watch(ep, 4, p[0], EPOLLIN) == -1 && errno == EINVAL);
	CHECK(watch(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	CHECK(watch(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == -1 && errno == EEXIST);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], NULL) == -1 && errno == EFAULT);
	CHECK(epoll_wait(ep, &e, 0, 0) == -1 && errno == EINVAL);
	CHECK(epoll_wait(ep, &e, (int)mix(0) - 1, 0) == -1 && errno == EINVAL);
	CHECK(epoll_wait(p[0], &e, 1, 0) == -1 && errno == EINVAL);
	CHECK(epoll_wait(dead, &e, 1, 0) == -1 && errno == EBADF);
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(epoll_wait(ep, (void *)(uintptr_t)(8 + mix(0)), 1, 0) == -1 && errno == EFAULT);
	CHECK(events_of(ep, p[0], 0) == EPOLLIN);
	close(p[0]);
	close(p[1]);
	close(ep);
	close(file);
	close(null);
}

/* A file is watched until its last descriptor is closed, under the one that was given. */
static void closed_files(void)
{
	int ep = epoll_create1(0), p[2], d;

	CHECK(pipe(p) == 0 && watch(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0 && write(p[1], "x", 1) == 1);
	d = dup(p[0]);
	CHECK(watch(ep, EPOLL_CTL_ADD, d, EPOLLIN) == 0); /* the same file, another descriptor */
	CHECK(watch(ep, EPOLL_CTL_DEL, d, 0) == 0);
	close(p[0]);
	CHECK(events_of(ep, p[0], 0) == EPOLLIN);
	CHECK(watch(ep, EPOLL_CTL_DEL, p[0], 0) == -1 && errno == EBADF);
	close(d);
	CHECK(events_of(ep, 0, 0) == 0);
	close(p[1]);
	close(ep);
}

static void nested(void)
{
	int e[7], p[2];

	for (int i = 0; i < 7; i++)
		e[i] = epoll_create1(0);
	CHECK(pipe(p) == 0 && watch(e[0], EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	CHECK(watch(e[1], EPOLL_CTL_ADD, e[0], EPOLLIN | EPOLLET) == 0);
	CHECK(watch(e[2], EPOLL_CTL_ADD, e[1], EPOLLIN) == 0);
	CHECK(watch(e[0], EPOLL_CTL_ADD, e[2], EPOLLIN) == -1 && errno == ELOOP);
	CHECK(events_of(e[2], e[1], 0) == 0);
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(events_of(e[2], e[1], 1000) == EPOLLIN && events_of(e[1], e[0], 0) == EPOLLIN);
	CHECK(events_of(e[1], e[0], 0) == 0 && events_of(e[2], e[1], 0) == 0);
	CHECK(events_of(e[0], p[0], 0) == EPOLLIN);
	CHECK(watch(e[3], EPOLL_CTL_ADD, e[2], EPOLLIN) == 0);
	CHECK(watch(e[4], EPOLL_CTL_ADD, e[3], EPOLLIN) == 0);
	CHECK(watch(e[5], EPOLL_CTL_ADD, e[4], EPOLLIN) == -1);
	for (int i = 0; i < 7; i++)
		close(e[i]);
	close(p[0]);
	close(p[1]);
}

static void *write_later(void *fd)
{
	usleep(60000);
	CHECK(write(*(int *)fd, "x", 1) == 1);
	return NULL;
}

/* poll, select and epoll_wait sleep until another thread makes an instance ready, one step away. */
static void sleepers(void)
{
	int in = epoll_create1(0), out = epoll_create1(0), p[2];
	struct pollfd pf = {.fd = in, .events = POLLIN};
	pthread_t t;
	fd_set set;
	char c;

	CHECK(pipe(p) == 0 && watch(in, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	CHECK(watch(out, EPOLL_CTL_ADD, in, EPOLLIN) == 0);
	for (int i = 0; i < 4; i++) {
		CHECK(pthread_create(&t, NULL, write_later, &p[1]) == 0);
		FD_ZERO(&set);
		FD_SET(in, &set);
		switch (i) {
		case 0:
			CHECK(events_of(in, p[0], -1) == EPOLLIN);
			break;
		case 1:
			CHECK(events_of(out, in, 5000) == EPOLLIN);
			break;
		case 2:
			CHECK(poll(&pf, 1, 5000) == 1 && pf.revents == POLLIN);
			break;
		default:
			CHECK(select(in + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(in, &set));
		}
		CHECK(pthread_join(t, NULL) == 0 && read(p[0], &c, 1) == 1);
	}
	close(p[0]);
	close(p[1]);
	close(in);
	close(out);
}

/* Edges are given to one thread each, whoever waits. */
static int shared_ep, shared_fd;
static unsigned got[4], ended;

static void *take_edges(void *arg)
{
	struct epoll_event e;
	uint64_t n;

	for (;;) {
		if (epoll_wait(shared_ep, &e, 1, -1) != 1)
			continue;
		if (read(shared_fd, &n, sizeof(n)) == sizeof(n) && n >= 1000) {
			__atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
			return NULL;
		}
		__atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELAXED);
	}
}

static void threads_share_one(void)
{
	const uint64_t one = 1, end = 1000;
	pthread_t t[4];
	unsigned sum = 0;

	shared_ep = epoll_create1(0);
	shared_fd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
	CHECK(watch(shared_ep, EPOLL_CTL_ADD, shared_fd, EPOLLIN | EPOLLET) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, take_edges, &got[i]) == 0);
	for (int i = 0; i < 100; i++) {
		CHECK(write(shared_fd, &one, 8) == 8);
		for (int k = 0; k < 1000 && __atomic_load_n(&got[0], __ATOMIC_RELAXED) +
			     __atomic_load_n(&got[1], __ATOMIC_RELAXED) + __atomic_load_n(&got[2], __ATOMIC_RELAXED) +
			     __atomic_load_n(&got[3], __ATOMIC_RELAXED) <= (unsigned)i; k++)
			usleep(500);
	}
	for (int i = 0; i < 4; i++)
		sum += got[i];
	CHECK(sum == 100);
	close(shared_fd);
	shared_fd = eventfd(0, EFD_NONBLOCK);
	CHECK(watch(shared_ep, EPOLL_CTL_ADD, shared_fd, EPOLLIN) == 0);
	for (unsigned i = 0; i < 4; i++) {
		CHECK(write(shared_fd, &end, 8) == 8);
		while (__atomic_load_n(&ended, __ATOMIC_RELAXED) <= i)
			usleep(500);
	}
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	close(shared_fd);
	close(shared_ep);
}

/* Of instances that watch one file exclusively some are told, of the others all. */
static void exclusive(void)
{
	int ep[3], p[2], n = 0;

	CHECK(pipe(p) == 0);
	for (int i = 0; i < 3; i++) {
		ep[i] = epoll_create1(0);
		CHECK(watch(ep[i], EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLEXCLUSIVE) == 0);
	}
	CHECK(watch(ep[0], EPOLL_CTL_MOD, p[0], EPOLLIN) == -1 && errno == EINVAL);
	CHECK(watch(ep[0], EPOLL_CTL_ADD, ep[1], EPOLLIN | EPOLLEXCLUSIVE) == -1 && errno == EINVAL);
	CHECK(watch(ep[0], EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLONESHOT | EPOLLEXCLUSIVE) == -1 &&
	      errno == EINVAL);
	CHECK(write(p[1], "x", 1) == 1);
	for (int i = 0; i < 3; i++)
		n += events_of(ep[i], p[0], 0) == EPOLLIN;
	CHECK(n >= 1);
	for (int i = 0; i < 3; i++)
		close(ep[i]);
	close(p[0]);
	close(p[1]);
}

static void eventfds(void)
{
	uint64_t n = 5, most = UINT64_MAX - 1, bad = UINT64_MAX;
	int e = eventfd(3, EFD_NONBLOCK), s = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
	struct pollfd pf = {.fd = e, .events = POLLIN | POLLOUT};

	CHECK(e >= 0 && s >= 0 && eventfd(0, 2) == -1 && errno == EINVAL);
	CHECK(poll(&pf, 1, 0) == 1 && pf.revents == (POLLIN | POLLOUT));
	CHECK(write(e, &n, 8) == 8 && read(e, &n, 8) == 8 && n == 8);
	CHECK(read(e, &n, 8) == -1 && errno == EAGAIN);
	CHECK(poll(&pf, 1, 0) == 1 && pf.revents == POLLOUT);
	CHECK(read(e, &n, 7) == -1 && errno == EINVAL);
	CHECK(write(e, &bad, 8) == -1 && errno == EINVAL);
	CHECK(write(e, &most, 8) == 8);
	CHECK(poll(&pf, 1, 0) == 1 && pf.revents == POLLIN);
	n = 1;
	CHECK(write(e, &n, 8) == -1 && errno == EAGAIN);
	CHECK(read(e, &n, 8) == 8 && n == most);
	CHECK(read(s, &n, 8) == 8 && n == 1 && read(s, &n, 8) == 8 && n == 1);
	CHECK(read(s, &n, 8) == -1 && errno == EAGAIN);
	close(e);
	close(s);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void timerfds(void)
{
	struct itimerspec in = {.it_value = {.tv_nsec = 50000000}, .it_interval = {.tv_nsec = 30000000}}, old;
	struct itimerspec never = {0}, past = {.it_value = {.tv_nsec = 1}};
	int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), ep = epoll_create1(0);
	uint64_t n = 0, begin = now_ms(), sum = 0;

	CHECK(t >= 0 && timerfd_create(99, 0) == -1 && errno == EINVAL);
	CHECK(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0) == -1 && errno == EINVAL);
	CHECK(read(t, &n, 8) == -1 && errno == EAGAIN);
	CHECK(watch(ep, EPOLL_CTL_ADD, t, EPOLLIN) == 0 && events_of(ep, t, 0) == 0);
	CHECK(timerfd_settime(t, 0, &in, &old) == 0 && !old.it_value.tv_sec && !old.it_value.tv_nsec);
	CHECK(timerfd_gettime(t, &old) == 0 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 50000000 &&
	      old.it_interval.tv_nsec == 30000000);
	while (sum < 5) {
		CHECK(events_of(ep, t, 5000) == EPOLLIN && read(t, &n, 8) == 8 && n >= 1);
		sum += n;
	}
	CHECK(now_ms() - begin >= 50 + (sum - 1) * 30 - 1);
	CHECK(timerfd_settime(t, 0, &never, &old) == 0 && old.it_interval.tv_nsec == 30000000);
	CHECK(timerfd_gettime(t, &old) == 0 && !old.it_value.tv_nsec && !old.it_interval.tv_nsec);
	CHECK(read(t, &n, 8) == -1 && errno == EAGAIN && events_of(ep, t, 0) == 0);
	CHECK(timerfd_settime(t, TFD_TIMER_ABSTIME, &past, NULL) == 0);
	CHECK(fcntl(t, F_SETFL, 0) == 0 && read(t, &n, 8) == 8 && n == 1);
	in.it_value.tv_nsec = 1000000000;
	CHECK(timerfd_settime(t, 0, &in, NULL) == -1 && errno == EINVAL);
	CHECK(timerfd_settime(t, 8, &past, NULL) == -1 && errno == EINVAL);
	CHECK(timerfd_settime(ep, 0, &past, NULL) == -1 && errno == EINVAL);
	CHECK(read(t, &n, 4) == -1 && errno == EINVAL);
	close(t);
	close(ep);
}

static void signalfds(void)
{
	struct signalfd_siginfo info[3];
	int ep = epoll_create1(0), s;
	sigset_t set;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGKILL); /* passed over */
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	s = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(s >= 0 && signalfd(ep, &set, 0) == -1 && errno == EINVAL);
	CHECK(read(s, info, sizeof(info)) == -1 && errno == EAGAIN);
	CHECK(read(s, info, 127) == -1 && errno == EINVAL);
	CHECK(watch(ep, EPOLL_CTL_ADD, s, EPOLLIN) == 0 && events_of(ep, s, 0) == 0);
	raise(SIGUSR1);
	CHECK(events_of(ep, s, 0) == EPOLLIN);
	CHECK(read(s, info, sizeof(info)) == sizeof(info[0]));
	CHECK(info[0].ssi_signo == SIGUSR1 && info[0].ssi_code == SI_TKILL && (pid_t)info[0].ssi_pid == getpid());
	CHECK(events_of(ep, s, 0) == 0);
	pid = fork();
	if (!pid) {
		usleep(60000);
		_exit(7);
	}
	CHECK(events_of(ep, s, 5000) == EPOLLIN);
	CHECK(read(s, info, sizeof(info)) == sizeof(info[0]));
	CHECK(info[0].ssi_signo == SIGCHLD && info[0].ssi_code == CLD_EXITED && info[0].ssi_status == 7);
	CHECK((pid_t)info[0].ssi_pid == pid && status_of(pid) == 7);
	sigdelset(&set, SIGUSR1);
	CHECK(signalfd(s, &set, 0) == s);
	raise(SIGUSR1);
	CHECK(events_of(ep, s, 0) == 0 && read(s, info, sizeof(info)) == -1 && errno == EAGAIN);
	fcntl(s, F_SETFL, 0);
	sigaddset(&set, SIGUSR1);
	CHECK(signalfd(s, &set, 0) == s && read(s, info, sizeof(info[0])) == sizeof(info[0]));
	CHECK(info[0].ssi_signo == SIGUSR1);
	CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
	close(s);
	close(ep);
}

static volatile int alarms;

static void on_alarm(int sig)
{
	alarms++;
}

static void selects(void)
{
	struct timeval tv = {.tv_usec = 50000}, none = {0};
	struct timespec ts = {.tv_nsec = 50000000};
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_value = {.tv_usec = 50000}}, off = {0};
	fd_set r, w, x;
	sigset_t set, empty;
	uint64_t begin;
	int p[2];
	char c;

	CHECK(pipe(p) == 0);
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&x);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	FD_SET(p[0], &x);
	CHECK(select(p[1] + 1, &r, &w, &x, &none) == 1 && !FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w) &&
	      !FD_ISSET(p[0], &x));
	FD_SET(p[0], &r);
	CHECK(write(p[1], "x", 1) == 1 && select(p[1] + 1, &r, &w, NULL, NULL) == 2 && FD_ISSET(p[0], &r));
	CHECK(read(p[0], &c, 1) == 1);
	begin = now_ms();
	CHECK(select(p[0] + 1, &r, NULL, NULL, &tv) == 0 && !FD_ISSET(p[0], &r));
	CHECK(now_ms() - begin >= 49);
	/* what is left of the time comes back */
	CHECK(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &ts, NULL) == 0 && !ts.tv_sec && !ts.tv_nsec);
	FD_SET(p[1], &w);
	ts = (struct timespec){.tv_sec = 5};
	CHECK(syscall(SYS_pselect6, p[1] + 1, NULL, &w, NULL, &ts, NULL) == 1 && ts.tv_sec == 4);
	FD_ZERO(&r);
	FD_SET(60, &r);
	CHECK(select(61, &r, NULL, NULL, &none) == -1 && errno == EBADF);
	CHECK(select(-1, NULL, NULL, NULL, &none) == -1 && errno == EINVAL);
	/* blocked but for the call, and never restarted */
	sigaction(SIGALRM, &sa, NULL);
	sigemptyset(&empty);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK(pselect(0, NULL, NULL, NULL, NULL, &empty) == -1 && errno == EINTR && alarms == 1);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &empty) == 0 && sigismember(&empty, SIGALRM));
	sigemptyset(&empty);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK(ppoll(NULL, 0, NULL, &empty) == -1 && errno == EINTR && alarms == 2);
	setitimer(ITIMER_REAL, &soon, NULL);
	{
		int ep = epoll_create1(0);
		struct epoll_event e;

		CHECK(epoll_pwait(ep, &e, 1, -1, &empty) == -1 && errno == EINTR && alarms == 3);
		setitimer(ITIMER_REAL, &soon, NULL);
		CHECK(epoll_wait(ep, &e, 1, 150) == 0 && alarms == 3); /* it waits, blocked */
		close(ep);
	}
	/* what was blocked is not let through by a call that had something else to tell */
	FD_ZERO(&w);
	FD_SET(p[1], &w);
	CHECK(pselect(p[1] + 1, NULL, &w, NULL, NULL, NULL) == 1 && alarms == 3);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	CHECK(alarms == 4);
	setitimer(ITIMER_REAL, &off, NULL);
	close(p[0]);
	close(p[1]);
}

static void ioctls(void)
{
	int p[2], file = memfd_create("f", 0), n = -1, on = 1, off = 0;
	char c;

	CHECK(pipe(p) == 0);
	CHECK(ioctl(p[0], FIONBIO, &on) == 0 && (fcntl(p[0], F_GETFL) & O_NONBLOCK));
	CHECK(read(p[0], &c, 1) == -1 && errno == EAGAIN);
	CHECK(ioctl(p[0], FIONBIO, &off) == 0 && !(fcntl(p[0], F_GETFL) & O_NONBLOCK));
	CHECK(ioctl(p[0], FIONBIO, NULL) == -1 && errno == EFAULT);
	CHECK(ioctl(p[0], FIOCLEX) == 0 && fcntl(p[0], F_GETFD) == FD_CLOEXEC);
	CHECK(ioctl(p[0], FIONCLEX) == 0 && fcntl(p[0], F_GETFD) == 0);
	CHECK(ioctl(p[0], FIONREAD, &n) == 0 && n == 0);
	CHECK(write(p[1], "abc", 3) == 3 && ioctl(p[0], FIONREAD, &n) == 0 && n == 3);
	CHECK(ftruncate(file, 100) == 0 && lseek(file, 30, SEEK_SET) == 30);
	CHECK(ioctl(file, FIONREAD, &n) == 0 && n == 70);
	CHECK(lseek(file, 130, SEEK_SET) == 130 && ioctl(file, FIONREAD, &n) == 0 && n == -30);
	CHECK(ioctl(file, TIOCGWINSZ, &n) == -1 && errno == ENOTTY);
	close(p[0]);
	close(p[1]);
	CHECK(ioctl(p[0], FIONBIO, &on) == -1 && errno == EBADF);
	close(file);
}

/* Gives the CPU up and leaves others time to sleep again. */
static void breathe(void)
{
	struct timespec t = {.tv_nsec = 1000000};

	nanosleep(&t, NULL);
}

/* A child waits for n pipes, of which the last is written to at the end; until then one that it does not
 * wait for is. It answers with how often it gave up its CPU. */
static int switches_of_poller(int n, int others)
{
	int wanted[8][2], other[2], status = -1;
	struct pollfd pf[8];
	struct rusage before, after;
	pid_t pid;

	CHECK(pipe(other) == 0);
	for (int i = 0; i < n; i++) {
		CHECK(pipe(wanted[i]) == 0);
		pf[i] = (struct pollfd){.fd = wanted[i][0], .events = POLLIN};
	}
	pid = fork();
	if (!pid) {
		getrusage(RUSAGE_SELF, &before);
		if (poll(pf, (nfds_t)n, 20000) != 1 || pf[n - 1].revents != POLLIN)
			_exit(255);
		getrusage(RUSAGE_SELF, &after);
		_exit((int)(after.ru_nvcsw - before.ru_nvcsw));
	}
	breathe();
	for (int i = 0; i < others; i++) {
		char c = 'x';

		CHECK(write(other[1], &c, 1) == 1 && read(other[0], &c, 1) == 1);
		breathe();
	}
	CHECK(write(wanted[n - 1][1], "w", 1) == 1);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	for (int i = 0; i < n; i++) {
		close(wanted[i][0]);
		close(wanted[i][1]);
	}
	close(other[0]);
	close(other[1]);
	return WEXITSTATUS(status);
}

static int closed_late;

static void *closes(void *arg)
{
	const int *p = arg;

	breathe();
	breathe();
	CHECK(close(p[0]) == 0); /* whoever waits for the file goes on doing so */
	breathe();
	closed_late = 1;
	CHECK(write(p[1], "x", 1) == 1);
	return NULL;
}

static void pollers(void)
{
	struct pollfd pf;
	pthread_t t;
	int p[2];

	CHECK(switches_of_poller(1, 40) <= 5); /* those that its waiting took, and a page that was not there */
	CHECK(switches_of_poller(8, 40) <= 5);
	CHECK(pipe(p) == 0);
	pf = (struct pollfd){.fd = p[0], .events = POLLIN};
	CHECK(pthread_create(&t, NULL, closes, p) == 0);
	CHECK(poll(&pf, 1, 20000) == 1 && pf.revents == POLLNVAL && closed_late);
	pthread_join(t, NULL);
	close(p[1]);
}

int main(void)
{
	level_and_edge();
	writers();
	wrong_uses();
	closed_files();
	nested();
	sleepers();
	threads_share_one();
	exclusive();
	eventfds();
	timerfds();
	signalfds();
	selects();
	pollers();
	ioctls();
	printf("events: %d failed\n", failures);
	return failures != 0;
}
