/* SPDX-License-Identifier: MIT */
/* Linux's constants by name: one table each, searched from the front. */
#include "names.h"
#include "text.h"

struct name {
	const char *name;
	uint64_t value;
};

static const struct name consts[] = {
	{ "NULL", 0 },
	{ "PROT_NONE", 0 }, { "PROT_READ", 1 }, { "PROT_WRITE", 2 }, { "PROT_EXEC", 4 },
	{ "PROT_SEM", 8 }, { "PROT_GROWSDOWN", 0x01000000 }, { "PROT_GROWSUP", 0x02000000 },
	{ "MAP_FILE", 0 }, { "MAP_SHARED", 1 }, { "MAP_PRIVATE", 2 },
	{ "MAP_SHARED_VALIDATE", 3 }, { "MAP_FIXED", 0x10 }, { "MAP_ANONYMOUS", 0x20 },
	{ "MAP_ANON", 0x20 }, { "MAP_32BIT", 0x40 }, { "MAP_GROWSDOWN", 0x100 },
	{ "MAP_DENYWRITE", 0x800 }, { "MAP_EXECUTABLE", 0x1000 }, { "MAP_LOCKED", 0x2000 },
	{ "MAP_NORESERVE", 0x4000 }, { "MAP_POPULATE", 0x8000 }, { "MAP_NONBLOCK", 0x10000 },
	{ "MAP_STACK", 0x20000 }, { "MAP_HUGETLB", 0x40000 }, { "MAP_SYNC", 0x80000 },
	{ "MAP_FIXED_NOREPLACE", 0x100000 }, { "MAP_UNINITIALIZED", 0x4000000 },
	{ "MREMAP_MAYMOVE", 1 }, { "MREMAP_FIXED", 2 }, { "MREMAP_DONTUNMAP", 4 },
	{ "MADV_NORMAL", 0 }, { "MADV_RANDOM", 1 }, { "MADV_SEQUENTIAL", 2 },
	{ "MADV_WILLNEED", 3 }, { "MADV_DONTNEED", 4 }, { "MADV_FREE", 8 }, { "MADV_REMOVE", 9 },
	{ "MADV_DONTFORK", 10 }, { "MADV_DOFORK", 11 }, { "MADV_MERGEABLE", 12 },
	{ "MADV_UNMERGEABLE", 13 }, { "MADV_HUGEPAGE", 14 }, { "MADV_NOHUGEPAGE", 15 },
	{ "MADV_DONTDUMP", 16 }, { "MADV_DODUMP", 17 }, { "MADV_WIPEONFORK", 18 },
	{ "MADV_KEEPONFORK", 19 }, { "MADV_COLD", 20 }, { "MADV_PAGEOUT", 21 },
	{ "MADV_POPULATE_READ", 22 }, { "MADV_POPULATE_WRITE", 23 },
	{ "MADV_DONTNEED_LOCKED", 24 }, { "MADV_COLLAPSE", 25 }, { "MADV_HWPOISON", 100 },
	{ "MADV_GUARD_INSTALL", 102 }, { "MADV_GUARD_REMOVE", 103 },
	{ "MCL_CURRENT", 1 }, { "MCL_FUTURE", 2 }, { "MCL_ONFAULT", 4 }, { "MLOCK_ONFAULT", 1 },
	{ "MS_ASYNC", 1 }, { "MS_INVALIDATE", 2 }, { "MS_SYNC", 4 },
	{ "RLIMIT_CPU", 0 }, { "RLIMIT_FSIZE", 1 }, { "RLIMIT_DATA", 2 }, { "RLIMIT_STACK", 3 },
	{ "RLIMIT_CORE", 4 }, { "RLIMIT_RSS", 5 }, { "RLIMIT_NPROC", 6 }, { "RLIMIT_NOFILE", 7 },
	{ "RLIMIT_MEMLOCK", 8 }, { "RLIMIT_AS", 9 }, { "RLIM_INFINITY", ~0ull },
	{ "O_RDONLY", 0 }, { "O_WRONLY", 1 }, { "O_RDWR", 2 }, { "O_CREAT", 0100 },
	{ "O_EXCL", 0200 }, { "O_TRUNC", 01000 }, { "O_APPEND", 02000 },
	{ "O_DIRECTORY", 0200000 }, { "O_CLOEXEC", 02000000 }, { "O_PATH", 010000000 },
	{ "MFD_CLOEXEC", 1 }, { "MFD_ALLOW_SEALING", 2 }, { "MFD_HUGETLB", 4 },
	{ "FALLOC_FL_KEEP_SIZE", 1 }, { "FALLOC_FL_PUNCH_HOLE", 2 },
	{ "FALLOC_FL_ZERO_RANGE", 0x10 },
	{ "F_SEAL_SEAL", 1 }, { "F_SEAL_SHRINK", 2 }, { "F_SEAL_GROW", 4 }, { "F_SEAL_WRITE", 8 },
	{ "F_SEAL_FUTURE_WRITE", 16 },
	{ "SWAP_FLAG_DISCARD", 0x10000 }, { "SWAP_FLAG_PREFER", 0x8000 },
};

