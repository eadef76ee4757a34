/* SPDX-License-Identifier: MIT */
/*
 * kernel_main(): boot, from the machine's first C call to the first program, and shutdown: the
 * command line, the core's start, the initramfs, the log, panics.
 */
#include "cpus.h"
#include "kernel.h"
#include "kernel/swapfile.h"
#include "kernel/proc/proc.h"

#include "lib/lz4_compressor.h"
#include <quire/os.h>
#include <quire/trace.h>

#define PANIC_STATUS 3
#define OOPS_STATUS  1
#define LAST_RECORDS 24
#define LATENCY_SHOWN 5000 /* instructions; shorter stretches are not worth a line */

struct kernel_options options;
struct quire_trace_ring *trace_ring;
bool shutting_down;

static struct boot_info boot;
static int shutdown_status;

/* ---- log ------------------------------------------------------------------------------------- */

static struct rawlock log_lock;
static bool midline; /* the lock: a program's last byte on the channel was no line end */

/* The CPU that panics does not wait for one that may never let go. */
void log_put(const char *s, size_t n, bool kernels)
{
	irqflags_t flags = hal_irq_save();
	bool locked = raw_trylock(&log_lock);

	while (!locked && cpu_of_panic() != (int)hal_cpu_id()) {
		hal_cpu_relax();
		locked = raw_trylock(&log_lock);
	}
	/* A line end that no program wrote is marked, so that a reader can take it out again. */
	if (kernels && midline)
		hal_log("\x1e\n", 2);
	hal_log(s, n);
	if (n)
		midline = s[n - 1] != '\n';
	if (locked)
		raw_unlock(&log_lock);
	hal_irq_restore(flags);
}

void os_log(const char *line)
{
	char buf[320];

	log_put(buf, scnprintf(buf, sizeof(buf), "quire: %s\n", line), true);
}

/* Cut at 300 bytes. */
void klog(const char *fmt, ...)
{
	char buf[300];
	va_list ap;

	va_start(ap, fmt);
	vscnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	os_log(buf);
}

/* ---- panics ---------------------------------------------------------------------------------- */

static void show_record(const struct quire_trace_record *r)
{
	if (r->type == QUIRE_TR_MARKER || r->type == QUIRE_TR_EXEC)
		klog("  %llu.%06llu pid %u type %u \"%.48s\"",
		     (unsigned long long)(r->time_ns / NS_PER_SEC),
		     (unsigned long long)(r->time_ns / NS_PER_US % US_PER_SEC), r->pid, r->type,
		     r->text);
	else
		klog("  %llu.%06llu pid %u type %u %llx %llx %llx %llx %llx %llx",
		     (unsigned long long)(r->time_ns / NS_PER_SEC),
		     (unsigned long long)(r->time_ns / NS_PER_US % US_PER_SEC), r->pid, r->type,
		     (unsigned long long)r->w[0], (unsigned long long)r->w[1],
		     (unsigned long long)r->w[2], (unsigned long long)r->w[3],
		     (unsigned long long)r->w[4], (unsigned long long)r->w[5]);
}

/* Read from the ring itself: the core may be what panicked. */
void show_last_trace(void)
{
	const struct quire_trace_record *records;
	uint64_t head, n;

	if (!trace_ring || trace_ring->magic != QUIRE_TRACE_MAGIC || !trace_ring->capacity)
		return;
	records = (const void *)((const char *)trace_ring + PAGE_SIZE);
	head = trace_ring->head;
	n = min(head, (uint64_t)LAST_RECORDS);
	klog("the last %llu trace records:", (unsigned long long)n);
	for (; n; n--)
		show_record(&records[(head - n) % trace_ring->capacity]);
}

/* A panic inside the printing of a panic must still end the machine. The other CPUs stand still, and one
 * that has a panic of its own meanwhile leaves the end to this one. */
static void begin_panic(int status)
{
	hal_irq_save();
	if (!cpus_halt())
		hal_exit(status);
}

_Noreturn void os_panic(const char *why)
{
	begin_panic(PANIC_STATUS);
	klog("PANIC: %s", why);
	if (current && current->tid)
		klog("in task %d (%s)", current->tid, os_current_comm());
	show_tasks();
	show_last_trace();
	hal_exit(PANIC_STATUS);
}

_Noreturn void kernel_oops(struct trap_frame *tf, const char *what)
{
	begin_panic(OOPS_STATUS);
	klog("OOPS: %s at ip 0x%lx sp 0x%lx", what, tf ? tf_ip(tf) : 0, tf ? tf_sp(tf) : 0);
	if (current && current->tid)
		klog("in task %d (%s)", current->tid, os_current_comm());
	show_tasks();
	show_last_trace();
	hal_exit(OOPS_STATUS);
}

/* ---- command line ---------------------------------------------------------------------------- */

