/* SPDX-License-Identifier: MIT */
/*
 * Identity and permissions of a process: pid, uid, groups, sessions, limits (RLIMIT_*) and
 * capabilities (CAP_*). There is one user, root.
 */
#include "kernel.h"

/* One word each: no lock. */
bool capable(int cap)
{
	return READ_ONCE(current->proc->cap_effective) >> cap & 1;
}

/* ---- numbers --------------------------------------------------------------------------------- */

SYSCALL0(getpid)
{
	return current->proc->pid;
}

SYSCALL0(gettid)
{
	return current->tid;
}

SYSCALL0(getppid)
{
	return READ_ONCE(current->proc->ppid);
}

SYSCALL0(getuid)
{
	return 0;
}

SYSCALL0(geteuid)
{
	return 0;
}

SYSCALL0(getgid)
{
	return 0;
}

SYSCALL0(getegid)
{
	return 0;
}

SYSCALL0(getgroups)
{
	return 0;
}

/* Only changes to what one is already are allowed. */
static long set_id(unsigned long id)
{
	return id == 0 || (int)id == -1 ? 0 : -EPERM; /* there is one user */
}

SYSCALL1(setuid, unsigned long, id)
{
	return set_id(id);
}

SYSCALL1(setgid, unsigned long, id)
{
	return set_id(id);
}

SYSCALL2(setresuid, unsigned long, ruid, unsigned long, euid)
{
	return set_id(euid);
}

SYSCALL2(setresgid, unsigned long, rgid, unsigned long, egid)
{
	return set_id(egid);
}

/* The process of that number, 0: the running one; NULL: there is none. tasks_lock is held. */
static struct process *process_or_self(int pid)
{
	return pid ? find_process(pid) : current->proc;
}

SYSCALL1(getpgid, int, pid)
{
	struct process *p;
	irqflags_t flags;
	int pgid;

	spin_lock_irqsave(&tasks_lock, flags);
	p = process_or_self(pid);
	pgid = p ? p->pgid : -ESRCH;
	spin_unlock_irqrestore(&tasks_lock, flags);
	return pgid;
}

SYSCALL0(getpgrp)
{
	return current->proc->pgid;
}