static const struct name errnos[] = {
	{ "EPERM", 1 }, { "ENOENT", 2 }, { "ESRCH", 3 }, { "EINTR", 4 }, { "EIO", 5 },
	{ "ENXIO", 6 }, { "E2BIG", 7 }, { "ENOEXEC", 8 }, { "EBADF", 9 }, { "ECHILD", 10 },
	{ "EAGAIN", 11 }, { "ENOMEM", 12 }, { "EACCES", 13 }, { "EFAULT", 14 }, { "EBUSY", 16 },
	{ "EEXIST", 17 }, { "EXDEV", 18 }, { "ENODEV", 19 }, { "ENOTDIR", 20 }, { "EISDIR", 21 },
	{ "EINVAL", 22 }, { "ENFILE", 23 }, { "EMFILE", 24 }, { "ENOTTY", 25 },
	{ "ETXTBSY", 26 }, { "EFBIG", 27 }, { "ENOSPC", 28 }, { "ESPIPE", 29 }, { "EROFS", 30 },
	{ "EPIPE", 32 }, { "ERANGE", 34 }, { "ENAMETOOLONG", 36 }, { "ENOSYS", 38 },
	{ "EOVERFLOW", 75 }, { "EOPNOTSUPP", 95 }, { "ENOBUFS", 105 },
};

static const struct name signals[] = {
	{ "SIGHUP", 1 }, { "SIGINT", 2 }, { "SIGILL", 4 }, { "SIGTRAP", 5 }, { "SIGABRT", 6 },
	{ "SIGBUS", 7 }, { "SIGFPE", 8 }, { "SIGKILL", 9 }, { "SIGSEGV", 11 }, { "SIGPIPE", 13 },
	{ "SIGALRM", 14 }, { "SIGTERM", 15 },
};

/* value: signal << 8 | code */
#define CODE(sig, code) ((sig) << 8 | (code))
static const struct name codes[] = {
	{ "SEGV_MAPERR", CODE(11, 1) }, { "SEGV_ACCERR", CODE(11, 2) },
	{ "SEGV_PKUERR", CODE(11, 4) }, { "SI_KERNEL", CODE(11, 0x80) },
	{ "BUS_ADRALN", CODE(7, 1) }, { "BUS_ADRERR", CODE(7, 2) },
	{ "BUS_MCEERR_AR", CODE(7, 4) }, { "ILL_ILLOPC", CODE(4, 1) },
	{ "ILL_ILLOPN", CODE(4, 2) }, { "TRAP_BRKPT", CODE(5, 1) }, { "FPE_INTDIV", CODE(8, 1) },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct name *by_name(const struct name *tab, size_t count, const char *p, size_t n)
{
	for (size_t i = 0; i < count; i++)
		if (mem_is(p, n, tab[i].name))
			return &tab[i];
	return NULL;
}

static const char *by_value(const struct name *tab, size_t count, uint64_t value)
{
	for (size_t i = 0; i < count; i++)
		if (tab[i].value == value)
			return tab[i].name;
	return NULL;
}

bool const_by_name(const char *p, size_t n, uint64_t *value)
{
	const struct name *e = by_name(consts, COUNT(consts), p, n);

	if (e)
		*value = e->value;
	return e;
}

int errno_by_name(const char *p, size_t n)
{
	const struct name *e = by_name(errnos, COUNT(errnos), p, n);

	return e ? (int)e->value : 0;
}

int signal_by_name(const char *p, size_t n)
{
	const struct name *e = by_name(signals, COUNT(signals), p, n);

	return e ? (int)e->value : 0;
}

int code_by_name(const char *p, size_t n, int sig)
{
	const struct name *e = by_name(codes, COUNT(codes), p, n);

	return e && (int)(e->value >> 8) == sig ? (int)(e->value & 0xff) : -1;
}

const char *errno_name(int err)
{
	return by_value(errnos, COUNT(errnos), (uint64_t)err);
}

const char *signal_name(int sig)
{
	return by_value(signals, COUNT(signals), (uint64_t)sig);
}

const char *code_name(int sig, int code)
{
	return by_value(codes, COUNT(codes), (uint64_t)CODE(sig, code));
}
