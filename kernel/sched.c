/* SPDX-License-Identifier: MIT */
/*
 * Scheduler: tasks, a round-robin run queue, sleeping and waking by key, the tick. One CPU. A task
 * that sleeps is on its key's list; a wake-up moves it to the queue's end. The boot context is the
 * idle task: it runs when no other task can, lets interrupts in, and at the very end shuts down.
 */
#include "kernel.h"
#include "lib/hash.h"
#include <quire/os.h>

#define SLEEP_HEADS 64
#define MAX_PID	    4194304 /* Linux's limit on 64-bit machines */

struct task *current_task;
struct list_head all_tasks = LIST_HEAD_INIT(all_tasks);
bool need_resched;

static struct task idle_task;
static struct list_head run_queue = LIST_HEAD_INIT(run_queue);
static struct list_head dead_tasks = LIST_HEAD_INIT(dead_tasks);
static struct list_head sleepers[SLEEP_HEADS];
static struct quire_mm *active_mm;
static int last_pid, preempt_depth;
static uint64_t slice_end;

/* Sleepers hash by key; a list may hold several keys, so wake_up() compares. */
static struct list_head *sleep_head(const void *key, uintptr_t key2)
{
	return &sleepers[hash64((uintptr_t)key ^ (key2 << 7)) % SLEEP_HEADS];
}

/* May be called again after a shutdown, in the same image. */
void sched_init(void)
{
	for (int i = 0; i < SLEEP_HEADS; i++)
		INIT_LIST_HEAD(&sleepers[i]);
	INIT_LIST_HEAD(&all_tasks);
	INIT_LIST_HEAD(&run_queue);
	INIT_LIST_HEAD(&dead_tasks);
	idle_task = (struct task){.state = TASK_RUNNING, .name = "idle"};
	last_pid = 0;
	active_mm = NULL;
	current = &idle_task;
}

int new_pid(void)
{
	do {
		if (++last_pid >= MAX_PID)
			last_pid = 300; /* as Linux: the low ones belong to the first programs */
	} while (task_by_tid(last_pid) || process_by_pid(last_pid));
	return last_pid;
}

struct task *task_by_tid(int tid)
{
	struct task *t;

	list_for_each_entry(t, &all_tasks, all)
		if (t->tid == tid && t->state != TASK_DEAD)
			return t;
	return NULL;
}

/* ---- switching ------------------------------------------------------------------------------- */

void use_mm(struct quire_mm *mm)
{
	if (mm == active_mm)
		return;
	active_mm = mm;
	quire_mm_switch(mm);
}

/* What a task needs in the processor before it can go on. */
static void load_task(struct task *t)
{
	struct quire_mm *mm = t->proc ? t->proc->mm : NULL;

	if (mm)
		use_mm(mm); /* one without a space leaves the last one's in place */
	if (!t->user)
		return;
	hal_fpu_restore(&t->fpu);
	hal_tls_restore(t->tls);
}

/* Returns when prev is chosen again, maybe much later and from another task. */
static void switch_to(struct task *prev, struct task *next)
{
	if (prev->user && prev->state != TASK_DEAD) {
		hal_fpu_save(&prev->fpu);
		prev->tls = hal_tls_save();
	}
	current = next;
	if (next->stack)
		hal_set_kernel_stack((char *)next->stack + STACK_PAGES * PAGE_SIZE);
	hal_context_switch(&prev->ctx, &next->ctx);
	load_task(prev); /* that is us again, some time later */
}

/* The caller is queued behind all others if it can still run. Idle is never queued. */
void schedule(void)
{
	irqflags_t flags = hal_irq_save();
	struct task *prev = current, *next = &idle_task;

	ASSERT(preempt_depth == 0);
	need_resched = false;
	if (prev->state == TASK_RUNNING && prev != &idle_task)
		list_add_tail(&prev->run, &run_queue);
	if (!list_empty(&run_queue)) {
		next = list_first_entry(&run_queue, struct task, run);
		list_del(&next->run);
	}
	slice_end = hal_clock_ns() + TICK_NS;
	if (next != prev)
		switch_to(prev, next);
	hal_irq_restore(flags);
}

/* Harmless for one that does not sleep. */
void wake_task(struct task *t, int result)
{
	if (t->state != TASK_SLEEPING)
		return;
	t->state = TASK_RUNNING;
	t->woken = result;
	list_del(&t->sleep);
	list_add_tail(&t->run, &run_queue);
}

int sleep_on(const void *key, uintptr_t key2, bool interruptible, uint64_t deadline)
{
	struct task *t = current;

	ASSERT(t != &idle_task);
	if (interruptible && signal_pending(t))
		return -EINTR;
	if (deadline && hal_clock_ns() >= deadline)
		return -ETIMEDOUT;
	t->key = key;
	t->key2 = key2;
	t->interruptible = interruptible;
	t->deadline = deadline;
	t->state = TASK_SLEEPING;
	list_add_tail(&t->sleep, sleep_head(key, key2));
	schedule();
	return t->woken;
}

