/* SPDX-License-Identifier: MIT */
/*
 * Asks a real Linux: random memory calls and accesses in an arena, each printed with its result;
 * after each the layout and the pagemap bits if they changed, now and then smaps and status. What
 * Linux 5.10 said is kept in mm-5.10.txt, and test_mm_oracle.c asks the core the same.
 *
 * A static program, init of the kernel that is asked (needs root for pagemap):
 *   gcc -O1 -static mm_random.c -o init && echo init | cpio -o -H newc > ird.cpio
 *   qemu-system-x86_64 -cpu max,pku=off -m 256 -nographic -no-reboot -kernel vmlinuz -initrd ird.cpio
 *     -append "console=ttyS0 loglevel=0 norandmaps transparent_hugepage=never rounds=20 seed=1"
 * It powers the machine off. Lines end with \r\n on a serial console. As init of our own kernels it
 * asks them in the same way, and the two texts can be compared line by line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PS    4096ul
#define BASE  (1ul << 36)
#define AT(n) (BASE + (unsigned long)(n) * PS)
#define N     48
#define CALL(e)                            \
	({                                 \
		long r_ = (e);             \
		r_ == -1 ? -(long)errno : r_; \
	})

static uint64_t seed = 88172645463325252ull;
static int fd[3];
static const int file_pages[3] = {N, N, 5};
static struct {
	unsigned long start, end;
} vmas[300];
static int nvmas, depth;
static char layout[16384], old_layout[16384], pages[N + 1], old_pages[N + 1];
static char buf[1 << 20];
static long status0[4];
static sigjmp_buf back;
static volatile int sig, code;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static unsigned pick(unsigned n)
{
	return (rnd() >> 11) % n;
}

static void slurp(const char *file)
{
	int d = open(file, O_RDONLY);
	size_t n = 0;
	ssize_t k;

	while ((k = read(d, buf + n, sizeof(buf) - 1 - n)) > 0)
		n += k;
	buf[n] = 0;
	close(d);
}

static char *next_line(char **at)
{
	char *line = *at, *end;

	if (!line || !*line)
		return NULL;
	end = strchr(line, '\n');
	if (end)
		*end = 0;
	*at = end ? end + 1 : NULL;
	return line;
}

static void look_maps(void)
{
	char *at = buf, *line, prot[5];
	unsigned long start, end, off;
	size_t n = 0;

	slurp("/proc/self/maps");
	nvmas = 0;
	layout[0] = 0;
	while ((line = next_line(&at))) {
		if (sscanf(line, "%lx-%lx %4s %lx", &start, &end, prot, &off) != 4 || start < BASE ||
		    start >= AT(1 << 20))
			continue;
		vmas[nvmas].start = start;
		vmas[nvmas++].end = end;
		n += sprintf(layout + n, "%lu-%lu:%s@%lx ", (start - BASE) / PS, (end - BASE) / PS,
			     prot, off / PS);
	}
}

/* A digit a page: present 1, soft-dirty 2, exclusive 4, file 8. */
static void look_pagemap(void)
{
	int d = open("/proc/self/pagemap", O_RDONLY);
	uint64_t w[N] = {0};

	if (pread(d, w, sizeof(w), BASE / PS * 8) != sizeof(w))
		printf("no pagemap\n");
	close(d);
	for (int i = 0; i < N; i++)
		pages[i] = "0123456789abcdef"[w[i] >> 63 | (w[i] >> 55 & 1) << 1 |
					      (w[i] >> 56 & 1) << 2 | (w[i] >> 61 & 1) << 3];
}

static void show(void)
{
	look_maps();
	look_pagemap();
	if (strcmp(layout, old_layout))
		printf("L %s\n", strcpy(old_layout, layout));
	if (strcmp(pages, old_pages))
		printf("P %s\n", strcpy(old_pages, pages));
}

static long field(const char *name)
{
	char *p = strstr(buf, name);

	return p ? strtol(p + strlen(name), NULL, 10) : 0;
}

static void read_status(long v[4])
{
	slurp("/proc/self/status");
	v[0] = field("VmSize:");
	v[1] = field("VmLck:");
	v[2] = field("VmData:");
	v[3] = field("VmStk:");
}

