/* SPDX-License-Identifier: MIT */
/*
 * Mounts, and the calls that make files durable: mount, umount2, sync, syncfs, fsync, fdatasync,
 * sync_file_range. A mounted file system is a tree of vnodes whose root stands in the place of the
 * directory that it covers (cross_mount, when a path is resolved); ".." of it is the covered one's.
 * What file systems offer is in mount.h. All of kernel/'s own file systems are there from the start, so
 * mounting one of those succeeds and does nothing.
 */
#include "kernel/mount.h"
#include "kernel.h"
#include <quire/block.h>
#include <quire/os.h>

static LIST_HEAD(mounts);	 /* vfs_mutex */
static DEFINE_MUTEX(mount_mutex); /* one mount or unmount at a time; outside vfs_mutex */

static struct list_head *mount_list(void)
{
	assert_mutex_held(&vfs_mutex);
	return &mounts;
}

/* ---- what the tree asks ---------------------------------------------------------------------------- */

int dir_load(struct vnode *dir)
{
	int err = 0;

	if (!dir->mnt || vnode_type(dir) != S_IFDIR)
		return 0;
	mutex_lock(&vfs_mutex);
	if (!dir->loaded)
		err = dir->mnt->ops->load(dir);
	mutex_unlock(&vfs_mutex);
	return err;
}

struct vnode *vnode_make(struct vnode *dir, unsigned mode, const char *target, uint64_t rdev, int *err)
{
	struct vnode *v;

	*err = vnode_writable(dir);
	if (*err)
		return NULL;
	if (dir->mnt)
		return dir->mnt->ops->make(dir, mode, target, rdev, err);
	v = vnode_new(mode);
	if (v && ((mode & S_IFMT) == S_IFCHR || (mode & S_IFMT) == S_IFBLK)) {
		v->rdev = rdev;
		v->fops = (mode & S_IFMT) == S_IFCHR ? device_ops(rdev) : NULL;
	}
	if (v && target) {
		v->target = quire_kmalloc(strlen(target) + 1, 0);
		if (!v->target) {
			vnode_put(v);
			v = NULL;
		} else {
			memcpy(v->target, target, strlen(target) + 1);
		}
	}
	if (!v)
		*err = -ENOMEM;
	return v;
}

struct vnode *cross_mount(struct vnode *v)
{
	struct vnode *over = NULL;

	if (!READ_ONCE(v->mounted))
		return v;
	mutex_lock(&vfs_mutex);
	if (v->mounted) {
		over = v->mounted->root;
		vnode_get(over);
	}
	mutex_unlock(&vfs_mutex);
	if (!over)
		return v;
	vnode_put(v);
	return over;
}

/* ---- mount ---------------------------------------------------------------------------------------- */

static bool is_mounted(const struct quire_blkdev *dev)
{
	struct mount *m;
	bool found = false;

	mutex_lock(&vfs_mutex);
	list_for_each_entry(m, mount_list(), link)
		found |= m->dev == dev;
	mutex_unlock(&vfs_mutex);
	return found;
}

/* m covers p->v. */
static int attach(struct mount *m, const struct path *p, const char *source)
{
	int err = 0;

	strscpy(m->source, source, sizeof(m->source));
	strscpy(m->path, p->full, sizeof(m->path));
	mutex_lock(&vfs_mutex);
	if (p->v->mounted || !p->v->parent)
		err = p->v->mounted ? -EBUSY : -ENOENT;
	if (!err) {
		vnode_get(p->v);
		m->covered = p->v;
		m->root->parent = p->v->parent;
		list_add_tail(&m->link, mount_list());
		WRITE_ONCE(p->v->mounted, m);
	}
	mutex_unlock(&vfs_mutex);
	return err;
}

