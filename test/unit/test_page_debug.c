/* SPDX-License-Identifier: MIT */
/* What watches over pages: each kind of damage is found, told with its owner, and contained. */
#include <stdio.h>

#include "mm_test.h"

#include "mm/base/vmstat.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_debug.h"
#include <quire/trace.h>

#define MIB (1ull << 20)

static char said[65536];
static size_t said_n;

static void listen(const char *s, size_t n)
{
	if (n > sizeof(said) - 1 - said_n)
		n = sizeof(said) - 1 - said_n;
	memcpy(said + said_n, s, n);
	said_n += n;
	said[said_n] = 0;
}

static void up(const char *params)
{
	said_n = 0;
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1, .log = listen},
		       &(struct quire_config){.params = params});
}

/* held: pages that were lost on purpose. */
static void down(long held)
{
	cr_expect_eq(check_phys(), 0);
	cr_expect_eq(quire_exit(), held);
	fake_machine_destroy();
}

static bool all_bytes(const void *p, unsigned char c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const unsigned char *)p)[i] != c)
			return false;
	return true;
}

/* As a stray write would: whatever a memory checker thinks of it. */
static void scribble(struct page *page, unsigned char c)
{
	hal_unpoison(page_address(page), PAGE_SIZE);
	((unsigned char *)page_address(page))[100] = c;
}

Test(page_debug, a_double_free_is_contained)
{
	struct page *p, *q[200];

	up("bad_page=contain page_owner=on");
	p = alloc_pages(GFP_KERNEL, 0);
	__free_pages(p, 0);
	__free_pages(p, 0);
	cr_expect_eq(nr_bad_pages(), 1);
	cr_expect(strstr(said, "BUG: Bad page state"), "%s", said);
	cr_expect(strstr(said, "allocated by 0x"));
	cr_expect(strstr(said, "last freed by 0x"));
	/* It is free once, so it is handed out once. */
	for (unsigned i = 0; i < 200; i++) {
		q[i] = alloc_pages(GFP_KERNEL, 0);
		for (unsigned j = 0; j < i; j++)
			cr_assert_neq(q[i], q[j]);
	}
	for (unsigned i = 0; i < 200; i++)
		__free_pages(q[i], 0);
	drain_all_pages();
	__free_pages(p, 0);
	cr_expect_eq(nr_bad_pages(), 2, "in the buddy it is seen too");
	down(0);
}

Test(page_debug, a_page_in_use_is_not_freed)
{
	struct page *p, *b;

	up("bad_page=contain");
	p = alloc_pages(GFP_KERNEL, 0);
	trylock_page(p);
	__free_pages(p, 0);
	cr_expect_eq(nr_bad_pages(), 1);
	b = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	__free_pages(b, 1);
	cr_expect_eq(nr_bad_pages(), 2);
	cr_expect(strstr(said, "another order"));
	b = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	b[3].mapping = b + 1;
	__free_pages(b, 2);
	cr_expect(strstr(said, "not a tail"));
	cr_expect_eq(nr_bad_pages(), 3);
	/* Lost: one page, and two blocks of four whose later pages still lead to their head. */
	quire_exit();
	fake_machine_destroy();
}

/* Nothing of what was lost may be handed out again: 2^order frames from p on. */
static void never_again(const struct page *p, unsigned order)
{
	static struct page *all[32768];
	unsigned n = 0;

	while (n < ARRAY_SIZE(all) &&
	       (all[n] = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, 0)) != NULL) {
		cr_expect(all[n] < p || all[n] >= p + (1u << order));
		n++;
	}
	cr_expect_gt(n, 1000);
	while (n)
		__free_pages(all[--n], 0);
}

