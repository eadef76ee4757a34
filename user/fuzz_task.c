/* SPDX-License-Identifier: MIT */
/*
 * The processes of a random scenario. Each has a pipe; whoever holds the baton acts, looks, and
 * hands it on, so that one thing happens at a time. An operation of a process that does not live,
 * a fork into a place that is taken and an exit that would leave children behind are passed over:
 * any part of a scenario is a scenario.
 */
#include "fuzz.h"

#define ALARM_SECS 60
#define HOG_SECS   1200 /* each page is read back again and again, and a host may be busy */

static void set_alarm(struct u *u, const struct fz *f)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	int64_t timer[4] = { 0, 0, f->hog ? HOG_SECS : ALARM_SECS, 0 };

	u_poke(u, sc, timer, sizeof(timer));
	u_syscall(u, NR_setitimer, 0, (long)sc, 0, 0, 0, 0);
}

/* ---- the baton ------------------------------------------------------------------------------ */

static void pass(struct u *u, struct fz *f, unsigned to)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;

	f->turn = false;
	u_poke(u, sc, &f->b, sizeof(f->b));
	if (u_syscall(u, NR_write, f->wr[to], (long)sc, sizeof(f->b), 0, 0, 0) != sizeof(f->b))
		u_exit(u, 2);
}

static void receive(struct u *u, struct fz *f)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	long n;

	do
		n = u_syscall(u, NR_read, f->rd[f->me], (long)sc, sizeof(f->b), 0, 0, 0);
	while (n == -U_EINTR);
	if (n != sizeof(f->b))
		u_exit(u, 2);
	u_peek(u, &f->b, sc, sizeof(f->b));
	f->turn = true;
}

/* ---- births and ends ------------------------------------------------------------------------ */

static _Noreturn void life(struct u *u, struct fz *f);

#define BELOW_HEAP (8 * U_PAGE)

void fz_warm(struct u *u, struct fz *f)
{
	u_warm(u, f, sizeof(*f));
	u_access(u, U_LOAD, f->heap - BELOW_HEAP, 1, 0);
}

static void newborn(struct u *u, void *state)
{
	struct fz *f = state;

	f->me = f->newborn;
	f->turn = false;
	set_alarm(u, f);
	if (fz_open_proc(u, f))
		u_exit(u, 2);
	fz_warm(u, f);
	life(u, f);
}

void fz_fork(struct u *u, struct fz *f, unsigned slot, struct text *t)
{
	long pid;

	f->newborn = (uint8_t)slot;
	pid = u_fork(u, 0, newborn, f, sizeof(*f));
	if (pid < 0) {
		text_str(t, "-1 ");
		text_dec(t, pid);
		return;
	}
	text_str(t, "ok");
	f->b.pid[slot] = (int32_t)pid;
	f->b.parent[slot] = f->me;
	fz_warm(u, f);
}

static bool has_children(const struct fz *f, unsigned t)
{
	for (unsigned i = 1; i < FZ_TASKS; i++)
		if (f->b.pid[i] && f->b.parent[i] == t)
			return true;
	return false;
}

static bool possible(const struct fz *f, const struct fz_op *op)
{
	if (op->task && !f->b.pid[op->task])
		return false;
	if (op->kind == FZ_EXIT)
		return op->task && !has_children(f, op->task);
	return op->kind != FZ_FORK || !f->b.pid[op->a[0].v];
}

static void reap(struct u *u, struct fz *f)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	int32_t status = -1;
	long ret;

	do
		ret = u_syscall(u, NR_wait4, f->b.pid[f->b.reap], (long)sc, 0, 0, 0, 0);
	while (ret == -U_EINTR);
	u_peek(u, &status, sc, sizeof(status));
	f->b.hash = (f->b.hash ^ (uint64_t)status) * 0x9e3779b97f4a7c15ull;
	f->b.pid[f->b.reap] = 0;
	f->b.reap = FZ_NOBODY;
}

#define FZ_PAUSE  4 /* operations, then hog and kswapd come to act: */
#define FZ_YIELDS 4

/* ---- one operation -------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, const char *p, size_t n)
{
	uint64_t w;

	for (; n >= 8; n -= 8, p += 8) {
		__builtin_memcpy(&w, p, 8);
		h = (h ^ w) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	for (; n; n--, p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3ull;
	return h ^ h >> 32;
}

/* Accesses show their effect in the pages; everything is looked at now and then, and at the end. */
static enum fz_level level_of(const struct fz_op *op, unsigned i)
{
	bool access = op->kind >= FZ_LOAD && op->kind <= FZ_COPYOUT;

	if (op->kind == FZ_LOOK || i % 16 == 15)
		return FZ_SEE_ALL;
	if (i % 4 == 3)
		return FZ_SEE_STATUS;
	return access ? FZ_SEE_PAGES : FZ_SEE_MAPS;
}

static void take(struct u *u, struct fz *f, const struct fz_op *op)
{
	char buf[FZ_TEXT];
	struct text t = TEXT(buf);

	if (f->hog && f->b.next % FZ_PAUSE == 0)
		for (unsigned i = 0; i < FZ_YIELDS; i++)
			u_syscall(u, NR_sched_yield, 0, 0, 0, 0, 0, 0);
	fz_act(u, f, op, &t);
	text_chr(&t, '\n');
	if (op->kind != FZ_EXIT)
		fz_see(u, f, level_of(op, f->b.next), &t);
	f->b.hash = hash(f->b.hash, t.p, t.n);
	if (f->verbose)
		u_write(u, t.p, t.n);
}

