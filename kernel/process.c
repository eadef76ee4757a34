/* SPDX-License-Identifier: MIT */
/*
 * Processes: birth (clone and its older names), death, waiting, credentials and limits. A process
 * stays as a zombie, without space and files, until its parent has asked for its status; orphans go
 * to the first process, whose own end is the machine's.
 */
#include "kernel.h"

#include <quire/os.h>
#include <quire/trace.h>

/* Namespaces: none are built. */
#define CLONE_NEW_ANY                                                                          \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |         \
	 CLONE_NEWPID | CLONE_NEWNET)

#define ALL_CAPS ((1ull << 40) - 1)

struct list_head all_processes = LIST_HEAD_INIT(all_processes);
struct process *init_process;

struct clone_args {
	unsigned long flags, stack, ptid, ctid, tls;
	int exit_signal;
};

struct process *process_by_pid(int pid)
{
	struct process *p;

	list_for_each_entry(p, &all_processes, all)
		if (p->pid == pid)
			return p;
	return NULL;
}

uint64_t rlimit_cur(struct process *p, int which)
{
	return which >= 0 && which < RLIM_NLIMITS ? p->rlim[which].cur : RLIM_INFINITY;
}

uint64_t rlimit_max(struct process *p, int which)
{
	return which >= 0 && which < RLIM_NLIMITS ? p->rlim[which].max : RLIM_INFINITY;
}

bool capable(int cap)
{
	return current->proc->cap_effective >> cap & 1;
}

/* ---- shared parts ---------------------------------------------------------------------------- */

static void put_sighand(struct sighand *s)
{
	if (s && --s->refs == 0)
		quire_kfree(s);
}

/* Closes everything with the last reference. */
void put_files(struct fd_table *t)
{
	if (!t || --t->refs)
		return;
	for (int i = 0; i < MAX_FDS; i++)
		if (t->file[i])
			file_put(t->file[i]);
	quire_kfree(t);
}

static void put_fs(struct fs_context *fs)
{
	if (!fs || --fs->refs)
		return;
	vnode_put(fs->cwd);
	quire_kfree(fs);
}

/* The same one, or a copy; old NULL: a fresh one. So do the next two. */
static struct sighand *get_sighand(struct sighand *old, bool share)
{
	struct sighand *s;

	if (share) {
		old->refs++;
		return old;
	}
	s = quire_kmalloc(sizeof(*s), QUIRE_GFP_ZERO);
	if (s && old)
		*s = *old;
	if (s)
		s->refs = 1;
	return s;
}

static struct fd_table *get_files(struct fd_table *old, bool share)
{
	struct fd_table *t;

	if (share) {
		old->refs++;
		return old;
	}
	t = quire_kmalloc(sizeof(*t), QUIRE_GFP_ZERO);
	if (!t)
		return NULL;
	if (old)
		*t = *old;
	t->refs = 1;
	for (int i = 0; i < MAX_FDS; i++)
		if (t->file[i])
			t->file[i]->refs++;
	return t;
}

static struct fs_context *get_fs(struct fs_context *old, bool share)
{
	struct fs_context *fs;

	if (share) {
		old->refs++;
		return old;
	}
	fs = quire_kmalloc(sizeof(*fs), QUIRE_GFP_ZERO);
	if (!fs)
		return NULL;
	if (old) {
		*fs = *old;
	} else {
		fs->umask = 022;
		fs->cwd = root_vnode;
		strscpy(fs->cwd_path, "/", sizeof(fs->cwd_path));
	}
	fs->refs = 1;
	vnode_get(fs->cwd);
	return fs;
}

/* ---- birth ----------------------------------------------------------------------------------- */

/* Nobody sees it yet. Limits and capabilities are those of Linux's first process. */
struct process *process_alloc(void)
{
	struct process *p = quire_kmalloc(sizeof(*p), QUIRE_GFP_ZERO);

