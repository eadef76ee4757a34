/* SPDX-License-Identifier: MIT */
/*
 * Scheduler: tasks, a round-robin run queue with time slices, pre-emption, the tick. One CPU.
 *
 * Kernel code runs with interrupts on and is pre-empted wherever the depth that os_preempt() counts
 * is 0: where an interrupt ends, and where the depth becomes 0 again. What belongs to the CPU (the
 * queue, the running task, its space) is touched with interrupts off. Sleeping and waking are in
 * wait.c. The boot context is the idle task: it runs when no other task can, is never pre-empted and
 * never sleeps, and at the very end shuts down.
 */
#include "kernel.h"
#include <quire/os.h>

/* preempt_word: how deep, and in the highest bit that nobody waits for this CPU. So the word is 0
 * exactly where the running task must give it up, and one addition tells. */
#define NOBODY_WAITS 0x80000000u

static struct task idle_task;
struct task *current_task = &idle_task; /* never NULL: the boot context is one */
bool need_resched;
uint64_t preemptions;

static uint32_t preempt_word = NOBODY_WAITS;
static struct list_head run_queue = LIST_HEAD_INIT(run_queue);
static struct list_head dead_tasks = LIST_HEAD_INIT(dead_tasks);
static struct quire_mm *active_mm;
static uint64_t wanted_since; /* need_resched: since when */
static uint64_t switched_at; /* when the running task got the CPU, or was last charged for it */

/* May be called again after a shutdown, in the same image. */
void sched_init(void)
{
	INIT_LIST_HEAD(&run_queue);
	INIT_LIST_HEAD(&dead_tasks);
	idle_task = (struct task){.state = TASK_RUNNING, .name = "idle"};
	active_mm = NULL;
	need_resched = false;
	preempt_word = NOBODY_WAITS;
	preemptions = 0;
	current = &idle_task;
	wait_init();
	timers_init();
}

bool is_idle(const struct task *t)
{
	return t == &idle_task;
}

/* ---- switching ------------------------------------------------------------------------------- */

void use_mm(struct quire_mm *mm)
{
	irqflags_t flags = hal_irq_save();

	if (mm != active_mm) {
		active_mm = mm;
		quire_mm_switch(mm);
	}
	hal_irq_restore(flags);
}

/* What a task needs in the processor before it can go on. Interrupts off. */
static void load_task(struct task *t)
{
	struct quire_mm *mm = t->proc ? t->proc->mm : NULL;

	if (mm)
		use_mm(mm); /* one without a space leaves the last one's in place */
	if (!t->user)
		return;
	if (!t->fpu_in_memory)
		hal_fpu_restore(&t->fpu);
	hal_tls_restore(t->tls);
}

/* Returns when prev is chosen again, maybe much later and from another task. */
static void switch_to(struct task *prev, struct task *next)
{
	enum latency_path path = latency_enter(PATH_THREAD); /* what a new task is on */

	if (prev->user && prev->state != TASK_DEAD) {
		if (!prev->fpu_in_memory)
			hal_fpu_save(&prev->fpu);
		prev->tls = hal_tls_save();
	}
	current = next;
	if (next->stack)
		hal_set_kernel_stack((char *)next->stack + STACK_PAGES * PAGE_SIZE);
	hal_context_switch(&prev->ctx, &next->ctx);
	load_task(prev); /* that is us again, some time later */
	latency_leave(path);
}

/* Takes what the task has used off its slice; a slice that is used up is the reason for a new one. */
static void charge(struct task *t, uint64_t now)
{
	t->slice_left -= (int64_t)(now - switched_at);
	switched_at = now;
}

/* To the nearest tick, which alone takes the CPU away: a slice that ends just after one would else go
 * on for another. What was used beyond it is taken off the next. */
static bool slice_over(const struct task *t)
{
	return t->slice_left < (int64_t)TICK_NS / 2;
}

/* Interrupts off. The caller is queued behind all others if it can still run; idle is never queued. */
static void pick_next(void)
{
	struct task *prev = current, *next = &idle_task;

	ASSERT(!(preempt_word & ~NOBODY_WAITS));
	WRITE_ONCE(need_resched, false);
	preempt_word = NOBODY_WAITS;
	charge(prev, hal_clock_ns());
	if (prev->state == TASK_RUNNING && prev != &idle_task)
		list_add_tail(&prev->run, &run_queue);
	if (!list_empty(&run_queue)) {
		next = list_first_entry(&run_queue, struct task, run);
		list_del(&next->run);
	}
	if (slice_over(next))
		next->slice_left = clamp(next->slice_left + (int64_t)TICK_NS, (int64_t)0, (int64_t)TICK_NS);
	if (next == prev)
		return;
	if (prev->state == TASK_RUNNING)
		WRITE_ONCE(prev->usage.nivcsw, prev->usage.nivcsw + 1);
	else
		WRITE_ONCE(prev->usage.nvcsw, prev->usage.nvcsw + 1);
	switch_to(prev, next);
}

void schedule(void)
{
	irqflags_t flags = hal_irq_save();

	pick_next();
	hal_irq_restore(flags);
}

/* Any context. */
void make_runnable(struct task *t)
{
	irqflags_t flags = hal_irq_save();

	t->state = TASK_RUNNING;
	list_add_tail(&t->run, &run_queue);
	hal_irq_restore(flags);
}

