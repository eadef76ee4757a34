/* SPDX-License-Identifier: MIT */
/*
 * The lock order of the kernel's spinning locks, as numbers for lib/lockdep.h. They come after all of
 * the core's (mm/base/lockrank.h) but the trace's: the core calls os_wake() and os_kill() with its own
 * locks held, and nothing of the core is called with one of these held. docs/locking.md draws it whole.
 */
#ifndef KERNEL_LOCKRANK_H
#define KERNEL_LOCKRANK_H

#define RANK_FILES   70 /* one table of descriptors; one fs_context; one open file's fields */
#define RANK_LOCKS   71 /* the locks that programs have on one file */
#define RANK_BLOCKED 72 /* who waits for such */
#define RANK_TASKS   74 /* tasks_lock: who there is, whose child, signals */
#define RANK_FUTEX   76
#define RANK_POLL    77 /* who watches a file */
#define RANK_EPOLL   78 /* one instance of epoll, and what else is told under RANK_POLL */
#define RANK_SLEEP   80 /* one list of sleepers */
#define RANK_TIMER   82 /* the heap of timers */
#define RANK_CONSOLE 86 /* bytes typed */

#endif
