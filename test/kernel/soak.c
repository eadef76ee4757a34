/* SPDX-License-Identifier: MIT */
/*
 * Random changes of several processes' memory while there is too little of it, for as long as one likes.
 *
 *   soak SECONDS SEED [PAGES]
 *
 * WORKERS processes have PAGES private pages each, and a third as many in a memfd of their own; a model says
 * what each page holds. They write, compare, fork (the child compares and writes, too), move their memory,
 * change rights, give back, offer, throw out and lock ranges, truncate and punch their file, read and write it
 * by calls; now and then an allocation is made to fail, blocks are compacted, pages reclaimed, and swap to
 * /dev/vda is taken away and comes back. Never a minute passes in which nobody gets on. At the end all of it is
 * compared, and no slot is in use. Runs on a real Linux too, without the failures.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "progress.h"

#define PAGE	4096ul
#define WORKERS 4
#define WORDS	4 /* of a page that are compared, one in each quarter */
#define PLACE	0x2000000000ul
#define ROOM	0x100000000ul /* from one place of the private memory to the next */
#define PLACES	3
#define DISK	"/dev/vda"
#define MOST_LOCKED 64u

struct page {
	uint64_t key; /* 0: zeros */
	int maybe;    /* offered by MADV_FREE: the key, or zeros from now on */
};

static struct worker {
	unsigned id, place, npriv, nfile, children;
	int fd;
	unsigned char *priv, *file;
	struct page *p, *f;
} me;

static volatile uint32_t *steps; /* of each worker; shared, locked */
static uint64_t rng;

static unsigned any(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 11) % n;
}

static uint64_t *word(unsigned char *mem, unsigned page, unsigned i)
{
	return (uint64_t *)(mem + page * PAGE + i * (PAGE / WORDS) + (i * 8));
}

static uint64_t value(uint64_t key, unsigned i)
{
	return key ? key + i * 0x9e3779b97f4a7c15ull : 0;
}

static void put(unsigned char *mem, struct page *model, unsigned page)
{
	uint64_t key = (rng * 0x2545f4914f6cdd1dull) | 1;

	for (unsigned i = 0; i < WORDS; i++)
		*word(mem, page, i) = value(key, i);
	model[page] = (struct page){key, 0};
}

static void look(const char *what, unsigned char *mem, struct page *model, unsigned page)
{
	struct page *m = &model[page];

	if (m->maybe && !*word(mem, page, 0))
		*m = (struct page){0, 0};
	for (unsigned i = 0; i < WORDS; i++)
		if (*word(mem, page, i) != value(m->key, i)) {
			printf("worker %u: %s page %u word %u: %llx, not %llx\n", me.id, what, page, i,
			       (unsigned long long)*word(mem, page, i), (unsigned long long)value(m->key, i));
			failures++;
			return;
		}
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text)) < 0 ? -1 : 0;
	close(fd);
	return ret;
}

/* ---- what is done ------------------------------------------------------------------------------ */

/* A range of the n pages. */
static unsigned range(unsigned n, unsigned most, unsigned *len)
{
	unsigned from = any(n);

	*len = 1 + any(n - from < most ? n - from : most);
	return from;
}

static void forked(void)
{
	pid_t pid;

	if (me.children > 2)
		return;
	pid = fork();
	if (pid > 0)
		me.children++;
	if (pid)
		return;
	rng ^= 0x5bd1e995;
	for (unsigned i = 0; i < 24; i++)
		look("child's", me.priv, me.p, any(me.npriv));
	for (unsigned i = 0; i < 24; i++)
		put(me.priv, me.p, any(me.npriv));
	if (any(2))
		madvise(me.priv, me.npriv * PAGE, 21 /* MADV_PAGEOUT */);
	for (unsigned i = 0; i < 24; i++)
		look("child's", me.priv, me.p, any(me.npriv));
	_exit(failures != 0);
}

