/* SPDX-License-Identifier: MIT */
/*
 * Sockets that keep messages apart: datagrams, which go to whoever they are sent to, and SOCK_SEQPACKET, which is
 * connected as a stream is. A message waits in the receiver's list with a reference to who sent it, whose send
 * buffer it fills until it is taken out. Of senders that are not the receiver's own peer no more than
 * QUEUE_MAX + 1 messages wait. A datagram socket whose peer is closed is told so once and then has none.
 */
#include "kernel/ipc/unix.h"

#define QUEUE_MAX 10 /* net.unix.max_dgram_qlen */

struct packet {
	struct list_head link;
	struct sock *from; /* with a reference */
	struct sender sender;
	struct rights *files;
	size_t len, cost;
	char bytes[];
};

/* What Linux charges for a message: a buffer of a power of two with some room at its end, and its head. */
static size_t cost_of(size_t len)
{
	size_t room = 512;

	while (room < len + 320)
		room *= 2;
	return room + 256;
}

static void packet_free(struct packet *p)
{
	struct sock *from = p->from;

	atomic_sub_of(&from->sent, p->cost);
	wake_all(&from->writable);
	poll_tell(&from->polls, POLLOUT | POLLWRNORM);
	sock_put(from);
	if (p->files)
		rights_free(p->files);
	quire_kfree(p);
}

