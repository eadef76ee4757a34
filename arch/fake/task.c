/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's kernel contexts (tasks) as host threads: a thread runs only while it holds a
 * CPU's token, which hal_context_switch() hands over. So kernel/ sees one CPU that switches stacks,
 * and sanitizers see ordinary threads. Also the boot, the timer, and the end of the machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/fake/task.h"

#define HOST_STACK (1u << 20) /* kernel stacks are too small for host libraries and sanitizers */
#define IDLE_LIMIT 3000000u   /* idle ticks in a row: nothing will ever run again */

static pthread_mutex_t sched_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static struct fake_task *tasks;
static bool ending, exited;
static int exit_status;
static uint64_t next_tick;
static unsigned idle_ticks;
static __thread struct fake_task *me;

fake_program fake_first_program;
void *fake_first_state;

/* ---- threads --------------------------------------------------------------------------------- */

static struct fake_task *task_new(void)
{
	struct fake_task *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	pthread_cond_init(&t->wake, NULL);
	t->next = tasks;
	tasks = t;
	return t;
}

struct fake_task *fake_me(void)
{
	if (!me) {
		pthread_mutex_lock(&sched_lock);
		me = task_new();
		me->adopted = me->started = true;
		pthread_mutex_unlock(&sched_lock);
	}
	return me;
}

/* Waits for the token; never comes back if the context or the machine ended. Lock held. */
static void wait_for_token(struct fake_task *t)
{
	while (!t->token && !t->dead && !ending)
		pthread_cond_wait(&t->wake, &sched_lock);
	if (t->dead || ending) {
		pthread_mutex_unlock(&sched_lock);
		pthread_exit(NULL);
	}
	t->token = false;
	self.cpu = t->cpu;
}

static void *task_main(void *arg)
{
	me = arg;
	pthread_mutex_lock(&sched_lock);
	self = (struct self){.irqs_off = true};
	wait_for_token(me);
	pthread_mutex_unlock(&sched_lock);
	me->fn(me->arg);
	fake_accuse(FAKE_BAD_CALL, "a kernel context returned from its function");
	return NULL;
}

static int start_thread(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HOST_STACK);
	err = pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return err;
}

/* ---- the contract: contexts ------------------------------------------------------------------ */

void hal_context_init(struct hal_context *c, void *stack, size_t size, void (*fn)(void *),
		      void *arg)
{
	pthread_mutex_lock(&sched_lock);
	c->task = task_new();
	c->task->fn = fn;
	c->task->arg = arg;
	pthread_mutex_unlock(&sched_lock);
}

void hal_context_switch(struct hal_context *prev, struct hal_context *next)
{
	struct fake_task *from = fake_me(), *to = next->task;

	if (!self.irqs_off)
		fake_accuse(FAKE_CONTEXT, "hal_context_switch with interrupts on");
	if (!prev->task)
		prev->task = from;
	if (prev->task != from || !to || to->dead) {
		fake_accuse(FAKE_BAD_CALL, "hal_context_switch %s",
			    to && !to->dead ? "from a context that does not run" :
					      "to a context that ended");
		return;
	}
	if (from == to)
		return;
	pthread_mutex_lock(&sched_lock);
	to->cpu = self.cpu;
	to->token = true;
	if (!to->started) {
		to->started = true;
		if (start_thread(&to->thread, task_main, to)) {
			fprintf(stderr, "fake machine: no host thread for a task\n");
			abort();
		}
	}
	pthread_cond_signal(&to->wake);
	wait_for_token(from);
	pthread_mutex_unlock(&sched_lock);
}

static void task_free(struct fake_task *t)
{
	struct fake_task **p;

	for (p = &tasks; *p && *p != t; p = &(*p)->next)
		;
	if (*p)
		*p = t->next;
	pthread_cond_destroy(&t->wake);
	fake_user_task_ends(t);
	free(t);
}

void hal_context_destroy(struct hal_context *c)
{
	struct fake_task *t = c->task;

	if (!t)
		return;
	if (t == me) {
		fake_accuse(FAKE_BAD_CALL, "hal_context_destroy of the running context");
		return;
	}
	pthread_mutex_lock(&sched_lock);
	t->dead = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&sched_lock);
	if (t->started && !t->adopted)
		pthread_join(t->thread, NULL);
	pthread_mutex_lock(&sched_lock);
	task_free(t);
	pthread_mutex_unlock(&sched_lock);
	c->task = NULL;
}

void hal_set_kernel_stack(void *top)
{
}

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t hal_clock_ns(void)
{
	return __atomic_load_n(&machine.clock_ns, __ATOMIC_RELAXED);
}

/* A machine in software has no day: its runs are the same at any hour. */
uint64_t hal_realtime_ns(void)
{
	return 0;
}

