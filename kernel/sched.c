/* SPDX-License-Identifier: MIT */
/*
 * Scheduler: tasks, a round-robin run queue with time slices for each CPU, pre-emption, the tick.
 *
 * Kernel code runs with interrupts on and is pre-empted wherever the depth that os_preempt() counts
 * is 0: where an interrupt ends, and where the depth becomes 0 again. What belongs to a CPU (the
 * running task, its space) is touched with interrupts off; its queue has a lock. Sleeping and waking
 * are in wait.c. The context that booted a CPU is its idle task: it runs when no other task can, is
 * never pre-empted and never sleeps; the first CPU's shuts down at the very end.
 *
 * A task belongs to the CPU whose queue it is in, or was in last (task.cpu). It moves while it is in no
 * queue and off its stack: when it is woken, when it is taken over by a CPU with less to do, when it may
 * not go on where it is. A switch has three ends: the queue's lock is let go, the stack is left, and
 * then task.on_cpu is cleared, with release, by finish_switch() on the next task's stack. Until then no
 * other CPU runs the task: who wakes it puts it into the queue of the CPU that is just leaving it.
 */
#include "cpus.h"
#include "kernel.h"
#include "kernel/proc/proc.h"
#include "psi.h"
#include <quire/os.h>

/* task.preempt_word: how deep, and in the highest bit that nobody waits for this CPU. So the word is 0
 * exactly where the running task must give it up, and one addition tells. */
#define NOBODY_WAITS 0x80000000u

#define BALANCE_TICKS 4 /* ticks from one look at the other CPUs' queues to the next */

static struct task boot_task; /* the first CPU's idle task */
static struct list_head dead_tasks = LIST_HEAD_INIT(dead_tasks);
static struct rawlock dead_lock; /* dead_tasks */
static unsigned ending_tasks;	 /* atomic: task_ends() was called, the stack is still in use */

struct cpu cpus[MAX_CPUS];
uint64_t cpus_online;

static void idle_init(struct task *t, unsigned cpu)
{
	*t = (struct task){.state = TASK_RUNNING, .name = "idle", .idle = true, .cpu = cpu, .on_cpu = true,
			   .preempt_word = NOBODY_WAITS, .allowed = 1ull << cpu};
}

void sched_cpu_online(struct cpu *c, struct task *idle)
{
	c->id = (unsigned)(c - cpus);
	idle_init(idle, c->id);
	INIT_LIST_HEAD(&c->queue);
	c->idle = c->curr = idle;
	c->switched_at = hal_clock_ns();
	hal_set_task(idle);
	c->online = true;
	__atomic_fetch_or(&cpus_online, 1ull << c->id, __ATOMIC_RELEASE);
}

/* May be called again after a shutdown, in the same image. */
void sched_init(void)
{
	INIT_LIST_HEAD(&dead_tasks);
	ending_tasks = 0;
	memset(cpus, 0, sizeof(cpus));
	cpus_online = 0;
	cpus_init();
	stop_init();
	sched_cpu_online(&cpus[0], &boot_task);
	pids_init();
	wait_init();
	timers_init();
	psi_init();
}

/* ---- switching ------------------------------------------------------------------------------- */

void use_mm(struct quire_mm *mm)
{
	irqflags_t flags = hal_irq_save();

	quire_mm_switch(mm);
	hal_irq_restore(flags);
}

/* What a task needs in the processor before it can go on. Interrupts off. */
static void load_task(struct task *t)
{
	struct quire_mm *mm = t->proc && !t->no_space ? t->proc->mm : NULL;

	/* One without a space leaves the last one's in place; but an idle CPU is not to be called for it. */
	if (mm || (is_idle(t) && !one_cpu()))
		quire_mm_switch(mm);
	if (!t->user)
		return;
	if (!t->fpu_in_memory)
		hal_fpu_restore(&t->fpu);
	hal_tls_restore(t->tls);
}

static void enqueue_somewhere(struct task *t);

