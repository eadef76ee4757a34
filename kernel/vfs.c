/* SPDX-License-Identifier: MIT */
/*
 * VFS: path resolution over one tree of vnodes in memory, filled from the initramfs. A directory
 * keeps its entries in a list; a regular file's bytes are a quire_inode; directories that make
 * their children on demand (/proc) bring vnode_ops. Resolution also produces the canonical path,
 * for maps and getcwd.
 */
#include "kernel.h"
#include "kernel/mount.h"
#include "lib/cpio.h"

#define MAX_LINKS 40
#define ROOT_DEV  0x15u /* what st_dev and maps show: an anonymous device, 00:15 */

struct vnode *root_vnode;
DEFINE_MUTEX(vfs_mutex);

static uint64_t last_ino; /* atomic */

static bool is_dir(const struct vnode *v)
{
	return v && vnode_type(v) == S_IFDIR;
}

/* ---- vnodes ---------------------------------------------------------------------------------- */

/* With one reference, in no directory. NULL: no memory. */
struct vnode *vnode_alloc(unsigned mode, uint64_t ino)
{
	struct vnode *v = quire_kmalloc(sizeof(*v), QUIRE_GFP_ZERO);

	if (!v)
		return NULL;
	atomic_set(&v->refs, 1);
	v->mode = mode;
	v->ino = ino ? ino : atomic_add_of(&last_ino, 1);
	v->dev = ROOT_DEV;
	v->mtime_ns = realtime_ns();
	INIT_LIST_HEAD(&v->entries);
	return v;
}

struct vnode *vnode_new(unsigned mode)
{
	struct vnode *v = vnode_alloc(mode, 0);

	if (!v)
		return NULL;
	if ((mode & S_IFMT) == S_IFIFO)
		v->fops = fifo_ops();
	if ((mode & S_IFMT) == S_IFREG) {
		v->contents = quire_inode_create(NULL, v, v->ino, v->dev, QUIRE_S_SHMEM);
		v->fops = &regular_ops;
		if (!v->contents) {
			quire_kfree(v);
			return NULL;
		}
	}
	return v;
}

void vnode_get(struct vnode *v)
{
	atomic_inc(&v->refs);
}

/* A directory that is removed is empty, so only the end of everything meets entries here: nobody
 * else knows them any more. */
void vnode_put(struct vnode *v)
{
	struct dirent *d, *next;

	if (!v || !atomic_dec_and_test(&v->refs))
		return;
	list_for_each_entry_safe(d, next, &v->entries, link)
		dirent_free(d);
	if (v->mnt)
		v->mnt->ops->evict(v);
	if (v->contents)
		quire_inode_put(v->contents);
	locks_free(v->locks);
	quire_kfree(v->target);
	quire_kfree(v);
}

/* ---- directories ----------------------------------------------------------------------------- */

struct dirent *dirent_new(const char *name, struct vnode *v)
{
	size_t n = strlen(name);
	struct dirent *d = quire_kmalloc(sizeof(*d) + n + 1, 0);

	if (!d)
		return NULL;
	memcpy(d->name, name, n + 1);
	d->v = v;
	vnode_get(v);
	return d;
}

void dirent_free(struct dirent *d)
{
	if (!d)
		return;
	vnode_put(d->v);
	quire_kfree(d);
}

/* The entries of a directory, for whoever holds the mutex. */
static struct list_head *entries_of(struct vnode *dir)
{
	assert_mutex_held(&vfs_mutex);
	return &dir->entries;
}

struct dirent *dir_find(struct vnode *dir, const char *name)
{
	struct dirent *d;

