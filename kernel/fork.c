/* SPDX-License-Identifier: MIT */
/*
 * fork, vfork, clone: a new process is a copy of the caller's, or shares parts of it as the flags
 * say; everything that can fail comes before the child can be seen.
 */
#include "kernel.h"

#include <quire/trace.h>

#define EXIT_SIGNAL 0xfful /* in clone's flags: what the parent is sent at the end */
/* Namespaces: none are built. */
#define CLONE_NEW_ANY                                                                          \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |         \
	 CLONE_NEWPID | CLONE_NEWNET)

struct clone_args {
	unsigned long flags, stack, ptid, ctid, tls;
	int exit_signal;
};

/* A new user task goes to user mode for the first time. */
static void child_entry(void *arg)
{
	struct task *t = arg;

	if (t->set_tls)
		hal_tls_set(&t->start_tf, t->new_tls);
	if (t->set_child_tid)
		hal_copy_to_user(t->set_child_tid, &t->tid, sizeof(t->tid));
	t->utf = &t->start_tf;
	hal_user_enter(&t->start_tf);
}

/* The FP state goes by way of our own: what the processor has not touched since it was loaded stands
 * there and nowhere else, and saving it writes nothing. */
static void copy_fpu(struct task *t)
{
	struct task *me = current;
	irqflags_t flags = hal_irq_save();

	hal_fpu_save(&me->fpu);
	t->fpu = me->fpu;
	t->tls = hal_tls_save();
	hal_irq_restore(flags);
}

/* The registers, FP state and signal state of the running task, for a child. */
static void task_copy(struct task *t, const struct clone_args *c)
{
	struct task *me = current;

	t->start_tf = *me->utf;
	tf_set_syscall_ret(&t->start_tf, 0);
	if (c->stack)
		tf_set_sp(&t->start_tf, c->stack);
	copy_fpu(t);
	t->user = true;
	t->allowed = READ_ONCE(me->allowed);
	t->personality = me->personality;
	t->mempolicy = me->mempolicy;
	if (!(c->flags & CLONE_VM))
		rseq_inherit(t, me);
	t->sigmask = me->sigmask;
	if (!(c->flags & CLONE_VM) || c->flags & CLONE_VFORK)
		memcpy(t->altstack, me->altstack, sizeof(t->altstack));
	else
		t->altstack[1] = SS_DISABLE;
	t->set_tls = c->flags & CLONE_SETTLS;
	t->new_tls = c->tls;
	t->set_child_tid = c->flags & CLONE_CHILD_SETTID ? c->ctid : 0;
	t->clear_child_tid = c->flags & CLONE_CHILD_CLEARTID ? c->ctid : 0;
}

/* Gives p its space: a copy of the running one, or the same. */
static int copy_mm(struct process *p, unsigned long flags)
{
	struct quire_mm *mm = current->proc->mm;

	if (flags & CLONE_VM) {
		quire_mm_get(mm);
		p->mm = mm;
		return 0;
	}
	return quire_mm_fork(mm, process_owner(p->pid), &p->mm);
}

/* The running thread is about to end, whatever it does. */
static bool ends_soon(void)
{
	return fatal_signal_pending(current) || READ_ONCE(current->leave) ||
	       READ_ONCE(current->proc->group_exit);
}

/* Only the child's exec or end lets us go on; our own end too. Who sends us a fatal signal wakes us
 * by vfork_child. */
static void wait_for_vfork(struct process *child)
{
	irqflags_t flags;

	wait_event(&child->vfork_wait,
		   __atomic_load_n(&child->vfork_done, __ATOMIC_ACQUIRE) || ends_soon(), false, 0);
	spin_lock_irqsave(&tasks_lock, flags);
	current->vfork_child = NULL;
	spin_unlock_irqrestore(&tasks_lock, flags);
	process_put(child);
}

/* What Linux refuses: threads share handlers, shared handlers share the space. */
static int clone_checks(const struct clone_args *c)
{
	unsigned long f = c->flags;

	if (f & CLONE_NEW_ANY)
		return -EINVAL;
	if ((f & CLONE_THREAD && !(f & CLONE_SIGHAND)) || (f & CLONE_SIGHAND && !(f & CLONE_VM)))
		return -EINVAL;
	return 0;
}

