/* SPDX-License-Identifier: MIT */
/*
 * Memory runs out, again and again: who is killed? Each set-up starts a few processes (a, b, ...) that
 * take a share of the free memory in some way. Then a process that may not be killed takes the rest,
 * until somebody has died. The answers are those that Linux 5.10.223 gave to this program
 * (`./quire exec linux-5.10 --mem 256M oom`); it can be run there again at any time.
 *
 * The shares are far enough apart for all machines: what counts is who is larger, and 5.10's formula.
 * Where the memory of the victim is not given back at once (locked, shared), a second one may be killed
 * before the first has gone, and be gone before it: 5.10 does so, as its reaper skips such memory and
 * hides the space from the next search.
 *
 * usage: oom [SET-UP...]; all but those that end the machine.
 */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* What a set-up does not name is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define MAX_HOGS 8
#define PAGE	 4096ul

/* How a process takes its share. */
enum how {
	NOBODY,
	TOUCH,	  /* writes to anonymous memory */
	BY_THREAD, /* a thread of it does */
	SPARSE,	  /* as TOUCH for a third; another third are page tables, with as many pages in them */
	LOCKED,	  /* mlock */
	SHARED,	  /* anonymous memory, shared */
	SHM,	  /* maps a file of /tmp and writes to it */
	UNMAPPED, /* writes a file of /tmp that nobody maps */
	READS,	  /* reads memory that was never written: the page of zeros */
	NO_ACCESS, /* writes, then forbids itself all access */
	HALF_BACK, /* writes, and gives half of it back */
	KIDS,	  /* as TOUCH, with five children that take 2 % each */
	CLONE,	  /* as TOUCH, and another process uses the same space */
	VFORK,	  /* as TOUCH, then vforks a child that stays */
	VFORK_ADJ, /* the same; the child sets its own oom_score_adj to 1000 */
	COPIES,	  /* as TOUCH, then forks a child that adds 5 % */
	STACK,	  /* writes to its stack */
	DEAD_LEADER, /* a thread does, and the first thread ends */
	PAGED_OUT, /* writes, and sends all of it to swap */
	REFAULTS, /* the same, and wants it back all the time: it waits for the disk when it is killed */
	FIGHTS,	  /* as TOUCH, and four threads map and unmap all the time */
	LEAKS,	  /* takes what there is, without end: the trigger */
};

/* Who takes the rest. */
enum trigger {
	TOUCHES, /* writes to memory */
	WRITES,	 /* to a file of /tmp: the kernel allocates for it */
	FORKS,	 /* has children */
	POPULATES, /* mmap does it */
	ITSELF,	 /* one of the hogs leaks */
};

struct hog {
	enum how how;
	int percent;
	int adj; /* but for -1000 and 1000: thousandths of the free memory, not of all of it */
};

struct setup {
	const char *name;
	const char *first; /* who dies first; "": nobody */
	struct hog hog[MAX_HOGS];
	enum trigger trigger;
	const char *sysctl; /* set to 1 meanwhile */
	int others;	    /* as many more may be killed, and be gone before the first */
};

