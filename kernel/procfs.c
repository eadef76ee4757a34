/* SPDX-License-Identifier: MIT */
/*
 * /proc, /sys and /dev: the core's and the kernel's state as text files in Linux's formats, the
 * tunables of /proc/sys/vm, tracefs' control files, and /proc/quire with what only this kernel has.
 * A text is made anew by every read from its beginning, as a whole, and then handed out in pieces.
 */
#include "kernel.h"
#include "kernel/mount.h"
#include "cpus.h"
#include "kernel/proc/proc.h"
#include "psi.h"

#include <quire/trace.h>

#define MAX_WRITE 256

/* ---- texts ----------------------------------------------------------------------------------- */

#define PIECE_SIZE (4 * PAGE_SIZE)

struct text_piece {
	struct text_piece *next;
	size_t len;
	char bytes[];
};

static struct text_piece *text_grow(struct text *t)
{
	struct text_piece *piece = quire_kmalloc(PIECE_SIZE, 0);

	if (!piece)
		return NULL;
	piece->next = NULL;
	piece->len = 0;
	if (t->last)
		t->last->next = piece;
	else
		t->first = piece;
	return t->last = piece;
}

static void text_emit(void *ctx, const char *s, size_t n)
{
	struct text *t = ctx;

	while (n && !t->err) {
		struct text_piece *piece = t->last;
		size_t part;

		if (!piece || piece->len == PIECE_SIZE - sizeof(*piece))
			piece = text_grow(t);
		if (!piece) {
			t->err = -ENOMEM;
			return;
		}
		part = min(n, PIECE_SIZE - sizeof(*piece) - piece->len);
		memcpy(piece->bytes + piece->len, s, part);
		piece->len += part;
		t->len += part;
		s += part;
		n -= part;
	}
}

/* Hands out up to n bytes from pos on: bytes, or -EFAULT. */
static long text_copy(const struct text *t, uintptr_t buf, size_t n, uint64_t pos)
{
	const struct text_piece *piece = t->first;
	size_t done = 0, off = (size_t)pos, part;

	if (pos >= t->len)
		return 0;
	n = min(n, t->len - (size_t)pos);
	while (done < n) {
		if (off >= piece->len) {
			off -= piece->len;
			piece = piece->next;
			continue;
		}
		part = min(n - done, piece->len - off);
		if (hal_copy_to_user(buf + done, piece->bytes + off, part))
			return -EFAULT;
		done += part;
		off += part;
	}
	return (long)done;
}

static void text_clear(struct text *t)
{
	struct text_piece *piece, *next;

	for (piece = t->first; piece; piece = next) {
		next = piece->next;
		quire_kfree(piece);
	}
	*t = (struct text){0};
}

static void text_put(struct text *t)
{
	if (!t || !atomic_dec_and_test(&t->refs))
		return;
	text_clear(t);
	quire_kfree(t);
}

void say(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vemitf(text_emit, t, fmt, ap);
	va_end(ap);
}

/* The process whose file it is, referenced, or NULL. 0 stands for the reading process: files outside
 * the processes' directories. */
static struct process *process_of(const struct open_file *f)
{
	return process_get_pid((int)f->v->arg);
}

/* vnode.arg of what lies in a thread's directory: the process below, the thread above. */
static uint64_t thread_arg(uint64_t pid, int tid)
{
	return (uint32_t)pid | (uint64_t)(unsigned)tid << 32;
}

static int tid_of(uint64_t arg)
{
	return (int)(arg >> 32);
}

static void put_space(struct quire_mm *mm)
{
	if (mm)
		quire_mm_put(mm);
}

/* A file whose vnode says of_space: f->mm names the space since it was opened, whatever program the
 * process runs by now. The same, referenced; NULL: it is gone. */
static struct quire_mm *get_opened_space(struct open_file *f)
{
	return f->mm && quire_mm_tryget(f->mm) ? f->mm : NULL;
}

static void name_space(struct open_file *f)
{
	struct process *p = process_of(f);
	struct quire_mm *mm = p ? get_task_mm(p) : NULL;

	if (mm)
		quire_mm_grab(mm);
	f->mm = mm;
	put_space(mm);
	if (p)
		process_put(p);
}

/* NULL: no memory for it at all; else with one reference, and maybe failed. */
static struct text *make_text(struct open_file *f, const struct proc_file *pf, struct process *p)
{
	struct text *t = quire_kmalloc(sizeof(*t), QUIRE_GFP_ZERO);

	if (!t)
		return NULL;
	atomic_set(&t->refs, 1);
	t->mm = pf->of_space ? get_opened_space(f) : get_task_mm(p);
	t->tid = tid_of(f->v->arg);
	pf->show(t, p);
	put_space(t->mm);
	t->mm = NULL;
	return t;
}

/* The piece of a text that a read hands out, the text with a reference; NULL: there is none. A text is
 * made when reading starts at 0, so a second pread sees a new one. Threads that read one descriptor
 * share out one text. */
static int text_piece(struct open_file *f, struct process *p, uint64_t *pos, size_t n,
		      struct text **out, struct range *r)
{
	struct text *t, *old = NULL;
	int err = 0;

	mutex_lock(&f->lock);
	if (pos_get(f, pos) == 0) {
		t = make_text(f, f->v->priv, p);
		if (t) {
			old = f->priv;
			f->priv = t;
		} else {
			err = -ENOMEM;
		}
	}
	t = f->priv;
	if (!err && t)
		err = t->err;
	if (!err && t)
		atomic_inc(&t->refs);
	*out = err ? NULL : t;
	if (*out)
		*r = pos_take(f, pos, n, t->len);
	mutex_unlock(&f->lock);
	text_put(old);
	return err;
}

static long text_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	const struct proc_file *pf = f->v->priv;
	struct process *p;
	struct text *t;
	struct range r;
	long done;

	if (!pf->show)
		return -EINVAL;
	p = process_of(f);
	if (!p)
		return -ESRCH;
	done = text_piece(f, p, pos, n, &t, &r);
	process_put(p);
	if (!t)
		return done;
	done = text_copy(t, buf, r.n, r.start);
	pos_done(f, pos, &r, done);
	text_put(t);
	return done;
}

/* One write is one order; what is beyond MAX_WRITE is ignored. */
static long text_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	const struct proc_file *pf = f->v->priv;
	struct process *p;
	char s[MAX_WRITE + 1];
	size_t k = min(n, (size_t)MAX_WRITE);
	long r;

	if (!pf->write)
		return -EINVAL;
	if (hal_copy_from_user(s, buf, k))
		return -EFAULT;
	s[k] = '\0';
	p = process_of(f);
	if (!p)
		return -ESRCH;
	r = pf->write(s, k, p);
	process_put(p);
	return r < 0 ? r : (long)n;
}

static int text_open(struct open_file *f)
{
	const struct proc_file *pf = f->v->priv;

	if (pf->of_space)
		name_space(f);
	return 0;
}

static void text_release(struct open_file *f)
{
	text_put(f->priv);
}

