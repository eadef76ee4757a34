/* SPDX-License-Identifier: MIT */
/*
 * Futexes that are not private: known by where the word lives, not by the frame that it lies in, so
 * that copy-on-write loses nobody; and robust locks, which are given on when their owner dies.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include <quire/abi.h>

#define PAGE 4096
#define RW   (PROT_READ | PROT_WRITE)

static long futex(uint32_t *word, int op, uint32_t value, int seconds)
{
	struct timespec limit = {seconds, 0};

	return syscall(SYS_futex, word, op, value, seconds ? &limit : NULL, NULL, 0);
}

/* Waits until one more sleeps on a futex than is woken by this: woken are those of no use. */
static void let_it_sleep(void)
{
	usleep(100000);
}

struct waiter {
	pthread_t thread;
	uint32_t *word;
	int op;
	volatile int started;
	int error; /* 0: woken */
};

static void *wait_on(void *arg)
{
	struct waiter *w = arg;

	w->started = 1;
	w->error = futex(w->word, w->op, *w->word, 5) ? errno : 0;
	return NULL;
}

static void start_waiter(struct waiter *w, uint32_t *word, int op)
{
	*w = (struct waiter){.word = word, .op = op};
	CHECK(pthread_create(&w->thread, NULL, wait_on, w) == 0);
	while (!w->started)
		usleep(1000);
	let_it_sleep();
}

static int ended(struct waiter *w)
{
	CHECK(pthread_join(w->thread, NULL) == 0);
	return w->error;
}

static int stay_for_a_while(void)
{
	int pid = fork();

	if (!pid) {
		sleep(20);
		_exit(0);
	}
	return pid;
}

static void the_page_is_copied_under_a_waiter(int flags)
{
	uint32_t *word = mmap(NULL, PAGE, RW, flags | MAP_ANONYMOUS, -1, 0);
	struct waiter w;
	int pid;

	*word = 1;
	start_waiter(&w, word, FUTEX_WAIT);
	pid = stay_for_a_while();
	*word = 2; /* private memory: another frame from now on */
	CHECK(futex(word, FUTEX_WAKE, 10, 0) == 1);
	CHECK(ended(&w) == 0);
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
	munmap(word, PAGE);
}

/* One thread is joined while another forks: what pthread_join() waits for is such a word. */
static void *lives_for_a_while(void *arg)
{
	usleep(300000);
	return arg;
}

static void *forks(void *arg)
{
	usleep(100000);
	return (void *)(long)stay_for_a_while();
}

static void joined_beside_a_fork(void)
{
	pthread_t a, b;
	void *pid;

	CHECK(pthread_create(&a, NULL, lives_for_a_while, NULL) == 0);
	CHECK(pthread_create(&b, NULL, forks, NULL) == 0);
	CHECK(pthread_join(a, NULL) == 0);
	CHECK(pthread_join(b, &pid) == 0);
	kill((int)(long)pid, SIGKILL);
	CHECK(status_of((int)(long)pid) == 256 + SIGKILL);
}

/* Private and not private are different futexes, though the word is one. */
static void private_is_another(void)
{
	static uint32_t word = 1;
	struct waiter w;

	start_waiter(&w, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG);
	CHECK(futex(&word, FUTEX_WAKE, 1, 0) == 0);
	CHECK(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, 0) == 1);
	CHECK(ended(&w) == 0);
}

/* The same word of a file through two mappings, and after the first one is gone. */
static void through_two_mappings(void)
{
	int fd = memfd_create("word", 0);
	uint32_t *a, *b, *c;
	struct waiter w;

	CHECK(ftruncate(fd, 2 * PAGE) == 0);
	a = mmap(NULL, PAGE, RW, MAP_SHARED, fd, PAGE);
	b = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
	c = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, PAGE); /* cannot be copied: still the file's */
	*a = 1;
	start_waiter(&w, a, FUTEX_WAIT);
	CHECK(futex(b, FUTEX_WAKE, 1, 0) == 0);
	CHECK(futex(b + PAGE / 4, FUTEX_WAKE, 1, 0) == 1);
	CHECK(ended(&w) == 0);
	start_waiter(&w, c, FUTEX_WAIT);
	munmap(c, PAGE);
	CHECK(futex(a, FUTEX_WAKE, 1, 0) == 1);
	CHECK(ended(&w) == 0);
	munmap(a, PAGE);
	munmap(b, 2 * PAGE);
	close(fd);
}

static void nothing_to_wait_for(void)
{
	uint32_t *p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(futex(p, FUTEX_WAIT, 0, 1) == -1 && errno == EFAULT);
	munmap(p, 2 * PAGE);
	CHECK(futex(p, FUTEX_WAKE, 1, 0) == -1 && errno == EFAULT);
	CHECK(futex((uint32_t *)((char *)&failures + 1), FUTEX_WAKE, 1, 0) == -1 && errno == EINVAL);
}

