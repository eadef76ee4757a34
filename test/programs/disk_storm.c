/* SPDX-License-Identifier: MIT */
/*
 * disk_storm FIRST-LAST ROUNDS [races]: threads read and write a disk of the machine in software at
 * random places, each in a part of its own, with interrupts where the seed says, at any access of
 * kernel and drivers, while requests fail, end in reverse, take long and stall. What was written
 * without an error is read back; the disk accuses a driver of what it may not do.
 */
#include "test/programs/storm.h"

#define ROOM	(96ul << 10) /* of user memory for each thread */
#define PART	(256ul << 10) /* and of the disk */
#define MOST	(80u << 10)   /* of one call */
#define THREADS 4

static struct thread {
	unsigned id, rng, rounds;
	uintptr_t room;
	unsigned char *model, *bytes;
	bool done;
} threads[THREADS];

static unsigned errors;
static int fd;

static unsigned rnd(struct thread *t, unsigned n)
{
	return next_random(&t->rng, n);
}

/* A write that failed may have changed any of its bytes: it is made again until it succeeds. */
static void write_piece(struct thread *t, unsigned at, unsigned n)
{
	long r;

	for (unsigned i = 0; i < n; i++)
		t->model[at + i] = (unsigned char)rnd(t, 256);
	fake_poke(t->room, t->model + at, n);
	while ((r = CALL(NR_pwrite64, fd, (long)t->room, n, (long)(t->id * PART + at))) != (long)n) {
		CHECK(r == -EIO || (r > 0 && r < (long)n), "%ld", r);
		errors++;
	}
}

static void read_piece(struct thread *t, unsigned at, unsigned n)
{
	long r = CALL(NR_pread64, fd, (long)t->room, n, (long)(t->id * PART + at));

	if (r == -EIO) {
		errors++;
		return;
	}
	CHECK(r > 0 && r <= (long)n, "%ld", r);
	fake_peek(t->bytes, t->room, (size_t)r);
	CHECK(!memcmp(t->bytes, t->model + at, (size_t)r), "thread %u at %u, %ld bytes", t->id, at, r);
}

static void accident(struct thread *t)
{
	static const char *const kinds[] = {"fail", "fail-reads", "fail-writes", "fail-flushes"};
	unsigned what = rnd(t, 4);

	if (what)
		disk_delay(what - 1, &t->rng);
	else
		fake_disk_accident(0, kinds[rnd(t, 4)], 1 + rnd(t, 5));
}

static void round_of(struct thread *t)
{
	unsigned at = rnd(t, PART - MOST), n = 1 + rnd(t, rnd(t, 2) ? MOST : 2000);
	long r;

	if (rnd(t, 2)) { /* whole sectors */
		at &= ~511u;
		n = (n + 511) & ~511u;
	}
	switch (rnd(t, 8)) {
	case 0:
		accident(t);
		break;
	case 1:
		r = CALL(NR_fsync, fd);
		CHECK(r == 0 || r == -EIO, "%ld", r);
		break;
	case 2:
	case 3:
	case 4:
		write_piece(t, at, n);
		break;
	default:
		read_piece(t, at, n);
		break;
	}
}

static void thread_main(void *arg)
{
	struct thread *t = arg;

	for (unsigned i = 0; i < wanted; i++)
		round_of(t);
	t->done = true;
	CALL(NR_exit, 0);
}

static void first_program(void *state)
{
	bool done;

	CALL(NR_mmap, A, THREADS * ROOM, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_poke(A, "/dev/vda", 9);
	fd = (int)CALL(NR_openat, AT_FDCWD, A, O_RDWR, 0);
	CHECK(fd >= 0, "%d", fd);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(fake_fork(SHARED, thread_main, &threads[i], 0) > 0, "%u", i);
	do {
		CALL(NR_sched_yield);
		done = true;
		for (unsigned i = 0; i < THREADS; i++)
			done = done && threads[i].done;
	} while (!done);
	for (unsigned i = 0; i < THREADS; i++) {
		fake_disk_peek(0, i * PART / 512, threads[i].bytes, PART / 512);
		CHECK(!memcmp(threads[i].bytes, threads[i].model, PART), "the disk at last, part %u", i);
	}
	fake_exit(0);
}

static bool run(void)
{
	int status;

	errors = 0;
	memset(threads, 0, sizeof(threads));
	for (unsigned i = 0; i < THREADS; i++)
		threads[i] = (struct thread){.id = i, .rng = seed * THREADS + i, .room = A + i * ROOM,
					     .model = calloc(1, PART), .bytes = calloc(1, PART)};
	if (!machine_up("norandmaps", 5 + seed % 3 * 40))
		return false;
	fake_disk_add(&(struct fake_disk_config){.sectors = THREADS * PART / 512,
						 .queue_size = seed % 2 ? 256 : 16,
						 .no_tables = seed % 4 == 1});
	status = fake_run(first_program, NULL);
	/* where the clock leaps at every access a request ends before the next comes */
	CHECK(seed % 3 == 0 || fake_disk_counters(0)->most_under_way > 1, "one at a time");
	for (unsigned i = 0; i < THREADS; i++) {
		free(threads[i].model);
		free(threads[i].bytes);
	}
	printf("# %u calls failed\n", errors);
	return machine_down(status);
}

int main(int argc, char **argv)
{
	return run_seeds(argc, argv, 60, run);
}