unsigned wake_up(const void *key, uintptr_t key2, unsigned n)
{
	irqflags_t flags = hal_irq_save();
	struct task *t, *next;
	unsigned woken = 0;

	list_for_each_entry_safe(t, next, sleep_head(key, key2), sleep) {
		if (woken >= n)
			break;
		if (t->key != key || t->key2 != key2)
			continue;
		wake_task(t, 0);
		woken++;
	}
	hal_irq_restore(flags);
	return woken;
}

/* ---- birth and death of tasks ---------------------------------------------------------------- */

static unsigned task_order(void)
{
	unsigned order = 0;

	while ((PAGE_SIZE << order) < sizeof(struct task))
		order++;
	return order;
}

/* The first code of every task on its own stack. */
static void kthread_entry(void *arg)
{
	struct task *t = arg;

	load_task(t);
	t->kthread_fn(t->kthread_arg);
	task_end();
}

/* State SLEEPING on no list: it cannot be woken before task_start(). */
struct task *task_alloc(const char *name, void (*fn)(void *), void *arg)
{
	struct task *t;

	reap_tasks();
	t = quire_alloc_pages(task_order(), QUIRE_GFP_ZERO);
	if (!t)
		return NULL;
	t->stack = quire_stack_alloc(STACK_PAGES);
	if (!t->stack) {
		quire_free_pages(t, task_order());
		return NULL;
	}
	strscpy(t->name, name, sizeof(t->name));
	t->kthread_fn = fn;
	t->kthread_arg = arg;
	t->state = TASK_SLEEPING;
	hal_context_init(&t->ctx, t->stack, STACK_PAGES * PAGE_SIZE, kthread_entry, t);
	return t;
}

void task_start(struct task *t)
{
	if (!t->tid)
		t->tid = new_pid();
	t->state = TASK_RUNNING;
	list_add_tail(&t->all, &all_tasks);
	list_add_tail(&t->run, &run_queue);
}

void task_discard(struct task *t)
{
	hal_context_destroy(&t->ctx);
	quire_stack_free(t->stack);
	quire_free_pages(t, task_order());
}

/* The stack we stand on cannot be freed by us: the next one to make or wait for a task does it. */
_Noreturn void task_end(void)
{
	hal_irq_save();
	list_del(&current->all);
	list_add_tail(&current->all, &dead_tasks);
	current->state = TASK_DEAD;
	schedule();
	BUG();
}

void reap_tasks(void)
{
	struct task *t, *next;

	list_for_each_entry_safe(t, next, &dead_tasks, all) {
		if (t == current)
			continue;
		list_del(&t->all);
		task_discard(t);
	}
}

/* ---- time ------------------------------------------------------------------------------------ */

/* A walk over all sleepers at every tick: there are few. */
static void wake_expired(uint64_t now)
{
	struct task *t, *next;

	for (int i = 0; i < SLEEP_HEADS; i++)
		list_for_each_entry_safe(t, next, &sleepers[i], sleep)
			if (t->deadline && now >= t->deadline)
				wake_task(t, -ETIMEDOUT);
}

/* From user mode or from idle; kernel code has interrupts off. */
void kernel_timer_tick(struct trap_frame *tf)
{
	bool user = tf && tf_user(tf);

	wake_expired(hal_clock_ns());
	alarms_tick(hal_clock_ns());
	console_tick();
	need_resched = true;
	if (user) {
		current->utf = tf;
		current->usage.utime_ns += TICK_NS;
	}
}

_Noreturn void idle_loop(void)
{
	for (;;) {
		hal_irq_disable();
		reap_tasks();
		if (shutting_down && list_empty(&all_processes))
			finish_shutdown();
		if (!list_empty(&run_queue)) {
			schedule();
			continue;
		}
		hal_idle();
	}
}

/* ---- what the core asks for ------------------------------------------------------------------ */

void os_preempt(int delta)
{
	preempt_depth += delta;
}

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	irqflags_t flags = hal_irq_save();

	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
		sleep_on(key, 0, false, 0);
	hal_irq_restore(flags);
}

void os_wake(const void *key, unsigned n)
{
	wake_up(key, 0, n);
}

uintptr_t os_thread_id(void)
{
	return (uintptr_t)(current ? current : &idle_task);
}

/* Kernel work is not preempted, so long loops offer the CPU themselves. */
void os_cond_resched(void)
{
	if (current != &idle_task && preempt_depth == 0 && !list_empty(&run_queue) &&
	    hal_clock_ns() >= slice_end)
		schedule();
}

int os_thread_start(const char *name, void (*fn)(void *arg), void *arg)
{
	struct task *t = task_alloc(name, fn, arg);

	if (!t)
		return -ENOMEM;
	task_start(t);
	return 0;
}
