/* SPDX-License-Identifier: MIT */
/* The machine-wide reports, read back as programs read Linux's. */
#include "mm_test.h"

#include <stdio.h>

#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/slab/slab_def.h"
#include "mm/vmalloc/vmalloc.h"
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
	long v;

	machine_up(64 * MIB, 1);
	cr_expect_eq(quire_sysctl_set("min_free_kbytes", 2048), 0);
	cr_expect_eq(quire_sysctl_get("min_free_kbytes", &v), 0);
	cr_expect_eq(v, 2048);
	cr_expect_eq(zones[ZONE_DMA].watermark[WMARK_MIN] + zones[ZONE_DMA32].watermark[WMARK_MIN],
		     (2048 >> (PAGE_SHIFT - 10)) - 1 /* rounded down twice */);
	cr_expect_eq(quire_sysctl_set("min_free_kbytes", -1), -EINVAL);
	cr_expect_eq(quire_sysctl_get("no_such_name", &v), -ENOENT);
	machine_down();
}

/* By text, as /proc/sys/vm has it, so there is no other way in. */
Test(show, drop_caches)
{
	static const char *const bad[] = {"0", "5", "7", "-1", "x", "3x", " "};
	unsigned long slab;

	machine_up(64 * MIB, 1);
	slab = sum_vm_event(DROP_SLAB);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(quire_sysctl_write("drop_caches", bad[i], strlen(bad[i])), -EINVAL,
			     "%s", bad[i]);
	cr_expect_eq(quire_sysctl_write("drop_caches", "1", 1), 1);
	cr_expect_eq(quire_sysctl_write("drop_caches", "4\n", 2), 2);
	cr_expect_eq(sum_vm_event(DROP_SLAB), slab);
	cr_expect_eq(sum_vm_event(DROP_PAGECACHE), 1);
	cr_expect_eq(quire_sysctl_write("drop_caches", "3\n", 2), 2);
	cr_expect_eq(quire_sysctl_write("drop_caches", "2", 1), 1);
	cr_expect_eq(sum_vm_event(DROP_SLAB), slab + 2);
	cr_expect_eq(sum_vm_event(DROP_PAGECACHE), 2);
	machine_down();
}

