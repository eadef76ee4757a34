/* SPDX-License-Identifier: MIT */
/*
 * Processes: the list of them, what each has or shares (handlers, descriptors, working directory),
 * and the first two: number 1, which is made of kernel code and only waits, and the first program, its
 * child. Other children are made in fork.c and end in exit.c.
 *
 * A process is found by number under tasks_lock and used by a reference. The tree holds one from the
 * moment the process can be seen until its parent has waited for it, and each of its tasks holds one.
 */
#include "kernel.h"
#include "kernel/mount.h"

#define STACK_LIMIT   (8ul << 20) /* as Linux's first process has them */
#define MEMLOCK_LIMIT (64ul << 10)
#define NOFILE_LIMIT  1024

#define EXIT_NOT_RUN   126 /* of a shell that cannot run a program */
#define EXIT_NOT_FOUND 127

#define FIRST_PID_AGAIN 300 /* as Linux: the low ones belong to the first programs */
#define TASK_BYTES (STACK_PAGES * PAGE_SIZE) /* of a task, as threads_max counts: its stack */

spinlock_t tasks_lock = SPINLOCK_INIT_RANK("tasks_lock", RANK_TASKS);
struct list_head all_processes = LIST_HEAD_INIT(all_processes);
struct list_head all_tasks = LIST_HEAD_INIT(all_tasks);
struct process *init_process;

struct process *find_process(int pid)
{
	struct process *p;

	assert_held(&tasks_lock);
	list_for_each_entry(p, &all_processes, all)
		if (p->pid == pid)
			return p;
	return NULL;
}

void process_get(struct process *p)
{
	ASSERT_DEBUG(atomic_read(&p->refs) > 0);
	atomic_inc(&p->refs);
}

struct process *process_get_pid(int pid)
{
	struct process *p;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	p = pid ? find_process(pid) : current->proc;
	if (p)
		process_get(p);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return p;
}

struct process *process_get_next(int pid)
{
	struct process *p, *next = NULL;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	list_for_each_entry(p, &all_processes, all)
		if (p->pid > pid && (!next || p->pid < next->pid))
			next = p;
	if (next)
		process_get(next);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return next;
}

bool no_process_left(void)
{
	return list_empty(&all_processes);
}

struct task *find_task(int tid)
{
	struct task *t;

	assert_held(&tasks_lock);
	list_for_each_entry(t, &all_tasks, all)
		if (t->tid == tid && t->proc)
			return t;
	return NULL;
}

/* A bit for each number of [from, from + 64) that names a task, a process, a group or a session. */
static uint64_t pids_in_use(int from)
{
	uint64_t used = 0;
	struct process *p;
	struct task *t;

	assert_held(&tasks_lock);
	list_for_each_entry(t, &all_tasks, all)
		if ((unsigned)(t->tid - from) < 64)
			used |= 1ull << (t->tid - from);
	list_for_each_entry(p, &all_processes, all) {
		const int n[] = {p->pid, p->pgid, p->sid};

		for (unsigned i = 0; i < ARRAY_SIZE(n); i++)
			if ((unsigned)(n[i] - from) < 64)
				used |= 1ull << (n[i] - from);
	}
	return used;
}

static int last_pid = FIRST_PROGRAM; /* tasks_lock */
static uint64_t made;	/* tasks_lock */
static unsigned number; /* tasks in all_tasks; tasks_lock */
int pid_max, threads_max;

void pids_init(void)
{
	last_pid = FIRST_PROGRAM;
	pid_max = PID_MAX_LIMIT;
	threads_max = 0;
	made = number = 0;
}

/* As Linux: at most an eighth of memory is for tasks. */
void threads_init(void)
{
	struct quire_counts c;

	quire_get_counts(&c);
	threads_max = (int)clamp(c.managed_pages * PAGE_SIZE / TASK_BYTES / 8, (uint64_t)20,
				 (uint64_t)FUTEX_TID_ROOM);
}

uint64_t tasks_made(void)
{
	return READ_ONCE(made);
}

