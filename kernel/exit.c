/* SPDX-License-Identifier: MIT */
/*
 * exit, exit_group, wait4, waitid: the end of a process, and waiting for it. A process stays as a
 * zombie, without space and files, until its parent has asked for its status; orphans go to process 1,
 * which ends with the first program, and its end is the machine's.
 *
 * The end comes in steps, and between any two of them other tasks run: the thread takes no more
 * signals; it is no thread of the process any more; the last one gives back space, files and
 * children; the process is a zombie. What leads from one process to another changes under tasks_lock,
 * in one piece; what is freed then is collected, and freed after.
 */
#include "kernel.h"

#include <quire/trace.h>

#define WAIT_FLAGS (WNOHANG | WSTOPPED | WCONTINUED | __WALL | __WNOTHREAD | __WCLONE) /* what wait4 takes */

#define BY_SIGNAL 128 /* plus its number: the machine's end, as a shell would tell it */

enum { P_ALL, P_PID, P_PGID }; /* waitid: which children */

void process_exec_done(struct process *p)
{
	__atomic_store_n(&p->vfork_done, true, __ATOMIC_RELEASE);
	wake_all(&p->vfork_wait);
}

/* ---- the end of a process -------------------------------------------------------------------- */

/* No pointer leads to it any more. The tree's reference goes with the list, to free_unlinked(). */
static void unlink_process(struct process *p, struct list_head *unlinked)
{
	assert_held(&tasks_lock);
	list_move(&p->all, unlinked);
	list_del_init(&p->sibling);
	process_set_parent(p, NULL);
}

static void free_unlinked(struct list_head *unlinked)
{
	struct process *p, *next;

	list_for_each_entry_safe(p, next, unlinked, all) {
		list_del_init(&p->all);
		process_put(p);
	}
}

/* Who ignores SIGCHLD, or says SA_NOCLDWAIT, gets no zombies: p is unlinked. */
static void notify_parent(struct process *p, struct list_head *unlinked)
{
	struct hal_siginfo si = {.signo = p->exit_signal, .pid = p->pid,
				 .code = status_signal(p->exit_status) ? CLD_KILLED : CLD_EXITED,
				 .status = status_value(p->exit_status)};
	struct process *parent = p->parent;
	const struct hal_sigaction *sa = &parent->sighand->action[SIGCHLD];

	ASSERT(p->zombie && !parent->zombie);
	if (p->exit_signal == SIGCHLD && (sa->handler == SIG_IGN || sa->flags & SA_NOCLDWAIT))
		unlink_process(p, unlinked);
	if (p->exit_signal)
		post_signal_process(parent, &si);
	wake_all(&parent->child_ended);
}

static void reparent_children(struct process *p, struct list_head *unlinked)
{
	struct process *c, *next;

	assert_held(&tasks_lock);
	list_for_each_entry_safe(c, next, &p->children, sibling) {
		list_del_init(&c->sibling);
		if (init_process) {
			process_adopt(c, init_process);
			if (c->zombie)
				wake_all(&init_process->child_ended);
			continue;
		}
		/* The first process ends: all others end too, and none is waited for. */
		process_set_parent(c, NULL);
		if (c->zombie)
			unlink_process(c, unlinked);
	}
}

/* The first process is gone: no other stays. Who is just about to have a child notices the signal
 * when it enters the child, under the same lock. */
static void kill_everybody(const struct process *but)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct process *p;

	assert_held(&tasks_lock);
	list_for_each_entry(p, &all_processes, all)
		if (p != but)
			post_signal_process(p, &si);
}

/* The space is put off the CPU before it is torn down: its tables go with it. */
static void exit_mm(struct process *p)
{
	struct quire_mm *mm = p->mm;

	if (!mm)
		return;
	if (options.dump_tables)
		dump_tables(mm, (uint64_t)p->pid);
	set_task_mm(p, NULL);
	use_mm(NULL);
	quire_mm_put(mm);
}

static void exit_files(struct process *p)
{
	struct fd_table *fds;
	struct fs_context *fs;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	fds = p->fds;
	fs = p->fs;
	p->fds = NULL;
	p->fs = NULL;
	spin_unlock_irqrestore(&tasks_lock, flags);
	files_put(fds);
	fs_put(fs);
}

