/* SPDX-License-Identifier: MIT */
/*
 * storm FIRST-LAST OPERATIONS [races]: threads of one process do random things to the same files, with
 * interrupts where the seed says, at any access of kernel and core. What holds whatever comes first
 * is checked: records are whole, sums are right, each answer is one that may be. The same seed is the
 * same run.
 */
#include "test/programs/storm.h"

#define ROOM	0x4000ul /* of user memory for each thread */
#define THREADS 4
#define NAMES	4
#define SLOTS	4 /* descriptors that all of them use and replace: 40 ..., above any that an open finds */
#define FIRST	40

static struct thread {
	unsigned id, rng, operations;
	uintptr_t room;
	unsigned written, read; /* sums of what went through the pipe */
	bool done;
} threads[THREADS];

static unsigned appended;
static int ends[2]; /* of the pipe that all use */

static unsigned rnd(struct thread *t, unsigned n)
{
	return next_random(&t->rng, n);
}

static long text(struct thread *t, unsigned slot, const char *fmt, unsigned i)
{
	char s[64];
	uintptr_t at = t->room + slot * 64;

	snprintf(s, sizeof(s), fmt, i);
	fake_poke(at, s, strlen(s) + 1);
	return (long)at;
}

static long slot(struct thread *t)
{
	return FIRST + rnd(t, SLOTS);
}

/* ---- operations -------------------------------------------------------------------------------- */

/* Eight bytes of one value. */
static void op_pipe(struct thread *t)
{
	unsigned char c[8];
	long r;

	if (rnd(t, 2)) {
		memset(c, 1 + (int)rnd(t, 200), sizeof(c));
		fake_poke(t->room + 512, c, sizeof(c));
		r = CALL(NR_write, ends[1], (long)t->room + 512, sizeof(c));
		CHECK(r == 8 || r == -EAGAIN, "%ld", r);
		t->written += r == 8 ? c[0] : 0;
		return;
	}
	r = CALL(NR_read, ends[0], (long)t->room + 512, sizeof(c));
	CHECK(r == 8 || r == -EAGAIN, "%ld", r);
	if (r != 8)
		return;
	fake_peek(c, t->room + 512, sizeof(c));
	for (int i = 1; i < 8; i++)
		CHECK(c[i] == c[0], "%d and %d", c[i], c[0]);
	t->read += c[0];
}

/* Puts a new file at a number that others use. */
static void op_replace(struct thread *t)
{
	static const char *const paths[] = {"/dev/null", "/tmp/log", "/proc/self/status",
					    "/tmp", "/proc/self/fd"};
	long fd = CALL(NR_open, text(t, 0, paths[rnd(t, 5)], 0), 0), to = slot(t), r;

	CHECK(fd >= 0, "%ld", fd);
	r = CALL(NR_dup2, fd, to);
	CHECK(r == to || r == -EBUSY, "%ld", r);
	CHECK(CALL(NR_close, fd) == 0, "close");
}

static void op_close(struct thread *t)
{
	long r = CALL(NR_close, slot(t));

	CHECK(r == 0 || r == -EBADF, "%ld", r);
}

static void op_read(struct thread *t)
{
	long r = CALL(NR_read, slot(t), (long)t->room + 0x1000, 1 + rnd(t, 3000));

	CHECK((r >= 0 && r <= 3000) || r == -EAGAIN || r == -EBADF || r == -EISDIR || r == -ENOMEM, "%ld", r);
	r = CALL(NR_lseek, slot(t), rnd(t, 100), rnd(t, 2));
	CHECK(r >= 0 || r == -EBADF || r == -ESPIPE, "%ld", r);
}

static void op_entries(struct thread *t)
{
	long r = CALL(NR_getdents64, slot(t), (long)t->room + 0x1000, 1024);

	CHECK((r >= 0 && r <= 1024) || r == -EBADF || r == -ENOTDIR, "%ld", r);
}

/* A record of its writer at the end of a file that only grows. */
static void op_append(struct thread *t)
{
	char c[32];
	long fd = CALL(NR_open, text(t, 0, "/tmp/log", 0), O_RDWR | O_APPEND), r;

	memset(c, 'a' + (int)t->id, sizeof(c));
	fake_poke(t->room + 512, c, sizeof(c));
	r = CALL(NR_write, fd, (long)t->room + 512, sizeof(c));
	CHECK(r == 32, "%ld", r);
	appended++;
	CALL(NR_close, fd);
}

