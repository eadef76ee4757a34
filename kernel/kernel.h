/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own structures: tasks, processes, what they share, and the calls between the files
 * of this folder. A client of <quire/quire.h> and arch/hal_kernel.h; it sees nothing of mm/.
 *
 * One CPU runs tasks. Kernel code runs with interrupts off except in the idle loop, and is never
 * preempted: between two points where it may sleep, everything here is as good as locked.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include "arch/hal_kernel.h"
#include "lib/bug.h"
#include "lib/list.h"
#include "lib/printf.h"
#include "lib/string.h"
#include <quire/abi.h>
#include <quire/quire.h>

#define PAGE_SIZE   (1ul << ARCH_PAGE_SHIFT)
#define PAGE_MASK   (~(PAGE_SIZE - 1))
#define STACK_PAGES 4
#define NSIG	    64
#define TICK_NS	    10000000ull
#define PATH_LEN    512
#define MAX_FDS	    256

struct vnode;
struct file;

/* ---- what tasks share ------------------------------------------------------------------------ */

struct sighand { /* CLONE_SIGHAND */
	unsigned refs;
	struct hal_sigaction action[NSIG + 1];
};

struct fd_table { /* CLONE_FILES */
	unsigned refs;
	struct file *file[MAX_FDS];
	bool cloexec[MAX_FDS];
};

struct fs_context { /* CLONE_FS */
	unsigned refs;
	unsigned umask;
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
};

/* A thread group: what Linux's users call a process. */
struct process {
	struct list_head all;	   /* every process, zombies included */
	struct list_head sibling;  /* in parent->children */
	struct list_head children;
	struct list_head threads;  /* task.thread */
	unsigned nr_threads;
	int pid, pgid, sid;
	struct process *parent;
	struct quire_mm *mm;	   /* NULL: a zombie */
	struct sighand *sighand;
	struct fd_table *fds;
	struct fs_context *fs;
	struct sigpending pending; /* sent to the process */
	struct rlimit rlim[RLIM_NLIMITS];
	uint64_t cap_effective, cap_permitted, cap_inheritable;
	struct usage usage;	   /* of threads that ended */
	struct usage child_usage;  /* of children that were waited for */
	bool zombie, group_exit, is_init;
	int exit_status;	   /* as wait4 tells it */
	int exit_signal;
	int leader_tid;
	uint64_t start_ns;
	uint64_t alarm_at, alarm_period; /* ITIMER_REAL, ns since boot; 0: not set */
	struct task *vfork_waiter;
	unsigned long vdso;	   /* where the code for sigreturn was mapped, 0: nowhere */
	char comm[16];
	char exe[PATH_LEN];
};

enum task_state { TASK_RUNNING, TASK_SLEEPING, TASK_DEAD };

