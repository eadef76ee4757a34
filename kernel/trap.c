/* SPDX-License-Identifier: MIT */
/*
 * Traps other than system calls: page faults, other exceptions of a program, and the way out, where
 * whatever a handler or another task left is done before user mode.
 */
#include "cpus.h"
#include "kernel.h"

#define MAX_OOM_FAULTS 16

/* There was no memory, although somebody was killed for it if that could be: as on Linux the access is
 * tried again, unless the program is dying. One that fails again and again, as every allocation may
 * when failures are injected, ends the program. */
static void fault_without_memory(struct task *t, const struct fault_info *fi)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};

	if (fatal_signal_pending(t))
		return;
	if (t->oom_fault_addr != fi->addr)
		t->oom_faults = 0;
	t->oom_fault_addr = fi->addr;
	if (++t->oom_faults < MAX_OOM_FAULTS)
		return;
	klog("task %d (%s): no memory for 0x%lx, time after time", t->tid, t->proc->comm,
	     (unsigned long)fi->addr);
	send_signal_process(t->proc, &si);
}

/* A fault that could not be resolved: a signal, the fix-up, or the kernel's own bug. */
static __attribute__((noinline)) bool fault_refused(struct trap_frame *tf, const struct fault_info *fi,
			  const struct quire_fault_result *res)
{
	struct hal_siginfo si;
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
		fault_without_memory(t, fi);
		return fi->user;
	default:
		klog("page fault at 0x%lx, access %d", (unsigned long)fi->addr, (int)fi->access);
		kernel_oops(tf, "a page fault that nobody can resolve");
	}
}

/* A copy to or from user memory faults: nothing is held that the fault, or another task, may need. */
static void check_copy(struct trap_frame *tf, const struct fault_info *fi)
{
	if (fi->addr >= hal_mmu_info()->user_end)
		return;
	if (preempt_off() || hal_irqs_off())
		kernel_oops(tf, "user memory is touched where nobody may sleep");
	assert_no_mutex();
}

/* fi->user: the frame is the one that signals are delivered to. */
bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	struct task *t = current;
	struct quire_mm *mm = t->proc ? t->proc->mm : NULL;
	enum latency_path before = latency_enter(PATH_FAULT);
	struct quire_fault_result res;

	if (fi->user)
		t->utf = tf;
	else
		check_copy(tf, fi);
	quire_page_fault(mm, fi, &res);
	latency_leave(before);
	if (res.counted)
		task_count_fault(t, res.major);
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

/* ---- the way out ----------------------------------------------------------------------------- */

/* Is there anything to do before user mode? Most often nothing. */
static inline bool work_waits(const struct task *t)
{
	const struct process *p = t->proc;

	return (t->need_resched | p->group_exit | p->stopped | t->leave | t->restart | t->restore_mask | t->rseq_notify) ||
	       ((t->pending.set | p->pending.set) & ~t->sigmask);
}

/* Interrupts are off to look, so that nothing is missed, and on to work. Whatever a handler's frame or
 * another task caused meanwhile is looked at again before leaving. */
void kernel_return_to_user(struct trap_frame *tf)
{
	struct task *t = current;

	ASSERT_DEBUG(!preempt_off() && hal_irqs_off());
	t->utf = tf;
	while (unlikely(work_waits(t))) {
		enum latency_path before = latency_enter(PATH_RETURN);

		hal_irq_enable();
		if (READ_ONCE(t->need_resched))
			schedule_quietly();
		if (READ_ONCE(t->proc->group_exit) || READ_ONCE(t->leave))
			exit_task(t->proc->exit_status);
		deliver_signals(tf);
		if (READ_ONCE(t->rseq_notify))
			rseq_resume(tf, 0);
		hal_irq_disable();
		latency_leave(before);
	}
}
