/* SPDX-License-Identifier: MIT */
/*
 * Each CPU forgets what another one takes away: for each ordered pair of CPUs and for each call that
 * takes away or changes a translation, by hand-shake and not by luck. A thread on the reader's CPU,
 * which nobody else wants, keeps touching one page, so that this CPU's TLB holds it. Only when it was
 * seen doing so does the writer, on its own CPU, make the call, and then says so in a shared word. From
 * there on the reader's next touch has to fault, or to find what is there now: a flush that left its
 * CPU out shows as the old bytes or as no fault.
 *
 * Arguments: "seconds N" (3 without): all pairs and calls are done at least once, and again until the
 * time is over, for an interrupt may push the page out of the TLB. Exit status 0: nothing stale was
 * seen. One CPU alone is no pair: nothing is looked at. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define PAGE  4096ul
#define LOOKS 3 /* touches that have to be seen before the call; one would do */
#define ROOM  64 /* pages round the one that is touched, in which nobody else maps */

enum expect {
	FAULTS, /* SIGSEGV or SIGBUS */
	ZEROS,
	OTHERS, /* the bytes of the page that came in its place */
	COPIES, /* no fault; what is written is not seen by the child that was forked */
};

struct kind {
	const char *name;
	int writes;  /* what the reader's touches are */
	int in_file; /* the page is of a file */
	enum expect expect;
	void (*change)(void);
};

static char *room, *page;
static int file;
static volatile uint64_t *shared; /* with the forked child: what it saw, what it may do */
static const uint64_t OLD = 0x0101010101010101ull, NEW = 0x7e7e7e7e7e7e7e7eull, LATE = 0x5a5a5a5a5a5a5a5aull;

/* What the two say to each other; whoever waits spins, for a switch could empty the TLB. */
static atomic_ulong looks;  /* the reader's touches of the page in this turn */
static atomic_ulong turn;   /* of the writer: this page may be touched now */
static atomic_ulong done;   /* of the writer: the call of this turn has returned */
static atomic_ulong looked; /* of the reader: it has seen what there is after this turn's call */
static atomic_int over;
static const struct kind *now;

static void pin(int to)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(to, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	CHECK(sched_getcpu() == to);
}

/* ---- the calls -------------------------------------------------------------------------------- */

static void *map_there(int how, int fd)
{
	return mmap(page, PAGE, PROT_READ | PROT_WRITE, how | MAP_FIXED, fd, 0);
}

static void unmapped(void)
{
	CHECK(munmap(page, PAGE) == 0);
}

static void all_unmapped(void)
{
	CHECK(munmap(room, ROOM * PAGE) == 0);
}

static void protected(void)
{
	CHECK(mprotect(page, PAGE, PROT_NONE) == 0);
}

static void protected_from_writes(void)
{
	CHECK(mprotect(page, PAGE, PROT_READ) == 0);
}

static void given_back(void)
{
	CHECK(madvise(page, PAGE, MADV_DONTNEED) == 0);
}

