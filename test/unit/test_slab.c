/* SPDX-License-Identifier: MIT */
/* The slab allocator: sizes, contents, checks, and nothing left behind. */
#include "mm_test.h"

#include "mm/slab/slab_def.h"

#define MIB (1ull << 20)

Test(slab, kmalloc_sizes)
{
	uint64_t before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	for (size_t n = 1; n <= 9000; n += n < 300 ? 1 : 61) {
		char *p = kmalloc(n, GFP_KERNEL);

		cr_assert(p);
		cr_assert_eq((uintptr_t)p % 8, 0);
		memset(p, 0x5a, n);
		cr_assert_geq(ksize(p), n);
		memset(p, 0x5a, ksize(p));
		kfree(p);
	}
	kfree(NULL);
	cr_assert_null(kmalloc(PAGE_SIZE << MAX_ORDER, GFP_KERNEL));
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(slab, classes_waste_as_linux_does)
{
	static const size_t want[][2] = {{1, 8},     {8, 8},	 {9, 16},   {65, 96},
					 {96, 96},   {97, 128},	 {129, 192}, {192, 192},
					 {193, 256}, {257, 512}, {4097, 8192}, {8192, 8192}};

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		void *p = kmalloc(want[i][0], GFP_KERNEL);

		cr_expect_eq(ksize(p), want[i][1]);
		kfree(p);
	}
	machine_down();
}

Test(slab, powers_of_two_are_aligned)
{
	machine_up(64 * MIB, 1);
	for (size_t n = 16; n <= 65536; n *= 2) {
		void *p[5];

		for (unsigned i = 0; i < 5; i++) {
			p[i] = kmalloc(n, GFP_KERNEL);
			cr_assert_eq((uintptr_t)p[i] % min(n, PAGE_SIZE), 0);
		}
		for (unsigned i = 0; i < 5; i++)
			kfree(p[i]);
	}
	machine_down();
}

static void churn(unsigned slots, unsigned rounds, unsigned cpus)
{
	struct slot {
		unsigned char *p, tag;
		size_t n;
	} *s = calloc(slots, sizeof(*s));

	for (unsigned i = 0; i < rounds; i++) {
		struct slot *x = &s[rnd() % slots];

		if (rnd() % 53 == 0)
			fake_cpu_switch(rnd() % cpus);
		if (x->p) {
			for (size_t j = 0; j < x->n; j++)
				cr_assert_eq(x->p[j], x->tag);
			kfree(x->p);
			x->p = NULL;
			continue;
		}
		x->n = rnd() % 50 ? 1 + rnd() % 400 : 1 + rnd() % 30000;
		x->tag = rnd();
		x->p = kmalloc(x->n, GFP_KERNEL);
		cr_assert(x->p);
		memset(x->p, x->tag, x->n);
		if (i % (rounds / 4) == 0)
			cr_assert_eq(check_phys(), 0);
	}
	for (unsigned i = 0; i < slots; i++)
		kfree(s[i].p);
	fake_cpu_switch(0);
	free(s);
}