/* First on the next task's stack: nobody stands on the last one's any more. Interrupts off. */
static void finish_switch(void)
{
	struct cpu *c = this_cpu();
	struct task *left = c->left;
	bool dead = left->state == TASK_DEAD;

	c->left = NULL;
	__atomic_store_n(&left->on_cpu, false, __ATOMIC_RELEASE);
	if (unlikely(dead)) {
		raw_lock(&dead_lock);
		list_add_tail(&left->run, &dead_tasks);
		raw_unlock(&dead_lock);
		__atomic_sub_fetch(&ending_tasks, 1, __ATOMIC_RELEASE);
	} else if (unlikely(c->left_moves)) {
		enqueue_somewhere(left);
		__atomic_store_n(&c->left_moves, false, __ATOMIC_RELEASE);
	}
}

/* Returns when prev is chosen again, maybe much later, from another task and on another CPU. */
static void switch_to(struct task *prev, struct task *next)
{
	enum latency_path path = latency_enter(PATH_THREAD); /* what a new task is on */
	struct cpu *c = this_cpu(); /* the one that is left */

	if (prev->user && prev->state != TASK_DEAD) {
		if (!prev->fpu_in_memory)
			hal_fpu_save(&prev->fpu);
		prev->tls = hal_tls_save();
	}
	rseq_happened(prev, RSEQ_PREEMPT);
	c->left = prev;
	WRITE_ONCE(c->switches, c->switches + 1);
	hal_set_task(next);
	if (next->stack)
		hal_set_kernel_stack((char *)next->stack + STACK_PAGES * PAGE_SIZE);
	hal_context_switch(&prev->ctx, &next->ctx);
	finish_switch();
	load_task(prev); /* that is us again, some time later */
	latency_leave(path);
}

/* Takes what the task has used off its slice; a slice that is used up is the reason for a new one. */
static void charge(struct cpu *c, struct task *t, uint64_t now)
{
	t->slice_left -= (int64_t)(now - c->switched_at);
	c->switched_at = now;
}

/* To the nearest tick, which alone takes the CPU away: a slice that ends just after one would else go
 * on for another. What was used beyond it is taken off the next. */
static bool slice_over(const struct task *t)
{
	return t->slice_left < (int64_t)TICK_NS / 2;
}

/* The task waits for what a signal may end, and not for memory: once all threads of its process do, the
 * space sleeps. One that is woken meanwhile says that it runs when it loads the space. */
static void fall_asleep(struct task *t)
{
	struct process *p = t->proc;

	if (!p || !t->interruptible || t->state != TASK_SLEEPING)
		return;
	t->asleep = true;
	if (__atomic_add_fetch(&p->nr_asleep, 1, __ATOMIC_ACQ_REL) >= READ_ONCE(p->nr_threads) && p->mm)
		quire_mm_sleeps(p->mm);
}

static void end_sleep(struct task *t)
{
	struct process *p = t->proc;

	t->asleep = false;
	__atomic_sub_fetch(&p->nr_asleep, 1, __ATOMIC_ACQ_REL);
	if (p->mm)
		quire_mm_runs(p->mm);
}

static bool may_run_on(const struct task *t, const struct cpu *c)
{
	return READ_ONCE(t->allowed) >> c->id & 1;
}

/* prev can still run, and is queued behind all others; idle never is. The lock. */
static void put_back(struct cpu *c, struct task *prev)
{
	if (prev == c->idle)
		return;
	if (unlikely(!may_run_on(prev, c))) {
		WRITE_ONCE(c->left_moves, true);
		c->nr_running--;
	} else if (unlikely(c->urgent_waits) && !slice_over(prev)) {
		list_add(&prev->run, c->queue.next); /* its slice goes on behind that one */
		prev->queued = true;
	} else {
		list_add_tail(&prev->run, &c->queue);
		prev->queued = true;
	}
}

/* The lock. The first of the queue that may run now, NULL: none. */
static struct task *first_of_queue(struct cpu *c)
{
	struct task *t;

	list_for_each_entry(t, &c->queue, run)
		if (likely(!stopping()) || stop_lets_run(t))
			return t;
	return NULL;
}

/* The lock. Who runs next, which may be prev. */
static struct task *choose(struct cpu *c, struct task *prev)
{
	struct task *next;

	if (prev->state != TASK_RUNNING) {
		c->nr_running--;
		psi_runnable(-1);
		fall_asleep(prev);
	} else {
		put_back(c, prev);
	}
	c->urgent_waits = false;
	next = first_of_queue(c);
	if (next) {
		list_del(&next->run);
		next->queued = false;
	} else {
		next = c->idle;
	}
	WRITE_ONCE(c->curr, next);
	next->on_cpu = true;
	return next;
}