	list_for_each_entry(d, entries_of(dir), link)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

void dir_enter(struct vnode *dir, struct dirent *d)
{
	WRITE_ONCE(d->v->nlink, d->v->nlink + 1);
	if (is_dir(d->v))
		d->v->parent = dir;
	list_add_tail(&d->link, entries_of(dir));
}

void dir_remove(struct dirent *d)
{
	assert_mutex_held(&vfs_mutex);
	list_del(&d->link);
	WRITE_ONCE(d->v->nlink, d->v->nlink - 1);
	if (is_dir(d->v))
		d->v->parent = NULL;
}

bool dir_is_gone(const struct vnode *dir)
{
	assert_mutex_held(&vfs_mutex);
	return !dir->parent;
}

int dir_add(struct vnode *dir, const char *name, struct vnode *v)
{
	struct dirent *d = dirent_new(name, v);
	int err = 0;

	if (!d)
		return -ENOMEM;
	mutex_lock(&vfs_mutex);
	if (dir_is_gone(dir))
		err = -ENOENT;
	else if (dir_find(dir, name))
		err = -EEXIST;
	else if (v->mnt != dir->mnt)
		err = -EXDEV;
	else
		err = vnode_writable(dir);
	if (!err && dir->mnt)
		err = dir->mnt->ops->link(dir, name, v);
	if (!err)
		dir_enter(dir, d);
	mutex_unlock(&vfs_mutex);
	if (err)
		dirent_free(d);
	return err;
}

void dir_unlink(struct vnode *dir, const char *name)
{
	struct dirent *d;

	mutex_lock(&vfs_mutex);
	d = dir_find(dir, name);
	if (d)
		dir_remove(d);
	mutex_unlock(&vfs_mutex);
	dirent_free(d);
}

/* What is made on demand is made without the mutex. */
struct vnode *dir_lookup(struct vnode *dir, const char *name)
{
	struct vnode *v = NULL;
	struct dirent *d;

