/* SPDX-License-Identifier: MIT */
/*
 * The tasks of a scenario and their turns. Each has a pipe; who holds the baton acts, then writes
 * it into the pipe of whoever comes next and waits at its own. So at any time one task acts, and
 * what it does is done, in the kernel too, before another one goes on.
 *
 * Ends are in order as well: a task that exits hands the baton to its parent, which first waits
 * for it, so that its pages are gone; at the end of the file the youngest goes first.
 */
#include "run.h"

#define FD_FLOOR   200l /* our own descriptors lie above those of the scenario */
#define ALARM_SECS 300	/* a task that waits longer for its turn is lost */

/* ---- the baton ------------------------------------------------------------------------------ */

static void pass(struct u *u, struct run *r, unsigned to)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;

	r->turn = false;
	u_poke(u, sc, &r->b, sizeof(r->b));
	if (u_syscall(u, NR_write, r->wr[to], (long)sc, sizeof(r->b), 0, 0, 0) != sizeof(r->b))
		u_exit(u, 2);
}

static void receive(struct u *u, struct run *r)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	long n;

	do
		n = u_syscall(u, NR_read, r->rd[r->me], (long)sc, sizeof(r->b), 0, 0, 0);
	while (n == -U_EINTR);
	if (n != sizeof(r->b))
		u_exit(u, 2);
	u_peek(u, &r->b, sc, sizeof(r->b));
	r->turn = true;
}

static void set_alarm(struct u *u)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	int64_t timer[4] = { 0, 0, ALARM_SECS, 0 };

	u_poke(u, sc, timer, sizeof(timer));
	u_syscall(u, NR_setitimer, 0, (long)sc, 0, 0, 0, 0);
}

/* ---- pipes ---------------------------------------------------------------------------------- */

/* The same file under a number that no scenario meets. */
static int move_up(struct u *u, int fd)
{
	long up = u_syscall(u, NR_fcntl, fd, U_F_DUPFD, FD_FLOOR, 0, 0, 0);

	if (up < 0)
		return fd;
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	return (int)up;
}

static long make_pipe(struct u *u, int *rd, int *wr)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	int fd[2];
	long ret = u_syscall(u, NR_pipe2, (long)sc, 0, 0, 0, 0, 0);

	if (ret < 0)
		return ret;
	u_peek(u, fd, sc, sizeof(fd));
	*rd = move_up(u, fd[0]);
	*wr = move_up(u, fd[1]);
	return 0;
}

static int open_marker(struct u *u)
{
	long fd = u_syscall(u, NR_openat, U_AT_FDCWD,
			    run_string(u, "/sys/kernel/tracing/trace_marker"), U_O_WRONLY, 0, 0, 0);

	return fd < 0 ? -1 : move_up(u, (int)fd);
}

long task_setup(struct u *u, struct run *r)
{
	long ret = make_pipe(u, &r->copy_rd, &r->copy_wr);

	for (unsigned i = 0; i < r->scn.ntasks && !ret; i++) {
		ret = make_pipe(u, &r->rd[i], &r->wr[i]);
		r->status[i] = -1;
	}
	r->marker = open_marker(u);
	r->b.finish = r->b.reap = NOBODY;
	return ret;
}

void run_mark(struct u *u, struct run *r, const char *what, uint64_t n, bool has_n)
{
	char buf[320];
	struct text t = TEXT(buf);

	if (r->marker < 0)
		return;
	text_str(&t, "quire: ");
	text_str(&t, what);
	text_chr(&t, ' ');
	if (has_n)
		text_udec(&t, n);
	else
		text_str(&t, r->path);
	u_syscall(u, NR_write, r->marker, run_string(u, buf), (long)t.n, 0, 0, 0);
}

/* ---- fork, wait, exit ----------------------------------------------------------------------- */

static void newborn(struct u *u, void *state)
{
	struct run *r = state;

	r->me = r->newborn;
	r->turn = false;
	r->faults = 0;
	for (unsigned i = 0; i < SCN_MAX_TASKS; i++)
		r->status[i] = -1;
	set_alarm(u);
	u_warm(u, state, sizeof(*r));
	task_life(u, r);
}

void task_fork(struct u *u, struct run *r, const struct scn_action *a, struct seen *s)
{
	unsigned t = a->arg[0].task;
	long pid;

	r->newborn = (uint8_t)t;
	pid = u_fork(u, 0, newborn, r, sizeof(*r));
	seen_result(s, pid);
	if (pid < 0)
		return;
	s->kind = SEEN_OK;
	r->b.pid[t] = (int32_t)pid;
	u_warm(u, r, sizeof(*r));
}

static long wait_pid(struct u *u, long pid, int32_t *status)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	long ret;

	do
		ret = u_syscall(u, NR_wait4, pid, (long)sc, 0, 0, 0, 0);
	while (ret == -U_EINTR);
	if (ret > 0)
		u_peek(u, status, sc, sizeof(*status));
	return ret;
}

