/* SPDX-License-Identifier: MIT */
/*
 * swap_storm FIRST-LAST ROUNDS [races]: threads of one process and the children that they fork, over
 * kernel, core and drivers on a machine in software, with interrupts where the seed says, at any access.
 * Their pages go to a disk that is slow, stalls, and ends requests in reverse; swapoff and swapon come in
 * between. Each page says who wrote what last, and is compared.
 */
#include "test/programs/storm.h"

#define PAGE	4096ul
#define PAGES	64u /* of each thread, in its own place */
#define THREADS 3
#define SLOTS	1000u
#define NAMES	(A - 16 * PAGE)
#define PAGEOUT 21

static struct thread {
	unsigned id, rng;
	uint64_t tag[PAGES];
	bool done;
} threads[THREADS];

static unsigned forks;

static unsigned rnd(struct thread *t, unsigned n)
{
	return next_random(&t->rng, n);
}

static uintptr_t page_of(const struct thread *t, unsigned i)
{
	return A + (t->id * PAGES + i) * PAGE;
}

static void look(const struct thread *t, unsigned i)
{
	uint64_t v = ~0ull;

	CHECK(!fake_peek(&v, page_of(t, i), 8), "page %u of %u", i, t->id);
	CHECK(v == t->tag[i], "page %u of %u: %llx, not %llx", i, t->id, (unsigned long long)v,
	      (unsigned long long)t->tag[i]);
}

static void put(struct thread *t, unsigned i)
{
	uint64_t v = (uint64_t)(t->id + 1) << 56 | (uint64_t)i << 40 | rnd(t, 1u << 24);

	CHECK(!fake_poke(page_of(t, i), &v, 8), "page %u of %u", i, t->id);
	t->tag[i] = v;
}

/* A child has what its parent had, and writes without being seen there. */
static void child_main(void *arg)
{
	struct thread *t = arg;

	for (unsigned n = 0; n < 8; n++)
		look(t, rnd(t, PAGES));
	for (unsigned n = 0; n < 4; n++)
		put(t, rnd(t, PAGES));
	CALL(NR_madvise, (long)page_of(t, 0), PAGES * PAGE, PAGEOUT);
	for (unsigned n = 0; n < 8; n++)
		look(t, rnd(t, PAGES));
	fake_exit(0);
}

static void write_file(const char *path, const char *text)
{
	uintptr_t at = NAMES + 2 * PAGE;
	long fd;

	fake_poke(at, path, strlen(path) + 1);
	fake_poke(at + 100, text, strlen(text) + 1);
	fd = CALL(NR_openat, AT_FDCWD, (long)at, O_WRONLY, 0);
	CHECK(fd >= 0, "%s: %ld", path, fd);
	CALL(NR_write, fd, (long)at + 100, (long)strlen(text));
	CALL(NR_close, fd);
}

/* Only the first thread has the names and may change what all have. */
static void rare(struct thread *t)
{
	unsigned what = rnd(t, 5);
	long r;

	switch (what) {
	case 0:
		write_file("/proc/quire/reclaim", "300");
		break;
	case 1:
		r = CALL(NR_swapoff, NAMES);
		CHECK(r == 0 || r == -EINVAL || r == -ENOMEM, "%ld", r);
		if (!r)
			CHECK(CALL(NR_swapon, NAMES, 0) == 0, "on again");
		break;
	default:
		disk_delay(what - 2, &t->rng);
	}
}

static void round_of(struct thread *t)
{
	unsigned i = rnd(t, PAGES), n = 1 + rnd(t, PAGES - i), what = rnd(t, 16);
	long pid;

	if (what < 4) {
		put(t, i);
	} else if (what < 9) {
		look(t, i);
	} else if (what < 12) {
		CALL(NR_madvise, (long)page_of(t, i), n * PAGE, PAGEOUT);
	} else if (what < 13) {
		CALL(NR_madvise, (long)page_of(t, i), n * PAGE, 4 /* MADV_DONTNEED */);
		for (unsigned k = i; k < i + n; k++)
			t->tag[k] = 0;
	} else if (what < 14) {
		pid = fake_fork(0, child_main, t, sizeof(*t));
		CHECK(pid > 0, "%ld", pid);
		forks++;
	} else if (!t->id) {
		rare(t);
	}
}

static void thread_main(void *arg)
{
	struct thread *t = arg;

	for (unsigned i = 0; i < wanted; i++)
		round_of(t);
	for (unsigned i = 0; i < PAGES; i++)
		look(t, i);
	t->done = true;
	CALL(NR_exit, 0);
}

static void first_program(void *state)
{
	bool done;

	CALL(NR_mmap, A, THREADS * PAGES * PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CALL(NR_mmap, NAMES, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_poke(NAMES, "/dev/vda", 9);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(fake_fork(SHARED, thread_main, &threads[i], 0) > 0, "%u", i);
	do {
		CALL(NR_sched_yield);
		done = true;
		for (unsigned i = 0; i < THREADS; i++)
			done = done && threads[i].done;
	} while (!done);
	while (CALL(NR_wait4, -1, 0, 0, 0) > 0)
		;
	fake_exit(0);
}

static void make_swap(unsigned char *image)
{
	uint32_t head[3] = {1, SLOTS - 1, 0};

	memcpy(image + 1024, head, sizeof(head));
	memcpy(image + PAGE - 10, "SWAPSPACE2", 10);
}

static bool run(void)
{
	unsigned char *image = calloc(SLOTS, PAGE);
	int status;
	bool good;

	forks = 0;
	memset(threads, 0, sizeof(threads));
	for (unsigned i = 0; i < THREADS; i++)
		threads[i] = (struct thread){.id = i, .rng = seed * THREADS + i};
	make_swap(image);
	if (!machine_up("norandmaps swap=/dev/vda", 45 + seed % 3 * 40))
		return false;
	fake_disk_add(&(struct fake_disk_config){.sectors = SLOTS * PAGE / 512, .image = image,
						 .queue_size = seed % 2 ? 256 : 16});
	status = fake_run(first_program, NULL);
	CHECK(fake_disk_counters(0)->writes && fake_disk_counters(0)->reads > 1, "nothing was swapped");
	printf("# %u forks, %lu reads, %lu writes\n", forks, (unsigned long)fake_disk_counters(0)->reads,
	       (unsigned long)fake_disk_counters(0)->writes);
	good = machine_down(status);
	free(image);
	return good;
}

int main(int argc, char **argv)
{
	return run_seeds(argc, argv, 60, run);
}
