/* SPDX-License-Identifier: MIT */
/*
 * The memory system calls: arguments to the core, descriptors to files. No policy.
 *
 * Populating is counted as faults of the caller, as on Linux, but the core only tells it of the
 * space: what the space has got more than the task during such a call is the task's too.
 */
#include "kernel.h"

static struct quire_mm *mm(void)
{
	return current->proc->mm;
}

static struct usage count_start(void)
{
	struct usage *u = &current->usage, c = {0};

	quire_mm_faults(mm(), &c.min_flt, &c.maj_flt);
	c.min_flt -= u->min_flt;
	c.maj_flt -= u->maj_flt;
	return c;
}

static long count_end(const struct usage *start, long ret)
{
	struct usage *u = &current->usage;

	quire_mm_faults(mm(), &u->min_flt, &u->maj_flt);
	u->min_flt -= start->min_flt;
	u->maj_flt -= start->maj_flt;
	return ret;
}

SYSCALL(mmap)
{
	struct usage c;
	struct quire_file *qf = NULL;
	struct file *f;

	/* Linux checks this at the entry, for anonymous mappings too. */
	if (a[5] % PAGE_SIZE)
		return -EINVAL;
	if (!(a[3] & MAP_ANONYMOUS)) {
		f = fd_file((int)a[4]);
		if (!f)
			return -EBADF;
		qf = file_mapping(f);
		if (!qf)
			return -ENOMEM;
	}
	c = count_start();
	return count_end(&c, quire_mmap(mm(), a[0], a[1], a[2], a[3], qf, a[5]));
}

SYSCALL(munmap) { return quire_munmap(mm(), a[0], a[1]); }
SYSCALL(mprotect)
{
	struct usage c = count_start();

	return count_end(&c, quire_mprotect(mm(), a[0], a[1], a[2]));
}
SYSCALL(mremap)
{
	struct usage c = count_start();

	return count_end(&c, quire_mremap(mm(), a[0], a[1], a[2], a[3], a[4]));
}
SYSCALL(brk)
{
	struct usage c = count_start();

	return count_end(&c, (long)quire_brk(mm(), a[0]));
}
SYSCALL(madvise)
{
	struct usage c = count_start();

	return count_end(&c, quire_madvise(mm(), a[0], a[1], (int)a[2]));
}
SYSCALL(mlock)
{
	struct usage c = count_start();

	return count_end(&c, quire_mlock(mm(), a[0], a[1], 0));
}

SYSCALL(mlock2)
{
	struct usage c = count_start();

	return count_end(&c, a[2] & ~1ul ? -EINVAL
					 : quire_mlock(mm(), a[0], a[1], (unsigned)a[2]));
}

SYSCALL(munlock) { return quire_munlock(mm(), a[0], a[1]); }
SYSCALL(mlockall)
{
	struct usage c = count_start();

	return count_end(&c, quire_mlockall(mm(), (unsigned)a[0]));
}

SYSCALL(munlockall)
{
	(void)a;
	return quire_munlockall(mm());
}

SYSCALL(msync) { return quire_msync(mm(), a[0], a[1], (int)a[2]); }
SYSCALL(mincore) { return quire_mincore(mm(), a[0], a[1], a[2]); }

SYSCALL(remap_file_pages)
{
	struct usage c = count_start();

	return count_end(&c, quire_remap_file_pages(mm(), a[0], a[1], a[2], a[3], a[4]));
}

SYSCALL(membarrier)
{
	/* One CPU runs tasks: every switch is a barrier. 0: ask what there is. */
	return a[0] == 0 ? 1 : a[0] == 1 ? 0 : -EINVAL;
}
