/* SPDX-License-Identifier: MIT */
/*
 * Open files and descriptors, and the system calls on them and on names. Regular files read and
 * write through the page cache of the core; everything else brings its file_ops.
 */
#include "kernel.h"

#include <quire/os.h>

#define MEMFD_DEV 1u /* 00:01, as 5.10 shows shared memory */

/* ---- files ----------------------------------------------------------------------------------- */

/* Takes a reference of its own to v. NULL: no memory. */
struct file *file_alloc(struct vnode *v, const char *path, unsigned flags)
{
	size_t n = strlen(path) + 1;
	struct file *f = quire_kmalloc(sizeof(*f) + n, QUIRE_GFP_ZERO);

	if (!f)
		return NULL;
	memcpy(f->path, path, n);
	f->refs = 1;
	f->flags = flags;
	f->v = v;
	f->ops = v->fops;
	vnode_get(v);
	return f;
}

/* The last reference closes: the file's own state, then the mapping's hold, then the vnode. */
void file_put(struct file *f)
{
	if (--f->refs)
		return;
	if (f->ops && f->ops->release)
		f->ops->release(f);
	if (f->qf)
		quire_file_put(f->qf);
	vnode_put(f->v);
	quire_kfree(f);
}

static bool readable(const struct file *f)
{
	return !(f->flags & O_PATH) && (f->flags & O_ACCMODE) != O_WRONLY;
}

static bool writable(const struct file *f)
{
	return !(f->flags & O_PATH) && (f->flags & O_ACCMODE) != 0;
}

/* Made when first asked for: most files are never mapped. */
struct quire_file *file_mapping(struct file *f)
{
	unsigned mode = 0;

	if (f->qf)
		return f->qf;
	mode |= readable(f) ? QUIRE_FMODE_READ | QUIRE_FMODE_EXEC : 0;
	mode |= writable(f) ? QUIRE_FMODE_WRITE : 0;
	mode |= f->flags & O_PATH ? QUIRE_FMODE_PATH : 0;
	if (f->ops == &zero_ops)
		mode |= QUIRE_FMODE_ZERO;
	else if ((f->v->mode & S_IFMT) != S_IFREG || !f->v->contents)
		mode |= QUIRE_FMODE_NOMMAP;
	if (!f->v->contents) /* something to hang the file on: it has no pages */
		f->v->contents = quire_inode_create(NULL, f->v, f->v->ino, f->v->dev, 0);
	if (f->v->contents)
		f->qf = quire_file_open(f->v->contents, mode, f->path);
	return f->qf;
}

struct file *fd_file(int fd)
{
	return fd >= 0 && fd < MAX_FDS ? current->proc->fds->file[fd] : NULL;
}

/* The lowest free descriptor from `from` on, below the limit. Takes f over if it succeeds. */
static int fd_install_from(struct file *f, bool cloexec, int from)
{
	struct fd_table *t = current->proc->fds;
	uint64_t limit = rlimit_cur(current->proc, 7);

	for (int fd = from; fd < MAX_FDS && (uint64_t)fd < limit; fd++) {
		if (t->file[fd])
			continue;
		t->file[fd] = f;
		t->cloexec[fd] = cloexec;
		return fd;
	}
	return -EMFILE;
}

int fd_install(struct file *f, bool cloexec)
{
	return fd_install_from(f, cloexec, 0);
}

long copy_string(char *buf, uintptr_t src, size_t size)
{
	size_t done = 0;

	/* Never over a page's end at once: the string may end just before an unmapped one. */
	while (done < size) {
		size_t n = min(size - done, (size_t)(PAGE_SIZE - src % PAGE_SIZE));
		char *nul;

		n = min(n, (size_t)64);
		if (hal_copy_from_user(buf + done, src, n))
			return -EFAULT;
		nul = memchr(buf + done, 0, n);
		if (nul)
			return nul - buf;
		done += n;
		src += n;
	}
	return -ENAMETOOLONG;
}

/* ---- regular files --------------------------------------------------------------------------- */

/* Only a memfd has any. */
static unsigned seals_of(struct file *f)
{
	return f->memfd && file_mapping(f) ? quire_file_seals(f->qf) : 0;
}

/* The core copies straight to the user, through the page cache. */
static long regular_read(struct file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	long r = quire_inode_read(f->v->contents, *pos, buf, n, true);

	if (r > 0)
		*pos += (uint64_t)r;
	return r;
}

/* Seals first: a write that would grow a sealed file is cut at its end, as shmem does. */
static long regular_write(struct file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	uint64_t size = quire_inode_size(f->v->contents);
	unsigned seals = seals_of(f);
	long r;

	if (f->flags & O_APPEND)
		*pos = size;
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	if (seals & F_SEAL_GROW && *pos + n > size) {
		if (*pos >= size)
			return -EPERM;
		n = size - *pos;
	}
	r = quire_inode_write(f->v->contents, *pos, buf, n, true);
	if (r > 0)
		*pos += (uint64_t)r;
	f->v->mtime_ns = hal_clock_ns();
	return r;
}

const struct file_ops regular_ops = {.read = regular_read, .write = regular_write};