Test(page_debug, a_compound_page_freed_with_another_order_is_lost_and_counted)
{
	static const unsigned wrong[] = {0, 1, 2, 4, 9};
	unsigned long lost = 0;

	up("bad_page=contain page_owner=on");
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct page *b = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

		said_n = 0;
		__free_pages(b, wrong[i]);
		cr_expect_eq(nr_bad_pages(), i + 1, "order %u", wrong[i]);
		cr_expect_eq(nr_lost_pages(), lost += 8);
		cr_expect(strstr(said, "another order"), "%s", said);
		cr_expect(strstr(said, "8 frames lost; allocated by 0x"), "%s", said);
		cr_expect_eq(check_phys(), 0);
		never_again(b, 3);
	}
	quire_exit();
	fake_machine_destroy();
}

Test(page_debug, a_compound_page_freed_with_another_order_panics, .exit_code = 1)
{
	up("bad_page=panic");
	__free_pages(alloc_pages(GFP_KERNEL | __GFP_COMP, 3), 0);
	exit(0);
}

Test(page_debug, only_what_nobody_has_is_lost)
{
	struct page *p;

	up("bad_page=contain");
	p = alloc_pages(GFP_KERNEL, 0);
	__free_pages(p, 0);
	__free_pages(p, 0);
	p = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	__free_pages(p + 1, 0);
	cr_expect_eq(nr_bad_pages(), 2);
	cr_expect_eq(nr_lost_pages(), 0, "a free page, and a part of one that its owner still has");
	p[1]._refcount = 0;
	__free_pages(p, 2);
	p = alloc_pages(GFP_KERNEL, 2);
	page_set(p, PG_swapcache);
	__free_pages(p, 2);
	cr_expect_eq(nr_lost_pages(), 4);
	quire_exit();
	fake_machine_destroy();
}

/* A ring whose pages the buddy already has: each is told, none is free twice. */
Test(page_debug, listed_pages_that_are_free_already)
{
	struct page *p[5], *far;

	up("bad_page=contain");
	/* One for itself in its word, then a run. */
	far = alloc_pages(GFP_KERNEL, 7);
	split_page(far, 7);
	drain_all_pages();
	for (unsigned i = 0; i < 5; i++)
		__free_pages(p[i] = far + (i < 4 ? i : 100), 0);
	cr_assert(page_test(p[0], PG_pcp) && page_test(p[4], PG_pcp), "a list holds them all");
	/* Two of the run and the one alone, behind the allocator's back. */
	for (unsigned i = 0; i < 5; i += 2)
		cr_assert(ZONE_LOCKED(page_zone(p[i]),
				      __free_one_page(p[i], page_zone(p[i]), 0,
						      get_pageblock_migratetype(p[i]))));
	drain_all_pages();
	cr_expect_eq(nr_bad_pages(), 3);
	cr_expect(strstr(said, "on a per-CPU list and in the buddy"));
	for (unsigned i = 4; i < 128; i++)
		if (i != 100)
			__free_pages(far + i, 0);
	down(0);
}

Test(page_debug, damage_to_a_free_page_is_found)
{
	struct page *p, *q;

	up("bad_page=contain");
	p = alloc_pages(GFP_KERNEL, 0);
	__free_pages(p, 0);
	p->_mapcount = 5; /* on a per-CPU list */
	q = alloc_pages(GFP_KERNEL, 0);
	cr_expect(q && q != p);
	cr_expect_eq(nr_bad_pages(), 1);
	__free_pages(q, 0);
	p->_mapcount = -1;
	/* In the buddy. */
	p = alloc_pages(GFP_KERNEL, 6);
	__free_pages(p, 6);
	page_set(p, PG_dirty);
	q = alloc_pages(GFP_KERNEL, 6);
	cr_expect(q);
	cr_expect_neq(p, q);
	cr_expect_eq(nr_bad_pages(), 2);
	page_clear(p, PG_dirty);
	__free_pages(q, 6);
	quire_exit();
	fake_machine_destroy();
}

