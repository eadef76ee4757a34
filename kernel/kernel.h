/* SPDX-License-Identifier: MIT */
/*
 * The kernel: a client of <quire/quire.h> and arch/hal_kernel.h that sees nothing of mm/. Every
 * file of this folder includes this header; the structures stand in task.h and file.h, what a
 * handler of a system call needs in syscall.h.
 *
 * One CPU runs tasks. Kernel code runs with interrupts on and may be pre-empted wherever no spinning
 * lock is held: what two tasks may touch has a lock or a reference (docs/kernel.md).
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include "arch/hal_kernel.h"
#include "lib/bug.h"
#include "lib/printf.h"
#include "lib/string.h"
#include <quire/abi.h>
#include <quire/quire.h>

#define PAGE_SIZE  (1ul << ARCH_PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))
#define NS_PER_SEC 1000000000ull
#define NS_PER_MS  1000000ull
#define NS_PER_US  1000ull
#define US_PER_SEC 1000000ull
#define TICK_NS	   (10 * NS_PER_MS)

#include "kernel/file.h"
#include "kernel/lockrank.h"
#include "kernel/syscall.h"
#include "kernel/task.h"

/* ---- start.c --------------------------------------------------------------------------------- */

struct kernel_options {
	char init[PATH_LEN];
	const char *init_args; /* what followed "--", NULL: nothing did */
	bool mem_check, dump_tables, aslr, verbose, preempt;
};
extern struct kernel_options options;
extern struct quire_trace_ring *trace_ring; /* NULL: none */
/* One line of log, without newline, prefixed "quire: ". */
void klog(const char *fmt, ...) __printf(1, 2);
extern bool console_midline; /* a program's last byte on the console was no line end */
/* The machine ends with this status once every task is gone. */
void request_shutdown(int status);
extern bool shutting_down;
/* Called by the idle loop when no process is left. */
_Noreturn void finish_shutdown(void);
/* Logs the records of the trace that were written last. */
void show_last_trace(void);

/* ---- diagnose.c ------------------------------------------------------------------------------ */

/* Logs every task, where it sleeps and what it holds. Interrupts off. */
void show_tasks(void);
/* Says so, once, if no task can ever run again. From the idle loop with nothing to run. */
void check_deadlock(void);
/* Says so, once for a task, that kernel code of the running one has kept the CPU from others for
 * STUCK_NS. From the tick that interrupted it at tf. */
void show_stuck(const struct trap_frame *tf);
#define STUCK_NS (5 * NS_PER_SEC)

/* ---- procfs.c, with tracefs ------------------------------------------------------------------ */

int procfs_init(void);
/* Dumps the leaves of mm's tables into the trace and waits for a reader to compare them. */
void dump_tables(struct quire_mm *mm, uint64_t id);

/* ---- monitor.c ------------------------------------------------------------------------------- */

_Noreturn void monitor(void);
/* Carries out one line; it is taken to pieces. Words are separated by blanks, nothing is quoted. */
void monitor_command(char *line);

#endif