unsigned nr_tasks(void)
{
	return READ_ONCE(number);
}

/* The number of a task that is not entered yet is safe all the same: the others come first. */
static int find_pid(void)
{
	assert_held(&tasks_lock);
	for (;;) {
		int from = last_pid + 1;
		uint64_t used;

		if (from >= READ_ONCE(pid_max))
			from = FIRST_PID_AGAIN;
		used = pids_in_use(from);
		last_pid = from + (~used ? __builtin_ctzll(~used) : 63);
		if (~used && last_pid < READ_ONCE(pid_max))
			return last_pid;
	}
}

int last_pid_given(void)
{
	return READ_ONCE(last_pid);
}

void set_last_pid(int pid)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	last_pid = pid;
	spin_unlock_irqrestore(&tasks_lock, flags);
}

int new_pid(void)
{
	irqflags_t flags;
	int pid;

	spin_lock_irqsave(&tasks_lock, flags);
	pid = find_pid();
	spin_unlock_irqrestore(&tasks_lock, flags);
	return pid;
}

void task_publish(struct task *t)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	list_add_tail(&t->all, &all_tasks);
	WRITE_ONCE(made, made + 1);
	WRITE_ONCE(number, number + 1);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void task_unpublish(struct task *t)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	list_del(&t->all);
	WRITE_ONCE(number, number - 1);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void task_set_name(struct task *t, const char name[16])
{
	assert_held(&tasks_lock);
	memset(t->name, 0, sizeof(t->name));
	strscpy(t->name, name, sizeof(t->name));
	if (t->proc && t->tid == t->proc->leader_tid)
		memcpy(t->proc->comm, t->name, sizeof(t->proc->comm));
}

/* ---- shared parts ---------------------------------------------------------------------------- */

void put_sighand(struct sighand *s)
{
	if (s && atomic_dec_and_test(&s->refs))
		quire_kfree(s);
}

void copy_actions(struct sighand *to, const struct sighand *from)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	memcpy(to->action, from->action, sizeof(to->action));
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* The same one, or a copy; old NULL: a fresh one. */
static struct sighand *get_sighand(struct sighand *old, bool share)
{
	struct sighand *s;

	if (share) {
		atomic_inc(&old->refs);
		return old;
	}
	s = quire_kmalloc(sizeof(*s), QUIRE_GFP_ZERO);
	if (s && old)
		copy_actions(s, old);
	if (s)
		atomic_set(&s->refs, 1);
	return s;
}

/* It is on no list yet. Limits and capabilities are those of Linux's first process. */
static struct process *process_alloc(void)
{
	struct process *p = quire_kmalloc(sizeof(*p), QUIRE_GFP_ZERO);

