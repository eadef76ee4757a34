/* SPDX-License-Identifier: MIT */
/*
 * What sockets of this machine share: streams and everything about names and connections (unix.c), sockets that
 * keep messages apart (packet.c).
 */
#ifndef KERNEL_IPC_UNIX_H
#define KERNEL_IPC_UNIX_H

#include "kernel/kernel.h"

#define NAME_ROOM   108 /* of sun_path */
#define MAX_RIGHTS  253 /* files in one message, as Linux has it */
#define MSG_KERNEL  0x80000000u /* ours: the buffer is the kernel's */
#define SNDBUF	    212992u /* bytes, as Linux has it */

enum sock_state { MADE, LISTENING, CONNECTED };

/* Who sent it, if that was asked for; pid 0: nobody knows. */
struct sender {
	int pid;
	unsigned uid, gid;
};

struct rights {
	unsigned n;
	struct open_file *file[];
};

/* Bytes of a stream that one sender sent with files, or with its name on them: at the ring's position. The files
 * go with the first of them, and what receives them goes no further than the last. */
struct mark {
	struct list_head link;
	uint64_t at, end;
	struct sender sender;
	struct rights *files;
};

/* What came with bytes or with a message. */
struct got {
	struct rights *files;
	struct sender sender;
	bool any;
	unsigned flags; /* MSG_TRUNC */
};

struct name {
	size_t len; /* of path; 0: none */
	char path[NAME_ROOM + 1];
};

struct sock {
	atomic_t refs;
	int type;		/* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
	struct mutex lock;	/* all that follows but for what says otherwise */
	enum sock_state state;	/* looked at without */
	char *ring;		/* of a stream, while it is connected */
	size_t head, used;
	uint64_t taken;		/* bytes ever taken out: the position of the ring's first one */
	struct list_head marks; /* struct mark, by position */
	struct list_head packets; /* messages that came */
	unsigned nr_packets;	/* looked at without */
	size_t packet_bytes;
	uint64_t sent;		/* bytes of messages that are under way; atomic */
	bool dead;		/* closed; looked at without */
	bool no_read, no_write;	/* shut down; looked at without */
	int err;		/* told once */
	/* With a reference. Set once, atomic; of datagrams lock, by peer_get(). */
	struct sock *peer;
	int pid, peer_pid;	/* for SO_PEERCRED */
	unsigned backlog, nr_waiting;
	struct list_head waiting; /* of one that listens: sock.link, not accepted yet, with a reference */
	struct list_head link;
	struct vnode *v;	/* bound there, with a reference; names_lock */
	struct list_head abstract; /* bound without a file; names_lock */
	struct name name;	/* set once, by bind or by who connects */
	bool pass_cred;
	unsigned sndbuf, rcvbuf;
	uint64_t rcv_timeo, snd_timeo; /* ns; 0: for ever */
	struct wait_head readable, writable;
	struct poll_head polls;
};

static inline bool is_stream(const struct sock *s)
{
	return s->type == SOCK_STREAM;
}

/* What a wait with that limit may take; what it answers. */
static inline uint64_t wait_until(uint64_t timeo)
{
	return timeo ? hal_clock_ns() + timeo : 0;
}

static inline int wait_failed(int err, uint64_t timeo)
{
	return err == -ETIMEDOUT ? -EAGAIN : timeo ? -EINTR : -ERESTARTSYS;
}

void rights_free(struct rights *r);
void sock_get_ref(struct sock *s);
void sock_put(struct sock *s);
/* Of a datagram socket, with a reference; NULL: none. */
struct sock *peer_get(struct sock *s);
int take_error(struct sock *s);
/* The socket that is bound there, with a reference; NULL and why. */
struct sock *find_bound(const struct name *n, int *err);
/* What is told of who sends: with a name on it if one of both asks. */
struct sender sender_of(const struct sock *s, const struct sock *to, const struct sender *given);

/* ---- packet.c -------------------------------------------------------------------------------- */

/* One message of pieces; to: where, NULL: to the peer. *r goes too. Bytes or an errno. */
long packet_send(struct open_file *f, const struct iovec *v, unsigned long count, unsigned flags,
		 const struct name *to, struct rights **r, const struct sender *given);
/* The next message; *from: who sent it, its name. Bytes or an errno. */
long packet_receive(struct open_file *f, const struct iovec *v, unsigned long count, unsigned flags,
		    struct got *g, struct name *from);
/* Connects a datagram socket, to nobody with l NULL. Takes over the reference. */
int packet_connect(struct sock *s, struct sock *l);
void packets_free(struct sock *s);
unsigned packet_poll(struct sock *s);
/* Bytes of the first message. */
int packet_first(struct sock *s);

#endif
