/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd: the hand-shake, areas, pages that a thread fills for others, marks, signals, ends. What stands here is
 * what a real 5.10 answers (its cloud kernel has it built in); marks are looked at where they are offered, which is on
 * x86-64 alone, as in 5.10.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096ul
#define RW   (PROT_READ | PROT_WRITE)
#define PRIV (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHAR (MAP_SHARED | MAP_ANONYMOUS)

#if defined(__x86_64__)
#define NR_USERFAULTFD 323
#else
#define NR_USERFAULTFD 282
#endif

struct api {
	uint64_t api, features, ioctls;
};
struct range {
	uint64_t start, len;
};
struct registering {
	struct range range;
	uint64_t mode, ioctls;
};
struct copying {
	uint64_t dst, src, len, mode;
	int64_t copy;
};
struct zeroing {
	struct range range;
	uint64_t mode;
	int64_t zeropage;
};
struct marking {
	struct range range;
	uint64_t mode;
};
struct msg {
	uint8_t event, r1;
	uint16_t r2;
	uint32_t r3;
	uint64_t flags, address;
	uint32_t ptid, pad;
};

#define IO_API	      _IOWR(0xaa, 0x3f, struct api)
#define IO_REGISTER   _IOWR(0xaa, 0x00, struct registering)
#define IO_UNREGISTER _IOR(0xaa, 0x01, struct range)
#define IO_WAKE	      _IOR(0xaa, 0x02, struct range)
#define IO_COPY	      _IOWR(0xaa, 0x03, struct copying)
#define IO_ZEROPAGE   _IOWR(0xaa, 0x04, struct zeroing)
#define IO_MARK	      _IOWR(0xaa, 0x06, struct marking)
#define MISSING	      1u
#define WP	      2u
#define F_WP	      1u
#define F_SHMEM	      (1u << 5)
#define F_SIGBUS      (1u << 7)
#define F_THREAD_ID   (1u << 8)

static char *buf; /* a page to copy from */
static uint64_t offered;

#define FAILS(e, x)                                   \
	do {                                          \
		errno = 0;                            \
		CHECK((x) == -1 && errno == (e));     \
	} while (0)

static int make(unsigned flags, uint64_t features)
{
	struct api a = {0xaa, features, 0};
	int fd = (int)syscall(NR_USERFAULTFD, flags);

	CHECK(fd >= 0);
	CHECK(ioctl(fd, IO_API, &a) == 0);
	offered = a.features;
	CHECK((a.ioctls & 0x8000000000000003ull) == 0x8000000000000003ull);
	return fd;
}

