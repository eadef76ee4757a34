/* SPDX-License-Identifier: MIT */
/*
 * The contract above for CPUs that are host threads: sleeping and waking over condition variables.
 * A thread that sleeps leaves its CPU, so that others may act for it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "arch/host/host.h"
#include <quire/os.h>

#define BUCKETS 64

/* A comment of the test's protocol. */
void os_log(const char *line)
{
	printf("# %s\n", line);
}

/* One that sleeps, on its own stack; in the order in which they came. */
struct sleeper {
	const void *key;
	bool woken;
	pthread_cond_t wake;
	struct sleeper *next;
};

static struct {
	pthread_mutex_t lock;
	struct sleeper *first;
} bucket[BUCKETS] = {[0 ... BUCKETS - 1] = {PTHREAD_MUTEX_INITIALIZER, NULL}};

static unsigned bucket_of(const void *key)
{
	return ((uintptr_t)key >> 4) * 0x9e3779b97f4a7c15ull >> 58;
}

struct os_thread {
	pthread_t thread;
	void (*fn)(void *);
	void *arg;
	bool stop; /* atomic */
};

static __thread struct os_thread *me_thread;

uint64_t os_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t); /* what a condition variable's deadline is told in */
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Out of the list by itself: nobody has woken it. Bucket locked. */
static void remove_sleeper(unsigned b, const struct sleeper *me)
{
	for (struct sleeper **s = &bucket[b].first; *s; s = &(*s)->next)
		if (*s == me) {
			*s = me->next;
			return;
		}
}

/* Bucket locked. */
static void sleep_until(struct sleeper *me, unsigned b, uint64_t deadline_ns, bool stoppable)
{
	struct timespec t = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
	int err = 0;

	while (!me->woken && !err && !(stoppable && os_thread_should_stop())) {
		if (deadline_ns == UINT64_MAX)
			pthread_cond_wait(&me->wake, &bucket[b].lock);
		else
			err = pthread_cond_timedwait(&me->wake, &bucket[b].lock, &t);
	}
	if (!me->woken)
		remove_sleeper(b, me);
}

/* Whoever changes *word wakes afterwards, under the bucket's lock: no wake-up is missed. */
static void wait_on(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns,
		    bool stoppable)
{
	struct sleeper me = {key, false, PTHREAD_COND_INITIALIZER, NULL}, **last;
	unsigned b = bucket_of(key);

	host_cpu_leave();
	pthread_mutex_lock(&bucket[b].lock);
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == seen) {
		for (last = &bucket[b].first; *last; last = &(*last)->next)
			;
		*last = &me;
		sleep_until(&me, b, deadline_ns, stoppable);
	}
	pthread_mutex_unlock(&bucket[b].lock);
	host_cpu_arrive();
}

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	wait_on(key, word, seen, UINT64_MAX, false);
}

void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	wait_on(key, word, seen, deadline_ns, true);
}

/* n of this key and no others: what counts on being woken besides would sleep for ever. */
void os_wake(const void *key, unsigned n)
{
	unsigned b = bucket_of(key);

	pthread_mutex_lock(&bucket[b].lock);
	for (struct sleeper **s = &bucket[b].first; *s && n;) {
		struct sleeper *found = *s;

		if (found->key != key) {
			s = &found->next;
			continue;
		}
		*s = found->next;
		found->woken = true;
		n--;
		pthread_cond_signal(&found->wake);
	}
	pthread_mutex_unlock(&bucket[b].lock);
}

uintptr_t os_thread_id(void)
{
	static __thread char mine;

	return (uintptr_t)&mine;
}

void os_cond_resched(void)
{
	host_take_mail();
}

unsigned long *os_thread_word(void)
{
	static __thread unsigned long word;

	return &word;
}

bool os_thread_should_stop(void)
{
	return me_thread && __atomic_load_n(&me_thread->stop, __ATOMIC_ACQUIRE);
}

/* Such a thread has a CPU to itself, the highest that is not taken. */
static unsigned threads_started;

static void *thread_main(void *arg)
{
	me_thread = arg;
	host_cpu_enter(hal_cpu_count() - 1 - __atomic_fetch_add(&threads_started, 1, __ATOMIC_RELAXED));
	me_thread->fn(me_thread->arg);
	host_cpu_leave();
	return NULL;
}

int os_thread_start(const char *name, void (*fn)(void *arg), void *arg, struct os_thread **thread)
{
	struct os_thread *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->fn = fn;
	t->arg = arg;
	*thread = t;
	return pthread_create(&t->thread, NULL, thread_main, t) ? -ENOMEM : 0;
}

/* Wherever it sleeps, it looks again. */
static void wake_everybody(void)
{
	for (unsigned b = 0; b < BUCKETS; b++) {
		pthread_mutex_lock(&bucket[b].lock);
		for (struct sleeper *s = bucket[b].first; s; s = s->next)
			pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&bucket[b].lock);
	}
}

void os_thread_stop(struct os_thread *t)
{
	__atomic_store_n(&t->stop, true, __ATOMIC_RELEASE);
	wake_everybody();
	host_cpu_leave();
	pthread_join(t->thread, NULL);
	host_cpu_arrive();
	__atomic_fetch_sub(&threads_started, 1, __ATOMIC_RELAXED);
	free(t);
}
