/* SPDX-License-Identifier: MIT */
/*
 * Signals: sending, blocking, default actions, handlers. One of each number waits at a time, with
 * the siginfo of the first; of real-time signals that programs and their timers send, each. Frames on the
 * user's stack are the machine's business; what stops a process, signals/stop.c's.
 *
 * tasks_lock covers what waits, the masks and the handlers. A signal is taken under it together with
 * a copy of its action; the frame is built after, for that may fault and sleep.
 */
#include "cpus.h"
#include "kernel.h"

#define UNBLOCKABLE (sigbit(SIGKILL) | sigbit(SIGSTOP))

static bool default_ignores(int sig)
{
	return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
}

/* Would its delivery do nothing at all? */
static bool ignored(const struct process *p, int sig)
{
	unsigned long h = p->sighand->action[sig].handler;

	assert_held(&tasks_lock);
	return h == SIG_IGN || (h == SIG_DFL && default_ignores(sig));
}

/* The first one's siginfo stays, as with Linux's standard signals. */
static void enqueue(struct sigpending *q, const struct hal_siginfo *si)
{
	if (q->set & sigbit(si->signo))
		return;
	q->kept |= sigbit(si->signo);
	q->info[si->signo] = *si;
	/* then the senders look whether the task sleeps, and who is about to sleep looks here: wait.c */
	__atomic_store_n(&q->set, q->set | sigbit(si->signo), __ATOMIC_SEQ_CST);
}

static void enqueue_another(struct sigpending *p, struct sigqueue *q)
{
	assert_held(&tasks_lock);
	q->next = NULL;
	q->queued = true;
	if (p->queue)
		*p->end = q;
	else
		p->queue = q;
	p->end = &q->next;
	__atomic_store_n(&p->set, p->set | sigbit(q->info.signo), __ATOMIC_SEQ_CST);
}

/* Takes the first of that number out of the queue; NULL: there is none. */
static struct sigqueue *unqueue(struct sigpending *p, int sig)
{
	struct sigqueue **at = &p->queue, *q;

	while (*at && (*at)->info.signo != sig)
		at = &(*at)->next;
	q = *at;
	if (!q)
		return NULL;
	*at = q->next;
	if (!q->next)
		p->end = at;
	q->queued = false;
	return q;
}

/* Taken or discarded, in any context: freed by the next task that may. tasks_lock. */
static struct sigqueue *done;

/* The timer keeps its own. */
static void queue_done(struct sigqueue *q)
{
	assert_held(&tasks_lock);
	if (q->timer)
		return;
	q->next = done;
	WRITE_ONCE(done, q);
}

static void free_done(void)
{
	struct sigqueue *q, *list;
	irqflags_t flags;

	if (likely(!READ_ONCE(done)))
		return;
	spin_lock_irqsave(&tasks_lock, flags);
	list = done;
	WRITE_ONCE(done, NULL);
	spin_unlock_irqrestore(&tasks_lock, flags);
	while ((q = list)) {
		list = q->next;
		sigqueue_free(q);
	}
}

/* All of the set that wait there are forgotten. */
static void discard(struct sigpending *p, uint64_t set)
{
	struct sigqueue *q;

	assert_held(&tasks_lock);
	for (uint64_t s = p->queue ? p->set & set : 0; s; s &= s - 1)
		while ((q = unqueue(p, __builtin_ctzll(s) + 1)))
			queue_done(q);
	WRITE_ONCE(p->set, p->set & ~set);
	p->kept &= ~set;
}

static bool forget(struct sigpending *p, struct sigqueue *q)
{
	struct sigqueue **at = &p->queue, *o;

	while (*at && *at != q)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = q->next;
	if (!q->next)
		p->end = at;
	q->queued = false;
	for (o = p->queue; o && o->info.signo != q->info.signo; o = o->next)
		;
	if (!o && !(p->kept & sigbit(q->info.signo)))
		WRITE_ONCE(p->set, p->set & ~sigbit(q->info.signo));
	return true;
}

