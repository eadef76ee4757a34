/* SPDX-License-Identifier: MIT */
/* Ends as it is told: by a number, a signal, not at all, or with more memory than there is. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	puts("begun");
	if (!strcmp(argv[1], "signal"))
		raise(SIGABRT);
	if (!strcmp(argv[1], "never") && !fork())
		for (;;)
			pause();
	if (!strcmp(argv[1], "never"))
		for (;;)
			pause();
	if (!strcmp(argv[1], "megabytes")) {
		size_t n = (size_t)atol(argv[2]) << 20;
		char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return 5;
		memset(p, 1, n);
		puts("had them");
		return 0;
	}
	return atoi(argv[1]);
}
