/* SPDX-License-Identifier: MIT */
/*
 * lib/mutex.c, lib/rwsem.c, lib/spinlock.h and lib/lockdep.c over host threads: os_wait() and
 * os_wake() are a condition variable, every thread is a CPU of its own. A panic is a jump back.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <setjmp.h>
#include <sched.h>
#include <string.h>

#include "lib/lockdep.h"
#include "lib/mutex.h"
#include "lib/rwsem.h"
#include "lib/spinlock.h"
#include <quire/os.h>

#define THREADS 4
#define ROUNDS	20000

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;
static _Thread_local unsigned cpu;
static jmp_buf panic_jump;
static char panic_text[200];
static bool panic_expected;

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	pthread_mutex_lock(&gate);
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
		pthread_cond_wait(&bell, &gate);
	pthread_mutex_unlock(&gate);
}

void os_wake(const void *key, unsigned n)
{
	pthread_mutex_lock(&gate);
	pthread_cond_broadcast(&bell);
	pthread_mutex_unlock(&gate);
}

uintptr_t os_thread_id(void)
{
	return cpu + 1;
}

void os_preempt(int delta)
{
}

void os_log(const char *line)
{
}

_Noreturn void os_panic(const char *why)
{
	cr_assert(panic_expected, "%s", why);
	strncpy(panic_text, why, sizeof(panic_text) - 1);
	longjmp(panic_jump, 1);
}

unsigned hal_cpu_id(void)
{
	return cpu;
}

void hal_cpu_relax(void)
{
	sched_yield();
}

irqflags_t hal_irq_save(void)
{
	return 0;
}

void hal_irq_restore(irqflags_t flags)
{
}

static bool irqs_off;

bool hal_irqs_off(void)
{
	return irqs_off;
}

/* What os_panic() said of doing this; "" if it said nothing. */
#define PANIC_OF(stmt)                               \
	({                                           \
		panic_text[0] = '\0';                \
		panic_expected = true;               \
		if (!setjmp(panic_jump))             \
			stmt;                        \
		panic_expected = false;              \
		panic_text;                          \
	})

static struct mutex mutex = MUTEX_INIT("mutex");
static struct rw_semaphore rwsem = RWSEM_INIT("rwsem");
static spinlock_t spin = SPINLOCK_INIT("spin");
static long counter, twin;
static int readers_inside, most_readers;

static void run_threads(void *(*fn)(void *))
{
	pthread_t t[THREADS];

	counter = twin = 0;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, fn, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void *count_with_mutex(void *arg)
{
	cpu = (unsigned)(long)arg;
	for (int i = 0; i < ROUNDS; i++) {
		mutex_lock(&mutex);
		counter++;
		if (i % 64 == 0)
			sched_yield();
		twin++;
		cr_assert_eq(counter, twin);
		mutex_unlock(&mutex);
	}
	return NULL;
}

Test(lib_locks, a_mutex_excludes_and_loses_no_wake_up)
{
	run_threads(count_with_mutex);
	cr_assert_eq(counter, THREADS * ROUNDS);
	cr_assert(!mutex_is_locked(&mutex));
	cr_assert(mutex_trylock(&mutex));
	cr_assert(!mutex_trylock(&mutex));
	mutex_unlock(&mutex);
}

static void *count_with_spinlock(void *arg)
{
	irqflags_t flags;

	cpu = (unsigned)(long)arg;
	for (int i = 0; i < ROUNDS / 4; i++) {
		spin_lock_irqsave(&spin, flags);
		counter++;
		twin++;
		cr_assert_eq(counter, twin);
		spin_unlock_irqrestore(&spin, flags);
	}
	return NULL;
}

Test(lib_locks, a_spinlock_excludes)
{
	run_threads(count_with_spinlock);
	cr_assert_eq(counter, THREADS * ROUNDS / 4);
	cr_assert(!spin_is_locked(&spin));
	cr_assert(spin_trylock(&spin));
	cr_assert(!spin_trylock(&spin));
	spin_unlock(&spin);
}

static void *read_and_write(void *arg)
{
	cpu = (unsigned)(long)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 8 == (int)cpu % 8) {
			down_write(&rwsem);
			cr_assert_eq(__atomic_load_n(&readers_inside, __ATOMIC_SEQ_CST), 0);
			counter++;
			if (i % 3 == 0) {
				downgrade_write(&rwsem);
				cr_assert(counter > 0);
				up_read(&rwsem);
			} else {
				up_write(&rwsem);
			}
		} else {
			int n;

			down_read(&rwsem);
			n = __atomic_add_fetch(&readers_inside, 1, __ATOMIC_SEQ_CST);
			if (n > most_readers)
				most_readers = n;
			if (i % 64 == 0)
				sched_yield();
			__atomic_sub_fetch(&readers_inside, 1, __ATOMIC_SEQ_CST);
			up_read(&rwsem);
		}
	}
	return NULL;
}