static char *map(unsigned pages, int flags)
{
	char *p = mmap(NULL, pages * PAGE, RW, flags, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static int reg(int fd, void *p, unsigned pages, unsigned mode)
{
	struct registering r = {{(uintptr_t)p, pages * PAGE}, mode, 0};

	return ioctl(fd, IO_REGISTER, &r);
}

static int unreg(int fd, void *p, unsigned pages)
{
	struct range r = {(uintptr_t)p, pages * PAGE};

	return ioctl(fd, IO_UNREGISTER, &r);
}

static int64_t copied;

static int copy(int fd, void *dst, const void *src, unsigned pages, unsigned mode)
{
	struct copying c = {(uintptr_t)dst, (uintptr_t)src, pages * PAGE, mode, 77};
	int r = ioctl(fd, IO_COPY, &c);

	copied = c.copy;
	return r;
}

static int zero(int fd, void *dst, unsigned pages, unsigned mode)
{
	struct zeroing z = {{(uintptr_t)dst, pages * PAGE}, mode, 77};
	int r = ioctl(fd, IO_ZEROPAGE, &z);

	copied = z.zeropage;
	return r;
}

static int mark(int fd, void *p, unsigned pages, unsigned mode)
{
	struct marking m = {{(uintptr_t)p, pages * PAGE}, mode};

	return ioctl(fd, IO_MARK, &m);
}

static int wake(int fd, void *p, unsigned pages)
{
	struct range r = {(uintptr_t)p, pages * PAGE};

	return ioctl(fd, IO_WAKE, &r);
}

static void fill(int c)
{
	memset(buf, c, PAGE);
}

static int tid(void)
{
	return (int)syscall(SYS_gettid);
}

/* ---- the descriptor ------------------------------------------------------------------------------ */

static void handshake(void)
{
	struct api a = {0xaa, 0, 0};
	struct msg m;
	struct pollfd pf;
	char *p = map(1, PRIV), path[64];
	char link[64];
	ssize_t n;
	int fd;

	FAILS(EINVAL, syscall(NR_USERFAULTFD, 1)); /* UFFD_USER_MODE_ONLY is 5.11's */
	FAILS(EINVAL, syscall(NR_USERFAULTFD, 0x40000000));
	fd = (int)syscall(NR_USERFAULTFD, O_CLOEXEC | O_NONBLOCK);
	CHECK(fd >= 0);
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) == (O_RDONLY | O_NONBLOCK));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n > 0 ? n : 0] = 0;
	CHECK(!strcmp(link, "anon_inode:[userfaultfd]"));
	FAILS(EINVAL, read(fd, &m, sizeof(m)));
	FAILS(EINVAL, reg(fd, p, 1, MISSING));
	pf = (struct pollfd){fd, POLLIN, 0};
	CHECK(poll(&pf, 1, 0) == 1 && pf.revents == POLLERR);
	a.api = 0xab;
	FAILS(EINVAL, ioctl(fd, IO_API, &a));
	CHECK(a.api == 0 && a.features == 0 && a.ioctls == 0);
	a = (struct api){0xaa, 1ull << 40, 0};
	FAILS(EINVAL, ioctl(fd, IO_API, &a));
	FAILS(EFAULT, ioctl(fd, IO_API, 8));
	a = (struct api){0xaa, 0, 0};
	CHECK(ioctl(fd, IO_API, &a) == 0);
	CHECK(a.features & F_SHMEM && a.features & F_SIGBUS && a.features & F_THREAD_ID);
	CHECK(a.ioctls == 0x8000000000000003ull);
	FAILS(EINVAL, ioctl(fd, IO_API, &a));
	FAILS(EAGAIN, read(fd, &m, sizeof(m)));
	FAILS(EINVAL, read(fd, &m, sizeof(m) - 1));
	FAILS(EBADF, write(fd, &m, sizeof(m)));
	FAILS(EINVAL, ioctl(fd, 0x1234, 0));
	CHECK(poll(&pf, 1, 0) == 0);
	CHECK(fcntl(fd, F_SETFL, 0) == 0);
	CHECK(poll(&pf, 1, 0) == 1 && pf.revents == POLLERR);
	close(fd);
	munmap(p, PAGE);
}

/* ---- areas --------------------------------------------------------------------------------------- */

/* The area of p in smaps: its first and last address, and whether it has the flag. */
static int has_flag(const void *p, const char *flag, unsigned long *len)
{
	unsigned long from = 0, to = 0;
	char line[512];
	int has = -1;
	FILE *f = fopen("/proc/self/smaps", "r");

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long a, b;

		if (sscanf(line, "%lx-%lx ", &a, &b) == 2)
			from = a, to = b;
		if (!strncmp(line, "VmFlags:", 8) && from <= (unsigned long)p && (unsigned long)p < to) {
			has = strstr(line + 8, flag) != NULL;
			*len = to - from;
		}
	}
	if (f)
		fclose(f);
	return has;
}