	if (!p)
		return NULL;
	INIT_LIST_HEAD(&p->all);
	INIT_LIST_HEAD(&p->sibling);
	INIT_LIST_HEAD(&p->children);
	INIT_LIST_HEAD(&p->threads);
	atomic_set(&p->refs, 1);
	p->alarm.fn = alarm_rings;
	for (int i = 0; i < RLIM_NLIMITS; i++)
		p->rlim[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	p->rlim[RLIMIT_STACK].cur = STACK_LIMIT;
	p->rlim[RLIMIT_MEMLOCK] = (struct rlimit){MEMLOCK_LIMIT, MEMLOCK_LIMIT};
	p->rlim[RLIMIT_CORE] = (struct rlimit){0, RLIM_INFINITY};
	p->rlim[RLIMIT_NOFILE] = (struct rlimit){NOFILE_LIMIT, MAX_FDS};
	p->cap_effective = ALL_CAPS;
	p->cap_permitted = ALL_CAPS;
	p->start_ns = hal_clock_ns();
	return p;
}

/* One that never ran still has what it shares; an alarm is cancelled when the last task leaves. */
static void process_free(struct process *p)
{
	ASSERT(!p->mm && !p->nr_threads && !p->alarm.armed);
	ASSERT(list_empty(&p->all) && list_empty(&p->sibling) && list_empty(&p->children));
	put_sighand(p->sighand);
	files_put(p->fds);
	fs_put(p->fs);
	signals_free(&p->pending);
	quire_kfree(p);
}

bool process_put_but_last(struct process *p)
{
	int refs = atomic_read(&p->refs);

	while (refs > 1 && !__atomic_compare_exchange_n(&p->refs.counter, &refs, refs - 1, false,
							__ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return refs > 1;
}

void process_put(struct process *p)
{
	ASSERT_DEBUG(atomic_read(&p->refs) > 0);
	if (atomic_dec_and_test(&p->refs))
		process_free(p);
}

/* What is a number or a name, of one moment. The group and the session are those of the moment when
 * the child is entered. */
static void copy_properties(struct process *p, const struct process *old)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	memcpy(p->rlim, old->rlim, sizeof(p->rlim));
	p->cap_effective = old->cap_effective;
	p->cap_permitted = old->cap_permitted;
	p->cap_inheritable = old->cap_inheritable;
	p->nice = old->nice;
	p->oom_score_adj = old->oom_score_adj;
	p->oom_score_adj_min = old->oom_score_adj_min;
	p->vdso = old->vdso;
	memcpy(p->comm, old->comm, sizeof(p->comm));
	memcpy(p->exe, old->exe, sizeof(p->exe));
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* Everything but the space and the place in the tree. */
struct process *process_copy(struct process *old, unsigned long flags)
{
	struct process *p = process_alloc();

	if (!p)
		return NULL;
	copy_properties(p, old);
	p->sighand = get_sighand(old->sighand, flags & CLONE_SIGHAND);
	p->fds = files_copy(old->fds, flags & CLONE_FILES);
	p->fs = fs_copy(old->fs, flags & CLONE_FS);
	if (!p->sighand || !p->fds || !p->fs) {
		process_put(p);
		return NULL;
	}
	return p;
}

void process_set_parent(struct process *p, struct process *parent)
{
	assert_held(&tasks_lock);
	p->parent = parent;
	WRITE_ONCE(p->ppid, parent ? parent->pid : 0);
}

void process_adopt(struct process *p, struct process *parent)
{
	process_set_parent(p, parent);
	list_add_tail(&p->sibling, &parent->children);
}

void process_add_thread(struct process *p, struct task *t)
{
	assert_held(&tasks_lock);
	process_get(p);
	t->proc = p;
	list_add_tail(&t->thread, &p->threads);
	WRITE_ONCE(p->nr_threads, p->nr_threads + 1);
}

/* ---- the first processes --------------------------------------------------------------------- */

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

/* What tools/qemu.py wrote: the path, the number of arguments, the arguments, the environment, each ended
 * by a NUL. s to end is the whole file, and ends so. */
static int parse_arguments(const char *s, const char *end, struct exec_args *args)
{
	uint64_t argc = 0;

	if (s == end || end[-1])
		return -EINVAL;
	strscpy(options.init, s, sizeof(options.init));
	s += strlen(s) + 1;
	if (s == end || parse_u64(s, &argc))
		return -EINVAL;
	for (s += strlen(s) + 1; s < end; s += strlen(s) + 1) {
		int err = exec_args_add(args, s, !argc);

		if (err)
			return err;
		argc -= argc != 0;
	}
	return argc ? -EINVAL : 0;
}

/* The file goes away: the program finds only what it was given. */
static int arguments_from_file(struct exec_args *args)
{
	struct path p;
	int err = path_lookup(root_vnode, "/", options.args, 0, &p);
	uint64_t n;
	char *text;

	if (err)
		return err;
	n = p.v->contents ? quire_inode_size(p.v->contents) : 0;
	text = quire_kmalloc(n + 1, 0);
	err = text ? 0 : -ENOMEM;
	if (!err && quire_inode_read(p.v->contents, 0, (uintptr_t)text, n, false) != (long)n)
		err = -EIO;
	if (!err)
		err = parse_arguments(text, text + n, args);
	quire_kfree(text);
	dir_unlink(p.parent, p.last);
	path_put(&p);
	return err;
}

/* Descriptors 0, 1 and 2 are one file, as a shell would find them. */
static int open_console(void)
{
	struct path p;
	struct open_file *f = NULL;
	int err = path_lookup(root_vnode, "/", "/dev/console", 0, &p);

	if (err)
		return err;
	err = open_vnode(&p, O_RDWR, 0, &f);
	path_put(&p);
	if (err)
		return err;
	for (int fd = 0; fd < 3; fd++) {
		file_get(f);
		fd_add(f, false);
	}
	file_put(f);
	return 0;
}

/* The first program, in kernel mode until it is there. */
static void program_entry(void *arg)
{
	struct exec_args args = {0};
	irqflags_t flags;
	int err;

	swap_on_at_boot();
	flags = hal_irq_save(); /* a switch looks at it */
	current->user = true;
	current->utf = &current->start_tf;
	hal_irq_restore(flags);
	err = options.stdio_pipe ? hostio_open() : open_console();
	if (!err)
		err = options.args[0] ? arguments_from_file(&args) : init_arguments(&args);
	if (!err)
		err = do_exec(options.init, &args);
	exec_args_free(&args);
	if (err) {
		klog("cannot run %s: error %d", options.init, -err);
		exit_group(status_exited(err == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN));
	}
	hal_user_enter(&current->start_tf);
}

/* Process 1 has no space and takes no signals: whoever runs out of memory or kills everybody leaves it
 * alone. Orphans become its children. It ends with the first program, and all others with it. */
static void init_entry(void *arg)
{
	int status = wait_for_program();

	swap_off_at_end();
	sync_at_end();
	exit_group(status);
}

/* From here on it can be found. */
static void enter_first(struct process *p, struct task *t, struct process *parent)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	p->pid = p->pgid = p->sid = p->leader_tid = t->tid;
	list_add_tail(&p->all, &all_processes);
	if (parent)
		process_adopt(p, parent);
	else
		init_process = p;
	process_add_thread(p, t);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* Its task does not run yet. NULL: no memory, and then the machine does not start: nothing is given
 * back. */
static struct process *make_first(const char *name, int pid, void (*entry)(void *), struct process *parent)
{
	struct process *p = process_alloc();
	struct task *t = task_alloc(name, entry, NULL);
	irqflags_t flags;

	if (!p || !t)
		return NULL;
	p->sighand = get_sighand(NULL, false);
	p->fds = files_new();
	p->fs = fs_new();
	if (!p->sighand || !p->fds || !p->fs)
		return NULL;
	flags = hal_irq_save();
	hal_fpu_init(&t->fpu);
	hal_irq_restore(flags);
	t->altstack[1] = SS_DISABLE;
	t->tid = pid;
	p->is_init = !parent;
	p->exit_signal = parent ? SIGCHLD : 0;
	strscpy(p->comm, name, sizeof(p->comm));
	enter_first(p, t, parent);
	return p;
}

static void start_first(struct process *p)
{
	task_start(list_first_entry(&p->threads, struct task, thread));
}

int start_init(void)
{
	struct process *init = make_first("init", 1, init_entry, NULL);
	struct process *program = init ? make_first("init", FIRST_PROGRAM, program_entry, init) : NULL;

	if (!program)
		return -ENOMEM;
	start_first(init);
	start_first(program);
	return 0;
}

/* The process's own reference keeps the space until p->mm is something else, so one more is only a
 * count: nothing of the core that could want a lock. */
struct quire_mm *get_task_mm(struct process *p)
{
	struct quire_mm *mm;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	mm = p->mm;
	if (mm)
		quire_mm_get(mm);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return mm;
}

struct quire_mm *set_task_mm(struct process *p, struct quire_mm *mm)
{
	struct quire_mm *old;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	old = p->mm;
	if (old)
		p->usage.maxrss = max(p->usage.maxrss, quire_mm_peak_rss(old));
	p->mm = mm;
	spin_unlock_irqrestore(&tasks_lock, flags);
	return old;
}