Test(lib_locks, an_rwsem_lets_readers_share_and_writers_alone)
{
	run_threads(read_and_write);
	cr_assert_eq(counter, THREADS * ROUNDS / 8);
	cr_assert(!rwsem_is_locked(&rwsem));
	cr_assert_eq(rwsem.state, 0);
	cr_assert(down_read_trylock(&rwsem));
	cr_assert(!down_write_trylock(&rwsem));
	up_read(&rwsem);
	cr_assert(down_write_trylock(&rwsem));
	cr_assert(!down_read_trylock(&rwsem));
	cr_assert(rwsem_is_write_locked(&rwsem));
	up_write(&rwsem);
}

Test(lib_locks, the_order_of_locks_is_watched)
{
	spinlock_t outer = SPINLOCK_INIT_RANK("outer", 10), inner = SPINLOCK_INIT_RANK("inner", 20),
		   peer = SPINLOCK_INIT_RANK("peer", 20);

	spin_lock(&outer);
	spin_lock(&inner);
	spin_lock_nested(&peer);
	cr_assert_eq(lockdep_held(), 3);
	spin_unlock(&peer);
	cr_assert_str_eq(PANIC_OF(spin_lock(&peer)),
			 "lock order: taking peer while holding inner (rank 20)");
	spin_unlock(&outer); /* in any order */
	cr_assert_str_eq(PANIC_OF(spin_lock(&outer)),
			 "lock order: taking outer while holding inner (rank 20)");
	cr_assert_str_eq(PANIC_OF(spin_lock(&inner)),
			 "lock order: taking again inner while holding inner (rank 20)");
	cr_assert_neq(strstr(PANIC_OF(mutex_lock(&mutex)), "may sleep while holding inner"), NULL);
	spin_unlock(&inner);
	cr_assert_neq(strstr(PANIC_OF(spin_unlock(&inner)), "not held"), NULL);
	cr_assert_eq(lockdep_held(), 0);
	cr_assert_str_eq(PANIC_OF(mutex_lock(&mutex)), "");
	mutex_unlock(&mutex);
}

Test(lib_locks, an_owner_is_known)
{
	mutex_lock(&mutex);
	cr_assert_neq(strstr(PANIC_OF(mutex_lock(&mutex)), "owner"), NULL);
	mutex_unlock(&mutex);
	down_write(&rwsem);
	cr_assert_neq(strstr(PANIC_OF(down_read(&rwsem)), "owner"), NULL);
	up_write(&rwsem);
	cpu = 7;
	cr_assert_neq(strstr(PANIC_OF(mutex_unlock(&mutex)), "mutex is not held, and let go"), NULL);
}

/* Does an assertion end with this after its place? */
#define EXPECT_SAYS(stmt, end)                                                      \
	do {                                                                        \
		const char *text_ = PANIC_OF(stmt);                                 \
                                                                                    \
		cr_expect(strstr(text_, "test_lib_locks.c:"), "%s", text_);         \
		cr_expect(strlen(text_) >= strlen(end) &&                           \
			  !strcmp(text_ + strlen(text_) - strlen(end), end), "%s", text_); \
	} while (0)
#define EXPECT_QUIET(stmt) cr_expect_str_eq(PANIC_OF(stmt), "")

