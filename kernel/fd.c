/* SPDX-License-Identifier: MIT */
/*
 * File descriptors: the table of a process, from a number to an open file. close, dup and its
 * relatives, fcntl, ioctl, and the calls that only want the descriptor to be there.
 *
 * The table's lock covers its slots and nothing else: whoever takes a file out of it lets the lock
 * go before the reference, for the last one closes. A call holds its file by fdget().
 */
#include "kernel.h"

/* ---- tables ---------------------------------------------------------------------------------- */

struct fd_table *files_new(void)
{
	struct fd_table *t = quire_kmalloc(sizeof(*t), QUIRE_GFP_ZERO);

	if (!t)
		return NULL;
	atomic_set(&t->refs, 1);
	spin_lock_init_rank(&t->lock, "fd_table", RANK_FILES);
	return t;
}

/* A descriptor that is only reserved is its caller's business, and free in the copy. */
struct fd_table *files_copy(struct fd_table *old, bool share)
{
	struct fd_table *t;

	if (share) {
		atomic_inc(&old->refs);
		return old;
	}
	t = files_new();
	if (!t)
		return NULL;
	spin_lock(&old->lock);
	for (int fd = 0; fd < MAX_FDS; fd++) {
		struct open_file *f = old->file[fd];

		if (!f)
			continue;
		file_get(f);
		t->file[fd] = f;
		t->taken[fd] = true;
		t->cloexec[fd] = old->cloexec[fd];
	}
	spin_unlock(&old->lock);
	return t;
}

void files_put(struct fd_table *t)
{
	if (!t || !atomic_dec_and_test(&t->refs))
		return;
	for (int fd = 0; fd < MAX_FDS; fd++)
		if (t->file[fd])
			file_put(t->file[fd]);
	quire_kfree(t);
}

struct fd_table *process_files(struct process *p)
{
	struct fd_table *t;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	t = p->fds;
	if (t)
		atomic_inc(&t->refs);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return t;
}

struct open_file *files_get_file(struct fd_table *t, unsigned fd)
{
	struct open_file *f = NULL;

	if (fd >= MAX_FDS)
		return NULL;
	spin_lock(&t->lock);
	f = t->file[fd];
	if (f)
		file_get(f);
	spin_unlock(&t->lock);
	return f;
}

int files_next(struct fd_table *t, unsigned fd)
{
	spin_lock(&t->lock);
	while (fd < MAX_FDS && !t->file[fd])
		fd++;
	spin_unlock(&t->lock);
	return fd < MAX_FDS ? (int)fd : -1;
}

/* Empties a slot: its file, with the table's reference; NULL: there was none. */
static struct open_file *take_out(struct fd_table *t, unsigned fd, bool if_cloexec)
{
	struct open_file *f;

	if (fd >= MAX_FDS)
		return NULL;
	spin_lock(&t->lock);
	f = if_cloexec && !t->cloexec[fd] ? NULL : t->file[fd];
	if (f) {
		t->file[fd] = NULL;
		t->taken[fd] = false;
		t->cloexec[fd] = false;
	}
	spin_unlock(&t->lock);
	return f;
}

void files_close_on_exec(struct fd_table *t)
{
	for (unsigned fd = 0; fd < MAX_FDS; fd++) {
		struct open_file *f = take_out(t, fd, true);

		if (f)
			file_put(f);
	}
}

/* ---- the caller's descriptors ---------------------------------------------------------------- */

/* Nobody else has this table: no other thread, and no other process shares it. Only the caller
 * itself could change that. */
static bool table_is_ours(const struct fd_table *t)
{
	return atomic_read(&t->refs) == 1 && READ_ONCE(current->proc->nr_threads) == 1;
}

struct fd fdget(int fd)
{
	struct fd_table *t = current->proc->fds;
	struct open_file *f;

	if ((unsigned)fd >= MAX_FDS)
		return (struct fd){NULL, false};
	if (likely(table_is_ours(t)))
		return (struct fd){t->file[fd], false};
	f = files_get_file(t, (unsigned)fd);
	return (struct fd){f, f};
}

bool fd_exists(int fd)
{
	struct fd f = fdget(fd);

	fdput(f);
	return f.file;
}

/* The lowest free descriptor from `from` on, below the limit; f (or NULL) goes there. */
static int take_free(struct open_file *f, bool cloexec, int from)
{
	struct fd_table *t = current->proc->fds;
	uint64_t limit = min(rlimit_cur(current->proc, RLIMIT_NOFILE), (uint64_t)MAX_FDS);
	unsigned fd = (unsigned)from;

	spin_lock(&t->lock);
	while (fd < limit && t->taken[fd])
		fd++;
	if (fd < limit) {
		t->taken[fd] = true;
		t->file[fd] = f;
		t->cloexec[fd] = cloexec;
	}
	spin_unlock(&t->lock);
	return fd < limit ? (int)fd : -EMFILE;
}

int fd_reserve(bool cloexec)
{
	return take_free(NULL, cloexec, 0);
}

int fd_add(struct open_file *f, bool cloexec)
{
	return take_free(f, cloexec, 0);
}

void fd_install(int fd, struct open_file *f)
{
	struct fd_table *t = current->proc->fds;

	spin_lock(&t->lock);
	ASSERT(t->taken[fd] && !t->file[fd]);
	t->file[fd] = f;
	spin_unlock(&t->lock);
}

