/* SPDX-License-Identifier: MIT */
/*
 * Nobody can go on: the parent waits for its child, the child for a byte that only itself could write.
 * The kernel says so, and where each of them sleeps. With an argument the child waits for a typed byte:
 * that may still come, and the kernel is silent.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int p[2];
	char c;

	if (pipe(p))
		return 1;
	if (!fork())
		return read(argc > 1 ? 0 : p[0], &c, 1) == 1;
	wait(NULL);
	return 0;
}
