/* SPDX-License-Identifier: MIT */
/*
 * mmap, munmap, mprotect, mremap, brk, madvise and the other memory system calls: arguments to the
 * core, descriptors to files. No policy.
 */
#include "kernel.h"
#include "kernel/swapfile.h"

#define PIECE_MAX 256 /* bytes that process_vm_readv moves at a time */


static struct quire_mm *mm(void)
{
	return current->proc->mm;
}

/* personality(): what can be read can be executed. */
unsigned long implied_prot(unsigned long prot)
{
	return prot & PROT_READ && current->personality & READ_IMPLIES_EXEC ? prot | PROT_EXEC : prot;
}

SYSCALL6(mmap, uintptr_t, addr, size_t, len, unsigned long, prot, unsigned long, flags, int, fd,
	 uint64_t, off)
{
	struct quire_file *qf;
	struct fd f;
	long ret;

	/* Denying writers is the loader's own flag; programs may not ask. */
	flags &= ~(unsigned long)MAP_DENYWRITE;
	prot = implied_prot(prot);
	/* Linux checks this at the entry, for anonymous mappings too. */
	if (off % PAGE_SIZE)
		return -EINVAL;
	if (flags & MAP_ANONYMOUS)
		return quire_mmap(mm(), addr, len, prot, flags, NULL, off);
	f = fdget(fd);
	if (!f.file)
		return -EBADF;
	if (prot & PROT_WRITE && flags & MAP_SHARED && file_writable(f.file) && vnode_changeable(f.file->v)) {
		fdput(f);
		return -ETXTBSY;
	}
	qf = file_mapping(f.file);
	ret = qf ? quire_mmap(mm(), addr, len, prot, flags, qf, off) : -ENOMEM;
	fdput(f);
	return ret;
}

SYSCALL2(munmap, uintptr_t, addr, size_t, len)
{
	return quire_munmap(mm(), addr, len);
}

SYSCALL3(mprotect, uintptr_t, addr, size_t, len, unsigned long, prot)
{
	return quire_mprotect(mm(), addr, len, implied_prot(prot));
}
SYSCALL5(mremap, uintptr_t, addr, size_t, old_len, size_t, new_len, unsigned long, flags,
	 uintptr_t, new_addr)
{
	return quire_mremap(mm(), addr, old_len, new_len, flags, new_addr);
}
SYSCALL1(brk, uintptr_t, end)
{
	uintptr_t old, now;

	if (likely(!(current->personality & READ_IMPLIES_EXEC)))
		return (long)quire_brk(mm(), end);
	old = ALIGN_UP(quire_brk(mm(), 0), PAGE_SIZE);
	now = quire_brk(mm(), end);
	if (now > old) /* the heap's new part, and only that */
		(void)quire_mprotect(mm(), old, ALIGN_UP(now, PAGE_SIZE) - old, PROT_READ | PROT_WRITE | PROT_EXEC);
	return (long)now;
}
SYSCALL3(madvise, uintptr_t, addr, size_t, len, int, advice)
{
	return quire_madvise(mm(), addr, len, advice);
}
SYSCALL2(mlock, uintptr_t, addr, size_t, len)
{
	return quire_mlock(mm(), addr, len, 0);
}

SYSCALL3(mlock2, uintptr_t, addr, size_t, len, unsigned long, flags)
{
	return flags & ~(unsigned long)MLOCK_ONFAULT ? -EINVAL
				 : quire_mlock(mm(), addr, len, (unsigned)flags);
}

SYSCALL2(munlock, uintptr_t, addr, size_t, len)
{
	return quire_munlock(mm(), addr, len);
}

SYSCALL1(mlockall, unsigned, flags)
{
	return quire_mlockall(mm(), flags);
}

SYSCALL0(munlockall)
{
	return quire_munlockall(mm());
}

SYSCALL3(msync, uintptr_t, addr, size_t, len, int, flags)
{
	return quire_msync(mm(), addr, len, flags);
}

SYSCALL3(mincore, uintptr_t, addr, size_t, len, uintptr_t, vec)
{
	return quire_mincore(mm(), addr, len, vec);
}

SYSCALL5(remap_file_pages, uintptr_t, addr, size_t, len, unsigned long, prot, size_t, pgoff,
	 unsigned long, flags)
{
	return quire_remap_file_pages(mm(), addr, len, prot, pgoff, flags);
}

/* ---- advice to another process ----------------------------------------------------------------- */

/* May the caller look into p? It has all the rights that p has, or the one to look into anybody. */
static bool may_look_into(struct process *p)
{
	irqflags_t flags;
	bool may;

	spin_lock_irqsave(&tasks_lock, flags);
	may = p == current->proc || !(p->cap_permitted & ~current->proc->cap_effective);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return may || capable(CAP_SYS_PTRACE);
}