/* Interrupts off. The caller is queued behind all others if it can still run. false: it goes on at once. */
static bool pick_next(void)
{
	struct cpu *c = this_cpu();
	struct task *prev = current, *next;
	bool goes_on;

	ASSERT(!(prev->preempt_word & ~NOBODY_WAITS));
	WRITE_ONCE(prev->need_resched, false);
	prev->preempt_word = NOBODY_WAITS;
	charge(c, prev, hal_clock_ns());
	if (stopping() && prev->state != TASK_RUNNING)
		stop_owner_sleeps();
	raw_lock(&c->lock);
	goes_on = prev->state == TASK_RUNNING;
	next = choose(c, prev);
	raw_unlock(&c->lock);
	if (slice_over(next))
		next->slice_left = clamp(next->slice_left + (int64_t)TICK_NS, (int64_t)0, (int64_t)TICK_NS);
	if (stopping()) /* it stops where it would return to user mode */
		WRITE_ONCE(next->need_resched, true);
	if (next == prev)
		return false;
	if (goes_on)
		WRITE_ONCE(prev->usage.nivcsw, prev->usage.nivcsw + 1);
	else
		WRITE_ONCE(prev->usage.nvcsw, prev->usage.nvcsw + 1);
	switch_to(prev, next);
	return true;
}

void schedule(void)
{
	irqflags_t flags = hal_irq_save();

	pick_next();
	hal_irq_restore(flags);
}

/* ---- pre-emption ----------------------------------------------------------------------------- */

bool preempt_off(void)
{
	return READ_ONCE(current->preempt_word) & ~NOBODY_WAITS;
}

uint64_t preemptions(void)
{
	uint64_t n = 0;
	struct cpu *c;

	for_each_online_cpu(c)
		n += READ_ONCE(c->preemptions);
	return n;
}

/* Somebody waits for the CPU, and the running task's slice is over. Its own CPU, interrupts off. */
static void set_need_resched(struct task *t)
{
	WRITE_ONCE(t->need_resched, true);
	if (options.preempt)
		WRITE_ONCE(t->preempt_word, t->preempt_word & ~NOBODY_WAITS);
}

/* Kernel code is interrupted in favour of another task. Interrupts off. */
static void preempt(void)
{
	struct cpu *c = this_cpu();

	WRITE_ONCE(c->preemptions, c->preemptions + 1);
	pick_next();
}

/* The depth became 0 and somebody waits. With interrupts off it has to wait until they are on. */
static __attribute__((noinline)) void preempt_now(struct task *t)
{
	irqflags_t flags;

	if (hal_irqs_off() || is_idle(t))
		return;
	flags = hal_irq_save();
	if (!t->preempt_word)
		preempt();
	hal_irq_restore(flags);
}

void os_preempt(int delta)
{
	struct task *t = current;

#ifdef MEASURE_LATENCY
	if (delta < 0 && (t->preempt_word & ~NOBODY_WAITS) == 1)
		latency_preempt_on((uintptr_t)__builtin_return_address(0));
#endif
	if (unlikely(hal_local_add(&t->preempt_word, (uint32_t)delta)))
		preempt_now(t);
#ifdef MEASURE_LATENCY
	if (delta > 0 && (t->preempt_word & ~NOBODY_WAITS) == 1)
		latency_preempt_off((uintptr_t)__builtin_return_address(0));
#endif
}

void kernel_irq_exit(void)
{
	struct task *t = current;

	/* a CPU that just started has none yet */
	if (likely(t) && unlikely(!t->preempt_word) && !is_idle(t))
		preempt();
}

/* A good moment even where the kernel is not pre-empted (preempt=none). */
void os_cond_resched(void)
{
	struct task *t = current;

	if (unlikely(READ_ONCE(t->need_resched)) && !is_idle(t) && !preempt_off() && !hal_irqs_off())
		schedule();
}

void kernel_kick(struct trap_frame *tf)
{
	struct task *t = current;
	struct cpu *c;

	if (!t)
		return;
	c = this_cpu();
	cpu_kicked(c, tf);
	if (stopping())
		WRITE_ONCE(t->need_resched, true);
	if (!READ_ONCE(c->resched) || !__atomic_exchange_n(&c->resched, 0, __ATOMIC_ACQ_REL) || is_idle(t))
		return;
	if (!t->need_resched)
		c->wanted_since = hal_clock_ns();
	set_need_resched(t);
}

