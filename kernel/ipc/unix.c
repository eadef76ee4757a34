/* SPDX-License-Identifier: MIT */
/*
 * Sockets of this machine: AF_UNIX; those that keep messages apart are packet.c's, but for names, connections and
 * options. A stream has a ring of the bytes that were sent to it, and with some of them files (SCM_RIGHTS), which
 * go with the byte that they were sent with, and who sent them (SCM_CREDENTIALS).
 *
 *	made --bind--> --listen--> [accept gives a socket for each that connects]
 *	made --connect--> connected to a socket that the listener has yet to accept
 *
 * A socket's mutex covers its own ring and state and is held over no copy, no wait and no other socket's. Two
 * that are connected hold a reference to each other until both are closed. As in a pipe, a reader copies what
 * is there and takes it out afterwards, unless another thread has meanwhile. A socket with files in it that
 * nobody can read any more, for it is among them itself, is not found.
 */
#include "kernel/ipc/unix.h"

#define RING_ORDER 4
#define RING_SIZE  (PAGE_SIZE << RING_ORDER)
#define BACKLOG_MAX 4096u
#define SMALL	   256u
#define SOCK_TYPE_MASK 0xf
#define NOBODY	   65534u /* the user of bytes that nobody's name is on */
#define BUFFER_MIN 4608u

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

static spinlock_t names_lock = SPINLOCK_INIT_RANK("socket_names", RANK_FILES);
static struct list_head abstract_names = LIST_HEAD_INIT(abstract_names);

static const struct file_ops sock_ops;

/* ---- their lives ----------------------------------------------------------------------------- */

void rights_free(struct rights *r)
{
	for (unsigned i = 0; i < r->n; i++)
		file_put(r->file[i]);
	quire_kfree(r);
}

static void mark_free(struct mark *m)
{
	if (m->files)
		rights_free(m->files);
	quire_kfree(m);
}

static void free_marks(struct list_head *list)
{
	struct mark *m, *next;

	list_for_each_entry_safe(m, next, list, link)
		mark_free(m);
	INIT_LIST_HEAD(list);
}

static struct sock *sock_new(int type)
{
	struct sock *s = quire_kmalloc(sizeof(*s), QUIRE_GFP_ZERO);

	if (!s)
		return NULL;
	atomic_set(&s->refs, 1);
	s->type = type;
	s->sndbuf = s->rcvbuf = SNDBUF;
	mutex_init_named(&s->lock, "socket");
	INIT_LIST_HEAD(&s->marks);
	INIT_LIST_HEAD(&s->packets);
	INIT_LIST_HEAD(&s->waiting);
	INIT_LIST_HEAD(&s->link);
	INIT_LIST_HEAD(&s->abstract);
	poll_head_init(&s->polls);
	s->pid = current->proc->pid;
	return s;
}

void sock_get_ref(struct sock *s)
{
	atomic_inc(&s->refs);
}

