/* SPDX-License-Identifier: MIT */
/* What /proc/PID shows, and the looks from outside: formats to the letter. */
#include "space.h"

static struct text t;

static const char *maps(void)
{
	t.n = 0;
	quire_show_maps(cur, text_emit, &t);
	return t.s;
}

Test(proc_mm, maps)
{
	struct quire_mm_layout l = {.start_brk = AT(10), .brk = AT(11), .start_stack = AT(21)};
	struct quire_file *f;
	char want[400];

	space_up();
	f = file_new(8, FRW);
	mmap_file(AT(0), 2, PROT_READ | PROT_EXEC, MAP_PRIVATE | FIX, f, 3);
	mmap_at(AT(10), 1, RW, PRIV | FIX);
	mmap_at(AT(20), 2, RW, PRIV | FIX | MAP_GROWSDOWN);
	mmap_at(AT(30), 1, PROT_NONE, PRIV | FIX);
	quire_mm_set_layout(cur, &l);
	snprintf(want, sizeof(want),
		 "%lx-%lx r-xp %08lx 08:01 42 %*s/bin/thing\n"
		 "%lx-%lx rw-p 00000000 00:00 0 %*s[heap]\n"
		 "%lx-%lx rw-p 00000000 00:00 0 %*s[stack]\n"
		 "%lx-%lx ---p 00000000 00:00 0 \n",
		 AT(0), AT(2), 3 * PS, 28, "", AT(10), AT(11), 29, "", AT(20),
		 AT(22), 29, "", AT(30), AT(31));
	maps();
	cr_expect_str_eq(t.s, want);
	cr_expect_eq(strchr(t.s, '/') - t.s, 73, "names stand where Linux puts them");
	quire_file_put(f);
	space_down();
}

Test(proc_mm, smaps_and_status)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 1);
	load_at(AT(1));
	t.n = 0;
	quire_show_smaps(cur, text_emit, &t);
	cr_expect(strstr(t.s, "Size:           ") != NULL);
	if (PS == 4096) {
		cr_expect(strstr(t.s, "\nSize:                 16 kB\nKernelPageSize:        4 kB\n"));
		cr_expect(strstr(t.s, "\nRss:                   4 kB\nPss:                   4 kB\n"));
		cr_expect(strstr(t.s, "\nPrivate_Dirty:         4 kB\nReferenced:            4 kB\n"));
	}
	cr_expect(strstr(t.s, "\nPrivate_Hugetlb:       0 kB\n") != NULL);
	cr_expect(strstr(t.s, "\nVmFlags: rd wr mr mw me ac sd \n") != NULL);
	t.n = 0;
	quire_show_status(cur, text_emit, &t);
	if (PS == 4096) {
		cr_expect(strstr(t.s, "VmSize:\t      16 kB\n") != NULL);
		cr_expect(strstr(t.s, "RssAnon:\t       4 kB\n") != NULL);
	}
	space_down();
}

Test(proc_mm, soft_dirty)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	mmap_at(AT(8), 2, RW, SHAR | FIX);
	for (int i = 0; i < 2; i++)
		store_at(AT(i), 1), store_at(AT(8 + i), 1);
	cr_expect(quire_pagemap(cur, AT(0)) >> 55 & 1);
	cr_expect_eq(CALL(quire_clear_refs(cur, 4)), 0);
	cr_expect_not(quire_pagemap(cur, AT(0)) >> 55 & 1);
	load_at(AT(0));
	cr_expect_not(quire_pagemap(cur, AT(0)) >> 55 & 1);
	store_at(AT(0), 2);
	store_at(AT(8), 2);
	check_now();
	cr_expect(quire_pagemap(cur, AT(0)) >> 55 & 1);
	cr_expect(quire_pagemap(cur, AT(8)) >> 55 & 1);
	cr_expect_not(quire_pagemap(cur, AT(1)) >> 55 & 1);
	cr_expect_not(quire_pagemap(cur, AT(9)) >> 55 & 1);
	mmap_at(AT(4), 1, RW, PRIV | FIX);
	EXPECT_LAYOUT("0-5:rw-p 8-10:rw-s");
	space_down();
}

static unsigned leaves;

static void count_leaf(const struct quire_leaf *l, void *ctx)
{
	uintptr_t *before = ctx;

	cr_expect(l->va >= *before);
	*before = l->va + l->size;
	cr_expect_eq(fake_user_phys(l->va), l->pa);
	leaves++;
}

Test(proc_mm, dump_and_walk)
{
	uintptr_t before = 0;

	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 1);
	load_at(AT(3));
	mmap_at(AT(100000), 1, PROT_READ, PRIV | FIX);
	load_at(AT(100000));
	quire_dump_tables(cur, count_leaf, &before);
	cr_expect_eq(leaves, 3);
	t.n = 0;
	quire_show_walk(cur, AT(0), text_emit, &t);
	cr_expect(strstr(t.s, "pgd[") && strstr(t.s, "pte[") && strstr(t.s, "leaf"));
	space_down();
}

/* How often a piece stands in the text. */
static unsigned times(const char *text, const char *piece)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, piece)) != NULL; p++)
		n++;
	return n;
}