/* It is to look for another task soon. Any context. */
static void cpu_resched(struct cpu *c)
{
	__atomic_store_n(&c->resched, 1, __ATOMIC_RELEASE);
	hal_cpu_kick(c->id);
}

/* ---- waking, and which CPU it is for ---------------------------------------------------------- */

/* A CPU with nothing to do if there is one, first of all the last one; else the last one, if it may; else
 * the one with the least to do. */
static struct cpu *choose_cpu(const struct task *t)
{
	struct cpu *last = &cpus[t->cpu], *best = NULL, *c;

	if (may_run_on(t, last) && !READ_ONCE(last->nr_running))
		return last;
	for_each_online_cpu(c) {
		if (!may_run_on(t, c))
			continue;
		if (!READ_ONCE(c->nr_running))
			return c;
		if (!best || READ_ONCE(c->nr_running) < READ_ONCE(best->nr_running))
			best = c;
	}
	if (may_run_on(t, last) && last->online)
		return last;
	ASSERT(best);
	return best;
}

/* Puts t, which is in no queue, into c's. The lock. What is to be done once it is let go: 0, or that c is
 * to be kicked. */
static bool enqueue(struct cpu *c, struct task *t)
{
	bool here = c->id == hal_cpu_id();

	if (unlikely(t->cpu != c->id))
		rseq_happened(t, RSEQ_MIGRATE);
	t->cpu = c->id;
	t->queued = true;
	c->nr_running++;
	c->wakeups++;
	if (likely(!t->urgent)) {
		list_add_tail(&t->run, &c->queue);
	} else {
		list_add(&t->run, &c->queue);
		c->urgent_waits = true;
	}
	if (c->curr == c->idle)
		return !here;
	if (likely(!t->urgent))
		return false;
	if (!here) {
		__atomic_store_n(&c->resched, 1, __ATOMIC_RELEASE);
		return true;
	}
	if (!c->curr->need_resched) {
		c->wanted_since = hal_clock_ns();
		set_need_resched(c->curr);
	}
	return false;
}

static void dequeue(struct cpu *c, struct task *t)
{
	list_del(&t->run);
	t->queued = false;
	c->nr_running--;
}

/* t can run, is in no queue and off its stack, and nobody else has it. Interrupts off. What it may run on
 * can change meanwhile: who changes that looks into the queue after. */
static void enqueue_somewhere(struct task *t)
{
	struct cpu *c;
	bool kick;

	for (;;) {
		c = one_cpu() ? &cpus[0] : choose_cpu(t);
		raw_lock(&c->lock);
		if (likely(may_run_on(t, c)))
			break;
		raw_unlock(&c->lock);
	}
	t->state = TASK_RUNNING;
	kick = enqueue(c, t);
	raw_unlock(&c->lock);
	if (kick)
		hal_cpu_kick(c->id);
}

/* Whose stack is still in use: it stays with the CPU that leaves it. false: it is off its stack. */
static bool wake_on_its_cpu(struct cpu *c, struct task *t)
{
	bool kick = false;

	raw_lock(&c->lock);
	psi_runnable(c->curr != t);
	if (c->curr == t) { /* it has not gone yet */
		t->state = TASK_RUNNING;
		raw_unlock(&c->lock);
		return true;
	}
	if (t->asleep)
		end_sleep(t);
	if (!__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE)) {
		raw_unlock(&c->lock);
		return false;
	}
	t->state = TASK_RUNNING;
	kick = enqueue(c, t);
	raw_unlock(&c->lock);
	if (kick)
		hal_cpu_kick(c->id);
	return true;
}

/* Any context. */
void make_runnable(struct task *t)
{
	irqflags_t flags = hal_irq_save();

	if (!wake_on_its_cpu(&cpus[t->cpu], t))
		enqueue_somewhere(t);
	hal_irq_restore(flags);
}

/* ---- balance --------------------------------------------------------------------------------- */

/* Of two, the one with the lower number first. */
static void lock_both(struct cpu *a, struct cpu *b)
{
	raw_lock(a < b ? &a->lock : &b->lock);
	raw_lock(a < b ? &b->lock : &a->lock);
}

