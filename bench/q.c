/* SPDX-License-Identifier: MIT */
/*
 * The rows Q0 to Q15: what a memory call or a fault costs, seen from user mode. One plain static
 * Linux program; as the first program of a kernel it measures that kernel, ours or a real Linux.
 * It is meant for an emulator that counts instructions (QEMU's -icount shift=0), where the clock
 * of user mode is the number of instructions executed: 1 a tick on x86-64, 100 on RISC-V.
 *
 *   q wait=SECONDS rounds=N others=N row=NAME,NAME... loop=0|1
 *
 * Prints a line a row: `q NAME OTHERS MIN MEDIAN`, in tenths of an instruction an operation. With
 * loop=1 it repeats one row for ever, for a profiler that watches from outside: what counts lies
 * between q_begin and q_end, and the first line says how many operations that are.
 */
#include "user/text.h"
#include "user/u.h"
#include "user/u_nr.h"

#define RW		(U_PROT_READ | U_PROT_WRITE)
#define ANON		(U_MAP_PRIVATE | U_MAP_ANONYMOUS)
#define NORESERVE	0x4000l
#define MREMAP_MOVE	(U_MREMAP_MAYMOVE | U_MREMAP_FIXED)
#define REBOOT_OFF	0x4321fedcl

#define MIB	   (1ul << 20)
#define BIG	   (4 * MIB)
#define BIG_PAGES  (BIG / U_PAGE)
#define MANY	   5000ul	   /* areas of Q11 */
#define FIXED	   0x300000000ul   /* where rows that name addresses do so */
#define OTHERS	   0x1000000000ul  /* where the other areas lie */
#define MAX_ROUNDS 32u

struct q {
	uint64_t ticks;		/* of the round */
	uint64_t start;
	uint64_t ops;		/* of the round */
	uint64_t rounds, others, wait, loop;
	uint64_t result[MAX_ROUNDS];
	const char *rows;	/* NULL: all */
	uintptr_t at;		/* what a row keeps for its child */
	int pipe[2];
	uint32_t order[MANY];
};

/* ---- the machine ----------------------------------------------------------------------------- */

#define SYS(nr, a, b, c) u_raw_syscall((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)

/* Out of line and with names that a profiler can find. */
__attribute__((noinline, noclone)) void q_begin(struct q *q);
__attribute__((noinline, noclone)) void q_end(struct q *q, uint64_t ops);

void q_begin(struct q *q)
{
	q->start = u_clock();
}

void q_end(struct q *q, uint64_t ops)
{
	q->ticks = u_clock() - q->start;
	q->ops = ops;
}

static void say(const char *a, const char *b, uint64_t v)
{
	char buf[160];
	struct text t = TEXT(buf);

	text_str(&t, a);
	text_str(&t, b);
	text_chr(&t, ' ');
	text_dec(&t, (int64_t)v);
	text_chr(&t, '\n');
	u_write(NULL, buf, t.n);
}

static void power_off(int status)
{
	/* A Linux ends the machine here; a kernel that does not know the call ends with its init. */
	if (SYS(NR_getpid, 0, 0, 0) == 1)
		u_raw_syscall(NR_reboot, 0xfee1deadl, 0x28121969l, REBOOT_OFF, 0, 0, 0);
	u_exit(NULL, status);
}

/* A measurement whose calls fail measures nothing. */
static void need(bool ok, const char *what, long got)
{
	if (ok)
		return;
	say("q failed: ", what, (uint64_t)got);
	power_off(1);
}

static inline uintptr_t map(uintptr_t at, size_t len, long prot, long flags)
{
	return (uintptr_t)u_raw_syscall(NR_mmap, (long)at, (long)len, prot, ANON | flags, -1, 0);
}

/* The same, and it must succeed. For what is not measured. */
static uintptr_t area(uintptr_t at, size_t len, long prot, long flags)
{
	uintptr_t p = map(at, len, prot, flags | (at ? U_MAP_FIXED : 0));

	need(p < -4095ul, "mmap", (long)p);
	return p;
}

static inline void unmap(uintptr_t at, size_t len)
{
	SYS(NR_munmap, at, len, 0);
}

static inline void write_page(uintptr_t at)
{
	*(volatile char *)at = 1;
}

static inline void read_page(uintptr_t at)
{
	(void)*(volatile char *)at;
}

static void write_all(uintptr_t at, size_t len)
{
	for (uintptr_t p = at; p < at + len; p += U_PAGE)
		write_page(p);
}

/* ---- the rows -------------------------------------------------------------------------------- */

#define TIMES 200u

static void row_getppid(struct q *q)
{
	q_begin(q);
	for (unsigned i = 0; i < 5 * TIMES; i++)
		SYS(NR_getppid, 0, 0, 0);
	q_end(q, 5 * TIMES);
}

