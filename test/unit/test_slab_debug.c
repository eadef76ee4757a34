/* SPDX-License-Identifier: MIT */
/*
 * Each kind of corruption that the slab allocator knows, made on purpose: in a checked cache and,
 * where it can be seen there, in a plain one. Contained: reported once, counted, nobody is handed
 * the damaged object, and the invariants hold. By default: the machine ends and names the owner.
 */
#include "mm_test.h"

#include "lib/bits.h"
#include "mm/slab/slab_def.h"
#include <quire/abi.h>

#define MIB (1ull << 20)
#define CHECKED "slab_bug=contain slub_debug=FZPU"

static void up(const char *params)
{
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2},
		       &(struct quire_config){.params = params});
}

static struct kmem_cache *a_cache(void)
{
	struct kmem_cache *c = kmem_cache_create("victim", 64, 0, SLAB_NO_MERGE, NULL);

	cr_assert(c);
	return c;
}

/* After a contained corruption the cache goes on: what it hands out is sound and never bad. */
static void goes_on(struct kmem_cache *c, const void *bad)
{
	void *p[200];

	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
		cr_assert(p[i]);
		cr_assert_neq(p[i], bad, "damaged, and handed out again");
		memset(p[i], i, 64);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		cr_assert_eq(*(unsigned char *)p[i], i & 0xff);
		kmem_cache_free(c, p[i]);
	}
	cr_expect_eq(slab_check(c), 0);
}

/* Writes where nobody may; a checker of addresses is told to look away. */
static void scribble(void *at, size_t n)
{
	hal_unpoison(at, n);
	memset(at, 0x41, n);
}

static void expect_only(enum slab_bug bug, unsigned n)
{
	for (enum slab_bug b = 0; b < NR_SLAB_BUGS; b++)
		cr_expect_eq(slab_bugs_seen(b), b == bug ? n : 0, "bug %d seen %lu times", b,
			     (unsigned long)slab_bugs_seen(b));
}

Test(slab_debug, red_zone_behind)
{
	struct kmem_cache *c;
	char *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	scribble(p + 64, 1);
	kmem_cache_free(c, p);
	expect_only(SLAB_BUG_REDZONE, 1);
	goes_on(c, p);
	cr_expect_eq(kmem_cache_destroy(c), 1, "it was not freed");
}

Test(slab_debug, red_zone_before)
{
	struct kmem_cache *c;
	char *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	scribble(p - 1, 1);
	kmem_cache_free(c, p);
	expect_only(SLAB_BUG_REDZONE, 1);
	goes_on(c, p);
}

/* The free object's own zone is checked when it is handed out. */
Test(slab_debug, red_zone_while_free)
{
	struct kmem_cache *c;
	char *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p);
	scribble(p + 64, 1);
	cr_expect_neq(kmem_cache_alloc(c, GFP_KERNEL), p);
	expect_only(SLAB_BUG_REDZONE, 1);
}

static void poisoned_at(unsigned where)
{
	struct kmem_cache *c;
	char *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p);
	scribble(p + where, 1);
	cr_expect_neq(kmem_cache_alloc(c, GFP_KERNEL), p);
	expect_only(SLAB_BUG_POISON, 1);
	cr_expect_gt(c->nr_lost, 0);
	goes_on(c, p);
}

Test(slab_debug, first_byte_of_poison)
{
	poisoned_at(0);
}

Test(slab_debug, poison_in_the_middle)
{
	poisoned_at(33);
}

Test(slab_debug, last_byte_of_poison)
{
	poisoned_at(63);
}

Test(slab_debug, padding)
{
	struct kmem_cache *c;
	char *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	scribble(p + c->size - c->red_left_pad - 1, 1);
	kmem_cache_free(c, p);
	expect_only(SLAB_BUG_PADDING, 1);
	goes_on(c, p);
}

