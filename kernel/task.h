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

/* One of several signals of a number that wait. */
struct sigqueue {
	struct sigqueue *next;
	struct hal_siginfo info;
	struct posix_timer *timer; /* it is that timer's, which sends no other meanwhile; NULL: allocated */
	bool queued;
};

struct sigpending {
	uint64_t set;  /* bit n - 1: signal n */
	uint64_t kept; /* those of which info[n] waits: the first one's, or the only one's */
	struct hal_siginfo info[NSIG + 1];
	struct sigqueue *queue, **end; /* real-time signals, in their order; end: if there are any */
};

struct rlimit {
	uint64_t cur, max;
};

struct usage {
	uint64_t min_flt, maj_flt;
	uint64_t utime_ns, stime_ns;
	uint64_t nvcsw, nivcsw; /* switches: it slept or ended; it could have gone on */
	uint64_t maxrss;	/* pages that it had at once, in spaces that it has left; of children: in any */
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
	unsigned nr_asleep;	   /* of them, those that wait for something but memory; atomic */
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
	uint32_t kill_round;	   /* the last broadcast of kill() that met it; tasks_lock */
	bool membarrier;	   /* it asked for barriers of its own; atomic */
	bool oom_victim;	   /* os_kill() ended it; its tasks read it without the lock */
	int oom_score_adj;	   /* -1000 .. 1000 */
	int oom_score_adj_min;	   /* no lower without CAP_SYS_RESOURCE */
	int exit_status;	   /* as wait4 tells it */
	int exit_signal;
	int leader_tid;
	uint64_t start_ns;
	bool stopped;		   /* by a signal, until SIGCONT; its tasks look without the lock */
	unsigned nr_stopped;	   /* tasks that wait for that */
	int stop_signal;
	bool stop_waits, cont_waits; /* its parent may wait for it: it stopped, goes on */
	struct wait_head continued; /* by its tasks: stopped */
	struct cpu_timer {
		uint64_t left, period; /* ns of its own time; left 0: not set */
	} virtual, prof;	   /* ITIMER_VIRTUAL, ITIMER_PROF */
	struct posix_timer *timers; /* timer_create() */
	int next_timer;
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
	/* its own CPU's: the depth of pre-emption (sched.c), and that another task is to run soon */
	uint32_t preempt_word;
	bool need_resched;	   /* interrupts off */
	bool idle;		   /* it is a CPU's idle task */
	bool quiet;		   /* it is through with what it did in the kernel (stop.c); its own */
	/* the lock of its CPU (cpus.h) */
	unsigned cpu;		   /* whose queue it is in, or was last; who took it out may change it */
	struct list_head run;	   /* in that queue, or among the dead */
	enum task_state state;
	bool queued;
	bool on_cpu;		   /* its stack is in use; cleared by the CPU that leaves it, with release */
	uint64_t allowed;	   /* bit n: it may run on CPU n */
	int64_t slice_left;	   /* ns that it may still run before others; its CPU's */
	bool memstall;		   /* it waits for memory (psi.c) */
	bool asleep;		   /* counts in process.nr_asleep */
	bool ending;		   /* task_ends() was called; its own */
	bool no_space;		   /* it is of its process no more; its own */
	bool made_shm;		   /* segments may have it for their creator; its own */
	bool fpu_in_memory;	   /* fpu is newer than the registers: a switch neither saves nor loads */
	/* tasks_lock */
	struct list_head thread;   /* in process.threads */
	struct list_head all;
	int tid;
	struct process *proc;	   /* NULL: a kernel thread */
	char name[16];		   /* the last byte is always 0 */
	void *stack;
	struct hal_context ctx;
	unsigned long tls;
	bool user;		   /* has FP state and a thread pointer to keep */
	struct trap_frame *utf;	   /* the frame that left user mode */
	/* sleeping: its bucket's lock (wait.c) */
	struct sleep_bucket *sleeps_in; /* NULL: it does not; looked at without the lock */
	struct waiter *waiter;	   /* it sleeps here; NULL: it does not */
	bool interruptible;	   /* by any signal */
	bool killable;		   /* by a fatal one */
	struct ktimer timer;
	/* signals: tasks_lock; signal_pending() looks without it */
	uint64_t sigmask, saved_mask;
	uint64_t sigwait;	   /* blocked, but rt_sigtimedwait() waits for them */
	bool restore_mask;	   /* saved_mask returns when no handler ran */
	bool restart;		   /* the system call wants to run again, */
	bool restart_always;	   /* behind a handler too, whatever that says */
	struct sigpending pending;
	unsigned long altstack[3]; /* sp, flags, size */
	uint32_t fault_code;
	uintptr_t oom_fault_addr;  /* of the last fault that found no memory, and how many in a row */
	unsigned oom_faults;
	bool dying;
	unsigned stops;		   /* in the middle of a call so far; its own */
	bool leave;		   /* another thread runs exec: this one ends, and only this */
	struct process *vfork_child; /* it waits for this one, referenced */
	/* user memory to tell of our end */
	unsigned long clear_child_tid;
	uintptr_t robust_list;	   /* struct robust_list_head, 0: none */
	/* futex_pi.c's lock */
	struct list_head pi_owned; /* struct pi_state that others wait for */
	struct pi_state *pi_waits; /* that it waits for; NULL: none */
	bool pi_left;		   /* it ends, and owns none any more */
	/* rseq(): registered where, 0: nowhere, with which word; its own. What happened since, atomic, and that
	 * user memory is to be told of it; who moves it while it does not run, too */
	uintptr_t rseq;
	uint32_t rseq_sig, rseq_events;
	bool rseq_notify;
	uint32_t personality;	   /* personality(): its own */
	unsigned long mempolicy;   /* mempolicy.c; its own */
	struct usage usage;
	void (*kthread_fn)(void *);
	void *kthread_arg;
	bool urgent;		   /* it runs before others when it is woken; its own */
	struct os_thread *kthread; /* of one that the core made and will stop, else NULL; its own */
	unsigned long core_word;   /* os_thread_word() */
	bool set_tls;
	unsigned long new_tls, set_child_tid;
	struct trap_frame start_tf;
	struct hal_fpu fpu;
};