static _Noreturn void leave(struct u *u, struct fz *f, int status)
{
	f->b.reap = f->me;
	f->b.next++;
	pass(u, f, f->b.parent[f->me]);
	u_exit(u, status);
}

static _Noreturn void end(struct u *u, struct fz *f)
{
	char buf[128];
	struct text t = TEXT(buf);

	text_str(&t, "D ");
	text_udec(&t, f->seed);
	text_chr(&t, ' ');
	for (int i = 60; i >= 0; i -= 4)
		text_chr(&t, "0123456789abcdef"[f->b.hash >> i & 15]);
	text_chr(&t, '\n');
	if (f->answers) {
		text_str(&t, "E ");
		text_udec(&t, f->seed);
		text_chr(&t, ' ');
		text_udec(&t, f->b.evicted);
		text_chr(&t, '\n');
	}
	u_write(u, buf, t.n);
	u_exit(u, 0);
}

static _Noreturn void life(struct u *u, struct fz *f)
{
	const struct fz_op *op;

	for (;;) {
		if (!f->turn)
			receive(u, f);
		if (f->b.reap != FZ_NOBODY)
			reap(u, f);
		while (f->b.next < f->nops && !possible(f, &f->op[f->b.next]))
			f->b.next++;
		if (f->b.next == f->nops && f->me == 0)
			end(u, f);
		op = &f->op[f->b.next];
		if (f->b.next == f->nops || op->task != f->me) {
			pass(u, f, f->b.next == f->nops ? 0 : op->task);
			continue;
		}
		take(u, f, op);
		if (op->kind == FZ_EXIT)
			leave(u, f, (int)op->a[0].v);
		f->b.next++;
	}
}

void fz_first_task(struct u *u, void *state)
{
	struct fz *f = state;
	long err;

	f->turn = true;
	set_alarm(u, f);
	err = fz_open_proc(u, f);
	if (err)
		u_exit(u, 3);
	f->size0 = fz_status(u, f, "VmSize");
	f->data0 = fz_status(u, f, "VmData");
	f->stk0 = fz_status(u, f, "VmStk");
	fz_warm(u, f);
	life(u, f);
}

/* ---- what all processes inherit ------------------------------------------------------------- */

static long make_pipe(struct u *u, int *rd, int *wr)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	int fd[2];
	long ret = u_syscall(u, NR_pipe2, (long)sc, 0, 0, 0, 0, 0);

	if (ret < 0)
		return ret;
	u_peek(u, fd, sc, sizeof(fd));
	*rd = fd[0];
	*wr = fd[1];
	return 0;
}

long fz_pipes(struct u *u, struct fz *f)
{
	long ret;

	for (unsigned i = 0; i < FZ_TASKS; i++) {
		if (f->wr[i]) {
			u_syscall(u, NR_close, f->rd[i], 0, 0, 0, 0, 0);
			u_syscall(u, NR_close, f->wr[i], 0, 0, 0, 0, 0);
		}
		ret = make_pipe(u, &f->rd[i], &f->wr[i]);
		if (ret)
			return ret;
	}
	return f->copy_wr ? 0 : make_pipe(u, &f->copy_rd, &f->copy_wr);
}

/* The first address that user space does not have, as run.c finds it. */
static uint64_t task_size(struct u *u)
{
	static const uint64_t ends[] = { 1ull << 56, (1ull << 56) - U_PAGE, 1ull << 47,
					 (1ull << 47) - U_PAGE, 1ull << 38 };
	long flags = U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED_NOREPLACE;

	for (unsigned i = 0; i < 5; i++) {
		long at = (long)(ends[i] - U_PAGE);
		long ret = u_syscall(u, NR_mmap, at, U_PAGE, 0, flags, -1, 0);

		if (ret == at)
			u_syscall(u, NR_munmap, at, U_PAGE, 0, 0, 0, 0);
		if (ret == at || ret == -17)
			return ends[i];
	}
	return 0;
}

/* As Linux's first program has it: 8 MiB. */
static void limit_stacks(struct u *u)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	uint64_t lim[2] = { 8ul << 20, ~0ull };

	u_poke(u, sc, lim, sizeof(lim));
	u_syscall(u, NR_prlimit64, 0, 3, (long)sc, 0, 0, 0);
}

/* A page of shared memory, with which nothing merges, is the ceiling below which kernels choose
 * addresses; what they put above it themselves is taken away. */
long fz_setup(struct u *u, struct fz *f)
{
	long low, ret = fz_pipes(u, f);

	if (ret)
		return ret;
	low = u_syscall(u, NR_mmap, 0, U_PAGE, 0, U_MAP_SHARED | U_MAP_ANONYMOUS, -1, 0);
	if (low < 0 && low > -4096)
		return low;
	u_syscall(u, NR_munmap, low, 33 * U_PAGE, 0, 0, 0, 0);
	ret = u_syscall(u, NR_mmap, 0, U_PAGE, 0, U_MAP_SHARED | U_MAP_ANONYMOUS, -1, 0);
	if (ret < 0 && ret > -4096)
		return ret;
	f->guard = (uint64_t)ret;
	f->heap = (uint64_t)u_syscall(u, NR_brk, 0, 0, 0, 0, 0, 0);
	/* Below the heap lies a program's image; the machine in software has none. */
	u_syscall(u, NR_mmap, (long)(f->heap - BELOW_HEAP), U_PAGE, U_PROT_READ,
		  U_MAP_SHARED | U_MAP_ANONYMOUS | U_MAP_FIXED_NOREPLACE, -1, 0);
	f->end = task_size(u);
	limit_stacks(u);
	f->b.reap = FZ_NOBODY;
	return 0;
}