void packets_free(struct sock *s)
{
	struct packet *p, *next;
	LIST_HEAD(gone);

	mutex_lock(&s->lock);
	list_splice_init(&s->packets, &gone);
	WRITE_ONCE(s->nr_packets, 0);
	s->packet_bytes = 0;
	mutex_unlock(&s->lock);
	list_for_each_entry_safe(p, next, &gone, link)
		packet_free(p);
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool buffer_full(struct sock *s)
{
	return atomic_load_of(&s->sent) >= READ_ONCE(s->sndbuf);
}

static bool connected_to(struct sock *a, const struct sock *b)
{
	struct sock *peer = peer_get(a);
	bool is = peer == b;

	if (peer)
		sock_put(peer);
	return is;
}

/* Somebody else's messages wait there already. */
static bool queue_full(struct sock *s, struct sock *to)
{
	return s != to && READ_ONCE(to->nr_packets) > QUEUE_MAX && !connected_to(to, s);
}

static int wait_for_buffer(struct open_file *f, struct sock *s, unsigned flags)
{
	int err;

	if (READ_ONCE(s->no_write))
		return -EPIPE;
	if (!buffer_full(s))
		return 0;
	if (file_flags(f) & O_NONBLOCK || flags & MSG_DONTWAIT)
		return -EAGAIN;
	err = wait_event(&s->writable, !buffer_full(s) || READ_ONCE(s->no_write), true, wait_until(s->snd_timeo));
	if (err)
		return wait_failed(err, s->snd_timeo);
	return READ_ONCE(s->no_write) ? -EPIPE : 0;
}

static struct packet *make_packet(struct sock *s, const struct iovec *v, unsigned long count, size_t len, bool user,
				  int *err)
{
	struct packet *p = quire_kmalloc(sizeof(*p) + len, 0);
	size_t done = 0;

	*err = -ENOMEM;
	if (!p)
		return NULL;
	for (unsigned long i = 0; i < count; done += v[i++].len)
		if (get_bytes(p->bytes + done, v[i].base, v[i].len, user)) {
			*err = -EFAULT;
			quire_kfree(p);
			return NULL;
		}
	p->len = len;
	p->cost = cost_of(len);
	p->files = NULL;
	p->from = s;
	sock_get_ref(s);
	atomic_add_of(&s->sent, p->cost);
	*err = 0;
	return p;
}

/* The receiver is closed: who is connected to it is not any more. */
static int receiver_gone(struct sock *s, struct sock *to, bool named)
{
	struct sock *peer = NULL;

	if (s->type != SOCK_DGRAM)
		return -EPIPE;
	mutex_lock(&s->lock);
	if (s->peer == to) {
		peer = s->peer;
		s->peer = NULL;
		WRITE_ONCE(s->state, MADE);
	}
	mutex_unlock(&s->lock);
	if (peer)
		sock_put(peer);
	return peer || named ? -ECONNREFUSED : -ECONNRESET;
}

/* Waits until the receiver has room and gives it the message. */
static int deliver(struct open_file *f, struct sock *s, struct sock *to, struct packet *p, unsigned flags,
		   bool named)
{
	int err;

	for (;;) {
		if (READ_ONCE(to->dead))
			return receiver_gone(s, to, named);
		if (READ_ONCE(to->no_read))
			return -EPIPE;
		mutex_lock(&to->lock);
		if (s == to || to->nr_packets <= QUEUE_MAX || to->peer == s) {
			bool dead = to->dead;

			if (!dead) {
				list_add_tail(&p->link, &to->packets);
				WRITE_ONCE(to->nr_packets, to->nr_packets + 1);
				to->packet_bytes += p->len;
			}
			mutex_unlock(&to->lock);
			if (!dead)
				return 0;
			continue;
		}
		mutex_unlock(&to->lock);
		if (file_flags(f) & O_NONBLOCK || flags & MSG_DONTWAIT)
			return -EAGAIN;
		err = wait_event(&to->writable, !queue_full(s, to) || READ_ONCE(to->dead) || READ_ONCE(to->no_read),
				 true, wait_until(s->snd_timeo));
		if (err)
			return wait_failed(err, s->snd_timeo);
	}
}

/* Whom a message goes to, with a reference. */
static struct sock *receiver_of(struct sock *s, const struct name *to, int *err)
{
	struct sock *other;

	if (to && s->type == SOCK_DGRAM) {
		other = find_bound(to, err);
		if (other && other->type != s->type) {
			*err = -EPROTOTYPE;
			sock_put(other);
			return NULL;
		}
	} else {
		other = peer_get(s);
		*err = -ENOTCONN;
	}
	/* Who is connected to somebody hears nobody else. */
	if (other && s->type == SOCK_DGRAM) {
		struct sock *its = peer_get(other);

		*err = its && its != s ? -EPERM : 0;
		if (its)
			sock_put(its);
		if (*err) {
			sock_put(other);
			other = NULL;
		}
	}
	return other;
}

long packet_send(struct open_file *f, const struct iovec *v, unsigned long count, unsigned flags,
		 const struct name *to, struct rights **r, const struct sender *given)
{
	struct sock *s = f->priv, *other;
	struct packet *p = NULL;
	size_t len = 0;
	int err = 0;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	for (unsigned long i = 0; i < count; i++)
		len += v[i].len;
	if (s->type == SOCK_SEQPACKET) {
		err = take_error(s);
		if (err)
			return err;
		if (READ_ONCE(s->state) != CONNECTED)
			return -ENOTCONN;
		to = NULL;
	}
	if (!to) {
		other = peer_get(s);
		if (!other)
			return -ENOTCONN;
		sock_put(other);
	}
	if (len + 32 > READ_ONCE(s->sndbuf))
		return -EMSGSIZE;
	err = wait_for_buffer(f, s, flags);
	if (err)
		return err;
	other = receiver_of(s, to, &err);
	if (!other)
		return err;
	p = make_packet(s, v, count, len, !(flags & MSG_KERNEL), &err);
	if (p) {
		p->sender = sender_of(s, other, given);
		p->files = *r;
		err = deliver(f, s, other, p, flags, to != NULL);
		if (err) {
			p->files = NULL;
			packet_free(p);
		} else {
			*r = NULL;
			wake_all(&other->readable);
			poll_tell(&other->polls, POLLIN | POLLRDNORM);
		}
	}
	sock_put(other);
	return err ? err : (long)len;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* The first message, out of the list unless it is only looked at. While it is, nobody else may take it: then the
 * lock is held. */
static struct packet *first_packet(struct sock *s, bool peek)
{
	struct packet *p;

	assert_mutex_held(&s->lock);
	if (list_empty(&s->packets))
		return NULL;
	p = list_first_entry(&s->packets, struct packet, link);
	if (!peek) {
		list_del(&p->link);
		WRITE_ONCE(s->nr_packets, s->nr_packets - 1);
		s->packet_bytes -= p->len;
	}
	return p;
}

/* A copy of the first message's bytes and of what came with it. */
static struct packet *copy_first(struct sock *s, int *err)
{
	struct packet *p, *copy = NULL;
	size_t len = 0;

	*err = 0;
	do {
		quire_kfree(copy);
		copy = quire_kmalloc(sizeof(*copy) + len, 0);
		if (!copy) {
			*err = -ENOMEM;
			return NULL;
		}
		mutex_lock(&s->lock);
		p = first_packet(s, true);
		if (p && p->len <= len) {
			memcpy(copy, p, sizeof(*p) + p->len);
			sock_get_ref(copy->from);
			copy->files = NULL; /* files are not looked at twice */
			mutex_unlock(&s->lock);
			return copy;
		}
		len = p ? p->len : 0;
		mutex_unlock(&s->lock);
	} while (p);
	quire_kfree(copy);
	return NULL;
}

/* One, the caller's; NULL: none, with *err 0: there will be none. */
static struct packet *wait_packet(struct open_file *f, struct sock *s, unsigned flags, int *err)
{
	struct packet *p;

	for (;;) {
		bool ended = READ_ONCE(s->no_read);

		if (flags & MSG_PEEK) {
			p = copy_first(s, err);
		} else {
			mutex_lock(&s->lock);
			p = first_packet(s, false);
			mutex_unlock(&s->lock);
			*err = 0;
		}
		if (p || *err)
			return p;
		*err = take_error(s);
		if (*err || ended)
			return NULL;
		*err = -EAGAIN;
		if (file_flags(f) & O_NONBLOCK || flags & MSG_DONTWAIT)
			return NULL;
		*err = wait_event(&s->readable, READ_ONCE(s->nr_packets) || READ_ONCE(s->no_read) || READ_ONCE(s->err),
				  true, wait_until(s->rcv_timeo));
		if (*err) {
			*err = wait_failed(*err, s->rcv_timeo);
			return NULL;
		}
	}
}

/* How much went into the pieces; -EFAULT. */
static long scatter(const struct packet *p, const struct iovec *v, unsigned long count, bool user)
{
	size_t done = 0;

	for (unsigned long i = 0; i < count && done < p->len; i++) {
		size_t n = min(v[i].len, (uint64_t)(p->len - done));

		if (put_bytes(v[i].base, p->bytes + done, n, user))
			return -EFAULT;
		done += n;
	}
	return (long)done;
}

long packet_receive(struct open_file *f, const struct iovec *v, unsigned long count, unsigned flags,
		    struct got *g, struct name *from)
{
	struct sock *s = f->priv;
	struct packet *p;
	long r;
	int err;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (s->type == SOCK_SEQPACKET && READ_ONCE(s->state) != CONNECTED)
		return -ENOTCONN;
	p = wait_packet(f, s, flags, &err);
	if (!p)
		return err;
	wake_all(&s->writable);
	r = scatter(p, v, count, !(flags & MSG_KERNEL));
	if (r >= 0) {
		*from = p->from->name;
		g->sender = p->sender;
		g->any = true;
		g->files = p->files;
		p->files = NULL;
		g->flags = (size_t)r < p->len ? MSG_TRUNC : 0;
		r = flags & MSG_TRUNC ? (long)p->len : r;
	}
	if (flags & MSG_PEEK) {
		sock_put(p->from);
		quire_kfree(p);
	} else {
		packet_free(p);
	}
	return r;
}

/* ---- the rest -------------------------------------------------------------------------------- */

int packet_connect(struct sock *s, struct sock *l)
{
	struct sock *old, *its = l ? peer_get(l) : NULL;
	int err = its && its != s ? -EPERM : 0;

	if (its)
		sock_put(its);
	if (err) {
		sock_put(l);
		return err;
	}
	mutex_lock(&s->lock);
	old = s->peer;
	s->peer = l;
	s->peer_pid = l ? l->pid : 0;
	WRITE_ONCE(s->state, l ? CONNECTED : MADE);
	mutex_unlock(&s->lock);
	if (old)
		sock_put(old);
	return 0;
}

unsigned packet_poll(struct sock *s)
{
	struct sock *peer = peer_get(s);
	/* worth writing to: three quarters are free */
	bool full = atomic_load_of(&s->sent) * 4 > READ_ONCE(s->sndbuf) || (peer && queue_full(s, peer));
	unsigned r = 0;

	if (peer)
		sock_put(peer);
	if (READ_ONCE(s->err))
		r |= POLLERR;
	if (READ_ONCE(s->no_read))
		r |= POLLRDHUP | POLLIN | POLLRDNORM;
	if (READ_ONCE(s->no_read) && READ_ONCE(s->no_write))
		r |= POLLHUP;
	if (READ_ONCE(s->nr_packets))
		r |= POLLIN | POLLRDNORM;
	if (s->type == SOCK_SEQPACKET && READ_ONCE(s->state) == MADE)
		r |= POLLHUP;
	return full ? r : r | POLLOUT | POLLWRNORM;
}

int packet_first(struct sock *s)
{
	int n;

	mutex_lock(&s->lock);
	n = list_empty(&s->packets) ? 0 : (int)list_first_entry(&s->packets, struct packet, link)->len;
	mutex_unlock(&s->lock);
	return n;
}
