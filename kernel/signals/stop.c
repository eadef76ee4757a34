/* SPDX-License-Identifier: MIT */
/*
 * Stopping and going on: SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU stop all threads of a process, SIGCONT lets it go
 * on.
 *
 *	running --stop_by()--> [stopped: each thread waits in stop_while_told()] --SIGCONT, SIGKILL--> running
 *
 * A thread stops on its way to user mode, or where it sleeps in a call: nothing is held there, and the call
 * goes on as if nothing had been. Once all threads wait the parent is told, and may wait for it; so it is when
 * the process goes on. The terminal's signals do not stop a process whose group nobody of its session could
 * make go on.
 */
#include "kernel/kernel.h"

/* A process of the group has its parent in another group of the session. */
static bool is_orphaned(int pgid)
{
	struct process *p;

	assert_held(&tasks_lock);
	list_for_each_entry(p, &all_processes, all)
		if (p->pgid == pgid && !p->zombie && p->parent && p->parent->pgid != pgid &&
		    p->parent->sid == p->sid)
			return false;
	return true;
}

/* The parent learns that p has stopped or goes on. */
static void tell_parent(struct process *p, int code, int status)
{
	struct hal_siginfo si = {.signo = SIGCHLD, .code = code, .pid = p->pid, .status = status};
	struct process *parent = p->parent;
	const struct hal_sigaction *sa;

	assert_held(&tasks_lock);
	if (!parent || !parent->sighand)
		return;
	sa = &parent->sighand->action[SIGCHLD];
	if (sa->handler != SIG_IGN && !(sa->flags & SA_NOCLDSTOP))
		post_signal_process(parent, &si);
	wake_all(&parent->child_ended);
}

void stop_look(struct process *p)
{
	assert_held(&tasks_lock);
	if (!p->stopped || p->stop_waits || !p->nr_threads || p->nr_stopped != p->nr_threads)
		return;
	p->stop_waits = true;
	tell_parent(p, CLD_STOPPED, p->stop_signal);
}

void stop_ends(struct process *p, bool tell)
{
	assert_held(&tasks_lock);
	if (!p->stopped)
		return;
	WRITE_ONCE(p->stopped, false);
	p->stop_waits = false;
	wake_all(&p->continued);
	if (!tell)
		return;
	p->cont_waits = true;
	tell_parent(p, CLD_CONTINUED, SIGCONT);
}

void stop_while_told(void)
{
	struct process *p = current->proc;
	irqflags_t flags;

	while (unlikely(READ_ONCE(p->stopped)) && !READ_ONCE(p->group_exit)) {
		spin_lock_irqsave(&tasks_lock, flags);
		p->nr_stopped++;
		stop_look(p);
		spin_unlock_irqrestore(&tasks_lock, flags);
		wait_event(&p->continued, !READ_ONCE(p->stopped) || READ_ONCE(p->group_exit), false, 0);
		spin_lock_irqsave(&tasks_lock, flags);
		p->nr_stopped--;
		spin_unlock_irqrestore(&tasks_lock, flags);
	}
}

/* All threads are to stop, by the signal that the running one has taken. tasks_lock. */
static void begin_stop(int sig)
{
	struct process *p = current->proc;

	assert_held(&tasks_lock);
	if (p->group_exit || fatal_signal_pending(current) || (sig != SIGSTOP && is_orphaned(p->pgid)))
		return;
	p->stop_signal = sig;
	p->cont_waits = false;
	__atomic_store_n(&p->stopped, true, __ATOMIC_SEQ_CST); /* then those who sleep are looked at, as for a signal */
	signals_poke(p);
}

void stop_by(int sig)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	begin_stop(sig);
	spin_unlock_irqrestore(&tasks_lock, flags);
	stop_while_told();
}

/* The lowest signal that waits for the running task would stop it. tasks_lock. */
static bool next_would_stop(void)
{
	struct process *p = current->proc;
	uint64_t set = signals_deliverable(current);

	assert_held(&tasks_lock);
	if (!set || set & ~STOP_SIGNALS || current->sigwait)
		return false;
	for (; set; set &= set - 1)
		if (p->sighand->action[__builtin_ctzll(set) + 1].handler != SIG_DFL)
			return false;
	return true;
}

bool stop_in_call(void)
{
	struct hal_siginfo si;
	irqflags_t flags;
	bool stops;

	if (!current->proc || current->dying || current->proc->is_init)
		return false;
	spin_lock_irqsave(&tasks_lock, flags);
	stops = next_would_stop();
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (stops && signal_take(STOP_SIGNALS & ~current->sigmask, &si))
		stop_by(si.signo);
	else if (!signals_deliverable(current))
		stop_while_told();
	else
		return false;
	current->stops++;
	return !signal_pending(current);
}