	if (!p)
		return NULL;
	INIT_LIST_HEAD(&p->all);
	INIT_LIST_HEAD(&p->sibling);
	INIT_LIST_HEAD(&p->children);
	INIT_LIST_HEAD(&p->threads);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		p->rlim[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	p->rlim[RLIMIT_STACK].cur = 8ul << 20;
	p->rlim[RLIMIT_MEMLOCK] = (struct rlimit){64 << 10, 64 << 10};
	p->rlim[RLIMIT_CORE] = (struct rlimit){0, RLIM_INFINITY};
	p->rlim[RLIMIT_NOFILE] = (struct rlimit){MAX_FDS, MAX_FDS};
	p->cap_effective = ALL_CAPS;
	p->cap_permitted = ALL_CAPS;
	p->start_ns = hal_clock_ns();
	return p;
}

/* Lets go of everything but the mm; p was never seen by anybody. */
static void process_free(struct process *p)
{
	put_sighand(p->sighand);
	put_files(p->fds);
	put_fs(p->fs);
	quire_kfree(p);
}

/* Everything but the space and the place in the tree. */
static struct process *process_copy(struct process *old, unsigned long flags)
{
	struct process *p = process_alloc();

	if (!p)
		return NULL;
	memcpy(p->rlim, old->rlim, sizeof(p->rlim));
	p->cap_effective = old->cap_effective;
	p->cap_permitted = old->cap_permitted;
	p->cap_inheritable = old->cap_inheritable;
	p->pgid = old->pgid;
	p->sid = old->sid;
	p->vdso = old->vdso;
	memcpy(p->comm, old->comm, sizeof(p->comm));
	memcpy(p->exe, old->exe, sizeof(p->exe));
	p->sighand = get_sighand(old->sighand, flags & CLONE_SIGHAND);
	p->fds = get_files(old->fds, flags & CLONE_FILES);
	p->fs = get_fs(old->fs, flags & CLONE_FS);
	if (!p->sighand || !p->fds || !p->fs) {
		process_free(p);
		return NULL;
	}
	return p;
}

/* A new user task goes to user mode for the first time. */
static void child_entry(void *arg)
{
	struct task *t = arg;

	if (t->set_tls)
		hal_tls_set(&t->start_tf, t->new_tls);
	if (t->set_child_tid)
		hal_copy_to_user(t->set_child_tid, &t->tid, sizeof(t->tid));
	t->utf = &t->start_tf;
	hal_user_enter(&t->start_tf);
}

/* The registers, FP state and signal state of the running task, for a child. */
static void task_copy(struct task *t, const struct clone_args *c)
{
	struct task *me = current;

	t->start_tf = *me->utf;
	tf_set_syscall_ret(&t->start_tf, 0);
	if (c->stack)
		tf_set_sp(&t->start_tf, c->stack);
	hal_fpu_save(&t->fpu);
	t->tls = hal_tls_save();
	t->user = true;
	t->sigmask = me->sigmask;
	if (!(c->flags & CLONE_VM) || c->flags & CLONE_VFORK)
		memcpy(t->altstack, me->altstack, sizeof(t->altstack));
	else
		t->altstack[1] = 2; /* SS_DISABLE */
	t->set_tls = c->flags & CLONE_SETTLS;
	t->new_tls = c->tls;
	t->set_child_tid = c->flags & CLONE_CHILD_SETTID ? c->ctid : 0;
	t->clear_child_tid = c->flags & CLONE_CHILD_CLEARTID ? c->ctid : 0;
}

/* Gives p its space: a copy of the running one, or the same. */
static int copy_mm(struct process *p, unsigned long flags)
{
	struct quire_mm *mm = current->proc->mm;

	if (flags & CLONE_VM) {
		quire_mm_get(mm);
		p->mm = mm;
		return 0;
	}
	return quire_mm_fork(mm, p, &p->mm);
}

static void adopt(struct process *p, struct process *parent)
{
	p->parent = parent;
	list_add_tail(&p->sibling, &parent->children);
}

static void add_thread(struct process *p, struct task *t)
{
	t->proc = p;
	list_add_tail(&t->thread, &p->threads);
	p->nr_threads++;
}

static void wait_for_vfork(struct process *p, int pid)
{
	/* Only the child's exec or end lets us go on; a fatal signal too. */
	while (process_by_pid(pid) == p && p->vfork_waiter == current)
		if (sleep_on(&p->vfork_waiter, 0, false, 0))
			break;
}

/* What Linux refuses: threads share handlers, shared handlers share the space. */
static int clone_checks(const struct clone_args *c)
{
	unsigned long f = c->flags;

	if (f & CLONE_NEW_ANY)
		return -EINVAL;
	if ((f & CLONE_THREAD && !(f & CLONE_SIGHAND)) || (f & CLONE_SIGHAND && !(f & CLONE_VM)))
		return -EINVAL;
	return 0;
}

/* Everything that can fail comes before the child is seen by anybody. */
static long do_clone(const struct clone_args *c)
{
	struct process *p = current->proc;
	int err = clone_checks(c), tid;
	struct task *t;

	if (err)
		return err;
	t = task_alloc(p->comm, child_entry, NULL);
	if (!t)
		return -ENOMEM;
	t->kthread_arg = t;
	task_copy(t, c);
	if (!(c->flags & CLONE_THREAD)) {
		p = process_copy(p, c->flags);
		err = p ? copy_mm(p, c->flags) : -ENOMEM;
		if (err) {
			if (p)
				process_free(p);
			goto free_task;
		}
		p->exit_signal = c->exit_signal;
	}
	tid = t->tid = new_pid();
	if (!(c->flags & CLONE_THREAD)) {
		p->pid = p->leader_tid = tid;
		list_add_tail(&p->all, &all_processes);
		adopt(p, c->flags & CLONE_PARENT && current->proc->parent ? current->proc->parent
									   : current->proc);
		if (c->flags & CLONE_VFORK)
			p->vfork_waiter = current;
	}
	add_thread(p, t);
	if (c->flags & CLONE_PARENT_SETTID)
		hal_copy_to_user(c->ptid, &tid, sizeof(tid));
	quire_trace_words(QUIRE_TR_FORK, &(uint64_t){(uint64_t)tid}, 1);
	task_start(t);
	if (c->flags & CLONE_VFORK && p != current->proc)
		wait_for_vfork(p, tid);
	return tid;

free_task:
	task_discard(t);
	return err;
}

SYSCALL(clone)
{
	struct clone_args c = {.flags = a[0] & ~0xfful, .stack = a[1], .ptid = a[2],
			       .exit_signal = (int)(a[0] & 0xff)};

	abi_clone_args(a, &c.tls, &c.ctid);
	return do_clone(&c);
}

SYSCALL(clone3)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	} u;
	struct clone_args c;

	if (a[1] < sizeof(u))
		return -EINVAL;
	if (COPY_IN(u, a[0]))
		return -EFAULT;
	if (u.exit_signal > NSIG || (u.stack == 0) != (u.stack_size == 0))
		return -EINVAL;
	c = (struct clone_args){.flags = u.flags, .stack = u.stack ? u.stack + u.stack_size : 0,
				.ptid = u.parent_tid, .ctid = u.child_tid, .tls = u.tls,
				.exit_signal = (int)u.exit_signal};
	return do_clone(&c);
}