static void row_map_unmap(struct q *q)
{
	uintptr_t p = 0;

	q_begin(q);
	for (unsigned i = 0; i < TIMES; i++) {
		p = map(0, U_PAGE, RW, 0);
		unmap(p, U_PAGE);
	}
	q_end(q, TIMES);
	need(p < -4095ul, "mmap", (long)p);
}

static void row_map_write_unmap(struct q *q)
{
	q_begin(q);
	for (unsigned i = 0; i < TIMES; i++) {
		uintptr_t p = map(0, U_PAGE, RW, 0);

		write_page(p);
		unmap(p, U_PAGE);
	}
	q_end(q, TIMES);
}

static void row_write_fault(struct q *q)
{
	uintptr_t p = area(0, BIG, RW, 0);

	q_begin(q);
	write_all(p, BIG);
	q_end(q, BIG_PAGES);
	unmap(p, BIG);
}

static void row_read_fault(struct q *q)
{
	uintptr_t p = area(0, BIG, RW, 0);

	q_begin(q);
	for (uintptr_t a = p; a < p + BIG; a += U_PAGE)
		read_page(a);
	q_end(q, BIG_PAGES);
	unmap(p, BIG);
}

static void row_unmap_resident(struct q *q)
{
	uintptr_t p = area(0, BIG, RW, 0);

	write_all(p, BIG);
	q_begin(q);
	unmap(p, BIG);
	q_end(q, BIG_PAGES);
}

static void row_mprotect(struct q *q)
{
	uintptr_t p = area(FIXED, 16 * U_PAGE, RW, 0), mid = p + 8 * U_PAGE;
	long err = 0;

	q_begin(q);
	for (unsigned i = 0; i < TIMES; i++) {
		err |= SYS(NR_mprotect, mid, U_PAGE, U_PROT_READ);
		err |= SYS(NR_mprotect, mid, U_PAGE, RW);
	}
	q_end(q, TIMES);
	need(!err, "mprotect", err);
	unmap(p, 16 * U_PAGE);
}

static void brk_round(struct q *q, bool touch)
{
	uintptr_t cur = (uintptr_t)SYS(NR_brk, 0, 0, 0), now = 0;

	q_begin(q);
	for (unsigned i = 0; i < TIMES; i++) {
		now = (uintptr_t)SYS(NR_brk, cur + U_PAGE, 0, 0);
		if (touch)
			write_page(now - U_PAGE);
		SYS(NR_brk, cur, 0, 0);
	}
	q_end(q, TIMES);
	need(now == cur + U_PAGE, "brk", (long)now);
}

static void row_brk(struct q *q)
{
	brk_round(q, false);
}

static void row_brk_write(struct q *q)
{
	brk_round(q, true);
}

/* Moves len bytes there and back again, so that what follows starts from the same. */
static void move_round(struct q *q, size_t len, uintptr_t to, unsigned times)
{
	uintptr_t p = area(FIXED, len, RW, 0), err = 0;

	write_all(p, len);
	q_begin(q);
	for (unsigned i = 0; i < times; i++) {
		err |= (uintptr_t)u_raw_syscall(NR_mremap, (long)p, (long)len, (long)len, MREMAP_MOVE,
				       (long)to, 0) ^ to;
		err |= (uintptr_t)u_raw_syscall(NR_mremap, (long)to, (long)len, (long)len, MREMAP_MOVE,
				       (long)p, 0) ^ p;
	}
	q_end(q, times * 2 * (len / U_PAGE));
	need(!err, "mremap", (long)err);
	unmap(p, len);
}

static void row_mremap(struct q *q)
{
	move_round(q, U_PAGE, FIXED + 64 * MIB, TIMES / 2);
}