static const struct setup setups[] = {
	{"larger", "a", {{TOUCH, 40, 0}, {TOUCH, 25, 0}}},
	{"larger-last", "b", {{TOUCH, 25, 0}, {TOUCH, 40, 0}}},
	{"adj-down", "b", {{TOUCH, 40, -500}, {TOUCH, 25, 0}}},
	{"adj-up", "b", {{TOUCH, 40, 0}, {TOUCH, 20, 400}}},
	{"adj-most", "b", {{TOUCH, 50, 0}, {TOUCH, 1, 1000}}},
	{"adj-three", "c", {{TOUCH, 15, 0}, {BY_THREAD, 30, 0}, {TOUCH, 10, 500}}},
	{"adj-min", "b", {{TOUCH, 50, -1000}, {TOUCH, 15, 0}}},
	{"adj-not-enough", "a", {{TOUCH, 60, -200}, {TOUCH, 10, 0}}},
	{"thread", "b", {{TOUCH, 20, 0}, {BY_THREAD, 40, 0}}},
	{"leader-ended", "b", {{TOUCH, 20, 0}, {DEAD_LEADER, 40, 0}}},
	{"tables", "a", {{SPARSE, 40, 0}, {TOUCH, 25, 0}}},
	{"tables-count-once", "b", {{SPARSE, 30, 0}, {TOUCH, 40, 0}}},
	{"locked", "a", {{LOCKED, 40, 0}, {TOUCH, 25, 0}}, .others = 1},
	{"shared", "a", {{SHARED, 40, 0}, {TOUCH, 25, 0}}, .others = 1},
	{"mapped-file", "a", {{SHM, 35, 0}, {TOUCH, 20, 0}}, .others = 1},
	{"unmapped-file", "b", {{UNMAPPED, 40, 0}, {TOUCH, 20, 0}, {TOUCH, 10, 0}}},
	{"zeros", "b", {{READS, 60, 0}, {TOUCH, 20, 0}}},
	{"no-access", "a", {{NO_ACCESS, 40, 0}, {TOUCH, 25, 0}}},
	{"half-back", "b", {{HALF_BACK, 40, 0}, {TOUCH, 30, 0}}},
	{"children", "a", {{KIDS, 30, 0}, {TOUCH, 20, 0}}, .others = 5},
	{"one-space", "a", {{CLONE, 40, 0}, {TOUCH, 25, 0}}},
	{"one-space-kept", "b", {{CLONE, 40, -1000}, {TOUCH, 25, 0}}},
	{"vfork", "a", {{VFORK, 40, 0}, {TOUCH, 25, 0}}, .others = 1},
	{"vfork-adj", "b", {{VFORK_ADJ, 25, 0}, {TOUCH, 40, 0}}},
	{"copies", "a", {{COPIES, 30, 0}, {TOUCH, 15, 0}}, .others = 1},
	{"stack", "a", {{STACK, 40, 0}, {TOUCH, 25, 0}}},
	{"locks", "a", {{FIGHTS, 40, 0}, {TOUCH, 25, 0}}},
	{"by-write", "a", {{TOUCH, 40, 0}, {TOUCH, 25, 0}}, WRITES},
	/* Forks may fill what the first victim left before anybody can stop them. */
	{"by-fork", "a", {{TOUCH, 40, 0}, {TOUCH, 25, 0}}, FORKS, .others = 1},
	{"by-populate", "a", {{TOUCH, 40, 0}, {TOUCH, 25, 0}}, POPULATES},
	{"leak", "c", {{TOUCH, 15, 0}, {TOUCH, 10, 0}, {LEAKS, 0, 0}, {TOUCH, 5, 0}}, ITSELF},
	{"allocating", "b", {{TOUCH, 60, 0}, {LEAKS, 0, 0}}, ITSELF, "oom_kill_allocating_task"},
	{"allocating-kept", "a", {{TOUCH, 40, 0}, {TOUCH, 25, 0}}, TOUCHES, "oom_kill_allocating_task"},
	{"not-allocating", "a", {{TOUCH, 60, 0}, {LEAKS, 0, 0}}, ITSELF},
};

/* Those that need swap, of about half of the memory: only when they are asked for. */
static const struct setup with_swap[] = {
	{"swapped", "a", {{PAGED_OUT, 40, 0}, {TOUCH, 25, 0}}},
	{"swapped-both", "b", {{PAGED_OUT, 25, 0}, {PAGED_OUT, 40, 0}}},
	{"swapped-in-use", "a", {{REFAULTS, 50, 0}, {TOUCH, 15, 0}}},
	{"swapped-adj", "b", {{PAGED_OUT, 40, -300}, {TOUCH, 25, 0}}},
};

/* What all processes of a set-up see. */
static struct {
	volatile int ready; /* hogs that have their share */
	volatile int stop;  /* somebody has died */
	volatile int go;
} *common;