SYSCALL(fork)
{
	struct clone_args c = {.exit_signal = SIGCHLD};

	(void)a;
	return do_clone(&c);
}

SYSCALL(vfork)
{
	struct clone_args c = {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD};

	(void)a;
	return do_clone(&c);
}

/* ---- the first process ----------------------------------------------------------------------- */

/* The words after "--" are init's arguments, after its name. */
static int init_arguments(struct exec_args *args)
{
	const char *s = options.init_args ? options.init_args : "";
	char *word = quire_kmalloc(strlen(s) + 1, 0);
	int err = word ? exec_args_add(args, options.init, false) : -ENOMEM;

	while (!err && next_word(&s, word))
		err = exec_args_add(args, word, false);
	quire_kfree(word);
	if (!err)
		err = exec_args_add(args, "HOME=/", true);
	return err ? err : exec_args_add(args, "TERM=linux", true);
}

/* Descriptors 0, 1 and 2 are one file, as a shell would find them. */
static int open_console(struct fd_table *fds)
{
	struct path p;
	struct file *f = NULL;
	int err = path_lookup(root_vnode, "/", "/dev/console", 0, &p);

	if (err)
		return err;
	err = open_vnode(&p, O_RDWR, 0, &f);
	path_put(&p);
	if (err)
		return err;
	for (int fd = 0; fd < 3; fd++)
		fds->file[fd] = f;
	f->refs = 3;
	return 0;
}

