/* SPDX-License-Identifier: MIT */
/*
 * lib/mutex.c, lib/rwsem.c, lib/spinlock.h and lib/lockdep.c over host threads: os_wait() and
 * os_wake() are a condition variable, every thread is a CPU of its own. A panic is a jump back.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <pthread.h>
#include <setjmp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "lib/lockdep.h"
#include "lib/mutex.h"
#include "lib/rwsem.h"
#include "lib/spinlock.h"
#include <quire/os.h>

#define THREADS 4
#define ROUNDS	20000

/* One that sleeps, in the order in which they came. */
struct sleeper {
	const void *key;
	bool woken;
	struct sleeper *next;
};

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;
static struct sleeper *first_sleeper;
static unsigned sleepers; /* atomic */
static unsigned wakes;	  /* calls of os_wake(); atomic */
static _Thread_local unsigned cpu;
static jmp_buf panic_jump;
static char panic_text[200];
static bool panic_expected;

/* As many as are asked for, of this key, and no others: who relies on more sleeps for ever. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	struct sleeper me = {key, false, NULL}, **last;

	pthread_mutex_lock(&gate);
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen) {
		for (last = &first_sleeper; *last; last = &(*last)->next)
			;
		*last = &me;
		__atomic_add_fetch(&sleepers, 1, __ATOMIC_RELAXED);
		while (!me.woken)
			pthread_cond_wait(&bell, &gate);
		__atomic_sub_fetch(&sleepers, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&gate);
}

void os_wake(const void *key, unsigned n)
{
	pthread_mutex_lock(&gate);
	__atomic_add_fetch(&wakes, 1, __ATOMIC_RELAXED);
	for (struct sleeper **s = &first_sleeper; *s && n;) {
		if ((*s)->key != key) {
			s = &(*s)->next;
			continue;
		}
		(*s)->woken = true;
		*s = (*s)->next;
		n--;
	}
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

static bool is_moved;

unsigned hal_cpu_id(void)
{
	unsigned was = cpu;

	if (is_moved)
		cpu = 0;
	return was;
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
	cr_assert_eq(rwsem.state / RWSEM_READER, 0);
	cr_assert(down_read_trylock(&rwsem));
	cr_assert(!down_write_trylock(&rwsem));
	up_read(&rwsem);
	cr_assert(down_write_trylock(&rwsem));
	cr_assert(!down_read_trylock(&rwsem));
	cr_assert(rwsem_is_write_locked(&rwsem));
	up_write(&rwsem);
}

/* ---- handing over ---------------------------------------------------------------------------- */

/* What threads did with the semaphore, in the order in which they got it: R and W. */
static char got[64];
static unsigned got_length; /* atomic */
static bool let_go;	    /* atomic */

static void note(char c)
{
	got[__atomic_fetch_add(&got_length, 1, __ATOMIC_RELAXED)] = c;
}

static void until(const unsigned *word, unsigned value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
		sched_yield();
}

static void *reads_once(void *arg)
{
	cpu = (unsigned)(long)arg;
	down_read(&rwsem);
	note('R');
	while (!__atomic_load_n(&let_go, __ATOMIC_ACQUIRE))
		sched_yield();
	up_read(&rwsem);
	return NULL;
}

static void *writes_once(void *arg)
{
	cpu = (unsigned)(long)arg;
	down_write(&rwsem);
	note('W');
	up_write(&rwsem);
	return NULL;
}

/* Starts one that is to sleep. */
static pthread_t starts(void *(*fn)(void *))
{
	static unsigned number;
	unsigned before = __atomic_load_n(&sleepers, __ATOMIC_ACQUIRE);
	pthread_t t;

	pthread_create(&t, NULL, fn, (void *)(long)++number);
	until(&sleepers, before + 1);
	return t;
}