/* Words that are not ours are the machine's, or ignored. */
static void parse_word(const char *w, size_t n)
{
	char word[PATH_LEN];

	strscpy(word, w, min(n + 1, sizeof(word)));
	if (!strncmp(word, "init=", 5))
		strscpy(options.init, word + 5, sizeof(options.init));
	else if (!strncmp(word, "mem_check=", 10))
		options.mem_check = word[10] == '1';
	else if (!strncmp(word, "dump_tables=", 12))
		options.dump_tables = word[12] == '1';
	else if (!strcmp(word, "preempt=none"))
		options.preempt = false;
	else if (!strncmp(word, "swap=", 5))
		strscpy(options.swap, word + 5, sizeof(options.swap));
	else if (!strncmp(word, "smp=", 4) && parse_u64(word + 4, &options.cpus))
		klog("%s: not a number of CPUs", word);
	else if (!strncmp(word, "ramdisk=", 8) && parse_u64(word + 8, &options.ramdisk))
		klog("%s: not a size", word);
	else if (!strncmp(word, "zram=", 5) && parse_u64(word + 5, &options.zram))
		klog("%s: not a size", word);
	else if (!strncmp(word, "args=", 5))
		strscpy(options.args, word + 5, sizeof(options.args));
	else if (!strcmp(word, "stdio=pipe"))
		options.stdio_pipe = true;
	else if (!strcmp(word, "stdio=tty"))
		options.stdio_tty = true;
	else if (!strcmp(word, "aslr"))
		options.aslr = true;
	else if (!strcmp(word, "monitor"))
		options.monitor = true;
	else if (!strcmp(word, "verbose"))
		options.verbose = true;
}

const char *kernel_command_line(void)
{
	return boot.cmdline ? boot.cmdline : "";
}

static void parse_cmdline(const char *s)
{
	options = (struct kernel_options){.preempt = true};
	while (s && *s) {
		const char *start;

		while (*s == ' ')
			s++;
		for (start = s; *s && *s != ' ';)
			s++;
		if (s - start == 2 && start[0] == '-' && start[1] == '-') {
			options.init_args = s;
			return;
		}
		if (s > start)
			parse_word(start, (size_t)(s - start));
	}
}

/* Built in, if the source was there: docs/zswap.md. */
#ifdef QUIRE_LZ4
#define COMPRESSOR &lz4_compressor
#else
#define COMPRESSOR NULL
#endif

static struct quire_counts before; /* when the first program was about to start */

/* ---- start ----------------------------------------------------------------------------------- */

/* From here on there is memory. */
static void start_core(void)
{
	struct quire_config cfg = {
		.trace_ring = boot.trace_ring,
		.trace_ring_size = boot.trace_ring_size,
		.aslr = options.aslr,
		.params = boot.cmdline,
		.compressor = COMPRESSOR,
	};
	int err = quire_init(&cfg);

	if (err) {
		klog("cannot start the memory manager: error %d", -err);
		hal_exit(PANIC_STATUS);
	}
	trace_ring = boot.trace_ring;
}

/* The initramfs before /proc and /dev, so that ours replace its device nodes. */
static void start_files(void)
{
	int err = vfs_init();

	if (!err && boot.initrd)
		err = unpack_initramfs(boot.initrd, boot.initrd_size);
	if (!err)
		err = procfs_init();
	if (!err)
		err = blkdevs_init();
	if (err) {
		klog("cannot set up the file system: error %d", -err);
		hal_exit(PANIC_STATUS);
	}
	if (boot.initrd)
		quire_free_boot_data(boot.initrd, boot.initrd_size);
}

static struct os_thread *monitor_task; /* NULL: none */

static void monitor_thread(void *arg)
{
	swap_on_at_boot();
	monitor();
}

/* Exact: per-CPU lists and empty slabs emptied, clean cache dropped. */
static void exact_counts(struct quire_counts *c)
{
	quire_drop_caches();
	quire_drain();
	quire_get_counts(c);
}

/* What is taken once and kept for good: the kernel's tables below the stacks, the code that ends
 * signal handlers. Taken now, so that the free pages of before and after can be compared. */
static void warm_up(void)
{
	void *stack = quire_stack_alloc(STACK_PAGES);

	if (stack)
		quire_stack_free(stack);
	abi_init();
}