/* Every vnode of the tree but its root goes, the deepest first. vfs_mutex, or nobody else is there. */
static void prune(struct vnode *root)
{
	struct vnode *at = root;

	while (at != root || !list_empty(&root->entries)) {
		struct vnode *dir = list_empty(&at->entries) ? at->parent : at;
		struct dirent *d = list_first_entry(&dir->entries, struct dirent, link);

		if (dir == at && !list_empty(&d->v->entries)) {
			at = d->v;
			continue;
		}
		list_del(&d->link);
		d->v->nlink--;
		if (vnode_type(d->v) == S_IFDIR)
			d->v->parent = NULL;
		dirent_free(d);
		at = dir;
	}
	root->loaded = false;
}

static int discard(struct mount *m)
{
	struct vnode *root = m->root;

	mutex_lock(&vfs_mutex);
	prune(root);
	root->parent = NULL;
	mutex_unlock(&vfs_mutex);
	vnode_put(root);
	return m->ops->unmount(m);
}

/* A disk's file system over a directory. */
static long mount_disk(struct path *dev_path, struct path *p, unsigned long flags)
{
	struct quire_blkdev *dev = blkdev_of(dev_path->v);
	bool ro = flags & MS_RDONLY;
	struct mount *m;
	int err;

	if (!dev)
		return -ENOTBLK;
	if (vnode_type(p->v) != S_IFDIR)
		return -ENOTDIR;
	if (dev->read_only && !ro)
		return -EACCES;
	if (is_mounted(dev))
		return -EBUSY;
	m = ext2_mount(dev, dev_path->v->rdev, ro, &err);
	if (!m)
		return err;
	err = attach(m, p, dev_path->full);
	if (err)
		(void)discard(m);
	return err;
}

static long do_mount(uintptr_t source, uintptr_t target, unsigned long flags)
{
	struct path *p = quire_kmalloc(2 * sizeof(*p), 0);
	long err;

	if (!p)
		return -ENOMEM;
	err = user_path(AT_FDCWD, source, 0, &p[0]);
	if (!err) {
		err = user_path(AT_FDCWD, target, 0, &p[1]);
		if (!err) {
			mutex_lock(&mount_mutex);
			err = mount_disk(&p[0], &p[1], flags);
			mutex_unlock(&mount_mutex);
			path_put(&p[1]);
		}
		path_put(&p[0]);
	}
	quire_kfree(p);
	return err;
}

SYSCALL4(mount, uintptr_t, source, uintptr_t, target, uintptr_t, type, unsigned long, flags)
{
	char name[16];

	if (!type || copy_string(name, type, sizeof(name)) < 0 || strcmp(name, "ext2"))
		return path_exists(AT_FDCWD, target);
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return do_mount(source, target, flags);
}

/* ---- unmount --------------------------------------------------------------------------------------- */

/* Nobody comes in any more once it is detached; who is in already keeps it. */
static int detach(struct mount *m)
{
	struct mount *other;
	int err = 0;

	mutex_lock(&vfs_mutex);
	list_for_each_entry(other, mount_list(), link)
		if (other->covered->mnt == m)
			err = -EBUSY;
	if (!err && m->ops->busy(m))
		err = -EBUSY;
	if (!err) {
		WRITE_ONCE(m->covered->mounted, NULL);
		list_del(&m->link);
	}
	mutex_unlock(&vfs_mutex);
	return err;
}

#define BUSY_TRIES 20 /* who writes back holds a file for a moment */
#define BUSY_WAIT  (10 * NS_PER_MS)

static int unmount(struct mount *m)
{
	struct vnode *covered = m->covered;
	int err = m->ops->sync(m), late;
	static const uint32_t word;

	for (int i = 0; i < BUSY_TRIES; i++) {
		late = detach(m);
		if (late != -EBUSY)
			break;
		os_wait_until(&word, &word, 0, os_clock_ns() + BUSY_WAIT);
	}
	if (late)
		return late;
	late = discard(m);
	vnode_put(covered);
	return err ? err : late;
}