/* The next tick comes when the period is over, give or take a quarter that the seed decides. */
static void plan_tick(void)
{
	fake_lock();
	next_tick = machine.clock_ns + machine.period_ns - machine.period_ns / 4 +
		    (machine.period_ns >= 2 ? fake_random() % (machine.period_ns / 2) : 0);
	fake_unlock();
}

void hal_timer_start(uint64_t ns)
{
	machine.period_ns = ns ? ns : 1;
	plan_tick();
}

static bool timer_expired(void)
{
	if (!machine.period_ns || hal_clock_ns() < next_tick)
		return false;
	plan_tick();
	return true;
}

static void advance_clock(uint64_t to)
{
	if (hal_clock_ns() < to)
		__atomic_store_n(&machine.clock_ns, to, __ATOMIC_RELAXED);
}

/* A device's interrupt comes before the next tick. */
static bool idle_for_a_device(void)
{
	uint64_t event = machine.next_event ? machine.next_event() : UINT64_MAX;

	if (event >= next_tick)
		return false;
	advance_clock(event);
	machine.on_idle();
	return true;
}

void hal_idle(void)
{
	struct trap_frame tf = {0};

	if (++idle_ticks > IDLE_LIMIT) {
		static const char why[] = "fake machine: idle for ever, no task will run again\n";

		hal_log(why, sizeof(why) - 1);
		hal_exit(3);
	}
	if (idle_for_a_device())
		return;
	advance_clock(next_tick);
	plan_tick();
	machine.count.timer_irqs++;
	self.in_irq = true;
	kernel_timer_tick(&tf);
	self.in_irq = false;
}

void fake_not_idle(void)
{
	idle_ticks = 0;
}

uint64_t hal_entropy(void)
{
	uint64_t v;

	fake_lock();
	v = fake_random();
	fake_unlock();
	return v;
}

void hal_irq_disable(void)
{
	self.irqs_off = true;
}

void hal_irq_enable(void)
{
	self.irqs_off = false;
	fake_poll();
}

int hal_console_getc(void)
{
	unsigned char c;

	if (!machine.cfg.console)
		return -1;
	return read(0, &c, 1) == 1 ? c : -1;
}

/* ---- boot and end ---------------------------------------------------------------------------- */

void *fake_trace_ring(size_t *size)
{
	if (size)
		*size = machine.cfg.trace_ring_size;
	return machine.cfg.trace_ring_size ? hal_phys_to_virt(machine.ring_phys) : NULL;
}

/* hal_exit() on a machine that was booted: the calling thread ends, the booter goes on. */
static void end_machine(int status)
{
	pthread_mutex_lock(&sched_lock);
	if (!ending) {
		exit_status = status;
		ending = true;
	}
	for (struct fake_task *t = tasks; t; t = t->next)
		pthread_cond_signal(&t->wake);
	exited = true;
	pthread_cond_broadcast(&ended);
	pthread_mutex_unlock(&sched_lock);
	pthread_exit(NULL);
}

static void *boot_main(void *arg)
{
	const struct fake_config *c = &machine.cfg;
	struct boot_info bi = {
		.cmdline = c->cmdline ? c->cmdline : "",
		.initrd = c->initrd_size ? hal_phys_to_virt(machine.initrd_phys) : NULL,
		.initrd_size = c->initrd_size,
		.trace_ring = fake_trace_ring(NULL),
		.trace_ring_size = c->trace_ring_size,
		.trace_ring_phys = machine.ring_phys,
	};

	self = (struct self){.irqs_off = true};
	kernel_main(&bi);
}

/* Ends every thread that still stands in a context; all of them wait. */
static void end_tasks(void)
{
	while (tasks) {
		struct fake_task *t = tasks;

		if (t->started && !t->adopted)
			pthread_join(t->thread, NULL);
		task_free(t);
	}
	fake_user_ends();
}

int fake_run(fake_program program, void *state)
{
	pthread_t boot;

	fake_first_program = program;
	fake_first_state = state;
	ending = exited = false;
	machine.period_ns = 0;
	idle_ticks = 0;
	machine.on_exit = end_machine;
	machine.on_timer = fake_kernel_timer;
	machine.on_device_irq = fake_kernel_irq;
	machine.timer_expired = timer_expired;
	fake_on_fault(fake_kernel_fault, NULL);
	if (start_thread(&boot, boot_main, NULL))
		return -1;
	pthread_mutex_lock(&sched_lock);
	while (!exited)
		pthread_cond_wait(&ended, &sched_lock);
	pthread_mutex_unlock(&sched_lock);
	pthread_join(boot, NULL);
	end_tasks();
	machine.on_exit = NULL;
	machine.on_timer = NULL;
	machine.on_device_irq = NULL;
	machine.timer_expired = NULL;
	fake_on_fault(NULL, NULL);
	machine.period_ns = 0;
	return exit_status;
}