static const struct file_ops text_ops = {.read = text_read, .write = text_write,
					 .open = text_open, .release = text_release};

int parse_number(const char *s, uint64_t *v)
{
	char w[32];
	size_t n = 0;

	while (*s == ' ')
		s++;
	while (s[n] && s[n] != '\n' && s[n] != ' ' && n < sizeof(w) - 1) {
		w[n] = s[n];
		n++;
	}
	w[n] = '\0';
	return parse_u64(w, v);
}

/* ---- a process's files ----------------------------------------------------------------------- */

static void show_maps(struct text *t, struct process *p)
{
	if (t->mm)
		quire_show_maps(t->mm, text_emit, t);
}

static void show_smaps(struct text *t, struct process *p)
{
	if (t->mm)
		quire_show_smaps(t->mm, text_emit, t);
}

/* 5.10: whose space is gone has no such text, not an empty one. */
static void show_smaps_rollup(struct text *t, struct process *p)
{
	if (t->mm)
		quire_show_smaps_rollup(t->mm, text_emit, t);
	else
		t->err = -ESRCH;
}

static void show_mask(struct text *t, const char *name, uint64_t v)
{
	say(t, "%s:\t%016llx\n", name, (unsigned long long)v);
}

/* What /proc tells of a process or of one of its threads, of one moment. */
struct view {
	int number;		 /* its own: of the process, or of the thread */
	uint64_t cpus; /* that its first thread may run on */
	int ppid, pgid, sid, nice;
	unsigned nr_threads;
	const char *state;
	uint64_t thread_pending, pending, blocked, ignored, caught;
	uint64_t inheritable, permitted, effective;
	struct usage own, children;
	char comm[16];
};

static const char *task_state_of(const struct task *t)
{
	if (READ_ONCE(t->state) == TASK_RUNNING)
		return "R (running)";
	return READ_ONCE(t->interruptible) ? "S (sleeping)" : "D (disk sleep)";
}

/* one: this thread alone; NULL: the process. */
static const char *state_of(struct process *p, const struct task *one)
{
	struct task *t;

	if (p->zombie)
		return "Z (zombie)";
	if (p->stopped && p->nr_stopped == p->nr_threads)
		return "T (stopped)";
	if (one)
		return task_state_of(one);
	list_for_each_entry(t, &p->threads, thread)
		if (t->state == TASK_RUNNING)
			return "R (running)";
	return "S (sleeping)";
}

static unsigned umask_of(struct process *p)
{
	struct fs_context *fs = process_fs(p);
	unsigned mask = fs ? fs_umask(fs) : 0;

	fs_put(fs);
	return mask;
}

/* Slots of the table of descriptors; 0: the process has none any more. */
static unsigned fd_slots(struct process *p)
{
	struct fd_table *t = process_files(p);
	unsigned size = t ? READ_ONCE(t->size) : 0;

	files_put(t);
	return size;
}

/* t: the thread that is told of, the first one of the process's; NULL: none is left. */
static void view_signals(struct process *p, const struct task *t, struct view *v)
{
	v->pending = p->pending.set;
	if (t) {
		v->thread_pending = t->pending.set;
		v->blocked = t->sigmask;
		v->cpus = task_cpus(t);
	}
	for (int i = 1; p->sighand && i <= NSIG; i++) {
		v->ignored |= p->sighand->action[i].handler == SIG_IGN ? sigbit(i) : 0;
		v->caught |= p->sighand->action[i].handler > SIG_IGN ? sigbit(i) : 0;
	}
}

/* The thread of that number, 0: the first one; NULL: there is none in p. tasks_lock. */
static struct task *thread_of(struct process *p, int tid)
{
	struct task *t;

	assert_held(&tasks_lock);
	list_for_each_entry(t, &p->threads, thread)
		if (!tid || t->tid == tid)
			return t;
	return NULL;
}

/* What one thread used, and how it is called, in place of the whole process. tasks_lock. */
static void view_thread(const struct task *one, struct view *v)
{
	v->number = one->tid;
	v->own = one->usage;
	v->own.maxrss = 0;
	memcpy(v->comm, one->name, sizeof(v->comm));
}

/* false: that thread is gone. */
static bool view_of(struct process *p, int tid, struct view *v)
{
	struct task *one;
	irqflags_t flags;

	*v = (struct view){.number = p->pid};
	spin_lock_irqsave(&tasks_lock, flags);
	one = thread_of(p, tid);
	v->ppid = p->parent ? p->parent->pid : 0;
	v->pgid = p->pgid;
	v->sid = p->sid;
	v->nice = p->nice;
	v->nr_threads = p->nr_threads;
	v->state = state_of(p, tid ? one : NULL);
	view_signals(p, one, v);
	v->inheritable = p->cap_inheritable;
	v->permitted = p->cap_permitted;
	v->effective = p->cap_effective;
	usage_of(p, &v->own);
	v->children = p->child_usage;
	memcpy(v->comm, p->comm, sizeof(v->comm));
	if (tid && one)
		view_thread(one, v);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return one || !tid || (p->zombie && tid == p->leader_tid);
}

/* The same for a text, which fails if the thread is gone. */
static bool view_for(struct text *t, struct process *p, struct view *v)
{
	if (view_of(p, t->tid, v))
		return true;
	t->err = -ESRCH;
	return false;
}

static void show_status(struct text *t, struct process *p)
{
	struct view v;
	char list[128];

	if (!view_for(t, p, &v))
		return;
	say(t, "Name:\t%s\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n",
	    v.comm, umask_of(p), v.state, p->pid, v.number, v.ppid);
	say(t, "TracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t%u\nGroups:\t \n",
	    fd_slots(p));
	if (t->mm)
		quire_show_status(t->mm, text_emit, t);
	say(t, "Threads:\t%u\n", v.nr_threads);
	show_mask(t, "SigPnd", v.thread_pending);
	show_mask(t, "ShdPnd", v.pending);
	show_mask(t, "SigBlk", v.blocked);
	show_mask(t, "SigIgn", v.ignored);
	show_mask(t, "SigCgt", v.caught);
	show_mask(t, "CapInh", v.inheritable);
	show_mask(t, "CapPrm", v.permitted);
	show_mask(t, "CapEff", v.effective);
	say_cpu_list(list, sizeof(list), v.cpus);
	say(t, "Cpus_allowed:\t%0*llx\nCpus_allowed_list:\t%s\n", (int)(hal_cpu_count() + 3) / 4,
	    (unsigned long long)v.cpus, list);
	say(t, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
	    (unsigned long long)v.own.nvcsw, (unsigned long long)v.own.nivcsw);
}

