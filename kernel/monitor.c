/* SPDX-License-Identifier: MIT */
/*
 * The monitor: a prompt on the console when no first program was named. It looks, runs programs,
 * and changes nothing but what it is told to. While it looks, the others stand still (stop.c).
 */
#include "cpus.h"
#include "kernel.h"

#include <quire/trace.h>

#define PAGEMAP_PFN ((1ull << 55) - 1) /* the frame's number in a word of /proc/PID/pagemap */

static void to_console(void *ctx, const char *s, size_t n)
{
	hal_log(s, n);
}

static __printf(1, 2) void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vemitf(to_console, NULL, fmt, ap);
	va_end(ap);
}

/* The mm of the process whose number stands in s, with a reference; NULL after complaining. */
static struct quire_mm *mm_of(const char *s)
{
	struct quire_mm *mm = NULL;
	struct process *p;
	uint64_t pid;

	if (!s || parse_u64(s, &pid)) {
		print("which process? give its number (ps lists them)\n");
		return NULL;
	}
	p = pid ? process_get_pid((int)pid) : NULL;
	if (p) {
		mm = get_task_mm(p);
		process_put(p);
	}
	if (!mm)
		print("no process %llu has an address space\n", (unsigned long long)pid);
	return mm;
}

/* What is told of a process, of one moment. */
static void ps_line(struct process *p, const unsigned long n[7])
{
	int ppid;
	unsigned threads;
	char comm[sizeof(p->comm)];
	irqflags_t flags;
	bool zombie;

	spin_lock_irqsave(&tasks_lock, flags);
	ppid = p->parent ? p->parent->pid : 0;
	threads = p->nr_threads;
	zombie = p->zombie;
	memcpy(comm, p->comm, sizeof(comm));
	spin_unlock_irqrestore(&tasks_lock, flags);
	print("%5d %5d %7u %8lu %8lu %s%s\n", p->pid, ppid, threads, n[0], n[1], comm,
	      zombie ? " (zombie)" : "");
}

static void cmd_ps(char **arg)
{
	struct process *p;
	unsigned long n[7];

	print("  PID  PPID THREADS     SIZE      RSS NAME\n");
	for (int pid = 0; (p = process_get_next(pid)) != NULL; process_put(p)) {
		struct quire_mm *mm = get_task_mm(p);

		pid = p->pid;
		memset(n, 0, sizeof(n));
		if (mm) {
			quire_statm(mm, n);
			quire_mm_put(mm);
		}
		ps_line(p, n);
	}
}

/* Shows of a whole space, or of one address in it. */
static void show_space(char **arg, void (*show)(struct quire_mm *, quire_emit_fn, void *))
{
	struct quire_mm *mm = mm_of(arg[1]);

	if (!mm)
		return;
	show(mm, to_console, NULL);
	quire_mm_put(mm);
}

static void show_address(char **arg,
			 void (*show)(struct quire_mm *, uintptr_t, quire_emit_fn, void *))
{
	struct quire_mm *mm = mm_of(arg[1]);
	uint64_t addr;

	if (!mm)
		return;
	if (!arg[2] || parse_u64(arg[2], &addr))
		print("%s PID ADDRESS\n", arg[0]);
	else
		show(mm, addr, to_console, NULL);
	quire_mm_put(mm);
}

static void cmd_maps(char **arg)
{
	show_space(arg, quire_show_maps);
}

static void cmd_smaps(char **arg)
{
	show_space(arg, quire_show_smaps);
}

static void cmd_walk(char **arg)
{
	show_address(arg, quire_show_walk);
}

static void cmd_tables(char **arg)
{
	struct quire_mm *mm = mm_of(arg[1]);
	uint64_t start = 0, end = 0;

	if (!mm)
		return;
	if (arg[2] && (parse_u64(arg[2], &start) || !arg[3] || parse_u64(arg[3], &end) || end <= start))
		print("tables PID [START END]\n");
	else
		quire_show_tables(mm, start, end, to_console, NULL);
	quire_mm_put(mm);
}

static void cmd_vma(char **arg)
{
	show_address(arg, quire_show_vma);
}

static void cmd_tree(char **arg)
{
	show_space(arg, quire_show_tree);
}

