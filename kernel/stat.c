/* SPDX-License-Identifier: MIT */
/*
 * stat, fstat, statx, statfs, access, chmod: what a file is, what its mode permits, changing the
 * mode. There is one user, and the times of files are not kept: chown and utimensat find their file
 * and succeed.
 */
#include "kernel.h"
#include "kernel/mount.h"

#define STATX_BASIC_STATS 0x7ff /* all that stat() tells */
#define STAT_BLOCK	  512	/* bytes in a st_blocks */
#define NAME_MAX	  255
#define ANY_X		  0111u

/* A page of the cache is what a file in memory occupies. */
static void fill_stat(struct vnode *v, struct stat_info *s)
{
	bool reg = vnode_type(v) == S_IFREG;

	*s = (struct stat_info){.dev = v->dev, .ino = v->ino, .rdev = v->rdev, .mode = READ_ONCE(v->mode),
				.nlink = READ_ONCE(v->nlink), .mtime_ns = READ_ONCE(v->mtime_ns)};
	if (reg && v->contents) {
		s->size = quire_inode_size(v->contents);
		s->blocks = quire_inode_cached_pages(v->contents) * (PAGE_SIZE / STAT_BLOCK);
	} else if (v->target) {
		s->size = strlen(v->target);
	}
	if (v->mnt)
		v->mnt->ops->getattr(v, s);
}

static int stat_fd(int fd, struct stat_info *s)
{
	struct fd f = fdget(fd);

	if (!f.file)
		return -EBADF;
	fill_stat(f.file->v, s);
	fdput(f);
	return 0;
}

static int stat_cwd(struct stat_info *s)
{
	char path[PATH_LEN];
	struct vnode *v = fs_cwd(current->proc->fs, path);

	fill_stat(v, s);
	vnode_put(v);
	return 0;
}

/* What a path names, or with AT_EMPTY_PATH and "" the descriptor itself. */
static int stat_at(int dirfd, uintptr_t path, unsigned flags, struct stat_info *s)
{
	struct path p;
	char first;
	int err;

	if (flags & AT_EMPTY_PATH && !COPY_IN(first, path) && !first)
		return dirfd == AT_FDCWD ? stat_cwd(s) : stat_fd(dirfd, s);
	err = user_path(dirfd, path, flags & AT_SYMLINK_NOFOLLOW ? LOOKUP_NOFOLLOW : 0, &p);
	if (err)
		return err;
	fill_stat(p.v, s);
	path_put(&p);
	return 0;
}

static long stat_path(int dirfd, uintptr_t path, uintptr_t dst, unsigned flags)
{
	struct stat_info s;
	int err = stat_at(dirfd, path, flags, &s);

	return err ? err : abi_put_stat(dst, &s);
}

SYSCALL2(fstat, int, fd, uintptr_t, dst)
{
	struct stat_info s;
	int err = stat_fd(fd, &s);

	return err ? err : abi_put_stat(dst, &s);
}

SYSCALL2(stat, uintptr_t, path, uintptr_t, dst)
{
	return stat_path(AT_FDCWD, path, dst, 0);
}

SYSCALL2(lstat, uintptr_t, path, uintptr_t, dst)
{
	return stat_path(AT_FDCWD, path, dst, AT_SYMLINK_NOFOLLOW);
}

SYSCALL4(newfstatat, int, dirfd, uintptr_t, path, uintptr_t, dst, unsigned, flags)
{
	return stat_path(dirfd, path, dst, flags);
}

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

SYSCALL5(statx, int, dirfd, uintptr_t, path, unsigned, flags, unsigned, mask, uintptr_t, dst)
{
	struct statx x = {.mask = STATX_BASIC_STATS, .blksize = PAGE_SIZE};
	struct stat_info s;
	int err = stat_at(dirfd, path, flags, &s);

	if (err)
		return err;
	x.nlink = s.nlink;
	x.mode = (uint16_t)s.mode;
	x.ino = s.ino;
	x.size = s.size;
	x.blocks = s.blocks;
	x.mtime.sec = (int64_t)(s.mtime_ns / NS_PER_SEC);
	x.mtime.nsec = (uint32_t)(s.mtime_ns % NS_PER_SEC);
	x.atime = x.btime = x.ctime = x.mtime;
	x.rdev_major = (uint32_t)(s.rdev >> 8);
	x.rdev_minor = s.rdev & 0xff;
	x.dev_major = (uint32_t)(s.dev >> 8);
	x.dev_minor = s.dev & 0xff;
	return COPY_OUT(dst, x);
}