	mutex_lock(&vfs_mutex);
	d = dir_find(dir, name);
	if (d) {
		v = d->v;
		vnode_get(v);
	}
	mutex_unlock(&vfs_mutex);
	return !v && dir->ops && dir->ops->lookup ? dir->ops->lookup(dir, name) : v;
}

int vfs_init(void)
{
	last_ino = 0;
	root_vnode = vnode_new(S_IFDIR | 0755);
	if (!root_vnode)
		return -ENOMEM;
	root_vnode->nlink = 1;
	root_vnode->parent = root_vnode;
	return 0;
}

void vfs_exit(void)
{
	unmount_all();
	vnode_put(root_vnode);
	root_vnode = NULL;
}

/* ---- resolution ------------------------------------------------------------------------------ */

static bool is_link(const struct vnode *v)
{
	return v && vnode_type(v) == S_IFLNK;
}

/* The canonical path without its last component; the root stays. */
static void full_pop(char *full)
{
	char *slash = strrchr(full, '/');

	if (slash && slash != full)
		*slash = '\0';
	else
		strscpy(full, "/", 2);
}

static int full_push(char *full, const char *name)
{
	size_t n = strlen(full), m = strlen(name);

	if (n == 1)
		n = 0; /* the root's slash is the separator */
	if (n + m + 2 > PATH_LEN)
		return -ENAMETOOLONG;
	full[n] = '/';
	memcpy(full + n + 1, name, m + 1);
	return 0;
}

struct walk {
	struct vnode *dir; /* where we are, with a reference */
	char *rest;	   /* what is still to go, PATH_LEN bytes */
	char *scratch;	   /* the same size */
	unsigned links;
	struct path *out;
};

/* Cuts the first component off w->rest into name. 0: nothing is left. */
static int next_component(struct walk *w, char name[256], bool *last)
{
	char *s = w->rest, *e;

	while (*s == '/')
		s++;
	if (!*s)
		return 0;
	for (e = s; *e && *e != '/';)
		e++;
	if (e - s > 255)
		return -ENAMETOOLONG;
	memcpy(name, s, (size_t)(e - s));
	name[e - s] = '\0';
	w->out->must_be_dir = *e == '/';
	while (*e == '/')
		e++;
	*last = !*e;
	memmove(w->rest, e, strlen(e) + 1);
	return 1;
}

/* Takes the caller's reference to v over. */
static void step_to(struct walk *w, struct vnode *v)
{
	vnode_put(w->dir);
	w->dir = v;
}

/* ".." of the root, and of a directory that was removed, is the root. */
static void step_up(struct walk *w)
{
	struct vnode *p;

	mutex_lock(&vfs_mutex);
	p = w->dir->parent ? w->dir->parent : root_vnode;
	vnode_get(p); /* it has an entry, ours: so it has not ended */
	mutex_unlock(&vfs_mutex);
	step_to(w, p);
	full_pop(w->out->full);
}

/* v is a link: its target comes before the rest. */
static int follow(struct walk *w, struct vnode *v)
{
	char *t = w->scratch;
	size_t n, m = strlen(w->rest);

	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if (v->ops && v->ops->readlink)
		v->ops->readlink(v, t, PATH_LEN);
	else
		strscpy(t, v->target, PATH_LEN);
	n = strlen(t);
	if (!n)
		return -ENOENT;
	if (n + m + 2 > PATH_LEN)
		return -ENAMETOOLONG;
	if (m)
		t[n++] = '/';
	memcpy(t + n, w->rest, m + 1);
	memcpy(w->rest, t, n + m + 1);
	if (w->rest[0] == '/') {
		vnode_get(root_vnode);
		step_to(w, root_vnode);
		strscpy(w->out->full, "/", PATH_LEN);
	}
	return 0;
}

/* The last component: fills out. v comes with a reference, or is NULL. */
static int arrive(struct walk *w, struct vnode *v, const char *name, unsigned flags)
{
	struct path *out = w->out;
	int err = full_push(out->full, name);

	if (!err && !v && !(flags & LOOKUP_CREATE))
		err = -ENOENT;
	if (!err && v && out->must_be_dir && !is_dir(v))
		err = -ENOTDIR;
	if (err) {
		vnode_put(v);
		return err;
	}
	strscpy(out->last, name, sizeof(out->last));
	out->v = v;
	out->parent = w->dir;
	vnode_get(w->dir);
	return 0;
}

/* A link that leads to an object rather than a name. 1, 0 or an errno as walk_step(). */
static int jump(struct walk *w, struct vnode *v, const char *name, bool last)
{
	struct path *out = w->out;
	struct vnode *to = v->ops->jump(v, out->full);

	if (!to)
		return -ENOENT;
	if (!is_dir(to) && (!last || out->must_be_dir)) {
		vnode_put(to);
		return -ENOTDIR;
	}
	if (!last) {
		step_to(w, to);
		return 1;
	}
	strscpy(out->last, name, sizeof(out->last));
	out->v = to;
	out->parent = w->dir;
	vnode_get(w->dir);
	return 0;
}

/* One component. 1: there is more to go, 0: arrived. */
static int walk_step(struct walk *w, unsigned flags)
{
	char name[256];
	struct vnode *v;
	bool last = false;
	int r = next_component(w, name, &last);

	if (r < 0)
		return r;
	if (!is_dir(w->dir))
		return -ENOTDIR;
	if (r == 0) { /* the path named the directory we stand in */
		w->out->v = w->dir;
		w->out->parent = w->dir;
		vnode_get(w->dir);
		vnode_get(w->dir);
		strscpy(w->out->last, ".", sizeof(w->out->last));
		return 0;
	}
	if (!strcmp(name, "."))
		return 1;
	if (!strcmp(name, "..")) {
		step_up(w);
		return 1;
	}
	r = dir_load(w->dir);
	if (r)
		return r;
	v = dir_lookup(w->dir, name);
	if (v)
		v = cross_mount(v);
	if (is_link(v) && !(last && flags & LOOKUP_NOFOLLOW && !w->out->must_be_dir)) {
		bool jumps = v->ops && v->ops->jump;

		r = jumps ? jump(w, v, name, last) : follow(w, v);
		vnode_put(v);
		return jumps || r ? r : 1;
	}
	if (last)
		return arrive(w, v, name, flags);
	if (!v)
		return -ENOENT;
	r = is_dir(v) ? full_push(w->out->full, name) : -ENOTDIR;
	if (r) {
		vnode_put(v);
		return r;
	}
	step_to(w, v);
	return 1;
}

int path_lookup(struct vnode *start, const char *start_path, const char *path, unsigned flags,
		struct path *out)
{
	struct walk w = {.out = out};
	int r;