/* It has no children from here on, and so nobody asks for its handlers. */
static void leave_family(struct process *p)
{
	LIST_HEAD(unlinked);
	struct sighand *s;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	if (p->is_init)
		init_process = NULL;
	reparent_children(p, &unlinked);
	if (p->is_init)
		kill_everybody(p);
	s = p->sighand;
	p->sighand = NULL;
	spin_unlock_irqrestore(&tasks_lock, flags);
	put_sighand(s);
	free_unlinked(&unlinked);
}

/* What the last thread does while it can still sleep; nobody is left to set the alarm. Order as on
 * Linux: space, files, then the family. */
static void exit_process(struct process *p)
{
	alarm_end(p);
	posix_timers_end(p);
	exit_mm(p);
	process_exec_done(p);
	exit_files(p);
	if (p->is_init)
		request_shutdown(status_value(p->exit_status) +
				 (status_signal(p->exit_status) ? BY_SIGNAL : 0));
	leave_family(p);
}

/* Nothing of it is left but what its parent asks for. */
static void become_zombie(struct process *p, struct list_head *unlinked)
{
	assert_held(&tasks_lock);
	ASSERT(!p->nr_threads && !p->mm && !p->sighand && list_empty(&p->children));
	p->zombie = true;
	if (p->parent)
		notify_parent(p, unlinked);
	else
		unlink_process(p, unlinked);
}

/* u: of a task that may be counting on, or of a process. */
static void add_usage(struct usage *to, const struct usage *u)
{
	to->min_flt += READ_ONCE(u->min_flt);
	to->maj_flt += READ_ONCE(u->maj_flt);
	to->utime_ns += READ_ONCE(u->utime_ns);
	to->stime_ns += READ_ONCE(u->stime_ns);
	to->nvcsw += READ_ONCE(u->nvcsw);
	to->nivcsw += READ_ONCE(u->nivcsw);
	to->maxrss = max(to->maxrss, u->maxrss);
}

/* Words of user memory that others look at when a thread ends. */
static void tell_user_memory(struct task *t)
{
	struct process *p = t->proc;
	int zero = 0;

	if (!p->mm)
		return;
	exit_robust_list(t);
	futex_pi_leave(t, true);
	/* As Linux: clear_child_tid is only written if others still use the space. */
	if (t->clear_child_tid && READ_ONCE(p->nr_threads) > 1) {
		hal_copy_to_user(t->clear_child_tid, &zero, sizeof(zero));
		futex_wake_address(t->clear_child_tid);
	}
}

/* The thread takes no more signals. The first status of a group's end stays. */
static void begin_exit(struct task *t, int status)
{
	struct process *p = t->proc;
	irqflags_t flags;

	reap_tasks();
	spin_lock_irqsave(&tasks_lock, flags);
	t->dying = true;
	if (!p->group_exit)
		p->exit_status = status;
	status = p->exit_status;
	spin_unlock_irqrestore(&tasks_lock, flags);
	signals_free(&t->pending);
	quire_trace_words(QUIRE_TR_EXIT, &(uint64_t){(uint64_t)(unsigned)status}, 1);
}

/* Is it the last one? */
static bool leave_threads(struct task *t)
{
	struct process *p = t->proc;
	irqflags_t flags;
	bool last;

	spin_lock_irqsave(&tasks_lock, flags);
	t->no_space = true; /* the last one may give it back from now on */
	list_del(&t->thread);
	WRITE_ONCE(p->nr_threads, p->nr_threads - 1);
	last = !p->nr_threads;
	stop_look(p);
	add_usage(&p->usage, &t->usage);
	wake_all(&p->thread_ended);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return last;
}

/*
 * The task is of no process any more. It says that it ends before the parent hears of it, so that who has
 * waited for a process finds its last stack among the dead.
 */
_Noreturn static void leave_process(struct task *t, bool last)
{
	LIST_HEAD(unlinked);
	struct process *p = t->proc;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	task_ends();
	if (last)
		become_zombie(p, &unlinked);
	t->proc = NULL;
	t->user = false;
	spin_unlock(&tasks_lock);
	if (last)
		pidfd_tell();
	if (list_empty(&unlinked) && process_put_but_last(p))
		task_end();
	hal_irq_restore(flags);
	free_unlinked(&unlinked);
	process_put(p);
	task_end();
}