/* Runs as the first task, in kernel mode until its program is there. */
static void init_entry(void *arg)
{
	struct exec_args args = {0};
	int err;

	(void)arg;
	current->user = true;
	current->utf = &current->start_tf;
	err = open_console(current->proc->fds);
	if (!err)
		err = init_arguments(&args);
	if (!err)
		err = do_exec(options.init, &args);
	exec_args_free(&args);
	if (err) {
		klog("cannot run %s: error %d", options.init, -err);
		exit_group(err == -ENOENT ? 127 << 8 : 126 << 8);
	}
	hal_user_enter(&current->start_tf);
}

int start_init(void)
{
	struct process *p = process_alloc();
	struct task *t = task_alloc("init", init_entry, NULL);

	if (!p || !t)
		return -ENOMEM;
	p->sighand = get_sighand(NULL, false);
	p->fds = get_files(NULL, false);
	p->fs = get_fs(NULL, false);
	if (!p->sighand || !p->fds || !p->fs)
		return -ENOMEM;
	hal_fpu_init(&t->fpu);
	t->altstack[1] = 2;
	t->tid = new_pid();
	p->pid = p->pgid = p->sid = p->leader_tid = t->tid;
	p->is_init = true;
	strscpy(p->comm, "init", sizeof(p->comm));
	list_add_tail(&p->all, &all_processes);
	init_process = p;
	add_thread(p, t);
	task_start(t);
	return 0;
}

/* ---- death ----------------------------------------------------------------------------------- */

static void release_vfork_waiter(struct process *p)
{
	if (p->vfork_waiter) {
		p->vfork_waiter = NULL;
		wake_up(&p->vfork_waiter, 0, ~0u);
	}
}

void process_exec_done(struct process *p)
{
	release_vfork_waiter(p);
}

/* Nobody knows it any more. */
static void free_zombie(struct process *p)
{
	list_del(&p->all);
	list_del(&p->sibling);
	quire_kfree(p);
}

/* May free p: a parent that ignores SIGCHLD wants no zombies. */
static void notify_parent(struct process *p)
{
	struct hal_siginfo si = {.signo = p->exit_signal, .pid = p->pid,
				 .code = p->exit_status & 0x7f ? 2 : 1, /* CLD_KILLED, CLD_EXITED */
				 .status = p->exit_status & 0x7f ? p->exit_status & 0x7f
								 : p->exit_status >> 8 & 0xff};
	struct process *parent = p->parent;
	const struct hal_sigaction *sa = &parent->sighand->action[SIGCHLD];

	if (p->exit_signal)
		send_signal_process(parent, &si);
	wake_up(parent, 0, ~0u);
	/* Who ignores SIGCHLD, or says SA_NOCLDWAIT, gets no zombies. */
	if (p->exit_signal == SIGCHLD && (sa->handler == 1 || sa->flags & 2)) {
		p->zombie = false;
		free_zombie(p);
	}
}

static void reparent_children(struct process *p)
{
	struct process *c, *next;

	list_for_each_entry_safe(c, next, &p->children, sibling) {
		list_del(&c->sibling);
		if (init_process && init_process != p) {
			adopt(c, init_process);
			if (c->zombie)
				wake_up(init_process, 0, ~0u);
			continue;
		}
		/* The first process ends: everybody does, and nobody waits for anybody. */
		INIT_LIST_HEAD(&c->sibling);
		c->parent = NULL;
		if (c->zombie)
			free_zombie(c);
	}
}

/* The first process is gone: nobody else stays, and no zombie either. */
static void kill_everybody(void)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct process *p, *next;

	list_for_each_entry_safe(p, next, &all_processes, all) {
		if (p->zombie && !p->parent)
			free_zombie(p);
		else if (p != current->proc)
			send_signal_process(p, &si);
	}
}