Test(lib_locks, a_reader_queues_behind_a_writer_that_waits, .timeout = 60)
{
	pthread_t w, r;

	down_read(&rwsem);
	w = starts(writes_once);
	cr_expect_not(down_read_trylock(&rwsem));
	r = starts(reads_once);
	cr_expect_eq(got_length, 0);
	cr_expect_eq(wakes, 0, "a reader that withdraws wakes nobody while another is inside");
	up_read(&rwsem);
	pthread_join(w, NULL);
	until(&got_length, 2);
	cr_expect_str_eq(got, "WR");
	cr_expect_eq(wakes, 2, "one for the writer, one for the reader; not %u", wakes);
	let_go = true;
	pthread_join(r, NULL);
	cr_expect_eq(rwsem.state / RWSEM_READER, 0);
}

Test(lib_locks, all_readers_that_wait_come_before_the_next_writer, .timeout = 60)
{
	pthread_t t[6];

	down_write(&rwsem);
	t[0] = starts(reads_once);
	t[1] = starts(writes_once);
	t[2] = starts(reads_once);
	t[3] = starts(writes_once);
	t[4] = starts(reads_once);
	up_write(&rwsem);
	until(&got_length, 3); /* and all three are inside at once */
	cr_expect_eq(wakes, 1);
	cr_expect_str_eq(got, "RRR");
	t[5] = starts(reads_once);
	let_go = true;
	for (unsigned i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	cr_expect_str_eq(got, "RRRWRW");
	cr_expect_eq(wakes, 4);
	cr_expect_eq(rwsem.state / RWSEM_READER, 0);
}

Test(lib_locks, a_writer_that_waits_is_served_before_who_comes_again, .timeout = 60)
{
	pthread_t w;

	down_write(&rwsem);
	w = starts(writes_once);
	cr_expect_not(down_write_trylock(&rwsem));
	up_write(&rwsem);
	pthread_join(w, NULL);
	down_write(&rwsem);
	w = starts(writes_once);
	up_write(&rwsem);
	down_write(&rwsem); /* this may come at once, and yet the other one was first */
	note('w');
	up_write(&rwsem);
	pthread_join(w, NULL);
	cr_expect_str_eq(got, "WWw");
}

Test(lib_locks, a_writer_becomes_a_reader_among_those_that_wait, .timeout = 60)
{
	pthread_t w, r;

	down_write(&rwsem);
	r = starts(reads_once);
	w = starts(writes_once);
	downgrade_write(&rwsem);
	until(&got_length, 1);
	cr_expect_str_eq(got, "R");
	cr_expect_eq(__atomic_load_n(&sleepers, __ATOMIC_ACQUIRE), 1);
	up_read(&rwsem);
	let_go = true;
	pthread_join(r, NULL);
	pthread_join(w, NULL);
	cr_expect_str_eq(got, "RW");
}

/* ---- what was let go is not touched ------------------------------------------------------------ */

#if defined(__x86_64__) && defined(__linux__)
#define TRAP_FLAG 0x100

/* A page with nothing in it but the lock, and the word that says that it is held. */
static struct stepped {
	union {
		struct rw_semaphore sem;
		struct mutex mutex;
		spinlock_t spin;
	};
} *stepped;
static const uint32_t *stepped_word;
static uint32_t stepped_held;
static bool stepped_gone;

/* After each instruction: as soon as the lock is let go, its page is somebody else's. */
static void after_a_step(int sig, siginfo_t *si, void *context)
{
	ucontext_t *c = context;

	if (__atomic_load_n(stepped_word, __ATOMIC_RELAXED) == stepped_held)
		return;
	mprotect(stepped, 4096, PROT_NONE);
	stepped_gone = true;
	c->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

/* What lets go, with an instruction at a time; a touch after ends the test by a signal. */
#define LETS_GO(stmt, word)                                                          \
	do {                                                                         \
		stepped_word = (const uint32_t *)(word);                             \
		stepped_held = *stepped_word;                                        \
		stepped_gone = false;                                                \
		__asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG)   \
				 : "memory", "cc");                                  \
		stmt;                                                                \
		cr_assert(stepped_gone);                                             \
		mprotect(stepped, 4096, PROT_READ | PROT_WRITE);                     \
		memset(stepped, 0, sizeof(*stepped));                                \
	} while (0)