/* Has child t end, and waits until it is gone. */
static long finish(struct u *u, struct run *r, unsigned t)
{
	long pid = r->b.pid[t], ret;

	r->b.finish = (uint8_t)t;
	r->b.pid[t] = 0;
	pass(u, r, t);
	r->turn = true; /* the one that ends gives the baton to nobody */
	r->b.finish = NOBODY;
	ret = wait_pid(u, pid, &r->status[t]);
	return ret;
}

static void finish_children(struct u *u, struct run *r)
{
	for (unsigned t = r->scn.ntasks; t-- > 1;)
		if (r->scn.parent[t] == r->me && r->b.pid[t])
			finish(u, r, t);
}

void task_wait(struct u *u, struct run *r, const struct scn_action *a, struct seen *s)
{
	unsigned t = a->arg[0].task;
	long ret = 0;

	if (r->scn.parent[t] != r->me) {
		seen_result(s, -U_ECHILD);
		return;
	}
	if (r->b.pid[t])
		ret = finish(u, r, t);
	seen_result(s, ret);
	if (ret < 0)
		return;
	if (r->status[t] == -1) {
		seen_result(s, -U_ECHILD);
		return;
	}
	s->value = (uint64_t)(r->status[t] >> 8 & 0xff);
	s->kind = r->status[t] & 0x7f ? SEEN_SIGNAL : SEEN_VALUE;
	s->sig = r->status[t] & 0x7f;
	s->code = -1;
	r->status[t] = -1;
}

/* The parent waits for this one before anybody goes on; without one left, nobody can. */
static _Noreturn void task_exit(struct u *u, struct run *r, int status)
{
	unsigned parent = r->scn.parent[r->me];

	r->b.pid[r->me] = 0;
	r->b.next++;
	if (parent == 0 || r->b.pid[parent])
		r->b.reap = r->me;
	else
		parent = 0;
	pass(u, r, parent);
	u_exit(u, status);
}

static void reap(struct u *u, struct run *r)
{
	unsigned t = r->b.reap;

	r->b.reap = NOBODY;
	wait_pid(u, -1, &r->status[t]);
}

/* ---- the life of a task --------------------------------------------------------------------- */

/* The kernel's own dump of the live tables, where there is one: it is compared by the host. */
static void ask_for_dump(struct u *u)
{
	put_file(u, "/proc/quire/dump_tables", "1");
}

static void tracer(struct u *u, const char *on)
{
	put_file(u, "/sys/kernel/tracing/events/exceptions/page_fault_user/enable", on);
	put_file(u, "/sys/kernel/tracing/events/exceptions/page_fault_kernel/enable", on);
	put_file(u, "/sys/kernel/tracing/tracing_on", on);
}

static _Noreturn void end_scenario(struct u *u, struct run *r)
{
	ask_for_dump(u);
	finish_children(u, r);
	/* Those whose parent is gone: nobody can wait for them. */
	for (unsigned t = r->scn.ntasks; t-- > 1;)
		if (r->b.pid[t]) {
			r->b.finish = (uint8_t)t;
			pass(u, r, t);
		}
	run_mark(u, r, "end", 0, false);
	if (r->traced)
		tracer(u, "0");
	u_exit(u, r->b.cannot ? 2 : r->b.failed != 0);
}

static void begin_scenario(struct u *u, struct run *r)
{
	set_alarm(u);
	r->turn = true;
	r->b.pid[0] = (int32_t)u_syscall(u, NR_getpid, 0, 0, 0, 0, 0, 0);
	if (r->traced)
		tracer(u, "1");
	run_mark(u, r, "begin", 0, false);
	u_warm(u, r, sizeof(*r));
	run_look(u, r, 0);
	r->faults = run_faults(u);
}

static void take_action(struct u *u, struct run *r)
{
	const struct scn_action *a = &r->scn.action[r->b.next];

	run_action(u, r, a);
	if (a->op == OP_EXIT)
		task_exit(u, r, a->nargs ? (int)run_eval(u, r, &a->arg[0].expr) : 0);
	r->b.next++;
}

void task_life(struct u *u, struct run *r)
{
	unsigned next;

	if (r->me == 0)
		begin_scenario(u, r);
	for (;;) {
		if (!r->turn)
			receive(u, r);
		if (r->b.finish == r->me) {
			finish_children(u, r);
			u_exit(u, 0);
		}
		if (r->b.reap != NOBODY)
			reap(u, r);
		next = r->b.next < r->scn.nactions ? r->scn.action[r->b.next].task : 0;
		if (next && !r->b.pid[next])
			run_absent(u, r, &r->scn.action[r->b.next++]);
		else if (next != r->me)
			pass(u, r, next);
		else if (r->b.next < r->scn.nactions)
			take_action(u, r);
		else
			end_scenario(u, r);
	}
}
