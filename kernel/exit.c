/* SPDX-License-Identifier: MIT */
/*
 * exit, exit_group, wait4, waitid: the end of a process, and waiting for it. A process stays as a
 * zombie, without space and files, until its parent has asked for its status; orphans go to the
 * first process, whose own end is the machine's.
 */
#include "kernel.h"

#include <quire/trace.h>

#define WAIT_FLAGS (0xfu | __WALL | __WNOTHREAD | __WCLONE) /* what wait4 takes */

#define BY_SIGNAL 128 /* plus its number: the machine's end, as a shell would tell it */

enum { P_ALL, P_PID, P_PGID }; /* waitid: which children */

static void release_vfork_waiter(struct process *p)
{
	if (p->vfork_waiter) {
		p->vfork_waiter = NULL;
		wake_up(&p->vfork_waiter, 0, ~0u);
	}
}

void process_exec_done(struct process *p)
{
	release_vfork_waiter(p);
}

/* No pointer leads to it any more. */
static void free_zombie(struct process *p)
{
	list_del(&p->all);
	list_del(&p->sibling);
	quire_kfree(p);
}

/* May free p: a parent that ignores SIGCHLD wants no zombies. */
static void notify_parent(struct process *p)
{
	struct hal_siginfo si = {.signo = p->exit_signal, .pid = p->pid,
				 .code = status_signal(p->exit_status) ? CLD_KILLED : CLD_EXITED,
				 .status = status_value(p->exit_status)};
	struct process *parent = p->parent;
	const struct hal_sigaction *sa = &parent->sighand->action[SIGCHLD];

	if (p->exit_signal)
		send_signal_process(parent, &si);
	wake_up(parent, 0, ~0u);
	/* Who ignores SIGCHLD, or says SA_NOCLDWAIT, gets no zombies. */
	if (p->exit_signal == SIGCHLD && (sa->handler == SIG_IGN || sa->flags & SA_NOCLDWAIT)) {
		p->zombie = false;
		free_zombie(p);
	}
}

static void reparent_children(struct process *p)
{
	struct process *c, *next;

	list_for_each_entry_safe(c, next, &p->children, sibling) {
		list_del(&c->sibling);
		if (init_process && init_process != p) {
			process_adopt(c, init_process);
			if (c->zombie)
				wake_up(init_process, 0, ~0u);
			continue;
		}
		/* The first process ends: all others end too, and none is waited for. */
		INIT_LIST_HEAD(&c->sibling);
		c->parent = NULL;
		if (c->zombie)
			free_zombie(c);
	}
}

/* The first process is gone: no other stays, and no zombie either. */
static void kill_everybody(void)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct process *p, *next;

	list_for_each_entry_safe(p, next, &all_processes, all) {
		if (p->zombie && !p->parent)
			free_zombie(p);
		else if (p != current->proc)
			send_signal_process(p, &si);
	}
}

/* The space is put off the CPU before it is torn down: its tables go with it. */
static void exit_mm(struct process *p)
{
	struct quire_mm *mm = p->mm;

	if (!mm)
		return;
	if (options.dump_tables)
		dump_tables(mm, (uint64_t)p->pid);
	p->mm = NULL;
	use_mm(NULL);
	quire_mm_put(mm);
}

/* The last thread left. Order as on Linux: space, files, then the family. */
static void exit_process(struct process *p)
{
	exit_mm(p);
	release_vfork_waiter(p);
	files_put(p->fds);
	p->fds = NULL;
	fs_put(p->fs);
	p->fs = NULL;
	if (p->is_init) {
		init_process = NULL;
		request_shutdown(status_value(p->exit_status) +
				 (status_signal(p->exit_status) ? BY_SIGNAL : 0));
		kill_everybody();
	}
	reparent_children(p);
	put_sighand(p->sighand);
	p->sighand = NULL;
	p->zombie = true;
	if (p->parent)
		notify_parent(p);
	else
		free_zombie(p);
}

static void add_usage(struct usage *to, const struct usage *u)
{
	to->min_flt += u->min_flt;
	to->maj_flt += u->maj_flt;
	to->utime_ns += u->utime_ns;
	to->stime_ns += u->stime_ns;
}

