/* SPDX-License-Identifier: MIT */
/*
 * Policies of memory on a machine with one node (set_mempolicy, get_mempolicy, mbind): what they answer,
 * and that areas of different policies are areas of their own. And process_madvise, with pidfd_open.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096ul
#define RW   (PROT_READ | PROT_WRITE)

#ifdef __x86_64__
enum { MBIND = 237, SET = 238, GET = 239 };
#else
enum { MBIND = 235, GET = 236, SET = 237 };
#endif
enum { PIDFD_OPEN = 434, PIDFD_SEND = 424, PROCESS_MADVISE = 440 };
enum { DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, MAX, STATIC = 1 << 15, RELATIVE = 1 << 14 };
enum { NODE = 1, ADDR = 2, ALLOWED = 4 };
enum { STRICT = 1, MOVE = 2, MOVE_ALL = 4 };
enum { COLD = 20, PAGEOUT = 21 };

static int set(int mode, const void *nodes, unsigned long max)
{
	return syscall(SET, mode, nodes, max) ? errno : 0;
}

static int get(int *mode, void *nodes, unsigned long max, void *addr, int flags)
{
	return syscall(GET, mode, nodes, max, addr, flags) ? errno : 0;
}

static int bind_at(void *p, unsigned long n, int mode, const void *nodes, unsigned long max, int flags)
{
	return syscall(MBIND, p, n, mode, nodes, max, flags) ? errno : 0;
}

static void of_the_task(void)
{
	unsigned long none = 0, zero = 1, one = 2, both = 3, many[40] = {1}, got[4];
	int mode = -1, pid;

	CHECK(get(&mode, NULL, 0, NULL, 0) == 0 && mode == DEFAULT);
	CHECK(set(MAX, NULL, 0) == EINVAL && set(-1, NULL, 0) == EINVAL);
	CHECK(set(BIND | STATIC | RELATIVE, &zero, 64) == EINVAL);
	CHECK(set(DEFAULT, &zero, 64) == EINVAL && set(DEFAULT, &none, 64) == 0 && set(DEFAULT, NULL, 0) == 0);
	CHECK(set(BIND, NULL, 0) == EINVAL && set(BIND, &none, 64) == EINVAL && set(INTERLEAVE, NULL, 0) == EINVAL);
	CHECK(set(BIND, &one, 64) == EINVAL && set(BIND, &zero, 1) == EINVAL);
	CHECK(set(BIND, (void *)8, 64) == EFAULT && set(BIND, &zero, 40000) == EINVAL);
	CHECK(set(LOCAL, &zero, 64) == EINVAL && set(LOCAL | STATIC, NULL, 0) == EINVAL);
	CHECK(set(PREFERRED | STATIC, NULL, 0) == EINVAL && set(PREFERRED, &one, 64) == EINVAL);

	CHECK(set(BIND, &zero, 2) == 0);
	got[0] = got[1] = ~0ul;
	CHECK(get(&mode, got, 64, NULL, 0) == 0 && mode == BIND && got[0] == 1 && got[1] == ~0ul);
	got[0] = got[1] = ~0ul;
	CHECK(get(&mode, got, 129, NULL, 0) == 0 && got[0] == 1 && got[1] == 0);
	CHECK(get(&mode, got, 0, NULL, 0) == EINVAL && get(NULL, NULL, 0, NULL, 0) == 0);
	CHECK(get(&mode, NULL, 0, NULL, NODE) == EINVAL);
	CHECK(set(BIND, &both, 64) == 0 && get(&mode, got, 64, NULL, 0) == 0 && got[0] == 1);
	CHECK(set(BIND | STATIC, &both, 64) == 0 && get(&mode, got, 64, NULL, 0) == 0 && got[0] == 3 && mode == (BIND | STATIC));
	CHECK(set(BIND | RELATIVE, &one, 64) == 0 && get(&mode, got, 64, NULL, 0) == 0 && got[0] == 2 && mode == (BIND | RELATIVE));
	CHECK(set(INTERLEAVE, many, 1100) == 0 && get(&mode, got, 64, NULL, 0) == 0 && mode == INTERLEAVE && got[0] == 1);
	CHECK(get(&mode, NULL, 0, NULL, NODE) == 0 && mode == 0);
	many[16] = 1;
	CHECK(set(INTERLEAVE, many, 1100) == EINVAL);
	CHECK(set(PREFERRED, &zero, 64) == 0 && get(&mode, got, 64, NULL, 0) == 0 && mode == PREFERRED && got[0] == 1);
	CHECK(set(PREFERRED, NULL, 0) == 0 && get(&mode, got, 64, NULL, 0) == 0 && mode == PREFERRED && got[0] == 0);
	CHECK(set(LOCAL, NULL, 0) == 0 && get(&mode, got, 64, NULL, 0) == 0 && mode == PREFERRED && got[0] == 0);
	CHECK(set(BIND, &zero, 64) == 0);
	pid = fork();
	if (!pid)
		_exit(get(&mode, NULL, 0, NULL, 0) != 0 || mode != BIND);
	CHECK(status_of(pid) == 0);
	CHECK(set(DEFAULT, NULL, 0) == 0);

	CHECK(get(&mode, got, 64, NULL, ALLOWED) == 0 && got[0] == 1 && mode == 0);
	CHECK(get(&mode, got, 64, NULL, ALLOWED | NODE) == EINVAL && get(&mode, got, 64, NULL, 8) == EINVAL);
	CHECK(get(&mode, NULL, 0, &mode, 0) == EINVAL);
	CHECK(get((void *)8, NULL, 0, NULL, 0) == EFAULT && get(NULL, (void *)8, 64, NULL, 0) == EFAULT);
}

/* How many areas [p, p + n pages) is. */
static int areas(const char *p, long n)
{
	unsigned long from, to;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	int found = 0;

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2)
			found += from < (unsigned long)p + n * PAGE && to > (unsigned long)p;
	fclose(f);
	return found;
}

