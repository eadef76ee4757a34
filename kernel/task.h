/* SPDX-License-Identifier: MIT */
/*
 * struct task and struct process: scheduling, fork and exit, exec, signals.
 */
#ifndef KERNEL_TASK_H
#define KERNEL_TASK_H

#include "arch/hal_kernel.h"
#include "kernel/timer.h"
#include "kernel/wait.h"
#include "lib/atomic.h"
#include "lib/list.h"
#include "lib/spinlock.h"
#include <quire/abi.h>

#define STACK_PAGES 4
#define NSIG	    64
#define PATH_LEN    512
#define MAX_FDS	    4096 /* the hard limit of Linux's first process */
#define FEW_FDS	    64

struct vnode;
struct open_file;
struct quire_mm;

/* ---- what tasks share ------------------------------------------------------------------------ */

struct sighand { /* CLONE_SIGHAND; tasks_lock */
	atomic_t refs;
	struct hal_sigaction action[NSIG + 1];
};

struct fd_slot {
	struct open_file *file;
	bool taken;		   /* has a file, or is reserved for one that is to come */
	bool cloexec;
};

struct fd_table { /* CLONE_FILES */
	atomic_t refs;
	spinlock_t lock;	   /* all that follows */
	unsigned size;		   /* slots there are; it grows */
	unsigned end;		   /* no slot from here on was ever taken */
	struct fd_slot *slot;	   /* `own`, until it grows */
	struct fd_slot own[FEW_FDS];
};

struct fs_context { /* CLONE_FS */
	atomic_t refs;
	spinlock_t lock;	   /* cwd and cwd_path */
	unsigned umask;		   /* atomic */
	struct vnode *cwd;
	char cwd_path[PATH_LEN];
};

struct sigpending {
	uint64_t set; /* bit n - 1: signal n */
	struct hal_siginfo info[NSIG + 1];
};

struct rlimit {
	uint64_t cur, max;
};

struct usage {
	uint64_t min_flt, maj_flt;
	uint64_t utime_ns, stime_ns;
	uint64_t nvcsw, nivcsw; /* switches: it slept or ended; it could have gone on */
};

/*
 * A thread group: what Linux's users call a process. tasks_lock covers it but for what says otherwise;
 * a task of the process may read without it what only its own process changes, and the space, which
 * only the process's last task does.
 */
struct process {
	atomic_t refs;		   /* the tree, each task, who looks */
	struct list_head all;	   /* every process, zombies included */
	struct list_head sibling;  /* in parent->children */
	struct list_head children;
	struct list_head threads;  /* task.thread */
	unsigned nr_threads;
	int pid, pgid, sid;
	struct process *parent;	   /* by process_set_parent() */
	int ppid;		   /* its number; 0: there is none. Read without the lock */
	struct quire_mm *mm;	   /* NULL: a zombie */
	struct sighand *sighand;
	struct fd_table *fds;
	struct fs_context *fs;
	struct sigpending pending; /* sent to the process */
	struct rlimit rlim[RLIM_NLIMITS];
	uint64_t cap_effective, cap_permitted, cap_inheritable;
	int nice;		   /* -20 .. 19, for those who ask: every task gets the same slices */
	struct usage usage;	   /* of threads that ended */
	struct usage child_usage;  /* of children that were waited for */
	bool zombie, group_exit, is_init;
	int exit_status;	   /* as wait4 tells it */
	int exit_signal;
	int leader_tid;
	uint64_t start_ns;
	uint64_t alarm_at, alarm_period; /* ITIMER_REAL, ns since boot; 0: not set */
	struct ktimer alarm;	   /* set while alarm_at is; by tasks of the process alone */
	bool vfork_done;	   /* runs a new program, or has ended */
	/* what is waited for; wake-ups may come with tasks_lock held */
	struct wait_head vfork_wait;   /* by who made it: vfork_done */
	struct wait_head child_ended;  /* by its tasks: a child is a zombie */
	struct wait_head thread_ended; /* by exec: nr_threads */
	unsigned long vdso;	   /* where the code for sigreturn was mapped, 0: nowhere */
	char comm[16];		   /* the last byte is always 0 */
	char exe[PATH_LEN];
};

enum task_state { TASK_RUNNING, TASK_SLEEPING, TASK_DEAD };