/* ---- robust locks ---------------------------------------------------------------------------- */

static pthread_mutex_t *robust_mutex(void)
{
	pthread_mutex_t *m = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	CHECK(pthread_mutex_init(m, &a) == 0);
	return m;
}

static int lock_soon(pthread_mutex_t *m)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 5;
	return pthread_mutex_timedlock(m, &t);
}

/* how: 0 ends, 1 is killed, 2 runs another program (this one, which ends at once). */
static void the_owner_dies(int how, char *self)
{
	pthread_mutex_t *m = robust_mutex();
	int pid = fork();

	if (!pid) {
		pthread_mutex_lock(m);
		usleep(how == 1 ? 0 : 200000); /* so that the other one waits */
		if (how == 1)
			kill(getpid(), SIGKILL);
		if (how == 2)
			execl(self, self, "stay", NULL);
		_exit(0);
	}
	usleep(50000);
	CHECK(lock_soon(m) == EOWNERDEAD);
	CHECK(pthread_mutex_consistent(m) == 0);
	CHECK(pthread_mutex_unlock(m) == 0);
	CHECK(lock_soon(m) == 0);
	pthread_mutex_unlock(m);
	if (how == 2)
		kill(pid, SIGKILL);
	CHECK(status_of(pid) == (how ? 256 + SIGKILL : 0));
	munmap(m, PAGE);
}

/* A list by hand: a lock of another owner stays, a ring without end ends, one on its way is told. */
struct robust {
	struct { /* as the kernel reads it */
		void *next;
		long futex_offset;
		void *pending;
	} head;
	void *entry[2]; /* each the next one's address */
	uint32_t word[2], pending;
};

static void lists_of_all_kinds(void)
{
	struct robust *r = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int pid = fork();

	if (!pid) {
		uint32_t me = (uint32_t)syscall(SYS_gettid);
		void *at;
		size_t size;

		r->head.futex_offset = offsetof(struct robust, word) - offsetof(struct robust, entry);
		r->word[0] = me | FUTEX_WAITERS;
		r->word[1] = 1;
		r->pending = me;
		/* Words lie 4 apart, entries 8: the second lock is the entry's own neighbour. */
		r->head.next = &r->entry[0];
		r->entry[0] = &r->entry[0]; /* a ring that never comes back */
		r->head.pending = (char *)&r->pending - r->head.futex_offset;
		CHECK(syscall(SYS_set_robust_list, &r->head, sizeof(r->head) + 8) == -1);
		CHECK(syscall(SYS_set_robust_list, &r->head, sizeof(r->head)) == 0);
		CHECK(syscall(SYS_get_robust_list, 0, &at, &size) == 0);
		CHECK(at == &r->head && size == sizeof(r->head));
		CHECK(syscall(SYS_get_robust_list, 99999, &at, &size) == -1 && errno == ESRCH);
		_exit(failures);
	}
	CHECK(status_of(pid) == 0);
	CHECK(r->word[0] == (FUTEX_WAITERS | FUTEX_OWNER_DIED));
	CHECK(r->word[1] == 1);
	CHECK(r->pending == FUTEX_OWNER_DIED);
	munmap(r, PAGE);
	/* A list that is not there is no error. */
	pid = fork();
	if (!pid) {
		syscall(SYS_set_robust_list, (void *)8, sizeof(r->head));
		_exit(0);
	}
	CHECK(status_of(pid) == 0);
}

enum { MANY = 90 };

/* More than a kernel wakes in one go: each is woken once, some of them by a number, the others by "all". */
static void many_wait_for_one(void)
{
	static struct waiter w[MANY];
	static uint32_t word;

	for (int i = 0; i < MANY; i++) {
		w[i] = (struct waiter){.word = &word, .op = FUTEX_WAIT | FUTEX_PRIVATE_FLAG};
		CHECK(pthread_create(&w[i].thread, NULL, wait_on, &w[i]) == 0);
	}
	for (int i = 0; i < MANY; i++)
		while (!w[i].started)
			usleep(1000);
	for (int i = 0; i < 5; i++)
		let_it_sleep();
	CHECK(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 40, 0) == 40);
	CHECK(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, 0) == MANY - 40);
	for (int i = 0; i < MANY; i++)
		CHECK(ended(&w[i]) == 0);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		sleep(20);
		return 0;
	}
	the_page_is_copied_under_a_waiter(MAP_PRIVATE);
	the_page_is_copied_under_a_waiter(MAP_SHARED);
	joined_beside_a_fork();
	private_is_another();
	through_two_mappings();
	nothing_to_wait_for();
	for (int how = 0; how < 3; how++)
		the_owner_dies(how, argv[0]);
	lists_of_all_kinds();
	many_wait_for_one();
	printf("%d failures\n", failures);
	return failures != 0;
}