/* The page of an address of a space, as /proc/PID/pagemap tells it. */
static void show_page_at(struct quire_mm *mm, uintptr_t addr, quire_emit_fn emit, void *ctx)
{
	uint64_t word = quire_pagemap(mm, addr);

	if (word >> 63)
		quire_show_page(word & PAGEMAP_PFN, emit, ctx);
	else
		print("no page is present at %#lx\n", (unsigned long)addr);
}

static void cmd_page(char **arg)
{
	uint64_t pfn;

	if (arg[1] && arg[2])
		show_address(arg, show_page_at);
	else if (!arg[1] || parse_u64(arg[1], &pfn))
		print("page FRAME-NUMBER, or page PID ADDRESS\n");
	else
		quire_show_page(pfn, to_console, NULL);
}

static void cmd_frames(char **arg)
{
	uint64_t pfn, count;

	if (!arg[1] || !arg[2] || parse_u64(arg[1], &pfn) || parse_u64(arg[2], &count))
		print("frames FRAME-NUMBER COUNT\n");
	else
		quire_show_frames(pfn, count, to_console, NULL);
}

static void cmd_drain(char **arg)
{
	quire_drain();
}

static void cmd_sysctl(char **arg)
{
	uint64_t to;
	long value;
	int err = arg[1] ? 0 : -EINVAL;

	if (!err && arg[2])
		err = parse_u64(arg[2], &to) ? -EINVAL : quire_sysctl_set(arg[1], (long)to);
	if (!err)
		err = quire_sysctl_get(arg[1], &value);
	if (err)
		print("sysctl NAME [VALUE]: error %d\n", err);
	else
		print("%s = %ld\n", arg[1], value);
}

static void cmd_fault(char **arg)
{
	quire_show_faults(to_console, NULL);
}

static void cmd_buddy(char **arg)
{
	quire_show_buddyinfo(to_console, NULL);
}

static void cmd_slab(char **arg)
{
	quire_show_slabinfo(to_console, NULL);
}

static void cmd_meminfo(char **arg)
{
	quire_show_meminfo(to_console, NULL);
}

static void cmd_vmstat(char **arg)
{
	quire_show_vmstat(to_console, NULL);
}

static void cmd_zones(char **arg)
{
	quire_show_zoneinfo(to_console, NULL);
}

static void cmd_trace(char **arg)
{
	if (arg[1] && !strcmp(arg[1], "on"))
		quire_trace_enable(true);
	else if (arg[1] && !strcmp(arg[1], "off"))
		quire_trace_enable(false);
	else if (trace_ring)
		show_last_trace();
	else
		print("there is no trace: boot with the word trace=4M (./quire boot MACHINE -- trace=4M)\n");
}

/* Of the lines of vmstat those that begin with one of these. */
static const char *const lru_lines[] = {
	"nr_inactive_", "nr_active_", "nr_unevictable", "nr_isolated_", "pgactivate", "pgdeactivate", "pglazyfree",
	"pgscan_", "pgsteal_", "pgrefill", "workingset_", "kswapd_", "pageoutrun", "allocstall",
};

struct lru_filter {
	char line[80];
	size_t n;
};

static void lru_piece(void *ctx, const char *s, size_t n)
{
	struct lru_filter *f = ctx;

	for (; n; n--, s++) {
		if (f->n < sizeof(f->line) - 1)
			f->line[f->n++] = *s;
		if (*s != '\n')
			continue;
		for (unsigned i = 0; i < ARRAY_SIZE(lru_lines); i++)
			if (!strncmp(f->line, lru_lines[i], strlen(lru_lines[i])))
				to_console(NULL, f->line, f->n);
		f->n = 0;
	}
}

static void cmd_lru(char **arg)
{
	struct lru_filter f = {.n = 0};

	quire_show_vmstat(lru_piece, &f);
}

static void cmd_check(char **arg)
{
	struct process *p;
	long broken = quire_check(NULL);

	for (int pid = 0; (p = process_get_next(pid)) != NULL; process_put(p)) {
		struct quire_mm *mm = get_task_mm(p);

		pid = p->pid;
		if (!mm)
			continue;
		broken += quire_check(mm);
		quire_mm_put(mm);
	}
	print("%ld invariants are broken\n", broken);
}

static void cmd_inject(char **arg)
{
	uint64_t nth;

	if (!arg[1] || !arg[2] || parse_u64(arg[2], &nth) ||
	    (strcmp(arg[1], "page") && strcmp(arg[1], "slab"))) {
		print("inject page|slab N: the Nth next allocation fails (0: none)\n");
		return;
	}
	quire_inject_set(arg[1][0] == 'p' ? QUIRE_INJECT_PAGE : QUIRE_INJECT_SLAB, nth);
}

