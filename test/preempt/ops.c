/* SPDX-License-Identifier: MIT */
/*
 * The operations of one task, and the model of what they do. A task's private memory is its own
 * even where it shares its space with threads, and so is its page of the shared file; what others
 * do must never be seen there. What is shared is checked by sums and by contents that only one
 * value can have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/fake_user.h"
#include "test/preempt/preempt.h"
#include "user/u_nr.h"
#include <quire/abi.h>

#define STAMP(page, off) ((uint8_t)(0x5a ^ (page) * 37 ^ (off)*11 ^ (off) >> 8))

static unsigned range(struct task *t, unsigned *first)
{
	*first = rnd(t, PAGES);
	return 1 + rnd(t, rnd(t, 3) ? 3 : PAGES) % (PAGES - *first);
}

static uintptr_t at(const struct task *t, unsigned page)
{
	return t->base + (uintptr_t)page * PAGE;
}

/* ---- private memory -------------------------------------------------------------------------- */

/* A page that was given up: whether it is still as it was. Reads all of it. */
static void settle(struct task *t, unsigned page, const char *when)
{
	static const uint8_t zero[PAGE];
	uint8_t seen[PAGE];

	REQUIRE(!fake_peek(seen, at(t, page), PAGE), "task %u page %u cannot be read %s", t->id,
		page, when);
	if (!memcmp(seen, t->bytes[page], PAGE))
		return;
	REQUIRE(!memcmp(seen, zero, PAGE), "task %u page %u, given up, is neither old nor zero %s",
		t->id, page, when);
	memset(t->bytes[page], 0, PAGE);
	t->lazy[page] = false;
}

static void verify(struct task *t, unsigned page, unsigned off, unsigned n, const char *when)
{
	uint8_t seen[PAGE];
	size_t left;

	if (t->lazy[page] && t->prot[page] & PROT_READ) {
		settle(t, page, when);
		return;
	}
	left = fake_peek(seen, at(t, page) + off, n);
	if (!t->mapped[page] || !(t->prot[page] & PROT_READ)) {
		REQUIRE(left == n, "task %u page %u can be read %s", t->id, page, when);
		return;
	}
	REQUIRE(!left, "task %u page %u cannot be read %s", t->id, page, when);
	for (unsigned i = 0; i < n; i++)
		REQUIRE(seen[i] == t->bytes[page][off + i],
			"task %u page %u byte %u is %#x, not %#x, %s", t->id, page, off + i,
			seen[i], t->bytes[page][off + i], when);
}

/* Dirty, it stays; what is around the bytes is the old, or zero. */
static void settle_written(struct task *t, unsigned page, unsigned off, unsigned n)
{
	uint8_t seen[PAGE], zero[PAGE] = {0};

	REQUIRE(!fake_peek(seen, at(t, page), PAGE), "task %u page %u cannot be read", t->id, page);
	memcpy(zero + off, t->bytes[page] + off, n);
	t->lazy[page] = false;
	if (!memcmp(seen, t->bytes[page], PAGE))
		return;
	REQUIRE(!memcmp(seen, zero, PAGE), "task %u page %u, given up and written, is wrong", t->id,
		page);
	memcpy(t->bytes[page], zero, PAGE);
}

static void store(struct task *t, unsigned page, unsigned off, unsigned n)
{
	uint8_t bytes[64];
	size_t left;

	for (unsigned i = 0; i < n; i++)
		bytes[i] = rnd_of(&t->rng) >> 13;
	left = fake_poke(at(t, page) + off, bytes, n);
	if (t->mapped[page] && t->prot[page] & PROT_WRITE) {
		REQUIRE(!left, "task %u page %u cannot be written", t->id, page);
		memcpy(t->bytes[page] + off, bytes, n);
		if (t->lazy[page])
			settle_written(t, page, off, n);
	} else {
		REQUIRE(left == n, "task %u page %u can be written", t->id, page);
	}
}

static void op_store(struct task *t)
{
	unsigned n = 1 + rnd(t, 64);

	store(t, rnd(t, PAGES), rnd(t, PAGE - n), n);
}