static void steps_up(void)
{
	struct sigaction sa = {.sa_sigaction = after_a_step, .sa_flags = SA_SIGINFO};

	sigaction(SIGTRAP, &sa, NULL);
	stepped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(stepped, MAP_FAILED);
}

Test(lib_locks, a_semaphore_is_not_touched_once_it_was_let_go, .timeout = 60)
{
	struct rw_semaphore *s;

	steps_up();
	s = &stepped->sem;
	for (unsigned how = 0; how < 4; how++) {
		uint64_t waits = (how & 1 ? RWSEM_WRITER_WAITS : 0) +
				 (how & 2 ? RWSEM_READER_WAITS : 0);

		down_write(s);
		s->state += waits;
		LETS_GO(up_write(s), &s->upper);
		if (how == 2) /* readers wait for writers only */
			continue;
		down_read(s);
		s->state += waits;
		LETS_GO(up_read(s), &s->lower);
	}
	cr_expect_eq(wakes, 5);
}

Test(lib_locks, other_locks_are_not_touched_once_they_were_let_go, .timeout = 60)
{
	steps_up();
	mutex_lock(&stepped->mutex);
	LETS_GO(mutex_unlock(&stepped->mutex), &stepped->mutex.state);
	mutex_lock(&stepped->mutex);
	stepped->mutex.state = 2; /* and one sleeps */
	LETS_GO(mutex_unlock(&stepped->mutex), &stepped->mutex.state);
	cr_expect_eq(wakes, 1);
	spin_lock(&stepped->spin);
	LETS_GO(spin_unlock(&stepped->spin), &stepped->spin.taken);
}
#endif

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

/* What could end in two CPUs that wait for each other, seen on one. */
Test(lib_locks, locks_held_over_waits_for_other_cpus)
{
	spinlock_t over = SPINLOCK_INIT("over"), off = SPINLOCK_INIT("off"), fine = SPINLOCK_INIT("fine");

	spin_lock(&over);
	spin_lock(&fine);
	cr_assert_str_eq(PANIC_OF(lockdep_waits_for_cpus()), "");
	spin_unlock(&fine);
	spin_unlock(&over);
	irqs_off = true;
	cr_assert(spin_trylock(&over)); /* waits for nobody */
	spin_unlock(&over);
	cr_assert_str_eq(PANIC_OF(spin_lock(&over)),
			 "lock order: over is held over a wait for other CPUs, and taken with interrupts off");
	cr_assert_str_eq(PANIC_OF(spin_lock(&off)), "");
	spin_unlock(&off);
	irqs_off = false;
	spin_lock(&off);
	cr_assert_str_eq(PANIC_OF(lockdep_waits_for_cpus()),
			 "lock order: off is held over a wait for other CPUs, and taken with interrupts off");
	spin_unlock(&off);
	spin_lock(&fine); /* with interrupts on, as ever */
	cr_assert_str_eq(PANIC_OF(lockdep_waits_for_cpus()), "");
	spin_unlock(&fine);
}

