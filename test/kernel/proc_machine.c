/* SPDX-License-Identifier: MIT */
/*
 * Files of /proc about the machine, and about single threads: loadavg, stat, cmdline, sys/kernel,
 * smaps_rollup, kpagecount and kpageflags, task and what lies in it; and /dev/full.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096l
#define RW   (PROT_READ | PROT_WRITE)

/* The whole text; its length, or -errno. */
static long text_of(const char *path, char *b, long size)
{
	int fd = open(path, O_RDONLY);
	long n = 0, r;

	if (fd < 0)
		return -errno;
	while ((r = read(fd, b + n, size - 1 - n)) > 0)
		n += r;
	r = r < 0 ? -errno : n;
	b[n] = '\0';
	close(fd);
	return r;
}

static long number_of(const char *path)
{
	char b[256];

	return text_of(path, b, sizeof(b)) > 0 ? strtol(b, NULL, 10) : -1;
}

static int write_to(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY), r;

	if (fd < 0)
		return -errno;
	r = write(fd, s, strlen(s)) == (long)strlen(s) ? 0 : -errno;
	close(fd);
	return r;
}

static unsigned long row(const char *text, const char *name)
{
	const char *s = strstr(text, name);

	return s ? strtoul(s + strlen(name), NULL, 10) : ~0ul;
}

/* ---- load, stat, command line ------------------------------------------------------------------- */

static void load(void)
{
	int a[3], b[3], running, threads, last, pid = fork(), n = 0;
	char t[256], end;

	if (!pid)
		_exit(0);
	CHECK(status_of(pid) == 0);
	CHECK(text_of("/proc/loadavg", t, sizeof(t)) > 0);
	n = sscanf(t, "%d.%02d %d.%02d %d.%02d %d/%d %d%c", &a[0], &b[0], &a[1], &b[1], &a[2], &b[2], &running,
		   &threads, &last, &end);
	CHECK(n == 10 && end == '\n');
	CHECK(running >= 1 && threads >= 2 && last == pid);
}

/* Two that only run bring the first average up: after one sample a twelfth of two. */
static void load_rises(void)
{
	int pids[2], whole = 0, part = 0;
	char t[256];

	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		for (; !pids[i];)
			;
	}
	for (int i = 0; i < 14 && !whole && part < 10; i++) {
		usleep(500000);
		CHECK(text_of("/proc/loadavg", t, sizeof(t)) > 0);
		sscanf(t, "%d.%02d", &whole, &part);
	}
	CHECK(whole || part >= 10);
	for (int i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		CHECK(status_of(pids[i]) == 256 + SIGKILL);
	}
}

static void machine_stat(void)
{
	static char t[16384];
	unsigned long forks, switches;
	int pid, fds[2];
	char c;

	CHECK(text_of("/proc/stat", t, sizeof(t)) > 0);
	CHECK(!strncmp(t, "cpu  ", 5) && strstr(t, "\ncpu0 "));
	CHECK(row(t, "\nprocs_running ") >= 1 && row(t, "\nprocs_running ") < 1000);
	CHECK(row(t, "\nprocs_blocked ") < 1000);
	CHECK(row(t, "\nbtime ") != ~0ul);
	forks = row(t, "\nprocesses ");
	switches = row(t, "\nctxt ");
	CHECK(pipe(fds) == 0);
	for (int i = 0; i < 5; i++) {
		pid = fork();
		if (!pid)
			_exit(write(fds[1], "x", 1) != 1);
		CHECK(read(fds[0], &c, 1) == 1 && status_of(pid) == 0);
	}
	CHECK(text_of("/proc/stat", t, sizeof(t)) > 0);
	CHECK(row(t, "\nprocesses ") >= forks + 5 && row(t, "\nprocesses ") < forks + 50);
	CHECK(row(t, "\nctxt ") >= switches + 5);
	close(fds[0]);
	close(fds[1]);
}

static void command_line(void)
{
	char t[4096];
	long n = text_of("/proc/cmdline", t, sizeof(t));

	CHECK(n > 1 && t[n - 1] == '\n' && strchr(t, '\n') == t + n - 1 && strchr(t, '='));
}

