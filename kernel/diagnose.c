/* SPDX-License-Identifier: MIT */
/*
 * What the kernel knows when it does not go on: every task, where it sleeps or was interrupted, and
 * the locks it holds. Told in a panic, once when nothing can ever run again, and when a task keeps
 * the processor from others for seconds with pre-emption off. The log names addresses; addr2line on
 * the kernel's image names the lines.
 */
#include "cpus.h"
#include "kernel.h"

#define SHOWN_TASKS 64
#define LOCK_BYTES  sizeof(struct mutex) /* a semaphore has as many */

static const char *state_name(const struct task *t)
{
	if (t->cpu < MAX_CPUS && cpus[t->cpu].curr == t)
		return "runs";
	if (t->state == TASK_SLEEPING)
		return "sleeps";
	return t->state == TASK_RUNNING ? "waits for the CPU" : "has ended";
}

/* How a lock is told: its name, and whose it is. */
struct telling {
	const struct task *t;
	const void *awaited; /* the key that it sleeps on, NULL: it does not */
};

/* A lock that t holds, or waits for while another has it. */
static void show_lock(uintptr_t thread, const void *lock, const char *name, enum lockdep_how how, void *ctx)
{
	static const char *const ways[] = {
		[LOCKDEP_READ] = " for reading", [LOCKDEP_WRITE] = " for writing", [LOCKDEP_MUTEX] = "",
	};
	const struct telling *tell = ctx;
	const char *at = lock, *key = tell->awaited;

	if (thread == (uintptr_t)tell->t)
		klog("    holds %s%s", name, ways[how]);
	/* A lock that readers and writers wait for apart has a key for each, in itself. */
	else if (key && key >= at && key < at + LOCK_BYTES)
		klog("    waits for %s, which task %d has%s", name, ((const struct task *)thread)->tid,
		     ways[how]);
}

static void show_task(const struct task *t)
{
	const struct waiter *w = t->waiter;
	char where[48] = "";

	if (t->state == TASK_SLEEPING && w)
		scnprintf(where, sizeof(where), " at 0x%lx%s", (unsigned long)w->caller,
			  t->interruptible ? ", until a signal" : "");
	klog("  task %d (%s) %s%s", t->tid, t->proc ? t->proc->comm : t->name, state_name(t), where);
	lockdep_each_held(show_lock, &(struct telling){t, w ? w->key : NULL});
}

/* The spinning locks of a CPU, in the order in which they were taken. */
static void show_spinning(unsigned cpu)
{
	const struct lockdep_cpu *c = &lockdep_cpus[cpu % LOCKDEP_MAX_CPUS];

	for (unsigned i = 0; i < c->depth; i++)
		klog("  holds %s (rank %u)", c->h[i].name ? c->h[i].name : "?", c->h[i].rank);
}

/* Which task each CPU runs, and where it stood when it was told to stop. */
static void show_cpus(void)
{
	struct cpu *c;

	for_each_online_cpu(c) {
		const struct task *t = c->curr;
		char where[32] = "";

		if (c->stopped_ip)
			scnprintf(where, sizeof(where), " at ip 0x%lx", (unsigned long)c->stopped_ip & ~1ul);
		klog("CPU %u%s: task %d (%s)%s, %u wait for it", c->id, c->id == hal_cpu_id() ? " (this one)" : "",
		     t->tid, t->proc ? t->proc->comm : t->name, where,
		     c->nr_running - (c->nr_running && c->curr != c->idle));
		show_spinning(c->id);
	}
}

/* Without tasks_lock: whoever calls has interrupts off, and the lock may be what is wrong. In a panic the
 * other CPUs stand still. */
void show_tasks(void)
{
	unsigned n = 0;
	struct task *t;

	ASSERT(hal_irqs_off());
	if (one_cpu())
		show_spinning(hal_cpu_id());
	else
		show_cpus();
	klog("tasks:");
	list_for_each_entry(t, &all_tasks, all)
		if (n++ < SHOWN_TASKS)
			show_task(t);
	if (n > SHOWN_TASKS)
		klog("  and %u more", n - SHOWN_TASKS);
}

/* A typed byte would wake somebody: a shell at its prompt, the monitor. */
static bool console_awaited(void)
{
	struct task *t;

	if (epoll_awaited() || poll_awaited())
		return true;
	list_for_each_entry(t, &all_tasks, all)
		if (t->waiter && (console_wakes(t->waiter->key) || hostio_wakes(t->waiter->key)))
			return true;
	return false;
}

/* The idle task found nothing to run, and no timer is set. */
void check_deadlock(void)
{
	static bool told;

	if (told || !all_cpus_idle() || timers_waiting() || list_empty(&all_tasks) || console_awaited() || blkdevs_busy())
		return;
	told = true;
	klog("HANG: every task sleeps, and nothing is left that could wake one");
	show_tasks();
}