struct task {
	/* the CPU's, interrupts off */
	struct list_head run;	   /* in the run queue, or among the dead */
	enum task_state state;
	int64_t slice_left;	   /* ns that it may still run before others */
	bool fpu_in_memory;	   /* fpu is newer than the registers: a switch neither saves nor loads */
	/* tasks_lock */
	struct list_head thread;   /* in process.threads */
	struct list_head all;
	int tid;
	struct process *proc;	   /* NULL: a kernel thread */
	char name[16];
	void *stack;
	struct hal_context ctx;
	unsigned long tls;
	bool user;		   /* has FP state and a thread pointer to keep */
	struct trap_frame *utf;	   /* the frame that left user mode */
	/* sleeping: its bucket's lock (wait.c) */
	struct waiter *waiter;	   /* it sleeps here; NULL: it does not */
	bool interruptible;
	struct ktimer timer;
	/* signals: tasks_lock; signal_pending() looks without it */
	uint64_t sigmask, saved_mask;
	uint64_t sigwait;	   /* blocked, but rt_sigtimedwait() waits for them */
	bool restore_mask;	   /* saved_mask returns when no handler ran */
	bool restart;		   /* the system call wants to run again */
	struct sigpending pending;
	unsigned long altstack[3]; /* sp, flags, size */
	uint32_t fault_code;
	bool dying;
	bool leave;		   /* another thread runs exec: this one ends, and only this */
	struct process *vfork_child; /* it waits for this one, referenced */
	/* user memory to tell of our end */
	unsigned long clear_child_tid;
	uintptr_t robust_list;	   /* struct robust_list_head, 0: none */
	struct usage usage;
	void (*kthread_fn)(void *);
	void *kthread_arg;
	bool set_tls;
	unsigned long new_tls, set_child_tid;
	struct trap_frame start_tf;
	struct hal_fpu fpu;
};

extern struct task *current_task;
#define current current_task

/* ---- sched.c --------------------------------------------------------------------------------- */

void sched_init(void);
/* Gives the CPU to the next task; the caller goes on when its turn comes again. May sleep. */
void schedule(void);
_Noreturn void idle_loop(void);
bool is_idle(const struct task *t);
/* A sleeper that no list knows any more may run again. Any context. */
void make_runnable(struct task *t);
/* Pre-emption is off: a spinning lock is held, or the caller asked for it by os_preempt(). */
bool preempt_off(void);
/* How often kernel code was pre-empted since the start. */
extern uint64_t preemptions;
/* A task with a stack and nothing else, not yet running. NULL: no memory. */
struct task *task_alloc(const char *name, void (*fn)(void *), void *arg);
void task_start(struct task *t);
/* Gives back a task that was never started. */
void task_discard(struct task *t);
/* Frees the stacks of tasks that ended. */
void reap_tasks(void);
_Noreturn void task_end(void);
extern bool need_resched;
/* Makes the process's space the CPU's own, or none. */
void use_mm(struct quire_mm *mm);

/* ---- process.c, fork.c, exit.c, ids.c -------------------------------------------------------- */

/* Who there is: every task and process, whose child and thread it is, whether it has ended, its
 * pending and its handled signals, its numbers, and which space, handlers, descriptors and directory
 * it has. Taken with interrupts off (a tick sends signals). Nobody calls the core with it held. */
extern spinlock_t tasks_lock;
extern struct list_head all_processes, all_tasks;
extern struct process *init_process;
/* tasks_lock is held, and what they return is good as long as it is. NULL: there is none. */
struct process *find_process(int pid);
struct task *find_task(int tid);
/* The process of that number, 0: the caller's own; and the one with the next higher number, for a walk
 * over all that starts with 0. With a reference; NULL: none. */
struct process *process_get_pid(int pid);
struct process *process_get_next(int pid);
void process_get(struct process *p);
/* tasks_lock is not held. */
void process_put(struct process *p);
/* Gives the reference back, unless it is the last one: false. Any context. */
bool process_put_but_last(struct process *p);
bool no_process_left(void);
/* Enters a task among all, and takes it out. */
void task_publish(struct task *t);
void task_unpublish(struct task *t);
/* The space of p, referenced, or NULL: p may end, or run another program, while its space is used. */
struct quire_mm *get_task_mm(struct process *p);
/* Gives p another space, or none. Returns the old one with p's reference. */
struct quire_mm *set_task_mm(struct process *p, struct quire_mm *mm);
/* A number that no task, process, group or session has. */
int new_pid(void);
/* A copy of old for its child, by the flags of clone: everything but the space and the place in the
 * tree. NULL: no memory. */
