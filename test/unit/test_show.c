/* SPDX-License-Identifier: MIT */
/* The machine-wide reports, read back as programs read Linux's. */
#include "mm_test.h"

#include <stdio.h>

#include "mm/base/vmstat.h"
#include "mm/report/init.h"
#include <quire/abi.h>

#define MIB (1ull << 20)

static struct text t;

static unsigned long field(const char *name)
{
	char want[64];
	const char *p;

	snprintf(want, sizeof(want), "%s:", name);
	p = strstr(t.s, want);
	cr_assert(p, "no line %s", name);
	return strtoul(p + strlen(want), NULL, 10);
}

Test(show, meminfo)
{
	struct quire_counts c;

	machine_up(64 * MIB, 1);
	quire_drain();
	quire_show_meminfo(text_emit, &t);
	quire_get_counts(&c);
	cr_expect_eq(strncmp(t.s, "MemTotal:       ", 16), 0);
	cr_expect_eq(field("MemTotal"), c.managed_pages * (PAGE_SIZE / 1024));
	cr_expect_eq(field("MemFree"), c.free_pages * (PAGE_SIZE / 1024));
	cr_expect_leq(field("MemAvailable"), field("MemFree"));
	cr_expect_eq(field("Slab"), field("SReclaimable") + field("SUnreclaim"));
	field("Committed_AS");
	field("HugePages_Surp");
	/* Every number ends in the same column, as in Linux. */
	for (char *line = t.s; *line; line = strchr(line, '\n') + 1) {
		char *end = strchr(line, '\n');

		if (!strncmp(end - 3, " kB", 3))
			cr_expect_geq(end - line, 27, "%.30s", line);
	}
	machine_down();
}

Test(show, vmstat_counts)
{
	uintptr_t a;
	unsigned long before;
	char *p;

	machine_up(64 * MIB, 1);
	before = sum_vm_event(PGALLOC_DMA) + sum_vm_event(PGALLOC_DMA32);
	a = __get_free_pages(GFP_KERNEL, 3);
	free_pages(a, 3);
	cr_expect_eq(sum_vm_event(PGALLOC_DMA) + sum_vm_event(PGALLOC_DMA32), before + 8);
	quire_show_vmstat(text_emit, &t);
	p = strstr(t.s, "\nnr_page_table_pages ");
	cr_expect(p);
	cr_expect(strstr(t.s, "\npgfault "));
	cr_expect_eq(strncmp(t.s, "nr_free_pages ", 14), 0);
	machine_down();
}

Test(show, buddyinfo_sums_to_free)
{
	unsigned long pages = 0, n[MAX_ORDER];
	char zone[16];
	int used;

	machine_up(64 * MIB, 1);
	quire_drain();
	quire_show_buddyinfo(text_emit, &t);
	for (char *line = t.s; *line; line = strchr(line, '\n') + 1) {
		char *p = line;

		cr_assert_eq(sscanf(p, "Node 0, zone %15s%n", zone, &used), 1);
		p += used;
		for (unsigned o = 0; o < MAX_ORDER; o++) {
			n[o] = strtoul(p, &p, 10);
			pages += n[o] << o;
		}
	}
	cr_expect_eq(pages, free_pages_now());
	machine_down();
}

Test(show, pagetypeinfo_zoneinfo_slabinfo)
{
	machine_up(64 * MIB, 2);
	quire_show_pagetypeinfo(text_emit, &t);
	cr_expect_eq(strstr(t.s, "Page block order: 9\nPages per block:  512\n\nFree pages"), t.s);
	cr_expect(strstr(t.s, "Number of blocks type "));
	memset(&t, 0, sizeof(t));
	quire_show_zoneinfo(text_emit, &t);
	cr_expect(strstr(t.s, "Node 0, zone      DMA\n"));
	cr_expect(strstr(t.s, "        protection: ("));
	cr_expect(strstr(t.s, "    cpu: 1\n"));
	memset(&t, 0, sizeof(t));
	quire_show_slabinfo(text_emit, &t);
	cr_expect_eq(strstr(t.s, "slabinfo - version: 2.1\n# name  "), t.s);
	cr_expect(strstr(t.s, "\nkmalloc-192 "));
	machine_down();
}

Test(show, tunables)
{
	long v = 2048;

	machine_up(64 * MIB, 1);
	cr_expect_eq(phys_sysctl("min_free_kbytes", &v, true), 0);
	cr_expect_eq(phys_sysctl("min_free_kbytes", &v, false), 0);
	cr_expect_eq(v, 2048);
	cr_expect_eq(zones[ZONE_DMA].watermark[WMARK_MIN] + zones[ZONE_DMA32].watermark[WMARK_MIN],
		     (2048 >> (PAGE_SHIFT - 10)) - 1 /* rounded down twice */);
	v = -1;
	cr_expect_eq(phys_sysctl("min_free_kbytes", &v, true), -EINVAL);
	v = 5;
	cr_expect_eq(phys_sysctl("drop_caches", &v, true), -EINVAL);
	v = 3;
	cr_expect_eq(phys_sysctl("drop_caches", &v, true), 0);
	cr_expect_eq(phys_sysctl("no_such_name", &v, false), -ENOENT);
	machine_down();
}
