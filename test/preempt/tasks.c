/* SPDX-License-Identifier: MIT */
/*
 * The tasks of a machine: the first program makes what is shared, and then, round by round, forks
 * some processes, of which some start threads, waits until all have done their operations, and
 * checks what only holds when nobody runs: the core's invariants, the pipe's sums.
 */
#include <stdio.h>
#include <string.h>

#include "arch/fake/fake_user.h"
#include "test/preempt/preempt.h"
#include "user/u_nr.h"
#include <quire/abi.h>

#define ROUND	     60u /* operations of a task, about */
#define OWN	     (MAX_TASKS * STRIDE + BASE) /* the first program's scratch */

struct world world;

const char *const program_name = "preempt";
const unsigned program_rates[5] = {300, 40, 1000, 150, 5000};

void program_machine(struct fake_config *c, const struct plan *p)
{
	static char words[128];
	uint64_t bits = p->seed * 0x9e3779b97f4a7c15ull >> 40;

	snprintf(words, sizeof(words), "norandmaps%s%s%s", bits & 256 ? " late_free=1" : "",
		 (bits & 0x600) == 0x600 ? " slub_debug=FZPU" : "",
		 (bits & 0x3800) == 0x3800 ? " preempt=none" : "");
	c->cmdline = words;
	world.plan = *p;
}

int program_run(const struct plan *p)
{
	return fake_run(first_task, NULL);
}