struct process *process_copy(struct process *old, unsigned long flags);
/* tasks_lock is held. */
/* NULL: none any more. tasks_lock. */
void process_set_parent(struct process *p, struct process *parent);
void process_adopt(struct process *p, struct process *parent);
void process_add_thread(struct process *p, struct task *t);
int start_init(void);
_Noreturn void exit_task(int status);
_Noreturn void exit_group(int status);
/* What its threads, past and present, have used. tasks_lock is held. */
void usage_of(struct process *p, struct usage *u);
/* The same with the lock taken, and what its children used that were waited for. Either may be NULL. */
void get_usage(struct process *p, struct usage *own, struct usage *children);
void put_sighand(struct sighand *s);
/* How the core knows the owner of a space: by number, for the space may outlive the process. */
static inline void *process_owner(int pid)
{
	return (void *)(uintptr_t)(unsigned)pid;
}
void copy_actions(struct sighand *to, const struct sighand *from);
/* The process runs a new program: a parent that waits for its vfork child goes on. */
void process_exec_done(struct process *p);
/* In bytes or what the limit counts; any context. */
/* Without a limit of that number: RLIM_INFINITY. */
static inline uint64_t rlimit_cur(const struct process *p, int which)
{
	return (unsigned)which < RLIM_NLIMITS ? READ_ONCE(p->rlim[which].cur) : RLIM_INFINITY;
}

static inline uint64_t rlimit_max(const struct process *p, int which)
{
	return (unsigned)which < RLIM_NLIMITS ? READ_ONCE(p->rlim[which].max) : RLIM_INFINITY;
}

bool capable(int cap);
#define ALL_CAPS ((2ull << CAP_LAST_CAP) - 1)

/* An exit status as wait4 tells it: the signal that killed, or what exit() was given, above it. */
static inline int status_exited(int value)
{
	return (value & 0xff) << 8;
}

static inline int status_signal(int status)
{
	return status & 0x7f;
}

/* The signal, or what exit() was given. */
static inline int status_value(int status)
{
	return status_signal(status) ? status_signal(status) : status >> 8 & 0xff;
}

/* ---- exec.c, elf.c --------------------------------------------------------------------------- */

struct exec_args {
	int argc, envc;
	size_t bytes;	   /* of strings, NULs included */
	char *buf;	   /* argc + envc strings, one after the other */
	size_t room;
};
int exec_args_add(struct exec_args *a, const char *s, bool env);
void exec_args_free(struct exec_args *a);
/* Replaces the running program. Negative: nothing happened (or the task is dying). */
int do_exec(const char *path, struct exec_args *a);

/* What an ELF image asks for, checked. */
struct elf_image {
	unsigned type, nr_ph;
	uintptr_t entry, phdr_addr;
	bool exec_stack;
	struct elf_phdr *ph;
	/* after elf_map_image() */
	uintptr_t bias, brk, start_code, end_code, start_data, end_data;
};
struct elf_phdr {
	uint32_t p_type, p_flags;
	uint64_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};
/* 0 or -ENOEXEC, -ENOMEM, -EIO; says in the log what is wrong. */
int elf_read(struct vnode *v, const char *path, struct elf_image *img);
void elf_free(struct elf_image *img);
/* Maps it into the running space. */
int elf_map_image(struct quire_mm *mm, struct open_file *f, struct elf_image *img);

/* ---- signal.c -------------------------------------------------------------------------------- */

#define sigbit(n) (1ull << ((n) - 1))

/* The caller is of the process or holds a reference. Any context. */
void send_signal_process(struct process *p, const struct hal_siginfo *si);
/* To the caller itself. */
void send_signal_task(struct task *t, const struct hal_siginfo *si);
/* tasks_lock is held: any process, any task. */
void post_signal_process(struct process *p, const struct hal_siginfo *si);
void post_signal_task(struct task *t, const struct hal_siginfo *si);
/* Sends SIGALRM to the process whose timer this is. */
void alarm_rings(struct ktimer *timer);
/* A signal that the running task caused itself: neither blocked nor ignored. */
void force_signal(const struct hal_siginfo *si);
/* Something waits that t would take, or that would end it. t is current, or tasks_lock is held. */
bool signal_pending(const struct task *t);
bool fatal_signal_pending(const struct task *t);
/* Sleeps until a signal is there (-EINTR) or it is time (-ETIMEDOUT). deadline: ns since boot, 0: none. */
int wait_for_signal(uint64_t deadline);
/* Delivers what waits; tf is about to return to user mode. */
void deliver_signals(struct trap_frame *tf);
/* A new program: caught signals go back to their defaults. 0 or -ENOMEM, then nothing happened. */
int signals_exec(struct process *p);

/* ---- futex.c --------------------------------------------------------------------------------- */

/* Wakes everybody who waits on this word of the running space. */
void futex_wake_address(unsigned long addr);
/* Locks that t holds by its robust list are given on, marked; t is current and has its space. */
void exit_robust_list(struct task *t);

#endif
