/* SPDX-License-Identifier: MIT */
/*
 * CPUs of the fake machine that take turns on one host thread. A context has a stack of its own
 * (ucontext); one context stands on each CPU, its own idle one if there is nothing else. The turn goes
 * from CPU to CPU: at points that the machine's chance chooses, wherever a CPU waits for another, and
 * never while the machine is locked. A context that sleeps, or is moved, leaves its CPU to one that is
 * ready, or to the idle one.
 *
 * A context that waits gets the turn only now and then while others have something to do; who waits for
 * a ticket lock needs it to see that it is its own turn. So nobody starves.
 *
 * Some that a point stops stay where they are for long, so that others do whole calls meanwhile: what is
 * wrong for a moment only is met then.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "arch/fake/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define LEAVE_STACK(save, to) __sanitizer_start_switch_fiber(save, (to)->stack, (to)->size)
#define ENTER_STACK(save)     __sanitizer_finish_switch_fiber(save, NULL, NULL)
#else
#define LEAVE_STACK(save, to) ((void)(save))
#define ENTER_STACK(save)     ((void)(save))
#endif

#define STACK_SIZE (512u << 10)
#define STUCK	   1000000u /* turns in a row of contexts that wait */
#define MOVES	   8u	    /* one in so many turns of a movable context moves it */
#define PARKED	   8u	    /* one in so many chosen points stops its CPU for a while: */
#define PARK_BITS  12u	    /* up to 2 to this power turns of others */

struct fake_context {
	struct fake_context *next; /* ready, or gone */
	ucontext_t uc;
	struct self self;
	void *fake_stack; /* the sanitizer's */
	char *stack;
	size_t size;
	void (*fn)(void *arg);
	void *arg, *data;
	int cpu; /* -1: on none */
	uint64_t parked; /* until that turn, if there is another that can go on */
	bool woken, asleep, idle, waits, ended;
};

static struct {
	const struct fake_turns *how;
	struct fake_context *on[FAKE_MAX_CPUS], idle[FAKE_MAX_CPUS];
	struct fake_context *mine, *ready, *gone;
	unsigned contexts, nready, stuck;
	uint64_t number; /* of turns so far */
} turns;

struct fake_context *fake_context_mine(void)
{
	return turns.mine;
}

void *fake_context_data(void)
{
	return turns.mine ? turns.mine->data : NULL;
}

unsigned fake_contexts(void)
{
	return turns.contexts;
}

bool fake_turn_stack(uintptr_t *start, uintptr_t *end)
{
	if (!turns.mine || !turns.mine->stack)
		return false;
	*start = (uintptr_t)turns.mine->stack;
	*end = *start + turns.mine->size;
	return true;
}

/* A chance of its own, as the points have. */
static unsigned draw(unsigned n)
{
	uint64_t r = machine.point_rng;

	r ^= r << 13;
	r ^= r >> 7;
	r ^= r << 17;
	machine.point_rng = r;
	return (r >> 20) % n;
}

/* ---- from context to context ----------------------------------------------------------------- */

static void free_gone(void)
{
	while (turns.gone) {
		struct fake_context *c = turns.gone;

		turns.gone = c->next;
		munmap(c->stack, c->size);
		free(c);
	}
}

static void go_to(struct fake_context *to)
{
	struct fake_context *from = turns.mine;

	if (from == to)
		return;
	machine.count.turns++;
	from->self = self;
	turns.mine = to;
	LEAVE_STACK(from->ended ? NULL : &from->fake_stack, to);
	swapcontext(&from->uc, &to->uc);
	ENTER_STACK(from->fake_stack);
	self = from->self;
	self.cpu = from->cpu;
	self.context = from;
}

static void arrive(struct fake_context *c)
{
	self.irqs_off = true;
	turns.how->arrived(c);
	self.irqs_off = false;
	fake_take_calls();
}

/* c stands on this CPU from now on, whose context was the running one; that goes on elsewhere, later. */
static void stand(unsigned cpu, struct fake_context *c)
{
	turns.on[cpu] = c;
	c->cpu = cpu;
	c->waits = false;
	go_to(c);
}

static struct fake_context *take_ready(void)
{
	struct fake_context **p = &turns.ready, *c;

	for (unsigned n = draw(turns.nready); n; n--)
		p = &(*p)->next;
	c = *p;
	*p = c->next;
	turns.nready--;
	return c;
}

static void make_ready(struct fake_context *c)
{
	c->next = turns.ready;
	turns.ready = c;
	turns.nready++;
}

/* The running context leaves its CPU, and stands on one again when this returns. */
static void leave_cpu(void)
{
	struct fake_context *c = turns.mine;
	unsigned cpu = c->cpu;

	c->cpu = -1;
	stand(cpu, turns.nready ? take_ready() : &turns.idle[cpu]);
	free_gone();
	arrive(c);
}

static void context_main(void)
{
	struct fake_context *c = turns.mine;
	unsigned cpu;

	ENTER_STACK(c->fake_stack);
	self = (struct self){.cpu = c->cpu, .context = c};
	free_gone();
	arrive(c);
	c->fn(c->arg);
	c->ended = true;
	turns.contexts--;
	c->next = turns.gone;
	turns.gone = c;
	cpu = c->cpu;
	stand(cpu, turns.nready ? take_ready() : &turns.idle[cpu]);
}

static void prepare(struct fake_context *c, void (*fn)(void))
{
	getcontext(&c->uc);
	c->uc.uc_stack.ss_sp = c->stack;
	c->uc.uc_stack.ss_size = c->size;
	c->uc.uc_link = NULL;
	makecontext(&c->uc, fn, 0);
}

