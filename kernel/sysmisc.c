/* SPDX-License-Identifier: MIT */
/* System calls about time, the machine and the rest that a C library wants at its start. */
#include "kernel.h"

#define NS 1000000000ull

struct timespec64 {
	int64_t sec, nsec;
};

/* In nanoseconds; very long ones are cut to something that cannot overflow. */
static int get_timespec(uintptr_t src, uint64_t *ns)
{
	struct timespec64 t;

	if (COPY_IN(t, src))
		return -EFAULT;
	if (t.sec < 0 || t.nsec < 0 || t.nsec >= (int64_t)NS)
		return -EINVAL;
	*ns = min((uint64_t)t.sec, UINT64_MAX / NS / 2) * NS + (uint64_t)t.nsec;
	return 0;
}

static int put_timespec(uintptr_t dst, uint64_t ns)
{
	struct timespec64 t = {(int64_t)(ns / NS), (int64_t)(ns % NS)};

	return COPY_OUT(dst, t);
}

/* There is no clock of the day: all of them count from the machine's start. */
static int clock_now(unsigned long id, uint64_t *ns)
{
	struct usage u;

	if (id > 11)
		return -EINVAL;
	if (id == 2 || id == 3) {
		usage_of(current->proc, &u);
		*ns = u.utime_ns + u.stime_ns;
	} else {
		*ns = hal_clock_ns();
	}
	return 0;
}

SYSCALL(clock_gettime)
{
	uint64_t ns;
	int err = clock_now(a[0], &ns);

	return err ? err : put_timespec(a[1], ns);
}

SYSCALL(clock_getres)
{
	if (a[0] > 11)
		return -EINVAL;
	return a[1] ? put_timespec(a[1], 1) : 0;
}

SYSCALL(gettimeofday)
{
	uint64_t ns = hal_clock_ns(), tv[2] = {ns / NS, ns % NS / 1000};

	return a[0] ? COPY_OUT(a[0], tv) : 0;
}

SYSCALL(time)
{
	uint64_t t = hal_clock_ns() / NS;

	return a[0] && COPY_OUT(a[0], t) ? -EFAULT : (long)t;
}

SYSCALL(times)
{
	struct usage u, *c = &current->proc->child_usage;
	uint64_t t[4];

	usage_of(current->proc, &u);
	t[0] = u.utime_ns / TICK_NS;
	t[1] = u.stime_ns / TICK_NS;
	t[2] = c->utime_ns / TICK_NS;
	t[3] = c->stime_ns / TICK_NS;
	return a[0] && COPY_OUT(a[0], t) ? -EFAULT : (long)(hal_clock_ns() / TICK_NS);
}

static long sleep_until(uint64_t deadline, uintptr_t rem)
{
	uint64_t now;

	while ((now = hal_clock_ns()) < deadline) {
		if (sleep_on(&current->deadline, 0, true, deadline) != -EINTR)
			continue;
		now = hal_clock_ns();
		if (rem && now < deadline && put_timespec(rem, deadline - now))
			return -EFAULT;
		return -EINTR;
	}
	return 0;
}

SYSCALL(nanosleep)
{
	uint64_t ns;
	int err = get_timespec(a[0], &ns);

	return err ? err : sleep_until(hal_clock_ns() + ns, a[1]);
}

SYSCALL(clock_nanosleep)
{
	uint64_t ns;
	int err = a[0] > 11 ? -EINVAL : get_timespec(a[2], &ns);

	if (err)
		return err;
	return a[1] & 1 ? sleep_until(ns, 0) : sleep_until(hal_clock_ns() + ns, a[3]);
}

SYSCALL(sched_yield)
{
	(void)a;
	schedule();
	return 0;
}

SYSCALL(sched_getaffinity)
{
	unsigned long mask = 1;

	if (a[1] < sizeof(mask) || a[1] % sizeof(mask))
		return -EINVAL;
	return COPY_OUT(a[2], mask) ? -EFAULT : (long)sizeof(mask);
}

SYSCALL(sched_setaffinity)
{
	unsigned long mask = 0;

	if (hal_copy_from_user(&mask, a[2], min(a[1], sizeof(mask))))
		return -EFAULT;
	return mask & 1 ? 0 : -EINVAL;
}

SYSCALL(getcpu)
{
	unsigned zero = 0;

	if ((a[0] && COPY_OUT(a[0], zero)) || (a[1] && COPY_OUT(a[1], zero)))
		return -EFAULT;
	return 0;
}

SYSCALL(getpriority)
{
	(void)a;
	return 20;
}

SYSCALL(setpriority)
{
	(void)a;
	return 0;
}

/* Linux's clamp of the name lengths is 65 bytes each. */
SYSCALL(uname)
{
	struct {
		char sysname[65], nodename[65], release[65], version[65], machine[65], domain[65];
	} u = {.sysname = "Linux", .nodename = "quire", .release = "5.10.0-quire",
	       .version = "#1", .domain = "(none)"};

	strscpy(u.machine, hal_machine_name(), sizeof(u.machine));
	return COPY_OUT(a[0], u);
}