static void show_statm(struct text *t, struct process *p)
{
	unsigned long n[7] = {0};

	if (t->mm)
		quire_statm(t->mm, n);
	say(t, "%lu %lu %lu %lu %lu %lu %lu\n", n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
}

static unsigned long long ticks(uint64_t ns)
{
	return ns / TICK_NS;
}

/* Fields that mean nothing here are 0, each in its place. */
static void show_stat(struct text *t, struct process *p)
{
	unsigned long n[7] = {0};
	struct view v;

	if (!view_for(t, p, &v))
		return;
	if (t->mm)
		quire_statm(t->mm, n);
	say(t, "%d (%s) %c %d %d %d 0 -1 0 %llu %llu %llu %llu", v.number, v.comm, v.state[0], v.ppid,
	    v.pgid, v.sid, (unsigned long long)v.own.min_flt,
	    (unsigned long long)v.children.min_flt, (unsigned long long)v.own.maj_flt,
	    (unsigned long long)v.children.maj_flt);
	say(t, " %llu %llu %llu %llu %d %d %u 0 %llu %lu %lu", ticks(v.own.utime_ns),
	    ticks(v.own.stime_ns), ticks(v.children.utime_ns), ticks(v.children.stime_ns),
	    20 + v.nice, v.nice, v.nr_threads, ticks(p->start_ns), n[0] * PAGE_SIZE, n[1]);
	for (int i = 25; i <= 52; i++)
		say(t, " 0");
	say(t, "\n");
}

/* Bytes [from, to) of the space's memory. */
static void show_memory(struct text *t, uintptr_t from, uintptr_t to)
{
	char buf[128];

	while (t->mm && from < to) {
		size_t n = quire_mm_read(t->mm, from, buf, min(sizeof(buf), (size_t)(to - from)));

		if (!n)
			break;
		text_emit(t, buf, n);
		from += n;
	}
}

static void show_cmdline(struct text *t, struct process *p)
{
	struct quire_mm_layout l = {0};

	if (t->mm)
		quire_mm_get_layout(t->mm, &l);
	show_memory(t, l.arg_start, l.arg_end);
}

static void show_environ(struct text *t, struct process *p)
{
	struct quire_mm_layout l = {0};

	if (t->mm)
		quire_mm_get_layout(t->mm, &l);
	show_memory(t, l.env_start, l.env_end);
}

static void show_comm(struct text *t, struct process *p)
{
	struct view v;

	if (view_for(t, p, &v))
		say(t, "%s\n", v.comm);
}

/* A name for the thread, the first one in a process's own file; of the caller's own process alone. */
static int name_thread(struct process *p, int tid, const char *name)
{
	irqflags_t flags;
	struct task *t;

	if (p != current->proc)
		return -EINVAL;
	spin_lock_irqsave(&tasks_lock, flags);
	t = thread_of(p, tid ? tid : p->leader_tid);
	if (t)
		task_set_name(t, name);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return t ? 0 : -ESRCH;
}

static long comm_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	char name[sizeof(current->name)] = "";
	size_t k = min(n, sizeof(name) - 1);
	struct process *p;
	int err;

	if (hal_copy_from_user(name, buf, k))
		return -EFAULT;
	p = process_of(f);
	if (!p)
		return -ESRCH;
	err = name_thread(p, tid_of(f->v->arg), name);
	process_put(p);
	return err ? err : (long)n;
}

static const struct file_ops comm_ops = {.read = text_read, .write = comm_write, .open = text_open,
					 .release = text_release};

static void show_limits(struct text *t, struct process *p)
{
	static const char *const names[RLIM_NLIMITS] = {
		"cpu time", "file size", "data size", "stack size", "core file size",
		"resident set", "processes", "open files", "locked memory", "address space",
		"file locks", "pending signals", "msgqueue size", "nice priority",
		"realtime priority", "realtime timeout"};
	struct rlimit limits[RLIM_NLIMITS];
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	memcpy(limits, p->rlim, sizeof(limits));
	spin_unlock_irqrestore(&tasks_lock, flags);
	say(t, "%-25s %-20s %-20s\n", "Limit", "Soft Limit", "Hard Limit");
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		say(t, "Max %-21s ", names[i]);
		for (int k = 0; k < 2; k++) {
			uint64_t v = k ? limits[i].max : limits[i].cur;

			if (v == UINT64_MAX)
				say(t, "%-20s ", "unlimited");
			else
				say(t, "%-20llu ", (unsigned long long)v);
		}
		say(t, "\n");
	}
}

static long write_clear_refs(const char *s, size_t n, struct process *p)
{
	struct quire_mm *mm;
	uint64_t v;
	long r;

	if (parse_number(s, &v) || v < 1 || v > 5)
		return -EINVAL;
	mm = get_task_mm(p);
	if (!mm)
		return -ESRCH;
	r = quire_clear_refs(mm, (int)v);
	put_space(mm);
	return r;
}

/* ---- whom to kill when memory is out ---------------------------------------------------------- */

#define OOM_DISABLE (-17) /* oom_adj, the older scale: -17 .. 15 */
#define OOM_ADJUST_MAX 15
#define OOM_SCORE_ADJ_MAX 1000

static void show_oom_score(struct text *t, struct process *p)
{
	say(t, "%lu\n", quire_oom_score(process_owner(p->pid)));
}

static void show_oom_score_adj(struct text *t, struct process *p)
{
	say(t, "%d\n", READ_ONCE(p->oom_score_adj));
}

static void show_oom_adj(struct text *t, struct process *p)
{
	int adj = READ_ONCE(p->oom_score_adj);

	say(t, "%d\n", adj == OOM_SCORE_ADJ_MAX ? OOM_ADJUST_MAX : adj * -OOM_DISABLE / OOM_SCORE_ADJ_MAX);
}

/* Decimal or as C has it, with a sign. */
static int parse_adj(const char *s, int *v)
{
	bool negative;
	uint64_t n;

	while (*s == ' ')
		s++;
	negative = *s == '-';
	s += negative || *s == '+';
	if (parse_number(s, &n) || n > INT32_MAX)
		return -EINVAL;
	*v = negative ? -(int)n : (int)n;
	return 0;
}

static long write_oom_score_adj(const char *s, size_t n, struct process *p)
{
	int adj;

	if (parse_adj(s, &adj) || adj < -OOM_SCORE_ADJ_MAX || adj > OOM_SCORE_ADJ_MAX)
		return -EINVAL;
	return oom_adj_set(p, adj, false);
}

static long write_oom_adj(const char *s, size_t n, struct process *p)
{
	int adj;

	if (parse_adj(s, &adj) || adj < OOM_DISABLE || adj > OOM_ADJUST_MAX)
		return -EINVAL;
	return oom_adj_set(p, adj == OOM_ADJUST_MAX ? OOM_SCORE_ADJ_MAX :
						       adj * OOM_SCORE_ADJ_MAX / -OOM_DISABLE, true);
}

/* ---- pagemap and mem: of the space that was there when they were opened ------------------------- */

#define PM_PRESENT   (1ull << 63)
#define PM_FRAME     ((1ull << 55) - 1)
#define SHOWS_FRAMES ((void *)1) /* priv of a pagemap: its opener had the right to see frame numbers */

static int pagemap_open(struct open_file *f)
{
	name_space(f);
	f->priv = capable(CAP_SYS_ADMIN) ? SHOWS_FRAMES : NULL;
	return 0;
}