static void areas(void)
{
	int fd = make(O_NONBLOCK, 0), other = make(O_NONBLOCK, 0), ro, wp = !!(offered & F_WP);
	char *p = map(12, PRIV), *q;
	struct registering r;
	unsigned long len = 0;

	/* Guards, so that nothing merges with what lies beside. */
	CHECK(mprotect(p, PAGE, PROT_NONE) == 0 && mprotect(p + 11 * PAGE, PAGE, PROT_NONE) == 0);
	p += PAGE;
	FAILS(EINVAL, reg(fd, p, 1, 0));
	FAILS(EINVAL, reg(fd, p, 1, 8));
	FAILS(EINVAL, reg(fd, p, 0, MISSING));
	FAILS(EINVAL, reg(fd, p + 1, 1, MISSING));
	FAILS(EINVAL, reg(fd, (void *)-PAGE, 1, MISSING));
	FAILS(EFAULT, ioctl(fd, IO_REGISTER, 8));
	r = (struct registering){{(uintptr_t)(p + 2 * PAGE), 3 * PAGE}, MISSING, 0};
	CHECK(ioctl(fd, IO_REGISTER, &r) == 0 && r.ioctls == 0x1c);
	CHECK(has_flag(p + 2 * PAGE, " um", &len) == 1 && len == 3 * PAGE);
	CHECK(has_flag(p, " um", &len) == 0 && len == 2 * PAGE);
	CHECK(has_flag(p + 5 * PAGE, " um", &len) == 0 && len == 5 * PAGE);
	FAILS(EBUSY, reg(other, p + 4 * PAGE, 2, MISSING));
	CHECK(has_flag(p + 5 * PAGE, " um", &len) == 0 && len == 5 * PAGE);
	CHECK(reg(fd, p + 4 * PAGE, 2, MISSING) == 0);
	CHECK(has_flag(p + 2 * PAGE, " um", &len) == 1 && len == 4 * PAGE);
	CHECK(reg(other, p + 6 * PAGE, 1, MISSING) == 0);
	CHECK(has_flag(p + 6 * PAGE, " um", &len) == 1 && len == PAGE);
	/* Whose it is does not matter to who takes it off. */
	CHECK(unreg(fd, p + 5 * PAGE, 2) == 0);
	CHECK(has_flag(p + 2 * PAGE, " um", &len) == 1 && len == 3 * PAGE);
	CHECK(has_flag(p + 5 * PAGE, " um", &len) == 0 && len == 5 * PAGE);
	FAILS(EINVAL, unreg(fd, p, 0));
	if (wp) {
		r = (struct registering){{(uintptr_t)p, PAGE}, WP, 0};
		CHECK(ioctl(fd, IO_REGISTER, &r) == 0 && r.ioctls == 0x5c);
		CHECK(has_flag(p, " uw", &len) == 1 && has_flag(p, " um", &len) == 0 && len == PAGE);
		q = map(1, SHAR);
		FAILS(EINVAL, reg(fd, q, 1, WP));
		munmap(q, PAGE);
	}
	/* The descriptor's end takes all off. */
	close(fd);
	close(other);
	CHECK(has_flag(p, " um", &len) == 0 && has_flag(p, " uw", &len) == 0 && len == 10 * PAGE);
	fd = make(O_NONBLOCK, 0);
	/* A file's pages are the file's; memory that may never be written is not filled. */
	ro = open("/proc/self/exe", O_RDONLY);
	q = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 0);
	if (q != MAP_FAILED)
		munmap(q, PAGE);
	close(ro);
	q = map(3, PRIV);
	munmap(q + PAGE, PAGE);
	CHECK(reg(fd, q, 3, MISSING) == 0); /* over a hole */
	munmap(q, 3 * PAGE);
	FAILS(EINVAL, reg(fd, q, 1, MISSING));
	/* mremap, fork and mprotect. */
	CHECK(reg(fd, p, 2, MISSING) == 0);
	CHECK(mprotect(p, PAGE, PROT_READ) == 0 && has_flag(p, " um", &len) == 1 && len == PAGE);
	CHECK(mprotect(p, PAGE, RW) == 0 && has_flag(p, " um", &len) == 1 && len == 2 * PAGE);
	q = map(2, PRIV);
	CHECK(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	CHECK(has_flag(q, " um", &len) == 0);
	q[0] = 1; /* nobody is asked */
	CHECK(reg(fd, q, 2, MISSING) == 0);
	if (fork() == 0) {
		unsigned long l;

		alarm(20);
		q[PAGE] = 1;
		_exit(has_flag(q, " um", &l) != 0);
	} else {
		int st;

		CHECK(wait(&st) > 0 && st == 0);
	}
	CHECK(has_flag(q, " um", &len) == 1);
	munmap(q, 2 * PAGE);
	close(fd);
	munmap(p + 2 * PAGE, 9 * PAGE);
}

