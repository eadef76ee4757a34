/* SPDX-License-Identifier: MIT */
/*
 * Kernel threads that the core starts and stops (stage 3 of <quire/os.h>).
 *
 * A struct os_thread outlives its task: the task ends when its function has returned, the structure
 * when os_thread_stop() has been called. So the order of the two does not matter. tasks_lock covers the
 * pointer from it to the task. A thread sees that it is to stop when it looks; a sleep with a deadline,
 * its idle state, is ended for it, and is not begun once it is to stop. Any other sleep goes on: what
 * it waits for there comes without us.
 */
#include "kernel.h"
#include <quire/os.h>

struct os_thread {
	void (*fn)(void *);
	void *arg;
	struct task *task; /* NULL: it has ended; tasks_lock */
	uint32_t stop;	   /* atomic: it is to end */
	uint32_t ended;	   /* atomic: it has */
};

bool kthread_should_stop(void)
{
	const struct os_thread *k = current->kthread;

	return k && __atomic_load_n(&k->stop, __ATOMIC_SEQ_CST); /* as signals: wait.c */
}

bool os_thread_should_stop(void)
{
	return kthread_should_stop();
}

void os_thread_urgent(void)
{
	current->urgent = true;
}

/* Who learns of the end finds our stack among the dead. The idle task may be who waits for it. */
static _Noreturn void kthread_end(struct os_thread *k)
{
	hal_irq_disable();
	task_ends();
	spin_lock(&tasks_lock);
	k->task = NULL;
	spin_unlock(&tasks_lock);
	__atomic_store_n(&k->ended, 1, __ATOMIC_RELEASE);
	os_wake(k, 1);
	if (hal_cpu_id())
		hal_cpu_kick(0);
	task_end();
}

static void kthread_main(void *arg)
{
	struct os_thread *k = arg;

	k->fn(k->arg);
	kthread_end(k);
}

static struct os_thread *kthread_new(void (*fn)(void *), void *arg)
{
	struct os_thread *k = quire_kmalloc(sizeof(*k), QUIRE_GFP_ZERO);

	if (k) {
		k->fn = fn;
		k->arg = arg;
	}
	return k;
}

int os_thread_start(const char *name, void (*fn)(void *arg), void *arg, struct os_thread **thread)
{
	struct os_thread *k = thread ? kthread_new(fn, arg) : NULL;
	struct task *t;

	if (thread && !k)
		return -ENOMEM;
	t = task_alloc(name, k ? kthread_main : fn, k ? k : arg);
	if (!t) {
		quire_kfree(k);
		return -ENOMEM;
	}
	t->kthread = k;
	if (k) {
		k->task = t;
		*thread = k;
	}
	task_start(t);
	return 0;
}

/* The order of the two steps is that of a sleeper's in reverse: it stands in the list, then looks. */
static void ask_to_stop(struct os_thread *k)
{
	irqflags_t flags;

	__atomic_store_n(&k->stop, 1, __ATOMIC_SEQ_CST);
	spin_lock_irqsave(&tasks_lock, flags);
	if (k->task)
		interrupt_task(k->task);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void os_thread_stop(struct os_thread *k)
{
	ASSERT(current->kthread != k);
	ask_to_stop(k);
	if (is_idle(current))
		idle_while(&k->ended, 0);
	while (!__atomic_load_n(&k->ended, __ATOMIC_ACQUIRE))
		os_wait(k, &k->ended, 0);
	reap_ended_tasks();
	quire_kfree(k);
}