/* Threads are called what they or their maker chose, a process what its first one is. tasks_lock. */
void task_set_name(struct task *t, const char name[16]);

/* Never NULL once the kernel runs. */
#define current ((struct task *)hal_task())

/* ---- sched.c --------------------------------------------------------------------------------- */

void sched_init(void);
/* Gives the CPU to the next task; the caller goes on when its turn comes again. May sleep. */
void schedule(void);
_Noreturn void idle_loop(void);
static inline bool is_idle(const struct task *t)
{
	return t->idle;
}
/* A sleeper that no list knows any more may run again. Any context. */
void make_runnable(struct task *t);
/* Pre-emption is off: a spinning lock is held, or the caller asked for it by os_preempt(). */
bool preempt_off(void);
/* How often kernel code was pre-empted since the start. */
uint64_t preemptions(void);
/* Pages of a struct task, as a power of two. */
unsigned task_order(void);
/* A task with a stack and nothing else, not yet running. NULL: no memory. */
struct task *task_alloc(const char *name, void (*fn)(void *), void *arg);
void task_start(struct task *t);
/* Gives back a task that was never started. */
void task_discard(struct task *t);
/* From the idle task, which cannot sleep: runs the others until *word is not `seen` any more. */
void idle_while(const uint32_t *word, uint32_t seen);
/* Frees the stacks of tasks that ended. */
void reap_tasks(void);
/* The same, those too that have said they end (task_ends()) and still stand on theirs. */
void reap_ended_tasks(void);
/* The running task will end without sleeping any more: who learns of its end after this finds its stack
 * by reap_ended_tasks(). Interrupts off. */
void task_ends(void);
_Noreturn void task_end(void);
/* Makes the process's space the CPU's own, or none. */
void use_mm(struct quire_mm *mm);

/* ---- kthread.c ------------------------------------------------------------------------------- */