Test(lib_locks, spinning_locks_and_mutexes_assert_themselves)
{
	spinlock_t other = SPINLOCK_INIT("other");

	EXPECT_SAYS(assert_held(&spin), ": spin is not held");
	spin_lock(&other);
	spin_lock(&spin);
	EXPECT_QUIET(assert_held(&spin));
	EXPECT_QUIET(assert_held(&other));
	cpu = 1; /* another CPU holds it, which is no help */
	EXPECT_SAYS(assert_held(&spin), ": spin is not held");
	cpu = 0;
	spin_unlock(&other);
	EXPECT_QUIET(assert_held(&spin));
	spin_unlock(&spin);
	EXPECT_SAYS(assert_held(&spin), ": spin is not held");
	cr_assert(spin_trylock(&spin));
	EXPECT_QUIET(assert_held(&spin));
	spin_unlock(&spin);
	EXPECT_SAYS(assert_mutex_held(&mutex), ": mutex is not held");
	mutex_lock(&mutex);
	EXPECT_QUIET(assert_mutex_held(&mutex));
	cpu = 1;
	EXPECT_SAYS(assert_mutex_held(&mutex), ": mutex is not held");
	cpu = 0;
	mutex_unlock(&mutex);
	EXPECT_SAYS(assert_mutex_held(&mutex), ": mutex is not held");
	EXPECT_SAYS(assert_irqs_off(), ": interrupts are not off");
	irqs_off = true;
	EXPECT_QUIET(assert_irqs_off());
	irqs_off = false;
}

Test(lib_locks, reader_writer_locks_assert_themselves)
{
	EXPECT_SAYS(assert_held_any(&rwsem), ": rwsem is not held");
	EXPECT_SAYS(assert_held_read(&rwsem), ": rwsem is not held for reading");
	EXPECT_SAYS(assert_held_write(&rwsem), ": rwsem is not held for writing");
	down_write(&rwsem);
	EXPECT_QUIET(assert_held_write(&rwsem));
	EXPECT_QUIET(assert_held_any(&rwsem));
	EXPECT_SAYS(assert_held_read(&rwsem), ": rwsem is not held for reading");
	cpu = 1;
	EXPECT_SAYS(assert_held_write(&rwsem), ": rwsem is not held for writing");
	cpu = 0;
	downgrade_write(&rwsem);
	EXPECT_QUIET(assert_held_read(&rwsem));
	EXPECT_QUIET(assert_held_any(&rwsem));
	EXPECT_SAYS(assert_held_write(&rwsem), ": rwsem is not held for writing");
	cpu = 1; /* another thread reads, which is no help */
	EXPECT_SAYS(assert_held_read(&rwsem), ": rwsem is not held for reading");
	cr_assert(down_read_trylock(&rwsem));
	EXPECT_QUIET(assert_held_read(&rwsem));
	up_read(&rwsem);
	cpu = 0;
	up_read(&rwsem);
	EXPECT_SAYS(assert_held_any(&rwsem), ": rwsem is not held");
	down_read(&rwsem);
	EXPECT_QUIET(assert_held_read(&rwsem));
	cpu = 1;
	cr_expect(strstr(PANIC_OF(up_read(&rwsem)), "rwsem is not held for reading, and let go"));
	cpu = 0;
	up_read(&rwsem);
	cr_expect(strstr(PANIC_OF(up_write(&rwsem)), "rwsem is not held for writing, and let go"));
}

/* More of them than there is room to note: then an assertion does not know, and lets pass. */
Test(lib_locks, many_locks_for_reading)
{
	static struct rw_semaphore many[40];

	for (unsigned i = 0; i < 40; i++) {
		init_rwsem_named(&many[i], "many");
		down_read(&many[i]);
	}
	for (unsigned i = 0; i < 40; i++)
		EXPECT_QUIET(assert_held_read(&many[i]));
	for (unsigned i = 40; i-- > 0;)
		up_read(&many[i]);
	for (unsigned i = 0; i < 40; i++)
		EXPECT_SAYS(assert_held_read(&many[i]), ": many is not held for reading");
}
