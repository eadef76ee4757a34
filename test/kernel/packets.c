/* SPDX-License-Identifier: MIT */
/*
 * AF_UNIX sockets that keep messages apart, datagrams and SOCK_SEQPACKET; time limits of sockets, and who sent
 * something. Exit status 0: all as on Linux 5.10. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static char b[300000];

static int events(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static socklen_t address(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	strcpy(a->sun_path, name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
}

static void pairs(int type)
{
	int s[2], n, v;
	socklen_t len = sizeof(v);
	struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};

	CHECK(socketpair(AF_UNIX, type, 0, s) == 0 && getsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, &len) == 0 && v == type);
	CHECK(events(s[0]) == POLLOUT && send(s[0], "hello", 5, 0) == 5 && send(s[0], "wo", 2, 0) == 2);
	CHECK(events(s[1]) == (POLLIN | POLLOUT) && ioctl(s[1], FIONREAD, &n) == 0 && n == (type == SOCK_DGRAM ? 5 : 7));
	CHECK(recv(s[1], b, 100, MSG_PEEK) == 5 && recv(s[1], b, 100, 0) == 5 && recv(s[1], b, 1, MSG_TRUNC) == 2);
	CHECK(recv(s[1], b, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	/* one message, however many pieces */
	CHECK(writev(s[0], iov, 2) == 5 && read(s[1], b, 2) == 2 && recv(s[1], b, 2, MSG_DONTWAIT) == -1);
	CHECK(write(s[0], "xyz", 3) == 3);
	iov[0] = (struct iovec){b, 1}, iov[1] = (struct iovec){b + 10, 100};
	CHECK(readv(s[1], iov, 2) == 3 && b[0] == 'x' && b[10] == 'y' && b[11] == 'z');
	/* an empty one is one too */
	CHECK(send(s[0], "", 0, 0) == 0 && send(s[0], "q", 1, 0) == 1);
	CHECK(recv(s[1], b, 10, 0) == 0 && recv(s[1], b, 10, 0) == 1);
	CHECK(send(s[0], b, 250000, 0) == -1 && errno == EMSGSIZE && send(s[0], b, 100000, 0) == 100000);
	CHECK(recv(s[1], b, sizeof(b), 0) == 100000);
	/* what is full */
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	for (n = 0; n < 10000 && send(s[0], b, 1000, 0) == 1000; n++)
		;
	CHECK(errno == EAGAIN && n > 20 && n < 250 && events(s[0]) == 0);
	while (recv(s[1], b, 10, MSG_DONTWAIT) == 10)
		n--;
	CHECK(n == 0 && events(s[0]) == POLLOUT);
	/* the end */
	CHECK(send(s[1], "last", 4, 0) == 4 && shutdown(s[1], SHUT_WR) == 0);
	CHECK(read(s[0], b, 10) == 4);
	CHECK(send(s[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
	if (type == SOCK_SEQPACKET)
		CHECK(read(s[0], b, 10) == 0 && events(s[0]) == (POLLIN | POLLOUT | POLLRDHUP));
	else
		CHECK(read(s[0], b, 10) == -1 && errno == EAGAIN && events(s[0]) == POLLOUT);
	close(s[1]);
	if (type == SOCK_SEQPACKET) {
		CHECK(read(s[0], b, 10) == 0 && events(s[0]) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP));
		CHECK(send(s[0], "x", 1, 0) == -1 && errno == EPIPE && send(s[0], "x", 1, 0) == -1 && errno == EPIPE);
	} else {
		CHECK(send(s[0], "x", 1, 0) == -1 && errno == ECONNREFUSED && send(s[0], "x", 1, 0) == -1 && errno == ENOTCONN);
	}
	close(s[0]);
}

static void datagrams(void)
{
	struct sockaddr_un a, c, got;
	socklen_t la = address(&a, "/tmp/dgram-a"), lc = address(&c, "/tmp/dgram-c"), lg = sizeof(got);
	int x = socket(AF_UNIX, SOCK_DGRAM, 0), y = socket(AF_UNIX, SOCK_DGRAM, 0), z = socket(AF_UNIX, SOCK_DGRAM, 0), i;
	int st = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(a.sun_path), unlink(c.sun_path);
	CHECK(sendto(x, "1", 1, 0, (void *)&a, la) == -1 && errno == ENOENT);
	CHECK(bind(y, (void *)&a, la) == 0 && sendto(x, "one", 3, 0, (void *)&a, la) == 3);
	CHECK(recvfrom(y, b, 100, 0, (void *)&got, &lg) == 3 && lg == 0);
	CHECK(bind(x, (void *)&c, lc) == 0 && sendto(x, "two", 3, 0, (void *)&a, la) == 3);
	lg = sizeof(got);
	CHECK(recvfrom(y, b, 100, 0, (void *)&got, &lg) == 3 && lg == lc && !strcmp(got.sun_path, c.sun_path));
	CHECK(send(x, "3", 1, 0) == -1 && errno == ENOTCONN && listen(x, 1) == -1 && errno == EOPNOTSUPP);
	CHECK(accept(x, NULL, NULL) == -1 && errno == EOPNOTSUPP);
	CHECK(connect(x, (void *)&a, la) == 0 && send(x, "4", 1, 0) == 1 && read(y, b, 10) == 1);
	lg = sizeof(got);
	CHECK(getpeername(x, (void *)&got, &lg) == 0 && lg == la);
	CHECK(connect(st, (void *)&a, la) == -1 && errno == EPROTOTYPE);
	/* who is connected hears its peer alone */
	CHECK(connect(y, (void *)&c, lc) == 0 && sendto(z, "5", 1, 0, (void *)&a, la) == -1 && errno == EPERM);
	CHECK(connect(z, (void *)&a, la) == -1 && errno == EPERM && sendto(x, "6", 1, 0, (void *)&a, la) == 1 && read(y, b, 10) == 1);
	got.sun_family = AF_UNSPEC;
	CHECK(connect(y, (void *)&got, sizeof(got)) == 0 && sendto(z, "7", 1, 0, (void *)&a, la) == 1 && read(y, b, 10) == 1);
	/* of others no more than eleven wait */
	fcntl(z, F_SETFL, O_NONBLOCK);
	CHECK(connect(z, (void *)&a, la) == 0);
	for (i = 0; i < 100 && send(z, "x", 1, 0) == 1; i++)
		;
	CHECK(i == 11 && errno == EAGAIN && events(z) == 0 && read(y, b, 10) == 1 && events(z) == POLLOUT);
	CHECK(shutdown(y, SHUT_RD) == 0 && send(z, "x", 1, 0) == -1 && errno == EPIPE);
	close(y);
	CHECK(send(z, "x", 1, 0) == -1 && errno == ECONNREFUSED && send(z, "x", 1, 0) == -1 && errno == ENOTCONN);
	CHECK(sendto(z, "x", 1, 0, (void *)&a, la) == -1 && errno == ECONNREFUSED);
	close(x), close(z), close(st);
	unlink(a.sun_path), unlink(c.sun_path);
}

static void served(void)
{
	struct sockaddr_un a;
	socklen_t la = address(&a, "/tmp/seq");
	int l = socket(AF_UNIX, SOCK_SEQPACKET, 0), c = socket(AF_UNIX, SOCK_SEQPACKET, 0), n;

	unlink(a.sun_path);
	CHECK(send(c, "x", 1, 0) == -1 && errno == ENOTCONN && recv(c, b, 1, 0) == -1 && errno == ENOTCONN);
	CHECK(bind(l, (void *)&a, la) == 0 && listen(l, 2) == 0 && connect(c, (void *)&a, la) == 0);
	CHECK(send(c, "early", 5, 0) == 5);
	n = accept(l, NULL, NULL);
	CHECK(n >= 0 && recv(n, b, 100, 0) == 5 && send(n, "ab", 2, 0) == 2 && send(n, "cd", 2, 0) == 2);
	CHECK(recv(c, b, 100, 0) == 2 && recv(c, b, 100, 0) == 2);
	CHECK(send(c, "unread", 6, 0) == 6);
	close(n);
	CHECK(recv(c, b, 10, 0) == -1 && errno == ECONNRESET && recv(c, b, 10, 0) == 0);
	close(c), close(l);
	unlink(a.sun_path);
}

static long ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void time_limits(void)
{
	struct timeval t = {0, 60000}, got, bad = {0, 1000000}, none = {0};
	struct sockaddr_un a;
	socklen_t len = sizeof(got), la = address(&a, "/tmp/limit");
	int s[2], l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), d = socket(AF_UNIX, SOCK_STREAM, 0);
	long start;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && getsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &got, &len) == 0);
	CHECK(len == sizeof(got) && !got.tv_sec && !got.tv_usec);
	CHECK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &bad, sizeof(bad)) == -1 && errno == EDOM);
	CHECK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, 4) == -1 && errno == EINVAL);
	CHECK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0 && setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) == 0);
	CHECK(getsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &got, &len) == 0 && got.tv_usec == 60000);
	start = ms();
	CHECK(read(s[0], b, 1) == -1 && errno == EAGAIN && ms() - start >= 55 && ms() - start < 5000);
	while (write(s[0], b, sizeof(b)) > 0)
		;
	CHECK(errno == EAGAIN);
	close(s[0]), close(s[1]);
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0 && setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0);
	start = ms();
	CHECK(read(s[1], b, 1) == -1 && errno == EAGAIN && ms() - start >= 55);
	CHECK(setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)) == 0);
	close(s[0]), close(s[1]);
	unlink(a.sun_path);
	CHECK(bind(l, (void *)&a, la) == 0 && listen(l, 0) == 0 && setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0);
	CHECK(accept(l, NULL, NULL) == -1 && errno == EAGAIN && connect(c, (void *)&a, la) == 0);
	CHECK(setsockopt(d, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) == 0 && connect(d, (void *)&a, la) == -1 && errno == EAGAIN);
	close(l), close(c), close(d);
	unlink(a.sun_path);
}