/* The running kernel thread was asked to end: it does not sleep with a deadline any more. */
bool kthread_should_stop(void);

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
/* The last one that was given. */
int last_pid_given(void);
/* The next one follows it, if that is free. */
void set_last_pid(int pid);
/* Numbers go up to this, and begin again at FIRST_PID_AGAIN; how many tasks there may be. Sysctls, whose
 * writers keep the bounds; read without a lock. */
extern int pid_max, threads_max;
#define PID_MAX_MIN 301
#define PID_MAX_LIMIT 4194304 /* Linux's on 64-bit machines */
#define FUTEX_TID_ROOM 0x3fffffff /* more than fit into a futex's word are no threads_max */
/* How many tasks were made since the start, and how many there are. */
uint64_t tasks_made(void);
unsigned nr_tasks(void);
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
/* Starts process 1 and the first program. 0, or -ENOMEM: it cannot be tried again. */
int start_init(void);
#define FIRST_PROGRAM 2
/* Numbers of tasks begin anew. */
void pids_init(void);
/* Once there is memory: how many tasks may be in it. */
void threads_init(void);
/* Process 1 waits, and takes in orphans that end, until the first program has ended: its status. */
int wait_for_program(void);
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

/* A fault of this task; others may look meanwhile. */
static inline void task_count_fault(struct task *t, bool major)
{
	uint64_t *n = major ? &t->usage.maj_flt : &t->usage.min_flt;

	WRITE_ONCE(*n, *n + 1);
}

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

/* ---- oom.c ----------------------------------------------------------------------------------- */

/* p's oom_score_adj, -1000 .. 1000, and that of those that die with it. legacy: written on the older
 * scale, which does not move the lower bound. -EACCES: lower than the running process may. */
int oom_adj_set(struct process *p, int adj, bool legacy);

/* ---- exec.c, elf.c --------------------------------------------------------------------------- */

struct exec_args {
	int argc, envc;
	size_t bytes;	   /* of strings, NULs included */
	size_t room;	   /* that they may have; 0: as much as any */
	char **table[4];   /* argc + envc strings, one after the other, in pages (exec.c) */
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
	/* the program that loads it, PT_INTERP */
	struct open_file *interp; /* with a reference, and nobody writes to it; NULL: none */
	struct elf_image *interp_image;
	uintptr_t interp_base, interp_entry;
};
struct elf_phdr {
	uint32_t p_type, p_flags;
	uint64_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};
/* 0 or -ENOEXEC, -ENOMEM, -EIO; says in the log what is wrong. */
int elf_read(struct open_file *f, const char *path, struct elf_image *img);
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
/* The same for one that waits in a queue, which takes q over: of real-time signals each one is delivered. false:
 * nobody wants it, and q is still the caller's. tasks_lock. */
bool post_queued_process(struct process *p, struct sigqueue *q);
bool post_queued_task(struct task *t, struct sigqueue *q);
#define FIRST_RT     32 /* the first real-time signal */
#define STOP_SIGNALS (sigbit(SIGSTOP) | sigbit(SIGTSTP) | sigbit(SIGTTIN) | sigbit(SIGTTOU))
/* Not blocked, whatever its action; a moment's truth without tasks_lock. */
uint64_t signals_deliverable(const struct task *t);
/* The tasks of p look whether there is something for them. tasks_lock. */
void signals_poke(struct process *p);
/* q waits nowhere in p any more: its owner frees it. */
void signal_forget(struct process *p, struct sigqueue *q);
/* One that was allocated. */
void sigqueue_free(struct sigqueue *q);
/* The running task's process stops by that signal; while it is stopped, the task waits here. Nothing is held. */
void stop_by(int sig);
void stop_while_told(void);
/* p goes on, and its parent is told. tasks_lock. */
void stop_ends(struct process *p, bool tell);
/* What waits goes, with its task or process. */
void signals_free(struct sigpending *q);
/* The signal that makes the running task stop, if nothing else waits for it, is taken here: returns when the
 * process goes on; false: there is none, or another signal waits. May sleep; nothing is held. */