/* 2 takes what every shrinker has: free objects, stacks kept for the next task, and what waits for a flush. */
Test(show, drop_caches_asks_all_shrinkers)
{
	static void *p[1000];
	struct kmem_cache *c;
	void *stack[3];
	unsigned long used;

	machine_up(64 * MIB, 2);
	c = kmem_cache_create("s", 256, 0, SLAB_NO_MERGE, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		kmem_cache_free(c, p[i]);
	for (unsigned i = 0; i < 3; i++)
		stack[i] = quire_stack_alloc(4);
	for (unsigned i = 0; i < 3; i++)
		quire_stack_free(stack[i]);
	cr_expect_gt(slab_idle_objects(), 900);
	cr_expect_eq(stack_cache_size(), 3);
	used = vmalloc_nr_pages();
	cr_expect_eq(quire_sysctl_write("drop_caches", "2", 1), 1);
	cr_expect_lt(slab_idle_objects(), 128);
	cr_expect_eq(c->nr_pages, 0);
	cr_expect_eq(stack_cache_size(), 0);
	cr_expect_eq(vmalloc_nr_pages(), used - 12);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

static int zeros_readpage(struct quire_inode *inode, uint64_t index, void *dst)
{
	memset(dst, 0, PAGE_SIZE);
	return 0;
}

/* Half of an amount, or the low marks if that is less, is not to be had. */
static unsigned long part(unsigned long pages, unsigned long low)
{
	return pages - min(pages / 2, low);
}

/* 5.10's sum, with few pages of files and with many. */
#define FILE_PAGES (15 * MIB / PAGE_SIZE / 40 * 40)

Test(show, available_memory)
{
	static const struct quire_inode_ops zeros = {.readpage = zeros_readpage};
	struct quire_inode *inode;
	unsigned long low = 0, reserve = 0;

	machine_up(64 * MIB, 1);
	for (unsigned z = 0; z < MAX_NR_ZONES; z++) {
		unsigned long most = 0;

		for (unsigned j = z; j < MAX_NR_ZONES; j++)
			most = max(most, zones[z].lowmem_reserve[j]);
		low += zones[z].watermark[WMARK_LOW];
		reserve += min(most + zones[z].watermark[WMARK_HIGH], zones[z].managed_pages);
	}
	cr_assert(low > 0 && low < 1000); /* marks are bytes, a page may be 64 KiB */
	inode = quire_inode_create(&zeros, NULL, 1, 1, 0);
	quire_inode_truncate(inode, FILE_PAGES * PAGE_SIZE);
	for (unsigned long pages = 0; pages <= FILE_PAGES; pages += FILE_PAGES / 40) {
		unsigned long slab;

		cr_assert_eq(quire_inode_populate(inode, 0, pages * PAGE_SIZE), 0);
		lru_add_drain_all();
		cr_assert_eq(node_page_state(NR_INACTIVE_FILE), pages);
		slab = node_page_state(NR_SLAB_RECLAIMABLE);
		cr_expect_eq(si_mem_available(), nr_free_buddy() - reserve +
							 part(pages, low) + part(slab, low));
		t.n = 0;
		quire_show_meminfo(text_emit, &t);
		cr_expect_eq(field("MemAvailable"), si_mem_available() * (PAGE_SIZE >> 10));
	}
	quire_inode_put(inode);
	machine_down();
}

/* What 5.10 makes of a text: bytes taken or an error, and the file afterwards. */
Test(show, tunables_as_text)
{
	static const struct {
		const char *name, *text;
		long taken;
		const char *after;
	} w[] = {
		{"max_map_count", "65531 7", 6, "65531\n"},
		{"max_map_count", " 65530 \n", 8, "65530\n"},
		{"max_map_count", "0x10000", 7, "65536\n"},
		{"max_map_count", "010", 3, "8\n"},
		{"max_map_count", "12x", -EINVAL, "8\n"},
		{"max_map_count", "0xg", -EINVAL, "8\n"},
		{"max_map_count", "0XFf", 4, "255\n"},
		{"max_map_count", "\v8", 2, "8\n"},
		{"max_map_count", "9\r", -EINVAL, "8\n"},
		{"max_map_count", "", 0, "8\n"},
		{"max_map_count", " ", -EINVAL, "8\n"},
		{"max_map_count", "2147483648", -EINVAL, "8\n"},
		{"max_map_count", "+5", -EINVAL, "8\n"},
		{"max_map_count", "-", -EINVAL, "8\n"},
		{"max_map_count", "- 5", -EINVAL, "8\n"},
		{"max_map_count", "-0", 2, "0\n"},
		{"max_map_count", "65530k", -EINVAL, "0\n"},
		{"max_map_count", "\t\n65530\n\n", 9, "65530\n"},
		{"max_map_count", "6553099999999999999999999999999999999", -EINVAL, "65530\n"},
		{"lowmem_reserve_ratio", "0\t7", 3, "0\t7\t32\t0\n"},
		{"lowmem_reserve_ratio", "-3 128 32 0 0", 12, "0\t128\t32\t0\n"},
		{"lowmem_reserve_ratio", "1 x", 2, "1\t128\t32\t0\n"},
		{"lowmem_reserve_ratio", "256 256 32 0", 12, "256\t256\t32\t0\n"},
		{"mmap_min_addr", "-1", 2, "65536\n"},
		{"mmap_min_addr", "99999999999999999999999", -EINVAL, "65536\n"},
		{"mmap_min_addr", "9223372036854775808", -EINVAL, "65536\n"}, /* 5.10 takes it */
		{"min_free_kbytes", "2000000000", -EINVAL, NULL},	       /* and this */
		{"overcommit_kbytes", "-1", 2, "0\n"},
		{"overcommit_ratio", "-1", 2, "-1\n"},
		{"overcommit_ratio", "2147483648", -EINVAL, "-1\n"},
		{"overcommit_ratio", "50", 2, "50\n"},
		{"watermark_scale_factor", "3000", 4, "3000\n"},
		{"watermark_scale_factor", "3001", -EINVAL, "3000\n"},
		{"compact_memory", "abc", 3, "0\n"},
	};

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(w); i++) {
		static struct text after;

		memset(&after, 0, sizeof(after));
		cr_expect_eq(quire_sysctl_write(w[i].name, w[i].text, strlen(w[i].text)),
			     w[i].taken, "%s %s", w[i].name, w[i].text);
		quire_sysctl_show(w[i].name, text_emit, &after);
		cr_expect(!w[i].after || !strcmp(after.s, w[i].after), "%s %s", w[i].name, w[i].text);
	}
	cr_expect_eq(quire_sysctl_write("no_such_name", "1", 1), -ENOENT);
	cr_expect_eq(quire_sysctl_show("no_such_name", text_emit, NULL), -ENOENT);
	machine_down();
}

/* The table: in order, no name twice, each default within its bounds and in force at the start. */
Test(show, tunables_in_their_table)
{
	const struct quire_sysctl *s, *before = NULL;
	long v;

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; (s = quire_sysctl_at(i)) != NULL; i++) {
		cr_expect(!before || strcmp(before->name, s->name) < 0, "%s", s->name);
		/* Of bytes in place of a ratio 0 is what only the ratio sets. */
		cr_expect(s->mode == 0200 || strstr(s->name, "dirty_") ||
				  (s->initial[0] >= s->low && s->initial[0] <= s->high),
			  "%s", s->name);
		cr_expect_eq(quire_sysctl_get(s->name, &v), 0);
		if (s->initial[0] && !strstr(s->name, "reserve_kbytes"))
			cr_expect_eq(v, s->initial[0], "%s", s->name);
		before = s;
	}
	cr_expect_eq(quire_sysctl_set("watermark_scale_factor", 20), 0);
	machine_down();
	machine_up(64 * MIB, 1);
	quire_sysctl_get("watermark_scale_factor", &v);
	cr_expect_eq(v, 10, "a new start begins with the defaults");
	machine_down();
}