Test(page_debug, corrupt_bits_are_contained)
{
	struct zone *z = &zones[ZONE_DMA32];
	struct pageblock *b = NULL;
	struct page *p[100];

	up("bad_page=contain");
	drain_all_pages();
	for (unsigned o = 0; o < PAGEBLOCK_ORDER && !b; o++)
		b = ZONE_LOCKED(z, first_block(z, o, MIGRATE_UNMOVABLE));
	cr_assert(b);
	memset(b->free, 0, sizeof(b->free)); /* a stray memset: lists say there is something */
	for (unsigned i = 0; i < 100; i++) {
		p[i] = alloc_pages(GFP_KERNEL, i % 3);
		cr_assert(p[i]);
	}
	cr_expect_geq(nr_bad_pages(), 1);
	cr_expect(strstr(said, "Bad free list"));
	for (unsigned i = 0; i < 100; i++)
		__free_pages(p[i], i % 3);
	quire_exit();
	fake_machine_destroy();
}

Test(page_debug, corrupt_bits_panic, .exit_code = 1)
{
	struct pageblock *b = NULL;

	up("bad_page=panic");
	drain_all_pages();
	for (unsigned o = 0; o < PAGEBLOCK_ORDER && !b; o++)
		b = ZONE_LOCKED(&zones[ZONE_DMA32], first_block(&zones[ZONE_DMA32], o, MIGRATE_UNMOVABLE));
	memset(b->free, 0, sizeof(b->free));
	for (unsigned i = 0; i < 100; i++)
		alloc_pages(GFP_KERNEL, 0);
	exit(0);
}

Test(page_debug, poison)
{
	struct page *p, *q;

	up("page_poison=1 bad_page=contain page_owner=1");
	p = alloc_pages(GFP_KERNEL, 1);
	memset(page_address(p), 1, 2 * PAGE_SIZE);
	__free_pages(p, 1);
	hal_unpoison(page_address(p), 2 * PAGE_SIZE);
	cr_expect(all_bytes(page_address(p), PAGE_POISON, 2 * PAGE_SIZE));
	p = alloc_pages(GFP_KERNEL, 0);
	__free_pages(p, 0);
	scribble(p, 0);
	q = alloc_pages(GFP_KERNEL | __GFP_ZERO, 0);
	cr_expect(q && q != p);
	cr_expect(all_bytes(page_address(q), 0, PAGE_SIZE), "poison does not show");
	cr_expect_eq(nr_bad_pages(), 1);
	cr_expect(strstr(said, "written to while it was free"));
	cr_expect(strstr(said, "last freed by"));
	__free_pages(q, 0);
	quire_exit();
	fake_machine_destroy();
}

Test(page_debug, init_on_free_and_alloc)
{
	struct page *p;

	up("init_on_free=1");
	p = alloc_pages(GFP_KERNEL, 0);
	cr_expect(all_bytes(page_address(p), 0, PAGE_SIZE), "free since boot: zeros");
	memset(page_address(p), 1, PAGE_SIZE);
	__free_pages(p, 0);
	hal_unpoison(page_address(p), PAGE_SIZE);
	cr_expect(all_bytes(page_address(p), 0, PAGE_SIZE));
	/* Not a second time: what is written behind its back stays. */
	scribble(p, 7);
	cr_expect_eq(alloc_pages(GFP_KERNEL | __GFP_ZERO, 0), p);
	cr_expect_eq(((unsigned char *)page_address(p))[100], 7);
	__free_pages(p, 0);
	down(0);
	up("init_on_alloc=1");
	p = alloc_pages(GFP_KERNEL, 2);
	memset(page_address(p), 1, 4 * PAGE_SIZE);
	__free_pages(p, 2);
	p = alloc_pages(GFP_KERNEL, 2);
	cr_expect(all_bytes(page_address(p), 0, 4 * PAGE_SIZE));
	__free_pages(p, 2);
	down(0);
}

