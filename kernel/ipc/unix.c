/* SPDX-License-Identifier: MIT */
/*
 * Sockets of this machine: AF_UNIX streams. Each has a ring of the bytes that were sent to it, and with some of
 * them files (SCM_RIGHTS), which go with the byte that they were sent with.
 *
 *	made --bind--> --listen--> [accept gives a socket for each that connects]
 *	made --connect--> connected to a socket that the listener has yet to accept
 *
 * A socket's mutex covers its own ring and state and is held over no copy, no wait and no other socket's. Two
 * that are connected hold a reference to each other until both are closed. As in a pipe, a reader copies what
 * is there and takes it out afterwards, unless another thread has meanwhile. A socket with files in it that
 * nobody can read any more, for it is among them itself, is not found.
 */
#include "kernel/kernel.h"

#define RING_ORDER 4
#define RING_SIZE  (PAGE_SIZE << RING_ORDER)
#define NAME_ROOM  108 /* of sun_path */
#define MAX_RIGHTS 253 /* files in one message, as Linux has it */
#define BACKLOG_MAX 4096u
#define SMALL	   256u
#define SOCK_TYPE_MASK 0xf

enum state { MADE, LISTENING, CONNECTED };

/* Files that came with bytes at these positions: they go with the first of them, and what receives them goes no
 * further than the last. */
struct rights {
	struct list_head link;
	uint64_t at, end;
	unsigned n;
	struct open_file *file[];
};

struct name {
	size_t len; /* of path; 0: none */
	char path[NAME_ROOM + 1];
};

struct sock {
	atomic_t refs;
	struct mutex lock;	/* all that follows but for what says otherwise */
	enum state state;	/* looked at without */
	char *ring;		/* while it is connected */
	size_t head, used;
	uint64_t taken;		/* bytes ever taken out: the position of the ring's first one */
	struct list_head rights; /* struct rights, by position */
	bool dead;		/* closed; looked at without */
	bool no_read, no_write;	/* shut down; looked at without */
	int err;		/* told once */
	struct sock *peer;	/* with a reference; set once, atomic */
	int pid, peer_pid;	/* for SO_PEERCRED */
	unsigned backlog, nr_waiting;
	struct list_head waiting; /* of one that listens: sock.link, not accepted yet, with a reference */
	struct list_head link;
	struct vnode *v;	/* bound there, with a reference; names_lock */
	struct list_head abstract; /* bound without a file; names_lock */
	struct name name;	/* set once, by bind or by who connects */
	bool pass_cred;
	struct wait_head readable, writable;
	struct poll_head polls;
};

static spinlock_t names_lock = SPINLOCK_INIT_RANK("socket_names", RANK_FILES);
static struct list_head abstract_names = LIST_HEAD_INIT(abstract_names);

static const struct file_ops sock_ops;

/* ---- their lives ----------------------------------------------------------------------------- */

static void rights_free(struct rights *r)
{
	for (unsigned i = 0; i < r->n; i++)
		file_put(r->file[i]);
	quire_kfree(r);
}

static void free_rights_list(struct list_head *list)
{
	struct rights *r, *next;

	list_for_each_entry_safe(r, next, list, link)
		rights_free(r);
	INIT_LIST_HEAD(list);
}

static struct sock *sock_new(void)
{
	struct sock *s = quire_kmalloc(sizeof(*s), QUIRE_GFP_ZERO);

	if (!s)
		return NULL;
	atomic_set(&s->refs, 1);
	mutex_init_named(&s->lock, "socket");
	INIT_LIST_HEAD(&s->rights);
	INIT_LIST_HEAD(&s->waiting);
	INIT_LIST_HEAD(&s->link);
	INIT_LIST_HEAD(&s->abstract);
	poll_head_init(&s->polls);
	s->pid = current->proc->pid;
	return s;
}

static void sock_put(struct sock *s)
{
	if (!atomic_dec_and_test(&s->refs))
		return;
	free_rights_list(&s->rights);
	if (s->ring)
		quire_free_pages(s->ring, RING_ORDER);
	quire_kfree(s);
}

static bool give_ring(struct sock *s)
{
	char *ring = quire_alloc_pages(RING_ORDER, 0);

	mutex_lock(&s->lock);
	if (!s->ring) {
		s->ring = ring;
		ring = NULL;
	}
	mutex_unlock(&s->lock);
	if (ring)
		quire_free_pages(ring, RING_ORDER);
	return s->ring;
}

static struct sock *peer_of(struct sock *s)
{
	return atomic_load_of(&s->peer);
}

static void tell(struct sock *s, unsigned events)
{
	wake_all(&s->readable);
	wake_all(&s->writable);
	poll_tell(&s->polls, events);
}

