/* SPDX-License-Identifier: MIT */
/* Parsing the kernel command line: boot_option(). The kernel's own words end at "--". */
#include "arch/common/boot.h"
#include "lib/string.h"

bool boot_option(const char *cmdline, const char *name, char *value, size_t size)
{
	size_t len = strlen(name), n = 0;

	for (const char *s = cmdline; *s; s++) {
		if (s != cmdline && s[-1] != ' ')
			continue;
		if (!strncmp(s, "--", 2) && (!s[2] || s[2] == ' '))
			return false;
		if (strncmp(s, name, len) || s[len] != '=')
			continue;
		for (s += len + 1; *s && *s != ' ' && n < size - 1; s++)
			value[n++] = *s;
		value[n] = 0;
		return true;
	}
	return false;
}