/* The space is put off the CPU before it is torn down: its tables go with it. */
static void exit_mm(struct process *p)
{
	struct quire_mm *mm = p->mm;

	if (!mm)
		return;
	if (options.dump_tables)
		dump_tables(mm, (uint64_t)p->pid);
	p->mm = NULL;
	use_mm(NULL);
	quire_mm_put(mm);
}

/* The last thread left. Order as on Linux: space, files, then the family. */
static void exit_process(struct process *p)
{
	exit_mm(p);
	release_vfork_waiter(p);
	put_files(p->fds);
	p->fds = NULL;
	put_fs(p->fs);
	p->fs = NULL;
	if (p->is_init) {
		init_process = NULL;
		request_shutdown(p->exit_status & 0x7f ? 128 + (p->exit_status & 0x7f)
						       : p->exit_status >> 8 & 0xff);
		kill_everybody();
	}
	reparent_children(p);
	put_sighand(p->sighand);
	p->sighand = NULL;
	p->zombie = true;
	if (p->parent)
		notify_parent(p);
	else
		free_zombie(p);
}

static void add_usage(struct usage *to, const struct usage *u)
{
	to->min_flt += u->min_flt;
	to->maj_flt += u->maj_flt;
	to->utime_ns += u->utime_ns;
	to->stime_ns += u->stime_ns;
}

/* Only ever at a point where nothing is held: the way back to user mode, or a call's end. */
_Noreturn void exit_task(int status)
{
	struct task *t = current;
	struct process *p = t->proc;
	int zero = 0;

	t->dying = true;
	if (!p->group_exit)
		p->exit_status = status;
	quire_trace_words(QUIRE_TR_EXIT, &(uint64_t){(uint64_t)(unsigned)p->exit_status}, 1);
	/* Linux tells the user only if somebody else still uses the space. */
	if (t->clear_child_tid && p->mm && p->nr_threads > 1) {
		hal_copy_to_user(t->clear_child_tid, &zero, sizeof(zero));
		futex_wake_address(t->clear_child_tid);
	}
	list_del(&t->thread);
	p->nr_threads--;
	add_usage(&p->usage, &t->usage);
	if (!p->nr_threads)
		exit_process(p);
	t->proc = NULL;
	t->user = false;
	task_end();
}

_Noreturn void exit_group(int status)
{
	struct process *p = current->proc;
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct task *t;

	if (!p->group_exit) {
		p->group_exit = true;
		p->exit_status = status;
		list_for_each_entry(t, &p->threads, thread)
			if (t != current)
				send_signal_task(t, &si);
	}
	exit_task(status);
}

SYSCALL(exit)
{
	exit_task((int)(a[0] & 0xff) << 8);
}