/* A new process of that number: everything that can fail. NULL: no memory. */
static struct process *new_process(const struct clone_args *c, int pid)
{
	struct process *p = process_copy(current->proc, c->flags);

	if (!p)
		return NULL;
	memcpy(p->comm, current->name, sizeof(p->comm));
	p->pid = p->leader_tid = pid;
	p->exit_signal = c->exit_signal;
	if (copy_mm(p, c->flags)) {
		process_put(p);
		return NULL;
	}
	return p;
}

static void discard_process(struct process *p)
{
	struct quire_mm *mm = set_task_mm(p, NULL);

	quire_mm_put(mm);
	process_put(p);
}

/* The new process gets its place: whose child, in which group. */
static void enter_process(struct process *p, const struct clone_args *c)
{
	struct process *me = current->proc;

	assert_held(&tasks_lock);
	p->pgid = me->pgid;
	p->sid = me->sid;
	list_add_tail(&p->all, &all_processes);
	process_adopt(p, c->flags & CLONE_PARENT && me->parent ? me->parent : me);
	if (c->flags & CLONE_VFORK) {
		process_get(p);
		current->vfork_child = p;
	}
}

/* From here on the child can be seen. Who is to end has none: the signal that was sent to everybody
 * would have missed it. */
static int enter_child(struct process *p, struct task *t, const struct clone_args *c)
{
	irqflags_t flags;
	int err = 0;

	spin_lock_irqsave(&tasks_lock, flags);
	if (ends_soon()) {
		err = -EINTR;
	} else {
		if (p != current->proc)
			enter_process(p, c);
		process_add_thread(p, t);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return err;
}

/* Everything that can fail comes before the child can be seen. */
static long do_clone(const struct clone_args *c)
{
	struct process *me = current->proc, *p = me, *vforked;
	int err = clone_checks(c), tid;
	struct task *t;

	if (err)
		return err;
	if (nr_tasks() >= (unsigned)READ_ONCE(threads_max))
		return -EAGAIN;
	t = task_alloc(current->name, child_entry, NULL);
	if (!t)
		return -ENOMEM;
	t->kthread_arg = t;
	task_copy(t, c);
	tid = t->tid = new_pid();
	if (!(c->flags & CLONE_THREAD))
		p = new_process(c, tid);
	if (!p) {
		task_discard(t);
		return -ENOMEM;
	}
	err = enter_child(p, t, c);
	if (err) {
		if (p != me)
			discard_process(p);
		task_discard(t);
		return err;
	}
	if (c->flags & CLONE_PARENT_SETTID)
		hal_copy_to_user(c->ptid, &tid, sizeof(tid));
	quire_trace_words(QUIRE_TR_FORK, &(uint64_t){(uint64_t)tid}, 1);
	vforked = current->vfork_child;
	task_start(t);
	if (vforked)
		wait_for_vfork(vforked);
	return tid;
}

SYSCALL5(clone, unsigned long, flags, uintptr_t, stack, uintptr_t, ptid, unsigned long, arg3,
	 unsigned long, arg4)
{
	struct clone_args c = {.flags = flags & ~EXIT_SIGNAL, .stack = stack, .ptid = ptid,
			       .exit_signal = (int)(flags & EXIT_SIGNAL)};

	abi_clone_args(arg3, arg4, &c.tls, &c.ctid);
	return do_clone(&c);
}

SYSCALL2(clone3, uintptr_t, args, size_t, size)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	} u;
	struct clone_args c;

	if (size < sizeof(u))
		return -EINVAL;
	if (COPY_IN(u, args))
		return -EFAULT;
	if (u.exit_signal > NSIG || (u.stack == 0) != (u.stack_size == 0))
		return -EINVAL;
	c = (struct clone_args){.flags = u.flags, .stack = u.stack ? u.stack + u.stack_size : 0,
				.ptid = u.parent_tid, .ctid = u.child_tid, .tls = u.tls,
				.exit_signal = (int)u.exit_signal};
	return do_clone(&c);
}

SYSCALL0(fork)
{
	struct clone_args c = {.exit_signal = SIGCHLD};

	return do_clone(&c);
}

SYSCALL0(vfork)
{
	struct clone_args c = {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD};

	return do_clone(&c);
}