/* Only ever at a point where nothing is held: the way back to user mode, or a call's end. */
_Noreturn void exit_task(int status)
{
	struct task *t = current;
	bool last;

	begin_exit(t, status);
	tell_user_memory(t);
	last = leave_threads(t);
	if (last)
		exit_process(t->proc);
	shm_exit_task(t);
	leave_process(t, last);
}

_Noreturn void exit_group(int status)
{
	struct process *p = current->proc;
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	irqflags_t flags;
	struct task *t;

	spin_lock_irqsave(&tasks_lock, flags);
	if (!p->group_exit) {
		p->exit_status = status;
		WRITE_ONCE(p->group_exit, true);
		list_for_each_entry(t, &p->threads, thread)
			if (t != current)
				post_signal_task(t, &si);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	exit_task(status);
}

SYSCALL1(exit, int, status)
{
	exit_task(status_exited(status));
}

SYSCALL1(exit_group, int, status)
{
	exit_group(status_exited(status));
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* wait4's meaning of pid: one, my group, all, that group. */
static bool wanted(const struct process *c, int pid)
{
	if (pid > 0)
		return c->pid == pid;
	if (pid == 0)
		return c->pgid == current->proc->pgid;
	return pid == -1 || c->pgid == -pid;
}

void usage_of(struct process *p, struct usage *u)
{
	struct task *t;

	assert_held(&tasks_lock);
	*u = p->usage;
	list_for_each_entry(t, &p->threads, thread)
		add_usage(u, &t->usage);
	if (p->mm)
		u->maxrss = max(u->maxrss, quire_mm_peak_rss(p->mm));
}

void get_usage(struct process *p, struct usage *own, struct usage *children)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	if (own)
		usage_of(p, own);
	if (children)
		*children = p->child_usage;
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* What a waiter is told of a child. */
struct news {
	int pid, status, code; /* code: CLD_EXITED and the like, without the signal's own */
	struct usage usage;    /* of one that has ended, with that of its own children */
};

#define STATUS_STOPPED	 0x7f
#define STATUS_CONTINUED 0xffff

/* One that has stopped, or goes on, is told once, unless it is to be told again. */
static bool stop_news(struct process *c, unsigned flags, struct news *e)
{
	if (flags & WSTOPPED && c->stop_waits && c->stopped) {
		e->status = c->stop_signal << 8 | STATUS_STOPPED;
		e->code = CLD_STOPPED;
		c->stop_waits = flags & WNOWAIT;
	} else if (flags & WCONTINUED && c->cont_waits) {
		e->status = STATUS_CONTINUED;
		e->code = CLD_CONTINUED;
		c->cont_waits = flags & WNOWAIT;
	} else {
		return false;
	}
	e->pid = c->pid;
	usage_of(c, &e->usage);
	return true;
}

static void end_news(struct process *z, struct news *e)
{
	e->pid = z->pid;
	e->status = z->exit_status;
	e->code = status_signal(e->status) ? CLD_KILLED : CLD_EXITED;
	usage_of(z, &e->usage);
	add_usage(&e->usage, &z->child_usage);
}

/* The child's usage becomes ours only here, as Linux has it. */
static void reap(struct process *z, const struct news *e, struct list_head *unlinked)
{
	add_usage(&current->proc->child_usage, &e->usage);
	unlink_process(z, unlinked);
}

/* A child that has something to tell: 1, *e, and *z if it has ended; 0: not yet; -ECHILD: there is none that
 * could. */
static int find_news(int pid, unsigned flags, struct news *e, struct process **z)
{
	struct process *c;
	int r = -ECHILD;

	assert_held(&tasks_lock);
	*z = NULL;
	list_for_each_entry(c, &current->proc->children, sibling) {
		if (!wanted(c, pid))
			continue;
		r = 0;
		if (c->zombie && flags & WEXITED) {
			end_news(c, e);
			*z = c;
			return 1;
		}
		if (!c->zombie && stop_news(c, flags, e))
			return 1;
	}
	return r;
}

/*
 * Looks for a child with news, and one that has ended is taken off the tree unless it is to stay: of several
 * threads that wait for one, one gets it. 1 and *e; 0: there is none yet; -ECHILD.
 */
static int claim_news(int pid, unsigned flags, struct news *e)
{
	LIST_HEAD(unlinked);
	struct process *z;
	irqflags_t irq;
	int r;

	spin_lock_irqsave(&tasks_lock, irq);
	r = find_news(pid, flags, e, &z);
	if (z && !(flags & WNOWAIT))
		reap(z, e, &unlinked);
	spin_unlock_irqrestore(&tasks_lock, irq);
	free_unlinked(&unlinked);
	return r;
}

/* 1 and *e, 0 with WNOHANG, or a negative errno. The child is reaped whatever becomes of what its
 * waiter is told, as on Linux, unless WNOWAIT leaves it. */
static int wait_child(int pid, unsigned flags, struct news *e)
{
	int r;

	if (wait_event(&current->proc->child_ended,
		       (r = claim_news(pid, flags, e)) || flags & WNOHANG, true, 0))
		return -ERESTARTSYS;
	if (r > 0 && !(flags & WNOWAIT))
		reap_ended_tasks();
	return r;
}

int wait_for_program(void)
{
	struct news e;

	do {
		if (wait_child(-1, WEXITED, &e) <= 0)
			return SIGKILL;
	} while (e.pid != FIRST_PROGRAM);
	return e.status;
}

/* Linux's struct rusage: two timevals, fourteen longs. */
static int put_rusage(uintptr_t dst, const struct usage *u)
{
	uint64_t r[18] = {u->utime_ns / NS_PER_SEC, u->utime_ns / NS_PER_US % US_PER_SEC,
			  u->stime_ns / NS_PER_SEC, u->stime_ns / NS_PER_US % US_PER_SEC};

	r[4] = u->maxrss * (PAGE_SIZE / 1024);
	r[8] = u->min_flt;
	r[9] = u->maj_flt;
	r[16] = u->nvcsw;
	r[17] = u->nivcsw;
	return hal_copy_to_user(dst, r, sizeof(r)) ? -EFAULT : 0;
}

SYSCALL4(wait4, int, pid, uintptr_t, status_dst, unsigned, flags, uintptr_t, rusage_dst)
{
	struct news e;
	int r;

	if (flags & ~WAIT_FLAGS)
		return -EINVAL;
	r = wait_child(pid, (flags & ~WNOWAIT) | WEXITED, &e);
	if (r <= 0)
		return r;
	if (status_dst && COPY_OUT(status_dst, e.status))
		return -EFAULT;
	if (rusage_dst && put_rusage(rusage_dst, &e.usage))
		return -EFAULT;
	return e.pid;
}

SYSCALL4(waitid, unsigned long, which, int, id, uintptr_t, info_dst, unsigned, flags)
{
	struct user_siginfo info = {0};
	struct news e;
	int r;

	if (which > P_PGID || !(flags & (WEXITED | WSTOPPED | WCONTINUED)) || (which == P_PID && id <= 0))
		return -EINVAL;
	r = wait_child(which == P_ALL ? -1 : which == P_PID ? id : -id, flags, &e);
	if (r < 0)
		return r;
	if (r) {
		info.signo = SIGCHLD;
		info.code = e.code;
		info.pid = e.pid;
		info.status = e.code == CLD_STOPPED ? e.status >> 8 : e.code == CLD_CONTINUED ? SIGCONT
					: status_value(e.status);
	}
	return info_dst && COPY_OUT(info_dst, info) ? -EFAULT : 0;
}

SYSCALL2(getrusage, int, who, uintptr_t, dst)
{
	struct usage u = {0};

	if (who == RUSAGE_SELF)
		get_usage(current->proc, &u, NULL);
	else if (who == RUSAGE_CHILDREN)
		get_usage(current->proc, NULL, &u);
	else if (who == RUSAGE_THREAD)
		u = current->usage;
	else
		return -EINVAL;
	return put_rusage(dst, &u);
}
