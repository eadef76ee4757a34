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
	t->slot = t->own;
	t->size = FEW_FDS;
	atomic_set(&t->refs, 1);
	spin_lock_init_rank(&t->lock, "fd_table", RANK_FILES);
	return t;
}

/* Makes room for descriptor fd. 0 or -ENOMEM. */
static int files_grow(struct fd_table *t, unsigned fd)
{
	unsigned size = 2 * FEW_FDS;
	struct fd_slot *slot, *old = NULL;

	while (size <= fd)
		size *= 2;
	slot = quire_kmalloc(size * sizeof(*slot), QUIRE_GFP_ZERO);
	if (!slot)
		return -ENOMEM;
	spin_lock(&t->lock);
	if (size > t->size) {
		memcpy(slot, t->slot, t->end * sizeof(*slot));
		old = t->slot;
		t->slot = slot;
		WRITE_ONCE(t->size, size);
	} else {
		old = slot; /* another thread was first */
	}
	spin_unlock(&t->lock);
	if (old != t->own)
		quire_kfree(old);
	return 0;
}

/* The slot is in use from here on. */
static void take(struct fd_table *t, unsigned fd, struct open_file *f, bool cloexec)
{
	assert_held(&t->lock);
	t->slot[fd] = (struct fd_slot){f, true, cloexec};
	WRITE_ONCE(t->end, max(t->end, fd + 1));
}

static bool copy_slots(struct fd_table *t, struct fd_table *old)
{
	bool room;

	spin_lock(&old->lock);
	room = old->end <= t->size;
	for (unsigned fd = 0; room && fd < old->end; fd++) {
		struct open_file *f = old->slot[fd].file;

		if (!f)
			continue;
		file_get(f);
		t->slot[fd] = old->slot[fd];
		t->end = fd + 1;
	}
	spin_unlock(&old->lock);
	return room;
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
	while (t && !copy_slots(t, old))
		if (files_grow(t, READ_ONCE(old->end) - 1)) {
			files_put(t);
			t = NULL;
		}
	return t;
}

/* A descriptor of t is gone; its reference to f is given back. */
static void close_file(struct fd_table *t, struct open_file *f)
{
	locks_close(f->v, t);
	file_put(f);
}

void files_put(struct fd_table *t)
{
	if (!t || !atomic_dec_and_test(&t->refs))
		return;
	for (unsigned fd = 0; fd < t->end; fd++)
		if (t->slot[fd].file)
			close_file(t, t->slot[fd].file);
	if (t->slot != t->own)
		quire_kfree(t->slot);
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

	spin_lock(&t->lock);
	if (fd < t->size)
		f = t->slot[fd].file;
	if (f)
		file_get(f);
	spin_unlock(&t->lock);
	return f;
}

int files_next(struct fd_table *t, unsigned fd)
{
	bool found;

	spin_lock(&t->lock);
	while (fd < t->end && !t->slot[fd].file)
		fd++;
	found = fd < t->end;
	spin_unlock(&t->lock);
	return found ? (int)fd : -1;
}

/* Empties a slot: its file, with the table's reference; NULL: there was none. */
static struct open_file *take_out(struct fd_table *t, unsigned fd, bool if_cloexec)
{
	struct open_file *f = NULL;

	spin_lock(&t->lock);
	if (fd < t->size && (!if_cloexec || t->slot[fd].cloexec))
		f = t->slot[fd].file;
	if (f)
		t->slot[fd] = (struct fd_slot){0};
	spin_unlock(&t->lock);
	return f;
}

void files_close_on_exec(struct fd_table *t)
{
	for (unsigned fd = 0; fd < READ_ONCE(t->end); fd++) {
		struct open_file *f = take_out(t, fd, true);

		if (f)
			close_file(t, f);
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

	if (likely(table_is_ours(t)))
		return (struct fd){(unsigned)fd < t->size ? t->slot[fd].file : NULL, false};
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
	bool done;

	do {
		spin_lock(&t->lock);
		while (fd < t->end && t->slot[fd].taken)
			fd++;
		done = fd < limit && fd < t->size;
		if (done)
			take(t, fd, f, cloexec);
		spin_unlock(&t->lock);
		if (fd >= limit)
			return -EMFILE;
		if (!done && files_grow(t, fd))
			return -ENOMEM;
	} while (!done);
	return (int)fd;
}

/* The lowest free descriptor: nobody else gets it, and it leads to no file yet. -EMFILE. */
static int fd_reserve(bool cloexec)
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
	ASSERT(t->slot[fd].taken && !t->slot[fd].file);
	t->slot[fd].file = f;
	spin_unlock(&t->lock);
}