/* f NULL: by name, where no seal can be. */
static long file_truncate(struct file *f, struct vnode *v, int64_t len)
{
	unsigned seals = f ? seals_of(f) : 0;
	uint64_t size;

	if (len < 0)
		return -EINVAL;
	if ((v->mode & S_IFMT) == S_IFDIR)
		return -EISDIR;
	if (!v->contents || (v->mode & S_IFMT) != S_IFREG)
		return -EINVAL;
	size = quire_inode_size(v->contents);
	if ((seals & F_SEAL_SHRINK && (uint64_t)len < size) ||
	    (seals & F_SEAL_GROW && (uint64_t)len > size))
		return -EPERM;
	return quire_inode_truncate(v->contents, (uint64_t)len);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The last component is missing: make it. /proc takes no new names. */
static int create_regular(struct path *p, unsigned mode)
{
	struct vnode *v;
	int err;

	if (p->must_be_dir)
		return -EISDIR;
	if (p->parent->ops)
		return -EACCES; /* /proc */
	v = vnode_new(S_IFREG | (mode & 07777 & ~current->proc->fs->umask));
	if (!v)
		return -ENOMEM;
	err = dir_add(p->parent, p->last, v);
	if (err) {
		vnode_put(v);
		return err;
	}
	p->v = v;
	return 0;
}

/* What an existing file refuses, by its type. */
static int check_open(const struct path *p, unsigned flags)
{
	unsigned type = p->v->mode & S_IFMT;

	if (type == S_IFLNK && !(flags & O_PATH))
		return -ELOOP;
	if (flags & O_DIRECTORY && type != S_IFDIR)
		return -ENOTDIR;
	if (type == S_IFDIR && (flags & (O_ACCMODE | O_CREAT)) && !(flags & O_PATH))
		return -EISDIR;
	return 0;
}

int open_vnode(struct path *p, unsigned flags, unsigned mode, struct file **out)
{
	bool created = false;
	struct file *f;
	int err = 0;

	if (!p->v) {
		err = create_regular(p, mode);
		created = true;
	} else if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
		err = -EEXIST;
	}
	if (!err)
		err = check_open(p, flags);
	if (!err && flags & O_TRUNC && !created && p->v->contents &&
	    (p->v->mode & S_IFMT) == S_IFREG && p->v->fops == &regular_ops && !(flags & O_PATH))
		err = quire_inode_truncate(p->v->contents, 0);
	if (err)
		return err;
	f = file_alloc(p->v, p->full, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC));
	if (!f)
		return -ENOMEM;
	if (!(flags & O_PATH) && f->ops && f->ops->open) {
		err = f->ops->open(f);
		if (err) {
			file_put(f);
			return err;
		}
	}
	*out = f;
	return 0;
}

/* Resolves a user's path below dirfd. */
static int user_path(int dirfd, uintptr_t path, unsigned flags, struct path *out)
{
	char buf[PATH_LEN];
	long n = copy_string(buf, path, sizeof(buf));
	struct file *dir;

	*out = (struct path){0};
	if (n < 0)
		return (int)n;
	if (dirfd == AT_FDCWD || buf[0] == '/')
		return path_lookup(NULL, NULL, buf, flags, out);
	dir = fd_file(dirfd);
	if (!dir)
		return -EBADF;
	return path_lookup(dir->v, dir->path, buf, flags, out);
}

static long do_open(int dirfd, uintptr_t path, unsigned flags, unsigned mode)
{
	unsigned lf = (flags & O_CREAT ? LOOKUP_CREATE : 0) |
		      (flags & O_NOFOLLOW || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)
			       ? LOOKUP_NOFOLLOW : 0);
	struct file *f = NULL;
	struct path p;
	int fd, err;

	if ((flags & O_TMPFILE) == O_TMPFILE && flags & O_DIRECTORY)
		return -EOPNOTSUPP;
	err = user_path(dirfd, path, lf, &p);
	if (err)
		return err;
	err = open_vnode(&p, flags, mode, &f);
	path_put(&p);
	if (err)
		return err;
	fd = fd_install(f, flags & O_CLOEXEC);
	if (fd < 0)
		file_put(f);
	return fd;
}

SYSCALL(openat) { return do_open((int)a[0], a[1], (unsigned)a[2], (unsigned)a[3]); }
SYSCALL(open) { return do_open(AT_FDCWD, a[0], (unsigned)a[1], (unsigned)a[2]); }
SYSCALL(creat) { return do_open(AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (unsigned)a[1]); }

static long close_fd(int fd)
{
	struct file *f = fd_file(fd);

	if (!f)
		return -EBADF;
	current->proc->fds->file[fd] = NULL;
	current->proc->fds->cloexec[fd] = false;
	file_put(f);
	return 0;
}

SYSCALL(close) { return close_fd((int)a[0]); }

SYSCALL(close_range)
{
	if (a[0] > a[1] || a[2])
		return -EINVAL;
	for (unsigned long fd = a[0]; fd <= a[1] && fd < MAX_FDS; fd++)
		close_fd((int)fd);
	return 0;
}