/* ---- filling, with nobody waiting ---------------------------------------------------------------- */

static void filling(int flags)
{
	int fd = make(O_NONBLOCK, 0);
	char *p = map(8, flags), *src = map(2, PRIV);
	unsigned char vec[8];

	memset(src, 'a', PAGE);
	memset(src + PAGE, 'b', PAGE);
	fill('x');
	FAILS(ENOENT, copy(fd, p, buf, 1, 0));
	CHECK(copied == -ENOENT);
	CHECK(reg(fd, p, 6, MISSING) == 0);
	FAILS(EINVAL, copy(fd, p + 1, buf, 1, 0));
	CHECK(copied == 77);
	FAILS(EINVAL, copy(fd, p, buf, 0, 0));
	FAILS(EINVAL, copy(fd, p, buf, 1, 4));
	FAILS(EINVAL, copy(fd, p, (void *)-PAGE, 1, 0));
	FAILS(EINVAL, copy(fd, p, buf, 1, WP)); /* not registered for it */
	FAILS(EFAULT, copy(fd, p, (void *)PAGE, 1, 0));
	CHECK(copied == -EFAULT);
	FAILS(EFAULT, ioctl(fd, IO_COPY, 8));
	FAILS(ENOENT, copy(fd, p + 5 * PAGE, src, 2, 0)); /* half of it is not registered */
	CHECK(copy(fd, p, src, 2, 0) == 0 && copied == 2 * (int64_t)PAGE);
	CHECK(p[0] == 'a' && p[PAGE] == 'b' && p[2 * PAGE - 1] == 'b');
	FAILS(EEXIST, copy(fd, p, buf, 1, 0));
	CHECK(copied == -EEXIST && p[0] == 'a');
	CHECK(copy(fd, p + 3 * PAGE, buf, 1, 1) == 0);
	FAILS(EAGAIN, copy(fd, p + 2 * PAGE, src, 2, 0));
	CHECK(copied == (int64_t)PAGE && p[2 * PAGE] == 'a' && p[3 * PAGE] == 'x');
	CHECK(zero(fd, p + 4 * PAGE, 1, 0) == 0 && copied == (int64_t)PAGE);
	CHECK(p[4 * PAGE] == 0 && (p[4 * PAGE] = 'z') == 'z' && p[5 * PAGE - 1] == 0);
	FAILS(EEXIST, zero(fd, p + 4 * PAGE, 1, 0));
	FAILS(EINVAL, zero(fd, p + 5 * PAGE, 1, 2));
	FAILS(EINVAL, wake(fd, p, 0));
	CHECK(wake(fd, p, 8) == 0);
	p[0] = 'q';
	CHECK(mincore(p, 8 * PAGE, vec) == 0 && vec[0] & 1 && vec[4] & 1 && !(vec[5] & 1));
	/* Of an area that is read-only: filled all the same. */
	CHECK(mprotect(p + 5 * PAGE, PAGE, PROT_READ) == 0);
	CHECK(copy(fd, p + 5 * PAGE, buf, 1, 0) == 0 && p[5 * PAGE] == 'x');
	close(fd);
	CHECK(p[6 * PAGE] == 0);
	munmap(p, 8 * PAGE);
	munmap(src, 2 * PAGE);
}

/* ---- a thread that fills ------------------------------------------------------------------------- */

struct server {
	int fd, stop[2];
	pthread_t t;
	char *base;
	unsigned mode; /* 0: copies the page's number; 1: zeros; 2: takes marks off */
	atomic_int served, writes, marks;
	atomic_int ptid;
	atomic_long last;
};

