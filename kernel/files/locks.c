/* SPDX-License-Identifier: MIT */
/*
 * Locks on files that programs agree on: records, by fcntl, and whole files, by flock.
 *
 * A record lock belongs to a table of descriptors (F_SETLK: the program's) or to an open file (F_OFD_SETLK), a
 * flock to an open file. A vnode's locks hang on it from the first one on. Those of an owner never overlap, and
 * two of one kind that touch are one. Of a lock over others of the same owner the new kind holds:
 *
 *	 before   rrrrrrrrrr......wwww
 *	 new          wwwwwwwwwwwwww
 *	 after    rrrrwwwwwwwwwwwwwwww
 *
 * The close of any descriptor of the file ends a program's record locks on it; the other locks end with the
 * last close of their open file. Who waits says for whom: a ring of such is a deadlock, and who would close it
 * is refused.
 */
#include "kernel/kernel.h"

#define OFFSET_MAX INT64_MAX
#define RING_MAX   10 /* steps of a chain of waiters that are followed, as Linux does */

struct file_lock {
	struct list_head link; /* set->lock */
	const void *owner;     /* a table of descriptors, an open file; not used but to be compared */
	int type;	       /* F_RDLCK, F_WRLCK */
	int pid;	       /* who is told to hold it; -1: an open file */
	uint64_t start, end;   /* both belong to it */
};

struct lock_set {
	spinlock_t lock;
	struct list_head records, flocks; /* struct file_lock; records as insert() has them */
	struct wait_head released;
};

/* One who waits, on the stack of its task. */
struct blocked {
	struct list_head link;
	const void *owner, *on; /* on NULL: it waits for nobody at the moment */
};

static spinlock_t blocked_lock = SPINLOCK_INIT_RANK("blocked_lock", RANK_BLOCKED);
static struct list_head blocked_list = LIST_HEAD_INIT(blocked_list);

/* ---- sets ------------------------------------------------------------------------------------ */

static struct lock_set *set_of(struct vnode *v)
{
	return atomic_load_of(&v->locks);
}

/* Made when first asked for; of two threads that do, the first one's stays. NULL: no memory. */
static struct lock_set *make_set(struct vnode *v)
{
	struct lock_set *s = set_of(v), *first;

	if (s)
		return s;
	s = quire_kmalloc(sizeof(*s), QUIRE_GFP_ZERO);
	if (!s)
		return NULL;
	spin_lock_init_rank(&s->lock, "file_locks", RANK_LOCKS);
	INIT_LIST_HEAD(&s->records);
	INIT_LIST_HEAD(&s->flocks);
	first = atomic_cmpxchg_of(&v->locks, NULL, s);
	if (!first)
		return s;
	quire_kfree(s);
	return first;
}

void locks_free(struct lock_set *s)
{
	if (s)
		ASSERT(list_empty(&s->records) && list_empty(&s->flocks));
	quire_kfree(s);
}

static void free_all(struct list_head *gone)
{
	struct file_lock *l, *next;

	list_for_each_entry_safe(l, next, gone, link)
		quire_kfree(l);
}

/* ---- records --------------------------------------------------------------------------------- */

/* A lock that l cannot be beside; NULL: there is none. */
static struct file_lock *find_conflict(struct list_head *locks, const struct file_lock *l)
{
	struct file_lock *o;

	list_for_each_entry(o, locks, link)
		if (o->owner != l->owner && o->start <= l->end && l->start <= o->end &&
		    (o->type == F_WRLCK || l->type == F_WRLCK))
			return o;
	return NULL;
}

static bool touches(const struct file_lock *o, const struct file_lock *l)
{
	return o->start <= l->end + 1 && l->start <= o->end + 1; /* ends are at most OFFSET_MAX */
}

/* Owners stand in the order in which each had its first lock, their locks by start: who asks what is in the
 * way is told the first. */
static void insert(struct lock_set *s, struct file_lock *l)
{
	struct file_lock *o;
	bool met = false;

	assert_held(&s->lock);
	list_for_each_entry(o, &s->records, link) {
		if (met && (o->owner != l->owner || o->start >= l->start))
			break;
		met |= o->owner == l->owner;
		if (met && o->start >= l->start)
			break;
	}
	list_add_tail(&l->link, &o->link); /* before it, or at the end */
}

