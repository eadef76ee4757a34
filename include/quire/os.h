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
/* Wakes up to n sleepers on key. Any context. */
void os_wake(const void *key, unsigned n);
/* Identifies the running thread, never 0. Default: 1. */
uintptr_t os_thread_id(void);
/* Lets others run, if it is a good moment. */
void os_cond_resched(void);

/* ---- stage 3: threads, time, entropy -------------------------------------------------------- */

/* Starts fn(arg) as a kernel thread. 0 or -ENOMEM; default -ENOSYS: no background work. */
int os_thread_start(const char *name, void (*fn)(void *arg), void *arg);
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
/* Calls fn for the owner of every process. Default: there is none. */
void os_for_each_owner(void (*fn)(void *owner, void *ctx), void *ctx);
/* Kills the process at once (SIGKILL). */
void os_kill(void *owner);
/* Number and name of the running task, for trace records. Default: 0 and "". */
uint32_t os_current_pid(void);
const char *os_current_comm(void);

#endif