/* Both know each other from here on. false: a is connected already. */
static bool join(struct sock *a, struct sock *b)
{
	if (atomic_cmpxchg_of(&a->state, MADE, CONNECTED) != MADE)
		return false;
	WRITE_ONCE(b->state, CONNECTED);
	atomic_inc(&a->refs);
	atomic_inc(&b->refs);
	a->peer_pid = b->pid;
	b->peer_pid = a->pid;
	atomic_store_of(&a->peer, b);
	atomic_store_of(&b->peer, a);
	return true;
}

static void unbind(struct sock *s)
{
	struct vnode *v;

	spin_lock(&names_lock);
	v = s->v;
	s->v = NULL;
	if (v)
		v->priv = NULL;
	list_del_init(&s->abstract);
	spin_unlock(&names_lock);
	vnode_put(v);
}

/* Its file is closed, or nobody will accept it. What was not read is an error to who sent it. */
static void sock_close(struct sock *s, bool accepted)
{
	struct sock *peer, *w, *next;
	LIST_HEAD(rights);
	LIST_HEAD(waiting);
	bool unread;

	unbind(s);
	mutex_lock(&s->lock);
	WRITE_ONCE(s->dead, true);
	unread = s->used;
	list_splice_init(&s->rights, &rights);
	list_splice_init(&s->waiting, &waiting);
	mutex_unlock(&s->lock);
	free_rights_list(&rights);
	list_for_each_entry_safe(w, next, &waiting, link) {
		list_del_init(&w->link);
		sock_close(w, false);
	}
	peer = peer_of(s);
	if (peer) {
		mutex_lock(&peer->lock);
		if (unread || !accepted)
			peer->err = ECONNRESET;
		mutex_unlock(&peer->lock);
		tell(peer, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP);
		sock_put(peer);
	}
	wake_all(&s->writable); /* who waits to connect */
	sock_put(s);
}

static void sock_release(struct open_file *f)
{
	sock_close(f->priv, true);
}

static struct open_file *sock_file(struct sock *s, unsigned flags)
{
	struct open_file *f = anon_file("socket:", &sock_ops, s, O_RDWR | (flags & O_NONBLOCK));

	if (f)
		f->v->mode = S_IFSOCK | 0777;
	return f;
}

/* The socket of a descriptor; f.file NULL: it is none, and why. */
static struct sock *sock_get(int fd, struct fd *f, int *err)
{
	*f = fdget(fd);
	*err = !f->file || file_flags(f->file) & O_PATH ? -EBADF : f->file->ops != &sock_ops ? -ENOTSOCK : 0;
	if (!*err)
		return f->file->priv;
	fdput(*f);
	return NULL;
}

static int check_type(int domain, int type, int protocol)
{
	if (domain != AF_UNIX)
		return -EAFNOSUPPORT;
	if (type & ~(SOCK_TYPE_MASK | (int)(O_CLOEXEC | O_NONBLOCK)))
		return -EINVAL;
	if (protocol && protocol != AF_UNIX)
		return -EPROTONOSUPPORT;
	return (type & SOCK_TYPE_MASK) == SOCK_STREAM ? 0 : -ESOCKTNOSUPPORT;
}

SYSCALL3(socket, int, domain, int, type, int, protocol)
{
	int err = check_type(domain, type, protocol);
	struct open_file *f;
	struct sock *s;

	if (err)
		return err;
	s = sock_new();
	f = s ? sock_file(s, (unsigned)type) : NULL;
	if (f)
		return file_install(f, (unsigned)type);
	if (s)
		sock_put(s);
	return -ENOMEM;
}

/* Two files, connected. 0 or -ENOMEM. */
static int make_pair(struct open_file *f[2], unsigned flags)
{
	for (int i = 0; i < 2; i++) {
		struct sock *s = sock_new();

		f[i] = s && give_ring(s) ? sock_file(s, flags) : NULL;
		if (f[i])
			continue;
		if (s)
			sock_put(s);
		if (i)
			file_put(f[0]);
		return -ENOMEM;
	}
	join(f[0]->priv, f[1]->priv);
	return 0;
}

SYSCALL4(socketpair, int, domain, int, type, int, protocol, uintptr_t, dst)
{
	int err = check_type(domain, type, protocol), fd[2] = {-1, -1};
	struct open_file *f[2];

	if (!err)
		err = make_pair(f, (unsigned)type);
	if (err)
		return err;
	err = fd_reserve_pair(fd, dst, (unsigned)type & O_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		if (err)
			file_put(f[i]);
		else
			fd_install(fd[i], f[i]);
	}
	return err;
}