void signal_forget(struct process *p, struct sigqueue *q)
{
	struct task *t;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	if (q->queued && !forget(&p->pending, q))
		list_for_each_entry(t, &p->threads, thread)
			if (forget(&t->pending, q))
				break;
	ASSERT(!q->queued);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void signals_free(struct sigpending *p)
{
	irqflags_t flags;

	if (p->queue) {
		spin_lock_irqsave(&tasks_lock, flags);
		discard(p, ~0ull);
		spin_unlock_irqrestore(&tasks_lock, flags);
	}
	free_done();
}

/* Looked at without the lock too: each word by itself is a moment's truth, and who sends a signal
 * wakes whoever decided too early. */
static uint64_t pending(const struct task *t)
{
	return __atomic_load_n(&t->pending.set, __ATOMIC_SEQ_CST) |
	       __atomic_load_n(&t->proc->pending.set, __ATOMIC_SEQ_CST);
}

uint64_t signals_deliverable(const struct task *t)
{
	return pending(t) & ~(READ_ONCE(t->sigmask) & ~READ_ONCE(t->sigwait));
}

bool signal_pending(const struct task *t)
{
	return t->proc && !t->dying && (signals_deliverable(t) || __atomic_load_n(&t->proc->stopped, __ATOMIC_SEQ_CST));
}

/* SIGKILL alone: other deadly signals may have been caught by the time they are taken. */
bool fatal_signal_pending(const struct task *t)
{
	return t->proc && !t->dying && pending(t) & sigbit(SIGKILL);
}

/* Ends an interruptible sleep, so that the signal is seen on the way out, and user mode on another CPU; and the wait for a child of
 * vfork, which only the end interrupts. */
static void poke(struct task *t)
{
	assert_held(&tasks_lock);
	if (!signal_pending(t))
		return;
	interrupt_task(t);
	kick_task(t);
	if (t->vfork_child && fatal_signal_pending(t))
		wake_all(&t->vfork_child->vfork_wait);
}

/* What the coming of a signal does at once, whoever it was sent to. */
static void effects(struct process *p, int sig)
{
	struct task *t;
	uint64_t undone = sig == SIGCONT ? STOP_SIGNALS : sigbit(sig) & STOP_SIGNALS ? sigbit(SIGCONT) : 0;

	if (undone) {
		discard(&p->pending, undone);
		list_for_each_entry(t, &p->threads, thread)
			discard(&t->pending, undone);
	}
	if (sig == SIGCONT || sig == SIGKILL)
		stop_ends(p, sig == SIGCONT);
}

/* A blocked signal waits even if it is ignored: its action may change before. */
static bool task_wants(struct task *t, int sig)
{
	assert_held(&tasks_lock);
	if (!t->proc || t->dying || !t->proc->sighand || t->proc->is_init)
		return false;
	effects(t->proc, sig);
	return !ignored(t->proc, sig) || t->sigmask & sigbit(sig);
}

static bool process_wants(struct process *p, int sig)
{
	struct task *t;

	assert_held(&tasks_lock);
	if (p->zombie || !p->sighand || p->is_init)
		return false;
	effects(p, sig);
	list_for_each_entry(t, &p->threads, thread)
		if (!ignored(p, sig) || t->sigmask & sigbit(sig))
			return true;
	return false;
}

static void poke_all(struct process *p)
{
	struct task *t;

	list_for_each_entry(t, &p->threads, thread)
		poke(t);
	signalfd_tell();
}

void post_signal_task(struct task *t, const struct hal_siginfo *si)
{
	if (!task_wants(t, si->signo))
		return;
	enqueue(&t->pending, si);
	poke(t);
	signalfd_tell();
}

void post_signal_process(struct process *p, const struct hal_siginfo *si)
{
	if (!process_wants(p, si->signo))
		return;
	enqueue(&p->pending, si);
	poke_all(p);
}

/* Of those below the real-time ones only the first waits. */
static bool has_it(const struct sigpending *p, int sig)
{
	return sig < FIRST_RT && p->set & sigbit(sig);
}

bool post_queued_task(struct task *t, struct sigqueue *q)
{
	if (!task_wants(t, q->info.signo) || has_it(&t->pending, q->info.signo))
		return false;
	enqueue_another(&t->pending, q);
	poke(t);
	signalfd_tell();
	return true;
}

bool post_queued_process(struct process *p, struct sigqueue *q)
{
	if (!process_wants(p, q->info.signo) || has_it(&p->pending, q->info.signo))
		return false;
	enqueue_another(&p->pending, q);
	poke_all(p);
	return true;
}

void signals_poke(struct process *p)
{
	poke_all(p);
}

void send_signal_task(struct task *t, const struct hal_siginfo *si)
{
	irqflags_t flags;

	ASSERT(t == current);
	spin_lock_irqsave(&tasks_lock, flags);
	post_signal_task(t, si);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void send_signal_process(struct process *p, const struct hal_siginfo *si)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	post_signal_process(p, si);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void force_signal(const struct hal_siginfo *si)
{
	struct task *t = current;
	struct hal_sigaction *sa;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	sa = &t->proc->sighand->action[si->signo];
	if (t->sigmask & sigbit(si->signo) || sa->handler == SIG_IGN) {
		*sa = (struct hal_sigaction){.handler = SIG_DFL};
		t->sigmask &= ~sigbit(si->signo);
	}
	/* what the processor says now is newer */
	discard(&t->pending, sigbit(si->signo));
	enqueue(&t->pending, si);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void signal_reset(int sig)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	current->proc->sighand->action[sig] = (struct hal_sigaction){.handler = SIG_DFL};
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* The running task's mask: who sends to it looks at it. */
static void set_sigmask(uint64_t mask)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	current->sigmask = mask & ~UNBLOCKABLE;
	spin_unlock_irqrestore(&tasks_lock, flags);
}

int wait_for_signal(uint64_t deadline)
{
	static struct wait_head never = WAIT_HEAD_INIT;

	return wait_event(&never, false, true, deadline);
}

/* ---- delivery -------------------------------------------------------------------------------- */

/* The one that has waited longest: that without a queue before the queue. */
static void take_out(struct sigpending *p, int sig, struct hal_siginfo *si)
{
	struct sigqueue *q, *more;

	if (p->kept & sigbit(sig)) {
		*si = p->info[sig];
		p->kept &= ~sigbit(sig);
	} else {
		q = unqueue(p, sig);
		*si = q->info;
		if (q->timer)
			posix_timer_taken(q->timer, si);
		queue_done(q);
	}
	for (more = p->queue; more && more->info.signo != sig; more = more->next)
		;
	if (!more)
		WRITE_ONCE(p->set, p->set & ~sigbit(sig));
}

/* Takes the next signal: those that the program itself caused first, then by number. */
static bool dequeue(struct task *t, uint64_t mask, struct hal_siginfo *si)
{
	const uint64_t synchronous = sigbit(SIGSEGV) | sigbit(SIGBUS) | sigbit(SIGILL) |
				     sigbit(SIGTRAP) | sigbit(SIGFPE) | sigbit(SIGSYS);
	struct sigpending *q = &t->pending;
	uint64_t set = q->set & ~mask;

	assert_held(&tasks_lock);
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
	take_out(q, __builtin_ctzll(set) + 1, si);
	return true;
}

/* A signal that was taken, and what is to be done about it. */
struct taken {
	struct hal_siginfo si;
	struct hal_sigaction sa;
	bool ignored;
};

/* Takes the next one; a handler that is to run once is none any more. */
static bool take_signal(struct taken *k)
{
	struct task *t = current;
	struct hal_sigaction *sa;
	irqflags_t flags;
	bool taken;

	spin_lock_irqsave(&tasks_lock, flags);
	taken = !t->dying && signals_deliverable(t) && dequeue(t, t->sigmask, &k->si);
	if (taken) {
		sa = &t->proc->sighand->action[k->si.signo];
		k->sa = *sa;
		k->ignored = k->si.signo != SIGKILL && ignored(t->proc, k->si.signo);
		if (sa->handler > SIG_IGN && sa->flags & SA_RESETHAND)
			sa->handler = SIG_DFL;
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	free_done();
	return taken;
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

/* Told: what a trap did to any process, and what ended the first one, unless it is told already. */
static bool death_is_told(const struct hal_siginfo *si)
{
	if (si->signo == SIGKILL && READ_ONCE(current->proc->oom_victim))
		return false;
	return options.verbose || current->proc->pid == FIRST_PROGRAM || is_trap(si);
}

_Noreturn static void die_of(const struct hal_siginfo *si, const struct trap_frame *tf)
{
	if (death_is_told(si))
		show_death(si, tf);
	exit_group(si->signo);
}

/* The registers go into t->fpu, which is the newer of the two until load_fpu(): a switch in between
 * leaves it alone. */
static void store_fpu(struct task *t)
{
	irqflags_t flags = hal_irq_save();

	hal_fpu_save(&t->fpu);
	t->fpu_in_memory = true;
	hal_irq_restore(flags);
}

static void load_fpu(struct task *t)
{
	irqflags_t flags = hal_irq_save();

	hal_fpu_restore(&t->fpu);
	t->fpu_in_memory = false;
	hal_irq_restore(flags);
}

/* No room for the frame: a SIGSEGV of its own, and if that was one, the end. */
static void frame_failed(int sig)
{
	struct hal_siginfo bad = {.signo = SIGSEGV, .code = SI_KERNEL};

	if (sig == SIGSEGV)
		signal_reset(sig);
	force_signal(&bad);
}

/* The frame saves FP state, so that state must be in memory first; building it may fault, and other
 * tasks run meanwhile. */
static void run_handler(struct trap_frame *tf, struct taken *k)
{
	struct task *t = current;
	struct hal_sigaction *sa = &k->sa;
	uint64_t oldmask = t->restore_mask ? t->saved_mask : t->sigmask;
	int err;

	if (t->restart) {
		t->restart = false;
		if (sa->flags & SA_RESTART || t->restart_always)
			tf_syscall_restart(tf);
		else
			tf_set_syscall_ret(tf, -EINTR);
	}
	rseq_signal(tf, k->si.signo);
	if (!sa->restorer)
		sa->restorer = t->proc->vdso;
	store_fpu(t);
	err = hal_sigframe_push(tf, &t->fpu, sa, &k->si, oldmask, frame_sp(t, tf, sa), t->altstack,
				t->fault_code);
	load_fpu(t);
	if (err) {
		frame_failed(k->si.signo);
		return;
	}
	t->restore_mask = false;
	set_sigmask(t->sigmask | sa->mask |
		    (sa->flags & SA_NODEFER ? 0 : sigbit(k->si.signo)));
}

/* Every pending signal gets its frame, the last one pushed runs first, as on Linux. */
void deliver_signals(struct trap_frame *tf)
{
	struct task *t = current;
	struct taken k;

	stop_while_told();
	while (take_signal(&k)) {
		if (k.sa.handler > SIG_IGN && k.si.signo != SIGKILL)
			run_handler(tf, &k);
		else if (k.sa.handler == SIG_DFL && sigbit(k.si.signo) & STOP_SIGNALS)
			stop_by(k.si.signo);
		else if (!k.ignored && READ_ONCE(t->leave))
			exit_task(SIGKILL); /* and only this one: the signal was exec's */
		else if (!k.ignored)
			die_of(&k.si, tf);
	}
	if (t->restart) { /* no handler ran: as if the call had never been left */
		t->restart = false;
		tf_syscall_restart(tf);
	}
	if (t->restore_mask) {
		t->restore_mask = false;
		set_sigmask(t->saved_mask);
	}
}

/* Ignored signals stay ignored. */
static void drop_handlers(struct sighand *s)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	for (int i = 1; i <= NSIG; i++)
		if (s->action[i].handler != SIG_IGN)
			s->action[i] = (struct hal_sigaction){.handler = SIG_DFL};
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* One that is shared with a process that keeps its handlers becomes two. The caller is the only
 * thread, so nobody shares it anew. */
int signals_exec(struct process *p)
{
	struct sighand *s = p->sighand, *n = NULL;
	irqflags_t flags;

	ASSERT(p->nr_threads == 1);
	if (atomic_read(&s->refs) > 1) {
		n = quire_kmalloc(sizeof(*n), 0);
		if (!n)
			return -ENOMEM;
		copy_actions(n, s);
		atomic_set(&n->refs, 1);
		spin_lock_irqsave(&tasks_lock, flags);
		p->sighand = n;
		spin_unlock_irqrestore(&tasks_lock, flags);
		put_sighand(s);
	}
	drop_handlers(p->sighand);
	return 0;
}

/* ---- system calls ---------------------------------------------------------------------------- */

/* Sets an action. POSIX: what waits and is ignored now is thrown away. */
static void set_action(struct process *p, int sig, const struct hal_sigaction *sa)
{
	struct task *t;

	assert_held(&tasks_lock);
	p->sighand->action[sig] = *sa;
	if (!ignored(p, sig))
		return;
	discard(&p->pending, sigbit(sig));
	list_for_each_entry(t, &p->threads, thread)
		discard(&t->pending, sigbit(sig));
}

SYSCALL4(rt_sigaction, int, sig, uintptr_t, new_src, uintptr_t, old_dst, size_t, set_size)
{
	struct process *p = current->proc;
	struct hal_sigaction new, old;
	irqflags_t flags;

	if (set_size != sizeof(uint64_t) || sig < 1 || sig > NSIG)
		return -EINVAL;
	if (new_src && (sig == SIGKILL || sig == SIGSTOP))
		return -EINVAL;
	if (new_src && abi_get_sigaction(new_src, &new))
		return -EFAULT;
	spin_lock_irqsave(&tasks_lock, flags);
	old = p->sighand->action[sig];
	if (new_src) {
		new.mask &= ~UNBLOCKABLE;
		set_action(p, sig, &new);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	free_done();
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
		if (how == SIG_BLOCK)
			set_sigmask(old | set);
		else if (how == SIG_UNBLOCK)
			set_sigmask(old & ~set);
		else if (how == SIG_SETMASK)
			set_sigmask(set);
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
	int err;

	memcpy(alt, t->altstack, sizeof(alt));
	store_fpu(t);
	err = hal_sigframe_pop(t->utf, &t->fpu, &mask, alt);
	load_fpu(t);
	if (err) {
		force_signal(&bad);
		return 0;
	}
	set_sigmask(mask);
	memcpy(t->altstack, alt, sizeof(alt));
	t->restart = false;
	return 0; /* the dispatcher leaves the registers alone */
}

SYSCALL1(rt_sigpending, uintptr_t, dst)
{
	uint64_t set = pending(current) & current->sigmask;

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
	set_sigmask(set);
	while (!signal_pending(t))
		wait_for_signal(0);
	t->restore_mask = true;
	return -EINTR;
}

SYSCALL0(pause)
{
	while (!signal_pending(current))
		wait_for_signal(0);
	return -EINTR;
}

/* A signal of the set, which are blocked as a rule. Until the next call its coming interrupts the
 * task: a sender that finds it blocked keeps it, even one that is ignored. */
static bool take_of_set(uint64_t set, bool waits, struct hal_siginfo *si)
{
	struct task *t = current;
	irqflags_t flags;
	bool taken;

	spin_lock_irqsave(&tasks_lock, flags);
	taken = pending(t) & set && dequeue(t, ~set, si);
	t->sigwait = waits && !taken ? set : 0;
	spin_unlock_irqrestore(&tasks_lock, flags);
	free_done();
	return taken;
}

bool signal_take(uint64_t set, struct hal_siginfo *si)
{
	return take_of_set(set, false, si);
}

uint64_t signals_waiting(void)
{
	return pending(current);
}

/* ---- calls that wait with a mask of their own -------------------------------------------------- */

int call_mask_begin(uintptr_t src, size_t size)
{
	struct task *t = current;
	uint64_t set;

	if (!src)
		return 0;
	if (size != sizeof(set))
		return -EINVAL;
	if (COPY_IN(set, src))
		return -EFAULT;
	t->saved_mask = t->sigmask;
	t->restore_mask = true;
	set_sigmask(set);
	return 0;
}

/* Interrupted, it leaves the mask to the way out: the handler runs with the call's. */
long call_mask_end(long r)
{
	struct task *t = current;

	if (t->restore_mask && r != -EINTR) {
		t->restore_mask = false;
		set_sigmask(t->saved_mask);
	}
	return r;
}

static int put_siginfo(uintptr_t dst, const struct hal_siginfo *si)
{
	struct user_siginfo u = {.signo = si->signo, .errno_ = si->errno_, .code = si->code,
				 .pid = si->pid, .uid = si->uid};

	if (si->code < 0 && si->code != SI_TKILL)
		u.value = si->value;
	else
		u.status = si->status;
	return COPY_OUT(dst, u);
}

SYSCALL3(rt_sigtimedwait, uintptr_t, set_src, uintptr_t, info_dst, uintptr_t, timeout)
{
	uint64_t set, deadline = 0, ts[2];
	struct hal_siginfo si;
	int err;

	if (COPY_IN(set, set_src) || (timeout && COPY_IN(ts, timeout)))
		return -EFAULT;
	if (timeout)
		deadline = hal_clock_ns() + ts[0] * NS_PER_SEC + ts[1] + 1;
	if (!take_of_set(set, true, &si)) {
		err = wait_for_signal(deadline);
		if (!take_of_set(set, false, &si))
			return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
	}
	return info_dst && put_siginfo(info_dst, &si) ? -EFAULT : si.signo;
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