static void cmd_run(char **arg)
{
	static char args[256];
	size_t n = 0;

	if (!arg[1]) {
		print("run PROGRAM [ARG]...\n");
		return;
	}
	if (init_process) {
		print("a first program is running\n");
		return;
	}
	strscpy(options.init, arg[1], sizeof(options.init));
	for (int i = 2; arg[i]; i++)
		n += scnprintf(args + n, sizeof(args) - n, " %s", arg[i]);
	args[n] = '\0';
	options.init_args = args;
	if (start_init())
		print("cannot start it\n");
}

/* As if the first program had ended: what is running is killed, and nothing may be left. */
static void cmd_exit(char **arg)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct process *program;
	uint64_t status = 0;
	irqflags_t flags;

	if (arg[1])
		parse_u64(arg[1], &status);
	request_shutdown((int)status);
	spin_lock_irqsave(&tasks_lock, flags);
	program = find_process(FIRST_PROGRAM);
	if (program)
		post_signal_process(program, &si);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

static void cmd_help(char **arg);

static const struct {
	const char *name, *what;
	void (*fn)(char **arg);
	bool alone; /* it looks at what all others change: they stand still */
} commands[] = {
	{"help", "this list", cmd_help},
	{"ps", "processes", cmd_ps, true},
	{"maps", "PID: the mappings of a process", cmd_maps, true},
	{"smaps", "PID: the same with what is resident", cmd_smaps, true},
	{"walk", "PID ADDR: how an address translates, level by level", cmd_walk, true},
	{"tables", "PID [START END]: every entry of its page tables", cmd_tables, true},
	{"vma", "PID ADDR: the mapping round an address", cmd_vma, true},
	{"tree", "PID: the mappings as nodes of their tree, with the gaps", cmd_tree, true},
	{"page", "PFN, or PID ADDR: what a frame is used for, and who maps it", cmd_page, true},
	{"rmap", "the same as page: who maps a frame, by the reverse map", cmd_page, true},
	{"lru", "pages on each list, and what reclaim did with them", cmd_lru, true},
	{"frames", "PFN COUNT: what these frames are, free blocks by order", cmd_frames, true},
	{"fault", "how often each way of a fault was taken", cmd_fault, true},
	{"buddy", "free blocks by zone and order", cmd_buddy, true},
	{"slab", "slab caches", cmd_slab, true},
	{"meminfo", "/proc/meminfo", cmd_meminfo, true},
	{"vmstat", "/proc/vmstat", cmd_vmstat, true},
	{"zones", "/proc/zoneinfo", cmd_zones, true},
	{"trace", "[on|off]: the last records of the trace", cmd_trace},
	{"drain", "give all free pages and objects that are kept in lists back", cmd_drain},
	{"sysctl", "NAME [VALUE]: a tunable of the core", cmd_sysctl},
	{"check", "check every invariant", cmd_check, true},
	{"inject", "page|slab N: let an allocation fail", cmd_inject},
	{"run", "PROGRAM [ARG]...: run the first program", cmd_run},
	{"exit", "[STATUS]: end the machine", cmd_exit},
};

static void cmd_help(char **arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		print("%-8s %s\n", commands[i].name, commands[i].what);
}

static void run_command(void (*fn)(char **arg), bool alone, char **arg)
{
	if (alone)
		cpus_stop();
	fn(arg);
	if (alone && !cpus_go_on())
		print("others ran meanwhile: what is told may be half done\n");
}

void monitor_command(char *line)
{
	char *arg[16] = {NULL}, *s = line;
	int n = 0;

	while (*s && n < 15) {
		while (*s == ' ')
			*s++ = '\0';
		if (!*s)
			break;
		arg[n++] = s;
		while (*s && *s != ' ')
			s++;
	}
	if (!n)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(arg[0], commands[i].name)) {
			run_command(commands[i].fn, commands[i].alone, arg);
			return;
		}
	print("%s? (help lists what there is)\n", arg[0]);
}

void monitor(void)
{
	char line[256];

	print("quire monitor on %s; help lists what there is\n", hal_machine_name());
	while (!kthread_should_stop()) {
		print("quire> ");
		console_line(line, sizeof(line));
		monitor_command(line);
	}
}