static unsigned long share; /* bytes that a percent is */

static void pause_for_ever(void)
{
	for (;;)
		pause();
}

static void die(const char *what)
{
	printf("# %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(9);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(path);
	close(fd);
}

static void set_adj(int adj)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", adj);
	write_text("/proc/self/oom_score_adj", text);
}

static unsigned long meminfo(const char *name)
{
	char line[128];
	unsigned long v = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			v = strtoul(line + strlen(name) + 1, NULL, 10);
	if (f)
		fclose(f);
	return v << 10;
}

static char *map(size_t n, int flags)
{
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void touch(char *p, size_t n)
{
	for (size_t i = 0; i < n; i += PAGE)
		p[i] = 1;
}

static char *take(size_t n)
{
	char *p = map(n, MAP_PRIVATE | MAP_ANONYMOUS);

	touch(p, n);
	return p;
}

/* ---- the ways -------------------------------------------------------------------------------- */

static void *touch_thread(void *arg)
{
	take(*(size_t *)arg);
	common->ready++;
	pause_for_ever();
	return NULL;
}

static void by_thread(size_t n, int leader_ends)
{
	static size_t size;
	pthread_t t;

	size = n;
	if (pthread_create(&t, NULL, touch_thread, &size))
		die("thread");
	if (leader_ends)
		pthread_exit(NULL);
	pause_for_ever();
}

/* Every page in a table of its own. */
static void sparse(size_t n)
{
	size_t pages = n / PAGE / 3;
	char *p = map(pages << 21, MAP_PRIVATE | MAP_ANONYMOUS);

	take(n / 3);
	for (size_t i = 0; i < pages; i++)
		p[i << 21] = 1;
}

static void file_of(size_t n, int mapped)
{
	static char buf[65536];
	int fd = open("/tmp/hog", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *p;

	if (fd < 0)
		die("/tmp/hog");
	unlink("/tmp/hog");
	if (mapped) {
		if (ftruncate(fd, (off_t)n))
			die("ftruncate");
		p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			die("mmap");
		touch(p, n);
	}
	for (size_t done = 0; !mapped && done < n; done += sizeof(buf))
		if (write(fd, buf, sizeof(buf)) != sizeof(buf))
			die("write");
}

static void reads(size_t n)
{
	volatile char *p = map(n, MAP_PRIVATE | MAP_ANONYMOUS), sum = 0;

	for (size_t i = 0; i < n; i += PAGE)
		sum += p[i];
}

static int shares_space(void *arg)
{
	pause_for_ever();
	return 0;
}

static void clone_space(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	if (clone(shares_space, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL) < 0)
		die("clone");
}

static void vforks(int sets_adj)
{
	if (vfork())
		return;
	if (sets_adj)
		set_adj(1000);
	common->ready++;
	for (;;)
		pause();
}

/* Deeper and deeper. */
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static __attribute__((noinline)) void deeper(size_t n)
{
	volatile char frame[16 * PAGE];

	for (size_t i = 0; i < sizeof(frame); i += PAGE)
		frame[i] = 1;
	if (n > sizeof(frame)) {
		deeper(n - sizeof(frame));
	} else {
		common->ready++;
		pause_for_ever();
	}
	frame[0] = 2; /* no tail call */
}

static void on_stack(size_t n)
{
	struct rlimit r = {n + (1 << 20), n + (1 << 20)};

	if (setrlimit(RLIMIT_STACK, &r))
		die("setrlimit");
	deeper(n);
}

static void *fights(void *arg)
{
	for (;;) {
		char *p = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS);

		touch(p, 16 * PAGE);
		munmap(p, 16 * PAGE);
	}
	return arg;
}

static void fighters(void)
{
	pthread_t t;

	for (int i = 0; i < 4; i++)
		if (pthread_create(&t, NULL, fights, NULL))
			die("thread");
}

static char *paged_out(size_t n)
{
	char *p = take(n);

	if (madvise(p, n, 21 /* MADV_PAGEOUT */))
		die("pageout");
	return p;
}

static void refaults(size_t n)
{
	char *p = paged_out(n);

	common->ready++;
	for (;;)
		touch(p, n);
}

static void leak(void)
{
	while (!common->go)
		usleep(1000);
	for (;;)
		take(1 << 20);
}

static void kids(size_t each)
{
	for (int i = 0; i < 5; i++)
		if (!fork()) {
			take(each);
			common->go++;
			pause_for_ever();
		}
	while (common->go < 5)
		usleep(1000);
	common->go = 0;
}

static void hog(const struct hog *h)
{
	size_t n = share * (unsigned)h->percent;
	char *p;

	set_adj(h->adj % 1000 ? (int)(h->adj * (long)(100 * share) / (long)meminfo("MemTotal")) : h->adj);
	switch (h->how) {
	case BY_THREAD:
	case DEAD_LEADER:
		by_thread(n, h->how == DEAD_LEADER);
		break;
	case SPARSE:
		sparse(n);
		break;
	case LOCKED:
		p = take(n);
		if (mlock(p, n))
			die("mlock");
		break;
	case SHARED:
		touch(map(n, MAP_SHARED | MAP_ANONYMOUS), n);
		break;
	case SHM:
	case UNMAPPED:
		file_of(n, h->how == SHM);
		break;
	case READS:
		reads(n);
		break;
	case NO_ACCESS:
		p = take(n);
		if (mprotect(p, n, PROT_NONE))
			die("mprotect");
		break;
	case HALF_BACK:
		p = take(n);
		madvise(p, n / 2 & ~(PAGE - 1), MADV_DONTNEED);
		break;
	case KIDS:
		take(n);
		kids(2 * share);
		break;
	case CLONE:
		take(n);
		clone_space();
		break;
	case VFORK:
	case VFORK_ADJ:
		take(n);
		vforks(h->how == VFORK_ADJ);
		pause_for_ever();
		break;
	case COPIES:
		take(n);
		if (!fork()) {
			take(5 * share);
			common->ready++;
			pause_for_ever();
		}
		pause_for_ever();
		break;
	case PAGED_OUT:
		paged_out(n);
		break;
	case REFAULTS:
		refaults(n);
		break;
	case FIGHTS:
		take(n);
		fighters();
		break;
	case STACK:
		on_stack(n);
		break;
	case LEAKS:
		common->ready++;
		leak();
		break;
	default:
		take(n);
		break;
	}
	common->ready++;
	pause_for_ever();
}

/* ---- the trigger ----------------------------------------------------------------------------- */

static long killed(void)
{
	char line[128];
	long v = -1;
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "oom_kill %ld", &v);
	if (f)
		fclose(f);
	return v;
}

