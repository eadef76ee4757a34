/* SPDX-License-Identifier: MIT */
/*
 * AF_UNIX streams as an ordinary program uses them. Exit status 0: all as on Linux 5.10. Runs on any Linux too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"

#define NAME "/tmp/socket"

static int events(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static void pairs(void)
{
	char c[100] = {0};
	int s[2], n;
	struct stat st;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0 && fcntl(s[0], F_GETFD) == FD_CLOEXEC);
	CHECK(fstat(s[0], &st) == 0 && S_ISSOCK(st.st_mode) && lseek(s[0], 0, SEEK_CUR) == -1 && errno == ESPIPE);
	CHECK(events(s[0]) == POLLOUT && write(s[0], "hello", 5) == 5 && events(s[1]) == (POLLIN | POLLOUT));
	CHECK(ioctl(s[1], FIONREAD, &n) == 0 && n == 5);
	CHECK(recv(s[1], c, 100, MSG_PEEK) == 5 && recv(s[1], c, 2, 0) == 2 && read(s[1], c, 100) == 3);
	CHECK(!memcmp(c, "llo", 3) && recv(s[1], c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	CHECK(send(s[1], "back", 4, 0) == 4 && shutdown(s[1], SHUT_WR) == 0);
	CHECK(events(s[0]) == (POLLIN | POLLOUT | POLLRDHUP));
	CHECK(read(s[0], c, 100) == 4 && read(s[0], c, 100) == 0);
	CHECK(send(s[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE && write(s[0], "y", 1) == 1);
	CHECK(read(s[1], c, 1) == 1 && shutdown(s[0], SHUT_RDWR) == 0);
	CHECK(events(s[1]) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP));
	close(s[0]);
	close(s[1]);
	/* closed with bytes unread: an error once, then the end */
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && write(s[0], "lost", 4) == 4);
	close(s[1]);
	CHECK(read(s[0], c, 1) == -1 && errno == ECONNRESET && read(s[0], c, 1) == 0);
	CHECK(write(s[0], "x", 1) == -1 && errno == EPIPE);
	close(s[0]);
	CHECK(socketpair(AF_INET, SOCK_STREAM, 0, s) == -1);
	CHECK(socket(AF_UNIX, 77, 0) == -1 && recv(0, c, 1, 0) == -1 && errno == ENOTSOCK);
}

/* More than goes in at once, both ways. */
static void streams(void)
{
	static char big[300000], in[300000];
	size_t got = 0;
	int s[2];
	ssize_t n;
	pid_t pid;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 >> 3);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	pid = fork();
	if (!pid) {
		close(s[0]);
		if (write(s[1], big, sizeof(big)) != sizeof(big))
			_exit(1);
		_exit(recv(s[1], in, sizeof(in), MSG_WAITALL) == sizeof(in) && !memcmp(in, big, sizeof(in)) ? 0 : 2);
	}
	close(s[1]);
	while (got < sizeof(in) && (n = read(s[0], in + got, sizeof(in) - got)) > 0)
		got += (size_t)n;
	CHECK(got == sizeof(in) && !memcmp(in, big, sizeof(in)));
	CHECK(write(s[0], big, sizeof(big)) == sizeof(big) && status_of(pid) == 0);
	close(s[0]);
	fcntl(s[0], F_GETFD);
}

static int send_fds(int to, const char *bytes, const int *fd, int n)
{
	char control[CMSG_SPACE(16 * sizeof(int))] = {0};
	struct iovec v = {(void *)(size_t)bytes, strlen(bytes)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
			   .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	memcpy(CMSG_DATA(c), fd, (size_t)n * sizeof(int));
	return (int)sendmsg(to, &m, 0);
}

/* Bytes that came; *n descriptors in fd. */
static int receive_fds(int from, char *bytes, size_t size, int *fd, int *n, int *flags, int room)
{
	char control[CMSG_SPACE(16 * sizeof(int))];
	struct iovec v = {bytes, size};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
			   .msg_controllen = CMSG_SPACE((size_t)room * sizeof(int))};
	struct cmsghdr *c;
	int r = (int)recvmsg(from, &m, MSG_CMSG_CLOEXEC);

	*n = 0;
	*flags = m.msg_flags;
	c = CMSG_FIRSTHDR(&m);
	if (r >= 0 && c && c->cmsg_type == SCM_RIGHTS) {
		*n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fd, CMSG_DATA(c), (size_t)*n * sizeof(int));
	}
	return r;
}

