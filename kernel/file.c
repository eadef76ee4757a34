/* SPDX-License-Identifier: MIT */
/*
 * Open files (struct open_file): creation, reference counts, what a mapping of one keeps, and
 * reading and writing of regular ones through the page cache of the core. Everything else (devices,
 * pipes, /proc) brings its file_ops. Descriptors are fd.c's, names open.c's.
 */
#include "kernel.h"

/* Takes a reference of its own to v. NULL: no memory. */
struct open_file *file_alloc(struct vnode *v, const char *path, unsigned flags)
{
	size_t n = strlen(path) + 1;
	struct open_file *f = quire_kmalloc(sizeof(*f) + n, QUIRE_GFP_ZERO);

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
void file_put(struct open_file *f)
{
	if (--f->refs)
		return;
	if (f->ops && f->ops->release)
		f->ops->release(f);
	if (f->mm)
		quire_mm_drop(f->mm);
	if (f->qf)
		quire_file_put(f->qf);
	vnode_put(f->v);
	quire_kfree(f);
}

bool file_readable(const struct open_file *f)
{
	return !(f->flags & O_PATH) && (f->flags & O_ACCMODE) != O_WRONLY;
}

bool file_writable(const struct open_file *f)
{
	return !(f->flags & O_PATH) && (f->flags & O_ACCMODE) != 0;
}

/* Made when first asked for: most files are never mapped. */
struct quire_file *file_mapping(struct open_file *f)
{
	unsigned mode = 0;

	if (f->qf)
		return f->qf;
	mode |= file_readable(f) ? QUIRE_FMODE_READ | QUIRE_FMODE_EXEC : 0;
	mode |= file_writable(f) ? QUIRE_FMODE_WRITE : 0;
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

/* Only a memfd has any. */
unsigned file_seals(struct open_file *f)
{
	return f->memfd && file_mapping(f) ? quire_file_seals(f->qf) : 0;
}

/* The core copies straight to the user, through the page cache. */
static long regular_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	long r = quire_inode_read(f->v->contents, *pos, buf, n, true);

	if (r > 0)
		*pos += (uint64_t)r;
	return r;
}

/* Seals first: a write that would grow a sealed file is cut at its end, as shmem does. */
static long regular_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	uint64_t size = quire_inode_size(f->v->contents);
	unsigned seals = file_seals(f);
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
