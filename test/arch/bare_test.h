/* SPDX-License-Identifier: MIT */
/*
 * What the kernel images that test one machine's own promises share: TAP on the log, and free
 * frames straight from the boot memory map, as no memory manager is there.
 */
#ifndef TEST_ARCH_BARE_TEST_H
#define TEST_ARCH_BARE_TEST_H

#include "arch/hal_kernel.h"
#include "arch/common/kmap.h"
#include "lib/printf.h"
#include "lib/string.h"
#include <quire/os.h>
#include <quire/quire.h>

#define PAGE 4096ul

static unsigned tests, failed;

static void say(const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	hal_log(line, vscnprintf(line, sizeof(line), fmt, ap));
	va_end(ap);
}

static void ok(bool good, const char *what)
{
	tests++;
	failed += !good;
	say("%sok %u - %s\n", good ? "" : "not ", tests, what);
}

static _Noreturn void end(void)
{
	say("1..%u\n", tests);
	hal_exit(failed ? 1 : 0);
}

/* The boot memory map; the test's own note_range() fills it, and says where to look for frames. */
static struct mem_range ranges[128];
static unsigned nranges;
static uint64_t next_page;
static struct arch_space space;
static struct kmap user_map;

static bool free_ram(uint64_t pa)
{
	bool ram = false;

	for (unsigned i = 0; i < nranges; i++) {
		if (ranges[i].kind == MEM_RAM)
			ram |= ranges[i].start <= pa && pa + PAGE <= ranges[i].end;
		else if (ranges[i].start < pa + PAGE && pa < ranges[i].end)
			return false;
	}
	return ram;
}

static pfn_t page(void *ctx)
{
	while (!free_ram(next_page))
		next_page += PAGE;
	hal_clear_page(hal_phys_to_virt(next_page));
	next_page += PAGE;
	return PFN((next_page - PAGE) / PAGE);
}

#endif
