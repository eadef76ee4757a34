/* SPDX-License-Identifier: MIT */
/*
 * Row Q12: processes whose memory does not fit. One plain static Linux program; as the first program
 * of a kernel it measures that kernel, ours or a real Linux, on a machine with a disk to swap to.
 *
 *   reclaim swap=DEVICE policy=N ballast=PAGES wait=SECONDS seed=N turn=N PROCESS…
 *   PROCESS = p=KINDxPASSES[/KINDxPASSES…]:PAGES[:FLAG…]    (bench/work.h; flags first, exit, nofill)
 *
 * Each process writes its number and the page's into each of its pages, in order, and then reads
 * pages as its works say; a page that has something else ends the run. They take turns as the
 * scheduler lets them; with turn=N, each hands the turn on to the next after every N touches, so that no
 * scheduler decides. The first program only waits. Its ballast, as much as is named, is locked:
 * it makes memory scarcer.
 *
 * Prints `q12 begin`, and a second later, in which the disk's counters can be read, begins to write
 * pages; then `q12 process N MAJOR MINOR` (faults from the first page to its last access), what
 * /proc/vmstat says of reclaim at both ends as `q12 then NAME N` and `q12 now NAME N`, and `q12 done`;
 * then it sleeps, so that who looks on from outside can read the disk's counters. Between q12_begin
 * and q12_end the machine does nothing else: an observer who counts instructions counts between those.
 */
#include "bench/work.h"
#include "user/text.h"
#include "user/u.h"
#include "user/u_nr.h"

#define AT	      0x300000000ul  /* a process's pages */
#define BALLAST	      0x1000000000ul /* the first program's */
#define MAX_PROCESSES 64u
#define MAX_WORKS     8u
#define LOOKED_AT     1 /* s, from `begin` to the first page written */
#define REBOOT_OFF    0x4321fedcl
#define RUSAGE_WORDS  18
#define MINOR	      8 /* of a rusage: its words */
#define MAJOR	      9

struct process {
	struct work works[MAX_WORKS];
	uint32_t nr_works, pages, number;
	bool first, exits, fill;
};

struct result {
	uint64_t number, minor, major, wrong;
};

struct pipe {
	int out, in; /* read from, written to */
};

struct reclaim {
	struct process p[MAX_PROCESSES];
	uint32_t n, all; /* n: in a process, its own number */
	uint64_t policy, ballast, wait, seed, turn;
	const char *swap;
	struct pipe turns[MAX_PROCESSES]; /* a byte in it: it is this one's turn */
	volatile bool *works;		  /* by number, shared: it takes turns */
	struct pipe results, first, rest, never; /* what starts them; what no process ever gets */
	struct result result[MAX_PROCESSES];
	char vmstat[32768];
};

#define SYS(nr, a, b, c) u_raw_syscall((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)

/* Out of line and with names that an observer can find. */
__attribute__((noinline, noclone)) void q12_begin(void);
__attribute__((noinline, noclone)) void q12_end(void);

void q12_begin(void)
{
	__asm__ volatile("");
}

void q12_end(void)
{
	__asm__ volatile("");
}

/* ---- words ----------------------------------------------------------------------------------- */

static void say(const char *what, uint64_t v)
{
	char buf[160];
	struct text t = TEXT(buf);

	text_str(&t, "q12 ");
	text_str(&t, what);
	text_chr(&t, ' ');
	text_udec(&t, v);
	text_chr(&t, '\n');
	u_write(NULL, buf, t.n);
}

/* What cannot go on measures nothing. */
static void need(bool ok, const char *what, long got)
{
	char buf[160];
	struct text t = TEXT(buf);

	if (ok)
		return;
	text_str(&t, "q12 failed: ");
	text_str(&t, what);
	text_chr(&t, ' ');
	text_dec(&t, got);
	text_chr(&t, '\n');
	u_write(NULL, buf, t.n);
	u_raw_syscall(NR_reboot, 0xfee1deadl, 0x28121969l, REBOOT_OFF, 0, 0, 0);
	u_exit(NULL, 1);
}