void show_stuck(const struct trap_frame *tf)
{
	static const struct task *told;

	if (told == current)
		return;
	told = current;
	klog("HANG: task %d (%s) keeps the CPU, pre-emption is %s, at ip 0x%lx", current->tid,
	     os_current_comm(), preempt_off() ? "off" : "on", tf_ip(tf));
	show_tasks();
}

/* ---- the end of a process -------------------------------------------------------------------- */

static const char *const signal_names[NSIG + 1] = {
	[SIGHUP] = "SIGHUP", [SIGINT] = "SIGINT", [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL",
	[SIGTRAP] = "SIGTRAP", [SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS", [SIGFPE] = "SIGFPE",
	[SIGKILL] = "SIGKILL", [10] = "SIGUSR1", [SIGSEGV] = "SIGSEGV", [12] = "SIGUSR2",
	[SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM", [15] = "SIGTERM", [16] = "SIGSTKFLT",
	[24] = "SIGXCPU", [25] = "SIGXFSZ", [26] = "SIGVTALRM", [27] = "SIGPROF", [29] = "SIGIO",
	[30] = "SIGPWR", [SIGSYS] = "SIGSYS",
};

bool is_trap(const struct hal_siginfo *si)
{
	return si->code > SI_USER && si->code != SI_KERNEL &&
	       (si->signo == SIGSEGV || si->signo == SIGBUS || si->signo == SIGILL ||
		si->signo == SIGFPE || si->signo == SIGTRAP);
}

static const char *code_name(const struct hal_siginfo *si)
{
	if (si->signo == SIGSEGV)
		return si->code == SEGV_MAPERR ? " SEGV_MAPERR" : si->code == 2 ? " SEGV_ACCERR" : "";
	if (si->signo == SIGBUS)
		return si->code == BUS_ADRALN ? " BUS_ADRALN" : si->code == BUS_ADRERR ? " BUS_ADRERR" : "";
	return "";
}

/* Looks for the line of maps that an address lies in, as the lines come by. */
struct line_search {
	uintptr_t addr;
	char line[160], found[160];
	size_t n;
};

/* The number that *s begins with, in maps' form; *s is behind it afterwards. */
static uintptr_t hex_number(const char **s)
{
	uintptr_t v = 0;

	for (; (**s >= '0' && **s <= '9') || (**s >= 'a' && **s <= 'f'); (*s)++)
		v = v << 4 | (uintptr_t)(**s <= '9' ? **s - '0' : **s - 'a' + 10);
	return v;
}

static void search_line(struct line_search *l)
{
	const char *s = l->line;
	uintptr_t start = hex_number(&s);

	if (*s++ == '-' && l->addr >= start && l->addr < hex_number(&s))
		strscpy(l->found, l->line, sizeof(l->found));
}

static void search_piece(void *ctx, const char *text, size_t n)
{
	struct line_search *s = ctx;

	for (; n; n--, text++) {
		if (*text != '\n') {
			if (s->n < sizeof(s->line) - 1)
				s->line[s->n++] = *text;
			continue;
		}
		s->line[s->n] = '\0';
		search_line(s);
		s->n = 0;
	}
}

/* "r-xp /program" of the line "400000-401000 r-xp 00001000 00:01 3   /program". */
static const char *short_line(char *line)
{
	char *rights = strchr(line, ' ');
	const char *name = strrchr(line, ' ');

	if (!rights || name < rights + 5)
		return line;
	if (!name[1])
		name = " without a name";
	rights[5] = ' ';
	memmove(rights + 6, name + 1, strlen(name)); /* line has room for the longer of the two */
	return line;
}

void show_death(const struct hal_siginfo *si, const struct trap_frame *tf)
{
	struct line_search *s = quire_kmalloc(sizeof(*s), QUIRE_GFP_ZERO);
	const char *name = si->signo <= NSIG ? signal_names[si->signo] : NULL, *where = "is not mapped";

	if (s && is_trap(si)) {
		s->addr = si->addr;
		quire_show_maps(current->proc->mm, search_piece, s);
		if (s->found[0])
			where = short_line(s->found);
	}
	if (is_trap(si))
		klog("%s[%d]: killed by signal %d (%s), code %d%s, address 0x%lx (%s), instruction 0x%lx, stack 0x%lx",
		     current->proc->comm, current->proc->pid, si->signo, name ? name : "?", si->code,
		     code_name(si), si->addr, where, tf_ip(tf), tf_sp(tf));
	else
		klog("%s[%d]: killed by signal %d (%s)", current->proc->comm, current->proc->pid, si->signo,
		     name ? name : "real-time");
	quire_kfree(s);
}