static long access_path(int dirfd, uintptr_t path, unsigned mode)
{
	struct path p;
	int err;

	if (mode & ~(unsigned)(R_OK | W_OK | X_OK))
		return -EINVAL;
	err = user_path(dirfd, path, 0, &p);
	if (err)
		return err;
	/* Root may read and write all, and run what has any x bit. */
	if (mode & X_OK && vnode_type(p.v) == S_IFREG && !(READ_ONCE(p.v->mode) & ANY_X))
		err = -EACCES;
	path_put(&p);
	return err;
}

SYSCALL2(access, uintptr_t, path, unsigned, mode)
{
	return access_path(AT_FDCWD, path, mode);
}

SYSCALL3(faccessat, int, dirfd, uintptr_t, path, unsigned, mode)
{
	return access_path(dirfd, path, mode);
}

SYSCALL3(faccessat2, int, dirfd, uintptr_t, path, unsigned, mode)
{
	return access_path(dirfd, path, mode);
}

/* The tree in memory has no limits of its own. */
static long put_statfs(const struct vnode *v, uintptr_t dst)
{
	struct statfs s = {.type = TMPFS_MAGIC, .bsize = PAGE_SIZE, .namelen = NAME_MAX};

	if (v->mnt)
		v->mnt->ops->statfs(v->mnt, &s);
	return COPY_OUT(dst, s);
}

SYSCALL2(statfs, uintptr_t, path, uintptr_t, dst)
{
	struct path p;
	long err = user_path(AT_FDCWD, path, 0, &p);

	if (err)
		return err;
	err = put_statfs(p.v, dst);
	path_put(&p);
	return err;
}

SYSCALL2(fstatfs, int, fd, uintptr_t, dst)
{
	struct fd f = fdget(fd);
	long err = f.file ? put_statfs(f.file->v, dst) : -EBADF;

	fdput(f);
	return err;
}

/* 0 or -EROFS. */
static int set_mode(struct vnode *v, unsigned mode)
{
	int err = vnode_writable(v);

	if (err)
		return err;
	WRITE_ONCE(v->mode, vnode_type(v) | (mode & MODE_BITS));
	if (v->mnt)
		v->mnt->ops->changed(v);
	return 0;
}

static long change_mode(int dirfd, uintptr_t path, unsigned mode)
{
	struct path p;
	int err = user_path(dirfd, path, 0, &p);

	if (err)
		return err;
	err = set_mode(p.v, mode);
	path_put(&p);
	return err;
}

SYSCALL2(chmod, uintptr_t, path, unsigned, mode)
{
	return change_mode(AT_FDCWD, path, mode);
}

SYSCALL3(fchmodat, int, dirfd, uintptr_t, path, unsigned, mode)
{
	return change_mode(dirfd, path, mode);
}

SYSCALL2(fchmod, int, fd, unsigned, mode)
{
	struct fd f = fdget(fd);
	long err = f.file ? set_mode(f.file->v, mode) : -EBADF;

	fdput(f);
	return err;
}

SYSCALL1(chown, uintptr_t, path)
{
	return path_exists(AT_FDCWD, path);
}

SYSCALL1(lchown, uintptr_t, path)
{
	return path_exists(AT_FDCWD, path);
}

SYSCALL1(fchown, int, fd)
{
	return fd_exists(fd) ? 0 : -EBADF;
}

SYSCALL2(fchownat, int, dirfd, uintptr_t, path)
{
	return path_exists(dirfd, path);
}

/* Without a path it means the descriptor. */
SYSCALL2(utimensat, int, dirfd, uintptr_t, path)
{
	if (path)
		return path_exists(dirfd, path);
	return fd_exists(dirfd) ? 0 : -EBADF;
}