/* ---- pre-emption ----------------------------------------------------------------------------- */

bool preempt_off(void)
{
	return READ_ONCE(preempt_word) & ~NOBODY_WAITS;
}

/* Somebody waits for the CPU, and the running task's slice is over. Interrupts off. */
static void set_need_resched(void)
{
	WRITE_ONCE(need_resched, true);
	if (options.preempt)
		WRITE_ONCE(preempt_word, preempt_word & ~NOBODY_WAITS);
}

/* Kernel code is interrupted in favour of another task. Interrupts off. */
static void preempt(void)
{
	preemptions++;
	pick_next();
}

/* The depth became 0 and somebody waits. With interrupts off it has to wait until they are on. */
static __attribute__((noinline)) void preempt_now(void)
{
	irqflags_t flags;

	if (hal_irqs_off() || is_idle(current))
		return;
	flags = hal_irq_save();
	if (!preempt_word)
		preempt();
	hal_irq_restore(flags);
}

void os_preempt(int delta)
{
#ifdef MEASURE_LATENCY
	if (delta > 0 && !preempt_off())
		latency_preempt_off((uintptr_t)__builtin_return_address(0));
	if (delta < 0 && (preempt_word & ~NOBODY_WAITS) == 1)
		latency_preempt_on((uintptr_t)__builtin_return_address(0));
#endif
	if (unlikely(hal_local_add(&preempt_word, (uint32_t)delta)))
		preempt_now();
}

void kernel_irq_exit(void)
{
	if (unlikely(!preempt_word) && !is_idle(current))
		preempt();
}

/* A good moment even where the kernel is not pre-empted (preempt=none). */
void os_cond_resched(void)
{
	if (unlikely(READ_ONCE(need_resched)) && !is_idle(current) && !preempt_off() && !hal_irqs_off())
		schedule();
}

/* ---- birth and death of tasks ---------------------------------------------------------------- */

static unsigned task_order(void)
{
	unsigned order = 0;

	while ((PAGE_SIZE << order) < sizeof(struct task))
		order++;
	return order;
}

/* The first code of every task on its own stack; it comes from a switch, with interrupts off. */
static void kthread_entry(void *arg)
{
	struct task *t = arg;

	load_task(t);
	hal_irq_enable();
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
	INIT_LIST_HEAD(&t->all);
	hal_context_init(&t->ctx, t->stack, STACK_PAGES * PAGE_SIZE, kthread_entry, t);
	return t;
}

void task_start(struct task *t)
{
	if (!t->tid)
		t->tid = new_pid();
	task_publish(t);
	make_runnable(t);
}

void task_discard(struct task *t)
{
	hal_context_destroy(&t->ctx);
	quire_stack_free(t->stack);
	quire_free_pages(t, task_order());
}

/* The stack we stand on cannot be freed by us: the next one to make, to wait for or to end a task does
 * it. */
_Noreturn void task_end(void)
{
	task_unpublish(current);
	hal_irq_disable();
	current->state = TASK_DEAD;
	list_add_tail(&current->run, &dead_tasks);
	pick_next();
	BUG();
}

/* Nobody but the list knows them, and they have all left their stacks: they are queued with
 * interrupts off, up to the switch. */
void reap_tasks(void)
{
	for (;;) {
		irqflags_t flags = hal_irq_save();
		struct task *t = NULL;

		if (!list_empty(&dead_tasks)) {
			t = list_first_entry(&dead_tasks, struct task, run);
			list_del(&t->run);
		}
		hal_irq_restore(flags);
		if (!t)
			return;
		task_discard(t);
	}
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Interrupts off. The tick belongs to whoever runs now; a slice goes on until it is used up. */
void kernel_timer_tick(struct trap_frame *tf)
{
	bool user = tf && tf_user(tf);
	uint64_t now = hal_clock_ns();
	enum latency_path before = latency_enter(PATH_TICK);
	struct task *t = current;

	timers_expire(now);
	console_tick();
	if (user) {
		t->utf = tf;
		WRITE_ONCE(t->usage.utime_ns, t->usage.utime_ns + TICK_NS);
	} else if (!is_idle(t)) {
		WRITE_ONCE(t->usage.stime_ns, t->usage.stime_ns + TICK_NS);
	}
	latency_leave(before);
	if (is_idle(t) || list_empty(&run_queue))
		return;
	charge(t, now);
	if (!slice_over(t))
		return;
	if (!need_resched)
		wanted_since = now;
	set_need_resched();
	if (unlikely(now - wanted_since > STUCK_NS) && !user)
		show_stuck(tf);
}

_Noreturn void idle_loop(void)
{
	latency_enter(PATH_IDLE);
	for (;;) {
		hal_irq_disable();
		if (shutting_down && no_process_left())
			finish_shutdown();
		if (!list_empty(&run_queue)) {
			pick_next();
			continue;
		}
		check_deadlock();
		hal_idle();
	}
}

/* ---- what the core asks for ------------------------------------------------------------------ */

uintptr_t os_thread_id(void)
{
	return (uintptr_t)current;
}

int os_thread_start(const char *name, void (*fn)(void *arg), void *arg)
{
	struct task *t = task_alloc(name, fn, arg);

	if (!t)
		return -ENOMEM;
	task_start(t);
	return 0;
}