/* All of the vector is looked at before anything is done. total: bytes. */
static int check_vector(uintptr_t vec, unsigned long n, uint64_t *total)
{
	struct iovec iov;

	*total = 0;
	if (n > MAX_IOV)
		return -EINVAL;
	for (unsigned long i = 0; i < n; i++) {
		if (COPY_IN(iov, vec + i * sizeof(iov)))
			return -EFAULT;
		if ((int64_t)iov.len < 0)
			return -EINVAL;
		*total += iov.len;
	}
	return 0;
}

/* Piece by piece until one is refused: bytes, or why the first one was. */
static long advise_pieces(struct quire_mm *mm, uintptr_t vec, unsigned long n, int advice)
{
	struct iovec iov;
	long done = 0, err = 0;

	for (unsigned long i = 0; i < n && !err; i++) {
		err = COPY_IN(iov, vec + i * sizeof(iov)) ? -EFAULT : quire_madvise(mm, iov.base, iov.len, advice);
		if (!err)
			done += (long)iov.len;
	}
	return done ? done : err;
}

static long advise_process(struct process *p, uintptr_t vec, unsigned long n, int advice)
{
	struct quire_mm *mm;
	long r;

	if (advice != MADV_COLD && advice != MADV_PAGEOUT)
		return -EINVAL;
	mm = get_task_mm(p);
	if (!mm)
		return -ESRCH;
	r = !may_look_into(p) ? -EACCES : !capable(CAP_SYS_NICE) ? -EPERM : advise_pieces(mm, vec, n, advice);
	quire_mm_put(mm);
	return r;
}

SYSCALL5(process_madvise, int, fd, uintptr_t, vec, unsigned long, n, int, advice, unsigned, flags)
{
	struct process *p;
	uint64_t total;
	long r;

	if (flags)
		return -EINVAL;
	r = check_vector(vec, n, &total);
	if (!r)
		r = pidfd_process(fd, &p);
	if (r)
		return r;
	r = advise_process(p, vec, n, advice);
	process_put(p);
	return r;
}

/* ---- another process's memory ---------------------------------------------------------------- */

/* One side of a copy between processes: the iovecs still to come, the rest of the present one. */
struct pieces {
	uintptr_t vec;
	unsigned long left;
	uint64_t at, n;
};

/* Goes to the next piece that has bytes, unless this one still has. */
static int next_piece(struct pieces *p)
{
	struct iovec iov;

	for (; !p->n && p->left; p->left--, p->vec += sizeof(iov)) {
		if (COPY_IN(iov, p->vec))
			return -EFAULT;
		p->at = iov.base;
		p->n = iov.len;
	}
	return 0;
}

static bool copy_piece(struct quire_mm *mm, uintptr_t local, uintptr_t remote, size_t n, bool write)
{
	char tmp[PIECE_MAX];

	if (write)
		return !hal_copy_from_user(tmp, local, n) &&
		       quire_mm_write(mm, remote, tmp, n) == n;
	return quire_mm_read(mm, remote, tmp, n) == n && !hal_copy_to_user(local, tmp, n);
}

static long copy_pieces(struct quire_mm *mm, struct pieces local, struct pieces remote, bool write)
{
	long total = 0;

	for (;;) {
		size_t n;

		if (next_piece(&local) || next_piece(&remote))
			return -EFAULT;
		n = min(min(local.n, remote.n), (uint64_t)PIECE_MAX);
		if (!n)
			return total;
		if (!copy_piece(mm, local.at, remote.at, n, write))
			return total ? total : -EFAULT;
		total += (long)n;
		local.at += n;
		local.n -= n;
		remote.at += n;
		remote.n -= n;
	}
}

/* Another process's memory, or one's own, piece by piece. */
static long vm_copy(int pid, struct pieces local, struct pieces remote, unsigned long flags,
		    bool write)
{
	struct quire_mm *mm;
	struct process *p;
	long r;

	if (local.left > MAX_IOV || remote.left > MAX_IOV || flags)
		return -EINVAL;
	p = pid > 0 ? process_get_pid(pid) : NULL;
	if (!p)
		return -ESRCH;
	mm = get_task_mm(p);
	process_put(p);
	if (!mm)
		return -ESRCH;
	r = copy_pieces(mm, local, remote, write);
	quire_mm_put(mm);
	return r;
}

SYSCALL6(process_vm_readv, int, pid, uintptr_t, local, unsigned long, nr_local, uintptr_t, remote,
	 unsigned long, nr_remote, unsigned long, flags)
{
	return vm_copy(pid, (struct pieces){.vec = local, .left = nr_local},
		       (struct pieces){.vec = remote, .left = nr_remote}, flags, false);
}

SYSCALL6(process_vm_writev, int, pid, uintptr_t, local, unsigned long, nr_local, uintptr_t, remote,
	 unsigned long, nr_remote, unsigned long, flags)
{
	return vm_copy(pid, (struct pieces){.vec = local, .left = nr_local},
		       (struct pieces){.vec = remote, .left = nr_remote}, flags, true);
}