/* Each has stack, tables and what else the kernel needs, and a little of its own. None more once somebody was
 * killed: of these nobody may be, and who looks on may be late. */
static void fork_many(void)
{
	static char own[32 * PAGE];
	long before = killed();

	setpgid(0, 0);
	while (!common->stop) {
		pid_t pid = killed() == before ? fork() : -1;

		if (!pid) {
			touch(own, sizeof(own));
			pause_for_ever();
		}
		if (pid < 0)
			usleep(1000);
	}
	kill(0, SIGKILL);
}

static void take_the_rest(enum trigger how)
{
	size_t n = 8 * 100 * share;
	static char buf[65536];
	char *p;
	int fd;

	switch (how) {
	case WRITES:
		fd = open("/tmp/rest", O_RDWR | O_CREAT | O_TRUNC, 0600);
		unlink("/tmp/rest");
		while (!common->stop && write(fd, buf, sizeof(buf)) > 0)
			;
		break;
	case FORKS:
		fork_many();
		break;
	case POPULATES:
		while (!common->stop)
			mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_NORESERVE, -1, 0);
		break;
	default:
		p = map(n, MAP_PRIVATE | MAP_ANONYMOUS);
		for (size_t i = 0; i < n && !common->stop; i += PAGE)
			p[i] = 1;
		break;
	}
	_exit(0);
}