static void moved_away(void)
{
	char *to = room + PAGE;

	CHECK(mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	CHECK(*(volatile uint64_t *)to == OLD);
}

static void moved_there(void)
{
	volatile uint64_t *from = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK((void *)from != MAP_FAILED);
	*from = NEW;
	CHECK(mremap((void *)from, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == page);
}

static void mapped_over(void)
{
	CHECK(map_there(MAP_PRIVATE | MAP_ANONYMOUS, -1) == page);
}

static void cut(void)
{
	CHECK(ftruncate(file, 0) == 0);
}

static int child;

/* The child looks at its copy before the reader writes once more, and after. */
static void forked(void)
{
	volatile uint64_t *at = (void *)page;
	uint64_t seen;

	shared[0] = shared[1] = 0;
	child = fork();
	CHECK(child >= 0);
	if (child)
		return;
	seen = *at;
	shared[0] = 1;
	while (!shared[1])
		sched_yield();
	_exit(*at != seen);
}

static void look_at_child(void)
{
	shared[1] = 1;
	if (status_of(child) != 0) {
		printf("a child of fork sees what another CPU writes afterwards\n");
		_exit(1);
	}
}

static const struct kind kinds[] = {
	{"munmap", 0, 0, FAULTS, unmapped},
	{"munmap of all", 1, 0, FAULTS, all_unmapped},
	{"mprotect to nothing", 0, 0, FAULTS, protected},
	{"mprotect to reads", 1, 0, FAULTS, protected_from_writes},
	{"madvise DONTNEED", 0, 0, ZEROS, given_back},
	{"mremap away", 0, 0, FAULTS, moved_away},
	{"mremap there", 0, 0, OTHERS, moved_there},
	{"mmap over it", 0, 0, ZEROS, mapped_over},
	{"ftruncate", 0, 1, FAULTS, cut},
	{"mprotect of a file", 1, 1, FAULTS, protected_from_writes},
	{"fork", 1, 0, COPIES, forked},
};

/* ---- the reader ------------------------------------------------------------------------------- */

static sigjmp_buf back; /* the reader's; nobody else faults */
static volatile sig_atomic_t expects;

static void on_fault(int sig)
{
	if (!expects)
		_exit(77);
	siglongjmp(back, sig);
}

/* Touches the page; 0 if that faults. No call of the kernel: on some machines that alone empties the TLB. */
static int touch(int write, uint64_t *value)
{
	volatile uint64_t *at = (void *)page;
	int ok = 0;

	if (!sigsetjmp(back, 0)) {
		expects = 1;
		if (write)
			*at = *value;
		else
			*value = *at;
		ok = 1;
	}
	expects = 0;
	return ok;
}

static int is_as_expected(const struct kind *k)
{
	uint64_t value = LATE;
	int ok = touch(k->writes, &value);

	switch (k->expect) {
	case FAULTS:
		return !ok;
	case ZEROS:
		return ok && value == 0;
	case OTHERS:
		return ok && value == NEW;
	case COPIES:
		return ok;
	}
	return 0;
}

static void *reader(void *arg)
{
	const int *pair = arg;
	struct sigaction sa = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	pin(pair[1]);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	for (unsigned long n = 1;; n++) {
		uint64_t value = OLD;

		while (atomic_load(&turn) < n)
			if (atomic_load(&over))
				return NULL;
		/* While the call is made the touch may find either; and goes on, to stay in the TLB. */
		while (atomic_load(&done) < n) {
			touch(now->writes, &value);
			atomic_fetch_add(&looks, 1);
		}
		if (!is_as_expected(now)) {
			printf("CPU %d does not see what CPU %d did: %s\n", pair[1], pair[0], now->name);
			_exit(1); /* at once: such a kernel may not get far */
		}
		atomic_store(&looked, n);
	}
}

/* ---- the writer ------------------------------------------------------------------------------- */

/* A page that holds OLD, in the middle of what nobody may touch. */
static void lay(const struct kind *k)
{
	CHECK(mmap(room, ROOM * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		   0) == room);
	if (k->in_file) {
		CHECK(ftruncate(file, PAGE) == 0);
		CHECK(map_there(MAP_SHARED, file) == page);
	} else {
		CHECK(map_there(MAP_PRIVATE | MAP_ANONYMOUS, -1) == page);
	}
	*(volatile uint64_t *)page = OLD;
}

static void play(const struct kind *k, unsigned long n)
{
	now = k;
	lay(k);
	atomic_store(&looks, 0);
	atomic_store(&turn, n);
	while (atomic_load(&looks) < LOOKS)
		;
	k->change();
	if (k->expect == COPIES) /* the child's is a thread of this CPU */
		while (!shared[0])
			sched_yield();
	atomic_store(&done, n);
	while (atomic_load(&looked) < n)
		;
	if (k->expect == COPIES)
		look_at_child();
}

/* All calls by one CPU, while another one reads. */
static unsigned long play_pair(int writer, int of_reader)
{
	int pair[] = {writer, of_reader};
	unsigned long n = 0;
	pthread_t t;

	atomic_store(&over, 0);
	atomic_store(&turn, 0);
	atomic_store(&done, 0);
	atomic_store(&looked, 0);
	pin(writer);
	CHECK(!pthread_create(&t, NULL, reader, pair));
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		play(&kinds[i], ++n);
	atomic_store(&over, 1);
	pthread_join(t, NULL);
	return n;
}

static void begin(void)
{
	room = mmap(NULL, ROOM * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(room != MAP_FAILED);
	page = room + ROOM / 2 * PAGE;
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK((void *)shared != MAP_FAILED);
	file = (int)syscall(SYS_memfd_create, "page", 0);
	CHECK(file >= 0);
}

int main(int argc, char **argv)
{
	int seconds = argc > 2 && !strcmp(argv[1], "seconds") ? atoi(argv[2]) : 3;
	time_t until = time(NULL) + seconds;
	unsigned long calls = 0, rounds = 0;
	cpu_set_t all;
	int cpus;

	setvbuf(stdout, NULL, _IOLBF, 0);
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	cpus = CPU_COUNT(&all);
	begin();
	do {
		for (int w = 0; w < cpus && !failures; w++)
			for (int r = 0; r < cpus && !failures; r++)
				if (w != r)
					calls += play_pair(w, r);
		rounds++;
	} while (time(NULL) < until && cpus > 1 && !failures);
	printf("# %d CPUs: %lu rounds, %lu calls\n%d failures\n", cpus, rounds, calls, failures);
	return failures != 0;
}
