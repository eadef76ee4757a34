/* SPDX-License-Identifier: MIT */
/*
 * The machine-wide reports against those of a real Linux 5.10 (oracle/proc-5.10.txt): the same
 * lines in the same order with the same spaces, whatever the numbers are. Lines that we do not have
 * are named here and in docs/differences.md, and no others may be missing; none may be new.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "mm_test.h"

#define MIB (1ull << 20)

static char golden[65536];
static struct text ours;

/* Beginnings of lines. Those of zones follow "nr_free_pages" of each. */
static const char *const absent[] = {
	"DirectMap",		    "balloon_",
	"Node #, zone   Device",    "      nr_zone_write_pending",
	"      numa_",		    "      nr_bounce",
	"      nr_zspages",	    "      nr_free_cma",
};
/* Per zone we have none; of the node, or of vmstat, we do. */
static const char *const absent_in_zones[] = {"      nr_mlock", "      nr_page_table_pages"};

static bool begins(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

static bool is_absent(const char *report, const char *line)
{
	bool zone = !strcmp(report, "zoneinfo");

	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
		if (begins(line, absent[i]) && (zone || line[0] != ' '))
			return true;
	for (unsigned i = 0; zone && i < ARRAY_SIZE(absent_in_zones); i++)
		if (begins(line, absent_in_zones[i]))
			return true;
	return false;
}

/*
 * A line without its numbers, from *from on. Where they stand in columns their width is kept, so
 * that "  12 kB" and " 345 kB" are alike: spaces and one '#', at most eight digits wide. Elsewhere
 * each is one '#'. A digit within a word is no number.
 */
static void skeleton(const char **from, bool columns, char *to)
{
	const char *p = *from;

	while (*p && *p != '\n') {
		bool number = isdigit(*p) && (p == *from || p[-1] == ' ' || p[-1] == '(');
		unsigned n = 0;

		if (!number) {
			*to++ = *p++;
			continue;
		}
		while (isdigit(*p)) {
			p++;
			n++;
		}
		for (n = n < 8 ? n : 8; columns && n > 1; n--)
			*to++ = ' ';
		*to++ = '#';
	}
	*to = 0;
	*from = *p ? p + 1 : p;
}

/* The golden has one zone more than there is here, and so one figure more in each zone's line. */
static void drop_zone(char *line)
{
	char *end = strstr(line, "protection: (");

	if (end && (end = strrchr(end, ',')) != NULL)
		strcpy(end, ")");
}

static const char *section(const char *name)
{
	char head[32];
	char *at;

	snprintf(head, sizeof(head), "==== %s\n", name);
	at = strstr(golden, head);
	cr_assert(at, "%s", name);
	return at + strlen(head);
}

static void compare(const char *name, bool columns, void (*show)(quire_emit_fn, void *))
{
	const char *want = section(name), *have = ours.s;
	char w[256], h[256];
	bool gone = false;

	memset(&ours, 0, sizeof(ours));
	show(text_emit, &ours);
	while (*want && !begins(want, "==== ")) {
		skeleton(&want, columns, w);
		drop_zone(w);
		/* Of a zone that is absent all lines are. */
		if (begins(w, "Node #, zone "))
			gone = is_absent(name, w);
		if (gone || is_absent(name, w))
			continue;
		skeleton(&have, columns, h);
		cr_assert_str_eq(h, w, "%s: \"%s\", not \"%s\"", name, h, w);
	}
	cr_expect_str_eq(have, "", "%s: more than 5.10 has: %.60s", name, have);
}

/* The zones that the real machine had: some below 16 MiB, 4 GiB, and above; none movable. */
static void up(void)
{
	static const struct mem_range ranges[] = {
		{4 * MIB, 16 * MIB, MEM_RAM, "dma"},
		{16 * MIB, 40 * MIB, MEM_RAM, "dma32"},
		{4096 * MIB, 4128 * MIB, MEM_RAM, "normal"},
	};
	const char *path = getenv("QUIRE_PROC_ORACLE");
	FILE *f = path ? fopen(path, "r") : NULL;

	cr_assert(f, "QUIRE_PROC_ORACLE names oracle/proc-5.10.txt");
	cr_assert_gt(fread(golden, 1, sizeof(golden) - 1, f), 10000);
	fclose(f);
	cr_assert(begins(golden, "quire-proc-oracle 1"));
	machine_up_cfg(&(struct fake_config){.ranges = ranges, .nranges = ARRAY_SIZE(ranges),
					     .cpus = 1}, &(struct quire_config){0});
}

Test(proc_formats, as_linux_5_10)
{
	up();
	compare("meminfo", true, quire_show_meminfo);
	compare("vmstat", false, quire_show_vmstat);
	compare("buddyinfo", true, quire_show_buddyinfo);
	compare("pagetypeinfo", true, quire_show_pagetypeinfo);
	compare("zoneinfo", false, quire_show_zoneinfo);
	machine_down();
}