SYSCALL(memfd_create)
{
	char path[PATH_LEN] = "/memfd:";
	unsigned flags = (unsigned)a[1];
	long n = copy_string(path + 7, a[0], 250);
	struct vnode *v;
	struct file *f;
	int fd;

	if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING))
		return -EINVAL; /* huge pages are not built */
	if (n < 0)
		return n == -ENAMETOOLONG ? -EINVAL : n;
	strscpy(path + 7 + n, " (deleted)", 16);
	v = vnode_new(S_IFREG | 0777);
	if (!v)
		return -ENOMEM;
	quire_inode_put(v->contents);
	v->dev = MEMFD_DEV;
	v->contents = quire_inode_create(NULL, v, v->ino, v->dev, QUIRE_S_SHMEM);
	f = v->contents ? file_alloc(v, path, O_RDWR) : NULL;
	vnode_put(v);
	if (!f)
		return -ENOMEM;
	f->memfd = true;
	if (!file_mapping(f)) {
		file_put(f);
		return -ENOMEM;
	}
	if (!(flags & MFD_ALLOW_SEALING))
		quire_file_add_seals(f->qf, F_SEAL_SEAL);
	fd = fd_install(f, flags & MFD_CLOEXEC);
	if (fd < 0)
		file_put(f);
	return fd;
}

/* ---- reading and writing --------------------------------------------------------------------- */

/* The checks that every kind of reading shares; 0x7ffff000 is Linux's MAX_RW_COUNT. */
static long do_read(struct file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	if (!f || !readable(f))
		return -EBADF;
	if ((f->v->mode & S_IFMT) == S_IFDIR)
		return -EISDIR;
	if (!f->ops || !f->ops->read)
		return -EINVAL;
	return f->ops->read(f, buf, min(n, (size_t)0x7ffff000), pos);
}

static long do_write(struct file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	if (!f || !writable(f))
		return -EBADF;
	if (!f->ops || !f->ops->write)
		return -EINVAL;
	return f->ops->write(f, buf, min(n, (size_t)0x7ffff000), pos);
}

SYSCALL(read)
{
	struct file *f = fd_file((int)a[0]);

	return do_read(f, a[1], a[2], f ? &f->pos : NULL);
}

SYSCALL(write)
{
	struct file *f = fd_file((int)a[0]);

	return do_write(f, a[1], a[2], f ? &f->pos : NULL);
}

/* What has positions: the console and pipes have none. */
static bool seekable(const struct file *f)
{
	unsigned type = f->v->mode & S_IFMT;

	return type == S_IFREG || type == S_IFDIR || (type == S_IFCHR && f->ops != &console_ops);
}

static long check_positional(const struct file *f, uint64_t pos)
{
	if (!f)
		return -EBADF;
	if ((int64_t)pos < 0)
		return -EINVAL;
	return seekable(f) ? 0 : -ESPIPE;
}

SYSCALL(pread64)
{
	struct file *f = fd_file((int)a[0]);
	uint64_t pos = a[3];
	long err = check_positional(f, pos);

	return err ? err : do_read(f, a[1], a[2], &pos);
}

SYSCALL(pwrite64)
{
	struct file *f = fd_file((int)a[0]);
	uint64_t pos = a[3];
	long err = check_positional(f, pos);

	return err ? err : do_write(f, a[1], a[2], &pos);
}

/* Reads or writes the pieces of an iovec until one is cut short. */
static long do_vector(struct file *f, uintptr_t vec, unsigned long count, uint64_t *pos,
		      long (*op)(struct file *, uintptr_t, size_t, uint64_t *))
{
	uint64_t iov[2];
	long total = 0, r;

	if (!f)
		return -EBADF;
	if (count > 1024)
		return -EINVAL;
	for (; count--; vec += sizeof(iov)) {
		if (COPY_IN(iov, vec))
			return total ? total : -EFAULT;
		if (!iov[1])
			continue;
		if ((int64_t)iov[1] < 0)
			return total ? total : -EINVAL;
		r = op(f, iov[0], iov[1], pos);
		if (r < 0)
			return total ? total : r;
		total += r;
		if ((uint64_t)r < iov[1])
			break;
	}
	return total;
}

SYSCALL(readv)
{
	struct file *f = fd_file((int)a[0]);

	return do_vector(f, a[1], a[2], f ? &f->pos : NULL, do_read);
}

SYSCALL(writev)
{
	struct file *f = fd_file((int)a[0]);

	return do_vector(f, a[1], a[2], f ? &f->pos : NULL, do_write);
}

SYSCALL(preadv)
{
	struct file *f = fd_file((int)a[0]);
	uint64_t pos = a[3];
	long err = check_positional(f, pos);

	return err ? err : do_vector(f, a[1], a[2], &pos, do_read);
}

SYSCALL(pwritev)
{
	struct file *f = fd_file((int)a[0]);
	uint64_t pos = a[3];
	long err = check_positional(f, pos);

	return err ? err : do_vector(f, a[1], a[2], &pos, do_write);
}