Test(page_debug, later_pages_are_checked)
{
	struct page *p, *q;

	up("debug_pagealloc=on bad_page=contain");
	p = alloc_pages(GFP_KERNEL, 3);
	page_set(p + 5, PG_lru);
	__free_pages(p, 3);
	cr_expect_eq(nr_bad_pages(), 1);
	page_clear(p + 5, PG_lru);
	p = alloc_pages(GFP_KERNEL, 5);
	__free_pages(p, 5);
	(p + 9)->_mapcount = 0;
	q = alloc_pages(GFP_KERNEL, 5);
	cr_expect(q && q != p);
	cr_expect_eq(nr_bad_pages(), 2);
	(p + 9)->_mapcount = -1;
	__free_pages(q, 5);
	quire_exit();
	fake_machine_destroy();
}

Test(page_debug, page_owner_text)
{
	static struct text t;
	struct page *p;
	char pfn[32];

	up("page_owner=on");
	p = alloc_pages(GFP_HIGHUSER_MOVABLE, 2);
	snprintf(pfn, sizeof(pfn), "PFN %llu type Movable", (unsigned long long)page_to_pfn(p).n);
	t.n = 0;
	quire_show_page_owner(text_emit, &t);
	cr_expect(strstr(t.s, pfn), "%s", t.s);
	cr_expect(strstr(t.s, "Page allocated via order 2, mask 0x"));
	split_page(p, 2);
	__free_pages(p + 1, 0);
	t.n = 0;
	quire_show_page_owner(text_emit, &t);
	cr_expect(strstr(t.s, pfn));
	cr_expect_not(strstr(t.s, "via order 2"));
	snprintf(pfn, sizeof(pfn), "PFN %llu ", (unsigned long long)page_to_pfn(p).n + 1);
	cr_expect_not(strstr(t.s, pfn));
	__free_pages(p, 0);
	__free_pages(p + 2, 0);
	__free_pages(p + 3, 0);
	down(0);
	up(NULL);
	t.n = 0;
	quire_show_page_owner(text_emit, &t);
	cr_expect_eq(t.n, 0);
	down(0);
}

Test(page_debug, failures_have_a_reason)
{
	static char ring[1 << 16] __attribute__((aligned(4096)));
	struct quire_trace_record r[8];
	static struct page *p[20000];
	unsigned n = 0;

	machine_up_cfg(&(struct fake_config){.ram = 48 * MIB, .cpus = 1},
		       &(struct quire_config){.trace_ring = ring, .trace_ring_size = sizeof(ring)});
	quire_trace_enable(true);
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, MAX_ORDER));
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_null(alloc_pages(GFP_KERNEL, 0));
	cr_expect_eq(quire_trace_last(r, 8), 2);
	cr_expect_eq(r[1].type, QUIRE_TR_PAGE_ALLOC_FAIL);
	cr_expect_eq(r[1].w[0], MAX_ORDER);
	cr_expect_eq(r[1].w[2], QUIRE_FAIL_ORDER);
	cr_expect_eq(r[0].w[2], QUIRE_FAIL_INJECTED);
	while ((p[n] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		n++;
	quire_trace_last(r, 1);
	cr_expect_eq(r[0].w[2], QUIRE_FAIL_NO_MEMORY);
	cr_expect_eq(r[0].w[3], nr_free_buddy());
	cr_expect_null(alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 0));
	quire_trace_last(r, 1);
	cr_expect_eq(r[0].w[2], QUIRE_FAIL_NO_WAIT);
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0));
	quire_trace_last(r, 1);
	cr_expect_eq(r[0].w[2], QUIRE_FAIL_NO_RETRY);
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 9));
	quire_trace_last(r, 1);
	cr_expect_eq(r[0].w[2], QUIRE_FAIL_COSTLY);
	quire_trace_enable(false);
	while (n)
		__free_pages(p[--n], 0);
	machine_down();
}

Test(page_debug, must_not_fail_ends_the_machine_rather_than_hang, .exit_code = 1, .timeout = 20)
{
	machine_up(48 * MIB, 1);
	while (alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0))
		;
	exit(0);
}