static uint64_t pagemap_word(struct open_file *f, struct quire_mm *mm, uint64_t page)
{
	uint64_t word = quire_pagemap(mm, page * PAGE_SIZE);

	return word & PM_PRESENT && f->priv != SHOWS_FRAMES ? word & ~PM_FRAME : word;
}

/* Eight bytes a page. */
static long copy_pagemap(struct open_file *f, struct quire_mm *mm, uintptr_t buf,
			 const struct range *r)
{
	uint64_t words[64];
	size_t done = 0;

	while (done < r->n) {
		size_t k = 0, most = min((r->n - done) / 8, ARRAY_SIZE(words));

		for (; k < most; k++)
			words[k] = pagemap_word(f, mm, (r->start + done) / 8 + k);
		if (hal_copy_to_user(buf + done, words, k * 8))
			return done ? (long)done : -EFAULT;
		done += k * 8;
	}
	return (long)done;
}

/* Positions in step with the pages, as Linux wants them. */
static long pagemap_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct quire_mm *mm = get_opened_space(f);
	struct range r;
	long done;

	if (!mm)
		return 0;
	r = pos_take(f, pos, n, hal_mmu_info()->user_end / PAGE_SIZE * 8);
	done = r.start % 8 || n % 8 ? -EINVAL : copy_pagemap(f, mm, buf, &r);
	pos_done(f, pos, &r, done);
	put_space(mm);
	return done;
}

static int mem_open(struct open_file *f)
{
	name_space(f);
	return 0;
}

static const struct file_ops pagemap_ops = {.read = pagemap_read, .open = pagemap_open};

/* Another way into a space. */
static long copy_mem(struct quire_mm *mm, uintptr_t buf, size_t n, uintptr_t at, bool write)
{
	char tmp[256];
	size_t done = 0;

	while (done < n) {
		size_t k = min(n - done, sizeof(tmp)), got;

		if (write && hal_copy_from_user(tmp, buf + done, k))
			return done ? (long)done : -EFAULT;
		got = write ? quire_mm_write_forced(mm, at + done, tmp, k)
			    : quire_mm_read_forced(mm, at + done, tmp, k);
		if (!write && got && hal_copy_to_user(buf + done, tmp, got))
			return done ? (long)done : -EFAULT;
		done += got;
		if (got < k)
			break;
	}
	return done || !n ? (long)done : -EIO;
}

/* A space that is gone has no bytes, and takes none. */
static long mem_copy(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos, bool write)
{
	struct quire_mm *mm = get_opened_space(f);
	struct range r;
	long done;

	if (!mm)
		return 0;
	r = pos_take(f, pos, n, UINT64_MAX);
	done = copy_mem(mm, buf, r.n, r.start, write);
	pos_done(f, pos, &r, done);
	put_space(mm);
	return done;
}

static long mem_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return mem_copy(f, buf, n, pos, false);
}

static long mem_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return mem_copy(f, buf, n, pos, true);
}

static const struct file_ops mem_ops = {.read = mem_read, .write = mem_write, .open = mem_open};

static const struct proc_file pid_files[] = {
	{"maps", show_maps, NULL, NULL, true},
	{"smaps", show_smaps, NULL, NULL, true},
	{"smaps_rollup", show_smaps_rollup, NULL, NULL, true},
	{"status", show_status, NULL, NULL},
	{"statm", show_statm, NULL, NULL},
	{"stat", show_stat, NULL, NULL},
	{"cmdline", show_cmdline, NULL, NULL},
	{"environ", show_environ, NULL, NULL, true},
	{"comm", show_comm, NULL, &comm_ops, .mode = 0644},
	{"limits", show_limits, NULL, NULL},
	{"clear_refs", NULL, write_clear_refs, NULL},
	{"oom_score", show_oom_score, NULL, NULL},
	{"oom_score_adj", show_oom_score_adj, write_oom_score_adj, NULL},
	{"oom_adj", show_oom_adj, write_oom_adj, NULL},
	{"pagemap", NULL, NULL, &pagemap_ops},
	{"mem", NULL, NULL, &mem_ops},
};

/* Not a regular file of the page cache, although its mode says so: it has no contents. */
static struct vnode *text_vnode(const struct proc_file *pf, uint64_t arg)
{
	struct vnode *v = vnode_new(S_IFCHR);

	if (!v)
		return NULL;
	v->mode = S_IFREG | (pf->mode ? pf->mode : pf->write ? 0644 : 0444);
	v->fops = pf->ops ? pf->ops : &text_ops;
	v->priv = (void *)(uintptr_t)pf;
	v->arg = arg;
	v->nlink = 1;
	return v;
}

static void exe_target(struct vnode *v, char *buf, size_t size)
{
	struct process *p;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	p = find_process((int)v->arg);
	strscpy(buf, p ? p->exe : "", size);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

static void cwd_target(struct vnode *v, char *buf, size_t size)
{
	struct process *p = process_get_pid((int)v->arg);
	struct fs_context *fs = p ? process_fs(p) : NULL;
	char path[PATH_LEN] = "";

	if (fs)
		vnode_put(fs_cwd(fs, path));
	fs_put(fs);
	if (p)
		process_put(p);
	strscpy(buf, path, size);
}

/* The table of a process's descriptors, referenced; NULL: there is no such process, or a zombie. */
static struct fd_table *files_of(uint64_t pid)
{
	struct process *p = process_get_pid((int)pid);
	struct fd_table *t = p ? process_files(p) : NULL;

	if (p)
		process_put(p);
	return t;
}

/* The file of another process's descriptor, with a reference, or NULL. */
static struct open_file *file_of(uint64_t pid, unsigned fd)
{
	struct fd_table *t = files_of(pid);
	struct open_file *f = t ? files_get_file(t, fd) : NULL;

	files_put(t);
	return f;
}

/* What has no name in the tree is told by its kind and number, as on Linux. */
static void fd_target(struct vnode *v, char *buf, size_t size)
{
	struct open_file *f = file_of(v->arg >> 32, (unsigned)v->arg);
	size_t n;

	strscpy(buf, f ? f->path : "", size);
	n = strlen(buf);
	if (n && buf[n - 1] == ':')
		scnprintf(buf + n, size - n, "[%llu]", (unsigned long long)f->v->ino);
	if (f)
		file_put(f);
}

static struct vnode *fd_jump(struct vnode *v, char path[PATH_LEN])
{
	struct open_file *f = file_of(v->arg >> 32, (unsigned)v->arg);
	struct vnode *to = f ? f->v : NULL;

	if (!f)
		return NULL;
	strscpy(path, f->path, PATH_LEN);
	vnode_get(to);
	file_put(f);
	return to;
}

static const struct vnode_ops exe_ops = {.readlink = exe_target};
static const struct vnode_ops cwd_ops = {.readlink = cwd_target};
static const struct vnode_ops fd_link_ops = {.readlink = fd_target, .jump = fd_jump};

static struct vnode *link_vnode(const struct vnode_ops *ops, uint64_t arg)
{
	struct vnode *v = vnode_new(S_IFLNK | 0777);

	if (v) {
		v->ops = ops;
		v->arg = arg;
		v->nlink = 1;
	}
	return v;
}

static struct vnode *dir_vnode(const struct vnode_ops *ops, uint64_t arg, struct vnode *parent)
{
	struct vnode *v = vnode_new(S_IFDIR | 0555);

	if (v) {
		v->ops = ops;
		v->arg = arg;
		v->nlink = 2;
		v->parent = parent;
	}
	return v;
}

/* /proc/PID/fd */
static struct vnode *fd_lookup(struct vnode *dir, const char *name)
{
	struct open_file *f;
	uint64_t fd;

	if (parse_u64(name, &fd) || fd >= MAX_FDS)
		return NULL;
	f = file_of(dir->arg, (unsigned)fd);
	if (!f)
		return NULL;
	file_put(f);
	return link_vnode(&fd_link_ops, dir->arg << 32 | fd); /* the process's number goes up, the thread's is lost */
}

static bool fd_readdir(struct vnode *dir, unsigned i, char name[32], unsigned *mode)
{
	struct fd_table *t = files_of(dir->arg);
	int fd = t ? files_next(t, 0) : -1;

	while (fd >= 0 && i--)
		fd = files_next(t, (unsigned)fd + 1);
	files_put(t);
	if (fd < 0)
		return false;
	scnprintf(name, 32, "%d", fd);
	*mode = S_IFLNK;
	return true;
}

static const struct vnode_ops fd_dir_ops = {.lookup = fd_lookup, .readdir = fd_readdir};

static struct vnode *proc_vnode; /* /proc itself */

/* What a process's and a thread's directory have alike. Made for each look-up and gone with its last
 * reference. */
static struct vnode *thread_lookup(struct vnode *dir, const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pid_files); i++)
		if (!strcmp(name, pid_files[i].path))
			return text_vnode(&pid_files[i], dir->arg);
	if (!strcmp(name, "exe"))
		return link_vnode(&exe_ops, dir->arg);
	if (!strcmp(name, "cwd"))
		return link_vnode(&cwd_ops, dir->arg);
	if (!strcmp(name, "fd"))
		return dir_vnode(&fd_dir_ops, dir->arg, proc_vnode);
	return NULL;
}