static struct pipe new_pipe(void)
{
	struct pipe p = {0};
	long r = SYS(NR_pipe2, &p, 0, 0);

	need(!r, "pipe2", r);
	return p;
}

static long write_file(const char *path, const char *text)
{
	long fd = u_raw_syscall(NR_openat, U_AT_FDCWD, (long)path, U_O_WRONLY, 0, 0, 0), r;

	if (fd < 0)
		return fd;
	r = SYS(NR_write, fd, text, str_len(text));
	SYS(NR_close, fd, 0, 0);
	return r < 0 ? r : 0;
}

static long set(const char *path, uint64_t value)
{
	char buf[32];
	struct text t = TEXT(buf);

	text_udec(&t, value);
	return write_file(path, buf);
}

static void sleep_for(uint64_t seconds)
{
	uint64_t ts[2] = {seconds, 0};

	SYS(NR_nanosleep, ts, 0, 0);
}

/* ---- a process ------------------------------------------------------------------------------- */

static uint64_t tag(const struct process *p, uint32_t page)
{
	return (uint64_t)(p->number + 1) << 32 | page;
}

static inline volatile uint64_t *word_of(uint32_t page)
{
	return (volatile uint64_t *)(AT + page * U_PAGE);
}

/* Sleeps until somebody lets go. */
static void wait_for(const struct pipe *p)
{
	char c;

	while (SYS(NR_read, p->out, &c, 1) == -U_EINTR)
		;
}

/* The next process that takes turns runs; nobody does if there is none. */
static void hand_on(const struct reclaim *q, uint32_t number)
{
	for (uint32_t i = 1; i <= q->all; i++) {
		uint32_t next = (number + i) % q->all;

		if (q->works[next]) {
			SYS(NR_write, q->turns[next].in, "t", 1);
			return;
		}
	}
}

/* After each touch; left: of this turn. */
static inline void end_of_touch(const struct reclaim *q, const struct process *p, uint64_t *left)
{
	if (q->turn && !--*left) {
		hand_on(q, p->number);
		wait_for(&q->turns[p->number]);
		*left = q->turn;
	}
}

static void fill(const struct reclaim *q, const struct process *p, uint64_t *left)
{
	for (uint32_t i = 0; i < p->pages; i++) {
		*word_of(i) = tag(p, i);
		end_of_touch(q, p, left);
	}
}

/* Returns how many pages were not what they should be. */
static uint64_t work(const struct reclaim *q, const struct process *p, const struct work *w, uint64_t *random,
		     uint64_t *left)
{
	uint64_t touches = work_touches(w, p->pages), wrong = 0;
	uint32_t page;

	for (uint64_t step = 0; step < touches; step++) {
		page = work_page(w->kind, p->pages, step, random);
		wrong += *word_of(page) != tag(p, page);
		end_of_touch(q, p, left);
	}
	return wrong;
}

static void count_faults(struct result *r, uint64_t sign)
{
	uint64_t usage[RUSAGE_WORDS] = {0};

	SYS(NR_getrusage, 0, usage, 0);
	r->minor += sign * usage[MINOR];
	r->major += sign * usage[MAJOR];
}

static void process_main(struct u *u, void *state)
{
	struct reclaim *q = state;
	const struct process *p = &q->p[q->n]; /* the parent left its number there */
	struct result r = {.number = p->number};
	uint64_t random = work_seed(q->seed, p->number), left = q->turn;
	long at = u_raw_syscall(NR_mmap, AT, (long)(p->pages * U_PAGE), U_PROT_READ | U_PROT_WRITE,
				U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED, -1, 0);

	need(at == (long)AT, "mmap", at);
	wait_for(p->first ? &q->first : &q->rest);
	if (q->turn)
		wait_for(&q->turns[p->number]);
	count_faults(&r, -1ull);
	if (p->fill)
		fill(q, p, &left);
	for (uint32_t i = 0; i < p->nr_works; i++)
		r.wrong += work(q, p, &p->works[i], &random, &left);
	count_faults(&r, 1);
	if (q->turn) {
		q->works[p->number] = false;
		hand_on(q, p->number);
	}
	SYS(NR_write, q->results.in, &r, sizeof(r));
	if (!p->exits)
		wait_for(&q->never);
	u_exit(u, 0);
}

