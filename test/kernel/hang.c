/* SPDX-License-Identifier: MIT */
/*
 * Nobody can go on: the parent waits for its child, the child for a byte that only itself could write.
 * The kernel says so, and where each of them sleeps.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int p[2];
	char c;

	if (pipe(p))
		return 1;
	if (!fork())
		return read(p[0], &c, 1) == 1;
	wait(NULL);
	return 0;
}