/* ---- one set-up ------------------------------------------------------------------------------ */

static unsigned count(const struct setup *s)
{
	unsigned n = 0;

	while (n < MAX_HOGS && s->hog[n].how != NOBODY)
		n++;
	return n;
}

/* Who died, in the order of their ends; the trigger is not among them. */
static void wait_for_the_dead(const pid_t *pid, unsigned n, pid_t rest, char *dead)
{
	int status, left = 1;
	pid_t p;

	while (left) {
		p = waitpid(-1, &status, 0);
		if (p < 0)
			break;
		common->stop = 1;
		for (unsigned i = 0; i < n; i++)
			if (p == pid[i] && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
				*dead++ = (char)('a' + i);
				left = rest ? 1 : 0;
			} else if (p == pid[i]) {
				printf("# %c ended with %x\n", 'a' + i, status);
			}
		if (p == rest)
			break;
	}
	*dead = '\0';
}

static void clean_up(const pid_t *pid, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		kill(-pid[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

static void sysctl(const char *name, const char *value)
{
	char path[80];

	if (!name)
		return;
	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	write_text(path, value);
}

static void run_setup(const struct setup *s)
{
	pid_t pid[MAX_HOGS] = {0}, rest = 0;
	unsigned n = count(s);
	char dead[MAX_HOGS + 1];
	long kills = killed();

	memset(common, 0, sizeof(*common));
	share = meminfo("MemFree") / 100 & ~(PAGE - 1);
	for (unsigned i = 0; i < n; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			setpgid(0, 0);
			hog(&s->hog[i]);
		}
		setpgid(pid[i], pid[i]);
		while (common->ready <= (int)i && waitpid(pid[i], NULL, WNOHANG) == 0)
			usleep(1000);
	}
	sysctl(s->sysctl, "1");
	if (s->trigger != ITSELF) {
		rest = fork();
		if (!rest)
			take_the_rest(s->trigger);
	}
	common->go = 1;
	wait_for_the_dead(pid, n, rest, dead);
	sysctl(s->sysctl, "0");
	kills = killed() - kills;
	clean_up(pid, n);
	printf("# %-18s dead: %s, %ld killed\n", s->name, dead, kills);
	fflush(stdout);
	CHECK(kills >= 1 && kills <= 1 + s->others);
	if (dead[0] != s->first[0] && kills == 1) {
		printf("# %s: %s died first, not %s\n", s->name, dead, s->first);
		CHECK(!"the same choice as 5.10");
	}
}

/* ---- those that end the machine -------------------------------------------------------------- */

/* Nobody may be killed. */
static void deadlock(void)
{
	set_adj(-1000);
	for (;;)
		take(1 << 20);
}

static void panics(void)
{
	write_text("/proc/sys/vm/panic_on_oom", "1");
	set_adj(0);
	for (;;)
		take(1 << 20);
}

/* ---- /proc ----------------------------------------------------------------------------------- */

static long number_of(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		die(path);
	close(fd);
	return strtol(text, NULL, 10);
}

static int refused(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), err = 0;

	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

#define ADJ "/proc/self/oom_score_adj"
#define OLD "/proc/self/oom_adj"

static void files(void)
{
	long before, after;

	set_adj(0);
	CHECK(number_of(ADJ) == 0 && number_of(OLD) == 0);
	before = number_of("/proc/self/oom_score");
	take(meminfo("MemTotal") / 10 & ~(PAGE - 1));
	after = number_of("/proc/self/oom_score");
	CHECK(before >= 600 && before <= 700);
	CHECK(after >= before + 50 && after <= before + 80); /* two thirds of a tenth */
	set_adj(1000);
	CHECK(number_of(OLD) == 15);
	CHECK(number_of("/proc/self/oom_score") > after + 600);
	set_adj(-1000);
	CHECK(number_of(OLD) == -17 && number_of("/proc/self/oom_score") == 0);
	set_adj(500);
	CHECK(number_of(OLD) == 8);
	write_text(OLD, "-17");
	CHECK(number_of(ADJ) == -1000);
	write_text(OLD, "8");
	CHECK(number_of(ADJ) == 470);
	write_text(OLD, "15\n");
	CHECK(number_of(ADJ) == 1000);
	CHECK(refused(ADJ, "1001") == EINVAL && refused(ADJ, "-1001") == EINVAL);
	CHECK(refused(ADJ, "x") == EINVAL && refused(OLD, "16") == EINVAL && refused(OLD, "-18") == EINVAL);
	CHECK(number_of(ADJ) == 1000);
}

/* Whoever has not the right may go up, and down again to what it was given. */
static void rights(void)
{
	struct { uint32_t version; int pid; } head = {0x20080522, 0};
	struct { uint32_t effective, permitted, inheritable; } data[2];

	set_adj(100);
	syscall(SYS_capget, &head, data);
	data[0].effective &= ~(1u << 24); /* CAP_SYS_RESOURCE */
	data[0].permitted &= ~(1u << 24);
	CHECK(syscall(SYS_capset, &head, data) == 0);
	CHECK(refused(ADJ, "99") == EACCES && refused(OLD, "1") == EACCES);
	CHECK(refused(ADJ, "300") == 0 && number_of(ADJ) == 300);
	CHECK(refused(ADJ, "100") == 0 && refused(ADJ, "99") == EACCES);
	if (!fork())
		_exit(number_of(ADJ) == 100 && refused(ADJ, "0") == EACCES ? 0 : 1);
	int status;
	CHECK(wait(&status) > 0 && status == 0);
}

/* ---- many seeds ------------------------------------------------------------------------------ */

/* One of eight leaks, the others have what they have. */
static void leaking_one(unsigned seed)
{
	struct setup s = {.name = "seed", .trigger = ITSELF};
	static char first[2];
	unsigned state = seed * 2654435761u + 1, which;

	which = seed % 8;
	for (unsigned i = 0; i < 8; i++) {
		state = state * 1103515245u + 12345;
		s.hog[i] = (struct hog){TOUCH, 1 + (int)(state >> 16) % 6, 0};
	}
	s.hog[which] = (struct hog){LEAKS, 0, 0};
	first[0] = (char)('a' + which);
	s.first = first;
	run_setup(&s);
}

static int in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		failures = 0;
		fn();
		fflush(stdout);
		_exit(failures ? 1 : 0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static int chosen(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return 1;
	return argc < 2;
}

static int end(const char *what)
{
	printf("# %s: %d failures\n", what, failures);
	return failures != 0;
}

int main(int argc, char **argv)
{
	long before = killed();

	common = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	common->ready = 0;
	set_adj(-1000);
	if (argc > 1 && !strcmp(argv[1], "deadlock"))
		deadlock();
	if (argc > 1 && !strcmp(argv[1], "panic_on_oom"))
		panics();
	if (argc > 2 && !strcmp(argv[1], "seeds")) {
		for (int i = 0; i < atoi(argv[2]); i++)
			leaking_one((unsigned)i);
		return end("oom seeds");
	}
	if (chosen(argc, argv, "files"))
		CHECK(in_child(files));
	if (chosen(argc, argv, "rights"))
		CHECK(in_child(rights));
	for (unsigned i = 0; i < sizeof(setups) / sizeof(*setups); i++)
		if (chosen(argc, argv, setups[i].name))
			run_setup(&setups[i]);
	for (unsigned i = 0; i < sizeof(with_swap) / sizeof(*with_swap); i++)
		if (argc > 1 && chosen(argc, argv, with_swap[i].name))
			run_setup(&with_swap[i]);
	CHECK(argc > 1 || killed() >= before + (long)(sizeof(setups) / sizeof(*setups)));
	return end("oom");
}