SYSCALL2(setpgid, int, pid, int, pgid)
{
	struct process *p;
	irqflags_t flags;
	int err = -ESRCH;

	if (pgid < 0)
		return -EINVAL;
	spin_lock_irqsave(&tasks_lock, flags);
	p = process_or_self(pid);
	if (p && (p == current->proc || p->parent == current->proc)) {
		p->pgid = pgid ? pgid : p->pid;
		err = 0;
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return err;
}

SYSCALL1(getsid, int, pid)
{
	struct process *p;
	irqflags_t flags;
	int sid;

	spin_lock_irqsave(&tasks_lock, flags);
	p = process_or_self(pid);
	sid = p ? p->sid : -ESRCH;
	spin_unlock_irqrestore(&tasks_lock, flags);
	return sid;
}

SYSCALL0(setsid)
{
	struct process *p = current->proc;
	irqflags_t flags;
	int sid = -EPERM;

	spin_lock_irqsave(&tasks_lock, flags);
	if (p->pgid != p->pid)
		sid = p->sid = p->pgid = p->pid;
	spin_unlock_irqrestore(&tasks_lock, flags);
	return sid;
}

SYSCALL1(set_tid_address, uintptr_t, addr)
{
	current->clear_child_tid = addr;
	return current->tid;
}

/* ---- limits and capabilities ----------------------------------------------------------------- */

/* Both limits of one moment in *old, and new, unless it is NULL, in their place. */
static int exchange_limit(int pid, unsigned long which, const struct rlimit *new,
			  struct rlimit *old)
{
	bool may_raise = capable(CAP_SYS_RESOURCE);
	struct process *p;
	irqflags_t flags;
	int err = 0;

	spin_lock_irqsave(&tasks_lock, flags);
	p = process_or_self(pid);
	if (!p)
		err = -ESRCH;
	else if (which >= RLIM_NLIMITS || (new && new->cur > new->max))
		err = -EINVAL;
	else if (new && new->max > p->rlim[which].max && !may_raise)
		err = -EPERM;
	if (!err) {
		*old = p->rlim[which];
		if (new)
			p->rlim[which] = *new;
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return err;
}

SYSCALL4(prlimit64, int, pid, unsigned long, which, uintptr_t, new_src, uintptr_t, old_dst)
{
	struct rlimit old, new;
	int err;

	if (new_src && COPY_IN(new, new_src))
		return -EFAULT;
	err = exchange_limit(pid, which, new_src ? &new : NULL, &old);
	if (err)
		return err;
	return old_dst ? COPY_OUT(old_dst, old) : 0;
}

SYSCALL2(getrlimit, unsigned long, which, uintptr_t, dst)
{
	return sys_prlimit64(0, which, 0, dst);
}

SYSCALL2(setrlimit, unsigned long, which, uintptr_t, src)
{
	return src ? sys_prlimit64(0, which, src, 0) : -EFAULT;
}

SYSCALL2(capget, uintptr_t, header_at, uintptr_t, data_dst)
{
	uint32_t header[2], data[6];
	struct process *p;
	irqflags_t flags;

	if (COPY_IN(header, header_at))
		return -EFAULT;
	if (header[0] != _LINUX_CAPABILITY_VERSION_3) {
		header[0] = _LINUX_CAPABILITY_VERSION_3;
		hal_copy_to_user(header_at, header, sizeof(header[0]));
		return data_dst ? -EINVAL : 0;
	}
	spin_lock_irqsave(&tasks_lock, flags);
	p = process_or_self((int)header[1]);
	for (int i = 0; p && i < 2; i++) {
		data[3 * i] = (uint32_t)(p->cap_effective >> 32 * i);
		data[3 * i + 1] = (uint32_t)(p->cap_permitted >> 32 * i);
		data[3 * i + 2] = (uint32_t)(p->cap_inheritable >> 32 * i);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (!p)
		return -ESRCH;
	return data_dst ? COPY_OUT(data_dst, data) : 0;
}

SYSCALL2(capset, uintptr_t, header_at, uintptr_t, data_src)
{
	struct process *p = current->proc;
	uint64_t eff, perm, inh;
	uint32_t header[2], d[6];
	irqflags_t flags;
	int err = -EPERM;

	if (COPY_IN(header, header_at))
		return -EFAULT;
	if (header[0] != _LINUX_CAPABILITY_VERSION_3)
		return -EINVAL;
	if (COPY_IN(d, data_src))
		return -EFAULT;
	if (header[1] && (int)header[1] != p->pid)
		return -EPERM;
	eff = d[0] | (uint64_t)d[3] << 32;
	perm = d[1] | (uint64_t)d[4] << 32;
	inh = d[2] | (uint64_t)d[5] << 32;
	eff &= ALL_CAPS;
	perm &= ALL_CAPS;
	spin_lock_irqsave(&tasks_lock, flags);
	if (!(perm & ~p->cap_permitted) && !(eff & ~perm)) {
		p->cap_effective = eff;
		p->cap_permitted = perm;
		p->cap_inheritable = inh & ALL_CAPS;
		err = 0;
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return err;
}

/* ---- priorities ------------------------------------------------------------------------------ */

enum { PRIO_PROCESS, PRIO_PGRP, PRIO_USER };

#define NICE_MIN (-20)
#define NICE_MAX 19

/* Does p belong to whom get- and setpriority mean? A number of 0 is the caller's own; there is one
 * user. */
static bool has_priority_of(const struct process *p, int which, int who)
{
	switch (which) {
	case PRIO_PROCESS:
		return who ? p->pid == who : p == current->proc;
	case PRIO_PGRP:
		return p->pgid == (who ? who : current->proc->pgid);
	default:
		return who == 0;
	}
}

/* The answer is 20 - nice, of the one that is served best. */
SYSCALL2(getpriority, int, which, int, who)
{
	struct process *p;
	irqflags_t flags;
	int best = -ESRCH;

	if (which < PRIO_PROCESS || which > PRIO_USER)
		return -EINVAL;
	spin_lock_irqsave(&tasks_lock, flags);
	list_for_each_entry(p, &all_processes, all)
		if (has_priority_of(p, which, who))
			best = max(best, NICE_MAX + 1 - p->nice);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return best;
}

/* Kept and told; the scheduler gives everybody the same. */
SYSCALL3(setpriority, int, which, int, who, int, nice)
{
	bool may_raise = capable(CAP_SYS_NICE);
	struct process *p;
	irqflags_t flags;
	int err = -ESRCH;

	if (which < PRIO_PROCESS || which > PRIO_USER)
		return -EINVAL;
	nice = max(min(nice, NICE_MAX), NICE_MIN);
	spin_lock_irqsave(&tasks_lock, flags);
	list_for_each_entry(p, &all_processes, all) {
		if (!has_priority_of(p, which, who))
			continue;
		if (nice < p->nice && !may_raise &&
		    (uint64_t)(NICE_MAX + 1 - nice) > p->rlim[RLIMIT_NICE].cur) {
			err = -EACCES;
			continue;
		}
		p->nice = nice;
		if (err == -ESRCH)
			err = 0;
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return err;
}
