/* SPDX-License-Identifier: MIT */
/*
 * The contract above: all that the core asks of the kernel round it, in stages. A kernel that has
 * only the first stages links os_default.c for the rest: the core then runs single-threaded,
 * without background reclaim, and out of memory is an error. docs/os.md holds the table.
 *
 * "owner" is the opaque pointer that the kernel gave to quire_mm_create(): its own idea of whom
 * an address space belongs to.
 */
#ifndef MM_OS_H
#define MM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quire_mm;
struct os_thread; /* a thread that os_thread_start() made */

/* ---- stage 0: log and panic ----------------------------------------------------------------- */

/* One line for people, without its newline. Any context. */
void os_log(const char *line);
/* The core met its own bug. Prints why and the last trace records, ends. Any context. */
_Noreturn void os_panic(const char *why);

/* ---- stage 1: preemption -------------------------------------------------------------------- */

/* Called when a spinlock is taken (+1) and released (-1), so that a preemptible kernel does not
 * switch in between. Default: nothing. */
void os_preempt(int delta);

/* ---- stage 2: sleep and wake ---------------------------------------------------------------- */

/* Sleeps until os_wake(key), unless *word != seen by the time the sleep is committed: then it
 * returns at once (as a futex does). May return early. Default: panics, a lone thread that would
 * sleep is a deadlock. */
void os_wait(const void *key, const uint32_t *word, uint32_t seen);
/* The same, but not beyond a time of os_clock_ns(); UINT64_MAX: as long as it takes. Of a thread that
 * os_thread_stop() stops it ends at once. Default: returns at once, nobody else could wake it. */
void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns);
/* As os_wait(), but a fatal signal ends it, and with any_signal each that os_signal_pending() says. Default: as
 * os_wait(). */
void os_wait_killable(const void *key, const uint32_t *word, uint32_t seen, bool any_signal);
/* Wakes up to n sleepers on key. Any context. */
void os_wake(const void *key, unsigned n);
/* Identifies the running thread, never 0. Default: 1. */
uintptr_t os_thread_id(void);
/* A word of the running thread that only the core reads and writes; 0 when the thread begins. In an
 * interrupt it is that of who was interrupted. Any context. Default: one word for all. */
unsigned long *os_thread_word(void);
/* Lets others run, if it is a good moment. */
void os_cond_resched(void);

/* ---- stage 3: threads, time, entropy -------------------------------------------------------- */

/* Starts fn(arg) as a kernel thread. *thread is for os_thread_stop(), which must be called then, also
 * for one whose fn has returned by itself; with thread NULL it is never stopped. Context: sleep. 0 or
 * -ENOMEM; default -ENOSYS: no background work. */
int os_thread_start(const char *name, void (*fn)(void *arg), void *arg, struct os_thread **thread);
/* Asks the thread to end, ends an os_wait_until() of it, and returns when fn has returned and nothing
 * is left of the thread. By anybody but itself, holding nothing that it may want. Context: sleep, or
 * the boot context after everything else has ended. Default: nothing. */
void os_thread_stop(struct os_thread *thread);
/* The running thread was asked to end by os_thread_stop(). Default: false. */
bool os_thread_should_stop(void);
/* The running thread does short work that others wait for: whenever it is woken it is to run before
 * them. Default: nothing. */
void os_thread_urgent(void);
uint64_t os_clock_ns(void);
uint64_t os_entropy(void);

/* ---- stage 4: tasks, limits ----------------------------------------------------------------- */

/* resource: RLIMIT_*, cap: CAP_* of <quire/abi.h>. What is not limited answers RLIM_INFINITY,
 * UINT64_MAX. Default: infinity. */
uint64_t os_rlimit(void *owner, int resource);
/* The hard limit, up to which the owner may raise the soft one. Default: infinity. */
uint64_t os_rlimit_max(void *owner, int resource);
bool os_capable(void *owner, int cap);	       /* default: true */
/* A fatal signal waits for the running thread: give up long work. Default: false. */
bool os_fatal_signal_pending(void);
/* Any signal waits that the running thread would take in user mode. Default: false. */
bool os_signal_pending(void);
/* The running thread is at its end: it waits for no program any more. Default: false. */
bool os_thread_ends(void);

/* What the choice of a victim wants to know of a process. */
struct os_owner_facts {
	struct quire_mm *mm;	/* its space, grabbed: quire_mm_drop() when done */
	uint32_t pid, uid;
	int oom_score_adj;	/* -1000 .. 1000; -1000: never a victim */
	bool unkillable;	/* the machine ends with it, or it is the kernel's own */
	bool in_vfork;		/* uses its parent's space until it runs a program of its own */
	bool dying;		/* a fatal signal or its own end is on the way in each of its threads */
	char comm[16];
};

/* Calls fn for the owner of every process, those without a space included, by rising number; fn may
 * sleep. Default: there is none. */
void os_for_each_owner(void (*fn)(void *owner, void *ctx), void *ctx);
/* False, and nothing to drop: there is no such process, or it has no space (any more). Any context.
 * Default: false. */
bool os_owner_facts(void *owner, struct os_owner_facts *facts);
/* The process of the running thread; NULL: it belongs to none. Any context. Default: NULL. */
void *os_current_owner(void);
/* Kills the process (SIGKILL): its threads end as soon as they can. Until then each of them is a
 * victim for os_current_is_victim(). Any context. */
void os_kill(void *owner);
/* The process of the running thread was ended by os_kill(). Any context. Default: false. */
bool os_current_is_victim(void);
/* Memory is out. True: the kernel has chosen somebody itself, or made room; false: the core chooses.
 * gfp: __GFP_* of the request, 2^order pages. Context: sleep. Default: false. */
bool os_out_of_memory(unsigned gfp, unsigned order);
/* The running thread had a page faulted in by a call (MAP_POPULATE, mlock), as an access would have
 * done; major: it was read from a device. Faults of accesses are told by quire_page_fault(). Any
 * context. Default: nothing. After Linux' current->maj_flt and min_flt. */
void os_count_fault(bool major);
/* The running thread begins (true) or ends (false) to wait for memory: it reclaims, or waits for what
 * was thrown out too early. Begins and ends alternate. Any context but interrupts. Default: nothing.
 * After Linux' psi_memstall_enter. */
void os_memstall(bool begin);
/* Number and name of the running task, for trace records. Default: 0 and "". */
uint32_t os_current_pid(void);
const char *os_current_comm(void);

#endif