static void serve_one(struct server *s, const struct msg *m)
{
	char *at = (char *)(uintptr_t)m->address;
	static __thread char page[PAGE] __attribute__((aligned(4096)));

	CHECK(m->event == 0x12 && m->address % PAGE == 0);
	s->served++;
	s->writes += m->flags & 1;
	s->marks += !!(m->flags & 2);
	s->ptid = (int)m->ptid;
	s->last = (long)(at - s->base) / (long)PAGE;
	memset(page, 'A' + (int)(s->last % 26), PAGE);
	if (m->flags & 2)
		CHECK(mark(s->fd, at, 1, 0) == 0);
	else if (s->mode == 1)
		CHECK(zero(s->fd, at, 1, 0) == 0 || errno == EEXIST);
	else
		CHECK(copy(s->fd, at, page, 1, 0) == 0 || errno == EEXIST);
	if (errno == EEXIST)
		wake(s->fd, at, 1);
	errno = 0;
}

static void *serves(void *arg)
{
	struct server *s = arg;
	struct pollfd pf[2] = {{s->fd, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
	struct msg m[4];

	for (;;) {
		ssize_t n;

		if (poll(pf, 2, -1) < 0)
			continue;
		if (pf[1].revents)
			return NULL;
		n = read(s->fd, m, sizeof(m));
		for (ssize_t i = 0; i < n / (ssize_t)sizeof(m[0]); i++)
			serve_one(s, &m[i]);
	}
}

static void server_start(struct server *s, char *base, uint64_t features)
{
	*s = (struct server){.base = base};
	s->fd = make(O_NONBLOCK, features);
	CHECK(pipe(s->stop) == 0);
	CHECK(pthread_create(&s->t, NULL, serves, s) == 0);
}

static void server_stop(struct server *s)
{
	CHECK(write(s->stop[1], "", 1) == 1);
	CHECK(pthread_join(s->t, NULL) == 0);
	close(s->stop[0]);
	close(s->stop[1]);
	close(s->fd);
}

static long faults(int major)
{
	struct rusage r;

	getrusage(RUSAGE_THREAD, &r);
	return major ? r.ru_majflt : r.ru_minflt;
}

static void missing(int flags)
{
	char *p = map(32, flags);
	struct server s;
	long maj, min;
	int pip[2], fd;
	char c = 0;
	struct iovec to = {&c, 1}, from;

	server_start(&s, p, F_THREAD_ID);
	CHECK(reg(s.fd, p, 32, MISSING) == 0);
	CHECK(p[0] == 'A' && s.served == 1 && s.writes == 0 && s.ptid == tid());
	maj = faults(1);
	min = faults(0);
	p[PAGE + 5] = '!';
	/* It was tried twice: one major fault, nothing was read. */
	CHECK(faults(1) == maj + 1 && faults(0) == min);
	CHECK(s.served == 2 && s.writes == 1 && s.last == 1 && p[PAGE] == 'B' && p[PAGE + 5] == '!');
	CHECK(p[2 * PAGE + 17] == 'C' && p[2 * PAGE + 18] == 'C' && s.served == 3);
	/* A call's own access waits too. */
	CHECK(pipe(pip) == 0);
	CHECK(write(pip[1], p + 3 * PAGE, 1) == 1 && read(pip[0], &c, 1) == 1 && c == 'D');
	CHECK(write(pip[1], "k", 1) == 1 && read(pip[0], p + 4 * PAGE, 1) == 1);
	CHECK(p[4 * PAGE] == 'k' && p[4 * PAGE + 1] == 'E' && s.served == 5);
	/* process_vm_readv waits, /proc/PID/mem does not. */
	from = (struct iovec){p + 5 * PAGE, 1};
	CHECK(process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1 && c == 'F' && s.served == 6);
	fd = open("/proc/self/mem", O_RDWR);
	CHECK(fd >= 0);
	FAILS(EIO, pread(fd, &c, 1, (off_t)(uintptr_t)(p + 6 * PAGE)));
	CHECK(pread(fd, &c, 1, (off_t)(uintptr_t)(p + 5 * PAGE)) == 1 && c == 'F');
	close(fd);
	CHECK(s.served == 6);
	/* mlock waits for each page. */
	CHECK(mlock(p + 7 * PAGE, 2 * PAGE) == 0 && s.served == 8 && p[8 * PAGE] == 'I');
	CHECK(munlock(p + 7 * PAGE, 2 * PAGE) == 0);
	/* Given up, asked for again: of private memory; a hole of shared memory. */
	CHECK(madvise(p, PAGE, flags & MAP_SHARED ? MADV_REMOVE : MADV_DONTNEED) == 0);
	CHECK(p[0] == 'A' && s.served == 9);
	s.mode = 1;
	CHECK(p[10 * PAGE] == 0 && s.served == 10);
	p[11 * PAGE] = 'w';
	CHECK(p[11 * PAGE] == 'w' && p[11 * PAGE + 1] == 0 && s.served == 11);
	CHECK(unreg(s.fd, p + 20 * PAGE, 12) == 0);
	CHECK(p[21 * PAGE] == 0 && s.served == 11);
	close(pip[0]);
	close(pip[1]);
	server_stop(&s);
	CHECK(p[12 * PAGE] == 0);
	munmap(p, 32 * PAGE);
}

/* Many threads, one page each and all the same. */
static char *many;
static atomic_int wrong;

static void *touches(void *arg)
{
	long n = (long)arg;

	for (int i = 0; i < 32; i++) {
		int at = (int)((n * 7 + i * 5) % 32);

		if (((volatile char *)many)[at * PAGE + 9] != 'A' + at % 26)
			wrong++;
	}
	return NULL;
}

static void crowd(int flags)
{
	struct server s;
	pthread_t t[6];

	many = map(32, flags);
	wrong = 0;
	server_start(&s, many, 0);
	CHECK(reg(s.fd, many, 32, MISSING) == 0);
	for (long i = 0; i < 6; i++)
		CHECK(pthread_create(&t[i], NULL, touches, (void *)i) == 0);
	for (int i = 0; i < 6; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(wrong == 0 && s.served >= 32);
	server_stop(&s);
	munmap(many, 32 * PAGE);
}

/* ---- ends of waiting ----------------------------------------------------------------------------- */

static atomic_int state, handled;
static char *lone;
static int lone_fd;

static void handler(int sig)
{
	handled++;
	if (state == 5) { /* the page is there when the access is made again */
		fill('h');
		CHECK(copy(lone_fd, lone, buf, 1, 0) == 0);
	}
}

static void *reads_lone(void *arg)
{
	state = 1;
	*(volatile char *)arg = *(char *)lone;
	state = 2;
	return NULL;
}

static int is_read(int fd, struct msg *m)
{
	struct pollfd pf = {fd, POLLIN, 0};

	return poll(&pf, 1, 5000) == 1 && read(fd, m, sizeof(*m)) == sizeof(*m);
}

static void ends(void)
{
	struct sigaction sa = {.sa_handler = handler};
	struct msg m;
	pthread_t t;
	char c = 0;

	sigaction(SIGUSR1, &sa, NULL);
	lone = map(2, PRIV);
	/* DONTWAKE, then wake. */
	lone_fd = make(O_NONBLOCK, 0);
	CHECK(reg(lone_fd, lone, 2, MISSING) == 0);
	state = 0;
	CHECK(pthread_create(&t, NULL, reads_lone, &c) == 0);
	CHECK(is_read(lone_fd, &m) && m.address == (uintptr_t)lone && m.flags == 0 && m.ptid == 0);
	fill('d');
	CHECK(copy(lone_fd, lone, buf, 1, 1) == 0);
	usleep(50000);
	CHECK(state == 1);
	CHECK(wake(lone_fd, lone + PAGE, 1) == 0);
	usleep(20000);
	CHECK(state == 1);
	CHECK(wake(lone_fd, lone, 1) == 0);
	CHECK(pthread_join(t, NULL) == 0 && state == 2 && c == 'd');
	/* Woken without its page: it asks again. */
	CHECK(madvise(lone, PAGE, MADV_DONTNEED) == 0);
	CHECK(pthread_create(&t, NULL, reads_lone, &c) == 0);
	CHECK(is_read(lone_fd, &m));
	CHECK(wake(lone_fd, lone, 1) == 0);
	CHECK(is_read(lone_fd, &m) && m.address == (uintptr_t)lone);
	/* Not registered any more. */
	CHECK(unreg(lone_fd, lone, 2) == 0);
	CHECK(pthread_join(t, NULL) == 0 && c == 0);
	/* A signal: its handler runs, and fills the page. */
	CHECK(reg(lone_fd, lone, 2, MISSING) == 0);
	CHECK(madvise(lone, PAGE, MADV_DONTNEED) == 0);
	CHECK(pthread_create(&t, NULL, reads_lone, &c) == 0);
	CHECK(is_read(lone_fd, &m));
	state = 5;
	CHECK(pthread_kill(t, SIGUSR1) == 0);
	CHECK(pthread_join(t, NULL) == 0 && handled == 1 && c == 'h');
	/* The last descriptor is closed. */
	CHECK(madvise(lone, PAGE, MADV_DONTNEED) == 0);
	CHECK(pthread_create(&t, NULL, reads_lone, &c) == 0);
	CHECK(is_read(lone_fd, &m));
	close(lone_fd);
	CHECK(pthread_join(t, NULL) == 0 && c == 0);
	munmap(lone, 2 * PAGE);
}

/* A process that waits dies of SIGKILL, in an access or in a call; and ends though a thread of it waits. */
static void killed(int how)
{
	int pid, pip[2], gate[2];

	CHECK(pipe(pip) == 0 && pipe(gate) == 0);
	pid = fork();
	if (!pid) {
		int fd = make(O_NONBLOCK, 0);
		char *p = map(1, PRIV);
		pthread_t t;
		struct msg m;
		char c;

		reg(fd, p, 1, MISSING);
		lone = p;
		lone_fd = fd;
		if (how == 2) {
			pthread_create(&t, NULL, reads_lone, &c);
			if (!is_read(fd, &m))
				_exit(9);
			_exit(3);
		}
		if (write(gate[1], "g", 1) != 1)
			_exit(9);
		if (how == 0)
			c = *(volatile char *)p;
		else
			c = (char)write(pip[1], p, 1);
		_exit(c);
	}
	if (how != 2) {
		char c;

		CHECK(read(gate[0], &c, 1) == 1);
		usleep(50000);
		CHECK(waitpid(pid, NULL, WNOHANG) == 0);
		CHECK(kill(pid, SIGKILL) == 0);
	}
	CHECK(status_of(pid) == (how == 2 ? 3 : 256 + SIGKILL));
	close(pip[0]);
	close(pip[1]);
	close(gate[0]);
	close(gate[1]);
}

/* UFFD_FEATURE_SIGBUS: nobody waits. */
static void sigbus(void)
{
	int pid = fork(), pip[2];

	if (!pid) {
		int fd = make(O_NONBLOCK, F_SIGBUS);
		char *p = map(2, PRIV);

		fill('s');
		if (reg(fd, p, 2, MISSING) || copy(fd, p + PAGE, buf, 1, 0) || p[PAGE] != 's' || pipe(pip))
			_exit(1);
		errno = 0;
		if (write(pip[1], p, 1) != -1 || errno != EFAULT)
			_exit(2);
		*(volatile char *)p;
		_exit(4);
	}
	CHECK(status_of(pid) == 256 + SIGBUS);
}

/* A page that another process fills: the descriptor was inherited. */
static void other_process(void)
{
	char *p = map(4, PRIV);
	int fd = make(0, 0), pid;

	CHECK(reg(fd, p, 4, MISSING) == 0);
	pid = fork();
	if (!pid) {
		struct msg m;

		for (int i = 0; i < 2; i++) {
			if (read(fd, &m, sizeof(m)) != sizeof(m)) /* waits */
				_exit(1);
			fill('o' + i);
			if (copy(fd, (void *)(uintptr_t)m.address, buf, 1, 0))
				_exit(2);
		}
		_exit(0);
	}
	CHECK(p[2 * PAGE] == 'o' && p[0] == 'p');
	CHECK(status_of(pid) == 0);
	close(fd);
	munmap(p, 4 * PAGE);
}

/* ---- marks --------------------------------------------------------------------------------------- */

static void marks(void)
{
	char *p = map(16, PRIV), *q;
	struct server s;
	int fd, pid;
	long before;

	server_start(&s, p, 0);
	if (!(offered & F_WP)) {
		server_stop(&s);
		return;
	}
	FAILS(ENOENT, mark(s.fd, p, 1, 1));
	p[0] = 'a';
	p[PAGE] = 'b';
	CHECK(reg(s.fd, p, 16, WP) == 0);
	FAILS(EINVAL, mark(s.fd, p, 1, 4));
	FAILS(EINVAL, mark(s.fd, p, 1, 3));
	FAILS(EINVAL, mark(s.fd, p, 0, 1));
	CHECK(mark(s.fd, p, 2, 1) == 0);
	CHECK(p[0] == 'a' && p[PAGE] == 'b' && s.served == 0);
	before = faults(1);
	p[0] = 'c';
	CHECK(faults(1) == before + 1);
	CHECK(s.served == 1 && s.marks == 1 && s.writes == 1 && s.last == 0 && p[0] == 'c');
	p[1] = 'd';
	CHECK(s.served == 1 && p[PAGE] == 'b');
	/* What is not there is not marked. */
	CHECK(mark(s.fd, p + 2 * PAGE, 1, 1) == 0);
	p[2 * PAGE] = 'e';
	CHECK(s.served == 1);
	/* mprotect leaves marks. */
	CHECK(mprotect(p, 2 * PAGE, PROT_READ) == 0 && mprotect(p, 2 * PAGE, RW) == 0);
	p[PAGE] = 'f';
	CHECK(s.served == 2 && s.last == 1 && p[PAGE] == 'f');
	/* A child's pages are its own, and not marked. */
	CHECK(mark(s.fd, p, 3, 1) == 0);
	pid = fork();
	if (!pid) {
		alarm(20);
		p[0] = 'x';
		_exit(p[0] != 'x');
	}
	CHECK(status_of(pid) == 0 && p[0] == 'c' && s.served == 2);
	p[0] = 'g';
	CHECK(s.served == 3 && p[0] == 'g');
	/* A page that comes in marked; zeros too. */
	fd = s.fd;
	CHECK(reg(fd, p + 8 * PAGE, 4, MISSING | WP) == 0);
	fill('m');
	CHECK(copy(fd, p + 8 * PAGE, buf, 1, WP) == 0);
	CHECK(p[8 * PAGE] == 'm');
	p[8 * PAGE] = 'n';
	CHECK(s.served == 4 && s.marks == 4 && p[8 * PAGE] == 'n' && p[8 * PAGE + 1] == 'm');
	CHECK(zero(fd, p + 9 * PAGE, 1, 0) == 0 && mark(fd, p + 9 * PAGE, 1, 1) == 0);
	p[9 * PAGE] = 'z';
	CHECK(s.served == 5 && p[9 * PAGE] == 'z' && p[9 * PAGE + 1] == 0);
	/* A call that writes there waits. */
	CHECK(mark(fd, p, 1, 1) == 0);
	{
		int pip[2];

		CHECK(pipe(pip) == 0 && write(pip[1], "v", 1) == 1 && read(pip[0], p, 1) == 1);
		CHECK(p[0] == 'v' && s.served == 6);
		close(pip[0]);
		close(pip[1]);
	}
	/* Moved away: nobody is asked. */
	CHECK(mark(fd, p + PAGE, 1, 1) == 0);
	q = map(1, PRIV);
	CHECK(mremap(p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	q[0] = 'y';
	CHECK(s.served == 6 && q[0] == 'y');
	server_stop(&s);
	munmap(p, 16 * PAGE);
	munmap(q, PAGE);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	mkdir("/proc", 0755);
	(void)mount("proc", "/proc", "proc", 0, NULL);
	buf = map(1, PRIV);
	handshake();
	areas();
	filling(PRIV);
	filling(SHAR);
	missing(PRIV);
	missing(SHAR);
	crowd(PRIV);
	crowd(SHAR);
	ends();
	for (int how = 0; how < 3; how++)
		killed(how);
	sigbus();
	other_process();
	marks();
	printf("features %#llx, %d failures\n", (unsigned long long)offered, failures);
	return failures != 0;
}
