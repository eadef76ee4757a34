/* SPDX-License-Identifier: MIT */
/* The monitor's looks: what they say of VMAs, of frames of every kind, and of faults. */
#define _GNU_SOURCE
#include "space.h"

#include <inttypes.h>

#include "mm/base/vmstat.h"
#include "mm/fault/fault.h"

static struct text t;

static const char *vma_look(uintptr_t addr)
{
	t.n = 0;
	quire_show_vma(cur, addr, text_emit, &t);
	return t.s;
}

static const char *page_look(uint64_t pfn)
{
	t.n = 0;
	quire_show_page(pfn, text_emit, &t);
	return t.s;
}

static unsigned count_of(const char *s, const char *what)
{
	unsigned n = 0;

	while ((s = strstr(s, what)) != NULL) {
		n++;
		s += strlen(what);
	}
	return n;
}

Test(look, vma)
{
	struct quire_file *f;

	space_up();
	f = file_new(8, FRW);
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	mmap_file(AT(8), 2, PROT_READ, MAP_PRIVATE | FIX, f, 3);
	store_at(AT(1), 1);
	cr_expect(strstr(vma_look(AT(3)), ", 4 pages, 1 present\n"), "%s", t.s);
	cr_expect(strstr(t.s, "anon_vma of 1 VMAs and 1 children, chain of 1\n"), "%s", t.s);
	cr_expect_eq(count_of(t.s, "linked to anon_vma"), 1, "%s", t.s);
	cr_expect(strstr(vma_look(AT(8)), "  file /bin/thing\n"), "%s", t.s);
	cr_expect(strstr(t.s, "page offset 0x3\n"), "%s", t.s);
	cr_expect(strstr(t.s, "gap below 0x"), "%s", t.s);
	cr_expect(strstr(vma_look(AT(5)), "is not mapped; the next is at 0x"), "%s", t.s);
	cr_expect(strstr(vma_look(AT(12)), "nor is anything above\n"), "%s", t.s);
	quire_file_put(f);
	space_down();
}

/* A child's VMA is linked to its own anon_vma and to the parent's, in which the page was born. */
Test(look, chain)
{
	struct quire_mm *parent, *child;
	char linked[64], own[64];
	void *anon_vma;

	space_up();
	parent = cur;
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	anon_vma = vma_at(AT(0))->anon_vma;
	snprintf(linked, sizeof(linked), "linked to anon_vma %#lx\n", (unsigned long)anon_vma);
	snprintf(own, sizeof(own), ", anon_vma %#lx\n", (unsigned long)anon_vma);
	cr_expect(strstr(page_look(pfn_at(AT(0))), own), "%s", t.s);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	run_space(child);
	vma_look(AT(0));
	cr_expect(strstr(t.s, linked), "%s", t.s);
	cr_expect_eq(count_of(t.s, "linked to anon_vma"), 2, "%s", t.s);
	cr_expect_eq(count_of(t.s, ", its own\n"), 1, "%s", t.s);
	run_space(parent);
	space_put(child);
	space_down();
}

/* While the reverse map is walked the page stays: it is locked, and a reference held. */
static bool safe_lines;
static unsigned mapped_lines;

static void emit_while_held(void *ctx, const char *s, size_t n)
{
	const struct page *page = ctx;

	if (!memmem(s, n, "mapped at", 9))
		return;
	mapped_lines++;
	safe_lines = page_test(page, PG_locked) && page_count(page) == 2;
}

Test(look, nothing_goes_away_meanwhile)
{
	struct page *page;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	quire_show_page(pfn_at(AT(0)), emit_while_held, page);
	cr_expect_eq(mapped_lines, 1);
	cr_expect(safe_lines);
	cr_expect_eq(page_count(page), 1);
	space_down();
}

/* A line a VMA, in order of address; one is the root, and the gap is what lies below. */
Test(look, tree)
{
	char want[96];

	space_up();
	for (unsigned i = 0; i < 5; i++)
		mmap_at(AT(10 * i), 4, RW, PRIV | FIX);
	t.n = 0;
	quire_show_tree(cur, text_emit, &t);
	cr_expect_eq(count_of(t.s, "\n"), 5, "%s", t.s);
	cr_expect_eq(count_of(t.s, ", the root\n"), 1, "%s", t.s);
	cr_expect_eq(count_of(t.s, ", under 0x"), 4, "%s", t.s);
	snprintf(want, sizeof(want), "gap below %#lx, ", (unsigned long)(6 * PS));
	cr_expect_eq(count_of(t.s, want), 4, "%s", t.s);
	cr_expect(count_of(t.s, " red, ") > 0 && count_of(t.s, " black, ") > 0, "%s", t.s);
	space_down();
}

/* Each frame of the range is in one line, and free ones are in blocks. */
Test(look, frames)
{
	uint64_t pfn, seen = 0, first, last, n;
	const char *s;

	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	/* The second leaves for this CPU's list. */
	for (unsigned i = 0; i < 3; i++)
		store_at(AT(i), 1);
	pfn = pfn_at(AT(2)) & ~511ull;
	madvise_at(AT(1), 1, 4);
	t.n = 0;
	quire_show_frames(pfn, 512, text_emit, &t);
	for (s = t.s; s && *s; s = strchr(s, '\n') + 1) {
		cr_assert_eq(sscanf(s, "frames %" SCNx64 "-%" SCNx64 ": %" SCNu64, &first, &last, &n), 3);
		cr_expect_eq(first, pfn + seen, "%s", t.s);
		cr_expect_eq(last - first + 1, n);
		seen += n;
	}
	cr_expect_geq(seen, 512);
	cr_expect_geq(count_of(t.s, ", anonymous\n"), 1, "%s", t.s);
	cr_expect_neq(count_of(t.s, ", on a per-CPU list\n"), 0, "%s", t.s);
	cr_expect_neq(count_of(t.s, ", free, order "), 0, "%s", t.s);
	t.n = 0;
	quire_show_frames(~0ull >> 20, 3, text_emit, &t);
	cr_expect_eq(t.n, 0, "nothing is said of what is no RAM");
	space_down();
}