static void op_verify(struct task *t)
{
	unsigned n = 1 + rnd(t, 200);

	verify(t, rnd(t, PAGES), rnd(t, PAGE - n), n, "by itself");
}

void verify_all(struct task *t)
{
	for (unsigned i = 0; i < PAGES; i++)
		verify(t, i, rnd(t, 8) * 512, 512, "at the end");
}

static void forget(struct task *t, unsigned first, unsigned n)
{
	memset(t->bytes[first], 0, n * PAGE);
	memset(t->lazy + first, 0, n);
}

static void op_map(struct task *t)
{
	unsigned first, n = range(t, &first);
	long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (rnd(t, 4) ? 0 : MAP_POPULATE);
	long ret = CALL(NR_mmap, at(t, first), n * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);

	REQUIRE(ret == at(t, first), "mmap: %ld", ret);
	for (unsigned i = first; i < first + n; i++) {
		t->mapped[i] = true;
		t->prot[i] = PROT_READ | PROT_WRITE;
	}
	forget(t, first, n);
}

static void op_unmap(struct task *t)
{
	unsigned first, n = range(t, &first);
	long ret = CALL(NR_munmap, at(t, first), n * PAGE);

	REQUIRE(!ret, "munmap: %ld", ret);
	memset(t->mapped + first, 0, n);
	forget(t, first, n);
}

static bool all_mapped(const struct task *t, unsigned first, unsigned n)
{
	return !memchr(t->mapped + first, 0, n);
}

static void op_protect(struct task *t)
{
	static const uint8_t prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ,
					PROT_NONE};
	unsigned first, n = range(t, &first), prot = prots[rnd(t, 4)];
	long ret = CALL(NR_mprotect, at(t, first), n * PAGE, prot);

	REQUIRE(ret == (all_mapped(t, first, n) ? 0 : -ENOMEM), "mprotect: %ld", ret);
	/* up to the first hole it was done */
	for (unsigned i = first; i < first + n && t->mapped[i]; i++)
		t->prot[i] = prot;
}

/* To another place of the task's own; where that fails the place is empty. */
static void op_remap(struct task *t)
{
	unsigned from, n = range(t, &from), to = rnd(t, PAGES - n + 1);
	bool whole = all_mapped(t, from, n);
	long ret;

	if (to < from + n && from < to + n)
		return;
	ret = CALL(NR_mremap, at(t, from), n * PAGE, n * PAGE, 1 | 2, at(t, to));
	REQUIRE(ret == at(t, to) || (ret == -EFAULT && (!whole || n > 1)), "mremap: %ld", ret);
	memset(t->mapped + to, 0, n);
	if (ret > 0) {
		memmove(t->mapped + to, t->mapped + from, n);
		memmove(t->prot + to, t->prot + from, n);
		memmove(t->bytes[to], t->bytes[from], n * PAGE);
		memmove(t->lazy + to, t->lazy + from, n);
		memset(t->mapped + from, 0, n);
		forget(t, from, n);
	} else {
		forget(t, to, n);
	}
}

static void op_advise(struct task *t)
{
	unsigned first, n = range(t, &first), how = rnd(t, 4);
	long ret;

	if (how < 2) { /* WILLNEED, SEQUENTIAL ...: nothing that is seen */
		CALL(NR_madvise, at(t, first), n * PAGE, rnd(t, 4));
		return;
	}
	ret = CALL(NR_madvise, at(t, first), n * PAGE, how == 2 ? MADV_FREE : MADV_DONTNEED);
	if (how == 2 || ret == -EINVAL) { /* what is locked refuses, and ends it there */
		for (unsigned i = first; i < first + n; i++)
			t->lazy[i] = t->mapped[i];
		REQUIRE(ret == -EINVAL || ret == (all_mapped(t, first, n) ? 0 : -ENOMEM),
			"MADV_FREE: %ld", ret);
		return;
	}
	REQUIRE(ret == (all_mapped(t, first, n) ? 0 : -ENOMEM), "madvise: %ld", ret);
	forget(t, first, n);
}