static void op_names(struct thread *t)
{
	long a = text(t, 0, "/tmp/%u", rnd(t, NAMES)), b = text(t, 1, "/tmp/%u", rnd(t, NAMES)), r;

	switch (rnd(t, 6)) {
	case 0:
		r = CALL(NR_mkdir, a, 0755);
		CHECK(r == 0 || r == -EEXIST, "%ld", r);
		break;
	case 1:
		r = CALL(NR_rmdir, a);
		CHECK(r == 0 || r == -ENOENT || r == -ENOTDIR || r == -ENOTEMPTY, "%ld", r);
		break;
	case 2:
		r = CALL(NR_rename, a, b);
		CHECK(r == 0 || r == -ENOENT || r == -ENOTDIR || r == -EISDIR || r == -ENOTEMPTY ||
			      r == -EINVAL, "%ld", r);
		break;
	case 3:
		r = CALL(NR_unlink, a);
		CHECK(r == 0 || r == -ENOENT || r == -EISDIR, "%ld", r);
		break;
	case 4:
		b = text(t, 1, "/tmp/%u/x", rnd(t, NAMES));
		r = CALL(NR_rename, a, b);
		CHECK(r == 0 || r == -ENOENT || r == -ENOTDIR || r == -EISDIR || r == -ENOTEMPTY ||
			      r == -EINVAL, "%ld", r);
		break;
	default:
		r = CALL(NR_open, a, O_CREAT | O_RDWR | (rnd(t, 2) ? O_EXCL : 0), 0644);
		CHECK(r >= 0 || r == -EEXIST || r == -EISDIR, "%ld", r);
		if (r >= 0)
			CHECK(CALL(NR_close, r) == 0, "close");
	}
}

static void op_directory(struct thread *t)
{
	static const char *const dirs[] = {"/tmp", "/proc", "/proc/self/fd/../..", "/tmp/1/.."};
	long r = CALL(NR_chdir, text(t, 0, dirs[rnd(t, 4)], 0));

	CHECK(r == 0 || r == -ENOENT || r == -ENOTDIR, "%ld", r);
	r = CALL(NR_getcwd, (long)t->room + 512, 256);
	CHECK(r > 1, "%ld", r);
	r = CALL(NR_readlink, text(t, 0, "/proc/self/fd/%u", FIRST + rnd(t, SLOTS)),
		 (long)t->room + 512, 256);
	CHECK(r > 0 || r == -ENOENT || r == 0, "%ld", r);
}

static void op_pipe_ends(struct thread *t)
{
	int fd[2];
	long r = CALL(NR_pipe2, (long)t->room + 512, O_NONBLOCK), to = slot(t);

	CHECK(r == 0, "%ld", r);
	fake_peek(fd, t->room + 512, sizeof(fd));
	r = CALL(NR_dup2, fd[rnd(t, 2)], to);
	CHECK(r == to || r == -EBUSY, "%ld", r);
	CHECK(CALL(NR_close, fd[0]) == 0 && CALL(NR_close, fd[1]) == 0, "close");
}

static void op_map(struct thread *t)
{
	long r = CALL(NR_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, slot(t), 0);

	CHECK(r > 0 || r == -EBADF || r == -ENODEV || r == -EACCES, "%ld", r);
	if (r > 0)
		CALL(NR_munmap, r, 4096);
}

static void op_poll(struct thread *t)
{
	struct {
		int fd;
		short events, revents;
	} p[2] = {{(int)slot(t), POLLIN | POLLOUT, 0}, {ends[1], POLLOUT, 0}};
	long r;

	fake_poke(t->room + 512, p, sizeof(p));
	r = CALL(NR_poll, (long)t->room + 512, 2, 5);
	CHECK(r >= 0, "%ld", r);
}