/* A page that moved is still whose it was. */
Test(page_debug, the_owner_moves_with_the_page)
{
	static struct text t;
	struct page *p, *to;
	char pfn[40];

	up("page_owner=on");
	p = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	to = alloc_pages(GFP_KERNEL, 0);
	snprintf(pfn, sizeof(pfn), "PFN %llu type Movable", (unsigned long long)page_to_pfn(to).n);
	quire_show_page_owner(text_emit, &t);
	cr_expect_not(strstr(t.s, pfn));
	page_owner_copy(to, p);
	t.n = 0;
	quire_show_page_owner(text_emit, &t);
	cr_expect(strstr(t.s, pfn), "%s", t.s);
	__free_pages(p, 0);
	__free_pages(to, 0);
	down(0);
}

/* Whether what ctx says was told, however many pieces it came in. */
static bool told;

static void look_for(void *ctx, const char *s, size_t n)
{
	static size_t at;
	const char *wanted = ctx;

	for (size_t i = 0; i < n; i++) {
		at = s[i] == wanted[at] ? at + 1 : s[i] == wanted[0];
		told |= !wanted[at];
		at = wanted[at] ? at : 0;
	}
}

/* Frames without struct pages have no owner, those beyond them do. */
Test(page_debug, owners_beyond_a_hole)
{
	const uint64_t sec = SECTION_PAGES * PAGE_SIZE;
	const struct mem_range r[] = {
		{0, 3 * sec, MEM_RAM, "low"},
		{9 * sec, 11 * sec, MEM_RAM, "high"},
	};
	static struct page *mine[2 * SECTION_PAGES];
	unsigned n = 0;
	struct page *p;
	char pfn[32];

	said_n = 0;
	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = ARRAY_SIZE(r), .log = listen},
		       &(struct quire_config){.params = "page_owner=on"});
	do {
		p = mine[n++] = alloc_pages(GFP_KERNEL, 3);
		cr_assert(p);
	} while (page_to_pfn(p).n < 9 * SECTION_PAGES);
	snprintf(pfn, sizeof(pfn), "PFN %llu type", (unsigned long long)page_to_pfn(p).n);
	told = false;
	quire_show_page_owner(look_for, pfn);
	cr_expect(told, "%s", pfn);
	__free_pages(p, 3);
	told = false;
	quire_show_page_owner(look_for, pfn);
	cr_expect_not(told);
	while (--n)
		__free_pages(mine[n - 1], 3);
	down(0);
}

/* A page that nobody ever had has nobody to be named. */
Test(page_debug, damage_to_a_page_without_an_owner)
{
	struct page *p = NULL;

	up("page_owner=on bad_page=contain");
	for (uint64_t i = 0; i < max_pfn; i++)
		if (page_test(pfn_to_page(PFN(i)), PG_reserved))
			p = pfn_to_page(PFN(i));
	cr_assert(p);
	said_n = 0;
	bad_page(p, "for the test's sake", 0);
	cr_expect(strstr(said, "for the test's sake"));
	cr_expect_not(strstr(said, "allocated by"), "%s", said);
	cr_expect_not(strstr(said, "last freed by"), "%s", said);
	down(0);
}

/* The later pages of a plain block: whatever marks one as used keeps the block out. */
Test(page_debug, each_mark_of_a_later_page_is_seen)
{
	unsigned long bad = 0;

	up("debug_pagealloc=on bad_page=contain");
	for (unsigned mark = 0; mark < 5; mark++) {
		struct page *b = alloc_pages(GFP_KERNEL, 2), *p = b + 3;

		if (mark == 0)
			p->mapping = p;
		else if (mark == 1)
			p->_mapcount = 0;
		else if (mark == 2)
			p->_refcount = 1;
		else if (mark == 3)
			page_set(p, PG_dirty);
		__free_pages(b, 2);
		bad += mark < 4;
		cr_expect_eq(nr_bad_pages(), bad, "mark %u", mark);
		cr_expect_eq(nr_lost_pages(), 4 * bad);
		p->mapping = NULL;
		p->_mapcount = -1;
		p->_refcount = 0;
		page_clear(p, PG_dirty);
	}
	cr_expect(strstr(said, "freed while in use"));
	quire_exit();
	fake_machine_destroy();
}
