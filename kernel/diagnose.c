/* SPDX-License-Identifier: MIT */
/*
 * What the kernel knows when it does not go on: every task, where it sleeps or was interrupted, and
 * the locks it holds. Told in a panic, once when nothing can ever run again, and when a task keeps
 * the processor from others for seconds with pre-emption off. The log names addresses; addr2line on
 * the kernel's image names the lines.
 */
#include "kernel.h"

#define SHOWN_TASKS 64
#define LOCK_BYTES  sizeof(struct mutex) /* a semaphore has as many */

static const char *state_name(const struct task *t)
{
	if (t == current)
		return "runs";
	if (t->state == TASK_SLEEPING)
		return "sleeps";
	return t->state == TASK_RUNNING ? "waits for the CPU" : "has ended";
}

/* How a lock is told: its name, and whose it is. */
struct telling {
	const struct task *t;
	const void *awaited; /* the key that it sleeps on, NULL: it does not */
};

/* A lock that t holds, or waits for while another has it. */
static void show_lock(uintptr_t thread, const void *lock, const char *name, enum lockdep_how how, void *ctx)
{
	static const char *const ways[] = {
		[LOCKDEP_READ] = " for reading", [LOCKDEP_WRITE] = " for writing", [LOCKDEP_MUTEX] = "",
	};
	const struct telling *tell = ctx;
	const char *at = lock, *key = tell->awaited;

	if (thread == (uintptr_t)tell->t)
		klog("    holds %s%s", name, ways[how]);
	/* A lock that readers and writers wait for apart has a key for each, in itself. */
	else if (key && key >= at && key < at + LOCK_BYTES)
		klog("    waits for %s, which task %d has%s", name, ((const struct task *)thread)->tid,
		     ways[how]);
}

static void show_task(const struct task *t)
{
	const struct waiter *w = t->waiter;
	char where[48] = "";

	if (t->state == TASK_SLEEPING && w)
		scnprintf(where, sizeof(where), " at 0x%lx%s", (unsigned long)w->caller,
			  t->interruptible ? ", until a signal" : "");
	klog("  task %d (%s) %s%s", t->tid, t->proc ? t->proc->comm : t->name, state_name(t), where);
	lockdep_each_held(show_lock, &(struct telling){t, w ? w->key : NULL});
}

/* The spinning locks of this CPU, in the order in which they were taken. */
static void show_spinning(void)
{
	const struct lockdep_cpu *c = lockdep_mine();

	for (unsigned i = 0; i < c->depth; i++)
		klog("  holds %s (rank %u)", c->h[i].name ? c->h[i].name : "?", c->h[i].rank);
}

/* Without tasks_lock: whoever calls has interrupts off and is the only CPU, and the lock may be what
 * is wrong. */
void show_tasks(void)
{
	unsigned n = 0;
	struct task *t;

	ASSERT(hal_irqs_off());
	show_spinning();
	klog("tasks:");
	list_for_each_entry(t, &all_tasks, all)
		if (n++ < SHOWN_TASKS)
			show_task(t);
	if (n > SHOWN_TASKS)
		klog("  and %u more", n - SHOWN_TASKS);
}

/* A typed byte would wake somebody: a shell at its prompt, the monitor. */
static bool console_awaited(void)
{
	struct task *t;

	list_for_each_entry(t, &all_tasks, all)
		if (t->waiter && (console_wakes(t->waiter->key) || poll_wakes(t->waiter->key)))
			return true;
	return false;
}

/* The idle task found nothing to run, and no timer is set. */
void check_deadlock(void)
{
	static bool told;

	if (told || timers_waiting() || list_empty(&all_tasks) || console_awaited())
		return;
	told = true;
	klog("HANG: every task sleeps, and nothing is left that could wake one");
	show_tasks();
}

void show_stuck(const struct trap_frame *tf)
{
	static const struct task *told;

	if (told == current)
		return;
	told = current;
	klog("HANG: task %d (%s) keeps the CPU, pre-emption is %s, at ip 0x%lx", current->tid,
	     os_current_comm(), preempt_off() ? "off" : "on", tf_ip(tf));
	show_tasks();
}