/* ---- the shared files ------------------------------------------------------------------------ */

static void op_file(struct task *t)
{
	unsigned n = 1 + rnd(t, 64), off = rnd(t, PAGE - n), how = rnd(t, 6);
	uintptr_t map = SHARED_AT + t->id * PAGE + off;
	uint8_t bytes[64];
	long ret = n;

	for (unsigned i = 0; i < n; i++)
		bytes[i] = rnd_of(&t->rng) >> 9;
	if (how == 4) { /* all pages leave the tables, others' too; none changes */
		ret = CALL(NR_madvise, SHARED_AT, FILES * PAGE, MADV_DONTNEED);
		REQUIRE(!ret, "madvise: %ld", ret);
		return;
	}
	if (how == 5) { /* a hole where the page is: gone from every table at once */
		ret = CALL(NR_fallocate, world.file, 3, t->id * PAGE, PAGE);
		REQUIRE(!ret, "fallocate: %ld", ret);
		memset(t->file, 0, PAGE);
		how = 2;
		ret = n;
	}
	if (how == 0)
		ret = CALL(NR_pwrite64, world.file, put(t, 0, bytes, n), n, t->id * PAGE + off);
	else if (how == 1)
		ret -= fake_poke(map, bytes, n);
	else if (how == 2)
		ret -= fake_peek(bytes, map, n);
	else
		ret = CALL(NR_pread64, world.file, t->scratch, n, t->id * PAGE + off);
	REQUIRE(ret == n, "shared file, way %u: %ld", how, ret);
	if (how == 3)
		get(t, bytes, 0, n);
	if (how < 2)
		memcpy(t->file + off, bytes, n);
	else
		REQUIRE(!memcmp(bytes, t->file + off, n), "task %u reads another's bytes of the file",
			t->id);
}

static void check_torn(unsigned page, unsigned off, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!bytes[i] || bytes[i] == STAMP(page, off + i),
			"file that is cut: page %u byte %u is %#x", page, off + i, bytes[i]);
}

/* A file whose size changes under everybody: each byte is 0 or the only value it is ever given. */
static void op_torn(struct task *t)
{
	unsigned page = rnd(t, TORN_PAGES), n = 1 + rnd(t, 32), off = rnd(t, PAGE - n);
	uint64_t pos = (uint64_t)page * PAGE + off;
	uint8_t bytes[32];
	size_t left;
	long ret;

	for (unsigned i = 0; i < n; i++)
		bytes[i] = STAMP(page, off + i);
	switch (rnd(t, 6)) {
	case 0:
		ret = CALL(NR_ftruncate, world.torn, rnd(t, TORN_PAGES * PAGE));
		REQUIRE(!ret, "ftruncate: %ld", ret);
		break;
	case 1:
		ret = CALL(NR_fallocate, world.torn, 3, pos, 1 + rnd(t, 3 * PAGE)); /* a hole */
		REQUIRE(!ret, "fallocate: %ld", ret);
		break;
	case 2:
		ret = CALL(NR_pwrite64, world.torn, put(t, 0, bytes, n), n, pos);
		REQUIRE(ret == n, "pwrite: %ld", ret);
		break;
	case 3:
		ret = CALL(NR_pread64, world.torn, t->scratch, n, pos);
		REQUIRE(ret >= 0 && ret <= n, "pread: %ld", ret);
		get(t, bytes, 0, n);
		check_torn(page, off, bytes, ret);
		break;
	case 4:
		fake_poke(TORN_AT + pos, bytes, n); /* may end in SIGBUS */
		break;
	default:
		left = fake_peek(bytes, TORN_AT + pos, n);
		check_torn(page, off, bytes, n - left);
	}
}

/* ---- processes ------------------------------------------------------------------------------- */

