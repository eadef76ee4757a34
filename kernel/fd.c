/* SPDX-License-Identifier: MIT */
/*
 * File descriptors (close, dup, fcntl, ioctl, fsync): the table of a process, from a number to an
 * open file. close, dup and its relatives, fcntl, ioctl, and the calls that only want the
 * descriptor to be there.
 */
#include "kernel.h"

struct open_file *fd_file(int fd)
{
	return fd >= 0 && fd < MAX_FDS ? current->proc->fds->file[fd] : NULL;
}

/* The lowest free descriptor from `from` on, below the limit. Takes f over if it succeeds. */
static int fd_install_from(struct open_file *f, bool cloexec, int from)
{
	struct fd_table *t = current->proc->fds;
	uint64_t limit = rlimit_cur(current->proc, RLIMIT_NOFILE);

	for (int fd = from; fd < MAX_FDS && (uint64_t)fd < limit; fd++) {
		if (t->file[fd])
			continue;
		t->file[fd] = f;
		t->cloexec[fd] = cloexec;
		return fd;
	}
	return -EMFILE;
}

int fd_install(struct open_file *f, bool cloexec)
{
	return fd_install_from(f, cloexec, 0);
}

static long close_fd(int fd)
{
	struct open_file *f = fd_file(fd);

	if (!f)
		return -EBADF;
	current->proc->fds->file[fd] = NULL;
	current->proc->fds->cloexec[fd] = false;
	file_put(f);
	return 0;
}

SYSCALL1(close, int, fd)
{
	return close_fd(fd);
}

SYSCALL3(close_range, unsigned long, first, unsigned long, last, unsigned long, flags)
{
	if (first > last || flags)
		return -EINVAL;
	for (unsigned long fd = first; fd <= last && fd < MAX_FDS; fd++)
		close_fd((int)fd);
	return 0;
}

/* Closes what was there, without a gap in which another thread could take the number. */
static long dup_to(int old, int new, bool cloexec)
{
	struct fd_table *t = current->proc->fds;
	struct open_file *f = fd_file(old);

	if (!f || new < 0 || new >= MAX_FDS)
		return -EBADF;
	f->refs++;
	if (t->file[new])
		file_put(t->file[new]);
	t->file[new] = f;
	t->cloexec[new] = cloexec;
	return new;
}

static long dup_from(int old, int from, bool cloexec)
{
	struct open_file *f = fd_file(old);
	int fd;

	if (!f)
		return -EBADF;
	if (from < 0 || from >= MAX_FDS)
		return -EINVAL;
	fd = fd_install_from(f, cloexec, from);
	if (fd >= 0)
		f->refs++;
	return fd;
}

SYSCALL1(dup, int, fd)
{
	return dup_from(fd, 0, false);
}

SYSCALL2(dup2, int, old, int, new)
{
	if (old == new)
		return fd_file(old) ? old : -EBADF;
	return dup_to(old, new, false);
}

SYSCALL3(dup3, int, old, int, new, unsigned long, flags)
{
	if (old == new || flags & ~(unsigned long)O_CLOEXEC)
		return -EINVAL;
	return dup_to(old, new, flags & O_CLOEXEC);
}

/* F_SETFL changes these and silently ignores the others. */
static long set_flags(struct open_file *f, unsigned flags)
{
	const unsigned may = O_APPEND | O_NONBLOCK;

	f->flags = (f->flags & ~may) | (flags & may);
	return 0;
}

SYSCALL3(fcntl, int, fd, unsigned, cmd, unsigned long, arg)
{
	struct open_file *f = fd_file(fd);
	struct fd_table *t = current->proc->fds;

	if (!f)
		return -EBADF;
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return dup_from(fd, (int)arg, cmd == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return t->cloexec[fd];
	case F_SETFD:
		t->cloexec[fd] = arg & FD_CLOEXEC;
		return 0;
	case F_GETFL:
		return f->flags;
	case F_SETFL:
		return set_flags(f, (unsigned)arg);
	case F_ADD_SEALS:
		return memfd_add_seals(f, (unsigned)arg);
	case F_GET_SEALS:
		return f->memfd ? (long)file_seals(f) : -EINVAL;
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
		return (f->v->mode & S_IFMT) == S_IFIFO ? 65536 : -EBADF;
	case F_GETLK: /* no lock is ever held */
	case F_SETLK:
	case F_SETLKW:
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL3(ioctl, int, fd, unsigned, cmd, unsigned long, arg)
{
	struct open_file *f = fd_file(fd);

	if (!f || f->flags & O_PATH)
		return -EBADF;
	return f->ops && f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOTTY;
}

/* The calls that only want the descriptor to be there. */
static long sync_fd(int fd)
{
	return fd_file(fd) ? 0 : -EBADF; /* memory is all there is */
}

SYSCALL1(fsync, int, fd)
{
	return sync_fd(fd);
}

SYSCALL1(fdatasync, int, fd)
{
	return sync_fd(fd);
}

SYSCALL1(flock, int, fd)
{
	return sync_fd(fd);
}

SYSCALL0(sync)
{
	return 0;
}