Test(proc_mm, all_entries_of_the_tables)
{
	char line[64];

	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(3), 1);
	mmap_at(AT(100000), 1, PROT_READ, PRIV | FIX);
	load_at(AT(100000));
	t.n = 0;
	quire_show_tables(cur, 0, 0, text_emit, &t);
	cr_expect_eq(times(t.s, "root pfn"), 1);
	cr_expect_eq(times(t.s, " leaf pfn "), 3, "%s", t.s);
	snprintf(line, sizeof(line), "pte %#lx = ", (unsigned long)AT(3));
	cr_expect_eq(times(t.s, line), 1, "%s", t.s);
	cr_expect_geq(times(t.s, " table pfn "), (unsigned)ARCH_MAX_LEVELS - 2);
	/* A range has what lies in it, and the tables that lead there. */
	t.n = 0;
	quire_show_tables(cur, AT(3), AT(4), text_emit, &t);
	cr_expect_eq(times(t.s, " leaf pfn "), 1, "%s", t.s);
	cr_expect_eq(times(t.s, line), 1, "%s", t.s);
	t.n = 0;
	quire_show_tables(cur, AT(1), AT(3), text_emit, &t);
	cr_expect_eq(times(t.s, " leaf pfn "), 0, "%s", t.s);
	/* No access is no reason to be left out. */
	mprotect_at(AT(0), 1, PROT_NONE);
	t.n = 0;
	quire_show_tables(cur, AT(0), AT(1), text_emit, &t);
	cr_expect_eq(times(t.s, " protnone pfn "), 1, "%s", t.s);
	space_down();
}

Test(proc_mm, copies_from_outside)
{
	char buf[100] = "over the border of a page", got[100];

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	cr_expect_eq(quire_mm_write(cur, AT(1) - 5, buf, sizeof(buf)), sizeof(buf));
	check_now();
	cr_expect_eq(quire_mm_read(cur, AT(1) - 5, got, sizeof(got)), sizeof(got));
	cr_expect_str_eq(got, buf);
	cr_expect_eq(quire_mm_write(cur, AT(2) - 5, buf, sizeof(buf)), 5);
	mprotect_at(AT(0), 2, PROT_READ);
	cr_expect_eq(quire_mm_write(cur, AT(0), buf, 1), 0);
	cr_expect_eq(quire_fault_in(cur, AT(0), true), -EFAULT);
	cr_expect_eq(quire_fault_in(cur, AT(0), false), 0);
	space_down();
}

Test(proc_mm, special_mapping)
{
	const void *pages[2];
	struct quire_mm *child;

	space_up();
	pages[0] = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	pages[1] = NULL;
	cr_expect_eq(quire_mm_install_special(cur, AT(0), 2 * PS, PROT_READ, pages, "[vdso]"), 0);
	cr_expect_eq(load_at(AT(0)), 0);
	cr_expect_eq(touch_at(AT(1)), ADRERR);
	cr_expect(strstr(maps(), " [vdso]\n") != NULL);
	check_now();
	cr_expect_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_expect_eq(munmap_at(AT(1), 1), 0);
	space_put(child);
	quire_mm_put(cur);
	cur = NULL;
	run_space(NULL);
	quire_free_pages((void *)pages[0], 0);
	space_down();
}

Test(proc_mm, sysctls)
{
	long v;

	space_up();
	cr_expect_eq(quire_sysctl_get("max_map_count", &v), 0);
	cr_expect_eq(v, 65530);
	cr_expect_eq(quire_sysctl_set("overcommit_memory", 3), -EINVAL);
	cr_expect_eq(quire_sysctl_set("no_such_thing", 3), -ENOENT);
	cr_expect_eq(quire_sysctl_get("min_free_kbytes", &v), 0);
	space_down();
}

/* Pages by what was done to them: freed lazily, used, shared; and names of every kind. */
Test(proc_mm, smaps_of_odd_pages)
{
	struct page *page;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 1);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	cr_expect_eq(madvise_at(AT(0), 1, 8), 0);
	quire_clear_refs(cur, 1);
	/* What reclaim does to a page that MADV_FREE gave it. */
	page_clear(page, PG_swapbacked);
	t.n = 0;
	quire_show_smaps(cur, text_emit, &t);
	cr_expect(strstr(t.s, PS == 4096 ? "\nLazyFree:              4 kB\n"
					 : "\nLazyFree:             16 kB\n"), "%s", t.s);
	cr_expect(strstr(t.s, "\nReferenced:            0 kB\n"), "%s", t.s);
	page_set(page, PG_dirty);
	page_set(page, PG_referenced);
	t.n = 0;
	quire_show_smaps(cur, text_emit, &t);
	cr_expect(strstr(t.s, "\nLazyFree:              0 kB\n"), "%s", t.s);
	cr_expect_not(strstr(t.s, "\nReferenced:            0 kB\n"), "%s", t.s);
	page_clear(page, PG_dirty);
	page_clear(page, PG_referenced);
	page_set(page, PG_swapbacked);
	/* A flag that Linux has no letters for. */
	vma_at(AT(0))->vm_flags |= 1ul << 40;
	t.n = 0;
	quire_show_smaps(cur, text_emit, &t);
	cr_expect(strstr(t.s, " sd ?? \n"), "%s", t.s);
	vma_at(AT(0))->vm_flags &= ~(1ul << 40);
	space_down();
}

Test(proc_mm, walks_of_odd_entries)
{
	struct pte_desc d, was;
	pte_t *pte;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	pte = pt_find(mm_now(), AT(0));
	was = pte_desc(pte_get(pte));
	hal_pte_xchg(pte, pte_make((struct pte_desc){.kind = PTE_CORRUPT}));
	t.n = 0;
	quire_show_walk(cur, AT(0), text_emit, &t);
	cr_expect(strstr(t.s, " corrupt\n"), "%s", t.s);
	d = was;
	d.w = d.user = d.accessed = d.dirty = d.soft_dirty = false;
	hal_pte_xchg(pte, pte_make(d));
	t.n = 0;
	quire_show_walk(cur, AT(0), text_emit, &t);
	cr_expect(strstr(t.s, " r---\n"), "%s", t.s);
	hal_pte_xchg(pte, pte_make(was));
	space_down();
}
