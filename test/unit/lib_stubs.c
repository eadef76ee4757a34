/* SPDX-License-Identifier: MIT */
/* What lib/ asks of a kernel, for tests that have none. */
#include <stdio.h>
#include <stdlib.h>

#include <quire/os.h>

void os_log(const char *line)
{
	fprintf(stderr, "%s\n", line);
}

_Noreturn void os_panic(const char *why)
{
	fprintf(stderr, "panic: %s\n", why);
	abort();
}