Test(lib_locks, locks_taken_in_calls_from_other_cpus)
{
	spinlock_t called = SPINLOCK_INIT("called"), on = SPINLOCK_INIT("on"), both = SPINLOCK_INIT("both");
	spinlock_t met = SPINLOCK_INIT("met"), tried = SPINLOCK_INIT("tried");

	irqs_off = true;
	cr_assert_str_eq(PANIC_OF(lockdep_call(true)), "");
	cr_assert_str_eq(PANIC_OF(spin_lock(&called)), "");
	spin_unlock(&called);
	lockdep_call(false);
	spin_lock(&both); /* with interrupts off a call cannot come */
	spin_unlock(&both);
	irqs_off = false;
	spin_lock(&on);
	irqs_off = true; /* a call interrupts */
	cr_assert_str_eq(PANIC_OF(lockdep_call(true)), "");
	cr_assert_str_eq(PANIC_OF(spin_lock(&both)), "");
	spin_unlock(&both);
	lockdep_call(false);
	irqs_off = false;
	spin_unlock(&on);
	irqs_off = true;
	lockdep_call(true);
	cr_assert_str_eq(PANIC_OF(spin_lock(&on)),
			 "lock order: on is taken in a call from another CPU, and held with interrupts on");
	cr_assert_str_eq(PANIC_OF(spin_lock(&met)), "");
	spin_unlock(&met);
	lockdep_call(false);
	irqs_off = false;
	/* no call has come while it was held */
	cr_assert_str_eq(PANIC_OF(spin_lock(&met)),
			 "lock order: met is taken in a call from another CPU, and held with interrupts on");
	irqs_off = true;
	lockdep_call(true);
	cr_assert_str_eq(PANIC_OF(spin_lock(&tried)), "");
	spin_unlock(&tried);
	lockdep_call(false);
	irqs_off = false;
	cr_assert(spin_trylock(&tried)); /* waits for nobody, but a call may now wait for it */
	irqs_off = true;
	cr_assert_str_eq(PANIC_OF(lockdep_call(true)),
			 "lock order: tried is taken in a call from another CPU, and held with interrupts on");
	lockdep_call(false);
	irqs_off = false;
	spin_unlock(&tried);
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
		cr_assert(down_read_trylock(&many[i])); /* which asks for no order */
	}
	for (unsigned i = 0; i < 40; i++)
		EXPECT_QUIET(assert_held_read(&many[i]));
	for (unsigned i = 40; i-- > 0;)
		up_read(&many[i]);
	for (unsigned i = 0; i < 40; i++)
		EXPECT_SAYS(assert_held_read(&many[i]), ": many is not held for reading");
}

/* ---- moved to another CPU --------------------------------------------------------------------- */

/* It asks for the number of CPU 1, and is on CPU 0 before it looks (is_moved). */

Test(lib_locks, a_thread_that_is_moved_holds_nothing_of_the_cpu_it_was_on)
{
	spinlock_t theirs = SPINLOCK_INIT("theirs");

	cpu = 1;
	spin_lock(&theirs); /* by a thread of that CPU */
	is_moved = true;
	EXPECT_QUIET(might_sleep());
	cpu = 1;
	cr_expect_eq(lockdep_held(), 0);
	cpu = 1;
	cr_expect_not(lockdep_holds(&theirs));
	is_moved = false;
	cpu = 1;
	EXPECT_SAYS(might_sleep(), ": may sleep while holding theirs");
	cr_expect_eq(lockdep_held(), 1);
	cr_expect(lockdep_holds(&theirs));
	spin_unlock(&theirs);
}

/* ---- sleeping locks --------------------------------------------------------------------------- */

static struct mutex m1 = MUTEX_INIT("first"), m2 = MUTEX_INIT("second"), m3 = MUTEX_INIT("third");
static struct rw_semaphore twins[2] = {RWSEM_INIT("twin"), RWSEM_INIT("twin")};

static void one_in_the_other(struct mutex *outer, struct mutex *inner)
{
	mutex_lock(outer);
	mutex_lock(inner);
	mutex_unlock(inner);
	mutex_unlock(outer);
}

Test(lib_locks, the_order_of_sleeping_locks_is_learned)
{
	one_in_the_other(&m1, &m2);
	one_in_the_other(&m2, &m3);
	one_in_the_other(&m1, &m3);
	one_in_the_other(&m1, &m2);
	mutex_lock(&m3);
	cr_expect_str_eq(PANIC_OF(mutex_lock(&m1)), "lock order: taking first while holding third, "
						    "which comes inside it elsewhere");
	mutex_unlock(&m3);
}