/* One item a VMA: resident, proportional, four kinds of page, anonymous, locked; flags. */
static void show_smaps(void)
{
	static const char *const rows[] = {"Rss:", "Pss:", "Shared_Clean:", "Shared_Dirty:",
					   "Private_Clean:", "Private_Dirty:", "Anonymous:",
					   "Locked:"};
	unsigned long start, end;
	char *at = buf, *line;
	int in = 0;
	long v[4];

	slurp("/proc/self/smaps");
	printf("F ");
	while ((line = next_line(&at))) {
		if (line[0] != 'V' && sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start >= BASE && start < AT(1 << 20);
		for (size_t i = 0; in && i < sizeof(rows) / sizeof(rows[0]); i++)
			if (!strncmp(line, rows[i], strlen(rows[i])))
				printf("%ld,", strtol(line + strlen(rows[i]), NULL, 10));
		if (in && !strncmp(line, "VmFlags:", 8))
			printf("%s;", line + 8);
	}
	read_status(v);
	printf("\nS %ld %ld %ld %ld\n", v[0] - status0[0], v[1] - status0[1], v[2] - status0[2],
	       v[3] - status0[3]);
}

static long faults(void)
{
	static struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt + ru.ru_majflt;
}

static void on_signal(int s, siginfo_t *si, void *uc)
{
	sig = s;
	code = si->si_code;
	siglongjmp(back, 1);
}

static void step_mmap(int a, int n, int prot)
{
	unsigned flags = (pick(4) ? 0x22 : 0x21) | 0x10; /* private or shared, anonymous, fixed */
	int file = pick(6);
	long off = 0, r;

	if (!pick(6))
		flags |= 0x4000; /* NORESERVE */
	if (!pick(8))
		flags |= 0x8000; /* POPULATE */
	if (!pick(6))
		flags = (flags & ~0x10u) | 0x100000; /* FIXED_NOREPLACE */
	if (!pick(10) && (flags & 15) == 2)
		flags |= 0x100; /* GROWSDOWN */
	if (file < 3 && !(flags & 0x100)) {
		flags &= ~0x20u;
		off = pick(3) ? a : (int)pick(8);
	} else {
		file = -1;
	}
	r = CALL(syscall(SYS_mmap, AT(a), n * PS, prot, flags, file < 0 ? -1 : fd[file], off * PS));
	printf("mmap %d %d %d %u %d %ld = %ld\n", a, n, prot, flags, file, off, r);
}

static void step_mremap(int a, int n)
{
	int m = 1 + pick(8), to = pick(N - m + 1);
	unsigned flags = pick(3) ? 3 : 0;

	if (!pick(3))
		for (int i = 0; i < nvmas; i++)
			if (vmas[i].start <= AT(a) && vmas[i].end > AT(a) && vmas[i].end < AT(a + n))
				n = (vmas[i].end - AT(a)) / PS;
	if (flags == 3 && !pick(4)) {
		flags = 7; /* DONTUNMAP: equal lengths */
		m = n;
		to = to + m > N ? N - m : to;
	}
	if (!pick(20))
		n = 0;
	printf("mremap %d %d %d %u %d = %ld\n", a, n, m, flags, to,
	       CALL(syscall(SYS_mremap, AT(a), n * PS, m * PS, flags, AT(to))));
}

static void steps(int n);

static void step_fork(void)
{
	pid_t child;

	printf("fork\n");
	fflush(stdout);
	child = fork();
	old_layout[0] = old_pages[0] = 0;
	if (!child) {
		depth++;
		show();
		steps(8 + pick(15));
		printf("end\n");
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	rnd(); /* not the child's way again */
	rnd();
}

static void step_file(void)
{
	int file = pick(2);
	long off, len;

	if (pick(2)) {
		len = pick(N + 1) * PS;
		if (ftruncate(fd[file], len))
			len = -1;
		printf("trunc %d %ld\n", file, len);
		return;
	}
	off = pick(N) * PS;
	len = (1 + pick(6)) * PS;
	printf("punch %d %ld %ld = %ld\n", file, off, len,
	       CALL(syscall(SYS_fallocate, fd[file], 3, off, len)));
}

static void step_access(int a, unsigned long value)
{
	volatile unsigned long got = 0;
	int write = pick(3);
	long before = faults(), taken;

	sig = code = 0;
	if (!sigsetjmp(back, 1)) {
		if (write)
			*(volatile unsigned long *)AT(a) = value;
		else
			got = *(volatile unsigned long *)AT(a);
	}
	taken = faults() - before;
	printf("%s %d %lu = ", write ? "store" : "load", a, value);
	if (sig)
		printf("sig %d %d\n", sig, code);
	else
		printf("ok %lu f %ld\n", got, taken);
}

static void step_other(int a, unsigned long value)
{
	int d;

	if (depth < 3 && !pick(9)) {
		step_fork();
	} else if (!pick(20)) {
		d = open("/proc/self/clear_refs", O_WRONLY);
		if (write(d, "4", 1) != 1)
			printf("no clear_refs\n");
		close(d);
		printf("clear_refs\n");
	} else if (!pick(8)) {
		step_file();
	} else {
		step_access(a, value);
	}
}

static void step(int s)
{
	static const int prots[] = {0, 1, 3, 3, 3, 5, 7, 2, 4, 3};
	static const int advice[] = {0, 1, 2, 4, 4, 4, 10, 11, 18, 19, 16, 17, 12, 13, 14, 15, 3, 20,
				     21, 9};
	int a = pick(N), n = 1 + pick(pick(3) ? 4 : N), prot = prots[pick(10)], x;

	n = a + n > N ? N - a : n;
	switch (pick(17)) {
	case 0:
	case 1:
	case 2:
		step_mmap(a, n, prot);
		break;
	case 3:
		printf("munmap %d %d = %ld\n", a, n, CALL(syscall(SYS_munmap, AT(a), n * PS)));
		break;
	case 4:
	case 5:
	case 6:
		printf("mprotect %d %d %d = %ld\n", a, n, prot,
		       CALL(syscall(SYS_mprotect, AT(a), n * PS, prot)));
		break;
	case 7:
		x = advice[pick(20)];
		printf("madvise %d %d %d = %ld\n", a, n, x,
		       CALL(syscall(SYS_madvise, AT(a), n * PS, x)));
		break;
	case 8:
	case 9:
		step_mremap(a, n);
		break;
	case 10:
		x = pick(3);
		if (x < 2)
			printf("mlock %d %d %d = %ld\n", a, n, x,
			       CALL(syscall(SYS_mlock2, AT(a), n * PS, x)));
		else
			printf("munlock %d %d = %ld\n", a, n,
			       CALL(syscall(SYS_munlock, AT(a), n * PS)));
		break;
	case 11:
		x = pick(8);
		printf("msync %d %d %d = %ld\n", a, n, x,
		       CALL(syscall(SYS_msync, AT(a), n * PS, x)));
		break;
	default:
		step_other(a, s * 77 + 1);
	}
	show();
}

static void steps(int n)
{
	for (int s = 0; s < n; s++)
		step(s);
	show_smaps();
}

static long option(const char *cmdline, const char *name, long otherwise)
{
	const char *p = strstr(cmdline, name);

	return p ? strtol(p + strlen(name), NULL, 10) : otherwise;
}

int main(void)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
	static char out[1 << 16];
	long rounds;

	setvbuf(stdout, out, _IOFBF, sizeof(out));
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	slurp("/proc/cmdline");
	rounds = option(buf, "rounds=", 20);
	seed ^= option(buf, "seed=", 1) * 0x9e3779b97f4a7c15ull;
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	printf("quire-mm-oracle 1\n");
	for (long r = 0; r < rounds; r++) {
		printf("round %ld\n", r);
		for (int i = 0; i < 3; i++) {
			fd[i] = syscall(SYS_memfd_create, "x", 0);
			if (ftruncate(fd[i], file_pages[i] * PS))
				printf("no file\n");
		}
		old_layout[0] = old_pages[0] = 0;
		read_status(status0);
		for (int k = 0; k < 4; k++)
			steps(25);
		printf("done\n");
		syscall(SYS_munmap, BASE, N * PS * 4);
		for (int i = 0; i < 3; i++)
			close(fd[i]);
	}
	printf("all done\n");
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return 0;
}