Test(slab, churn)
{
	uint64_t before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	churn(5000, 100000, 1);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(slab, freed_on_another_cpu)
{
	uint64_t before;

	machine_up(64 * MIB, 4);
	before = free_pages_now();
	churn(3000, 60000, 4);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

static unsigned built;

static void build(void *obj)
{
	memset(obj, 0x11, 100);
	built++;
}

Test(slab, constructed_once_a_slab)
{
	struct kmem_cache *c;
	unsigned after_first;
	void *p;

	machine_up(64 * MIB, 1);
	c = kmem_cache_create("built", 100, 0, 0, build);
	p = kmem_cache_alloc(c, GFP_KERNEL);
	after_first = built;
	cr_expect_gt(after_first, 1);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(((char *)p)[i], 0x11);
	((char *)p)[3] = 0x22; /* contents survive a free and come back */
	kmem_cache_free(c, p);
	cr_expect_eq(kmem_cache_alloc(c, GFP_KERNEL), p);
	cr_expect_eq(((char *)p)[3], 0x22);
	cr_expect_eq(built, after_first);
	kmem_cache_free(c, p);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

Test(slab, zalloc_and_realloc)
{
	struct kmem_cache *c;
	char *p;

	machine_up(64 * MIB, 1);
	c = kmem_cache_create("z", 72, 0, SLAB_HWCACHE_ALIGN, NULL);
	for (int i = 0; i < 200; i++) {
		p = kmem_cache_zalloc(c, GFP_KERNEL);
		cr_assert_eq((uintptr_t)p % 64, 0);
		for (unsigned j = 0; j < 72; j++)
			cr_assert_eq(p[j], 0);
		memset(p, 0xee, 72);
		kmem_cache_free(c, p);
	}
	cr_expect_eq(kmem_cache_destroy(c), 0);
	p = krealloc(NULL, 10, GFP_KERNEL);
	memcpy(p, "123456789", 10);
	p = krealloc(p, 3000, GFP_KERNEL);
	cr_expect_str_eq(p, "123456789");
	cr_expect_null(krealloc(p, 0, GFP_KERNEL));
	machine_down();
}

Test(slab, leaks_are_counted)
{
	struct kmem_cache *c;
	void *a, *b;

	machine_up(64 * MIB, 1);
	c = kmem_cache_create("leaky", 904, 0, 0, NULL); /* a size of its own: it is merged with none */
	cr_assert_eq(c->refcount, 1);
	a = kmem_cache_alloc(c, GFP_KERNEL);
	b = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, a);
	cr_expect_eq(kmem_cache_destroy(c), 1);
	(void)b;
	cr_expect_gt(quire_exit(), 0);
	fake_machine_destroy();
}

Test(slab, shrink_gives_pages_back)
{
	static void *p[2000];
	struct kmem_cache *c;

	machine_up(64 * MIB, 1);
	c = kmem_cache_create("s", 256, 0, 0, NULL);
	for (unsigned i = 0; i < 2000; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 0; i < 2000; i++)
		kmem_cache_free(c, p[i]);
	cr_expect_gt(kmem_cache_shrink(c), 0);
	cr_expect_eq(c->nr_pages, 0);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* Objects in magazines, depots and empty slabs are counted one by one; those in slabs with another are not,
 * for no page would come back. Caches take turns. */
Test(slab, idle_objects_are_counted, .timeout = 20)
{
	static void *p[2][1000];
	struct kmem_cache *c[2];
	unsigned long before, pages = 0;

	machine_up(64 * MIB, 2);
	for (unsigned i = 0; i < 2; i++)
		c[i] = kmem_cache_create(i ? "one" : "other", 256, 0, SLAB_NO_MERGE, NULL);
	while (slab_shrink(~0ul, &pages))
		;
	before = slab_idle_objects();
	cr_expect_eq(before, 0);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned n = 0; n < 1000; n++)
			p[i][n] = kmem_cache_alloc(c[i], GFP_KERNEL);
	for (unsigned i = 0; i < 2; i++) {
		before = slab_idle_objects();
		for (unsigned n = 0; n < 1000; n++)
			kmem_cache_free(c[i], p[i][n]);
		cr_expect_geq(slab_idle_objects(), before + 1000 - c[i]->objs);
	}
	for (unsigned i = 0; i < 2; i++)
		cr_expect_eq(slab_check(c[i]), 0);
	pages = 0;
	cr_expect_geq(slab_shrink(1, &pages), 1, "the first that has any");
	cr_expect(c[0]->nr_pages || c[1]->nr_pages, "no more than is asked for");
	while (slab_shrink(1, &pages))
		;
	cr_expect_eq(c[0]->nr_pages + c[1]->nr_pages, 0, "the others have their turn");
	cr_expect_geq(pages, 2000 * 256 / PAGE_SIZE);
	cr_expect_eq(slab_idle_objects(), 0);
	for (unsigned i = 0; i < 2; i++)
		cr_expect_eq(kmem_cache_destroy(c[i]), 0);
	machine_down();
}

/* What magazines and the depot keep is found by whoever else is short of memory. */
Test(slab, memory_kept_for_speed_is_given_up_under_pressure)
{
	static void *p[4000];
	struct page *page, *all = NULL;
	struct kmem_cache *c;

	machine_up(32 * MIB, 2);
	c = kmem_cache_create("s", 256, 0, 0, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		kmem_cache_free(c, p[i]);
	cr_expect_gt(c->nr_pages, 0);
	while ((page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0))) {
		page->private = (uintptr_t)all;
		all = page;
	}
	cr_expect_eq(c->nr_pages, 0);
	while ((page = all)) {
		all = (struct page *)page->private;
		__free_pages(page, 0);
	}
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

Test(slab, out_of_memory_is_null)
{
	machine_up(64 * MIB, 1);
	quire_drain();
	quire_inject_set(QUIRE_INJECT_SLAB, 1);
	cr_expect_null(kmalloc(64, GFP_KERNEL));
	for (unsigned i = 0; i < 200; i++) { /* no page for a new slab, sooner or later */
		void *p;

		quire_drain();
		quire_inject_set(QUIRE_INJECT_PAGE, 1);
		p = kmalloc(700, GFP_KERNEL);
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		kfree(p);
	}
	machine_down();
}

Test(slab, double_free_is_caught, .exit_code = 1)
{
	void *p;

	machine_up(64 * MIB, 1);
	p = kmalloc(100, GFP_KERNEL);
	kfree(p);
	kfree(p);
	exit(0);
}

Test(slab, middle_of_an_object_is_caught, .exit_code = 1)
{
	machine_up(64 * MIB, 1);
	kfree((char *)kmalloc(100, GFP_KERNEL) + 16);
	exit(0);
}

Test(slab, page_that_is_no_slab_is_caught, .exit_code = 1)
{
	machine_up(64 * MIB, 1);
	kfree((void *)__get_free_pages(GFP_KERNEL, 0));
	exit(0);
}

Test(slab, wrong_cache_is_caught, .exit_code = 1)
{
	struct kmem_cache *a, *b;

	machine_up(64 * MIB, 1);
	a = kmem_cache_create("a", 48, 0, SLAB_NO_MERGE, NULL);
	b = kmem_cache_create("b", 48, 0, SLAB_NO_MERGE, NULL);
	kmem_cache_free(b, kmem_cache_alloc(a, GFP_KERNEL));
	exit(0);
}

/* Unless a checker of addresses sees the store first, the next owner does. */
Test(slab, write_after_free_is_caught, .exit_code = 1)
{
	uintptr_t *p;

	machine_up(64 * MIB, 1);
	p = kmalloc(64, GFP_KERNEL);
	kfree(p);
	hal_unpoison(p, 64);
	p[4] = 1; /* the middle, where a free object has its word */
	(void)kmalloc(64, GFP_KERNEL);
	exit(0);
}

Test(slab, bulk)
{
	struct kmem_cache *c;
	void *p[300];

	machine_up(64 * MIB, 1);
	c = kmem_cache_create("bulk", 40, 0, SLAB_NO_MERGE, NULL);
	cr_expect_eq(kmem_cache_alloc_bulk(c, GFP_KERNEL | __GFP_ZERO, 300, p), 300);
	for (unsigned i = 0; i < 300; i++) {
		cr_expect_eq(*(uint64_t *)p[i], 0);
		memset(p[i], 1, 40);
	}
	kmem_cache_free_bulk(c, 300, p);
	cr_expect_eq(check_phys(), 0);
	/* All or nothing. */
	cr_expect_eq(kmem_cache_fail("bulk", &(struct quire_fault_attr){.nth = 17}), 0);
	cr_expect_eq(kmem_cache_alloc_bulk(c, GFP_KERNEL, 32, p), 0);
	cr_expect_eq(kmem_cache_alloc_bulk(c, GFP_KERNEL, 32, p), 32);
	kmem_cache_free_bulk(c, 32, p);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* As Linux: same flags, less than a word of waste, no constructor; the last user ends it. */
Test(slab, caches_are_shared)
{
	struct kmem_cache *a, *b;
	void *p;

	machine_up(64 * MIB, 1);
	a = kmem_cache_create("first", 1000, 0, SLAB_ACCOUNT, NULL);
	b = kmem_cache_create("second", 996, 0, SLAB_ACCOUNT, NULL);
	cr_expect_eq(a, b);
	cr_expect_neq(a, kmem_cache_create("third", 990, 0, SLAB_ACCOUNT, NULL));
	cr_expect_neq(a, kmem_cache_create("fourth", 1000, 0, SLAB_ACCOUNT | SLAB_RECLAIM_ACCOUNT, NULL));
	cr_expect_neq(a, kmem_cache_create("fifth", 1000, 0, SLAB_ACCOUNT, build));
	cr_expect_neq(a, kmem_cache_create("sixth", 1000, 64, SLAB_ACCOUNT, NULL));
	cr_expect_neq(a, kmem_cache_create("seventh", 1000, 0, SLAB_ACCOUNT | SLAB_NO_MERGE, NULL));
	cr_expect_eq(kmem_cache_destroy(a), 0);
	p = kmem_cache_alloc(b, GFP_KERNEL);
	cr_expect(p);
	kmem_cache_free(b, p);
	cr_expect_eq(kmem_cache_destroy(b), 0);
	quire_exit();
	fake_machine_destroy();
}

Test(slab, small_strides_and_kinds)
{
	struct page *page;
	char *a, *b;

	machine_up(64 * MIB, 1);
	a = kmalloc(8, GFP_KERNEL);
	page = compound_head(virt_to_page(a));
	cr_expect_eq(((struct kmem_cache *)page->mapping)->size, 8);
	kfree(a);
	b = kmalloc(100, GFP_KERNEL | __GFP_DMA);
	cr_expect_lt(hal_virt_to_phys(b), 16 * MIB);
	cr_expect_str_eq(((struct kmem_cache *)compound_head(virt_to_page(b))->mapping)->name,
			 "dma-kmalloc-128");
	kfree(b);
	b = kmalloc(100, GFP_KERNEL | __GFP_RECLAIMABLE);
	cr_expect_str_eq(((struct kmem_cache *)compound_head(virt_to_page(b))->mapping)->name,
			 "kmalloc-rcl-128");
	kfree(b);
	machine_down();
}

Test(slab, no_bytes_and_zeroed_ones)
{
	char *p;

	machine_up(64 * MIB, 1);
	p = kmalloc(0, GFP_KERNEL);
	cr_expect_eq(ksize(p), 8);
	kfree(p);
	cr_expect_eq(ksize(NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		static const size_t sizes[] = {0, 100, 20000};

		p = kmalloc(sizes[i], GFP_KERNEL);
		memset(p, 0xee, sizes[i]);
		kfree(p);
		p = kzalloc(sizes[i], GFP_KERNEL);
		cr_assert(p);
		for (size_t j = 0; j < sizes[i]; j++)
			cr_assert_eq(p[j], 0);
		kfree(p);
	}
	machine_down();
}

/* Large ones are counted, may fail on order, and need pages. */
Test(slab, large_ones_fail)
{
	uint64_t before;
	void *p;

	machine_up(64 * MIB, 1);
	before = slab_allocs_seen();
	quire_inject_set(QUIRE_INJECT_SLAB, 2);
	p = kmalloc(40000, GFP_KERNEL);
	cr_expect(p);
	cr_expect_null(kmalloc(40000, GFP_KERNEL));
	kfree(p);
	quire_drain();
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_null(kmalloc(40000, GFP_KERNEL | __GFP_NOWARN));
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	kfree(kmalloc(64, GFP_KERNEL));
	cr_expect_eq(slab_allocs_seen() - before, 3);
	machine_down();
}

/* No block for a slab of the usual order: a smaller one serves, and its objects find their cache. */
Test(slab, smaller_slabs_serve)
{
	unsigned smaller = 0;
	struct kmem_cache *c;

	machine_up(64 * MIB, 1);
	c = kmem_cache_create("large", PAGE_SIZE / 4, 0, SLAB_NO_MERGE, NULL);
	cr_assert_gt(c->order, 0);
	for (unsigned nth = 1; nth < 6; nth++) { /* magazines need pages as well */
		void *p[5];

		kmem_cache_shrink(c);
		quire_drain();
		quire_inject_set(QUIRE_INJECT_PAGE, nth);
		for (unsigned i = 0; i < 5; i++) {
			p[i] = kmem_cache_alloc(c, GFP_KERNEL);
			cr_assert(p[i]);
			memset(p[i], i, PAGE_SIZE / 4);
		}
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		smaller += compound_order(compound_head(virt_to_page(p[0]))) < c->order;
		cr_expect_eq(check_phys(), 0);
		for (unsigned i = 0; i < 5; i++) {
			cr_expect_eq(*(unsigned char *)p[i], i);
			kfree(p[i]);
		}
		cr_expect_eq(slab_check(c), 0);
	}
	cr_expect_gt(smaller, 0);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

Test(slab, caches_that_cannot_be)
{
	struct kmem_cache *c;
	void *p;

	machine_up(64 * MIB, 1);
	cr_expect_null(kmem_cache_create("none", 0, 0, 0, NULL));
	cr_expect_null(kmem_cache_create("huge", (PAGE_SIZE << SLAB_MAX_ORDER) / 2 + 1, 0, 0, NULL));
	cr_expect_null(kmem_cache_create("far", 64, 2 * PAGE_SIZE, 0, NULL));
	cr_expect_null(kmem_cache_create("odd", 64, 24, 0, NULL));
	quire_inject_set(QUIRE_INJECT_SLAB, 1);
	cr_expect_null(kmem_cache_create("unlucky", 72, 0, SLAB_NO_MERGE, NULL));
	c = kmem_cache_create("lines", 20, 0, SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE, NULL);
	cr_expect_eq(c->size, 32, "two to a line");
	p = kmem_cache_alloc(c, GFP_KERNEL);
	cr_expect_eq((uintptr_t)p % 32, 0);
	kmem_cache_free(c, p);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	cr_expect_eq(kmem_cache_destroy(NULL), 0);
	machine_down();
}

Test(slab, a_cache_that_must_be, .exit_code = 1)
{
	machine_up(64 * MIB, 1);
	kmem_cache_create("none", 0, 0, SLAB_PANIC, NULL);
	exit(0);
}

/* Those beyond the last number take the way over the struct page, and work as well. */
Test(slab, more_caches_than_numbers)
{
	static struct kmem_cache *c[SLAB_NUMBERS];
	static void *p[SLAB_NUMBERS];
	unsigned without = 0;

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < SLAB_NUMBERS; i++) {
		c[i] = kmem_cache_create("many", 64, 0, SLAB_NO_MERGE, NULL);
		cr_assert(c[i]);
		p[i] = kmem_cache_alloc(c[i], GFP_KERNEL);
		without += !c[i]->number;
		cr_expect_eq(!slab_quick_cache(p[i]), !c[i]->number);
	}
	cr_expect_gt(without, 0);
	cr_expect_lt(without, SLAB_NUMBERS / 2);
	for (unsigned i = 0; i < SLAB_NUMBERS; i++) {
		kfree(p[i]);
		cr_expect_eq(kmem_cache_destroy(c[i]), 0);
	}
	c[0] = kmem_cache_create("one", 64, 0, SLAB_NO_MERGE, NULL);
	cr_expect_neq(c[0]->number, 0, "numbers come back");
	cr_expect_eq(kmem_cache_destroy(c[0]), 0);
	machine_down();
}

/* The quick way says yes to the start of each object of any size, and to no other address. */
Test(slab, starts_of_objects)
{
	static const unsigned sizes[] = {8, 16, 24, 40, 64, 72, 104, 192, 256, 712, 1000, 1024, 5000, 8192};

	machine_up(64 * MIB, 1);
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct kmem_cache *c = kmem_cache_create("s", sizes[s], 0, SLAB_NO_MERGE, NULL);
		void *p = kmem_cache_alloc(c, GFP_KERNEL);
		struct page *page = compound_head(virt_to_page(p));
		char *base = page_address(page);

		cr_expect_eq(slab_total(page), c->objs);
		for (unsigned off = 0; off < slab_bytes(page); off += 4)
			cr_assert_eq(slab_quick_cache(base + off),
				     off % c->size || off / c->size >= c->objs ? NULL : c,
				     "%u of %u", off, c->size);
		kmem_cache_free(c, p);
		cr_expect_eq(kmem_cache_destroy(c), 0);
		cr_expect_null(slab_quick_cache(p), "its frame leads nowhere any more");
	}
	machine_down();
}

/* With interrupts off nobody else can be asked; whoever holds the list of caches is not waited for. */
Test(slab, shrink_where_it_may_not_wait)
{
	struct kmem_cache *c;
	unsigned long pages = 0;
	irqflags_t flags;

	machine_up(64 * MIB, 4);
	c = kmem_cache_create("s", 256, 0, SLAB_NO_MERGE, NULL);
	kmem_cache_free(c, kmem_cache_alloc(c, GFP_KERNEL));
	flags = hal_irq_save();
	cr_expect_gt(kmem_cache_shrink(c), 0);
	hal_irq_restore(flags);
	kmem_cache_free(c, kmem_cache_alloc(c, GFP_KERNEL));
	mutex_lock(&slab_mutex);
	cr_expect_eq(slab_idle_objects(), 0);
	cr_expect_eq(slab_shrink(~0ul, &pages), 0);
	mutex_unlock(&slab_mutex);
	cr_expect_gt(slab_idle_objects(), 0);
	cr_expect_gt(slab_shrink(~0ul, &pages), 0);
	cr_expect_gt(pages, 0);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	machine_down();
}

/* The checker is checked: each thing that can be wrong is made wrong, and it says so. */
Test(slab, the_checker_sees)
{
	struct kmem_cache *c, *other;
	struct kmem_cache_cpu *k;
	struct text t = {0};
	struct page *page;
	void *p[2 * SLAB_MAG_MAX], **top;
	unsigned out = ARRAY_SIZE(p);

	machine_up(64 * MIB, 1);
	c = kmem_cache_create("c", 64, 0, SLAB_NO_MERGE, NULL);
	other = kmem_cache_create("other", 64, 0, SLAB_NO_MERGE, NULL);
	for (unsigned i = 0; i < out; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (k = &c->cpu[0]; k->top != k->end;) /* until a magazine is full */
		kmem_cache_free(c, p[--out]);
	page = compound_head(virt_to_page(p[out]));
	top = k->top;
	cr_assert_eq(slab_check(c), 0);
	page_clear(page, PG_slab);
	cr_expect_gt(slab_check(c), 0);
	page_set(page, PG_slab);
	page->mapping = other;
	cr_expect_gt(slab_check(c), 0);
	page->mapping = c;
	k->top = k->end + 1;
	cr_expect_gt(slab_check(c), 0);
	quire_show_slabinfo(text_emit, &t);
	cr_expect(strstr(t.s, "c  "), "what makes no sense is not shown");
	k->top = k->base - 1;
	cr_expect_gt(slab_check(c), 0);
	k->top = top;
	k->prev->count = 3;
	memcpy(k->prev->obj, k->base, 3 * sizeof(void *));
	cr_expect_gt(slab_check(c), 0);
	k->prev->count = 0;
	c->nr_mags_full += 1;
	cr_expect_gt(slab_check(c), 0);
	c->nr_mags_full -= 1;
	c->nr_mags_empty += 1;
	cr_expect_gt(slab_check(c), 0);
	c->nr_mags_empty -= 1;
	slab_bits(c, page)[0] ^= 1; /* free in its slab, and in a magazine or out */
	cr_expect_gt(slab_check(c), 0);
	slab_bits(c, page)[0] ^= 1;
	clear_mark(c, p[out]);
	cr_expect_gt(slab_check(c), 0);
	set_mark(c, p[out]);
	cr_expect_eq(slab_check(c), 0);
	while (out)
		kmem_cache_free(c, p[--out]);
	cr_expect_eq(kmem_cache_destroy(c), 0);
	cr_expect_eq(kmem_cache_destroy(other), 0);
	machine_down();
}
