/* SPDX-License-Identifier: MIT */
/*
 * The contract above for CPUs that are host threads: sleeping and waking over condition variables.
 * A thread that sleeps leaves its CPU, so that others may act for it.
 */
#include <pthread.h>
#include <stdio.h>

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

/* Whoever changes *word wakes afterwards, under the bucket's lock: no wake-up is missed. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	struct sleeper me = {key, false, PTHREAD_COND_INITIALIZER, NULL}, **last;
	unsigned b = bucket_of(key);

	host_cpu_leave();
	pthread_mutex_lock(&bucket[b].lock);
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == seen) {
		for (last = &bucket[b].first; *last; last = &(*last)->next)
			;
		*last = &me;
		while (!me.woken)
			pthread_cond_wait(&me.wake, &bucket[b].lock);
	}
	pthread_mutex_unlock(&bucket[b].lock);
	host_cpu_arrive();
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
