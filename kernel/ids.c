/* SPDX-License-Identifier: MIT */
/*
 * Identity and permissions of a process: pid, uid, groups, sessions, limits (RLIMIT_*) and
 * capabilities (CAP_*). There is one user, root.
 */
#include "kernel.h"

uint64_t rlimit_cur(struct process *p, int which)
{
	return which >= 0 && which < RLIM_NLIMITS ? p->rlim[which].cur : RLIM_INFINITY;
}

uint64_t rlimit_max(struct process *p, int which)
{
	return which >= 0 && which < RLIM_NLIMITS ? p->rlim[which].max : RLIM_INFINITY;
}

bool capable(int cap)
{
	return current->proc->cap_effective >> cap & 1;
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
	return current->proc->parent ? current->proc->parent->pid : 0;
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

SYSCALL1(getpgid, int, pid)
{
	struct process *p = pid ? process_by_pid(pid) : current->proc;

	return p ? p->pgid : -ESRCH;
}

SYSCALL0(getpgrp)
{
	return current->proc->pgid;
}

SYSCALL2(setpgid, int, pid, int, pgid)
{
	struct process *p = pid ? process_by_pid(pid) : current->proc;

	if (pgid < 0)
		return -EINVAL;
	if (!p || (p != current->proc && p->parent != current->proc))
		return -ESRCH;
	p->pgid = pgid ? pgid : p->pid;
	return 0;
}

SYSCALL1(getsid, int, pid)
{
	struct process *p = pid ? process_by_pid(pid) : current->proc;

	return p ? p->sid : -ESRCH;
}

SYSCALL0(setsid)
{
	struct process *p = current->proc;

	if (p->pgid == p->pid)
		return -EPERM;
	p->sid = p->pgid = p->pid;
	return p->pid;
}

SYSCALL1(set_tid_address, uintptr_t, addr)
{
	current->clear_child_tid = addr;
	return current->tid;
}

/* ---- limits and capabilities ----------------------------------------------------------------- */

SYSCALL4(prlimit64, int, pid, unsigned long, which, uintptr_t, new_src, uintptr_t, old_dst)
{
	struct process *p = pid ? process_by_pid(pid) : current->proc;
	struct rlimit old, new;

	if (!p)
		return -ESRCH;
	if (which >= RLIM_NLIMITS)
		return -EINVAL;
	old = p->rlim[which];
	if (new_src) {
		if (COPY_IN(new, new_src))
			return -EFAULT;
		if (new.cur > new.max)
			return -EINVAL;
		if (new.max > old.max && !capable(CAP_SYS_RESOURCE))
			return -EPERM;
		p->rlim[which] = new;
	}
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

	if (COPY_IN(header, header_at))
		return -EFAULT;
	if (header[0] != _LINUX_CAPABILITY_VERSION_3) {
		header[0] = _LINUX_CAPABILITY_VERSION_3;
		hal_copy_to_user(header_at, header, sizeof(header[0]));
		return data_dst ? -EINVAL : 0;
	}
	p = header[1] ? process_by_pid((int)header[1]) : current->proc;
	if (!p)
		return -ESRCH;
	for (int i = 0; i < 2; i++) {
		data[3 * i] = (uint32_t)(p->cap_effective >> 32 * i);
		data[3 * i + 1] = (uint32_t)(p->cap_permitted >> 32 * i);
		data[3 * i + 2] = (uint32_t)(p->cap_inheritable >> 32 * i);
	}
	return data_dst ? COPY_OUT(data_dst, data) : 0;
}

SYSCALL2(capset, uintptr_t, header_at, uintptr_t, data_src)
{
	struct process *p = current->proc;
	uint64_t eff, perm, inh;
	uint32_t header[2], d[6];

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
	if (perm & ~p->cap_permitted || eff & ~perm)
		return -EPERM;
	p->cap_effective = eff;
	p->cap_permitted = perm;
	p->cap_inheritable = inh & ALL_CAPS;
	return 0;
}