/* Takes [l->start, l->end] off o, of another type; the piece behind it, if there is one, becomes *rest. */
static void cut(struct lock_set *s, struct file_lock *o, const struct file_lock *l,
		struct file_lock **rest, struct list_head *gone)
{
	if (o->start < l->start && o->end > l->end) {
		ASSERT(*rest);
		**rest = *o;
		(*rest)->start = l->end + 1;
		o->end = l->start - 1;
		insert(s, *rest);
		*rest = NULL;
	} else if (o->start < l->start) {
		o->end = l->start - 1;
	} else if (o->end > l->end) {
		o->start = l->end + 1; /* it still comes before what starts later */
	} else {
		list_move(&o->link, gone);
	}
}

/* l becomes the owner's, or with F_UNLCK nothing is where it says; what is not needed goes to `gone`. There is
 * no conflict. */
static void apply(struct lock_set *s, struct file_lock *l, struct file_lock *rest, struct list_head *gone)
{
	struct file_lock *o, *next;

	assert_held(&s->lock);
	insert(s, l); /* while those are there whose place it may take */
	list_for_each_entry_safe(o, next, &s->records, link) {
		if (o == l || o->owner != l->owner || !touches(o, l))
			continue;
		if (o->type == l->type) {
			l->start = min(l->start, o->start);
			l->end = max(l->end, o->end);
			list_move(&o->link, gone);
		} else if (o->start <= l->end && l->start <= o->end) {
			cut(s, o, l, &rest, gone);
		}
	}
	if (l->type == F_UNLCK)
		list_move(&l->link, gone);
	if (rest)
		list_add(&rest->link, gone);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Whom does it wait for? NULL: for nobody. */
static const void *waits_for(const void *owner)
{
	struct blocked *b;

	assert_held(&blocked_lock);
	list_for_each_entry(b, &blocked_list, link)
		if (b->owner == owner && b->on)
			return b->on;
	return NULL;
}

/* b is to wait for owner `on`. false: that one waits for b, directly or by way of others. */
static bool block_on(struct blocked *b, const void *on, bool look)
{
	const void *o = on;
	bool ring = false;

	spin_lock(&blocked_lock);
	for (unsigned i = 0; look && o && !ring && i < RING_MAX; i++) {
		o = waits_for(o);
		ring = o == b->owner;
	}
	b->on = ring ? NULL : on;
	spin_unlock(&blocked_lock);
	return !ring;
}

static void blocked_begin(struct blocked *b, const void *owner)
{
	*b = (struct blocked){.owner = owner};
	spin_lock(&blocked_lock);
	list_add_tail(&b->link, &blocked_list);
	spin_unlock(&blocked_lock);
}

static void blocked_end(struct blocked *b)
{
	spin_lock(&blocked_lock);
	list_del(&b->link);
	spin_unlock(&blocked_lock);
}

/* Something was let go, or made weaker. */
static void released(struct lock_set *s)
{
	wake_all(&s->released);
}

/* A request: l and rest are the set's afterwards, or freed. */
struct request {
	struct lock_set *set;
	struct file_lock *l, *rest;
	bool flock, wait;
	bool deadlocks; /* a ring of waiters is looked for: programs', not open files' */
	struct blocked blocked;
};

/* Puts a flock in place of the one the open file has, if it has any: that one goes first, as on Linux,
 * even if the new one then cannot be had. */
static void drop_flock(struct lock_set *s, const struct file_lock *l, struct list_head *gone)
{
	struct file_lock *o, *next;

	assert_held(&s->lock);
	list_for_each_entry_safe(o, next, &s->flocks, link)
		if (o->owner == l->owner)
			list_move(&o->link, gone);
}

static bool has_flock(struct lock_set *s, const struct file_lock *l)
{
	struct file_lock *o;

	list_for_each_entry(o, &s->flocks, link)
		if (o->owner == l->owner && o->type == l->type)
			return true;
	return false;
}

/* 0: done; -EAGAIN: another's is in the way; -EDEADLK. */
static int try_lock(struct request *r)
{
	struct lock_set *s = r->set;
	struct list_head *locks = r->flock ? &s->flocks : &s->records;
	struct file_lock *o = NULL;
	LIST_HEAD(gone);
	bool done;
	int err = 0;

	spin_lock(&s->lock);
	done = r->flock && has_flock(s, r->l);
	if (!done && r->flock)
		drop_flock(s, r->l, &gone);
	if (!done && r->l->type != F_UNLCK)
		o = find_conflict(locks, r->l);
	if (o) {
		err = !r->wait || block_on(&r->blocked, o->owner, r->deadlocks) ? -EAGAIN : -EDEADLK;
	} else if (!r->flock) {
		apply(s, r->l, r->rest, &gone);
		r->l = r->rest = NULL;
	} else if (!done && r->l->type != F_UNLCK) {
		list_add_tail(&r->l->link, locks);
		r->l = NULL;
	}
	spin_unlock(&s->lock);
	if (!list_empty(&gone))
		released(s);
	free_all(&gone);
	return err;
}

static long do_request(struct request *r)
{
	int err = 0, slept = 0;

	if (r->wait) {
		blocked_begin(&r->blocked, r->l->owner);
		slept = wait_event(&r->set->released, (err = try_lock(r)) != -EAGAIN, true, 0);
		blocked_end(&r->blocked);
	} else {
		err = try_lock(r);
	}
	quire_kfree(r->l);
	quire_kfree(r->rest);
	return slept ? -ERESTARTSYS : err;
}

/* l as a template. -ENOMEM before anything happens. */
static long request(struct vnode *v, const struct file_lock *l, bool flock, bool wait)
{
	struct request r = {.set = make_set(v), .flock = flock, .wait = wait,
			    .deadlocks = !flock && l->pid >= 0};

	r.l = quire_kmalloc(sizeof(*l), 0);
	r.rest = flock ? NULL : quire_kmalloc(sizeof(*l), 0);
	if (!r.set || !r.l || (!flock && !r.rest)) {
		quire_kfree(r.l);
		quire_kfree(r.rest);
		return -ENOMEM;
	}
	*r.l = *l;
	return do_request(&r);
}

/* ---- what ends them -------------------------------------------------------------------------- */

static void drop_owner(struct lock_set *s, struct list_head *locks, const void *owner)
{
	struct file_lock *o, *next;
	LIST_HEAD(gone);

	spin_lock(&s->lock);
	list_for_each_entry_safe(o, next, locks, link)
		if (o->owner == owner)
			list_move(&o->link, &gone);
	spin_unlock(&s->lock);
	if (list_empty(&gone))
		return;
	released(s);
	free_all(&gone);
}

void locks_close(struct vnode *v, const struct fd_table *t)
{
	struct lock_set *s = set_of(v);

	if (unlikely(s))
		drop_owner(s, &s->records, t);
}

void locks_file_gone(struct open_file *f)
{
	struct lock_set *s = set_of(f->v);

	if (likely(!s))
		return;
	drop_owner(s, &s->records, f);
	drop_owner(s, &s->flocks, f);
}

/* ---- fcntl ----------------------------------------------------------------------------------- */

struct user_flock {
	int16_t type, whence;
	int32_t pad;
	int64_t start, len;
	int32_t pid, pad2;
};

/* The bytes that the user means. */
static int get_range(struct open_file *f, const struct user_flock *u, struct file_lock *l)
{
	int64_t at = 0, start, end = OFFSET_MAX;

	if (u->whence == SEEK_CUR)
		at = (int64_t)pos_get(f, &f->pos);
	else if (u->whence == SEEK_END)
		at = f->v->contents ? (int64_t)quire_inode_size(f->v->contents) : 0;
	else if (u->whence != SEEK_SET)
		return -EINVAL;
	if (__builtin_add_overflow(at, u->start, &start))
		return -EOVERFLOW;
	if (start < 0)
		return -EINVAL;
	if (u->len > 0 && __builtin_add_overflow(start, u->len - 1, &end))
		return -EOVERFLOW;
	if (u->len < 0) {
		if (start + u->len < 0)
			return -EINVAL;
		end = start - 1;
		start += u->len;
	}
	l->start = (uint64_t)start;
	l->end = (uint64_t)end;
	return 0;
}

static int get_lock(struct open_file *f, bool ofd, uintptr_t src, struct file_lock *l, struct user_flock *u)
{
	int err;

	if (COPY_IN(*u, src))
		return -EFAULT;
	if (ofd && u->pid)
		return -EINVAL;
	*l = (struct file_lock){.owner = ofd ? (void *)f : current->proc->fds, .type = u->type,
				.pid = ofd ? -1 : current->proc->pid};
	if (u->type != F_RDLCK && u->type != F_WRLCK && u->type != F_UNLCK)
		return -EINVAL;
	err = get_range(f, u, l);
	return err;
}

static long who_locks(struct open_file *f, bool ofd, uintptr_t at)
{
	struct lock_set *s = set_of(f->v);
	struct file_lock l, *o = NULL;
	struct user_flock u;
	int err = get_lock(f, ofd, at, &l, &u);

	if (err)
		return err;
	if (l.type == F_UNLCK)
		return -EINVAL;
	if (s) {
		spin_lock(&s->lock);
		o = find_conflict(&s->records, &l);
		if (o)
			u = (struct user_flock){.type = (int16_t)o->type, .whence = SEEK_SET, .pid = o->pid,
						.start = (int64_t)o->start,
						.len = o->end == OFFSET_MAX ? 0 : (int64_t)(o->end - o->start + 1)};
		spin_unlock(&s->lock);
	}
	if (!o)
		u.type = F_UNLCK;
	return COPY_OUT(at, u);
}

static long set_record(int fd, struct open_file *f, bool ofd, bool wait, uintptr_t src)
{
	struct user_flock u;
	struct file_lock l;
	struct fd now;
	long r = get_lock(f, ofd, src, &l, &u);

	if (r)
		return r;
	if ((l.type == F_RDLCK && !file_readable(f)) || (l.type == F_WRLCK && !file_writable(f)))
		return -EBADF;
	if (l.type == F_UNLCK && !set_of(f->v))
		return 0;
	r = request(f->v, &l, false, wait && l.type != F_UNLCK);
	if (r || l.type == F_UNLCK)
		return r;
	/* Another thread may have closed the descriptor before the lock was there to be ended by that. */
	now = fdget(fd);
	if (now.file != f) {
		l.type = F_UNLCK;
		(void)request(f->v, &l, false, false);
		r = -EBADF;
	}
	fdput(now);
	return r;
}

long fcntl_lock(int fd, struct open_file *f, unsigned cmd, uintptr_t arg)
{
	bool ofd = cmd >= F_OFD_GETLK;

	if (cmd == F_GETLK || cmd == F_OFD_GETLK)
		return who_locks(f, ofd, arg);
	return set_record(fd, f, ofd, cmd == F_SETLKW || cmd == F_OFD_SETLKW, arg);
}

/* ---- flock ----------------------------------------------------------------------------------- */

static long do_flock(struct open_file *f, unsigned op)
{
	struct file_lock l = {.owner = f, .pid = -1, .end = OFFSET_MAX};
	bool wait = !(op & LOCK_NB);

	switch (op & ~LOCK_NB) {
	case LOCK_SH:
		l.type = F_RDLCK;
		break;
	case LOCK_EX:
		l.type = F_WRLCK;
		break;
	case LOCK_UN:
		l.type = F_UNLCK;
		wait = false;
		break;
	default:
		return -EINVAL;
	}
	return request(f->v, &l, true, wait);
}

SYSCALL2(flock, int, fd, unsigned, op)
{
	struct fd f = fdget(fd);
	long r = -EBADF;

	if (f.file && !(file_flags(f.file) & O_PATH))
		r = do_flock(f.file, op);
	fdput(f);
	return r;
}