static void files_go_along(void)
{
	int s[2], p[2], fd[16], n, flags, bad = 777;
	char c[20] = {0};

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(p) == 0);
	CHECK(write(s[0], "ab", 2) == 2 && send_fds(s[0], "cd", &p[0], 1) == 2 && write(s[0], "ef", 2) == 2);
	/* what receives files ends with the message that they came with */
	CHECK(receive_fds(s[1], c, 20, fd, &n, &flags, 2) == 4 && n == 1 && !memcmp(c, "abcd", 4));
	close(fd[0]);
	CHECK(receive_fds(s[1], c, 20, fd, &n, &flags, 2) == 2 && n == 0 && !memcmp(c, "ef", 2));
	/* they go with its first byte */
	CHECK(send_fds(s[0], "cd", &p[0], 1) == 2 && write(s[0], "ef", 2) == 2);
	CHECK(receive_fds(s[1], c, 1, fd, &n, &flags, 2) == 1 && n == 1 && c[0] == 'c');
	CHECK(fcntl(fd[0], F_GETFD) == FD_CLOEXEC && write(p[1], "x", 1) == 1 && read(fd[0], c, 1) == 1);
	close(fd[0]);
	CHECK(read(s[1], c, 20) == 3 && !memcmp(c, "def", 3));
	/* no room for all: some are closed, and that is told */
	CHECK(send_fds(s[0], "z", (int[]){p[0], p[1], p[0]}, 3) == 1);
	CHECK(receive_fds(s[1], c, 20, fd, &n, &flags, 1) == 1 && n <= 2 && n >= 1 && flags & MSG_CTRUNC);
	while (n--)
		close(fd[n]);
	CHECK(send_fds(s[0], "z", &bad, 1) == -1 && errno == EBADF);
	/* one under way keeps the pipe open, until the socket goes */
	CHECK(send_fds(s[0], "z", &p[1], 1) == 1);
	close(p[1]);
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0 && read(p[0], c, 1) == -1 && errno == EAGAIN);
	close(s[0]);
	close(s[1]);
	CHECK(read(p[0], c, 1) == 0);
	close(p[0]);
}

static socklen_t address(struct sockaddr_un *a, const char *name, int abstract)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	strcpy(a->sun_path + abstract, name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
}

static void served(int abstract)
{
	struct sockaddr_un a, got;
	socklen_t len = address(&a, abstract ? "quire" : NAME, abstract), gl = sizeof(got);
	struct ucred cred = {0};
	struct epoll_event e;
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c, n, other = socket(AF_UNIX, SOCK_STREAM, 0), ep = epoll_create1(0), v;
	char b[20] = {0};
	struct stat st;
	pid_t pid;

	unlink(NAME);
	CHECK(listen(l, 1) == -1 && errno == EINVAL);
	CHECK(connect(other, (void *)&a, len) == -1 && errno == (abstract ? ECONNREFUSED : ENOENT));
	CHECK(bind(l, (void *)&a, len) == 0);
	CHECK(abstract || (stat(NAME, &st) == 0 && S_ISSOCK(st.st_mode) && open(NAME, O_RDWR) == -1 && errno == ENXIO));
	CHECK(bind(other, (void *)&a, len) == -1 && errno == EADDRINUSE);
	CHECK(connect(other, (void *)&a, len) == -1 && errno == ECONNREFUSED);
	CHECK(accept(l, NULL, NULL) == -1 && errno == EINVAL && listen(l, 5) == 0);
	gl = sizeof(got);
	CHECK(getsockname(l, (void *)&got, &gl) == 0 && gl == len && !memcmp(&got, &a, len));
	e = (struct epoll_event){.events = EPOLLIN};
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e) == 0 && epoll_wait(ep, &e, 1, 0) == 0);
	pid = fork();
	if (!pid) {
		c = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(c, (void *)&a, len) || write(c, "ping", 4) != 4 || read(c, b, 20) != 4 || memcmp(b, "pong", 4))
			_exit(1);
		gl = sizeof(got);
		if (getpeername(c, (void *)&got, &gl) || memcmp(&got, &a, len) || connect(c, (void *)&a, len) != -1 ||
		    errno != EISCONN)
			_exit(2);
		_exit(0);
	}
	CHECK(epoll_wait(ep, &e, 1, 5000) == 1);
	gl = sizeof(got);
	n = accept4(l, (void *)&got, &gl, SOCK_NONBLOCK);
	CHECK(n >= 0 && gl == 2 && (fcntl(n, F_GETFL) & O_NONBLOCK));
	gl = sizeof(cred);
	CHECK(getsockopt(n, SOL_SOCKET, SO_PEERCRED, &cred, &gl) == 0 && cred.pid == pid && gl == sizeof(cred));
	gl = sizeof(v);
	CHECK(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &v, &gl) == 0 && v == 1);
	fcntl(n, F_SETFL, 0);
	CHECK(read(n, b, 20) == 4 && !memcmp(b, "ping", 4) && write(n, "pong", 4) == 4);
	CHECK(status_of(pid) == 0 && read(n, b, 1) == 0);
	close(n);
	CHECK(fcntl(l, F_SETFL, O_NONBLOCK) == 0 && accept(l, NULL, NULL) == -1 && errno == EAGAIN);
	/* one that nobody accepted */
	CHECK(connect(other, (void *)&a, len) == 0 && write(other, "x", 1) == 1);
	close(l);
	CHECK(read(other, b, 1) == -1 && errno == ECONNRESET);
	close(other);
	other = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(connect(other, (void *)&a, len) == -1 && errno == ECONNREFUSED);
	CHECK(send(other, "x", 1, MSG_NOSIGNAL) == -1 && errno == ENOTCONN);
	close(other);
	close(ep);
	unlink(NAME);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	mkdir("/tmp", 0777);
	signal(SIGPIPE, SIG_IGN);
	pairs();
	streams();
	files_go_along();
	served(0);
	served(1);
	printf("sockets: %d failed\n", failures);
	return failures != 0;
}