/* Bytes received; *who: who sent them, pid -1: that was not told. */
static int receive(int fd, size_t n, struct ucred *who, int *rights)
{
	char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
	struct iovec v = {b, n};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int r = (int)recvmsg(fd, &m, MSG_DONTWAIT);

	who->pid = -1;
	*rights = -1;
	for (struct cmsghdr *c = r < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_type == SCM_CREDENTIALS)
			memcpy(who, CMSG_DATA(c), sizeof(*who));
		else if (c->cmsg_type == SCM_RIGHTS)
			memcpy(rights, CMSG_DATA(c), sizeof(int));
	}
	return r;
}

static int send_as(int fd, pid_t pid, uid_t uid, int rights)
{
	char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))] = {0};
	struct iovec v = {"hey", 3};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
			   .msg_controllen = rights >= 0 ? sizeof(control) : CMSG_SPACE(sizeof(struct ucred))};
	struct ucred who = {pid, uid, 0};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(who)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS};
	memcpy(CMSG_DATA(c), &who, sizeof(who));
	if (rights >= 0) {
		c = CMSG_NXTHDR(&m, c);
		*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(c), &rights, sizeof(int));
	}
	return (int)sendmsg(fd, &m, 0);
}

static void senders(int type)
{
	int s[2], one = 1, rights, st;
	struct ucred who;
	pid_t pid;

	CHECK(socketpair(AF_UNIX, type, 0, s) == 0 && write(s[0], "abc", 3) == 3);
	CHECK(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) == 0);
	/* sent before anybody asked */
	CHECK(receive(s[1], 10, &who, &rights) == 3 && who.pid == 0 && who.uid == 65534 && who.gid == 65534);
	CHECK(write(s[0], "abc", 3) == 3 && receive(s[1], 10, &who, &rights) == 3 && who.pid == getpid() && who.uid == 0);
	CHECK(send_as(s[0], getpid(), 0, s[0]) == 3 && receive(s[1], 10, &who, &rights) == 3 && who.pid == getpid() && rights >= 0);
	close(rights);
	CHECK(send_as(s[0], 1, 7, -1) == 3 && receive(s[1], 10, &who, &rights) == 3 && who.pid == 1 && who.uid == 7 && rights == -1);
	CHECK(send_as(s[0], 999999, 0, -1) == -1 && errno == ESRCH);
	/* of a stream one call gives one sender's */
	CHECK(write(s[0], "mine", 4) == 4);
	pid = fork();
	if (!pid)
		_exit(write(s[0], "child", 5) == 5 ? 0 : 1);
	CHECK(waitpid(pid, &st, 0) == pid && st == 0 && write(s[0], "again", 5) == 5);
	CHECK(receive(s[1], 100, &who, &rights) == 4 && who.pid == getpid());
	CHECK(receive(s[1], 3, &who, &rights) == 3 && who.pid == pid);
	if (type == SOCK_STREAM)
		CHECK(receive(s[1], 100, &who, &rights) == 2 && who.pid == pid);
	CHECK(receive(s[1], 100, &who, &rights) == 5 && who.pid == getpid());
	close(s[0]), close(s[1]);
}