/* The last of another's queue that may run here; the first ones have waited long, and go on there soon. */
static struct task *find_one_to_take(struct cpu *from, const struct cpu *to)
{
	struct task *t;

	list_for_each_entry_reverse(t, &from->queue, run)
		if (may_run_on(t, to) && !__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE))
			return t;
	return NULL;
}

/* Takes over a task from the CPU that has most, if that has at least two more than this one. Interrupts
 * off. */
static bool pull(struct cpu *c)
{
	struct cpu *busiest = c, *o;
	struct task *t;

	if (one_cpu() || stopping())
		return false;
	for_each_online_cpu(o)
		if (READ_ONCE(o->nr_running) > READ_ONCE(busiest->nr_running))
			busiest = o;
	if (busiest == c || READ_ONCE(busiest->nr_running) < READ_ONCE(c->nr_running) + 2)
		return false;
	lock_both(c, busiest);
	t = busiest->nr_running < c->nr_running + 2 ? NULL : find_one_to_take(busiest, c);
	if (t) {
		dequeue(busiest, t);
		(void)enqueue(c, t);
	}
	raw_unlock(&busiest->lock);
	raw_unlock(&c->lock);
	return t;
}

bool all_cpus_idle(void)
{
	uint64_t before = 0, after = 0;
	bool idle = true;
	struct cpu *c;

	/* a task that wakes another and sleeps shows in the number of wake-ups */
	for_each_online_cpu(c)
		before += __atomic_load_n(&c->wakeups, __ATOMIC_SEQ_CST);
	for_each_online_cpu(c)
		idle &= !__atomic_load_n(&c->nr_running, __ATOMIC_SEQ_CST);
	for_each_online_cpu(c)
		after += __atomic_load_n(&c->wakeups, __ATOMIC_SEQ_CST);
	return idle && before == after;
}

bool all_running_stall(void)
{
	bool any = false;
	struct cpu *c;

	for_each_online_cpu(c) {
		bool runs, stalls;

		raw_lock(&c->lock);
		runs = c->curr != c->idle;
		stalls = c->curr->memstall;
		raw_unlock(&c->lock);
		if (runs && !stalls)
			return false;
		any |= runs;
	}
	return any;
}

/* The CPU that t belongs to, locked. Interrupts off. */
static struct cpu *lock_cpu_of(const struct task *t)
{
	for (;;) {
		struct cpu *c = &cpus[READ_ONCE(t->cpu)];

		raw_lock(&c->lock);
		if (likely(READ_ONCE(t->cpu) == c->id))
			return c;
		raw_unlock(&c->lock);
	}
}

void kick_task(struct task *t)
{
	irqflags_t flags;
	struct cpu *c;
	bool runs;

	if (one_cpu())
		return;
	flags = hal_irq_save();
	c = lock_cpu_of(t);
	runs = c->curr == t && c->id != hal_cpu_id();
	raw_unlock(&c->lock);
	if (runs)
		hal_cpu_kick(c->id);
	hal_irq_restore(flags);
}

/* One that runs on a CPU that it may not gives it up at the next occasion, and is put elsewhere then. */
void set_task_cpus(struct task *t, uint64_t allowed)
{
	irqflags_t flags = hal_irq_save();
	bool runs, queued;
	struct cpu *c;

	__atomic_store_n(&t->allowed, allowed, __ATOMIC_SEQ_CST);
	c = lock_cpu_of(t);
	while (c->curr != t && t->on_cpu) { /* woken while it leaves: its CPU is about to be through */
		raw_unlock(&c->lock);
		hal_cpu_relax();
		c = lock_cpu_of(t);
	}
	runs = c->curr == t && !may_run_on(t, c);
	queued = t->queued && !may_run_on(t, c);
	if (queued)
		dequeue(c, t);
	raw_unlock(&c->lock);
	if (queued)
		enqueue_somewhere(t);
	if (runs && t != current)
		cpu_resched(c);
	hal_irq_restore(flags);
	if (runs && t == current)
		schedule();
}

/* ---- birth and death of tasks ---------------------------------------------------------------- */

unsigned task_order(void)
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

	finish_switch();
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
	t->preempt_word = NOBODY_WAITS;
	t->allowed = ~0ull;
	t->cpu = READ_ONCE(current->cpu);
	INIT_LIST_HEAD(&t->all);
	INIT_LIST_HEAD(&t->pi_owned);
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