void sock_put(struct sock *s)
{
	if (!atomic_dec_and_test(&s->refs))
		return;
	free_marks(&s->marks);
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

/* Of what stays connected. */
static struct sock *peer_of(struct sock *s)
{
	return atomic_load_of(&s->peer);
}

struct sock *peer_get(struct sock *s)
{
	struct sock *peer;

	mutex_lock(&s->lock);
	peer = s->peer;
	if (peer)
		sock_get_ref(peer);
	mutex_unlock(&s->lock);
	return peer;
}

struct sender sender_of(const struct sock *s, const struct sock *to, const struct sender *given)
{
	struct sender mine = {current->proc->pid, 0, 0}, nobody = {0, NOBODY, NOBODY};

	if (given && given->pid)
		return *given;
	return READ_ONCE(s->pass_cred) || READ_ONCE(to->pass_cred) ? mine : nobody;
}

static void sock_tell(struct sock *s, unsigned events)
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
	LIST_HEAD(marks);
	LIST_HEAD(waiting);
	bool unread;

	unbind(s);
	mutex_lock(&s->lock);
	WRITE_ONCE(s->dead, true);
	unread = s->used || s->nr_packets;
	list_splice_init(&s->marks, &marks);
	list_splice_init(&s->waiting, &waiting);
	mutex_unlock(&s->lock);
	free_marks(&marks);
	packets_free(s);
	list_for_each_entry_safe(w, next, &waiting, link) {
		list_del_init(&w->link);
		sock_close(w, false);
	}
	mutex_lock(&s->lock);
	peer = s->peer;
	if (s->type == SOCK_DGRAM)
		s->peer = NULL;
	mutex_unlock(&s->lock);
	if (peer && s->type == SOCK_DGRAM) {
		sock_put(peer);
	} else if (peer) {
		if (!is_stream(s)) {
			WRITE_ONCE(peer->no_read, true);
			WRITE_ONCE(peer->no_write, true);
		}
		mutex_lock(&peer->lock);
		if (unread || !accepted)
			peer->err = ECONNRESET;
		mutex_unlock(&peer->lock);
		sock_tell(peer, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP);
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
	type &= SOCK_TYPE_MASK;
	return type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_RAW || type == SOCK_SEQPACKET
		       ? 0 : -ESOCKTNOSUPPORT;
}

static int type_of(int type)
{
	type &= SOCK_TYPE_MASK;
	return type == SOCK_RAW ? SOCK_DGRAM : type;
}

SYSCALL3(socket, int, domain, int, type, int, protocol)
{
	int err = check_type(domain, type, protocol);
	struct open_file *f;
	struct sock *s;

	if (err)
		return err;
	s = sock_new(type_of(type));
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
		struct sock *s = sock_new(type_of((int)flags));

		f[i] = s && (!is_stream(s) || give_ring(s)) ? sock_file(s, flags) : NULL;
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

/* An unnamed one has no length at all. */
static int put_message_name(struct msghdr *m, const struct name *n)
{
	struct {
		uint16_t family;
		char path[NAME_ROOM + 1];
	} a = {.family = AF_UNIX};
	unsigned len = n->len ? (unsigned)(sizeof(a.family) + n->len) : 0;

	memcpy(a.path, n->path, n->len);
	if (hal_copy_to_user(m->name, &a, min(m->namelen, len)))
		return -EFAULT;
	m->namelen = len;
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
struct sock *find_bound(const struct name *n, int *err)
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
	else if (vnode_type(p.v) == S_IFSOCK && !p.v->mnt) /* one that a disk remembers has nobody behind it */
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
	if (s->type == SOCK_DGRAM) {
		err = -EOPNOTSUPP;
	} else if (s->state == CONNECTED || !s->name.len) {
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
	struct sock *n = sock_new(s->type);
	int err, slept = 0;

	if (!n || (is_stream(s) && (!give_ring(n) || !give_ring(s)))) {
		if (n)
			sock_put(n);
		return -ENOMEM;
	}
	n->pid = l->pid;
	n->name = l->name;
	n->pass_cred = READ_ONCE(l->pass_cred);
	err = enqueue(l, s, n);
	if (err == -EAGAIN && !(file_flags(f) & O_NONBLOCK))
		slept = wait_event(&l->writable, (err = enqueue(l, s, n)) != -EAGAIN, true, wait_until(s->snd_timeo));
	if (err || slept) {
		sock_put(n);
		return slept ? wait_failed(slept, s->snd_timeo) : err;
	}
	wake_all(&l->readable);
	poll_tell(&l->polls, POLLIN | POLLRDNORM);
	return 0;
}

#define AF_UNSPEC 0

/* Datagrams from here on go to the one that is bound there; AF_UNSPEC: to nobody. */
static long connect_datagram(struct sock *s, uintptr_t src, unsigned len)
{
	uint16_t family;
	struct name n;
	struct sock *to;
	int err;

	if (len < sizeof(family))
		return -EINVAL;
	if (COPY_IN(family, src))
		return -EFAULT;
	if (family == AF_UNSPEC)
		return packet_connect(s, NULL);
	err = get_name(src, len, &n);
	to = err ? NULL : find_bound(&n, &err);
	if (!to)
		return err;
	if (to->type != s->type) {
		sock_put(to);
		return -EPROTOTYPE;
	}
	return packet_connect(s, to);
}

static long connect_stream(struct open_file *f, struct sock *s, uintptr_t src, unsigned len)
{
	struct sock *l;
	struct name n;
	int err;
	long r = get_name(src, len, &n);

	if (!r && s->state != MADE)
		r = s->state == CONNECTED ? -EISCONN : -EINVAL;
	if (r)
		return r;
	l = find_bound(&n, &err);
	if (!l)
		return err;
	r = l->type == s->type ? connect_to(f, s, l) : -EPROTOTYPE;
	sock_put(l);
	return r;
}

SYSCALL3(connect, int, fd, uintptr_t, src, unsigned, len)
{
	struct fd f;
	int err;
	struct sock *s = sock_get(fd, &f, &err);
	long r;

	if (!s)
		return err;
	r = s->type == SOCK_DGRAM ? connect_datagram(s, src, len) : connect_stream(f.file, s, src, len);
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
		err = wait_event(&l->readable, (n = dequeue(l)) || READ_ONCE(l->no_read), true,
				 wait_until(l->rcv_timeo));
		if (err)
			return wait_failed(err, l->rcv_timeo);
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
	if (l->type == SOCK_DGRAM)
		r = -EOPNOTSUPP;
	else if (READ_ONCE(l->state) == LISTENING)
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

/* A datagram socket's peer does not notice. */
static void do_shutdown(struct sock *s, unsigned how)
{
	struct sock *peer = s->type == SOCK_DGRAM ? NULL : peer_of(s);

	if (how != SHUT_WR)
		WRITE_ONCE(s->no_read, true);
	if (how != SHUT_RD)
		WRITE_ONCE(s->no_write, true);
	if (peer && how != SHUT_WR)
		WRITE_ONCE(peer->no_write, true);
	if (peer && how != SHUT_RD)
		WRITE_ONCE(peer->no_read, true);
	sock_tell(s, 0);
	if (peer)
		sock_tell(peer, 0);
}

SYSCALL2(shutdown, int, fd, unsigned, how)
{
	struct fd f;
	int err;
	struct sock *s = how > SHUT_RDWR ? NULL : sock_get(fd, &f, &err);

	if (how > SHUT_RDWR)
		return -EINVAL;
	if (!s)
		return err;
	do_shutdown(s, how);
	fdput(f);
	return 0;
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
	peer = peer_get(s);
	err = peer ? put_name(&peer->name, dst, len_at) : -ENOTCONN;
	if (peer)
		sock_put(peer);
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
	int err;

	if (write_ended(s, peer))
		return broken(flags);
	if (has_room(peer))
		return 0;
	if (file_flags(f) & O_NONBLOCK || flags & MSG_DONTWAIT)
		return -EAGAIN;
	err = wait_event(&s->writable, has_room(peer) || write_ended(s, peer), true, wait_until(s->snd_timeo));
	if (err)
		return wait_failed(err, s->snd_timeo);
	return write_ended(s, peer) ? broken(flags) : 0;
}

static bool same_sender(const struct sender *a, const struct sender *b)
{
	return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* Bytes [at, at + n) are m's; NULL: nobody's name is on them, and no files go with them. What the last mark
 * says already takes no other. */
static void mark_bytes(struct sock *peer, uint64_t at, size_t n, struct mark **m)
{
	struct mark *last;

	assert_mutex_held(&peer->lock);
	if (!*m)
		return;
	last = list_empty(&peer->marks) ? NULL : list_entry(peer->marks.prev, struct mark, link);
	if (last && !last->files && !(*m)->files && last->end == at && same_sender(&last->sender, &(*m)->sender)) {
		last->end += n;
		return;
	}
	(*m)->at = at;
	(*m)->end = at + n;
	list_add_tail(&(*m)->link, &peer->marks);
	*m = NULL;
}

/* How much went in; *m goes with it, if it is needed. */
static size_t put_in(struct sock *peer, const char *src, size_t n, struct mark **m)
{
	size_t at, chunk;

	mutex_lock(&peer->lock);
	n = peer->dead ? 0 : min(n, RING_SIZE - peer->used);
	if (n) {
		mark_bytes(peer, peer->taken + peer->used, n, m);
		at = (peer->head + peer->used) % RING_SIZE;
		chunk = min(n, RING_SIZE - at);
		memcpy(peer->ring + at, src, chunk);
		memcpy(peer->ring, src + chunk, n - chunk);
		WRITE_ONCE(peer->used, peer->used + n);
	}
	mutex_unlock(&peer->lock);
	return n;
}

/* What the next bytes carry: files, which go once, and a name; NULL in *m: nothing. */
static int next_mark(struct sock *s, struct sock *peer, struct rights **r, const struct sender *given, struct mark **m)
{
	struct sender who = sender_of(s, peer, given);

	if (*m || (!*r && !who.pid))
		return 0;
	*m = quire_kmalloc(sizeof(**m), QUIRE_GFP_ZERO);
	if (!*m)
		return -ENOMEM;
	(*m)->sender = who;
	(*m)->files = *r;
	*r = NULL;
	return 0;
}

struct send {
	struct rights **r;
	const struct sender *given;
};

static long send_piece(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, const struct send *what,
		       char *piece, size_t size)
{
	struct sock *s = f->priv, *peer = peer_of(s);
	struct mark *m = NULL;
	size_t done = 0, have, part;
	int err = 0;

	if (!peer)
		return -ENOTCONN;
	while (done < n) {
		err = wait_to_send(f, s, peer, flags);
		if (!err)
			err = next_mark(s, peer, what->r, what->given, &m);
		have = min(n - done, size);
		if (!err && get_bytes(piece, buf + done, have, !(flags & MSG_KERNEL)))
			err = -EFAULT;
		if (err)
			break;
		part = put_in(peer, piece, have, &m);
		done += part;
		if (!part)
			continue;
		wake_all(&peer->readable);
		poll_tell(&peer->polls, POLLIN | POLLRDNORM);
	}
	if (m && !done) {
		*what->r = m->files;
		m->files = NULL;
	}
	if (m)
		mark_free(m);
	return done ? (long)done : err;
}

static long send_stream(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, const struct send *what)
{
	char small[SMALL], *page;
	long sent;

	if (n <= sizeof(small))
		return send_piece(f, buf, n, flags, what, small, sizeof(small));
	page = quire_alloc_pages(0, 0);
	if (!page)
		return -ENOMEM;
	sent = send_piece(f, buf, n, flags, what, page, PAGE_SIZE);
	quire_free_pages(page, 0);
	return sent;
}

static long do_send(struct open_file *f, uintptr_t buf, size_t n, unsigned flags)
{
	struct iovec v = {buf, n};
	struct rights *none = NULL;
	struct send what = {&none, NULL};
	struct sock *s = f->priv;

	return is_stream(s) ? send_stream(f, buf, n, flags, &what) : packet_send(f, &v, 1, flags, NULL, &none, NULL);
}

static long sock_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return do_send(f, buf, n, 0);
}

static long sock_write_kernel(struct open_file *f, const void *buf, size_t n, uint64_t *pos, bool nonblock)
{
	return do_send(f, (uintptr_t)buf, n, MSG_KERNEL | (nonblock ? MSG_DONTWAIT : 0));
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Nothing more will come. */
static bool read_ended(struct sock *s)
{
	struct sock *peer = peer_of(s);

	return READ_ONCE(s->no_read) || (peer && READ_ONCE(peer->dead));
}

/* What is there, up to n bytes: not beyond those that files came with, and of one sender if that is told. */
struct peek {
	uint64_t at;
	size_t n;
	struct sender sender;
};

static struct peek peek_bytes(struct sock *s, char *dst, size_t n, const struct got *g)
{
	struct peek p;
	struct mark *m;
	size_t chunk;

	mutex_lock(&s->lock);
	p = (struct peek){s->taken, min(n, s->used), {0, NOBODY, NOBODY}};
	list_for_each_entry(m, &s->marks, link) {
		if (m->at >= p.at + p.n)
			break;
		if (m->at <= p.at)
			p.sender = m->sender;
		else if (s->pass_cred)
			p.n = (size_t)(m->at - p.at);
		if (m->files || (s->pass_cred && m->at <= p.at))
			p.n = min(p.n, (size_t)(m->end - p.at));
	}
	if (s->pass_cred && g->any && !same_sender(&p.sender, &g->sender))
		p.n = 0;
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
	struct mark *m, *next;
	LIST_HEAD(over);
	bool ours;

	*files = NULL;
	mutex_lock(&s->lock);
	ours = s->taken == p->at;
	if (ours) {
		s->head = (s->head + p->n) % RING_SIZE;
		s->taken += p->n;
		WRITE_ONCE(s->used, s->used - p->n);
		list_for_each_entry_safe(m, next, &s->marks, link) {
			if (m->at >= s->taken)
				break;
			if (m->files && !*files) {
				*files = m->files;
				m->files = NULL;
			}
			if (m->end <= s->taken) {
				list_del(&m->link);
				list_add_tail(&m->link, &over);
			}
		}
	}
	mutex_unlock(&s->lock);
	free_marks(&over);
	return ours;
}

int take_error(struct sock *s)
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
		err = wait_event(&s->readable, READ_ONCE(s->used) || read_ended(s), true, wait_until(s->rcv_timeo));
		if (err)
			return wait_failed(err, s->rcv_timeo);
	}
}

/* One piece: what is there, up to the buffer's size. g: what came with it. */
static long receive_piece(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, char *piece,
			  size_t size, struct got *g)
{
	struct sock *s = f->priv, *peer = peer_of(s);
	struct peek p;
	int err;

	for (;;) {
		err = wait_to_receive(f, s, flags);
		if (err)
			return err > 0 ? 0 : err;
		p = peek_bytes(s, piece, min(n, size), g);
		if (!p.n && g->any)
			return 0; /* another sender's */
		if (!p.n)
			continue;
		if (put_bytes(buf, piece, p.n, !(flags & MSG_KERNEL)))
			return -EFAULT;
		if (flags & MSG_PEEK || take_out(s, &p, &g->files))
			break;
	}
	g->any = true;
	g->sender = p.sender;
	if (peer && !(flags & MSG_PEEK)) {
		wake_all(&peer->writable);
		poll_tell(&peer->polls, POLLOUT | POLLWRNORM);
	}
	return (long)p.n;
}

/* Files end what one call receives; else it goes on with what is there, or with MSG_WAITALL until all is. */
static long receive_stream(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, struct got *g)
{
	char small[SMALL], *page = n > SMALL ? quire_alloc_pages(0, 0) : NULL;
	size_t done = 0, size = page ? PAGE_SIZE : SMALL;
	long r = 0;

	while (done < n && !g->files) {
		unsigned how = g->any && !(flags & MSG_WAITALL) ? flags | MSG_DONTWAIT : flags;

		r = receive_piece(f, buf + done, n - done, how, page ? page : small, size, g);
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

static long receive_plain(struct open_file *f, uintptr_t buf, size_t n, unsigned flags, struct name *from)
{
	struct iovec v = {buf, n};
	struct got g = {0};
	struct sock *s = f->priv;
	long r = is_stream(s) ? receive_stream(f, buf, n, flags, &g) : packet_receive(f, &v, 1, flags, &g, from);

	if (g.files)
		rights_free(g.files);
	return r;
}

static long sock_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct name from;

	return n ? receive_plain(f, buf, n, 0, &from) : 0;
}

static long sock_read_kernel(struct open_file *f, void *buf, size_t n, uint64_t *pos, bool nonblock)
{
	struct name from;

	return receive_plain(f, (uintptr_t)buf, n, MSG_KERNEL | (nonblock ? MSG_DONTWAIT : 0), &from);
}

/* ---- messages -------------------------------------------------------------------------------- */

#define CMSG_ALIGNED(n) (((n) + 7) & ~7ul)

/* What goes along with a message. */
struct along {
	struct rights *files;
	struct sender sender;
};

static int get_rights(const struct cmsghdr *c, uintptr_t data, struct along *a)
{
	size_t n = (c->len - sizeof(*c)) / 4;
	struct rights *r = a->files;

	if (n + (r ? r->n : 0) > MAX_RIGHTS)
		return -EINVAL;
	if (!r)
		r = a->files = quire_kmalloc(sizeof(*r) + MAX_RIGHTS * sizeof(r->file[0]), QUIRE_GFP_ZERO);
	if (!r)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int fd;
		struct open_file *f = NULL;

		if (!COPY_IN(fd, data + 4 * i))
			f = files_get_file(current->proc->fds, (unsigned)fd);
		if (!f)
			return -EBADF;
		r->file[r->n++] = f;
	}
	return 0;
}

/* Another process's number needs a right. */
static int get_sender(const struct cmsghdr *c, uintptr_t data, struct sender *who)
{
	struct process *p;

	if (c->len != sizeof(*c) + sizeof(*who))
		return -EINVAL;
	if (COPY_IN(*who, data))
		return -EFAULT;
	if (who->pid != current->proc->pid && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	if ((who->uid && !capable(CAP_SETUID)) || (who->gid && !capable(CAP_SETGID)))
		return -EPERM;
	p = who->pid > 0 ? process_get_pid(who->pid) : NULL;
	if (!p)
		return -ESRCH;
	process_put(p);
	return 0;
}

/* The control messages of one that is sent. */
static int get_along(const struct msghdr *m, struct along *a)
{
	struct cmsghdr c;
	int err = 0;

	for (uint64_t at = 0; !err && at + sizeof(c) <= m->controllen; at += CMSG_ALIGNED(c.len)) {
		uintptr_t data = m->control + at + sizeof(c);

		if (COPY_IN(c, m->control + at))
			return -EFAULT;
		if (c.len < sizeof(c) || c.len > m->controllen - at)
			return -EINVAL;
		if (c.level != SOL_SOCKET)
			continue;
		if (c.type == SCM_RIGHTS)
			err = get_rights(&c, data, a);
		else if (c.type == SCM_CREDENTIALS)
			err = get_sender(&c, data, &a->sender);
		else
			err = -EINVAL;
	}
	return err;
}

/* Where control messages of one that is received go. */
struct control {
	uint64_t at, left;
};

/* Descriptors for as many as the user has room for; the others are closed. */
static int put_rights(struct msghdr *m, struct control *to, struct rights *r, unsigned flags)
{
	uint64_t room = to->left < sizeof(struct cmsghdr) ? 0 : (to->left - sizeof(struct cmsghdr)) / 4;
	struct cmsghdr c = {.level = SOL_SOCKET, .type = SCM_RIGHTS};
	unsigned n = 0;

	while (n < r->n && n < room) {
		int fd;

		file_get(r->file[n]);
		fd = file_install(r->file[n], flags & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0);
		if (fd < 0 || COPY_OUT(to->at + sizeof(c) + 4 * n, fd))
			break;
		n++;
	}
	m->flags |= n < r->n ? MSG_CTRUNC : 0;
	if (!n)
		return 0;
	c.len = sizeof(c) + 4 * n;
	if (COPY_OUT(to->at, c))
		return -EFAULT;
	to->at += min(CMSG_ALIGNED(c.len), to->left);
	to->left -= min(CMSG_ALIGNED(c.len), to->left);
	return 0;
}

/* Who sent it, as far as there is room. */
static int put_sender(struct msghdr *m, struct control *to, const struct sender *who)
{
	struct {
		struct cmsghdr c;
		struct sender who;
	} all = {{sizeof(all.c) + sizeof(*who), SOL_SOCKET, SCM_CREDENTIALS}, *who};

	if (to->left < sizeof(all.c)) {
		m->flags |= MSG_CTRUNC;
		return 0;
	}
	if (to->left < all.c.len) {
		m->flags |= MSG_CTRUNC;
		all.c.len = to->left;
	}
	if (hal_copy_to_user(to->at, &all, all.c.len))
		return -EFAULT;
	to->at += min(CMSG_ALIGNED(all.c.len), to->left);
	to->left -= min(CMSG_ALIGNED(all.c.len), to->left);
	return 0;
}

/* Who sent it stands before what was sent. */
static int put_along(struct sock *s, struct msghdr *m, const struct got *g, unsigned flags)
{
	struct control to = {m->control, m->control ? m->controllen : 0};
	int err = 0;

	if (READ_ONCE(s->pass_cred) && g->any)
		err = put_sender(m, &to, &g->sender);
	if (!err && g->files)
		err = put_rights(m, &to, g->files, flags);
	m->controllen = to.at - m->control;
	return err;
}

/* Pieces of a message that is sent or received whole. NULL and *err: -EMSGSIZE, -ENOMEM, -EFAULT, -EINVAL. */
static struct iovec *get_pieces(uintptr_t vec, uint64_t count, int *err)
{
	struct iovec *v;
	uint64_t total = 0;

	*err = count > MAX_IOV ? -EMSGSIZE : -ENOMEM;
	v = count > MAX_IOV ? NULL : quire_kmalloc(max(count, (uint64_t)1) * sizeof(*v), 0);
	if (!v)
		return NULL;
	*err = hal_copy_from_user(v, vec, count * sizeof(*v)) ? -EFAULT : 0;
	for (uint64_t i = 0; !*err && i < count; i++) {
		total += v[i].len;
		if ((int64_t)v[i].len < 0 || (int64_t)total < 0)
			*err = -EINVAL;
	}
	if (!*err)
		return v;
	quire_kfree(v);
	return NULL;
}

static long send_pieces(struct open_file *f, const struct iovec *v, uint64_t count, unsigned flags,
			const struct name *to, struct along *a)
{
	struct send what = {&a->files, &a->sender};
	struct sock *s = f->priv;
	long total = 0, n;

	if (!is_stream(s))
		return packet_send(f, v, count, flags, to, &a->files, &a->sender);
	if (to)
		return peer_of(s) ? -EISCONN : -EOPNOTSUPP;
	for (uint64_t i = 0; i < count; i++) {
		n = v[i].len ? send_stream(f, v[i].base, v[i].len, flags, &what) : 0;
		if (n < 0)
			return total ? total : n;
		total += n;
		if ((uint64_t)n < v[i].len)
			break;
	}
	return total;
}

static long receive_pieces(struct open_file *f, const struct iovec *v, uint64_t count, unsigned flags,
			   struct got *g, struct name *from)
{
	struct sock *s = f->priv;
	long total = 0, n;

	if (!is_stream(s))
		return packet_receive(f, v, count, flags, g, from);
	for (uint64_t i = 0; i < count && !g->files; i++) {
		if (!v[i].len)
			continue;
		n = receive_stream(f, v[i].base, v[i].len, flags, g);
		if (n <= 0)
			return total ? total : n;
		total += n;
		if ((uint64_t)n < v[i].len)
			break;
	}
	if (total && peer_of(s))
		*from = peer_of(s)->name;
	return total;
}

static long send_message(struct open_file *f, struct msghdr *m, unsigned flags)
{
	struct along a = {0};
	struct name to;
	struct iovec *v;
	int err = 0;
	long n;

	if (m->name && m->namelen)
		err = get_name(m->name, m->namelen, &to);
	if (!err && m->control && m->controllen)
		err = get_along(m, &a);
	v = err ? NULL : get_pieces(m->iov, m->iovlen, &err);
	n = v ? send_pieces(f, v, m->iovlen, flags & ~MSG_KERNEL, m->name && m->namelen ? &to : NULL, &a) : err;
	quire_kfree(v);
	if (a.files)
		rights_free(a.files); /* they were not sent */
	return n;
}

/* m is changed as the user will see it. */
static long receive_message(struct open_file *f, struct msghdr *m, unsigned flags)
{
	struct got g = {0};
	struct name from = {0};
	struct iovec *v;
	int err;
	long n;

	v = get_pieces(m->iov, m->iovlen, &err);
	n = v ? receive_pieces(f, v, m->iovlen, flags & ~MSG_KERNEL, &g, &from) : err;
	quire_kfree(v);
	if (n >= 0) {
		m->flags = g.flags;
		err = put_along(f->priv, m, &g, flags);
		if (!err && m->name)
			err = put_message_name(m, &from);
		else
			m->namelen = 0;
		if (err)
			n = err;
	}
	if (g.files)
		rights_free(g.files);
	return n;
}

SYSCALL3(sendmsg, int, fd, uintptr_t, src, unsigned, flags)
{
	struct msghdr m;
	struct fd f;
	int err;
	long n;

	if (!sock_get(fd, &f, &err))
		return err;
	n = COPY_IN(m, src) ? -EFAULT : send_message(f.file, &m, flags);
	fdput(f);
	return n;
}

SYSCALL3(recvmsg, int, fd, uintptr_t, src, unsigned, flags)
{
	struct msghdr m;
	struct fd f;
	int err;
	long n;

	if (!sock_get(fd, &f, &err))
		return err;
	n = COPY_IN(m, src) ? -EFAULT : receive_message(f.file, &m, flags);
	if (n >= 0 && COPY_OUT(src, m))
		n = -EFAULT;
	fdput(f);
	return n;
}

struct mmsghdr {
	struct msghdr m;
	uint32_t len, pad;
};

#define MSG_WAITFORONE 0x10000u

/* One after the other, until one cannot be sent or received: how many were. */
static long each_message(struct open_file *f, uintptr_t vec, unsigned count, unsigned flags, bool send, uint64_t deadline)
{
	struct mmsghdr m;
	unsigned i;
	long n = 0;

	for (i = 0; i < min(count, (unsigned)MAX_IOV); i++, vec += sizeof(m)) {
		if (COPY_IN(m, vec))
			n = -EFAULT;
		else
			n = send ? send_message(f, &m.m, flags) : receive_message(f, &m.m, flags & ~MSG_WAITFORONE);
		m.len = (uint32_t)n;
		if (n >= 0 && COPY_OUT(vec, m))
			n = -EFAULT;
		if (n < 0)
			break;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (deadline && hal_clock_ns() >= deadline)
			return (long)i + 1;
	}
	return i ? (long)i : n;
}

SYSCALL4(sendmmsg, int, fd, uintptr_t, vec, unsigned, count, unsigned, flags)
{
	struct fd f;
	int err;
	long n;

	if (!sock_get(fd, &f, &err))
		return err;
	n = each_message(f.file, vec, count, flags, true, 0);
	fdput(f);
	return n;
}

/* The time is looked at after each one only, as in 5.10. */
SYSCALL5(recvmmsg, int, fd, uintptr_t, vec, unsigned, count, unsigned, flags, uintptr_t, timeout)
{
	uint64_t ns = 0;
	struct fd f;
	int err = timeout ? get_timespec(timeout, &ns) : 0;
	long n;

	if (err || !sock_get(fd, &f, &err))
		return err;
	n = each_message(f.file, vec, count, flags, false, timeout ? hal_clock_ns() + max(ns, (uint64_t)1) : 0);
	fdput(f);
	return n;
}

/* readv and writev: of sockets that keep messages apart one message. */
static long sock_vector(struct open_file *f, uintptr_t vec, unsigned long count, bool write)
{
	struct msghdr m = {.iov = vec, .iovlen = count};

	return write ? send_message(f, &m, 0) : receive_message(f, &m, 0);
}

SYSCALL6(sendto, int, fd, uintptr_t, buf, size_t, n, unsigned, flags, uintptr_t, name, unsigned, len)
{
	struct iovec v = {buf, n};
	struct along a = {0};
	struct name to;
	struct fd f;
	int err;
	long r;

	if (!sock_get(fd, &f, &err))
		return err;
	r = name ? get_name(name, len, &to) : 0;
	if (!r)
		r = send_pieces(f.file, &v, 1, flags & ~MSG_KERNEL, name ? &to : NULL, &a);
	fdput(f);
	return r;
}

SYSCALL6(recvfrom, int, fd, uintptr_t, buf, size_t, n, unsigned, flags, uintptr_t, name, uintptr_t, len_at)
{
	struct iovec v = {buf, n};
	struct name from = {0};
	struct got g = {0};
	struct fd f;
	int err;
	long r;

	if (!sock_get(fd, &f, &err))
		return err;
	r = receive_pieces(f.file, &v, 1, flags & ~MSG_KERNEL, &g, &from);
	if (g.files)
		rights_free(g.files);
	if (r >= 0 && name) {
		unsigned none = 0;

		err = from.len ? put_name(&from, name, len_at) : COPY_OUT(len_at, none);
		if (err)
			r = err;
	}
	fdput(f);
	return r;
}

/* ---- as a file, options ---------------------------------------------------------------------- */

static unsigned sock_poll(struct open_file *f)
{
	struct sock *s = f->priv, *peer;
	unsigned r = 0;

	if (READ_ONCE(s->state) == LISTENING)
		return READ_ONCE(s->nr_waiting) ? POLLIN | POLLRDNORM : 0;
	if (!is_stream(s))
		return packet_poll(s);
	peer = peer_of(s);
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
	int n = is_stream(s) ? (int)READ_ONCE(s->used) : packet_first(s);

	if (cmd == FIONREAD && READ_ONCE(s->state) == LISTENING)
		return -EINVAL;
	if (cmd == TIOCOUTQ)
		n = (int)atomic_load_of(&s->sent);
	else if (s->type == SOCK_SEQPACKET)
		n = (int)READ_ONCE(s->packet_bytes);
	return cmd == FIONREAD || cmd == TIOCOUTQ ? COPY_OUT(arg, n) : -ENOTTY;
}

static const struct file_ops sock_ops = {.read = sock_read, .write = sock_write, .poll = sock_poll,
					 .poll_head = sock_poll_head, .ioctl = sock_ioctl,
					 .release = sock_release, .vector = sock_vector,
					 .read_kernel = sock_read_kernel,
					 .write_kernel = sock_write_kernel};

struct timeval {
	int64_t sec, usec;
};

/* What an option is: a number, or one of those that are larger. */
union option {
	int number;
	struct sender peer;
	struct timeval time;
};

/* Its size; -ENOPROTOOPT. */
static int get_option(struct sock *s, int name, union option *v)
{
	uint64_t ns;

	v->number = 0;
	switch (name) {
	case SO_TYPE:
		v->number = s->type;
		return sizeof(int);
	case SO_ERROR:
		v->number = -take_error(s);
		return sizeof(int);
	case SO_DOMAIN:
		v->number = AF_UNIX;
		return sizeof(int);
	case SO_ACCEPTCONN:
		v->number = READ_ONCE(s->state) == LISTENING;
		return sizeof(int);
	case SO_SNDBUF:
		v->number = (int)READ_ONCE(s->sndbuf);
		return sizeof(int);
	case SO_RCVBUF:
		v->number = (int)READ_ONCE(s->rcvbuf);
		return sizeof(int);
	case SO_PASSCRED:
		v->number = READ_ONCE(s->pass_cred);
		return sizeof(int);
	case SO_PROTOCOL:
	case SO_REUSEADDR:
	case SO_KEEPALIVE:
		return sizeof(int);
	case SO_RCVTIMEO:
	case SO_SNDTIMEO:
		ns = READ_ONCE(*(name == SO_RCVTIMEO ? &s->rcv_timeo : &s->snd_timeo));
		v->time = (struct timeval){(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC / NS_PER_US)};
		return sizeof(v->time);
	case SO_PEERCRED:
		mutex_lock(&s->lock);
		v->peer = s->peer ? (struct sender){s->peer_pid, 0, 0} : (struct sender){0, ~0u, ~0u};
		mutex_unlock(&s->lock);
		return sizeof(v->peer);
	default:
		return -ENOPROTOOPT;
	}
}

SYSCALL5(getsockopt, int, fd, int, level, int, name, uintptr_t, dst, uintptr_t, len_at)
{
	union option v;
	unsigned len;
	struct fd f;
	int err;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	if (level != SOL_SOCKET)
		err = -EOPNOTSUPP;
	else if (COPY_IN(len, len_at))
		err = -EFAULT;
	else
		err = (int)len < 0 ? -EINVAL : get_option(s, name, &v);
	fdput(f);
	if (err < 0)
		return err;
	len = min(len, (unsigned)err);
	return hal_copy_to_user(dst, &v, len) || COPY_OUT(len_at, len) ? -EFAULT : 0;
}

/* No time at all means for ever, one that is over means not to wait. */
static int set_timeout(struct sock *s, int name, uintptr_t src, unsigned len)
{
	uint64_t ns;
	struct timeval t;

	if (len < sizeof(t))
		return -EINVAL;
	if (COPY_IN(t, src))
		return -EFAULT;
	if (t.usec < 0 || t.usec >= (int64_t)US_PER_SEC)
		return -EDOM;
	ns = t.sec < 0 ? 1 : min((uint64_t)t.sec, UINT64_MAX / NS_PER_SEC / 4) * NS_PER_SEC + (uint64_t)t.usec * NS_PER_US;
	WRITE_ONCE(*(name == SO_RCVTIMEO ? &s->rcv_timeo : &s->snd_timeo), ns);
	return 0;
}

/* Twice what is asked for, within Linux's bounds. The ring of a stream is what it is. */
static unsigned buffer_size(int asked)
{
	return max(min((unsigned)asked, SNDBUF) * 2, BUFFER_MIN);
}

static int set_option(struct sock *s, int name, int v)
{
	union option old;

	switch (name) {
	case SO_ERROR:
	case SO_TYPE:
	case SO_DOMAIN:
	case SO_PROTOCOL:
	case SO_ACCEPTCONN:
	case SO_PEERCRED:
		return -ENOPROTOOPT;
	case SO_PASSCRED:
		WRITE_ONCE(s->pass_cred, v != 0);
		return 0;
	case SO_SNDBUF:
		WRITE_ONCE(s->sndbuf, buffer_size(v));
		return 0;
	case SO_RCVBUF:
		WRITE_ONCE(s->rcvbuf, buffer_size(v));
		return 0;
	default:
		return get_option(s, name, &old) < 0 ? -ENOPROTOOPT : 0;
	}
}

SYSCALL5(setsockopt, int, fd, int, level, int, name, uintptr_t, src, unsigned, len)
{
	struct fd f;
	int err, v;
	struct sock *s = sock_get(fd, &f, &err);

	if (!s)
		return err;
	if (level != SOL_SOCKET)
		err = -EOPNOTSUPP;
	else if (len < sizeof(v))
		err = -EINVAL;
	else if (COPY_IN(v, src))
		err = -EFAULT;
	else if (name == SO_RCVTIMEO || name == SO_SNDTIMEO)
		err = set_timeout(s, name, src, len);
	else
		err = set_option(s, name, v);
	fdput(f);
	return err;
}