	*out = (struct path){0};
	if (!*path)
		return -ENOENT;
	if (strlen(path) >= PATH_LEN)
		return -ENAMETOOLONG;
	w.rest = quire_kmalloc(2 * PATH_LEN, 0);
	if (!w.rest)
		return -ENOMEM;
	w.scratch = w.rest + PATH_LEN;
	strscpy(w.rest, path, PATH_LEN);
	if (!start && *path != '/') {
		w.dir = fs_cwd(current->proc->fs, out->full);
	} else {
		w.dir = *path == '/' ? root_vnode : start;
		strscpy(out->full, *path == '/' ? "/" : start_path, PATH_LEN);
		vnode_get(w.dir);
	}
	do {
		r = walk_step(&w, flags);
	} while (r > 0);
	vnode_put(w.dir);
	quire_kfree(w.rest);
	return r;
}

void path_put(struct path *p)
{
	vnode_put(p->v);
	vnode_put(p->parent);
	p->v = p->parent = NULL;
}

/* Components that exist are kept; a file in the way: NULL. */
struct vnode *mkdir_path(const char *path)
{
	struct vnode *dir = root_vnode, *v;
	char name[256];
	size_t n;

	vnode_get(dir);
	for (;;) {
		while (*path == '/')
			path++;
		if (!*path)
			return dir;
		for (n = 0; path[n] && path[n] != '/' && n < sizeof(name) - 1; n++)
			name[n] = path[n];
		name[n] = '\0';
		path += n;
		if (!strcmp(name, "."))
			continue;
		v = dir_lookup(dir, name);
		if (!v) {
			v = vnode_new(S_IFDIR | 0755);
			if (!v || dir_add(dir, name, v)) {
				vnode_put(v);
				vnode_put(dir);
				return NULL;
			}
		}
		vnode_put(dir);
		dir = v;
		if (!is_dir(dir)) {
			vnode_put(dir);
			return NULL;
		}
	}
}

/* ---- initramfs ------------------------------------------------------------------------------- */

static int fill_file(struct vnode *v, const struct cpio_entry *e)
{
	size_t done = 0;
	long n;

	while (done < e->size) {
		n = quire_inode_write(v->contents, done,
				      (uintptr_t)e->data + done, e->size - done, false);
		if (n <= 0)
			return n ? (int)n : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* A file with its bytes, a link with its target, or a device's node. */
static struct vnode *make_entry(const struct cpio_entry *e)
{
	struct vnode *v = vnode_new(e->mode & 0177777);

	if (!v)
		return NULL;
	switch (e->mode & S_IFMT) {
	case S_IFREG:
		if (fill_file(v, e)) {
			vnode_put(v);
			return NULL;
		}
		break;
	case S_IFLNK:
		v->target = quire_kmalloc(e->size + 1, QUIRE_GFP_ZERO);
		if (!v->target) {
			vnode_put(v);
			return NULL;
		}
		memcpy(v->target, e->data, e->size);
		break;
	default:
		v->rdev = (uint64_t)e->rdevmajor << 8 | e->rdevminor;
		break;
	}
	return v;
}

/* Parent directories that the archive does not name are made, so that the order of entries does not
 * matter. */
static int unpack_one(const struct cpio_entry *e)
{
	const char *slash = strrchr(e->name, '/'), *base = slash ? slash + 1 : e->name;
	struct vnode *dir, *v;
	char parent[PATH_LEN];
	int err;

	if ((e->mode & S_IFMT) == S_IFDIR) {
		dir = mkdir_path(e->name);
		vnode_put(dir);
		return dir ? 0 : -ENOMEM;
	}
	strscpy(parent, e->name, min(sizeof(parent), (size_t)(base - e->name) + 1));
	dir = mkdir_path(parent);
	v = dir ? make_entry(e) : NULL;
	if (v) /* a later archive's file takes the place of an earlier one's */
		dir_unlink(dir, base);
	err = v ? dir_add(dir, base, v) : -ENOMEM;
	vnode_put(v);
	vnode_put(dir);
	return err;
}

int unpack_initramfs(const void *archive, size_t size)
{
	struct cpio_reader r;
	struct cpio_entry e;
	int more, err;

	cpio_open(&r, archive, size);
	while ((more = cpio_next(&r, &e)) > 0) {
		err = unpack_one(&e);
		if (err) {
			klog("initramfs: cannot unpack %s: error %d", e.name, -err);
			return err;
		}
	}
	if (more < 0)
		klog("initramfs: %s at byte %llu", r.error, (unsigned long long)r.error_offset);
	return more;
}