/* The word of a free object: its slab is given up, the next one serves. */
Test(slab_debug, free_word)
{
	struct kmem_cache *c;
	char *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p);
	scribble(p + c->offset, 8);
	cr_expect_neq(kmem_cache_alloc(c, GFP_KERNEL), p);
	expect_only(SLAB_BUG_WRITTEN, 1);
	goes_on(c, p);
}

/* The same in a plain cache, of objects returned to their slabs: each is lost, none handed out. */
Test(slab_debug, free_word_of_a_plain_cache)
{
	void *p[200], *q;
	struct kmem_cache *c;

	up("slab_bug=contain slab_hardened=1");
	c = a_cache();
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 0; i < 100; i++)
		kmem_cache_free(c, p[2 * i]);
	kmem_cache_shrink(c);
	for (unsigned i = 0; i < 100; i++)
		scribble((char *)p[2 * i] + c->offset, 8);
	q = kmem_cache_alloc(c, GFP_KERNEL);
	cr_assert(q);
	for (unsigned i = 0; i < 100; i++)
		cr_expect_neq(q, p[2 * i]);
	cr_expect_gt(slab_bugs_seen(SLAB_BUG_WRITTEN), 0);
	cr_expect_eq(c->nr_lost, slab_bugs_seen(SLAB_BUG_WRITTEN));
}

/* A slab's bits, in its struct page or (small objects) at its end, are counted whenever some are
 * taken: one too many, one too few, one of no object. */
static void bits_damaged(size_t size, uint64_t flip, const char *params)
{
	struct kmem_cache *c;
	struct page *page;
	uint64_t *bits;
	void *p, *q;

	up(params);
	c = kmem_cache_create("victim", size, 0, SLAB_NO_MERGE, NULL);
	p = kmem_cache_alloc(c, GFP_KERNEL);
	q = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, q);
	kmem_cache_shrink(c);
	page = compound_head(virt_to_page(p));
	cr_assert(slab_object_is_free(c, page, q));
	cr_assert_not(slab_object_is_free(c, page, p));
	cr_assert_eq(slab_check(c), 0);
	bits = slab_bits(c, page) + (flip ? 0 : SLAB_WORDS(slab_total(page)) - 1);
	cr_expect_eq(!c->bits_at, slab_total(page) <= 64);
	*bits ^= flip ? flip : (1ull << 63) | (*bits & -*bits); /* as many, but one too far */
	cr_expect_gt(slab_check(c), 0);
	q = kmem_cache_alloc(c, GFP_KERNEL);
	cr_assert(q);
	cr_expect_neq(compound_head(virt_to_page(q)), page, "of a slab whose bits are damaged");
	expect_only(SLAB_BUG_FREELIST, 1);
	cr_expect_gt(c->nr_lost, 0);
	kmem_cache_free(c, p);
	kmem_cache_free(c, q);
	cr_expect_eq(slab_check(c), 0);
}

Test(slab_debug, bits_in_the_struct_page)
{
	bits_damaged(72, 4, "slab_bug=contain");
}

Test(slab_debug, bits_of_no_object)
{
	bits_damaged(72, 0, "slab_bug=contain slab_hardened=0");
}

Test(slab_debug, bits_at_the_end_of_a_slab)
{
	bits_damaged(8, 4, "slab_bug=contain");
}

Test(slab_debug, bits_at_the_end_of_no_object)
{
	bits_damaged(24, 0, "slab_bug=contain slab_freelist_random=1");
}

Test(slab_debug, bits_of_a_checked_cache)
{
	bits_damaged(72, 8, CHECKED);
}

/* Where objects have no mark, the second of two frees is seen when it reaches the slab. */
Test(slab_debug, double_free_in_an_unhardened_cache)
{
	struct kmem_cache *c;
	void *p, *q;

	up("slab_bug=contain slab_hardened=0");
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	q = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p);
	kmem_cache_free(c, p);
	kmem_cache_shrink(c);
	expect_only(SLAB_BUG_DOUBLE_FREE, 1);
	cr_expect_eq(slab_check(c), 0);
	kmem_cache_free(c, p);
	kmem_cache_shrink(c);
	expect_only(SLAB_BUG_DOUBLE_FREE, 2);
	kmem_cache_free(c, q);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* In a magazine the word is a mark. */
