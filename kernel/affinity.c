/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs there are, and which a thread may run on: sched_setaffinity, getcpu, membarrier, and the
 * texts of /proc and /sys about CPUs, in Linux's formats.
 */
#include "cpus.h"
#include "kernel.h"
#include "kernel/proc/proc.h"

#define MASK_BYTES sizeof(uint64_t) /* of the masks that the kernel keeps: MAX_CPUS bits */

static uint64_t online(void)
{
	return __atomic_load_n(&cpus_online, __ATOMIC_ACQUIRE);
}

/* The thread of that number, 0: the caller. tasks_lock is held. */
static struct task *thread_or_self(int tid)
{
	return tid ? find_task(tid) : current;
}

/* As Linux: a buffer too small for all CPUs is refused, and so is one that is not whole words. */
SYSCALL3(sched_getaffinity, int, tid, unsigned, size, uintptr_t, dst)
{
	uint64_t mask = 0;
	irqflags_t flags;
	struct task *t;

	if (size * 8ul < hal_cpu_count() || size % sizeof(unsigned long))
		return -EINVAL;
	spin_lock_irqsave(&tasks_lock, flags);
	t = thread_or_self(tid);
	if (t)
		mask = READ_ONCE(t->allowed) & online();
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (!t)
		return -ESRCH;
	return COPY_OUT(dst, mask) ? -EFAULT : (long)MASK_BYTES;
}

/* The caller itself is moved once no lock is held. */
SYSCALL3(sched_setaffinity, int, tid, unsigned, size, uintptr_t, src)
{
	uint64_t mask = 0;
	irqflags_t flags;
	struct task *t;

	if (hal_copy_from_user(&mask, src, min((size_t)size, MASK_BYTES)))
		return -EFAULT;
	mask &= online();
	spin_lock_irqsave(&tasks_lock, flags);
	t = thread_or_self(tid);
	if (t && t != current && mask)
		set_task_cpus(t, mask);
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (!t)
		return -ESRCH;
	if (!mask)
		return -EINVAL;
	if (t == current)
		set_task_cpus(t, mask);
	return 0;
}

/* There is one node. */
SYSCALL2(getcpu, uintptr_t, cpu_dst, uintptr_t, node_dst)
{
	unsigned cpu = hal_cpu_id(), node = 0;

	if ((cpu_dst && COPY_OUT(cpu_dst, cpu)) || (node_dst && COPY_OUT(node_dst, node)))
		return -EFAULT;
	return 0;
}

/* ---- membarrier ------------------------------------------------------------------------------ */

/* The interrupt is the barrier. */
static void barrier_here(void *arg)
{
}

enum { MEMBARRIER_QUERY = 0, MEMBARRIER_GLOBAL = 1, PRIVATE_EXPEDITED = 8, REGISTER_PRIVATE_EXPEDITED = 16 };

/* On return every CPU that runs a thread has passed a full barrier since the call: those that are
 * interrupted now, and those that switched. A private one may do more than it has to. */
SYSCALL2(membarrier, unsigned, cmd, unsigned, flags)
{
	if (flags)
		return -EINVAL;
	switch (cmd) {
	case MEMBARRIER_QUERY:
		return MEMBARRIER_GLOBAL | PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED;
	case REGISTER_PRIVATE_EXPEDITED:
		WRITE_ONCE(current->proc->membarrier, true);
		return 0;
	case PRIVATE_EXPEDITED:
		if (!READ_ONCE(current->proc->membarrier))
			return -EPERM;
		/* fall through */
	case MEMBARRIER_GLOBAL:
		hal_ipi_call(online(), barrier_here, NULL);
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- texts ----------------------------------------------------------------------------------- */

void say_cpu_list(char *buf, size_t size, uint64_t mask)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++) {
		unsigned first = cpu;

		if (!(mask >> cpu & 1))
			continue;
		while (cpu + 1 < MAX_CPUS && mask >> (cpu + 1) & 1)
			cpu++;
		n += (size_t)scnprintf(buf + n, size - n, first < cpu ? "%s%u-%u" : "%s%u", n ? "," : "", first,
				       cpu);
	}
}

uint64_t task_cpus(const struct task *t)
{
	return READ_ONCE(t->allowed) & online();
}

static unsigned long long ticks(uint64_t ns)
{
	return READ_ONCE(ns) / TICK_NS;
}

static void emit_times(quire_emit_fn emit, void *ctx, const char *name, const uint64_t ns[3])
{
	char line[128];

	emit(ctx, line, (size_t)scnprintf(line, sizeof(line), "%s %llu 0 %llu %llu 0 0 0 0 0 0\n", name,
					  ticks(ns[0]), ticks(ns[1]), ticks(ns[2])));
}

void show_cpu_times(quire_emit_fn emit, void *ctx)
{
	uint64_t all[3] = {0}, running = 0, switches = 0;
	char line[192], name[16];
	unsigned active, blocked;
	struct cpu *c;

	count_active(&active, &blocked);
	for_each_online_cpu(c) {
		all[0] += READ_ONCE(c->user_ns);
		all[1] += READ_ONCE(c->system_ns);
		all[2] += READ_ONCE(c->idle_ns);
		running += READ_ONCE(c->nr_running);
		switches += READ_ONCE(c->switches);
	}
	emit_times(emit, ctx, "cpu ", all);
	for_each_online_cpu(c) {
		uint64_t own[3] = {READ_ONCE(c->user_ns), READ_ONCE(c->system_ns), READ_ONCE(c->idle_ns)};

		scnprintf(name, sizeof(name), "cpu%u", c->id);
		emit_times(emit, ctx, name, own);
	}
	emit(ctx, line, (size_t)scnprintf(line, sizeof(line),
					  "intr 0\nctxt %llu\nbtime %llu\nprocesses %llu\nprocs_running %llu\n"
					  "procs_blocked %u\nsoftirq 0\n",
					  (unsigned long long)switches,
					  (unsigned long long)(realtime_offset() / NS_PER_SEC),
					  (unsigned long long)tasks_made(), (unsigned long long)running,
					  blocked));
}

/* What Linux tells of each, as far as a kernel for all machines knows it. */
void show_cpu_info(quire_emit_fn emit, void *ctx)
{
	char text[512];
	struct cpu *c;

	for_each_online_cpu(c) {
		emit(ctx, text, (size_t)scnprintf(text, sizeof(text), "processor\t: %u\n", c->id));
		emit(ctx, text, hal_cpu_describe(c->id, text, sizeof(text)));
		emit(ctx, "\n", 1);
	}
}