SYSCALL(lseek)
{
	struct file *f = fd_file((int)a[0]);
	int64_t base, off = (int64_t)a[1];

	if (!f || f->flags & O_PATH)
		return -EBADF;
	if (!seekable(f))
		return -ESPIPE;
	if (a[2] == 0)
		base = 0;
	else if (a[2] == 1)
		base = (int64_t)f->pos;
	else if (a[2] == 2)
		base = f->v->contents ? (int64_t)quire_inode_size(f->v->contents) : 0;
	else
		return -EINVAL;
	if (base + off < 0)
		return -EINVAL;
	f->pos = (uint64_t)(base + off);
	return (long)f->pos;
}

SYSCALL(sendfile)
{
	struct file *out = fd_file((int)a[0]), *in = fd_file((int)a[1]);

	if (!out || !in || !writable(out) || !readable(in))
		return -EBADF;
	return -EINVAL; /* programs fall back to read and write */
}

SYSCALL(ftruncate)
{
	struct file *f = fd_file((int)a[0]);

	if (!f)
		return -EBADF;
	return writable(f) ? file_truncate(f, f->v, (int64_t)a[1]) : -EINVAL;
}

SYSCALL(truncate)
{
	struct path p;
	long err = user_path(AT_FDCWD, a[0], 0, &p);

	if (err)
		return err;
	err = file_truncate(NULL, p.v, (int64_t)a[1]);
	path_put(&p);
	return err;
}

SYSCALL(fallocate)
{
	struct file *f = fd_file((int)a[0]);
	int64_t off = (int64_t)a[2], len = (int64_t)a[3];
	unsigned seals;

	if (!f || !writable(f))
		return -EBADF;
	if (off < 0 || len <= 0)
		return -EINVAL;
	if ((f->v->mode & S_IFMT) == S_IFIFO)
		return -ESPIPE;
	if ((f->v->mode & S_IFMT) != S_IFREG || !f->v->contents)
		return -ENODEV;
	seals = seals_of(f);
	if ((a[1] & 2 && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) ||
	    (!(a[1] & 3) && seals & F_SEAL_GROW &&
	     (uint64_t)(off + len) > quire_inode_size(f->v->contents)))
		return -EPERM;
	return quire_inode_fallocate(f->v->contents, (int)a[1], (uint64_t)off, (uint64_t)len);
}

/* The calls that only want the descriptor to be there. */
static long sync_fd(int fd)
{
	return fd_file(fd) ? 0 : -EBADF; /* memory is all there is */
}

SYSCALL(fsync) { return sync_fd((int)a[0]); }
SYSCALL(fdatasync) { return sync_fd((int)a[0]); }
SYSCALL(flock) { return sync_fd((int)a[0]); }

SYSCALL(sync)
{
	(void)a;
	return 0;
}

SYSCALL(fadvise64)
{
	struct file *f = fd_file((int)a[0]);

	if (!f)
		return -EBADF;
	if ((f->v->mode & S_IFMT) == S_IFIFO)
		return -ESPIPE;
	if (a[3] == 3 && f->v->contents) /* POSIX_FADV_WILLNEED */
		quire_inode_populate(f->v->contents, a[1], a[2]);
	return a[3] <= 5 ? 0 : -EINVAL;
}