/* ---- sys/kernel --------------------------------------------------------------------------------- */

static void same_line(const char *path, const char *text)
{
	char t[256];
	long n = text_of(path, t, sizeof(t));

	CHECK(n > 0 && t[n - 1] == '\n' && !strncmp(t, text, n - 1) && !text[n - 1]);
}

static void names(void)
{
	struct utsname u, now;
	char version[512], both[200];

	CHECK(uname(&u) == 0);
	same_line("/proc/sys/kernel/ostype", u.sysname);
	same_line("/proc/sys/kernel/osrelease", u.release);
	same_line("/proc/sys/kernel/version", u.version);
	same_line("/proc/sys/kernel/hostname", u.nodename);
	same_line("/proc/sys/kernel/domainname", u.domainname);
	snprintf(both, sizeof(both), "%s version %s (", u.sysname, u.release);
	CHECK(text_of("/proc/version", version, sizeof(version)) > 0 && !strncmp(version, both, strlen(both)));

	CHECK(sethostname("somebody", 8) == 0 && uname(&now) == 0 && !strcmp(now.nodename, "somebody"));
	same_line("/proc/sys/kernel/hostname", "somebody");
	CHECK(write_to("/proc/sys/kernel/hostname", "else\nx") == 0 && uname(&now) == 0 && !strcmp(now.nodename, "else"));
	CHECK(setdomainname("dom.ain", 7) == 0 && uname(&now) == 0 && !strcmp(now.domainname, "dom.ain"));
	CHECK(syscall(SYS_sethostname, both, 65) == -1 && errno == EINVAL && syscall(SYS_sethostname, both, -1) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_sethostname, 8, 3) == -1 && errno == EFAULT);
	CHECK(sethostname(u.nodename, strlen(u.nodename)) == 0);
	CHECK(setdomainname(u.domainname, strlen(u.domainname)) == 0);
	CHECK(write_to("/proc/sys/kernel/osrelease", "x") < 0);
}

static bool is_uuid(const char *s)
{
	for (int i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !strchr("0123456789abcdef", s[i]))
			return false;
	return s[36] == '\n' && s[14] == '4' && strchr("89ab", s[19]);
}

static void chance(void)
{
	char a[64], b[64];

	CHECK(text_of("/proc/sys/kernel/random/uuid", a, 64) == 37 && is_uuid(a));
	CHECK(text_of("/proc/sys/kernel/random/uuid", b, 64) == 37 && is_uuid(b) && strcmp(a, b));
	CHECK(text_of("/proc/sys/kernel/random/boot_id", a, 64) == 37 && is_uuid(a));
	CHECK(text_of("/proc/sys/kernel/random/boot_id", b, 64) == 37 && !strcmp(a, b));
	CHECK(number_of("/proc/sys/kernel/random/entropy_avail") == 256);
	CHECK(number_of("/proc/sys/kernel/random/poolsize") == 256);
}

static void *waits(void *arg)
{
	pause();
	return NULL;
}

static void numbers(void)
{
	long max = number_of("/proc/sys/kernel/threads-max"), pids = number_of("/proc/sys/kernel/pid_max");
	char was[32];
	int pid;

	CHECK(number_of("/proc/sys/kernel/cap_last_cap") == 40);
	CHECK(number_of("/proc/sys/kernel/overflowuid") == 65534 && number_of("/proc/sys/kernel/overflowgid") == 65534);
	CHECK(number_of("/proc/sys/kernel/randomize_va_space") == 0);
	CHECK(pids >= 32768 && max > 20);
	/* numbers begin again below the largest */
	CHECK(write_to("/proc/sys/kernel/pid_max", "300") == -EINVAL);
	CHECK(write_to("/proc/sys/kernel/pid_max", "4194305") == -EINVAL);
	CHECK(write_to("/proc/sys/kernel/pid_max", "400\n") == 0 && number_of("/proc/sys/kernel/pid_max") == 400);
	CHECK(write_to("/proc/sys/kernel/ns_last_pid", "398") == 0);
	for (int i = 0, last = 398; i < 3; i++, last = pid) {
		pid = fork();
		if (!pid)
			_exit(0);
		CHECK(status_of(pid) == 0);
		CHECK(pid == (i == 0 ? 399 : pid) && (i != 1 || (pid < last && pid >= 300)) && pid < 400);
	}
	snprintf(was, sizeof(was), "%ld", pids);
	CHECK(write_to("/proc/sys/kernel/pid_max", was) == 0);
	/* as many tasks as may be */
	CHECK(write_to("/proc/sys/kernel/threads-max", "0") == -EINVAL);
	CHECK(write_to("/proc/sys/kernel/threads-max", "20") == 0);
	pthread_t t[20];
	int n = 0;

	while (n < 20 && pthread_create(&t[n], NULL, waits, NULL) == 0)
		n++;
	CHECK(n < 20);
	CHECK(fork() == -1 && errno == EAGAIN);
	snprintf(was, sizeof(was), "%ld", max);
	CHECK(write_to("/proc/sys/kernel/threads-max", was) == 0);
	while (n--) {
		CHECK(pthread_cancel(t[n]) == 0);
		CHECK(pthread_join(t[n], NULL) == 0);
	}
}