/* The last name, "task", is a process's alone. */
static bool name_at(unsigned i, bool task, char name[32], unsigned *mode)
{
	static const struct {
		const char *name;
		unsigned mode;
	} others[] = {{"exe", S_IFLNK}, {"cwd", S_IFLNK}, {"fd", S_IFDIR}, {"task", S_IFDIR}};

	if (i < ARRAY_SIZE(pid_files)) {
		strscpy(name, pid_files[i].path, 32);
		*mode = S_IFREG;
		return true;
	}
	i -= ARRAY_SIZE(pid_files);
	if (i >= ARRAY_SIZE(others) - !task)
		return false;
	strscpy(name, others[i].name, 32);
	*mode = others[i].mode;
	return true;
}

static bool thread_readdir(struct vnode *dir, unsigned i, char name[32], unsigned *mode)
{
	return name_at(i, false, name, mode);
}

static const struct vnode_ops thread_dir_ops = {.lookup = thread_lookup, .readdir = thread_readdir};

/* The number of the i-th thread of a process, in the order in which they were made; of a zombie its
 * first. 0: there are fewer. */
static int nth_thread(uint64_t pid, unsigned i)
{
	struct process *p;
	irqflags_t flags;
	struct task *t;
	int tid = 0;

	spin_lock_irqsave(&tasks_lock, flags);
	p = find_process((int)pid);
	if (p && p->zombie && !i)
		tid = p->leader_tid;
	if (p)
		list_for_each_entry(t, &p->threads, thread)
			if (!i--) {
				tid = t->tid;
				break;
			}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return tid;
}

static bool has_thread(uint64_t pid, int tid)
{
	struct process *p;
	irqflags_t flags;
	bool has;

	spin_lock_irqsave(&tasks_lock, flags);
	p = find_process((int)pid);
	has = p && tid && (p->zombie ? tid == p->leader_tid : thread_of(p, tid) != NULL);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return has;
}

/* /proc/PID/task */
static struct vnode *task_lookup(struct vnode *dir, const char *name)
{
	uint64_t tid;

	if (parse_u64(name, &tid) || tid >> 31 || !has_thread(dir->arg, (int)tid))
		return NULL;
	return dir_vnode(&thread_dir_ops, thread_arg(dir->arg, (int)tid), proc_vnode);
}

static bool task_readdir(struct vnode *dir, unsigned i, char name[32], unsigned *mode)
{
	int tid = nth_thread(dir->arg, i);

	scnprintf(name, 32, "%d", tid);
	*mode = S_IFDIR;
	return tid;
}

static const struct vnode_ops task_dir_ops = {.lookup = task_lookup, .readdir = task_readdir};

/* A link for each thread, as of every directory inside. */
static struct vnode *task_dir(struct vnode *dir)
{
	struct vnode *v = dir_vnode(&task_dir_ops, dir->arg, proc_vnode);
	struct process *p = v ? process_get_pid((int)dir->arg) : NULL;

	if (!p)
		return v;
	v->nlink += READ_ONCE(p->nr_threads);
	process_put(p);
	return v;
}

static struct vnode *pid_lookup(struct vnode *dir, const char *name)
{
	return !strcmp(name, "task") ? task_dir(dir) : thread_lookup(dir, name);
}

static bool pid_readdir(struct vnode *dir, unsigned i, char name[32], unsigned *mode)
{
	return name_at(i, true, name, mode);
}

static const struct vnode_ops pid_dir_ops = {.lookup = pid_lookup, .readdir = pid_readdir};

static void self_target(struct vnode *v, char *buf, size_t size)
{
	scnprintf(buf, size, "%d", current->proc->pid);
}

static const struct vnode_ops self_ops = {.readlink = self_target};

static void thread_self_target(struct vnode *v, char *buf, size_t size)
{
	scnprintf(buf, size, "%d/task/%d", current->proc->pid, current->tid);
}

static const struct vnode_ops thread_self_ops = {.readlink = thread_self_target};

static struct vnode *proc_lookup(struct vnode *dir, const char *name)
{
	struct process *p;
	uint64_t pid;

	if (!strcmp(name, "self"))
		return link_vnode(&self_ops, 0);
	if (!strcmp(name, "thread-self"))
		return link_vnode(&thread_self_ops, 0);
	p = parse_u64(name, &pid) || !pid || pid >> 31 ? NULL : process_get_pid((int)pid);
	if (!p)
		return NULL;
	process_put(p);
	return dir_vnode(&pid_dir_ops, pid, dir);
}