SYSCALL(exit_group)
{
	exit_group((int)(a[0] & 0xff) << 8);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* wait4's meaning of pid: one, my group, all, that group. */
static bool wanted(const struct process *c, int pid)
{
	if (pid > 0)
		return c->pid == pid;
	if (pid == 0)
		return c->pgid == current->proc->pgid;
	return pid == -1 || c->pgid == -pid;
}

void usage_of(struct process *p, struct usage *u)
{
	struct task *t;

	*u = p->usage;
	list_for_each_entry(t, &p->threads, thread)
		add_usage(u, &t->usage);
}

/* A zombie child that fits: 1 and *out. 0: there are children, none has ended. -ECHILD. */
static int find_zombie(int pid, struct process **out)
{
	struct process *c;
	bool any = false;

	list_for_each_entry(c, &current->proc->children, sibling) {
		if (!wanted(c, pid))
			continue;
		any = true;
		if (c->zombie) {
			*out = c;
			return 1;
		}
	}
	return any ? 0 : -ECHILD;
}

/* 1 and *out, 0 with WNOHANG, or a negative errno. */
static int wait_zombie(int pid, unsigned options_, struct process **out)
{
	for (;;) {
		int r = find_zombie(pid, out);

		if (r || options_ & WNOHANG)
			return r;
		if (sleep_on(current->proc, 0, true, 0) == -EINTR)
			return -ERESTARTSYS;
	}
}

/* Linux's struct rusage: two timevals, fourteen longs. */
static int put_rusage(uintptr_t dst, const struct usage *u)
{
	uint64_t r[18] = {u->utime_ns / 1000000000, u->utime_ns / 1000 % 1000000,
			  u->stime_ns / 1000000000, u->stime_ns / 1000 % 1000000};

	r[8] = u->min_flt;
	r[9] = u->maj_flt;
	return hal_copy_to_user(dst, r, sizeof(r)) ? -EFAULT : 0;
}

/* The child's usage becomes ours only here, as Linux has it. */
static void reap(struct process *z)
{
	struct process *me = current->proc;
	struct usage u;

	usage_of(z, &u);
	add_usage(&me->child_usage, &u);
	add_usage(&me->child_usage, &z->child_usage);
	free_zombie(z);
	reap_tasks();
}

SYSCALL(wait4)
{
	struct process *z;
	struct usage u;
	int pid, r;

	if ((unsigned)a[2] & ~(0xfu | __WALL | __WNOTHREAD | __WCLONE))
		return -EINVAL;
	r = wait_zombie((int)a[0], (unsigned)a[2], &z);
	if (r <= 0)
		return r;
	pid = z->pid;
	if (a[1] && COPY_OUT(a[1], z->exit_status))
		return -EFAULT;
	usage_of(z, &u);
	add_usage(&u, &z->child_usage);
	if (a[3] && put_rusage(a[3], &u))
		return -EFAULT;
	reap(z);
	return pid;
}

SYSCALL(waitid)
{
	static const int which_pid[] = {-1, 0, 0};
	int32_t info[32] = {0};
	struct process *z;
	int r;

	if (a[0] > 2 || !(a[3] & WEXITED))
		return -EINVAL;
	r = wait_zombie(a[0] == 1 ? (int)a[1] : a[0] == 2 && a[1] ? -(int)a[1] : which_pid[a[0]],
			(unsigned)a[3], &z);
	if (r < 0)
		return r;
	if (r) {
		info[0] = SIGCHLD;
		info[2] = z->exit_status & 0x7f ? 2 : 1;
		info[4] = z->pid;
		info[6] = z->exit_status & 0x7f ? z->exit_status & 0x7f : z->exit_status >> 8;
	}
	if (a[2] && COPY_OUT(a[2], info))
		return -EFAULT;
	if (r && !(a[3] & WNOWAIT))
		reap(z);
	return 0;
}

SYSCALL(getrusage)
{
	struct usage u = {0};

	if ((int)a[0] == 0)
		usage_of(current->proc, &u);
	else if ((int)a[0] == -1)
		u = current->proc->child_usage;
	else if ((int)a[0] == 1)
		u = current->usage;
	else
		return -EINVAL;
	return put_rusage(a[1], &u);
}

/* ---- who we are ------------------------------------------------------------------------------ */

SYSCALL(getpid)
{
	(void)a;
	return current->proc->pid;
}

SYSCALL(gettid)
{
	(void)a;
	return current->tid;
}

SYSCALL(getppid)
{
	(void)a;
	return current->proc->parent ? current->proc->parent->pid : 0;
}

static long nobody_but_root(const unsigned long *a)
{
	(void)a;
	return 0;
}

SYSCALL(getuid) { return nobody_but_root(a); }
SYSCALL(geteuid) { return nobody_but_root(a); }
SYSCALL(getgid) { return nobody_but_root(a); }
SYSCALL(getegid) { return nobody_but_root(a); }
SYSCALL(getgroups) { return nobody_but_root(a); }

/* Only changes to what one is already are allowed. */
static long set_id(unsigned long id)
{
	return id == 0 || (int)id == -1 ? 0 : -EPERM; /* there is one user */
}

SYSCALL(setuid) { return set_id(a[0]); }
SYSCALL(setgid) { return set_id(a[0]); }
SYSCALL(setresuid) { return set_id(a[1]); }
SYSCALL(setresgid) { return set_id(a[1]); }

SYSCALL(getpgid)
{
	struct process *p = a[0] ? process_by_pid((int)a[0]) : current->proc;

	return p ? p->pgid : -ESRCH;
}

SYSCALL(getpgrp)
{
	(void)a;
	return current->proc->pgid;
}

SYSCALL(setpgid)
{
	struct process *p = a[0] ? process_by_pid((int)a[0]) : current->proc;

	if ((int)a[1] < 0)
		return -EINVAL;
	if (!p || (p != current->proc && p->parent != current->proc))
		return -ESRCH;
	p->pgid = a[1] ? (int)a[1] : p->pid;
	return 0;
}

SYSCALL(getsid)
{
	struct process *p = a[0] ? process_by_pid((int)a[0]) : current->proc;

	return p ? p->sid : -ESRCH;
}

SYSCALL(setsid)
{
	struct process *p = current->proc;

	(void)a;
	if (p->pgid == p->pid)
		return -EPERM;
	p->sid = p->pgid = p->pid;
	return p->pid;
}

SYSCALL(set_tid_address)
{
	current->clear_child_tid = a[0];
	return current->tid;
}

/* ---- limits and capabilities ----------------------------------------------------------------- */

SYSCALL(prlimit64)
{
	struct process *p = a[0] ? process_by_pid((int)a[0]) : current->proc;
	struct rlimit old, new;

	if (!p)
		return -ESRCH;
	if (a[1] >= RLIM_NLIMITS)
		return -EINVAL;
	old = p->rlim[a[1]];
	if (a[2]) {
		if (COPY_IN(new, a[2]))
			return -EFAULT;
		if (new.cur > new.max)
			return -EINVAL;
		if (new.max > old.max && !capable(CAP_SYS_RESOURCE))
			return -EPERM;
		p->rlim[a[1]] = new;
	}
	return a[3] ? COPY_OUT(a[3], old) : 0;
}

SYSCALL(getrlimit)
{
	unsigned long b[6] = {0, a[0], 0, a[1]};

	return call_prlimit64(b);
}

SYSCALL(setrlimit)
{
	unsigned long b[6] = {0, a[0], a[1], 0};

	return a[1] ? call_prlimit64(b) : -EFAULT;
}

SYSCALL(capget)
{
	uint32_t header[2], data[6];
	struct process *p;

	if (COPY_IN(header, a[0]))
		return -EFAULT;
	if (header[0] != _LINUX_CAPABILITY_VERSION_3) {
		header[0] = _LINUX_CAPABILITY_VERSION_3;
		hal_copy_to_user(a[0], header, sizeof(header[0]));
		return a[1] ? -EINVAL : 0;
	}
	p = header[1] ? process_by_pid((int)header[1]) : current->proc;
	if (!p)
		return -ESRCH;
	for (int i = 0; i < 2; i++) {
		data[3 * i] = (uint32_t)(p->cap_effective >> 32 * i);
		data[3 * i + 1] = (uint32_t)(p->cap_permitted >> 32 * i);
		data[3 * i + 2] = (uint32_t)(p->cap_inheritable >> 32 * i);
	}
	return a[1] ? COPY_OUT(a[1], data) : 0;
}

SYSCALL(capset)
{
	struct process *p = current->proc;
	uint64_t eff, perm, inh;
	uint32_t header[2], d[6];

	if (COPY_IN(header, a[0]) || (header[0] == _LINUX_CAPABILITY_VERSION_3 && COPY_IN(d, a[1])))
		return -EFAULT;
	if (header[0] != _LINUX_CAPABILITY_VERSION_3)
		return -EINVAL;
	if (header[1] && (int)header[1] != p->pid)
		return -EPERM;
	eff = d[0] | (uint64_t)d[3] << 32;
	perm = d[1] | (uint64_t)d[4] << 32;
	inh = d[2] | (uint64_t)d[5] << 32;
	eff &= ALL_CAPS;
	perm &= ALL_CAPS;
	if (perm & ~p->cap_permitted || eff & ~perm)
		return -EPERM;
	p->cap_effective = eff;
	p->cap_permitted = perm;
	p->cap_inheritable = inh & ALL_CAPS;
	return 0;
}
