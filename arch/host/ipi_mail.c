/* SPDX-License-Identifier: MIT */
/*
 * IPIs between CPUs that are threads of their own. A call is put into the other CPU's mailbox; that
 * CPU runs it when it turns interrupts on, or spins with them on, and the caller waits meanwhile
 * and serves its own. For a CPU that is away (asleep, ended) the caller runs it in its name, and
 * the CPU cannot come back before that is over. Only this makes another CPU's lists safe to touch,
 * so a missing interrupts-off section shows as a data race.
 */
#include <pthread.h>
#include <sched.h>

#include "arch/host/host.h"

#define MAX_CPUS 64

struct mail {
	struct mail *next;
	void (*fn)(void *arg);
	void *arg;
	bool done; /* atomic */
};

static struct {
	pthread_mutex_t lock;
	struct mail *mail;	/* lock */
	bool waiting;		/* there is some; atomic, so that an empty box costs one load */
	bool here;		/* a thread runs as this CPU; lock */
} box[MAX_CPUS] = {[0 ... MAX_CPUS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static __thread bool serving;

/* Own box locked. As an interrupt: with interrupts off. */
static void serve_locked(unsigned cpu)
{
	while (box[cpu].mail) {
		struct mail *m = box[cpu].mail;

		box[cpu].mail = m->next;
		host_irqs_off = true;
		m->fn(m->arg);
		host_irqs_off = false;
		__atomic_store_n(&m->done, true, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&box[cpu].waiting, false, __ATOMIC_RELAXED);
}

void host_take_mail(void)
{
	unsigned cpu = host_cpu;

	if (serving || !__atomic_load_n(&box[cpu].waiting, __ATOMIC_RELAXED))
		return;
	serving = true;
	pthread_mutex_lock(&box[cpu].lock);
	serve_locked(cpu);
	pthread_mutex_unlock(&box[cpu].lock);
	serving = false;
}

void host_yield(void)
{
	sched_yield();
}

static void call_one(unsigned cpu, void (*fn)(void *arg), void *arg)
{
	struct mail m = {.fn = fn, .arg = arg};
	unsigned me = host_cpu;

	pthread_mutex_lock(&box[cpu].lock);
	if (!box[cpu].here) {
		serving = true;
		host_cpu = cpu;
		host_irqs_off = true;
		fn(arg);
		host_irqs_off = false;
		host_cpu = me;
		serving = false;
		pthread_mutex_unlock(&box[cpu].lock);
		return;
	}
	m.next = box[cpu].mail;
	box[cpu].mail = &m;
	__atomic_store_n(&box[cpu].waiting, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&box[cpu].lock);
	while (!__atomic_load_n(&m.done, __ATOMIC_ACQUIRE)) {
		host_take_mail();
		sched_yield();
	}
}

void hal_ipi_call(uint64_t cpu_mask, void (*fn)(void *arg), void *arg)
{
	for (unsigned cpu = 0; cpu < host_cpus; cpu++)
		if (cpu != host_cpu && cpu_mask >> cpu & 1)
			call_one(cpu, fn, arg);
}

/* The thread is about to sleep or to end: others may act for its CPU. */
void host_cpu_leave(void)
{
	pthread_mutex_lock(&box[host_cpu].lock);
	serve_locked(host_cpu);
	box[host_cpu].here = false;
	pthread_mutex_unlock(&box[host_cpu].lock);
}

void host_cpu_arrive(void)
{
	pthread_mutex_lock(&box[host_cpu].lock);
	box[host_cpu].here = true;
	pthread_mutex_unlock(&box[host_cpu].lock);
}
