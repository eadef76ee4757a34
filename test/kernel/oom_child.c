/* SPDX-License-Identifier: MIT */
/*
 * A child takes all memory in one call and sleeps on it; then the parent wants four more megabytes. The
 * child is killed, and the parent gets them: who asks is not who dies.
 */
#define _GNU_SOURCE
#include "check.h"
#include <sys/mman.h>
#include <unistd.h>

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static void take_all(int tell)
{
	for (long mb = 4096; mb >= 1; mb /= 2)
		for (int i = 0; i < 64; i++)
			if (mmap(NULL, (size_t)mb << 20, PROT_READ | PROT_WRITE, ANON | MAP_POPULATE, -1, 0) ==
			    MAP_FAILED)
				break;
	if (write(tell, "x", 1) == 1)
		for (;;)
			pause();
}

int main(void)
{
	char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, ANON, -1, 0), c;
	int fds[2], status;
	pid_t pid;

	CHECK(pipe(fds) == 0);
	pid = fork();
	if (!pid)
		take_all(fds[1]);
	close(fds[1]);
	CHECK(read(fds[0], &c, 1) <= 1); /* its end closes the pipe too */
	memset(p, 1, 4 << 20);
	CHECK(waitpid(pid, &status, WNOHANG) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == 9);
	for (int i = 0; i < 4 << 20; i += 4096)
		CHECK(p[i] == 1);
	printf("# oom_child: %d failures\n", failures);
	return failures != 0;
}
