/* SPDX-License-Identifier: MIT */
/*
 * Futexes with an owner: what LOCK_PI, TRYLOCK_PI and UNLOCK_PI do to the word and answer, that a lock is
 * handed over in the order of waiting, a ring of waiters is told, an owner who dies leaves his locks, and
 * that many threads exclude each other by them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { WAIT, WAKE, CMP_REQUEUE = 4, LOCK_PI = 6, UNLOCK_PI, TRYLOCK_PI, PRIVATE = 128 };
#define WAITERS 0x80000000u
#define DIED	0x40000000u
#define TIDS	0x3fffffffu

static int futex_until(volatile void *word, int op, const struct timespec *t)
{
	return syscall(SYS_futex, word, op, 0, t, NULL, 0) < 0 ? errno : 0;
}

static int futex(volatile void *word, int op)
{
	return futex_until(word, op, NULL);
}

static uint32_t gettid_(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

/* As a C library does it. */
static int lock(volatile uint32_t *word, int op)
{
	uint32_t zero = 0;

	if (__atomic_compare_exchange_n(word, &zero, gettid_(), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return 0;
	return futex(word, LOCK_PI | op);
}

static int unlock(volatile uint32_t *word, int op)
{
	uint32_t me = gettid_();

	if (__atomic_compare_exchange_n(word, &me, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		return 0;
	return futex(word, UNLOCK_PI | op);
}

static struct timespec in_ms(long ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

/* ---- one who waits -------------------------------------------------------------------------------- */

struct one {
	pthread_t thread;
	volatile uint32_t *word;
	volatile uint32_t tid;
	volatile int error, has_it, let_go, keep, order;
};

static volatile int next_order;

static void *waits(void *arg)
{
	struct one *o = arg;

	o->tid = gettid_();
	o->error = futex(o->word, LOCK_PI);
	o->order = ++next_order;
	o->has_it = 1;
	while (!o->let_go)
		usleep(1000);
	if (!o->error && !o->keep)
		CHECK(futex(o->word, UNLOCK_PI) == 0);
	return NULL;
}

static void start(struct one *o, volatile uint32_t *word)
{
	*o = (struct one){.word = word};
	CHECK(pthread_create(&o->thread, NULL, waits, o) == 0);
	while (!o->tid)
		usleep(1000);
	usleep(60000); /* it waits by now */
}

static void has(struct one *o)
{
	for (int i = 0; i < 2000 && !o->has_it; i++)
		usleep(1000);
	CHECK(o->has_it);
}

static void end(struct one *o)
{
	o->let_go = 1;
	CHECK(pthread_join(o->thread, NULL) == 0);
}

/* ---- the word and the answers --------------------------------------------------------------------- */

static void alone(void)
{
	static volatile uint32_t w;
	uint32_t me = gettid_();
	struct timespec bad = {0, 1000000000};

	w = 0;
	CHECK(futex(&w, LOCK_PI) == 0 && w == me);
	CHECK(futex(&w, LOCK_PI) == EDEADLK && futex(&w, TRYLOCK_PI) == EDEADLK && w == me);
	CHECK(futex(&w, UNLOCK_PI) == 0 && w == 0);
	CHECK(futex(&w, UNLOCK_PI) == EPERM);
	CHECK(futex(&w, TRYLOCK_PI) == 0 && w == me);
	w = me | WAITERS;
	CHECK(futex(&w, UNLOCK_PI) == 0 && w == 0);
	/* died with nobody waiting: the mark stays for who comes */
	w = DIED | WAITERS;
	CHECK(futex(&w, LOCK_PI) == 0 && w == (me | DIED));
	CHECK(futex(&w, UNLOCK_PI) == 0 && w == 0);
	/* an owner that there is not */
	w = 0x3ffffff0;
	CHECK(futex(&w, LOCK_PI) == ESRCH && w == (0x3ffffff0 | WAITERS));
	w = 0x3ffffff0;
	CHECK(futex(&w, TRYLOCK_PI) == ESRCH);
	w = 1; /* the first process can be no owner here, or is one that waits for us */
	CHECK(futex(&w, UNLOCK_PI) == EPERM);
	CHECK(futex((char *)&w + 1, LOCK_PI) == EINVAL);
	CHECK(futex((void *)64, LOCK_PI) == EFAULT && futex((void *)64, UNLOCK_PI) == EFAULT);
	w = 0;
	CHECK(futex_until(&w, LOCK_PI, &bad) == EINVAL && futex_until(&w, LOCK_PI, (void *)64) == EFAULT);
}

static void read_only(void)
{
	uint32_t *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(futex(p, LOCK_PI) == EFAULT);
	CHECK(futex(p, UNLOCK_PI) == EPERM);
	munmap(p, 4096);
}

static void handed_over(void)
{
	static volatile uint32_t w;
	struct one a, b, c;
	struct timespec soon;
	uint32_t me = gettid_();

	CHECK(futex(&w, LOCK_PI) == 0 && w == me);
	next_order = 0;
	start(&a, &w);
	CHECK(w == (me | WAITERS));
	start(&b, &w);
	start(&c, &w);
	CHECK(!a.has_it && !b.has_it && !c.has_it);
	CHECK(futex(&w, WAKE) == EINVAL);
	CHECK(futex(&w, TRYLOCK_PI) == EDEADLK);
	CHECK(futex(&w, UNLOCK_PI) == 0);
	has(&a);
	CHECK(a.error == 0 && w == (a.tid | WAITERS) && !b.has_it && !c.has_it);
	CHECK(futex(&w, UNLOCK_PI) == EPERM);
	CHECK(futex(&w, TRYLOCK_PI) == EAGAIN);
	soon = in_ms(50);
	CHECK(futex_until(&w, LOCK_PI, &soon) == ETIMEDOUT);
	end(&a);
	has(&b);
	CHECK(b.error == 0 && w == (b.tid | WAITERS));
	end(&b);
	has(&c);
	CHECK(c.error == 0 && (w & TIDS) == c.tid);
	CHECK(a.order == 1 && b.order == 2 && c.order == 3);
	end(&c);
	CHECK(w == 0);
	soon = (struct timespec){0, 1}; /* nobody to wait for */
	CHECK(futex_until(&w, LOCK_PI, &soon) == 0 && w == me && futex(&w, UNLOCK_PI) == 0);
}

/* The word says something else than what is known of its waiters. */
static void disagreement(void)
{
	static volatile uint32_t w;
	uint32_t me = gettid_();
	struct one a;

	CHECK(futex(&w, LOCK_PI) == 0);
	start(&a, &w);
	w = 1 | WAITERS;
	CHECK(futex(&w, LOCK_PI) == EINVAL);
	w = WAITERS;
	CHECK(futex(&w, LOCK_PI) == EINVAL);
	w = a.tid | WAITERS;
	CHECK(futex(&w, LOCK_PI) == EINVAL);
	w = me | WAITERS;
	CHECK(futex(&w, UNLOCK_PI) == 0);
	has(&a);
	w = me | WAITERS; /* a lie */
	CHECK(futex(&w, UNLOCK_PI) == 0 || errno == EINVAL);
	w = a.tid | WAITERS;
	end(&a);
}

static volatile uint32_t plain;

static void *waits_plainly(void *arg)
{
	return (void *)(long)(syscall(SYS_futex, &plain, WAIT, plain, NULL, NULL, 0) ? errno : 0);
}

/* Waiters of both kinds do not go together. */
static void mixed(void)
{
	pthread_t t;
	void *r;

	plain = gettid_();
	CHECK(pthread_create(&t, NULL, waits_plainly, NULL) == 0);
	usleep(60000);
	CHECK(futex(&plain, UNLOCK_PI) == EINVAL);
	plain = 0;
	CHECK(futex(&plain, LOCK_PI) == EINVAL);
	CHECK(syscall(SYS_futex, &plain, WAKE, 1, NULL, NULL, 0) == 1);
	CHECK(pthread_join(t, &r) == 0 && !r);
}

/* ---- rings ---------------------------------------------------------------------------------------- */

static volatile uint32_t first, second;
static volatile uint32_t second_tid;

static void *holds_second(void *arg)
{
	CHECK(futex(&second, LOCK_PI) == 0);
	second_tid = gettid_();
	*(volatile int *)arg = futex(&first, LOCK_PI);
	CHECK(futex(&first, UNLOCK_PI) == 0);
	CHECK(futex(&second, UNLOCK_PI) == 0);
	return NULL;
}

static void ring(void)
{
	volatile int error = -1;
	pthread_t t;

	CHECK(futex(&first, LOCK_PI) == 0);
	CHECK(pthread_create(&t, NULL, holds_second, (void *)&error) == 0);
	while (!second_tid)
		usleep(1000);
	usleep(60000);
	CHECK(futex(&second, LOCK_PI) == EDEADLK);
	CHECK(futex(&first, UNLOCK_PI) == 0);
	CHECK(pthread_join(t, NULL) == 0 && error == 0);
	CHECK(first == 0 && second == 0 + (second & WAITERS));
}

/* ---- owners who die ------------------------------------------------------------------------------- */

struct robust_entry {
	struct robust_entry *next;
};

struct robust_head {
	struct robust_entry *list;
	long offset;
	struct robust_entry *pending;
};

struct robust_lock {
	struct robust_entry entry;
	volatile uint32_t word;
};

static void *owner_ends(void *arg)
{
	struct one *o = arg;

	o->error = futex(o->word, LOCK_PI);
	o->tid = gettid_();
	while (!o->let_go)
		usleep(1000);
	syscall(SYS_exit, 0);
	return NULL;
}

/* Without a list of robust locks only who waits learns of it. */
static void owner_died(void)
{
	static volatile uint32_t w;
	struct one owner = {.word = &w}, a, b;

	CHECK(pthread_create(&owner.thread, NULL, owner_ends, &owner) == 0);
	while (!owner.tid)
		usleep(1000);
	start(&a, &w);
	start(&b, &w);
	owner.let_go = 1;
	has(&a);
	CHECK(a.error == 0 && w == (a.tid | WAITERS | DIED) && !b.has_it);
	end(&a);
	has(&b);
	CHECK(b.error == 0 && w == (b.tid | WAITERS));
	end(&b);
	CHECK(w == 0);
	/* nobody waits: the word keeps a number that is nobody's */
	owner = (struct one){.word = &w, .let_go = 1};
	CHECK(pthread_create(&owner.thread, NULL, owner_ends, &owner) == 0);
	usleep(100000);
	CHECK(w == owner.tid && futex(&w, LOCK_PI) == ESRCH);
}

/* In another process, which is killed, by a robust list; in memory that both have mapped elsewhere. */
static void robust_owner_killed(void)
{
	struct robust_lock *l = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *there;
	struct one a;
	uint32_t me = gettid_();
	int pid = fork();

	if (!pid) {
		static struct robust_head head;

		there = mremap(l, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)l + (1 << 20));
		head = (struct robust_head){(void *)((uintptr_t)&there->entry | 1), offsetof(struct robust_lock, word), NULL};
		there->entry.next = (void *)&head;
		syscall(SYS_set_robust_list, &head, sizeof(head));
		futex(&there->word, LOCK_PI);
		for (;;)
			pause();
	}
	while (!l->word)
		usleep(1000);
	CHECK(l->word == (uint32_t)pid);
	start(&a, &l->word);
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
	has(&a);
	CHECK(a.error == 0 && l->word == (a.tid | WAITERS | DIED));
	end(&a);
	CHECK(l->word == 0);
	/* and with nobody waiting */
	pid = fork();
	if (!pid) {
		static struct robust_head head;

		head = (struct robust_head){(void *)((uintptr_t)&l->entry | 1), offsetof(struct robust_lock, word), NULL};
		l->entry.next = (void *)&head;
		syscall(SYS_set_robust_list, &head, sizeof(head));
		_exit(futex(&l->word, LOCK_PI));
	}
	CHECK(status_of(pid) == 0);
	CHECK(l->word == DIED);
	CHECK(futex(&l->word, LOCK_PI) == 0 && l->word == (me | DIED));
	CHECK(futex(&l->word, UNLOCK_PI) == 0 && l->word == 0);
	munmap(l, 4096);
}

/* A signal's handler runs, and the wait goes on, whatever its flags. */
static volatile int handled;

static void handler(int sig)
{
	handled++;
}

static void interrupted(void)
{
	static volatile uint32_t w;
	struct sigaction sa = {.sa_handler = handler};
	struct one a;

	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHECK(futex(&w, LOCK_PI) == 0);
	start(&a, &w);
	CHECK(pthread_kill(a.thread, SIGUSR1) == 0);
	usleep(60000);
	CHECK(handled == 1 && !a.has_it);
	CHECK(futex(&w, UNLOCK_PI) == 0);
	has(&a);
	CHECK(a.error == 0 && (w & TIDS) == a.tid);
	end(&a);
}

/* ---- exclusion ------------------------------------------------------------------------------------ */

enum { MANY = 6, ROUNDS = 300 };
static volatile uint32_t guard;
static volatile long shared_a, shared_b;

static void *adds(void *arg)
{
	int op = (int)(long)arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (lock(&guard, op))
			return (void *)1l;
		shared_a++;
		if (i % 8 == 0)
			sched_yield();
		shared_b++;
		if (shared_a != shared_b || (guard & TIDS) != gettid_() || unlock(&guard, op))
			return (void *)2l;
	}
	return NULL;
}

static void exclude(int op)
{
	pthread_t t[MANY];
	void *r;

	guard = 0;
	shared_a = shared_b = 0;
	for (int i = 0; i < MANY; i++)
		CHECK(pthread_create(&t[i], NULL, adds, (void *)(long)op) == 0);
	for (int i = 0; i < MANY; i++)
		CHECK(pthread_join(t[i], &r) == 0 && !r);
	CHECK(shared_a == MANY * ROUNDS && guard == 0);
}

static void by_the_library(void)
{
	pthread_mutexattr_t a;
	pthread_mutex_t m;

	CHECK(pthread_mutexattr_init(&a) == 0 && pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT) == 0);
	CHECK(pthread_mutex_init(&m, &a) == 0);
	CHECK(pthread_mutex_lock(&m) == 0 && pthread_mutex_trylock(&m) == EBUSY && pthread_mutex_unlock(&m) == 0);
}

int main(void)
{
	alone();
	read_only();
	handed_over();
	disagreement();
	mixed();
	ring();
	owner_died();
	robust_owner_killed();
	interrupted();
	exclude(0);
	exclude(PRIVATE);
	by_the_library();
	printf("%d failures\n", failures);
	return failures != 0;
}