SYSCALL(readahead)
{
	struct file *f = fd_file((int)a[0]);

	if (!f || !readable(f))
		return -EBADF;
	return f->v->contents ? quire_inode_populate(f->v->contents, a[1], a[2]) : -EINVAL;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* Closes what was there, without a gap in which another thread could take the number. */
static long dup_to(int old, int new, bool cloexec)
{
	struct fd_table *t = current->proc->fds;
	struct file *f = fd_file(old);

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
	struct file *f = fd_file(old);
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

SYSCALL(dup) { return dup_from((int)a[0], 0, false); }

SYSCALL(dup2)
{
	if (a[0] == a[1])
		return fd_file((int)a[0]) ? (long)a[0] : -EBADF;
	return dup_to((int)a[0], (int)a[1], false);
}

SYSCALL(dup3)
{
	if (a[0] == a[1] || a[2] & ~(unsigned long)O_CLOEXEC)
		return -EINVAL;
	return dup_to((int)a[0], (int)a[1], a[2] & O_CLOEXEC);
}

/* F_SETFL changes these and silently ignores the others. */
static long set_flags(struct file *f, unsigned flags)
{
	const unsigned may = O_APPEND | O_NONBLOCK;

	f->flags = (f->flags & ~may) | (flags & may);
	return 0;
}

static long add_seals(struct file *f, unsigned seals)
{
	if (!f->memfd)
		return -EINVAL;
	if (!writable(f))
		return -EPERM;
	return file_mapping(f) ? quire_file_add_seals(f->qf, seals) : -ENOMEM;
}

SYSCALL(fcntl)
{
	struct file *f = fd_file((int)a[0]);
	struct fd_table *t = current->proc->fds;

	if (!f)
		return -EBADF;
	switch (a[1]) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return dup_from((int)a[0], (int)a[2], a[1] == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return t->cloexec[a[0]];
	case F_SETFD:
		t->cloexec[a[0]] = a[2] & 1;
		return 0;
	case F_GETFL:
		return f->flags;
	case F_SETFL:
		return set_flags(f, (unsigned)a[2]);
	case F_ADD_SEALS:
		return add_seals(f, (unsigned)a[2]);
	case F_GET_SEALS:
		return f->memfd ? (long)seals_of(f) : -EINVAL;
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
		return (f->v->mode & S_IFMT) == S_IFIFO ? 65536 : -EBADF;
	case 5: /* F_GETLK: nobody holds any */
	case 6:
	case 7:
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL(ioctl)
{
	struct file *f = fd_file((int)a[0]);

	if (!f || f->flags & O_PATH)
		return -EBADF;
	return f->ops && f->ops->ioctl ? f->ops->ioctl(f, (unsigned)a[1], a[2]) : -ENOTTY;
}

/* ---- status ---------------------------------------------------------------------------------- */

/* blocks are 512 bytes; a page of the cache is what a file in memory occupies. */
static void fill_stat(const struct vnode *v, struct stat_info *s)
{
	bool reg = (v->mode & S_IFMT) == S_IFREG;

	*s = (struct stat_info){.dev = v->dev, .ino = v->ino, .rdev = v->rdev, .mode = v->mode,
				.nlink = v->nlink, .mtime_ns = v->mtime_ns};
	if (reg && v->contents) {
		s->size = quire_inode_size(v->contents);
		s->blocks = quire_inode_cached_pages(v->contents) * (PAGE_SIZE / 512);
	} else if (v->target) {
		s->size = strlen(v->target);
	}
}

static long stat_path(int dirfd, uintptr_t path, uintptr_t dst, unsigned flags)
{
	struct stat_info s;
	struct path p;
	char first;
	long err;

	if (flags & AT_EMPTY_PATH && !COPY_IN(first, path) && !first) {
		struct file *f = fd_file(dirfd);

		if (!f && dirfd != AT_FDCWD)
			return -EBADF;
		fill_stat(f ? f->v : current->proc->fs->cwd, &s);
		return abi_put_stat(dst, &s);
	}
	err = user_path(dirfd, path, flags & AT_SYMLINK_NOFOLLOW ? LOOKUP_NOFOLLOW : 0, &p);
	if (err)
		return err;
	fill_stat(p.v, &s);
	path_put(&p);
	return abi_put_stat(dst, &s);
}

SYSCALL(fstat)
{
	struct file *f = fd_file((int)a[0]);
	struct stat_info s;

	if (!f)
		return -EBADF;
	fill_stat(f->v, &s);
	return abi_put_stat(a[1], &s);
}

SYSCALL(stat) { return stat_path(AT_FDCWD, a[0], a[1], 0); }
SYSCALL(lstat) { return stat_path(AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW); }
SYSCALL(newfstatat) { return stat_path((int)a[0], a[1], a[2], (unsigned)a[3]); }

struct statx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t pad;
};

struct statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, pad;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare[14];
};

SYSCALL(statx)
{
	unsigned flags = (unsigned)a[2];
	struct stat_info s;
	struct statx x = {.mask = 0x7ff, .blksize = PAGE_SIZE};
	struct path p;
	char first;
	int err;

	if (flags & AT_EMPTY_PATH && !COPY_IN(first, a[1]) && !first) {
		struct file *f = fd_file((int)a[0]);

		if (!f && (int)a[0] != AT_FDCWD)
			return -EBADF;
		fill_stat(f ? f->v : current->proc->fs->cwd, &s);
	} else {
		err = user_path((int)a[0], a[1], flags & AT_SYMLINK_NOFOLLOW ? LOOKUP_NOFOLLOW : 0,
				&p);
		if (err)
			return err;
		fill_stat(p.v, &s);
		path_put(&p);
	}
	x.nlink = s.nlink;
	x.mode = (uint16_t)s.mode;
	x.ino = s.ino;
	x.size = s.size;
	x.blocks = s.blocks;
	x.mtime.sec = (int64_t)(s.mtime_ns / 1000000000);
	x.mtime.nsec = (uint32_t)(s.mtime_ns % 1000000000);
	x.atime = x.btime = x.ctime = x.mtime;
	x.rdev_major = (uint32_t)(s.rdev >> 8);
	x.rdev_minor = s.rdev & 0xff;
	x.dev_minor = (uint32_t)s.dev;
	return COPY_OUT(a[4], x);
}

static long access_path(int dirfd, uintptr_t path, unsigned mode)
{
	struct path p;
	int err;

	if (mode & ~7u)
		return -EINVAL;
	err = user_path(dirfd, path, 0, &p);
	if (err)
		return err;
	/* Root may read and write all, and run what has any x bit. */
	if (mode & 1 && (p.v->mode & S_IFMT) == S_IFREG && !(p.v->mode & 0111))
		err = -EACCES;
	path_put(&p);
	return err;
}

SYSCALL(access) { return access_path(AT_FDCWD, a[0], (unsigned)a[1]); }
SYSCALL(faccessat) { return access_path((int)a[0], a[1], (unsigned)a[2]); }
SYSCALL(faccessat2) { return access_path((int)a[0], a[1], (unsigned)a[2]); }

SYSCALL(statfs)
{
	uint64_t s[15] = {0x01021994, PAGE_SIZE}; /* tmpfs */
	struct path p;
	int err = user_path(AT_FDCWD, a[0], 0, &p);

	if (err)
		return err;
	path_put(&p);
	s[8] = 255;
	return COPY_OUT(a[1], s);
}

SYSCALL(fstatfs)
{
	uint64_t s[15] = {0x01021994, PAGE_SIZE};

	s[8] = 255;
	return fd_file((int)a[0]) ? COPY_OUT(a[1], s) : -EBADF;
}

/* ---- directories and names ------------------------------------------------------------------- */

struct dir_out {
	uintptr_t buf;
	size_t room, used;
	bool old; /* getdents: the type comes last */
};

/* 1: written, 0: no room. */
static int put_dirent(struct dir_out *o, uint64_t ino, uint64_t next, unsigned mode,
		      const char *name)
{
	char rec[300] = {0};
	size_t n = strlen(name), len = ALIGN_UP((o->old ? 18 : 19) + n + 1 + o->old, (size_t)8);
	uint16_t reclen = (uint16_t)len;
	char type = (char)((mode & S_IFMT) >> 12);

	if (len > o->room - o->used)
		return o->used ? 0 : -EINVAL;
	memcpy(rec, &ino, 8);
	memcpy(rec + 8, &next, 8);
	memcpy(rec + 16, &reclen, 2);
	if (o->old) {
		memcpy(rec + 18, name, n);
		rec[len - 1] = type;
	} else {
		rec[18] = type;
		memcpy(rec + 19, name, n);
	}
	if (hal_copy_to_user(o->buf + o->used, rec, len))
		return -EFAULT;
	o->used += len;
	return 1;
}

/* Entry i of dir: ".", "..", the list, then what is made on demand. */
static bool entry_at(struct vnode *dir, uint64_t i, uint64_t *ino, unsigned *mode, char name[256])
{
	struct dirent *d;
	uint64_t k = 2;

	*ino = dir->ino;
	*mode = S_IFDIR;
	if (i < 2) {
		strscpy(name, i ? ".." : ".", 3);
		return true;
	}
	list_for_each_entry(d, &dir->entries, link) {
		if (k++ != i)
			continue;
		*ino = d->v->ino;
		*mode = d->v->mode;
		strscpy(name, d->name, 256);
		return true;
	}
	*ino = i;
	return dir->ops && dir->ops->readdir &&
	       dir->ops->readdir(dir, (unsigned)(i - k), name, mode);
}

/* A position is an entry's place in the list: entries that go meanwhile shift those behind. */
static long do_getdents(int fd, uintptr_t buf, size_t room, bool old)
{
	struct dir_out o = {.buf = buf, .room = room, .old = old};
	struct file *f = fd_file(fd);
	char name[256];
	uint64_t ino;
	unsigned mode;
	int r;

	if (!f || f->flags & O_PATH)
		return -EBADF;
	if ((f->v->mode & S_IFMT) != S_IFDIR)
		return -ENOTDIR;
	while (entry_at(f->v, f->pos, &ino, &mode, name)) {
		r = put_dirent(&o, ino, f->pos + 1, mode, name);
		if (r < 0)
			return o.used ? (long)o.used : r;
		if (!r)
			break;
		f->pos++;
	}
	return (long)o.used;
}

SYSCALL(getdents64) { return do_getdents((int)a[0], a[1], a[2], false); }
SYSCALL(getdents) { return do_getdents((int)a[0], a[1], a[2], true); }

/* Enters a new vnode under a name that must not exist yet; takes v over. */
static long enter_new(int dirfd, uintptr_t path, struct vnode *v)
{
	struct path p;
	long err;

	if (!v)
		return -ENOMEM;
	err = user_path(dirfd, path, LOOKUP_CREATE | LOOKUP_NOFOLLOW, &p);
	if (!err && p.v)
		err = -EEXIST;
	if (!err && p.parent->ops)
		err = -EACCES;
	if (!err)
		err = dir_add(p.parent, p.last, v);
	path_put(&p);
	vnode_put(v);
	return err;
}

static struct vnode *new_link(uintptr_t target)
{
	char buf[PATH_LEN];
	long n = copy_string(buf, target, sizeof(buf));
	struct vnode *v = n >= 0 ? vnode_new(S_IFLNK | 0777) : NULL;

	if (!v)
		return NULL;
	v->target = quire_kmalloc((size_t)n + 1, 0);
	if (!v->target) {
		vnode_put(v);
		return NULL;
	}
	memcpy(v->target, buf, (size_t)n + 1);
	return v;
}

static long do_mkdir(int dirfd, uintptr_t path, unsigned mode)
{
	return enter_new(dirfd, path, vnode_new(S_IFDIR | (mode & 07777 &
							   ~current->proc->fs->umask)));
}

SYSCALL(mkdir) { return do_mkdir(AT_FDCWD, a[0], (unsigned)a[1]); }
SYSCALL(mkdirat) { return do_mkdir((int)a[0], a[1], (unsigned)a[2]); }
SYSCALL(symlink) { return enter_new(AT_FDCWD, a[1], new_link(a[0])); }
SYSCALL(symlinkat) { return enter_new((int)a[1], a[2], new_link(a[0])); }

static long do_link(int olddir, uintptr_t old, int newdir, uintptr_t new, unsigned flags)
{
	struct path p;
	long err = user_path(olddir, old, flags & AT_SYMLINK_FOLLOW ? 0 : LOOKUP_NOFOLLOW, &p);

	if (err)
		return err;
	if ((p.v->mode & S_IFMT) == S_IFDIR) {
		err = -EPERM;
	} else {
		vnode_get(p.v);
		err = enter_new(newdir, new, p.v);
	}
	path_put(&p);
	return err;
}

SYSCALL(link) { return do_link(AT_FDCWD, a[0], AT_FDCWD, a[1], 0); }
SYSCALL(linkat) { return do_link((int)a[0], a[1], (int)a[2], a[3], (unsigned)a[4]); }

/* The vnode lives on while it is open or mapped. */
static long do_unlink(int dirfd, uintptr_t path, bool dir)
{
	struct dirent *d;
	struct path p;
	long err = user_path(dirfd, path, LOOKUP_NOFOLLOW, &p);
	bool is_dir;

	if (err)
		return err;
	d = dir_find(p.parent, p.last);
	is_dir = (p.v->mode & S_IFMT) == S_IFDIR;
	if (!d)
		err = dir ? -EBUSY : -EPERM; /* the root, or made on demand */
	else if (dir && !is_dir)
		err = -ENOTDIR;
	else if (!dir && is_dir)
		err = -EISDIR;
	else if (dir && (!list_empty(&p.v->entries) || p.v->ops))
		err = -ENOTEMPTY;
	else
		dir_remove(d);
	path_put(&p);
	return err;
}

SYSCALL(unlink) { return do_unlink(AT_FDCWD, a[0], false); }
SYSCALL(rmdir) { return do_unlink(AT_FDCWD, a[0], true); }
SYSCALL(unlinkat) { return do_unlink((int)a[0], a[1], a[2] & AT_REMOVEDIR); }

/* Is v dir, or below it? */
static bool is_inside(const struct vnode *v, const struct vnode *dir)
{
	for (;; v = v->parent) {
		if (v == dir)
			return true;
		if (!v->parent || v->parent == v)
			return false;
	}
}

/* Everything that can fail comes first but the entry's memory, which it gives back before. */
static long rename_checked(struct path *from, struct path *to, unsigned flags)
{
	struct dirent *old = dir_find(from->parent, from->last), *target;
	bool dir = (from->v->mode & S_IFMT) == S_IFDIR;
	int err;

	if (!old || to->parent->ops)
		return -EACCES;
	if (from->v == to->v)
		return 0;
	if (to->v) {
		bool to_dir = (to->v->mode & S_IFMT) == S_IFDIR;

		if (flags & 1)
			return -EEXIST;
		if (dir != to_dir)
			return dir ? -ENOTDIR : -EISDIR;
		if (to_dir && !list_empty(&to->v->entries))
			return -ENOTEMPTY;
	}
	if (dir && is_inside(to->parent, from->v))
		return -EINVAL;
	target = dir_find(to->parent, to->last);
	if (target)
		dir_remove(target);
	dir_remove(old); /* our path keeps the vnode alive */
	err = dir_add(to->parent, to->last, from->v);
	return err;
}

static long do_rename(int olddir, uintptr_t old, int newdir, uintptr_t new, unsigned flags)
{
	struct path from, to;
	long err;

	if (flags & ~1u)
		return -EINVAL;
	err = user_path(olddir, old, LOOKUP_NOFOLLOW, &from);
	if (err)
		return err;
	err = user_path(newdir, new, LOOKUP_NOFOLLOW | LOOKUP_CREATE, &to);
	if (!err) {
		err = rename_checked(&from, &to, flags);
		path_put(&to);
	}
	path_put(&from);
	return err;
}

SYSCALL(rename) { return do_rename(AT_FDCWD, a[0], AT_FDCWD, a[1], 0); }
SYSCALL(renameat) { return do_rename((int)a[0], a[1], (int)a[2], a[3], 0); }
SYSCALL(renameat2) { return do_rename((int)a[0], a[1], (int)a[2], a[3], (unsigned)a[4]); }

static long do_readlink(int dirfd, uintptr_t path, uintptr_t buf, size_t size)
{
	char target[PATH_LEN];
	struct path p;
	size_t n;
	long err;

	if ((int)size <= 0)
		return -EINVAL;
	err = user_path(dirfd, path, LOOKUP_NOFOLLOW, &p);
	if (err)
		return err;
	if ((p.v->mode & S_IFMT) != S_IFLNK)
		err = -EINVAL;
	else if (p.v->ops && p.v->ops->readlink)
		p.v->ops->readlink(p.v, target, sizeof(target));
	else
		strscpy(target, p.v->target, sizeof(target));
	path_put(&p);
	if (err)
		return err;
	n = min(strlen(target), size);
	return hal_copy_to_user(buf, target, n) ? -EFAULT : (long)n;
}

SYSCALL(readlink) { return do_readlink(AT_FDCWD, a[0], a[1], a[2]); }
SYSCALL(readlinkat) { return do_readlink((int)a[0], a[1], a[2], a[3]); }

SYSCALL(getcwd)
{
	const char *s = current->proc->fs->cwd_path;
	size_t n = strlen(s) + 1;

	if (a[1] < n)
		return -ERANGE;
	return hal_copy_to_user(a[0], s, n) ? -EFAULT : (long)n;
}

/* The working directory keeps its path in words, for getcwd. */
static long change_dir(struct vnode *v, const char *full)
{
	struct fs_context *fs = current->proc->fs;

	if ((v->mode & S_IFMT) != S_IFDIR)
		return -ENOTDIR;
	vnode_get(v);
	vnode_put(fs->cwd);
	fs->cwd = v;
	strscpy(fs->cwd_path, full, sizeof(fs->cwd_path));
	return 0;
}

SYSCALL(chdir)
{
	struct path p;
	long err = user_path(AT_FDCWD, a[0], 0, &p);

	if (err)
		return err;
	err = change_dir(p.v, p.full);
	path_put(&p);
	return err;
}

SYSCALL(fchdir)
{
	struct file *f = fd_file((int)a[0]);

	return f ? change_dir(f->v, f->path) : -EBADF;
}

SYSCALL(umask)
{
	unsigned old = current->proc->fs->umask;

	current->proc->fs->umask = a[0] & 0777;
	return old;
}

static long change_mode(int dirfd, uintptr_t path, unsigned mode)
{
	struct path p;
	int err = user_path(dirfd, path, 0, &p);

	if (err)
		return err;
	p.v->mode = (p.v->mode & S_IFMT) | (mode & 07777);
	path_put(&p);
	return 0;
}

SYSCALL(chmod) { return change_mode(AT_FDCWD, a[0], (unsigned)a[1]); }
SYSCALL(fchmodat) { return change_mode((int)a[0], a[1], (unsigned)a[2]); }

SYSCALL(fchmod)
{
	struct file *f = fd_file((int)a[0]);

	if (!f)
		return -EBADF;
	f->v->mode = (f->v->mode & S_IFMT) | (a[1] & 07777);
	return 0;
}

/* There is one user, and the times of files are not kept: these find their file and succeed. */
static long touch_path(int dirfd, uintptr_t path)
{
	struct path p;
	int err;

	if (!path)
		return fd_file(dirfd) ? 0 : -EBADF;
	err = user_path(dirfd, path, 0, &p);
	if (!err)
		path_put(&p);
	return err;
}

SYSCALL(chown) { return touch_path(AT_FDCWD, a[0]); }
SYSCALL(lchown) { return touch_path(AT_FDCWD, a[0]); }
SYSCALL(fchown) { return sync_fd((int)a[0]); }
SYSCALL(fchownat) { return touch_path((int)a[0], a[1]); }
SYSCALL(utimensat) { return touch_path((int)a[0], a[1]); }

/* What an initramfs init of Linux mounts is there already. */
SYSCALL(mount)
{
	return touch_path(AT_FDCWD, a[1]);
}

SYSCALL(umount2)
{
	return touch_path(AT_FDCWD, a[0]);
}

/* ---- poll ------------------------------------------------------------------------------------ */

/* A file without poll is always ready, as a regular one is. */
static unsigned poll_file(struct file *f)
{
	return f->ops && f->ops->poll ? f->ops->poll(f) : POLLIN | POLLOUT;
}

static long poll_until(uintptr_t fds, unsigned long n, uint64_t deadline, bool wait)
{
	struct {
		int fd;
		short events, revents;
	} p;

	for (;;) {
		long ready = 0;

		for (unsigned long i = 0; i < n; i++) {
			struct file *f;

			if (COPY_IN(p, fds + i * sizeof(p)))
				return -EFAULT;
			f = fd_file(p.fd);
			p.revents = (short)(p.fd < 0 ? 0 : !f ? POLLNVAL
				: poll_file(f) & ((unsigned)p.events | POLLERR | POLLHUP));
			ready += p.revents != 0;
			if (COPY_OUT(fds + i * sizeof(p), p))
				return -EFAULT;
		}
		if (ready || !wait || (deadline && hal_clock_ns() >= deadline))
			return ready;
		if (signal_pending(current))
			return -EINTR;
		/* Nobody tells us: look again at the next tick. */
		sleep_on(&p, 0, true, hal_clock_ns() + TICK_NS);
	}
}

SYSCALL(poll)
{
	int ms = (int)a[2];

	return a[1] > MAX_FDS ? -EINVAL
			      : poll_until(a[0], a[1],
					   ms > 0 ? hal_clock_ns() + (uint64_t)ms * 1000000 : 0,
					   ms != 0);
}

SYSCALL(ppoll)
{
	uint64_t ts[2] = {1, 0};

	if (a[1] > MAX_FDS)
		return -EINVAL;
	if (a[2] && COPY_IN(ts, a[2]))
		return -EFAULT;
	return poll_until(a[0], a[1], a[2] ? hal_clock_ns() + ts[0] * 1000000000 + ts[1] : 0,
			  ts[0] || ts[1]);
}