Test(look, page)
{
	struct quire_mm *parent, *child;
	uint64_t pfn;

	space_up();
	parent = cur;
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	pfn = pfn_at(AT(0));
	cr_expect(strstr(page_look(pfn), "1 references, 1 entries,"), "%s", t.s);
	cr_expect(strstr(t.s, "swapbacked listed batched, anonymous"), "%s", t.s);
	cr_expect_eq(count_of(t.s, "mapped at"), 1);
	cr_expect_eq(count_of(t.s, ", writable,"), 1);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	page_look(pfn);
	cr_expect_eq(count_of(t.s, "mapped at"), 2, "%s", t.s);
	cr_expect_eq(count_of(t.s, ", writable,"), 0);
	cr_expect_not(strstr(t.s, "the reverse map finds"));
	cr_expect_eq(page_count(pfn_to_page(PFN(pfn))), 2, "the look holds on to nothing");
	run_space(parent);
	space_put(child);
	munmap_at(AT(0), 1);
	quire_drain();
	cr_expect_eq(count_of(page_look(pfn), "free block of order"), 1, "%s", t.s);
	cr_expect(strstr(page_look(~0ull >> 20), "is no RAM of ours\n"));
	cr_expect(strstr(page_look(page_to_pfn(virt_to_page(mm_now()->pgd)).n), " table"), "%s", t.s);
	space_down();
}

Test(look, faults)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	touch_at(AT(1));
	touch_at(AT(9));
	t.n = 0;
	quire_show_faults(text_emit, &t);
	cr_expect_str_eq(t.s, "zero       1\nanon       1\n");
	space_down();
}

/* AnonPages and Mapped of meminfo follow the entries, each its own kind. */
Test(look, mapped_counters)
{
	unsigned long anon, file;
	struct quire_file *f;

	space_up();
	f = file_new(4, FRW);
	anon = node_page_state(NR_ANON_MAPPED);
	file = node_page_state(NR_FILE_MAPPED);
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 1);
	store_at(AT(1), 1);
	mmap_file(AT(8), 4, RW, MAP_SHARED | FIX, f, 0);
	store_at(AT(8), 1);
	cr_expect_eq(node_page_state(NR_ANON_MAPPED), anon + 2);
	cr_expect_eq(node_page_state(NR_FILE_MAPPED), file + 1);
	munmap_at(AT(0), 1);
	cr_expect_eq(node_page_state(NR_ANON_MAPPED), anon + 1);
	munmap_at(AT(8), 4);
	cr_expect_eq(node_page_state(NR_ANON_MAPPED), anon + 1);
	cr_expect_eq(node_page_state(NR_FILE_MAPPED), file);
	quire_file_put(f);
	space_down();
}

/* Pages of files, of the kernel's, and one whose reverse map does not find all. */
Test(look, pages_of_other_kinds)
{
	struct quire_file *f;
	struct page *page;
	void *own;

	space_up();
	f = file_new(4, FRW);
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 1);
	mmap_file(AT(4), 2, RW, MAP_SHARED | FIX, f, 1);
	store_at(AT(0), 1);
	store_at(AT(4), 1);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	cr_expect(strstr(page_look(pfn_at(AT(0))), ", of a file, index 0x1\n"), "%s", t.s);
	cr_expect_eq(count_of(t.s, "mapped at"), 2, "%s", t.s);
	page->_mapcount++;
	page->_refcount++;
	cr_expect(strstr(page_look(pfn_at(AT(0))), "  the reverse map finds 2 of 3 entries\n"), "%s",
		  t.s);
	page->_mapcount--;
	page->_refcount--;
	/* Read in one place of three; the others are passed over. */
	mmap_file(AT(8), 2, RW, MAP_PRIVATE | FIX, f, 1);
	store_at(AT(8), 7);
	mmap_file(AT(10000), 2, RW, MAP_PRIVATE | FIX, f, 1);
	cr_expect_eq(count_of(page_look(pfn_at(AT(0))), "mapped at"), 2, "%s", t.s);
	load_at(AT(9));
	madvise_at(AT(9), 1, 4);
	cr_expect_eq(count_of(page_look(pfn_at(AT(0))), "mapped at"), 2);
	own = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	cr_assert_eq(quire_mm_install_special(cur, AT(60), PS, PROT_READ,
					      &(const void *){own}, "[own]"), 0);
	load_at(AT(60));
	cr_expect(strstr(page_look(page_to_pfn(virt_to_page(own)).n),
			 "the reverse map finds 0 of 1 entries"), "%s", t.s);
	munmap_at(AT(60), 1);
	cr_expect(strstr(page_look(page_to_pfn(virt_to_page(own)).n), "1 references, 0 entries"));
	quire_free_pages(own, 0);
	quire_file_put(f);
	cr_expect_str_eq(fault_row_name(QUIRE_ROW_COW), "cow");
	cr_expect_str_eq(fault_row_name(QUIRE_ROW_MAX), "?");
	space_down();
}