Test(slab_debug, write_after_free_in_a_plain_cache)
{
	struct kmem_cache *c;
	char *p;

	up("slab_bug=contain slab_hardened=1");
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p);
	scribble(p + c->offset, 1);
	cr_expect_neq(kmem_cache_alloc(c, GFP_KERNEL), p);
	expect_only(SLAB_BUG_WRITTEN, 1);
	cr_expect_eq(c->nr_lost, 1);
	goes_on(c, p);
}

static void freed_twice(const char *params)
{
	struct kmem_cache *c;
	void *p, *q;

	up(params);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	q = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p);
	kmem_cache_free(c, p);
	expect_only(SLAB_BUG_DOUBLE_FREE, 1);
	kmem_cache_free(c, q);
	kmem_cache_free(c, p);
	expect_only(SLAB_BUG_DOUBLE_FREE, 2);
	goes_on(c, NULL);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

Test(slab_debug, double_free)
{
	freed_twice(CHECKED);
}

Test(slab_debug, double_free_in_a_plain_cache)
{
	freed_twice("slab_bug=contain slab_hardened=1");
}

/* A link into the slab, not a bare mark, is seen as well. */
Test(slab_debug, double_free_of_what_went_home)
{
	void *p[150];
	struct kmem_cache *c;

	up("slab_bug=contain slab_hardened=1");
	c = a_cache();
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i += 2)
		kmem_cache_free(c, p[i]);
	kmem_cache_shrink(c);
	kmem_cache_free(c, p[2]);
	kmem_cache_free(c, p[4]);
	expect_only(SLAB_BUG_DOUBLE_FREE, 2);
	for (unsigned i = 1; i < ARRAY_SIZE(p); i += 2)
		kmem_cache_free(c, p[i]);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

static void pointers(const char *params)
{
	struct kmem_cache *c, *other;
	void *page, *p, *large;

	up(params);
	c = a_cache();
	other = kmem_cache_create("other", 64, 0, SLAB_NO_MERGE, NULL);
	p = kmem_cache_alloc(c, GFP_KERNEL);
	page = (void *)__get_free_pages(GFP_KERNEL, 0);
	large = kmalloc(40000, GFP_KERNEL);
	kmem_cache_free(c, page);
	kfree(page);
	kfree((char *)large + 4096);
	kmem_cache_free(c, large);
	expect_only(SLAB_BUG_FOREIGN, 4);
	kmem_cache_free(other, p);
	cr_expect_eq(slab_bugs_seen(SLAB_BUG_WRONG_CACHE), 1);
	kmem_cache_free(c, (char *)p + 8);
	kfree((char *)p + 8);
	cr_expect_eq(slab_bugs_seen(SLAB_BUG_MIDDLE), 2);
	kfree(large);
	free_pages((uintptr_t)page, 0);
	kmem_cache_free(c, p); /* it still is whose it was */
	cr_expect_eq(kmem_cache_destroy(c), 0);
	cr_expect_eq(kmem_cache_destroy(other), 0);
	machine_down();
}

Test(slab_debug, foreign_pointers)
{
	pointers("slab_bug=contain");
}

Test(slab_debug, foreign_pointers_to_checked_caches)
{
	pointers(CHECKED);
}

static void leak(const char *params)
{
	struct kmem_cache *c;
	void *a, *b, *d;

	up(params);
	c = a_cache();
	a = kmem_cache_alloc(c, GFP_KERNEL);
	b = kmem_cache_alloc(c, GFP_KERNEL);
	d = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, b);
	cr_expect_eq(kmem_cache_destroy(c), 2);
	expect_only(SLAB_BUG_LEAK, 2);
	(void)a;
	(void)d;
}

Test(slab_debug, leak_at_destroy)
{
	leak("slab_bug=contain");
}

