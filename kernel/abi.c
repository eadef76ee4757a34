/* SPDX-License-Identifier: MIT */
/*
 * User ABI differences between architectures: what Linux gives another shape on each of them,
 * namely struct stat, struct sigaction, the order of clone()'s arguments, who brings the code that
 * ends a signal handler. Chosen by the ELF machine number, once, here.
 */
#include "kernel.h"

/* Every architecture but x86-64 uses the kernel's generic layouts; so does the fake. */
static bool generic(void)
{
	return hal_elf_machine() != EM_X86_64;
}

struct stat_x86_64 {
	uint64_t dev, ino, nlink;
	uint32_t mode, uid, gid, pad;
	uint64_t rdev, size, blksize, blocks;
	uint64_t atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
	uint64_t unused[3];
};

struct stat_generic {
	uint64_t dev, ino;
	uint32_t mode, nlink, uid, gid;
	uint64_t rdev, pad;
	uint64_t size;
	uint32_t blksize, pad2;
	uint64_t blocks;
	uint64_t atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
	uint32_t unused[2];
};

int abi_put_stat(uintptr_t dst, const struct stat_info *s)
{
	uint64_t t = s->mtime_ns / NS_PER_SEC, ns = s->mtime_ns % NS_PER_SEC;
	struct stat_x86_64 x = {
		.dev = s->dev, .ino = s->ino, .nlink = s->nlink, .mode = s->mode, .rdev = s->rdev,
		.size = s->size, .blksize = PAGE_SIZE, .blocks = s->blocks, .atime = t,
		.atime_ns = ns, .mtime = t, .mtime_ns = ns, .ctime = t, .ctime_ns = ns,
	};
	struct stat_generic g = {
		.dev = s->dev, .ino = s->ino, .nlink = s->nlink, .mode = s->mode, .rdev = s->rdev,
		.size = s->size, .blksize = PAGE_SIZE, .blocks = s->blocks, .atime = t,
		.atime_ns = ns, .mtime = t, .mtime_ns = ns, .ctime = t, .ctime_ns = ns,
	};

	return generic() ? COPY_OUT(dst, g) : COPY_OUT(dst, x);
}

/* handler, flags, restorer (not on every machine), mask. */
int abi_get_sigaction(uintptr_t src, struct hal_sigaction *sa)
{
	unsigned long w[4] = {0};
	size_t n = generic() ? 3 : 4;

	if (hal_copy_from_user(w, src, n * sizeof(w[0])))
		return -EFAULT;
	*sa = (struct hal_sigaction){.handler = w[0], .flags = w[1],
				     .restorer = generic() ? 0 : w[2], .mask = w[n - 1]};
	return 0;
}

int abi_put_sigaction(uintptr_t dst, const struct hal_sigaction *sa)
{
	unsigned long w[4] = {sa->handler, sa->flags, generic() ? sa->mask : sa->restorer,
			      sa->mask};

	return hal_copy_to_user(dst, w, (generic() ? 3 : 4) * sizeof(w[0])) ? -EFAULT : 0;
}

/* Where data stands: without a gap on x86-64. */
size_t abi_epoll_event_size(void)
{
	return generic() ? 16 : 12;
}

int abi_get_epoll_event(uintptr_t src, struct epoll_event *e)
{
	uint32_t w[4] = {0};
	size_t n = abi_epoll_event_size();

	if (hal_copy_from_user(w, src, n))
		return -EFAULT;
	e->events = w[0];
	memcpy(&e->data, (char *)w + n - sizeof(e->data), sizeof(e->data));
	return 0;
}

int abi_put_epoll_event(uintptr_t dst, const struct epoll_event *e)
{
	uint32_t w[4] = {e->events};
	size_t n = abi_epoll_event_size();

	memcpy((char *)w + n - sizeof(e->data), &e->data, sizeof(e->data));
	return hal_copy_to_user(dst, w, n) ? -EFAULT : 0;
}

/* x86-64: ..., child tid, tls; the others: ..., tls, child tid. */
void abi_clone_args(unsigned long arg3, unsigned long arg4, unsigned long *tls,
		    unsigned long *ctid)
{
	*ctid = generic() ? arg4 : arg3;
	*tls = generic() ? arg3 : arg4;
}

#ifdef HAL_SIGRETURN_CODE
const void *hal_sigreturn_code(size_t *n);

static void *page; /* one for every program */

void abi_init(void)
{
	const void *code;
	size_t n;

	page = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	if (!page)
		return;
	code = hal_sigreturn_code(&n);
	memcpy(page, code, n);
	hal_icache_sync(page, PAGE_SIZE);
}

void abi_exit(void)
{
	if (page)
		quire_free_pages(page, 0);
	page = NULL;
}

unsigned long abi_map_sigreturn(struct quire_mm *mm)
{
	long at;

	if (!page)
		return 0;
	at = quire_mmap(mm, 0, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, NULL,
			0); /* finds the place */
	if (at < 0)
		return 0;
	quire_munmap(mm, (uintptr_t)at, PAGE_SIZE);
	if (quire_mm_install_special(mm, (uintptr_t)at, PAGE_SIZE, PROT_READ | PROT_EXEC,
				     (const void *const *)&page, "[vdso]"))
		return 0;
	return (unsigned long)at;
}
#else
void abi_init(void)
{
}

void abi_exit(void)
{
}

unsigned long abi_map_sigreturn(struct quire_mm *mm)
{
	return 0;
}
#endif