static bool proc_readdir(struct vnode *dir, unsigned i, char name[32], unsigned *mode)
{
	struct process *p;
	irqflags_t flags;
	int pid = 0;

	*mode = S_IFLNK;
	strscpy(name, i ? "thread-self" : "self", 32);
	if (i < 2)
		return true;
	i -= 2;
	spin_lock_irqsave(&tasks_lock, flags);
	list_for_each_entry(p, &all_processes, all) {
		if (i--)
			continue;
		pid = p->pid;
		break;
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	scnprintf(name, 32, "%d", pid);
	*mode = S_IFDIR;
	return pid != 0;
}

static const struct vnode_ops proc_dir_ops = {.lookup = proc_lookup, .readdir = proc_readdir};

/* ---- the machine's files --------------------------------------------------------------------- */

#define CORE_TEXT(name)                                                  \
	static void show_##name(struct text *t, struct process *p)       \
	{                                                                \
		quire_show_##name(text_emit, t);                         \
	}

CORE_TEXT(meminfo)
CORE_TEXT(swaps)
CORE_TEXT(vmstat)
CORE_TEXT(buddyinfo)
CORE_TEXT(pagetypeinfo)
CORE_TEXT(zoneinfo)
CORE_TEXT(slabinfo)
CORE_TEXT(vmallocinfo)

static void show_disks(struct text *t, struct process *p)
{
	show_partitions(text_emit, t);
}

static void show_block(struct text *t, struct process *p)
{
	show_block_counters(text_emit, t);
}

static void show_pressure(struct text *t, struct process *p)
{
	psi_show(text_emit, t);
}

static void show_uptime(struct text *t, struct process *p)
{
	uint64_t ns = hal_clock_ns();

	say(t, "%llu.%02llu 0.00\n", (unsigned long long)(ns / NS_PER_SEC),
	    (unsigned long long)(ns / 10000000 % 100));
}

static void show_mounts(struct text *t, struct process *p)
{
	say(t, "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n");
	show_mounted(text_emit, t);
}

static void show_filesystems(struct text *t, struct process *p)
{
	say(t, "nodev\ttmpfs\nnodev\tproc\nnodev\ttracefs\n\text2\n");
}

/* ---- compressed swap, where Linux has it: a module's parameters, and debugfs ------------------ */

static void show_zswap_enabled(struct text *t, struct process *p)
{
	struct quire_zswap_info z;

	quire_zswap_info(&z);
	say(t, "%c\n", z.enabled ? 'Y' : 'N');
}

static long write_zswap_enabled(const char *s, size_t n, struct process *p)
{
	if (!strchr("YyNn10", s[0]) || !s[0])
		return -EINVAL;
	return quire_zswap_enable(strchr("Yy1", s[0]) != NULL);
}

static void show_zswap_percent(struct text *t, struct process *p)
{
	struct quire_zswap_info z;

	quire_zswap_info(&z);
	say(t, "%u\n", z.max_pool_percent);
}

static long write_zswap_percent(const char *s, size_t n, struct process *p)
{
	uint64_t percent;

	if (parse_number(s, &percent) || percent > 100)
		return -EINVAL;
	return quire_zswap_set_max_pool_percent((unsigned)percent);
}

static void show_zswap_compressor(struct text *t, struct process *p)
{
	struct quire_zswap_info z;

	quire_zswap_info(&z);
	say(t, "%s\n", z.compressor ? z.compressor : "(none)");
}

#define ZSWAP_COUNTERS(X)                                                                               \
	X(pool_total_size, z.pool_pages * PAGE_SIZE)                                                    \
	X(stored_pages, z.stored_pages)                                                                 \
	X(same_filled_pages, z.same_filled_pages)                                                       \
	X(pool_limit_hit, z.pool_limit_hit)                                                             \
	X(reject_reclaim_fail, z.reject_reclaim_fail)                                                   \
	X(reject_alloc_fail, z.reject_alloc_fail)                                                       \
	X(reject_kmemcache_fail, z.reject_kmemcache_fail)                                               \
	X(reject_compress_poor, z.reject_compress_poor)                                                 \
	X(written_back_pages, z.written_back_pages)                                                     \
	X(duplicate_entry, z.duplicate_entry)                                                           \
	/* Linux 5.10 has no such: */                                                                   \
	X(stored_bytes, z.stored_bytes)                                                                 \
	X(loaded_pages, z.loaded_pages)                                                                 \
	X(dropped_pages, z.dropped_pages)                                                               \
	X(decompress_fail, z.decompress_fail)

#define ZSWAP_TEXT(name, value)                                                                         \
	static void show_zswap_##name(struct text *t, struct process *p)                                \
	{                                                                                               \
		struct quire_zswap_info z;                                                              \
                                                                                                        \
		quire_zswap_info(&z);                                                                   \
		say(t, "%llu\n", (unsigned long long)(value));                                          \
	}
ZSWAP_COUNTERS(ZSWAP_TEXT)

/* ---- /proc/quire ----------------------------------------------------------------------------- */

static void put_leaf(const struct quire_leaf *l, void *ctx)
{
	uint64_t w[4] = {l->va, l->pa, l->size,
			 (uint64_t)(l->r | l->w << 1 | l->x << 2 | l->user << 3 |
				    l->accessed << 4 | l->dirty << 5)};

	(*(uint64_t *)ctx)++;
	quire_trace_words(QUIRE_TR_TABLE_LEAF, w, 4);
}

/* The trace is on for as long as the dump takes; a full ring waits for its reader. A task that ends has no
 * space of its own any more: if it was pre-empted since, another's is loaded. */
static void dump_once(struct quire_mm *mm, uint64_t id)
{
	uint64_t count = 0, end[2];
	bool was = quire_trace_enabled();

	use_mm(mm);
	quire_trace_enable(true);
	quire_dump_tables(mm, put_leaf, &count);
	end[0] = count;
	end[1] = id;
	quire_trace_words(QUIRE_TR_TABLE_END, end, 2);
	quire_trace_enable(was);
}

/* Nobody else runs from the dump until the reader has compared it with this processor's own view, which
 * the running task does not leave meanwhile. One that had to wait for the space's lock is dumped again. */
void dump_tables(struct quire_mm *mm, uint64_t id)
{
	enum latency_path before;

	if (!trace_ring || !mm)
		return;
	before = latency_enter(PATH_DUMP);
	do {
		cpus_stop();
		dump_once(mm, id);
		if (__atomic_load_n(&trace_ring->reader, __ATOMIC_ACQUIRE) && cpus_are_stopped()) {
			__atomic_store_n(&trace_ring->dump_wait, 1 + hal_cpu_number(hal_cpu_id()), __ATOMIC_RELEASE);
			while (__atomic_load_n(&trace_ring->dump_wait, __ATOMIC_ACQUIRE))
				hal_cpu_relax();
		}
	} while (!cpus_go_on());
	latency_leave(before);
}

static long write_dump(const char *s, size_t n, struct process *p)
{
	uint64_t id = 0;

	parse_number(s, &id);
	dump_tables(p->mm, id); /* the caller's own: it stays */
	return 0;
}

static void show_check(struct text *t, struct process *p)
{
	say(t, "%ld\n", check_alone(t->mm));
}

static void show_counts(struct text *t, struct process *p)
{
	struct quire_counts c;

	quire_get_counts(&c);
#define COUNT(x) say(t, #x " %llu\n", (unsigned long long)c.x)
	COUNT(free_pages);
	COUNT(managed_pages);
	COUNT(reserved_pages);
	COUNT(cache_pages);
	COUNT(table_pages);
	COUNT(slab_pages);
	COUNT(minor_faults);
	COUNT(major_faults);
	COUNT(code_disagreements);
	COUNT(unmapped_entries);
	COUNT(unmap_flushes);
	say(t, "preemptions %llu\n", (unsigned long long)preemptions());
#undef COUNT
}

static long write_drain(const char *s, size_t n, struct process *p)
{
	reap_tasks();
	quire_drain();
	return 0;
}

/* "N": about N pages are reclaimed. */
static long write_reclaim(const char *s, size_t n, struct process *p)
{
	uint64_t pages;

	if (parse_number(s, &pages))
		return -EINVAL;
	quire_reclaim((unsigned long)pages);
	return 0;
}

/* "page N" or "slab N": the Nth next allocation of that kind fails. */
static long write_inject(const char *s, size_t n, struct process *p)
{
	enum quire_inject kind;
	uint64_t nth;

	if (!strncmp(s, "page ", 5))
		kind = QUIRE_INJECT_PAGE;
	else if (!strncmp(s, "slab ", 5))
		kind = QUIRE_INJECT_SLAB;
	else
		return -EINVAL;
	if (parse_number(s + 5, &nth))
		return -EINVAL;
	quire_inject_set(kind, nth);
	return 0;
}

/* A line of the monitor; what it shows goes to the console. */
static long write_monitor(const char *s, size_t n, struct process *p)
{
	char line[256];

	if (n >= sizeof(line))
		return -EINVAL;
	strscpy(line, s, sizeof(line));
	monitor_command(line);
	return 0;
}

/* The whole of "walk ADDR" of the running process. */
static long write_walk(const char *s, size_t n, struct process *p)
{
	struct text t = {0};
	uint64_t addr;

	if (parse_number(s, &addr) || !p->mm)
		return -EINVAL;
	quire_show_walk(p->mm, addr, text_emit, &t);
	for (struct text_piece *piece = t.first; piece; piece = piece->next)
		hal_log(piece->bytes, piece->len);
	text_clear(&t);
	return 0;
}

/* ---- tracefs --------------------------------------------------------------------------------- */

static void show_tracing_on(struct text *t, struct process *p)
{
	say(t, "%d\n", quire_trace_enabled());
}

static long write_tracing_on(const char *s, size_t n, struct process *p)
{
	uint64_t v;

	if (parse_number(s, &v))
		return -EINVAL;
	quire_trace_enable(v != 0);
	return 0;
}

static long write_marker(const char *s, size_t n, struct process *p)
{
	while (n && s[n - 1] == '\n')
		n--;
	quire_trace_marker(s, n);
	return 0;
}

static void show_trace(struct text *t, struct process *p)
{
	say(t, "# tracer: nop\n# the records are in the ring that the host reads\n");
}

/* What a tracer of Linux is told is accepted: every event is always recorded. */
static long write_anything(const char *s, size_t n, struct process *p)
{
	return 0;
}

static void show_one(struct text *t, struct process *p)
{
	say(t, "1\n");
}

static void show_nop(struct text *t, struct process *p)
{
	say(t, "nop\n");
}

static void show_cpus_online(struct text *t, struct process *p)
{
	char list[128];

	say_cpu_list(list, sizeof(list), cpus_online);
	say(t, "%s\n", list);
}

static void show_cpus_possible(struct text *t, struct process *p)
{
	char list[128];

	say_cpu_list(list, sizeof(list), (2ull << (hal_cpu_count() - 1)) - 1);
	say(t, "%s\n", list);
}

static void show_machine_stat(struct text *t, struct process *p)
{
	show_cpu_times(text_emit, t);
}

static void show_cpuinfo(struct text *t, struct process *p)
{
	show_cpu_info(text_emit, t);
}

#define CPUS "/sys/devices/system/cpu/"
#define TRACE "/sys/kernel/tracing/"
#define ZSWAP "/sys/module/zswap/parameters/"
#define ZSWAP_FILE(name, value) {"/sys/kernel/debug/zswap/" #name, show_zswap_##name, NULL, NULL},

static const struct proc_file files[] = {
	{"/proc/meminfo", show_meminfo, NULL, NULL},
	{"/proc/swaps", show_swaps, NULL, NULL},
	{"/proc/vmstat", show_vmstat, NULL, NULL},
	{"/proc/buddyinfo", show_buddyinfo, NULL, NULL},
	{"/proc/pagetypeinfo", show_pagetypeinfo, NULL, NULL},
	{"/proc/zoneinfo", show_zoneinfo, NULL, NULL},
	{"/proc/slabinfo", show_slabinfo, NULL, NULL},
	{"/proc/vmallocinfo", show_vmallocinfo, NULL, NULL},
	{"/proc/partitions", show_disks, NULL, NULL},
	{"/proc/pressure/memory", show_pressure, NULL, NULL},
	{"/proc/uptime", show_uptime, NULL, NULL},
	{"/proc/stat", show_machine_stat, NULL, NULL},
	{"/proc/cpuinfo", show_cpuinfo, NULL, NULL},
	{CPUS "online", show_cpus_online, NULL, NULL},
	{CPUS "possible", show_cpus_possible, NULL, NULL},
	{CPUS "present", show_cpus_possible, NULL, NULL},
	{"/proc/mounts", show_mounts, NULL, NULL},
	{"/proc/filesystems", show_filesystems, NULL, NULL},
	{"/proc/quire/dump_tables", NULL, write_dump, NULL},
	{"/proc/quire/block", show_block, NULL, NULL},
	{"/proc/quire/check", show_check, NULL, NULL},
	{"/proc/quire/counts", show_counts, NULL, NULL},
	{"/proc/quire/drain", NULL, write_drain, NULL},
	{"/proc/quire/inject", NULL, write_inject, NULL},
	{"/proc/quire/reclaim", NULL, write_reclaim, NULL},
	{"/proc/quire/monitor", NULL, write_monitor, NULL},
	{"/proc/quire/walk", NULL, write_walk, NULL},
	{ZSWAP "enabled", show_zswap_enabled, write_zswap_enabled, NULL},
	{ZSWAP "max_pool_percent", show_zswap_percent, write_zswap_percent, NULL},
	{ZSWAP "compressor", show_zswap_compressor, NULL, NULL},
	ZSWAP_COUNTERS(ZSWAP_FILE)
	{TRACE "tracing_on", show_tracing_on, write_tracing_on, NULL},
	{TRACE "trace_marker", NULL, write_marker, NULL},
	{TRACE "trace", show_trace, write_anything, NULL},
	{TRACE "current_tracer", show_nop, write_anything, NULL},
	{TRACE "buffer_size_kb", show_one, write_anything, NULL},
	{TRACE "events/enable", show_one, write_anything, NULL},
	{TRACE "events/exceptions/enable", show_one, write_anything, NULL},
	{TRACE "events/exceptions/page_fault_user/enable", show_one, write_anything, NULL},
	{TRACE "events/exceptions/page_fault_kernel/enable", show_one, write_anything, NULL},
	{TRACE "events/syscalls/enable", show_one, write_anything, NULL},
};

/* ---- /proc/sys/vm ---------------------------------------------------------------------------- */

/* Which tunables there are, their formats and bounds, is the core's to say. */

static int sysctl_open(struct open_file *f)
{
	const struct quire_sysctl *s = f->v->priv;

	/* Root's own bits count too: what is write-only cannot be read even by root. */
	return (file_flags(f) & O_ACCMODE) != O_WRONLY && !(s->mode & 0444) ? -EACCES : 0;
}

/* All in one read, from its start. */
static long sysctl_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	const struct quire_sysctl *s = f->v->priv;
	struct text t = {0};
	struct range r;
	long done = 0;

	quire_sysctl_show(s->name, text_emit, &t);
	r = pos_take(f, pos, n, t.len);
	if (!r.start)
		done = t.err ? t.err : text_copy(&t, buf, r.n, 0);
	pos_done(f, pos, &r, done);
	text_clear(&t);
	return done;
}

