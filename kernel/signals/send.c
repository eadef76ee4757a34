/* SPDX-License-Identifier: MIT */
/*
 * The calls that send signals: kill, tkill, tgkill, and those that give a value with it. A real-time signal
 * waits in a queue, one for each call, up to RLIMIT_SIGPENDING.
 */
#include "kernel/kernel.h"

/* ---- queued ones ----------------------------------------------------------------------------- */

static unsigned queued; /* atomic: of all processes, for there is one user */

/* NULL: the user has sent too many that wait, or there is no memory. */
static struct sigqueue *sigqueue_new(const struct hal_siginfo *si)
{
	struct sigqueue *q = NULL;

	if (atomic_add_of(&queued, 1) <= rlimit_cur(current->proc, RLIMIT_SIGPENDING))
		q = quire_kmalloc(sizeof(*q), QUIRE_GFP_ZERO);
	if (q)
		q->info = *si;
	else
		atomic_sub_of(&queued, 1);
	return q;
}

void sigqueue_free(struct sigqueue *q)
{
	atomic_sub_of(&queued, 1);
	quire_kfree(q);
}

/* To a process, or with tgid, -1: any, to a thread. 0 or an errno. */
static long send_queued(int tgid, int id, const struct hal_siginfo *si)
{
	struct sigqueue *q = si->signo ? sigqueue_new(si) : NULL;
	struct process *p = NULL;
	struct task *t = NULL;
	bool taken = false;
	irqflags_t flags;

	if (si->signo && !q)
		return -EAGAIN;
	spin_lock_irqsave(&tasks_lock, flags);
	if (!tgid) {
		p = find_process(id);
		taken = p && q && post_queued_process(p, q);
	} else {
		t = find_task(id);
		if (t && tgid > 0 && t->proc->pid != tgid)
			t = NULL;
		taken = t && q && post_queued_task(t, q);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (q && !taken)
		sigqueue_free(q);
	return p || t ? 0 : -ESRCH;
}

/* The siginfo that a program makes up; it cannot look like the kernel's, or kill()'s, to others. */
static long get_siginfo(uintptr_t src, int sig, bool own, struct hal_siginfo *si)
{
	struct user_siginfo u;

	if (COPY_IN(u, src))
		return -EFAULT;
	if ((u.code >= 0 || u.code == SI_TKILL) && !own)
		return -EPERM;
	if (sig < 0 || sig > NSIG)
		return -EINVAL;
	*si = (struct hal_siginfo){.signo = sig, .errno_ = u.errno_, .code = u.code, .pid = u.pid, .uid = u.uid,
				   .value = u.value, .status = u.status};
	return 0;
}

SYSCALL3(rt_sigqueueinfo, int, pid, int, sig, uintptr_t, src)
{
	struct hal_siginfo si;
	long r = get_siginfo(src, sig, pid == current->proc->pid, &si);

	return r ? r : send_queued(0, pid, &si);
}

long signal_by_pidfd(struct process *p, int sig, uintptr_t src)
{
	struct hal_siginfo si = {.signo = sig, .code = SI_USER, .pid = current->proc->pid};
	int signo;
	long r = 0;

	if (src) {
		r = get_siginfo(src, sig, p == current->proc, &si);
		if (!r && COPY_IN(signo, src))
			r = -EFAULT;
		if (!r && signo != sig) /* it says another one */
			r = -EINVAL;
	} else if (sig < 0 || sig > NSIG) {
		r = -EINVAL;
	}
	return r ? r : send_queued(0, p->pid, &si);
}

SYSCALL4(rt_tgsigqueueinfo, int, tgid, int, tid, int, sig, uintptr_t, src)
{
	struct hal_siginfo si;
	long r;

	if (tgid <= 0 || tid <= 0)
		return -EINVAL;
	r = get_siginfo(src, sig, tgid == current->proc->pid, &si);
	return r ? r : send_queued(tgid, tid, &si);
}

/* ---- kill ------------------------------------------------------------------------------------ */

/* kill's meaning of pid: one, my group, all others, that group. */
static bool meant(const struct process *p, int pid)
{
	if (pid > 0)
		return p->pid == pid;
	if (pid == -1)
		return p != current->proc && !p->is_init;
	return p->pgid == (pid ? -pid : current->proc->pgid);
}

/* The lock is let go after so many, and whom this round has met is passed over then. Who is born
 * meanwhile is met too: the last look finds nobody. */
#define KILL_BATCH 16

static DEFINE_MUTEX(kill_mutex); /* one broadcast at a time */
static uint32_t kill_round;

/* How many of those not met yet it was sent to; 0: there are no more. tasks_lock. */
static unsigned kill_batch(int pid, const struct hal_siginfo *si)
{
	struct process *p;
	unsigned n = 0;

	list_for_each_entry(p, &all_processes, all) {
		if (p->kill_round == kill_round || !meant(p, pid))
			continue;
		p->kill_round = kill_round;
		if (si->signo)
			post_signal_process(p, si);
		if (++n == KILL_BATCH)
			break;
	}
	return n;
}

SYSCALL2(kill, int, pid, int, sig)
{
	struct hal_siginfo si = {.signo = sig, .code = SI_USER, .pid = current->proc->pid};
	bool sent = false;
	irqflags_t flags;
	unsigned n;

	if (sig < 0 || sig > NSIG)
		return -EINVAL;
	if (pid > 0 && sig >= FIRST_RT)
		return send_queued(0, pid, &si);
	mutex_lock(&kill_mutex);
	kill_round++;
	do {
		spin_lock_irqsave(&tasks_lock, flags);
		n = kill_batch(pid, &si);
		spin_unlock_irqrestore(&tasks_lock, flags);
		sent |= n > 0;
	} while (n == KILL_BATCH);
	mutex_unlock(&kill_mutex);
	return sent ? 0 : -ESRCH;
}

static long signal_thread(int tgid, int tid, int sig)
{
	struct hal_siginfo si = {.signo = sig, .code = SI_TKILL, .pid = current->proc->pid};
	irqflags_t flags;
	struct task *t;

	if (sig < 0 || sig > NSIG || tid <= 0)
		return -EINVAL;
	if (sig >= FIRST_RT)
		return send_queued(tgid ? tgid : -1, tid, &si);
	spin_lock_irqsave(&tasks_lock, flags);
	t = find_task(tid);
	if (t && tgid && t->proc->pid != tgid)
		t = NULL;
	if (t && sig)
		post_signal_task(t, &si);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return t ? 0 : -ESRCH;
}

SYSCALL2(tkill, int, tid, int, sig)
{
	return signal_thread(0, tid, sig);
}

SYSCALL3(tgkill, int, tgid, int, tid, int, sig)
{
	return tgid <= 0 ? -EINVAL : signal_thread(tgid, tid, sig);
}