/* Goes on in the space until its process ends or is another program. */
static void busy(void *state)
{
	struct task *t = state;
	uintptr_t place = t->base + PAGES * PAGE;

	for (;;) {
		CALL(NR_mmap, place, 4 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		CALL(NR_munmap, place, 4 * PAGE);
	}
}

/* A copy of its parent: the same bytes, and what it writes is its own. */
static void child(void *state)
{
	struct task *t = state;
	unsigned n = 2 + rnd(t, 6);

	memset(t->child, 0, sizeof(t->child));
	for (unsigned i = 0; i < PAGES; i++)
		verify(t, i, rnd(t, 16) * 256, 256, "in a child");
	if (!rnd(t, 6))
		fake_fork(THREAD, busy, t, sizeof(*t));
	while (n--) {
		op_store(t);
		if (!rnd(t, 4))
			op_map(t);
		if (!rnd(t, 4))
			op_advise(t);
	}
	verify_all(t);
	fake_exit(t->left);
}

static void wait_one(struct task *t, unsigned i)
{
	uint32_t status;
	long ret;

	do {
		ret = CALL(NR_wait4, t->child[i], t->scratch, 0, 0);
	} while (ret == -EINTR);
	REQUIRE(ret == t->child[i], "wait4(%ld): %ld", t->child[i], ret);
	get(t, &status, 0, sizeof(status));
	REQUIRE(status == t->status[i] << 8, "child %ld ended with %#x", t->child[i], status);
	t->child[i] = 0;
}

void wait_children(struct task *t)
{
	for (unsigned i = 0; i < CHILDREN; i++)
		if (t->child[i])
			wait_one(t, i);
}

/* Forks entry with a copy of the task as it is now; its status will be a random one. */
static void start_child(struct task *t, fake_program entry)
{
	unsigned i = rnd(t, CHILDREN), left = t->left;
	uint64_t rng = t->rng;

	if (t->child[i])
		wait_one(t, i);
	t->status[i] = t->left = rnd(t, 200);
	rnd_of(&rng);
	t->child[i] = fake_fork(0, entry, t, sizeof(*t));
	t->rng = rng;
	t->left = left;
	REQUIRE(t->child[i] > 0, "fork: %ld", t->child[i]);
	if (rnd(t, 2))
		wait_one(t, i);
}

static void op_fork(struct task *t)
{
	start_child(t, child);
}

/* After exec nothing of before is there. */
static void executed(void *state)
{
	struct task *t = state;
	long ret = CALL(NR_mmap, t->base, PAGES * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	REQUIRE(ret == t->base, "mmap after exec: %ld", ret);
	memset(t->mapped, true, sizeof(t->mapped));
	memset(t->prot, PROT_READ | PROT_WRITE, sizeof(t->prot));
	memset(t->bytes, 0, sizeof(t->bytes));
	memset(t->lazy, 0, sizeof(t->lazy));
	for (unsigned i = 0; i < 4; i++)
		op_store(t);
	verify_all(t);
	fake_exit(t->left);
}

static void executes(void *state)
{
	struct task *t = state;
	uint64_t argv[2] = {t->scratch + 64, 0};

	if (!rnd(t, 3))
		fake_fork(THREAD, busy, t, sizeof(*t));
	put(t, 64, "/exec", 6);
	put(t, 0, argv, sizeof(argv));
	fail("exec: %ld", fake_exec(executed, t, sizeof(*t), t->scratch + 64, t->scratch,
				    t->scratch + 8));
}

static void op_exec(struct task *t)
{
	start_child(t, executes);
}

static long read_text(struct task *t, const char *path, unsigned offset)
{
	long fd = CALL(NR_open, put(t, offset, path, strlen(path) + 1), 0), n, sum = 0;

	if (fd < 0)
		return fd;
	for (unsigned i = 0; i < 8; i++, sum += n) {
		n = CALL(NR_read, fd, t->scratch + PAGE, PAGE);
		if (n <= 0)
			break;
	}
	CALL(NR_close, fd);
	return sum;
}

/* Works until it is killed. */
static _Noreturn void churn(struct task *t)
{
	char path[32];

	memset(t->child, 0, sizeof(t->child));
	snprintf(path, sizeof(path), "/proc/%ld/maps", CALL(NR_getpid));
	for (;;) {
		op_store(t);
		op_map(t);
		op_protect(t);
		op_remap(t);
		op_unmap(t);
		read_text(t, path, 0);
	}
}

/* In the same space, with memory of its own behind the other's. */
static void second_victim(void *state)
{
	struct task *t = state;
	long ret;

	memset(t->mapped, 0, sizeof(t->mapped));
	t->base += PAGES * PAGE;
	t->scratch += SCRATCH_PAGES * PAGE;
	ret = CALL(NR_mmap, t->scratch, SCRATCH_PAGES * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	REQUIRE(ret == (long)t->scratch, "no scratch memory: %ld", ret);
	churn(t);
}

static void victim(void *state)
{
	struct task *t = state;

	if (rnd(t, 2))
		fake_fork(THREAD, second_victim, t, sizeof(*t));
	churn(t);
}

static void op_kill(struct task *t)
{
	long pid = fake_fork(0, victim, t, sizeof(*t)), ret;
	uint32_t status;

	REQUIRE(pid > 0, "fork: %ld", pid);
	for (unsigned n = rnd(t, 12); n; n--)
		CALL(NR_sched_yield);
	ret = CALL(NR_kill, pid, 9);
	REQUIRE(!ret, "kill: %ld", ret);
	do {
		ret = CALL(NR_wait4, pid, t->scratch, 0, 0);
	} while (ret == -EINTR);
	get(t, &status, 0, sizeof(status));
	REQUIRE(ret == pid && status == 9, "wait for the killed: %ld, status %#x", ret, status);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct record {
	uint64_t writer, number, fill[5], sum;
};

static uint64_t sum_of(const struct record *r)
{
	uint64_t sum = r->writer * 31 + r->number;

	for (unsigned i = 0; i < 5; i++)
		sum = sum * 0x100000001b3ull + r->fill[i];
	return sum;
}

/* Records into the pipe of all, or out of it; whole ones, whoever else writes and reads. */
static void op_pipe(struct task *t)
{
	struct record r[4];
	unsigned n = 1 + rnd(t, 4);
	bool out = rnd(t, 2);
	long ret;

	for (unsigned i = 0; i < n; i++) {
		r[i] = (struct record){.writer = t->id, .number = t->written + i};
		for (unsigned j = 0; j < 5; j++)
			r[i].fill[j] = rnd_of(&t->rng);
		r[i].sum = sum_of(&r[i]);
	}
	if (!out)
		put(t, 0, r, n * sizeof(r[0]));
	ret = CALL(out ? NR_read : NR_write, world.pipe[!out], t->scratch, n * sizeof(r[0]));
	if (ret == -EAGAIN || ret == -EINTR)
		return;
	REQUIRE(ret > 0 && !(ret % RECORD), "pipe: %ld", ret);
	n = ret / RECORD;
	if (out)
		get(t, r, 0, ret);
	else
		t->written += n;
	for (unsigned i = 0; i < n; i++) {
		REQUIRE(r[i].sum == sum_of(&r[i]), "a record of the pipe is torn");
		*(out ? &world.sum_taken : &world.sum_sent) += r[i].sum;
		++*(out ? &world.taken : &world.sent);
	}
}

#define TRANSFER(i) ((uint8_t)((i) * 7 ^ (i) >> 8))

static void transfers(void *state)
{
	struct task *t = state;
	unsigned total = t->left * 500, done = 0;
	int fd = (int)t->written;

	while (done < total) {
		uint8_t bytes[700];
		unsigned n = 1 + rnd(t, sizeof(bytes));
		long ret;

		n = n < total - done ? n : total - done;
		for (unsigned i = 0; i < n; i++)
			bytes[i] = TRANSFER(done + i);
		ret = CALL(NR_write, fd, put(t, 0, bytes, n), n);
		if (ret == -EINTR)
			continue;
		REQUIRE(ret > 0, "write to a parent: %ld", ret);
		done += ret;
	}
	fake_exit(t->left);
}

/* A child writes, its parent reads up to the end; both sleep for each other. */
static void op_transfer(struct task *t)
{
	unsigned got = 0, total, i;
	int fd[2];
	long ret = CALL(NR_pipe2, t->scratch, 0);
	uint64_t written = t->written;

	REQUIRE(!ret, "pipe2: %ld", ret);
	get(t, fd, 0, sizeof(fd));
	for (i = 0; i < CHILDREN; i++)
		if (t->child[i])
			wait_one(t, i);
	t->written = fd[1];
	t->status[0] = t->left % 100 + 1;
	i = t->left;
	t->left = t->status[0];
	total = t->left * 500;
	t->child[0] = fake_fork(0, transfers, t, sizeof(*t));
	t->left = i;
	t->written = written;
	REQUIRE(t->child[0] > 0, "fork: %ld", t->child[0]);
	CALL(NR_close, fd[1]);
	for (;;) {
		uint8_t bytes[PAGE];

		ret = CALL(NR_read, fd[0], t->scratch, 1 + rnd(t, PAGE));
		if (ret == -EINTR)
			continue;
		REQUIRE(ret >= 0, "read from a child: %ld", ret);
		if (!ret)
			break;
		get(t, bytes, 0, ret);
		for (i = 0; i < ret; i++)
			REQUIRE(bytes[i] == TRANSFER(got + i), "byte %u of a child is wrong",
				got + i);
		got += ret;
	}
	REQUIRE(got == total, "%u bytes of %u came from a child", got, total);
	CALL(NR_close, fd[0]);
	wait_one(t, 0);
}

static uint32_t word(uintptr_t at)
{
	struct fake_seen s = fake_access(FAULT_READ, at, 4, 0);

	REQUIRE(!s.sig, "a word cannot be read");
	return s.value;
}

static void wait_for(uintptr_t at, uint32_t want)
{
	uint32_t v;

	while ((v = word(at)) != want) {
		long ret = CALL(NR_futex, at, 0, v, 0, 0, 0);

		REQUIRE(!ret || ret == -EAGAIN || ret == -EINTR, "futex wait: %ld", ret);
	}
}

static void say_to(uintptr_t at, uint32_t v)
{
	long ret;

	REQUIRE(!fake_access(FAULT_WRITE, at, 4, v).sig, "a word cannot be written");
	ret = CALL(NR_futex, at, 1, 1000, 0, 0, 0);
	REQUIRE(ret >= 0, "futex wake: %ld", ret);
}

static void answers(void *state)
{
	struct task *t = state;
	uintptr_t at = WORDS_AT + t->id * 64;

	for (uint32_t i = 0; i < 6; i++) {
		wait_for(at, 2 * i + 1);
		say_to(at, 2 * i + 2);
	}
	fake_exit(t->left);
}

/* Two processes say numbers to each other in a shared word. */
static void op_futex(struct task *t)
{
	uintptr_t at = WORDS_AT + t->id * 64;
	unsigned left = t->left;

	wait_children(t);
	say_to(at, 0);
	t->status[0] = t->left = rnd(t, 200);
	t->child[0] = fake_fork(0, answers, t, sizeof(*t));
	t->left = left;
	REQUIRE(t->child[0] > 0, "fork: %ld", t->child[0]);
	for (uint32_t i = 0; i < 6; i++) {
		say_to(at, 2 * i + 1);
		wait_for(at, 2 * i + 2);
	}
	wait_one(t, 0);
}

static void op_signal(struct task *t)
{
	long pid = world.pid[rnd(t, MAX_TASKS)], ret;

	if (pid && rnd(t, 2)) {
		CALL(NR_kill, pid, 10);
		return;
	}
	fake_signals_taken();
	ret = CALL(NR_tkill, CALL(NR_gettid), 10);
	REQUIRE(!ret, "tkill: %ld", ret);
	REQUIRE(fake_signals_taken() & 1u << 9, "a signal to itself has not come");
}

/* ---- looking at others, and the whole ------------------------------------------------------- */

static void op_proc(struct task *t)
{
	static const char *const names[] = {"maps", "smaps", "status", "stat", "statm", "cmdline",
					    "limits", "comm", "environ", "pagemap", "mem", "fd"};
	const char *name = names[rnd(t, sizeof(names) / sizeof(names[0]))];
	long pid = world.pid[rnd(t, MAX_TASKS)], fd, ret;
	char path[48];

	if (!rnd(t, 4))
		pid = CALL(NR_getpid) + rnd(t, 4); /* a child, often */
	snprintf(path, sizeof(path), "/proc/%ld/%s", pid, name);
	if (strcmp(name, "mem") && strcmp(name, "pagemap") && strcmp(name, "fd")) {
		read_text(t, path, 0);
		return;
	}
	fd = CALL(NR_open, put(t, 0, path, strlen(path) + 1), 0);
	if (fd < 0)
		return;
	if (*name == 'f')
		CALL(NR_getdents64, fd, t->scratch + PAGE, PAGE);
	else
		CALL(NR_pread64, fd, t->scratch + PAGE, 1 + rnd(t, PAGE),
		     *name == 'm' ? at(t, rnd(t, PAGES)) : at(t, 0) / PAGE * 8);
	ret = CALL(NR_close, fd);
	REQUIRE(!ret, "close: %ld", ret);
}

/* Its own memory through /proc. */
static void op_own_mem(struct task *t)
{
	unsigned page = rnd(t, PAGES), n = 1 + rnd(t, 64), off = rnd(t, PAGE - n);
	bool write = rnd(t, 2);
	uint8_t bytes[64];
	long fd, ret;

	if (t->lazy[page])
		return;
	fd = CALL(NR_open, put(t, 128, "/proc/self/mem", 15), 2);
	REQUIRE(fd >= 0, "open /proc/self/mem: %ld", fd);
	for (unsigned i = 0; i < n; i++)
		bytes[i] = rnd_of(&t->rng) >> 7;
	if (write)
		put(t, 0, bytes, n);
	ret = CALL(write ? NR_pwrite64 : NR_pread64, fd, t->scratch, n, at(t, page) + off);
	CALL(NR_close, fd);
	if (ret == -EIO || ret == -EFAULT || !ret)
		REQUIRE(!t->mapped[page] || t->prot[page] != (PROT_READ | PROT_WRITE),
			"own memory through /proc: %ld", ret);
	else
		REQUIRE(t->mapped[page], "memory that is not there, through /proc: %ld", ret);
	if (ret <= 0)
		return;
	if (write) {
		memcpy(t->bytes[page] + off, bytes, n);
		return;
	}
	REQUIRE(ret == n, "own memory through /proc: %ld of %u", ret, n);
	get(t, bytes, 0, n);
	REQUIRE(!memcmp(bytes, t->bytes[page] + off, n), "own memory through /proc differs");
}

static void op_whole(struct task *t)
{
	static const char *const paths[] = {"/proc/sys/vm/compact_memory",
					    "/proc/sys/vm/drop_caches", "/proc/quire/drain"};
	const char *path = paths[rnd(t, 3)];
	long fd = CALL(NR_open, put(t, 0, path, strlen(path) + 1), 1), ret;

	REQUIRE(fd >= 0, "open %s: %ld", path, fd);
	ret = CALL(NR_write, fd, put(t, 0, "1", 1), 1);
	REQUIRE(ret == 1, "write %s: %ld", path, ret);
	CALL(NR_close, fd);
}

static unsigned long free_kib(struct task *t)
{
	char text[200] = {0}, *line;
	long fd = CALL(NR_open, put(t, 0, "/proc/meminfo", 14), 0);
	long n = CALL(NR_read, fd, t->scratch, sizeof(text) - 1);

	REQUIRE(n > 0, "/proc/meminfo: %ld", n);
	get(t, text, 0, n);
	CALL(NR_close, fd);
	line = strstr(text, "MemFree:");
	REQUIRE(line, "/proc/meminfo has no MemFree");
	return strtoul(line + 8, NULL, 10);
}

#define HOG_CHUNK (32 * PAGE)
#define HOG_AT(t) ((t)->base + STRIDE / 4)
#define LOW_KIB	  3000 /* below the low mark that the first program sets, above the least */

/* Takes memory until the background reclaims, and gives it back. One at a time. */
static void op_hog(struct task *t)
{
	unsigned n = 0;
	long ret;

	if (world.hog)
		return;
	world.hog = true;
	for (; n * HOG_CHUNK < STRIDE / 4 && free_kib(t) > LOW_KIB; n++) {
		ret = CALL(NR_mmap, HOG_AT(t) + n * HOG_CHUNK, HOG_CHUNK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		REQUIRE(ret == HOG_AT(t) + n * HOG_CHUNK, "mmap: %ld", ret);
	}
	CALL(NR_sched_yield);
	ret = CALL(NR_munmap, HOG_AT(t), STRIDE / 4);
	REQUIRE(!ret, "munmap: %ld", ret);
	world.hog = false;
}

static void op_lock(struct task *t)
{
	unsigned first, n = range(t, &first);

	CALL(rnd(t, 2) ? NR_mlock : NR_munlock, at(t, first), n * PAGE);
}

/* Bytes of another's memory, whatever it is doing. */
static void op_peep(struct task *t)
{
	long pid = world.pid[rnd(t, MAX_TASKS)];
	uint64_t iov[4] = {t->scratch + PAGE, 256, BASE + rnd(t, MAX_TASKS) * STRIDE, 256};

	if (pid)
		CALL(NR_process_vm_readv, pid, put(t, 0, iov, sizeof(iov)), 1, t->scratch + 16, 1, 0);
}

static void op_report(struct task *t)
{
	static const char *const paths[] = {"/proc/meminfo", "/proc/vmstat", "/proc/buddyinfo",
					    "/proc/slabinfo", "/proc/vmallocinfo", "/proc/zoneinfo"};

	read_text(t, paths[rnd(t, 6)], 0);
}

static void op_yield(struct task *t)
{
	CALL(NR_sched_yield);
}

static void op_sleep(struct task *t)
{
	uint64_t time[2] = {0, 1000 + rnd(t, 20000000)};

	CALL(NR_nanosleep, put(t, 0, time, sizeof(time)), 0);
}

static void op_files(struct task *t)
{
	long fd = CALL(NR_memfd_create, put(t, 0, "m", 2), 0), other, ret;

	REQUIRE(fd >= 0, "memfd_create: %ld", fd);
	other = CALL(NR_dup, fd);
	REQUIRE(other >= 0, "dup: %ld", other);
	ret = CALL(NR_write, other, t->scratch, 100);
	REQUIRE(ret == 100, "write: %ld", ret);
	CALL(NR_close, fd);
	ret = CALL(NR_close, other);
	REQUIRE(!ret, "close: %ld", ret);
}

/* ---- which ----------------------------------------------------------------------------------- */

static const struct operation ops[] = {
	{op_store, "store", 30}, {op_verify, "verify", 20}, {op_map, "mmap", 8},
	{op_unmap, "munmap", 6}, {op_protect, "mprotect", 8}, {op_remap, "mremap", 8},
	{op_advise, "madvise", 6}, {op_file, "shared file", 10}, {op_torn, "file cut", 12},
	{op_fork, "fork", 3}, {op_exec, "exec", 1}, {op_kill, "kill", 1}, {op_pipe, "pipe", 8},
	{op_transfer, "transfer", 1}, {op_futex, "futex", 2}, {op_signal, "signal", 4},
	{op_proc, "proc", 6}, {op_own_mem, "own mem", 4}, {op_whole, "whole", 1},
	{op_report, "report", 1}, {op_yield, "yield", 2}, {op_sleep, "sleep", 1},
	{op_files, "files", 3}, {op_lock, "mlock", 2}, {op_peep, "peep", 2}, {op_hog, "hog", 1},
};

#define OPS (sizeof(ops) / sizeof(ops[0]))

const char *operation_name(int op)
{
	return op >= 0 && op < (int)OPS ? ops[op].name : "none";
}

void operate(struct task *t)
{
	unsigned op = choose_operation(ops, OPS, &world.plan, &t->rng);

	progress->operations++;
	progress->last = op;
	ops[op].fn(t);
}