/* ---- smaps_rollup ------------------------------------------------------------------------------- */

static void rollup(void)
{
	static char all[65536], sum[2048];
	static const char *const rows[] = {"\nRss:", "\nPss:", "\nShared_Clean:", "\nShared_Dirty:", "\nPrivate_Clean:",
		"\nPrivate_Dirty:", "\nAnonymous:", "\nLocked:"};
	char *p = mmap(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	char *s = mmap(NULL, 32 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	unsigned long from, to;
	int pid, fd, n;

	CHECK(mlock(p, 8 * PAGE) == 0);
	CHECK(text_of("/proc/self/smaps", all, sizeof(all)) > 0 && text_of("/proc/self/smaps_rollup", sum, sizeof(sum)) > 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		unsigned long total = 0;

		for (const char *at = all; (at = strstr(at, rows[i])); at++)
			total += strtoul(at + strlen(rows[i]), NULL, 10);
		/* pages of one's own text and stack may come and go in between, and shares are rounded */
		CHECK(row(sum, rows[i]) + 12 >= total && row(sum, rows[i]) <= total + 40);
	}
	CHECK(row(sum, "\nPss_Anon:") >= 256 && row(sum, "\nPss_Anon:") < 512);
	CHECK(row(sum, "\nPss_Shmem:") >= 128 && row(sum, "\nPss_Shmem:") < 2000);
	CHECK(row(sum, "\nLocked:") == 32);
	CHECK(sscanf(sum, "%lx-%lx ---p 00000000 00:00 0 %n", &from, &to, &n) == 2 && n == 73 && !strncmp(sum + n, "[rollup]\n", 9));
	CHECK(from <= (unsigned long)rollup && to > (unsigned long)&from);
	CHECK(!strstr(sum, "VmFlags") && !strstr(sum, "Size"));
	/* whose space is gone has none */
	pid = fork();
	if (!pid)
		_exit(0);
	snprintf(all, 64, "/proc/%d/smaps_rollup", pid);
	fd = open(all, O_RDONLY);
	waitid(P_PID, pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
	CHECK(fd < 0 || (read(fd, sum, 10) == -1 && errno == ESRCH));
	close(fd);
	CHECK(status_of(pid) == 0);
	munmap(p, 64 * PAGE);
	munmap(s, 32 * PAGE);
}

/* ---- frames ------------------------------------------------------------------------------------- */

enum { KPF_LRU = 5, KPF_SLAB = 7, KPF_BUDDY = 10, KPF_MMAP, KPF_ANON, KPF_SWAPBACKED = 14, KPF_NOPAGE = 20, KPF_ZERO_PAGE = 24, KPF_PGTABLE = 26, KPF_RESERVED = 32, KPF_MLOCKED = 33 };

static uint64_t frame_of(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t word = 0;

	CHECK(pread(fd, &word, 8, (long)p / PAGE * 8) == 8 && word >> 63);
	close(fd);
	return word & ((1ull << 55) - 1);
}

static uint64_t word_of(const char *path, uint64_t pfn)
{
	int fd = open(path, O_RDONLY);
	uint64_t word = 0;

	CHECK(pread(fd, &word, 8, (long)pfn * 8) == 8);
	close(fd);
	return word;
}

#define COUNT "/proc/kpagecount"
#define FLAGS "/proc/kpageflags"
#define HAS(word, bit) ((word) >> (bit) & 1)

static void one_frame(void)
{
	volatile char *p = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *s = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int fds[2], pid;
	uint64_t f, w;
	char c;

	(void)*p;
	w = word_of(FLAGS, frame_of((char *)p));
	CHECK(HAS(w, KPF_ZERO_PAGE) && !HAS(w, KPF_ANON));
	*p = 1;
	f = frame_of((char *)p);
	CHECK(word_of(COUNT, f) == 1);
	w = word_of(FLAGS, f);
	CHECK(HAS(w, KPF_MMAP) && HAS(w, KPF_ANON) && HAS(w, KPF_SWAPBACKED));
	CHECK(!HAS(w, KPF_BUDDY) && !HAS(w, KPF_SLAB) && !HAS(w, KPF_NOPAGE) && !HAS(w, KPF_MLOCKED));
	w = word_of(FLAGS, frame_of(s));
	CHECK(HAS(w, KPF_MMAP) && !HAS(w, KPF_ANON) && HAS(w, KPF_SWAPBACKED));
	CHECK(pipe(fds) == 0);
	pid = fork();
	if (!pid)
		_exit(read(fds[0], &c, 1) != 1);
	CHECK(word_of(COUNT, f) == 2 && word_of(COUNT, frame_of(s)) == 1); /* the child has not touched it */
	CHECK(write(fds[1], "x", 1) == 1 && status_of(pid) == 0);
	CHECK(word_of(COUNT, f) == 1);
	CHECK(mlock((void *)p, PAGE) == 0);
	w = word_of(FLAGS, frame_of((char *)p));
	CHECK(HAS(w, KPF_MLOCKED));
	munmap((void *)p, PAGE);
	munmap(s, PAGE);
	close(fds[0]);
	close(fds[1]);
}

static void all_frames(void)
{
	static uint64_t flags[4096], counts[4096];
	int ff = open(FLAGS, O_RDONLY), cf = open(COUNT, O_RDONLY);
	long n, free = 0, mapped = 0, tables = 0, slabs = 0, mib = 0, far = 0;
	struct stat st;

	CHECK(fstat(ff, &st) == 0 && (st.st_mode & 07777) == 0400 && st.st_size == 0);
	while ((n = read(ff, flags, sizeof(flags))) > 0) {
		CHECK(n % 8 == 0 && read(cf, counts, n) == n);
		for (long i = 0; i < n / 8; i++) {
			free += HAS(flags[i], KPF_BUDDY);
			mapped += HAS(flags[i], KPF_MMAP);
			tables += HAS(flags[i], KPF_PGTABLE);
			slabs += HAS(flags[i], KPF_SLAB);
			mib += !HAS(flags[i], KPF_NOPAGE);
			/* an entry may come or go between the two files, but few do */
			far += HAS(flags[i], KPF_MMAP) != (counts[i] != 0);
		}
	}
	CHECK(n == 0 && read(cf, counts, 8) == 0);
	CHECK(mib / 256 >= 16 && free * 2 > mib / 4 && mapped > 5 && tables > 3 && slabs > 10);
	CHECK(far < 20);
	CHECK(pread(ff, flags, 8, 4) == -1 && errno == EINVAL);
	CHECK(pread(ff, flags, 12, 0) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_pread64, cf, 8, 8, 0) == -1 && errno == EFAULT);
	CHECK(pread(ff, flags, 8, 1l << 50) == 0);
	close(ff);
	close(cf);
}

/* ---- threads ------------------------------------------------------------------------------------ */

static volatile int tid_of_two;
static int end_two[2];

static void *second(void *arg)
{
	char c;

	prctl(PR_SET_NAME, "second");
	tid_of_two = (int)syscall(SYS_gettid);
	return read(end_two[0], &c, 1) == 1 ? NULL : arg;
}

static int entries(const char *path, int wanted)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0, found = 0;

	while (d && (e = readdir(d))) {
		n += e->d_name[0] != '.';
		found += atoi(e->d_name) == wanted;
	}
	if (d)
		closedir(d);
	return found == 1 ? n : -1;
}

static void threads(void)
{
	char path[64], t[4096], link[64], self[64];
	struct stat st;
	pthread_t two;
	int number, fd, pid;

	CHECK(entries("/proc/self/task", getpid()) == 1);
	CHECK(prctl(PR_SET_NAME, "proc_machine") == 0 && pipe(end_two) == 0);
	CHECK(pthread_create(&two, NULL, second, NULL) == 0);
	while (!tid_of_two)
		usleep(1000);
	usleep(20000); /* it reads by now */
	CHECK(entries("/proc/self/task", tid_of_two) == 2 && entries("/proc/self/task", getpid()) == 2);
	CHECK(stat("/proc/self/task", &st) == 0 && st.st_nlink == 4);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid_of_two);
	CHECK(text_of(path, t, sizeof(t)) == 7 && !strcmp(t, "second\n"));
	CHECK(text_of("/proc/self/comm", t, sizeof(t)) > 0 && !strcmp(t, "proc_machine\n"));
	CHECK(write_to(path, "renamed by another\n") == 0);
	CHECK(text_of(path, t, sizeof(t)) == 16 && !strcmp(t, "renamed by anot\n"));
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid_of_two);
	CHECK(text_of(path, t, sizeof(t)) > 0 && atoi(t) == tid_of_two && strstr(t, "(renamed by anot)"));
	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid_of_two);
	CHECK(text_of(path, t, sizeof(t)) > 0 && row(t, "\nTgid:\t") == (unsigned)getpid());
	CHECK(row(t, "\nPid:\t") == (unsigned)tid_of_two && row(t, "\nThreads:\t") == 2 && strstr(t, "\nState:\tS"));
	snprintf(path, sizeof(path), "/proc/self/task/%d/maps", tid_of_two);
	CHECK(text_of(path, t, sizeof(t)) > 100);
	snprintf(path, sizeof(path), "/proc/self/task/%d/fd", tid_of_two);
	CHECK(entries(path, 1) >= 3);
	snprintf(path, sizeof(path), "/proc/self/task/%d/task", tid_of_two);
	CHECK(stat(path, &st) == -1 && errno == ENOENT);
	CHECK(stat("/proc/self/task/1", &st) == -1 && errno == ENOENT);
	snprintf(self, sizeof(self), "%d/task/%d", getpid(), getpid());
	number = readlink("/proc/thread-self", link, sizeof(link) - 1);
	link[number > 0 ? number : 0] = '\0';
	CHECK(!strcmp(link, self));
	/* another process's threads are not ours to name */
	pid = fork();
	if (!pid) {
		snprintf(path, sizeof(path), "/proc/%d/comm", getppid());
		_exit(write_to(path, "x") != -EINVAL);
	}
	CHECK(status_of(pid) == 0);
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid_of_two);
	fd = open(path, O_RDONLY);
	CHECK(write(end_two[1], "x", 1) == 1);
	CHECK(pthread_join(two, NULL) == 0);
	for (int i = 0; i < 1000 && entries("/proc/self/task", getpid()) != 1; i++)
		usleep(1000);
	CHECK(entries("/proc/self/task", getpid()) == 1);
	CHECK(read(fd, t, 10) == -1 && errno == ESRCH);
	close(fd);
	CHECK(write_to("/proc/self/comm", "first") == 0 && prctl(PR_GET_NAME, t) == 0 && !strcmp(t, "first"));
}

static void full(void)
{
	int fd = open("/dev/full", O_RDWR);
	char b[4] = "abc";
	struct stat st;

	CHECK(fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == (1 << 8 | 7));
	CHECK(write(fd, b, 1) == -1 && errno == ENOSPC);
	CHECK(read(fd, b, 4) == 4 && !memcmp(b, "\0\0\0", 4));
	close(fd);
}

int main(void)
{
	load();
	machine_stat();
	command_line();
	names();
	chance();
	rollup();
	one_frame();
	all_frames();
	threads();
	full();
	load_rises();
	numbers();
	printf("%d failures\n", failures);
	return failures != 0;
}
