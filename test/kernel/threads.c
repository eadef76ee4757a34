/* SPDX-License-Identifier: MIT */
/*
 * Threads as an ordinary program uses them: mutexes, condition variables, thread-local storage, a
 * semaphore between processes, exit and exec with threads about. Exit status 0: all as on Linux.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

#define THREADS 4
#define ROUNDS	5000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t started = PTHREAD_COND_INITIALIZER;
static long counter;
static int go;
static __thread long mine;

static void *work(void *arg)
{
	char *p = malloc(100000);
	long sum = 0;

	mine = (long)arg;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
	}
	pthread_mutex_lock(&mutex);
	while (!go)
		pthread_cond_wait(&started, &mutex);
	pthread_mutex_unlock(&mutex);
	memset(p, (int)mine, 100000);
	for (int i = 0; i < 100000; i++)
		sum += p[i];
	free(p);
	return (void *)(sum == 100000 * mine ? mine : -1);
}

static void start(pthread_t *t)
{
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, work, (void *)(i + 1)) == 0);
	usleep(30000);
}

static void joined(void)
{
	pthread_t t[THREADS];
	void *r;

	start(t);
	pthread_mutex_lock(&mutex);
	go = 1;
	pthread_cond_broadcast(&started);
	pthread_mutex_unlock(&mutex);
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], &r) == 0 && (long)r == i + 1);
	CHECK(counter == THREADS * ROUNDS && mine == 0);
}

static void semaphore_between_processes(void)
{
	sem_t *sem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	sem_init(sem, 1, 0);
	pid = fork();
	if (!pid) {
		usleep(30000);
		sem_post(sem);
		_exit(0);
	}
	CHECK(sem_wait(sem) == 0 && status_of(pid) == 0);
}

static void ends_with_threads(char *self)
{
	char *argv[] = {self, "child", NULL};
	pthread_t t[THREADS];
	pid_t pid;

	go = 0;
	pid = fork();
	if (!pid) {
		start(t);
		exit(3);
	}
	CHECK(status_of(pid) == 3);
	pid = fork();
	if (!pid) {
		start(t);
		execv(self, argv);
		_exit(1);
	}
	CHECK(status_of(pid) == 9);
}

static void *fresh_pages(size_t n, int flags)
{
	void *p = mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
		       -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static long own_faults(void)
{
	struct rusage u;

	CHECK(!getrusage(RUSAGE_THREAD, &u));
	return u.ru_minflt;
}

static volatile int touching;

static void *toucher(void *pages)
{
	touching = 1;
	for (size_t i = 0; i < 512; i++)
		((volatile char *)pages)[i * 4096] = 1;
	return NULL;
}

/* Pages that a call faults in are the calling thread's faults, and nobody else's. */
static void populated_faults(void)
{
	static char copy[16 * 4096];
	struct iovec here = {copy, sizeof(copy)}, there = {.iov_len = sizeof(copy)};
	void *pages = fresh_pages(512, 0);
	pthread_t other;
	long before;

	memset(copy, 1, sizeof(copy));
	there.iov_base = fresh_pages(16, 0);
	before = own_faults();
	CHECK(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof(copy));
	CHECK(own_faults() == before + 16);
	CHECK(!copy[0] && !copy[sizeof(copy) - 1]);
	/* Another thread's faults meanwhile are not ours. */
	CHECK(!pthread_create(&other, NULL, toucher, pages));
	while (!touching)
		sched_yield();
	before = own_faults();
	fresh_pages(2048, MAP_POPULATE);
	CHECK(own_faults() == before + 2048);
	CHECK(!pthread_join(other, NULL));
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return 9;
	joined();
	populated_faults();
	semaphore_between_processes();
	ends_with_threads(argv[0]);
	printf("threads: %d failures\n", failures);
	return failures != 0;
}
