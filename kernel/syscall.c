/* SPDX-License-Identifier: MIT */
/*
 * The way in: the machine's number table names a handler call_<name>; the handlers live all over
 * this folder, and a name that none of them defines answers ENOSYS. Here too: what happens before
 * a task goes back to user mode, and traps.
 */
#include "kernel.h"

#include <quire/os.h>
#include <quire/trace.h>

typedef long (*syscall_fn)(const unsigned long *a);

#define SYS(nr, name) long call_##name(const unsigned long *a) __attribute__((weak));
#include "syscall_table.h"
#undef SYS

#define MAX_NR 512

/* By number; NULL: unknown, or known by name only. */
static const syscall_fn calls[MAX_NR] = {
#define SYS(nr, name) [nr] = call_##name,
#include "syscall_table.h"
#undef SYS
};

static const char *const names[MAX_NR] = {
#define SYS(nr, name) [nr] = #name,
#include "syscall_table.h"
#undef SYS
};

/* Named once each: a program that asks in a loop must not fill the log. */
static long unknown(unsigned long nr)
{
	static bool named[MAX_NR];

	if (nr >= MAX_NR) {
		WARN_ON_ONCE(nr >= MAX_NR);
	} else if (!named[nr]) {
		named[nr] = true;
		klog("system call %lu (%s) is not built", nr, names[nr] ? names[nr] : "no name");
	}
	return -ENOSYS;
}

static void trace_enter(unsigned long nr, const unsigned long *a)
{
	uint64_t w[6] = {nr, a[0], a[1], a[2], a[3], a[4]};

	quire_trace_words(QUIRE_TR_SYS_ENTER, w, 6);
}

static void trace_leave(unsigned long nr, long ret)
{
	uint64_t w[2] = {nr, (uint64_t)ret};

	if (quire_trace_enabled())
		quire_trace_words(QUIRE_TR_SYS_EXIT, w, 2);
}

/* mem_check=1: whatever the call did to its space, every rule still holds. */
static void check_memory(unsigned long nr)
{
	if (current->proc && current->proc->mm && quire_check(current->proc->mm)) {
		klog("after system call %lu of task %d", nr, current->tid);
		os_panic("the memory manager's invariants are broken");
	}
}

/* Interrupts stay off: a call runs until it ends or sleeps. */
void kernel_syscall(struct trap_frame *tf)
{
	unsigned long a[6], nr = tf_syscall_nr(tf);
	syscall_fn fn = likely(nr < MAX_NR) ? calls[nr] : NULL;
	bool traced = quire_trace_enabled();
	long ret;

	current->utf = tf;
	for (unsigned i = 0; i < 6; i++)
		a[i] = tf_syscall_arg(tf, i);
	if (unlikely(traced))
		trace_enter(nr, a);
	ret = likely(fn) ? fn(a) : unknown(nr);
	if (unlikely(traced))
		trace_leave(nr, ret);
	if (unlikely(options.mem_check))
		check_memory(nr);
	if (unlikely(fn == call_rt_sigreturn))
		return; /* its registers are the interrupted program's */
	if (unlikely(ret == -ERESTARTSYS))
		current->restart = true;
	else
		tf_set_syscall_ret(tf, ret);
}

/* Is there anything to do before user mode? Most often nothing. */
static inline bool work_waits(const struct task *t)
{
	const struct process *p = t->proc;

	return (need_resched | p->group_exit | t->leave | t->restart | t->restore_mask) ||
	       ((t->pending.set | p->pending.set) & ~t->sigmask);
}

/* Whatever a handler's frame or another task caused is looked at again before leaving. */
void kernel_return_to_user(struct trap_frame *tf)
{
	struct task *t = current;

	t->utf = tf;
	while (unlikely(work_waits(t))) {
		if (need_resched)
			schedule();
		if (t->proc->group_exit || t->leave)
			exit_task(t->proc->exit_status);
		deliver_signals(tf);
	}
}

/* ---- traps ----------------------------------------------------------------------------------- */

/* A fault that could not be resolved: a signal, the fix-up, or the kernel's own bug. */
static bool fault_refused(struct trap_frame *tf, const struct fault_info *fi,
			  const struct quire_fault_result *res)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct task *t = current;

	switch (res->outcome) {
	case QUIRE_FAULT_FIXUP:
		return false;
	case QUIRE_FAULT_SIGNAL:
		t->fault_code = res->error_code;
		si = (struct hal_siginfo){.signo = res->sig, .code = res->code, .addr = res->addr};
		force_signal(&si);
		return true;
	case QUIRE_FAULT_KILL:
		send_signal_process(t->proc, &si);
		return fi->user;
	default:
		klog("page fault at 0x%lx, access %d", (unsigned long)fi->addr, (int)fi->access);
		kernel_oops(tf, "a page fault that nobody can resolve");
	}
}

/* fi->user: the frame is the one that signals are delivered to. */
bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	struct task *t = current;
	struct quire_mm *mm = t && t->proc ? t->proc->mm : NULL;
	struct quire_fault_result res;

	if (fi->user)
		t->utf = tf;
	quire_page_fault(mm, fi, &res);
	if (res.counted && t) {
		t->usage.min_flt += !res.major;
		t->usage.maj_flt += res.major;
	}
	if (likely(res.outcome == QUIRE_FAULT_DONE))
		return true;
	return fault_refused(tf, fi, &res);
}

void kernel_user_trap(struct trap_frame *tf, enum trap_kind kind, unsigned long addr, int code)
{
	struct hal_siginfo si = {.addr = addr, .code = code ? code : 1};

	current->utf = tf;
	switch (kind) {
	case TRAP_ILLEGAL:
		si.signo = SIGILL;
		break;
	case TRAP_BREAKPOINT:
		si.signo = SIGTRAP;
		break;
	case TRAP_DIVIDE:
		si.signo = SIGFPE;
		break;
	case TRAP_FPE:
		si.signo = SIGFPE;
		si.code = code;
		break;
	case TRAP_ALIGN:
		si.signo = SIGBUS;
		break;
	case TRAP_PROTECTION:
		si = (struct hal_siginfo){.signo = SIGSEGV, .code = SI_KERNEL};
		break;
	default:
		si.signo = SIGSEGV;
		si.code = SI_KERNEL;
		break;
	}
	force_signal(&si);
}