static void reap(int flags)
{
	int st;

	while (me.children && waitpid(-1, &st, flags) > 0) {
		me.children--;
		if (st)
			printf("worker %u: a child ended with %#x\n", me.id, st);
		failures += st != 0;
	}
}

static void moved(void)
{
	unsigned to = (me.place + 1) % PLACES;
	unsigned char *at = (unsigned char *)(PLACE + ((unsigned long)me.id * PLACES + to) * ROOM);

	if (mremap(me.priv, me.npriv * PAGE, me.npriv * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at) {
		me.priv = at;
		me.place = to;
	}
}

static void advised(int advice)
{
	unsigned n, from = range(me.npriv, 200, &n);
	/* Locked memory is refused: it may have been done up to there. */
	int failed = madvise(me.priv + from * PAGE, n * PAGE, advice);

	for (unsigned i = from; i < from + n; i++)
		if (advice == MADV_DONTNEED && !failed)
			me.p[i] = (struct page){0, 0};
		else if ((advice == MADV_DONTNEED || advice == MADV_FREE) && me.p[i].key)
			me.p[i].maybe = 1;
}

static void protected(void)
{
	unsigned n, from = range(me.npriv, 100, &n);

	if (mprotect(me.priv + from * PAGE, n * PAGE, PROT_READ))
		return;
	look("read-only", me.priv, me.p, from + any(n));
	/* Of an area that was cut, both halves may be hard to have back when allocations fail. */
	while (mprotect(me.priv + from * PAGE, n * PAGE, PROT_READ | PROT_WRITE))
		CHECK(errno == ENOMEM);
}

static void cut(void)
{
	unsigned n, from = range(me.nfile, me.nfile, &n);

	if (any(2)) {
		if (fallocate(me.fd, 3 /* a hole, the size kept */, (off_t)(from * PAGE), (off_t)(n * PAGE)))
			return;
	} else {
		CHECK(!ftruncate(me.fd, (off_t)(from * PAGE)));
		while (ftruncate(me.fd, (off_t)(me.nfile * PAGE)))
			CHECK(errno == ENOMEM);
		n = me.nfile - from;
	}
	for (unsigned i = from; i < from + n; i++)
		me.f[i] = (struct page){0, 0};
}

static void called(void)
{
	unsigned page = any(me.nfile);
	static unsigned char buf[PAGE];

	if (any(2)) {
		if (pread(me.fd, buf, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE)
			for (unsigned i = 0; i < WORDS; i++)
				CHECK(*word(buf, 0, i) == value(me.f[page].key, i));
	} else {
		struct page was = me.f[page];

		memset(buf, 0, sizeof(buf));
		put(buf, &me.f[page], 0);
		if (pwrite(me.fd, buf, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE)
			me.f[page] = was;
	}
}

/* For the whole machine. */
static void rare(void)
{
	char text[32];

	switch (any(8)) {
	case 0:
		if (!swapoff(DISK))
			while (swapon(DISK, any(2) ? SWAP_FLAG_PREFER | any(3) : 0))
				CHECK(errno == ENOMEM);
		break;
	case 1:
		write_text("/proc/sys/vm/compact_memory", "1");
		break;
	case 2:
	case 3:
		snprintf(text, sizeof(text), "%u", 1 + any(500));
		write_text("/proc/quire/reclaim", text);
		break;
	default:
		snprintf(text, sizeof(text), "%s %u", any(2) ? "page" : "slab", 1 + any(6));
		write_text("/proc/quire/inject", text);
	}
}

static void step(void)
{
	unsigned n, from, what = any(48);

	steps[me.id]++;
	reap(WNOHANG);
	if (what < 12) {
		put(me.priv, me.p, any(me.npriv));
	} else if (what < 26) {
		look("private", me.priv, me.p, any(me.npriv));
	} else if (what < 30) {
		put(me.file, me.f, any(me.nfile));
	} else if (what < 35) {
		look("shared", me.file, me.f, any(me.nfile));
	} else switch (what) {
	case 35:
		forked();
		break;
	case 36:
		moved();
		break;
	case 37:
		protected();
		break;
	case 38:
		advised(MADV_DONTNEED);
		break;
	case 39:
		advised(MADV_FREE);
		break;
	case 40:
		advised(21 /* MADV_PAGEOUT */);
		break;
	case 41:
		advised(any(2) ? MADV_WILLNEED : 20 /* MADV_COLD */);
		break;
	case 42:
		from = range(me.npriv, MOST_LOCKED, &n);
		mlock(me.priv + from * PAGE, n * PAGE);
		break;
	case 43:
		munlock(me.priv, me.npriv * PAGE);
		break;
	case 44:
		if (!any(4))
			cut();
		break;
	case 45:
	case 46:
		called();
		break;
	default:
		if (!me.id && !any(8))
			rare();
	}
}

static void look_at_all(void)
{
	for (unsigned i = 0; i < me.npriv; i++, steps[me.id]++)
		look("private", me.priv, me.p, i);
	for (unsigned i = 0; i < me.nfile; i++, steps[me.id]++)
		look("shared", me.file, me.f, i);
}

static void worker(unsigned id, unsigned pages, uint64_t seed, double length)
{
	rng = (seed * WORKERS + id + 1) * 0x9e3779b97f4a7c15ull;
	me = (struct worker){.id = id, .npriv = pages, .nfile = pages / 3};
	me.priv = mmap((void *)(PLACE + (unsigned long)id * PLACES * ROOM), pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	me.fd = memfd_create("soak", 0);
	CHECK(!ftruncate(me.fd, (off_t)(me.nfile * PAGE)));
	me.file = mmap(NULL, me.nfile * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, me.fd, 0);
	me.p = calloc(me.npriv, sizeof(*me.p));
	me.f = calloc(me.nfile, sizeof(*me.f));
	CHECK(me.priv != MAP_FAILED && me.file != MAP_FAILED && me.p && me.f);
	for (unsigned i = 0; i < me.npriv; i++, steps[id]++)
		put(me.priv, me.p, i);
	for (unsigned i = 0; i < me.nfile; i++, steps[id]++)
		put(me.file, me.f, i);
	length += seconds();
	while (!failures && seconds() < length)
		step();
	write_text("/proc/quire/inject", "page 0");
	write_text("/proc/quire/inject", "slab 0");
	reap(0);
	munlock(me.priv, me.npriv * PAGE);
	look_at_all();
	_exit(failures != 0);
}

static long number(const char *path, const char *name)
{
	char line[128];
	long v = -1;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			v = atol(line + strlen(name));
	if (f)
		fclose(f);
	return v;
}

int main(int argc, char **argv)
{
	double length = argc > 1 ? atof(argv[1]) : 5;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, sum = 0;
	unsigned pages = argc > 3 ? (unsigned)atoi(argv[3]) : 3000;

	setvbuf(stdout, NULL, _IOLBF, 0);
	steps = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(steps != MAP_FAILED && !mlock((void *)steps, PAGE));
	CHECK(!swapon(DISK, 0));
	for (unsigned i = 0; i < WORKERS; i++) {
		pid_t pid = fork();

		if (!pid)
			worker(i, pages, seed, length);
		CHECK(pid > 0);
	}
	CHECK(wait_for_all(WORKERS, steps, WORKERS) == 0);
	for (unsigned i = 0; i < WORKERS; i++)
		sum += steps[i];
	printf("%llu steps, pswpout %ld pswpin %ld\n", (unsigned long long)sum, number("/proc/vmstat", "pswpout "),
	       number("/proc/vmstat", "pswpin "));
	CHECK(number("/proc/vmstat", "pswpin ") > 0);
	CHECK(!swapoff(DISK) && number("/proc/meminfo", "SwapTotal:") == 0);
	return failures != 0;
}