/* Three threads could wait for each other in a ring of which each has seen one link. */
Test(lib_locks, an_order_that_is_broken_by_way_of_others)
{
	one_in_the_other(&m1, &m2);
	one_in_the_other(&m2, &m3);
	mutex_lock(&m3);
	cr_expect_neq(strstr(PANIC_OF(mutex_lock(&m1)), "taking first while holding third"), NULL);
	mutex_unlock(&m3);
}

Test(lib_locks, semaphores_and_mutexes_have_one_order)
{
	down_read(&rwsem);
	mutex_lock(&mutex);
	up_read(&rwsem);
	mutex_unlock(&mutex);
	mutex_lock(&mutex);
	cr_expect_neq(strstr(PANIC_OF(down_read(&rwsem)), "taking rwsem while holding mutex"), NULL);
	cr_expect_neq(strstr(PANIC_OF(down_write(&rwsem)), "taking rwsem while holding mutex"), NULL);
	cr_expect(down_read_trylock(&rwsem), "who tries does not wait");
	up_read(&rwsem);
	cr_expect(down_write_trylock(&rwsem));
	downgrade_write(&rwsem);
	mutex_unlock(&mutex);
	EXPECT_QUIET(mutex_lock(&mutex)); /* inside it, as before */
	mutex_unlock(&mutex);
	up_read(&rwsem);
}

Test(lib_locks, two_locks_of_one_name)
{
	down_write(&twins[0]);
	cr_expect_str_eq(PANIC_OF(down_write(&twins[1])),
			 "lock order: taking twin while holding twin, of the same name");
	cr_expect_neq(strstr(PANIC_OF(down_read(&twins[1])), "of the same name"), NULL);
	EXPECT_QUIET(down_write_nested(&twins[1]));
	up_write(&twins[0]);
	up_write(&twins[1]);
	down_read(&twins[0]);
	cr_expect_str_eq(PANIC_OF(down_read(&twins[0])),
			 "lock order: taking twin while holding twin, for reading: the same lock");
	cpu = 1; /* another thread */
	EXPECT_QUIET(down_read(&twins[0]));
	up_read(&twins[0]);
}

Test(lib_locks, mutexes_are_counted)
{
	EXPECT_QUIET(assert_no_mutex());
	down_read(&rwsem);
	cr_expect_eq(lockdep_mutexes_held(), 0);
	EXPECT_QUIET(assert_no_mutex());
	mutex_lock(&m1);
	cr_assert(mutex_trylock(&m2));
	cr_expect_eq(lockdep_mutexes_held(), 2);
	mutex_unlock(&m1);
	EXPECT_SAYS(assert_no_mutex(), ": second is held, and must not be");
	cpu = 1;
	EXPECT_QUIET(assert_no_mutex());
	cpu = 0;
	mutex_unlock(&m2);
	EXPECT_QUIET(assert_no_mutex());
	up_read(&rwsem);
}

static void find_lock(uintptr_t thread, const void *lock, const char *name, enum lockdep_how how, void *ctx)
{
	const void **wanted = ctx;

	if (thread == os_thread_id() && lock == *wanted && !strcmp(name, "told") && how == LOCKDEP_MUTEX)
		*wanted = NULL;
}

/* What a hang or a panic tells of who holds what. */
Test(lib_locks, who_holds_what_is_told)
{
	struct mutex m;
	const void *wanted = &m;

	mutex_init_named(&m, "told");
	lockdep_each_held(find_lock, &wanted);
	cr_expect(wanted, "nobody holds it");
	mutex_lock(&m);
	lockdep_each_held(find_lock, &wanted);
	cr_expect_not(wanted, "its holder, name and way");
	mutex_unlock(&m);
}