_Noreturn void kernel_main(const struct boot_info *bi)
{
	struct quire_counts c;
	int err = 0;

	sched_init();
	boot = *bi;
	shutting_down = false;
	monitor_task = NULL;
	parse_cmdline(boot.cmdline);
	tty_init();
	start_core();
	cpus_start();
	threads_init();
	realtime_init();
	load_init();
	names_init();
	shm_init();
	start_files();
	if (hostio_init())
		klog("no memory for the first program's standard input and output");
	quire_get_counts(&c);
	klog("%s, %llu of %llu pages free", hal_machine_name(), (unsigned long long)c.free_pages,
	     (unsigned long long)c.managed_pages);
	warm_up();
	exact_counts(&before);
	/* Who asked for a ring wants to read it: the trace runs from the first program on. */
	if (boot.trace_ring)
		quire_trace_enable(true);
	hal_timer_start(TICK_NS);
	if (!options.monitor && (options.init[0] || options.args[0] || !hal_elf_machine()))
		err = start_init();
	else
		err = os_thread_start("monitor", monitor_thread, NULL, &monitor_task);
	if (!err)
		err = quire_threads_start();
	if (err) {
		klog("cannot start the first program: error %d", -err);
		hal_exit(PANIC_STATUS);
	}
	cpus_release();
	latency_start();
	idle_loop();
}

/* ---- the end --------------------------------------------------------------------------------- */

void request_shutdown(int status)
{
	if (!shutting_down)
		shutdown_status = status;
	shutting_down = true;
}

/* Free pages before the first program and after the last, and what the missing ones are. */
static void show_balance(void)
{
	struct quire_counts now;

	exact_counts(&now);
	klog("free pages before=%llu after=%llu, more than before: %lld slab, %lld tables, %lld cache",
	     (unsigned long long)before.free_pages, (unsigned long long)now.free_pages,
	     (long long)(now.slab_pages - before.slab_pages),
	     (long long)(now.table_pages - before.table_pages),
	     (long long)(now.cache_pages - before.cache_pages));
}

/* In a build that measures it (arch/common/latency.h): what tools/latency.py reads. */
static void show_stretch(const char *kind, uint64_t n, uintptr_t from, uintptr_t to)
{
	klog("latency: %s off for %llu instructions from 0x%lx to 0x%lx", kind,
	     (unsigned long long)n, (unsigned long)from, (unsigned long)to);
}

static void show_path(const char *path, bool irqs_off, bool preempt_off, uint64_t n)
{
	klog("latency: might_sleep in %s, interrupts %s, pre-emption %s, %llu times", path,
	     irqs_off ? "off" : "on", preempt_off ? "off" : "on", (unsigned long long)n);
}

/* What the core still holds after everything has ended is a leak. */
_Noreturn void finish_shutdown(void)
{
	unsigned long kept;
	long leaked;

	latency_show(LATENCY_SHOWN, show_stretch);
	latency_show_paths(show_path);
	latency_enter(PATH_BOOT);
	use_mm(NULL);
	if (!one_cpu())
		hal_irq_enable(); /* who flushes what the others may have answers their calls */
	quire_threads_stop();
	if (monitor_task)
		os_thread_stop(monitor_task);
	reap_tasks();
	/* In words too: a machine's exit may be too narrow for the number. */
	klog("the first program ended with status %d", shutdown_status);
	shm_exit();
	show_balance();
	swap_files_let_go();
	vfs_exit();
	swap_files_end();
	abi_exit();
	blkdevs_exit();
	kept = hostio_pages() + cpus_pages();
	hostio_exit(shutdown_status);
	leaked = quire_exit() - (long)kept;
	if (leaked || options.verbose)
		klog("%ld pages were not given back", leaked);
	hal_exit(shutdown_status);
}

/* ---- what the core asks for: time, tasks, limits --------------------------------------------- */

uint64_t os_clock_ns(void)
{
	return hal_clock_ns();
}

uint64_t os_entropy(void)
{
	return hal_entropy();
}

/*
 * Limits and capabilities are those of who asks, as on Linux: the running process, which need not be
 * the one that the space was made for. Its owner may have ended, with the space still shared or
 * looked at from outside, and so is a number.
 */
static struct process *asking(void)
{
	return current->proc;
}

uint64_t os_rlimit(void *owner, int resource)
{
	struct process *p = asking();

	return p ? rlimit_cur(p, resource) : RLIM_INFINITY;
}

uint64_t os_rlimit_max(void *owner, int resource)
{
	struct process *p = asking();

	return p ? rlimit_max(p, resource) : RLIM_INFINITY;
}

bool os_capable(void *owner, int cap)
{
	return !asking() || capable(cap);
}

bool os_fatal_signal_pending(void)
{
	return current->proc && fatal_signal_pending(current);
}

bool os_signal_pending(void)
{
	return signal_pending(current);
}

bool os_thread_ends(void)
{
	return current->dying;
}

void os_count_fault(bool major)
{
	if (current)
		task_count_fault(current, major);
}

uint32_t os_current_pid(void)
{
	return current ? (uint32_t)current->tid : 0;
}

const char *os_current_comm(void)
{
	if (!current)
		return "";
	return current->proc ? current->proc->comm : current->name;
}