Test(slab_debug, leak_at_destroy_unhardened)
{
	leak("slab_hardened=0");
}

Test(slab_debug, leak_at_destroy_of_a_checked_cache)
{
	leak(CHECKED);
}

/* ---- a debug build ends, and says whose it is ------------------------------------------------- */

Test(slab_debug, panic_names_the_owner, .exit_code = 1)
{
	struct kmem_cache *c;
	void *p;

	up("slub_debug=FZPU slab_bug=panic");
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p);
	kmem_cache_free(c, p);
	exit(0);
}

Test(slab_debug, owners)
{
	struct kmem_cache *c;
	char text[200];
	void *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	slab_owner(c, p, text, sizeof(text));
	cr_expect(strstr(text, "Allocated in 0x"), "%s", text);
	cr_expect_not(strstr(text, "Freed"), "%s", text);
	kmem_cache_free(c, p);
	slab_owner(c, p, text, sizeof(text));
	cr_expect(strstr(text, ", Freed in 0x"), "%s", text);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* ---- boot parameters -------------------------------------------------------------------------- */

Test(slab_debug, flags_by_cache)
{
	static const struct {
		const char *param, *name;
		unsigned flags;
	} t[] = {
		{"slub_debug", "x", 0xf00},
		{"slub_debug=", "x", 0xf00},
		{"slub_debug=P", "x", SLAB_POISON},
		{"slub_debug=fzput", "x", 0x1f00},
		{"slub_debug=-", "x", 0},
		{"slub_debug=Q", "x", 0},
		{"slub_debug=,kmalloc-64", "kmalloc-64", 0xf00},
		{"slub_debug=,kmalloc-64", "kmalloc-8", 0},
		{"slub_debug=Z,a,kmalloc-*", "kmalloc-8", SLAB_RED_ZONE},
		{"slub_debug=Z,a,kmalloc-*", "a", SLAB_RED_ZONE},
		{"slub_debug=Z,a,kmalloc-*", "ab", 0},
		{"slub_debug=F;U,b", "b", SLAB_STORE_USER},
		{"slub_debug=F;U,b", "c", SLAB_CONSISTENCY_CHECKS},
		{"slub_debug=U,b;F", "c", SLAB_CONSISTENCY_CHECKS},
		{"quiet", "c", 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		up(t[i].param);
		cr_expect_eq(slab_debug_flags(t[i].name, 0), t[i].flags, "%s for %s: %x", t[i].param,
			     t[i].name, slab_debug_flags(t[i].name, 0));
		machine_down();
	}
}

/* Every cache checked, and everything still works; objects keep their alignment. */
static void everything(const char *params)
{
	void *p[500];

	up(params);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
			size_t n = 1 + rnd() % (i % 9 ? 500 : 9000);

			p[i] = kmalloc(n, round & 1 ? GFP_KERNEL : GFP_KERNEL | __GFP_ZERO);
			cr_assert(p[i]);
			for (size_t j = 0; j < n && !(round & 1); j++)
				cr_assert_eq(((char *)p[i])[j], 0);
			memset(p[i], 0xee, n);
			if (is_power_of_2(n))
				cr_assert_eq((uintptr_t)p[i] % min(n, (size_t)4096), 0);
		}
		cr_expect_eq(check_phys(), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
			kfree(p[i]);
	}
	for (enum slab_bug b = 0; b < NR_SLAB_BUGS; b++)
		cr_expect_eq(slab_bugs_seen(b), 0);
	machine_down();
}

Test(slab_debug, all_caches_checked)
{
	everything("slub_debug");
	everything("slub_debug=ZT,kmalloc-64");
	everything("slub_debug=PU slab_freelist_random=1");
}

Test(slab_debug, all_in_random_order_and_initialised)
{
	everything("slab_freelist_random=1 slab_nomerge");
	everything("init_on_alloc=1 init_on_free=1");
	everything("slab_hardened=0");
	everything("slab_hardened=1 init_on_free=1");
}

Test(slab_debug, random_order_is_random)
{
	struct kmem_cache *c;
	unsigned in_order = 0;
	char *p[60];

	up("slab_freelist_random=1");
	c = a_cache();
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 1; i < ARRAY_SIZE(p); i++)
		in_order += p[i] == p[i - 1] + 64 || p[i] == p[i - 1] - 64;
	cr_expect_lt(in_order, 20);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		kmem_cache_free(c, p[i]);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

Test(slab_debug, init_on_alloc_and_free)
{
	char *p;

	up("init_on_alloc=1");
	p = kmalloc(64, GFP_KERNEL);
	memset(p, 1, 64);
	kfree(p);
	cr_expect_eq(kmalloc(64, GFP_KERNEL), p);
	for (unsigned i = 0; i < 64; i++)
		cr_expect_eq(p[i], 0);
	kfree(p);
	machine_down();
	up("init_on_free=1 slab_hardened=0");
	p = kmalloc(64, GFP_KERNEL);
	memset(p, 1, 64);
	kfree(p);
	hal_unpoison(p, 64);
	for (unsigned i = 0; i < 64; i++)
		cr_expect_eq(p[i], 0);
	machine_down();
}

/* ---- failures of one cache --------------------------------------------------------------------- */

Test(slab_debug, one_cache_fails)
{
	struct quire_fault_attr every = {.probability = 100, .times = -1};
	struct kmem_cache *c;
	void *p;

	up(NULL);
	c = a_cache();
	cr_expect_eq(kmem_cache_fail("nobody", &every), -ENOENT);
	cr_expect_eq(kmem_cache_fail("victim", &(struct quire_fault_attr){.probability = 101}), -EINVAL);
	cr_expect_eq(kmem_cache_fail("victim", &(struct quire_fault_attr){.times = -2}), -EINVAL);
	cr_expect_eq(kmem_cache_fail("victim", &every), 0);
	cr_expect_null(kmem_cache_alloc(c, GFP_KERNEL));
	p = kmem_cache_alloc(c, GFP_KERNEL | __GFP_NOFAIL);
	cr_expect(p);
	kmem_cache_free(c, p);
	p = kmalloc(64, GFP_KERNEL);
	cr_expect(p, "another cache fails not");
	kfree(p);
	cr_expect_eq(kmem_cache_fail("victim", &(struct quire_fault_attr){.nth = 3}), 0);
	for (unsigned i = 1; i <= 4; i++) {
		p = kmem_cache_alloc(c, GFP_KERNEL);
		cr_expect_eq(!p, i == 3, "%u", i);
		kmem_cache_free(c, p);
	}
	cr_expect_eq(kmem_cache_fail("victim", &(struct quire_fault_attr){.probability = 100,
									  .interval = 2, .times = 2}), 0);
	for (unsigned i = 1; i <= 8; i++) {
		p = kmem_cache_alloc(c, GFP_KERNEL);
		cr_expect_eq(!p, i == 2 || i == 4, "%u", i);
		kmem_cache_free(c, p);
	}
	cr_expect_eq(kmem_cache_fail("victim", NULL), 0);
	cr_expect_eq(kmem_hook_word(), 0);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* ---- less common ways ------------------------------------------------------------------------- */

/* Pages where there is no RAM have no struct page to look at. */
Test(slab_debug, pointer_into_a_hole)
{
	static const struct mem_range ranges[] = {{0, 32 * MIB, MEM_RAM, "low"},
						  {64 * MIB, 96 * MIB, MEM_RAM, "high"}};
	struct kmem_cache *c;
	void *hole;

	machine_up_cfg(&(struct fake_config){.ranges = ranges, .nranges = 2},
		       &(struct quire_config){.params = "slab_bug=contain"});
	hole = hal_phys_to_virt(48 * MIB);
	c = a_cache();
	kfree(hole);
	kmem_cache_free(c, hole);
	expect_only(SLAB_BUG_FOREIGN, 2);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* What lies behind the last object of a slab. */
static void slab_padding(bool at_free)
{
	struct kmem_cache *c;
	struct page *page;
	char *p;

	up(CHECKED);
	c = a_cache();
	p = kmem_cache_alloc(c, GFP_KERNEL);
	page = compound_head(virt_to_page(p));
	cr_assert_lt(slab_total(page) * c->size, slab_bytes(page));
	if (!at_free)
		kmem_cache_free(c, p);
	scribble((char *)page_address(page) + slab_total(page) * c->size, 1);
	if (at_free)
		kmem_cache_free(c, p);
	else
		cr_expect_neq(kmem_cache_alloc(c, GFP_KERNEL), p);
	expect_only(SLAB_BUG_PADDING, 1);
	goes_on(c, p);
}

Test(slab_debug, slab_padding_at_an_allocation)
{
	slab_padding(false);
}

Test(slab_debug, slab_padding_at_a_free)
{
	slab_padding(true);
}

/* The damaged object is the last free one of its slab: nothing else is lost. */
Test(slab_debug, last_object_of_a_slab)
{
	struct kmem_cache *c;
	void *p[400];
	unsigned n;

	up(CHECKED);
	c = a_cache();
	n = c->objs;
	cr_assert_leq(n, ARRAY_SIZE(p));
	for (unsigned i = 0; i < n; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, p[3]);
	scribble((char *)p[3] + 5, 1);
	cr_expect_neq(kmem_cache_alloc(c, GFP_KERNEL), p[3]);
	expect_only(SLAB_BUG_POISON, 1);
	cr_expect_eq(c->nr_lost, 1);
	cr_expect_eq(slab_check(c), 0);
}

Test(slab_debug, no_page_for_a_checked_cache)
{
	struct kmem_cache *c;

	up(CHECKED);
	c = a_cache();
	quire_drain();
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){.probability = 100, .times = -1});
	cr_expect_null(kmem_cache_alloc(c, GFP_KERNEL | __GFP_NOWARN));
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){0});
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* Bulk calls leave to the single one what they cannot answer for. */
Test(slab_debug, bulk_of_bad_objects)
{
	struct kmem_cache *c;
	void *p[4], *q[4];

	up("slab_bug=contain slab_hardened=1");
	c = a_cache();
	for (unsigned i = 0; i < 4; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	q[0] = p[0];
	q[1] = (char *)p[1] + 8;
	q[2] = p[0];
	q[3] = p[2];
	kmem_cache_free_bulk(c, 4, q);
	cr_expect_eq(slab_bugs_seen(SLAB_BUG_MIDDLE), 1);
	cr_expect_eq(slab_bugs_seen(SLAB_BUG_DOUBLE_FREE), 1);
	scribble((char *)p[2] + c->offset, 8);
	cr_expect_eq(kmem_cache_alloc_bulk(c, GFP_KERNEL, 4, q), 4);
	for (unsigned i = 0; i < 4; i++)
		cr_expect_neq(q[i], p[2], "damaged, and handed out");
	cr_expect_eq(slab_bugs_seen(SLAB_BUG_WRITTEN), 1);
	cr_expect_eq(c->nr_lost, 1);
}

static void fill_with(void *p)
{
	memset(p, 0x33, 40);
}

/* A constructor's contents are neither poisoned nor cleared. */
static void constructed(const char *params)
{
	struct kmem_cache *c;
	char *p;

	up(params);
	c = kmem_cache_create("built", 40, 0, SLAB_NO_MERGE, fill_with);
	p = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(p[i], 0x33);
	kmem_cache_free(c, p);
	p = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(p[i], 0x33);
	kmem_cache_free(c, p);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

Test(slab_debug, constructed_objects_keep_theirs)
{
	constructed("slub_debug=FZPU");
	constructed("slub_debug=P slab_hardened=0");
	constructed("init_on_alloc=1 init_on_free=1");
}

/* Odd sizes have their red zone in what fills them up; the largest ones fill a slab. */
Test(slab_debug, odd_and_large_sizes)
{
	struct kmem_cache *c;
	char *p;

	up("slub_debug=ZP slab_bug=contain");
	c = kmem_cache_create("odd", 20, 0, 0, NULL);
	p = kmem_cache_alloc(c, GFP_KERNEL);
	scribble(p + 20, 1);
	kmem_cache_free(c, p);
	expect_only(SLAB_BUG_REDZONE, 1);
	c = kmem_cache_create("large", (PAGE_SIZE << SLAB_MAX_ORDER) / 2, 0, 0, NULL);
	cr_expect_eq(c->objs, 1);
	p = kmem_cache_alloc(c, GFP_KERNEL);
	cr_expect_eq(ksize(p), (PAGE_SIZE << SLAB_MAX_ORDER) / 2, "no more than was asked for");
	memset(p, 1, ksize(p));
	kfree(p);
	cr_expect_eq(kmem_cache_destroy(c), 0);
}

Test(slab_debug, initialised_and_checked)
{
	char *p;

	up("init_on_alloc=1 slub_debug=Z");
	p = kmalloc(64, GFP_KERNEL);
	for (unsigned i = 0; i < 64; i++)
		cr_expect_eq(p[i], 0);
	kfree(p);
	quire_drain();
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){.probability = 100, .times = -1});
	cr_expect_null(kmalloc(5000, GFP_KERNEL | __GFP_NOWARN));
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){0});
	machine_down();
	up("init_on_alloc=1 init_on_free=1 slub_debug=P");
	p = kmalloc(64, GFP_KERNEL);
	kfree(p);
	cr_expect_eq(slab_bugs_seen(SLAB_BUG_POISON), 0);
	machine_down();
}

