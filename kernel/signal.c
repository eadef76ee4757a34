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
	if (t->state == TASK_SLEEPING && t->interruptible && signal_pending(t))
		wake_task(t, -EINTR);
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
	if (t->restart) { /* nobody handled anything: as if the call had never been left */
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

	if (s->refs > 1) { /* shared with somebody who keeps his handlers */
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

SYSCALL(rt_sigaction)
{
	struct process *p = current->proc;
	struct hal_sigaction new, old;
	int sig = (int)a[0];
	struct task *t;

	if (a[3] != sizeof(uint64_t) || sig < 1 || sig > NSIG)
		return -EINVAL;
	if (a[1] && (sig == SIGKILL || sig == SIGSTOP))
		return -EINVAL;
	old = p->sighand->action[sig];
	if (a[1]) {
		if (abi_get_sigaction(a[1], &new))
			return -EFAULT;
		new.mask &= ~UNBLOCKABLE;
		p->sighand->action[sig] = new;
		if (ignored(p, sig)) { /* POSIX: what waits is thrown away */
			p->pending.set &= ~sigbit(sig);
			list_for_each_entry(t, &p->threads, thread)
				t->pending.set &= ~sigbit(sig);
		}
	}
	return a[2] ? abi_put_sigaction(a[2], &old) : 0;
}

SYSCALL(rt_sigprocmask)
{
	uint64_t old = current->sigmask, set;

	if (a[3] != sizeof(uint64_t))
		return -EINVAL;
	if (a[1]) {
		if (COPY_IN(set, a[1]))
			return -EFAULT;
		set &= ~UNBLOCKABLE;
		if (a[0] == 0)
			current->sigmask |= set;
		else if (a[0] == 1)
			current->sigmask &= ~set;
		else if (a[0] == 2)
			current->sigmask = set;
		else
			return -EINVAL;
	}
	return a[2] ? COPY_OUT(a[2], old) : 0;
}

SYSCALL(rt_sigreturn)
{
	struct task *t = current;
	struct hal_siginfo bad = {.signo = SIGSEGV, .code = SI_KERNEL};
	unsigned long mask, alt[3];

	(void)a;
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

SYSCALL(rt_sigpending)
{
	uint64_t set = (current->pending.set | current->proc->pending.set) & current->sigmask;

	return COPY_OUT(a[0], set);
}

SYSCALL(rt_sigsuspend)
{
	struct task *t = current;
	uint64_t set;

	if (a[1] != sizeof(set))
		return -EINVAL;
	if (COPY_IN(set, a[0]))
		return -EFAULT;
	t->saved_mask = t->sigmask;
	t->sigmask = set & ~UNBLOCKABLE;
	while (!signal_pending(t))
		sleep_on(&t->sigmask, 0, true, 0);
	t->restore_mask = true;
	return -EINTR;
}

SYSCALL(pause)
{
	(void)a;
	while (!signal_pending(current))
		sleep_on(&current->sigmask, 0, true, 0);
	return -EINTR;
}

SYSCALL(rt_sigtimedwait)
{
	struct task *t = current;
	uint64_t set, deadline = 0, ts[2];
	struct hal_siginfo si;
	int32_t info[32] = {0};

	if (COPY_IN(set, a[0]) || (a[2] && COPY_IN(ts, a[2])))
		return -EFAULT;
	if (a[2])
		deadline = hal_clock_ns() + ts[0] * 1000000000 + ts[1] + 1;
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
	info[0] = si.signo;
	info[1] = si.errno_;
	info[2] = si.code;
	info[4] = si.pid;
	info[5] = si.uid;
	info[6] = si.status;
	return a[1] && COPY_OUT(a[1], info) ? -EFAULT : si.signo;
}

SYSCALL(sigaltstack)
{
	struct task *t = current;
	struct {
		unsigned long sp;
		int flags, pad;
		unsigned long size;
	} ss, old = {t->altstack[0], (int)t->altstack[1], 0, t->altstack[2]};

	if (on_altstack(t, tf_sp(t->utf)))
		old.flags |= SS_ONSTACK;
	if (a[0]) {
		if (COPY_IN(ss, a[0]))
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
	return a[1] ? COPY_OUT(a[1], old) : 0;
}

SYSCALL(kill)
{
	int pid = (int)a[0], sig = (int)a[1], sent = 0;
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

SYSCALL(tkill)
{
	return signal_thread(0, (int)a[0], (int)a[1]);
}

SYSCALL(tgkill)
{
	return (int)a[0] <= 0 ? -EINVAL : signal_thread((int)a[0], (int)a[1], (int)a[2]);
}

/* ---- the alarm clock ------------------------------------------------------------------------- */

#define NS 1000000000ull

/* A late tick does not make up for missed ones. */
void alarms_tick(uint64_t now)
{
	struct hal_siginfo si = {.signo = SIGALRM, .code = SI_KERNEL};
	struct process *p;

	list_for_each_entry(p, &all_processes, all) {
		if (!p->alarm_at || now < p->alarm_at || p->zombie)
			continue;
		p->alarm_at = p->alarm_period ? now + p->alarm_period : 0;
		send_signal_process(p, &si);
	}
}

/* At least a microsecond while the timer is set: 0 would say that it is not. */
static uint64_t alarm_left(const struct process *p)
{
	uint64_t now = hal_clock_ns();

	return !p->alarm_at ? 0 : p->alarm_at > now ? p->alarm_at - now : 1000;
}

/* struct itimerval: the period, then what is left; each seconds and microseconds. */
static int put_timer(uintptr_t dst, uint64_t period, uint64_t left)
{
	uint64_t t[4] = {period / NS, period % NS / 1000, left / NS, left % NS / 1000};

	return dst ? COPY_OUT(dst, t) : 0;
}

SYSCALL(getitimer)
{
	struct process *p = current->proc;

	if (a[0] > 2)
		return -EINVAL;
	return a[0] ? put_timer(a[1], 0, 0) : put_timer(a[1], p->alarm_period, alarm_left(p));
}

/* ITIMER_REAL only: there is no clock of a process's own time that could ring. */
SYSCALL(setitimer)
{
	struct process *p = current->proc;
	uint64_t t[4] = {0}, period = p->alarm_period, left = alarm_left(p);

	if (a[0])
		return -EINVAL;
	if (a[1] && COPY_IN(t, a[1]))
		return -EFAULT;
	if (t[1] >= 1000000 || t[3] >= 1000000 || t[0] >> 32 || t[2] >> 32)
		return -EINVAL;
	p->alarm_period = t[0] * NS + t[1] * 1000;
	p->alarm_at = t[2] || t[3] ? hal_clock_ns() + t[2] * NS + t[3] * 1000 : 0;
	return put_timer(a[2], period, left);
}

SYSCALL(alarm)
{
	struct process *p = current->proc;
	uint64_t left = alarm_left(p);

	p->alarm_period = 0;
	p->alarm_at = a[0] ? hal_clock_ns() + (a[0] & 0xffffffff) * NS : 0;
	return (long)((left + NS - 1) / NS);
}
