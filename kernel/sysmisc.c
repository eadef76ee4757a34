/* SPDX-License-Identifier: MIT */
/*
 * System calls that fit nowhere else: sched_*, sysinfo, prctl, reboot, and those of one
 * machine only.
 */
#include "kernel.h"
#include "kernel/proc/proc.h"

SYSCALL0(sched_yield)
{
	schedule();
	return 0;
}

/* ---- the one policy -------------------------------------------------------------------------- */

#define SCHED_OTHER   0
#define SCHED_FIFO    1
#define SCHED_RR      2
#define SCHED_BATCH   3
#define SCHED_IDLE    5
#define RT_PRIORITY_MAX 99

/* 0: the caller, or there is a task of that number; else -EINVAL, -ESRCH. */
static int check_task(int tid)
{
	irqflags_t flags;
	bool found;

	if (tid < 0)
		return -EINVAL;
	spin_lock_irqsave(&tasks_lock, flags);
	found = !tid || find_task(tid);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return found ? 0 : -ESRCH;
}

SYSCALL1(sched_getscheduler, int, tid)
{
	int err = check_task(tid);

	return err ? err : SCHED_OTHER;
}

SYSCALL2(sched_getparam, int, tid, uintptr_t, dst)
{
	int err = dst ? check_task(tid) : -EINVAL, priority = 0;

	return err ? err : COPY_OUT(dst, priority);
}

/* The others of Linux are not built: who asks for one learns that it may not. */
static long set_policy(int tid, int policy, uintptr_t src)
{
	int err, priority;

	if (!src || tid < 0)
		return -EINVAL;
	if (COPY_IN(priority, src))
		return -EFAULT;
	err = check_task(tid);
	if (err)
		return err;
	if (policy < 0 || policy > SCHED_IDLE || policy == SCHED_IDLE - 1)
		return -EINVAL;
	if ((policy == SCHED_FIFO || policy == SCHED_RR) != (priority != 0) || priority < 0 ||
	    priority > RT_PRIORITY_MAX)
		return -EINVAL;
	return policy == SCHED_OTHER ? 0 : -EPERM;
}

SYSCALL3(sched_setscheduler, int, tid, int, policy, uintptr_t, src)
{
	return set_policy(tid, policy, src);
}

SYSCALL2(sched_setparam, int, tid, uintptr_t, src)
{
	return set_policy(tid, SCHED_OTHER, src);
}

/* Of any policy that Linux has. */
static long priority_limit(int policy, long of_real_time)
{
	if (policy == SCHED_FIFO || policy == SCHED_RR)
		return of_real_time;
	return policy >= SCHED_OTHER && policy <= 6 && policy != 4 ? 0 : -EINVAL;
}

SYSCALL1(sched_get_priority_max, int, policy)
{
	return priority_limit(policy, RT_PRIORITY_MAX);
}

SYSCALL1(sched_get_priority_min, int, policy)
{
	return priority_limit(policy, 1);
}

SYSCALL2(sched_rr_get_interval, int, tid, uintptr_t, dst)
{
	int err = check_task(tid);

	return err ? err : put_timespec(dst, TICK_NS);
}

SYSCALL1(sysinfo, uintptr_t, dst)
{
	struct {
		int64_t uptime;
		uint64_t loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
		uint16_t procs, pad;
		uint32_t pad2;
		uint64_t totalhigh, freehigh;
		uint32_t mem_unit;
	} s = {.uptime = (int64_t)(hal_clock_ns() / NS_PER_SEC), .mem_unit = 1};
	struct quire_counts c;
	struct process *p;
	irqflags_t flags;

	for (unsigned i = 0; i < ARRAY_SIZE(s.loads); i++)
		s.loads[i] = load_average(i, 16);
	quire_get_counts(&c);
	s.totalram = c.managed_pages * PAGE_SIZE;
	s.freeram = c.free_pages * PAGE_SIZE;
	s.sharedram = c.shmem_pages * PAGE_SIZE;
	s.totalswap = c.swap_pages * PAGE_SIZE;
	s.freeswap = c.free_swap_pages * PAGE_SIZE;
	spin_lock_irqsave(&tasks_lock, flags);
	list_for_each_entry(p, &all_processes, all)
		s.procs++;
	spin_unlock_irqrestore(&tasks_lock, flags);
	return COPY_OUT(dst, s);
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

SYSCALL3(prctl, unsigned long, option, unsigned long, arg2, unsigned long, arg3)
{
	struct process *p = current->proc;
	char name[16] = {0};
	irqflags_t flags;

	switch (option) {
	case PR_SET_NAME:
		if (copy_string(name, arg2, sizeof(name)) == -EFAULT)
			return -EFAULT;
		name[15] = '\0';
		spin_lock_irqsave(&tasks_lock, flags);
		task_set_name(current, name);
		spin_unlock_irqrestore(&tasks_lock, flags);
		return 0;
	case PR_GET_NAME:
		spin_lock_irqsave(&tasks_lock, flags);
		memcpy(name, current->name, sizeof(name));
		spin_unlock_irqrestore(&tasks_lock, flags);
		return COPY_OUT(arg2, name);
	case PR_GET_DUMPABLE:
		return 1;
	case PR_CAPBSET_READ:
		return arg2 <= CAP_LAST_CAP ? 1 : -EINVAL;
	case PR_SET_MM:
		return capable(CAP_SYS_RESOURCE) ? set_mm(p->mm, arg2, arg3) : -EPERM;
	case PR_SET_PDEATHSIG:
	case PR_SET_DUMPABLE:
	case PR_CAPBSET_DROP:
	case PR_SET_NO_NEW_PRIVS:
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL3(reboot, uint32_t, magic, uint32_t, magic2, uint32_t, cmd)
{
	if (magic != LINUX_REBOOT_MAGIC1)
		return -EINVAL;
	switch (cmd) {
	case LINUX_REBOOT_CMD_HALT:
	case LINUX_REBOOT_CMD_POWER_OFF:
	case LINUX_REBOOT_CMD_RESTART:
		hal_exit(0);
	default:
		return 0;
	}
}

/* Calls of one machine only. */
SYSCALL0(arch_prctl)
{
	return hal_arch_syscall(current->utf, "arch_prctl");
}

SYSCALL0(riscv_flush_icache)
{
	return hal_arch_syscall(current->utf, "riscv_flush_icache");
}