/* ---- names ----------------------------------------------------------------------------------- */

static int get_name(uintptr_t src, unsigned len, struct name *n)
{
	struct {
		uint16_t family;
		char path[NAME_ROOM];
	} a = {0};

	if (len < sizeof(a.family) || len > sizeof(a))
		return -EINVAL;
	if (hal_copy_from_user(&a, src, len))
		return -EFAULT;
	if (a.family != AF_UNIX)
		return -EINVAL;
	*n = (struct name){.len = len - sizeof(a.family)};
	memcpy(n->path, a.path, n->len);
	if (n->len && n->path[0])
		n->len = strlen(n->path) + 1; /* a path, with its NUL, which the user may leave out */
	return 0;
}

static int put_name(const struct name *n, uintptr_t dst, uintptr_t len_at)
{
	struct {
		uint16_t family;
		char path[NAME_ROOM + 1];
	} a = {.family = AF_UNIX};
	unsigned room, len = (unsigned)(sizeof(a.family) + n->len);

	if (!dst)
		return 0;
	if (COPY_IN(room, len_at))
		return -EFAULT;
	if ((int)room < 0)
		return -EINVAL;
	memcpy(a.path, n->path, n->len);
	if (hal_copy_to_user(dst, &a, min(room, len)) || COPY_OUT(len_at, len))
		return -EFAULT;
	return 0;
}

static bool same_name(const struct name *a, const struct name *b)
{
	return a->len == b->len && !memcmp(a->path, b->path, a->len);
}

/* names_lock is held. */
static struct sock *find_abstract(const struct name *n)
{
	struct sock *s;

	list_for_each_entry(s, &abstract_names, abstract)
		if (same_name(&s->name, n))
			return s;
	return NULL;
}

static int bind_abstract(struct sock *s, const struct name *n)
{
	int err = 0;

	spin_lock(&names_lock);
	if (find_abstract(n)) {
		err = -EADDRINUSE;
	} else {
		s->name = *n;
		list_add(&s->abstract, &abstract_names);
	}
	spin_unlock(&names_lock);
	return err;
}

static int bind_path(struct sock *s, const struct name *n)
{
	struct vnode *v;
	struct path p;
	int err = kernel_path(n->path, LOOKUP_CREATE | LOOKUP_NOFOLLOW, &p);

	if (err)
		return err;
	v = p.v ? NULL : vnode_new(S_IFSOCK | (0777 & ~fs_umask(current->proc->fs)));
	err = p.v ? -EADDRINUSE : !v ? -ENOMEM : 0;
	if (!err) {
		v->priv = s;
		s->v = v;
		s->name = *n;
		vnode_get(v);
		err = dir_add(p.parent, p.last, v);
		if (err)
			unbind(s);
	}
	vnode_put(v);
	path_put(&p);
	return err == -EEXIST ? -EADDRINUSE : err;
}

SYSCALL3(bind, int, fd, uintptr_t, src, unsigned, len)
{
	struct name n;
	struct fd f;
	int err;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	err = get_name(src, len, &n);
	if (!err && (s->name.len || !n.len))
		err = -EINVAL;
	if (!err)
		err = n.path[0] ? bind_path(s, &n) : bind_abstract(s, &n);
	fdput(f);
	return err;
}

/* The socket that is bound there, with a reference. */
static struct sock *find_bound(const struct name *n, int *err)
{
	struct sock *s = NULL;
	struct path p = {0};

	*err = -ECONNREFUSED;
	if (!n->len) {
		*err = -EINVAL;
		return NULL;
	}
	if (n->path[0]) {
		int e = kernel_path(n->path, 0, &p);

		if (e) {
			*err = e;
			return NULL;
		}
	}
	spin_lock(&names_lock);
	if (!p.v)
		s = find_abstract(n);
	else if (vnode_type(p.v) == S_IFSOCK)
		s = p.v->priv;
	if (s)
		atomic_inc(&s->refs);
	spin_unlock(&names_lock);
	if (p.v)
		path_put(&p);
	return s;
}

/* ---- connecting ------------------------------------------------------------------------------ */

SYSCALL2(listen, int, fd, unsigned, backlog)
{
	struct fd f;
	int err;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	mutex_lock(&s->lock);
	if (s->state == CONNECTED || !s->name.len) {
		err = -EINVAL;
	} else {
		s->backlog = min(backlog, BACKLOG_MAX);
		s->pid = current->proc->pid;
		WRITE_ONCE(s->state, LISTENING);
	}
	mutex_unlock(&s->lock);
	fdput(f);
	return err;
}