long call6(long nr, const long a[6])
{
	return fake_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

uintptr_t put(struct task *t, unsigned offset, const void *src, size_t n)
{
	REQUIRE(!fake_poke(t->scratch + offset, src, n), "no scratch memory");
	return t->scratch + offset;
}

void get(struct task *t, void *dst, unsigned offset, size_t n)
{
	REQUIRE(!fake_peek(dst, t->scratch + offset, n), "no scratch memory");
}

/* ---- one task -------------------------------------------------------------------------------- */

static void map_scratch(struct task *t)
{
	long ret = CALL(NR_mmap, t->scratch, SCRATCH_PAGES * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	REQUIRE(ret == (long)t->scratch, "no scratch memory: %ld", ret);
}

void task_begin(struct task *t, unsigned id, uint64_t seed, unsigned operations)
{
	memset(t, 0, sizeof(*t));
	t->id = id;
	t->rng = seed | 1;
	t->left = operations;
	t->base = BASE + id * STRIDE;
	t->scratch = t->base + STRIDE / 2;
}

/* What it does in the space that it was started in. */
static void work(struct task *t)
{
	long ret;

	map_scratch(t);
	ret = CALL(NR_pwrite64, world.file, t->scratch, PAGE, t->id * PAGE);
	REQUIRE(ret == PAGE, "pwrite: %ld", ret);
	while (t->left) {
		t->left--;
		operate(t);
	}
	wait_children(t);
	verify_all(t);
}

static void thread_main(void *state)
{
	struct task *t = state;

	/* the kernel stores 0 there at the end, and wakes */
	CALL(NR_set_tid_address, WORDS_AT + PAGE + t->id * 64);
	world.pid[t->id] = CALL(NR_gettid);
	work(t);
	world.pid[t->id] = 0;
	for (;;)
		CALL(NR_exit, 0);
}

static struct task *task_new(unsigned id, uint64_t seed, unsigned operations)
{
	struct task *t = fake_alloc(sizeof(*t));

	REQUIRE(t, "the host is out of memory");
	task_begin(t, id, seed, operations);
	return t;
}

static void start_thread(struct task *t, unsigned id)
{
	uint64_t seed = rnd_of(&t->rng);
	struct task *other = task_new(id, seed, t->left);
	uintptr_t end = WORDS_AT + PAGE + id * 64;
	long ret;

	other->thread = true;
	REQUIRE(!fake_access(FAULT_WRITE, end, 4, 1).sig, "no word for a thread");
	ret = fake_fork(THREAD, thread_main, other, sizeof(*other));
	REQUIRE(ret > 0, "a thread: %ld", ret);
	fake_free(other);
}

static void join(unsigned id)
{
	uintptr_t end = WORDS_AT + PAGE + id * 64;
	struct fake_seen s;

	while ((s = fake_access(FAULT_READ, end, 4, 0)).value) {
		long ret = CALL(NR_futex, end, 0, s.value, 0, 0, 0);

		REQUIRE(!ret || ret == -EAGAIN || ret == -EINTR, "futex: %ld", ret);
	}
}

/* A process of the round; status holds how many threads it has. */
static void process_main(void *state)
{
	struct task *t = state;
	unsigned threads = t->status[0];

	world.pid[t->id] = CALL(NR_getpid);
	for (unsigned i = 1; i <= threads; i++)
		start_thread(t, t->id + i);
	work(t);
	for (unsigned i = 1; i <= threads; i++)
		join(t->id + i);
	world.pid[t->id] = 0;
	fake_exit(0);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static unsigned world_rnd(unsigned n)
{
	return (rnd_of(&world.rng) >> 11) % n;
}

static void drain_pipe(struct task *t)
{
	char bytes[RECORD];
	long ret;

	while ((ret = CALL(NR_read, world.pipe[0], t->scratch, RECORD)) != -EAGAIN) {
		uint64_t sum;

		if (ret == -EINTR)
			continue;
		REQUIRE(ret == RECORD, "the pipe's rest: %ld", ret);
		get(t, bytes, 0, RECORD);
		memcpy(&sum, bytes + RECORD - 8, 8);
		world.sum_taken += sum;
		world.taken++;
	}
	REQUIRE(world.sent == world.taken && world.sum_sent == world.sum_taken,
		"%llu records were written, %llu read", (unsigned long long)world.sent,
		(unsigned long long)world.taken);
}

static void check_core(struct task *t)
{
	char text[32] = {0};
	long fd = CALL(NR_open, put(t, 0, "/proc/quire/check", 18), 0);
	long n = CALL(NR_read, fd, t->scratch, 31);

	REQUIRE(n > 0, "/proc/quire/check: %ld", n);
	get(t, text, 0, n);
	CALL(NR_close, fd);
	REQUIRE(!strcmp(text, "0\n"), "invariants are broken: %s", text);
}

static void play_round(struct task *me)
{
	unsigned n = world.plan.tasks ? world.plan.tasks : 2 + world_rnd(5), started = 0;

	for (unsigned id = 0; id < MAX_TASKS && started < n; started++) {
		unsigned threads = world_rnd(3) ? 0 : 1 + world_rnd(2);
		uint64_t seed = rnd_of(&world.rng) * 0x9e3779b97f4a7c15ull;
		struct task *t = task_new(id, seed, ROUND / 2 + world_rnd(ROUND));
		long pid;

		if (id + threads >= MAX_TASKS)
			threads = 0;
		t->status[0] = threads;
		pid = fake_fork(0, process_main, t, sizeof(*t));
		REQUIRE(pid > 0, "fork: %ld", pid);
		fake_free(t);
		id += 1 + threads;
	}
	while (started) {
		uint32_t status;
		long pid = CALL(NR_wait4, -1, me->scratch, 0, 0);

		if (pid == -EINTR)
			continue;
		REQUIRE(pid > 0, "wait4: %ld", pid);
		get(me, &status, 0, sizeof(status));
		REQUIRE(!status, "a process ended with %#x", status);
		started--;
	}
	drain_pipe(me);
	check_core(me);
	progress->rounds++;
}

static long shared_file(struct task *t, uintptr_t map, unsigned pages)
{
	long fd = CALL(NR_memfd_create, put(t, 0, "f", 2), 0), ret;

	REQUIRE(fd >= 0, "memfd_create: %ld", fd);
	ret = CALL(NR_ftruncate, fd, pages * PAGE);
	REQUIRE(!ret, "ftruncate: %ld", ret);
	ret = CALL(NR_mmap, map, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	REQUIRE(ret == map, "mmap: %ld", ret);
	return fd;
}

/* The background reclaims long before anybody is refused memory. */
static void set_marks(struct task *t)
{
	long fd = CALL(NR_open, put(t, 0, "/proc/sys/vm/watermark_scale_factor", 36), 1), ret;

	ret = CALL(NR_write, fd, put(t, 0, "1000", 4), 4);
	REQUIRE(ret == 4, "watermark_scale_factor: %ld", ret);
	CALL(NR_close, fd);
}

void first_task(void *state)
{
	static const int caught[] = {7, 10, 11};
	struct task *t = task_new(0, 1, 0);
	long ret;

	t->scratch = OWN;
	map_scratch(t);
	for (unsigned i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		REQUIRE(!fake_catch_signal(caught[i], t->scratch), "no handler");
	ret = CALL(NR_pipe2, t->scratch, 04000); /* O_NONBLOCK */
	REQUIRE(!ret, "pipe2: %ld", ret);
	get(t, world.pipe, 0, sizeof(world.pipe));
	set_marks(t);
	world.file = shared_file(t, SHARED_AT, FILES);
	world.torn = shared_file(t, TORN_AT, TORN_PAGES);
	ret = CALL(NR_mmap, WORDS_AT, 2 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	REQUIRE(ret == WORDS_AT, "mmap: %ld", ret);
	world.rng = world.plan.seed * 0x9e3779b97f4a7c15ull | 1;
	while (progress->operations < world.plan.operations)
		play_round(t);
	fake_exit(0);
}
