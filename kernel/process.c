/* SPDX-License-Identifier: MIT */
/*
 * Processes: the list of them, what each has or shares (handlers, descriptors, working directory),
 * and the first one. Children are made in fork.c and end in exit.c.
 */
#include "kernel.h"

#define STACK_LIMIT   (8ul << 20) /* as Linux's first process has them */
#define MEMLOCK_LIMIT (64ul << 10)

#define EXIT_NOT_RUN   126 /* of a shell that cannot run a program */
#define EXIT_NOT_FOUND 127

#define MAX_PID	      4194304 /* Linux's limit on 64-bit machines */

spinlock_t tasks_lock = SPINLOCK_INIT_RANK("tasks_lock", RANK_TASKS);
struct list_head all_processes = LIST_HEAD_INIT(all_processes);
struct list_head all_tasks = LIST_HEAD_INIT(all_tasks);
struct process *init_process;

struct process *process_by_pid(int pid)
{
	struct process *p;

	list_for_each_entry(p, &all_processes, all)
		if (p->pid == pid)
			return p;
	return NULL;
}

bool no_process_left(void)
{
	return list_empty(&all_processes);
}

struct task *task_by_tid(int tid)
{
	struct task *t;

	list_for_each_entry(t, &all_tasks, all)
		if (t->tid == tid)
			return t;
	return NULL;
}

int new_pid(void)
{
	static int last_pid;

	do {
		if (++last_pid >= MAX_PID)
			last_pid = 300; /* as Linux: the low ones belong to the first programs */
	} while (task_by_tid(last_pid) || process_by_pid(last_pid));
	return last_pid;
}

void task_publish(struct task *t)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	list_add_tail(&t->all, &all_tasks);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

void task_unpublish(struct task *t)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	list_del(&t->all);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* ---- shared parts ---------------------------------------------------------------------------- */

void put_sighand(struct sighand *s)
{
	if (s && --s->refs == 0)
		quire_kfree(s);
}

/* The same one, or a copy; old NULL: a fresh one. */
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
	for (int i = 0; i < RLIM_NLIMITS; i++)
		p->rlim[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	p->rlim[RLIMIT_STACK].cur = STACK_LIMIT;
	p->rlim[RLIMIT_MEMLOCK] = (struct rlimit){MEMLOCK_LIMIT, MEMLOCK_LIMIT};
	p->rlim[RLIMIT_CORE] = (struct rlimit){0, RLIM_INFINITY};
	p->rlim[RLIMIT_NOFILE] = (struct rlimit){MAX_FDS, MAX_FDS};
	p->cap_effective = ALL_CAPS;
	p->cap_permitted = ALL_CAPS;
	p->start_ns = hal_clock_ns();
	return p;
}

/* Releases everything but the mm; p was on no list yet. */
void process_free(struct process *p)
{
	put_sighand(p->sighand);
	files_put(p->fds);
	fs_put(p->fs);
	quire_kfree(p);
}

/* Everything but the space and the place in the tree. */
struct process *process_copy(struct process *old, unsigned long flags)
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
	p->fds = files_copy(old->fds, flags & CLONE_FILES);
	p->fs = fs_copy(old->fs, flags & CLONE_FS);
	if (!p->sighand || !p->fds || !p->fs) {
		process_free(p);
		return NULL;
	}
	return p;
}

void process_adopt(struct process *p, struct process *parent)
{
	p->parent = parent;
	list_add_tail(&p->sibling, &parent->children);
}

void process_add_thread(struct process *p, struct task *t)
{
	t->proc = p;
	list_add_tail(&t->thread, &p->threads);
	p->nr_threads++;
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

/* Runs as the first task, in kernel mode until its program is there. */
static void init_entry(void *arg)
{
	struct exec_args args = {0};
	int err;

	current->user = true;
	current->utf = &current->start_tf;
	err = open_console();
	if (!err)
		err = init_arguments(&args);
	if (!err)
		err = do_exec(options.init, &args);
	exec_args_free(&args);
	if (err) {
		klog("cannot run %s: error %d", options.init, -err);
		exit_group(status_exited(err == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN));
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
	p->fds = files_new();
	p->fs = fs_new();
	if (!p->sighand || !p->fds || !p->fs)
		return -ENOMEM;
	hal_fpu_init(&t->fpu);
	t->altstack[1] = SS_DISABLE;
	t->tid = new_pid();
	p->pid = p->pgid = p->sid = p->leader_tid = t->tid;
	p->is_init = true;
	strscpy(p->comm, "init", sizeof(p->comm));
	list_add_tail(&p->all, &all_processes);
	init_process = p;
	process_add_thread(p, t);
	task_start(t);
	return 0;
}

struct quire_mm *get_task_mm(struct process *p)
{
	return p->mm && quire_mm_tryget(p->mm) ? p->mm : NULL;
}