struct task {
	struct list_head run;	   /* in the run queue */
	struct list_head sleep;	   /* among the sleepers */
	struct list_head thread;   /* in process.threads */
	struct list_head all;
	enum task_state state;
	int tid;
	struct process *proc;	   /* NULL: a kernel thread */
	char name[16];
	void *stack;
	struct hal_context ctx;
	unsigned long tls;
	bool user;		   /* has FP state and a thread pointer to keep */
	struct trap_frame *utf;	   /* the frame that left user mode */
	/* sleeping */
	const void *key;
	uintptr_t key2;
	bool interruptible;
	uint64_t deadline;	   /* ns since boot, 0: none */
	int woken;		   /* what sleep_on() returns */
	/* signals */
	uint64_t sigmask, saved_mask;
	bool restore_mask;	   /* saved_mask returns when no handler ran */
	bool restart;		   /* the system call wants to run again */
	struct sigpending pending;
	unsigned long altstack[3]; /* sp, flags, size */
	uint32_t fault_code;
	bool dying;
	bool leave;		   /* another thread runs exec: this one ends, and only this */
	/* user memory to tell of our end */
	unsigned long clear_child_tid;
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

/* ---- start.c --------------------------------------------------------------------------------- */

struct kernel_options {
	char init[PATH_LEN];
	const char *init_args; /* what followed "--", NULL: nothing did */
	bool mem_check, dump_tables, aslr, verbose;
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

/* ---- sched.c --------------------------------------------------------------------------------- */

void sched_init(void);
void schedule(void);
_Noreturn void idle_loop(void);
/* Sleeps until wake(key); deadline 0: for ever. 0, -EINTR (interruptible and a signal waits),
 * -ETIMEDOUT. The caller checks its condition again. */
int sleep_on(const void *key, uintptr_t key2, bool interruptible, uint64_t deadline);
unsigned wake_up(const void *key, uintptr_t key2, unsigned n);
void wake_task(struct task *t, int result);
/* A task with a stack and nothing else, not yet running. NULL: no memory. */
struct task *task_alloc(const char *name, void (*fn)(void *), void *arg);
void task_start(struct task *t);
/* Gives back a task that was never started. */
void task_discard(struct task *t);
/* Frees the stacks of tasks that ended. */
void reap_tasks(void);
_Noreturn void task_end(void);
struct task *task_by_tid(int tid);
int new_pid(void);
extern struct list_head all_tasks;
extern bool need_resched;
/* Makes the process's space the CPU's own, or none. */
void use_mm(struct quire_mm *mm);

/* ---- process.c ------------------------------------------------------------------------------- */

extern struct list_head all_processes;
extern struct process *init_process;
struct process *process_by_pid(int pid);
struct process *process_alloc(void);
int start_init(void);
_Noreturn void exit_task(int status);
_Noreturn void exit_group(int status);
void usage_of(struct process *p, struct usage *u);
void put_files(struct fd_table *t);
/* The process runs a new program: whoever waits for a vfork child goes on. */
void process_exec_done(struct process *p);
/* futex.c: wakes everybody who waits on this word of the running space. */
void futex_wake_address(unsigned long addr);
uint64_t rlimit_cur(struct process *p, int which);
uint64_t rlimit_max(struct process *p, int which);
bool capable(int cap);

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
int elf_map_image(struct quire_mm *mm, struct file *f, struct elf_image *img);

/* ---- signal.c -------------------------------------------------------------------------------- */

#define sigbit(n) (1ull << ((n) - 1))

void send_signal_process(struct process *p, const struct hal_siginfo *si);
void send_signal_task(struct task *t, const struct hal_siginfo *si);
/* Sends SIGALRM to the processes whose timer has run out. */
void alarms_tick(uint64_t now);
/* A signal that the running task caused itself: neither blocked nor ignored. */
void force_signal(const struct hal_siginfo *si);
bool signal_pending(struct task *t);
bool fatal_signal_pending(struct task *t);
/* Delivers what waits; tf is about to return to user mode. */
void deliver_signals(struct trap_frame *tf);
/* A new program: caught signals go back to their defaults. */
void signals_exec(struct process *p);

/* ---- vfs.c ----------------------------------------------------------------------------------- */

struct file_ops {
	/* buf is a user address. Bytes or a negative errno; *pos is theirs to move. */
	long (*read)(struct file *f, uintptr_t buf, size_t n, uint64_t *pos);
	long (*write)(struct file *f, uintptr_t buf, size_t n, uint64_t *pos);
	long (*ioctl)(struct file *f, unsigned cmd, unsigned long arg);
	unsigned (*poll)(struct file *f); /* POLLIN, POLLOUT ... */
	int (*open)(struct file *f);
	void (*release)(struct file *f);
};

struct vnode_ops {
	/* A child that is made on demand, with a reference for the caller; NULL: none. */
	struct vnode *(*lookup)(struct vnode *dir, const char *name);
	/* Name and type of the i-th such child; false: no more. */
	bool (*readdir)(struct vnode *dir, unsigned i, char name[32], unsigned *mode);
	/* Where a symbolic link points now. */
	void (*readlink)(struct vnode *v, char *buf, size_t size);
};

struct vnode {
	unsigned refs, nlink, mode, dev;
	uint64_t ino, rdev;
	struct vnode *parent;	     /* of a directory, no reference */
	struct list_head entries;    /* of a directory: struct dirent */
	struct quire_inode *contents; /* of a regular file */
	char *target;		     /* of a symbolic link */
	const struct vnode_ops *ops;
	const struct file_ops *fops;
	void *priv;
	uint64_t arg;
	uint64_t mtime_ns;
};

struct dirent {
	struct list_head link; /* in the directory's entries */
	struct vnode *v;
	char name[];
};

struct file {
	unsigned refs;
	unsigned flags; /* O_* */
	uint64_t pos;
	struct vnode *v;
	const struct file_ops *ops;
	struct quire_file *qf; /* for mappings; made when first asked for */
	void *priv;
	bool memfd;
	char path[];
};

struct path {
	struct vnode *parent; /* of the last component */
	struct vnode *v;      /* NULL: it does not exist (parent does) */
	char last[256];
	char full[PATH_LEN];  /* canonical */
	bool must_be_dir;     /* the path ended in a slash */
};

#define LOOKUP_NOFOLLOW 1u /* the last component, if a link, is the result */
#define LOOKUP_CREATE	2u /* the last component may be missing */

extern struct vnode *root_vnode;
int vfs_init(void);
void vfs_exit(void);
struct vnode *vnode_new(unsigned mode);
void vnode_get(struct vnode *v);
void vnode_put(struct vnode *v);
/* Enters v into dir under name (takes a reference). -EEXIST, -ENOMEM. */
int dir_add(struct vnode *dir, const char *name, struct vnode *v);
struct dirent *dir_find(struct vnode *dir, const char *name);
void dir_remove(struct dirent *d);
/* Makes every directory of an absolute path; the last one, with a reference. */
struct vnode *mkdir_path(const char *path);
/* Resolves; path_put() afterwards if it answered 0. start NULL: the working directory. */
int path_lookup(struct vnode *start, const char *start_path, const char *path, unsigned flags,
		struct path *out);
void path_put(struct path *p);
/* -EIO etc.; unpacks an initramfs into the root. */
int unpack_initramfs(const void *archive, size_t size);

/* ---- file.c ---------------------------------------------------------------------------------- */

struct file *file_alloc(struct vnode *v, const char *path, unsigned flags);
void file_put(struct file *f);
/* The file of a descriptor, no reference taken; NULL: none. */
struct file *fd_file(int fd);
int fd_install(struct file *f, bool cloexec);
/* What a mapping of f holds on to. NULL: no memory. */
struct quire_file *file_mapping(struct file *f);
int open_vnode(struct path *p, unsigned flags, unsigned mode, struct file **out);
extern const struct file_ops regular_ops;
/* A user string into buf. Length, -EFAULT or -ENAMETOOLONG. */
long copy_string(char *buf, uintptr_t src, size_t size);
extern const struct file_ops null_ops, zero_ops, console_ops, random_ops;
void console_tick(void);
/* A typed line without its newline, for the monitor; its length. Sleeps. */
size_t console_line(char *buf, size_t size);
int sys_pipe_common(uintptr_t fds, unsigned flags);

/* ---- procfs.c, tracefs ----------------------------------------------------------------------- */

int procfs_init(void);
/* Dumps the leaves of mm's tables into the trace and waits for a reader to compare them. */
void dump_tables(struct quire_mm *mm, uint64_t id);

/* ---- monitor.c ------------------------------------------------------------------------------- */

_Noreturn void monitor(void);

/* ---- system calls ---------------------------------------------------------------------------- */

#define SYSCALL(name)                             \
	long call_##name(const unsigned long *a);  \
	long call_##name(const unsigned long *a)
#define COPY_IN(dst, src)  (hal_copy_from_user(&(dst), (src), sizeof(dst)) ? -EFAULT : 0)
#define COPY_OUT(dst, src) (hal_copy_to_user((dst), &(src), sizeof(src)) ? -EFAULT : 0)

/* Where the machines' user ABIs differ in more than numbers (abi.c). */
struct stat_info {
	uint64_t dev, ino, rdev, size, blocks, mtime_ns;
	uint32_t mode, nlink;
};
int abi_put_stat(uintptr_t dst, const struct stat_info *s);
int abi_get_sigaction(uintptr_t src, struct hal_sigaction *sa);
int abi_put_sigaction(uintptr_t dst, const struct hal_sigaction *sa);
/* clone()'s thread pointer and child-tid arguments, which one of them swaps. */
void abi_clone_args(const unsigned long *a, unsigned long *tls, unsigned long *ctid);
/* The call that a signal handler's end makes, mapped for programs that bring none: its address. */
unsigned long abi_map_sigreturn(struct quire_mm *mm);
/* Before the first program, and after the last. */
void abi_init(void);
void abi_exit(void);

#endif