void task_ends(void)
{
	ASSERT(hal_irqs_off() && !current->ending);
	current->ending = true;
	__atomic_add_fetch(&ending_tasks, 1, __ATOMIC_RELAXED);
}

/* The stack we stand on cannot be freed by us: the next one to make, to wait for or to end a task does
 * it. */
_Noreturn void task_end(void)
{
	struct task *t = current;

	hal_irq_disable();
	if (!t->ending)
		task_ends();
	task_unpublish(t);
	t->state = TASK_DEAD;
	pick_next();
	BUG();
}

/* Nobody but the list knows them, and they have all left their stacks. */
void reap_tasks(void)
{
	for (;;) {
		irqflags_t flags = hal_irq_save();
		struct task *t = NULL;

		raw_lock(&dead_lock);
		if (!list_empty(&dead_tasks)) {
			t = list_first_entry(&dead_tasks, struct task, run);
			list_del(&t->run);
		}
		raw_unlock(&dead_lock);
		hal_irq_restore(flags);
		if (!t)
			return;
		task_discard(t);
	}
}

/* They do not sleep; but they may have been pre-empted. */
void reap_ended_tasks(void)
{
	while (__atomic_load_n(&ending_tasks, __ATOMIC_ACQUIRE)) {
		os_cond_resched();
		hal_cpu_relax();
	}
	reap_tasks();
}

/* ---- time ------------------------------------------------------------------------------------ */

/* The clock's and the devices' part of the tick is the first CPU's. */
static void machine_tick(uint64_t now)
{
	psi_tick(now);
	load_tick(now);
	timers_expire(now);
	console_tick();
	hostio_tick();
}

static void account(struct cpu *c, struct task *t, bool user)
{
	uint64_t *of_cpu = user ? &c->user_ns : is_idle(t) ? &c->idle_ns : &c->system_ns;
	uint64_t *of_task = user ? &t->usage.utime_ns : &t->usage.stime_ns;

	WRITE_ONCE(*of_cpu, *of_cpu + TICK_NS);
	if (!is_idle(t))
		WRITE_ONCE(*of_task, *of_task + TICK_NS);
}

/* Interrupts off. The tick belongs to whoever runs now; a slice goes on until it is used up. */
void kernel_timer_tick(struct trap_frame *tf)
{
	bool user = tf && tf_user(tf);
	uint64_t now = hal_clock_ns();
	enum latency_path before = latency_enter(PATH_TICK);
	struct cpu *c = this_cpu();
	struct task *t = current;

	if (!c->id)
		machine_tick(now);
	if (user)
		t->utf = tf;
	account(c, t, user);
	cpu_timers_tick(t, user);
	if (unlikely(!one_cpu()) && !is_idle(t) && now / TICK_NS % BALANCE_TICKS == c->id % BALANCE_TICKS)
		pull(c);
	latency_leave(before);
	if (is_idle(t) || list_empty(&c->queue) || stopping())
		return;
	charge(c, t, now);
	if (!slice_over(t))
		return;
	if (!t->need_resched)
		c->wanted_since = now;
	set_need_resched(t);
	if (unlikely(now - c->wanted_since > STUCK_NS) && !user)
		show_stuck(tf);
}

static bool queue_waits(struct cpu *c)
{
	return __atomic_load_n(&c->nr_running, __ATOMIC_ACQUIRE) || pull(c);
}

void idle_while(const uint32_t *word, uint32_t seen)
{
	struct cpu *c = this_cpu(); /* idle is never moved */

	ASSERT(is_idle(current));
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen) {
		hal_irq_disable();
		if (!queue_waits(c) || !pick_next())
			hal_idle();
		hal_irq_enable();
	}
}

_Noreturn void idle_loop(void)
{
	struct cpu *c = this_cpu();

	latency_enter(PATH_IDLE);
	for (;;) {
		hal_irq_disable();
		if (!c->id && shutting_down && no_process_left() && !stopping())
			finish_shutdown();
		if (queue_waits(c) && pick_next())
			continue;
		if (!c->id)
			check_deadlock();
		hal_idle();
	}
}

/* ---- what the core asks for ------------------------------------------------------------------ */

uintptr_t os_thread_id(void)
{
	return (uintptr_t)current;
}

unsigned long *os_thread_word(void)
{
	return &current->core_word;
}
