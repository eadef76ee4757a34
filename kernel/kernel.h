/* SPDX-License-Identifier: MIT */
/*
 * The kernel: a client of <quire/quire.h> and arch/hal_kernel.h that sees nothing of mm/. Every
 * file of this folder includes this header; the structures stand in task.h and file.h, what a
 * handler of a system call needs in syscall.h.
 *
 * Every CPU runs tasks (docs/smp.md). Kernel code runs with interrupts on and may be pre-empted wherever no spinning
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
	char args[64];	       /* a file with the first program's path, arguments and environment; "": none */
	char swap[32];	       /* a block device to swap to before the first program; "": none */
	uint64_t cpus;	       /* that run tasks, at most; 0: all that there are */
	uint64_t ramdisk;      /* bytes of ram0; 0: none */
	uint64_t zram;	       /* bytes of zram0; 0: none */
	const char *init_args; /* what followed "--", NULL: nothing did */
	bool mem_check, dump_tables, aslr, verbose, preempt, monitor;
	bool stdio_pipe, stdio_tty; /* the host gives the first program its standard input and output */
};
extern struct kernel_options options;
extern struct quire_trace_ring *trace_ring; /* NULL: none */
/* What the machine's loader gave, as it was. */
const char *kernel_command_line(void);
/* One line of log, without newline, prefixed "quire: ". */
void klog(const char *fmt, ...) __printf(1, 2);
/* Bytes to the log channel, in one piece whoever else writes; kernels: the kernel's own whole lines, which
 * begin one. Any context. */
void log_put(const char *s, size_t n, bool kernels);
/* The machine ends with this status once every task is gone. */
void request_shutdown(int status);
extern bool shutting_down;
/* Called by the idle loop when no process is left. */
_Noreturn void finish_shutdown(void);
/* Logs the records of the trace that were written last. */
void show_last_trace(void);

/* ---- hostio.c -------------------------------------------------------------------------------- */

/* The memory shared with the host, if the command line asks for it, and where it is, in the log. 0 or
 * -ENOMEM. Boot. */
int hostio_init(void);
/* Pages of it, which are never given back: the host may read them after the end. */
unsigned hostio_pages(void);
/* The host is told how the program ended; nothing here is used any more. */
void hostio_exit(int status);
/* Descriptors 0, 1 and 2 of the running process, which has none. 0 or an errno. */
int hostio_open(void);
/* Wakes those for whom the host has moved bytes, and sends the signal that it wants sent. From the
 * tick. */
void hostio_tick(void);
/* Who sleeps on this key waits for the host. */
bool hostio_wakes(const void *key);

/* The terminal lies over it; the rest is for that: a byte that was typed, -1: there is none; nothing more will
 * come; bytes to the host, what has no room is lost (any context); waits for that much room, 0 or
 * -ERESTARTSYS; rows << 32 | columns, 0: unknown. */
bool hostio_terminal(void);
int hostio_getc(void);
bool hostio_ended(void);
void hostio_put(const char *s, size_t n);
int hostio_wait(size_t n);
uint64_t hostio_window(void);

/* ---- diagnose.c ------------------------------------------------------------------------------ */

/* Logs every task, where it sleeps and what it holds. Interrupts off. */
void show_tasks(void);
/* A signal that an instruction of the process's own caused. */
bool is_trap(const struct hal_siginfo *si);
/* Says in one line which signal ends the running process, and of a trap where it was and what is mapped
 * there. Sleeps. */
void show_death(const struct hal_siginfo *si, const struct trap_frame *tf);
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

/* ---- blkdev.c -------------------------------------------------------------------------------- */

/* Finds the machine's disks, and makes the RAM disk that the command line asks for; their nodes in
 * /dev. 0 or -ENOMEM. Boot. */
int blkdevs_init(void);
/* Lets go of them. No process is left. */
void blkdevs_exit(void);
/* Some transfer is under way, whose end will interrupt. Context: any. */
bool blkdevs_busy(void);
/* Swaps to the device that the command line names, or says why not. Context: sleep. */
void swap_on_at_boot(void);
/* Swaps no more, unless some process but the first still runs and may need it. Context: sleep. */
void swap_off_at_end(void);
/* The device that a node of /dev is; NULL: it is none. */
struct quire_blkdev *blkdev_of(const struct vnode *v);
/* /proc/partitions, and the counters of /proc/quire/block. */
void show_partitions(quire_emit_fn emit, void *ctx);
void show_block_counters(quire_emit_fn emit, void *ctx);

/* ---- ipc/shm.c ------------------------------------------------------------------------------- */

/* There are no segments, and the limits are 5.10's. Boot. */
void shm_init(void);
/* Those that are left go. No process is left. */
void shm_exit(void);
/* t ends: segments that it made are nobody's. Nothing is held. */
void shm_exit_task(struct task *t);

/* ---- monitor.c ------------------------------------------------------------------------------- */

/* Until its thread is stopped. */
void monitor(void);
/* Carries out one line; it is taken to pieces. Words are separated by blanks, nothing is quoted. */
void monitor_command(char *line);

#endif