/* What is written behind the start is passed over. */
static long sysctl_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	const struct quire_sysctl *s = f->v->priv;
	char text[128];
	struct range r;
	long done = (long)n;

	if (s->capability >= 0 && !capable(s->capability))
		return -EPERM;
	if (n > sizeof(text))
		return -EINVAL;
	if (hal_copy_from_user(text, buf, n))
		return -EFAULT;
	r = pos_take(f, pos, n, UINT64_MAX);
	if (!r.start)
		done = quire_sysctl_write(s->name, text, n);
	pos_done(f, pos, &r, done);
	return done;
}

static const struct file_ops sysctl_ops = {
	.open = sysctl_open, .read = sysctl_read, .write = sysctl_write};

/* pf: a text; otherwise whatever ops do with priv. */
static int add_file(const char *path, const struct proc_file *pf, const struct file_ops *ops,
		    unsigned mode, const void *priv)
{
	const char *base = strrchr(path, '/') + 1;
	char dir_path[PATH_LEN];
	struct vnode *dir, *v;
	int err;

	strscpy(dir_path, path, (size_t)(base - path));
	dir = mkdir_path(dir_path[0] ? dir_path : "/");
	v = dir ? (pf ? text_vnode(pf, 0) : vnode_new(S_IFCHR)) : NULL;
	if (v && !pf) {
		v->mode = mode;
		v->fops = ops;
		v->priv = (void *)(uintptr_t)priv;
	}
	err = v ? dir_add(dir, base, v) : -ENOMEM;
	if (err == -EEXIST)
		err = 0; /* the initramfs brought one of its own */
	vnode_put(v);
	vnode_put(dir);
	return err;
}