static char *new_stack(void)
{
	char *p = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct fake_context *fake_context_start(void (*fn)(void *arg), void *arg, void *data)
{
	struct fake_context *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct fake_context){.stack = new_stack(), .size = STACK_SIZE, .fn = fn, .arg = arg,
				   .data = data, .cpu = -1};
	if (!c->stack) {
		free(c);
		return NULL;
	}
	prepare(c, context_main);
	turns.contexts++;
	make_ready(c);
	return c;
}

void fake_context_sleep(void)
{
	struct fake_context *c = turns.mine;

	if (self.irqs_off || self.in_irq)
		fake_accuse(FAKE_CONTEXT, "a context sleeps with interrupts off");
	if (!c->woken) {
		c->asleep = true;
		leave_cpu();
	}
	c->woken = false;
}

void fake_context_wake(struct fake_context *c)
{
	c->woken = true;
	if (!c->asleep)
		return;
	c->asleep = false;
	make_ready(c);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static bool has_work(unsigned cpu)
{
	const struct fake_context *c = turns.on[cpu];

	return !c->idle || turns.nready || machine.cpu[cpu].inbox ||
	       machine.cpu[cpu].kicked || (c != turns.mine && c->self.in_irq) || (!cpu && !turns.contexts);
}

/* A CPU other than ours to go on, -1: none. */
static int choose(bool waiters, bool parked)
{
	unsigned n = machine.cfg.cpus, first = draw(n);

	for (unsigned i = 0; i < n; i++) {
		unsigned cpu = (first + i) % n;

		if (turns.on[cpu] != turns.mine && has_work(cpu) && (waiters || !turns.on[cpu]->waits) &&
		    (parked || turns.on[cpu]->parked <= turns.number))
			return (int)cpu;
	}
	return -1;
}

static void look_stuck(void)
{
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		if (!turns.on[cpu]->waits && has_work(cpu)) {
			turns.stuck = 0;
			return;
		}
	if (++turns.stuck >= STUCK)
		turns.how->stuck();
}

void fake_turn(bool waits)
{
	struct fake_context *c = turns.mine;
	int cpu;

	if (!machine.in_turns || self.locked)
		return;
	c->waits = waits;
	turns.number++;
	if (waits)
		look_stuck();
	else
		turns.stuck = 0;
	if (!c->idle && !self.irqs_off && !self.in_irq && turns.nready && !draw(MOVES) &&
	    turns.how->movable()) {
		make_ready(c);
		leave_cpu();
		return;
	}
	if (!waits && !draw(PARKED))
		c->parked = turns.number + (1u << draw(PARK_BITS + 1));
	cpu = choose(!draw(8), false);
	if (cpu < 0)
		cpu = choose(true, false);
	if (cpu < 0 && (waits || c->parked > turns.number))
		cpu = choose(true, true);
	if (cpu >= 0)
		go_to(turns.on[cpu]);
	c->waits = false;
	fake_take_calls();
}

void fake_tell_turns(void)
{
	for (unsigned cpu = 0; machine.in_turns && cpu < machine.cfg.cpus; cpu++) {
		struct fake_context *c = turns.on[cpu];
		const struct self *s = c == turns.mine ? &self : &c->self;

		fprintf(stderr, "    CPU %u: %s%s, interrupts %s%s%s\n", cpu, c->idle ? "idle" : "busy",
			c->waits ? ", waits" : "", s->irqs_off ? "off" : "on",
			s->in_irq ? ", in an interrupt" : "",
			machine.cpu[cpu].inbox ? ", has calls" : "");
	}
}

void fake_context_point(void)
{
	fake_cross();
}

static bool all_idle(void)
{
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		if (!turns.on[cpu]->idle || has_work(cpu))
			return false;
	return true;
}

/* What a CPU does that nobody stands on: takes calls, and who is ready. */
static void idle_loop(unsigned cpu)
{
	while (cpu || turns.contexts) {
		fake_take_calls();
		if (turns.nready) {
			turns.idle[cpu].cpu = cpu;
			stand(cpu, take_ready());
			free_gone();
		} else if (turns.contexts && all_idle()) {
			if (!turns.how->idle())
				turns.how->stuck();
		} else {
			fake_turn(true);
		}
	}
}

static void idle_main(void)
{
	struct fake_context *c = turns.mine;

	ENTER_STACK(c->fake_stack);
	self = (struct self){.cpu = c->cpu, .context = c};
	idle_loop(c->cpu);
}

/* The caller's stack is CPU 0's. */
static void find_stack(struct fake_context *c)
{
	pthread_attr_t attr;
	void *base;

	if (pthread_getattr_np(pthread_self(), &attr))
		abort();
	pthread_attr_getstack(&attr, &base, &c->size);
	pthread_attr_destroy(&attr);
	c->stack = base;
}

void fake_take_turns(const struct fake_turns *how)
{
	struct self mine = self;

	turns.how = how;
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		struct fake_context *c = &turns.idle[cpu];

		*c = (struct fake_context){.idle = true, .cpu = cpu};
		turns.on[cpu] = c;
		if (!cpu)
			continue;
		c->stack = new_stack();
		c->size = STACK_SIZE;
		if (!c->stack)
			abort();
		prepare(c, idle_main);
	}
	find_stack(&turns.idle[0]);
	turns.mine = &turns.idle[0];
	self.context = turns.mine;
	machine.in_turns = true;
	idle_loop(0);
	machine.in_turns = false;
	turns.mine = NULL;
	free_gone();
	for (unsigned cpu = 1; cpu < machine.cfg.cpus; cpu++)
		munmap(turns.idle[cpu].stack, STACK_SIZE);
	self = mine;
}