/* s is connected to n, which waits for being accepted. -ECONNREFUSED, -EISCONN, -EAGAIN: too many wait. */
static int enqueue(struct sock *l, struct sock *s, struct sock *n)
{
	int err = 0;

	mutex_lock(&l->lock);
	if (l->state != LISTENING || l->dead || l->no_read) {
		err = -ECONNREFUSED;
	} else if (l->nr_waiting > l->backlog) {
		err = -EAGAIN;
	} else if (!join(s, n)) {
		err = -EISCONN;
	} else {
		list_add_tail(&n->link, &l->waiting);
		l->nr_waiting++;
	}
	mutex_unlock(&l->lock);
	return err;
}

static long connect_to(struct open_file *f, struct sock *s, struct sock *l)
{
	struct sock *n = sock_new();
	int err, slept = 0;

	if (!n || !give_ring(n) || !give_ring(s)) {
		if (n)
			sock_put(n);
		return -ENOMEM;
	}
	n->pid = l->pid;
	n->name = l->name;
	err = enqueue(l, s, n);
	if (err == -EAGAIN && !(file_flags(f) & O_NONBLOCK))
		slept = wait_event(&l->writable, (err = enqueue(l, s, n)) != -EAGAIN, true, 0);
	if (err || slept) {
		sock_put(n);
		return slept ? -ERESTARTSYS : err;
	}
	wake_all(&l->readable);
	poll_tell(&l->polls, POLLIN | POLLRDNORM);
	return 0;
}

SYSCALL3(connect, int, fd, uintptr_t, src, unsigned, len)
{
	struct sock *l = NULL;
	struct name n;
	struct fd f;
	int err;
	struct sock *s = sock_get(fd, &f, &err);
	long r;

	if (!s)
		return err;
	r = get_name(src, len, &n);
	if (!r && s->state != MADE)
		r = s->state == CONNECTED ? -EISCONN : -EINVAL;
	if (!r) {
		l = find_bound(&n, &err);
		r = l ? connect_to(f.file, s, l) : err;
	}
	if (l)
		sock_put(l);
	fdput(f);
	return r;
}

/* The first that waits; NULL: none does. */
static struct sock *dequeue(struct sock *l)
{
	struct sock *n = NULL;

	mutex_lock(&l->lock);
	if (!list_empty(&l->waiting)) {
		n = list_first_entry(&l->waiting, struct sock, link);
		list_del_init(&n->link);
		l->nr_waiting--;
	}
	mutex_unlock(&l->lock);
	return n;
}

static long accept_from(struct open_file *lf, struct sock *l, uintptr_t name, uintptr_t len_at, unsigned flags)
{
	struct sock *n = dequeue(l);
	struct open_file *f;
	int err;

	if (!n) {
		if (file_flags(lf) & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event(&l->readable, (n = dequeue(l)) || READ_ONCE(l->no_read), true, 0))
			return -ERESTARTSYS;
		if (!n)
			return -EINVAL;
	}
	wake_all(&l->writable);
	f = sock_file(n, flags);
	if (!f) {
		sock_close(n, false);
		return -ENOMEM;
	}
	err = put_name(&peer_of(n)->name, name, len_at);
	if (err) {
		file_put(f);
		return err;
	}
	return file_install(f, flags);
}