static void fd_unreserve(int fd)
{
	struct fd_table *t = current->proc->fds;

	spin_lock(&t->lock);
	ASSERT(t->slot[fd].taken && !t->slot[fd].file);
	t->slot[fd].taken = false;
	t->slot[fd].cloexec = false;
	spin_unlock(&t->lock);
}

int fd_reserve_pair(int fd[2], uintptr_t dst, bool cloexec)
{
	int err;

	fd[0] = fd_reserve(cloexec);
	if (fd[0] < 0)
		return fd[0];
	fd[1] = fd_reserve(cloexec);
	if (fd[1] < 0) {
		fd_unreserve(fd[0]);
		return fd[1];
	}
	err = hal_copy_to_user(dst, fd, 2 * sizeof(int)) ? -EFAULT : 0;
	if (err) {
		fd_unreserve(fd[0]);
		fd_unreserve(fd[1]);
	}
	return err;
}

/* ---- closing and doubling -------------------------------------------------------------------- */

static long close_fd(unsigned fd)
{
	struct fd_table *t = current->proc->fds;
	struct open_file *f = take_out(t, fd, false);

	if (!f)
		return -EBADF;
	close_file(t, f);
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
	last = min(last, (unsigned long)MAX_FDS - 1);
	for (unsigned long fd = first; fd <= last; fd++)
		close_fd((unsigned)fd);
	return 0;
}

/* Closes what was there, without a gap in which another thread could take the number. One that is
 * reserved belongs to a call under way. */
static long dup_to(int old, int new, bool cloexec)
{
	struct fd_table *t = current->proc->fds;
	struct open_file *f, *replaced = NULL;
	long r = -EBADF;

	if ((unsigned)new >= MAX_FDS || (uint64_t)new >= rlimit_cur(current->proc, RLIMIT_NOFILE) ||
	    !fd_exists(old))
		return -EBADF;
	if ((unsigned)new >= READ_ONCE(t->size) && files_grow(t, (unsigned)new))
		return -ENOMEM;
	spin_lock(&t->lock);
	f = t->slot[old].file;
	if (f && t->slot[new].taken && !t->slot[new].file) {
		r = -EBUSY;
	} else if (f) {
		replaced = t->slot[new].file;
		file_get(f);
		take(t, (unsigned)new, f, cloexec);
		r = new;
	}
	spin_unlock(&t->lock);
	if (replaced)
		close_file(t, replaced);
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
	cloexec = t->slot[fd].cloexec;
	spin_unlock(&t->lock);
	return cloexec;
}

/* The descriptor may have been closed since: then there is nothing to mark. */
static long set_cloexec(int fd, bool cloexec)
{
	struct fd_table *t = current->proc->fds;

	spin_lock(&t->lock);
	if (t->slot[fd].file)
		t->slot[fd].cloexec = cloexec;
	spin_unlock(&t->lock);
	return 0;
}

/* F_SETFL changes these and silently ignores the others. */
static long set_flags(struct open_file *f, unsigned flags)
{
	const unsigned may = O_APPEND | O_NONBLOCK | (vnode_type(f->v) == S_IFIFO ? 0 : O_DIRECT);

	if (flags & may & O_DIRECT && !file_may_be_direct(f))
		return -EINVAL;
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
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return file_flags(f) & O_PATH ? -EBADF : fcntl_lock(fd, f, cmd, arg);
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

/* FIONBIO */
static long set_nonblock(struct open_file *f, uintptr_t src)
{
	unsigned on, flags = file_flags(f) & ~O_NONBLOCK;

	if (COPY_IN(on, src))
		return -EFAULT;
	return set_flags(f, on ? flags | O_NONBLOCK : flags);
}

/* FIONREAD of a regular file: from the position to the end. */
static long left_to_read(struct open_file *f, uintptr_t dst)
{
	int n = (int)(quire_inode_size(f->v->contents) - pos_get(f, &f->pos));

	return COPY_OUT(dst, n);
}

static long do_ioctl(int fd, struct open_file *f, unsigned cmd, unsigned long arg)
{
	if (!f || file_flags(f) & O_PATH)
		return -EBADF;
	switch (cmd) {
	case FIOCLEX:
	case FIONCLEX:
		return set_cloexec(fd, cmd == FIOCLEX);
	case FIONBIO:
		return set_nonblock(f, arg);
	}
	if (cmd == FIONREAD && f->ops == &regular_ops && vnode_type(f->v) == S_IFREG)
		return left_to_read(f, arg);
	return f->ops && f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOTTY;
}

SYSCALL3(ioctl, int, fd, unsigned, cmd, unsigned long, arg)
{
	struct fd f = fdget(fd);
	long r = do_ioctl(fd, f.file, cmd, arg);

	fdput(f);
	return r;
}