static void op_states(struct thread *t)
{
	long a = text(t, 0, "/tmp/%u", rnd(t, NAMES)), r;

	r = CALL(NR_fstat, slot(t), (long)t->room + 512);
	CHECK(r == 0 || r == -EBADF, "%ld", r);
	r = CALL(NR_stat, a, (long)t->room + 512);
	CHECK(r == 0 || r == -ENOENT, "%ld", r);
	r = CALL(NR_chmod, a, 0600 + rnd(t, 8));
	CHECK(r == 0 || r == -ENOENT, "%ld", r);
	r = CALL(NR_fcntl, slot(t), F_SETFL, rnd(t, 2) ? O_NONBLOCK : O_NONBLOCK | O_APPEND);
	CHECK(r == 0 || r == -EBADF, "%ld", r);
	r = CALL(NR_fcntl, slot(t), F_GETFL);
	CHECK(r >= 0 || r == -EBADF, "%ld", r);
	r = CALL(NR_fcntl, slot(t), F_SETFD, 1);
	CHECK(r >= 0 || r == -EBADF, "%ld", r);
	CALL(NR_umask, 022);
	r = CALL(NR_getrandom, (long)t->room + 512, 100, 0);
	CHECK(r == 100, "%ld", r);
}

/* A file of its own name that all write, cut and seek in. */
static void op_contents(struct thread *t)
{
	long fd = CALL(NR_open, text(t, 0, "/tmp/contents", 0), O_CREAT | O_RDWR, 0644), to = slot(t), r;

	CHECK(fd >= 0, "%ld", fd);
	r = CALL(NR_dup2, fd, to);
	CHECK(r == to || r == -EBUSY, "%ld", r);
	r = CALL(NR_write, fd, (long)t->room + 512, 1 + rnd(t, 3000));
	CHECK(r > 0, "%ld", r);
	r = CALL(NR_ftruncate, fd, rnd(t, 9000));
	CHECK(r == 0, "%ld", r);
	CHECK(CALL(NR_close, fd) == 0, "close");
	r = CALL(NR_write, slot(t), (long)t->room + 512, 1 + rnd(t, 3000));
	CHECK(r > 0 || r == -EBADF || r == -EAGAIN || r == -EPIPE, "%ld", r);
}

static void run_thread(void *state)
{
	static void (*const ops[])(struct thread *) = {op_pipe, op_pipe, op_replace, op_close, op_read,
		op_read, op_entries, op_append, op_names, op_names, op_directory, op_pipe_ends, op_map,
		op_poll, op_states, op_contents};
	struct thread *t = state;

	while (t->operations++ < wanted)
		ops[rnd(t, sizeof(ops) / sizeof(ops[0]))](t);
	t->done = true;
	CALL(NR_exit, 0);
}

/* ---- one machine for each seed -------------------------------------------------------------------- */

static void check_log(void)
{
	long fd = CALL(NR_open, text(&threads[0], 0, "/tmp/log", 0), 0), n;
	char c[32];
	unsigned records = 0;

	while ((n = CALL(NR_read, fd, A + 512, 32)) == 32) {
		fake_peek(c, A + 512, 32);
		records++;
		for (int i = 1; i < 32; i++)
			CHECK(c[i] == c[0], "record %u", records);
	}
	CHECK(n == 0 && records == appended, "%u records, not %u", records, appended);
}

static void first_program(void *state)
{
	unsigned balance = 0;
	bool done;

	CALL(NR_mmap, A, THREADS * ROOM, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_catch_signal(SIGPIPE, A);
	CHECK(CALL(NR_pipe2, A, O_NONBLOCK) == 0, "pipe");
	fake_peek(ends, A, sizeof(ends));
	CALL(NR_close, CALL(NR_open, text(&threads[0], 0, "/tmp/log", 0), O_CREAT | O_RDWR, 0644));
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(fake_fork(SHARED, run_thread, &threads[i], 0) > 0, "clone");
	do {
		CALL(NR_sched_yield);
		done = true;
		for (unsigned i = 0; i < THREADS; i++)
			done = done && threads[i].done;
	} while (!done);
	while (CALL(NR_read, ends[0], A + 512, 8) == 8) {
		unsigned char c;

		fake_peek(&c, A + 512, 1);
		balance += c;
	}
	for (unsigned i = 0; i < THREADS; i++)
		balance += threads[i].read - threads[i].written;
	CHECK(!balance, "%d", (int)balance);
	check_log();
	fake_exit(0);
}

static bool run(void)
{
	int status;

	appended = 0;
	memset(threads, 0, sizeof(threads));
	for (unsigned i = 0; i < THREADS; i++)
		threads[i] = (struct thread){.id = i, .rng = seed * THREADS + i, .room = A + i * ROOM};
	if (!machine_up("norandmaps", 5 + seed % 3 * 40))
		return false;
	status = fake_run(first_program, NULL);
	return machine_down(status);
}

int main(int argc, char **argv)
{
	return run_seeds(argc, argv, 300, run);
}
