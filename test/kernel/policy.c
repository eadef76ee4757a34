/* SPDX-License-Identifier: MIT */
/*
 * The calls on the scheduler's policy, as far as the ordinary one goes, and /dev/full. Exit status 0: all as on
 * Linux 5.10. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

/* musl's own wrappers answer ENOSYS. */
#define CALL(name, ...) syscall(SYS_sched_##name, __VA_ARGS__)

static void policies(void)
{
	struct sched_param p = {.sched_priority = 7};
	struct timespec t = {-1, -1};

	CHECK(CALL(getscheduler, 0) == SCHED_OTHER && CALL(getscheduler, getpid()) == SCHED_OTHER);
	CHECK(CALL(getscheduler, 999999) == -1 && errno == ESRCH);
	CHECK(CALL(getscheduler, -1) == -1 && errno == EINVAL);
	CHECK(CALL(getparam, 0, &p) == 0 && p.sched_priority == 0);
	CHECK(CALL(getparam, 0, NULL) == -1 && errno == EINVAL);
	CHECK(CALL(setscheduler, 0, SCHED_OTHER, &p) == 0 && CALL(setparam, 0, &p) == 0);
	p.sched_priority = 1;
	CHECK(CALL(setscheduler, 0, SCHED_OTHER, &p) == -1 && errno == EINVAL);
	CHECK(CALL(setparam, 0, &p) == -1 && errno == EINVAL);
	CHECK(CALL(setscheduler, 0, 4, &p) == -1 && errno == EINVAL);
	CHECK(CALL(setscheduler, 0, SCHED_OTHER, (void *)8) == -1 && errno == EFAULT);
	p.sched_priority = 100;
	CHECK(CALL(setscheduler, 0, SCHED_FIFO, &p) == -1 && errno == EINVAL);
	p.sched_priority = 0;
	CHECK(CALL(setscheduler, 0, SCHED_RR, &p) == -1 && errno == EINVAL);
	CHECK(CALL(setscheduler, 999999, SCHED_OTHER, &p) == -1 && errno == ESRCH);
	CHECK(CALL(get_priority_max, SCHED_OTHER) == 0 && CALL(get_priority_min, SCHED_OTHER) == 0);
	CHECK(CALL(get_priority_max, SCHED_FIFO) == 99 && CALL(get_priority_min, SCHED_RR) == 1);
	CHECK(CALL(get_priority_max, 4) == -1 && errno == EINVAL && CALL(get_priority_max, 77) == -1);
	CHECK(CALL(rr_get_interval, 0, &t) == 0 && t.tv_sec == 0 && t.tv_nsec >= 0);
}

static void always_full(void)
{
	char c[3] = {1, 2, 3};
	struct stat st;
	int fd = open("/dev/full", O_RDWR);

	CHECK(fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 7));
	CHECK(read(fd, c, 3) == 3 && !c[0] && !c[1] && !c[2]);
	CHECK(write(fd, c, 3) == -1 && errno == ENOSPC);
	close(fd);
}

int main(void)
{
	policies();
	always_full();
	printf("policy: %d failed\n", failures);
	return failures != 0;
}