static int add_sysctls(void)
{
	const struct quire_sysctl *s;
	char path[128];
	int err = 0;

	for (unsigned i = 0; !err && (s = quire_sysctl_at(i)) != NULL; i++) {
		scnprintf(path, sizeof(path), "/proc/sys/vm/%s", s->name);
		err = add_file(path, NULL, &sysctl_ops, S_IFREG | s->mode, s);
	}
	return err;
}

static int add_link(const char *path, const char *target)
{
	const char *base = strrchr(path, '/') + 1;
	char dir_path[PATH_LEN];
	struct vnode *dir, *v;
	size_t n = strlen(target) + 1;
	int err = -ENOMEM;

	strscpy(dir_path, path, (size_t)(base - path));
	dir = mkdir_path(dir_path);
	v = vnode_new(S_IFLNK | 0777);
	if (dir && v) {
		v->target = quire_kmalloc(n, 0);
		if (v->target) {
			memcpy(v->target, target, n);
			err = dir_add(dir, base, v);
		}
	}
	vnode_put(v);
	vnode_put(dir);
	return err == -EEXIST ? 0 : err;
}

static const struct {
	const char *path;
	const struct file_ops *ops;
	unsigned rdev;
} devices[] = {
	{"/dev/null", &null_ops, 1 << 8 | 3},
	{"/dev/zero", &zero_ops, 1 << 8 | 5},
	{"/dev/full", &full_ops, 1 << 8 | 7},
	{"/dev/random", &random_ops, 1 << 8 | 8},
	{"/dev/urandom", &random_ops, 1 << 8 | 9},
	{"/dev/console", &console_ops, 5 << 8 | 1}, {"/dev/tty", &console_ops, 5 << 8},
};

const struct file_ops *device_ops(uint64_t rdev)
{
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		if (devices[i].rdev == rdev)
			return devices[i].ops;
	return NULL;
}

static int add_devices(void)
{
	struct vnode *dir = mkdir_path("/dev"), *v;
	const char *name;
	int err = dir ? 0 : -ENOMEM;

	for (unsigned i = 0; i < ARRAY_SIZE(devices) && !err; i++) {
		name = strrchr(devices[i].path, '/') + 1;
		dir_unlink(dir, name); /* a node of the initramfs has no device behind it */
		err = add_file(devices[i].path, NULL, devices[i].ops, S_IFCHR | 0666, NULL);
		v = err ? NULL : dir_lookup(dir, name);
		if (v)
			v->rdev = devices[i].rdev;
		vnode_put(v);
	}
	vnode_put(dir);
	return err;
}

int procfs_init(void)
{
	/* what every Linux's /dev has, though its kernel does not make it */
	static const char *const links[][2] = {{"/dev/fd", "/proc/self/fd"}, {"/dev/stdin", "/proc/self/fd/0"},
		{"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"}};
	static const char *const dirs[] = {"/tmp", "/dev/shm", "/proc", "/sys/kernel/debug"};
	struct vnode *v;
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		v = mkdir_path(dirs[i]);
		if (!v)
			return -ENOMEM;
		if (!strcmp(dirs[i], "/proc")) {
			v->ops = &proc_dir_ops;
			proc_vnode = v;
		}
		vnode_put(v);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(files) && !err; i++)
		err = add_file(files[i].path, &files[i], NULL, 0, NULL);
	for (const struct proc_file *pf = machine_files; pf->path && !err; pf++)
		err = add_file(pf->path, pf, NULL, 0, NULL);
	for (const struct proc_file *pf = names_files; pf->path && !err; pf++)
		err = add_file(pf->path, pf, NULL, 0, NULL);
	for (const struct proc_file *pf = shm_files; pf->path && !err; pf++)
		err = add_file(pf->path, pf, NULL, 0, NULL);
	if (!err)
		err = add_sysctls();
	if (!err)
		err = add_link("/sys/kernel/debug/tracing", "/sys/kernel/tracing");
	for (unsigned i = 0; i < ARRAY_SIZE(links) && !err; i++)
		err = add_link(links[i][0], links[i][1]);
	return err ? err : add_devices();
}
