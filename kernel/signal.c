/* SPDX-License-Identifier: MIT */
/*
 * Signals: sending, blocking, default actions, handlers. One of each number waits at a time, with
 * the siginfo of the first. There is no terminal and no job control: signals that would stop a
 * process are taken and do nothing. Frames on the user's stack are the machine's business.
 */
#include "kernel.h"

#define UNBLOCKABLE (sigbit(SIGKILL) | sigbit(SIGSTOP))

static bool default_ignores(int sig)
{
	return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH ||
	       sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* Would its delivery do nothing at all? */
static bool ignored(struct process *p, int sig)
{
	unsigned long h = p->sighand->action[sig].handler;

	return h == SIG_IGN || (h == SIG_DFL && default_ignores(sig));
}

/* The first one's siginfo stays, as with Linux's standard signals. */
static void enqueue(struct sigpending *q, const struct hal_siginfo *si)
{
	if (q->set & sigbit(si->signo))
		return;
	q->set |= sigbit(si->signo);
	q->info[si->signo] = *si;
}

static uint64_t deliverable(struct task *t)
{
	return (t->pending.set | (t->proc ? t->proc->pending.set : 0)) & ~t->sigmask;
}

bool signal_pending(struct task *t)
{
	return t->proc && !t->dying && deliverable(t);
}

/* SIGKILL alone: other deadly signals may have been caught by the time they are taken. */
bool fatal_signal_pending(struct task *t)
{
	return !t->dying && ((t->pending.set | t->proc->pending.set) & sigbit(SIGKILL));
}

/* Ends an interruptible sleep, so that the signal is seen on the way out. */
static void poke(struct task *t)
{
	if (signal_pending(t))
		interrupt_task(t);
}

void send_signal_task(struct task *t, const struct hal_siginfo *si)
{
	if (!t->proc || t->dying)
		return;
	if (ignored(t->proc, si->signo) && !(t->sigmask & sigbit(si->signo)))
		return;
	enqueue(&t->pending, si);
	poke(t);
}

void send_signal_process(struct process *p, const struct hal_siginfo *si)
{
	struct task *t;

	if (p->zombie || !p->sighand)
		return;
	/* A blocked signal waits even if it is ignored: its action may change before. */
	list_for_each_entry(t, &p->threads, thread)
		if (!ignored(p, si->signo) || t->sigmask & sigbit(si->signo))
			goto send;
	return;
send:
	enqueue(&p->pending, si);
	list_for_each_entry(t, &p->threads, thread)
		poke(t);
}

void force_signal(const struct hal_siginfo *si)
{
	struct task *t = current;
	struct hal_sigaction *sa = &t->proc->sighand->action[si->signo];

	if (t->sigmask & sigbit(si->signo) || sa->handler == SIG_IGN) {
		*sa = (struct hal_sigaction){.handler = SIG_DFL};
		t->sigmask &= ~sigbit(si->signo);
	}
	t->pending.set &= ~sigbit(si->signo); /* what the processor says now is newer */
	enqueue(&t->pending, si);
}

/* ---- delivery -------------------------------------------------------------------------------- */

/* Takes the next signal: those that the program itself caused first, then by number. */
static bool dequeue(struct task *t, uint64_t mask, struct hal_siginfo *si)
{
	const uint64_t synchronous = sigbit(SIGSEGV) | sigbit(SIGBUS) | sigbit(SIGILL) |
				     sigbit(SIGTRAP) | sigbit(SIGFPE) | sigbit(SIGSYS);
	struct sigpending *q = &t->pending;
	uint64_t set = q->set & ~mask;
	int sig;

	if (!set) {
		q = &t->proc->pending;
		set = q->set & ~mask;
	}
	if ((t->pending.set | t->proc->pending.set) & sigbit(SIGKILL)) {
		*si = (struct hal_siginfo){.signo = SIGKILL};
		return true;
	}
	if (!set)
		return false;
	if (set & synchronous)
		set &= synchronous;
	sig = __builtin_ctzll(set) + 1;
	*si = q->info[sig];
	q->set &= ~sigbit(sig);
	return true;
}

/* sp grows down: the stack's end belongs to it, its start does not. */
static bool on_altstack(const struct task *t, unsigned long sp)
{
	return !(t->altstack[1] & SS_DISABLE) && sp > t->altstack[0] &&
	       sp - t->altstack[0] <= t->altstack[2];
}

/* Where the frame goes: an alternate stack is entered once, then used on. */
static unsigned long frame_sp(const struct task *t, const struct trap_frame *tf,
			      const struct hal_sigaction *sa)
{
	unsigned long sp = tf_sp(tf);

	if (sa->flags & SA_ONSTACK && !(t->altstack[1] & SS_DISABLE) && !on_altstack(t, sp))
		return t->altstack[0] + t->altstack[2];
	return sp;
}

_Noreturn static void die_of(const struct hal_siginfo *si, const struct trap_frame *tf)
{
	if (si->signo != SIGKILL && (options.verbose || current->proc->is_init))
		klog("%s[%d]: killed by signal %d, code %d, address 0x%lx, ip 0x%lx sp 0x%lx",
		     current->proc->comm, current->proc->pid, si->signo, si->code, si->addr,
		     tf_ip(tf), tf_sp(tf));
	exit_group(si->signo);
}

/* The frame saves FP state, so that state must be in memory first. */
static void run_handler(struct trap_frame *tf, const struct hal_siginfo *si)
{
	struct task *t = current;
	struct hal_sigaction *act = &t->proc->sighand->action[si->signo], sa = *act;
	uint64_t oldmask = t->restore_mask ? t->saved_mask : t->sigmask;

	if (t->restart) {
		t->restart = false;
		if (sa.flags & SA_RESTART)
			tf_syscall_restart(tf);
		else
			tf_set_syscall_ret(tf, -EINTR);
	}
	if (!sa.restorer)
		sa.restorer = t->proc->vdso;
	hal_fpu_save(&t->fpu);
	if (hal_sigframe_push(tf, &t->fpu, &sa, si, oldmask, frame_sp(t, tf, &sa), t->altstack,
			      t->fault_code)) {
		struct hal_siginfo bad = {.signo = SIGSEGV, .code = SI_KERNEL};

		/* No room for the frame: a SIGSEGV of its own, and if that was one, the end. */
		if (si->signo == SIGSEGV)
			*act = (struct hal_sigaction){.handler = SIG_DFL};
		force_signal(&bad);
		return;
	}
	hal_fpu_restore(&t->fpu);
	t->restore_mask = false;
	t->sigmask |= sa.mask;
	if (!(sa.flags & SA_NODEFER))
		t->sigmask |= sigbit(si->signo);
	t->sigmask &= ~UNBLOCKABLE;
	if (sa.flags & SA_RESETHAND)
		act->handler = SIG_DFL;
}

/* Every pending signal gets its frame, the last one pushed runs first, as on Linux. */
void deliver_signals(struct trap_frame *tf)
{
	struct task *t = current;
	struct hal_siginfo si;

	while (signal_pending(t) && dequeue(t, t->sigmask, &si)) {
		unsigned long h = t->proc->sighand->action[si.signo].handler;

		if (h > SIG_IGN && si.signo != SIGKILL) {
			run_handler(tf, &si);
			continue;
		}
		if (si.signo != SIGKILL && ignored(t->proc, si.signo))
			continue;
		if (t->proc->group_exit)
			exit_task(t->proc->exit_status);
		die_of(&si, tf);
	}
	if (t->restart) { /* no handler ran: as if the call had never been left */
		t->restart = false;
		tf_syscall_restart(tf);
	}
	if (t->restore_mask) {
		t->restore_mask = false;
		t->sigmask = t->saved_mask;
	}
}

/* Ignored signals stay ignored. */
void signals_exec(struct process *p)
{
	struct sighand *s = p->sighand;

	if (s->refs > 1) { /* shared with a process that keeps its handlers */
		struct sighand *n = quire_kmalloc(sizeof(*n), 0);

		if (n) {
			*n = *s;
			n->refs = 1;
			s->refs--;
			p->sighand = s = n;
		}
	}
	for (int i = 1; i <= NSIG; i++)
		if (s->action[i].handler != SIG_IGN)
			s->action[i] = (struct hal_sigaction){.handler = SIG_DFL};
}

/* ---- system calls ---------------------------------------------------------------------------- */

SYSCALL4(rt_sigaction, int, sig, uintptr_t, new_src, uintptr_t, old_dst, size_t, set_size)
{
	struct process *p = current->proc;
	struct hal_sigaction new, old;
	struct task *t;

	if (set_size != sizeof(uint64_t) || sig < 1 || sig > NSIG)
		return -EINVAL;
	if (new_src && (sig == SIGKILL || sig == SIGSTOP))
		return -EINVAL;
	old = p->sighand->action[sig];
	if (new_src) {
		if (abi_get_sigaction(new_src, &new))
			return -EFAULT;
		new.mask &= ~UNBLOCKABLE;
		p->sighand->action[sig] = new;
		if (ignored(p, sig)) { /* POSIX: what waits is thrown away */
			p->pending.set &= ~sigbit(sig);
			list_for_each_entry(t, &p->threads, thread)
				t->pending.set &= ~sigbit(sig);
		}
	}
	return old_dst ? abi_put_sigaction(old_dst, &old) : 0;
}

SYSCALL4(rt_sigprocmask, unsigned long, how, uintptr_t, set_src, uintptr_t, old_dst,
	 size_t, set_size)
{
	uint64_t old = current->sigmask, set;

	if (set_size != sizeof(uint64_t))
		return -EINVAL;
	if (set_src) {
		if (COPY_IN(set, set_src))
			return -EFAULT;
		set &= ~UNBLOCKABLE;
		if (how == SIG_BLOCK)
			current->sigmask |= set;
		else if (how == SIG_UNBLOCK)
			current->sigmask &= ~set;
		else if (how == SIG_SETMASK)
			current->sigmask = set;
		else
			return -EINVAL;
	}
	return old_dst ? COPY_OUT(old_dst, old) : 0;
}

SYSCALL0(rt_sigreturn)
{
	struct task *t = current;
	struct hal_siginfo bad = {.signo = SIGSEGV, .code = SI_KERNEL};
	unsigned long mask, alt[3];

	memcpy(alt, t->altstack, sizeof(alt));
	if (hal_sigframe_pop(t->utf, &t->fpu, &mask, alt)) {
		force_signal(&bad);
		return 0;
	}
	hal_fpu_restore(&t->fpu);
	t->sigmask = mask & ~UNBLOCKABLE;
	memcpy(t->altstack, alt, sizeof(alt));
	t->restart = false;
	return 0; /* the dispatcher leaves the registers alone */
}

SYSCALL1(rt_sigpending, uintptr_t, dst)
{
	uint64_t set = (current->pending.set | current->proc->pending.set) & current->sigmask;

	return COPY_OUT(dst, set);
}

SYSCALL2(rt_sigsuspend, uintptr_t, set_src, size_t, set_size)
{
	struct task *t = current;
	uint64_t set;

	if (set_size != sizeof(set))
		return -EINVAL;
	if (COPY_IN(set, set_src))
		return -EFAULT;
	t->saved_mask = t->sigmask;
	t->sigmask = set & ~UNBLOCKABLE;
	while (!signal_pending(t))
		sleep_on(&t->sigmask, 0, true, 0);
	t->restore_mask = true;
	return -EINTR;
}

SYSCALL0(pause)
{
	while (!signal_pending(current))
		sleep_on(&current->sigmask, 0, true, 0);
	return -EINTR;
}

SYSCALL3(rt_sigtimedwait, uintptr_t, set_src, uintptr_t, info_dst, uintptr_t, timeout)
{
	struct task *t = current;
	uint64_t set, deadline = 0, ts[2];
	struct hal_siginfo si;
	struct user_siginfo info = {0};

	if (COPY_IN(set, set_src) || (timeout && COPY_IN(ts, timeout)))
		return -EFAULT;
	if (timeout)
		deadline = hal_clock_ns() + ts[0] * NS_PER_SEC + ts[1] + 1;
	while (!((t->pending.set | t->proc->pending.set) & set)) {
		uint64_t mask = t->sigmask;
		int r;

		t->sigmask &= ~set;
		r = sleep_on(&t->sigmask, 0, true, deadline);
		t->sigmask = mask;
		if ((t->pending.set | t->proc->pending.set) & set)
			break;
		if (r)
			return r == -ETIMEDOUT ? -EAGAIN : -EINTR;
	}
	if (!dequeue(t, ~set, &si))
		return -EINTR;
	info.signo = si.signo;
	info.errno_ = si.errno_;
	info.code = si.code;
	info.pid = si.pid;
	info.uid = si.uid;
	info.status = si.status;
	return info_dst && COPY_OUT(info_dst, info) ? -EFAULT : si.signo;
}

SYSCALL2(sigaltstack, uintptr_t, new_src, uintptr_t, old_dst)
{
	struct task *t = current;
	struct {
		unsigned long sp;
		int flags, pad;
		unsigned long size;
	} ss, old = {t->altstack[0], (int)t->altstack[1], 0, t->altstack[2]};

	if (on_altstack(t, tf_sp(t->utf)))
		old.flags |= SS_ONSTACK;
	if (new_src) {
		if (COPY_IN(ss, new_src))
			return -EFAULT;
		if (on_altstack(t, tf_sp(t->utf)))
			return -EPERM;
		if ((unsigned)ss.flags & ~(SS_DISABLE | SS_ONSTACK))
			return -EINVAL;
		if (!(ss.flags & (int)SS_DISABLE) && ss.size < MINSIGSTKSZ)
			return -ENOMEM;
		if (ss.flags & (int)SS_DISABLE)
			ss.sp = ss.size = 0;
		t->altstack[0] = ss.sp;
		t->altstack[1] = (unsigned long)ss.flags & SS_DISABLE;
		t->altstack[2] = ss.size;
	}
	return old_dst ? COPY_OUT(old_dst, old) : 0;
}

SYSCALL2(kill, int, pid, int, sig)
{
	int sent = 0;
	struct hal_siginfo si = {.signo = sig, .code = SI_USER, .pid = current->proc->pid};
	struct process *p;

	if (sig < 0 || sig > NSIG)
		return -EINVAL;
	list_for_each_entry(p, &all_processes, all) {
		if (pid > 0 ? p->pid != pid
			    : pid == -1 ? p == current->proc || p->is_init
					: p->pgid != (pid ? -pid : current->proc->pgid))
			continue;
		sent++;
		if (sig)
			send_signal_process(p, &si);
	}
	return sent ? 0 : -ESRCH;
}

static long signal_thread(int tgid, int tid, int sig)
{
	struct hal_siginfo si = {.signo = sig, .code = SI_TKILL, .pid = current->proc->pid};
	struct task *t = task_by_tid(tid);

	if (sig < 0 || sig > NSIG || tid <= 0)
		return -EINVAL;
	if (!t || !t->proc || (tgid && t->proc->pid != tgid))
		return -ESRCH;
	if (sig)
		send_signal_task(t, &si);
	return 0;
}

SYSCALL2(tkill, int, tid, int, sig)
{
	return signal_thread(0, tid, sig);
}

SYSCALL3(tgkill, int, tgid, int, tid, int, sig)
{
	return tgid <= 0 ? -EINVAL : signal_thread(tgid, tid, sig);
}