/* ---- the first program ----------------------------------------------------------------------- */

static void print_vmstat(struct reclaim *q, const char *when)
{
	static const char *const heads[] = {"pswp", "pgscan", "pgsteal", "pgmajfault", "workingset_",
					    "allocstall", "pgrefill", "nr_free_pages"};
	long n = u_read_file(NULL, "/proc/vmstat", q->vmstat, sizeof(q->vmstat) - 1);
	char *s = q->vmstat, *end;

	need(n > 0, "vmstat", n);
	for (q->vmstat[n] = 0; *s; s = end) {
		bool wanted = false;

		for (end = s; *end && *end != '\n'; end++)
			;
		if (*end)
			*end++ = 0;
		for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
			wanted = wanted || str_starts(s, heads[i]);
		if (wanted) {
			u_write(NULL, "q12 ", 4);
			u_write(NULL, when, str_len(when));
			u_write(NULL, s, str_len(s));
			u_write(NULL, "\n", 1);
		}
	}
}

static void print_process(const struct result *r)
{
	char buf[160];
	struct text t = TEXT(buf);

	text_str(&t, "q12 process ");
	text_udec(&t, r->number);
	text_chr(&t, ' ');
	text_udec(&t, r->major);
	text_chr(&t, ' ');
	text_udec(&t, r->minor);
	text_chr(&t, '\n');
	u_write(NULL, buf, t.n);
}

static void release(const struct reclaim *q, const struct pipe *p, bool first)
{
	uint32_t last = q->n;

	for (uint32_t i = 0; i < q->n; i++) {
		if (q->p[i].first != first)
			continue;
		last = i;
		if (q->turn)
			q->works[i] = true;
		SYS(NR_write, p->in, "g", 1);
	}
	if (q->turn && last < q->n)
		hand_on(q, last);
}

static void collect(struct reclaim *q, bool first)
{
	struct result r;

	for (uint32_t i = 0; i < q->n; i++) {
		if (q->p[i].first != first)
			continue;
		need(SYS(NR_read, q->results.out, &r, sizeof(r)) == (long)sizeof(r), "result", 0);
		need(!r.wrong, "wrong pages", (long)r.wrong);
		q->result[r.number] = r;
	}
}

static void set_up_machine(const struct reclaim *q)
{
	long r;

	/* A Linux has none of them yet; ours has, and says so. */
	u_raw_syscall(NR_mkdirat, U_AT_FDCWD, (long)"/proc", 0755, 0, 0, 0);
	u_raw_syscall(NR_mkdirat, U_AT_FDCWD, (long)"/dev", 0755, 0, 0, 0);
	u_raw_syscall(NR_mount, (long)"proc", (long)"/proc", (long)"proc", 0, 0, 0);
	u_raw_syscall(NR_mount, (long)"dev", (long)"/dev", (long)"devtmpfs", 0, 0, 0);
	r = set("/proc/sys/vm/page-cluster", 0);
	need(!r, "page-cluster", r);
	if (q->policy) {
		r = set("/proc/sys/vm/reclaim_policy", q->policy);
		need(!r, "reclaim_policy", r);
	}
	sleep_for(q->wait);
}

static void set_up_turns(struct reclaim *q)
{
	long at = u_raw_syscall(NR_mmap, 0, U_PAGE, U_PROT_READ | U_PROT_WRITE, U_MAP_SHARED | U_MAP_ANONYMOUS,
				-1, 0);

	need(at > 0, "mmap", at);
	q->works = (volatile bool *)at;
	q->all = q->n;
	for (uint32_t i = 0; q->turn && i < q->n; i++)
		q->turns[i] = new_pipe();
}