static void row_mremap_big(struct q *q)
{
	move_round(q, BIG, FIXED + 64 * MIB + U_PAGE, 1);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void child_waits(struct u *u, void *state)
{
	struct q *q = state;
	char c;

	u_raw_syscall(NR_close, q->pipe[1], 0, 0, 0, 0, 0);
	SYS(NR_read, q->pipe[0], &c, 1);
	u_exit(u, 0);
}

static void child_exits(struct u *u, void *state)
{
	u_exit(u, 0);
}

static void open_pipe(struct q *q)
{
	long err = SYS(NR_pipe2, q->pipe, 0, 0);

	need(!err, "pipe2", err);
}

/* Lets the child that waits go, and waits for it. */
static void release(struct q *q)
{
	SYS(NR_close, q->pipe[1], 0, 0);
	SYS(NR_wait4, -1, 0, 0);
	SYS(NR_close, q->pipe[0], 0, 0);
}

static void row_cow_copy(struct q *q)
{
	uintptr_t p = area(0, BIG, RW, 0);
	long pid;

	write_all(p, BIG);
	open_pipe(q);
	pid = u_fork(NULL, 0, child_waits, q, sizeof(*q));
	need(pid > 0, "fork", pid);
	q_begin(q);
	write_all(p, BIG);
	q_end(q, BIG_PAGES);
	release(q);
	unmap(p, BIG);
}

static void row_cow_reuse(struct q *q)
{
	uintptr_t p = area(0, BIG, RW, 0);
	long pid;

	write_all(p, BIG);
	pid = u_fork(NULL, 0, child_exits, q, sizeof(*q));
	need(pid > 0, "fork", pid);
	SYS(NR_wait4, -1, 0, 0);
	q_begin(q);
	write_all(p, BIG);
	q_end(q, BIG_PAGES);
	unmap(p, BIG);
}

static void row_fork(struct q *q)
{
	uintptr_t p = area(0, 8 * MIB, RW, 0);
	long pid;

	write_all(p, 8 * MIB);
	open_pipe(q);
	q_begin(q);
	pid = u_fork(NULL, 0, child_waits, q, sizeof(*q));
	q_end(q, 1);
	need(pid > 0, "fork", pid);
	release(q);
	unmap(p, 8 * MIB);
}

static void row_fork_exit_wait(struct q *q)
{
	q_begin(q);
	for (unsigned i = 0; i < 2; i++) {
		u_fork(NULL, 0, child_exits, q, sizeof(*q));
		SYS(NR_wait4, -1, 0, 0);
	}
	q_end(q, 2);
}

/* ---- many areas ------------------------------------------------------------------------------ */

static void shuffle(struct q *q)
{
	uint32_t seed = 12345;

	for (uint32_t i = 0; i < MANY; i++)
		q->order[i] = i;
	for (uint32_t i = MANY - 1; i > 0; i--) {
		uint32_t j, t = q->order[i];

		seed = seed * 1664525u + 1013904223u;
		j = (seed >> 8) % (i + 1);
		q->order[i] = q->order[j];
		q->order[j] = t;
	}
}

/* Areas of one page with a hole after each; written once, so that tables and whatever a kernel
 * keeps for each area are there, then emptied. */
static void row_random_fault(struct q *q)
{
	uintptr_t p = area(FIXED, 2 * MANY * U_PAGE, RW, 0);

	for (unsigned i = 0; i < MANY; i++)
		unmap(p + (2 * i + 1) * U_PAGE, U_PAGE);
	for (unsigned i = 0; i < MANY; i++)
		write_page(p + 2ul * i * U_PAGE);
	for (unsigned i = 0; i < MANY; i++)
		SYS(NR_madvise, p + 2ul * i * U_PAGE, U_PAGE, U_MADV_DONTNEED);
	shuffle(q);
	q_begin(q);
	for (unsigned i = 0; i < MANY; i++)
		write_page(p + 2ul * q->order[i] * U_PAGE);
	q_end(q, MANY);
	unmap(p, 2 * MANY * U_PAGE);
}

static void row_hole(struct q *q)
{
	uintptr_t p = area(FIXED, 16 * U_PAGE, RW, 0), mid = p + 8 * U_PAGE, r = mid;

	q_begin(q);
	for (unsigned i = 0; i < TIMES; i++) {
		unmap(mid, U_PAGE);
		r |= map(mid, U_PAGE, RW, U_MAP_FIXED);
	}
	q_end(q, TIMES);
	need(r == mid, "mmap", (long)r);
	unmap(p, 16 * U_PAGE);
}

static void row_dontneed(struct q *q)
{
	uintptr_t p = area(0, U_PAGE, RW, 0);
	long err = 0;

	q_begin(q);
	for (unsigned i = 0; i < TIMES; i++) {
		err |= SYS(NR_madvise, p, U_PAGE, U_MADV_DONTNEED);
		write_page(p);
	}
	q_end(q, TIMES);
	need(!err, "madvise", err);
	unmap(p, U_PAGE);
}

/* ---- ranges without pages -------------------------------------------------------------------- */

static void sparse_round(struct q *q, size_t len)
{
	uintptr_t p = 0;
	long err = 0;

	q_begin(q);
	for (unsigned i = 0; i < TIMES; i++) {
		p = map(0, len, RW, NORESERVE);
		err |= SYS(NR_mprotect, p, len, U_PROT_READ);
		unmap(p, len);
	}
	q_end(q, TIMES);
	need(!err && p < -4095ul, "mmap or mprotect", err);
}

static void row_sparse_page(struct q *q)
{
	sparse_round(q, U_PAGE);
}

static void row_sparse_64t(struct q *q)
{
	sparse_round(q, 64ul << 40);
}

static const struct row {
	const char *name;
	void (*run)(struct q *q);
	bool alone; /* not beside other areas: it brings its own */
} rows[] = {
	{ "Q0", row_getppid, false },
	{ "Q1", row_map_unmap, false },
	{ "Q2", row_map_write_unmap, false },
	{ "Q3", row_write_fault, false },
	{ "Q4", row_read_fault, false },
	{ "Q5", row_unmap_resident, false },
	{ "Q6", row_mprotect, false },
	{ "Q7", row_brk, false },
	{ "Q7w", row_brk_write, false },
	{ "Q8", row_mremap, false },
	{ "Q8p", row_mremap_big, false },
	{ "Q9", row_cow_copy, false },
	{ "Q9r", row_cow_reuse, false },
	{ "Q10", row_fork, false },
	{ "Q10e", row_fork_exit_wait, false },
	{ "Q11", row_random_fault, true },
	{ "Q13", row_hole, false },
	{ "Q14", row_dontneed, false },
	{ "Q15", row_sparse_64t, true },
	{ "Q15p", row_sparse_page, true },
};

/* ---- rounds ---------------------------------------------------------------------------------- */

/* Areas that nothing uses, no two of them alike, so that none merge and no hole invites a map. */
static void make_others(struct q *q)
{
	if (!q->others)
		return;
	area(OTHERS, q->others * U_PAGE, 0, NORESERVE);
	for (uint64_t i = 0; i < q->others; i += 2)
		SYS(NR_mprotect, OTHERS + i * U_PAGE, U_PAGE, U_PROT_READ);
}

static bool wanted(const struct q *q, const char *name)
{
	const char *s = q->rows;
	size_t n;

	if (!s)
		return true;
	for (; *s; s += n + (s[n] == ',')) {
		for (n = 0; s[n] && s[n] != ',';)
			n++;
		if (mem_is(s, n, name))
			return true;
	}
	return false;
}

static void sort(uint64_t *v, uint64_t n)
{
	for (uint64_t i = 1; i < n; i++)
		for (uint64_t j = i; j && v[j] < v[j - 1]; j--) {
			uint64_t t = v[j];

			v[j] = v[j - 1];
			v[j - 1] = t;
		}
}

static void print(const struct q *q, const char *name)
{
	char buf[160];
	struct text t = TEXT(buf);

	text_str(&t, "q ");
	text_str(&t, name);
	text_chr(&t, ' ');
	text_udec(&t, q->others);
	text_chr(&t, ' ');
	text_udec(&t, q->result[0]);
	text_chr(&t, ' ');
	text_udec(&t, q->result[q->rounds / 2]);
	text_chr(&t, '\n');
	u_write(NULL, buf, t.n);
}

static void run_row(struct q *q, const struct row *r)
{
	r->run(q); /* the first round pays for what is done once */
	if (q->loop)
		say("q loop: ", "operations", q->ops);
	for (;;) {
		for (uint64_t i = 0; i < q->rounds; i++) {
			r->run(q);
			q->result[i] = q->ticks * U_TICK * 10 / q->ops;
		}
		if (!q->loop)
			break;
	}
	sort(q->result, q->rounds);
	print(q, r->name);
}

static void parse(struct q *q, const char *arg)
{
	static const char *const names[] = { "rounds=", "others=", "wait=", "loop=" };
	uint64_t *values[] = { &q->rounds, &q->others, &q->wait, &q->loop };

	if (str_starts(arg, "row="))
		q->rows = arg + 4;
	for (unsigned i = 0; i < 4; i++) {
		const char *s = arg + str_len(names[i]);

		if (str_starts(arg, names[i]))
			*values[i] = str_num(&s, 10);
	}
}

/* A fresh Linux is busy with itself for a while. */
static void settle(const struct q *q)
{
	uint64_t ts[2] = { q->wait, 0 };

	if (q->wait)
		SYS(NR_nanosleep, ts, 0, 0);
}

static int q_main(struct u *u, void *state, int argc, char **argv)
{
	struct q *q = state;

	q->rounds = 9;
	for (int i = 1; i < argc; i++)
		parse(q, argv[i]);
	need(q->rounds > 0 && q->rounds <= MAX_ROUNDS, "rounds", (long)q->rounds);
	settle(q);
	make_others(q);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (wanted(q, rows[i].name) && !(rows[i].alone && q->others))
			run_row(q, &rows[i]);
	say("q done: ", "status", 0);
	power_off(0);
	return 0;
}

extern const struct u_program bench_program;
const struct u_program bench_program = { q_main, sizeof(struct q), 0x200000000 };