/* The second free does not clear what belongs to nobody, or to the next owner. */
Test(slab_debug, double_free_where_frees_clear)
{
	freed_twice("slab_bug=contain slab_hardened=1 init_on_free=1");
}

Test(slab_debug, more_leaks_than_are_shown)
{
	struct kmem_cache *c;

	up("slab_bug=contain");
	c = a_cache();
	for (unsigned i = 0; i < 20; i++)
		cr_assert(kmem_cache_alloc(c, GFP_KERNEL));
	cr_expect_eq(kmem_cache_destroy(c), 20);
	expect_only(SLAB_BUG_LEAK, 8);
}

Test(slab_debug, other_spellings)
{
	struct kmem_cache *a, *b;

	up("slub_nomerge");
	a = kmem_cache_create("a", 1000, 0, 0, NULL);
	b = kmem_cache_create("b", 1000, 0, 0, NULL);
	cr_expect_neq(a, b);
	cr_expect_eq(kmem_cache_destroy(a), 0);
	cr_expect_eq(kmem_cache_destroy(b), 0);
	machine_down();
	up("slub_debug=Z,,b");
	cr_expect_eq(slab_debug_flags("b", 0), SLAB_RED_ZONE);
	cr_expect_eq(slab_debug_flags("a", 0), 0);
	machine_down();
}

/* The hook stays while any cache has failures of its own. */
Test(slab_debug, two_caches_fail)
{
	struct quire_fault_attr every = {.probability = 100, .times = -1};
	struct kmem_cache *a, *b;

	up(NULL);
	a = a_cache();
	b = kmem_cache_create("second", 64, 0, SLAB_NO_MERGE, NULL);
	cr_expect_eq(kmem_cache_fail("victim", &every), 0);
	cr_expect_eq(kmem_cache_fail("second", &every), 0);
	cr_expect_eq(kmem_cache_fail("second", NULL), 0);
	cr_expect_null(kmem_cache_alloc(a, GFP_KERNEL));
	cr_expect_eq(kmem_cache_fail("victim", NULL), 0);
	cr_expect_eq(kmem_hook_word(), 0);
	cr_expect_eq(kmem_cache_destroy(a), 0);
	cr_expect_eq(kmem_cache_destroy(b), 0);
	machine_down();
}