SYSCALL(sysinfo)
{
	struct {
		int64_t uptime;
		uint64_t loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
		uint16_t procs, pad;
		uint32_t pad2;
		uint64_t totalhigh, freehigh;
		uint32_t mem_unit;
	} s = {.uptime = (int64_t)(hal_clock_ns() / NS), .mem_unit = 1};
	struct quire_counts c;
	struct process *p;

	quire_get_counts(&c);
	s.totalram = c.managed_pages * PAGE_SIZE;
	s.freeram = c.free_pages * PAGE_SIZE;
	list_for_each_entry(p, &all_processes, all)
		s.procs++;
	return COPY_OUT(a[0], s);
}

/* Where data and heap start and end: for a program that no ELF file tells of it. */
static long set_mm(struct quire_mm *mm, unsigned long what, uintptr_t addr)
{
	struct quire_mm_layout l;

	quire_mm_get_layout(mm, &l);
	if (what == PR_SET_MM_START_DATA && (!l.end_data || addr <= l.end_data))
		l.start_data = addr;
	else if (what == PR_SET_MM_END_DATA && addr >= l.start_data)
		l.end_data = addr;
	else if (what == PR_SET_MM_START_BRK)
		l.start_brk = addr;
	else if (what == PR_SET_MM_BRK && addr >= l.start_brk)
		l.brk = addr;
	else
		return -EINVAL;
	quire_mm_set_layout(mm, &l);
	return 0;
}

SYSCALL(prctl)
{
	struct process *p = current->proc;
	char name[16] = {0};

	switch (a[0]) {
	case PR_SET_NAME:
		if (copy_string(name, a[1], sizeof(name)) == -EFAULT)
			return -EFAULT;
		name[15] = '\0';
		memcpy(p->comm, name, sizeof(name));
		return 0;
	case PR_GET_NAME:
		return COPY_OUT(a[1], p->comm);
	case PR_GET_DUMPABLE:
		return 1;
	case PR_CAPBSET_READ:
		return a[1] <= CAP_LAST_CAP ? 1 : -EINVAL;
	case PR_SET_MM:
		return capable(CAP_SYS_RESOURCE) ? set_mm(p->mm, a[1], a[2]) : -EPERM;
	case PR_SET_PDEATHSIG:
	case PR_SET_DUMPABLE:
	case PR_CAPBSET_DROP:
	case PR_SET_NO_NEW_PRIVS:
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL(set_robust_list)
{
	return a[1] == 24 ? 0 : -EINVAL;
}

SYSCALL(reboot)
{
	if ((uint32_t)a[0] != LINUX_REBOOT_MAGIC1)
		return -EINVAL;
	switch ((uint32_t)a[2]) {
	case LINUX_REBOOT_CMD_HALT:
	case LINUX_REBOOT_CMD_POWER_OFF:
	case LINUX_REBOOT_CMD_RESTART:
		hal_exit(0);
	default:
		return 0;
	}
}

/* Another process's memory, or one's own, piece by piece. */
static long vm_copy(const unsigned long *a, bool write)
{
	struct process *p = process_by_pid((int)a[0]);
	uint64_t l[2] = {0, 0}, r[2] = {0, 0};
	unsigned long li = 0, ri = 0;
	char tmp[256];
	long total = 0;

	if (a[2] > 1024 || a[4] > 1024 || a[5])
		return -EINVAL;
	if (!p || !p->mm)
		return -ESRCH;
	for (;;) {
		size_t n;

		while (!l[1] && li < a[2])
			if (COPY_IN(l, a[1] + 16 * li++))
				return -EFAULT;
		while (!r[1] && ri < a[4])
			if (COPY_IN(r, a[3] + 16 * ri++))
				return -EFAULT;
		n = min(min(l[1], r[1]), (uint64_t)sizeof(tmp));
		if (!n)
			return total;
		if (write ? hal_copy_from_user(tmp, l[0], n) ||
				    quire_mm_write(p->mm, r[0], tmp, n) != n
			  : quire_mm_read(p->mm, r[0], tmp, n) != n ||
				    hal_copy_to_user(l[0], tmp, n))
			return total ? total : -EFAULT;
		total += (long)n;
		l[0] += n;
		r[0] += n;
		l[1] -= n;
		r[1] -= n;
	}
}

SYSCALL(process_vm_readv) { return vm_copy(a, false); }
SYSCALL(process_vm_writev) { return vm_copy(a, true); }

/* Calls of one machine only. */
SYSCALL(arch_prctl)
{
	(void)a;
	return hal_arch_syscall(current->utf, "arch_prctl");
}

SYSCALL(riscv_flush_icache)
{
	(void)a;
	return hal_arch_syscall(current->utf, "riscv_flush_icache");
}