static void fork_all(struct u *u, struct reclaim *q)
{
	uint32_t n = q->n;
	long pid;

	for (q->n = 0; q->n < n; q->n++) {
		pid = u_fork(u, 0, process_main, q, sizeof(*q));
		need(pid > 0, "fork", pid);
	}
}

static void lock_ballast(const struct reclaim *q)
{
	long size = (long)(q->ballast * U_PAGE), r;

	if (!size)
		return;
	r = u_raw_syscall(NR_mmap, BALLAST, size, U_PROT_READ | U_PROT_WRITE,
			  U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED, -1, 0);
	need(r == (long)BALLAST, "mmap", r);
	r = SYS(NR_mlock, BALLAST, size, 0);
	need(!r, "mlock", r);
}

/* ---- the command line ------------------------------------------------------------------------ */

static bool take(const char **s, const char *name)
{
	if (!str_starts(*s, name))
		return false;
	*s += str_len(name);
	return true;
}

static void parse_works(struct process *p, const char **s)
{
	static const char *const names[WORK_KINDS] = WORK_NAMES;
	struct work *w;

	do {
		need(p->nr_works < MAX_WORKS, "works", p->nr_works);
		w = &p->works[p->nr_works++];
		while (w->kind < WORK_KINDS && !take(s, names[w->kind]))
			w->kind++;
		need(w->kind < WORK_KINDS && take(s, "x"), "work", p->nr_works);
		w->passes = (uint32_t)str_num(s, 10);
	} while (take(s, "/"));
}

static void parse_process(struct reclaim *q, const char *s)
{
	struct process *p = &q->p[q->n];

	need(q->n < MAX_PROCESSES, "processes", q->n);
	p->number = q->n++;
	p->fill = true;
	parse_works(p, &s);
	need(take(&s, ":"), "pages", p->number);
	p->pages = (uint32_t)str_num(&s, 10);
	need(p->pages >= 48, "pages", p->pages);
	while (take(&s, ":")) {
		if (take(&s, "first"))
			p->first = true;
		else if (take(&s, "exit"))
			p->exits = true;
		else if (take(&s, "nofill"))
			p->fill = false;
		else
			need(false, "flag", p->number);
	}
	need(!*s, "process", p->number);
}

static void parse(struct reclaim *q, const char *s)
{
	static const char *const names[] = {"policy=", "ballast=", "wait=", "seed=", "turn="};
	uint64_t *values[] = {&q->policy, &q->ballast, &q->wait, &q->seed, &q->turn};

	if (take(&s, "p="))
		parse_process(q, s);
	else if (take(&s, "swap="))
		q->swap = s;
	else
		for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (take(&s, names[i]))
				*values[i] = str_num(&s, 10);
}

static int reclaim_main(struct u *u, void *state, int argc, char **argv)
{
	struct reclaim *q = state;
	long r;

	q->seed = 1;
	for (int i = 1; i < argc; i++)
		parse(q, argv[i]);
	need(q->n && q->swap, "arguments", argc);
	set_up_machine(q);
	q->results = new_pipe();
	q->first = new_pipe();
	q->rest = new_pipe();
	q->never = new_pipe();
	set_up_turns(q);
	fork_all(u, q);
	lock_ballast(q);
	r = SYS(NR_swapon, q->swap, 0, 0);
	need(!r, "swapon", r);
	print_vmstat(q, "then ");
	say("begin", q->n);
	sleep_for(LOOKED_AT);
	q12_begin();
	release(q, &q->first, true);
	collect(q, true);
	release(q, &q->rest, false);
	collect(q, false);
	q12_end();
	print_vmstat(q, "now ");
	for (uint32_t i = 0; i < q->n; i++)
		print_process(&q->result[i]);
	say("done", q->n);
	for (;;)
		sleep_for(1000);
	return 0;
}

extern const struct u_program bench_program;
const struct u_program bench_program = {reclaim_main, sizeof(struct reclaim), 0x200000000};