static long do_accept(int fd, uintptr_t name, uintptr_t len_at, unsigned flags)
{
	struct fd f;
	int err;
	struct sock *l;
	long r = -EINVAL;

	if (flags & ~(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	l = sock_get(fd, &f, &err);
	if (!l)
		return err;
	if (READ_ONCE(l->state) == LISTENING)
		r = accept_from(f.file, l, name, len_at, flags);
	fdput(f);
	return r;
}

SYSCALL4(accept4, int, fd, uintptr_t, name, uintptr_t, len_at, unsigned, flags)
{
	return do_accept(fd, name, len_at, flags);
}

SYSCALL3(accept, int, fd, uintptr_t, name, uintptr_t, len_at)
{
	return do_accept(fd, name, len_at, 0);
}

SYSCALL2(shutdown, int, fd, unsigned, how)
{
	struct fd f;
	int err;
	struct sock *s = how > SHUT_RDWR ? NULL : sock_get(fd, &f, &err), *peer;

	if (how > SHUT_RDWR)
		return -EINVAL;
	if (!s)
		return err;
	peer = peer_of(s);
	if (!peer && READ_ONCE(s->state) != LISTENING) {
		err = -ENOTCONN;
	} else {
		if (how != SHUT_WR)
			WRITE_ONCE(s->no_read, true);
		if (how != SHUT_RD)
			WRITE_ONCE(s->no_write, true);
		if (peer && how != SHUT_WR)
			WRITE_ONCE(peer->no_write, true);
		if (peer && how != SHUT_RD)
			WRITE_ONCE(peer->no_read, true);
		tell(s, 0);
		if (peer)
			tell(peer, 0);
	}
	fdput(f);
	return err;
}

SYSCALL3(getsockname, int, fd, uintptr_t, dst, uintptr_t, len_at)
{
	struct fd f;
	int err;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	err = put_name(&s->name, dst, len_at);
	fdput(f);
	return err;
}

SYSCALL3(getpeername, int, fd, uintptr_t, dst, uintptr_t, len_at)
{
	struct fd f;
	int err;
	struct sock *s = sock_get(fd, &f, &err), *peer;

	if (!s)
		return err;
	peer = peer_of(s);
	err = peer ? put_name(&peer->name, dst, len_at) : -ENOTCONN;
	fdput(f);
	return err;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Nobody reads what s sends, or nobody may send it. */
static bool write_ended(struct sock *s, struct sock *peer)
{
	return READ_ONCE(s->no_write) || READ_ONCE(peer->dead);
}

static bool has_room(struct sock *peer)
{
	return READ_ONCE(peer->used) < RING_SIZE;
}

static int broken(unsigned flags)
{
	struct hal_siginfo si = {.signo = SIGPIPE, .code = SI_USER, .pid = current->proc->pid};

	if (!(flags & MSG_NOSIGNAL))
		send_signal_task(current, &si);
	return -EPIPE;
}

static int wait_to_send(struct open_file *f, struct sock *s, struct sock *peer, unsigned flags)
{
	if (write_ended(s, peer))
		return broken(flags);
	if (has_room(peer))
		return 0;
	if (file_flags(f) & O_NONBLOCK || flags & MSG_DONTWAIT)
		return -EAGAIN;
	if (wait_event(&s->writable, has_room(peer) || write_ended(s, peer), true, 0))
		return -ERESTARTSYS;
	return write_ended(s, peer) ? broken(flags) : 0;
}

/* How much went in; with the first byte *r goes too. */
static size_t put_in(struct sock *peer, const char *src, size_t n, struct rights **r)
{
	size_t at, chunk;

	mutex_lock(&peer->lock);
	n = peer->dead ? 0 : min(n, RING_SIZE - peer->used);
	if (n) {
		if (*r) {
			(*r)->at = peer->taken + peer->used;
			(*r)->end = (*r)->at + n;
			list_add_tail(&(*r)->link, &peer->rights);
			*r = NULL;
		}
		at = (peer->head + peer->used) % RING_SIZE;
		chunk = min(n, RING_SIZE - at);
		memcpy(peer->ring + at, src, chunk);
		memcpy(peer->ring, src + chunk, n - chunk);
		WRITE_ONCE(peer->used, peer->used + n);
	}
	mutex_unlock(&peer->lock);
	return n;
}

static long send_piece(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, struct rights **r,
		       char *piece, size_t size)
{
	struct sock *s = f->priv, *peer = peer_of(s);
	size_t done = 0, have, part;
	int err;

	if (!peer)
		return -ENOTCONN;
	while (done < n) {
		err = wait_to_send(f, s, peer, flags);
		if (err)
			return done ? (long)done : err;
		have = min(n - done, size);
		if (hal_copy_from_user(piece, buf + done, have))
			return done ? (long)done : -EFAULT;
		part = put_in(peer, piece, have, r);
		done += part;
		if (!part)
			continue;
		wake_all(&peer->readable);
		poll_tell(&peer->polls, POLLIN | POLLRDNORM);
	}
	return (long)done;
}

static long do_send(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, struct rights **r)
{
	char small[SMALL], *page;
	long sent;

	if (n <= sizeof(small))
		return send_piece(f, buf, n, flags, r, small, sizeof(small));
	page = quire_alloc_pages(0, 0);
	if (!page)
		return -ENOMEM;
	sent = send_piece(f, buf, n, flags, r, page, PAGE_SIZE);
	quire_free_pages(page, 0);
	return sent;
}

static long sock_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct rights *none = NULL;

	return do_send(f, buf, n, 0, &none);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Nothing more will come. */
static bool read_ended(struct sock *s)
{
	struct sock *peer = peer_of(s);

	return READ_ONCE(s->no_read) || (peer && READ_ONCE(peer->dead));
}

/* What is there, up to n bytes and not beyond those that files came with. */
struct peek {
	uint64_t at;
	size_t n;
};

static struct peek peek_bytes(struct sock *s, char *dst, size_t n)
{
	struct peek p;
	struct rights *r;
	size_t chunk;

	mutex_lock(&s->lock);
	p = (struct peek){s->taken, min(n, s->used)};
	if (!list_empty(&s->rights)) {
		r = list_first_entry(&s->rights, struct rights, link);
		p.n = min(p.n, (size_t)(r->end - s->taken));
	}
	if (p.n) {
		chunk = min(p.n, RING_SIZE - s->head);
		memcpy(dst, s->ring + s->head, chunk);
		memcpy(dst + chunk, s->ring, p.n - chunk);
	}
	mutex_unlock(&s->lock);
	return p;
}

/* Takes out what was peeked at, and the files that came with it. false: others have taken of it. */
static bool take_out(struct sock *s, const struct peek *p, struct rights **files)
{
	struct rights *r;
	bool ours;

	*files = NULL;
	mutex_lock(&s->lock);
	ours = s->taken == p->at;
	if (ours) {
		if (!list_empty(&s->rights)) {
			r = list_first_entry(&s->rights, struct rights, link);
			if (r->at < s->taken + p->n) {
				list_del(&r->link);
				*files = r;
			}
		}
		s->head = (s->head + p->n) % RING_SIZE;
		s->taken += p->n;
		WRITE_ONCE(s->used, s->used - p->n);
	}
	mutex_unlock(&s->lock);
	return ours;
}

static int take_error(struct sock *s)
{
	int err;

	mutex_lock(&s->lock);
	err = s->err;
	s->err = 0;
	mutex_unlock(&s->lock);
	return -err;
}

/* 0: something is there; 1: the end; or an errno. */
static int wait_to_receive(struct open_file *f, struct sock *s, unsigned flags)
{
	int err;

	for (;;) {
		bool ended = read_ended(s);

		if (READ_ONCE(s->used))
			return 0;
		err = take_error(s);
		if (err)
			return err;
		if (ended)
			return 1;
		if (READ_ONCE(s->state) != CONNECTED)
			return -EINVAL;
		if (file_flags(f) & O_NONBLOCK || flags & MSG_DONTWAIT)
			return -EAGAIN;
		if (wait_event(&s->readable, READ_ONCE(s->used) || read_ended(s), true, 0))
			return -ERESTARTSYS;
	}
}

/* One piece: what is there, up to the buffer's size. *files: what came with it, the caller's. */
static long receive_piece(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, char *piece,
			  size_t size, struct rights **files)
{
	struct sock *s = f->priv, *peer = peer_of(s);
	struct peek p;
	int err;

	for (;;) {
		err = wait_to_receive(f, s, flags);
		if (err)
			return err > 0 ? 0 : err;
		p = peek_bytes(s, piece, min(n, size));
		if (!p.n)
			continue;
		if (hal_copy_to_user(buf, piece, p.n))
			return -EFAULT;
		if (flags & MSG_PEEK)
			return (long)p.n;
		if (take_out(s, &p, files))
			break;
	}
	if (peer) {
		wake_all(&peer->writable);
		poll_tell(&peer->polls, POLLOUT | POLLWRNORM);
	}
	return (long)p.n;
}

/* Files end what one call receives; else it goes on with what is there, or with MSG_WAITALL until all is. */
static long do_receive(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, struct rights **files)
{
	char small[SMALL], *page = n > SMALL ? quire_alloc_pages(0, 0) : NULL;
	size_t done = 0, size = page ? PAGE_SIZE : SMALL;
	long r = 0;

	*files = NULL;
	while (done < n && !*files) {
		unsigned how = done && !(flags & MSG_WAITALL) ? flags | MSG_DONTWAIT : flags;

		r = receive_piece(f, buf + done, n - done, how, page ? page : small, size, files);
		if (r <= 0)
			break;
		done += (size_t)r;
		if (flags & MSG_PEEK)
			break;
	}
	if (page)
		quire_free_pages(page, 0);
	return done ? (long)done : r;
}

static long sock_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct rights *files;
	long r = do_receive(f, buf, n, 0, &files);

	if (files)
		rights_free(files);
	return r;
}

/* ---- messages -------------------------------------------------------------------------------- */

struct msghdr {
	uint64_t name;
	uint32_t namelen, pad;
	uint64_t iov, iovlen, control, controllen;
	uint32_t flags, pad2;
};

struct cmsghdr {
	uint64_t len;
	int32_t level, type;
};

#define CMSG_ALIGNED(n) (((n) + 7) & ~7ul)

/* The files that the first SCM_RIGHTS of a message names. NULL in *out: none. */
static int get_rights(const struct msghdr *m, struct rights **out)
{
	struct cmsghdr c;
	uint64_t at = 0;
	struct rights *r;

	*out = NULL;
	for (; at + sizeof(c) <= m->controllen; at += CMSG_ALIGNED(c.len)) {
		if (COPY_IN(c, m->control + at))
			return -EFAULT;
		if (c.len < sizeof(c) || c.len > m->controllen - at)
			return -EINVAL;
		if (c.level != SOL_SOCKET || c.type != SCM_RIGHTS || *out)
			continue;
		if ((c.len - sizeof(c)) / 4 > MAX_RIGHTS)
			return -EINVAL;
		r = quire_kmalloc(sizeof(*r) + MAX_RIGHTS * sizeof(r->file[0]), QUIRE_GFP_ZERO);
		if (!r)
			return -ENOMEM;
		for (size_t i = 0; i < (c.len - sizeof(c)) / 4; i++) {
			int fd;
			struct open_file *f = NULL;

			if (!COPY_IN(fd, m->control + at + sizeof(c) + 4 * i))
				f = files_get_file(current->proc->fds, (unsigned)fd);
			if (!f) {
				rights_free(r);
				return -EBADF;
			}
			r->file[r->n++] = f;
		}
		*out = r;
	}
	return 0;
}

/* Descriptors for as many as the user has room for; the others are closed. Tells the control length. */
static int put_rights(struct msghdr *m, struct rights *r, unsigned flags)
{
	uint64_t room = m->controllen < sizeof(struct cmsghdr) ? 0 : (m->controllen - sizeof(struct cmsghdr)) / 4;
	struct cmsghdr c = {.level = SOL_SOCKET, .type = SCM_RIGHTS};
	unsigned n = 0;

	m->controllen = 0;
	while (n < r->n && n < room) {
		int fd;

		file_get(r->file[n]);
		fd = file_install(r->file[n], flags & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0);
		if (fd < 0 || COPY_OUT(m->control + sizeof(c) + 4 * n, fd))
			break;
		n++;
	}
	m->flags |= n < r->n ? MSG_CTRUNC : 0;
	if (!n)
		return 0;
	c.len = sizeof(c) + 4 * n;
	m->controllen = CMSG_ALIGNED(c.len);
	return COPY_OUT(m->control, c);
}

/* Each piece of the vector, until one is cut short. */
static long each_piece(struct open_file *f, const struct msghdr *m, unsigned flags, struct rights **r, bool send)
{
	struct iovec v;
	long total = 0, n;

	if (m->iovlen > MAX_IOV)
		return -EMSGSIZE;
	for (uint64_t i = 0; i < m->iovlen; i++) {
		if (COPY_IN(v, m->iov + i * sizeof(v)))
			return total ? total : -EFAULT;
		if (!v.len)
			continue;
		n = send ? do_send(f, v.base, v.len, flags, r)
			 : do_receive(f, v.base, v.len, total ? flags | MSG_DONTWAIT : flags, r);
		if (n <= 0)
			return total ? total : n;
		total += n;
		if ((uint64_t)n < v.len || (!send && *r))
			break;
	}
	return total;
}

SYSCALL3(sendmsg, int, fd, uintptr_t, src, unsigned, flags)
{
	struct rights *r = NULL;
	struct msghdr m;
	struct fd f;
	int err;
	long n;

	if (!sock_get(fd, &f, &err))
		return err;
	n = COPY_IN(m, src) ? -EFAULT : get_rights(&m, &r);
	if (!n)
		n = each_piece(f.file, &m, flags, &r, true);
	if (r)
		rights_free(r); /* they were not sent */
	fdput(f);
	return n;
}

SYSCALL3(recvmsg, int, fd, uintptr_t, src, unsigned, flags)
{
	struct rights *r = NULL;
	struct msghdr m;
	struct fd f;
	int err;
	long n;

	if (!sock_get(fd, &f, &err))
		return err;
	n = COPY_IN(m, src) ? -EFAULT : each_piece(f.file, &m, flags, &r, false);
	if (n >= 0) {
		m.flags = 0;
		m.namelen = 0;
		if (r)
			err = put_rights(&m, r, flags);
		else
			m.controllen = 0;
		if (err || COPY_OUT(src, m))
			n = -EFAULT;
	}
	if (r)
		rights_free(r);
	fdput(f);
	return n;
}

SYSCALL6(sendto, int, fd, uintptr_t, buf, size_t, n, unsigned, flags, uintptr_t, name, unsigned, len)
{
	struct rights *none = NULL;
	struct fd f;
	int err;
	long r;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	if (name)
		r = peer_of(s) ? -EISCONN : -EOPNOTSUPP;
	else
		r = do_send(f.file, buf, n, flags, &none);
	fdput(f);
	return r;
}

SYSCALL6(recvfrom, int, fd, uintptr_t, buf, size_t, n, unsigned, flags, uintptr_t, name, uintptr_t, len_at)
{
	struct rights *files;
	struct fd f;
	unsigned none = 0;
	int err;
	long r;

	if (!sock_get(fd, &f, &err))
		return err;
	r = do_receive(f.file, buf, n, flags, &files);
	if (files)
		rights_free(files);
	if (r >= 0 && name && COPY_OUT(len_at, none))
		r = -EFAULT;
	fdput(f);
	return r;
}

/* ---- as a file, options ---------------------------------------------------------------------- */

static unsigned sock_poll(struct open_file *f)
{
	struct sock *s = f->priv, *peer = peer_of(s);
	unsigned r = 0;

	if (READ_ONCE(s->state) == LISTENING)
		return READ_ONCE(s->nr_waiting) ? POLLIN | POLLRDNORM : 0;
	if (!peer)
		return POLLOUT | POLLWRNORM | POLLHUP;
	if (READ_ONCE(s->used) || read_ended(s))
		r |= POLLIN | POLLRDNORM;
	if (read_ended(s))
		r |= POLLRDHUP;
	if (READ_ONCE(peer->dead) || (READ_ONCE(s->no_read) && READ_ONCE(s->no_write)))
		r |= POLLHUP;
	if (READ_ONCE(s->err))
		r |= POLLERR;
	if (has_room(peer))
		r |= POLLOUT | POLLWRNORM;
	return r;
}

static struct poll_head *sock_poll_head(struct open_file *f)
{
	struct sock *s = f->priv;

	return &s->polls;
}

static long sock_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	struct sock *s = f->priv;
	int n = (int)READ_ONCE(s->used);

	return cmd == FIONREAD ? COPY_OUT(arg, n) : -ENOTTY;
}

static const struct file_ops sock_ops = {.read = sock_read, .write = sock_write, .poll = sock_poll,
					 .poll_head = sock_poll_head, .ioctl = sock_ioctl,
					 .release = sock_release};

/* The number that an option is; -ENOPROTOOPT. */
static int option(struct sock *s, int name, int *v)
{
	switch (name) {
	case SO_TYPE:
		*v = SOCK_STREAM;
		return 0;
	case SO_ERROR:
		*v = -take_error(s);
		return 0;
	case SO_DOMAIN:
		*v = AF_UNIX;
		return 0;
	case SO_ACCEPTCONN:
		*v = READ_ONCE(s->state) == LISTENING;
		return 0;
	case SO_SNDBUF:
	case SO_RCVBUF:
		*v = (int)RING_SIZE;
		return 0;
	case SO_PASSCRED:
		*v = READ_ONCE(s->pass_cred);
		return 0;
	case SO_REUSEADDR:
	case SO_KEEPALIVE:
		*v = 0;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

SYSCALL5(getsockopt, int, fd, int, level, int, name, uintptr_t, dst, uintptr_t, len_at)
{
	struct {
		int pid;
		unsigned uid, gid;
	} cred = {.uid = ~0u, .gid = ~0u};
	unsigned len, size = sizeof(int);
	struct fd f;
	int err, v = 0;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	if (level != SOL_SOCKET)
		err = -EOPNOTSUPP;
	else if (COPY_IN(len, len_at))
		err = -EFAULT;
	else if ((int)len < 0)
		err = -EINVAL;
	else if (name != SO_PEERCRED)
		err = option(s, name, &v);
	if (!err && name == SO_PEERCRED) {
		size = sizeof(cred);
		cred.pid = peer_of(s) ? s->peer_pid : 0;
		if (peer_of(s))
			cred.uid = cred.gid = 0;
	}
	fdput(f);
	if (err)
		return err;
	len = min(len, size);
	if (hal_copy_to_user(dst, name == SO_PEERCRED ? (void *)&cred : &v, len) || COPY_OUT(len_at, len))
		return -EFAULT;
	return 0;
}

/* Sizes of buffers are what they are. */
SYSCALL5(setsockopt, int, fd, int, level, int, name, uintptr_t, src, unsigned, len)
{
	struct fd f;
	int err, v, old;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	if (level != SOL_SOCKET)
		err = -EOPNOTSUPP;
	else if (len < sizeof(v))
		err = -EINVAL;
	else if (COPY_IN(v, src))
		err = -EFAULT;
	else
		err = name == SO_ERROR || name == SO_TYPE ? -ENOPROTOOPT : option(s, name, &old);
	if (!err && name == SO_PASSCRED)
		WRITE_ONCE(s->pass_cred, v != 0);
	fdput(f);
	return err;
}