static void of_areas(void)
{
	unsigned long none = 0, zero = 1, one = 2, got[2];
	char *around = mmap(NULL, 12 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p = around + 2 * PAGE;
	int mode, pid;

	CHECK(mprotect(p, 8 * PAGE, RW) == 0 && areas(p, 8) == 1);
	CHECK(bind_at(p + 1, PAGE, BIND, &zero, 64, 0) == EINVAL && bind_at(p, PAGE, BIND, &zero, 64, 8) == EINVAL);
	CHECK(bind_at(p, PAGE, MAX, &zero, 64, 0) == EINVAL && bind_at(p, PAGE, BIND, &one, 64, 0) == EINVAL);
	CHECK(bind_at(p, PAGE, BIND, &none, 64, 0) == EINVAL && bind_at(p, PAGE, DEFAULT, &zero, 64, 0) == EINVAL);
	CHECK(bind_at(p, -PAGE, BIND, &zero, 64, 0) == EINVAL && bind_at(p, 0, BIND, &one, 64, 0) == 0);
	CHECK(bind_at(p, PAGE, BIND, (void *)8, 64, 0) == EFAULT);
	CHECK(areas(p, 8) == 1);

	CHECK(bind_at(p + 2 * PAGE, 2 * PAGE - 5, BIND, &zero, 64, 0) == 0);
	CHECK(areas(p, 8) == 3 && areas(p, 2) == 1 && areas(p + 2 * PAGE, 2) == 1);
	CHECK(get(&mode, got, 64, p + 3 * PAGE, ADDR) == 0 && mode == BIND && got[0] == 1);
	CHECK(get(&mode, got, 64, p, ADDR) == 0 && mode == DEFAULT && got[0] == 0);
	CHECK(get(&mode, NULL, 0, p + 3 * PAGE, ADDR | NODE) == 0 && mode == 0);
	/* the same beside it is one area */
	CHECK(bind_at(p + 4 * PAGE, 2 * PAGE, BIND, &zero, 64, MOVE | STRICT) == 0 && areas(p, 8) == 3);
	CHECK(bind_at(p + 6 * PAGE, PAGE, INTERLEAVE, &zero, 64, MOVE_ALL) == 0 && areas(p, 8) == 4);
	CHECK(bind_at(p + 6 * PAGE, PAGE, PREFERRED, NULL, 0, 0) == 0 && areas(p, 8) == 4);
	pid = fork();
	if (!pid)
		_exit(get(&mode, NULL, 0, p + 3 * PAGE, ADDR) != 0 || mode != BIND);
	CHECK(status_of(pid) == 0);
	CHECK(bind_at(p, 8 * PAGE, DEFAULT, NULL, 0, 0) == 0 && areas(p, 8) == 1);

	/* holes */
	CHECK(munmap(p + 3 * PAGE, PAGE) == 0);
	CHECK(bind_at(p, 8 * PAGE, BIND, &zero, 64, 0) == EFAULT);
	CHECK(get(&mode, NULL, 0, p, ADDR) == 0 && mode == DEFAULT);
	CHECK(bind_at(p + 3 * PAGE, 2 * PAGE, BIND, &zero, 64, 0) == EFAULT);
	CHECK(bind_at(p + 2 * PAGE, 2 * PAGE, BIND, &zero, 64, 0) == EFAULT);
	CHECK(bind_at(p, 8 * PAGE, DEFAULT, NULL, 0, 0) == 0);
	CHECK(bind_at(p + 3 * PAGE, PAGE, DEFAULT, NULL, 0, 0) == EFAULT);
	CHECK(get(&mode, NULL, 0, p + 3 * PAGE, ADDR) == EFAULT);
	munmap(around, 12 * PAGE);
}

/* ---- process_madvise ------------------------------------------------------------------------------ */

static long advise(int fd, const struct iovec *v, unsigned long n, int advice, unsigned flags)
{
	long r = syscall(PROCESS_MADVISE, fd, v, n, advice, flags);

	return r < 0 ? -errno : r;
}

static long pidfd(int pid, unsigned flags)
{
	long r = syscall(PIDFD_OPEN, pid, flags);

	return r < 0 ? -errno : r;
}

static void pidfds(void)
{
	struct pollfd p = {.events = POLLIN};
	siginfo_t si;
	int pid, fd;

	CHECK(pidfd(0, 0) == -EINVAL && pidfd(-1, 0) == -EINVAL && pidfd(getpid(), 1) == -EINVAL);
	CHECK(pidfd(3999999, 0) == -ESRCH);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	fd = (int)pidfd(pid, 0);
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	p.fd = fd;
	CHECK(poll(&p, 1, 0) == 0);
	CHECK(syscall(PIDFD_SEND, fd, 0, NULL, 0) == 0);
	CHECK(syscall(PIDFD_SEND, fd, 99, NULL, 0) == -1 && errno == EINVAL);
	CHECK(syscall(PIDFD_SEND, fd, 0, NULL, 1) == -1 && errno == EINVAL);
	CHECK(syscall(PIDFD_SEND, 0, 0, NULL, 0) == -1 && errno == EBADF);
	CHECK(syscall(PIDFD_SEND, fd, SIGKILL, NULL, 0) == 0);
	CHECK(poll(&p, 1, 5000) == 1 && p.revents == POLLIN);
	CHECK(waitid(P_PID, pid, &si, WEXITED) == 0 && si.si_status == SIGKILL);
	CHECK(syscall(PIDFD_SEND, fd, 0, NULL, 0) == -1 && errno == ESRCH);
	CHECK(poll(&p, 1, 0) == 1);
	close(fd);
}

static void of_others(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct iovec v[3] = {{p, 2 * PAGE}, {p + 4 * PAGE, PAGE}, {p + 6 * PAGE, PAGE}};
	struct { uint32_t version; int pid; } head = {0x20080522, 0};
	struct { uint32_t effective, permitted, inheritable; } none[2] = {{0}};
	int pid = fork(), self, fd, other;

	if (!pid)
		for (;;)
			pause();
	self = (int)pidfd(getpid(), 0);
	fd = (int)pidfd(pid, 0);
	CHECK(advise(fd, v, 3, COLD, 0) == 4 * (long)PAGE);
	CHECK(advise(self, v, 3, COLD, 0) == 4 * (long)PAGE);
	CHECK(advise(fd, v, 2, PAGEOUT, 0) == 3 * (long)PAGE);
	CHECK(advise(fd, v, 0, COLD, 0) == 0);
	CHECK(advise(fd, v, 3, COLD, 1) == -EINVAL);
	CHECK(advise(fd, v, 3, MADV_DONTNEED, 0) == -EINVAL && advise(self, v, 3, MADV_DONTNEED, 0) == -EINVAL);
	CHECK(advise(fd, v, 3, MADV_WILLNEED, 0) == -EINVAL);
	CHECK(advise(0, v, 3, COLD, 0) == -EBADF && advise(-1, v, 3, COLD, 0) == -EBADF);
	CHECK(advise(fd, v, 1025, COLD, 0) == -EINVAL && advise(fd, (void *)8, 3, COLD, 0) == -EFAULT);
	v[0].iov_base = p + 1;
	CHECK(advise(fd, v, 3, COLD, 0) == -EINVAL);
	v[0].iov_base = p;
	v[1].iov_base = p + 1;
	CHECK(advise(fd, v, 3, COLD, 0) == 2 * (long)PAGE);
	v[1].iov_len = -1;
	CHECK(advise(fd, v, 3, COLD, 0) == -EINVAL);
	/* another process's areas wants a right */
	other = fork();
	if (!other) {
		v[1] = v[2];
		CHECK(syscall(SYS_capset, &head, none) == 0);
		CHECK(advise(fd, v, 3, COLD, 0) == -EACCES);
		CHECK(advise((int)pidfd(getpid(), 0), v, 3, COLD, 0) == -EPERM);
		fflush(stdout);
		_exit(failures);
	}
	CHECK(status_of(other) == 0);
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
	v[1] = v[2];
	CHECK(advise(fd, v, 3, COLD, 0) == -ESRCH);
	close(fd);
	close(self);
	munmap(p, 8 * PAGE);
}

int main(void)
{
	of_the_task();
	of_areas();
	pidfds();
	of_others();
	printf("%d failures\n", failures);
	return failures != 0;
}