void fd_unreserve(int fd)
{
	struct fd_table *t = current->proc->fds;

	spin_lock(&t->lock);
	ASSERT(t->taken[fd] && !t->file[fd]);
	t->taken[fd] = false;
	t->cloexec[fd] = false;
	spin_unlock(&t->lock);
}

/* ---- closing and doubling -------------------------------------------------------------------- */

static long close_fd(unsigned fd)
{
	struct open_file *f = take_out(current->proc->fds, fd, false);

	if (!f)
		return -EBADF;
	file_put(f);
	return 0;
}

SYSCALL1(close, int, fd)
{
	return close_fd((unsigned)fd);
}

SYSCALL3(close_range, unsigned long, first, unsigned long, last, unsigned long, flags)
{
	if (first > last || flags)
		return -EINVAL;
	for (unsigned long fd = first; fd <= last && fd < MAX_FDS; fd++)
		close_fd((unsigned)fd);
	return 0;
}

/* Closes what was there, without a gap in which another thread could take the number. One that is
 * reserved belongs to a call under way. */
static long dup_to(int old, int new, bool cloexec)
{
	struct fd_table *t = current->proc->fds;
	struct open_file *replaced = NULL;
	long r = -EBADF;

	if ((unsigned)old >= MAX_FDS || (unsigned)new >= MAX_FDS)
		return -EBADF;
	spin_lock(&t->lock);
	if (t->file[old] && t->taken[new] && !t->file[new]) {
		r = -EBUSY;
	} else if (t->file[old]) {
		replaced = t->file[new];
		file_get(t->file[old]);
		t->file[new] = t->file[old];
		t->taken[new] = true;
		t->cloexec[new] = cloexec;
		r = new;
	}
	spin_unlock(&t->lock);
	if (replaced)
		file_put(replaced);
	return r;
}

static long dup_from(struct open_file *f, int from, bool cloexec)
{
	int fd;

	if (from < 0 || from >= MAX_FDS)
		return -EINVAL;
	file_get(f);
	fd = take_free(f, cloexec, from);
	if (fd < 0)
		file_put(f);
	return fd;
}

SYSCALL1(dup, int, fd)
{
	struct fd f = fdget(fd);
	long r = f.file ? dup_from(f.file, 0, false) : -EBADF;

	fdput(f);
	return r;
}

SYSCALL2(dup2, int, old, int, new)
{
	if (old == new)
		return fd_exists(old) ? old : -EBADF;
	return dup_to(old, new, false);
}

SYSCALL3(dup3, int, old, int, new, unsigned long, flags)
{
	if (old == new || flags & ~(unsigned long)O_CLOEXEC)
		return -EINVAL;
	return dup_to(old, new, flags & O_CLOEXEC);
}

/* ---- fcntl, ioctl ---------------------------------------------------------------------------- */

static long get_cloexec(int fd)
{
	struct fd_table *t = current->proc->fds;
	bool cloexec;

	spin_lock(&t->lock);
	cloexec = t->cloexec[fd];
	spin_unlock(&t->lock);
	return cloexec;
}

/* The descriptor may have been closed since: then there is nothing to mark. */
static long set_cloexec(int fd, bool cloexec)
{
	struct fd_table *t = current->proc->fds;

	spin_lock(&t->lock);
	if (t->file[fd])
		t->cloexec[fd] = cloexec;
	spin_unlock(&t->lock);
	return 0;
}

/* F_SETFL changes these and silently ignores the others. */
static long set_flags(struct open_file *f, unsigned flags)
{
	const unsigned may = O_APPEND | O_NONBLOCK;

	spin_lock(&f->pos_lock);
	WRITE_ONCE(f->flags, (f->flags & ~may) | (flags & may));
	spin_unlock(&f->pos_lock);
	return 0;
}

static long do_fcntl(int fd, struct open_file *f, unsigned cmd, unsigned long arg)
{
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return dup_from(f, (int)arg, cmd == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return get_cloexec(fd);
	case F_SETFD:
		return set_cloexec(fd, arg & FD_CLOEXEC);
	case F_GETFL:
		return file_flags(f);
	case F_SETFL:
		return set_flags(f, (unsigned)arg);
	case F_ADD_SEALS:
		return memfd_add_seals(f, (unsigned)arg);
	case F_GET_SEALS:
		return f->memfd ? (long)file_seals(f) : -EINVAL;
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
		return vnode_type(f->v) == S_IFIFO ? 65536 : -EBADF;
	case F_GETLK: /* no lock is ever held */
	case F_SETLK:
	case F_SETLKW:
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL3(fcntl, int, fd, unsigned, cmd, unsigned long, arg)
{
	struct fd f = fdget(fd);
	long r = f.file ? do_fcntl(fd, f.file, cmd, arg) : -EBADF;

	fdput(f);
	return r;
}

static long do_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	if (!f || file_flags(f) & O_PATH)
		return -EBADF;
	return f->ops && f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOTTY;
}

SYSCALL3(ioctl, int, fd, unsigned, cmd, unsigned long, arg)
{
	struct fd f = fdget(fd);
	long r = do_ioctl(f.file, cmd, arg);

	fdput(f);
	return r;
}

/* ---- the calls that only want the descriptor to be there -------------------------------------- */

static long sync_fd(int fd)
{
	return fd_exists(fd) ? 0 : -EBADF; /* memory is all there is */
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