SYSCALL2(umount2, uintptr_t, target, int, flags)
{
	struct mount *m;
	struct path *p;
	long err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	p = quire_kmalloc(sizeof(*p), 0);
	if (!p)
		return -ENOMEM;
	err = user_path(AT_FDCWD, target, 0, p);
	if (!err) {
		m = p->v->mnt && p->v->mnt->root == p->v ? p->v->mnt : NULL;
		path_put(p);
		if (m) {
			mutex_lock(&mount_mutex);
			err = unmount(m);
			mutex_unlock(&mount_mutex);
		}
	}
	quire_kfree(p);
	return err;
}

void sync_at_end(void)
{
	bool any;

	mutex_lock(&mount_mutex);
	for (;;) {
		struct mount *m = NULL;

		mutex_lock(&vfs_mutex);
		any = !list_empty(mount_list());
		if (any)
			m = list_entry(mount_list()->prev, struct mount, link);
		mutex_unlock(&vfs_mutex);
		if (!any)
			break;
		if (unmount(m) == -EBUSY) {
			klog("%s is still in use", m->path);
			quire_sync();
			break;
		}
	}
	mutex_unlock(&mount_mutex);
}

/* Whatever is left is on its disk: nothing is written here. */
void unmount_all(void)
{
	while (!list_empty(&mounts)) {
		struct mount *m = list_entry(mounts.prev, struct mount, link);
		struct vnode *covered = m->covered;

		list_del(&m->link);
		covered->mounted = NULL;
		m->read_only = true;
		(void)discard(m);
		vnode_put(covered);
	}
}

void show_mounted(quire_emit_fn emit, void *ctx)
{
	struct mount *m;

	mutex_lock(&vfs_mutex);
	list_for_each_entry(m, mount_list(), link)
		emitf(emit, ctx, "%s %s %s %s,relatime 0 0\n", m->source, m->path, m->type,
		      m->read_only ? "ro" : "rw");
	mutex_unlock(&vfs_mutex);
}

/* ---- making durable ---------------------------------------------------------------------------------- */

static long sync_file(struct open_file *f, bool datasync)
{
	struct quire_file *qf;

	if (!f || file_flags(f) & O_PATH)
		return -EBADF;
	if (!f->v->mnt)
		return blkdev_file_sync(f->v);
	if (!f->v->contents)
		return f->v->mnt->ops->sync(f->v->mnt);
	qf = file_mapping(f);
	return qf ? quire_file_sync(qf, 0, UINT64_MAX, datasync) : -ENOMEM;
}

static long sync_fd(int fd, bool datasync)
{
	struct fd f = fdget(fd);
	long r = sync_file(f.file, datasync);

	fdput(f);
	return r;
}

SYSCALL1(fsync, int, fd)
{
	return sync_fd(fd, false);
}

SYSCALL1(fdatasync, int, fd)
{
	return sync_fd(fd, true);
}

SYSCALL0(sync)
{
	quire_sync();
	return 0;
}

SYSCALL1(syncfs, int, fd)
{
	struct fd f = fdget(fd);
	long r = f.file && !(file_flags(f.file) & O_PATH) ? 0 : -EBADF;

	if (!r && f.file->v->mnt)
		r = f.file->v->mnt->ops->sync(f.file->v->mnt);
	fdput(f);
	return r;
}

SYSCALL4(sync_file_range, int, fd, int64_t, off, int64_t, len, unsigned, flags)
{
	struct fd f = fdget(fd);
	struct quire_file *qf;
	long r = 0;

	if (!f.file || file_flags(f.file) & O_PATH)
		r = -EBADF;
	else if (flags & ~7u || off < 0 || len < 0 || off + len < off)
		r = -EINVAL;
	else if (vnode_type(f.file->v) == S_IFIFO || vnode_type(f.file->v) == S_IFCHR)
		r = -ESPIPE;
	if (!r && f.file->v->mnt && f.file->v->contents) {
		qf = file_mapping(f.file);
		r = qf ? quire_file_sync_range(qf, (uint64_t)off, len ? (uint64_t)(off + len) : UINT64_MAX, flags)
		       : -ENOMEM;
	}
	fdput(f);
	return r;
}