/* Only ever at a point where nothing is held: the way back to user mode, or a call's end. */
_Noreturn void exit_task(int status)
{
	struct task *t = current;
	struct process *p = t->proc;
	int zero = 0;

	t->dying = true;
	if (!p->group_exit)
		p->exit_status = status;
	quire_trace_words(QUIRE_TR_EXIT, &(uint64_t){(uint64_t)(unsigned)p->exit_status}, 1);
	if (p->mm)
		exit_robust_list(t);
	/* As Linux: clear_child_tid is only written if others still use the space. */
	if (t->clear_child_tid && p->mm && p->nr_threads > 1) {
		hal_copy_to_user(t->clear_child_tid, &zero, sizeof(zero));
		futex_wake_address(t->clear_child_tid);
	}
	list_del(&t->thread);
	p->nr_threads--;
	add_usage(&p->usage, &t->usage);
	if (!p->nr_threads)
		exit_process(p);
	t->proc = NULL;
	t->user = false;
	task_end();
}

_Noreturn void exit_group(int status)
{
	struct process *p = current->proc;
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct task *t;

	if (!p->group_exit) {
		p->group_exit = true;
		p->exit_status = status;
		list_for_each_entry(t, &p->threads, thread)
			if (t != current)
				send_signal_task(t, &si);
	}
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

	*u = p->usage;
	list_for_each_entry(t, &p->threads, thread)
		add_usage(u, &t->usage);
}

/* A zombie child that fits: 1 and *out. 0: there are children, none has ended. -ECHILD. */
static int find_zombie(int pid, struct process **out)
{
	struct process *c;
	bool any = false;

	list_for_each_entry(c, &current->proc->children, sibling) {
		if (!wanted(c, pid))
			continue;
		any = true;
		if (c->zombie) {
			*out = c;
			return 1;
		}
	}
	return any ? 0 : -ECHILD;
}

/* 1 and *out, 0 with WNOHANG, or a negative errno. */
static int wait_zombie(int pid, unsigned flags, struct process **out)
{
	for (;;) {
		int r = find_zombie(pid, out);

		if (r || flags & WNOHANG)
			return r;
		if (sleep_on(current->proc, 0, true, 0) == -EINTR)
			return -ERESTARTSYS;
	}
}

/* Linux's struct rusage: two timevals, fourteen longs. */
static int put_rusage(uintptr_t dst, const struct usage *u)
{
	uint64_t r[18] = {u->utime_ns / NS_PER_SEC, u->utime_ns / NS_PER_US % US_PER_SEC,
			  u->stime_ns / NS_PER_SEC, u->stime_ns / NS_PER_US % US_PER_SEC};

	r[8] = u->min_flt;
	r[9] = u->maj_flt;
	return hal_copy_to_user(dst, r, sizeof(r)) ? -EFAULT : 0;
}

/* The child's usage becomes ours only here, as Linux has it. */
static void reap(struct process *z)
{
	struct process *me = current->proc;
	struct usage u;

	usage_of(z, &u);
	add_usage(&me->child_usage, &u);
	add_usage(&me->child_usage, &z->child_usage);
	free_zombie(z);
	reap_tasks();
}

SYSCALL4(wait4, int, pid, uintptr_t, status_dst, unsigned, flags, uintptr_t, rusage_dst)
{
	struct process *z;
	struct usage u;
	int reaped, r;

	if (flags & ~WAIT_FLAGS)
		return -EINVAL;
	r = wait_zombie(pid, flags, &z);
	if (r <= 0)
		return r;
	reaped = z->pid;
	if (status_dst && COPY_OUT(status_dst, z->exit_status))
		return -EFAULT;
	usage_of(z, &u);
	add_usage(&u, &z->child_usage);
	if (rusage_dst && put_rusage(rusage_dst, &u))
		return -EFAULT;
	reap(z);
	return reaped;
}

SYSCALL4(waitid, unsigned long, which, int, id, uintptr_t, info_dst, unsigned, flags)
{
	struct user_siginfo info = {0};
	struct process *z;
	int r;

	if (which > P_PGID || !(flags & WEXITED))
		return -EINVAL;
	r = wait_zombie(which == P_ALL ? -1 : which == P_PID ? id : -id, flags, &z);
	if (r < 0)
		return r;
	if (r) {
		info.signo = SIGCHLD;
		info.code = status_signal(z->exit_status) ? CLD_KILLED : CLD_EXITED;
		info.pid = z->pid;
		info.status = status_value(z->exit_status);
	}
	if (info_dst && COPY_OUT(info_dst, info))
		return -EFAULT;
	if (r && !(flags & WNOWAIT))
		reap(z);
	return 0;
}

SYSCALL2(getrusage, int, who, uintptr_t, dst)
{
	struct usage u = {0};

	if (who == RUSAGE_SELF)
		usage_of(current->proc, &u);
	else if (who == RUSAGE_CHILDREN)
		u = current->proc->child_usage;
	else if (who == RUSAGE_THREAD)
		u = current->usage;
	else
		return -EINVAL;
	return put_rusage(dst, &u);
}
