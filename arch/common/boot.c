/* SPDX-License-Identifier: MIT */
/* Boot helpers: printing a line, halting with a reason. See boot.h. */
#include "arch/common/boot.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "arch.h"

static void log_line(const char *fmt, va_list ap)
{
	char line[256];
	size_t n = scnprintf(line, sizeof(line), "%s", ARCH_LOG_PREFIX);

	n += vscnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	line[n++] = '\n';
	hal_log(line, n);
}

void boot_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

void boot_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
	hal_exit(1);
}
