/* SPDX-License-Identifier: MIT */
/*
 * The clock of the day: it starts at the machine's own, files carry it, waiting until a time of it is right
 * by every call that can, and it can be set. "now=SECONDS": what it was when the machine was started.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static double seconds(clockid_t id)
{
	struct timespec t = {0};

	CHECK(clock_gettime(id, &t) == 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct timespec day_in(double s)
{
	double at = seconds(CLOCK_REALTIME) + s;
	struct timespec t = {(time_t)at, (long)((at - (double)(time_t)at) * 1e9)};

	return t;
}

static int near(double a, double b, double by)
{
	return a - b < by && b - a < by;
}

static void agree(void)
{
	struct timeval tv;
	double day = seconds(CLOCK_REALTIME);
	char b[64];
	struct stat st;
	char *at;
	FILE *f = fopen("/proc/stat", "r");
	static char text[16384];
	int fd;

	CHECK(gettimeofday(&tv, NULL) == 0 && near((double)tv.tv_sec + tv.tv_usec / 1e6, day, 1));
	CHECK(near((double)time(NULL), day, 1.5) && near(seconds(CLOCK_REALTIME_COARSE), day, 1));
	CHECK(near(seconds(CLOCK_TAI), day, 60));
	CHECK(day > 1.6e9 && seconds(CLOCK_MONOTONIC) < 1e6 && seconds(CLOCK_BOOTTIME) < 1e6);
	snprintf(b, sizeof(b), "/tmp/clock-%d", getpid());
	fd = open(b, O_CREAT | O_RDWR, 0600);
	CHECK(write(fd, "x", 1) == 1 && fstat(fd, &st) == 0 && near((double)st.st_mtime, day, 3));
	unlink(b);
	close(fd);
	CHECK(f && fread(text, 1, sizeof(text) - 1, f) > 0);
	at = strstr(text, "\nbtime ");
	CHECK(at && near(strtod(at + 7, NULL), day - seconds(CLOCK_BOOTTIME), 2));
	fclose(f);
}

static volatile int rang;

static void rings(int sig)
{
	rang++;
}

/* Each of them comes back after a tenth of a second, not at once and not never. */
static void waits(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	struct itimerspec it = {0};
	uint64_t n;
	double from;
	struct timespec t;
	timer_t timer;
	sem_t s;
	int fd;

#define WAITED() (seconds(CLOCK_MONOTONIC) - from >= 0.09 && seconds(CLOCK_MONOTONIC) - from < 5)
	alarm(60);
	from = seconds(CLOCK_MONOTONIC);
	t = day_in(0.1);
	CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL) == 0 && WAITED());
	from = seconds(CLOCK_MONOTONIC);
	t = day_in(0.1);
	pthread_mutex_lock(&m);
	CHECK(pthread_cond_timedwait(&c, &m, &t) == ETIMEDOUT && WAITED());
	from = seconds(CLOCK_MONOTONIC);
	t = day_in(0.1);
	sem_init(&s, 0, 0);
	CHECK(sem_timedwait(&s, &t) == -1 && errno == ETIMEDOUT && WAITED());
	from = seconds(CLOCK_MONOTONIC);
	fd = timerfd_create(CLOCK_REALTIME, 0);
	it.it_value = day_in(0.1);
	CHECK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &it, NULL) == 0 && read(fd, &n, 8) == 8 && n == 1 && WAITED());
	close(fd);
	from = seconds(CLOCK_MONOTONIC);
	signal(SIGALRM, rings);
	CHECK(timer_create(CLOCK_REALTIME, NULL, &timer) == 0);
	it.it_value = day_in(0.1);
	CHECK(timer_settime(timer, TIMER_ABSTIME, &it, NULL) == 0);
	while (!rang)
		usleep(1000);
	CHECK(WAITED());
	/* what is over is over */
	t = (struct timespec){1, 0};
	CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL) == 0);
	CHECK(pthread_cond_timedwait(&c, &m, &t) == ETIMEDOUT);
	alarm(0);
}

static void setting(void)
{
	struct { uint32_t version; int pid; } head = {0x20080522, 0};
	struct { uint32_t effective, permitted, inheritable; } none[2] = {{0}};
	struct timespec t = day_in(1000), bad = {1, 1000000000};
	double before = seconds(CLOCK_MONOTONIC);
	int pid;

	CHECK(clock_settime(CLOCK_REALTIME, &t) == 0);
	CHECK(near(seconds(CLOCK_REALTIME), (double)t.tv_sec, 3) && near(seconds(CLOCK_MONOTONIC), before, 3));
	t = day_in(-1000);
	CHECK(clock_settime(CLOCK_REALTIME, &t) == 0 && near(seconds(CLOCK_REALTIME), (double)t.tv_sec, 3));
	CHECK(syscall(SYS_clock_settime, CLOCK_REALTIME, &bad) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &t) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_clock_settime, CLOCK_REALTIME, 8) == -1 && errno == EFAULT);
	t = (struct timespec){0, 0};
	CHECK(syscall(SYS_clock_settime, CLOCK_REALTIME, &t) == -1 && errno == EINVAL);
	t = day_in(0);
	pid = fork();
	if (!pid) {
		CHECK(syscall(SYS_capset, &head, none) == 0);
		CHECK(syscall(SYS_clock_settime, CLOCK_REALTIME, &t) == -1 && errno == EPERM);
		fflush(stdout);
		_exit(failures);
	}
	CHECK(status_of(pid) == 0);
}

int main(int argc, char **argv)
{
	double now = argc > 1 && !strncmp(argv[1], "now=", 4) ? strtod(argv[1] + 4, NULL) : 0;

	if (now)
		CHECK(seconds(CLOCK_REALTIME) > now - 2 && seconds(CLOCK_REALTIME) < now + 300);
	agree();
	waits();
	setting();
	printf("%d failures\n", failures);
	return failures != 0;
}