static void many(void)
{
	struct iovec v[3] = {{"a", 1}, {"bc", 2}, {"def", 3}}, in[4] = {{b, 10}, {b + 10, 10}, {b + 20, 10}, {b + 30, 10}};
	struct mmsghdr m[4] = {0};
	int s[2];

	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr.msg_iov = &v[i], m[i].msg_hdr.msg_iovlen = 1;
	CHECK(sendmmsg(s[0], m, 3, 0) == 3 && m[0].msg_len == 1 && m[2].msg_len == 3);
	for (int i = 0; i < 4; i++)
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &in[i], .msg_iovlen = 1}};
	CHECK(recvmmsg(s[1], m, 4, MSG_DONTWAIT, NULL) == 3 && m[1].msg_len == 2 && b[10] == 'b' && m[2].msg_len == 3);
	CHECK(recvmmsg(s[1], m, 4, MSG_DONTWAIT, NULL) == -1 && errno == EAGAIN);
	CHECK(send(s[0], "x", 1, 0) == 1 && recvmmsg(s[1], m, 4, MSG_WAITFORONE, NULL) == 1);
	close(s[0]), close(s[1]);
}

static void *late(void *arg)
{
	usleep(30000);
	while (recv(*(int *)arg, b, sizeof(b), MSG_DONTWAIT) == 1000)
		;
	return NULL;
}

/* A sender that waits for room goes on when the messages are taken out. */
static void waits(void)
{
	int s[2], n = 0;
	pthread_t t;

	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
	while (send(s[0], b, 1000, MSG_DONTWAIT) > 0)
		n++;
	CHECK(n > 0 && pthread_create(&t, NULL, late, &s[1]) == 0);
	CHECK(send(s[0], b, 10, 0) == 10);
	pthread_join(t, NULL);
	close(s[0]), close(s[1]);
}

int main(void)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);
	int s;

	setvbuf(stdout, NULL, _IONBF, 0);
	mkdir("/tmp", 0777);
	signal(SIGPIPE, SIG_IGN);
	pairs(SOCK_DGRAM);
	pairs(SOCK_SEQPACKET);
	datagrams();
	served();
	time_limits();
	senders(SOCK_STREAM);
	senders(SOCK_DGRAM);
	senders(SOCK_SEQPACKET);
	many();
	waits();
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(shutdown(s, SHUT_RDWR) == 0 && getpeername(s, (void *)&a, &len) == -1 && errno == ENOTCONN);
	close(s);
	printf("packets: %d failed\n", failures);
	return failures != 0;
}