bool stop_in_call(void);
/* A task of p has ended: those that are left may be all stopped. tasks_lock. */
void stop_look(struct process *p);
/* Sends SIGALRM to the process whose timer this is. */
void alarm_rings(struct ktimer *timer);
/* The process's alarm clock does not ring any more. From its last task; no lock is held. */
void alarm_end(struct process *p);
/* A signal that the running task caused itself: neither blocked nor ignored. */
void force_signal(const struct hal_siginfo *si);
/* The running process takes a signal as a new program does. */
void signal_reset(int sig);
/* Something waits that t would take, or that would end it. t is current, or tasks_lock is held. */
bool signal_pending(const struct task *t);
bool fatal_signal_pending(const struct task *t);
/* Sleeps until a signal is there (-EINTR) or it is time (-ETIMEDOUT). deadline: ns since boot, 0: none. */
int wait_for_signal(uint64_t deadline);
/* Takes one that waits for the caller, blocked or not. */
bool signal_take(uint64_t set, struct hal_siginfo *si);
/* Those that wait for the caller. */
uint64_t signals_waiting(void);
/* A call that waits with the user's mask at src, 0: with its own: 0 or an errno, and what it answers then goes
 * through call_mask_end(). */
int call_mask_begin(uintptr_t src, size_t size);
long call_mask_end(long r);
/* Delivers what waits; tf is about to return to user mode. */
void deliver_signals(struct trap_frame *tf);
/* A new program: caught signals go back to their defaults. 0 or -ENOMEM, then nothing happened. */
int signals_exec(struct process *p);

/* ---- time.c, signals/timers.c ------------------------------------------------------------------ */

/* The tick found t running, in user mode or not: its process's clocks go on by TICK_NS. */
void cpu_timers_tick(struct task *t, bool user);
/* A signal of the timer was taken: what is told of it, and the next may be sent. tasks_lock. */
void posix_timer_taken(struct posix_timer *timer, struct hal_siginfo *si);
/* Those of a process that ends or runs another program. Sleeps. */
void posix_timers_end(struct process *p);

/* ---- signals/send.c, events/pidfd.c ------------------------------------------------------------ */

/* pidfd_send_signal() to p; info: the user's siginfo, 0: kill()'s. 0 or an errno. */
long signal_by_pidfd(struct process *p, int sig, uintptr_t info);
/* The process that a descriptor names, referenced. 0, -EBADF, -ESRCH: it is gone. */
int pidfd_process(int fd, struct process **p);
/* Some process has ended. Any context; tasks_lock is not held. */
void pidfd_tell(void);

/* ---- rseq.c ---------------------------------------------------------------------------------- */

#define RSEQ_PREEMPT 1u /* what may happen to a thread, as <linux/rseq.h> numbers it */
#define RSEQ_SIGNAL  2u
#define RSEQ_MIGRATE 4u

/* t was switched off its CPU, is moved, or (0) is to be told anyway. From t itself, or its CPU with
 * interrupts off, or whoever moves it. */
void rseq_happened(struct task *t, uint32_t event);
/* Nothing is registered: a new program. t is current. */
void rseq_forget(struct task *t);
/* For a child with a space of its own; t does not run yet. */
void rseq_inherit(struct task *t, const struct task *from);
/* On the way to user mode at tf: out of a section that was disturbed, and the CPU's number. sig: a signal
 * whose frame is about to be built, 0: none. May sleep; nothing is held. */
void rseq_resume(struct trap_frame *tf, int sig);
/* A signal's frame is about to be built. The same. */
void rseq_signal(struct trap_frame *tf, int sig);

/* ---- futex.c --------------------------------------------------------------------------------- */

/* Wakes everybody who waits on this word of the running space. */
void futex_wake_address(unsigned long addr);
/* Locks that t holds by its robust list are given on, marked; t is current and has its space. */
void exit_robust_list(struct task *t);
/* The same for locks with waiters that are to own them; t is current. ends: nobody can wait for t from here
 * on. May sleep. */
void futex_pi_leave(struct task *t, bool ends);

#endif
