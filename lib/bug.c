/* SPDX-License-Identifier: MIT */
/*
 * What a failed assert, BUG or warning does: one line of text with the place, then os_panic() or
 * os_log(). No allocation, no lock.
 */
#include "lib/bug.h"

#include "lib/printf.h"
#include <quire/os.h>

_Noreturn void bug_at(const char *file, int line, const char *what)
{
	char buf[256];

	scnprintf(buf, sizeof(buf), "%s:%d: %s", file, line, what);
	os_panic(buf);
}

void warn_at(const char *file, int line, const char *what)
{
	char buf[256];

	scnprintf(buf, sizeof(buf), "warning: %s:%d: %s", file, line, what);
	os_log(buf);
}
