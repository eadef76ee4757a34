/* SPDX-License-Identifier: MIT */
/* The memory system calls: arguments to the core, descriptors to files. No policy. */
#include "kernel.h"

#define MAP_ANONYMOUS 0x20ul

static struct quire_mm *mm(void)
{
	return current->proc->mm;
}

SYSCALL(mmap)
{
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
	return quire_mmap(mm(), a[0], a[1], a[2], a[3], qf, a[5]);
}

SYSCALL(munmap) { return quire_munmap(mm(), a[0], a[1]); }
SYSCALL(mprotect) { return quire_mprotect(mm(), a[0], a[1], a[2]); }
SYSCALL(mremap) { return quire_mremap(mm(), a[0], a[1], a[2], a[3], a[4]); }
SYSCALL(brk) { return (long)quire_brk(mm(), a[0]); }
SYSCALL(madvise) { return quire_madvise(mm(), a[0], a[1], (int)a[2]); }
SYSCALL(mlock) { return quire_mlock(mm(), a[0], a[1], 0); }

SYSCALL(mlock2)
{
	return a[2] & ~1ul ? -EINVAL : quire_mlock(mm(), a[0], a[1], (unsigned)a[2]);
}

SYSCALL(munlock) { return quire_munlock(mm(), a[0], a[1]); }
SYSCALL(mlockall) { return quire_mlockall(mm(), (unsigned)a[0]); }

SYSCALL(munlockall)
{
	(void)a;
	return quire_munlockall(mm());
}

SYSCALL(msync) { return quire_msync(mm(), a[0], a[1], (int)a[2]); }
SYSCALL(mincore) { return quire_mincore(mm(), a[0], a[1], a[2]); }

SYSCALL(remap_file_pages)
{
	return quire_remap_file_pages(mm(), a[0], a[1], a[2], a[3], a[4]);
}

SYSCALL(membarrier)
{
	/* One CPU runs tasks: every switch is a barrier. 0: ask what there is. */
	return a[0] == 0 ? 1 : a[0] == 1 ? 0 : -EINVAL;
}
